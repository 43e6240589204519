"""Layouts of libraries too heavy to install here: their own file names, and dicts of the same make as theirs.

Each function writes what the library's saving code writes for one moment, read in its source.
"""

import os
import re

import numpy as np
import pytest
import torch

from wsanalyze.errors import SourceError


def detectron2(moment, folder):
    """fvcore.common.checkpoint.Checkpointer.save: `model_0004999.pth` and a text file `last_checkpoint`."""
    state = {
        "model": moment.model.state_dict(),
        "optimizer": moment.optimizer.state_dict(),
        "scheduler": {"last_epoch": moment.step},
        "iteration": moment.step,
    }
    torch.save(state, folder / f"model_{moment.step:07d}.pth")
    (folder / "last_checkpoint").write_text(f"model_{moment.step:07d}.pth")


def mmengine_epochs(moment, folder):
    """mmengine.runner.Runner.save_checkpoint by epoch."""
    meta = {"epoch": moment.step, "iter": moment.step * 10, "seed": 0, "mmengine_version": "0.10.7", "time": "2026"}
    state = {
        "meta": meta,
        "state_dict": moment.model.state_dict(),
        "message_hub": {"log_scalars": {}, "runtime_info": {"epoch": 1}, "resumed_keys": {}},
        "optimizer": moment.optimizer.state_dict(),
        "param_schedulers": [{"last_step": moment.step}],
    }
    torch.save(state, folder / f"epoch_{moment.step}.pth")
    (folder / "last_checkpoint").write_text(str(folder / f"epoch_{moment.step}.pth"))


def mmengine_iterations(moment, folder):
    """The same with `by_epoch=False`, the iteration inside as in the name."""
    state = {
        "meta": {"epoch": 0, "iter": moment.step, "experiment_name": "x"},
        "state_dict": moment.model.state_dict(),
        "optimizer": moment.optimizer.state_dict(),
    }
    torch.save(state, folder / f"iter_{moment.step}.pth")


def open_clip(moment, folder):
    """open_clip_train.main: `epoch_5.pt`, names as DistributedDataParallel has them."""
    state = {
        "epoch": moment.step,
        "name": "exp",
        "state_dict": {f"module.{name}": tensor for name, tensor in moment.model.state_dict().items()},
        "optimizer": moment.optimizer.state_dict(),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }
    torch.save(state, folder / f"epoch_{moment.step}.pt")
    torch.save(state, folder / "epoch_latest.pt")


def torchtune(moment, folder):
    """torchtune's FullModelHFCheckpointer: `epoch_N/ft-model-00001-of-00001.safetensors` and a recipe state."""
    from safetensors.torch import save_file

    inner = folder / f"epoch_{moment.step}"
    inner.mkdir()
    state = {n: t.contiguous() for n, t in moment.state.items() if n != "head.weight"}
    save_file(state, inner / "ft-model-00001-of-00001.safetensors", metadata={"format": "pt"})
    (inner / "ft-model.safetensors.index.json").write_text(
        '{"metadata": {"total_size": 1}, "weight_map": {"stem.weight": "ft-model-00001-of-00001.safetensors"}}'
    )
    (folder / "recipe_state").mkdir(exist_ok=True)
    torch.save({"optimizer": moment.optimizer.state_dict(), "epochs_run": 1}, folder / "recipe_state/recipe_state.pt")


def fastai(moment, folder):
    """fastai.callback.tracker.SaveModelCallback(every_epoch=True, with_opt=True): `models/model_3.pth`."""
    inner = folder / "models"
    inner.mkdir(exist_ok=True)
    state = {"model": moment.model.state_dict(), "opt": {"state": [], "hypers": [{"lr": 0.01}]}}
    torch.save(state, inner / f"model_{moment.step}.pth")


def ultralytics(moment, folder):
    """ultralytics.engine.trainer.save_model since 8.1: whole pickled modules in half precision, the average alone."""
    state = {
        "epoch": moment.step,
        "best_fitness": 0.5,
        "model": None,
        "ema": moment.model,
        "updates": 10,
        "optimizer": moment.optimizer.state_dict(),
        "scaler": {},
        "train_args": {"lr0": 0.01},
        "train_results": {"epoch": [1]},
        "date": "2026-11-22T10:00:00",
        "version": "8.3",
    }
    torch.save(state, folder / f"epoch{moment.step}.pt")
    os.link(folder / f"epoch{moment.step}.pt", folder / "new.pt")
    (folder / "new.pt").replace(folder / "last.pt")


def fairseq(moment, folder):
    """fairseq.checkpoint_utils: `checkpoint3.pt`, `checkpoint_last.pt`, the number of updates in a list."""
    state = {
        "args": None,
        "cfg": {"model": {}},
        "model": moment.model.state_dict(),
        "criterion": {},
        "optimizer_history": [{"num_updates": moment.step * 100, "lr_scheduler_state": {"best": None}}],
        "last_optimizer_state": moment.optimizer.state_dict(),
        "extra_state": {"train_iterator": {"epoch": moment.step}},
    }
    torch.save(state, folder / f"checkpoint{moment.step}.pt")
    torch.save(state, folder / "checkpoint_last.pt")


