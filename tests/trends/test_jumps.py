"""Jumps of a course: what is one, and above all what is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.trends.jumps import find_jumps, least_side, make_weights, measure_wandering, take_spikes_out

NOISE = 0.02


def noisy(course, seed=0, noise=NOISE):
    return np.asarray(course) + np.random.default_rng(seed).normal(0, noise, len(course))


def step(number, place, size):
    return size * (np.arange(number) >= place)


def places(course, **more):
    return [jump.change for jump in find_jumps(course, **more)]


@pytest.mark.parametrize("number", [25, 60, 150])
@pytest.mark.parametrize("size", [-0.8, -0.3, 0.3])
@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_jump_is_found_at_its_place_with_its_size(number, size, slope):
    place = number // 3
    course = noisy(slope * np.linspace(0, 1, number) + step(number, place, size))
    (jump,) = find_jumps(course)
    assert abs(jump.change - place) <= 1
    assert jump.size == pytest.approx(size, abs=0.12)


@given(st.floats(-2, 2), st.floats(-0.5, 0.5), st.floats(-3, 3))
def test_no_parabola_jumps(bend, slope, level):
    x = np.arange(8.0)
    assert (bend * x**2 + slope * x + level) @ make_weights(4) == pytest.approx(0, abs=1e-10)


@given(st.integers(2, 9))
def test_weights_add_up_to_a_jump_of_one(half):
    assert np.arange(2 * half) // half @ make_weights(half) == pytest.approx(1)


@pytest.mark.parametrize("number", [10, 25, 60, 150])
@pytest.mark.parametrize("noise", [0.0, NOISE])
@pytest.mark.parametrize(
    "course",
    [
        lambda t: -np.log10(t),
        lambda t: -2 * np.log10(t + 3),
        lambda t: -2 * t / len(t),
        lambda t: np.exp(-6 * t / len(t)),
        lambda t: np.log10(0.01 + 0.5 * (1 + np.cos(np.pi * t / len(t)))),
        lambda t: 0 * t,
    ],
    ids=["power", "steep power", "exponential", "saturating", "cosine", "level"],
)
def test_a_smooth_course_does_not_jump_however_far_it_falls(course, number, noise):
    assert places(noisy(course(np.arange(1.0, number + 1)), noise=noise), least=0.15) == []


@pytest.mark.parametrize("memory", [0.0, 0.7, 1.0], ids=["white", "correlated", "walk"])
@pytest.mark.parametrize("number", [12, 40, 120])
def test_courses_that_wander_jump_in_few_of_a_hundred(memory, number):
    random = np.random.default_rng(5)
    courses = random.normal(0, 0.1, (100, number))
    for place in range(1, number):
        courses[:, place] += memory * courses[:, place - 1]
    assert sum(bool(find_jumps(course)) for course in courses) <= 5


@pytest.mark.parametrize("slope", [0.0, -3.0])
def test_a_spike_is_no_jump_wherever_it_is(slope):
    for place in range(30):
        course = noisy(slope * np.linspace(0, 1, 30), seed=place)
        course[place] += 1.0
        assert places(course, least=0.075) == []


def test_several_jumps_are_found_beside_a_spike():
    course = noisy(step(90, 30, -0.5) + step(90, 60, 0.4))
    course[45] += 1.0
    assert places(course) == [30, 60]


def test_a_smaller_jump_is_believed_where_it_is_likely():
    course = noisy(step(40, 20, -0.1), seed=3)
    assert places(course) == []
    assert places(course, likely=[20]) == [20]


def test_a_likely_place_alone_makes_no_jump():
    assert places(noisy(np.zeros(40)), likely=[20], least=0.075) == []


def test_few_changes_have_no_jumps():
    assert find_jumps(step(7, 4, 1.0)) == ()
    assert find_jumps(np.zeros(0)) == ()


def test_a_jump_near_the_end_is_found_where_changes_are_few():
    course = noisy(step(12, 10, -1.0), noise=0.01)
    assert least_side(12) == 2
    assert places(course) == [10]


@given(st.floats(-5, 5), st.floats(0.01, 100), st.integers(0, 99))
def test_neither_level_nor_unit_matters(level, unit, seed):
    course = noisy(step(30, 12, -0.7), seed=seed)
    assert places(course + level) == places(course)
    if measure_wandering(course * unit) > 0.0051:
        assert places(course * unit) == places(course)


def test_time_may_run_backwards():
    course = noisy(step(50, 18, -0.7))
    assert [50 - place for place in places(course[::-1])] == places(course) == [18]


def test_spikes_are_replaced_by_what_lies_between_and_nothing_else_is():
    course = noisy(-np.log10(np.arange(1.0, 41)))
    spiky = course.copy()
    spiky[[7, 20, 21]] += 1.0
    calm = take_spikes_out(spiky)
    assert np.flatnonzero(calm != spiky).tolist() == [7, 20, 21]
    np.testing.assert_allclose(calm, course, atol=0.1)
    np.testing.assert_array_equal(take_spikes_out(course), course)


def test_a_step_from_which_a_course_falls_is_where_it_is():
    course = [-1.24, -1.23, -1.23, -1.23, -1.23, -1.23, -1.22, -0.94, -1.05, -1.13, -1.25, -1.35]
    (jump,) = find_jumps(np.array([*course, -1.45, -1.55, -1.67, -1.77, -1.89, -1.98]))
    assert jump.change == 7
    assert jump.size > 0
