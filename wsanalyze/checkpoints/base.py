"""The contract of checkpoints: which files were saved together, at which step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.files.base import FileRef

FOREIGN: Final = "foreign"
"""The layout of checkpoints of a format that is known and not read: their `problem` says how to convert them."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        step: Training step, epoch or iteration; None where none is known.
        stage: Part of the training that the step counts in ("stage1"), or "".
        label: The short name shown to people.
        origin: Where it lies, as a path or address.
        files: Its weight files.
        prefixes: For each file, what stands before the names of its tensors: "" but for several components.
        facts: Numbers found inside it that say when it was saved ("global_step", "epoch").
        problem: Why it cannot be read, where that is known already.
        duplicate_of: Label of the checkpoint that it is a copy of, and how that is known; None for a checkpoint of
            its own.
        unread: Names of files beside it that are left alone: the same weights in another format, averages, adapters.
        layout: How its files hold its tensors together: "files" where each file holds whole tensors; the other names
            are those of `wsanalyze.tensors.files.LAYOUTS`, and `FOREIGN` where they are not read.
        place: The folder that its first file lies in, in the tree that it was found in; None where no tree is known.
    """

    step: int | None
    label: str
    origin: str
    files: tuple[FileRef, ...]
    prefixes: tuple[str, ...]
    stage: str = ""
    facts: Mapping[str, int] = field(default_factory=dict, hash=False)
    problem: str | None = None
    duplicate_of: str | None = None
    unread: tuple[str, ...] = ()
    layout: str = "files"
    place: TreePath | None = field(default=None, compare=False)

    @property
    def folder(self) -> TreePath:
        """The folder that its first file lies in, where trainers leave its configuration beside it."""
        if self.place is not None:
            return self.place
        return Path(self.files[0].url).parent if self.files else Path(self.origin)

    @property
    def folders(self) -> tuple[TreePath, ...]:
        """Where trainers may have noted its state: the folder that is the checkpoint, and that of its first file."""
        if self.place is None:
            return Path(self.origin), self.folder
        path = self.place
        while str(path) != self.origin and path.parent != path:
            path = path.parent
        return (path, self.place) if str(path) == self.origin else (self.place,)

    @property
    def nbytes(self) -> int:
        """Size of its weight files in bytes."""
        return sum(file.size for file in self.files)


class CheckpointSource(Protocol):
    """A place that holds checkpoints."""

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Find them, unordered; reads names and directories only.

        Raises:
            SourceError: If there is no such place, no checkpoint in it, or more than one sequence.
        """
