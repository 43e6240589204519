"""Where the sums are computed: the CPU, without torch, or CUDA devices, through torch."""

import ctypes
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from wsanalyze.changes.base import Kernel
from wsanalyze.changes.compiled import CompiledKernel, is_compiled, list_vectors
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.changes.plan import BAND_BYTES
from wsanalyze.errors import MeasureError, UsageError

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
_MAX_THREADS: Final = 16
_THREADS_PER_DEVICE: Final = 3  # with more, bands become so small by default that launches cost more than sums
_DEVICE_BAND_BYTES: Final = 2**25

# What `auto` expects, all of it measured, see docs/performance.md, "On a GPU". Bytes that a processor takes in a second
# are those of bfloat16, the slowest type; a device takes what its threads bring there, and no more.
_COMPILED_RATE: Final = 2.5e9
_NUMPY_RATE: Final = 0.3e9  # of all threads together
_DEVICE_RATE: Final = 3e9  # of one thread
_MAX_DEVICE_RATE: Final = 6e9
_DEVICE_START_SECONDS: Final = 7.0


@dataclass(frozen=True, slots=True)
class Kernels:
    """What computes sums.

    Attributes:
        name: What it is called, for people.
        num_threads: How many threads may work at once, each with a kernel of its own.
        make: Makes the kernel of the Nth thread, in that thread.
        band_bytes: Most bytes of one side of a band.
        pinned: Whether buffers are pinned.
        instead: Finds others, which take seconds to start and are faster then; None where there are none.
    """

    name: str
    num_threads: int
    make: Callable[[int], Kernel]
    band_bytes: int = BAND_BYTES
    pinned: bool = False
    instead: Callable[[], "Kernels"] | None = None

    def choose(self, nbytes: int) -> "Kernels":
        """These, or the others where they are worth their start for so many bytes."""
        return self.instead() if self.instead is not None and _pays(nbytes, self.num_threads) else self


def find_kernels(device: str) -> Kernels:
    """The kernels for a device.

    Args:
        device: "cpu", "cuda" for all its devices, "cuda:N", or "auto" for the CPU, and CUDA instead where the driver
            finds a device.

    Raises:
        UsageError: If the name is none of those.
        MeasureError: If CUDA is asked for and there is no such device.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, not {device!r}")
    if device == "cpu":
        return _host_kernels()
    if device == "auto":
        host = _host_kernels()
        return replace(host, instead=lambda: _find_devices(device) or host) if has_cuda_driver() else host
    found = _find_devices(device)
    if found is None:
        raise MeasureError(f"--device {device}: torch finds no such device here; use --device cpu")
    return found


def _find_devices(device: str) -> Kernels | None:
    """Kernels on CUDA, several threads for each device; None where torch does not find them."""
    import torch

    from wsanalyze.changes.torch_kernel import TorchKernel

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        return None
    names = [device] if ":" in device else [f"cuda:{index}" for index in range(count)]
    num_threads = max(len(names), min(_THREADS_PER_DEVICE * len(names), count_processors()))
    return Kernels(
        ", ".join(names),
        num_threads,
        lambda index: TorchKernel(names[index % len(names)]),
        _DEVICE_BAND_BYTES,
        pinned=True,
    )


def _host_kernels() -> Kernels:
    threads = count_processors()
    if is_compiled():
        return Kernels(f"compiled ({list_vectors()[-1]})", threads, lambda _: CompiledKernel())
    return Kernels("NumPy", threads, lambda _: NumpyKernel())


def _pays(nbytes: int, num_threads: int) -> bool:
    """Whether a device is done earlier with so many bytes than so many threads, its start included."""
    host_rate = _COMPILED_RATE * num_threads if is_compiled() else _NUMPY_RATE
    device_rate = min(_DEVICE_RATE * num_threads, _MAX_DEVICE_RATE)
    return nbytes / host_rate > nbytes / device_rate + _DEVICE_START_SECONDS


def count_processors() -> int:
    """Processors that this process may run on; no more than memory can keep busy."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, _MAX_THREADS)


def has_cuda_driver() -> bool:
    """Whether the CUDA driver finds a device; asked of the driver itself, since importing torch takes seconds."""
    name = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
