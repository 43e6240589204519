"""How the segments of a band lie in files and come to lie in a buffer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import Band, IntArray
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import align

COARSE_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs of bytes that are read at once, each of segments that touch; N segments, M runs.

    Attributes:
        positions: int64 array of shape (N,): where each segment comes to lie in the buffer.
        files: int64 array of shape (M,): the file of each run.
        offsets: Where it begins there.
        places: Where it begins in the buffer.
        lengths: Its bytes.
        nbytes: Bytes of the buffer in use.
    """

    positions: IntArray
    files: IntArray
    offsets: IntArray
    places: IntArray
    lengths: IntArray
    nbytes: int

    @classmethod
    def of(cls, files: IntArray, offsets: IntArray, nbytes: IntArray) -> "Runs":
        """Put together what touches, given the file, the offset and the bytes of each segment."""
        order = np.lexsort((offsets, files))
        file, offset, length = files[order], offsets[order], nbytes[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (file[1:] != file[:-1]) | (offset[1:] != offset[:-1] + length[:-1])
        begins = np.flatnonzero(first)
        lengths = np.add.reduceat(length, begins) if len(begins) else length
        ends = np.cumsum(align(lengths))
        places = ends - align(lengths)
        run = np.cumsum(first) - 1
        positions = np.empty(len(order), dtype=np.int64)
        positions[order] = places[run] + offset - offset[begins][run]
        return cls(positions, file[begins], offset[begins], places, lengths, int(ends[-1]) if len(ends) else 0)

    def list(self) -> Iterator[tuple[int, int, int, int]]:
        """Each run: file, offset in it, position in the buffer, bytes."""
        arrays = (self.files, self.offsets, self.places, self.lengths)
        return zip(*(array.tolist() for array in arrays), strict=True)


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """How a band lies that is wanted at all checkpoints and lies alike there: found out once for all of them.

    Attributes:
        segments: int64 array of shape (S,): all its segments.
        offsets: As those of `BandSide`; so are `types`, `numels` and `nbytes`.
        runs: For each checkpoint the runs of bytes to be read: file, offset in it, position in the buffer, bytes.
    """

    segments: IntArray
    offsets: IntArray
    types: IntArray
    numels: IntArray
    nbytes: int
    runs: dict[int, list[tuple[int, int, int, int]]]

    @property
    def nbytes_read(self) -> int:
        """Bytes that are read of it at each checkpoint."""
        return sum(run[3] for run in next(iter(self.runs.values())))

    @property
    def is_coarse(self) -> bool:
        """Whether its segments are so large that each may be read by itself."""
        return self.nbytes >= COARSE_BYTES * len(self.segments)

    @classmethod
    def of(cls, band: Band, places: Places, sides: list[int], touched: NDArray[np.bool_]) -> "Alike | None":
        """How a band lies, or None where it lies otherwise at different checkpoints."""
        cells = np.ix_(band.rows, np.array(sides))
        if not (touched[cells] & places.simple[cells]).all():
            return None
        numel, types, offset, file = places.numel[cells], places.type[cells], places.offset[cells], places.file[cells]
        if (numel != numel[:, :1]).any() or (types != types[:, :1]).any():
            return None
        content = places.content[file]
        if ((content[:, 1:] == content[:, :-1]) & (offset[:, 1:] == offset[:, :-1])).any():
            return None  # what is there already is not read again
        sizes = places.itemsize[band.rows, sides[0]]
        counts = np.minimum(band.stops, numel[:, 0]) - np.minimum(band.starts, numel[:, 0])
        at = offset + (np.minimum(band.starts, numel[:, 0]) * sizes)[:, None]
        runs = Runs.of(file[:, 0], at[:, 0], counts * sizes)
        first = np.flatnonzero(np.isin(runs.positions, runs.places))  # where each run begins
        first = first[np.argsort(runs.positions[first], kind="stable")]
        if len(first) != len(runs.places) or (counts == 0).any():
            return None
        run = np.searchsorted(runs.places, runs.positions, side="right") - 1
        within = runs.positions - runs.places[run]
        if (at != at[first][run] + within[:, None]).any() or (file != file[first][run]).any():
            return None
        lists = {
            side: list(
                zip(
                    file[first, index].tolist(),
                    at[first, index].tolist(),
                    runs.places.tolist(),
                    runs.lengths.tolist(),
                    strict=True,
                )
            )
            for index, side in enumerate(sides)
        }
        everything = np.arange(len(band.rows), dtype=np.int64)
        return cls(everything, runs.positions, types[:, 0].copy(), counts, runs.nbytes, lists)
