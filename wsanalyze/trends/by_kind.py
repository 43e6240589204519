"""Rows of each kind clustered by themselves.

References:
    docs/method.md, "Trends".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import KindQuality, Method, Partition, Quality, TrendOptions
from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.quality import measure_quality
from wsanalyze.trends.words import count_noun, number_by_level

_LEAST_ROWS: Final = 3
_SHOWN_KINDS: Final = 8
_SIGNALS: Final = re.compile(
    r"(?P<number>\d+|No) principal components? stood out from the noise of (?P<noise>\S+)( decades)? a value\."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What a method makes of the rows of one kind; labels are numbered by level."""

    kind: str
    rows: tuple[int, ...]
    partition: Partition
    quality: Quality

    @property
    def k(self) -> int:
        return int(self.partition.labels.max(initial=-1)) + 1


def cluster_by_kind(
    series: ChangeSeries, values: FloatArray, options: TrendOptions, method: Method
) -> tuple[Partition, tuple[KindQuality, ...]]:
    """Cluster the rows of each kind by themselves.

    Args:
        series: L rows and P changes.
        values: The metric, float64 of shape (L, P).
        options: How; `clusters` is what each kind is to have. Without it, a kind of one or two rows has one.
        method: What clusters.

    Returns:
        The clusters of all kinds together, numbered by kind in the order of the network and then by level, highest
        first; and how far those of each kind can be trusted. Points and features of a kind are its own: they do not
        compare with those of another, and end in NaN where another has more of them. `explained` is the mean over
        kinds, by their numbers of rows.
    """
    groups: dict[str, list[int]] = {}
    for row in sorted(range(len(series.rows)), key=lambda row: (series.rows[row].depth, row)):
        groups.setdefault(str(series.rows[row].kind), []).append(row)
    if not groups:
        return method(series, options), ()
    parts = [_cluster_kind(series, values, options, method, kind, sorted(rows)) for kind, rows in groups.items()]
    kinds = tuple(KindQuality(part.kind, len(part.rows), part.quality) for part in parts)
    return _merge(parts, len(series.rows), _describe(parts, options)), kinds


def sum_up_quality(kinds: Sequence[KindQuality], options: TrendOptions) -> Quality:
    """Say of all kinds together how far their clusters can be trusted.

    Args:
        kinds: Of each kind, in the order of the network.
        options: How clusters were found.

    Returns:
        The number of all clusters; structure where any kind has several trends; silhouette and stability as means over
        the kinds that have them, by their numbers of rows.
    """
    total = sum(part.quality.k for part in kinds)
    structured = [part for part in kinds if part.quality.structure]
    silhouette = _mean([(part.quality.silhouette, part.size) for part in structured])
    stability = _mean([(part.quality.stability, part.size) for part in structured])
    if not total:
        text = f"No {options.noun} could be clustered."
    elif not structured:
        none = [part.kind for part in kinds if not part.quality.k]
        rest = f", and none in {list_names(none)}" if none else ""
        text = f"One trend in each of {len(kinds) - len(none)} kinds{rest}."
        text = text if len(kinds) > 1 else kinds[0].quality.text
    elif len(kinds) == 1:
        text = kinds[0].quality.text
    else:
        text = f"Of {count_noun(len(kinds), 'kind')}, {_list_trends(kinds)}"
        if silhouette is not None and stability is not None:
            text += f" (in the mean, silhouette {silhouette:.2f} and adjusted Rand index {stability:.2f})"
        text += "."
    return Quality(total, bool(structured), silhouette, stability, text)


def _cluster_kind(
    series: ChangeSeries, values: FloatArray, options: TrendOptions, method: Method, kind: str, rows: Sequence[int]
) -> _Part:
    few = len(rows) < _LEAST_ROWS and options.clusters is None
    partition = method(series.select_rows(rows), replace(options, clusters=1) if few else options)
    partition = replace(partition, labels=number_by_level(partition.labels, values[list(rows)]))
    quality = measure_quality(partition, options, values[list(rows)])
    if few and len(rows) > 1 and quality.k:
        text = f"{len(rows)} {options.noun}s are too few to tell trends apart."
        quality = replace(quality, text=text)
    return _Part(kind, tuple(rows), partition, quality)


