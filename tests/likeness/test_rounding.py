"""How much of a change is rounding: against torch's own casts."""

import pytest
import torch
from safetensors.torch import save_file

from wsanalyze.likeness.rounding import mean_rounding
from wsanalyze.pipeline import measure_run


@pytest.fixture
def measure(tmp_path):
    def run(states):
        for step, state in enumerate(states):
            save_file(state, tmp_path / f"step_{step}.safetensors")
        return measure_run([str(tmp_path)], tmp_path / "run.wsa").series

    return run


def dtype_events(series):
    return [event for event in series.events if event.kind == "dtype"]


@pytest.mark.parametrize("coarse", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_floor_of_a_change_of_dtype(measure, coarse, backwards):
    torch.manual_seed(0)
    weights = 0.02 * torch.randn(60, 60)
    cast = weights.to(getattr(torch, coarse))
    floor = float((cast.double() - weights.double()).abs().sum() / weights.double().abs().sum())
    series = measure([{"w.weight": w} for w in ((cast, weights) if backwards else (weights, cast))])
    (event,) = dtype_events(series)
    assert event.checkpoint == 1
    assert event.evidence["floor"]["median"] == pytest.approx(floor, rel=1e-9)
    assert event.evidence["num_near_floor"] == 1  # there is nothing but rounding
    assert f"{floor:.1e} of the weights; the change is hardly more than that" in event.text


def test_real_changes_are_told_from_rounding(measure):
    torch.manual_seed(0)
    weights = {f"l{i}.weight": torch.randn(40, 40) for i in range(4)}
    later = {n: w + (0.1 if n < "l2" else 1e-5) * torch.randn_like(w) for n, w in weights.items()}
    (event,) = dtype_events(measure([weights, {n: w.bfloat16() for n, w in later.items()}]))
    assert (event.evidence["num_layers"], event.evidence["num_near_floor"]) == (4, 2)
    assert "2 changes are hardly more than that" in event.text


def test_weights_stored_coarsely_that_move_by_less_than_their_rounding(measure):
    torch.manual_seed(0)
    walk = [torch.randn(200, 200)]
    for _ in range(3):
        walk.append(walk[-1] + 1e-4 * torch.randn(200, 200))
    (event,) = dtype_events(measure([{"w.weight": w.bfloat16()} for w in walk]))
    assert (event.checkpoint, event.evidence["num_changes"], event.evidence["rows"]) == (None, 3, [0])
    assert "stored as bfloat16 are smaller than its rounding (1.4e-03)" in event.text


def test_float32_and_large_changes_are_told_of_nothing(measure):
    torch.manual_seed(0)
    weights = torch.randn(50, 50)
    states = [{"a.weight": weights, "b.weight": weights.bfloat16()}]
    states.append({"a.weight": weights + 1e-5, "b.weight": (weights + 0.1 * torch.randn(50, 50)).bfloat16()})
    assert dtype_events(measure(states)) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_the_rounding_of_a_dtype_is_what_casting_does(dtype):
    torch.manual_seed(0)
    weights = torch.randn(2**20)
    error = (weights.to(getattr(torch, dtype)).double() - weights.double()).abs().sum() / weights.double().abs().sum()
    assert mean_rounding(dtype) == pytest.approx(float(error), rel=0.1)
