"""Sequences on the Hub: which revisions, commits or folders of a repository are the checkpoints of one run."""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.folder import find_checkpoints
from wsanalyze.checkpoints.names import names_step, natural_key, read_name
from wsanalyze.errors import CheckpointError, NoCheckpointError, SourceError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.client import HubClient, HubFile, Revision, TreeFile
from wsanalyze.hub.tree import HubTree
from wsanalyze.progress import Progress, ProgressCallback, silent

MAIN: Final = "main"
_NUM_WORKERS: Final = 8
_MAX_NAMED: Final = 4
_MIN_SHARED_STEPS: Final = 2
_STEP_IN_TITLE: Final = re.compile(r"(?<![a-zA-Z])(?:global[_ -]?)?steps?[ =:_#-]*(\d{1,12})(?![\d.])", re.IGNORECASE)
_ENDED: Final = re.compile(r"\b(end of training|final)\b", re.IGNORECASE)
_COUNTED: Final = re.compile(
    r"(?:global[_-]?steps?|steps?|iter(?:ation)?s?|it|(?:num[_-]?)?updates?|ba)[-_=.]?\d.*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class HubSequence:
    """What was found.

    Attributes:
        checkpoints: The checkpoints, in the order of history or of names; their files are pinned to commits.
        files: What each of their files is on the Hub, by its address.
        notes: Sentences on what was left out.
    """

    checkpoints: tuple[Checkpoint, ...]
    files: Mapping[str, HubFile]
    notes: tuple[str, ...] = ()


class HubSource:
    """Checkpoints of one address on the Hub.

    Args:
        address: Where they are.
        client: What asks.
        commits: Whether the commits of one branch are the checkpoints, rather than branches and tags.
        progress: Told of revisions listed.
    """

    def __init__(
        self, address: HubAddress, client: HubClient, *, commits: bool = False, progress: ProgressCallback = silent
    ) -> None:
        self._address = address
        self._client = client
        self._commits = commits
        self._progress = progress

    def find(self) -> HubSequence:
        """Find the checkpoints; reads listings and shard indices, and no weight.

        Raises:
            SourceError: If there is no such repository or revision, no checkpoint in it, or more than one sequence.
        """
        trees: dict[Revision, list[TreeFile] | CheckpointError]
        if self._client.offline:
            cached = self._client.list_cached(self._address)
            chosen, main, notes = self._choose(list(cached), [])
            trees = {revision: cached[revision] for revision in (*chosen, *main)}
        else:
            chosen, main, notes = self._choose_online()
            trees = self._list_trees([*chosen, *main])
        found: list[Checkpoint] = []
        files: dict[str, HubFile] = {}
        empty: list[str] = []
        seen: tuple[str, ...] = ()
        for revision in chosen:
            tree = trees[revision]
            if isinstance(tree, CheckpointError):
                found.append(self._broken(revision, str(tree)))
                continue
            listed = HubTree(self._address, revision, tree, self._client)
            checkpoints = self._find_in(listed, alone=len(chosen) == 1)
            stamps = tuple(file.stamp for checkpoint in checkpoints for file in checkpoint.files)
            if self._commits and stamps and stamps == seen:
                continue  # a commit that changed no weight
            seen = stamps
            if not checkpoints:
                empty.append(revision.label or revision.name)
            found += checkpoints
            files |= {file.url: file for file in listed.files.values()}
        if not found:
            where = "its commits" if self._commits else "its revisions" if len(chosen) > 1 else revision.name
            raise SourceError(f"{self._address}: holds no checkpoint (.safetensors, .bin, .pt, .ckpt) in {where}")
        if empty:
            verb = "holds" if len(empty) == 1 else "hold"
            notes.append(f"{_list(empty)} {verb} no weights and {'is' if len(empty) == 1 else 'are'} left out")
        notes += [note for ref in main if (note := self._place_main(ref, trees[ref], found)) is not None]
        return HubSequence(tuple(found), files, tuple(notes))

    def _choose_online(self) -> tuple[list[Revision], list[Revision], list[str]]:
        address, client = self._address, self._client
        if self._commits:
            if address.is_glob:
                raise SourceError(f"{address}: --commits takes one branch, not a pattern")
            commits = client.list_commits(address, address.revision or MAIN)
            return [_name_commit(commit, index) for index, commit in enumerate(commits)], [], []
        if address.revision and not address.is_glob:
            branches, tags = client.list_refs(address) if not address.is_commit else ([], [])
            named = [ref for ref in (*branches, *tags) if ref.name == address.revision]
            return [named[0] if named else client.find_revision(address, address.revision)], [], []
        return self._choose(*client.list_refs(address))

    def _choose(
        self, branches: Sequence[Revision], tags: Sequence[Revision]
    ) -> tuple[list[Revision], list[Revision], list[str]]:
        """Which branches and tags are the sequence, whether `main` is to be placed beside it, and what is left out."""
        address = self._address
        held = {branch.commit for branch in branches}
        names = {branch.name for branch in branches}
        refs = [*branches, *(tag for tag in tags if tag.name not in names)]
        if address.revision:
            chosen = [ref for ref in refs if fnmatch.fnmatchcase(ref.name, address.revision)]
            chosen = [ref for ref in chosen if ref.name in names or ref.commit not in held or not names_step(ref.name)]
            if not chosen:
                some = _list(sorted((ref.name for ref in refs), key=natural_key))
                raise SourceError(f"{address}: no branch or tag is called so; there {_are(len(refs))} {some}")
            return sorted(chosen, key=_place), [], []
        steps = [ref for ref in refs if _is_step(ref.name) and (ref.name in names or ref.commit not in held)]
        main = [ref for ref in branches if ref.name == MAIN] or list(branches[:1])
        if len(steps) < 2 and main:  # noqa: PLR2004 - a sequence
            steps = [ref for ref in steps if ref.commit != main[0].commit]
            return [*sorted(steps, key=_place), *main], [], []
        if not steps:
            raise SourceError(f"{address}: the repository has no branch")
        self._refuse_parallel(steps)
        others = [ref.name for ref in refs if not _is_step(ref.name) and ref.name != MAIN]
        verb = f"{_are(len(others))} left out: no {'step' if len(others) == 1 else 'steps'} by name"
        notes = [f"{_list(others)} {verb} (@ takes a revision or a pattern)"] if others else []
        return sorted(steps, key=_place), [ref for ref in branches if ref.name == MAIN], notes

    def _refuse_parallel(self, refs: Sequence[Revision]) -> None:
        """Branches that hold the same steps under names that begin in different ways are several runs."""
        runs: dict[str, set[int]] = {}
        for ref in refs:
            step = read_name(ref.name).units.get("step")
            if step is not None:
                runs.setdefault(_COUNTED.sub("", ref.name), set()).add(step)
        if sum(len(steps) for steps in runs.values()) - len(set().union(*runs.values())) < _MIN_SHARED_STEPS:
            return
        shared = {run: steps for run, steps in runs.items() if any(len(steps & s) for r, s in runs.items() if r != run)}
        if all(_in_turn(run) for run in shared):
            return  # stages of one training, which each count from the beginning
        patterns = [self._address.at(f"{run}*", self._address.folder) for run in sorted(shared, key=natural_key)]
        raise SourceError(
            f"{self._address}: holds {len(shared)} runs side by side, not one sequence; choose one of them: "
            f"{', '.join(repr(pattern) for pattern in patterns[:8])}"
        )

    def _list_trees(self, revisions: Sequence[Revision]) -> dict[Revision, list[TreeFile] | CheckpointError]:
        """The trees of all revisions, a few at a time; of those on one commit once."""
        commits = {revision.commit: revision for revision in revisions}

        def read(revision: Revision) -> list[TreeFile] | CheckpointError:
            try:
                return self._client.list_tree(self._address, revision)
            except CheckpointError as error:
                return error

        found: dict[str, list[TreeFile] | CheckpointError] = {}
        with ThreadPoolExecutor(_NUM_WORKERS) as pool:
            for commit, tree in zip(commits, pool.map(read, commits.values()), strict=True):
                found[commit] = tree
                self._progress(Progress("listing revisions", len(found), len(commits), "revisions"))
        return {revision: found[revision.commit] for revision in revisions}

    def _find_in(self, tree: HubTree, *, alone: bool) -> list[Checkpoint]:
        """The checkpoint of a revision, named after it; where the revision is all there is, those in its folders."""
        place = tree.root
        for part in self._address.folder.split("/") if self._address.folder else ():
            place = place / part
        revision = tree.revision
        if not place.exists():
            if alone:
                raise SourceError(f"{place}: no such file or folder in this revision")
            return []
        try:
            found = find_checkpoints(place)
        except NoCheckpointError:
            if alone:
                raise
            return []
        except SourceError as error:
            if alone:
                raise
            return [self._broken(revision, str(error))]
        if alone and (len(found) > 1 or self._address.folder):
            return found
        if len(found) > 1:
            names = _list([checkpoint.label for checkpoint in found])
            advice = f"give the folder too, as in {self._address.at(self._address.revision or '*', found[0].label)}"
            return [self._broken(revision, f"{place}: holds {len(found)} checkpoints ({names}): {advice}")]
        origin = self._address.at(revision.name, self._address.folder)
        return [replace(found[0], label=revision.label or revision.name, origin=origin)]

    def _broken(self, revision: Revision, problem: str) -> Checkpoint:
        origin = self._address.at(revision.name)
        return Checkpoint(None, revision.label or revision.name, origin, (), (), problem=problem)

    def _place_main(
        self, main: Revision, tree: list[TreeFile] | CheckpointError, found: Sequence[Checkpoint]
    ) -> str | None:
        """Why `main` is no checkpoint of the sequence: it is one of them, or nothing says which step it is.

        Returns:
            A sentence, or None where there is nothing to be left out.
        """
        if isinstance(tree, CheckpointError):
            return f"{MAIN} is left out: {tree}"
        held = self._find_in(HubTree(self._address, main, tree, self._client), alone=False)
        stamps = {file.stamp for checkpoint in held for file in checkpoint.files}
        if not stamps:
            return None
        for checkpoint in reversed(found):
            if stamps == {file.stamp for file in checkpoint.files}:
                return f"{MAIN} is left out: it holds the files of {checkpoint.label}"
        given = self._address.at(MAIN, self._address.folder)
        return f"{MAIN} is left out: no name says which step it is (give {given} as well to take it for the last)"


def _name_commit(commit: Revision, index: int) -> Revision:
    """A commit, called after the step in its message where there is one, else after its place in history."""
    step = _STEP_IN_TITLE.search(commit.title)
    label = f"step-{int(step[1])}" if step else "final" if _ENDED.search(commit.title) else f"commit-{index}"
    return replace(commit, label=label)


def _is_step(name: str) -> bool:
    return names_step(name) or "number" in read_name(name).units


def _in_turn(run: str) -> bool:
    """Whether what stands before the steps is a stage of one training."""
    return "ingredient" not in run and bool(read_name(run).stage)


def _place(revision: Revision) -> tuple[object, ...]:
    return natural_key(revision.name)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _list(names: Iterable[str]) -> str:
    names = list(names)
    if len(names) > _MAX_NAMED:
        return f"{', '.join(names[:_MAX_NAMED])} and {len(names) - _MAX_NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
