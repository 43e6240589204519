"""Members that go another way than their cluster."""

from dataclasses import replace

import numpy as np
import pytest

from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.elsewhere import MIXED, find_exceptions, move_apart, say_ways
from wsanalyze.trends.find import find_trends
from wsanalyze.trends.words import APART

X = np.linspace(0, 1, 20)
STEADY, FALL, RISE = 0 * X, -X, X
HUMP = -4 * (X - 0.4) ** 2


def exceptions(make_series, usual, own):
    """Whether a row with another course is an exception in a cluster of one course."""
    random = np.random.default_rng(0)
    logs = usual + random.normal(-1.5, 0.3, (9, 1)) + random.normal(0, 0.01, (9, len(X)))
    trends = find_trends(make_series(10**logs), TrendOptions(clusters=1, method="kmeans"))
    values = 10**logs
    values[4] = own
    trends = replace(trends, series=make_series(values))
    return find_exceptions(trends, trends.clusters[0])


@pytest.mark.parametrize(
    ("usual", "own", "found"),
    [
        (FALL, FALL, []),
        (FALL, 0.5 * FALL, []),
        (FALL, 2 * FALL, []),
        (FALL, RISE, [4]),
        (FALL, STEADY, [4]),
        (FALL, np.resize([0.3, -0.3], 20), [4]),
        (STEADY, 0.2 * FALL, []),
        (STEADY, FALL, [4]),
        (STEADY, 0.6 * RISE, [4]),
        (HUMP, HUMP, []),
        (HUMP, 0.5 * HUMP, []),
        (HUMP, FALL, [4]),
        (HUMP, RISE, [4]),
        (-HUMP, -HUMP, []),
        (-HUMP, FALL, [4]),
    ],
)
def test_who_goes_elsewhere_is_found(make_series, usual, own, found):
    assert exceptions(make_series, usual, 10 ** (own - 1.0)) == found


@pytest.mark.parametrize("num_changes", [2, 3, 4])
def test_of_few_changes_it_is_told_who_goes_another_way(make_series, num_changes):
    x = np.linspace(0, 1, num_changes)
    for usual, own, found in [
        (-x, -x, []),
        (-x, -0.3 * x, []),
        (-x, -2 * x, []),
        (-x, 0 * x, [4]),
        (-x, x, [4]),
        (0 * x, 0.2 * x, []),
        (0 * x, 0.4 * x, [4]),
        (0 * x, -x, [4]),
    ]:
        logs = usual + np.linspace(-1.5, 0, 9)[:, None]
        logs[4] = own - 3
        trends = find_trends(make_series(10**logs), TrendOptions(clusters=1, method="kmeans"))
        assert find_exceptions(trends, trends.clusters[0]) == found


@pytest.mark.parametrize("num_changes", [2, 3, 4])
def test_of_few_changes_not_all_are_said_to_follow_one_trend_where_they_do_not(make_series, num_changes):
    slopes = np.linspace(-1, 1, 12)[:, None]
    trends = find_trends(make_series(10 ** (slopes * np.linspace(0, 1, num_changes) - 1)))
    assert [cluster.summary for cluster in trends.clusters] == [MIXED]
    assert not any("one trend" in sentence for sentence in trends.headline)
    three = find_trends(make_series(10 ** (np.array([[-1], [1], [0]]) * np.linspace(0, 1, num_changes) - 1)))
    told = three.headline[1]
    assert told.startswith("3 layers are too few to tell trends apart: ")
    assert [verb in told for verb in ("falls", "rises", "is steady")] == [True] * 3
    falls = np.linspace(-1, -0.5, 12)[:, None]
    assert "one trend" in find_trends(make_series(10 ** (falls * np.linspace(0, 1, num_changes)))).headline[1]


@pytest.mark.parametrize("usual", [STEADY, 0.25 * FALL, FALL, HUMP])
def test_noise_makes_no_exceptions(make_series, usual):
    found = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        logs = usual + random.normal(-1.5, 0.3, (40, 1)) + random.normal(0, 0.3, (40, len(X)))
        trends = find_trends(make_series(10**logs), TrendOptions(clusters=1, method="kmeans"))
        found += len(find_exceptions(trends, trends.clusters[0]))
        logs[7] += 2.5 * (RISE - usual)
        trends = replace(trends, series=make_series(10**logs))
        assert 7 in find_exceptions(trends, trends.clusters[0])
    assert found <= 1  # of 400


