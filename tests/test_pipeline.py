"""The measuring road: resumed, extended, invalidated, refused; and the two real trainings measured independently."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from wsanalyze.changes import base, plan
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import SourceError, StoreError
from wsanalyze.hub.session import HubOptions
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.run_paths import common_folder, default_run_path, name_sources
from wsanalyze.series import State
from wsanalyze.store.run_file import RunFile

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONVNET, TRANSFORMER = FIXTURES / "digits-convnet", FIXTURES / "digits-transformer"
SHAPES = {"stem.weight": (90, 50), "blocks.0.fc.weight": (33, 31), "blocks.1.fc.weight": (200, 100)}
NUM_BYTES = 4 * sum(rows * columns for rows, columns in SHAPES.values())


@pytest.fixture
def source(save_sequence, make_states, tmp_path):
    return save_sequence(tmp_path / "run", make_states(4, SHAPES))


@pytest.fixture
def run_path(tmp_path):
    return tmp_path / "run.wsa"


def measure(source, run, files=None, **options):
    more = {} if files is None else {"files": files, "progress": files.progress}
    if files is not None:
        files.reads.clear()
    return measure_run([str(source)], run, AnalyzeOptions(**options), **more).series


# Resuming


def test_a_second_start_reads_no_weights(source, run_path, watched_files):
    first = measure(source, run_path, watched_files)
    assert watched_files.num_bytes() == 4 * NUM_BYTES
    second = measure(source, run_path, watched_files)
    assert watched_files.reads == []
    assert second.sums.values.tobytes() == first.sums.values.tobytes()


def test_a_new_checkpoint_costs_its_own_bytes_and_its_predecessors(source, run_path, watched_files):
    last = source / "step_3.safetensors"
    kept = last.read_bytes()
    last.unlink()
    first = measure(source, run_path, watched_files)
    last.write_bytes(kept)
    second = measure(source, run_path, watched_files)
    assert watched_files.names() == {"step_2.safetensors", "step_3.safetensors"}
    assert watched_files.num_bytes() == 2 * NUM_BYTES
    assert second.sums.values[:, :2].tobytes() == first.sums.values.tobytes()
    assert second.sums.values.tobytes() == measure(source, run_path.with_name("fresh.wsa")).sums.values.tobytes()


def test_a_checkpoint_in_between_is_taken_in(source, run_path, watched_files):
    path = source / "step_1.safetensors"
    kept = path.read_bytes()
    path.unlink()
    assert measure(source, run_path, watched_files).pairs == ((0, 1), (1, 2))
    path.write_bytes(kept)
    whole = measure(source, run_path, watched_files)
    assert watched_files.names() == {f"step_{step}.safetensors" for step in (0, 1, 2)}
    assert whole.sums.values.tobytes() == measure(source, run_path.with_name("fresh.wsa")).sums.values.tobytes()


def flip_a_weight(path, *, keep_times):
    """Change the sign of one weight in the middle of the file, where no sample of a fingerprint need fall."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    place = len(data) // 2 // 4 * 4 + 3 + len(data) % 4
    data[place] ^= 0x80
    path.write_bytes(data)
    if keep_times:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_changed_file_is_measured_again(source, run_path, watched_files, keep_times):
    before = measure(source, run_path, watched_files)
    flip_a_weight(source / "step_1.safetensors", keep_times=keep_times)
    after = measure(source, run_path, watched_files)
    assert watched_files.names() == {f"step_{step}.safetensors" for step in (0, 1, 2)}
    assert after.sums.values.tobytes() != before.sums.values.tobytes()
    fresh = measure(source, run_path.with_name("fresh.wsa"))
    assert after.sums.values.tobytes() == fresh.sums.values.tobytes()


def test_copies_that_differ_where_nobody_looks_are_told_apart(source, run_path):
    """Three files of one size, one time and equal samples, as an unpacked archive may hold them."""
    path = source / "step_0.safetensors"
    for step in (1, 2, 3):
        shutil.copy2(path, source / f"step_{step}.safetensors")
    flip_a_weight(source / "step_2.safetensors", keep_times=True)
    series = measure(source, run_path)
    assert series.pairs == ((0, 2),)  # the others are copies of the first, whatever stands between
    assert series.sums["changed"].sum(axis=0).tolist() == [1]


