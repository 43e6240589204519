"""What a listing tells, from headers alone: no weight is read, and nothing a second time."""

import os
import re
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import SourceError, UsageError
from wsanalyze.files.local import LocalFiles
from wsanalyze.listing import ListOptions, default_cache_path, list_sequence
from wsanalyze.listing_plan import PlanOptions
from wsanalyze.pipeline import measure_run
from wsanalyze.progress import Progress

HOUR_AGO_NS = 3600 * 10**9


class RecordedFiles(LocalFiles):
    """Local files that note what is read of which."""

    def __init__(self):
        super().__init__()
        self.reads = {}  # path: [(offset, length)]

    def read_into(self, file, offset, buffer):
        self.reads.setdefault(Path(file.url), []).append((file.start + offset, len(buffer)))
        super().read_into(file, offset, buffer)


class NoFiles(LocalFiles):
    """Local files of which nothing may be read."""

    def read_into(self, file, offset, buffer):
        pytest.fail(f"read {len(buffer)} bytes of {file.url} at {offset}")


def save_torch(path, seed, names=("fc.weight", "out.weight"), **more):
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(8, 6, generator=generator) for name in names}
    torch.save({"model": weights, **more}, path)


def settle(folder):
    """Make files old enough to be remembered."""
    for path in folder.rglob("*"):
        then = path.stat().st_mtime_ns - HOUR_AGO_NS
        os.utime(path, ns=(then, then))


def statuses(found):
    return {checkpoint.label: (checkpoint.status, checkpoint.reason) for checkpoint in found.checkpoints}


def not_ok(found):
    return {label: told for label, told in statuses(found).items() if told[0] != "ok"}


def events(found, kind):
    return [event for event in found.events if event.kind == kind]


def listed(source, params="auto", layers=None, **options):
    return list_sequence([str(source)], ListOptions(SequenceOptions(**options), params, layers))


# What there is


def test_a_sequence_is_listed_in_order(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(3), [1000, 20, 300])
    found = listed(folder)
    assert [checkpoint.step for checkpoint in found.checkpoints] == [20, 300, 1000]
    assert [checkpoint.label for checkpoint in found.checkpoints] == ["step_20", "step_300", "step_1000"]
    first = found.checkpoints[0]
    assert first.origin == str(folder / "step_20.safetensors")
    assert first.nbytes == (folder / "step_20.safetensors").stat().st_size
    assert (first.status, first.reason, first.format) == ("ok", None, "safetensors")
    assert (first.num_tensors, first.num_rows, first.dtypes) == (3, 3, {"float32": 3})
    assert (found.num_rows, found.num_everywhere, found.weights, found.params) == (3, 3, "model", "matrices")
    assert found.source == (str(folder),)
    assert found.events == ()
    assert found.num_unreadable == 0


def test_one_checkpoint_is_listed_though_nothing_compares(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(1))
    found = listed(folder / "step_0.safetensors")
    assert [checkpoint.num_rows for checkpoint in found.checkpoints] == [3]


def test_steps_that_nothing_tells_are_unknown(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(2))
    (folder / "step_0.safetensors").rename(folder / "alpha.safetensors")
    (folder / "step_1.safetensors").rename(folder / "beta.safetensors")
    found = list_sequence([str(folder / f"{name}.safetensors") for name in ("beta", "alpha")])
    assert [checkpoint.step for checkpoint in found.checkpoints] == [None, None]
    assert any("nothing else tells their order" in note for note in found.notes)


# Options


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"steps": (20, 40)}, [20, 30, 40]),
        ({"steps": (None, 10)}, [0, 10]),
        ({"every": 3}, [0, 30, 50]),
        ({"steps": (10, None), "every": 2}, [10, 30, 50]),
    ],
)
def test_options_choose_the_checkpoints(save_sequence, make_states, tmp_path, options, steps):
    folder = save_sequence(tmp_path / "run", make_states(6), [0, 10, 20, 30, 40, 50])
    assert [checkpoint.step for checkpoint in listed(folder, **options).checkpoints] == steps


def test_the_order_given_is_kept(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(3), [0, 10, 20])
    sources = [str(folder / f"step_{step}.safetensors") for step in (20, 0, 10)]
    found = list_sequence(sources, ListOptions(SequenceOptions(given_order=True)))
    assert [checkpoint.step for checkpoint in found.checkpoints] == [20, 0, 10]


