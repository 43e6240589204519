"""Changes that are far above those just before and just after in many layers, and what may be behind it."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.series import ChangeSeries, Event
from wsanalyze.trends.causes import find_cause
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.spacing import step_distances
from wsanalyze.trends.words import count_of, name_checkpoint, row_levels, say_number, say_times

_RATIO: Final = 3.0
_SHARE: Final = 0.25
_LEAST: Final = 3
_FEWEST_ROWS: Final = 2
_LEAST_BEFORE: Final = 3
_DEVIATIONS: Final = 3.0
_RETURN_RATIO: Final = 1.25
_BACK_RATIO: Final = 1.5
_SOON: Final = 3
_MAX_DECADES: Final = 300.0
_MAX_EVENTS: Final = 10
_NORMAL_MAD: Final = 1.4826


def find_spikes(series: ChangeSeries, values: FloatArray, noun: str) -> tuple[Event, ...]:
    """Find spikes that a quarter of all rows share, three at least, or all of fewer.

    A row spikes where its change is at least three times the one before and the one after, and beyond the noise; where
    more steps lie between the checkpoints, as many times more besides, since weights that drift get further the longer
    they go. The one after may be larger where one of the two that follow is as small as the one before again, as after
    a loss spike that training recovers from step by step. Of the last change nobody can say that it comes back, and it
    is compared with the one before alone. The first is none: trainings begin fast. A row also spikes where two changes
    that go to one checkpoint and on from it are as high and equally long: that checkpoint lies off the way. What is
    known to be misplaced is no spike.

    Args:
        series: L rows and P changes.
        values: How much each row changes, float64 of shape (L, P), not divided by steps.
        noun: What one row is called.

    Returns:
        Events of kind "spike", the ten that most rows share, with what the trainer noted there.
    """
    misplaced = _list_misplaced(series)
    logs = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    by_change, gaps = np.ascontiguousarray(logs.T), step_distances(series)
    events = []
    for first, last in _list_candidates(series, misplaced):
        top = by_change[first] if first == last else np.minimum(by_change[first], by_change[last])
        usual = [by_change[first - 1] + _allow_distance(gaps, first - 1, first)]
        late = np.zeros(len(top), dtype=np.bool_)
        if last + 1 == len(by_change):
            usual.append(row_levels(logs[:, :last]))  # the one before may be a drop
        else:
            after = by_change[last + 1] + _allow_distance(gaps, last + 1, last)
            late = (top - after < np.log10(_RATIO)) & (after < top) & _comes_back(by_change, first, last)
            usual.append(np.where(late, usual[0], after))
        rise = top - np.maximum.reduce(usual)
        number = int(np.isfinite(rise).sum())
        enough = max(min(_LEAST, number), _SHARE * number)
        # Noise is looked at only where a spike stands out from its neighbours: it takes all cells.
        if number < _FEWEST_ROWS or np.count_nonzero(rise >= np.log10(_RATIO)) < enough:
            continue
        least = max(np.log10(_RATIO), _DEVIATIONS * _measure_noise(logs, first, last))
        spiking = rise >= least
        if first != last:
            spiking &= _leads_back(series, values, first)
        if np.count_nonzero(spiking) >= enough:
            ratio = 10 ** min(_MAX_DECADES, float(np.median(rise[spiking])))
            rows = np.flatnonzero(spiking).tolist()
            lately = bool((late & spiking).any())
            events.append(_make_spike(series, (first, last), rows, number, (10**least, ratio), noun, late=lately))
    events.sort(key=lambda event: -event.evidence["layers"])
    return tuple(events[:_MAX_EVENTS])


def _list_misplaced(series: ChangeSeries) -> set[int]:
    """Checkpoints of which it is told that their weights belong elsewhere."""
    found: set[int] = set()
    for event in series.events:
        if event.kind == "impostor":
            found.update(event.evidence.get("swapped", ()), event.evidence.get("instead", ()))
            found.update(() if event.checkpoint is None else (event.checkpoint,))
    return found


def _list_candidates(series: ChangeSeries, misplaced: set[int]) -> list[tuple[int, int]]:
    """Single changes but the first, and two to one checkpoint and on from it that have one before and one after."""
    pairs, last = series.pairs, len(series.pairs) - 1
    single = [(change, change) for change in range(1, last + 1 if last >= _LEAST_BEFORE else last)]
    double = [(change, change + 1) for change in range(1, last - 1) if pairs[change][1] == pairs[change + 1][0]]
    return [(first, end) for first, end in (*single, *double) if not misplaced & {*pairs[first], *pairs[end]}]


def _comes_back(by_change: FloatArray, first: int, last: int) -> NDArray[np.bool_]:
    """Rows that are, soon after a single change, as low as before it again, bool of shape (L,)."""
    if first != last:
        return np.zeros(by_change.shape[1], dtype=np.bool_)
    later = by_change[last + 2 : last + 1 + _SOON]
    back: NDArray[np.bool_] = (later <= by_change[first - 1] + np.log10(_BACK_RATIO)).any(axis=0)
    return back


def _allow_distance(gaps: FloatArray, other: int, spike: int) -> float:
    """Decades by which a change may be larger than another one because more steps lie between its checkpoints."""
    ratio = gaps[spike] / gaps[other]
    return float(np.log10(ratio)) if ratio > 1 else 0.0


def _measure_noise(logs: FloatArray, first: int, last: int) -> float:
    """Noise of all rows away from a spike, decades: how far values lie off the middle of their neighbours."""
    places = np.arange(1, logs.shape[1] - 1)
    away = places[(places < first - 1) | (places > last + 1)]
    off = np.abs(logs[:, away] - (logs[:, away - 1] + logs[:, away + 1]) / 2)
    off = off[np.isfinite(off)]
    return _NORMAL_MAD * float(np.median(off)) / np.sqrt(1.5) if off.size else 0.0


def _leads_back(series: ChangeSeries, values: FloatArray, first: int) -> NDArray[np.bool_]:
    """Rows of which two changes in a row are equally long, bool of shape (L,)."""
    lengths = values if series.given else series.sums["l1_delta"]
    there, back = lengths[:, first], lengths[:, first + 1]
    alike: NDArray[np.bool_] = (there <= _RETURN_RATIO * back) & (back <= _RETURN_RATIO * there)
    return alike


def _make_spike(
    series: ChangeSeries,
    changes: tuple[int, int],
    rows: Sequence[int],
    number: int,
    ratios: tuple[float, float],
    noun: str,
    *,
    late: bool,
) -> Event:
    (first, last), (least, ratio) = changes, ratios
    before, place = series.pairs[first]
    cause = find_cause(series.log, before, series.pairs[last][1])
    name = name_checkpoint(series.checkpoints[place])
    count, times = count_of(len(rows), len(series.rows), noun), f"({say_times(np.log10(ratio))} in the median)"
    if first == last:
        end, beside = (", the last,", "") if last == len(series.pairs) - 1 else (",", " and after")
        beside = f", and were back within {_SOON} changes" if late else beside
        much = f"at least {say_number(least)} times as much as just before{beside} {times}"
        text = f"At {name}{end} {count} changed {much}"
        why = "a loss spike, a higher learning rate or a bad checkpoint"
    else:
        text = (
            f"On the way to {name} and on from it, {count} changed equally far both times, and at least "
            f"{say_number(least)} times as much as before that and after {times}"
        )
        why = "a bad checkpoint, or a loss spike from which the training came back"
    if cause.text:
        text = f"{text}; {cause.text} there."
    elif cause.noted:
        text = f"{text}; nothing that was logged rose there, so perhaps a bad checkpoint."
    else:
        text = f"{text}: perhaps {why}."
    evidence: dict[str, Any] = {
        "layers": len(rows),
        "of": number,
        "median_ratio": ratio,
        "least_ratio": float(least),
        "changes": [first, last],
        "rows": list(rows),
        **cause.numbers,
    }
    return Event("spike", None, place, text, evidence)
