"""Layouts of fused attention weights, told by names, shapes and config.json: with certainty, or not at all.

References:
    `forward` and `_split_heads` of the attention modules of transformers (GPT-2, GPT-NeoX, BLOOM, Falcon, Phi-3, DBRX,
    ...) and of timm, torch.nn.MultiheadAttention; for InternLM2, Baichuan and Qwen the modules beside their weights.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from wsanalyze.checkpoints.configs import read_config
from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.tensors.base import TensorInfo

CONFIG_NAME: Final = "config.json"
_MAX_COUNT: Final = 2**30

_FUSED: Final = re.compile(
    r"((?:.*\.)?(c_attn|query_key_value|qkv|qkv_proj|Wqkv|wqkv|W_pack|att_proj))\.(weight|bias)"
    r"|((?:.*\.)?(in_proj))_(weight|bias)"
)
# By these names, a weight with three times as many rows as columns is three blocks of rows, one behind the other.
_THIRDS: Final = ("in_proj", "Wqkv", "W_pack", "att_proj")
# So it is in timm and its kin; but not in hierarchical networks (CoAtNet, TinyViT), whose names are the same from
# "stages" on.
_PLAIN_VIT: Final = re.compile(r"(?:(?!stages\.).)*?\b(?:blocks|layers)\.\d+\.(?:attn|self_attn)\.qkv")
_UNEQUAL: Final = ("attention_biases", "attention_bias_idxs")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of queries, keys and values lie in a fused weight: a pattern, repeated.

    Attributes:
        parts: For each part its letter, its first row within the pattern, and how many rows follow.
        period: Rows of the pattern.
        count: How often it is repeated.
    """

    parts: tuple[tuple[str, int, int], ...]
    period: int
    count: int = 1

    @property
    def rows(self) -> int:
        """All rows."""
        return self.period * self.count


class ModelConfig:
    """What config.json beside the weights tells; read when it is first asked.

    Args:
        folder: Where the weights lie.
    """

    def __init__(self, folder: TreePath | str) -> None:
        self._folder = folder

    @cached_property
    def values(self) -> dict[str, Any]:
        """All that it holds; nothing where there is none.

        Raises:
            CheckpointError: If it is damaged.
        """
        return read_config(self._folder, CONFIG_NAME)

    @property
    def type(self) -> str:
        """Which model it is of, or ""."""
        return str(self.values.get("model_type", ""))[:40]

    def number(self, *names: str) -> int:
        """The first of some numbers that it holds; 0 for none, which no layout fits."""
        inner = self.values.get("attn_config")
        places = (self.values, inner if isinstance(inner, dict) else {})
        found = (place[name] for name in names for place in places if place.get(name) is not None)
        value = next(found, 0)
        return value if type(value) is int and 0 < value <= _MAX_COUNT else 0

    @property
    def heads(self) -> int:
        """Heads of queries."""
        return self.number("num_attention_heads", "n_head", "n_heads")

    @property
    def pairs(self) -> int:
        """Heads of keys and values."""
        return self.number("num_key_value_heads", "num_kv_heads", "kv_n_heads") or self.heads

    @property
    def size(self) -> int:
        """Rows of a head; 0 where that is no whole number."""
        hidden = self.number("hidden_size", "n_embd", "d_model")
        whole = hidden // self.heads if self.heads and hidden % self.heads == 0 else 0
        return self.number("head_dim") or whole


def _blocks(queries: int, keys: int) -> Layout:
    """All queries, all keys, all values."""
    return Layout((("q", 0, queries), ("k", queries, keys), ("v", queries + keys, keys)), queries + 2 * keys)


def _by_head(config: ModelConfig) -> Layout:
    """Query, key and value of one head after another."""
    return replace(_blocks(config.size, config.size), count=config.heads)


def _in_blocks(config: ModelConfig) -> Layout:
    return _blocks(config.heads * config.size, config.pairs * config.size)


def _grouped(config: ModelConfig) -> Layout:
    """Queries that share a key and a value, then both; one group after another."""
    group = config.heads // config.pairs if config.pairs and config.heads % config.pairs == 0 else 0
    return replace(_blocks(group * config.size, config.size), count=config.pairs)


def _multi_query(config: ModelConfig) -> Layout:
    if config.values.get("new_decoder_architecture") is True:
        return _grouped(config)
    multi_query = config.values.get("multi_query")
    if not isinstance(multi_query, bool):
        return _blocks(0, 0)
    return _blocks(config.heads * config.size, config.size) if multi_query else _by_head(config)


