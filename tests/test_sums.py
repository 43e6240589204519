import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wsanalyze.sums import SUM_NAMES, Sums

cells = npst.arrays(np.float64, (len(SUM_NAMES),), elements=st.floats(0, 1e12))


def make_sums(**values):
    return Sums(np.array([float(values.get(name, 0.0)) for name in SUM_NAMES]))


def test_every_sum_is_found_by_its_name():
    sums = Sums(np.arange(2.0 * len(SUM_NAMES)).reshape(2, -1))
    for index, name in enumerate(SUM_NAMES):
        assert sums[name].tolist() == [index, index + len(SUM_NAMES)]
    with pytest.raises(KeyError):
        sums["no such sum"]


def test_all_sums_add_but_the_maximum():
    total = make_sums(n=3, l1_delta=1.5, max_delta=2.0) + make_sums(n=4, l1_delta=0.5, max_delta=1.0)
    assert total.values.tolist() == make_sums(n=7, l1_delta=2.0, max_delta=2.0).values.tolist()


@given(st.lists(cells, max_size=5))
def test_zero_changes_nothing_and_adding_goes_from_left_to_right(parts):
    sums = [Sums(part) for part in parts]
    total = Sums.of(sums)
    by_hand = Sums.zero()
    for part in sums:
        by_hand = by_hand + part
    assert total.values.tobytes() == by_hand.values.tobytes()
    assert (total + Sums.zero()).values.tobytes() == total.values.tobytes()


@given(npst.arrays(np.float64, (3, 2, len(SUM_NAMES)), elements=st.floats(0, 1e6)))
def test_total_is_the_sum_of_its_cells(values):
    total = Sums(values).total(axis=0)
    for pair in range(2):
        expected = Sums.of(Sums(values[row, pair]) for row in range(3))
        np.testing.assert_allclose(total.values[pair], expected.values, rtol=1e-12)


def test_total_passes_over_cells_that_were_not_measured():
    values = Sums.unmeasured(3, 2).values
    values[0, 0] = make_sums(n=2, max_delta=5).values
    values[2, 0] = make_sums(n=3, max_delta=4).values
    total = Sums(values).total(axis=0)
    assert total["n"][0] == 5
    assert total["max_delta"][0] == 5
    assert np.isnan(total.values[1]).all()


def test_cells_that_will_never_be_measured_take_no_memory():
    absent = Sums.absent(20_000, 300)
    assert absent.values.shape == Sums.unmeasured(20_000, 300).values.shape
    assert np.isnan(absent["l1_delta"]).all()
    assert absent.values.strides == (0, 0, 0)
    assert not absent.values.flags.writeable


def test_total_of_no_row_at_all_is_unmeasured():
    total = Sums.unmeasured(0, 3).total(axis=0)
    assert total.values.shape == (3, len(SUM_NAMES))
    assert np.isnan(total.values).all()
