"""The same checkpoints are found in a tree that is only listed as on disk, and hardly anything of it is fetched."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.checkpoints.configs import read_config
from wsanalyze.checkpoints.folder import find_checkpoints
from wsanalyze.checkpoints.trainer_state import read_training_log
from wsanalyze.checkpoints.tree import TreePath, leads_back, list_file, read_start
from wsanalyze.errors import CheckpointError, SourceError

SHARDS = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
INDEX = json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))})
STATE = json.dumps({"global_step": 77, "log_history": [{"step": 70, "loss": 1.5}, {"step": 77, "loss": 0.5}]})
DISTRIBUTED = (".metadata", "__0_0.distcp", "__1_0.distcp", "common.pt")
ZERO3 = [f"zero_pp_rank_{r}_mp_rank_00_{kind}_states.pt" for r in (0, 1) for kind in ("model", "optim")]

LAYOUTS = {
    "shards with an index": {**dict.fromkeys(SHARDS), "model.safetensors.index.json": INDEX, "left.safetensors": None},
    "a shard that is missing": {SHARDS[0]: None, "model.safetensors.index.json": INDEX},
    "shards without an index": dict.fromkeys(["step_1.pt", *(f"step_2-0000{i}-of-00002.pt" for i in (1, 2))]),
    "a damaged index": {**dict.fromkeys(SHARDS), "model.safetensors.index.json": "{"},
    "an index that leads outside": {"a.bin": None, "pytorch_model.bin.index.json": '{"weight_map": {"w": "../a.bin"}}'},
    "two formats": dict.fromkeys(["model.safetensors", "pytorch_model.bin", "model.fp16.safetensors", "model.onnx"]),
    "files of a sequence": dict.fromkeys(["step_1.pt", "step_20.pt", "step_3.npz", "last.pt", "optimizer.pt", "a.txt"]),
    "components": dict.fromkeys(["actor_1.pt", "critic_1.pt", "actor_2.pt", "critic_2.pt"]),
    "averages": dict.fromkeys(["model_1.pt", "model_ema_1.pt", "model_2.pt", "model_ema_2.pt"]),
    "a trainer": {
        **{
            f"checkpoint-{s}/{n}": None for s in (77, 154) for n in ("model.safetensors", "optimizer.pt", "config.json")
        },
        "checkpoint-77/trainer_state.json": STATE,
        "checkpoint-77/global_step77/mp_rank_00_model_states.pt": None,
        "model.safetensors": None,
        "runs/events.out": None,
    },
    "torch.distributed": {f"checkpoint-{s}/pytorch_model_fsdp_0/{n}": None for s in (1, 2) for n in DISTRIBUTED},
    "torch.distributed without its description": dict.fromkeys(DISTRIBUTED[1:]),
    "zero 3": {f"step-{s}/{n}": None for s in (1, 2) for n in ZERO3},
    "slices": {f"shard-0000{r}-model-00001-of-00001.safetensors": None for r in (1, 2)},
    "slices of ranks": {f"mp_rank_0{r}/model_optim_rng.pt": None for r in (0, 1)},
    "adapters": {
        f"checkpoint-{s}/{n}": None
        for s in (1, 2)
        for n in ("adapter_model.safetensors", "adapter_config.json", "second/adapter_model.safetensors")
    },
    "a pipeline": {
        "model_index.json": "{}",
        **{f"{part}/diffusion_pytorch_model.safetensors": None for part in ("unet", "unet_ema", "vae")},
        "text_encoder/model.safetensors": None,
        "text_encoder/flax_model.msgpack": None,
    },
    "pipelines": {f"checkpoint-{s}/{p}/model.safetensors": None for s in (1, 2) for p in ("unet", "unet_ema", "vae")},
    "formats that are not read": {
        "step-1/model.pt": None,
        "step-2/flax_model.msgpack": None,
        "step-3/m.ckpt.index": None,
    },
    "nothing but Flax": {"step-1/flax_model.msgpack": None},
    "nothing": {"README.md": None},
    "two sequences": {f"{run}/step_{s}.pt": None for run in "ab" for s in (1, 2)},
    "a best in a folder of its own": dict.fromkeys(["best/model.pt", "checkpoints/step_1.pt", "checkpoints/step_2.pt"]),
    "names that are no ASCII": dict.fromkeys(["schritt_ä/model.pt", "schritt_ß/model.pt"]),
}
NAMES = sorted({name for layout in LAYOUTS.values() for path in layout for name in path.split("/")})


def put(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def find(root):
    """What is found, without what only the root tells apart; the step that is noted is another matter."""
    try:
        found = find_checkpoints(root)
    except SourceError as error:
        return str(error).replace(str(root), "ROOT")
    texts = [
        repr((c.origin, c.problem, [(f.url, f.size) for f in c.files], str(c.place))).replace(str(root), "ROOT")
        for c in found
    ]
    return [(c.label, c.prefixes, c.unread, c.layout, text) for c, text in zip(found, texts, strict=True)]


def as_files(layout):
    return {f"run/{name}": (name if text is None else text).encode() for name, text in layout.items()}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_found_as_on_disk(tmp_path, grow, layout):
    files = as_files(layout)
    put(tmp_path, files)
    root = grow(files)
    found = find(root)
    assert found == find(tmp_path / "run")
    assert isinstance(found, str) or all("ROOT" in entry[-1] for entry in found)
    fetched = [name.rpartition("/")[2] for name, _ in root.tree.fetched]
    assert all(name.endswith((".index.json", "trainer_state.json")) for name in fetched)
    assert len(fetched) <= 1


@settings(deadline=None, max_examples=150)
@given(
    names=st.sets(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join), min_size=1, max_size=9),
)
def test_any_tree_is_found_as_on_disk(tmp_path_factory, grow, names):
    names = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    files = as_files(dict.fromkeys(names))
    folder = tmp_path_factory.mktemp("tree")
    put(folder, files)
    assert find(grow(files)) == find(folder / "run")


def test_a_path_on_disk_is_a_place_in_a_tree(tmp_path):
    place: TreePath = tmp_path
    (tmp_path / "a.pt").write_bytes(b"0123")
    assert (list_file(place / "a.pt").size, list_file(place / "a.pt").remote) == (4, False)
    assert read_start(place / "a.pt", 3) == b"012"
    assert read_start(place / "a.pt", 9) == b"0123"


def test_a_link_leads_back_where_it_leads_to_a_folder_above(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name, target in (("up", ".."), ("here", "."), ("away", "b")):
        (tmp_path / "a" / name).symlink_to(target)
    assert {path.name for path in (tmp_path / "a").iterdir() if leads_back(path)} == {"up", "here"}


@pytest.mark.parametrize("folder", ["", "checkpoint-77/", "unet/"])
def test_the_step_that_is_noted_is_fetched_once_and_not_where_a_name_tells_it(grow, folder):
    root = grow(as_files({f"{folder}model.safetensors": None, f"{folder}trainer_state.json": STATE}))
    (found,) = find_checkpoints(root)
    told_by_name = folder == "checkpoint-77/"
    assert found.facts == ({} if told_by_name else {"global_step": 77})
    assert [nbytes for _, nbytes in root.tree.fetched] == ([] if told_by_name else [len(STATE)])


@pytest.mark.parametrize("component", ["", "unet/"])
def test_the_log_is_that_of_the_folder_on_disk(tmp_path, grow, component):
    files = as_files({f"checkpoint-77/{component}model.safetensors": None, "checkpoint-77/trainer_state.json": STATE})
    put(tmp_path, files)
    root = grow(files)
    logs = [
        read_training_log([replace(found, step=77) for found in find_checkpoints(place)])
        for place in (root, tmp_path / "run")
    ]
    assert logs[0].steps.tolist() == logs[1].steps.tolist() == [70, 77]
    assert logs[0].values["loss"].tolist() == [1.5, 0.5]
    assert root.tree.fetched == [("tree:run/checkpoint-77/trainer_state.json", len(STATE))]


def test_the_configuration_lies_beside_the_weights(grow):
    layout = {"model_index.json": "{}", "unet/model.pt": None, "unet/config.json": '{"a": 1}', "vae/model.pt": None}
    (found,) = find_checkpoints(grow(as_files(layout)))
    assert (found.origin, str(found.folder)) == ("tree:run", "tree:run/unet")
    assert read_config(found.folder, "config.json") == {"a": 1}
    assert read_config(found.folder, "adapter_config.json") == {}


def test_what_cannot_be_fetched_stops_nothing_but_what_needs_it(grow):
    layout = {f"{folder}/{name}": STATE for folder in ("a", "b") for name in ("model.pt", "trainer_state.json")}
    layout |= {"c/model.pt": None, "c/config.json": "{}", **{f"d/{name}": None for name in SHARDS}}
    layout["d/model.safetensors.index.json"] = INDEX
    root = grow(as_files(layout), broken={"trainer_state.json", "config.json", "model.safetensors.index.json"})
    found = {checkpoint.label: checkpoint for checkpoint in find_checkpoints(root)}
    assert [found[label].facts for label in "ab"] == [{}, {}]
    assert len(read_training_log([replace(found[label], step=77) for label in "ab"])) == 0
    assert found["d"].problem == "tree:run/d/model.safetensors.index.json: cannot be fetched (503)"
    assert [found[label].problem for label in "abc"] == [None] * 3
    with pytest.raises(CheckpointError, match=r"c/config\.json: cannot be fetched"):
        read_config(found["c"].folder, "config.json")


def test_the_place_takes_no_part_in_comparisons(tmp_path, grow):
    files = as_files({"model.safetensors": None})
    put(tmp_path, files)
    (found,) = find_checkpoints(tmp_path / "run")
    moved = replace(found, place=grow(files))
    assert (moved, hash(moved)) == (found, hash(found))
    assert replace(found, place=None).folder == found.place == Path(tmp_path / "run")
