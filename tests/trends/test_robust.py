"""What the robust method finds, and the laws that it keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.features import make_curves
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.taming import tame_again


def agreement(first, second) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(first, second))


@pytest.mark.parametrize("groups", [2, 3, 4])
@pytest.mark.parametrize("noise", [0.02, 0.15])
def test_planted_trends_are_found_and_counted(make_series, plant, groups, noise):
    values, answer = plant(groups=groups, noise=noise)
    trends = find_trends(make_series(values))
    assert trends.quality.k == groups
    assert agreement(trends.labels, answer) == 1.0
    assert trends.quality.silhouette > 0.5
    assert trends.quality.stability > 0.9


def test_one_trend_is_mostly_found_to_be_one(make_series, plant):
    found = [find_trends(make_series(plant(groups=1, size=40, noise=0.12, seed=s)[0])).quality.k for s in range(20)]
    assert found.count(1) >= 18


def test_rows_that_differ_by_degrees_are_one_trend(make_series):
    # A fan of slopes: there is a great deal of structure, but no place to cut it.
    slopes = np.linspace(0.2, 1.2, 60)[:, None]
    logs = -slopes * np.linspace(0, 1, 20) + np.random.default_rng(0).normal(0, 0.05, (60, 20))
    assert find_trends(make_series(10**logs)).quality.k == 1


def test_levels_do_not_matter_to_shapes_but_do_to_levels(make_series, plant):
    (one, answer), (two, same) = plant(groups=2, size=12, seed=1), plant(groups=2, size=12, seed=2)
    both = np.vstack((one / np.median(one, axis=1, keepdims=True), 1000 * two / np.median(two, axis=1, keepdims=True)))
    shapes = find_trends(make_series(both))
    assert agreement(shapes.labels, np.concatenate((answer, same))) == 1.0
    levels = find_trends(make_series(both), TrendOptions(features="level"))
    assert agreement(levels.labels, np.repeat([0, 1], len(one))) == 1.0
    whole = find_trends(make_series(both), TrendOptions(features="both"))
    assert agreement(whole.labels, np.concatenate((answer, same + 2))) == 1.0


def test_spikes_are_tamed_and_listed(make_series, plant):
    values, answer = plant()
    spikes = {(1, 0), (4, 10), (9, 19), (15, 4)}
    for cell in spikes:
        values[cell] *= 100
    trends = find_trends(make_series(values))
    assert agreement(trends.labels, answer) == 1.0
    assert set(trends.touched["spike"]) == spikes
    assert "4 cells off their layer's course, in 4 layers, took values that fit it." in trends.notes


@pytest.mark.parametrize("number", [3, 10, 15, 20])
def test_rows_that_jump_at_once_and_come_back_are_an_event_and_no_trend(make_series, number):
    logs = np.random.default_rng(1).normal(-1, 0.05, (30, 15))
    logs[:number, 7] += 1.0
    trends = find_trends(make_series(10**logs))
    assert trends.quality.k == 1
    assert trends.touched["spike"] == tuple((row, 7) for row in range(number))
    assert [event.kind for event in trends.events] == ["spike" if number > 7 else "lone"]


def test_a_jump_that_lasts_is_a_trend(make_series):
    logs = np.random.default_rng(1).normal(-1, 0.05, (30, 15))
    logs[:10, 6:10] += 1.0
    trends = find_trends(make_series(10**logs))
    assert agreement(trends.labels, np.arange(30) < 10) == 1.0
    assert trends.touched["spike"] == ()


def test_rows_like_no_other_are_set_aside(make_series, plant):
    values, answer = plant()
    random = np.random.default_rng(3)
    values[[5, 11]] = 10 ** random.normal(0, 0.6, (2, values.shape[1])).cumsum(axis=1)
    trends = find_trends(make_series(values))
    assert np.flatnonzero(trends.outliers).tolist() == [5, 11]
    assert (trends.labels[[5, 11]] == -1).all()
    kept = ~trends.outliers
    assert agreement(trends.labels[kept], answer[kept]) == 1.0
    assert any(trends.series.names[5] in sentence for sentence in trends.headline)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.2])
def test_two_rows_that_go_together_are_a_trend_of_two(make_series, plant, noise):
    values, answer = plant(noise=noise)
    random = np.random.default_rng(4)
    course = 0.8 * np.sin(np.linspace(0, 8, values.shape[1]))
    values[[5, 11]] = 10 ** (course - np.array([[1], [2]]) + random.normal(0, noise, (2, values.shape[1])))
    answer[[5, 11]] = 3
    trends = find_trends(make_series(values))
    assert not trends.outliers.any()
    assert agreement(trends.labels, answer) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_two_rows_that_are_like_nothing_are_no_trend_of_two(make_series, plant, seed):
    values, _ = plant(seed=seed)
    values[[5, 11]] = 10 ** np.random.default_rng(seed).normal(0, 0.35, (2, values.shape[1])).cumsum(axis=1)
    trends = find_trends(make_series(values))
    assert np.flatnonzero(trends.outliers).tolist() == [5, 11]


def test_gaps_cost_no_row_its_cluster(make_series, plant):
    values, answer = plant(size=10)
    values[np.random.default_rng(0).random(values.shape) < 0.1] = np.nan
    trends = find_trends(make_series(values))
    assert agreement(trends.labels, answer) == 1.0
    assert len(trends.touched["gap"]) == np.isnan(values).sum()


def test_rows_that_never_change_are_a_cluster_of_their_own(make_series, plant):
    values, answer = plant()
    both = np.vstack((values, np.zeros((5, values.shape[1]))))
    trends = find_trends(make_series(both))
    assert trends.clusters[-1].members == tuple(range(len(values), len(both)))
    assert trends.clusters[-1].summary == "unchanged"
    assert agreement(trends.labels, np.concatenate((answer, np.full(5, 9)))) == 1.0
    assert find_trends(make_series(both), TrendOptions(clusters=4)).quality.k == 4
    assert find_trends(make_series(both), TrendOptions(clusters=1)).clusters[0].size == len(both)


def test_rows_that_freeze_half_way_are_told_from_those_that_do_not(make_series):
    values = 10 ** np.random.default_rng(0).normal(-1, 0.05, (20, 12))
    values[:8, 6:] = 0
    trends = find_trends(make_series(values))
    assert agreement(trends.labels, np.arange(20) < 8) == 1.0
    assert len(trends.touched["gap"]) == 48
    assert any(cluster.summary == "steady, then frozen from step 600" for cluster in trends.clusters)


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_unchanged_cells_are_no_spikes_and_stay_where_they_are_drawn(make_series, frozen):
    values = 10 ** np.random.default_rng(0).normal(-1, 0.05, (20, 30))
    values[4, -frozen:] = 0
    values[7, 12:14] = 0
    trends = find_trends(make_series(values))
    cells = {(4, 29 - i) for i in range(frozen)} | {(7, 12), (7, 13)}
    assert set(trends.touched["gap"]) == cells
    assert not cells & set(trends.touched["spike"])
    assert any(note.startswith(f"{len(cells)} unchanged cells, in 2 layers,") for note in trends.notes)


def test_a_layer_frozen_at_the_end_does_not_follow_those_that_are_not(make_series):
    values = 10 ** np.random.default_rng(0).normal(-1, 0.05, (20, 30))
    values[4, -3:] = 0
    trends = find_trends(make_series(values))
    assert np.flatnonzero(trends.outliers).tolist() == [4]
    assert trends.quality.k == 1


@pytest.mark.parametrize("still", [(0,), (10, 11), (4, 5)])
def test_unchanged_cells_survive_both_ways_of_taming(still):
    logs = np.random.default_rng(0).normal(-1, 0.02, (12, 20))
    changes = 10**logs
    changes[3, list(still)] = 0
    curves = make_curves(changes)
    tamed = tame_again(curves, np.zeros(12, dtype=np.int64))
    floor = np.log10(changes[3][changes[3] > 0].min()) - 1
    for found in (curves, tamed):
        np.testing.assert_allclose(found.values[3, list(still)], floor)
        np.testing.assert_array_equal(found.still, changes == 0)
        assert not found.spikes[3].any()


def test_a_single_change_compares_levels(make_series):
    random = np.random.default_rng(0)
    levels = np.concatenate((random.normal(-3, 0.05, 10), random.normal(-1, 0.05, 10)))
    trends = find_trends(make_series(10 ** levels[:, None]))
    assert agreement(trends.labels, np.arange(20) < 10) == 1.0
    assert trends.points.shape == (20, 1)
    assert "A single change has no shape, so levels were compared." in trends.notes


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    noise=st.sampled_from([0.02, 0.15, 0.5]),
    groups=st.integers(1, 4),
    clusters=st.one_of(st.none(), st.integers(1, 6)),
    gaps=st.booleans(),
)
def test_the_order_of_layers_decides_nothing(make_series, plant, seed, noise, groups, clusters, gaps):
    random = np.random.default_rng(seed)
    values, _ = plant(groups=groups, size=6, steps=10, noise=noise, seed=seed)
    if gaps:
        values[random.random(values.shape) < 0.1] = np.nan
        values[random.random(values.shape) < 0.05] = 0.0
    order = random.permutation(len(values))
    names = [f"layer{i}" for i in range(len(values))]
    options = TrendOptions(clusters=clusters)
    one = find_trends(make_series(values, names), options)
    two = find_trends(make_series(values[order], [names[i] for i in order]), options)
    np.testing.assert_array_equal(two.labels, one.labels[order])
    np.testing.assert_array_equal(two.outliers, one.outliers[order])
    np.testing.assert_array_equal(two.points, one.points[order])
    np.testing.assert_array_equal(two.confidence, one.confidence[order])
    assert two.quality == one.quality


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-6, 0.25, 3.0, 1e9]), groups=st.integers(1, 4))
def test_scaling_all_changes_alters_no_cluster(make_series, plant, seed, factor, groups):
    values, _ = plant(groups=groups, size=6, noise=0.05, seed=seed)
    one, two = find_trends(make_series(values)), find_trends(make_series(values * factor))
    np.testing.assert_array_equal(two.labels, one.labels)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_scaling_each_layer_alters_no_partition(make_series, plant, seed):
    values, _ = plant(size=6, noise=0.05, seed=seed)
    scaled = values * 10 ** np.random.default_rng(seed).uniform(-3, 3, (len(values), 1))
    assert agreement(find_trends(make_series(values)).labels, find_trends(make_series(scaled)).labels) == 1.0


def test_a_layer_between_two_trends_is_less_sure(make_series):
    random = np.random.default_rng(0)
    x = np.linspace(0, 1, 12)
    logs = np.concatenate((np.tile(-x, (15, 1)), np.tile(x, (15, 1)), [0.1 * x]))
    trends = find_trends(make_series(10 ** (logs + random.normal(0, 0.25, logs.shape))), TrendOptions(clusters=2))
    assert np.nanargmin(trends.confidence) == 30
    assert np.median(trends.confidence) > 0.95


@pytest.mark.parametrize("gap", range(10))
def test_a_gap_in_one_row_makes_no_outlier_of_another(make_series, gap):
    random, time = np.random.default_rng(3), np.arange(10)
    courses = np.array([-0.19 * time, 0.05 * time, 1.3 * np.exp(-(((time - 4.5) / 1.3) ** 2))])
    noise = np.repeat([[0.05], [0.08], [0.02]], 4, axis=0)
    values = 10 ** (np.repeat(courses, 4, axis=0) - 1.5 + random.normal(0, 1, (12, 10)) * noise)
    assert not find_trends(make_series(values)).outliers.any()
    values[9, gap] = np.nan
    trends = find_trends(make_series(values))
    assert not trends.outliers.any()
    assert agreement(trends.labels, np.repeat([0, 1, 2], 4)) == 1.0
