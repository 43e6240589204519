"""The order in which checkpoints were saved, and which of them are only other names for the same one.

References:
    docs/method.md, "Order of checkpoints": steps inside a file go before steps in its name, finer units before coarser.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.components import SEVERAL
from wsanalyze.checkpoints.facts import EPOCH_KEYS, STEP_KEYS
from wsanalyze.checkpoints.names import NameFacts, mask_numbers, natural_key, read_name, read_varying_numbers
from wsanalyze.checkpoints.weight_files import VERSION, stem
from wsanalyze.errors import SourceError

_FIRST: Final = ("init", "initial", "initialized")
_LASTING: Final = ("last", "latest", "final", "newest", "current")
_AMID: Final = "recovery"
"""The role of what was saved in the course of a step: before that step's own checkpoint."""
_FIRST_STAGE: Final = re.compile(r"(stage|phase)[-_]?1")
_MIN_COLLISIONS: Final = 2
_MAX_VALUES: Final = 64
_MAX_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class OrderedCheckpoints:
    """Checkpoints in order, copies marked as such, and sentences on how the order was found."""

    checkpoints: tuple[Checkpoint, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """One way to number the checkpoints.

    Attributes:
        title: What it is called.
        numbers: A number for each checkpoint that has one.
        minor: What orders checkpoints of the same number, likewise.
    """

    title: str
    numbers: list[int | None]
    minor: list[int | None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A checkpoint on its way to its place."""

    checkpoint: Checkpoint
    name: NameFacts
    minor: int | None = None

    @property
    def step(self) -> int | None:
        return self.checkpoint.step


def order_checkpoints(
    found: Sequence[Checkpoint], fingerprints: Mapping[str, str], *, given: bool = False
) -> OrderedCheckpoints:
    """Number and sort checkpoints, and mark copies such as `last` and `best`.

    Args:
        found: The checkpoints, in the order in which they were given or listed.
        fingerprints: For each origin a digest of its weights, where it could be read.
        given: Keep the order given, and all of them, instead of sorting; steps are still told.

    Raises:
        SourceError: If they belong to several runs that hold the same steps.
    """
    checkpoints = _name_apart(list({c.origin: c for c in found}.values()))
    names = [read_name(checkpoint.label) for checkpoint in checkpoints]
    if all(name.alias for name in names):  # nothing for them to point at
        names = [replace(name, role="") if name.role not in (*_FIRST, *_LASTING) else name for name in names]
        pointing = [False] * len(names)
    else:
        pointing = [bool(name.alias) for name in names]
    column = _choose_column(checkpoints, names, pointing)
    entries = [
        _Entry(replace(c, step=column.numbers[i], stage=name.stage), name, column.minor[i])
        for i, (c, name) in enumerate(zip(checkpoints, names, strict=True))
    ]
    entries = _mark_copies(entries, fingerprints)
    if given:
        return OrderedCheckpoints(tuple(e.checkpoint for e in entries), ("the checkpoints are in the order given",))
    _refuse_parallel_runs(entries)
    placed, left_out = _leave_unplaced_out(entries, pointing)
    key, note = _choose_key(placed, column)
    notes = [note] if len(placed) > 1 else []
    if (first := next((entry.checkpoint for entry in placed if SEVERAL in entry.checkpoint.label), None)) is not None:
        notes.append(f"files of one number are taken for components of one model: {first.label}")
    ordered = tuple(entry.checkpoint for entry in sorted(placed, key=key))
    return OrderedCheckpoints(ordered, (*notes, *left_out))


def _name_apart(found: list[Checkpoint]) -> list[Checkpoint]:
    """Give checkpoints of the same label the names of the folders that tell them apart as well."""
    taken = dict.fromkeys(range(len(found)), 0)
    labels = [checkpoint.label for checkpoint in found]
    for depth in range(1, max((len(PurePath(c.origin).parts) for c in found), default=0)):
        counts = Counter(labels)
        if len(counts) == len(labels):
            break
        for index, checkpoint in enumerate(found):
            parents = PurePath(checkpoint.origin).parent.parts
            if counts[labels[index]] > 1 and len(parents) >= depth:
                taken[index] = depth
        labels = [_label(checkpoint, taken[index]) for index, checkpoint in enumerate(found)]
    return [replace(checkpoint, label=label) for checkpoint, label in zip(found, labels, strict=True)]


def _label(checkpoint: Checkpoint, depth: int) -> str:
    parents = PurePath(checkpoint.origin).parent.parts
    return "/".join((*parents[len(parents) - depth :], checkpoint.label))


def _choose_column(checkpoints: Sequence[Checkpoint], names: Sequence[NameFacts], pointing: Sequence[bool]) -> _Column:
    """The finest numbering that tells the checkpoints apart; from inside the files before names for the same unit."""
    nothing: list[int | None] = [None] * len(checkpoints)

    def inside(keys: Sequence[str]) -> list[_Column]:
        return [_Column(f"{key} in the files", [c.facts.get(key) for c in checkpoints], nothing) for key in keys]

    def named(unit: str) -> _Column:
        return _Column(f"{unit} in the names", [name.units.get(unit) for name in names], nothing)

    steps = [*inside(STEP_KEYS), named("step")]
    epochs = [*inside(EPOCH_KEYS), named("epoch")]
    columns = [*steps, *epochs, named("number")]
    if not any(name.date for name in names):
        columns.append(_Column("number in the names", _read_bare_numbers(checkpoints, pointing), nothing))
    needed = [i for i, c in enumerate(checkpoints) if not pointing[i] and not c.problem]
    needed = needed or [i for i, points in enumerate(pointing) if not points]

    def count(*chosen: _Column) -> int:
        return len({(names[i].stage, *(column.numbers[i] for column in chosen)) for i in needed})

    full = [column for column in columns if all(column.numbers[i] is not None for i in needed)]
    distinct = (column for column in full if count(column) == len(needed))
    pairs = (
        _Column(f"{major.title}, then {minor.title}", major.numbers, minor.numbers)
        for major in epochs
        for minor in steps
        if major in full and minor in full and count(major, minor) == len(needed)
    )
    varying = (column for column in full if count(column) > 1)
    partial = (c for c in columns if sum(c.numbers[i] is not None for i in needed) > len(needed) / 2)
    for group in (distinct, pairs, varying, partial):
        for column in group:
            return _fill(column, columns, needed)
    return _Column("", nothing, nothing)


def _read_bare_numbers(checkpoints: Sequence[Checkpoint], pointing: Sequence[bool]) -> list[int | None]:
    numbered = [i for i, points in enumerate(pointing) if not points]
    found: list[int | None] = [None] * len(checkpoints)
    numbers = read_varying_numbers([checkpoints[i].label for i in numbered])
    for i, number in zip(numbered, numbers, strict=True):
        found[i] = number
    return found


def _fill(chosen: _Column, columns: Sequence[_Column], needed: Sequence[int]) -> _Column:
    """Number files that could not be opened by their names, where names agree with the insides of the others."""
    numbers = list(chosen.numbers)
    for column in columns:
        if all(column.numbers[i] == chosen.numbers[i] for i in needed):
            numbers = [theirs if ours is None else ours for ours, theirs in zip(numbers, column.numbers, strict=True)]
    return replace(chosen, numbers=numbers)


def _mark_copies(entries: Sequence[_Entry], fingerprints: Mapping[str, str]) -> list[_Entry]:
    """Find what each `last` and `best` is a copy of; other checkpoints are copies only where they are the same file."""
    first: dict[object, str] = {}
    copies: dict[int, str] = {}
    for index in sorted(range(len(entries)), key=lambda i: bool(entries[i].name.role)):
        checkpoint = entries[index].checkpoint
        if checkpoint.problem or any(file.remote for file in checkpoint.files):
            continue  # hashes tell of those, and their neighbours which of them is kept
        label, step = checkpoint.label, checkpoint.step
        evidence: list[tuple[object, str]] = [(frozenset(file.stamp for file in checkpoint.files), "the same file as")]
        weak: list[tuple[object, str]] = []
        if checkpoint.origin in fingerprints:
            weak.append((fingerprints[checkpoint.origin], "the same weights as"))
        if step is not None and entries[index].name.role != _AMID:
            weak.append(((checkpoint.stage, step, entries[index].minor), f"the same step ({step}) as"))
        asked = evidence + weak if entries[index].name.role else evidence
        found = next(((why, first[key]) for key, why in asked if key in first), None)
        if found:
            copies[index] = " ".join(found)
        for key, _ in evidence + weak:
            first.setdefault(key, label)
    return [
        replace(entry, checkpoint=replace(entry.checkpoint, duplicate_of=copies[index])) if index in copies else entry
        for index, entry in enumerate(entries)
    ]


def _refuse_parallel_runs(entries: Sequence[_Entry]) -> None:
    """Runs side by side are not one sequence."""
    stages = dict.fromkeys(entry.name.stage for entry in entries if "ingredient" in entry.name.stage)
    branches = Counter(stage.rpartition("ingredient")[0] for stage in stages)
    if any(count > 1 for count in branches.values()):
        raise SourceError(
            f"several runs, not one sequence: {' and '.join(list(stages)[:_MAX_NAMED])} start from the same place; "
            "give one of them, or all with --order given"
        )
    places: dict[object, set[str]] = {}
    for entry, run in zip(entries, _tell_runs(entries), strict=True):
        if entry.step is not None and not entry.checkpoint.duplicate_of and entry.name.role != _AMID:
            places.setdefault(_place_in_run(entry), set()).add(run)
    collisions = [runs for runs in places.values() if len(runs) > 1]
    if len(collisions) >= _MIN_COLLISIONS:
        runs = sorted(collisions[0], key=natural_key)[:_MAX_NAMED]
        raise SourceError(
            f"several runs, not one sequence: {' and '.join(runs)} hold the same {len(collisions)} steps; "
            "give one of them, or all with --order given"
        )


def _tell_runs(entries: Sequence[_Entry]) -> list[str]:
    """For each checkpoint the run that it may belong to: its folder, and its name without the numbers that count.

    A number does not count but tells runs apart (`seed0_step100`, `seed1_step100`) where two of its values have several
    steps in common.
    """
    paths = [PurePath(entry.checkpoint.origin) for entry in entries]
    names = [VERSION.sub("", stem(path.name)) for path in paths]
    makes: dict[tuple[str, str], list[int]] = {}
    for index, (path, name) in enumerate(zip(paths, names, strict=True)):
        makes.setdefault((str(path.parent), mask_numbers(name)), []).append(index)
    runs = [str(path.parent / mask_numbers(name)) for path, name in zip(paths, names, strict=True)]
    for (folder, _), members in makes.items():
        parts = [re.split(r"(\d+)", names[index]) for index in members]
        places = [_place_in_run(entries[index]) for index in members]
        columns = [c for c in range(1, len(parts[0]), 2) if _tells_runs([part[c] for part in parts], places)]
        for index, part in zip(members, parts, strict=True):
            shown = (text if c % 2 == 0 or c in columns else "#" for c, text in enumerate(part))
            runs[index] = str(PurePath(folder, "".join(shown)))
    return [
        run.replace(":/", "://", 1) if "://" in e.checkpoint.origin else run
        for run, e in zip(runs, entries, strict=True)
    ]


def _tells_runs(values: Sequence[str], places: Sequence[object]) -> bool:
    """Whether two values of a number in names stand at several places of training in common."""
    held: dict[str, set[object]] = {}
    for value, place in zip(values, places, strict=True):
        held.setdefault(value, set()).add(place)
    counts = Counter(place for found in held.values() for place in found)
    shared = {place for place, count in counts.items() if count > 1}
    several = [found & shared for found in held.values() if len(found & shared) >= _MIN_COLLISIONS]
    return any(len(one & other) >= _MIN_COLLISIONS for one, other in itertools.combinations(several[:_MAX_VALUES], 2))


def _place_in_run(entry: _Entry) -> object:
    return entry.name.stage, entry.step, entry.minor


def _leave_unplaced_out(entries: Sequence[_Entry], pointing: Sequence[bool]) -> tuple[list[_Entry], list[str]]:
    """Without what would stand at an unknown place: a `best` of its own, or a file without a step among many with."""
    numbered = any(entry.step is not None for entry in entries)
    kept, notes = [], []
    for entry, points in zip(entries, pointing, strict=True):
        checkpoint, role = entry.checkpoint, entry.name.role
        placed = checkpoint.step is not None or checkpoint.duplicate_of or checkpoint.problem
        if placed or role in (*_FIRST, *_LASTING) or not (points or numbered):
            kept.append(entry)
        else:
            text = f"{checkpoint.label} is left out: nothing says at which step it was saved"
            notes.append(text if points else f"{text} (--order given keeps it)")
    return kept, notes


def _choose_key(entries: Sequence[_Entry], column: _Column) -> tuple[Callable[[_Entry], tuple[object, ...]], str]:
    """A sort key, and the sentence that says what it sorts by."""

    def place(entry: _Entry) -> int:
        return -1 if entry.name.role in _FIRST else 1 if entry.name.role in _LASTING else 0

    stages = sorted({entry.name.stage for entry in entries}, key=natural_key)
    # Names that tell no stage, among others of a first one, are of that: some runs began to name it only later.
    unnamed = stages[1] if stages[:1] == [""] and stages[1:] and _FIRST_STAGE.fullmatch(stages[1]) else ""

    def by_step(entry: _Entry) -> tuple[object, ...]:
        within = (entry.name.role != _AMID, bool(entry.checkpoint.duplicate_of), natural_key(entry.checkpoint.label))
        if entry.step is None:
            return (min(place(entry), 0) or 1, (), 0, 0, *within)
        return (
            0,
            natural_key(entry.name.stage or unnamed),
            entry.step,
            -1 if entry.minor is None else entry.minor,
            *within,
        )

    def by_date(entry: _Entry) -> tuple[object, ...]:
        return (place(entry), entry.name.date, natural_key(entry.checkpoint.label))

    def by_time(entry: _Entry) -> tuple[object, ...]:
        return (place(entry), max((file.mtime_ns for file in entry.checkpoint.files), default=0))

    def by_name(entry: _Entry) -> tuple[object, ...]:
        return (place(entry), natural_key(entry.checkpoint.label))

    if column.title:
        return by_step, f"ordered by {column.title}"
    if all(entry.name.date for entry in entries):
        return by_date, "ordered by the dates in the names"
    if len({by_time(entry) for entry in entries}) == len(entries):
        return by_time, "ordered by time of modification, since nothing else tells their order: check it"
    return by_name, "ordered by name, since nothing else tells their order: check it"
