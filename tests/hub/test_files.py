"""Files on the Hub as a source of bytes: on disk where they are there, else far away; never after the end."""

import os
import re

import numpy as np
import pytest

from tests.hub.runs import REPO, analyze, make_walk, on_hub, publish, same_sums
from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.far_away import name_window
from wsanalyze.files.base import FileRef, read_bytes
from wsanalyze.files.local import stat_file
from wsanalyze.hub import checked
from wsanalyze.hub.beside import WindowName
from wsanalyze.hub.digests import check_digest
from wsanalyze.hub.session import HubOptions, HubSession

WEIGHTS = np.random.default_rng(0).bytes(200_000)
OTHERS = np.random.default_rng(1).bytes(200_000)


@pytest.fixture
def open_files(hub, tmp_path):
    """Open the files of a repository of two revisions; gives the source and the files by revision."""
    repo = hub.add_repo(REPO)
    for name, data in (("step1", WEIGHTS), ("step2", OTHERS)):
        repo.commit(name, {"pytorch_model.bin": data})
    opened = []

    def start(**options):
        session = HubSession(HubOptions(**options))
        opened.append(session)
        checkpoints, _ = session.locate(on_hub())
        session.use(WindowName("test", tmp_path / "test.wsa"))
        return session.files, [checkpoint.files[0] for checkpoint in checkpoints]

    yield start
    for session in opened:
        session.files.close()


def nothing(_num_bytes):
    pass


def test_bytes_are_the_same_from_afar_and_at_hand(open_files, hub):
    files, (one, other) = open_files()
    assert not files.at_hand(one)
    assert read_bytes(files, one, 100_000, 50) == WEIGHTS[100_000:100_050]
    files.plan([{one: 200_000, other: 200_000}], 1)
    files.bring(one, nothing)
    assert files.at_hand(one)
    hub.log.clear()
    assert read_bytes(files, one, 100_000, 50) == WEIGHTS[100_000:100_050]
    files.verify(one)
    assert hub.log.count("data") == 0


def test_a_part_of_a_file_counts_from_where_it_begins(open_files):
    files, (one, _) = open_files()
    part = one.slice(1000, 5000)
    assert read_bytes(files, part, 10, 20) == WEIGHTS[1010:1030]
    files.plan([{one: 200_000}], 1)
    files.bring(one, nothing)
    assert read_bytes(files, part, 10, 20) == WEIGHTS[1010:1030]


def test_nothing_is_asked_for_once_it_is_over(open_files, hub):
    files, (one, other) = open_files()
    files.plan([{one: 200_000, other: 200_000}], 1)
    for file in (one, other):
        files.bring(file, nothing)
    files.finish([other])
    hub.log.clear()
    assert read_bytes(files, other, 0, 9) == OTHERS[:9]
    with pytest.raises(CheckpointError, match="is not at hand any more"):
        read_bytes(files, one, 0, 9)
    assert len(hub.log) == 0


def test_a_file_that_was_damaged_on_disk_is_named_by_its_address(open_files):
    files, (one, _) = open_files()
    files.plan([{one: 200_000}], 1)
    files.bring(one, nothing)
    (path,) = (place for place in (files.window.folder / "files").iterdir())
    os.utime(path, ns=(1, 1))
    with pytest.raises(CheckpointError, match=r"^hf://org/model@step1/pytorch_model.bin: was changed since"):
        read_bytes(files, one, 0, 9)


def test_local_files_beside_them_are_read_as_ever(open_files, tmp_path):
    files, _ = open_files()
    (tmp_path / "x").write_bytes(b"here")
    local = stat_file(tmp_path / "x")
    assert files.at_hand(local)
    assert read_bytes(files, local, 1, 2) == b"er"
    files.expect(local, [(0, 4)])
    files.verify(local)


def test_a_file_that_nobody_listed_is_refused(open_files):
    files, _ = open_files()
    with pytest.raises(CheckpointError, match="was not listed"):
        read_bytes(files, FileRef("hf://org/other@x/y", 9, "sha256:0", remote=True), 0, 1)


def test_what_is_at_hand_needs_no_plan(open_files):
    files, (one, _) = open_files()
    assert files.plan([{one: 200_000}], 1)
    files.bring(one, nothing)
    assert not files.plan([{one: 200_000}], 1)
    assert files.note.count("whole file") == 1


def test_closing_keeps_no_file_open(open_files):
    files, (one, other) = open_files()
    files.plan([{one: 200_000, other: 200_000}], 1)
    for file in (one, other):
        files.bring(file, nothing)
        read_bytes(files, file, 0, 9)
    before = len(files._open)
    files.advance(0)
    assert (before, len(files._open)) == (2, 0)
    assert read_bytes(files, one, 0, 9) == WEIGHTS[:9]
    files.close()
    assert len(files._open) == 0


