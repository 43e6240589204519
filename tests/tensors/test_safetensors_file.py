"""Tensors of files that safetensors really wrote."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

FLOATS = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
]
INTEGERS = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
    torch.float8_e8m0fnu,
]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_of_every_width(tmp_path, read_set, read_elements, dtype):
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    save_file({"weight": weight}, tmp_path / "a.safetensors")
    found = read_set(tmp_path / "a.safetensors")
    info = found.infos["model"]["weight"]
    assert info.dtype == str(dtype).removeprefix("torch.")
    assert info.type.floating
    assert info.contiguous
    assert not found.ordered
    np.testing.assert_array_equal(read_elements(info).astype(np.float64), weight.double().numpy())


def test_complex_numbers(tmp_path, read_set, read_elements):
    weight = torch.complex(torch.arange(6.0), torch.ones(6)).reshape(2, 3)
    save_file({"weight": weight}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(
        read_elements(read_set(tmp_path / "a.safetensors").infos["model"]["weight"]), weight.numpy()
    )


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_others_are_listed_but_are_no_weights(tmp_path, read_set, dtype):
    save_file({"codes": torch.ones(2, 3).to(dtype)}, tmp_path / "a.safetensors")
    info = read_set(tmp_path / "a.safetensors").infos["model"]["codes"]
    assert not info.type.floating


def test_scalars_and_nothing(tmp_path, read_set, read_elements):
    save_file({"scale": torch.tensor(2.5), "empty": torch.zeros(0, 3)}, tmp_path / "a.safetensors")
    infos = read_set(tmp_path / "a.safetensors").infos["model"]
    assert read_elements(infos["scale"]) == 2.5
    assert infos["empty"].shape == (0, 3)


def test_a_dtype_that_is_not_known_is_skipped_by_name(tmp_path, read_set):
    header = (
        b'{"odd": {"dtype": "F128", "shape": [1], "data_offsets": [0, 16]}, '
        b'"packed": {"dtype": "F4", "shape": [2], "data_offsets": [16, 17]}, '
        b'"w": {"dtype": "F32", "shape": [1], "data_offsets": [17, 21]}}'
    )
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(21))
    found = read_set(tmp_path / "a.safetensors")
    assert [(skip.name, skip.reason) for skip in found.skips] == [("odd", "dtype F128 is not known")]
    assert not found.infos["model"]["packed"].type.floating
