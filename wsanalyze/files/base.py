"""The contract of files: where bytes are, and how they come into a buffer."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from wsanalyze.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file as it was when it was listed.

    Attributes:
        url: Its path, or its address elsewhere.
        size: Its size in bytes.
        stamp: Whatever changes when the file is written or replaced: times and inode on disk, a hash on the Hub.
        mtime_ns: Time of its last modification in nanoseconds, 0 where none is known.
        start: Where it begins, for a file that is stored as it is inside another; offsets count from there.
        remote: Whether every read of it is a request over a network: few and large reads are wanted.
    """

    url: str
    size: int
    stamp: str
    mtime_ns: int = 0
    start: int = 0
    remote: bool = False

    def slice(self, offset: int, size: int) -> "FileRef":
        """The file that is stored in `size` bytes of this one from `offset` on.

        Raises:
            CheckpointError: If it does not lie in this one.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise CheckpointError("ends too early: truncated or still being written", self.url)
        return replace(self, start=self.start + offset, size=size)


class Contents(Protocol):
    """The structure of one weight file: what its container says, no meaning yet."""

    def mappings(self) -> Iterable[Mapping[Any, Any]]:
        """Mappings in which a trainer may have noted the step at which it was saved."""

    def tokens(self) -> Iterable[bytes]:
        """What tells two files apart without a look at their weights: headers, names, sizes, checksums."""

    def unsummed(self, source: "ByteSource", file: FileRef) -> Sequence[tuple[int, int]]:
        """Runs of weights that no checksum among the tokens covers: (offset, nbytes) each, one for each tensor.

        Raises:
            CheckpointError: If the file is damaged.
        """


class ByteSource(Protocol):
    """Brings bytes of files into buffers. Each call is independent: there is no position."""

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `offset` on.

        Raises:
            CheckpointError: If the file ends before, cannot be read, or is not the one that was listed.
        """

    def prepare(self, files: Sequence[FileRef]) -> None:
        """Be told of files whose headers will be read next; only a matter of speed."""

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        """Be told which spans of a file, (offset, nbytes) each, will be read next, in the order of their offsets.

        Only a matter of speed: what is read without it is the same.
        """

    def verify(self, file: FileRef) -> None:
        """Check that a file that was read is still the one that was listed.

        Raises:
            CheckpointError: If it was written to meanwhile.
        """

    def close(self) -> None:
        """Let go of whatever is held open; the source can be used again."""


def read_bytes(source: ByteSource, file: FileRef, offset: int, length: int) -> bytes:
    """Read a short range as bytes.

    Raises:
        CheckpointError: As `ByteSource.read_into`, and if the range does not lie in the file.
    """
    if offset < 0 or length < 0 or offset + length > file.size:
        raise CheckpointError("ends too early: truncated or still being written", file.url)
    data = bytearray(length)
    source.read_into(file, offset, memoryview(data))
    return bytes(data)


class SourceFile(io.RawIOBase):
    """A read-only, seekable view of a file through a ByteSource, for parsers that want a file object.

    Args:
        source: Where the bytes come from.
        file: Which file.
        max_read_bytes: Largest single read that is allowed: a bound on what a hostile header can ask for.
    """

    def __init__(self, source: ByteSource, file: FileRef, max_read_bytes: int) -> None:
        self._source = source
        self._file = file
        self._max_read_bytes = max_read_bytes
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an absolute or relative position; before the start is an error."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes from the position on, fewer only at the end of the file."""
        rest = max(0, self._file.size - self._position)
        length = rest if size < 0 else min(size, rest)
        if length > self._max_read_bytes:
            raise CheckpointError(f"asks for {length} bytes of headers at once: refused", self._file.url)
        data = read_bytes(self._source, self._file, self._position, length) if length else b""
        self._position += length
        return data
