"""The trainer's log in reports: one sentence, and a plot that shares its axis with the curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.reports import training_log
from wsanalyze.reports.training_log import collect_log, describe_log, describe_plotted_log
from wsanalyze.series import ChangeSeries, CheckpointRecord, TrainingLog
from wsanalyze.sums import Sums

NAN = np.nan


def make_log(steps, until=None, **values):
    until = [0] * len(steps) if until is None else until
    columns = {name: np.array(column, np.float64) for name, column in values.items()}
    return TrainingLog(np.array(steps, np.int64), np.array(until, np.int64), columns)


def make_series(steps, pairs, log):
    records = tuple(CheckpointRecord(step, str(step), "here") for step in steps)
    states = np.full((0, len(pairs)), None, dtype=object)
    return ChangeSeries(records, (), tuple(pairs), Sums.unmeasured(0, len(pairs)), states, log=log)


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (TrainingLog(), None),
        (make_log([1], grad_norm=[NAN]), None),
        (make_log([20, 1000], loss=[2.31, 0.52], learning_rate=[5e-5, 0]),
         "loss 2.31 to 0.520, learning rate 5.00e-5 to 0 (steps 20 to 1000)"),
        (make_log([5], loss=[2.0]), "loss 2.00 (step 5)"),
        (make_log([5, 7], loss=[2.0, NAN], grad_norm=[NAN, 3.0]), "loss 2.00 (step 5)"),
        (make_log([1, 2, 3], learning_rate=[0, 1e-3, 0]), "learning rate 0 to 0 by way of 0.00100 (steps 1 to 3)"),
        (make_log([1, 2, 3], learning_rate=[1, 1.001, 1]), "learning rate 1.00 to 1.00 (steps 1 to 3)"),
        (make_log([9, 9, 3], eval_loss=[NAN, 4.0, 1.0]), "eval loss 4.00 to 1.00 (steps 3 to 9)"),
        (make_log([4], train_loss=[0.5]), "training loss 0.500 (step 4)"),
        (make_log([4, 5], grad_norm=[0.5, 9]), "gradient norm 0.500 to 9.00 (steps 4 to 5)"),
    ],
)  # fmt: skip
def test_the_sentence(log, text):
    assert describe_log(log) == text


def test_the_caption_names_the_steps_that_are_drawn():
    log = make_log([100, 500, 900, 1200], [0, 0, 1, 2], loss=[4.0, 3.0, 2.0, 1.0])
    told = "loss 4.00 to 1.00 (steps 100 to 1200)"
    cut = make_series([500, 1000, 1500], [(0, 1), (1, 2)], log)
    assert describe_plotted_log(cut) == f"{told}; the plot shows steps 500 to 1200, between compared checkpoints"
    low, high = (collect_log(cut)["curves"][0]["steps"][end] for end in (0, -1))
    assert (low, high) == (500, 1200)
    assert describe_plotted_log(make_series([100, 900, 1500], [(0, 1), (1, 2)], log)) == told
    assert describe_plotted_log(make_series([100], [], log)) == told


def test_entries_lie_between_the_checkpoints_of_their_change():
    log = make_log([5, 10, 15, 20, 30, 40, 50], [0, 0, 1, 1, 2, 3, 4], loss=range(7))
    # checkpoint 2 is bridged, and 4 takes no part
    data = collect_log(make_series([10, 20, 30, 40, 50], [(0, 1), (1, 3)], log))
    (curve,) = data["curves"]
    assert data["start"] == 10
    assert curve == {
        "name": "loss",
        "title": "loss",
        "steps": [10, 15, 20, 30, 40],
        "places": [-1.0, -0.5, 0.0, 0.5, 1.0],
        "values": [1.0, 2.0, 3.0, 4.0, 5.0],
    }


def test_where_steps_start_over_the_stretch_begins_at_0():
    log = make_log([10, 20, 5, 10], [0, 1, 2, 2], loss=[4, 3, 2, 1])
    (curve,) = collect_log(make_series([10, 20, 10], [(0, 1), (1, 2)], log))["curves"]
    assert curve["places"] == [-1.0, 0.0, 0.5, 1.0]


def test_before_a_checkpoint_without_a_step_they_lie_from_0():
    log = make_log([10, 20], [1, 1], loss=[4, 3])
    data = collect_log(make_series([None, 20, 30], [(0, 1), (1, 2)], log))
    assert data["start"] is None
    assert data["curves"][0]["places"] == [-0.5, 0.0]


def test_entries_of_a_checkpoint_without_a_step_lie_at_its_place():
    log = make_log([10, 20], [1, 1], loss=[4, 3])
    assert collect_log(make_series([5, None], [(0, 1)], log))["curves"][0]["places"] == [0.0, 0.0]


def test_there_is_nothing_to_draw():
    log = make_log([10, 20], [0, 1], loss=[4, 3])
    assert collect_log(make_series([10, 20], [(0, 1)], TrainingLog())) is None
    assert collect_log(make_series([10, 20], [], log)) is None
    assert collect_log(make_series([15, 20], [(0, 1)], make_log([10], [0], loss=[4]))) is None
    assert collect_log(make_series([10, 20], [(0, 1)], make_log([15], [1], grad_norm=[4]))) is None


def test_a_long_log_is_drawn_with_fewer_points(monkeypatch):
    monkeypatch.setattr(training_log, "_MAX_POINTS", 50)
    steps = np.arange(1000)
    log = make_log(steps, np.ones(1000), loss=np.sin(steps), learning_rate=steps / 7)
    loss, rate = collect_log(make_series([0, 1000], [(0, 1)], log))["curves"]
    assert 10 < len(loss["steps"]) == len(rate["steps"]) <= 50
    np.testing.assert_allclose(loss["values"], np.sin(loss["steps"]), rtol=1e-4)


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=6, unique=True).map(sorted),
    st.lists(st.integers(0, 50), min_size=1, max_size=30).map(sorted),
)
def test_places_never_go_back_and_lie_on_the_axis(checkpoints, noted):
    until = np.searchsorted(checkpoints, noted)
    inside = until < len(checkpoints)
    log = make_log(np.array(noted)[inside], until[inside], loss=np.ones(inside.sum()))
    pairs = [(i, i + 1) for i in range(len(checkpoints) - 1)]
    data = collect_log(make_series(checkpoints, pairs, log))
    expected = [step for step in noted if checkpoints[0] <= step <= checkpoints[-1]]
    assert (data["curves"][0]["steps"] if data else []) == expected
    if data:
        places = data["curves"][0]["places"]
        np.testing.assert_allclose(places, np.interp(expected, checkpoints, range(-1, len(pairs))), atol=1e-4)
