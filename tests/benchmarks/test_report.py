"""The benchmark of the report builds and opens what it says, beside a floor that holds the same charting library."""

import argparse
import re
import sys

import pytest


def find_browser(script):
    path = script.load_tests_module("browser/chromium.py").find_chromium()
    if path is None:
        pytest.skip("no Chromium on the path (or in $CHROMIUM)")
    return path


@pytest.mark.browser
def test_a_page_is_built_and_opened_in_every_round(script, monkeypatch, capsys, tmp_path):
    find_browser(script)
    monkeypatch.setattr(sys, "argv", ["report.py", "--tables", "4x3", "--rounds", "2", "--folder", str(tmp_path)])
    script.main()

    out = capsys.readouterr().out
    (row,) = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| 4 x 3")]
    size = (tmp_path / "report-4x3.html").stat().st_size
    assert row[1] == f"{size / 1e6:.2f}"
    drawn, answers = (float(cell.split()[0]) for cell in row[3:5])
    assert 0 < drawn <= answers
    assert re.search(r"^floor: [\d.]+ \([\d.]+, [\d.]+\) s; ", out, re.MULTILINE)


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
