"""The command line: parse, call, print. The only place that catches WsAnalyzeError.

References:
    docs/cli.md, a contract: add to it, do not break it.
"""

from __future__ import annotations

import gc
import io
import os
import shlex
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wsanalyze.cli_options import (
    DEFAULT_DEVICE,
    DEFAULT_MEMORY,
    choice_options,
    common_options,
    fetch_options,
    hub_options,
    measuring_options,
    report_options,
    sequence_options,
    trend_options,
)
from wsanalyze.errors import ReportError, UsageError, WsAnalyzeError
from wsanalyze.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsanalyze.choosing import SequenceOptions
    from wsanalyze.listing import PlanOptions
    from wsanalyze.run import Run
    from wsanalyze.trends.base import TrendOptions, Trends

STATUS_FAILED: Final = 1
_LESS_MEMORY: Final = "read fewer checkpoints (--steps, --every) or rows (--layers), or allow less with --memory"
STATUS_PARTLY: Final = 3
_OBJECTS_BETWEEN_COLLECTIONS: Final = 100_000
STATUS_INTERRUPTED: Final = 130
STATUS_TERMINATED: Final = 143
_FILE_REPORTS: Final = ("html", "json", "csv", "markdown")
_STREAMED: Final = ("json", "csv", "markdown")


class _Termination(KeyboardInterrupt):
    """SIGTERM: whatever clears up after Ctrl-C clears up after it as well."""


class _InterruptedError(Exception):
    """Ctrl-C or SIGTERM, under a name that click does not know: it would print an empty line first."""


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wsanalyze", message="%(prog)s %(version)s")
def cli() -> None:
    """Which layers of a network are learning, when, and which move together?

    Reads saved checkpoints of one training run, measures how much every layer changes from each to the next, finds
    the trends that layers share, and reports them.
    """


@cli.command()
@click.argument("source", nargs=-1, required=True)
@click.option("--run", "run_path", metavar="FILE", help="Where the measured sums are kept (suffix .wsa).")
@report_options
@trend_options
@sequence_options
@hub_options
@fetch_options
@measuring_options
@common_options
@click.pass_context
def analyze(
    context: click.Context,
    /,
    source: tuple[str, ...],
    run_path: str | None,
    **options: Any,  # noqa: ANN401 - click's values
) -> int:
    """Measure a sequence of checkpoints and report its trends.

    SOURCE is a folder of checkpoints, a checkpoint file or folder, a quoted glob, hf://org/repo (all branches and tags
    named like steps) or hf://org/repo@revision (one, or a quoted glob of them); several make one sequence, ordered by
    step. What was measured before is not measured again.
    """
    trend_options = _read_options(options)
    from wsanalyze.console import ProgressDisplay, describe_effort
    from wsanalyze.files.local import allow_many_files
    from wsanalyze.hub.session import HubOptions
    from wsanalyze.options import parse_memory
    from wsanalyze.pipeline import AnalyzeOptions, measure_run

    sequence = _read_sequence_options(options)
    wanted = AnalyzeOptions(
        sequence,
        options["params"] or "auto",
        options["layers"],
        options["device"] or DEFAULT_DEVICE,
        parse_memory(options["memory"] or DEFAULT_MEMORY),
        options["architecture"],
        HubOptions(options["repo_type"], options["commits"], options["keep"], options["fetch"]),
        (trend_options.metric,),
    )
    allow_many_files()
    command = shlex.join(["wsanalyze", *context.obj])
    path = None if run_path is None else Path(run_path)
    with ProgressDisplay(quiet=options["quiet"], no_color=options["no_color"], warm_up=True) as progress:
        run = measure_run(source, path, wanted, command=command, progress=progress)
    if run.effort is not None and run.series.pairs and not options["quiet"]:
        click.echo(describe_effort(run.effort), err=True)
    return _report(run, trend_options, options, keeps=True)


