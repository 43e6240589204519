"""How often the right one of two copies is kept: by the way through all checkpoints, and by the nearest neighbours.

    python benchmarks/copies.py [--trainings 300] [--seed 0]

Simulates trainings of 4 to 13 checkpoints of four kinds, puts the weights of one checkpoint at the place of another,
and asks both rules which of the two stands where it belongs. Copies side by side count as right: both stand there.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from wsanalyze.likeness.find import choose_original
from wsanalyze.likeness.samples import Distances

Floats = NDArray[np.float64]
_SHAPE = (8, 1024)
_MOMENTUM = 0.9


def walk(pace: Callable[[int], float]) -> Callable[[np.random.Generator, int], Floats]:
    """A training whose steps are independent, of a size that depends on the step."""

    def run(rng: np.random.Generator, length: int) -> Floats:
        steps = [pace(step) * rng.normal(size=_SHAPE) for step in range(length - 1)]
        return np.cumsum([rng.normal(size=_SHAPE), *steps], axis=0)

    return run


def drift(rng: np.random.Generator, length: int) -> Floats:
    """A training whose steps keep most of their direction."""
    states, velocity = [rng.normal(size=_SHAPE)], rng.normal(size=_SHAPE)
    for _ in range(length - 1):
        velocity = _MOMENTUM * velocity + np.sqrt(1 - _MOMENTUM**2) * rng.normal(size=_SHAPE)
        states.append(states[-1] + 0.03 * velocity)
    return np.array(states)


TRAININGS = {
    "even": walk(lambda _: 0.05),
    "decaying": walk(lambda step: 0.2 * 0.7**step),
    "growing": walk(lambda step: 0.01 * 1.3**step),
    "with momentum": drift,
}


def choose_by_neighbours(members: Sequence[int], others: Sequence[int], distances: Distances) -> int:
    """The one whose farther neighbour is nearest; the first where that is even."""

    def farthest(index: int) -> float:
        around = [o for o in others if o < index][-1:] + [o for o in others if o > index][:1]
        return max((distances.relative(index, other) for other in around), default=0.0)

    return min(members, key=lambda index: (farthest(index), index))


def main() -> None:
    """Simulate, ask both rules, print how many of them were right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(f"{'training':14} {'way':>6} {'neighbours':>11}   right of {options.trainings}")
    for name, run in TRAININGS.items():
        right = {"way": 0, "neighbours": 0}
        for _ in range(options.trainings):
            length = int(rng.integers(4, 14))
            samples = run(rng, length).astype(np.float32)
            true, wrong = (int(place) for place in rng.choice(length, 2, replace=False))
            samples[wrong] = samples[true]
            others = [index for index in range(length) if index not in (true, wrong)]
            distances, members = Distances(samples), sorted((true, wrong))
            beside = abs(true - wrong) == 1
            right["way"] += beside or choose_original(members, others, distances) == true
            right["neighbours"] += beside or choose_by_neighbours(members, others, distances) == true
        print(f"{name:14} {right['way']:6} {right['neighbours']:11}")


if __name__ == "__main__":
    main()
