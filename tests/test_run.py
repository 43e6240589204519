import dataclasses
import html
import io
import json
import platform

import numpy as np
import pytest

from wsanalyze.errors import ReportError, StoreError, UsageError
from wsanalyze.pipeline import measure_run
from wsanalyze.run import REPORT_SUFFIXES, Run, write_report
from wsanalyze.store.run_file import RunFile
from wsanalyze.store.series_tables import _provenance_from_json
from wsanalyze.trends import find as find_module
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.stored import to_json
from wsanalyze.version import __version__


@pytest.fixture
def run(save_sequence, make_states, tmp_path):
    shapes = {f"layers.{index}.weight": (4, 5) for index in range(6)}
    return measure_run([str(save_sequence(tmp_path / "run", make_states(5, shapes)))], tmp_path / "run.wsa")


@pytest.fixture
def count_finds(monkeypatch):
    """How often trends are really searched for."""
    calls = []
    original = find_module.find_trends
    monkeypatch.setattr(find_module, "find_trends", lambda *given: calls.append(given) or original(*given))
    return calls


def test_a_run_opened_again_is_the_run_that_was_measured(run):
    again = Run.open(run.path)
    assert again.series.names == run.series.names
    assert again.series.sums.values.tobytes() == run.series.sums.values.tobytes()
    assert repr(again) == f"<Run of 6 layers x 4 changes in {run.path}>"


def test_a_run_file_says_what_it_was_measured_with_and_older_ones_do_not(run):
    for series in (run.series, Run.open(run.path).series):
        assert dict(series.provenance.versions) | {"torch": ""} == {
            "Python": platform.python_version(),
            "wsanalyze": __version__,
            "numpy": np.__version__,
            "torch": "",
        }
    older = {"source": [], "command": "", "weights": "model", "params": "all", "notes": []}
    assert _provenance_from_json(older).versions == ()


def test_trends_are_found_once_for_each_set_of_options(run, count_finds):
    first = run.trends(clusters=2)
    assert run.trends(clusters=2) is first
    again = Run.open(run.path).trends(clusters=2)
    assert len(count_finds) == 1
    assert again.labels.tolist() == first.labels.tolist()
    assert again.options == first.options
    run.trends(clusters=2, seed=1)
    run.trends(clusters=2, group="kind")
    assert len(count_finds) == 3


def test_keywords_of_trends_are_its_options(run, count_finds):
    options = {
        "metric": "l2", "method": "paper", "clusters": 2, "features": "level", "group": "module", "seed": 5,
        "by_kind": False, "window": 3,
    }  # fmt: skip
    assert run.trends(**options).options == TrendOptions(**options)
    assert set(options) == {field.name for field in dataclasses.fields(TrendOptions)}
    with pytest.raises(UsageError, match="--group kind"):
        run.trends(by_kind=True, group="kind")
    assert len(count_finds) == 2


def test_trends_that_cannot_be_read_are_found_again(run, count_finds, monkeypatch):
    run.trends()
    for stored in ({}, {"options": {"nonsense": 1}}, {"labels": []}):
        monkeypatch.setattr(RunFile, "find_trends", lambda _self, _key, stored=stored: stored)
        Run.open(run.path).trends()
    assert len(count_finds) == 4


def test_trends_that_were_stored_under_the_key_of_others_are_found_again(run, count_finds, monkeypatch):
    other = to_json(run.trends(metric="l2"))
    unknown = {**other, "options": {**other["options"], "group": "../.."}}
    for stored in (other, unknown):
        monkeypatch.setattr(RunFile, "find_trends", lambda _self, _key, stored=stored: stored)
        assert Run.open(run.path).trends().options == TrendOptions()
    assert len(count_finds) == 3


def test_a_run_file_that_went_away_does_not_matter_to_an_open_run(run, count_finds):
    run.path.unlink()
    assert len(run.trends().labels) == 6
    assert len(count_finds) == 1


@pytest.mark.parametrize("suffix", [*REPORT_SUFFIXES, ".HTML"])
def test_the_suffix_tells_the_report(run, tmp_path, suffix):
    path = tmp_path / f"report{suffix}"
    assert run.report(path) == path
    text = path.read_text(encoding="utf-8")
    assert "layers.0.weight" in text
    sign = {".html": "<!doctype html", ".json": '"format": 1', ".csv": "layer,", ".md": "# ", ".txt": "wsanalyze "}
    assert sign[suffix.lower()] in text.lower()[:200]


@pytest.mark.parametrize("name", ["report.pdf", "report", ".html"])
def test_an_unknown_suffix_is_wrong_usage(run, tmp_path, name):
    with pytest.raises(UsageError, match=r"the suffix tells the kind of report: \.html, \.json"):
        run.report(tmp_path / name)


def test_reports_take_the_options_of_trends(run, tmp_path):
    run.report(str(tmp_path / "a.json"), metric="l2", clusters=2, group="block", seed=3)
    document = json.loads((tmp_path / "a.json").read_text())
    assert (document["metric"], document["seed"], document["options"]["group"]) == ("l2", 3, "block")
    with pytest.raises(UsageError, match="no metric named 'nonsense'"):
        run.report(tmp_path / "b.json", metric="nonsense")
    assert not (tmp_path / "b.json").exists()


