"""A change far off those beside it."""

import numpy as np

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.lone import say_lone


def say(make_series, tops):
    """What is said where the first rows change so many times more on the way to step 500."""
    values = np.full((30, 10), 0.1)
    values[: len(tops), 4] *= tops
    trends = find_trends(make_series(values), TrendOptions(clusters=1))
    return say_lone(trends, trends.values)


def test_one_row_is_alone(make_series):
    assert say(make_series, [180]) == (
        "block0.weight alone changed at least 180 times more on the way to step 500 than just before and after"
    )
    assert say(make_series, [0.01]).startswith("block0.weight alone changed at least 100 times less")
    assert say(make_series, [1e9]).startswith("block0.weight alone changed more than 10,000 times more")


def test_rows_that_do_so_too_are_told(make_series):
    assert say(make_series, [180, 14]).endswith("and block1.weight 14 times")
    assert say(make_series, [20, 3.5, 4, 5, 6, 7]).endswith("and 5 other layers at least 3 times")
    assert say(make_series, [20, 0.05, 1.5]).startswith("block0.weight alone ")


def test_what_all_rows_do_and_what_is_small_is_left_out(make_series):
    assert say(make_series, [20] * 30) == ""
    assert say(make_series, [9]) == ""
