"""Which part of a network has levels apart from the rest: a kind of rows, or a third of the depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.series import Kind, Row
from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.words import BoolArray, count_noun

_LEAST_ROWS: Final = 3
_LEAST_RATIO: Final = 2.0
_LEAST_ORDER: Final = 0.9
_MOST_SHARE: Final = 0.7
_MAX_DECADES: Final = 300.0
_PARTS: Final = ("first", "middle", "last")


@dataclass(frozen=True, slots=True)
class Contrast:
    """A part of the network that lies above the rest.

    Attributes:
        rows: Its rows.
        kind: Their kind, or None for a part of the depth.
        part: "first", "middle" or "last", where it is a third of the depth.
        inside: Median of their levels.
        outside: Median of the levels of all others.
        others: Number of those.
    """

    rows: tuple[int, ...]
    kind: Kind | None
    part: str
    inside: float
    outside: float
    others: int

    @property
    def ratio(self) -> float:
        """How many times higher it lies; the largest number there is where that has none."""
        decades = np.log10(self.inside) - np.log10(self.outside)
        return float(10 ** min(_MAX_DECADES, decades))

    def name(self, noun: str) -> str:
        """The rows at the beginning of a sentence: "The 36 lora B", "The 12 layers in the first third"."""
        if self.kind is not None:
            return f"The {count_noun(len(self.rows), f'{self.kind} {noun}')}"
        return f"The {count_noun(len(self.rows), noun)} in the {self.part} third of the network"


def find_contrast(rows: Sequence[Row], levels: FloatArray) -> Contrast | None:
    """Find the part of the network whose levels lie highest above those of the rest.

    Args:
        rows: L rows.
        levels: float64 of shape (L,), NaN for those without a number.

    Returns:
        The kind, or else the third of the depth, with the largest ratio of medians, of those at least twice above the
        rest of which nine in ten pairs of rows are in that order; None where there is none.
    """
    known = np.isfinite(levels)
    kinds = np.array([str(row.kind) for row in rows])
    found = [
        contrast
        for kind in dict.fromkeys(row.kind for row in rows)
        if kind is not Kind.OTHER and (contrast := _compare(levels, known, kinds == str(kind), kind, ""))
    ]
    if not found:
        thirds = _find_thirds(rows)
        found = [
            contrast
            for index, part in enumerate(_PARTS)
            if (contrast := _compare(levels, known, thirds == index, None, part))
        ]
    return max(found, key=lambda contrast: contrast.ratio, default=None)


def _find_thirds(rows: Sequence[Row]) -> LabelArray:
    """Third of the network that each row lies in, by the rank of its depth, int64 of shape (L,)."""
    depths = np.array([row.depth for row in rows])
    distinct = np.unique(depths)
    return np.minimum(3 * np.searchsorted(distinct, depths) // len(distinct), 2).astype(np.int64)


def _compare(levels: FloatArray, known: BoolArray, inside: BoolArray, kind: Kind | None, part: str) -> Contrast | None:
    own, others = levels[known & inside], np.sort(levels[known & ~inside])
    if min(len(own), len(others)) < _LEAST_ROWS or len(own) > _MOST_SHARE * known.sum():
        return None
    above, below = float(np.median(own)), float(np.median(others))
    order = float(np.searchsorted(others, own).mean()) / len(others)
    if not 0 < below <= above / _LEAST_RATIO or order < _LEAST_ORDER:
        return None
    return Contrast(tuple(np.flatnonzero(known & inside).tolist()), kind, part, above, below, len(others))
