"""What is fuzzed: for each reader a way from bytes all the way to numbers, and what must hold on that way.

Only a `WsAnalyzeError` may come out. Whatever is listed must lie in the file, cover its tensor once and give numbers.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import mutators
import numpy as np
from bundle import BundleError, unpack
from numpy.typing import NDArray

from wsanalyze.changes.kernels import NumpyKernel, measure_arrays
from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.facts import fingerprint_file, read_facts
from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.checkpoints.trainer_state import read_training_log
from wsanalyze.errors import CheckpointError, WsAnalyzeError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.contents import read_contents
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.files.pickle_machine import PickleError, parse_pickle
from wsanalyze.layers.names import strip_wrappers
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.derived import derive_tensors
from wsanalyze.tensors.dtypes import DTYPES
from wsanalyze.tensors.files import describe_format, read_checkpoint, read_tensors
from wsanalyze.tensors.gather import ElementReader
from wsanalyze.tensors.state_dicts import find_state_dicts
from wsanalyze.tensors.structures import find_structure, parse_structure, write_structure

_MAX_NUMEL_READ: Final = 2**16
_KERNEL: Final = NumpyKernel()


class BrokenPromiseError(AssertionError):
    """A reader gave back something that its contract excludes."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Attributes:
        run: Takes an input the whole way; raises `WsAnalyzeError` where it is refused.
        mutate: Makes other inputs from one.
        folder: Whether inputs are bundles that are unpacked into a folder.
    """

    run: Callable[[bytes, Path], None]
    mutate: mutators.Mutator
    folder: bool = False


class MemoryFiles:
    """A ByteSource of a single file that lies in memory; there is nothing that it could open."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        """See `ByteSource.read_into`."""
        start = file.start + offset
        if offset < 0 or start + len(buffer) > len(self.data):
            raise CheckpointError("ends too early: truncated or still being written", file.url)
        buffer[:] = self.data[start : start + len(buffer)]

    def verify(self, _file: FileRef) -> None:
        """See `ByteSource.verify`."""

    def close(self) -> None:
        """See `ByteSource.close`."""


def run_pickle(data: bytes, _folder: Path) -> None:
    """The pickle machine, and the search for state dicts in what it builds."""
    try:
        tree, end = parse_pickle(data)
    except PickleError as error:
        raise CheckpointError(str(error)) from error
    if not 0 < end <= len(data):
        raise BrokenPromiseError(f"the pickle ends at {end} of {len(data)}")
    for calls in find_state_dicts(tree).values():
        for name in calls:
            if not isinstance(name, str):
                raise BrokenPromiseError(f"a tensor is called {name!r}")


def run_file(name: str, data: bytes, _folder: Path) -> None:
    """One file of any format; only an ONNX model is known by its name."""
    source = MemoryFiles(data)
    file = FileRef(name, len(data), "stamp")
    contents = read_contents(source, file)
    _check_facts(read_facts(contents))
    fingerprint_file(source, file, contents)
    check_tensors(read_tensors(source, [file], [""], [contents]), source, {name: len(data)}, "/nonexistent")
    describe_format("files", [contents])


def _check_facts(facts: Mapping[str, int]) -> None:
    if not all(type(value) is int for value in facts.values()):
        raise BrokenPromiseError(f"facts are no numbers: {facts}")


def lay_out(data: bytes, folder: Path) -> None:
    """Unpack a bundle into a folder of its own.

    Raises:
        BundleError: If it is none, or its names cannot stand side by side.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in unpack(data).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise BundleError("a file where a folder is wanted") from error


def run_folder(_data: bytes, folder: Path) -> None:
    """A folder that holds one checkpoint or several; each may be refused by itself."""
    refused: WsAnalyzeError | None = None
    checkpoints = FolderSource(str(folder)).checkpoints()
    read_training_log(checkpoints)
    with LocalFiles() as source:
        for checkpoint in checkpoints:
            try:
                _read_one(checkpoint, source)
            except WsAnalyzeError as error:
                refused = error
    if refused is not None:
        raise refused


