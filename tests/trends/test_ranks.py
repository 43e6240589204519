"""Rank correlations against SciPy's and against regression by another road."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, spearmanr

from wsanalyze.trends.ranks import correlate_ranks


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=4, max_size=30))
def test_the_correlation_is_that_of_scipy(pairs):
    one, other = np.array(pairs, dtype=np.float64).T
    found = correlate_ranks(one, other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert (found.rho, found.p_value) == (0.0, 1.0)
        return
    expected = spearmanr(one, other)
    assert found.rho == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-6)


def test_the_partial_correlation_is_that_of_the_formula():
    random = np.random.default_rng(0)
    for _ in range(20):
        a, b, c = random.normal(size=(3, 25)) + random.normal(size=25)
        ab, ac, bc = (pearsonr(rankdata(x), rankdata(y)).statistic for x, y in ((a, b), (a, c), (b, c)))
        expected = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
        assert correlate_ranks(a, b, c).rho == pytest.approx(expected)


@given(st.integers(0, 1000))
def test_what_explains_itself_leaves_nothing(seed):
    one, other = np.random.default_rng(seed).normal(size=(2, 12))
    assert correlate_ranks(one, other, one).rho == 0.0
    assert correlate_ranks(one, other, np.exp(other)).p_value == 1.0


def test_p_values_are_uniform_where_there_is_nothing():
    random = np.random.default_rng(0)
    found = [correlate_ranks(*random.normal(size=(3, 12))).p_value for _ in range(1000)]
    assert 0.03 <= np.mean(np.array(found) < 0.05) <= 0.07


def test_too_few_numbers_say_nothing():
    assert correlate_ranks(np.array([1.0, 2.0]), np.array([2.0, 1.0])).p_value == 1.0
    assert correlate_ranks(*np.random.default_rng(0).normal(size=(3, 3))).p_value == 1.0
