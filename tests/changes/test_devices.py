import numpy as np
import pytest

from wsanalyze import pipeline
from wsanalyze.changes import devices, torch_kernel
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


# With devices that are not there


@pytest.fixture
def two_devices(monkeypatch):
    """Two CUDA devices and eight processors; kernels are the names of their devices."""
    import torch

    monkeypatch.setattr(devices, "has_cuda_driver", lambda: True)
    monkeypatch.setattr(devices, "count_processors", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch_kernel, "TorchKernel", lambda name: name)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(("processors", "num_threads"), [(1, 2), (3, 3), (6, 6), (16, 6)])
def test_every_device_has_threads_of_its_own(monkeypatch, processors, num_threads):
    monkeypatch.setattr(devices, "count_processors", lambda: processors)
    kernels = find_kernels("cuda")
    assert (kernels.name, kernels.num_threads, kernels.pinned) == ("cuda:0, cuda:1", num_threads, True)
    made = [kernels.make(index) for index in range(num_threads)]
    assert set(made) == {"cuda:0", "cuda:1"}
    assert abs(made.count("cuda:0") - made.count("cuda:1")) <= 1


@pytest.mark.usefixtures("two_devices")
def test_one_device_of_several():
    kernels = find_kernels("cuda:1")
    assert {kernels.make(index) for index in range(kernels.num_threads)} == {"cuda:1"}
    with pytest.raises(MeasureError, match="cuda:2: torch finds no such device"):
        find_kernels("cuda:2")


@pytest.mark.usefixtures("two_devices")
def test_auto_takes_devices_where_they_save_more_than_their_start(monkeypatch):
    monkeypatch.setattr(devices, "is_compiled", lambda: True)
    monkeypatch.setattr(devices, "list_vectors", lambda: ("plain",))
    for processors, enough in ((1, 150e9), (2, 300e9)):
        monkeypatch.setattr(devices, "count_processors", lambda processors=processors: processors)
        kernels = find_kernels("auto")
        assert kernels.name == "compiled (plain)"
        assert kernels.choose(0) is kernels
        assert kernels.choose(int(enough / 2)) is kernels
        assert kernels.choose(int(enough)).name == "cuda:0, cuda:1"
    monkeypatch.setattr(devices, "count_processors", lambda: 8)  # they compute as fast as a device is fed
    assert find_kernels("auto").choose(10**15).name == "compiled (plain)"
    monkeypatch.setattr(devices, "is_compiled", lambda: False)
    assert find_kernels("auto").choose(5 * 10**9).name == "cuda:0, cuda:1"


def test_auto_stays_with_the_cpu_where_torch_finds_no_device_after_all(monkeypatch):
    import torch

    monkeypatch.setattr(devices, "has_cuda_driver", lambda: True)
    monkeypatch.setattr(devices, "is_compiled", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(find_kernels("auto").choose(10**12).make(0), NumpyKernel)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.usefixtures("two_devices")
def test_what_is_asked_for_by_name_is_used_for_any_bytes(device):
    kernels = find_kernels(device)
    assert all(kernels.choose(nbytes) is kernels for nbytes in (0, 10**15))


@pytest.mark.usefixtures("two_devices")
def test_a_walk_goes_by_the_kernels_that_its_bytes_are_worth(save_sequence, make_states, tmp_path, monkeypatch):
    """Chosen by the bytes that are not stored yet, and by nothing else."""
    asked, made = [], []

    def find(_):
        host = devices.Kernels("host", 1, lambda _: made.append("host") or NumpyKernel())
        device = devices.Kernels("device", 1, lambda _: made.append("device") or TorchKernel("cpu"))
        return devices.replace(host, instead=lambda: device)

    monkeypatch.setattr(pipeline, "find_kernels", find)
    monkeypatch.setattr(devices, "_pays", lambda nbytes, _: asked.append(nbytes) or nbytes >= 3 * 4 * 400)
    states = make_states(4, {"a.weight": (20, 20)})
    folder = save_sequence(tmp_path / "run", states[:3])
    pipeline.measure_run([str(folder)], tmp_path / "run.wsa")
    save_sequence(folder, states[3:], steps=[3])
    pipeline.measure_run([str(folder)], tmp_path / "run.wsa")
    assert asked == [3 * 4 * 400, 2 * 4 * 400]
    assert made == ["device", "host"]


@pytest.mark.cuda
@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")
def test_cuda_agrees_with_numpy():
    rng = np.random.default_rng(0)
    before, after = (rng.normal(size=100_000).astype(np.float32) for _ in range(2))
    ours, theirs = measure_arrays(NumpyKernel(), before, after), measure_arrays(TorchKernel("cuda"), before, after)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6)
