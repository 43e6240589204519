"""A revision of a repository as folders and files, known from its listing alone."""

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.records import HubFile, Revision, TreeFile


class HubTree:
    """The files of one revision.

    Args:
        address: Its repository.
        revision: The revision.
        entries: Its files.
        client: What reads those that are small.

    Raises:
        CheckpointError: If the listing is none that the Hub makes: sizes and hashes decide what is read and compared.
    """

    def __init__(self, address: HubAddress, revision: Revision, entries: Sequence[TreeFile], client: HubClient) -> None:
        self.address = address
        self.revision = revision
        self._client = client
        self.files: dict[PurePosixPath, HubFile] = {}
        self.folders: dict[PurePosixPath, dict[str, PurePosixPath]] = {PurePosixPath(): {}}
        for entry in entries:
            if not isinstance(entry.path, str):
                raise CheckpointError("lists a file without a name", address.at(revision.name))
            path = PurePosixPath(entry.path)
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in entry.path:
                continue  # no tree of git has any
            if path in self.files or path in self.folders or any(parent in self.files for parent in path.parents):
                raise CheckpointError("is listed twice", address.at(revision.name, entry.path))
            if not entry.is_sound:
                raise CheckpointError("is listed without its size or hash", address.at(revision.name, entry.path))
            self.files[path] = HubFile(
                address, revision.commit, entry, address.at(revision.name, entry.path), revision.name
            )
            while path.parts:
                self.folders.setdefault(path.parent, {})[path.name] = path
                path = path.parent

    @property
    def root(self) -> "HubPath":
        """All of it."""
        return HubPath(self, PurePosixPath())

    def find(self, pattern: str) -> "list[HubPath]":
        """What bears a name, as `checkpoint-500`, or fits a pattern, as `checkpoint-*`: files or folders, in order."""
        path = PurePosixPath(pattern)
        if path in self.files or path in self.folders:
            return [HubPath(self, path)]
        depth = len(path.parts)
        fitting = (
            held
            for held in (*self.files, *self.folders)
            if len(held.parts) == depth and all(map(fnmatch.fnmatchcase, held.parts, path.parts))
        )
        return [HubPath(self, held) for held in sorted(fitting)]

    def read_start(self, file: HubFile, nbytes: int) -> bytes:
        """The first bytes of a small file; equal ones of another revision are not fetched again."""
        return self._client.read_start(file, nbytes)


class HubPath:
    """A file or folder of a revision, with the part of pathlib's methods that finding checkpoints needs."""

    def __init__(self, tree: HubTree, path: PurePosixPath) -> None:
        self._tree = tree
        self._path = path

    def __str__(self) -> str:
        return self._tree.address.at(self._tree.revision.name, "" if not self._path.parts else str(self._path))

    def __repr__(self) -> str:
        return f"HubPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HubPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: "HubPath") -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: str) -> "HubPath":
        return HubPath(self._tree, self._path / name)

    @property
    def name(self) -> str:
        """Its last part; the name of the revision for all of it."""
        return self._path.name or self._tree.revision.name

    @property
    def suffix(self) -> str:
        """The suffix of its last part."""
        return self._path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The repository and the parts of its path."""
        return (self._tree.address.at(self._tree.revision.name), *self._path.parts)

    @property
    def parent(self) -> "HubPath":
        """The folder that it lies in."""
        return HubPath(self._tree, self._path.parent)

    def exists(self) -> bool:
        """Whether the revision holds it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._file is not None

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._path in self._tree.folders

    def iterdir(self) -> Iterable["HubPath"]:
        """What lies in it.

        Raises:
            FileNotFoundError: If it is no folder.
        """
        if not self.is_dir():
            raise FileNotFoundError(2, "no such folder", str(self))
        return (HubPath(self._tree, path) for path in self._tree.folders[self._path].values())

    def read_start(self, nbytes: int) -> bytes:
        """See `Listed.read_start`.

        Raises:
            CheckpointError: If it cannot be had.
        """
        if self._file is None:
            raise CheckpointError("is no file of this revision", self)
        return self._tree.read_start(self._file, nbytes)

    def ref(self) -> FileRef:
        """The file as it is listed.

        Raises:
            CheckpointError: If there is none.
        """
        if self._file is None:
            raise CheckpointError("is no file of this revision", self)
        entry = self._file.entry
        return FileRef(str(self), entry.size, entry.digest, self._tree.revision.date_ns, remote=True)

    @property
    def _file(self) -> HubFile | None:
        return self._tree.files.get(self._path)
