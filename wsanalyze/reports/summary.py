"""What a short report tells: which facts are chosen when there is no room for all of them. Words, not layout."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsanalyze.metrics import METRICS
from wsanalyze.reports.names import find_prefix
from wsanalyze.reports.text import format_bytes, format_count, format_share, join_some, printable
from wsanalyze.reports.trend_names import is_still
from wsanalyze.series import ChangeSeries, Event, State
from wsanalyze.trends.base import Quality, Trends
from wsanalyze.trends.choose import LEAST_P
from wsanalyze.trends.levels import compare_levels
from wsanalyze.trends.words import row_levels


@dataclass(frozen=True, slots=True)
class StandoutLayer:
    """A layer that a reader should look at.

    Attributes:
        index: Its row.
        reason: Why: "highest", "lowest", "outlier", or "highest, outlier".
        level: Median of its metric over all changes; a number.
    """

    index: int
    reason: str
    level: float


def describe_size(trends: Trends) -> str:
    """What was compared, as in "relative weight change of 40 layers over 20 changes"."""
    metric = METRICS.get(trends.options.metric)
    title = metric.title if metric else printable(trends.options.metric)
    num_rows, num_changes = trends.series.states.shape
    return f"{title} of {count_rows(trends, num_rows)} over {format_count(num_changes, 'change')}"


def count_rows(trends: Trends, count: int) -> str:
    """A number of rows and what one row is: "12 layers", or "3 blocks" where rows are grouped."""
    return format_count(count, name_row(trends))


def name_row(trends: Trends) -> str:
    """The noun for one row: "layer", or "block", "module" or "kind" where rows are grouped."""
    return trends.options.group or "layer"


def find_name_prefix(trends: Trends) -> str:
    """The dotted start of all names of rows that lists of them leave out; empty for none."""
    return find_prefix(trends.series.names)


def describe_checkpoints(series: ChangeSeries) -> str:
    """How many checkpoints there are and how many were read, their steps, bytes and formats, in one line.

    Of a table that someone else measured, "a table of 33 rows and 40 changes" and its steps.
    """
    read = [record for record in series.checkpoints if record.status == "ok"]
    total = format_count(len(series.checkpoints), "checkpoint")
    parts = [total if len(read) == len(series.checkpoints) else f"{total}, {len(read)} of them read"]
    if is_table(series):
        num_rows, num_changes = series.states.shape
        parts = [f"a table of {format_count(num_rows, 'row')} and {format_count(num_changes, 'change')}"]
    steps = [record.step for record in read if record.step is not None]
    if steps:
        low, high = min(steps), max(steps)
        parts.append(f"step {low}" if low == high else f"steps {low} to {high}")
    num_bytes = sum(record.nbytes for record in read)
    if num_bytes:
        parts.append(format_bytes(num_bytes))
    formats = Counter(printable(record.format) for record in read if record.format)
    if formats:
        parts.append(join_some([name for name, _ in formats.most_common()], 2))
    return ", ".join(parts)


def is_table(series: ChangeSeries) -> bool:
    """Whether it is a table of changes that someone else measured: no weights, shapes, files or skipped tensors."""
    return bool(series.given)


def explain_nothing(trends: Trends) -> str | None:
    """One sentence on why there is no number to show, or None where there is one."""
    series = trends.series
    num_rows, num_changes = series.states.shape
    num_read = sum(record.status == "ok" for record in series.checkpoints)
    if num_changes == 0:
        return (
            f"There is nothing to compare: a change needs two different checkpoints, and there is {num_read or 'none'}."
        )
    if num_rows == 0:
        return f"There is nothing to compare: no {name_row(trends)} is in two checkpoints that follow each other."
    if not np.isfinite(trends.values).any():
        return f"No cell has a number: {', '.join(count_states(trends))}."
    return None


def count_states(trends: Trends) -> list[str]:
    """How many cells have each state, most frequent first: ["40 missing", "1 nonfinite"]."""
    states = trends.states
    counts = Counter(str(state) for state in states.ravel() if state is not None)
    return [f"{count} {state}" for state, count in counts.most_common()]


def find_unreadable_rows(series: ChangeSeries) -> list[str]:
    """Names of the rows with a tensor that could not be read in a checkpoint that otherwise was."""
    unreadable = (series.states == State.UNREADABLE).any(axis=1) if series.states.size else []
    return [name for name, bad in zip(series.names, unreadable, strict=False) if bad]


def count_unreadable(series: ChangeSeries) -> str | None:
    """The last line of a run that is not whole: "1 checkpoint and 2 tensors could not be read."; None where it is."""
    num_checkpoints = sum(record.status == "unreadable" for record in series.checkpoints)
    num_tensors = len(find_unreadable_rows(series))
    counts = [
        format_count(count, noun) for count, noun in ((num_checkpoints, "checkpoint"), (num_tensors, "tensor")) if count
    ]
    return f"{' and '.join(counts)} could not be read." if counts else None


def group_skips(series: ChangeSeries) -> list[tuple[str, list[str]]]:
    """Reasons for which tensors were skipped, and their names; the most frequent reason first."""
    groups: dict[str, list[str]] = {}
    for skip in series.skips:
        groups.setdefault(skip.reason, []).append(skip.name)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def pick_layers(trends: Trends, num_extremes: int = 3, num_outliers: int = 6) -> list[StandoutLayer]:
    """The layers that stand out by the median of their metric, and those whose trend is like no other's.

    Args:
        trends: What to report.
        num_extremes: How many of the highest, and how many of the lowest, to pick.
        num_outliers: How many outliers to pick, the highest first.

    Returns:
        The highest first, then the lowest (lowest last), then the outliers that are not among them. Layers without a
        number are left out, and of those that lack so many that their medians do not compare all but the outliers; one
        layer alone stands out from nothing.
    """
    compared = compare_levels(trends.values, linear=trends.options.linear)
    order = [int(index) for index in np.argsort(-compared, kind="stable") if np.isfinite(compared[index])]
    if len(order) == 1 or is_still(trends):
        return []
    num_high = min(num_extremes, (len(order) + 1) // 2)
    num_low = min(num_extremes, len(order) - num_high)
    levels = row_levels(trends.values)
    ranked = np.argsort(-levels, kind="stable").tolist()
    outliers = [index for index in ranked if trends.outliers[index] and np.isfinite(levels[index])]
    reasons = dict.fromkeys(order[:num_high], "highest")
    reasons |= dict.fromkeys(order[len(order) - num_low :], "lowest")
    reasons |= {index: f"{reasons[index]}, outlier" for index in outliers if index in reasons}
    reasons |= dict.fromkeys([index for index in outliers if index not in reasons][:num_outliers], "outlier")
    return [StandoutLayer(index, reason, float(levels[index])) for index, reason in reasons.items()]


def find_ends(curve: Sequence[float | None]) -> tuple[float | None, float | None]:
    """First and last number of a curve; None where it has none."""
    numbers = [value for value in curve if value is not None and np.isfinite(value)]
    return (numbers[0], numbers[-1]) if numbers else (None, None)


def pick_events(trends: Trends, limit: int) -> tuple[list[Event], list[str]]:
    """Events that are worth a line, and counts of the rest.

    What concerns a checkpoint that takes no part is left out: it is told where checkpoints are listed. Where there
    are too many, each kind gives its first ones in turn, so that two hundred spikes do not hide one dead layer.

    Returns:
        At most `limit` events in the order of the checkpoints, and the rest as ["190 spike", "3 frozen"].
    """
    records = trends.series.checkpoints
    events = [
        event
        for event in trends.all_events
        if event.layer is not None or event.checkpoint is None or records[event.checkpoint].status == "ok"
    ]
    rank: Counter[str] = Counter()
    turns = []
    for position, event in enumerate(events):
        turns.append((rank[event.kind], position))
        rank[event.kind] += 1
    shown = sorted(position for _, position in sorted(turns)[:limit])
    rest = Counter(event.kind for event in events)
    rest.subtract(events[position].kind for position in shown)
    return [events[position] for position in shown], [f"{count} {kind}" for kind, count in rest.most_common() if count]


def describe_place(series: ChangeSeries, checkpoint: int | None) -> str:
    """Where an event is first seen: "step 500", or the label of a checkpoint without a step, or nothing."""
    if checkpoint is None:
        return ""
    record = series.checkpoints[checkpoint]
    return printable(record.label) if record.step is None else f"step {record.step}"


def describe_quality(quality: Quality) -> str:
    """How sure the clusters are: the sentence, and the numbers that it does not give itself."""
    numbers = [
        f"{name} {value:.2f}"
        for name, value in (("silhouette", quality.silhouette), ("stability", quality.stability))
        if value is not None and f"{value:.2f}" not in quality.text
    ]
    text = f"{quality.text} {', '.join(numbers).capitalize()}." if numbers else quality.text
    if quality.p_value is None or f"{quality.p_value:.2g}" in text:
        return text
    chance = format_chance(quality.p_value).replace("≤", "at most")
    return f"{text} One trend alone looks as tightly clustered in {chance} of simulated tables."


def format_chance(p_value: float | None) -> str:
    """How often one trend looks as tightly clustered, of simulated tables.

    Returns:
        "12 %"; "≤ 2.5 %" where none of them did, and more were not simulated; "-" where none was.
    """
    if p_value is None:
        return "-"
    return f"{'≤ ' if p_value <= LEAST_P else ''}{format_share(p_value)}"


def count_touched(trends: Trends) -> list[tuple[str, int]]:
    """How many cells of each kind the method changed before clustering, where there are any.

    Of the gaps that it filled, those that have a number, 0, are counted as "unchanged".
    """
    counts = {kind: len(cells) for kind, cells in trends.touched.items()}
    gaps = trends.touched.get("gap", ())
    if gaps:
        unchanged = int(np.count_nonzero(trends.values[tuple(zip(*gaps, strict=True))] == 0))
        counts |= {"gap": len(gaps) - unchanged, "unchanged": unchanged}
    return [(kind, count) for kind, count in counts.items() if count]


def describe_touched(trends: Trends) -> str | None:
    """How many cells the method changed before clustering: "1 spike tamed, 2 gaps filled"; None for none."""
    words = {"spike": ("spike", "tamed"), "gap": ("gap", "filled")}
    words["unchanged"] = ("unchanged cell", "given a number, since 0 has no logarithm")
    parts = []
    for kind, count in count_touched(trends):
        noun, verb = words.get(kind, (kind, "touched"))
        parts.append(f"{format_count(count, noun)} {verb}")
    return f"Before clustering: {', '.join(parts)}." if parts else None
