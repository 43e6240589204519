"""What else than learning may explain what the curves show.

References:
    docs/method.md, "Confounders".
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wsanalyze.series import ChangeSeries, Event, Kind
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.ranks import Correlation, correlate_ranks
from wsanalyze.trends.words import count_noun, row_levels, say_number

_LEAST_SIZED: Final = 10
_LEAST_UNITS: Final = 8
_LEAST_RHO: Final = 0.5
_LEVEL: Final = 0.01
_LEVEL_WITHIN: Final = 0.05
_ALIKE: Final = 0.05
_NAMES: Final = {"numel": "size", "fan_in": "fan-in"}

_RELATIVE: Final = ("rwc", "l2", "rate", "rate-linear")
_CONVS: Final = (Kind.CONV, Kind.DEPTHWISE, Kind.POINTWISE, Kind.POINTWISE_LINEAR)
_HEADS: Final = {Kind.ATTENTION_Q: "q_norm", Kind.ATTENTION_K: "k_norm"}
_NORM: Final = re.compile(r"(bn|gn|norm|batch_?norm|group_?norm)\d*", re.IGNORECASE)
_LEAST_ROWS: Final = 3
_LEAST_CHANGES: Final = 4
_PART: Final = 4
_LEAST_GROWTH: Final = 1.1
_LEAST_FALL: Final = 1.1
_LEAST_SHARE: Final = 0.3
_MOST: Final = 0.5


def find_confounders(series: ChangeSeries, values: FloatArray, options: TrendOptions) -> tuple[Event, ...]:
    """Find what else than learning may explain the levels or the course of a metric.

    Args:
        series: L rows and P changes.
        values: The metric, float64 of shape (L, P).
        options: How trends are found.

    Returns:
        Events of kind "confounded": levels that follow the size or the fan-in of layers rather than their depth, and
        weights before a normalisation whose relative changes fall while their norms grow. None where nothing certain
        can be said, as of a table, which knows no shapes and no norms.
    """
    if options.linear or options.metric == "rank" or options.group == "kind":
        return ()
    return (*_find_size(series, values, options), *_find_growth(series, values, options))


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Rows of one kind and shape taken together: they tell no more of a size than one row does.

    Attributes:
        level: float64 of shape (n,): median level of the rows.
        kinds: For each kind but one, 1 where the rows are of it, else 0; each float64 of shape (n,).
        explains: What may explain it, each float64 of shape (n,): "depth", "numel" and, where it is known, "fan_in".
        num_rows: Number of all rows.
    """

    level: FloatArray
    kinds: Sequence[FloatArray]
    explains: Mapping[str, FloatArray]
    num_rows: int


def _find_size(series: ChangeSeries, values: FloatArray, options: TrendOptions) -> tuple[Event, ...]:
    """Say where levels follow size or fan-in rather than depth."""
    units = _take_units(series, values)
    if units.num_rows < _LEAST_SIZED or len(units.level) < _LEAST_UNITS:
        return ()
    plain = {name: correlate_ranks(units.level, numbers) for name, numbers in units.explains.items()}
    depth = units.explains["depth"]
    partial = {name: correlate_ranks(units.level, units.explains[name], depth) for name in plain if name != "depth"}
    against = {name: correlate_ranks(units.level, depth, units.explains[name]) for name in partial}
    found = [
        name
        for name in partial
        if abs(plain[name].rho) >= _LEAST_RHO
        and max(plain[name].p_value, partial[name].p_value) < _LEVEL / len(partial)
        and abs(partial[name].rho) > abs(against[name].rho)
        and _holds_within_kinds(units, name, plain[name].rho)
    ]
    if not found:
        return ()
    best = max(found, key=lambda name: abs(partial[name].rho))
    both = [name for name in found if abs(partial[best].rho) - abs(partial[name].rho) < _ALIKE]
    return (_tell_size(best, both, plain, partial[best], units, options.noun),)


def _holds_within_kinds(units: _Units, name: str, rho: float) -> bool:
    """Whether levels follow a number among rows of the same kinds too: else kinds differ, whatever their sizes."""
    within = correlate_ranks(units.level, units.explains[name], *units.kinds)
    return within.p_value < _LEVEL_WITHIN and within.rho * rho > 0


