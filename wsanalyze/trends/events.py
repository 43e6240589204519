"""Events that the curves show: spikes, and layers that freeze, wake, die or lose their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wsanalyze.metrics import METRICS
from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries, Event, State, StateArray
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.features import BoolArray
from wsanalyze.trends.words import SHOWN_NAMES, IndexArray, name_checkpoint

_SPIKE_RATIO: Final = 3.0
_SPIKE_SHARE: Final = 0.25
_LEAST_SPIKING: Final = 3
_MAX_DECADES: Final = 300.0
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
        Events of kind "nonfinite", "dead", "frozen", "wakes" and "spike". More than three rows of which the same is
        said are one event. Where there would be more than ten of a kind, they are one; of spikes, the ten that most
        rows share are left. Rows that never change are counted by themselves.
    """
    if not series.rows or not series.pairs:
        return ()
    if metric == "rank" or (metric in METRICS and METRICS[metric].span is not None):
        metric = "rwc"
    values, states = series.metric(metric), series.metric_states(metric)
    onsets, spans = _find_nonfinite(series)
    dead = _find_dead(series)
    still: BoolArray = states == State.UNCHANGED
    known = np.isfinite(values)
    frozen = {row: place for row, place in _find_frozen(series, still, known).items() if row not in dead}
    wakes = {row: place for row, place in _find_wakes(series, states, known).items() if row not in dead}
    start = series.pairs[0][0]
    reporter = _Reporter(series, noun)
    return (
        *reporter.report("nonfinite", _NONFINITE, onsets, spans),
        *reporter.report("dead", _DEAD, dead),
        *reporter.report("frozen", _NEVER, {r: p for r, p in frozen.items() if p == start}),
        *reporter.report("frozen", _FROZEN, {r: p for r, p in frozen.items() if p != start}),
        *reporter.report("wakes", _WAKES, wakes),
        *_find_spikes(series, values, noun),
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """What is said of one layer and of several, and what stands around the checkpoint."""

    one: str
    many: str
    before: str = ""
    after: str = ""

    def when(self, place: str) -> str:
        """The words from the checkpoint on; empty where none belongs into the sentence."""
        return f" {self.before} {place}{self.after}" if self.before else ""


_NONFINITE: Final = _Words("has NaN or Inf weights", "have NaN or Inf weights", "at")
_DEAD: Final = _Words("is all zero", "are all zero", "from", " on")
_NEVER: Final = _Words("never changes", "never change")
_FROZEN: Final = _Words("stops changing", "stop changing", "at")
_WAKES: Final = _Words("wakes", "wake", "after", ", with no change until then")


def _find_nonfinite(series: ChangeSeries) -> tuple[Mapping[int, int], Mapping[int, str]]:
    """Row: checkpoint at which its first NaN or Inf is seen. Row: at which checkpoints it has any, in words."""
    shape = (len(series.rows), len(series.checkpoints))
    bad, seen = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    measured = ~np.isnan(series.sums["n"])
    # Most checkpoints are a side of two pairs, and either can be unmeasured.
    for change, pair in enumerate(series.pairs):
        for place, side in zip(pair, ("nonfinite_before", "nonfinite_after"), strict=True):
            seen[:, place] |= measured[:, change]
            bad[:, place] |= series.sums[side][:, change] > 0
    onsets, spans = {}, {}
    for row in np.flatnonzero(bad.any(axis=1)).tolist():
        places = np.flatnonzero(bad[row])
        onsets[row] = int(places[0])
        spans[row] = _name_span(series, places, np.flatnonzero(seen[row]))
    return onsets, spans


def _name_span(series: ChangeSeries, places: IndexArray, seen: IndexArray) -> str:
    """Say when something is so at some of the checkpoints at which it could be seen."""
    first, last = (name_checkpoint(series.checkpoints[place]) for place in (places[0], places[-1]))
    if np.count_nonzero((seen >= places[0]) & (seen <= places[-1])) > len(places):
        return f" at {len(places)} checkpoints from {first} to {last}"
    if places[-1] == seen[-1]:
        # Of the last checkpoint alone nobody can say that it goes on.
        return f" at {first}" if len(places) == 1 else f" from {first} on"
    return f" at {first}" if len(places) == 1 else f" from {first} to {last}"


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


def _find_frozen(series: ChangeSeries, still: BoolArray, known: BoolArray) -> Mapping[int, int]:
    """Row: checkpoint from which on its weights are the same; the first one if it never moves."""
    places = {}
    for row in np.flatnonzero(still[:, -1]):
        change = _start_of_tail(still[row], known[row])
        if not (known[row] & ~still[row]).any():
            places[int(row)] = series.pairs[0][0]
        elif np.count_nonzero(known[row, change:]) >= _LEAST_FROZEN:
            places[int(row)] = series.pairs[change][0]
    return places


def _find_wakes(series: ChangeSeries, states: StateArray, known: BoolArray) -> Mapping[int, int]:
    """Row: checkpoint at which it first moves off, where it did not move before."""
    places = {}
    still: BoolArray = (states == State.UNCHANGED) | (states == State.ZERO)
    moves = (known & ~still) | (states == State.FROM_ZERO)
    for row in np.flatnonzero(moves.any(axis=1)):
        change = int(np.argmax(moves[row]))
        if still[row, :change].any():
            places[int(row)] = series.pairs[change][0]
    return places


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
        self, kind: str, words: _Words, places: Mapping[int, int], whens: Mapping[int, str] | None = None
    ) -> Sequence[Event]:
        """Make events of rows and their checkpoints, said in the words given for each row or in the usual ones."""
        groups: dict[tuple[int, str], list[int]] = {}
        for row, place in places.items():
            when = whens[row] if whens else words.when(self._name(place))
            groups.setdefault((place, when), []).append(row)
        events: list[Event] = []
        for (place, when), rows in sorted(groups.items()):
            if len(rows) > _MAX_SINGLE:
                events.append(self._make_shared(kind, place, rows, f"{words.many}{when}"))
            else:
                events += (self._make_single(kind, place, row, f"{words.one}{when}") for row in rows)
        if len(events) <= _MAX_EVENTS:
            return events
        first, last = min(places.values()), max(places.values())
        when = words.when(f"some point between {self._name(first)} and {self._name(last)}")
        return [self._make_shared(kind, first, sorted(places), f"{words.many}{when}")]

    def _name(self, place: int) -> str:
        return name_checkpoint(self.series.checkpoints[place])

    def _make_single(self, kind: str, place: int, row: int, said: str) -> Event:
        name = self.series.names[row]
        return Event(kind, name, place, f"{name} {said}.", {"row": row})

    def _make_shared(self, kind: str, place: int, rows: Sequence[int], said: str) -> Event:
        names = [self.series.names[row] for row in rows]
        text = f"{len(rows)} of {len(self.series.rows)} {self.noun}s {said}: {list_names(names, SHOWN_NAMES)}."
        evidence: dict[str, Any] = {"layers": len(rows), "rows": list(rows)}
        return Event(kind, None, place, text, evidence)


