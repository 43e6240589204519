"""What a short report tells of the course of the training: phases, windows, depth. Words, not layout."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.reports.summary import format_chance
from wsanalyze.reports.text import format_count, format_number, printable
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Phase, Trends, Window

SURE: Final = 0.7
"""A confidence from which on a row counts as sure of its cluster."""

_UNEVENTFUL: Final = "As before."  # the text of a window in which nothing happens


@dataclass(frozen=True, slots=True)
class UnsureLayer:
    """A row that could as well belong to another cluster.

    Attributes:
        index: Its row.
        cluster: The cluster that it is in.
        confidence: How clearly it belongs there, below `SURE`.
    """

    index: int
    cluster: int
    confidence: float


def describe_range(series: ChangeSeries, first: int, last: int) -> str:
    """From where to where changes go: "steps 0 to 500", or the labels of checkpoints without steps.

    Args:
        series: The series.
        first: Index of the first change.
        last: Index of the last one, included.
    """
    ends = series.checkpoints[series.pairs[first][0]], series.checkpoints[series.pairs[last][1]]
    steps = [record.step for record in ends]
    if None not in steps:
        return f"steps {steps[0]} to {steps[1]}"
    return " to ".join(printable(record.label) if record.step is None else f"step {record.step}" for record in ends)


def find_rivalled(trends: Trends) -> frozenset[int]:
    """Ids of the clusters whose rows could be in another, of their kind where each kind is clustered by itself.

    Elsewhere a confidence tells nothing: it is that of a choice from one.
    """
    sizes = Counter(cluster.kind for cluster in trends.clusters)
    return frozenset(cluster.id for cluster in trends.clusters if sizes[cluster.kind] > 1)


def find_unsure(trends: Trends) -> list[UnsureLayer]:
    """Rows whose confidence is low, the least sure first."""
    low = np.flatnonzero(np.isin(trends.labels, list(find_rivalled(trends))) & (trends.confidence < SURE))
    order = low[np.argsort(trends.confidence[low], kind="stable")]
    return [UnsureLayer(int(row), int(trends.labels[row]), float(trends.confidence[row])) for row in order]


def name_unsure(trends: Trends, unsure: Sequence[UnsureLayer], names: Sequence[str]) -> list[str]:
    """Each with its confidence, and with its cluster where there are several: "fc.weight (0.41 in 2)".

    Args:
        trends: What to report.
        unsure: Some of its unsure rows.
        names: What each is called.
    """
    several = len(trends.clusters) > 1
    return [
        f"{name} ({min(layer.confidence, SURE - 0.01):.2f}{f' in {layer.cluster}' if several else ''})"
        for name, layer in zip(names, unsure, strict=True)
    ]


def tabulate_kinds(trends: Trends, limit: int) -> list[tuple[str, ...]]:
    """How sure the clusters of each kind are: a line of titles, then one of words and numbers for each kind.

    Args:
        trends: What to report, clustered by kind.
        limit: Kinds that are listed at most; a last line sums up the others.
    """
    lines: list[tuple[str, ...]] = [
        ("kind", f"{trends.options.noun}s", "trends", "silhouette", "stability", "by chance")
    ]
    for part in trends.kinds[:limit]:
        quality = part.quality
        numbers = map(format_number, (quality.silhouette, quality.stability))
        lines.append((part.kind, str(part.size), str(quality.k), *numbers, format_chance(quality.p_value)))
    rest = trends.kinds[limit:]
    if rest:
        size, k = sum(part.size for part in rest), sum(part.quality.k for part in rest)
        lines.append((f"{len(rest)} more", str(size), str(k), "", "", ""))
    return lines


def describe_phase(series: ChangeSeries, phase: Phase) -> str:
    """Its sentence without the range that stands beside it, and its level where the sentence does not give it."""
    text = phase.text.rstrip(".")
    rest = text.removeprefix(f"{describe_range(series, phase.first, phase.last)}: ")
    if rest != text:
        text = rest[:1].upper() + rest[1:]
    level = format_number(phase.level)
    told = phase.level is None or level in text or " near " in text
    return f"{text}." if told else f"{text}; median {level}."


def pick_windows(trends: Trends, limit: int) -> tuple[list[Window], str]:
    """The first window and those in which something happens, most moves kept first, and what to say of the others.

    Args:
        trends: What to report; it has windows.
        limit: Windows after the first that are listed at most.

    Returns:
        The windows, in order, and a text on those that are not among them; "" where none is left.
    """
    busy = [index for index, window in enumerate(trends.windows) if index and window.text != _UNEVENTFUL]
    shown = [0, *sorted(sorted(busy, key=lambda index: -len(trends.windows[index].moved))[:limit])]
    rest = len(trends.windows) - len(shown)
    cut = len(busy) - limit
    if cut > 0:
        text = f"and {format_count(cut, 'more window')} in which something happens"
    else:
        text = f"as before in the other {format_count(rest, 'window')}" if rest else ""
    return [trends.windows[index] for index in shown], text
