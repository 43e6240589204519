"""What a tensor is for, told by its name and shape alone.

References:
    docs/method.md, "Rows". Names are those of torchvision, timm, transformers, GPT-NeoX, OLMo and peft.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from wsanalyze.series import Kind

_CONV_NDIMS: Final = (3, 4, 5)
_FUSED: Final = "qkv|qkv_proj|query_key_value|c_attn|in_proj|Wqkv|W_pack|att_proj"


def _pattern(text: str) -> Callable[[str], bool]:
    found = re.compile(text, re.IGNORECASE)
    return lambda name: found.search(name) is not None


def _parts(words: str) -> Callable[[str], bool]:
    """Matches names that have one of the words as a part between dots."""
    return _pattern(rf"(^|\.)({words})(\.|$)")


def _fused(letter: str) -> Callable[[str], bool]:
    """Matches a part that a fused weight was split into."""
    return _pattern(rf"(^|\.)({_FUSED})\.{letter}\.weight$")


def _attention(letter: str, word: str, *others: str) -> Callable[[str], bool]:
    """Matches the projection to queries, keys or values; a bare letter only inside an attention module."""
    inside = "|".join((letter, f"{letter}_lin", f"linear_{letter}"))
    anywhere = "|".join((f"{letter}_proj", word, f"to_{letter}", f"w{letter}", *others))
    return _pattern(rf"(attn|attention).*\.({inside})(\.|$)|(^|\.)({anywhere})(\.|$)")


# One part of a dotted name is matched whole unless the pattern says otherwise.
_BY_NAME: Final[tuple[tuple[Kind, Callable[[str], bool]], ...]] = (
    (Kind.LORA_A, _parts(r"lora_A|lora_embedding_A")),
    (Kind.LORA_B, _parts(r"lora_B|lora_embedding_B")),
    (Kind.RECURRENT, _pattern(r"weight_(ih|hh|hr)(_l\d+)?(_reverse)?$")),
    (Kind.SQUEEZE_EXCITE, _pattern(r"(^|\.)(se|se_module|squeeze_excite|attn_se|conv_reduce|conv_expand)\.")),
    (
        Kind.POSITION,
        _parts(
            r"pos_embed\w*|position_embeddings?|pos_embedding|wpe|positional_embedding|embed_positions|"
            r"relative_attention_bias|relative_position_bias_table"
        ),
    ),
    (
        Kind.EMBEDDING,
        _pattern(
            r"(^|\.)(cls_token|class_token|dist_token|reg_token|mask_token|class_embedding|wte|embed_tokens|tok_embeddings|"
            r"word_embeddings|token_type_embeddings|token_embedding|embed_in|embeddings?|embed|embed_layer|shared)"
            r"(\.weight)?$"
        ),
    ),
    (Kind.EXPERT, _pattern(r"(^|\.)experts?(\.|_|$)")),
    (Kind.ATTENTION_Q, _fused("q")),
    (Kind.ATTENTION_K, _fused("k")),
    (Kind.ATTENTION_V, _fused("v")),
    (Kind.ATTENTION_QKV, _parts(rf"{_FUSED}|in_proj_weight|kv")),
    (Kind.ATTENTION_Q, _attention("q", "query", "q_proj_weight")),
    (Kind.ATTENTION_K, _attention("k", "key", "k_proj_weight")),
    (Kind.ATTENTION_V, _attention("v", "value", "v_proj_weight")),
    (
        Kind.ATTENTION_OUT,
        _pattern(
            r"(attn|attention).*\.(out_proj|o_proj|o|proj|c_proj|wo|to_out|out_lin|dense|attn_out)(\.|$)"
            r"|(^|\.)(o_proj|to_out|(?<!DenseReluDense\.)wo|attn_out)(\.|$)"
        ),
    ),
    (Kind.MLP_GATE, _parts(r"gate_proj|w1_gate|gate_up_proj|fc1_g")),
    (
        Kind.MLP_UP,
        _pattern(
            r"(^|\.)(up_proj|dense_h_to_4h|c_fc|ff_proj|fc_in|wi(_\d)?|linear1|lin1)(\.|$)"
            r"|(mlp\w*|ffn|feed_forward|ff)\.(fc1|w1|w3|0|net\.0|c_fc|linear_1)(\.|$)|(^|\.)intermediate\.dense(\.|$)"
        ),
    ),
    (
        Kind.MLP_DOWN,
        _pattern(
            r"(^|\.)(down_proj|dense_4h_to_h|ff_out|fc_out|linear2|lin2)(\.|$)"
            r"|(mlp\w*|ffn|feed_forward|ff)\.(fc2|w2|2|3|net\.2|c_proj|linear_2)(\.|$)"
            r"|(^|\.)layer\.\d+\.output\.dense(\.|$)|DenseReluDense\.wo(\.|$)"
        ),
    ),
    (
        Kind.HEAD,
        _pattern(
            r"^(.*\.)?(lm_head|classifier|head|heads|head_dist|score|embed_out|cls\.predictions\.decoder|output_layer)"
            r"(\.(?!in_proj)\w+)*$"
        ),
    ),
)
_NORM: Final = _pattern(
    r"(^|\.|_)(bn\d*|norm\w*|ln(_\w+)?|ln\d*|layer_?norm\w*|LayerNorm|batch_?norm\d*|rms_?norm)(\.|$)"
)
_BIAS: Final = _pattern(r"(^|\.|_)(bias|bias_ih_l\d+|bias_hh_l\d+|beta)\w*$")
_GAIN: Final = _pattern(r"(^|\.)(weight|gamma|scale)$")
_IS_WEIGHT: Final = _pattern(r"(weight(_v|_orig)?|kernel|original[01]?)$")
_LAST_LINEAR: Final = _pattern(r"(^|\.)(fc\w*|out\w*|linear\w*)(\.\d+)*\.weight$")
_POINTWISE_LINEAR: Final = _pattern(r"(^|\.)(conv_pwl|project|proj_conv|point_linear)(\.|$)")
_BUFFERS: Final = _pattern(
    r"(^|\.)(running_mean|running_var|num_batches_tracked|inv_freq|rotary_emb\.\w+|position_ids|token_type_ids|"
    r"relative_position_index|attn_mask|masked_bias|total_ops|total_params|_float_tensor|freqs_cis)$"
    r"|^batch_stats\."  # Flax keeps running statistics in a collection of their own
)
# GPTQ, AWQ, EXL2; bitsandbytes; compressed-tensors, ModelOpt, block-wise and plain float8; MXFP4; quanto and torchao.
_SCALES: Final = _pattern(
    r"(^|\.)("
    r"q?scales|q_?zeros|(weight_)?g_idx|scales_and_zeros|q_scale_max"
    r"|(nested_)?absmax|(nested_)?quant_map|quant_state\.bitsandbytes__\w+|SCB|weight_format"
    r"|_?(weight|input|output)(_global)?_scale(_inv|_2|_ub)?|[kv]{1,2}_scale|\w+_scale_inv|scale_(weight|input)"
    r"|_?(weight|input|output)_zero_point|weight_shape"
    r"|(gate_up|gate|up|down)_proj_scales?"
    r"|weight(\._|:_?)(scale|shift|zero_point)"
    r")$"
)
_CODES: Final = ("float8", "int", "uint", "packed")
_DATA: Final = re.compile(r"(\._data|:_?q?data|_qdata|_quantized)$")  # quanto, torchao, ONNX Runtime
_SCALE_ENDINGS: Final = ("_scale", "_scale_inv", "_scales", "_zero_point", ".scale", "._scale", "._shift", ":scale")
_SCALES_BESIDE: Final = {"weight": ("scale", "scale_weight"), "W_q": ("scale", "zero"), "codes": ("codebooks",)}
_CAUSAL_MASK: Final = _pattern(r"attn(ention)?\.(bias|mask)$")


def is_buffer(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is known to be no parameter: running statistics, masks, position ids."""
    mask = len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]  # noqa: PLR2004 - (1, 1, n, n)
    return _BUFFERS(name) or (mask and _CAUSAL_MASK(name))


