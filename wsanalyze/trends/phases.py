"""Parts of the training: breaks that many rows share.

The view is that of a hidden Markov model over what a training shows: a few states, each held for a while. Here nothing
is random, a training without phases has none, and a smooth decay is one phase however far it falls.

References:
    Hu, Chen, Saphra and Cho, Latent state models of training dynamics, TMLR 2023; How to visualize training dynamics in
    neural networks, ICLR blog posts 2025. What is done instead: `wsanalyze.trends.jumps`, `wsanalyze.trends.turns`.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries, Event
from wsanalyze.trends.base import Phase, TrendOptions
from wsanalyze.trends.blocks import find_medians
from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.features import interpolate
from wsanalyze.trends.jumps import LEAST_CHANGES, Jump, find_jumps, make_weights, measure_wandering
from wsanalyze.trends.phase_words import RATE_RATIO, Boundary, describe_phase, find_rates, make_event
from wsanalyze.trends.spacing import measure_odd, take_distances, take_odd_off
from wsanalyze.trends.turns import Turn, find_turns
from wsanalyze.trends.words import FLAT_DECADES, is_speed

_LEAST_SHARE: Final = 0.5
_LEAST_COMMON: Final = _LEAST_SHARE * FLAT_DECADES
_STILL_STEP: Final = 1.0
_ROW_WINDOW: Final = 8
_NEAR: Final = 2
_SEEN_SHARE: Final = 0.4
_TRIMMED: Final = (10, 90)
_EXPONENTS: Final = (0.0, 0.5, 1.0)


def find_phases(
    series: ChangeSeries, values: FloatArray, options: TrendOptions
) -> tuple[tuple[Phase, ...], tuple[Event, ...]]:
    """Divide the training where the course of its changes jumps or turns round, in at least half of the rows.

    Time is counted in changes: that is the logarithm of the step where checkpoints lie so, else the step. Where
    distances are uneven, values are divided by what makes their course smoothest, be it nothing, the root of the
    distance or the distance, and a break that another of these could explain is none. What a single odd distance may
    have made of a change is taken off before that. Where the learning rate jumps, a smaller jump of the changes is
    taken for one.

    Args:
        series: L rows and P changes.
        values: The metric, float64 of shape (L, P).
        options: `metric` and `noun` are used.

    Returns:
        The phases in order, none where nothing divides the training; and an event of kind "phase" at each boundary.
    """
    if values.shape[1] < LEAST_CHANGES:
        return (), ()
    distances = take_distances(series, options.metric)
    odd = measure_odd(distances)
    measured, values = values, take_odd_off(values, odd)
    curves, rows = _make_curves(values, linear=options.linear)
    if not len(rows):
        return (), ()
    rates = find_rates(series)
    boundaries = _find_boundaries(curves, rows, np.log10(distances / odd), _find_steps_of_rate(rates))
    if not boundaries:
        return (), ()
    if not options.linear and is_speed(options.metric):
        boundaries = list(filter(None, (_ask_about_rest(found, values) for found in boundaries)))
    if not boundaries:
        return (), ()
    edges = [0, *(found.change for found in boundaries), curves.shape[1]]
    usual = np.where(odd == 1, measured, np.nan)
    phases = tuple(describe_phase(series, usual, options, first, end - 1) for first, end in pairwise(edges))
    return phases, tuple(make_event(series, options, found, len(rows), rates) for found in boundaries)


def _make_curves(values: FloatArray, *, linear: bool) -> tuple[FloatArray, LabelArray]:
    """Rows that move, with numbers enough, as centred curves of decades, float64 of shape (n, P); and which they are.

    Gaps and unchanged cells are filled and drawn as by `make_curves`; spikes stay, since rows are looked at together.
    """
    known = np.isfinite(values)
    moves = (known if linear else values > 0).any(axis=1) & (2 * known.sum(axis=1) >= values.shape[1])
    rows = np.flatnonzero(moves)
    chosen = values[rows]
    if not linear and len(rows):
        logs = np.log10(chosen, where=chosen > 0, out=np.full(chosen.shape, np.nan))
        lowest = np.fmin.reduce(logs, axis=1, keepdims=True)
        chosen = np.where(chosen == 0, lowest - _STILL_STEP, logs)
    curves = interpolate(chosen)
    return curves - find_medians(curves)[:, None], rows


def _find_steps_of_rate(rates: FloatArray) -> list[int]:
    """Changes in which the learning rate is another than in the one before, far more than it is beside that."""
    logs = np.log(rates, where=rates > 0, out=np.full(rates.shape, np.nan))
    steps = np.abs(np.diff(logs, prepend=np.nan, append=np.nan))
    beside = np.fmax(steps[:-2], steps[2:])
    clear = (steps[1:-1] >= np.log(RATE_RATIO)) & ~(beside > steps[1:-1] / 2)
    places: list[int] = (np.flatnonzero(clear) + 1).tolist()
    return places


def _find_boundaries(curves: FloatArray, rows: LabelArray, distances: FloatArray, likely: list[int]) -> list[Boundary]:
    # Each row has one weight, large courses less, and no median is taken: it jumps where rows cross each other.
    sizes = np.sqrt(np.mean(curves**2, axis=1))
    weights = 1 / np.maximum(sizes, np.median(sizes) or 1.0)
    common: FloatArray = weights @ curves / weights.sum()
    courses = [common - exponent * distances for exponent in _EXPONENTS]
    course = min(courses, key=measure_wandering)
    jumps = [jump for jump in find_jumps(course, likely, _LEAST_COMMON) if _is_no_distance(jump, distances)]
    places = [jump.change for jump in jumps]
    edges = [0, *places, len(course)]
    found = [
        _ask_about_jump(curves, rows, first, place, end)
        for first, place, end in zip(edges[:-2], edges[1:-1], edges[2:], strict=True)
    ]
    turns = (turn for turn in find_turns(course, places) if all(_turns_too(turn, other) for other in courses))
    found += [boundary for turn in turns for boundary in _ask_about_turn(curves, rows, turn)]
    return sorted(filter(None, found), key=lambda boundary: boundary.change)


def _is_no_distance(jump: Jump, distances: FloatArray) -> bool:
    """Whether distances, in proportion to which changes may grow or not, could have made less than half of a jump."""
    half = min(_ROW_WINDOW, jump.change, len(distances) - jump.change)
    by_distance = distances[jump.change - half : jump.change + half] @ make_weights(half)
    return bool(abs(by_distance) < abs(jump.size) / 2)


def _turns_too(turn: Turn, course: FloatArray) -> bool:
    """Whether another course turns round between the same changes, by half as much at least."""
    start, place, end = np.sign(turn.size) * course[[turn.start, turn.place, turn.end]]
    return bool(min(start, end) - place >= abs(turn.size) / 2)


def _ask_about_jump(curves: FloatArray, rows: LabelArray, first: int, place: int, end: int) -> Boundary | None:
    """The jump that at least half of the rows have with the others, if they have."""
    half = min(_ROW_WINDOW, place - first, end - place)
    jumps = curves[:, place - half : place + half] @ make_weights(half)
    usual = float(np.mean(np.clip(jumps, *np.percentile(jumps, _TRIMMED))))
    shared = np.sign(usual) * jumps >= abs(usual) / 2
    if shared.mean() < _LEAST_SHARE:
        return None
    size = float(np.median(jumps[shared]))
    step = float(np.median(curves[shared, place] - curves[shared, place - 1]))
    seen = step * np.sign(size) >= _SEEN_SHARE * abs(size)  # a steep slope against the jump hides it
    return Boundary(place, tuple(rows[shared].tolist()), size, step) if seen and abs(size) >= FLAT_DECADES else None


def _ask_about_rest(found: Boundary, values: FloatArray) -> Boundary | None:
    """The boundary as one of rows that rest after it, or before it, where most of its rows do; else of the others.

    In the curves they lie a decade below their smallest change, which is no ratio to tell.
    """
    rows = np.array(found.rows)
    near = min(_NEAR, found.change, values.shape[1] - found.change)
    after, before = ((values[rows, at : at + near] == 0).all(axis=1) for at in (found.change, found.change - near))
    rests = after if found.size < 0 else before
    if found.turns or not rests.any():
        return found
    if 2 * np.count_nonzero(rests) >= len(rows):
        return replace(found, rows=tuple(rows[rests].tolist()), rests=True)
    part = values[rows[~rests], found.change - near : found.change + near]
    logs = np.log10(part, where=part > 0, out=np.full(part.shape, np.nan))
    steps = logs[:, near] - logs[:, near - 1]
    step = float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else 0.0
    if not step * np.sign(found.size) >= FLAT_DECADES:
        return None  # the others go on as they did
    return replace(found, rows=tuple(rows[~rests].tolist()), step=step)


def _ask_about_turn(curves: FloatArray, rows: LabelArray, turn: Turn) -> list[Boundary]:
    """The turn that at least half of the rows make with the others, if they do; of a plateau both ends."""
    levels = [curves[:, max(0, place - 1) : place + 2].mean(axis=1) for place in (turn.start, turn.place, turn.end)]
    start, top, end = (np.sign(turn.size) * level for level in levels)
    sizes = np.minimum(start - top, end - top)
    shared = sizes >= abs(turn.size) / 2
    if shared.mean() < _LEAST_SHARE:
        return []
    size = float(np.sign(turn.size) * np.median(sizes[shared]))
    whole = Boundary(turn.change, tuple(rows[shared].tolist()), size, size, turns=True)
    if turn.level is None:
        return [whole]
    return [replace(whole, change=turn.level, level="after"), replace(whole, level="before")]
