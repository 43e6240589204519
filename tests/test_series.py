"""States and numbers: every cell is one or the other, whatever was measured."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsanalyze.changes.kernels import NumpyKernel, measure_arrays
from wsanalyze.errors import UsageError
from wsanalyze.metrics import METRICS
from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row, State, TrainingLog
from wsanalyze.sums import SUM_NAMES, Sums

NAN, INF = np.nan, np.inf
SUCCESSIVE = [name for name, metric in METRICS.items() if metric.span is None and not metric.norms]
"""Metrics that need sums of successive pairs alone; test_spans.py and test_spectral.py have the others."""


def make_series(rows, *, steps=None, states=None, names=None, kinds=None):
    """A series of rows, each a list of arrays, one for each checkpoint."""
    num_pairs = len(rows[0]) - 1
    steps = range(num_pairs + 1) if steps is None else steps
    kernel = NumpyKernel()
    cells = [
        [measure_arrays(kernel, np.array(b, np.float64), np.array(a, np.float64)).values for b, a in pairwise(row)]
        for row in rows
    ]
    states = np.full((len(rows), num_pairs), None, dtype=object) if states is None else np.array(states, dtype=object)
    sums = np.array(cells).reshape(len(rows), num_pairs, len(SUM_NAMES))
    sums[states != None] = np.nan  # noqa: E711 - elementwise
    names = names or [f"layers.{index}.weight" for index in range(len(rows))]
    kinds = kinds or [Kind.LINEAR] * len(rows)
    return ChangeSeries(
        checkpoints=tuple(CheckpointRecord(step, f"step {step}", "here") for step in steps),
        rows=tuple(
            Row(name, name.rpartition(".")[0], name.partition(".")[0], kind, index, np.shape(rows[index][0]))
            for index, (name, kind) in enumerate(zip(names, kinds, strict=True))
        ),
        pairs=tuple((index, index + 1) for index in range(num_pairs)),
        sums=Sums(sums),
        states=states,
    )


def one_cell(before, after, metric="rwc", **more):
    series = make_series([[before, after]], **more)
    return series.metric(metric)[0, 0], series.metric_states(metric)[0, 0], series.absolute(metric)[0, 0]


@pytest.mark.parametrize("metric", SUCCESSIVE)
def test_unchanged_is_zero_and_a_state(metric):
    assert one_cell([1.0, 2.0], [1.0, 2.0], metric) == (0.0, State.UNCHANGED, 0.0)


@pytest.mark.parametrize("metric", SUCCESSIVE)
def test_zero_by_zero_has_no_number(metric):
    value, state, absolute = one_cell([0.0, -0.0], [-0.0, 0.0], metric)
    if METRICS[metric].relative:
        assert np.isnan(value)
        assert (state, absolute) == (State.ZERO, 0.0)
    else:
        assert (value, state) == (0.0, State.UNCHANGED)


@pytest.mark.parametrize("metric", SUCCESSIVE)
def test_a_change_from_zero_is_told_in_absolute_terms(metric):
    value, state, absolute = one_cell([0.0, 0.0], [3.0, -4.0], metric)
    if METRICS[metric].relative:
        assert np.isnan(value)
        assert (state, absolute) == (State.FROM_ZERO, 5.0 if metric in ("l2", "angle") else 7.0)
    else:
        assert (value, state) == (1.0, None)


@pytest.mark.parametrize("metric", SUCCESSIVE)
@pytest.mark.parametrize("sides", [([NAN, 1.0], [1.0, INF]), ([INF], [INF]), ([NAN], [NAN]), ([1.0], [-INF])])
def test_without_a_valid_element_there_is_no_number(metric, sides):
    value, state, absolute = one_cell(*sides, metric)
    assert np.isnan(value)
    assert state is State.NONFINITE
    assert np.isnan(absolute)


def test_some_elements_that_are_not_finite_are_left_out():
    value, state, _ = one_cell([1.0, NAN, 2.0], [2.0, 1.0, INF])
    assert (value, state) == (1.0, None)


@pytest.mark.parametrize("metric", SUCCESSIVE)
def test_an_empty_tensor_is_zero_by_zero(metric):
    value, state, _ = one_cell([], [], metric)
    assert np.isnan(value)
    assert state is State.ZERO


@pytest.mark.parametrize("metric", SUCCESSIVE)
@pytest.mark.parametrize(
    "sides",
    [([1e200, 1e200], [-1e200, 1e200]), ([1e-200], [1e200]), ([1e308], [-1e308]), ([1e-320], [1.0]), ([1.0], [1e300])],
)
def test_what_overflows_is_a_state_and_never_inf(metric, sides):
    value, state, _ = one_cell(*sides, metric)
    assert np.isfinite(value) == (state is None)
    assert np.isnan(value) == (state is not None)
    assert state in (None, State.NOT_COMPARABLE)


def test_overflow_that_a_metric_can_do_without_gives_its_number():
    assert one_cell([1e200, 1e200], [2e200, 1e200])[:2] == (0.5, None)


@pytest.mark.parametrize("state", list(State))
def test_cells_that_were_not_measured_keep_their_state(state):
    series = make_series([[[1.0], [2.0], [3.0]]], states=[[None, state]])
    for metric in SUCCESSIVE:
        values, states = series.metric(metric), series.metric_states(metric)
        assert states.tolist() == [[None, state]]
        assert np.isnan(values[0, 1]) or state is State.UNCHANGED
        assert np.isnan(series.absolute(metric)[0, 1])


def test_a_cell_that_is_lost_is_told_as_such():
    series = make_series([[[1.0], [2.0]]])
    series.sums.values[0, 0] = NAN
    assert np.isnan(series.metric()[0, 0])
    assert series.metric_states()[0, 0] is State.UNREADABLE


def test_looking_at_a_metric_changes_nothing():
    series = make_series([[[1.0], [1.0], [2.0]]])
    before = series.sums.values.copy()
    series.metric()[:] = 7
    series.metric_states()[:] = State.ZERO
    np.testing.assert_array_equal(series.sums.values, before)
    assert series.states.tolist() == [[None, None]]
    assert series.metric().tolist() == [[0.0, 1.0]]


elements = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-3, 1e30, 1e-40, 1e-310, 1e160, 1e308, -1e308, NAN, INF, -INF])


@given(st.lists(st.tuples(elements, elements), max_size=5), st.sampled_from(SUCCESSIVE))
@settings(max_examples=300)
def test_every_cell_is_a_number_or_a_state(pairs, metric):
    value, state, _ = one_cell([b for b, _ in pairs], [a for _, a in pairs], metric)
    if state is State.UNCHANGED:
        assert value == 0
    elif state is None:
        assert np.isfinite(value)
        assert value >= 0
    else:
        assert np.isnan(value)


# Steps


def test_rates_know_uneven_and_unknown_steps():
    rows = [[[1.0], [2.0], [4.0], [8.0], [8.0]]]
    series = make_series(rows, steps=[0, 4, 13, None, 20])
    np.testing.assert_array_equal(series.step_gaps, [4, 9, NAN, NAN])
    np.testing.assert_allclose(series.metric("rate"), [[1 / 2, 1 / 3, NAN, 0.0]])
    np.testing.assert_allclose(series.metric("rate-linear"), [[1 / 4, 1 / 9, NAN, 0.0]])
    assert series.metric_states("rate").tolist() == [[None, None, State.NOT_COMPARABLE, State.UNCHANGED]]


@pytest.mark.parametrize("steps", [[None, None, None], [5, 5, 5], [3, 2, 1]])
def test_rates_need_increasing_steps(steps):
    series = make_series([[[1.0], [2.0], [3.0]]], steps=steps)
    for metric in ("rate", "rate-linear"):
        with pytest.raises(UsageError, match=f"'{metric}' needs increasing step numbers"):
            series.metric(metric)
    assert series.metric("rwc").tolist() == [[1.0, 0.5]]


def test_a_bridged_pair_has_its_true_distance():
    series = make_series([[[1.0], [2.0], [3.0]]], steps=[0, 10, 30])
    bridged = dataclasses.replace(
        series, pairs=((0, 2),), sums=Sums(series.sums.values[:, :1]), states=series.states[:, :1]
    )
    assert bridged.step_gaps.tolist() == [30]


# Groups


def test_groups_add_sums_and_do_not_average_ratios():
    rows = [[[1.0], [2.0]], [[10.0, 90.0], [10.0, 91.0]], [[4.0], [5.0]]]
    names = ["a.0.weight", "a.0.bias", "b.weight"]
    kinds = [Kind.LINEAR, Kind.BIAS, Kind.LINEAR]
    series = make_series(rows, names=names, kinds=kinds)
    grouped = series.grouped("module")
    assert grouped.names == ("a.0", "b")
    np.testing.assert_allclose(grouped.metric(), [[2 / 101], [1 / 4]])
    assert [row.shape for row in grouped.rows] == [(3,), (1,)]
    assert [row.kind for row in grouped.rows] == [Kind.OTHER, Kind.LINEAR]
    np.testing.assert_allclose(grouped.sums["max_delta"], [[1.0], [1.0]])
    assert series.grouped("kind").names == ("linear", "bias")
    assert series.grouped("block").names == ("a", "b")


def test_a_group_is_measured_from_those_of_its_rows_that_are():
    rows = [[[1.0], [2.0]], [[1.0], [3.0]]]
    names = ["a.weight", "a.bias"]
    half = make_series(rows, names=names, states=[[State.MISSING], [None]]).grouped("module")
    assert half.metric().tolist() == [[2.0]]
    none = make_series(rows, names=names, states=[[State.MISSING], [State.NEW]]).grouped("module")
    assert none.metric_states().tolist() == [[State.MISSING]]


def test_groups_of_no_rows_are_none():
    series = make_series([[[1.0], [2.0]]])
    empty = dataclasses.replace(series, rows=(), sums=Sums.unmeasured(0, 1), states=series.states[:0])
    assert empty.grouped("kind").rows == ()
    assert empty.metric().shape == (0, 1)


def test_groups_by_something_else_are_wrong_usage():
    with pytest.raises(UsageError, match="cannot group by 'depth': choose one of module, block, kind"):
        make_series([[[1.0], [2.0]]]).grouped("depth")


# Tables


def make_table():
    series = make_series([[[1.0], [2.0]]])
    return dataclasses.replace(series, sums=Sums.unmeasured(1, 1), given={"rwc": np.array([[0.5]])})


def test_a_table_shows_what_it_was_given_and_nothing_else():
    table = make_table()
    assert table.metric().tolist() == [[0.5]]
    assert table.metric_states().tolist() == [[None]]
    assert np.isnan(table.absolute()).all()
    with pytest.raises(UsageError, match="a table holds no sums for 'l2'"):
        table.metric("l2")
    with pytest.raises(UsageError, match="cannot be grouped"):
        table.grouped("kind")
    with pytest.raises(UsageError, match="no metric named 'nonsense'"):
        table.metric("nonsense")


def test_numel_of_a_row():
    assert Row("w", "w", "w", Kind.CONV, 0, (3, 4, 5)).numel == 60
    assert Row("w", "w", "w", Kind.CONV, 0, (0, 5)).numel == 0


# The trainer's log


def make_log(loss, rate=None, until=None):
    steps = np.arange(10, 10 * len(loss) + 1, 10)
    values = {"loss": np.array(loss, np.float64)}
    if rate is not None:
        values["learning_rate"] = np.array(rate, np.float64)
    until = np.zeros(len(loss), np.int64) if until is None else np.array(until)
    return TrainingLog(steps, until, values)


def test_each_checkpoint_has_the_last_number_noted_before_it():
    log = make_log([1.0, 2.0, NAN, 4.0, 5.0], [NAN, NAN, 7.0, NAN, NAN], until=[1, 1, 2, 4, 4])
    np.testing.assert_array_equal(log.at_checkpoints("loss", 6), [NAN, 2, 2, 2, 5, 5])
    np.testing.assert_array_equal(log.at_checkpoints("learning_rate", 6), [NAN, NAN, 7, 7, 7, 7])
    np.testing.assert_array_equal(log.at_checkpoints("grad_norm", 6), [NAN] * 6)
    np.testing.assert_array_equal(TrainingLog().at_checkpoints("loss", 2), [NAN, NAN])


@given(
    st.lists(st.tuples(*[st.just(NAN) | st.floats(-5, 5)] * 2), min_size=1, max_size=200),
    st.integers(8, 250),
)
@example([(NAN, NAN)] * 9, 8)
@example([(NAN, 1.0)] * 9, 8)
@settings(deadline=None)
def test_a_thinned_log_keeps_ends_and_extremes(entries, most):
    loss, rate = (list(column) for column in zip(*entries, strict=True))
    log = make_log(loss, rate)
    thin = log.thinned(most)
    assert len(thin) <= most
    if len(log) <= most:
        assert thin is log
    assert set(thin.steps.tolist()) <= set(log.steps.tolist())
    assert (np.diff(thin.steps) > 0).all()
    for name, values in log.values.items():
        np.testing.assert_array_equal(thin.values[name], values[np.isin(log.steps, thin.steps)])
        noted, kept = values[log.noted(name)], thin.values[name][thin.noted(name)]
        assert noted[:1].tolist() == kept[:1].tolist()
        assert noted[-1:].tolist() == kept[-1:].tolist()
        if len(noted):
            assert (noted.min(), noted.max()) == (kept.min(), kept.max())


def test_a_log_outlives_grouping():
    log = make_log([1.0])
    series = dataclasses.replace(make_series([[[1.0, 2.0], [1.0, 3.0]]]), log=log)
    assert series.grouped("kind").log is log
