"""Segments laid out in rows of one length, and the sums of such rows on a torch device.

Rows are added up in tiles of one shape, whatever is in them: the order in which a library adds depends on the shape of
what it is given, so that this is what makes the sums of a segment the same bits beside whatever else is measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from wsanalyze.changes.base import SWAPPED, TYPES, BandSide, FloatBlock, IntArray, type_of
from wsanalyze.sums import SUM_NAMES

LANE: Final = 2**13
"""Elements of a row."""
SLACK_BYTES: Final = LANE * 8
"""Readable bytes behind the last element of a side: a row is fetched whole, also where fewer elements are left."""

_FIELDS: Final = (
    *("l1_before", "l1_after", "l1_delta", "sq_before", "sq_after", "sq_delta", "max_delta", "dot_before_delta"),
    *("rel_sum", "nonfinite_before", "nonfinite_after", "invalid", "rel_n", "changed", "sign_flips"),
)
"""What `RowSums` gives of a row, in this order."""
NUM_FIELDS: Final = len(_FIELDS)
_UNITS: Final = ((8, torch.int64), (4, torch.int32), (2, torch.int16), (1, torch.uint8))
_BITS: Final = dict(_UNITS)


@dataclass(frozen=True, slots=True)
class RowType:
    """How the rows of one side are read.

    Attributes:
        dtype: What the elements are.
        itemsize: Bytes of each.
        swapped: Whether their bytes lie in the other order.
        unit: Bytes that are fetched at once: all rows begin at a multiple of it.
    """

    dtype: torch.dtype
    itemsize: int
    swapped: bool
    unit: int

    @classmethod
    def of(cls, code: int, starts: IntArray) -> "RowType":
        """How rows of a type are read that begin at these bytes."""
        unit = next(size for size, _ in _UNITS if not (starts % size).any())
        return cls(getattr(torch, TYPES[code % SWAPPED]), type_of(code).itemsize, code >= SWAPPED, unit)

    @property
    def wide(self) -> torch.dtype:
        """The least type that holds every element and that torch computes in."""
        return torch.float16 if self.itemsize == 1 else self.dtype

    def fetch(self, data: Tensor, starts: Tensor, beyond: Tensor | None) -> Tensor:
        """Rows of elements.

        Args:
            data: uint8 tensor of a side, at least `SLACK_BYTES` longer than what is in it, and a multiple of 8.
            starts: int64 tensor of shape (R,): where each row begins, in units.
            beyond: bool tensor of shape (R, LANE): what is behind the last element of a row; that becomes zero.

        Returns:
            Tensor of shape (R, LANE).
        """
        units = data.view(_BITS[self.unit])
        width = LANE * self.itemsize // self.unit
        windows = units.as_strided((units.numel() - width + 1, width), (1, 1))
        rows = windows.index_select(0, starts)
        if self.swapped:
            rows = rows.view(torch.uint8).view(len(starts), LANE, self.itemsize).flip(-1).view(len(starts), -1)
        bits = rows.view(_BITS[self.itemsize])
        if beyond is not None:
            bits.masked_fill_(beyond, 0)  # of any type these bits are zero
        return bits.view(self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Segments whose types are the same, laid out in rows; N rows, of which those behind the last are empty.

    Attributes:
        places: int64 array of shape (S,): which of the segments asked for.
        begins: int64 array of shape (S,): the first row of each.
        num_rows: Rows that hold elements.
        before: How the rows before are read.
        after: How those after are.
        table: int64 array of shape (3, N): where each row begins before and after, in units, and its elements.
    """

    places: IntArray
    begins: IntArray
    num_rows: int
    before: RowType
    after: RowType
    table: IntArray

    def collect(self, rows: FloatBlock, out: FloatBlock, numels: IntArray) -> None:
        """Add up what was found of each row, of shape (15, N), in the order of the rows."""
        found = np.ascontiguousarray(rows[:, : self.num_rows])
        totals = dict(zip(_FIELDS, np.add.reduceat(found, self.begins, axis=1), strict=True))
        totals["max_delta"] = np.maximum.reduceat(found[_FIELDS.index("max_delta")], self.begins)
        totals["n"] = numels[self.places].astype(np.float64)
        totals["n_valid"] = totals["n"] - totals.pop("invalid")
        out[self.places] = np.stack([totals[name] for name in SUM_NAMES], axis=1)


