"""The client: each call tried again under one limit for all tries, each request counted and limited in time."""

import errno
import hashlib
import os
import threading

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st

from tests.hub.client import pointed_at
from tests.hub.runs import REPO, on_hub
from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.failures import (
    GoneError,
    UnreachableError,
    asked_wait,
    describe,
    explain,
    explain_disk,
    is_of_disk,
    is_of_one_file,
    is_passing,
)
from wsanalyze.hub.records import HubFile
from wsanalyze.hub.session import HubSession

SECRET = "hf_ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # noqa: S105 - nobody's


def refusal(status, **headers):
    request = httpx2.Request("GET", f"https://cdn.example/x?token={SECRET}")
    response = httpx2.Response(status, headers=headers, request=request)
    return HfHubHTTPError(f"{status} for {request.url}", response=response)


def wrapped(cause):
    error = LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_statuses_that_may_pass_whatever_wraps_them(wrap, status):
    error = wrap(refusal(status))
    assert is_passing(error)
    assert explain("x", error) is None
    assert describe(error).startswith(f"the server answers {status}")
    assert is_of_one_file(error) == (status == 500)


@pytest.mark.parametrize("status", [400, 403, 404, 416, 451])
def test_statuses_that_do_not(status):
    told = explain("hf://x", refusal(status))
    assert isinstance(told, SourceError)
    assert str(status) in str(told)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "17"}, 17),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 30}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 56),
        ({"ratelimit": '"api";r=3;t=55'}, None),
    ],
)
@pytest.mark.parametrize("wrap", [lambda error: error, wrapped])
def test_waits_are_those_that_are_asked_for(headers, wait, wrap):
    assert asked_wait(wrap(refusal(429, **headers))) == wait


@given(text=st.text(max_size=60), place=st.integers(0, 60))
def test_no_failure_shows_a_token_or_a_signed_address(text, place):
    for secret in (SECRET, f"https://cdn.example/x?sig={SECRET}", f"Bearer {SECRET}"):
        told = describe(httpx2.ConnectError(f"{text[:place]} {secret} {text[place:]}"))
        assert "ABCDEF" not in told
        assert "\n" not in told


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
def test_failures_of_the_disk_are_told_from_those_of_the_network(tmp_path, code):
    error = OSError(code, "No luck")
    assert is_of_disk(error)
    text = str(explain_disk(error, tmp_path, "hf://x/y", 5_000_000))
    assert text.startswith(f"{tmp_path}: ")
    assert ("no room for hf://x/y (5 MB)" in text) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert not is_of_disk(ConnectionResetError(errno.ECONNRESET, "reset"))


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("wsanalyze.hub.calls.time", made)
    return made


def try_again_until(client, error):
    """Go on until the client gives up; what it raises then."""
    with pytest.raises(SourceError) as failure:
        client._call("hf://x", _raise, error)
    return failure.value


def _raise(error):
    raise error


def test_waits_grow_to_a_bound_and_end(hub, clock):
    client = HubClient(patience_seconds=600)
    told = try_again_until(client, refusal(503))
    assert isinstance(told, UnreachableError)
    assert sum(clock.waits) <= 600
    assert max(clock.waits) <= 30 * 1.25
    assert clock.waits[0] <= 1
    assert str(told) == (
        f"hf://x: the server answers 503 (Service Unavailable); asked {len(clock.waits) + 1} times: try again later"
    )
    assert hub.errors == []


@pytest.mark.usefixtures("hub")
def test_a_network_that_was_never_there_is_not_waited_for_long(clock):
    client = HubClient()
    assert isinstance(try_again_until(client, httpx2.ConnectError("no route")), UnreachableError)
    assert sum(clock.waits) <= 10
    client._call("x", int)
    clock.waits.clear()
    try_again_until(client, httpx2.ConnectError("no route"))
    assert sum(clock.waits) > 500


@pytest.mark.usefixtures("hub")
def test_a_file_of_another_size_is_asked_for_a_few_times_and_blamed_alone(clock):
    told = try_again_until(HubClient(), OSError("Consistency check failed: file should be of size 3 but has size 2"))
    assert not isinstance(told, UnreachableError)
    assert len(clock.waits) == 3
    assert "another size" in str(told)


@pytest.mark.usefixtures("hub")
def test_mistakes_of_a_server_are_no_crash(clock):
    for error in (ValueError("no JSON"), KeyError("sha"), TypeError("None"), AttributeError("x")):
        told = try_again_until(HubClient(), error)
        assert "check HF_ENDPOINT" in str(told)
    assert clock.waits == []


