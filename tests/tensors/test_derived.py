"""All derivations together: in the model's order, with every part accounted for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.files.local import stat_file
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.derived import derive_tensors
from wsanalyze.tensors.files import read_tensors

# What a model may hold, with the names that each becomes, by default and with everything asked for.
NEW = "fc.parametrizations.weight.original"
GROUPS = {
    "plain": ({"embed.weight": (8, 6)}, ["embed.weight"], ["embed.weight"]),
    "normed": ({"a.weight_g": (5, 1), "a.weight_v": (5, 6), "a.bias": (5,)}, ["a.weight", "a.bias"], None),
    "parametrized": (
        {"fc.bias": (5,), f"{NEW}0": (5, 1), f"{NEW}1": (5, 6)},
        ["fc.bias", "fc.weight"],
        None,
    ),
    "adapted": (
        {"x.lora_A.weight": (4, 6), "x.lora_B.weight": (5, 4)},
        ["x.lora_A.weight", "x.lora_B.weight"],
        ["x.lora_BA"],
    ),
    "fused": (
        {"h.0.attn.c_attn.weight": (6, 18), "h.0.attn.c_attn.bias": (18,)},
        ["h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias"],
        [f"h.0.attn.c_attn.{letter}.{part}" for part in ("weight", "bias") for letter in "qkv"],
    ),
    "by head": (
        {"query_key_value.weight": (24, 8)},
        ["query_key_value.weight"],
        [f"query_key_value.{letter}.weight" for letter in "qkv"],
    ),
}
FILE = FileRef("memory", 2**40, "")


def make(shapes):
    return {
        name: TensorInfo(name, "float32", shape, (Piece(FILE, 2**20 * i, 4 * int(np.prod(shape))),))
        for i, (name, shape) in enumerate(shapes.items())
    }


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configured")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))
    config = {"model_type": "gpt_neox", "num_attention_heads": 2, "hidden_size": 8}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@given(groups=st.permutations(sorted(GROUPS)), asked=st.booleans())
def test_every_tensor_stays_or_is_accounted_for_in_the_order_of_the_model(configured, groups, asked):
    infos = make({name: shape for group in groups for name, shape in GROUPS[group][0].items()})
    derived = derive_tensors(infos, configured, merge_lora=asked, split_qkv=asked)
    expected = [name for group in groups for name in (asked and GROUPS[group][2]) or GROUPS[group][1]]
    assert list(derived.infos) == expected
    assert all(info.name == name for name, info in derived.infos.items())
    assert {skip.name for skip in derived.skips} == set(infos) - set(derived.infos)
    assert len(derived.skips) == len({skip.name for skip in derived.skips})
    assert bool(derived.key) is asked


def test_nothing_to_derive_is_left_as_it_is():
    infos = make(GROUPS["plain"][0])
    derived = derive_tensors(infos, "nowhere", merge_lora=True, split_qkv=True)
    assert (derived.infos, derived.skips, derived.key) == (infos, (), "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adapter_config.json", {"lora_alpha": 9}),
        ("adapter_config.json", {"use_rslora": True}),
        ("config.json", {"num_attention_heads": 4}),
    ],
)
def test_the_key_changes_with_whatever_the_elements_depend_on(configured, tmp_path, name, value):
    infos = make(GROUPS["adapted"][0] | GROUPS["by head"][0])
    before = derive_tensors(infos, configured, merge_lora=True, split_qkv=True)
    for file in ("adapter_config.json", "config.json"):
        config = json.loads((Path(configured) / file).read_text())
        (tmp_path / file).write_text(json.dumps(config | (value if file == name else {"other": 1})))
    after = derive_tensors(infos, str(tmp_path), merge_lora=True, split_qkv=True)
    assert list(before.infos) == list(after.infos)
    assert before.key != after.key
    (tmp_path / name).write_text((Path(configured) / name).read_text())
    assert derive_tensors(infos, str(tmp_path), merge_lora=True, split_qkv=True).key == before.key


def test_a_fused_weight_that_is_normed_is_recombined_and_then_split(tmp_path, source, gather):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.nn.Sequential()
        module.Wqkv = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 12))
    torch.save(module.state_dict(), tmp_path / "a.pt")
    infos = read_tensors(source, [stat_file(tmp_path / "a.pt")], [""]).infos["model"]
    derived = derive_tensors(infos, str(tmp_path), split_qkv=True)
    for letter, expected in zip("qkv", module.Wqkv.weight.detach().chunk(3), strict=True):
        np.testing.assert_allclose(gather(derived.infos[f"Wqkv.{letter}.weight"]), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("rank", [0, 3])
def test_factors_whose_rank_is_another_stay_and_are_told(tmp_path, rank):
    infos = make(GROUPS["adapted"][0])
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": 4}))
    derived = derive_tensors(infos, str(tmp_path), merge_lora=True)
    assert (derived.infos, derived.key) == (infos, "")
    assert [(skip.name, skip.reason) for skip in derived.skips] == [
        ("x.lora_BA", f"not merged: its rank is 4, and {rank} in adapter_config.json")
    ]


def test_a_missing_configuration_is_an_error_only_where_it_is_needed(tmp_path):
    infos = make(GROUPS["adapted"][0])
    assert derive_tensors(infos, str(tmp_path)).infos == infos
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        derive_tensors(infos, str(tmp_path), merge_lora=True)


@pytest.mark.parametrize(
    "name",
    [
        "weight" * 10_000 + "_v",
        "weight_v" * 8000 + "!",
        "a.lora_mid" * 6000 + "\n",
        ".parametrizations.original1" * 2000 + "\n",
        "x.lora_A." * 7000 + "weight",
        "blocks.1.attn.qkv." * 3500 + "weight\n",
        "in_proj_" * 8000 + "weight",
    ],
)
def test_names_made_to_take_long_take_no_time(name):
    infos = make(
        {f"{i}.{name}": (4, 4) for i in range(200)} | {"m.lora_down.weight": (4, 6), "m.lora_up.weight": (5, 4)}
    )
    derived = derive_tensors(infos, "nowhere", merge_lora=True, split_qkv=True)
    assert len(derived.infos) == 201
