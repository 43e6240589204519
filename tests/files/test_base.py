"""A file object over a source, as parsers want one."""

import io

import pytest

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import SourceFile
from wsanalyze.files.local import stat_file


@pytest.fixture
def handle(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return SourceFile(source, stat_file(path), 8)


def test_it_reads_and_seeks_as_files_do(handle):
    assert handle.readable()
    assert handle.seekable()
    assert handle.read(3) == b"012"
    assert handle.tell() == 3
    assert handle.seek(-2, io.SEEK_END) == 8
    assert handle.read() == b"89"
    assert handle.read(5) == b""
    assert handle.seek(-4, io.SEEK_CUR) == 6
    assert handle.read(2) == b"67"
    handle.seek(100)
    assert handle.read() == b""


def test_before_the_start_is_an_error(handle):
    with pytest.raises(ValueError, match="negative"):
        handle.seek(-1)


def test_large_reads_are_refused(handle):
    with pytest.raises(CheckpointError, match="9 bytes of headers at once"):
        handle.read(9)
