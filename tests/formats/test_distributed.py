"""Checkpoints of torch.distributed.checkpoint: two ranks that save slices of the same tensors, FSDP2, one process."""

from pathlib import Path

import pytest
import torch

SAVER = Path(__file__).with_name("save_distributed.py")
STEPS = (90, 100, 1000)


@pytest.fixture(scope="module")
def by_two_ranks(tmp_path_factory, run_ranks):
    """Folders that two processes saved together, one for each kind of sharding, the whole weights beside them."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks([SAVER, folder])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "columns", "replicated", "fsdp"])
def test_two_ranks(kind, by_two_ranks, analyze, check):
    folder = by_two_ranks / kind
    states = [torch.load(folder / "plain" / f"{step}.pt", weights_only=True) for step in STEPS]
    assert {path.name for path in (folder / "run" / "step-90").iterdir()} == {
        ".metadata",
        "__0_0.distcp",
        "__1_0.distcp",
    }
    series = analyze(folder / "run")
    check(series, states, tied=())  # even of columns, where a row of elements lies in two files
    assert [record.label for record in series.checkpoints] == [f"step-{step}" for step in STEPS]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "columns", "replicated"])
def test_two_ranks_that_write_safetensors(kind, by_two_ranks, analyze, check):
    """`HuggingFaceStorageWriter(save_distributed=True)`: slices of every rank, and nothing that lists them."""
    folder = by_two_ranks / kind
    states = [torch.load(folder / "plain" / f"{step}.pt", weights_only=True) for step in STEPS]
    assert {path.name for path in (folder / "slices" / "step-90").iterdir()} == {
        "shard-00001-model-00001-of-00001.safetensors",
        "shard-00002-model-00001-of-00001.safetensors",
    }
    series = analyze(folder / "slices")
    check(series, states, tied=())
    assert [record.label for record in series.checkpoints] == [f"step-{step}" for step in STEPS]


@pytest.mark.slow
def test_one_checkpoint_of_two_ranks(by_two_ranks, analyze):
    series = analyze(by_two_ranks / "fsdp" / "run" / "step-100")
    assert [(record.step, record.status) for record in series.checkpoints] == [(100, "ok")]


@pytest.fixture
def dcp_save(library):
    """torch.distributed.checkpoint.save by this process alone."""

    def save(state, folder):
        import torch.distributed.checkpoint as dcp

        with library():
            dcp.save(state, checkpoint_id=folder)

    return save


def test_one_process_with_model_and_optimizer(train, dcp_save, analyze, check, tmp_path):
    states = []
    for moment in train():
        state = {
            "model": moment.model.state_dict(),
            "optimizer": moment.optimizer.state_dict(),
            "extra": {"rng": torch.get_rng_state()},
        }
        dcp_save(state, tmp_path / f"step-{moment.step}")
        states.append(moment.state)
    series = analyze(tmp_path)
    check(series, states, tied=() if "head.weight" in series.names else ("head.weight",))
    assert all("distributed" in record.format for record in series.checkpoints)


def test_a_bare_state_dict(train, dcp_save, analyze, check, tmp_path):
    states = []
    for moment in train():
        dcp_save(moment.model.state_dict(), tmp_path / f"step-{moment.step}")
        states.append(moment.state)
    series = analyze(tmp_path)
    check(series, states, tied=() if "head.weight" in series.names else ("head.weight",))


def trainer(step, inner):
    """transformers' Trainer and accelerate, FSDP with SHARDED_STATE_DICT: model and optimizer in folders beside."""
    return f"checkpoint-{step}/pytorch_model_fsdp_0", {f"checkpoint-{step}/optimizer_0": {"optimizer": inner}}


def lightning(step, inner):
    """Lightning's FSDP strategy: a folder named like a file, with what is not split beside it as `meta.pt`."""
    return f"epoch=0-step={step}.ckpt", {f"epoch=0-step={step}.ckpt/meta.pt": {"global_step": step, "loops": inner}}


def torchtitan(step, _inner):
    return f"checkpoint/step-{step}", {}


def megatron(step, inner):
    """Megatron-LM's `torch_dist`: the iteration in `common.pt`."""
    common = {"args": None, "iteration": step, "optimizer": {"param_state": inner}}
    return f"iter_{step:07d}", {f"iter_{step:07d}/common.pt": common}


def composer(step, _inner):
    return f"ep0-ba{step}", {}


@pytest.mark.parametrize("layout", [trainer, lightning, torchtitan, megatron, composer], ids=lambda f: f.__name__)
def test_folders_of_trainers(layout, train, dcp_save, analyze, check, tmp_path):
    """torch saves; the names are those of the trainers."""
    states = []
    for moment in train():
        folder, beside = layout(moment.step, {"exp_avg": torch.ones(3)})
        dcp_save({"model": moment.model.state_dict()}, tmp_path / folder)
        for place, value in beside.items():
            if place.endswith(".pt"):
                torch.save(value, tmp_path / place)
            else:
                dcp_save(value, tmp_path / place)
        states.append(moment.state)
    series = analyze(tmp_path)
    check(series, states, tied=() if "head.weight" in series.names else ("head.weight",))
    assert all(record.format.startswith("torch.distributed") for record in series.checkpoints)


def test_a_missing_file_is_a_checkpoint_that_cannot_be_read(train, dcp_save, analyze, tmp_path):
    for moment in train():
        dcp_save({"model": moment.model.state_dict()}, tmp_path / f"step-{moment.step}")
    (tmp_path / "step-100" / "__0_0.distcp").unlink()
    series = analyze(tmp_path)
    assert [record.status for record in series.checkpoints] == ["ok", "unreadable", "ok"]


def test_a_metadata_file_that_is_a_payload_runs_nothing(train, dcp_save, analyze, tmp_path):
    """torch's own reader of `.metadata` unpickles it."""
    import pickle

    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "pwned",)

    for moment in train():
        dcp_save({"model": moment.model.state_dict()}, tmp_path / f"step-{moment.step}")
    (tmp_path / "step-100" / ".metadata").write_bytes(pickle.dumps(Payload()))
    series = analyze(tmp_path)
    assert [record.status for record in series.checkpoints] == ["ok", "unreadable", "ok"]
    assert not (tmp_path / "pwned").exists()
    assert series.pairs == ((0, 2),)
