"""Faults planted in a sequence of real files: each is named, with the right step."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import wsanalyze

SHAPES = {f"blocks.{i}.{part}.weight": (24, 16) for i in range(4) for part in ("attn", "mlp")}
STEPS = tuple(range(0, 1200, 100))


def train(seed=0):
    """Weights that go from random ones to others, ever more slowly and not quite straight: one for each step."""
    random = np.random.default_rng(seed)
    start, way = ({name: random.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(2))
    return [
        {
            name: (start[name] + np.sqrt(index) * way[name] + 0.05 * random.normal(size=shape)).astype(np.float32)
            for name, shape in SHAPES.items()
        }
        for index in range(len(STEPS))
    ]


def save(folder, states):
    folder.mkdir()
    for step, state in zip(STEPS, states, strict=True):
        save_file({name: np.ascontiguousarray(w) for name, w in state.items()}, folder / f"step_{step}.safetensors")
    return folder


def analyze(folder):
    trends = wsanalyze.analyze(folder, run=folder.parent / "run.wsa").trends()
    return [(event.kind, event.layer, _step(trends, event), event.text) for event in trends.all_events]


def _step(trends, event):
    return None if event.checkpoint is None else trends.series.checkpoints[event.checkpoint].step


def test_a_clean_sequence_has_no_faults(tmp_path):
    kinds = {kind for kind, *_ in analyze(save(tmp_path / "run", train()))}
    assert not kinds & {"duplicate", "impostor", "frozen", "nonfinite", "dead", "spike", "wakes"}


@pytest.mark.parametrize("whole", [True, False], ids=["all NaN", "one NaN"])
def test_four_faults_at_once_are_all_named(tmp_path, whole):
    states = train()
    states[4], states[9] = states[9], states[4]
    states[7] = states[6]
    states = [dict(state) for state in states]
    for place in range(6, len(states)):
        states[place]["blocks.1.mlp.weight"] = states[5]["blocks.1.mlp.weight"]
    for place in range(8, len(states)):
        bad = states[place]["blocks.2.attn.weight"].copy()
        bad[:] = np.where(whole, np.nan, bad)
        bad[3, 5] = np.nan
        states[place]["blocks.2.attn.weight"] = bad
    events = analyze(save(tmp_path / "run", states))
    named = {(kind, layer, step) for kind, layer, step, _ in events}
    assert ("duplicate", None, 700) in named
    assert ("frozen", "blocks.1.mlp.weight", 500) in named
    assert ("nonfinite", "blocks.2.attn.weight", 800) in named
    impostors = " ".join(text for kind, *_, text in events if kind == "impostor")
    assert "step_400" in impostors
    assert "step_900" in impostors


def test_a_checkpoint_overwritten_by_another_steps_is_its_copy(tmp_path):
    states = train()
    states[8] = states[3]
    events = analyze(save(tmp_path / "run", states))
    assert [(kind, step) for kind, _, step, _ in events if kind == "duplicate"] == [("duplicate", 800)]


def test_a_bad_checkpoint_is_told_once(tmp_path):
    states = train()
    random = np.random.default_rng(1)
    states[6] = {n: w + 3 * random.normal(size=w.shape).astype(np.float32) for n, w in states[6].items()}
    kinds = [kind for kind, *_ in analyze(save(tmp_path / "run", states))]
    assert kinds.count("impostor") + kinds.count("spike") == 1


def test_faults_in_a_real_training(tmp_path):
    fixture = Path(__file__).parents[2] / "fixtures" / "digits-transformer"
    folder = tmp_path / "run"
    shutil.copytree(fixture, folder)
    (folder / "last.pt").unlink()
    loaded = {step: torch.load(folder / f"step_{step}.pt", weights_only=False) for step in (600, 2000)}
    shutil.copy(folder / "step_1000.pt", folder / "step_1500.pt")
    name = next(n for n, w in _tensors(loaded[600]).items() if n.endswith("blocks.1.mlp.fc1.weight"))
    _tensors(loaded[2000])[name][0, 0] = float("nan")
    torch.save(loaded[2000], folder / "step_2000.pt")
    events = {(kind, step) for kind, _, step, _ in analyze(folder)}
    assert ("duplicate", 1500) in events
    assert ("nonfinite", 2000) in events


def _tensors(saved):
    """The state dict in a checkpoint, wherever it is."""
    if all(isinstance(value, torch.Tensor) for value in saved.values()):
        return saved
    return next(_tensors(value) for value in saved.values() if isinstance(value, dict) and len(value) > 10)
