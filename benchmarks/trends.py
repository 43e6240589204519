"""How well trends are found in tables with a known answer, by each method.

    python benchmarks/trends.py [--tables 100] [--nulls 200] [--seed 1] [--methods robust paper ...] [--families ...]

Prints for each method and family the adjusted Rand index of the clusters against the groups, over the layers that are
in one (a cluster is a cluster, being in none is one more): mean, 5th percentile and least; the share of outliers found,
and of the others taken for some; the share of tables in which more than one trend was seen; and the time of a table.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from planted import FAMILIES, make_table
from tables import describe_machine

from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row, State
from wsanalyze.sums import Sums
from wsanalyze.trends.base import Partition, TrendOptions
from wsanalyze.trends.cluster import limit_threads
from wsanalyze.trends.methods import METHODS


@dataclass(frozen=True, slots=True)
class Score:
    """How one table came out.

    Attributes:
        index: Adjusted Rand index.
        outliers: Layers without a group.
        found: How many of them were told.
        others: Layers with one.
        accused: How many of them were taken for outliers.
        k: Trends seen.
        groups: Trends that there are.
        shape: Layers and changes.
        seconds: Time that the method took.
    """

    index: float
    outliers: int
    found: int
    others: int
    accused: int
    k: int
    groups: int
    shape: tuple[int, ...]
    seconds: float


def make_series(changes: np.ndarray) -> ChangeSeries:
    """A table as a series of rwc, as `wsanalyze trends` reads it."""
    num_rows, num_changes = changes.shape
    names = [f"layers.{row}.weight" for row in range(num_rows)]
    states = np.full(changes.shape, None, dtype=object)
    states[np.isnan(changes)] = State.MISSING
    return ChangeSeries(
        checkpoints=tuple(CheckpointRecord(step, f"step {step}", "") for step in range(num_changes + 1)),
        rows=tuple(Row(name, name, name, Kind.OTHER, depth, ()) for depth, name in enumerate(names)),
        pairs=tuple((change, change + 1) for change in range(num_changes)),
        sums=Sums.absent(num_rows, num_changes),
        states=states,
        given={"rwc": changes},
    )


def score(method: str, family: str, seed: Sequence[int]) -> Score:
    """Judge a method by one table of a family."""
    from sklearn.metrics import adjusted_rand_score

    table = make_table(np.random.default_rng(seed), FAMILIES[family])
    series = make_series(table.changes)
    begin = time.perf_counter()
    with limit_threads():
        found: Partition = METHODS[method](series, TrendOptions(method=method))
    seconds = time.perf_counter() - begin
    inside = table.groups >= 0
    return Score(
        float(adjusted_rand_score(table.groups[inside], found.labels[inside])),
        int((~inside).sum()),
        int(found.outliers[~inside].sum()),
        int(inside.sum()),
        int(found.outliers[inside].sum()),
        int(found.labels.max(initial=-1)) + 1,
        int(table.groups.max()) + 1,
        table.changes.shape,
        seconds,
    )


def summarize(family: str, scores: Sequence[Score]) -> str:
    """One line of the table."""
    index = np.array([each.index for each in scores])
    outliers, others = sum(each.outliers for each in scores), sum(each.others for each in scores)
    found = f"{sum(each.found for each in scores) / outliers:.2f}" if outliers else "-"
    cells = (
        family,
        f"{len(scores)}",
        f"{index.mean():.3f}",
        f"{np.percentile(index, 5):.2f}",
        f"{index.min():.2f}",
        found,
        f"{sum(each.accused for each in scores) / others:.2%}",
        f"{np.mean([each.k > 1 for each in scores]):.1%}",
        f"{np.mean([each.seconds for each in scores]):.2f}",
    )
    return f"| {' | '.join(cells)} |"


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """The lines of the report."""
    yield describe_machine()
    with ProcessPoolExecutor() as pool:
        for method in arguments.methods:
            yield f"\n**{method}**\n"
            yield "| family | tables | mean | 5th percentile | least | outliers found | others accused | k > 1 | s |"
            yield "|---|---|---|---|---|---|---|---|---|"
            for place, family in enumerate(FAMILIES):
                if family not in arguments.families:
                    continue
                number = arguments.nulls if FAMILIES[family].null else arguments.tables
                seeds = [(arguments.seed, place, table) for table in range(number)]
                scores = list(pool.map(partial(score, method, family), seeds, chunksize=4))
                yield summarize(family, scores)
                if arguments.worst:
                    for seed, each in sorted(zip(seeds, scores, strict=True), key=lambda pair: pair[1].index)[
                        : arguments.worst
                    ]:
                        yield f"    {seed} {each}"


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100, help="tables a family")
    parser.add_argument("--nulls", type=int, default=200, help="tables a family with one trend")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--worst", type=int, default=0, help="also the worst tables of each family")
    for line in run(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
