"""Principal axes, of few rows and of many."""

import numpy as np
import pytest

from wsanalyze.trends.reduce import find_axes, find_components


@pytest.mark.parametrize("num_rows", [5, 40, 2500])
def test_axes_are_those_of_a_singular_value_decomposition(num_rows):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(num_rows, 12)) * 0.5 ** np.arange(12)
    mean, weights = rng.normal(size=12), rng.uniform(0.5, 2, num_rows)
    sizes, axes = find_axes(features, mean, weights)
    _, expected, others = np.linalg.svd(np.sqrt(weights)[:, None] * (features - mean), full_matrices=False)
    np.testing.assert_allclose(sizes, expected, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(axes * others, axis=1)), 1.0, rtol=1e-9)


def test_many_equal_rows_have_no_components():
    features = np.full((3000, 6), 0.7)
    found = find_components(features, np.full(3000, 0.01))
    assert found.num_signals == 0
    assert np.isfinite(found.explained).all()
    np.testing.assert_allclose(found.project(features, 2), 0.0, atol=1e-9)
