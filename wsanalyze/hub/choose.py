"""Which branches, tags or commits of a repository are the checkpoints of one run, and why others are not."""

import fnmatch
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from wsanalyze.checkpoints.names import names_step, natural_key, read_name
from wsanalyze.errors import SourceError
from wsanalyze.hub.address import TAGS, HubAddress, is_commit
from wsanalyze.hub.records import Revision
from wsanalyze.sentences import list_names

MAIN: Final = "main"
LAST: Final = f"{MAIN} (final)"
"""What `main` is called where it is taken for the last checkpoint."""

_MAX_RUNS: Final = 8
_MIN_SHARED_STEPS: Final = 2
_COUNTED: Final = tuple(
    re.compile(rf"(?<![a-zA-Z0-9])(?:{words})[-_=.]?(?=\d)", re.IGNORECASE)
    for words in (
        "global[_-]?steps?|steps?|iter(?:ation)?s?|it|(?:num[_-]?)?updates?|ba",
        "checkpoint|ckpt|chkpt|cp",
        "epochs?|ep",
    )
)
_EPOCH: Final = re.compile(r"(epochs?|ep)[-_=.]?\d+", re.IGNORECASE)
_TITLES: Final = {
    "step": re.compile(r"(?<![a-zA-Z])(?:global[_ -]?)?steps?[ =:_#-]*(\d{1,12})(?![\d.])", re.IGNORECASE),
    "epoch": re.compile(r"(?<![a-zA-Z])epochs?[ =:_#-]*(\d{1,6})(?![\d.])", re.IGNORECASE),
}
_NO_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^/|/$|\.$|^$")


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
    return named and not _NO_REF.search(name) and is_commit(commit)


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


def short_name(revision: Revision) -> str:
    """Its name without what tells a tag from a branch."""
    return revision.name.removeprefix(TAGS)


def tell_tags_apart(
    branches: Sequence[Revision], tags: Sequence[Revision], address: HubAddress
) -> tuple[list[Revision], list[Revision]]:
    """Those that an address may mean; tags that are called like a branch of another commit bear their full names."""
    held = {branch.name: branch.commit for branch in branches}
    told = [
        replace(tag, name=f"{TAGS}{tag.name}") if held.get(tag.name, tag.commit) != tag.commit else tag for tag in tags
    ]
    return ([] if address.is_tag else list(branches)), told


def name_hidden_tags(address: HubAddress, chosen: Iterable[Revision], tags: Iterable[Revision]) -> list[str]:
    """A sentence on the tags at other commits that branches of the same names hide."""
    names = {revision.name for revision in chosen}
    hidden = [short_name(tag) for tag in tags if tag.name.startswith(TAGS) and short_name(tag) in names]
    if not hidden:
        return []
    given = address.at(f"{TAGS}{hidden[0]}", address.folder)
    if len(hidden) == 1:
        return [f"{hidden[0]} is the branch: the tag of that name is at another commit ({given} reads it)"]
    return [f"{list_names(hidden)} are the branches: the tags of those names are at other commits ({given} reads one)"]


def choose_refs(address: HubAddress, branches: Sequence[Revision], tags: Sequence[Revision]) -> Choice:
    """Choose those that fit the pattern of an address, or else those named like steps, or dates.

    Raises:
        SourceError: If there is none, or they are several runs.
    """
    names = {branch.name for branch in branches}
    refs = [*branches, *(tag for tag in tags if short_name(tag) not in names)]
    # A tag beside a branch for the same step is another name for it.
    stepped = {branch.commit for branch in branches if _is_step(branch.name)}
    apart = [ref for ref in refs if ref.name in names or ref.commit not in stepped or not _is_step(ref.name)]
    if address.revision:
        return _choose_fitting(address, apart, refs)
    steps = [ref for ref in apart if _is_step(ref.name)] or _find_dated(apart)
    main = next((ref for ref in branches if ref.name == MAIN), None)
    if not steps and main is None and branches:
        main = branches[0]
    named = {ref.name for ref in steps} | {main.name if main else MAIN}
    others = [ref.name for ref in refs if not _is_step(ref.name) and ref.name not in named]
    notes = _tell_unstepped(others)
    if not steps and main is None:
        raise SourceError(f"{address}: the repository has no branch")
    if not steps and main is not None:
        return Choice((main,), None, notes)
    _refuse_parallel(address, steps, refs)
    return Choice(_sort(steps), main, (*notes, *_tell_claims(steps)))


