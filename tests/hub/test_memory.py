"""What is remembered of the Hub: nothing is asked for twice, and nothing is believed or shown that should not be."""

import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from itertools import pairwise

import pytest

import wsanalyze.hub.memory as module
from tests.hub.runs import FORMATS, REPO, analyze, make_walk, on_hub, publish, same_sums
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import SourceError
from wsanalyze.hub.digests import has_digest
from wsanalyze.hub.memory import HubMemory, default_memory_path
from wsanalyze.listing import ListOptions, list_sequence
from wsanalyze.listing_plan import PlanOptions

HUB = "https://hub.test"
COMMIT = "0123456789abcdef" * 2 + "01234567"
DIGEST = "sha256:" + "0123456789abcdef" * 4
FILES = [("model.safetensors", 9, DIGEST), ("ü/\ud800.json", 2, "git:None")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "hub.sqlite"


def numbered(number):
    return f"sha256:{number:064x}"


def part(number):
    return f"the bytes of part {number}".encode() * 20


def fill(path, numbers=range(3)):
    memory = HubMemory(path, HUB)
    for number in numbers:
        memory.add_part(numbered(number), number, part(number))
    memory.close()


def found(path, numbers=range(3)):
    """Which of the parts are remembered; what is remembered must be right."""
    memory = HubMemory(path, HUB)
    known = {number: memory.find_parts(numbered(number)) for number in numbers}
    memory.close()
    for number, parts in known.items():
        assert parts in ([], [(number, part(number))])
    return {number for number, parts in known.items() if parts}


# What is remembered


def test_what_was_added_is_found_at_once_and_by_the_next_process(path):
    memory, other = HubMemory(path, HUB), HubMemory(path, HUB)
    memory.add_tree("model", "org/name", COMMIT, FILES)
    memory.add_part(DIGEST, 100, b"middle")
    memory.add_part(DIGEST, 0, b"begin")
    memory.add_part(DIGEST, 0, bytearray(b"beginning"))
    for one in (memory, memory, other):
        assert one.find_tree("model", "org/name", COMMIT) == FILES
        assert one.find_parts(DIGEST) == [(0, b"beginning"), (100, b"middle")]
        one.close()  # it can be used again


def test_another_hub_repository_kind_or_commit_is_another_tree(path):
    memory = HubMemory(path, HUB)
    memory.add_tree("model", "org/name", COMMIT, FILES)
    memory.add_part(DIGEST, 0, b"x")
    memory.close()
    assert memory.find_tree("dataset", "org/name", COMMIT) is None
    assert memory.find_tree("model", "org/other", COMMIT) is None
    assert memory.find_tree("model", "org/name", COMMIT[::-1]) is None
    memory.close()
    elsewhere = HubMemory(path, "https://mirror.test")
    assert elsewhere.find_tree("model", "org/name", COMMIT) is None
    assert elsewhere.find_parts(DIGEST) == []
    elsewhere.close()


@pytest.mark.parametrize("digest", ["git:None", "sha256:", "stat:1:/x", "", DIGEST.upper(), DIGEST + "0"])
def test_what_is_no_digest_tells_nothing_of_bytes(path, digest):
    memory = HubMemory(path, HUB)
    memory.add_part(digest, 0, b"x")
    assert memory.find_parts(digest) == []
    memory.close()
    assert has_digest(b"y", digest)


def test_what_is_no_hash_of_a_commit_may_be_another_one_tomorrow(path):
    memory = HubMemory(path, HUB)
    memory.add_tree("model", "org/name", "main", FILES)
    assert memory.find_tree("model", "org/name", "main") is None
    memory.close()


def test_digests_are_those_of_git_and_of_large_files():
    assert has_digest(b"hello\n", "git:ce013625030ba8dba906f756967f9e9ca394464a")
    assert has_digest(b"abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert not has_digest(b"abd", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert not has_digest(b"hello", "git:ce013625030ba8dba906f756967f9e9ca394464a")


def test_without_a_file_it_remembers_while_it_lives(monkeypatch):
    memory = HubMemory(None, HUB)
    memory.add_part(DIGEST, 0, b"x")
    memory.close()
    assert memory.find_parts(DIGEST) == [(0, b"x")]
    monkeypatch.setattr(module, "_MAX_NEW_BYTES", 1000)
    for number in range(100):
        memory.add_part(numbered(number), 0, os.urandom(200))
    kept = [number for number in range(100) if memory.find_parts(numbered(number))]
    assert kept == list(range(96, 100))


def test_it_is_written_now_and_then(path, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0.0)
    memory = HubMemory(path, HUB)
    memory.add_part(numbered(1), 1, part(1))
    assert found(path) == {1}
    memory.close()


def test_nobody_else_may_read_it(path):
    mask = os.umask(0)
    try:
        fill(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Bounds


def test_what_was_not_used_for_the_longest_time_goes_first(path, monkeypatch):
    fill(path, range(5))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE items SET used = start")
        (length,) = database.execute("SELECT max(length(value)) FROM items").fetchone()
    database.close()
    assert found(path, [0]) == {0}  # used now
    monkeypatch.setattr(module, "MAX_BYTES", 4 * length)
    fill(path, [5])
    assert found(path, range(6)) == {0, 4, 5}


def test_an_item_beyond_the_bound_is_neither_kept_nor_read(path, monkeypatch):
    fill(path)
    monkeypatch.setattr(module, "MAX_ITEM_BYTES", 10)
    assert found(path) == set()
    fill(path, [3])
    assert found(path, [3]) == set()


def test_a_huge_file_is_replaced(path, monkeypatch):
    fill(path)
    monkeypatch.setattr(module, "_MAX_FILE_BYTES", 4096)
    assert found(path) == set()


# Damage and others


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET value = X'00'",
        "UPDATE items SET value = NULL",
        "UPDATE items SET start = start + 1",
        "UPDATE items SET size = size + 1",
        "UPDATE items SET used = NULL",
        "UPDATE items SET checksum = 'x'",
        "UPDATE items SET key = (SELECT max(key) FROM items) WHERE start = 2 AND key != (SELECT max(key) FROM items)",
        "DROP TABLE items",
        "ALTER TABLE items RENAME COLUMN value TO other",
        "PRAGMA user_version = 99",
    ],
)
def test_damaged_content_is_never_given_out(path, statement):
    fill(path)
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()
    found(path)  # compares what it gets
    fill(path)
    assert found(path) == {0, 1, 2}


def test_many_threads_use_one(path, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0.001)
    memory = HubMemory(path, HUB)

    def work(numbers):
        for number in numbers:
            memory.add_part(numbered(number), number, part(number))
            assert memory.find_parts(numbered(number)) == [(number, part(number))]

    threads = [threading.Thread(target=work, args=(range(n, n + 20),)) for n in range(0, 160, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.close()
    assert found(path, range(160)) == set(range(160))


# What is asked of the Hub


def ranges_of(hub):
    """The bytes that went out, by file and revision: (start, stop) each, in order."""
    sent = {}
    for record in hub.log.records("data"):
        if record.range is None:
            continue
        start, stop = map(int, record.range.removeprefix("bytes=").split("-"))
        sent.setdefault((record.commit, record.file), []).append((start, stop + 1))
    return {key: sorted(spans) for key, spans in sent.items()}


def with_copies(num_checkpoints):
    """States of which one is stored twice, far from itself."""
    states = make_walk(num_checkpoints)
    states[-2] = states[2]
    return states


# Of others, headers are no proof of where the bytes lie.
@pytest.mark.parametrize(
    ("form", "fetch"), [*((form, "files") for form in FORMATS), ("safetensors", "ranges"), ("sharded", "ranges")]
)
def test_a_second_time_only_the_refs_are_asked_for(hub, tmp_path, form, fetch):
    repo = publish(hub, tmp_path / "run", with_copies(8), form)
    for step in range(0, 800, 100):
        repo.commit(f"step{step}", {"config.json": b'{"model_type": "x"}'}, replace=False)
    first = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    hub.log.clear()
    second = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    assert [record.path.partition("?")[0] for record in hub.log] == [f"/api/models/{REPO}/refs"]
    same_sums(second, first)


def test_samples_of_checkpoints_that_are_not_chosen_are_remembered_too(hub, tmp_path):
    publish(hub, tmp_path / "run", with_copies(8))
    analyze(on_hub(), tmp_path / "far.wsa", fetch="files", every=20)
    assert len(ranges_of(hub)) > 2
    hub.log.clear()
    analyze(on_hub(), tmp_path / "far.wsa", fetch="files", every=20)
    assert len(hub.log) == 1


def test_a_new_checkpoint_costs_its_tree_and_its_bytes(hub, tmp_path):
    states = make_walk(5)
    repo = publish(hub, tmp_path / "run", states[:4])
    analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
    hub.log.clear()
    (tmp_path / "more").mkdir()
    publish(hub, tmp_path / "more", [states[4]], repo="org/other")
    repo.commit("step400", {"model.safetensors": tmp_path / "more" / "step0" / "model.safetensors"})
    analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
    assert [record.kind for record in hub.log.records("api")] == ["api"] * 2
    assert len({record.commit for record in hub.log.records("data")}) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_listed_is_analyzed_without_a_header_fetched_again(hub, tmp_path, form):
    publish(hub, tmp_path / "run", with_copies(6), form)
    list_sequence([on_hub()], ListOptions(SequenceOptions()))
    headers = ranges_of(hub)
    assert len({commit for commit, _ in headers}) >= 5
    assert all(before[1] <= after[0] for spans in headers.values() for before, after in pairwise(spans))
    hub.log.clear()
    list_sequence([on_hub()], ListOptions(SequenceOptions()))
    assert len(hub.log) == 1
    hub.log.clear()
    analyze(on_hub(), tmp_path / "far.wsa", fetch="files")
    assert len(hub.log.records("api")) == 1
    assert all(record.range is None for record in hub.log.records("data"))  # whole files, once each
    assert max(hub.log.count("data", file=file) for _, file in headers) <= 5


def test_a_plan_fetches_no_weight_and_tells_what_an_analysis_would_fetch(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(4))
    list_sequence([on_hub()])
    hub.log.clear()
    found = list_sequence([on_hub()], ListOptions(plan=PlanOptions("cpu", 64_000_000))).plan
    assert not hub.log.records("data")
    assert (found.seconds, found.probe_bytes, found.problem) == (None, 0, None)
    assert found.fetch.num_files == 4
    assert found.fetch.nbytes == sum(path.stat().st_size for path in (tmp_path / "run").rglob("*.safetensors"))
    series = analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
    assert found.nbytes == sum(4 * 4 * math.prod(row.shape) for row in series.rows)  # 4 checkpoints of float32
    assert len(hub.log.records("data")) <= found.fetch.range_requests


@pytest.mark.parametrize(("form", "most"), [("safetensors", 1), ("bin", 3), ("legacy", 2)])
def test_a_file_of_many_tensors_is_opened_in_few_requests(hub, tmp_path, form, most):
    publish(hub, tmp_path / "run", make_walk(2, {f"layer.{i}.weight": (300, 300) for i in range(40)}), form)
    list_sequence([on_hub()])
    assert max(map(len, ranges_of(hub).values())) <= most
    assert hub.log.bytes_sent() < 700_000


@pytest.mark.parametrize("form", ["safetensors", "sharded"])
def test_ranges_send_no_header_byte_twice(hub, tmp_path, form):
    publish(hub, tmp_path / "run", with_copies(6), form)
    analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
    for (commit, file), spans in ranges_of(hub).items():
        if file.endswith(".safetensors"):
            begin = spans[0]
            assert begin[0] == 0, (commit, file)
            content = hub.repos["model", REPO].find(commit).files[file]
            with content.open() as handle:
                header = 8 + int.from_bytes(handle.read(8), "little")
            assert header <= begin[1]
            assert all(start >= header for start, _ in spans[1:])
            assert sum(start == 0 for start, _ in spans) == 1


def test_what_was_damaged_on_the_way_is_asked_for_again(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(4))
    hub.faults.corrupt(at=20, revisions="step100")
    broken = list_sequence([on_hub()])
    assert [checkpoint.status for checkpoint in broken.checkpoints] == ["ok", "unreadable", "ok", "ok"]
    first = analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
    assert [record.status for record in first.checkpoints] == ["ok", "unreadable", "ok", "ok"]
    hub.faults.clear()
    second = analyze(on_hub(), tmp_path / "far.wsa", fetch="ranges")
    assert [record.status for record in second.checkpoints] == ["ok"] * 4
    same_sums(second, analyze(tmp_path / "run", tmp_path / "local.wsa"))


@pytest.mark.parametrize("change", ["gone", "private", "disabled"])
@pytest.mark.parametrize("at", ["", "@step100", "@{commit}"])
def test_a_repository_that_may_not_be_read_any_more_is_not_shown(hub, tmp_path, change, at):
    repo = publish(hub, tmp_path / "run", make_walk(3))
    source = on_hub() + at.format(commit=repo.find("step100").sha)
    list_sequence([source])
    if change == "gone":
        hub.delete_repo(REPO)
    setattr(repo, change, True)
    with pytest.raises(SourceError, match=r"no such repository|disabled"):
        list_sequence([source])


def test_a_run_that_was_killed_while_it_measured_keeps_its_headers(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(4))
    hub.faults.hang(60, kinds=("data",), after=4)
    command = [sys.executable, "-m", "wsanalyze", "analyze", on_hub(), "--fetch", "ranges", "--run", tmp_path / "a.wsa"]
    with subprocess.Popen(command, env=hub.environment(tmp_path), stdout=-3, stderr=-3) as child:
        while hub.log.count("data") < 5:
            assert child.poll() is None
        child.kill()
    hub.faults.clear()
    hub.log.clear()
    list_sequence([on_hub()])
    assert len(hub.log) == 1


def test_it_lies_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_memory_path().name == "hub.sqlite"
