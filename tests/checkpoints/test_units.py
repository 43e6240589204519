"""Which files of a folder make one model."""

import json
import os

import pytest
import torch
from huggingface_hub import save_torch_state_dict

from wsanalyze.checkpoints.units import list_unit_of, list_units
from wsanalyze.checkpoints.weight_files import is_weight_file


@pytest.fixture
def units(tmp_path):
    return lambda: {label: [file.name for file in unit.files] for label, unit in list_units(tmp_path).items()}


def index(*names, **others):
    return {"weight_map": {f"w{i}": name for i, name in enumerate(names)}} | others


WEIGHTS = ["a.safetensors", "step1.pt", "b.pth", "c.ckpt", "d.bin", "checkpoint-12.pth.tar", "UPPER.PT"]
SIDECARS = [
    "optimizer.pt",
    "optimizer.bin",
    "optim_states.pt",
    "optimizer_1.bin",
    "scheduler.pt",
    "rng_state.pth",
    "rng_state_0.pth",
    "random_states_0.pt",
    "scaler.pt",
    "training_args.bin",
    "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "custom_checkpoint_0.pt",
    ".hidden.pt",
    "README.md",
]
NO_SIDECARS = ["lossnet.pt", "optimus.pt", "argsort.pt", "scalerless.pt", "configurable.bin", "randomforest.pt"]


@pytest.mark.parametrize("name", WEIGHTS + NO_SIDECARS)
def test_weight_files(put, name):
    assert is_weight_file(put(name) / name)


@pytest.mark.parametrize("name", SIDECARS)
def test_sidecars_are_left_alone(put, name):
    assert not is_weight_file(put(name) / name)


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_archives_and_exports_count_only_where_there_is_nothing_else(put, units, suffix):
    put(f"step_1{suffix}", f"step_2{suffix}")
    assert set(units()) == {"step_1", "step_2"}
    put("model.safetensors")
    assert set(units()) == {"model"}


def test_what_is_called_like_weights_but_cannot_be_read_is_not_passed_over(tmp_path, units):
    (tmp_path / "dangling.pt").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "folder.pt").mkdir()
    assert set(units()) == {"dangling", "pipe"}


@pytest.mark.parametrize("safe", [True, False])
def test_shards_of_one_model(tmp_path, units, safe):
    state = {f"w{i}": torch.zeros(8, 8) for i in range(12)}
    save_torch_state_dict(state, tmp_path, max_shard_size=600, safe_serialization=safe)
    assert list(units()) == ["model"]
    assert len(units()["model"]) == len(list(tmp_path.glob("*-of-*"))) > 1
    next(tmp_path.glob("*.index.json")).unlink()
    assert list(units()) == ["model"]


def test_the_index_decides_which_shards_belong(put, units):
    put(
        *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)),
        *(f"model-0000{i}-of-00002.safetensors" for i in (1, 2)),
    )
    put("model.safetensors.index.json", text=index(*(f"model-0000{i}-of-00002.safetensors" for i in (1, 2))))
    assert units() == {"model": ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]}


def test_shards_of_any_name_by_the_index(put, units):
    put("first.safetensors", "second.safetensors", "other.pt")
    put("model.safetensors.index.json", text=index("first.safetensors", "second.safetensors"))
    assert units() == {"model": ["first.safetensors", "second.safetensors"], "other": ["other.pt"]}


def test_a_missing_shard_is_named(put, tmp_path):
    put("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors")
    assert "shard model-00002-of-00003.safetensors is missing (1 of 3 are)" in list_units(tmp_path)["model"].problem
    put("model.safetensors.index.json", text=index(*(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))))
    assert "shard model-00002-of-00003.safetensors is missing (1 of 3 are)" in list_units(tmp_path)["model"].problem


def test_shards_counted_from_nought(put, tmp_path):
    put("model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors")
    assert list_units(tmp_path)["model"].problem is None


def test_shards_of_two_saves_are_refused_without_an_index(put, tmp_path):
    put("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model-00003-of-00003.safetensors")
    assert "in 2 and in 3 shards" in list_units(tmp_path)["model"].problem


OUTSIDE = [
    "../a.bin",
    "/etc/passwd",
    "a/b.bin",
    "a\\b.bin",
    "C:a.bin",
    "a\0.bin",
    ".",
    "..",
    "",
    "\ud800",
    "x" * 300,
    5,
]


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_an_index_may_not_lead_out_of_its_folder(put, tmp_path, name):
    put("model.safetensors.index.json", text=index("model-00001-of-00001.safetensors", name))
    problem = list_units(tmp_path)["model"].problem
    assert "names a shard that is no file of its folder" in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"weight_map": 3}',
        '{"weight_map": {}}',
        '{"a": 1}',
        "[" * 100_000,
        '{"weight_map": {"w": []}}',
    ],
)
def test_a_damaged_index_is_named(put, tmp_path, text):
    put("model-00001-of-00001.safetensors")
    put("model.safetensors.index.json", text=text)
    problem = list_units(tmp_path)["model"].problem
    assert problem.startswith(str(tmp_path / "model.safetensors.index.json"))


