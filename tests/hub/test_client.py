"""The client: each call tried again under one limit for all tries, each request counted and limited in time."""

import errno

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st

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

SECRET = "hf_ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # noqa: S105 - none


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
    monkeypatch.setattr("wsanalyze.hub.client.time", made)
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
