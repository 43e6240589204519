"""What reports call trends where there is one change, or none."""

import dataclasses
import io

import numpy as np
import pytest

from wsanalyze.reports.html_page import describe_page
from wsanalyze.reports.markdown import MarkdownReporter
from wsanalyze.reports.summary import pick_layers
from wsanalyze.reports.terminal import TerminalReporter
from wsanalyze.reports.trend_names import count_trends, has_curve, is_still, name_trend


@pytest.fixture
def one_change(make_trends):
    """Three clusters over one change, as they are described."""
    trends = make_trends(12, 1)
    return dataclasses.replace(
        trends, clusters=tuple(dataclasses.replace(cluster, summary="one change only") for cluster in trends.clusters)
    )


@pytest.fixture
def still(trends):
    """All in one cluster, of which nothing changed."""
    zeros = np.zeros(trends.values.shape)
    level = tuple(zeros[0].tolist())
    cluster = dataclasses.replace(
        trends.clusters[0],
        members=tuple(range(len(zeros))),
        summary="unchanged",
        low=level,
        median=level,
        high=level,
    )
    return dataclasses.replace(
        trends,
        series=dataclasses.replace(trends.series, given={"rwc": zeros}),
        labels=np.zeros(len(zeros), dtype=np.int64),
        outliers=np.zeros(len(zeros), dtype=bool),
        clusters=(cluster,),
        depth=None,
    )


def written(reporter, trends):
    stream = io.StringIO()
    reporter.write(trends, stream)
    return stream.getvalue()


def test_clusters_of_one_change_are_told_apart_by_their_level_everywhere(one_change):
    names = [name_trend(cluster) for cluster in one_change.clusters]
    assert len(set(names)) == 3
    for name, cluster in zip(names, one_change.clusters, strict=True):
        assert float(name.removeprefix("near ")) == pytest.approx(cluster.median[0], rel=0.06)
    assert count_trends(one_change) == (3, "level")
    page = describe_page(one_change)
    assert [line.summary for line in page.clusters] == names
    assert ("3", "levels") in [(fact.value, fact.name) for fact in page.facts]
    for reporter in (TerminalReporter(version="1", width=100), MarkdownReporter(version="1")):
        text = written(reporter, one_change)
        assert "one change only" not in text
        assert all(name in text for name in names)


def test_clusters_of_several_changes_keep_their_trend(trends):
    assert [name_trend(cluster) for cluster in trends.clusters] == [cluster.summary for cluster in trends.clusters]
    assert count_trends(trends) == (3, "trend")
    assert not is_still(trends)
    assert all(has_curve(cluster, trends.values, linear=False) for cluster in trends.clusters)


def test_where_nothing_changed_there_is_no_trend_and_no_layer_stands_out(still):
    assert is_still(still)
    assert count_trends(still) == (0, "trend")
    assert ("0", "trends") in [(fact.value, fact.name) for fact in describe_page(still).facts]
    assert pick_layers(still) == []
    assert "stand out" not in written(TerminalReporter(version="1", width=80), still)
    assert not has_curve(still.clusters[0], still.values, linear=False)
    assert has_curve(still.clusters[0], still.values, linear=True)
