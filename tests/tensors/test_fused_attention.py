"""Queries, keys and values told apart: those that the models themselves hand to their attention."""

import itertools
import json
import math
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.layers.kinds import tell_kinds
from wsanalyze.series import Kind
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.files import read_tensors
from wsanalyze.tensors.fused_attention import Slices, split_fused
from wsanalyze.tensors.gather import ElementReader, check_cover, count_bytes

LETTERS = ("q", "k", "v")
KINDS = [Kind.ATTENTION_Q, Kind.ATTENTION_K, Kind.ATTENTION_V]


@contextmanager
def library():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def split(tmp_path, source):
    """Save a state dict beside a configuration, and split what its file holds."""

    def run(state, config=None):
        torch.save(state, tmp_path / "a.pt")
        if config is not None:
            (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return split_fused(read_tensors(source, [stat_file(tmp_path / "a.pt")], [""]).infos["model"], str(tmp_path))

    return run


@contextmanager
def capture(module, method=None):
    """What goes into the fused layer, and the queries, keys and values that come to the attention."""
    inputs, outputs = [], []
    hook = module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    attend = torch.nn.functional.scaled_dot_product_attention
    split_heads = None if method is None else getattr(*method)

    def spy(query, key, value, *args, **kwargs):
        outputs.append([part.detach() for part in (query, key, value)])
        return attend(query, key, value, *args, **kwargs)

    def spy_split(fused):
        found = split_heads(fused)
        outputs.append([part.detach() for part in found])
        return found

    patch = (
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", spy)
        if method is None
        else mock.patch.object(*method, spy_split)
    )
    with patch:
        yield inputs, outputs
    hook.remove()


def check_heads(gather, infos, module, name, inputs, outputs, *, conv1d=False):
    """One token: each head of q, k and v is that part of the weight times what came in; at position 0 nothing turns."""
    x = inputs[0].reshape(-1).double().numpy()
    for letter, captured in zip(LETTERS, outputs[0], strict=True):
        weight = gather(infos[f"{name}.{letter}.weight"])
        found = x @ weight if conv1d else weight @ x
        if getattr(module, "bias", None) is not None:
            found = found + gather(infos[f"{name}.{letter}.bias"])
        heads = captured.reshape(-1, captured.shape[-1]).double().numpy()
        found = found.reshape(-1, captured.shape[-1])
        found = np.repeat(found, len(heads) // len(found), axis=0)
        np.testing.assert_allclose(found, heads, rtol=1e-4, atol=1e-5)


SIZES = {"vocab_size": 20, "hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 1}
FALCON = {**SIZES, "alibi": False, "bias": True}
TINY = {
    "GPT2": ("GPT2", "h.0.attn.c_attn", {"vocab_size": 20, "n_embd": 24, "n_head": 4, "n_layer": 1}),
    "GPTNeoX": ("GPTNeoX", "layers.0.attention.query_key_value", {**SIZES, "intermediate_size": 8}),
    "Bloom": ("Bloom", "h.0.self_attention.query_key_value", {**SIZES, "n_layer": 1, "n_head": 4}),
    "Falcon by head": (
        "Falcon",
        "h.0.self_attention.query_key_value",
        {**FALCON, "multi_query": False, "new_decoder_architecture": False},
    ),
    "Falcon, one key": (
        "Falcon",
        "h.0.self_attention.query_key_value",
        {**FALCON, "multi_query": True, "new_decoder_architecture": False},
    ),
    "Falcon, grouped": (
        "Falcon",
        "h.0.self_attention.query_key_value",
        {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    "Phi3": (
        "Phi3",
        "layers.0.self_attn.qkv_proj",
        {**SIZES, "num_key_value_heads": 2, "intermediate_size": 8, "pad_token_id": 0},
    ),
    "GPTBigCode, one key": (
        "GPTBigCode",
        "h.0.attn.c_attn",
        {"vocab_size": 20, "n_embd": 24, "n_head": 4, "n_layer": 1, "multi_query": True},
    ),
    "GPTBigCode by head": (
        "GPTBigCode",
        "h.0.attn.c_attn",
        {"vocab_size": 20, "n_embd": 24, "n_head": 4, "n_layer": 1, "multi_query": False},
    ),
    "Persimmon": (
        "Persimmon",
        "layers.0.self_attn.query_key_value",
        {**SIZES, "hidden_size": 32, "intermediate_size": 8, "qk_layernorm": False},
    ),
    "CodeGen": (
        "CodeGen",
        "h.0.attn.qkv_proj",
        {"vocab_size": 20, "n_embd": 32, "n_head": 4, "n_layer": 1, "n_inner": 8, "rotary_dim": 4},
    ),
    "ModernBert": (
        "ModernBert",
        "layers.0.attn.Wqkv",
        {**SIZES, "intermediate_size": 8, "pad_token_id": 0, "attention_bias": True},
    ),
}


@pytest.mark.parametrize("case", TINY)
def test_language_models_of_transformers(split, gather, tmp_path, case):
    kind, name, options = TINY[case]
    with library(), torch.random.fork_rng(devices=[]):
        import transformers

        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**options)
        by_method = kind == "Bloom"
        if not by_method:
            config._attn_implementation = "sdpa"
        model = getattr(transformers, f"{kind}Model")(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) / 4)
        module = model.get_submodule(name)
        method = (model.get_submodule(name.rpartition(".")[0]), "_reshape") if by_method else None
        with torch.no_grad(), capture(module, method) as (inputs, outputs):
            model(torch.tensor([[3]]), use_cache=False) if kind != "ModernBert" else model(torch.tensor([[3]]))
        config.save_pretrained(tmp_path)
    infos, skips, keys = split({n: p.detach() for n, p in model.named_parameters()})
    parts = [part for part in ("weight", "bias") if getattr(module, part, None) is not None]
    assert {skip.name for skip in skips} == {f"{name}.{part}" for part in parts}
    assert [n for n in infos if n.startswith(f"{name}.")] == [f"{name}.{x}.{p}" for p in parts for x in LETTERS]
    assert len(keys) == 1
    check_heads(gather, infos, module, name, inputs, outputs, conv1d=kind == "GPT2")
    shapes = {f"{name}.{letter}.weight": infos[f"{name}.{letter}.weight"].shape for letter in LETTERS}
    assert list(tell_kinds({"a": (2, 2), **shapes, "b": (2, 2)}).values())[1:4] == KINDS


def test_multi_head_attention_of_torch(split, gather):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.nn.MultiheadAttention(12, 3).train()
        torch.nn.init.normal_(module.in_proj_bias)
    infos, skips, _ = split({f"attn.{name}": value for name, value in module.state_dict().items()})
    assert {skip.name for skip in skips} == {"attn.in_proj_weight", "attn.in_proj_bias"}
    x = torch.randn(1, 1, 12)
    outputs = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def spy(*args, **kwargs):
        outputs.append([part.detach() for part in args[:3]])
        return attend(*args, **kwargs)

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", spy):
        module(x, x, x, need_weights=False)
    module.bias = module.in_proj_bias
    check_heads(gather, infos, module, "attn.in_proj", [x], outputs)
    names = [f"attn.in_proj.{letter}.weight" for letter in LETTERS]
    assert list(tell_kinds({"a": (2, 2)} | dict.fromkeys(names, (12, 12)) | {"b": (2, 2)}).values())[1:4] == KINDS


def test_a_bias_whose_weights_are_apart_is_split_alone(split, gather):
    module = torch.nn.MultiheadAttention(12, 3, kdim=5, vdim=7)
    torch.nn.init.normal_(module.in_proj_bias)
    infos, skips, _ = split(module.state_dict())
    assert [skip.name for skip in skips] == ["in_proj_bias"]
    thirds = module.in_proj_bias.detach().chunk(3)
    for letter, expected in zip(LETTERS, thirds, strict=True):
        np.testing.assert_array_equal(gather(infos[f"in_proj.{letter}.bias"]), expected.numpy())


def test_vision_transformers_of_timm(split, gather):
    with library(), torch.random.fork_rng(devices=[]):
        import timm

        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224",
            img_size=16,
            embed_dim=24,
            num_heads=4,
            depth=1,
            class_token=False,
            global_pool="avg",
        ).eval()
        module = model.blocks[0].attn.qkv
        torch.nn.init.normal_(module.bias)
        with torch.no_grad(), capture(module) as (inputs, outputs):
            model(torch.randn(1, 3, 16, 16))
    infos, _, _ = split(model.state_dict())
    check_heads(gather, infos, module, "blocks.0.attn.qkv", inputs, outputs)
    for letter in LETTERS:
        info = infos[f"blocks.0.attn.qkv.{letter}.weight"]
        assert info.derivation is None
        assert info.dtype == "float32"
        check_cover(info)


def by_einops(pattern, weight, heads, pairs, size):
    """What the modules beside the weights do: rearrange the outputs, and cut them."""
    group = heads // pairs
    if pattern == "grouped":  # InternLM2: "b q (h gs d) -> b q h gs d"
        cut = weight.reshape(pairs, group + 2, size, -1)
        parts = cut[:, :group], cut[:, -2], cut[:, -1]
    elif pattern == "heads":  # MiniMax: reshape(b, s, heads, 3 * size), then split
        cut = weight.reshape(heads, 3, size, -1)
        parts = cut[:, 0], cut[:, 1], cut[:, 2]
    else:
        parts = np.split(weight, [heads * size, (heads + pairs) * size])
    return [part.reshape(-1, weight.shape[1]) for part in parts]


OWN = [
    (
        "wqkv",
        "internlm2",
        {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 24},
        "grouped",
        (6, 2, 4),
    ),
    ("qkv_proj", "minimax", {"num_attention_heads": 3, "head_dim": 5, "hidden_size": 8}, "heads", (3, 3, 5)),
    ("qkv_proj", "phi3", {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 5}, "blocks", (4, 2, 5)),
    ("Wqkv", "dbrx", {"n_heads": 4, "d_model": 8, "attn_config": {"kv_n_heads": 2}}, "blocks", (4, 2, 2)),
    ("Wqkv", "mpt", {"n_heads": 4, "d_model": 8, "attn_config": {"kv_n_heads": 1}}, "blocks", (4, 1, 2)),
    ("Wqkv", "", None, "blocks", (4, 4, 2)),
    ("W_pack", "", None, "blocks", (4, 4, 2)),
    ("att_proj", "", None, "blocks", (4, 4, 2)),
    ("c_attn", "qwen", {"num_attention_heads": 4, "hidden_size": 8}, "blocks", (4, 4, 2)),
    ("query_key_value", "gpt_neox_japanese", {"num_attention_heads": 4, "hidden_size": 8}, "heads", (4, 4, 2)),
]


@pytest.mark.parametrize(("last", "kind", "config", "pattern", "sizes"), OWN)
def test_models_that_bring_their_own_modules(split, gather, last, kind, config, pattern, sizes):
    heads, pairs, size = sizes
    columns = 24 if kind == "internlm2" else 8
    config = config and {"model_type": kind, **config}
    rows = (heads + 2 * pairs) * size
    weight, bias = torch.randn(rows, columns), torch.randn(rows)
    infos, skips, _ = split({f"m.{last}.weight": weight, f"m.{last}.bias": bias}, config)
    assert len(skips) == 2
    for tensor, part in ((weight, "weight"), (bias[:, None], "bias")):
        expected = by_einops(pattern, tensor.numpy(), heads, pairs, size)
        for letter, want in zip(LETTERS, expected, strict=True):
            info = infos[f"m.{last}.{letter}.{part}"]
            np.testing.assert_array_equal(gather(info).reshape(want.shape), want)


def test_parts_stand_where_the_whole_stood(split):
    state = {
        "a": torch.ones(2, 2),
        "x.W_pack.weight": torch.ones(6, 2),
        "x.W_pack.bias": torch.ones(6),
        "b": torch.ones(2),
    }
    infos, _, _ = split(state)
    assert list(infos) == ["a", *(f"x.W_pack.{x}.{p}" for p in ("weight", "bias") for x in LETTERS), "b"]


FUSED = "query_key_value.weight"
VIT = "blocks.0.attn.qkv.weight"
NEOX = {"model_type": "gpt_neox", "num_attention_heads": 2, "hidden_size": 4}


@pytest.mark.parametrize(
    ("state", "config", "reason"),
    [
        ({FUSED: (12, 4)}, None, "which would tell the heads, is not beside the weights"),
        ({FUSED: (12, 4)}, {"model_type": "chatglm"}, "in a model of type 'chatglm' is not known"),
        ({FUSED: (15, 4)}, NEOX, r"config\.json tells of 12 rows, and there are 15"),
        ({FUSED: (12, 4)}, NEOX | {"num_attention_heads": 3}, "tells of 0 rows"),
        ({FUSED: (12, 4)}, NEOX | {"num_attention_heads": "2"}, "tells of 0 rows"),
        ({FUSED: (12, 4)}, NEOX | {"num_attention_heads": True}, "tells of 0 rows"),
        ({FUSED: (12, 4)}, NEOX | {"model_type": "falcon"}, "tells of 0 rows"),
        ({FUSED: (12, 4), "query_key_value.bias": (11,)}, NEOX, "its bias does not fit the rest"),
        ({FUSED: (12, 4, 1)}, NEOX, "it is no matrix"),
        ({FUSED: (12, 0)}, NEOX, "it is no matrix"),
        ({"c_attn.weight": (12, 4)}, None, "which would tell the heads"),
        ({"c_attn.weight": (12, 4)}, {"model_type": "gpt2"}, "c_attn in a model of type 'gpt2' is not known"),
        ({"c_attn.weight": (4, 8)}, {"model_type": "gpt2"}, "is not known"),
        ({"Wqkv.weight": (8, 4)}, None, "which would tell the heads"),
        ({VIT: (12, 4)}, None, "its names do not tell for certain"),
        ({VIT: (15, 4), "blocks.0.attn.proj.weight": (4, 4)}, None, "its names do not tell for certain"),
        ({"W_pack.weight": (6, 2), "W_pack.k.weight": (2, 2)}, None, r"there is a W_pack\.k\.weight already"),
    ],
)
def test_what_cannot_be_told_for_certain_stays_whole(split, state, config, reason):
    infos, skips, keys = split({name: torch.ones(shape) for name, shape in state.items()}, config)
    assert set(infos) == set(state)
    assert keys == []
    (skip,) = skips
    assert skip.name == next(iter(state)).removesuffix(".weight")
    with pytest.raises(AssertionError, match=f"^not split into queries, keys and values: .*{reason}"):
        raise AssertionError(skip.reason)


def test_a_configuration_that_is_damaged_is_named_where_it_is_needed(split, tmp_path):
    split({"W_pack.weight": torch.ones(6, 2)}, "{")
    with pytest.raises(CheckpointError) as caught:
        split({FUSED: torch.ones(12, 4)}, "{")
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    ("last", "config", "dtype", "reason"),
    [
        ("W_pack", None, torch.int8, None),
        ("W_pack", None, torch.float8_e4m3fn, "float8 may be codes"),
        ("query_key_value", NEOX | {"hidden_size": 2}, torch.complex64, "its elements lie in another order"),
        ("W_pack", None, torch.complex64, ""),
    ],
)
def test_codes_stay_whole(split, gather, last, config, dtype, reason):
    weight = torch.arange(12).reshape(6, 2).to(dtype)
    infos, skips, _ = split({f"{last}.weight": weight}, config)
    if reason == "":
        np.testing.assert_array_equal(gather(infos["W_pack.k.weight"]), weight[2:4].numpy())
        return
    assert set(infos) == {f"{last}.weight"}
    assert [reason in skip.reason for skip in skips] == [True] * (reason is not None)


def test_a_transposed_view_is_cut_in_blocks_and_not_by_heads(split, gather):
    weight = torch.randn(4, 12).T
    infos, _, _ = split({"W_pack.weight": weight})
    for letter, expected in zip(LETTERS, weight.chunk(3), strict=True):
        np.testing.assert_array_equal(gather(infos[f"W_pack.{letter}.weight"]), expected.numpy())
    infos, skips, _ = split({FUSED: weight}, NEOX)
    assert set(infos) == {FUSED}
    assert "another order" in skips[0].reason


@st.composite
def pieces_of_rows(draw):
    """A weight of three blocks of rows, cut into runs or boxes anywhere."""
    third, columns = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    columns = third if draw(st.booleans()) else columns
    shape = (3 * third, third) if columns == third else (3 * third, columns)
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)

    def cut(size):
        return [0, *sorted(draw(st.sets(st.integers(1, size - 1), max_size=3)) if size > 1 else ()), size]

    if draw(st.booleans()):
        edges = [list(itertools.pairwise(cut(size))) for size in shape]
        places = [(tuple(a for a, _ in box), tuple(b - a for a, b in box)) for box in itertools.product(*edges)]
        blocks = [array[tuple(slice(c, c + n) for c, n in zip(*place, strict=True))] for place in places]
    else:
        places = [((a,), (b - a,)) for a, b in itertools.pairwise(cut(array.size))]
        blocks = [array.reshape(-1)[c : c + n] for ((c,), (n,)) in places]
    return array, places, blocks


