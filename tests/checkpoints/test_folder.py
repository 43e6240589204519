"""Which files below a path make which checkpoints."""

import os
from pathlib import Path

import pytest

from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.checkpoints.weight_files import is_weight_file
from wsanalyze.errors import SourceError


def test_files_side_by_side(put, find):
    put("step_100.pt", "step_20.pt", "optimizer.pt", "README.md")
    assert find(put("last.pt")) == {"last": ["last.pt"], "step_20": ["step_20.pt"], "step_100": ["step_100.pt"]}


@pytest.mark.parametrize(
    "names", [["1.pt", "2.pt", "10.pt"], ["net_a3.pt", "net_a4.pt"], ["11Jul2024.pt", "2May2024.pt"]]
)
def test_files_that_differ_in_a_number_or_a_date(put, find, names):
    assert len(find(put(*names))) == len(names)


def test_archives_and_exports_beside_a_run_are_left_alone(put, find):
    root = put("run/step_1.pt", "run/step_2.pt", "run/onnx/model.onnx", "data/train.npz", "evaluations.npz")
    assert set(find(root)) == {"step_1", "step_2"}


def test_a_folder_of_archives_is_a_sequence(put, find):
    assert set(find(put("run/step_1.npz", "run/step_2.npz") / "run")) == {"step_1", "step_2"}
    assert set(find(put("onnx/step_1/model.onnx", "onnx/step_2/model.onnx") / "onnx")) == {"step_1", "step_2"}


def test_folders_of_a_trainer(put, find):
    for step in (500, 1000):
        put(f"run/checkpoint-{step}/model.safetensors", f"run/checkpoint-{step}/optimizer.pt")
        put(f"run/checkpoint-{step}/trainer_state.json", text={"global_step": step})
        put(f"run/checkpoint-{step}/global_step{step}/mp_rank_00_model_states.pt")
    assert find(put("run/model.safetensors") / "run") == {
        "checkpoint-500": ["model.safetensors"],
        "checkpoint-1000": ["model.safetensors"],
        "final": ["model.safetensors"],
    }


def test_the_step_that_a_trainer_notes(put, locate):
    put("checkpoint-1/model.safetensors")
    put("checkpoint-1/trainer_state.json", text={"global_step": 77})
    assert locate(put("checkpoint-1/x.txt", text="") / "checkpoint-1")[0].facts == {"global_step": 77}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"global_step": true}', '{"global_step": -1}', "[" * 100_000, "\x00"]
)
def test_a_damaged_note_of_a_trainer_is_let_go(put, locate, text):
    put("checkpoint-1/trainer_state.json", text=text)
    assert locate(put("checkpoint-1/model.safetensors") / "checkpoint-1")[0].facts == {}


def test_a_checkpoint_given_directly(put, find):
    put("checkpoint-500/model.safetensors", "checkpoint-500/global_step500/mp_rank_00_model_states.pt")
    put("checkpoint-500/trainer_state.json", text={"global_step": 500})
    assert find(put("x.txt", text="") / "checkpoint-500") == {"checkpoint-500": ["model.safetensors"]}


def test_a_best_beside_a_folder_of_steps(put, find):
    put("checkpoints/step_1.pt", "checkpoints/step_2.pt")
    assert find(put("best.pt")) == {"step_1": ["step_1.pt"], "step_2": ["step_2.pt"], "best": ["best.pt"]}
    assert list(find(put("last.pt"))) == ["step_1", "step_2", "best", "last"]


def test_a_best_in_a_folder_of_its_own(put, find):
    put("checkpoints/step_1.pt", "checkpoints/step_2.pt")
    assert list(find(put("best/model.pt"))) == ["best", "step_1", "step_2"]


def test_a_model_beside_a_folder_of_steps_is_the_final_one(put, find):
    put("checkpoints/step_1.pt", "checkpoints/step_2.pt")
    assert list(find(put("model.safetensors"))) == ["step_1", "step_2", "final"]
    assert list(find(put("critic.safetensors"))) == ["step_1", "step_2", "final"]


def test_one_folder_down(put, find):
    assert list(find(put("run/logs/x.txt", text="") and put("run/a/b/step_1.pt", "run/a/b/step_2.pt"))) == [
        "step_1",
        "step_2",
    ]


def test_two_runs_are_refused_by_name(put, locate):
    put("runs/a/step_1.pt", "runs/a/step_2.pt", "runs/b/checkpoint-1/model.pt", "runs/b/checkpoint-2/model.pt")
    with pytest.raises(SourceError, match=r"holds 2 sequences of checkpoints, choose one of them: .*runs/a, .*runs/b$"):
        locate(put("x.txt", text=""))


