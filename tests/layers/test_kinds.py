"""Kinds of tensors, by the names and shapes that real models have."""

import collections

import pytest
import torch

from wsanalyze.layers.codes import is_buffer, is_scale
from wsanalyze.layers.kinds import tell_kinds
from wsanalyze.series import Kind


def kinds_of(module):
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    return shapes, tell_kinds(shapes)


def tell(name, *shape):
    """The kind of one tensor in the middle of a model."""
    shapes = {"stem.conv.weight": (8, 3, 3, 3), name: shape, "head.weight": (10, 8)}
    return tell_kinds(shapes)[name]


def test_efficientnet_agrees_with_the_modules_themselves():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model("efficientnet_b0")
    _, kinds = kinds_of(model)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            kind = kinds[f"{name}.weight"]
            if ".se." in name:
                assert kind is Kind.SQUEEZE_EXCITE, name
            elif module.groups == module.in_channels > 1:
                assert kind is Kind.DEPTHWISE, name
            elif name.endswith("conv_pwl"):
                assert kind is Kind.POINTWISE_LINEAR, name
            elif name == "conv_head":
                assert kind is Kind.HEAD, name
            elif module.kernel_size == (1, 1):
                assert kind is Kind.POINTWISE, name
            else:
                assert kind is Kind.CONV, name
        elif isinstance(module, torch.nn.BatchNorm2d):
            assert kinds[f"{name}.weight"] is Kind.NORM, name
            assert kinds[f"{name}.bias"] is Kind.NORM, name
    assert kinds["classifier.weight"] is Kind.HEAD
    assert collections.Counter(kinds.values())[Kind.DEPTHWISE] == 16


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("resnet18", {Kind.CONV: 17, Kind.POINTWISE: 3, Kind.HEAD: 1}),
        (
            "mobilenet_v2",
            {Kind.CONV: 1, Kind.DEPTHWISE: 17, Kind.POINTWISE: 17, Kind.POINTWISE_LINEAR: 16, Kind.HEAD: 2},
        ),
        (
            "vit_b_16",
            {
                Kind.CONV: 1,
                Kind.EMBEDDING: 1,
                Kind.POSITION: 1,
                Kind.ATTENTION_QKV: 12,
                Kind.ATTENTION_OUT: 12,
                Kind.MLP_UP: 12,
                Kind.MLP_DOWN: 12,
                Kind.HEAD: 1,
            },
        ),
    ],
)
def test_torchvision(name, counts):
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        shapes, kinds = kinds_of(torchvision.models.get_model(name))
    assert collections.Counter(kinds[n] for n, shape in shapes.items() if len(shape) > 1) == counts


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_transformer_of_torch():
    _, kinds = kinds_of(torch.nn.Transformer(8, 2, 1, 1, 16))
    assert kinds["encoder.layers.0.self_attn.in_proj_weight"] is Kind.ATTENTION_QKV
    assert kinds["encoder.layers.0.self_attn.out_proj.weight"] is Kind.ATTENTION_OUT
    assert kinds["decoder.layers.0.multihead_attn.in_proj_weight"] is Kind.ATTENTION_QKV
    assert kinds["encoder.layers.0.linear1.weight"] is Kind.MLP_UP
    assert kinds["encoder.layers.0.linear2.weight"] is Kind.MLP_DOWN
    assert kinds["encoder.layers.0.norm1.weight"] is Kind.NORM
    assert kinds["encoder.layers.0.linear1.bias"] is Kind.BIAS
    assert kinds["encoder.layers.0.self_attn.in_proj_bias"] is Kind.BIAS


