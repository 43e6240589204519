"""Files that lie: each is refused in one line that says what is wrong, and the checkpoints beside it are read."""

import csv
import importlib.util
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import SourceError
from wsanalyze.files.local import LocalFiles
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.progress import silent
from wsanalyze.sequence import open_sequence
from wsanalyze.sources import locate_checkpoints
from wsanalyze.tensors.gather import ElementReader

_SPEC = importlib.util.spec_from_file_location("attacks_zips", Path(__file__).parents[1] / "fuzz" / "zips.py")
zips = sys.modules["attacks_zips"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(zips)

GENERATOR = torch.Generator().manual_seed(0)
STATE = {"a": torch.randn(3, 4, generator=GENERATOR), "b": torch.randn(5, generator=GENERATOR)}


def save_torch(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


SAVED = save_torch(STATE)
LEGACY = save_torch(STATE, _use_new_zipfile_serialization=False)


def change(suffix, **changes):
    """An archive of torch of which one record is changed."""
    return zips.write_zip(zips.change_record(zips.read_zip(SAVED), suffix, **changes))


def repickle(old, new, data=SAVED):
    """The same with other opcodes in its pickle."""
    records = zips.read_zip(data)
    (record,) = [record for record in records if record.name.endswith(b"data.pkl")]
    assert record.data.count(old) == 1
    return zips.write_zip(zips.change_record(records, b"data.pkl", data=record.data.replace(old, new)))


def overlap():
    """The second storage is said to lie inside the first one, where there is a header as it should be."""
    inner = zips.write_zip([zips.Record(b"archive/data/1", bytes(20))])
    header = inner[: inner.index(b"PK\x01\x02")]
    records = zips.read_zip(SAVED)
    first = zips.write_zip(records).index(b"data/0") + len("data/0")
    records = zips.change_record(records, b"data/0", data=header.ljust(96, b"\0"))
    place = zips.write_zip(records).index(header, first)
    return zips.write_zip(zips.change_record(records, b"data/1", absent=True, lies={"offset": place}))


def twice():
    records = zips.read_zip(SAVED)
    return zips.write_zip([*records, *[record for record in records if record.name.endswith(b"data/0")]])


def header(entries, data=b"", length=None):
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


SHAPE = b"K\x03K\x04\x86"  # of `a`, as two small numbers
LONG = b"\x8a\x07" + (2**50).to_bytes(7, "little")
NEGATIVE = b"J\xff\xff\xff\xff"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 497774208\n"

TORCH = {
    "deflated": (change(b"data/0", method=8), r"'archive/data/0' is compressed or encrypted: use torch\.save"),
    "encrypted": (change(b"data/0", flags=0x801), "is compressed or encrypted"),
    "encrypted before the record": (change(b"data/0", local_lies={"flags": 1}), "not where the directory says"),
    "a deflated pickle": (change(b"data.pkl", method=8), "is compressed or encrypted"),
    "twice": (twice(), "holds the zip record 'archive/data/0' twice"),
    "two pickles": (change(b"byteorder", name=b"archive/x/data.pkl"), "not one that torch.save wrote"),
    "overlapping": (overlap(), "zip records 'data/0' and 'data/1' overlap"),
    "shorter than it is": (change(b"data/0", lies={"size": 8, "compressed": 8}), "'a' is larger than the storage"),
    "longer than the file": (change(b"data/1", lies={"size": 9999, "compressed": 9999}), "lies outside the file"),
    "two sizes": (change(b"data/0", lies={"size": 8}), "is compressed or encrypted"),
    "not there": (change(b"data/0", absent=True, lies={"offset": 99_999}), "truncated"),
    "another name before it": (change(b"data/0", local_lies={"name": b"archive/data/9"}), "not where the directory"),
    "a storage that is missing": (
        change(b"data/0", name=b"archive/data/7"),
        "refers to a storage that the file does not",
    ),
    "more elements than bytes": (repickle(SHAPE, b"K\x04K\x04\x86"), "'a' is larger than the storage"),
    "strides that leave it": (repickle(b"K\x04K\x01\x86", b"K\x05K\x01\x86"), "'a' is larger than the storage"),
    "a negative size": (repickle(SHAPE, NEGATIVE + b"K\x04\x86"), "tensor 'a' has damaged arguments"),
    "2^50 elements": (repickle(SHAPE, LONG + b"K\x01\x86"), "'a' is larger than the storage"),
    "2^100 elements": (repickle(SHAPE, LONG + LONG + b"\x86"), "tensor 'a' has damaged arguments"),
    "a negative stride": (repickle(b"K\x04K\x01\x86", NEGATIVE + b"K\x01\x86"), "tensor 'a' has damaged arguments"),
    "text for a size": (repickle(SHAPE, b"N"), "tensor 'a' has damaged arguments"),
    "an unknown byte order": (change(b"byteorder", data=b"middle"), "unknown byte order 'middle'"),
    "truncated": (SAVED[:-30], "truncated or damaged zip archive"),
    "legacy, truncated": (LEGACY[:-8], "lies outside the file: truncated"),
    "legacy, trailing bytes": (LEGACY + b"x", "has 1 bytes that belong to no storage"),
    "legacy, negative": (LEGACY.replace(struct.pack("<q", 12), struct.pack("<q", -1)), "has -1 elements: refused"),
    "legacy, 2^50 elements": (LEGACY.replace(struct.pack("<q", 12), struct.pack("<q", 2**50 + 1)), "elements: refused"),
    "an LFS pointer": (LFS, "Git LFS pointer, not the file itself: run `git lfs pull`"),
    "a web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page saved under the name of a"),
    "an error": (b'{"error": "Repository not found"}', "is JSON, perhaps a server's error"),
    "nothing": (b"", "is empty"),
    "a pickle": (pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
}

SAFETENSORS = {
    "outside the file": (header({"a": entry(0, 80, [20])}, bytes(4)), "'a' lies outside the file: truncated"),
    "overlapping": (header({"a": entry(0, 8, [2]), "b": entry(4, 8)}, bytes(8)), "'b' overlaps another in the file"),
    "a hole": (header({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "'b' leaves a hole before it"),
    "trailing bytes": (header({"a": entry(0, 4)}, bytes(5)), "has 1 bytes that belong to no tensor"),
    "too few bytes": (header({"a": entry(0, 4, [3])}, bytes(4)), "'a' does not fill the bytes that its header"),
    "a negative size": (header({"a": entry(0, 4, [-1])}, bytes(4)), "'a' has a damaged header entry"),
    "2^51 elements": (header({"a": entry(0, 2**53, [2**51])}), "'a' has a damaged header entry"),
    "a name twice": (header(b'{"a": {}, "a": {}}'), "'a' stands twice in it"),
    "over 100 MB": (header({}, length=100_000_001), "has a header of 100000001 bytes, more than 100000000 are refused"),
    "2^63 bytes": (header({}, length=2**63), "more than 100000000 are refused"),
    "beyond the file": (header({}, length=999), "truncated or still being written"),
    "deep": (header(b'{"a":' * 50_000), "damaged safetensors header"),
    "an LFS pointer": (LFS, "Git LFS pointer"),
}


@pytest.fixture
def run(tmp_path):
    """Good checkpoints at steps 1 and 3, and room for another one at step 2."""
    for step in (1, 3):
        save_file({name: tensor * step for name, tensor in STATE.items()}, tmp_path / f"step_{step}.safetensors")
    return tmp_path


def open_run(folder):
    """Labels of the checkpoints that are read to the end, and the problems of the others."""
    read, problems = {}, {}
    with LocalFiles() as source:
        found = open_sequence(locate_checkpoints([str(folder)]), SequenceOptions(), source, {}, silent)
        for member in found.members:
            if not member.alive:
                problems[member.checkpoint.label] = member.checkpoint.problem
                continue
            reader = ElementReader(source)
            read[member.checkpoint.label] = {n: reader(i, 0, i.numel) for n, i in member.tensors.items()}
    return read, problems


def check_refused(folder, reason):
    """The checkpoint at step 2 is refused for a reason, in one line, and the others are read."""
    read, problems = open_run(folder)
    assert list(read) == ["step_1", "step_3"]
    for step, tensors in ((1, read["step_1"]), (3, read["step_3"])):
        for name, tensor in STATE.items():
            np.testing.assert_array_equal(tensors[name].reshape(tensor.shape), (tensor * step).numpy())
    (problem,) = problems.values()
    assert problem.isprintable()
    assert str(folder) in problem
    assert re.search(reason, problem), problem


@pytest.mark.parametrize(("data", "reason"), TORCH.values(), ids=TORCH)
def test_a_torch_file_that_lies(run, data, reason):
    (run / "step_2.pt").write_bytes(data)
    check_refused(run, reason)


@pytest.mark.parametrize(("data", "reason"), SAFETENSORS.values(), ids=SAFETENSORS)
def test_a_safetensors_file_that_lies(run, data, reason):
    (run / "step_2.safetensors").write_bytes(data)
    check_refused(run, reason)


@pytest.mark.parametrize("name", ["../x.bin", "/etc/passwd", "a/../../x", "sub/x.bin", "..", "a\0b", "C:x", "a\\b"])
def test_an_index_that_leads_elsewhere(tmp_path, name):
    for step in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file({n: tensor * step for n, tensor in STATE.items()}, folder / "model-00001-of-00001.safetensors")
    told = {"a": "model-00001-of-00001.safetensors", "b": name}
    (tmp_path / "checkpoint-2" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": told}))
    read, problems = open_run(tmp_path)
    assert list(read) == ["checkpoint-1", "checkpoint-3"]
    assert "names a shard that is no file of its folder" in problems["checkpoint-2"]


def test_links_as_the_hub_lays_them_out_are_followed(tmp_path):
    """Content lies in blobs, and a snapshot is nothing but links to it."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, (name, tensor) in enumerate(STATE.items(), 1):
        (blobs / f"digest{number}").write_bytes(save({name: tensor}))
        link = snapshot / f"model-0000{number}-of-00002.safetensors"
        link.symlink_to(f"../../blobs/digest{number}")
    told = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate(STATE, 1)}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": told}))
    read, problems = open_run(snapshot)
    assert not problems
    (tensors,) = read.values()
    assert set(tensors) == set(STATE)


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/tty", "folder", "nowhere", "itself"])
def test_what_is_no_file_is_refused_and_never_waited_for(run, target):
    path = run / "step_2.safetensors"
    if target == "pipe":
        os.mkfifo(path)
    else:
        places = {"folder": run / ".git", "itself": path, "nowhere": run / "gone"}
        (run / ".git").mkdir()
        path.symlink_to(places.get(target, Path(target)))
    if target == "folder":
        assert list(open_run(run)[0]) == ["step_1", "step_3"]
        return
    check_refused(run, "is not a regular file" if target in ("pipe", "/dev/zero", "/dev/tty") else "cannot be read")


def test_a_link_to_what_is_no_checkpoint_tells_nothing_of_it(run, tmp_path_factory):
    """Links of the user's own lead where they like; what is no weights there is not shown."""
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("password=hunter2\n" * 100)
    (run / "step_2.safetensors").symlink_to(secret)
    check_refused(run, "is neither a safetensors nor a torch file")
    assert "hunter2" not in str(open_run(run)[1])


def test_a_shard_that_is_a_device(tmp_path):
    (tmp_path / "model-00001-of-00001.safetensors").symlink_to("/dev/zero")
    told = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(told))
    with pytest.raises(SourceError, match="is not a regular file"):
        open_run(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_no_mixture(save_sequence, make_states, tmp_path, watched_files):
    """It is written to between its header and its weights, with its time put back; the others are measured."""
    shapes = {"a.weight": (64, 64), "b.weight": (64, 64)}
    source = save_sequence(tmp_path / "run", make_states(5, shapes))
    victim = source / "step_2.safetensors"

    def rewrite(count):
        if count == 1:
            times = victim.stat().st_atime_ns, victim.stat().st_mtime_ns
            with victim.open("r+b") as file:
                file.seek(-4, os.SEEK_END)
                file.write(b"\xff" * 4)
            os.utime(victim, ns=times)

    watched_files.on_read = rewrite
    run = measure_run([str(source)], tmp_path / "run.wsa", AnalyzeOptions(), files=watched_files,
                      progress=watched_files.progress)  # fmt: skip
    problems = {record.label: record.reason for record in run.series.checkpoints if record.reason}
    assert list(problems) == ["step_2"]
    assert "changed" in problems["step_2"]
    assert run.series.pairs == ((0, 1), (1, 3), (3, 4))


NAMES = ("<script>alert(1)</script>.weight", "\x1b[2J.weight", "=1+1.weight", "[red]x[/red].weight", "\u202ex.weight")


def test_hostile_names_reach_no_report_as_they_are(tmp_path):
    for step in range(4):
        state = {name: torch.randn(4, 4) for name in (*NAMES, "a.weight")}
        save_file(state, tmp_path / f"step_{step}.safetensors")
    (tmp_path / "step_9.safetensors").write_bytes(header({NAMES[1]: entry(0, 80)}))
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "csv", "json", "markdown")}
    command = [sys.executable, "-m", "wsanalyze", "analyze", str(tmp_path), "--params", "all"]
    command += [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    texts = {kind: path.read_text(encoding="utf-8") for kind, path in files.items()} | {
        "out": done.stdout + done.stderr
    }
    for kind, text in texts.items():
        assert not set("\x1b\u202e\x07") & set(text), kind
    assert "<script>alert" not in texts["html"]
    assert all(not row[0].startswith(("=", "+", "-", "@")) for row in csv.reader(texts["csv"].splitlines()))
    assert NAMES[0] in texts["csv"]