def _codegen(config: ModelConfig) -> Layout:
    """Queries, values and keys, in this order, of each of the four devices that it was trained on."""
    size, rest = divmod(config.heads * config.size, 4)
    return Layout((("q", 0, size), ("k", 2 * size, size), ("v", size, size)), 3 * size, 0 if rest else 4)


_BY_TYPE: Final[Mapping[tuple[str, str], Callable[[ModelConfig], Layout]]] = {
    ("query_key_value", "gpt_neox"): _by_head,
    ("query_key_value", "gpt_neox_japanese"): _by_head,
    ("query_key_value", "bloom"): _by_head,
    ("query_key_value", "persimmon"): _by_head,
    ("query_key_value", "falcon"): _multi_query,
    ("qkv_proj", "phi3"): _in_blocks,
    ("qkv_proj", "phi4_multimodal"): _in_blocks,
    ("qkv_proj", "minimax"): _by_head,
    ("qkv_proj", "codegen"): _codegen,
    ("c_attn", "gpt_bigcode"): _multi_query,
    ("c_attn", "qwen"): _in_blocks,
    ("Wqkv", "dbrx"): _in_blocks,
    ("Wqkv", "mpt"): _in_blocks,
    ("wqkv", "internlm2"): _grouped,
}


@dataclass(frozen=True, slots=True)
class FusedModule:
    """A module that holds a fused weight, a bias, or both.

    Attributes:
        name: Its full name.
        last: The last part of it.
        parts: Full names of its tensors by "weight" and "bias".
    """

    name: str
    last: str
    parts: dict[str, str] = field(default_factory=dict)


def find_modules(names: Iterable[str]) -> list[FusedModule]:
    """Find the modules that hold fused weights, by the names of all tensors."""
    modules: dict[str, FusedModule] = {}
    for name in names:
        if found := _FUSED.fullmatch(name):
            module, last, part = found.groups()[:3] if found[1] else found.groups()[3:]
            modules.setdefault(module, FusedModule(module, last)).parts[part] = name
    return list(modules.values())


def tell_layout(module: FusedModule, infos: Mapping[str, TensorInfo], config: ModelConfig) -> Layout | str | None:
    """Tell the layout of a module's rows, or of its columns where it is stored the other way round.

    Args:
        module: The module.
        infos: All tensors by name.
        config: What is known of the model.

    Returns:
        The layout; or why it cannot be told; or None where there is no weight to be split.

    Raises:
        CheckpointError: If the configuration is needed, and damaged.
    """
    weight = infos.get(module.parts.get("weight", ""))
    if weight is None:
        return _tell_bias(module, infos)
    if not weight.type.floating:
        return None
    if len(weight.shape) != 2 or not weight.numel:  # noqa: PLR2004 - a matrix
        return "it is no matrix"
    rows, columns = weight.shape
    if module.last == "c_attn" and columns == 3 * rows:
        return _blocks(rows, rows)
    if rows == 3 * columns and (module.last in _THIRDS or _is_plain_vit(module.name, infos)):
        return _blocks(columns, columns)
    return _ask_config(module.last, rows, config)


def _tell_bias(module: FusedModule, infos: Mapping[str, TensorInfo]) -> Layout | None:
    """The layout of the bias of torch.nn.MultiheadAttention, whose weights are apart where their sizes differ."""
    third, rest = divmod(infos[module.parts["bias"]].numel, 3)
    apart = f"{module.name.removesuffix('in_proj')}q_proj_weight" in infos
    return _blocks(third, third) if third and not rest and apart and module.last == "in_proj" else None


def _is_plain_vit(module: str, infos: Mapping[str, TensorInfo]) -> bool:
    above = module.removesuffix("qkv")
    return (
        _PLAIN_VIT.fullmatch(module) is not None
        and any(f"{above}{output}.weight" in infos for output in ("proj", "projection"))
        and not any(f"{above}{other}" in infos for other in _UNEQUAL)
    )


def _ask_config(last: str, rows: int, config: ModelConfig) -> Layout | str:
    if last == "qkv":
        return "its names do not tell for certain how it is laid out"
    if not config.values:
        return f"{CONFIG_NAME}, which would tell the heads, is not beside the weights"
    tell = _BY_TYPE.get((last, config.type))
    if tell is None:
        return f"the layout of {last} in a model of type {config.type!r} is not known"
    layout = tell(config)
    if layout.rows != rows or not all(size for *_, size in layout.parts):
        return f"{CONFIG_NAME} tells of {layout.rows} rows, and there are {rows}"
    return layout