def _merge(parts: Sequence[_Part], num_rows: int, notes: tuple[str, ...]) -> Partition:
    labels = np.full(num_rows, -1, dtype=np.int64)
    confidence = np.full(num_rows, np.nan)
    outliers = np.zeros(num_rows, dtype=np.bool_)
    touched: dict[str, list[tuple[int, int]]] = {}
    begin = 0
    for part in parts:
        rows, found = list(part.rows), part.partition
        labels[rows] = _shift(found.labels, begin)
        confidence[rows], outliers[rows] = found.confidence, found.outliers
        for name, cells in found.touched.items():
            touched.setdefault(name, []).extend((rows[row], change) for row, change in cells)
        begin += part.k
    return Partition(
        features=_spread([(part.rows, part.partition.features) for part in parts], num_rows),
        points=_spread([(part.rows, part.partition.points) for part in parts], num_rows),
        explained=_mean_explained(parts),
        labels=labels,
        confidence=confidence,
        outliers=outliers,
        touched={name: tuple(sorted(cells)) for name, cells in touched.items()},
        notes=notes,
    )


def _shift(labels: LabelArray, begin: int) -> LabelArray:
    return np.where(labels >= 0, labels + begin, -1)


def _spread(tables: Sequence[tuple[Sequence[int], FloatArray]], num_rows: int) -> FloatArray:
    """Tables of different widths in one, NaN to the right of the narrower ones."""
    whole = np.full((num_rows, max(table.shape[1] for _, table in tables)), np.nan)
    for rows, table in tables:
        whole[list(rows), : table.shape[1]] = table
    return whole


def _mean_explained(parts: Sequence[_Part]) -> FloatArray:
    explained = np.zeros(max(len(part.partition.explained) for part in parts))
    for part in parts:
        explained[: len(part.partition.explained)] += len(part.rows) * part.partition.explained
    return explained / sum(len(part.rows) for part in parts)


def _mean(numbers: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(number, weight) for number, weight in numbers if number is not None]
    if not known:
        return None
    return sum(number * weight for number, weight in known) / sum(weight for _, weight in known)


def _describe(parts: Sequence[_Part], options: TrendOptions) -> tuple[str, ...]:
    """One note for each kind, or for all that have the same; what all kinds have in common is said once."""
    first, *others = (part.partition.notes for part in parts)
    # What counts something is said of one kind, whatever others have as many of.
    common = [note for note in first if all(note in notes for notes in others)]
    common = [note for note in common if not note[0].isdigit() or _SIGNALS.fullmatch(note)]
    kinds_of: dict[str, list[str]] = {}
    signals: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        notes = [note for note in part.partition.notes if note not in common]
        for found in filter(None, map(_SIGNALS.fullmatch, notes)):
            signals.setdefault((found["number"].replace("No", "none"), found["noise"]), []).append(part.kind)
        if text := " ".join(note for note in notes if not _SIGNALS.fullmatch(note)):
            kinds_of.setdefault(text, []).append(part.kind)
    told = [f"{list_names(kinds, len(kinds))}: {text}" for text, kinds in kinds_of.items()]
    if signals:
        unit = "" if options.linear else " decades"
        said = (
            f"{number} in {list_names(kinds, len(kinds))} ({noise}{unit} a value)"
            for (number, noise), kinds in signals.items()
        )
        told.append(f"Principal components that stood out from the noise: {'; '.join(said)}.")
    short = [part.kind for part in parts if options.clusters is not None and part.k < options.clusters]
    if short:
        has = "has" if len(short) == 1 else "have"
        told.append(f"{options.clusters} clusters were asked for, and {list_names(short)} {has} fewer.")
    return (*common, *told)


def _list_trends(kinds: Sequence[KindQuality]) -> str:
    """Which kinds have several trends, and how many have one: "conv has 3 trends, head 2, and 4 have one"."""
    numbers: Mapping[str, int] = {part.kind: part.quality.k for part in kinds if part.quality.structure}
    shown = list(numbers.items())[:_SHOWN_KINDS]
    said = [f"{kind} has {k} trends" if not index else f"{kind} {k}" for index, (kind, k) in enumerate(shown)]
    if len(numbers) > len(shown):
        said.append(f"{len(numbers) - len(shown)} more have several")
    if single := sum(part.quality.k == 1 for part in kinds):
        said.append(f"{single} {'has' if single == 1 else 'have'} one")
    return list_names(said, len(said))
