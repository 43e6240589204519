"""Sums on a torch device, by the same code on the CPU: in batches, beside copies, in memory that runs out."""

import weakref
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from wsanalyze import pipeline
from wsanalyze.changes import base, plan
from wsanalyze.changes.base import SWAPPED, TYPES, BandSide, DeviceMemoryError, type_of
from wsanalyze.changes.devices import Kernels, has_cuda_driver
from wsanalyze.changes.kernels import NumpyKernel, measure_arrays
from wsanalyze.changes.torch_kernel import TorchKernel
from wsanalyze.changes.torch_rows import LANE, SLACK_BYTES
from wsanalyze.changes.torch_streams import HostStreams, Upload
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.sums import SUM_NAMES

COUNTS = [SUM_NAMES.index(n) for n in ("n", "n_valid", "nonfinite_before", "nonfinite_after", "rel_n", "changed")]
REAL = [code for code, name in enumerate(TYPES) if not name.startswith("complex")]
needs_cuda = [pytest.mark.cuda, pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")]
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]


class LateStreams(HostStreams):
    """Copies nothing before it is waited for, and brings nothing back before that: what a busy device may do."""

    def upload(self, data, room):
        there = torch.full((room,), 0xFF, dtype=torch.uint8)

        def copy():
            there[: data.size].copy_(torch.from_numpy(data))
            upload.copied = lambda: None

        upload = Upload(there, copy)
        return upload

    def use(self, upload):
        upload.copied()
        return upload.data

    def fetch(self, sums):
        here = np.full(sums.shape, np.nan)
        return here, lambda: np.copyto(here, sums.numpy())


class SmallStreams(HostStreams):
    """A device with room for sides of so many bytes, and no more."""

    def __init__(self, most):
        self.most = most
        self.refused = []

    def upload(self, data, room):
        if data.size > self.most:
            self.refused.append(data.size)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate much\nand more")
        return super().upload(data, room)


def draw(rng, code, size):
    dtype = type_of(code)
    if dtype.kind == "c":
        return (rng.normal(size=size) + 1j * rng.normal(size=size)).astype(dtype)
    return (rng.normal(size=size) * 0.5).astype(dtype.newbyteorder("=")).astype(dtype)


def put_together(parts, gaps):
    """One side of several segments, with so many bytes before each."""
    data, offsets = bytearray(), []
    for (_, elements), gap in zip(parts, gaps, strict=True):
        data += b"\xff" * gap
        offsets.append(len(data))
        data += elements.tobytes()
    codes, numels = [code for code, _ in parts], [elements.size for _, elements in parts]
    return BandSide(np.array(data, dtype=np.uint8), *map(np.array, (offsets, codes, numels)), len(data))


def measure(kernel, before, after, segments):
    loaded = kernel.load(before), kernel.load(after)
    pending = kernel.measure(*loaded, np.array(segments, dtype=np.int64))
    for side in loaded:
        kernel.release(side)
    return pending()


def make_sides(seed, sizes, codes=None):
    """Two sides of segments of any types, that lie anywhere."""
    rng = np.random.default_rng(seed)
    every = [*REAL, *(code + SWAPPED for code in REAL)]
    pairs = codes or [rng.choice(every, 2).tolist() for _ in sizes]
    sides = [
        [(pair[side], draw(rng, pair[side], size)) for pair, size in zip(pairs, sizes, strict=True)] for side in (0, 1)
    ]
    return [put_together(parts, rng.integers(0, 9, len(parts)).tolist()) for parts in sides]


sizes_of_segments = st.lists(
    st.sampled_from([0, 1, 7, 300, LANE - 1, LANE, LANE + 1, 20 * LANE + 5]), min_size=1, max_size=6
)


@pytest.mark.parametrize("device", DEVICES)
@given(seed=st.integers(0, 2**32), sizes=sizes_of_segments)
@settings(max_examples=40)
def test_segments_of_any_types_and_places_are_measured_as_numpy_does(device, seed, sizes):
    sides = make_sides(seed, sizes)
    everything = range(len(sizes))
    ours, theirs = measure(TorchKernel(device), *sides, everything), measure(NumpyKernel(), *sides, everything)
    assert ours[:, COUNTS].tolist() == theirs[:, COUNTS].tolist()
    scale = np.sqrt(theirs[:, SUM_NAMES.index("sq_before")] * theirs[:, SUM_NAMES.index("sq_delta")])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * scale.max())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(6))