def lay_out(before: BandSide, after: BandSide, segments: IntArray, tile_rows: int) -> Iterator[Group]:
    """Lay segments out in rows, those of the same two types together.

    Args:
        before: The side before.
        after: The side after.
        segments: Which segments, shape (R,); those without elements have no rows.
        tile_rows: What the number of rows of a group is a multiple of.
    """
    numels = after.numels[segments]
    pairs = np.stack([before.types[segments], after.types[segments]], axis=1)
    for codes in np.unique(pairs[numels > 0], axis=0):
        places = np.flatnonzero((pairs == codes).all(axis=1) & (numels > 0))
        counts = -(-numels[places] // LANE)
        begins = np.cumsum(counts) - counts
        num_rows = int(counts.sum())
        within = (np.arange(num_rows) - np.repeat(begins, counts)) * LANE
        table = np.zeros((3, -(-num_rows // tile_rows) * tile_rows), dtype=np.int64)
        types: list[RowType] = []
        for index, (side, code) in enumerate(zip((before, after), codes.tolist(), strict=True)):
            starts = np.repeat(side.offsets[segments[places]], counts) + within * type_of(code).itemsize
            types.append(RowType.of(code, starts))
            table[index, :num_rows] = starts // types[-1].unit
        table[2, :num_rows] = np.minimum(LANE, np.repeat(numels[places], counts) - within)
        yield Group(places, begins, num_rows, types[0], types[1], table)


class RowSums:
    """The sums of a tile of rows, in float64; it keeps the memory that it works in.

    Args:
        device: Where it computes.
        num_rows: How many rows a tile has.
    """

    def __init__(self, device: torch.device, num_rows: int) -> None:
        shape = (num_rows, LANE)
        self._numbers = torch.empty((3, *shape), dtype=torch.float64, device=device)
        self._scratch = torch.empty(shape, dtype=torch.float64, device=device)
        self._flags = torch.empty((6, *shape), dtype=torch.bool, device=device)
        self._columns = torch.arange(LANE, device=device)

    def measure(self, group: Group, before: Tensor, after: Tensor, table: Tensor, *, full: bool) -> Tensor:
        """What is summed of each row.

        Args:
            group: How the rows are read.
            before: uint8 tensor: the side before.
            after: The side after.
            table: int64 tensor of shape (3, rows of a tile), as that of a group.
            full: Whether every row has all its elements.

        Returns:
            float64 tensor of shape (15, rows of a tile).
        """
        beyond = None if full else self._columns >= table[2][:, None]
        sides = [
            kind.fetch(data, starts, beyond)
            for kind, data, starts in zip((group.before, group.after), (before, after), table, strict=False)
        ]
        wide = torch.promote_types(group.before.wide, group.after.wide)
        return self._measure(torch.stack([side.to(wide) for side in sides]))

    def _measure(self, raw: Tensor) -> Tensor:
        """Sums of elements of shape (2, R, LANE), of any type that torch computes in."""
        flags, numbers, scratch = self._flags, self._numbers, self._scratch
        torch.lt(raw.abs(), torch.inf, out=flags[:2])
        valid = torch.logical_and(flags[0], flags[1], out=flags[2])
        raw = torch.where(valid, raw, 0.0)
        zero = torch.eq(raw[0], 0.0, out=flags[3])
        torch.eq(raw[0], raw[1], out=flags[4])
        signs = raw.sign()
        torch.eq(signs[0], signs[1], out=flags[5])
        numbers[:2].copy_(raw)
        before, after, delta = numbers
        torch.sub(after, before, out=delta)
        # In float64 torch's norms are as right as any sum; of narrower types they are not.
        norms = torch.linalg.vector_norm(numbers, 1, dim=2)
        squares = torch.linalg.vector_norm(numbers, 2, dim=2).square_()
        most = torch.linalg.vector_norm(delta, torch.inf, dim=1)
        dot = torch.mul(before, delta, out=scratch).sum(dim=1)
        quotients = torch.div(delta, before, out=scratch).masked_fill_(zero, 0.0)
        relative = torch.linalg.vector_norm(quotients, 1, dim=1)
        counts = (LANE - _count(flags)).to(torch.float64)  # what is beyond a row's end is valid, zero and the same
        return torch.cat([norms, squares, torch.stack([most, dot, relative]), counts])


def _count(flags: Tensor) -> Tensor:
    """How many of bool flags of shape (F, R, LANE) are set: int64 tensor of shape (F, R).

    torch would make eight bytes of every flag before it adds: here eight flags are added at once, and no more than 128
    of them, so that none of their bytes runs over.
    """
    packed = flags.view(torch.int64).reshape(*flags.shape[:2], -1, 128).sum(dim=3)
    return packed.view(torch.uint8).sum(dim=2)