def _take_units(series: ChangeSeries, values: FloatArray) -> _Units:
    levels = row_levels(values)
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for row in np.flatnonzero(levels > 0).tolist():
        entry = series.rows[row]
        # Vectors move by a law of their own; what is grouped has one number for its shape, and no fan-in.
        if len(entry.shape) > 1 or (series.ungrouped is not None and entry.shape):
            groups.setdefault((str(entry.kind), entry.shape), []).append(row)
    explains = {
        "depth": np.array([np.median([series.rows[row].depth for row in rows]) for rows in groups.values()]),
        "numel": np.array([float(np.prod(shape, dtype=np.float64)) for _, shape in groups]),
    }
    if series.ungrouped is None:
        explains["fan_in"] = np.array([float(np.prod(shape[1:], dtype=np.float64)) for _, shape in groups])
    level = np.array([np.median(levels[rows]) for rows in groups.values()])
    kinds = np.array([kind for kind, _ in groups])
    marks = [(kinds == kind).astype(np.float64) for kind in dict.fromkeys(kinds.tolist())]
    return _Units(level, marks[1:], explains, sum(map(len, groups.values())))


def _tell_size(
    best: str,
    both: Sequence[str],
    plain: Mapping[str, Correlation],
    partial: Correlation,
    units: _Units,
    noun: str,
) -> Event:
    what = " and ".join(_NAMES[name] for name in both)
    verb = "rises" if plain[best].rho > 0 else "falls"
    text = (
        f"How much a {noun} changes {verb} with its {what} (rank correlation {plain[best].rho:.2f}) rather than its "
        f"depth ({plain['depth'].rho:.2f}): levels then say little of learning; compare courses or kinds (--by-kind)."
    )
    evidence: dict[str, Any] = {
        "explains": list(both),
        "rank_correlation": {name: found.rho for name, found in plain.items()},
        "p_value": {name: found.p_value for name, found in plain.items()},
        "partial": {"given": "depth", "rank_correlation": partial.rho, "p_value": partial.p_value},
        "shapes": len(units.level),
        "layers": units.num_rows,
    }
    return Event("confounded", None, None, text, evidence)


def _find_growth(series: ChangeSeries, values: FloatArray, options: TrendOptions) -> tuple[Event, ...]:
    """Say where relative changes fall since the norms of weights grow that a normalisation makes irrelevant."""
    if options.metric not in _RELATIVE or series.given or values.shape[1] < _LEAST_CHANGES:
        return ()
    rows = _find_normalised(series)
    with np.errstate(all="ignore"):
        norms = np.sqrt(series.sums["sq_before"][rows])
    growth = _compare_ends(norms)
    fall = 1 / _compare_ends(values[rows])
    judged = np.isfinite(growth) & np.isfinite(fall)
    grow = judged & (growth >= _LEAST_GROWTH) & (fall >= _LEAST_FALL)
    with np.errstate(all="ignore"):
        grow &= np.log(growth) >= _LEAST_SHARE * np.log(fall)
    number, of = int(grow.sum()), int(judged.sum())
    if number < _LEAST_ROWS or number <= _MOST * of:
        return ()
    by, down = float(np.median(growth[grow])), float(np.median(fall[grow]))
    text = (
        f"{number} of {count_noun(of, options.noun)} before a normalisation grow ({say_number(by)} times in the "
        f"median) as their relative change falls ({say_number(down)} times): part of that is growth alone; compare how "
        "they turn, with --metric angle."
    )
    evidence: dict[str, Any] = {
        "layers": number,
        "of": of,
        "median_growth": by,
        "median_fall": down,
        "rows": [rows[index] for index in np.flatnonzero(grow)],
    }
    return (Event("confounded", None, None, text, evidence),)


def _find_normalised(series: ChangeSeries) -> list[int]:
    """Rows whose scale a normalisation takes away, told by names.

    Convolutions without a bias that have a normalisation beside them, and projections to queries and keys with one.
    """
    names = {*series.names, *(skip.name for skip in series.skips)}
    modules = {name.rpartition(".")[0] for name in names}
    norms = {module for module in modules if _is_norm(module, names)}
    beside = {module.rpartition(".")[0] for module in norms}
    found = []
    for index, row in enumerate(series.rows):
        above = row.module.rpartition(".")[0]
        head = f"{above}.{_HEADS.get(row.kind, '')}".removeprefix(".")
        conv = row.kind in _CONVS and above in beside and f"{row.module}.bias" not in names
        if conv or (row.kind in _HEADS and head in modules):
            found.append(index)
    return found


def _is_norm(module: str, names: Collection[str]) -> bool:
    """Whether a module is a normalisation, told by running statistics or by its name and a bias beside its weight."""
    if f"{module}.running_mean" in names:
        return True
    own = module.rpartition(".")[2]
    return _NORM.fullmatch(own) is not None and f"{module}.bias" in names


def _compare_ends(curves: FloatArray) -> FloatArray:
    """Median of the last quarter of each curve over that of the first, float64 of shape (n,); NaN where unknown."""
    size = max(1, curves.shape[1] // _PART)
    first, last = row_levels(curves[:, :size]), row_levels(curves[:, -size:])
    ratio: FloatArray = np.divide(last, first, out=np.full(len(curves), np.nan), where=(first > 0) & (last > 0))
    return ratio
