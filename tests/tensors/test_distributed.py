"""torch.distributed checkpoints: chunks give the whole tensors, `.metadata` is data that may lie, and nothing runs."""

import io
import itertools
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.files import read_checkpoint
from wsanalyze.tensors.gather import ElementReader, check_cover


def list_files(folder):
    """The files in the order that the reader wants."""
    paths = sorted(Path(folder).iterdir(), key=lambda path: (path.name != ".metadata", path.suffix != ".distcp"))
    return [stat_file(path) for path in paths]


def read_dcp(source, folder):
    files = list_files(folder)
    return read_checkpoint(source, "distributed", files, [""] * len(files))[0]


def read_whole(source, info):
    check_cover(info)
    return np.array(ElementReader(source)(info, 0, info.numel)).reshape(info.shape)


def save_dcp(state, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=folder, no_dist=True)
    return folder


def cut(shape, edges):
    """The boxes of a grid: corner and extent of each, from the inner edges along every axis."""
    spans = [list(itertools.pairwise([0, *sorted({e for e in axis if 0 < e < size}), size])) for axis, size in edges]
    assert len(spans) == len(shape)
    return [(tuple(a for a, _ in box), tuple(b - a for a, b in box)) for box in itertools.product(*spans)]


def write_chunks(folder, state, boxes=None, change=None, *, num_files=2):
    """What ranks leave: each box of each tensor a torch file of its own, one after another in a few files.

    Args:
        folder: Where to.
        state: Tensors by name.
        boxes: For each of them by name its boxes; by default one.
        change: What lies about it: is given the metadata and changes it.
        num_files: Number of files that the chunks are dealt to.
    """
    data = {f"__{rank}_0.distcp": io.BytesIO() for rank in range(num_files)}
    entries, stored = {}, {}
    turn = itertools.cycle(data)
    for name, tensor in state.items():
        chunks = []
        for corner, extent in (boxes or {}).get(name, [((0,) * tensor.ndim, tuple(tensor.shape))]):
            part = tensor[tuple(slice(c, c + n) for c, n in zip(corner, extent, strict=True))].clone()
            file_name = next(turn)
            offset = data[file_name].tell()
            buffer = io.BytesIO()
            torch.save(part, buffer)
            data[file_name].write(buffer.getvalue())
            chunks.append(ChunkStorageMetadata(torch.Size(corner), torch.Size(extent)))
            index = MetadataIndex(name, torch.Size(corner))
            stored[index] = _StorageInfo(file_name, offset, len(buffer.getvalue()))
        entries[name] = TensorStorageMetadata(TensorProperties(tensor.dtype), tensor.shape, chunks)
    metadata = Metadata(entries, planner_data={name: (name,) for name in state}, storage_data=stored)
    if change:
        change(metadata)
    for file_name, buffer in data.items():
        (folder / file_name).write_bytes(buffer.getvalue())
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


STATE = {"fc.weight": torch.randn(4, 6), "fc.bias": torch.randn(4)}
HALVES = {"fc.weight": [((0, 0), (2, 6)), ((2, 0), (2, 6))]}


