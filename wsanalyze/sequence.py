"""One sequence, one story: which checkpoints, in which order, which of their weights, and where their tensors lie."""

import hashlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.facts import fingerprint_file, read_facts
from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.checkpoints.order import order_checkpoints
from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.errors import CheckpointError, NoWeightsError, SourceError, UsageError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.layers.names import strip_wrappers
from wsanalyze.layers.renames import rename_tensors
from wsanalyze.progress import Progress, ProgressCallback
from wsanalyze.series import Skip
from wsanalyze.tensors.base import WEIGHTS, TensorInfo, TensorSet
from wsanalyze.tensors.derived import DerivedTensors, derive_tensors
from wsanalyze.tensors.files import describe_format, read_checkpoint

_MAX_NAMED: Final = 4
_Derived = dict[tuple[int, TreePath | None], DerivedTensors]
Fingerprints = MutableMapping[tuple[str, str], str]
"""Fingerprints of files by (url, stamp)."""


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """What is read of the sources.

    Attributes:
        weights: "model", "ema", or "auto" for those that most checkpoints hold, the model's where it is even.
        steps: (first, last) step to keep, both inclusive, None for no bound; checkpoints without a step stay.
        every: N: keep every Nth checkpoint, and always the first and the last.
        given_order: Keep the order of the sources instead of sorting by step.
        base: A source that holds one checkpoint, put before the first: the model that training started from.
        renames: (regular expression, replacement) pairs applied to names of tensors, in order.
        merge_lora: Whether the pairs of low-rank adapters are replaced by the update that they make.
        split_qkv: Whether fused query, key and value weights are three rows.
    """

    weights: str = "auto"
    steps: tuple[int | None, int | None] = (None, None)
    every: int = 1
    given_order: bool = False
    base: str | None = None
    renames: tuple[tuple[str, str], ...] = ()
    merge_lora: bool = False
    split_qkv: bool = False


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
    sets: Mapping[str, Mapping[str, TensorInfo]] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether it takes part."""
        return self.checkpoint.problem is None and self.checkpoint.duplicate_of is None

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
    """A sequence of checkpoints, ready to be measured: its members in order, the weights chosen, and notes on both."""

    members: tuple[Member, ...]
    weights: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint whose headers were read.

    Attributes:
        checkpoint: The checkpoint, with the facts that its files tell.
        tensors: What it holds, or None where it could not be read: then its `problem` says why.
        format: Layout of its files in words.
        fingerprint: Equal for equal weights in equal structures, or "".
        proven: Whether no other weights have that fingerprint; headers alone may not tell.
        summed: Whether checksums in it cover all weights.
    """

    checkpoint: Checkpoint
    tensors: TensorSet | None
    format: str = ""
    fingerprint: str = ""
    proven: bool = True
    summed: bool = False


Opener = Callable[[Checkpoint, ByteSource], OpenedCheckpoint]
"""Reads the headers of one checkpoint; a fault becomes its problem, and NoWeightsError leaves it out."""


def locate_checkpoints(sources: Sequence[str]) -> list[Checkpoint]:
    """Find the checkpoints of all sources, in the order given; nothing is opened.

    Raises:
        SourceError: If a source does not exist, holds no checkpoint, or is of a kind that is not read.
    """
    found: list[Checkpoint] = []
    for source in sources:
        if not source:
            raise SourceError("a source is empty: name a folder of checkpoints")
        if "://" in source:
            raise SourceError(f"{source}: only files and folders are read; download it first")
        found += FolderSource(source).checkpoints()
    return found


