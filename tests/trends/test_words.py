"""What curves and runs are called."""

import numpy as np
import pytest

from wsanalyze.trends.find import find_trends
from wsanalyze.trends.words import count_noun, describe_curve

NAN = np.nan
X = np.linspace(0, 1, 41)
STEPS = [f"step {10 * i}" for i in range(42)]
PLACES = (STEPS[:-1], STEPS[1:])


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (0 * X, "steady"),
        (0.05 * np.sin(9 * X), "steady"),
        (-1.5 * X, "falls steadily"),
        (1.5 * X, "rises steadily"),
        (-0.8 * (1 - np.exp(-15 * X)), "fast, then slow"),
        (-2 * (1 - np.exp(-15 * X)), "fast, then nearly frozen"),
        (-1 / (1 + np.exp(-60 * (X - 0.6))), "falls at step 250"),
        (1 / (1 + np.exp(-60 * (X - 0.6))), "rises at step 250"),
        (np.exp(-(((X - 0.5) / 0.15) ** 2)), "hump at step 210"),
        (-np.exp(-(((X - 0.5) / 0.15) ** 2)), "dip at step 210"),
        (0.5 * np.sin(4 * np.pi * X), "goes up and down"),
    ],
)
def test_courses(logs, words):
    found = describe_curve(10.0 ** (logs - 2), *PLACES)
    if " at " in words:
        # A smoothed curve may be a change or two late.
        assert found.rsplit(" ", 1)[0] == words.rsplit(" ", 1)[0]
        assert abs(int(found.rsplit(" ", 1)[1]) - int(words.rsplit(" ", 1)[1])) <= 20
    else:
        assert found == words
    assert describe_curve(1000 * 10.0 ** (logs - 2), *PLACES) == found


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([], "no numbers"),
        ([NAN, NAN], "no numbers"),
        ([0.0, 0.0], "unchanged"),
        ([0.0], "unchanged"),
        ([0.3], "one change only"),
        ([NAN, 0.3], "one change only"),
        ([0.3, 0.1], "falls"),
        ([0.1, 0.3], "rises"),
        ([0.3, 0.3], "steady"),
        ([0.3, 0.0], "one change, then frozen from b"),
        ([0.3, 0.3, 0.0, 0.0], "steady, then frozen from c"),
        ([0.0, 0.3], "wakes after b"),
        ([0.0, 0.3, 0.3], "wakes after b, then steady"),
        ([0.0, NAN, 0.3, 0.3], "wakes after c, then steady"),
        ([0.0, 0.3, 0.0], "moves only from b to c"),
        ([0.0, 0.3, 0.1, 0.0], "moves only from b to d"),
        ([0.3, NAN, 0.3], "steady"),
        ([1e-300, 1e300], "rises"),
    ],
)
def test_short_curves_zeros_and_gaps(curve, words):
    names = list("abcdefg")[: len(curve) + 1]
    assert describe_curve(np.array(curve), names[:-1], names[1:]) == words


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([NAN, NAN], "no numbers"),
        ([NAN, -0.3], "one change only"),
        ([-0.3, -0.3, -0.35], "steady"),
        ([0.0, 0.0, 0.0], "steady"),
        ([0.9, 0.1, -0.6], "falls steadily"),
        ([-0.9, 0.0, 0.9], "rises steadily"),
        ([0.9, -0.9, 0.9], "dip at c"),
        ([0.9, 0.0, 0.0, 0.0, 0.0, 0.0], "falls early"),
    ],
)
def test_numbers_of_both_signs_are_no_changes(curve, words):
    names = list("abcdefg")[: len(curve) + 1]
    assert describe_curve(np.array(curve), names[:-1], names[1:], linear=True) == words


