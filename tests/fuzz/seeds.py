"""Honest inputs for every reader, written by the libraries that people write them with."""

import io
import json
import pickle
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from bundle import pack
from safetensors.torch import save as save_safetensors

_WEIGHT = "layer.weight"


def write_seeds(folder: Path) -> None:
    """Write the seeds of each reader into a folder of its name."""
    for reader, make in _MAKERS.items():
        target = folder / reader
        target.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for index, data in enumerate(make()):
                (target / f"{index:02}").write_bytes(data)


def _state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {_WEIGHT: torch.randn(3, 4, generator=generator), "layer.bias": torch.randn(3, generator=generator)}


def _save(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _torch_values() -> Iterator[object]:
    state = _state()
    yield state
    yield {"state_dict": state, "epoch": 3, "global_step": 400, "optimizer": {"state": {}, "param_groups": []}}
    yield {"model": OrderedDict(state), "model_ema": state, "args": {"lr": 0.1}}
    yield {"t": state[_WEIGHT].T, "s": state[_WEIGHT][::2, 1:], "h": state[_WEIGHT].bfloat16(), "i": torch.arange(4)}
    yield {
        "p": torch.nn.Parameter(state[_WEIGHT]),
        "c": torch.complex(torch.ones(2), torch.ones(2)),
        "e": torch.ones(0),
    }
    yield torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def _torch() -> Iterator[bytes]:
    for value in _torch_values():
        yield _save(value)
    yield _save(_state(), pickle_protocol=4)


def _legacy() -> Iterator[bytes]:
    for value in _torch_values():
        yield _save(value, _use_new_zipfile_serialization=False)


def _pickles() -> Iterator[bytes]:
    for data in _torch():
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield archive.read("archive/data.pkl")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(
            {"a": [1, 2.5, None, (True, b"x")], "b": {1}, "c": np.arange(2), "d": np.float32(1)}, protocol
        )


def _safetensors() -> Iterator[bytes]:
    state = _state()
    yield save_safetensors(state)
    yield save_safetensors({n: t.bfloat16() for n, t in state.items()}, metadata={"format": "pt", "step": "4"})
    yield save_safetensors({"f8": torch.ones(4).to(torch.float8_e4m3fn), "i": torch.arange(3), "e": torch.ones(0, 2)})


def _torchscript() -> Iterator[bytes]:
    for module in (torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 1))):
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(module), buffer)
        yield buffer.getvalue()


