"""The command line: parse, call, print. The only place that catches WsAnalyzeError.

References:
    docs/cli.md, a contract: add to it, do not break it.
"""

from __future__ import annotations

import gc
import io
import sys
from pathlib import Path
from typing import Any, Final

import click

from wsanalyze.cli_destinations import check_destinations, find_run_path
from wsanalyze.cli_ending import (
    STATUS_FAILED,
    STATUS_INTERRUPTED,
    STATUS_PARTLY,
    ClosedOutput,
    InterruptibleGroup,
    drop_output,
    ended_by_signal,
    explain,
    tell,
)
from wsanalyze.cli_options import (
    DEFAULT_DEVICE,
    DEFAULT_MEMORY,
    choice_options,
    common_options,
    fetch_options,
    hub_options,
    measuring_options,
    read_plan_options,
    read_sequence_options,
    read_trend_options,
    report_options,
    sequence_options,
    trend_options,
)
from wsanalyze.cli_reports import describe_command, report_run
from wsanalyze.version import __version__

_OBJECTS_BETWEEN_COLLECTIONS: Final = 100_000


@click.group(cls=InterruptibleGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    destinations = check_destinations(options)
    path = find_run_path(run_path, destinations)
    trend_options = read_trend_options(options)
    from wsanalyze.console import ProgressDisplay, describe_effort
    from wsanalyze.files.local import allow_many_files
    from wsanalyze.hub.session import HubOptions
    from wsanalyze.options import parse_memory
    from wsanalyze.pipeline import AnalyzeOptions, measure_run

    sequence = read_sequence_options(options)
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
    with ProgressDisplay(quiet=options["quiet"], no_color=options["no_color"], warm_up=True) as progress:
        run = measure_run(
            source,
            path,
            wanted,
            command=describe_command(context.obj),
            progress=progress,
            check=destinations.spare_checkpoints,
        )
    if run.effort is not None and run.series.pairs and not options["quiet"]:
        click.echo(describe_effort(run.effort), err=True)
    return report_run(run, trend_options, options, context.obj, keeps=True)


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
    destinations = check_destinations(options)
    from wsanalyze.console import ProgressDisplay
    from wsanalyze.hub.session import HubOptions
    from wsanalyze.listing import ListOptions, default_cache_path, list_sequence
    from wsanalyze.reports.listing import describe_unreadable
    from wsanalyze.reports.listing_json import write_json
    from wsanalyze.reports.listing_page import write_terminal

    wanted = ListOptions(
        read_sequence_options(options),
        options["params"] or "auto",
        options["layers"],
        options["architecture"],
        HubOptions(options["repo_type"], options["commits"]),
        read_plan_options(options),
    )
    with ProgressDisplay(quiet=options["quiet"], no_color=options["no_color"]) as progress:
        found = list_sequence(
            source, wanted, progress=progress, cache=default_cache_path(), check=destinations.spare_checkpoints
        )
    if options["json"]:
        write_json(found, __version__, sys.stdout if options["json"] == "-" else Path(options["json"]))
    shown = options["json"] != "-" and not options["quiet"]
    if shown:
        write_terminal(found, __version__, sys.stdout, no_color=options["no_color"])
    if not found.num_unreadable:
        return 0
    return STATUS_PARTLY if shown else tell(describe_unreadable(found), STATUS_PARTLY)


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
        tell(text, STATUS_PARTLY)
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
@click.pass_context
def report(context: click.Context, /, run_path: str, **options: Any) -> int:  # noqa: ANN401 - click's values
    """Report a stored run (a .wsa file) again, in any form and with any metric; reads no weights."""
    check_destinations(options).spare_run(Path(run_path))
    trend_options = read_trend_options(options)
    from wsanalyze.run import Run

    return report_run(Run.open(run_path), trend_options, options, context.obj)


@cli.command()
@click.argument("table", metavar="TABLE.csv")
@report_options
@trend_options
@common_options
@click.pass_context
def trends(context: click.Context, /, table: str, **options: Any) -> int:  # noqa: ANN401 - click's values
    """Find trends in a table that someone else measured: first column `layer`, then one column a step."""
    check_destinations(options).spare(f"the table {table}", table)
    trend_options = read_trend_options(options)
    from wsanalyze.run import Run

    return report_run(Run.from_table(table), trend_options, options, context.obj)


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
    # Closed streams are None.
    sys.stdout, sys.stderr = sys.stdout or ClosedOutput(), sys.stderr or ClosedOutput()
    for stream in (sys.stdout, sys.stderr):
        # A name that a terminal cannot show must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with ended_by_signal():
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
        drop_output()
        return STATUS_FAILED
    except Exception as error:
        told = explain(error)
        if told is None or ("--debug" in arguments and not isinstance(error, click.ClickException)):
            raise
        return tell(*told)
    return status if isinstance(status, int) else 0