@given(pieces_of_rows())
def test_weights_in_pieces_are_cut_piece_by_piece(tmp_path_factory, case):
    array, places, blocks = case
    if array.shape[0] != 3 * array.shape[1]:
        return
    path = tmp_path_factory.mktemp("pieces") / "a.bin"
    path.write_bytes(b"".join(block.tobytes() for block in blocks))
    file, offset, pieces = stat_file(path), 0, []
    for (corner, extent), block in zip(places, blocks, strict=True):
        pieces.append(Piece(file, offset, block.nbytes, None, "little", corner, extent))
        offset += block.nbytes
    info = TensorInfo("W_pack.weight", "float32", array.shape, tuple(pieces))
    check_cover(info)
    infos, _, _ = split_fused({info.name: info}, "")
    with LocalFiles() as source:
        for letter, expected in zip(LETTERS, np.split(array, 3), strict=True):
            part = infos[f"W_pack.{letter}.weight"]
            check_cover(part)
            assert part.derivation is None
            reader = ElementReader(source)
            found = reader.read_into(part, 0, part.numel, np.empty(4 * part.numel, dtype=np.uint8))
            assert found.tobytes() == expected.tobytes()


@st.composite
def slices(draw):
    width = draw(st.sampled_from([1, 3, 40, 1024, 1500]))
    before, behind = draw(st.integers(0, 5)), draw(st.sampled_from([0, 1, 700, 2**20]))
    count = draw(st.integers(1, 4 if behind > 1000 else 30))
    return before, width, before + width + behind, count


