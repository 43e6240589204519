"""Which branches, tags or commits of a repository are the checkpoints of one run, and why others are not."""

import fnmatch
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wsanalyze.checkpoints.names import names_step, natural_key, read_name
from wsanalyze.errors import SourceError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.records import Revision

MAIN: Final = "main"
LAST: Final = f"{MAIN} (final)"
"""What `main` is called where it is taken for the last checkpoint."""

_MAX_NAMED: Final = 4
_MAX_RUNS: Final = 8
_MIN_SHARED_STEPS: Final = 2
_COUNTED: Final = re.compile(
    r"(?<![a-zA-Z0-9])(?:global[_-]?steps?|steps?|iter(?:ation)?s?|it|(?:num[_-]?)?updates?|ba|checkpoint|ckpt)[-_=.]?(?=\d)",
    re.IGNORECASE,
)
_TITLES: Final = {
    "step": re.compile(r"(?<![a-zA-Z])(?:global[_ -]?)?steps?[ =:_#-]*(\d{1,12})(?![\d.])", re.IGNORECASE),
    "epoch": re.compile(r"(?<![a-zA-Z])epochs?[ =:_#-]*(\d{1,6})(?![\d.])", re.IGNORECASE),
}
_NO_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^/|/$|\.$|^$")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen of a repository.

    Attributes:
        revisions: Those that are checkpoints, in order of their names or of history.
        main: The branch `main`, where it is still to be said what it is.
        notes: Sentences on those left out.
    """

    revisions: tuple[Revision, ...]
    main: Revision | None = None
    notes: tuple[str, ...] = ()


def is_revision(revision: Revision) -> bool:
    """Whether git could have a revision of that name: names become paths and parts of messages."""
    name, commit = revision.name, revision.commit
    named = isinstance(name, str) and isinstance(commit, str)
    return named and not _NO_REF.search(name) and _COMMIT.fullmatch(commit) is not None


def settle_address(address: HubAddress, refs: Iterable[Revision]) -> HubAddress:
    """What an address means by its revision where that may have slashes in it: the first that there is."""
    names = [ref.name for ref in refs]
    for reading in address.readings():
        if any(
            fnmatch.fnmatchcase(name, reading.revision) if reading.is_glob else name == reading.revision
            for name in names
        ):
            return reading
    return address


def choose_refs(address: HubAddress, branches: Sequence[Revision], tags: Sequence[Revision]) -> Choice:
    """Choose those that fit the pattern of an address, or else those named like steps.

    Raises:
        SourceError: If there is none, or they are several runs.
    """
    names = {branch.name for branch in branches}
    refs = [*branches, *(tag for tag in tags if tag.name not in names)]
    # A tag beside a branch for the same step is another name for it.
    stepped = {branch.commit for branch in branches if _is_step(branch.name)}
    apart = [ref for ref in refs if ref.name in names or ref.commit not in stepped or not _is_step(ref.name)]
    if address.revision:
        chosen = [ref for ref in apart if fnmatch.fnmatchcase(ref.name, address.revision)]
        if not chosen:
            some = list_names(sorted((ref.name for ref in refs), key=natural_key))
            there = f"there {_are(len(refs))} {some}" if refs else "there is none"
            raise SourceError(f"{address}: no branch or tag is called so; {there}")
        return Choice(_sort(chosen))
    steps = [ref for ref in apart if _is_step(ref.name)]
    main = next((ref for ref in branches if ref.name == MAIN), None)
    if not steps and main is None and branches:
        main = branches[0]
    others = [ref.name for ref in refs if not _is_step(ref.name) and ref.name != (main.name if main else MAIN)]
    verb = f"{_are(len(others))} left out: no {'step' if len(others) == 1 else 'steps'} by name"
    notes = (f"{list_names(others)} {verb} (@ takes a revision or a pattern)",) if others else ()
    if not steps and main is None:
        raise SourceError(f"{address}: the repository has no branch")
    if not steps and main is not None:
        return Choice((main,), None, notes)
    _refuse_parallel(address, steps, refs)
    return Choice(_sort(steps), main, notes)


def name_commits(commits: Sequence[Revision]) -> tuple[list[str], str]:
    """Call the commits that change weights after the steps in their messages, else after their places in history.

    Args:
        commits: Them, the first one first, each called by its place in `label`.

    Returns:
        A name for each, and a sentence on why they are not called after steps, or "".
    """
    found = {unit: [_read_title(pattern, commit.title) for commit in commits] for unit, pattern in _TITLES.items()}
    unit = max(found, key=lambda unit: sum(number is not None for number in found[unit]))
    numbers = found[unit]
    known = [number for number in numbers if number is not None]
    places = [commit.label for commit in commits]
    if len(known) <= len(commits[:-1]) / 2:
        return places, ""
    for one, other in itertools.pairwise(known):
        if one >= other:
            why = f"the messages name {unit} {other} after {unit} {one}"
            return places, f"commits are numbered by their places in history: {why}"
    labels = [place if number is None else f"{unit}-{number}" for place, number in zip(places, numbers, strict=True)]
    if numbers[-1] is None:
        labels[-1] = "final"
    return labels, ""


def list_names(names: Iterable[str]) -> str:
    """The first few of some names."""
    names = list(names)
    if len(names) > _MAX_NAMED:
        return f"{', '.join(names[:_MAX_NAMED])} and {len(names) - _MAX_NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _read_title(pattern: re.Pattern[str], title: str) -> int | None:
    found = pattern.search(title)
    return int(found[1]) if found else None


def _refuse_parallel(address: HubAddress, steps: Sequence[Revision], refs: Sequence[Revision]) -> None:
    """Branches that hold the same steps under names that begin in different ways are several runs."""
    runs: dict[str, set[int]] = {}
    for ref in steps:
        units = read_name(ref.name).units
        number = units.get("step", units.get("number"))
        if number is not None:
            runs.setdefault(_run_of(ref.name), set()).add(number)
    if sum(map(len, runs.values())) - len(set().union(*runs.values())) < _MIN_SHARED_STEPS:
        return
    shared = [run for run, held in runs.items() if any(held & other for r, other in runs.items() if r != run)]
    if all(_in_turn(run) for run in shared):
        return  # stages of one training, which each count from the beginning
    patterns = [address.at(pattern, address.folder) for pattern in _write_patterns(runs, refs)]
    raise SourceError(
        f"{address}: holds {len(shared)} runs side by side, not one sequence; choose one of them, or several with "
        f"--order given: {', '.join(repr(pattern) for pattern in patterns[:_MAX_RUNS])}"
    )


def _run_of(name: str) -> str:
    """The beginning of a name, up to the number that counts."""
    counted = _COUNTED.search(name)
    return name[: counted.end()] if counted else re.split(r"\d", name, maxsplit=1)[0]


def _write_patterns(runs: Iterable[str], refs: Sequence[Revision]) -> list[str]:
    """A pattern for each run, and one for all stages that follow each other; each fits what it stands for alone."""
    runs = sorted(runs, key=natural_key)
    stages = [run for run in runs if _in_turn(run)]
    word = re.split(r"\d", stages[0], maxsplit=1)[0] if stages else ""
    joined = [ref.name for ref in refs if fnmatch.fnmatchcase(ref.name, f"{_escape(word)}*")]
    if len(stages) > 1 and all(_run_of(name) in stages for name in joined) and all(s.startswith(word) for s in stages):
        return [f"{_escape(word)}*", *(f"{_escape(run)}*" for run in runs if run not in stages)]
    return [f"{_escape(run)}*" for run in runs]


def _escape(text: str) -> str:
    return text.replace("[", "[[]")


def _is_step(name: str) -> bool:
    return names_step(name) or "number" in read_name(name).units


def _in_turn(run: str) -> bool:
    """Whether what stands before the steps is a stage of one training."""
    return "ingredient" not in run and bool(read_name(run).stage)


def _sort(refs: Iterable[Revision]) -> tuple[Revision, ...]:
    return tuple(sorted(refs, key=lambda ref: natural_key(ref.name)))


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
