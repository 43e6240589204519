"""The test Hub as the real client sees it: endpoints, pages, ranges, tokens and errors."""

import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import huggingface_hub as hf
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session, parse_ratelimit_headers
from hypothesis import given
from hypothesis import strategies as st

from tests.hub.server import HubServer, parse_range

TOKEN, OTHER, INVENTED = "hf_reader", "hf_stranger", "hf_invented"


def noise(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


WEIGHTS = noise(5000)
IDENTITY = {"NAME": "Tester", "EMAIL": "tester@localhost"}


@pytest.fixture
def repo(hub):
    """Two revisions of a model: weights, a config and a folder."""
    repo = hub.add_repo("org/model")
    repo.commit("step100", {"model.safetensors": WEIGHTS, "config.json": b"{}", "runs/1/log.txt": "one"})
    repo.commit("step200", {"model.safetensors": noise(5000, 1), "config.json": b"{}"})
    return repo


def get(path="model.safetensors", *, name="org/model", revision="step100", **headers):
    url = hf.hf_hub_url(name, path, revision=revision)
    return get_session().get(url, headers={"Accept-Encoding": "identity", **headers})


def test_a_revision_is_described(hub, repo):
    info = hf.model_info("org/model", revision="step100", files_metadata=True)
    assert info.sha == repo.find("step100").sha
    assert (info.id, info.author, info.private, info.gated) == ("org/model", "org", False, False)
    files = {sibling.rfilename: sibling for sibling in info.siblings}
    assert set(files) == {"model.safetensors", "config.json", "runs/1/log.txt"}
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert files["config.json"].lfs is None
    assert hf.repo_info("org/model").sha == repo.find("main").sha
    assert hub.log.count("api") == len(hub.log) == 2


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
@pytest.mark.parametrize("name", ["gpt2", "org/name"])
def test_ids_with_and_without_an_organisation(hub, tmp_path, kind, name):
    sha = hub.add_repo(name, kind).commit("main", {"model.safetensors": WEIGHTS, "config.json": b"{}"})
    assert hf.repo_info(name, repo_type=kind).sha == sha
    assert hf.list_repo_refs(name, repo_type=kind).branches[0].target_commit == sha
    assert len(list(hf.list_repo_tree(name, repo_type=kind))) == 2
    assert len(hf.list_repo_commits(name, repo_type=kind)) == 2
    assert len(hf.get_paths_info(name, "config.json", repo_type=kind)) == 1
    folder = hf.snapshot_download(name, repo_type=kind, local_dir=tmp_path / "local")
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert {record.repo for record in hub.log} == {name}


def test_refs_of_every_sort(repo):
    repo.tag("v1", "step100")
    repo.pull_request(3, "step200")
    repo.convert("parquet", "main")
    refs = hf.list_repo_refs("org/model", include_pull_requests=True)
    assert [ref.name for ref in refs.branches] == ["main", "step100", "step200"]
    assert [(ref.name, ref.ref, ref.target_commit) for ref in refs.tags] == [
        ("v1", "refs/tags/v1", repo.find("step100").sha)
    ]
    assert [ref.ref for ref in refs.converts] == ["refs/convert/parquet"]
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/3"]
    assert hf.list_repo_refs("org/model").pull_requests is None


def test_a_revision_has_many_names(repo):
    repo.tag("v1", "step100")
    repo.pull_request(1, "step100")
    repo.branch("runs/a=1", "step100")
    sha = repo.find("step100").sha
    for revision in ("step100", "v1", "refs/pr/1", "runs/a=1", sha, sha[:8]):
        assert hf.model_info("org/model", revision=revision).sha == sha
        assert get(revision=revision).headers["Content-Length"] == "5000"
        assert hf.file_exists("org/model", "config.json", revision=revision)


def test_trees(repo):
    flat = {entry.path: entry for entry in hf.list_repo_tree("org/model", revision="step100")}
    assert set(flat) == {"model.safetensors", "config.json", "runs"}
    deep = {entry.path: entry for entry in hf.list_repo_tree("org/model", revision="step100", recursive=True)}
    assert set(deep) == {*flat, "runs/1", "runs/1/log.txt"}
    inside = list(hf.list_repo_tree("org/model", "runs/1", revision="step100", expand=True))
    assert [entry.path for entry in inside] == ["runs/1/log.txt"]
    assert inside[0].last_commit.oid == repo.find("step100").sha
    weights = flat["model.safetensors"]
    assert (weights.size, weights.lfs.size, weights.xet_hash) == (5000, 5000, None)
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert flat["config.json"].lfs is None
    assert flat["config.json"].blob_id == hashlib.sha1(b"blob 2\0{}", usedforsecurity=False).hexdigest()
    with pytest.raises(EntryNotFoundError):
        list(hf.list_repo_tree("org/model", "nowhere", revision="step100"))


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_pages_join_to_the_whole(hub, repo, size):
    hub.page_size = hub.commits_per_page = size
    for step in range(4):
        repo.commit("main", {f"file{step}": str(step)}, replace=False)
    paths = [entry.path for entry in hf.list_repo_tree("org/model")]
    assert paths == [".gitattributes", "file0", "file1", "file2", "file3"]
    assert hub.log.count("api") == -(-5 // size)
    hub.log.clear()
    titles = [commit.title for commit in hf.list_repo_commits("org/model")]
    assert titles == ["Upload file3", "Upload file2", "Upload file1", "Upload file0", "Upload .gitattributes"]
    assert hub.log.count("api") == -(-5 // size)


def test_expanded_pages_are_shorter(hub, repo):
    repo.commit("wide", {f"file{n:02d}": "" for n in range(60)})
    assert len(list(hf.list_repo_tree("org/model", revision="wide", expand=True))) == 60
    assert len(hub.log) == 2


def test_commits_of_a_branch(repo):
    first = repo.commit("run", {"w.bin": b"1", "README.md": "x"}, title="Start", date=datetime(2025, 5, 1, tzinfo=UTC))
    second = repo.commit("run", {"w.bin": b"2"}, title="Go on", message="for long", replace=False)
    third = repo.commit("run", {"README.md": None}, replace=False)
    commits = hf.list_repo_commits("org/model", revision="run", formatted=True)
    assert [commit.commit_id for commit in commits] == [third, second, first]
    assert (commits[1].title, commits[1].message, commits[1].authors) == ("Go on", "for long", ["tester"])
    assert commits[2].created_at == datetime(2025, 5, 1, tzinfo=UTC)
    weights, readme = hf.get_paths_info("org/model", ["w.bin", "README.md"], revision=second, expand=True)
    assert (weights.last_commit.oid, readme.last_commit.oid) == (second, first)
    assert [entry.path for entry in hf.list_repo_tree("org/model", revision="run")] == ["w.bin"]
    repo.commit("other", {"z": b"3"}, parent=second)
    assert len(hf.list_repo_commits("org/model", revision="other")) == 3


@pytest.mark.usefixtures("repo")
def test_paths_that_are_not_there_are_left_out():
    found = hf.get_paths_info("org/model", ["runs", "config.json", "nowhere"], revision="step100")
    assert [type(entry).__name__ for entry in found] == ["RepoFolder", "RepoFile"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_ids_are_those_that_git_gives(hub, tmp_path):
    repo = hub.add_repo("org/model", initial=False)
    files = {"a.txt": "1", "a/b/c.txt": "2", "a/b.txt": "3", "b": noise(2000)}
    repo.commit("main", files, title="First", date=datetime(2024, 1, 1, tzinfo=UTC))
    sha = repo.commit("main", {"a-b": "4"}, title="More", message="of it", replace=False)
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()}
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(files['b']).hexdigest()}\nsize 2000\n"
    )

    def git(*arguments, hour=0):
        dates = {f"GIT_{role}_DATE": f"2024-01-01T{hour:02d}:00:00+0000" for role in ("AUTHOR", "COMMITTER")}
        command = ["git", "-c", "core.autocrlf=false", "-c", "commit.gpgsign=false", "-C", str(tmp_path / "git")]
        environment = {**os.environ, **who, **dates}
        return subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True, text=True)

    for path, text in {**files, "b": pointer}.items():
        (tmp_path / "git" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "git" / path).write_text(text)
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "First")
    (tmp_path / "git" / "a-b").write_text("4")
    git("add", ".")
    git("commit", "-q", "-m", "More", "-m", "of it", hour=1)
    assert git("rev-parse", "HEAD").stdout.strip() == sha
    assert {entry.path: entry.tree_id for entry in hf.list_repo_tree("org/model") if hasattr(entry, "tree_id")} == {
        "a": git("rev-parse", "HEAD:a").stdout.strip()
    }


