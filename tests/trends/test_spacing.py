"""What uneven distances between checkpoints do, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.series import CheckpointRecord
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.spacing import grows_with_distance, is_uneven, note_spacing, root_distances, step_distances

PYTHIA = (0, *(2**power for power in range(10)), *range(1000, 11000, 1000))


def with_steps(series, steps):
    records = tuple(CheckpointRecord(step, f"checkpoint-{step}", "run") for step in steps)
    return replace(series, checkpoints=records)


@pytest.fixture
def pythia(measure_series):
    weights = np.random.default_rng(0).normal(size=(6, len(PYTHIA), 30)).cumsum(axis=1)
    return with_steps(measure_series(weights), PYTHIA)


def test_distances_are_differences_of_steps(pythia):
    assert step_distances(pythia).tolist() == np.diff(PYTHIA).tolist()


def test_a_distance_that_is_not_known_is_that_of_the_nearest_change(make_series):
    series = make_series(np.ones((2, 4)))
    assert step_distances(with_steps(series, (None, 10, 30, 50, 100))).tolist() == [20, 20, 20, 50]
    assert step_distances(with_steps(series, (0, 10, 5, 50, 60))).tolist() == [10, 10, 45, 10]
    assert np.isnan(step_distances(with_steps(series, (None,) * 5))).all()
    assert step_distances(make_series(np.ones((2, 0)))).shape == (0,)


def test_one_checkpoint_left_out_makes_no_uneven_spacing(make_series):
    series = make_series(np.ones((2, 4)))
    bridged = with_steps(series, (0, 10, 20, 40, 50))
    assert not is_uneven(step_distances(bridged))
    assert root_distances(bridged).tolist() == [1, 1, 1, 1]
    assert not is_uneven(np.full(3, np.nan))
    assert not is_uneven(np.array([5.0]))


def test_changes_of_a_random_walk_are_even_once_divided_by_the_root_of_their_distances():
    random = np.random.default_rng(1)
    walk = random.normal(size=(PYTHIA[-1] + 1, 50)).cumsum(axis=0)
    changes = np.linalg.norm(np.diff(walk[list(PYTHIA)], axis=0), axis=1)
    distances = np.diff(PYTHIA).astype(float)
    even = changes / np.sqrt(distances / np.median(distances))
    assert np.ptp(np.log10(changes)) > 1
    assert np.ptp(np.log10(even)) < 0.3


def test_the_note_names_the_distances_and_what_helps(pythia):
    (note,) = note_spacing(pythia, "rwc")
    assert "(1 to 1000 steps apart)" in note
    assert "--metric rate" in note
    assert note in find_trends(pythia).notes


def test_there_is_no_note_where_distance_does_not_matter(pythia, make_series):
    assert note_spacing(pythia, "rate") == ()
    assert note_spacing(pythia, "coherence") == ()
    assert note_spacing(make_series(np.ones((2, 4))), "rwc") == ()


def test_a_table_is_not_told_to_use_a_metric_that_it_does_not_hold(make_series):
    (note,) = note_spacing(with_steps(make_series(np.ones((2, 3))), (None, 1, 10, 100)), "rwc")
    assert "--metric" not in note


@pytest.mark.parametrize(
    ("metric", "grows"),
    [("rwc", True), ("angle", True), ("flips", True), ("spectral", True), ("of a table", True)]
    + [(name, False) for name in ("rate", "rate-linear", "from-first", "rotation", "coherence", "efficiency", "rank")],
)
def test_metrics_that_grow_with_distance(metric, grows):
    assert grows_with_distance(metric) is grows
