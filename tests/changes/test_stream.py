"""The walk over real files: what is read, how often, and that nothing but the weights decides the sums."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from wsanalyze.changes import base, plan, stream
from wsanalyze.changes.base import FailedCheckpointError
from wsanalyze.changes.compiled import CompiledKernel, is_compiled
from wsanalyze.changes.kernels import NumpyKernel
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import make_plan
from wsanalyze.changes.stream import stream_changes
from wsanalyze.choosing import SequenceOptions
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.layers.match import match_layers
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.series import State
from wsanalyze.sums import SUM_NAMES
from wsanalyze.tensors.files import read_tensors

LARGE = {"stem.weight": (90, 50), "blocks.0.fc.weight": (33, 31), "blocks.1.fc.weight": (200, 100), "head.bias": (7,)}


@pytest.fixture
def small_segments(monkeypatch):
    """Segments of 1,000 elements and bands of a few of them, so that small tensors are large."""
    monkeypatch.setattr(base, "SEGMENT_ELEMENTS", 1000)
    monkeypatch.setattr(plan, "MIN_MEMORY_BYTES", 20_000)


@pytest.fixture
def measure(tmp_path):
    """Measure a source into a run file of its own; returns the series."""
    counter = iter(range(1000))

    def run(source, *, memory_bytes=32_000_000, files=None, progress=None, run=None, **sequence):
        options = AnalyzeOptions(SequenceOptions(**sequence), memory_bytes=memory_bytes)
        path = run or tmp_path / "runs" / f"{next(counter)}.wsa"
        more = {} if files is None else {"files": files, "progress": progress or files.progress}
        return measure_run([str(source)], path, options, **more).series

    return run


def data_ranges(path, wanted):
    """Where the bytes of the wanted tensors lie in a safetensors file, from the library's own reader."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        import json

        header = json.loads(file.read(length))
    return {
        tuple(8 + length + offset for offset in header[name]["data_offsets"])
        for name in header
        if name != "__metadata__" and wanted(name)
    }


def merge(ranges):
    """Sorted ranges with those that touch put together; overlapping ones are an error."""
    merged = []
    for start, stop in sorted(ranges):
        if merged:
            assert start >= merged[-1][1], "read twice"
        if merged and start == merged[-1][1]:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("memory_bytes", [20_000, 100_000_000])
def test_every_needed_byte_is_read_exactly_once(
    save_sequence, make_states, watched_files, measure, tmp_path, memory_bytes
):
    folder = save_sequence(tmp_path / "run", make_states(4, LARGE))
    measure(folder, memory_bytes=memory_bytes, files=watched_files)
    for step in range(4):
        name = f"step_{step}.safetensors"
        read = [(offset, offset + length) for file, offset, length in watched_files.reads if file == name and length]
        expected = data_ranges(folder / name, lambda tensor: not tensor.endswith("bias"))
        assert merge(read) == merge(expected)


@pytest.mark.usefixtures("small_segments")
def test_memory_does_not_change_a_bit(save_sequence, make_states, measure, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(4, LARGE))
    first, *others = (measure(folder, memory_bytes=memory) for memory in (20_000, 33_333, 10**9))
    assert np.isfinite(first.sums.values).all()
    for other in others:
        assert other.sums.values.tobytes() == first.sums.values.tobytes()


def test_memory_of_the_command_line_does_not_change_a_bit(save_sequence, make_states, measure, tmp_path):
    """With real segments: a tensor of 5 M elements, larger than a band of --memory 32MB."""
    folder = save_sequence(tmp_path / "run", make_states(3, {"a.weight": (1800, 2900), "b.weight": (300, 200)}))
    small, large = (measure(folder, memory_bytes=memory) for memory in (32_000_000, 10**9))
    assert small.sums.values.tobytes() == large.sums.values.tobytes()
    assert (small.sums["n"][0] == 1800 * 2900).all()


