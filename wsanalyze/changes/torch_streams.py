"""What waits for what on a torch device: two streams of CUDA, or the CPU, where all is done once it was asked for."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsanalyze.changes.base import IntArray
from wsanalyze.changes.kernels import allocate_aligned

_UNTYPED: Final[Any] = torch.cuda  # its constructors have no types

Wait = Callable[[], object]
"""Waits until something that was asked for has been done."""


@dataclass(slots=True, eq=False)
class Upload:
    """Bytes on their way to a device.

    Attributes:
        data: uint8 tensor there.
        copied: Waits until they have all left the host.
        event: What a stream waits for before it uses them; None where there are no streams.
    """

    data: Tensor
    copied: Wait
    event: torch.cuda.Event | None = None

    def drop(self) -> None:
        """Let go of the bytes there, once those here are free to be overwritten."""
        self.copied()
        self.data = self.data.new_empty(0)


class Streams(Protocol):
    """The ways of one kernel to its device."""

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Memory of the host that is quick to copy from: uint8 array of shape (nbytes,), aligned to 64 bytes."""

    def upload(self, data: NDArray[np.uint8], room: int) -> Upload:
        """Start to copy bytes into new memory of the device, of `room` bytes; those behind the data are anything."""

    def computing(self) -> AbstractContextManager[object]:
        """What is asked for inside is done in order, beside copies."""

    def use(self, upload: Upload) -> Tensor:
        """Bytes on the device, for what is computed from here on."""

    def send(self, numbers: IntArray) -> Tensor:
        """Numbers on the device, for what is computed from here on."""

    def fetch(self, sums: Tensor) -> tuple[NDArray[np.float64], Wait]:
        """Numbers brought back to the host, once they were waited for."""


class HostStreams:
    """The CPU in the place of a device."""

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """See `Streams.allocate`."""
        return allocate_aligned(nbytes)

    def upload(self, data: NDArray[np.uint8], room: int) -> Upload:
        """See `Streams.upload`."""
        there = torch.empty(room, dtype=torch.uint8)
        there[: data.size].copy_(_as_tensor(data))
        return Upload(there, _do_nothing)

    def computing(self) -> AbstractContextManager[object]:
        """See `Streams.computing`."""
        return nullcontext()

    def use(self, upload: Upload) -> Tensor:
        """See `Streams.use`."""
        return upload.data

    def send(self, numbers: IntArray) -> Tensor:
        """See `Streams.send`."""
        return torch.from_numpy(numbers)

    def fetch(self, sums: Tensor) -> tuple[NDArray[np.float64], Wait]:
        """See `Streams.fetch`."""
        return sums.numpy(), _do_nothing


class CudaStreams:
    """A CUDA device: copies on one stream, arithmetic on another, and events between them.

    Memory of the device comes from torch's cache, which gives what one stream has let go of to the next side once
    the other stream has passed the last use of it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device: Final = device
        self._copies, self._sums = (_UNTYPED.Stream(device) for _ in range(2))

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """See `Streams.allocate`. Where no more memory can be pinned, it is plain, and copies are slower."""
        try:
            pinned = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        except RuntimeError:
            return allocate_aligned(nbytes)
        array: NDArray[np.uint8] = pinned.numpy()  # which keeps the tensor
        return array

    def upload(self, data: NDArray[np.uint8], room: int) -> Upload:
        """See `Streams.upload`."""
        with torch.cuda.stream(self._copies):
            there = torch.empty(room, dtype=torch.uint8, device=self._device)
            there[: data.size].copy_(_as_tensor(data), non_blocking=True)
            event = _mark(self._copies)
        return Upload(there, event.synchronize, event)

    def computing(self) -> AbstractContextManager[object]:
        """See `Streams.computing`."""
        return torch.cuda.stream(self._sums)

    def use(self, upload: Upload) -> Tensor:
        """See `Streams.use`."""
        if upload.event is not None:
            self._sums.wait_event(upload.event)
        upload.data.record_stream(self._sums)
        return upload.data

    def send(self, numbers: IntArray) -> Tensor:
        """See `Streams.send`."""
        return torch.from_numpy(numbers).pin_memory().to(self._device, non_blocking=True)

    def fetch(self, sums: Tensor) -> tuple[NDArray[np.float64], Wait]:
        """See `Streams.fetch`."""
        here = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
        here.copy_(sums, non_blocking=True)
        return here.numpy(), _mark(self._sums).synchronize


def open_streams(device: torch.device) -> Streams:
    """The streams of a device."""
    return CudaStreams(device) if device.type == "cuda" else HostStreams()


def _mark(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """An event behind all that a stream was asked for; a thread that waits for it sleeps."""
    event: torch.cuda.Event = _UNTYPED.Event(blocking=True)
    event.record(stream)
    return event


def _as_tensor(data: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(data if data.flags.writeable else data.copy())  # torch warns of what it may not write


def _do_nothing() -> None:
    """All is done."""
