"""Spikes: single cells that belong neither to their row's course nor to that of the rows it moves with."""

from dataclasses import replace
from typing import Final

import numpy as np

from wsanalyze.trends.blocks import cut_blocks, find_medians
from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.features import Curves
from wsanalyze.trends.noise import LEAST_CHANGES, BoolArray, measure_noise
from wsanalyze.trends.shared import find_shared

_SPIKE_DEVIATIONS: Final = 4.5
_LEAST_SPIKE: Final = 0.1
_SPIKE_SHARE: Final = 0.1
_LONGEST_BURST: Final = 2
_FLANK: Final = 0.25
_MOST_SPIKES: Final = 1 / 3
_CHANCE_DEVIATIONS: Final = 4.0
_FEW_SPIKES: Final = 3
_WINDOW: Final = 5


def find_spikes(curves: FloatArray, noise: FloatArray, still: BoolArray) -> BoolArray:
    """Find single values that belong neither to their row's course nor to that of the most similar rows.

    Args:
        curves: float64 of shape (n, P), finite.
        noise: float64 of shape (n,): standard deviation of each row's noise.
        still: bool of shape (n, P): unchanged cells, which are no spikes wherever they are drawn.

    Returns:
        bool of shape (n, P).
    """
    if curves.shape[1] < LEAST_CHANGES:
        return np.zeros(curves.shape, dtype=np.bool_)
    from scipy.ndimage import median_filter

    smooth = median_filter(curves, size=(1, min(_WINDOW, curves.shape[1] | 1)), mode="mirror")
    off = curves - smooth
    limit = limit_noise(noise)[:, None]
    spikes: BoolArray = (np.abs(off) > limit) & ~still
    spikes &= np.abs(_measure_off(curves, spikes)) > limit
    # Spikes fall anywhere: where far more rows jump at once than chance would have it, they follow a trend.
    spikes &= find_chance(spikes.sum(axis=0), float(spikes.sum(axis=0).mean()))
    if len(curves) > 1 and spikes.any():
        spikes &= ~find_shared(smooth + np.clip(off, -limit, limit), off, spikes)
    # A row that jumps all the time has no course to jump from, nor has one that mostly rests.
    spikes[spikes.sum(axis=1) > _MOST_SPIKES * curves.shape[1]] = False
    spikes[_rests(still)] = False
    return spikes


def _rests(still: BoolArray) -> BoolArray:
    """Rows that are unchanged in more than half of the changes: when they move is their course, bool of shape (n,)."""
    rests: BoolArray = 2 * np.count_nonzero(still, axis=1) > still.shape[1]
    return rests


def _measure_off(curves: FloatArray, candidates: BoolArray) -> FloatArray:
    """How far each candidate lies off its running median without the others, which on a slope they drag along.

    Args:
        curves: float64 of shape (n, P).
        candidates: bool of shape (n, P).

    Returns:
        float64 of shape (n, P); 0 for all other cells.
    """
    off = np.zeros(curves.shape)
    rows, places = np.nonzero(candidates)
    half = min(_WINDOW, curves.shape[1] | 1) // 2
    last = curves.shape[1] - 1
    around = np.abs(places[:, None] + np.arange(-half, half + 1))
    around = np.clip(last - np.abs(last - around), 0, last)
    dragging = candidates[rows[:, None], around] & (around != places[:, None])
    values = np.where(dragging, np.nan, curves[rows[:, None], around])
    off[rows, places] = curves[rows, places] - np.nanmedian(values, axis=1)
    return off


def limit_noise(noise: FloatArray) -> FloatArray:
    """How far off a cell must be to be a spike, float64 of shape (n,), decades."""
    return np.maximum(_SPIKE_DEVIATIONS * noise, _LEAST_SPIKE)


def find_chance(numbers: FloatArray, usual: float) -> BoolArray:
    """Whether so many rows that jump at one change may do so by chance, where `usual` many do at any."""
    by_chance: BoolArray = numbers <= usual + _CHANCE_DEVIATIONS * np.sqrt(usual) + _FEW_SPIKES
    return by_chance


