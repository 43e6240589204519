"""What rows, checkpoints and clusters are called."""

import pytest

from wsanalyze.trends.base import Cluster
from wsanalyze.trends.words import count_noun, describe_cluster, is_speed, say_course


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
        ("one change, then frozen from b", "changes once, then frozen from b", "change once, then frozen from b"),
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
