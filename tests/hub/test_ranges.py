"""Laws of ranges: the bytes that were asked for or an error, however they come; few requests, and no endless ones."""

import contextlib
import os
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hub.runs import on_hub
from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.address import parse_address
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.memory import HubMemory
from wsanalyze.hub.ranges import RangeReader, merge_spans
from wsanalyze.hub.records import HubFile, TreeFile
from wsanalyze.hub.stream import NoRangesError, check_response

DATA = bytes(range(256)) * 40
ADDRESS = parse_address(on_hub(), "model")


def make_file(size=256 * 40, path="model.safetensors"):
    return HubFile(ADDRESS, "c" * 40, TreeFile(path, size, f"sha256:{'a' * 64}"), f"hf://org/model@x/{path}")


class FakeClient:
    """Answers ranges from memory, in pieces and with cuts as it is told, and waits for nothing."""

    def __init__(self, pieces=(), cuts=()):
        self.asked = []
        self.open = 0
        self.traffic = SimpleNamespace(add=lambda **_: None)
        self.memory = HubMemory(None, "")
        self._pieces, self._cuts = list(pieces), list(cuts)

    @contextlib.contextmanager
    def open_range(self, _file, start, stop):
        self.asked.append((start, stop))
        self.open += 1
        headers = {"content-range": f"bytes {start}-{stop - 1}/{len(DATA)}", "content-length": str(stop - start)}
        try:
            yield SimpleNamespace(status_code=206, headers=headers, iter_raw=lambda: self._chunks(start, stop))
        finally:
            self.open -= 1

    def _chunks(self, start, stop):
        end = min(stop, start + self._cuts.pop()) if self._cuts else stop
        while start < end:
            size = self._pieces.pop() if self._pieces else end
            yield DATA[start : min(end, start + size)]
            start += size
        if end < stop:
            raise httpx2.ReadError("cut")

    def retry(self, where, _started, attempt, _error):
        if attempt > 20:
            raise SourceError(f"{where}: given up")


SPANS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 239)), max_size=20)


@given(spans=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), max_size=12))
def test_runs_hold_all_spans_and_no_two_of_them_touch(spans):
    runs = merge_spans(spans)
    assert all(any(start <= offset and offset + size <= stop for start, stop in runs) for offset, size in spans if size)
    assert all(start < stop for start, stop in runs)
    assert all(before[1] + 65_536 < after[0] for before, after in pairwise(runs))
    if runs:
        real = [(offset, offset + size) for offset, size in spans if size]
        assert (runs[0][0], runs[-1][1]) == (min(real)[0], max(stop for _, stop in real))


@example(spans=[(0, 2), (1, 0), (2, 0)], pieces=[], cuts=[])
@given(
    spans=SPANS,
    pieces=st.lists(st.integers(1, 700), max_size=30),
    cuts=st.lists(st.integers(0, 3000), max_size=10),
)
def test_what_was_announced_comes_whole_through_cuts_with_nothing_twice(spans, pieces, cuts):
    client = FakeClient(pieces, cuts)
    reader, file = RangeReader(client), make_file()
    reader.expect(file, spans)
    for offset, size in sorted(spans):
        buffer = bytearray(size)
        reader.read_into(file, offset, memoryview(buffer))
        assert buffer == DATA[offset : offset + size]
    reader.close()
    assert client.open == 0
    assert len(client.asked) <= len(merge_spans(spans)) + len(cuts)  # whatever goes to and fro
    assert all(start < stop <= len(DATA) for start, stop in client.asked)


@given(reads=SPANS)
def test_any_reads_in_any_order_give_the_bytes(reads):
    client = FakeClient()
    reader, file = RangeReader(client), make_file()
    for offset, size in reads:
        buffer = bytearray(size)
        reader.read_into(file, offset, memoryview(buffer))
        assert buffer == DATA[offset : offset + size]
    assert client.open == 0


@pytest.mark.parametrize(("offset", "size"), [(-1, 5), (len(DATA), 1), (len(DATA) - 1, 2)])
def test_what_lies_outside_is_never_asked_for(offset, size):
    client = FakeClient()
    with pytest.raises(CheckpointError, match="ends too early"):
        RangeReader(client).read_into(make_file(), offset, memoryview(bytearray(size)))
    assert client.asked == []


def test_nothing_is_asked_for_nothing():
    client = FakeClient()
    reader = RangeReader(client)
    for file in (make_file(0), make_file()):
        reader.expect(file, [(0, 0)])
        reader.read_into(file, 0, memoryview(b""))
        reader.read_into(file, file.entry.size, memoryview(b""))
    assert client.asked == []


