"""Norms of changes over whole sequences, from files, in whatever memory: against a full decomposition in float64."""

from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest

from wsanalyze.changes import norms, streamed_matrix
from wsanalyze.changes.base import FailedCheckpointError
from wsanalyze.changes.matrices import Pair, matrix_shape
from wsanalyze.changes.norms import NormWalk
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.tensors.base import Piece, TensorInfo

AMPLE = 10**9
SCANT = 100_000
SHAPES = [(1, 40), (40, 1), (50,), (), (30, 20), (150, 170), (16, 8, 3, 3), (140, 20, 3, 3), (6, 500), (500, 6)]


class HeldFiles:
    """A ByteSource over bytes: what was read, and files that fail."""

    def __init__(self):
        self.data = {}
        self.num_bytes = 0
        self.failing = set()

    def add(self, array, strides=None, name="float32"):
        """An array as a tensor of a file of its own."""
        data = np.ascontiguousarray(array).tobytes() if strides is None else array.tobytes()
        file = FileRef(f"file-{len(self.data)}", len(data), "stamp")
        self.data[file.url] = data
        return TensorInfo("w", name, array.shape, (Piece(file, 0, len(data), strides),))

    def read_into(self, file, offset, buffer):
        if file.url in self.failing:
            raise CheckpointError("input/output error", file.url)
        buffer[:] = memoryview(self.data[file.url])[offset : offset + buffer.nbytes].cast("B")
        self.num_bytes += buffer.nbytes

    def verify(self, file):
        pass


@pytest.fixture
def files():
    return HeldFiles()


