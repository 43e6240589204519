"""Records of a zip archive are where the directory says, stored as they are, or refused by name."""

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files import zip_records
from wsanalyze.files.base import read_bytes
from wsanalyze.files.local import LocalFiles
from wsanalyze.files.zip_records import check_overlaps, locate_record, read_directory


def pack(records, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in records:
            archive.writestr(name, data)
    return buffer.getvalue()


GOOD = pack([("root/data.pkl", b"N."), ("root/data/0", bytes(range(64))), ("root/é", b"x")])


def test_records_are_found_and_read(source, list_bytes):
    file = list_bytes(GOOD)
    records = read_directory(source, file)
    assert list(records) == ["root/data.pkl", "root/data/0", "root/é"]
    record = records["root/data/0"]
    assert record.stored
    assert read_bytes(source, file, locate_record(source, file, record), record.nbytes) == bytes(range(64))
    assert read_bytes(source, file, locate_record(source, file, records["root/é"]), 1) == b"x"


def test_a_compressed_record_is_refused(source, list_bytes):
    file = list_bytes(pack([("a", bytes(500))], zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="'a' is compressed or encrypted"):
        locate_record(source, file, read_directory(source, file)["a"])


def test_an_encrypted_record_is_refused(source, list_bytes):
    data = bytearray(pack([("a", b"text")]))
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    file = list_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        locate_record(source, file, read_directory(source, file)["a"])


@pytest.mark.parametrize("offset", [0, 6, 8, 30], ids=["magic", "flags", "method", "name"])
def test_a_local_header_that_contradicts_the_directory_is_refused(source, list_bytes, offset):
    data = bytearray(pack([("a", b"text")]))
    data[offset] ^= 1
    file = list_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="not where the directory says"):
        locate_record(source, file, read_directory(source, file)["a"])


def test_two_records_of_one_name_are_refused(source, list_bytes):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = pack([("a", b"1"), ("a", b"2")])
    with pytest.raises(CheckpointError, match="'a' twice"):
        read_directory(source, list_bytes(data))


def test_a_record_beyond_the_file_is_refused(source, list_bytes):
    data = bytearray(pack([("a", b"text")]))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<II", data, directory + 20, 10_000, 10_000)
    file = list_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="outside the file"):
        locate_record(source, file, read_directory(source, file)["a"])


def test_a_local_header_beyond_the_file_is_refused(source, list_bytes):
    data = bytearray(pack([("a", b"text")]))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 42, len(data) - 5)
    file = list_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="truncated"):
        locate_record(source, file, read_directory(source, file)["a"])


def test_too_many_records_are_refused(source, list_bytes, monkeypatch):
    monkeypatch.setattr(zip_records, "MAX_RECORDS", 2)
    with pytest.raises(CheckpointError, match="3 zip records"):
        read_directory(source, list_bytes(GOOD))


def test_a_directory_of_gigabytes_is_refused_before_it_is_read(source, list_bytes, monkeypatch):
    monkeypatch.setattr(zip_records, "_MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(CheckpointError, match="headers at once"):
        read_directory(source, list_bytes(GOOD))


def test_overlapping_records_are_refused(list_bytes):
    file = list_bytes(b"")
    check_overlaps([(10, 5, "b"), (0, 10, "a"), (15, 0, "empty"), (12, 0, "inside")], file)
    with pytest.raises(CheckpointError, match="'a' and 'b' overlap"):
        check_overlaps([(9, 5, "b"), (0, 10, "a")], file)


@settings(deadline=1000)
@given(length=st.integers(0, len(GOOD) - 1))
def test_a_truncated_archive_is_refused(list_bytes, length):
    with LocalFiles() as source, pytest.raises(CheckpointError, match="truncated or damaged"):
        read_directory(source, list_bytes(GOOD[:length]))


@settings(deadline=1000, max_examples=300)
@given(edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_garbled_archive_is_read_or_refused(list_bytes, edits):
    data = bytearray(GOOD)
    for position, value in edits:
        data[position] = value
    with LocalFiles() as source:
        file = list_bytes(bytes(data))
        try:
            for record in read_directory(source, file).values():
                offset = locate_record(source, file, record)
                assert len(read_bytes(source, file, offset, record.nbytes)) == record.nbytes
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017 - one of two right answers
