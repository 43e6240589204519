"""What holds of every cache that is a file of its own: whatever happens to it, nothing wrong comes out of it."""

import os
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hub import test_memory
from tests.tensors import test_header_cache
from wsanalyze.store import cache_file

CACHES = {"headers": test_header_cache, "hub": test_memory}
"""Each fills a cache with numbered items, and finds them again: what it finds must be what was filled in."""


@pytest.fixture(params=CACHES)
def cache(request):
    return CACHES[request.param]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "cache.sqlite"


def works_again(cache, path):
    """Whether a cache, whatever was there, is of use once more."""
    cache.fill(path)
    return cache.found(path) == {0, 1, 2}


@pytest.mark.parametrize("content", [b"no database", b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_foreign_file_is_replaced(cache, path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert cache.found(path) == set()
    assert works_again(cache, path)


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 99", "PRAGMA application_id = 1"])
def test_a_database_of_another_make_is_replaced(cache, path, statement):
    cache.fill(path)
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()
    assert cache.found(path) == set()
    assert works_again(cache, path)


@pytest.mark.parametrize("name", CACHES)
@settings(max_examples=50)
@given(st.data())
def test_a_file_with_a_damaged_byte_gives_what_was_added_or_nothing(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("damaged") / "cache.sqlite"
    CACHES[name].fill(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    CACHES[name].found(path)  # compares what it gets
    shutil.rmtree(path.parent)


def test_a_folder_in_its_place_is_as_good_as_none(cache, path):
    path.mkdir(parents=True)
    cache.fill(path)
    assert cache.found(path) == set()
    assert path.is_dir()


def test_a_file_in_place_of_its_folder_is_as_good_as_none(cache, path):
    path.parent.write_text("a file")
    cache.fill(path)
    assert cache.found(path) == set()
    assert path.parent.read_text() == "a file"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_as_good_as_none(cache, path):
    path.parent.mkdir()
    path.parent.chmod(0o500)
    cache.fill(path)
    assert cache.found(path) == set()
    path.parent.chmod(0o700)


def test_one_in_use_is_waited_for_once_and_left_alone(cache, path, monkeypatch):
    monkeypatch.setattr(cache_file, "_BUSY_SECONDS", 0.01)
    cache.fill(path)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    assert cache.found(path) == set()
    cache.fill(path, [4])
    other.rollback()
    other.close()
    assert cache.found(path, range(5)) == {0, 1, 2}
