"""Stored trends: the round trip, the key, and that reading them is light."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.test_spans import walk as walk_spans
from wsanalyze.errors import TrendsError
from wsanalyze.metrics import Span
from wsanalyze.series import State
from wsanalyze.sums import Sums
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import METHODS, find_trends
from wsanalyze.trends.stored import from_json, to_json, trends_key


def assert_same(first, second):
    for name in ("points", "explained", "labels", "confidence", "outliers"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    for name in ("options", "clusters", "quality", "headline", "notes", "all_events"):
        assert getattr(first, name) == getattr(second, name)
    assert dict(first.touched) == dict(second.touched)
    assert first.series.names == second.series.names


def test_the_key_tells_spans_apart_where_the_metric_needs_them():
    series = walk_spans(np.random.default_rng(0).normal(size=(3, 5, 4)))
    changed = series.spans[Span.TWO].sums.values.copy()
    changed[1, 2] += 1
    two = replace(series.spans[Span.TWO], sums=Sums(changed))
    other = replace(series, spans={**series.spans, Span.TWO: two})
    states = replace(series.spans[Span.TWO], states=np.full((3, 4), State.NEW, dtype=object))
    third = replace(series, spans={**series.spans, Span.TWO: states})
    without = replace(series, spans={})
    for metric, same in (("rwc", True), ("rotation", True), ("coherence", False)):
        options = TrendOptions(metric)
        assert (trends_key(series, options) == trends_key(other, options)) == same
        assert (trends_key(series, options) == trends_key(third, options)) == same
    assert trends_key(series, TrendOptions()) == trends_key(without, TrendOptions())


@pytest.mark.parametrize("member", [-1, 10_000])
def test_members_that_are_no_layers_are_refused(make_series, plant, member):
    series = make_series(plant()[0])
    data = to_json(find_trends(series))
    data["clusters"][0]["members"] = [member]
    with pytest.raises(TrendsError, match="find them again"):
        from_json(data, series)


@pytest.mark.parametrize("method", METHODS)
def test_the_round_trip_is_exact(make_series, plant, method):
    values, _ = plant()
    values[3, 4:7] = np.nan
    values[5] = 0.0
    values[7, 2] = np.inf
    values[8, 10:] = 0.0
    series = make_series(values)
    trends = find_trends(series, TrendOptions(method=method))
    text = json.dumps(to_json(trends), allow_nan=False)
    assert_same(from_json(json.loads(text), series), trends)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 1)])
def test_the_round_trip_keeps_empty_trends(make_series, shape):
    series = make_series(np.full(shape, np.nan))
    trends = find_trends(series)
    assert_same(from_json(json.loads(json.dumps(to_json(trends))), series), trends)


def test_grouped_trends_come_back_with_the_series_grouped(measure_series):
    weights = np.random.default_rng(0).normal(size=(6, 4, 9)).cumsum(axis=1)
    series = measure_series(weights, ["a.0", "a.1", "b.0", "b.1", "c.0", "c.1"])
    trends = find_trends(series, TrendOptions(group="block"))
    again = from_json(to_json(trends), series)
    assert_same(again, trends)
    assert again.series.names == ("a", "b", "c")


def test_trends_of_another_series_are_refused(make_series):
    data = to_json(find_trends(make_series([[0.1, 0.2], [0.2, 0.1]])))
    with pytest.raises(TrendsError, match="of 2 layers, not of these 3"):
        from_json(data, make_series(np.ones((3, 2))))


@pytest.mark.parametrize("damage", [{"labels": "x"}, {"points": None}, {"options": {"colour": 1}}, {"clusters": [{}]}])
def test_damaged_trends_are_refused(make_series, damage):
    series = make_series([[0.1, 0.2], [0.2, 0.1]])
    with pytest.raises(TrendsError, match="find them again"):
        from_json({**to_json(find_trends(series)), **damage}, series)


def test_the_key_follows_all_that_trends_depend_on(make_series, measure_series):
    values = np.array([[0.1, 0.2], [0.3, np.nan]])
    series, options = make_series(values), TrendOptions()
    key = trends_key(series, options)
    assert key == trends_key(make_series(values.copy()), TrendOptions())
    states = series.states.copy()
    states[1, 1] = State.RESIZED
    other = values.copy()
    other[0, 0] = np.nextafter(0.1, 1)
    renamed = tuple(replace(row, name=row.name + "x") for row in series.rows)
    later = (*series.checkpoints[:-1], replace(series.checkpoints[-1], step=201))
    different = [
        trends_key(replace(series, states=states), options),
        trends_key(make_series(other), options),
        trends_key(replace(series, rows=renamed), options),
        trends_key(replace(series, checkpoints=later), options),
        trends_key(replace(series, pairs=((0, 1), (0, 2))), options),
        trends_key(replace(series, given={"l2": values}), options),
    ]
    for name, value in {
        "metric": "l2",
        "method": "paper",
        "clusters": 2,
        "features": "both",
        "group": "kind",
        "seed": 1,
    }.items():
        assert name in asdict(options)
        different.append(trends_key(series, replace(options, **{name: value})))
    weights = np.arange(12.0).reshape(2, 3, 2) + 1
    measured = measure_series(weights)
    nonfinite = weights.copy()
    nonfinite[0, 2, 0] = np.nan
    different += [trends_key(measured, options), trends_key(measure_series(nonfinite), options)]
    assert len({key, *different}) == 1 + len(different)


def test_the_key_does_not_follow_where_a_series_comes_from(make_series):
    series = make_series([[0.1, 0.2]])
    moved = replace(series, checkpoints=tuple(replace(record, origin="elsewhere") for record in series.checkpoints))
    assert trends_key(moved, TrendOptions()) == trends_key(series, TrendOptions())


def test_reading_stored_trends_loads_no_heavy_library(make_series, plant, tmp_path):
    path = tmp_path / "trends.json"
    path.write_text(json.dumps(to_json(find_trends(make_series(plant(size=3, steps=5)[0])))))
    program = f"""
import json, sys
import numpy as np
from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row
from wsanalyze.sums import Sums
from wsanalyze.trends.stored import from_json, trends_key
series = ChangeSeries(
    tuple(CheckpointRecord(i, str(i), "") for i in range(6)),
    tuple(Row(str(i), "", "", Kind.OTHER, i, ()) for i in range(9)),
    tuple((i, i + 1) for i in range(5)),
    Sums.unmeasured(9, 5),
    np.full((9, 5), None, dtype=object),
    given={{"rwc": np.ones((9, 5))}},
)
trends = from_json(json.load(open({str(path)!r})), series)
assert trends.all_events is not None and trends.values.shape == (9, 5)
trends_key(series, trends.options)
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"sklearn", "scipy", "torch", "pandas", "matplotlib"}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
