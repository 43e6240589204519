"""Parts of files far away: the right bytes, each asked for once, in few requests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.hub.parts import MAX_AHEAD, MIN_AHEAD, FileParts

CLOSE = 4096
MB = 1_000_000


class Remote:
    """A file of known bytes, and the spans of it that were asked for."""

    def __init__(self, size):
        self.content = np.random.default_rng(size).bytes(size)
        self.asked = []

    def fetch(self, start, buffer):
        self.asked.append((start, start + len(buffer)))
        buffer[:] = self.content[start : start + len(buffer)]

    def read(self, parts, start, stop):
        """Read a span by way of parts, and see that it is right."""
        room = bytearray(stop - start)
        parts.read_into(start, memoryview(room), self.fetch)
        assert room == self.content[start:stop]

    @property
    def num_bytes(self):
        return sum(stop - start for start, stop in self.asked)


@st.composite
def spans(draw, size, count=12):
    pairs = draw(st.lists(st.tuples(st.integers(0, size), st.integers(1, 20_000)), max_size=count))
    return [(start, min(size, start + length)) for start, length in pairs if start < size]


@st.composite
def readings(draw):
    size = draw(st.integers(1, 2000) | st.integers(10_000, 300_000) | st.just(2_000_000))
    return size, draw(spans(size)), draw(spans(size)), draw(spans(size, 4))


def cover(size, found):
    held = np.zeros(size, dtype=np.int32)
    for start, stop in found:
        held[start:stop] += 1
    return held


@given(readings())
def test_every_read_is_right_and_no_byte_is_fetched_twice(reading):
    size, first, second, known = reading
    remote = Remote(size)
    parts = FileParts(size, [(start, remote.content[start:stop]) for start, stop in known])
    for start, stop in (*first, *second):
        remote.read(parts, start, stop)
    fetched = cover(size, remote.asked)
    assert fetched.max(initial=0) <= 1
    assert not (fetched & (cover(size, known) > 0)).any()
    assert parts.num_bytes == np.count_nonzero(fetched | cover(size, known))


@given(readings())
def test_what_was_asked_for_is_all_that_is_needed_to_read_it_again_and_little_more(reading):
    size, first, second, _ = reading
    remote = Remote(size)
    taken = []
    parts = FileParts(size)
    for asked in (first, second):
        for start, stop in asked:
            remote.read(parts, start, stop)
        taken += parts.take_new()
    assert list(parts.take_new()) == []
    remote.asked.clear()
    again = FileParts(size, taken)
    for start, stop in (*second, *first):
        remote.read(again, start, stop)
    assert remote.asked == []
    assert list(again.take_new()) == []
    wanted = cover(size, (*first, *second))
    for start, data in taken:
        assert data == remote.content[start : start + len(data)]
        gaps = np.flatnonzero(np.concatenate([[True], wanted[start : start + len(data)] > 0, [True]]))
        assert np.diff(gaps).max() <= CLOSE + 1


def test_a_failure_leaves_what_is_kept_as_it_was():
    remote = Remote(100_000)
    parts = FileParts(100_000)

    def fail(start, buffer):
        buffer[: len(buffer) // 2] = bytes(len(buffer) // 2)
        raise ConnectionError(start)

    for start, stop in [(0, 10), (0, 20_000), (50_000, 50_010), (50_000, 60_000), (99_990, 100_000), (90_000, 100_000)]:
        with pytest.raises(ConnectionError):
            parts.read_into(start, memoryview(bytearray(stop - start)), fail)
        remote.read(parts, start, stop)


def read_safetensors(remote, parts, header):
    for start, stop in [(0, 512), (0, 8), (8, 8 + header)]:
        remote.read(parts, start, stop)


@pytest.mark.parametrize(("header", "requests"), [(3000, 1), (200_000, 1), (5_000_000, 2), (19_000_000, 2)])
def test_a_header_takes_one_request_or_two_and_little_more_than_its_bytes(header, requests):
    remote = Remote(40 * MB)
    parts = FileParts(40 * MB)
    read_safetensors(remote, parts, header)
    assert len(remote.asked) == requests
    assert remote.num_bytes <= max(header + 8, MAX_AHEAD)


@pytest.mark.parametrize("pickled", [1000, 200_000, 5_000_000])
@pytest.mark.parametrize("records", [100, 100_000])
def test_a_torch_file_takes_one_request_an_end_and_one_for_what_is_larger_than_most(pickled, records):
    """First bytes, end, directory, byte order, pickle: as `read_directory` and `read_torch_archive` ask for them."""
    size = 60 * MB
    remote = Remote(size)
    parts = FileParts(size)
    directory = 90 * records
    reads = [(0, 512), (size - 22, size), (size - 42, size - 22), (size - directory - 98, size - 98)]
    reads += [(order := pickled + 264, order + 6), (64, 64 + pickled)]
    for start, stop in reads:
        remote.read(parts, start, stop)
    assert len(remote.asked) <= 2 + 2 * (pickled > MAX_AHEAD) + (directory > MAX_AHEAD)
    assert remote.num_bytes <= 2 * MAX_AHEAD + directory + 5000 + pickled


@pytest.mark.parametrize("start", [0, 20 * MB])
@pytest.mark.parametrize("block", [4096, 65_536])
def test_reading_on_and_on_takes_ever_longer_requests(start, block):
    remote = Remote(60 * MB)
    parts = FileParts(60 * MB)
    for offset in range(start, start + 15 * MB, block):
        remote.read(parts, offset, offset + block)
    assert len(remote.asked) <= 18
    assert remote.num_bytes <= 15 * MB + 5 * MB


def test_samples_in_the_middle_cost_their_own_bytes():
    remote = Remote(60 * MB)
    parts = FileParts(60 * MB)
    read_safetensors(remote, parts, 3000)
    remote.asked.clear()
    samples = [(start, start + 4096) for start in range(5 * MB, 50 * MB, 5 * MB)]
    for start, stop in samples:
        remote.read(parts, start, stop)
    assert remote.asked == samples
    assert sum(len(data) for _, data in parts.take_new()) == 3008 + 4096 * len(samples)


def test_of_a_small_file_one_request_fetches_all():
    remote = Remote(MIN_AHEAD)
    parts = FileParts(MIN_AHEAD)
    for start, stop in [(0, 1), (MIN_AHEAD - 22, MIN_AHEAD), (2000, 3000)]:
        remote.read(parts, start, stop)
    assert remote.asked == [(0, MIN_AHEAD)]