@pytest.mark.parametrize("cell", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_recurrent_layers(cell):
    shapes, kinds = kinds_of(cell(4, 8, 2, bidirectional=True))
    assert {kinds[name] for name, shape in shapes.items() if len(shape) > 1} == {Kind.RECURRENT}
    assert {kinds[name] for name, shape in shapes.items() if len(shape) == 1} == {Kind.BIAS}


Q, K, V, QKV, OUT = Kind.ATTENTION_Q, Kind.ATTENTION_K, Kind.ATTENTION_V, Kind.ATTENTION_QKV, Kind.ATTENTION_OUT
UP, GATE, DOWN, EMBEDDING, HEAD = Kind.MLP_UP, Kind.MLP_GATE, Kind.MLP_DOWN, Kind.EMBEDDING, Kind.HEAD
LANGUAGE_MODELS = {
    "GPT-2": {
        "transformer.wte.weight": EMBEDDING,
        "transformer.wpe.weight": Kind.POSITION,
        "transformer.h.0.attn.c_attn.weight": QKV,
        "transformer.h.0.attn.c_proj.weight": OUT,
        "transformer.h.0.mlp.c_fc.weight": UP,
        "transformer.h.0.mlp.c_proj.weight": DOWN,
        "lm_head.weight": HEAD,
    },
    "GPT-NeoX": {
        "gpt_neox.embed_in.weight": EMBEDDING,
        "gpt_neox.layers.0.attention.query_key_value.weight": QKV,
        "gpt_neox.layers.0.attention.dense.weight": OUT,
        "gpt_neox.layers.0.mlp.dense_h_to_4h.weight": UP,
        "gpt_neox.layers.0.mlp.dense_4h_to_h.weight": DOWN,
        "embed_out.weight": HEAD,
    },
    "LLaMA": {
        "model.embed_tokens.weight": EMBEDDING,
        "model.layers.0.self_attn.q_proj.weight": Q,
        "model.layers.0.self_attn.k_proj.weight": K,
        "model.layers.0.self_attn.v_proj.weight": V,
        "model.layers.0.self_attn.o_proj.weight": OUT,
        "model.layers.0.mlp.gate_proj.weight": GATE,
        "model.layers.0.mlp.up_proj.weight": UP,
        "model.layers.0.mlp.down_proj.weight": DOWN,
        "lm_head.weight": HEAD,
    },
    "BERT": {
        "bert.embeddings.word_embeddings.weight": EMBEDDING,
        "bert.embeddings.position_embeddings.weight": Kind.POSITION,
        "bert.embeddings.token_type_embeddings.weight": EMBEDDING,
        "bert.encoder.layer.0.attention.self.query.weight": Q,
        "bert.encoder.layer.0.attention.self.key.weight": K,
        "bert.encoder.layer.0.attention.self.value.weight": V,
        "bert.encoder.layer.0.attention.output.dense.weight": OUT,
        "bert.encoder.layer.0.intermediate.dense.weight": UP,
        "bert.encoder.layer.0.output.dense.weight": DOWN,
        "bert.pooler.dense.weight": Kind.LINEAR,
        "classifier.weight": HEAD,
    },
    "RoBERTa": {
        "roberta.encoder.layer.11.attention.self.query.weight": Q,
        "classifier.dense.weight": HEAD,
        "classifier.out_proj.weight": HEAD,
    },
    "DistilBERT": {
        "distilbert.transformer.layer.0.attention.q_lin.weight": Q,
        "distilbert.transformer.layer.0.attention.out_lin.weight": OUT,
        "distilbert.transformer.layer.0.ffn.lin1.weight": UP,
        "distilbert.transformer.layer.0.ffn.lin2.weight": DOWN,
    },
    "T5": {
        "shared.weight": EMBEDDING,
        "encoder.block.0.layer.0.SelfAttention.q.weight": Q,
        "encoder.block.0.layer.0.SelfAttention.k.weight": K,
        "encoder.block.0.layer.0.SelfAttention.v.weight": V,
        "encoder.block.0.layer.0.SelfAttention.o.weight": OUT,
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": Kind.POSITION,
        "encoder.block.0.layer.1.DenseReluDense.wi.weight": UP,
        "encoder.block.0.layer.1.DenseReluDense.wo.weight": DOWN,
        "decoder.block.0.layer.1.EncDecAttention.q.weight": Q,
        "lm_head.weight": HEAD,
    },
    "Mixtral": {
        "model.layers.0.block_sparse_moe.gate.weight": Kind.ROUTER,
        "model.layers.0.block_sparse_moe.experts.0.w1.weight": Kind.EXPERT,
        "model.layers.0.block_sparse_moe.experts.7.w2.weight": Kind.EXPERT,
        "model.layers.0.self_attn.q_proj.weight": Q,
        "lm_head.weight": HEAD,
    },
    "PEFT": {
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": Kind.LORA_A,
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": Kind.LORA_B,
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight": Kind.LORA_A,
        "base_model.model.lm_head.lora_embedding_B": Kind.LORA_B,
        "base_model.model.classifier.modules_to_save.weight": HEAD,
    },
    "OLMo": {
        "model.transformer.wte.weight": EMBEDDING,
        "model.transformer.blocks.0.att_proj.weight": QKV,
        "model.transformer.blocks.0.attn_out.weight": OUT,
        "model.transformer.blocks.0.ff_proj.weight": UP,
        "model.transformer.blocks.0.ff_out.weight": DOWN,
    },
    "ViT of timm": {
        "cls_token": EMBEDDING,
        "pos_embed": Kind.POSITION,
        "blocks.0.attn.qkv.weight": QKV,
        "blocks.0.attn.proj.weight": OUT,
        "blocks.0.mlp.fc1.weight": UP,
        "blocks.0.mlp.fc2.weight": DOWN,
        "head.weight": HEAD,
    },
}
CASES = [(model, name, kind) for model, names in LANGUAGE_MODELS.items() for name, kind in names.items()]


@pytest.mark.parametrize(("model", "name", "kind"), CASES, ids=str)
def test_transformers(model, name, kind):
    shapes = {other: (1, 1, 8) if other == "cls_token" else (8, 8) for other in LANGUAGE_MODELS[model]}
    assert tell_kinds(shapes)[name] is kind


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("features.3.weight", (8, 4, 3, 3), Kind.CONV),
        ("features.3.weight", (8, 4, 3), Kind.CONV),
        ("features.3.weight", (8, 4, 3, 3, 3), Kind.CONV),
        ("features.3.weight", (8, 4, 1, 1), Kind.POINTWISE),
        ("features.3.weight", (8, 1, 3, 3), Kind.DEPTHWISE),
        ("features.3.weight_v", (8, 4, 3, 3), Kind.CONV),
        ("blocks.0.conv_pwl.weight", (4, 8, 1, 1), Kind.POINTWISE_LINEAR),
        ("blocks.0.se.conv_reduce.weight", (2, 8, 1, 1), Kind.SQUEEZE_EXCITE),
        ("query_tokens", (1, 32, 8), Kind.OTHER),
        ("blocks.0.layer_scale.gamma", (8, 1, 1), Kind.OTHER),
        ("blocks.0.mixer.A_log", (8, 4), Kind.OTHER),
        ("blocks.0.attn.in_proj_bias", (24, 1), Kind.BIAS),
        ("bn1.weight", (8,), Kind.NORM),
        ("bn1.bias", (8,), Kind.NORM),
        ("model.norm.weight", (8,), Kind.NORM),
        ("ln_f.weight", (8,), Kind.NORM),
        ("layers.0.input_layernorm.weight", (8,), Kind.NORM),
        ("fc1.bias", (8,), Kind.BIAS),
        ("downsample.1.weight", (8,), Kind.NORM),
        ("logit_scale", (), Kind.OTHER),
        ("dt", (8,), Kind.OTHER),
    ],
)
def test_by_name_and_shape(name, shape, kind):
    assert tell(name, *shape) is kind


