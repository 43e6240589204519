"""The course of a cluster where some of its members jump."""

import numpy as np
import pytest

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.common_course import trace_common_course
from wsanalyze.trends.find import find_trends

X = np.linspace(0, 1, 30)


def make(num_jump, *, linear=False):
    random = np.random.default_rng(0)
    logs = random.normal(-1.5, 0.4, (60, 1)) - X + random.normal(0, 0.03, (60, 30))
    spikes = np.zeros(logs.shape, dtype=bool)
    spikes[:num_jump, 12] = True
    plain, jumped = logs, logs + 1.0 * spikes
    return (plain, jumped, spikes) if linear else (10**plain, 10**jumped, spikes)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("num_jump", [6, 20, 40, 55])
def test_a_jump_of_some_is_no_course_of_all(num_jump, linear):
    plain, jumped, spikes = make(num_jump, linear=linear)
    found = trace_common_course(jumped, np.median(jumped, axis=0), spikes, linear=linear)
    off = found - np.median(plain, axis=0) if linear else np.log10(found / np.median(plain, axis=0))
    moved = np.median(jumped, axis=0) / np.median(plain, axis=0)
    assert np.abs(off).max() < 0.06
    if not linear and num_jump >= 20:
        assert np.log10(moved[12]) > 0.15
    others = np.arange(30) != 12
    np.testing.assert_array_equal(found[others], np.median(jumped, axis=0)[others])


def test_without_spikes_it_is_the_median():
    _, jumped, spikes = make(60)
    median = np.median(jumped, axis=0)
    for none in (np.zeros_like(spikes), spikes):  # what all members do is what the cluster does
        assert trace_common_course(jumped, median, none, linear=False) is median


def test_zeros_and_gaps_stay():
    _, jumped, spikes = make(20)
    spikes[:, :6] = spikes[:, [12]]
    jumped[:, 2], jumped[:, 3] = 0, np.nan
    median = np.array([np.nan if np.isnan(column).all() else np.nanmedian(column) for column in jumped.T])
    found = trace_common_course(jumped, median, spikes, linear=False)
    assert found[2] == 0
    assert np.isnan(found[3])
    assert np.isfinite(np.delete(found, 3)).all()


@pytest.mark.parametrize("num_jump", [10, 20, 29])
def test_the_summary_tells_of_no_jump_that_most_did_not_make(make_series, num_jump):
    _, jumped, _ = make(num_jump)
    (cluster,) = find_trends(make_series(jumped), TrendOptions()).clusters
    assert cluster.summary == "falls steadily"
