"""Trajectories with and without a checkpoint that belongs elsewhere: what is planted is found, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.likeness.impostors import find_impostors
from wsanalyze.likeness.samples import Distances
from wsanalyze.likeness.swaps import find_swaps

SHAPE = (12, 200)
KINDS = {
    "random walk": lambda _t, rng, _: 0.005 * rng.normal(size=SHAPE),
    "drift": lambda _t, rng, way: 0.003 * way + 0.001 * rng.normal(size=SHAPE),
    "decay": lambda t, rng, _: 0.02 * 0.8**t * rng.normal(size=SHAPE),
    "saved at powers of two": lambda t, rng, _: 0.0005 * 1.5**t * rng.normal(size=SHAPE),
    "rates that spike": lambda _t, rng, _: 0.003 * (10 if rng.random() < 0.15 else 1) * rng.normal(size=SHAPE),
    "rates that are raised again and again": lambda t, rng, _: 0.01 * (1 + np.cos(t)) * rng.normal(size=SHAPE),
}
seeds = st.integers(0, 2**31)


def walk(kind, length, seed):
    """float32 of shape (length, 12, 200)."""
    rng = np.random.default_rng(seed)
    way, weights = rng.normal(size=SHAPE), [0.05 * rng.normal(size=SHAPE)]
    for t in range(length - 1):
        if kind == "noise floor":
            weights.append(weights[0] + 0.01 * rng.normal(size=SHAPE))
        else:
            weights.append(weights[-1] + KINDS[kind](t, rng, way))
    return np.array(weights, dtype=np.float32)


def judge(samples, rounding=None):
    distances = Distances(samples)
    rounding = np.zeros(len(samples)) if rounding is None else rounding
    swaps = find_swaps(distances, rounding)
    return find_impostors(distances, rounding, swaps), swaps


@given(st.sampled_from([*KINDS, "noise floor"]), st.integers(3, 24), seeds)
def test_an_honest_training_is_not_accused(kind, length, seed):
    assert judge(walk(kind, length, seed)) == ([], [])


@given(
    st.sampled_from(["states", "wave", "pulse"]),
    st.integers(2, 4),
    st.data(),
    st.floats(0.003, 0.3),
    st.sampled_from([0.005, 0.05, 0.2]),
    seeds,
)
def test_a_training_that_goes_to_and_fro_is_not_accused(form, period, data, noise, size, seed):
    """Two turns of a few states, of a way there and back, or of one state that is left every so often, and more."""
    rng = np.random.default_rng(seed)
    times = np.arange(data.draw(st.integers(2 * period + 1, 24))) + data.draw(st.integers(0, period - 1))
    start, states = 0.05 * rng.normal(size=SHAPE), rng.normal(size=(period, *SHAPE))
    if form != "states":
        turns = np.cos(2 * np.pi * np.arange(period) / period) if form == "wave" else np.arange(period) == 0
        states = turns[:, None, None] * states[0]
    moved = size * (states[times % period] + noise * rng.normal(size=(len(times), *SHAPE)))
    assert judge((start + moved).astype(np.float32)) == ([], [])


@given(st.integers(8, 24), st.data())
def test_two_of_another_run_do_not_make_a_swing(length, data):
    samples, *others = (walk("random walk", length, data.draw(seeds)) for _ in range(3))
    first = data.draw(st.integers(1, length - 5))
    planted = [first, data.draw(st.integers(first + 3, length - 2))]
    if any(np.array_equal(samples, other) for other in others) or np.array_equal(*others):
        return
    for position, other in zip(planted, others, strict=True):
        samples[position] = other[position]
    assert [found.position for found in judge(samples)[0]] == planted


@given(st.sampled_from(["random walk", "drift"]), st.integers(5, 24), st.data())
def test_the_weights_of_another_run_are_found(kind, length, data):
    samples, other = (walk(kind, length, data.draw(seeds)) for _ in range(2))
    position = data.draw(st.integers(1, length - 2))
    if np.array_equal(samples, other):
        return
    samples[position] = other[position]
    (found,), swaps = judge(samples)
    assert (found.position, found.before, found.after, swaps) == (position, position - 1, position + 1, [])
    assert min(found.to_before, found.to_after) > 3 * found.between


@given(st.sampled_from(["random walk", "drift"]), st.integers(6, 24), st.data())
def test_the_weights_of_another_step_are_found_and_which(kind, length, data):
    samples = walk(kind, length, data.draw(seeds))
    position = data.draw(st.integers(1, length - 2))
    own = data.draw(st.sampled_from([step for step in range(length) if abs(step - position) > 2]))
    samples[position] = samples[own] * np.float32(1 + 1e-6)
    (found,), _ = judge(samples)
    assert (found.position, found.nearest) == (position, own)


def test_a_sequence_that_swings_by_itself_is_told_of_nothing():
    one, other = (walk("random walk", 12, seed) for seed in (1, 2))
    one[::2] = other[::2]
    assert judge(one) == ([], [])


def test_what_a_dtype_of_lower_precision_explains_is_no_evidence():
    samples = walk("random walk", 9, 0)
    samples = samples[0] + 1e-4 * (samples - samples[0])  # steps far below the precision of bfloat16
    rounding = np.zeros(9)
    rounding[4] = 2.0**-8
    coarse = samples.copy()
    coarse[4] = (coarse[4].view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert [found.position for found in judge(coarse)[0]] == [4]
    assert judge(coarse, rounding) == ([], [])


def test_the_ends_and_what_cannot_be_compared_are_no_impostors():
    samples = walk("random walk", 6, 0)
    samples[0] = walk("random walk", 1, 9)[0]
    samples[-1] = walk("random walk", 1, 8)[0]
    samples[3] = np.nan
    assert judge(samples)[0] == []
    assert judge(np.full((5, *SHAPE), np.nan, dtype=np.float32)) == ([], [])
    assert judge(np.zeros((5, 0, 4), dtype=np.float32)) == ([], [])
    assert judge(np.zeros((5, *SHAPE), dtype=np.float32)) == ([], [])


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_sequences(length):
    assert judge(walk("drift", 3, 0)[:length]) == ([], [])
