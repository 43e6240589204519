"""Kinds of whole models of transformers, torchvision and peft, against a table of the names of their modules.

Models are built on the meta device, where they have no elements. A module's weight has the kind of the longest entry
that its path ends with, numbers left out; every matrix has one, and every entry is some matrix's.
"""

import re
import warnings
from collections import Counter

import pytest
import torch

from wsanalyze.layers.kinds import tell_kinds
from wsanalyze.layers.names import order_names
from wsanalyze.series import Kind

Q, K, V, QKV, OUT = Kind.ATTENTION_Q, Kind.ATTENTION_K, Kind.ATTENTION_V, Kind.ATTENTION_QKV, Kind.ATTENTION_OUT
UP, GATE, DOWN, EMBEDDING, HEAD = Kind.MLP_UP, Kind.MLP_GATE, Kind.MLP_DOWN, Kind.EMBEDDING, Kind.HEAD
EXPERT, ROUTER, POSITION, LINEAR, OTHER = Kind.EXPERT, Kind.ROUTER, Kind.POSITION, Kind.LINEAR, Kind.OTHER
CONV, DEPTHWISE, POINTWISE, LINEAR_CONV = Kind.CONV, Kind.DEPTHWISE, Kind.POINTWISE, Kind.POINTWISE_LINEAR
GATE_OF_CHANNELS, RECURRENT, BIAS = Kind.SQUEEZE_EXCITE, Kind.RECURRENT, Kind.BIAS

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TEXT = {**SIZES, "vocab_size": 50}
GROUPED = {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0}
IMAGES = {**SIZES, "image_size": 32, "patch_size": 8}
SEQUENCES = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "vocab_size": 50,
}
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 50}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 50}

APART = {"q_proj": Q, "k_proj": K, "v_proj": V}
ATTENTION = {**APART, "o_proj": OUT}
GATED = {"gate_proj": GATE, "up_proj": UP, "down_proj": DOWN}
LLAMA = {"embed_tokens": EMBEDDING, **ATTENTION, **GATED, "lm_head": HEAD}
MIXTURE = {
    "embed_tokens": EMBEDDING,
    **ATTENTION,
    "lm_head": HEAD,
    "experts.gate_up_proj": EXPERT,
    "experts.down_proj": EXPERT,
}
SHARED = {f"shared_expert.{name}": kind for name, kind in GATED.items()}
BERT = {
    "word_embeddings": EMBEDDING,
    "position_embeddings": POSITION,
    "token_type_embeddings": EMBEDDING,
    "query": Q,
    "key": K,
    "value": V,
    "attention.output.dense": OUT,
    "intermediate.dense": UP,
    "output.dense": DOWN,
}
SEQUENCE = {"embed_positions": POSITION, "embed_tokens": EMBEDDING, **APART, "out_proj": OUT, "fc1": UP, "fc2": DOWN}
T5_ATTENTION = {
    "shared": EMBEDDING,
    "embed_tokens": EMBEDDING,
    "relative_attention_bias": POSITION,
    "lm_head": HEAD,
    "Attention.q": Q,
    "Attention.k": K,
    "Attention.v": V,
    "Attention.o": OUT,
}
GPT_2 = {
    "wte": EMBEDDING,
    "wpe": POSITION,
    "c_attn": QKV,
    "attn.c_proj": OUT,
    "c_fc": UP,
    "mlp.c_proj": DOWN,
    "lm_head": HEAD,
}
NEO_X = {"query_key_value": QKV, "attention.dense": OUT, "dense_h_to_4h": UP, "dense_4h_to_h": DOWN, "lm_head": HEAD}
VISION = {"projection": EMBEDDING, **ATTENTION, "mlp.fc1": UP, "mlp.fc2": DOWN, "classifier": HEAD}
TOWER = {**APART, "out_proj": OUT, "fc1": UP, "fc2": DOWN, "position_embedding": POSITION, "patch_embedding": EMBEDDING}
SSM = {"in_proj": LINEAR, "conv1d": DEPTHWISE}
NARROW = [8, 8, 8, 8]

