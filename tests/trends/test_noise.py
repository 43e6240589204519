"""How noisy each curve is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.trends.noise import LEAST_NOISE, estimate_noise, measure_noise, moderate_noise


@pytest.mark.parametrize("robust", [True, False])
def test_noise_about_a_line_is_found_whatever_its_slope(robust):
    random = np.random.default_rng(0)
    curves = np.linspace(-3, 2, 400) * np.array([[0.0], [1.0], [-2.0]]) + random.normal(0, 0.1, (3, 400))
    noise = estimate_noise(curves, np.zeros(curves.shape, dtype=bool), robust=robust)
    np.testing.assert_allclose(noise, 0.1, rtol=0.15)


def test_spikes_move_the_robust_estimate_little_and_the_other_one_much():
    curves = np.random.default_rng(1).normal(0, 0.1, (1, 300))
    curves[0, ::15] += 3.0
    none = np.zeros(curves.shape, dtype=bool)
    assert estimate_noise(curves, none)[0] < 0.15
    assert estimate_noise(curves, none, robust=False)[0] > 0.3
    assert estimate_noise(curves, curves > 1.5, robust=False)[0] < 0.13


def test_filled_cells_are_no_measurement():
    curves = np.random.default_rng(2).normal(0, 0.1, (1, 100))
    curves[0, 50:] = 0.0
    filled = np.zeros(curves.shape, dtype=bool)
    assert estimate_noise(curves, filled, robust=False)[0] < 0.07
    filled[0, 50:] = True
    assert estimate_noise(curves, filled, robust=False)[0] == pytest.approx(0.1, rel=0.3)
    assert estimate_noise(curves, np.ones_like(filled))[0] == 0


def test_rows_that_differ_only_by_chance_get_one_noise():
    random = np.random.default_rng(3)
    curves = random.normal(0, 0.1, (200, 12))
    noise = measure_noise(curves, np.zeros(curves.shape, dtype=bool))
    assert noise.max() < 1.25 * noise.min()
    np.testing.assert_allclose(noise, 0.1, rtol=0.2)


def test_rows_that_do_differ_keep_most_of_it():
    random = np.random.default_rng(4)
    own = 0.1 * np.exp(random.normal(0, 0.7, 200))
    curves = random.normal(size=(200, 60)) * own[:, None]
    noise = measure_noise(curves, np.zeros(curves.shape, dtype=bool))
    assert np.corrcoef(np.log(noise), np.log(own))[0, 1] > 0.9
    assert abs(np.median(np.log(noise / own))) < 0.1


def test_what_all_rows_share_is_no_noise_of_any():
    curves = np.random.default_rng(5).normal(0, 0.1, (40, 30)) + 2 * np.sin(40 * np.linspace(0, 1, 30))
    none = np.zeros(curves.shape, dtype=bool)
    assert (measure_noise(curves, none) > 0.3).all()
    np.testing.assert_allclose(measure_noise(curves, none, shared=True), 0.1, rtol=0.3)
    few = slice(9)  # of which the usual course would be a good part of each
    np.testing.assert_array_equal(
        measure_noise(curves[few], none[few], shared=True), measure_noise(curves[few], none[few])
    )


@given(
    st.lists(st.floats(0, 10) | st.just(0.0), min_size=1, max_size=30),
    st.floats(0.1, 1000),
)
def test_moderated_noise_lies_between_a_row_s_own_and_the_usual(estimates, number):
    noise = np.array(estimates)
    moderated = moderate_noise(noise, np.full(len(noise), number))
    assert (moderated >= LEAST_NOISE).all()
    known = noise > 0
    if known.any():
        floored = np.maximum(noise, max(LEAST_NOISE, 0.1 * np.median(noise[known])))
        usual = np.exp(np.median(np.log(floored[known])))
        low, high = np.minimum(floored, usual), np.maximum(floored, usual)
        assert (moderated[known] >= low[known] * (1 - 1e-9)).all()
        assert (moderated[known] <= high[known] * (1 + 1e-9)).all()
        np.testing.assert_allclose(moderated[~known], max(usual, LEAST_NOISE))
    else:
        assert (moderated == LEAST_NOISE).all()
