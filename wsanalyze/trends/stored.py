"""Trends as JSON values, to be stored beside their series. NumPy only: reading them takes no scikit-learn."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import TrendsError
from wsanalyze.metrics import METRICS, FloatArray
from wsanalyze.series import ChangeSeries, Event
from wsanalyze.spans import Changes
from wsanalyze.trends.base import Cluster, DepthProfile, KindQuality, Phase, Quality, TrendOptions, Trends, Window

METHOD_VERSION: Final = 10
"""Raised whenever a method, the words or the events change, so that stored trends are found anew."""


def trends_key(series: ChangeSeries, options: TrendOptions) -> str:
    """Hash of everything that trends depend on: the same key means the same trends.

    Args:
        series: The series as stored, not grouped.
        options: How trends are found.

    Returns:
        64 hexadecimal digits.
    """
    about = {
        "version": METHOD_VERSION,
        "options": asdict(options),
        "rows": [asdict(row) for row in series.rows],
        "checkpoints": [(record.step, record.label) for record in series.checkpoints],
        "pairs": series.pairs,
        "states": [state and str(state) for state in series.states.ravel().tolist()],
        "given": sorted(series.given),
        "misplaced": [(event.checkpoint, event.evidence) for event in series.events if event.kind == "impostor"],
        "log": sorted(series.log.values),
    }
    spans = _find_spans(series, options)
    if spans:
        about["spans"] = [[state and str(state) for state in span.states.ravel().tolist()] for span in spans]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for array in (
        series.sums.values,
        *(span.sums.values for span in spans),
        *_find_norms(series, options),
        series.log.until,
        *(series.log.values[name] for name in sorted(series.log.values)),
        *(series.given[name] for name in sorted(series.given)),
    ):
        # NaN has many bit patterns and 0 two; both mean one thing here.
        plain = np.where(np.isnan(array), np.nan, array) + 0.0
        digest.update(json.dumps(plain.shape).encode())
        digest.update(np.ascontiguousarray(plain, dtype="<f8").tobytes())
    return digest.hexdigest()


def _find_spans(series: ChangeSeries, options: TrendOptions) -> tuple[Changes, ...]:
    """The span that a metric needs beside successive changes, if it does and it is there."""
    metric = METRICS.get(options.metric)
    found = series.spans.get(metric.span) if metric and metric.span else None
    return () if found is None else (found,)


def _find_norms(series: ChangeSeries, options: TrendOptions) -> tuple[FloatArray, ...]:
    """The spectral norms, if the metric needs them and they are there."""
    metric = METRICS.get(options.metric)
    return (series.norms,) if metric and metric.norms and series.norms is not None else ()


def to_json(trends: Trends) -> dict[str, Any]:
    """Trends as JSON values, without their series.

    Returns:
        A dict that `json.dumps(..., allow_nan=False)` takes; NaN is null.
    """
    return {
        "options": asdict(trends.options),
        "points": {"shape": list(trends.points.shape), "values": _plain(trends.points)},
        "explained": _plain(trends.explained),
        "labels": trends.labels.tolist(),
        "confidence": _plain(trends.confidence),
        "outliers": trends.outliers.tolist(),
        "clusters": [asdict(cluster) for cluster in trends.clusters],
        "quality": asdict(trends.quality),
        "touched": {kind: [list(cell) for cell in cells] for kind, cells in trends.touched.items()},
        "events": [asdict(event) for event in trends.events],
        "headline": list(trends.headline),
        "notes": list(trends.notes),
        "kinds": [asdict(part) for part in trends.kinds],
        "depth": trends.depth and _plain_depth(trends.depth),
        "phases": [asdict(phase) for phase in trends.phases],
        "windows": [
            {
                "first": window.first,
                "last": window.last,
                "labels": window.labels.tolist(),
                "moved": list(window.moved),
                "text": window.text,
            }
            for window in trends.windows
        ],
    }


def from_json(data: Mapping[str, Any], series: ChangeSeries) -> Trends:
    """Trends as they were stored.

    Args:
        data: What `to_json` returned, perhaps by way of JSON text.
        series: The series as stored, not grouped; it is grouped again as the options say.

    Returns:
        The same trends, to the last bit.

    Raises:
        TrendsError: If the data is no such dict, or does not belong to the series.
    """
    try:
        options = TrendOptions(**data["options"])
        grouped = series if options.group is None else series.grouped(options.group)
        trends = Trends(
            series=grouped,
            options=options,
            points=_array(data["points"]["values"]).reshape(data["points"]["shape"]),
            explained=_array(data["explained"]),
            labels=np.array(data["labels"], dtype=np.int64),
            confidence=_array(data["confidence"]),
            outliers=np.array(data["outliers"], dtype=np.bool_),
            clusters=tuple(_make_cluster(cluster) for cluster in data["clusters"]),
            quality=Quality(**data["quality"]),
            touched={kind: tuple((row, change) for row, change in cells) for kind, cells in data["touched"].items()},
            events=tuple(Event(**event) for event in data["events"]),
            headline=tuple(data["headline"]),
            notes=tuple(data["notes"]),
            kinds=tuple(KindQuality(part["kind"], part["size"], Quality(**part["quality"])) for part in data["kinds"]),
            depth=data["depth"] and _make_depth(data["depth"]),
            phases=tuple(Phase(**phase) for phase in data["phases"]),
            windows=tuple(_make_window(window) for window in data["windows"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrendsError("the stored trends cannot be read: find them again") from error
    inside = range(len(grouped.rows))
    if not all(member in inside for cluster in trends.clusters for member in cluster.members):
        raise TrendsError("the stored trends name layers that there are not: find them again")
    if len(trends.labels) != len(grouped.rows):
        raise TrendsError(
            f"the stored trends are of {len(trends.labels)} layers, not of these {len(grouped.rows)}: find them again"
        )
    return trends


def _plain(array: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in array.ravel().tolist()]


def _array(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _make_cluster(data: Mapping[str, Any]) -> Cluster:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Cluster(**values)


def _plain_depth(profile: DepthProfile) -> dict[str, Any]:
    return {
        "depths": list(profile.depths),
        "values": _plain(profile.values),
        "centre": _plain(profile.centre),
        "text": profile.text,
    }


def _make_depth(data: Mapping[str, Any]) -> DepthProfile:
    values = _array(data["values"]).reshape(len(data["depths"]), len(data["centre"]))
    return DepthProfile(tuple(data["depths"]), values, _array(data["centre"]), data["text"])


def _make_window(data: Mapping[str, Any]) -> Window:
    labels = np.array(data["labels"], dtype=np.int64)
    return Window(data["first"], data["last"], labels, tuple(data["moved"]), data["text"])
