"""Scalars for TensorBoard: a curve for each layer and each cluster, over the steps of the training.

References:
    docs/cli.md, "TensorBoard".
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import ReportError
from wsanalyze.reports.files import write_bytes
from wsanalyze.reports.markdown_text import code, find_names, prose
from wsanalyze.reports.summary import describe_size, explain_nothing, name_row
from wsanalyze.reports.tensorboard_records import frame
from wsanalyze.reports.text import printable, shorten
from wsanalyze.series import ChangeSeries, TrainingLog
from wsanalyze.trends.base import Trends

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

# The same name every time, so that a report that is written again takes the place of the one before.
_FILE_NAME: Final = "events.out.tfevents.0000000000.wsanalyze"
_FILE_VERSION: Final = "brain.Event:2"
_ACTIVE: Final = re.compile(r"[^-./\w]")
_NOT_OF_A_FOLDER: Final = re.compile(r"[^-\w]", re.ASCII)
_TAG_WIDTH: Final = 200
_BAND: Final = ("median", "low", "high")
_LARGEST_STEP: Final = 2**63 - 1


def check_tensorboard() -> None:
    """Refuse to write for TensorBoard where its package is not there; imports nothing.

    Raises:
        ReportError: If it is not installed.
    """
    found = find_spec("tensorboard")
    if found is None or found.origin is None:  # a folder of that name is no package
        raise ReportError('--tensorboard needs the package tensorboard: pip install "wsanalyze[tensorboard]"')


class TensorboardReporter:
    """Writes scalars into a folder of their own, which TensorBoard shows as a run.

    Curves of layers are `layer/NAME` (`block/NAME` and so on where rows are grouped), those of clusters
    `cluster/ID/median`, `low` and `high`, what the trainer noted `training/loss` and so on. Cells without a number, and
    numbers that are none in float32, are left out. A text and a layout with the clusters as bands go along.

    Args:
        clock: Tells the wall time of all points.
        version: Version of wsanalyze.
    """

    def __init__(self, *, clock: Callable[[], datetime], version: str) -> None:
        self._clock = clock
        self._version = version

    def write(self, trends: Trends, folder: Path) -> tuple[Path, ...]:
        """Write the report; see `FolderReporter.write`.

        Only the one file of `folder/wsanalyze-METRIC` is written. That of an earlier report is replaced, so that no
        point is there twice.

        Raises:
            ReportError: Also if tensorboard is not installed, or cannot be imported.
        """
        check_tensorboard()
        path = find_events_file(folder, trends.options.metric)
        run = path.parent
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportError(f"cannot write the report {run}: {error.strerror or error}") from error
        try:
            events = _make_events(trends, self._clock().timestamp(), self._version)
            write_bytes((frame(event.SerializeToString()) for event in events), path)
        except ImportError as error:
            raise ReportError(f"cannot write the report {run}: tensorboard cannot be imported ({error})") from error
        return (path,)


def find_events_file(folder: Path, metric: str) -> Path:
    """The one file that a report of a metric puts into a folder."""
    return folder / name_run(metric) / _FILE_NAME


def name_run(metric: str) -> str:
    """The folder of a metric's run: what its name has of A to Z, digits and `-`, one folder everywhere."""
    return _NOT_OF_A_FOLDER.sub("_", make_tags("wsanalyze-", [metric])[0])


def make_tags(lead: str, names: Sequence[str]) -> list[str]:
    """Tags that TensorBoard takes: letters, digits and `-./_` of the names, each tag once and of bounded length.

    Args:
        lead: What stands before each.
        names: Any texts.
    """
    counts: dict[str, int] = {}
    tags = []
    for name in names:
        wanted = tag = lead + shorten(_ACTIVE.sub("_", printable(name)), _TAG_WIDTH, "...")
        while tag in counts:
            counts[wanted] += 1
            tag = f"{wanted}_{counts[wanted]}"
        counts[tag] = 1
        tags.append(tag)
    return tags


def find_places(series: ChangeSeries) -> tuple[list[int], bool]:
    """Where changes lie on the axis, and whether these are steps of the training.

    Returns:
        Of each change the step of its later checkpoint; where not all have one, or they do not rise, their numbers
        from 1 on.
    """
    known = [step for step in (series.checkpoints[after].step for _, after in series.pairs) if step is not None]
    rising = all(before < after for before, after in zip([-1, *known], [*known, _LARGEST_STEP], strict=True))
    if len(known) == len(series.pairs) and rising:
        return known, True
    return list(range(1, len(series.pairs) + 1)), False


