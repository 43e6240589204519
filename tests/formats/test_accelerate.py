"""States that accelerate saved: `checkpoint_N`, one model or two, safetensors or not."""

import pytest
import torch


@pytest.fixture
def save_states(library, train, tmp_path):
    """Save two models (or one) with their optimizers and a scheduler in three states; returns their weights."""

    def save(*, safe_serialization, num_models=2):
        states = []
        with library():
            from accelerate import Accelerator
            from accelerate.state import AcceleratorState, GradientState, PartialState
            from accelerate.utils import ProjectConfiguration

            for shared in (AcceleratorState, GradientState, PartialState):
                shared._reset_state()
            accelerator = Accelerator(
                cpu=True, project_config=ProjectConfiguration(tmp_path, automatic_checkpoint_naming=True)
            )
            walks = [train(seed=seed) for seed in range(num_models)]
            for index, moments in enumerate(zip(*walks, strict=True)):
                if index == 0:
                    prepared = [accelerator.prepare(moment.model, moment.optimizer) for moment in moments]
                    scheduler = torch.optim.lr_scheduler.StepLR(moments[0].optimizer, 1)
                    accelerator.register_for_checkpointing(scheduler)
                accelerator.save_state(safe_serialization=safe_serialization)
                states.append([moment.state for moment in moments])
            assert len(prepared) == num_models
        return tmp_path, states

    return save


@pytest.mark.parametrize("safe_serialization", [True, False])
def test_one_model(save_states, analyze, check, safe_serialization):
    folder, states = save_states(safe_serialization=safe_serialization, num_models=1)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [f"checkpoint_{n}" for n in range(3)]
    names = {path.name for path in (folder / "checkpoints" / "checkpoint_0").iterdir()}
    assert {"optimizer.bin", "custom_checkpoint_0.pkl", "random_states_0.pkl"} <= names
    series = analyze(folder)
    check(series, _drop_tied([state for (state,) in states], series), steps=[0, 1, 2])
    assert {record.format for record in series.checkpoints} == {"safetensors" if safe_serialization else "torch"}


@pytest.mark.parametrize("safe_serialization", [True, False])
def test_two_models_in_one_state(save_states, analyze, check, safe_serialization):
    folder, states = save_states(safe_serialization=safe_serialization)
    names = {path.name for path in (folder / "checkpoints" / "checkpoint_0").iterdir()}
    assert names >= (
        {"model.safetensors", "model_1.safetensors", "optimizer_1.bin"}
        if safe_serialization
        else {"pytorch_model.bin", "pytorch_model_1.bin", "optimizer_1.bin"}
    )
    series = analyze(folder / "checkpoints")
    first, second = ("model", "model_1") if safe_serialization else ("model", "pytorch_model_1")
    both = [
        {
            f"{prefix}.{name}": tensor
            for prefix, state in zip((first, second), pair, strict=True)
            for name, tensor in state.items()
        }
        for pair in states
    ]
    check(series, _drop_tied(both, series), steps=[0, 1, 2], tied=[f"{p}.head.weight" for p in (first, second)])


def _drop_tied(states, series):
    """Safetensors holds tied tensors once, under whichever of their names the library chose."""
    chosen = [name.removesuffix("head.weight") for name in series.names if name.endswith("head.weight")]
    return [
        {
            (
                name.replace("embed.weight", "head.weight") if name.removesuffix("embed.weight") in chosen else name
            ): value
            for name, value in state.items()
            if name.removesuffix("head.weight") not in chosen
        }
        for state in states
    ]
