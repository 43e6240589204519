"""What files say of themselves, and fingerprints that tell them apart."""

import io

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wsanalyze.checkpoints.facts import fingerprint_file, read_facts
from wsanalyze.files.contents import read_contents
from wsanalyze.files.local import LocalFiles, stat_file


@pytest.fixture
def facts(tmp_path):
    def facts(value):
        torch.save(value, tmp_path / "a.pt")
        with LocalFiles() as source:
            return read_facts(read_contents(source, stat_file(tmp_path / "a.pt")))

    return facts


@pytest.fixture
def fingerprint():
    def fingerprint(path):
        with LocalFiles() as source:
            file = stat_file(path)
            return fingerprint_file(source, file, read_contents(source, file))

    return fingerprint


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"epoch": 3, "global_step": 400, "state_dict": {}}, {"epoch": 3, "global_step": 400}),
        ({"meta": {"epoch": 2, "iter": 50}, "state_dict": {}}, {"epoch": 2, "iter": 50}),
        ({"iteration": 4999, "model": {}}, {"iteration": 4999}),
        ({"iter_num": 100, "model": {}}, {"iter_num": 100}),
        ({"epoch": "12"}, {"epoch": 12}),
        ({"epoch": 0}, {"epoch": 0}),
        ({"epoch": -1, "step": True, "iter": 1.5, "it": 2**60, "steps": "x", "iteration": "9" * 20}, {}),
        ({"epoch": torch.tensor(3), "step": np.int64(3)}, {}),
        ([1, 2], {}),
    ],
)
def test_steps_inside_a_torch_file(facts, value, found):
    assert facts(value) == found


def test_steps_in_the_metadata_of_safetensors(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors", {"global_step": "12", "format": "pt", "epoch": "1.5"})
    with LocalFiles() as source:
        assert read_facts(read_contents(source, stat_file(tmp_path / "a.safetensors"))) == {"global_step": 12}


def states():
    state = {f"layers.{i}.weight": torch.full((40, 40), float(i)) for i in range(20)}
    changed = dict(state)
    changed["layers.7.weight"] = state["layers.7.weight"] + 1
    return state, changed


def test_torch_files_of_equal_weights_are_alike_whatever_they_are_called(tmp_path, fingerprint):
    state, changed = states()
    torch.save(state, tmp_path / "step_10.pt")
    torch.save(state, tmp_path / "last.pt")
    torch.save(changed, tmp_path / "step_20.pt")
    assert fingerprint(tmp_path / "step_10.pt") == fingerprint(tmp_path / "last.pt")
    assert fingerprint(tmp_path / "step_10.pt") != fingerprint(tmp_path / "step_20.pt")


def test_one_trained_tensor_tells_safetensors_files_apart(tmp_path, fingerprint):
    state, changed = states()
    save_file(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors")
    save_file(changed, tmp_path / "c.safetensors")
    assert fingerprint(tmp_path / "a.safetensors") == fingerprint(tmp_path / "b.safetensors")
    assert fingerprint(tmp_path / "a.safetensors") != fingerprint(tmp_path / "c.safetensors")


def test_torch_files_without_checksums_are_sampled(tmp_path, fingerprint):
    state, changed = states()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pt")
        torch.save(changed, tmp_path / "b.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert fingerprint(tmp_path / "a.pt") != fingerprint(tmp_path / "b.pt")


def test_few_of_very_many_tensors_are_read(tmp_path):
    save_file({f"t{i}": torch.zeros(2) for i in range(5000)}, tmp_path / "a.safetensors")
    file = stat_file(tmp_path / "a.safetensors")
    reads = []

    class Counted(LocalFiles):
        def read_into(self, file, offset, buffer):
            reads.append(offset)
            super().read_into(file, offset, buffer)

    with Counted() as source:
        contents = read_contents(source, file)
        reads.clear()
        fingerprint_file(source, file, contents)
    assert len(reads) == 1024
    assert len(set(reads)) == 1024
    last = max(entry.offset for entry in contents.entries.values())
    assert last in reads


def test_a_fingerprint_of_nothing(tmp_path, fingerprint):
    save_file({}, tmp_path / "a.safetensors")
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(0)}, buffer)
    (tmp_path / "a.pt").write_bytes(buffer.getvalue())
    assert fingerprint(tmp_path / "a.safetensors") != fingerprint(tmp_path / "a.pt")
