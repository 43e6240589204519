"""What the plots of the page and the figures share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.reports.plotted import bound_groups, condense_depths, metric_words, order_layers
from wsanalyze.trends.base import DepthProfile


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
