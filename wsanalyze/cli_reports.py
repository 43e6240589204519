"""The reports that a command line asks for: where each goes, and the lines that say where it is."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wsanalyze.causes import find_interrupt
from wsanalyze.cli_destinations import STREAMED
from wsanalyze.cli_ending import STATUS_FAILED, STATUS_PARTLY, tell
from wsanalyze.errors import ReportError
from wsanalyze.version import __version__
from wsanalyze.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsanalyze.run import Run
    from wsanalyze.trends.base import TrendOptions, Trends

_WRITTEN: Final = ("html", "json", "csv", "markdown", "figures", "tensorboard")


def describe_command(arguments: Sequence[str]) -> str:
    """The command line as one types it, for reports: with `~` again where the shell had put the user's home."""
    return " ".join(["wsanalyze", *map(_quote, arguments)])


def _quote(argument: str) -> str:
    home = os.path.expanduser("~")  # noqa: PTH111 - pathlib raises where there is none
    lead, rest = argument[: len(home) + 1], argument[len(home) + 1 :]
    if os.name == "posix" and len(home) > 1 and rest and lead == f"{home}/":
        return f"~/{shlex.quote(rest)}"
    return shlex.quote(argument)


def report_run(
    run: Run, trend_options: TrendOptions, options: dict[str, Any], arguments: Sequence[str], *, keeps: bool = False
) -> int:
    """Find the trends and write every report that was asked for.

    Args:
        run: What was measured.
        trend_options: How trends are found.
        options: The other options, click's values by their names.
        arguments: The command line.
        keeps: Whether to say where the run is kept: it was just measured.

    Returns:
        The exit status.

    Raises:
        ReportError: If one could not be written, once the others are; those after it are told of as well.
    """
    look = {"quiet": options["quiet"], "no_color": options["no_color"]}
    with Waiting("finding trends", **look):
        found = run.find_trends(trend_options)
    streamed = next((name for name in STREAMED if options[name] == "-"), None)
    written: list[str] = []
    lines = [] if options["quiet"] else [f"run kept in {run.path}"] * keeps
    try:
        failures = _write_files(found, options, arguments, written)
        _print_report(found, streamed, options)
    finally:  # also where the rest could not be done
        if not options["quiet"]:
            _print_lines([f"wrote {options[name]}" for name in written] + lines)
    if options["open_page"] and "html" in written and not open_page(Path(options["html"])):
        _print_lines([f"there is no browser here to open the page with: {options['html']}"])
    for failure in failures[1:]:
        tell(str(failure), STATUS_FAILED)
    if failures:
        raise failures[0]
    return _tell_status(found, shown=not streamed and not options["quiet"])


def _write_files(
    found: Trends, options: dict[str, Any], arguments: Sequence[str], written: list[str]
) -> list[ReportError]:
    """Write the reports that go to files, and note which are written.

    Returns:
        Why others could not be; those after them are written none the less.
    """
    from wsanalyze.run import write_report

    failures = []
    for name in _WRITTEN:
        if options[name] in (None, "-"):
            continue
        try:
            with Waiting(f"writing {name}", quiet=options["quiet"], no_color=options["no_color"]):
                write_report(found, name, Path(options[name]), command=describe_command(arguments))
            written.append(name)
        except ReportError as error:
            if find_interrupt(error):
                raise
            failures.append(error)
    return failures


def _print_report(found: Trends, streamed: str | None, options: dict[str, Any]) -> None:
    """Write a report to standard output, or the terminal's where none goes there."""
    from wsanalyze.run import write_report

    if streamed:
        write_report(found, streamed, sys.stdout)
    elif not options["quiet"]:
        _print_terminal(found, no_color=options["no_color"])


def open_page(path: Path) -> bool:
    """Open a page in the browser that the user prefers; whether there is one.

    A browser of the terminal would take the place of what was just printed: only BROWSER asks for one.
    """
    import webbrowser

    screens = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform not in ("darwin", "win32") and not any(map(os.environ.get, screens)):
        return False
    try:
        return webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError, ValueError, IndexError):  # what the standard library makes of an odd BROWSER
        return False


def _print_terminal(found: Trends, *, no_color: bool) -> None:
    from wsanalyze.reports.terminal import TerminalReporter

    TerminalReporter(version=__version__, no_color=no_color).write(found, sys.stdout)


def _print_lines(lines: list[str]) -> None:
    """Lines on standard error: standard output holds reports alone."""
    from wsanalyze.reports.text import printable

    for line in lines:
        click.echo(printable(line), err=True)


def _tell_status(found: Trends, *, shown: bool) -> int:
    """The exit status; where the terminal report is not shown, what could not be read is counted on standard error."""
    from wsanalyze.reports.summary import count_unreadable

    unreadable = count_unreadable(found.series)
    if not unreadable:
        return 0
    return STATUS_PARTLY if shown else tell(unreadable, STATUS_PARTLY)
