import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.reports.names import find_prefix, shorten_names, split_names
from wsanalyze.reports.text import text_width

LORA = [
    f"roberta.encoder.layer.{layer}.attention.self.{part}.lora_B.weight"
    for layer in (0, 1, 11)
    for part in ("key", "query")
]
any_names = st.lists(st.text("ab.1/ \u5c42", max_size=40), max_size=6)


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["base_model.model.a.weight", "base_model.model.b"], "base_model.model."),
        (["base_model.layer1", "base_model.layer2"], "base_model."),
        (["stem.a", "stem.b"], ""),
        (["base_model.model.a"], ""),
        (["base_model.model.", "base_model.model.b"], ""),
        ([], ""),
    ],
)
def test_a_prefix_is_whole_parts_that_all_names_share(names, prefix):
    assert find_prefix(names) == prefix


@given(any_names)
def test_names_without_their_prefix_still_differ(names):
    prefix = find_prefix([f"base_model.model.{name}" for name in names])
    bare = [f"base_model.model.{name}".removeprefix(prefix) for name in names]
    assert len(set(bare)) == len(set(names))
    assert not prefix or all(bare)


def test_what_tells_names_apart_stays():
    shown = shorten_names(LORA, 40)
    assert shown[0] == "…0.attention.self.key.lora_B.weight"
    assert len(set(shown)) == len(LORA)


def test_a_path_and_a_sentence_lose_their_middle():
    assert shorten_names(["runs/a.b/checkpoint-10"], 11) == ["runs/…nt-10"]


def test_a_name_of_endless_parts_loses_its_middle():
    name = "a." * 100_000
    assert shorten_names([name, "b"], 20) == ["a.a.a.a.a.….a.a.a.a.", "b"]


@given(any_names, st.integers(0, 30))
def test_no_name_is_wider_and_one_that_fits_is_whole(names, width):
    shown = shorten_names(names, width)
    assert len(shown) == len(names)
    for name, short in zip(names, shown, strict=True):
        assert text_width(short) <= width
        assert short == name or text_width(name) > width


@pytest.mark.parametrize(
    "parts",
    [
        ["layers.", "9.", "mlp.", "dense_", "h_", "to_", "4h.", "weight"],
        ["features.", "0.3.", "weight falls from 0.067 to 1.5e-3."],
        ["most of all roberta.", "encoder.", "layer.", "2, but not cls_", "token"],
        ["1.2.3, 10.5 and 3 more."],
        ["__init__"],
    ],
)
def test_a_line_ends_where_a_part_of_a_name_does(parts):
    assert split_names("".join(parts)) == parts


@given(st.text("aZ\u5c42_.1 -"))
def test_nothing_of_a_text_is_lost_and_no_number_is_broken(text):
    parts = split_names(text)
    assert "".join(parts) == text
    for before, after in itertools.pairwise(parts):
        assert before
        assert after
        assert not re.search(r"[0-9]\.$", before) or not after[0].isdigit()