def make_walk(shape, num=4, seed=0, dtype=np.float32, step=0.01):
    """Weights of one tensor at some checkpoints."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape)]
    for _ in range(num - 1):
        arrays.append(arrays[-1] + step * rng.standard_normal(shape))
    return [np.asarray(array).astype(dtype) for array in arrays]


def find(tensors, source, memory_bytes=AMPLE, num_threads=1, needed=None):
    """Norms of shape (L, P, 3)."""
    num = len(tensors[0])
    pairs = [(side, side + 1) for side in range(num - 1)]
    needed = np.ones((len(tensors), num - 1), dtype=bool) if needed is None else needed
    found = np.full((len(tensors), num - 1, 3), np.nan)
    for cell in NormWalk(tensors, pairs, needed, source, memory_bytes, num_threads).run():
        found[cell.row, cell.pair] = cell.norms
    return found


def expected(arrays, shape):
    """Norms of the changes and of the weights before, float64 of shape (P, 2)."""
    wide = [array.astype(np.complex128 if array.dtype.kind == "c" else np.float64) for array in arrays]
    wide = [array.reshape(matrix_shape(shape)) for array in wide]
    pairs = list(pairwise(wide))
    for before, after in pairs:
        bad = ~(np.isfinite(before) & np.isfinite(after))
        pairs = pairs if not bad.any() else [(np.where(bad, 0, b), np.where(bad, 0, a)) for b, a in pairs]
    return np.array([(np.linalg.norm(after - before, 2), np.linalg.norm(before, 2)) for before, after in pairs])


def check(found, arrays, shape):
    true = expected(arrays, shape)
    assert (found[:, 2] <= streamed_matrix.TOLERANCE).all()
    assert (np.abs(found[:, :2] - true) <= (found[:, 2:] + 3e-6) * true).all()


@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norms_are_those_of_a_full_decomposition(files, shape, memory_bytes):
    arrays = make_walk(shape)
    check(find([[files.add(array) for array in arrays]], files, memory_bytes)[0], arrays, shape)


TYPES = [
    (np.float64, "float64"),
    (np.float16, "float16"),
    (ml_dtypes.bfloat16, "bfloat16"),
    (ml_dtypes.float8_e4m3fn, "float8_e4m3fn"),
    (np.complex64, "complex64"),
    (np.complex128, "complex128"),
]


@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
@pytest.mark.parametrize(("dtype", "name"), TYPES)
def test_weights_of_every_type_have_norms(files, dtype, name, memory_bytes):
    arrays = make_walk((140, 160), step=0.2)
    if np.dtype(dtype).kind == "c":
        arrays = [array + 1j * other for array, other in zip(arrays, make_walk((140, 160), seed=1), strict=True)]
    arrays = [array.astype(dtype) for array in arrays]
    check(find([[files.add(array, name=name) for array in arrays]], files, memory_bytes)[0], arrays, (140, 160))


@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_no_square_leaves_the_range_of_float32(files, scale, memory_bytes):
    arrays = [(array * scale).astype(np.float32) for array in make_walk((140, 160), dtype=np.float64)]
    check(find([[files.add(array) for array in arrays]], files, memory_bytes)[0], arrays, (140, 160))


@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
def test_elements_that_are_not_finite_are_left_out_on_both_sides(files, memory_bytes):
    arrays = make_walk((140, 160), num=2)
    arrays[0][3, 4], arrays[0][100, 7], arrays[1][20] = np.nan, np.inf, np.nan
    check(find([[files.add(array) for array in arrays]], files, memory_bytes)[0], arrays, (140, 160))


@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
def test_what_stays_or_is_zero_has_norm_0(files, memory_bytes):
    weights = make_walk((140, 160))[0]
    arrays = [weights, weights, 0 * weights, 0 * weights]
    found = find([[files.add(array) for array in arrays]], files, memory_bytes)[0]
    assert (found[:, :2] == 0).tolist() == [[True, False], [False, False], [True, True]]
    check(found, arrays, (140, 160))


def test_a_tensor_without_elements_has_norm_0(files):
    found = find([[files.add(np.zeros((0, 3), dtype=np.float32)) for _ in range(2)]], files)
    assert found.tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 2, 1, 0), (1, 2, 3, 0), (2, 0, 1, 3)])
def test_elements_in_another_order_make_the_same_matrix(files, order, memory_bytes):
    arrays = make_walk((140, 12, 3, 5), num=3)
    tensors = []
    for array in arrays:
        laid = np.transpose(np.ascontiguousarray(np.transpose(array, order)), np.argsort(order))
        info = files.add(np.ascontiguousarray(np.transpose(array, order)).reshape(array.shape))
        strides = tuple(stride // laid.itemsize for stride in laid.strides)
        piece = info.pieces[0]
        tensors.append(TensorInfo("w", "float32", array.shape, (Piece(piece.file, 0, piece.nbytes, strides),)))
    check(find([tensors], files, memory_bytes)[0], arrays, (140, 12, 3, 5))
    mixed = [tensors[0], files.add(arrays[1]), tensors[2]]
    check(find([mixed], files, memory_bytes)[0], arrays, (140, 12, 3, 5))


def test_wide_matrices_are_streamed_by_columns(files, monkeypatch):
    monkeypatch.setattr(streamed_matrix, "_MOST_COLUMNS", 1000)
    arrays = make_walk((140, 1500), num=3)
    check(find([[files.add(array) for array in arrays]], files, SCANT)[0], arrays, (140, 1500))


def test_threads_and_memory_change_nothing_but_the_last_digits(files):
    walks = [make_walk((140, 130 + 10 * index), seed=index) for index in range(5)]
    tensors = [[files.add(array) for array in arrays] for arrays in walks]
    alone = find(tensors, files)
    np.testing.assert_allclose(find(tensors, files, num_threads=3)[..., :2], alone[..., :2], rtol=1e-5)
    scant = find(tensors, files, SCANT)
    assert (np.abs(scant - alone)[..., :2] <= (scant + alone)[..., 2:] * alone[..., :2]).all()


def test_cells_begun_in_the_middle_agree_with_those_that_were_led_up_to(files):
    arrays = make_walk((200, 150), num=6)
    tensors = [[files.add(array) for array in arrays]]
    whole = find(tensors, files)
    needed = np.array([[False, False, False, True, False, True]])[:, 1:]
    part = find(tensors, files, needed=needed)
    assert np.isnan(part[~needed]).all()
    assert (np.abs(part - whole)[needed][:, :2] <= (2 * norms_error(whole, part) * whole)[needed][:, :2]).all()


def norms_error(*found):
    return np.max([norms[..., 2:] for norms in found], axis=0)


def test_what_fits_in_memory_is_read_once(files):
    arrays = make_walk((140, 160), num=5)
    find([[files.add(array) for array in arrays]], files)
    assert files.num_bytes == sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("memory_bytes", [AMPLE, SCANT])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_side_that_cannot_be_read_is_named(files, failing, memory_bytes, num_threads):
    tensors = [[files.add(array) for array in make_walk((140, 160), num=3)] for _ in range(3)]
    files.failing = {tensors[1][failing].pieces[0].file.url}
    with pytest.raises(FailedCheckpointError, match="input/output error") as caught:
        find(tensors, files, memory_bytes, num_threads)
    assert caught.value.side == failing


def test_room_counts_both_sides_and_the_matrix(files):
    info = files.add(np.zeros((1000, 10), dtype=np.float32))
    assert norms._count_room(Pair.of(info, info)) == 10_000 * 12
