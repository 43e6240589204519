"""Where the records of a remote archive begin: told without a look at them where torch wrote it, and never wrongly."""

import io
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.serialization import config

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.files.zip_records import locate_record, read_directory


class Memory:
    """A source of one file that was written in pieces; what was too large to be kept is zeros."""

    def __init__(self, data=b""):
        self.pieces = {}
        self.size = 0
        self.num_reads = 0
        if data:
            self.write(data)

    def write(self, data):
        view = memoryview(data).cast("B")
        if len(view) <= 1 << 20:
            self.pieces[self.size] = bytes(view)
        self.size += len(view)
        return len(view)

    def flush(self):
        pass

    def read_into(self, file, offset, buffer):
        self.num_reads += 1
        offset += file.start
        buffer[:] = bytes(len(buffer))
        for start, piece in self.pieces.items():
            first, last = max(start, offset), min(start + len(piece), offset + len(buffer))
            if first < last:
                buffer[first - offset : last - offset] = piece[first - start : last - start]

    def locate(self):
        """Where each stored record is, as its local header tells and as the directory alone does."""
        file = FileRef("memory", self.size, "")
        remote = replace(file, remote=True)
        told = {name: locate_record(self, file, r) for name, r in read_directory(self, file).items() if r.stored}
        directory = read_directory(self, remote)
        num_reads = self.num_reads
        found = {name: locate_record(self, remote, r) for name, r in directory.items() if r.stored}
        self.predicted = self.num_reads == num_reads
        return told, found


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 200), max_size=8),
    stem=st.text("abcXYZ012-_", min_size=1, max_size=100),
    keys=st.text(max_size=40),
)
def test_what_torch_saves_is_found_without_a_read(tmp_path_factory, sizes, stem, keys):
    tensors = {f"{keys}{i}": torch.zeros(size, dtype=torch.uint8) for i, size in enumerate(sizes)}
    path = tmp_path_factory.mktemp("saved") / f"{stem}.pt"
    torch.save(tensors, path)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    for data in (path.read_bytes(), buffer.getvalue()):
        memory = Memory(data)
        told, found = memory.locate()
        assert found == told
        assert len(found) >= len(sizes)
        assert memory.predicted


def test_names_that_are_no_ascii_are_found_too(tmp_path):
    save_script(str(tmp_path / "mödelé.pt"))
    memory = Memory((tmp_path / "mödelé.pt").read_bytes())
    told, found = memory.locate()
    assert (found, memory.predicted) == (told, True)
    assert any(not name.isascii() for name in found)


def test_compressed_code_beside_the_weights_does_not_mislead():
    buffer = io.BytesIO()
    save_script(buffer)
    with zipfile.ZipFile(buffer) as archive:
        assert any(info.compress_type == zipfile.ZIP_DEFLATED for info in archive.infolist())
    memory = Memory(buffer.getvalue())
    told, found = memory.locate()
    assert (found, memory.predicted) == (told, True)


def test_beyond_4_gb():
    def storage(nbytes):
        return torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage(nbytes))

    memory = Memory()
    sizes = (3, 2**32 + 77, 5, 2**32 - 1, 0, 2**32 - 2, 1)  # from 2**32 - 1 on, sizes and offsets stand elsewhere
    torch.save([storage(size) for size in sizes], memory)
    told, found = memory.locate()
    assert max(found.values()) > 2**33
    assert (found, memory.predicted) == (told, True)


@pytest.mark.parametrize(("alignment", "predicted"), [(64, True), (1, False), (128, False), (4096, False)])
def test_another_alignment_is_asked_for(alignment, predicted):
    buffer = io.BytesIO()
    try:
        config.save.storage_alignment = alignment
        torch.save({"a": torch.zeros(3), "b": torch.zeros(1000)}, buffer)
    finally:
        config.save.storage_alignment = 64
    memory = Memory(buffer.getvalue())
    told, found = memory.locate()
    assert (found, memory.predicted) == (told, predicted)


class Pipe(io.RawIOBase):
    """Cannot go back, so that the writer puts a descriptor behind each record."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


# Its data begins 8 bytes before a multiple of 64, and its descriptor is 8 bytes longer than torch's.
@example(records={"a" * 6: 0}, streamed=True, zip64=True, deflated=False, before=0)
@settings(deadline=None, max_examples=200)
@given(
    records=st.dictionaries(st.text("abé/", min_size=1, max_size=70), st.integers(0, 130), min_size=1, max_size=4),
    streamed=st.booleans(),
    zip64=st.booleans(),
    deflated=st.booleans(),
    before=st.sampled_from([0, 1, 64]),
)
def test_archives_of_another_writer_are_never_taken_for_torch_wrongly(records, streamed, zip64, deflated, before):
    out = Pipe() if streamed else io.BytesIO()
    out.write(bytes(before))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, size in records.items():
            with archive.open(name, "w", force_zip64=zip64) as record:
                record.write(bytes(size))
    told, found = Memory(bytes(out.data) if streamed else out.getvalue()).locate()
    assert found == told


def test_archives_of_numpy_are_read_as_they_are():
    buffer = io.BytesIO()
    np.savez(buffer, **{"a": np.zeros(3), "b" * 11: np.zeros(64)})
    memory = Memory(buffer.getvalue())
    told, found = memory.locate()
    assert (found, memory.predicted) == (told, False)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_garbled_directory_leads_nowhere_outside_the_file(data):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3), "b": torch.zeros(100)}, buffer)
    garbled = bytearray(buffer.getvalue())
    first = garbled.index(b"PK\x01\x02")
    for _ in range(data.draw(st.integers(1, 3))):
        garbled[data.draw(st.integers(first, len(garbled) - 1))] = data.draw(st.integers(0, 255))
    memory = Memory(bytes(garbled))
    file = FileRef("memory", memory.size, "", remote=True)
    try:
        records = list(read_directory(memory, file).values())
    except CheckpointError:
        return
    for record in records:
        try:
            offset = locate_record(memory, file, record)
        except CheckpointError:
            continue
        assert 0 <= offset <= offset + record.nbytes <= memory.size


def save_script(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 4)), file)
