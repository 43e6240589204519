"""Spikes that show only by the course of others."""

import numpy as np

from wsanalyze.trends.features import make_curves
from wsanalyze.trends.taming import tame_again


def make_changes(rows=40, steps=12, seed=0):
    logs = -(np.linspace(0, 2, steps) ** 2) / 2 + np.random.default_rng(seed).normal(0, 0.05, (rows, steps))
    return 10**logs


def test_a_spike_at_the_end_is_told_by_the_course_of_the_cluster():
    changes = make_changes()
    changes[5, 11] *= 20
    curves = tame_again(make_curves(changes), np.zeros(40, dtype=np.int64))
    assert np.argwhere(curves.spikes).tolist() == [[5, 11]]
    assert abs(curves.values[5, 11] - np.median(curves.values[:, 11])) < 0.2


def test_a_small_cluster_that_jumps_once_is_the_large_one_with_spikes():
    changes = make_changes()
    changes[:3, 6] *= 30
    labels = np.where(np.arange(40) < 3, 1, 0)
    found = tame_again(make_curves(changes), labels)
    assert {tuple(cell) for cell in np.argwhere(found.spikes)} == {(0, 6), (1, 6), (2, 6)}


def test_a_jump_of_many_rows_is_a_course():
    changes = make_changes()
    changes[:15, 6] *= 30
    labels = np.where(np.arange(40) < 15, 1, 0)
    assert not tame_again(make_curves(changes), labels).spikes.any()


def test_noise_is_measured_about_the_course_and_not_about_its_bends():
    x = np.linspace(0, 1, 30)
    logs = 2 * np.sin(40 * x) + np.random.default_rng(0).normal(0, 0.05, (30, 30))
    first = make_curves(10**logs)
    assert first.usual_noise > 0.3
    again = tame_again(first, np.zeros(30, dtype=np.int64))
    assert abs(np.log(again.usual_noise / 0.05)) < 0.3


def test_rows_in_no_cluster_at_all_stay_as_they_are():
    curves = make_curves(make_changes())
    assert tame_again(curves, np.full(40, -1)) is curves
