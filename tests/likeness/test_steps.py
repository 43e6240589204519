"""Laws of missing steps: holes in a regular sequence are found, schedules that only look uneven are not."""

import json
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.likeness.steps import find_missing_steps, tell_missing_steps


@st.composite
def sequences_with_holes(draw):
    """Runs of regular gaps with a hole between any two: (steps that are there, steps that are not, spacing)."""
    runs = draw(st.lists(st.integers(2, 12), min_size=2, max_size=8))
    spacing = draw(st.integers(1, 5000))
    first = draw(st.integers(0, 10**6))
    widths = [draw(st.integers(1, 3)) for _ in runs[1:]]
    there, missing, at = [first], [], first
    for run, width in zip(runs, [*widths, 0], strict=True):
        there += [at + spacing * (number + 1) for number in range(run)]
        at = there[-1]
        if width:
            missing += [at + spacing * (number + 1) for number in range(width)]
            at += spacing * (width + 1)
            there.append(at)
    return there, missing, spacing


@given(sequences_with_holes(), st.randoms())
def test_exactly_the_holes_of_a_regular_sequence_are_found(sequence, random):
    there, missing, spacing = sequence
    shuffled = [*there, *there[:2]]
    random.shuffle(shuffled)
    found = find_missing_steps(shuffled)
    if len(missing) > len(there):
        assert found is None
    else:
        assert (found.steps, found.spacing) == (tuple(missing), spacing)
        assert found.num_gaps == len(there) - 1


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 200))
def test_a_regular_sequence_misses_nothing(first, spacing, count):
    assert find_missing_steps([first + spacing * index for index in range(count)]) is None


@given(st.integers(1, 40), st.integers(2, 4), st.booleans())
def test_a_ladder_of_powers_misses_nothing(length, base, from_zero):
    assert find_missing_steps([0] * from_zero + [base**exponent for exponent in range(length)]) is None


@given(st.integers(4, 150), st.floats(2.0, 10_000.0))
def test_logarithmic_spacing_misses_nothing(count, span):
    steps = [round(step) for step in np.geomspace(1, count * span, count)]
    assert find_missing_steps(steps) is None


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(2, 10), st.integers(3, 30)), min_size=1, max_size=4))
def test_a_spacing_that_grows_misses_nothing(spacing, stages):
    gaps = [spacing] * 5
    for factor, count in stages:
        gaps += [gaps[-1] * factor] * count
    assert find_missing_steps(list(accumulate(gaps, initial=0))) is None


@given(st.integers(1, 1000), st.integers(2, 10), st.integers(1, 30), st.integers(3, 30))
def test_a_spacing_that_shrinks_misses_nothing(spacing, factor, few, many):
    gaps = [spacing * factor] * few + [spacing] * many
    assert find_missing_steps(list(accumulate(gaps, initial=0))) is None


@given(st.lists(st.integers(0, 10**9), max_size=40))
def test_what_is_told_is_missing_and_on_the_grid(steps):
    found = find_missing_steps(steps)
    if found is not None:
        assert not set(found.steps) & set(steps)
        assert min(steps) < min(found.steps) <= max(found.steps) < max(steps)
        assert len(found.steps) <= len(set(steps))
        assert 2 * found.num_regular > found.num_gaps


def test_a_ladder_that_becomes_regular_is_no_hole_but_its_holes_are():
    ladder = [0, *(2**exponent for exponent in range(10)), *range(1000, 143_001, 1000)]
    assert find_missing_steps(ladder) is None
    assert find_missing_steps([step for step in ladder if step != 77_000]).steps == (77_000,)


@pytest.mark.parametrize("gap", [10**12, 2**53])
def test_a_far_outlier_is_not_filled_in(gap):
    assert find_missing_steps([0, 1, 2, 3, 4, gap, gap + 1, gap + 2]) is None


def test_the_event_names_its_evidence():
    (event,) = tell_missing_steps([None, 0, 100, 200, None, 400, 500, 600])
    assert event.kind == "missing-steps"
    assert (event.layer, event.checkpoint) == (None, None)
    assert event.text == "no checkpoint at step 300, where 4 of 5 are 100 apart"
    assert json.loads(json.dumps(event.evidence)) == {
        "missing": [300],
        "spacing": 100,
        "num_regular": 4,
        "num_gaps": 5,
    }


def test_many_missing_steps_are_counted_in_the_text():
    (event,) = tell_missing_steps([*range(100), *range(108, 200)])
    assert event.text == "no checkpoint at steps 100, 101, 102, 103, 104, 105 and 2 more, where 190 of 191 are 1 apart"
    assert event.evidence["missing"] == list(range(100, 108))


@pytest.mark.parametrize("steps", [[], [None], [None, None, 5], [1, 2, 3]])
def test_nothing_is_told_where_nothing_is_missing(steps):
    assert tell_missing_steps(steps) == ()
