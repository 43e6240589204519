"""Checkpoint files that are written piece by piece: what make_sequence.py streams its tensors into."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Final, Protocol
from zipfile import ZipFile, ZipInfo

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray

DTYPES: Final[dict[str, np.dtype[Any]]] = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(bfloat16)}
_SAFETENSORS_DTYPES: Final = {"float32": "F32", "bfloat16": "BF16"}
_ZIP_HEADER_BYTES: Final = 30
_EXTRA_HEADER_BYTES: Final = 4
_ZIP_ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor of every checkpoint; `index` is its place in the model and seeds its numbers."""

    index: int
    name: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)


class Output(Protocol):
    """One open file of one checkpoint, written tensor by tensor in the order it was told at first."""

    def begin(self, tensor: TensorPlan) -> None:
        """Start the next tensor."""

    def write(self, values: NDArray[Any]) -> None:
        """Append a piece of it."""

    def close(self) -> None:
        """Finish the file."""


class SafetensorsOutput:
    """A safetensors file: its header first, then the data in the header's order."""

    def __init__(self, path: Path, tensors: Sequence[TensorPlan], dtype: str) -> None:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for tensor in tensors:
            start, end = end, end + tensor.numel * DTYPES[dtype].itemsize
            header[tensor.name] = {
                "dtype": _SAFETENSORS_DTYPES[dtype],
                "shape": tensor.shape,
                "data_offsets": (start, end),
            }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file = path.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)

    def begin(self, tensor: TensorPlan) -> None:
        """Nothing to do: the data follow one another."""

    def write(self, values: NDArray[Any]) -> None:
        """Append a piece of the tensor."""
        self._file.write(values.view(np.uint8).data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TorchOutput:
    """A file as torch.save writes it, made after a template that torch saved without the data.

    torch itself wants all tensors in memory, and skipping their data leaves wrong checksums in the file.
    """

    def __init__(self, path: Path, tensors: Sequence[TensorPlan], dtype: str, step: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        template = Path(self._folder.name, path.name)
        _save_template(template, tensors, dtype, step)
        self._template = ZipFile(template)
        self._records = iter(self._template.infolist())
        self._zip = ZipFile(path, "w")
        self._open: IO[bytes] | None = None

    def begin(self, tensor: TensorPlan) -> None:
        """Copy the records up to the next tensor's, then open that one."""
        self._end_record()
        for record in self._records:
            if _is_tensor(record):
                self._open = self._zip.open(self._align(record), "w")
                return
            self._copy(record)
        raise AssertionError(f"{tensor.name}: torch saved fewer tensors than were planned")

    def write(self, values: NDArray[Any]) -> None:
        """Append a piece of the tensor."""
        assert self._open is not None, "begin comes before write"  # noqa: S101 - for the type checker
        self._open.write(values.view(np.uint8).data)

    def close(self) -> None:
        """Copy the records that follow the tensors and write the directory."""
        self._end_record()
        for record in self._records:
            self._copy(record)
        self._zip.close()
        self._template.close()
        self._folder.cleanup()

    def _end_record(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _copy(self, record: ZipInfo) -> None:
        self._zip.writestr(self._align(record), self._template.read(record))

    def _align(self, record: ZipInfo) -> ZipInfo:
        """Name a new record whose data will start at a multiple of 64 bytes, as torch aligns them."""
        aligned = ZipInfo(record.filename)
        aligned.file_size = record.file_size
        assert self._zip.fp is not None, "the file is open"  # noqa: S101 - for the type checker
        start = self._zip.fp.tell() + _ZIP_HEADER_BYTES + len(record.filename.encode()) + _EXTRA_HEADER_BYTES
        padding = -start % _ZIP_ALIGNMENT
        aligned.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
        return aligned


def _save_template(path: Path, tensors: Sequence[TensorPlan], dtype: str, step: int) -> None:
    """Let torch save a checkpoint as it would, but leave holes in a sparse file where the data would be."""
    import torch

    empty = {tensor.name: torch.empty(tensor.shape, dtype=getattr(torch, dtype)) for tensor in tensors}
    with torch.serialization.skip_data():
        torch.save({"model": empty, "global_step": step}, path)


def write_index(path: Path, files: dict[str, Sequence[TensorPlan]], dtype: str) -> None:
    """Write the index of a sharded checkpoint, as Hugging Face's libraries do."""
    total_size = sum(tensor.numel for tensors in files.values() for tensor in tensors) * DTYPES[dtype].itemsize
    weight_map = {tensor.name: name for name, tensors in files.items() for tensor in tensors}
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _is_tensor(record: ZipInfo) -> bool:
    folder, _, number = record.filename.rpartition("/")
    return folder.endswith("/data") and number.isdecimal()
