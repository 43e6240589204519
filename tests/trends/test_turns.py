"""Turns of a course: where it has risen and begins to fall, or the other way round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.trends.turns import find_turns, measure_turns

NOISE = 0.02


def noisy(course, seed=0):
    return np.asarray(course) + np.random.default_rng(seed).normal(0, NOISE, len(course))


def tent(number, place):
    """A rise by one decade to a place, and a fall by one from there."""
    t = np.arange(number)
    return np.where(t <= place, t / place, (number - 1 - t) / (number - 1 - place))


@pytest.mark.parametrize("number", [25, 60, 150])
def test_a_turn_is_found_at_its_place(number):
    place = number // 3
    (turn,) = find_turns(noisy(tent(number, place)))
    assert abs(turn.change - place) <= 3
    assert turn.size == pytest.approx(-1, abs=0.1)
    (turn,) = find_turns(noisy(-tent(number, place)))
    assert turn.size == pytest.approx(1, abs=0.1)


def test_a_warm_up_ends_where_the_flat_part_begins_and_a_decay_begins_where_it_ends():
    t = np.arange(1.0, 101)
    warm_up = np.minimum(0, np.log10(t / 10)) - 1.2 * np.maximum(0, t / 100 - 0.1)
    (turn,) = find_turns(noisy(warm_up))
    assert abs(turn.change - 9) <= 3
    assert turn.level is None
    (turn,) = find_turns(noisy(warm_up[::-1]))
    assert abs(turn.change - 91) <= 3


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("rise", "fall"), [(10, 85), (5, 90), (30, 70), (20, 60)])
def test_of_a_long_plateau_both_ends_are_found(rise, fall, sign):
    t = np.arange(100)
    course = np.interp(t, [0, rise, fall - 1, 99], [-1, 0, 0, -1.5])
    (turn,) = find_turns(noisy(sign * course))
    assert abs(turn.level - rise) <= 2
    assert abs(turn.change - fall) <= 2
    assert turn.size == pytest.approx(-sign, abs=0.15)


@pytest.mark.parametrize("course", [lambda t: -((t / 50 - 1) ** 2), lambda t: -abs(t / 50 - 1)], ids=["round", "sharp"])
def test_a_top_is_no_plateau(course):
    (turn,) = find_turns(noisy(2 * course(np.arange(100.0))))
    assert turn.level is None
    assert abs(turn.change - 50) <= 10


@pytest.mark.parametrize(
    "course",
    [lambda t: -2 * np.log10(t), lambda t: 2 * t / len(t), lambda t: -np.exp(-6 * t / len(t)), lambda t: 0 * t],
    ids=["power", "exponential", "saturating", "level"],
)
@pytest.mark.parametrize("number", [10, 25, 150])
def test_a_course_that_only_falls_or_rises_does_not_turn(course, number):
    assert find_turns(noisy(course(np.arange(1.0, number + 1)))) == ()


@pytest.mark.parametrize("number", [12, 40, 120])
def test_random_walks_turn_in_few_of_a_hundred(number):
    walks = np.random.default_rng(5).normal(0, 0.1, (100, number)).cumsum(axis=1)
    assert sum(bool(find_turns(walk)) for walk in walks) <= 5


def test_two_turns_are_found():
    course = np.concatenate([tent(41, 20), tent(41, 20)[1:]])
    assert [np.sign(turn.size) for turn in find_turns(noisy(course))] == [-1, 1, -1]


def test_a_jump_up_and_one_down_make_no_turn():
    course = noisy(np.where((np.arange(60) >= 20) & (np.arange(60) < 40), 1.0, 0.0))
    assert find_turns(course, [20, 40]) == ()
    assert find_turns(course) != ()


def test_a_spike_makes_no_turn_wherever_it_is():
    for place in range(30):
        course = noisy(-np.linspace(0, 1, 30), seed=place)
        course[place] += 1.0
        assert find_turns(course) == ()


def test_few_changes_do_not_turn():
    assert find_turns(tent(7, 3)) == ()
    assert find_turns(np.zeros(0)) == ()


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(-5, 5)))
def test_heights_and_depths_are_what_their_words_say(course):
    heights, depths = measure_turns(course)
    for place, value in enumerate(course):
        assert heights[place] == value - max(course[: place + 1].min(), course[place:].min())
        assert depths[place] == min(course[: place + 1].max(), course[place:].max()) - value