def test_other_rows_of_the_same_source_are_measured_beside(source, run_path, watched_files):
    measure(source, run_path, watched_files, layers="blocks")
    only_blocks = watched_files.num_bytes()
    series = measure(source, run_path, watched_files)
    assert watched_files.num_bytes() == 4 * NUM_BYTES - only_blocks
    assert len(series.rows) == 3
    assert measure(source, run_path, watched_files, layers="blocks").names == (
        "blocks.0.fc.weight",
        "blocks.1.fc.weight",
    )
    assert watched_files.reads == []


KILLED = """
import os, sys
from pathlib import Path
from wsanalyze.changes import base, plan
from wsanalyze.files.local import LocalFiles
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.store import run_file

base.SEGMENT_ELEMENTS, plan.MIN_MEMORY_BYTES, run_file._COMMIT_SECONDS = 1000, 20_000, 0.0
source, run, moment = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
measuring, count = False, 0

class DyingFiles(LocalFiles):
    def read_into(self, file, offset, buffer):
        global count
        count += measuring
        if count == moment:
            os.kill(os.getpid(), 9)
        super().read_into(file, offset, buffer)

def progress(progress, /):
    global measuring
    measuring = progress.stage == "measuring"

measure_run([source], run, AnalyzeOptions(memory_bytes=20_000), files=DyingFiles(), progress=progress)
"""


def test_a_run_that_was_killed_goes_on_where_it_stopped(source, run_path, watched_files, monkeypatch):
    monkeypatch.setattr(base, "SEGMENT_ELEMENTS", 1000)
    monkeypatch.setattr(plan, "MIN_MEMORY_BYTES", 20_000)
    for moment in (1, 20, 45):  # before anything, within the largest tensor, near the end
        command = [sys.executable, "-c", KILLED, str(source), str(run_path), str(moment)]
        assert subprocess.run(command, check=False).returncode == -9
    with pytest.raises(StoreError, match="holds no finished analysis yet"), RunFile.open(run_path) as store:
        store.load_series()
    series = measure(source, run_path, watched_files, memory_bytes=20_000)
    assert watched_files.num_bytes() < 3 * NUM_BYTES
    fresh = measure(source, run_path.with_name("fresh.wsa"), memory_bytes=20_000)
    assert series.sums.values.tobytes() == fresh.sums.values.tobytes()


def test_an_interrupt_keeps_what_was_measured(source, run_path, watched_files, monkeypatch):
    monkeypatch.setattr(base, "SEGMENT_ELEMENTS", 1000)
    monkeypatch.setattr(plan, "MIN_MEMORY_BYTES", 20_000)

    def interrupt(count):
        if count == 80:
            raise KeyboardInterrupt

    watched_files.on_read = interrupt
    with pytest.raises(KeyboardInterrupt):
        measure(source, run_path, watched_files, memory_bytes=20_000)
    watched_files.on_read = None
    measure(source, run_path, watched_files, memory_bytes=20_000)
    assert 0 < watched_files.num_bytes() < 3 * NUM_BYTES


# Whose run file


def test_a_run_file_of_another_source_or_other_weights_is_refused(
    source, run_path, make_states, save_sequence, tmp_path
):
    measure(source, run_path)
    other = save_sequence(tmp_path / "other", make_states(2, SHAPES))
    with pytest.raises(StoreError, match="was made for source"):
        measure(other, run_path)
    folder = tmp_path / "torch"
    folder.mkdir()
    for step in range(2):
        model = {"w.weight": torch.full((2, 2), 1.0 + step)}
        torch.save({"model": model, "model_ema": {"w.weight": torch.ones(2, 2)}}, folder / f"step_{step}.pt")
    run = tmp_path / "torch.wsa"
    assert measure(folder, run).metric().tolist() == [[1.0]]
    with pytest.raises(StoreError, match="was made for weights 'model', not 'ema'"):
        measure(folder, run, sequence=SequenceOptions(weights="ema"))
    ema = measure(folder, tmp_path / "ema.wsa", sequence=SequenceOptions(weights="ema"))
    assert ema.metric_states().tolist() == [[State.UNCHANGED]]


