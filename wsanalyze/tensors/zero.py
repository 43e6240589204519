"""Tensors of a DeepSpeed ZeRO-3 checkpoint: every rank holds a slice of each, in flat tensors without names.

References:
    deepspeed/utils/zero_to_fp32.py, `_zero3_merge_trainable_params` and `_zero3_merge_frozen_params`: a parameter of n
    elements is padded to a multiple of the number of ranks W; rank r holds elements r * ceil(n / W) up to
    (r + 1) * ceil(n / W). A rank's slices lie one after another, in the order of `param_shapes`, in its flat groups.
"""

import bisect
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, Contents, FileRef
from wsanalyze.files.contents import TorchArchive, read_contents
from wsanalyze.files.pickle_machine import Call
from wsanalyze.files.zip_records import check_overlaps
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.torch_file import read_calls

_RANK: Final = re.compile(r"zero_pp_rank_(\d{1,6})_mp_rank_\d+_(model|optim)_states\.pt$")
_STAGE: Final = 3
_MAX_NUMEL: Final = 2**50
_MAX_AXES: Final = 64
_MAX_GROUPS: Final = 4096
_ADVICE: Final = "convert it (python zero_to_fp32.py . OUT, the script lies beside it) and give OUT"


@dataclass(frozen=True, slots=True)
class _State:
    """The structure of one rank's file: the mapping that it holds, and what tells its tensors' places."""

    file: FileRef
    archive: TorchArchive
    tree: Mapping[Any, Any]

    def locate(self, calls: Mapping[str, Any], source: ByteSource) -> TensorSet:
        """The tensors among some values of the tree."""
        tensors = {name: call for name, call in calls.items() if isinstance(call, Call)}
        return read_calls({"model": tensors}, self.archive, source, self.file)

    def locate_flat(self, call: Any, what: str, source: ByteSource) -> TensorInfo:  # noqa: ANN401 - from a pickle
        """A tensor that has to be there, its elements in one run."""
        return self.check_flat(self.locate({what: call}, source).infos["model"].get(what), what)

    def locate_held(self, key: str, names: Iterable[str], source: ByteSource) -> Mapping[str, TensorInfo]:
        """Tensors of these names in a mapping of the tree."""
        held = self.tree.get(key)
        return self.locate({n: held.get(n) for n in names} if isinstance(held, dict) else {}, source).infos["model"]

    def check_flat(self, info: TensorInfo | None, what: str) -> TensorInfo:
        """A tensor that was found, if its elements lie in one run."""
        if info is None or not info.contiguous or not info.type.floating:
            raise CheckpointError(f"{what} is not the flat tensor that ZeRO-3 saves: {_ADVICE}", self.file.url)
        return info


def read_zero3(source: ByteSource, files: Sequence[FileRef]) -> tuple[TensorSet, Sequence[Contents]]:
    """List the tensors of one ZeRO-3 checkpoint: trained ones in full precision, frozen ones and buffers as saved.

    Args:
        source: Where bytes come from; no weights are read.
        files: The model and the optimizer states of every rank.

    Returns:
        Its tensors, of which each rank holds a run of elements, and the structure of each file.

    Raises:
        CheckpointError: If a file is damaged or missing, or the partitions do not fit the parameters.
    """
    states = {file.url: _read_state(source, file) for file in files}
    models, optims = (_sort_by_rank(kind, list(states.values())) for kind in ("model", "optim"))
    if len(models) != len(optims):
        text = f"holds model states of {len(models)} ranks and optimizer states of {len(optims)}: {_ADVICE}"
        raise CheckpointError(text, PurePath(files[0].url).parent)
    main = models[0]
    infos: dict[str, TensorInfo] = {}
    module = main.tree.get("module")
    module = module if isinstance(module, dict) else {}
    names = main.tree.get("buffer_names")
    buffers = main.locate(
        {n: module.get(n) for n in names if isinstance(n, str)} if isinstance(names, list) else {}, source
    )
    infos |= buffers.infos["model"]
    infos |= _merge_frozen(models, source)
    infos |= _merge_trained(main, optims, source)
    shared = main.tree.get("shared_params")
    for name, other in shared.items() if isinstance(shared, dict) else ():
        if isinstance(name, str) and isinstance(other, str) and other in infos:
            infos[name] = replace(infos[other], name=name)
    ordered = all(name in module for name in infos)
    if ordered:
        infos = {name: infos[name] for name in module if name in infos}
    archives = [states[file.url].archive for file in files]
    return TensorSet({"model": infos}, ordered, buffers.skips), archives


