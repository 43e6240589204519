"""Weights that torch keeps as size and direction: put together again as torch itself does."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.files import read_tensors
from wsanalyze.tensors.gather import ElementReader, check_cover, count_bytes
from wsanalyze.tensors.weight_norm import recombine_weight_norm

REASON = "size or direction of a weight that is put together again"


def old_norm(module, name, dim):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.nn.utils.weight_norm(module, name, dim)


NORMS = {"old": old_norm, "new": torch.nn.utils.parametrizations.weight_norm}
LAYERS = {
    "linear": lambda: torch.nn.Linear(5, 7),
    "conv1d": lambda: torch.nn.Conv1d(3, 4, 5),
    "conv2d": lambda: torch.nn.Conv2d(2, 3, (3, 1)),
    "transposed": lambda: torch.nn.ConvTranspose1d(4, 2, 3),
    "one output": lambda: torch.nn.Linear(6, 1),
}


@pytest.fixture
def recombine(tmp_path, source):
    """Save a module, and recombine what its file holds."""

    def run(module):
        torch.save(module.state_dict(), tmp_path / "a.pt")
        return recombine_weight_norm(read_tensors(source, [stat_file(tmp_path / "a.pt")], [""]).infos["model"])

    return run


def scatter(module, seed):
    """Sizes that are not those of the directions."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weight_is_that_of_the_module(recombine, gather, norm, layer, dim, dtype):
    with torch.random.fork_rng(devices=[]):
        module = LAYERS[layer]().to(dtype)
        NORMS[norm](module, "weight", dim)
        scatter(module, 1)
    infos, skips = recombine(module)
    assert sorted(infos) == ["bias", "weight"]
    assert {skip.reason for skip in skips} == {REASON}
    assert {skip.name for skip in skips} == set(module.state_dict()) - {"bias"}
    weight = infos["weight"]
    check_cover(weight)
    assert weight.shape == tuple(module.weight.shape)
    expected = (
        torch._weight_norm(module.weight_v, module.weight_g, -1 if dim is None else dim)
        if norm == "old"
        else module.weight
    )
    tolerance = 1e-6 if dtype is torch.float32 else 1e-13
    np.testing.assert_allclose(gather(weight), expected.detach().numpy(), rtol=tolerance, atol=tolerance)


@st.composite
def pairs(draw):
    """Directions and sizes of any shape and axis, in one of the dtypes that weights have."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    axis = draw(st.none() | st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    v = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    sizes = () if axis is None else tuple(n if i == axis else 1 for i, n in enumerate(shape))
    g = torch.randn(sizes, generator=generator, dtype=torch.float64).to(dtype)
    return v, g, axis


def oracle(v, g, axis):
    """torch's own formula, in float64."""
    return torch._weight_norm(v.double(), g.double(), -1 if axis is None else axis).numpy()


@given(pairs(), st.data())
def test_any_run_of_elements_is_that_of_the_whole(tmp_path_factory, case, data):
    v, g, axis = case
    path = tmp_path_factory.mktemp("pair") / "a.pt"
    torch.save({"x.weight_g": g, "x.weight_v": v}, path)
    with LocalFiles() as source:
        infos, _ = recombine_weight_norm(read_tensors(source, [stat_file(path)], [""]).infos["model"])
        info = infos["x.weight"]
        start = data.draw(st.integers(0, v.numel()))
        stop = data.draw(st.integers(start, v.numel()))
        reader = ElementReader(source)
        found = reader.read_into(info, start, stop, np.empty((stop - start) * 8, dtype=np.uint8))
        np.testing.assert_allclose(found, oracle(v, g, axis).reshape(-1)[start:stop], rtol=1e-12)
        assert reader.num_bytes == count_bytes(info, [(start, stop)])