def test_a_connection_that_is_cut_at_every_byte_is_given_up():
    client = FakeClient(cuts=[1] * 1000)
    reader = RangeReader(client)
    reader.expect(make_file(), [(0, len(DATA))])
    with pytest.raises(CheckpointError, match="given up"):
        reader.read_into(make_file(), 0, memoryview(bytearray(len(DATA))))
    assert len(client.asked) < 30
    assert client.open == 0


def respond(status=206, **headers):
    return SimpleNamespace(status_code=status, headers={key.replace("_", "-"): value for key, value in headers.items()})


@given(
    start=st.integers(0, 99),
    length=st.integers(1, 100),
    first=st.integers(0, 120),
    last=st.integers(0, 240),
    total=st.integers(90, 110) | st.just("*"),
    sent=st.none() | st.integers(0, 200),
)
def test_no_answer_passes_but_the_very_range(start, length, first, last, total, sent):
    stop = min(100, start + length)
    headers = {"content_range": f"bytes {first}-{last}/{total}"} | (
        {} if sent is None else {"content_length": str(sent)}
    )
    good = (first, last + 1) == (start, stop) and total in ("*", 100) and sent in (None, stop - start)
    with contextlib.nullcontext() if good else pytest.raises(CheckpointError):
        check_response(respond(**headers), make_file(100), start, stop)


@pytest.mark.parametrize(
    ("response", "start", "error"),
    [
        (respond(200, content_length="100"), 0, None),
        (respond(200), 0, None),
        (respond(200, content_length="100"), 5, NoRangesError),
        (respond(200, content_length="99"), 0, CheckpointError),
        (respond(206), 0, CheckpointError),
        (respond(206, content_range="bytes */100"), 0, CheckpointError),
        (respond(204), 0, CheckpointError),
        (respond(206, content_range="bytes 0-9/100", content_encoding="gzip"), 0, NoRangesError),
        (respond(206, content_range="bytes 0-9/100", content_encoding="identity"), 0, None),
    ],
)
def test_whole_files_odd_answers_and_compression(response, start, error):
    with pytest.raises(error) if error else contextlib.nullcontext():
        check_response(response, make_file(100), start, start + 10)


def test_offsets_beyond_four_gigabytes():
    file = make_file(2**33)
    answer = respond(content_range=f"bytes {2**32}-{2**32 + 9}/{2**33}", content_length="10")
    check_response(answer, file, 2**32, 2**32 + 10)


# Against the test Hub, with the real client


@pytest.fixture
def served(hub):
    """A file of 3 MB on the Hub and the client that reads it."""
    data = os.urandom(3_000_000)
    commit = hub.add_repo("org/model").commit("x", {"model.safetensors": data})
    file = HubFile(ADDRESS, commit, TreeFile("model.safetensors", len(data), "sha256:0"), "hf://org/model@x/...")
    return file, data, HubClient()


def test_one_response_serves_what_was_announced(hub, served):
    file, data, client = served
    reader = RangeReader(client)
    spans = [(1000 * index, 900) for index in range(500, 2500)]
    reader.expect(file, spans)
    for offset, size in spans:
        buffer = bytearray(size)
        reader.read_into(file, offset, memoryview(buffer))
        assert buffer == data[offset : offset + size]
    reader.close()
    assert hub.log.count("data") == 1
    assert hub.log.bytes_sent() == 2499 * 1000 + 900 - 500_000


def test_a_cut_response_goes_on_at_the_byte_it_ended_with(hub, served, waits):
    file, data, client = served
    hub.faults.cut(0.4, times=3)
    reader, buffer = RangeReader(client), bytearray(len(data))
    reader.expect(file, [(0, len(data))])
    reader.read_into(file, 0, memoryview(buffer))
    assert buffer == data
    assert hub.log.bytes_sent() == len(data)
    assert len(waits) == 3


def test_connections_are_given_back(hub, served, waits):
    """More responses broken off than the client may hold connections."""
    file, data, client = served
    reader = RangeReader(client)
    for index in range(120):
        reader.expect(file, [(100, len(data) - 100)])
        buffer = bytearray(10)
        reader.read_into(file, 100 + index % 2, memoryview(buffer))
        assert buffer == data[100 + index % 2 : 110 + index % 2]
        reader.forget()
    before = count_descriptors()
    for _ in range(30):
        reader.expect(file, [(100, len(data) - 100)])
        reader.read_into(file, 100, memoryview(bytearray(10)))
        reader.forget()
    assert count_descriptors() <= before + 2
    assert waits == []  # for a connection that never comes
    assert hub.errors == []


def count_descriptors():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