def test_nothing_is_made_for_a_source_that_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty", "no*where", "s3://some/where"):
        with pytest.raises(SourceError):
            measure(tmp_path / name if "://" not in name else name, tmp_path / "runs" / "run.wsa")
    with pytest.raises(SourceError):
        measure_run([], tmp_path / "runs" / "run.wsa")
    assert not (tmp_path / "runs").exists()


def test_a_run_file_of_another_source_is_not_blamed_for_a_typing_error(source, run_path):
    measure(source, run_path)
    with pytest.raises(SourceError, match="no such file or folder"):
        measure(source.with_name("rnu"), run_path)


def test_the_default_run_file_lies_in_the_cache_and_is_found_again(source, watched_files):
    first = measure_run([str(source)], files=watched_files, progress=watched_files.progress)
    assert first.path.is_relative_to(os.environ["XDG_CACHE_HOME"])
    assert first.path.name.startswith("run-")
    watched_files.reads.clear()
    again = measure_run([f"{source}/", f"{source}/../run"][:1], files=watched_files, progress=watched_files.progress)
    assert again.path == first.path
    assert watched_files.reads == []


def test_the_same_place_has_the_same_key_however_it_is_spelt(source, monkeypatch):
    key = str(source)
    assert common_folder([str(source)]) == key
    assert common_folder([f"{source}/"]) == key
    assert common_folder([f"{source}/../run"]) == key
    assert common_folder([str(source / "step_*.safetensors")]) == key
    assert common_folder([str(path) for path in sorted(source.iterdir())]) == key
    monkeypatch.chdir(source)
    assert common_folder(["."]) == key
    assert common_folder(["step_*"]) == key
    link = source.with_name("link")
    link.symlink_to(source)
    assert common_folder([str(link)]) == key


