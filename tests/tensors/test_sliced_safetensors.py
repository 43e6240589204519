"""Slices that torch.distributed writes as safetensors give the whole tensors; a lie about them is an error."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from wsanalyze.errors import CheckpointError
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.files import read_checkpoint
from wsanalyze.tensors.gather import ElementReader


def write(folder, *ranks, notes=None):
    """One file for each rank: {name: (array, corner)}; `notes` is written in place of what places the slices."""
    for number, slices in enumerate(ranks, 1):
        noted = {name: {"saved_offsets": list(corner)} for name, (_, corner) in slices.items()}
        metadata = {"format": "pt", "DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps(noted)}
        arrays = {name: np.array(array, order="C") for name, (array, _) in slices.items()}
        path = folder / f"shard-{number:05d}-model-00001-of-00001.safetensors"
        save_file(arrays, path, metadata=metadata if notes is None else notes)
    return folder


def read_all(folder):
    """Every tensor by name, in its own shape."""
    files = [stat_file(path) for path in sorted(folder.iterdir())]
    with LocalFiles() as source:
        tensors, contents = read_checkpoint(source, "slices", files, [""] * len(files))
        assert len(contents) == len(files)
        assert not tensors.ordered
        read = ElementReader(source)
        return {name: read(i, 0, i.numel).reshape(i.shape) for name, i in tensors.infos["model"].items()}


@given(data=st.data(), shape=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_any_grid_of_slices_gives_the_tensor(tmp_path_factory, data, shape):
    whole = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=2))}) for size in shape]
    boxes = list(itertools.product(*(itertools.pairwise(cut) for cut in cuts)))
    ranks = [{"w": (whole[tuple(slice(*run) for run in box)], [low for low, _ in box])} for box in boxes]
    scale = {"scale": (np.float32(2.5), [])}
    found = read_all(
        write(tmp_path_factory.mktemp("grid"), {**ranks[0], **scale}, *data.draw(st.permutations(ranks[1:])))
    )
    np.testing.assert_array_equal(found["w"], whole)
    assert found["scale"] == np.float32(2.5)


HALF, OTHER = np.ones((2, 3), np.float32), np.ones((2, 3), np.float16)


@pytest.mark.parametrize(
    ("ranks", "fault"),
    [
        ([{"w": (HALF, [0, 0])}, {"w": (HALF, [3, 0])}], "leave a hole"),
        ([{"w": (HALF, [0, 0])}, {"w": (HALF, [1, 0])}], "overlap"),
        ([{"w": (HALF, [0, 0])}, {"w": (HALF, [0, 0])}], "overlap"),
        ([{"w": (HALF, [2, 0])}], "not its first: a file is missing"),
        ([{"w": (HALF, [0, 0])}, {"w": (OTHER, [2, 0])}], "as float32 and as float16"),
        ([{"w": (HALF, [0, 0])}, {"w": (HALF[0], [2])}], "different numbers of axes"),
        ([{"w": (HALF, [0])}], "does not say where its slice of tensor 'w' belongs"),
        ([{"w": (HALF, [0, -1])}], "does not say where"),
        ([{"w": (HALF, [0, True])}], "does not say where"),
        ([{"w": (HALF, [0, 2**60])}], "does not say where"),
        ([{"w": (HALF, [0, 0])}, {"w": (HALF, [2**40, 2**40])}], "too far out"),
    ],
)
def test_slices_that_do_not_make_a_tensor_are_refused(tmp_path, ranks, fault):
    with pytest.raises(CheckpointError, match=fault):
        read_all(write(tmp_path, *ranks))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "lacks their DCP_SHARDING_INFO"),
        ("{", "damaged DCP_SHARDING_INFO"),
        ("[" * 100_000, "damaged DCP_SHARDING_INFO"),
        ("[]", "damaged DCP_SHARDING_INFO"),
        ("{}", "does not say where"),
        ('{"w": 3}', "does not say where"),
    ],
)
def test_notes_that_do_not_place_the_slices_are_refused(tmp_path, text, fault):
    notes = {"format": "pt"} if text is None else {"format": "pt", "DCP_SHARDING_INFO": text}
    with pytest.raises(CheckpointError, match=fault):
        read_all(write(tmp_path, {"w": (HALF, [0, 0])}, notes=notes))


@pytest.mark.parametrize("mark", ["[", "{", ","])
def test_more_notes_than_tensors_may_have_are_refused(tmp_path, mark):
    """Before they are parsed, however they are escaped in the header."""
    write(tmp_path, {"w": (HALF, [0, 0])}, notes={"DCP_SHARDING_INFO": "@"})
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    header = data[8:length].replace(b"@", f"\\u{ord(mark):04x}".encode() * 2_600_000)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[length:])
    with pytest.raises(CheckpointError, match="more slices than 250000"):
        read_all(tmp_path)