@pytest.mark.parametrize("num_changes", [3, 4, 8, 30])
@pytest.mark.parametrize(
    ("slope", "noise", "common", "number", "is_apart"),
    [
        (0.0, 0.4, 0.0, 10, True),
        (0.0, 0.4, 0.0, 60, True),
        (0.0, 0.05, 0.0, 10, False),  # steady
        (-1.5, 0.3, 0.0, 60, False),
        (0.0, 0.4, 0.0, 4, False),  # too few to tell
        (0.0, 0.05, 0.4, 10, False),  # unsteady together
    ],
)
def test_layers_that_share_nothing_but_noise_move_apart(
    make_series, num_changes, slope, noise, common, number, is_apart
):
    random = np.random.default_rng(0)
    x = np.linspace(0, 1, num_changes)
    judged = []
    for _ in range(10):
        logs = slope * x + random.normal(-1.5, 0.3, (number, 1)) + random.normal(0, noise, (number, num_changes))
        logs += random.normal(0, 1, num_changes) * common
        trends = find_trends(make_series(10**logs), TrendOptions(clusters=1, method="kmeans"))
        judged.append(move_apart(trends, trends.clusters[0]))
    assert np.mean(judged) >= 0.8 if is_apart else not any(judged)


def test_layers_that_move_apart_are_not_said_to_follow_a_trend(make_series):
    random = np.random.default_rng(2)
    trends = find_trends(make_series(10 ** random.normal(-1.5, 0.4, (10, 8))))
    assert [cluster.summary for cluster in trends.clusters] == [APART]
    level = np.median([value for value in trends.clusters[0].median if value])
    said = f"The 10 layers have no trend in common: each is unsteady by itself, near {level:.2g} in the median."
    assert trends.headline[1] == said


def test_who_rests_while_the_others_go_on_is_found(make_series):
    own = 10 ** (FALL - 1)
    own[-2:] = 0.0
    assert exceptions(make_series, FALL, own) == [4]
    own = 10 ** (FALL - 1)
    own[-1:] = 0.0
    assert exceptions(make_series, FALL, own) == []


@pytest.mark.parametrize(("num_spikes", "found"), [(1, []), (2, []), (3, [4])])
def test_who_follows_but_for_a_few_spikes_is_none(make_series, num_spikes, found):
    random = np.random.default_rng(0)
    values = 10 ** (FALL + random.normal(-1.5, 0.3, (9, 1)) + random.normal(0, 0.01, (9, 20)))
    values[4, 9 : 9 + num_spikes] *= 1e-8
    trends = find_trends(make_series(values), TrendOptions(clusters=1, method="kmeans"))
    assert find_exceptions(replace(trends, touched={}), trends.clusters[0]) == [4]
    spikes = tuple((4, change) for change in range(9, 9 + num_spikes))
    assert find_exceptions(replace(trends, touched={"spike": spikes}), trends.clusters[0]) == found


def test_jumps_and_gaps_of_some_make_no_exceptions_of_the_others(make_series):
    random = np.random.default_rng(0)
    logs = random.normal(-1.5, 0.4, (12, 1)) + random.normal(0, 0.02, (12, 20))
    logs[:5, 9:] = np.nan
    trends = find_trends(make_series(10**logs), TrendOptions(clusters=1))
    assert find_exceptions(trends, trends.clusters[0]) == []


def test_ways_are_said_where_some_go_up_and_others_down(make_series):
    random = np.random.default_rng(0)
    slopes = np.linspace(-1, 1, 21)[:, None]
    trends = find_trends(make_series(10 ** (slopes * X + random.normal(0, 0.01, (21, 20)))), TrendOptions(clusters=1))
    # From the first third to the last a line goes 14 of 19 steps; of 21 slopes a tenth is below -0.8.
    assert say_ways(trends, trends.clusters[0]) == (
        "some fall to a quarter and others rise to 3.9 times what they were"
    )
    calm = find_trends(make_series(10 ** random.normal(0, 0.01, (21, 20))), TrendOptions(clusters=1))
    assert say_ways(calm, calm.clusters[0]) == ""


def test_a_cluster_that_half_of_its_members_do_not_follow_has_no_course(make_series):
    values = 10 ** (np.array([FALL, RISE]) - 1)
    trends = find_trends(make_series(values), TrendOptions(clusters=1))
    assert [cluster.summary for cluster in trends.clusters] == [MIXED]
    assert trends.headline[1] == (
        "2 layers are too few to tell trends apart: block0.weight falls steadily; block1.weight rises steadily."
    )
