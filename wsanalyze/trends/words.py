"""Words for clusters, checkpoints and numbers. Names of layers are left as they are: whoever prints makes them safe."""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import METRICS
from wsanalyze.series import ChangeSeries, CheckpointRecord
from wsanalyze.trends.base import Cluster
from wsanalyze.trends.blocks import find_medians
from wsanalyze.trends.cluster import FloatArray, LabelArray

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]

FLAT_DECADES: Final = 0.15
"""A curve that stays within a factor of 1.4 is steady."""

SHOWN_NAMES: Final = 3
_EXPONENT_FROM: Final = 1e6
_MOST_DECADES: Final = 4
_FRACTIONS: Final = {
    "half": 1 / 2,
    "a third": 1 / 3,
    "a quarter": 1 / 4,
    "a fifth": 1 / 5,
    "a sixth": 1 / 6,
    "a seventh": 1 / 7,
    "an eighth": 1 / 8,
    "a tenth": 1 / 10,
}
_NEAR: Final = 0.05
_TURN_RATIO: Final = 2.0
APART: Final = "unsteady, each by itself"
"""The summary of a cluster whose members have only their noise in common."""

_TURNS: Final = ("hump", "dip")
_MOVES: Final = re.compile(r"\b(falls|rises|drops|jumps|fast|high|nearly)\b")
_VERBS: Final = {
    "falls": "fall",
    "rises": "rise",
    "peaks": "peak",
    "dips": "dip",
    "goes": "go",
    "wakes": "wake",
    "moves": "move",
    "drops": "drop",
    "jumps": "jump",
    "changes": "change",
}
_LEADS: Final = (*_VERBS, "hump", "dip", "one")
_NUMBERS: Final = ("no numbers", "one number only")
_REST: Final = re.compile(r", but (unchanged|0) (?=from )")


def name_checkpoint(record: CheckpointRecord) -> str:
    """What a sentence calls a checkpoint: its step, or its label where it has none."""
    return record.label if record.step is None else f"step {record.step}"


def name_changes(series: ChangeSeries) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What sentences call the checkpoints that the P changes start at, and those that they lead to."""
    names = [name_checkpoint(record) for record in series.checkpoints]
    return tuple(names[before] for before, _ in series.pairs), tuple(names[after] for _, after in series.pairs)


def count_noun(number: int, noun: str) -> str:
    """A number and its noun: "1 layer", "2 layers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def count_of(number: int, total: int, noun: str) -> str:
    """How many of all: "3 of 8 layers", "all 8 layers", "both layers", "the one layer"."""
    if number < total:
        return f"{number} of {count_noun(total, noun)}"
    return {1: f"the one {noun}", 2: f"both {noun}s"}.get(total, f"all {total} {noun}s")


def begin_sentence(text: str) -> str:
    """A text with its first letter in upper case; only for texts that begin with a word, not with a name."""
    return f"{text[:1].upper()}{text[1:]}"


def say_number(number: float, digits: int = 2) -> str:
    """A number in a sentence: "0.0031", "180", "12,000"; with an exponent only below 0.0001 and from a million on."""
    rounded = float(f"{number:.{digits - 1}e}")
    return f"{rounded:,.0f}" if 10**digits <= abs(rounded) < _EXPONENT_FROM else f"{number:.{digits}g}"


def say_times(decades: float) -> str:
    """How many times as much something is: "3 times", "a tenth", "more than 10,000 times".

    Args:
        decades: Logarithm of the ratio to base 10, so that none is too large.
    """
    if decades > _MOST_DECADES:
        return f"more than {10**_MOST_DECADES:,} times"
    ratio = 10**decades
    near = (word for word, part in _FRACTIONS.items() if abs(ratio / part - 1) < _NEAR)
    return next(near, f"{say_number(ratio)} times")


def count_cells(cells: BoolArray, noun: str, row_noun: str, more: str = "") -> str:
    """The number of true cells of a mask of shape (L, P), and of their rows: "3 spikes, in 2 layers,"."""
    return f"{count_noun(int(cells.sum()), noun)}{more}, in {count_noun(int(cells.any(axis=1).sum()), row_noun)},"


def row_levels(values: FloatArray) -> FloatArray:
    """Median of each row over its numbers, float64 of shape (L,); NaN where it has none."""
    return np.where(np.isfinite(values).any(axis=1), find_medians(values), np.nan)


