"""What the parameters of a model are for, told by the classes of its modules. Needs neither torch nor timm itself.

References:
    docs/method.md, "Rows". Classes are those of torch.nn and timm; their names are read, so that nothing is imported.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self

from wsanalyze.layers.kinds import tell_kinds
from wsanalyze.series import Kind

_CONVS: Final = ("_ConvNd", "CondConv2d")


def _pattern(text: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(text).fullmatch


_NORM: Final = _pattern(r"\w*Norm\w*|LayerScale\w*|Affine")
_GATE: Final = _pattern(
    r"SEModule|SqueezeExcite\w*|EffectiveSE\w*|EseModule|C?[Ee]caModule|GlobalContext|GatherExcite|ChannelAttn"
)
_PATCHES: Final = _pattern(r"\w*(Patch|Pixel|Hybrid)\w*Embed\w*|ConvEmbedding|NaFlexEmbeds|Embedding")
_INVERTED: Final = _pattern(
    r"(Universal)?InvertedResidual|EdgeResidual|CondConvResidual|MbConv(LN)?Block|(Fused)?MBConv|LinearBottleneck"
    r"|SepConv"
)
_BOTTLENECK: Final = _pattern(r"BottleneckBlock")  # an inverted one where its convolution is depthwise
_PLACES: Final = _pattern(r"PositionalEncoding\w*|\w*PosEmbed\w*|FourierEmbed")
_ACTIVATION: Final = _pattern(r"\w*(LU|[Ss]wish|Mish|[Ss]igmoid|Tanh)\w*")
_LAST_CONV: Final = "conv_head"  # of MobileNets and their kin: between the last block and the classifier
_SHORTCUT: Final = _pattern(r"shortcut|downsample|skip|residual")
_ATTENTION: Final = _pattern(
    r"\w*(Attn|Attention)\w*|MHSA|XCA|GPSA|SHSA|SHMA|LiteMLA|LambdaLayer|\w*ParallelScalingBlock"
)
_MLP: Final = _pattern(r"\w*(Mlp|MLP)\w*|SwiGLU\w*|FFN")
_ROLES: Final[tuple[tuple[Callable[[str], re.Match[str] | None], Mapping[str, Kind]], ...]] = (
    (
        _ATTENTION,
        {
            **dict.fromkeys(("q", "wq", "query", "q_proj", "to_query"), Kind.ATTENTION_Q),
            **dict.fromkeys(("k", "wk", "key", "k_proj", "to_key"), Kind.ATTENTION_K),
            **dict.fromkeys(("v", "wv", "value", "v_proj", "to_value"), Kind.ATTENTION_V),
            **dict.fromkeys(("qkv", "qk", "kv", "qkv_proj", "in_proj"), Kind.ATTENTION_QKV),
            **dict.fromkeys(
                ("proj", "out_proj", "o_proj", "attn_out_proj", "projection", "to_out", "output"), Kind.ATTENTION_OUT
            ),
            "mlp_out_proj": Kind.MLP_DOWN,
            "cpb_mlp": Kind.POSITION,
        },
    ),
    (
        _MLP,
        {
            **dict.fromkeys(("fc1", "fc1_x", "w1", "ln1", "pw1", "conv1", "up_proj", "lin1"), Kind.MLP_UP),
            **dict.fromkeys(("fc1_g", "w0", "gate_proj"), Kind.MLP_GATE),
            **dict.fromkeys(("fc2", "w2", "ln2", "pw2", "conv2", "conv3", "down_proj", "lin2"), Kind.MLP_DOWN),
        },
    ),
)
_POSITION: Final = r"pos_\w+|\w+_pos|rel_pos_\w+|(relative_)?position_\w+|attention_biases|(height|width)_rel"
_BY_ATTRIBUTE: Final = (
    (Kind.POSITION, _pattern(_POSITION)),
    (Kind.EMBEDDING, _pattern(r"\w*token\d*(_\d+)?|latent")),
    (Kind.NORM, _pattern(r"gain|gamma\w*|layer_scale\w*")),
)


class Module(Protocol):
    """What is asked of a torch module."""

    def named_modules(self, *, remove_duplicate: bool) -> Iterator[tuple[str, Self]]:
        """All modules by path, parents first."""

    def named_parameters(self, *, recurse: bool) -> Iterator[tuple[str, Any]]:
        """Parameters by name."""


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A model taken apart.

    Attributes:
        modules: All modules by path, parents first.
        classes: The names of each one's classes, its own first.
        heads: Paths of what classifies.
        linear: Paths of pointwise convolutions that end an inverted bottleneck, without an activation behind them.
    """

    modules: Mapping[str, Module]
    classes: Mapping[str, tuple[str, ...]]
    heads: frozenset[str]
    linear: frozenset[str]

    def is_conv(self, path: str) -> bool:
        return any(name in _CONVS for name in self.classes[path])

    def has(self, path: str, matches: Callable[[str], re.Match[str] | None]) -> bool:
        """Whether the class of a module has such a name."""
        return matches(self.classes[path][0]) is not None


