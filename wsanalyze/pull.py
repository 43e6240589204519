"""A training run from the Hub into a folder of checkpoints: the revisions that an analysis would choose."""

import shlex
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.trainer_state import read_global_step
from wsanalyze.choosing import SequenceOptions, choose_checkpoints
from wsanalyze.errors import CheckpointError, SourceError, WsAnalyzeError
from wsanalyze.hub.address import SCHEME, guess_address, is_hub_address
from wsanalyze.hub.layout import STATE, Placed, keep_apart, list_files, place_all
from wsanalyze.hub.pull import PullFolder
from wsanalyze.hub.records import HubFile
from wsanalyze.hub.session import HubOptions, HubSession
from wsanalyze.progress import Progress, ProgressCallback, silent
from wsanalyze.reports.text import format_bytes
from wsanalyze.sources import locate_checkpoints

_MAX_UNREACHED: Final = 2
"""So many checkpoints in a row that the Hub gives no answer for are enough: the others are not asked for."""


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Which checkpoints are pulled.

    Attributes:
        steps: (first, last) step, both inclusive, None for no bound; checkpoints without a step stay.
        every: N: every Nth checkpoint, and always the first and the last.
        hub: How the Hub is read.
    """

    steps: tuple[int | None, int | None] = (None, None)
    every: int = 1
    hub: HubOptions = field(default_factory=HubOptions)


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What is to be done.

    Attributes:
        placed: The checkpoints, in order.
        missing: For each of them the files that are not there yet, by their paths below the folder.
        wanted: One of each of those whose bytes are neither in the folder nor in the user's cache.
        cached: One of each of those whose bytes are in the user's cache.
        failures: What cannot be pulled, and why.
        notes: Sentences on what was chosen.
    """

    placed: tuple[Placed, ...]
    missing: tuple[Mapping[str, HubFile], ...]
    wanted: tuple[HubFile, ...]
    cached: tuple[HubFile, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def wanted_bytes(self) -> int:
        """How much is to be fetched from the Hub."""
        return sum(file.entry.size for file in self.wanted)

    @property
    def cached_bytes(self) -> int:
        """How much comes from the user's cache."""
        return sum(file.entry.size for file in self.cached)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of it.

    Attributes:
        folder: The folder.
        plan: What was to be done.
        names: Names of the folders of the checkpoints that are there now, in order; none where nothing was to be done.
        failures: What could not be pulled, and why.
        num_bytes: Bytes of files that were received.
        num_requests: Requests that were sent.
    """

    folder: Path
    plan: PullPlan
    names: tuple[str, ...]
    failures: tuple[str, ...]
    num_bytes: int
    num_requests: int

    def lines(self) -> list[str]:
        """What there is to say at the end."""
        received = f"{format_bytes(self.num_bytes)} in {_count(self.num_requests, 'request')}"
        if self.names:
            command = shlex.join(["wsanalyze", "analyze", str(self.folder)])
            return [f"{_count(len(self.names), 'checkpoint')} in {self.folder} ({received}); next: {command}"]
        rows = [
            (p.folder, p.checkpoint.label, _count(len(p.files), "file"), format_bytes(p.nbytes), _tell_missing(missing))
            for p, missing in zip(self.plan.placed, self.plan.missing, strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return [*table, f"{_tell_plan(self.plan, self.folder)}; nothing was pulled (--dry-run)"]


def pull_sequence(
    source: str,
    folder: Path,
    options: PullOptions = PullOptions(),
    *,
    dry_run: bool = False,
    progress: ProgressCallback = silent,
) -> Pulled:
    """Bring the checkpoints of an address of the Hub into a folder that `analyze` reads as the same sequence.

    What is there already is not fetched again, so an interrupted pull goes on and a later one brings what is new.

    Args:
        source: `hf://org/repo[@revision][/folder]`, or `org/repo` alone, or a page of the Hub.
        folder: The folder; made where there is none.
        options: Which checkpoints.
        dry_run: Only find out what would be done; nothing is made or written.
        progress: Told of revisions listed, files checked and bytes received.

    Raises:
        SourceError: If there is no such repository, no checkpoint, no room, or none could be pulled.
    """
    session = HubSession(options.hub, progress)
    address = source if is_hub_address(source) else guess_address(source) or SCHEME + source
    place = session.parse(address)
    target = PullFolder(folder, session.client, place.at("", place.folder))
    plan = _make_plan(address, target, options, session, progress)
    if not dry_run:
        needed = plan.wanted_bytes + sum(f.entry.size for f in plan.cached if not target.can_link(f))
        needed += sum(
            one.files[one.apart].entry.size
            for one, missing in zip(plan.placed, plan.missing, strict=True)
            if f"{one.folder}/{one.apart}" in missing
        )
        if needed > target.free_bytes:
            raise SourceError(
                f"{folder}: {format_bytes(needed)} are needed and {format_bytes(target.free_bytes)} are free: "
                "free some, or pull fewer (--steps, --every)"
            )
        text = _tell_plan(plan, folder)
        progress(Progress("planning", len(plan.placed), len(plan.placed), "checkpoints", text))
    names, failed = ((), ()) if dry_run else _Puller(plan, target, progress).run()
    failures = (*plan.failures, *failed)
    if failures and not (names or (dry_run and plan.placed)):
        more = "" if len(failures) == 1 else f" (and {len(failures) - 1} more)"
        raise SourceError(f"{failures[0]}{more}")
    traffic = session.client.traffic
    return Pulled(folder, plan, tuple(names), failures, traffic.num_bytes, traffic.num_requests)


def _make_plan(
    address: str, target: PullFolder, options: PullOptions, session: HubSession, progress: ProgressCallback
) -> PullPlan:
    """Choose the checkpoints, name their folders, and see which of their files are missing."""
    try:
        located = locate_checkpoints([address], None, session)
        wanted = SequenceOptions(steps=options.steps, every=options.every)
        chosen, order, equal = choose_checkpoints(located, wanted, session.files)
        origins = {checkpoint.origin for checkpoint in chosen}
        apart = {origin for one in equal if one.kept not in origins for origin in one.copies}
        failures = [f"{c.label} is left out: {c.problem}" for c in chosen if c.problem]
        found: list[tuple[Checkpoint, Mapping[str, HubFile]]] = []
        for checkpoint in chosen:
            if checkpoint.problem or checkpoint.origin in apart:
                continue
            try:
                found.append((checkpoint, list_files(checkpoint, session.files.get)))
            except CheckpointError as error:
                failures.append(f"{checkpoint.label} is left out: {error}")
        if not (found or failures):
            raise SourceError(f"{address}: no checkpoint with weights is left to pull")
        all_placed, differs = place_all(found, target.path.absolute().name, session.client) if found else ([], None)
        all_placed = keep_apart(all_placed, {one.kept: one.copies for one in equal})
    finally:
        session.files.close()
    placed, missing = [], []
    total = sum(len(one.files) for one in all_placed)
    for index, one in enumerate(all_placed):
        progress(Progress("checking files", sum(len(p.files) for p in all_placed[:index]), total, "files"))
        names = {f"{one.folder}/{path}": file for path, file in one.files.items()}
        try:
            missing.append({name: file for name, file in names.items() if not target.holds(name, file)})
            placed.append(one)
        except CheckpointError as error:
            failures.append(f"{one.checkpoint.label} is left out: {error}")
    needed = {f.entry.digest: f for files in missing for f in files.values() if target.find(f) is None}
    cached = [file for file in needed.values() if session.client.find_cached(file)]
    rest = [file for file in needed.values() if file not in cached]
    notes = (*located.notes, *([f"{target.path}: {differs}"] if differs else []), *order)
    return PullPlan(tuple(placed), tuple(missing), tuple(rest), tuple(cached), tuple(failures), notes)


class _Puller:
    """Carries out a plan."""

    def __init__(self, plan: PullPlan, target: PullFolder, progress: ProgressCallback) -> None:
        self._plan = plan
        self._target = target
        self._progress = progress
        self._done = 0
        self._total = plan.wanted_bytes + plan.cached_bytes

    def run(self) -> tuple[list[str], list[str]]:
        """Fetch and place everything: the names of what is there, and what failed."""
        self._target.prepare()
        with closing(self._target):
            try:
                names, failures = self._pull_all()
                if not failures:
                    self._target.clear()
            finally:
                with suppress(WsAnalyzeError):
                    self._target.save()
        return names, failures

    def _pull_all(self) -> tuple[list[str], list[str]]:
        names: list[str] = []
        failures: list[str] = []
        unreached = 0
        for one, missing in zip(self._plan.placed, self._plan.missing, strict=True):
            if missing and unreached >= _MAX_UNREACHED:
                failures.append(f"{one.checkpoint.label} is left out: it was not asked for any more")
                continue
            try:
                self._pull(one, missing)
            except CheckpointError as error:
                failures.append(f"{one.checkpoint.label} is left out: {error}")
                unreached = unreached + 1 if isinstance(error.__cause__, SourceError) else 0
            else:
                names.append(one.folder)
                unreached = 0 if missing else unreached
        return names, failures

    def _pull(self, one: Placed, missing: Mapping[str, HubFile]) -> None:
        for file in missing.values():
            self._target.fetch(file, self._count)
        for name, file in missing.items():  # all at once, so that half a checkpoint is seldom to be seen
            self._target.place(name, file, apart=name == f"{one.folder}/{one.apart}")
        state = f"{one.folder}/{STATE}"
        if STATE in one.files and (self._target.path / state).exists():
            noted = read_global_step(self._target.path / one.folder).get("global_step")
            if noted not in (None, one.checkpoint.step):  # it counts something else, and would be believed there
                self._target.leave_out(state)
        if missing:
            self._target.save()

    def _count(self, nbytes: int) -> None:
        self._done = min(self._total, self._done + nbytes)
        self._progress(Progress("pulling", self._done, self._total, "bytes"))


def _tell_plan(plan: PullPlan, folder: Path) -> str:
    missing = sum(len(files) for files in plan.missing)
    there = sum(len(one.files) for one in plan.placed) - missing
    linked = missing - len(plan.wanted) - len(plan.cached)
    parts = [f"{_count(len(plan.wanted), 'file')} to fetch ({format_bytes(plan.wanted_bytes)})"]
    parts += [f"{len(plan.cached)} from the cache ({format_bytes(plan.cached_bytes)})"] if plan.cached else []
    parts += [f"{linked} equal to others and linked"] if linked else []
    parts += [f"{there} there already"] if there else []
    return f"{_count(len(plan.placed), 'checkpoint')} for {folder}: {', '.join(parts)}"


def _tell_missing(missing: Mapping[str, HubFile]) -> str:
    return f"{len(missing)} missing" if missing else "there"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
