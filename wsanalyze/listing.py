"""What would be read of a sequence, told by headers alone: no run file is made, and no weight read but for a plan."""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.names import read_name
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import CheckpointError, MatchError, NoWeightsError, SourceError, UsageError
from wsanalyze.files.base import ByteSource
from wsanalyze.files.local import LocalFiles
from wsanalyze.hub.plan import REQUESTS_A_FILE, REQUESTS_A_RANGE
from wsanalyze.hub.session import HubOptions, HubSession, open_session
from wsanalyze.layers.architecture import ask_architecture
from wsanalyze.layers.base import RowMatch
from wsanalyze.layers.definition import Architecture
from wsanalyze.layers.match import PARAMS, match_or_widen
from wsanalyze.likeness.steps import tell_missing_steps
from wsanalyze.opening import OpenedCheckpoint
from wsanalyze.progress import Progress, ProgressCallback, silent
from wsanalyze.reports.listing import ListedCheckpoint, ListedFetch, ListedPlan, Listing, Status
from wsanalyze.reports.text import join_some
from wsanalyze.sequence import CheckpointSequence, Member, open_sequence
from wsanalyze.series import Event, Skip
from wsanalyze.sources import locate_checkpoints
from wsanalyze.tensors.base import TensorSet
from wsanalyze.tensors.files import read_checkpoint
from wsanalyze.tensors.header_cache import HeaderCache
from wsanalyze.tensors.headers import HeaderReader

_CACHE_NAME: Final = "headers.sqlite"
_CHECKSUMS: Final = "their checksums are equal"
_MAX_NAMED: Final = 6
_PATIENCE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What `list` reads; the options of `analyze` that concern which checkpoints and rows there are.

    Attributes:
        sequence: Which checkpoints and which of their weights.
        params: "matrices", "all", or "auto" for matrices unless none of them compares.
        layers: Regular expression searched in the names of rows, or None for all.
        architecture: "timm:NAME" to tell how far a model's definition knows the rows, or None.
        hub: How what lies on the Hub is read.
        plan: How measuring is planned, and tried for half a second; None for no plan, and no weight is read.
    """

    sequence: SequenceOptions = field(default_factory=SequenceOptions)
    params: str = "auto"
    layers: str | None = None
    architecture: str | None = None
    hub: HubOptions = field(default_factory=HubOptions)
    plan: "PlanOptions | None" = None


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How measuring is planned: options of `analyze`.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_bytes: Memory allowed for buffers.
        probe_seconds: How long weights may be read to find out how fast that is.
    """

    device: str
    memory_bytes: int
    probe_seconds: float = 0.5


def list_sequence(
    sources: Sequence[str],
    options: ListOptions = ListOptions(),
    *,
    progress: ProgressCallback = silent,
    files: ByteSource | None = None,
    cache: Path | None = None,
) -> Listing:
    """Tell what `analyze` would read of a sequence, from headers, checksums and what was listed before.

    Args:
        sources: Folders, files and globs.
        options: What is read.
        progress: Told of checkpoints opened.
        files: Where bytes come from; local files by default.
        cache: Where headers are remembered; None for nowhere.

    Raises:
        SourceError: If there is no checkpoint, none can be read, or they are several sequences.
        UsageError: If an option has a value that is not known.
    """
    if not sources:
        raise SourceError("no source given: name a folder of checkpoints")
    if options.params not in ("auto", *PARAMS):
        raise UsageError(f"--params takes {' or '.join(PARAMS)}, not {options.params!r}")
    architecture = ask_architecture(options.architecture)
    planner = _Planner(options.plan) if options.plan else None
    hub = open_session([*sources, options.sequence.base or ""], options.hub, progress)
    located = locate_checkpoints(sources, options.sequence.base, hub)
    source: ByteSource = hub.files if hub else files or LocalFiles()
    try:
        with HeaderCache(cache) as known:
            opener = _Opener(known, with_places=planner is not None)
            sequence = open_sequence(located, options.sequence, source, {}, _be_patient(progress), opener)
        sequence, copies = _leave_copies_out(sequence, opener.proven)
        copies = [*(found.tell() for found in sequence.copies), *copies]
        listing, match = _make_listing(tuple(map(os.fspath, sources)), sequence, copies, options, architecture)
        return replace(listing, plan=planner.plan(match, source, hub)) if planner else listing
    finally:
        source.close()


