"""A checkpoint of several files reads as one, whatever their format."""

import numpy as np
import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.base import FileRef
from wsanalyze.files.contents import read_contents
from wsanalyze.files.local import stat_file
from wsanalyze.tensors import files
from wsanalyze.tensors.files import describe_format, read_checkpoint, read_tensors

STATE = {f"layers.{i}.weight": torch.full((8, 8), float(i)) for i in range(6)}


@pytest.mark.parametrize("safe", [True, False])
def test_shards_read_as_one_model(tmp_path, read_set, read_elements, safe):
    save_torch_state_dict(STATE, tmp_path, max_shard_size=600, safe_serialization=safe)
    shards = sorted(tmp_path.glob("*-of-*"))
    assert len(shards) > 1
    infos = read_set(*shards).infos["model"]
    assert set(infos) == set(STATE)
    for name, tensor in STATE.items():
        np.testing.assert_array_equal(read_elements(infos[name]), tensor.numpy())


def test_components_stand_under_their_names(tmp_path, read_set):
    torch.save({"w": torch.zeros(2, 2), "odd": torch.zeros(2, 2).to_sparse()}, tmp_path / "actor.pt")
    save_file({"w": torch.ones(2, 2)}, tmp_path / "critic.safetensors")
    found = read_set(tmp_path / "actor.pt", tmp_path / "critic.safetensors", prefixes=["actor.", "critic."])
    assert list(found.infos["model"]) == ["actor.w", "critic.w"]
    assert [skip.name for skip in found.skips] == ["actor.odd"]
    assert not found.ordered


def test_a_tensor_in_two_files_is_refused_by_name(tmp_path, read_set):
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"w": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"b\.safetensors: tensor 'w' is in another file"):
        read_set(tmp_path / "a.safetensors", tmp_path / "b.safetensors")


def test_what_was_parsed_is_not_parsed_again(tmp_path, source):
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors")
    file = stat_file(tmp_path / "a.safetensors")
    contents = [read_contents(source, file)]
    (tmp_path / "a.safetensors").unlink()
    source.close()
    assert list(read_tensors(source, [file], [""], contents).infos["model"]) == ["w"]
    assert describe_format("files", contents) == "safetensors"
    assert describe_format("files", contents * 3) == "safetensors, 3 files"


def test_no_weights_says_why(tmp_path, read_set):
    save_file({}, tmp_path / "a.safetensors")
    with pytest.raises(NoWeightsError, match=r"holds no weights$"):
        read_set(tmp_path / "a.safetensors")
    torch.save({"w": torch.zeros(2, 2).to_sparse()}, tmp_path / "a.pt")
    with pytest.raises(NoWeightsError, match=r"holds no weights that can be read \('w': rebuilt by"):
        read_set(tmp_path / "a.pt")


def test_views_that_overlap_again_and_again_are_refused_and_tied_ones_are_not(tmp_path, source, monkeypatch):
    monkeypatch.setattr(files, "_FREE_BYTES", 0)
    weights = torch.zeros(100_000)
    path = tmp_path / "a.pt"
    for views, refused in (
        ({f"w{i}": weights[i : i + 90_000] for i in range(20)}, True),
        ({f"w{i}": weights for i in range(20)}, False),
        ({f"w{i}": weights[5_000 * i : 5_000 * (i + 1)] for i in range(20)}, False),
        ({f"w{i}": weights[i:] for i in range(3)}, False),
    ):
        torch.save(views, path)
        if not refused:
            assert len(read_checkpoint(source, "files", [stat_file(path)], [""])[0].infos["model"]) == len(views)
            continue
        with pytest.raises(CheckpointError, match=r"a\.pt: holds tensors that overlap: 7200000 bytes to read of 40"):
            read_checkpoint(source, "files", [stat_file(path)], [""])


def test_headers_that_take_all_memory_are_a_fault_of_their_checkpoint(tmp_path, source, monkeypatch):
    def read(*_):
        raise MemoryError

    monkeypatch.setitem(files.LAYOUTS, "files", ("", read))
    with pytest.raises(CheckpointError, match=r"a\.pt: needs more memory than there is to read its headers"):
        read_checkpoint(source, "files", [FileRef(str(tmp_path / "a.pt"), 1, "")], [""])
