"""How well phases are found: tables with breaks at known changes, and tables without any.

    python benchmarks/phases.py [--tables 100] [--seed 0]

Prints three tables in Markdown: for each kind of training with jumps the share of them that is found within one
change, and the share of those found that are there; the same of turns, within two changes; and for each kind without
either the share of tables that are divided nevertheless. Jumps are of 0.3 to 1 decade in 60 to 100 % of the rows, one
to three of them. Numbers of changes are 25 to 150, of rows 20 to 200; noise is 0.05 to 0.15 decades, and each row has a
level of its own and follows the course more or less closely.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tables import describe_machine, make_table

from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Row
from wsanalyze.sums import Sums
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.phases import find_phases

FloatArray = NDArray[np.float64]
Random = np.random.Generator

NEAR: Final = 1
NEAR_TURN: Final = 2
STEPS: Final = 1000


def draw_size(random: Random) -> tuple[int, int]:
    """Number of rows and of changes of a table."""
    return int(random.choice([20, 60, 200])), int(random.choice([25, 40, 60, 100, 150]))


def draw_power_law(random: Random, time: FloatArray) -> FloatArray:
    """Decades of a course that falls as a power of time."""
    course: FloatArray = -random.uniform(0.2, 1.2) * np.log10(time / time[0] + random.uniform(0, 3))
    return course


def draw_exponential(random: Random, time: FloatArray) -> FloatArray:
    """Decades of a course that falls by half again and again."""
    course: FloatArray = -random.uniform(0.3, 2) * time / time[-1]
    return course


def draw_cosine(random: Random, time: FloatArray) -> FloatArray:
    """Decades of a learning rate that follows a cosine to a hundredth, with a power law on top."""
    x = (time - time[0] / 2) / time[-1]
    course: FloatArray = np.log10(0.01 + 0.495 * (1 + np.cos(np.pi * x))) + 0.3 * draw_power_law(random, time)
    return course


def draw_saturating(random: Random, time: FloatArray) -> FloatArray:
    """Decades of a course that falls early and then stays."""
    course: FloatArray = random.uniform(0.5, 1.5) * np.exp(-time / time[-1] * random.uniform(3, 12))
    return course


def draw_warm_up(random: Random, time: FloatArray, place: int) -> FloatArray:
    """Decades of a learning rate that rises in proportion to time up to a place, then falls along a cosine."""
    after = np.maximum(0.0, time - time[place - 1]) / (time[-1] - time[place - 1])
    fall = np.log10(0.02 + 0.49 * (1 + np.cos(np.pi * after)))
    course: FloatArray = np.minimum(0.0, np.log10(time / time[place])) + random.uniform(0.5, 1.0) * fall
    return course


def draw_hump(random: Random, time: FloatArray, place: int) -> FloatArray:
    """Decades of a broad hump, highest at a place."""
    width = random.uniform(0.1, 0.25) * time[-1]
    course: FloatArray = random.uniform(0.6, 1.2) * np.exp(-(((time - time[place]) / width) ** 2))
    return course


def draw_constant(_random: Random, time: FloatArray) -> FloatArray:
    """A level course."""
    return np.zeros(len(time))


COURSES: Final = {
    "level": draw_constant,
    "power law": draw_power_law,
    "exponential": draw_exponential,
    "cosine": draw_cosine,
    "saturating": draw_saturating,
}
NOISES: Final = ("correlated noise", "common noise", "common correlated noise", "common random walk", "loss spikes")
NAMES: Final = (*COURSES, *NOISES, "log-spaced steps", "steps of Pythia")


def correlate(noise: FloatArray, memory: float) -> FloatArray:
    """Noise of the same variance whose values remember the one before, along the last axis."""
    found = noise.copy()
    for place in range(1, noise.shape[-1]):
        found[..., place] = memory * found[..., place - 1] + np.sqrt(1 - memory**2) * noise[..., place]
    return found


def make_rows(random: Random, draw: Callable[[Random, FloatArray], FloatArray], time: FloatArray, n: int) -> FloatArray:
    """Decades of n rows that follow one course, each a little differently, with a level and noise of its own."""
    course = draw(random, time)
    own = random.normal(1, 0.2, (n, 1)) * course + random.normal(-1.5, 0.4, (n, 1))
    return own + random.normal(0, random.uniform(0.05, 0.15), own.shape)


def plant_breaks(random: Random, logs: FloatArray) -> tuple[FloatArray, list[int]]:
    """Break one to three times, at least an eighth of all changes apart and five."""
    n, num_changes = logs.shape
    gap = max(5, num_changes // 8)
    places: list[int] = []
    for _ in range(int(random.integers(1, 4))):
        free = [p for p in range(gap, num_changes - gap + 1) if all(abs(p - other) >= gap for other in places)]
        places += [int(random.choice(free))] if free else []
    logs = logs.copy()
    for place in places:
        jump = random.uniform(0.3, 1.0) * random.choice([-1, -1, 1])
        rows = np.flatnonzero(random.random(n) < random.uniform(0.6, 1.0))
        logs[rows, place:] += jump * random.lognormal(0, 0.2, (len(rows), 1))
    return logs, sorted(places)


def add_loss_spikes(random: Random, logs: FloatArray) -> FloatArray:
    """Let one or two changes be larger in all rows."""
    logs = logs.copy()
    for place in random.choice(logs.shape[1], int(random.integers(1, 3)), replace=False):
        logs[:, place] += random.uniform(0.3, 1.5)
    return logs


def make_series(logs: FloatArray, steps: Sequence[int] | None = None) -> ChangeSeries:
    """A series of those changes; steps are even unless given."""
    n, num_changes = logs.shape
    steps = steps or [STEPS * place for place in range(num_changes + 1)]
    return ChangeSeries(
        checkpoints=tuple(CheckpointRecord(step, f"step{step}", "planted") for step in steps),
        rows=tuple(Row(f"layer{row}", f"layer{row}", "", Kind.OTHER, row, (2, 2)) for row in range(n)),
        pairs=tuple((place, place + 1) for place in range(num_changes)),
        sums=Sums.unmeasured(n, num_changes),
        states=np.full(logs.shape, None, dtype=object),
        given={"rwc": 10.0**logs},
    )


def spread_steps(num_changes: int) -> list[int]:
    """Steps that double up to 512 and go on in thousands, as those of Pythia; all doubled where they are few."""
    return [0, *(2**power for power in range(10)), *(1000 * (1 + place) for place in range(num_changes - 10))]


def log_steps(num_changes: int) -> list[int]:
    """Steps that grow by a constant factor, to 100,000."""
    steps = np.unique(np.round(np.geomspace(10, 100_000, num_changes)).astype(int))
    return [0, *steps.tolist()]


def draw_table(random: Random, name: str, *, broken: bool) -> tuple[ChangeSeries, list[int]]:
    """A table of that name, and the changes that it breaks before."""
    n, num_changes = draw_size(random)
    steps = None
    draw = COURSES.get(name) or list(COURSES.values())[int(random.integers(len(COURSES)))]
    if name in ("log-spaced steps", "steps of Pythia"):
        steps = log_steps(num_changes) if name == "log-spaced steps" else spread_steps(num_changes)
        num_changes = len(steps) - 1
    time = np.arange(1, num_changes + 1, dtype=np.float64) if steps is None else np.array(steps[1:], dtype=np.float64)
    if name == "common noise":
        draw = draw_constant
    logs = make_rows(random, draw, time, n)
    if name == "correlated noise":
        logs += correlate(random.normal(0, 0.15, logs.shape), 0.9)
    if name == "common noise":
        common = random.normal(0, random.uniform(0.02, 0.1), num_changes)
        logs += common
    if name == "common correlated noise":
        logs += correlate(random.normal(0, random.uniform(0.05, 0.3), num_changes), random.uniform(0.5, 0.95))
    if name == "common random walk":
        logs += random.normal(0, random.uniform(0.02, 0.1), num_changes).cumsum()
    if name == "loss spikes":
        logs = add_loss_spikes(random, logs)
    if steps is not None:
        logs += random.uniform(0, 1) * np.log10(np.diff(steps))
    places: list[int] = []
    if broken:
        logs, places = plant_breaks(random, logs)
    return make_series(logs, steps), places


def draw_turn(random: Random, name: str) -> tuple[ChangeSeries, list[int]]:
    """A table whose course turns round once, and the change at which it does."""
    n, num_changes = draw_size(random)
    time = np.arange(1, num_changes + 1, dtype=np.float64)
    place = max(4, int(num_changes * random.uniform(0.05, 0.2) if name == "warm-up" else random.uniform(0.3, 0.7)))
    if name == "hump":
        place = int(num_changes * random.uniform(0.3, 0.7))
    draw = draw_warm_up if name == "warm-up" else draw_hump
    return make_series(make_rows(random, lambda own, at: draw(own, at, place), time, n)), [place]


def match(places: Sequence[int], found: Sequence[int], near: int) -> int:
    """How many of the places were found."""
    return sum(any(abs(place - other) <= near for other in found) for place in places)


def judge(tables: Iterable[tuple[ChangeSeries, list[int]]], near: int = NEAR) -> tuple[float, float, float]:
    """Shares: of places that were found, of those found that are there, of tables that were divided."""
    planted = hits = told = true = divided = number = 0
    for series, places in tables:
        phases, _ = find_phases(series, series.metric(), TrendOptions())
        found = [phase.first for phase in phases[1:]]
        planted, told, divided, number = planted + len(places), told + len(found), divided + bool(found), number + 1
        hits, true = hits + match(places, found, near), true + match(found, places, near)
    return hits / max(1, planted), true / max(1, told), divided / number


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100, help="tables of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(describe_machine())

    def seeds(name: str) -> list[Random]:
        return [np.random.default_rng([args.seed, index, *name.encode()]) for index in range(args.tables)]

    broken, turned, whole = [], [], []
    for name in NAMES:
        found, true, _ = judge(draw_table(random, name, broken=True) for random in seeds(name))
        broken.append([name, f"{found:.3f}", f"{true:.3f}"])
        _, _, divided = judge(draw_table(random, name, broken=False) for random in seeds(name))
        whole.append([name, f"{divided:.3f}"])
    for name in ("warm-up", "hump"):
        found, true, _ = judge((draw_turn(random, name) for random in seeds(name)), NEAR_TURN)
        turned.append([name, f"{found:.3f}", f"{true:.3f}"])
    print("", make_table(["jumps in", "found", "true"], broken), sep="\n")
    print("", make_table(["turns in", "found", "true"], turned), sep="\n")
    print("", make_table(["nothing in", "tables divided"], whole), sep="\n")


if __name__ == "__main__":
    main()