def test_a_first_convolution_on_grey_images_is_a_full_one():
    assert tell_kinds({"conv1.weight": (16, 1, 3, 3), "conv2.weight": (16, 1, 3, 3)}) == {
        "conv1.weight": Kind.CONV,
        "conv2.weight": Kind.DEPTHWISE,
    }
    assert tell_kinds({"pos_embed": (1, 5, 4), "patch.weight": (16, 1, 2, 2)})["patch.weight"] is Kind.CONV
    assert tell_kinds({"conv_dw.weight": (16, 1, 3, 3)})["conv_dw.weight"] is Kind.DEPTHWISE


def test_pointwise_convolutions_after_depthwise_ones():
    shapes = {
        "0.weight": (8, 3, 3, 3),
        "1.weight": (8, 1, 3, 3),
        "2.weight": (16, 8, 1, 1),
        "3.weight": (16, 1, 3, 3),
        "4.weight": (8, 16, 1, 1),
        "5.weight": (4, 8, 1, 1),
        "6.weight": (4, 1, 3, 3),
        "7.weight": (2, 4, 1, 1),
    }
    assert list(tell_kinds(shapes).values()) == [
        Kind.CONV,
        Kind.DEPTHWISE,
        Kind.POINTWISE,
        Kind.DEPTHWISE,
        Kind.POINTWISE_LINEAR,
        Kind.POINTWISE,
        Kind.DEPTHWISE,
        Kind.POINTWISE,  # narrows what nothing widened
    ]