def _read_state(source: ByteSource, file: FileRef) -> _State:
    archive = read_contents(source, file)
    if not isinstance(archive, TorchArchive) or not isinstance(archive.tree, dict):
        raise CheckpointError(f"is not a file that DeepSpeed wrote: {_ADVICE}", file.url)
    return _State(file, archive, archive.tree)


def _sort_by_rank(kind: str, states: Sequence[_State]) -> list[_State]:
    ranks: dict[int, _State] = {}
    for state in states:
        found = _RANK.search(PurePath(state.file.url).name)
        if found and found[2] == kind:
            if int(found[1]) in ranks:
                raise CheckpointError(
                    f"is of the same rank as {ranks[int(found[1])].file.url}: {_ADVICE}", state.file.url
                )
            ranks[int(found[1])] = state
    missing = next((rank for rank in range(len(ranks) + 1) if rank not in ranks), 0)
    if missing < len(ranks) or not ranks:
        folder = PurePath(states[0].file.url).parent
        raise CheckpointError(f"lacks the {kind} states of rank {missing}: {_ADVICE}", folder)
    return [ranks[rank] for rank in sorted(ranks)]


def _merge_trained(main: _State, optims: Sequence[_State], source: ByteSource) -> dict[str, TensorInfo]:
    """Trained parameters, from the flat groups that each rank's optimizer holds in full precision."""
    groups = [_find_flat_groups(state, len(optims), source) for state in optims]
    sizes = [group.numel for group in groups[0]]
    for state, others in zip(optims, groups, strict=True):
        if [(group.numel, group.dtype) for group in others] != [(group.numel, group.dtype) for group in groups[0]]:
            raise CheckpointError(f"holds partitions of other sizes than those of rank 0: {_ADVICE}", state.file.url)
    dtypes = {group.dtype for group in groups[0]}
    shapes = _read_shapes(main, "param_shapes")
    if sum(sizes) != sum(_partition_size(shape, len(optims)) for shape in shapes.values()) or len(dtypes) > 1:
        raise CheckpointError(f"holds partitions that do not fit its parameters: {_ADVICE}", main.file.url)
    infos = {}
    offset = 0
    starts = [0, *itertools.accumulate(sizes)]
    for name, shape in shapes.items():
        pieces = [
            piece
            for rank, flat in enumerate(groups)
            for piece in _cut(flat, starts, offset, rank, _partition_size(shape, len(optims)), math.prod(shape))
        ]
        infos[name] = _join(name, next(iter(dtypes)), shape, pieces, main.file)
        offset += _partition_size(shape, len(optims))
    return infos


def _merge_frozen(models: Sequence[_State], source: ByteSource) -> dict[str, TensorInfo]:
    """Parameters that no optimizer holds: each rank's model states have a fragment of each."""
    infos = {}
    shapes = _read_shapes(models[0], "frozen_param_shapes")
    held = [state.locate_held("frozen_param_fragments", shapes, source) for state in models] if shapes else []
    for name, shape in shapes.items():
        size = _partition_size(shape, len(models))
        fragments = []
        for state, infos_of_rank in zip(models, held, strict=True):
            what = f"the fragment of {name!r}"
            fragments.append(state.check_flat(infos_of_rank.get(name), what))
            if fragments[-1].numel != size or fragments[-1].dtype != fragments[0].dtype:
                raise CheckpointError(f"{what} has another size or dtype than it should: {_ADVICE}", state.file.url)
        pieces = [
            piece
            for rank, fragment in enumerate(fragments)
            for piece in _cut([fragment], [0, size], 0, rank, size, math.prod(shape))
        ]
        infos[name] = _join(name, fragments[0].dtype, shape, pieces, models[0].file)
    return infos


