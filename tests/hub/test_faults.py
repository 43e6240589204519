"""Each fault of the test Hub is seen by the real client as what it is, and comes again at every run."""

import hashlib
import logging
from pathlib import Path

import httpx2
import huggingface_hub as hf
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import get_session

WEIGHTS = np.random.default_rng(0).bytes(100_000)


@pytest.fixture(autouse=True)
def repo(hub, monkeypatch):
    """A model with one large file, which the client reads in pieces that are small enough to go on from."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "disabled", True)
    repo = hub.add_repo("org/model")
    repo.commit("step1", {"model.safetensors": WEIGHTS, "config.json": b"{}"})
    return repo


def download(path="model.safetensors", **options):
    return Path(hf.hf_hub_download("org/model", path, revision="step1", **options)).read_bytes()


def get(path="model.safetensors", **headers):
    return get_session().get(hf.hf_hub_url("org/model", path, revision="step1"), headers=headers)


def test_the_client_goes_on_where_it_was_cut(hub, waits):
    hub.faults.cut(0.5, times=1)
    assert download() == WEIGHTS
    assert [(record.status, record.range, record.sent) for record in hub.log.records("data")] == [
        (200, None, 50_000),
        (206, "bytes=50000-", 50_000),
    ]
    assert waits == [1]


def test_every_third_body_is_cut(hub):
    hub.faults.cut(0.25, every=3)
    cut = []
    for number in range(9):
        try:
            assert get().content == WEIGHTS
        except httpx2.RemoteProtocolError:
            cut.append(number)
    assert cut == [2, 5, 8]
    assert hub.log.bytes_sent() == 6 * 100_000 + 3 * 25_000


def test_connections_that_close_without_an_answer(hub, waits):
    hub.faults.drop(kinds=("api",), times=2)
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        hf.model_info("org/model")
    assert len(list(hf.list_repo_tree("org/model", revision="step1"))) == 2
    assert waits == [1]


def test_the_same_share_is_refused_at_every_run(hub):
    statuses = []
    for _ in range(2):
        hub.faults.clear()
        hub.faults.refuse(503, share=0.3, seed=7, kinds=("data",))
        statuses.append([get().status_code for _ in range(200)])
    assert statuses[0] == statuses[1]
    assert 40 <= statuses[0].count(503) <= 80
    assert set(statuses[0]) == {200, 503}


@pytest.mark.parametrize(
    ("headers", "wait"), [({}, 1), ({"reset_s": 7}, 8), ({"retry_after_s": 20}, 21), ({"reset_s": 3, "status": 503}, 1)]
)
def test_the_client_waits_as_long_as_it_is_told(hub, waits, headers, wait):
    hub.faults.refuse(**{"status": 429, **headers}, times=1, kinds=("api",))
    assert len(list(hf.list_repo_tree("org/model", revision="step1"))) == 2
    assert waits == [wait]


def test_refused_requests_that_the_client_does_not_repeat(hub, waits):
    hub.faults.refuse(429, reset_s=9, kinds=("api",), times=1)
    with pytest.raises(HfHubHTTPError, match="Retry after 9 seconds"):
        hf.list_repo_refs("org/model")
    hub.faults.refuse(503, kinds=("head",))
    with pytest.raises(LocalEntryNotFoundError):
        download()
    assert waits == [1, 2, 4, 8, 8]


def test_a_server_that_hangs(hub, waits, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    hub.faults.hang(60, times=1)
    assert download() == WEIGHTS
    assert hub.log.count("data") == 2
    assert waits == [1]


def test_ranges_that_are_ignored(hub, waits):
    hub.faults.ignore_ranges()
    answer = get(Range="bytes=10-19")
    assert (answer.status_code, answer.content) == (200, WEIGHTS)
    assert "Accept-Ranges" not in answer.headers
    assert "Accept-Ranges" not in get_session().head(answer.history[0].url).headers
    hub.faults.cut(0.5, times=1)
    hub.log.clear()
    assert download() == WEIGHTS
    assert hub.log.bytes_sent() == 150_000
    assert waits == [1]


@pytest.mark.parametrize("by", [-10, 10])
def test_bodies_of_another_length(hub, by):
    hub.faults.resize(by)
    with pytest.raises(OSError, match=f"should be of size 100000 but has size {100_000 + by}"):
        download()
    answer = get(Range="bytes=99980-")
    assert len(answer.content) == 20 + by
    assert answer.headers["Content-Range"] == f"bytes 99980-{99_999 + by}/{100_000 + by}"


def test_another_range_than_asked(hub):
    hub.faults.shift_ranges(5)
    answer = get(Range="bytes=10-19")
    assert (answer.status_code, answer.content) == (206, WEIGHTS[15:25])
    assert answer.headers["Content-Range"] == "bytes 15-24/100000"


@pytest.mark.parametrize("at", [None, 3, 99_999])
def test_one_wrong_byte_that_only_a_hash_tells(hub, at):
    hub.faults.corrupt(at=at, files="*.safetensors")
    data = download()
    assert len(data) == len(WEIGHTS)
    wrong = [i for i in range(len(data)) if data[i] != WEIGHTS[i]]
    assert wrong == [50_000 if at is None else at]
    assert get(Range=f"bytes={wrong[0]}-{wrong[0]}").content == data[wrong[0] : wrong[0] + 1]
    assert download("config.json") == b"{}"


def test_one_revision_can_be_struck_whatever_it_is_called(hub, repo):
    sha = repo.commit("step2", {"model.safetensors": WEIGHTS[::-1]})
    hub.faults.corrupt(revisions="step2")
    url = hf.hf_hub_url("org/model", "model.safetensors", revision=sha)
    assert get_session().get(url).content != WEIGHTS[::-1]
    assert get().content == WEIGHTS
    hub.faults.refuse(503, kinds=("api",), revisions="step2")
    assert hf.model_info("org/model", revision="step1").sha
    with pytest.raises(HfHubHTTPError, match="503"):
        hf.model_info("org/model", revision=sha)


def test_a_page_in_place_of_weights(hub):
    hub.faults.page()
    with pytest.raises(OSError, match="Consistency check failed"):
        download()
    answer = get(Range="bytes=0-7")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    hub.faults.clear()
    hub.faults.page(kinds=("head",))
    with pytest.raises(LocalEntryNotFoundError) as error:
        download("config.json")
    assert isinstance(error.value.__cause__, FileMetadataError)


def test_a_revision_that_goes_while_it_is_read(hub, repo):
    hub.faults.run(lambda: repo.delete_revision("step1"), after=3)
    sha = hf.model_info("org/model", revision="step1").sha
    assert hf.hf_hub_download("org/model", "config.json", revision=sha)
    assert hf.model_info("org/model", revision=sha)
    with pytest.raises(RevisionNotFoundError):
        hf.hf_hub_download("org/model", "model.safetensors", revision=sha)


def test_faults_meet(hub, waits):
    hub.faults.corrupt(at=0)
    hub.faults.cut(0.5, every=2)
    hub.faults.refuse(429, retry_after_s=4, kinds=("data",), after=1, times=1)
    assert get().content[1:] == WEIGHTS[1:]
    assert download()[1:] == WEIGHTS[1:]
    assert waits == [5]
    assert [record.status for record in hub.log.records("data")] == [200, 429, 200]


def test_text_that_is_compressed_on_the_way(hub):
    hub.faults.compress()
    answer = get("config.json", Range="bytes=0-0")
    assert (answer.status_code, answer.content, answer.headers["Content-Encoding"]) == (200, b"{}", "gzip")
    answer = get("config.json", **{"Range": "bytes=0-0", "Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content) == (206, b"{")
    assert download("config.json") == b"{}"


def test_contents_are_told_apart_in_the_log(hub, repo):
    repo.commit("step2", {"model.safetensors": WEIGHTS})
    other = repo.commit("step3", {"model.safetensors": WEIGHTS[:50_000]})
    for revision in ("step1", "step2", other):
        hf.hf_hub_download("org/model", "model.safetensors", revision=revision)
    sent = hub.log.sent_by_content()
    assert sent[hashlib.sha256(WEIGHTS).hexdigest()] == 100_000
    assert hub.log.bytes_sent() == 150_000
    assert {record.revision for record in hub.log.records("data")} == {"step1", other}
    hub.log.clear()
    assert len(hub.log) == 0
