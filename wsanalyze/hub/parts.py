"""Parts of one file far away: what was read of it is kept, and few requests fetch what lies near each other."""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Final

MIN_AHEAD: Final = 4096
MAX_AHEAD: Final = 262_144
_AHEAD_SHARE: Final = 128
_MOST_AHEAD: Final = 4_194_304
_CLOSE_BYTES: Final = 4096
_MAX_PARTS: Final = 4096

Fetch = Callable[[int, memoryview], None]
"""Fills a buffer with the bytes of the file from an offset on: one request."""


class FileParts:
    """The bytes of a file that were read, or came along with them.

    A file is read from its two ends: a little more than is asked for is fetched of these, and more each time that
    reading goes on behind what is there. In the middle what is asked for is fetched alone, until reading goes on.

    Args:
        size: Size of the file.
        known: Bytes that are remembered: (offset, bytes) each; they may overlap.
    """

    def __init__(self, size: int, known: Sequence[tuple[int, bytes]] = ()) -> None:
        self._size = size
        self._margin = max(MIN_AHEAD, min(MAX_AHEAD, size // _AHEAD_SHARE))
        self._parts = [_Part(0, bytearray(), self._margin), _Part(size, bytearray(), 0)]
        self._used: list[tuple[int, int]] = []
        self._told: set[tuple[int, int]] = set()
        for start, data in sorted(known, key=lambda item: (item[0], -len(item[1]))):
            self._add(start, data)

    @property
    def num_bytes(self) -> int:
        """How much is kept."""
        return sum(len(part.data) for part in self._parts)

    def read_into(self, offset: int, buffer: memoryview, fetch: Fetch) -> None:
        """Fill `buffer` with the bytes from `offset` on, which must lie in the file.

        Raises:
            whatever `fetch` raises; what is kept stays as it was.
        """
        stop = offset + len(buffer)
        index = self._reach(offset, stop, fetch)
        while self._parts[index].stop < stop:
            self._extend(index, offset, stop, fetch)
        part = self._parts[index]
        with memoryview(part.data) as data:
            buffer[:] = data[offset - part.start : stop - part.start]
        self._note(offset, stop)

    def take_new(self) -> Iterator[tuple[int, bytes]]:
        """What was asked for and was neither remembered nor taken before: (offset, bytes) each."""
        for start, stop in self._used[:_MAX_PARTS]:
            if (start, stop) not in self._told:
                self._told.add((start, stop))
                part = self._parts[self._find(start)]
                yield start, bytes(part.data[start - part.start : stop - part.start])

    def _add(self, start: int, data: bytes) -> None:
        """Keep what is remembered, unless it is there."""
        stop = start + len(data)
        if not data or start < 0 or stop > self._size:
            return
        index = self._find(start)
        before = self._parts[index]
        if start <= before.stop:
            before.data += data[before.stop - start :]
        else:
            before = _Part(start, bytearray(data), 0)
            insort(self._parts, before, key=attrgetter("start"))
        index = self._find(before.start)
        while index + 1 < len(self._parts) and self._parts[index + 1].start <= before.stop:
            following = self._parts.pop(index + 1)
            before.data += following.data[before.stop - following.start :]
        self._told.add((start, stop))
        self._note(start, stop)

    def _find(self, offset: int) -> int:
        """Index of the last part that begins at an offset or before."""
        return max(0, bisect_right(self._parts, offset, key=attrgetter("start")) - 1)

    def _reach(self, offset: int, stop: int, fetch: Fetch) -> int:
        """Index of a part that holds `offset`, or ends so shortly before it that it is to be extended."""
        index = self._find(offset)
        before, last = self._parts[index], self._parts[-1]
        near = self._margin if before.start == 0 else _CLOSE_BYTES
        if offset <= before.stop + near:
            return index
        if index == len(self._parts) - 2 and stop >= last.start - self._margin:
            start = max(before.stop, min(offset, last.start - self._margin))
            data = bytearray(last.start - start)
            fetch(start, memoryview(data))
            last.data[:0] = data
            last.start = start
            return index + 1
        following = self._parts[index + 1].start
        data = bytearray(min(stop, following) - offset)
        fetch(offset, memoryview(data))
        self._parts.insert(index + 1, _Part(offset, data, 0))
        return index + 1

    def _extend(self, index: int, offset: int, stop: int, fetch: Fetch) -> None:
        """Fetch what follows a part, up to the next one at most; where they meet, they become one.

        Only where reading goes on is more fetched than is asked for, not for what is asked for in one piece.
        """
        part, following = self._parts[index], self._parts[index + 1]
        ahead = part.ahead if offset >= part.stop else 0
        upto = min(max(stop, part.stop + ahead), following.start)
        if upto > part.stop:
            data = bytearray(upto - part.stop)
            fetch(part.stop, memoryview(data))
            part.data += data
            part.ahead = min(_MOST_AHEAD, max(MIN_AHEAD, 2 * ahead if ahead else part.ahead))
        if part.stop == following.start:
            part.data += following.data
            del self._parts[index + 1]

    def _note(self, start: int, stop: int) -> None:
        """Note what is wanted of the file; what lies close to it goes along where it is there."""
        first = bisect_right(self._used, (start,))
        if first and self._used[first - 1][1] >= start - _CLOSE_BYTES and self._holds(self._used[first - 1][0], stop):
            first -= 1
        last = first
        while last < len(self._used) and self._used[last][0] <= stop + _CLOSE_BYTES:
            if not self._holds(min(start, self._used[last][0]), max(stop, self._used[last][1])):
                break
            start, stop = min(start, self._used[last][0]), max(stop, self._used[last][1])
            last += 1
        self._used[first:last] = [(start, stop)]

    def _holds(self, start: int, stop: int) -> bool:
        return stop <= self._parts[self._find(start)].stop


class _Part:
    """Bytes of a file from `start` on, and how many more are fetched when reading goes on behind them."""

    def __init__(self, start: int, data: bytearray, ahead: int) -> None:
        self.start = start
        self.data = data
        self.ahead = ahead

    @property
    def stop(self) -> int:
        return self.start + len(self.data)
