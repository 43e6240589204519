"""Whatever goes wrong on the way: the right sums in the end, or one clear line, and nothing measured is lost."""

import errno
import logging
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from tests.hub.client import pointed_at
from tests.hub.runs import analyze, make_walk, on_hub, publish, same_sums, size_of, weigh
from wsanalyze.errors import SourceError, WsAnalyzeError

WAYS = pytest.mark.parametrize("fetch", ["files", "ranges"])


@pytest.fixture
def states():
    return make_walk(6)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def repo(hub, folder, states, monkeypatch):
    """Six revisions; the client reads in pieces that are small enough to be cut, and says nothing of its own."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65_536)
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "disabled", True)
    return publish(hub, folder, states)


@pytest.fixture
def local(folder, tmp_path):
    """What the same files give on disk."""
    return analyze(folder, tmp_path / "local.wsa")


@pytest.fixture
def measure(tmp_path):
    def run(name="far", **options):
        return analyze(on_hub(), tmp_path / f"{name}.wsa", **options)

    return run


def check_bridged(series, states, failed, reason):
    """All but one checkpoint were measured, and that one is named with what is wrong with it."""
    alive = [index for index in range(len(states)) if index != failed]
    assert series.pairs == tuple(pairwise(alive))
    assert [record.status for record in series.checkpoints] == [
        "unreadable" if index == failed else "ok" for index in range(len(states))
    ]
    assert re.search(reason, series.checkpoints[failed].reason), series.checkpoints[failed].reason
    assert "\n" not in series.checkpoints[failed].reason
    for index, (before, after) in enumerate(series.pairs):
        for row, name in enumerate(series.names):
            old, new = (states[side][name].astype(np.float64) for side in (before, after))
            expected = np.abs(new - old).sum() / np.abs(old).sum()
            assert series.metric()[row, index] == pytest.approx(expected, rel=1e-6)


@WAYS
@pytest.mark.parametrize("every", [10, 3])
def test_connections_that_are_cut(hub, waits, measure, local, fetch, every):
    hub.faults.cut(0.5, every=every)
    same_sums(measure(fetch=fetch), local)
    assert len(waits) >= 1
    assert hub.log.bytes_sent() <= 1.2 * weigh(Path(local.provenance.source[0]))


@WAYS
@pytest.mark.parametrize("status", [429, 503, 500, 408])
def test_a_third_of_all_requests_refused(hub, waits, measure, local, fetch, status):
    hub.faults.refuse(status, share=0.3, seed=status)
    same_sums(measure(fetch=fetch), local)
    assert 0 < sum(waits) < 900


@WAYS
def test_rate_limits_are_waited_for(hub, waits, measure, local, fetch):
    """Twenty requests in a minute: no more go out than that, whatever it takes."""
    hub.limit("api", 5, 60)
    hub.limit("resolvers", 10, 60)
    same_sums(measure(fetch=fetch), local)
    refused = hub.log.count(status=429)
    assert 1 <= refused <= 12
    assert all(wait <= 62 for wait in waits)


@pytest.mark.parametrize(("kind", "wait"), [("reset_s", 7), ("retry_after_s", 5)])
def test_whoever_asks_for_time_gets_it(hub, waits, measure, local, kind, wait):
    hub.faults.refuse(429, times=2, kinds=("redirect",), **{kind: wait})
    same_sums(measure(fetch="ranges"), local)
    assert waits[:2] == pytest.approx([wait, wait], abs=1.01)
    assert min(waits[:2]) >= wait


@WAYS
def test_a_hub_that_stays_busy_is_given_up_after_a_while(hub, waits, measure, fetch):
    hub.faults.refuse(503, kinds=("api",))
    with pytest.raises(SourceError, match=r"^hf://org/model: the server answers 503.*try again later$"):
        measure(fetch=fetch)
    assert 600 < sum(waits) < 1000


@WAYS
def test_a_limit_longer_than_anyone_waits_is_told_at_once(hub, waits, measure, fetch):
    hub.faults.refuse(429, retry_after_s=50_000, kinds=("api",))
    with pytest.raises(SourceError, match=r"answers 429.*try again later$"):
        measure(fetch=fetch)
    assert sum(waits) < 900


@WAYS
def test_a_server_that_hangs_now_and_then(hub, waits, measure, local, fetch, monkeypatch):
    monkeypatch.setattr("wsanalyze.hub.calls._READ_SECONDS", 0.15)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.15)
    hub.faults.hang(30, every=5, times=2)
    same_sums(measure(fetch=fetch), local)
    assert len(waits) >= 1


@pytest.mark.parametrize("fetch", ["auto", "files"])
def test_ranges_that_are_ignored_from_the_start(hub, measure, local, fetch):
    hub.faults.ignore_ranges()
    far = measure(fetch=fetch)
    same_sums(far, local)
    assert "whole files" in " ".join(far.provenance.notes)


def test_ranges_that_are_ignored_where_they_are_insisted_on(hub, measure):
    hub.faults.ignore_ranges()
    with pytest.raises(WsAnalyzeError, match="--fetch files"):
        measure(fetch="ranges")


def test_ranges_that_are_ignored_half_way(hub, measure, local):
    """Parts were chosen, since few are wanted; what comes instead is whole files, which are measured all the same."""
    layers = r"^stem\."
    hub.faults.ignore_ranges(after=9, kinds=("data",))
    far = measure(layers=layers)
    assert far.names == ("stem.weight",)
    row = local.names.index("stem.weight")
    assert far.sums.values[0].tobytes() == local.sums.values[row].tobytes()
    assert "the server sends no parts of files" in " ".join(far.provenance.notes)


@WAYS
@pytest.mark.parametrize("by", [-1000, 1000])
def test_a_file_of_the_wrong_length(hub, waits, measure, states, fetch, by):
    hub.faults.resize(by, revisions="step200", after=1)  # its header comes as it should
    check_bridged(measure(fetch=fetch), states, 2, r"\d+ bytes on the server|size")
    assert sum(waits) < 100


def test_a_range_beside_the_one_that_was_asked_for(hub, measure, states):
    hub.faults.shift_ranges(64, revisions="step200", after=1)
    check_bridged(measure(fetch="ranges"), states, 2, r"the server sends bytes \d+ to \d+, not")


def test_a_file_whose_bytes_are_wrong(hub, measure, states):
    hub.faults.corrupt(revisions="step200", after=1)
    check_bridged(measure(fetch="files"), states, 2, "other sha")


@WAYS
def test_compression_on_the_way_changes_nothing(hub, measure, local, fetch):
    hub.faults.compress(files="*")
    same_sums(measure(fetch=fetch), local)


@WAYS
def test_a_web_page_instead_of_weights(hub, waits, measure, states, fetch):
    hub.faults.page(revisions="step200", after=1)
    check_bridged(measure(fetch=fetch), states, 2, r"another size|71 bytes on the server")
    assert sum(waits) < 100


@WAYS
def test_a_revision_that_is_deleted_while_it_is_read(hub, repo, measure, states, fetch):
    hub.faults.run(lambda: repo.delete_revision("step200"), revisions="step100", kinds=("data",), after=1)
    check_bridged(measure(fetch=fetch), states, 2, "no such revision|not on the Hub any more|404")


@WAYS
def test_what_was_measured_stays_when_the_hub_goes_away(hub, waits, measure, local, fetch):
    """The second half is refused for too long; later only what is missing is asked for."""
    hub.faults.refuse(503, after=9, kinds=("data",))
    with pytest.raises(WsAnalyzeError) as failure:
        measure(fetch=fetch)
    assert "\n" not in str(failure.value)
    assert "503" in str(failure.value)
    assert sum(waits) < 2000
    hub.faults.clear()
    hub.log.clear()
    same_sums(measure(fetch=fetch), local)
    needed = weigh(Path(local.provenance.source[0]))
    if fetch == "files":
        assert hub.log.bytes_sent() < needed


@WAYS
def test_one_file_that_is_always_cut_is_left_out_and_the_others_go_on(hub, waits, measure, states, fetch):
    hub.faults.cut(0, revisions="step200", after=1)
    check_bridged(measure(fetch=fetch), states, 2, r"step200/model.safetensors: .*try again later$")
    assert 600 < sum(waits) < 1000


@WAYS
def test_files_that_are_all_cut_stop_the_run_at_the_second_one(hub, waits, measure, local, fetch):
    hub.faults.cut(0, after=9)
    with pytest.raises(SourceError, match=r"try again later$"):
        measure(fetch=fetch)
    assert 1200 < sum(waits) < 2000
    hub.faults.clear()
    same_sums(measure(fetch=fetch), local)


@pytest.mark.parametrize("state", ["gated", "private", "disabled", "gone"])
def test_repositories_that_may_not_be_read(hub, repo, measure, state):
    if state == "gone":
        hub.delete_repo("org/model")
    else:
        setattr(repo, state, True)
    with pytest.raises(WsAnalyzeError) as failure:
        measure()
    (line,) = str(failure.value).splitlines()
    advice = {"gated": "ask for access", "private": "HF_TOKEN", "disabled": "disabled", "gone": "no such repository"}
    assert advice[state] in line


def test_a_token_opens_what_is_private_and_stands_in_no_message_and_no_file(hub, repo, local, tmp_path, monkeypatch):
    hub.tokens.add("hf_SecretSecretSecret")
    repo.private = True
    with pointed_at(hub.endpoint, monkeypatch, tmp_path / "other", token="hf_SecretSecretSecret"):  # noqa: S106 - nobody's
        far = analyze(on_hub(), tmp_path / "far.wsa")
        hub.faults.refuse(403, kinds=("data",))
        refused = analyze(on_hub(), tmp_path / "new.wsa")
    same_sums(far, local)
    reasons = [record.reason for record in refused.checkpoints if record.reason]
    assert len(reasons) == 5
    assert all("403" in reason for reason in reasons)
    assert "hf_Secret" not in "".join(reasons)
    assert b"hf_Secret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.wsa"))


def test_offline_measures_what_is_in_the_cache(hub, measure, local, tmp_path, monkeypatch):
    measure("kept", keep=True)
    with pointed_at("http://127.0.0.1:9", monkeypatch, tmp_path, offline=True):
        hub.log.clear()
        same_sums(measure("offline"), local)
    assert len(hub.log) == 0


def test_offline_without_a_cache_is_one_line(measure, monkeypatch, tmp_path):
    with (
        pointed_at("http://127.0.0.1:9", monkeypatch, tmp_path / "empty", offline=True),
        pytest.raises(SourceError, match=r"HF_HUB_OFFLINE forbids"),
    ):
        measure()


def test_a_hub_that_is_not_there_is_told_soon(waits, measure, monkeypatch, tmp_path):
    with (
        pointed_at("http://127.0.0.1:9", monkeypatch, tmp_path),
        pytest.raises(SourceError, match="cannot be reached"),
    ):
        measure()
    assert sum(waits) < 20


# The disk


def test_no_room_for_two_checkpoints_reads_ranges_or_says_so(measure, local, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    far = measure()
    same_sums(far, local)
    assert "there is no room for two checkpoints" in " ".join(far.provenance.notes)
    with pytest.raises(
        SourceError, match=r"1\.5 MB are needed for two checkpoints and 1\.0 MB are free.*--fetch ranges"
    ):
        measure("new", fetch="files")


def test_a_disk_that_fills_up_half_way_loses_nothing(hub, measure, local, tmp_path, monkeypatch):
    from huggingface_hub import file_download

    written, real = [0], file_download.http_get

    def fill(url, temp_file, **options):
        written[0] += 1
        if written[0] > 4:
            temp_file.write(b"some")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(url, temp_file, **options)

    monkeypatch.setattr(file_download, "http_get", fill)
    with pytest.raises(SourceError, match=r"no room for hf://org/model@step400/model.safetensors \(1 MB\): free some"):
        measure(fetch="files")
    window = tmp_path / "hf-home" / "wsanalyze"
    assert size_of(window) <= 2.1 * weigh(Path(local.provenance.source[0])) / 6
    monkeypatch.setattr(file_download, "http_get", real)
    hub.log.clear()
    same_sums(measure(fetch="files"), local)
    needed = weigh(Path(local.provenance.source[0])) / 6
    assert 2 * needed <= hub.log.bytes_sent() < 2.2 * needed


def test_a_folder_that_cannot_be_written(measure, tmp_path):
    (tmp_path / "hf-home").mkdir(exist_ok=True)
    (tmp_path / "hf-home" / "wsanalyze").write_text("")
    with pytest.raises(SourceError, match="cannot be written"):
        measure(fetch="files")
