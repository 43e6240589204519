"""The benchmark of start-up makes the run that it says, and ends with a table."""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from wsanalyze.run import Run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no such terminals")


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("startup")


def test_the_run_holds_the_changes_that_were_drawn(benchmark, tmp_path):
    benchmark.make_run(tmp_path / "run.wsa", 13, 9)
    series = Run.open(tmp_path / "run.wsa").series
    assert (len(series.rows), len(series.pairs), len(series.checkpoints)) == (13, 9, 10)
    np.testing.assert_allclose(series.metric("rwc"), benchmark.draw_changes(13, 9), rtol=1e-12)
    np.testing.assert_allclose(series.metric("l2"), series.metric("rwc"), rtol=1e-12)


def test_the_run_has_trends_to_store(benchmark, tmp_path):
    benchmark.make_run(tmp_path / "run.wsa", 40, 60)
    found = Run.open(tmp_path / "run.wsa").trends()
    assert len(found.clusters) > 1


def test_the_table_has_a_line_for_each_way(benchmark, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["startup.py", "--layers", "6", "--changes", "5", "--rounds", "1"])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a run of 6 layers over 5 changes, 1 rounds")
    ways = [line.split("|")[1].strip() for line in lines[3:]]
    assert ways[0] == "floor"
    assert set(benchmark.ASKED) < set(ways)
    assert all(float(number) > 0 for line in lines[3:] for number in line.split("|")[2].split(","))


def test_a_command_that_fails_ends_the_benchmark(benchmark):
    with pytest.raises(SystemExit, match="ended with status 1"):
        benchmark.time_on_terminal([sys.executable, "-c", "raise SystemExit(1)"], os.environ)


def test_a_command_sees_a_terminal_and_may_write_much_to_it(benchmark):
    code = "import sys; assert sys.stdout.isatty(); print('x' * 10**6)"
    assert benchmark.time_on_terminal([sys.executable, "-c", code], os.environ) > 0
