from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.checkpoints.tree import Listed
from wsanalyze.errors import CheckpointError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.records import Revision, TreeFile
from wsanalyze.hub.tree import HubTree

COMMIT = "1" * 40
DIGEST = "sha256:" + "a" * 64
PARTS = st.sampled_from(["a", "b", "checkpoint-1", "model.safetensors", "é x", "c.json"])
PATHS = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), unique=True, max_size=8)


class Client:
    """Answers with a file's path in place of its bytes."""

    def read_start(self, file, nbytes):
        return file.entry.path.encode()[:nbytes]


def make_tree(*paths, **changes):
    entries = [TreeFile(**{"path": path, "size": 5, "digest": DIGEST, **changes}) for path in paths]
    return HubTree(HubAddress("org/name"), Revision("step1", COMMIT), entries, Client())


def write(folder, paths):
    """The same files on disk; those that are a folder to others are left out."""
    kept = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    for path in kept:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return kept


@given(PATHS)
def test_a_listing_is_walked_like_a_folder_on_disk(tmp_path_factory, paths):
    folder = tmp_path_factory.mktemp("tree")
    root = make_tree(*write(folder, paths)).root

    def walk(place, base):
        for child in place.iterdir():
            yield PurePosixPath(*child.parts[len(base) :]), child.name, child.suffix, child.is_file(), child.is_dir()
            if child.is_dir():
                yield from walk(child, base)

    assert set(walk(root, root.parts)) == set(walk(folder, folder.parts))


def test_a_path_is_a_listed_place():
    root = make_tree("folder/model.safetensors", "x.json").root
    path = root / "folder" / "model.safetensors"
    assert isinstance(path, Listed)
    assert str(root) == "hf://org/name@step1"
    assert str(path) == "hf://org/name@step1/folder/model.safetensors"
    assert path.parent == root / "folder"
    assert path.parent.parent == root
    assert root.name == "step1"
    assert root.parent == root
    assert (path.exists(), path.is_file(), path.is_dir()) == (True, True, False)
    assert path.ref().stamp == DIGEST
    assert path.ref().remote
    assert path.read_start(6) == b"folder"
    assert len({path, root / "folder" / "model.safetensors"}) == 1
    assert sorted([path, root]) == [root, path]


def test_what_is_not_there_is_said_to_be():
    root = make_tree("a/b.json").root
    gone = root / "a" / "c.json"
    assert not gone.exists()
    with pytest.raises(CheckpointError, match="is no file"):
        gone.ref()
    with pytest.raises(CheckpointError, match="is no file"):
        gone.read_start(1)
    with pytest.raises(FileNotFoundError):
        (root / "a" / "b.json").iterdir()


def test_a_pattern_finds_files_and_folders_in_order_and_no_deeper_ones():
    tree = make_tree("checkpoint-2/a.bin", "checkpoint-10/a.bin", "checkpoint-1/x/a.bin", "checkpoint-1.bin", "[x]/a")
    found = [path.name for path in tree.find("checkpoint-*")]
    assert found == ["checkpoint-1", "checkpoint-1.bin", "checkpoint-10", "checkpoint-2"]
    assert [str(path) for path in tree.find("checkpoint-?/*.bin")] == ["hf://org/name@step1/checkpoint-2/a.bin"]
    assert [path.name for path in tree.find("[x]")] == ["[x]"]
    assert tree.find("nothing*") == []


@pytest.mark.parametrize("path", ["../evil.bin", "/etc/passwd", "a/../../b", "", ".", "a\0b"])
def test_paths_that_lead_out_of_the_repository_are_left_out(path):
    tree = make_tree(path, "model.bin")
    assert [str(path) for path in tree.files] == ["model.bin"]


@pytest.mark.parametrize("size", [-1, None, "5", 1.0, True, 2**60])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(CheckpointError, match=r"hf://org/name@step1/m.bin: is listed without its size"):
        make_tree("m.bin", size=size)


@pytest.mark.parametrize("digest", ["sha256:../../x", "git:None", "sha256:" + "a" * 63, "sha256:None", ""])
def test_a_hash_that_is_none_is_refused(digest):
    with pytest.raises(CheckpointError, match="without its size or hash"):
        make_tree("m.bin", digest=digest)


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./a")])
def test_what_is_listed_twice_is_refused(paths):
    with pytest.raises(CheckpointError, match="is listed twice"):
        make_tree(*paths)


@pytest.mark.parametrize("path", [None, 5])
def test_a_name_that_is_no_text_is_refused(path):
    with pytest.raises(CheckpointError, match="without a name"):
        make_tree(path)
