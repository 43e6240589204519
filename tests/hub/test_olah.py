"""The test Hub and an independent server say the same of the same repositories, and so do analyses of them."""

import re
import shutil
from pathlib import Path

import huggingface_hub as hf
import numpy as np
import pytest
from huggingface_hub.utils import get_session

from tests.hub.runs import FORMATS, analyze, make_walk, on_hub, publish, same_sums, size_of, weigh
from tests.hub.server import HubServer
from wsanalyze.errors import WsAnalyzeError


def look():
    """All that both can say: refs, trees, a description, metadata and bytes."""
    trees = [sorted(map(repr, hf.list_repo_tree("org/model", revision=name, recursive=True))) for name in ("a", "v1")]
    url = hf.hf_hub_url("org/model", "model.safetensors", revision="a")
    metadata = hf.get_hf_file_metadata(url)
    info = hf.model_info("org/model", revision="a")
    return {
        "refs": sorted(map(repr, hf.list_repo_refs("org/model").branches + hf.list_repo_refs("org/model").tags)),
        "trees": trees,
        "paths": sorted(map(repr, hf.get_paths_info("org/model", ["config.json", "none", "logs"], revision="a"))),
        "info": (info.id, info.sha, info.last_modified, info.created_at, [s.rfilename for s in info.siblings]),
        "metadata": (metadata.commit_hash, metadata.etag, metadata.size),
        "dataset": list(map(repr, hf.list_repo_tree("data", repo_type="dataset"))),
        "bytes": Path(hf.hf_hub_download("org/model", "model.safetensors", revision="a")).read_bytes(),
        "folder": sorted(p.name for p in Path(hf.snapshot_download("org/model", revision="v1")).rglob("*")),
    }


def test_both_say_the_same_but_olah_ignores_ranges(hub, serve_by_olah):
    weights = np.random.default_rng(0).bytes(300_000)
    repo = hub.add_repo("org/model")
    repo.commit("a", {"model.safetensors": weights, "config.json": "{}", "logs/1/a.txt": "x"})
    repo.commit("b", {"model.safetensors": weights[:2000]})
    repo.tag("v1", "b")
    data = hub.add_repo("data", "dataset")
    data.commit("main", {"weights.bin": weights})
    ours = look()
    serve_by_olah(repo, data)
    theirs = look()
    assert {name: theirs[name] for name in ours} == ours
    answer = get_session().get(hf.hf_hub_url("org/model", "config.json", revision="a"), headers={"Range": "bytes=1-1"})
    assert (answer.status_code, answer.content) == (200, b"{}")


@pytest.fixture
def served(tmp_path, serve_by_olah):
    """Five revisions on disk and served by olah, in a form; gives the folder."""

    def serve(form, **walk):
        folder = tmp_path / "run"
        with HubServer() as unused:
            repo = publish(unused, folder, make_walk(5, **walk), form)
        serve_by_olah(repo)
        return folder

    return serve


@pytest.mark.parametrize("form", FORMATS)
def test_a_server_without_ranges_gives_the_same_sums_from_whole_files(served, tmp_path, form):
    folder = served(form)
    local = analyze(folder, tmp_path / "local.wsa")
    far = analyze(on_hub(), tmp_path / "far.wsa")
    same_sums(far, local)
    notes = " ".join(far.provenance.notes)
    assert "whole files" in notes or "the server sends no parts of files" in notes
    # Whatever was needed to open the files, all of it came once.
    received = float(re.search(r"([\d.]+) MB of files received", notes)[1])
    assert received == pytest.approx(weigh(folder) / 1e6, rel=0.05)
    kept = list((tmp_path / "olah" / "hf-home" / "wsanalyze").rglob("files/*"))
    newest = {path.read_bytes() for path in (folder / "step400").iterdir() if path.stat().st_size > 10_000}
    assert {path.read_bytes() for path in kept} == newest  # the shard of a bias is not measured


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_second_run_without_ranges_receives_nothing(served, tmp_path, form):
    folder = served(form)
    first = analyze(on_hub(), tmp_path / "far.wsa")
    again = analyze(on_hub(), tmp_path / "far.wsa")
    same_sums(again, first)
    same_sums(first, analyze(folder, tmp_path / "local.wsa"))
    assert not [note for note in again.provenance.notes if "received" in note]


@pytest.mark.parametrize("form", ["bin", "legacy"])
def test_without_ranges_and_without_room_for_all_files_come_twice_and_it_says_so(served, tmp_path, monkeypatch, form):
    folder = served(form)
    room, window = 2.5 * weigh(folder) / 5, tmp_path / "olah" / "hf-home" / "wsanalyze"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(room) - size_of(window)))
    far = analyze(on_hub(), tmp_path / "far.wsa")
    same_sums(far, analyze(folder, tmp_path / "local.wsa"))
    assert "let go for want of room, to be brought again" in " ".join(far.provenance.notes)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_ranges_that_cannot_be_had_are_refused_with_advice(served, tmp_path, form):
    served(form)
    with pytest.raises(WsAnalyzeError, match=r"--fetch files"):
        analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
