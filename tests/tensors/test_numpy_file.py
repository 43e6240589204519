"""Tensors of archives that NumPy wrote: names, orders of bytes and axes, and what is no tensor."""

import ml_dtypes
import numpy as np
import pytest

from wsanalyze.errors import CheckpointError, NoWeightsError

REAL = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16", ">c16"]
SHAPES = [(), (1,), (5,), (2, 3), (2, 3, 4), (1, 7), (7, 1, 1), (0, 3), (3, 0)]


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_elements_of_every_dtype_shape_and_order(tmp_path, read_set, read_elements, dtype, shape, order):
    weight = np.random.default_rng(0).normal(size=shape).astype(dtype, order=order)
    np.savez(tmp_path / "a.npz", w=weight)
    found = read_set(tmp_path / "a.npz")
    info = found.infos["model"]["w"]
    assert info.dtype == np.dtype(dtype).newbyteorder("=").name
    assert info.dense
    assert info.contiguous == (order == "C" or weight.flags.c_contiguous)
    np.testing.assert_array_equal(read_elements(info), weight)


def test_names_are_put_apart_by_dots_in_the_order_of_saving(tmp_path, read_set):
    names = ["params/Dense_1/kernel", "params/Dense_0/kernel", "layer.weight", "arr_0"]
    np.savez(tmp_path / "a.npz", **{name: np.zeros((2, 2)) for name in names})
    found = read_set(tmp_path / "a.npz")
    assert list(found.infos["model"]) == [name.replace("/", ".") for name in names]
    assert found.ordered
    np.savez(tmp_path / "a.npz", np.zeros(2), np.ones(2))
    assert list(read_set(tmp_path / "a.npz").infos["model"]) == ["arr_0", "arr_1"]


def test_two_names_that_become_one_are_refused(tmp_path, read_set):
    np.savez(tmp_path / "a.npz", **{"a/b": np.zeros(2), "a.b": np.zeros(2)})
    with pytest.raises(CheckpointError, match=r"two arrays that are both called 'a\.b'"):
        read_set(tmp_path / "a.npz")


def test_states_of_optimizers_and_averages_stand_apart(tmp_path, read_set):
    names = ["params/a/kernel", "ema_params/a/kernel", "opt_state/0/mu/a/kernel", "optimizer/v", "optics/lens/weight"]
    np.savez(tmp_path / "a.npz", **{name: np.zeros((2, 2)) for name in names})
    found = read_set(tmp_path / "a.npz")
    assert set(found.infos["model"]) == {"params.a.kernel", "optics.lens.weight"}
    assert set(found.infos["ema"]) == {"ema_params.a.kernel"}
    assert {skip.name for skip in found.skips} == {"opt_state.0.mu.a.kernel", "optimizer.v"}


def test_what_is_no_tensor_is_skipped_with_a_reason(tmp_path, read_set):
    arrays = {
        "w": np.zeros((2, 2)),
        "step": np.array(3),
        "flags": np.array([True]),
        "objects": np.array([{}], dtype=object),
        "text": np.array(["a"]),
        "raw": np.array([b"a"]),
        "fields": np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        "fields of objects": np.zeros(2, dtype=[("a", "O")]),
        "dates": np.array(["2026-01-01"], dtype="M8[D]"),
        "wide": np.zeros(2, dtype=np.longdouble),
        "half": np.zeros((2, 2), dtype=ml_dtypes.bfloat16),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_set(tmp_path / "a.npz")
    assert {name: info.type.floating for name, info in found.infos["model"].items()} == {
        "w": True,
        "step": False,
        "flags": False,
    }
    reasons = {skip.name: skip.reason for skip in found.skips}
    assert set(reasons) == set(arrays) - set(found.infos["model"])
    assert "Python objects" in reasons["objects"]
    assert "Python objects" in reasons["fields of objects"]
    assert "text" in reasons["text"]
    assert "structured" in reasons["fields"]
    assert "datetime64" in reasons["dates"]
    assert "bfloat16" in reasons["half"]


def test_nothing_but_objects_holds_no_weights(tmp_path, read_set):
    np.savez(tmp_path / "a.npz", objects=np.array([{}], dtype=object))
    with pytest.raises(NoWeightsError, match="holds Python objects"):
        read_set(tmp_path / "a.npz")
