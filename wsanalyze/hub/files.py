"""The ByteSource of files on the Hub: from disk where they are there, else part by part over the network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.hub.checked import CheckedFiles
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.memory import HubMemory
from wsanalyze.hub.plan import Demand, choose_walk
from wsanalyze.hub.ranges import HEADED, RangeReader
from wsanalyze.hub.records import HubFile
from wsanalyze.hub.stream import NoRangesError
from wsanalyze.hub.window import Window
from wsanalyze.progress import Progress, ProgressCallback, silent


class HubFiles(LocalFiles):
    """Bytes of files on the Hub, and of local files beside them.

    Args:
        client: What asks.
        checked: Where it is remembered which files of the user's cache were checked.

    Attributes:
        window: Where whole files are brought to; None until it is known.
        ranges: What reads the others.
        sealed: Whether nothing is asked of the network any more.
        fetch: How files are read: "files", "ranges" or "auto".
        progress: Told of what was chosen.
    """

    def __init__(self, client: HubClient, checked: HubMemory) -> None:
        super().__init__()
        self._checked = CheckedFiles(checked)
        self.client = client
        self.window: Window | None = None
        self.ranges = RangeReader(client)
        self.ranges.read_whole = self._read_whole
        self.ranges.may_read_whole = self._may_read_whole
        self.sealed = False
        self.fetch = "auto"
        self.progress: ProgressCallback = silent
        self._plan_text = ""
        self._known: dict[str, HubFile] = {}
        self._here: dict[str, FileRef | None] = {}
        self._num_early = 0
        self._is_planned = False
        self._opened_whole: set[str] = set()

    @property
    def note(self) -> str:
        """A sentence on what was chosen and what came of it, "" where nothing was fetched."""
        texts = [self._plan_text] if self._plan_text else []
        if self._num_early:
            files = "1 file was" if self._num_early == 1 else f"{self._num_early} files were"
            why = "their headers are all over them" if self.ranges.supported else "the server sends no parts of files"
            texts.append(f"{why}, so {files} brought here whole to be opened")
        if self.window is not None and self.window.num_dropped:
            again = "1 of them was" if self.window.num_dropped == 1 else f"{self.window.num_dropped} of them were"
            texts.append(f"{again} let go for want of room, to be brought again")
        return "; ".join(texts)

    def add(self, files: Mapping[str, HubFile]) -> None:
        """Make files known by their addresses."""
        self._known |= files

    def get(self, file: FileRef) -> HubFile:
        """What a file is on the Hub."""
        return self._known[file.url]

    def at_hand(self, file: FileRef) -> bool:
        """Whether a file is on disk."""
        return not file.remote or self._find(file) is not None

    def prepare(self, files: Sequence[FileRef]) -> None:
        """See `ByteSource.prepare`."""
        self.ranges.prepare([self._known[f.url] for f in files if f.remote and self._find(f) is None])

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        """See `ByteSource.expect`."""
        if file.remote and self._find(file) is None:
            self.ranges.expect(self._known[file.url], [(file.start + offset, nbytes) for offset, nbytes in spans])

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        """See `ByteSource.read_into`."""
        if not file.remote:
            super().read_into(file, offset, buffer)
            return
        local = self._find(file)
        if local is not None and file.url not in self._opened_whole:
            if self._is_planned:
                self._check(local, file.url)
            try:
                super().read_into(local, file.start + offset, buffer)
            except CheckpointError as error:
                raise CheckpointError(error.reason, file.url) from error
            return
        if self.sealed:
            raise CheckpointError("is not at hand any more", file.url)
        self.ranges.read_into(self._known[file.url], file.start + offset, buffer)

    def verify(self, file: FileRef) -> None:
        """See `ByteSource.verify`: what is on the Hub is pinned to a commit, and remembered if it made sense."""
        if not file.remote:
            super().verify(file)
            return
        if local := self._find(file):
            super().verify(local)
        self.ranges.confirm(self._known[file.url])

    def close(self) -> None:
        """See `ByteSource.close`."""
        self.ranges.close()
        self._checked.close()
        super().close()

    def plan(self, changes: Sequence[Mapping[FileRef, int]], num_runs: int) -> bool:
        """See `FileWindow.plan`."""
        window = self._window()
        self._is_planned = True
        self._opened_whole.clear()
        window.plan([self._remote(files) for files in changes])
        missing = {file.stamp: file for files in changes for file in files if not self.at_hand(file)}
        if not missing:
            return False
        needed: dict[str, int] = {}
        for files in changes:
            for file, nbytes in files.items():
                if file.stamp in missing:
                    needed[file.stamp] = max(needed.get(file.stamp, 0), nbytes)
        choice = choose_walk(
            Demand(
                num_files=len(missing),
                file_bytes=sum(file.size for file in missing.values()),
                needed_bytes=sum(needed.values()),
                num_runs=num_runs,
                pair_bytes=window.room,
                free_bytes=window.free_bytes + window.held_bytes,
                can_range=self.ranges.supported and all(file.url.endswith(HEADED) for file in missing.values()),
                keep=window.keep,
                can_write=window.can_write,
                others_bytes=window.others_bytes,
            ),
            self.fetch,
            str(window.client_folder),
        )
        self._plan_text = self._plan_text or choice.text  # another one follows where a checkpoint fails
        self.progress(Progress("planning", len(missing), len(missing), "files", choice.text))
        return choice.whole_files

    def advance(self, index: int) -> None:
        """See `FileWindow.advance`."""
        LocalFiles.close(self)  # what is open takes room on the disk, deleted or not
        self._here.clear()
        self._window().advance(index)

    def bring(self, file: FileRef, on_bytes: Callable[[int], None]) -> None:
        """See `FileWindow.bring`."""
        if not file.remote:
            return
        if found := self._find(file):
            self._check(found, file.url)
        path = self._window().bring(self._known[file.url], on_bytes)
        if found is None and self._window().keep:
            self._checked.add(path, self._known[file.url])
        self._here[file.url] = replace(stat_file(path), url=str(path))

    def finish(self, newest: Sequence[FileRef]) -> None:
        """See `FileWindow.finish`."""
        LocalFiles.close(self)
        self._here.clear()
        self._window().finish(self._remote(newest))
        self.sealed = True

    def local_files(self, files: Sequence[FileRef]) -> list[FileRef]:
        """The same files as they lie on disk, once they were brought here."""
        return [(self._find(file) or file) if file.remote else file for file in files]

    def _read_whole(self, known: HubFile, offset: int, buffer: memoryview) -> None:
        """Read from a file that is brought here whole for it, planned or not, since the server sends no parts of it."""
        if self.window is None or not self._may_read_whole():
            raise NoRangesError("the server sends whole files only (--fetch files reads them)", known.url)
        local = self._here.get(known.url)
        if local is None:
            local = self._here[known.url] = self._bring_early(known, self.window)
            if not self._is_planned:
                self._opened_whole.add(known.url)  # read on through `ranges`, which remembers headers
        super().read_into(local, offset, buffer)

    def _may_read_whole(self) -> bool:
        return self.fetch != "ranges" and self.window is not None

    def _bring_early(self, known: HubFile, window: Window) -> FileRef:
        done, size, name = 0, known.entry.size, known.entry.path.rpartition("/")[2]

        def on_bytes(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            self.progress(Progress(f"downloading {name}", min(done, size), size, "bytes"))

        LocalFiles.close(self)  # what is let go takes room while it is open
        self._here.clear()
        path = window.bring_early(known, on_bytes)
        self._num_early += 1
        return replace(stat_file(path), url=str(path))

    def _check(self, local: FileRef, url: str) -> None:
        """See that a file of the user's cache is the one listed; those of the window were checked when they came."""
        path = Path(local.url)
        if self.window is None or not self.window.owns(path):
            self._checked.check(path, self._known[url])

    def _remote(self, files: Iterable[FileRef]) -> list[HubFile]:
        return [self._known[file.url] for file in files if file.remote]

    def _window(self) -> Window:
        assert self.window is not None  # noqa: S101 - whoever plans a window makes one
        return self.window

    def _find(self, file: FileRef) -> FileRef | None:
        """The copy of a file that is on disk."""
        if file.url not in self._here:
            known = self._known.get(file.url)
            if known is None:
                raise CheckpointError("was not listed", file.url)
            found: Path | None = self.window.find(known) if self.window else self.client.find_cached(known)
            self._here[file.url] = None if found is None else stat_file(found)
        return self._here[file.url]
