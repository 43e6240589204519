"""Initialisers of ONNX models as onnx itself writes them: every type of element, in every place that can hold them."""

import warnings

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.files.onnx_model import Initializer, OnnxModel
from wsanalyze.tensors.dtypes import DTYPES, ONNX_TYPES
from wsanalyze.tensors.files import read_tensors
from wsanalyze.tensors.gather import ElementReader
from wsanalyze.tensors.onnx_file import read_onnx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    onnx = pytest.importorskip("onnx")

RAW = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "complex64": np.complex64,
    "complex128": np.complex128,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}
NUMBERS = {name: number for number, name in ONNX_TYPES.items()}


def save(path, *tensors, sparse=()):
    graph = onnx.helper.make_graph([], "g", [], [], list(tensors))
    graph.sparse_initializer.extend(sparse)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


def make_raw(name, array, dtype):
    return onnx.TensorProto(name=name, data_type=NUMBERS[dtype], dims=array.shape, raw_data=array.tobytes())


@settings(max_examples=30)
@given(
    dtype=st.sampled_from(sorted(RAW)),
    shape=st.lists(st.integers(0, 4), max_size=4),
    seed=st.integers(0, 2**31),
)
def test_raw_elements_of_every_floating_type(tmp_path_factory, dtype, shape, seed):
    array = np.random.default_rng(seed).normal(size=shape).astype(RAW[dtype])
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    save(path, make_raw("before", np.zeros(3, np.float32), "float32"), make_raw("w", array, dtype))
    with LocalFiles() as source:
        found = read_tensors(source, [stat_file(path)], [""])
        assert list(found.infos["model"]) == ["before", "w"]
        assert found.ordered
        info = found.infos["model"]["w"]
        assert (info.dtype, info.shape, info.type.floating) == (dtype, tuple(shape), True)
        room = np.empty(array.nbytes, dtype=np.uint8)
        assert ElementReader(source).read_into(info, 0, info.numel, room).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "float16", "bfloat16", "int64"])
def test_lists_of_numbers_are_bytes_in_a_row_or_skipped(tmp_path, read_set, gather, dtype):
    kind = {"bfloat16": np.float32, "int64": np.int64}.get(dtype) or RAW[dtype]
    array = np.arange(6).reshape(2, 3).astype(kind)
    save(
        tmp_path / "a.onnx",
        onnx.helper.make_tensor("w", NUMBERS[dtype], array.shape, array.flatten().tolist()),
        make_raw("other", np.ones((2, 2), np.float32), "float32"),
    )
    found = read_set(tmp_path / "a.onnx")
    if dtype in ("float16", "bfloat16", "int64"):
        (skip,) = found.skips
        assert skip.name == "w"
        assert "save it anew with raw_data" in skip.reason
    else:
        np.testing.assert_array_equal(gather(found.infos["model"]["w"]), array)


def test_types_that_are_no_weights(tmp_path, read_set):
    tensors = [
        make_raw(name, np.zeros(size, np.uint8), name)
        for name, size in (("int8", 3), ("uint8", 3), ("bool", 3), ("float8_e8m0fnu", 3))
    ]
    tensors += [
        onnx.TensorProto(name=f"packed{number}", data_type=number, dims=[4], raw_data=b"\0\0")
        for number, dtype in ONNX_TYPES.items()
        if dtype == "packed" and number <= 23
    ]
    save(tmp_path / "a.onnx", *tensors, make_raw("w", np.ones((2, 2), np.float32), "float32"))
    found = read_set(tmp_path / "a.onnx")
    assert [name for name, info in found.infos["model"].items() if info.type.floating] == ["w"]
    assert len(found.infos["model"]) + len(found.skips) == len(tensors) + 1


def test_text_unknown_types_and_sparse_tensors_are_skipped(tmp_path, read_set):
    values = make_raw("sparse", np.ones(1, np.float32), "float32")
    indices = onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [0])
    save(
        tmp_path / "a.onnx",
        onnx.helper.make_tensor("text", onnx.TensorProto.STRING, [1], [b"a"]),
        onnx.TensorProto(name="unknown", data_type=99, dims=[1], raw_data=b"\0"),
        make_raw("w", np.ones((2, 2), np.float32), "float32"),
        sparse=[onnx.helper.make_sparse_tensor(values, indices, [4])],
    )
    found = read_set(tmp_path / "a.onnx")
    assert set(found.infos["model"]) == {"w"}
    reasons = {skip.name: skip.reason for skip in found.skips}
    assert set(reasons) == {"text", "unknown", "sparse"}
    assert reasons["sparse"] == "a sparse tensor"
    assert "type 99 of ONNX is not known" in reasons["unknown"]


def test_elements_in_a_file_beside(tmp_path, read_set, gather):
    array = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    (tmp_path / "a.data").write_bytes(b"\xff" * 16 + array.tobytes())
    tensor = onnx.TensorProto(name="w", data_type=1, dims=array.shape, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", "a.data"), ("offset", "16"), ("length", str(array.nbytes))):
        tensor.external_data.add(key=key, value=value)
    save(tmp_path / "a.onnx", tensor)
    np.testing.assert_array_equal(gather(read_set(tmp_path / "a.onnx").infos["model"]["w"]), array)


@pytest.mark.parametrize(
    ("shape", "storage", "nbytes", "fault"),
    [
        ((2, 3), "raw_data", 20, "does not fill the bytes that it is given"),
        ((2, 3), "raw_data", 28, "does not fill the bytes that it is given"),
        ((2, 3), "", 0, "has no elements"),
        ((2**25, 2**25), "raw_data", 24, "does not fill"),
    ],
)
def test_elements_that_do_not_fit_the_shape_are_refused(shape, storage, nbytes, fault):
    file = FileRef("a.onnx", 100, "")
    tensor = Initializer("w", NUMBERS["float32"], shape, storage, file, 0, nbytes)
    model = OnnxModel({"w": tensor}, (), {}, b"")
    with pytest.raises(CheckpointError, match=fault):
        read_onnx(model, None, file)


def test_every_type_is_known():
    assert set(ONNX_TYPES.values()) <= set(DTYPES)
    named = {number for name, number in onnx.TensorProto.DataType.items() if name not in ("UNDEFINED", "STRING")}
    assert named <= set(ONNX_TYPES)
    for name, number in NUMBERS.items():
        if DTYPES[name].floating:
            assert onnx.helper.tensor_dtype_to_np_dtype(number).itemsize == DTYPES[name].itemsize