def test_metadata_of_large_and_small_files(hub, repo):
    large = hf.get_hf_file_metadata(hf.hf_hub_url("org/model", "model.safetensors", revision="step100"))
    assert (large.size, large.etag) == (5000, hashlib.sha256(WEIGHTS).hexdigest())
    assert large.commit_hash == repo.find("step100").sha
    assert large.location.startswith(hub.cdn_endpoint)
    assert large.xet_file_data is None
    small = hf.get_hf_file_metadata(hf.hf_hub_url("org/model", "config.json", revision="step100"))
    assert (small.size, small.etag) == (2, repo.find("step100").files["config.json"].oid)
    assert small.location == f"{hub.endpoint}/org/model/resolve/step100/config.json"
    assert hub.log.count("head") == 2
    assert hub.log.bytes_sent() == 0


def test_downloads_are_equal_and_sent_once(hub, repo, tmp_path):
    for _ in range(2):
        path = Path(hf.hf_hub_download("org/model", "model.safetensors", revision="step100"))
        assert path.read_bytes() == WEIGHTS
        assert path.is_relative_to(tmp_path)
    path = Path(hf.hf_hub_download("org/model", "runs/1/log.txt", revision="step100", local_dir=tmp_path / "local"))
    assert path == tmp_path / "local/runs/1/log.txt"
    assert path.read_text() == "one"
    assert hub.log.bytes_sent() == 5003
    assert hub.log.bytes_sent(of=hashlib.sha256(WEIGHTS).hexdigest()) == 5000
    snapshot = Path(hf.snapshot_download("org/model", revision="step200"))
    assert {p.name for p in snapshot.iterdir()} == {"model.safetensors", "config.json"}
    assert snapshot.name == repo.find("step200").sha


