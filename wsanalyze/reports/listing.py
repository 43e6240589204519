"""What `wsanalyze list` shows: the checkpoints of a sequence as their headers tell them, for people and programs."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import check_open, write_text
from wsanalyze.reports.terminal_page import Cell, ColorSystem, Page, probe_terminal
from wsanalyze.reports.text import format_bytes, format_count, format_seconds, join_some, printable, text_width
from wsanalyze.series import Event, Skip

FORMAT_VERSION: Final = 1
DEFAULT_WIDTH: Final = 80
_WIDTHS: Final = (40, 240)
_FEWEST_LABEL_COLUMNS: Final = 12
_FORMAT_WIDTH: Final = 24
_MAX_REASON_LINES: Final = 4
_MAX_EVENTS: Final = 20
_MAX_NOTES: Final = 20
_STYLES: Final = {"unreadable": "red", "duplicate": "dim", "possible duplicate": "yellow"}

_TITLES: Final = ("step", "checkpoint", "format", "size", "rows")
_TOLD_IN_TABLE: Final = ("unreadable", "duplicate", "possible-duplicate")

Status = Literal["ok", "duplicate", "possible duplicate", "unreadable"]


@dataclass(frozen=True, slots=True)
class ListedCheckpoint:
    """One checkpoint as its headers tell it.

    Attributes:
        step: Training step, epoch or iteration; None where none is known.
        label: The short name shown to people.
        origin: Where it lies.
        status: "ok", "duplicate" (left out of an analysis), "possible duplicate" (headers cannot tell), "unreadable".
        reason: Why it is not "ok", or None.
        format: Layout of its files in words.
        nbytes: Size of its weight files in bytes.
        num_tensors: Tensors of the weights chosen.
        num_rows: How many of them are rows that compare with those of another checkpoint.
        dtypes: Number of those rows by dtype.
    """

    step: int | None
    label: str
    origin: str
    status: Status
    reason: str | None
    format: str
    nbytes: int
    num_tensors: int = 0
    num_rows: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedFetch:
    """What would be fetched from the Hub.

    Attributes:
        num_files: Files that are not on disk, equal ones counted once.
        nbytes: Their size.
        file_requests: About how many requests bring them here whole.
        range_requests: About how many bring only the bytes needed; None where that cannot be had.
    """

    num_files: int
    nbytes: int
    file_requests: int
    range_requests: int | None


@dataclass(frozen=True, slots=True)
class ListedPlan:
    """What measuring would take if nothing of it were stored.

    Attributes:
        nbytes: Bytes of weights that are read.
        num_bands: Parts that they are read in.
        num_threads: Threads that work at once.
        kernel: What computes the sums.
        buffer_bytes: Memory of all buffers.
        memory_bytes: Memory allowed for them.
        seconds: How long it would take, or None where that is not known.
        probe_bytes: What was read to find that out.
        probe_seconds: How long that took.
        problem: Why it could not be found out, or None.
        fetch: What would be fetched from the Hub; None where no source lies there.
    """

    nbytes: int
    num_bands: int
    num_threads: int
    kernel: str
    buffer_bytes: int
    memory_bytes: int
    seconds: float | None = None
    probe_bytes: int = 0
    probe_seconds: float = 0.0
    problem: str | None = None
    fetch: ListedFetch | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence of checkpoints as its headers tell it.

    Attributes:
        source: The sources as the user gave them.
        weights: Which weights are read ("model", "ema").
        params: Which parameters are rows ("matrices", "all").
        checkpoints: All checkpoints, in order.
        num_rows: Rows that compare from some checkpoint to the next.
        num_everywhere: Those that do from every checkpoint to the next.
        skips: Tensors that are in no row.
        events: What the headers tell of the sequence.
        notes: Sentences on choices that the program made.
        plan: What measuring would take; None where that was not asked for.
    """

    source: tuple[str, ...]
    weights: str
    params: str
    checkpoints: tuple[ListedCheckpoint, ...]
    num_rows: int
    num_everywhere: int
    skips: tuple[Skip, ...]
    events: tuple[Event, ...]
    notes: tuple[str, ...]
    plan: ListedPlan | None = None

    @property
    def num_unreadable(self) -> int:
        """How many checkpoints could not be read."""
        return sum(checkpoint.status == "unreadable" for checkpoint in self.checkpoints)


