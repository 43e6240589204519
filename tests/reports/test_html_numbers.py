"""How the numbers of the HTML report are packed: what comes out is what went in, to the digits that are promised."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.reports.html_data import bound_groups
from wsanalyze.reports.html_numbers import pack_numbers

SIZES = st.floats(1e-300, 1e300) | st.just(0.0) | st.just(np.nan)
ANY = SIZES | st.floats(-1e300, -1e-300)


def unpack(packed):
    """By the words of the docstring of `pack_numbers`."""
    raw = base64.b64decode(packed["data"])
    if packed["as"] == "f32":
        return np.frombuffer(raw, dtype="<f4").astype(np.float64)
    codes = np.frombuffer(raw, dtype="<u2").astype(np.float64)
    low, high = (end if packed["linear"] else np.log(end) for end in (packed["low"], packed["high"]))
    share = (codes - 2) / 65_533
    levels = low * (1 - share) + high * share
    return np.select([codes == 0, codes == 1], [np.nan, 0.0], levels if packed["linear"] else np.exp(levels))


@given(arrays(np.float64, st.integers(0, 30), elements=SIZES))
def test_sizes_keep_their_digits_whatever_their_range(values):
    packed = pack_numbers(values, exact=False)
    json.dumps(packed, allow_nan=False)
    known = values[values > 0]
    decades = np.log(known.max() / 1.0) - np.log(known.min() / 1.0) if known.size else 0.0
    back = unpack(packed)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    np.testing.assert_array_equal(back == 0, values == 0)
    # Half a level, and the rounding of logarithms.
    np.testing.assert_allclose(back, values, rtol=np.expm1(decades / 65_533 / 2) + 1e-9)


@given(arrays(np.float64, st.integers(0, 30), elements=ANY))
def test_numbers_with_a_sign_keep_their_place_between_the_ends(values):
    packed = pack_numbers(values, linear=True, exact=False)
    json.dumps(packed, allow_nan=False)
    known = values[np.isfinite(values) & (values != 0)]
    back = unpack(packed)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    span = known.max() / 2 - known.min() / 2 if known.size else 0.0
    np.testing.assert_allclose(back / 2, values / 2, rtol=1e-9, atol=span / 65_533)


@given(arrays(np.float64, st.integers(0, 30), elements=ANY))
def test_numbers_are_kept_as_they_are_where_float32_can(values):
    packed = pack_numbers(values)
    if packed["as"] == "f32":
        np.testing.assert_allclose(unpack(packed), values, rtol=1e-7)
    else:
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        assert sizes.max() >= 1e38 or sizes.min() <= 1e-37


def test_many_numbers_take_two_bytes_each():
    values = np.geomspace(1e-6, 1.0, 300_000)
    packed = pack_numbers(values)
    assert len(packed["data"]) == 4 * -(-300_000 * 2 // 3)
    np.testing.assert_allclose(unpack(packed), values, rtol=2e-4)
    assert len(pack_numbers(values[:1000])["data"]) == 4 * -(-1000 * 4 // 3)


@pytest.mark.parametrize("fill", [np.nan, 0.0, 3.0, -3.0])
@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_flat_array_comes_back(fill, size):
    values = np.full(size, fill)
    np.testing.assert_allclose(unpack(pack_numbers(values, exact=False)), values)


@given(st.integers(0, 2000), st.integers(1, 400))
def test_groups_are_few_as_large_as_each_other_and_leave_nothing_out(count, most):
    groups = bound_groups(count, most)
    assert len(groups) <= most
    assert [place for start, end in groups for place in range(start, end)] == list(range(count))
    assert len({end - start for start, end in groups[:-1]}) <= 1
