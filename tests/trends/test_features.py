"""Gaps are filled as by NumPy, row by row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.trends.features import interpolate, make_curves

_NUMBERS = st.sampled_from([np.nan, np.nan, 0.0, 1.5, -2.0, 0.3])


@given(arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 12)), elements=_NUMBERS))
def test_gaps_are_filled_between_neighbours(curves):
    curves[np.isnan(curves).all(axis=1), -1] = 1.0
    expected = curves.copy()
    changes = np.arange(curves.shape[1])
    for row in expected:
        known = ~np.isnan(row)
        row[:] = np.interp(changes, changes[known], row[known])
    given_ = curves.copy()
    np.testing.assert_allclose(interpolate(curves), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(curves, given_)


def test_one_rest_among_changes_is_no_trend_and_two_are():
    values = 10 ** np.random.default_rng(0).normal(-2, 0.02, (3, 20))
    values[0, 7] = 0.0
    values[1, 7:9] = 0.0
    values[2, [3, 7, 11]] = 0.0  # more than a tenth
    curves = make_curves(values)
    assert curves.still.sum(axis=1).tolist() == [0, 2, 3]
    assert curves.gaps.sum(axis=1).tolist() == [1, 2, 3]
    assert np.abs(curves.values[0] + 2).max() < 0.1