def test_rows_are_those_of_the_options(tmp_path):
    for step in range(2):
        arrays = {"a.weight": np.full((2, 3), step), "a.bias": np.full(3, step), "b.weight": np.full((4, 5), step)}
        save_file({name: array.astype(np.float32) for name, array in arrays.items()}, tmp_path / f"{step}.safetensors")
    assert [c.num_rows for c in listed(tmp_path).checkpoints] == [2, 2]
    assert [c.num_rows for c in listed(tmp_path, params="all").checkpoints] == [3, 3]
    assert [c.num_rows for c in listed(tmp_path, layers=r"^a\.").checkpoints] == [1, 1]
    assert [skip.name for skip in listed(tmp_path).skips] == ["a.bias"]
    with pytest.raises(UsageError, match="no regular expression"):
        listed(tmp_path, layers="(")
    with pytest.raises(UsageError, match="--params takes"):
        listed(tmp_path, params="some")


def test_the_weights_asked_for_are_listed(tmp_path):
    for step in range(2):
        weights = {"fc.weight": torch.full((3, 3), float(step))}
        torch.save(
            {"state_dict": weights, "state_dict_ema": {**weights, "more.weight": torch.zeros(2, 2)}},
            tmp_path / f"checkpoint-{step}.pth.tar",
        )
    assert [(c.num_rows) for c in listed(tmp_path).checkpoints] == [1, 1]
    found = listed(tmp_path, weights="ema")
    assert ([c.num_rows for c in found.checkpoints], found.weights) == ([2, 2], "ema")


def test_rows_that_nothing_compares_are_told_and_the_checkpoints_listed(tmp_path):
    save_file({"a.weight": np.zeros((2, 2), np.float32)}, tmp_path / "step_1.safetensors")
    save_file({"b.weight": np.zeros((2, 2), np.float32)}, tmp_path / "step_2.safetensors")
    found = listed(tmp_path)
    assert [c.status for c in found.checkpoints] == ["ok", "ok"]
    assert found.num_rows == 0
    assert any("no layer in common" in note for note in found.notes)


# What headers tell of the rows


def test_a_change_of_dtype_is_an_event(tmp_path):
    for step, dtype in enumerate([torch.float32, torch.float32, torch.bfloat16]):
        save_tensors({"fc.weight": torch.ones(4, 4, dtype=dtype)}, tmp_path / f"step_{step}.safetensors")
    found = listed(tmp_path)
    (event,) = events(found, "dtype")
    assert event.checkpoint == 2
    assert (event.evidence["before"], event.evidence["after"]) == ("float32", "bfloat16")
    assert found.checkpoints[2].dtypes == {"bfloat16": 1}


def test_events_count_checkpoints_that_are_left_out(tmp_path):
    for step, size in enumerate([4, 4, 4, 4, 5]):
        arrays = {"embed.weight": np.ones((size, 3), np.float32), "fc.weight": np.ones((2, 2), np.float32)}
        save_file(arrays, tmp_path / f"step_{step}.safetensors")
    (tmp_path / "step_2.safetensors").write_bytes(b"")
    found = listed(tmp_path)
    (event,) = events(found, "resized")
    assert (event.checkpoint, event.layer) == (4, "embed.weight")
    assert (found.num_rows, found.num_everywhere) == (2, 1)


def test_tied_tensors_are_told(tmp_path):
    for step in range(2):
        weight = torch.full((5, 3), float(step))
        torch.save({"embed.weight": weight, "head.weight": weight}, tmp_path / f"step_{step}.pt")
    found = listed(tmp_path)
    (event,) = events(found, "tied")
    assert event.layer == "head.weight"
    assert found.num_rows == 1


def test_tensors_that_come_later_compare_in_some(tmp_path):
    for step in range(3):
        arrays = {"a.weight": np.ones((2, 2), np.float32)} | ({"b.weight": np.ones((2, 2), np.float32)} if step else {})
        save_file(arrays, tmp_path / f"step_{step}.safetensors")
    found = listed(tmp_path)
    assert (found.num_rows, found.num_everywhere) == (2, 1)
    assert [c.num_rows for c in found.checkpoints] == [1, 2, 2]


def test_missing_steps_are_told_readable_or_not(save_sequence, make_states, tmp_path):
    steps = [0, 100, 200, 300, 500, 600, 700]
    folder = save_sequence(tmp_path / "run", make_states(7), steps)
    (folder / "step_600.safetensors").write_bytes(b"")
    (event,) = events(listed(folder), "missing-steps")
    assert event.evidence["missing"] == [400]


# What cannot be read


