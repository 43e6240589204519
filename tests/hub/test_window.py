"""Laws of the window: what is needed is there, no more than is allowed, and nothing outside it is ever touched."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.address import parse_address
from wsanalyze.hub.beside import NOTE, remove_forgotten
from wsanalyze.hub.digests import check_digest
from wsanalyze.hub.failures import UnreachableError
from wsanalyze.hub.records import HubFile, TreeFile
from wsanalyze.hub.window import Window
from wsanalyze.store.database import WriterLock

ADDRESS = parse_address("hf://org/model", "model")


class FakeClient:
    """Writes files instead of downloading them, and counts what it wrote."""

    def __init__(self, home):
        self.home = home
        self.contents = {}
        self.downloads = []
        self.wrong = set()
        self.full = False
        self.cut = None

    def find_cached(self, _file):
        return None

    def download(self, file, folder, on_bytes):
        self.downloads.append(file.entry.digest)
        data = self.contents[file.entry.digest]
        if self.full:
            (folder / "half").write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "no space left on device")
        if self.cut is not None:
            (folder / "half").write_bytes(data[: len(data) // 2])
            raise self.cut
        path = (folder or self.home / "cache") / file.entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[:-1] + b"!" if file.entry.digest in self.wrong else data)
        on_bytes(len(data))
        return path

    def file(self, data, path="a/model.safetensors", digest=None):
        digest = digest or f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.contents[digest] = data
        return HubFile(ADDRESS, "c" * 40, TreeFile(path, len(data), digest), f"hf://org/model@x/{path}")


@pytest.fixture
def client(tmp_path):
    return FakeClient(tmp_path)


@pytest.fixture
def window(client, tmp_path):
    return make(client, tmp_path)


def make(client, place, name="window"):
    return Window(client, Path(place) / name, Path(place) / f"{name}.wsa")


def nothing(_num_bytes):
    pass


def held(folder):
    """What lies in a folder, the notes of windows aside."""
    found = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != NOTE]
    return {path: path.stat().st_size for path in found}


SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=12)
SETS = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=4), min_size=1, max_size=8)


@given(sizes=SIZES, sets=SETS, left=st.lists(st.integers(0, 11), max_size=4))
def test_files_of_the_set_at_hand_are_there_and_never_more_than_the_room(sizes, sets, left):
    with tempfile.TemporaryDirectory() as place:
        client = FakeClient(Path(place))
        (Path(place) / "outside").write_text("untouched")
        files = [client.file(bytes([index]) * size) for index, size in enumerate(sizes)]
        window = make(client, place)
        for index in left:  # of an earlier run
            window.bring(files[index % len(files)], nothing)
        client.downloads.clear()
        needed = [[files[index % len(files)] for index in some] for some in sets]
        window.plan(needed)
        for index, some in enumerate(needed):
            window.advance(index)
            assert window.held_bytes <= window.room
            for file in some:
                assert window.bring(file, nothing).read_bytes() == client.contents[file.entry.digest]
                assert sum(held(Path(place) / "window").values()) <= window.room
            assert all(window.find(file) for file in some)
        window.finish(needed[-1])
        assert {path.read_bytes() for path in held(Path(place) / "window")} == {
            client.contents[file.entry.digest] for file in needed[-1]
        }
        assert {path.name for path in Path(place).iterdir()} == {"outside", "window"}
        assert (Path(place) / "outside").read_text() == "untouched"


@given(sets=SETS)
def test_what_follows_at_once_is_never_fetched_twice(sets):
    """Successive pairs share a checkpoint; it stays from one to the next."""
    with tempfile.TemporaryDirectory() as place:
        client = FakeClient(Path(place))
        chain = [client.file(bytes([index]) * 9) for index in range(len(sets) + 1)]
        window = make(client, place)
        window.plan([chain[index : index + 2] for index in range(len(sets))])
        for index in range(len(sets)):
            window.advance(index)
            for file in chain[index : index + 2]:
                window.bring(file, nothing)
        assert len(client.downloads) == len(chain)


DIGESTS = st.text(st.characters(codec="utf-8") | st.sampled_from("/\\.:~\0-"), min_size=1) | st.sampled_from(
    ["sha256:../../../outside", "../outside", "/outside", "sha256:" + "a" * 63 + "/", "stat:1:/etc/passwd", ".", ".."]
)


@given(digest=DIGESTS)
def test_a_digest_is_no_path_whatever_a_server_says(digest):
    with tempfile.TemporaryDirectory() as place:
        client = FakeClient(Path(place))
        (Path(place) / "outside").write_text("untouched")
        window = make(client, place)
        file = client.file(b"some bytes", digest=digest)
        window.plan([[file]])
        window.advance(0)
        try:
            found = window.bring(file, nothing)
        except CheckpointError:  # a digest of a kind that is known, and not that of the bytes
            assert window.find(file) is None
        else:
            assert found == window.find(file)
            assert found.parent == Path(place) / "window" / "files"
        window.finish([])
        assert held(place) == {Path(place) / "outside": 9}


@pytest.mark.parametrize("kind", ["sha256", "git"])
def test_a_file_that_is_not_the_one_listed_is_thrown_away(client, window, kind):
    data = b"weights" * 100
    blob = hashlib.sha1(b"blob 700\0" + data, usedforsecurity=False).hexdigest()
    digest = f"git:{blob}" if kind == "git" else f"sha256:{hashlib.sha256(data).hexdigest()}"
    file = client.file(data, digest=digest)
    client.wrong.add(digest)
    with pytest.raises(CheckpointError, match="other sha"):
        window.bring(file, nothing)
    assert held(window.folder) == {}
    client.wrong.clear()
    assert window.bring(file, nothing).read_bytes() == data
    assert window.bring(file, nothing).read_bytes() == data
    assert len(client.downloads) == 2


def test_a_full_disk_leaves_no_half_file(client, window):
    file = client.file(b"w" * 100)
    client.full = True
    with pytest.raises(SourceError, match=r"no room for hf://org/model@x/a/model\.safetensors"):
        window.bring(file, nothing)
    assert held(window.folder) == {}


def test_a_file_larger_than_the_disk_is_not_begun(client, window, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 91, 9))
    with pytest.raises(SourceError, match="no room"):
        window.bring(client.file(b"w" * 10), nothing)
    assert client.downloads == []
    assert held(window.folder) == {}


def test_an_empty_file(client, window):
    assert window.bring(client.file(b""), nothing).read_bytes() == b""


def test_a_cut_off_copy_of_an_earlier_run_is_replaced(client, window):
    file = client.file(b"w" * 100)
    window.bring(file, nothing).write_bytes(b"w" * 50)
    assert window.find(file) is None
    assert window.bring(file, nothing).stat().st_size == 100


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=10), free=st.integers(70, 400))
def test_files_that_come_early_stay_while_there_is_room(sizes, free):
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        client = FakeClient(Path(place))
        window = make(client, place)

        def usage(_):
            return shutil._ntuple_diskusage(1000, 0, free - window.held_bytes)

        patch.setattr(shutil, "disk_usage", usage)
        files = [client.file(bytes([index]) * size) for index, size in enumerate(sizes)]
        for file in files:
            assert window.bring_early(file, nothing).stat().st_size == file.entry.size
            assert window.held_bytes < free
        if sum(sizes) <= 0.9 * free:
            assert all(window.find(file) for file in files)
        assert (window.num_dropped == 0) == all(window.find(file) for file in files)
        window.plan([[file] for file in files])
        for index, file in enumerate(files):
            window.advance(index)
            window.bring(file, nothing)
        assert len(client.downloads) == len(files) or (window.num_dropped and len(client.downloads) <= 2 * len(files))


def test_sizes_are_checked_before_hashes(tmp_path, client):
    file = client.file(b"w" * 10)
    (tmp_path / "x").write_bytes(b"w" * 9)
    assert "came with 9 bytes, 10 are listed" in check_digest(tmp_path / "x", file)


@pytest.mark.parametrize("cut", [KeyboardInterrupt(), UnreachableError("the network is gone")])
def test_what_came_of_a_file_stays_for_the_next_try_at_it(client, window, cut):
    file, other = client.file(b"w" * 100), client.file(b"v" * 10)
    client.cut = cut
    with pytest.raises(type(cut)):
        window.bring(file, nothing)
    (begun,) = held(window.folder)
    assert begun.read_bytes() == b"w" * 50
    assert window.held_bytes == 50
    window.plan([[file]])
    window.advance(0)
    with pytest.raises(type(cut)):
        window.bring(file, nothing)
    assert list(held(window.folder)) == [begun]
    client.cut = None
    assert window.bring(file, nothing).read_bytes() == b"w" * 100
    assert list(held(window.folder)) == [window.find(file)]
    window.bring(other, nothing)
    assert window.held_bytes == 110


@pytest.mark.parametrize("let_go", ["another file", "a set without it", "the end"])
def test_what_came_of_a_file_goes_when_it_is_not_the_one_that_is_wanted(client, window, let_go):
    file, other = client.file(b"w" * 100), client.file(b"v" * 10)
    client.cut = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        window.bring(file, nothing)
    client.cut = None
    if let_go == "another file":
        window.bring(other, nothing)
    elif let_go == "a set without it":
        window.plan([[other], [file]])
        window.advance(0)
    else:
        window.finish([])
    assert sum(held(window.folder).values()) == (10 if let_go == "another file" else 0)


def test_the_beginning_of_a_file_counts_as_room_for_it(client, window, monkeypatch):
    file = client.file(b"w" * 100)
    client.cut = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        window.bring(file, nothing)
    client.cut = None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 49, 51))
    assert window.bring(file, nothing).stat().st_size == 100


def test_what_came_to_the_window_of_another_run_is_copied(client, tmp_path):
    one, other = make(client, tmp_path, "one"), make(client, tmp_path, "other")
    file = client.file(b"w" * 100)
    first = one.bring(file, nothing)
    before, received = first.stat(), []
    second = other.bring(file, received.append)
    assert second.parent.parent == other.folder
    assert (second.read_bytes(), received) == (b"w" * 100, [100])
    assert len(client.downloads) == 1
    other.finish([])
    after = first.stat()
    assert (after.st_ctime_ns, after.st_nlink) == (before.st_ctime_ns, 1)  # others may be reading it


def test_what_was_damaged_in_the_window_of_another_run_is_fetched(client, tmp_path):
    one, other = make(client, tmp_path, "one"), make(client, tmp_path, "other")
    file = client.file(b"w" * 100)
    one.bring(file, nothing).write_bytes(b"v" * 100)
    assert other.bring(file, nothing).read_bytes() == b"w" * 100
    assert len(client.downloads) == 2


@pytest.fixture
def beside(client, tmp_path):
    """A window of another run with a file of 100 bytes in it, whose run file is there."""
    other = make(client, tmp_path, "other")
    other.bring(client.file(b"w" * 100), nothing)
    (tmp_path / "other.wsa").touch()
    return other.folder


def test_a_window_goes_with_its_run_file(window, beside, tmp_path):
    assert window.others_bytes == 100
    remove_forgotten(window.folder)
    assert window.others_bytes == 100
    (tmp_path / "other.wsa").unlink()
    (beside / "coming").mkdir()
    (beside / "coming" / "half").touch()
    remove_forgotten(beside)
    assert beside.exists()  # one's own
    remove_forgotten(window.folder)
    assert not beside.exists()
    assert window.others_bytes == 0
    assert not (tmp_path / "other.wsa.lock").exists()


def test_a_window_stays_while_its_run_file_is_being_made(window, beside, tmp_path):
    (tmp_path / "other.wsa").unlink()
    lock = WriterLock(tmp_path / "other.wsa")
    remove_forgotten(window.folder)
    assert len(held(beside)) == 1
    lock.release()
    remove_forgotten(window.folder)
    assert not beside.exists()


def test_nothing_goes_that_is_not_known_for_a_window(window, beside, tmp_path):
    (tmp_path / "other.wsa").unlink()
    mine = tmp_path / "mine"
    (mine / "files").mkdir(parents=True)
    (mine / "files" / "precious").touch()
    (tmp_path / "link").symlink_to(beside)
    (beside / "precious").touch()
    for name, note in (("odd", "[" * 50_000), ("none", "{}"), ("list", "[1]"), ("near", '{"wsanalyze run file": "x"}')):
        (tmp_path / name / "files").mkdir(parents=True)
        (tmp_path / name / NOTE).write_text(note)
        (tmp_path / name / "files" / "precious").touch()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / NOTE).write_bytes((beside / NOTE).read_bytes())
    (tmp_path / "linked" / "files").symlink_to(mine / "files")
    before = {path for path in held(tmp_path) if path.name == "precious"}
    remove_forgotten(window.folder)
    assert {path for path in held(tmp_path) if path.name == "precious"} == before
    assert (mine / "files" / "precious").exists()
    assert (tmp_path / "link").is_symlink()
    assert {path.name for path in beside.iterdir()} == {"precious", NOTE}


def test_a_window_of_another_machine_goes_when_it_was_not_used_for_long(window, beside, tmp_path):
    (tmp_path / "other.wsa").unlink()
    note = json.loads((beside / NOTE).read_text()) | {"host": "elsewhere.invalid"}
    (beside / NOTE).write_text(json.dumps(note))
    remove_forgotten(window.folder)
    assert len(held(beside)) == 1
    for path in (beside / NOTE, beside / "files"):
        os.utime(path, (1e9, 1e9))
    remove_forgotten(window.folder)
    assert not beside.exists()


def test_a_folder_that_cannot_be_made_is_known_before(client, window, tmp_path):
    assert window.can_write
    assert not window.folder.exists()
    window.folder.mkdir()
    (window.folder / "files").touch()
    assert not window.can_write
    with pytest.raises(SourceError, match="cannot be written"):
        window.bring(client.file(b"w"), nothing)
    (tmp_path / "file").touch()
    assert not make(client, tmp_path / "file").can_write
