"""Courses in words that hold whatever distances between checkpoints did to the values."""

from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.series import CheckpointRecord
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.courses import describe_curve
from wsanalyze.trends.even_courses import describe_course
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.words import name_changes

NOISE = np.random.default_rng(0).normal(0, 0.01, 40)


@pytest.fixture
def with_distances(make_series):
    def make(logs, distances):
        records = [CheckpointRecord(int(step), f"s{step}", "run") for step in np.cumsum([0, *distances])]
        return replace(make_series(10.0 ** np.atleast_2d(logs)), checkpoints=tuple(records))

    return make


def describe(series, metric="rwc"):
    return describe_course(series.metric("rwc")[0], series, TrendOptions(metric=metric))


@pytest.mark.parametrize("ratio", [2, 3, 5])
@pytest.mark.parametrize("place", [1, 4, 7, 11])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_a_fall_with_one_longer_way_in_it_is_a_fall(with_distances, exponent, place, ratio):
    distances = np.full(12, 100)
    distances[place] *= ratio
    logs = -0.6 * np.log10(1 + np.arange(12)) + exponent * np.log10(distances)
    course, but, way = describe(with_distances(logs, distances)).partition(", but for a longer way to ")
    assert course == "falls ever more slowly"
    assert way == (f"step {np.cumsum(distances)[place]}" if but else "")
    assert but or ratio**exponent < 1.5


def test_ways_that_do_not_show_are_not_told(with_distances):
    distances = np.full(12, 100)
    distances[4] *= 3
    assert describe(with_distances(NOISE[:12], distances)) == "steady"
    assert describe(with_distances(NOISE[:12] + np.log10(distances) / 4, distances)) == "steady"


def test_a_longer_way_is_told_where_the_metric_is_divided_by_it(with_distances):
    distances = np.full(12, 100)
    distances[4] *= 5
    series = with_distances(NOISE[:12] + np.log10(distances), distances)
    assert describe(series, "rate") == f"steady, but for a jump at step {np.cumsum(distances)[4]}"


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_jump_and_a_fall_at_a_longer_way_are_told_that_it_does_not_explain(with_distances, exponent):
    distances = np.full(19, 100)
    distances[9] = 200
    logs = NOISE[:19] + exponent * np.log10(distances)
    jump, fall = logs + (np.arange(19) == 9), logs - (np.arange(19) > 9)
    assert describe(with_distances(jump, distances)) == "steady, but for a jump at step 1100"
    assert describe(with_distances(fall, distances)) == "falls after step 1100"


@pytest.mark.parametrize("slope", [0.0, -0.05])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_a_new_spacing_is_no_rise(with_distances, exponent, slope):
    distances = [100] * 10 + [1000] * 10
    series = with_distances(NOISE[:20] + slope * np.arange(20) + exponent * np.log10(distances), distances)
    assert "rise" in describe_curve(series.metric("rwc")[0], *name_changes(series))
    course = "falls steadily" if slope else "steady"
    assert describe(series) == f"{course}, but for longer ways from step 1000 on"


def test_spacings_that_come_and_go_are_no_hump(with_distances):
    distances = [100] * 8 + [300] * 5 + [100] * 8
    text = describe(with_distances(NOISE[:21] + np.log10(distances), distances))
    assert text == "steady, but for the distances, which change at step 800 and step 2300"


def test_what_a_new_spacing_does_not_explain_is_told(with_distances):
    distances = [100] * 10 + [1000] * 10
    assert describe(with_distances(NOISE[:20] - 0.5 * np.log10(distances), distances)) == "falls after step 1000"


def test_on_an_even_spacing_nothing_is_another(with_distances):
    random = np.random.default_rng(1)
    for length in (3, 8, 30):
        logs = random.normal(0, 0.2, length).cumsum()
        series = with_distances(logs, [50] * length)
        assert describe(series) == describe_curve(10.0**logs, *name_changes(series))


def test_a_trend_of_layers_is_told_without_the_longer_way(with_distances):
    distances = np.full(10, 100)
    distances[3] = 200
    logs = -0.6 * np.log10(1 + np.arange(10)) + np.log10(distances)
    noise = np.random.default_rng(2).normal(0, 0.02, (6, 10))
    trends = find_trends(with_distances(logs + noise, distances))
    assert "they fall ever more slowly, but for a longer way to step 500" in " ".join(trends.headline)
    assert not trends.phases
