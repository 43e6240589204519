"""Members of a cluster in words."""

import pytest

from wsanalyze.series import Kind, Row
from wsanalyze.trends.makeup import describe_makeup, name_kinds

CYCLE = (Kind.ATTENTION_Q, Kind.ATTENTION_K, Kind.MLP_UP, Kind.MLP_DOWN)


def rows(kinds):
    return [Row(f"r{i}", f"r{i}", f"r{i}", kind, i, (2, 2)) for i, kind in enumerate(kinds)]


NETWORK = rows([*CYCLE * 8, Kind.HEAD])


def members(*kinds, first=0, last=99):
    return [i for i, row in enumerate(NETWORK) if row.kind in kinds and first <= i <= last]


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ([], ""),
        (range(33), ""),
        (range(32), "all but r32"),
        ([4], "r4"),
        (members(Kind.ATTENTION_Q), "all 8 attention q"),
        (members(Kind.ATTENTION_Q, Kind.ATTENTION_K), "all attention q and k"),
        (members(Kind.MLP_UP, last=10), "3 of 8 mlp up, in the first third"),
        (members(Kind.MLP_UP, first=6, last=22), "5 of 8 mlp up, depths 6 to 22"),
        (members(Kind.ATTENTION_Q, Kind.MLP_UP, first=23), "attention q and mlp up, in the last third"),
        ([*range(0, 33, 3), *range(1, 30, 6)], "of 4 of 5 kinds, all over the network"),
    ],
)
def test_makeup(inside, words):
    found = describe_makeup(NETWORK, list(inside))
    assert found == words or (words.startswith("of 4") and found.endswith("all over the network"))


def test_one_kind_alone_is_told_by_its_place():
    assert describe_makeup(NETWORK, members(Kind.MLP_UP, last=11), "mlp up") == "in the first third"
    assert describe_makeup(rows([Kind.OTHER] * 12), [0, 1, 2]) == "in the first third"


def test_kinds_of_one_family_are_put_together():
    assert name_kinds([Kind.CONV, Kind.ATTENTION_Q, Kind.ATTENTION_V]) == "conv and attention q and v"


def test_rows_of_unknown_kind_are_no_kind():
    mixed = rows([Kind.CONV, Kind.NORM, Kind.OTHER] * 4)
    unknown = [2, 5, 8, 11]
    assert describe_makeup(mixed, unknown) == "all 4 of unknown kind"
    assert describe_makeup(mixed, unknown[:3]).startswith("3 of 4 of unknown kind")
    assert describe_makeup(mixed, [0, 2, 3, 5, 6, 8, 9, 11]) == "all conv and those of unknown kind"
    assert "kind" not in describe_makeup(rows([Kind.NORM, Kind.OTHER] * 6), [0, 1, 2, 3])
