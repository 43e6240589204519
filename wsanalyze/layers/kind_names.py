"""What names say of the kind of a tensor with two axes or more: patterns, in the order in which they are tried.

References:
    docs/method.md, "Rows". Names are those of torchvision, timm, transformers, diffusers, OLMo, RWKV and peft.
"""

import re
from collections.abc import Callable
from typing import Final

from wsanalyze.series import Kind

Matches = Callable[[str], bool]

_FUSED: Final = "qkv|qkv_proj|query_key_value|c_attn|in_proj|Wqkv|W_pack|att_proj"
_MLP: Final = r"(mlp\w*|ffn|feed_forward|ff)"
_BLOCK: Final = r"(^|\.)(layers?|blocks?|h|resblocks)\.\d+"


def make_pattern(text: str) -> Matches:
    """What tells whether an expression is found in a name, whatever its case."""
    found = re.compile(text, re.IGNORECASE)
    return lambda name: found.search(name) is not None


def _parts(words: str) -> Matches:
    """Matches names that have one of the words as a part between dots."""
    return make_pattern(rf"(^|\.)({words})(\.|$)")


def _fused(letter: str) -> Matches:
    """Matches a part that a fused weight was split into."""
    return make_pattern(rf"(^|\.)({_FUSED})\.{letter}\.weight$")


def _attention(letter: str, word: str, *others: str) -> Matches:
    """Matches the projection to queries, keys or values; a bare letter only inside an attention module."""
    inside = "|".join((letter, f"{letter}_lin", f"linear_{letter}"))
    anywhere = "|".join((f"(add_)?{letter}_proj", rf"(pos_)?{word}(_proj)?", f"to_{letter}", f"w{letter}", *others))
    return make_pattern(rf"(attn|attention).*\.({inside})(\.|$)|(^|\.)({anywhere})(\.|$)")


