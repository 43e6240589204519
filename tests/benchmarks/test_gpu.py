"""The benchmark of CUDA says where there is none, and measures and compares what it says it does."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from wsanalyze.sums import SUM_NAMES, Sums

ASK = "import os, sys; sys.exit(len(os.sched_getaffinity(0)))"


def run(script, monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["benchmarks/gpu.py", "--gigabytes", "0.0005", "--checkpoints", "2", *options])
    script.main()
    return capsys.readouterr().out


def test_without_cuda_it_says_so_and_ends_well(script, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(script, monkeypatch, capsys).splitlines() == ["torch finds no CUDA device here: nothing was measured"]


def test_everything_is_measured_and_the_sums_compared(script, monkeypatch, capsys):
    out = run(script, monkeypatch, capsys, "--device", "cpu", "--rounds", "1", "--cold")
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[2:]] == [
        "bus",
        "page cache",
        "sums on cpu",
        "sums on the CPU",
        "disk",
    ]
    assert all(float(row[1].split()[0]) >= 0 for row in rows[2:])
    assert out.count("analyze --device cpu: ") == 2
    assert "of cpu and of the CPU differ by 0.0e+00 at most" in out


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_is_measured_and_gives_the_sums_of_the_cpu(script, monkeypatch, capsys):
    out = run(script, monkeypatch, capsys, "--rounds", "1")
    assert "| sums on cuda |" in out
    assert "analyze --device cuda: " in out


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
def test_fewer_processors_are_given_to_what_is_started_and_then_taken_back(script):
    before = os.sched_getaffinity(0)
    with script.limit_processors(1):
        assert script.count_processors() == 1
        assert subprocess.run([sys.executable, "-c", ASK], check=False).returncode == 1
    with script.limit_processors(None):
        assert os.sched_getaffinity(0) == before


def test_a_sequence_that_is_there_is_measured(script, monkeypatch, capsys, tmp_path, make_states, save_sequence):
    folder = save_sequence(tmp_path / "sequence", make_states(3))
    options = ["--device", "cpu", "--rounds", "1", "--folder", str(folder)]
    out = run(script, monkeypatch, capsys, *options)
    assert "3 checkpoints, 0.00 GB" in out
    assert len(list(folder.iterdir())) == 3


def test_every_byte_is_read_by_some_thread(script, tmp_path):
    for index, size in enumerate((1, 4096, 10_001)):
        (tmp_path / f"{index}").write_bytes(b"x" * size)
    buffers = [np.zeros(1000, dtype=np.uint8) for _ in range(3)]
    assert script.time_files(sorted(tmp_path.iterdir()), buffers)[0] == 1 + 4096 + 10_001
    assert all((buffer == ord("x")).all() for buffer in buffers)


def test_ratios_are_to_the_slower_of_bus_and_page_cache_in_the_same_round(script):
    rates = script.Rates()
    for bus, cache, ours in ((10, 20, 5), (40, 8, 6)):
        for name, rate in (("bus", bus), ("page cache", cache), ("wsanalyze", ours)):
            rates.add(name, rate * 10**9, 1.0)
    assert rates.make_rows()[2] == ["wsanalyze", "5.50 (5.00, 6.00)", "0.62 (0.50, 0.75)"]


@pytest.mark.parametrize(
    ("name", "factor", "worst"),
    [
        ("l1_delta", 1 + 1e-5, 1e-5),
        ("sq_after", 1 - 1e-7, 1e-7),
        ("rel_n", 1 + 1e-9, np.inf),
        ("n", 1.0, 0.0),
        ("dot_before_delta", 0.5, 0.5),
        ("rel_sum", np.nan, np.inf),
    ],
)
def test_sums_are_compared_one_by_one(script, name, factor, worst):
    theirs = Sums(np.ones((2, 3, len(SUM_NAMES))))
    ours = Sums(theirs.values.copy())
    ours.values[1, 1, SUM_NAMES.index(name)] *= factor
    assert script.compare_sums(ours, theirs) == pytest.approx(worst, rel=1e-3)


def test_cells_that_neither_measured_are_the_same_and_those_of_one_are_not(script):
    both, one = (Sums(np.ones((2, 3, len(SUM_NAMES)))) for _ in range(2))
    both.values[0, 0] = np.nan
    assert script.compare_sums(both, both) == 0
    assert script.compare_sums(both, one) == np.inf


@pytest.mark.parametrize(
    "options", [["--rounds", "0"], ["--checkpoints", "1"], ["--gigabytes", "0"], ["--processors", "2", "0"]]
)
def test_impossible_options_are_refused(script, capsys, options):
    with pytest.raises(SystemExit):
        script.read_options(options)
    assert options[0] in capsys.readouterr().err