def test_whole_files_where_no_parts_are_sent_are_opened_once(open_files, hub):
    hub.faults.ignore_ranges()
    files, (one, other) = open_files()
    assert read_bytes(files, one, 0, 9) == WEIGHTS[:9]
    assert read_bytes(files, one, 150_000, 9) == WEIGHTS[150_000:150_009]
    assert read_bytes(files, other, 150_000, 9) == OTHERS[150_000:150_009]
    assert not files.plan([{one: 200_000, other: 200_000}], 1)
    assert "the server sends no parts of files, so 2 files were brought here whole" in files.note
    whole = [record for record in hub.log.records("data") if record.range is None]
    assert len(whole) == 2


def test_whole_files_are_not_brought_where_ranges_are_insisted_on(open_files, hub):
    hub.faults.ignore_ranges()
    files, (one, _) = open_files(fetch="ranges")
    with pytest.raises(CheckpointError, match="the server sends whole files only"):
        read_bytes(files, one, 150_000, 9)
    assert not list(files.window.folder.rglob("*"))


@pytest.fixture
def cached(open_files):
    """The first revision's file in the user's cache of the Hub."""
    files, (one, _) = open_files(keep=True)
    files.plan([{one: 200_000}], 1)
    files.bring(one, nothing)
    files.close()
    return files.client.find_cached(files.get(one))


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed from now on."""
    found = []

    def check(path, file):
        found.append(file.url)
        return check_digest(path, file)

    monkeypatch.setattr(checked, "check_digest", check)
    return found


def damage(path):
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("way", ["read", "brought"])
def test_a_file_damaged_in_the_cache_is_not_measured(open_files, cached, way):
    damage(cached)
    files, (one, other) = open_files()
    assert read_bytes(files, one, 0, 9) == WEIGHTS[:9]  # a header
    files.plan([{one: 200_000, other: 200_000}], 1)
    with pytest.raises(
        CheckpointError, match=r"^hf://org/model@step1/.*: is damaged in the cache of the Hub: remove /"
    ):
        files.bring(one, nothing) if way == "brought" else read_bytes(files, one, 0, 9)
    assert read_bytes(files, other, 0, 9) == OTHERS[:9]
    cached.unlink()
    files.advance(0)
    files.bring(one, nothing)
    assert read_bytes(files, one, 100_000, 9) == WEIGHTS[100_000:100_009]


def test_a_cached_file_is_hashed_once_and_not_before_it_is_measured(open_files, cached, hashed):
    os.utime(cached, ns=(10**18, 10**18))
    for expected in (1, 1):
        files, (one, _) = open_files()
        read_bytes(files, one, 0, 9)
        assert len(hashed) in (0, expected)
        files.plan([{one: 200_000}], 1)
        files.bring(one, nothing)
        for offset in (0, 100_000):
            read_bytes(files, one, offset, 9)
        assert len(hashed) == expected
        files.close()
    damage(cached)
    files, (one, _) = open_files()
    files.plan([{one: 200_000}], 1)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_bytes(files, one, 0, 9)


def test_what_was_kept_by_this_program_was_checked_when_it_came(open_files, cached, hashed):
    files, (one, _) = open_files()
    files.plan([{one: 200_000}], 1)
    assert read_bytes(files, one, 0, 9) == WEIGHTS[:9]
    assert cached.exists()
    assert hashed == []


def test_using_a_window_takes_those_away_whose_run_file_is_gone(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(3))
    windows = tmp_path / "hf-home" / "wsanalyze"
    analyze(on_hub(), tmp_path / "one.wsa")
    analyze(on_hub(), tmp_path / "other.wsa")
    assert len(list(windows.iterdir())) == 2
    (tmp_path / "one.wsa").unlink()
    analyze(on_hub(), tmp_path / "other.wsa")
    assert [path.name for path in windows.iterdir()] == [name_window(tmp_path / "other.wsa").name]


def test_where_nothing_can_be_written_parts_are_read(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(3))
    (tmp_path / "hf-home").mkdir()
    (tmp_path / "hf-home" / "wsanalyze").touch()
    far = analyze(on_hub(), tmp_path / "far.wsa")
    same_sums(far, analyze(tmp_path / "run", tmp_path / "local.wsa"))
    assert "cannot be written" in " ".join(far.provenance.notes)
    with pytest.raises(SourceError, match="cannot be written: set HF_HOME to a folder that can, or use --fetch ranges"):
        analyze(on_hub(), tmp_path / "files.wsa", fetch="files")


def test_traffic_is_told_in_a_unit_that_suits(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(2, {"a.weight": (40, 50)}))
    notes = " ".join(analyze(on_hub(), tmp_path / "far.wsa").provenance.notes)
    assert re.search(r"requests were sent and [12]\d\.\d kB of files received", notes), notes
