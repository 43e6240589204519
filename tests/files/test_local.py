"""Local files: what was listed is what is read, or an error says that it is not."""

import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.files import local
from wsanalyze.files.base import FileRef, read_bytes
from wsanalyze.files.local import LocalFiles, stat_file

OPEN_FILES = Path("/proc/self/fd")


def test_bytes_are_read_by_position(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    file = stat_file(path)
    assert file.size == 100
    assert read_bytes(source, file, 10, 5) == bytes(range(10, 15))
    assert read_bytes(source, file, 0, 0) == b""
    source.verify(file)


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, -1), (99, 2), (2**62, 2)])
def test_a_range_outside_the_file_is_an_error(tmp_path, source, offset, length):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    with pytest.raises(CheckpointError, match="truncated"):
        read_bytes(source, stat_file(path), offset, length)


def test_without_positional_reads(tmp_path, source, monkeypatch):
    monkeypatch.setattr(local, "_read_at", local._read_after_seek)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    file = stat_file(path)
    assert read_bytes(source, file, 10, 5) == bytes(range(10, 15))
    assert read_bytes(source, file, 3, 2) == bytes([3, 4])


@pytest.mark.parametrize("path", ["missing", "a\0b", "x" * 5000, "\ud800"])
def test_what_is_not_there_cannot_be_listed(path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        stat_file(path)


def test_pipes_and_folders_are_no_files(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(CheckpointError, match="not a regular file"):
            stat_file(path)


def test_links_are_followed(tmp_path, source):
    (tmp_path / "blob").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("blob")
    (tmp_path / "dangling").symlink_to("nothing")
    assert read_bytes(source, stat_file(tmp_path / "link"), 0, 3) == b"abc"
    with pytest.raises(CheckpointError, match="no such file"):
        stat_file(tmp_path / "dangling")


def test_a_file_that_may_not_be_read(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(CheckpointError, match="permission denied"):
        read_bytes(source, stat_file(path), 0, 1)


def test_a_file_that_is_gone(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = stat_file(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        read_bytes(source, file, 0, 1)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_bytes(source, FileRef("a\0b", 3, ""), 0, 1)


def test_a_file_written_to_after_it_was_listed(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = stat_file(path)
    path.write_bytes(b"xyz!")
    with pytest.raises(CheckpointError, match="changed since it was listed"):
        read_bytes(source, file, 0, 1)
    assert read_bytes(source, stat_file(path), 0, 4) == b"xyz!"


def test_a_file_replaced_by_another_is_read_anew(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    old = stat_file(path)
    assert read_bytes(source, old, 0, 3) == b"abc"
    path.unlink()
    path.write_bytes(b"xyz")
    assert read_bytes(source, stat_file(path), 0, 3) == b"xyz"
    with pytest.raises(CheckpointError, match="changed"):
        source.verify(old)


def test_a_file_rewritten_with_its_old_time_put_back(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = stat_file(path)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
    with pytest.raises(CheckpointError, match="changed"):
        read_bytes(source, file, 0, 1)


def test_a_file_written_to_while_it_is_read(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = stat_file(path)
    read_bytes(source, file, 0, 1)
    with path.open("r+b") as handle:
        handle.write(b"x")
        os.utime(path, ns=(1, 1))
    with pytest.raises(CheckpointError, match="changed while it was being read"):
        source.verify(file)


def test_a_file_truncated_while_it_is_read(tmp_path, source):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    file = stat_file(path)
    read_bytes(source, file, 0, 1)
    os.truncate(path, 50)
    with pytest.raises(CheckpointError, match="ends too early"):
        read_bytes(source, file, 40, 20)


def test_a_disk_that_fails(tmp_path, source, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    file = stat_file(path)

    def fail(*_args):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(local, "_read_at", fail)
        with pytest.raises(CheckpointError, match=r"file: cannot be read \(input/output error\)"):
            read_bytes(source, file, 0, 1)
        patched.setattr(os, "fstat", fail)
        with pytest.raises(CheckpointError, match="input/output error"):
            source.verify(file)


def test_short_reads_are_put_together(tmp_path, source, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(50)))
    whole = local._read_at
    monkeypatch.setattr(local, "_read_at", lambda fd, buffer, offset: whole(fd, buffer[:7], offset))
    assert read_bytes(source, stat_file(path), 5, 40) == bytes(range(5, 45))


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="needs Linux")
def test_few_files_are_open_at_once_and_none_after_closing(tmp_path):
    before = len(list(OPEN_FILES.iterdir()))
    source = LocalFiles()
    files = []
    for index in range(200):
        path = tmp_path / str(index)
        path.write_bytes(bytes([index]))
        files.append(stat_file(path))
    for _ in range(2):
        for index, file in enumerate(files):
            assert read_bytes(source, file, 0, 1) == bytes([index])
    assert 0 < len(list(OPEN_FILES.iterdir())) - before <= 128
    source.close()
    assert len(list(OPEN_FILES.iterdir())) == before
    assert read_bytes(source, files[3], 0, 1) == b"\x03"
    source.close()


def test_threads_may_share_a_source(tmp_path, source):
    path = tmp_path / "file"
    data = os.urandom(1 << 16)
    path.write_bytes(data)
    file = stat_file(path)
    wrong = []

    def read(start):
        offsets = range(start, len(data) - 64, 997)
        wrong.extend(at for at in offsets if read_bytes(source, file, at, 64) != data[at : at + 64])

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit on Windows")
def test_too_many_open_files_are_no_fault_of_a_checkpoint(tmp_path):
    """Those that nobody reads are closed first; where all are read, the error is one that drops no checkpoint."""
    import resource

    files = []
    for index in range(40):
        path = tmp_path / str(index)
        path.write_bytes(bytes([index]))
        files.append(stat_file(path))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LocalFiles() as source:
        for file in files[:20]:
            read_bytes(source, file, 0, 1)
        used = len(list(OPEN_FILES.iterdir())) if OPEN_FILES.is_dir() else 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            for file in files[20:]:
                assert read_bytes(source, file, 0, 1) == bytes([int(Path(file.url).name)])
            with ExitStack() as stack, pytest.raises(SourceError, match="ulimit -n"):
                [stack.enter_context(source.open(file)) for file in files]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
