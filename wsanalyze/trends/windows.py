"""Trends within sliding windows, and how rows move between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries, StateArray
from wsanalyze.sums import SUM_NAMES, Sums
from wsanalyze.trends.base import Method, Partition, TrendOptions, Window
from wsanalyze.trends.blocks import order_rows
from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.noise import BoolArray
from wsanalyze.trends.words import count_noun, number_by_level

_NUM_WINDOWS: Final = 6
_LEAST_WINDOW: Final = 8
_LEAST_CHANGES: Final = 16
_LEAST_ASKED: Final = 2
_MAX_ROWS: Final = 2000
_SURE: Final = 0.9
_SHOWN_MOVES: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The clusters of one window, numbered as those of the one before, and which rows clearly belong to theirs."""

    labels: LabelArray
    sure: BoolArray


def find_windows(
    series: ChangeSeries, partition: Partition, options: TrendOptions, method: Method
) -> tuple[Window, ...]:
    """Find trends within windows that slide over the training, half a window at a time.

    Args:
        series: L rows and P changes.
        partition: What the method made of the whole series; clusters of the first window have the numbers of those of
            the whole that they share most members with.
        options: How; `window` is the number of changes in each. By default there are up to six windows, of at least
            eight changes.
        method: What clusters.

    Returns:
        The windows in order, the last one ends with the training; none where there would be fewer than two, where
        clusters are of kinds, or where a window of its own choice had fewer than 16 changes to slide over. Rows that
        moved did so since the window before, or since the one before that if they were not told of yet. Of more than
        2,000 rows as many, evenly spread in the order of their values, are clustered; the others have label -1.
    """
    places = place_windows(len(series.pairs), options.window)
    if options.by_kind or len(places) < 2:  # noqa: PLR2004 - one window has none to move to
        return ()
    values = series.metric(options.metric)
    rows = _choose_rows(values, partition.labels)
    states = series.metric_states(options.metric)[rows]
    slider = _Slider(series, values[rows], states, rows, options, method)
    parts = [_Part(partition.labels, np.zeros(len(values), dtype=np.bool_))]
    windows: list[Window] = []
    for first, last in places:
        part = slider.cluster(first, last, parts[-1])
        moved: set[int] = set()
        if windows:
            # A window that lies astride of a move shows a course of its own: the one before that shows who moved.
            for before in parts[-2:]:
                sure = before.sure & part.sure & ~_find_settled(partition, before.labels, part.labels)
                moved.update(find_moved(before.labels, part.labels, sure))
            moved -= set(windows[-1].moved)
        text = _describe(series, options, parts[-1], part, sorted(moved)) if windows else _describe_first(part, options)
        windows.append(Window(first, last, part.labels, tuple(sorted(moved)), text))
        parts.append(part)
    return tuple(windows)


