"""Adapters that peft saved: the two factors of every update, and the update itself."""

import itertools

import numpy as np
import pytest
import torch

from wsanalyze.choosing import SequenceOptions
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.series import State

STEPS = (2, 10, 30)


@pytest.fixture(scope="module")
def make_adapted(library):
    """A tiny GPT-2 with LoRA on its fused attention (stored the other way round) and on its embedding."""
    with library():
        import peft
        import transformers

        def make(**options):
            with library():
                config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2)
                lora = peft.LoraConfig(
                    **{"r": 4, "lora_alpha": 6, "target_modules": ["c_attn", "c_proj", "wte"]} | options
                )
                return peft.get_peft_model(transformers.GPT2LMHeadModel(config), lora)

    return make


@pytest.fixture
def save_adapters(make_adapted, library, tmp_path):
    """Move the adapters, save them at every step; returns the folder, their tensors and peft's own updates."""

    def save(*, safe_serialization=True, **options):
        import peft

        adapters, updates = [], []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = make_adapted(**options)
            for step in STEPS:
                with torch.no_grad():
                    for name, parameter in model.named_parameters():
                        if "lora_" in name:
                            parameter.add_(0.1 * torch.randn_like(parameter))
                with library():
                    model.save_pretrained(tmp_path / f"checkpoint-{step}", safe_serialization=safe_serialization)
                    torch.save(
                        {"state": {0: {"exp_avg": torch.ones(2, 2)}}}, tmp_path / f"checkpoint-{step}/optimizer.pt"
                    )
                state = peft.get_peft_model_state_dict(model)
                adapters.append({name: tensor.detach().clone() for name, tensor in state.items()})
                updates.append(
                    {
                        name: module.get_delta_weight("default").detach().clone()
                        for name, module in model.named_modules()
                        if hasattr(module, "get_delta_weight")
                    }
                )
        return tmp_path, adapters, updates

    return save


@pytest.mark.parametrize("safe_serialization", [True, False])
def test_both_factors(save_adapters, analyze, check, safe_serialization):
    folder, adapters, _ = save_adapters(safe_serialization=safe_serialization)
    name = "adapter_model.safetensors" if safe_serialization else "adapter_model.bin"
    assert (folder / "checkpoint-2" / name).is_file()
    series = analyze(folder)
    adapters = [{n: t for n, t in state.items() if "lora_" in n} for state in adapters]
    kept = [n for n in series.names if "lora_" in n]
    check(series, adapters, steps=STEPS, tied=())
    kinds = {row.kind.value for row in series.rows}
    assert kinds == {"lora A", "lora B"}
    assert len(kept) == len(series.rows)


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"rank_pattern": {"wte": 2}, "alpha_pattern": {"wte": 3}}]
)
def test_the_update_that_they_make(save_adapters, tmp_path_factory, options):
    """Each row is that of peft's own `get_delta_weight`, whose order of axes is that of the layer."""
    folder, _, updates = save_adapters(**options)
    sequence = SequenceOptions(merge_lora=True)
    run = tmp_path_factory.mktemp("run") / "run.wsa"
    series = measure_run([str(folder)], run, AnalyzeOptions(sequence=sequence, params="all")).series
    assert [record.step for record in series.checkpoints] == list(STEPS)
    assert len(series.rows) == len(updates[0])
    for row, found in zip(series.rows, series.metric(), strict=True):
        (module,) = [name for name in updates[0] if row.name.startswith(name)]
        states = [update[module].double() for update in updates]
        expected = [((b - a).abs().sum() / a.abs().sum()).item() for a, b in itertools.pairwise(states)]
        assert found.tolist() == pytest.approx(expected, rel=1e-5), row.name
        assert row.numel == states[0].numel()


def test_a_fresh_adapter_changes_from_zero(make_adapted, library, analyze, tmp_path):
    """B is zero before training: the first change of the update has no ratio, and no error either."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make_adapted(target_modules=["c_attn"])
        for step in (0, 1, 2):
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if "lora_B" in name and step == 2:
                        parameter.add_(torch.randn_like(parameter))
                    if "lora_A" in name:
                        parameter.add_(torch.randn_like(parameter))
            with library():
                model.save_pretrained(tmp_path / f"checkpoint-{step}")
    series = analyze(tmp_path, merge_lora=True)
    assert {name.rsplit(".", 1)[1] for name in series.names} == {"lora_BA"}
    assert series.metric_states().tolist() == [[State.ZERO, State.FROM_ZERO]] * 2


def test_a_checkpoint_without_its_configuration_is_named(save_adapters, statuses, analyze):
    folder, *_ = save_adapters()
    (folder / "checkpoint-10" / "adapter_config.json").unlink()
    series = analyze(folder, merge_lora=True)
    assert list(statuses(series).values()) == ["ok", "unreadable", "ok"]
    (reason,) = [record.reason for record in series.checkpoints if record.status == "unreadable"]
    assert "checkpoint-10" in reason
    assert "--merge-lora needs adapter_config.json" in reason


def test_an_adapter_of_which_the_product_is_not_the_update_stays_two_factors(save_adapters, analyze):
    folder, *_ = save_adapters(use_dora=True, target_modules=["c_attn"])
    stored, asked = analyze(folder), analyze(folder, merge_lora=True)
    assert list(asked.names) == list(stored.names)
    np.testing.assert_array_equal(asked.metric(), stored.metric())
    told = [skip for skip in asked.skips if "B.A alone is not the update" in skip.reason]
    assert told
    assert all(skip.name.endswith("c_attn.lora_BA") for skip in told)
