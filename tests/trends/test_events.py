"""Events that the curves show, each with its place and its evidence."""

import numpy as np
import pytest

from wsanalyze.trends.events import find_events
from wsanalyze.trends.find import find_trends


def kinds(events):
    return [(event.kind, event.layer, event.checkpoint) for event in events]


def walk(rows=4, checkpoints=6, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, checkpoints, 20)).cumsum(axis=1)


def test_an_ordinary_run_has_no_events(measure_series, make_series, plant):
    assert find_events(measure_series(walk()), "rwc") == ()
    assert find_events(make_series(plant()[0]), "rwc") == ()


def test_a_layer_that_stops_is_frozen_from_the_checkpoint_that_its_weights_stay_at(measure_series):
    weights = walk()
    weights[2, 3:] = weights[2, 2]
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("frozen", "block2.weight", 2)]
    assert events[0].text == "block2.weight stops changing at step 200."


def test_a_rest_in_the_last_change_alone_is_not_said_to_last(measure_series):
    weights = walk()
    weights[2, -1] = weights[2, -2]
    (event,) = find_events(measure_series(weights), "rwc")
    places = weights.shape[1] - 2, weights.shape[1] - 1
    assert (event.kind, event.layer, event.checkpoint) == ("frozen", "block2.weight", places[0])
    assert event.text == f"block2.weight stands still from step {places[0]}00 to step {places[1]}00, the last change."
    assert event.evidence["still_changes"] == 1


def test_a_last_rest_of_many_layers_is_one_event_and_no_news_of_those_that_rest_at_times(measure_series):
    weights = walk(rows=9)
    weights[:5, -1] = weights[:5, -2]
    weights[5, -1], weights[5, 2] = weights[5, -2], weights[5, 1]
    (event,) = find_events(measure_series(weights), "rwc")
    assert event.text.startswith("5 of 9 layers stand still from step ")
    assert event.evidence["rows"] == [0, 1, 2, 3, 4]
    assert event.evidence["still_changes"] == [1] * 5


def test_a_layer_that_never_moves_is_frozen_from_the_start(measure_series):
    weights = walk()
    weights[1] = weights[1, 0]
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("frozen", "block1.weight", 0)]
    assert events[0].text == "block1.weight never changes."


def test_a_layer_that_was_lost_for_a_while_has_not_stood_still(measure_series):
    weights = walk()
    weights[1] = weights[1, 0]
    weights[1, 3] = np.nan
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("nonfinite", "block1.weight", 3)]


def test_a_layer_that_starts_late_wakes(measure_series):
    weights = walk()
    weights[0, :3] = weights[0, 3]
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("wakes", "block0.weight", 3)]
    assert events[0].text == "block0.weight wakes after step 300, with no change until then."


def test_a_layer_of_zeros_that_starts_late_wakes(measure_series):
    weights = walk()
    weights[0, :3] = 0.0
    assert kinds(find_events(measure_series(weights), "rwc")) == [("wakes", "block0.weight", 2)]


@pytest.mark.parametrize("metric", ["rwc", "changed"])
def test_a_layer_of_zeros_is_dead_and_nothing_else(measure_series, metric):
    weights = walk()
    weights[1] = 0.0
    weights[3, 4:] = 0.0
    events = find_events(measure_series(weights), metric)
    assert kinds(events) == [("dead", "block1.weight", 0), ("dead", "block3.weight", 4)]
    assert events[1].text == "block3.weight is all zero from step 400 on."


def test_the_first_nonfinite_weight_is_found(measure_series):
    weights = walk()
    weights[2, 3:, 5] = np.nan
    weights[0, :, 1] = np.inf
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("nonfinite", "block0.weight", 0), ("nonfinite", "block2.weight", 3)]
    assert [event.text for event in events] == [
        "block0.weight has NaN or Inf weights from step 0 on.",
        "block2.weight has NaN or Inf weights from step 300 on.",
    ]


@pytest.mark.parametrize(
    ("places", "when"),
    [
        ([0], "at step 0"),
        ([2], "at step 200"),
        ([2, 3], "from step 200 to step 300"),
        ([2, 4], "at 2 checkpoints from step 200 to step 400"),
        ([1, 3, 5], "at 3 checkpoints from step 100 to step 500"),
        ([4, 5], "from step 400 on"),
        ([5], "at step 500"),
    ],
)
def test_nonfinite_weights_that_pass_are_not_said_to_last(measure_series, places, when):
    weights = walk()
    weights[2, places, 5] = np.nan
    (event,) = find_events(measure_series(weights), "rwc")
    assert event.checkpoint == places[0]
    assert event.text == f"block2.weight has NaN or Inf weights {when}."


