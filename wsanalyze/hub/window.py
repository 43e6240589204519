"""A rolling window of files: brought here when they are measured, let go when no later change needs them."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from wsanalyze.errors import CheckpointError
from wsanalyze.hub.client import HubClient, HubFile
from wsanalyze.hub.failures import explain_disk

_BLOCK_BYTES: Final = 2**20
_FILES: Final = "files"
_COMING: Final = "coming"


class Window:
    """Whole files in a folder of their own, each called after the digest of its bytes.

    Args:
        client: What downloads.
        folder: Where they are kept; nobody else writes there.
        keep: Whether files go into the user's cache of the Hub instead, and stay.

    Attributes:
        room: Size of the two checkpoints that take the most, in bytes.
    """

    def __init__(self, client: HubClient, folder: Path, *, keep: bool = False) -> None:
        self.folder = folder
        self.keep = keep
        self._client = client
        self._needed: list[dict[str, int]] = []
        self.room = 0

    def find(self, file: HubFile) -> Path | None:
        """Where a file is on disk, in the window or in the user's cache."""
        own = self._place(file.entry.digest)
        try:
            if own.stat().st_size == file.entry.size:
                return own
        except OSError:
            pass
        return self._client.find_cached(file)

    def plan(self, needed: Sequence[Sequence[HubFile]]) -> None:
        """Tell which files will be wanted together, and in which order.

        Args:
            needed: For each change that is measured, the files of both its sides.
        """
        self._needed = [{file.entry.digest: file.entry.size for file in files} for files in needed]
        self.room = max((sum(files.values()) for files in self._needed), default=0)

    @property
    def free_bytes(self) -> int:
        """Room on the disk that files go to."""
        folder = self.client_folder
        while not folder.exists() and folder.parent != folder:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    @property
    def held_bytes(self) -> int:
        """Size of what lies in the window already."""
        return sum(self._held().values())

    @property
    def client_folder(self) -> Path:
        """The folder that downloads go to."""
        return self._client.home if self.keep else self.folder

    def advance(self, index: int) -> None:
        """Let go of what is not needed from the `index`th set on; equal files of later ones stay if there is room.

        The room is that of the largest set: two checkpoints.
        """
        now, held = self._needed[index], self._held()
        following: dict[str, int] = {}
        for distance, files in enumerate(self._needed[index:]):
            for digest in files:
                following.setdefault(digest, distance)
        total = sum(size for digest, size in (held | now).items() if digest in following)
        for digest in sorted(held, key=lambda digest: following.get(digest, len(self._needed)), reverse=True):
            if digest not in following or (total > self.room and digest not in now):
                total -= held[digest] if digest in following else 0
                self._drop(digest)

    def finish(self, newest: Sequence[HubFile]) -> None:
        """Let go of everything but the newest checkpoint, which the next one will be compared with."""
        kept = {file.entry.digest for file in newest}
        for digest in self._held():
            if digest not in kept:
                self._drop(digest)
        shutil.rmtree(self.folder / _COMING, ignore_errors=True)

    def bring(self, file: HubFile, on_bytes: Callable[[int], None]) -> Path:
        """Bring one file here, unless it is.

        Raises:
            CheckpointError: If it cannot be had, or is not the file that was listed.
            SourceError: If there is no room for it.
        """
        if found := self.find(file):
            return found
        if self.keep:
            path = self._client.download(file, None, on_bytes)
            _check(path, file)
            return path
        coming, target = self.folder / _COMING, self._place(file.entry.digest)
        try:
            shutil.rmtree(coming, ignore_errors=True)
            coming.mkdir(parents=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(coming).free
        except OSError as error:
            raise explain_disk(error, self.folder, file.url, file.entry.size) from error
        if free < file.entry.size:
            raise explain_disk(OSError(errno.ENOSPC, ""), self.folder, file.url, file.entry.size)
        try:
            path = self._client.download(file, coming, on_bytes)
            _check(path, file)
            path.replace(target)
        finally:
            shutil.rmtree(coming, ignore_errors=True)
        return target

    def _place(self, digest: str) -> Path:
        return self.folder / _FILES / digest.replace(":", "-")

    def _held(self) -> dict[str, int]:
        """The digests and sizes of the files in the window."""
        try:
            with os.scandir(self.folder / _FILES) as found:
                return {entry.name.replace("-", ":", 1): entry.stat().st_size for entry in found}
        except OSError:
            return {}

    def _drop(self, digest: str) -> None:
        self._place(digest).unlink(missing_ok=True)


def check_digest(path: Path, file: HubFile) -> str | None:
    """What is wrong with a file that was downloaded, or None: the client checks nothing but the size."""
    kind, _, expected = file.entry.digest.partition(":")
    size = path.stat().st_size
    if size != file.entry.size:
        return f"came with {size} bytes, {file.entry.size} are listed: it was changed or cut on the way"
    if kind == "sha256":
        digest = hashlib.sha256()
    elif kind == "git":
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    else:
        return None
    room = bytearray(_BLOCK_BYTES)
    view = memoryview(room)
    with path.open("rb", buffering=0) as handle:
        while count := handle.readinto(room):
            digest.update(view[:count])
    if digest.hexdigest() != expected:
        return "its bytes are not those that the Hub lists (other sha): damaged on the way or on the server"
    return None


def _check(path: Path, file: HubFile) -> None:
    problem = check_digest(path, file)
    if problem is not None:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise CheckpointError(problem, file.url)