def run_layout(layout: str, patterns: Sequence[str], data: bytes, folder: Path) -> None:
    """A checkpoint of many files of one layout: as it is found, and where it is not, its files as they are."""
    try:
        run_folder(data, folder)
    except WsAnalyzeError:
        files = [stat_file(path) for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]
        if not files:
            raise
        checkpoint = Checkpoint(None, "input", str(folder), tuple(files), tuple("" for _ in files), layout=layout)
        with LocalFiles() as source:
            _read_one(checkpoint, source)


def _read_one(checkpoint: Checkpoint, source: ByteSource) -> None:
    if checkpoint.problem is not None:
        raise CheckpointError(checkpoint.problem)
    tensors, contents = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
    for file, content in zip(checkpoint.files, contents, strict=True):
        _check_facts(read_facts(content))
        fingerprint_file(source, file, content)
    describe_format(checkpoint.layout, contents)
    sizes = {file.url: file.size for file in checkpoint.files}
    check_tensors(tensors, source, sizes, checkpoint.folder)


def check_tensors(tensors: TensorSet, source: ByteSource, sizes: dict[str, int], folder: str) -> None:
    """Hold the tensors of a checkpoint against the contract of `TensorInfo`, and read those that are small.

    Raises:
        BrokenPromiseError: If it is broken.
        WsAnalyzeError: If they cannot be read or derived after all.
    """
    structure = find_structure(tensors)
    if structure is not None and parse_structure(write_structure(structure)) != structure:
        raise BrokenPromiseError("a structure is not what is remembered of it")
    reader = ElementReader(source)
    for infos in tensors.infos.values():
        for info in infos.values():
            _check_info(info, sizes)
            _read_elements(info, reader)
        try:
            stripped = strip_wrappers(infos)
        except WsAnalyzeError:
            continue
        _read_derived(stripped, folder, reader)


def _read_derived(infos: Mapping[str, TensorInfo], folder: str, reader: ElementReader) -> None:
    """What is computed from others, by each option alone: one of them refuses what the other one takes."""
    refused: WsAnalyzeError | None = None
    for merge_lora, split_qkv in ((False, False), (True, False), (False, True)):
        try:
            derived = derive_tensors(infos, folder, merge_lora=merge_lora, split_qkv=split_qkv)
            for info in derived.infos.values():
                _read_elements(info, reader)
        except WsAnalyzeError as error:
            refused = error
    if refused is not None:
        raise refused


def _check_info(info: TensorInfo, sizes: dict[str, int]) -> None:
    if info.dtype not in DTYPES:
        raise BrokenPromiseError(f"unknown dtype {info.dtype}")
    if any(type(size) is not int or size < 0 for size in info.shape):
        raise BrokenPromiseError(f"shape {info.shape}")
    for piece in info.pieces:
        size = sizes.get(piece.file.url)
        if size is None and Path(piece.file.url).parent in {Path(url).parent for url in sizes}:
            size = stat_file(piece.file.url).size  # what an ONNX model keeps in a file beside it
        if size is None:
            raise BrokenPromiseError(f"a piece lies in {piece.file.url}, which is not of the checkpoint")
        begin = piece.file.start + piece.offset
        if piece.offset < 0 or piece.nbytes < 0 or piece.file.start < 0 or begin + piece.nbytes > size:
            raise BrokenPromiseError(f"{piece} does not lie in {size} bytes")
        if piece.byteorder not in ("little", "big"):
            raise BrokenPromiseError(f"byte order {piece.byteorder}")
    if len(info.pieces) > 1 or (info.pieces and info.pieces[0].corner + info.pieces[0].extent):
        _check_cover(info)
    elif info.type.floating and info.contiguous and info.pieces[0].nbytes != info.numel * info.type.itemsize:
        raise BrokenPromiseError(f"{info.numel} elements in {info.pieces[0].nbytes} bytes")