@pytest.mark.usefixtures("hub")
def test_a_file_that_the_client_refuses_for_its_size_is_told_with_advice(clock):
    error = ValueError("The file is too large to be downloaded using the regular download method.")
    assert "pip install hf_xet, or use --fetch ranges" in str(try_again_until(HubClient(), error))
    assert clock.waits == []


def test_every_request_is_counted_and_has_a_limit_of_time(hub):
    hub.add_repo(REPO).commit("step1", {"model.safetensors": b"w" * 5000, "config.json": "{}"})
    session = HubSession()
    limits = []
    client = session.client

    def watch(request):
        limits.append(request.extensions["timeout"])

    client._session().event_hooks["request"].append(watch)
    address = session.parse(on_hub())
    branches, _ = client.list_refs(address)
    commit = next(ref for ref in branches if ref.name == "step1")
    files = {
        entry.path: HubFile(address, commit.commit, entry, entry.path) for entry in client.list_tree(address, commit)
    }
    assert client.read_start(files["config.json"], 10) == b"{}"
    client.download(files["model.safetensors"], None, lambda _: None)
    assert client.traffic.num_requests == len(hub.log)
    assert client.traffic.num_bytes == hub.log.bytes_sent()
    assert limits
    assert all(limit is not None for one in limits for limit in one.values())
    client._session().event_hooks["request"].remove(watch)


def test_what_is_gone_is_said_to_be_gone(hub):
    repo = hub.add_repo(REPO)
    repo.commit("step1", {"model.safetensors": b"w" * 5000})
    client, address = HubSession().client, HubSession().parse(on_hub())
    commit = next(ref for ref in client.list_refs(address)[0] if ref.name == "step1")
    (entry,) = client.list_tree(address, commit)
    repo.delete_revision("step1")
    with pytest.raises(GoneError):
        client.download(HubFile(address, commit.commit, entry, "hf://x"), None, lambda _: None)
    assert issubclass(GoneError, CheckpointError)


# Downloads that are cut


DATA = os.urandom(400_000)


@pytest.fixture
def files(hub):
    """Two files of a repository, and the client that found them."""
    hub.add_repo(REPO).commit("step1", {"a.safetensors": DATA, "b.safetensors": DATA[::-1]})
    session = HubSession()
    session.client.find_cached = lambda _: None
    address = session.parse(on_hub())
    commit = next(ref for ref in session.client.list_refs(address)[0] if ref.name == "step1")
    entries = session.client.list_tree(address, commit)
    hub.log.clear()
    return session.client, [HubFile(address, commit.commit, entry, f"hf://{entry.path}") for entry in entries[-2:]]


def told():
    """Bytes that were told of, and what to tell them to."""
    counted = []
    return counted, counted.append


@pytest.mark.parametrize("fraction", [0.4, 0.05])
def test_of_a_file_that_is_cut_each_time_the_rest_alone_is_asked_for(hub, waits, files, tmp_path, fraction):
    client, (file, _) = files
    hub.faults.cut(fraction, times=12)
    counted, on_bytes = told()
    path = client.download(file, tmp_path / "coming", on_bytes)
    assert path.read_bytes() == DATA
    assert sum(counted) == len(DATA)
    assert min(counted) > 0
    assert hub.log.bytes_sent() < len(DATA) + 10 * 65_536  # the client's own tries lose a chunk each
    assert len(waits) > 1


def test_what_came_of_a_file_that_was_given_up_is_not_asked_for_again(hub, waits, files, tmp_path):
    client, (file, _) = files
    hub.faults.cut(0.5, times=1)
    hub.faults.drop(after=1, kinds=("data",))
    with pytest.raises(CheckpointError):
        client.download(file, tmp_path / "coming", lambda _: None)
    hub.faults.clear()
    hub.log.clear()
    counted, on_bytes = told()
    before = client.traffic.num_bytes
    assert client.download(file, tmp_path / "coming", on_bytes).read_bytes() == DATA
    assert 0 < hub.log.bytes_sent() <= len(DATA) // 2 + 65_536
    assert client.traffic.num_bytes - before == hub.log.bytes_sent()
    assert sum(counted) == len(DATA)
    assert sum(waits) < 1000


