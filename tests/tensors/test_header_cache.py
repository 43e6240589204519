"""The cache of headers: gives back what was added, and is as good as none wherever it cannot be trusted or used."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsanalyze.tensors.header_cache as module
from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.files.base import FileRef
from wsanalyze.series import Skip
from wsanalyze.store import cache_file
from wsanalyze.store.cache_file import FAULTS
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES
from wsanalyze.tensors.header_cache import HeaderCache
from wsanalyze.tensors.headers import Headers
from wsanalyze.tensors.structures import find_structure, parse_structure, restore_tensors, write_structure

NAMES = st.text(min_size=1, max_size=8)
COUNTS = st.integers(0, 2**50)
AXES = st.lists(COUNTS, max_size=4).map(tuple)
PIECES = st.builds(
    Piece,
    st.sampled_from([FileRef("a", 9, "s"), FileRef("b", 9, "s"), FileRef("a", 9, "s", start=4)]),
    st.integers(0, 5),
    COUNTS,
    st.none() | AXES,
    st.sampled_from(["little", "big"]),
    AXES,
    AXES,
)
INFOS = st.builds(TensorInfo, NAMES, st.sampled_from(sorted(DTYPES)), AXES, st.lists(PIECES, max_size=3).map(tuple))
SETS = st.builds(
    TensorSet,
    st.dictionaries(
        st.sampled_from(["model", "ema"]),
        st.lists(INFOS, max_size=4).map(lambda infos: {info.name: info for info in infos}),
    ),
    st.booleans(),
    st.lists(st.builds(Skip, NAMES, NAMES), max_size=2).map(tuple),
)


def make_checkpoint(number=0, **changes):
    file = FileRef(f"run/step_{number}.pt", 100 + number, f"stamp {number}", mtime_ns=10**18)
    return Checkpoint(number, f"step_{number}", file.url, (file,), ("",), **changes)


def make_headers(number=0, size=4):
    file = FileRef("x", 9, "s")
    infos = {"fc.weight": TensorInfo("fc.weight", "float32", (size, 3), (Piece(file, 64, size * 12),))}
    return Headers(TensorSet({"model": infos}, ordered=True), {"step": number}, "torch", f"print {number}", proven=True)


def fill(path, numbers=range(3), size=4):
    with HeaderCache(path) as cache:
        for number in numbers:
            cache.add(make_checkpoint(number), make_headers(number, size))


def found(path, numbers=range(3)):
    """Which of the checkpoints a cache knows, with what was added for them."""
    with HeaderCache(path) as cache:
        known = {number: cache.find(make_checkpoint(number)) for number in numbers}
    for number, headers in known.items():
        if headers is not None:
            assert summary(headers) == summary(make_headers(number))
    return {number for number, headers in known.items() if headers is not None}


def summary(headers):
    tensors = [(info.name, info.dtype, info.shape) for info in headers.tensors.infos["model"].values()]
    return tensors, dict(headers.facts), headers.format, headers.fingerprint, headers.proven


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "headers.sqlite"


# Structures


@given(SETS)
def test_a_structure_is_written_and_restored(tensors):
    structure = find_structure(tensors)
    parsed = parse_structure(write_structure(structure))
    assert parsed == structure
    restored = restore_tensors(parsed)
    assert find_structure(restored) == structure
    assert restored.ordered == tensors.ordered
    assert restored.skips == tensors.skips
    for weights, infos in tensors.infos.items():
        assert list(restored.infos[weights]) == list(infos)
        for name, info in infos.items():
            other = restored.infos[weights][name]
            assert (other.dtype, other.shape, other.contiguous) == (info.dtype, info.shape, info.contiguous)


@given(SETS)
def test_names_share_bytes_after_a_restart_where_they_did_before(tensors):
    restored = restore_tensors(find_structure(tensors))
    pieces = [p for infos in tensors.infos.values() for info in infos.values() for p in info.pieces]
    others = [p for infos in restored.infos.values() for info in infos.values() for p in info.pieces]
    assert [[a == b for b in others] for a in others] == [[a == b for b in pieces] for a in pieces]


def test_every_field_of_a_tensor_is_known_to_structures():
    """A field that is added must be kept as well, or be known not to matter."""
    assert [f.name for f in fields(TensorInfo)] == ["name", "dtype", "shape", "pieces", "derivation"]
    assert [f.name for f in fields(Piece)] == [
        "file",
        "offset",
        "nbytes",
        "strides",
        "byteorder",
        "corner",
        "extent",
    ]


@pytest.mark.parametrize("text", ["3", '"x"', "[", "[" * 100_000, "[1, 2, 3]", '[true, [], [["model", [["a"]]]]]'])
def test_a_text_that_is_no_structure_is_an_error_of_a_kind_that_the_cache_expects(text):
    with pytest.raises(FAULTS):
        restore_tensors(parse_structure(text))


# What is remembered


def test_what_was_added_is_found_by_the_next_process(path):
    assert found(path) == set()
    fill(path)
    assert found(path, range(4)) == {0, 1, 2}


def test_nothing_is_remembered_without_a_path():
    cache = HeaderCache(None)
    cache.add(make_checkpoint(), make_headers())
    assert cache.find(make_checkpoint()) is None
    cache.close()


def test_tensors_of_one_structure_are_one_object(path):
    with HeaderCache(path) as cache:
        first = cache.add(make_checkpoint(0), make_headers(0))
        second = cache.add(make_checkpoint(1), make_headers(1))
        other = cache.add(make_checkpoint(2), make_headers(2, size=5))
        assert first.tensors is second.tensors is not other.tensors
    with HeaderCache(path) as cache:
        read = cache.add(make_checkpoint(3), make_headers(3))
        assert cache.find(make_checkpoint(0)).tensors is read.tensors
        assert cache.find(make_checkpoint(1)).tensors is read.tensors


@pytest.mark.parametrize(
    "change",
    [
        {"files": (replace(make_checkpoint().files[0], stamp="another"),)},
        {"files": (replace(make_checkpoint().files[0], url="elsewhere/step_0.pt"),)},
        {"files": (replace(make_checkpoint().files[0], size=101),)},
        {"files": (replace(make_checkpoint().files[0], start=8),)},
        {"files": make_checkpoint().files * 2, "prefixes": ("a.", "b.")},
        {"prefixes": ("unet.",)},
        {"layout": "zero3"},
    ],
    ids=str,
)
def test_a_checkpoint_that_differs_in_anything_is_read_anew(path, change):
    fill(path)
    with HeaderCache(path) as cache:
        assert cache.find(make_checkpoint()) is not None
        assert cache.find(replace(make_checkpoint(), **change)) is None


def test_another_version_of_the_program_reads_anew(path, monkeypatch):
    fill(path)
    monkeypatch.setattr(module, "__version__", "999")
    assert found(path) == set()


def test_a_file_that_was_just_written_is_not_remembered(path):
    """It may be written again within the step of the clock."""
    file = replace(make_checkpoint().files[0], mtime_ns=time.time_ns())
    fresh = replace(make_checkpoint(), files=(file,))
    with HeaderCache(path) as cache:
        cache.add(fresh, make_headers())
    with HeaderCache(path) as cache:
        assert cache.find(fresh) is None


def test_what_was_read_before_an_interrupt_is_kept(path):
    def work():
        with HeaderCache(path) as cache:
            cache.add(make_checkpoint(0), make_headers(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert found(path) == {0}


# Bounds


def test_the_oldest_checkpoints_go_first(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_CHECKPOINTS", 3)
    fill(path, range(2))
    fill(path, range(2, 5))
    assert found(path, range(5)) == {2, 3, 4}


def test_the_oldest_structures_go_first(path, monkeypatch):
    fill(path, [7], size=7)
    size = path.stat().st_size
    fill(path, range(2))
    (length,) = sqlite3.connect(path).execute("SELECT max(length(value)) FROM structures").fetchone()
    monkeypatch.setattr(module, "MAX_CACHE_BYTES", length)
    fill(path, [2])
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM structures").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM headers").fetchone() == (3,)
    database.close()
    assert found(path) == {0, 1, 2}
    assert path.stat().st_size <= 2 * size


def test_a_structure_beyond_the_bound_is_not_kept(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_STRUCTURE_BYTES", 10)
    fill(path)
    assert found(path) == set()


def test_a_structure_beyond_the_bound_is_not_read(path, monkeypatch):
    fill(path)
    monkeypatch.setattr(module, "MAX_STRUCTURE_BYTES", 10)
    assert found(path) == set()


def test_a_huge_file_is_replaced(path, monkeypatch):
    fill(path)
    monkeypatch.setattr(module, "_MAX_FILE_BYTES", 4096)
    assert found(path) == set()
    assert path.stat().st_size < 100_000


# Damage


def works_again(path):
    """Whether a cache, whatever was there, is of use once more."""
    fill(path)
    return found(path) == {0, 1, 2}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE headers SET value = '[]'",
        "UPDATE headers SET value = NULL",
        "UPDATE headers SET value = replace(value, 'torch', 'horch')",
        "UPDATE headers SET structure = 'x'",
        "UPDATE headers SET checksum = X'00'",
        "UPDATE structures SET value = '[]'",
        "UPDATE structures SET value = replace(value, '3', '4')",
        "UPDATE structures SET value = NULL",
        "DELETE FROM structures",
        "DROP TABLE structures",
        "DROP TABLE headers",
        "ALTER TABLE headers RENAME COLUMN value TO other",
    ],
)
def test_damaged_content_is_never_given_out(path, statement):
    fill(path)
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()
    assert found(path) == set()  # `found` compares what it gets
    assert works_again(path)


# Places


def test_a_cache_that_cannot_be_written_is_still_read(path, monkeypatch):
    fill(path)
    connect = sqlite3.connect
    monkeypatch.setattr(
        module.sqlite3, "connect", lambda name, **options: connect(f"file:{name}?mode=ro", uri=True, **options)
    )
    fill(path, [5])
    assert found(path, [0, 1, 2, 5]) == {0, 1, 2}


# Others


def test_a_cache_that_is_locked_after_it_was_opened_is_given_up(path, monkeypatch):
    monkeypatch.setattr(cache_file, "_BUSY_SECONDS", 0.01)
    fill(path)
    with HeaderCache(path) as cache:
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
        assert cache.find(make_checkpoint(0)) is None
        other.rollback()
        other.close()
        assert cache.find(make_checkpoint(0)) is None  # it does not wait a second time
    assert found(path) == {0, 1, 2}


def test_nobody_waits_for_a_listing_that_goes_on(path):
    with HeaderCache(path) as slow:
        slow.add(make_checkpoint(0), make_headers(0))
        fill(path, [1])
    assert found(path) == {0, 1}


def test_a_structure_that_another_process_dropped_is_not_referred_to(path):
    fill(path, [0])
    with HeaderCache(path) as cache:
        cache.find(make_checkpoint(0))
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM structures")
        other.close()
        cache.add(make_checkpoint(1), make_headers(1))
    assert found(path) == set()
    assert works_again(path)


def test_many_threads_fill_it_at_once(path):
    threads = [threading.Thread(target=fill, args=(path, range(n, n + 5))) for n in range(0, 40, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(path, range(40)) == set(range(40))


def test_two_processes_list_at_once(tmp_path, save_sequence, make_states):
    folder = save_sequence(tmp_path / "run", make_states(5))
    for file in folder.iterdir():
        os.utime(file, ns=(10**18, 10**18))
    command = [sys.executable, "-W", "error", "-m", "wsanalyze", "list", folder, "--json", "-"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    both = [subprocess.Popen(command, stdout=-1, stderr=-1, env=environment) for _ in range(3)]
    outputs = [child.communicate() for child in both]
    assert [child.returncode for child in both] == [0, 0, 0]
    assert outputs == [outputs[0]] * 3
    with sqlite3.connect(next((tmp_path / "cache").rglob("headers.sqlite"))) as database:
        assert database.execute("SELECT count(*) FROM headers").fetchone() == (5,)
    database.close()
