"""Sequences that stand in for larger ones, and sequences of many small tensors.

    python benchmarks/stand_ins.py DIR --checkpoints 6 --gigabytes 4 --versions 3
    python benchmarks/stand_ins.py DIR --checkpoints 2 --gigabytes 16 --sparse
    python benchmarks/stand_ins.py DIR --checkpoints 20 --small 20000

With `--versions`, only so many versions of each of four shards are written, and every checkpoint is a folder of links
to one version of each, so that no two checkpoints are equal, every shard is another one than in the checkpoint before,
and every byte of all of them has to be read and compared: but the disk and the page cache hold the versions only.
With `--sparse`, all tensors but the first by name are holes of a file, which read as zeros and take no room on the
disk: they cost as much memory as others, but zeros are not what weights are.
"""

import os
from argparse import ArgumentParser
from contextlib import closing
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Final

from make_sequence import STEPS_BETWEEN, draw_weights, plan_tensors, write_sequence
from sequence_files import DTYPES, SafetensorsOutput, TensorPlan

_SMALL_SHAPE: Final = (16, 16)
_SMALL_PARTS: Final = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
_VERSIONS: Final = "versions"
_FEWEST_VERSIONS: Final = 3


def plan_small(num_tensors: int) -> list[TensorPlan]:
    """So many matrices of 1 KB in float32."""
    names = (f"model.layers.{i // len(_SMALL_PARTS)}.{_SMALL_PARTS[i % len(_SMALL_PARTS)]}" for i in range(num_tensors))
    return [TensorPlan(index, f"{name}.weight", _SMALL_SHAPE) for index, name in enumerate(names)]


def choose_version(shard: int, checkpoint: int, num_versions: int) -> int:
    """Which version of a shard stands in a checkpoint.

    Of two successive checkpoints every shard differs; and no two of the first num_versions² are equal, since the first
    two shards are a turn further apart after every turn of the versions.
    """
    turn = checkpoint // num_versions
    return (checkpoint + (shard % 2) * turn) % num_versions


def write_linked(
    folder: Path, tensors: list[TensorPlan], checkpoints: int, versions: int, dtype: str, seed: int
) -> None:
    """Write the versions beside the folder of a sequence, and the checkpoints as folders of links to them.

    Raises:
        ValueError: If there are too few versions for so many checkpoints.
    """
    versions = min(versions, checkpoints)
    if versions < checkpoints and not (versions >= _FEWEST_VERSIONS and checkpoints <= versions**2):
        raise ValueError(f"{versions} versions do not make {checkpoints} checkpoints: raise --versions")
    pool = folder / _VERSIONS
    write_sequence(pool, tensors, versions, "sharded", dtype, seed)
    first = pool / "checkpoint-0"
    shards = sorted(path.name for path in first.glob("*.safetensors"))
    for index in range(checkpoints):
        checkpoint = folder / f"checkpoint-{index * STEPS_BETWEEN}"
        checkpoint.mkdir()
        copyfile(first / "model.safetensors.index.json", checkpoint / "model.safetensors.index.json")
        for shard, name in enumerate(shards):
            version = choose_version(shard, index, versions)
            os.link(pool / f"checkpoint-{version * STEPS_BETWEEN}" / name, checkpoint / name)
    rmtree(pool)  # the links keep what is used


def write_sparse(folder: Path, tensors: list[TensorPlan], checkpoints: int, dtype: str, seed: int) -> None:
    """Write files of which only the header and the first tensor by name are there: the rest are holes."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(tensors, key=lambda tensor: tensor.name)
    steps = [STEPS_BETWEEN * index for index in range(checkpoints)]
    paths = [folder / f"step_{step}.safetensors" for step in steps]
    outputs = [SafetensorsOutput(path, ordered, dtype) for path in paths]
    for checkpoint, weights in draw_weights(ordered[0], checkpoints, seed):
        outputs[checkpoint].write(weights.astype(DTYPES[dtype], copy=False))
    rest = sum(tensor.numel for tensor in ordered[1:]) * DTYPES[dtype].itemsize
    for path, output in zip(paths, outputs, strict=True):
        with closing(output):
            pass
        os.truncate(path, path.stat().st_size + rest)


def main() -> None:
    """Write what the command line asks for."""
    parser = ArgumentParser(description="Write sequences that stand in for larger ones.")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--checkpoints", type=int, required=True)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of one checkpoint [%(default)s]")
    parser.add_argument("--tensors", type=int, default=492, help="[%(default)s]")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="[%(default)s]")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--versions", type=int, help="write so many versions and link to them")
    kind.add_argument("--sparse", action="store_true", help="holes for all tensors but one")
    kind.add_argument("--small", type=int, metavar="N", help="N tensors of 1 KB, every one written")
    options = parser.parse_args()
    if options.small is not None:
        plan = plan_small(options.small)
        write_sequence(options.folder, plan, options.checkpoints, "safetensors", "float32", options.seed)
        return
    try:
        plan = plan_tensors(options.tensors, int(options.gigabytes * 1e9), DTYPES[options.dtype].itemsize)
        if options.sparse:
            write_sparse(options.folder, plan, options.checkpoints, options.dtype, options.seed)
        else:
            write_linked(options.folder, plan, options.checkpoints, options.versions, options.dtype, options.seed)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
