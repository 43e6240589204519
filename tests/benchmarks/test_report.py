"""The benchmark of the report builds what it says, and compares it with a floor that holds the same charting library.

That it opens pages in a browser is tested in tests/browser/test_benchmark.py.
"""

import argparse
import sys

import pytest


def test_a_table_always_makes_the_same_page(script):
    first, second = (script.make_trends(5, 4) for _ in range(2))

    assert first.series.metric("rwc").tobytes() == second.series.metric("rwc").tobytes()
    text, seconds = script.build(first, 2)
    assert "<!DOCTYPE html>" in text
    assert len(seconds) == 2


def test_the_floor_holds_the_library_of_the_report(script):
    library = script._LIBRARY.read_text(encoding="utf-8")

    assert library in script.make_floor()
    assert library in script.build(script.make_trends(2, 2), 1)[0]


def test_a_row_compares_each_opening_with_the_floor_of_its_round(script):
    openings = [script.Opening(0.5, 1.0, 2.0), script.Opening(1.0, 4.0, 5.0), script.Opening(0.5, 1.5, 2.0)]

    assert script.make_row((10000, 300), 2_500_000, [0.1, 0.3, 0.2], openings) == [
        "10,000 x 300",
        "2.50",
        "0.20 (0.10, 0.30)",
        "1.50 (1.00, 4.00)",
        "2.00 (2.00, 5.00)",
        "3.0 (2.0, 4.0)",
        "4.0 (4.0, 5.0)",
    ]


def test_sizes_are_read(script):
    assert script.read_size("400x150") == (400, 150)
    assert script.read_options([]).tables == [(40, 20), (400, 150), (10_000, 300)]


@pytest.mark.parametrize("text", ["", "400", "0x3", "4x0", "-4x3", "4x3x2", "4,3", "1e3x2"])
def test_what_is_no_size_is_refused(script, text):
    with pytest.raises(argparse.ArgumentTypeError, match="no size"):
        script.read_size(text)


@pytest.mark.parametrize("options", [["--rounds", "0"], ["--tables", "4"]])
def test_impossible_options_are_refused(script, capsys, options):
    with pytest.raises(SystemExit) as ended:
        script.read_options(options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_without_a_browser_it_says_so(script, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["report.py"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(SystemExit, match="no Chromium on the path"):
        script.main()