def test_a_report_that_cannot_be_written(run, tmp_path):
    with pytest.raises(ReportError, match="nowhere"):
        run.report(tmp_path / "nowhere" / "report.html")


def test_a_report_does_not_take_the_place_of_what_the_run_was_read_from(run, tmp_path):
    table = run.report(tmp_path / "table.csv")
    before = table.read_bytes()
    kept = run.path.rename(tmp_path / "kept.json")
    for read, path in ((Run.from_table(table), table), (Run.open(kept), kept)):
        with pytest.raises(UsageError, match="this is what the run was read from; name another file"):
            read.report(path)
    assert table.read_bytes() == before
    assert Run.open(kept).series.names == run.series.names


def test_a_data_frame_of_all_cells(run):
    frame = run.to_pandas("l2")
    assert list(frame.columns) == [
        "layer", "kind", "depth", "from_step", "to_step", "from_checkpoint", "to_checkpoint", "l2", "state",
    ]  # fmt: skip
    assert len(frame) == 6 * 4
    pivoted = frame.pivot_table(index="layer", columns="to_step", values="l2")
    np.testing.assert_array_equal(pivoted.to_numpy(), run.series.metric("l2"))
    assert frame["state"].isna().all()


def test_a_data_frame_has_states_where_there_are_no_numbers(save_sequence, tmp_path):
    states = [
        {"w.weight": np.full((2, 2), value, np.float32), "b": np.full(2, step, np.float32)}
        for step, value in enumerate((0.0, 1.0, 1.0))
    ]
    run = measure_run([str(save_sequence(tmp_path / "run", states))], tmp_path / "run.wsa")
    frame = run.to_pandas()
    assert frame["state"].tolist() == ["from zero", "unchanged"]
    assert np.isnan(frame["rwc"][0])
    assert frame["rwc"][1] == 0


def test_a_table_is_a_run_without_a_file(tmp_path):
    (tmp_path / "table.csv").write_text("layer,10,20,30\na,0.5,0.25,0.1\nb,0.5,,inf\n")
    run = Run.from_table(tmp_path / "table.csv")
    assert run.path is None
    assert repr(run) == "<Run of 2 layers x 3 changes>"
    assert len(run.trends().labels) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_there_is_no_run_in_a_text(tmp_path):
    (tmp_path / "text.wsa").write_text("this is not it " * 100)
    with pytest.raises(StoreError, match="is not a run file"):
        Run.open(str(tmp_path / "text.wsa"))


def test_figures_are_drawn_of_the_trends_that_are_asked_for(run):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert run.plot.heatmap(ax=ax, metric="l2", order="kind") is ax
    assert ax.get_ylabel() == "layer (by kind)"
    for draw in (run.plot.curves, run.plot.scatter, run.plot.depth):
        assert draw(ax=Figure().add_subplot(), clusters=2).get_xlabel()
    with pytest.raises(UsageError, match="no metric named 'nonsense'"):
        run.plot.curves(ax=ax, metric="nonsense")


def test_figures_are_files_of_a_folder(run, tmp_path):
    write_report(run.trends(), "figures", tmp_path / "figures")
    assert (tmp_path / "figures" / "heatmap-2col.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match="name one"):
        write_report(run.trends(), "figures", io.StringIO())


def test_a_notebook_shows_a_run(run, monkeypatch):
    text = run._repr_html_()
    assert run.trends().headline[0] in html.unescape(text)
    monkeypatch.setattr(Run, "trends", lambda _self: (_ for _ in ()).throw(UsageError("<nothing>")))
    assert "&lt;nothing&gt;" in run._repr_html_()


def test_a_table_without_the_usual_metric_is_shown_as_well(tmp_path):
    (tmp_path / "table.csv").write_text("layer,10\na,\nb,inf\n")
    assert "<div>" in Run.from_table(tmp_path / "table.csv")._repr_html_()


def test_a_data_frame_is_the_same_after_parquet(save_sequence, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    states = [{"w": np.full((2, 2), value, np.float32)} for value in (0.0, 1.0, 2.0)]
    run = measure_run([str(save_sequence(tmp_path / "run", states))], tmp_path / "run.wsa")
    run = Run(dataclasses.replace(run.series, rows=(dataclasses.replace(run.series.rows[0], name="w\udc80"),)))
    frame = run.to_pandas()
    assert frame["layer"].tolist() == ["w\\udc80"] * 2
    frame.to_parquet(tmp_path / "changes.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "changes.parquet"), frame)


def test_a_data_frame_of_checkpoints_without_steps(run):
    records = tuple(dataclasses.replace(record, step=None) for record in run.series.checkpoints)
    frame = Run(dataclasses.replace(run.series, checkpoints=records)).to_pandas()
    assert frame["to_step"].isna().all()
    assert frame["to_step"].dtype == "Int64"
