"""The course of a curve in words: what a human would say who looks at its plot."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.trends.courses import describe_curve
from wsanalyze.trends.find import find_trends

NAN = np.nan
X = np.linspace(0, 1, 41)
STEPS = [f"step {10 * i}" for i in range(200)]


def describe(logs, **options):
    return describe_curve(10.0 ** (np.asarray(logs) - 2), STEPS[: len(logs)], STEPS[1 : len(logs) + 1], **options)


FALL = 1 / (1 + np.exp(-60 * (X - 0.6)))
NOISE = np.random.default_rng(1).normal(size=41)


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (0 * X, "steady"),
        (0.05 * np.sin(9 * X), "steady"),
        (0.05 * NOISE, "steady"),
        (0.3 * NOISE, "unsteady"),
        (-1.5 * X, "falls steadily"),
        (1.5 * X, "rises steadily"),
        (-1.5 * X + 0.1 * NOISE, "falls steadily"),
        (-1.2 * X + 0.3 * NOISE, "falls unsteadily"),
        (1.2 * X + 0.4 * NOISE, "rises unsteadily"),
        (-1.2 * np.sqrt(np.sqrt(X)), "falls ever more slowly"),
        (-0.8 * (1 - np.exp(-15 * X)), "fast, then slow"),
        (0.5 * np.sin(4 * np.pi * X), "goes up and down"),
        (0.5 * np.sin(4 * np.pi * X) + 0.1 * NOISE, "goes up and down"),
    ],
)
def test_courses(logs, words):
    assert describe(logs) == words
    assert describe(logs + 3) == words


@pytest.mark.parametrize(
    ("logs", "words", "step"),
    [
        (-FALL, "falls after step ", 240),
        (FALL, "rises after step ", 240),
        (np.exp(-(((X - 0.5) / 0.15) ** 2)), "hump at step ", 210),
        (-X - 0.8 * (X > 0.5), "falls steadily, with a sudden drop after step ", 210),
        (-X + 0.8 * (X > 0.7), "falls steadily, with a sudden rise after step ", 280),
        (-np.maximum(0, 5 * X - 4), "steady until step X, then falls", 320),
        (1.3 * ((np.arange(41) == 12) | (np.arange(41) == 13)) + 0.03 * NOISE, "hump at step ", 130),
        (-np.exp(-(((X - 0.5) / 0.15) ** 2)), "dip at step ", 210),
        (np.exp(-(((X - 0.5) / 0.15) ** 2)) + 0.1 * NOISE, "hump at step ", 210),
        (-2 * FALL, "steady, then nearly frozen from step ", 260),
        (-2 * FALL + 0.05 * NOISE, "steady, then nearly frozen from step ", 260),
        (-2 * (1 - np.exp(-15 * X)), "fast, then nearly frozen from step ", 60),
        (-2.5 * np.minimum(1, X / 0.6), "falls, then nearly frozen from step ", 220),
        (-0.9 * np.minimum(1, X / 0.6), "falls until step X, then steady", 250),
        (-0.9 * np.maximum(0, X - 0.5), "steady until step X, then falls", 220),
        (2 * FALL, "nearly frozen until step X, then steady", 230),
        (2.5 * np.exp(-(((X - 0.25) / 0.1) ** 2)), "hump at step ", 110),
        (0.4 * np.exp(-9 * X) * (-1.0) ** np.arange(41), "unsteady until step X, then steady", 90),
        (1.2 * (np.arange(41) == 12) + 0.03 * NOISE, "steady, but for a jump at step ", 130),
        (-X - 1.2 * (np.arange(41) == 30), "falls steadily, but for a drop at step ", 310),
        (-X + 1.2 * (np.arange(41) == 0) + 0.03 * NOISE, "drops after step X, then falls steadily", 10),
        (-X + 1.2 * (np.arange(41) == 40) + 0.03 * NOISE, "falls steadily, then jumps up after step ", 400),
        (-1.2 * (np.arange(41) == 40) + 0.03 * NOISE, "steady, then drops after step ", 400),
    ],
)
def test_courses_that_turn_somewhere(logs, words, step):
    found = describe(logs)
    (said,) = re.findall(r"step (\d+)", found)
    assert found.replace(said, "X") == words if "X" in words else found == f"{words}{said}"
    # A smoothed curve may be a change or two early or late.
    assert abs(int(said) - step) <= 20


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ([0, -0.5, -0.75, -0.9, -1], "falls ever more slowly"),
        ([0, -0.25, -0.5, -0.75, -1], "falls steadily"),
        ([0, 0, 0, -1, -1], "falls after step 30"),
        ([0, 0.05, 1, 0.05, 0], "hump at step 30"),
        ([0, 0, 0, -2, -2.1], "falls after step 30"),
        ([0, 0, 0, -2, -2.1, -2.1], "steady, then nearly frozen from step 30"),
        ([-0.43, -1.1, -0.68, -1.17, -0.94, -1.24, -1.12, -1.2, -1.18], "falls unsteadily until step 50, then steady"),
        ([0, 0.1, -0.1, 0.5, 1, 0.4, 0, -0.15, 0.1], "hump at step 50"),
    ],
)
def test_courses_of_few_points(logs, words):
    assert describe(logs) == words


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (-0.9 * np.clip((X - 0.35) / 0.25, 0, 1), "falls between step 150 and step 250"),
        (-1.0 * ((X > 0.35) & (X < 0.61)), "dip from step 140 to step 250"),
        (np.linspace(0, 1, 10)[np.arange(40) % 10], "rises steadily, with sudden drops after step 100, step 200"),
        (-2 * np.linspace(0, 1, 10)[np.arange(40) % 10], "falls steadily, with sudden rises after step 100, step 200"),
        (-np.linspace(0, 0.4, 20)[np.arange(40) % 20] - 0.01 * np.arange(40), "falls steadily, with a sudden rise"),
    ],
)
def test_courses_with_two_places(logs, words):
    assert describe(logs).startswith(words)


T = np.linspace(0, 1, 24)
WARM_COSINE = np.log10(np.minimum(T / 0.1 + 0.05, 1) * (1 + np.cos(0.97 * np.pi * T)) / 2)
HUMP = np.log10([0.0036, 0.073, 0.074, 0.0098, 0.00089, 1.4e-4, 1.3e-5, 1.3e-5])
CLIFF = np.log10([0.28, 0.28, 0.26, 0.16, 0.18, 0.15, 0.14, 0.13, 0.017, 0.013])


@pytest.mark.parametrize("noise", [0, 0.02, 0.05])
@pytest.mark.parametrize(
    ("logs", "pattern"),
    [
        (WARM_COSINE, r"rises until step [345]0, then falls( ever faster| steadily)"),
        (-1.0 * (T > 0.5) - 1.0 * (T > 0.75), "falls after step 120 and after step 180"),
        (HUMP, r"hump at step [23]0|rises until step [23]0, then falls( steadily)?"),
        (CLIFF, "falls after step 80"),
    ],
)
def test_courses_of_learning_rates(logs, pattern, noise):
    random = np.random.default_rng(0)
    words = [describe(logs + random.normal(0, noise, len(logs))) for _ in range(20)]
    assert sum(re.fullmatch(pattern, word) is not None for word in words) >= (20 if noise == 0 else 17), words


@pytest.mark.parametrize("noise", [0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("decades", [1.6, 2, 3])
@pytest.mark.parametrize("num_changes", [10, 24, 60])
def test_a_straight_fall_is_not_nearly_frozen(num_changes, decades, noise):
    random = np.random.default_rng(0)
    line = -decades * np.linspace(0, 1, num_changes)
    words = [describe(line + random.normal(0, noise, num_changes)) for _ in range(40)]
    assert sum(word == "falls steadily" for word in words) >= 36, words


def test_no_change_is_told_as_a_jump_and_as_something_else():
    valley = -np.exp(-(((X - 0.5) / 0.15) ** 2)) + 1.5 * (np.arange(41) == 20) + 1.5 * (np.arange(41) == 8)
    steps = re.findall(r"step \d+", describe(valley))
    assert len(steps) == len(set(steps)) == 3


@pytest.mark.parametrize("noise", [0.03, 0.3])
@pytest.mark.parametrize("num_changes", [6, 12, 41, 150])
def test_noise_about_one_level_is_seldom_a_course(num_changes, noise):
    random = np.random.default_rng(0)
    words = [describe(random.normal(0, noise, num_changes)) for _ in range(40)]
    usual = "steady" if noise < 0.1 else "unsteady"
    assert sum(word in (usual, "about steady") for word in words) >= (36 if noise < 0.1 else 16)


@given(arrays(np.float64, st.integers(0, 30), elements=st.sampled_from([NAN, 0.0, 1e-300, 1e-3, 0.1, 0.2, 1.0, 1e300])))
def test_any_curve_has_a_description(curve):
    for linear, speed in ((False, True), (False, False), (True, False)):
        values = np.minimum(curve, 1) if linear else curve
        words = describe_curve(values, STEPS[: len(curve)], STEPS[1 : len(curve) + 1], linear=linear, speed=speed)
        assert words
        assert speed or not re.search(
            "fast|slow|frozen|wakes|moves", words.replace("more slowly", "").replace("faster", "")
        )


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([0.0, 0.0], "0 throughout"),
        ([0.0, 0.3, 0.3], "0 until b, then steady"),
        ([0.3, 0.3, 0.0], "steady, then 0 from c"),
        ([0.0, 0.3, 0.0], "above 0 only from b to c"),
        ([1.0, 0.1, 0.1, 0.1, 0.1, 0.1], "high, then low"),
        ([1.0, 1.0, 1.0, 1.0, 1e-3, 1e-3], "falls after e"),
    ],
)
def test_what_is_no_speed_is_high_or_low(curve, words):
    names = list("abcdefg")[: len(curve) + 1]
    found = describe_curve(np.array(curve), names[:-1], names[1:], speed=False)
    assert found == words


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([0.3, 0.3, 0.0, 0.0, 0.3, 0.3], "steady, but unchanged from c to e"),
        ([0.3, 0.0, 0.3, 0.0, 0.3, 0.3], "steady, with pauses"),
        ([0.3, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0], "steady, but unchanged from b to e, then frozen from f"),
        ([0.3, 0.3, 0.3, 0.3, 0.05, 0.0, 0.0], "steady, then frozen from f"),
        ([0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.0], "steady, but unchanged from g to h"),
    ],
)
def test_pauses_are_told(curve, words):
    names = list("abcdefgh")[: len(curve) + 1]
    assert describe_curve(np.array(curve), names[:-1], names[1:]) == words


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([], "no numbers"),
        ([NAN, NAN], "no numbers"),
        ([0.0, 0.0], "unchanged"),
        ([0.0], "unchanged"),
        ([0.3], "one change only"),
        ([NAN, 0.3], "one change only"),
        ([0.3, 0.1], "falls"),
        ([0.1, 0.3], "rises"),
        ([0.3, 0.3], "steady"),
        ([0.3, 0.0], "one change, then frozen from b"),
        ([0.3, 0.3, 0.0, 0.0], "steady, then frozen from c"),
        ([0.0, 0.3], "wakes after b"),
        ([0.0, 0.3, 0.3], "wakes after b, then steady"),
        ([0.0, NAN, 0.3, 0.3], "wakes after c, then steady"),
        ([0.0, 0.3, 0.0], "moves only from b to c"),
        ([0.0, 0.3, 0.1, 0.0], "moves only from b to d"),
        ([0.3, NAN, 0.3], "steady"),
        ([1e-300, 1e300], "rises"),
    ],
)
def test_short_curves_zeros_and_gaps(curve, words):
    names = list("abcdefg")[: len(curve) + 1]
    assert describe_curve(np.array(curve), names[:-1], names[1:]) == words


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([NAN, NAN], "no numbers"),
        ([NAN, -0.3], "one change only"),
        ([-0.3, -0.3, -0.35], "steady"),
        ([0.0, 0.0, 0.0], "steady"),
        ([0.9, 0.1, -0.6], "falls steadily"),
        ([-0.9, 0.0, 0.9], "rises steadily"),
        ([0.9, -0.9, 0.9], "dip at c"),
        ([0.9, 0.0, 0.0, 0.0, 0.0, 0.0], "high, then low"),
    ],
)
def test_numbers_of_both_signs_are_no_changes(curve, words):
    names = list("abcdefg")[: len(curve) + 1]
    assert describe_curve(np.array(curve), names[:-1], names[1:], linear=True) == words


@pytest.mark.parametrize("wake", [1, 3])
@pytest.mark.parametrize("stop", [4, 6])
def test_words_name_the_checkpoints_that_events_do(measure_series, wake, stop):
    weights = np.random.default_rng(0).normal(size=(5, 9, 20)).cumsum(axis=1)
    weights[:, :wake] = weights[:, wake : wake + 1]
    weights[:, stop:] = weights[:, stop : stop + 1]
    trends = find_trends(measure_series(weights))
    told = {event.kind: event.checkpoint for event in trends.events if event.kind in ("frozen", "wakes")}
    assert told == {"frozen": stop, "wakes": wake}
    assert trends.clusters[0].summary == f"moves only from step {100 * wake} to step {100 * stop}"


@pytest.mark.parametrize("tail", [2, 3, 4])
def test_a_jump_from_which_a_curve_comes_back_soon_leaves_its_course_alone(tail):
    logs = -X + 0.01 * NOISE
    logs[20 : 20 + tail] += np.linspace(1, 0.3, tail)
    assert describe(logs) == "falls steadily, but for a jump at step 210"


def test_a_jump_from_which_a_curve_comes_back_slowly_or_not_is_no_exception():
    hump = -X + np.where(X >= 0.5, 1.2 * np.clip(1 - (X - 0.5) * 3, 0, 1), 0)
    for logs in (hump, -X + (X >= 0.5)):
        assert "but for" not in describe(logs)