def test_runs_that_lie_deeper_do_not_lose_a_sequence(put, find, locate):
    put("run/checkpoint-1/model.pt", "run/checkpoint-2/model.pt")
    put(*(f"run/archive/{old}/step_{i}.pt" for old in ("a", "b") for i in (1, 2)))
    base = put("run/other/step_1.pt", "run/other/step_2.pt")
    assert list(find(base / "run")) == ["checkpoint-1", "checkpoint-2"]
    with pytest.raises(SourceError, match=r"archive: holds 2 sequences"):
        locate(base / "run" / "archive")
    (base / "up").mkdir()
    (base / "run" / "archive").rename(base / "up" / "archive")
    with pytest.raises(SourceError, match=r"archive: holds 2 sequences of checkpoints, choose one of them: .*/a, .*/b"):
        locate(base / "up")


def test_folders_with_one_model_each(put, find):
    assert find(put("v0.0/alex.pth", "v0.1/alex.pth")) == {"v0.0": ["alex.pth"], "v0.1": ["alex.pth"]}


def test_a_file_alone_keeps_what_its_name_says(put, find):
    assert list(find(put("run/step_5.pt") / "run")) == ["step_5"]
    assert list(find(put("other/model.pt") / "other")) == ["other"]
    assert list(find(put("checkpoint-7/best.pt") / "checkpoint-7")) == ["checkpoint-7"]


def test_components_of_one_checkpoint(put, locate):
    found = locate(put("actor.pt", "critic.pt"))
    assert len(found) == 1
    assert found[0].prefixes == ("actor.", "critic.")


def test_components_of_several_checkpoints(put, locate):
    found = locate(put("actor_100.pt", "critic_100.pt", "actor_20.pt", "critic_20.pt", "best.pt"))
    assert [checkpoint.label for checkpoint in found] == ["actor_20 + critic_20", "actor_100 + critic_100"]
    assert {checkpoint.prefixes for checkpoint in found} == {("actor.", "critic.")}
    assert [Path(file.url).name for file in found[1].files] == ["actor_100.pt", "critic_100.pt"]


def test_makes_that_differ_only_in_signs_are_kept_apart(put, locate):
    found = locate(put("a_1.pt", "a-1.pt", "a_2.pt", "a-2.pt"))
    assert {checkpoint.prefixes for checkpoint in found} == {("a-#.", "a_#.")}


def test_two_makes_with_other_numbers_are_no_components(put, locate):
    assert len(locate(put("best_epoch_1.pt", "best_epoch_2.pt", "epoch_1.pt", "epoch_2.pt", "epoch_3.pt"))) == 5


def test_averages_are_not_mixed_with_what_they_average(put, locate):
    found = locate(put("a/model.pt", "a/model_ema.pt", "a/vae.pt") / "a")
    assert found[0].prefixes == ("model.", "vae.")
    found = locate(put("b/model_1.pt", "b/model_ema_1.pt", "b/model_2.pt", "b/model_ema_2.pt") / "b")
    assert [(c.label, c.unread) for c in found] == [
        ("model_1", ("model_ema_1.pt",)),
        ("model_2", ("model_ema_2.pt",)),
    ]
    (alone,) = locate(put() / "b/model_ema_1.pt")
    assert (alone.label, alone.unread) == ("model_ema_1", ())


def test_components_in_folders_of_their_own(put, locate):
    for step in (500, 1000):
        put(
            *(
                f"run/checkpoint-{step}/{part}/diffusion_pytorch_model.safetensors"
                for part in ("unet", "unet_ema", "vae")
            )
        )
    put("run/checkpoint-500/trainer_state.json", text={"global_step": 499})
    found = locate(put("x.txt", text="") / "run")
    assert [checkpoint.label for checkpoint in found] == ["checkpoint-500", "checkpoint-1000"]
    assert {checkpoint.prefixes for checkpoint in found} == {("unet.", "vae.")}
    assert {checkpoint.unread for checkpoint in found} == {("unet_ema/diffusion_pytorch_model.safetensors",)}
    assert [checkpoint.facts for checkpoint in found] == [{"global_step": 499}, {}]


def test_a_pipeline_given_directly(put, locate):
    put("pipe/unet/diffusion_pytorch_model.safetensors", "pipe/text_encoder/model.safetensors")
    found = locate(put("pipe/model_index.json", text={}) / "pipe")
    assert found[0].prefixes == ("text_encoder.", "unet.")


def test_a_component_alone_in_a_folder_has_no_prefix(put, locate):
    found = locate(put("step_1/weights/model.pt", "step_2/weights/model.pt"))
    assert [(checkpoint.label, checkpoint.prefixes) for checkpoint in found] == [("step_1", ("",)), ("step_2", ("",))]


