"""What a plan asks of files: bytes, runs of them, and whole files."""

from collections.abc import Sequence

import numpy as np

from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import Plan, find_touched
from wsanalyze.files.base import FileRef
from wsanalyze.tensors.base import Piece


def count_bytes(plan: Plan, places: Places) -> int:
    """Bytes that all bands take, at every checkpoint that is read."""
    touched = find_touched(places, plan.pairs, plan.needed) & (places.numel >= 0)
    total = 0
    for band in plan.bands:
        for side in np.flatnonzero(touched[band.rows].any(axis=0)).tolist():
            rows = band.rows
            numel = places.numel[rows, side]
            counts = np.minimum(band.stops, numel) - np.minimum(band.starts, numel)
            total += int((counts * places.itemsize[rows, side])[touched[rows, side] & places.simple[rows, side]].sum())
            odd = touched[rows, side] & ~places.simple[rows, side]
            for row in np.unique(rows[odd]).tolist():
                mine = odd & (rows == row)
                total += places.count_bytes(row, side, band.starts[mine], band.stops[mine])
    return total


def count_requests(plan: Plan, places: Places) -> int:
    """How many runs of bytes the bands are read in, each one of one file at one side."""
    touched = find_touched(places, plan.pairs, plan.needed)
    rows = [set(band.rows.tolist()) for band in plan.bands]
    return sum(
        len({piece.file.url for row in band if touched[row, side] for piece in _pieces(places, row, side)})
        for band in rows
        for side in range(touched.shape[1])
    )


def count_files(plan: Plan, places: Places, pairs: Sequence[int]) -> dict[FileRef, int]:
    """The files of both sides of some pairs and how many bytes of each are needed for those."""
    found: dict[FileRef, set[tuple[int, int]]] = {}
    rows = {(row, pair) for pair in pairs for b in plan.bands for row in b.rows[plan.needed[b.rows, pair]].tolist()}
    for row, pair in rows:
        for side in plan.pairs[pair]:
            for piece in _pieces(places, row, side):  # several rows may be made of one
                found.setdefault(piece.file, set()).add((piece.offset, piece.nbytes))
    return {file: sum(nbytes for _, nbytes in spans) for file, spans in found.items()}


def find_files(places: Places, side: int) -> dict[FileRef, None]:
    """The files that the rows of a side lie in, in the order of the rows."""
    return dict.fromkeys(p.file for row in range(len(places.tensors)) for p in _pieces(places, row, side))


def _pieces(places: Places, row: int, side: int) -> tuple[Piece, ...]:
    info = places.tensors[row][side]
    return () if info is None else info.pieces
