"""What TensorBoard itself reads back from the scalars that are written for it."""

import dataclasses
import re
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import ReportError
from wsanalyze.reports.tensorboard import TensorboardReporter, check_tensorboard, find_places, make_tags, name_run
from wsanalyze.series import TrainingLog
from wsanalyze.table import read_table

NOON = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)
SAFE = re.compile(r"[-./\w]+")


@pytest.fixture
def write(tmp_path):
    """Write trends for TensorBoard; returns the folder of the run."""

    def write(trends, folder=tmp_path):
        (path,) = TensorboardReporter(clock=lambda: NOON, version="1.2.3").write(trends, folder)
        return path.parent

    return write


def read(folder):
    """What TensorBoard finds in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def read_scalars(folder):
    """The points (step, value) of each tag."""
    found = read(folder)
    return {tag: [(point.step, point.value) for point in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_every_number_is_read_back_at_its_step(write, trends):
    found = read_scalars(write(trends))
    steps = [trends.series.checkpoints[after].step for _, after in trends.series.pairs]
    for name, values in zip(trends.series.names, trends.values, strict=True):
        wanted = [(step, np.float32(value)) for step, value in zip(steps, values, strict=True) if np.isfinite(value)]
        assert found.get(f"layer/{name}", []) == wanted
    for cluster in trends.clusters:
        for part in ("median", "low", "high"):
            wanted = [(step, np.float32(value)) for step, value in zip(steps, getattr(cluster, part), strict=True)]
            assert found[f"cluster/{cluster.id}/{part}"] == wanted


def test_what_the_trainer_noted_is_there(write, trends):
    found, log = read_scalars(write(trends)), trends.series.log
    for name in ("loss", "learning_rate"):
        noted = log.noted(name)
        wanted = zip(log.steps[noted].tolist(), np.float32(log.values[name][noted]), strict=True)
        assert found[f"training/{name}"] == list(wanted)


def test_a_log_that_starts_over_keeps_the_later_note(write, trends):
    log = TrainingLog(np.array([1, 2, 3, 2, 3]), np.array([1, 1, 1, 2, 2]), {"loss": np.array([5.0, 4, 3, 2, np.nan])})
    series = dataclasses.replace(trends.series, log=log)
    found = read_scalars(write(dataclasses.replace(trends, series=series)))
    assert found["training/loss"] == [(1, 5.0), (2, 2.0), (3, 3.0)]


def test_a_report_that_is_written_again_doubles_nothing(write, trends, make_trends, tmp_path):
    first = read_scalars(write(trends))
    beside = tmp_path / "events.out.tfevents.1700000000.trainer"
    beside.write_bytes(b"another's")
    assert read_scalars(write(trends)) == first
    assert len(read_scalars(write(make_trends(3, 2)))) < len(first)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        beside.name,
        "wsanalyze-rwc",
        "wsanalyze-rwc/events.out.tfevents.0000000000.wsanalyze",
    ]
    assert beside.read_bytes() == b"another's"


def test_each_metric_is_a_run_of_its_own(write, trends):
    other = dataclasses.replace(trends, options=dataclasses.replace(trends.options, metric="angle"))
    assert [write(each).name for each in (trends, other)] == ["wsanalyze-rwc", "wsanalyze-angle"]


@given(st.text() | st.sampled_from(["../../up", "a/b", "..", "", "x" * 999, "\0", "rwc"]))
def test_a_run_is_one_folder_whatever_the_metric_is_called(metric):
    name = name_run(metric)
    assert re.fullmatch(r"wsanalyze-[-_A-Za-z0-9]*", name)
    assert len(name) < 250
    assert name_run("from-first") == "wsanalyze-from-first"


def test_grouped_rows_have_their_noun(write, trends):
    grouped = dataclasses.replace(trends, options=dataclasses.replace(trends.options, group="block"))
    assert any(tag.startswith("block/") for tag in read_scalars(write(grouped)))


def test_hostile_names_are_safe_and_none_is_lost(write, hostile_trends):
    found = read_scalars(write(hostile_trends))
    assert all(SAFE.fullmatch(tag) and len(tag) < 250 for tag in found)
    with_numbers = np.isfinite(hostile_trends.values).any(axis=1).sum()
    assert sum(tag.startswith("layer/") for tag in found) == with_numbers


@given(st.lists(st.one_of(st.text(st.characters(exclude_categories=())), st.text("ab _1|"))))
def test_tags_are_safe_and_each_is_there_once(names):
    tags = make_tags("layer/", names)
    assert len(set(tags)) == len(tags) == len(names)
    assert all(re.fullmatch(r"layer/[-./\w]*", tag) and "".join(tag.split("\\")).isprintable() for tag in tags)
    assert make_tags("layer/", ["net.0.weight", "onnx/MatMul_3"]) == ["layer/net.0.weight", "layer/onnx/MatMul_3"]


def test_numbers_that_float32_does_not_have_are_left_out(write, make_trends, tmp_path):
    (tmp_path / "table.csv").write_text("layer,1,2,3\na,1e300,,0.5\nb,inf,0,1e-60\n")
    trends = dataclasses.replace(make_trends(2, 3), series=read_table(tmp_path / "table.csv"), clusters=())
    assert read_scalars(write(trends)) == {"layer/a": [(3, 0.5)], "layer/b": [(2, 0.0), (3, 0.0)]}


@pytest.mark.parametrize("steps", [[5, 10, None], [5, 10, 10], [5, 10, 7], [5, 10, 2**70], [-3, 1, 2]], ids=str)
def test_steps_that_do_not_rise_give_way_to_numbers_of_changes(make_trends, steps):
    series = make_trends(2, 3).series
    later = {after: step for (_, after), step in zip(series.pairs, steps, strict=True)}
    records = [dataclasses.replace(record, step=later.get(i, 0)) for i, record in enumerate(series.checkpoints)]
    assert find_places(dataclasses.replace(series, checkpoints=tuple(records))) == ([1, 2, 3], False)


def test_the_headline_and_the_bands_go_along(write, trends):
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    found = read(write(trends))
    (text,) = found.Tensors("wsanalyze/trends")[0].tensor_proto.string_val
    assert "40 layers follow 3 trends" in text.decode()
    (layout,) = found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val
    charts = Layout.FromString(layout).category[0].chart
    assert [chart.margin.series[0].lower for chart in charts] == [f"cluster/{c.id}/low" for c in trends.clusters]
    assert {chart.margin.series[0].value for chart in charts} < set(found.Tags()["scalars"])


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (3, 0), (1, 1)], ids=str)
def test_small_runs_are_written(write, make_trends, size):
    assert "wsanalyze/trends" in read(write(make_trends(*size))).Tags()["tensors"]


def test_the_same_trends_give_the_same_bytes(write, make_trends, tmp_path):
    files = [next(write(make_trends(13, 7), tmp_path / name).iterdir()) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_folder_that_cannot_be_made_is_named(write, trends, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match=re.escape(str(tmp_path / "file"))):
        write(trends, tmp_path / "file")


def test_a_package_that_is_missing_or_broken_is_told(monkeypatch, write, trends, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ReportError, match="tensorboard cannot be imported"):
        write(trends, tmp_path / "new")
    for folder in (None, tmp_path / "tensorboard"):  # a folder of that name, which Python takes for a package
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.setattr(sys, "path_importer_cache", {})
        monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
        if folder:
            folder.mkdir()
        with pytest.raises(ReportError, match=re.escape('pip install "wsanalyze[tensorboard]"')):
            check_tensorboard()
