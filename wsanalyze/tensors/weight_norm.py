"""Weight normalisation: a weight kept as its direction v and its size g, put together again.

References:
    Salimans and Kingma, arXiv 1602.07868; torch.nn.utils.weight_norm and torch.nn.utils.parametrizations.weight_norm.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.series import Skip
from wsanalyze.tensors.base import ReadElements, TensorInfo
from wsanalyze.tensors.gather import BLOCK_ELEMENTS, MAX_KEPT_ELEMENTS, is_plain_real

_OLD: Final = re.compile(r"\w+_v")
_NEW: Final = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.original1")
_MAX_ROW_ELEMENTS: Final = 2**16


@dataclass(frozen=True, slots=True)
class SliceNorms:
    """The norms of the slices of a tensor along one axis.

    Attributes:
        v: The tensor.
        axis: Which axis; None for one norm of the whole tensor.
    """

    v: TensorInfo
    axis: int | None

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """See `Derivation.inputs`."""
        return (self.v,)

    @property
    def text(self) -> str:
        """See `Derivation.text`."""
        return "norms of weight_v"

    def reads(self, start: int, stop: int) -> Iterator[tuple[TensorInfo, int, int]]:
        """All of v, whatever the norms."""
        del start, stop
        yield self.v, 0, self.v.numel

    def compute(self, start: int, stop: int, read: ReadElements) -> NDArray[np.float64]:
        """Stream over all of v, a block at a time."""
        squares = np.zeros(_count_slices(self.v.shape, self.axis))
        for first in range(0, self.v.numel, BLOCK_ELEMENTS):
            last = min(self.v.numel, first + BLOCK_ELEMENTS)
            squares += _sum_squares(read(self.v, first, last), first, self.v.shape, self.axis)
        return np.sqrt(squares)[start:stop]


@dataclass(frozen=True, slots=True)
class WeightNorm:
    """g * v / ||v||, the norm over all axes but one.

    A slice of v whose norm is 0 has no direction, and gives NaN, as it does in torch.

    Attributes:
        g: Sizes: one for each index along the axis, or one.
        v: Directions, of the shape of the weight.
        axis: The axis; None where the norm is over all axes.
    """

    g: TensorInfo
    v: TensorInfo
    axis: int | None

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """See `Derivation.inputs`."""
        return self.g, self.v

    @property
    def text(self) -> str:
        """See `Derivation.text`."""
        return "weight_g and weight_v"

    def reads(self, start: int, stop: int) -> Iterator[tuple[TensorInfo, int, int]]:
        """See `Derivation.reads`."""
        if self._has_short_rows():
            row = math.prod(self.v.shape[1:])
            first, last = start // row, -(-stop // row)
            yield self.g, first, last
            yield self.v, first * row, last * row
            return
        yield self.g, 0, self.g.numel
        yield self.v, start, stop
        if not self._is_whole(start, stop):
            yield self._norms, 0, self._norms.numel

    def compute(self, start: int, stop: int, read: ReadElements) -> NDArray[np.float64]:
        """See `Derivation.compute`."""
        g, v = (read(*run).astype(np.float64) for run in tuple(self.reads(start, stop))[:2])
        with np.errstate(all="ignore"):
            if self._has_short_rows():
                row = math.prod(self.v.shape[1:])
                rows = v.reshape(-1, row)
                scales = g / np.sqrt(np.vecdot(rows, rows))
                skipped = start % row
                weights: NDArray[np.float64] = (rows * scales[:, None]).reshape(-1)[skipped : skipped + stop - start]
                return weights
            if self._is_whole(start, stop):
                norms = np.sqrt(_sum_squares(v, 0, self.v.shape, self.axis))
            else:
                norms = read(self._norms, 0, self._norms.numel)
            return v * (g / norms)[_slice_indices(start, stop, self.v.shape, self.axis)]

    @property
    def _norms(self) -> TensorInfo:
        num_slices = _count_slices(self.v.shape, self.axis)
        return TensorInfo("", "float64", (num_slices,), self.v.pieces, SliceNorms(self.v, self.axis))

    def _is_whole(self, start: int, stop: int) -> bool:
        """Whether the run is the whole tensor, so that the norms need no reading of their own."""
        return start == 0 and stop == self.v.numel

    def _has_short_rows(self) -> bool:
        """Whether the norms are those of rows, short enough to be read whole where a run ends within one."""
        return self.axis == 0 and math.prod(self.v.shape[1:]) <= _MAX_ROW_ELEMENTS


def recombine_weight_norm(infos: Mapping[str, TensorInfo]) -> tuple[dict[str, TensorInfo], list[Skip]]:
    """Put the weights of weight-norm pairs in the place of their directions.

    Args:
        infos: Tensors by name.

    Returns:
        The tensors with each pair replaced by its weight, and the parts as skips.
    """
    found: dict[str, TensorInfo] = {}
    parts: set[str] = set()
    skips: list[Skip] = []
    for name, info in infos.items():
        pair = _name_pair(name)
        if pair is None or pair[0] not in infos or pair[1] in infos or pair[1] in found:
            found[name] = info
            continue
        size, whole = pair
        reason, derived = _recombine(infos[size], info, whole)
        if derived is None:
            found[name] = info
            if reason:
                skips.append(Skip(whole, reason))
            continue
        found[whole] = derived
        parts.add(size)
        skips += [Skip(part, "size or direction of a weight that is put together again") for part in (size, name)]
    return {name: info for name, info in found.items() if name not in parts}, skips


def _name_pair(name: str) -> tuple[str, str] | None:
    """For the name of a direction, those of its size and of the weight that both make."""
    last = name.rpartition(".")[2]
    if "weight" in last and _OLD.fullmatch(last):
        return f"{name[:-1]}g", name[:-2]
    if found := _NEW.fullmatch(name):
        return f"{name[:-1]}0", found[1] + found[2]
    return None


def _recombine(g: TensorInfo, v: TensorInfo, name: str) -> tuple[str, TensorInfo | None]:
    axes = [axis for axis, size in enumerate(g.shape) if size != 1]
    expected = tuple(size if axis in axes else 1 for axis, size in enumerate(v.shape))
    if not is_plain_real(g) or not is_plain_real(v) or not v.shape or len(axes) > 1 or g.shape not in ((), expected):
        return "", None
    axis = axes[0] if axes else None
    if _count_slices(v.shape, axis) > MAX_KEPT_ELEMENTS and (axis != 0 or math.prod(v.shape[1:]) > _MAX_ROW_ELEMENTS):
        return f"not recombined: more than {MAX_KEPT_ELEMENTS} norms", None
    derivation = WeightNorm(replace(g, name=""), replace(v, name=""), axis)
    return "", TensorInfo(name, "float64", v.shape, (*v.pieces, *g.pieces), derivation)


def _count_slices(shape: tuple[int, ...], axis: int | None) -> int:
    return 1 if axis is None else shape[axis]


def _slice_indices(start: int, stop: int, shape: tuple[int, ...], axis: int | None) -> NDArray[np.int64]:
    """For each element from `start` to `stop`, its index along the axis."""
    if axis is None:
        return np.zeros(stop - start, dtype=np.int64)
    inner = math.prod(shape[axis + 1 :])
    first, last = start // inner, -(-stop // inner)
    skipped = start - first * inner
    return np.repeat(np.arange(first, last) % shape[axis], inner)[skipped : skipped + stop - start]


def _sum_squares(
    values: NDArray[np.float64], start: int, shape: tuple[int, ...], axis: int | None
) -> NDArray[np.float64]:
    """Sums of squares of the slices along the axis, of those elements that are there: float64 of shape (slices,)."""
    v = values.astype(np.float64)
    if axis is None:
        return np.array([np.vdot(v, v)])
    with np.errstate(all="ignore"):
        indices = _slice_indices(start, start + v.size, shape, axis)
        return np.bincount(indices, weights=v * v, minlength=shape[axis]).astype(np.float64)
