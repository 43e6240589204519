"""From sources to a sequence: order, copies, weights chosen, what cannot be read told and passed over."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import SourceError, UsageError
from wsanalyze.files.local import LocalFiles
from wsanalyze.layers.match import match_layers
from wsanalyze.opening import open_checkpoint
from wsanalyze.progress import silent
from wsanalyze.sequence import open_sequence
from wsanalyze.sources import locate_checkpoints

SHARED = Path(__file__).parents[2] / "shared" / "checkpoints"


@pytest.fixture
def open_at():
    def open_at(*sources, fingerprints=None, progress=silent, **options):
        with LocalFiles() as source:
            found = {} if fingerprints is None else fingerprints
            wanted = SequenceOptions(**options)
            located = locate_checkpoints([str(s) for s in sources], wanted.base)
            return open_sequence(located, wanted, source, found, progress)

    return open_at


def state(seed, **others):
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(4, 4, generator=generator), "b": torch.randn(4, generator=generator)} | others


@pytest.fixture
def run(tmp_path):
    """A folder with `step_<n>.pt` for a few steps."""
    for step in (100, 20, 3):
        torch.save({"state_dict": state(step), "global_step": step}, tmp_path / f"step_{step}.pt")
    return tmp_path


def alive(sequence):
    return [member.checkpoint.label for member in sequence.members if member.alive]


def told(sequence):
    return {
        member.checkpoint.label: member.checkpoint.problem or member.checkpoint.duplicate_of
        for member in sequence.members
        if not member.alive
    }


def test_a_sequence_in_order(run, open_at):
    found = open_at(run)
    assert alive(found) == ["step_3", "step_20", "step_100"]
    assert [member.checkpoint.step for member in found.members] == [3, 20, 100]
    assert found.weights == "model"
    assert found.notes == ("ordered by global_step in the files",)
    member = found.members[0]
    assert member.format == "torch"
    assert member.ordered
    assert list(member.tensors) == ["a.weight", "b"]
    assert member.checkpoint.nbytes == (run / "step_3.pt").stat().st_size
    assert len({member.identity for member in found.members}) == 3
    assert len({member.fingerprint for member in found.members}) == 3


def test_copies_are_told_and_take_no_part(run, open_at):
    os.link(run / "step_100.pt", run / "last.pt")
    torch.save({"state_dict": state(20), "global_step": 20}, run / "best.pt")
    found = open_at(run)
    assert alive(found) == ["step_3", "step_20", "step_100"]
    assert told(found) == {"last": "the same file as step_100", "best": "the same weights as step_20"}


def test_a_link_as_the_caches_of_downloads_have_them(tmp_path, open_at):
    for step in (1, 2):
        (tmp_path / "blobs").mkdir(exist_ok=True)
        save_file(state(step), tmp_path / "blobs" / str(step))
        (tmp_path / "run" / f"checkpoint-{step}").mkdir(parents=True)
        (tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors").symlink_to(f"../../blobs/{step}")
    assert alive(open_at(tmp_path / "run")) == ["checkpoint-1", "checkpoint-2"]


def test_one_bad_checkpoint_does_not_lose_the_others(run, open_at):
    data = (run / "step_20.pt").read_bytes()
    (run / "step_20.pt").write_bytes(data[: len(data) // 2])
    (run / "step_30.pt").write_bytes(b"")
    (run / "step_40.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    (run / "step_50.pt").symlink_to("nothing")
    found = open_at(run)
    assert alive(found) == ["step_3", "step_100"]
    assert [member.checkpoint.step for member in found.members] == [3, 20, 30, 40, 50, 100]
    reasons = told(found)
    assert "truncated or damaged zip archive" in reasons["step_20"]
    assert "is empty" in reasons["step_30"]
    assert "git lfs pull" in reasons["step_40"]
    assert "no such file" in reasons["step_50"]


def test_a_file_without_weights_is_no_part_of_the_sequence(run, open_at):
    torch.save({"epoch": 3}, run / "step_7.pt")
    found = open_at(run)
    assert alive(found) == ["step_3", "step_20", "step_100"]
    assert len(found.members) == 3
    assert "step_7 is left out: it holds no weights" in found.notes
    torch.save({"w": torch.zeros(2, 2).to_sparse()}, run / "step_7.pt")
    assert any("holds no weights that can be read ('w': rebuilt by" in note for note in open_at(run).notes)


def test_a_file_that_changes_between_listing_and_reading(run):
    located = locate_checkpoints([str(run)]).checkpoints
    torch.save(state(0), run / "step_20.pt")
    torch.save({"state_dict": state(20), "note": "longer"}, run / "step_20.pt")
    with LocalFiles() as source:
        opened = {c.label: open_checkpoint(c, source, {}) for c in located}
    assert "changed since it was listed" in opened["step_20"].checkpoint.problem
    assert opened["step_3"].checkpoint.problem is None


def test_wrappers_come_off(tmp_path, open_at):
    torch.save({f"module._orig_mod.{name}": tensor for name, tensor in state(1).items()}, tmp_path / "step_1.pt")
    torch.save(state(2), tmp_path / "step_2.pt")
    found = open_at(tmp_path)
    assert [list(member.tensors) for member in found.members] == [["a.weight", "b"]] * 2
    assert found.members[0].tensors["b"].name == "b"


class TestWeights:
    @pytest.fixture
    def both(self, tmp_path):
        for step in (1, 2):
            torch.save({"state_dict": state(step), "state_dict_ema": state(step + 10)}, tmp_path / f"step_{step}.pt")
        return tmp_path

    def test_the_model_by_default_and_said_so(self, both, open_at):
        found = open_at(both)
        assert found.weights == "model"
        assert "the model weights are read (--weights chooses)" in found.notes

    def test_the_average_where_asked_for(self, both, open_at):
        model, ema = open_at(both), open_at(both, weights="ema")
        assert ema.weights == "ema"
        assert model.members[0].tensors["b"].pieces != ema.members[0].tensors["b"].pieces

    def test_the_average_where_there_is_nothing_else(self, tmp_path, open_at):
        for step in (1, 2):
            torch.save({"model": None, "ema": state(step)}, tmp_path / f"step_{step}.pt")
        assert open_at(tmp_path).weights == "ema"

    def test_the_two_are_never_mixed(self, both, open_at):
        torch.save({"ema": state(3)}, both / "step_3.pt")
        assert open_at(both).weights == "ema"  # what most of them have
        found = open_at(both, weights="model")
        assert alive(found) == ["step_1", "step_2"]
        assert "holds no model weights" in told(found)["step_3"]

    def test_none_of_those_asked_for(self, run, open_at):
        with pytest.raises(SourceError, match="no checkpoint holds ema weights; try --weights auto"):
            open_at(run, weights="ema")

    def test_those_held_but_not_to_be_derived_are_not_said_to_be_missing(self, tmp_path, open_at):
        for step in (1, 2):
            folder = tmp_path / f"checkpoint-{step}"
            folder.mkdir()
            factors = {"q.lora_A.weight": torch.ones(4, 8) * step, "q.lora_B.weight": torch.ones(8, 4)}
            save_file(factors, folder / "adapter_model.safetensors")
        with pytest.raises(
            SourceError,
            match=r"none of 2 checkpoints .* the first: .*checkpoint-1: --merge-lora needs adapter_config\.json beside",
        ):
            open_at(tmp_path, merge_lora=True)
        (tmp_path / "checkpoint-2" / "adapter_config.json").write_text('{"r": 4, "lora_alpha": "x"}')
        with pytest.raises(SourceError, match=r"adapter_config\.json: lora_alpha is no number .* 'x'"):
            open_at(tmp_path / "checkpoint-2", merge_lora=True)

    def test_weights_that_are_not_known(self, run, open_at):
        with pytest.raises(UsageError, match="--weights takes auto, model or ema, not 'raw'"):
            open_at(run, weights="raw")


class TestSelection:
    @pytest.mark.parametrize(
        ("options", "labels"),
        [
            ({"steps": (20, None)}, ["step_20", "step_100"]),
            ({"steps": (None, 20)}, ["step_3", "step_20"]),
            ({"steps": (3, 3)}, ["step_3"]),
            ({"every": 2}, ["step_3", "step_100"]),
            ({"every": 10}, ["step_3", "step_100"]),
        ],
    )
    def test_by_step_and_by_position(self, run, open_at, options, labels):
        assert alive(open_at(run, **options)) == labels

    def test_positions_do_not_count_copies(self, run, open_at):
        os.link(run / "step_20.pt", run / "best.pt")
        torch.save({"state_dict": state(5), "global_step": 50}, run / "step_50.pt")
        assert alive(open_at(run, every=2)) == ["step_3", "step_50", "step_100"]

    def test_nothing_left(self, run, open_at):
        with pytest.raises(SourceError, match="no checkpoint with weights is left to read"):
            open_at(run, steps=(1000, None))

    def test_the_order_given(self, run, open_at):
        found = open_at(run / "step_100.pt", run / "step_3.pt", given_order=True)
        assert alive(found) == ["step_100", "step_3"]


def test_several_sources_are_one_sequence(run, tmp_path_factory, open_at):
    other = tmp_path_factory.mktemp("other")
    torch.save({"state_dict": state(7), "global_step": 50}, other / "step_50.pt")
    assert alive(open_at(run, other)) == ["step_3", "step_20", "step_50", "step_100"]
    shell = sorted(str(path) for path in run.glob("step*"))  # as text: step_100, step_20, step_3
    assert alive(open_at(*shell)) == ["step_3", "step_20", "step_100"]
    assert alive(open_at(run / "step_*.pt", run / "step_3.pt")) == ["step_3", "step_20", "step_100"]


def test_none_can_be_read(tmp_path, open_at):
    for step in (1, 2):
        (tmp_path / f"step_{step}.pt").write_bytes(b"<html>")
    with pytest.raises(SourceError, match=r"none of 2 checkpoints can be read; the first: .*step_1\.pt: is a web page"):
        open_at(tmp_path)


@pytest.mark.parametrize("source", ["gs://org/repo", "s3://bucket/run"])
def test_addresses_are_not_read(open_at, source):
    with pytest.raises(SourceError, match=f"{source}: only files, folders and hf:// are read"):
        open_at(source)


def test_fingerprints_are_taken_once(run, open_at):
    known = {}
    first = open_at(run, fingerprints=known)
    assert len(known) == 3
    marked = dict.fromkeys(known, "f" * 32)
    second = open_at(run, fingerprints=marked)
    assert {member.fingerprint for member in second.members} != {member.fingerprint for member in first.members}
    assert len({member.fingerprint for member in second.members}) == 1


def test_an_identity_changes_with_the_file(run, open_at):
    before = {member.checkpoint.label: member.identity for member in open_at(run).members}
    torch.save({"state_dict": state(21), "global_step": 20}, run / "step_20.pt")
    after = {member.checkpoint.label: member.identity for member in open_at(run).members}
    assert {label for label in before if before[label] != after[label]} == {"step_20"}


def test_progress_is_told(run, open_at):
    seen = []
    open_at(run, progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_name_that_is_no_text_does_no_harm(tmp_path, open_at):
    path = tmp_path / os.fsdecode(b"step_1\xff.pt")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system wants UTF-8")
    torch.save(state(1), tmp_path / "x.pt")
    (tmp_path / "x.pt").rename(path)
    torch.save(state(2), tmp_path / "step_2.pt")
    (tmp_path / os.fsdecode(b"step_3\xff.pt")).write_bytes(b"PK\x03\x04")
    known = {}
    found = open_at(tmp_path, fingerprints=known)
    assert len(alive(found)) == 2
    texts = [*found.notes, *(t for pair in known for t in pair)]
    for member in found.members:
        checkpoint = member.checkpoint
        texts += [checkpoint.label, checkpoint.origin, checkpoint.problem or ""]
    for text in texts:
        text.encode()


def test_a_folder_of_components_is_one_checkpoint(tmp_path, open_at):
    torch.save(state(1), tmp_path / "actor.pt")
    torch.save(state(2), tmp_path / "critic.pt")
    found = open_at(tmp_path)
    assert len(found.members) == 1
    assert set(found.members[0].tensors) == {"actor.a.weight", "actor.b", "critic.a.weight", "critic.b"}
    assert found.members[0].format == "torch, 2 files"


def test_formats_may_change_along_the_way(run, open_at):
    save_file(state(200), run / "step_200.safetensors", {"global_step": "200"})
    found = open_at(run)
    assert alive(found)[-1] == "step_200"
    assert [member.ordered for member in found.members] == [True, True, True, False]


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the sequences trained by others are not here")


@needs_shared
@pytest.mark.parametrize(
    ("name", "steps", "num_rows", "num_skips"),
    [
        ("neurosity", list(range(1, 11)), 7, 11),
        ("pointcloud-gnn", [0, 100, 200, 300, 400, 500], 7, 9),
        ("snake-rl", list(range(50, 1000, 100)), 3, 3),
        ("roberta-agnews-lora", [500, 1000, 1200], 74, 103),
    ],
)
def test_sequences_trained_by_others(open_at, name, steps, num_rows, num_skips):
    found = open_at(SHARED / name)
    assert [member.checkpoint.step for member in found.members] == steps
    assert all(member.alive for member in found.members)
    match = match_layers(
        [member.tensors for member in found.members],
        [member.checkpoint.label for member in found.members],
        ordered=all(member.ordered for member in found.members),
    )
    assert (len(match.rows), len(match.skips)) == (num_rows, num_skips)
    assert np.all(match.states == None)  # noqa: E711 - elementwise


@needs_shared
def test_weights_of_others_are_those_that_torch_loads(open_at):
    for member in open_at(SHARED / "pointcloud-gnn").members:
        loaded = torch.load(member.checkpoint.files[0].url, map_location="cpu", weights_only=True)
        loaded = loaded.get("model_state_dict", loaded)
        with LocalFiles() as source:
            for name, info in member.tensors.items():
                data = np.empty(info.pieces[0].nbytes, dtype=np.uint8)
                source.read_into(info.pieces[0].file, info.pieces[0].offset, data.data)
                np.testing.assert_array_equal(info.view(data).reshape(info.shape), loaded[name].numpy())


@needs_shared
def test_legacy_files_are_read(open_at):
    members = open_at(SHARED / "lpips-alex").members
    assert [member.format for member in members] == ["torch before 1.6"] * 2
    assert [len(member.tensors) for member in members] == [5, 5]


def test_a_damaged_index_is_a_problem_of_its_checkpoint_alone(tmp_path, open_at):
    for step in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file(state(step), folder / "model-00001-of-00001.safetensors")
        names = dict.fromkeys(state(step), "model-00001-of-00001.safetensors" if step != 2 else "../x.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    found = open_at(tmp_path)
    assert alive(found) == ["checkpoint-1", "checkpoint-3"]
    assert [member.checkpoint.step for member in found.members] == [1, 2, 3]
    assert "names a shard that is no file of its folder" in told(found)["checkpoint-2"]


def test_files_left_alone_beside_another_format_are_named(run, open_at):
    for step in (3, 20):
        save_file({"a.weight": torch.ones(2, 2)}, run / f"step_{step}.safetensors")
    found = open_at(run)
    assert alive(found) == ["step_3", "step_20", "step_100"]
    (note,) = [note for note in found.notes if "left out" in note]
    assert note.startswith("2 files are left out beside those that are read")
    assert note.endswith(": step_3.pt, step_20.pt")


def test_a_name_that_lies_beside_every_checkpoint_is_named_once(tmp_path, open_at):
    for step in (1, 2, 3, 4, 5, 6):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file(state(step), folder / "model.safetensors")
        torch.save(state(step), folder / "pytorch_model.bin")
    (note,) = [note for note in open_at(tmp_path).notes if "left out" in note]
    assert note.startswith("6 files are left out")
    assert note.endswith(": pytorch_model.bin")


def test_every_nth_still_names_the_copies(run, open_at):
    torch.save({"state_dict": state(100), "global_step": 100}, run / "last.pt")
    found = open_at(run, every=2)
    assert alive(found) == ["step_3", "step_100"]
    assert list(told(found)) == ["last"]


def test_a_base_goes_first_and_keeps_no_step(run, tmp_path_factory, open_at):
    folder = tmp_path_factory.mktemp("pretrained")
    torch.save({"state_dict": state(7), "global_step": 5_000_000}, folder / "model.pt")
    found = open_at(run, base=str(folder), steps=(20, None), every=5)
    assert alive(found) == [f"{folder.name} (base)", "step_20", "step_100"]
    assert [member.checkpoint.step for member in found.members] == [None, 20, 100]
    assert found.notes == ("ordered by global_step in the files",)
    assert alive(open_at(run, base=str(run / "step_100.pt"))) == ["step_100 (base)", "step_3", "step_20"]


def test_a_base_that_is_none(run, tmp_path_factory, open_at):
    folder = tmp_path_factory.mktemp("other")
    with pytest.raises(SourceError, match="holds no checkpoint"):
        open_at(run, base=str(folder))
    with pytest.raises(
        SourceError, match=r"--base .*: holds 3 checkpoints, name one of them: step_3, step_20, step_100"
    ):
        open_at(run, base=str(run))
    (folder / "model.pt").write_bytes(b"rubbish" * 9)
    with pytest.raises(SourceError, match=r"--base .*model.pt: is neither"):
        open_at(run, base=str(folder))
    torch.save({"step": 3}, folder / "model.pt")
    with pytest.raises(SourceError, match=r"--base .*: holds no weights"):
        open_at(run, base=str(folder))


def test_renames_apply_to_every_checkpoint_and_are_part_of_what_cells_are_keyed_by(run, open_at):
    plain = open_at(run)
    found = open_at(run, renames=(("^a", "c"), (r"(c)\.", r"\1-")))
    assert list(found.members[0].tensors) == ["c-weight", "b"]
    assert [info.name for info in found.members[0].tensors.values()] == ["c-weight", "b"]
    assert {m.identity for m in plain.members}.isdisjoint(m.identity for m in found.members)
    assert [m.fingerprint for m in plain.members] == [m.fingerprint for m in found.members]
    with pytest.raises(UsageError, match="gives two tensors the name"):
        open_at(run, renames=((".*", "x"),))
