"""Where changes lie in the network, and whether their centre moves."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.metrics import METRICS
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.depth import find_depth_profile
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.stored import from_json, to_json

NAN = np.nan


@pytest.fixture(scope="session")
def profile_of(make_series):
    def find(values, depths=None, **options):
        series = make_series(values)
        if depths is not None:
            rows = tuple(replace(row, depth=depth) for row, depth in zip(series.rows, depths, strict=True))
            series = replace(series, rows=rows)
        return find_depth_profile(series, series.metric(), TrendOptions(**options))

    return find


def at_level(places, levels, num_changes=10, seed=0, noise=0.05):
    """Rows whose level, in decades, is a function of their place and time."""
    time = np.linspace(0, 1, num_changes)
    logs = np.array([[levels(place, moment) for moment in time] for place in places])
    return 10 ** (-1.5 + logs + np.random.default_rng(seed).normal(0, noise, logs.shape))


cells = st.one_of(st.floats(1e-9, 1e9), st.sampled_from([0.0, NAN]))
tables = st.tuples(st.integers(4, 9), st.integers(1, 6)).flatmap(
    lambda size: st.lists(st.lists(cells, min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0])
)


@settings(max_examples=200)
@given(tables, st.data())
def test_medians_and_the_centre_of_mass_are_those_of_plain_arithmetic(profile_of, table, data):
    depths = data.draw(st.lists(st.integers(0, 20), min_size=len(table), max_size=len(table)))
    values = np.array(table)
    found = profile_of(table, depths)
    with_number = sorted({depth for depth, row in zip(depths, values, strict=True) if np.isfinite(row).any()})
    if len(with_number) < 4 or not (values > 0).any():
        assert found is None
        return
    assert list(found.depths) == with_number
    for index, depth in enumerate(with_number):
        rows = values[np.array(depths) == depth]
        for change in range(values.shape[1]):
            known = rows[:, change][np.isfinite(rows[:, change])]
            np.testing.assert_allclose(found.values[index, change], np.median(known) if len(known) else NAN)
    places = (np.array(with_number) - with_number[0]) / (with_number[-1] - with_number[0])
    lasting = np.isfinite(found.values).mean(axis=1) >= 0.75
    lasting = lasting if lasting.sum() >= 4 else np.ones(len(places), dtype=bool)
    for change, centre in enumerate(found.centre):
        known = np.isfinite(found.values[:, change]) & lasting
        mass = found.values[known, change]
        if 2 * known.sum() < lasting.sum() or not mass.sum() > 0:
            assert np.isnan(centre)
        else:
            assert centre == pytest.approx((mass * places[known]).sum() / mass.sum())
            assert -1e-9 <= centre <= 1 + 1e-9
    assert found.text.endswith(".")
    assert "nan" not in found.text


@settings(max_examples=50)
@given(tables, st.sampled_from([-20, 3, 40]))
def test_the_unit_decides_nothing(profile_of, table, exponent):
    one, two = profile_of(table), profile_of(np.ldexp(np.array(table), exponent))
    if one is None:
        assert two is None
        return
    assert one.text == two.text
    np.testing.assert_array_equal(one.centre, two.centre)


@pytest.mark.parametrize("num_changes", [4, 8, 30])
@pytest.mark.parametrize("num_rows", [6, 40])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_move_through_the_network_is_said(profile_of, num_rows, num_changes, sign):
    values = at_level(np.linspace(0, 1, num_rows), lambda x, t: sign * 2 * (x - 0.5) * (2 * t - 1), num_changes)
    found = profile_of(values)
    size = {4: 1, 8: 1, 30: 7}[num_changes]
    early, late = found.centre[:size], found.centre[-size:]
    assert {np.median(early), np.median(late)} <= set(found.centre)
    assert f"moves from {np.median(early):.2f} of the way through the network to {np.median(late):.2f} by" in found.text
    assert "few" not in found.text
    assert np.sign(np.median(late) - np.median(early)) == sign


def test_a_move_is_dated_by_when_most_of_it_is_done(profile_of):
    values = at_level(np.linspace(0, 1, 20), lambda x, t: (x - 0.5) * (1.5 if t >= 0.5 else -1.5), 20)
    assert "by step 1100." in profile_of(values).text


def test_one_layer_that_takes_over_is_no_move_of_the_network(profile_of):
    values = at_level(np.linspace(0, 1, 8), lambda x, t: 2 * t if x == 1 else 0.0, 10)
    assert profile_of(values).text.endswith("but a few depths alone decide that.")


def test_moves_are_claimed_of_noise_in_few_tables_only(profile_of):
    random = np.random.default_rng(0)
    texts = []
    for num_changes in (4, 6, 12, 30):
        for num_rows in (6, 20):
            for _ in range(25):
                levels = random.normal(-1.5, 0.4, (num_rows, 1))
                texts.append(profile_of(10 ** (levels + random.normal(0, 0.1, (num_rows, num_changes)))).text)
    assert sum("moves" in text for text in texts) <= 0.05 * len(texts)
    assert sum("eeper" in text for text in texts) <= 0.05 * len(texts)


@pytest.mark.parametrize(("slope", "word"), [(1, "more"), (-1, "less")])
def test_levels_that_follow_depth_are_said(profile_of, slope, word):
    places = np.linspace(0, 1, 12)
    text = profile_of(at_level(places, lambda x, _: slope * x)).text
    assert text.startswith(f"Deeper layers change {word} (rank correlation {slope:.2f} over 12 depths), and the centre")
    assert "Deeper blocks" in profile_of(at_level(places, lambda x, _: slope * x), group="block").text
    assert "eeper" not in profile_of(at_level(places[:7], lambda x, _: slope * x)).text


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (
            [(8, 4 * 2**place) for place in range(12)],
            ", unless it is their size or fan-in that counts, which goes with",
        ),
        (
            [(8 * 2**place, 4) for place in range(12)],
            ", unless it is their size that counts, which goes with depth here",
        ),
        ([(8, 4 * 2 ** (7 * place % 12)) for place in range(12)], "depths), and the centre"),
        ([(8, 4)] * 12, "depths), and the centre"),
        ([()] * 12, "depths), and the centre"),
    ],
)
def test_what_goes_with_depth_is_said_with_it(make_series, shapes, words):
    series = make_series(at_level(np.linspace(0, 1, 12), lambda x, _: x))
    series = replace(series, rows=tuple(replace(row, shape=s) for row, s in zip(series.rows, shapes, strict=True)))
    text = find_depth_profile(series, series.metric(), TrendOptions()).text
    assert text.startswith("Deeper layers change more (rank correlation ")
    assert words in text


def test_a_single_change_has_a_place_but_no_course(profile_of):
    assert (
        profile_of([[0.0], [0.0], [0.0], [1.0]]).text
        == "The centre of change lies 1.00 of the way through the network."
    )


def test_nothing_is_said_where_there_is_nothing(profile_of, make_series):
    assert profile_of(np.zeros((6, 4))) is None
    assert profile_of(np.full((6, 4), NAN)) is None
    assert profile_of(np.ones((3, 4))) is None
    assert profile_of(np.ones((6, 4)), depths=[0, 0, 1, 1, 2, 2]) is None
    assert profile_of(np.ones((6, 4)), group="kind") is None
    series = make_series(np.ones((6, 4)))
    for name, metric in METRICS.items():
        found = find_depth_profile(series, np.ones((6, 4)), TrendOptions(metric=name))
        assert (found is None) == (metric.linear or name == "rank")


@pytest.mark.parametrize("factor", [1e308, 5e-324])
def test_no_size_is_too_large_or_too_small(profile_of, factor):
    found = profile_of(np.full((6, 5), factor))
    np.testing.assert_allclose(found.centre, 0.5)


def test_changes_at_which_most_depths_have_no_number_have_no_centre(profile_of):
    values = np.ones((6, 4))
    values[:4, 2] = NAN
    values[:3, 3] = NAN
    assert np.isnan(profile_of(values).centre).tolist() == [False, False, True, False]


def test_depths_that_lose_their_numbers_do_not_move_the_centre(profile_of):
    values = at_level(np.linspace(0, 1, 12), lambda *_: 0.0, 20)
    values[:5, 11:] = NAN
    found = profile_of(values)
    assert found.text.startswith("The centre of change stays near 0.7")
    assert np.ptp(found.centre) < 0.1


def test_a_wave_is_no_move_and_what_comes_back_has_not_arrived(profile_of):
    wave = at_level(np.linspace(0, 1, 12), lambda x, t: 2 * (x - 0.5) * np.sin(7 * t), 40)
    assert "moves" not in profile_of(wave).text
    late = at_level(np.linspace(0, 1, 12), lambda x, t: 2 * (x - 0.5) * (t > 0.7 or 0.2 < t < 0.3), 40)
    (step,) = re.findall(r"by step (\d+)", profile_of(late).text)
    assert int(step) > 2800


def test_the_profile_is_stored(make_series):
    values = np.random.default_rng(0).uniform(0.1, 1, (8, 5))
    values[2, 3] = NAN
    series = make_series(values)
    trends = find_trends(series)
    again = from_json(to_json(trends), series)
    assert (again.depth.depths, again.depth.text) == (trends.depth.depths, trends.depth.text)
    np.testing.assert_array_equal(again.depth.values, trends.depth.values)
    np.testing.assert_array_equal(again.depth.centre, trends.depth.centre)


def test_a_move_that_is_small_without_one_layer_is_that_layers(profile_of):
    # All others move the same way, by a tenth of it.
    values = at_level(np.linspace(0, 1, 20), lambda place, moment: 0.4 * place * moment, noise=0.01)
    values[0] = 10 ** np.linspace(1.5, -3, 10)
    assert profile_of(values).text.endswith(", but a few depths alone decide that.")
    assert " moves from " in profile_of(values).text
    spread = at_level(np.linspace(0, 1, 20), lambda place, moment: 2 * place * moment, noise=0.01)
    assert "alone" not in profile_of(spread).text
