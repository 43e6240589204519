"""What the reading wing finds in a series: clusters of rows that change alike, and how sure that is. NumPy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import METRICS
from wsanalyze.series import ChangeSeries, Event, StateArray


@dataclass(frozen=True, slots=True)
class TrendOptions:
    """How trends are found; everything that can alter the answer, and nothing else.

    Attributes:
        metric: Name of the metric ("rwc").
        method: Name in the registry of methods ("robust", "paper", ...).
        clusters: Number of clusters, or None to choose it; of each kind's own where `by_kind`.
        features: What is compared, by all methods but `paper`: "shape", "level" or "both".
        group: "module", "block" or "kind" to add rows together first, or None.
        seed: Seed of whatever is random; the same seed gives the same trends.
        by_kind: Whether rows of each kind are clustered by themselves.
        window: Changes in one sliding window, or None to choose.
    """

    metric: str = "rwc"
    method: str = "robust"
    clusters: int | None = None
    features: str = "shape"
    group: str | None = None
    seed: int = 0
    by_kind: bool = False
    window: int | None = None

    @property
    def noun(self) -> str:
        """What sentences call one row: what rows were grouped by, or "layer"."""
        return self.group or "layer"

    @property
    def linear(self) -> bool:
        """Whether values are compared as they are, not by logarithms: see `Metric.linear`."""
        return self.metric in METRICS and METRICS[self.metric].linear


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rows that change alike.

    Attributes:
        id: Its label, from 0; clusters are numbered by the median level of their members, highest first.
        members: Indices of its rows.
        summary: Its curve in words ("fast, then frozen").
        median: Median of its members' metric at each change, length P; None where no member has a number.
        low: 10th percentile, likewise.
        high: 90th percentile, likewise.
        kind: The kind whose rows were clustered by themselves, or None where all were clustered together.
        makeup: What its members are, in words: their kinds, and where in the network they lie.
    """

    id: int
    members: tuple[int, ...]
    summary: str
    median: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    kind: str | None = None
    makeup: str = ""

    @property
    def size(self) -> int:
        """Number of its rows."""
        return len(self.members)


@dataclass(frozen=True, slots=True)
class Quality:
    """How far the clusters can be trusted.

    Attributes:
        k: Number of clusters.
        structure: Whether there is more than one trend.
        silhouette: Mean silhouette of the clustered rows in -1..1; None where k is 1.
        stability: Mean adjusted Rand index against clusterings of resampled data; None where k is 1.
        text: The same in words, one sentence.
        p_value: Share of simulated tables with one trend that are clustered as tightly (with as many clusters); None
            where nothing was compared.
    """

    k: int
    structure: bool
    silhouette: float | None
    stability: float | None
    text: str
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class KindQuality:
    """How far the clusters of one kind can be trusted, where each was clustered by itself.

    Attributes:
        kind: The kind.
        size: Number of its rows.
        quality: As of a whole series.
    """

    kind: str
    size: int
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class DepthProfile:
    """How the metric lies over the depth of the network at each change.

    Attributes:
        depths: The D depths at which there are rows with a number, ascending; see `Row.depth`.
        values: float64 of shape (D, P): median of the rows at each depth; NaN where none has a number.
        centre: float64 of shape (P,): centre of mass of `values` over the network, 0 at its first depth and 1 at its
            last; NaN where nothing changed.
        text: The same in words, one sentence.
    """

    depths: tuple[int, ...]
    values: NDArray[np.float64]
    centre: NDArray[np.float64]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The trends within one part of the training.

    Attributes:
        first: Its first change.
        last: Its last change, included.
        labels: int64 of shape (L,): the cluster of each row within the window, -1 for none. Clusters that share most
            members with one of the window before have its number.
        moved: Rows that are in another cluster than in the window before, with the others they were with.
        text: What happens, one sentence.
    """

    first: int
    last: int
    labels: NDArray[np.int64]
    moved: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training between changes of course that many rows share.

    Attributes:
        first: Its first change.
        last: Its last change, included.
        level: Median of the metric over all rows and changes in it; None where there is no number.
        text: What happens in it, one sentence.
    """

    first: int
    last: int
    level: float | None
    text: str


