"""Example trends for tests of reports, built by hand: no clustering is run and no weights are read.

How to use it. Tests have no packages, so do not import this module: tests/reports/conftest.py (and
tests/browser/conftest.py) load it by path and give its contents as fixtures:

    trends            example_trends()              40 layers x 20 changes, 3 clusters, states, outliers, events, skips
    hostile_trends    example_trends(hostile=True)  the same, with names that attack terminals, HTML and CSV
    make_trends       the function `example_trends` itself, for other sizes (0 and 1 layers and changes work)
    kind_trends       by_kind(example_trends())     the same, with rows of each kind clustered by themselves
    hostile_names     the tuple HOSTILE_NAMES

The same arguments give the same trends, bit for bit.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from wsanalyze.series import ChangeSeries, CheckpointRecord, Event, Kind, Provenance, Row, Skip, State, TrainingLog
from wsanalyze.sums import SUM_NAMES, Sums
from wsanalyze.trends.base import Cluster, DepthProfile, KindQuality, Phase, Quality, TrendOptions, Trends, Window

HOSTILE_NAMES = (
    "<script>alert(1)</script>.weight",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    "[red]markup[/red] [link=https://example.invalid]x[/link]",
    "\x1b[2J\x1b]0;title\x07clear",
    '=HYPERLINK("https://example.invalid","x")',
    "+1+1",
    "@SUM(A1:A2)",
    "-2+3",
    "\tcell",
    "'single' \"double\" `tick` &amp; &lt;b&gt;",
    '<b>bold</b><br><a href="javascript:alert(4)">link</a>',
    "%{y} %{customdata} ${x} {{ 7*7 }} {% raw %} $\\alpha$",
    "right\u202eto\u2066left\u200b",
    "line\nbreak\r\u2028\u2029end",
    "a,b;c|d",
    "lone\udc80surrogate\x00nul\x9bcsi",
    "long." + "block_with_a_very_long_name." * 12 + "weight",
    "\u5c42.\u6743\u91cd \U0001f600",
    "<!-- --><style>*{display:none}</style><!--",
)
"""Names of layers that a terminal, a browser or a spreadsheet could take for something else."""

_KINDS = (Kind.CONV, Kind.POINTWISE, Kind.DEPTHWISE, Kind.LINEAR)
_SUMMARIES = ("high throughout, slowly falling", "fast, then frozen", "low, rising late")


def example_trends(num_layers: int = 40, num_changes: int = 20, seed: int = 0, *, hostile: bool = False) -> Trends:
    """Trends of a made-up training run.

    Args:
        num_layers: Number of rows L; 0 and 1 work.
        num_changes: Number of measured pairs P; 0 and 1 work.
        seed: Seed of the noise.
        hostile: Whether names, labels, paths and texts are ones of `HOSTILE_NAMES`.

    Returns:
        Three clusters (fewer where there are fewer layers) and two outliers (from 12 layers on). From 12 layers and
        6 changes on, cells of every state that a report can meet, a spike and a gap among the touched cells.
        A duplicate and an unreadable checkpoint lie in the sequence; the latter is bridged. A trainer's log lies
        beside it, and the trends have a profile over depth, two phases and windows that rows move between.
    """
    rng = np.random.default_rng(seed)
    names = _names(num_layers, hostile=hostile)
    labels = (np.arange(num_layers) * 3 // max(num_layers, 1)).astype(np.int64)
    rich = num_layers >= 12 and num_changes >= 6
    checkpoints, pairs = _sequence(num_changes, names if hostile else ())
    rwc = _curves(labels, num_changes, rng)
    if rich:
        rwc[5, 4] *= 40.0
    states = np.full((num_layers, num_changes), None, dtype=object)
    sums = _sums_of(rwc)
    if rich:
        _put_states(sums, states)
    series = ChangeSeries(
        checkpoints=checkpoints,
        rows=tuple(_row(i, name, num_layers) for i, name in enumerate(names)),
        pairs=pairs,
        sums=Sums(sums),
        states=states,
        skips=_skips(names, hostile=hostile),
        events=_measured_events(names, checkpoints),
        provenance=Provenance(
            source=("runs/example <b>" if hostile else "runs/example",),
            command="wsanalyze analyze 'runs/<script>alert(9)</script>' --html report.html"
            if hostile
            else "wsanalyze analyze runs/example --html report.html",
            notes=("The order of the layers is that of the file.",),
        ),
        log=_log(checkpoints) if rich else TrainingLog(),
    )
    return _trends_of(series, labels, rng, rich=rich)


def without_clusters(trends: Trends) -> Trends:
    """The same series where nothing could be clustered: no points, no clusters, all labels -1."""
    num_layers = len(trends.series.rows)
    return dataclasses.replace(
        trends,
        points=np.full((num_layers, 0), np.nan),
        explained=np.zeros(0),
        labels=np.full(num_layers, -1, dtype=np.int64),
        confidence=np.full(num_layers, np.nan),
        outliers=np.zeros(num_layers, dtype=bool),
        clusters=(),
        quality=Quality(k=0, structure=False, silhouette=None, stability=None, text="No layer could be clustered."),
        touched={},
        headline=(),
        notes=(),
        depth=None,
        phases=(),
        windows=(),
    )


def by_kind(trends: Trends) -> Trends:
    """The same series where rows of each kind were clustered by themselves: two clusters of each of four kinds."""
    kinds = np.array([str(row.kind) for row in trends.series.rows])
    clustered = np.isfinite(trends.points).all(axis=1)
    values = trends.values
    labels = np.full(len(kinds), -1, dtype=np.int64)
    clusters, qualities = [], []
    for kind in ("conv", "pointwise", "depthwise", "linear"):
        rows = np.flatnonzero((kinds == kind) & clustered)
        for members in np.array_split(rows, 2):
            labels[members] = len(clusters)
            clusters.append(dataclasses.replace(_cluster(len(clusters), members, values, 0), kind=kind))
        text = "2 trends, well apart (silhouette 0.61) and stable (adjusted Rand index 0.90)."
        qualities.append(KindQuality(kind, len(rows), _sure(2, text)))
    return dataclasses.replace(
        trends,
        options=dataclasses.replace(trends.options, by_kind=True),
        labels=labels,
        clusters=tuple(clusters),
        kinds=tuple(qualities),
        quality=_sure(len(clusters), "8 trends in 4 kinds."),
        headline=("40 layers of 4 kinds follow 8 trends.",),
        windows=(),
    )


def _sure(k: int, text: str) -> Quality:
    return Quality(k=k, structure=True, silhouette=0.61, stability=0.9, text=text, p_value=0.005)


def with_prefix(trends: Trends, prefix: str) -> Trends:
    """The same trends, with a prefix on the name of each row; no event or sentence has it."""
    rows = tuple(dataclasses.replace(row, name=prefix + row.name) for row in trends.series.rows)
    return dataclasses.replace(trends, series=dataclasses.replace(trends.series, rows=rows))


def only_states(trends: Trends) -> Trends:
    """The same layers where no cell has a number, and so nothing is clustered."""
    series = trends.series
    shape = series.states.shape
    empty = dataclasses.replace(
        series, sums=Sums.unmeasured(*shape), states=np.full(shape, State.NOT_COMPARABLE, dtype=object)
    )
    return dataclasses.replace(without_clusters(trends), series=empty)


def _names(num_layers: int, *, hostile: bool) -> list[str]:
    names = ["conv1.weight"]
    names += [
        f"layer{1 + i // 10}.{i // 2 % 5}.conv{1 + i % 2}.weight" for i in range(max(0, num_layers - len(names) - 1))
    ]
    names.append("fc.weight")
    names = names[:num_layers]
    if hostile:
        hostiles = HOSTILE_NAMES[:num_layers]
        names[: len(hostiles)] = hostiles
    return names


def _row(index: int, name: str, num_layers: int) -> Row:
    head = index == num_layers - 1 and num_layers > 1
    kind = Kind.HEAD if head else _KINDS[index % len(_KINDS)]
    shape = (10, 512) if kind in {Kind.HEAD, Kind.LINEAR} else (64, 64, 3, 3)
    module = name.rpartition(".")[0] or name
    return Row(name, module, module.rpartition(".")[0] or module, kind, index, shape)


def _sequence(num_changes: int, hostiles: tuple[str, ...] | list[str]) -> tuple[tuple, tuple]:
    """Checkpoints 0, 500, 1000, ... with, where there is room, a duplicate and one that cannot be read."""
    records = [
        CheckpointRecord(
            500 * i,
            f"checkpoint-{500 * i}",
            f"runs/example/checkpoint-{500 * i}",
            "ok",
            None,
            "safetensors, 2 shards",
            83_886_080,
        )
        for i in range(num_changes + 1)
    ]
    bad: set[int] = set()
    if num_changes >= 6:
        records.insert(
            4,
            CheckpointRecord(
                1750,
                "checkpoint-1750",
                "runs/example/checkpoint-1750",
                "duplicate",
                "the same weights as checkpoint-1500",
                "safetensors",
                83_886_080,
            ),
        )
        records.insert(
            7,
            CheckpointRecord(
                2750,
                "checkpoint-2750",
                "runs/example/checkpoint-2750",
                "unreadable",
                "the file ends after 1.2 MB of 83.9 MB",
                "torch zip",
                1_200_000,
            ),
        )
        bad = {4, 7}
    if hostiles:
        records = [
            dataclasses.replace(
                record,
                label=f"{record.label} {hostiles[i % len(hostiles)]}",
                origin=f"{record.origin}/{hostiles[(i + 3) % len(hostiles)]}",
                reason=record.reason and f"{record.reason} {hostiles[0]}",
            )
            for i, record in enumerate(records)
        ]
    good = [i for i in range(len(records)) if i not in bad]
    return tuple(records), tuple(itertools.pairwise(good))


def _curves(labels: np.ndarray, num_changes: int, rng: np.random.Generator) -> np.ndarray:
    """Relative weight changes, shape (L, P): one shape of curve a cluster, with noise."""
    time = np.linspace(0.0, 1.0, num_changes) if num_changes else np.zeros(0)
    shapes = np.array([0.25 * np.exp(-0.8 * time), 0.12 * np.exp(-6.0 * time) + 4e-4, 6e-3 + 2e-2 * time**3])
    level = np.exp(rng.normal(0.0, 0.12, size=(len(labels), 1)))
    noise = np.exp(rng.normal(0.0, 0.06, size=(len(labels), num_changes)))
    return shapes[labels] * level * noise


def _sums_of(rwc: np.ndarray) -> np.ndarray:
    """Sums of shape (L, P, 16) that have these ratios, for layers of 1000 weights of size 0.05."""
    before = 50.0
    given = {
        "n": 1000.0, "n_valid": 1000.0, "l1_delta": before * rwc, "l1_before": before, "l1_after": before * (1 + rwc),
        "sq_delta": 2.5 * rwc**2, "sq_before": 2.5, "sq_after": 2.5 * (1 + rwc**2), "dot_before_delta": 0.0,
        "max_delta": 0.2 * rwc, "changed": 1000.0, "sign_flips": 1000.0 * rwc / (1 + rwc), "rel_sum": 3000.0 * rwc,
        "rel_n": 1000.0,
    }  # fmt: skip
    values = np.zeros((*rwc.shape, len(SUM_NAMES)))
    for name, value in given.items():
        values[..., SUM_NAMES.index(name)] = value
    return values


def _put_states(sums: np.ndarray, states: np.ndarray) -> None:
    """Give some cells each state, in place, keeping most of every layer."""
    last = states.shape[0] - 1

    def unmeasured(row: int, change: int | slice, state: State) -> None:
        sums[row, change] = np.nan
        states[row, change] = state

    unmeasured(1, 3, State.MISSING)
    unmeasured(2, slice(0, 2), State.NEW)
    unmeasured(3, 2, State.RESIZED)
    unmeasured(4, slice(None), State.NOT_COMPARABLE)
    unmeasured(6, 1, State.UNREADABLE)
    for name in ("l1_delta", "sq_delta", "max_delta", "changed", "sign_flips"):
        sums[last, 0, SUM_NAMES.index(name)] = 0.0
    for name in ("l1_before", "sq_before", "rel_sum", "rel_n"):
        sums[7, 0, SUM_NAMES.index(name)] = 0.0
    sums[8, 2, SUM_NAMES.index("n_valid")] = 0.0


def _log(checkpoints: tuple) -> TrainingLog:
    """A loss every 100 steps, and one of the evaluation every 500, up to the last checkpoint."""
    last = checkpoints[-1].step
    steps = np.arange(100, last + 1, 100)
    loss = 0.25 + 2.0 * 0.5 ** (steps / 1000) + 0.05 * np.cos(steps)
    return TrainingLog(
        steps=steps,
        until=np.searchsorted([record.step for record in checkpoints], steps),
        values={
            "loss": loss,
            "eval_loss": np.where(steps % 500 == 0, 1.1 * loss, np.nan),
            "learning_rate": 5e-5 * np.minimum(steps / 500, (last - steps) / (last - 500)),
        },
    )


def _skips(names: list[str], *, hostile: bool) -> tuple[Skip, ...]:
    skips = [Skip(f"bn{i}.running_mean", "one dimension (--params all adds it)") for i in range(30)]
    if hostile:
        skips += [Skip(name, f"not comparable: {name}") for name in names[:6]]
    return tuple(skips)


def _measured_events(names: list[str], checkpoints: tuple) -> tuple[Event, ...]:
    if not names or len(checkpoints) < 8:
        return ()
    return (
        Event("duplicate", None, 4, f"{checkpoints[4].label} holds the same weights as {checkpoints[3].label}."),
        Event("unreadable", None, 7, f"{checkpoints[7].label} cannot be read; the change is measured across it."),
        Event("nonfinite", names[8 % len(names)], 3, f"{names[8 % len(names)]} is not finite.", {"count": 1000}),
    )


def _trends_of(series: ChangeSeries, labels: np.ndarray, rng: np.random.Generator, *, rich: bool) -> Trends:
    num_layers, num_changes = series.states.shape
    values = series.metric("rwc")
    lost = ~np.isfinite(values).any(axis=1)
    labels = np.where(lost, -1, labels)
    outliers = np.zeros(num_layers, dtype=bool)
    if num_layers >= 12:
        outliers[[9, num_layers - 2]] = True
        labels = np.where(outliers, -1, labels)
    centres = np.array([[2.2, 0.4], [-0.6, 1.8], [-1.4, -1.6]])
    points = centres[np.maximum(labels, 0)] + rng.normal(0.0, 0.3, size=(num_layers, 2))
    if outliers.any():
        points[outliers] = [[4.6, 3.6], [-4.2, 3.1]]
    points[lost] = np.nan
    confidence = np.where(labels < 0, np.nan, rng.uniform(0.35, 0.99, size=num_layers))
    clusters = tuple(
        _cluster(number, np.flatnonzero(labels == number), values) for number in range(3) if (labels == number).any()
    )
    k = len(clusters)
    several = k > 1
    quality = Quality(
        k=k,
        structure=several,
        silhouette=0.58 if several else None,
        stability=0.93 if several else None,
        text=f"{k} trends, found again in 93 % of resampled runs." if several else "One trend: nothing to tell apart.",
        p_value=0.005 if several else 0.4,
    )
    sizes = ", ".join(str(cluster.size) for cluster in clusters)
    return Trends(
        series=series,
        options=TrendOptions(),
        points=points,
        explained=np.array([0.71, 0.18]),
        labels=labels,
        confidence=confidence,
        outliers=outliers,
        clusters=clusters,
        quality=quality,
        touched={"spike": ((5, 4),), "gap": ((1, 3), (3, 2))} if rich else {},
        events=(Event("spike", series.names[5], series.pairs[4][1], f"{series.names[5]} changes 40 times as much as "
                      "around it.", {"times": 40.0}),) if rich else (),
        headline=(f"{num_layers} layers follow {k} trends ({sizes} layers).", "Most layers settle in the first third.")
        if num_layers and num_changes else ("There is nothing to compare.",),
        notes=("Gaps of single changes were filled by interpolation.",),
        depth=_profile(series, values) if rich else None,
        phases=_phases(num_changes, series.names) if rich else (),
        windows=_windows(labels, num_changes, series.names) if rich else (),
    )  # fmt: skip


def _profile(series: ChangeSeries, values: np.ndarray) -> DepthProfile:
    """One row a depth, and where its mass lies."""
    known = np.flatnonzero(np.isfinite(values).any(axis=1))
    depths = np.array([series.rows[i].depth for i in known])
    weights = np.nan_to_num(values[known])
    centre = (weights * ((depths - depths[0]) / (depths[-1] - depths[0]))[:, None]).sum(axis=0) / weights.sum(axis=0)
    text = f"Change stays in the first third of the depth, and is largest in {series.names[known[0]]}."
    return DepthProfile(tuple(depths.tolist()), values[known], centre, text)


def _phases(num_changes: int, names: tuple[str, ...]) -> tuple[Phase, ...]:
    middle = num_changes // 2
    return (
        Phase(0, middle - 1, 0.0612, "Everything learns."),
        Phase(middle, num_changes - 1, 0.00741, f"The middle third is frozen; {names[-1]} wakes."),
    )


def _windows(labels: np.ndarray, num_changes: int, names: tuple[str, ...]) -> tuple[Window, ...]:
    """Windows of a quarter that begin half as far apart; one row changes sides at each."""
    width = max(2, num_changes // 4)
    windows = []
    for number, first in enumerate(range(0, num_changes - width + 1, max(1, width // 2))):
        own = labels.copy()
        own[number % len(labels)] = 2
        moved = (number % len(labels),) if number else ()
        text = f"{names[moved[0]]} joins cluster 2." if moved else "3 trends."
        windows.append(Window(first, first + width - 1, own, moved, text))
    return tuple(windows)


def _cluster(number: int, members: np.ndarray, values: np.ndarray, summary: int | None = None) -> Cluster:
    curves = values[members]
    low, median, high = (
        tuple(None if np.isnan(column).all() else float(np.nanpercentile(column, q)) for column in curves.T)
        for q in (10, 50, 90)
    )
    made_of = f"{len(members)} of all kinds, depth {members[0]} to {members[-1]}"
    text = _SUMMARIES[number if summary is None else summary]
    return Cluster(number, tuple(int(i) for i in members), text, median, low, high, None, made_of)
