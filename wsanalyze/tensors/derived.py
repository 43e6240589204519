"""Tensors that a checkpoint does not store as they are: recombined, merged or split from those that it does."""

from collections.abc import Mapping
from dataclasses import dataclass

from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.series import Skip
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.fused_attention import split_fused
from wsanalyze.tensors.low_rank import merge_low_rank
from wsanalyze.tensors.weight_norm import recombine_weight_norm


@dataclass(frozen=True, slots=True)
class DerivedTensors:
    """The tensors of a checkpoint after derivation.

    Attributes:
        infos: Tensors by name, in the model's order: each derived one stands in the place of its parts.
        skips: The parts, which are rows no more, and what they became; and what could not be derived, and why.
        key: What the elements depend on besides the bytes of the checkpoint (scales, numbers of heads); "" if nothing.
    """

    infos: Mapping[str, TensorInfo]
    skips: tuple[Skip, ...] = ()
    key: str = ""


def derive_tensors(
    infos: Mapping[str, TensorInfo], folder: TreePath | str, *, merge_lora: bool = False, split_qkv: bool = False
) -> DerivedTensors:
    """Recombine weight-norm pairs, and on demand merge adapters and split fused attention weights.

    Args:
        infos: Tensors of a checkpoint by name.
        folder: Where the checkpoint's configuration lies (adapter_config.json, config.json).
        merge_lora: Whether the two factors of a low-rank adapter become the update that they make.
        split_qkv: Whether fused query, key and value weights become three.

    Raises:
        CheckpointError: If a configuration that is needed is missing or damaged.
    """
    tensors, skips = recombine_weight_norm(infos)
    keys: list[str] = []
    for wanted, derive in ((merge_lora, merge_low_rank), (split_qkv, split_fused)):
        if wanted:
            tensors, more, texts = derive(tensors, folder)
            skips += more
            keys += texts
    return DerivedTensors(tensors, tuple(skips), "\n".join(keys))
