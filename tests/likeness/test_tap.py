"""Samples taken along are those that a file on disk gives, however its bytes come by and how often it is killed."""

import tempfile
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.likeness.find import Candidate, find_likeness
from wsanalyze.likeness.samples import plan_samples, read_sample
from wsanalyze.likeness.tap import SampleTap
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.files import read_tensors

SHAPES = {"a": (40, 40), "b": (3, 5), "c": (700, 9), "d": (200,)}


def save(folder, states):
    """Save states; returns their tensors by name and the files."""
    files = []
    for index, state in enumerate(states):
        save_file(state, folder / f"{index}.safetensors")
        files.append(stat_file(folder / f"{index}.safetensors"))
    with LocalFiles() as source:
        return [read_tensors(source, [file], [""]).infos["model"] for file in files], files


def walk(num, seed=0, shapes=None):
    rng = np.random.default_rng(seed)
    steps = [{n: rng.normal(size=s).astype(np.float32) for n, s in (shapes or SHAPES).items()} for _ in range(num)]
    for index in range(1, num):
        for name in steps[0]:
            steps[index][name] = steps[index - 1][name] + np.float32(0.01) * steps[index][name]
    return steps


def expected(sides):
    plan = plan_samples(sides)
    with LocalFiles() as source:
        return [read_sample(plan, side, source) for side in sides]


def found(tap, store, num):
    """What the run file holds of every side."""
    shape = len(tap._plan.shapes), tap._plan.num_elements
    facts = [store.find_fact(str(index), tap._key) for index in range(num)]
    return [None if fact is None else np.frombuffer(zlib.decompress(fact), "<f4").reshape(shape) for fact in facts]


def read(tap, file, start, stop):
    tap.expect(file, [(start, stop - start)])
    tap.read_into(file, start, memoryview(bytearray(stop - start)))
    tap.verify(file)


@given(
    cuts=st.lists(st.integers(0, 32_000), max_size=12),
    kills=st.sets(st.integers(0, 12)),
    seed=st.integers(0, 5),
)
def test_samples_are_those_of_the_files_whatever_the_pieces_and_the_kills(cuts, kills, seed):
    """Bands in turn, each at all checkpoints; whoever is killed goes on with the next band."""
    with tempfile.TemporaryDirectory() as place, LocalFiles() as source:
        sides, files = save(Path(place), walk(3, seed))
        edges = sorted({0, files[0].size, *(cut for cut in cuts if cut < files[0].size)})
        identities = [str(index) for index in range(3)]
        store = RunFile.create(Path(place) / "run.wsa", source="x")
        tap = SampleTap(source, sides, identities, store)
        for number, (start, stop) in enumerate(pairwise(edges)):
            for file in files:
                read(tap, file, start, stop)
            store.add("row", "0", "1", _some_sums())
            store.commit()
            if number in kills:
                store.close()
                store = RunFile.create(Path(place) / "run.wsa", source="x")
                tap = SampleTap(source, sides, identities, store)
        for sample, wanted in zip(found(tap, store, 3), expected(sides), strict=True):
            np.testing.assert_array_equal(sample, wanted)
        # What is there is not taken again.
        assert SampleTap(source, sides, identities, store)._by_side == {}
        store.close()


def _some_sums():
    from wsanalyze.changes.kernels import NumpyKernel, measure_arrays

    return measure_arrays(NumpyKernel(), np.ones(3, np.float32), np.ones(3, np.float32))


@pytest.fixture
def store(tmp_path):
    with RunFile.create(tmp_path / "run.wsa", source="x") as opened:
        yield opened


def test_equal_files_fill_the_samples_of_all_that_have_them(tmp_path, store):
    states = walk(3)
    sides, files = save(tmp_path, states[:2])
    sides, files = [*sides, sides[1]], [*files, files[1]]
    with LocalFiles() as source:
        tap = SampleTap(source, sides, ["0", "1", "2"], store)
        for file in files[:2]:
            read(tap, file, 0, file.size)
    samples = found(tap, store, 3)
    np.testing.assert_array_equal(samples[2], expected(sides)[1])
    np.testing.assert_array_equal(samples[2], samples[1])


def test_tensors_that_never_come_by_are_left_out_and_the_others_told(tmp_path, store):
    """Of swapped checkpoints only one tensor is read, since no other compares."""
    states = walk(12)
    states[3], states[9] = states[9], states[3]
    sides, files = save(tmp_path, states)
    with LocalFiles() as source:
        tap = SampleTap(source, sides, [str(index) for index in range(12)], store)
        for side, file in zip(sides, files, strict=True):
            piece = side["c"].pieces[0]
            read(tap, file, piece.offset, piece.offset + piece.nbytes)
    assert found(tap, store, 12) == [None] * 12
    events = tap.tell_misplaced(range(12), [f"step {index}" for index in range(12)], list(range(12)))
    assert [event.evidence["swapped"] for event in events] == [[3, 9]]


def test_misplaced_checkpoints_are_told_as_on_disk(tmp_path, store):
    states = walk(12, shapes={"a": (40, 40), "c": (70, 90)})
    states[3], states[9] = states[9], states[3]
    sides, files = save(tmp_path, states)
    names, steps, identities = ([kind(i) for i in range(12)] for kind in (lambda i: f"step {i}", int, str))
    with LocalFiles() as source:
        tap = SampleTap(source, sides, identities, store)
        for file in files:
            read(tap, file, 0, file.size)
        here = tap.tell_misplaced(range(12), names, steps)
        candidates = [
            Candidate(names[i], f"local {i}", f"{i}", proven=True, tensors=sides[i], held=sides[i], step=i)
            for i in range(12)
        ]
        on_disk = find_likeness(candidates, source, store, lambda _: None).events
    assert here
    assert [(event.kind, event.checkpoint, event.text) for event in here] == [
        (event.kind, event.checkpoint, event.text) for event in on_disk
    ]


def test_a_hundred_checkpoints_take_little_memory(tmp_path, store):
    shapes = {f"layer{index:03d}": (64, 64) for index in range(200)}
    (side, _), _ = save(tmp_path, walk(2, shapes=shapes))
    with LocalFiles() as source:
        tap = SampleTap(source, [side] * 100, [str(index) for index in range(100)], store)
    held = sum(run.data.nbytes for runs in tap._by_side.values() for run in runs)
    assert held <= 100 * 40_000


def test_nothing_to_sample_is_no_fault(tmp_path, store):
    sides, files = save(tmp_path, [{"a": np.zeros((3, 3), np.int32)}, {"a": np.ones((3, 3), np.int32)}])
    with LocalFiles() as source:
        tap = SampleTap(source, sides, ["0", "1"], store)
        for file in files:
            read(tap, file, 0, file.size)
        assert tap.tell_misplaced([0, 1], ["a", "b"], [0, 1]) == []
