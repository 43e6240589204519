"""The log that a trainer leaves: what is in it is read, whatever else is in it is not."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsanalyze.checkpoints import trainer_state
from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.trainer_state import read_global_step, read_training_log
from wsanalyze.files.base import FileRef
from wsanalyze.series import LOG_NAMES


@pytest.fixture
def put_state(tmp_path):
    """Write a state beside the weights of a checkpoint, which need not be there; returns the checkpoint."""

    def put_state(step, history, *, folder=None, stage=""):
        place = tmp_path / (folder or f"checkpoint-{step}")
        place.mkdir(exist_ok=True)
        state = history if isinstance(history, str) else json.dumps({"global_step": step, "log_history": history})
        (place / "trainer_state.json").write_text(state)
        return make_checkpoint(place, step, stage)

    return put_state


def make_checkpoint(place, step, stage=""):
    file = FileRef(str(place / "model.safetensors"), 0, "", 0)
    return Checkpoint(step, place.name, str(place), (file,), ("",), stage=stage)


def note(step, **values):
    return {"epoch": 0.5, "step": step, "eval_runtime": 3.5, **values}


def columns(log):
    return {name: values.tolist() for name, values in log.values.items()}


def test_the_last_file_tells_all(put_state, monkeypatch):
    history = [note(10 * i, loss=1 / i, learning_rate=1e-3 * i) for i in range(1, 31)]
    checkpoints = [put_state(step, history[: step // 10]) for step in (0, 100, 200, 300)]
    opened = []
    read = trainer_state._read_state
    monkeypatch.setattr(trainer_state, "_read_state", lambda path: (opened.append(path.parent.name), read(path))[1])

    log = read_training_log(checkpoints)

    assert opened == ["checkpoint-300", "checkpoint-0"]
    assert log.steps.tolist() == list(range(10, 301, 10))
    assert log.until.tolist() == [1] * 10 + [2] * 10 + [3] * 10
    assert columns(log) == {
        "loss": [1 / i for i in range(1, 31)],
        "learning_rate": [1e-3 * i for i in range(1, 31)],
    }
    assert log.at_checkpoints("loss", 4).tolist()[1:] == [1 / 10, 1 / 20, 1 / 30]


def test_what_a_step_has_is_brought_together(put_state):
    history = [note(5, eval_loss=2.0), note(5, loss=1.0), note(5, loss=1.5), note(7, train_loss=3.0, grad_norm=9)]
    log = read_training_log([put_state(7, history)])
    assert log.steps.tolist() == [5, 7]
    assert {name: np.nan_to_num(values, nan=-1).tolist() for name, values in log.values.items()} == {
        "loss": [1.5, -1],
        "train_loss": [-1, 3.0],
        "eval_loss": [2.0, -1],
        "grad_norm": [-1, 9.0],
    }


def test_a_history_that_was_cut_is_joined_to_those_before_it(put_state):
    first = put_state(20, [note(10, loss=1.0), note(20, loss=2.0)])
    second = put_state(40, [note(20, loss=2.5), note(30, loss=3.0), note(40, loss=4.0)])
    log = read_training_log([first, second])
    # 20 is where the later history begins, so it holds all from there on
    assert (log.steps.tolist(), columns(log)) == ([20, 30, 40], {"loss": [2.5, 3.0, 4.0]})
    third = put_state(40, [note(30, loss=3.0), note(40, loss=4.0)])
    log = read_training_log([first, third])
    assert (log.steps.tolist(), columns(log)) == ([10, 20, 30, 40], {"loss": [1.0, 2.0, 3.0, 4.0]})


def test_a_damaged_last_file_leaves_the_one_before_it(put_state):
    log = read_training_log([put_state(10, [note(10, loss=1.0)]), put_state(20, "[" * 100)])
    assert (log.steps.tolist(), log.until.tolist(), columns(log)) == ([10], [0], {"loss": [1.0]})


@pytest.mark.parametrize("stages", [("stage1", "stage2"), ("", "")])
def test_stages_and_runs_follow_each_other(put_state, stages):
    history = [note(10, loss=1.0), note(20, loss=2.0)]
    later = [note(10, loss=3.0), note(20, loss=4.0)]
    checkpoints = [
        put_state(10, history[:1], folder="a", stage=stages[0]),
        put_state(20, history, folder="b", stage=stages[0]),
        put_state(10, later[:1], folder="c", stage=stages[1]),
        put_state(20, later, folder="d", stage=stages[1]),
    ]
    log = read_training_log(checkpoints)
    assert log.steps.tolist() == [10, 20, 10, 20]
    assert log.until.tolist() == [0, 1, 2, 3]
    assert log.at_checkpoints("loss", 4).tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_file_that_counts_something_else_is_let_go(put_state):
    epoch = dataclasses.replace(put_state(500, [note(1, loss=1.0), note(500, loss=2.0)]), step=3)
    assert len(read_training_log([epoch])) == 0
    assert len(read_training_log([dataclasses.replace(epoch, step=None)])) == 0


def test_it_is_looked_for_beside_what_was_found(put_state, tmp_path):
    checkpoint = put_state(3, [note(3, loss=1.0)])
    below = tmp_path / "checkpoint-3" / "unet"
    merged = dataclasses.replace(make_checkpoint(below, 3), origin=str(tmp_path / "checkpoint-3"))
    alone = dataclasses.replace(checkpoint, origin=str(tmp_path / "checkpoint-3" / "model.safetensors"))
    elsewhere = dataclasses.replace(checkpoint, origin="hub://x/y", files=())
    for found, length in ((merged, 1), (alone, 1), (elsewhere, 0)):
        assert len(read_training_log([found])) == length


def test_nothing_was_found():
    log = read_training_log([])
    assert (len(log), dict(log.values)) == (0, {})
    assert np.isnan(log.at_checkpoints("loss", 2)).all()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "true", "null", '"3"', "[1]", "9" * 400])
def test_what_is_no_number_is_none(put_state, value):
    text = f'{{"global_step": 2, "log_history": [{{"step": 1, "loss": {value}, "learning_rate": 0.5}}]}}'
    log = read_training_log([put_state(2, text)])
    assert columns(log) == {"learning_rate": [0.5]}


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 3, "loss", [], {}, {"loss": 1}, {"step": 1, "Loss": 1}, note(1, loss="1"), {"step": True, "loss": 1}),
        *(note(step, loss=1) for step in (-1, 1.0, "1", None, 10**30, 3)),
    ],
)
def test_an_entry_that_is_none_is_passed_over(put_state, entry):
    log = read_training_log([put_state(2, [entry, note(2, loss=1.0)])])
    assert (log.steps.tolist(), columns(log)) == ([2], {"loss": [1.0]})


@pytest.mark.parametrize("history", [None, {}, "x", 3, {"step": 1, "loss": 2}])
def test_a_history_that_is_none_is_passed_over(put_state, history):
    assert len(read_training_log([put_state(2, json.dumps({"global_step": 2, "log_history": history}))])) == 0


@given(
    state=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["step", "log_history", "global_step", *LOG_NAMES]), inner, max_size=4)
        ),
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_gives_a_log_and_a_step_or_none(put_state, state):
    checkpoint = put_state(3, json.dumps(state))
    log = read_training_log([checkpoint])
    assert len(log) == len(log.until) == sum(1 for _ in log.steps)
    step = read_global_step(Path(checkpoint.origin)).get("global_step")
    expected = state.get("global_step") if isinstance(state, dict) else None
    assert step == (expected if type(expected) is int and 0 <= expected < 2**53 else None)


def test_a_long_log_is_thinned_and_keeps_its_peaks(put_state, monkeypatch):
    monkeypatch.setattr(trainer_state, "_MAX_ENTRIES", 100)
    history = [note(i, loss=50.0 if i == 777 else float(np.sin(i))) for i in range(1, 2001)]
    history += [note(i, eval_loss=2.0) for i in range(500, 2001, 500)]
    log = read_training_log([put_state(2000, history)])
    assert 40 < len(log) <= 100
    assert log.steps[[0, -1]].tolist() == [1, 2000]
    assert (np.diff(log.steps) > 0).all()
    assert log.values["loss"][log.steps == 777].tolist() == [50.0]
    assert log.steps[log.noted("eval_loss")].tolist() == [500, 1000, 1500, 2000]


@pytest.mark.parametrize("limit", ["_MAX_BYTES", "_MAX_VALUES"])
def test_a_note_of_gigabytes_is_let_go(put_state, monkeypatch, limit):
    checkpoint = put_state(2, [note(2, loss=1.0)])
    assert len(read_training_log([checkpoint])) == 1
    monkeypatch.setattr(trainer_state, limit, 5)
    assert len(read_training_log([checkpoint])) == 0


def test_the_step_is_found_without_the_history(put_state, monkeypatch):
    checkpoint = put_state(7, [note(i, loss=1.0) for i in range(10_000)])
    monkeypatch.setattr(trainer_state, "_read_state", lambda path: pytest.fail(f"{path} was read whole"))
    assert read_global_step(Path(checkpoint.origin)) == {"global_step": 7}


@pytest.mark.parametrize("head", range(1, 90))
def test_the_step_is_whole_wherever_the_head_ends(put_state, monkeypatch, head):
    text = json.dumps({"best": None, "nested": {"global_step": 1}, "global_step": 123456, "log_history": [{"step": 5}]})
    checkpoint = put_state(123456, text)
    monkeypatch.setattr(trainer_state, "_HEAD_BYTES", head)
    assert read_global_step(Path(checkpoint.origin)) == {"global_step": 123456}


def test_a_folder_of_that_name_and_no_file_are_none(tmp_path):
    assert read_global_step(tmp_path) == {}
    (tmp_path / "trainer_state.json").mkdir()
    assert read_global_step(tmp_path) == {}