@pytest.mark.skipif(not is_compiled(), reason="not compiled")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "complex64", "float8_e5m2"])
@pytest.mark.parametrize("num_checkpoints", [2, 3, 5])
def test_the_shortest_road_gives_the_bits_of_the_long_one(
    make_states, watched_files, measure, tmp_path, dtype, num_checkpoints, monkeypatch
):
    """Read by compiled code, in pieces, or by Python, band by band; with one element that is not finite."""
    shapes = {"a.weight": (1100, 1000), "b.weight": (700, 311)}
    states = make_states(num_checkpoints, shapes)
    states[1]["a.weight"][5, 7] = np.nan
    tensors = [{n: torch.from_numpy(a).to(getattr(torch, dtype)) for n, a in state.items()} for state in states]
    folder = save_torch(tmp_path / "run", tensors)
    direct = []
    original = CompiledKernel.walk
    monkeypatch.setattr(CompiledKernel, "walk", lambda *a: direct.append(1) or original(*a))
    short = measure(folder)
    assert direct
    direct.clear()
    long = measure(folder, files=watched_files)
    assert not direct
    assert short.sums.values.tobytes() == long.sums.values.tobytes()


@pytest.fixture
def planned(save_sequence, make_states, tmp_path):
    """Four checkpoints on disk, and how to plan some pairs of them; what they hold in float64."""
    states = make_states(4, {"a.weight": (3000, 1000), "b.weight": (500, 700)})
    folder = save_sequence(tmp_path / "run", states)
    files = [stat_file(folder / f"step_{step}.safetensors") for step in range(4)]
    sides = [read_tensors(LocalFiles(), [ref], [""]).infos["model"] for ref in files]
    places = Places.of(match_layers(sides, ["0", "1", "2", "3"], ordered=True))

    def plan_pairs(*pairs, num_threads=2):
        needed = np.ones((2, len(pairs)), dtype=bool)
        return places, make_plan(places, pairs, needed, 64_000_000, num_threads)

    plan_pairs.nbytes = sum(info.pieces[0].nbytes for side in sides for info in side.values())
    plan_pairs.arrays = [[state[name].astype(np.float64) for name in ("a.weight", "b.weight")] for state in states]
    return plan_pairs


ROADS = ["short", "long", "NumPy"]


def walk(road, places, plan, on_bytes=lambda _: None):
    """All batches of a plan by one of the roads."""

    class Asked(LocalFiles):
        """Wants to be asked for every byte, as anything but LocalFiles itself."""

    files = LocalFiles() if road == "short" else Asked()
    with files:
        kernel = NumpyKernel if road == "NumPy" else CompiledKernel
        return list(stream_changes(plan, places, files, lambda _: kernel(), on_bytes))


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_any_pairs_are_measured_in_one_walk(planned, road, num_threads):
    """Neighbours, from the first on, and every other one: what `from-first` and `coherence` are made of."""
    if road != "NumPy" and not is_compiled():
        pytest.skip("not compiled")
    pairs = ((0, 1), (1, 2), (2, 3), (0, 2), (0, 3), (1, 3))
    places, plan = planned(*pairs, num_threads=num_threads)
    assert plan.num_held == 4
    told = []
    found = np.zeros((2, len(pairs), 16))
    for batch in walk(road, places, plan, told.append):
        np.add.at(found, (batch.rows, batch.pair), batch.sums)
    assert sum(told) == planned.nbytes
    for pair, (before, after) in enumerate(pairs):
        for row in range(2):
            b, a = planned.arrays[before][row], planned.arrays[after][row]
            sums = dict(zip(SUM_NAMES, found[row, pair], strict=True))
            assert sums["n"] == sums["n_valid"] == a.size
            assert sums["l1_delta"] == pytest.approx(np.abs(a - b).sum(), rel=1e-6)
            assert sums["sq_before"] == pytest.approx((b * b).sum(), rel=1e-6)


@pytest.mark.parametrize(
    ("pairs", "held"),
    [
        (((0, 1),), 2),
        (((0, 1), (1, 2), (2, 3)), 2),
        (((0, 1), (0, 2), (0, 3)), 2),
        (((0, 1), (1, 2), (0, 2), (2, 3), (0, 3)), 3),
    ],
)
def test_no_more_sides_are_held_than_are_compared(planned, pairs, held):
    _, plan = planned(*pairs)
    assert plan.num_held == held


def test_a_side_that_nothing_needs_any_more_is_let_go_of_at_once(planned):
    """Successive changes stored, only those with the first checkpoint needed: no third side is held meanwhile."""
    places, plan = planned((0, 1), (0, 2), (0, 3), num_threads=1)
    assert plan.num_held == 2
    held, most = [], []

    class Watching(NumpyKernel):
        def load(self, side):
            held.append(id(side.data))
            most.append(len(held))
            return side

        def release(self, side):
            held.remove(id(side.data))

    with LocalFiles() as files:
        list(stream_changes(plan, places, files, lambda _: Watching(), lambda _: None))
    assert max(most) == 2
    assert held == []


