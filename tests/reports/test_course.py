import dataclasses

import numpy as np
import pytest

from wsanalyze.reports.course import (
    SURE,
    describe_phase,
    describe_range,
    find_rivalled,
    find_unsure,
    name_unsure,
    pick_windows,
    tabulate_kinds,
)
from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row
from wsanalyze.sums import Sums
from wsanalyze.trends.base import Phase, Window
from wsanalyze.trends.find import find_trends


def make_windows(*moves):
    """Windows into which so many rows move; None for those in which nothing happens."""
    return tuple(
        Window(i, i + 3, np.zeros(40, np.int64), tuple(range(n or 0)), "As before." if n is None else f"window {i}")
        for i, n in enumerate(moves)
    )


def test_a_range_goes_from_the_checkpoint_before_to_the_one_after(trends):
    series = trends.series
    assert describe_range(series, 0, 0) == "steps 0 to 500"
    assert describe_range(series, 2, 19) == "steps 1000 to 10000"
    records = [dataclasses.replace(record, step=None) for record in series.checkpoints]
    records[0] = dataclasses.replace(records[0], label="a\x1bb")
    unnamed = dataclasses.replace(series, checkpoints=tuple(records))
    assert describe_range(unnamed, 0, 19) == r"a\x1bb to checkpoint-10000"
    records[-1] = dataclasses.replace(records[-1], step=10000)
    assert describe_range(dataclasses.replace(series, checkpoints=tuple(records)), 0, 19) == r"a\x1bb to step 10000"


def test_unsure_are_rows_of_clusters_below_the_bound_least_sure_first(trends):
    unsure = find_unsure(trends)
    expected = {row for row in range(40) if trends.labels[row] >= 0 and trends.confidence[row] < SURE}
    assert {layer.index for layer in unsure} == expected
    confidences = [layer.confidence for layer in unsure]
    assert confidences == sorted(confidences)
    assert all(layer.cluster == trends.labels[layer.index] for layer in unsure)
    assert not find_unsure(dataclasses.replace(trends, confidence=np.full(40, np.nan)))
    assert not find_unsure(dataclasses.replace(trends, confidence=np.full(40, SURE)))


def test_no_row_is_unsure_where_there_is_no_other_cluster(trends, kind_trends):
    assert find_rivalled(trends) == {0, 1, 2}
    alone = dataclasses.replace(trends, clusters=trends.clusters[1:2])
    assert find_rivalled(alone) == frozenset()
    assert not find_unsure(alone)
    of_kinds = dataclasses.replace(kind_trends, clusters=kind_trends.clusters[1:])  # the other of its kind is gone
    assert find_rivalled(of_kinds) == {2, 3, 4, 5, 6, 7}


def test_no_unsure_row_is_shown_with_the_bound_itself(trends):
    (layer,) = find_unsure(dataclasses.replace(trends, confidence=np.where(np.arange(40) == 20, 0.6999, 0.9)))
    assert name_unsure(trends, [layer], ["x"]) == ["x (0.69 in 1)"]
    one = dataclasses.replace(trends, clusters=trends.clusters[:1])
    assert name_unsure(one, [layer], ["x"]) == ["x (0.69)"]


@pytest.mark.parametrize(
    ("level", "text", "told"),
    [
        (0.0612, "All is calm.", "All is calm; median 0.0612."),
        (0.0612, "steps 0 to 1000: changes stay near 0.06", "Changes stay near 0.06."),
        (0.0612, "steps 0 to 1000: changes stay near 0.0612.", "Changes stay near 0.0612."),
        (None, "No number.", "No number."),
    ],
)
def test_a_phase_is_told_without_what_stands_beside_it(trends, level, text, told):
    assert describe_phase(trends.series, Phase(0, 1, level, text)) == told


@pytest.mark.parametrize(
    ("moves", "shown", "rest"),
    [
        ((0,), [0], ""),
        ((0, None, None), [0], "as before in the other 2 windows"),
        ((0, 2, None), [0, 1], "as before in the other 1 window"),
        ((0, 0, 2), [0, 1, 2], ""),
        ((0, 1, 5, None, 3), [0, 2, 4], "and 1 more window in which something happens"),
        ((0, 4, 4, 4, 4), [0, 1, 2], "and 2 more windows in which something happens"),
    ],
)
def test_the_first_window_and_those_with_most_moves_are_shown_in_order(trends, moves, shown, rest):
    picked, text = pick_windows(dataclasses.replace(trends, windows=make_windows(*moves)), 2)
    assert [window.first for window in picked] == shown
    assert text == rest


def test_windows_in_which_nothing_happens_are_told_by_their_text():
    wave = np.sin(np.arange(60) / 3)
    noise = np.random.default_rng(0).normal(0, 0.02, (20, 60))
    changes = 10 ** (np.stack([wave] * 10 + [-wave] * 10) + noise - 2)
    rows = tuple(Row(f"l{i}.weight", f"l{i}", f"l{i}", Kind.LINEAR, i, (4, 4)) for i in range(20))
    checkpoints = tuple(CheckpointRecord(i, f"c{i}", f"c{i}", "ok", None, "", 0) for i in range(61))
    series = ChangeSeries(
        checkpoints=checkpoints,
        rows=rows,
        pairs=tuple((i, i + 1) for i in range(60)),
        sums=Sums.unmeasured(20, 60),
        states=np.full((20, 60), None, dtype=object),
        given={"rwc": changes},
    )
    found = find_trends(series)
    assert len(found.windows) > 2
    picked, text = pick_windows(found, 5)
    assert picked == [found.windows[0]]
    assert text.startswith("as before in the other")


def test_kinds_are_a_table_whose_last_line_sums_up_the_rest(kind_trends):
    header, *lines = tabulate_kinds(kind_trends, 4)
    assert header[:2] == ("kind", "layers")
    assert lines[0] == ("conv", "9", "2", "0.610", "0.900", "≤ 0.5 %")
    assert len(lines) == 4
    _, *short = tabulate_kinds(kind_trends, 1)
    assert short == [lines[0], ("3 more", str(sum(int(line[1]) for line in lines[1:])), "6", "", "", "")]