def _find_spikes(series: ChangeSeries, values: FloatArray, noun: str) -> Sequence[Event]:
    """Changes at which many rows are far above their own changes just before and just after."""
    events = []
    logs = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    for change in range(1, values.shape[1] - 1):
        rise = logs[:, change] - np.maximum(logs[:, change - 1], logs[:, change + 1])
        spiking = np.flatnonzero(rise >= np.log10(_SPIKE_RATIO))
        number = int(np.isfinite(rise).sum())
        if len(spiking) >= max(_LEAST_SPIKING, _SPIKE_SHARE * number):
            ratio = 10 ** min(_MAX_DECADES, float(np.median(rise[spiking])))
            events.append(_make_spike(series, change, spiking.tolist(), number, ratio, noun))
    events.sort(key=lambda event: -event.evidence["layers"])
    return events[:_MAX_EVENTS]


def _make_spike(series: ChangeSeries, change: int, rows: Sequence[int], number: int, ratio: float, noun: str) -> Event:
    place = series.pairs[change][1]
    text = (
        f"At {name_checkpoint(series.checkpoints[place])}, {len(rows)} of {number} {noun}s changed at least "
        f"{_SPIKE_RATIO:.0f} times as much as just before and after ({ratio:.2g} times in the median)."
    )
    evidence: dict[str, Any] = {"layers": len(rows), "of": number, "median_ratio": ratio, "rows": list(rows)}
    return Event("spike", None, place, text, evidence)
