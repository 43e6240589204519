"""The metrics of spectral norms, from checkpoints to reports: measured where asked for, kept, and refused where not."""

import json
import sqlite3
from itertools import pairwise

import numpy as np
import pytest

import wsanalyze
from wsanalyze.cli import main
from wsanalyze.errors import StoreError, UsageError
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.series import State
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import Sums

SHAPES = {"stem.weight": (30, 20), "blocks.0.conv.weight": (16, 8, 3, 3), "blocks.1.fc.weight": (150, 140)}
RTOL = 4e-3  # of two norms, each within its error


@pytest.fixture
def states(make_states):
    return make_states(5, SHAPES)


@pytest.fixture
def source(save_sequence, states, tmp_path):
    return save_sequence(tmp_path / "run", states)


@pytest.fixture
def measure(source, tmp_path, watched_files):
    def run(*metrics, **options):
        wanted = AnalyzeOptions(metrics=metrics, device="cpu", **options)
        files = watched_files
        return measure_run([str(source)], tmp_path / "run.wsa", wanted, files=files, progress=files.progress).series

    return run


def norms(states, names):
    """Norms of the changes and of the weights before: two arrays of shape (L, P)."""
    flat = [[state[name].astype(float).reshape(len(state[name]), -1) for state in states] for name in names]
    changes = [[np.linalg.norm(after - before, 2) for before, after in pairwise(w)] for w in flat]
    return np.array(changes), np.array([[np.linalg.norm(before, 2) for before in w[:-1]] for w in flat])


