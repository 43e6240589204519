"""The benchmark of listings makes what it says, and ends with a table."""

import importlib
import sys
from pathlib import Path

import pytest

from wsanalyze.listing import list_sequence

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("listing")


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_the_sequences_are_as_large_as_asked(benchmark, tmp_path, form):
    benchmark.make_sequence(tmp_path, 3, 20, form)
    found = list_sequence([str(tmp_path)])
    assert [checkpoint.step for checkpoint in found.checkpoints] == [100, 200, 300]
    assert [checkpoint.num_tensors for checkpoint in found.checkpoints] == [20] * 3
    assert [checkpoint.status for checkpoint in found.checkpoints] == ["ok"] * 3
    assert found.num_everywhere == 20


def test_the_table_has_a_line_for_each_way(benchmark, capsys, monkeypatch):
    arguments = ["--checkpoints", "2", "--tensors", "8", "--rounds", "1", "--formats", "safetensors"]
    monkeypatch.setattr(sys, "argv", ["listing.py", *arguments])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 checkpoints of 8 tensors")
    assert [line.split(" | ")[1] for line in lines[3:]] == ["floor", "first", "second"]
    assert all(float(number) > 0 for line in lines[3:] for number in line.split("|")[4].split(","))


def test_a_listing_that_fails_ends_the_benchmark(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="ended with status 1"):
        benchmark.time_process(["-c", "raise SystemExit(1)"], tmp_path / "cache")
