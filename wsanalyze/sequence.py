"""One sequence, one story: which checkpoints, in which order, which of their weights, and where their tensors lie."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.choosing import Opening, SequenceOptions, open_plainly, order_far, order_near
from wsanalyze.errors import CheckpointError, SourceError, UsageError
from wsanalyze.files.base import ByteSource
from wsanalyze.layers.names import strip_wrappers
from wsanalyze.layers.renames import rename_tensors
from wsanalyze.likeness.equal_files import EqualFiles
from wsanalyze.opening import Fingerprints, OpenedCheckpoint, Opener
from wsanalyze.progress import ProgressCallback
from wsanalyze.series import Event, Skip
from wsanalyze.sources import Located
from wsanalyze.tensors.base import WEIGHTS, TensorInfo, TensorSet
from wsanalyze.tensors.derived import DerivedTensors, derive_tensors

_MAX_NAMED: Final = 4
_Derived = dict[tuple[int, TreePath | None], DerivedTensors]


@dataclass(frozen=True, slots=True)
class Member:
    """One checkpoint of a sequence with what its headers say.

    Attributes:
        checkpoint: The checkpoint; `problem` and `duplicate_of` tell why it takes no part.
        format: Layout of its files in words.
        identity: What its measured cells are keyed by; changes whenever its files do.
        fingerprint: Equal for equal weights in equal structures.
        tensors: Its tensors by name, wrappers taken off; empty where it takes no part.
        ordered: Whether their order is the model's own.
        skips: Tensors that cannot be compared at all.
        summed: Whether the fingerprint holds checksums of all weights, so that equal ones prove equal weights.
        arch: What its files say that its model is called, or "".
        sets: Every set of weights that it holds, its tensors by name, as they are stored.
    """

    checkpoint: Checkpoint
    format: str = ""
    identity: str = ""
    fingerprint: str = ""
    tensors: Mapping[str, TensorInfo] = field(default_factory=dict)
    ordered: bool = False
    skips: tuple[Skip, ...] = ()
    summed: bool = False
    arch: str = ""
    sets: Mapping[str, Mapping[str, TensorInfo]] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether it takes part."""
        return self.checkpoint.problem is None and self.checkpoint.duplicate_of is None

    @property
    def remote(self) -> bool:
        """Whether it lies far away."""
        return any(file.remote for file in self.checkpoint.files)

    @property
    def held(self) -> dict[str, TensorInfo]:
        """All tensors of all sets of weights by the name of the set and their own, wrappers taken off."""
        return {
            f"{weights}:{name}": info
            for weights, infos in self.sets.items()
            for name, info in strip_wrappers(infos).items()
        }


@dataclass(frozen=True, slots=True)
class CheckpointSequence:
    """A sequence of checkpoints, ready to be measured.

    Attributes:
        members: Its checkpoints, in order.
        weights: Which of their weights are read.
        notes: Sentences on both.
        copies: Sets of members that are left out since their files are those of another.
    """

    members: tuple[Member, ...]
    weights: str
    notes: tuple[str, ...]
    copies: tuple["Copies", ...] = ()


@dataclass(frozen=True, slots=True)
class Copies:
    """Members whose files are those of another one.

    Attributes:
        kept: Index of that one; None where it was not chosen.
        members: Indices of the copies.
        text: A sentence that names all of them.
    """

    kept: int | None
    members: tuple[int, ...]
    text: str

    def tell(self) -> Event:
        """The event that says so."""
        evidence = {"of": self.kept, "checkpoints": list(self.members), "how": "hashes"}
        return Event("duplicate", None, self.members[0], self.text, evidence)


