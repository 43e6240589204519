"""What else than learning may explain what the curves show."""

from wsanalyze.series import ChangeSeries, Event
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.cluster import FloatArray


def find_confounders(series: ChangeSeries, values: FloatArray, options: TrendOptions) -> tuple[Event, ...]:
    return ()