def test_files_are_served_from_disk(hub, tmp_path):
    for name, seed in (("checkpoint-9", 1), ("checkpoint-10", 2)):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "model.safetensors").write_bytes(noise(300_000, seed))
    (tmp_path / "run" / "step_20.safetensors").write_bytes(noise(2000, 3))
    (tmp_path / "run" / "notes.txt").write_text("no weights")
    repo = hub.add_repo("org/model")
    shas = repo.add_folder_as_branches(tmp_path / "run")
    assert list(shas) == ["checkpoint-9", "checkpoint-10", "step_20"]
    dates = [hf.list_repo_commits("org/model", revision=name)[0].created_at for name in shas]
    assert dates == sorted(dates)
    path = hf.hf_hub_download("org/model", "model.safetensors", revision="checkpoint-10")
    assert Path(path).read_bytes() == noise(300_000, 2)
    assert not any(isinstance(content.data, bytes) for content in repo.find("step_20").files.values())


@pytest.mark.usefixtures("repo")
def test_the_file_system_reads_ranges(hub):
    files = hf.HfFileSystem()
    assert files.ls("org/model@step100/runs", detail=False) == ["org/model@step100/runs/1"]
    with files.open("org/model@step100/model.safetensors", block_size=1000, cache_type="none") as file:
        file.seek(100)
        assert file.read(50) == WEIGHTS[100:150]
    assert hub.log.bytes_sent() == 50
    assert hf.hffs.read_bytes("org/model@step100/config.json") == b"{}"