def open_sequence(
    located: Located,
    options: SequenceOptions,
    source: ByteSource,
    fingerprints: Fingerprints,
    progress: ProgressCallback,
    opener: Opener | None = None,
) -> CheckpointSequence:
    """Read the headers of checkpoints, order them and choose the weights.

    What is far away is ordered and thinned by its names first, so that only the headers of what is left are fetched.

    Args:
        located: The checkpoints.
        options: What is read.
        source: Where bytes come from.
        fingerprints: Those known from earlier; new ones are added.
        progress: Told of checkpoints opened.
        opener: What opens a checkpoint instead, where more is known of it than its files tell or less is asked.

    Raises:
        SourceError: If there is no checkpoint, none can be read, or they are several sequences.
        UsageError: If the weights asked for are not known.
    """
    if options.weights not in ("auto", *WEIGHTS):
        raise UsageError(f"--weights takes auto, {' or '.join(WEIGHTS)}, not {options.weights!r}")
    sources, base = located.sources, located.base
    opening = Opening(opener or partial(open_plainly, fingerprints), source, progress)
    far = any(file.remote for checkpoint in located.checkpoints for file in checkpoint.files)
    trained, order_notes, equal = (order_far if far else order_near)(located, options, opening)
    opened, notes = opening.opened, [*located.notes, *opening.notes]
    chosen = [*_place_base(opened, base), *trained]
    if not chosen:
        raise SourceError(f"{', '.join(sources)}: no checkpoint with weights is left to read")
    usable = [c for c in chosen if c.problem is None and c.origin in opened]
    if not usable:
        raise SourceError(_explain_unreadable(sources, [c.problem for c in chosen if c.problem]))
    weights = _choose_weights([opened[c.origin].tensors for c in usable], options.weights)
    derived: _Derived = {}
    members = tuple(
        _make_member(c, opened.get(c.origin) or OpenedCheckpoint(c, None), weights, options, derived) for c in chosen
    )
    if not any(member.alive for member in members):
        held = any(found.infos.get(weights) for c in usable if (found := opened[c.origin].tensors))
        problems = [member.checkpoint.problem for member in members if member.checkpoint.problem]
        raise SourceError(
            _explain_unreadable(sources, problems)
            if held
            else f"{', '.join(sources)}: no checkpoint holds {weights} weights; try --weights auto"
        )
    if unread := [name for c in chosen for name in c.unread]:
        names = list(dict.fromkeys(unread))  # most lie beside every checkpoint
        notes.append(
            f"{len(unread)} {'file is' if len(unread) == 1 else 'files are'} left out beside those that are read (the "
            f"same in another format, averages, other adapters): {', '.join(names[:_MAX_NAMED])}"
            f"{', ...' if len(names) > _MAX_NAMED else ''}"
        )
    if any(len(found.infos) > 1 for c in usable if (found := opened[c.origin].tensors)):
        notes.append(f"the {weights} weights are read (--weights chooses)")
    copies = tuple(copy for one in equal if (copy := _find_copies(one, members)) is not None)
    return CheckpointSequence(members, weights, (*order_notes, *notes), copies)


def _find_copies(equal: EqualFiles, members: Sequence[Member]) -> Copies | None:
    """A set of equal checkpoints as it stands in the sequence; None where no copy is left in it."""
    places = {member.checkpoint.origin: index for index, member in enumerate(members)}
    copies = tuple(places[origin] for origin in equal.copies if origin in places)
    return Copies(places.get(equal.kept), copies, equal.text) if copies else None


def _explain_unreadable(sources: Sequence[str], problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{', '.join(sources)}: none of {len(problems)} checkpoints can be read; the first: {problems[0]}"


def _place_base(opened: Mapping[str, OpenedCheckpoint], base: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The base as it stands in the sequence: what it says of its own training is of no concern here."""
    placed = []
    for checkpoint in base:
        if checkpoint.origin not in opened:
            raise SourceError(f"--base {checkpoint.origin}: holds no weights")
        found = opened[checkpoint.origin].checkpoint
        if found.problem is not None:
            raise SourceError(f"--base {found.problem}")
        placed.append(replace(found, step=None, label=f"{found.label} (base)", duplicate_of=None))
    return placed


def _choose_weights(sets: Sequence[TensorSet | None], asked: str) -> str:
    """One set of weights for the whole sequence: averaged and raw weights are never mixed."""
    if asked != "auto":
        return asked
    counts = {weights: sum(bool(found and found.infos.get(weights)) for found in sets) for weights in WEIGHTS}
    return max(WEIGHTS, key=lambda weights: counts[weights])


def _make_member(
    checkpoint: Checkpoint, opened: OpenedCheckpoint, weights: str, options: SequenceOptions, known: _Derived
) -> Member:
    if opened.tensors is None or checkpoint.problem is not None:
        return Member(checkpoint, opened.format)
    infos = opened.tensors.infos.get(weights)
    if not infos:
        return Member(replace(checkpoint, problem=f"{checkpoint.origin}: holds no {weights} weights"), opened.format)
    # Of checkpoints that share their tensors (an opener may say so), only the configuration beside them can differ.
    key = id(infos), checkpoint.folder if options.merge_lora or options.split_qkv else None
    try:
        derived = known.get(key) or _derive(infos, checkpoint.folder, options)
    except CheckpointError as error:
        return Member(replace(checkpoint, problem=str(error)), opened.format)
    known[key] = derived
    # A fingerprint samples; only the stamps tell that the rest of a file is what it was, and no other file's. Renames
    # and derivations decide which bytes a name stands for.
    stamps = [file.stamp for file in checkpoint.files]
    keys = (opened.fingerprint, *stamps, *(f"{old}={new}" for old, new in options.renames), derived.key)
    identity = hashlib.blake2b("\n".join(keys).encode(), digest_size=16).hexdigest()
    skips = (*opened.tensors.skips, *derived.skips)
    return Member(
        checkpoint,
        opened.format,
        identity,
        opened.fingerprint,
        derived.infos,
        opened.tensors.ordered,
        skips,
        opened.summed,
        opened.arch,
        opened.tensors.infos,
    )


def _derive(infos: Mapping[str, TensorInfo], folder: TreePath, options: SequenceOptions) -> DerivedTensors:
    """Tensors as they are compared: without wrappers, renamed, recombined."""
    named = rename_tensors(strip_wrappers(infos), options.renames)
    return derive_tensors(
        {name: info if info.name == name else replace(info, name=name) for name, info in named.items()},
        folder,
        merge_lora=options.merge_lora,
        split_qkv=options.split_qkv,
    )
