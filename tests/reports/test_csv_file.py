import csv
import dataclasses
import io
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wsanalyze.reports.csv_file import CsvReporter, change_headings, name_layers
from wsanalyze.run import Run
from wsanalyze.series import ChangeSeries, CheckpointRecord, State
from wsanalyze.sums import Sums
from wsanalyze.table import read_table


def render(trends):
    stream = io.StringIO()
    CsvReporter().write(trends, stream)
    return stream.getvalue()


def relabel(trends, records):
    """The same trends with other checkpoints, given as (step, label)."""
    checkpoints = tuple(
        dataclasses.replace(record, step=step, label=label)
        for record, (step, label) in zip(trends.series.checkpoints, records, strict=True)
    )
    return dataclasses.replace(trends, series=dataclasses.replace(trends.series, checkpoints=checkpoints))


def test_rows_are_layers_and_columns_are_changes(trends):
    header, *rows = csv.reader(io.StringIO(render(trends)))
    assert header == ["layer", *(str(trends.series.checkpoints[after].step) for _, after in trends.series.pairs)]
    assert [row[0] for row in rows] == list(trends.series.names)
    for row, values in zip(rows, trends.values, strict=True):
        assert [float(cell or "nan") for cell in row[1:]] == pytest.approx(values.tolist(), rel=0, abs=0, nan_ok=True)


def test_unchanged_weights_are_zero_and_states_are_empty_but_for_what_is_not_finite(trends):
    states = trends.series.metric_states()
    assert {State.UNCHANGED, State.NONFINITE, State.MISSING} <= set(states.flat)
    rows = list(csv.reader(io.StringIO(render(trends))))
    shown = {None: "number", State.UNCHANGED: "0.0", State.NONFINITE: "nan"}
    for (row, change), state in np.ndenumerate(states):
        cell = rows[1 + row][1 + change]
        assert ("number" if cell not in ("0.0", "nan", "") else cell) == shown.get(state, "")


def test_states_of_a_table_are_read_back(tmp_path):
    (tmp_path / "table.csv").write_text("layer,1,2,3\na,nan,inf,1\nb,,0,2\nc,1,-inf,\n")
    run = Run.from_table(tmp_path / "table.csv")
    again = read_table(run.report(tmp_path / "again.csv"))
    assert again.states.tolist() == run.series.states.tolist()
    assert run.series.states[0].tolist() == [State.NONFINITE, State.NONFINITE, None]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    arrays(
        np.float64,
        array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(min_value=0, allow_infinity=False) | st.just(np.nan),
    )
)
def test_a_table_that_is_read_back_holds_the_same_numbers(tmp_path, make_trends, values):
    trends = make_trends(*values.shape)
    series = dataclasses.replace(trends.series, given={"rwc": values})
    path = tmp_path / "table.csv"
    CsvReporter().write(dataclasses.replace(trends, series=series), path)
    again = read_table(path)
    np.testing.assert_array_equal(again.metric("rwc"), values)
    assert again.names == series.names
    assert [again.checkpoints[b].step for _, b in again.pairs] == [series.checkpoints[b].step for _, b in series.pairs]


def test_hostile_names_are_read_back_too(hostile_trends, tmp_path):
    path = tmp_path / "table.csv"
    CsvReporter().write(hostile_trends, path)
    again = read_table(path)
    np.testing.assert_array_equal(again.metric("rwc"), hostile_trends.values)


def test_no_cell_starts_a_formula(hostile_trends):
    rows = list(csv.reader(io.StringIO(render(hostile_trends))))
    for row in rows:
        assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    names = [row[0] for row in rows]
    assert {"'@SUM(A1:A2)", "'-2+3", "'+1+1", r"\tcell"} <= set(names)


@pytest.mark.parametrize("label", ["=1+1", "+1", "-x", "@a", " =1", "\uff1d1"])
def test_no_heading_starts_a_formula(label, make_trends):
    trends = relabel(make_trends(2, 1), [(None, "a"), (None, label)])
    assert change_headings(trends.series) == [f"'{label}"]


def test_headings_are_steps_or_labels_and_no_two_are_the_same(make_trends):
    records = [(0, "a"), (10, "b"), (10, "c"), (None, "last"), (None, "last"), (None, "layer"), (None, ""), (-5, "d")]
    good = make_trends(2, 5)
    checkpoints = [dataclasses.replace(good.series.checkpoints[0], step=s, label=text) for s, text in records]
    pairs = tuple((i, i + 1) for i in range(len(records) - 1))
    series = dataclasses.replace(good.series, checkpoints=tuple(checkpoints), pairs=pairs)
    assert change_headings(series) == ["10", "10 (2)", "last", "last (2)", "layer (2)", "change 6", "-5"]


@given(st.lists(st.sampled_from(["a", "a (2)", "a (3)", "layer", ""]), min_size=1, max_size=12))
def test_numbered_headings_never_meet_others(labels):
    records = tuple(CheckpointRecord(None, label, "") for label in ["start", *labels])
    pairs = tuple((i, i + 1) for i in range(len(labels)))
    states = np.full((0, len(labels)), None, dtype=object)
    headings = change_headings(ChangeSeries(records, (), pairs, Sums.unmeasured(0, len(labels)), states))
    assert len(set(headings)) == len(labels)
    assert "layer" not in headings


def rename(trends, names):
    rows = tuple(dataclasses.replace(row, name=name) for row, name in zip(trends.series.rows, names, strict=True))
    return dataclasses.replace(trends, series=dataclasses.replace(trends.series, rows=rows))


_ALIKE = st.sampled_from(["a\x1bb", r"a\x1bb", "=x", "'=x", "'=x (2)", "", " ", "x", " x", "x ", "x (2)", "layer 1"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_ALIKE | st.text(max_size=3), min_size=1, max_size=8))
def test_names_that_look_the_same_are_told_apart_when_they_are_read_back(tmp_path, make_trends, names):
    trends = rename(make_trends(len(names), 3), names)
    path = tmp_path / "table.csv"
    CsvReporter().write(trends, path)
    again = read_table(path)
    np.testing.assert_array_equal(again.metric("rwc"), trends.values)
    plain = [name for name in names if re.fullmatch("[a-z]+", name)]
    assert set(plain) <= set(again.names)


def test_names_that_are_the_same_when_escaped_are_numbered():
    assert name_layers(["=x", "'=x", "b", "a\x1b", r"a\x1b", ""]) == [
        "'=x",
        "'=x (2)",
        "b",
        r"a\x1b",
        r"a\x1b (2)",
        "layer 6",
    ]
