"""Parts of the training: change points that many rows share."""

from wsanalyze.series import ChangeSeries, Event
from wsanalyze.trends.base import Phase, TrendOptions
from wsanalyze.trends.cluster import FloatArray


def find_phases(
    series: ChangeSeries, values: FloatArray, options: TrendOptions
) -> tuple[tuple[Phase, ...], tuple[Event, ...]]:
    return (), ()
