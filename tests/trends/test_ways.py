"""Turns and slopes in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.trends.ways import Curve, describe_turns, describe_way

STEPS = [f"step {10 * index}" for index in range(200)]


def make_curve(logs):
    return Curve(np.asarray(logs, dtype=np.float64), STEPS[: len(logs)], STEPS[1 : len(logs) + 1], speed=True)


@given(st.integers(20, 80), st.integers(1, 5), st.floats(0.8, 4.0), st.sampled_from([-1, 1]), st.data())
def test_a_fall_is_placed_where_it_is(num_changes, length, decades, sign, data):
    first = data.draw(st.integers(num_changes // 3 + 1, num_changes - num_changes // 3 - length - 1))
    logs = -sign * decades * np.clip((np.arange(num_changes) - first + 1) / length, 0, 1)
    verb = "falls" if sign > 0 else "rises"
    words = describe_way(make_curve(logs), logs, 0.0)
    if length == 1:
        assert words == f"{verb} after {STEPS[first]}"
    elif length > 3:  # most of the way takes more than two changes
        assert words == f"{verb} between {STEPS[first]} and {STEPS[first + length]}"
    else:
        assert words.startswith((f"{verb} after ", f"{verb} between "))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_a_turn_is_named_where_the_curve_itself_has_it(sign, width):
    logs = sign * np.exp(-(((np.arange(40) - 17) / 6) ** 2))
    logs[18] = sign * 1.02
    smooth = np.convolve(np.pad(logs, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    noun = "hump" if sign > 0 else "dip"
    assert describe_turns(make_curve(logs), smooth, 0.1, width) == f"{noun} at {STEPS[19]}"


def test_what_has_no_turn_is_not_said_to_have_one():
    logs = np.linspace(0, -1, 30)
    assert describe_turns(make_curve(logs), logs, 0.1, 1) == ""
    wave = np.sin(np.linspace(0, 12, 60))
    assert describe_turns(make_curve(wave), wave, 0.1, 1) == "goes up and down"


def test_noise_on_a_straight_way_is_no_sudden_fall():
    random = np.random.default_rng(0)
    told = []
    for length in (10, 16, 24):
        for _ in range(100):
            logs = np.linspace(0, -0.35, length) + random.normal(0, 0.05, length)
            told.append(describe_way(make_curve(logs), logs, 0.05))
    assert sum(" after " in words for words in told) <= len(told) // 20


def test_what_falls_by_two_leaps_does_not_fall_ever_faster():
    values = [0.588, 0.543, 0.353, 0.101, 0.114, 0.073, 0.052, 0.061, 0.0064, 0.0042]
    logs = np.log10(values)
    assert describe_way(make_curve(logs), logs, 0.0) == "falls, most of all after step 30 and step 80"
    assert describe_way(make_curve(-logs), -logs, 0.0) == "rises, most of all after step 30 and step 80"


@given(st.floats(0.35, 0.48), st.integers(12, 60))
def test_what_is_fast_twice_does_neither_ever(rest, length):
    speed = np.where(np.abs(np.linspace(0, 1, length) - 0.5) < rest / 2, 0.1, 1.0)
    speed[-length // 4 :] *= 3
    logs = -np.cumsum(speed) / speed.sum()
    assert "ever" not in describe_way(make_curve(logs), logs, 0.0)
    assert "ever" not in describe_way(make_curve(-logs[::-1]), -logs[::-1], 0.0)


@pytest.mark.parametrize("power", [1.8, 2.0, 2.2])
@pytest.mark.parametrize("length", [5, 12, 40])
def test_what_bends_one_way_does_so_ever_more(power, length):
    logs = -(np.linspace(0, 1, length) ** power)
    assert describe_way(make_curve(logs), logs, 0.0) == "falls ever faster"
    back = -1 - logs[::-1]
    assert describe_way(make_curve(back), back, 0.0) in ("falls ever more slowly", "fast, then slow")


def test_noise_on_a_straight_way_does_not_take_its_steadiness():
    random = np.random.default_rng(1)
    told = []
    for _ in range(200):
        logs = np.linspace(0, -1, 20) + random.normal(0, 0.05, 20)
        told.append(describe_way(make_curve(logs), logs, 0.05))
    assert told.count("falls") <= 2