def number_by_level(labels: LabelArray, values: FloatArray) -> LabelArray:
    """Number clusters by the median level of their members, highest first."""
    levels = row_levels(values)
    ids = range(int(labels.max(initial=-1)) + 1)
    ranked = sorted(ids, key=lambda label: (-float(np.nanmedian(levels[labels == label])), label))
    numbers = np.full(len(ids) + 1, -1, dtype=np.int64)  # the last is for label -1
    numbers[ranked] = np.arange(len(ids))
    return numbers[labels]


def is_speed(metric: str) -> bool:
    """Whether values of a metric say how fast rows change: of those that do, 0 means that a row stands still.

    Those that compare other checkpoints than successive ones say where it is, and a rank says how it moves.
    """
    return metric not in METRICS or (METRICS[metric].span is None and metric != "rank")


def describe_cluster(cluster: Cluster, noun: str = "layer") -> str:
    """Say in a sentence what a cluster is and what it does.

    Args:
        cluster: The cluster.
        noun: What one row is called.

    Returns:
        As in "Trend 2, 12 layers (attention q and k, depths 4 to 40): falls steadily, from 0.4 to 0.02."
    """
    kind = f" of {cluster.kind}" if cluster.kind else ""
    makeup = f" ({cluster.makeup})" if cluster.makeup else ""
    course = ", ".join(filter(None, (cluster.summary, describe_level(cluster))))
    return f"Trend {cluster.id}{kind}, {count_noun(cluster.size, noun)}{makeup}: {course}."


def describe_level(cluster: Cluster) -> str:
    """The level of a cluster: "from 0.4 to 0.02" where it goes anywhere, "up to 0.9" at its hump, else "near 0.1"."""
    numbers = [value for value in cluster.median if value]  # a change of 0 is told by the summary
    if not numbers:
        return ""
    start, end, level = numbers[0], numbers[-1], float(np.median(numbers))
    if cluster.summary.startswith(_TURNS):
        peaks = cluster.summary.startswith(_TURNS[0])
        return f"up to {say_number(max(numbers))}" if peaks else f"down to {say_number(min(numbers))}"
    # A course without jumps, which the median may have.
    steady = cluster.summary.removeprefix("about ") in ("steady", APART)
    if not steady and (_MOVES.search(cluster.summary) or max(start, end) > _TURN_RATIO * min(start, end)):
        # Where a curve turns on its way, its ends alone would tell of another course.
        top, bottom = max(numbers), min(numbers)
        turn = f"up to {say_number(top)}" if top > _TURN_RATIO * max(start, end) else ""
        turn = turn or (f"down to {say_number(bottom)}" if _TURN_RATIO * bottom < min(start, end) else "")
        return f"from {say_number(start)} to {say_number(end)}{f', {turn} in between' if turn else ''}"
    return f"near {say_number(level)}"


def say_course(summary: str, *, plural: bool) -> str:
    """The predicate of a sentence that says what rows do whose curve was described by `describe_curve`.

    Args:
        summary: The description.
        plural: Whether there are several rows.

    Returns:
        As in "fall steadily", "are steady, then fall" or "peaks at step 400".
    """
    clauses = summary.split(", then ")
    said = []
    for index, clause in enumerate(clauses):
        # What follows "are" needs no verb of its own; what follows another verb does.
        shared = index > 0 and not clauses[index - 1].startswith(_LEADS)
        said.append(_say_clause(clause, plural=plural, shared=shared))
    return ", then ".join(said)


def _say_clause(clause: str, *, plural: bool, shared: bool) -> str:
    """One clause of it; what shares the verb of the clause before gets none."""
    verb, more = re.split(r"(?<=\w)(?=\W)|$", clause, maxsplit=1)
    verb = {"hump": "peaks", "dip": "dips"}.get(verb, verb)
    be = "are" if plural else "is"
    if clause in _NUMBERS:
        return f"{'have' if plural else 'has'} {clause}"
    if verb == "one":
        verb, more = "changes", " once" if clause == "one change" else " once only"
    if verb in _VERBS:
        more = _REST.sub(rf", but {be} \1 ", more)
        return f"{_VERBS[verb] if plural else verb}{more}"
    return clause if shared else f"{be} {clause}"