def test_odd_sources_have_a_key_too(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for source in (str(loop), "~nobody-of-that-name/runs", "*", "[", "/"):
        assert Path(common_folder([source])).is_absolute()


def test_run_files_of_different_sources_have_different_names():
    names = {
        default_run_path(key, weights).name
        for key in ("/a/run", "/b/run", "/b/\udc80", "/")
        for weights in ("model", "ema")
    }
    assert len(names) == 8
    assert default_run_path("/a/run", "auto") == default_run_path("/a/run", "model")
    assert default_run_path("/a/" + "x" * 300).name.endswith(".wsa")
    assert len(default_run_path("/a/" + "x" * 300).name) < 100


# What becomes of the checkpoints


def test_unreadable_and_copied_checkpoints_are_told(source, run_path):
    (source / "step_4.safetensors").write_bytes(b"")
    shutil.copy(source / "step_3.safetensors", source / "last.safetensors")
    series = measure(source, run_path)
    assert [record.status for record in series.checkpoints] == ["ok", "ok", "ok", "ok", "unreadable", "duplicate"]
    assert series.pairs == ((0, 1), (1, 2), (2, 3))
    kinds = {event.kind: event for event in series.events}
    assert kinds["unreadable"].checkpoint == 4
    assert kinds["duplicate"].checkpoint == 5
    assert "step_3" in kinds["duplicate"].text
    assert "is empty" in kinds["unreadable"].text


def test_one_checkpoint_is_listed(source, run_path):
    series = measure(source / "step_0.safetensors", run_path)
    assert len(series.checkpoints) == 1
    assert len(series.rows) == 3
    assert series.pairs == ()
    assert series.metric().shape == (3, 0)


def test_none_that_can_be_read_is_an_error(source, run_path):
    for path in source.iterdir():
        path.write_bytes(b"rubbish" * 100)
    with pytest.raises(SourceError, match="none of 4 checkpoints can be read"):
        measure(source, run_path)
    assert not run_path.exists()


# The two trainings under fixtures/, measured anew with torch in float64


def read_convnet(step):
    tensors = {}
    for shard in sorted((CONVNET / f"checkpoint-{step}").glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            tensors |= {name: file.get_tensor(name).double() for name in file.keys()}  # noqa: SIM118 - no mapping
    return tensors


def read_transformer(step, weights):
    return {n: w.double() for n, w in torch.load(TRANSFORMER / f"step_{step}.pt", weights_only=False)[weights].items()}


def check_against_torch(series, states):
    assert len(series.pairs) == len(states) - 1
    values = series.metric()
    for row, name in enumerate(series.names):
        for pair, (before, after) in enumerate(zip(states, states[1:], strict=False)):  # noqa: RUF007
            expected = float((after[name] - before[name]).abs().sum() / before[name].abs().sum())
            assert values[row, pair] == pytest.approx(expected, rel=1e-6, abs=0), (name, pair)


def test_the_convnet(tmp_path):
    series = measure(CONVNET, tmp_path / "run.wsa")
    steps = [0, 20, 40, 80, 120, 200, 300, 400, 600, 800, 1000]
    assert [record.step for record in series.checkpoints] == steps
    assert len(series.rows) == 21
    check_against_torch(series, [read_convnet(step) for step in steps])
    stem = series.metric_states()[series.names.index("stem.conv.weight")].tolist()
    assert stem == [None] * 7 + [State.UNCHANGED] * 3
    assert (series.metric_states() == State.UNCHANGED).sum() == 3
    median = np.median(series.metric(), axis=0)
    np.testing.assert_allclose(
        median,
        [0.1386, 0.1461, 0.1880, 0.1011, 0.1138, 0.0966, 0.0925, 0.0799, 0.0097, 0.0074],
        atol=6e-5,
    )


@pytest.mark.parametrize("weights", ["model", "model_ema"])
def test_the_transformer(tmp_path, weights):
    options = SequenceOptions(weights="ema" if weights == "model_ema" else "auto")
    series = measure(TRANSFORMER, tmp_path / "run.wsa", sequence=options)
    steps = [0, 25, 100, 200, 400, 600, 800, 1000, 1500, 2000]
    assert [record.step for record in series.checkpoints if record.status == "ok"] == steps
    assert [record.label for record in series.checkpoints if record.status == "duplicate"] == ["last"]
    assert len(series.rows) == 20
    check_against_torch(series, [read_transformer(step, weights) for step in steps])
    if weights == "model":
        assert series.metric()[series.names.index("cls_token"), 0] == pytest.approx(660, rel=0.01)


def test_copies_are_told_by_their_weights_and_not_by_samples(source, run_path):
    path = source / "step_0.safetensors"
    for step in (1, 2):
        shutil.copy(path, source / f"step_{step}.safetensors")
    flip_a_weight(source / "step_2.safetensors", keep_times=False)
    series = measure(source, run_path)
    assert [record.status for record in series.checkpoints] == ["ok", "duplicate", "ok", "ok"]
    assert series.sums["changed"].sum(axis=0)[0] == 1
    (event,) = [event for event in series.events if event.kind == "duplicate"]
    assert (event.checkpoint, event.evidence["of"], event.evidence["checkpoints"]) == (1, 0, [1])
    assert "every byte was compared" in event.text


def test_a_run_file_is_made_for_a_kind_of_repository_and_its_branches_or_commits():
    names = {
        name_sources(["hf://o/r"], HubOptions()),
        name_sources(["hf://o/r"], HubOptions(kind="dataset")),
        name_sources(["hf://o/r"], HubOptions(commits=True)),
    }
    assert len(names) == 3
    assert name_sources(["hf://datasets/o/r"], HubOptions()) == name_sources(["hf://o/r"], HubOptions(kind="dataset"))
    assert name_sources(["hf://o/r", "hf://o/a"], HubOptions()) == name_sources(["hf://o/a", "hf://o/r"], HubOptions())
