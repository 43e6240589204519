"""What `wsanalyze list` shows: whole pages that somebody has read, widths, hostile names, and the document."""

import io
import itertools
import json
import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import ReportError
from wsanalyze.reports.listing import (
    ListedCheckpoint,
    ListedFetch,
    ListedPlan,
    Listing,
    describe_listing,
    describe_plan,
    describe_unreadable,
)
from wsanalyze.reports.listing_json import write_json
from wsanalyze.reports.listing_page import write_terminal
from wsanalyze.series import Event, Skip

FOLDER = Path(__file__).with_name("golden")
SUSPICION = "has the header and the size of 3 others; only the weights tell"
MISSING = "no checkpoint at step 2000, where 4 of 5 are 500 apart"
STATUSES = (("ok", None), ("duplicate", "x"), ("unreadable", "x"), ("ok", None)) * 3
DARK = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def make_checkpoint(step, label=None, status="ok", reason=None, **changes):
    label = label or f"checkpoint-{step}"
    rows = {"float32": 12} if status in ("ok", "possible duplicate") else {}
    made = ListedCheckpoint(
        step, label, f"runs/a/{label}", status, reason, "safetensors", 83_900_000, 20, sum(rows.values()), rows
    )
    return replace(made, **changes)


def make_listing(*checkpoints, **changes):
    made = Listing(
        source=("runs/a",),
        weights="model",
        params="matrices",
        checkpoints=checkpoints or tuple(make_checkpoint(step) for step in (0, 500, 1000)),
        num_rows=12,
        num_everywhere=12,
        skips=(),
        events=(),
        notes=("ordered by step in the names",),
    )
    return replace(made, **changes)


def messy_listing():
    """A listing in which everything is wrong that a listing can tell."""
    broken = "runs/a/checkpoint-1500: ends too early: truncated or still being written"
    return make_listing(
        make_checkpoint(0),
        make_checkpoint(500, format="safetensors and torch, 12 files", nbytes=1_234_567_890),
        make_checkpoint(1000, dtypes={"float32": 2, "bfloat16": 10}),
        make_checkpoint(1500, None, "unreadable", broken, format="", num_tensors=0),
        make_checkpoint(2500, dtypes={"bfloat16": 14}, num_rows=14),
        make_checkpoint(2500, "copy", "duplicate", "the same file as checkpoint-0"),
        make_checkpoint(
            None, "last", "possible duplicate", "has the header and the size of 3 others; only the weights tell"
        ),
        num_rows=14,
        num_everywhere=12,
        skips=(
            *(Skip(f"bn{index}.bias", "one-dimensional (--params all takes it in)") for index in range(9)),
            Skip("bn.num_batches_tracked", "int64: not a weight that changes by degrees"),
        ),
        events=(
            Event("unreadable", None, 3, f"checkpoint-1500 cannot be read: {broken}", {"reason": broken}),
            Event("duplicate", None, 5, "copy is left out: the same file as checkpoint-0", {}),
            Event("possible-duplicate", None, 6, f"last {SUSPICION}", {}),
            Event(
                "missing-steps",
                None,
                None,
                "no checkpoint at step 2000, where 4 of 5 are 500 apart",
                {"missing": [2000]},
            ),
            Event("dtype", None, 2, "10 layers change from float32 to bfloat16 at checkpoint-1000", {}),
            Event("tied", "head.weight", 0, "head.weight is tied to embed.weight and counted once", {}),
        ),
        notes=("ordered by step in the names", "optimizer is left out: it holds no weights"),
    )


def hostile_listing(names):
    """Every name, path, reason, format and note is one that attacks a terminal."""
    found = itertools.cycle(names)
    checkpoints = tuple(
        make_checkpoint(step, next(found), status, reason and next(found), format=next(found), origin=next(found))
        for step, (status, reason) in enumerate(
            [("ok", None), ("duplicate", "x"), ("unreadable", "x"), ("ok", None)] * 3
        )
    )
    return make_listing(
        *checkpoints,
        source=tuple(names[:3]),
        skips=tuple(Skip(name, name) for name in names),
        events=tuple(Event(name[:12], name, None, name, {name: name}) for name in names[:12]),
        notes=tuple(names),
    )


def show(listing, **options):
    stream = io.StringIO()
    write_terminal(listing, "1.2.3", stream, **options)
    return stream.getvalue()


def parse(listing):
    stream = io.StringIO()
    write_json(listing, "1.2.3", stream)
    return json.loads(stream.getvalue())


def columns(line):
    return len(line) + sum(unicodedata.east_asian_width(character) in "WF" for character in line)


# The page


