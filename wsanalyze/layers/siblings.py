"""What tensors beside a tensor say of its kind, where its own name and shape leave it open."""

from collections.abc import Mapping
from typing import Final

from wsanalyze.layers.kind_names import make_pattern
from wsanalyze.series import Kind

Shapes = Mapping[str, tuple[int, ...]]

_MATRIX: Final = 2
_IMAGES: Final = 4
_CONVS: Final = (Kind.CONV, Kind.DEPTHWISE, Kind.POINTWISE, Kind.POINTWISE_LINEAR)
_POINTWISE: Final = (Kind.POINTWISE, Kind.POINTWISE_LINEAR)
_CONV_GATE: Final = make_pattern(r"(^|\.)attention\.[02]\.weight$")
_PROJECTIONS: Final = (("projection.project_conv.", "expansion.expand_conv."), ("reduce_1x1.", "expand_1x1."))


def mark_by_siblings(kinds: dict[str, Kind], shapes: Shapes) -> None:
    """Mend kinds that names alone told.

    Args:
        kinds: The kind of each tensor by name, in the model's own order; changed in place.
        shapes: Shape of each tensor by name.
    """
    _mark_channel_gates(kinds, shapes)
    _mark_projections(kinds, shapes)
    _mark_routers(kinds)
    _mark_gated_mlps(kinds, shapes)
    _mark_state_spaces(kinds, shapes)


def _mark_projections(kinds: dict[str, Kind], shapes: Shapes) -> None:
    """Tell the linear projections of inverted bottlenecks: pointwise ones that narrow what another one widened.

    A block without that other one has but one pointwise convolution, which counts as such: as in timm, whose
    depthwise separable blocks have a `conv_pw` and no `conv_pwl`.
    """
    widened = after_depthwise = False
    for name, kind in kinds.items():
        if kind is Kind.DEPTHWISE:
            after_depthwise = True
        elif kind is Kind.POINTWISE:
            narrows = shapes[name][0] < shapes[name][1]
            if widened and after_depthwise and narrows:
                kinds[name] = Kind.POINTWISE_LINEAR
            widened, after_depthwise = not narrows, False
        elif kind in (Kind.CONV, Kind.POINTWISE_LINEAR):
            widened = after_depthwise = False
    convs = [name for name, kind in kinds.items() if kind in _CONVS]
    if [kinds[name] for name in convs[-2:]] == [Kind.POINTWISE_LINEAR, Kind.POINTWISE]:
        kinds[convs[-1]] = Kind.HEAD  # between the last block and the classifier, which timm calls conv_head
    for name in [name for name in convs if kinds[name] in _POINTWISE]:
        for end, begin in _PROJECTIONS:  # of transformers, where a sorted file has them in another order
            if end in name:
                kinds[name] = Kind.POINTWISE_LINEAR if name.replace(end, begin) in kinds else Kind.POINTWISE


def _mark_channel_gates(kinds: dict[str, Kind], shapes: Shapes) -> None:
    """Tell squeeze-and-excitation by two pointwise convolutions that narrow and widen, where no name says it."""
    for name, shape in shapes.items():
        if len(shape) != _IMAGES or kinds[name] not in (Kind.POINTWISE, Kind.MLP_UP):
            continue
        other = name.removesuffix("fc1.weight") + "fc2.weight"
        if _CONV_GATE(name):
            kinds[name] = Kind.SQUEEZE_EXCITE
        elif name.endswith("fc1.weight") and shape[0] < shape[1] and shapes.get(other) == (shape[1], shape[0], 1, 1):
            kinds[name] = kinds[other] = Kind.SQUEEZE_EXCITE


def _mark_routers(kinds: dict[str, Kind]) -> None:
    """Tell a `gate` beside experts, which chooses among them, from one inside an MLP."""
    beside = {name.partition(f".{word}.")[0] for name in kinds for word in ("experts", "expert") if f".{word}." in name}
    for module in beside:
        name = f"{module}.gate.weight"
        if name in kinds:
            kinds[name] = Kind.ROUTER


def _mark_gated_mlps(kinds: dict[str, Kind], shapes: Shapes) -> None:
    """Tell the parts of a gated MLP that are only numbered: `w1` is the gate, and what narrows is the way down."""
    for name, kind in list(kinds.items()):
        if kind is not Kind.MLP_UP or not name.endswith("w1.weight"):
            continue
        second, third = (name.removesuffix("w1.weight") + f"w{number}.weight" for number in (2, 3))
        if third not in kinds:
            continue
        down, up = (second, third) if shapes[third] == shapes[name] or second not in kinds else (third, second)
        kinds[name] = Kind.MLP_GATE
        kinds.update({part: role for part, role in ((down, Kind.MLP_DOWN), (up, Kind.MLP_UP)) if part in kinds})
    for name, kind in list(kinds.items()):
        if kind is Kind.MLP_UP and name.endswith("w12.weight"):
            down = name.removesuffix("w12.weight") + "w3.weight"
            if down in kinds:
                kinds[down] = Kind.MLP_DOWN


def _mark_state_spaces(kinds: dict[str, Kind], shapes: Shapes) -> None:
    """Tell the parts of a state space model, whose `in_proj` is no attention and whose convolution is depthwise."""
    inside = {name.removesuffix(".A_log") for name in kinds if name.endswith(".A_log")}
    inside |= {name.partition(".rg_lru.")[0] for name in kinds if ".rg_lru." in name}
    for module in inside:
        if len(shapes.get(f"{module}.A_log", ())) == _MATRIX:
            kinds[f"{module}.A_log"] = Kind.OTHER
        for part, kind in (("in_proj", Kind.LINEAR), ("conv1d", Kind.DEPTHWISE), ("conv_1d", Kind.DEPTHWISE)):
            name = f"{module}.{part}.weight"
            if name in kinds:
                kinds[name] = kind
