"""Which levels of rows compare."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.reports.summary import pick_layers
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.levels import compare_levels


def draw(slope, rows=20, changes=20, seed=0):
    random = np.random.default_rng(seed)
    logs = slope * np.linspace(0, 1, changes) + random.normal(-2, 0.05, (rows, 1))
    return 10 ** (logs + random.normal(0, 0.02, (rows, changes)))


@pytest.mark.parametrize("slope", [-1.2, 1.2])
@pytest.mark.parametrize("first", [12, 16, 17])
def test_a_row_that_lost_its_numbers_is_not_compared_where_changes_go_their_way(first, slope):
    values = draw(slope)
    values[5, first:] = np.nan
    levels = compare_levels(values)
    assert np.flatnonzero(np.isnan(levels)).tolist() == [5]
    np.testing.assert_array_equal(np.delete(levels, 5), np.delete(np.median(values, axis=1), 5))


def test_a_row_that_lost_a_few_numbers_is_compared_where_changes_stay():
    values = draw(0.0)
    values[5, 17:] = np.nan
    values[6, :12] = np.nan
    assert np.flatnonzero(np.isnan(compare_levels(values))).tolist() == [6]


def test_gaps_here_and_there_take_no_part():
    values = draw(-1.2, changes=60)
    values[np.random.default_rng(1).random(values.shape) < 0.02] = np.nan
    assert np.isfinite(compare_levels(values)).all()


def test_rows_that_rest_have_levels():
    values = draw(-1.2)
    values[3, 12:] = 0.0
    values[4] = 0.0
    values[5, 12:] = np.nan
    assert np.flatnonzero(np.isnan(compare_levels(values))).tolist() == [5]


@given(shift=st.floats(-0.5, 0.5))
def test_numbers_that_are_no_amounts_are_compared_as_they_are(shift):
    values = np.linspace(0, 1, 20) + np.zeros((9, 1)) + shift
    values[2, 16:] = np.nan
    assert np.flatnonzero(np.isnan(compare_levels(values, linear=True))).tolist() == [2]


def test_where_no_row_is_whole_the_fullest_are_the_measure():
    values = draw(-1.2, rows=3)
    values[:, 0] = np.nan
    values[0, 16:] = np.nan
    assert np.flatnonzero(np.isnan(compare_levels(values))).tolist() == [0]
    nan = np.nan
    np.testing.assert_array_equal(compare_levels(np.array([[0, 0.1, nan], [0, nan, 1.0]])), [0.05, 0.5])
    assert np.isnan(compare_levels(np.full((2, 3), np.nan))).all()
    assert compare_levels(np.ones((2, 0))).shape == (2,)


def test_a_row_without_its_last_numbers_is_not_told_to_change_most(make_series):
    values = draw(-1.2)
    values[5, 16:] = np.nan
    trends = find_trends(make_series(values), TrendOptions())
    assert "block5.weight" not in trends.headline[0]
    assert 5 not in [layer.index for layer in pick_layers(trends)]