def test_what_else_is_measured_does_not_change_a_bit(device, seed):
    sizes = [5, LANE, 40 * LANE + 17, 1, 0, 2 * LANE, 700]
    sides = make_sides(seed, sizes, [(2, 0), (0, 0), (3, 3), (2, 0), (0, 0), (0, 0), (3, 3)])
    kernel = TorchKernel(device)
    together = measure(kernel, *sides, range(len(sizes)))
    order = np.random.default_rng(seed).permutation(len(sizes))
    assert measure(kernel, *sides, order).tobytes() == together[order].tobytes()
    for segment in range(len(sizes)):
        assert measure(TorchKernel(device), *sides, [segment]).tobytes() == together[segment].tobytes()


@pytest.mark.parametrize("device", DEVICES)
def test_a_place_in_a_tile_does_not_change_a_bit(device):
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=300) for _ in range(2)]
    num = 1500  # rows of several tiles
    sides = [put_together([(1, elements)] * num, [0] * num) for elements in weights]
    sums = measure(TorchKernel(device), *sides, range(num))
    assert (sums == sums[0]).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("code", [code for code in REAL if type_of(code).itemsize <= 2])
def test_every_value_of_every_small_type_is_what_numpy_says(device, code):
    dtype = type_of(code)
    values = np.arange(256**dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)
    kernel, before = TorchKernel(device), np.zeros(1, dtype=dtype)
    elements = values if dtype.itemsize == 1 else values[::101]
    sides = [
        put_together([(code, np.array([value])) for value in side], [0] * len(elements))
        for side in (np.repeat(before, len(elements)), elements)
    ]
    sums = measure(kernel, *sides, range(len(elements)))
    with np.errstate(all="ignore"):
        wide = elements.astype(np.float64)
    expected = np.where(np.isfinite(wide), np.abs(wide), 0.0)
    assert sums[:, SUM_NAMES.index("l1_after")].tolist() == expected.tolist()
    assert sums[:, SUM_NAMES.index("nonfinite_after")].tolist() == (~np.isfinite(wide)).tolist()


def test_weights_that_must_not_be_written_to_are_loaded():
    weights = np.ones(5, dtype=np.float32)
    weights.flags.writeable = False
    assert measure_arrays(TorchKernel("cpu"), weights, weights)["l1_before"] == 5


