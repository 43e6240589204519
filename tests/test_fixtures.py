"""The committed checkpoints: that they are there, what fixtures/README.md says of them, and that they can be made."""

import argparse
import importlib
import json
import random
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

FIXTURES = Path(__file__).parent.parent / "fixtures"
CONVNET = FIXTURES / "digits-convnet"
TRANSFORMER = FIXTURES / "digits-transformer"
CONVNET_STEPS = [0, 20, 40, 80, 120, 200, 300, 400, 600, 800, 1000]
TRANSFORMER_STEPS = [0, 25, 100, 200, 400, 600, 800, 1000, 1500, 2000]
FREEZE_STEP, DROP_STEP = 400, 600

Weights = Mapping[str, torch.Tensor]


def load_plain(path: Path) -> Any:
    """Read a torch file without running what it pickles; only the names that a training pickles are let in."""
    numpy_state = [np.ndarray, np.dtype, np.dtypes.UInt32DType, np._core.multiarray._reconstruct]
    with torch.serialization.safe_globals([argparse.Namespace, *numpy_state]):
        return torch.load(path, weights_only=True)


def load_convnet(step: int, folder: Path = CONVNET) -> Weights:
    checkpoint = folder / f"checkpoint-{step}"
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text(encoding="utf-8"))
    shards = {name: load_file(checkpoint / name) for name in sorted(set(index["weight_map"].values()))}
    assert {name: shard for shard in shards for name in shards[shard]} == index["weight_map"]
    return {name: tensor for shard in shards.values() for name, tensor in shard.items()}


def load_transformer(step: int, weights: str = "model") -> Weights:
    state: Weights = load_plain(TRANSFORMER / f"step_{step}.pt")[weights]
    return state


def relative_change(before: torch.Tensor, after: torch.Tensor) -> float:
    return float((after.double() - before.double()).abs().sum() / before.double().abs().sum())


def median_change(before: Weights, after: Weights) -> float:
    return float(np.median([relative_change(before[name], after[name]) for name in matrices(before)]))


def matrices(weights: Weights) -> list[str]:
    return [name for name, tensor in weights.items() if tensor.ndim >= 2]


def test_committed_steps_are_those_of_the_readme() -> None:
    assert sorted(int(path.name.split("-")[1]) for path in CONVNET.iterdir()) == CONVNET_STEPS
    names = {f"step_{step}.pt" for step in TRANSFORMER_STEPS}
    assert {path.name for path in TRANSFORMER.iterdir()} == names | {"last.pt"}


def test_text_order_is_not_step_order() -> None:
    by_text = [int(path.name.split("-")[1]) for path in sorted(CONVNET.iterdir())]
    assert by_text != CONVNET_STEPS


def test_all_committed_checkpoints_stay_below_six_megabytes() -> None:
    files = [path for folder in (CONVNET, TRANSFORMER) for path in folder.rglob("*") if path.is_file()]
    assert 1e6 < sum(path.stat().st_size for path in files) < 6e6


@pytest.mark.parametrize("step", CONVNET_STEPS)
def test_convnet_checkpoint_is_what_a_trainer_saves(step: int) -> None:
    checkpoint = CONVNET / f"checkpoint-{step}"
    weights = load_convnet(step)
    assert len(list(checkpoint.glob("model-*.safetensors"))) == 3
    assert len(matrices(weights)) == 21
    assert all(tensor.dtype == torch.float32 for name, tensor in weights.items() if "num_batches" not in name)
    assert all(tensor.isfinite().all() for tensor in weights.values())

    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] == step
    assert state["log_history"][-1]["step"] == step
    assert load_plain(checkpoint / "scheduler.pt")["last_epoch"] == step
    assert set(load_plain(checkpoint / "rng_state.pth")) == {"python", "numpy", "cpu"}
    assert load_plain(checkpoint / "training_args.bin").freeze_step == FREEZE_STEP
    # Momentum for every trained parameter; none before the first step.
    num_parameters = sum("running" not in name and "num_batches" not in name for name in weights)
    assert len(load_plain(checkpoint / "optimizer.pt")["state"]) == (num_parameters if step else 0)


@pytest.mark.parametrize("step", TRANSFORMER_STEPS)
def test_transformer_checkpoint_holds_a_whole_training(step: int) -> None:
    state = load_plain(TRANSFORMER / f"step_{step}.pt")
    assert set(state) == {"model", "model_ema", "optimizer", "scheduler", "global_step", "epoch", "args"}
    assert state["global_step"] == state["scheduler"]["last_epoch"] == step
    assert state["epoch"] == pytest.approx(step * 64 / 1437, abs=1e-4)
    assert isinstance(state["args"], argparse.Namespace)
    assert len(matrices(state["model"])) == 20
    for weights in (state["model"], state["model_ema"]):
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        assert all(tensor.isfinite().all() for tensor in weights.values())
    averaged = any(not torch.equal(state["model"][name], state["model_ema"][name]) for name in state["model"])
    assert averaged == (step > 0)


def test_last_is_the_last_step_under_another_name() -> None:
    last, numbered = load_plain(TRANSFORMER / "last.pt"), load_plain(TRANSFORMER / f"step_{TRANSFORMER_STEPS[-1]}.pt")
    assert last["global_step"] == numbered["global_step"] == TRANSFORMER_STEPS[-1]
    for weights in ("model", "model_ema"):
        assert last[weights].keys() == numbered[weights].keys()
        assert all(torch.equal(last[weights][name], tensor) for name, tensor in numbered[weights].items())