# One part of a dotted name is matched whole unless the pattern says otherwise.
BY_NAME: Final[tuple[tuple[Kind, Matches], ...]] = (
    (Kind.LORA_A, _parts(r"lora_A|lora_embedding_A|lora_down|lora\.down|lora_linear_layer\.down")),
    (Kind.LORA_B, _parts(r"lora_B|lora_embedding_B|lora_up|lora\.up|lora_linear_layer\.up")),
    (
        Kind.ADAPTER,  # DoRA, IA3, VeRA, LoHa, LoKr, OFT, bottlenecks, prompts and prefixes
        make_pattern(
            r"(^|\.)(lora_magnitude_vector|lora_E|ia3_l|vera_\w+|hada_\w+|lokr_\w+|oft_\w+|boft_\w+|adapters?|adapter_\w+"
            r"|\w+_adapter|prompt_embeddings|prompt_encoder\.\w+\.(embedding|transform)|prefix_encoder)(\.|$)"
        ),
    ),
    (Kind.RECURRENT, make_pattern(r"weight_(ih|hh|hr)(_l\d+)?(_reverse)?$|(input|recurrent)_gate_weight$")),
    (
        Kind.SQUEEZE_EXCITE,
        make_pattern(r"(^|\.)(se|se_module|squeeze_excite|attn_se|conv_reduce|conv_expand)\."),
    ),
    (
        Kind.POSITION,
        _parts(
            r"pos_embed\w*|(\w+_)?position_embeddings?|pos_embedding|wpe|positional_embedding|embed_positions|rel_embeddings|"
            r"relative_attention_bias|relative_position_bias_table|rel_pos_[hw]|pos_conv_embed|cpb_mlp|rel_attn\.r"
        ),
    ),
    (
        Kind.EMBEDDING,
        make_pattern(
            r"(^|\.)(cls_token|class_token|dist_token|reg_token|mask_tokens?|iou_token|class_embedding|wte|embed_tokens|"
            r"tok_embeddings|word_embeddings?|token_type_embeddings|token_embedding|embed_in|embeddings?|embed|embed_layer"
            r"|shared|seg_embed|mask_emb|no_mask_embed|not_a_point_embed|patch_embed(ding)?s?(\.(proj|projection))?)"
            r"(\.weight)?$"
        ),
    ),
    (Kind.BIAS, make_pattern(r"(^|[._])bias$")),
    (Kind.ROUTER, _parts(r"router|shared_expert_gate|gate\.wg")),
    (Kind.EXPERT, make_pattern(r"(^|\.)experts?(\.|_|$)")),
    (Kind.MLP_GATE, make_pattern(r"(^|\.)(ffn|feed_forward)\.receptance\.|DenseReluDense\.wi_0(\.|$)")),
    (Kind.MLP_UP, make_pattern(rf"(^|\.)(ffn|feed_forward)\.key\.|{_MLP}\.net\.0(\.|$)")),
    (Kind.MLP_DOWN, make_pattern(rf"(^|\.)(ffn|feed_forward)\.value\.|({_MLP}|DenseReluDense)\.wo(\.|$)")),
    (Kind.ATTENTION_Q, _fused("q")),
    (Kind.ATTENTION_K, _fused("k")),
    (Kind.ATTENTION_V, _fused("v")),
    (
        Kind.ATTENTION_QKV,
        _parts(rf"{_FUSED}|in_proj_weight|kv|to_kv|to_qkv|kv_proj|kv_a_proj\w*|kv_b_proj|in_proj_qkvz?"),
    ),
    (Kind.ATTENTION_Q, _attention("q", "query", "q_proj_weight", "q_[ab]_proj", r"att(ention)?\.receptance")),
    (Kind.ATTENTION_K, _attention("k", "key", "k_proj_weight")),
    (Kind.ATTENTION_V, _attention("v", "value", "v_proj_weight")),
    (
        Kind.ATTENTION_OUT,
        make_pattern(
            r"(attn|attention).*\.(out_proj|o_proj|o|proj|c_proj|wo|to_out|out_lin|dense|attn_out)(\.|$)"
            r"|(^|\.)att(ention)?\.output\.weight$|(^|\.)(o_proj|to_out|to_add_out|wo|attn_out)(\.|$)"
        ),
    ),
    (Kind.MLP_GATE, _parts(r"gate_proj|w1_gate|gate_up_proj|fc1_g")),
    (
        Kind.MLP_UP,
        make_pattern(
            r"(^|\.)(up_proj|dense_h_to_4h|c_fc|ff_proj|fc_in|wi(_\d)?|linear1|lin1|pwconv1|intermediate_dense)(\.|$)"
            rf"|{_MLP}\.(fc1|w1|w3|w12|weights_in|c_fc|linear_1|layer_1)(\.|$)|{_MLP}\.0\.weight$"
            rf"|{_BLOCK}\.fc1\.|(^|\.)intermediate(_query)?\.dense(\.|$)|(^|\.)ffn\.weight$"
        ),
    ),
    (
        Kind.MLP_DOWN,
        make_pattern(
            r"(^|\.)(down_proj|dense_4h_to_h|fc_out|linear2|lin2|pwconv2|ffn_output|output_dense)(\.|$)"
            rf"|{_MLP}\.(fc2|w2|weights_out|net\.2|c_proj|linear_2|layer_2)(\.|$)|{_MLP}\.[23]\.weight$"
            rf"|{_BLOCK}\.(fc2|ff_out)\.|(^|\.)layer\.\d+\.output(_query)?\.dense(\.|$)"
        ),
    ),
    (
        Kind.HEAD,
        make_pattern(
            r"^(.*\.)?(lm_head|classifier|head|heads|head_dist|score|embed_out|predictions\.decoder|cls\.seq_relationship"
            r"|output_layer|lm_loss|vocab_projector|dense_prediction|qa_outputs|class_labels_classifier|bbox_predictor"
            r"|conv_head|top_conv|conv_1x1_exp|mobilenet_v2\.conv_1x1|transformer\.ff_out)(\.(?!in_proj)\w+)*$"
            r"|^(proj_out|decoder)\.weight$"
        ),
    ),
)
