"""Formats that are not read: told by bytes or name, each with what to do."""

import io
import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.contents import read_contents
from wsanalyze.files.foreign import explain_folder, explain_name
from wsanalyze.files.local import LocalFiles, stat_file


def make_zip(**records):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in records.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return buffer.getvalue()


def make_tar(*names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


BY_BYTES = {
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(64), "give the checkpoints that it was made from"),
    "GGJT": (b"tjgg\x03\0\0\0" + bytes(64), "give the checkpoints that it was made from"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "keras.saving.load_model"),
    "Keras 3": (make_zip(config_DOT_json="{}", model_DOT_weights_DOT_h5="x"), "is a Keras file"),
    "Flax": (b"\x82\xa6params\x80\xa4step\x01" + bytes(64), "flax.serialization.msgpack_restore"),
    "Flax with many keys": (b"\xde\x00\x20\xa6params\x80" + bytes(64), "flax.serialization.msgpack_restore"),
    "TensorFlow's note": (b'model_checkpoint_path: "model.ckpt-20"\n', "tf.train.load_checkpoint"),
    "SavedModel": (b"\x08\x01\x12\xff\x01\n\x00" + bytes(64), "tf.saved_model.load"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(64), "for inference"),
    "torch 0.1": (make_tar("sys_info", "pickle", "storages", "tensors"), "torch 0.1"),
    "NeMo": (make_tar("model_config.yaml", "model_weights.ckpt"), "tar -xf"),
    "NeMo in a zip": (make_zip(model_config_DOT_yaml="", model_weights_DOT_ckpt="x"), "unzip"),
    "torch.export": (
        make_zip(a__archive_format="pt2", a__model_DOT_json=""),
        "torch.export",
    ),
    "Paddle": (pickle.dumps({"w": 1, "StructuredToParameterName@@": {}}, protocol=2), "paddle.load"),
    "Detectron2": (pickle.dumps({"model": {}, "__author__": "x"}, protocol=2), "DetectionCheckpointer"),
    "arrays": (pickle.dumps({"w": np.zeros(3)}, protocol=2), "pickle of NumPy arrays"),
    "JSON": (json.dumps({"error": "Entry not found"}).encode(), "download it again"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "download it again"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(64), "unpack it first"),
    "tar.gz": (b"\x1f\x8b\x08" + bytes(64), "unpack it first"),
}


@pytest.mark.parametrize(("data", "advice"), BY_BYTES.values(), ids=BY_BYTES)
def test_bytes_tell_whatever_the_name_is(source, tmp_path, data, advice):
    for name in ("weights", "step_1.pt"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=advice) as caught:
            read_contents(source, stat_file(tmp_path / name))
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


BY_NAME = {
    "model.gguf": "GGUF",
    "MODEL.H5": "Keras",
    "x.weights.h5": "Keras",
    "model.keras": "Keras",
    "flax_model.msgpack": "Flax",
    "model.ckpt-10.index": "TensorFlow",
    "model.ckpt-10.data-00003-of-00010": "TensorFlow",
    "saved_model.pb": "SavedModel",
    "x.pdparams": "Paddle",
    "x.nemo": "NeMo",
    "x.mlmodel": "Core ML",
    "x.mlpackage": "Core ML",
    "x.tflite": "Lite",
    "manifest.ocdbt": "Orbax",
    "_CHECKPOINT_METADATA": "Orbax",
}


@pytest.mark.parametrize(("name", "what"), BY_NAME.items())
def test_names_tell_where_bytes_do_not(source, tmp_path, name, what):
    assert what in explain_name(name)
    (tmp_path / name).write_bytes(bytes(600))
    with pytest.raises(CheckpointError, match=what):
        read_contents(source, stat_file(tmp_path / name))


def test_json_of_orbax_is_no_error_of_a_server(source, tmp_path):
    (tmp_path / "_METADATA").write_text("{}")
    with pytest.raises(CheckpointError, match="Orbax"):
        read_contents(source, stat_file(tmp_path / "_METADATA"))


@pytest.mark.parametrize("name", ["model.safetensors", "step_1.pt", "frozen.pb", "index", "data-00000-of-00001", ""])
def test_other_names_tell_nothing(name):
    assert explain_name(name) is None


def test_folders():
    assert "Orbax" in explain_folder({"_METADATA", "d"})
    assert "Megatron" in explain_folder({"common.pt", "metadata.json", "model.weight"})
    assert explain_folder({"common.pt", "metadata.json", ".metadata", "__0_0.distcp"}) is None
    assert explain_folder({"d", "metadata.json"}) is None


@settings(deadline=1000)
@given(st.binary(max_size=64), st.text(max_size=20))
def test_anything_is_one_line(list_bytes, data, name):
    with LocalFiles() as source, pytest.raises(CheckpointError) as caught:
        read_contents(source, list_bytes(b"\x81" + data))
    assert "\n" not in str(caught.value)
    assert "\n" not in (explain_name(name) or "")
