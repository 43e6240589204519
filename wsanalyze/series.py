"""What was measured: the records and arrays that both wings share. NumPy only.

The measuring wing writes a `ChangeSeries` through the store, the reading wing finds trends in it and reports them.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import UsageError
from wsanalyze.metrics import Metric, Span, find_metric
from wsanalyze.spans import Changes, Members, compare_with_path, derive_span
from wsanalyze.states import State, StateArray, mark_states
from wsanalyze.sums import Sums

__all__ = [
    "GROUPINGS",
    "LOG_NAMES",
    "ChangeSeries",
    "CheckpointRecord",
    "Event",
    "Kind",
    "Provenance",
    "Row",
    "Skip",
    "State",
    "StateArray",
    "TrainingLog",
    "check_grouping",
]


class Kind(StrEnum):
    """What a row is for in its network."""

    CONV = "conv"
    DEPTHWISE = "depthwise"
    POINTWISE = "pointwise"
    POINTWISE_LINEAR = "pointwise-linear"
    SQUEEZE_EXCITE = "squeeze-excite"
    LINEAR = "linear"
    RECURRENT = "recurrent"
    ATTENTION_Q = "attention q"
    ATTENTION_K = "attention k"
    ATTENTION_V = "attention v"
    ATTENTION_QKV = "attention qkv"
    ATTENTION_OUT = "attention out"
    MLP_UP = "mlp up"
    MLP_GATE = "mlp gate"
    MLP_DOWN = "mlp down"
    EXPERT = "expert"
    ROUTER = "router"
    EMBEDDING = "embedding"
    POSITION = "position"
    HEAD = "head"
    NORM = "norm"
    BIAS = "bias"
    LORA_A = "lora A"
    LORA_B = "lora B"
    ADAPTER = "adapter"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor under its full name.

    Attributes:
        name: Full name of the tensor, as in the checkpoint after common prefixes are taken off.
        module: The name without its last part (`layer1.0.conv1`).
        block: The repeated part of the network that it belongs to (`layer1.0`), or the module.
        kind: What it is for.
        depth: Rank of its module in the model's own order, from 0.
        shape: Its shape; of its first checkpoint where it is resized later.
    """

    name: str
    module: str
    block: str
    kind: Kind
    depth: int
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """One checkpoint of the sequence, read or not.

    Attributes:
        step: Training step, epoch or iteration; None where none is known. Need not be unique.
        label: The short name shown to people.
        origin: Where it lies: a path or an address.
        status: Whether it takes part: "ok", "duplicate" or "unreadable".
        reason: Why it does not, or None.
        format: Layout of its files in a word or two ("safetensors, 3 shards").
        nbytes: Size of its weight files in bytes.
    """

    step: int | None
    label: str
    origin: str
    status: Literal["ok", "duplicate", "unreadable"] = "ok"
    reason: str | None = None
    format: str = ""
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """A tensor that is in no row, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something a reader of the report should know.

    Attributes:
        kind: One of the kinds of report.json ("spike", "frozen", "duplicate", "unreadable", ...).
        layer: Name of the row that it concerns, or None where it concerns all or none.
        checkpoint: Index into `ChangeSeries.checkpoints` of where it is first seen, or None.
        text: One sentence.
        evidence: The numbers behind the sentence; JSON values only.
    """

    kind: str
    layer: str | None
    checkpoint: int | None
    text: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a series comes from, for whoever wants to make it again.

    Attributes:
        source: The sources as the user gave them.
        command: The command line that measured it; empty where there was none.
        weights: Which weights of the checkpoints were read ("model", "ema").
        params: Which parameters are rows ("matrices", "all").
        notes: Sentences on choices that the program made and a reader should know of.
        versions: Of what it was last measured with, each with its name; empty where that is not known.
    """

    source: tuple[str, ...] = ()
    command: str = ""
    weights: str = "model"
    params: str = "matrices"
    notes: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()


LOG_NAMES: Final = ("loss", "train_loss", "eval_loss", "learning_rate", "grad_norm")
"""What is kept of a trainer's log."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingLog:
    """What a trainer noted beside its checkpoints: N entries in the order of the training.

    Attributes:
        steps: The step of each entry, int64 of shape (N,). It increases, but where the sequence starts over.
        until: For each entry the first checkpoint that was saved at its step or later, as an index into
            `ChangeSeries.checkpoints`; int64 of shape (N,).
        values: What was noted, by those of `LOG_NAMES` that were noted at all: float64 of shape (N,), NaN in the
            entries without it.
    """

    steps: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    until: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    def at_checkpoints(self, name: str, num_checkpoints: int) -> NDArray[np.float64]:
        """The number that was noted last when each checkpoint was saved.

        Args:
            name: One of `LOG_NAMES`.
            num_checkpoints: Number T of checkpoints of the sequence.

        Returns:
            float64 of shape (T,); NaN before the first entry that has it.
        """
        noted = self.noted(name)
        last = np.searchsorted(self.until[noted], np.arange(num_checkpoints), side="right")
        return np.concatenate([[np.nan], self.values[name][noted] if len(noted) else []])[last]

    def noted(self, name: str) -> NDArray[np.int64]:
        """Indices of the entries that have a number of that name."""
        return np.flatnonzero(np.isfinite(self.values[name])) if name in self.values else np.zeros(0, dtype=np.int64)

    def thinned(self, most: int) -> Self:
        """A log of about as many entries that looks the same when it is drawn.

        Args:
            most: Entries to keep; a shorter log is returned as it is.

        Returns:
            The entries with the lowest and the highest number of each part of the log, and the ends, for each name;
            none for a name that was never noted.
        """
        if len(self) <= most:
            return self
        num_parts = max(1, most // (2 * max(1, len(self.values))) - 1)
        kept: set[int] = set()
        for name, values in self.values.items():
            noted = self.noted(name)
            if not len(noted):
                continue
            kept.update(noted[[0, -1]].tolist())
            for part in np.array_split(noted, min(num_parts, len(noted))):
                kept.update((int(part[values[part].argmin()]), int(part[values[part].argmax()])))
        index = np.array(sorted(kept), dtype=np.int64)
        thin = {name: values[index] for name, values in self.values.items()}
        return replace(self, steps=self.steps[index], until=self.until[index], values=thin)


GROUPINGS: Final = ("module", "block", "kind")


@dataclass(frozen=True, slots=True, eq=False)
class ChangeSeries:
    """The changes of L rows over P pairs of checkpoints.

    Attributes:
        checkpoints: All checkpoints of the sequence in order, those that take no part included.
        rows: The L rows in the model's own order.
        pairs: The P measured pairs, in order, as (before, after) indices into `checkpoints`.
        sums: Sums of shape (L, P); NaN in cells that were not measured.
        states: Object array of shape (L, P): why a cell was not measured, or None where it was.
        skips: Tensors that are in no row.
        events: What was noticed while measuring.
        provenance: Where the series comes from.
        given: Metrics measured by someone else, by name, each float64 of shape (L, P). A series read from a
            table has these and no sums.
        log: What the trainer noted beside the checkpoints; empty where it noted nothing.
        spans: Changes over more than one step, of shape (L, P), where they were measured; of the rows of `ungrouped`
            where that is given.
        norms: For each cell the spectral norm of the change, that of the weights before, and the larger one's relative
            error of both, shape (L, P, 3), NaN in cells without; None where there are none at all.
        ungrouped: The series whose rows were added together, or None.
        members: For each row those of `ungrouped` that it was made of.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    rows: tuple[Row, ...]
    pairs: tuple[tuple[int, int], ...]
    sums: Sums
    states: StateArray
    skips: tuple[Skip, ...] = ()
    events: tuple[Event, ...] = ()
    provenance: Provenance = Provenance()
    given: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    log: TrainingLog = field(default_factory=TrainingLog)
    spans: Mapping[Span, Changes] = field(default_factory=dict)
    norms: NDArray[np.float64] | None = None
    ungrouped: "ChangeSeries | None" = None
    members: tuple[tuple[int, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the L rows."""
        return tuple(row.name for row in self.rows)

    @property
    def step_gaps(self) -> NDArray[np.float64]:
        """Steps between the two sides of each pair, float64 of shape (P,); NaN where unknown or not positive."""
        gaps = np.full(len(self.pairs), np.nan)
        for index, (before, after) in enumerate(self.pairs):
            first, last = self.checkpoints[before].step, self.checkpoints[after].step
            if first is not None and last is not None and last > first:
                gaps[index] = last - first
        return gaps

    def metric(self, name: str = "rwc") -> NDArray[np.float64]:
        """Values of a metric.

        Args:
            name: Name of a metric in `wsanalyze.metrics.METRICS`, or of one that was given.

        Returns:
            float64 array of shape (L, P): 0 where the weights are unchanged, NaN in every cell that has a
            state instead of a number (see `metric_states`), never inf.

        Raises:
            UsageError: If there is no such metric, or the series does not hold what it needs.
        """
        return self.given[name].copy() if name in self.given else self._values_and_states(name)[0]

    def metric_states(self, name: str = "rwc") -> StateArray:
        """States of the cells under a metric: object array of shape (L, P) of `State` or None.

        Raises:
            UsageError: As `metric`.
        """
        return self.states.copy() if name in self.given else self._values_and_states(name)[1]

    def absolute(self, name: str = "rwc") -> NDArray[np.float64]:
        """The change itself, not divided by anything: L1 norm of the change, or its L2 norm for L2 metrics.

        Returns:
            float64 array of shape (L, P), in units of the weights; NaN where nothing was measured, inf where
            float64 overflowed.

        Raises:
            UsageError: If there is no such metric, or the series does not hold what it needs.
        """
        if name in self.given:
            return np.full((len(self.rows), len(self.pairs)), np.nan)
        metric = find_metric(name)
        cells, norms = self._find_cells(metric)
        change = norms[0] if metric.norms else metric.absolute(cells.sums)
        return np.where(cells.sums["n_valid"] > 0, change, np.nan)

    def grouped(self, by: str) -> Self:
        """The same changes with rows added together.

        Sums are added, ratios are not averaged; a group's cell is measured from those of its rows that are.

        Args:
            by: "module", "block" or "kind".

        Returns:
            A series with one row a group, in order of first appearance; its shape is (number of elements,).

        Raises:
            UsageError: If `by` is none of those, or the series was read from a table and has no sums.
        """
        check_grouping(by)
        if self.given:
            raise UsageError("a table of ratios cannot be grouped: only sums add, and a table holds none")
        groups: dict[str, list[int]] = {}
        for index, row in enumerate(self.rows):
            groups.setdefault(str(getattr(row, by)), []).append(index)
        rows = []
        for name, members in groups.items():
            first = self.rows[members[0]]
            kinds = {self.rows[i].kind for i in members}
            numel = sum(self.rows[i].numel for i in members)
            block = name if by == "kind" else first.block
            kind = first.kind if len(kinds) == 1 else Kind.OTHER
            rows.append(Row(name, name, block, kind, first.depth, (numel,)))
        together = self.successive.grouped(list(groups.values()))
        before = self.members or [(index,) for index in range(len(self.rows))]
        return replace(
            self,
            rows=tuple(rows),
            sums=together.sums,
            states=together.states,
            norms=None,
            ungrouped=self.ungrouped or self,
            members=tuple(tuple(row for member in members for row in before[member]) for members in groups.values()),
        )

    def select_rows(self, rows: Sequence[int]) -> Self:
        """The same changes of some of the rows.

        Args:
            rows: Their indices, in the order that they are to have.

        Returns:
            A series of those rows, without events: they tell of rows by their indices.
        """
        index = list(rows)
        spans = self.spans
        if self.ungrouped is None:
            spans = {span: changes.select_rows(index) for span, changes in spans.items()}
        chosen = self.successive.select_rows(index)
        return replace(
            self,
            rows=tuple(self.rows[row] for row in index),
            sums=chosen.sums,
            states=chosen.states,
            events=(),
            given={name: values[index] for name, values in self.given.items()},
            spans=spans,
            norms=None if self.norms is None else self.norms[index],
            members=tuple(self.members[row] for row in index) if self.members else (),
        )

    @property
    def successive(self) -> Changes:
        """The changes between successive checkpoints."""
        return Changes(self.sums, self.states)

    def _values_and_states(self, name: str) -> tuple[NDArray[np.float64], StateArray]:
        metric = find_metric(name)
        if self.given:
            raise UsageError(f"a table holds no sums for {name!r}: it can only be shown as {', '.join(self.given)}")
        gaps = self.step_gaps
        if metric.needs_steps and len(gaps) and np.isnan(gaps).all():
            raise UsageError(f"{name!r} needs increasing step numbers, and this sequence has none: choose rwc")
        with np.errstate(all="ignore"):
            cells, norms = self._find_cells(metric)
            values = metric.compute(cells.sums, norms if metric.path or metric.norms else gaps)
        return values, mark_states(values, metric, cells.sums, cells.states)

    def _find_cells(self, metric: Metric) -> tuple[Changes, NDArray[np.float64]]:
        """The changes that a metric is computed from, and their norms, or those of their paths, where it takes any."""
        none = np.zeros(0)
        if metric.norms:
            return self.successive, self._find_norms(metric)
        if metric.span is None:
            return self.successive, none
        whole = self.ungrouped or self
        members: Members = self.members if self.ungrouped else None
        span = whole.spans.get(metric.span) or derive_span(metric.span, whole.successive)
        if span is None:
            raise UsageError(f"{metric.name!r} needs sums that this run does not hold: {self._tell_how(metric)}")
        if metric.path:
            return compare_with_path(metric.span, whole.successive, span, members)
        return span.grouped(members), none

    def _find_norms(self, metric: Metric) -> NDArray[np.float64]:
        """Spectral norms of the changes and of the weights before: float64 of shape (2, L, P)."""
        if self.ungrouped is not None:
            raise _cannot_group(metric)
        needed = self.sums["n_valid"] > 0
        if self.norms is None or np.isnan(self.norms[needed]).any():
            raise UsageError(f"{metric.name!r} needs norms that this run does not hold: {self._tell_how(metric)}")
        norms: NDArray[np.float64] = np.moveaxis(self.norms[..., :2], -1, 0)
        return norms

    def _tell_how(self, metric: Metric) -> str:
        """The command that measures what a metric needs."""
        command = self.provenance.command or shlex.join(["wsanalyze", "analyze", *self.provenance.source])
        return f"`{command} --metric {metric.name}` measures them"


def check_grouping(by: str, metric: str | None = None) -> None:
    """Refuse what rows cannot be grouped by.

    Args:
        by: What they are to be grouped by.
        metric: Name of the metric that groups are to be shown by, or None for any that can be.

    Raises:
        UsageError: If `by` is none of `GROUPINGS`, or the metric cannot be had of groups.
    """
    if metric is not None and find_metric(metric).norms:
        raise _cannot_group(find_metric(metric))
    if by not in GROUPINGS:
        raise UsageError(f"cannot group by {by!r}: choose one of {', '.join(GROUPINGS)}")


def _cannot_group(metric: Metric) -> UsageError:
    return UsageError(
        f"{metric.name!r} cannot be shown by groups: the norm of several matrices is not made of theirs; "
        "leave --group out, or choose another --metric"
    )