def is_scale(name: str) -> bool:
    """Whether a tensor only says how to read quantised codes, told by its name alone."""
    return _SCALES(name)


def find_scales(dtypes: Mapping[str, str]) -> dict[str, list[str]]:
    """Find codes and the scales that they are to be multiplied by, told by names that belong together.

    Args:
        dtypes: Name of the dtype of each tensor of one checkpoint.

    Returns:
        For each tensor of codes (integers or float8) the names of its scales, where there are any: float8 without a
        scale is a weight.
    """
    found: dict[str, list[str]] = {}
    for name, dtype in dtypes.items():
        if not dtype.startswith(_CODES):
            continue
        stem = _DATA.sub("", name)
        module, dot, last = name.rpartition(".")
        names = [f"{stem}{ending}" for ending in _SCALE_ENDINGS]
        names += [f"{module}{dot}{other}" for other in _SCALES_BESIDE.get(last, ())]
        if scales := [other for other in names if other in dtypes]:
            found[name] = scales
    return found


def tell_kinds(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Kind]:
    """Tell what each tensor of a model is for.

    Args:
        shapes: Shape of each tensor by name, in the model's own order.

    Returns:
        The kind of each tensor by name.
    """
    kinds: dict[str, Kind] = {}
    seen_conv = False
    for name, shape in shapes.items():
        kind = _tell_kind(name, shape, first_conv=not seen_conv)
        seen_conv = seen_conv or kind in (Kind.CONV, Kind.DEPTHWISE, Kind.POINTWISE, Kind.POINTWISE_LINEAR)
        kinds[name] = kind
    _mark_projections(kinds, shapes)
    matrices = [name for name, shape in shapes.items() if len(shape) > 1]
    if matrices and kinds[matrices[-1]] is Kind.LINEAR and _LAST_LINEAR(matrices[-1]):
        kinds[matrices[-1]] = Kind.HEAD
    return kinds


