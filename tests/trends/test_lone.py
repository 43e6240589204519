"""A change far off those beside it."""

import numpy as np

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.lone import find_lone


def say(make_series, tops):
    """What is said where the first rows change so many times more on the way to step 500."""
    values = np.full((30, 10), 0.1)
    values[: len(tops), 4] *= tops
    return say_of(make_series(values))


def say_of(series, **options):
    events = find_lone(series, series.metric(), TrendOptions(**options))
    return " ".join(event.text.removesuffix(".") for event in events)


def test_one_row_is_alone(make_series):
    assert say(make_series, [180]) == (
        "block0.weight alone changed at least 180 times more on the way to step 500 than just before and after"
    )
    assert say(make_series, [0.01]).startswith("block0.weight alone changed at least 100 times less")
    assert say(make_series, [1e9]).startswith("block0.weight alone changed more than 10,000 times more")


def test_rows_that_do_so_too_are_told(make_series):
    assert say(make_series, [180, 14]).endswith("and block1.weight 14 times")
    assert say(make_series, [20, 3.5, 4, 5, 6, 7]).endswith("and 5 other layers there at least 3 times")
    assert say(make_series, [20, 0.05, 1.5]).startswith("block0.weight alone ")


def test_what_all_rows_do_and_what_is_small_is_left_out(make_series):
    assert say(make_series, [20] * 30) == ""
    assert say(make_series, [9]) == ""


def test_what_noise_does_is_not_told(make_series):
    for seed in range(10):
        logs = np.random.default_rng(seed).normal(-2, 0.3, (60, 40))
        assert say_of(make_series(10**logs)) == ""
        logs[3, 20] -= 4
        assert "block3.weight" in say_of(make_series(10**logs))


def test_what_all_rows_do_is_no_noise(make_series):
    logs = np.resize([-2.0, -2.8, -2.2, -3.1], 40) + np.random.default_rng(0).normal(0, 0.05, (12, 40))
    logs[3, 21] -= 1.5
    assert "block3.weight alone changed" in say_of(make_series(10**logs))


def test_others_are_those_beyond_the_noise(make_series):
    logs = np.random.default_rng(0).normal(-2, 0.12, (120, 40))
    logs[3, 20] -= 2.5
    assert say_of(make_series(10**logs)).startswith("block3.weight alone changed at least ")


def test_it_is_an_event_at_the_checkpoint_that_the_change_leads_to(make_series):
    values = np.full((30, 10), 0.1)
    values[2, 4] = 0.001
    trends = find_trends(make_series(values))
    (event,) = trends.events
    assert (event.kind, event.layer, event.checkpoint) == ("lone", "block2.weight", 5)
    assert (event.evidence["row"], event.evidence["change"]) == (2, 4)
    assert event.text.removesuffix(".") in trends.headline[-1]


def test_what_is_no_speed_does_not_change_more_or_less(make_series):
    values = np.full((5, 10), 0.1)
    values[2, 4] = 0.001
    assert find_lone(make_series(values), values, TrendOptions(metric="rotation")) == ()