def _check_cover(info: TensorInfo) -> None:
    """Several pieces cover their tensor once."""
    covered = sum(int(np.prod(piece.extent, dtype=object)) for piece in info.pieces if piece.extent)
    if covered != info.numel and all(piece.extent for piece in info.pieces):
        raise BrokenPromiseError(f"pieces hold {covered} of {info.numel} elements")
    if info.numel > _MAX_NUMEL_READ:
        return
    runs = all(len(piece.extent) == 1 for piece in info.pieces)
    count = np.zeros(info.numel if runs else info.shape, dtype=np.int64)
    for piece in info.pieces:
        _check_part(piece, count.shape)
        count[tuple(slice(c, c + e) for c, e in zip(piece.corner, piece.extent, strict=True))] += 1
    if (count != 1).any():
        raise BrokenPromiseError(f"pieces cover {info.shape} {count.min()} to {count.max()} times")


def _check_part(piece: Piece, shape: Sequence[int]) -> None:
    pairs: Iterable[tuple[int, int, int]] = zip(piece.corner, piece.extent, shape, strict=True)
    if any(corner < 0 or extent < 0 or corner + extent > size for corner, extent, size in pairs):
        raise BrokenPromiseError(f"{piece} leaves {shape}")


def _read_elements(info: TensorInfo, reader: ElementReader) -> None:
    """Read the elements of a small tensor as the band walk does, whole and in parts, and measure them."""
    if not info.type.floating or info.numel > _MAX_NUMEL_READ:
        return
    if sum(piece.nbytes for piece in info.pieces) > _MAX_NUMEL_READ * 16:
        return
    elements = reader(info, 0, info.numel)
    if elements.shape != (info.numel,) or (info.derivation is not None and elements.dtype != np.float64):
        raise BrokenPromiseError(f"{elements.shape} {elements.dtype} were read of {info.numel} elements")
    cut = info.numel // 3
    parts = [reader(info, start, stop) for start, stop in ((0, cut), (cut, info.numel))]
    if b"".join(part.tobytes() for part in parts) != elements.tobytes():
        raise BrokenPromiseError("the parts of a tensor are not its elements")
    _measure(elements)


def _measure(elements: NDArray[Any]) -> None:
    if np.isnan(measure_arrays(_KERNEL, elements, elements).values).any():
        raise BrokenPromiseError("a sum of a measured tensor is NaN")


_file: Final = partial(run_file, "input")
_onnx: Final = partial(run_file, "input.onnx")
_distributed: Final = partial(run_layout, "distributed", (".metadata", "*.distcp"))
_zero3: Final = partial(run_layout, "zero3", ("*/*_states.pt",))

TARGETS: Final[dict[str, Target]] = {
    "pickle": Target(run_pickle, mutators.mutate_pickle),
    "safetensors": Target(_file, mutators.mutate_safetensors),
    "torch": Target(_file, mutators.mutate_zip),
    "torchscript": Target(_file, mutators.mutate_zip),
    "sb3": Target(_file, mutators.mutate_zip),
    "npz": Target(_file, mutators.mutate_zip),
    "legacy": Target(_file, mutators.mutate_pickles),
    "onnx": Target(_onnx, mutators.mutate_protobuf),
    "shards": Target(run_folder, mutators.mutate_bundle, folder=True),
    "trainer": Target(run_folder, mutators.mutate_bundle, folder=True),
    "adapter": Target(run_folder, mutators.mutate_bundle, folder=True),
    "dcp": Target(_distributed, mutators.mutate_bundle, folder=True),
    "zero3": Target(_zero3, mutators.mutate_bundle, folder=True),
    "slices": Target(run_folder, mutators.mutate_bundle, folder=True),
}
"""Every reader by name. Input that is nothing that they know is refused in one line, which is fuzzed as well."""
