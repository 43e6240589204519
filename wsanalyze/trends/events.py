"""Events of layers that the curves show: those that freeze, wake, die or lose their numbers; and all spikes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries, Event, State
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.event_words import (
    DEAD,
    FROZEN,
    NEVER,
    NONFINITE,
    NONFINITE_CHANGES,
    PAUSES,
    WAKES,
    Words,
    say_of_many,
)
from wsanalyze.trends.nonfinite import Numbers, count_nonfinite, find_lost, find_nonfinite
from wsanalyze.trends.spikes import find_spikes
from wsanalyze.trends.words import (
    SHOWN_NAMES,
    BoolArray,
    begin_sentence,
    count_of,
    is_speed,
    name_checkpoint,
)

_RATES: Final = ("rate", "rate-linear")
_LEAST_FROZEN: Final = 2
_MAX_SINGLE: Final = 3
_MAX_EVENTS: Final = 10


def find_events(series: ChangeSeries, metric: str, noun: str = "layer") -> tuple[Event, ...]:
    """Find events in the curves of a series.

    Args:
        series: L rows and P changes.
        metric: Name of the metric whose curves and states are looked at. Those of the default one are where it compares
            other checkpoints than successive ones, or is a rank: what it shows is not when a layer moved.
        noun: What one row is called.

    Returns:
        Events of kind "nonfinite", "dead", "frozen", "wakes" and "spike". A row that rests in the last change alone
        is "frozen" with one of `still_changes` in its evidence. More than three rows of which the same is
        said are one event. Where there would be more than ten of a kind, they are one; of spikes, the ten that most
        rows share are left. Rows that never change are counted by themselves.
    """
    if not series.rows or not series.pairs:
        return ()
    if not is_speed(metric):
        metric = "rwc"
    values, states = series.metric(metric), series.metric_states(metric)
    still: BoolArray = states == State.UNCHANGED
    rests: BoolArray = still | (states == State.ZERO)
    known = np.isfinite(values)
    reporter = _Reporter(series, noun)
    onsets, spans = find_nonfinite(series)
    gone, whens, losses = find_lost(series, states) if metric in series.given else ({}, {}, {})
    dead = _find_dead(series)
    lost: BoolArray = states == State.NONFINITE
    frozen = {row: place for row, place in _find_frozen(series, still, known, lost).items() if row not in dead}
    moves = (known & ~rests) | (states == State.FROM_ZERO)
    alive = np.array([row not in dead for row in range(len(series.rows))])
    wakes = _find_wakes(series, rests & alive[:, None], moves)
    paused, pauses, lengths = _find_pauses(series, rests, moves)
    start = series.pairs[0][0]
    rested, when = _find_last_rests(series, still & alive[:, None], known)
    return (
        *reporter.report("nonfinite", NONFINITE, onsets, spans, numbers=count_nonfinite(series, onsets)),
        *reporter.report("nonfinite", NONFINITE_CHANGES, gone, whens, losses),
        *reporter.report("dead", DEAD, dead),
        *reporter.report("frozen", NEVER, {r: p for r, p in frozen.items() if p == start}),
        *reporter.report(
            "frozen",
            FROZEN,
            {r: p for r, p in frozen.items() if p != start},
            numbers={row: _find_last(values[row], moves[row]) for row in frozen},
        ),
        *reporter.report(
            "frozen", PAUSES, rested, when, numbers={row: _find_last(values[row], moves[row]) for row in rested}
        ),
        *reporter.report("wakes", WAKES, wakes, numbers={row: _find_first(values[row], moves[row]) for row in wakes}),
        *reporter.report("wakes", PAUSES, paused, pauses, numbers=lengths),
        *find_spikes(series, series.metric("rwc") if metric in _RATES else values, noun),
    )


def _find_dead(series: ChangeSeries) -> Mapping[int, int]:
    """Row: checkpoint from which all its weights are zero, to the end."""
    places = {}
    measured = series.sums["n_valid"] > 0
    zero = measured & (series.sums["l1_after"] == 0)
    for row in np.flatnonzero(zero[:, -1]):
        change = _start_of_tail(zero[row], measured[row])
        born_zero = not np.flatnonzero(measured[row])[0] < change and series.sums["l1_before"][row, change] == 0
        places[int(row)] = series.pairs[change][0 if born_zero else 1]
    return places


def _find_frozen(series: ChangeSeries, still: BoolArray, known: BoolArray, lost: BoolArray) -> Mapping[int, int]:
    """Row: checkpoint from which on its weights are the same; the first one if it never moves.

    A row that became NaN and came back did move, and nobody can say from when on it rests.
    """
    places = {}
    for row in np.flatnonzero(still[:, -1]):
        change = _start_of_tail(still[row], known[row])
        if not (known[row] & ~still[row]).any():
            if not lost[row].any():
                places[int(row)] = series.pairs[0][0]
        elif np.count_nonzero(known[row, change:]) >= _LEAST_FROZEN:
            places[int(row)] = series.pairs[change][0]
    return places


def _find_last_rests(
    series: ChangeSeries, still: BoolArray, known: BoolArray
) -> tuple[Mapping[int, int], Mapping[int, str]]:
    """Row: checkpoint from which it rests in the last change, and in no other. Row: the same in words."""
    before, after = series.pairs[-1]
    names = [name_checkpoint(series.checkpoints[place]) for place in (before, after)]
    alone = still[:, -1] & (still.sum(axis=1) == 1) & (known.sum(axis=1) > 1)
    rows = np.flatnonzero(alone).tolist()
    return dict.fromkeys(rows, before), dict.fromkeys(rows, f" from {names[0]} to {names[1]}, the last change")


def _find_wakes(series: ChangeSeries, rests: BoolArray, moves: BoolArray) -> Mapping[int, int]:
    """Row: checkpoint at which it first moves off, where it did not move before."""
    places = {}
    for row in np.flatnonzero(moves.any(axis=1)):
        change = int(np.argmax(moves[row]))
        if rests[row, :change].any():
            places[int(row)] = series.pairs[change][0]
    return places


def _find_pauses(
    series: ChangeSeries, rests: BoolArray, moves: BoolArray
) -> tuple[Mapping[int, int], Mapping[int, str], Numbers]:
    """Row: checkpoint at which it moves on after its longest rest. Row: when it rested, in words. Row: how long."""
    places, whens, lengths = {}, {}, {}
    for row in np.flatnonzero((rests & np.roll(rests, 1, axis=1))[:, 1:].any(axis=1)).tolist():
        moving = np.flatnonzero(moves[row])
        resting = [int(np.count_nonzero(rests[row, a:b])) for a, b in pairwise(moving)]
        if max(resting, default=0) < _LEAST_FROZEN:
            continue
        begin, end = moving[int(np.argmax(resting)) :][:2].tolist()
        stops, wakes = series.pairs[begin][1], series.pairs[end][0]
        names = [name_checkpoint(series.checkpoints[place]) for place in (stops, wakes)]
        places[row], whens[row] = wakes, f" from {names[0]} to {names[1]} and moves on after that"
        lengths[row] = {"from_checkpoint": stops, "still_changes": max(resting)}
    return places, whens, lengths


def _find_last(values: FloatArray, moves: BoolArray) -> Mapping[str, Any]:
    """The last number of a row that moves, and for how many changes it has rested since."""
    places = np.flatnonzero(moves)
    if not len(places):
        return {}
    last = float(values[places[-1]])
    return {"last_change": None if np.isnan(last) else last, "still_changes": len(values) - 1 - int(places[-1])}


def _find_first(values: FloatArray, moves: BoolArray) -> Mapping[str, Any]:
    """The first number of a row that rested, and for how many changes it had."""
    place = int(np.argmax(moves))
    first = float(values[place])
    return {"first_change": None if np.isnan(first) else first, "still_changes": place}


def _start_of_tail(mask: BoolArray, known: BoolArray) -> int:
    """First change of the run of true cells at the end, over cells that have no number."""
    against = np.flatnonzero(known & ~mask)
    begin = int(against[-1]) + 1 if len(against) else 0
    return begin + int(np.argmax(mask[begin:]))


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Makes events of what was found in rows."""

    series: ChangeSeries
    noun: str

    def report(
        self,
        kind: str,
        words: Words,
        places: Mapping[int, int],
        whens: Mapping[int, str] | None = None,
        numbers: Numbers | None = None,
    ) -> Sequence[Event]:
        """Make events of rows and their checkpoints, said in the words given for each row or in the usual ones."""
        numbers = numbers or {}
        groups: dict[tuple[int, str], list[int]] = {}
        for row, place in places.items():
            when = whens[row] if whens else words.when(self._name(place))
            groups.setdefault((place, when), []).append(row)
        events: list[Event] = []
        for (place, when), rows in sorted(groups.items()):
            if len(rows) > _MAX_SINGLE:
                events.append(self._make_shared(kind, place, rows, say_of_many(words, when), numbers))
            else:
                events += (
                    self._make_single(kind, place, row, f"{words.one}{when}", numbers.get(row, {})) for row in rows
                )
        if len(events) <= _MAX_EVENTS:
            return events
        first, last = min(places.values()), max(places.values())
        when = words.when(f"some point between {self._name(first)} and {self._name(last)}")
        return [self._make_shared(kind, first, sorted(places), f"{words.many}{when}", numbers)]

    def _name(self, place: int) -> str:
        return name_checkpoint(self.series.checkpoints[place])

    def _make_single(self, kind: str, place: int, row: int, said: str, numbers: Mapping[str, Any]) -> Event:
        name = self.series.rows[row].name
        return Event(kind, name, place, f"{name} {said}.", {"row": row, **numbers})

    def _make_shared(self, kind: str, place: int, rows: Sequence[int], said: str, numbers: Numbers) -> Event:
        names = [self.series.rows[row].name for row in rows]
        count = begin_sentence(count_of(len(rows), len(self.series.rows), self.noun))
        text = f"{count} {said}: {list_names(names, SHOWN_NAMES)}."
        evidence: dict[str, Any] = {"layers": len(rows), "rows": list(rows)}
        for key in numbers.get(rows[0], {}):
            evidence[key] = [numbers.get(row, {}).get(key) for row in rows]
        return Event(kind, None, place, text, evidence)
