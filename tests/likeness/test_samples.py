import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.likeness.samples import Distances, choose_runs, plan_samples, read_sample
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.files import read_tensors


@pytest.fixture
def open_tensors(tmp_path):
    def save(state, name="x.safetensors"):
        save_file(state, tmp_path / name)
        with LocalFiles() as source:
            return read_tensors(source, [stat_file(tmp_path / name)], [""]).infos["model"]

    return save


@given(st.integers(1, 10**9), st.integers(16, 2000))
def test_runs_lie_in_the_tensor_and_are_as_many_elements_as_asked(numel, wanted):
    runs = choose_runs(numel, wanted)
    assert all(0 <= start < stop <= numel for start, stop in runs)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(runs))
    total = sum(stop - start for start, stop in runs)
    assert total == numel if numel <= wanted else wanted - 4 < total <= wanted


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e4m3fn"])
def test_a_sample_holds_the_weights_themselves(open_tensors, dtype):
    weights = torch.randn(50, 400).to(getattr(torch, dtype))
    tensors = open_tensors({"w": weights, "small": weights[:2, :3].clone(), "b": weights[0].clone()})
    plan = plan_samples([tensors, tensors])
    assert list(plan.shapes) == ["small", "w"]  # vectors only where there are no matrices
    with LocalFiles() as source:
        sample = read_sample(plan, tensors, source)
    flat = weights.float().numpy().reshape(-1)
    expected = np.concatenate([flat[start:stop] for start, stop in choose_runs(20_000, plan.num_elements)])
    np.testing.assert_array_equal(sample[1], expected)
    np.testing.assert_array_equal(sample[0][:6], weights[:2, :3].float().numpy().reshape(-1))
    assert np.isnan(sample[0][6:]).all()


def test_what_a_checkpoint_does_not_hold_is_nan(open_tensors):
    full = open_tensors({"a": torch.ones(4, 4), "b": torch.ones(4, 4)})
    less = open_tensors({"a": torch.ones(4, 4), "b": torch.ones(2, 8)}, "y.safetensors")
    plan = plan_samples([full, full, less])
    with LocalFiles() as source:
        sample = read_sample(plan, less, source)
    assert np.isnan(sample[1]).all()
    assert (sample[0][:16] == 1).all()


def test_the_plan_does_not_depend_on_the_order_of_checkpoints_or_tensors(open_tensors):
    state = {f"layer.{i}.weight": torch.ones(3, 3) for i in range(300)}
    tensors = open_tensors(state)
    other = dict(reversed(tensors.items()))
    plan = plan_samples([tensors, other])
    assert plan.key == plan_samples([other, tensors]).key
    assert len(plan.shapes) == 128
    assert {min(state), max(state)} <= set(plan.shapes)
    assert plan.key != plan_samples([tensors] * 300).key  # many checkpoints, fewer tensors of each


def test_what_would_cost_much_to_read_is_not_sampled():
    piece = Piece(stat_file(__file__), 0, 64, (1, 4))
    strided = TensorInfo("w", "float32", (4, 4), (piece,))
    codes = TensorInfo("q", "int8", (4, 4), (Piece(stat_file(__file__), 0, 16),))
    assert plan_samples([{"w": strided, "q": codes}] * 2).shapes == {}


def test_distances():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(4, 5, 30)).astype(np.float32)
    samples[1] = samples[0]
    samples[1, 0, 0] += 1
    samples[2] = samples[0]
    samples[3, 2] = np.nan
    found = Distances(samples)
    wide = samples.astype(np.float64)
    expected = np.linalg.norm(wide[0] - wide[3], axis=1)
    np.testing.assert_allclose(found.per_tensor(0, 3)[[0, 1, 3, 4]], expected[[0, 1, 3, 4]], rtol=1e-12)
    assert np.isnan(found.per_tensor(0, 3)[2])
    assert found.relative(0, 2) == 0
    assert found.relative(0, 1) == pytest.approx(
        2 / (np.linalg.norm(wide[0, 0]) + np.linalg.norm(wide[1, 0])), rel=1e-6
    )
    assert found.relative(0, 3) == found.relative(3, 0) <= 2
    assert np.isnan(Distances(np.full((2, 1, 3), np.nan, dtype=np.float32)).relative(0, 1))