def test_both_metrics_are_those_of_a_full_decomposition(measure, states):
    series = measure("spectral")
    changes, before = norms(states, series.names)
    np.testing.assert_allclose(series.metric("spectral"), changes / before, rtol=RTOL)
    np.testing.assert_allclose(series.metric("rank"), series.sums["sq_delta"] / changes**2, rtol=RTOL)
    np.testing.assert_allclose(series.absolute("spectral"), changes, rtol=RTOL)
    assert (series.metric("rank") >= 1).all()
    assert (series.metric("rank") <= [[min(row.shape[0], row.numel // row.shape[0])] for row in series.rows]).all()


def test_norms_change_no_sum(measure, source, tmp_path):
    with_norms = measure("rank")
    plain = measure_run([str(source)], tmp_path / "plain.wsa", AnalyzeOptions(device="cpu")).series
    np.testing.assert_array_equal(with_norms.sums.values, plain.sums.values)
    assert plain.norms is None


def test_norms_are_measured_once(measure, watched_files):
    first = measure("spectral")
    watched_files.reads.clear()
    again = measure("spectral")
    assert not watched_files.reads
    np.testing.assert_array_equal(again.norms, first.norms)
    np.testing.assert_array_equal(measure().norms, first.norms)


def test_norms_are_added_to_a_run_that_has_sums(measure, states):
    plain = measure()
    with pytest.raises(UsageError, match=r"'rank' needs norms that this run does not hold: .*--metric rank"):
        plain.metric("rank")
    series = measure("rank")
    np.testing.assert_allclose(series.norms[..., 0], norms(states, series.names)[0], rtol=RTOL)


def test_a_new_checkpoint_without_norms_is_told(measure, source, save_sequence, states):
    measure("spectral")
    save_sequence(source, [{name: array + np.float32(0.1) for name, array in states[-1].items()}], [9])
    with pytest.raises(UsageError, match="needs norms that this run does not hold"):
        measure().metric("spectral")
    assert np.isfinite(measure("spectral").metric("spectral")).all()


@pytest.mark.parametrize("after", [0, 3, 6, 11])
def test_an_interrupted_run_keeps_the_norms_it_found(measure, states, tmp_path, after, monkeypatch):
    monkeypatch.setattr("wsanalyze.store.run_file._COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("wsanalyze.changes.measure.count_processors", lambda: 1)
    kept = []

    def interrupt(self, *arguments):
        if len(kept) == after:
            raise KeyboardInterrupt
        kept.append(arguments[0])
        add(self, *arguments)

    add = RunFile.add_norms
    with monkeypatch.context() as patch:
        patch.setattr(RunFile, "add_norms", interrupt)
        with pytest.raises(KeyboardInterrupt):
            measure("spectral")
    with sqlite3.connect(tmp_path / "run.wsa") as database:
        assert database.execute("SELECT count(*) FROM norms").fetchone() == (len(kept),)
    with monkeypatch.context() as patch:
        patch.setattr(RunFile, "add_norms", lambda self, *arguments: kept.append(arguments[0]) or add(self, *arguments))
        series = measure("spectral")
    assert len(kept) == series.norms[..., 0].size
    changes, before = norms(states, series.names)
    np.testing.assert_allclose(series.metric("spectral"), changes / before, rtol=RTOL)


@pytest.mark.parametrize("failing", [0, 2, 4])
def test_a_checkpoint_that_fails_while_norms_are_found_is_bridged(measure, states, watched_files, failing):
    measure()
    watched_files.failing = {f"step_{failing}.safetensors": 0}
    series = measure("spectral")
    alive = [index for index in range(5) if index != failing]
    assert [index for pair in series.pairs for index in pair[:1]] + [series.pairs[-1][1]] == alive
    changes, before = norms([states[index] for index in alive], series.names)
    np.testing.assert_allclose(series.metric("spectral"), changes / before, rtol=RTOL)


def test_cells_without_a_number_have_the_states_of_every_metric(save_sequence, tmp_path):
    weights = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    lost = np.full((6, 8), np.nan, dtype=np.float32)
    steps = [weights, weights, 0 * weights, 0 * weights, weights, lost]
    source = save_sequence(tmp_path / "run", [{"w": array, "v": weights * (1 + i)} for i, array in enumerate(steps)])
    series = wsanalyze.analyze(source, run=tmp_path / "run.wsa", metrics=["spectral"], device="cpu").series
    row = series.names.index("w")
    unchanged, zero, from_zero, lost = State.UNCHANGED, State.ZERO, State.FROM_ZERO, State.NONFINITE
    assert series.metric_states("spectral")[row].tolist() == [unchanged, None, zero, from_zero, lost]
    assert series.metric("spectral")[row, 1] == 1
    assert series.metric_states("rank")[row].tolist() == [unchanged, None, unchanged, None, lost]
    assert series.absolute("spectral")[row, 3] == pytest.approx(np.linalg.norm(weights, 2), rel=1e-5)


def test_a_vector_is_a_single_column(save_sequence, tmp_path):
    rng = np.random.default_rng(0)
    source = save_sequence(tmp_path / "run", [{"w.bias": rng.normal(size=30).astype(np.float32)} for _ in range(3)])
    options = {"params": "all", "device": "cpu", "metrics": ["rank"]}
    series = wsanalyze.analyze(source, run=tmp_path / "run.wsa", **options).series
    np.testing.assert_allclose(series.metric("spectral"), series.metric("l2"), rtol=1e-5)
    np.testing.assert_allclose(series.metric("rank"), 1, rtol=1e-5)


def test_norms_of_groups_are_refused(measure, source, capsys):
    with pytest.raises(UsageError, match="'rank' cannot be shown by groups"):
        measure("rank").grouped("kind").metric("rank")
    assert main(["analyze", str(source), "--metric", "spectral", "--group", "kind", "--device", "cpu"]) == 2
    assert "leave --group out" in capsys.readouterr().err


def test_the_command_line_measures_and_reports(source, tmp_path, capsys):
    run, out = tmp_path / "run.wsa", tmp_path / "out.json"
    assert main(["analyze", str(source), "--run", str(run), "--device", "cpu", "--quiet"]) == 0
    assert main(["report", str(run), "--metric", "spectral"]) != 0
    assert "--metric spectral` measures them" in capsys.readouterr().err.strip().splitlines()[-1]
    command = ["analyze", str(source), "--run", str(run), "--device", "cpu", "--quiet", "--metric", "spectral"]
    assert main([*command, "--html", str(tmp_path / "out.html"), "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["metric"] == "spectral"
    assert 0 < document["relative_error"] <= RTOL
    assert main(["report", str(run), "--metric", "rank", "--markdown", str(tmp_path / "out.md")]) == 0
    assert "rank" in (tmp_path / "out.md").read_text()
    assert main(["report", str(run), "--json", str(out)]) == 0
    assert "relative_error" not in json.loads(out.read_text())


def test_a_run_file_of_before_has_no_norms(measure, tmp_path):
    measure("spectral")
    with sqlite3.connect(tmp_path / "run.wsa") as database:
        database.execute("DROP TABLE norms")
    series = wsanalyze.open_run(tmp_path / "run.wsa").series
    assert series.norms is None
    assert isinstance(series.sums, Sums)
    assert np.isfinite(measure("spectral").metric("spectral")).all()


def test_norms_that_were_tampered_with_are_no_numbers(measure, tmp_path):
    measure("spectral")
    with sqlite3.connect(tmp_path / "run.wsa") as database:
        database.execute("UPDATE norms SET norm2_delta = 2 * norm2_delta")
    with pytest.raises(StoreError, match="damaged"):
        wsanalyze.open_run(tmp_path / "run.wsa")
