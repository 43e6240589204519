"""Renames on demand, and suggestions that are right or not made."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import UsageError
from wsanalyze.layers.renames import rename_tensors, suggest_renames

BLOCKS = {
    f"model.layers.{i}.{part}.weight": (8, 4 + j) for i in range(3) for j, part in enumerate(("fc1", "fc2", "attn"))
}
EDGES = {"emb.weight": (9, 4), "head.weight": (9, 4)}


def apply(suggested, names):
    for rename in suggested:
        names = {re.sub(rename.pattern, rename.replacement, name): shape for name, shape in names.items()}
    return names


@pytest.mark.parametrize(
    ("change", "pattern", "replacement"),
    [
        (lambda name: name.replace("fc1", "dense1"), "fc1", "dense1"),
        (lambda name: name.removeprefix("model."), r"^model\.", ""),
        (lambda name: f"net.{name}", r"^(?!net\.)", "net."),
        (lambda name: name.replace("layers.", "encoder.layers."), None, None),
        (lambda name: name.replace(".attn.", ".mixer.attention."), "attn", "mixer.attention"),
        (lambda name: name.replace(".", " "), None, None),
        (lambda name: name.replace("model.", "").replace("fc1", "dense1"), None, None),
    ],
)
def test_what_is_suggested_makes_the_names_equal(change, pattern, replacement):
    before = BLOCKS | EDGES
    after = {change(name): shape for name, shape in before.items()}
    suggested = suggest_renames(before, after)
    assert apply(suggested, before) == after
    assert apply(suggested, after) == after  # it is applied to every checkpoint
    if pattern is not None:
        assert [(rename.pattern, rename.replacement) for rename in suggested] == [(pattern, replacement)]


def test_nothing_is_suggested_where_nothing_was_renamed():
    assert suggest_renames(BLOCKS, BLOCKS) == []
    assert suggest_renames(BLOCKS, {}) == []
    assert suggest_renames(BLOCKS, BLOCKS | EDGES) == []
    assert suggest_renames({"a": (2, 2)}, {"b": (2, 2)}) == []  # two models of one tensor
    assert suggest_renames(BLOCKS, {name.replace("fc1", "x"): (1, *shape) for name, shape in BLOCKS.items()}) == []


def test_blocks_that_are_counted_otherwise_are_other_blocks():
    shifted = {re.sub(r"\d", lambda found: str(int(found[0]) + 1), name): shape for name, shape in BLOCKS.items()}
    assert suggest_renames(BLOCKS, shifted) == []


def test_one_tensor_among_many_is_found():
    before, after = BLOCKS | {"classifier.weight": (2, 3)}, BLOCKS | {"score.weight": (2, 3)}
    (found,) = suggest_renames(before, after)
    assert found.names == (("classifier.weight", "score.weight"),)


part = st.sampled_from(["a", "b", "ab", "a b", "fc1", "0", "12", "(", "\\", "x-y"])
names = st.dictionaries(
    st.lists(part, min_size=1, max_size=4).map(".".join), st.sampled_from([(2, 2), (3, 2)]), max_size=8
)


@given(names, names)
def test_no_suggestion_touches_what_is_right(before, after):
    suggested = suggest_renames(before, after)
    renamed = apply(suggested, before)
    assert len(renamed) == len(before)
    assert apply(suggested, after) == after
    for rename in suggested:
        for old, new in rename.names:
            assert before[old] == after[new]
            assert old not in after
            assert renamed[new] == after[new]
    assert {name for name in before if name in after} <= renamed.keys()


def test_two_tensors_of_one_name_are_wrong_usage():
    with pytest.raises(UsageError, match="--rename a=b gives two tensors the name 'b'"):
        rename_tensors({"a": 1, "b": 2}, [("a", "b")])
    assert rename_tensors({"a.x": 1, "b": 2}, [(r"^(a)\.", r"\1_"), ("_", "-")]) == {"a-x": 1, "b": 2}
