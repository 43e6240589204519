"""Read a checkpoint file as the program does, down to the elements of each tensor."""

import numpy as np
import pytest

from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.files import read_tensors
from wsanalyze.tensors.gather import ElementReader


@pytest.fixture
def source():
    with LocalFiles() as files:
        yield files


@pytest.fixture
def read_set(source):
    """The tensors of some files."""
    return lambda *paths, prefixes=None: read_tensors(
        source, [stat_file(path) for path in paths], prefixes or [""] * len(paths)
    )


@pytest.fixture
def read_elements(source):
    """The elements of a tensor in C order, in its own shape."""

    def read(info):
        piece = info.pieces[0]
        data = np.empty(piece.nbytes, dtype=np.uint8)
        source.read_into(piece.file, piece.offset, data.data)
        return info.view(data).reshape(info.shape)

    return read


@pytest.fixture
def gather(source):
    """The elements of any tensor, of several pieces or computed, in C order and its own shape."""

    def read(info):
        room = np.empty(info.numel * info.type.itemsize, dtype=np.uint8)
        return ElementReader(source).read_into(info, 0, info.numel, room).reshape(info.shape)

    return read