def _tell_kind(name: str, shape: tuple[int, ...], *, first_conv: bool) -> Kind:
    if len(shape) <= 1:
        return _tell_vector_kind(name)
    for kind, matches in _BY_NAME:
        if matches(name):
            return kind
    if len(shape) in _CONV_NDIMS and _IS_WEIGHT(name):
        return _tell_conv_kind(name, shape, first_conv=first_conv)
    return Kind.LINEAR if len(shape) == 2 else Kind.OTHER  # noqa: PLR2004 - a matrix


def _tell_vector_kind(name: str) -> Kind:
    if _NORM(name):
        return Kind.NORM
    if _BIAS(name):
        return Kind.BIAS
    return Kind.NORM if _GAIN(name) else Kind.OTHER


def _tell_conv_kind(name: str, shape: tuple[int, ...], *, first_conv: bool) -> Kind:
    if all(size == 1 for size in shape[2:]):
        return Kind.POINTWISE_LINEAR if _POINTWISE_LINEAR(name) else Kind.POINTWISE
    # A first convolution on grey images has one input channel too, and is none the less a full one.
    depthwise = shape[1] == 1 and shape[0] > 1 and (not first_conv or re.search(r"dw|depth", name))
    return Kind.DEPTHWISE if depthwise else Kind.CONV


def _mark_projections(kinds: dict[str, Kind], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A pointwise convolution that follows a depthwise one is a linear projection, as in inverted bottlenecks."""
    after_depthwise = False
    for name, kind in kinds.items():
        if kind is Kind.DEPTHWISE:
            after_depthwise = True
        elif kind is Kind.POINTWISE and after_depthwise:
            if shapes[name][0] < shapes[name][1]:
                kinds[name] = Kind.POINTWISE_LINEAR
            after_depthwise = False
        elif kind in (Kind.CONV, Kind.POINTWISE_LINEAR):
            after_depthwise = False
