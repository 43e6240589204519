"""One checkpoint in every container that holds a pickle, with something in that pickle that should not be there."""

import base64
import contextlib
import hashlib
import io
import json
import pickle
import sys
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from zips import read_zip, write_zip

MARK: Final = "SOMETHING-ELSE"
_MARK: Final = b"X" + len(MARK).to_bytes(4, "little") + MARK.encode()
_STORED: Final = (b".pkl", b".pth", b".pt", b".metadata")


def make_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """The weights that are beside it."""
    generator = torch.Generator().manual_seed(seed)
    return {"layer.weight": torch.randn(3, 4, generator=generator), "layer.bias": torch.randn(3, generator=generator)}


def digest(state: Mapping[str, torch.Tensor], prefix: str = "") -> dict[str, str]:
    """What read_guarded.py tells of these weights if it has read them."""
    return {prefix + n: hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest() for n, t in state.items()}


def infect(data: bytes, fragment: bytes) -> bytes:
    """Put a fragment into a pickle in the place of every mark; where there is none, push and drop it at the end."""
    if _MARK in data:
        return data.replace(_MARK, fragment)
    return data[:-1] + fragment + b"0."


def infect_zip(data: bytes, fragment: bytes) -> bytes:
    """The same in every pickle of a zip archive, and in the archives in it."""
    records = []
    for record in read_zip(data):
        changed = record.data
        if changed.startswith(b"PK"):
            changed = infect_zip(changed, fragment)
        elif record.name.endswith(_STORED):
            changed = infect(changed, fragment)
        records.append(type(record)(record.name, changed, extra=record.extra))
    return write_zip(records)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what torch says of its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save(value: object, **options: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _torch(folder: Path, fragment: bytes) -> dict[str, str]:
    value = {"state_dict": make_state(), "epoch": 3, "other": MARK, "more": [MARK, {"deep": MARK}]}
    (folder / "step_1.pt").write_bytes(infect_zip(save(value), fragment))
    return digest(make_state())


def _bare(folder: Path, fragment: bytes) -> dict[str, str]:
    """Nothing but a state dict, in which whatever else there is would be looked into."""
    (folder / "step_1.bin").write_bytes(infect_zip(save({**make_state(), "other": MARK}), fragment))
    return digest(make_state())


def _legacy(folder: Path, fragment: bytes) -> dict[str, str]:
    data = save({"state_dict": make_state(), "other": MARK}, _use_new_zipfile_serialization=False)
    (folder / "step_1.pth").write_bytes(infect(data, fragment))
    return digest(make_state())


def _script(folder: Path, fragment: bytes) -> dict[str, str]:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3))
    module.load_state_dict({name.replace("layer", "0"): tensor for name, tensor in make_state().items()})
    buffer = io.BytesIO()
    with quiet():
        torch.jit.save(torch.jit.script(module), buffer)
    (folder / "step_1.jit").write_bytes(infect_zip(buffer.getvalue(), fragment))
    return digest(module.state_dict())