def test_several_models_that_accelerate_saved(put, locate):
    found = locate(
        put(*(f"checkpoint_{i}/{name}.safetensors" for i in (0, 1) for name in ("model", "model_1", "model_2")))
    )
    assert [checkpoint.label for checkpoint in found] == ["checkpoint_0", "checkpoint_1"]
    assert found[0].prefixes == ("model.", "model_1.", "model_2.")


def test_shards_in_folders(put, locate):
    put(*(f"checkpoint-{step}/model-0000{i}-of-00002.safetensors" for step in (1, 2) for i in (1, 2)))
    found = locate(put("checkpoint-3/model-00001-of-00002.safetensors"))
    assert [(len(c.files), c.prefixes) for c in found[:2]] == [(2, ("", ""))] * 2
    assert "shard model-00002-of-00002.safetensors is missing" in found[2].problem


def test_sharded_files_side_by_side(put, find):
    put(*(f"step_{step}-0000{i}-of-00002.safetensors" for step in (1, 2) for i in (1, 2)))
    assert list(find(put("x.txt", text=""))) == ["step_1", "step_2"]


def test_a_file_or_a_shard_given_directly(put, find):
    put("a/step_5.pt", "b/model-00001-of-00002.safetensors", "b/model-00002-of-00002.safetensors")
    base = put("b/model.safetensors.index.json", text={"weight_map": {"w": "model-00001-of-00002.safetensors"}})
    assert find(base / "a/step_5.pt") == {"step_5": ["step_5.pt"]}
    assert find(base / "b/model-00001-of-00002.safetensors") == {"b": ["model-00001-of-00002.safetensors"]}
    assert find(base / "b/model.safetensors.index.json") == {"b": ["model-00001-of-00002.safetensors"]}


def test_a_file_of_any_name_may_be_given(put, find):
    assert find(put("weights.bin.2") / "weights.bin.2") == {"weights.bin.2": ["weights.bin.2"]}


def test_globs(put, find):
    put("run/step_1.pt", "run/step_2.pt", "run/step_10.pt", "run/optimizer.pt", "run/x.txt")
    base = put("run/checkpoint-3/model.pt", "run/empty/x.txt")
    assert list(find(base / "run" / "step_*")) == ["step_1", "step_2", "step_10"]
    assert list(find(base / "run" / "*")) == ["checkpoint-3", "step_1", "step_2", "step_10"]
    assert list(find(base / "*" / "step_[12].pt")) == ["step_1", "step_2"]
    assert list(find(base / "**" / "model.pt")) == ["model"]


def test_a_path_with_brackets_is_no_glob(put, find):
    assert list(find(put("a[1]/step_1.pt", "a[1]/step_2.pt") / "a[1]")) == ["step_1", "step_2"]


@pytest.mark.parametrize("pattern", ["nothing*", "[z-a]*", "**/x?", "*.txt", "["])
def test_a_glob_that_matches_nothing_is_an_error(put, locate, pattern):
    with pytest.raises(SourceError, match="the pattern matches no checkpoint"):
        locate(put("step_1.pt") / pattern)


def test_the_home_folder(put, monkeypatch):
    monkeypatch.setenv("HOME", str(put("run/step_1.pt", "run/step_2.pt")))
    assert len(FolderSource("~/run").checkpoints()) == 2
    assert len(FolderSource("~/run/step*").checkpoints()) == 2


@pytest.mark.parametrize("path", ["missing", "a\0b", "x" * 5000, "missing/a.pt"])
def test_no_such_file(tmp_path, path):
    with pytest.raises(SourceError, match="no such file or folder") as caught:
        FolderSource(str(tmp_path / path)).checkpoints()
    assert "\n" not in str(caught.value)


def test_an_empty_folder(put, locate):
    with pytest.raises(SourceError, match=r"holds no checkpoint \(\.safetensors, "):
        locate(put("x.txt", text=""))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.gguf", "GGUF"),
        ("flax_model.msgpack", "Flax"),
        ("x.h5", "Keras"),
        ("model.ckpt-1.index", "TensorFlow"),
    ],
)
def test_other_formats_are_named(put, locate, name, advice):
    with pytest.raises(SourceError, match=advice):
        locate(put(name))


def test_pipes_dangling_links_and_folders_named_like_files(put, locate, tmp_path):
    os.mkfifo(tmp_path / "step_1.pt")
    (tmp_path / "step_2.pt").symlink_to("nothing")
    put("step_3.pt/model.pt", "blob", "step_4.pt")
    (tmp_path / "step_5.pt").symlink_to("blob")
    problems = {checkpoint.label: checkpoint.problem for checkpoint in locate(tmp_path)}
    assert "not a regular file" in problems["step_1"]
    assert "no such file" in problems["step_2"]
    assert problems["step_4"] is None
    assert problems["step_5"] is None


