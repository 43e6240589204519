"""The reports that a command line asks for: where each goes, and the lines that say where it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wsanalyze.cli_ending import STATUS_FAILED, STATUS_PARTLY, tell
from wsanalyze.errors import ReportError, UsageError
from wsanalyze.version import __version__

if TYPE_CHECKING:
    from wsanalyze.run import Run
    from wsanalyze.trends.base import TrendOptions, Trends

_FILE_REPORTS: Final = ("html", "json", "csv", "markdown")
_STREAMED: Final = ("json", "csv", "markdown")


def check_destinations(options: dict[str, Any]) -> None:
    """Refuse destinations that do not go together, before any work is done.

    Raises:
        UsageError: If two reports go to standard output, or one that cannot does.
    """
    streamed = [name for name in _STREAMED if options[name] == "-"]
    if len(streamed) > 1:
        raise UsageError(f"only one report can go to standard output, not {' and '.join('--' + s for s in streamed)}")
    if options["html"] == "-":
        raise UsageError("--html takes a file, not standard output")
    if options["open_page"] and not options["html"]:
        raise UsageError("--open opens the page that --html FILE writes: give both")


def report_run(run: Run, trend_options: TrendOptions, options: dict[str, Any], *, keeps: bool = False) -> int:
    """Find the trends and write every report that was asked for; say where the run is kept if it was just measured."""
    from wsanalyze.run import write_report

    found = run.find_trends(trend_options)
    streamed = next((name for name in _STREAMED if options[name] == "-"), None)
    written = [name for name in _FILE_REPORTS if options[name] not in (None, "-")]
    failures = []
    for name in list(written):
        try:
            write_report(found, name, Path(options[name]))
        except ReportError as error:  # the others are written none the less
            failures.append(error)
            written.remove(name)
    if streamed:
        write_report(found, streamed, sys.stdout)
    elif not options["quiet"]:
        made = [f"wrote {options[name]}" for name in written] + [f"run kept in {run.path}"] * keeps
        _print_terminal(found, made, no_color=options["no_color"])
    if options["open_page"] and "html" in written:
        click.launch(Path(options["html"]).resolve().as_uri())
    for failure in failures[1:]:
        tell(str(failure), STATUS_FAILED)
    if failures:
        raise failures[0]
    return _tell_status(found, shown=not streamed and not options["quiet"])


def _print_terminal(found: Trends, made: list[str], *, no_color: bool) -> None:
    from wsanalyze.reports.terminal import TerminalReporter
    from wsanalyze.reports.text import printable

    for line in made:
        click.echo(printable(line), err=True)
    TerminalReporter(version=__version__, no_color=no_color).write(found, sys.stdout)


def _tell_status(found: Trends, *, shown: bool) -> int:
    """The exit status; where the terminal report is not shown, what could not be read is counted on standard error."""
    from wsanalyze.reports.summary import count_unreadable

    unreadable = count_unreadable(found.series)
    if not unreadable:
        return 0
    return STATUS_PARTLY if shown else tell(unreadable, STATUS_PARTLY)
