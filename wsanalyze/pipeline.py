"""The measuring road on one page: locate, open, match, measure, keep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from wsanalyze.changes.devices import find_kernels
from wsanalyze.changes.measure import Measured, RowOptions, Side, measure_changes
from wsanalyze.changes.plan import DEFAULT_MEMORY_BYTES, check_memory
from wsanalyze.checkpoints.trainer_state import read_training_log
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import SourceError, UsageError
from wsanalyze.far_away import make_check, make_tap, name_window, tell_tapped
from wsanalyze.files.base import ByteSource
from wsanalyze.files.local import LocalFiles
from wsanalyze.hub.session import HubOptions, open_session
from wsanalyze.layers.architecture import ask_architecture, detect_architecture
from wsanalyze.layers.definition import Architecture
from wsanalyze.layers.guess import guess_architecture
from wsanalyze.layers.match import PARAMS
from wsanalyze.likeness.find import Candidate, find_likeness, move_event
from wsanalyze.likeness.rounding import tell_rounding
from wsanalyze.likeness.steps import tell_missing_steps
from wsanalyze.metrics import find_metric
from wsanalyze.progress import ProgressCallback, silent
from wsanalyze.run import Run
from wsanalyze.run_paths import default_run_path, name_sources
from wsanalyze.sequence import CheckpointSequence, Member, open_sequence
from wsanalyze.series import ChangeSeries, CheckpointRecord, Event, Provenance, Skip
from wsanalyze.sources import Located, locate_checkpoints
from wsanalyze.spans import Changes
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import Sums
from wsanalyze.version import loaded_versions

_NUM_SLUG_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """What `analyze` reads and how; the options of the command line that concern measuring.

    Attributes:
        sequence: Which checkpoints and which of their weights.
        params: "matrices", "all", or "auto" for matrices unless none of them compares.
        layers: Regular expression searched in the names of rows, or None for all.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_bytes: Memory allowed for buffers, above what the program itself takes.
        architecture: "timm:NAME", whose definition gives kinds and depths; None for what config.json names.
        hub: How what lies on the Hub is read.
        metrics: Metrics that are to be there; the pairs of checkpoints that they need are measured beside successive
            ones, and spectral norms where they need those.
    """

    sequence: SequenceOptions = field(default_factory=SequenceOptions)
    params: str = "auto"
    layers: str | None = None
    device: str = "auto"
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    architecture: str | None = None
    hub: HubOptions = field(default_factory=HubOptions)
    metrics: tuple[str, ...] = ()


def measure_run(
    sources: Sequence[str],
    run: Path | None = None,
    options: AnalyzeOptions = AnalyzeOptions(),
    *,
    command: str = "",
    progress: ProgressCallback = silent,
    files: ByteSource | None = None,
    check: Callable[[Located, Path], None] = lambda _located, _path: None,
) -> Run:
    """Measure a sequence of checkpoints, or what of it is not in the run file yet.

    Args:
        sources: Folders, files and globs.
        run: The run file; by default one in the user's cache folder named after the sources.
        options: What is read and how.
        command: The command line, for the reports.
        progress: Told of checkpoints opened and bytes read.
        files: Where bytes come from; local files by default.
        check: Told of the checkpoints and the run file before either is opened; what it raises ends the work.

    Raises:
        WsAnalyzeError: If nothing could be measured; the message says why. What was measured before is kept.
    """
    if not sources:
        raise SourceError("no source given: name a folder of checkpoints")
    if options.params not in ("auto", *PARAMS):
        raise UsageError(f"--params takes {' or '.join(PARAMS)}, not {options.params!r}")
    check_memory(options.memory_bytes)
    metrics = [find_metric(name) for name in options.metrics]
    spans = frozenset(metric.span for metric in metrics if metric.span is not None)
    norms = any(metric.norms for metric in metrics)
    asked = ask_architecture(options.architecture)
    base = options.sequence.base
    hub = open_session([*sources, base or ""], options.hub, progress)
    # A source that is not there is told before anything is made for it.
    located = locate_checkpoints(sources, base, hub)
    kernels = find_kernels(options.device)
    key = name_sources(sources, options.hub)
    path = run or default_run_path(key, options.sequence.weights)
    check(located, path)
    source: ByteSource = hub.files if hub else files or LocalFiles()
    try:
        with RunFile.create(path, source=key) as store:
            if hub is not None:
                hub.use(name_window(path))
            sequence = _open_sequence(located, options.sequence, source, store, progress)
            sequence, likeness = _leave_copies_out(sequence, source, store, progress)
            alive = [index for index, member in enumerate(sequence.members) if member.alive]
            members = [sequence.members[index] for index in alive]
            sides = [Side(m.checkpoint.label, m.identity, m.tensors, make_check(m, hub)) for m in members]
            architecture, told = (asked, ()) if asked else _find_architecture(members[0])
            ordered = all(member.ordered for member in members)
            rows = RowOptions(ordered, options.params, options.layers, architecture, spans, norms)
            tap = make_tap(members, source, store, options.layers) if hub else None
            measured = measure_changes(
                sides, rows, tap or source, kernels, store, options.memory_bytes, progress, hub.files if hub else None
            )
            if hub is not None and tap is not None:
                hub.files.sealed = True
                likeness = (*likeness, *tell_tapped(tap, members, alive, measured))
            notes = (*sequence.notes, *told, *measured.match.notes, *(hub.notes() if hub else ()))
            if options.params == "auto" and measured.params == "all":
                notes = (*notes, "no matrix compares, so all parameters are taken in, as with --params all")
            provenance = Provenance(
                tuple(sources), command, sequence.weights, measured.params, notes, loaded_versions()
            )
            series = assemble_series(sequence, alive, measured, provenance)
            takes_part = {alive[index] for index in measured.alive}
            identities = [m.identity if i in takes_part else None for i, m in enumerate(sequence.members)]
            missing = tell_missing_steps([record.step for record in series.checkpoints])
            events = (*_tell_unread(series, likeness), *likeness, *missing, *series.events)
            store.save_series(replace(series, events=events), identities)
            series = _tell_more(store.load_series(), measured, [alive[i] for i in measured.alive], source, store)
            store.save_series(series, identities)
            return Run(series, path, measured.effort)
    finally:
        source.close()


def _find_architecture(member: Member) -> tuple[Architecture | None, tuple[str, ...]]:
    """The definition of the model by the configuration beside a checkpoint, or else by what it says or is called."""
    found, notes = detect_architecture(member.checkpoint.folder)
    if found is None and not notes:
        shapes = {name: info.shape for name, info in member.tensors.items()}
        found = guess_architecture(member.arch, member.checkpoint.origin, shapes)
    return found, notes


def _open_sequence(
    located: Located, options: SequenceOptions, source: ByteSource, store: RunFile, progress: ProgressCallback
) -> CheckpointSequence:
    """Open the sequence with the help of what the run file remembers, and refuse a run file of other weights."""
    known = store.fingerprints()
    fingerprints = dict(known)
    sequence = open_sequence(located, options, source, fingerprints, progress)
    store.check_use("weights", sequence.weights)
    store.add_fingerprints({key: value for key, value in fingerprints.items() if known.get(key) != value})
    return sequence


def assemble_series(
    sequence: CheckpointSequence, alive: Sequence[int], measured: Measured, provenance: Provenance
) -> ChangeSeries:
    """Put together what was read and what was measured; the sums themselves are in the run file.

    Args:
        sequence: All checkpoints.
        alive: Indices of those that were to be measured.
        measured: What came of it.
        provenance: Where the series comes from.

    Returns:
        A series whose indices are those of `sequence.members` and whose sums are all NaN.
    """
    match = measured.match
    failed = {alive[index]: str(error) for index, error in measured.failures.items()}
    position = [alive[index] for index in measured.alive]
    records = tuple(_make_record(member, failed.get(i)) for i, member in enumerate(sequence.members))
    seen = {skip.name for skip in match.skips}
    skips = (*match.skips, *_other_skips([sequence.members[i] for i in position], seen))
    moved = [replace(e, checkpoint=None if e.checkpoint is None else position[e.checkpoint]) for e in match.events]
    return ChangeSeries(
        checkpoints=records,
        rows=match.rows,
        pairs=tuple((position[before], position[after]) for before, after in match.pairs),
        sums=Sums.unmeasured(len(match.rows), len(match.pairs)),
        states=match.states,
        skips=skips,
        events=tuple(moved),
        provenance=provenance,
        log=read_training_log([member.checkpoint for member in sequence.members]),
        spans={span: Changes.unmeasured(states) for span, states in measured.spans.items()},
    )


def _make_record(member: Member, failure: str | None) -> CheckpointRecord:
    checkpoint = member.checkpoint
    problem = failure or checkpoint.problem
    return CheckpointRecord(
        step=checkpoint.step,
        label=checkpoint.label,
        origin=checkpoint.origin,
        status="unreadable" if problem else "duplicate" if checkpoint.duplicate_of else "ok",
        reason=problem or checkpoint.duplicate_of,
        format=member.format,
        nbytes=checkpoint.nbytes,
    )


def _other_skips(members: Sequence[Member], seen: set[str]) -> list[Skip]:
    """Tensors that the readers could not even describe, each named once."""
    found: dict[str, Skip] = {}
    for member in members:
        for skip in member.skips:
            if skip.name not in seen:
                found.setdefault(skip.name, skip)
    return list(found.values())


def _leave_copies_out(
    sequence: CheckpointSequence, source: ByteSource, store: RunFile, progress: ProgressCallback
) -> tuple[CheckpointSequence, tuple[Event, ...]]:
    """Mark checkpoints whose weights are those of another one; what was found, its indices those of the members.

    What lies far away is compared by its hashes alone, and sampled when it is measured.
    """
    remote = any(member.remote for member in sequence.members)
    alive = [index for index, member in enumerate(sequence.members) if member.alive and not member.remote]
    members = list(sequence.members)
    found = find_likeness(
        [
            Candidate(m.checkpoint.label, m.identity, m.fingerprint, m.summed, m.tensors, m.held, m.checkpoint.step)
            for m in (members[index] for index in alive)
        ],
        source,
        store,
        progress,
        misplaced=not remote,
    )
    for index, (kept, how) in found.copies.items():
        member = members[alive[index]]
        text = f"the same weights as {members[alive[kept]].checkpoint.label} ({how})"
        members[alive[index]] = replace(member, checkpoint=replace(member.checkpoint, duplicate_of=text))
    events = (
        *(copies.tell() for copies in sequence.copies),
        *(move_event(event, alive) for event in found.events),
    )
    return replace(sequence, members=tuple(members)), events


def _tell_unread(series: ChangeSeries, likeness: Sequence[Event]) -> list[Event]:
    """Events for checkpoints that cannot be read or are other names of one, unless likeness told of them."""
    told = {index for event in likeness if event.kind == "duplicate" for index in event.evidence["checkpoints"]}
    events = []
    for index, record in enumerate(series.checkpoints):
        if record.status == "unreadable":
            text = f"{record.label} cannot be read and is left out: {record.reason}"
            events.append(Event("unreadable", None, index, text, {"reason": record.reason}))
        elif record.status == "duplicate" and index not in told:
            text = f"{record.label} is left out: {record.reason}"
            events.append(Event("duplicate", None, index, text, {"reason": record.reason}))
    return events


def _tell_more(
    series: ChangeSeries, measured: Measured, position: Sequence[int], source: ByteSource, store: RunFile
) -> ChangeSeries:
    """Add what is told by the sums: what rounding explains, and checkpoints of which no row moved."""
    rounding = tell_rounding(measured.match, series.sums, measured.identities, source, store)
    kept = [event for event in series.events if event.kind != "dtype"]
    events = (*kept, *(move_event(event, position) for event in rounding), *_tell_still(series))
    return replace(series, events=events)


def _tell_still(series: ChangeSeries) -> list[Event]:
    """Checkpoints of which not one row that was compared differs from the one before.

    A row without numbers on either side may have moved: where there is one, nothing is said.
    """
    events = []
    for pair, (before, after) in enumerate(series.pairs):
        sums = {
            key: series.sums[key][:, pair] for key in ("n", "n_valid", "changed", "nonfinite_before", "nonfinite_after")
        }
        compared = ~np.isnan(sums["changed"]) & (sums["n"] > 0)
        moved = (sums["changed"] > 0) | (sums["nonfinite_before"] != sums["nonfinite_after"]) | (sums["n_valid"] == 0)
        if compared.any() and not moved[compared].any():
            num_rows = int(np.count_nonzero(compared))
            names = series.checkpoints[after].label, series.checkpoints[before].label
            text = f"{names[0]} differs from {names[1]} in none of the {num_rows} rows that were compared"
            events.append(Event("duplicate", None, after, text, {"of": before, "num_rows": num_rows}))
    return events
