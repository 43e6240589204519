"""What measuring is said to take: the bytes that it takes, at a rate found by doing some of it and no more."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.changes import estimate
from wsanalyze.changes.devices import find_kernels
from wsanalyze.changes.estimate import estimate_measuring
from wsanalyze.choosing import SequenceOptions
from wsanalyze.files.local import LocalFiles
from wsanalyze.layers.match import match_or_widen
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.progress import silent
from wsanalyze.sequence import open_sequence
from wsanalyze.sources import locate_checkpoints

MEMORY = 32_000_000


@pytest.fixture
def match_of():
    """The rows of a folder, as an analysis matches them."""

    def match(folder):
        source = LocalFiles()
        found = open_sequence(locate_checkpoints([str(folder)], None, None), SequenceOptions(), source, {}, silent)
        source.close()
        members = [member for member in found.members if member.alive]
        return match_or_widen([m.tensors for m in members], [m.checkpoint.label for m in members])[0]

    return match


@pytest.fixture
def folder(save_sequence, make_states, tmp_path):
    shapes = {f"blocks.{index}.weight": (64, 50 + index) for index in range(12)}
    return save_sequence(tmp_path / "run", make_states(6, shapes), range(6))


def test_an_analysis_reads_the_bytes_that_were_told(folder, match_of, tmp_path):
    with LocalFiles() as source:
        found = estimate_measuring(match_of(folder), source, find_kernels("cpu"), MEMORY)
    run = measure_run([str(folder)], tmp_path / "run.wsa", AnalyzeOptions(memory_bytes=MEMORY))
    assert found.nbytes == run.effort.nbytes > 0
    assert found.memory_bytes <= MEMORY
    assert found.problem is None
    assert found.num_runs is None


def test_the_probe_tells_its_rate_and_measures_no_band_twice(folder, match_of, monkeypatch):
    monkeypatch.setattr("wsanalyze.changes.plan.BAND_BYTES", 2**14)
    with LocalFiles() as source:
        found = estimate_measuring(match_of(folder), source, find_kernels("cpu"), MEMORY, probe_seconds=1e9)
    assert 0 < found.probe.nbytes <= found.nbytes
    assert found.seconds > 0


def test_no_weight_is_read_of_what_lies_far_away(folder, match_of):
    class NoFiles(LocalFiles):
        def read_into(self, file, offset, buffer):
            pytest.fail(f"read {len(buffer)} bytes of {file.url} at {offset}")

    found = estimate_measuring(match_of(folder), NoFiles(), find_kernels("cpu"), MEMORY, far=True)
    assert (found.seconds, found.probe.nbytes, found.num_threads) == (None, 0, 1)
    assert found.num_runs == 6 * found.num_bands


def test_what_cannot_be_read_is_told_and_ends_nothing(folder, match_of):
    match = match_of(folder)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with LocalFiles() as source:
        found = estimate_measuring(match, source, find_kernels("cpu"), MEMORY)
    assert found.seconds is None
    assert "was changed since it was listed" in found.problem
    assert found.nbytes > 0


def test_what_is_estimated_goes_by_the_kernels_that_its_bytes_are_worth(folder, match_of, monkeypatch):
    host = find_kernels("cpu")
    other = replace(host, num_threads=1, band_bytes=2**14)
    monkeypatch.setattr("wsanalyze.changes.devices._pays", lambda nbytes, _: nbytes > 0)
    with LocalFiles() as source:
        few = estimate_measuring(match_of(folder), source, host, MEMORY)
        many = estimate_measuring(match_of(folder), source, replace(host, instead=lambda: other), MEMORY)
    assert many.nbytes == few.nbytes
    assert (many.num_threads, many.num_bands) == (1, 12)  # a tensor each: two are larger than a band
    assert few.num_bands < 12


def test_one_checkpoint_takes_nothing(folder, match_of):
    with LocalFiles() as source:
        found = estimate_measuring(match_of(folder / "step_3.safetensors"), source, find_kernels("cpu"), MEMORY)
    assert (found.nbytes, found.num_bands, found.memory_bytes, found.seconds) == (0, 0, 0, None)


@given(st.integers(0, 500))
def test_places_are_spread_and_each_comes_once(count):
    places = estimate._spread(count)
    assert sorted(places.tolist()) == list(range(count))
    if count >= 8:
        assert np.ptp(places[:4]) > count / 3
