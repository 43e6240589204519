"""Sums on a torch device: CUDA, or the CPU by the same code, which is what tests run.

A side is copied to the device while the next one is read. The sums of a pair are asked for as soon as its later side
is on its way, and waited for when two more pairs have been asked for.
"""

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from wsanalyze.changes.base import BandSide, DeviceMemoryError, FloatBlock, IntArray, Pending, type_of
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.changes.torch_rows import LANE, NUM_FIELDS, SLACK_BYTES, Group, RowSums, lay_out
from wsanalyze.changes.torch_streams import Streams, Upload, Wait, open_streams
from wsanalyze.sums import SUM_NAMES

_TILE_ROWS: Final = {"cuda": 1088, "cpu": 8}
"""Rows that are summed at once: on CUDA a band of 16 MB of two-byte elements, and some rows for the ends of tensors."""
_ALIGNMENT: Final = 64
_ASKING: Final = threading.Lock()
"""Held while work is asked for: threads that do it at once hinder each other at every single launch."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedSide:
    """A side of a band: where it was read, and its way to the device."""

    host: BandSide
    upload: Upload


class TorchKernel:
    """Sums on a torch device, in float64; complex weights are left to NumPy.

    On one device the sums of a segment are the same bits whatever is measured beside it.

    Args:
        device: A torch device ("cuda:0"; "cpu" works too, and is what tests run).
        streams: What its copies and its arithmetic go through; by default those of the device.
    """

    depth = 2

    def __init__(self, device: str, streams: Streams | None = None) -> None:
        self._device = torch.device(device)
        self._streams = streams or open_streams(self._device)
        self._tile_rows = _TILE_ROWS[self._device.type]
        self._sums: RowSums | None = None
        self._host = NumpyKernel()
        self._was_full = False

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """See `Kernel.allocate`. For CUDA it is pinned, which torch does in powers of two."""
        return self._streams.allocate(nbytes)

    def load(self, side: BandSide) -> LoadedSide:
        """See `Kernel.load`."""
        room = -(-side.nbytes // _ALIGNMENT) * _ALIGNMENT + SLACK_BYTES
        if self._was_full:  # what was held then has been released; what is kept of it would be cut up for what is small
            torch.cuda.empty_cache()
            self._was_full = False
        with self._telling_of_memory():
            return LoadedSide(side, self._streams.upload(side.data[: side.nbytes], room))

    def release(self, side: LoadedSide) -> None:
        """See `Kernel.release`."""
        side.upload.drop()

    def measure(self, before: LoadedSide, after: LoadedSide, segments: IntArray) -> Pending:
        """See `Kernel.measure`."""
        hosts = before.host, after.host
        sums = np.zeros((len(segments), len(SUM_NAMES)))
        is_complex = np.logical_or(*(_find_complex(host.types[segments]) for host in hosts))
        sums[is_complex] = self._host.measure(*hosts, segments[is_complex])()
        real = np.flatnonzero(~is_complex)
        groups = list(lay_out(*hosts, segments[real], self._tile_rows))
        if not groups:
            return lambda: sums
        with self._telling_of_memory():
            rows, wait = self._ask(before.upload, after.upload, groups)
        numels = hosts[1].numels[segments[real]]

        def collect() -> FloatBlock:
            wait()
            found = np.zeros((len(real), len(SUM_NAMES)))
            start = 0
            for group in groups:
                stop = start + group.table.shape[1]
                group.collect(rows[:, start:stop], found, numels)
                start = stop
            sums[real] = found
            return sums

        return collect

    def _ask(self, before: Upload, after: Upload, groups: list[Group]) -> tuple[FloatBlock, Wait]:
        """Have all rows summed: an array of shape (15, rows of all groups) that will hold what is found."""
        size = self._tile_rows
        rows = np.concatenate([group.table for group in groups], axis=1)
        owners = [group for group in groups for _ in range(0, group.table.shape[1], size)]
        with _ASKING, self._streams.computing():
            if self._sums is None:
                self._sums = RowSums(self._device, size)
            sides = self._streams.use(before), self._streams.use(after)
            table = self._streams.send(rows)
            found = torch.empty((NUM_FIELDS, rows.shape[1]), dtype=torch.float64, device=self._device)
            for index, group in enumerate(owners):
                tile = slice(index * size, (index + 1) * size)
                full = bool((rows[2, tile] == LANE).all())
                found[:, tile] = self._sums.measure(group, *sides, table[:, tile], full=full)
            return self._streams.fetch(found)

    @contextmanager
    def _telling_of_memory(self) -> Iterator[None]:
        """Tell that a device is full as kernels do."""
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            self._was_full = True
            traceback.clear_frames(error.__traceback__)  # they hold what was computed so far, as long as it is told
            raise DeviceMemoryError(str(error).partition("\n")[0]) from error


def _find_complex(codes: IntArray) -> NDArray[np.bool_]:
    """Which types are complex: bool array of the same shape."""
    kinds = {code: type_of(code).kind == "c" for code in set(codes.tolist())}
    return np.array([kinds[code] for code in codes.tolist()], dtype=np.bool_)
