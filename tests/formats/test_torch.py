"""Files that torch.save wrote, in all the shapes that people save."""

import copy
import itertools
import os

import numpy as np
import pytest
import torch
from torch import nn

from wsanalyze.errors import SourceError


@pytest.fixture
def save(train, tmp_path):
    """Save every moment as a torch file named by its step; returns the folder and the states."""

    def write(make, name="step_{}.pt", **options):
        states = []
        for moment in train():
            torch.save(make(moment), tmp_path / name.format(moment.step), **options)
            states.append(moment.state)
        return tmp_path, states

    return write


def test_a_bare_state_dict_keeps_the_order_of_the_model(save, analyze, check):
    folder, states = save(lambda moment: moment.model.state_dict())
    series = analyze(folder)
    check(series, states)
    parameters = [name for name in states[0] if name != "head.weight" and "norm.r" not in name]
    assert list(series.names) == [name for name in parameters if "num_batches" not in name]
    assert {record.format for record in series.checkpoints} == {"torch"}
    assert [event.layer for event in series.events if event.kind == "tied"] == ["head.weight"]


def test_a_trainers_dict_without_its_optimizer(save, analyze, check):
    folder, states = save(
        lambda moment: {
            "model": moment.model.state_dict(),
            "optimizer": moment.optimizer.state_dict(),
            "rng_state": torch.get_rng_state(),
            "scaler": {"scale": torch.tensor(65536.0)},
            "global_step": moment.step,
            "loss": torch.tensor(0.5),
        },
        name="snapshot-{}.pth",
    )
    check(analyze(folder), states)


def test_a_whole_pickled_module(save, analyze, check):
    folder, states = save(lambda moment: moment.model)
    check(analyze(folder), states)


def test_the_legacy_format(save, analyze, check):
    folder, states = save(
        lambda moment: {"model": moment.model.state_dict(), "optimizer": moment.optimizer.state_dict()},
        _use_new_zipfile_serialization=False,
    )
    check(analyze(folder), states)


def test_the_legacy_format_with_views_of_one_storage(train, analyze, check, tmp_path):
    states = []
    for moment in train():
        storage = torch.cat([moment.state["stem.weight"].flatten(), moment.state["embed.weight"].flatten()])
        views = {"stem.weight": storage[:216].view(8, 3, 3, 3), "embed.weight": storage[216:].view(11, 8)}
        torch.save(views, tmp_path / f"step_{moment.step}.pt", _use_new_zipfile_serialization=False)
        states.append(views)
    check(analyze(tmp_path), states)


@pytest.mark.parametrize("suffix", [".pt", ".jit", ".pth"])
def test_torchscript(train, analyze, check, library, tmp_path, suffix):
    states = []
    for moment in train():
        with library():
            torch.jit.script(copy.deepcopy(moment.model)).save(tmp_path / f"step_{moment.step}{suffix}")
        states.append(moment.state)
    check(analyze(tmp_path), states)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_fsdp_wrapped_module."])
def test_names_of_wrappers(save, analyze, check, prefix):
    folder, states = save(lambda m: {f"{prefix}{name}": value for name, value in m.model.state_dict().items()})
    check(analyze(folder), states)


def test_dataparallel_and_compile_wrap_the_names(save, analyze, check, library):
    def wrap(moment):
        with library():
            return nn.DataParallel(torch.compile(moment.model)).state_dict()

    folder, states = save(wrap)
    assert next(iter(torch.load(folder / "step_90.pt"))) == "module._orig_mod.stem.weight"
    check(analyze(folder), states)


def test_wrapped_in_only_some_of_the_checkpoints(train, analyze, check, tmp_path):
    states = []
    for moment in train():
        wrapped = nn.DataParallel(moment.model) if moment.step == 100 else moment.model
        torch.save(wrapped.state_dict(), tmp_path / f"step_{moment.step}.pt")
        states.append(moment.state)
    check(analyze(tmp_path), states)


def test_transposed_tensors(save, analyze, check):
    def transpose(moment):
        state = moment.model.state_dict()
        state["embed.weight"] = state["head.weight"] = state["embed.weight"].t().contiguous().t()
        state["stem.weight"] = state["stem.weight"].contiguous(memory_format=torch.channels_last)
        assert not state["stem.weight"].is_contiguous()
        return state

    folder, states = save(transpose)
    check(analyze(folder), states, exact=False)


def test_transposed_in_one_checkpoint_alone(save, analyze, check):
    def transpose(moment):
        state = moment.model.state_dict()
        if moment.step == 100:
            state["blocks.0.weight"] = state["blocks.0.weight"].t().contiguous().t()
        return state

    folder, states = save(transpose)
    check(analyze(folder), states, exact=False)


def test_views_that_share_a_storage(save, analyze, check):
    """As fused optimizers leave them: every parameter a slice of one flat buffer."""

    def fuse(moment):
        state = moment.model.state_dict()
        flat = torch.cat([tensor.flatten().float() for tensor in state.values()])
        parts = flat.split([tensor.numel() for tensor in state.values()])
        return {name: part.view(state[name].shape) for name, part in zip(state, parts, strict=True)}

    folder, states = save(fuse)
    check(analyze(folder), states, tied=())  # fused, the pair is two copies


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_other_element_types(train, analyze, check, tmp_path, dtype):
    states = []
    for moment in train():
        state = {name: tensor.to(dtype) for name, tensor in moment.state.items() if tensor.is_floating_point()}
        torch.save(state, tmp_path / f"step_{moment.step}.pt")
        states.append(state)
    check(analyze(tmp_path), states, tied=())


def test_complex_weights(train, analyze, tmp_path):
    weights = []
    for moment in train():
        weights.append(torch.complex(moment.state["blocks.0.weight"], moment.state["blocks.2.weight"].T))
        torch.save({"filter.weight": weights[-1]}, tmp_path / f"step_{moment.step}.pt")
    arrays = [weight.numpy().astype(np.complex128) for weight in weights]
    expected = [np.abs(b - a).sum() / np.abs(a).sum() for a, b in itertools.pairwise(arrays)]
    np.testing.assert_allclose(analyze(tmp_path).metric()[0], expected, rtol=1e-6)


def test_last_and_best_are_copies(save, analyze, check, statuses):
    folder, states = save(lambda m: {"state_dict": m.model.state_dict(), "epoch": m.step}, name="epoch_{}.pth")
    os.link(folder / "epoch_1000.pth", folder / "last.pth")
    (folder / "best.pth").write_bytes((folder / "epoch_100.pth").read_bytes())
    series = analyze(folder)
    check(series, states)
    assert statuses(series)["last"] == statuses(series)["best"] == "duplicate"
    assert {event.kind for event in series.events} == {"tied", "duplicate"}


def test_an_optimizer_alone_is_no_checkpoint(save, analyze):
    folder, _ = save(lambda moment: {"optimizer": moment.optimizer.state_dict(), "global_step": moment.step})
    with pytest.raises(SourceError):
        analyze(folder)
