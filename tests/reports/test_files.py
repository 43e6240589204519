"""Writing reports to disk: whole or not at all."""

import io
import os
from pathlib import Path

import pytest

from wsanalyze.errors import ReportError
from wsanalyze.reports.files import write_bytes, write_text


def test_writes_utf8_with_plain_line_ends(tmp_path):
    write_text("schön\n\u5c42\n", tmp_path / "report.txt")

    assert (tmp_path / "report.txt").read_bytes() == "schön\n\u5c42\n".encode()


def test_a_lone_surrogate_is_made_visible(tmp_path):
    write_text("a\udc80b", tmp_path / "report.txt")

    assert (tmp_path / "report.txt").read_bytes() == rb"a\udc80b"


def test_replaces_a_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "report.txt"
    path.write_text("a much longer report that was here before")

    write_text("new", path)

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report.txt"
    path.write_text("old")

    def refuse(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)

    with pytest.raises(ReportError, match=r"report\.txt: No space left on device"):
        write_text("new", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)

    with pytest.raises(KeyboardInterrupt):
        write_text("new", tmp_path / "report.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/report.txt", "."])
def test_a_path_that_cannot_be_written_is_named_in_one_line(tmp_path, name):
    with pytest.raises(ReportError) as error:
        write_text("new", tmp_path / name)

    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value.__cause__, OSError)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    ordinary, report = tmp_path / "ordinary.txt", tmp_path / "report.txt"
    ordinary.write_text("")

    write_text("new", report)

    assert report.stat().st_mode == ordinary.stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_replaced_file_keeps_its_permissions(tmp_path):
    report = tmp_path / "report.txt"
    report.write_text("old")
    report.chmod(0o640)

    write_text("new", report)

    assert report.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    link, real = tmp_path / "report.txt", tmp_path / "real" / "report.txt"
    real.write_text("old")
    link.symlink_to(real)

    write_text("new", link)

    assert link.is_symlink()
    assert real.read_text() == "new"


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="there is no /dev/null")
def test_a_device_is_written_to_and_not_replaced():
    write_text("new", Path("/dev/null"))

    assert Path("/dev/null").is_char_device()


def test_a_stream_is_written_to_and_stays_open():
    stream = io.StringIO()

    write_text("one", stream)
    write_text("two", stream)

    assert stream.getvalue() == "onetwo"


def test_bytes_are_written_as_they_are(tmp_path):
    write_bytes([b"\r\n", b"\x00"], tmp_path / "figure.png")

    assert (tmp_path / "figure.png").read_bytes() == b"\r\n\x00"


def test_a_closed_stream_is_named():
    stream = io.StringIO()
    stream.close()
    for closed in (stream, None):
        with pytest.raises(ReportError, match="standard output is closed"):
            write_text("text", closed)
