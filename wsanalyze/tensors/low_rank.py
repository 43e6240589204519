"""Low-rank adapters: the update B.A that two small factors make of a weight.

References:
    Hu et al., arXiv 2106.09685; peft.tuners.lora (`get_delta_weight`, `get_pattern_key`); Kalajdzievski,
    arXiv 2312.03732 for the scale of rsLoRA.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.series import Skip
from wsanalyze.tensors.adapter_config import tell_scales
from wsanalyze.tensors.base import ReadElements, TensorInfo
from wsanalyze.tensors.gather import is_plain_real

_MAX_NUMEL: Final = 2**33
_MAX_RANK: Final = 2**14
_MAX_TILE_ELEMENTS: Final = 2**21

# For each way to name the factors: the module, the adapter where there may be several, whether the module is an
# embedding, and whether the scale is that of a configuration where no alpha is stored (else it is 1: kohya, diffusers).
_STYLES: Final = tuple(
    (re.compile(first), second, embedding, configured)
    for first, second, embedding, configured in (
        (r"(.*)\.lora_A(?:\.([^.]+))?\.weight", "{0}.lora_B{1}.weight", False, True),
        (r"(.*)\.lora_embedding_A(?:\.([^.]+))?", "{0}.lora_embedding_B{1}", True, True),
        (r"(.*)\.lora_down\.weight()", "{0}.lora_up.weight", False, False),
        (r"(.*)\.lora\.down\.weight()", "{0}.lora.up.weight", False, False),
        (r"(.*_lora)\.down\.weight()", "{0}.up.weight", False, False),
    )
)
# What stands beside two factors whose product alone is not the update.
_OTHER_PARTS: Final = re.compile(
    r"(.*)\.(?:lora_magnitude_vector|dora_scale|lora_mid|lora_diag|lora_E)(?:\..*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class LowRank:
    """scale * B @ A, or its transpose for an embedding.

    A row of the result, cut into tiles of columns where it is long, is computed from as many rows of B and as many
    columns of A.

    Attributes:
        a: The factor that comes first: (r, in, ...), for an embedding (r, out).
        b: The other: (out, r, 1, ...), for an embedding (in, r).
        scale: What the product is multiplied by.
        alpha: The tensor of one element that `scale` is multiplied by, where the checkpoint holds it.
        transposed: Whether the result is the transpose of the product.
    """

    a: TensorInfo
    b: TensorInfo
    scale: float
    alpha: TensorInfo | None = None
    transposed: bool = False

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """See `Derivation.inputs`."""
        return (self.a, self.b) if self.alpha is None else (self.a, self.b, self.alpha)

    @property
    def text(self) -> str:
        """See `Derivation.text`."""
        return f"B.A of rank {self.rank}, scaled by {'alpha * ' if self.alpha else ''}{self.scale:g}"

    @property
    def rank(self) -> int:
        """The number of rows of A and of columns of B."""
        return self.a.shape[0]

    def reads(self, start: int, stop: int) -> Iterator[tuple[TensorInfo, int, int]]:
        """See `Derivation.reads`."""
        if self.alpha is not None:
            yield self.alpha, 0, 1
        for rows, columns in self._tiles(start, stop):
            yield from self._left_runs(*rows)
            yield from self._right_runs(*columns)

    def compute(self, start: int, stop: int, read: ReadElements) -> NDArray[np.float64]:
        """See `Derivation.compute`."""
        scale = self.scale
        if self.alpha is not None:
            scale *= float(read(self.alpha, 0, 1)[0])
        _, num_columns = self._shape
        result = np.empty(stop - start)
        for (top, bottom), (left, right) in self._tiles(start, stop):
            first = _read_block(self._left_runs(top, bottom), read)
            second = _read_block(self._right_runs(left, right), read)
            rows = first.reshape(self.rank, -1).T if self.transposed else first.reshape(-1, self.rank)
            columns = second.reshape(-1, self.rank).T if self.transposed else second.reshape(self.rank, -1)
            begin, end = top * num_columns, bottom * num_columns
            fits = right - left == num_columns and start <= begin and end <= stop
            place = result[begin - start : end - start].reshape(-1, num_columns) if fits else None
            with np.errstate(all="ignore"):
                product = np.matmul(rows * scale, columns, out=place)
            if fits:
                continue
            if right - left == num_columns:
                low, high = max(begin, start), min(end, stop)
                result[low - start : high - start] = product.reshape(-1)[low - begin : high - begin]
                continue
            for row in range(top, bottom):
                begin = row * num_columns + left
                low, high = max(begin, start), min(row * num_columns + right, stop)
                if low < high:
                    result[low - start : high - start] = product[row - top, low - begin : high - begin]
        return result

    @property
    def _shape(self) -> tuple[int, int]:
        """Rows and columns of the result as a matrix."""
        outer, inner = self.b.shape[0], math.prod(self.a.shape[1:])
        return (inner, outer) if self.transposed else (outer, inner)

    def _tiles(self, start: int, stop: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Rows and columns of the tiles that hold a run of elements, none larger than memory allows."""
        _, num_columns = self._shape
        top, bottom = start // num_columns, -(-stop // num_columns)
        left, right = (start % num_columns, (stop - 1) % num_columns + 1) if bottom - top == 1 else (0, num_columns)
        height = max(1, _MAX_TILE_ELEMENTS // self.rank)
        for row in range(top, bottom, height):
            end = min(bottom, row + height)
            width = max(1, _MAX_TILE_ELEMENTS // max(self.rank, end - row))
            for column in range(left, right, width):
                yield (row, end), (column, min(right, column + width))

    def _left_runs(self, top: int, bottom: int) -> Iterator[tuple[TensorInfo, int, int]]:
        if self.transposed:
            yield from _columns(self.a, top, bottom)
        else:
            yield self.b, top * self.rank, bottom * self.rank

    def _right_runs(self, left: int, right: int) -> Iterator[tuple[TensorInfo, int, int]]:
        if self.transposed:
            yield self.b, left * self.rank, right * self.rank
        else:
            yield from _columns(self.a, left, right)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The names of two factors, the module that they update, the name of the update, and what their names tell."""

    a: str
    b: str
    module: str
    update: str
    embedding: bool
    configured: bool


def merge_low_rank(
    infos: Mapping[str, TensorInfo], folder: TreePath | str
) -> tuple[dict[str, TensorInfo], list[Skip], list[str]]:
    """Put updates in the place of the factors that make them.

    Args:
        infos: Tensors by name.
        folder: Where adapter_config.json lies.

    Returns:
        The tensors with each pair replaced by its update; the parts as skips, and for each pair that is not merged
        with certainty, and stays, one by the name of the update that says why; and the scales taken from the
        configuration, as text.

    Raises:
        CheckpointError: If the scales are nowhere to be found, or the configuration is damaged.
    """
    pairs = {pair.a: pair for name in infos if (pair := _find_pair(name, infos)) is not None}
    if not pairs:
        return dict(infos), [], []
    scales: dict[str, float | str] = dict.fromkeys(pairs, 1.0)
    asked = [pair for pair in pairs.values() if pair.configured and _find_alpha(pair, infos) is None]
    told = tell_scales([(pair.module, math.prod(infos[pair.a].shape[:1])) for pair in asked], folder)
    scales |= {pair.a: scale for pair, scale in zip(asked, told, strict=True)}
    others = {found[1] for name in infos if (found := _OTHER_PARTS.fullmatch(name))}
    merged: dict[str, TensorInfo] = {}
    skips: list[Skip] = []
    used: set[str] = set()
    keys: list[str] = []
    for name, info in infos.items():
        pair = pairs.get(name)
        if pair is None:
            merged[name] = info
            continue
        scale = "DoRA or its kin: B.A alone is not the update" if pair.module in others else scales[name]
        derived = f"there is a {pair.update} already" if pair.update in merged else _merge(pair, infos, scale)
        if isinstance(derived, str):
            merged[name] = info
            skips.append(Skip(pair.module if pair.update in merged else pair.update, f"not merged: {derived}"))
            continue
        used |= {pair.a, pair.b}
        merged[pair.update] = derived
        if alpha := _find_alpha(pair, infos):
            used.add(alpha)
            skips.append(Skip(alpha, "scales an update that two factors were merged into"))
        else:
            keys.append(f"{pair.update} {scales[name]}")
        skips += [Skip(part, "a factor, merged with the other into the update lora_BA") for part in (pair.a, pair.b)]
    return {name: info for name, info in merged.items() if name not in used}, skips, keys


def _find_pair(name: str, infos: Mapping[str, TensorInfo]) -> _Pair | None:
    for pattern, other, embedding, configured in _STYLES:
        found = pattern.fullmatch(name)
        if found is None:
            continue
        adapter = f".{found[2]}" if found[2] else ""
        second = other.format(found[1], adapter)
        suffix = "" if adapter in ("", ".default") else adapter
        update = f"{found[1].removesuffix('_lora')}.lora_BA{suffix}"
        fresh = second in infos and update not in infos
        return _Pair(name, second, found[1], update, embedding, configured) if fresh else None
    return None


def _find_alpha(pair: _Pair, infos: Mapping[str, TensorInfo]) -> str | None:
    names = (f"{pair.module}.alpha", f"{pair.module}.lora.alpha", f"{pair.module.removesuffix('_lora')}.alpha")
    return next((name for name in names if name in infos), None)


def _merge(pair: _Pair, infos: Mapping[str, TensorInfo], scale: float | str) -> TensorInfo | str:
    """The update of a pair, or why there is none."""
    a, b = infos[pair.a], infos[pair.b]
    rank = a.shape[0] if a.shape else 0
    if isinstance(scale, str):
        return scale
    if not all(is_plain_real(info) for info in (a, b)):
        return f"{a.dtype} and {b.dtype} are not both real weights"
    fits = len(a.shape) >= 2 and len(b.shape) >= 2 and b.shape[1] == rank and not any(n != 1 for n in b.shape[2:])  # noqa: PLR2004
    if not fits or not 0 < rank <= _MAX_RANK:
        return f"shapes {list(a.shape)} and {list(b.shape)} do not make a product"
    shape = (*b.shape[:1], *a.shape[1:])
    if math.prod(shape) > _MAX_NUMEL:
        return f"the update would have more than {_MAX_NUMEL} elements"
    parts = [replace(info, name="") for info in (a, b)]
    alpha_name = _find_alpha(pair, infos)
    alpha = None
    if alpha_name is not None:
        alpha, scale = replace(infos[alpha_name], name=""), 1.0 / rank
        if alpha.numel != 1 or not (is_plain_real(alpha) or alpha.dtype.startswith(("int", "uint"))):
            return f"{alpha_name} is no number"
    pieces = tuple(piece for info in (*parts, *([alpha] if alpha else [])) for piece in info.pieces)
    derivation = LowRank(parts[0], parts[1], scale, alpha, transposed=pair.embedding)
    return TensorInfo(pair.update, "float64", shape[::-1] if pair.embedding else shape, pieces, derivation)


def _columns(info: TensorInfo, left: int, right: int) -> Iterator[tuple[TensorInfo, int, int]]:
    """The runs of a matrix's rows, or of a stack of kernels', that make up some of its columns."""
    num_columns = math.prod(info.shape[1:])
    if right - left == num_columns:
        yield info, 0, info.numel
        return
    for row in range(info.shape[0]):
        yield info, row * num_columns + left, row * num_columns + right


def _read_block(runs: Iterable[tuple[TensorInfo, int, int]], read: ReadElements) -> NDArray[np.float64]:
    blocks = [read(*run).astype(np.float64) for run in runs]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
