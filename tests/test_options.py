import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import UsageError
from wsanalyze.options import (
    MAX_MEMORY_BYTES,
    check_rename,
    check_text,
    check_whole,
    parse_clusters,
    parse_memory,
    parse_rename,
    parse_steps,
)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("64MB", 64_000_000),
        ("64mb", 64_000_000),
        ("64 MB", 64_000_000),
        (" 1GiB ", 2**30),
        ("1.5GiB", 3 * 2**29),
        ("2k", 2000),
        ("2KiB", 2048),
        ("7", 7),
        ("7b", 7),
        (500_000_000, 500_000_000),
        ("9" * 18 + "GiB", MAX_MEMORY_BYTES),
    ],
)
def test_sizes(text, num_bytes):
    assert parse_memory(text) == num_bytes


@pytest.mark.parametrize(
    "text", ["", "MB", "-1MB", "1e9", "1,5GB", "1TB", "64 MB each", "٦٤MB", "9" * 400, "nan", "1..5"]
)
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="--memory takes a size"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (None, (None, None)),
        ("1:5", (1, 5)),
        ("5:5", (5, 5)),
        ("100:", (100, None)),
        (":500", (None, 500)),
        (":", (None, None)),
        (" 0:7 ", (0, 7)),
    ],
)
def test_ranges_of_steps(text, steps):
    assert parse_steps(text) == steps


@pytest.mark.parametrize("text", ["", "5", "1:2:3", "-1:5", "a:b", "1.5:2", "1-5", "1:" + "9" * 30])
def test_what_is_no_range(text):
    with pytest.raises(UsageError, match="--steps takes a range"):
        parse_steps(text)


def test_a_range_that_ends_before_it_begins():
    with pytest.raises(UsageError, match="ends before it begins"):
        parse_steps("5:1")


@pytest.mark.parametrize(("text", "clusters"), [("auto", None), ("1", 1), ("12", 12), ("007", 7)])
def test_numbers_of_clusters(text, clusters):
    assert parse_clusters(text) == clusters


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "AUTO", "three", "²", "9" * 5000])
def test_what_is_no_number_of_clusters(text):
    with pytest.raises(UsageError, match="--clusters takes auto or a number from 1 on"):
        parse_clusters(text)


@given(st.text(max_size=12))
def test_whatever_is_typed_is_a_value_or_wrong_usage(text):
    for parse in (parse_memory, parse_steps, parse_clusters):
        try:
            parse(text)
        except UsageError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - one of two outcomes


@pytest.mark.parametrize(
    ("text", "rename"),
    [
        ("a=b", ("a", "b")),
        ("^model\\.=", (r"^model\.", "")),
        (r"(\d+)=\1x", (r"(\d+)", r"\1x")),
        ("(?=a)=b.", ("(?=a)", "b.")),
        ("x=y=z", ("x=y", "z")),
    ],
)
def test_renames(text, rename):
    assert parse_rename(text) == rename
    assert check_rename(*rename) == rename


@pytest.mark.parametrize("text", ["", "a", "=b", "(=b", r"a=\1", r"a=\g<x>", r"a=\q"])
def test_what_is_no_rename_is_wrong_usage(text):
    with pytest.raises(UsageError, match="--rename"):
        parse_rename(text)


@given(st.integers() | st.floats() | st.text() | st.none() | st.lists(st.integers()) | st.binary())
def test_arguments_of_the_library_are_taken_by_their_sort_or_named_in_a_short_line(value):
    for check, sort in ((check_whole, int), (check_text, str)):
        if isinstance(value, sort):
            assert check("seed", value) == value
            continue
        with pytest.raises(UsageError) as caught:
            check("seed", value)
        assert str(caught.value).startswith("seed takes a ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
