"""How the metric lies over the depth of the network. NumPy only."""

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import DepthProfile, TrendOptions
from wsanalyze.trends.cluster import FloatArray


def find_depth_profile(series: ChangeSeries, values: FloatArray, options: TrendOptions) -> DepthProfile | None:
    return None
