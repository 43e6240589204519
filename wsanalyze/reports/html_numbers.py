"""Numbers of the HTML report in little room: arrays as base64 text, which its scripts read as typed arrays."""

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MAX_EXACT: Final = 250_000
"""Numbers up to which each is kept in 4 bytes; more are kept in 2."""
# Beyond these, float32 would be infinite or lose digits.
_LARGEST: Final = 1e38
_SMALLEST: Final = 1e-37
_DIGITS: Final = 5
_NO_NUMBER: Final = 0
_ZERO: Final = 1
_FIRST_LEVEL: Final = 2
_LAST_LEVEL: Final = 65_535


def pack_numbers(values: NDArray[np.float64], *, linear: bool = False, exact: bool | None = None) -> dict[str, Any]:
    """Pack an array for `unpack` in core.js, in reading order.

    Args:
        values: Numbers of any shape; NaN where there is none.
        linear: Whether levels are evenly spaced, not by logarithms; they are so where a number is negative.
        exact: Whether to keep float32 and not one of 65,534 levels; None to do so where there are not too many.

    Returns:
        `data`, base64 text. With `as` "f32" it holds little-endian float32; with "u16" uint16, where 0 is no number, 1
        is zero and 2 to 65,535 are levels from `low` to `high`, evenly spaced between them where `linear`, else
        between their logarithms. Levels of seven decades lie 0.025 % apart.
    """
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    sizes = np.abs(finite[finite != 0])
    fits = not sizes.size or bool(sizes.max() < _LARGEST and sizes.min() > _SMALLEST)
    if fits and (len(flat) <= _MAX_EXACT if exact is None else exact):
        return {"as": "f32", "data": encode(np.where(np.isfinite(flat), flat, np.nan).astype("<f4"))}
    linear = linear or bool((finite < 0).any())
    scaled = finite if linear else np.log(sizes)
    low, high = (float(scaled.min()), float(scaled.max())) if scaled.size else (0.0, 0.0)
    codes = np.full(flat.shape, _NO_NUMBER, dtype="<u2")
    codes[flat == 0] = _ZERO
    leveled = np.isfinite(flat) & (flat != 0)
    with np.errstate(all="ignore"):
        levels = flat[leveled] if linear else np.log(flat[leveled])
        # Halves, since the difference of two large numbers may be none.
        share = (levels / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.zeros(len(levels))
    codes[leveled] = _FIRST_LEVEL + np.rint(share * (_LAST_LEVEL - _FIRST_LEVEL)).astype("<u2")
    ends = (low, high) if linear else (float(np.exp(low)), float(np.exp(high)))
    return {"as": "u16", "linear": linear, "low": ends[0], "high": ends[1], "data": encode(codes)}


def encode(array: NDArray[Any]) -> str:
    """The bytes of an array as base64 text."""
    return base64.b64encode(array.tobytes()).decode("ascii")


def rounded(values: NDArray[np.float64]) -> Any:  # noqa: ANN401 - lists as deep as the array
    """Nested lists of floats of 5 significant digits, which the plots' zoom needs; None where there is no number."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0:
        return float(f"{values:.{_DIGITS}g}") if np.isfinite(values) else None
    return [rounded(value) for value in values]
