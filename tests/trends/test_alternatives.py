"""Well-known methods on the curves of `robust`."""

import numpy as np
import pytest

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends

NAMES = ("kmeans", "gmm", "hdbscan", "agglomerative")


@pytest.mark.parametrize("method", NAMES)
def test_clear_trends_are_found(make_series, plant, method):
    from sklearn.metrics import adjusted_rand_score

    values, answer = plant(groups=3, size=12)
    trends = find_trends(make_series(values), TrendOptions(method=method))
    assert adjusted_rand_score(trends.labels, answer) == 1.0
    assert trends.quality.p_value <= 0.05
    assert np.nanmin(trends.confidence) > 0.5 or method == "hdbscan"


@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
def test_what_cannot_find_one_trend_is_told_so(make_series, plant, method):
    values, _ = plant(groups=1, size=40, noise=0.12)
    trends = find_trends(make_series(values), TrendOptions(method=method))
    assert trends.quality.k > 1
    assert trends.quality.p_value > 0.05 or trends.quality.stability < 0.5
    assert "do not rely on them" in trends.quality.text


def test_a_mixture_finds_one_trend(make_series, plant):
    values, _ = plant(groups=1, size=40, noise=0.12)
    assert find_trends(make_series(values), TrendOptions(method="gmm")).quality.k == 1


def test_density_leaves_what_is_like_no_other_out(make_series, plant):
    values, _ = plant(groups=2, size=12)
    values[3] = 10 ** np.random.default_rng(0).normal(0, 0.6, values.shape[1]).cumsum()
    trends = find_trends(make_series(values), TrendOptions(method="hdbscan"))
    assert trends.labels[3] == -1
    assert trends.outliers[3]
    assert np.isnan(trends.confidence[3])


def test_density_that_is_asked_for_less_than_it_finds_says_so(make_series, plant):
    values, _ = plant(groups=3, size=12)
    trends = find_trends(make_series(values), TrendOptions(method="hdbscan", clusters=2))
    assert trends.quality.k == 3
    assert "HDBSCAN chooses the number of clusters itself, and made more than the 2 asked for." in trends.notes
