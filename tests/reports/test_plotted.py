"""What the plots of the page and the figures share."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.reports.plotted import bound_groups, condense_depths, metric_words, order_layers, pick_map, place_points
from wsanalyze.trends.base import DepthProfile, KindQuality


def test_orders_are_permutations_and_keep_groups_together(trends):
    orders = order_layers(trends)
    assert all(sorted(order) == list(range(40)) for order in orders.values())
    assert orders["depth"] == list(range(40))
    labels = [int(trends.labels[i]) for i in orders["cluster"]]
    assert labels == sorted(labels, key=lambda label: (label < 0, label))
    kinds = [str(trends.series.rows[i].kind) for i in orders["kind"]]
    assert kinds == sorted(kinds)


def test_a_metric_of_a_table_goes_by_its_name():
    assert metric_words("rwc") == ("relative weight change", "ratio")
    assert metric_words("their\nmetric")[0] == r"their\nmetric"


def test_rounding_is_no_place_on_the_map(trends):
    points = trends.points.copy()
    points[:3] = [[1.0, 3e-16], [2e-17, -1e-3], [np.nan, np.nan]]
    placed = place_points(dataclasses.replace(trends, points=points))
    np.testing.assert_array_equal(placed[:3], [[1.0, 0.0], [0.0, -1e-3], [np.nan, np.nan]])
    np.testing.assert_array_equal(placed[3:], points[3:])


def test_a_kind_whose_second_component_is_rounding_has_none(kind_trends):
    rows = np.array([row.kind == "linear" for row in kind_trends.series.rows])
    points = kind_trends.points.copy()
    points[rows, 1] *= 1e-17
    placed = place_points(dataclasses.replace(kind_trends, points=points))
    assert np.isnan(placed[rows, 1]).all()
    np.testing.assert_array_equal(placed[rows, 0], points[rows, 0])
    np.testing.assert_array_equal(placed[~rows], points[~rows])
    together = place_points(dataclasses.replace(kind_trends, points=points, kinds=()))
    assert (together[rows & np.isfinite(points[:, 1]), 1] == 0).all()


def test_the_map_opens_on_the_kind_with_most_rows(trends, kind_trends):
    first, *others = kind_trends.kinds
    largest = KindQuality("largest", 1 + max(part.size for part in kind_trends.kinds), first.quality)
    assert pick_map(dataclasses.replace(kind_trends, kinds=(first, largest, *others))) == 1
    assert pick_map(trends) == 0


@given(st.integers(0, 2000), st.integers(1, 400))
def test_groups_are_few_as_large_as_each_other_and_leave_nothing_out(count, most):
    groups = bound_groups(count, most)
    assert len(groups) <= most
    assert [place for start, end in groups for place in range(start, end)] == list(range(count))
    assert len({end - start for start, end in groups[:-1]}) <= 1


@pytest.mark.parametrize(("most", "bounds"), [(9, [(0, 0), (2, 2), (3, 3), (7, 7), (8, 8)]), (2, [(0, 3), (7, 8)])])
def test_neighbouring_depths_are_one_group_with_the_median_of_those_that_have_a_number(most, bounds):
    values = np.array([[1.0, np.nan], [9.0, np.nan], [3.0, np.nan], [np.nan, 5.0], [7.0, 6.0]])
    profile = DepthProfile((0, 2, 3, 7, 8), values, np.zeros(2), "")
    groups, condensed = condense_depths(profile, most)
    assert groups == bounds
    np.testing.assert_array_equal(condensed, values if most == 9 else [[3.0, np.nan], [7.0, 5.5]])
