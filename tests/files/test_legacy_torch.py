"""Files of torch before 1.6, as torch still writes them, and what is wrong with damaged ones."""

import io
import itertools
import pickle
import re
from dataclasses import replace

import pytest
import torch

from wsanalyze.errors import CheckpointError
from wsanalyze.files import legacy_torch
from wsanalyze.files.contents import read_contents
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.files.pickle_machine import parse_pickle

STATE = {"a": torch.arange(6.0), "b": torch.ones(2, 2, dtype=torch.float64), "step": 7}


def save(tree):
    buffer = io.BytesIO()
    torch.save(tree, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def split(data):
    """The five pickles, and the storages behind them."""
    ends = [0]
    for _ in range(5):
        ends.append(parse_pickle(data, ends[-1])[1])
    return [data[start:stop] for start, stop in itertools.pairwise(ends)], data[ends[-1] :]


@pytest.fixture
def read(tmp_path):
    def read(data):
        (tmp_path / "x.pt").write_bytes(data)
        with LocalFiles() as source:
            return read_contents(source, stat_file(tmp_path / "x.pt"))

    return read


def test_storages_lie_where_torch_put_them(read):
    data = save(STATE)
    found = read(data)
    stored = {data[offset : offset + nbytes] for offset, nbytes in found.storages.values()}  # in the order of addresses
    assert stored == {STATE["a"].numpy().tobytes(), STATE["b"].numpy().tobytes()}
    assert [mapping["step"] for mapping in found.mappings()] == [7]


@pytest.mark.parametrize("window", [1, 64, 1000])
def test_pickles_longer_than_the_first_look(read, monkeypatch, window):
    monkeypatch.setattr(legacy_torch, "FIRST_WINDOW_BYTES", window)
    assert len(read(save({f"layer.{i}": torch.ones(i) for i in range(60)})).storages) == 60


class Noting(LocalFiles):
    """Local files that note how far they were read."""

    def __init__(self):
        super().__init__()
        self.furthest = 0

    def read_into(self, file, offset, buffer):
        self.furthest = max(self.furthest, offset + len(buffer))
        super().read_into(file, offset, buffer)


WHOLE = torch.arange(1000.0)


@pytest.mark.parametrize(
    "tree",
    [
        STATE,
        {f"layer.{i}": torch.ones(i, dtype=d) for i, d in enumerate([torch.float32, torch.bfloat16, torch.int64] * 9)},
        {"whole": WHOLE, "view": WHOLE[10:20], "turned": WHOLE.view(10, 100).T},
        {"z": torch.ones(3, dtype=torch.complex64), "bool": torch.ones(5, dtype=torch.bool), "none": torch.ones(0)},
    ],
)
def test_of_a_remote_file_nothing_behind_the_pickles_is_read(tmp_path, monkeypatch, tree):
    data = save({**tree, "large": torch.ones(100_000)})
    (tmp_path / "x.pt").write_bytes(data)
    near = stat_file(tmp_path / "x.pt")
    pickled = sum(map(len, split(data)[0]))
    monkeypatch.setattr(legacy_torch, "FIRST_WINDOW_BYTES", pickled)
    with Noting() as source:
        far = read_contents(source, replace(near, remote=True))
        assert source.furthest <= max(pickled, 512)
        assert far.storages == read_contents(source, near).storages


SIX = b"K\x06"
CLAIMS = [b"K\x05", b"K\x07", b"J\xff\xff\xff\xff", b"\x8a\x08" + bytes(7) + b"\x10", b"X\1\0\0\0006", b"N", b"\x88"]


@pytest.mark.parametrize("claim", CLAIMS)
def test_sizes_that_do_not_fill_a_remote_file_are_not_believed(tmp_path, claim):
    """What each storage says itself counts then."""
    pickles, storages = split(save({"a": torch.arange(6.0)}))
    pickles[3], count = re.subn(rb"(cpuq.)" + SIX, lambda found: found[1] + claim, pickles[3], flags=re.DOTALL)
    assert count == 1
    (tmp_path / "x.pt").write_bytes(b"".join([*pickles, storages]))
    near = stat_file(tmp_path / "x.pt")
    with LocalFiles() as source:
        far = read_contents(source, replace(near, remote=True))
        assert far.storages == read_contents(source, near).storages


def numel(count):
    return count.to_bytes(8, "little", signed=True)


def with_part(index, value):
    pickles, tail = split(save(STATE))
    pickles[index] = pickle.dumps(value, 2)
    return b"".join(pickles) + tail


DAMAGED = {
    "has 3 bytes that belong to no storage": lambda: save(STATE) + b"abc",
    "lies outside the file: truncated": lambda: save(STATE)[:-1],
    "ends too early: truncated": lambda: b"".join(split(save(STATE))[0]) + numel(6)[:5],
    "has a damaged pickle": lambda: save(STATE)[:150],
    "is no torch file of a version that is known": lambda: with_part(1, 1002),
    "has a damaged list of storages": lambda: with_part(4, [1, 2]),
    "twice": lambda: with_part(4, parse_pickle(split(save(STATE))[0][4])[0][:1] * 2),
    "of a type that is not known": lambda: with_part(4, ["12345"]),
    "has -5 elements: refused": lambda: b"".join(split(save(STATE))[0]) + numel(-5),
    "elements: refused": lambda: b"".join(split(save(STATE))[0]) + numel(2**60),
}


@pytest.mark.parametrize("said", DAMAGED)
def test_damage_is_one_line(read, said):
    with pytest.raises(CheckpointError, match=said) as error:
        read(DAMAGED[said]())
    assert "\n" not in str(error.value)
    assert "x.pt" in str(error.value)


def test_complex_numbers_of_a_big_endian_machine_are_refused_and_real_ones_are_not(read):
    system = {"protocol_version": 1001, "little_endian": False, "type_sizes": {}}
    pickles, tail = split(save({"z": torch.ones(2, dtype=torch.complex64)}))
    pickles[2] = pickle.dumps(system, 2)
    with pytest.raises(CheckpointError, match="complex numbers of a big-endian machine"):
        read(b"".join(pickles) + tail)
    assert read(with_part(2, system)).byteorder == "little"


def test_every_cut_is_refused(read):
    data = save(STATE)
    for length in range(1, len(data), 7):
        with pytest.raises(CheckpointError):
            read(data[:length])
