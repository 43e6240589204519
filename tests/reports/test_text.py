import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.cells import cell_len

from wsanalyze.reports.text import (
    ASCII_MARKS,
    BLOCK_MARKS,
    format_bytes,
    format_count,
    format_number,
    format_seconds,
    format_share,
    join_some,
    printable,
    shorten,
    sparkline,
    text_width,
    wrap_words,
)

any_text = st.text(st.characters(exclude_categories=()))
positive = st.floats(min_value=1e-300, max_value=1e300)
cell = st.one_of(positive, st.just(0.0), st.just(math.nan), st.just(math.inf))


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b", r"\x1b"),
        ("\x00", r"\x00"),
        ("\n", r"\n"),
        ("\t", r"\t"),
        ("\x7f", r"\x7f"),
        ("\x9b", r"\x9b"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\u200b", r"\u200b"),
        ("\u2028", r"\u2028"),
        ("\ufeff", r"\ufeff"),
        ("\ufe0f", r"\ufe0f"),
        ("\u3164", r"\u3164"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_made_visible(character, shown):
    assert printable(f"a{character}b") == f"a{shown}b"


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "層.重み", "é~ 😀", r"C:\runs"])
def test_what_can_be_seen_stays(name):
    assert printable(name) == name


def test_characters_that_the_encoding_lacks_are_made_visible():
    assert printable("é層", "latin-1") == "é\\u5c64"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (0.01234, "0.012 s"),
        (0.996, "1.0 s"),
        (4.56, "4.6 s"),
        (9.97, "10 s"),
        (78.9, "79 s"),
        (119.0, "120 s"),
        (150.0, "2.5 min"),
        (3600.0, "60 min"),
        (7200.0, "2.0 h"),
        (1e6, "12 days"),
    ],
)
def test_seconds_that_are_known_roughly_have_two_digits(seconds, shown):
    assert format_seconds(seconds) == shown


@given(any_text, st.sampled_from(["utf-8", "ascii", "cp1252"]))
def test_printable_is_printable_encodable_and_settled(text, encoding):
    shown = printable(text, encoding)
    assert shown.isprintable()
    assert shown.encode(encoding).decode(encoding) == shown
    assert printable(shown, encoding) == shown


@given(any_text.map(printable), st.integers(0, 40), st.sampled_from(["…", "...", ""]))
def test_shortened_text_fits_and_keeps_both_ends(text, width, ellipsis):
    short = shorten(text, width, ellipsis)
    assert cell_len(short) <= text_width(short) <= width
    if text_width(text) <= width:
        assert short == text
    elif ellipsis and width > 2 * text_width(ellipsis) + 4:
        head, tail = short.split(ellipsis)[0], short.rsplit(ellipsis)[-1]
        assert text.startswith(head)
        assert text.endswith(tail)
        assert head
        assert tail


@given(st.floats(min_value=-1.79e308, max_value=1.79e308))
def test_three_digits_are_right_to_half_a_percent(value):
    text = format_number(value)
    assert float(text) == pytest.approx(value, rel=0.00501, abs=0)
    assert len(text) <= len("-1.23e-308")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.01234, "0.0123"),
        (0.1, "0.100"),
        (1.235, "1.24"),
        (99.96, "100"),
        (4567.0, "4567"),
        (1.234e-5, "1.23e-5"),
        (-2e7, "-2.00e7"),
        (math.nan, "-"),
        (math.inf, "-"),
        (None, "-"),
    ],
)
def test_numbers_read_well(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_600, "1.00 MB"),
        (45_600_000_000, "45.6 GB"),
        (10**18, "1.00 EB"),
        (10**21, "1000 EB"),
    ],
)
def test_sizes_read_well(num_bytes, text):
    assert format_bytes(num_bytes) == text


@given(st.integers(0, 10**20), st.integers(0, 10**20))
def test_sizes_keep_their_order(one, other):
    low, high = (_size_of(format_bytes(n)) for n in sorted((one, other)))
    assert low <= high


def _size_of(text):
    number, unit = text.split()
    return float(number) * 1000 ** ["B", "kB", "MB", "GB", "TB", "PB", "EB"].index(unit)


