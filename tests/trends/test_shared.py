"""Candidates for spikes that similar rows have as well, told one by one."""

import numpy as np
import pytest

from wsanalyze.trends.shared import find_shared


@pytest.mark.parametrize(("num_rows", "num_changes"), [(2, 5), (3, 8), (90, 20)])
def test_what_is_shared_is_what_the_three_nearest_rows_share(num_rows, num_changes):
    rng = np.random.default_rng(num_rows)
    curves, off = rng.normal(size=(2, num_rows, num_changes))
    candidates = rng.random(curves.shape) < 0.3
    shapes = curves - curves.mean(axis=1, keepdims=True)
    expected = np.zeros_like(candidates)
    for row, change in np.argwhere(candidates):
        squares = (shapes - shapes[row]) ** 2
        distances = squares.sum(axis=1) - squares[:, change]
        distances[row] = np.inf
        nearest = np.argsort(distances)[: min(3, num_rows - 1)]
        usual = np.median(off[nearest, change])
        expected[row, change] = np.sign(off[row, change]) * usual >= abs(off[row, change]) / 2
    assert expected.any() or num_rows < 90
    np.testing.assert_array_equal(find_shared(curves, off, candidates), expected)
    assert not find_shared(curves, off, np.zeros_like(candidates)).any()
