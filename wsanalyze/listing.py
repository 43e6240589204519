"""What would be read of a sequence, told by headers alone: no run file is made, and no weight read but for a plan."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import CheckpointError, MatchError, NoWeightsError, SourceError, UsageError
from wsanalyze.files.base import ByteSource
from wsanalyze.files.local import LocalFiles
from wsanalyze.hub.session import HubOptions, open_session
from wsanalyze.layers.architecture import ask_architecture
from wsanalyze.layers.base import RowMatch
from wsanalyze.layers.definition import Architecture
from wsanalyze.layers.match import PARAMS, match_or_widen
from wsanalyze.likeness.steps import tell_missing_steps
from wsanalyze.listing_copies import leave_copies_out, suspect_copies
from wsanalyze.listing_plan import Planner, PlanOptions
from wsanalyze.opening import OpenedCheckpoint
from wsanalyze.progress import Progress, ProgressCallback, silent
from wsanalyze.reports.listing import ListedCheckpoint, Listing, Status
from wsanalyze.sequence import CheckpointSequence, Member, open_sequence
from wsanalyze.series import Event, Skip
from wsanalyze.sources import Located, locate_checkpoints
from wsanalyze.tensors.base import TensorSet
from wsanalyze.tensors.files import read_checkpoint
from wsanalyze.tensors.header_cache import HeaderCache
from wsanalyze.tensors.headers import HeaderReader

_CACHE_NAME: Final = "headers.sqlite"
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
    plan: PlanOptions | None = None


def list_sequence(
    sources: Sequence[str],
    options: ListOptions = ListOptions(),
    *,
    progress: ProgressCallback = silent,
    files: ByteSource | None = None,
    cache: Path | None = None,
    check: Callable[[Located], None] | None = None,
) -> Listing:
    """Tell what `analyze` would read of a sequence, from headers, checksums and what was listed before.

    Args:
        sources: Folders, files and globs.
        options: What is read.
        progress: Told of checkpoints opened.
        files: Where bytes come from; local files by default.
        cache: Where headers are remembered; None for nowhere.
        check: Told of the checkpoints before one is opened; what it raises ends the work.

    Raises:
        SourceError: If there is no checkpoint, none can be read, or they are several sequences.
        UsageError: If an option has a value that is not known.
    """
    if not sources:
        raise SourceError("no source given: name a folder of checkpoints")
    if options.params not in ("auto", *PARAMS):
        raise UsageError(f"--params takes {' or '.join(PARAMS)}, not {options.params!r}")
    architecture = ask_architecture(options.architecture)
    planner = Planner(options.plan) if options.plan else None
    hub = open_session([*sources, options.sequence.base or ""], options.hub, progress)
    located = locate_checkpoints(sources, options.sequence.base, hub)
    if check is not None:
        check(located)
    source: ByteSource = hub.files if hub else files or LocalFiles()
    try:
        with HeaderCache(cache) as known:
            opener = _Opener(known, with_places=planner is not None)
            sequence = open_sequence(located, options.sequence, source, {}, _be_patient(progress), opener)
        sequence, copies = leave_copies_out(sequence, opener.proven)
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
    suspects = suspect_copies(sequence.members)
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