MODELS = {
    "GPT2": ("LMHeadModel", GPT, GPT_2),
    "GPTBigCode": ("ForCausalLM", GPT, GPT_2),
    "GPTJ": (
        "ForCausalLM",
        {**GPT, "rotary_dim": 4},
        {"wte": EMBEDDING, **APART, "out_proj": OUT, "fc_in": UP, "fc_out": DOWN, "lm_head": HEAD},
    ),
    "GPTNeoX": ("ForCausalLM", TEXT, {"embed_in": EMBEDDING, **NEO_X}),
    "Bloom": (
        "ForCausalLM",
        {"hidden_size": 16, "n_layer": 2, "n_head": 4, "vocab_size": 50},
        {"word_embeddings": EMBEDDING, **NEO_X},
    ),
    "Falcon": ("ForCausalLM", TEXT, {"word_embeddings": EMBEDDING, **NEO_X}),
    "Bert": (
        "ForMaskedLM",
        TEXT,
        {**BERT, "transform.dense": LINEAR, "predictions.decoder": HEAD},
    ),
    "Roberta": ("ForMaskedLM", TEXT, {**BERT, "lm_head.dense": HEAD, "lm_head.decoder": HEAD}),
    "Electra": (
        "ForPreTraining",
        {**TEXT, "embedding_size": 8},
        {**BERT, "embeddings_project": LINEAR, "predictions.dense": LINEAR, "dense_prediction": HEAD},
    ),
    "DebertaV2": (
        "ForSequenceClassification",
        {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
        {
            **{
                name: kind
                for name, kind in BERT.items()
                if name not in ("query", "key", "value", "token_type_embeddings")
            },
            "query_proj": Q,
            "key_proj": K,
            "value_proj": V,
            "pos_key_proj": K,
            "pos_query_proj": Q,
            "rel_embeddings": POSITION,
            "pooler.dense": LINEAR,
            "classifier": HEAD,
        },
    ),
    "Albert": (
        "ForMaskedLM",
        {**TEXT, "embedding_size": 8},
        {
            **{name: kind for name, kind in BERT.items() if "dense" not in name},
            "attention.dense": OUT,
            "ffn": UP,
            "ffn_output": DOWN,
            "embedding_hidden_mapping_in": LINEAR,
            "predictions.dense": LINEAR,
            "predictions.decoder": HEAD,
        },
    ),
    "DistilBert": (
        "ForMaskedLM",
        {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 50},
        {
            "word_embeddings": EMBEDDING,
            "position_embeddings": POSITION,
            "q_lin": Q,
            "k_lin": K,
            "v_lin": V,
            "out_lin": OUT,
            "lin1": UP,
            "lin2": DOWN,
            "vocab_transform": LINEAR,
            "vocab_projector": HEAD,
        },
    ),
    "ModernBert": (
        "ForMaskedLM",
        {**TEXT, "pad_token_id": 0},
        {
            "tok_embeddings": EMBEDDING,
            "attn.Wqkv": QKV,
            "attn.Wo": OUT,
            "mlp.Wi": UP,
            "mlp.Wo": DOWN,
            "head.dense": HEAD,
            "decoder": HEAD,
        },
    ),
    "T5": ("ForConditionalGeneration", T5, {**T5_ATTENTION, "DenseReluDense.wi": UP, "DenseReluDense.wo": DOWN}),
    "MT5": (
        "ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu"},
        {**T5_ATTENTION, "DenseReluDense.wi_0": GATE, "wi_1": UP, "DenseReluDense.wo": DOWN},
    ),
    "SwitchTransformers": (
        "ForConditionalGeneration",
        {**T5, "num_decoder_layers": 2, "num_experts": 4, "num_sparse_encoder_layers": 1},
        {
            **T5_ATTENTION,
            "mlp.wi": UP,
            "mlp.wo": DOWN,
            "router.classifier": ROUTER,
            "expert.wi": EXPERT,
            "expert.wo": EXPERT,
        },
    ),
    "Bart": (
        "ForConditionalGeneration",
        SEQUENCES,
        {**SEQUENCE, "shared": EMBEDDING, "lm_head": HEAD, "final_logits_bias": BIAS},
    ),
    "OPT": (
        "ForCausalLM",
        {**TEXT, "ffn_dim": 32, "word_embed_proj_dim": 8},
        {**SEQUENCE, "project_in": LINEAR, "project_out": LINEAR, "lm_head": HEAD},
    ),
    "Whisper": (
        "ForConditionalGeneration",
        {**SEQUENCES, "pad_token_id": 0},
        {**SEQUENCE, "conv1": CONV, "conv2": CONV, "proj_out": HEAD},
    ),
    "Llama": ("ForCausalLM", GROUPED, LLAMA),
    "Olmo2": ("ForCausalLM", GROUPED, LLAMA),
    "Qwen3": ("ForCausalLM", {**GROUPED, "head_dim": 4}, LLAMA),
    "Phi": (
        "ForCausalLM",
        GROUPED,
        {"embed_tokens": EMBEDDING, **APART, "attn.dense": OUT, "mlp.fc1": UP, "mlp.fc2": DOWN, "lm_head": HEAD},
    ),
    "Phi3": (
        "ForCausalLM",
        GROUPED,
        {
            "embed_tokens": EMBEDDING,
            "qkv_proj": QKV,
            "o_proj": OUT,
            "gate_up_proj": GATE,
            "down_proj": DOWN,
            "lm_head": HEAD,
        },
    ),
    "Mixtral": ("ForCausalLM", {**GROUPED, "num_local_experts": 4}, {**MIXTURE, "mlp.gate": ROUTER}),
    "Olmoe": ("ForCausalLM", {**GROUPED, "num_experts": 4}, {**MIXTURE, "mlp.gate": ROUTER}),
    "Qwen2Moe": (
        "ForCausalLM",
        {**GROUPED, "num_experts": 4, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8},
        {**MIXTURE, **SHARED, "mlp.gate": ROUTER, "shared_expert_gate": ROUTER},
    ),
    "DeepseekV3": (
        "ForCausalLM",
        {
            **TEXT,
            "n_routed_experts": 4,
            "moe_intermediate_size": 8,
            "first_k_dense_replace": 1,
            "n_group": 2,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 4,
            "num_key_value_heads": 4,
            "topk_group": 1,
            "num_experts_per_tok": 2,
        },
        {
            **{name: kind for name, kind in MIXTURE.items() if name not in APART},
            **GATED,
            "shared_experts.down_proj": DOWN,
            "mlp.gate": ROUTER,
            "q_a_proj": Q,
            "q_b_proj": Q,
            "kv_a_proj_with_mqa": QKV,
            "kv_b_proj": QKV,
        },
    ),
    "GptOss": (
        "ForCausalLM",
        {**GROUPED, "num_local_experts": 4, "head_dim": 4},
        {**MIXTURE, "mlp.router": ROUTER, "gate_up_proj_bias": BIAS, "down_proj_bias": BIAS},
    ),
    "Jamba": (
        "ForCausalLM",
        {
            **GROUPED,
            "num_hidden_layers": 4,
            "num_experts": 4,
            "use_mamba_kernels": False,
            "mamba_d_state": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
        },
        {
            **MIXTURE,
            **GATED,
            **SSM,
            "router": ROUTER,
            "A_log": OTHER,
            "x_proj": LINEAR,
            "dt_proj": LINEAR,
            "mamba.out_proj": LINEAR,
        },
    ),
    "Mamba": (
        "ForCausalLM",
        {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 50},
        {
            "embeddings": EMBEDDING,
            **SSM,
            "A_log": OTHER,
            "x_proj": LINEAR,
            "dt_proj": LINEAR,
            "out_proj": LINEAR,
            "lm_head": HEAD,
        },
    ),
    "Mamba2": (
        "ForCausalLM",
        {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 50, "num_heads": 8, "head_dim": 4},
        {"embeddings": EMBEDDING, **SSM, "out_proj": LINEAR, "lm_head": HEAD},
    ),
    "RecurrentGemma": (
        "ForCausalLM",
        {**GROUPED, "num_hidden_layers": 3, "lru_width": 16},
        {
            **LLAMA,
            "linear_x": LINEAR,
            "linear_y": LINEAR,
            "linear_out": LINEAR,
            "conv_1d": DEPTHWISE,
            "input_gate_weight": RECURRENT,
            "recurrent_gate_weight": RECURRENT,
            "input_gate_bias": BIAS,
            "recurrent_gate_bias": BIAS,
        },
    ),
    "Rwkv": (
        "ForCausalLM",
        {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 50},
        {
            "embeddings": EMBEDDING,
            "attention.key": K,
            "attention.value": V,
            "attention.receptance": Q,
            "attention.output": OUT,
            "feed_forward.key": UP,
            "feed_forward.value": DOWN,
            "head": HEAD,
            "feed_forward.receptance": GATE,
            "time_mix_key": OTHER,
            "time_mix_value": OTHER,
            "time_mix_receptance": OTHER,
        },
    ),
    "XLNet": (
        "LMHeadModel",
        {"d_model": 16, "n_layer": 2, "n_head": 4, "d_inner": 32, "vocab_size": 50},
        {
            "word_embedding": EMBEDDING,
            "mask_emb": EMBEDDING,
            "seg_embed": EMBEDDING,
            "rel_attn.r": POSITION,
            "rel_attn.q": Q,
            "rel_attn.k": K,
            "rel_attn.v": V,
            "rel_attn.o": OUT,
            "lm_loss": HEAD,
            "r_r_bias": BIAS,
            "r_s_bias": BIAS,
            "r_w_bias": BIAS,
            "ff.layer_1": UP,
            "ff.layer_2": DOWN,
        },
    ),
    "ViT": (
        "ForImageClassification",
        IMAGES,
        {**VISION, "cls_token": EMBEDDING, "position_embeddings": POSITION},
    ),
    "Swin": (
        "ForImageClassification",
        {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "image_size": 32, "window_size": 4},
        {**VISION, "relative_position_bias_table": POSITION, "downsample.reduction": LINEAR},
    ),
    "Segformer": (
        "ForImageClassification",
        {"hidden_sizes": NARROW, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]},
        {
            **{name: kind for name, kind in VISION.items() if name != "projection"},
            "patch_embeddings.proj": EMBEDDING,
            "sequence_reduction": CONV,
            "dwconv": DEPTHWISE,
        },
    ),
    "CLIP": (
        "Model",
        {"text_config": TEXT, "vision_config": IMAGES},
        {**TOWER, "token_embedding": EMBEDDING, "visual_projection": LINEAR, "text_projection": LINEAR},
    ),
    "ConvNext": (
        "ForImageClassification",
        {"hidden_sizes": NARROW, "depths": [1, 1, 1, 1]},
        {
            "patch_embeddings": EMBEDDING,
            "dwconv": DEPTHWISE,
            "pwconv1": UP,
            "pwconv2": DOWN,
            "downsampling_layer.1": CONV,
            "classifier": HEAD,
        },
    ),
    "ResNet": (
        "ForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
        {
            "embedder.convolution": CONV,
            "shortcut.convolution": POINTWISE,
            "layer.0.convolution": POINTWISE,
            "layer.1.convolution": CONV,
            "layer.2.convolution": POINTWISE,
            "classifier.1": HEAD,
        },
    ),
    "RegNet": (
        "ForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "groups_width": 4},
        {
            "embedder.convolution": CONV,
            "shortcut.convolution": POINTWISE,
            "layer.0.convolution": POINTWISE,
            "layer.1.convolution": CONV,
            "layer.3.convolution": POINTWISE,
            "classifier.1": HEAD,
            "attention.0": GATE_OF_CHANNELS,
            "attention.2": GATE_OF_CHANNELS,
        },
    ),
    "MobileNetV2": (
        "ForImageClassification",
        {},
        {
            "first_conv.convolution": CONV,
            "conv_3x3.convolution": DEPTHWISE,
            "expand_1x1.convolution": POINTWISE,
            "reduce_1x1.convolution": LINEAR_CONV,
            "conv_stem.reduce_1x1.convolution": POINTWISE,
            "mobilenet_v2.conv_1x1.convolution": HEAD,
            "classifier": HEAD,
        },
    ),
    "EfficientNet": (
        "ForImageClassification",
        {},
        {
            "embeddings.convolution": CONV,
            "depthwise_conv": DEPTHWISE,
            "expand_conv": POINTWISE,
            "project_conv": LINEAR_CONV,
            "squeeze_excite.reduce": GATE_OF_CHANNELS,
            "top_conv": HEAD,
            "squeeze_excite.expand": GATE_OF_CHANNELS,
            "classifier": HEAD,
            # Of its first stage, which expands nothing.
            **{f"blocks.{index}.projection.project_conv": POINTWISE for index in range(4)},
        },
    ),
    "Wav2Vec2": (
        "ForCTC",
        {**TEXT, "conv_dim": (8, 8), "conv_stride": (2, 2), "conv_kernel": (3, 3), "num_conv_pos_embedding_groups": 2},
        {
            **APART,
            "attention.out_proj": OUT,
            "intermediate_dense": UP,
            "output_dense": DOWN,
            "lm_head": HEAD,
            "conv_layers.conv": CONV,
            "feature_projection.projection": LINEAR,
            "original0": POSITION,
            "original1": POSITION,
            "masked_spec_embed": OTHER,
        },
    ),
}


