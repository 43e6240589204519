"""Formats that are not read: named with what to do, never in the way of what is read, never passed over."""

import pytest

from wsanalyze.checkpoints.units import list_units
from wsanalyze.errors import SourceError

FORMATS = {
    "Orbax": (["_CHECKPOINT_METADATA", "default/_METADATA", "default/manifest.ocdbt", "default/d/0a"], "Orbax"),
    "an item of Orbax": (["_METADATA", "manifest.ocdbt", "d/0a", "ocdbt.process_0/d/0b"], "Orbax"),
    "Flax": (["flax_model.msgpack", "config.json"], "Flax"),
    "Flax in shards": ([f"flax_model-0000{i}-of-00002.msgpack" for i in (1, 2)], "Flax"),
    "Keras": (["model.keras"], "Keras"),
    "Keras 2": (["model.h5"], "Keras"),
    "Keras weights": (["model.weights.h5"], "Keras"),
    "TensorFlow": (["model.ckpt.index", "model.ckpt.data-00000-of-00001", "checkpoint"], "tf.train.load_checkpoint"),
    "TensorFlow's shards": ([f"ckpt-1.data-0000{i}-of-00002" for i in (0, 1)], "tf.train.load_checkpoint"),
    "SavedModel": (
        ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
        "SavedModel",
    ),
    "GGUF": (["ggml-model-q4_0.gguf"], "GGUF"),
    "Paddle": (["model_state.pdparams"], "Paddle"),
    "NeMo": (["megatron_gpt.nemo"], "NeMo"),
    "Core ML": (["model.mlmodel"], "Core ML"),
    "a package of Core ML": (
        ["model.mlpackage/Manifest.json", "model.mlpackage/Data/x.mlmodel"],
        "Core ML",
    ),
}


@pytest.mark.parametrize(("names", "advice"), FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_of_nothing_else_is_an_error_of_one_line(put, locate, names, advice, steps):
    folders = [f"run/step-{step}" for step in range(1, steps + 1)]
    root = put(*(f"{folder}/{name}" for folder in folders for name in names), text="x")
    for path in (root, root / "run", root / "run" / "step-1"):
        with pytest.raises(SourceError, match=advice) as caught:
            locate(path)
        assert "\n" not in str(caught.value)
        assert "step-1" in str(caught.value)


@pytest.mark.parametrize(("names", "advice"), FORMATS.values(), ids=FORMATS)
def test_one_checkpoint_among_others_is_a_member_that_cannot_be_read(put, locate, names, advice):
    put(*(f"run/step-2/{name}" for name in names), text="x")
    put("run/step-1/model.safetensors", "run/step-3/pytorch_model.bin")
    found = {c.label: c.problem for c in locate(put("x.txt", text="") / "run")}
    assert [found["step-1"], found["step-3"]] == [None, None]
    assert [label for label, problem in found.items() if problem and advice in problem] == ["step-2"]


@pytest.mark.parametrize(("names", "advice"), FORMATS.values(), ids=FORMATS)
def test_beside_weights_that_are_read_it_is_left_alone(put, locate, names, advice):  # noqa: ARG001 - the same table
    put(*(f"repo/{name}" for name in names), text="x")
    (found,) = locate(put("repo/model.safetensors") / "repo")
    assert [file.url.rpartition("/")[2] for file in found.files] == ["model.safetensors"]
    assert found.problem is None


def test_exports_of_a_repository_are_noted_by_name(put, locate):
    exports = ["flax_model.msgpack", "tf_model.h5", "model.onnx", "onnx/quantised.onnx", "coreml/model.mlmodel"]
    put(*(f"repo/{name}" for name in [*exports, "data/train.h5", "results.npz", "embeddings.index"]), text="x")
    put("repo/pytorch_model.bin")
    (found,) = locate(put("repo/model.safetensors") / "repo")
    assert sorted(found.unread) == sorted([*(name.rpartition("/")[2] for name in exports), "pytorch_model.bin"])


def test_components_of_a_pipeline_have_exports_too(put, locate):
    for part in ("unet", "vae"):
        put(f"pipe/{part}/diffusion_flax_model.msgpack", f"pipe/{part}/model.onnx", text="x")
        put(f"pipe/{part}/diffusion_pytorch_model.safetensors")
    (found,) = locate(put("pipe/model_index.json", text={}) / "pipe")
    assert found.prefixes == ("unet.", "vae.")


def test_one_of_another_number_beside_files_of_a_sequence_is_a_member(put, find):
    put("step_2.msgpack", "step_1.h5", "notes.h5", text="x")
    assert find(put("step_1.pt", "step_3.pt")) == {
        "step_1": ["step_1.pt"],
        "step_2": "problem",
        "step_3": ["step_3.pt"],
    }


def test_a_sequence_of_files(put, locate):
    put(*(f"model.ckpt-{n}.{end}" for n in (10, 20) for end in ("index", "meta", "data-00000-of-00001")), text="x")
    units = list_units(put("checkpoint", text='model_checkpoint_path: "model.ckpt-20"'))
    assert {label: len(unit.files) for label, unit in units.items()} == {"model.ckpt-10": 2, "model.ckpt-20": 2}
    with pytest.raises(SourceError, match="TensorFlow"):
        locate(put("x.txt", text=""))


def test_files_without_a_suffix_are_looked_into_where_there_is_nothing_else(put, find):
    """`flax.training.checkpoints` saves `checkpoint_100`."""
    put("run/checkpoint_100", "run/checkpoint_90", "run/checkpoint")
    assert set(find(put("run/LICENSE", text="") / "run")) == {"checkpoint", "checkpoint_90", "checkpoint_100"}
    put("other/checkpoint_100", "other/step_1.pt", "other/step_2.pt")
    assert set(find(put("x.txt", text="") / "other")) == {"step_1", "step_2"}


def test_files_without_a_suffix_in_another_folder_are_something_else(put, find):
    put("run/samples/step_1", "run/samples/step_2", text="x")
    assert set(find(put("run/ckpt/step_1.pt", "run/ckpt/step_2.pt") / "run")) == {"step_1", "step_2"}
    put("flax/step_2/checkpoint_2", text="x")
    assert set(find(put("flax/step_1/model.pt", "flax/step_3/model.pt") / "flax")) == {"step_1", "step_2", "step_3"}


@pytest.mark.parametrize("name", ["predictions.h5", "features.hdf5", "faiss.index"])
def test_results_in_a_folder_of_a_step_are_no_checkpoint(put, find, name):
    put(f"run/epoch_3/{name}", text="x")
    assert set(find(put("run/checkpoint-1/model.pt", "run/checkpoint-2/model.pt") / "run")) == {
        "checkpoint-1",
        "checkpoint-2",
    }


def test_a_file_given_directly_or_by_a_pattern(put, find):
    put("a.gguf", "b/model.safetensors", "b/flax_model.msgpack", text="x")
    assert list(find(put("x.txt", text="") / "a.gguf")) == ["a.gguf"]
    assert list(find(put("x.txt", text="") / "*.gguf")) == ["a.gguf"]
    assert list(find(put("b/model.safetensors") / "b" / "*")) == ["model"]
