"""Bytes of files on the Hub by range requests: few and long ones, that go on where they were cut."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.client import HubClient, HubFile
from wsanalyze.hub.failures import UnreachableError
from wsanalyze.hub.parts import FileParts

_GAP_BYTES: Final = 65_536
"""What lies between two runs is fetched along with them where it is less than this: a request costs more."""
_MAX_FILES: Final = 512
_MAX_KEPT_BYTES: Final = 64_000_000
_BACK_BYTES: Final = 32_000_000
_BLOCK_BYTES: Final = 1_048_576
_LIFE_BYTES: Final = 65_536
"""What must come until a connection that was cut counts as well again: one that is cut at every byte never ends."""
_MAX_FETCHES: Final = 24
"""Requests for headers and samples of one file after which it is brought here whole: of some formats, as of
torch.distributed's, every tensor has a header of its own."""
_ZIP: Final = b"PK\x03\x04"
_NUM_WORKERS: Final = 8
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PARTIAL: Final = 206
_WHOLE: Final = 200


HEADED: Final = ".safetensors"
"""Files that begin with a header which says where every byte lies."""


class NoRangesError(CheckpointError):
    """The server sends whole files only."""


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
        self._stream: _Stream | None = None
        self._look_back: _LookBack | None = None
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
        run = next((run for run in self._runs.get(file.url, ()) if run[0] <= offset and stop <= run[1]), None)
        if run is not None and (file.url, run[0]) in self._mixed and self.supported:
            self._read_mixed(file, offset, buffer, run[1])
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
        stream = _Stream(self._client, file, start, start + len(buffer))
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
            stream = self._stream = _Stream(self._client, file, offset, stop)
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

    def _read_mixed(self, file: HubFile, offset: int, buffer: memoryview, stop: int) -> None:
        """Read what goes to and fro in a run: it is fetched front to back, and what went by last is kept."""
        if self._look_back is None or not self._look_back.reaches(file, offset, stop):
            self._close()
            self._stream = _Stream(self._client, file, offset, stop)
            self._look_back = _LookBack(self._stream)
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


class _Stream:
    """The bytes of a file from `start` to `stop`, as they come; a cut connection is taken up where it was cut.

    Attributes:
        position: Where the next byte lies in the file.
        whole: Whether the server sent the whole file instead of the part.
    """

    def __init__(self, client: HubClient, file: HubFile, start: int, stop: int) -> None:
        self.file = file
        self.stop = stop
        self.position = start
        self.whole = False
        self._client = client
        self._context = contextlib.ExitStack()
        self._chunks: Iterator[bytes] | None = None
        self._rest = memoryview(b"")
        self._failed_since: float | None = None
        self._attempts = 0
        self._num_since = 0

    def read_into(self, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            done += self._take(buffer[done:])

    def skip(self, count: int) -> None:
        room = memoryview(bytearray(min(count, _GAP_BYTES)))
        while count:
            count -= self._take(room[: min(count, len(room))])

    def close(self) -> None:
        self._chunks = None
        self._rest = memoryview(b"")
        with contextlib.suppress(Exception):
            self._context.close()

    def _take(self, buffer: memoryview) -> int:
        """Some bytes, at least one; tried again until the client's patience ends."""
        while True:
            try:
                if not len(self._rest):
                    self._rest = self._next()
                break
            except CheckpointError:
                raise
            except Exception as error:  # noqa: BLE001 - transports raise many things; the client tells them apart
                self.close()
                now = time.monotonic()
                self._failed_since = now if self._failed_since is None else self._failed_since
                self._num_since = 0
                try:
                    self._client.retry(self.file.url, self._failed_since, self._attempts, error)
                except UnreachableError:
                    raise
                except SourceError as told:
                    raise CheckpointError(str(told)) from error
                self._attempts += 1
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self.position += count
        return count

    def _next(self) -> memoryview:
        """The next chunk, of this response or of a new one."""
        if self._chunks is None:
            self._open()
        assert self._chunks is not None  # noqa: S101 - for the type checker
        for chunk in self._chunks:
            if chunk:
                left = self.stop - self.position
                self._num_since += len(chunk)
                if self._num_since >= _LIFE_BYTES:
                    self._failed_since, self._attempts = None, 0
                self._client.traffic.add(num_bytes=min(len(chunk), left))
                return memoryview(chunk)[:left]
        raise ConnectionError("the connection was cut")

    def _open(self) -> None:
        response = self._context.enter_context(self._client.open_range(self.file, self.position, self.stop))
        check_response(response, self.file, self.position, self.stop)
        self.whole = response.status_code == _WHOLE
        self._chunks = response.iter_raw()


class _LookBack:
    """The last bytes of a stream, for reads that go back."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._data = bytearray()

    def reaches(self, file: HubFile, offset: int, stop: int) -> bool:
        """Whether what lies from `offset` on is kept, or comes soon."""
        begin = self._stream.position - len(self._data)
        near = begin <= offset <= self._stream.position + _BACK_BYTES
        return self._stream.file == file and self._stream.stop == stop and near

    def read_into(self, offset: int, buffer: memoryview) -> None:
        stop = offset + len(buffer)
        while self._stream.position < stop:
            block = bytearray(min(_BLOCK_BYTES, stop - self._stream.position))
            self._stream.read_into(memoryview(block))
            self._data += block
            begin = self._stream.position - len(self._data)
            del self._data[: max(0, min(offset - begin, len(self._data) - _BACK_BYTES))]
        begin = self._stream.position - len(self._data)
        with memoryview(self._data) as data:
            buffer[:] = data[offset - begin : stop - begin]


def check_response(response: Any, file: HubFile, start: int, stop: int) -> None:  # noqa: ANN401 - httpx.Response
    """Demand the very bytes that were asked for: status 206, their range, their length, no compression.

    A whole file is taken only where the part asked for begins it.

    Raises:
        NoRangesError: If a whole file comes instead of a part of it.
        CheckpointError: If anything else is not as asked.
    """
    headers, size = response.headers, file.entry.size
    length = headers.get("content-length")
    if headers.get("content-encoding", "identity") not in ("", "identity"):
        raise NoRangesError("the server compresses what should come as it is", file.url)
    if response.status_code == _WHOLE:
        if length is not None and int(length) != size:
            raise CheckpointError(f"has {length} bytes on the server, {size} in its listing", file.url)
        if start:
            raise NoRangesError("the server sends whole files only", file.url)
        return
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if response.status_code != _PARTIAL or found is None:
        raise CheckpointError(f"the server answers {response.status_code} to a request for a part", file.url)
    if found[3] not in ("*", str(size)):
        raise CheckpointError(f"has {found[3]} bytes on the server, {size} in its listing", file.url)
    if (int(found[1]), int(found[2]) + 1) != (start, stop) or (length is not None and int(length) != stop - start):
        raise CheckpointError(f"the server sends bytes {found[1]} to {found[2]}, not {start} to {stop - 1}", file.url)


def merge_spans(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs, (start, stop) each, that hold all spans, (offset, nbytes) each: small gaps are closed."""
    runs: list[tuple[int, int]] = []
    for offset, nbytes in sorted(span for span in spans if span[1]):
        if runs and offset <= runs[-1][1] + _GAP_BYTES:
            runs[-1] = runs[-1][0], max(runs[-1][1], offset + nbytes)
        else:
            runs.append((offset, offset + nbytes))
    return runs
