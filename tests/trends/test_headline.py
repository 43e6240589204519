"""What a report opens with."""

import re

import numpy as np
import pytest

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.words import say_times

NAN = np.nan


def test_says_what_moved_most_and_how_many_trends_there_are(make_series, plant):
    values, _ = plant(groups=2)
    values[6] *= 1000 / np.median(values[6])
    usual = np.sort(np.median(values, axis=1))[7]  # of 16 the lower one of both in the middle
    headline = find_trends(make_series(values)).headline
    assert headline[0] == (
        f"block6.weight changed most: 1,000 in the median, {say_times(np.log10(1000 / usual))} the {usual:.2g} "
        "of the median layer."
    )
    assert headline[1].startswith("16 layers follow 2 trends, well apart and stable (silhouette 0.")
    assert re.search(r"8 \(.*\) fall steadily", headline[1])
    assert re.search(r"8 \(.*\) rise after step \d+", headline[1])


def test_tells_clusters_with_the_same_course_apart_by_level(make_series):
    values = np.repeat([[1.0], [5.0]], 10, axis=0) * np.ones((1, 6))
    headline = find_trends(make_series(values), TrendOptions(features="level")).headline
    assert headline[1] == (
        "20 layers follow 2 trends, well apart and stable (silhouette 1.00, stability 1.00): "
        "10 (depths 10 to 19) are steady, near 5; 10 (depths 0 to 9) are steady, near 1."
    )


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        (np.empty((0, 2)), ("There is no layer to compare.",)),
        (np.full((2, 2), NAN), ("No layer has a number, so nothing could be compared.",)),
        (np.zeros((2, 2)), ("No layer changed at all.",)),
    ],
)
def test_says_when_there_is_nothing_to_say(make_series, values, headline):
    assert find_trends(make_series(values)).headline == headline


def test_does_not_make_much_of_layers_that_change_alike(make_series):
    values = np.full((9, 6), 0.1)
    values[4] = 0.11
    assert "hardly more than the median layer" in find_trends(make_series(values)).headline[0]


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        ([0.1, 0.1, 0.1], "All 3 layers changed by as much: 0.1{}."),
        ([0.1, 0.1, 0.05], "2 of 3 layers changed by as much: 0.1{}, and none by more."),
        ([0.5, 0.5, 0.1, 0.1, 0.1], "block0.weight and block1.weight changed most: 0.5{}, 5 times the 0.1 "),
        ([0.5, 0.0, 0.0], "block0.weight changed most, by 0.5{}, against 0 for 2 of 3 layers."),
        ([0.5], "block0.weight changed by 0.5{}."),
    ],
)
@pytest.mark.parametrize("num_changes", [1, 3])
def test_makes_no_first_of_equals_and_no_median_of_one_change(make_series, levels, sentence, num_changes):
    headline = find_trends(make_series(np.array(levels)[:, None] * np.ones(num_changes))).headline
    assert headline[0].startswith(sentence.format("" if num_changes == 1 else " in the median"))
    assert ("in the median" in headline[0]) == (num_changes > 1)


def test_says_that_layers_that_mostly_stand_still_do(make_series):
    values = np.zeros((4, 5))
    values[:, 2] = 0.1
    assert find_trends(make_series(values)).headline[0] == "No layer changed in more than half of the changes."


def test_a_layer_that_never_changes_follows_nothing(make_series, plant):
    values, _ = plant()
    values[3] = 0.0
    trends = find_trends(make_series(values))
    assert trends.outliers[3]
    assert trends.headline[2] == "block3.weight never changes."


def test_a_rest_in_the_last_change_hides_nothing(make_series, plant):
    values, _ = plant(groups=2, steps=40)
    values[3, -1] = 0.0
    said = "block3.weight stands still from step 3900 to step 4000, the last change"
    assert said in find_trends(make_series(values)).headline[2]
    values[5] = 10 ** (-1.5 + np.sin(np.linspace(0, 12, 40)))
    assert find_trends(make_series(values)).headline[2].startswith("block5.weight follows no other layer's trend")
    values[6, 30:] = 0.0
    assert find_trends(make_series(values)).headline[2].startswith("block6.weight stops changing at step 3000")


def test_noise_about_a_trend_is_told_from_a_course_of_its_own(make_series, plant):
    values, groups = plant(groups=2, steps=60)
    row = int(np.flatnonzero(groups == 0)[0])
    values[row] *= 10 ** np.random.default_rng(0).normal(0, 0.5, 60)
    trends = find_trends(make_series(values))
    assert trends.outliers[row]
    assert trends.headline[2].startswith(f"block{row}.weight jumps about too much to follow any trend")


def test_what_the_trends_say_of_layers_that_never_change_is_said_once(make_series, plant):
    values, _ = plant(groups=1)
    values[[3, 5]] = 0.0
    headline = find_trends(make_series(values)).headline
    assert "2 (block3.weight and block5.weight) are unchanged" in headline[1]
    assert not any("never change" in sentence for sentence in headline)


@pytest.mark.parametrize("begin", ["base_model.model.encoder.", "net.", ""])
def test_a_long_beginning_of_all_names_is_left_out(make_series, begin):
    names = [f"{begin}layer.{row}.weight" for row in range(9)]
    values = np.full((9, 6), 0.1)
    values[4] = 1.0
    said = find_trends(make_series(values, names)).headline[0]
    shown = "" if len(begin) > 5 else begin
    assert said.startswith(f"{shown}layer.4.weight changed most")
    names[0] = "head.weight"
    assert find_trends(make_series(values, names)).headline[0].startswith(f"{begin}layer.4.weight changed most")


@pytest.mark.parametrize(("group", "noun"), [("block", "block"), ("module", "module"), (None, "layer")])
def test_rows_are_called_what_they_were_grouped_by(measure_series, group, noun):
    weights = np.random.default_rng(0).normal(size=(12, 6, 20)).cumsum(axis=1)
    weights[:8, 3:] = weights[:8, 2:3]
    trends = find_trends(measure_series(weights), TrendOptions(group=group))
    said = " ".join((*trends.headline, *(event.text for event in trends.events), trends.quality.text))
    assert f"8 of 12 {noun}s stop changing at step 200: " in said
    assert f" {noun}s follow " in said
    assert group is None or "layer" not in said


def test_names_what_stands_out(make_series):
    values = np.full((9, 6), 0.1)
    values[:, 3] = 2.0
    headline = find_trends(make_series(values)).headline
    assert headline[2].startswith("At step 400, all 9 layers changed at least 3 times as much")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[0.1, 0.2, 0.3]], "There is one layer only."),
        (np.zeros((1, 3)), "There is one layer only."),
        (np.zeros((4, 3)), "No layer changed."),
        ([[0.1, 0.2, 0.3], [NAN, NAN, 0.1]], "Only one layer could be clustered."),
        ([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]], "Only one layer could be clustered."),
        (np.full((3, 3), NAN), "No layer could be clustered."),
        (np.full((3, 3), 0.1), "One trend: what differs between layers is noise, a matter of degree, or their own."),
    ],
)
def test_one_cluster_is_explained(make_series, values, text):
    assert find_trends(make_series(values)).quality.text == text
