"""The library: what `import wsanalyze` offers."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import UsageError
from wsanalyze.hub.session import HubOptions
from wsanalyze.options import check_rename, parse_memory, parse_steps
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.progress import ProgressCallback, silent
from wsanalyze.run import Run

PathLike = str | os.PathLike[str]


def analyze(  # noqa: PLR0913 - one keyword for each option of the command line
    *sources: PathLike,
    run: PathLike | None = None,
    weights: str = "auto",
    params: str = "auto",
    layers: str | None = None,
    steps: str | None = None,
    every: int = 1,
    order: str = "auto",
    base: PathLike | None = None,
    renames: Mapping[str, str] | None = None,
    merge_lora: bool = False,
    split_qkv: bool = False,
    device: str = "auto",
    memory: str | int = "128MB",
    architecture: str | None = None,
    repo_type: str = "model",
    commits: bool = False,
    fetch: str = "auto",
    keep: bool = False,
    metrics: Sequence[str] = (),
    progress: ProgressCallback = silent,
) -> Run:
    """Measure how much every layer changes from one checkpoint to the next.

    What is in the run file already is not measured again, so a second call is quick and an interrupted one goes on.

    Args:
        *sources: Folders of checkpoints, checkpoint files or folders, globs, addresses of the Hub as "hf://org/repo";
            together they make one sequence.
        run: The run file that keeps the sums; by default one in the user's cache folder named after the sources.
        weights: "model", "ema", or "auto".
        params: "matrices" (the paper's rule), "all", or "auto": matrices unless none of them compares.
        layers: Regular expression searched in the names of tensors.
        steps: "A:B", the first and last step to read, both inclusive; either may be left out.
        every: Read every Nth checkpoint, and always the first and the last.
        order: "auto" (by step) or "given".
        base: A checkpoint to put before the first: the model that training started from.
        renames: Regular expressions and what to replace them by (as `re.sub`) in names of tensors, in order.
        merge_lora: Measure the update B.A that a low-rank adapter makes instead of its two factors.
        split_qkv: Make three rows of a fused query, key and value weight.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory: Memory for buffers, in bytes or as "64MB".
        architecture: "timm:NAME", whose definition gives kinds and depths; None for what config.json names.
        repo_type: "model", "dataset" or "space": kind of repository on the Hub.
        commits: On the Hub, the commits of one branch are the checkpoints, in place of branches and tags.
        fetch: "files" to read whole files from the Hub, two checkpoints at a time, "ranges" for the bytes needed alone,
            "auto" for what suits.
        keep: Keep what is downloaded, in the Hub's cache.
        metrics: Names of metrics that the run is to hold the sums of, beside those that it always does: "from-first",
            "rotation", "coherence" and "efficiency" compare other checkpoints than successive ones; "spectral" and
            "rank" need norms that take far longer than sums.
        progress: Called with a `wsanalyze.progress.Progress` now and then.

    Returns:
        The run: `run.series`, `run.trends()`, `run.report(path)`, `run.to_pandas()`.

    Raises:
        WsAnalyzeError: If nothing could be measured, or an argument is wrong; the message says what to do.
    """
    if order not in ("auto", "given"):
        raise UsageError(f"order takes auto or given, not {order!r}")
    if every < 1:
        raise UsageError(f"every must be at least 1, not {every}")
    options = AnalyzeOptions(
        SequenceOptions(
            weights,
            parse_steps(steps),
            every,
            given_order=order == "given",
            base=None if base is None else os.fspath(base),
            renames=tuple(check_rename(old, new) for old, new in (renames or {}).items()),
            merge_lora=merge_lora,
            split_qkv=split_qkv,
        ),
        params,
        layers,
        device,
        parse_memory(memory),
        architecture,
        HubOptions(repo_type, commits, keep, fetch),
        tuple(metrics),
    )
    path = None if run is None else Path(run)
    return measure_run([os.fspath(source) for source in sources], path, options, progress=progress)


def open_run(path: PathLike) -> Run:
    """Open a run file; see `wsanalyze.run.Run.open`."""
    return Run.open(Path(path))


def read_table(path: PathLike) -> Run:
    """Read a table that someone else measured; see `wsanalyze.run.Run.from_table`."""
    return Run.from_table(Path(path))