@pytest.mark.parametrize("shape", [(3, 2**20 // 2), (2**18, 9), (5, 7, 2**15), (2, 2**21)])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_large_tensors_are_streamed(tmp_path, source, gather, shape, axis):
    """More than a block, with rows short and long: the norms are those of whole rows, not of what is read at a time."""
    v = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    g = 1 + torch.rand(() if axis is None else [n if i == axis else 1 for i, n in enumerate(shape)])
    torch.save({"weight_g": g, "weight_v": v}, tmp_path / "a.pt")
    infos, skips = recombine_weight_norm(read_tensors(source, [stat_file(tmp_path / "a.pt")], [""]).infos["model"])
    if axis is not None and shape[axis] > 2**16 and (axis or v[0].numel() > 2**16):
        assert sorted(infos) == ["weight_g", "weight_v"]
        assert "more than 65536 norms" in skips[0].reason
        return
    found = gather(infos["weight"])
    axes = [i for i in range(v.ndim) if i != axis]
    expected = v.double() * (g.double() / v.double().square().sum(dim=axes, keepdim=axis is not None).sqrt())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-11)
    runs = [(a, min(v.numel(), a + 2**20)) for a in range(0, v.numel(), 2**20)]
    reader = ElementReader(source)
    room = np.empty(8 * 2**20, dtype=np.uint8)
    parts = [reader.read_into(infos["weight"], *run, room).copy() for run in runs]
    assert np.concatenate(parts).tobytes() == found.tobytes()
    assert reader.num_bytes == count_bytes(infos["weight"], runs) <= 2.2 * v.numel() * 4 + 4 * g.numel() * len(runs)


def test_a_direction_of_nothing_gives_nan_as_in_torch(tmp_path, source, gather):
    v, g = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[1.0], [10.0]])
    torch.save({"weight_g": g, "weight_v": v}, tmp_path / "a.pt")
    infos, _ = recombine_weight_norm(read_tensors(source, [stat_file(tmp_path / "a.pt")], [""]).infos["model"])
    np.testing.assert_array_equal(gather(infos["weight"]), torch._weight_norm(v, g, 0).numpy())


@pytest.mark.parametrize("norm", NORMS)
def test_the_weight_stands_where_its_direction_stood(recombine, norm):
    model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(3)))
    NORMS[norm](model[1], "weight", 0)
    infos, _ = recombine(model)
    names = [name for name in infos if "weight" in name]
    assert names == ["0.weight", "1.weight", "2.weight"]


def test_recurrent_layers_and_several_in_one_module(recombine, gather):
    module = torch.nn.LSTM(3, 4)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        old_norm(module, name, 0)
    infos, _ = recombine(module)
    assert {"weight_ih_l0", "weight_hh_l0"} <= set(infos)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        expected = torch._weight_norm(getattr(module, f"{name}_v"), getattr(module, f"{name}_g"), 0)
        np.testing.assert_allclose(gather(infos[name]), expected.detach().numpy(), rtol=1e-6)


def info(name, shape, dtype="float32"):
    return TensorInfo(name, dtype, shape, (Piece(None, 0, 0),))


@pytest.mark.parametrize(
    "tensors",
    [
        {"a.weight_v": (4, 3)},
        {"a.weight_g": (4, 1)},
        {"a.weight_g": (4, 1), "a.weight_v": (4, 3), "a.weight": (4, 3)},
        {"a.weight_g": (3, 1), "a.weight_v": (4, 3)},
        {"a.weight_g": (4, 3), "a.weight_v": (4, 3)},
        {"a.weight_g": (4,), "a.weight_v": (4, 3)},
        {"a.weight_g": (), "a.weight_v": ()},
        {"a.parametrizations.weight.original0": (2, 2), "a.parametrizations.weight.original1": (2, 2)},
        {"a.parametrizations.weight.original": (2, 2)},
    ],
)
def test_what_is_no_pair_stays_as_it_is(tensors):
    infos = {name: info(name, shape) for name, shape in tensors.items()}
    assert recombine_weight_norm(infos) == (infos, [])


@pytest.mark.parametrize("dtype", ["int8", "complex64", "float8_e4m3fn", "packed"])
def test_codes_and_complex_weights_stay_as_they_are(dtype):
    infos = {"a.weight_g": info("a.weight_g", (4, 1)), "a.weight_v": info("a.weight_v", (4, 3), dtype)}
    assert recombine_weight_norm(infos) == (infos, [])