def test_nouns_are_counted():
    assert [count_noun(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]


class TestHeadline:
    def test_says_what_moved_most_and_how_many_trends_there_are(self, make_series, plant):
        values, _ = plant(groups=2)
        values[6] *= 1000 / np.median(values[6])
        usual = np.median(np.median(values, axis=1))
        headline = find_trends(make_series(values)).headline
        assert headline[0] == (
            f"block6.weight changed most: 1e+03 in the median, {1000 / usual:.3g} times the {usual:.3g} "
            "of the median layer."
        )
        assert headline[1].startswith("16 layers follow 2 trends: ")
        assert "falls steadily (8 layers)" in headline[1]
        assert len(headline) == 2

    def test_tells_clusters_with_the_same_course_apart_by_level(self, make_series):
        values = np.repeat([[1.0], [5.0]], 10, axis=0) * np.ones((1, 6))
        from wsanalyze.trends.base import TrendOptions

        headline = find_trends(make_series(values), TrendOptions(features="level")).headline
        assert headline[1] == "20 layers follow 2 trends: steady near 5 (10 layers); steady near 1 (10 layers)."

    @pytest.mark.parametrize(
        ("values", "headline"),
        [
            (np.empty((0, 2)), ("There is no layer to compare.",)),
            (np.full((2, 2), NAN), ("No layer has a number, so nothing could be compared.",)),
            (np.zeros((2, 2)), ("No layer changed at all.",)),
        ],
    )
    def test_says_when_there_is_nothing_to_say(self, make_series, values, headline):
        assert find_trends(make_series(values)).headline == headline

    def test_does_not_make_much_of_layers_that_change_alike(self, make_series):
        values = np.full((9, 6), 0.1)
        values[4] = 0.11
        assert "hardly more than the others" in find_trends(make_series(values)).headline[0]

    @pytest.mark.parametrize(
        ("levels", "sentence"),
        [
            ([0.1, 0.1, 0.1], "All 3 layers changed alike, by 0.1{}."),
            ([0.1, 0.1, 0.05], "2 of 3 layers changed alike, by 0.1{}, and none by more."),
            ([0.5, 0.5, 0.1, 0.1, 0.1], "block0.weight and block1.weight changed most: 0.5{}, 5 times the 0.1 "),
            ([0.5, 0.0, 0.0], "block0.weight changed most, by 0.5{}, against 0 for half of the layers."),
            ([0.5], "block0.weight changed by 0.5{}."),
        ],
    )
    @pytest.mark.parametrize("num_changes", [1, 3])
    def test_makes_no_first_of_equals_and_no_median_of_one_change(self, make_series, levels, sentence, num_changes):
        headline = find_trends(make_series(np.array(levels)[:, None] * np.ones(num_changes))).headline
        assert headline[0].startswith(sentence.format("" if num_changes == 1 else " in the median"))
        assert ("in the median" in headline[0]) == (num_changes > 1)

    def test_says_that_layers_that_mostly_stand_still_do(self, make_series):
        values = np.zeros((4, 5))
        values[:, 2] = 0.1
        assert find_trends(make_series(values)).headline[0] == "No layer changed in more than half of the changes."

    def test_a_layer_that_never_changes_follows_nothing(self, make_series, plant):
        values, _ = plant()
        values[3] = 0.0
        trends = find_trends(make_series(values))
        assert trends.outliers[3]
        assert trends.headline[2] == "block3.weight never changes."

    @pytest.mark.parametrize(("group", "noun"), [("block", "block"), ("module", "module"), (None, "layer")])
    def test_rows_are_called_what_they_were_grouped_by(self, measure_series, group, noun):
        from wsanalyze.trends.base import TrendOptions

        weights = np.random.default_rng(0).normal(size=(12, 6, 20)).cumsum(axis=1)
        weights[:8, 3:] = weights[:8, 2:3]
        trends = find_trends(measure_series(weights), TrendOptions(group=group))
        said = " ".join((*trends.headline, *(event.text for event in trends.events), trends.quality.text))
        assert f"8 of 12 {noun}s stop changing at step 200: " in said
        assert f" {noun}s follow one trend: " in said
        assert group is None or "layer" not in said

    def test_names_what_stands_out(self, make_series):
        values = np.full((9, 6), 0.1)
        values[:, 3] = 2.0
        headline = find_trends(make_series(values)).headline
        assert headline[2].startswith("At step 400, 9 of 9 layers changed at least 3 times as much")


@pytest.mark.parametrize("wake", [1, 3])
@pytest.mark.parametrize("stop", [4, 6])
def test_words_name_the_checkpoints_that_events_do(measure_series, wake, stop):
    weights = np.random.default_rng(0).normal(size=(5, 9, 20)).cumsum(axis=1)
    weights[:, :wake] = weights[:, wake : wake + 1]
    weights[:, stop:] = weights[:, stop : stop + 1]
    trends = find_trends(measure_series(weights))
    assert {event.kind: event.checkpoint for event in trends.events} == {"frozen": stop, "wakes": wake}
    assert trends.clusters[0].summary == f"moves only from step {100 * wake} to step {100 * stop}"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[0.1, 0.2, 0.3]], "There is one layer only."),
        (np.zeros((1, 3)), "There is one layer only."),
        (np.zeros((4, 3)), "No layer changed."),
        ([[0.1, 0.2, 0.3], [NAN, NAN, 0.1]], "Only one layer could be clustered."),
        ([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]], "Only one layer could be clustered."),
        (np.full((3, 3), NAN), "No layer could be clustered."),
        (np.full((3, 3), 0.1), "One trend: what differs between layers is noise, or a matter of degree."),
    ],
)
def test_one_cluster_is_explained(make_series, values, text):
    assert find_trends(make_series(values)).quality.text == text