@pytest.mark.parametrize("device", DEVICES)
def test_complex_segments_lie_beside_others(device):
    sides = make_sides(2, [50, 50, 50], [(0, 0), (TYPES.index("complex64"), 0), (3, 3)])
    ours, theirs = measure(TorchKernel(device), *sides, [2, 1, 0]), measure(NumpyKernel(), *sides, [2, 1, 0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


# Waiting


def test_sums_are_right_when_they_are_asked_for_after_all_else():
    sides = make_sides(3, [900, 70_000, 5])
    expected = measure(TorchKernel("cpu"), *sides, range(3))
    kernel = TorchKernel("cpu", LateStreams())
    before, after = (kernel.load(side) for side in sides)
    pending = [kernel.measure(before, after, np.array([segment])) for segment in range(3)]
    for side in (before, after):
        kernel.release(side)
        side.host.data[:] = 0xFF  # the next side is read into it
    assert np.concatenate([wait() for wait in pending]).tobytes() == expected.tobytes()


def test_a_side_that_was_never_measured_has_left_its_buffer_when_it_is_released():
    streams = LateStreams()
    kernel = TorchKernel("cpu", streams)
    side = kernel.load(BandSide.of(np.arange(5, dtype=np.uint8).view(ml_dtypes.float8_e5m2)))
    there = side.upload.data
    kernel.release(side)
    assert there[:5].tolist() == [0, 1, 2, 3, 4]
    assert side.upload.data.numel() == 0


def test_a_full_device_is_told_in_one_line():
    kernel = TorchKernel("cpu", SmallStreams(10))
    with pytest.raises(DeviceMemoryError) as failed:
        kernel.load(BandSide.of(np.zeros(100, dtype=np.float32)))
    assert str(failed.value) == "CUDA out of memory. Tried to allocate much"


# Whole walks


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(base, "SEGMENT_ELEMENTS", 1000)
    monkeypatch.setattr(plan, "MIN_MEMORY_BYTES", 20_000)


@pytest.fixture
def folder(tmp_path):
    """Four checkpoints of several types, one of which changes on the way, and a weight that is not finite."""
    torch.manual_seed(0)
    state = {
        "a.weight": torch.randn(70, 100),
        "b.weight": torch.randn(3, 11).to(torch.bfloat16),
        "c.weight": torch.randn(120, 40).to(torch.float16),
        "d.weight": torch.randn(9, 9, dtype=torch.float64),
        "e.weight": torch.randn(33, 31).to(torch.float8_e5m2),
        "f.weight": torch.complex(torch.randn(20, 20), torch.randn(20, 20)),
    }
    place = tmp_path / "sequence"
    place.mkdir()
    for step in range(4):
        saved = {
            name: (w.to(torch.complex128 if w.is_complex() else torch.float32) * (1 + step / 100)).to(w.dtype)
            for name, w in state.items()
        }
        if step == 2:
            saved["a.weight"] = saved["a.weight"].to(torch.float16)
            saved["c.weight"][7, 7] = torch.nan
        save_file(saved, place / f"step_{step}.safetensors")
    return place


@pytest.fixture
def walk(monkeypatch, folder, tmp_path):
    """Measure the folder by kernels of any kind; returns the sums."""
    counter = iter(range(100))

    def run(make, *, num_threads=1, memory_bytes=32_000_000, **more):
        kernels = Kernels("any", num_threads, make, **more)
        monkeypatch.setattr(pipeline, "find_kernels", lambda _: kernels)
        options = AnalyzeOptions(memory_bytes=memory_bytes)
        return measure_run([str(folder)], tmp_path / f"{next(counter)}.wsa", options).series.sums.values

    return run


@pytest.mark.parametrize("device", DEVICES)
def test_a_walk_gives_the_sums_of_numpy(walk, device):
    ours, theirs = walk(lambda _: TorchKernel(device)), walk(lambda _: NumpyKernel())
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert theirs[..., SUM_NAMES.index("nonfinite_after")].sum() == 1


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("device", DEVICES)
def test_neither_memory_nor_threads_change_a_bit(walk, device):
    first = walk(lambda _: TorchKernel(device), memory_bytes=64_000)
    for num_threads, memory_bytes in ((1, 10**8), (3, 96_000), (2, 10**8)):
        other = walk(lambda _: TorchKernel(device), num_threads=num_threads, memory_bytes=memory_bytes, pinned=True)
        assert other.tobytes() == first.tobytes()


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("memory_bytes", [150_000, 10**8])
def test_memory_that_is_pinned_in_powers_of_two_keeps_within_the_memory_allowed(walk, num_threads, memory_bytes):
    asked = []

    class Pinning(HostStreams):
        def allocate(self, nbytes):
            asked.append(2 ** (nbytes - 1).bit_length())
            return super().allocate(nbytes)

    walk(lambda _: TorchKernel("cpu", Pinning()), num_threads=num_threads, memory_bytes=memory_bytes, pinned=True)
    assert 2 <= len(asked) <= 2 * num_threads
    assert sum(asked) <= memory_bytes


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_walk_waits_for_what_is_on_its_way(walk, num_threads):
    late = walk(lambda _: TorchKernel("cpu", LateStreams()), num_threads=num_threads, memory_bytes=64_000)
    assert late.tobytes() == walk(lambda _: TorchKernel("cpu")).tobytes()


@pytest.mark.usefixtures("small_segments")
def test_a_full_device_halves_the_band_and_those_that_follow(walk):
    expected = walk(lambda _: TorchKernel("cpu"))
    streams = SmallStreams(17_000)
    options = {"memory_bytes": 80_000, "band_bytes": 2**15}
    assert walk(lambda _: TorchKernel("cpu", streams), **options).tobytes() == expected.tobytes()
    assert streams.refused == sorted(streams.refused, reverse=True)
    assert 1 <= len(streams.refused) <= 2  # not once for every band, or checkpoint


@pytest.mark.usefixtures("small_segments")
def test_what_torch_keeps_is_given_back_once_the_sides_of_a_full_device_were_released(walk, monkeypatch):
    sides, alive = [], []

    class FullWhenAsked(HostStreams):
        def upload(self, data, room):
            upload = super().upload(data, room)
            sides.append(weakref.ref(upload.data))
            return upload

        def send(self, numbers):
            if sides[-1]().numel() > 17_000 + SLACK_BYTES:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().send(numbers)

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(sum(side() is not None for side in sides)))
    walk(lambda _: TorchKernel("cpu", FullWhenAsked()), memory_bytes=80_000, band_bytes=2**15)
    assert alive
    assert set(alive) == {0}


@pytest.mark.usefixtures("small_segments")
def test_a_device_without_room_for_one_segment_is_told(walk):
    with pytest.raises(MemoryError, match="no room for a part of a tensor: CUDA out of memory"):
        walk(lambda _: TorchKernel("cpu", SmallStreams(1000)))


@pytest.mark.cuda
@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")
def test_cuda_agrees_with_the_cpu():
    sides = make_sides(9, [100_000, 5, 2**20, 3 * LANE])
    ours, theirs = (measure(TorchKernel(device), *sides, range(4)) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9)


@pytest.mark.cuda
@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")
def test_buffers_for_cuda_are_pinned_and_aligned():
    buffer = TorchKernel("cuda").allocate(1_000_001)
    assert buffer.shape == (1_000_001,)
    assert buffer.ctypes.data % 64 == 0
    assert torch.from_numpy(buffer).is_pinned()


@pytest.mark.cuda
@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")
def test_pinned_buffers_are_read_into_again_while_cuda_is_busy():
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(9, 2**20)).astype(np.float32)
    offsets, codes, numels = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.array([2**20])
    kernel = TorchKernel("cuda")
    buffers = [kernel.allocate(4 * 2**20) for _ in range(2)]
    held, pending = None, []
    for index, state in enumerate(weights):
        buffer = buffers[index % 2]
        buffer[:] = state.view(np.uint8)
        side = kernel.load(BandSide(buffer, offsets, codes, numels, buffer.size))
        if held is not None:
            pending.append(kernel.measure(held, side, np.array([0])))
            kernel.release(held)
        held = side
    kernel.release(held)
    expected = [measure_arrays(NumpyKernel(), *pair) for pair in pairwise(weights)]
    for wait, sums in zip(pending, expected, strict=True):
        np.testing.assert_allclose(wait()[0], sums.values, rtol=1e-9)


