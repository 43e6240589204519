"""Every element type has a size, and NumPy reads those that are weights."""

import numpy as np
import pytest
import torch

from wsanalyze.files.safetensors_header import BITS
from wsanalyze.tensors.dtypes import DTYPES, SAFETENSORS_NAMES, TORCH_STORAGES, name_unknown, numpy_dtype

WEIGHTS = [name for name, dtype in DTYPES.items() if dtype.floating]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_numpy_reads_every_weight(name, byteorder):
    dtype = numpy_dtype(name, byteorder)
    assert dtype.itemsize == DTYPES[name].itemsize == getattr(torch, name).itemsize
    value = torch.tensor([1.5, -2.0]).to(getattr(torch, name))
    raw = np.frombuffer(bytes(value.view(torch.uint8).tolist()), np.uint8)
    if byteorder == "big":
        size = dtype.itemsize // (2 if name.startswith("complex") else 1)
        raw = raw.reshape(-1, size)[:, ::-1].reshape(-1).copy()
    kind = np.complex128 if name.startswith("complex") else np.float64
    np.testing.assert_array_equal(raw.view(dtype).astype(kind), [1.5, -2.0])


def test_every_name_of_a_format_is_known():
    assert set(SAFETENSORS_NAMES) == set(BITS)
    assert set(SAFETENSORS_NAMES.values()) <= set(DTYPES)
    assert set(TORCH_STORAGES.values()) <= set(DTYPES)


@pytest.mark.parametrize("name", [n for n in SAFETENSORS_NAMES if SAFETENSORS_NAMES[n] != "packed"])
def test_sizes_of_the_formats_agree(name):
    assert BITS[name] == 8 * DTYPES[SAFETENSORS_NAMES[name]].itemsize


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "x" * 10_000])
def test_a_name_that_nobody_knows_is_told_in_one_short_line(name):
    told = name_unknown("dtype", name)
    assert told.isprintable()
    assert told.startswith("dtype ")
    assert len(told) < 200