def open_sequence(
    sources: Sequence[str],
    options: SequenceOptions,
    source: ByteSource,
    fingerprints: Fingerprints,
    progress: ProgressCallback,
    opener: Opener | None = None,
) -> CheckpointSequence:
    """Locate checkpoints, read their headers, order them and choose the weights.

    Args:
        sources: Paths and globs.
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
    base = _locate_base(options)
    located = [*locate_checkpoints(sources), *base]
    opened: dict[str, OpenedCheckpoint] = {}
    notes: list[str] = []
    for index, checkpoint in enumerate(located):
        progress(Progress("reading headers", index, len(located), "checkpoints"))
        try:
            if opener is None:
                opened[checkpoint.origin] = _open(checkpoint, source, fingerprints)
            else:
                opened[checkpoint.origin] = opener(checkpoint, source)
        except NoWeightsError as error:
            notes.append(f"{checkpoint.label} is left out: it {error.reason}")
    progress(Progress("reading headers", len(located), len(located), "checkpoints"))
    prints = {origin: found.fingerprint for origin, found in opened.items() if found.fingerprint and found.proven}
    apart = {checkpoint.origin for checkpoint in base}
    trained = [found.checkpoint for origin, found in opened.items() if origin not in apart]
    ordered = order_checkpoints(trained, prints, given=options.given_order)
    chosen = [*_place_base(opened, base), *_select(ordered.checkpoints, options)]
    if not chosen:
        raise SourceError(f"{', '.join(sources)}: no checkpoint with weights is left to read")
    usable = [c for c in chosen if c.problem is None]
    if not usable:
        raise SourceError(_explain_unreadable(sources, [c.problem for c in chosen if c.problem]))
    weights = _choose_weights([opened[c.origin].tensors for c in usable], options.weights)
    derived: _Derived = {}
    members = tuple(_make_member(c, opened[c.origin], weights, options, derived) for c in chosen)
    if not any(member.alive for member in members):
        held = any(found.infos.get(weights) for c in usable if (found := opened[c.origin].tensors))
        problems = [member.checkpoint.problem for member in members if member.checkpoint.problem]
        raise SourceError(
            _explain_unreadable(sources, problems)
            if held
            else f"{', '.join(sources)}: no checkpoint holds {weights} weights; try --weights auto"
        )
    if unread := [name for c in chosen for name in c.unread]:
        notes.append(
            f"{len(unread)} {'file is' if len(unread) == 1 else 'files are'} left out beside those that are read (the "
            f"same in another format, averages, other adapters): {', '.join(unread[:_MAX_NAMED])}"
            f"{', ...' if len(unread) > _MAX_NAMED else ''}"
        )
    if any(len(found.infos) > 1 for c in usable if (found := opened[c.origin].tensors)):
        notes.append(f"the {weights} weights are read (--weights chooses)")
    return CheckpointSequence(members, weights, (*ordered.notes, *notes))


def _explain_unreadable(sources: Sequence[str], problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{', '.join(sources)}: none of {len(problems)} checkpoints can be read; the first: {problems[0]}"


def _locate_base(options: SequenceOptions) -> list[Checkpoint]:
    """The checkpoint that goes before all others, where there is one."""
    if options.base is None:
        return []
    found = locate_checkpoints([options.base])
    if len(found) > 1:
        names = ", ".join(checkpoint.label for checkpoint in found[:_MAX_NAMED])
        raise SourceError(f"--base {options.base}: holds {len(found)} checkpoints, name one of them: {names}")
    return found


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


def _open(checkpoint: Checkpoint, source: ByteSource, fingerprints: Fingerprints) -> OpenedCheckpoint:
    """Read the headers of one checkpoint; a fault becomes its problem, so that the others go on."""
    if checkpoint.problem is not None:
        return OpenedCheckpoint(checkpoint, None)
    try:
        tensors, contents = read_checkpoint(source, checkpoint.layout, checkpoint.files, checkpoint.prefixes)
        facts = dict(checkpoint.facts)
        parts, summed = [], True
        for file, content in zip(checkpoint.files, contents, strict=True):
            facts = read_facts(content) | facts
            summed = summed and not content.unsummed(source, file)
            if _key(file) not in fingerprints:
                fingerprints[_key(file)] = fingerprint_file(source, file, content)
            parts.append(fingerprints[_key(file)])
    except NoWeightsError:
        raise
    except CheckpointError as error:
        return OpenedCheckpoint(replace(checkpoint, problem=str(error)), None)
    form = describe_format(checkpoint.layout, contents)
    fingerprint = join_fingerprints(checkpoint, parts)
    return OpenedCheckpoint(replace(checkpoint, facts=facts), tensors, form, fingerprint, summed=summed)


def join_fingerprints(checkpoint: Checkpoint, parts: Sequence[str]) -> str:
    """The fingerprint of a checkpoint from those of its files."""
    return hashlib.blake2b("\n".join((*parts, *checkpoint.prefixes)).encode(), digest_size=16).hexdigest()


def _key(file: FileRef) -> tuple[str, str]:
    """What the fingerprint of a file is kept by; a file name need not be UTF-8, but what is kept must be."""
    return file.url.encode("utf-8", "backslashreplace").decode(), file.stamp


def _select(checkpoints: Sequence[Checkpoint], options: SequenceOptions) -> list[Checkpoint]:
    """Apply --steps and --every; copies of a checkpoint do not count as positions."""
    first, last = options.steps
    kept = [
        c
        for c in checkpoints
        if c.step is None or ((first is None or c.step >= first) and (last is None or c.step <= last))
    ]
    if options.every == 1:
        return kept
    originals = [c.origin for c in kept if c.duplicate_of is None]
    chosen = {*originals[:: options.every], *originals[-1:]}
    return [c for c in kept if c.duplicate_of or c.origin in chosen]


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