def test_stem_alone_is_frozen_and_only_after_the_freeze() -> None:
    sides = [load_convnet(step) for step in CONVNET_STEPS]
    for first, (before, after) in zip(CONVNET_STEPS, pairwise(sides), strict=False):
        unchanged = {name for name, tensor in before.items() if torch.equal(tensor, after[name])}
        frozen = {name for name in before if name.startswith("stem.")} if first >= FREEZE_STEP else set()
        assert unchanged == frozen


def test_changes_fall_tenfold_with_the_learning_rate() -> None:
    before, drop, after = (load_convnet(step) for step in (FREEZE_STEP, DROP_STEP, DROP_STEP + 200))
    assert 5 < median_change(before, drop) / median_change(drop, after) < 20


def test_learning_rate_of_the_convnet_drops_once_in_its_log() -> None:
    state = json.loads((CONVNET / "checkpoint-1000" / "trainer_state.json").read_text(encoding="utf-8"))
    rates = {entry["step"]: entry["learning_rate"] for entry in state["log_history"] if "learning_rate" in entry}
    assert list(rates) == list(range(20, 1001, 20))
    assert {step for step, rate in rates.items() if rate == pytest.approx(0.05)} == set(range(20, DROP_STEP + 1, 20))
    assert all(rate == pytest.approx(0.005) for step, rate in rates.items() if step > DROP_STEP)


def test_transformer_warms_up_and_calms_down() -> None:
    steps = [0, 25, 100, 200, 1500, 2000]
    first, warm, hot, peak, late, end = (load_transformer(step) for step in steps)
    assert median_change(first, warm) < median_change(warm, hot) < median_change(hot, peak)
    assert median_change(late, end) < 0.02 * median_change(hot, peak)


def test_tiny_convnet_training_writes_the_layout(tmp_path: Path, modules: Mapping[str, Any]) -> None:
    recipe = modules["convnet"].Recipe(steps=(0, 2, 4), freeze_step=2, drop_step=3, batch_size=8, logging_steps=1)
    results = modules["make"].make_convnet(tmp_path, recipe)
    folder = tmp_path / "digits-convnet"
    assert [result.step for result in results] == [0, 2, 4]
    assert {path.name for path in folder.iterdir()} == {"checkpoint-0", "checkpoint-2", "checkpoint-4"}
    committed = {path.name for path in (CONVNET / "checkpoint-1000").iterdir()}
    assert {path.name for path in (folder / "checkpoint-4").iterdir()} == committed
    start, freeze, end = (load_convnet(step, folder) for step in (0, 2, 4))
    assert start.keys() == load_convnet(0).keys()
    assert not torch.equal(start["stem.conv.weight"], freeze["stem.conv.weight"])
    assert torch.equal(freeze["stem.conv.weight"], end["stem.conv.weight"])
    assert not torch.equal(freeze["head.weight"], end["head.weight"])


def test_tiny_transformer_training_gives_the_same_weights_again(tmp_path: Path, modules: Mapping[str, Any]) -> None:
    recipe = modules["transformer"].Recipe(steps=(0, 1, 3), warmup_steps=2, batch_size=8, depth=1)
    first, second = tmp_path / "first", tmp_path / "second"
    assert repr(modules["make"].make_transformer(first, recipe)) == repr(
        modules["make"].make_transformer(second, recipe)
    )
    names = {"step_0.pt", "step_1.pt", "step_3.pt", "last.pt"}
    assert {path.name for path in (first / "digits-transformer").iterdir()} == names
    one, two = (load_plain(out / "digits-transformer" / "step_3.pt") for out in (first, second))
    assert one["model"].keys() == two["model"].keys()
    for weights in ("model", "model_ema"):
        assert all(torch.equal(one[weights][name], two[weights][name]) for name in one[weights])


def test_making_again_replaces_what_was_there(tmp_path: Path, modules: Mapping[str, Any]) -> None:
    stale = tmp_path / "digits-convnet" / "checkpoint-7"
    stale.mkdir(parents=True)
    modules["make"].make_convnet(tmp_path, modules["convnet"].Recipe(steps=(0,), batch_size=8))
    assert [path.name for path in (tmp_path / "digits-convnet").iterdir()] == ["checkpoint-0"]


def test_training_leaves_the_generators_as_they_were(tmp_path: Path, modules: Mapping[str, Any]) -> None:
    states = (random.getstate(), torch.get_rng_state().tolist(), torch.get_num_threads())
    modules["make"].make_convnet(tmp_path, modules["convnet"].Recipe(steps=(0, 1), batch_size=8))
    assert (random.getstate(), torch.get_rng_state().tolist(), torch.get_num_threads()) == states
    assert not torch.are_deterministic_algorithms_enabled()


def test_code_still_makes_the_tensors_that_are_committed(tmp_path: Path, modules: Mapping[str, Any]) -> None:
    assert list(modules["convnet"].Recipe().steps) == CONVNET_STEPS
    assert list(modules["transformer"].Recipe().steps) == TRANSFORMER_STEPS
    modules["make"].make_convnet(tmp_path, modules["convnet"].Recipe(steps=(0,)))
    modules["make"].make_transformer(tmp_path, modules["transformer"].Recipe(steps=(0,)))
    made = [load_convnet(0, tmp_path / "digits-convnet")]
    made.append(load_plain(tmp_path / "digits-transformer" / "last.pt")["model"])
    for new, committed in zip(made, [load_convnet(0), load_transformer(0)], strict=True):
        assert {name: tensor.shape for name, tensor in new.items()} == {n: t.shape for n, t in committed.items()}


@pytest.fixture(scope="module")
def modules() -> Iterator[Mapping[str, Any]]:
    """The scripts in fixtures/, which import one another by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FIXTURES)
        yield {name: importlib.import_module(name) for name in ("make", "convnet", "transformer")}
