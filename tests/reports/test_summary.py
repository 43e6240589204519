import dataclasses

import numpy as np
import pytest

from wsanalyze.reports.summary import (
    count_rows,
    count_unreadable,
    describe_checkpoints,
    describe_place,
    describe_quality,
    describe_size,
    describe_touched,
    explain_nothing,
    find_ends,
    format_chance,
    group_skips,
    pick_events,
    pick_layers,
)
from wsanalyze.series import Event, Skip


def with_series(trends, **changes):
    return dataclasses.replace(trends, series=dataclasses.replace(trends.series, **changes))


def with_events(trends, events):
    return dataclasses.replace(with_series(trends, events=tuple(events)), events=())


def test_what_was_compared(trends, make_trends):
    assert describe_size(trends) == "relative weight change of 40 layers over 20 changes"
    assert describe_size(make_trends(1, 1)) == "relative weight change of 1 layer over 1 change"
    grouped = dataclasses.replace(trends, options=dataclasses.replace(trends.options, group="block", metric="l2"))
    assert describe_size(grouped) == "relative Frobenius change of 40 blocks over 20 changes"
    assert count_rows(grouped, 1) == "1 block"


def test_checkpoints_are_counted_with_steps_bytes_and_formats(trends, make_trends):
    assert describe_checkpoints(trends.series) == (
        "23 checkpoints, 21 of them read, steps 0 to 10000, 1.76 GB, safetensors, 2 shards"
    )
    assert describe_checkpoints(make_trends(1, 0).series) == "1 checkpoint, step 0, 83.9 MB, safetensors, 2 shards"
    bare = [
        dataclasses.replace(record, step=None, nbytes=0, format="") for record in make_trends(1, 1).series.checkpoints
    ]
    assert describe_checkpoints(with_series(trends, checkpoints=tuple(bare)).series) == "2 checkpoints"


def test_a_table_is_called_a_table(trends):
    series = dataclasses.replace(trends.series, given={"rwc": trends.values})
    bare = [dataclasses.replace(record, nbytes=0, format="") for record in series.checkpoints]
    table = dataclasses.replace(series, checkpoints=tuple(bare))
    assert describe_checkpoints(table) == "a table of 40 rows and 20 changes, steps 0 to 10000"


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ((3, 0), "There is nothing to compare: a change needs two different checkpoints, and there is 1."),
        ((0, 5), "There is nothing to compare: no layer is in two checkpoints that follow each other."),
        ((1, 1), None),
    ],
)
def test_nothing_to_show_is_explained(size, sentence, make_trends):
    assert explain_nothing(make_trends(*size)) == sentence


def test_no_number_at_all_is_explained(trends, example_module):
    assert explain_nothing(example_module.only_states(trends)) == "No cell has a number: 800 not comparable."


def test_what_could_not_be_read_is_counted(trends, make_trends):
    assert count_unreadable(trends.series) == "1 checkpoint and 1 tensor could not be read."
    assert count_unreadable(make_trends(5, 5).series) is None


def test_skips_are_grouped_by_reason_most_frequent_first(trends):
    skips = (Skip("a", "x"), Skip("b", "y"), Skip("c", "y"))
    assert group_skips(with_series(trends, skips=skips).series) == [("y", ["b", "c"]), ("x", ["a"])]


def test_layers_stand_out_by_their_median(trends):
    picked = pick_layers(trends, num_extremes=2, num_outliers=5)
    levels = np.nanmedian(np.delete(trends.values, 4, axis=0), axis=1)
    by_reason = {
        reason: [layer.level for layer in picked if reason in layer.reason] for reason in ("highest", "lowest")
    }
    assert by_reason == {"highest": sorted(levels)[:-3:-1], "lowest": sorted(levels)[1::-1]}
    assert [layer.index for layer in picked if layer.reason == "outlier"] == [9, 38]
    assert 4 not in {layer.index for layer in picked}


def test_an_outlier_that_is_the_highest_is_told_once(trends):
    outliers = np.arange(40) == pick_layers(trends)[0].index
    picked = pick_layers(dataclasses.replace(trends, outliers=outliers))
    assert [layer.reason for layer in picked] == [
        "highest, outlier",
        "highest",
        "highest",
        "lowest",
        "lowest",
        "lowest",
    ]


@pytest.mark.parametrize("num_layers", range(8))
def test_few_layers_are_each_picked_once_at_most(num_layers, make_trends):
    picked = [layer.index for layer in pick_layers(make_trends(num_layers, 5))]
    assert len(picked) == len(set(picked)) == (0 if num_layers == 1 else min(num_layers, 6))


def test_one_rare_event_is_not_hidden_by_many(trends):
    spikes = [Event("spike", "a", 3, f"spike {i}") for i in range(200)]
    events, rest = pick_events(with_events(trends, [*spikes, Event("dead", "b", 9, "dead")]), 5)
    assert [event.text for event in events] == ["spike 0", "spike 1", "spike 2", "spike 3", "dead"]
    assert rest == ["196 spike"]


def test_events_of_checkpoints_that_take_no_part_are_left_to_their_list(trends):
    assert [event.kind for event in pick_events(trends, 10)[0]] == ["nonfinite", "spike"]


def test_the_place_of_an_event(trends):
    series = trends.series
    label = [dataclasses.replace(series.checkpoints[0], step=None, label="a\x1bb")]
    assert describe_place(series, 1) == "step 500"
    assert describe_place(dataclasses.replace(series, checkpoints=tuple(label)), 0) == r"a\x1bb"
    assert describe_place(series, None) == ""


def test_ends_of_a_curve_are_numbers():
    assert find_ends((None, 2.0, float("nan"), 3.0, None)) == (2.0, 3.0)
    assert find_ends((None,)) == (None, None)


def test_quality_in_words(trends, make_trends):
    chance = "One trend alone looks as tightly clustered in {} of simulated tables."
    assert describe_quality(trends.quality).endswith(
        f"runs. Silhouette 0.58, stability 0.93. {chance.format('at most 0.5 %')}"
    )
    one = make_trends(1, 1).quality
    assert describe_quality(one) == f"One trend: nothing to tell apart. {chance.format('40 %')}"
    assert describe_quality(dataclasses.replace(one, p_value=None)) == one.text
    told = dataclasses.replace(one, text="One trend: chance makes as much (p = 0.4).")
    assert describe_quality(told) == told.text


def test_no_chance_below_what_so_few_simulated_tables_can_show():
    assert format_chance(None) == "-"
    assert format_chance(1 / 40) == "≤ 2.5 %"
    assert format_chance(2 / 40) == "5 %"


def test_touched_cells_in_words(trends):
    assert describe_touched(trends) == "Before clustering: 1 spike tamed, 2 gaps filled."
    assert describe_touched(dataclasses.replace(trends, touched={"spike": ()})) is None


def test_unchanged_cells_that_were_given_a_number_are_no_gaps(trends):
    assert trends.values[39, 0] == 0
    some = dataclasses.replace(trends, touched={"gap": ((1, 3), (3, 2), (39, 0))})
    given = "1 unchanged cell given a number, since 0 has no logarithm"
    assert describe_touched(some) == f"Before clustering: 2 gaps filled, {given}."
    alone = dataclasses.replace(trends, touched={"gap": ((39, 0),)})
    assert describe_touched(alone) == f"Before clustering: {given}."
