"""Trajectories whose first or last checkpoint is of another training, and others that begin or end a long way off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.likeness.impostors import find_impostors
from wsanalyze.likeness.samples import Distances
from wsanalyze.likeness.strange_ends import find_strange_ends
from wsanalyze.likeness.swaps import find_swaps

SHAPE = (12, 200)
lengths, seeds = st.integers(4, 24), st.integers(0, 2**31)


def walk(length, seed, drift=0.0):
    """float32 of shape (length, 12, 200): a random walk, 0.1 of the weights long at each step, and a drift."""
    rng = np.random.default_rng(seed)
    start, way = 0.05 * rng.normal(size=(2, *SHAPE))
    noise = 0.005 * rng.normal(size=(length, *SHAPE))
    return (start + np.cumsum(noise, axis=0) + drift * np.arange(length)[:, None, None] * way).astype(np.float32)


def judge(samples, steps=None):
    distances, rounding = Distances(samples), np.zeros(len(samples))
    swaps = find_swaps(distances, rounding)
    impostors = find_impostors(distances, rounding, swaps)
    return find_strange_ends(distances, range(len(samples)) if steps is None else steps, impostors, swaps)


@given(lengths, seeds, st.sampled_from([0.0, 0.02]), st.sampled_from([0, -1]))
def test_an_end_of_another_training_is_found(length, seed, drift, end):
    samples = walk(length, seed, drift)
    samples[end] = walk(length, seed + 1)[end]
    (found,) = judge(samples)
    position, neighbour = (0, 1) if end == 0 else (length - 1, length - 2)
    assert (found.position, found.neighbour) == (position, neighbour)
    distances = Distances(samples)
    assert found.to_neighbour == distances.relative(position, neighbour) > 1.3
    rest = [samples[1:], samples[:-1]][end]
    assert found.elsewhere == max(Distances(rest).relative(at, at + 1) for at in range(length - 2))
    assert found.to_nearest == min(distances.relative(position, at) for at in range(length) if at != position)


@given(lengths, seeds, st.floats(-3, 3), st.booleans())
def test_a_long_way_from_random_weights_or_out_of_a_diverging_training_is_none(length, seed, size, last):
    """Steps that do not depend on the weights, up to 50 times as long as those are: then their norm grows."""
    samples = walk(length, seed)
    way = 0.05 * np.exp(size) * np.random.default_rng(seed).normal(size=SHAPE)
    if last:
        samples[-1] += way
    else:
        samples[1:] += way
        samples[2:] = samples[1] + 1e-3 * (samples[2:] - samples[1])
    assert judge(samples) == []


@given(lengths, seeds, st.sampled_from(["decay", "faster", "floor", "spikes"]))
def test_an_honest_training_is_not_accused(length, seed, kind):
    rng = np.random.default_rng(seed)
    start, noise = 0.05 * rng.normal(size=SHAPE), rng.normal(size=(length, *SHAPE))
    at = np.arange(length)[:, None, None]
    size = {"decay": 0.04 * 0.3**at, "faster": 0.0005 * 1.5**at, "floor": 0.01, "spikes": 0.03 * (at % 5 == 0) + 0.002}
    moved = size[kind] * noise
    assert judge((start + (moved if kind == "floor" else np.cumsum(moved, axis=0))).astype(np.float32)) == []


def strange(end, length=8):
    samples = walk(length, 0)
    samples[end] = walk(1, 9)[0]
    return samples


@pytest.mark.parametrize(
    ("steps", "first", "last"),
    [
        ([None] * 8, False, True),
        ([None, *range(7)], False, True),
        ([*range(7), None], True, True),
        ([0, *range(500, 507)], False, True),
        ([*range(7), 500], True, False),
        ([0, 500, 1000, 1500, 2000, 2500, 3000, 3100], True, True),
        ([5] * 8, True, True),
    ],
)
def test_steps_tell_what_may_be_long(steps, first, last):
    """More steps may make a longer way; and without a step, the first may be the model that training began with."""
    assert [bool(judge(strange(end), steps)) for end in (0, 7)] == [first, last]


@pytest.mark.parametrize("end", [0, 7])
def test_an_impostor_between_hides_no_end(end):
    samples = strange(end)
    samples[3] = walk(1, 77)[0]
    assert [found.position for found in judge(samples)] == [end]


@pytest.mark.parametrize("length", [2, 3])
def test_few_checkpoints_are_no_judges(length):
    assert judge(strange(-1, length)) == []
    assert judge(strange(-1, 4)) != []


def test_what_cannot_be_compared_is_not_judged():
    samples = strange(-1)
    samples[3] = np.nan
    assert judge(samples) == []
    assert judge(np.full((5, *SHAPE), np.nan, dtype=np.float32)) == []
    assert judge(np.zeros((5, *SHAPE), dtype=np.float32)) == []
    assert judge(np.zeros((5, 0, 4), dtype=np.float32)) == []
    assert judge(samples[:0]) == []


def test_a_start_from_nothing_is_none():
    """As of the second factor of an adapter, which is zero at first."""
    samples = walk(6, 0)
    samples[0] = 0
    assert judge(samples) == []