@given(slices(), st.data())
def test_runs_at_equal_distances(tmp_path_factory, case, data):
    first, width, period, count = case
    whole = np.arange(period * count, dtype=np.float32)
    path = tmp_path_factory.mktemp("slices") / "a.bin"
    whole.tofile(path)
    stored = TensorInfo("", "float32", whole.shape, (Piece(stat_file(path), 0, whole.nbytes),))
    expected = whole.reshape(count, period)[:, first : first + width].reshape(-1)
    info = TensorInfo("w", "float64", expected.shape, stored.pieces, Slices(stored, first, width, period))
    start = data.draw(st.integers(0, expected.size))
    stop = data.draw(st.integers(start, expected.size))
    with LocalFiles() as source:
        reader = ElementReader(source)
        found = reader.read_into(info, start, stop, np.empty(8 * (stop - start), dtype=np.uint8))
    np.testing.assert_array_equal(found, expected[start:stop])
    assert reader.num_bytes == count_bytes(info, [(start, stop)])
    if width >= 1024 or period > 2**20:
        assert reader.num_bytes == 4 * (stop - start)


def test_parts_of_one_weight_are_not_taken_for_ties(split):
    infos, _, _ = split({"c_attn.weight": torch.ones(2, 6)})
    assert len({(info.shape, info.pieces, info.derivation) for info in infos.values()}) == 3
    twice = {"a.c_attn.weight": torch.ones(2, 6)}
    twice["b.c_attn.weight"] = twice["a.c_attn.weight"]
    infos, _, _ = split(twice)
    one, two = infos["a.c_attn.q.weight"], infos["b.c_attn.q.weight"]
    assert (one.shape, one.pieces, one.derivation) == (two.shape, two.pieces, two.derivation)


def test_names_that_are_long_end_quickly():
    file = FileRef("memory", 2**40, "")
    names = ["stages." * 9000 + "qkv.weight", "blocks.0." * 7000 + "attn.qkv.weight", "." * 60_000 + "in_proj_weight"]
    infos = {name: TensorInfo(name, "float32", (6, 2), (Piece(file, 0, 48),)) for name in names}
    split_fused(infos, "")
