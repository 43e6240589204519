"""Which checkpoints of those that were located are the sequence, and in which order.

Those at hand are opened first, since what they say inside goes before their names. Those far away are ordered and
thinned by names and hashes first, so that only the headers of what is left are fetched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.order import order_checkpoints
from wsanalyze.errors import NoWeightsError
from wsanalyze.files.base import ByteSource
from wsanalyze.layers.names import strip_wrappers
from wsanalyze.likeness.equal_files import EqualFiles, leave_equal_files_out
from wsanalyze.opening import Fingerprints, OpenedCheckpoint, Opener, open_checkpoint
from wsanalyze.progress import Progress, ProgressCallback, silent
from wsanalyze.sources import Located
from wsanalyze.tensors.base import TensorInfo

_PREPARED: Final = 64
"""Checkpoints whose headers are asked for at once."""


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """What is read of the sources.

    Attributes:
        weights: "model", "ema", or "auto" for those that most checkpoints hold, the model's where it is even.
        steps: (first, last) step to keep, both inclusive, None for no bound; checkpoints without a step stay.
        every: N: keep every Nth checkpoint, and always the first and the last.
        given_order: Keep the order of the sources instead of sorting by step.
        base: A source that holds one checkpoint, put before the first: the model that training started from.
        renames: (regular expression, replacement) pairs applied to names of tensors, in order.
        merge_lora: Whether the pairs of low-rank adapters are replaced by the update that they make.
        split_qkv: Whether fused query, key and value weights are three rows.
    """

    weights: str = "auto"
    steps: tuple[int | None, int | None] = (None, None)
    every: int = 1
    given_order: bool = False
    base: str | None = None
    renames: tuple[tuple[str, str], ...] = ()
    merge_lora: bool = False
    split_qkv: bool = False


class Opening:
    """Opens checkpoints and keeps what their headers say.

    Attributes:
        opened: What was opened, by origin.
        notes: Sentences on those that hold no weights.
    """

    def __init__(self, opener: Opener, source: ByteSource, progress: ProgressCallback) -> None:
        self.opened: dict[str, OpenedCheckpoint] = {}
        self.notes: list[str] = []
        self.source = source
        self._opener = opener
        self._progress = progress

    def open(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Open all of them; one without weights is left out."""
        for index, checkpoint in enumerate(checkpoints):
            self._progress(Progress("reading headers", index, len(checkpoints), "checkpoints"))
            if index % _PREPARED == 0:
                ahead = checkpoints[index : index + _PREPARED]
                self.source.prepare([file for one in ahead for file in one.files if one.problem is None])
            try:
                self.opened[checkpoint.origin] = self._opener(checkpoint, self.source)
            except NoWeightsError as error:
                self.notes.append(f"{checkpoint.label} is left out: it {error.reason}")
        self._progress(Progress("reading headers", len(checkpoints), len(checkpoints), "checkpoints"))

    def peek(self, checkpoint: Checkpoint) -> Mapping[str, TensorInfo]:
        """The tensors of a checkpoint of which only a sample is read; none where it cannot be opened."""
        try:
            found = open_checkpoint(checkpoint, self.source, {}).tensors
        except NoWeightsError:
            return {}
        return {} if found is None else next((strip_wrappers(infos) for infos in found.infos.values() if infos), {})


Ordered = tuple[list[Checkpoint], tuple[str, ...], tuple[EqualFiles, ...]]
"""The checkpoints of a sequence, sentences on how their order was found, and those whose files are the same."""


def order_near(located: Located, options: SequenceOptions, opening: Opening) -> Ordered:
    """Open everything, then order by what the files say and thin."""
    opening.open([*located.checkpoints, *located.base])
    opened = opening.opened
    prints = {origin: found.fingerprint for origin, found in opened.items() if found.fingerprint and found.proven}
    apart = {checkpoint.origin for checkpoint in located.base}
    found = [one.checkpoint for origin, one in opened.items() if origin not in apart]
    ordered = order_checkpoints(found, prints, given=options.given_order)
    return _thin(_keep_steps(ordered.checkpoints, options), options), ordered.notes, ()


def choose_checkpoints(located: Located, options: SequenceOptions, source: ByteSource) -> Ordered:
    """Which checkpoints of those far away are the sequence, before any is opened.

    Args:
        located: The checkpoints.
        options: Which of them are wanted.
        source: Where bytes come from: a few tell which of several copies stands where it belongs.

    Returns:
        The checkpoints in order, sentences on how it was found, and those whose files are the same.

    Raises:
        SourceError: If they are several sequences.
    """
    return _choose_far(located, options, Opening(partial(open_plainly, {}), source, silent))


def _choose_far(located: Located, options: SequenceOptions, opening: Opening) -> Ordered:
    ordered = order_checkpoints(located.checkpoints, {}, given=options.given_order)
    within = _keep_steps(ordered.checkpoints, options)
    marked, equal = leave_equal_files_out(within, opening.peek, opening.source)
    return _thin(marked, options), ordered.notes, equal


def order_far(located: Located, options: SequenceOptions, opening: Opening) -> Ordered:
    """Order by names, leave copies out by their hashes and thin; then open only what is left."""
    selected, notes, equal = _choose_far(located, options, opening)
    opening.open([*(c for c in selected if c.duplicate_of is None), *located.base])
    chosen = []
    for checkpoint in selected:
        found = opening.opened.get(checkpoint.origin)
        if found is not None:
            chosen.append(replace(found.checkpoint, step=checkpoint.step, stage=checkpoint.stage))
        elif checkpoint.duplicate_of is not None:
            chosen.append(checkpoint)
    return chosen, notes, equal


def _keep_steps(checkpoints: Sequence[Checkpoint], options: SequenceOptions) -> list[Checkpoint]:
    """Apply --steps; checkpoints without a step stay."""
    first, last = options.steps
    return [
        c
        for c in checkpoints
        if c.step is None or ((first is None or c.step >= first) and (last is None or c.step <= last))
    ]


def _thin(checkpoints: Sequence[Checkpoint], options: SequenceOptions) -> list[Checkpoint]:
    """Apply --every; copies of a checkpoint do not count as positions."""
    if options.every == 1:
        return list(checkpoints)
    originals = [c.origin for c in checkpoints if c.duplicate_of is None]
    chosen = {*originals[:: options.every], *originals[-1:]}
    return [c for c in checkpoints if c.duplicate_of or c.origin in chosen]


def open_plainly(fingerprints: Fingerprints, checkpoint: Checkpoint, source: ByteSource) -> OpenedCheckpoint:
    """Read the headers of one checkpoint and nothing else, as an `Opener` does once it knows the fingerprints."""
    return open_checkpoint(checkpoint, source, fingerprints)
