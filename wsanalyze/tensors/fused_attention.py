"""Fused attention: queries, keys and values that are kept as one weight, told apart again."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, ReadElements, TensorInfo
from wsanalyze.tensors.fused_layouts import FusedModule, Layout, ModelConfig, find_modules, tell_layout
from wsanalyze.tensors.gather import is_plain_real

_MIN_RUN_ELEMENTS: Final = 2**10
_MAX_SPAN_ELEMENTS: Final = 2**20


@dataclass(frozen=True, slots=True)
class Slices:
    """Runs of elements of a tensor at equal distances, one behind the other.

    Attributes:
        whole: The tensor.
        first: Its first element that is taken.
        width: Elements of each run.
        period: Elements from the begin of one run to that of the next.
    """

    whole: TensorInfo
    first: int
    width: int
    period: int

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """See `Derivation.inputs`."""
        return (self.whole,)

    @property
    def text(self) -> str:
        """See `Derivation.text`."""
        return "a part of a fused weight"

    def reads(self, start: int, stop: int) -> Iterator[tuple[TensorInfo, int, int]]:
        """See `Derivation.reads`."""
        for low, high in self._cut(start, stop):
            yield self.whole, self._place(low), self._place(high - 1) + 1

    def compute(self, start: int, stop: int, read: ReadElements) -> NDArray[np.float64]:
        """See `Derivation.compute`."""
        result = np.empty(stop - start)
        for low, high in self._cut(start, stop):
            begin, end = self._place(low), self._place(high - 1) + 1
            run = read(self.whole, begin, end)
            if end - begin != high - low:
                wanted = np.arange(low, high)
                run = run[wanted // self.width * self.period + wanted % self.width + self.first - begin]
            result[low - start : high - start] = run
        return result

    def _place(self, element: int) -> int:
        """Where in the whole tensor an element of the result lies."""
        return element // self.width * self.period + element % self.width + self.first

    def _cut(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts of a run that are read at a time: long ones alone, short ones with what lies between them."""
        num_runs = 1 if self.width >= _MIN_RUN_ELEMENTS else max(1, _MAX_SPAN_ELEMENTS // self.period)
        step = num_runs * self.width
        for first in range(start // step * step, stop, step):
            yield max(first, start), min(first + step, stop)


def split_fused(
    infos: Mapping[str, TensorInfo], folder: TreePath | str
) -> tuple[dict[str, TensorInfo], list[Skip], list[str]]:
    """Put queries, keys and values in the place of the fused weights that hold them.

    Args:
        infos: Tensors by name.
        folder: Where config.json lies.

    Returns:
        The tensors with each fused one replaced by three; the fused ones as skips, and for each module that cannot be
        told apart with certainty one that says why; and the layouts taken from the configuration, as text.

    Raises:
        CheckpointError: If the configuration is needed, and damaged.
    """
    config = ModelConfig(folder)
    keys: list[str] = []
    skips: list[Skip] = []
    split: dict[str, dict[str, TensorInfo]] = {}
    for module in find_modules(infos):
        layout = tell_layout(module, infos, config)
        made = _split_module(module, infos, layout) if isinstance(layout, Layout) else layout
        if isinstance(made, str):
            skips.append(Skip(module.name, f"not split into queries, keys and values: {made}"))
        elif made:
            split |= made
            skips += [Skip(name, "split into queries, keys and values") for name in made]
            keys.append(f"{module.name} {layout}")
    tensors: dict[str, TensorInfo] = {}
    for name, info in infos.items():
        tensors |= split.get(name, {name: info})
    return tensors, skips, keys


def _split_module(
    module: FusedModule, infos: Mapping[str, TensorInfo], layout: Layout
) -> dict[str, dict[str, TensorInfo]] | str:
    """For each tensor of a module, by its name, its three parts by theirs; or why there are none."""
    made: dict[str, dict[str, TensorInfo]] = {}
    for part, name in module.parts.items():
        info = infos[name]
        if info.type.itemsize == 1:
            return "float8 may be codes whose scales lie beside them"
        by_columns = len(info.shape) == 2 and info.shape[0] != layout.rows  # noqa: PLR2004
        if not info.type.floating or info.shape[-1 if by_columns else 0] != layout.rows:
            return f"its {part} does not fit the rest"
        made[name] = {}
        for letter, first, size in layout.parts:
            whole = f"{module.name}.{letter}.{part}"
            derived = _take(info, whole, layout, (first, size), by_columns=by_columns)
            if derived is None or whole in infos:
                return "its elements lie in another order" if derived is None else f"there is a {whole} already"
            made[name][whole] = derived
    return made


def _take(info: TensorInfo, name: str, layout: Layout, rows: tuple[int, int], *, by_columns: bool) -> TensorInfo | None:
    """Some rows of each period of a tensor, or some columns: stored where they are one run, else derived."""
    first, size = rows
    inner = 1 if by_columns else math.prod(info.shape[1:])
    shape = (info.shape[0], size) if by_columns else (size * layout.count, *info.shape[1:])
    if layout.count == 1 and not by_columns and info.derivation is None:
        return _cut_rows(info, name, first, size)
    if not info.contiguous or not is_plain_real(info):
        return None
    derivation = Slices(replace(info, name=""), first * inner, size * inner, layout.period * inner)
    return TensorInfo(name, "float64", shape, info.pieces, derivation)


def _cut_rows(info: TensorInfo, name: str, first: int, size: int) -> TensorInfo | None:
    """Some rows of a stored tensor, as what they are: a stored tensor."""
    inner, itemsize = math.prod(info.shape[1:]), info.type.itemsize
    shape = (size, *info.shape[1:])
    only = info.pieces[0]
    if only.strides is not None:
        span = 1 + sum((n - 1) * s for n, s in zip(shape, only.strides, strict=True))
        offset = only.offset + first * only.strides[0] * itemsize
        return replace(info, name=name, shape=shape, pieces=(replace(only, offset=offset, nbytes=span * itemsize),))
    boxes = len(only.corner) > 1
    low, high = (first, first + size) if boxes else (first * inner, (first + size) * inner)
    pieces = [_cut_piece(piece, low, high, info) for piece in info.pieces]
    kept = tuple(piece for piece in pieces if piece is not None)
    if len(kept) == 1 and kept[0].nbytes == math.prod(shape) * itemsize:
        kept = (replace(kept[0], corner=(), extent=()),)
    return replace(info, name=name, shape=shape, pieces=kept)


def _cut_piece(piece: Piece, low: int, high: int, info: TensorInfo) -> Piece | None:
    """What a piece holds from `low` to `high` along its first axis, which is a run of its bytes."""
    corner, extent = piece.corner or (0,), piece.extent or (info.numel,)
    begin, end = max(low, corner[0]), min(high, corner[0] + extent[0])
    if begin >= end or 0 in extent:
        return None
    step = math.prod(extent[1:]) * info.type.itemsize
    return replace(
        piece,
        offset=piece.offset + (begin - corner[0]) * step,
        nbytes=(end - begin) * step,
        corner=(begin - low, *corner[1:]),
        extent=(end - begin, *extent[1:]),
    )
