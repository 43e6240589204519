"""Checkpoints on disk, small and quickly written, and in a tree that is only listed."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from safetensors.numpy import save_file

from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef


@pytest.fixture
def put(tmp_path):
    """Write weight files (safetensors, whatever their suffix) or other files below the test's folder."""

    def put(*names, weights=None, text=None):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_text(text if isinstance(text, str) else json.dumps(text))
            else:
                save_file(weights or {"w": np.full((2, 2), len(name), np.float32)}, path)
        return tmp_path

    return put


@pytest.fixture
def find():
    """Checkpoints below a path, by label in the order found: their files, and what precedes the names in each."""

    def find(path):
        return {
            checkpoint.label: [Path(file.url).name for file in checkpoint.files]
            if not checkpoint.problem
            else "problem"
            for checkpoint in FolderSource(str(path)).checkpoints()
        }

    return find


@pytest.fixture
def locate():
    return lambda path: list(FolderSource(str(path)).checkpoints())


class Tree:
    """Files that are listed, as those of a revision on a hub: what each holds must be fetched.

    `fetched` notes every fetch of a start of a file, (its path, number of bytes); `broken` names those that fail.
    """

    def __init__(self, files, broken=()):
        self.files = {tuple(name.split("/")): data for name, data in files.items()}
        self.folders = {name[:depth] for name in self.files for depth in range(1, len(name))}
        self.fetched = []
        self.broken = broken


@dataclass(frozen=True)
class TreeNode:
    """A `TreePath` that is `Listed`, and nothing more."""

    tree: Tree
    parts: tuple[str, ...]

    def __str__(self):
        return f"tree:{'/'.join(self.parts)}"

    @property
    def name(self):
        return self.parts[-1]

    @property
    def suffix(self):
        return PurePosixPath(self.name).suffix

    @property
    def parent(self):
        return TreeNode(self.tree, self.parts[:-1] or self.parts)

    def __truediv__(self, name):
        return TreeNode(self.tree, (*self.parts, name))

    def iterdir(self):
        if not self.is_dir():
            raise NotADirectoryError(20, "Not a directory")
        found = (*self.tree.files, *self.tree.folders)
        yield from (TreeNode(self.tree, parts) for parts in reversed(found) if parts[:-1] == self.parts)

    def exists(self):
        return self.is_dir() or self.is_file()

    def is_dir(self):
        return self.parts in self.tree.folders

    def is_file(self):
        return self.parts in self.tree.files

    def ref(self):
        if not self.is_file():
            what = "is not a regular file" if self.is_dir() else "cannot be read (no such file or directory)"
            raise CheckpointError(what, self)
        return FileRef(str(self), len(self.tree.files[self.parts]), f"hash of {self}", remote=True)

    def read_start(self, nbytes):
        if self.name in self.tree.broken:
            raise CheckpointError("cannot be fetched (503)", self)
        self.tree.fetched.append((str(self), nbytes))
        return self.tree.files[self.parts][:nbytes]


@pytest.fixture(scope="session")
def grow():
    """A tree of files by their paths; the root is the folder that is the first part of all of them."""

    def grow(files, broken=()):
        tree = Tree(files, broken)
        return TreeNode(tree, next(iter(tree.files))[:1])

    return grow
