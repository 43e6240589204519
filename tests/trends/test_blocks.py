"""Tables in blocks of rows: all rows once, and the same medians and order as NumPy's own."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.trends.blocks import cut_blocks, find_medians, order_rows

_NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, 1e300, np.nan])
_TABLES = arrays(np.float64, st.tuples(st.integers(0, 12), st.integers(1, 6)), elements=_NUMBERS)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1_000_000), (1000, 300), (999, 137)])
def test_blocks_are_all_rows_in_order(shape):
    rows = np.arange(shape[0])
    blocks = list(cut_blocks(*shape))
    assert np.concatenate([rows[:0], *(rows[block] for block in blocks)]).tolist() == rows.tolist()
    assert all(block.stop - block.start == 1 or (block.stop - block.start) * shape[1] <= 1 << 17 for block in blocks)


@given(_TABLES)
def test_medians_are_those_of_numpy(values):
    with warnings.catch_warnings(action="ignore"):  # of rows without any number
        expected = np.nanmedian(values, axis=1)
    np.testing.assert_array_equal(find_medians(values), expected)


def test_medians_of_several_blocks_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=(1000, 301))
    np.testing.assert_array_equal(find_medians(values), np.median(values, axis=1))


def test_a_median_of_two_numbers_does_not_overflow():
    assert find_medians(np.array([[1.6e308, 1.7e308]]))[0] == pytest.approx(1.65e308)
    assert np.isnan(find_medians(np.zeros((2, 0)))).all()


@given(_TABLES, st.data())
def test_rows_are_ordered_as_by_all_columns(values, data):
    labels = data.draw(arrays(np.int64, len(values), elements=st.integers(-1, 2)))
    assert order_rows(values).tolist() == np.lexsort(values.T[::-1]).tolist()
    assert order_rows(values, labels).tolist() == np.lexsort((*values.T[::-1], labels)).tolist()