def test_nonfinite_weights_of_many_layers_share_an_event_where_they_last_alike(measure_series):
    weights = walk(rows=10)
    weights[:5, 2, 0] = np.inf
    weights[5:9, 2:, 0] = np.inf
    assert [event.text.split(":")[0] for event in find_events(measure_series(weights), "rwc")] == [
        "5 of 10 layers have NaN or Inf weights at step 200",
        "4 of 10 layers have NaN or Inf weights from step 200 on",
    ]


@pytest.mark.parametrize(
    ("values", "when"),
    [
        ([0.1, np.inf, 0.2, 0.1], "at step 200"),
        ([0.1, 0.1, 0.2, np.inf], "at step 400"),
        ([0.1, np.inf, np.inf, np.inf], "from step 200 on"),
        ([0.1, np.inf, np.inf, 0.1], "from step 200 to step 300"),
        ([np.inf, 0.1, np.inf, 0.1], "at 2 checkpoints from step 100 to step 300"),
        ([np.inf, np.nan, np.inf, 0.1], "from step 100 to step 300"),
    ],
)
def test_a_table_tells_changes_without_a_number(make_series, values, when):
    (event,) = find_events(make_series([values, *[[0.1, 0.2, 0.1, 0.2]] * 3]), "rwc")
    assert (event.kind, event.layer) == ("nonfinite", "block0.weight")
    assert event.text == f"block0.weight has no finite change {when}."
    assert event.evidence == {"row": 0, "nonfinite_changes": values.count(np.inf)}


def test_a_table_has_no_sums_to_find_dead_layers_in(make_series):
    assert find_events(make_series([[0.1, np.nan, np.nan, 0.1]] * 4), "rwc") == ()


def test_a_change_at_which_many_layers_jump_is_one_spike(make_series, plant):
    values, _ = plant()
    values[:10, 9] *= 30
    events = find_events(make_series(values), "rwc")
    assert kinds(events) == [("spike", None, 10)]
    assert events[0].evidence["layers"] == 10
    assert events[0].evidence["of"] == 24
    assert events[0].evidence["rows"] == list(range(10))


def test_every_layer_of_a_spike_is_far_above_the_one_before_and_soon_back(make_series, plant):
    values, _ = plant(groups=1, size=24, noise=0.01)
    values[:12, 9] *= 30
    values[8:10, 10] *= 20
    values[10:12, 10:14] *= 20
    (event,) = find_events(make_series(values), "rwc")
    assert event.evidence["rows"] == list(range(10))
    assert "10 of 24 layers changed at least 3 times as much as just before, and were back within 3" in event.text

    values[8:12, 10:14] /= 20
    (event,) = find_events(make_series(values), "rwc")
    assert "12 of 24 layers changed at least 3 times as much as just before and after" in event.text


def test_a_hump_is_no_spike(make_series):
    curve = np.array([0.1, 0.1, 0.15, 0.4, 0.9, 1.0, 0.9, 0.4, 0.15, 0.1, 0.1])
    assert find_events(make_series(np.tile(curve, (20, 1))), "rwc") == ()


def test_a_jump_of_few_layers_or_a_steep_start_is_no_spike(make_series, plant):
    values, _ = plant()
    values[:2, 9] *= 30
    values[:, 0] *= 30
    assert find_events(make_series(values), "rwc") == ()


def test_many_layers_with_the_same_event_share_one(measure_series):
    weights = walk(rows=300)
    weights[50:, 3:] = weights[50:, 2:3]
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("frozen", None, 2)]
    assert events[0].text == (
        "250 of 300 layers stop changing at step 200: block50.weight, block51.weight, block52.weight and 247 more."
    )
    assert len(events[0].evidence["rows"]) == 250


def test_many_layers_with_events_of_their_own_share_one_as_well(measure_series):
    weights = walk(rows=40, checkpoints=60)
    for row in range(40):
        weights[row, row + 10 :] = weights[row, row + 10 : row + 11]
    events = find_events(measure_series(weights), "rwc")
    assert kinds(events) == [("frozen", None, 10)]
    assert "some point between step 1000 and step 4900" in events[0].text


def test_events_are_those_of_the_grouped_series(measure_series):
    from wsanalyze.trends.base import TrendOptions

    weights = walk()
    weights[1] = weights[1, 0]
    series = measure_series(weights, ["a.0", "a.1", "b.0", "b.1"])
    assert kinds(find_trends(series).events) == [("frozen", "a.1", 0)]
    assert find_trends(series, TrendOptions(group="block")).events == ()
