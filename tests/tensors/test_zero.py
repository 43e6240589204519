"""ZeRO-3: slices of every rank give the whole parameters, whatever does not divide; a lie is an error."""

import itertools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.files import read_checkpoint
from wsanalyze.tensors.gather import ElementReader, check_cover


def partition(tensor, num_ranks, dtype=torch.float32):
    """A parameter as stage 3 splits it: flat, zeros behind it to a multiple of the ranks, a run for each."""
    flat = tensor.detach().to(dtype).flatten()
    size = -(-flat.numel() // num_ranks)
    padded = torch.cat([flat, flat.new_zeros(size * num_ranks - flat.numel())])
    return [part.clone() for part in padded.split(size)] if size else [flat.clone()] * num_ranks


def write_zero3(folder, params, beside=None, lies=None, *, num_ranks=2, prefix="", groups=1):
    """Write the files of `engine.save_checkpoint` in stage 3.

    Args:
        folder: Where to.
        params: Trained parameters by name, in the model's order.
        beside: "frozen" parameters and "buffers" by name, and names of "shared" parameters that are others' too.
        lies: What is to be put into the states of a rank instead, of the "model" or "optim": functions of the rank.
        num_ranks: Size of the data-parallel group.
        prefix: "bf16_" where the engine trained in that; only the optimizer's files have it.
        groups: Number of flat tensors that the slices of a rank are cut into.
    """
    beside, lies = beside or {}, lies or {}
    frozen, buffers, shared = (beside.get(kind, {}) for kind in ("frozen", "buffers", "shared"))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for rank in range(num_ranks):
        slices = [partition(tensor, num_ranks)[rank] for tensor in params.values()]
        flat = torch.cat(slices) if slices else torch.zeros(0)
        step = -(-flat.numel() // groups)
        state = {
            "module": {**{n: torch.empty(0) for n in (*params, *frozen, *shared)}, **buffers},
            "buffer_names": list(buffers),
            "optimizer": None,
            "param_shapes": [OrderedDict((name, tensor.shape) for name, tensor in params.items())],
            "frozen_param_shapes": OrderedDict((name, tensor.shape) for name, tensor in frozen.items()) or None,
            "frozen_param_fragments": {n: partition(t, num_ranks, t.dtype)[rank] for n, t in frozen.items()} or None,
            "shared_params": shared,
            "global_steps": 7,
            "ds_version": "0.18.2",
        }
        optimizer = {
            "zero_stage": 3,
            "loss_scaler": None,
            "partition_count": num_ranks,
            "ds_zero_partition_groups": None,
            "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones_like(flat)}}, "param_groups": []},
            "fp32_flat_groups": list(flat.split(step)) if step else [flat],
        }
        state |= lies["model"](rank) if "model" in lies else {}
        optimizer |= lies["optim"](rank) if "optim" in lies else {}
        for kind, value in (("model", state), ("optim", {"optimizer_state_dict": optimizer})):
            name = f"zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt"
            torch.save(value, folder / (f"{prefix}{name}" if kind == "optim" else name))
    return folder


def list_files(folder):
    return [stat_file(path) for path in sorted(Path(folder).iterdir())]


def read_zero(source, folder):
    files = list_files(folder)
    return read_checkpoint(source, "zero3", files, [""] * len(files))[0]


def read_whole(source, info):
    """All elements, put together, in the shape of the tensor; the pieces are checked to cover it."""
    check_cover(info)
    return np.array(ElementReader(source)(info, 0, info.numel)).reshape(info.shape)


def assert_equal(source, tensors, expected):
    assert set(tensors) == set(expected)
    for name, tensor in expected.items():
        found = read_whole(source, tensors[name])
        assert found.shape == tuple(tensor.shape)
        whole = tensor.detach().to(torch.float32)
        assert found.astype(np.float32).tobytes() == whole.numpy().tobytes()


PARAMS = {"stem.weight": torch.randn(3, 5), "norm.bias": torch.randn(7), "head.weight": torch.randn(4, 3, 2)}


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("groups", [1, 2, 5])
def test_sizes_that_do_not_divide(source, tmp_path, num_ranks, groups):
    write_zero3(tmp_path, PARAMS, num_ranks=num_ranks, groups=groups)
    found = read_zero(source, tmp_path)
    assert_equal(source, found.infos["model"], PARAMS)
    assert list(found.infos["model"]) == list(PARAMS)
    assert found.ordered


@settings(max_examples=60)
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=1, max_size=6),
    num_ranks=st.integers(1, 6),
    groups=st.integers(1, 4),
)
def test_any_shapes_over_any_ranks(tmp_path_factory, shapes, num_ranks, groups):
    params = {f"w{i}": torch.arange(int(np.prod(shape))).float().reshape(shape) + i for i, shape in enumerate(shapes)}
    folder = write_zero3(tmp_path_factory.mktemp("zero"), params, num_ranks=num_ranks, groups=groups)
    with LocalFiles() as source:
        assert_equal(source, read_zero(source, folder).infos["model"], params)


@pytest.mark.parametrize("num_ranks", [1, 3, 4])
def test_frozen_and_shared_parameters_and_buffers(source, tmp_path, num_ranks):
    frozen = {"base.weight": torch.randn(5, 2).bfloat16(), "base.bias": torch.randn(5).bfloat16()}
    buffers = {"norm.running_mean": torch.randn(7).bfloat16()}
    write_zero3(
        tmp_path,
        PARAMS,
        {"frozen": frozen, "buffers": buffers, "shared": {"out.weight": "head.weight"}},
        num_ranks=num_ranks,
        prefix="bf16_",
    )
    infos = read_zero(source, tmp_path).infos["model"]
    assert {infos[name].dtype for name in frozen | buffers} == {"bfloat16"}
    shared = {"out.weight": PARAMS["head.weight"]}
    assert infos["out.weight"].pieces == infos["head.weight"].pieces
    found = {n: read_whole(source, info) for n, info in infos.items() if n not in (frozen | buffers)}
    assert {n: a.tolist() for n, a in found.items()} == {n: t.tolist() for n, t in (PARAMS | shared).items()}
    for name, tensor in (frozen | buffers).items():
        assert read_whole(source, infos[name]).view(np.uint16).tolist() == tensor.view(torch.uint16).tolist()


