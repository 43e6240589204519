"""Weight files inside a zip: those of stable-baselines3 and one that was zipped, by position and never deeper."""

import io
import json
import zipfile

import pytest
import torch
from safetensors.torch import save

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import read_bytes
from wsanalyze.files.contents import read_contents
from wsanalyze.files.stored_files import StoredFiles


def save_torch(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def make_zip(records, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return buffer.getvalue()


WEIGHTS = {"net.weight": torch.arange(12.0).reshape(3, 4)}
SB3 = {
    "data": json.dumps({"num_timesteps": 300, "policy_class": {":serialized:": "gASV"}}),
    "policy.pth": save_torch(WEIGHTS),
    "policy.optimizer.pth": save_torch({"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}),
    "pytorch_variables.pth": save_torch({"log_ent_coef": torch.zeros(1)}),
    "_stable_baselines3_version": "2.9.2",
}


@pytest.fixture
def read(source, list_bytes):
    return lambda data: read_contents(source, list_bytes(data))


def test_an_algorithm_its_policy_and_its_step(read, source):
    found = read(make_zip(SB3))
    assert isinstance(found, StoredFiles)
    trees = [contents.tree for _, contents in found.parts]
    assert [set(tree) for tree in trees] == [{"net.weight"}, {"log_ent_coef"}]
    assert next(iter(found.mappings())) == {"num_timesteps": 300}
    part, _ = found.parts[0]
    assert read_bytes(source, part, 0, part.size) == SB3["policy.pth"]


@pytest.mark.parametrize("data", ["{", "[" * 100_000, '{"num_timesteps": ' + "9" * 50 + "}", b"\xff"])
def test_damaged_notes(read, data):
    with pytest.raises(CheckpointError, match="holds damaged JSON as 'data'"):
        read(make_zip(SB3 | {"data": data}))


@pytest.mark.parametrize("data", ["[]", "3", "{}", '{"num_timesteps": "x"}'])
def test_notes_without_a_step(read, data):
    found = read(make_zip(SB3 | {"data": data}))
    assert not any(isinstance(mapping.get("num_timesteps"), int) for mapping in found.mappings())


def test_notes_of_more_values_than_there_are_notes_hold_no_step(read, monkeypatch):
    monkeypatch.setattr("wsanalyze.files.stored_files._MAX_VALUES", 3)
    found = read(make_zip(SB3 | {"data": '{"num_timesteps": 300, "x": [1, 2, 3, 4]}'}))
    assert not any(isinstance(mapping.get("num_timesteps"), int) for mapping in found.mappings())


@pytest.mark.parametrize(
    "records", [SB3, {"step_1.pt": save_torch(WEIGHTS)}, {"a/b.safetensors": save(WEIGHTS)}], ids=["sb3", "pt", "st"]
)
def test_what_was_zipped_anew_is_to_be_unpacked(read, records):
    with pytest.raises(CheckpointError, match=r"compressed \(was it zipped anew\?\): unpack it"):
        read(make_zip(records, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("name", ["step_1.pt", "inner/model.safetensors", "x.ckpt"])
def test_one_file_that_was_zipped(read, name):
    data = save(WEIGHTS) if name.endswith("safetensors") else save_torch(WEIGHTS)
    found = read(make_zip({name: data, "inner/": "", "__MACOSX/._x": "x"}))
    assert len(found.parts) == 1


def test_no_file_inside_a_file_inside_a_file(read):
    with pytest.raises(CheckpointError):
        read(make_zip({"a.pt": make_zip({"b.pt": save_torch(WEIGHTS)})}))
    with pytest.raises(CheckpointError):
        read(make_zip(SB3 | {"policy.pth": make_zip(SB3)}))


def test_two_records_in_one_place(read):
    data = bytearray(make_zip({"data": "{}", "policy.pth": SB3["policy.pth"], "tensors.pth": SB3["policy.pth"]}))
    directory = data.rindex(b"PK\x01\x02")  # of tensors.pth, which is put where policy.pth lies
    first = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02", len(SB3["policy.pth"])) + 1)
    data[directory + 42 : directory + 46] = data[first + 42 : first + 46]
    with pytest.raises(CheckpointError):
        read(bytes(data))
