import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import SourceError
from wsanalyze.hub.address import KINDS, HubAddress, guess_address, is_hub_address, parse_address, read_page

SHA = "0123456789abcdef0123456789abcdef01234567"
WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
REVISIONS = st.one_of(
    st.just(""),
    st.lists(WORDS, min_size=1, max_size=3).map("/".join),
    st.builds("refs/pr/{}".format, st.integers(1, 999)),
    WORDS.map(lambda word: f"{word}*"),
    WORDS.map(lambda word: f"{word}%{word}@é"),
)
ADDRESSES = st.builds(
    HubAddress,
    st.lists(WORDS, min_size=2, max_size=2).map("/".join),
    st.sampled_from(KINDS),
    REVISIONS,
    st.lists(WORDS, max_size=3).map("/".join),
)
TAGGED = st.builds(
    HubAddress,
    st.just("a/b"),
    revision=st.lists(WORDS, min_size=1, max_size=3).map("/".join),
    folder=st.lists(WORDS, max_size=2).map("/".join),
    is_tag=st.sampled_from([True]),
)


@given(st.one_of(ADDRESSES, TAGGED))
def test_an_address_is_read_as_it_is_written(address):
    assert is_hub_address(str(address))
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://EleutherAI/pythia-70m", HubAddress("EleutherAI/pythia-70m")),
        ("hf://gpt2", HubAddress("gpt2")),
        ("hf://gpt2@main/folder/a.bin", HubAddress("gpt2", "model", "main", "folder/a.bin")),
        ("hf://a/b/checkpoint-500", HubAddress("a/b", "model", "", "checkpoint-500")),
        ("hf://a/b/", HubAddress("a/b")),
        ("hf://a/b/c@d", HubAddress("a/b", "model", "", "c@d")),
        ("hf://datasets/a/b@x", HubAddress("a/b", "dataset", "x")),
        ("hf://datasets/squad", HubAddress("squad", "dataset")),
        ("hf://spaces/a/b", HubAddress("a/b", "space")),
        ("hf://models/a/b", HubAddress("a/b")),
        ("hf://a/b@refs/pr/1/folder", HubAddress("a/b", "model", "refs/pr/1", "folder")),
        ("hf://a/b@refs%2Fpr%2F1", HubAddress("a/b", "model", "refs/pr/1")),
        ("hf://a/b@refs/heads/step1/x", HubAddress("a/b", "model", "step1", "x")),
        ("hf://a/b@refs%2Ftags%2Fv1", HubAddress("a/b", "model", "v1", is_tag=True)),
        ("hf://a/b@refs/tags/v1/x", HubAddress("a/b", "model", "v1", "x", is_tag=True)),
        ("HF://a/b@v1", HubAddress("a/b", "model", "v1")),
        ("https://huggingface.co/a/b", HubAddress("a/b")),
        ("https://huggingface.co/a/b/tree/step1/x/y", HubAddress("a/b", "model", "step1", "x/y")),
        ("https://huggingface.co/gpt2/tree/main", HubAddress("gpt2", "model", "main")),
        ("hf://a/b@exp%2Fstep1/x", HubAddress("a/b", "model", "exp/step1", "x")),
    ],
)
def test_addresses_as_people_write_them(text, expected):
    assert parse_address(text) == expected


def test_the_kind_of_a_repository_is_taken_where_the_address_does_not_say():
    assert parse_address("hf://a/b", "dataset").kind == "dataset"
    assert parse_address("hf://spaces/a/b", "dataset").kind == "space"


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf:///",
        "hf://a b/c",
        "hf://../x",
        "hf://a/..",
        "hf://a/b@",
        "hf://a/b@ma in",
        "hf://a/b@main/../x",
        "hf://a/b@x/./y",
        "hf://a/b\x1b[31m",
        "hf://user:secret@a/b",
        "hf://-a/b",
        "hf://a/" + "b" * 97,
    ],
)
def test_what_is_no_address_is_refused_in_a_line(text):
    with pytest.raises(SourceError, match=re.escape(text)) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("revision", "is_glob"), [("step*", True), ("a?", True), ("a[1]", True), ("main", False)])
def test_a_revision_with_a_sign_of_patterns_is_one(revision, is_glob):
    assert HubAddress("a/b", revision=revision).is_glob is is_glob


def test_a_full_hash_is_a_commit_and_a_short_one_may_be_a_branch():
    assert HubAddress("a/b", revision=SHA).is_commit
    assert not HubAddress("a/b", revision=SHA[:10]).is_commit
    assert not HubAddress("a/b").is_commit


def test_slashes_may_belong_to_the_revision_or_to_the_folder():
    readings = [(r.revision, r.folder) for r in parse_address("hf://a/b@exp/step1/x").readings()]
    assert readings == [("exp", "step1/x"), ("exp/step1", "x"), ("exp/step1/x", "")]
    assert list(HubAddress("a/b", folder="x/y").readings()) == [HubAddress("a/b", folder="x/y")]


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("https://huggingface.co/a/b", "hf://a/b"),
        ("https://huggingface.co/a/b/tree/step1", "hf://a/b@step1"),
        ("https://hf.co/datasets/a/b/", "hf://datasets/a/b"),
        ("http://www.huggingface.co/a/b/blob/main/model.bin?x=1#y", "hf://a/b@main/model.bin"),
        ("https://huggingface.co/a/b/commit/" + SHA, f"hf://a/b@{SHA}"),
        ("https://huggingface.co/a/b/discussions", None),
        ("https://example.org/a/b", None),
        ("a/b", None),
    ],
)
def test_a_page_of_the_hub_has_an_address(page, address):
    assert read_page(page) == address


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("hf:/a/b", "hf://a/b"),
        ("hf:a/b@x", "hf://a/b@x"),
        ("hf.co/a/b", "hf://a/b"),
        ("huggingface.co/a/b/tree/step1", "hf://a/b@step1"),
        ("a/b-1.4b", "hf://a/b-1.4b"),
        ("a/b@step1", "hf://a/b@step1"),
        ("a/model.safetensors", None),
        ("./a/b", None),
        ("/a/b", None),
        ("a/b/c", None),
        ("a", None),
    ],
)
def test_what_may_be_meant_for_an_address_has_one(source, address):
    assert guess_address(source) == address
