"""The structure of ONNX models: damage, and files of external data that lead elsewhere."""

import os

import pytest

from wsanalyze.errors import CheckpointError
from wsanalyze.files import onnx_model
from wsanalyze.files.contents import read_contents
from wsanalyze.files.local import LocalFiles, stat_file


def varint(value):
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def field(number, value):
    """One field of protobuf: a varint for a number, else a length and the bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name="w", dims=(2, 2), data=bytes(16), **others):
    parts = [field(1, size) for size in dims] + [field(2, 1)]
    parts += [field(8, name.encode("utf-8", "surrogatepass") if isinstance(name, str) else name)] if name else []
    parts += [field(9, data)] if data is not None else []
    for key, value in others.items():
        parts.append(field(13, field(1, key.encode()) + field(2, str(value).encode())))
    return b"".join(parts) + (field(14, 1) if others else b"")


def model(*tensors, graphs=1, more=b""):
    graph = b"".join(field(5, found) for found in tensors)
    return field(1, 8) + field(7, graph + more) * graphs + field(14, field(1, b"step") + field(2, b"12"))


@pytest.fixture
def read(tmp_path):
    def read(data):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "x.onnx").write_bytes(data)
        with LocalFiles() as source:
            return read_contents(source, stat_file(folder / "x.onnx"))

    return read


def test_a_model_made_by_hand_is_read(read):
    found = read(model(tensor(), tensor("v", (4,))))
    assert list(found.initializers) == ["w", "v"]
    assert found.initializers["w"].shape == (2, 2)
    assert list(found.mappings()) == [{"step": "12"}]


DAMAGED = {
    r"\(no graph\)": lambda: field(1, 8) + field(14, b""),
    r"\(two graphs\)": lambda: model(tensor(), graphs=2),
    "an initialiser without a name": lambda: model(tensor(None)),
    "holds the initialiser 'w' twice": lambda: model(tensor(), tensor()),
    "a name that is no text": lambda: model(tensor(b"\xff\xfe")),
    "a text of 70000 bytes": lambda: model(tensor("x" * 70_000)),
    r"\(a shape\)": lambda: model(tensor(dims=(2**63, 2))),
    "has a damaged shape": lambda: model(tensor(dims=(2**40, 2**40))),
    "a field of a kind that is not known": lambda: model(more=varint(9 << 3 | 3)),
    "reaches beyond its message": lambda: model(more=varint(5 << 3 | 2) + varint(999)),
    "a number that does not end": lambda: field(1, 8) + b"\xff" * 12,
    "too many entries of external data": lambda: model(tensor(data=None, **{f"k{i}": i for i in range(300)})),
}


@pytest.mark.parametrize("said", DAMAGED)
def test_damage_is_one_line(read, said):
    with pytest.raises(CheckpointError, match=said) as error:
        read(DAMAGED[said]())
    assert "\n" not in str(error.value)


def test_every_cut_is_refused_or_holds_less(read):
    data = model(tensor(), tensor("v"))
    for length in range(3, len(data)):
        try:
            found = read(data[:length])
        except CheckpointError:
            continue
        assert set(found.initializers) <= {"w", "v"}


def test_bounds(read, monkeypatch):
    monkeypatch.setattr(onnx_model, "MAX_INITIALIZERS", 3)
    with pytest.raises(CheckpointError, match="has more than 3 initialisers: refused"):
        read(model(*(tensor(f"w{i}") for i in range(4))))
    monkeypatch.setattr(onnx_model, "_MAX_FIELDS", 10)
    with pytest.raises(CheckpointError, match="has more than 10 protobuf fields: refused"):
        read(model(tensor(), tensor("v")))


def test_external_data_is_a_plain_file_of_the_same_folder(read, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(64))
    (folder / "link").symlink_to("../secret")
    os.mkfifo(folder / "pipe")
    found = read(model(tensor(data=None, location="w.bin", offset=16, length=16)))
    initializer = found.initializers["w"]
    assert (initializer.file.url, initializer.offset, initializer.nbytes) == (str(folder / "w.bin"), 16, 16)
    for location, said in (
        ("../secret", "in what is no file of its folder"),
        (str(tmp_path / "secret"), "in what is no file of its folder"),
        ("..", "in what is no file of its folder"),
        ("", "in what is no file of its folder"),
        ("link", "a link that leaves its folder"),
        ("missing", "which is missing"),
        ("pipe", "is not a regular file"),
    ):
        with pytest.raises(CheckpointError, match=said):
            read(model(tensor(data=None, location=location, length=16)))
    for others, said in (
        ({"length": 65}, "lies outside 'w.bin'"),
        ({"offset": 60, "length": 8}, "lies outside 'w.bin'"),
        ({"offset": 99}, "lies outside 'w.bin'"),
        ({"offset": "-1"}, "has a damaged offset"),
        ({"length": "9" * 30}, "has a damaged length"),
    ):
        with pytest.raises(CheckpointError, match=said):
            read(model(tensor(data=None, location="w.bin", **others)))


def test_links_of_the_cache_of_the_hub_are_followed(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "ff").write_bytes(bytes(16))
    (snapshot / "w.bin").symlink_to("../../blobs/ff")
    (snapshot / "x.onnx").write_bytes(model(tensor(data=None, location="w.bin")))
    with LocalFiles() as source:
        assert read_contents(source, stat_file(snapshot / "x.onnx")).initializers["w"].nbytes == 16


def test_data_of_two_files_tells_equal_models_apart(read, tmp_path):
    tokens = []
    for value in (b"\0", b"\1"):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "w.bin").write_bytes(value * 16)
        tokens.append(list(read(model(tensor(data=None, location="w.bin"))).tokens()))
    assert tokens[0] != tokens[1]
