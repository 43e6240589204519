"""Pulling a training run into a folder, with the real client against the test Hub."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.checkpoints.order import order_checkpoints
from wsanalyze.choosing import SequenceOptions
from wsanalyze.cli import main
from wsanalyze.errors import SourceError
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.pull import PullFolder
from wsanalyze.hub.pull_note import NOTE_NAME
from wsanalyze.hub.session import HubOptions
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.pull import PullOptions, pull_sequence

REPO = "org/model"
SHAPES = {"stem.weight": (40, 30), "blocks.0.fc.weight": (64, 50), "blocks.1.fc.weight": (32, 32), "bias": (7,)}
NOTES = (None, "", "[]", '{"format": 1}', '{"format": 1, "origin": 3, "files": {"a": 1}}', "\0")
NEVER = ("optimizer", "scheduler", "rng_state", "training_args", "README", ".gitattributes", "tokenizer")


def walk(count, seed=0):
    rng = np.random.default_rng(seed)
    state = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    states = [state]
    for _ in range(count - 1):
        state = {n: w + np.float32(0.01) * rng.normal(size=w.shape).astype(np.float32) for n, w in state.items()}
        states.append(state)
    return states


def as_bytes(folder, state, name="model.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / name)
    return (folder / name).read_bytes()


def publish(hub, tmp_path, steps=(0, 100, 200, 300), copies=(), **beside):
    """A repository of branches step<N>; those in `copies` hold the weights of the branch before."""
    repo = hub.add_repo(REPO)
    data = b""
    for step, state in zip(steps, walk(len(steps)), strict=True):
        data = data if step in copies else as_bytes(tmp_path / "made", state)
        repo.commit(f"step{step}", {"model.safetensors": data, "config.json": "{}", **beside})
    return repo


def pull(folder, source=REPO, *, every=1, steps=(None, None), commits=False, kind="model", **options):
    return pull_sequence(source, folder, PullOptions(steps, every, HubOptions(kind, commits)), **options)


def order(folder):
    """What is found in a folder: step and label of each checkpoint, in order."""
    found = order_checkpoints(FolderSource(str(folder)).checkpoints(), {}).checkpoints
    return [(c.step, c.label, c.duplicate_of) for c in found]


def files_in(folder):
    return sorted(
        p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file() and p.name != NOTE_NAME
    )


def analyze(source, run, every=1, steps=(None, None), **options):
    wanted = AnalyzeOptions(
        SequenceOptions(steps, every) if False else SequenceOptions(every=every, steps=steps), **options
    )
    return measure_run([str(source)], run, wanted).series


def assert_same(ours, theirs):
    """The same steps with the same sums, copies left out."""
    alive = [[c.step for c in series.checkpoints if c.status == "ok"] for series in (ours, theirs)]
    assert alive[0] == alive[1]
    assert ours.names == theirs.names
    assert ours.sums.values.tobytes() == theirs.sums.values.tobytes()


def weights_sent(hub):
    return [(r.file, r.sent) for r in hub.log.records("data") if r.range is None and r.sent]


@pytest.mark.parametrize("every", [1, 3])
def test_a_pulled_folder_is_the_sequence_on_the_hub(hub, tmp_path, every):
    publish(hub, tmp_path, range(0, 800, 100), copies=(300, 400), **{"optimizer.pt": b"x" * 5000, "README.md": "# hi"})
    pulled = pull(tmp_path / "run", every=every)
    sent = hub.log.bytes_sent()
    assert pulled.failures == ()
    theirs = analyze(f"hf://{REPO}", tmp_path / "far.wsa", every=every)
    ours = analyze(tmp_path / "run", tmp_path / "near.wsa")
    assert_same(ours, theirs)
    names = files_in(tmp_path / "run")
    assert not [name for name in names if any(part in name for part in NEVER)]
    stats = [(tmp_path / "run" / name).stat() for name in names]
    kept = sum({found.st_ino: found.st_size for found in stats}.values())
    assert sent < kept + 4 * 20_000  # headers and samples that tell which copy is kept


def test_equal_files_are_fetched_once_and_linked(hub, tmp_path):
    publish(hub, tmp_path, copies=(200,))
    pull(tmp_path / "run")
    run = tmp_path / "run"
    assert (run / "checkpoint-100/model.safetensors").samefile(run / "checkpoint-200/model.safetensors")
    assert [name for name, _ in weights_sent(hub)].count("model.safetensors") == 3
    assert order(run) == [
        (0, "checkpoint-0", None),
        (100, "checkpoint-100", None),
        (200, "checkpoint-200", "the same file as checkpoint-100"),
        (300, "checkpoint-300", None),
    ]


def test_of_copies_that_one_is_kept_there_that_is_kept_here(hub, tmp_path):
    repo = publish(hub, tmp_path, range(0, 800, 100))
    repo.commit("step100", {"model.safetensors": as_bytes(tmp_path / "made", walk(8)[5]), "config.json": "{}"})
    assert pull(tmp_path / "run").failures == ()
    assert [name for name, _ in weights_sent(hub)].count("model.safetensors") == 7
    theirs = analyze(f"hf://{REPO}", tmp_path / "far.wsa")
    assert [c.step for c in theirs.checkpoints if c.status == "duplicate"] == [100]
    assert_same(analyze(tmp_path / "run", tmp_path / "near.wsa"), theirs)


def test_two_pulls_into_one_folder_take_turns(hub, tmp_path, capsys):
    publish(hub, tmp_path)
    other = PullFolder(tmp_path / "run", HubClient(), f"hf://{REPO}")
    other.prepare()
    assert main(["pull", REPO, str(tmp_path / "run"), "--quiet"]) == 1
    assert "another wsanalyze pull is writing there" in capsys.readouterr().err
    other.close()
    assert main(["pull", REPO, str(tmp_path / "run"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_where_disks_have_no_links_files_are_copied(hub, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    publish(hub, tmp_path, copies=(200,))
    pull(tmp_path / "run")
    one, other = (tmp_path / f"run/checkpoint-{step}/model.safetensors" for step in (100, 200))
    assert not one.samefile(other)
    assert one.read_bytes() == other.read_bytes()
    assert [name for name, _ in weights_sent(hub)].count("model.safetensors") == 3


def test_a_second_pull_fetches_what_is_new(hub, tmp_path):
    repo = publish(hub, tmp_path)
    pull(tmp_path / "run")
    hub.log.clear()
    again = pull(tmp_path / "run")
    assert again.num_bytes == hub.log.bytes_sent() == 0
    assert len(again.names) == 4
    new = as_bytes(tmp_path / "made", walk(5)[4])
    repo.commit("step400", {"model.safetensors": new})
    hub.log.clear()
    assert pull(tmp_path / "run").num_bytes == hub.log.bytes_sent() == len(new)
    assert [step for step, _, _ in order(tmp_path / "run")] == [0, 100, 200, 300, 400]


@pytest.mark.parametrize(
    "note", [None, "", "[]", '{"format": 1}', '{"format": 1, "origin": 3, "files": {"a": 1}}', "\0"]
)
def test_without_a_note_what_is_there_is_read_and_kept(hub, tmp_path, note):
    publish(hub, tmp_path)
    pull(tmp_path / "run")
    path = tmp_path / "run" / NOTE_NAME
    path.unlink() if note is None else path.write_text(note)
    hub.log.clear()
    assert len(pull(tmp_path / "run").names) == 4
    assert hub.log.bytes_sent() == 0
    assert len(json.loads(path.read_text())["files"]) == 8


def test_a_folder_holds_one_run(hub, tmp_path):
    publish(hub, tmp_path)
    pull(tmp_path / "run")
    hub.add_repo("org/other").commit("main", {"model.safetensors": as_bytes(tmp_path / "made", walk(1)[0])})
    with pytest.raises(SourceError, match="holds what was pulled from hf://org/model: name another folder"):
        pull(tmp_path / "run", "org/other")


def test_a_changed_file_is_not_overwritten(hub, tmp_path):
    publish(hub, tmp_path)
    pull(tmp_path / "run")
    mine = tmp_path / "run/checkpoint-100/model.safetensors"
    mine.write_bytes(b"mine")
    pulled = pull(tmp_path / "run")
    assert mine.read_bytes() == b"mine"
    assert pulled.names == ("checkpoint-0", "checkpoint-200", "checkpoint-300")
    assert [str(mine) in text and "not overwritten" in text for text in pulled.failures] == [True]


def test_a_branch_that_moved_is_pulled_again(hub, tmp_path):
    repo = publish(hub, tmp_path)
    pull(tmp_path / "run")
    new = as_bytes(tmp_path / "made", walk(1, seed=7)[0])
    repo.commit("step100", {"model.safetensors": new, "config.json": "{}"})
    assert pull(tmp_path / "run").failures == ()
    assert (tmp_path / "run/checkpoint-100/model.safetensors").read_bytes() == new


def test_a_killed_pull_goes_on(hub, tmp_path):
    publish(hub, tmp_path)
    hub.faults.hang(60, after=3, times=1, files="model.safetensors")
    command = [sys.executable, "-m", "wsanalyze", "pull", REPO, str(tmp_path / "run")]
    where = hub.environment(tmp_path / "home")
    process = subprocess.Popen(command, env=where, stderr=subprocess.DEVNULL)
    while sum(r.file == "model.safetensors" for r in hub.log.records("data")) < 4:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [name for name in files_in(tmp_path / "run") if not name.startswith(".")]
    assert done == [f"checkpoint-{s}/{n}" for s in (0, 100, 200) for n in ("config.json", "model.safetensors")]
    hub.faults.clear()
    hub.log.clear()
    finished = subprocess.run(
        command, env=hub.environment(tmp_path / "home"), check=True, capture_output=True, text=True
    )
    assert [name for name, _ in weights_sent(hub)] == ["model.safetensors"]
    assert "4 checkpoints in" in finished.stdout
    assert f"wsanalyze analyze {tmp_path / 'run'}" in finished.stdout
    assert len(order(tmp_path / "run")) == 4
    assert not [name for name in files_in(tmp_path / "run") if name.startswith(".")]


KILLED = """
import os, signal, sys
from huggingface_hub import file_download
from wsanalyze.cli import main

