"""The options of the command line, those that several commands share together, and what becomes of them.

References:
    docs/cli.md says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from wsanalyze.errors import UsageError

if TYPE_CHECKING:
    from wsanalyze.choosing import SequenceOptions
    from wsanalyze.listing_plan import PlanOptions
    from wsanalyze.trends.base import TrendOptions

DEFAULT_DEVICE: Final = "auto"
DEFAULT_MEMORY: Final = "128MB"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator, in the order written."""
    return lambda command: reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


report_options = _options(
    click.option("--html", metavar="FILE", help="Write a self-contained web page."),
    click.option("--json", metavar="FILE", help="Write report.json; - is standard output."),
    click.option("--csv", metavar="FILE", help="Write the table of changes; - is standard output."),
    click.option("--markdown", metavar="FILE", help="Write a summary in Markdown; - is standard output."),
    click.option("--figures", metavar="DIR", help="Write figures for papers: SVG, PDF and PNG."),
    click.option(
        "--tensorboard", metavar="DIR", help='Write scalars for TensorBoard (pip install "wsanalyze[tensorboard]").'
    ),
    click.option("--open", "open_page", is_flag=True, help="Open the web page in a browser (with --html)."),
)
trend_options = _options(
    click.option(
        "--metric",
        metavar="NAME",
        default="rwc",
        show_default=True,
        help="rwc, rwc-elementwise, l2, angle, flips, changed, rate, rate-linear; from-first, rotation, coherence, "
        "efficiency, and, slower, spectral, rank (analyze measures these where they are asked for).",
    ),
    click.option(
        "--method",
        metavar="NAME",
        default="robust",
        show_default=True,
        help="robust, paper, kmeans, gmm, hdbscan or agglomerative.",
    ),
    click.option("--clusters", metavar="auto|K", default="auto", show_default=True, help="How many clusters."),
    click.option(
        "--features",
        metavar="NAME",
        default="shape",
        show_default=True,
        help="What is compared: shape, level, both.",
    ),
    click.option("--by-kind", is_flag=True, help="Cluster the rows of each kind by themselves."),
    click.option("--group", metavar="BY", help="Add rows together by module, block or kind."),
    click.option("--window", metavar="N", type=int, help="Changes in one sliding window.  [default: chosen]"),
    click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of whatever is random."),
)
choice_options = _options(
    click.option("--steps", metavar="A:B", help="Only these steps, both ends included."),
    click.option(
        "--every", metavar="N", type=click.IntRange(min=1), default=1, help="Every Nth checkpoint, first and last kept."
    ),
)
sequence_options = _options(
    click.option("--layers", metavar="REGEX", help="Only rows whose name the expression is found in."),
    choice_options,
    click.option("--order", type=click.Choice(["auto", "given"]), default="auto", help="By step, or as given."),
    click.option(
        "--params", type=click.Choice(["matrices", "all"]), help="Only matrices (the default), or all parameters."
    ),
    click.option(
        "--weights", type=click.Choice(["auto", "model", "ema"]), default="auto", help="Which set of weights."
    ),
    click.option("--base", metavar="SOURCE", help="A checkpoint to put before the first: the pretrained model."),
    click.option(
        "--rename", metavar="OLD=NEW", multiple=True, help="Rename tensors by a regular expression; may be repeated."
    ),
    click.option("--merge-lora", is_flag=True, help="Measure the update that an adapter makes, not its two factors."),
    click.option("--split-qkv", is_flag=True, help="Make three rows of a fused query, key and value weight."),
    click.option("--architecture", metavar="timm:NAME", help="Kinds and depths of layers by a model's definition."),
)
measuring_options = _options(
    click.option("--device", metavar="auto|cpu|cuda[:N]", help="Where sums are computed.  [default: auto]"),
    click.option("--memory", metavar="SIZE", help="Memory for buffers.  [default: 128MB]"),
)
hub_options = _options(
    click.option("--commits", is_flag=True, help="The commits of one branch on the Hub, not branches and tags."),
    click.option(
        "--repo-type", type=click.Choice(["model", "dataset", "space"]), default="model", help="Kind of Hub repository."
    ),
)
fetch_options = _options(
    click.option("--keep", is_flag=True, help="Keep what is downloaded from the Hub, in its own cache."),
    click.option(
        "--fetch",
        type=click.Choice(["auto", "files", "ranges"]),
        default="auto",
        help="Read whole files from the Hub, two checkpoints at a time, or only the bytes needed.",
    ),
)
common_options = _options(
    click.option("--quiet", "-q", is_flag=True, help="No progress and no terminal report."),
    click.option("--no-color", is_flag=True, help="No colour (as does NO_COLOR)."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


def read_trend_options(options: dict[str, Any]) -> TrendOptions:
    """Gather the options that trends depend on, and refuse wrong ones before any work is done."""
    from wsanalyze.metrics import find_metric
    from wsanalyze.options import parse_clusters
    from wsanalyze.series import check_grouping
    from wsanalyze.trends.base import TrendOptions
    from wsanalyze.trends.find import check_options

    clusters = parse_clusters(options["clusters"])
    names = ("metric", "method", "features", "group", "seed", "by_kind", "window")
    wanted = TrendOptions(clusters=clusters, **{name: options[name] for name in names})
    find_metric(wanted.metric)
    if wanted.group is not None:
        check_grouping(wanted.group, wanted.metric)
    check_options(wanted)
    return wanted


def read_sequence_options(options: dict[str, Any]) -> SequenceOptions:
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


def read_plan_options(options: dict[str, Any]) -> PlanOptions | None:
    """Gather the options that say how measuring is planned; None where it is not."""
    from wsanalyze.listing_plan import PlanOptions
    from wsanalyze.options import parse_memory

    for name in ("device", "memory"):
        if options[name] is not None and not options["plan"]:
            raise UsageError(f"--{name} changes what --plan shows, and nothing else of a list: give both")
    if not options["plan"]:
        return None
    return PlanOptions(options["device"] or DEFAULT_DEVICE, parse_memory(options["memory"] or DEFAULT_MEMORY))
