import numpy as np
import pytest

from wsanalyze.changes import devices
from wsanalyze.changes.compiled import CompiledKernel, is_compiled
from wsanalyze.changes.devices import find_kernels, has_cuda_driver
from wsanalyze.changes.kernels import NumpyKernel, measure_arrays
from wsanalyze.changes.torch_kernel import TorchKernel
from wsanalyze.errors import MeasureError, UsageError

HOST_KERNEL = CompiledKernel if is_compiled() else NumpyKernel


def test_the_cpu_has_a_kernel_for_each_thread():
    kernels = find_kernels("cpu")
    assert kernels.num_threads >= 1
    first, second = kernels.make(0), kernels.make(1)
    assert isinstance(first, HOST_KERNEL)
    assert first is not second


def test_the_cpu_is_numpy_where_nothing_was_compiled(monkeypatch):
    monkeypatch.setattr(devices, "is_compiled", lambda: False)
    kernels = find_kernels("cpu")
    assert kernels.name == "NumPy"
    assert isinstance(kernels.make(0), NumpyKernel)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:1x", "CPU", "mps"])
def test_an_unknown_device_is_wrong_usage(name):
    with pytest.raises(UsageError, match="--device takes auto, cpu, cuda or cuda:N"):
        find_kernels(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:999"])
def test_a_device_that_is_not_there_is_told(name, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MeasureError, match="use --device cpu"):
        find_kernels(name)


def test_auto_is_the_cpu_where_the_driver_finds_nothing(monkeypatch):
    monkeypatch.setattr(devices, "has_cuda_driver", lambda: False)
    assert isinstance(find_kernels("auto").make(0), HOST_KERNEL)


def test_auto_is_the_cpu_where_torch_was_built_without_cuda(monkeypatch):
    import torch

    monkeypatch.setattr(devices, "has_cuda_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(find_kernels("auto").make(0), HOST_KERNEL)


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
    ours, theirs = measure_arrays(NumpyKernel(), before, after), measure_arrays(TorchKernel("cuda"), before, after)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6)
