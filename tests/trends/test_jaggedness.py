"""Rows that jump about, told from those that go their own way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.trends.find import find_trends
from wsanalyze.trends.jaggedness import find_restless, measure_usual_step

NAN = np.nan


def find(curves):
    return find_restless(curves, measure_usual_step(curves))


@pytest.mark.parametrize("steps", [16, 25, 60, 200])
def test_one_random_walk_in_twenty_is_taken_for_noise(steps):
    random = np.random.default_rng(steps)
    calm = random.normal(0, 0.01, (6001, steps))
    walks = random.normal(0, 0.3, (4000, steps)).cumsum(axis=1)
    found = find(np.vstack([calm, walks]))
    assert not found[:6001].any()
    assert found[6001:].mean() < 0.06


@pytest.mark.parametrize("steps", [25, 60, 200])
def test_noise_is_found_about_a_course_as_well(steps):
    random = np.random.default_rng(steps)
    x = np.linspace(0, 1, steps)
    calm, noisy = random.normal(0, 0.05, (300, steps)), random.normal(0, 0.6, (200, steps))
    assert find(np.vstack([calm, noisy]))[300:].mean() > 0.95
    assert find(np.vstack([calm - x, noisy - x]))[300:].mean() > 0.9


def test_neither_one_spike_nor_a_course_is_restless():
    random = np.random.default_rng(0)
    curves = random.normal(0, 0.05, (20, 40))
    curves[0, 17] += 3.0
    curves[1] += 2 * np.sin(np.linspace(0, 6, 40))
    curves[2, 20:] -= 2.0
    assert not find(curves).any()


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.integers(0, 6), st.integers(0, 30))
def test_gaps_and_constant_or_empty_rows_break_nothing(seed, share, rows, steps):
    random = np.random.default_rng(seed)
    curves = random.normal(size=(rows, steps))
    curves[random.random(curves.shape) < share] = NAN
    curves = np.vstack([curves, np.full((1, steps), NAN), np.full((1, steps), -1.5)])
    found = find(curves)
    assert found.shape == (rows + 2,)
    assert not found[-2:].any()


def test_the_headline_tells_noise_from_a_course_of_its_own(make_series, plant):
    values, _ = plant(groups=2, steps=40)
    random = np.random.default_rng(1)
    values[3] = 10 ** (-1.5 + random.normal(0, 0.5, 40))
    noisy = find_trends(make_series(values))
    assert noisy.outliers[3]
    assert noisy.headline[2] == "block3.weight jumps about too much to follow any trend."
    values[5] = 10 ** (-1.5 + np.sin(np.linspace(0, 12, 40)))
    both = find_trends(make_series(values))
    assert both.outliers[[3, 5]].all()
    assert both.headline[2] == (
        "block5.weight follows no other layer's trend, and block3.weight jumps about too much to follow any."
    )
