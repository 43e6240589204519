"""Write a sequence of big synthetic checkpoints: `python benchmarks/make_sequence.py DIR --gigabytes 1`.

Tensors are drawn in pieces that are streamed to all checkpoints side by side: memory stays at a few pieces, whatever
the size, and one seed gives the same numbers in every format.
"""

import shutil
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from math import exp, inf, sqrt
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sequence_files import DTYPES, Output, SafetensorsOutput, TensorPlan, TorchOutput, write_index

STEPS_BETWEEN: Final = 1000
MAX_TENSOR_BYTES: Final = 200_000_000
MIN_TENSORS: Final = 12
FORMATS: Final = ("safetensors", "sharded", "pt")
_SHARDS: Final = 4
_PIECE: Final = 1 << 20
_BLOCK_TENSORS: Final = 9
_EMBEDDING_SHARE: Final = 0.15
_FEED_FORWARD: Final = 11 / 4
_SPREAD: Final = 0.02
_FIRST_CHANGE: Final = 0.1
# How the relative change moves over the sequence, as the exponent of exp: attention cools, MLPs hold, the rest warms.
_COURSES: Final = {"self_attn": -2.0, "mlp": 0.0}
_OTHER_COURSE: Final = 1.0


def plan_tensors(num_tensors: int, nbytes: int, itemsize: int) -> list[TensorPlan]:
    """Lay out a decoder with so many tensors that fill about so many bytes.

    Args:
        num_tensors: How many, at least `MIN_TENSORS`.
        nbytes: Size of one checkpoint in bytes; met to a few percent from about 100 kB on.
        itemsize: Bytes an element.

    Returns:
        The tensors in the model's order: embedding, blocks, norm, head.

    Raises:
        ValueError: If a tensor would be larger than `MAX_TENSOR_BYTES`, or there are too few tensors.
    """
    if num_tensors < MIN_TENSORS:
        raise ValueError(f"a model has at least {MIN_TENSORS} tensors: raise --tensors")
    numel, max_numel = nbytes // itemsize, MAX_TENSOR_BYTES // itemsize
    num_blocks, num_biases = divmod(num_tensors - 3, _BLOCK_TENSORS)
    in_blocks = numel - 2 * min(int(_EMBEDDING_SHARE * numel), max_numel)
    hidden = max(8, int(sqrt(in_blocks / num_blocks / (4 + 3 * _FEED_FORWARD))) // 8 * 8)
    wide = int(_FEED_FORWARD * hidden)
    if hidden * wide > max_numel:
        raise ValueError(f"{num_tensors} tensors cannot fill that much with at most 200 MB each: raise --tensors")
    rest = numel - num_blocks * (4 * hidden**2 + 3 * hidden * wide)
    vocabulary = max(16, min(rest // 2, max_numel) // hidden)

    projections = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, hidden),
        "self_attn.v_proj": (hidden, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    biases: dict[str, tuple[int, ...]] = {"model.norm.bias": (hidden,)}
    for block in range(num_blocks):
        prefix = f"model.layers.{block}"
        shapes |= {f"{prefix}.{name}.weight": shape for name, shape in projections.items()}
        shapes |= {f"{prefix}.{norm}.weight": (hidden,) for norm in ("input_layernorm", "post_attention_layernorm")}
        biases |= {f"{prefix}.{name}.bias": shape[:1] for name, shape in projections.items()}
    shapes |= {"model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}
    shapes |= dict(list(biases.items())[:num_biases])
    return [TensorPlan(index, name, shape) for index, (name, shape) in enumerate(shapes.items())]


def draw_weights(tensor: TensorPlan, num_checkpoints: int, seed: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Draw a tensor piece by piece, each piece at every checkpoint before the next.

    Args:
        tensor: The tensor to draw.
        num_checkpoints: Length of the sequence.
        seed: With the tensor's index, the seed of its numbers.

    Yields:
        Position of a checkpoint in the sequence and a piece's weights there, flat, in a buffer that is used again.
    """
    generator = np.random.default_rng([seed, tensor.index])
    course = next((value for part, value in _COURSES.items() if part in tensor.name), _OTHER_COURSE)
    mean = 1.0 if tensor.name.endswith("norm.weight") else 0.0
    buffers = np.empty((2, min(tensor.numel, _PIECE)), np.float32)
    for start in range(0, tensor.numel, _PIECE):
        noise, weights = buffers[:, : tensor.numel - start]
        weights[:] = mean
        for checkpoint in range(num_checkpoints):
            change = _FIRST_CHANGE * exp(course * checkpoint / num_checkpoints) if checkpoint else 1.0
            generator.random(dtype=np.float32, out=noise)
            noise -= 0.5
            noise *= _SPREAD * change
            weights += noise
            yield checkpoint, weights


def write_sequence(
    folder: Path, tensors: Sequence[TensorPlan], checkpoints: int, form: str, dtype: str, seed: int
) -> None:
    """Write the checkpoints side by side.

    Args:
        folder: Where they go; made if need be.
        tensors: What each holds, in the model's order.
        checkpoints: How many, at steps 0, 1000, 2000, ...
        form: One of `FORMATS`: a safetensors file each, a folder of shards each, or a torch file each.
        dtype: "float32" or "bfloat16"; changes add up in float32 and are rounded when written.
        seed: Seed of all numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = [STEPS_BETWEEN * position for position in range(checkpoints)]
    shards = _split(tensors, _SHARDS if form == "sharded" else 1)
    if form != "pt":
        shards = [sorted(shard, key=lambda tensor: tensor.name) for shard in shards]
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    if form == "sharded":
        for step in steps:
            (folder / f"checkpoint-{step}").mkdir()
            index = folder / f"checkpoint-{step}" / "model.safetensors.index.json"
            write_index(index, dict(zip(names, shards, strict=True)), dtype)
    for name, shard in zip(names, shards, strict=True):
        with ExitStack() as stack:
            outputs: list[Output] = []
            for step in steps:
                output = _open_output(folder, form, name, shard, dtype, step)
                outputs.append(stack.enter_context(closing(output)))
            _stream_tensors(outputs, shard, dtype, seed)


def main() -> None:
    """Write the sequence that the command line asks for, and say how large it is."""
    parser = ArgumentParser(description="Write a sequence of big synthetic checkpoints.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of one checkpoint, 10^9 bytes [%(default)s]")
    parser.add_argument("--checkpoints", type=int, default=4, help="how many [%(default)s]")
    parser.add_argument("--format", choices=FORMATS, default="safetensors", help="[%(default)s]")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="[%(default)s]")
    parser.add_argument("--tensors", type=int, default=492, help="tensors in one checkpoint [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="[%(default)s]")
    options = parser.parse_args()
    folder: Path = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        parser.error(f"{folder} exists and is not an empty folder: name a new one")
    if options.checkpoints < 1 or not 0 < options.gigabytes < inf or options.seed < 0:
        parser.error("--checkpoints and --gigabytes must be above 0, --seed at least 0")
    itemsize = DTYPES[options.dtype].itemsize
    try:
        tensors = plan_tensors(options.tensors, int(options.gigabytes * 1e9), itemsize)
    except ValueError as error:
        parser.error(str(error))
    total_bytes = options.checkpoints * itemsize * sum(tensor.numel for tensor in tensors)
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < total_bytes:
        parser.error(f"{folder}: {total_bytes / 1e9:.1f} GB do not fit on its disk")
    started = time.perf_counter()
    write_sequence(folder, tensors, options.checkpoints, options.format, options.dtype, options.seed)
    seconds = time.perf_counter() - started
    size = f"{options.checkpoints} x {total_bytes / options.checkpoints / 1e9:.3f} GB"
    print(f"{folder}: {size}, {len(tensors)} tensors of {options.dtype}, {seconds:.1f} s")


def _open_output(
    folder: Path, form: str, shard_name: str, tensors: Sequence[TensorPlan], dtype: str, step: int
) -> SafetensorsOutput | TorchOutput:
    if form == "pt":
        return TorchOutput(folder / f"step_{step}.pt", tensors, dtype, step)
    path = folder / f"checkpoint-{step}" / shard_name if form == "sharded" else folder / f"step_{step}.safetensors"
    return SafetensorsOutput(path, tensors, dtype)


def _stream_tensors(outputs: Sequence[Output], tensors: Sequence[TensorPlan], dtype: str, seed: int) -> None:
    for tensor in tensors:
        for output in outputs:
            output.begin(tensor)
        for checkpoint, weights in draw_weights(tensor, len(outputs), seed):
            outputs[checkpoint].write(weights.astype(DTYPES[dtype], copy=False))


def _split(tensors: Sequence[TensorPlan], num_parts: int) -> list[list[TensorPlan]]:
    """Cut the model's order into so many parts of about the same size."""
    total = sum(tensor.numel for tensor in tensors)
    parts: list[list[TensorPlan]] = [[] for _ in range(num_parts)]
    before = 0
    for tensor in tensors:
        parts[before * num_parts // total].append(tensor)
        before += tensor.numel
    return [part for part in parts if part]


if __name__ == "__main__":
    main()
