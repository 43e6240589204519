"""Names of tensors: wrappers, modules, blocks and the order of a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.layers.names import order_names, split_block, split_module, strip_wrappers


@pytest.mark.parametrize(
    ("names", "stripped"),
    [
        (["module.a.weight", "module.b.weight"], ["a.weight", "b.weight"]),
        (["module._orig_mod.a", "module._orig_mod.b"], ["a", "b"]),
        (["_orig_mod.module.a", "_orig_mod.module.b"], ["a", "b"]),
        (["module.module.a", "module.module.b"], ["a", "b"]),
        (["x._fsdp_wrapped_module.a", "y._fsdp_wrapped_module.b"], ["x.a", "y.b"]),
        (["_fsdp_wrapped_module.x._checkpoint_wrapped_module.a"], ["x.a"]),
        (["module.a", "b"], ["module.a", "b"]),
        (["module.x.a", "x.module.a"], ["module.x.a", "x.module.a"]),
        (["submodule.a", "submodule.b"], ["submodule.a", "submodule.b"]),
        ([], []),
    ],
)
def test_wrappers_come_off_where_all_names_have_them(names, stripped):
    assert list(strip_wrappers(dict.fromkeys(names))) == stripped


@given(
    names=st.lists(st.sampled_from(["a", "b.c", "module.x", "d.0.w"]), unique=True),
    wrappers=st.lists(st.sampled_from(["module.", "_orig_mod.", "_fsdp_wrapped_module."]), max_size=3),
)
def test_values_stay_with_their_names(names, wrappers):
    tensors = {"".join(wrappers) + name: name for name in names}
    found = strip_wrappers(tensors)
    assert list(found.values()) == list(tensors.values())
    assert all(value.endswith(name) or name.endswith(value) for name, value in found.items())


ENCODER_LAYER = "encoder.layers.encoder_layer_3"


@pytest.mark.parametrize(
    ("name", "module", "block"),
    [
        ("layer1.0.conv1.weight", "layer1.0.conv1", "layer1.0"),
        ("layers.0.blocks.1.attn.qkv.weight", "layers.0.blocks.1.attn.qkv", "layers.0.blocks.1"),
        ("model.layers.10.mlp.up_proj.weight", "model.layers.10.mlp.up_proj", "model.layers.10"),
        ("blocks.2.1.conv_pw.weight", "blocks.2.1.conv_pw", "blocks.2.1"),
        ("features.0.weight", "features.0", "features.0"),
        ("encoder.layers.encoder_layer_3.mlp.0.weight", "encoder.layers.encoder_layer_3.mlp.0", ENCODER_LAYER),
        ("conv_1.weight", "conv_1", "conv_1"),
        ("features.conv1.weight", "features.conv1", "features.conv1"),
        ("fc.weight", "fc", "fc"),
        ("cls_token", "cls_token", "cls_token"),
        ("rnn.weight_ih_l0", "rnn", "rnn"),
        ("0.weight", "0", "0"),
    ],
)
def test_modules_and_blocks(name, module, block):
    assert split_module(name) == module
    assert split_block(name) == block


ORDERS = [
    ["layers.1.weight", "layers.2.weight", "layers.10.weight"],
    ["conv1.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight", "fc.weight"],
    ["features.conv0.weight", "features.denseblock1.denselayer2.conv1.weight", "classifier.weight"],
    ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"],
    [
        "roberta.embeddings.word_embeddings.weight",
        "roberta.encoder.layer.2.output.dense.weight",
        "roberta.encoder.layer.10.output.dense.weight",
        "classifier.dense.weight",
        "classifier.out_proj.weight",
    ],
    ["base_model.model.roberta.encoder.layer.0.x.weight", "base_model.model.classifier.dense.weight"],
    ["gpt_neox.embed_in.weight", "gpt_neox.layers.0.x", "gpt_neox.final_layer_norm.weight", "embed_out.weight"],
    ["cls_token", "patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight", "norm.weight", "head.weight"],
    ["conv_stem.weight", "blocks.0.0.conv_dw.weight", "conv_head.weight", "classifier.weight"],
    ["features.0.weight", "features.3.weight", "classifier.0.weight", "classifier.3.weight"],
    ["layers.3.fc.weight", "layers.4.conv1.weight", "output.weight"],
    ["shared.weight", "encoder.block.0.x.weight", "lm_head.weight"],
    ["0.weight", "2.weight", "10.weight"],
]


@pytest.mark.parametrize("names", ORDERS, ids=lambda names: names[0])
def test_names_are_sorted_as_a_network_is_laid_out(names):
    assert order_names(sorted(names)) == names
    assert order_names(reversed(names)) == names


@given(st.sets(st.text(alphabet="ab01.é", max_size=10)))
def test_the_order_does_not_depend_on_how_names_come(names):
    assert order_names(sorted(names)) == order_names(sorted(names, reverse=True))
    assert set(order_names(names)) == names