def _make_events(trends: Trends, wall_time: float, version: str) -> "Iterator[Event]":
    """All events of the file, each with as many values as belong to one step."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    yield Event(wall_time=wall_time, file_version=_FILE_VERSION)
    places, are_steps = find_places(trends.series)
    texts = Summary()
    _add_string(texts, "wsanalyze/trends", _describe(trends, version, are_steps=are_steps).encode(), "text")
    _add_layout(texts, trends)
    yield Event(wall_time=wall_time, step=0, summary=texts)
    tags, curves = _collect_curves(trends)
    for step, column in zip(places, curves.T, strict=True):
        summary = Summary()
        _add_scalars(summary, tags, column)
        yield Event(wall_time=wall_time, step=step, summary=summary)
    for step, noted in _read_log(trends.series.log):
        summary = Summary()
        _add_scalars(summary, list(noted), np.array(list(noted.values())))
        yield Event(wall_time=wall_time, step=step, summary=summary)


def _collect_curves(trends: Trends) -> tuple[list[str], NDArray[np.float64]]:
    """Tags of C curves, and their values, of shape (C, P); NaN where there is no number."""
    tags = make_tags(f"{name_row(trends)}/", trends.series.names)
    bands = []
    for cluster, names in zip(trends.clusters, _name_bands(trends), strict=True):
        tags += names
        bands += [cluster.median, cluster.low, cluster.high]
    curves = np.array([[np.nan if value is None else value for value in band] for band in bands], dtype=np.float64)
    return tags, np.concatenate([trends.values, curves.reshape(len(bands), trends.values.shape[1])])


def _name_bands(trends: Trends) -> list[list[str]]:
    return [[f"cluster/{cluster.id}/{part}" for part in _BAND] for cluster in trends.clusters]


def _read_log(log: TrainingLog) -> list[tuple[int, dict[str, float]]]:
    """What the trainer noted at each step, the steps rising; where one comes twice, the later note counts."""
    found: dict[int, dict[str, float]] = {}
    for name, tag in zip(log.values, make_tags("training/", list(log.values)), strict=True):
        for index in log.noted(name):
            found.setdefault(int(log.steps[index]), {})[tag] = float(log.values[name][index])
    return sorted(found.items())


def _describe(trends: Trends, version: str, *, are_steps: bool) -> str:
    """What was found, in Markdown, and what the axis counts."""
    size = describe_size(trends)
    nothing = explain_nothing(trends)
    lines = [f"**{prose(size[:1].upper() + size[1:])}**"]
    names = find_names(trends.series.names, (record.label for record in trends.series.checkpoints))
    lines += [prose(sentence, names) for sentence in ((nothing,) if nothing else trends.headline)]
    lines += [f"cluster {cluster.id}: {prose(cluster.summary)} ({cluster.size})" for cluster in trends.clusters]
    axis = "the step of the later checkpoint" if are_steps else "the number of the change, as steps do not tell it"
    lines.append(f"The axis counts {axis}.")
    lines.append(f"Made with wsanalyze {prose(version)}: {code(trends.options.metric)}, {code(trends.options.method)}.")
    return "\n\n".join(lines)


def _add_scalars(summary: Any, tags: Sequence[str], values: NDArray[np.float64]) -> None:  # noqa: ANN401 - a Summary
    """Add the values that float32, which is all that TensorBoard shows, has a number for."""
    with np.errstate(over="ignore"):
        shown = np.flatnonzero(np.isfinite(values.astype(np.float32)))
    add = summary.value.add
    for index, value in zip(shown.tolist(), values[shown].tolist(), strict=True):
        add(tag=tags[index], simple_value=value)


def _add_layout(summary: Any, trends: Trends) -> None:  # noqa: ANN401 - a Summary
    """A chart with a band for each cluster, where TensorBoard has its plugin of custom scalars."""
    from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent

    charts = [
        Chart(
            title=f"cluster {cluster.id}: {printable(cluster.summary)}",
            margin=MarginChartContent(
                series=[MarginChartContent.Series(value=median, lower=low, upper=high)],
            ),
        )
        for cluster, (median, low, high) in zip(trends.clusters, _name_bands(trends), strict=True)
    ]
    if charts:
        layout = Layout(category=[Category(title="clusters", chart=charts)])
        _add_string(summary, "custom_scalars__config__", layout.SerializeToString(), "custom_scalars")


def _add_string(summary: Any, tag: str, content: bytes, plugin: str) -> None:  # noqa: ANN401 - a Summary
    value = summary.value.add(tag=tag)
    value.metadata.plugin_data.plugin_name = plugin
    value.tensor.dtype = 7  # DT_STRING
    value.tensor.string_val.append(content)
    value.tensor.tensor_shape.SetInParent()  # a scalar