def test_what_cannot_be_read_is_named_and_the_rest_listed(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(4))
    path = folder / "step_1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    found = listed(folder)
    assert found.num_unreadable == 1
    (label,) = not_ok(found)
    status, reason = statuses(found)[label]
    assert (label, status) == ("step_1", "unreadable")
    assert str(path) in reason
    (event,) = events(found, "unreadable")
    assert event.checkpoint == 1
    assert found.num_everywhere == 3


def test_a_format_that_is_not_read_is_named(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(3))
    (folder / "step_1.safetensors").write_bytes(b"GGUF" + bytes(100))
    status, reason = statuses(listed(folder))["step_1"]
    assert status == "unreadable"
    assert "GGUF" in reason


def test_nothing_readable_is_an_error_that_names_the_first(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(2))
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError, match=r"none of 2 checkpoints can be read; the first: .*step_0"):
        listed(folder)


def test_runs_side_by_side_are_told(save_sequence, make_states, tmp_path):
    for run in ("a", "b"):
        save_sequence(tmp_path / "run" / run, make_states(3))
    with pytest.raises(SourceError, match=r"holds 2 sequences.*run/a, .*run/b"):
        listed(tmp_path / "run")
    with pytest.raises(SourceError, match="several runs, not one sequence"):
        list_sequence([str(tmp_path / "run" / run) for run in ("a", "b")])


@pytest.mark.parametrize("source", ["nowhere", ""])
def test_no_such_source_is_an_error(source, tmp_path):
    with pytest.raises(SourceError):
        list_sequence([str(tmp_path / source) if source else ""])
    with pytest.raises(SourceError, match="no source"):
        list_sequence([])


# Copies


def test_the_same_file_is_a_duplicate_wherever_it_stands(save_sequence, make_states, tmp_path):
    folder = save_sequence(tmp_path / "run", make_states(4))
    os.link(folder / "step_0.safetensors", folder / "step_9.safetensors")
    assert not_ok(listed(folder)) == {"step_9": ("duplicate", "the same file as step_0")}


def test_checksums_prove_copies_that_are_no_neighbours(tmp_path):
    for step in range(8):
        save_torch(tmp_path / f"step_{step}.pt", seed=step, step=step)
    for step in (4, 6):
        save_torch(tmp_path / f"step_{step}.pt", seed=1, step=step)
    found = listed(tmp_path)
    reason = "the same weights as step_1 (their checksums are equal)"
    assert not_ok(found) == {"step_4": ("duplicate", reason), "step_6": ("duplicate", reason)}
    (event,) = events(found, "duplicate")
    assert event.text == f"step_4, step_6 hold {reason}: only one of them is compared"
    assert event.evidence == {"of": 1, "checkpoints": [4, 6], "how": "their checksums are equal"}


def test_equal_storages_under_other_names_are_no_copies(tmp_path):
    save_torch(tmp_path / "step_1.pt", seed=1, names=("a.weight", "b.weight"))
    save_torch(tmp_path / "step_2.pt", seed=1, names=("b.weight", "a.weight"))
    weights = torch.randn(3, 4)
    torch.save({"model": {"c.weight": weights}}, tmp_path / "step_3.pt")
    torch.save({"model": {"c.weight": weights.view(4, 3)}}, tmp_path / "step_4.pt")
    assert not_ok(listed(tmp_path)) == {}