def _find_flat_groups(state: _State, num_ranks: int, source: ByteSource) -> list[TensorInfo]:
    optimizer = state.tree.get("optimizer_state_dict")
    optimizer = optimizer if isinstance(optimizer, dict) else {}
    stage, count, groups = (optimizer.get(key) for key in ("zero_stage", "partition_count", "fp32_flat_groups"))
    if isinstance(stage, Call) and stage.args:  # an enum
        stage = stage.args[0]
    if isinstance(count, list):
        count = max((item for item in count if type(item) is int), default=None)
    if stage != _STAGE or not isinstance(groups, list) or not groups:
        raise CheckpointError(f"holds no flat groups of ZeRO stage 3: {_ADVICE}", state.file.url)
    if len(groups) > _MAX_GROUPS:
        raise CheckpointError(f"holds {len(groups)} flat groups, more than {_MAX_GROUPS} are refused", state.file.url)
    if count != num_ranks:
        text = f"was saved by {count} ranks, and {num_ranks} of their files are there: {_ADVICE}"
        raise CheckpointError(text, state.file.url)
    if optimizer.get("ds_zero_partition_groups") is not None:
        raise CheckpointError(f"partitions its parameters over groups of ranks: {_ADVICE}", state.file.url)
    found = [state.locate_flat(call, f"flat group {index}", source) for index, call in enumerate(groups)]
    spans = ((p.offset, p.nbytes, f"flat group {index}") for index, group in enumerate(found) for p in group.pieces)
    check_overlaps(spans, state.file, "partitions")
    return found


def _read_shapes(state: _State, key: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of parameters: a mapping, or one for each group of the optimizer."""
    listed = state.tree.get(key)
    groups = listed if isinstance(listed, list) else [listed or {}]
    shapes: dict[str, tuple[int, ...]] = {}
    for group in groups:
        for name, shape in group.items() if isinstance(group, dict) else [(None, None)]:
            size: Any = shape.args[0] if isinstance(shape, Call) and len(shape.args) == 1 else shape
            if not isinstance(name, str) or name in shapes or not _is_shape(size):
                raise CheckpointError(f"has damaged {key}: {_ADVICE}", state.file.url)
            shapes[name] = tuple(size)
    return shapes


def _is_shape(value: Any) -> bool:  # noqa: ANN401 - from a pickle
    sizes = isinstance(value, tuple | list) and len(value) <= _MAX_AXES
    return sizes and all(type(n) is int and 0 <= n <= _MAX_NUMEL for n in value) and math.prod(value) <= _MAX_NUMEL


def _partition_size(shape: Sequence[int], num_ranks: int) -> int:
    return -(-math.prod(shape) // num_ranks)


def _cut(
    groups: Sequence[TensorInfo], starts: Sequence[int], offset: int, rank: int, size: int, numel: int
) -> Iterator[Piece]:
    """The runs in which a rank holds its slice of a parameter, without the padding at its end.

    Args:
        groups: Flat tensors of the rank, one flat space together.
        starts: Where in it each of them begins, and where the last one ends, in elements.
        offset: Where in it the slice begins, in elements.
        rank: The rank.
        size: Number of elements of a slice, the same for all ranks.
        numel: Number of elements of the parameter.
    """
    first, stop = rank * size, min((rank + 1) * size, numel)
    index = bisect.bisect_right(starts, offset) - 1
    while first < stop and index < len(groups):
        group = groups[index]
        here = min(starts[index + 1] - offset, stop - first)
        if here:
            (whole,) = group.pieces
            start = whole.offset + (offset - starts[index]) * group.type.itemsize
            yield replace(whole, offset=start, nbytes=here * group.type.itemsize, corner=(first,), extent=(here,))
        first += here
        offset += here
        index += 1


def _join(name: str, dtype: str, shape: tuple[int, ...], pieces: Sequence[Piece], file: FileRef) -> TensorInfo:
    if len(pieces) == 1:
        pieces = [replace(pieces[0], corner=(), extent=())]
    return TensorInfo(name, dtype, shape, tuple(pieces or [Piece(file, 0, 0)]))
