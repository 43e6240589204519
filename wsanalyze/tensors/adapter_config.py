"""Scales of low-rank updates, from the configuration that peft leaves beside an adapter.

References:
    peft.tuners.lora (`LoraLayer.update_layer`, `get_pattern_key`); Kalajdzievski, arXiv 2312.03732 for rsLoRA.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from wsanalyze.checkpoints.configs import read_config
from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.errors import CheckpointError

CONFIG_NAME: Final = "adapter_config.json"
_MAX_NUMBER: Final = 1e9
_MAX_MATCHING_STEPS: Final = 3e8
_OTHER_METHODS: Final = ("use_dora", "use_qalora", "use_bdlora", "kasa_config", "monteclora_config", "arrow_config")
_BASE_PREFIX: Final = re.compile(r"^base_model\.model\.")


def tell_scales(updates: Sequence[tuple[str, int]], folder: TreePath | str) -> list[float | str]:
    """Tell what the products of low-rank factors are multiplied by.

    Args:
        updates: For each product the full name of the module that it updates, and the rank of its factors.
        folder: Where adapter_config.json lies.

    Returns:
        For each its scale, or why it has none.

    Raises:
        CheckpointError: If there is no configuration, or it gives no numbers.
    """
    if not updates:
        return []
    config = read_config(folder, CONFIG_NAME)
    path = f"{folder}/{CONFIG_NAME}"
    if not config:
        raise CheckpointError(f"--merge-lora needs {CONFIG_NAME} beside the weights, and there is none", folder)
    if config.get("peft_type", "LORA") != "LORA":
        return [f"the adapter is {str(config['peft_type'])[:40]}, not LoRA"] * len(updates)
    if other := next((method for method in _OTHER_METHODS if config.get(method)), None):
        return [f"{other} in {CONFIG_NAME}: B.A alone is not the update"] * len(updates)
    ranks, alphas = _patterns(config, "rank_pattern", path), _patterns(config, "alpha_pattern", path)
    modules = [_BASE_PREFIX.sub("", name) for name, _ in updates]
    _check_patterns([*ranks, *alphas], modules, path)
    scales: list[float | str] = []
    for (_, found), module in zip(updates, modules, strict=True):
        rank = _number(ranks.get(_match_pattern(ranks, module), config.get("r")), "r", path)
        alpha = _number(alphas.get(_match_pattern(alphas, module), config.get("lora_alpha")), "lora_alpha", path)
        if rank < 1 or rank != found:
            scales.append(f"its rank is {found}, and {rank:g} in {CONFIG_NAME}")
        else:
            scales.append(alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank))
    return scales


def _patterns(config: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise CheckpointError(f"{name} is no mapping of modules to numbers", path)
    return found


def _number(value: object, name: str, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise CheckpointError(f"{name} is no number that could scale an update: {str(value)[:40]!r}", path)
    return float(value)


def _match_pattern(patterns: Mapping[str, Any], module: str) -> str:
    """The first pattern that a module matches, by peft's own rule, or the name of the module itself."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)


def _check_patterns(patterns: Iterable[str], modules: list[str], path: str) -> None:
    """Refuse patterns that are no regular expressions, and those that would take for ever to match.

    A quantifier or an alternative multiplies the ways to match; how many there are is bounded before any is tried.
    """
    length = max((len(module) for module in modules), default=0) + 1
    steps = 0.0
    for pattern in patterns:
        plain = re.sub(r"\\.", "a", pattern)
        num_loops = len(re.findall(r"[*+{]", plain))
        num_choices = len(re.findall(r"[|?]", plain))
        if re.search(r"\)[*+{]|\(\?(?!:)", plain) or num_loops > 4 or num_choices > 20:  # noqa: PLR2004
            raise CheckpointError(f"pattern {pattern[:40]!r} is too complex to be matched", path)
        steps += len(modules) * (length ** (1 + num_loops) * 2**num_choices + len(pattern))
        try:
            re.compile(rf"(.*\.)?({pattern})$")
        except (re.error, RecursionError, OverflowError) as error:
            raise CheckpointError(f"pattern {pattern[:40]!r} is no regular expression", path) from error
    if steps > _MAX_MATCHING_STEPS:
        raise CheckpointError("its patterns are too complex to be matched with so many modules", path)
