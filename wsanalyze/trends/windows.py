"""Trends within sliding windows, and how rows move between them."""

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Method, Partition, TrendOptions, Window


def find_windows(
    series: ChangeSeries, partition: Partition, options: TrendOptions, method: Method
) -> tuple[Window, ...]:
    return ()