@pytest.mark.parametrize("fault", ["ignore_ranges", "damaged"])
@pytest.mark.usefixtures("waits")
def test_what_cannot_be_gone_on_with_comes_anew(hub, files, tmp_path, fault):
    client, (file, _) = files
    coming = tmp_path / "coming"
    coming.mkdir()
    etag = file.entry.digest.partition(":")[2]
    (coming / f"x.{etag}.12345678.incomplete").write_bytes(b"x" * 1000 if fault == "damaged" else DATA[:1000])
    if fault == "ignore_ranges":
        hub.faults.ignore_ranges()
    assert client.download(file, coming, lambda _: None).read_bytes() == DATA
    assert hashlib.sha256(DATA).hexdigest() == etag


def test_a_file_that_never_gets_on_is_blamed_alone_and_a_second_one_stops_the_run(hub, waits, files, tmp_path):
    client, (first, second) = files
    hub.faults.cut(0)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"a\.safetensors: .*try again later"):
            client.download(first, tmp_path / "first", lambda _: None)
    hub.faults.clear()
    client.download(second, tmp_path / "between", lambda _: None)
    hub.faults.cut(0)
    with pytest.raises(CheckpointError):
        client.download(first, tmp_path / "first", lambda _: None)
    with pytest.raises(UnreachableError):
        client.download(second, tmp_path / "second", lambda _: None)
    assert sum(waits) > 600


@pytest.mark.usefixtures("waits")
def test_a_hub_that_answers_nothing_is_no_fault_of_a_file(hub, files, tmp_path):
    client, (first, _) = files
    hub.faults.drop()
    with pytest.raises(UnreachableError):
        client.download(first, tmp_path / "first", lambda _: None)


@pytest.mark.parametrize("kinds", ["api", "head", "data"])
def test_rate_limits_are_waited_for_by_us_alone_and_said(hub, waits, tmp_path, kinds, files):
    said = []
    client, (file, _) = files
    client = HubClient(said.append, patience_seconds=100)
    hub.faults.refuse(429, reset_s=250, kinds=(kinds,))
    revision = type("Pinned", (), {"commit": file.commit, "name": "step1"})
    with pytest.raises(SourceError, match=r"answers 429 \(Too Many Requests\); asked once: try again later"):
        client.list_tree(file.address, revision) if kinds == "api" else client.download(file, tmp_path, lambda _: None)
    assert waits == []
    assert hub.log.count(status=429) == 1
    hub.faults.clear()
    hub.faults.refuse(429, reset_s=50, kinds=(kinds,), times=1)
    client.list_tree(file.address, revision) if kinds == "api" else client.download(file, tmp_path, lambda _: None)
    assert waits == [51]
    assert [(event.stage, event.total) for event in said] == [("waiting for the Hub", 51)]


def test_other_users_of_the_library_are_not_meddled_with(hub, waits, files):
    """What they ask for is tried again by the library itself, even while something of ours is on its way."""
    client, (file, _) = files
    hub.faults.refuse(503, times=1, kinds=("api",))
    found = []

    def ask():
        found.extend(HfApi().list_repo_tree(REPO, revision=file.commit, recursive=True))

    def ask_beside():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    client._call("hf://x", ask_beside)
    assert len(found) >= 2
    assert waits == [1]


# Settings


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "htp://hub"])
def test_an_endpoint_that_is_no_address_is_said_to_be_none(monkeypatch, tmp_path, endpoint):
    with pointed_at(endpoint, monkeypatch, tmp_path):
        session = HubSession()
        with pytest.raises(SourceError, match="HF_ENDPOINT is no address"):
            session.client.list_refs(session.parse(on_hub()))


def test_a_token_with_strange_letters_is_said_to_be_none(hub, monkeypatch, tmp_path):
    with pointed_at(hub.endpoint, monkeypatch, tmp_path, token="hf_s\u00e9same"):  # noqa: S106 - nobody's
        session = HubSession()
        with pytest.raises(SourceError, match="the token is none") as failure:
            session.client.list_refs(session.parse(on_hub()))
    assert "same" not in str(failure.value)


def test_a_request_that_the_hub_calls_bad_is_no_matter_of_the_endpoint(hub):
    hub.add_repo(REPO)
    hub.faults.refuse(400)
    session = HubSession()
    with pytest.raises(SourceError, match="answers 400"):
        session.client.list_refs(session.parse(on_hub()))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_without_handles_is_no_network_that_is_down(code):
    error = httpx2.ConnectError("All attempts failed")
    error.__cause__ = OSError(code, os.strerror(code))
    for one in (error, wrapped(error), error.__cause__):
        told = explain("hf://x", one)
        assert isinstance(told, UnreachableError)
        assert "this machine" in str(told)
        assert "cannot be reached" not in str(told)
