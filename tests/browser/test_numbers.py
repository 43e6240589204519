"""What the scripts of the page read of packed numbers is what was packed."""

import numpy as np
import pytest

from wsanalyze.reports.html_numbers import LARGEST_ERROR, pack_numbers

pytestmark = pytest.mark.browser

SIZES = np.geomspace(1e-7, 3.0, 500)


@pytest.mark.parametrize(
    ("kind", "exact", "values"),
    [
        ("f32", True, [0.0, np.nan, 1e-30, -0.1]),
        ("f64", True, [0.0, np.nan, 5e-324, -1.7976931348623157e308]),
        ("u16", False, [0.0, np.nan, *SIZES]),
        ("u16", False, [0.0, np.nan, *SIZES, *-SIZES]),
        ("u16", False, [np.nan, 2.5, 2.5]),
        ("u16", False, []),
    ],
    ids=["f32", "f64", "sizes", "signed", "flat", "empty"],
)
def test_numbers_come_out_as_they_went_in(open_report, make_trends, kind, exact, values):
    packed = pack_numbers(np.array(values), exact=exact)
    assert packed["as"] == kind
    page = open_report(make_trends(1, 1))
    read = page.evaluate("(packed) => Array.from(report.unpack(packed), String)", packed)
    found = np.array(read, dtype=np.float64)  # as text, since what is no number has none in JSON
    np.testing.assert_allclose(found, values, rtol=LARGEST_ERROR if kind == "u16" else 6e-8, atol=0)
    np.testing.assert_array_equal(found == 0, np.array(values) == 0)
