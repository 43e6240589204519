"""Trees of files that checkpoints are found in: folders on disk, or anything that is only listed, as a revision is.

`pathlib.Path` is a `TreePath` as it is. A tree of another kind brings paths that are `Listed` too: what a file of it is
and what it holds cannot be asked of the disk.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from wsanalyze.files.base import FileRef
from wsanalyze.files.local import stat_file


class TreePath(Protocol):
    """A place in a tree of files: the part of `pathlib.Path` that the finding of checkpoints needs.

    Two of the same place are equal and hash alike, and `str` tells people where it is. None of the questions is an
    error where there is no such place; any may raise OSError where it may not be looked at.
    """

    @property
    def name(self) -> str:
        """The last part."""

    @property
    def suffix(self) -> str:
        """What the name ends in from its last dot on, or ""."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names from the root down; those of what lies below a place begin with its own."""

    @property
    def parent(self) -> Self:
        """The folder that it lies in; that of the root is the root."""

    def __truediv__(self, name: str, /) -> Self: ...

    def iterdir(self) -> Iterable[Self]:
        """What lies in a folder, in any order.

        Raises:
            OSError: If it is none, or cannot be listed.
        """

    def exists(self) -> bool:
        """Whether there is anything."""

    def is_dir(self) -> bool:
        """Whether it is a folder."""

    def is_file(self) -> bool:
        """Whether it is a regular file."""


@runtime_checkable
class Listed(Protocol):
    """What a path of a tree that is not on disk does besides."""

    def ref(self) -> FileRef:
        """The file that stands there; asks for nothing that the listing told.

        Raises:
            CheckpointError: If there is none, or it is a folder.
        """

    def read_start(self, nbytes: int) -> bytes:
        """Its first bytes, of which there are as many; asked again for as many, it does not fetch them again.

        Raises:
            CheckpointError: If they cannot be fetched.
        """


def list_file(path: TreePath) -> FileRef:
    """List one file.

    Raises:
        CheckpointError: If there is none, or it is a folder, a pipe or a device.
    """
    return path.ref() if isinstance(path, Listed) else stat_file(str(path))


def read_start(path: TreePath, nbytes: int) -> bytes:
    """Read the first `nbytes` bytes of a file, fewer only where it ends.

    Raises:
        CheckpointError: If it is not on disk and cannot be fetched.
        OSError: If it cannot be read.
    """
    if isinstance(path, Listed):
        return path.read_start(min(nbytes, path.ref().size))  # for what is there alone, whatever its bound
    with Path(str(path)).open("rb") as file:
        return file.read(nbytes)


def is_folder(path: TreePath) -> bool:
    """Whether a path is a folder; one that may not be looked at is taken for none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def exists(path: TreePath) -> bool:
    """Whether there is anything; what may not be looked at is taken for nothing."""
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder on the way that may not be entered
        return False


def leads_back(path: TreePath) -> bool:
    """Whether a path is a link to the folder that it lies in, or to one above: only a disk has links."""
    if not isinstance(path, Path) or not path.is_symlink():
        return False
    place = path.parent.resolve()
    return path.resolve() in (place, *place.parents)