def shapes_of(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def plain(path, entry):
    """A path with its numbers left out, but those that an entry asks for."""
    return path if re.search(r"\.\d", entry) else re.sub(r"(\.|(?<=expert)_)\d+(?=\.|$)", "", path)


def find_entry(path, table):
    ends = {entry: re.search(rf"(^|[._]|(?<=Self)|(?<=Dec)){re.escape(entry)}$", plain(path, entry)) for entry in table}
    return max((entry for entry, found in ends.items() if found), key=len, default=None)


@pytest.mark.parametrize("name", MODELS)
def test_kinds_of_transformers(name):
    transformers = pytest.importorskip("transformers", minversion="5", reason="modules had other names before")
    model, options, table = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = getattr(transformers, f"{name}Config")(**options)
        with torch.device("meta"):
            shapes = shapes_of(getattr(transformers, f"{name}{model}")(config))
    ordered, kinds = tell_kinds({n: shapes[n] for n in order_names(shapes)}), tell_kinds(shapes)
    wrong, used = {}, set()
    for key in (key for key, shape in shapes.items() if len(shape) > 1):
        entry = find_entry(key.removesuffix(".weight"), table)
        used.add(entry)
        if entry is None or {kinds[key], ordered[key]} != {table[entry]}:
            wrong[key] = entry, kinds[key], ordered[key]
    assert not wrong
    assert used >= {*table} - {"masked_spec_embed"}


@pytest.mark.parametrize("order", [list, order_names])
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "efficientnet_b4",
            {CONV: 1, DEPTHWISE: 32, POINTWISE: 32, LINEAR_CONV: 30, GATE_OF_CHANNELS: 64, HEAD: 2},
        ),
        (
            "mobilenet_v3_small",
            {CONV: 1, DEPTHWISE: 11, POINTWISE: 11, LINEAR_CONV: 10, GATE_OF_CHANNELS: 18, HEAD: 3},
        ),
        ("swin_v2_t", {CONV: 1, POSITION: 24, QKV: 12, OUT: 12, UP: 12, DOWN: 12, LINEAR: 3, HEAD: 1, OTHER: 24}),
        ("shufflenet_v2_x0_5", {CONV: 1, DEPTHWISE: 19, POINTWISE: 36, HEAD: 1}),
    ],
)
def test_kinds_of_torchvision(name, counts, order):
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        shapes = shapes_of(torchvision.models.get_model(name))
    kinds = tell_kinds({key: shapes[key] for key in order(shapes)})
    assert Counter(kinds[key] for key, shape in shapes.items() if len(shape) > 1) == counts


