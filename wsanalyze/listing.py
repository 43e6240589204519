"""What would be read of a sequence, told by headers alone: no weight is read and no run file made."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.facts import digest_tokens, read_facts
from wsanalyze.checkpoints.names import read_name
from wsanalyze.errors import CheckpointError, MatchError, NoWeightsError, SourceError, UsageError
from wsanalyze.files.base import ByteSource
from wsanalyze.files.local import LocalFiles
from wsanalyze.layers.base import RowMatch
from wsanalyze.layers.match import PARAMS, match_layers
from wsanalyze.progress import ProgressCallback, silent
from wsanalyze.reports.listing import ListedCheckpoint, Listing, Status
from wsanalyze.sequence import (
    CheckpointSequence,
    Member,
    OpenedCheckpoint,
    SequenceOptions,
    join_fingerprints,
    open_sequence,
)
from wsanalyze.series import Event, Skip
from wsanalyze.tensors.files import describe_format, read_checkpoint
from wsanalyze.tensors.header_cache import HeaderCache, Headers

_CACHE_NAME: Final = "headers.sqlite"
_LEAST_STEPS: Final = 4
_MAX_MISSING: Final = 100_000
_MAX_NAMED: Final = 6


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What `list` reads; the options of `analyze` that concern which checkpoints and rows there are.

    Attributes:
        sequence: Which checkpoints and which of their weights.
        params: "matrices", "all", or "auto" for matrices unless none of them compares.
        layers: Regular expression searched in the names of rows, or None for all.
    """

    sequence: SequenceOptions = field(default_factory=SequenceOptions)
    params: str = "auto"
    layers: str | None = None


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
    source = files or LocalFiles()
    try:
        with HeaderCache(cache) as known:
            reader = _HeaderReader(known)
            sequence = open_sequence(sources, options.sequence, source, {}, progress, reader)
        return _make_listing(tuple(map(os.fspath, sources)), sequence, options, reader.proven)
    finally:
        source.close()


