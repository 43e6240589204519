"""How many trends there are."""

import numpy as np
import pytest

from wsanalyze.trends.choose import (
    LEAST_SEPARATION,
    NULL_LEVEL,
    NUM_NULLS,
    choose_clusters,
    compare_with_one_trend,
    measure_separation,
)
from wsanalyze.trends.cluster import limit_threads


@pytest.fixture(autouse=True)
def _one_thread():
    with limit_threads():
        yield


def make_heaps(distance, sizes, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(0, noise, (len(labels), 2)) + distance * labels[:, None], labels


@pytest.mark.parametrize("sizes", [(20, 20), (50, 5), (10, 10, 10, 10)])
def test_heaps_that_lie_apart_are_counted(sizes):
    points, labels = make_heaps(8.0, sizes)
    choice = choose_clusters(points, np.full(len(points), 0.5), 0)
    assert len(set(zip(choice.labels.tolist(), labels.tolist(), strict=True))) == len(sizes)
    assert choice.p_value == 1 / (1 + NUM_NULLS)


def test_one_heap_is_one_for_nineteen_seeds_of_twenty():
    found = [choose_clusters(make_heaps(0.0, (60,), seed)[0], np.full(60, 0.5), 0).labels.max() for seed in range(20)]
    assert found.count(0) >= 19


def test_thousands_of_points_are_clustered_as_those_that_decide():
    points, labels = make_heaps(10.0, (3000, 2500))
    order = np.random.default_rng(1).permutation(len(points))
    found = choose_clusters(points[order], np.full(len(points), 0.5), 0)
    assert len(set(zip(found.labels.tolist(), labels[order].tolist(), strict=True))) == 2


def test_separation_is_a_distance_over_a_spread():
    points, labels = make_heaps(10.0, (500, 500))
    along = 10 * np.sqrt(2)
    assert measure_separation(points, labels, np.full(1000, 0.1)) == pytest.approx(along, rel=0.1)
    assert measure_separation(points, labels, np.full(1000, 5.0)) == pytest.approx(along / 5, rel=0.1)


def test_halves_of_one_heap_are_not_separated():
    points = np.random.default_rng(0).normal(size=(400, 1))
    halves = (points[:, 0] > 0).astype(np.int64)
    assert measure_separation(points, halves, np.full(400, 0.1)) < LEAST_SEPARATION
    even = np.linspace(-1, 1, 400)[:, None]
    assert measure_separation(even, (even[:, 0] > 0).astype(np.int64), np.full(400, 0.01)) < LEAST_SEPARATION


def test_noisy_points_between_two_heaps_do_not_join_them():
    points, labels = make_heaps(6.0, (30, 30), noise=0.3)
    noise = np.full(60, 0.3)
    noise[[0, 59]] = 5.0
    points[0] += 3.0
    points[59] -= 3.0
    assert measure_separation(points, labels, noise) > 1.2 * measure_separation(points, labels, np.full(60, 0.3))


def test_chance_is_told_from_heaps():
    points, labels = make_heaps(8.0, (30, 30))
    noise = np.full(60, 0.1)
    assert compare_with_one_trend(points, labels, noise, 0) <= NULL_LEVEL
    one, _ = make_heaps(0.0, (60,))
    cut = (one[:, 0] > np.median(one[:, 0])).astype(np.int64)
    assert compare_with_one_trend(one, cut, noise, 0) > NULL_LEVEL


def test_a_row_with_much_noise_of_its_own_is_no_heap():
    random = np.random.default_rng(5)
    noise = np.full(60, 0.1)
    noise[:5] = 3.0
    points = random.normal(size=(60, 2)) * noise[:, None]
    labels = (np.abs(points[:, 0]) > 1.5).astype(np.int64)
    if labels.any():
        assert compare_with_one_trend(points, labels, noise, 0) > NULL_LEVEL