def test_an_analysis_agrees_on_what_checksums_prove(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for step, seed in enumerate([0, 1, 2, 1, 4, 5, 2, 7, 1]):
        save_torch(folder / f"step_{step}.pt", seed=seed, step=step)
    found = listed(folder)
    series = measure_run([str(folder)], tmp_path / "run.wsa").series

    def sets(events):
        return {frozenset((e.evidence["of"], *e.evidence["checkpoints"])) for e in events if e.kind == "duplicate"}

    assert sets(found.events) == sets(series.events) == {frozenset((1, 3, 8)), frozenset((2, 6))}
    assert sum(c.status == "ok" for c in found.checkpoints) == sum(c.status == "ok" for c in series.checkpoints)


def test_a_name_that_points_at_another_is_proven_or_only_possible(tmp_path):
    for step in range(3):
        save_torch(tmp_path / f"step_{step}.pt", seed=step)
    save_torch(tmp_path / "last.pt", seed=2)
    assert not_ok(listed(tmp_path)) == {"last": ("duplicate", "the same weights as step_2")}
    save_torch(tmp_path / "last.pt", seed=9)
    assert not_ok(listed(tmp_path)) == {}
    folder = tmp_path / "safetensors"
    folder.mkdir()
    for name in ("step_0", "step_1", "last"):
        save_file({"fc.weight": np.random.default_rng(0).normal(size=(4, 4))}, folder / f"{name}.safetensors")
    reason = "has the header and the size of 2 others; only the weights tell"
    found = listed(folder)
    assert not_ok(found) == {"last": ("possible duplicate", reason)}
    (event,) = events(found, "possible-duplicate")
    assert (event.checkpoint, event.text) == (2, f"last {reason}")


def test_two_checkpoints_of_one_step_are_suspected(make_states, tmp_path):
    for label, state in zip(["epoch=1-step=10", "epoch=2-step=20", "epoch=2-step=20-v1"], make_states(3), strict=True):
        save_file(state, tmp_path / f"{label}.safetensors")
    reason = "has the step, the header and the size of epoch=2-step=20; only the weights tell"
    assert not_ok(listed(tmp_path)) == {"epoch=2-step=20-v1": ("possible duplicate", reason)}


def test_checkpoints_of_a_plain_run_are_not_suspected(save_sequence, make_states, tmp_path):
    states = make_states(5)
    states[3] = states[1]  # headers cannot tell
    assert not_ok(listed(save_sequence(tmp_path / "run", states))) == {}


def test_torch_files_without_checksums_prove_nothing(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        for step in range(3):
            save_torch(tmp_path / f"step_{step}.pt", seed=step)
    finally:
        torch.serialization.set_crc32_options(before)
    with zipfile.ZipFile(tmp_path / "step_0.pt") as archive:
        assert not any(info.CRC for info in archive.infolist() if "/data/" in info.filename)
    assert not_ok(listed(tmp_path)) == {}


# What is read


def test_no_weight_of_a_safetensors_file_is_read(tmp_path):
    arrays = {f"blocks.{index}.fc.weight": np.ones((16, 16), np.float32) for index in range(20)}
    for step in range(3):
        save_file(arrays, tmp_path / f"step_{step}.safetensors", metadata={"step": str(step)})
    files = RecordedFiles()
    list_sequence([str(tmp_path)], files=files)
    assert len(files.reads) == 3
    for path, reads in files.reads.items():
        (length,) = struct.unpack("<Q", path.read_bytes()[:8])
        assert length > 512  # what a format is told by
        assert all(offset + count <= 8 + length for offset, count in reads)


def test_no_weight_of_a_torch_file_is_read(tmp_path):
    for step in range(3):
        save_torch(tmp_path / f"step_{step}.pt", step, [f"blocks.{index}.fc.weight" for index in range(20)])
    files = RecordedFiles()
    list_sequence([str(tmp_path)], files=files)
    assert len(files.reads) == 3
    for path, reads in files.reads.items():
        spans = list(find_storages(path))
        assert len(spans) == 20
        assert sum(count for _, count in reads) < path.stat().st_size
        for start, stop in spans:
            assert not any(offset < stop and start < offset + count for offset, count in reads)


def find_storages(path):
    """Where the weights of a torch file lie, told by the zip library and the local headers."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if "/data/" in info.filename:
                name_length, extra_length = struct.unpack_from("<2H", data, info.header_offset + 26)
                start = info.header_offset + 30 + name_length + extra_length
                yield start, start + info.file_size


def test_what_was_listed_is_not_opened_again(tmp_path):
    folder, cache = tmp_path / "run", tmp_path / "headers.sqlite"
    folder.mkdir()
    for step in range(3):
        save_torch(folder / f"step_{step}.pt", seed=min(step, 1), step=step, global_step=step * 100)
    settle(folder)
    first = list_sequence([str(folder)], cache=cache)
    assert list_sequence([str(folder)], cache=cache, files=NoFiles()) == first
    assert [c.step for c in first.checkpoints] == [0, 100, 200]
    assert not_ok(first) == {"step_2": ("duplicate", "the same weights as step_1 (their checksums are equal)")}


def test_a_file_that_was_changed_is_read_anew(save_sequence, make_states, tmp_path):
    states, cache = make_states(3), tmp_path / "headers.sqlite"
    folder = save_sequence(tmp_path / "run", states)
    settle(folder)
    before = list_sequence([str(folder)], cache=cache)
    changed = folder / "step_1.safetensors"
    times = changed.stat().st_atime_ns, changed.stat().st_mtime_ns
    save_file({**states[1], "new.weight": np.ones((2, 2), np.float32)}, changed)
    os.utime(changed, ns=times)  # the same time of modification
    files = RecordedFiles()
    after = list_sequence([str(folder)], cache=cache, files=files)
    assert set(files.reads) == {changed}
    assert [c.num_tensors for c in before.checkpoints] == [3, 3, 3]
    assert [c.num_tensors for c in after.checkpoints] == [3, 4, 3]
    assert after == list_sequence([str(folder)])


def test_headers_that_differ_in_metadata_alone_are_told_apart_by_it(make_states, tmp_path):
    for name, step, state in zip("abc", (300, 100, 200), make_states(3), strict=True):
        save_file(state, tmp_path / f"{name}.safetensors", metadata={"global_step": str(step)})
    found = list_sequence([str(tmp_path / f"{name}.safetensors") for name in "abc"])
    assert [(c.label, c.step) for c in found.checkpoints] == [("b", 100), ("c", 200), ("a", 300)]


def test_shards_of_alike_checkpoints_are_not_mixed_up(tmp_path):
    for step in range(3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for part, name in ((1, "a.weight"), (2, "b.weight" if step < 2 else "c.weight")):
            path = folder / f"model-0000{part}-of-00002.safetensors"
            save_file({name: np.full((2, 3 + part), step, np.float32)}, path)
    found = listed(tmp_path)
    assert [c.num_tensors for c in found.checkpoints] == [2, 2, 2]
    assert {c.format for c in found.checkpoints} == {"safetensors, 2 files"}
    assert [c.num_rows for c in found.checkpoints] == [2, 2, 1]
    assert {skip.name: skip.reason for skip in found.skips} == {"c.weight": "only in checkpoint-2"}


def test_the_sequence_may_move_and_is_the_same(save_sequence, make_states, tmp_path, monkeypatch):
    folder = save_sequence(tmp_path / "run", make_states(2))
    settle(folder)
    cache = tmp_path / "headers.sqlite"
    list_sequence([str(folder)], cache=cache)
    monkeypatch.chdir(folder.parent)
    found = list_sequence(["run"], cache=cache, files=NoFiles())
    assert found.checkpoints[0].origin == str(Path("run/step_0.safetensors"))
    shutil.copytree(folder, tmp_path / "copy")
    assert load_file(tmp_path / "copy" / "step_0.safetensors")
    files = RecordedFiles()
    list_sequence([str(tmp_path / "copy")], cache=cache, files=files)
    assert len(files.reads) == 2


# Waiting


def test_progress_is_told_only_where_there_is_something_to_wait_for(save_sequence, make_states, tmp_path, monkeypatch):
    folder = save_sequence(tmp_path / "run", make_states(3))
    told = []
    list_sequence([str(folder)], progress=told.append)
    assert told == []
    monkeypatch.setattr("wsanalyze.listing._PATIENCE_SECONDS", -1.0)
    list_sequence([str(folder)], progress=told.append)
    assert told == [Progress("reading headers", done, 3, "checkpoints") for done in range(4)]


def test_the_cache_lies_in_the_users_cache_folder():
    assert re.fullmatch(r".*wsanalyze.*headers\.sqlite", str(default_cache_path()))


# The plan


@pytest.mark.parametrize("remembered", [False, True])
def test_a_plan_knows_where_tensors_lie_though_the_cache_does_not(save_sequence, make_states, tmp_path, remembered):
    folder = save_sequence(tmp_path / "run", make_states(4), [1, 2, 3, 4])
    settle(folder)
    cache = tmp_path / "headers.sqlite"
    if remembered:
        list_sequence([str(folder)], cache=cache)
    options = ListOptions(plan=PlanOptions("cpu", 64_000_000))
    found = list_sequence([str(folder)], options, cache=cache)
    run = measure_run([str(folder)], tmp_path / "run.wsa")
    assert found.plan.nbytes == run.effort.nbytes > 0
    assert found.plan.problem is None
    assert found.plan.fetch is None


def test_a_plan_leaves_out_what_an_analysis_does(tmp_path):
    for step in (1, 2, 3):
        save_torch(tmp_path / f"step_{step}.pt", step)
    shutil.copy(tmp_path / "step_3.pt", tmp_path / "last.pt")
    (tmp_path / "step_4.pt").write_bytes((tmp_path / "step_3.pt").read_bytes()[:-100])
    found = list_sequence([str(tmp_path)], ListOptions(plan=PlanOptions("cpu", 64_000_000)))
    assert found.num_unreadable == 1
    assert found.plan.nbytes == 3 * 2 * 8 * 6 * 4


def test_a_list_without_a_plan_has_none(tmp_path):
    save_torch(tmp_path / "step_1.pt", 1)
    assert listed(tmp_path).plan is None
