"""Tables that others measured: what is read, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze import table
from wsanalyze.errors import TableError, UsageError
from wsanalyze.series import Kind, State
from wsanalyze.table import read_table


@pytest.fixture
def write(tmp_path):
    def write_file(content):
        path = tmp_path / "changes.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def test_a_table_becomes_a_series(write):
    path = write("layer,10,20,final\nstem.conv.weight,0.5,0.25,0.125\nhead,1,2e-3,3\n")
    series = read_table(path)
    assert series.names == ("stem.conv.weight", "head")
    assert [row.module for row in series.rows] == ["stem.conv", "head"]
    assert [row.depth for row in series.rows] == [0, 1]
    assert {row.kind for row in series.rows} == {Kind.OTHER}
    assert [record.step for record in series.checkpoints] == [None, 10, 20, None]
    assert [record.label for record in series.checkpoints] == ["start", "10", "20", "final"]
    assert series.pairs == ((0, 1), (1, 2), (2, 3))
    assert series.metric().tolist() == [[0.5, 0.25, 0.125], [1.0, 2e-3, 3.0]]
    assert (series.metric_states() == None).all()  # noqa: E711 - elementwise
    assert series.provenance.source == (str(path),)
    assert np.isnan(series.sums.values).all()


def test_a_table_is_taken_at_its_word_for_the_default_metric_only(write):
    series = read_table(write("layer,1\na,0.5\n"))
    assert series.metric("rwc").tolist() == [[0.5]]
    with pytest.raises(UsageError, match="a table holds no sums"):
        series.metric("l2")
    with pytest.raises(UsageError, match="cannot be grouped"):
        series.grouped("block")


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        ("", State.MISSING),
        ("  ", State.MISSING),
        ("nan", State.NONFINITE),
        ("NaN", State.NONFINITE),
        ("inf", State.NONFINITE),
        ("-inf", State.NONFINITE),
        ("1e999", State.NONFINITE),
        ("0", State.UNCHANGED),
        ("-0.0", State.UNCHANGED),
        (" 0.5 ", None),
        ("5e-324", None),
    ],
)
def test_cells_without_a_number_are_states(write, cell, state):
    series = read_table(write(f"layer,1,2\na,{cell},1\n"))
    value = series.metric()[0, 0]
    assert series.metric_states()[0, 0] is state
    if state is State.UNCHANGED:
        assert value == 0
        assert math.copysign(1, value) == 1
    else:
        assert math.isnan(value) == (state is not None)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_newlines_and_marks_are_understood(write, separator, newline, mark):
    lines = ["layer,1,2", '"a.weight",0.5,1', "", "b.weight,2,", ",,"]
    content = mark + newline.join(line.replace(",", separator) for line in lines)
    series = read_table(write(content))
    assert series.names == ("a.weight", "b.weight")
    np.testing.assert_array_equal(series.metric(), [[0.5, 1.0], [2.0, np.nan]])


def test_the_first_heading_may_be_anything(write):
    for heading in ("layer", "", "name of; it", '"a ""quoted"" one"'):
        assert read_table(write(f"{heading},1,2\na,1,2\n")).names == ("a",)


def test_a_separator_at_the_end_of_lines_makes_no_column(write):
    series = read_table(write("layer,1,2,\na,1,2,\nb,1,2,\n"))
    assert len(series.pairs) == 2
    assert len(read_table(write("layer,1,\na,1,2\n")).pairs) == 2


def test_names_are_left_as_they_are(write):
    names = ["=cmd()", "<b>x</b>", "[red]x", "\x1b[31mred", "a,b", "größe"]
    content = "layer,1\n" + "".join(f'"{name}",1\n' for name in names)
    assert read_table(write(content)).names == tuple(names)


@pytest.mark.parametrize(
    ("heading", "step"),
    [
        ("7", 7),
        ("007", 7),
        ("+7", 7),
        ("-7", None),
        ("7.0", None),
        ("1e3", None),
        ("epoch 7", None),
        ("\u0667", None),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("9" * 5000, None),
    ],
)
def test_whole_numbers_are_steps_and_anything_else_a_label(write, heading, step):
    record = read_table(write(f"layer,{heading}\na,1\n")).checkpoints[1]
    assert record.step == step
    assert record.label == heading


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "an empty file"),
        ("\n\n  \n", "an empty file"),
        ("layer,1,2\n", "a heading, but no layer below it"),
        ("layer\na\n", "line 1: one column only"),
        ("layer,,\na,,\n", "line 1: no column of changes"),
        ("layer,1,2\na,1\n", "line 2: 2 cells, but the heading has 3"),
        ("layer,1,2\na,1,2\n\nb,1,2,3\n", "line 4: 4 cells, but the heading has 3"),
        ("layer,1\na,x\n", "line 2: 'x' in column 2 is no number"),
        ("layer,1\na,1_0\n", "line 2: '1_0' in column 2 is no number"),
        ("layer,1\na,٣\n", "line 2: .* in column 2 is no number"),
        ("layer;1\na;0,5\n", "line 2: '0,5' in column 2 is no number"),
        ("layer,1\na,\x1b[31m\n", r"line 2: '\\x1b\[31m' in column 2 is no number"),
        ("layer,1,2\na,1,-0.5\n", "line 2: '-0.5' in column 3 is negative"),
        ("layer,1\na,1\nb,1\na,2\n", "line 4: layer 'a' again, first on line 2"),
        ("layer,1\n,1\n", "line 2: no name in the first column"),
        ('layer,1\n"a,1\n', "no CSV"),
        ('layer,1\n"a"x,1\n', "line 2: no CSV"),
        ("layer,1\na," + "9" * 200_000 + "\n", "line 2: no CSV"),
        (b"\x00\x01\x02", "a binary file"),
        (b"PK\x03\x04\x00\x00", "a binary file"),
        (b"layer,1\na,1\nb\xff,2\n", "line 3: not UTF-8 text"),
        ("layer,1\na,1\n".encode("utf-16"), "text in UTF-16"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(write, content, says):
    path = write(content)
    with pytest.raises(TableError, match=says) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(TableError, match=r"none\.csv: cannot be read"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path)


def test_a_file_too_large_is_refused(write, monkeypatch):
    monkeypatch.setattr(table, "MAX_TABLE_BYTES", 2**20)
    path = write("layer,1\n" + "a,1\n" * 2**19)
    with pytest.raises(TableError, match="larger than 1 MiB"):
        read_table(path)


@settings(max_examples=60, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(alphabet='ab,;\t|"\n\r01.-e+_ ', max_size=120)))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        series = read_table(path)
    except TableError:
        return
    values = series.metric()
    assert values.shape == (len(series.rows), len(series.pairs))
    assert series.rows
    assert series.pairs
    assert not np.isinf(values).any()
    assert (np.isnan(values) == np.isin(series.states.astype(str), ["missing", "nonfinite"])).all()


@settings(max_examples=60, deadline=None)
@given(
    values=st.integers(1, 5).flatmap(
        lambda steps: st.lists(st.lists(st.floats(0, 1e300), min_size=steps, max_size=steps), min_size=1, max_size=5)
    ),
    separator=st.sampled_from(",;\t"),
)
def test_numbers_are_read_to_the_last_bit(tmp_path_factory, values, separator):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    lines = [separator.join(["layer", *map(str, range(len(values[0])))])]
    lines += [separator.join([f"layer{i}", *map(repr, row)]) for i, row in enumerate(values)]
    path.write_text("\n".join(lines))
    np.testing.assert_array_equal(read_table(path).metric(), values)


_CELLS = st.sampled_from(
    [
        "0.5",
        "1e-3",
        "",
        "0",
        "-0.0",
        "1e999",
        "-1",
        "1e",
        "1-2",
        ".",
        "nan",
        "-inf",
        " 2 ",
        "1_0",
        "+.5e+1",
        "\u0667",
        "a b",
    ]
)


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=4), st.sampled_from(",;\t|"))
@settings(deadline=None)
def test_lines_are_read_alike_with_and_without_quotes_about(tmp_path_factory, lines, separator):
    path = tmp_path_factory.mktemp("quotes") / "changes.csv"
    found = []
    for heading in ("layer", '"layer"'):  # one quote anywhere, and lines are taken apart by the rules of CSV
        rows = [(heading, "1", "2", "3"), *((f"row {index}", *cells) for index, cells in enumerate(lines))]
        path.write_text("".join(f"{separator.join(row)}\r\n" for row in rows), encoding="utf-8", newline="")
        try:
            series = read_table(path)
        except TableError as error:
            found.append(str(error))
        else:
            found.append((series.names, str(series.metric().tolist()), series.metric_states().tolist()))
    assert found[0] == found[1]
