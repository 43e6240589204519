"""How the numbers of the HTML report are packed: what comes out is what went in, to the digits that are promised."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsanalyze.reports.html_numbers import LARGEST_ERROR, pack_numbers

# All floats down to the smallest, and, more often, sizes of changes: within few enough decades for levels.
ANY = st.floats(allow_nan=True, allow_infinity=False)
USUAL = st.floats(1e-8, 10.0) | st.just(0.0) | st.just(np.nan)
SIGNED = USUAL | st.floats(-10.0, -1e-8)


@given(values=arrays(np.float64, st.integers(0, 30), elements=ANY | SIGNED), exact=st.sampled_from([None, True, False]))
@example(values=np.array([5e-324, 1.7976931348623157e308, -1.0]), exact=False)
@example(values=np.array([5e-324, 1e-323]), exact=False)
@example(values=np.full(3, 1.7976931348623157e308), exact=False)
def test_no_number_is_off_by_more_than_is_promised(unpack, values, exact):
    packed = pack_numbers(values, exact=exact)
    json.dumps(packed, allow_nan=False)
    back = unpack(packed)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    np.testing.assert_array_equal(np.sign(back), np.sign(values))
    off = {"f64": 0.0, "f32": 6e-8, "u16": LARGEST_ERROR * (1 + 1e-9)}[packed["as"]]
    np.testing.assert_allclose(back, values, rtol=off, atol=0)


@given(arrays(np.float64, st.integers(0, 30), elements=USUAL | SIGNED))
def test_levels_are_off_by_half_of_what_parts_them(unpack, values):
    packed = pack_numbers(values, exact=False)
    assert packed["as"] == "u16"
    assert packed["signed"] == bool((values < 0).any())
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    apart = np.log(sizes.max() / sizes.min()) / (32_766 if packed["signed"] else 65_533) if sizes.size else 0.0
    np.testing.assert_allclose(unpack(packed), values, rtol=np.expm1(apart / 2) + 1e-12, atol=0)


@pytest.mark.parametrize(("signed", "bound"), [(False, 0.000_13), (True, 0.000_25)])
def test_the_error_of_seven_decades_is_the_one_that_is_written_down(unpack, signed, bound):
    values = np.geomspace(1e-7, 1.0, 300_001) * (np.where(np.arange(300_001) % 2, -1, 1) if signed else 1)
    packed = pack_numbers(values)
    assert len(packed["data"]) == 4 * -(-300_001 * 2 // 3)
    error = np.abs(unpack(packed) / values - 1).max()
    assert 0.9 * bound < error < bound


def test_numbers_of_a_small_page_are_exact_whatever_their_range(unpack):
    for values in ([1e-37, 0.5, 1.0], [1e38, 0.5, np.nan], [-5e-324, 1e300, 0.0]):
        np.testing.assert_array_equal(unpack(pack_numbers(np.array(values))), values)
    assert pack_numbers(np.array([0.5, 1e-30]))["as"] == "f32"


def test_a_range_that_levels_are_too_few_for_is_kept_in_floats():
    many = np.linspace(0.5, 1.0, 300_000)
    for low, kind in ((1e-30, "u16"), (1e-250, "f64")):
        assert pack_numbers(np.append(many, low))["as"] == kind
    for low, kind in ((-1e-25, "u16"), (-1e-35, "f32")):
        assert pack_numbers(np.append(many, low))["as"] == kind


@pytest.mark.parametrize("fill", [np.nan, 0.0, 3.0, -3.0])
@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_flat_array_comes_back(unpack, fill, size):
    values = np.full(size, fill)
    np.testing.assert_allclose(unpack(pack_numbers(values, exact=False)), values)
