"""Rows of each kind clustered by themselves: the same as each kind alone, put together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trends.test_find import DEGENERATE
from wsanalyze.series import Kind
from wsanalyze.trends.base import KindQuality, Quality, TrendOptions
from wsanalyze.trends.by_kind import cluster_by_kind, sum_up_quality
from wsanalyze.trends.find import METHODS, find_trends
from wsanalyze.trends.stored import from_json, to_json

NAN = np.nan
KINDS = (Kind.CONV, Kind.DEPTHWISE, Kind.HEAD)


def with_kinds(series, kinds):
    return replace(series, rows=tuple(replace(row, kind=kind) for row, kind in zip(series.rows, kinds, strict=True)))


def same_groups(one, two):
    return (np.equal.outer(one, one) == np.equal.outer(two, two)).all() and ((one < 0) == (two < 0)).all()


@pytest.fixture
def mixed(make_series, plant):
    """Three kinds in turns, two of them with two trends, and one row of a kind of its own."""
    values, answer = plant(groups=2, size=20, noise=0.02)
    kinds = [KINDS[index % 2] for index in range(len(values) - 1)] + [Kind.HEAD]
    values[3, 4:6] = NAN
    values[7, 9] *= 50
    return with_kinds(make_series(values), kinds), answer


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("clusters", [None, 1, 2, 3])
def test_each_kind_is_clustered_as_if_it_were_alone(mixed, method, clusters):
    series, _ = mixed
    options = TrendOptions(method=method, clusters=clusters, by_kind=True)
    trends = find_trends(series, options)
    kinds = np.array([row.kind for row in series.rows])
    touched = {name: set() for name in trends.touched}
    for kind in KINDS:
        rows = np.flatnonzero(kinds == kind)
        alone = METHODS[method](series.select_rows(rows), options)
        if len(rows) > 2:
            assert same_groups(trends.labels[rows], alone.labels)
            np.testing.assert_array_equal(trends.points[rows, : alone.points.shape[1]], alone.points)
            np.testing.assert_array_equal(trends.confidence[rows], alone.confidence)
            np.testing.assert_array_equal(trends.outliers[rows], alone.outliers)
        for name, cells in alone.touched.items():
            touched[name] |= {(int(rows[row]), change) for row, change in cells}
    assert {name: set(cells) for name, cells in trends.touched.items()} == touched
    assert touched["gap"] >= {(3, 4), (3, 5)}


def test_no_cluster_has_rows_of_two_kinds_and_each_says_its_own(mixed):
    series, _ = mixed
    trends = find_trends(series, TrendOptions(by_kind=True))
    for cluster in trends.clusters:
        assert {str(series.rows[row].kind) for row in cluster.members} == {cluster.kind}
    assert [cluster.kind for cluster in find_trends(series).clusters] == [None] * len(find_trends(series).clusters)
    assert [(part.kind, part.size) for part in trends.kinds] == [("conv", 20), ("depthwise", 19), ("head", 1)]
    assert [part.quality.k for part in trends.kinds] == [2, 2, 1]


def test_planted_trends_are_found_in_each_kind(mixed):
    series, answer = mixed
    trends = find_trends(series, TrendOptions(by_kind=True))
    kinds = np.array([row.kind for row in series.rows])
    for kind in KINDS[:2]:
        inside = (kinds == kind) & (trends.labels >= 0)
        assert inside.sum() >= 18
        assert same_groups(trends.labels[inside], answer[inside])


def test_clusters_are_numbered_by_kind_in_the_order_of_the_network_and_then_by_level(mixed):
    series, _ = mixed
    series = replace(series, rows=tuple(replace(row, depth=100 - row.depth) for row in series.rows))
    trends = find_trends(series, TrendOptions(by_kind=True, clusters=3))
    order = list(dict.fromkeys(cluster.kind for cluster in trends.clusters))
    assert order == ["head", "conv" if series.rows[38].kind == "conv" else "depthwise", *order[2:]]
    for kind in order:
        levels = [
            np.median([np.nanmedian(trends.values[row]) for row in cluster.members])
            for cluster in trends.clusters
            if cluster.kind == kind
        ]
        assert levels == sorted(levels, reverse=True)
    kinds = [cluster.kind for cluster in trends.clusters]
    assert kinds == sorted(kinds, key=order.index)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_decides_nothing(make_series, plant, seed):
    values, _ = plant(noise=0.1)
    random = np.random.default_rng(seed)
    kinds = [KINDS[index] for index in random.integers(0, 3, len(values))]
    series = with_kinds(make_series(values), kinds)
    order = random.permutation(len(values))
    one = find_trends(series, TrendOptions(by_kind=True))
    two = find_trends(series.select_rows(order), TrendOptions(by_kind=True))
    np.testing.assert_array_equal(one.labels[order], two.labels)
    assert one.quality == two.quality


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_gives_an_answer_without_a_warning(make_series, method, case):
    series = make_series(DEGENERATE[case])
    series = with_kinds(series, [KINDS[index % 2] for index in range(len(series.rows))])
    trends = find_trends(series, TrendOptions(method=method, by_kind=True))
    assert sum(part.size for part in trends.kinds) == len(series.rows)
    assert len(trends.clusters) == trends.quality.k == sum(part.quality.k for part in trends.kinds)
    assert trends.points.shape == (len(series.rows), len(trends.explained))
    assert np.isfinite(trends.explained).all()
    assert trends.explained.sum() <= 1 + 1e-9
    assert trends.quality.text.endswith(".")


def test_one_or_two_rows_are_one_cluster_and_the_text_says_why(make_series):
    values = [[0.1, 0.2, 0.4, 0.8, 0.9], [0.8, 0.4, 0.2, 0.1, 0.05], [0.1, 0.1, 0.1, 0.1, 0.1]]
    series = with_kinds(make_series(values), [Kind.CONV, Kind.CONV, Kind.HEAD])
    trends = find_trends(series, TrendOptions(by_kind=True))
    assert trends.labels.tolist() == [0, 0, 1]
    assert not trends.outliers.any()
    assert [part.quality.text for part in trends.kinds] == [
        "2 layers are too few to tell trends apart.",
        "There is one layer only.",
    ]
    assert not trends.quality.structure
    asked = find_trends(series, TrendOptions(by_kind=True, clusters=2))
    assert asked.labels.tolist() == [0, 1, 2]
    assert "2 clusters were asked for, and head has fewer." in asked.notes


def test_the_paper_drops_the_ends_of_a_network_but_not_those_of_each_kind(mixed):
    series, _ = mixed
    assert (find_trends(series, TrendOptions(method="paper", by_kind=True)).labels >= 0).all()
    dropped = find_trends(series, TrendOptions(method="paper")).labels[[0, -1]]
    assert dropped.tolist() == [-1, -1]


def test_notes_are_one_a_kind_and_what_all_share_is_said_once(make_series):
    values = np.random.default_rng(0).uniform(0.1, 0.2, (60, 1))
    series = with_kinds(make_series(values), [list(Kind)[index % 12] for index in range(60)])
    notes = find_trends(series, TrendOptions(by_kind=True)).notes
    assert notes.count("A single change has no shape, so levels were compared.") == 1
    assert sum("rincipal component" in note for note in notes) == 1
    assert all(note.partition(":")[0].split(" and ")[0].split(", ")[0] in list(Kind) for note in notes if ":" in note)


def test_components_of_all_kinds_are_one_note(mixed):
    series, _ = mixed
    notes = find_trends(series, TrendOptions(by_kind=True)).notes
    (signals,) = (note for note in notes if "rincipal component" in note)
    assert signals.startswith("Principal components that stood out from the noise: ")
    assert all(signals.count(f"{row.kind}") for row in series.rows)


def test_features_that_differ_in_width_end_in_nan(mixed):
    series, _ = mixed

    def method(part, options):
        found = METHODS["robust"](part, options)
        width = len(part.rows)
        return replace(found, points=np.ones((width, width)), explained=np.full(width, 1 / width))

    partition, _ = cluster_by_kind(series, series.metric(), TrendOptions(), method)
    widths = np.isfinite(partition.points).sum(axis=1)
    assert widths.tolist() == [{"conv": 20, "depthwise": 19, "head": 1}[row.kind] for row in series.rows]
    assert partition.explained.shape == (20,)
    assert partition.explained.sum() == pytest.approx(1)
    assert partition.p_value is None


def quality(k, silhouette=None, stability=None):
    return Quality(k, k > 1, silhouette, stability, f"text of {k}.")


def test_quality_is_summed_up_by_the_numbers_of_rows():
    kinds = (
        KindQuality("conv", 30, quality(3, 0.5, 0.9)),
        KindQuality("head", 1, quality(1)),
        KindQuality("linear", 10, quality(2, 0.1, 0.7)),
        KindQuality("embedding", 2, quality(2)),
    )
    found = sum_up_quality(kinds, TrendOptions(by_kind=True))
    assert (found.k, found.structure, found.p_value) == (8, True, None)
    assert found.silhouette == pytest.approx(0.4)
    assert found.stability == pytest.approx(0.85)
    assert found.text == (
        "Of 4 kinds, conv has 3 trends, linear 2, embedding 2 and 1 has one "
        "(in the mean, silhouette 0.40 and adjusted Rand index 0.85)."
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), "No block could be clustered."),
        (((4, 0),), "No block could be clustered."),
        (((4, 1),), "text of 1."),
        (((4, 1), (2, 1)), "One trend in each of 2 kinds."),
        (((2, 2),), "text of 2."),
    ],
)
def test_quality_of_few_kinds(parts, text):
    kinds = tuple(KindQuality(str(KINDS[i]), size, quality(k)) for i, (size, k) in enumerate(parts))
    found = sum_up_quality(kinds, TrendOptions(group="block", by_kind=True))
    assert found.text == text
    assert found.silhouette is found.stability is None


def test_trends_by_kind_are_stored(mixed):
    series, _ = mixed
    trends = find_trends(series, TrendOptions(by_kind=True))
    again = from_json(to_json(trends), series)
    assert again.kinds == trends.kinds
    assert again.clusters == trends.clusters
    assert again.quality == trends.quality
    np.testing.assert_array_equal(again.points, trends.points)
