"""A small sample of every checkpoint's weights, at the same places in all, and distances between the samples.

A few ten kilobytes of each checkpoint tell how far any two of them are apart, which their neighbours alone do not.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.files.base import ByteSource
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.gather import ElementReader, count_bytes

_NUM_ELEMENTS: Final = 8192
_NUM_RUNS: Final = 4
_MIN_ELEMENTS: Final = 64
_MAX_ELEMENTS: Final = 1024
_MAX_TENSORS: Final = 128
_MAX_TENSORS_OF_MANY: Final = 32
_MANY_CHECKPOINTS: Final = 256
_MIN_AXES: Final = 2
_MAX_TENSOR_BYTES: Final = 2**20
_VERSION: Final = "1"

FloatArray = NDArray[np.float64]
SampleArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """Which elements are sampled.

    Attributes:
        shapes: Shapes of the tensors that are sampled, by name.
        num_elements: How many elements of each; fewer where it has no more.
    """

    shapes: Mapping[str, tuple[int, ...]]
    num_elements: int

    @property
    def key(self) -> str:
        """What a stored sample is known by: another choice of elements has another."""
        lines = (_VERSION, str(self.num_elements), *(f"{name!r} {shape}" for name, shape in self.shapes.items()))
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def plan_samples(sides: Sequence[Mapping[str, TensorInfo]]) -> SamplePlan:
    """Choose tensors that most checkpoints hold, evenly spread over the model.

    Args:
        sides: For each checkpoint its tensors by name.

    Returns:
        A plan over matrices, or over vectors where there are no matrices; it is empty where most checkpoints have no
        tensor in common.
    """
    counts = Counter((n, i.shape) for side in sides for n, i in side.items() if can_sample(i))
    common = [(name, shape) for (name, shape), count in counts.items() if 2 * count > len(sides)]
    matrices = [(name, shape) for name, shape in common if len(shape) >= _MIN_AXES]
    # By name: the plan must not depend on which checkpoint comes first.
    chosen = sorted(matrices or common)
    most = _MAX_TENSORS if len(sides) <= _MANY_CHECKPOINTS else _MAX_TENSORS_OF_MANY
    if len(chosen) > most:
        chosen = [chosen[(len(chosen) - 1) * index // (most - 1)] for index in range(most)]
    num_elements = min(_MAX_ELEMENTS, max(_MIN_ELEMENTS, _NUM_ELEMENTS // max(1, len(chosen))))
    return SamplePlan(dict(chosen), num_elements)


def read_sample(plan: SamplePlan, tensors: Mapping[str, TensorInfo], source: ByteSource) -> SampleArray:
    """Read the sample of one checkpoint.

    Args:
        plan: Which elements.
        tensors: Its tensors by name.
        source: Where the bytes come from.

    Returns:
        float32 of shape (tensors, elements): the weights; NaN where it has no such tensor or element, and where the
        weights are.

    Raises:
        CheckpointError: If they cannot be read, or the file was changed meanwhile.
    """
    values = np.full((len(plan.shapes), plan.num_elements), np.nan, dtype=np.float32)
    reader = ElementReader(source)
    for row, (name, shape) in enumerate(plan.shapes.items()):
        info = tensors.get(name)
        if info is None or info.shape != shape or not can_sample(info):
            continue
        runs = choose_runs(info.numel, plan.num_elements)
        if count_bytes(info, runs) > _MAX_TENSOR_BYTES:
            continue
        filled = 0
        for start, stop in runs:
            with np.errstate(all="ignore"):
                values[row, filled : filled + stop - start] = _read_run(info, start, stop, reader)
            filled += stop - start
    reader.verify()
    return values


class Distances:
    """Distances between any two of T checkpoints, from their samples.

    Args:
        samples: float32 of shape (T, tensors, elements).

    Attributes:
        norms: float64 of shape (T, tensors): Euclidean norms of the samples.
    """

    def __init__(self, samples: SampleArray) -> None:
        self._samples = samples
        with np.errstate(all="ignore"):
            squares = (np.nansum(np.square(sample, dtype=np.float64), axis=1) for sample in samples)
            self.norms: FloatArray = np.sqrt(np.array(list(squares)).reshape(samples.shape[:2]))

    def __len__(self) -> int:
        return len(self._samples)

    def per_tensor(self, one: int, other: int) -> FloatArray:
        """Norms of the differences of the tensors of two checkpoints.

        Returns:
            float64 of shape (tensors,), in units of the weights, over the elements that are finite on both sides;
            NaN where there is none.
        """
        with np.errstate(all="ignore"):
            differences = np.square(np.subtract(self._samples[one], self._samples[other], dtype=np.float64))
            finite = np.isfinite(differences)
            norms = np.sqrt(np.sum(differences, axis=1, where=finite))
        return np.where(finite.any(axis=1), norms, np.nan)

    def relative(self, one: int, other: int) -> float:
        """How far two checkpoints are apart, whichever comes first.

        Returns:
            The median over those tensors that differ of norm(a - b) / mean(norm(a), norm(b)): 0 where none differs, at
            most 2; NaN where nothing can be compared.
        """
        with np.errstate(all="ignore"):
            ratios = 2 * self.per_tensor(one, other) / (self.norms[one] + self.norms[other])
        ratios = ratios[np.isfinite(ratios)]
        moved = ratios[ratios > 0]
        if not len(ratios):
            return np.nan
        return float(np.median(moved)) if len(moved) else 0.0


def can_sample(info: TensorInfo) -> bool:
    """Whether it holds real weights of which a few can be read by their position."""
    return info.contiguous and info.type.floating and not info.dtype.startswith("complex") and info.numel > 0


def choose_runs(numel: int, num_elements: int) -> list[tuple[int, int]]:
    """A few runs, one in the middle of each part of the tensor, or all of it where it is small."""
    if numel <= num_elements:
        return [(0, numel)]
    length = num_elements // _NUM_RUNS
    starts = ((2 * index + 1) * numel // (2 * _NUM_RUNS) - length // 2 for index in range(_NUM_RUNS))
    return [(start, start + length) for start in starts]


def _read_run(info: TensorInfo, start: int, stop: int, reader: ElementReader) -> FloatArray:
    data = np.empty((stop - start) * info.type.itemsize, dtype=np.uint8)
    with np.errstate(all="ignore"):  # a NaN that signals
        return reader.read_into(info, start, stop, data).astype(np.float64)
