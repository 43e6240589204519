"""Trends within sliding windows: where those are, how clusters keep their numbers, and who moves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.metrics import Span
from wsanalyze.spans import Changes
from wsanalyze.sums import Sums
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.robust import find_robust_trends
from wsanalyze.trends.windows import _describe, _Part, find_moved, find_windows, match_labels, place_windows

LABELS = arrays(np.int64, 20, elements=st.integers(-1, 4))
ALL = np.ones(20, dtype=np.bool_)


def waves(number=40):
    """Three courses that differ all the time: a slow wave, its opposite, and none."""
    wave = 0.5 * np.sin(np.arange(number) / 3)
    return np.stack([wave, -wave, 0 * wave])


def draw(courses, noise=0.03, seed=0):
    """Changes of rows that each follow a course, float64 of shape (n, P)."""
    random = np.random.default_rng(seed)
    courses = np.asarray(courses)
    return 10 ** (courses + random.normal(-1.5, 0.3, (len(courses), 1)) + random.normal(0, noise, courses.shape))


@given(st.integers(0, 400), st.none() | st.integers(2, 100))
def test_windows_cover_the_training_and_overlap(number, window):
    places = place_windows(number, window)
    if window is None:
        assert bool(places) == (number >= 16)
        assert len(places) <= 7
    else:
        assert bool(places) == (window < number)
    if places:
        lengths = {last - first + 1 for first, last in places}
        assert len(lengths) == 1
        (length,) = lengths
        assert length == window or (window is None and length >= 8)
        assert places[0][0] == 0
        assert places[-1][1] == number - 1
        steps = np.diff([first for first, _ in places])
        assert (steps > 0).all()
        assert (steps <= max(1, length // 2)).all()


def test_by_default_there_are_about_six_windows():
    assert len(place_windows(100, None)) == 6
    assert len(place_windows(300, None)) == 6
    assert place_windows(16, None) == [(0, 7), (4, 11), (8, 15)]


@given(LABELS, st.permutations(range(5)))
def test_the_same_clusters_get_the_same_numbers(labels, numbers):
    renamed = np.where(labels >= 0, np.array(numbers)[labels], -1)
    assert match_labels(renamed, labels).tolist() == labels.tolist()


@given(LABELS, LABELS)
def test_numbers_change_no_cluster(labels, before):
    found = match_labels(labels, before)
    assert ((found >= 0) == (labels >= 0)).all()
    pairs = set(zip(labels.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


@given(LABELS, LABELS, st.permutations(range(5)))
def test_numbers_do_not_matter_to_who_moves_where_no_two_clusters_tie(before, after, numbers):
    table = np.array([[np.sum((before == one) & (after == other)) for other in range(5)] for one in range(5)])
    tied = [line for line in (*table, *table.T) if line.max() > 0 and np.sum(line == line.max()) > 1]
    renamed = np.where(after >= 0, np.array(numbers)[after], -1)
    if not tied:
        assert find_moved(before, renamed, ALL) == find_moved(before, after, ALL)


@given(LABELS)
def test_a_cluster_that_splits_and_clusters_that_merge_move_nobody(labels):
    merged = np.where(labels >= 0, labels // 2, -1)
    assert find_moved(labels, merged, ALL) == ()
    assert find_moved(merged, labels, ALL) == ()


def test_a_row_that_changes_sides_moves_if_it_is_sure():
    before = np.repeat([0, 1], 10)
    after = before.copy()
    after[3] = 1
    assert find_moved(before, after, ALL) == (3,)
    assert find_moved(before, 1 - after, ALL) == (3,)
    assert find_moved(before, after, ~ALL) == ()


def test_rows_that_change_their_course_move(make_series):
    courses = waves()[np.repeat([0, 1, 2], 12)]
    courses[:4, 20:] = waves()[2, 20:]
    trends = find_trends(make_series(draw(courses)), TrendOptions(window=10))
    assert sorted({row for window in trends.windows for row in window.moved}) == [0, 1, 2, 3]
    assert any("4 layers join trend" in window.text for window in trends.windows)
    first, last = trends.windows[0].labels, trends.windows[-1].labels
    assert len(set(first.tolist())) == len(set(last.tolist())) == 3
    assert (first[4:] == last[4:]).all()
    assert (last[:4] == last[24]).all()
    assert trends.windows[0].text == "36 layers follow 3 trends."


def test_a_row_that_moves_alone_is_named_as_it_is(make_series):
    courses = waves()[np.repeat([0, 1, 2], 12)]
    courses[0, 20:] = waves()[2, 20:]
    names = [f"layer{row}" for row in range(36)]
    windows = find_trends(make_series(draw(courses), names), TrendOptions(window=10)).windows
    assert any("layer0 joins trend " in window.text for window in windows)


def test_trends_that_come_and_go_are_told(make_series):
    courses = waves()[np.repeat([0, 1], 12)]
    courses[:, :20] = courses[0, :20]
    texts = [window.text for window in find_trends(make_series(draw(courses)), TrendOptions(window=10)).windows]
    assert texts[0] == "24 layers follow 1 trend."
    assert "Trend 0 splits in 2, 12 layers in trend 0 and 12 in trend 1." in texts
    courses = courses[:, ::-1]
    texts = [window.text for window in find_trends(make_series(draw(courses)), TrendOptions(window=10)).windows]
    assert "Trends 0 and 1 are not told apart." in texts


def test_what_many_trends_do_is_counted(make_series):
    series, options = make_series(np.ones((40, 3))), TrendOptions()
    sure = np.ones(40, dtype=np.bool_)
    old, new = _Part(np.arange(40) // 8, sure), _Part(np.arange(40) // 4, sure)
    split = ", ".join(f"trend {i} splits in 2, 4 layers in trend {2 * i} and 4 in trend {2 * i + 1};" for i in range(3))
    assert _describe(series, options, old, new, ()) == f"T{split[1:].replace(';,', ';')} 2 more trends split."
    assert _describe(series, options, new, old, ()) == (
        "Trends 0 and 1 are not told apart; trends 2 and 3 are not told apart; trends 4 and 5 are not told apart; "
        "4 more are not told apart either."
    )


def test_who_may_have_moved_is_counted_where_nobody_surely_did(make_series):
    series, options = make_series(np.ones((20, 3))), TrendOptions()
    old, new = np.repeat([0, 1], 10), np.repeat([0, 1], (8, 12))
    unsure = np.zeros(20, dtype=np.bool_)
    text = _describe(series, options, _Part(old, unsure), _Part(new, unsure), ())
    assert text == "As before, as far as it is clear: 2 layers may have moved."


@pytest.mark.parametrize("seed", range(5))
def test_trends_that_stay_are_as_before(make_series, seed):
    windows = find_trends(make_series(draw(waves()[np.repeat([0, 1, 2], 12)], seed=seed))).windows
    assert len(windows) > 2
    assert {window.text for window in windows[1:]} == {"As before."}
    assert all(window.moved == () for window in windows)


def test_noise_moves_nobody(make_series):
    assert all(window.moved == () for window in find_trends(make_series(draw(np.zeros((30, 60))))).windows)


def test_few_changes_or_clusters_of_kinds_have_no_windows(make_series):
    courses = waves()[np.repeat([0, 1, 2], 6)]
    assert find_trends(make_series(draw(courses[:, :15]))).windows == ()
    assert find_trends(make_series(draw(courses)), TrendOptions(by_kind=True)).windows == ()
    assert find_trends(make_series(draw(courses)), TrendOptions(window=40)).windows == ()
    assert find_trends(make_series(np.ones((0, 0)))).windows == ()


def test_a_metric_is_the_same_within_a_window(measure_series):
    weights = np.random.default_rng(0).normal(size=(6, 21, 30)).cumsum(axis=1)
    since = [measure_series(weights[:, [0, last]]).successive for last in range(1, 21)]
    sums = Sums(np.concatenate([changes.sums.values for changes in since], axis=1))
    states = np.concatenate([changes.states for changes in since], axis=1)
    series = replace(measure_series(weights), spans={Span.FIRST: Changes(sums, states)})
    options = TrendOptions(metric="efficiency")
    whole = find_robust_trends(series, options)
    seen = []

    def look(part, given):
        seen.append(part.metric(given.metric))
        return whole

    windows = find_windows(series, whole, options, look)
    assert len(windows) > 2
    for window, values in zip(windows, seen, strict=True):
        np.testing.assert_array_equal(values, series.metric("efficiency")[:, window.first : window.last + 1])


def test_of_very_many_rows_some_are_clustered_whatever_their_order(make_series):
    values = draw(waves(16)[np.arange(2400) % 3])
    order = np.random.default_rng(3).permutation(len(values))
    options = TrendOptions(method="kmeans", clusters=3)
    there = find_trends(make_series(values), options).windows
    mixed = find_trends(make_series(values[order]), options).windows
    assert np.count_nonzero(there[0].labels >= 0) == 2000
    assert there[0].text == "2000 layers, picked evenly of all 2400, follow 3 trends."
    for one, other in zip(there, mixed, strict=True):
        assert one.labels[order].tolist() == other.labels.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_follow_one_trend_all_along_do_not_move(make_series, seed):
    random = np.random.default_rng(seed)
    slopes = np.where(np.arange(40) < 20, 0.9, -0.9)[:, None] * np.linspace(0, 1, 25)
    levels = random.normal(0, 0.3, (40, 1))
    trends = find_trends(make_series(10 ** (slopes + levels + random.normal(0, 0.13, (40, 25)) - 2)))
    assert len(trends.clusters) == 2
    assert [window.moved for window in trends.windows if window.moved] == []
