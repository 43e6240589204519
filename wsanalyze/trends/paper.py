"""The method `paper`: the pipeline of WeightScale, step by step, with what it replaces said aloud.

References:
    WeightScale (arXiv 2107.07005); docs/method.md.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Partition, TrendOptions, list_cells
from wsanalyze.trends.cluster import FloatArray, fit_kmeans, measure_confidence
from wsanalyze.trends.reduce import project
from wsanalyze.trends.words import count_cells

BoolArray = NDArray[np.bool_]

MAX_ELBOW_CLUSTERS: Final = 17
_NUM_COMPONENTS: Final = 2
_OUTLIER_DEVIATIONS: Final = 2.0
_SMALLEST_RANGE: Final = 1e-100
_LARGEST_RANGE: Final = 1e100


def find_paper_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """Cluster rows as WeightScale does: k-means on the raw changes.

    Cells without a number become their row's sum / number of steps; the first and the last row are dropped; values
    further than 2 standard deviations from their row's mean become that mean; k-means (10 starts of k-means++, 300
    iterations) runs on the matrix, and PCA to 2 components makes the picture. The elbow that the authors read by eye
    is taken as the point of the inertia curve, k = 1..17, that is farthest from its chord.

    Args:
        series: L rows and P changes.
        options: `metric`, `clusters` and `seed` are used; `features` is not.

    Returns:
        The partition; the first row, the last row and rows without any number are in no cluster. Of the rows of one
        kind (`options.by_kind`) the first and the last stay.
    """
    values, units = _keep_in_range(series.metric(options.metric))
    filled, gaps = _fill_gaps(values)
    place = np.arange(len(values))
    # Of the rows of one kind the ends are not those of the network.
    inner = (place > 0) & (place < len(values) - 1) if not options.by_kind else place >= 0
    kept: BoolArray = np.isfinite(values).any(axis=1) & inner
    tamed, spikes = _tame_spikes(filled)
    gaps[~kept] = spikes[~kept] = False
    dropped = () if options.by_kind else _describe_ends(series, options.noun)
    notes = units + dropped + _describe_replacements(int((~kept & inner).sum()), gaps, spikes, options.noun)

    matrix = tamed[kept]
    num_components = min(_NUM_COMPONENTS, values.shape[1])
    points = np.full((len(values), num_components), np.nan)
    explained = np.zeros(num_components)
    labels = np.full(len(values), -1, dtype=np.int64)
    confidence = np.full(len(values), np.nan)
    if matrix.size:
        k, choice = (options.clusters, ()) if options.clusters else _choose_by_elbow(matrix, options.seed)
        notes += choice
        labels[kept] = fit_kmeans(matrix, k, options.seed).labels
        confidence[kept] = measure_confidence(matrix, labels[kept])
        points[kept], explained = project(matrix, num_components)
    features = np.full(values.shape, np.nan)
    features[kept] = matrix
    return Partition(
        features,
        points,
        explained,
        labels,
        confidence,
        np.zeros(len(values), dtype=np.bool_),
        {"spike": list_cells(spikes), "gap": list_cells(gaps)},
        notes,
    )


def _keep_in_range(values: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Scale values whose squares float64 cannot hold, by a power of two so that nothing else changes."""
    largest = float(np.nanmax(values, initial=0.0))
    if largest == 0 or _SMALLEST_RANGE < largest < _LARGEST_RANGE:
        return values, ()
    exponent = int(np.frexp(largest)[1])
    return np.ldexp(values, -exponent), (f"Values were divided by 2^{exponent} to keep their squares within float64.",)


def _fill_gaps(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    gaps = ~np.isfinite(values)
    # The authors divide by all steps, those without a number included.
    stand_in = np.where(gaps, 0.0, values).sum(axis=1, keepdims=True) / max(1, values.shape[1])
    return np.where(gaps, stand_in, values), gaps


def _tame_spikes(filled: FloatArray) -> tuple[FloatArray, BoolArray]:
    if not filled.size:
        return filled, np.zeros(filled.shape, dtype=np.bool_)
    mean = filled.mean(axis=1, keepdims=True)
    spikes = np.abs(filled - mean) > _OUTLIER_DEVIATIONS * filled.std(axis=1, keepdims=True)
    # A constant row has a standard deviation of rounding errors only.
    spikes &= ~np.isclose(filled, mean, rtol=1e-12, atol=0.0)
    return np.where(spikes, mean, filled), spikes


def _choose_by_elbow(matrix: FloatArray, seed: int) -> tuple[int, tuple[str, ...]]:
    largest = min(MAX_ELBOW_CLUSTERS, len(np.unique(matrix, axis=0)))
    inertia = np.array([fit_kmeans(matrix, k, seed).inertia for k in range(1, largest + 1)])
    k = 1
    if largest > 1 and inertia[0] > inertia[-1]:
        across = np.linspace(0.0, 1.0, largest)
        down = (inertia - inertia[-1]) / (inertia[0] - inertia[-1])
        k = 1 + int(np.argmax(1.0 - across - down))
    return k, (
        f"The number of clusters, {k}, was chosen automatically, at the elbow of the inertia for k = 1 to {largest}.",
    )


def _describe_ends(series: ChangeSeries, noun: str) -> tuple[str, ...]:
    names = series.names
    if not names:
        return ()
    ends = names[0] if len(names) == 1 else f"{names[0]} and {names[-1]}"
    return (f"The first and the last {noun} were dropped, as in the paper: {ends}.",)


def _describe_replacements(empty: int, gaps: BoolArray, spikes: BoolArray, noun: str) -> tuple[str, ...]:
    notes = []
    if empty:
        notes.append(
            f"{empty} further {f'{noun} has' if empty == 1 else f'{noun}s have'} no number at all, so no cluster."
        )
    if gaps.any():
        notes.append(
            f"{count_cells(gaps, 'cell', noun, ' without a number')} became the sum of their {noun}'s numbers "
            "over the number of changes."
        )
    if spikes.any():
        notes.append(
            f"{count_cells(spikes, 'value', noun)} further than 2 standard deviations from their {noun}'s mean, "
            "became that mean."
        )
    return tuple(notes)
