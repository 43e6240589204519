import subprocess
import sys

import numpy as np
import pytest

import wsanalyze
from wsanalyze.errors import SourceError, TableError, UsageError


@pytest.fixture
def source(save_sequence, make_states, tmp_path):
    return save_sequence(tmp_path / "run", make_states(5), [0, 10, 20, 30, 40])


def test_analyze_measures_and_open_run_reads(source, tmp_path):
    told = []
    run = wsanalyze.analyze(source, run=tmp_path / "run.wsa", progress=told.append)
    assert isinstance(run, wsanalyze.Run)
    assert run.series.metric("rwc").shape == (3, 4)
    assert {progress.stage for progress in told} == {"reading headers", "comparing", "measuring"}
    again = wsanalyze.open_run(tmp_path / "run.wsa")
    np.testing.assert_array_equal(again.series.metric(), run.series.metric())


def test_arguments_are_those_of_the_command_line(source, tmp_path):
    run = wsanalyze.analyze(
        str(source), run=str(tmp_path / "a.wsa"), steps="10:40", every=2, layers="blocks", device="cpu"
    )
    assert [record.step for record in run.series.checkpoints] == [10, 30, 40]
    assert run.series.names == ("blocks.0.fc.weight", "blocks.1.fc.weight")
    paths = [source / f"step_{step}.safetensors" for step in (30, 0)]
    given = wsanalyze.analyze(*paths, run=tmp_path / "b.wsa", order="given", memory="1GB", params="all")
    assert [record.step for record in given.series.checkpoints] == [30, 0]
    assert given.series.provenance.params == "all"


def test_without_a_run_file_the_cache_is_used(source, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = wsanalyze.analyze(source)
    assert run.path.is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    "options",
    [
        {"order": "backwards"},
        {"every": 0},
        {"steps": "5:1"},
        {"memory": "lots"},
        {"memory": 1000},
        {"layers": "["},
        {"weights": "best"},
        {"params": "few"},
        {"device": "abacus"},
    ],
)
def test_wrong_arguments_are_told_and_leave_nothing(source, tmp_path, options):
    with pytest.raises(UsageError):
        wsanalyze.analyze(source, run=tmp_path / "runs" / "run.wsa", **options)
    assert not list(tmp_path.glob("runs/*"))


def test_errors_have_one_base(tmp_path):
    for attempt, error in (
        (lambda: wsanalyze.analyze(tmp_path / "nowhere"), SourceError),
        (wsanalyze.analyze, SourceError),
        (lambda: wsanalyze.read_table(tmp_path / "nowhere.csv"), TableError),
    ):
        with pytest.raises(wsanalyze.WsAnalyzeError) as told:
            attempt()
        assert isinstance(told.value, error)


def test_a_table_is_read(tmp_path):
    (tmp_path / "table.csv").write_text("layer,1,2\na,0.5,0.25\n")
    assert wsanalyze.read_table(tmp_path / "table.csv").series.metric().tolist() == [[0.5, 0.25]]


def test_the_names_that_are_offered():
    assert set(dir(wsanalyze)) == set(wsanalyze.__all__)
    for name in wsanalyze.__all__:
        assert getattr(wsanalyze, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = wsanalyze.nonsense


def test_the_example_of_the_docstring(source, tmp_path):
    script = f"""
import wsanalyze
run = wsanalyze.analyze({str(source)!r}, run={str(tmp_path / "x.wsa")!r})
print(run.series.metric("rwc").shape, len(run.trends().labels))
run.report({str(tmp_path / "report.html")!r})
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "(3, 4) 3\n"
    assert done.stderr == ""
    assert (tmp_path / "report.html").stat().st_size > 1000
