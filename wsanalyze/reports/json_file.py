"""report.json: everything that was found, for programs."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import numpy as np

from wsanalyze.metrics import METRICS
from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.json_text import dump_document, plain_json
from wsanalyze.series import ChangeSeries, CheckpointRecord, Event, State
from wsanalyze.trends.base import Cluster, DepthProfile, KindQuality, Phase, Quality, Trends, Window

FORMAT_VERSION: Final = 1
"""Raised by any change that is not additive."""

_MAX_LOG_ENTRIES: Final = 20_000
TOUCHED_KINDS: Final = ("spike", "gap")
"""Kinds of touched cells that every report names, be there any or not."""


class JsonReporter:
    r"""Writes the trends as JSON, format 1.

    The objects of the top level, in this order: `format`, `wsanalyze` (the version), `source`, `command`, `metric`,
    `method`, `seed`, `checkpoints`, `changes` (pairs of indices into `checkpoints`), `layers`, `clusters`, `quality`,
    `skipped`, `touched`, `events`; then `options`, `headline`, `notes`, `explained`, `provenance`, `log`, `kinds`,
    `depth`, `phases` and `windows`.

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
        write_text(dump_document(list_document(trends, self._version)), destination)


def list_document(trends: Trends, version: str) -> Iterator[tuple[str, Any]]:
    """Trends as keys and JSON values, in the order of the format.

    Args:
        trends: What to report.
        version: Version of wsanalyze.

    Yields:
        Keys and dicts, lists, strings, finite numbers and None only; of the layers, an iterator of dicts.
    """
    series, options = trends.series, trends.options
    document: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "wsanalyze": version,
        "source": series.provenance.source,
        "command": series.provenance.command,
        "metric": options.metric,
        "method": options.method,
        "seed": options.seed,
        "checkpoints": [_checkpoint(record) for record in series.checkpoints],
        "changes": [{"from": before, "to": after} for before, after in series.pairs],
        "layers": None,
        "clusters": [_cluster(cluster) for cluster in trends.clusters],
        "quality": _quality(trends.quality),
        "skipped": [{"name": skip.name, "reason": skip.reason} for skip in series.skips],
        "touched": {kind: trends.touched.get(kind, ()) for kind in (*TOUCHED_KINDS, *trends.touched)},
        "events": [_event(event) for event in trends.all_events],
        "options": {
            "clusters": options.clusters,
            "features": options.features,
            "group": options.group,
            "by_kind": options.by_kind,
            "window": options.window,
        },
        "headline": trends.headline,
        "notes": trends.notes,
        "explained": trends.explained,
        "provenance": {
            "weights": series.provenance.weights,
            "params": series.provenance.params,
            "notes": series.provenance.notes,
            "versions": dict(series.provenance.versions),
        },
        "log": _log(series),
        "kinds": [_kind(part) for part in trends.kinds],
        "depth": None if trends.depth is None else _depth(trends.depth),
        "phases": [_phase(phase) for phase in trends.phases],
        "windows": [_window(window) for window in trends.windows],
    }
    metric = METRICS.get(options.metric)
    if metric is not None and metric.norms and series.norms is not None:
        document["relative_error"] = 2 * float(np.nanmax(series.norms[..., 2]))  # of two norms, or of one squared
    for key, value in document.items():
        yield key, _layers(trends) if key == "layers" else plain_json(value)


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


def _layers(trends: Trends) -> Iterator[dict[str, Any]]:
    series = trends.series
    states = trends.states
    from_zero = states == State.FROM_ZERO
    absolute = series.absolute(trends.options.metric) if from_zero.any() else None
    nothing = [None] * states.shape[1]
    values = trends.values
    for index, row in enumerate(series.rows):
        start = {
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
        }
        end = {"block": row.block, "points": trends.points[index]}
        there = nothing if absolute is None else plain_json(np.where(from_zero[index], absolute[index], np.nan))
        # States are text and None already: looking at each again would take most of the time.
        yield {**plain_json(start), "states": states[index].tolist(), "absolute": there, **plain_json(end)}


def _cluster(cluster: Cluster) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "size": cluster.size,
        "summary": cluster.summary,
        "median": cluster.median,
        "low": cluster.low,
        "high": cluster.high,
        "kind": cluster.kind,
        "makeup": cluster.makeup,
        "members": cluster.members,
    }


def _quality(quality: Quality) -> dict[str, Any]:
    return {
        "k": quality.k,
        "structure": quality.structure,
        "silhouette": quality.silhouette,
        "stability": quality.stability,
        "text": quality.text,
        "p_value": quality.p_value,
    }


def _kind(part: KindQuality) -> dict[str, Any]:
    return {"kind": part.kind, "size": part.size, "quality": _quality(part.quality)}


def _depth(profile: DepthProfile) -> dict[str, Any]:
    return {
        "depths": profile.depths,
        "median": profile.values,
        "centre": profile.centre,
        "text": profile.text,
    }


def _phase(phase: Phase) -> dict[str, Any]:
    return {"from_change": phase.first, "to_change": phase.last, "level": phase.level, "text": phase.text}


def _window(window: Window) -> dict[str, Any]:
    return {
        "from_change": window.first,
        "to_change": window.last,
        "labels": window.labels,
        "moved": window.moved,
        "text": window.text,
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
