"""Checkpoints that are not equally far apart: what that does to changes, and what to say of it. NumPy only.

A longer way makes a larger change: by the root of its steps where they go to and fro as in a random walk, by their
number where they go straight on, and hardly at all where they come back. All rows share the distances, so what tells
one row's course from another's stays as it is; what is said of a single course, or of a single change, may be a matter
of distance alone. Nobody knows which of these it is, so what is told must hold for all of them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from wsanalyze.metrics import METRICS
from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import IndexArray, name_changes, say_number

UNEVEN_RATIO: Final = 1.8
"""Distances that differ by so much may make changes differ so much that one sees it."""

_ALIKE_RATIO: Final = float(np.sqrt(UNEVEN_RATIO))
_ALIKE_SHARE: Final = 2 / 3
_REACH: Final = 3
_LEAST_AROUND: Final = 2
_SHOWN: Final = 3


def step_distances(series: ChangeSeries) -> FloatArray:
    """Steps from one side of each change to the other.

    Returns:
        float64 of shape (P,). A distance that is not known (a table does not tell where its first change starts, a
        training that starts over has none there) is the middle one of the three nearest, the lower of two; all are NaN
        where none is known.
    """
    distances = series.step_gaps
    known = np.flatnonzero(np.isfinite(distances))
    if not len(known):
        return distances
    filled: FloatArray = distances.copy()
    for place in np.flatnonzero(~np.isfinite(distances)):
        nearest = known[np.argsort(np.abs(known - place), kind="stable")[:_REACH]]
        filled[place] = np.sort(distances[nearest])[(len(nearest) - 1) // 2]
    return filled


def is_uneven(distances: FloatArray) -> bool:
    """Whether distances differ so much, by a factor of 1.8, that changes may differ visibly for that alone."""
    known = distances[np.isfinite(distances)]
    return len(known) > 1 and bool(known.max() >= UNEVEN_RATIO * known.min())


def grows_with_distance(metric: str) -> bool:
    """Whether values of a metric are amounts of successive changes, not divided by steps."""
    if metric not in METRICS:
        return True  # given by a table, which holds changes
    about = METRICS[metric]
    return about.span is None and not about.needs_steps and about.unit != "rank"


def take_distances(series: ChangeSeries, metric: str) -> FloatArray:
    """Distances that the values of a metric may depend on: `step_distances`, or all 1 where they are of no matter.

    Returns:
        float64 of shape (P,), finite and above 0.
    """
    distances = step_distances(series)
    if not grows_with_distance(metric) or not is_uneven(distances) or not (distances > 0).all():
        return np.ones(len(distances))
    return distances


def measure_odd(distances: FloatArray) -> FloatArray:
    """How many times as long as those around it each distance is, where it is an exception to an even spacing.

    A checkpoint that is lost, or left out as a copy of another one, makes such a distance.

    Args:
        distances: float64 of shape (P,), as of `take_distances`.

    Returns:
        float64 of shape (P,): the ratio, at least 1.8 or at most 1/1.8; 1 for the others, and wherever the spacing
        around is not even, or changes for good.
    """
    odd = np.ones(len(distances))
    least = np.log(UNEVEN_RATIO) - 1e-9
    for place, own in enumerate(distances.tolist()):
        around = np.delete(distances[max(0, place - _REACH) : place + _REACH + 1], min(place, _REACH))
        beside = np.delete(distances[max(0, place - 1) : place + 2], min(place, 1))
        # At an end the spacing may as well have changed there, or be a ladder's.
        least_around, share = (_LEAST_AROUND, _ALIKE_SHARE) if len(beside) > 1 else (_REACH, 1.0)
        if len(around) < least_around:
            continue
        usual = float(np.median(around))
        even = np.mean(np.abs(np.log(around / usual)) <= np.log(_ALIKE_RATIO)) >= share
        if even and np.abs(np.log(own / np.append(beside, usual))).min() >= least:
            odd[place] = own / usual
    return odd


def take_odd_off(values: FloatArray, odd: FloatArray) -> FloatArray:
    """Values with what odd distances may have made of them taken off.

    A value over an odd distance stands for anything from what it would be if it had grown with the distance to what it
    is. Of these it takes what lies nearest to the line between its neighbours, in logarithms: what of a jump is left
    holds in any case.

    Args:
        values: float64 of shape (..., P), amounts of change; NaN and 0 stay, as do those beside which there are none.
        odd: float64 of shape (P,): `measure_odd`.

    Returns:
        A copy, or the values themselves where no distance is odd.
    """
    places, usual = np.flatnonzero(odd != 1), np.flatnonzero(odd == 1)
    if not len(places) or not len(usual):
        return values
    logs = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    taken = values.copy()
    for place in places.tolist():
        left, right = usual[usual < place], usual[usual > place]
        before = logs[..., left[-1]] if len(left) else logs[..., right[0]]
        after = logs[..., right[0]] if len(right) else before
        share = (place - left[-1]) / (right[0] - left[-1]) if len(left) and len(right) else 0.0
        own, grown = logs[..., place], np.log10(odd[place])
        line = np.clip(before + share * (after - before), own - max(grown, 0.0), own - min(grown, 0.0))
        taken[..., place] = np.where(np.isfinite(line), 10.0**line, values[..., place])
    return taken


def find_new_spacings(distances: FloatArray) -> IndexArray:
    """First changes of a new spacing: longer or shorter than the change before, where none beside differs so.

    In a ladder of powers of two every distance is another one, and none is new.
    """
    ratios = np.abs(np.diff(np.log(distances), prepend=np.log(distances[:1])))
    differs = ratios >= np.log(UNEVEN_RATIO) - 1e-9
    padded = np.concatenate([[False], differs, [False]])
    return np.flatnonzero(differs & ~padded[:-2] & ~padded[2:])


def note_spacing(series: ChangeSeries, metric: str) -> tuple[str, ...]:
    """Say that distances are uneven, where that makes some changes larger.

    Args:
        series: P changes.
        metric: Name of the metric that is looked at.

    Returns:
        One sentence, and one on changes over an odd distance; none where distances are even or unknown, or where the
        metric does not grow with them.
    """
    distances = step_distances(series)
    if not is_uneven(distances) or not grows_with_distance(metric):
        return ()
    text = (
        f"Checkpoints are unevenly spaced ({distances.min():.0f} to {distances.max():.0f} steps apart): a larger "
        "change may only be a longer way"
    )
    text = f"{text}." if series.given else f"{text}; --metric rate divides by the root of the distance."
    odd = measure_odd(take_distances(series, metric))
    places = np.flatnonzero(odd != 1)
    if not len(places):
        return (text,)
    return text, _say_odd(odd, name_changes(series)[1])


def _say_odd(odd: FloatArray, ends: Sequence[str]) -> str:
    """Which changes span an odd distance."""
    left = "what is said of courses and phases leaves that out"
    times = {ends[place]: f"{say_number(odd[place])} times" for place in np.flatnonzero(odd != 1).tolist()}
    if len(times) == 1:
        ((end, ratio),) = times.items()
        return f"The change to {end} spans {ratio} as many steps as those around it: {left}."
    changes = (
        f"The changes to {list_names([f'{end} ({ratio})' for end, ratio in times.items()])}"
        if len(times) <= _SHOWN
        else f"{len(times)} changes"
    )
    return f"{changes} span another number of steps than those around them: {left}."
