"""Checkpoints on disk, small and quickly written."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from wsanalyze.checkpoints.folder import FolderSource


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