def default_cache_path() -> Path:
    """The file in the user's cache folder that remembers headers."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("wsanalyze", appauthor=False)) / _CACHE_NAME


class _HeaderReader:
    """Opens checkpoints for a listing: from the cache where they are in it, else from their headers."""

    def __init__(self, cache: HeaderCache) -> None:
        self._cache = cache
        self.proven: set[str] = set()

    def __call__(self, checkpoint: Checkpoint, source: ByteSource) -> OpenedCheckpoint:
        if checkpoint.problem is not None:
            return OpenedCheckpoint(checkpoint, None)
        try:
            found = self._cache.find(checkpoint) or self._cache.add(checkpoint, _read_headers(checkpoint, source))
        except NoWeightsError:
            raise
        except CheckpointError as error:
            return OpenedCheckpoint(replace(checkpoint, problem=str(error)), None)
        if found.proven:
            self.proven.add(found.fingerprint)
        facts = {**found.facts, **checkpoint.facts}
        return OpenedCheckpoint(
            replace(checkpoint, facts=facts), found.tensors, found.format, found.fingerprint, found.proven
        )


def _read_headers(checkpoint: Checkpoint, source: ByteSource) -> Headers:
    tensors, contents = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
    facts: dict[str, int] = {}
    parts, proven = [], True
    for file, content in zip(checkpoint.files, contents, strict=True):
        facts = read_facts(content) | facts
        parts.append(digest_tokens(content))
        proven = proven and not content.unsummed(source, file)
    for file in checkpoint.files:
        source.verify(file)
    return Headers(
        tensors,
        facts,
        describe_format(checkpoint.layout, contents),
        join_fingerprints(checkpoint, parts),
        proven,
    )


def _make_listing(
    source: tuple[str, ...], sequence: CheckpointSequence, options: ListOptions, proven: set[str]
) -> Listing:
    alive = [index for index, member in enumerate(sequence.members) if member.alive]
    members = [sequence.members[index] for index in alive]
    notes = sequence.notes
    try:
        match, params = _match(members, options)
    except MatchError as error:
        match, params = None, options.params
        notes = (*notes, str(error))
    if options.params == "auto" and params == "all":
        notes = (*notes, "no matrix compares, so all parameters are taken in, as with --params all")
    counts = _count_rows(match, len(members))
    copies = _find_copies(sequence.members, proven)
    listed = tuple(
        _list_member(member, *copies.get(index, ("ok", None)), counts[alive.index(index)] if member.alive else {})
        for index, member in enumerate(sequence.members)
    )
    events = [
        *(Event(_kind(c.status), None, i, f"{c.label}: {c.reason}", {}) for i, c in enumerate(listed) if c.reason),
        *_find_missing_steps(listed),
    ]
    whole = [] if match is None else [all(cell is None for cell in cells) for cells in match.states]
    if match is not None:
        events += [replace(e, checkpoint=None if e.checkpoint is None else alive[e.checkpoint]) for e in match.events]
    return Listing(
        source=source,
        weights=sequence.weights,
        params=params,
        checkpoints=listed,
        num_rows=len(whole),
        num_everywhere=sum(whole),
        skips=_gather_skips(match, members),
        events=tuple(events),
        notes=notes,
    )


def _match(members: Sequence[Member], options: ListOptions) -> tuple[RowMatch, str]:
    """Match the rows as an analysis does; of checkpoints that all share their tensors, two tell everything."""
    if all(member.tensors is members[0].tensors for member in members):
        members = members[:2]

    def match(params: str) -> RowMatch:
        return match_layers(
            [member.tensors for member in members],
            [member.checkpoint.label for member in members],
            ordered=all(member.ordered for member in members),
            params=params,
            pattern=options.layers,
        )

    if options.params != "auto":
        return match(options.params), options.params
    try:
        return match("matrices"), "matrices"
    except MatchError as no_matrix:
        with suppress(MatchError):
            return match("all"), "all"
        raise no_matrix from None


def _count_rows(match: RowMatch | None, num_members: int) -> list[Counter[str]]:
    """For each member, its rows by dtype."""
    if match is None:
        return [Counter()] * num_members
    num_matched = len(match.pairs) + 1
    counts = [Counter(side[i].dtype for side in match.tensors if side[i] is not None) for i in range(num_matched)]  # type: ignore[union-attr] # checked by the condition
    return counts + counts[-1:] * (num_members - num_matched)


def _list_member(member: Member, status: Status, reason: str | None, dtypes: Mapping[str, int]) -> ListedCheckpoint:
    checkpoint = member.checkpoint
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


def _find_copies(members: Sequence[Member], proven: set[str]) -> dict[int, tuple[Status, str | None]]:
    """What is wrong with each member, and which may be copies of others: headers cannot always tell."""
    found: dict[int, tuple[Status, str | None]] = {}
    first: dict[str, str] = {}
    like: Counter[tuple[str, int]] = Counter(
        (member.fingerprint, member.checkpoint.nbytes) for member in members if member.alive
    )
    for index, member in enumerate(members):
        checkpoint, fingerprint = member.checkpoint, member.fingerprint
        if checkpoint.problem is not None:
            found[index] = "unreadable", checkpoint.problem
        elif checkpoint.duplicate_of is not None:
            found[index] = "duplicate", checkpoint.duplicate_of
        elif fingerprint in proven and fingerprint in first:
            found[index] = "duplicate", f"the same weights as {first[fingerprint]}, by their checksums"
        elif fingerprint not in proven and read_name(checkpoint.label).alias:
            others = like[fingerprint, checkpoint.nbytes] - 1
            if others:
                text = "has the header and the size of"
                who = "another checkpoint" if others == 1 else f"{others} others"
                found[index] = "possible duplicate", f"{text} {who}; the weights tell, and are not read here"
        first.setdefault(fingerprint, checkpoint.label)
    return found


def _kind(status: Status) -> str:
    return "duplicate" if status == "possible duplicate" else status


def _find_missing_steps(listed: Sequence[ListedCheckpoint]) -> list[Event]:
    """Steps that a regular spacing asks for and no checkpoint has."""
    steps = sorted({c.step for c in listed if c.step is not None})
    gaps = [after - before for before, after in zip(steps, steps[1:], strict=False)]
    if len(steps) < _LEAST_STEPS:
        return []
    gap, count = Counter(gaps).most_common(1)[0]
    holes = [(before, size) for before, size in zip(steps, gaps, strict=False) if size > gap and size % gap == 0]
    total = sum(size // gap - 1 for _, size in holes)
    if not holes or 2 * count < len(gaps) or total > _MAX_MISSING:
        return []
    missing = [before + gap * number for before, size in holes for number in range(1, size // gap)]
    some = ", ".join(map(str, missing[:_MAX_NAMED])) + (", ..." if total > _MAX_NAMED else "")
    text = f"{'step' if total == 1 else 'steps'} {some} missing where most are {gap} apart ({total} in all)"
    return [Event("missing-steps", None, None, text, {"missing": missing, "spacing": gap})]


def _gather_skips(match: RowMatch | None, members: Sequence[Member]) -> tuple[Skip, ...]:
    found = {skip.name: skip for skip in (() if match is None else match.skips)}
    for member in members:
        for skip in member.skips:
            found.setdefault(skip.name, skip)
    return tuple(found.values())