real = file_download.http_get

def fetch(url, file, **options):
    class Half:
        def __getattr__(self, name):
            return getattr(file, name)

        def write(self, data):
            file.write(data[: len(data) // 2])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    real(url, Half() if options["expected_size"] > 9000 else file, **options)

file_download.http_get = fetch
main(sys.argv[1:])
"""


@pytest.mark.parametrize("fault", [None, "ignore_ranges", "damaged"])
def test_of_a_file_that_was_cut_by_a_kill_the_rest_is_fetched(hub, tmp_path, fault):
    repo = publish(hub, tmp_path, (0, 100))
    run = tmp_path / "run"
    where = hub.environment(tmp_path / "home")
    killed = subprocess.run([sys.executable, "-c", KILLED, "pull", REPO, str(run)], env=where, check=False)
    assert killed.returncode == -signal.SIGKILL
    (partial,) = run.rglob("*.incomplete")
    size = repo.find("step0").files["model.safetensors"].size
    assert partial.stat().st_size == size // 2
    if fault == "damaged":
        partial.write_bytes(b"x" * (size // 2))
    elif fault:
        getattr(hub.faults, fault)()
    hub.log.clear()
    pulled = pull(run)
    assert pulled.failures == ()
    assert len(order(run)) == 2
    sent = sum(record.sent for record in hub.log.records("data") if record.file == "model.safetensors")
    if fault is None:
        assert sent == 2 * size - size // 2
        assert pulled.num_bytes == sent
    else:
        assert 2 * size <= sent <= 3 * size
    assert files_in(run) == sorted(
        f"checkpoint-{s}/{n}" for s in (0, 100) for n in ("config.json", "model.safetensors")
    )


def test_whenever_it_is_stopped_names_stand_for_whole_files(hub, tmp_path, monkeypatch):
    repo = publish(hub, tmp_path, (0, 100, 200), copies=(100,))
    whole = {content.data for content in repo.contents.values()}
    real, moment, done = os.replace, 0, False
    while not done:
        moment += 1
        run, calls = tmp_path / f"run{moment}", itertools.count(1)

        def stop(*names, calls=calls, moment=moment):
            if next(calls) == moment:
                raise KeyboardInterrupt
            real(*names)

        hub.log.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop)
            try:
                pull(run)
                done = True
            except KeyboardInterrupt:
                pass
        named = [run / name for name in files_in(run) if not name.startswith(".")] if run.exists() else []
        assert {path.read_bytes() for path in named} <= whole
        assert len(pull(run).names) == 3
        assert [label for _, label, _ in order(run)] == ["checkpoint-0", "checkpoint-100", "checkpoint-200"]
        assert len(weights_sent(hub)) <= 3 + (not done)  # what was on its way comes again
    assert moment > 6


def test_a_dry_run_makes_nothing(hub, tmp_path, capsys):
    publish(hub, tmp_path, copies=(200,))
    assert main(["pull", REPO, str(tmp_path / "run"), "--dry-run"]) == 0
    assert not (tmp_path / "run").exists()
    said = capsys.readouterr().out
    assert [line.split()[:2] for line in said.splitlines()[:4]] == [
        [f"checkpoint-{s}", f"step{s}"] for s in (0, 100, 200, 300)
    ]
    assert "4 files to fetch" in said  # three of weights, one configuration
    assert "4 equal to others" in said
    assert weights_sent(hub) == []


def test_a_full_disk_is_told_before_anything_is_fetched(hub, tmp_path, monkeypatch, capsys):
    publish(hub, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert main(["pull", REPO, str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "are needed and 1.00 kB are free" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert weights_sent(hub) == []


def test_a_disk_that_fills_meanwhile_is_one_line(hub, tmp_path, monkeypatch):
    from huggingface_hub import file_download

    publish(hub, tmp_path)
    real, calls = file_download.http_get, []

    def fill(*arguments, **options):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(file_download, "http_get", fill)
    with pytest.raises(SourceError, match="no space left on device"):
        pull(tmp_path / "run")
    monkeypatch.setattr(file_download, "http_get", real)
    hub.log.clear()
    assert len(pull(tmp_path / "run").names) == 4
    assert len(weights_sent(hub)) == 5 - 3


def test_wrong_bytes_leave_that_checkpoint_out(hub, tmp_path, capsys):
    publish(hub, tmp_path)
    hub.faults.corrupt(files="model.safetensors", revisions="step100")
    assert main(["pull", REPO, str(tmp_path / "run")]) == 3
    said = capsys.readouterr().err
    assert "step100 is left out: hf://org/model@step100/model.safetensors: its bytes are not those" in said
    assert [step for step, _, _ in order(tmp_path / "run")] == [0, 200, 300]
    hub.faults.clear()
    hub.log.clear()
    assert main(["pull", REPO, str(tmp_path / "run")]) == 0
    assert [name for name, _ in weights_sent(hub)] == ["model.safetensors"]
    assert len(order(tmp_path / "run")) == 4


def test_a_revision_that_goes_meanwhile_is_left_out(hub, tmp_path):
    repo = publish(hub, tmp_path)
    hub.faults.run(lambda: repo.delete_revision("step200"), kinds=("data", "redirect"), files="model.safetensors")
    pulled = pull(tmp_path / "run")
    assert pulled.names == ("checkpoint-0", "checkpoint-100", "checkpoint-300")
    assert len(pulled.failures) == 1


@pytest.mark.parametrize(
    ("options", "words"), [({"gated": True, "readers": frozenset()}, "gated"), (None, "no such repository")]
)
def test_repositories_that_cannot_be_read(hub, tmp_path, capsys, options, words):
    if options is not None:
        repo = hub.add_repo(REPO, **options)
        for step, state in enumerate(walk(3)):
            repo.commit(f"step{step}", {"model.safetensors": as_bytes(tmp_path / "made", state)})
    assert main(["pull", REPO, str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert words in said.splitlines()[-1]
    assert said.count("wsanalyze: ") == 1


@pytest.mark.parametrize("token", [None, "hf_reader"])
def test_private_repositories_and_data_sets(hub, tmp_path, monkeypatch, capsys, token):
    hub.tokens.add("hf_reader")
    repo = hub.add_repo("org/data", "dataset", private=True)
    for step, state in enumerate(walk(3)):
        repo.commit(f"step{step}", {"model.safetensors": as_bytes(tmp_path / "made", state)})
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    run = str(tmp_path / "run")
    assert main(["pull", "org/data", run, "--repo-type", "dataset", "--steps", "1:", "--quiet"]) == (0 if token else 1)
    said = "".join(capsys.readouterr())
    assert "hf_reader" not in said
    if token:
        assert [label for _, label, _ in order(run)] == ["checkpoint-1", "checkpoint-2"]
    else:
        assert "run hf auth login or set HF_TOKEN" in said


def test_revisions_without_weights_are_named(hub, tmp_path, capsys):
    repo = publish(hub, tmp_path)
    repo.commit("step400", {"README.md": "nothing yet"})
    assert main(["pull", f"hf://{REPO}", str(tmp_path / "run")]) == 0
    assert "step400 holds no weights and is left out" in capsys.readouterr().err


def test_a_hub_that_refuses_is_not_asked_for_every_checkpoint(hub, tmp_path):
    publish(hub, tmp_path, range(0, 1000, 100))
    hub.faults.refuse(403, kinds=("head", "redirect", "data"), files="model.safetensors", after=2)
    pulled = pull(tmp_path / "run")
    assert pulled.names == ("checkpoint-0",)
    assert len(pulled.failures) == 9
    assert sum("not asked for any more" in text for text in pulled.failures) == 7


@pytest.mark.parametrize("offline_first", [False, True])
def test_what_is_in_the_cache_is_not_fetched(hub, tmp_path, monkeypatch, offline_first):
    from huggingface_hub import constants, hf_hub_download

    publish(hub, tmp_path)
    for step in (100, 200):
        hf_hub_download(REPO, "model.safetensors", revision=f"step{step}")
    hub.log.clear()
    if offline_first:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pulled = pull(tmp_path / "run")
    assert pulled.failures == ()
    if offline_first:
        assert pulled.names == ("checkpoint-100", "checkpoint-200")
        assert len(hub.log) == 0
    else:
        assert [name for name, _ in weights_sent(hub)].count("model.safetensors") == 2
    assert analyze(tmp_path / "run", tmp_path / "run.wsa").checkpoints[-1].step in (200, 300)


def test_a_damaged_file_in_the_cache_is_not_taken(hub, tmp_path):
    from huggingface_hub import hf_hub_download

    publish(hub, tmp_path)
    cached = Path(hf_hub_download(REPO, "model.safetensors", revision="step100")).resolve()
    data = bytearray(cached.read_bytes())
    data[-1] ^= 1
    cached.write_bytes(data)
    pulled = pull(tmp_path / "run")
    assert pulled.names == ("checkpoint-0", "checkpoint-200", "checkpoint-300")
    assert [text.rpartition(": ")[2] for text in pulled.failures] == [f"remove {cached}"]
    cached.unlink()
    assert len(pull(tmp_path / "run").names) == 4


def sharded(folder, state, form):
    names = list(state)
    files = [f"model-{i + 1:05d}-of-{len(names):05d}.{form}" for i in range(len(names))]
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in zip(names, files, strict=True):
        if form == "safetensors":
            save_file({name: state[name]}, folder / file)
        else:
            torch.save({name: torch.from_numpy(state[name])}, folder / file)
    index = {"metadata": {}, "weight_map": dict(zip(names, files, strict=True))}
    (folder / f"model.{form}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_shards_come_with_their_index(hub, tmp_path, form):
    repo = hub.add_repo(REPO)
    states = walk(3)
    for state in states[1:]:
        state["stem.weight"] = states[0]["stem.weight"]
    for step, state in enumerate(states):
        folder = tmp_path / f"made/step{step}"
        sharded(folder, state, form)
        (folder / "optimizer.bin").write_bytes(b"x" * 3000)
        if form == "safetensors":  # the same in another format
            (folder / "pytorch_model-1.bin").write_bytes(b"x" * 3000)
            (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model-1.bin"}}')
    repo.add_folder_as_branches(tmp_path / "made")
    assert pull(tmp_path / "run").failures == ()
    names = files_in(tmp_path / "run")
    assert len(names) == 3 * 5
    first = [tmp_path / f"run/checkpoint-{step}/model-00001-of-00004.{form}" for step in range(3)]
    assert (
        first[0].samefile(first[1]) == first[0].samefile(first[2]) == (first[0].read_bytes() == first[1].read_bytes())
    )
    assert_same(analyze(tmp_path / "run", tmp_path / "a.wsa"), analyze(f"hf://{REPO}", tmp_path / "b.wsa"))


def test_folders_of_one_revision_and_of_every_revision(hub, tmp_path):
    repo = hub.add_repo(REPO)
    states = walk(3)
    made = {f"checkpoint-{s}/model.safetensors": as_bytes(tmp_path / "made", state) for s, state in enumerate(states)}
    state = {f"checkpoint-{s}/trainer_state.json": json.dumps({"global_step": s}) for s in range(3)}
    repo.commit("main", {**made, **state, "checkpoint-1/optimizer.pt": b"x" * 2000})
    assert pull(tmp_path / "one").failures == ()
    assert [step for step, _, _ in order(tmp_path / "one")] == [0, 1, 2]
    assert (tmp_path / "one/checkpoint-2/trainer_state.json").exists()
    other = hub.add_repo("org/parts")
    for step, weights in enumerate(states):
        data = as_bytes(tmp_path / "made", weights)
        other.commit(f"step{step}", {"unet/model.safetensors": data, "vae/model.safetensors": b"not read"})
    assert pull(tmp_path / "part", "hf://org/parts@step*/unet").failures == ()
    assert files_in(tmp_path / "part") == [f"checkpoint-{step}/model.safetensors" for step in range(3)]


def test_components_stay_in_their_folders(hub, tmp_path):
    repo = hub.add_repo(REPO)
    for name, state in zip(("step1", "step2", "final"), walk(3), strict=True):
        data = as_bytes(tmp_path / "made", state)
        files = {f"{part}/model.safetensors": data + b"" for part in ("unet", "text_encoder")}
        repo.commit(name, {**files, "model_index.json": "{}", "unet/config.json": "{}"})
    for source in (REPO, f"hf://{REPO}@*"):
        folder = tmp_path / source[-1]
        assert pull(folder, source).failures == ()
        assert "checkpoint-1/unet/model.safetensors" in files_in(folder)
    series = analyze(tmp_path / REPO[-1], tmp_path / "a.wsa")
    assert_same(series, analyze(f"hf://{REPO}", tmp_path / "b.wsa"))
    assert "unet.stem.weight" in series.names


def test_commits_are_checkpoints_too(hub, tmp_path):
    repo = hub.add_repo(REPO, initial=False)
    for step, state in enumerate(walk(3)):
        repo.commit(
            "main",
            {"model.safetensors": as_bytes(tmp_path / "made", state)},
            title=f"Training in progress, step {step * 50}",
        )
    assert pull(tmp_path / "run", commits=True).failures == ()
    assert [step for step, _, _ in order(tmp_path / "run")] == [0, 50, 100]


def test_epochs_stages_and_names_without_steps(hub, tmp_path):
    for repo, names in {
        "org/epochs": ["epoch1", "epoch2", "epoch10"],
        "org/stages": ["stage1-step100-tokens1B", "stage1-step200-tokens2B", "stage2-step100-tokens3B"],
    }.items():
        there = hub.add_repo(repo)
        for name, state in zip(names, walk(3), strict=True):
            there.commit(name, {"model.safetensors": as_bytes(tmp_path / "made", state)})
        assert pull(tmp_path / repo, repo).failures == ()
        assert [label for _, label, _ in order(tmp_path / repo)] == names
        assert_same(
            analyze(tmp_path / repo, tmp_path / f"{names[0]}.wsa"),
            analyze(f"hf://{repo}", tmp_path / f"{names[1]}.wsa"),
        )


def test_the_note_of_a_trainer_that_counts_something_else_is_left_out(hub, tmp_path):
    state = json.dumps({"global_step": 7})
    publish(hub, tmp_path, **{"trainer_state.json": state})
    assert pull(tmp_path / "run").failures == ()
    assert [step for step, _, _ in order(tmp_path / "run")] == [0, 100, 200, 300]
    assert not list((tmp_path / "run").rglob("trainer_state.json"))
    hub.log.clear()
    pull(tmp_path / "run")
    assert hub.log.bytes_sent() == 0


def test_hostile_paths_are_refused(hub, tmp_path):
    repo = hub.add_repo(REPO)
    good = as_bytes(tmp_path / "made", walk(1)[0])
    names = ["a\\b.safetensors", "x" * 230 + ".safetensors", "nul.safetensors", "a\tb.safetensors", "ok.safetensors"]
    for step, name in enumerate(names):
        repo.commit(f"step{step}", {name: good + bytes(0)})
    pulled = pull(tmp_path / "run")
    assert len(pulled.failures) == 4
    assert len(pulled.names) == 1
    assert {p.parent.parent for p in (tmp_path / "run").rglob("*.safetensors")} == {tmp_path / "run"}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("source", ["./org/model", "org", "a/b/c/d@", "s3://org/model", "/a/b/c", ""])
def test_what_is_no_address(tmp_path, source, capsys):
    assert main(["pull", source, str(tmp_path / "run")]) in (1, 2)
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().err.count("\n") == 1
