from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.changes import plan
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import MIN_MEMORY_BYTES, make_plan
from wsanalyze.errors import UsageError
from wsanalyze.files.base import FileRef
from wsanalyze.layers.base import RowMatch
from wsanalyze.series import Kind, Row
from wsanalyze.tensors.base import Piece, TensorInfo

MEBI = 2**20


def make_info(name, shape, side, offset=0, dtype="float32", strides=None):
    file = FileRef(f"/run/{side}.safetensors", 2**50, "stamp")
    itemsize = {"float32": 4, "bfloat16": 2, "complex128": 16}[dtype]
    numel = int(np.prod(shape, dtype=np.int64))
    return TensorInfo(name, dtype, shape, (Piece(file, offset, numel * itemsize, strides),))


def make_match(rows):
    """A match of rows, each given as the infos of its sides."""
    num_pairs = len(rows[0]) - 1
    first = [next(info for info in infos if info is not None) for infos in rows]
    return RowMatch(
        rows=tuple(Row(info.name, info.name, info.name, Kind.LINEAR, i, info.shape) for i, info in enumerate(first)),
        tensors=tuple(tuple(infos) for infos in rows),
        pairs=tuple((index, index + 1) for index in range(num_pairs)),
        states=np.full((len(rows), num_pairs), None, dtype=object),
        skips=(),
        events=(),
    )


def plan_bands(match, needed, memory_bytes):
    """Bands as large as the memory allows, for one thread."""
    return make_plan(Places.of(match), match.pairs, needed, memory_bytes, band_bytes=None).bands


def count_segments(match, row):
    places = Places.of(match)
    return [int(places.count_segments(before)[row]) for before, _ in match.pairs]


def segments_of(bands):
    for band in bands:
        arrays = (band.rows, band.indices, band.starts, band.stops)
        yield from zip(*(array.tolist() for array in arrays), strict=True)


def all_cells(match):
    return np.ones(match.states.shape, dtype=bool)


def lay_out(shapes, num_sides=2, dtype="float32"):
    rows, offset = [], 0
    for index, shape in enumerate(shapes):
        rows.append([make_info(f"w{index}", shape, side, offset, dtype) for side in range(num_sides)])
        offset += rows[-1][0].pieces[0].nbytes
    return make_match(rows)


shapes_of_tensors = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3000)), min_size=1, max_size=12)


@given(shapes_of_tensors, st.integers(MIN_MEMORY_BYTES, 4 * MIN_MEMORY_BYTES))
@settings(max_examples=50)
def test_bands_fit_the_memory_and_hold_every_element_once(shapes, memory_bytes):
    match = lay_out(shapes)
    bands = plan_bands(match, all_cells(match), memory_bytes)
    covered = {row: [] for row in range(len(shapes))}
    for band in bands:
        assert band.nbytes <= memory_bytes // 2
        assert ((band.stops - band.starts) * 4).sum() <= band.nbytes
        for row, _, start, stop in segments_of([band]):
            covered[row].append((start, stop))
    for row, shape in enumerate(shapes):
        runs = sorted(covered[row])
        assert runs[0][0] == 0
        assert runs[-1][1] == shape[0] * shape[1]
        assert all(first[1] == second[0] for first, second in pairwise(runs))


def test_bands_follow_the_order_of_the_file_and_not_of_the_model():
    rows = [[make_info(f"w{i}", (10, 10), side, offset=(9 - i) * 400) for side in range(2)] for i in range(10)]
    match = make_match(rows)
    (band,) = plan_bands(match, all_cells(match), MIN_MEMORY_BYTES)
    assert band.rows.tolist() == list(range(9, -1, -1))


def test_the_grid_does_not_depend_on_the_memory():
    match = lay_out([(3000, 3000), (100, 100)])
    grids = []
    for memory_bytes in (MIN_MEMORY_BYTES, 10**9):
        bands = plan_bands(match, all_cells(match), memory_bytes)
        grids.append(set(segments_of(bands)))
    assert grids[0] == grids[1]
    assert count_segments(match, 0) == [9]
    assert len(plan_bands(match, all_cells(match), 10**9)) == 1
    assert len(plan_bands(match, all_cells(match), MIN_MEMORY_BYTES)) > 1


def test_rows_that_are_measured_already_are_not_planned():
    match = lay_out([(10, 10), (20, 20)])
    needed = all_cells(match)
    needed[0] = False
    (band,) = plan_bands(match, needed, MIN_MEMORY_BYTES)
    assert band.rows.tolist() == [1]
    assert plan_bands(match, np.zeros_like(needed), MIN_MEMORY_BYTES) == ()


def test_elements_in_different_orders_are_read_whole():
    plain, transposed = make_info("w", (3000, 2000), 0), make_info("w", (3000, 2000), 1, strides=(1, 3000))
    match = make_match([[plain, transposed]])
    (band,) = plan_bands(match, all_cells(match), MIN_MEMORY_BYTES)
    assert band.whole.tolist() == [True]
    assert count_segments(match, 0) == [1]


def test_elements_in_one_and_the_same_other_order_are_read_in_pieces():
    match = make_match([[make_info("w", (3000, 2000), side, strides=(1, 3000)) for side in range(2)]])
    bands = plan_bands(match, all_cells(match), MIN_MEMORY_BYTES)
    assert not any(band.whole.any() for band in bands)
    assert count_segments(match, 0) == [6]


def test_a_tensor_that_is_resized_is_still_read_in_pieces():
    sizes = [(1000, 1000), (1000, 1000), (5000, 1000), (5000, 1000)]
    match = make_match([[make_info("w", shape, side) for side, shape in enumerate(sizes)]])
    needed = np.array([[True, False, True]])
    bands = plan_bands(match, needed, MIN_MEMORY_BYTES)
    assert all(band.nbytes <= MIN_MEMORY_BYTES // 2 for band in bands)
    assert [index for _, index, _, _ in segments_of(bands)] == list(range(5))
    assert count_segments(match, 0) == [1, 1, 5]


def test_a_side_without_the_tensor_takes_no_room():
    match = make_match([[make_info("w", (10, 10), 0), None, make_info("w", (10, 10), 2), make_info("w", (10, 10), 3)]])
    needed = np.array([[False, False, True]])
    (band,) = plan_bands(match, needed, MIN_MEMORY_BYTES)
    assert band.nbytes == 448
    assert count_segments(match, 0) == [1, 1, 1]


def test_the_wider_side_has_its_place():
    match = make_match([[make_info("w", (8, 8), 0, dtype="bfloat16"), make_info("w", (8, 8), 1, dtype="complex128")]])
    (band,) = plan_bands(match, all_cells(match), MIN_MEMORY_BYTES)
    assert band.nbytes == 64 * 16


def test_too_little_memory_is_wrong_usage():
    match = lay_out([(10, 10)])
    with pytest.raises(UsageError, match=r"--memory must be at least 32MB"):
        plan_bands(match, all_cells(match), MIN_MEMORY_BYTES - 1)


def test_the_default_memory_is_that_of_the_command_line():
    from wsanalyze.options import parse_memory

    assert parse_memory("128MB") == plan.DEFAULT_MEMORY_BYTES
