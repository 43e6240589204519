"""What is no weight though it is stored beside weights: buffers, and the scales of quantised codes. Told by names."""

import re
from collections.abc import Mapping
from typing import Final

from wsanalyze.layers.kind_names import make_pattern

_BUFFERS: Final = make_pattern(
    r"(^|\.)(running_mean|running_var|num_batches_tracked|inv_freq|rotary_emb\.\w+|position_ids|token_type_ids|"
    r"relative_position_index|attn_mask|masked_bias|total_ops|total_params|_float_tensor|freqs_cis)$"
    r"|^batch_stats\."  # Flax keeps running statistics in a collection of their own
)
# GPTQ, AWQ, EXL2; bitsandbytes; compressed-tensors, ModelOpt, block-wise and plain float8; MXFP4; quanto and torchao.
_SCALES: Final = make_pattern(
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
_CAUSAL_MASK: Final = make_pattern(r"attn(ention)?\.(bias|mask)$")


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
