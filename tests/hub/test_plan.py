"""Laws of the choice between whole files and ranges."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import SourceError, UsageError
from wsanalyze.hub.plan import FETCHES, Demand, choose_walk

SIZES = st.integers(1, 10**13)


@st.composite
def demands(draw):
    file_bytes = draw(SIZES)
    return Demand(
        num_files=draw(st.integers(1, 10_000)),
        file_bytes=file_bytes,
        needed_bytes=draw(st.integers(0, file_bytes)),
        num_runs=draw(st.integers(1, 10_000)),
        pair_bytes=draw(SIZES),
        free_bytes=draw(st.integers(0, 10**13)),
        can_range=draw(st.booleans()),
        keep=draw(st.booleans()),
        can_write=draw(st.booleans()),
        others_bytes=draw(st.just(0) | SIZES),
    )


def room(demand):
    return demand.file_bytes if demand.keep else demand.pair_bytes


@given(demand=demands(), fetch=st.sampled_from(FETCHES))
def test_never_files_that_do_not_fit_nor_ranges_that_cannot_be_had(demand, fetch):
    try:
        choice = choose_walk(demand, fetch, "/somewhere")
    except UsageError:
        assert fetch == "ranges"
        assert not demand.can_range
    except SourceError:
        assert room(demand) > demand.free_bytes or not demand.can_write
        assert fetch == "files" or demand.keep or not demand.can_range
    else:
        if choice.whole_files:
            assert room(demand) <= demand.free_bytes
            assert demand.can_write
            assert fetch != "ranges"
        else:
            assert demand.can_range
            assert fetch != "files"
            assert fetch == "ranges" or not demand.keep


@given(demand=demands(), fetch=st.sampled_from(FETCHES))
def test_the_sentence_states_bytes_requests_disk_and_why(demand, fetch):
    try:
        text = choose_walk(demand, fetch, "/somewhere").text
    except (UsageError, SourceError):
        return
    assert "\n" not in text
    assert re.search(r"[\d.]+ (kB|MB|GB|TB)", text)
    assert re.search(r"in about \d+ requests", text)
    assert re.search(r"with at most [\d.]+ [kMGT]?B on disk|stores none", text)
    assert text.partition(": ")[2]


@given(demand=demands())
def test_less_than_half_is_asked_for_alone_and_more_is_not(demand):
    fits = demand.can_write and room(demand) <= demand.free_bytes
    if not demand.can_range or demand.keep or not fits:
        return
    choice = choose_walk(demand, "auto", "/somewhere")
    assert choice.whole_files == (2 * demand.needed_bytes >= demand.file_bytes)


def test_advice_names_only_what_would_help():
    demand = Demand(1, 10**9, 10**9, 1, 10**9, 10**6, can_range=True)
    with pytest.raises(SourceError, match=r"^/somewhere: 1\.0 GB .* 1\.0 MB are free: .* or use --fetch ranges$"):
        choose_walk(demand, "files", "/somewhere")
    with pytest.raises(SourceError, match="since this cannot be read in parts"):
        choose_walk(Demand(1, 10**9, 10**9, 1, 10**9, 10**6, can_range=False), "auto", "/somewhere")


def test_what_is_held_for_other_runs_is_told_where_there_is_no_room():
    demand = Demand(1, 10**9, 10**9, 1, 10**9, 10**6, can_range=False, others_bytes=14 * 10**9)
    with pytest.raises(
        SourceError, match=r"^/somewhere: .*, 14\.0 GB beside it are held for other runs: .*goes with its run file"
    ):
        choose_walk(demand, "auto", "/somewhere")


def test_where_nothing_can_be_written_parts_are_read_or_it_is_said():
    demand = Demand(1, 10**9, 10**9, 1, 10**9, 10**10, can_range=True, can_write=False)
    choice = choose_walk(demand, "auto", "/somewhere")
    assert not choice.whole_files
    assert choice.text.endswith("/somewhere cannot be written")
    with pytest.raises(SourceError, match=r"^/somewhere: cannot be written: set HF_HOME .* or use --fetch ranges$"):
        choose_walk(demand, "files", "/somewhere")
    with pytest.raises(SourceError, match=r"cannot be written: .* since this cannot be read in parts"):
        choose_walk(replace(demand, can_range=False), "auto", "/somewhere")
