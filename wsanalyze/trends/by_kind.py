"""Rows of each kind clustered by themselves."""

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import KindQuality, Method, Partition, TrendOptions
from wsanalyze.trends.cluster import FloatArray


def cluster_by_kind(
    series: ChangeSeries, values: FloatArray, options: TrendOptions, method: Method
) -> tuple[Partition, tuple[KindQuality, ...]]:
    raise NotImplementedError
