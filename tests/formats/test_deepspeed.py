"""DeepSpeed's ZeRO stage 3, its files written as `deepspeed.runtime.engine` writes them: sums as of whole weights."""

import socket
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from wsanalyze.errors import SourceError


def save_zero3(moment, folder, *, num_ranks=2, prefix="", parallel=1):
    """`folder/global_stepN` for one moment, and what lies beside it."""
    inner = folder / f"global_step{moment.step}"
    inner.mkdir(parents=True)
    trained = {name: p for name, p in moment.model.named_parameters() if p.requires_grad}
    frozen = {name: p for name, p in moment.model.named_parameters() if not p.requires_grad}
    buffers = dict(moment.model.named_buffers())

    def cut(tensor, rank):
        flat = tensor.detach().flatten()
        size = -(-flat.numel() // num_ranks)
        return torch.nn.functional.pad(flat, (0, size * num_ranks - flat.numel()))[rank * size :][:size].clone()

    for rank in range(num_ranks):
        model = {
            "module": OrderedDict(
                (n, buffers.get(n, torch.empty(0, dtype=torch.bfloat16))) for n in moment.model.state_dict()
            ),
            "buffer_names": list(buffers),
            "param_shapes": [OrderedDict((name, p.shape) for name, p in trained.items())],
            "frozen_param_shapes": OrderedDict((name, p.shape) for name, p in frozen.items()),
            "frozen_param_fragments": OrderedDict((name, cut(p, rank)) for name, p in frozen.items()),
            "shared_params": {"head.weight": "embed.weight"},
            "lr_scheduler": None,
            "global_steps": moment.step,
            "ds_config": {"zero_optimization": {"stage": 3}},
            "ds_version": "0.18.2",
        }
        optimizer = {
            "zero_stage": 3,
            "partition_count": num_ranks,
            "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(7)}}, "param_groups": [{"lr": 0.1}]},
            "fp32_flat_groups": [torch.cat([cut(p, rank) for p in trained.values()])],
        }
        for mp in range(parallel):
            name = f"zero_pp_rank_{rank}_mp_rank_{mp:02d}"
            torch.save(model, inner / f"{name}_model_states.pt")
            torch.save({"optimizer_state_dict": optimizer}, inner / f"{prefix}{name}_optim_states.pt")
    (folder / "latest").write_text(inner.name)
    (folder / "zero_to_fp32.py").write_text("# a script that DeepSpeed leaves\n")


@pytest.fixture
def make_frozen(make_model):
    """The small model with a part that is not trained."""

    def make():
        model = make_model()
        model.stem.weight.requires_grad_(requires_grad=False)
        return model

    return make


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_ranks_that_do_not_divide_the_weights(train, make_frozen, analyze, check, tmp_path, num_ranks):
    states = []
    for moment in train(make_frozen):
        save_zero3(moment, tmp_path, num_ranks=num_ranks)
        states.append(moment.state)
    series = analyze(tmp_path)
    check(series, states)
    assert {record.format for record in series.checkpoints} == {f"DeepSpeed ZeRO-3, {2 * num_ranks} files"}


@pytest.mark.parametrize("place", ["checkpoint-{}", "checkpoint_{}/pytorch_model", "epoch=0-step={}.ckpt"])
def test_below_the_folders_of_trainers(train, analyze, check, tmp_path, place):
    """transformers' Trainer, accelerate, Lightning."""
    states = []
    for moment in train():
        save_zero3(moment, tmp_path / place.format(moment.step), prefix="bf16_")
        states.append(moment.state)
    check(analyze(tmp_path), states)


def test_a_rank_that_is_missing_is_a_checkpoint_that_cannot_be_read(train, analyze, tmp_path):
    for moment in train():
        save_zero3(moment, tmp_path)
    (tmp_path / "global_step100" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    series = analyze(tmp_path)
    assert [record.status for record in series.checkpoints] == ["ok", "unreadable", "ok"]
    assert "zero_to_fp32.py" in series.checkpoints[1].reason


def test_slices_of_tensors_beside_are_refused(train, analyze, tmp_path):
    for moment in train():
        save_zero3(moment, tmp_path, parallel=2)
    with pytest.raises(SourceError, match=r"split over the 2 ranks that trained it: run Megatron-DeepSpeed"):
        analyze(tmp_path)


@pytest.fixture(scope="module")
def by_two_ranks(tmp_path_factory, run_ranks):
    """A folder for each stage, which two processes saved together, the whole weights beside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("ranks")
    saver = [Path(__file__).with_name("save_deepspeed.py"), folder]
    run_ranks(saver, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "DS_ACCELERATOR": "cpu"})
    return folder


@pytest.mark.slow
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_library_itself_on_two_ranks(stage, by_two_ranks, analyze, check):
    folder = by_two_ranks / str(stage)
    states = [torch.load(folder / "plain" / f"step_{step}.pt", weights_only=True) for step in (2, 4, 6)]
    check(analyze(folder / "run"), states, steps=(2, 4, 6), tied=())
