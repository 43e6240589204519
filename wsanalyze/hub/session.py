"""One piece of work on the Hub: its client, the files that it found there, and where their bytes go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.errors import UsageError
from wsanalyze.hub.address import KINDS, HubAddress, is_hub_address, parse_address
from wsanalyze.hub.plan import FETCHES, say_size
from wsanalyze.progress import ProgressCallback, silent

if TYPE_CHECKING:
    from wsanalyze.hub.beside import WindowName

FOLDER: Final = "wsanalyze"
"""Where files on their way lie, in the folder that the user gave to the Hub (HF_HOME)."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How the Hub is read.

    Attributes:
        kind: Kind of repository where an address does not say: "model", "dataset" or "space".
        commits: Whether the commits of one branch are the checkpoints.
        keep: Whether the files that are downloaded stay, in the user's cache of the Hub.
        fetch: "files" for whole files, "ranges" for the bytes that are needed, "auto" for what suits.
    """

    kind: str = "model"
    commits: bool = False
    keep: bool = False
    fetch: str = "auto"


class HubSession:
    """What all that is read of the Hub shares.

    Args:
        options: How it is read.
        progress: Told of revisions listed, and of waits.
    """

    def __init__(self, options: HubOptions = HubOptions(), progress: ProgressCallback = silent) -> None:
        from wsanalyze.hub.client import HubClient
        from wsanalyze.hub.files import HubFiles
        from wsanalyze.hub.memory import HubMemory, default_memory_path

        if options.kind not in KINDS:
            raise UsageError(f"--repo-type takes {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {options.kind!r}")
        if options.fetch not in FETCHES:
            raise UsageError(f"--fetch takes {', '.join(FETCHES[:-1])} or {FETCHES[-1]}, not {options.fetch!r}")
        self._options = options
        self._progress = progress
        self.client = HubClient(progress, memory=default_memory_path())
        checked = HubMemory(default_memory_path(), "")  # the disk is the same whatever Hub is asked, or none
        self.files = HubFiles(self.client, checked)

    def locate(self, source: str) -> tuple[Sequence[Checkpoint], Sequence[str]]:
        """Find the checkpoints of an address: them, and notes on what was left out.

        Raises:
            SourceError: See `HubSource.find`.
        """
        from wsanalyze.hub.source import HubSource

        address = self.parse(source)
        try:
            found = HubSource(address, self.client, commits=self._options.commits, progress=self._progress).find()
        finally:
            self.client.memory.close()
        self.files.add(found.files)
        return found.checkpoints, found.notes

    def parse(self, source: str) -> HubAddress:
        """Read an address.

        Raises:
            SourceError: If it is none.
        """
        return parse_address(source, self._options.kind)

    def use(self, window: "WindowName") -> None:
        """Choose the folder for files on their way: one for each run file, which one process writes at a time.

        Those of run files that are not there any more are taken away.
        """
        from wsanalyze.hub.beside import remove_forgotten
        from wsanalyze.hub.window import Window

        folder = self.client.home / FOLDER / window.name
        remove_forgotten(folder)
        self.files.window = Window(self.client, folder, window.run, keep=self._options.keep)
        self.files.fetch = self._options.fetch
        self.files.progress = self._progress

    def notes(self) -> tuple[str, ...]:
        """What was fetched, in a sentence; nothing where nothing was."""
        traffic, note = self.client.traffic, self.files.note
        if not note:
            return ()
        asked = f"{traffic.num_requests} requests were sent and {say_size(traffic.num_bytes)} of files received"
        return (f"{note}; {asked}",)


def open_session(
    sources: Sequence[str], options: HubOptions = HubOptions(), progress: ProgressCallback = silent
) -> HubSession | None:
    """A session where one of the sources lies on the Hub, else None."""
    return HubSession(options, progress) if any(map(is_hub_address, sources)) else None