def test_links_in_circles_end(put, locate, tmp_path):
    put("step_1.pt")
    (tmp_path / "loop").symlink_to(".")
    assert [checkpoint.label for checkpoint in locate(put("loop2.txt", text=""))] == ["step_1"]


def test_a_link_to_a_folder_is_that_checkpoint(put, locate, tmp_path):
    put("checkpoint-1/model.pt", "checkpoint-2/model.pt")
    (tmp_path / "latest").symlink_to("checkpoint-2")
    found = {checkpoint.label: checkpoint for checkpoint in locate(tmp_path)}
    assert set(found) == {"checkpoint-1", "checkpoint-2", "latest"}
    assert found["latest"].files[0].stamp == found["checkpoint-2"].files[0].stamp


def test_folders_that_cannot_be_listed(put, locate, monkeypatch):
    base = put("run/checkpoint-1/model.pt", "run/checkpoint-2/model.pt", "run/private/x.pt")
    whole = Path.iterdir

    def refuse(path):
        if path.name in ("checkpoint-2", "private", "locked"):
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    found = {checkpoint.label: checkpoint.problem for checkpoint in locate(base / "run")}
    assert found["checkpoint-1"] is None
    assert "cannot be listed (permission denied)" in found["checkpoint-2"]
    assert "private" not in found
    (base / "locked").mkdir()
    with pytest.raises(SourceError, match=r"locked: cannot be listed \(permission denied\)"):
        locate(base / "locked")


def test_a_path_that_may_not_be_looked_at(put, locate, monkeypatch):
    path = put("step_1.pt") / "step_1.pt"

    def refuse(_path, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(SourceError, match="no such file or folder"):
        locate(path)
    assert is_weight_file(path)  # its name says so; that it cannot be read is found out by reading


def test_names_that_are_no_text_are_written_with_escapes(tmp_path, locate):
    name = os.fsdecode(b"step_1\xff.pt")
    try:
        (tmp_path / name).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    (tmp_path / "step_2.pt").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"step_3\xff.pt")).symlink_to("nothing")
    for checkpoint in locate(tmp_path):
        for text in (checkpoint.label, checkpoint.origin, checkpoint.problem or ""):
            text.encode()
    assert locate(tmp_path)[0].label == "step_1\\udcff"


def test_folders_too_deep_are_not_searched(put, locate):
    with pytest.raises(SourceError, match="holds no checkpoint"):
        locate(put("a/b/c/d/e/step_1.pt"))


@pytest.mark.parametrize("alias", ["net_best.pth", "best.pth", "last.ckpt", "final.pt"])
@pytest.mark.parametrize("numbered", [["net_100.pth", "net_200.pth", "net_300.pth"], ["s0.pt", "s1.pt"], ["x7.pt"]])
def test_what_points_at_a_checkpoint_is_no_component_of_one(put, find, numbered, alias):
    assert len(find(put(*numbered, alias))) == len(numbered) + 1


def test_a_link_that_leads_nowhere_loses_nothing_else(put, find):
    root = put("s0.pt", "s1.pt", "s2.pt")
    (root / "last.ckpt").symlink_to("nowhere")
    assert find(root) == {"s0": ["s0.pt"], "s1": ["s1.pt"], "s2": ["s2.pt"], "last": "problem"}


def test_components_stay_components_beside_an_average(put, find):
    assert len(find(put("vae_1.pt", "unet.pt", "text.pt"))) == 1


def test_other_adapters_beside_one_are_no_steps_of_it(put, find):
    root = put("adapters/adapter_model.safetensors", "adapters/second/adapter_model.safetensors")
    assert list(find(root / "adapters")) == ["adapters"]
    for step in (100, 200):
        put(
            f"run/checkpoint-{step}/adapter_model.safetensors",
            f"run/checkpoint-{step}/second/adapter_model.safetensors",
        )
    put("run/adapter_model.safetensors", "run/second/adapter_model.safetensors")
    assert list(find(root / "run")) == ["checkpoint-100", "checkpoint-200", "final"]


def test_beside_safetensors_files_of_other_names_are_left_out_and_named(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step{step}").mkdir()
        for name in ("model.safetensors", "foo.bin", "notes.pt"):
            (tmp_path / f"step{step}" / name).write_bytes(b"x")
    found = FolderSource(str(tmp_path)).checkpoints()
    assert [[Path(file.url).name for file in checkpoint.files] for checkpoint in found] == [["model.safetensors"]] * 2
    assert [checkpoint.prefixes for checkpoint in found] == [("",)] * 2
    assert [sorted(checkpoint.unread) for checkpoint in found] == [["foo.bin", "notes.pt"]] * 2