def write_json(listing: Listing, version: str, destination: Destination) -> None:
    """Write a listing as JSON; the format is in docs/cli.md.

    Raises:
        ReportError: If it cannot be written.
    """
    document = {
        "format": FORMAT_VERSION,
        "wsanalyze": version,
        "source": listing.source,
        "weights": listing.weights,
        "params": listing.params,
        "checkpoints": [_to_json(checkpoint) for checkpoint in listing.checkpoints],
        "rows": {"some": listing.num_rows, "all": listing.num_everywhere},
        "skipped": [{"name": skip.name, "reason": skip.reason} for skip in listing.skips],
        "events": [
            {"kind": e.kind, "layer": e.layer, "checkpoint": e.checkpoint, "text": e.text, "evidence": dict(e.evidence)}
            for e in listing.events
        ],
        "notes": listing.notes,
    }
    if listing.plan is not None:
        document["plan"] = _plan_to_json(listing.plan)
    lines = []
    for key, value in document.items():
        if value and isinstance(value, list):
            lines.append(f"{json.dumps(key)}: [\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    write_text("{\n " + ",\n ".join(lines) + "\n}\n", destination)


def _to_json(checkpoint: ListedCheckpoint) -> dict[str, Any]:
    return {
        "step": checkpoint.step,
        "label": checkpoint.label,
        "origin": checkpoint.origin,
        "status": checkpoint.status,
        "reason": checkpoint.reason,
        "format": checkpoint.format,
        "nbytes": checkpoint.nbytes,
        "tensors": checkpoint.num_tensors,
        "rows": checkpoint.num_rows,
        "dtypes": dict(checkpoint.dtypes),
    }


def _plan_to_json(plan: ListedPlan) -> dict[str, Any]:
    probed = {"nbytes": plan.probe_bytes, "seconds": plan.probe_seconds} if plan.probe_bytes else None
    return {
        "nbytes": plan.nbytes,
        "bands": plan.num_bands,
        "threads": plan.num_threads,
        "kernel": plan.kernel,
        "memory": {"buffers": plan.buffer_bytes, "allowed": plan.memory_bytes},
        "seconds": plan.seconds,
        "probe": probed,
        "problem": plan.problem,
        "hub": None
        if plan.fetch is None
        else {
            "files": plan.fetch.num_files,
            "nbytes": plan.fetch.nbytes,
            "requests": {"files": plan.fetch.file_requests, "ranges": plan.fetch.range_requests},
        },
    }


def write_terminal(
    listing: Listing, version: str, destination: Destination, *, width: int | None = None, no_color: bool = False
) -> None:
    """Write a listing as a table with a summary below.

    Args:
        listing: What to show.
        version: Version of wsanalyze.
        destination: Where to; colours and other escape codes go to a terminal only.
        width: Columns to use, 40 to 240; by default those of the terminal, and 80 for everything else.
        no_color: Whether to write no escape codes at all, as where NO_COLOR is set.

    Raises:
        ReportError: If it cannot be written.
    """
    check_open(destination)
    columns, encoding = DEFAULT_WIDTH, "utf-8"
    colors: ColorSystem | None = None
    if not isinstance(destination, Path):
        encoding = getattr(destination, "encoding", None) or encoding
        if destination.isatty():
            columns, colors = probe_terminal(destination)
    if no_color or os.environ.get("NO_COLOR"):
        colors = None
    narrowest, widest = _WIDTHS
    page = Page(min(max(width or columns, narrowest), widest), encoding)
    page.add_heading(f"wsanalyze {version}: {', '.join(listing.source)}")
    _add_table(page, listing.checkpoints)
    _add_summary(page, listing)
    write_text(page.render(colors), destination)


def _add_table(page: Page, checkpoints: Sequence[ListedCheckpoint]) -> None:
    """A line for each checkpoint; what is wrong with it stands behind it where there is room, else below."""
    lines = [
        (
            "-" if c.step is None else str(c.step),
            c.label,
            printable(c.format) or "-",
            format_bytes(c.nbytes),
            str(c.num_rows) if c.num_tensors and c.status != "duplicate" else "-",
        )
        for c in checkpoints
    ]
    widths, labels = _fit(page, lines)
    behind = page.item_room(sum(widths) + 2 * (len(widths) - 1))
    page.add_space()
    page.add_cells(_cells(_TITLES, widths, "bold"))
    for checkpoint, line, label in zip(checkpoints, lines, labels, strict=True):
        style = _STYLES.get(checkpoint.status, "")
        cells = _cells((line[0], label, *line[2:]), widths, style)
        told = _tell_reason(checkpoint)
        fits = text_width(page.shorten(told, page.width)) <= behind
        page.add_cells([*cells, Cell(told, behind, style)] if told and fits else cells)
        if told and not fits:
            page.add_paragraph(told, indent=widths[0] + 4, style=style, max_lines=_MAX_REASON_LINES)


def _fit(page: Page, lines: Sequence[Sequence[str]]) -> tuple[list[int], list[str]]:
    """Widths of the columns, and the labels as they fit in: label and format share what the numbers leave."""
    widths = [max(map(text_width, column)) for column in zip(_TITLES, *lines, strict=True)]
    names = [line[1] for line in lines]
    room = max(2, page.item_room(0) - sum(widths[:1] + widths[3:]) - 2 * (len(widths) - 2))
    longest = max(map(text_width, page.shorten_names(names, room)), default=0)
    widths[2] = max(1, min(widths[2], max(_FORMAT_WIDTH, room - longest), room - _FEWEST_LABEL_COLUMNS))
    labels = page.shorten_names(names, room - widths[2])
    widths[1] = max(text_width(label) for label in (page.shorten(_TITLES[1], room - widths[2]), *labels))
    return widths, labels


def _tell_reason(checkpoint: ListedCheckpoint) -> str:
    """What is wrong with a checkpoint; its own line names it already, so that its path is not repeated."""
    if not checkpoint.reason:
        return ""
    own = checkpoint.reason.startswith(f"{checkpoint.origin}: ")
    return f"{checkpoint.status}: {checkpoint.reason[len(checkpoint.origin) + 2 :] if own else checkpoint.reason}"


def _cells(texts: Sequence[str], widths: Sequence[int], style: str) -> list[Cell]:
    right = (True, False, False, True, True)
    return [Cell(text, width, style, right=aligned) for text, width, aligned in zip(texts, widths, right, strict=True)]


def _add_summary(page: Page, listing: Listing) -> None:
    page.add_space()
    events = [event for event in listing.events if event.kind not in _TOLD_IN_TABLE]
    items = [(event.kind, event.text, 6) for event in events[:_MAX_EVENTS]]
    if len(events) > _MAX_EVENTS:
        counts = Counter(event.kind for event in events[_MAX_EVENTS:])
        items.append(("more", ", ".join(f"{count} {kind}" for kind, count in counts.most_common()), 3))
    if listing.skips:
        reasons = Counter(skip.reason for skip in listing.skips)
        text = join_some([f"{count} {printable(reason)}" for reason, count in reasons.most_common()], 3)
        items.append(("skipped", text, 4))
    items += [("note", note, 6) for note in listing.notes[:_MAX_NOTES]]
    width = max((len(label) for label, _, _ in items), default=0)
    for label, text, max_lines in items:
        page.add_item(label, text, label_width=width, max_lines=max_lines)
    page.add_paragraph(describe_listing(listing), indent=0, style="bold")
    if listing.plan is not None:
        page.add_space()
        told = describe_plan(listing.plan)
        width = max(len(label) for label, _ in told)
        for label, text in told:
            page.add_item(label, text, label_width=width, max_lines=4)
    if listing.num_unreadable:
        page.add_paragraph(describe_unreadable(listing), indent=0, style="bold red")


def describe_listing(listing: Listing) -> str:
    """The sequence in one sentence: how many checkpoints, which steps, how large, how many rows compare."""
    parts = [format_count(len(listing.checkpoints), "checkpoint")]
    alive = [c for c in listing.checkpoints if c.status in ("ok", "possible duplicate")]
    if len(alive) < len(listing.checkpoints):
        parts.append(f"{len(alive)} to compare")
    steps = [c.step for c in alive if c.step is not None]
    if steps:
        low, high = min(steps), max(steps)
        parts.append(f"step {low}" if low == high else f"steps {low} to {high}")
    parts.append(format_bytes(sum(c.nbytes for c in listing.checkpoints)))
    text = ", ".join(parts)
    if len(alive) < 2:  # noqa: PLR2004 - a pair
        return f"{text}; there is nothing to compare: a change needs two different checkpoints."
    if not listing.num_rows:
        return f"{text}; no row compares."
    dtypes: Counter[str] = Counter()
    for checkpoint in alive:
        dtypes.update(checkpoint.dtypes)
    names = [name for name, _ in dtypes.most_common()]
    count, more = listing.num_everywhere, listing.num_rows - listing.num_everywhere
    where = f" throughout, {more} more in part" if more else ""
    if not count:
        count, where = more, " in part"
    noun = f"{names[0]} row" if len(names) == 1 else "row"
    rows = f"{format_count(count, noun)} {'compares' if count == 1 else 'compare'}{where}"
    kinds = f" ({', '.join(names)})" if len(names) > 1 else ""
    return f"{text}; {rows}{kinds}."


def describe_plan(plan: ListedPlan) -> list[tuple[str, str]]:
    """What measuring would take: labels, and what stands behind each."""
    if not plan.nbytes:
        return [("plan", "reads no weights: there is nothing to measure")]
    bands, threads = format_count(plan.num_bands, "band"), format_count(plan.num_threads, "thread")
    told = [
        ("plan", f"reads {format_bytes(plan.nbytes)}, each byte once, in {bands} by {threads}"),
        ("sums", f"by {plan.kernel}"),
        ("memory", f"{format_bytes(plan.buffer_bytes)} of buffers; --memory allows {format_bytes(plan.memory_bytes)}"),
    ]
    if plan.buffer_bytes > plan.memory_bytes:
        told[-1] = ("memory", f"{told[-1][1]}, but a tensor in another order elsewhere is read whole")
    if plan.fetch is not None:
        told.append(("Hub", _describe_fetch(plan.fetch)))
    if plan.seconds is not None:
        probe = f"{format_bytes(plan.probe_bytes)} in {format_seconds(plan.probe_seconds)}"
        text = f"about {format_seconds(plan.seconds)}: a probe read {probe}; files not in the page cache take longer"
    elif plan.problem is not None:
        text = f"not known: the probe failed ({plan.problem})"
    else:
        text = "not known: nothing is fetched to find out"
    return [*told, ("time", text)]


def _describe_fetch(fetch: ListedFetch) -> str:
    if not fetch.num_files:
        return "all files are on disk already"
    ranges = "" if fetch.range_requests is None else f", {fetch.range_requests} for the bytes needed alone"
    files = format_count(fetch.num_files, "file")
    return f"{files}, {format_bytes(fetch.nbytes)}; about {fetch.file_requests} requests for whole files{ranges}"


def describe_unreadable(listing: Listing) -> str:
    """The last line where not every checkpoint could be read."""
    return f"{format_count(listing.num_unreadable, 'checkpoint')} could not be read."
