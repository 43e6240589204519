"""Rows that follow no cluster, and rows without company."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from wsanalyze.trends.outliers import find_odd_groups, find_strange, find_strays, measure_loneliness


def make_rows(number=60, steps=20, noise=0.1, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    courses = np.array([np.linspace(-1, 1, steps), np.linspace(1, -1, steps)])
    return courses[labels] + random.normal(0, noise, (number, steps)), np.full(number, noise), labels.astype(np.int64)


def test_a_row_with_a_course_of_its_own_strays_and_is_alone():
    rows, noise, labels = make_rows()
    rows[7] = np.sin(np.linspace(0, 9, rows.shape[1]))
    assert np.flatnonzero(find_strays(rows, noise, labels, np.zeros_like(labels))).tolist() == [7]
    assert np.flatnonzero(find_strange(measure_loneliness(rows, noise)[1])).tolist() == [7]


def test_noise_makes_no_outliers():
    for seed in range(20):
        rows, noise, labels = make_rows(seed=seed)
        assert not find_strays(rows, noise, labels, np.zeros_like(labels)).any()
        assert not find_strange(measure_loneliness(rows, noise)[1]).any()


def test_a_noisy_row_is_none_where_its_noise_is_known():
    rows, noise, labels = make_rows()
    rows[3] += np.random.default_rng(1).normal(0, 0.5, rows.shape[1])
    assert np.flatnonzero(find_strays(rows, noise, labels, np.zeros_like(labels))).tolist() == [3]
    noise[3] = 0.5
    assert not find_strays(rows, noise, labels, np.zeros_like(labels)).any()


def test_three_of_a_kind_stray_but_have_company():
    rows, noise, labels = make_rows()
    rows[[7, 8, 9]] = np.sin(np.linspace(0, 9, rows.shape[1])) + np.random.default_rng(1).normal(0, 0.1, (3, 20))
    labels[[7, 8, 9]] = -1
    assert np.flatnonzero(find_strays(rows, noise, labels, np.zeros_like(labels))).tolist() == [7, 8, 9]
    assert not find_strange(measure_loneliness(rows, noise)[1]).any()


def test_many_spikes_make_less_distance_strange():
    rows, noise, labels = make_rows(steps=12)
    # Twice as noisy as it should be: by itself that may be chance.
    rows[7] += np.linspace(-1, 1, 12) * 0.24
    spikes = np.zeros_like(labels)
    assert not find_strays(rows, noise, labels, spikes).any()
    spikes[7] = 3
    assert np.flatnonzero(find_strays(rows, noise, labels, spikes)).tolist() == [7]


def test_few_rows_have_no_outliers():
    rows, noise, labels = make_rows(4)
    rows[3] += 100
    assert not find_strays(rows, noise, labels, np.zeros_like(labels)).any()
    assert np.array_equal(measure_loneliness(rows, noise), np.ones((2, len(rows))))


def test_distances_of_thousands_of_rows_are_near_those_of_all_changes():
    rows, noise, _ = make_rows(2500, 60)
    rows[1200] = np.sin(np.linspace(0, 9, 60))
    assert np.flatnonzero(find_strange(measure_loneliness(rows, noise)[1])).tolist() == [1200]


def test_where_rows_differ_in_noise_more_is_left_to_chance():
    random = np.random.default_rng(0)
    rows, noise, labels = make_rows(steps=12)
    rows[7] += 0.45 * np.linspace(-1, 1, 12)
    spikes = np.zeros_like(labels)
    assert find_strays(rows, noise, labels, spikes)[7]
    assert not find_strays(rows, noise * np.exp(random.normal(0, 0.3, len(noise))), labels, spikes).any()


def test_a_row_that_is_nearer_than_most_is_none_however_quiet_it_was_taken_for():
    rows, noise, labels = make_rows(steps=10)
    rows[7] = np.linspace(1, -1, 10) + 0.12 * np.sin(np.linspace(0, 6, 10))
    noise[7], labels[7] = 0.01, -1
    assert not find_strays(rows, noise, labels, np.zeros_like(labels)).any()
    rows[7] += 0.2 * np.sin(np.linspace(0, 6, 10))
    assert np.flatnonzero(find_strays(rows, noise, labels, np.zeros_like(labels))).tolist() == [7]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("spread", [0.1, 1.5, 4.0])
def test_a_few_rows_are_a_cluster_only_if_they_are_nearer_to_each_other_than_to_others(size, spread):
    for seed in range(10):
        random = np.random.default_rng(seed)
        labels = random.permutation(np.repeat([0, 1, 2], [20, 10, size]))
        points = np.array([[0.0, 0], [5, 0], [0, 5]])[labels] + random.normal(0, 0.3, (len(labels), 2))
        few = labels == 2
        points[few] += random.normal(0, spread, (size, 2))
        is_odd = size < 4 and silhouette_samples(points, labels)[few].mean() < 0.25
        np.testing.assert_array_equal(find_odd_groups(points, labels), few & is_odd)


def test_rows_of_one_cluster_are_no_odd_group():
    assert not find_odd_groups(np.arange(6.0).reshape(3, 2), np.zeros(3, dtype=np.int64)).any()
    assert find_odd_groups(np.zeros((4, 2)), np.array([0, 0, 1, 1])).all()  # none is farther from the others
