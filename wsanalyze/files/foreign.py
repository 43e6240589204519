"""Files of formats that are not read: what each one is, told by its bytes or its name, and how to convert it."""

import re
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Final

from wsanalyze.files.base import ByteSource, FileRef, read_bytes
from wsanalyze.files.stored_files import list_stored_weights

_TAIL_BYTES: Final = 4096
_UNPACK: Final = "unpack it first"
_ORIGINALS: Final = "give the checkpoints that it was made from"
_AGAIN: Final = "saved under the name of a checkpoint: download it again"
_PT2: Final = "is a program of torch.export: load it with torch.export.load and torch.save its state_dict"
_FLATTEN: Final = "flatten it with flax.traverse_util.flatten_dict and save it with safetensors.flax.save_file"
_FLAX: Final = f"is a Flax checkpoint: load it with flax.serialization.msgpack_restore, {_FLATTEN}"
_ORBAX: Final = f"is an Orbax checkpoint: load it with orbax.checkpoint.PyTreeCheckpointer().restore, {_FLATTEN}"
_BY_PATH: Final = (
    "load it with keras.saving.load_model and save {w.path: w.numpy() for w in model.weights} with "
    "safetensors.numpy.save_file"
)
_KERAS: Final = f"is a Keras file: {_BY_PATH}"
_TENSORFLOW: Final = (
    "is part of a TensorFlow checkpoint: read its tensors with tf.train.load_checkpoint and save them with "
    "safetensors.numpy.save_file"
)
_SAVED_MODEL: Final = (
    "is a TensorFlow SavedModel: load it with tf.saved_model.load and save its variables with "
    "safetensors.numpy.save_file"
)
_GGUF: Final = f"is a GGUF file, quantised for inference: {_ORIGINALS}"
_CORE_ML: Final = f"is a Core ML model for inference: {_ORIGINALS}"
_LITE: Final = f"is a TensorFlow Lite model for inference: {_ORIGINALS}"
_PADDLE: Final = "is a Paddle checkpoint: load it with paddle.load and save it with safetensors.paddle.save_file"
_NEMO: Final = "is a NeMo archive: unpack it with `tar -xf` and give the model_weights.ckpt in it"
_MEGATRON: Final = (
    "is a Megatron checkpoint without .metadata, in zarr form or cut short: load it in Megatron-LM and save it with "
    "--ckpt-convert-format torch_dist --ckpt-convert-save OUT"
)

