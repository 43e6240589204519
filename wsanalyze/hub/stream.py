"""One response after another to requests for a range: the very bytes that were asked for, or an error."""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.failures import UnreachableError
from wsanalyze.hub.records import HubFile

if TYPE_CHECKING:
    from wsanalyze.hub.client import HubClient

BACK_BYTES: Final = 32_000_000
"""How far reads may go back in what streamed by."""
_BLOCK_BYTES: Final = 1_048_576
_LIFE_BYTES: Final = 65_536
"""What must come until a connection that was cut counts as well again: one that is cut at every byte never ends."""
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PARTIAL: Final = 206
_WHOLE: Final = 200


class NoRangesError(CheckpointError):
    """The server sends whole files only."""


class RangeStream:
    """The bytes of a file from `start` to `stop`, as they come; a cut connection is taken up where it was cut.

    Attributes:
        position: Where the next byte lies in the file.
        whole: Whether the server sent the whole file instead of the part.
    """

    def __init__(self, client: "HubClient", file: HubFile, start: int, stop: int) -> None:
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
        """Fill a buffer with the next bytes.

        Raises:
            CheckpointError: If they cannot be had, or are not those of the file that was listed.
            UnreachableError: If the server is out of reach for too long.
        """
        done = 0
        while done < len(buffer):
            done += self._take(buffer[done:])

    def skip(self, count: int) -> None:
        """Pass over some bytes; raises what `read_into` does."""
        room = memoryview(bytearray(min(count, _BLOCK_BYTES)))
        while count:
            count -= self._take(room[: min(count, len(room))])

    def close(self) -> None:
        """Let go of the connection."""
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
                self._client.traffic.add(num_bytes=min(len(chunk), left), num_whole=int(len(chunk) >= left))
                return memoryview(chunk)[:left]
        raise ConnectionError("the connection was cut")

    def _open(self) -> None:
        response = self._context.enter_context(self._client.open_range(self.file, self.position, self.stop))
        check_response(response, self.file, self.position, self.stop)
        self.whole = response.status_code == _WHOLE
        self._chunks = response.iter_raw()


class LookBack:
    """The last bytes of a stream, for reads that go back."""

    def __init__(self, stream: RangeStream) -> None:
        self._stream = stream
        self._data = bytearray()

    def reaches(self, file: HubFile, offset: int, stop: int) -> bool:
        """Whether what lies from `offset` on is kept, or comes soon."""
        begin = self._stream.position - len(self._data)
        near = begin <= offset <= self._stream.position + BACK_BYTES
        return self._stream.file == file and self._stream.stop == stop and near

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on, which must be in reach; raises what the stream does."""
        stop = offset + len(buffer)
        while self._stream.position < stop:
            block = bytearray(min(_BLOCK_BYTES, stop - self._stream.position))
            self._stream.read_into(memoryview(block))
            self._data += block
            begin = self._stream.position - len(self._data)
            del self._data[: max(0, min(offset - begin, len(self._data) - BACK_BYTES))]
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
