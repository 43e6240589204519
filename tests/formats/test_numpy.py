"""Archives of numpy.savez, as JAX users and hand-written loops keep their weights."""

import numpy as np
import pytest

from wsanalyze.errors import SourceError


def as_arrays(state):
    return {name: tensor.numpy() for name, tensor in state.items() if name != "head.weight"}


def test_named_arrays(train, analyze, check, tmp_path):
    states = []
    for moment in train():
        np.savez(tmp_path / f"step_{moment.step}.npz", **as_arrays(moment.state))
        states.append(moment.state)
    series = analyze(tmp_path)
    check(series, states)
    assert next(iter(series.names)) == "stem.weight"
    assert {record.format for record in series.checkpoints} == {"NumPy"}


def test_the_step_inside_and_the_optimizer_left_alone(train, analyze, tmp_path):
    for moment in train():
        optimizer = {f"opt_state/{n}/mu": np.ones_like(array) for n, array in as_arrays(moment.state).items()}
        np.savez(
            tmp_path / f"x{moment.step % 11}.npz", step=np.int64(moment.step), **as_arrays(moment.state), **optimizer
        )
    series = analyze(tmp_path)
    assert [record.step for record in series.checkpoints] == [90, 100, 1000]
    assert not any("opt_state" in name for name in series.names)


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_element_types(train, analyze, check, tmp_path, dtype):
    states = []
    for moment in train():
        arrays = {n: a.astype(dtype) for n, a in as_arrays(moment.state).items() if a.dtype.kind == "f"}
        np.savez(tmp_path / f"step_{moment.step}.npz", **arrays)
        states.append(arrays)
    import torch

    native = [{n: torch.from_numpy(a.astype(a.dtype.newbyteorder("="))) for n, a in s.items()} for s in states]
    check(analyze(tmp_path), native)


def test_arrays_in_fortran_order(train, analyze, check, tmp_path):
    states = []
    for moment in train():
        np.savez(
            tmp_path / f"step_{moment.step}.npz",
            **{n: np.asfortranarray(a) for n, a in as_arrays(moment.state).items()},
        )
        states.append(moment.state)
    check(analyze(tmp_path), states, exact=False)


def test_compressed_archives_are_refused_with_advice(train, analyze, tmp_path):
    for moment in train():
        np.savez_compressed(tmp_path / f"step_{moment.step}.npz", **as_arrays(moment.state))
    with pytest.raises(SourceError, match=r"save it with numpy\.savez, not numpy\.savez_compressed"):
        analyze(tmp_path)