@pytest.mark.parametrize("path", ["model.safetensors", "runs/1/log.txt"])
@pytest.mark.usefixtures("repo")
def test_ranges(path):
    data = WEIGHTS if path == "model.safetensors" else b"one"
    size = len(data)
    for asked, start, stop in (("0-0", 0, 1), ("1-", 1, size), ("-2", size - 2, size), (f"1-{size + 9}", 1, size)):
        answer = get(path, Range=f"bytes={asked}")
        assert (answer.status_code, answer.content) == (206, data[start:stop])
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    answer = get(path, Range=f"bytes={size}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    for asked in ("bytes=0-0,2-2", "lines=0-1", "bytes=2-1", "bytes=-"):
        answer = get(path, Range=asked)
        assert (answer.status_code, answer.content, answer.headers["Accept-Ranges"]) == (200, data, "bytes")


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_a_slice(size, first, last):
    data = bytes(range(size))
    assert data[slice(*parse_range(f"bytes={first}-", size))] == data[first:]
    assert data[slice(*parse_range(f"bytes=-{last}", size))] == data[max(0, size - last) :]
    if first <= last:
        assert data[slice(*parse_range(f"bytes={first}-{last}", size))] == data[first : last + 1]


@pytest.mark.usefixtures("repo")
def test_what_is_not_there(hub):
    with pytest.raises(RepositoryNotFoundError) as missing:
        hf.model_info("org/nothing")
    assert missing.value.response.status_code == 401
    with pytest.raises(RepositoryNotFoundError):
        hf.hf_hub_download("nothing", "config.json")
    with pytest.raises(RepositoryNotFoundError):
        hf.dataset_info("org/model")
    with pytest.raises(RevisionNotFoundError):
        list(hf.list_repo_tree("org/model", revision="step300"))
    with pytest.raises(RevisionNotFoundError):
        hf.hf_hub_download("org/model", "config.json", revision="0" * 40)
    with pytest.raises(EntryNotFoundError):
        hf.hf_hub_download("org/model", "nothing.bin", revision="step100")
    assert hub.log.count(status=401) == 3


def test_private_repositories_need_a_token(hub, monkeypatch):
    sha = hub.add_repo("org/secret", private=True, readers={TOKEN}).commit("main", {"w.bin": WEIGHTS})
    hub.tokens |= {TOKEN, OTHER}
    for token, status in ((None, 401), (OTHER, 404)):
        with pytest.raises(RepositoryNotFoundError) as error:
            hf.model_info("org/secret", token=token)
        assert error.value.response.status_code == status
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        hf.model_info("org/secret", token=INVENTED)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hf.whoami()["name"] == "tester"
    assert hf.model_info("org/secret").sha == sha
    hub.log.clear()
    assert Path(hf.hf_hub_download("org/secret", "w.bin")).read_bytes() == WEIGHTS
    assert get("w.bin", name="org/secret", revision="main", Authorization=f"Bearer {TOKEN}").content == WEIGHTS
    assert {(record.kind, record.authorized) for record in hub.log} == {
        ("head", True),
        ("redirect", True),
        ("data", False),
    }


def test_gated_repositories_list_their_files_and_keep_them(hub):
    hub.add_repo("org/gated", gated=True, readers={TOKEN}).commit("main", {"w.bin": WEIGHTS, "config.json": "{}"})
    hub.tokens |= {TOKEN, OTHER}
    assert hf.model_info("org/gated").gated == "manual"
    assert len(list(hf.list_repo_tree("org/gated"))) == 2
    for token, status in ((False, 401), (OTHER, 403)):
        with pytest.raises(GatedRepoError) as error:
            hf.hf_hub_download("org/gated", "config.json", token=token)
        assert error.value.response.status_code == status
    assert Path(hf.hf_hub_download("org/gated", "w.bin", token=TOKEN)).read_bytes() == WEIGHTS


def test_moved_disabled_and_deleted_repositories(hub, repo):
    hub.move_repo("org/model", "new/name")
    assert hf.model_info("org/model", revision="step100").id == "new/name"
    assert Path(hf.hf_hub_download("org/model", "model.safetensors", revision="step100")).read_bytes() == WEIGHTS
    repo.disabled = True
    with pytest.raises(DisabledRepoError):
        hf.model_info("new/name")
    hub.delete_repo("new/name")
    with pytest.raises(RepositoryNotFoundError):
        hf.model_info("new/name")


def test_a_revision_that_is_deleted_is_gone_by_its_sha_too(repo):
    sha = repo.find("step100").sha
    repo.tag("kept", "step200")
    repo.delete_revision("step100")
    repo.delete_revision("step200")
    for revision in ("step100", "step200", sha):
        with pytest.raises(RevisionNotFoundError):
            hf.model_info("org/model", revision=revision)
    assert hf.model_info("org/model", revision="kept").sha


@pytest.mark.usefixtures("repo")
def test_rate_limits_end_where_they_say(hub, waits):
    hub.limit("api", 2, 300)
    for left in (1, 0):
        answer = get_session().get(f"{hub.endpoint}/api/models/org/model/refs")
        info = parse_ratelimit_headers(answer.headers)
        assert (info.resource_type, info.remaining, info.limit, info.window_seconds) == ("api", left, 2, 300)
    with pytest.raises(HfHubHTTPError, match="reached your 'api' rate limit"):
        hf.model_info("org/model")
    assert get().content == WEIGHTS
    assert len(list(hf.list_repo_tree("org/model", revision="step100"))) == 3
    assert hub.log.count(status=429) == 2
    assert 299 <= waits[0] <= 301
    assert len(waits) == 1


@pytest.mark.usefixtures("repo")
def test_files_have_a_budget_of_their_own(hub):
    hub.limit("resolvers", 1, 300)
    assert get().content == WEIGHTS
    answer = get()
    assert (answer.status_code, parse_ratelimit_headers(answer.headers).resource_type) == (429, "resolvers")
    assert int(answer.headers["Retry-After"]) in (299, 300)
    assert hf.model_info("org/model").sha


def test_this_process_keeps_to_the_hub(hub, tmp_path, monkeypatch):
    home = tmp_path / "hf-home"
    assert hub.endpoint == constants.ENDPOINT == hf.HfApi().endpoint == hf.hffs.endpoint
    assert Path(constants.HF_HUB_CACHE) == home / "hub"
    assert Path(constants.HF_TOKEN_PATH) == home / "token"
    assert hf.get_token() is None
    hub.add_repo("org/model")
    hf.hf_hub_download("org/model", ".gitattributes")
    assert [repo.repo_id for repo in hf.scan_cache_dir().repos] == ["org/model"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineModeIsEnabled):
        hf.model_info("org/model")


@pytest.mark.usefixtures("repo")
def test_other_processes_keep_to_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    script = "import huggingface_hub as hf; print(hf.hf_hub_download('org/model', 'config.json', revision='step100'))"
    for offline in (False, True):
        environment = hub.environment(tmp_path / "other", offline=offline)
        command = [sys.executable, "-W", "error", "-c", script]
        path = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
        assert Path(path).read_bytes() == b"{}"
        assert Path(path).is_relative_to(tmp_path / "other" / "hf-home")
    assert [record.kind for record in hub.log] == ["head", "data"]


@pytest.mark.usefixtures("repo")
def test_two_hubs_do_not_meet():
    with HubServer() as other:
        other.add_repo("org/other")
        assert hf.HfApi(endpoint=other.endpoint).model_info("org/other").id == "org/other"
        with pytest.raises(RepositoryNotFoundError):
            hf.model_info("org/other")
    other.close()
