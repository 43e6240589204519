"""What rows, checkpoints and clusters are called."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.trends.base import Cluster
from wsanalyze.trends.words import (
    count_noun,
    count_of,
    describe_cluster,
    describe_level,
    is_speed,
    row_levels,
    say_course,
    say_number,
    say_times,
)


def test_nouns_are_counted():
    assert [count_noun(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]


@pytest.mark.parametrize(
    ("summary", "curve", "sentence"),
    [
        ("falls steadily", (0.4, 0.1, 0.02), "Trend 2, 3 layers (attention q): falls steadily, from 0.4 to 0.02."),
        ("steady", (0.1, None, 0.11), "Trend 2, 3 layers (attention q): steady, near 0.1."),
        ("hump at step 4", (0.1, 0.9, 0.1), "Trend 2, 3 layers (attention q): hump at step 4, up to 0.9."),
        ("unchanged", (0.0, 0.0, 0.0), "Trend 2, 3 layers (attention q): unchanged."),
    ],
)
def test_a_cluster_is_a_sentence(summary, curve, sentence):
    cluster = Cluster(2, (0, 1, 2), summary, curve, curve, curve, makeup="attention q")
    assert describe_cluster(cluster) == sentence.replace("near 0.1.", "near 0.11." if curve[1] is None else "near 0.1.")


@pytest.mark.parametrize(
    ("summary", "one", "many"),
    [
        ("steady", "is steady", "are steady"),
        ("falls ever more slowly", "falls ever more slowly", "fall ever more slowly"),
        ("hump at step 4", "peaks at step 4", "peak at step 4"),
        ("steady until a, then falls", "is steady until a, then falls", "are steady until a, then fall"),
        (
            "fast, then nearly frozen from a",
            "is fast, then nearly frozen from a",
            "are fast, then nearly frozen from a",
        ),
        (
            "one change, then frozen from b",
            "changes once, then is frozen from b",
            "change once, then are frozen from b",
        ),
        (
            "rises until a, then falls steadily, then frozen from b",
            "rises until a, then falls steadily, then is frozen from b",
            "rise until a, then fall steadily, then are frozen from b",
        ),
        ("wakes after a, then steady", "wakes after a, then is steady", "wake after a, then are steady"),
        (
            "falls steadily, but unchanged from a to b",
            "falls steadily, but is unchanged from a to b",
            "fall steadily, but are unchanged from a to b",
        ),
        ("dip at a, but 0 from b to c", "dips at a, but is 0 from b to c", "dip at a, but are 0 from b to c"),
        (
            "steady, but unchanged from a to b",
            "is steady, but unchanged from a to b",
            "are steady, but unchanged from a to b",
        ),
        ("no numbers", "has no numbers", "have no numbers"),
        ("moves only from a to b", "moves only from a to b", "move only from a to b"),
    ],
)
def test_summaries_become_predicates(summary, one, many):
    assert say_course(summary, plural=False) == one
    assert say_course(summary, plural=True) == many


def test_what_is_no_speed():
    assert [is_speed(name) for name in ("rwc", "rate", "given", "rank", "from-first", "coherence")] == [True] * 3 + [
        False
    ] * 3


def test_all_of_a_number_are_called_so():
    counts = [count_of(*numbers, "layer") for numbers in ((3, 8), (8, 8), (2, 2), (1, 2), (1, 1))]
    assert counts == ["3 of 8 layers", "all 8 layers", "both layers", "1 of 2 layers", "the one layer"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0031, "0.0031"), (0.1, "0.1"), (9.96, "10"), (99.7, "100"), (-184.0, "-180"), (12345.0, "12,000"), (0.0, "0")],
)
def test_numbers_are_written_out(number, text):
    assert say_number(number) == text


@given(st.floats(1e-3, 9999))
def test_numbers_in_sentences_have_no_exponent_and_two_digits(number):
    said = say_number(number)
    assert "e" not in said
    assert float(said.replace(",", "")) == float(f"{number:.1e}")


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (184, "180 times"),
        (0.098, "a tenth"),
        (0.5, "half"),
        (0.066, "0.066 times"),
        (0.16, "a sixth"),
        (0.14, "a seventh"),
        (0.15, "0.15 times"),
        (2e4, "more than 10,000 times"),
    ],
)
def test_ratios_are_told(ratio, text):
    assert say_times(float(np.log10(ratio))) == text


def test_levels_do_not_overflow():
    top = sys.float_info.max
    levels = row_levels(np.array([[top, top], [5e-324, 5e-324], [1.0, 3.0], [np.nan, np.nan], [np.nan, -top]]))
    np.testing.assert_array_equal(levels, [top, 5e-324, 2.0, np.nan, -top])


def test_an_unsteady_course_that_ends_elsewhere_is_told_by_its_ends():
    medians = (0.37, 0.07, 0.2, 0.06, 0.1, 0.064)
    cluster = Cluster(0, (0,), "unsteady until step 6, then steady", medians, medians, medians)
    assert describe_level(cluster) == "from 0.37 to 0.064"


@pytest.mark.parametrize(
    ("medians", "words"),
    [
        ((0.1, 1.0, 0.01), "from 0.1 to 0.01, up to 1 in between"),
        ((0.3, 0.01, 0.2), "from 0.3 to 0.2, down to 0.01 in between"),
        ((0.4, 0.3, 0.02), "from 0.4 to 0.02"),
    ],
)
def test_a_level_tells_how_far_a_course_goes_on_its_way(medians, words):
    assert describe_level(Cluster(0, (0,), "rises until step 2, then falls", medians, medians, medians)) == words


def test_what_is_steady_has_one_level():
    medians = (0.36, 0.18, 0.17, 0.17, 0.15)
    assert describe_level(Cluster(0, (0,), "steady", medians, medians, medians)) == "near 0.17"
