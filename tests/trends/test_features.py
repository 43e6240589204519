"""Gaps are filled as by NumPy, row by row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.trends.features import interpolate

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