@dataclass(frozen=True, eq=False)
class Trends:
    """A series and the trends found in it.

    Attributes:
        series: The series as clustered (grouped, where options.group says so), L rows and P changes.
        options: How the trends were found.
        points: float64 of shape (L, K), the components that were clustered; NaN for rows that could not be.
        explained: float64 of shape (K,), share of variance that each component explains.
        labels: int64 of shape (L,): the cluster of each row, -1 for one that is in none.
        confidence: float64 of shape (L,) in 0..1: how clearly a row belongs to its cluster; NaN where it is in none.
        outliers: bool of shape (L,): rows whose trend is like no other's.
        clusters: The clusters, by id.
        quality: How far they can be trusted.
        touched: Cells (row, change) that the method tamed ("spike") or filled ("gap").
        events: What the curves show (spikes, frozen layers, ...), after those of the series itself.
        headline: Up to three sentences that say the most important things.
        notes: Sentences on what the method did that a reader should know.
        kinds: The quality of each kind's clusters, where `options.by_kind`.
        depth: How the metric lies over depth; None where depths or numbers are too few.
        phases: Parts of the training, in order; empty where nothing divides it.
        windows: Trends within sliding windows, in order; empty where there are too few changes.
    """

    series: ChangeSeries
    options: TrendOptions
    points: NDArray[np.float64]
    explained: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    outliers: NDArray[np.bool_]
    clusters: tuple[Cluster, ...]
    quality: Quality
    touched: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    headline: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kinds: tuple[KindQuality, ...] = ()
    depth: DepthProfile | None = None
    phases: tuple[Phase, ...] = ()
    windows: tuple[Window, ...] = ()

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The metric that was clustered, float64 of shape (L, P), not to be written to; see `ChangeSeries.metric`."""
        values = self.series.metric(self.options.metric)
        values.flags.writeable = False  # computed once, for all who ask
        return values

    @cached_property
    def states(self) -> StateArray:
        """States of its cells, of the same shape, not to be written to; see `ChangeSeries.metric_states`."""
        states = self.series.metric_states(self.options.metric)
        states.flags.writeable = False
        return states

    @property
    def all_events(self) -> tuple[Event, ...]:
        """Events of the series and of the trends, in the order of the checkpoints."""
        events = (*self.series.events, *self.events)
        return tuple(sorted(events, key=lambda event: (event.checkpoint is None, event.checkpoint or 0)))


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """What a method makes of a series: rows put together, before anyone names or judges the clusters.

    Attributes:
        features: float64 of shape (L, F), what the method compares; NaN for rows that could not be clustered.
        points: See `Trends`.
        explained: See `Trends`.
        labels: See `Trends`; ids in any order, without holes.
        confidence: See `Trends`.
        outliers: See `Trends`.
        touched: See `Trends`.
        notes: See `Trends`.
        p_value: See `Quality`.
    """

    features: NDArray[np.float64]
    points: NDArray[np.float64]
    explained: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    outliers: NDArray[np.bool_]
    touched: Mapping[str, tuple[tuple[int, int], ...]]
    notes: tuple[str, ...] = ()
    p_value: float | None = None


class Method(Protocol):
    """One way to cluster the rows of a series."""

    def __call__(self, series: ChangeSeries, options: TrendOptions) -> Partition:
        """Cluster rows.

        Args:
            series: The series as it is to be clustered (grouped already), L rows and P changes; both may be 0.
            options: How; valid, but `clusters` may ask for more than there are rows.

        Returns:
            A partition of its L rows. The same series and options give the same partition.
        """


def list_cells(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """The (row, change) of each true cell, in reading order."""
    return tuple((int(row), int(change)) for row, change in np.argwhere(mask))


def mark_cells(cells: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A bool array of a shape (rows, changes) that is true at some cells: what `list_cells` lists."""
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(np.array(cells, dtype=np.intp).reshape(-1, 2).T)] = True
    return mask
