"""What uneven distances between checkpoints do, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.series import CheckpointRecord
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.spacing import (
    find_new_spacings,
    grows_with_distance,
    is_uneven,
    measure_odd,
    note_spacing,
    step_distances,
    take_distances,
    take_odd_off,
)

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


def test_a_distance_that_is_not_known_is_the_middle_one_of_the_nearest(make_series):
    series = make_series(np.ones((2, 4)))
    assert step_distances(with_steps(series, (None, 10, 30, 50, 100))).tolist() == [20, 20, 20, 50]
    assert step_distances(with_steps(series, (None, 100, 300, 400, 500))).tolist() == [100, 200, 100, 100]
    assert step_distances(with_steps(series, (None, 1, 2, 4, 8))).tolist() == [2, 1, 2, 4]
    assert step_distances(with_steps(series, (0, 10, 5, 50, 60))).tolist() == [10, 10, 45, 10]
    assert np.isnan(step_distances(with_steps(series, (None,) * 5))).all()
    assert step_distances(make_series(np.ones((2, 0)))).shape == (0,)


def test_one_checkpoint_left_out_makes_an_uneven_spacing(make_series):
    series = make_series(np.ones((2, 4)))
    assert is_uneven(step_distances(with_steps(series, (0, 10, 20, 40, 50))))
    assert not is_uneven(step_distances(with_steps(series, (0, 10, 20, 37, 50))))
    assert not is_uneven(np.full(3, np.nan))
    assert not is_uneven(np.array([5.0]))


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("ratio", [2, 3, 7])
def test_a_single_distance_that_is_longer_is_odd(place, ratio):
    distances = np.full(10, 100.0)
    distances[place] *= ratio
    odd = measure_odd(distances)
    assert np.flatnonzero(odd != 1).tolist() == [place]
    assert odd[place] == ratio


@pytest.mark.parametrize(
    "distances",
    [
        [100] * 8,
        [100, 150, 100, 120, 100, 90],
        [100] * 6 + [1000] * 6,
        [100, 100, 300, 300, 300, 100, 100],
        [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
        np.diff(PYTHIA),
        [20, 20, 40, 40, 80, 100, 100, 200, 200, 200],
        [25, 75, 100, 200, 200, 200, 200, 500, 500],
        [500, 200],
        [7],
        [],
    ],
)
def test_a_spacing_that_changes_for_good_or_always_makes_no_odd_distance(distances):
    assert (measure_odd(np.array(distances, dtype=float)) == 1).all()


@given(exponent=st.floats(0, 1), ratio=st.sampled_from([0.25, 0.5, 2.0, 3.0, 5.0]), place=st.integers(0, 11))
def test_what_an_odd_distance_can_have_done_is_taken_off_wholly(exponent, ratio, place):
    odd = np.ones(12)
    odd[place] = ratio
    values = np.array([np.full(12, 0.3), np.full(12, 4.0)]) * odd**exponent
    np.testing.assert_allclose(take_odd_off(values, odd), [[0.3] * 12, [4.0] * 12], rtol=1e-9)


@given(decades=st.floats(-3, 3), ratio=st.sampled_from([0.5, 2.0, 3.0]), place=st.integers(1, 10))
def test_of_a_jump_over_an_odd_distance_as_much_is_left_as_holds_in_any_case(decades, ratio, place):
    odd = np.ones(12)
    odd[place] = ratio
    values = np.ones(12)
    values[place] = 10**decades
    (left,) = np.log10(take_odd_off(values, odd)[[place]])
    least, most = sorted((decades, decades - np.log10(ratio)))
    assert left == pytest.approx(0.0 if least <= 0 <= most else min(least, most, key=abs), abs=1e-9)


def test_cells_without_a_logarithm_stay_as_they_are():
    odd = np.array([1, 2, 1, 1.0])
    values = np.array([[1, 0, 1, 1], [1, np.nan, 1, 1], [0, 5, 1, 1], [np.nan, 5, 1, 1]], dtype=float)
    np.testing.assert_array_equal(take_odd_off(values, odd), values)
    assert take_odd_off(values, np.ones(4)) is values


def test_a_spacing_is_new_where_it_changes_but_on_no_ladder():
    assert find_new_spacings(np.array([10, 10, 10, 50, 50, 50, 10, 10.0])).tolist() == [3, 6]
    assert find_new_spacings(np.array([10, 15, 10.0])).tolist() == []
    assert find_new_spacings(2.0 ** np.arange(10)).tolist() == []
    assert find_new_spacings(np.ones(0)).tolist() == []


def test_distances_are_of_no_matter_where_a_metric_does_not_grow_with_them(pythia):
    assert take_distances(pythia, "rwc").tolist() == np.diff(PYTHIA).tolist()
    assert (take_distances(pythia, "rate") == 1).all()
    assert (take_distances(with_steps(pythia, (None,) * len(PYTHIA)), "rwc") == 1).all()


def test_the_note_names_the_change_that_spans_an_odd_distance(make_series):
    series = make_series(np.ones((2, 9)))
    first, second = note_spacing(with_steps(series, (0, 100, 200, 400, 500, 600, 700, 800, 900, 1000)), "rwc")
    assert "(100 to 200 steps apart)" in first
    assert second.startswith("The change to step 400 spans 2 times as many steps as those around it: ")
    _, second = note_spacing(with_steps(series, (0, 100, 200, 400, 500, 600, 700, 1000, 1100, 1200)), "rwc")
    assert second.startswith("The changes to step 400 (2 times) and step 1000 (3 times) span another number of steps")


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
