"""What `wsanalyze list` shows: the checkpoints of a sequence as their headers tell them, and what is said of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wsanalyze.reports.text import format_bytes, format_count, format_seconds
from wsanalyze.series import Event, Skip

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
