import struct

import numpy as np

from tests.hub.small import at_step, pack
from wsanalyze.checkpoints.folder import find_checkpoints
from wsanalyze.files.local import LocalFiles
from wsanalyze.opening import join_fingerprints, open_checkpoint


def save(folder, data, name="model.safetensors"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    (found,) = find_checkpoints(folder)
    return found


def test_headers_tell_tensors_format_and_fingerprint(tmp_path):
    known = {}
    files = LocalFiles()
    found = open_checkpoint(save(tmp_path / "step1", at_step(1)), files, known)
    assert set(found.tensors.infos["model"]) == {"model.layers.0.weight", "model.layers.1.weight"}
    assert found.checkpoint.problem is None
    assert "safetensors" in found.format
    assert len(known) == 1
    again = open_checkpoint(save(tmp_path / "step1", at_step(1)), files, known)
    other = open_checkpoint(save(tmp_path / "step2", at_step(2)), files, known)
    assert found.fingerprint == again.fingerprint != other.fingerprint


def test_a_fault_is_the_problem_of_its_checkpoint_and_one_that_is_known_is_not_read(tmp_path):
    found = open_checkpoint(save(tmp_path / "step1", struct.pack("<Q", 2**40) + b"{}" * 900), LocalFiles(), {})
    assert found.tensors is None
    assert str(tmp_path / "step1") in found.checkpoint.problem
    again = open_checkpoint(found.checkpoint, None, {})
    assert again.checkpoint == found.checkpoint


def test_the_same_files_under_other_prefixes_are_another_checkpoint(tmp_path):
    checkpoint = save(tmp_path / "step1", pack({"w": np.ones((4, 4))}))
    joined = {join_fingerprints(checkpoint, parts) for parts in (["a"], ["b"], ["a", "b"])}
    assert len(joined) == 3