def test_the_order_of_the_files_does_not_matter(source, tmp_path):
    write_zero3(tmp_path, PARAMS, num_ranks=3)
    for files in itertools.islice(itertools.permutations(list_files(tmp_path)), 0, None, 97):
        tensors, contents = read_checkpoint(source, "zero3", files, [""] * len(files))
        assert_equal(source, tensors.infos["model"], PARAMS)
        assert len(contents) == len(files)


def test_the_step_is_told(source, tmp_path):
    files = list_files(write_zero3(tmp_path, PARAMS))
    _, contents = read_checkpoint(source, "zero3", files, [""] * len(files))
    assert any(mapping.get("global_steps") == 7 for content in contents for mapping in content.mappings())


LIES = {
    "stage 2": {"optim": lambda _: {"zero_stage": 2}},
    "no stage": {"optim": lambda _: {"zero_stage": None}},
    "other ranks": {"optim": lambda _: {"partition_count": 5}},
    "no groups": {"optim": lambda _: {"fp32_flat_groups": []}},
    "groups that are no tensors": {"optim": lambda _: {"fp32_flat_groups": [3]}},
    "a group of whole numbers": {"optim": lambda _: {"fp32_flat_groups": [torch.zeros(24, dtype=torch.int64)]}},
    "a group that is transposed": {"optim": lambda _: {"fp32_flat_groups": [torch.zeros(4, 6).T]}},
    "too short a group": {"optim": lambda _: {"fp32_flat_groups": [torch.zeros(23)]}},
    "too long a group": {"optim": lambda _: {"fp32_flat_groups": [torch.zeros(99)]}},
    "ranks that differ": {"optim": lambda rank: {"fp32_flat_groups": [torch.zeros(24 - rank)]}},
    "groups over some ranks": {"optim": lambda _: {"ds_zero_partition_groups": [[0, 1]]}},
    "dtypes that differ": {
        "optim": lambda _: {"fp32_flat_groups": [torch.zeros(20), torch.zeros(4, dtype=torch.float64)]}
    },
    "shapes that are none": {"model": lambda _: {"param_shapes": [{"a": "x"}]}},
    "a negative shape": {"model": lambda _: {"param_shapes": [{"a": torch.Size([4]), "b": (-4, -5)}]}},
    "a shape beyond all bounds": {"model": lambda _: {"param_shapes": [{"a": (2**40, 2**40)}]}},
    "a name that is none": {"model": lambda _: {"param_shapes": [{3: torch.Size([48])}]}},
    "a name twice": {"model": lambda _: {"param_shapes": [{"a": torch.Size([24])}, {"a": torch.Size([24])}]}},
    "shapes that are no mapping": {"model": lambda _: {"param_shapes": [3]}},
    "no fragments": {"model": lambda _: {"frozen_param_shapes": {"f": torch.Size([4])}}},
    "too short a fragment": {
        "model": lambda _: {
            "frozen_param_shapes": {"f": torch.Size([40])},
            "frozen_param_fragments": {"f": torch.zeros(3)},
        }
    },
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_an_error_that_says_how_to_convert(source, tmp_path, lie):
    write_zero3(tmp_path, PARAMS, lies=lie)
    with pytest.raises(CheckpointError, match=r"zero_to_fp32\.py") as caught:
        read_zero(source, tmp_path)
    assert "\n" not in str(caught.value)


def test_partitions_that_are_the_same_bytes(source, tmp_path):
    flat = torch.randn(24)
    write_zero3(tmp_path, PARAMS, lies={"optim": lambda _: {"fp32_flat_groups": [flat[:12], flat[:12]]}})
    with pytest.raises(CheckpointError, match="partitions 'flat group 0' and 'flat group 1' overlap"):
        read_zero(source, tmp_path)


@pytest.mark.parametrize("kind", ["model", "optim"])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_missing_rank(source, tmp_path, kind, rank):
    write_zero3(tmp_path, PARAMS, num_ranks=3)
    (tmp_path / f"zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt").unlink()
    with pytest.raises(CheckpointError, match=r"zero_to_fp32\.py"):
        read_zero(source, tmp_path)


def test_one_rank_twice(source, tmp_path):
    write_zero3(tmp_path, PARAMS)
    name = "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    (tmp_path / f"bf16_{name}").write_bytes((tmp_path / name).read_bytes())
    with pytest.raises(CheckpointError, match="is of the same rank as"):
        read_zero(source, tmp_path)


@pytest.mark.parametrize("value", [3, [torch.zeros(3)], None])
def test_files_of_something_else(source, tmp_path, value):
    for kind in ("model", "optim"):
        torch.save(value, tmp_path / f"zero_pp_rank_0_mp_rank_00_{kind}_states.pt")
    with pytest.raises(CheckpointError, match="is not a file that DeepSpeed wrote"):
        read_zero(source, tmp_path)


def test_the_optimizer_is_never_read(source, tmp_path):
    write_zero3(tmp_path, PARAMS)
    infos = read_zero(source, tmp_path).infos
    assert set(infos) == {"model"}
    assert not any("exp_avg" in name for name in infos["model"])