ADAPTERS = {
    "LoRA": ("LoraConfig", {}, {"lora_A": Kind.LORA_A, "lora_B": Kind.LORA_B}),
    "DoRA": ("LoraConfig", {"use_dora": True}, {"lora_A": Kind.LORA_A, "lora_B": Kind.LORA_B}),
    "AdaLoRA": (
        "AdaLoraConfig",
        {"total_step": 10},
        {"lora_A": Kind.LORA_A, "lora_B": Kind.LORA_B, "lora_E": Kind.ADAPTER},
    ),
    "IA3": ("IA3Config", {"feedforward_modules": ["down_proj"]}, {"ia3_l": Kind.ADAPTER}),
    "LoHa": ("LoHaConfig", {}, {"hada_w1_a": Kind.ADAPTER, "hada_w2_b": Kind.ADAPTER}),
    "LoKr": ("LoKrConfig", {"decompose_both": True, "r": 1}, {"lokr_w1": Kind.ADAPTER}),
    "OFT": ("OFTConfig", {"oft_block_size": 4, "r": 0}, {"oft_R": Kind.ADAPTER}),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_kinds_of_adapters(name):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    config, options, table = ADAPTERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED))
        plain_kinds = tell_kinds(shapes_of(base))
        options = {"target_modules": ["q_proj", "down_proj"], **options}
        model = peft.get_peft_model(base, getattr(peft, config)(**options))
        shapes = shapes_of(model)
        saved = {key: tuple(value.shape) for key, value in peft.get_peft_model_state_dict(model).items()}
    kinds = {**tell_kinds(shapes), **tell_kinds(saved)}
    for key, shape in {**shapes, **saved}.items():
        original = key.removeprefix("base_model.model.").replace(".base_layer", "")
        part = next((part for part in table if f".{part}" in key), None)
        if original in plain_kinds:
            assert kinds[key] is plain_kinds[original], key
        elif len(shape) > 1:
            assert part is None or kinds[key] is table[part], key
            assert kinds[key] in {*table.values(), Kind.ADAPTER}, key
    assert all(any(f".{part}" in key for key in saved) for part in table)


