"""Metrics derived from stored sums: a registry of formulas. NumPy only.

References:
    docs/method.md, "Metrics"; arXiv 2011.06735, eq. 1 for `rwc`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import UsageError
from wsanalyze.sums import Sums

FloatArray = NDArray[np.float64]


class Span(StrEnum):
    """Pairs of checkpoints that some metrics need beside the successive ones; one ends where each change ends."""

    FIRST = "first"
    """From the first checkpoint."""
    TWO = "two"
    """From the one before the last change: over two changes; where the first change ends, none does."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to turn sums into a number.

    Attributes:
        name: The name on the command line.
        title: What reports call it.
        unit: The unit of its values; "ratio" and "share" have none.
        formula: The formula in the names of the stored sums.
        compute: From sums of shape (L, P) and step distances of shape (P,) (NaN where unknown or not
            positive) to values of shape (L, P); where `path` or `norms` is true, in place of the distances, from
            what is said there. May divide by zero: the caller decides which cells are states.
        absolute: The change itself, not divided by the weights, shape (L, P): what is shown beside `from zero`.
        relative: Whether the metric divides by the size of the weights before, so that zero weights give it
            no number (states `zero` and `from zero`).
        needs_steps: Whether the metric is defined only between increasing steps.
        span: Which pairs the sums are of, where it is not the successive ones.
        path: Whether a span is compared with the changes that it consists of, all of the same elements. `compute`
            then takes norms of shape (N, L, P): of both changes for `Span.TWO`, their total for `Span.FIRST`.
        norms: Whether spectral norms are needed. `compute` then takes them, shape (2, L, P): of the changes and of the
            weights before. The absolute change is that norm as well.
        linear: Whether values are compared and drawn as they are, not by logarithms: they are within -1..1, and 0
            does not mean that nothing changes.
    """

    name: str
    title: str
    unit: str
    formula: str
    compute: Callable[[Sums, FloatArray], FloatArray]
    absolute: Callable[[Sums], FloatArray]
    relative: bool = True
    needs_steps: bool = False
    span: Span | None = None
    path: bool = False
    norms: bool = False
    linear: bool = False


def _l1(sums: Sums) -> FloatArray:
    return sums["l1_delta"]


def _l2(sums: Sums) -> FloatArray:
    return np.sqrt(sums["sq_delta"])


def _rwc(sums: Sums, _gaps: FloatArray) -> FloatArray:
    return sums["l1_delta"] / sums["l1_before"]


def _angle(sums: Sums, _gaps: FloatArray) -> FloatArray:
    """Stable where acos of a normalised dot product loses all digits: sin and cos are built from d, not from w."""
    scale = sums["sq_before"]
    delta, dot = sums["sq_delta"] / scale, sums["dot_before_delta"] / scale
    angle = np.arctan2(np.sqrt(np.maximum(0.0, delta - dot * dot)), 1.0 + dot)
    return np.where(sums["l1_after"] > 0, angle, np.nan)  # weights that are all 0 point nowhere


def _l2_ratio(sums: Sums, _gaps: FloatArray) -> FloatArray:
    return np.sqrt(sums["sq_delta"] / sums["sq_before"])


def _rotation(sums: Sums, gaps: FloatArray) -> FloatArray:
    """1 - cos, without the digits that the difference loses for small angles."""
    half: FloatArray = np.sin(_angle(sums, gaps) / 2)
    return 2 * half * half


def _coherence(sums: Sums, norms: FloatArray) -> FloatArray:
    """The product of two changes from the squares of both and of their sum, all by norms: no square is squared."""
    earlier, later = norms
    both = _l2(sums)
    cosine: FloatArray = np.clip((both / later * (both / earlier) - earlier / later - later / earlier) / 2, -1.0, 1.0)
    return cosine


def _efficiency(sums: Sums, norms: FloatArray) -> FloatArray:
    share: FloatArray = np.minimum(_l2(sums) / norms[0], 1.0)
    return share


def _spectral(_sums: Sums, norms: FloatArray) -> FloatArray:
    ratio: FloatArray = norms[0] / norms[1]
    return ratio


def _rank(sums: Sums, norms: FloatArray) -> FloatArray:
    ratio = _l2(sums) / norms[0]
    rank: FloatArray = np.maximum(1.0, ratio * ratio)  # but for rounding, it is never less
    return rank


_ALL: Final = (
    Metric("rwc", "relative weight change", "ratio", "l1_delta / l1_before", _rwc, _l1),
    Metric(
        "rwc-elementwise",
        "mean elementwise relative change",
        "ratio",
        "rel_sum / rel_n",
        lambda s, _: s["rel_sum"] / s["rel_n"],
        _l1,
    ),
    Metric(
        "l2",
        "relative Frobenius change",
        "ratio",
        "sqrt(sq_delta / sq_before)",
        _l2_ratio,
        _l2,
    ),
    Metric(
        "angle",
        "angle between before and after",
        "radians",
        "atan2(sqrt(max(0, sq_before * sq_delta - dot^2)), sq_before + dot)",
        _angle,
        _l2,
    ),
    Metric(
        "flips",
        "share of weights that change sign",
        "share",
        "sign_flips / n_valid",
        lambda s, _: s["sign_flips"] / s["n_valid"],
        _l1,
        relative=False,
    ),
    Metric(
        "changed",
        "share of weights that change",
        "share",
        "changed / n_valid",
        lambda s, _: s["changed"] / s["n_valid"],
        _l1,
        relative=False,
    ),
    Metric(
        "rate",
        "relative weight change per root of step",
        "ratio per sqrt(step)",
        "rwc / sqrt(steps)",
        lambda s, gaps: _rwc(s, gaps) / np.sqrt(gaps),
        _l1,
        needs_steps=True,
    ),
    Metric(
        "rate-linear",
        "relative weight change per step",
        "ratio per step",
        "rwc / steps",
        lambda s, gaps: _rwc(s, gaps) / gaps,
        _l1,
        needs_steps=True,
    ),
    Metric(
        "from-first",
        "relative distance from the first checkpoint",
        "ratio",
        "sqrt(sq_delta / sq_before)",
        _l2_ratio,
        _l2,
        span=Span.FIRST,
    ),
    Metric(
        "rotation",
        "rotation since the first checkpoint",
        "1 - cos",
        "1 - cos(atan2(sqrt(max(0, sq_before * sq_delta - dot^2)), sq_before + dot))",
        _rotation,
        _l2,
        span=Span.FIRST,
    ),
    Metric(
        "coherence",
        "cosine of the angle between successive changes",
        "cosine",
        "(sq_delta - sq_earlier - sq_later) / (2 * sqrt(sq_earlier * sq_later))",
        _coherence,
        _l2,
        relative=False,
        span=Span.TWO,
        path=True,
        linear=True,
    ),
    Metric(
        "efficiency",
        "straightness of the way since the first checkpoint",
        "share",
        "sqrt(sq_delta) / way",
        _efficiency,
        _l2,
        relative=False,
        span=Span.FIRST,
        path=True,
        linear=True,
    ),
    Metric(
        "spectral",
        "relative spectral change",
        "ratio",
        "norm2_delta / norm2_before",
        _spectral,
        _l2,
        norms=True,
    ),
    Metric(
        "rank",
        "stable rank of the change",
        "rank",
        "sq_delta / norm2_delta^2",
        _rank,
        _l2,
        relative=False,
        norms=True,
    ),
)
METRICS: Final[dict[str, Metric]] = {metric.name: metric for metric in _ALL}


def find_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UsageError: If there is none; the message lists those there are.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise UsageError(f"no metric named {name!r}: choose one of {', '.join(METRICS)}") from None
