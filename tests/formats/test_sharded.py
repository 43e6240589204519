"""Shards with an index, as huggingface_hub splits them, cut elsewhere at every step."""

import json

import pytest
import torch


@pytest.fixture
def save_shards(train, library, tmp_path):
    """Save every moment in shards of another size; returns the folder and the states."""

    def save(sizes, *, safe_serialization=True):
        from huggingface_hub import save_torch_state_dict

        states = []
        for moment, size in zip(train(), sizes, strict=True):
            state = moment.model.state_dict()
            folder = tmp_path / f"step-{moment.step}"
            folder.mkdir()
            with library():
                save_torch_state_dict(state, folder, max_shard_size=size, safe_serialization=safe_serialization)
            states.append(moment.state)
        return tmp_path, states

    return save


@pytest.mark.parametrize("safe_serialization", [True, False])
def test_cut_elsewhere_at_every_step(save_shards, analyze, check, safe_serialization):
    folder, states = save_shards((400, 900, "1MB"), safe_serialization=safe_serialization)
    counts = [sum("-of-" in path.name for path in (folder / f"step-{step}").iterdir()) for step in (90, 100, 1000)]
    assert counts[0] > counts[1] > counts[2]
    series = analyze(folder)
    stored = "head.weight" if "head.weight" in series.names else "embed.weight"
    gone = {"head.weight": "embed.weight", "embed.weight": "head.weight"}[stored]
    check(series, states, tied=(gone,))


def test_an_index_that_lies_about_its_shards(save_shards, analyze, check):
    """Each shard's own header is believed over the map."""
    folder, states = save_shards((400, 400, 400))
    for step in (90, 100, 1000):
        path = folder / f"step-{step}" / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        files = sorted(set(index["weight_map"].values()))
        index["weight_map"] = {name: files[i % len(files)] for i, name in enumerate(index["weight_map"])}
        path.write_text(json.dumps(index))
    series = analyze(folder)
    check(series, states, tied=("head.weight",) if "embed.weight" in series.names else ("embed.weight",))


def test_a_missing_shard_is_a_checkpoint_that_cannot_be_read(save_shards, analyze):
    folder, _ = save_shards((400, 400, 400))
    next((folder / "step-100").glob("*-00002-of-*")).unlink()
    series = analyze(folder)
    assert [record.status for record in series.checkpoints] == ["ok", "unreadable", "ok"]
    assert "is missing" in series.checkpoints[1].reason
    assert series.pairs == ((0, 2),)


def test_shards_without_an_index(save_shards, analyze, check):
    folder, states = save_shards((400, 900, 900))
    for path in folder.glob("*/*.index.json"):
        path.unlink()
    series = analyze(folder)
    check(series, states, tied=("head.weight",) if "embed.weight" in series.names else ("embed.weight",))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_element_types_of_safetensors(train, analyze, check, tmp_path, dtype):
    from safetensors.torch import save_file

    states = []
    for moment in train():
        state = {n: t.to(dtype) for n, t in moment.state.items() if t.is_floating_point() and n != "head.weight"}
        save_file(state, tmp_path / f"step_{moment.step}.safetensors")
        states.append(state)
    check(analyze(tmp_path), states)
