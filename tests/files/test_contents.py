"""What a file holds is told by its first bytes; what is no checkpoint is named and never misread."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from wsanalyze.errors import CheckpointError
from wsanalyze.files.contents import TorchArchive, read_contents
from wsanalyze.files.legacy_torch import LegacyTorch
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.files.onnx_model import OnnxModel
from wsanalyze.files.safetensors_header import SafetensorsHeader
from wsanalyze.files.torch_archive import ScriptArchive


def save_torch(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def rewrite(data, *, change=None, add=(), method=zipfile.ZIP_STORED):
    """The same archive, record by record, with some of them replaced, dropped (None) or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            content = (change or {}).get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in add:
            new.writestr(name, content)
    return buffer.getvalue()


GOOD = save_torch({"weight": torch.arange(12.0).reshape(3, 4)})


@pytest.fixture
def read(source, list_bytes):
    return lambda data: read_contents(source, list_bytes(data))


def test_the_two_formats_are_told_by_their_first_bytes(read):
    assert isinstance(read(save({"a": torch.zeros(2)})), SafetensorsHeader)
    archive = read(GOOD)
    assert isinstance(archive, TorchArchive)
    assert archive.byteorder == "little"
    assert set(archive.tree) == {"weight"}
    assert archive.records["data/0"].nbytes == 48


def test_the_byte_order_is_read(read):
    assert read(rewrite(GOOD, change={"archive/byteorder": b"big"})).byteorder == "big"
    assert read(rewrite(GOOD, change={"archive/byteorder": None})).byteorder == "little"


FOREIGN = {
    "empty": (b"", "is empty"),
    "one byte": (b"P", "neither a safetensors nor a torch file"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page"),
    "web page in capitals after a mark": (b"\xef\xbb\xbf\n <HTML><body>", "web page"),
    "GGUF": (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "gzip": (b"\x1f\x8b\x08" + bytes(64), "gzip"),
    "NumPy": (b"\x93NUMPY\x01\x00" + bytes(64), "NumPy array"),
    "another pickle": (b"\x80\x02}q\x00.", "is a pickle that torch.save did not write"),
    "noise": (bytes(range(30, 130)), "neither a safetensors nor a torch file"),
    "another zip": (rewrite(GOOD, change={"archive/data.pkl": None}), "not one that torch.save wrote"),
    "two pickles": (rewrite(GOOD, add=[("other/data.pkl", b"N.")]), "not one that torch.save wrote"),
    "a zip of two": (
        rewrite(GOOD, change={"archive/data.pkl": None}, add=[("a.pt", b""), ("b/c.safetensors", b"")]),
        "is a zip archive of 2 weight files: unpack it first",
    ),
    "unknown byte order": (rewrite(GOOD, change={"archive/byteorder": b"\x1bmixed" * 9}), "unknown byte order"),
    "damaged pickle": (rewrite(GOOD, change={"archive/data.pkl": b"\x80\x02}("}), "damaged pickle"),
    "compressed pickle": (rewrite(GOOD, method=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
}


@pytest.mark.parametrize(("data", "reason"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_cannot_be_read_is_said_in_one_line(read, data, reason):
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_torchscript_is_told_from_a_state_dict(read, recwarn):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    recwarn.clear()
    assert isinstance(read(buffer.getvalue()), ScriptArchive)


def test_torch_before_1_6(read):
    contents = read(save_torch({"a": torch.zeros(3)}, _use_new_zipfile_serialization=False))
    assert isinstance(contents, LegacyTorch)
    assert set(contents.tree) == {"a"}


def test_numpy_and_onnx(read, source, tmp_path):
    onnx = pytest.importorskip("onnx")
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    assert set(read(buffer.getvalue()).arrays) == {"a"}
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(np.zeros(3), "a")])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "x.onnx")
    assert isinstance(read_contents(source, stat_file(tmp_path / "x.onnx")), OnnxModel)


def test_a_pickle_of_gigabytes_is_refused(read):
    big = rewrite(GOOD, change={"archive/data.pkl": b"N" * 129_000_000})
    with pytest.raises(CheckpointError, match="has 129000000 bytes, too large to be read safely"):
        read(big)


@settings(deadline=1000, max_examples=60)
@given(length=st.integers(0, len(GOOD) - 1))
def test_a_truncated_torch_file_is_refused(list_bytes, length):
    with LocalFiles() as source, pytest.raises(CheckpointError):
        read_contents(source, list_bytes(GOOD[:length]))


@settings(deadline=1000, max_examples=300)
@given(
    data=st.binary(max_size=200), magic=st.sampled_from([b"", b"PK\x03\x04", b"\x10" + bytes(7) + b"{", b"\x80\x02"])
)
def test_noise_is_refused(list_bytes, data, magic):
    with LocalFiles() as source, pytest.raises(CheckpointError):
        read_contents(source, list_bytes(magic + data))
