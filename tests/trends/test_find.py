"""The contract of every method, and what `find_trends` adds to it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_spans import walk as walk_spans
from wsanalyze.errors import UsageError
from wsanalyze.trends.base import TrendOptions, Trends
from wsanalyze.trends.find import FEATURES, METHODS, find_trends
from wsanalyze.trends.stored import to_json

NAN, INF = np.nan, np.inf
DEGENERATE = {
    "no row": np.empty((0, 3)),
    "no change": np.empty((3, 0)),
    "no row, no change": np.empty((0, 0)),
    "one cell": [[0.1]],
    "one row": [[0.1, 0.2, 0.3]],
    "one row that jumps": [[0.1, 0.0, 0.1]],
    "two rows": [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]],
    "one change": [[0.1], [0.2], [0.1], [3.0], [0.15], [0.12]],
    "two changes": [[0.1, 0.2], [0.2, 0.1], [0.1, 0.1], [3.0, 2.0], [0.1, 0.3]],
    "all unchanged": np.zeros((5, 4)),
    "one row unchanged": [[0.0, 0.0, 0.0]],
    "half unchanged": np.vstack((np.zeros((4, 5)), np.full((4, 5), 0.1))),
    "one of many unchanged": np.vstack((np.zeros((1, 5)), np.full((6, 5), 0.1))),
    "no number at all": np.full((4, 3), NAN),
    "rows of states": np.vstack((np.full((3, 4), NAN), np.full((3, 4), INF), np.full((4, 4), 0.2))),
    "few numbers": [[NAN, NAN, NAN, 0.1], [0.2, NAN, NAN, NAN], [NAN, 0.1, NAN, NAN]],
    "constant rows": np.repeat([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6]], 5, axis=1),
    "identical rows": np.tile([0.1, 0.3, 0.2, 0.5], (7, 1)),
    "two distinct rows": np.repeat([[0.1, 0.3, 0.2], [0.5, 0.1, 0.9]], 5, axis=0),
    "huge": np.full((6, 4), 1e308) * np.array([[1.0, 0.5, 0.1, 0.9]]),
    "tiny": np.full((6, 4), 5e-324),
    "huge and tiny": [[1e308, 5e-324, 1e308, 5e-324]] * 3 + [[5e-324, 1e308, 1.0, 1.0]] * 3,
}


def check_contract(trends: Trends) -> None:
    series, options = trends.series, trends.options
    num_rows, num_changes = len(series.rows), len(series.pairs)
    labels = trends.labels
    assert labels.dtype == np.int64
    assert labels.shape == trends.confidence.shape == trends.outliers.shape == (num_rows,)
    assert trends.outliers.dtype == np.bool_
    assert trends.points.shape == (num_rows, len(trends.explained))
    if num_changes > 1:
        assert trends.points.shape[1] >= 2
    assert (np.isnan(trends.confidence) == (labels < 0)).all()
    assert ((trends.confidence[labels >= 0] >= 0) & (trends.confidence[labels >= 0] <= 1)).all()
    assert np.isfinite(trends.explained).all()
    assert trends.explained.sum() <= 1 + 1e-9
    assert (labels[trends.outliers] == -1).all()
    # Clusters and labels say the same, and clusters are numbered by level.
    assert [cluster.id for cluster in trends.clusters] == list(range(labels.max(initial=-1) + 1))
    assert trends.quality.k == len(trends.clusters)
    assert trends.quality.structure == (trends.quality.k > 1)
    levels = []
    for cluster in trends.clusters:
        assert cluster.size > 0
        assert cluster.members == tuple(np.flatnonzero(labels == cluster.id))
        assert len(cluster.median) == len(cluster.low) == len(cluster.high) == num_changes
        assert cluster.summary
        levels.append(np.median([np.nanmedian(trends.values[member]) for member in cluster.members]))
    assert levels == sorted(levels, reverse=True)
    if trends.quality.k <= 1:
        assert trends.quality.silhouette is None
        assert trends.quality.stability is None
    if options.clusters:
        more = options.method == "hdbscan" and any("made more than" in note for note in trends.notes)
        assert trends.quality.k <= options.clusters or more
        if trends.quality.k < options.clusters:
            assert any("were asked for" in note for note in trends.notes)
    assert set(trends.touched) <= {"spike", "gap"}
    for cells in trends.touched.values():
        assert all(0 <= row < num_rows and 0 <= change < num_changes for row, change in cells)
    assert len(trends.headline) <= 3
    assert trends.headline
    for sentence in (*trends.headline, *trends.notes, trends.quality.text, *(event.text for event in trends.events)):
        assert sentence.endswith(".")
        assert "nan" not in sentence.split()
    for event in trends.events:
        assert event.checkpoint is not None
        assert event.layer is None or event.layer in series.names
    json.dumps(to_json(trends), allow_nan=False)


@pytest.mark.parametrize("method", METHODS)
class TestMethods:
    @pytest.mark.parametrize("clusters", [None, 1, 2, 3, 50])
    @pytest.mark.parametrize("case", DEGENERATE)
    def test_degenerate_input_gives_an_answer_without_a_warning(self, make_series, method, case, clusters):
        series = make_series(DEGENERATE[case])
        for features in FEATURES if method == "robust" else ("shape",):
            check_contract(find_trends(series, TrendOptions(method=method, clusters=clusters, features=features)))

    def test_planted_trends_meet_the_contract(self, make_series, plant, method):
        values, _ = plant()
        values[2, 3] = INF
        values[4, 5] = NAN
        trends = find_trends(make_series(values), TrendOptions(method=method))
        check_contract(trends)
        assert {(2, 3), (4, 5)} <= set(trends.touched["gap"])
        assert any("2 cells without a number, in 2 layers," in note for note in trends.notes)

    def test_clusters_asked_for_are_made(self, make_series, plant, method):
        series = make_series(plant()[0])
        for k in (1, 2, 5):
            trends = find_trends(series, TrendOptions(method=method, clusters=k))
            chooses = method == "hdbscan" or (method == "gmm" and k > 3)  # of the 3 there are, it cannot make more
            assert trends.quality.k == k or (chooses and any(str(k) in note for note in trends.notes))

    def test_the_same_seed_gives_the_same_answer(self, make_series, plant, method):
        series = make_series(plant(noise=0.3)[0])
        options = TrendOptions(method=method, clusters=4, seed=7)
        assert to_json(find_trends(series, options)) == to_json(find_trends(series, options))

    @settings(max_examples=60, deadline=None)
    @given(
        table=st.integers(1, 9).flatmap(
            lambda steps: st.lists(
                st.lists(
                    st.one_of(st.sampled_from([0.0, NAN, INF]), st.floats(1e-9, 1e9), st.just(0.1)),
                    min_size=steps,
                    max_size=steps,
                ),
                min_size=1,
                max_size=12,
            )
        ),
        clusters=st.one_of(st.none(), st.integers(1, 4)),
        features=st.sampled_from(FEATURES),
    )
    def test_any_table_meets_the_contract(self, make_series, method, table, clusters, features):
        options = TrendOptions(method=method, clusters=clusters, features=features)
        check_contract(find_trends(make_series(table), options))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (TrendOptions(method="magic"), "no method named 'magic': choose one of robust, paper"),
        (TrendOptions(features="hue"), "no features named 'hue': choose one of shape, level, both"),
        (TrendOptions(metric="charm"), "no metric named 'charm'"),
        (TrendOptions(clusters=0), "0 clusters cannot be made"),
        (TrendOptions(clusters=-3), "-3 clusters cannot be made"),
        (TrendOptions(seed=-1), "-1 is no seed"),
        (TrendOptions(seed=2**32), "is no seed"),
        (TrendOptions(group="colour"), "cannot group by 'colour'"),
        (TrendOptions(group="module"), "a table of ratios cannot be grouped"),
    ],
)
def test_wrong_options_are_wrong_usage(make_series, options, says):
    with pytest.raises(UsageError, match=says) as caught:
        find_trends(make_series([[0.1, 0.2]]), options)
    assert "\n" not in str(caught.value)


def test_rows_are_grouped_before_they_are_clustered(measure_series):
    random = np.random.default_rng(0)
    weights = random.normal(size=(6, 5, 10)).cumsum(axis=1)
    series = measure_series(weights, ["a.0", "a.1", "b.0", "b.1", "c.0", "c.1"])
    trends = find_trends(series, TrendOptions(group="block"))
    assert trends.series.names == ("a", "b", "c")
    assert len(trends.labels) == 3
    np.testing.assert_array_equal(trends.values, series.grouped("block").metric())


def test_clusters_report_the_percentiles_of_their_members(make_series):
    values = np.linspace(0.1, 0.9, 11)[:, None] * np.array([[1.0, 1.0, 1.0]])
    values[0, 1] = NAN
    cluster = find_trends(make_series(values), TrendOptions(clusters=1)).clusters[0]
    assert cluster.median[0] == pytest.approx(0.5)
    assert cluster.low[0] == pytest.approx(0.18)
    assert cluster.high[0] == pytest.approx(0.82)
    assert cluster.median[1] == pytest.approx(np.median(values[1:, 1]))


def test_options_may_be_left_out(make_series, plant):
    series = make_series(plant()[0])
    trends = find_trends(series)
    assert trends.options == TrendOptions()
    assert to_json(trends) == to_json(find_trends(series, TrendOptions()))


def test_the_series_is_not_altered(make_series, plant):
    values, _ = plant()
    values[3, 3] = NAN
    series = make_series(values)
    before = series.metric()
    trends = find_trends(series, replace(TrendOptions(), method="paper"))
    np.testing.assert_array_equal(series.metric(), before)
    np.testing.assert_array_equal(trends.values, before)


# Metrics that are no amounts of change: numbers from -1 to 1


def turning_walk(cosines, *, size=4000, seed=0):
    """Weights of shape (rows, checkpoints, elements) whose successive changes make angles of those cosines."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in np.atleast_2d(cosines):
        change = rng.normal(size=size) / np.sqrt(size)
        weights = [rng.normal(size=size), change]
        for cosine in row:
            other = rng.normal(size=size) / np.sqrt(size)
            other -= change * (other @ change) / (change @ change)
            change = cosine * change + np.sqrt(1 - cosine**2) * other * np.linalg.norm(change) / np.linalg.norm(other)
            weights.append(change)
        rows.append(np.cumsum(weights, axis=0))
    return np.array(rows)


