"""Tables say what was measured: medians with their spread, ratios round by round."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(1e-3, 1e4)


@given(values=st.lists(st.one_of(st.none(), seconds), max_size=7))
def test_a_spread_is_median_least_and_greatest_of_what_is_known(script, values):
    known = [value for value in values if value is not None]
    shown = script.show_spread(values, 3)
    if not known:
        assert shown == script.NOTHING
        return
    numbers = [float(part.strip("(),").replace(",", "")) for part in shown.split()]
    assert numbers == pytest.approx([statistics.median(known), min(known), max(known)], abs=6e-4)


@given(pairs=st.lists(st.tuples(seconds, seconds), min_size=1, max_size=7))
def test_ratios_are_those_of_the_same_round(script, pairs):
    values, floors = zip(*pairs, strict=True)
    ratios = script.divide(values, floors)
    assert [ratio * floor for ratio, floor in zip(ratios, floors, strict=True)] == pytest.approx(values)
    assert script.divide(values, values) == [1.0] * len(values)


def test_what_is_not_known_has_no_ratio(script):
    assert script.divide([None, 1.0, 1.0], [1.0, None, 0.0]) == [None, None, None]
    assert script.median_of([None, 3.0, 1.0]) == 2.0
    assert script.median_of([None]) is None
    assert script.show(None) == "-"
    assert script.show(1234.5, 1) == "1,234.5"


def test_rounds_have_a_floor_each(script):
    with pytest.raises(ValueError, match="shorter"):
        script.divide([1.0, 2.0], [1.0])


def test_a_disturbed_floor_is_told(script):
    assert script.show_floor("cat", [1.0, 1.1, 1.15]) == "cat: 1.10 (1.00, 1.15) s; even"
    assert script.show_floor("cat", [1.0, 1.3, 2.0]).endswith("; 2 of 3 took more than 1.2 times the least")


def test_a_table_is_markdown(script):
    lines = script.make_table(["way", "s"], [["cat", "1.00"], ["other", "-"]]).splitlines()
    assert lines == ["| way | s |", "| --- | --- |", "| cat | 1.00 |", "| other | - |"]


def test_the_machine_is_described(script, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/speed.py", "--rounds", "2"])
    first, second = script.describe_machine().splitlines()
    assert " cores" in first
    assert second == "python benchmarks/speed.py --rounds 2"
