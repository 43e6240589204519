"""The benchmark of the report opens its pages in a browser; see tests/benchmarks/test_report.py for the rest of it."""

import importlib
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


def test_a_page_is_built_and_opened_in_every_round(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setattr(sys, "argv", ["report.py", "--tables", "4x3", "--rounds", "2", "--folder", str(tmp_path)])
    importlib.import_module("report").main()

    out = capsys.readouterr().out
    (row,) = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| 4 x 3")]
    size = (tmp_path / "report-4x3.html").stat().st_size
    assert row[1] == f"{size / 1e6:.2f}"
    drawn, answers = (float(cell.split()[0]) for cell in row[3:5])
    assert 0 < drawn <= answers
    assert re.search(r"^floor: [\d.]+ \([\d.]+, [\d.]+\) s; ", out, re.MULTILINE)
