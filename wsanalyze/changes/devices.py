"""Where the sums are computed: the CPU, without torch, or CUDA devices, through torch."""

import ctypes
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wsanalyze.changes.base import Kernel
from wsanalyze.changes.compiled import CompiledKernel, is_compiled, list_vectors
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.errors import MeasureError, UsageError

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
_MAX_THREADS: Final = 16


@dataclass(frozen=True, slots=True)
class Kernels:
    """What computes sums.

    Attributes:
        name: What it is called, for people.
        num_threads: How many threads may work at once, each with a kernel of its own.
        make: Makes the kernel of the Nth thread, in that thread.
    """

    name: str
    num_threads: int
    make: Callable[[int], Kernel]


def find_kernels(device: str) -> Kernels:
    """The kernels for a device.

    Args:
        device: "cpu", "cuda" for all its devices, "cuda:N", or "auto" for CUDA where the driver finds a device, else
            the CPU.

    Raises:
        UsageError: If the name is none of those.
        MeasureError: If CUDA is asked for and there is no such device.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, not {device!r}")
    if device == "cpu" or (device == "auto" and not has_cuda_driver()):
        return _host_kernels()
    import torch

    from wsanalyze.changes.torch_kernel import TorchKernel

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto" and not count:
        return _host_kernels()
    if not count or int(device.partition(":")[2] or 0) >= count:
        raise MeasureError(f"--device {device}: torch finds no such device here; use --device cpu")
    names = [device] if ":" in device else [f"cuda:{index}" for index in range(count)]
    return Kernels(", ".join(names), len(names), lambda index: TorchKernel(names[index]))


def _host_kernels() -> Kernels:
    threads = count_processors()
    if is_compiled():
        return Kernels(f"compiled ({list_vectors()[-1]})", threads, lambda _: CompiledKernel())
    return Kernels("NumPy", threads, lambda _: NumpyKernel())


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