def _stable_baselines(folder: Path, fragment: bytes) -> dict[str, str]:
    serialized = base64.b64encode(b"\x80\x04" + fragment + b".").decode()
    data = {"num_timesteps": 100, "policy_class": {":type:": "x", ":serialized:": serialized}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.writestr("policy.pth", save({**make_state(), "other": MARK}))
        archive.writestr("policy.optimizer.pth", save({"state": {}, "param_groups": [MARK]}))
        archive.writestr("pytorch_variables.pth", save({"other": MARK}))
    (folder / "rl_model_100_steps.zip").write_bytes(infect_zip(buffer.getvalue(), fragment))
    return digest(make_state())


def _numpy(folder: Path, fragment: bytes) -> dict[str, str]:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(folder / "step_1.npz", "w") as archive:
        for name, tensor in make_state().items():
            buffer = io.BytesIO()
            np.save(buffer, tensor.numpy())
            archive.writestr(f"{name}.npy", buffer.getvalue())
        archive.writestr("objects.npy", header.getvalue() + b"\x80\x04" + fragment + b".")
    return digest(make_state())


def _distributed(folder: Path, fragment: bytes) -> dict[str, str]:
    from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

    path = folder / "step_1"
    with TemporaryDirectory() as name:
        with quiet():
            save_distributed({"model": make_state(), "other": MARK}, checkpoint_id=name, no_dist=True)
        files = {entry.name: entry.read_bytes() for entry in Path(name).iterdir()}
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(infect(data, fragment) if name == ".metadata" else data)
    return digest(make_state())


def _zero3(folder: Path, fragment: bytes) -> dict[str, str]:
    state = make_state()
    place = folder / "global_step4"
    place.mkdir()
    (folder / "latest").write_text("global_step4")
    shapes = [{name: tensor.shape for name, tensor in state.items()}]
    for rank in (0, 1):
        halves = [torch.nn.functional.pad(t.flatten(), (0, t.numel() % 2)).chunk(2)[rank] for t in state.values()]
        model = {"module": {}, "param_shapes": shapes, "buffer_names": [], "shared_params": {}, "zero_stage": 3}
        states = {"zero_stage": 3, "partition_count": 2, "fp32_flat_groups": [torch.cat(halves)], "other": MARK}
        for kind, value in (("model", {**model, "other": MARK}), ("optim", {"optimizer_state_dict": states})):
            data = infect_zip(save(value), fragment)
            (place / f"zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt").write_bytes(data)
    return digest(state)


def _trainer(folder: Path, fragment: bytes) -> dict[str, str]:
    place = folder / "checkpoint-500"
    place.mkdir()
    save_file(make_state(), place / "model.safetensors")
    (place / "trainer_state.json").write_text('{"global_step": 500}')
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (place / name).write_bytes(infect_zip(save({"other": MARK}), fragment))
    return digest(make_state())


def _lightning(folder: Path, fragment: bytes) -> dict[str, str]:
    value = {"epoch": 3, "global_step": 400, "pytorch-lightning_version": "2.5", "state_dict": make_state()}
    value |= {"callbacks": {MARK: {"best": MARK}}, "hyper_parameters": MARK, "loops": MARK, "optimizer_states": [MARK]}
    (folder / "epoch=3-step=400.ckpt").write_bytes(infect_zip(save(value), fragment))
    return digest(make_state())


def _timm(folder: Path, fragment: bytes) -> dict[str, str]:
    value = {"epoch": 12, "arch": "x", "state_dict": make_state(), "state_dict_ema": make_state(1)}
    value |= {"args": Namespace(lr=0.1, other=MARK), "optimizer": {"state": {}, "param_groups": [MARK]}}
    (folder / "checkpoint-12.pth.tar").write_bytes(infect_zip(save(value), fragment))
    return digest(make_state())


def _module(folder: Path, fragment: bytes) -> dict[str, str]:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3))
    module.load_state_dict({name.replace("layer", "0"): tensor for name, tensor in make_state().items()})
    module.hook = MARK
    (folder / "model_1.pt").write_bytes(infect_zip(save({"model": module, "epoch": 1}), fragment))
    return digest(module.state_dict())


def _nested(folder: Path, fragment: bytes) -> dict[str, str]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model_1.pt", save({"state_dict": make_state(), "other": MARK}))
    (folder / "model_1.zip").write_bytes(infect_zip(buffer.getvalue(), fragment))
    return digest(make_state())


CONTAINERS: Final[dict[str, Callable[[Path, bytes], dict[str, str]]]] = {
    "torch": _torch,
    "bare state dict": _bare,
    "legacy torch": _legacy,
    "TorchScript": _script,
    "stable-baselines3": _stable_baselines,
    "NumPy": _numpy,
    "torch.distributed": _distributed,
    "ZeRO-3": _zero3,
    "HF Trainer": _trainer,
    "Lightning": _lightning,
    "timm": _timm,
    "whole module": _module,
    "zip in a zip": _nested,
}
"""For each container what writes one into a folder; it returns the digests of the weights that must be read."""


def make_honest(container: str, folder: Path) -> Path:
    """The same container with nothing in it but a word."""
    folder.mkdir()
    CONTAINERS[container](folder, pickle.dumps("word", 2)[2:-1])
    return folder
