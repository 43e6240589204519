"""A rolling window of files: brought here when they are measured, let go when no later change needs them."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.beside import COMING, FILES, find_beside, weigh, weigh_others, write_note
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.digests import check_digest, name_digest
from wsanalyze.hub.failures import explain_disk, is_of_disk
from wsanalyze.hub.records import HubFile

_SPARE_SHARE: Final = 0.1
"""How much of the free disk is left alone by files that stay here though there is no need to."""


class Window:
    """Whole files in a folder of their own, each called after the digest of its bytes.

    Args:
        client: What downloads.
        folder: Where they are kept; nobody else writes there.
        run: The run file that they are for.
        keep: Whether files go into the user's cache of the Hub instead, and stay.

    Attributes:
        room: Size of the two checkpoints that take the most, or of what came early where that is more, in bytes.
        num_dropped: Files that were brought here to be opened and had to go again.
    """

    def __init__(self, client: HubClient, folder: Path, run: Path, *, keep: bool = False) -> None:
        self.folder = folder
        self.keep = keep
        self._client = client
        self._run = run
        self._needed: list[dict[str, int]] = []
        self.room = 0
        self._early: list[str] = []
        self.num_dropped = 0

    def find(self, file: HubFile) -> Path | None:
        """Where a file is on disk, in the window or in the user's cache."""
        own = self._place(file)
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
        self._needed = [{name_digest(file.entry.digest): file.entry.size for file in files} for files in needed]
        self.room = max((sum(files.values()) for files in self._needed), default=0)
        if self._early:  # more than two checkpoints may be here, and are not to come twice
            held, wanted = self._held(), set().union(*self._needed)
            missing = max(sum(files[name] for name in files.keys() - held) for files in self._needed)
            stays = sum(size for name, size in held.items() if name in wanted)
            self.room = max(self.room, stays + min(missing, self._spare_bytes))

    @property
    def free_bytes(self) -> int:
        """Room on the disk that files go to."""
        folder = self.client_folder
        while not folder.exists() and folder.parent != folder:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    @property
    def _spare_bytes(self) -> int:
        """Room that may be taken by what need not be here."""
        return int((1 - _SPARE_SHARE) * self.free_bytes)

    @property
    def held_bytes(self) -> int:
        """Size of what lies in the window already, the beginning of a file that was cut short included."""
        return sum(self._held().values()) + weigh(self.folder / COMING)

    @property
    def others_bytes(self) -> int:
        """Size of what the windows of other runs hold."""
        return weigh_others(self.folder)

    @property
    def can_write(self) -> bool:
        """Whether files can be put where downloads go to."""
        parts = [self._client.home] if self.keep else [self.folder / FILES, self.folder / COMING]
        places = [next(place for place in (part, *part.parents) if os.path.lexists(place)) for part in parts]
        return all(place.is_dir() and os.access(place, os.W_OK | os.X_OK) for place in places)

    def owns(self, path: Path) -> bool:
        """Whether a file lies in the window."""
        return path.parent == self.folder / FILES

    @property
    def client_folder(self) -> Path:
        """The folder that downloads go to."""
        return self._client.home if self.keep else self.folder

    def advance(self, index: int) -> None:
        """Let go of what is not needed from the `index`th set on; equal files of later ones stay if there is room."""
        now, held = self._needed[index], self._held()
        self._clear_coming(now)
        following: dict[str, int] = {}
        for distance, files in enumerate(self._needed[index:]):
            for name in files:
                following.setdefault(name, distance)
        total = sum(size for name, size in (held | now).items() if name in following)
        for name in sorted(held, key=lambda name: following.get(name, len(self._needed)), reverse=True):
            if name not in following or (total > self.room and name not in now):
                total -= held[name] if name in following else 0
                self._drop(name)

    def finish(self, newest: Sequence[HubFile]) -> None:
        """Let go of everything but the newest checkpoint, which the next one will be compared with."""
        kept = {name_digest(file.entry.digest) for file in newest}
        for name in self._held():
            if name not in kept:
                self._drop(name)
        self._clear_coming(())

    def bring_early(self, file: HubFile, on_bytes: Callable[[int], None]) -> Path:
        """Bring a file here before anything was planned; earlier ones of that kind go where there is no room for all.

        Raises:
            CheckpointError: See `bring`.
            SourceError: See `bring`.
        """
        if found := self.find(file):
            return found
        while self._early and self._spare_bytes < file.entry.size:
            name = self._early.pop(0)
            self.num_dropped += name in self._held()
            self._drop(name)
        path = self.bring(file, on_bytes)
        self._early.append(name_digest(file.entry.digest))
        return path

    def bring(self, file: HubFile, on_bytes: Callable[[int], None]) -> Path:
        """Bring one file here, unless it is; what came of it stays for the next try where it is cut short.

        Raises:
            CheckpointError: If it cannot be had, or is not the file that was listed.
            SourceError: If there is no room for it.
        """
        if found := self.find(file):
            return found
        if self.keep:
            return self._receive(file, None, on_bytes)
        coming, target = self.folder / COMING / name_digest(file.entry.digest), self._place(file)
        try:
            self._clear_coming([coming.name])
            coming.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_note(self.folder, self._run)
            _check_room(coming, file.entry.size)
            path = self._copy(file, coming, on_bytes) or self._receive(file, coming, on_bytes)
            path.replace(target)
        except OSError as error:
            self._clear_coming(())
            raise explain_disk(error, self.folder, file.url, file.entry.size) from error
        except SourceError as error:
            if isinstance(error.__cause__, OSError) and is_of_disk(error.__cause__):
                self._clear_coming(())
            raise
        self._clear_coming(())
        return target

    def _copy(self, file: HubFile, folder: Path, on_bytes: Callable[[int], None]) -> Path | None:
        """A copy of a file that came to the window of another run."""
        found = find_beside(self.folder, name_digest(file.entry.digest), file.entry.size)
        if found is None:
            return None
        shutil.rmtree(folder, ignore_errors=True)  # else its beginning is here twice
        folder.mkdir()
        copy = folder / "copy"
        try:
            shutil.copyfile(found, copy)  # a link would look to those who read it like a change of the file
            if check_digest(copy, file) is None:
                on_bytes(file.entry.size)
                return copy
        except OSError as error:
            if is_of_disk(error):
                raise
        copy.unlink(missing_ok=True)
        return None

    def _receive(self, file: HubFile, folder: Path | None, on_bytes: Callable[[int], None]) -> Path:
        path = self._client.download(file, folder, on_bytes)
        try:
            problem = check_digest(path, file)
        except OSError as error:
            raise explain_disk(error, folder or self._client.home, file.url, file.entry.size) from error
        if problem is not None:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise CheckpointError(problem, file.url)
        return path

    def _place(self, file: HubFile) -> Path:
        return self.folder / FILES / name_digest(file.entry.digest)

    def _held(self) -> dict[str, int]:
        """The names and sizes of the files in the window."""
        try:
            with os.scandir(self.folder / FILES) as found:
                return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in found}
        except OSError:
            return {}

    def _clear_coming(self, wanted: Collection[str]) -> None:
        """Let go of beginnings of files, but for those of some names."""
        coming = self.folder / COMING
        try:
            with os.scandir(coming) as found:
                names = [entry.name for entry in found]
        except OSError:
            return
        for name in names:
            if name not in wanted:
                shutil.rmtree(coming / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            coming.rmdir()

    def _drop(self, name: str) -> None:
        try:
            (self.folder / FILES / name).unlink(missing_ok=True)
        except OSError as error:
            raise explain_disk(error, self.folder, name, 0) from error


def _check_room(folder: Path, nbytes: int) -> None:
    if shutil.disk_usage(folder).free + weigh(folder) < nbytes:
        raise OSError(errno.ENOSPC, "")