def _choose_fitting(address: HubAddress, apart: Sequence[Revision], refs: Sequence[Revision]) -> Choice:
    """Those that a pattern fits; without those that tell no step, where so many of them would hide the others'."""
    chosen = [ref for ref in apart if fnmatch.fnmatchcase(short_name(ref), address.revision)]
    if not chosen:
        some = list_names(sorted((ref.name for ref in refs), key=natural_key))
        there = f"there {_are(len(refs))} {some}" if refs else "there is none"
        raise SourceError(f"{address}: no branch or tag is called so; {there}")
    steps = [ref for ref in chosen if _is_step(ref.name)]
    others = [ref for ref in chosen if not _is_step(ref.name) and not read_name(ref.name).role]
    strange = [ref for ref in others if ref.name != MAIN]
    left_out = others if strange and len(strange) <= len(steps) <= len(others) else []
    names = [ref.name for ref in left_out]
    notes = (  # `main` has a sentence of its own, which does not hold where it is given as well
        *_tell_unstepped([name for name in names if name == MAIN]),
        *_tell_unstepped([name for name in names if name != MAIN]),
    )
    return Choice(_sort(ref for ref in chosen if ref not in left_out), None, (*notes, *_tell_claims(steps)))


def _tell_unstepped(names: Sequence[str]) -> tuple[str, ...]:
    verb = f"{_are(len(names))} left out: no {'step' if len(names) == 1 else 'steps'} by name"
    return (f"{list_names(names)} {verb} (@ takes a revision or a pattern)",) if names else ()


def _find_dated(refs: Sequence[Revision]) -> list[Revision]:
    """All but `main`, where there are several and all bear dates."""
    dated = [ref for ref in refs if ref.name != MAIN]
    several = len({read_name(ref.name).date for ref in dated}) > 1
    return dated if several and all(read_name(ref.name).date for ref in dated) else []


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


def _read_title(pattern: re.Pattern[str], title: str) -> int | None:
    found = pattern.search(title)
    return int(found[1]) if found else None


def _refuse_parallel(address: HubAddress, steps: Sequence[Revision], refs: Sequence[Revision]) -> None:
    """Branches that hold the same steps, or steps among each other's, under names that begin differently are runs."""
    runs: dict[str, set[int]] = {}
    for ref in steps:
        number = _count(ref.name)
        if number is not None:
            runs.setdefault(_run_of(ref.name), set()).add(number)
    several = [run for run, held in runs.items() if len(held) > 1]
    pairs = [pair for pair in itertools.combinations(several, 2) if _run_beside(pair, runs)]
    beside = set(itertools.chain.from_iterable(pairs))
    if sum(map(len, runs.values())) - len(set().union(*runs.values())) >= _MIN_SHARED_STEPS:
        shared = {run for run, held in runs.items() if any(held & other for r, other in runs.items() if r != run)}
        # Stages of one training may each count from the beginning.
        beside |= set() if all(_in_turn(run) for run in shared) else shared
    if not beside:
        return
    patterns = [address.at(pattern, address.folder) for pattern in _write_patterns(runs, refs)]
    raise SourceError(
        f"{address}: holds {len(beside)} runs side by side, not one sequence; choose one of them, or several with "
        f"--order given: {', '.join(repr(pattern) for pattern in patterns[:_MAX_RUNS])}"
    )


def _run_beside(pair: Sequence[str], runs: dict[str, set[int]]) -> bool:
    """Whether two that have several steps each went on at the same time."""
    one, other = (runs[run] for run in pair)
    stages = [_in_turn(run) for run in pair]
    plain = [not re.search(r"[-/]|\d", run.rstrip("-_=./")) for run in pair]
    if all(stages) or any(stage and plain[not i] for i, stage in enumerate(stages)):
        return False  # some began to name their stages only later
    if len({_EPOCH.sub(r"\1#", run) for run in pair}) == 1:
        return False  # steps that each epoch counts anew
    if len({re.sub(r"[-_=.]", "", run).lower() for run in pair}) == 1:
        return bool(one & other)  # one way of naming, spelled in two
    return max(min(one), min(other)) <= min(max(one), max(other))


def _tell_claims(steps: Sequence[Revision]) -> tuple[str, ...]:
    """A sentence on the steps that several revisions are named after."""
    claims: dict[tuple[str, int | None, int], list[Revision]] = {}
    for ref in steps:
        facts = read_name(ref.name)
        number = _count(ref.name)
        if number is not None:
            claims.setdefault((facts.stage, facts.units.get("epoch"), number), []).append(ref)
    told = [
        f"{list_names(short_name(ref) for ref in _sort(refs))} {'both' if len(refs) == 2 else 'all'} claim "  # noqa: PLR2004 - two
        f"{_unit(refs[0].name)} {key[-1]}"
        for key, refs in claims.items()
        if len(refs) > 1
    ]
    return (list_names(told),) if told else ()


def _unit(name: str) -> str:
    units = read_name(name).units
    return next((unit for unit in ("step", "number", "epoch") if unit in units), "step")


def _count(name: str) -> int | None:
    """The number that a name counts by."""
    return read_name(name).units.get(_unit(name))


def _run_of(name: str) -> str:
    """The beginning of a name, up to the number that counts."""
    counted = next(filter(None, (pattern.search(name) for pattern in _COUNTED)), None)
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
