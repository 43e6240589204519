"""Sequences on the Hub from end to end: copies, what cannot be read, secrets, the cache alone, answers of no Hub."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.hub import answers, repos
from tests.hub.client import environment
from tests.hub.small import at_step, labels, look, make_repo, model, pack, steps
from wsanalyze.choosing import SequenceOptions
from wsanalyze.cli import main
from wsanalyze.hub.session import HubOptions
from wsanalyze.pipeline import AnalyzeOptions, measure_run

ROOT = Path(__file__).parents[2]
SECRET = "hf_" + "q7Zk" * 8
PASSWORD = "s3cret" * 2


def analyze(source, run, sequence=None, **options):
    return measure_run([source], run, AnalyzeOptions(sequence or SequenceOptions(), hub=HubOptions(**options))).series


def run_alone(hub, folder, *arguments, env=None, **options):
    """Run the command line in a process of its own."""
    settings = environment(hub.endpoint, folder, **options) | {"XDG_CACHE_HOME": str(folder / "cache")} | (env or {})
    command = [sys.executable, "-m", "wsanalyze", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=60)


def tell(capsys, *arguments):
    """Exit status and what the command line says, in this process."""
    status = main(list(map(str, arguments)))
    said = capsys.readouterr()
    return status, said.out, said.err


def one_line(text):
    return len(text.strip().splitlines()) == 1 and text.startswith("wsanalyze: ")


SETS = {
    "early": ({"step1": 5, "step2": 2, "step3": 3, "step4": 4, "step5": 5, "step6": 6}, {"step1": "step5"}),
    "late": ({"step1": 1, "step2": 2, "step3": 3, "step4": 4, "step5": 2, "step6": 6}, {"step5": "step2"}),
    "at the end": ({"step1": 1, "step2": 2, "step3": 3, "step4": 2}, {"step4": "step2"}),
    "two sets": (
        {"step1": 1, "step2": 2, "step3": 3, "step4": 7, "step5": 2, "step6": 6, "step7": 7, "step8": 8},
        {"step4": "step7", "step5": "step2"},
    ),
    "three copies": (
        {"step1": 4, "step2": 2, "step3": 3, "step4": 4, "step5": 5, "step6": 4},
        {"step1": "step4", "step6": "step4"},
    ),
    "all equal": ({"step1": 1, "step2": 1, "step3": 1}, {"step2": "step1", "step3": "step1"}),
}


@pytest.mark.parametrize("name", SETS)
def test_copies_are_told_by_hashes_and_the_one_that_fits_its_neighbours_is_kept(hub, tmp_path, name):
    contents, expected = SETS[name]
    make_repo(hub, "a/b", contents)
    listed = look("hf://a/b")
    told = {c.label: c.reason.split(" as ")[1].split()[0] for c in listed.checkpoints if c.status == "duplicate"}
    assert told == expected
    events = [event for event in listed.events if event.kind == "duplicate"]
    assert len(events) == len(set(expected.values()))
    for event in events:
        kept = labels(listed)[event.evidence["of"]]
        copies = [labels(listed)[index] for index in event.evidence["checkpoints"]]
        assert dict.fromkeys(copies, kept) == {c: k for c, k in expected.items() if k == kept}
        assert all(copy in event.text for copy in copies)

    series = analyze("hf://a/b", tmp_path / "a.wsa", fetch="files")
    assert [e.text for e in series.events if e.kind == "duplicate"] == [e.text for e in events]
    assert {c.label for c in series.checkpoints if c.status == "duplicate"} == set(expected)
    size = len(at_step(0))
    for digest, sent in hub.log.sent_by_content().items():
        assert sent < 2.5 * size, digest  # a header, a sample and the file; never a copy besides


def test_every_nth_counts_no_copies(hub):
    make_repo(hub, "a/b", {"step1": 1, "step2": 1, "step3": 3, "step4": 4, "step5": 5, "step6": 6})
    assert labels(look("hf://a/b", sequence=SequenceOptions(every=2)), "ok") == ["step1", "step4", "step6"]


def test_neighbours_that_cannot_be_read_decide_nothing(hub):
    repo = make_repo(hub, "a/b", {"step1": 1, "step2": 2, "step3": 3, "step4": 4, "step5": 2, "step6": 6})
    for step in (1, 3):
        repo.commit(f"step{step}", {"model.safetensors": bytes([step]) * 5000})
    found = look("hf://a/b")
    assert labels(found, "unreadable") == ["step1", "step3"]
    assert labels(found, "duplicate") == ["step5"]


def test_equal_shards_of_other_checkpoints_are_no_copies_and_come_once(hub, tmp_path):
    repo = hub.add_repo("a/b")
    still = pack({"model.layers.0.weight": np.ones((40, 640))})
    index = {"model.layers.0.weight": "model-00001-of-00002.safetensors"}
    index |= {"model.layers.1.weight": "model-00002-of-00002.safetensors"}
    for step in range(4):
        moving = pack({"model.layers.1.weight": np.arange(25600.0).reshape(40, 640) + step**2})
        files = dict(zip(index.values(), (still, moving), strict=True))
        repo.commit(f"step{step}", files | {"model.safetensors.index.json": json.dumps({"weight_map": index})})
    assert labels(look("hf://a/b"), "ok") == ["step0", "step1", "step2", "step3"]
    series = analyze("hf://a/b", tmp_path / "a.wsa", fetch="files")
    assert len(series.pairs) == 3
    content = repo.find("step0").files["model-00001-of-00002.safetensors"]
    assert hub.log.bytes_sent(of=content.sha256) < 1.5 * content.size


def test_what_cannot_be_read_is_named_and_keeps_its_place(hub, tmp_path):
    repo = make_repo(hub, "a/b", {f"step{1000 * index}": index for index in range(9)})
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
    for step, files in {
        1000: {"model.safetensors": b"<!DOCTYPE html><html>" + b" " * 3000},
        2000: {"model.safetensors": pointer},
        3000: {"flax_model.msgpack": b"x" * 4000},
        4000: {"README.md": "nothing"},
        5000: {"model.safetensors": b""},
    }.items():
        repo.commit(f"step{step}", files)
    listed = look("hf://a/b")
    series = analyze("hf://a/b", tmp_path / "a.wsa")
    for found, notes in ((listed, listed.notes), (series, series.provenance.notes)):
        said = " ".join(event.text for event in found.events)
        for word in ("web page", "LFS pointer", "Flax", "is empty", "no checkpoint at step 4000"):
            assert word in said or any(word in (c.reason or "") for c in series.checkpoints)
        assert [e.kind for e in found.events].count("missing-steps") == 1
        assert "step4000 holds no weights and is left out" in notes
    assert steps(listed) == [0, 1000, 2000, 3000, 5000, 6000, 7000, 8000]
    assert [c.step for c in series.checkpoints] == steps(listed)
    assert tuple(series.checkpoints[index].step for index in series.pairs[0]) == (0, 6000)


def test_local_and_hub_sources_are_one_sequence_and_a_base_comes_from_either(hub, tmp_path):
    make_repo(hub, "a/b", {"step1": 1, "step2": 2})
    make_repo(hub, "a/base", {"main": 0})
    folder = tmp_path / "local"
    folder.mkdir()
    for step in (3, 4):
        (folder / f"step{step}.safetensors").write_bytes(at_step(step))
    assert steps(look(folder, "hf://a/b")) == [1, 2, 3, 4]
    for sources, base, expected in [
        (["hf://a/b"], "hf://a/base", ["main (base)", "step1", "step2"]),
        ([folder], "hf://a/base", ["main (base)", "step3", "step4"]),
        (["hf://a/b"], str(folder / "step3.safetensors"), ["step3 (base)", "step1", "step2"]),
        (["hf://a/b"], "hf://a/b@step1", ["step1 (base)", "step1", "step2"]),
    ]:
        assert labels(look(*sources, sequence=SequenceOptions(base=base))) == expected


def test_a_model_of_timm_has_the_kinds_of_its_definition(hub, tmp_path):
    timm = pytest.importorskip("timm")
    config = {"architecture": "test_resnet", "num_classes": 10, "model_args": {"num_classes": 10}}
    state = timm.create_model("test_resnet", num_classes=10).state_dict()
    repo = hub.add_repo("timm/test_resnet.a1")
    for step in (1, 2):
        weights = {name: w.numpy() * step for name, w in state.items() if w.dim()}
        repo.commit(f"step{step}", {"model.safetensors": pack(weights), "config.json": json.dumps(config)})
    far = analyze("hf://timm/test_resnet.a1", tmp_path / "far.wsa")
    assert hub.log.count("data", file="config.json") == 1
    folder = tmp_path / "near"
    for step in (1, 2):
        (folder / f"step{step}").mkdir(parents=True)
        for path, content in repo.find(f"step{step}").files.items():
            (folder / f"step{step}" / path).write_bytes(content.data)
    near = analyze(str(folder), tmp_path / "near.wsa")
    assert far.rows == near.rows
    assert len({row.kind for row in far.rows}) > 2


@pytest.fixture
def private(hub):
    """A repository that one token opens."""
    hub.tokens.add(SECRET)
    return make_repo(hub, "me/private", ["step0", "step1", "step2"], private=True)


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_token_opens_a_private_repository_and_is_found_nowhere(hub, tmp_path, place):
    home = tmp_path / "home"
    if place == "file":
        (home / "hf-home").mkdir(parents=True)
        (home / "hf-home" / "token").write_text(SECRET)
    out = tmp_path / "out"
    out.mkdir()
    reports = [f"--{kind}={out / f'a.{kind}'}" for kind in ("html", "json", "csv", "markdown", "run")]
    reports[-1] = f"--run={out / 'a.wsa'}"
    token = {"token": SECRET} if place == "environment" else {}
    done = run_alone(hub, home, "analyze", "hf://me/private", *reports, "--debug", **token)
    assert done.returncode == 0, done.stderr
    assert len(list(out.iterdir())) == 5
    for path in [p for p in (*out.rglob("*"), *home.rglob("*")) if p.is_file() and p.name != "token"]:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.usefixtures("private")
def test_without_its_token_a_private_repository_is_none_and_a_gated_one_asks_for_access(hub, capsys):
    status, _, said = tell(capsys, "list", "hf://me/private")
    assert status == 1
    assert one_line(said)
    assert "if it is private, run hf auth login or set HF_TOKEN" in said
    make_repo(hub, "me/gated", ["step0", "step1"], gated=True)
    status, _, said = tell(capsys, "list", "hf://me/gated")
    assert status == 1
    assert one_line(said)
    assert "is gated: ask for access on its page" in said


@pytest.mark.parametrize("debug", [False, True])
def test_a_password_in_the_endpoint_is_found_nowhere(hub, tmp_path, debug):
    make_repo(hub, "a/b", ["step0", "step1"])
    with_password = {"HF_ENDPOINT": hub.endpoint.replace("://", f"://user:{PASSWORD}@")}
    flags = ["--debug"] if debug else []
    for name, status in (("a/b", 0), ("a/nothing", 1)):
        run = tmp_path / "a.wsa"
        done = run_alone(
            hub, tmp_path, "analyze", f"hf://{name}", "--run", run, *flags, env=with_password, token=SECRET
        )
        assert done.returncode == status, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert PASSWORD.encode() not in run.read_bytes()


def test_offline_what_is_in_the_cache_is_the_sequence(hub, tmp_path):
    repo = make_repo(hub, "a/b", ["step0", "step1", "exp/a/step2"])
    nothing = run_alone(hub, tmp_path, "list", "hf://a/b", offline=True)
    assert nothing.returncode == 1
    assert "nothing of it is in the cache, and HF_HUB_OFFLINE forbids to ask the Hub" in nothing.stderr
    kept = run_alone(hub, tmp_path, "analyze", "hf://a/b", "--keep", "-q", "--run", tmp_path / "a.wsa")
    assert kept.returncode == 0, kept.stderr
    hub.log.clear()
    sha = repo.find("step1").sha[:12]
    for address, expected in {
        "hf://a/b": ["step0", "step1", "exp/a/step2"],
        "hf://a/b@step?": ["step0", "step1"],
        "hf://a/b@exp/a/step2": ["exp/a/step2"],
        f"hf://a/b@{sha}": [sha],
    }.items():
        done = run_alone(hub, tmp_path, "list", address, "--json=-", offline=True)
        assert [c["label"] for c in json.loads(done.stdout)["checkpoints"]] == expected, done.stderr
    for arguments, words in {
        ("hf://a/b@step9",): "is not in the cache",
        ("hf://a/b", "--commits"): "needs the history",
    }.items():
        done = run_alone(hub, tmp_path, "list", *arguments, offline=True)
        assert one_line(done.stderr)
        assert words in done.stderr
    assert len(hub.log) == 0


def test_a_proxy_is_obeyed(hub, tmp_path):
    make_repo(hub, "a/b", ["step0", "step1"])
    dead = dict.fromkeys(("HTTP_PROXY", "http_proxy"), f"http://user:{PASSWORD}@127.0.0.1:9")
    done = run_alone(hub, tmp_path, "list", "hf://a/b", env=dead | {"NO_PROXY": "", "no_proxy": ""})
    assert done.returncode == 1
    assert one_line(done.stderr)
    assert "cannot be reached" in done.stderr
    assert PASSWORD not in done.stderr
    assert len(hub.log) == 0


ENTRIES = {
    "size 2^60": {"size": 2**60},
    "negative size": {"size": -5},
    "no size": {"size": None},
    "size in words": {"size": "12"},
    "smaller size": {"size": 10},
    "larger size": {"size": 2**52},
    "hash that is a path": {"lfs": {"oid": "../../../evil", "size": 1, "pointerSize": 1}},
    "no hash": {"lfs": None, "oid": None},
    "hash of another make": {"lfs": "x"},
    "path outside": {"path": "../../evil.safetensors"},
    "path of the disk": {"path": "/evil.safetensors"},
    "no path": {"path": None},
    "another type": {"type": 5},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_no_tree_has_spoils_its_revision_alone(hub, tmp_path, capsys, monkeypatch, name):
    make_repo(hub, "a/b", ["step1", "step2", "step3"]).commit("step2", model(1), title="second")
    entry = repos.Commit.entry
    change = ENTRIES[name]

    def spoil(commit, path, *, expand=False):
        found = entry(commit, path, expand=expand)
        return found | change if path == "model.safetensors" and commit.title == "second" else found

    monkeypatch.setattr(repos.Commit, "entry", spoil)
    status, out, err = tell(capsys, "analyze", "hf://a/b", "--run", tmp_path / "a.wsa", "--no-color")
    assert status in (0, 3)
    assert "Traceback" not in err
    assert re.search(r"step2 holds no weights|unreadable\s+step2", out)
    assert "step1" in out
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "refs",
    [
        [],
        {},
        None,
        5,
        {"branches": 5, "tags": [], "converts": []},
        {"branches": [{"name": 5, "ref": 5, "targetCommit": 5}], "tags": [], "converts": []},
        {"branches": [{"name": "step1", "ref": "x", "targetCommit": "../../x"}], "tags": [], "converts": []},
    ],
)
def test_refs_that_are_none_are_one_line(hub, capsys, monkeypatch, refs):
    make_repo(hub, "a/b", ["step1", "step2"])
    monkeypatch.setattr(answers, "_list_refs", lambda *_: refs)
    status, out, err = tell(capsys, "list", "hf://a/b")
    assert status == 1
    assert one_line(err)
    assert not out


@pytest.mark.parametrize("tree", [None, 5, [5], [{}], [[]]])
def test_a_tree_that_is_none_is_one_line(hub, capsys, monkeypatch, tree):
    make_repo(hub, "a/b", ["step1", "step2"])
    monkeypatch.setattr(answers.Answers, "_plan_tree", lambda _, __, answer, *___: answers._put_json(answer, tree))
    status, _, err = tell(capsys, "list", "hf://a/b")
    assert status == 1
    assert one_line(err)
    assert "is no answer of the Hub" in err


def test_a_tree_that_lists_a_file_twice_is_one_line(hub, capsys, monkeypatch):
    make_repo(hub, "a/b", ["step1", "step2"])
    tree = repos.Commit.tree
    monkeypatch.setattr(repos.Commit, "tree", lambda *a, **k: [p for p in tree(*a, **k) for _ in "12"])
    status, _, err = tell(capsys, "list", "hf://a/b")
    assert (status, one_line(err)) == (1, True)
    assert "is listed twice" in err


def test_names_are_escaped_wherever_they_are_shown(hub, tmp_path, capsys):
    repo = make_repo(hub, "a/b", {"step1": 1, "step2\u202egnp": 2, "step<script>3": 3, "step'\"4": 4}, lfs_bytes=10**9)
    repo.commit("step5", {"a\x1b[31m\n=1+1.safetensors": b"<html>" + b"x" * 2000})
    kinds = ("html", "csv", "markdown")
    reports = [f"--{kind}={tmp_path / f'a.{kind}'}" for kind in kinds]
    status, out, err = tell(
        capsys, "analyze", "hf://a/b@step*", "--order=given", f"--run={tmp_path / 'a.wsa'}", *reports
    )
    assert status == 3
    shown = [out, err, *((tmp_path / f"a.{kind}").read_text() for kind in kinds)]
    assert not any(sign in text for text in shown for sign in ("\x1b[31m", "\u202e"))
    assert "<script>3" not in shown[2]
    assert any("step<script>3" in text or "step&lt;script&gt;3" in text for text in shown)


def test_many_revisions_and_pages_are_listed_with_one_request_for_each_page(hub):
    hub.page_size = 3
    repo = hub.add_repo("a/many")
    files = [model(step) | {f"{name}.txt": name for name in "abcdefg"} for step in range(2)]
    for step in range(150):
        repo.commit(f"step{step}", files[step % 2] | {"step.txt": str(step)})
    found = look("hf://a/many")
    assert steps(found) == list(range(150))
    assert len(labels(found, "ok")) == 2
    pages = [record for record in hub.log.records("api") if "/tree/" in record.path]
    assert len(pages) == 150 * 3 + 1  # main has one of its own
    assert len(hub.log) < len(pages) + 20


def test_copies_are_told_among_the_steps_that_are_wanted(hub, tmp_path):
    make_repo(hub, "o/r", {"step1": 1, "step2": 2, "step3": 3, "step4": 3, "step5": 3, "step6": 6})
    series = analyze("hf://o/r", tmp_path / "run.wsa", SequenceOptions(steps=(4, None)))
    status = {checkpoint.label: checkpoint.status for checkpoint in series.checkpoints}
    assert status == {"step4": "ok", "step5": "duplicate", "step6": "ok"}
    assert len(series.pairs) == 1


def test_a_token_that_is_none_is_told(hub, tmp_path):
    make_repo(hub, "o/r", ["step1", "step2"])
    hub.faults.refuse(401, kinds=("api",))
    done = run_alone(hub, tmp_path, "list", "hf://o/r", token=SECRET)
    assert done.returncode == 1
    assert "run hf auth login" in done.stderr
    assert SECRET not in done.stderr
    assert one_line(done.stderr)


@pytest.mark.parametrize("endpoint", ["http://[::1", "nonsense"])
def test_an_endpoint_that_is_none_is_told_at_once(hub, tmp_path, endpoint):
    done = run_alone(hub, tmp_path, "list", "hf://o/r", env={"HF_ENDPOINT": endpoint})
    assert done.returncode in (1, 2)
    assert one_line(done.stderr)
    assert "asked" not in done.stderr  # more than once
