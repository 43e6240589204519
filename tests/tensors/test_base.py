"""Where the elements of a tensor lie."""

import numpy as np
import pytest

from wsanalyze.files.base import FileRef
from wsanalyze.tensors.base import Piece, TensorInfo

FILE = FileRef("file", 1000, "")


def info(shape, strides, nbytes=None):
    nbytes = int(np.prod(shape)) * 4 if nbytes is None else nbytes
    return TensorInfo("w", "float32", shape, (Piece(FILE, 0, nbytes, strides),))


@pytest.mark.parametrize(
    ("shape", "strides", "nbytes", "dense"),
    [
        ((3, 4), None, 48, True),
        ((3, 4), (1, 3), 48, True),
        ((2, 1, 3), (1, 77, 2), 24, True),
        ((3, 4), (8, 1), 80, False),
        ((2, 2), (3, 1), 16, False),
        ((2, 3, 4), (4, 8, 1), 96, True),
    ],
)
def test_dense_tensors_fill_one_run_of_bytes(shape, strides, nbytes, dense):
    assert info(shape, strides, nbytes).dense is dense


def test_a_view_that_leaves_its_bytes_is_an_error():
    with pytest.raises((ValueError, TypeError)):
        info((3, 4), (40, 1), 48).view(np.zeros(48, dtype=np.uint8))