DIFFUSERS = {
    "conv_in.weight": ((8, 4, 3, 3), CONV),
    "time_embedding.linear_1.weight": ((32, 8), LINEAR),
    "down_blocks.0.resnets.0.conv1.weight": ((8, 8, 3, 3), CONV),
    "down_blocks.0.resnets.0.time_emb_proj.weight": ((8, 32), LINEAR),
    "down_blocks.0.resnets.0.conv_shortcut.weight": ((8, 8, 1, 1), POINTWISE),
    "down_blocks.0.attentions.0.proj_in.weight": ((8, 8), LINEAR),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": ((8, 8), Q),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k.weight": ((8, 8), K),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v.weight": ((8, 16), V),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0.weight": ((8, 8), OUT),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": ((64, 8), UP),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight": ((8, 32), DOWN),
    "down_blocks.0.attentions.0.proj_out.weight": ((8, 8), LINEAR),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight": ((4, 8), Kind.LORA_A),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.up.weight": ((8, 4), Kind.LORA_B),
    "transformer_blocks.0.attn.add_q_proj.weight": ((8, 8), Q),
    "transformer_blocks.0.attn.to_add_out.weight": ((8, 8), OUT),
    "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": ((4, 8), Kind.LORA_A),
    "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": ((8, 4), Kind.LORA_B),
    "conv_out.weight": ((4, 8, 3, 3), CONV),
}