def test_counts_agree_with_their_noun():
    assert [format_count(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
    assert format_count(2, "is", "are") == "2 are"


def test_some_names_and_the_rest():
    assert join_some(["a", "b", "c"], 3) == "a, b, c"
    assert join_some(["a", "b", "c"], 1) == "a and 2 more"
    assert join_some(["a", "b", "c"], 0) == "3 more"


@given(st.lists(cell, max_size=60), st.integers(0, 70), st.booleans())
def test_a_sparkline_fits_and_has_no_other_characters(values, width, ascii):  # noqa: A002
    line = sparkline(values, width, ascii=ascii)
    marks = ASCII_MARKS if ascii else BLOCK_MARKS
    assert len(line) == min(len(values), width)
    assert set(line) <= set(marks.levels + marks.zero + marks.gap)


@given(st.lists(cell, min_size=1, max_size=60))
def test_zeros_gaps_and_numbers_are_told_apart(values):
    for value, mark in zip(values, sparkline(values, 60), strict=True):
        if not math.isfinite(value):
            assert mark == BLOCK_MARKS.gap
        elif value == 0:
            assert mark == BLOCK_MARKS.zero
        else:
            assert mark in BLOCK_MARKS.levels


@given(st.lists(positive, min_size=2, max_size=60), st.integers(2, 60))
def test_a_rising_curve_is_drawn_rising(values, width):
    line = sparkline(sorted(values), width)
    assert all(a <= b for a, b in itertools.pairwise(map(BLOCK_MARKS.levels.index, line)))


@given(st.lists(st.integers(-40, 40).map(lambda k: 2.0**k), min_size=2, max_size=30))
def test_a_wide_range_fills_the_height(values):
    assume(max(values) / min(values) >= 4)
    line = sparkline(values, 30)
    assert line[values.index(min(values))] == BLOCK_MARKS.levels[0]
    assert line[values.index(max(values))] == BLOCK_MARKS.levels[-1]


def test_a_flat_curve_looks_flat():
    noise = np.random.default_rng(0).uniform(0.95, 1.05, size=40)
    assert len(set(sparkline(noise, 40))) <= 2


def test_a_long_curve_is_resampled_by_the_mean_of_its_logarithms():
    # per column: sqrt(1 * 100), sqrt(1000 * 1000), the only number, 0, nothing
    values = [1.0, 100.0, 1000.0, 1000.0, math.nan, 10.0, math.nan, 0.0, math.nan, math.nan]
    assert sparkline(values, 5) == "▁█▁_·"


def test_a_curve_with_a_sign_is_linear():
    assert sparkline([-1.0, 0.0, 1.0], 3, ascii=True) == "158"
    # of a metric from -1 to 1: 0 is a number, and what hardly differs looks flat
    assert sparkline([0.0, 0.5, math.nan, 1.0], 4, ascii=True, linear=True) == "15.8"
    assert len(set(sparkline([0.31, 0.33, 0.3, 0.34], 4, linear=True))) <= 2


@given(st.lists(st.floats(allow_infinity=False), max_size=30), st.integers(1, 30))
def test_no_value_is_too_large_or_too_small_to_draw(values, width):
    assert len(sparkline(values, width)) == min(len(values), width)


def test_both_ends_of_a_long_name_stay():
    assert shorten("model.layers.10.self_attn.q_proj.weight", 21) == "model.laye…roj.weight"


@given(
    st.lists(st.text("abc\u5c42", min_size=1, max_size=12), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_wrapped_lines_fit_and_lose_only_the_end(words, width, max_lines):
    lines = wrap_words(" ".join(words), width, max_lines)
    assert 1 <= len(lines) <= max_lines
    assert max(map(text_width, lines)) <= width
    whole = [shorten(word, width) for word in words]
    shown = " ".join(lines).split(" ")
    if shown != whole:
        assert len(lines) == max_lines
        assert shown[-1] == "…"
        assert shown[:-1] == whole[: len(shown) - 1]


def test_a_word_wider_than_the_line_is_shortened_by_itself():
    assert wrap_words("a abcdefghij b", 7, 3) == ["a", "abc…hij", "b"]
    assert wrap_words("one two three four", 9, 1) == ["one two …"]
    assert wrap_words("", 5, 1) == [""]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.0001, "0.01 %"),
        (0.005, "0.5 %"),
        (0.0123, "1.2 %"),
        (0.025, "2.5 %"),
        (0.4, "40 %"),
        (1, "100 %"),
    ],
)
def test_shares_are_percent(share, text):
    assert format_share(share) == text