def nanogpt(moment, folder):
    """As hand-written loops do it: `ckpt_100.pt`, compiled names, the iteration inside."""
    state = {
        "model": {f"_orig_mod.{name}": tensor for name, tensor in moment.model.state_dict().items()},
        "optimizer": moment.optimizer.state_dict(),
        "model_args": {"n_layer": 2},
        "iter_num": moment.step,
        "best_val_loss": torch.tensor(1.5),
        "config": {"lr": 0.1},
    }
    torch.save(state, folder / f"ckpt_{moment.step}.pt")


def deepspeed(moment, folder):
    """DeepSpeed's engine, ZeRO stage 1 or 2 on two ranks: the model whole in one file, the optimizer in slices."""
    inner = folder / f"global_step{moment.step}"
    inner.mkdir()
    state = {
        "module": moment.model.state_dict(),
        "buffer_names": ["norm.running_mean", "norm.running_var"],
        "param_shapes": [{n: t.shape for n, t in moment.state.items()}],
        "optimizer": None,
        "lr_scheduler": None,
        "global_steps": moment.step,
        "ds_config": {"zero_optimization": {"stage": 2}},
        "ds_version": "0.18",
    }
    torch.save(state, inner / "mp_rank_00_model_states.pt")
    for rank in range(2):
        partition = {"optimizer_state_dict": {"zero_stage": 2, "single_partition_of_fp32_groups": [torch.ones(9)]}}
        torch.save(partition, inner / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (folder / "latest").write_text(f"global_step{moment.step}")


def composer(moment, folder):
    """composer.utils.checkpoint: `ep0-ba100-rank0.pt`, and a link to the latest."""
    state = {
        "state": {
            "model": moment.model.state_dict(),
            "optimizers": {"AdamW": moment.optimizer.state_dict()},
            "timestamp": {"Timestamp": {"epoch": 0, "batch": moment.step}},
            "rank_zero_seed": 17,
        },
        "rng": [{"python": None, "torch": torch.get_rng_state()}],
    }
    name = f"ep0-ba{moment.step}-rank0.pt"
    torch.save(state, folder / name)
    (folder / "latest-rank0.pt").unlink(missing_ok=True)
    (folder / "latest-rank0.pt").symlink_to(name)


def megatron(moment, folder):
    """megatron.training.checkpointing on one rank: what it saves is whole."""
    inner = folder / f"iter_{moment.step:07d}" / "mp_rank_00"
    inner.mkdir(parents=True)
    state = {
        "args": None,
        "checkpoint_version": 3.0,
        "iteration": moment.step,
        "model": moment.model.state_dict(),
        "optimizer": {"param_state": {"exp_avg": torch.ones(3)}},
        "opt_param_scheduler": {"num_steps": 3},
        "rng_state": [{"torch_rng_state": torch.get_rng_state()}],
    }
    torch.save(state, inner / "model_optim_rng.pt")
    torch.save({"exp_avg": torch.ones(3)}, inner / "distrib_optim.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(moment.step))


LAYOUTS = (
    detectron2,
    mmengine_epochs,
    mmengine_iterations,
    open_clip,
    torchtune,
    fastai,
    ultralytics,
    fairseq,
    nanogpt,
    deepspeed,
    composer,
    megatron,
)


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__)
def test_layout(write, train, analyze, check, tmp_path):
    states = []
    for moment in train():
        write(moment, tmp_path)
        states.append(moment.state)
    series = analyze(tmp_path)
    steps = [record.step for record in series.checkpoints if record.status == "ok"]
    scale = 10 if write is mmengine_epochs else 1  # the finer of the two numbers inside
    assert [step // scale for step in steps] == [90, 100, 1000]
    check(series, states, steps=steps)


def test_diffusers(train, analyze, check, tmp_path):
    """`model_index.json` and a folder for each component, named by it."""
    from safetensors.torch import save_file

    states = []
    for moment in train():
        folder = tmp_path / f"checkpoint-{moment.step}"
        for component, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
            (folder / component).mkdir(parents=True)
            state = {n: t for n, t in moment.state.items() if n != "head.weight"}
            save_file(state, folder / component / f"{file}.safetensors")
        (folder / "model_index.json").write_text('{"_class_name": "X"}')
        states.append({f"{c}.{n}": t for c in ("text_encoder", "unet") for n, t in moment.state.items()})
    check(analyze(tmp_path), states, tied=("unet.head.weight", "text_encoder.head.weight"))


FOREIGN = {
    "GGUF": ({"model.gguf": b"GGUF\x03\0\0\0"}, "is a GGUF file"),
    "Keras": ({"model.h5": b"\x89HDF\r\n\x1a\n"}, r"keras\.saving\.load_model"),
    "Keras 3": ({"model.keras": b"PK\x03\x04"}, r"keras\.saving\.load_model"),
    "Flax": ({"flax_model.msgpack": b"\x81\xa6params"}, r"flax\.serialization\.msgpack_restore"),
    "Flax without a suffix": ({"checkpoint_10": b"\x81\xa6params"}, r"flax\.serialization\.msgpack_restore"),
    "Orbax": ({"_CHECKPOINT_METADATA": b"{}", "default/manifest.ocdbt": b"", "default/d/0a": b""}, "is an Orbax"),
    "TensorFlow": (
        {"model.ckpt-10.index": b"", "model.ckpt-10.data-00000-of-00001": b""},
        r"tf\.train\.load_checkpoint",
    ),
    "SavedModel": ({"saved_model.pb": b"\x08\x01\x12", "variables/variables.index": b""}, r"tf\.saved_model\.load"),
    "Paddle": ({"model_state.pdparams": b"\x80\x02"}, r"safetensors\.paddle\.save_file"),
    "NeMo": ({"model.nemo": b""}, "tar -xf"),
    "Core ML": ({"model.mlmodel": b""}, "give the checkpoints that it was made from"),
    "Megatron's ranks": (
        {f"mp_rank_0{rank}/model_optim_rng.pt": b"PK\x03\x04" for rank in (0, 1)},
        r"tools/checkpoint/convert\.py",
    ),
    "Llama's ranks": ({f"consolidated.0{rank}.pth": b"PK\x03\x04" for rank in (0, 1)}, "convert_llama_weights_to_hf"),
}


def put_foreign(folder, files):
    for name, first in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(first + bytes(600))


@pytest.mark.parametrize(("files", "advice"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_read_is_named_in_one_line(files, advice, analyze, tmp_path):
    for step in (1, 2):
        put_foreign(tmp_path / f"step-{step}", files)
    for source in (tmp_path, tmp_path / "step-1"):
        with pytest.raises(SourceError, match=advice) as caught:
            analyze(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("files", "advice"), FOREIGN.values(), ids=FOREIGN)
def test_the_others_of_a_run_are_read(files, advice, train, analyze, tmp_path):
    for moment in train():
        folder = tmp_path / f"step-{moment.step}"
        folder.mkdir()
        if moment.step == 100:
            put_foreign(folder, files)
        else:
            torch.save(moment.state, folder / "model.pt")
    series = analyze(tmp_path)
    assert [record.status for record in series.checkpoints] == ["ok", "unreadable", "ok"]
    assert re.search(advice, series.checkpoints[1].reason)
    assert [event.checkpoint for event in series.events if event.kind == "unreadable"] == [1]


@pytest.mark.parametrize("name", ["model.gguf", "model.keras", "flax_model.msgpack", "x.nemo", "saved_model.pb"])
def test_a_file_of_another_format_given_directly(name, analyze, tmp_path):
    (tmp_path / name).write_bytes(b"\x81" + bytes(600))
    with pytest.raises(SourceError, match=f"{re.escape(str(tmp_path / name))}: is a"):
        analyze(tmp_path / name)


def test_exports_of_a_repository_are_left_alone_and_noted(train, analyze, check, tmp_path):
    from safetensors.torch import save_file

    states = []
    for moment in train():
        folder = tmp_path / f"checkpoint-{moment.step}"
        (folder / "onnx").mkdir(parents=True)
        state = {n: t for n, t in moment.state.items() if n != "head.weight"}
        save_file(state, folder / "model.safetensors")
        put_foreign(folder, {"flax_model.msgpack": b"", "tf_model.h5": b"", "model.onnx": b"", "onnx/model.onnx": b""})
        states.append(moment.state)
    series = analyze(tmp_path)
    check(series, states)
    (note,) = [note for note in series.provenance.notes if "left out" in note]
    assert "9 files" in note
    assert "flax_model.msgpack" in note


def test_keras_under_a_name_of_torch(analyze, tmp_path):
    for step in (1, 2):
        (tmp_path / f"step_{step}.ckpt").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(SourceError, match="HDF5"):
        analyze(tmp_path)


def test_megatron_ranks_are_refused(train, analyze, tmp_path):
    """`iter_0000100/mp_rank_00/model_optim_rng.pt`: slices of the same tensors, never two models."""
    for moment in train():
        for rank in range(2):
            folder = tmp_path / f"iter_{moment.step:07d}" / f"mp_rank_{rank:02d}"
            folder.mkdir(parents=True)
            half = {n: t.chunk(2)[rank] for n, t in moment.state.items() if t.ndim}
            torch.save({"model": half, "iteration": moment.step}, folder / "model_optim_rng.pt")
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("1000")
    with pytest.raises(SourceError, match="rank"):
        analyze(tmp_path)


def test_nothing_of_an_array_that_numpy_saved_alone(analyze, tmp_path):
    for step in (1, 2):
        np.save(tmp_path / f"step_{step}.pt", np.ones((2, 2)))
        (tmp_path / f"step_{step}.pt.npy").rename(tmp_path / f"step_{step}.pt")
    with pytest.raises(SourceError, match="NumPy array without names"):
        analyze(tmp_path)
