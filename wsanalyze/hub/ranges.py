"""Bytes of files on the Hub by range requests: few and long ones, that go on where they were cut."""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from wsanalyze.errors import CheckpointError
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.parts import FileParts
from wsanalyze.hub.records import HubFile
from wsanalyze.hub.stream import BACK_BYTES, LookBack, NoRangesError, RangeStream

_GAP_BYTES: Final = 65_536
"""What lies between two runs is fetched along with them where it is less than this: a request costs more."""
_MAX_FILES: Final = 512
_MAX_KEPT_BYTES: Final = 64_000_000
_MAX_FETCHES: Final = 24
"""Requests for headers and samples of one file after which it is brought here whole: of some formats, as of
torch.distributed's, every tensor has a header of its own."""
_ZIP: Final = b"PK\x03\x04"
_NUM_WORKERS: Final = 8


HEADED: Final = ".safetensors"
"""Files that begin with a header which says where every byte lies."""


class RangeReader:
    """Reads parts of files over the network.

    Reading what was announced goes through one response for each run, front to back. Other reads are those of
    headers and samples: they are kept, with a little more than was asked, and remembered once they made sense.

    Args:
        client: What asks.

    Attributes:
        supported: Whether the server sends parts of files; True until it does not.
        read_whole: What reads from a whole file where it does not: fills a buffer with the bytes from an offset on.
        may_read_whole: Whether that is there now, for files whose headers are all over them.
    """

    def __init__(self, client: HubClient) -> None:
        self.supported = True
        self.read_whole: Callable[[HubFile, int, memoryview], None] | None = None
        self._client = client
        self._runs: dict[str, list[tuple[int, int]]] = {}
        self._mixed: set[tuple[str, int]] = set()
        self._stream: RangeStream | None = None
        self._look_back: LookBack | None = None
        self._parts: dict[str, FileParts] = {}
        self.may_read_whole: Callable[[], bool] = lambda: False
        self._num_fetches: Counter[str] = Counter()

    def expect(self, file: HubFile, spans: Sequence[tuple[int, int]]) -> None:
        """Tell which spans of a file will be read next, front to back: (offset, nbytes) each, in any order."""
        if not self._runs:
            self._client.memory.save()  # reading them takes long, and may be stopped
        self._runs[file.url] = merge_spans(spans)
        self._mixed = {(url, start) for url, start in self._mixed if url != file.url}
        ordered, end = sorted(span for span in spans if span[1]), 0
        for offset, nbytes in ordered:
            if offset < end:  # parts of one weight, which lie among each other, or weights that share their bytes
                self._mixed |= {(file.url, start) for start, stop in self._runs[file.url] if start <= offset < stop}
            end = max(end, offset + nbytes)

    def prepare(self, files: Sequence[HubFile]) -> None:
        """Fetch the ends of files that headers are found at, several at a time; what fails is told when it is read."""
        wanted = [(file, self._find_parts(file)) for file in files]
        wanted = [(file, parts) for file, parts in wanted if file.entry.size and not parts.num_bytes]

        def fetch(file: HubFile, parts: FileParts) -> None:
            if not self.supported:
                return
            with contextlib.suppress(CheckpointError):
                first = bytearray(min(len(_ZIP), file.entry.size))
                parts.read_into(0, memoryview(first), partial(self._fetch_part, file))
                if first == _ZIP:  # its directory lies at its end
                    parts.read_into(file.entry.size - 1, memoryview(bytearray(1)), partial(self._fetch_part, file))

        for file, parts in wanted[:1]:  # does the server send parts at all?
            fetch(file, parts)
        with ThreadPoolExecutor(_NUM_WORKERS) as pool:
            for _ in pool.map(lambda pair: fetch(*pair), wanted[1:]):
                pass

    def confirm(self, file: HubFile) -> None:
        """Remember what was read of a file, announced runs aside: nothing was wrong with it."""
        parts = self._parts.get(file.entry.digest)
        for start, data in parts.take_new() if parts else ():
            self._client.memory.add_part(file.entry.digest, start, data)

    def forget(self) -> None:
        """Nothing that was announced will be read any more."""
        self._runs.clear()
        self._close()

    def close(self) -> None:
        """Let go of the connection, of what was kept of headers, and of the memory's file."""
        self.forget()
        self._parts.clear()
        self._client.memory.close()

    def read_into(self, file: HubFile, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `offset` on.

        Raises:
            CheckpointError: If they cannot be had, or are not those of the file that was listed.
        """
        stop = offset + len(buffer)
        if offset < 0 or stop > file.entry.size:
            raise CheckpointError("ends too early: truncated or still being written", file.url)
        if not buffer:
            return
        run = next((run for run in self._runs.get(file.url, ()) if run[0] <= offset and stop <= run[1]), None)
        if run is not None and (file.url, run[0]) in self._mixed and self.supported:
            self._read_mixed(file, offset, buffer, run)
        elif run is not None:
            self._read_run(file, offset, buffer, run[1])
        elif self._runs:  # weights that nobody announced
            self._fetch(file, offset, buffer)
        else:
            self._find_parts(file).read_into(offset, buffer, partial(self._fetch, file))

    def _find_parts(self, file: HubFile) -> FileParts:
        """What is kept of a file, the latest last; of equal files once."""
        digest = file.entry.digest
        if self._parts and digest == next(reversed(self._parts)):
            return self._parts[digest]
        parts = self._parts.pop(digest, None) or FileParts(file.entry.size, self._client.memory.find_parts(digest))
        self._parts[digest] = parts
        kept = sum(part.num_bytes for part in self._parts.values())
        while len(self._parts) > 1 and (kept > _MAX_KEPT_BYTES or len(self._parts) > _MAX_FILES):
            kept -= self._parts.pop(next(iter(self._parts))).num_bytes
        return parts

    def _fetch(self, file: HubFile, start: int, buffer: memoryview) -> None:
        """One request for a short range."""
        # A server that sends whole files only can be cut off behind the beginning, which is all that some headers take.
        if not self.supported and (start or not file.entry.path.endswith(HEADED)):
            self._read_whole(file, start, buffer)
            return
        self._num_fetches[file.url] += not self._runs
        if self._num_fetches[file.url] > _MAX_FETCHES and self.may_read_whole():
            self._read_whole(file, start, buffer)
            return
        try:
            self._fetch_part(file, start, buffer)
        except NoRangesError:
            self._read_whole(file, start, buffer)

    def _fetch_part(self, file: HubFile, start: int, buffer: memoryview) -> None:
        stream = RangeStream(self._client, file, start, start + len(buffer))
        try:
            stream.read_into(buffer)
        except NoRangesError:
            self.supported = False
            raise
        finally:
            self.supported = self.supported and not stream.whole
            stream.close()

    def _read_whole(self, file: HubFile, start: int, buffer: memoryview) -> None:
        if self.read_whole is None:
            raise NoRangesError("the server sends whole files only", file.url)
        self.read_whole(file, start, buffer)

    def _read_run(self, file: HubFile, offset: int, buffer: memoryview, stop: int) -> None:
        if not self.supported:
            self._read_whole(file, offset, buffer)
            return
        stream = self._stream
        if (
            stream is None
            or stream.file != file
            or not stream.position <= offset <= stream.position + _GAP_BYTES
            or offset + len(buffer) > stream.stop
        ):
            self._close()
            stream = self._stream = RangeStream(self._client, file, offset, stop)
        try:
            stream.skip(offset - stream.position)
            stream.read_into(buffer)
        except NoRangesError:
            self.supported = False
            self._close()
            self._read_whole(file, offset, buffer)
            return
        except CheckpointError:
            self._close()
            raise
        if stream.position == stream.stop:
            self._close()

    def _read_mixed(self, file: HubFile, offset: int, buffer: memoryview, run: tuple[int, int]) -> None:
        """Read what goes to and fro in a run: it is fetched front to back, and what went by last is kept."""
        start, stop = run
        if self._look_back is None or not self._look_back.reaches(file, offset, stop):
            self._close()
            # What is read first need not be what lies first.
            self._stream = RangeStream(self._client, file, start if offset - start < BACK_BYTES else offset, stop)
            self._look_back = LookBack(self._stream)
        try:
            self._look_back.read_into(offset, buffer)
        except NoRangesError:
            self.supported = False
            self._close()
            self._read_whole(file, offset, buffer)
        except CheckpointError:
            self._close()
            raise

    def _close(self) -> None:
        self._look_back = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def merge_spans(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs, (start, stop) each, that hold all spans, (offset, nbytes) each: small gaps are closed."""
    runs: list[tuple[int, int]] = []
    for offset, nbytes in sorted(span for span in spans if span[1]):
        if runs and offset <= runs[-1][1] + _GAP_BYTES:
            runs[-1] = runs[-1][0], max(runs[-1][1], offset + nbytes)
        else:
            runs.append((offset, offset + nbytes))
    return runs
