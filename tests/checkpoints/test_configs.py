"""Configurations beside the weights: what they hold, and that nothing else can come of them."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.checkpoints.configs import read_config
from wsanalyze.errors import CheckpointError

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_an_object_is_read_as_it_was_written(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("config")
    (folder / "config.json").write_text(json.dumps(config))
    assert read_config(str(folder), "config.json") == config


@pytest.mark.parametrize("folder", ["nowhere", "a\0b", ""])
def test_where_there_is_none_nothing_is_told(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    assert read_config(folder, "config.json") == {}


def test_a_dangling_link_is_none(tmp_path):
    (tmp_path / "config.json").symlink_to(tmp_path / "gone")
    assert read_config(str(tmp_path), "config.json") == {}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"r": ' + b"9" * 10_000 + b"}", "is no JSON"),
        (b"[]", "is no JSON object"),
        (b"null", "is no JSON object"),
        (b'{"a": "' + b"x" * 5_000_000 + b'"}', "is larger than 4 MB"),
    ],
)
def test_what_is_damaged_is_named(tmp_path, data, fault):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=fault) as caught:
        read_config(str(tmp_path), "config.json")
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(str(tmp_path), "config.json")
