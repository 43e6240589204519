"""Two checkpoints that have changed places, near or far, are named, and those that stand between them are not."""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from wsanalyze.likeness.misplaced import tell_misplaced
from wsanalyze.likeness.samples import Distances
from wsanalyze.likeness.swaps import find_swaps, line_up

FIXTURES = Path(__file__).parents[2] / "fixtures"
SHARED = Path(__file__).parents[3] / "shared" / "checkpoints"
SHAPE = (12, 200)
PACES = {"even": lambda _: 0.005, "slower": lambda t: 0.02 * 0.85**t, "faster": lambda t: 0.001 * 1.2**t}
paces, seeds = st.sampled_from(sorted(PACES)), st.integers(0, 2**31)


def walk(length, seed, pace="even", drift=0.0):
    """float32 of shape (length, 12, 200): a random walk of which a part may lead the same way all the time."""
    rng = np.random.default_rng(seed)
    start, way = 0.05 * rng.normal(size=SHAPE), rng.normal(size=SHAPE)
    steps = [PACES[pace](t) * (rng.normal(size=SHAPE) + drift * way) for t in range(length - 1)]
    return np.cumsum([start, *steps], axis=0).astype(np.float32)


def exchange(samples, *pairs):
    line = np.arange(len(samples))
    for first, second in pairs:
        line[[first, second]] = line[[second, first]]
    return samples[line]


def find(samples):
    return [(swap.first, swap.second) for swap in find_swaps(Distances(samples), np.zeros(len(samples)))]


def tell(samples):
    places = range(len(samples))
    return tell_misplaced([f"s{place}" for place in places], places, places, Distances(samples), np.zeros(len(samples)))


@given(st.integers(6, 24), paces, st.sampled_from([0.0, 0.3, 1.0]), st.data())
def test_two_that_changed_places_are_named_and_nothing_else_is(length, pace, drift, data):
    """Whatever lies between them; of the first two, or the last two, see below."""
    pairs = [
        pair for pair in itertools.combinations(range(length), 2) if pair not in ((0, 1), (length - 2, length - 1))
    ]
    pair = data.draw(st.sampled_from(pairs))
    (event,) = tell(exchange(walk(length, data.draw(seeds), pace, drift), pair))
    assert (event.evidence["swapped"], event.checkpoint) == ([*pair], pair[0])
    assert f"s{pair[0]} and s{pair[1]} seem to stand in each other's place: the other way round" in event.text
    assert event.evidence["gain"] > 1.1


@given(st.integers(4, 24), seeds, st.booleans())
def test_two_at_an_end_are_named_with_what_else_it_may_be(length, seed, last):
    pair = (length - 2, length - 1) if last else (0, 1)
    (event,) = tell(exchange(walk(length, seed), pair))
    assert event.evidence["swapped"] == [*pair]
    assert event.text.endswith(f"; or s{pair[0] if last else 1} alone belongs elsewhere")


@pytest.mark.parametrize(("length", "inner"), [(4, (1, 2)), (5, (1, 3))])
def test_distances_have_no_direction(length, inner):
    """The same sequence from its end to its start: that the outer two were exchanged explains it as well."""
    outer = (0, length - 1)
    for pair in (inner, outer):
        (event,) = tell(exchange(walk(length, 0), pair))
        assert (event.evidence["swapped"], event.evidence["instead"]) == ([*inner], [*outer])
        assert event.text == (
            f"s{inner[0]} and s{inner[1]} seem to stand in each other's place, or else s0 and s{length - 1} do: either "
            "would explain the distances"
        )


@given(st.integers(14, 24), seeds)
def test_two_pairs_far_apart_are_both_named(length, seed):
    assert find(exchange(walk(length, seed), (1, 2), (length - 4, length - 2))) == [(1, 2), (length - 4, length - 2)]


