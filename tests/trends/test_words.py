"""What rows, checkpoints and clusters are called."""

from wsanalyze.trends.words import count_noun


def test_nouns_are_counted():
    assert [count_noun(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