@cli.command("list")
@click.argument("source", nargs=-1, required=True)
@click.option("--json", metavar="FILE", help="Write the list as JSON; - is standard output.")
@click.option(
    "--plan", is_flag=True, help="Also how it would be read, and how long that takes; reads weights for 0.5 s."
)
@measuring_options
@sequence_options
@hub_options
@common_options
def list_checkpoints(source: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click's values
    """Show what analyze would read, in order, from headers alone.

    Prints the step, format, size and rows of each checkpoint, which are copies of others, and what is wrong. No
    weight is read without --plan; what only weights could tell is marked "possible".
    """
    from wsanalyze.console import ProgressDisplay
    from wsanalyze.hub.session import HubOptions
    from wsanalyze.listing import ListOptions, default_cache_path, list_sequence
    from wsanalyze.reports.listing import describe_unreadable
    from wsanalyze.reports.listing_json import write_json
    from wsanalyze.reports.listing_page import write_terminal

    wanted = ListOptions(
        _read_sequence_options(options),
        options["params"] or "auto",
        options["layers"],
        options["architecture"],
        HubOptions(options["repo_type"], options["commits"]),
        _read_plan_options(options),
    )
    with ProgressDisplay(quiet=options["quiet"], no_color=options["no_color"]) as progress:
        found = list_sequence(source, wanted, progress=progress, cache=default_cache_path())
    if options["json"]:
        write_json(found, __version__, sys.stdout if options["json"] == "-" else Path(options["json"]))
    shown = options["json"] != "-" and not options["quiet"]
    if shown:
        write_terminal(found, __version__, sys.stdout, no_color=options["no_color"])
    if not found.num_unreadable:
        return 0
    return STATUS_PARTLY if shown else _tell(describe_unreadable(found), STATUS_PARTLY)


@cli.command()
@click.argument("repo")
@click.argument("folder", metavar="DIR")
@click.option("--dry-run", is_flag=True, help="Only print what would be fetched: checkpoints, files, bytes.")
@choice_options
@hub_options
@common_options
def pull(repo: str, folder: str, **options: Any) -> int:  # noqa: ANN401 - click's values
    """Download a training run from the Hub into a folder that analyze reads.

    REPO is hf://org/repo, hf://org/repo@revision (or a quoted glob of revisions), or org/repo alone. Fetches the
    weights of the same revisions that analyze would choose, each file once, and only what is not in DIR yet.
    """
    from wsanalyze.console import ProgressDisplay
    from wsanalyze.hub.session import HubOptions
    from wsanalyze.options import parse_steps
    from wsanalyze.pull import PullOptions, pull_sequence
    from wsanalyze.reports.text import printable

    hub = HubOptions(options["repo_type"], options["commits"])
    wanted = PullOptions(parse_steps(options["steps"]), options["every"], hub)
    with ProgressDisplay(quiet=options["quiet"], no_color=options["no_color"]) as progress:
        pulled = pull_sequence(repo, Path(folder), wanted, dry_run=options["dry_run"], progress=progress)
    for text in pulled.failures:
        _tell(text, STATUS_PARTLY)
    if not options["quiet"]:
        for note in pulled.plan.notes:
            click.echo(printable(note), err=True)
        for line in pulled.lines():
            click.echo(printable(line))
    return STATUS_PARTLY if pulled.failures else 0


@cli.command()
@click.argument("run_path", metavar="RUN")
@report_options
@trend_options
@common_options
def report(run_path: str, **options: Any) -> int:  # noqa: ANN401 - click's values
    """Report a stored run (a .wsa file) again, in any form and with any metric; reads no weights."""
    trend_options = _read_options(options)
    from wsanalyze.run import Run

    return _report(Run.open(run_path), trend_options, options)


@cli.command()
@click.argument("table", metavar="TABLE.csv")
@report_options
@trend_options
@common_options
def trends(table: str, **options: Any) -> int:  # noqa: ANN401 - click's values
    """Find trends in a table that someone else measured: first column `layer`, then one column a step."""
    trend_options = _read_options(options)
    from wsanalyze.run import Run

    return _report(Run.from_table(table), trend_options, options)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those of the process by default.

    Returns:
        The exit status of docs/cli.md.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # Hundreds of thousands of tensors are described by objects that form no cycles: looking for some among them after
    # every 700 takes a quarter of the time.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    # Closed streams are None: what would be written there goes nowhere.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        # A name that a terminal cannot show must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with _ended_by_signal():
        try:
            return _run(arguments)
        except KeyboardInterrupt:  # a second one, while the first is being told
            return STATUS_INTERRUPTED


def _run(arguments: list[str]) -> int:
    try:
        status = cli.main(arguments, prog_name="wsanalyze", standalone_mode=False, obj=arguments)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        _drop_output()
        return STATUS_FAILED
    except Exception as error:
        told = _explain(error)
        if told is None or ("--debug" in arguments and not isinstance(error, click.ClickException)):
            raise
        return _tell(*told)
    return status if isinstance(status, int) else 0


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, unless whoever runs us has other plans for it."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not hit the clearing up
    raise _Termination


def _explain(error: Exception) -> tuple[str, int] | None:
    """One line and an exit status for an error that a user can do something about, None for a fault of the program."""
    match error:
        case WsAnalyzeError():
            return str(error), error.exit_status
        case click.ClickException():
            context = getattr(error, "ctx", None)
            advice = f" (see {context.command_path} --help)" if isinstance(context, click.Context) else ""
            return f"{error.format_message().rstrip('.')}{advice}", error.exit_code
        case _InterruptedError() | click.Abort() | ImportError() if interrupt := _find_interrupt(error):
            status = STATUS_TERMINATED if interrupt is _Termination else STATUS_INTERRUPTED
            return "interrupted; what was measured is kept, the same command goes on from there", status
        case MemoryError():
            return f"out of memory; {_LESS_MEMORY}", STATUS_FAILED
        case OSError(filename=None):
            _drop_output()
            return f"standard output cannot be written ({(error.strerror or str(error)).lower()})", STATUS_FAILED
    return None


def _find_interrupt(error: BaseException | None) -> type[KeyboardInterrupt] | None:
    """What kind of interrupt is behind an error, if any: one that hits an import comes out as an ImportError."""
    if error is None:
        return None
    if isinstance(error, KeyboardInterrupt):
        return type(error)
    found = _find_interrupt(error.__cause__ or error.__context__)
    return found or (KeyboardInterrupt if isinstance(error, click.Abort) else None)


def _tell(message: str, status: int) -> int:
    from wsanalyze.console import print_error

    print_error(message)
    return status


def _drop_output() -> None:
    """Send what is left of our output nowhere: the flush at exit must not complain a second time."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read_options(options: dict[str, Any]) -> TrendOptions:
    """Refuse wrong usage before any work is done, and gather the options that trends depend on."""
    from wsanalyze.metrics import find_metric
    from wsanalyze.options import parse_clusters
    from wsanalyze.series import check_grouping
    from wsanalyze.trends.base import TrendOptions
    from wsanalyze.trends.find import check_options

    streamed = [name for name in _STREAMED if options[name] == "-"]
    if len(streamed) > 1:
        raise UsageError(f"only one report can go to standard output, not {' and '.join('--' + s for s in streamed)}")
    if options["html"] == "-":
        raise UsageError("--html takes a file, not standard output")
    if options["open_page"] and not options["html"]:
        raise UsageError("--open opens the page that --html FILE writes: give both")
    clusters = parse_clusters(options["clusters"])
    names = ("metric", "method", "features", "group", "seed", "by_kind", "window")
    wanted = TrendOptions(clusters=clusters, **{name: options[name] for name in names})
    find_metric(wanted.metric)
    if wanted.group is not None:
        check_grouping(wanted.group, wanted.metric)
    check_options(wanted)
    return wanted


def _read_sequence_options(options: dict[str, Any]) -> SequenceOptions:
    """Gather the options that say which checkpoints, weights and names there are."""
    from wsanalyze.choosing import SequenceOptions
    from wsanalyze.options import parse_rename, parse_steps

    return SequenceOptions(
        options["weights"],
        parse_steps(options["steps"]),
        options["every"],
        given_order=options["order"] == "given",
        base=options["base"],
        renames=tuple(parse_rename(text) for text in options["rename"]),
        merge_lora=options["merge_lora"],
        split_qkv=options["split_qkv"],
    )


def _read_plan_options(options: dict[str, Any]) -> PlanOptions | None:
    """Gather the options that say how measuring is planned; None where it is not."""
    from wsanalyze.listing import PlanOptions
    from wsanalyze.options import parse_memory

    for name in ("device", "memory"):
        if options[name] is not None and not options["plan"]:
            raise UsageError(f"--{name} changes what --plan shows, and nothing else of a list: give both")
    if not options["plan"]:
        return None
    return PlanOptions(options["device"] or DEFAULT_DEVICE, parse_memory(options["memory"] or DEFAULT_MEMORY))


def _report(run: Run, trend_options: TrendOptions, options: dict[str, Any], *, keeps: bool = False) -> int:
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
        _tell(str(failure), STATUS_FAILED)
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
    return STATUS_PARTLY if shown else _tell(unreadable, STATUS_PARTLY)
