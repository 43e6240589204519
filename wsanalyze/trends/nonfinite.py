"""Rows that lose their numbers, and when."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsanalyze.series import ChangeSeries, State, StateArray
from wsanalyze.trends.words import IndexArray, name_checkpoint

Numbers = Mapping[int, Mapping[str, Any]]
"""Row: the numbers behind what is said of it."""


def find_nonfinite(series: ChangeSeries) -> tuple[Mapping[int, int], Mapping[int, str]]:
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


def count_nonfinite(series: ChangeSeries, onsets: Mapping[int, int]) -> Numbers:
    """How many elements of each row are NaN or infinite at the first checkpoint at which any are."""
    counts: dict[int, Mapping[str, Any]] = {}
    for row, place in onsets.items():
        sides = ("nonfinite_before", "nonfinite_after")
        seen = [
            float(series.sums[side][row, change])
            for change, pair in enumerate(series.pairs)
            for at, side in zip(pair, sides, strict=True)
            if at == place and not np.isnan(series.sums[side][row, change])
        ]
        counts[row] = {"nonfinite": int(max(seen)), "elements": series.rows[row].numel}
    return counts


def find_lost(series: ChangeSeries, states: StateArray) -> tuple[Mapping[int, int], Mapping[int, str], Numbers]:
    """Row: checkpoint to which its first change of NaN or Inf leads, as a table tells it. Row: when. Row: how many."""
    ends = np.array([after for _, after in series.pairs])
    places, whens, numbers = {}, {}, {}
    bad = states == State.NONFINITE
    for row in np.flatnonzero(bad.any(axis=1)).tolist():
        found = ends[bad[row]]
        places[row] = int(found[0])
        whens[row] = _name_span(series, found, ends[states[row] != State.MISSING])
        numbers[row] = {"nonfinite_changes": len(found)}
    return places, whens, numbers


def _name_span(series: ChangeSeries, places: IndexArray, seen: IndexArray) -> str:
    """Say when something is so at some of the checkpoints at which it could be seen."""
    first, last = (name_checkpoint(series.checkpoints[place]) for place in (places[0], places[-1]))
    if np.count_nonzero((seen >= places[0]) & (seen <= places[-1])) > len(places):
        return f" at {len(places)} checkpoints from {first} to {last}"
    if places[-1] == seen[-1]:
        # Of the last checkpoint alone nobody can say that it goes on.
        return f" at {first}" if len(places) == 1 else f" from {first} on"
    return f" at {first}" if len(places) == 1 else f" from {first} to {last}"