def test_kinds_of_diffusers():
    shapes = {name: shape for name, (shape, _) in DIFFUSERS.items()}
    assert tell_kinds(shapes) == {name: kind for name, (_, kind) in DIFFUSERS.items()}
    assert tell_kinds({"proj_out.weight": (8, 8), "x.weight": (8, 8)})["proj_out.weight"] is HEAD


@pytest.mark.parametrize(
    ("shapes", "kinds"),
    [
        ({"w1": (32, 8), "w2": (8, 32), "w3": (32, 8)}, {"w1": GATE, "w2": DOWN, "w3": UP}),  # LLaMA
        ({"w1": (32, 8), "w2": (32, 8), "w3": (8, 32)}, {"w1": GATE, "w2": UP, "w3": DOWN}),  # timm's SwiGLU
        ({"w1": (8, 8), "w2": (8, 8), "w3": (8, 8)}, {"w1": GATE, "w2": DOWN, "w3": UP}),
        ({"w1": (32, 8), "w2": (8, 32)}, {"w1": UP, "w2": DOWN}),
        ({"w12": (64, 8), "w3": (8, 32)}, {"w12": UP, "w3": DOWN}),  # DINOv2
    ],
)
def test_parts_of_an_mlp_that_are_only_numbered(shapes, kinds):
    names = {part: f"layers.0.feed_forward.{part}.weight" for part in shapes}
    found = tell_kinds({"tok_embeddings.weight": (50, 8), **{names[part]: shape for part, shape in shapes.items()}})
    assert {part: found[names[part]] for part in shapes} == kinds


def test_a_gate_beside_experts_is_a_router_and_one_inside_an_mlp_is_none():
    shapes = {
        "layers.0.moe.gate.weight": (4, 8),
        "layers.0.moe.experts.0.w1.weight": (32, 8),
        "layers.1.mlp.gate.weight": (32, 8),
        "layers.2.moe.deepspeed_moe.gate.wg.weight": (4, 8),
    }
    assert list(tell_kinds(shapes).values()) == [ROUTER, EXPERT, LINEAR, ROUTER]
