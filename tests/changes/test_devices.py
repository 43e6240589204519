import numpy as np
import pytest

from wsanalyze.changes import devices
from wsanalyze.changes.devices import TorchKernel, has_cuda_driver, make_kernel
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.errors import MeasureError, UsageError


def test_the_cpu_is_numpy():
    assert isinstance(make_kernel("cpu"), NumpyKernel)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:1x", "CPU", "mps"])
def test_an_unknown_device_is_wrong_usage(name):
    with pytest.raises(UsageError, match="--device takes auto, cpu, cuda or cuda:N"):
        make_kernel(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:999"])
def test_a_device_that_is_not_there_is_told(name, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MeasureError, match="use --device cpu"):
        make_kernel(name)


def test_auto_is_the_cpu_where_the_driver_finds_nothing(monkeypatch):
    monkeypatch.setattr(devices, "has_cuda_driver", lambda: False)
    assert isinstance(make_kernel("auto"), NumpyKernel)


def test_auto_is_the_cpu_where_torch_was_built_without_cuda(monkeypatch):
    import torch

    monkeypatch.setattr(devices, "has_cuda_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(make_kernel("auto"), NumpyKernel)


def test_a_driver_that_cannot_be_loaded_is_no_driver(monkeypatch):
    def refuse(_name):
        raise OSError("no such library")

    monkeypatch.setattr(devices.ctypes, "CDLL", refuse)
    assert not has_cuda_driver()


@pytest.mark.cuda
@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")
def test_cuda_agrees_with_numpy():
    rng = np.random.default_rng(0)
    before, after = (rng.normal(size=100_000).astype(np.float32) for _ in range(2))
    ours, theirs = NumpyKernel().measure(before, after), TorchKernel("cuda").measure(before, after)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6)
