"""A measured run: its series, the trends in it, and every report of them. Reads no weights."""

from __future__ import annotations

import datetime as dt
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsanalyze.causes import explain_import
from wsanalyze.errors import ReportError, StoreError, TrendsError, UsageError, WsAnalyzeError
from wsanalyze.options import check_text, check_whole
from wsanalyze.store.run_file import RunFile
from wsanalyze.trends.base import TrendOptions, Trends

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd

    from wsanalyze.progress import Effort
    from wsanalyze.reports.base import Destination
    from wsanalyze.reports.figures.plots import Plots
    from wsanalyze.series import ChangeSeries

REPORT_SUFFIXES: Final = {".html": "html", ".json": "json", ".csv": "csv", ".md": "markdown", ".txt": "terminal"}
"""Which report a file name asks for by its suffix."""


class Run:
    """What was measured of one sequence of checkpoints.

    Args:
        series: The changes.
        path: The run file that holds them, or None for a table.
        effort: What measuring took, where it was done just now.

    Attributes:
        series: The changes of L rows over P pairs; see `wsanalyze.series.ChangeSeries`.
        path: The run file, or None.
        effort: What measuring took, stored cells not counted; None for a stored run or a table. In no report: those
            of one run are the same.
    """

    def __init__(self, series: ChangeSeries, path: Path | None = None, effort: Effort | None = None) -> None:
        self.series = series
        self.path = path
        self.effort = effort
        self._found: dict[TrendOptions, Trends] = {}

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run file that `wsanalyze.analyze` or `wsanalyze analyze` made.

        Raises:
            StoreError: If there is none, it is no run file, or its analysis has not ended.
        """
        with RunFile.open(Path(path)) as store:
            return cls(store.load_series(), Path(path))

    @classmethod
    def from_table(cls, path: str | Path) -> Self:
        """Read a CSV table of changes that someone else measured: first column `layer`, then one column a step.

        Raises:
            TableError: If it is no such table.
        """
        from wsanalyze.table import read_table

        return cls(read_table(Path(path)))

    def trends(
        self,
        *,
        metric: str = "rwc",
        method: str = "robust",
        clusters: int | None = None,
        features: str = "shape",
        group: str | None = None,
        seed: int = 0,
        by_kind: bool = False,
        window: int | None = None,
    ) -> Trends:
        """Find which rows change alike; found once for each set of options and then remembered in the run file.

        Args:
            metric: Name of a metric in `wsanalyze.metrics.METRICS`.
            method: Name of a method in `wsanalyze.trends.find.METHODS`: "robust", "paper", ...
            clusters: How many clusters, or None to choose; of each kind where `by_kind`.
            features: What all methods but `paper` compare: "shape", "level" or "both".
            group: "module", "block" or "kind" to add the sums of rows first, or None.
            seed: Seed of whatever is random.
            by_kind: Whether the rows of each kind are clustered by themselves.
            window: Changes in one sliding window, or None to choose.

        Raises:
            UsageError: If an option has a value that is not known, or the series does not hold what the metric needs.
        """
        return self.find_trends(
            TrendOptions(
                check_text("metric", metric),
                check_text("method", method),
                None if clusters is None else check_whole("clusters", clusters, "None to choose"),
                check_text("features", features),
                None if group is None else check_text("group", group),
                check_whole("seed", seed),
                bool(by_kind),
                None if window is None else check_whole("window", window, "None to choose"),
            )
        )

    def find_trends(self, options: TrendOptions) -> Trends:
        """As `trends`, with the options in one object."""
        if options not in self._found:
            self._found[options] = self._load_trends(options) or self._find_and_store(options)
        return self._found[options]

    @property
    def plot(self) -> Plots:
        """Draws figures: `run.plot.heatmap()`, `.curves(ax=...)`, `.scatter(by_kind=True)`, `.depth()`."""
        from wsanalyze.reports.figures.plots import Plots

        return Plots(self.trends)

    def report(self, destination: str | Path, **options: str | int | None) -> Path:
        """Write a report; its kind is told by the suffix (.html, .json, .csv, .md, .txt).

        Args:
            destination: The file to write; replaced if it is there.
            **options: As for `trends`.

        Returns:
            The path written.

        Raises:
            UsageError: If the suffix is none of those, the run was read from that file, or an option is not known.
            ReportError: If the file cannot be written.
        """
        from wsanalyze.reports.places import identify

        path = Path(destination)
        kind = REPORT_SUFFIXES.get(path.suffix.lower())
        if kind is None:
            raise UsageError(f"{path}: the suffix tells the kind of report: {', '.join(REPORT_SUFFIXES)}")
        read = self.series.provenance.source if self.path is None else (self.path,)
        if any(identify(path) & identify(place) for place in read):
            raise UsageError(f"{path}: this is what the run was read from; name another file")
        write_report(self.trends(**options), kind, path)  # type: ignore[arg-type] # checked by `trends` itself
        return path

    def to_pandas(self, metric: str = "rwc") -> pd.DataFrame:
        r"""The metric as a data frame with one row for each layer and pair of checkpoints.

        It can be written as Parquet, `run.to_pandas().to_parquet("changes.parquet")`: `pip install wsanalyze[parquet]`.

        Returns:
            Columns layer, kind, depth, from_step, to_step (Int64, missing where no step is known), from_checkpoint,
            to_checkpoint, the metric under its name (float64, NaN where a cell has a state instead of a number) and
            state (text, missing where there is a number). Characters that are no text, of files whose names are not
            UTF-8, are written as `\udc80`.

        Raises:
            ImportError: If pandas is not installed (`pip install wsanalyze[pandas]`).
        """
        from wsanalyze.reports.frame import make_frame

        return make_frame(self.series, metric)

    def __repr__(self) -> str:
        """One line: what was measured, and where it is kept."""
        where = f" in {self.path}" if self.path else ""
        return f"<Run of {len(self.series.rows)} layers x {len(self.series.pairs)} changes{where}>"

    def _repr_html_(self) -> str:
        """What notebooks show: the trends in short, with their curves, or why there are none."""
        from wsanalyze.reports.notebook import render_problem, render_summary

        try:
            with ignore_overflow():
                return render_summary(self.trends())
        except Exception as error:
            why = str(error) if isinstance(error, WsAnalyzeError) else explain_import(error)
            if why is None:
                raise
            return render_problem(repr(self), why)

    def _load_trends(self, options: TrendOptions) -> Trends | None:
        from wsanalyze.trends.stored import from_json, trends_key

        if self.path is None:
            return None
        # A run file that went away, or trends that another version stored: they are found again.
        with suppress(StoreError, TrendsError, UsageError), RunFile.open(self.path) as store:
            found = store.find_trends(trends_key(self.series, options))
            trends = None if found is None else from_json(found, self.series)
            # A file from elsewhere may hold anything under that key.
            return trends if trends is not None and trends.options == options else None
        return None

    def _find_and_store(self, options: TrendOptions) -> Trends:
        from wsanalyze.trends.find import find_trends
        from wsanalyze.trends.stored import to_json, trends_key

        with ignore_overflow():
            trends = find_trends(self.series, options)
        if self.path is not None:
            with suppress(StoreError), RunFile.open(self.path) as store:
                store.add_trends(trends_key(self.series, options), to_json(trends))
        return trends


def ignore_overflow() -> AbstractContextManager[None]:
    """Let sums of numbers near the end of floats be infinite without a warning, which would help nobody."""
    import numpy as np

    return np.errstate(over="ignore")


def write_report(trends: Trends, kind: str, destination: Destination, *, command: str = "") -> None:
    """Write one of the reports of `wsanalyze.reports` with today's date and this version.

    Args:
        trends: What to report.
        kind: Its name in `REPORTERS`, or in `FOLDER_REPORTERS`.
        destination: A file or a stream, or, for one of the latter, the path of a folder.
        command: The command line that asks for it, for those that say how to make them again.

    Raises:
        ReportError: If it cannot be written, or a package that it needs cannot be imported.
    """
    from wsanalyze.reports import FOLDER_REPORTERS, REPORTERS
    from wsanalyze.version import __version__

    def clock() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    if kind in FOLDER_REPORTERS and not isinstance(destination, Path):
        raise UsageError(f"{kind} are files in a folder: name one")
    try:
        with ignore_overflow():
            if kind in FOLDER_REPORTERS and isinstance(destination, Path):
                FOLDER_REPORTERS[kind](clock, __version__).write(trends, destination)
            else:
                REPORTERS[kind](clock, __version__, command).write(trends, destination)
    except Exception as error:
        broken = None if isinstance(error, WsAnalyzeError) else explain_import(error)
        if broken is None:
            raise
        raise ReportError(f"cannot write the report {destination}: {broken}") from error