def test_an_index_of_gigabytes_is_refused(put, tmp_path, monkeypatch):
    monkeypatch.setattr("wsanalyze.checkpoints.units._MAX_INDEX_BYTES", 5)
    put("model.safetensors.index.json", text=index("a.safetensors"))
    assert "larger than 5 bytes" in list_units(tmp_path)["model"].problem


def test_of_two_formats_the_safer_is_read(put, units):
    put("model.safetensors", "pytorch_model.bin", "adapter_model.bin", "adapter_model.safetensors", "x.pt")
    assert units() == {
        "adapter_model": ["adapter_model.safetensors"],
        "model": ["model.safetensors"],
        "x": ["x.pt"],
    }


def test_of_two_precisions_the_full_one_is_read(put, units):
    put("model.safetensors", "model.fp16.safetensors", "other.bf16.safetensors")
    assert set(units()) == {"model", "other.bf16"}


@pytest.mark.parametrize(
    "names",
    [
        ("mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"),
        ("consolidated.00.pth", "consolidated.01.pth"),
        ("model_rank_0.pt", "model_rank_1.pt"),
    ],
)
def test_partitions_of_several_ranks_are_refused(put, names):
    units = list_units(put(*names))
    assert len(units) == 1
    assert "split over the 2 ranks" in next(iter(units.values())).problem


def test_a_single_rank_is_a_model(put):
    unit = list_units(put("mp_rank_00_model_states.pt"))["mp_rank_00_model_states"]
    assert unit.problem is None


def test_the_unit_of_a_file(put, tmp_path):
    put("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "a.pt")
    assert len(list_unit_of(tmp_path / "model-00002-of-00002.safetensors").files) == 2
    assert [file.name for file in list_unit_of(tmp_path / "a.pt").files] == ["a.pt"]
    put("model.safetensors.index.json", text=json.dumps(index("model-00001-of-00002.safetensors")))
    assert len(list_unit_of(tmp_path / "model.safetensors.index.json").files) == 1
    stale = list_unit_of(tmp_path / "model-00002-of-00002.safetensors")  # the index does not list it, the user does
    assert [file.name for file in stale.files] == ["model-00002-of-00002.safetensors"]
    gone = list_unit_of(tmp_path / "gone" / "model-00002-of-00002.safetensors")
    assert len(gone.files) == 1


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ("_MAX_INDEX_VALUES", "holds more than 3 values: refused"),
        ("_MAX_SHARDS", "names 4 shards, more than 3 are refused"),
    ],
)
def test_bounds_of_an_index(put, tmp_path, monkeypatch, bound, reason):
    put("model.safetensors.index.json", text=index("a.bin", "b.bin", "c.bin", "d.bin"))
    monkeypatch.setattr(f"wsanalyze.checkpoints.units.{bound}", 3)
    assert reason in list_units(tmp_path)["model"].problem


def test_an_index_that_is_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    os.mkfifo(path)
    assert "is not a regular file" in list_unit_of(path).problem


def unread(folder):
    return {label: [file.name for file in unit.unread] for label, unit in list_units(folder).items()}


@pytest.mark.parametrize("suffix", [".npz", ".zip"])
def test_a_step_in_another_format_is_left_out_but_named(put, suffix):
    folder = put("step_1.pt", "step_2.pt", f"step_9{suffix}", f"step_2{suffix}", f"results{suffix}", f"data_1{suffix}")
    assert unread(folder) == {"step_1": [f"step_2{suffix}", f"step_9{suffix}"], "step_2": []}


def test_an_archive_without_a_number_is_no_step(put):
    assert unread(put("model.pt", "evaluations.npz", "model.npz")) == {"model": ["model.npz"]}


def test_averages_are_left_out_beside_what_they_average(put, units):
    folder = put("model.safetensors", "model_ema.safetensors", "model_ema.bin", "vae.pt")
    assert unread(folder) == {"model": ["model_ema.safetensors", "model_ema.bin"], "vae": []}
    assert set(unread(put("last.pt", "last_ema.pt", "best-ema.pt"))) == {"model", "vae", "last", "best-ema"}
    assert units()["best-ema"] == ["best-ema.pt"]


def test_a_shard_of_an_average_given_directly_stands_for_the_average(put):
    names = [f"model_ema-0000{number}-of-00002.safetensors" for number in (1, 2)]
    folder = put("model.safetensors", *names)
    assert unread(folder) == {"model": names}
    assert [file.name for file in list_unit_of(folder / names[1]).files] == names


def test_other_adapters_of_the_same_model_are_left_out_but_named(put, locate):
    put(*(f"checkpoint-{step}/{part}adapter_model.safetensors" for step in (1, 2) for part in ("", "second/")))
    put("checkpoint-1/third/adapter_model.bin", "checkpoint-1/other/model.safetensors")
    found = locate(put("adapter_model.safetensors"))
    assert [(checkpoint.label, checkpoint.unread) for checkpoint in found] == [
        ("checkpoint-1", ("second/adapter_model.safetensors", "third/adapter_model.bin")),
        ("checkpoint-2", ("second/adapter_model.safetensors",)),
        ("final", ()),
    ]