def tame_again(curves: Curves, labels: LabelArray) -> Curves:
    """Tame the spikes that show only once it is known what a row's cluster does, and measure the noise about it.

    A row that would follow the median course of some cluster but for a tenth of its cells, rounded up, takes that
    course there. At the ends and at sharp bends of a curve a running median cannot tell a spike from the bend. A
    cluster whose course is that of a larger one but for a jump and back is of rows that were thrown off it together, as
    a loss spike or a bad checkpoint does. So is a small one that jumps at the first or the last change, or leaves by
    degrees, unless more rows do so than at other changes. Unchanged cells stay as drawn, but those off the course are
    among the tenth: with more, a row's course is its own.

    Args:
        curves: The curves as clustered, n rows.
        labels: int64 of shape (n,), from 0 without holes, -1 for a row that is in no cluster.

    Returns:
        The curves with those cells replaced, and their noise as it is about the courses.
    """
    num_changes = curves.values.shape[1]
    if num_changes < _WINDOW or labels.max(initial=-1) < 0:
        return curves
    shapes = curves.values - find_medians(curves.values)[:, None]
    courses = np.array([np.median(shapes[labels == label], axis=0) for label in range(int(labels.max()) + 1)])
    sizes = np.bincount(labels[labels >= 0])
    inside = np.maximum(labels, 0)
    off = courses[inside]
    off[labels < 0] = 0.0
    np.subtract(curves.values, off, out=off)
    off *= _undo_fit(sizes)[inside, None]
    limits = limit_noise(measure_noise(off, curves.gaps | curves.spikes))
    own = _find_own_courses(courses, labels, curves, float(np.median(limits)))
    nearest, which = _find_nearest(curves.values, courses[own], limits)
    # What was filled before was a guess from its neighbours in time, and says nothing against a course.
    filled = (curves.spikes | curves.gaps) & ~curves.still
    far = (np.abs(nearest) > limits[:, None]) & ~filled
    follows = (np.count_nonzero(far, axis=1) <= np.ceil(_SPIKE_SHARE * num_changes)) & ~_rests(curves.still)
    far &= follows[:, None] & ~curves.still
    values = np.where(far | (filled & follows[:, None]), curves.values - nearest, curves.values)
    tamed = replace(curves, values=values, spikes=curves.spikes | far)
    off = nearest * _undo_fit(sizes[own])[which, None]
    return replace(tamed, noise=measure_noise(off, tamed.gaps | tamed.spikes, robust=False))


def _undo_fit(sizes: LabelArray) -> FloatArray:
    """By how much members of clusters of each size are nearer to their common course than to the true one.

    Returns:
        float64 of the shape of `sizes`; 0 for one member, which lies on its course and has no noise to tell.
    """
    factors: FloatArray = np.sqrt(sizes / np.maximum(sizes - 1.0, 1.0))
    return np.where(sizes > 1, factors, 0.0)


def _find_nearest(values: FloatArray, courses: FloatArray, limits: FloatArray) -> tuple[FloatArray, LabelArray]:
    """The course that each row is nearest to but for spikes.

    Args:
        values: float64 of shape (n, P).
        courses: float64 of shape (k, P), k >= 1.
        limits: float64 of shape (n,): beyond them a cell counts as a spike.

    Returns:
        How far each row lies off its course, float64 of shape (n, P), and which it is, int64 of shape (n,).
    """
    least = np.full(len(values), np.inf)
    found, which = np.empty_like(values), np.zeros(len(values), dtype=np.int64)
    for some in cut_blocks(*values.shape):
        for index, course in enumerate(courses):
            off = values[some] - course
            off -= find_medians(off)[:, None]
            distance = np.minimum(np.abs(off), limits[some, None]).sum(axis=1)
            nearer = np.flatnonzero(distance < least[some]) + some.start
            inside = nearer - some.start
            least[nearer], found[nearer], which[nearer] = distance[inside], off[inside], index
    return found, which


def _find_own_courses(courses: FloatArray, labels: LabelArray, curves: Curves, limit: float) -> LabelArray:
    """The clusters whose course is no larger one's with a jump or two in it.

    Returns:
        Their labels, ascending.
    """
    sizes = np.bincount(labels[labels >= 0], minlength=len(courses))
    num_changes = curves.values.shape[1]
    usual = float(curves.spikes.sum(axis=0).mean())
    jumps = np.zeros(num_changes)
    kept: list[int] = []
    for label in sorted(range(len(courses)), key=lambda label: (-sizes[label], label)):
        for larger in kept:
            off = courses[label] - courses[larger]
            off -= np.median(off)
            far = np.abs(off) > limit
            if not 0 < np.count_nonzero(far) <= np.ceil(_SPIKE_SHARE * num_changes):
                continue
            if np.sqrt(np.mean(off[~far] ** 2)) >= limit / 2:
                continue
            numbers = (jumps + sizes[label] + curves.spikes.sum(axis=0))[far]
            few = 2 * sizes[label] <= sizes[larger] and find_chance(numbers, usual).all()
            if few or _is_burst(off, far):
                jumps[far] += sizes[label]
                if not few and _measure_jumps(courses[label], far) < _measure_jumps(courses[larger], far):
                    kept[kept.index(larger)] = label  # most rows jumped, and the few that did not show the course
                break
        else:
            kept.append(label)
    return np.array(sorted(kept), dtype=np.int64)


def _is_burst(off: FloatArray, far: BoolArray) -> bool:
    """Whether one course leaves another for one or two changes at a time, and is with it just before and just after.

    Two changes go to a checkpoint and on from it. A hump has flanks, and a step does not return. Of fewer than ten
    changes one is a good part of a course.

    Args:
        off: float64 of shape (P,): the one less the other, decades.
        far: bool of shape (P,): where they differ.
    """
    most = min(_LONGEST_BURST, int(_SPIKE_SHARE * len(off)))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], far, [False]])))
    for first, end in edges.reshape(-1, 2).tolist():
        if first == 0 or end == len(off) or end - first > most:
            return False
        if max(abs(off[first - 1]), abs(off[end])) > _FLANK * np.abs(off[first:end]).min():
            return False
    return True


def _measure_jumps(course: FloatArray, far: BoolArray) -> float:
    """How far a course lies off the middle of its neighbours where it differs from another, neither first nor last."""
    off = np.abs(course[1:-1] - (course[:-2] + course[2:]) / 2)
    return float(off[far[1:-1]].sum())