def test_what_torch_saves_and_loads_itself(source, tmp_path):
    state = {
        "model": {
            "a.weight": torch.randn(5, 3),
            "b.weight": torch.randn(4, 2).bfloat16(),
            "c.weight": torch.randn(3).double(),
            "d.scale": torch.tensor(2.5),
            "e.nothing": torch.zeros(0, 3),
            "f.transposed": torch.randn(3, 4).T,
        },
        "optimizer": {"state": {"a.weight": {"exp_avg": torch.ones(5, 3)}}, "param_groups": [{"lr": 0.1}]},
        "step": 7,
        "extra": {"rng_state": torch.zeros(8, dtype=torch.uint8)},
    }
    save_dcp(state, tmp_path)
    found = read_dcp(source, tmp_path)
    assert set(found.infos) == {"model"}
    infos = found.infos["model"]
    assert set(infos) == set(state["model"])
    for name, tensor in state["model"].items():
        assert infos[name].shape == tuple(tensor.shape)
        assert f"torch.{infos[name].dtype}" == str(tensor.dtype)
        loaded = {"model": {name: torch.empty_like(tensor, memory_format=torch.contiguous_format)}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.load(loaded, checkpoint_id=tmp_path, no_dist=True)
        whole = loaded["model"][name]
        assert whole.equal(tensor)
        assert read_whole(source, infos[name]).tobytes() == whole.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_a_moving_average_beside(source, tmp_path):
    save_dcp({"model": {"a": torch.ones(2)}, "ema": {"a": torch.zeros(2)}, "optim": {"a": torch.ones(2)}}, tmp_path)
    assert {w: set(infos) for w, infos in read_dcp(source, tmp_path).infos.items()} == {"model": {"a"}, "ema": {"a"}}


@pytest.mark.parametrize("prefix", ["optimizer.", "optimizer.state.exp_avg.", "optim."])
def test_an_optimizer_under_flat_names(source, tmp_path, prefix):
    """Megatron saves `optimizer.state.exp_avg.decoder...` beside `decoder...`."""
    save_dcp({"decoder.weight": torch.ones(2, 2), f"{prefix}decoder.weight": torch.zeros(2, 2)}, tmp_path)
    assert set(read_dcp(source, tmp_path).infos["model"]) == {"decoder.weight"}


def test_nothing_but_an_optimizer(source, tmp_path):
    save_dcp({"optimizer": {"exp_avg": torch.ones(2)}}, tmp_path)
    with pytest.raises(NoWeightsError):
        read_dcp(source, tmp_path)


@settings(max_examples=80)
@given(data=st.data())
def test_any_grid_of_chunks(tmp_path_factory, data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    edges = [(data.draw(st.lists(st.integers(1, 5), max_size=3)), size) for size in shape]
    boxes = data.draw(st.permutations(cut(shape, edges)))
    tensor = torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape)
    folder = write_chunks(tmp_path_factory.mktemp("dcp"), {"w": tensor}, {"w": boxes}, num_files=3)
    with LocalFiles() as source:
        info = read_dcp(source, folder).infos["model"]["w"]
        assert read_whole(source, info).tobytes() == tensor.numpy().tobytes()
        start = data.draw(st.integers(0, info.numel))
        stop = data.draw(st.integers(start, info.numel))
        assert ElementReader(source)(info, start, stop).tolist() == list(range(start, stop))


def test_a_chunk_that_several_ranks_list_counts_once(source, tmp_path):
    def change(metadata):
        metadata.state_dict_metadata["fc.weight"].chunks *= 2

    write_chunks(tmp_path, STATE, HALVES, change)
    assert read_whole(source, read_dcp(source, tmp_path).infos["model"]["fc.weight"]).shape == (4, 6)


def test_facts_are_in_the_notes_beside(source, tmp_path):
    write_chunks(tmp_path, STATE)
    torch.save({"iteration": 40, "args": None}, tmp_path / "common.pt")
    (tmp_path / "meta.pt").write_bytes(b"damaged")
    files = list_files(tmp_path)
    tensors, contents = read_checkpoint(source, "distributed", files, [""] * len(files))
    assert set(tensors.infos["model"]) == set(STATE)
    assert len(contents) == len(files)
    assert [m["iteration"] for content in contents for m in content.mappings()] == [40]


def entry(metadata, name="fc.weight"):
    return metadata.state_dict_metadata[name]


def move(metadata, number, corner=None, extent=None):
    """Change what is said of a chunk, and of where it is stored with it."""
    chunks = entry(metadata).chunks
    old = chunks[number]
    chunks[number] = ChunkStorageMetadata(
        torch.Size(corner) if corner else old.offsets, torch.Size(extent) if extent else old.sizes
    )
    if corner:
        stored = metadata.storage_data.pop(MetadataIndex("fc.weight", old.offsets))
        metadata.storage_data[MetadataIndex("fc.weight", torch.Size(corner))] = stored


def store(metadata, **fields):
    """Change where the first chunk is said to be stored."""
    for key, value in fields.items():
        setattr(metadata.storage_data[MetadataIndex("fc.weight", torch.Size([0, 0]))], key, value)


LIES = {
    "an overlap": (lambda m: move(m, 1, (1, 0)), "overlap|leave a hole"),
    "a hole": (lambda m: entry(m).chunks.pop(), "do not cover it once"),
    "a chunk outside": (lambda m: move(m, 1, (3, 0)), "lies outside it"),
    "too large a chunk": (lambda m: move(m, 1, extent=(2, 7)), "lies outside it"),
    "too small a chunk": (lambda m: move(m, 1, extent=(1, 6)), "do not cover it once"),
    "two of one corner": (
        lambda m: entry(m).chunks.append(ChunkStorageMetadata(torch.Size([0, 0]), torch.Size([1, 6]))),
        "overlap",
    ),
    "another rank": (lambda m: move(m, 1, extent=(2, 6, 1)), "lies outside it"),
    "another size": (lambda m: setattr(entry(m), "size", torch.Size([4, 7])), "do not cover it once"),
    "a size beyond all bounds": (lambda m: setattr(entry(m), "size", torch.Size([2**40, 2**40])), "no size"),
    "a size that is none": (lambda m: setattr(entry(m), "size", "4x6"), "size or position that is none"),
    "a negative size": (lambda m: setattr(entry(m), "size", (-4, -6)), "size or position that is none"),
    "no chunks": (lambda m: setattr(entry(m), "chunks", None), "no chunks that are possible"),
    "another dtype": (
        lambda m: setattr(entry(m), "properties", TensorProperties(torch.float16)),
        r"is float32 \[2, 6\], not float16 \[2, 6\] as described",
    ),
    "another shape of as many elements": (
        lambda m: (setattr(entry(m), "size", torch.Size([4, 3])), move(m, 0, extent=(4, 3)), entry(m).chunks.pop()),
        r"is float32 \[2, 6\], not float32 \[4, 3\] as described",
    ),
    "not stored": (lambda m: m.storage_data.clear(), "does not say where a chunk of tensor 'fc.weight' is stored"),
    "stored nowhere": (lambda m: store(m, offset=None), "does not say where a chunk"),
    "a negative offset": (lambda m: store(m, offset=-1), "does not say where a chunk"),
    "an offset beyond the file": (lambda m: store(m, offset=10**6), r"__\d_0\.distcp"),
    "an offset beside": (lambda m: store(m, offset=5), "chunks of tensors 'fc.weight' and '.*' overlap"),
    "no bytes": (lambda m: store(m, length=0), "is empty"),
    "too few bytes": (lambda m: store(m, length=100), "at byte 0"),
    "more bytes than there are": (lambda m: store(m, length=2**50), r"__\d_0\.distcp"),
    "a file that is missing": (lambda m: store(m, relative_path="__9_0.distcp"), "missing beside it: '__9_0.distcp'"),
    "a file elsewhere": (lambda m: store(m, relative_path="../../etc/passwd"), "missing beside it"),
    "its own description": (lambda m: store(m, relative_path=".metadata"), "missing beside it"),
    "compressed chunks": (lambda m: store(m, transform_descriptors=["zstd"]), "save them without extensions"),
    "no tensors": (lambda m: setattr(m, "state_dict_metadata", None), "describes no torch.distributed checkpoint"),
    "no storage": (lambda m: setattr(m, "storage_data", 3), "describes no torch.distributed checkpoint"),
    "a name that is none": (lambda m: m.state_dict_metadata.update({3: entry(m)}), "something else than text"),
    "one below another": (
        lambda m: setattr(m, "planner_data", {"fc.weight": ("fc",), "fc.bias": ("fc", "bias")}),
        "lies below a tensor",
    ),
    "two in one place": (
        lambda m: setattr(m, "planner_data", {"fc.weight": ("fc",), "fc.bias": ("fc",)}),
        "stands where another one does",
    ),
}


@pytest.mark.parametrize(("lie", "reason"), LIES.values(), ids=LIES)
def test_a_lie_is_an_error_of_one_line(source, tmp_path, lie, reason):
    write_chunks(tmp_path, STATE, HALVES, lie)
    with pytest.raises(CheckpointError, match=reason) as caught:  # noqa: PT012 - at once, or where the cover is checked
        for info in read_dcp(source, tmp_path).infos["model"].values():
            read_whole(source, info)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_a_damaged_entry_of_the_optimizer_does_no_harm(source, tmp_path):
    def change(metadata):
        metadata.state_dict_metadata["optimizer.exp_avg"].size = "nonsense"
        metadata.planner_data = {name: tuple(name.split(".", 1)) for name in metadata.state_dict_metadata}

    write_chunks(tmp_path, {"model.weight": torch.ones(2), "optimizer.exp_avg": torch.ones(2)}, None, change)
    assert set(read_dcp(source, tmp_path).infos["model"]) == {"weight"}


def test_entries_that_are_no_tensors_are_left_alone(source, tmp_path):
    write_chunks(tmp_path, STATE, None, lambda m: m.state_dict_metadata.update({"step": BytesStorageMetadata()}))
    assert set(read_dcp(source, tmp_path).infos["model"]) == set(STATE)


def test_a_dtype_that_is_not_known_is_a_tensor_that_is_skipped(source, tmp_path):
    write_chunks(tmp_path, STATE, None, lambda m: setattr(entry(m).properties, "dtype", torch.bits1x8))
    found = read_dcp(source, tmp_path)
    assert set(found.infos["model"]) == {"fc.bias"}
    assert [skip.name for skip in found.skips] == ["fc.weight"]


def test_a_chunk_that_is_no_tensor(source, tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": 1}, buffer)
    weight = {"fc.weight": torch.randn(4, 6)}
    write_chunks(tmp_path, weight, None, lambda m: store(m, length=len(buffer.getvalue())), num_files=1)
    (tmp_path / "__0_0.distcp").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="at byte 0 holds no tensor"):
        read_dcp(source, tmp_path)


@settings(max_examples=60)
@given(data=st.data())
def test_a_description_cut_short_or_overwritten_is_an_error_or_the_same_tensors(tmp_path_factory, data):
    folder = write_chunks(tmp_path_factory.mktemp("dcp"), STATE, HALVES)
    path = folder / ".metadata"
    damaged = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    else:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with LocalFiles() as source:
        try:
            infos = read_dcp(source, folder).infos["model"]
            found = {name: read_whole(source, info) for name, info in infos.items()}
        except CheckpointError:
            return
        for array in found.values():  # whatever it is called now, or whichever half came first
            assert sorted(array.ravel()) in [sorted(t.numpy().ravel()) for t in STATE.values()]


@pytest.mark.parametrize("protocol", range(6))
def test_a_payload_as_description_runs_nothing(source, tmp_path, protocol):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "pwned",)

    write_chunks(tmp_path, STATE)
    for value in (Payload(), {"x": Payload()}, Metadata({"fc.weight": Payload()}, storage_data={})):
        (tmp_path / ".metadata").write_bytes(pickle.dumps(value, protocol=protocol))
        with pytest.raises((CheckpointError, NoWeightsError)):
            read_dcp(source, tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_a_payload_beside_the_tensors_runs_nothing_and_they_are_read(source, tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "pwned",)

    write_chunks(tmp_path, STATE, None, lambda m: m.state_dict_metadata.update({"step": Payload()}))
    assert set(read_dcp(source, tmp_path).infos["model"]) == set(STATE)
    assert not (tmp_path / "pwned").exists()
