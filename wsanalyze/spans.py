"""Changes over more than one step, set beside the steps that they consist of. NumPy only.

A path of changes tells more than each of them: d + e is longer than d and e alone would be if both go the same way.
So products of changes come from sums of two checkpoints each, and three tensors need not be at hand at once:
2 d.e = |d + e|^2 - |d|^2 - |e|^2. That holds for sums over the same elements only: where one is not finite at some
of the checkpoints and finite at others, there is no number.

References:
    docs/method.md, "Metrics".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import FloatArray, Span
from wsanalyze.states import State, StateArray
from wsanalyze.sums import Sums

BoolArray = NDArray[np.bool_]
Pair = tuple[int, int]
Members = Sequence[Sequence[int]] | None
"""For each group the indices of its rows; None where rows stand for themselves."""


def list_pairs(span: Span, pairs: Sequence[Pair]) -> tuple[Pair | None, ...]:
    """The pair of checkpoints of a span that ends where each of P successive changes ends.

    Args:
        span: Which pairs.
        pairs: The P successive ones.

    Returns:
        P pairs; None where there is none.
    """
    if span is Span.FIRST:
        return tuple((pairs[0][0], after) for _, after in pairs)
    return tuple(None if index == 0 else (pairs[index - 1][0], after) for index, (_, after) in enumerate(pairs))


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What changed between pairs of checkpoints.

    Attributes:
        sums: Sums of shape (L, P); NaN in cells that were not measured.
        states: Object array of shape (L, P): why a cell was not measured, or None where it was.
    """

    sums: Sums
    states: StateArray

    @property
    def measured(self) -> BoolArray:
        """Which cells were measured, shape (L, P)."""
        return ~np.isnan(self.sums["n"])

    @property
    def uneven(self) -> BoolArray:
        """Where the elements that are not finite are others before than after, shape (L, P)."""
        bad = self.sums["n"] - self.sums["n_valid"]
        uneven: BoolArray = self.measured & (
            (self.sums["nonfinite_before"] != bad) | (self.sums["nonfinite_after"] != bad)
        )
        return uneven

    @classmethod
    def unmeasured(cls, states: StateArray) -> Self:
        """Changes of which only the states are known."""
        return cls(Sums.unmeasured(*states.shape), states)

    def later(self) -> Self:
        """The same, one change later: what was before each; before the first there is nothing to compare."""
        states = np.full(self.states.shape, State.NOT_COMPARABLE, dtype=object)
        states[:, 1:] = self.states[:, :-1]
        sums = Sums.unmeasured(*states.shape)
        sums.values[:, 1:] = self.sums.values[:, :-1]
        return type(self)(sums, states)

    def select_rows(self, rows: Sequence[int]) -> Self:
        """The same for some of the rows, in the order given."""
        index = list(rows)
        return type(self)(Sums(self.sums.values[index]), self.states[index])

    def grouped(self, members: Members) -> Self:
        """The same with rows added together; a group has a state where none of its rows was measured."""
        if members is None:
            return self
        sums = [Sums(self.sums.values[list(rows)]).total().values for rows in members]
        states = self.states[[rows[0] for rows in members]]
        together = Sums(np.array(sums).reshape(*states.shape, self.sums.values.shape[-1]))
        states[~np.isnan(together["n"])] = None
        return type(self)(together, states)


def derive_span(span: Span, successive: Changes) -> Changes | None:
    """A span that takes no sums but those of successive changes, since there are not two of them; else None."""
    if successive.states.shape[1] > 1:
        return None
    return successive if span is Span.FIRST else successive.later()


def compare_with_path(kind: Span, successive: Changes, span: Changes, members: Members) -> tuple[Changes, FloatArray]:
    """Find what a metric needs that sets a span beside the changes that it consists of, all of the same elements.

    Args:
        kind: Which span.
        successive: The successive changes, L rows.
        span: The changes of the span, L rows.
        members: G groups of rows to add together.

    Returns:
        The changes of the span, G rows, measured where all of its path was, from those rows of which it was; with a
        state where the path has no direction or not the same elements everywhere. And the norms that `Metric.compute`
        takes: float64 of shape (N, G, P).
    """
    path = _find_path(kind, successive)
    measured = path.measured & span.measured
    uneven = measured & (path.uneven | span.uneven)
    states = _first_of(successive.states, span.states, path.states)
    whole = Changes(_keep(span.sums, measured), states).grouped(members)
    if kind is Span.TWO:
        legs = [
            Changes(_keep(part.sums, measured), states).grouped(members) for part in (successive.later(), successive)
        ]
        norms = np.sqrt([leg.sums["sq_delta"] for leg in legs])
        still = np.any([leg.sums["changed"] == 0 for leg in legs], axis=0)
    else:
        norms, still = _add_up_path(successive.sums, measured, members)
    if members is not None:
        uneven = np.array([uneven[list(rows)].any(axis=0) for rows in members]).reshape(whole.states.shape)
    found = whole.states.copy()
    found[whole.measured & still] = State.ZERO
    found[uneven] = State.NONFINITE
    return Changes(whole.sums, found), norms


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """Where all changes of a path were measured, have other elements, or a state; each of shape (L, P)."""

    measured: BoolArray
    uneven: BoolArray
    states: StateArray


def _find_path(kind: Span, successive: Changes) -> _Path:
    measured, uneven, states = successive.measured, successive.uneven, successive.states
    if kind is Span.TWO:
        earlier = successive.later()
        return _Path(measured & earlier.measured, uneven | earlier.uneven, _first_of(states, earlier.states))
    states = states.copy()
    for change in range(1, states.shape[1]):
        states[:, change] = _first_of(states[:, change - 1], states[:, change])
    return _Path(np.logical_and.accumulate(measured, axis=1), np.logical_or.accumulate(uneven, axis=1), states)


def _first_of(*states: StateArray) -> StateArray:
    """The first state of each cell that is one."""
    found, *others = states
    for other in others:
        found = np.where(found == None, other, found)  # noqa: E711 - elementwise
    return found


def _keep(sums: Sums, kept: BoolArray) -> Sums:
    return Sums(np.where(kept[..., None], sums.values, np.nan))


def _add_up_path(successive: Sums, measured: BoolArray, members: Members) -> tuple[FloatArray, BoolArray]:
    """Lengths of all ways from the first checkpoint, shape (1, G, P), and whether nothing changed on them, (G, P).

    The length of a change is that of all rows of a group that are still there at the end of the way.
    """
    if members is None:
        with np.errstate(invalid="ignore"):  # of what was not measured
            return np.cumsum(np.sqrt(successive["sq_delta"]), axis=1)[None], np.cumsum(
                successive["changed"], axis=1
            ) == 0
    shape = len(members), measured.shape[1]
    lengths, changed = np.full((1, *shape), np.nan), np.full(shape, np.nan)
    for group, rows in enumerate(members):
        sums, there = successive.values[list(rows)], measured[list(rows)]
        for change in range(shape[1]):
            if change == 0 or not np.array_equal(there[:, change], there[:, change - 1]):
                total = Sums(sums[there[:, change]]).total()
                ways = np.cumsum(np.sqrt(total["sq_delta"])), np.cumsum(total["changed"])
            lengths[0, group, change], changed[group, change] = (way[change] for way in ways)
    return lengths, changed == 0