def planted_cosines():
    """Eight rows that drift ever less, and eight that swing ever more; the numbers to be found."""
    x = np.linspace(0, 1, 12)
    noise = np.random.default_rng(1).normal(0, 0.02, (16, 12))
    return np.array([0.9 - 0.7 * x] * 8 + [-0.1 - 0.7 * x**3] * 8) + noise


@pytest.mark.parametrize("method", METHODS)
def test_negative_numbers_are_clustered_as_they_are(method):
    cosines = planted_cosines()
    series = walk_spans(turning_walk(cosines))
    np.testing.assert_allclose(series.metric("coherence")[:, 1:], cosines, atol=1e-9)
    trends = find_trends(series, TrendOptions("coherence", method, clusters=2, features="level"))
    inside = trends.labels >= 0
    assert trends.quality.k == 2
    assert len(set(zip((np.arange(16) < 8)[inside].tolist(), trends.labels[inside].tolist(), strict=True))) == 2
    assert trends.headline[0].startswith("Cosine of the angle between successive changes is highest in layers.")
    json.dumps(to_json(trends), allow_nan=False)


def test_a_swinging_layer_has_a_curve_and_words():
    trends = find_trends(
        walk_spans(turning_walk(-0.2 - 0.7 * np.tile(np.linspace(0, 1, 12), (6, 1)))), TrendOptions("coherence")
    )
    assert [cluster.summary for cluster in trends.clusters] == ["falls steadily"]
    assert trends.quality.text == "One trend: what differs between layers is noise, a matter of degree, or their own."
    assert any("stood out from the noise" in note and "decades" not in note for note in trends.notes)
    assert trends.touched["gap"] == tuple((row, 0) for row in range(6))


def test_a_layer_that_rests_is_told_by_its_changes_whatever_the_metric():
    weights = turning_walk(np.full((4, 8), 0.5))
    weights[1, 6:] = weights[1, 6]
    series = walk_spans(weights)
    for metric in ("rwc", "coherence", "efficiency", "from-first", "rotation"):
        told = [
            (event.kind, event.layer, event.checkpoint) for event in find_trends(series, TrendOptions(metric)).events
        ]
        assert told == [("frozen", "layers.1.weight", 6)], metric
    assert np.isnan(series.metric("coherence")[1, 6:]).all()


@pytest.mark.parametrize("metric", ["coherence", "efficiency", "from-first", "rotation"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_checkpoints", [2, 3, 4])
def test_short_sequences_of_any_metric_have_trends(metric, method, num_checkpoints):
    series = walk_spans(np.random.default_rng(0).normal(size=(5, num_checkpoints, 20)))
    trends = find_trends(series, TrendOptions(metric, method))
    assert len(trends.labels) == 5
    assert trends.headline
    json.dumps(to_json(trends), allow_nan=False)