@pytest.mark.parametrize("name", ["listing.txt", "listing_messy.txt", "listing_messy_wide.txt", "listing_hostile.txt"])
def test_the_page_is_as_it_was_read(name, hostile_names):
    text = {
        "listing.txt": lambda: show(make_listing(), width=80),
        "listing_messy.txt": lambda: show(messy_listing(), width=80),
        "listing_messy_wide.txt": lambda: show(messy_listing(), width=140),
        "listing_hostile.txt": lambda: show(hostile_listing(hostile_names), width=80),
    }[name]()
    path = FOLDER / name
    if os.environ.get("WSANALYZE_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


@settings(max_examples=30)
@given(st.integers(1, 300))
def test_no_line_is_wider_than_asked(width):
    for listing in (make_listing(), messy_listing()):
        lines = show(listing, width=width).splitlines()
        assert max(map(columns, lines)) <= min(max(width, 40), 240)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_hostile_names_can_do_nothing(hostile_names, width):
    text = show(hostile_listing(hostile_names), width=width)
    assert not DARK.search(text)
    assert max(map(columns, text.splitlines())) <= width


def test_a_terminal_that_knows_no_unicode_gets_ascii(hostile_names):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    write_terminal(hostile_listing(hostile_names), "1.2.3", stream)
    stream.flush()
    assert stream.buffer.getvalue().isascii()


def test_the_columns_are_aligned():
    lines = show(messy_listing(), width=140).splitlines()
    table = lines[2 : 2 + 8]
    end = table[0].index("rows") + len("rows")
    assert [line[:end].split()[-1] for line in table] == ["rows", "12", "12", "12", "-", "14", "-", "12"]
    assert {columns(line[:end].rstrip()) for line in table} == {end}


def test_what_is_wrong_stands_behind_its_checkpoint_or_below():
    reason = "the same file as checkpoint-0"
    listing = make_listing(make_checkpoint(0), make_checkpoint(1), make_checkpoint(2, "copy", "duplicate", reason))
    wide = [line for line in show(listing, width=120).splitlines() if reason in line]
    assert [line.split()[:2] for line in wide] == [["2", "copy"]]
    narrow = show(listing, width=60).splitlines()
    assert narrow[narrow.index(next(line for line in narrow if "copy" in line)) + 1].strip() == f"duplicate: {reason}"


def test_a_path_that_the_line_says_is_not_repeated():
    text = show(messy_listing(), width=200)
    assert "unreadable: ends too early" in text
    assert "runs/a/checkpoint-1500" not in text


def test_many_events_are_counted_by_their_kind():
    events = tuple(Event("resized" if index % 2 else "tied", None, 0, f"event {index}", {}) for index in range(50))
    text = show(make_listing(events=events))
    assert "event 19" in text
    assert "event 20" not in text
    assert re.search(r"more +15 tied, 15 resized", text)


def test_a_file_gets_no_escape_codes(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    write_terminal(messy_listing(), "1.2.3", tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text(encoding="utf-8") == show(messy_listing())
    assert "\x1b" not in show(messy_listing())


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("quiet_colors", [{}, {"no_color": True}, {"NO_COLOR": "1"}], ids=str)
def test_a_terminal_gets_colours_unless_told(quiet_colors, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    if "NO_COLOR" in quiet_colors:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    write_terminal(messy_listing(), "1.2.3", stream, no_color="no_color" in quiet_colors)
    text = stream.getvalue()
    assert ("\x1b[" in text) == (not quiet_colors)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == show(messy_listing(), width=100)


# Sentences


NOTHING = "there is nothing to compare: a change needs two different checkpoints."
ALONE = (make_checkpoint(7), make_checkpoint(8, None, "duplicate", "x"))
MIXED = "12 rows compare throughout, 2 more in part (float32, bfloat16)."


@pytest.mark.parametrize(
    ("listing", "text"),
    [
        (make_listing(), "3 checkpoints, steps 0 to 1000, 252 MB; 12 float32 rows compare."),
        (make_listing(num_everywhere=1, num_rows=1), "3 checkpoints, steps 0 to 1000, 252 MB; 1 float32 row compares."),
        (messy_listing(), f"7 checkpoints, 5 to compare, steps 0 to 2500, 1.74 GB; {MIXED}"),
        (make_listing(num_everywhere=0), "3 checkpoints, steps 0 to 1000, 252 MB; 12 float32 rows compare in part."),
        (make_listing(num_rows=0, num_everywhere=0), "3 checkpoints, steps 0 to 1000, 252 MB; no row compares."),
        (make_listing(make_checkpoint(7)), f"1 checkpoint, step 7, 83.9 MB; {NOTHING}"),
        (make_listing(*ALONE), f"2 checkpoints, 1 to compare, step 7, 168 MB; {NOTHING}"),
        (
            make_listing(make_checkpoint(None, "a"), make_checkpoint(None, "b")),
            "2 checkpoints, 168 MB; 12 float32 rows compare.",
        ),
    ],
)
def test_the_last_line_says_it_all(listing, text):
    assert describe_listing(listing) == text


def test_what_could_not_be_read_is_counted_on_the_last_line():
    assert show(messy_listing()).splitlines()[-1] == "1 checkpoint could not be read."
    assert describe_unreadable(messy_listing()) == "1 checkpoint could not be read."
    assert "could not be read" not in show(make_listing())


# The document


def test_the_document_holds_what_was_listed():
    document = parse(messy_listing())
    assert list(document) == [
        *("format", "wsanalyze", "source", "weights", "params", "checkpoints", "rows", "skipped", "events", "notes")
    ]
    assert document["format"] == 1
    assert document["wsanalyze"] == "1.2.3"
    assert document["rows"] == {"some": 14, "all": 12}
    assert document["checkpoints"][4] == {
        "step": 2500,
        "label": "checkpoint-2500",
        "origin": "runs/a/checkpoint-2500",
        "status": "ok",
        "reason": None,
        "format": "safetensors",
        "nbytes": 83_900_000,
        "tensors": 20,
        "rows": 14,
        "dtypes": {"bfloat16": 14},
    }
    assert [c["status"] for c in document["checkpoints"]] == [
        *("ok", "ok", "ok", "unreadable", "ok", "duplicate", "possible duplicate")
    ]
    assert document["checkpoints"][6]["step"] is None
    assert document["events"][3] == {
        "kind": "missing-steps",
        "layer": None,
        "checkpoint": None,
        "text": MISSING,
        "evidence": {"missing": [2000]},
    }
    assert document["notes"] == list(messy_listing().notes)
    assert len(document["skipped"]) == 10


def test_the_document_of_hostile_names_is_ascii_and_true(hostile_names, tmp_path):
    listing = hostile_listing(hostile_names)
    write_json(listing, "1.2.3", tmp_path / "list.json")
    text = (tmp_path / "list.json").read_bytes()
    assert text.isascii()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert json.loads(text) == parse(listing)
    assert [c["label"] for c in parse(listing)["checkpoints"]] == [c.label for c in listing.checkpoints]


def test_a_document_that_cannot_be_written_names_its_file(tmp_path):
    path = tmp_path / "no such folder" / "list.json"
    with pytest.raises(ReportError, match=re.escape(str(path))):
        write_json(make_listing(), "1.2.3", path)


@pytest.mark.parametrize("write", [write_json, write_terminal])
def test_a_closed_stream_is_an_error_of_ours(write):
    stream = io.StringIO()
    stream.close()
    with pytest.raises((ReportError, ValueError)):
        write(make_listing(), "1.2.3", stream)


PLAN = ListedPlan(6_000_000_000, 62, 2, "compiled (avx512)", 67_100_000, 128_000_000, 1.26, 1_830_000_000, 0.503)


def test_a_plan_in_words():
    assert describe_plan(PLAN) == [
        ("plan", "reads 6.00 GB, each byte once, in 62 bands by 2 threads"),
        ("sums", "by compiled (avx512)"),
        ("memory", "67.1 MB of buffers; --memory allows 128 MB"),
        ("time", "about 1.3 s: a probe read 1.83 GB in 0.5 s; files not in the page cache take longer"),
    ]


@pytest.mark.parametrize(
    ("changes", "label", "text"),
    [
        ({"nbytes": 0}, "plan", "reads no weights: there is nothing to measure"),
        ({"seconds": None, "problem": "a: gone"}, "time", "not known: the probe failed (a: gone)"),
        ({"seconds": None}, "time", "not known: nothing is fetched to find out"),
        ({"fetch": ListedFetch(0, 0, 0, 0)}, "Hub", "all files are on disk already"),
        (
            {"fetch": ListedFetch(2, 3_000_000, 6, 8)},
            "Hub",
            "2 files, 3.00 MB; about 6 requests for whole files, 8 for the bytes needed alone",
        ),
        ({"fetch": ListedFetch(1, 3_000_000, 3, None)}, "Hub", "1 file, 3.00 MB; about 3 requests for whole files"),
        (
            {"buffer_bytes": 10**9},
            "memory",
            "1.00 GB of buffers; --memory allows 128 MB, but a tensor in another order elsewhere is read whole",
        ),
    ],
)
def test_what_a_plan_may_have_to_say(changes, label, text):
    assert dict(describe_plan(replace(PLAN, **changes)))[label] == text


def test_a_plan_stands_below_the_list_and_above_what_could_not_be_read():
    broken = make_checkpoint(1, None, "unreadable", "a: broken")
    text = io.StringIO()
    write_terminal(make_listing(make_checkpoint(0), broken, plan=PLAN), "1", text)
    lines = text.getvalue().splitlines()
    assert lines[-1] == "1 checkpoint could not be read."
    assert any(line.startswith("  plan    reads 6.00 GB") for line in lines[-7:])
    assert max(map(len, lines)) <= 80


def test_a_plan_in_the_document():
    text = io.StringIO()
    write_json(make_listing(plan=replace(PLAN, fetch=ListedFetch(2, 30, 6, None))), "1", text)
    plan = json.loads(text.getvalue())["plan"]
    assert plan["memory"] == {"buffers": 67_100_000, "allowed": 128_000_000}
    assert plan["probe"] == {"nbytes": 1_830_000_000, "seconds": 0.503}
    assert plan["hub"] == {"files": 2, "nbytes": 30, "requests": {"files": 6, "ranges": None}}
