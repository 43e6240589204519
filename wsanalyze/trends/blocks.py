"""Tables taken in blocks of rows, which stay in the processor's cache: what is made of them takes no new memory."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray, LabelArray

_CELLS: Final = 1 << 17
"""A megabyte of float64."""


def cut_blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Cut a table in blocks of about 130,000 cells, the rows of each whole.

    Args:
        num_rows: Number of rows, which may be 0.
        num_columns: Number of columns, likewise.

    Yields:
        Slices of rows, in order, that together are all.
    """
    size = max(1, _CELLS // max(1, num_columns))
    for first in range(0, num_rows, size):
        yield slice(first, min(first + size, num_rows))


def find_medians(values: FloatArray) -> FloatArray:
    """Median of each row over what is not NaN: as `numpy.nanmedian`, in a fifth of the time.

    Args:
        values: float64 of shape (n, P).

    Returns:
        float64 of shape (n,); NaN for a row without any number. Two numbers in the middle do not overflow.
    """
    medians = np.full(len(values), np.nan)
    last = values.shape[1] - 1
    if last < 0:
        return medians
    for block in cut_blocks(*values.shape):
        ascending = np.sort(values[block], axis=1)  # NaN comes last
        numbers = np.count_nonzero(~np.isnan(ascending), axis=1)
        rows = np.arange(len(ascending))
        low, high = ascending[rows, np.maximum(numbers - 1, 0) // 2], ascending[rows, np.minimum(numbers // 2, last)]
        with np.errstate(over="ignore"):
            middle = (low + high) / 2
        medians[block] = np.where(np.isinf(middle), low / 2 + high / 2, middle)
    return medians


def order_rows(values: FloatArray, labels: LabelArray | None = None) -> LabelArray:
    """Order rows by their first column, where that is equal by their second, and so on; NaN comes last.

    The same as `numpy.lexsort` of all columns, which looks at columns in vain where few rows are equal in the first.

    Args:
        values: float64 of shape (n, P).
        labels: int64 of shape (n,): what comes before the first column, or None.

    Returns:
        int64 of shape (n,): indices of rows. Equal rows stay in their order.
    """
    order = np.arange(len(values))
    groups = np.zeros(len(values), dtype=np.int64) if labels is None else labels
    tied = np.arange(len(values))  # places in the order at which rows are equal so far, by group
    if labels is not None:
        order = np.argsort(labels, kind="stable")
        groups = labels[order]
    for column in values.T:
        if not len(tied):
            break
        rows, their = order[tied], groups[tied]
        inner = np.lexsort((column[rows], their))
        order[tied] = rows = rows[inner]
        numbers = column[rows]
        new = np.ones(len(rows), dtype=np.bool_)
        alike = (numbers[1:] == numbers[:-1]) | (np.isnan(numbers[1:]) & np.isnan(numbers[:-1]))
        new[1:] = ~alike | (their[1:] != their[:-1])
        groups[tied] = np.cumsum(new)
        alone = new & np.append(new[1:], True)
        tied = tied[~alone]
    return order
