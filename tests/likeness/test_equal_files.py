from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.likeness.equal_files import leave_equal_files_out
from wsanalyze.tensors.base import Piece, TensorInfo

NUMEL = 4096


def make(index, content, **changes):
    """A checkpoint of one file far away, whose hash is its content."""
    file = FileRef(f"hf://a/b@step{index}/m", 4 * NUMEL, f"sha256:{content}", 0, remote=True)
    return replace(Checkpoint(index, f"step{index}", f"hf://a/b@step{index}", (file,), ("",)), **changes)


class Files:
    """Files whose bytes are a straight line in their content; counts what is read."""

    def __init__(self, broken=(), unreadable=()):
        self.read, self.broken = [], broken
        self.unreadable = [f"sha256:{content}" for content in unreadable]

    def tensors(self, checkpoint):
        file = checkpoint.files[0]
        if file.stamp in self.unreadable:
            return {}
        return {"w": TensorInfo("w", "float32", (64, 64), (Piece(file, 0, 4 * NUMEL),))}

    def read_into(self, file, offset, buffer):
        content = int(file.stamp.partition(":")[2])
        self.read.append((file.url, len(buffer)))
        if content in self.broken:
            raise CheckpointError("cannot be read", file.url)
        start, drift = np.random.default_rng(0).standard_normal((2, NUMEL)).astype("<f4")
        values = (start + np.float32(0.01 * content) * drift).tobytes()
        buffer[:] = values[offset : offset + len(buffer)]

    def expect(self, file, spans):
        """Nothing to prepare."""

    def verify(self, file):
        """Nothing changes."""

    def close(self):
        """Nothing is open."""


def mark(contents, broken=(), unreadable=(), **changes):
    files = Files(broken, unreadable)
    found = leave_equal_files_out([make(i, c, **changes) for i, c in enumerate(contents)], files.tensors, files)
    return *found, files


@given(st.lists(st.integers(0, 30), min_size=1, max_size=9))
def test_of_every_set_of_equal_files_one_is_kept(contents):
    marked, found, files = mark(contents)
    kept = [content for content, c in zip(contents, marked, strict=True) if c.duplicate_of is None]
    assert sorted(kept) == sorted(set(contents))
    assert sum(len(one.copies) for one in found) == len(contents) - len(kept)
    for one in found:
        held = {content for content, c in zip(contents, marked, strict=True) if c.origin in (one.kept, *one.copies)}
        assert len(held) == 1
    assert bool(files.read) == bool(found)
    assert all(nbytes <= NUMEL for _, nbytes in files.read)


@given(st.integers(5, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1), st.integers(0, n - 1))))
def test_the_one_that_stands_where_it_belongs_is_kept(case):
    count, belongs, wrong = case
    contents = [belongs if index == wrong else index for index in range(count)]
    marked, _, _ = mark(contents)
    # Two neighbours of a straight line fit either place between the others.
    if abs(wrong - belongs) > 1:
        assert [c.duplicate_of is not None for c in marked] == [index == wrong for index in range(count)]


def test_where_all_are_equal_the_first_is_kept():
    marked, (one,), _ = mark([7, 7, 7])
    assert [c.duplicate_of is None for c in marked] == [True, False, False]
    assert "step1 and step2 hold the same files as step0" in one.text


def test_neighbours_that_cannot_be_read_do_not_hinder():
    marked, (one,), _ = mark([5, 2, 3, 4, 5, 6], broken=(2, 6))
    assert one.copies
    assert sum(c.duplicate_of is not None for c in marked) == 1


@pytest.mark.parametrize("unreadable", [(2,), (6,), (4, 6), (2, 3), (9,)])
def test_in_place_of_neighbours_without_headers_the_next_ones_decide(unreadable):
    contents = [5, 2, 3, 4, 5, 6, 7, 9, 9]
    marked, _, _ = mark(contents, unreadable=unreadable)
    assert [index for index, c in enumerate(marked) if c.duplicate_of] == [0, 8]


@pytest.mark.parametrize("changes", [{"problem": "broken"}, {"files": (), "prefixes": ()}])
def test_what_is_broken_or_empty_is_no_copy(changes):
    assert mark([1, 1], **changes)[1] == ()


def test_files_on_disk_and_files_read_in_another_way_are_no_copies():
    near = [replace(c, files=(replace(c.files[0], remote=False),)) for c in (make(0, 1), make(1, 1))]
    files = Files()
    assert leave_equal_files_out(near, files.tensors, files)[1] == ()
    other = [make(0, 1), make(1, 1, prefixes=("unet.",)), make(2, 1, layout="other")]
    assert leave_equal_files_out(other, files.tensors, files)[1] == ()
    assert not files.read