@given(st.integers(0, 24), paces, st.sampled_from([0.0, 0.3, 1.0, 10.0]), seeds)
def test_what_stands_in_its_place_is_not_accused(length, pace, drift, seed):
    assert tell(walk(max(1, length), seed, pace, drift)[:length]) == []


@given(st.integers(5, 24), st.floats(0.0, 1.0), seeds)
def test_no_order_is_seen_where_nothing_leads_on(length, noise, seed):
    """Two states in turn: three and three of them could be put together, but nothing says that they should be."""
    rng = np.random.default_rng(seed)
    states = 0.05 * rng.normal(size=(2, *SHAPE))
    moved = 0.05 * noise * rng.normal(size=(length, *SHAPE))
    assert find((states[np.arange(length) % 2] + moved).astype(np.float32)) == []


@given(st.integers(6, 24), seeds, st.data())
def test_a_copy_of_another_step_is_no_exchange(length, seed, data):
    samples = walk(length, seed)
    place, own = data.draw(st.sampled_from([*itertools.permutations(range(length), 2)]))
    samples[place] = samples[own] * np.float32(1 + 1e-6)
    assert find(samples) == []


def test_what_a_dtype_of_lower_precision_explains_is_no_exchange():
    samples = walk(9, 0)
    samples = samples[0] + 1e-4 * (samples - samples[0])  # steps far below the precision of bfloat16
    rounding = np.zeros(9)
    rounding[[4, 5]] = 2.0**-8
    samples[4:6] = (samples[4:6].view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert find_swaps(Distances(samples), rounding) == []


def test_tensors_without_numbers_do_not_take_part():
    samples = exchange(walk(9, 0), (2, 5))
    samples[4:, :5] = np.nan
    assert find(samples) == [(2, 5)]
    samples[4:] = np.nan
    assert find(samples) == []


def test_swaps_are_put_right():
    swaps = find_swaps(Distances(exchange(walk(9, 0), (2, 5))), np.zeros(9))
    assert line_up(9, swaps) == [0, 1, 5, 3, 4, 2, 6, 7, 8]


def load(path):
    if path.is_dir():
        return {name: tensor for file in sorted(path.glob("*.safetensors")) for name, tensor in load_file(file).items()}
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("model", state)


def load_matrices(paths):
    """float32 of shape (checkpoints, matrices, 400): the first elements of every matrix, read by other means."""
    samples = []
    for path in sorted(paths, key=lambda path: int("".join(filter(str.isdigit, path.name)))):
        rows = [tensor.flatten()[:400].numpy() for tensor in load(path).values() if tensor.ndim > 1]
        samples.append([np.pad(row, (0, 400 - len(row)), constant_values=np.nan) for row in rows])
    return np.array(samples, dtype=np.float32)


def judge_all_exchanges(samples):
    """How many are named; fails where somebody else is accused without any of the two."""
    assert tell(samples) == []
    named = 0
    for pair in itertools.combinations(range(len(samples)), 2):
        events = tell(exchange(samples, pair))
        for event in events:
            swapped = event.evidence.get("swapped", [event.checkpoint])
            assert {*swapped} <= {*pair} or event.evidence["instead"] == [*pair]
        named += [event.evidence.get("swapped") for event in events] == [[*pair]]
    return named


def test_exchanges_in_real_trainings_are_named_and_innocents_are_not():
    """Those that are not named are at the end, where next to nothing changes, and at the start of a warm-up."""
    assert judge_all_exchanges(load_matrices((FIXTURES / "digits-transformer").glob("step_*.pt"))) >= 34
    convnet = load_matrices((FIXTURES / "digits-convnet").glob("checkpoint-*"))
    assert judge_all_exchanges(convnet) >= 49


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sequences trained by others are not here")
@pytest.mark.parametrize("folder", ["snake-rl", "neurosity"])
def test_exchanges_in_trainings_of_others_are_named(folder):
    samples = load_matrices((SHARED / folder).glob("*.pth"))
    assert judge_all_exchanges(samples) == 45
