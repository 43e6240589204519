"""Spikes that show only by the course of others."""

import numpy as np
import pytest

from wsanalyze.trends.features import make_curves
from wsanalyze.trends.find import find_trends
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


@pytest.mark.parametrize("number", [3, 15, 20])
@pytest.mark.parametrize("places", [[6], [3, 8]], ids=str)
def test_rows_that_jump_and_come_back_are_thrown_off_their_course(number, places):
    changes = make_changes()
    changes[:number, places] *= 30
    labels = np.where(np.arange(40) < number, 1, 0)
    found = tame_again(make_curves(changes), labels)
    assert {tuple(cell) for cell in np.argwhere(found.spikes)} == {(r, p) for r in range(number) for p in places}
    assert np.abs(found.values - np.median(found.values, axis=0)).max() < 0.4


@pytest.mark.parametrize("length", [30, 9])
def test_a_bad_checkpoint_is_two_jumps_of_which_few_changes_are_a_course(length):
    changes = make_changes(steps=length)
    changes[:15, 4:6] *= 30
    labels = np.where(np.arange(40) < 15, 1, 0)
    found = tame_again(make_curves(changes), labels).spikes
    assert found[:15, 4:6].all() == (length == 30)
    assert not found[15:].any()


@pytest.mark.parametrize(
    "course",
    [
        np.eye(12)[-1],  # at the end nothing comes back
        np.eye(12)[0],
        np.exp(-((np.arange(12) - 6.0) ** 2)),  # a hump has flanks
        np.arange(12) > 9,  # a step does not return
        np.isin(np.arange(12), [2, 5, 8]),  # a quarter of all changes
    ],
    ids=["last", "first", "hump", "step", "often"],
)
def test_many_rows_that_leave_otherwise_have_a_course_of_their_own(course):
    changes = make_changes()
    changes[:15] *= 10 ** (1.5 * course)
    labels = np.where(np.arange(40) < 15, 1, 0)
    values = tame_again(make_curves(changes), labels).values
    assert np.abs(np.median(values[:15], axis=0) - np.median(values[15:], axis=0)).max() > 1


def test_noise_is_measured_about_the_course_and_not_about_its_bends():
    x = np.linspace(0, 1, 30)
    logs = 2 * np.sin(40 * x) + np.random.default_rng(0).normal(0, 0.05, (9, 30))
    first = make_curves(10**logs)
    assert first.usual_noise > 0.3
    again = tame_again(first, np.zeros(9, dtype=np.int64))
    assert abs(np.log(again.usual_noise / 0.05)) < 0.3


def test_rows_in_no_cluster_at_all_stay_as_they_are():
    curves = make_curves(make_changes())
    assert tame_again(curves, np.full(40, -1)) is curves


def test_when_a_row_moves_that_mostly_rests_is_its_course_and_no_spike(make_series):
    random = np.random.default_rng(0)
    values = 10 ** random.normal(-2, 0.03, (20, 30))
    values[:15, np.arange(30) != 14] = 0.0
    trends = find_trends(make_series(values))
    assert trends.touched["spike"] == ()
    assert sorted(map(len, (cluster.members for cluster in trends.clusters))) == [5, 15]
    values[1:15] = 10 ** random.normal(-2, 0.03, (14, 30))
    assert find_trends(make_series(values)).outliers.tolist() == [True, *[False] * 19]
