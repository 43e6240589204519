"""Sums on a torch device: CUDA, or the CPU by the same code, which is what tests run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import BandSide, IntArray, Pending
from wsanalyze.changes.kernels import NumpyKernel, allocate_aligned, measure_arrays
from wsanalyze.sums import SUM_NAMES, Sums


class TorchKernel:
    """Sums on a torch device, in float64; the same formulas as `NumpyKernel`, equal to it to 1e-6.

    Args:
        device: A torch device ("cuda:0"; "cpu" works too, and is what tests run).
    """

    depth = 0

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """See `Kernel.allocate`."""
        return allocate_aligned(nbytes)

    def load(self, side: BandSide) -> BandSide:
        """See `Kernel.load`."""
        return side

    def release(self, side: BandSide) -> None:
        """See `Kernel.release`."""

    def measure(self, before: BandSide, after: BandSide, segments: IntArray) -> Pending:
        """See `Kernel.measure`."""
        sums = np.empty((len(segments), len(SUM_NAMES)))
        for index, segment in enumerate(segments.tolist()):
            sums[index] = self._measure(before.elements(segment), after.elements(segment)).values
        return lambda: sums

    def _measure(self, before: NDArray[Any], after: NDArray[Any]) -> Sums:
        if before.dtype.kind == "c" or after.dtype.kind == "c" or not before.size:
            return measure_arrays(NumpyKernel(), before, after)
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
