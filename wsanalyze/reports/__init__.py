"""Reports: what people and programs are shown of the trends.

`REPORTERS` and `FOLDER_REPORTERS` list them by the name of their option; each is loaded when it is made, and importing
this package loads neither a report nor NumPy.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wsanalyze.reports.base import FolderReporter, Reporter

    Clock = Callable[[], datetime]
    ReporterFactory = Callable[[Clock, str, str], Reporter]
    FolderReporterFactory = Callable[[Clock, str], FolderReporter]


def _make_terminal(_clock: "Clock", version: str, _command: str) -> "Reporter":
    from wsanalyze.reports.terminal import TerminalReporter

    return TerminalReporter(version=version)


def _make_html(clock: "Clock", version: str, command: str) -> "Reporter":
    from wsanalyze.reports.html import HtmlReporter

    return HtmlReporter(clock=clock, version=version, command=command)


def _make_json(_clock: "Clock", version: str, _command: str) -> "Reporter":
    from wsanalyze.reports.json_file import JsonReporter

    return JsonReporter(version=version)


def _make_csv(_clock: "Clock", _version: str, _command: str) -> "Reporter":
    from wsanalyze.reports.csv_file import CsvReporter

    return CsvReporter()


def _make_markdown(_clock: "Clock", version: str, _command: str) -> "Reporter":
    from wsanalyze.reports.markdown import MarkdownReporter

    return MarkdownReporter(version=version)


def _make_figures(_clock: "Clock", version: str) -> "FolderReporter":
    from wsanalyze.reports.figures.write import FiguresReporter

    return FiguresReporter(version=version)


def _make_tensorboard(clock: "Clock", version: str) -> "FolderReporter":
    from wsanalyze.reports.tensorboard import TensorboardReporter

    return TensorboardReporter(clock=clock, version=version)


REPORTERS: "Final[dict[str, ReporterFactory]]" = {
    "terminal": _make_terminal,
    "html": _make_html,
    "json": _make_json,
    "csv": _make_csv,
    "markdown": _make_markdown,
}
"""Makes each report from the clock, the version of wsanalyze and the command line that asks for it."""

FOLDER_REPORTERS: "Final[dict[str, FolderReporterFactory]]" = {
    "figures": _make_figures,
    "tensorboard": _make_tensorboard,
}
"""Makes each report that is a folder of files from the clock and the version."""
