"""Every element type has a size, and NumPy reads those that are weights."""

import json
import math
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import wsanalyze
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


FLOATS = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
]
COMPLEX = ["complex64", "complex128"]


def values_of(tensor):
    """What torch itself takes the elements for, as float64 or complex128; float8 by way of float32, which holds it."""
    tensor = tensor.to(torch.float32) if tensor.element_size() == 1 else tensor
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).numpy()


def encodings(name):
    """Every encoding of a type of two bytes or less; of the others those that are special, and many that are not."""
    dtype = getattr(torch, name)
    if dtype.itemsize <= 2:
        integers = torch.arange(2 ** (8 * dtype.itemsize), dtype=torch.int64).to(
            torch.uint8 if dtype.itemsize == 1 else torch.uint16
        )
        return integers.view(dtype)
    real = torch.float32 if name in ("float32", "complex64") else torch.float64
    info = torch.finfo(real)
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, info.max, info.min, info.tiny, info.smallest_normal / 8, 1.0]
    numbers = torch.cat([torch.tensor(special, dtype=real), torch.randn(90, dtype=real)])
    return numbers if name == str(real).removeprefix("torch.") else torch.complex(numbers, numbers.flip(0))


def check_same(found, expected):
    """Equal to the bit, but for what lies in a NaN."""
    with np.errstate(invalid="ignore"):  # a NaN that signals, as some encodings are
        found = found.astype(expected.dtype)
    np.testing.assert_array_equal(found, expected)
    real, other = expected.view(np.float64), found.view(np.float64)
    kept = ~np.isnan(real)
    np.testing.assert_array_equal(np.signbit(other[kept]), np.signbit(real[kept]))


@pytest.mark.parametrize("name", FLOATS + COMPLEX)
@pytest.mark.parametrize("form", ["pt", "legacy", "safetensors"])
def test_every_encoding_is_the_number_that_torch_takes_it_for(tmp_path, read_set, gather, name, form):
    weight = encodings(name)
    path = tmp_path / f"a.{form}"
    if form == "safetensors":
        if name == "complex128":  # which the format does not have
            return
        save_file({"w": weight}, path)
    else:
        torch.save({"w": weight}, path, _use_new_zipfile_serialization=form == "pt")
    info = read_set(path).infos["model"]["w"]
    assert info.dtype == name
    assert info.type.floating
    check_same(gather(info), values_of(weight))


@pytest.mark.parametrize("name", FLOATS + COMPLEX)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1)])
def test_scalars_and_tensors_without_elements(tmp_path, read_set, gather, name, shape):
    weight = torch.ones(shape).to(getattr(torch, name))
    torch.save({"w": weight, "other": torch.ones(2)}, tmp_path / "a.pt")
    found = gather(read_set(tmp_path / "a.pt").infos["model"]["w"])
    assert found.shape == shape
    np.testing.assert_array_equal(found.astype(values_of(weight).dtype), values_of(weight))


@pytest.mark.parametrize("name", FLOATS + COMPLEX)
def test_files_of_machines_of_the_other_order_of_bytes(tmp_path, read_set, gather, name):
    """torch writes the order into the file, and bytes in that order; here both are turned round by hand."""
    weight = encodings(name)
    torch.save({"w": weight}, tmp_path / "little.pt")
    size = weight.element_size() // (2 if weight.is_complex() else 1)
    with zipfile.ZipFile(tmp_path / "little.pt") as little, zipfile.ZipFile(tmp_path / "big.pt", "w") as big:
        for record in little.namelist():
            data = little.read(record)
            if record.endswith("/byteorder"):
                data = b"big"
            elif record.endswith("/data/0"):
                data = np.frombuffer(data, np.uint8).reshape(-1, size)[:, ::-1].tobytes()
            big.writestr(record, data)
    info = read_set(tmp_path / "big.pt").infos["model"]["w"]
    assert info.pieces[0].byteorder == "big"
    check_same(gather(info), values_of(weight))


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float64", "float8_e5m2", "complex64"])
def test_whatever_the_elements_are_nothing_warns(tmp_path, name):
    """Signalling NaN, infinities, numbers too large for float32, changes of dtype: warnings are errors here."""
    for step, later in enumerate([name, name, "bfloat16", "float32", "float32"]):
        weight = torch.randn(64, 64).to(getattr(torch, later))
        special = encodings(later)[:4000]
        weight.view(-1)[: special.numel()] = special
        large = torch.full((8, 8), 1e300 * (1 + step), dtype=torch.float64)
        torch.save({"a.weight": weight, "b.weight": large}, tmp_path / f"step_{step}.pt")
    series = wsanalyze.analyze(tmp_path, run=tmp_path / "run.wsa").series
    assert series.names == ("a.weight", "b.weight")


def test_numbers_of_four_bits_are_packed_and_no_weights(tmp_path, read_set):
    header = {"w": {"dtype": "F4", "shape": [2, 8], "data_offsets": [0, 8]}}
    for dtype, size in (("F4", 8), ("F6_E2M3", 12), ("F6_E3M2", 12)):
        header["w"] |= {"dtype": dtype, "data_offsets": [0, size]}
        raw = json.dumps(header).encode()
        (tmp_path / "a.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(size))
        info = read_set(tmp_path / "a.safetensors").infos["model"]["w"]
        assert (info.dtype, info.type.floating) == ("packed", False)


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no numbers of four bits")
def test_numbers_of_four_bits_that_torch_writes(tmp_path, read_set):
    weight = torch.arange(16, dtype=torch.uint8).reshape(4, 4).view(torch.float4_e2m1fn_x2)
    save_file({"w": weight, "other": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    info = read_set(tmp_path / "a.safetensors").infos["model"]["w"]
    assert not info.type.floating
    torch.save({"w": weight, "other": torch.ones(2, 2)}, tmp_path / "a.pt")
    found = read_set(tmp_path / "a.pt")
    assert set(found.infos["model"]) == {"other"}
    assert [skip.name for skip in found.skips] == ["w"]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", "uint16", "uint32", "uint64", "float8_e8m0fnu"]
)
def test_whole_numbers_and_scales_are_no_weights(tmp_path, read_set, dtype):
    weight = torch.ones(2, 2).to(getattr(torch, dtype))
    save_file({"w": weight}, tmp_path / "a.safetensors")
    torch.save({"w": weight}, tmp_path / "a.pt")
    for path in ("a.safetensors", "a.pt"):
        info = read_set(tmp_path / path).infos["model"]["w"]
        assert (info.dtype, info.type.floating) == (dtype, False)


@pytest.mark.filterwarnings("ignore:.*quantiz:Warning")
@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint32"])
@pytest.mark.parametrize("by_channel", [False, True])
def test_tensors_that_torch_has_quantised_are_skipped(tmp_path, read_set, dtype, by_channel):
    weight, code = torch.randn(3, 4), getattr(torch, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if by_channel:
            quantised = torch.quantize_per_channel(weight, torch.ones(3) / 64, torch.zeros(3), 0, code)
        else:
            quantised = torch.quantize_per_tensor(weight, 1 / 64, 2, code)
        torch.save({"w": quantised, "other": weight}, tmp_path / "a.pt")
    found = read_set(tmp_path / "a.pt")
    assert set(found.infos["model"]) == {"other"}
    assert [skip.name for skip in found.skips] == ["w"]