def _sb3() -> Iterator[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data", json.dumps({"num_timesteps": 100, "policy_class": {":serialized:": "gAU="}}))
        archive.writestr("policy.pth", _save(_state()))
        archive.writestr("policy.optimizer.pth", _save({"state": {}, "param_groups": []}))
        archive.writestr("pytorch_variables.pth", _save({}))
        archive.writestr("_stable_baselines3_version", "2.9.2")
        archive.writestr("system_info.txt", "- OS: Linux")
    yield buffer.getvalue()


def _npz() -> Iterator[bytes]:
    arrays = {name: tensor.numpy() for name, tensor in _state().items()}
    others = {"f": np.asfortranarray(np.ones((2, 3))), "b": np.ones(2, ">f4"), "o": np.array([{"a": 1}], object)}
    cases: tuple[tuple[Any, dict[str, Any]], ...] = (
        (np.savez, arrays),
        (np.savez, others),
        (np.savez_compressed, arrays),
    )
    for save, values in cases:
        buffer = io.BytesIO()
        save(buffer, **values)
        yield buffer.getvalue()


def _onnx() -> Iterator[bytes]:
    try:
        yield from (_save_onnx(outside=outside) for outside in (False, True))
    except ImportError:
        return


def _save_onnx(*, outside: bool) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    tensors = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in _state().items()]
    tensors += [helper.make_tensor("flat", TensorProto.FLOAT, [2], [1.0, 2.0])]
    tensors += [helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.0, 2.0])]
    if outside:
        other = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, text in {"location": "weights.data", "offset": "0", "length": "16"}.items():
            other.external_data.add(key=key, value=text)
        tensors.append(other)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    node = helper.make_node("MatMul", ["x", _WEIGHT], ["y"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    data: bytes = helper.make_model(helper.make_graph([node], "graph", [value], [result], tensors)).SerializeToString()
    return data


def _slices() -> Iterator[bytes]:
    """What two ranks save by torch.distributed's writer of safetensors: rows, columns, and a tensor that both hold."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    for axis in (0, 1):
        files = {}
        for rank, part in enumerate(whole.chunk(2, axis)):
            corner = [0, 0]
            corner[axis] = rank * part.shape[axis]
            state = {"fc.weight": part.contiguous()} | ({} if rank else {"fc.bias": whole[0].clone()})
            noted = {"fc.weight": {"saved_offsets": corner}} | ({} if rank else {"fc.bias": {"saved_offsets": [0]}})
            metadata = {"format": "pt", "DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps(noted)}
            name = f"shard-{rank + 1:05d}-model-00001-of-00001.safetensors"
            files[name] = save_safetensors(state, metadata=metadata)
        yield pack(files)


def _shards() -> Iterator[bytes]:
    state = _state()
    for suffix, save, stem in ((".safetensors", save_safetensors, "model"), (".bin", _save, "pytorch_model")):
        names = [f"{stem}-{number:05}-of-00002{suffix}" for number in (1, 2)]
        index = {"metadata": {"total_size": 60}, "weight_map": dict(zip(state, names, strict=True))}
        shards = {n: save({k: t}) for n, (k, t) in zip(names, state.items(), strict=True)}
        yield pack({f"{stem}{suffix}.index.json": json.dumps(index).encode(), **shards})
    for model in list(_onnx())[1:]:
        yield pack({"model.onnx": model, "weights.data": bytes(16)})


def _trainer() -> Iterator[bytes]:
    weights = save_safetensors(_state())
    state = {"global_step": 500, "epoch": 1.5, "log_history": [{"loss": 0.1, "step": 10}], "best_metric": None}
    yield pack({"model.safetensors": weights, "trainer_state.json": json.dumps(state).encode()})
    yield pack({
        "checkpoint-500/model.safetensors": weights,
        "checkpoint-500/trainer_state.json": json.dumps(state).encode(),
        "checkpoint-1000/model.safetensors": weights,
    })  # fmt: skip


def _adapter() -> Iterator[bytes]:
    base = "base_model.model.layer.q_proj"
    pair = {f"{base}.lora_A.weight": torch.ones(2, 4), f"{base}.lora_B.weight": torch.ones(3, 2)}
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": False, "fan_in_fan_out": False}
    told |= {
        "target_modules": ["q_proj"],
        "rank_pattern": {},
        "alpha_pattern": {"q_proj": 8},
        "base_model_name_or_path": "x",
    }
    yield pack({"adapter_model.safetensors": save_safetensors(pair), "adapter_config.json": json.dumps(told).encode()})
    norm = {"a.weight_g": torch.ones(3, 1), "a.weight_v": torch.ones(3, 2)}
    norm |= {
        "b.parametrizations.weight.original0": torch.ones(3, 1),
        "b.parametrizations.weight.original1": torch.ones(3, 2),
    }
    fused = {"c.attn.in_proj_weight": torch.ones(6, 2), "d.self_attn.c_attn.weight": torch.ones(2, 6)}
    config = {"num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 2, "model_type": "gpt2", "head_dim": 1}
    yield pack({"model.safetensors": save_safetensors(norm | fused), "config.json": json.dumps(config).encode()})


def _dcp() -> Iterator[bytes]:
    from torch.distributed.checkpoint.state_dict_saver import save

    for state in ({"model": _state(), "epoch": 3}, _state()):
        with TemporaryDirectory() as name:
            save(state, checkpoint_id=name, no_dist=True)
            yield pack({path.name: path.read_bytes() for path in sorted(Path(name).iterdir())})
    yield pack(_save_halves())


def _save_halves() -> dict[str, bytes]:
    """A tensor in two chunks, as ranks leave it, put together by hand where torch would want two processes."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    weight = _state()[_WEIGHT]
    parts = {0: _save(weight[:2].clone()), 2: _save(weight[2:].clone())}
    sizes = {0: torch.Size([2, 4]), 2: torch.Size([1, 4])}
    chunks = [ChunkStorageMetadata(torch.Size([row, 0]), sizes[row]) for row in parts]
    entry = TensorStorageMetadata(TensorProperties(weight.dtype), weight.shape, chunks)
    stored, offset = {}, 0
    for row, data in parts.items():
        stored[MetadataIndex(_WEIGHT, torch.Size([row, 0]))] = _StorageInfo("__0_0.distcp", offset, len(data))
        offset += len(data)
    told = Metadata({_WEIGHT: entry}, planner_data={_WEIGHT: (_WEIGHT,)}, storage_data=stored)
    return {".metadata": pickle.dumps(told), "__0_0.distcp": b"".join(parts.values())}


def _zero3() -> Iterator[bytes]:
    """Two ranks of DeepSpeed's stage 3, as its sources write them: flat partitions, and the shapes beside them."""
    shapes = [OrderedDict((name, tensor.shape) for name, tensor in _state().items())]
    files = {"latest": b"global_step4"}
    for rank in (0, 1):
        halves = [_half(tensor, rank) for tensor in _state().values()]
        model = {"module": {}, "param_shapes": shapes, "global_steps": 4, "buffer_names": [], "shared_params": {}}
        model |= {"ds_version": "0.16.0", "zero_stage": 3, "mp_world_size": 1, "dp_world_size": 2}
        states = {"zero_stage": 3, "partition_count": 2, "fp32_flat_groups": [torch.cat(halves)], "overflow": False}
        prefix = f"global_step4/zero_pp_rank_{rank}_mp_rank_00"
        files[f"{prefix}_model_states.pt"] = _save(model)
        files[f"{prefix}_optim_states.pt"] = _save({"optimizer_state_dict": states, "ds_version": "0.16.0"})
    yield pack(files)


def _half(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    flat = torch.nn.functional.pad(tensor.flatten(), (0, tensor.numel() % 2))
    return flat[rank * flat.numel() // 2 : (rank + 1) * flat.numel() // 2]


_MAKERS = {
    "pickle": _pickles,
    "safetensors": _safetensors,
    "torch": _torch,
    "torchscript": _torchscript,
    "sb3": _sb3,
    "npz": _npz,
    "legacy": _legacy,
    "onnx": _onnx,
    "shards": _shards,
    "trainer": _trainer,
    "adapter": _adapter,
    "dcp": _dcp,
    "zero3": _zero3,
    "slices": _slices,
}

if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
