"""Models that are split over the ranks that trained them: one torch.distributed or ZeRO-3 checkpoint, or refused.

References:
    torch/distributed/checkpoint/filesystem.py; deepspeed/runtime/engine.py, `_get_ckpt_name` and `_get_zero_ckpt_name`;
    torch/distributed/checkpoint/_hf_utils.py, `SHARDED_FILE_NAME`;
    megatron/training/checkpointing.py, `get_checkpoint_name`.
"""

import re
from collections.abc import Sequence
from typing import Final

from wsanalyze.checkpoints.tree import TreePath, is_folder
from wsanalyze.checkpoints.weight_files import Unit, is_weight_file
from wsanalyze.errors import CheckpointError

METADATA: Final = ".metadata"
COMMON: Final = "common.pt"
_CHUNKS: Final = ".distcp"
_ZERO3: Final = re.compile(r"^(?:[a-z0-9]+_)?zero_pp_rank_\d+_mp_rank_(?P<rank>\d+)_(?P<kind>model|optim)_states\.pt$")
_SLICES: Final = re.compile(r"^shard-(?P<rank>\d{5})-(?P<stem>.+)-\d{5}-of-\d{5}\.safetensors$")
_LAYER: Final = re.compile(r"^layer_\d+-model_(?P<rank>\d+)-model_states$")
_PARTITION: Final = re.compile(r"(^|_)(mp_)?rank[-_]?\d+(_|$)|^consolidated\.\d+$", re.IGNORECASE)
_RANK_FOLDER: Final = re.compile(r"(mp_)?rank[-_]?\d+([-_]\d+)*", re.IGNORECASE)
_MEGATRON: Final = (
    "run Megatron-LM's tools/checkpoint/convert.py with --target-tensor-parallel-size 1 "
    "--target-pipeline-parallel-size 1 and give what it saves"
)
_ADVICE: Final = (
    ("consolidated", "run python -m transformers.models.llama.convert_llama_weights_to_hf --input_dir . and give that"),
    ("model_states", "run Megatron-DeepSpeed's tools/convert_checkpoint/deepspeed_to_transformers.py and give that"),
    ("", "merge them into one file first"),
)


def is_partition_file(path: TreePath) -> bool:
    """Whether a file is one of those of a torch.distributed or ZeRO-3 checkpoint, by its name."""
    return path.name == METADATA or path.name.endswith(_CHUNKS) or _ZERO3.match(path.name) is not None


def list_distributed(folder: TreePath, entries: Sequence[TreePath]) -> Unit | None:
    """The torch.distributed checkpoint in a folder, which is all that lies in it: its files as its reader wants them.

    Args:
        folder: The folder.
        entries: What it holds, in order.
    """
    chunks = [path for path in entries if path.name.endswith(_CHUNKS) and not is_folder(path)]
    described = any(path.name == METADATA and not is_folder(path) for path in entries)
    if not (chunks or described):
        return None
    weights = [path for path in entries if is_weight_file(path)]
    if any(path.suffix == ".safetensors" for path in weights) if chunks else weights:
        return None
    notes = [path for path in weights if path.suffix in (".pt", ".pth")]
    problem = None
    if not described:
        text = "lacks the .metadata of a torch.distributed checkpoint: it was not copied along, or saving was cut short"
        problem = str(CheckpointError(text, folder))
    files = (*([folder / METADATA] if described else []), *chunks, *notes)
    return Unit(folder.name, files, problem, layout="distributed")


def list_zero3(folder: TreePath, entries: Sequence[TreePath]) -> Unit | None:
    """The files of a DeepSpeed ZeRO-3 checkpoint in a folder, of all ranks.

    In stages 1 and 2 it is only the optimizer that is split.

    Args:
        folder: The folder.
        entries: What it holds, in order.
    """
    found = [(path, match) for path in entries if (match := _ZERO3.match(path.name))]
    if not any(match["kind"] == "model" for _, match in found):
        return None
    files = tuple(path for path, _ in found)
    ranks = {match["rank"] for _, match in found}
    problem = explain_ranks(folder, len(ranks), files[0].name) if len(ranks) > 1 else None
    return Unit(folder.name, files, problem, layout="zero3")


def list_slices(folder: TreePath, entries: Sequence[TreePath]) -> list[Unit]:
    """The models that torch.distributed saved as safetensors, the slices of every rank in files of their own.

    Args:
        folder: The folder.
        entries: What it holds, in order.
    """
    found: dict[str, dict[TreePath, int]] = {}
    for path in entries:
        if (match := _SLICES.match(path.name)) and not is_folder(path):
            found.setdefault(match["stem"], {})[path] = int(match["rank"])
    units = []
    for stem, ranks in found.items():
        missing = sorted(set(range(1, max(ranks.values()) + 1)) - set(ranks.values()))
        text = f"lacks the slices of rank {missing[0]} (shard-{missing[0]:05d}-{stem}-*)" if missing else ""
        problem = str(CheckpointError(text, folder)) if text else None
        units.append(Unit(stem, tuple(ranks), problem, layout="slices"))
    return units


def merge_partitions(units: dict[str, Unit], folder: TreePath) -> dict[str, Unit]:
    """Files of several ranks hold slices of the same tensors: neither a sequence nor components."""
    ranks = [label for label in units if _PARTITION.search(label)]
    layers = [match for label in units if (match := _LAYER.match(label))]
    count = len({match["rank"] for match in layers})  # of a pipeline, every rank of a layer has a file of its own
    if count > 1:
        ranks = list(dict.fromkeys([*ranks, *(match.string for match in layers)]))
    elif (count := len(ranks)) <= 1:
        return units
    files = tuple(file for label in ranks for file in units[label].files)
    merged = Unit(ranks[0], files, explain_ranks(folder, count, ranks[0]))
    return {merged.label: merged} | {label: unit for label, unit in units.items() if label not in ranks}


def is_rank_folder(name: str) -> bool:
    """Whether a folder holds what one rank of Megatron saved."""
    return _RANK_FOLDER.fullmatch(name) is not None


def explain_ranks(folder: TreePath, count: int, name: str) -> str:
    """Why slices are not read, and what merges them.

    Args:
        folder: The folder that they lie in.
        count: Number of ranks.
        name: Name of one of their files; "" for Megatron's folders.
    """
    advice = next(text for mark, text in _ADVICE if mark in name) if name else _MEGATRON
    return str(CheckpointError(f"is split over the {count} ranks that trained it: {advice}", folder))