def test_the_convolution_between_the_last_block_and_the_classifier_is_of_the_head():
    shapes = {
        "0.weight": (8, 3, 3, 3),
        "1.weight": (16, 8, 1, 1),
        "2.weight": (16, 1, 3, 3),
        "3.weight": (8, 16, 1, 1),
        "4.weight": (64, 8, 1, 1),
    }
    assert list(tell_kinds(shapes).values())[3:] == [Kind.POINTWISE_LINEAR, Kind.HEAD]
    del shapes["2.weight"]
    assert list(tell_kinds(shapes).values())[3] is Kind.POINTWISE


@pytest.mark.parametrize("name", ["fc.weight", "fc2.weight", "fc.2.weight", "output.weight", "linear3.weight"])
def test_the_last_matrix_is_the_head(name):
    assert tell_kinds({"layers.0.weight": (8, 8), name: (10, 8)})[name] is Kind.HEAD
    assert tell_kinds({name: (10, 8), "layers.0.weight": (8, 8)})[name] is Kind.LINEAR


FUSED = ("qkv", "qkv_proj", "query_key_value", "c_attn", "in_proj", "Wqkv", "wqkv", "W_pack", "att_proj")


@pytest.mark.parametrize("fused", FUSED)
def test_parts_of_fused_weights(fused):
    assert tell(f"h.0.mixer.{fused}.weight", 12, 4) is QKV
    found = [tell(f"h.0.mixer.{fused}.{letter}.weight", 4, 4) for letter in "qkv"]
    assert found == [Q, K, V]
    assert tell(f"h.0.mixer.{fused}.q.bias", 4) is Kind.BIAS


def test_nothing_has_no_kinds():
    assert tell_kinds({}) == {}


@pytest.mark.parametrize(
    ("name", "shape", "buffer"),
    [
        ("bn1.running_mean", (8,), True),
        ("bn1.num_batches_tracked", (), True),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", (4,), True),
        ("transformer.h.0.attn.bias", (1, 1, 16, 16), True),
        ("transformer.h.0.attn.bias", (16,), False),
        ("transformer.h.0.attn.masked_bias", (), True),
        ("embeddings.position_ids", (1, 16), True),
        ("layers.0.relative_position_index", (4, 4), True),
        ("fc.weight", (4, 4), False),
        ("fc.bias", (4,), False),
    ],
)
def test_buffers(name, shape, buffer):
    assert is_buffer(name, shape) is buffer


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("layers.0.q_proj.scales", True),
        ("layers.0.q_proj.weight_scale_inv", True),
        ("layers.0.q_proj.weight.absmax", True),
        ("layers.0.q_proj.SCB", True),
        ("layers.0.q_proj.weight", False),
        ("block_scale", False),
        ("logit_scale", False),
        ("layer_scales.weight", False),
    ],
)
def test_scales_of_codes(name, scale):
    assert is_scale(name) is scale