_MAGICS: Final = (
    (b"GGUF", _GGUF),
    (b"lmgg", f"is a GGML file, quantised for inference: {_ORIGINALS}"),
    (b"fmgg", f"is a GGMF file, quantised for inference: {_ORIGINALS}"),
    (b"tjgg", f"is a GGJT file, quantised for inference: {_ORIGINALS}"),
    (b"\x89HDF", f"is an HDF5 file, as Keras writes them: {_BY_PATH}"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"<!doctype", f"is a web page {_AGAIN}"),
    (b"<html", f"is a web page {_AGAIN}"),
    (b"<?xml", f"is an XML document, perhaps a server's error, {_AGAIN}"),
    (b"model_checkpoint_path:", _TENSORFLOW),
    (b"\x1f\x8b", f"is compressed with gzip: {_UNPACK}"),
    (b"BZh", f"is compressed with bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"is compressed with xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"is compressed with zstd: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"is a 7z archive: {_UNPACK}"),
    (b"Rar!\x1a\x07", f"is a RAR archive: {_UNPACK}"),
    (b"PK\x05\x06", "is an empty zip archive"),
    (b"\x93NUMPY", "is a NumPy array without names: save a state dict as safetensors"),
)
_ORBAX_NAMES: Final = ("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt")
_NAMES: Final = {"saved_model.pb": _SAVED_MODEL} | dict.fromkeys(_ORBAX_NAMES, _ORBAX)
_SUFFIXES: Final = {
    ".gguf": _GGUF,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".msgpack": _FLAX,
    ".index": _TENSORFLOW,
    ".tflite": _LITE,
    ".pdparams": _PADDLE,
    ".nemo": _NEMO,
    ".mlmodel": _CORE_ML,
    ".mlpackage": _CORE_ML,
}
_SHARD_SUFFIX: Final = re.compile(r"\.data-\d{5}-of-\d{5}")
_PICKLES: Final = (
    (b"StructuredToParameterName@@", _PADDLE),
    (
        b"__author__",
        "is a pickle of Detectron2's model zoo: load it with DetectionCheckpointer and torch.save model.state_dict()",
    ),
    (b"numpy", "is a pickle of NumPy arrays: load it and save them with safetensors.numpy.save_file"),
)


def explain_name(name: str) -> str | None:
    """What a file is whose name says that it is of a format that is not read, and what to do; None for any other.

    Returns:
        One line to stand behind the file's name.
    """
    if name in _NAMES:
        return _NAMES[name]
    _, dot, ending = name.rpartition(".")
    suffix = f"{dot}{ending}".lower()
    return _TENSORFLOW if suffix.startswith(".data-") and _SHARD_SUFFIX.fullmatch(suffix) else _SUFFIXES.get(suffix)


def explain_folder(names: AbstractSet[str]) -> str | None:
    """What a folder is that is one checkpoint of a format that is not read, and what to do; None for any other.

    Args:
        names: The names of what lies in it.
    """
    if not names.isdisjoint(_ORBAX_NAMES):
        return _ORBAX
    return _MEGATRON if {"common.pt", "metadata.json"} <= names and ".metadata" not in names else None


def explain_file(source: ByteSource, file: FileRef, first: bytes) -> str:
    """What a file is that is no checkpoint of a kind that is read, and what to do.

    Args:
        source: Where its bytes come from.
        file: The file.
        first: Its first 512 bytes, or all of it.

    Returns:
        One line to stand behind the file's name.
    """
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, advice in _MAGICS:
        if first.startswith(magic) or text.startswith(magic):
            return advice
    if text.startswith((b"{", b"[")) and PurePath(file.url).name not in _NAMES:
        return f"is JSON, perhaps a server's error, {_AGAIN}"
    if known := explain_name(PurePath(file.url).name):
        return known
    if first.startswith(b"\x80"):
        return _explain_pickle(source, file, first)
    return _explain_structure(first) or "is neither a safetensors nor a torch file"


def explain_zip(names: AbstractSet[str]) -> str:
    """What a zip archive is that holds no checkpoint of a kind that is read, and what to do.

    Args:
        names: The names of its records.

    Returns:
        One line to stand behind the file's name.
    """
    last = {name.rpartition("/")[2] for name in names}
    if "model.weights.h5" in names:
        return _KERAS
    if "serialized_exported_program.json" in last or {"archive_format", "model.json"} <= last:
        return _PT2
    if "model.json" in last and any("/tensors/" in f"/{name}" for name in names):
        return "is a TorchScript archive of torch before 1.2: torch.jit.load it and torch.save its state_dict()"
    if "model_config.yaml" in last:
        return _NEMO.replace("tar -xf", "unzip")
    if len(stored := list_stored_weights(names)) > 1:
        return f"is a zip archive of {len(stored)} weight files: {_UNPACK}"
    return "is a zip archive, but not one that torch.save wrote"


def _explain_pickle(source: ByteSource, file: FileRef, first: bytes) -> str:
    """A pickle's first and last bytes, and no more, are looked into for the names that give its writer away."""
    length = min(_TAIL_BYTES, file.size)
    ends = first + b"\n" + read_bytes(source, file, file.size - length, length)
    for mark, advice in _PICKLES:
        if mark in ends:
            return advice
    return "is a pickle that torch.save did not write: load it and torch.save its state dict"


def _explain_structure(first: bytes) -> str | None:
    """Formats without a magic number at the start."""
    if first[257:262] == b"ustar":
        if first.startswith((b"sys_info\x00", b"pickle\x00", b"storages\x00", b"tensors\x00")):
            return "was written by torch 0.1 (a tar archive): torch.load it (weights_only=False) and torch.save it anew"
        return "is a tar archive (NeMo?): unpack it with `tar -xf` and give the checkpoint in it"
    if first[4:8] == b"TFL3":
        return _LITE
    if first.startswith(b"\x08\x01\x12"):  # saved_model_schema_version, then a graph
        return _SAVED_MODEL
    if _is_msgpack_map(first):
        return _FLAX
    return None


def _is_msgpack_map(first: bytes) -> bool:
    """Whether a file begins with a map of msgpack whose first key is text."""
    if not first:
        return False
    width = {0xDE: 3, 0xDF: 5}.get(first[0], 1 if 0x81 <= first[0] <= 0x8F else 0)  # noqa: PLR2004 - codes of maps
    key = first[width : width + 1]
    return bool(width and key) and (0xA0 <= key[0] < 0xC0 or key[0] in (0xD9, 0xDA))  # noqa: PLR2004 - codes of texts
