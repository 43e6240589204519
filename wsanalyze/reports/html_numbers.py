"""Numbers of the HTML report in little room: arrays as base64 text, which its scripts read as typed arrays."""

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LARGEST_ERROR: Final = 1e-3
"""How far off a packed number may be, as a share of itself."""

_MAX_EXACT: Final = 250_000
"""Numbers up to which each is kept as a float; more are kept in 2 bytes."""
# Beyond these, float32 would be infinite or lose digits.
_LARGEST: Final = 1e38
_SMALLEST: Final = 1e-37
_DIGITS: Final = 5
_NO_NUMBER: Final = 0
_ZERO: Final = 1
_FIRST_LEVEL: Final = 2
_NUM_LEVELS: Final = 65_534


def pack_numbers(values: NDArray[np.float64], *, exact: bool | None = None) -> dict[str, Any]:
    """Pack an array for `unpack` in core.js, in reading order.

    Args:
        values: Numbers of any shape; NaN where there is none.
        exact: Whether to keep floats and not levels; None to do so for up to 250,000 numbers.

    Returns:
        `data`, base64 text. With `as` "f32" or "f64" it holds little-endian floats: 32 bits, or 64 where one is out of
        their range. With "u16" it holds little-endian uint16: 0 is no number, 1 is zero, and the others are levels,
        whose logarithms are evenly spaced from that of `low` to that of `high`. Where nothing is negative there are
        65,534 of them, from 2 on; where `signed`, 32,767 from 2 on, and the same below zero from 32,769 on.

        Floats of 32 bits are off by 6e-8 of themselves at most. The error of a level is that of half the way to the
        next: for seven decades 0.013 % of the number, and 0.025 % where `signed`. Where it would be more than
        `LARGEST_ERROR`, floats are kept.
    """
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    flat = np.where(np.isfinite(flat), flat, np.nan)
    sizes = np.abs(flat[np.isfinite(flat) & (flat != 0)])
    low, high = (float(sizes.min()), float(sizes.max())) if sizes.size else (1.0, 1.0)
    signed = bool((flat < 0).any())
    num_levels = _NUM_LEVELS // 2 if signed else _NUM_LEVELS
    span = float(np.log(high) - np.log(low))
    if (len(flat) <= _MAX_EXACT if exact is None else exact) or np.expm1(span / (num_levels - 1) / 2) > LARGEST_ERROR:
        fits = _SMALLEST < low <= high < _LARGEST
        return {"as": "f32" if fits else "f64", "data": encode(flat.astype("<f4" if fits else "<f8"))}
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.rint((np.log(np.abs(flat)) - np.log(low)) / (span or 1.0) * (num_levels - 1))
    codes = _FIRST_LEVEL + np.where(flat < 0, num_levels, 0) + levels
    codes = np.select([np.isnan(flat), flat == 0], [_NO_NUMBER, _ZERO], codes)
    return {"as": "u16", "signed": signed, "low": low, "high": high, "data": encode(codes.astype("<u2"))}


def encode(array: NDArray[Any]) -> str:
    """The bytes of an array as base64 text."""
    return base64.b64encode(array.tobytes()).decode("ascii")


def rounded(values: NDArray[np.float64]) -> Any:  # noqa: ANN401 - lists as deep as the array
    """Nested lists of floats of 5 significant digits, which the plots' zoom needs; None where there is no number."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0:
        return float(f"{values:.{_DIGITS}g}") if np.isfinite(values) else None
    return [rounded(value) for value in values]
