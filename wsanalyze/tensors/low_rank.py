"""Low-rank adapters: the update B.A that two small factors make of a weight.

References:
    Hu et al., arXiv 2106.09685; peft.tuners.lora (`get_delta_weight`, `get_pattern_key`); Kalajdzievski,
    arXiv 2312.03732 for the scale of rsLoRA.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.checkpoints.configs import read_config
from wsanalyze.errors import CheckpointError
from wsanalyze.series import Skip
from wsanalyze.tensors.base import ReadElements, TensorInfo

CONFIG_NAME: Final = "adapter_config.json"
_MAX_NUMEL: Final = 2**33
_MAX_RANK: Final = 2**14
_MAX_TILE_ELEMENTS: Final = 2**21
_MAX_NUMBER: Final = 1e9
_MAX_MATCHING_STEPS: Final = 3e8

# For each way to name the factors: the module, and the adapter where there may be several.
_STYLES: Final = tuple(
    (re.compile(first), second, embedding)
    for first, second, embedding in (
        (r"(.*)\.lora_A(?:\.(\w+))?\.weight", "{0}.lora_B{1}.weight", False),
        (r"(.*)\.lora_embedding_A(?:\.(\w+))?", "{0}.lora_embedding_B{1}", True),
        (r"(.*)\.lora_down\.weight()", "{0}.lora_up.weight", False),
        (r"(.*)\.lora\.down\.weight()", "{0}.lora.up.weight", False),
        (r"(.*_lora)\.down\.weight()", "{0}.up.weight", False),
    )
)
_BASE_PREFIX: Final = re.compile(r"^base_model\.model\.")


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
            with np.errstate(all="ignore"):
                product = (rows @ columns) * scale
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
    """The names of two factors, the module that they update, and the name of the update."""

    a: str
    b: str
    module: str
    update: str
    embedding: bool


def merge_low_rank(infos: Mapping[str, TensorInfo], folder: str) -> tuple[dict[str, TensorInfo], list[Skip], list[str]]:
    """Put updates in the place of the factors that make them.

    Args:
        infos: Tensors by name.
        folder: Where adapter_config.json lies.

    Returns:
        The tensors with each pair replaced by its update; the parts as skips; and the scales taken from the
        configuration, as text.

    Raises:
        CheckpointError: If the scales are nowhere to be found, or the configuration is damaged.
    """
    pairs = {pair.a: pair for name in infos if (pair := _find_pair(name, infos)) is not None}
    if not pairs:
        return dict(infos), [], []
    scales = _tell_scales([pair for pair in pairs.values() if _find_alpha(pair, infos) is None], infos, folder)
    merged: dict[str, TensorInfo] = {}
    skips: list[Skip] = []
    used: set[str] = set()
    keys: list[str] = []
    for name, info in infos.items():
        pair = pairs.get(name)
        if pair is None:
            merged[name] = info
            continue
        derived = _merge(pair, infos, scales.get(name))
        used |= {pair.a, pair.b}
        if isinstance(derived, str):
            skips += [Skip(part, f"not merged: {derived}") for part in (pair.a, pair.b)]
            continue
        merged[pair.update] = derived
        if alpha := _find_alpha(pair, infos):
            used.add(alpha)
            skips.append(Skip(alpha, f"scales {pair.update}"))
        else:
            keys.append(f"{pair.update} {scales[name]}")
        skips += [
            Skip(part, f"merged with {other} into {pair.update}")
            for part, other in ((pair.a, pair.b), (pair.b, pair.a))
        ]
    return {name: info for name, info in merged.items() if name not in used}, skips, keys


def _find_pair(name: str, infos: Mapping[str, TensorInfo]) -> _Pair | None:
    for pattern, other, embedding in _STYLES:
        found = pattern.fullmatch(name)
        if found is None:
            continue
        adapter = f".{found[2]}" if found[2] else ""
        second = other.format(found[1], adapter)
        suffix = "" if adapter in ("", ".default") else adapter
        update = f"{found[1].removesuffix('_lora')}.lora_BA{suffix}"
        return _Pair(name, second, found[1], update, embedding) if second in infos and update not in infos else None
    return None


def _find_alpha(pair: _Pair, infos: Mapping[str, TensorInfo]) -> str | None:
    names = (f"{pair.module}.alpha", f"{pair.module}.lora.alpha", f"{pair.module.removesuffix('_lora')}.alpha")
    return next((name for name in names if name in infos), None)


def _merge(pair: _Pair, infos: Mapping[str, TensorInfo], scale: float | str | None) -> TensorInfo | str:
    """The update of a pair, or why there is none."""
    a, b = infos[pair.a], infos[pair.b]
    rank = a.shape[0] if a.shape else 0
    if isinstance(scale, str):
        return scale
    if any(f"{pair.module}.{other}" in name for other in ("lora_magnitude_vector", "lora_E") for name in infos):
        return "DoRA or AdaLoRA: B.A alone is not the update"
    if not all(info.type.floating and not info.dtype.startswith("complex") for info in (a, b)):
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
        if alpha.numel != 1 or not alpha.type.itemsize or alpha.dtype.startswith(("q", "complex")):
            return f"{alpha_name} is no number"
    if scale is None:
        return "its scale is not known"
    pieces = tuple(piece for info in (*parts, *([alpha] if alpha else [])) for piece in info.pieces)
    derivation = LowRank(parts[0], parts[1], scale, alpha, transposed=pair.embedding)
    return TensorInfo(pair.update, "float64", shape[::-1] if pair.embedding else shape, pieces, derivation)


def _tell_scales(pairs: list[_Pair], infos: Mapping[str, TensorInfo], folder: str) -> dict[str, float | str]:
    """For each pair, by its first factor, the scale that the configuration gives it, or why it gives none.

    Raises:
        CheckpointError: If there is no configuration, or it gives no numbers.
    """
    if not pairs:
        return {}
    config = read_config(folder, CONFIG_NAME)
    path = f"{folder}/{CONFIG_NAME}"
    if not config:
        raise CheckpointError(f"--merge-lora needs {CONFIG_NAME} beside the weights, and there is none", folder)
    if config.get("peft_type", "LORA") != "LORA":
        return {pair.a: f"the adapter is {str(config['peft_type'])[:40]}, not LoRA" for pair in pairs}
    if config.get("use_dora"):
        return {pair.a: "DoRA: B.A alone is not the update" for pair in pairs}
    ranks, alphas = _patterns(config, "rank_pattern", path), _patterns(config, "alpha_pattern", path)
    modules = [_BASE_PREFIX.sub("", pair.module) for pair in pairs]
    _check_patterns([*ranks, *alphas], modules, path)
    scales: dict[str, float | str] = {}
    for pair, module in zip(pairs, modules, strict=True):
        rank = _number(ranks.get(_match_pattern(ranks, module), config.get("r")), "r", path)
        alpha = _number(alphas.get(_match_pattern(alphas, module), config.get("lora_alpha")), "lora_alpha", path)
        shape = infos[pair.a].shape
        if rank < 1 or not shape or rank != shape[0]:
            scales[pair.a] = f"its rank is {shape[0] if shape else 0}, and {rank:g} in {CONFIG_NAME}"
        else:
            scales[pair.a] = alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)
    return scales


def _patterns(config: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise CheckpointError(f"{name} is no mapping of modules to numbers", path)
    return found


def _number(value: object, name: str, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise CheckpointError(f"{name} is no number that could scale an update: {str(value)[:40]!r}", path)
    return float(value)


def _match_pattern(patterns: Mapping[str, Any], module: str) -> str:
    """The first pattern that a module matches, by peft's own rule, or the name of the module itself."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)


def _check_patterns(patterns: Iterable[str], modules: list[str], path: str) -> None:
    """Refuse patterns that are no regular expressions, and those that would take for ever to match.

    A quantifier or an alternative multiplies the ways to match; how many there are is bounded before any is tried.
    """
    length = max((len(module) for module in modules), default=0) + 1
    steps = 0.0
    for pattern in patterns:
        plain = re.sub(r"\\.", "a", pattern)
        num_loops = len(re.findall(r"[*+{]", plain))
        num_choices = len(re.findall(r"[|?]", plain))
        if re.search(r"\)[*+{]|\(\?(?!:)", plain) or num_loops > 4 or num_choices > 20:  # noqa: PLR2004
            raise CheckpointError(f"pattern {pattern[:40]!r} is too complex to be matched", path)
        steps += len(modules) * (length ** (1 + num_loops) * 2**num_choices + len(pattern))
        try:
            re.compile(rf"(.*\.)?({pattern})$")
        except (re.error, RecursionError, OverflowError) as error:
            raise CheckpointError(f"pattern {pattern[:40]!r} is no regular expression", path) from error
    if steps > _MAX_MATCHING_STEPS:
        raise CheckpointError("its patterns are too complex to be matched with so many modules", path)


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
