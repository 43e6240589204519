"""The contract of layers: rows, and which of them compare between which checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass

from wsanalyze.series import Event, Row, Skip, StateArray
from wsanalyze.tensors.base import TensorInfo


@dataclass(frozen=True, slots=True, eq=False)
class RowMatch:
    """Rows matched by name across T checkpoints.

    Attributes:
        rows: The L rows, in the model's own order.
        tensors: For each row, its tensor in each of the checkpoints; None where it has none or cannot be compared.
        pairs: The P pairs of successive checkpoints, as indices among the T; where spans were added, theirs as well.
        states: Object array of shape (L, P): why a pair does not compare, or None where it does.
        skips: Tensors that are in no row, and why.
        events: Changes of dtype and shape, ties.
        notes: What was made of a model's definition, where one was given.
    """

    rows: tuple[Row, ...]
    tensors: tuple[tuple[TensorInfo | None, ...], ...]
    pairs: tuple[tuple[int, int], ...]
    states: StateArray
    skips: tuple[Skip, ...]
    events: tuple[Event, ...]
    notes: tuple[str, ...] = ()


TensorsByName = Mapping[str, TensorInfo]