def place_windows(num_changes: int, window: int | None) -> list[tuple[int, int]]:
    """First and last change of each window.

    Args:
        num_changes: Number P of changes.
        window: Changes in one, or None to choose.

    Returns:
        Windows that overlap by half, the last one by more where it must to end with the last change; none where P is
        too small for two.
    """
    if window is None:
        if num_changes < _LEAST_CHANGES:
            return []
        # So many windows of twice their distance fill the training.
        window = max(_LEAST_WINDOW, 2 * -(-num_changes // (_NUM_WINDOWS + 1)))
    if not _LEAST_ASKED <= window < num_changes:
        return []
    firsts = [*range(0, num_changes - window, max(1, window // 2)), num_changes - window]
    return [(first, first + window - 1) for first in firsts]


def match_labels(labels: LabelArray, before: LabelArray) -> LabelArray:
    """Number clusters as those of another clustering of the same rows that they share most members with.

    Args:
        labels: int64 of shape (L,), -1 for none.
        before: The other clustering, likewise.

    Returns:
        The labels under new numbers: those of the pairs that share most rows together, and numbers that `before` does
        not have for clusters that are left over.
    """
    from scipy.optimize import linear_sum_assignment

    ids, others = np.unique(labels[labels >= 0]), np.unique(before[before >= 0])
    shared = np.array([[np.count_nonzero((labels == one) & (before == other)) for other in others] for one in ids])
    numbers = dict.fromkeys(ids.tolist(), -1)
    if shared.size:
        for one, other in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
            if shared[one, other]:
                numbers[int(ids[one])] = int(others[other])
    free = iter(range(int(before.max(initial=-1)) + 1, int(before.max(initial=-1)) + 1 + len(ids)))
    found = np.full(len(labels), -1, dtype=np.int64)
    for one, number in numbers.items():
        found[labels == one] = number if number >= 0 else next(free)
    return found


def find_moved(before: LabelArray, after: LabelArray, sure: BoolArray) -> tuple[int, ...]:
    """Find rows that left their companions.

    A row stays with them if it goes where most of its cluster goes, or if most of its new cluster comes from there. So
    neither other numbers, nor clusters that split or become one, move anybody.

    Args:
        before: int64 of shape (L,): labels, -1 for none.
        after: Labels later on.
        sure: bool of shape (L,): rows that clearly belong to their clusters both times; no other row is named.

    Returns:
        Their indices, ascending.
    """
    both = (before >= 0) & (after >= 0)
    goes, comes = _find_most(before[both], after[both]), _find_most(after[both], before[both])
    rows = np.flatnonzero(both & sure)
    return tuple(row for row in rows.tolist() if goes[before[row]] != after[row] and comes[after[row]] != before[row])


def _find_settled(partition: Partition, before: LabelArray, after: LabelArray) -> BoolArray:
    """Rows that clearly follow one trend all along, with most of those that they are with before or after.

    A few changes are often as noise has it. Over all changes, a row that moves follows neither trend.
    """
    whole, settled = partition.labels, np.nan_to_num(partition.confidence) >= _SURE
    with_most = np.zeros(len(whole), dtype=np.bool_)
    for labels in (before, after):
        known = (labels >= 0) & (whole >= 0)
        most = _find_most(labels[known], whole[known])
        with_most |= np.array([most.get(label, -1) for label in labels.tolist()], dtype=np.int64) == whole
    found: BoolArray = settled & (whole >= 0) & with_most
    return found


def _find_most(labels: LabelArray, others: LabelArray) -> dict[int, int]:
    """For each cluster the one of another clustering that it shares most rows with."""
    most = {}
    for label in np.unique(labels).tolist():
        ids, sizes = np.unique(others[labels == label], return_counts=True)
        most[label] = int(ids[np.argmax(sizes)])
    return most


def _choose_rows(values: FloatArray, labels: LabelArray) -> LabelArray:
    """All rows, or 2,000 of them, picked evenly in the order of clusters and values, whatever order rows are in."""
    if len(values) <= _MAX_ROWS:
        return np.arange(len(values))
    order = order_rows(values, labels)
    picked: LabelArray = np.sort(order[np.linspace(0, len(order) - 1, _MAX_ROWS).round().astype(np.int64)])
    return picked


@dataclass(frozen=True, slots=True, eq=False)
class _Slider:
    """What slides: rows of a series, their metric of shape (n, P) and its states, and how they are clustered."""

    series: ChangeSeries
    values: FloatArray
    states: StateArray
    rows: LabelArray
    options: TrendOptions
    method: Method

    def cluster(self, first: int, last: int, before: _Part) -> _Part:
        """Cluster what is inside a window, and number clusters as before."""
        found = self.method(self._cut(first, last), self.options)
        num_rows = len(before.labels)
        labels, sure = np.full(num_rows, -1, dtype=np.int64), np.zeros(num_rows, dtype=np.bool_)
        labels[self.rows] = number_by_level(found.labels, self.values[:, first : last + 1])
        sure[self.rows] = np.nan_to_num(found.confidence) >= _SURE
        return _Part(match_labels(labels, before.labels), sure)

    def _cut(self, first: int, last: int) -> ChangeSeries:
        """The series inside a window, with the metric as it is in the whole, given as a table gives it.

        What a metric compares may lie outside the window: the first checkpoint, or the change before.
        """
        shape = (len(self.rows), last + 1 - first)
        return replace(
            self.series,
            rows=tuple(self.series.rows[row] for row in self.rows),
            pairs=self.series.pairs[first : last + 1],
            sums=Sums(np.broadcast_to(np.nan, (*shape, len(SUM_NAMES)))),
            states=self.states[:, first : last + 1],
            events=(),
            given={self.options.metric: self.values[:, first : last + 1]},
            spans={},
            norms=None,
            ungrouped=None,
            members=(),
        )


def _describe_first(part: _Part, options: TrendOptions) -> str:
    number, k = int((part.labels >= 0).sum()), len(np.unique(part.labels[part.labels >= 0]))
    if not k:
        return f"No {options.noun} could be clustered."
    left_out = f", picked evenly of all {len(part.labels)}," if len(part.labels) > _MAX_ROWS else ""
    verb = "follows" if number == 1 else "follow"
    return f"{count_noun(number, options.noun)}{left_out} {verb} {count_noun(k, 'trend')}."


def _describe(series: ChangeSeries, options: TrendOptions, before: _Part, part: _Part, moved: Sequence[int]) -> str:
    """Say which clusters split or become one, and which rows moved where; "as before" where nothing surely did."""
    both = (before.labels >= 0) & (part.labels >= 0)
    old, new = before.labels[both], part.labels[both]
    said = _say_parted(old, new, part.labels, options)
    parted = bool(said)  # else the sentence may begin with a name, which stays as it is
    places: dict[int, list[int]] = {}
    for row in moved:
        places.setdefault(int(part.labels[row]), []).append(row)
    busiest = sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    for label, rows in busiest[:_SHOWN_MOVES]:
        who = series.rows[rows[0]].name if len(rows) == 1 else count_noun(len(rows), options.noun)
        said.append(f"{who} {'joins' if len(rows) == 1 else 'join'} trend {label}")
    rest = sum(len(rows) for _, rows in busiest[_SHOWN_MOVES:])
    said += [f"{rest} more join others"] if rest else []
    if not said:
        anybody = np.ones(len(series.rows), dtype=np.bool_)
        unsure = len(find_moved(before.labels, part.labels, anybody))
        clear = f", as far as it is clear: {count_noun(unsure, options.noun)} may have moved" if unsure else ""
        return f"As before{clear}."
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if parted else f"{text}."


def _say_parted(old: LabelArray, new: LabelArray, labels: LabelArray, options: TrendOptions) -> list[str]:
    """Say which clusters split, and how large their parts are, and which become one; the first few of many."""
    said = []
    splits, unions = _group(_find_most(new, old)), _group(_find_most(old, new))
    for one, many in splits[:_SHOWN_MOVES]:
        sizes = [int(np.count_nonzero(labels == label)) for label in many]
        parts = [f"{count_noun(sizes[0], options.noun)} in trend {many[0]}"]
        parts += [f"{size} in trend {label}" for size, label in zip(sizes[1:], many[1:], strict=True)]
        said.append(f"trend {one} splits in {len(many)}, {list_names(parts)}")
    if len(splits) > _SHOWN_MOVES:
        said.append(f"{count_noun(len(splits) - _SHOWN_MOVES, 'more trend')} split")
    said += [f"trends {list_names(map(str, many))} are not told apart" for _, many in unions[:_SHOWN_MOVES]]
    if len(unions) > _SHOWN_MOVES:
        said.append(f"{sum(len(many) for _, many in unions[_SHOWN_MOVES:])} more are not told apart either")
    return said


def _group(targets: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """Those clusters that several have as theirs, and which do."""
    groups: dict[int, list[int]] = {}
    for one, target in targets.items():
        groups.setdefault(target, []).append(one)
    return [(target, many) for target, many in sorted(groups.items()) if len(many) > 1]
