"""What a tensor is for, told by its name and shape alone.

References:
    docs/method.md, "Rows".
"""

import re
from collections.abc import Mapping
from typing import Final

from wsanalyze.layers.kind_names import BY_NAME, make_pattern
from wsanalyze.layers.siblings import mark_by_siblings
from wsanalyze.series import Kind

_CONV_NDIMS: Final = (3, 4, 5)
_NORM: Final = make_pattern(
    r"(^|\.|_)(bn\d*|norm\w*|ln(_\w+)?|ln\d*|layer_?norm\w*|LayerNorm|batch_?norm\d*|rms_?norm)(\.|$)"
)
_BIAS: Final = make_pattern(r"(^|\.|_)(bias|bias_ih_l\d+|bias_hh_l\d+|beta)\w*$")
_GAIN: Final = make_pattern(r"(^|\.)(weight|gamma|scale)$")
_IS_WEIGHT: Final = make_pattern(r"(weight(_v|_orig)?|kernel|original[01]?)$")
_LAST_LINEAR: Final = make_pattern(r"(^|\.)(fc\w*|out\w*|linear\w*)(\.\d+)*\.weight$")
_FIRST_CONV: Final = make_pattern(
    r"(^|\.)feature_extractor\.conv_layers\.0\."
)  # of sound, whatever is sorted before it
_POINTWISE_LINEAR: Final = make_pattern(r"(^|\.)(conv_pwl|project|proj_conv|point_linear)(\.|$)")


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
        kind = _tell_kind(name, shape, first_conv=not seen_conv or _FIRST_CONV(name))
        seen_conv = seen_conv or (len(shape) in _CONV_NDIMS and _IS_WEIGHT(name))
        kinds[name] = kind
    mark_by_siblings(kinds, shapes)
    matrices = [name for name, shape in shapes.items() if len(shape) > 1]
    if matrices and kinds[matrices[-1]] is Kind.LINEAR and _LAST_LINEAR(matrices[-1]):
        kinds[matrices[-1]] = Kind.HEAD
    return kinds


def _tell_kind(name: str, shape: tuple[int, ...], *, first_conv: bool) -> Kind:
    if len(shape) <= 1:
        return _tell_vector_kind(name)
    for kind, matches in BY_NAME:
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