@pytest.mark.parametrize("failing", ["consumer", "bytes"])
def test_threads_end_whatever_ends_the_walk(planned, failing, monkeypatch):
    """Even where nobody takes what they put into the queue any more."""
    monkeypatch.setattr(base, "SEGMENT_ELEMENTS", 2000)
    places, plan = planned((0, 1), (1, 2), (2, 3))

    def on_bytes(_num_bytes):
        if failing == "bytes":
            raise KeyboardInterrupt

    def take():
        with LocalFiles() as files:
            for _ in stream_changes(plan, places, files, lambda _: NumpyKernel(), on_bytes):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("band")]


def test_a_second_interrupt_does_not_leave_threads_waiting(planned, monkeypatch):
    places, plan = planned((0, 1), (1, 2), (2, 3))
    plan = replace(plan, bands=plan.bands * 50)  # more than the queue holds
    with LocalFiles() as files:
        walk = stream_changes(plan, places, files, lambda _: NumpyKernel(), lambda _: None)
        next(walk)
        time.sleep(0.3)  # the queue is full, and the threads wait for room in it
        monkeypatch.setattr(stream.ThreadPoolExecutor, "__exit__", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            walk.throw(KeyboardInterrupt)
        deadline = time.monotonic() + 20
        while any(thread.name.startswith("band") for thread in threading.enumerate()):
            assert time.monotonic() < deadline, "threads wait for ever"
            time.sleep(0.01)


def _interrupted(pool, *_error):
    """The second interrupt hits while the threads are waited for."""
    pool.shutdown(wait=False)
    raise KeyboardInterrupt


@pytest.mark.skipif(not is_compiled(), reason="not compiled")
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what is read")
def test_the_shortest_road_reads_every_byte_once(planned):
    def count_read():
        return int(Path("/proc/self/io").read_text().split()[1])

    places, plan = planned((0, 1), (1, 2), (2, 3), (0, 2), (0, 3))
    before = count_read()
    walk("short", places, plan)
    # What the count itself reads, and nothing else.
    assert planned.nbytes <= count_read() - before < planned.nbytes + 10_000


@pytest.mark.skipif(not is_compiled(), reason="not compiled")
def test_a_file_that_shrinks_is_told_by_the_shortest_road(planned, tmp_path):
    places, plan = planned((0, 1), (1, 2), (2, 3))
    path = tmp_path / "run" / "step_2.safetensors"
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(FailedCheckpointError, match=r"step_2.*was changed since it was listed") as failed:
        walk("short", places, plan)
    assert failed.value.side == 2


@pytest.mark.usefixtures("small_segments")
def test_buffers_stay_within_the_memory(save_sequence, make_states, measure, tmp_path, monkeypatch):
    from wsanalyze.changes import measure as measure_module

    seen = []
    original = measure_module.stream_changes

    def watch(plan, *arguments):
        seen.append(plan)
        return original(plan, *arguments)

    monkeypatch.setattr(measure_module, "stream_changes", watch)
    folder = save_sequence(tmp_path / "run", make_states(2, LARGE))
    measure(folder, memory_bytes=20_000)
    (planned,) = seen
    assert len(planned.bands) > 5
    assert planned.memory_bytes <= 20_000


@pytest.mark.usefixtures("small_segments")
def test_sharded_is_unsharded(save_sequence, make_states, measure, tmp_path):
    states = make_states(3, LARGE)
    whole = measure(save_sequence(tmp_path / "whole", states), memory_bytes=20_000)
    for step, state in enumerate(states):
        folder = tmp_path / "sharded" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        names = list(state)
        for shard, part in enumerate((names[:1], names[1:3], names[3:]), start=1):
            save_file({name: state[name] for name in part}, folder / f"model-{shard:05d}-of-00003.safetensors")
    sharded = measure(tmp_path / "sharded", memory_bytes=20_000)
    assert sharded.names == whole.names
    assert sharded.sums.values.tobytes() == whole.sums.values.tobytes()


def save_torch(folder, states):
    folder.mkdir(parents=True)
    for step, state in enumerate(states):
        torch.save(state, folder / f"step_{step}.pt")
    return folder


def by_name(series):
    return {name: series.sums.values[index] for index, name in enumerate(series.names)}


@pytest.mark.usefixtures("small_segments")
def test_every_format_gives_the_same_sums(save_sequence, make_states, measure, tmp_path):
    states = make_states(3, LARGE)
    safetensors = by_name(measure(save_sequence(tmp_path / "a", states), memory_bytes=20_000))
    tensors = [{name: torch.from_numpy(array) for name, array in state.items()} for state in states]
    torch_file = by_name(measure(save_torch(tmp_path / "b", tensors), memory_bytes=20_000))
    assert {name: sums.tobytes() for name, sums in torch_file.items()} == {
        name: sums.tobytes() for name, sums in safetensors.items()
    }


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("layout", ["transposed", "strided"])
@pytest.mark.parametrize("which", ["before", "after", "both", "middle of three"])
def test_layout_in_the_file_does_not_matter(make_states, measure, tmp_path, layout, which):
    shapes = {"w.weight": (60, 50), "v.weight": (4, 3)}
    states = [{n: torch.from_numpy(a) for n, a in state.items()} for state in make_states(3, shapes)]
    if which != "middle of three":
        states = states[:2]
    plain = by_name(measure(save_torch(tmp_path / "plain", states), memory_bytes=100_000))

    def relay(tensor):
        if layout == "transposed":
            return tensor.t().contiguous().t()
        wide = torch.zeros(tensor.shape[0], 2 * tensor.shape[1])
        wide[:, ::2] = tensor
        return wide[:, ::2]

    changed = {"before": (0,), "after": (1,), "both": (0, 1), "middle of three": (1,)}[which]
    odd = [{n: relay(t) if i in changed else t for n, t in state.items()} for i, state in enumerate(states)]
    assert not odd[changed[0]]["w.weight"].is_contiguous()
    found = by_name(measure(save_torch(tmp_path / "odd", odd), memory_bytes=100_000))
    for name, sums in plain.items():
        np.testing.assert_allclose(found[name], sums, rtol=1e-6)


@pytest.mark.usefixtures("small_segments")
def test_dense_tensors_of_one_other_order_are_read_in_pieces(make_states, watched_files, measure, tmp_path):
    states = [{"w.weight": torch.from_numpy(s["w.weight"]).t()} for s in make_states(2, {"w.weight": (90, 50)})]
    measure(save_torch(tmp_path / "run", states), memory_bytes=20_000, files=watched_files)
    lengths = [length for _, _, length in watched_files.reads]
    assert max(lengths) == 4000
    assert sum(lengths) == 2 * 90 * 50 * 4


@pytest.mark.usefixtures("small_segments")
def test_a_resized_tensor_compares_before_and_after_but_not_across(
    save_sequence, make_states, watched_files, measure, tmp_path
):
    small, large = make_states(2, {"w.weight": (30, 50)}), make_states(2, {"w.weight": (70, 50)}, seed=1)
    series = measure(save_sequence(tmp_path / "run", small + large), memory_bytes=20_000, files=watched_files)
    assert series.states.tolist() == [[None, State.RESIZED, None]]
    expected = [np.abs(b["w.weight"] - a["w.weight"]).sum() / np.abs(a["w.weight"]).sum() for a, b in (small, large)]
    np.testing.assert_allclose(series.metric()[0, [0, 2]], expected, rtol=1e-6)
    assert max(length for _, _, length in watched_files.reads) == 4000


@pytest.mark.usefixtures("small_segments")
def test_mixed_precision_of_the_sides(make_states, measure, tmp_path):
    states = [
        {n: torch.from_numpy(a).to(dtype) for n, a in state.items()}
        for state, dtype in zip(make_states(3, LARGE), (torch.float32, torch.bfloat16, torch.float64), strict=True)
    ]
    series = measure(save_torch(tmp_path / "run", states), memory_bytes=40_000)
    for index, name in enumerate(series.names):
        sides = [state[name].double().numpy() for state in states]
        for pair in range(2):
            expected = np.abs(sides[pair + 1] - sides[pair]).sum() / np.abs(sides[pair]).sum()
            assert series.metric()[index, pair] == pytest.approx(expected, rel=1e-9)


def test_empty_tensors_and_single_elements(save_sequence, measure, tmp_path):
    states = [
        {"empty.weight": np.zeros((0, 4), np.float32), "one.weight": np.full((1, 1), 1.0 + step, np.float32)}
        for step in range(3)
    ]
    series = measure(save_sequence(tmp_path / "run", states))
    assert series.names == ("empty.weight", "one.weight")
    np.testing.assert_array_equal(series.metric(), [[np.nan, np.nan], [1.0, 0.5]])
    assert series.metric_states().tolist() == [[State.ZERO, State.ZERO], [None, None]]


def test_progress_ends_at_its_total(save_sequence, make_states, measure, watched_files, tmp_path):
    told = []

    def progress(progress, /):
        told.append(progress)
        watched_files.progress(progress)

    measure(save_sequence(tmp_path / "run", make_states(3, LARGE)), files=watched_files, progress=progress)
    last = [p for p in told if p.stage == "measuring"]
    assert last[0].done == 0
    assert last[-1].done == last[-1].total == watched_files.num_bytes()
    assert [p.done for p in last] == sorted(p.done for p in last)


@pytest.mark.usefixtures("small_segments")
def test_sums_are_those_of_the_files(save_sequence, make_states, measure, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(3, LARGE))
    series = measure(folder, memory_bytes=20_000)
    arrays = []
    for step in range(3):
        with safe_open(folder / f"step_{step}.safetensors", "np") as file:
            arrays.append({name: file.get_tensor(name).astype(np.float64) for name in series.names})
    for index, name in enumerate(series.names):
        for pair in range(2):
            b, a = arrays[pair][name], arrays[pair + 1][name]
            expected = {"n": b.size, "l1_delta": np.abs(a - b).sum(), "sq_after": (a * a).sum()}
            expected["max_delta"] = np.abs(a - b).max()
            for key, value in expected.items():
                found = series.sums.values[index, pair, SUM_NAMES.index(key)]
                assert found == pytest.approx(value, rel=1e-6), key


# Tensors that lie in pieces or are computed


@pytest.fixture
def weight_norm_run(tmp_path):
    """Linear layers under weight normalisation along either axis and over all; returns the folder and their weights."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "run"
    folder.mkdir()
    sizes = {"rows": (60, 1), "columns": (1, 90), "one": (1, 1)}
    axes = {"rows": 1, "columns": 0, "one": None}
    v = {name: rng.normal(size=(60, 90)) for name in sizes}
    g = {name: 1 + rng.random(size) for name, size in sizes.items()}
    weights = []
    for step in range(4):
        state, whole = {}, {}
        for name, axis in axes.items():
            v[name], g[name] = v[name] + 0.1 * rng.normal(size=(60, 90)), g[name] * (1 + 0.1 * rng.random(sizes[name]))
            state[f"{name}.weight_v"] = torch.tensor(v[name])
            state[f"{name}.weight_g"] = torch.tensor(g[name] if axis is not None else g[name][0, 0])
            whole[f"{name}.weight"] = v[name] * g[name] / np.sqrt(np.square(v[name]).sum(axis=axis, keepdims=True))
        torch.save(state, folder / f"step_{step}.pt")
        weights.append(whole)
    return folder, weights


@pytest.mark.usefixtures("small_segments")
def test_derived_tensors_are_measured_in_segments(weight_norm_run, measure):
    folder, weights = weight_norm_run
    first, *others = (measure(folder, memory_bytes=memory) for memory in (20_000, 33_333, 10**9))
    assert set(first.names) == set(weights[0])
    for row, name in enumerate(first.names):
        for pair, (before, after) in enumerate(first.pairs):
            expected = np.abs(weights[after][name] - weights[before][name]).sum() / np.abs(weights[before][name]).sum()
            assert first.metric()[row, pair] == pytest.approx(expected, rel=1e-9)
    for other in others:
        assert other.sums.values.tobytes() == first.sums.values.tobytes()


@pytest.mark.usefixtures("small_segments")
def test_what_derived_tensors_are_computed_from_is_counted(weight_norm_run, measure):
    folder, _ = weight_norm_run
    seen = []

    class Counting(LocalFiles):
        num_bytes = 0

        def progress(self, progress, /):
            seen.append((progress, self.num_bytes))

        def read_into(self, file, offset, buffer):
            if seen and seen[-1][0].stage == "measuring":
                self.num_bytes += len(buffer)
            super().read_into(file, offset, buffer)

    with Counting() as files:
        measure(folder, files=files)
    last, num_bytes = seen[-1]
    assert last.done == last.total == num_bytes
