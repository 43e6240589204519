"""Equal digests mean equal tensors, wherever and however they are stored."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wsanalyze.errors import CheckpointError
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.likeness.contents import digest_weights, probe_weights
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.files import read_tensors

STATE = {
    "w": torch.arange(6000, dtype=torch.float32).reshape(60, 100),
    "b": torch.ones(7, dtype=torch.bfloat16),
    "n": torch.tensor(3),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
    "z": torch.ones(2, 2, dtype=torch.complex128),
}


@pytest.fixture
def digests(tmp_path):
    """The digests of a state dict, saved in a format."""

    def save(state, write="safetensors", digest=digest_weights):
        path = tmp_path / f"x.{write}"
        if write == "safetensors":
            save_file({n: t.contiguous() for n, t in state.items()}, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=write == "pt")
        with LocalFiles() as source:
            return digest(source, read_tensors(source, [stat_file(path)], [""]).infos["model"])

    return save


def test_formats_shards_and_orders_do_not_matter(digests):
    plain = {name: tensor for name, tensor in STATE.items() if not tensor.is_complex()}
    expected = digests(plain)
    assert digests(dict(reversed(plain.items()))) == expected
    assert digests(plain, "pt") == digests(plain, "legacy") == expected
    assert digests(STATE, "pt") == digests(STATE, "legacy") != expected


@pytest.mark.parametrize("name", [name for name in STATE if STATE[name].numel()])
def test_one_element_more_or_less_matters(digests, name):
    changed = STATE[name].clone()
    changed.view(-1)[-1] = 0 if changed.view(-1)[-1] else 1
    assert digests({**STATE, name: changed}, "pt") != digests(STATE, "pt")


@pytest.mark.parametrize("digest", [digest_weights, probe_weights])
def test_names_shapes_and_dtypes_matter(digests, digest):
    found = {
        digests(state, "pt", digest)
        for state in (
            STATE,
            {**STATE, "w": STATE["w"].reshape(100, 60)},
            {**STATE, "b": STATE["b"].half()},
            {"v" if name == "w" else name: tensor for name, tensor in STATE.items()},
            {name: tensor for name, tensor in STATE.items() if name != "empty"},
        )
    }
    assert len(found) == 5


def test_a_probe_looks_at_the_middle_only(digests):
    end, middle = STATE["w"].clone(), STATE["w"].clone()
    end[-1, -1], middle[30, 0] = -1, -1
    probes = [digests({"w": w}, digest=probe_weights) for w in (STATE["w"], end, middle)]
    assert probes[0] == probes[1] != probes[2]


def test_tensors_in_pieces_are_those_in_one(tmp_path):
    array = np.arange(24, dtype="<i4")
    path = tmp_path / "raw"
    path.write_bytes(array[12:].tobytes() + array[:12].tobytes())
    file = stat_file(path)
    pieces = (Piece(file, 48, 48, corner=(0,), extent=(12,)), Piece(file, 0, 48, corner=(12,), extent=(12,)))
    (tmp_path / "whole").write_bytes(array.tobytes())
    whole = (Piece(stat_file(tmp_path / "whole"), 0, 96),)
    with LocalFiles() as source:
        both = [digest_weights(source, {"x": TensorInfo("x", "int32", (24,), p)}) for p in (pieces, whole)]
    assert both[0] == both[1]


def test_a_file_that_was_changed_is_an_error(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(bytes(96))
    info = TensorInfo("x", "float32", (24,), (Piece(stat_file(path), 0, 96),))
    path.write_bytes(bytes(97))
    with LocalFiles() as source, pytest.raises(CheckpointError, match="was changed"):
        digest_weights(source, {"x": info})
