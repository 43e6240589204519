"""The arrays of a NumPy archive are found by their headers; nothing that somebody made up is believed or opened."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.contents import read_contents
from wsanalyze.files.local import LocalFiles
from wsanalyze.files.numpy_archive import NumpyArchive


def save(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def npy(header, data=b"", version=(1, 0), length=None):
    """A `.npy` file whose header says what it is told to say."""
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + text + data


def describe(descr="'<f4'", fortran="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


GOOD = save(a=np.arange(6.0).reshape(2, 3), b=np.asfortranarray(np.ones((4, 5), np.float16)), step=np.array(12))


@pytest.fixture
def read(source, list_bytes):
    return lambda data: read_contents(source, list_bytes(data))


def test_headers_of_every_array(read):
    found = read(GOOD)
    assert isinstance(found, NumpyArchive)
    assert list(found.arrays) == ["a", "b", "step"]
    a, b = found.arrays["a"], found.arrays["b"]
    assert (a.dtype, a.shape, a.fortran, a.nbytes) == (np.dtype("f8"), (2, 3), False, 48)
    assert (b.dtype, b.shape, b.fortran, b.nbytes) == (np.dtype("f2"), (4, 5), True, 40)
    assert GOOD[a.offset : a.offset + a.nbytes] == np.arange(6.0).tobytes()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(read, version):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(3.0), version)
    array = read(archive([("a.npy", buffer.getvalue())])).arrays["a"]
    assert (array.shape, array.nbytes) == ((3,), 24)


def test_a_header_of_python_2(read):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }"
    assert read(archive([("a.npy", npy(header, bytes(8)))])).arrays["a"].shape == (2, 1)


def test_whole_numbers_at_the_top_are_notes(read):
    found = read(save(step=np.array(7), epoch=np.array([3], ">i2"), ratio=np.array(0.5), many=np.arange(2)))
    assert next(iter(found.mappings())) == {"step": 7, "epoch": 3}
    assert all(type(value) is int for value in found.notes.values())
    assert read(save(**{"bn/num_batches": np.array(5), "bn.num_batches": np.array(5)})).notes == {}


def test_notes_are_bounded(read):
    assert len(read(save(**{f"n{index}": np.array(index) for index in range(100)})).notes) == 64


def test_checksums_are_what_tells_archives_apart(read):
    one, same, other = (read(save(a=np.full((3, 3), value))) for value in (1.0, 1.0, 2.0))
    assert list(one.tokens()) == list(same.tokens()) != list(other.tokens())
    assert one.unsummed(None, None) == []


def test_an_array_without_a_checksum_is_sampled(read):
    assert len(read(save(a=np.zeros(0))).unsummed(None, None)) == 0
    found = read(GOOD)
    name = next(iter(found.records))
    object.__setattr__(found.records[name], "crc", 0)
    assert found.unsummed(None, None) == [(found.arrays[name].offset, 48)]


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_is_opened(read, tmp_path):
    canary = tmp_path / "canary"
    objects = np.empty(1, dtype=object)
    objects[0] = Canary(canary)
    found = read(save(objects=objects, w=np.zeros((2, 2))))
    assert found.arrays["objects"].dtype.hasobject
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))  # noqa: S301 - that it would have, had it been opened
    assert canary.exists()


BAD = {
    "compressed": (archive([("a.npy", npy(describe(), bytes(8)))], zipfile.ZIP_DEFLATED), r"use|numpy\.savez, not"),
    "a header of a gigabyte": (archive([("a.npy", npy(describe(), version=(2, 0), length=2**30))]), "damaged header"),
    "a long header": (archive([("a.npy", npy(describe() + " " * 50_000, bytes(8)))]), "damaged header"),
    "no magic": (archive([("a.npy", b"NUMPY" * 20)]), "damaged header"),
    "nothing": (archive([("a.npy", b"")]), "damaged header"),
    "a version to come": (archive([("a.npy", npy(describe(), bytes(8), version=(9, 0)))]), "version 9.0 is not known"),
    "a call": (archive([("a.npy", npy("__import__('os').abort()", bytes(8)))]), "damaged header"),
    "deep": (archive([("a.npy", npy("[" * 5000, bytes(8)))]), "damaged header"),
    "deep and closed": (archive([("a.npy", npy("(" * 4900 + ")" * 4900, bytes(8)))]), "damaged header"),
    "many signs": (archive([("a.npy", npy("-" * 9000 + "1", bytes(8)))]), "damaged header"),
    "not closed": (archive([("a.npy", npy("{'descr': '''", bytes(8)))]), "damaged header"),
    "an unknown dtype": (archive([("a.npy", npy(describe("'nonsense'"), bytes(8)))]), "damaged header"),
    "a deep dtype": (archive([("a.npy", npy(describe("(" * 400 + "'<f4'" + ",)" * 400), bytes(8)))]), "damaged header"),
    "a negative size": (archive([("a.npy", npy(describe(shape="(-1,)"), bytes(8)))]), "damaged header"),
    "an overflow": (archive([("a.npy", npy(describe(shape="(2**40, 2**40)"), bytes(8)))]), "damaged header"),
    "large": (archive([("a.npy", npy(describe(shape=f"({2**40}, {2**40})"), bytes(8)))]), "damaged header"),
    "long numbers": (archive([("a.npy", npy(describe(shape=f"({'9' * 4000},)"), bytes(8)))]), "damaged header"),
    "longer numbers": (archive([("a.npy", npy(describe(shape=f"({'9' * 8000},)"), bytes(8)))]), "damaged header"),
    "many axes": (archive([("a.npy", npy(describe(shape=f"({'1,' * 65})"), bytes(4)))]), "damaged header"),
    "too few bytes": (archive([("a.npy", npy(describe(), bytes(7)))]), "does not fill the bytes"),
    "too many bytes": (archive([("a.npy", npy(describe(), bytes(9)))]), "does not fill the bytes"),
    "not only arrays": (archive([("a.npy", npy(describe(), bytes(8))), ("b.txt", b"")]), "zip archive"),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_is_said_in_one_line(read, data, reason):
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_member_that_is_listed_twice_is_refused(read, recwarn):
    data = archive([("a.npy", npy(describe(), bytes(8))), ("a.npy", npy(describe(), bytes(8)))])
    recwarn.clear()  # zipfile's own warning at writing
    with pytest.raises(CheckpointError, match="twice"):
        read(data)


@settings(max_examples=60)
@given(length=st.integers(0, len(GOOD) - 1))
def test_a_truncated_archive_is_refused(list_bytes, length):
    with LocalFiles() as source, pytest.raises(CheckpointError):
        read_contents(source, list_bytes(GOOD[:length]))


TOKENS = [
    *["{", "}", "(", ")", "[", "]", ",", ":", "'", '"', "\\", "L", "\n", "#", " ", "-", "1e999", "0x", "9" * 50],
    *["'descr'", "'<f4'", "'|V2'", "'O'", "'f4,f4'", "'10f4'", "'M8[us]'", "('a', '<f4')", "'fortran_order'"],
    *["True", "False", "None", "'shape'", "(2,)", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"],
]


@settings(max_examples=400)
@given(parts=st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=14), version=st.sampled_from([1, 2, 3]))
def test_a_made_up_header_is_read_or_refused_in_one_line(list_bytes, parts, version):
    header = "".join(parts).encode("utf-8", "surrogatepass").decode("latin1")
    said = ""
    with LocalFiles() as source:
        try:
            read_contents(source, list_bytes(archive([("a.npy", npy(header, bytes(8), (version, 0)))])))
        except CheckpointError as error:
            said = str(error)
    assert "\n" not in said
