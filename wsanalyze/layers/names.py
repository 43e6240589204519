"""Names of tensors: what wrappers put before them, what module and block they say, and which comes first."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from wsanalyze.checkpoints.names import natural_key

WRAPPERS: Final = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What DataParallel, torch.compile, FSDP and activation checkpointing put into every name."""

_Value = TypeVar("_Value")
_BLOCK: Final = re.compile(r"(?:[^.]+\.)*?(?:[^.]+_)?\d+(?:\.\d+)*(?=\.)(?:\.(?:blocks|layers?)(?:\.\d+)+(?=\.))*")
_STEM: Final = re.compile(
    r"stem|conv_stem|conv_in|conv1|input_layer|in_proj|(\w+_)?embed(der|ding)?s?(_\w+)?|wte|wpe|shared"
    r"|(cls|dist|reg|mask)_token"
)
_LATE: Final = re.compile(r"norm|final\w*|norm_f|norm_final|ln_f|ln_post|layer_?norm|pooler|conv_head|text_projection")
_HEAD: Final = re.compile(
    r"lm_head|heads?|classifier|fc|fc_out|score|cls|out|outc|output|output_layer|logits|to_logits|conv_out|conv_last"
    r"|(un)?embed_out|unembed"
)
_IN_ORDER: Final = ((3, _HEAD), (0, _STEM), (2, _LATE))


def strip_wrappers(tensors: Mapping[str, _Value]) -> dict[str, _Value]:
    """Take the names of wrappers off, where every name of the checkpoint has them and no two names then collide.

    Args:
        tensors: Anything by full name of a tensor.

    Returns:
        The same by shorter names, in the same order.
    """
    found = dict(tensors)
    while found:
        for wrapper in WRAPPERS:
            pattern = re.compile(rf"(^|\.){re.escape(wrapper)}")
            if not all(pattern.search(name) for name in found):
                continue
            shorter = {pattern.sub(r"\1", name): value for name, value in found.items()}
            if len(shorter) == len(found):
                found = shorter
                break
        else:
            break
    return found


def split_module(name: str) -> str:
    """The module of a tensor: its name without the last part, or the name itself where it has no dot."""
    return name.rpartition(".")[0] or name


def split_block(name: str) -> str:
    """The repeated part of the network that a tensor lies in: up to its number, or its module where it has none.

    `layer1.0.conv1.weight` lies in `layer1.0`, `layers.0.blocks.1.attn.qkv.weight` in `layers.0.blocks.1`, and
    `fc.weight` in `fc`.
    """
    found = _BLOCK.match(name)
    return found[0] if found else split_module(name)


def order_names(names: Iterable[str]) -> list[str]:
    """Sort names as a network is laid out, where no better order is known.

    Numbers count as numbers (`layers.2` before `layers.10`), input layers come first, final norms and output layers
    last.
    """
    return sorted(names, key=lambda name: (_rank(name), natural_key(name)))


def _rank(name: str) -> int:
    """Where in a network a tensor lies, told by the parts of its name down to the first that is numbered."""
    parts = name.split(".")
    modules = parts[:-1] or parts
    above = next((modules[: index + 1] for index, part in enumerate(modules) if part[-1:].isdigit()), modules)
    return next((rank for rank, words in _IN_ORDER for part in above if words.fullmatch(part)), 1)
