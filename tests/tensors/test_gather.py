"""Elements of tensors that lie in one piece, in many, or are computed: those of a whole array, each byte read once."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.dtypes import DTYPES, numpy_dtype
from wsanalyze.tensors.gather import BLOCK_ELEMENTS, ElementReader, check_cover, count_bytes

WEIGHTS = sorted(name for name, dtype in DTYPES.items() if dtype.floating)


class Memory:
    """Files that are bytes in memory, and count how often each byte was read."""

    def __init__(self, *files):
        self.files = {f"f{index}": bytes(data) for index, data in enumerate(files)}
        self.counts = {name: np.zeros(len(data), dtype=int) for name, data in self.files.items()}

    def ref(self, index=0):
        return FileRef(f"f{index}", len(self.files[f"f{index}"]), "")

    def read_into(self, file, offset, buffer):
        data = self.files[file.url][offset : offset + len(buffer)]
        assert len(data) == len(buffer)
        buffer[:] = data
        self.counts[file.url][offset : offset + len(buffer)] += 1


@st.composite
def cuts(draw, size):
    """Edges that cut a length into parts."""
    inner = draw(st.sets(st.integers(1, size - 1), max_size=3)) if size > 1 else set()
    return [0, *sorted(inner), size]


@st.composite
def arrays(draw, *, min_axes=0):
    """Any elements of any floating dtype in either order of bytes, bits at will."""
    name = draw(st.sampled_from(WEIGHTS))
    byteorder = draw(st.sampled_from(["little", "big"]))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=min_axes, max_size=4)))
    dtype = numpy_dtype(name, byteorder)
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.frombuffer(draw(st.binary(min_size=count, max_size=count)), dtype=np.uint8)
    return name, byteorder, raw.copy().view(dtype).reshape(shape)


@st.composite
def cut_arrays(draw):
    """An array, and the same cut into runs of its elements or into boxes, each somewhere in some file."""
    name, byteorder, array = draw(arrays())
    flat = array.reshape(-1)
    if array.ndim and draw(st.booleans()):
        edges = [list(itertools.pairwise(draw(cuts(size)))) for size in array.shape]
        boxes = list(itertools.product(*edges))
        blocks = [array[tuple(slice(*side) for side in box)] for box in boxes]
        places = [(tuple(a for a, _ in box), tuple(b - a for a, b in box)) for box in boxes]
    else:
        runs = list(itertools.pairwise(draw(cuts(flat.size))))
        blocks = [flat[a:b] for a, b in runs]
        places = [((a,), (b - a,)) for a, b in runs]
    order = draw(st.permutations(range(len(blocks))))
    files, pieces = [bytearray(), bytearray()], []
    for index in order:
        number = draw(st.integers(0, 1))
        files[number] += b"\xaa" * draw(st.integers(0, 3))
        pieces.append((number, len(files[number]), blocks[index].nbytes, *places[index]))
        files[number] += blocks[index].tobytes()
    source = Memory(*files)
    made = tuple(
        Piece(source.ref(number), offset, nbytes, None, byteorder, corner, extent)
        for number, offset, nbytes, corner, extent in pieces
    )
    return array, source, TensorInfo("w", name, array.shape, made)


def read(reader, info, start, stop):
    return reader.read_into(info, start, stop, np.empty((stop - start) * info.type.itemsize, dtype=np.uint8))


@given(cut_arrays(), st.data())
def test_any_run_of_any_cut_is_that_of_the_whole(case, data):
    array, source, info = case
    check_cover(info)
    start = data.draw(st.integers(0, array.size))
    stop = data.draw(st.integers(start, array.size))
    reader = ElementReader(source)
    found = read(reader, info, start, stop)
    assert found.tobytes() == array.reshape(-1)[start:stop].tobytes()
    assert found.dtype == array.dtype
    assert reader.num_bytes == found.nbytes == count_bytes(info, [(start, stop)])
    counts = np.concatenate(list(source.counts.values()))
    assert counts.max(initial=0) <= 1
    assert counts.sum() == found.nbytes
    assert set(reader.files) <= {piece.file.url for piece in info.pieces}


@given(cut_arrays(), st.data())
def test_runs_one_behind_the_other_read_each_byte_once(case, data):
    array, source, info = case
    reader = ElementReader(source)
    runs = list(itertools.pairwise(data.draw(cuts(array.size))))
    found = [read(reader, info, *run).tobytes() for run in runs]
    assert b"".join(found) == array.tobytes()
    assert reader.num_bytes == array.nbytes == count_bytes(info, runs)
    assert sum(counts.sum() for counts in source.counts.values()) == array.nbytes
    assert max(counts.max(initial=0) for counts in source.counts.values()) == 1


@given(arrays(min_axes=1), st.data())
def test_elements_in_another_order_are_put_in_order(case, data):
    name, byteorder, array = case
    axes = data.draw(st.permutations(range(array.ndim)))
    stored = np.ascontiguousarray(array.transpose(axes))
    strides = [0] * array.ndim
    for place, axis in enumerate(axes):
        strides[axis] = stored.strides[place] // stored.itemsize
    source = Memory(stored.tobytes())
    piece = Piece(source.ref(), 0, stored.nbytes, tuple(strides), byteorder)
    info = TensorInfo("w", name, array.shape, (piece,))
    start = data.draw(st.integers(0, array.size))
    stop = data.draw(st.integers(start, array.size))
    assert read(ElementReader(source), info, start, stop).tobytes() == array.reshape(-1)[start:stop].tobytes()
    reader = ElementReader(source)
    for run in itertools.pairwise(data.draw(cuts(array.size))):  # as an input of a derived tensor
        assert reader(info, *run).tobytes() == array.reshape(-1)[slice(*run)].tobytes()
    assert reader.num_bytes == array.nbytes
    assert set(reader.files) == {"f0"}


@given(cut_arrays(), st.data())
def test_overlaps_holes_and_pieces_that_do_not_fit_are_refused(case, data):
    _, _, info = case
    pieces = list(info.pieces)
    index = data.draw(st.integers(0, len(pieces) - 1))
    piece = pieces[index]
    faults = {"twice": [*pieces, piece], "outside": [*pieces]}
    if len(pieces) > 1:
        faults["hole"] = pieces[:index] + pieces[index + 1 :]
    faults["outside"][index] = Piece(piece.file, piece.file.size, piece.nbytes, None, piece.byteorder)
    if piece.corner:
        moved = (piece.corner[0] + 1, *piece.corner[1:])
        faults["moved"] = [*pieces]
        faults["moved"][index] = Piece(
            piece.file, piece.offset, piece.nbytes, None, piece.byteorder, moved, piece.extent
        )
    fault = data.draw(st.sampled_from(sorted(faults)))
    with pytest.raises(CheckpointError, match="'w'"):
        check_cover(TensorInfo("w", info.dtype, info.shape, tuple(faults[fault])))


BIG = FileRef("big", 2**60, "")


def boxes(*places, size=1):
    return tuple(Piece(BIG, 0, size * math.prod(extent), None, "little", corner, extent) for corner, extent in places)


@pytest.mark.parametrize(
    ("shape", "pieces", "fault"),
    [
        ((4, 4), boxes(((0, 0), (4, 2)), ((0, 2), (4, 1)), size=4), "leave a hole"),
        ((4, 4), boxes(((0, 0), (4, 3)), ((0, 2), (4, 2)), size=4), "overlap"),
        ((2, 2), boxes(((0, 0), (1, 2)), ((1, 0), (1, 1)), ((0, 1), (1, 1)), size=4), "overlap"),
        ((4,), boxes(((-1,), (3,)), ((2,), (2,)), size=4), "do not fit its shape"),
        ((4,), boxes(((0,), (2**62,)), size=4), "does not lie in the file"),
        ((4, 4), boxes(((0,), (8,)), ((0, 0), (2, 4)), size=4), "do not fit its shape"),
        ((4,), (Piece(BIG, -4, 16),), "does not lie in the file"),
        ((4,), (Piece(BIG, 0, -16),), "does not lie in the file"),
        ((4,), (Piece(BIG, 0, 12),), "do not fit its shape"),
        ((4,), (Piece(BIG, 0, 8, (2,)), Piece(BIG, 0, 8)), "are not of one kind"),
        ((4,), (Piece(BIG, 0, 8, None, "big", (0,), (2,)), *boxes(((2,), (2,)), size=4)), "are not of one kind"),
        ((4,), (), "leave a hole"),
    ],
)
def test_hostile_pieces(shape, pieces, fault):
    with pytest.raises(CheckpointError, match=fault):
        check_cover(TensorInfo("w", "float32", shape, pieces))


def test_boxes_that_would_take_for_ever_to_be_checked_are_refused():
    """Strips, each cut at another place: all of them lie between every two edges."""
    count = 3000
    places = [((0, i), (i, 1)) for i in range(1, count)] + [((i, i), (count - i, 1)) for i in range(count)]
    with pytest.raises(CheckpointError, match="are too many to be checked"):
        check_cover(TensorInfo("w", "float32", (count, count), boxes(*places, size=4)))


def test_many_honest_boxes_are_no_attack():
    places = [((i, j), (1, 1)) for i in range(300) for j in range(300)]
    check_cover(TensorInfo("w", "float32", (300, 300), boxes(*places, size=4)))


def test_tensors_without_elements_need_no_pieces():
    info = TensorInfo("w", "float32", (0, 3), ())
    check_cover(info)
    assert read(ElementReader(Memory()), info, 0, 0).shape == (0,)


@dataclass(frozen=True)
class Doubled:
    """Twice another tensor; notes what it computes."""

    inner: TensorInfo

    @property
    def inputs(self):
        return (self.inner,)

    text = "doubled"

    def reads(self, start, stop):
        yield self.inner, start, stop

    def compute(self, start, stop, read_elements):
        assert stop - start <= BLOCK_ELEMENTS
        return 2 * read_elements(self.inner, start, stop).astype(np.float64)


@given(st.integers(0, 2**16 + 100), st.data())
def test_derived_of_derived_and_what_is_kept(size, data):
    array = np.arange(size, dtype=np.float32)
    source = Memory(array.tobytes())
    stored = TensorInfo("", "float32", (size,), (Piece(source.ref(), 0, array.nbytes),))
    once = TensorInfo("", "float64", (size,), stored.pieces, Doubled(stored))
    info = TensorInfo("w", "float64", (size,), stored.pieces, Doubled(once))
    check_cover(info)
    edges = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=2))})
    runs = list(itertools.pairwise(edges))
    reader = ElementReader(source)
    found = np.concatenate([np.empty(0), *(read(reader, info, *run) for run in runs)])
    np.testing.assert_array_equal(found, 4 * array)
    assert reader.num_bytes == count_bytes(info, runs) == array.nbytes


def test_long_runs_are_computed_in_blocks():
    size = 2 * BLOCK_ELEMENTS + 3
    array = np.arange(size, dtype=np.float32)
    source = Memory(array.tobytes())
    stored = TensorInfo("", "float32", (size,), (Piece(source.ref(), 0, array.nbytes),))
    info = TensorInfo("w", "float64", (size,), stored.pieces, Doubled(stored))
    np.testing.assert_array_equal(read(ElementReader(source), info, 1, size), 2 * array[1:])


def test_a_derived_tensor_of_damaged_pieces_is_refused():
    stored = TensorInfo("w", "float32", (4,), (Piece(BIG, 0, 12),))
    with pytest.raises(CheckpointError, match="do not fit"):
        check_cover(TensorInfo("d", "float64", (4,), stored.pieces, Doubled(stored)))


def test_what_is_kept_is_given_up_again():
    """Many inputs that are kept do not fill the memory: the oldest goes first, and is read anew."""
    size = 2**16
    source = Memory(np.ones(size, dtype=np.float32).tobytes())
    stored = TensorInfo("", "float32", (size,), (Piece(source.ref(), 0, 4 * size),))
    inputs = [TensorInfo(str(i), "float64", (size,), stored.pieces, Doubled(stored)) for i in range(40)]
    reader = ElementReader(source)
    for info in inputs:
        reader(info, 0, 1)
    assert reader.num_bytes == 40 * 4 * size
    reader(inputs[-1], 5, 9)
    assert reader.num_bytes == 40 * 4 * size
    reader(inputs[0], 0, 1)
    assert reader.num_bytes == 41 * 4 * size


def test_short_runs_of_very_many_pieces_are_found_at_once():
    count = 100_000
    source = Memory(np.arange(count, dtype=np.float32).tobytes())
    pieces = tuple(Piece(source.ref(), 4 * i, 4, None, "little", (i,), (1,)) for i in range(count))
    info = TensorInfo("w", "float32", (count,), pieces)
    check_cover(info)
    reader = ElementReader(source)
    for start in range(0, count, 100):
        np.testing.assert_array_equal(read(reader, info, start, start + 2), [start, start + 1])
