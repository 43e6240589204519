"""Where the sums are computed: the CPU, without torch, or a CUDA device, through torch."""

import ctypes
import re
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import Kernel
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.errors import MeasureError, UsageError
from wsanalyze.sums import SUM_NAMES, Sums

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d+)?")


def make_kernel(device: str) -> Kernel:
    """The kernel for a device.

    Args:
        device: "cpu", "cuda", "cuda:N", or "auto" for CUDA where the driver finds a device, else the CPU.

    Raises:
        UsageError: If the name is none of those.
        MeasureError: If CUDA is asked for and there is no such device.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, not {device!r}")
    if device == "cpu" or (device == "auto" and not has_cuda_driver()):
        return NumpyKernel()
    import torch

    usable = torch.cuda.is_available()
    if device == "auto":
        return TorchKernel("cuda") if usable else NumpyKernel()
    if not usable or int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise MeasureError(f"--device {device}: torch finds no such device here; use --device cpu")
    return TorchKernel(device)


def has_cuda_driver() -> bool:
    """Whether the CUDA driver finds a device; asked of the driver itself, since importing torch takes seconds."""
    name = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


class TorchKernel:
    """Sums on a torch device, in float64; the same formulas as `NumpyKernel`, equal to it to 1e-6.

    Args:
        device: A torch device ("cuda:0"; "cpu" works too, and is what tests run).
    """

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)

    def measure(self, before: NDArray[Any], after: NDArray[Any]) -> Sums:
        """See `Kernel.measure`."""
        if before.dtype.kind == "c" or after.dtype.kind == "c" or not before.size:
            return NumpyKernel().measure(before, after)
        torch = self._torch
        b, a = self._load(before), self._load(after)
        bad_before, bad_after = ~torch.isfinite(b), ~torch.isfinite(a)
        bad = bad_before | bad_after
        b, a = b.masked_fill(bad, 0.0), a.masked_fill(bad, 0.0)
        d = a - b
        abs_b, abs_d = b.abs(), d.abs()
        nonzero = abs_b > 0
        values = {
            "n": torch.tensor(float(before.size), device=self._device, dtype=torch.float64),
            "n_valid": (~bad).sum(),
            "nonfinite_before": bad_before.sum(),
            "nonfinite_after": bad_after.sum(),
            "l1_delta": abs_d.sum(),
            "l1_before": abs_b.sum(),
            "l1_after": a.abs().sum(),
            "sq_delta": (d * d).sum(),
            "sq_before": (b * b).sum(),
            "sq_after": (a * a).sum(),
            "dot_before_delta": (b * d).sum(),
            "max_delta": abs_d.max(),
            "changed": (d != 0).sum(),
            "sign_flips": (torch.sign(b) != torch.sign(a)).sum(),
            "rel_sum": torch.where(nonzero, abs_d / torch.where(nonzero, abs_b, 1.0), 0.0).sum(),
            "rel_n": nonzero.sum(),
        }
        stacked = torch.stack([values[name].to(torch.float64) for name in SUM_NAMES])
        return Sums(np.array(stacked.cpu().numpy(), dtype=np.float64))

    def _load(self, elements: NDArray[Any]) -> Any:  # noqa: ANN401 - a tensor; torch is imported lazily
        torch = self._torch
        native = elements.astype(elements.dtype.newbyteorder("="), copy=False)
        if native.dtype.kind == "f" and native.dtype.name.startswith("float") and "_" not in native.dtype.name:
            loaded = torch.from_numpy(np.array(native))
        else:  # bfloat16 and float8, which NumPy knows through ml_dtypes and torch by itself
            raw = torch.from_numpy(np.array(native.view(np.uint8)))
            loaded = raw.view(getattr(torch, native.dtype.name))
        return loaded.to(self._device).to(torch.float64)