@pytest.mark.cuda
@pytest.mark.skipif(not has_cuda_driver(), reason="no CUDA device here")
def test_cuda_that_is_full_halves_the_band(monkeypatch, save_sequence, tmp_path):
    rng = np.random.default_rng(5)
    names = [f"layers.{index}.weight" for index in range(12)]
    states = [{name: rng.normal(size=(2048, 2048)).astype(np.float32) for name in names} for _ in range(2)]
    folder = save_sequence(tmp_path / "sequence", states)
    tried = []

    class Watched(TorchKernel):
        def load(self, side):
            tried.append(side.nbytes)
            return super().load(side)

    def run(name, band_bytes):
        tried.clear()
        kernels = Kernels("any", 1, lambda _: Watched("cuda"), band_bytes, pinned=True)
        monkeypatch.setattr(pipeline, "find_kernels", lambda _: kernels)
        options = AnalyzeOptions(memory_bytes=2**30)
        return measure_run([str(folder)], tmp_path / name, options).series.sums.values

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    expected = run("small.wsa", 2**24)
    needed = torch.cuda.max_memory_reserved() + 250e6
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(needed / torch.cuda.get_device_properties(0).total_memory)
    try:
        ours = run("large.wsa", 2**28)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tried[0] == 12 * 2**24
    assert min(tried) < tried[0]
    assert ours.tobytes() == expected.tobytes()