def default_cache_path() -> Path:
    """The file in the user's cache folder that remembers headers."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("wsanalyze", appauthor=False)) / _CACHE_NAME


def _be_patient(progress: ProgressCallback) -> ProgressCallback:
    """Tell of progress only where there is something to wait for: mostly a listing is there at once."""
    start = time.monotonic()

    def tell(found: Progress, /) -> None:
        if time.monotonic() - start > _PATIENCE_SECONDS:
            progress(found)

    return tell


class _Opener:
    """Opens checkpoints for a listing: from the cache where they are in it, else from their headers.

    Attributes:
        proven: Fingerprints that only equal weights in equal structures share.

    Args:
        cache: What is known from earlier.
        with_places: Whether it matters in which file, and where in it, tensors lie; nothing remembers that.
    """

    def __init__(self, cache: HeaderCache, *, with_places: bool) -> None:
        self.proven: set[str] = set()
        self._with_places = with_places
        self._cache = cache
        self._numbers: dict[int, tuple[int, TensorSet]] = {}
        self._reader = HeaderReader()

    def __call__(self, checkpoint: Checkpoint, source: ByteSource) -> OpenedCheckpoint:
        if checkpoint.problem is not None:
            return OpenedCheckpoint(checkpoint, None)
        try:
            found = self._cache.find(checkpoint) or self._cache.add(checkpoint, self._reader.read(checkpoint, source))
            tensors = found.tensors
            if self._with_places:
                tensors, _ = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
        except NoWeightsError:
            raise
        except CheckpointError as error:
            return OpenedCheckpoint(replace(checkpoint, problem=str(error)), None)
        # Checksums of storages do not tell which tensor is made of which.
        number, _ = self._numbers.setdefault(id(found.tensors), (len(self._numbers), found.tensors))
        fingerprint = f"{found.fingerprint}-{number}"
        if found.proven:
            self.proven.add(fingerprint)
        facts = {**found.facts, **checkpoint.facts}
        return OpenedCheckpoint(replace(checkpoint, facts=facts), tensors, found.format, fingerprint, found.proven)


class _Planner:
    """Plans measuring, with what would compute the sums.

    Raises:
        UsageError: If the device or the memory cannot be had.
        MeasureError: If there is no such device.
    """

    def __init__(self, options: PlanOptions) -> None:
        from wsanalyze.changes.devices import find_kernels
        from wsanalyze.changes.plan import check_memory

        check_memory(options.memory_bytes)
        self._options = options
        self._kernels = find_kernels(options.device)

    def plan(self, match: RowMatch | None, source: ByteSource, hub: HubSession | None) -> ListedPlan:
        """What measuring all cells would take; of what lies on the Hub nothing is fetched to find out."""
        from wsanalyze.changes.estimate import Estimate, estimate_measuring

        options, kernels = self._options, self._kernels
        found = Estimate(0, 0, 0, 0)
        if match is not None:
            far = hub is not None
            seconds = options.probe_seconds
            found = estimate_measuring(match, source, kernels, options.memory_bytes, far=far, probe_seconds=seconds)
        return ListedPlan(
            found.nbytes,
            found.num_bands,
            found.num_threads,
            kernels.name,
            found.memory_bytes,
            options.memory_bytes,
            found.seconds,
            found.probe.nbytes,
            found.probe.seconds,
            found.problem,
            None if hub is None or match is None else _plan_fetch(match, hub, found.num_runs or 0),
        )


def _plan_fetch(match: RowMatch, hub: HubSession, num_runs: int) -> ListedFetch:
    """What an analysis would fetch: files that are not on disk yet."""
    from wsanalyze.hub.ranges import HEADED

    files = {
        piece.file.stamp: piece.file
        for tensors in match.tensors
        for info in tensors
        if info is not None
        for piece in info.pieces
    }
    missing = [file for file in files.values() if not hub.files.at_hand(file)]
    in_parts = hub.files.ranges.supported and all(file.url.endswith(HEADED) for file in missing)
    return ListedFetch(
        len(missing),
        sum(file.size for file in missing),
        len(missing) * REQUESTS_A_FILE,
        num_runs * REQUESTS_A_RANGE if in_parts else None,
    )


def _leave_copies_out(sequence: CheckpointSequence, proven: set[str]) -> tuple[CheckpointSequence, list[Event]]:
    """Mark all but the first of checkpoints whose weights are equal by their checksums, wherever they stand."""
    members = list(sequence.members)
    groups: dict[str, list[int]] = {}
    for index, member in enumerate(members):
        if member.alive and member.fingerprint in proven:
            groups.setdefault(member.fingerprint, []).append(index)
    events = []
    for kept, *copies in groups.values():
        if not copies:
            continue
        reason = f"the same weights as {members[kept].checkpoint.label} ({_CHECKSUMS})"
        names = [members[index].checkpoint.label for index in copies]
        verb = "holds" if len(names) == 1 else "hold"
        text = f"{join_some(names, _MAX_NAMED)} {verb} {reason}: only one of them is compared"
        evidence = {"of": kept, "checkpoints": copies, "how": _CHECKSUMS}
        events.append(Event("duplicate", None, copies[0], text, evidence))
        for index in copies:
            checkpoint = replace(members[index].checkpoint, duplicate_of=reason)
            members[index] = replace(members[index], checkpoint=checkpoint)
    return replace(sequence, members=tuple(members)), events


def _make_listing(
    source: tuple[str, ...],
    sequence: CheckpointSequence,
    copies: Sequence[Event],
    options: ListOptions,
    architecture: Architecture | None,
) -> tuple[Listing, RowMatch | None]:
    """The listing, and the rows that compare; None where none does."""
    alive = [index for index, member in enumerate(sequence.members) if member.alive]
    members = [sequence.members[index] for index in alive]
    notes = sequence.notes
    try:
        match, params = _match(members, options, architecture)
        notes = (*notes, *match.notes)
    except MatchError as error:
        match, params = None, options.params
        notes = (*notes, str(error))
    if options.params == "auto" and params == "all":
        notes = (*notes, "no matrix compares, so all parameters are taken in, as with --params all")
    counts = dict(zip(alive, _count_rows(match, len(members)), strict=True))
    suspects = _suspect_copies(sequence.members)
    listed = tuple(
        _list_member(member, suspects.get(index), counts.get(index, {}))
        for index, member in enumerate(sequence.members)
    )
    whole = [] if match is None else [all(cell is None for cell in cells) for cells in match.states]
    found = () if match is None else match.events
    listing = Listing(
        source=source,
        weights=sequence.weights,
        params=params,
        checkpoints=listed,
        num_rows=len(whole),
        num_everywhere=sum(whole),
        skips=_gather_skips(match, members),
        events=(
            *_tell_statuses(listed, copies),
            *copies,
            *tell_missing_steps([checkpoint.step for checkpoint in listed]),
            *(replace(e, checkpoint=None if e.checkpoint is None else alive[e.checkpoint]) for e in found),
        ),
        notes=notes,
    )
    return listing, match


def _match(members: Sequence[Member], options: ListOptions, architecture: Architecture | None) -> tuple[RowMatch, str]:
    """Match the rows as an analysis does; of checkpoints that all share their tensors, two tell everything."""
    if all(member.tensors is members[0].tensors for member in members):
        members = members[:2]

    return match_or_widen(
        [member.tensors for member in members],
        [member.checkpoint.label for member in members],
        ordered=all(member.ordered for member in members),
        params=options.params,
        pattern=options.layers,
        architecture=architecture,
    )


def _count_rows(match: RowMatch | None, num_members: int) -> list[Counter[str]]:
    """For each member, its rows by dtype."""
    if match is None:
        return [Counter()] * num_members
    num_matched = len(match.pairs) + 1
    counts = [Counter(side[i].dtype for side in match.tensors if side[i] is not None) for i in range(num_matched)]  # type: ignore[union-attr] # checked by the condition
    return counts + counts[-1:] * (num_members - num_matched)


def _list_member(member: Member, suspicion: str | None, dtypes: Mapping[str, int]) -> ListedCheckpoint:
    checkpoint = member.checkpoint
    statuses: tuple[tuple[Status, str | None], ...] = (
        ("unreadable", checkpoint.problem),
        ("duplicate", checkpoint.duplicate_of),
        ("possible duplicate", suspicion),
    )
    status, reason = next((found for found in statuses if found[1]), ("ok", None))
    return ListedCheckpoint(
        step=checkpoint.step,
        label=checkpoint.label,
        origin=checkpoint.origin,
        status=status,
        reason=reason,
        format=member.format,
        nbytes=checkpoint.nbytes,
        num_tensors=len(member.tensors),
        num_rows=sum(dtypes.values()),
        dtypes=dict(dtypes),
    )


def _suspect_copies(members: Sequence[Member]) -> dict[int, str]:
    """Which members may be copies of others, and why: headers of most formats cannot tell.

    All checkpoints of a run have one header and one size. Only those are suspected whose name points at another one
    (`last`, `best`), or that are of the same step as one before.
    """
    found: dict[int, str] = {}
    alike: dict[tuple[object, ...], list[int]] = {}
    for index, member in enumerate(members):
        if member.alive and not any(file.remote for file in member.checkpoint.files):  # hashes told of those
            alike.setdefault((member.fingerprint, member.checkpoint.nbytes), []).append(index)
    for group in alike.values():
        first: dict[object, str] = {}
        for index in group if len(group) > 1 else ():
            checkpoint = members[index].checkpoint
            name = read_name(checkpoint.label)
            when = checkpoint.stage, checkpoint.step, *sorted(checkpoint.facts.items()), *sorted(name.units.items())
            other = None if checkpoint.step is None else first.setdefault(when, checkpoint.label)
            if other not in (None, checkpoint.label):
                found[index] = f"has the step, the header and the size of {other}; only the weights tell"
            elif name.alias:
                others = [members[other].checkpoint.label for other in group if other != index]
                whose = others[0] if len(others) == 1 else f"{len(others)} others"
                found[index] = f"has the header and the size of {whose}; only the weights tell"
    return found


def _tell_statuses(listed: Sequence[ListedCheckpoint], copies: Sequence[Event]) -> list[Event]:
    """Events for checkpoints that cannot be read, or are other names of one, unless those are told already."""
    told = {index for event in copies for index in event.evidence["checkpoints"]}
    events = []
    for index, checkpoint in enumerate(listed):
        if checkpoint.reason is None or index in told:
            continue
        left_out = {
            "unreadable": "cannot be read and is left out: ",
            "duplicate": "is left out: ",
            "possible duplicate": "",
        }
        text = f"{checkpoint.label} {left_out[checkpoint.status]}{checkpoint.reason}"
        kind = checkpoint.status.replace(" ", "-")
        events.append(Event(kind, None, index, text, {"reason": checkpoint.reason}))
    return events


def _gather_skips(match: RowMatch | None, members: Sequence[Member]) -> tuple[Skip, ...]:
    found = {skip.name: skip for skip in (() if match is None else match.skips)}
    for member in members:
        for skip in member.skips:
            found.setdefault(skip.name, skip)
    return tuple(found.values())
