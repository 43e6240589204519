"""Sequences on the Hub: which revisions, commits or folders of a repository are the checkpoints of one run."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.folder import find_checkpoints, find_matches
from wsanalyze.errors import CheckpointError, NoCheckpointError, SourceError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.choose import (
    LAST,
    MAIN,
    Choice,
    choose_refs,
    is_revision,
    name_commits,
    name_hidden_tags,
    settle_address,
    short_name,
    tell_tags_apart,
)
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.records import HubFile, Revision, TreeFile
from wsanalyze.hub.tree import HubPath, HubTree
from wsanalyze.progress import Progress, ProgressCallback, silent
from wsanalyze.sentences import list_names

_NUM_WORKERS: Final = 8
_MIN_HASH_CHARS: Final = 7
_OFFLINE: Final = "HF_HUB_OFFLINE forbids to ask the Hub"


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


@dataclass(frozen=True, slots=True)
class _Held:
    """A revision and the checkpoints in it."""

    revision: Revision
    checkpoints: list[Checkpoint]
    files: Mapping[str, HubFile]

    @property
    def stamps(self) -> tuple[str, ...]:
        return tuple(file.stamp for checkpoint in self.checkpoints for file in checkpoint.files)

    @property
    def name(self) -> str:
        return self.revision.label or self.revision.name

    def called(self, label: str) -> "_Held":
        """The same under another name, where it is one checkpoint that is called after its revision."""
        old = self.name
        renamed = [replace(c, label=label) if c.label == old else c for c in self.checkpoints]
        return replace(self, revision=replace(self.revision, label=label), checkpoints=renamed)


class HubSource:
    """Checkpoints of one address on the Hub.

    Args:
        address: Where they are.
        client: What asks.
        commits: Whether the commits of one branch are the checkpoints, rather than branches and tags.
        progress: Told of revisions listed.
    """

    def __init__(
        self,
        address: HubAddress,
        client: HubClient,
        *,
        commits: bool = False,
        progress: ProgressCallback = silent,
    ) -> None:
        self._address = address
        self._client = client
        self._commits = commits
        self._progress = progress
        self._trees: dict[str, list[TreeFile] | CheckpointError] = {}
        self._beside = False
        self._strange = 0

    def find(self) -> HubSequence:
        """Find the checkpoints; reads listings and shard indices, and no weight.

        Raises:
            SourceError: If there is no such repository or revision, no checkpoint in it, or more than one sequence.
        """
        choice = self._choose_cached() if self._client.offline else self._choose()
        wanted = [*choice.revisions, *([choice.main] if choice.main else [])]
        self._list_trees(wanted)
        alone = len(wanted) == 1 or (len(choice.revisions) == 1 and choice.main is None)
        notes = list(choice.notes)
        try:
            listed = [self._look_in(revision, alone=alone) for revision in choice.revisions]
        except NoCheckpointError as error:
            raise NoCheckpointError("; ".join([str(error), *notes])) from None
        held = [one for one in listed if one.checkpoints]
        if self._commits:
            held, said = _tell_commits_apart(held)
            notes += said
        if choice.main is not None:
            last, said = self._place_main(self._look_in(choice.main, alone=False), held, alone=len(listed) == 1)
            held += last
            notes += said
        if not held:
            where = "its commits" if self._commits else "its revisions" if len(wanted) > 1 else wanted[0].name
            found = f"holds no checkpoint (.safetensors, .bin, .pt, .ckpt) in {where}{self._address.advice}"
            raise SourceError("; ".join([f"{self._address}: {found}", *choice.notes]))
        if empty := [one.name for one in listed if not one.checkpoints]:
            verb, are = ("holds", "is") if len(empty) == 1 else ("hold", "are")
            notes.append(f"{list_names(empty)} {verb} no weights and {are} left out")
        if self._strange:
            are = "1 name is" if self._strange == 1 else f"{self._strange} names are"
            notes.append(f"{are} left out that no branch or tag of git can have")
        if self._beside:
            given = self._address.at(self._address.revision, "FOLDER")
            notes.append(f"checkpoints in folders are left out beside those in none ({given} reads them)")
        files = {url: file for one in held for url, file in one.files.items()}
        return HubSequence(tuple(c for one in held for c in one.checkpoints), files, tuple(notes))

    def _choose(self) -> Choice:
        address, client = self._address, self._client
        branches: list[Revision] = []
        tags: list[Revision] = []
        if not address.is_commit and (not self._commits or address.is_glob or address.folder):
            listed = client.list_refs(address)
            branches, tags = ([ref for ref in refs if is_revision(ref)] for refs in listed)
            self._strange = sum(map(len, listed)) - len(branches) - len(tags)
            branches, tags = tell_tags_apart(branches, tags, address)
            address = self._address = settle_address(address, (*branches, *tags))
        if self._commits:
            if address.is_glob:
                raise SourceError(f"{address}: --commits takes one branch, not a pattern")
            found = client.list_commits(address, address.ref or MAIN)
            return Choice(tuple(replace(commit, label=f"commit-{index}") for index, commit in enumerate(found)))
        if address.revision and not address.is_glob:
            named = [ref for ref in (*branches, *tags) if short_name(ref) == address.revision]
            chosen = Choice((named[0] if named else client.find_revision(address, address.ref),))
        else:
            chosen = choose_refs(address, branches, tags)
        return replace(chosen, notes=(*chosen.notes, *name_hidden_tags(address, chosen.revisions, tags)))

    def _choose_cached(self) -> Choice:
        """The same of what the user's cache holds, where the Hub may not be asked."""
        if self._commits:
            raise SourceError(f"{self._address}: --commits needs the history of the branch, and {_OFFLINE}")
        cached = self._client.list_cached(self._address)
        self._trees = {revision.commit: entries for revision, entries in cached.items()}
        named = [revision for revision in cached if revision.name != revision.commit]
        address = self._address = settle_address(self._address, named)
        wanted = address.revision
        if wanted and not address.is_glob:
            held = [one for one in cached if one.name == address.ref] or [one for one in cached if one.name == wanted]
            held = held or [one for one in cached if len(wanted) >= _MIN_HASH_CHARS and one.commit.startswith(wanted)]
            if not held:
                raise SourceError(f"{address}: is not in the cache, and {_OFFLINE}")
            return Choice((held[0] if held[0].name == address.ref else replace(held[0], name=wanted),))
        if not named and len(cached) > 1:
            some = list_names(revision.commit[:10] for revision in cached)
            raise SourceError(f"{address}: the cache does not know names of its revisions: choose of {some} with @")
        branches = [one for one in named if one.name == short_name(one)]
        return choose_refs(address, branches or named or list(cached), [])

    def _list_trees(self, revisions: Sequence[Revision]) -> None:
        """Fetch the trees of all revisions that are not known, a few at a time; of those on one commit once."""
        commits = {revision.commit: revision for revision in revisions if revision.commit not in self._trees}

        def read(revision: Revision) -> list[TreeFile] | CheckpointError:
            try:
                return self._client.list_tree(self._address, revision)
            except CheckpointError as error:
                return error

        with ThreadPoolExecutor(_NUM_WORKERS) as pool:
            for done, (commit, tree) in enumerate(zip(commits, pool.map(read, commits.values()), strict=True), 1):
                self._trees[commit] = tree
                self._progress(Progress("listing revisions", done, len(commits), "revisions"))

    def _look_in(self, revision: Revision, *, alone: bool) -> _Held:
        tree = self._trees[revision.commit]
        if isinstance(tree, CheckpointError):
            return _Held(revision, [self._broken(revision, str(tree))], {})
        try:
            listed = HubTree(self._address, revision, tree, self._client)
            found = self._find_in(listed, alone=alone)
        except CheckpointError as error:
            if alone:
                raise
            return _Held(revision, [self._broken(revision, str(error))], {})
        return _Held(revision, found, {file.url: file for file in listed.files.values()})

    def _find_in(self, tree: HubTree, *, alone: bool) -> list[Checkpoint]:
        """The checkpoint of a revision, named after it; where the revision is all there is, those in its folders."""
        revision, folder = tree.revision, self._address.folder
        places = tree.find(folder) if folder else [tree.root]
        if not places:
            if alone:
                place = self._address.at(revision.name, folder)
                raise SourceError(f"{place}: no such file or folder in this revision{self._address.advice}")
            return []
        try:
            found = find_checkpoints(places[0]) if len(places) == 1 else find_matches(places)
        except NoCheckpointError:
            if alone:
                raise
            return []
        except SourceError as error:
            if alone:
                raise
            return [self._broken(revision, str(error))]
        if alone and (len(found) > 1 or folder):
            return found
        if len(found) > 1:
            found = self._choose_among(found, places, revision)
        name = revision.label or revision.name
        return [replace(one, label=name, origin=self._address.at(revision.name, folder)) for one in found]

    def _choose_among(
        self, found: Sequence[Checkpoint], places: Sequence[HubPath], revision: Revision
    ) -> list[Checkpoint]:
        """Of several checkpoints in one revision of many, that which lies in none of their folders."""
        own = [checkpoint for checkpoint in found if checkpoint.files and checkpoint.place in places]
        if len(own) == 1:
            self._beside = True
            return own
        names = list_names([checkpoint.label for checkpoint in found])
        place = self._address.at(revision.name, self._address.folder)
        advice = f"give the folder too, as in {self._address.at(self._address.revision, found[0].label)}"
        return [self._broken(revision, f"{place}: holds {len(found)} checkpoints ({names}): {advice}")]

    def _broken(self, revision: Revision, problem: str) -> Checkpoint:
        origin = self._address.at(revision.name)
        return Checkpoint(None, revision.label or revision.name, origin, (), (), problem=problem)

    def _place_main(self, main: _Held, held: Sequence[_Held], *, alone: bool) -> tuple[list[_Held], list[str]]:
        """Whether `main` is a checkpoint of the sequence: not if it is one of them, or nothing says which step it is.

        Args:
            main: It, and what it holds.
            held: The checkpoints named like steps.
            alone: Whether there is one of those only; then `main` is what came of it.

        Returns:
            It where it takes part, and sentences on it.
        """
        if not main.stamps:
            problems = [checkpoint.problem for checkpoint in main.checkpoints if checkpoint.problem]
            return [], [f"{MAIN} is left out: {problem}" for problem in problems[:1]]
        for one in reversed(held):
            if set(main.stamps) == set(one.stamps):
                return [], [f"{MAIN} is left out: it holds the files of {one.name}"]
        if alone:
            return [main.called(LAST)], [f"{MAIN} is taken for the last checkpoint"]
        given = self._address.at(MAIN, self._address.folder)
        return [], [f"{MAIN} is left out: no name says which step it is (give {given} as well to take it for the last)"]


def _tell_commits_apart(held: Sequence[_Held]) -> tuple[list[_Held], list[str]]:
    """The commits that changed weights, called after their steps, and sentences on that."""
    kept: list[_Held] = []
    for one in held:
        if not kept or not one.stamps or one.stamps != kept[-1].stamps:
            kept.append(one)
    if not kept:
        return [], []
    labels, note = name_commits([one.revision for one in kept])
    return [one.called(label) for one, label in zip(kept, labels, strict=True)], [note] if note else []