def tell_module_kinds(model: Module) -> dict[str, Kind]:
    """Tell what each parameter of a model is for.

    Args:
        model: A model of torch, on any device.

    Returns:
        The kind of each parameter by its full name, in the order in which the model defines them. What no class tells
        has the kind that its name tells.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    classes = {path: tuple(base.__name__ for base in type(module).__mro__) for path, module in modules.items()}
    parts = _Model(modules, classes, frozenset(_find_heads(model, modules, classes)), frozenset())
    parts = replace(parts, linear=frozenset(_find_linear(parts)))
    shapes = {
        (f"{path}.{name}" if path else name): (path, tuple(value.shape))
        for path, module in modules.items()
        for name, value in module.named_parameters(recurse=False)
    }
    by_name = tell_kinds({name: shape for name, (_, shape) in shapes.items()})
    return {
        name: _tell(parts, path, name.rpartition(".")[2], len(shape), by_name[name]) or by_name[name]
        for name, (path, shape) in shapes.items()
    }


def _find_heads(model: Module, modules: Mapping[str, Module], classes: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Paths of what `get_classifier` returns and of what lies below, and of further classifiers beside it."""
    ask = getattr(model, "get_classifier", None)
    answer = ask() if callable(ask) else ()
    found = set(map(id, answer if isinstance(answer, Iterable) else (answer,)))
    num_classes = getattr(model, "num_classes", None)
    for path, module in modules.items():
        beside = "." not in path and "Linear" in classes[path] and getattr(module, "out_features", None) == num_classes
        if beside or any(id(modules[above]) in found for above in (path, *_ancestors(path))):
            yield path


def _find_linear(model: _Model) -> Iterator[str]:
    """Paths of the pointwise convolutions that inverted bottlenecks end with, unless they hold an activation too."""
    for path in model.modules:
        if not (model.has(path, _INVERTED) or model.has(path, _BOTTLENECK)):
            continue
        inside: dict[str, list[str]] = {}
        bent = set()
        for other in model.modules:
            child = other.removeprefix(f"{path}.").partition(".")[0]
            if not other.startswith(f"{path}.") or _SHORTCUT(child):
                continue
            if model.is_conv(other) and not _is_gated(model, other):
                inside.setdefault(child, []).append(other)
            elif model.has(other, _ACTIVATION):
                bent.add(child)
        depthwise = any(_is_depthwise(model, conv) for convs in inside.values() for conv in convs)
        pointwise = [child for child, convs in inside.items() if all(_is_pointwise(model, conv) for conv in convs)]
        if pointwise and pointwise[-1] not in bent and (depthwise or not model.has(path, _BOTTLENECK)):
            yield from inside[pointwise[-1]]


def _tell(model: _Model, path: str, attribute: str, ndim: int, named: Kind) -> Kind | None:
    """The kind of one parameter, told by the module that owns it and those that it lies in; None where they do not."""
    if model.has(path, _NORM):
        return Kind.NORM
    classes = model.classes[path]
    operator = model.is_conv(path) or "Linear" in classes or "RNNBase" in classes
    for kind, matches in () if operator and attribute != "gain" else _BY_ATTRIBUTE:
        if matches(attribute) and (ndim > 1 or kind is Kind.NORM):
            return kind
    if ndim <= 1:
        return Kind.BIAS if operator and "bias" in attribute else None
    if hasattr(model.modules[path], "num_embeddings"):
        return Kind.EMBEDDING
    return _tell_operator(model, path, named) if operator else None


def _tell_operator(model: _Model, path: str, named: Kind) -> Kind:
    """The kind of the weight of a convolution, a linear or a recurrent layer."""
    conv = model.is_conv(path)
    found = (
        (Kind.RECURRENT, "RNNBase" in model.classes[path]),
        (Kind.HEAD, path in model.heads or path == _LAST_CONV),
        (Kind.SQUEEZE_EXCITE, _is_gated(model, path)),
        (Kind.EMBEDDING, "." in path and model.has(path.rpartition(".")[0], _PATCHES)),
        (Kind.POSITION, "." in path and model.has(path.rpartition(".")[0], _PLACES)),
        (Kind.DEPTHWISE, conv and _is_depthwise(model, path)),
        (Kind.CONV, conv and not _is_pointwise(model, path)),
    )
    plain = Kind.LINEAR if not conv else Kind.POINTWISE_LINEAR if path in model.linear else Kind.POINTWISE
    return next((kind for kind, holds in found if holds), None) or _find_role(model, path, named) or plain


def _find_role(model: _Model, path: str, named: Kind) -> Kind | None:
    """What a matrix does for the attention or the MLP that is nearest above it; its name tells where none is known."""
    for above in _ancestors(path):
        for matches, roles in _ROLES:
            if model.has(above, matches):
                return roles.get(path[len(above) + 1 :].partition(".")[0])
    return named if any(named in roles.values() for _, roles in _ROLES) else None


def _is_gated(model: _Model, path: str) -> bool:
    """Whether a module belongs to what weighs channels against each other."""
    return any(model.has(above, _GATE) for above in _ancestors(path))


def _is_depthwise(model: _Model, path: str) -> bool:
    module = model.modules[path]
    groups = getattr(module, "groups", 1)
    return bool(groups > 1 and groups == getattr(module, "in_channels", None))


def _is_pointwise(model: _Model, path: str) -> bool:
    """Whether a convolution looks at one place at a time, and at more than one channel."""
    size = getattr(model.modules[path], "kernel_size", ())
    return all(axis == 1 for axis in (size if isinstance(size, tuple) else (size,))) and not _is_depthwise(model, path)


def _ancestors(path: str) -> Iterator[str]:
    """Paths of the modules that a module lies in, the nearest first, without the model itself."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path
