"""Tables of changes with a known answer: groups of layers that share a course, noise, and whatever disturbs them.

A course is a curve of log10 changes. A layer follows that of its group at a level of its own, with noise and, in some
families, spikes, missing cells, a strength of its own, or no group at all. In a null family all share one course.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEAST_APART: Final = 0.25
_LEVEL, _LEVEL_SPREAD = -1.5, 0.35
_CORRELATION: Final = 0.6
_TAIL: Final = 3


@dataclass(frozen=True, slots=True)
class Family:
    """What the tables of a family are made of.

    Attributes:
        noise: Standard deviation of the noise of a cell, decades.
        kind: "normal", "heavy" (Student's t with 3 degrees of freedom) or "correlated" (0.6 from change to change).
        uneven: Standard deviation of the natural logarithm of the layers' own noise over `noise`.
        spikes: Share of cells that jump up by 1 to 2.5 decades.
        gaps: Share of cells without a number.
        outliers: Share of layers that follow no group.
        strengths: Standard deviation of the factor by which a layer follows its group's course.
        null: Whether there is one group.
        lengths: Numbers of changes to draw from.
        sizes: Numbers of layers to draw from.
    """

    noise: float
    kind: str = "normal"
    uneven: float = 0.0
    spikes: float = 0.0
    gaps: float = 0.0
    outliers: float = 0.0
    strengths: float = 0.0
    null: bool = False
    lengths: tuple[int, ...] = (12, 25, 60, 150)
    sizes: tuple[int, ...] = (36, 80, 160, 400)


FAMILIES: Final = {
    "clean": Family(0.05),
    "noisy": Family(0.15),
    "spikes": Family(0.08, spikes=0.02),
    "outliers": Family(0.08, spikes=0.01, outliers=0.06),
    "gaps": Family(0.08, spikes=0.01, gaps=0.05, outliers=0.03),
    "uneven": Family(0.08, uneven=0.5),
    "heavy": Family(0.06, kind="heavy"),
    "correlated": Family(0.06, kind="correlated"),
    "strengths": Family(0.06, strengths=0.12),
    "few": Family(0.06, lengths=(8, 10, 15), sizes=(14, 20, 30)),
    "null": Family(0.12, spikes=0.01, null=True),
    "null, quiet": Family(0.02, null=True),
    "null, uneven": Family(0.1, uneven=0.5, null=True),
    "null, heavy": Family(0.08, kind="heavy", null=True),
    "null, correlated": Family(0.1, kind="correlated", null=True),
    "null, strengths": Family(0.05, strengths=0.15, null=True),
    "null, few": Family(0.1, null=True, lengths=(6, 8, 10, 15), sizes=(8, 14, 20, 30)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A table and its answer.

    Attributes:
        changes: float64 of shape (L, P); NaN where there is no number.
        groups: int64 of shape (L,), -1 for a layer that follows no group.
    """

    changes: Floats
    groups: NDArray[np.int64]


def make_table(rng: np.random.Generator, family: Family) -> Planted:
    """Draw a table; the same generator gives the same one."""
    length, size = int(rng.choice(family.lengths)), int(rng.choice(family.sizes))
    num_groups = 1 if family.null else int(rng.integers(2, 4 if size < 36 else 7))  # noqa: PLR2004 - few layers
    courses = draw_courses(rng, length, num_groups)
    groups = _draw_groups(rng, size, num_groups, round(family.outliers * size))
    strengths = 1 + family.strengths * rng.normal(size=size)
    logs = strengths[:, None] * courses[groups] + rng.normal(_LEVEL, _LEVEL_SPREAD, size)[:, None]
    # What all layers share, such as a schedule of the learning rate, is no reason to tell them apart.
    logs += rng.integers(2) * _COURSES[int(rng.integers(len(_COURSES)))](rng, np.linspace(0, 1, length))
    for row in np.flatnonzero(groups < 0):
        logs[row] = _draw_stray(rng, length) + rng.normal(_LEVEL, _LEVEL_SPREAD)
    logs += _draw_noise(rng, family, logs.shape)
    logs += (rng.random(logs.shape) < family.spikes) * rng.uniform(1, 2.5, logs.shape)
    changes = 10.0**logs
    changes[rng.random(logs.shape) < family.gaps] = np.nan
    return Planted(changes, groups)


def draw_courses(rng: np.random.Generator, length: int, number: int) -> Floats:
    """Courses that differ by 0.25 decades or more in root mean square, float64 of shape (number, length)."""
    found: list[Floats] = []
    while len(found) < number:
        course = _COURSES[int(rng.integers(len(_COURSES)))](rng, np.linspace(0, 1, length))
        course -= course.mean()
        if all(np.sqrt(np.mean((course - other) ** 2)) >= _LEAST_APART for other in found):
            found.append(course)
    return np.array(found)


def _draw_groups(rng: np.random.Generator, size: int, number: int, strays: int) -> NDArray[np.int64]:
    """Groups of random sizes, none with fewer than three members."""
    share = rng.dirichlet(np.full(number, 3.0)) * 0.7 + 0.3 / number
    groups = rng.choice(number, size, p=share)
    mixed = rng.permutation(size)
    groups[mixed[: 3 * number]] = np.repeat(np.arange(number), 3)
    groups[mixed[size - strays :]] = -1
    return groups


def _draw_noise(rng: np.random.Generator, family: Family, shape: tuple[int, int]) -> Floats:
    noise = rng.normal(size=shape)
    if family.kind == "heavy":
        noise = rng.standard_t(_TAIL, size=shape) / np.sqrt(_TAIL)
    if family.kind == "correlated":
        for change in range(1, shape[1]):
            own = np.sqrt(1 - _CORRELATION**2) * noise[:, change]
            noise[:, change] = _CORRELATION * noise[:, change - 1] + own
    return family.noise * np.exp(family.uneven * rng.normal(size=shape[0]))[:, None] * noise


def _draw_stray(rng: np.random.Generator, length: int) -> Floats:
    """The course of a layer that follows no other: a walk, noise, or pieces at levels of their own."""
    match int(rng.integers(3)):
        case 0:
            return np.cumsum(rng.normal(0, 0.35, length))
        case 1:
            return rng.normal(0, 0.6, length)
        case _:
            ends = np.sort(rng.choice(np.arange(1, length), 3, replace=False))
            return np.repeat(rng.normal(0, 0.8, 4), np.diff([0, *ends, length]))


def _decay(rng: np.random.Generator, x: Floats) -> Floats:
    return -rng.uniform(0.5, 1.2) * np.log10(1 + rng.uniform(5, 60) * x)


def _slope(rng: np.random.Generator, x: Floats) -> Floats:
    return float(rng.choice([-1, 1])) * rng.uniform(0.6, 1.6) * x


def _step(rng: np.random.Generator, x: Floats) -> Floats:
    """A learning rate that drops, a layer that freezes or wakes."""
    size = float(rng.choice([-1, 1])) * rng.uniform(0.6, 1.6)
    return size / (1 + np.exp(-(x - rng.uniform(0.2, 0.8)) * rng.uniform(15, 60)))


def _hump(rng: np.random.Generator, x: Floats) -> Floats:
    size = float(rng.choice([-1, 1])) * rng.uniform(0.6, 1.6)
    return size * np.exp(-(((x - rng.uniform(0.15, 0.85)) / rng.uniform(0.08, 0.2)) ** 2))


def _wave(rng: np.random.Generator, x: Floats) -> Floats:
    return rng.uniform(0.3, 0.6) * np.sin(2 * np.pi * (x * rng.uniform(1, 3) + rng.random()))


def _flat(_rng: np.random.Generator, x: Floats) -> Floats:
    return np.zeros_like(x)


def _warm_up(rng: np.random.Generator, x: Floats) -> Floats:
    return np.minimum(x / rng.uniform(0.1, 0.4), 1.0) * rng.uniform(0.6, 1.4) - rng.uniform(0, 0.6) * x


_COURSES: Final[tuple[Callable[[np.random.Generator, Floats], Floats], ...]] = (
    _decay,
    _slope,
    _step,
    _hump,
    _wave,
    _flat,
    _warm_up,
)
