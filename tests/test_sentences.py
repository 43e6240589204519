"""Parts of sentences."""

import pytest

from wsanalyze.sentences import list_names


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_names_are_listed(names, text):
    assert list_names(names, 3) == text


def test_any_iterable_is_listed_and_four_names_where_nothing_else_is_asked():
    assert list_names(iter("abcd")) == "a, b, c and d"
    assert list_names(iter("abcde")) == "a, b, c, d and 1 more"
