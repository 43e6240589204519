"""Updates that two small factors make: those that peft itself adds to its weights."""

import itertools
import json
import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.files import read_tensors
from wsanalyze.tensors.gather import ElementReader, check_cover, count_bytes
from wsanalyze.tensors.low_rank import merge_low_rank

PREFIX = "base_model.model."
DOWN_UP = {"down": (4, 3), "up": (5, 4)}


class Model(torch.nn.Module):
    """One layer of each kind that peft adapts by two factors."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from transformers.pytorch_utils import Conv1D
        self.embed = torch.nn.Embedding(11, 6)
        self.linear = torch.nn.Linear(6, 7)
        self.backward_linear = Conv1D(9, 6)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(2))
        self.conv = torch.nn.Conv2d(6, 8, 3)
        self.point = torch.nn.Conv2d(8, 4, 1)
        self.line = torch.nn.Conv1d(4, 5, 2)


TARGETS = ["embed", "linear", "backward_linear", "0", "1", "conv", "point", "line"]


@pytest.fixture
def adapt(tmp_path, source):
    """An adapter with random factors, saved by peft: its model, and what its file holds."""

    def run(*, safe=True, dtype=torch.float32, **options):
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            import peft

            torch.manual_seed(0)
            config = peft.LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": TARGETS} | options)
            model = peft.get_peft_model(Model(), config)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if "lora_" in name:
                        parameter.copy_(torch.randn_like(parameter))
            model.to(dtype)
            model.save_pretrained(tmp_path, safe_serialization=safe)
        (path,) = [*tmp_path.glob("adapter_model.*")]
        return model, dict(read_tensors(source, [stat_file(path)], [""]).infos["model"])

    return run


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"lora_alpha": 0},
        {"rank_pattern": {"linear": 2, "blocks.1": 8, "em.*d": 3}, "alpha_pattern": {"^linear": 1, r"blocks\.\d": 32}},
        {"init_lora_weights": False, "r": 1},
    ],
)
def test_updates_are_those_of_peft(adapt, gather, tmp_path, safe, options):
    model, infos = adapt(safe=safe, **options)
    merged, skips, keys = merge_low_rank(infos, str(tmp_path))
    assert {skip.name for skip in skips} == set(infos)
    assert len(merged) == len(keys) == len(TARGETS)
    modules = dict(model.named_modules())
    for name, info in merged.items():
        check_cover(info)
        module = modules[name.removesuffix(".lora_BA")]
        expected = module.get_delta_weight("default").detach().double()
        if "backward" in name:  # the order of axes is that of the factors, whatever the layer's own
            expected = expected.T
        assert info.shape == tuple(expected.shape)
        np.testing.assert_allclose(gather(info), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_factors_of_half_precision_are_multiplied_in_full(adapt, gather, tmp_path, dtype):
    model, infos = adapt(dtype=dtype, target_modules=["linear"])
    merged, _, _ = merge_low_rank(infos, str(tmp_path))
    ((_, info),) = merged.items()
    layer = model.base_model.model.linear
    a, b = (layer.lora_A.default.weight.double(), layer.lora_B.default.weight.double())
    np.testing.assert_allclose(gather(info), (b @ a * 1.5).detach().numpy(), rtol=1e-12, atol=1e-12)


def test_a_fresh_adapter_makes_no_change(adapt, gather, tmp_path):
    model, infos = adapt(target_modules=["linear"])
    state = {
        name: torch.zeros(info.shape) if "lora_B" in name else torch.ones(info.shape) for name, info in infos.items()
    }
    save_file(state, tmp_path / "fresh.safetensors")
    with LocalFiles() as source:
        infos = read_tensors(source, [stat_file(tmp_path / "fresh.safetensors")], [""]).infos["model"]
    merged, _, _ = merge_low_rank(infos, str(tmp_path))
    ((_, info),) = merged.items()
    assert not gather(info).any()
    del model


@pytest.mark.parametrize("flag", ["use_dora", "use_qalora", "kasa_config"])
def test_other_methods_are_refused(adapt, tmp_path, flag):
    options = {"use_dora": True} if flag == "use_dora" else {}
    _, infos = adapt(target_modules=["linear"], **options)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {flag: {"beta": 1}}))
    merged, skips, keys = merge_low_rank(infos, str(tmp_path))
    assert merged == infos
    assert [skip.name for skip in skips] == ["base_model.model.linear.lora_BA"]
    assert keys == []
    assert all("B.A alone is not the update" in skip.reason for skip in skips)


@pytest.mark.parametrize(
    "other", ["lora_magnitude_vector.default.weight", "lora_magnitude_vector", "dora_scale", "lora_mid.weight"]
)
def test_what_stands_beside_the_factors_refuses_them(memory, other):
    infos = memory(
        {
            "x.lora_down.weight": (4, 3),
            "x.lora_up.weight": (5, 4),
            f"x.{other}": (5, 1),
            "y.lora_down.weight": (4, 3),
            "y.lora_up.weight": (5, 4),
        }
    )
    merged, skips, _ = merge_low_rank(infos, "")
    assert list(merged) == ["x.lora_down.weight", "x.lora_up.weight", f"x.{other}", "y.lora_BA"]
    assert [skip.reason for skip in skips if skip.name == "x.lora_BA"] == [
        "not merged: DoRA or its kin: B.A alone is not the update"
    ]


@pytest.fixture
def memory():
    """Tensors of given shapes that need never be read."""

    def make(shapes, dtype="float32"):
        file = FileRef("memory", 2**40, "")
        return {
            name: TensorInfo(name, dtype, shape, (Piece(file, 2**20 * i, 4 * math.prod(shape)),))
            for i, (name, shape) in enumerate(shapes.items())
        }

    return make


STYLES = {
    "kohya": ("lora_te_to_q.lora_down.weight", "lora_te_to_q.lora_up.weight", "lora_te_to_q.alpha"),
    "diffusers": ("unet.to_q.lora.down.weight", "unet.to_q.lora.up.weight", "unet.to_q.lora.alpha"),
    "old diffusers": ("attn.to_q_lora.down.weight", "attn.to_q_lora.up.weight", "attn.to_q.alpha"),
    "peft with alpha": ("to_q.lora_A.weight", "to_q.lora_B.weight", "to_q.alpha"),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "alpha", [None, torch.tensor(2.5), torch.tensor([3], dtype=torch.int64), torch.tensor(2.0).half()]
)
@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_other_names_and_alphas_that_are_stored(tmp_path, source, gather, style, alpha, kernel):
    down, up, name = STYLES[style]
    if alpha is None and "peft" in style:
        return
    a, b = torch.randn(4, 6, *kernel), torch.randn(5, 4, *(1 for _ in kernel))
    state = {"before": torch.ones(2), down: a, up: b, "behind": torch.ones(2)} | (
        {} if alpha is None else {name: alpha}
    )
    torch.save(state, tmp_path / "a.pt")
    merged, skips, keys = merge_low_rank(read_tensors(source, [stat_file(tmp_path / "a.pt")], [""]).infos["model"], "")
    before, update, behind = merged
    assert (before, behind) == ("before", "behind")
    assert {skip.name for skip in skips} == {down, up, *([] if alpha is None else [name])}
    assert len(keys) == (alpha is None)
    scale = 1.0 if alpha is None else alpha.double().item() / 4
    expected = torch.einsum("or,ri...->oi...", b.reshape(5, 4).double(), a.double()) * scale
    np.testing.assert_allclose(gather(merged[update]), expected.numpy(), rtol=1e-12)


@st.composite
def factors(draw):
    rank, out, inner = draw(st.integers(1, 9)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    kernel = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    embedding = not kernel and draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return rng.normal(size=(rank, inner, *kernel)), rng.normal(size=(out, rank, *(1 for _ in kernel))), embedding


@given(factors(), st.data())
def test_any_run_is_that_of_the_whole_product(tmp_path_factory, case, data):
    a, b, embedding = case
    expected = (b.reshape(b.shape[0], -1) @ a.reshape(a.shape[0], -1)) * 0.5
    expected = expected.T if embedding else expected
    names = (
        ("m.lora_embedding_A", "m.lora_embedding_B") if embedding else ("m.lora_A.x-1.weight", "m.lora_B.x-1.weight")
    )
    folder = tmp_path_factory.mktemp("factors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": a.shape[0], "lora_alpha": a.shape[0] / 2}))
    np.savez(folder / "a.npz", **dict(zip(names, (a, b), strict=True)))
    with LocalFiles() as source:
        infos = read_tensors(source, [stat_file(folder / "a.npz")], [""]).infos["model"]
        merged, _, _ = merge_low_rank(infos, str(folder))
        ((name, info),) = merged.items()
        assert name == ("m.lora_BA" if embedding else "m.lora_BA.x-1")
        start = data.draw(st.integers(0, info.numel))
        stop = data.draw(st.integers(start, info.numel))
        reader = ElementReader(source)
        found = reader.read_into(info, start, stop, np.empty(8 * (stop - start), dtype=np.uint8))
        np.testing.assert_allclose(found, expected.reshape(-1)[start:stop], rtol=1e-11, atol=1e-12)
        assert reader.num_bytes == count_bytes(info, [(start, stop)])


@pytest.mark.parametrize(
    ("out", "rank", "inner"), [(3, 2, 2**20 + 5), (2**20 + 5, 2, 1), (700, 3, 1700), (5, 9000, 700)]
)
@pytest.mark.parametrize("embedding", [False, True])
def test_large_updates_are_made_of_tiles(tmp_path, source, gather, out, rank, inner, embedding):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rank, inner)).astype("f4"), rng.normal(size=(out, rank)).astype("f4")
    names = ("m.lora_embedding_A", "m.lora_embedding_B") if embedding else ("m.lora_A.weight", "m.lora_B.weight")
    np.savez(tmp_path / "a.npz", **dict(zip(names, (a, b), strict=True)))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": rank}))
    infos = read_tensors(source, [stat_file(tmp_path / "a.npz")], [""]).infos["model"]
    (info,) = merge_low_rank(infos, str(tmp_path))[0].values()
    found = gather(info)
    expected = b.astype("f8") @ a.astype("f8")
    np.testing.assert_allclose(found, expected.T if embedding else expected, rtol=1e-9, atol=1e-9)
    edges = [0, 1, info.numel // 3, info.numel // 3 + 1, info.numel]
    reader = ElementReader(source)
    for start, stop in itertools.pairwise(edges):
        part = reader.read_into(info, start, stop, np.empty(8 * (stop - start), dtype=np.uint8))
        np.testing.assert_allclose(part, found.reshape(-1)[start:stop], rtol=1e-9, atol=1e-9)
    assert reader.num_bytes == count_bytes(info, itertools.pairwise(edges))


def test_two_adapters_of_one_module_stand_apart(memory, tmp_path):
    infos = memory(
        {
            f"m.lora_{letter}.{name}.weight": shape
            for name in ("one", "two")
            for letter, shape in (("A", (4, 3)), ("B", (5, 4)))
        }
    )
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 4}')
    assert list(merge_low_rank(infos, str(tmp_path))[0]) == ["m.lora_BA.one", "m.lora_BA.two"]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"m.lora_A.weight": (4, 3), "m.lora_B.weight": (5, 3)}, "do not make a product"),
        ({"m.lora_A.weight": (4,), "m.lora_B.weight": (5, 4)}, "do not make a product"),
        ({"m.lora_A.weight": (4, 3), "m.lora_B.weight": (5, 4, 2, 2)}, "do not make a product"),
        ({"m.lora_A.weight": (3, 3), "m.lora_B.weight": (5, 3)}, r"its rank is 3, and 4 in adapter_config\.json"),
        ({"m.lora_A.weight": (), "m.lora_B.weight": ()}, "its rank is"),
        ({"m.lora_A.weight": (4, 2**20), "m.lora_B.weight": (2**20, 4)}, "more than 8589934592 elements"),
        ({"m.lora_down.weight": (4, 3), "m.lora_up.weight": (5, 4), "m.alpha": (2,)}, r"m\.alpha is no number"),
    ],
)  # fmt: skip
def test_factors_that_make_no_update_stay_and_the_reason_is_told(memory, tmp_path, shapes, reason):
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 4}')
    merged, (skip,), keys = merge_low_rank(memory(shapes), str(tmp_path))
    assert list(merged) == list(shapes)
    assert keys == []
    assert skip.name == "m.lora_BA"
    assert re.search(reason, skip.reason)


@pytest.mark.parametrize("dtype", ["int8", "complex64", "float8_e4m3fn"])
def test_codes_are_not_multiplied(memory, dtype):
    infos = memory({"m.lora_down.weight": (4, 3), "m.lora_up.weight": (5, 4)}, dtype)
    merged, skips, _ = merge_low_rank(infos, "")
    assert merged == infos
    assert ["not both real weights" in skip.reason for skip in skips] == [True]


def test_an_update_that_another_pair_made_is_not_overwritten(memory):
    pairs = {f"m{middle}.{part}.weight": shape for middle in (".lora", "_lora") for part, shape in DOWN_UP.items()}
    infos = memory(pairs)
    merged, skips, _ = merge_low_rank(infos, "")
    assert list(merged) == ["m.lora_BA", "m_lora.down.weight", "m_lora.up.weight"]
    assert [skip.reason for skip in skips if skip.name == "m_lora"] == ["not merged: there is a m.lora_BA already"]


def test_an_update_that_is_there_already_is_left_alone(memory):
    infos = memory({"m.lora_down.weight": (4, 3), "m.lora_up.weight": (5, 4), "m.lora_BA": (5, 3)})
    assert merge_low_rank(infos, "") == (infos, [], [])


def test_a_factor_alone_stays(memory):
    infos = memory({"m.lora_A.weight": (4, 3), "n.lora_B.weight": (5, 4)})
    assert merge_low_rank(infos, "nowhere") == (infos, [], [])


PAIR = {"m.lora_A.weight": (4, 3), "m.lora_B.weight": (5, 4)}


def test_without_a_configuration_there_is_no_scale(memory, tmp_path):
    with pytest.raises(CheckpointError, match=r"--merge-lora needs adapter_config\.json beside the weights") as caught:
        merge_low_rank(memory(PAIR), str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        '{"r": 4}',
        '{"lora_alpha": 4}',
        '{"r": "4", "lora_alpha": 4}',
        '{"r": true, "lora_alpha": 4}',
        '{"r": 4, "lora_alpha": NaN}',
        '{"r": 4, "lora_alpha": 1e300}',
        '{"r": 4, "lora_alpha": 4, "rank_pattern": [1]}',
        '{"r": 4, "lora_alpha": 4, "alpha_pattern": {"m": null}}',
        '{"r": 4, "lora_alpha": 4, "alpha_pattern": {"(": 3}}',
        '{"r": 4, "lora_alpha": 4, "alpha_pattern": {"(m*)*x": 3}}',
        '{"r": 4, "lora_alpha": 4, "alpha_pattern": {"m*m*m*m*m*x": 3}}',
        '{"r": 4, "lora_alpha": 4, "alpha_pattern": {"(?:a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a)": 3}}',
    ],
)  # fmt: skip
def test_a_damaged_configuration_is_named(memory, tmp_path, config):
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(CheckpointError) as caught:
        merge_low_rank(memory(PAIR), str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_another_kind_of_adapter_is_named(memory, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "ADALORA"}')
    _, skips, _ = merge_low_rank(memory(PAIR), str(tmp_path))
    assert {skip.reason for skip in skips} == {"not merged: the adapter is ADALORA, not LoRA"}


@pytest.mark.parametrize("pattern", [r"m+m+m+m+x", r"(?:m|n)?m*m*m*x", "[m]" * 500])
def test_patterns_that_take_long_are_refused_or_end(memory, tmp_path, pattern):
    module = "m" * 3000
    shapes = {
        f"{module}{i}.lora_{letter}.weight": shape
        for i in range(30)
        for letter, shape in (("A", (4, 3)), ("B", (5, 4)))
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 4, "rank_pattern": {pattern: 2}}))
    try:
        merge_low_rank(memory(shapes), str(tmp_path))
    except CheckpointError as error:
        assert "too complex" in str(error)  # noqa: PT017 - either ends well
