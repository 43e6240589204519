"""Every bound on what a file may ask for has a message of its own."""

import importlib.util
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.errors import CheckpointError
from wsanalyze.files import (
    distributed_metadata,
    numpy_archive,
    onnx_model,
    pickle_machine,
    safetensors_header,
    torch_archive,
    zip_records,
)
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors import files, script_file, state_dicts, zero
from wsanalyze.tensors.files import read_checkpoint, read_tensors

_SPEC = importlib.util.spec_from_file_location("attacks_containers", Path(__file__).parent / "containers.py")
containers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(containers)

PICKLES = {
    "bytes": (pickle_machine, "MAX_PICKLE_BYTES", 3, pickle.dumps("long"), "a pickle of more than 3 bytes is refused"),
    "opcodes": (pickle_machine, "MAX_OPCODES", 3, b"NNNN.", "a pickle of more than 3 opcodes is refused"),
    "memo": (
        pickle_machine, "MAX_MEMO", 2, b"Nq\x00q\x01q\x02.", "a pickle that remembers more than 2 values is refused",
    ),
    "memo, by itself": (pickle_machine, "MAX_MEMO", 2, b"N\x94\x94\x94.", "remembers more than 2 values is refused"),
    "copies": (
        pickle_machine, "MAX_COPIES", 3, b"cbuiltins\nlist\n(NNNNl\x85R.",
        "a pickle that copies more than 3 items is refused",
    ),
    "an integer": (
        pickle_machine, "_MAX_LONG_BYTES", 4, b"\x8a\x05abcde.", "an integer of more than 4 bytes is refused",
    ),
    "a memo index": (pickle_machine, "_MAX_SMALL_KEY", 9, b"Np99\n.", "a memo index is out of range"),
    "a protocol": (pickle_machine, "_MAX_PROTOCOL", 5, b"\x80\x06N.", "pickle protocol 6 is not known"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "bound", "value", "data", "reason"), PICKLES.values(), ids=PICKLES)
def test_bounds_of_a_pickle(monkeypatch, module, bound, value, data, reason):
    monkeypatch.setattr(module, bound, value)
    with pytest.raises(pickle_machine.PickleError, match=reason):
        pickle_machine.parse_pickle(data)


def save_torch(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def save_script():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/constants.pkl", b").")
        archive.writestr("a/code/x.py", "class a(Module):\n")
        archive.writestr("a/code/y.py", "class b(Module):\n")
    return buffer.getvalue()


def save_safetensors(header):
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw


def save_numpy():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(2, [(f"field{i}", "f4") for i in range(100)]))
    return buffer.getvalue()


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


TENSORS = {"layer.weight": torch.ones(2, 2), "layer.bias": torch.ones(2)}
ENTRY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
ONNX = b"\x08\x07" + field(7, field(5, field(8, b"a") + b"\x10\x01") + field(5, field(8, b"b") + b"\x10\x01"))
FILES = {
    "zip records": (zip_records, "MAX_RECORDS", 2, "x.pt", save_torch(TENSORS), "zip records, more than 2 are refused"),
    "a zip directory": (
        zip_records, "_MAX_DIRECTORY_BYTES", 50, "x.pt", save_torch(TENSORS),
        "asks for .* bytes of headers at once: refused",
    ),
    "code": (torch_archive, "MAX_CODE_BYTES", 20, "x.pt", save_script(), "has more than 20 bytes of code: refused"),
    "files of code": (torch_archive, "MAX_CODE_FILES", 1, "x.pt", save_script(), "more than 1 files of code: refused"),
    "steps": (state_dicts, "MAX_VISITS", 2, "x.pt", save_torch(TENSORS), "more than 2 steps to be searched"),
    "tensors": (state_dicts, "MAX_TENSORS", 1, "x.pt", save_torch(TENSORS), "holds more than 1 tensors: refused"),
    "a name": (state_dicts, "_MAX_NAME_CHARS", 5, "x.pt", save_torch(TENSORS), "by more than 5 characters: refused"),
    "names": (state_dicts, "MAX_NAMES_CHARS", 15, "x.pt", save_torch(TENSORS), "names of more than 15 characters"),
    "nesting": (
        state_dicts, "_MAX_NESTING", 2, "x.pt", save_torch({"a": {"b": {"c": TENSORS, "d": torch.ones(2)}}}),
        "nests its state dict more than 2 deep: refused",
    ),
    "a header": (
        safetensors_header, "MAX_HEADER_BYTES", 9, "x.safetensors", save_safetensors({"a": ENTRY}),
        "has a header of .* bytes, more than 9 are refused",
    ),
    "tensors of a header": (
        safetensors_header, "MAX_TENSORS", 1, "x.safetensors", save_safetensors({"a": ENTRY, "b": ENTRY}),
        "lists 2 tensors, more than 1 are refused",
    ),
    "objects of a header": (
        safetensors_header, "_COUNTS", (("objects", b"{", 2),), "x.safetensors",
        save_safetensors({"a": ENTRY, "b": ENTRY}),
        "has a header of more than 2 objects: refused",
    ),
    "a name of a header": (
        safetensors_header, "MAX_NAME_CHARS", 5, "x.safetensors", save_safetensors({"endless": ENTRY}),
        "names a tensor by more than 5 characters: refused",
    ),
    "a name of any file": (
        files, "MAX_NAME_CHARS", 5, "x.safetensors", save_safetensors({"endless": ENTRY}),
        r"tensor 'endless'\.\.\. has a name of 7 characters, more than 5 are refused",
    ),
    "digits": (
        safetensors_header, "_MAX_DIGITS", 40, "x.safetensors", save_safetensors({"a": {**ENTRY, "shape": [10**50]}}),
        "a number of 51 digits",
    ),
    "long headers": (
        numpy_archive, "_MAX_LONG_HEADERS_BYTES", 1000, "x.npz", save_numpy(), "more than 1000 bytes of long headers",
    ),
    "fields": (onnx_model, "_MAX_FIELDS", 2, "x.onnx", ONNX, "has more than 2 protobuf fields: refused"),
    "initialisers": (onnx_model, "MAX_INITIALIZERS", 1, "x.onnx", ONNX, "has more than 1 initialisers: refused"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "bound", "value", "name", "data", "reason"), FILES.values(), ids=FILES)
def test_bounds_of_a_file(tmp_path, monkeypatch, module, bound, value, name, data, reason):
    path = tmp_path / name
    path.write_bytes(data)
    file = stat_file(path)
    with LocalFiles() as source:
        monkeypatch.setattr(module, bound, value)
        with pytest.raises(CheckpointError, match=reason) as caught:
            read_tensors(source, [file], [""])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


CONTAINERS = {
    "torch.distributed": (distributed_metadata, "MAX_CHUNKS", 1, "more than 1 chunks, which are refused"),
    "ZeRO-3": (zero, "_MAX_GROUPS", 0, "holds 1 flat groups, more than 0 are refused"),
    "TorchScript": (script_file, "MAX_ATTRIBUTES", 1, "nests more modules than a model has: refused"),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_bounds_of_a_container(tmp_path, monkeypatch, container):
    module, bound, value, reason = CONTAINERS[container]
    (checkpoint,) = FolderSource(str(containers.make_honest(container, tmp_path / "run"))).checkpoints()
    monkeypatch.setattr(module, bound, value)
    with LocalFiles() as source, pytest.raises(CheckpointError, match=reason):
        read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
