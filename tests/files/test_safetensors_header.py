"""A safetensors header is believed only where it fits the file to the byte."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from wsanalyze.errors import CheckpointError
from wsanalyze.files import safetensors_header
from wsanalyze.files.local import LocalFiles
from wsanalyze.files.safetensors_header import read_header

GOOD = save(
    {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones(4, dtype=np.float16),
        "empty": np.zeros((0, 7), dtype=np.float32),
        "scalar": np.array(3.0),
        "count": np.array(5, dtype=np.int64),
    },
    {"global_step": "12"},
)


def build(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.fixture
def read(source, list_bytes):
    return lambda data: read_header(source, list_bytes(data))


def test_a_good_header(read):
    header = read(GOOD)
    assert set(header.entries) == {"a.weight", "b", "empty", "scalar", "count"}
    assert header.metadata == {"global_step": "12"}
    entry = header.entries["a.weight"]
    assert (entry.dtype, entry.shape, entry.nbytes) == ("F32", (2, 3), 24)
    assert GOOD[entry.offset : entry.offset + entry.nbytes] == np.arange(6, dtype=np.float32).tobytes()
    assert header.entries["empty"].nbytes == 0
    assert header.entries["scalar"].shape == ()


def test_no_tensor_at_all_is_a_header_too(read):
    assert read(build({})).entries == {}


def test_metadata_of_other_types_is_let_go(read):
    assert read(build({"__metadata__": {"a": 1, "b": "x"}})).metadata == {"b": "x"}
    assert read(build({"__metadata__": float("nan")})).metadata == {}


DEEP = b'{"a":' * 100_000
BAD = {
    "too short": (b"\x08\x00\x00", "truncated"),
    "length 2^63": (build(b"{}", length=2**63), "9223372036854775808 bytes, more than"),
    "length over 100 MB": (build(b"{}", length=100_000_001), "more than"),
    "length beyond the file": (build(b"{}", length=50), "truncated"),
    "no JSON": (build(b"{x"), "damaged safetensors header"),
    "no UTF-8": (build(b'{"\xff": 1}'), "damaged safetensors header"),
    "deep JSON": (build(DEEP), "damaged safetensors header"),
    "a number of 5000 digits": (build(b'{"a": ' + b"9" * 5000 + b"}"), "damaged safetensors header"),
    "a list": (build([]), "no object"),
    "a name twice": (build(b'{"a": 1, "a": 2}'), "'a' stands twice"),
    "a key twice": (
        build(b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [], "data_offsets": [0, 4]}}', bytes(4)),
        "'dtype' stands twice",
    ),
    "an entry that is no object": (build({"a": 1}), "'a' has a damaged header entry"),
    "no dtype": (build({"a": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "damaged header entry"),
    "a dtype that is a number": (build({"a": tensor(0, 4, dtype=1)}, bytes(4)), "damaged header entry"),
    "a shape of booleans": (build({"a": tensor(0, 4, [True])}, bytes(4)), "damaged header entry"),
    "a shape of floats": (build({"a": tensor(0, 4, [1.0])}, bytes(4)), "damaged header entry"),
    "a shape of NaN": (build({"a": tensor(0, 4, [float("nan")])}, bytes(4)), "damaged header entry"),
    "a negative size": (build({"a": tensor(0, 4, [-1])}, bytes(4)), "damaged header entry"),
    "a shape that is text": (build({"a": tensor(0, 4, "1")}, bytes(4)), "damaged header entry"),
    "three offsets": (build({"a": tensor(0, 4) | {"data_offsets": [0, 2, 4]}}, bytes(4)), "damaged header entry"),
    "negative offsets": (build({"a": tensor(-4, 0)}, bytes(4)), "damaged header entry"),
    "offsets that go back": (build({"a": tensor(4, 0, [0])}, bytes(4)), "damaged header entry"),
    "offsets beyond the file": (build({"a": tensor(0, 8, [2])}, bytes(4)), "truncated or still being written"),
    "offsets beyond 2^64": (build({"a": tensor(0, 2**70, [1])}, bytes(4)), "damaged header entry"),
    "a product that overflows": (build({"a": tensor(0, 0, [2**32, 2**32, 2])}), "damaged header entry"),
    "a product that wraps to nothing": (build({"a": tensor(0, 0, [2**62, 4])}), "damaged header entry"),
    "a product that takes minutes": (
        build({"a": tensor(0, 4, [10**18] * 65)}, bytes(4)),
        "damaged header entry",
    ),
    "too few bytes": (build({"a": tensor(0, 4, [2])}, bytes(4)), "does not fill"),
    "too many bytes": (build({"a": tensor(0, 8, [1])}, bytes(8)), "does not fill"),
    "overlapping": (build({"a": tensor(0, 8, [2]), "b": tensor(4, 8)}, bytes(8)), "'b' overlaps another"),
    "the same bytes": (build({"a": tensor(0, 4), "b": tensor(0, 4)}, bytes(4)), "overlaps another"),
    "a hole": (build({"a": tensor(0, 4), "b": tensor(8, 12)}, bytes(12)), "'b' leaves a hole"),
    "trailing bytes": (build({"a": tensor(0, 4)}, bytes(5)), "1 bytes that belong to no tensor"),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD.keys())
def test_attacks_are_refused_by_name(read, data, reason):
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_a_shape_of_many_long_numbers_takes_no_time(read):
    shape = b"[" + b",".join([b"9" * 4000] * 20_000) + b"]"
    entry = b'{"a": {"dtype": "F32", "shape": ' + shape + b', "data_offsets": [0, 4]}}'
    with pytest.raises(CheckpointError, match="a number of 4000 digits"):
        read(build(entry, bytes(4)))


def test_too_many_tensors_are_refused(read, monkeypatch):
    monkeypatch.setattr(safetensors_header, "MAX_TENSORS", 3)
    with pytest.raises(CheckpointError, match="lists 5 tensors"):
        read(GOOD)


@pytest.mark.parametrize(
    ("dtype", "shape", "nbytes"),
    [("F4", [4, 2], 4), ("F6_E2M3", [4], 3), ("F8_E8M0", [3], 3), ("C64", [2], 16), ("F99", [5], 7)],
)
def test_dtypes_of_any_width(read, dtype, shape, nbytes):
    header = read(build({"a": tensor(0, nbytes, shape, dtype)}, bytes(nbytes)))
    assert header.entries["a"].nbytes == nbytes


def test_names_may_hold_anything(read):
    names = ["\x1b[2J", "<script>", "=1+1", "a\nb", "\u202e", "é"]
    data = {name: tensor(4 * i, 4 * i + 4) for i, name in enumerate(names)}
    assert list(read(build(data, bytes(4 * len(names)))).entries) == names


@settings(deadline=1000)
@given(length=st.integers(0, len(GOOD) - 1))
def test_a_truncated_file_is_refused(list_bytes, length):
    with LocalFiles() as source, pytest.raises(CheckpointError):
        read_header(source, list_bytes(GOOD[:length]))


@settings(deadline=1000, max_examples=300)
@given(edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 60), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_garbled_file_is_read_or_refused(list_bytes, edits):
    data = bytearray(GOOD)
    for position, value in edits:
        data[position] = value
    with LocalFiles() as source:
        try:
            header = read_header(source, list_bytes(bytes(data)))
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017 - one of two right answers
        else:
            assert sum(entry.nbytes for entry in header.entries.values()) == len(data) - header.data_offset
