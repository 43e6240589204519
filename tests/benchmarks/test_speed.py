"""The benchmark of speed measures every way in every round, and says what it left out."""

import sys
from pathlib import Path

import pytest

SMALL = ["--gigabytes", "0.0005", "--checkpoints", "2", "--rounds", "1"]


def make_sample(script, wall, measuring=None, floor=1.0, peak=100.0, own=50.0):
    return script.Sample(script.Cost(floor, floor, 20.0), script.Cost(wall, 2 * wall, peak, own, measuring))


def run(script, monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["benchmarks/speed.py", *SMALL, *options])
    script.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["float32", "sharded", "pt", "bfloat16"])
def test_every_kind_of_sequence_is_made_and_measured(script, monkeypatch, capsys, kind):
    out = run(script, monkeypatch, capsys, "--sequences", kind, "--ways", "wsanalyze", "wsanalyze, all stored")
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[2:]] == ["cat", "wsanalyze", "wsanalyze, all stored"]
    assert all(float(row[1]) > 0 for row in rows[3:])
    assert f"{kind}: 2 x 0.0" in out


def test_the_scripts_run_on_what_they_read(script, monkeypatch, capsys):
    out = run(script, monkeypatch, capsys, "--sequences", "float32", "--ways", "ten-line script", "load everything")
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[3:]] == ["ten-line script", "load everything"]
    assert all(0 < float(row[4]) < float(row[1]) for row in rows[3:])  # they tell their own seconds


def test_a_folder_of_somebody_is_measured_where_it_lies(script, monkeypatch, capsys, tmp_path):
    from sequences import make_files

    files = make_files(tmp_path / "mine", "float32", 0.0005, 3)
    before = sorted(tmp_path.rglob("*"))
    out = run(script, monkeypatch, capsys, "--folder", str(files.folder), "--ways", "wsanalyze")
    assert f"{files.folder}: 3 x" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_row_holds_medians_and_ratios_of_the_same_round(script):
    samples = [
        make_sample(script, 3.0, 2.0, floor=1.0),
        make_sample(script, 4.0, 3.0, floor=2.0),
        make_sample(script, 9.0, 8.0, floor=2.0),
    ]
    row = script.make_row("way", [s.cost for s in samples], [s.floor for s in samples])
    assert row == ["way", "4.00", "8.00", "100 (50)", "3.00", "1.00", "3.00 (2.00, 4.50)", "2.00 (1.50, 4.00)"]


def test_what_does_not_tell_its_seconds_has_a_dash(script):
    samples = [make_sample(script, 3.0, own=None)]
    row = script.make_row("way", [s.cost for s in samples], [s.floor for s in samples])
    assert row[3:] == ["100", "-", "-", "3.00 (3.00, 3.00)", "-"]


def test_every_way_has_a_line_and_one_that_never_ran_has_none(script):
    rows = script.make_rows({"wsanalyze": [make_sample(script, 3.0)], "slow": []})
    assert [row[0] for row in rows] == ["cat", "wsanalyze"]


def test_wsanalyze_is_compared_with_the_script_round_by_round(script):
    ours = [make_sample(script, 2.0, 1.0, peak=100.0), make_sample(script, 3.0, 2.0, peak=100.0)]
    theirs = [make_sample(script, 6.0, 5.0, peak=400.0), make_sample(script, 7.0, 6.0, peak=500.0)]
    lines = script.compare({"wsanalyze": ours, "ten-line script": theirs})
    assert "measures 4.00 (3.00, 5.00) times as fast" in lines[0]
    assert "peak memory is 0.23 (0.20, 0.25)" in lines[1]
    assert not script.compare({"wsanalyze": ours})
    assert not script.compare({"wsanalyze": ours, "ten-line script": theirs[:1]})


@pytest.mark.parametrize(
    "options",
    [
        ["--rounds", "0"],
        ["--checkpoints", "1"],
        ["--gigabytes", "nan"],
        ["--gigabytes", "-1"],
        ["--limit", "0"],
        ["--sequences", "float7"],
    ],
)
def test_impossible_options_are_refused(script, capsys, options):
    with pytest.raises(SystemExit) as ended:
        script.read_options(options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_a_way_that_is_not_there_is_told_with_those_that_are(script, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="ten-line script"):
        run(script, monkeypatch, capsys, "--sequences", "float32", "--ways", "cargo")


def test_a_folder_without_steps_is_told(script, monkeypatch, capsys, tmp_path):
    Path(tmp_path, "model.safetensors").touch()
    with pytest.raises(SystemExit, match="no two checkpoints"):
        run(script, monkeypatch, capsys, "--folder", str(tmp_path))
