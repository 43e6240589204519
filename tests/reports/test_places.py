"""Which paths lead to one file, and which to a stream that is open already."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsanalyze.reports.places import find_stream, identify, is_replaceable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and streams are those of POSIX")

WAYS = {
    "itself": lambda path: path,
    "by a dot": lambda path: path.parent / "." / path.name,
    "by the folder above": lambda path: path.parent / ".." / path.parent.name / path.name,
    "by a link": lambda path: link(path, "link"),
    "by a link to a link": lambda path: link(link(path, "link"), "second"),
    "by a linked folder": lambda path: link(path.parent, "folder") / path.name,
    "relative": lambda path: Path(os.path.relpath(path)),
}


def link(path, name):
    made = path.parent.parent / name
    made.unlink(missing_ok=True)
    made.symlink_to(path)
    return made


@pytest.mark.parametrize("there", [True, False])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.sampled_from(sorted(WAYS)), other=st.sampled_from(sorted(WAYS)))
def test_a_file_is_the_same_by_whatever_way_and_no_other(tmp_path, there, one, other):
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    path, second = folder / "one", folder / "two"
    for file in (path, second) if there else ():
        file.touch()
    assert identify(WAYS[one](path)) & identify(WAYS[other](path))
    assert not identify(WAYS[one](path)) & identify(WAYS[other](second))


def test_a_hard_link_is_the_same_file(tmp_path):
    (tmp_path / "one").touch()
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert identify(tmp_path / "one") & identify(tmp_path / "two")


def test_devices_and_pipes_have_room_for_all(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not identify("/dev/null")
    assert not identify(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/dev/../dev/fd/1"])
def test_standard_output_is_a_stream_by_whatever_name(tmp_path, path):
    (tmp_path / "link").symlink_to(path)
    assert find_stream(path) == find_stream(tmp_path / "link") == 1
    assert find_stream(path.replace("1", "77").replace("stdout", "fd/77")) == 77


def test_a_stream_shares_with_a_path_only_the_file_behind_it(tmp_path):
    with (tmp_path / "file").open("w") as file:
        stream = f"/dev/fd/{file.fileno()}"
        assert identify(stream) & identify(tmp_path / "file")
        assert ("stream", file.fileno()) in identify(stream)
    assert not identify(stream) & identify(tmp_path / "file")


@pytest.mark.parametrize("name", ["1", "fd/1", "loop", "/nowhere/1", "/dev/fd/one", "/dev/fd/²", "", "/"])
def test_whatever_else_is_no_stream(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    assert find_stream(name) is None


def test_only_files_of_disks_can_be_replaced(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert is_replaceable(tmp_path / "file")
    assert is_replaceable(tmp_path / "new")
    assert not any(map(is_replaceable, (tmp_path, tmp_path / "pipe", "/dev/null")))
    with pytest.raises(OSError, match="symbolic links"):
        is_replaceable(tmp_path / "loop")
    with (tmp_path / "file").open() as file:
        assert not is_replaceable(f"/proc/self/fd/{file.fileno()}") or not Path("/proc").is_dir()
