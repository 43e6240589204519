"""report.json: everything that was found, for programs."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import METRICS
from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.series import ChangeSeries, CheckpointRecord, Event, State
from wsanalyze.trends.base import Cluster, Quality, Trends

FORMAT_VERSION: Final = 1
"""Raised by any change that is not additive."""

_MAX_LOG_ENTRIES: Final = 20_000
TOUCHED_KINDS: Final = ("spike", "gap")
"""Kinds of touched cells that every report names, be there any or not."""


class JsonReporter:
    r"""Writes the trends as JSON, format 1.

    The objects of the top level, in this order: `format`, `wsanalyze` (the version), `source`, `command`, `metric`,
    `method`, `seed`, `checkpoints`, `changes` (pairs of indices into `checkpoints`), `layers`, `clusters`, `quality`,
    `skipped`, `touched`, `events`; then `options`, `headline`, `notes`, `explained` and `provenance`.

    Numbers are written so that they read back as the same float64. `change` of a layer has one value an entry of
    `changes`: null where there is no number, and then `states` says why; 0.0 and the state "unchanged" where the
    weights are the same. `absolute` is the change not divided by anything, where the state is "from zero". There are
    no NaN or Infinity tokens. The text is ASCII, so that control codes and foreign letters are escapes, and a lone
    surrogate, which no UTF-8 can carry, is the six characters `\udc80`. The same trends give the same bytes.

    Args:
        version: Version of wsanalyze.

    References:
        docs/cli.md, "report.json, format 1".
    """

    suffix: ClassVar[str] = ".json"

    def __init__(self, *, version: str) -> None:
        self._version = version

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `Reporter.write`."""
        write_text(_dump_document(build_document(trends, self._version)), destination)


def build_document(trends: Trends, version: str) -> dict[str, Any]:
    """Trends as JSON values, in the order of the format.

    Args:
        trends: What to report.
        version: Version of wsanalyze.

    Returns:
        dicts, lists, strings, finite numbers and None only.
    """
    series, options = trends.series, trends.options
    document = {
        "format": FORMAT_VERSION,
        "wsanalyze": version,
        "source": series.provenance.source,
        "command": series.provenance.command,
        "metric": options.metric,
        "method": options.method,
        "seed": options.seed,
        "checkpoints": [_checkpoint(record) for record in series.checkpoints],
        "changes": [{"from": before, "to": after} for before, after in series.pairs],
        "layers": _layers(trends),
        "clusters": [_cluster(cluster) for cluster in trends.clusters],
        "quality": _quality(trends.quality),
        "skipped": [{"name": skip.name, "reason": skip.reason} for skip in series.skips],
        "touched": {kind: trends.touched.get(kind, ()) for kind in (*TOUCHED_KINDS, *trends.touched)},
        "events": [_event(event) for event in trends.all_events],
        "options": {"clusters": options.clusters, "features": options.features, "group": options.group},
        "headline": trends.headline,
        "notes": trends.notes,
        "explained": trends.explained,
        "provenance": {
            "weights": series.provenance.weights,
            "params": series.provenance.params,
            "notes": series.provenance.notes,
        },
        "log": _log(series),
    }
    metric = METRICS.get(options.metric)
    if metric is not None and metric.norms and series.norms is not None:
        document["relative_error"] = 2 * float(np.nanmax(series.norms[..., 2]))  # of two norms, or of one squared
    return {key: _to_json(value) for key, value in document.items()}


def _checkpoint(record: CheckpointRecord) -> dict[str, Any]:
    return {
        "step": record.step,
        "label": record.label,
        "origin": record.origin,
        "status": record.status,
        "reason": record.reason,
        "format": record.format,
        "nbytes": record.nbytes,
    }


def _layers(trends: Trends) -> list[dict[str, Any]]:
    series = trends.series
    states = series.metric_states(trends.options.metric)
    absolute = np.where(states == State.FROM_ZERO, series.absolute(trends.options.metric), np.nan)
    values = trends.values
    return [
        {
            "name": row.name,
            "module": row.module,
            "kind": str(row.kind),
            "depth": row.depth,
            "shape": row.shape,
            "numel": row.numel,
            "cluster": trends.labels[index],
            "confidence": trends.confidence[index],
            "outlier": trends.outliers[index],
            "change": values[index],
            "states": [None if state is None else str(state) for state in states[index]],
            "absolute": absolute[index],
            "block": row.block,
            "points": trends.points[index],
        }
        for index, row in enumerate(series.rows)
    ]


def _cluster(cluster: Cluster) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "size": cluster.size,
        "summary": cluster.summary,
        "median": cluster.median,
        "low": cluster.low,
        "high": cluster.high,
    }


def _quality(quality: Quality) -> dict[str, Any]:
    return {
        "k": quality.k,
        "structure": quality.structure,
        "silhouette": quality.silhouette,
        "stability": quality.stability,
        "text": quality.text,
    }


def _log(series: ChangeSeries) -> dict[str, Any] | None:
    log = series.log
    if not len(log):
        return None
    num_checkpoints = len(series.checkpoints)
    thinned = log.thinned(_MAX_LOG_ENTRIES)
    return {
        "steps": thinned.steps,
        "until": thinned.until,
        **thinned.values,
        "checkpoints": {name: log.at_checkpoints(name, num_checkpoints) for name in log.values},
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "layer": event.layer,
        "checkpoint": event.checkpoint,
        "text": event.text,
        "evidence": event.evidence,
    }


def _to_json(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Plain JSON values: no NumPy types, no number that is not finite, no lone surrogate."""
    if isinstance(value, np.ndarray):
        return _array_to_json(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_to_json(str(key)): _to_json(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_to_json(item) for item in value]
    return value


def _array_to_json(values: NDArray[Any]) -> list[Any]:
    if values.ndim == 1 and values.dtype == np.float64 and np.isfinite(values).all():
        return list(values.tolist())
    return [_to_json(value) for value in values]


def _dump_document(document: Mapping[str, Any]) -> str:
    """One line a key and one a list entry that is an object: versions compare well, and a person can find a layer."""
    lines = []
    for key, value in document.items():
        if value and isinstance(value, list) and isinstance(value[0], dict):
            lines.append(f"{json.dumps(key)}: [\n  " + ",\n  ".join(map(_dump, value)) + "\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {_dump(value)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
