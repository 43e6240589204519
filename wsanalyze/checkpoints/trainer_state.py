"""What the Trainer of transformers notes beside the weights in `trainer_state.json`: the step, and a log.

The file comes from whoever made the checkpoint. Nothing in it is an error: what is no such note is let go.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.names import MAX_STEP, names_step
from wsanalyze.checkpoints.tree import Listed, TreePath, list_file, read_start
from wsanalyze.errors import CheckpointError
from wsanalyze.series import LOG_NAMES, TrainingLog

_NAME: Final = "trainer_state.json"
_HEAD_BYTES: Final = 1 << 16
_MAX_BYTES: Final = 64_000_000
# A parsed value takes up to 200 bytes, and one needs but two characters.
_MAX_VALUES: Final = 2_000_000
_MAX_ENTRIES: Final = 200_000
_MEMBER: Final = re.compile(r'\s*[{,]\s*"([^"\\]*)"\s*:\s*')

_Notes = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Steps of shape (N,) and what was noted there, NaN for nothing, of shape (N, number of `LOG_NAMES`)."""


def read_global_step(folder: TreePath) -> dict[str, int]:
    """The step that is noted beside the weights.

    Args:
        folder: The folder of the weights.

    Returns:
        `{"global_step": N}`; nothing where no step is noted, or where to read it takes a request and the folder's name
        tells a step.
    """
    path = folder / _NAME
    if isinstance(path, Listed) and names_step(folder.name):
        return {}
    try:
        if not path.is_file():
            return {}
        step = _find_step(read_start(path, _HEAD_BYTES).decode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError, CheckpointError):
        step = None
    return _as_fact(_read_state(path).get("global_step") if step is None else step)


def read_training_log(checkpoints: Sequence[Checkpoint]) -> TrainingLog:
    """The log of a sequence, as far as files beside its checkpoints hold it.

    A file tells all of the training before it, so that the last one is enough, and an earlier one is read only
    where no later one reaches back to it. Where several hold a step, the latest is believed. A file whose step is not
    that of its checkpoint counts something else and is let go.

    Args:
        checkpoints: The sequence in order, as they stand in `ChangeSeries.checkpoints`.

    Returns:
        The log; an empty one where none was found. One of more than 200,000 entries is thinned.
    """
    found = [(places, _read_stretch([checkpoints[i] for i in places])) for places in _split(checkpoints)]
    steps = np.concatenate([np.zeros(0, np.int64), *(steps for _, (steps, _) in found)])
    values = np.concatenate([np.zeros((0, len(LOG_NAMES))), *(values for _, (_, values) in found)])
    until = [
        np.array(places, dtype=np.int64)[np.searchsorted([checkpoints[i].step or 0 for i in places], steps)]
        for places, (steps, _) in found
    ]
    named = {name: values[:, i] for i, name in enumerate(LOG_NAMES) if np.isfinite(values[:, i]).any()}
    return TrainingLog(steps, np.concatenate([np.zeros(0, np.int64), *until]), named).thinned(_MAX_ENTRIES)


def _split(checkpoints: Sequence[Checkpoint]) -> Iterator[list[int]]:
    """Indices of the checkpoints that have a step, apart where another stage begins or steps start over."""
    places: list[int] = []
    for index, checkpoint in enumerate(checkpoints):
        if checkpoint.step is None:
            continue
        if places:
            last = checkpoints[places[-1]]
            if last.stage != checkpoint.stage or checkpoint.step < (last.step or 0):
                yield places
                places = []
        places.append(index)
    if places:
        yield places


def _read_stretch(checkpoints: Sequence[Checkpoint]) -> _Notes:
    """What is noted beside checkpoints whose steps do not decrease; each step once, increasing."""
    found: list[_Notes] = []
    first = np.inf
    for checkpoint in reversed(checkpoints):
        if checkpoint.step is not None and checkpoint.step < first:
            steps, values = _read_notes(checkpoint, checkpoint.step)
            if len(steps):
                first = steps.min()
                found.insert(0, (steps, values))
    if not found:
        return np.zeros(0, np.int64), np.zeros((0, len(LOG_NAMES)))
    return _merge(np.concatenate([steps for steps, _ in found]), np.concatenate([values for _, values in found]))


def _read_notes(checkpoint: Checkpoint, last_step: int) -> _Notes:
    """The log that lies beside one checkpoint, as it is written."""
    for folder in dict.fromkeys(checkpoint.folders):
        state = _read_state(folder / _NAME)
        history = state.get("log_history")
        if _as_fact(state.get("global_step")).get("global_step") != last_step or not isinstance(history, list):
            continue
        steps = np.full(len(history), -1, dtype=np.int64)
        values = np.full((len(history), len(LOG_NAMES)), np.nan)
        for index, entry in enumerate(history):
            step = entry.get("step") if isinstance(entry, dict) else None
            if type(step) is int and 0 <= step <= last_step:
                steps[index] = step
                values[index] = [_as_number(entry.get(name)) for name in LOG_NAMES]
        good = (steps >= 0) & np.isfinite(values).any(axis=1)
        return steps[good], values[good]
    return np.zeros(0, np.int64), np.zeros((0, len(LOG_NAMES)))


def _merge(steps: NDArray[np.int64], values: NDArray[np.float64]) -> _Notes:
    """Bring together what is noted for the same step: the last number of each name."""
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    unique, starts = np.unique(steps, return_index=True)
    rows = np.where(np.isfinite(values), np.arange(len(steps))[:, None], -1)
    last = np.maximum.reduceat(rows, starts)
    return unique, np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def _read_state(path: TreePath) -> dict[str, Any]:
    """The whole file; nothing where it is none, or too large to be one."""
    try:
        if not path.is_file() or list_file(path).size > _MAX_BYTES:
            return {}
        data = read_start(path, _MAX_BYTES + 1)
        if len(data) > _MAX_BYTES or sum(map(data.count, (b",", b"[", b"{"))) > _MAX_VALUES:
            return {}
        state = json.loads(data)
    except (OSError, ValueError, RecursionError, CheckpointError):
        return {}
    return state if isinstance(state, dict) else {}


def _find_step(head: str) -> object:
    """The step where it stands near the start of the file, as it does where keys are sorted; None where it does not.

    Raises:
        ValueError: If this is no JSON, or its end is missing.
    """
    decoder = json.JSONDecoder()
    position = 0
    while member := _MEMBER.match(head, position):
        value, position = decoder.raw_decode(head, member.end())
        if member[1] == "global_step":
            return value if position < len(head) else None  # a number may go on where the head ends
    return None


def _as_fact(step: object) -> dict[str, int]:
    return {"global_step": step} if type(step) is int and 0 <= step < MAX_STEP else {}


def _as_number(value: object) -> float:
    """A finite number, or NaN."""
    if type(value) not in (int, float):
        return np.nan
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return np.nan
    return number if np.isfinite(number) else np.nan
