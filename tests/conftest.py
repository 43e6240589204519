"""What many tests share: a cache folder of their own, small checkpoints on disk, files that count or fail."""

import importlib.util
import os
import webbrowser
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from safetensors.numpy import save_file

from wsanalyze.cli import main
from wsanalyze.errors import CheckpointError
from wsanalyze.files.local import LocalFiles

# A law does not become false on a busy machine. A change is judged by the same examples as the one before it;
# `make laws` looks for others.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """No test writes into the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture
def save_sequence():
    """Save state dicts of arrays as `step_<n>.safetensors` in a folder; returns the folder."""

    def save(folder, states, steps=None):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for step, state in zip(steps or range(len(states)), states, strict=True):
            save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, _name(folder, step))
        return folder

    return save


@pytest.fixture
def make_states():
    """Random walks of a few matrices, one state dict of float32 arrays for each checkpoint."""

    def make(num_checkpoints=4, shapes=None, seed=0, spread=0.01):
        rng = np.random.default_rng(seed)
        shapes = shapes or {"stem.weight": (8, 3), "blocks.0.fc.weight": (5, 7), "blocks.1.fc.weight": (6, 6)}
        state = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        states = [state]
        for _ in range(num_checkpoints - 1):
            state = {n: w + (spread * rng.normal(size=w.shape)).astype(np.float32) for n, w in state.items()}
            states.append(state)
        return states

    return make


def _name(folder, step):
    return folder / f"step_{step}.safetensors"


class WatchedFiles(LocalFiles):
    """Local files that note every read of weights, and can be told to fail.

    Weights are what is read after `progress` was told that measuring begins; headers and samples come before.
    """

    def __init__(self):
        super().__init__()
        self.measuring = False
        self.reads = []  # (file name, offset, length) of every read of weights
        self.failing = {}  # file name: how many reads of weights it still allows
        self.on_read = None

    def progress(self, progress, /):
        self.measuring = progress.stage.startswith("measuring")

    def read_into(self, file, offset, buffer):
        if self.measuring:
            name = Path(file.url).name
            if name in self.failing:
                if self.failing[name] <= 0:
                    raise CheckpointError("cannot be read (input/output error)", file.url)
                self.failing[name] -= 1
            self.reads.append((name, offset, len(buffer)))
            if self.on_read is not None:
                self.on_read(len(self.reads))
        super().read_into(file, offset, buffer)

    def names(self):
        """Names of the files that weights were read from."""
        return {name for name, _, _ in self.reads}

    def num_bytes(self):
        return sum(length for _, _, length in self.reads)


@pytest.fixture
def watched_files():
    files = WatchedFiles()
    yield files
    files.close()


@pytest.fixture
def wsanalyze(capsys, monkeypatch):
    """Run the command line in this process; returns (status, standard output, standard error)."""
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail(f"opened {url}"))

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return status, output.out, output.err

    return run


@cache
def _load_example():
    path = Path(__file__).parent / "reports" / "example_trends.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example_module():
    """The made-up run that reports are tested with, see reports/example_trends.py."""
    return _load_example()


@pytest.fixture
def table(tmp_path):
    """The path of a table of six layers and three changes."""
    path = tmp_path / "table.csv"
    rows = "".join(f"layers.{i}.weight,{0.5 + i},{0.4 + i},{0.3 + i}\n" for i in range(6))
    path.write_text(f"layer,10,20,30\n{rows}")
    return path


@pytest.fixture
def make_trends():
    return _load_example().example_trends


@pytest.fixture
def trends():
    return _load_example().example_trends()


@pytest.fixture
def hostile_trends():
    return _load_example().example_trends(hostile=True)


@pytest.fixture
def kind_trends():
    return _load_example().by_kind(_load_example().example_trends())


@pytest.fixture
def hostile_names():
    return _load_example().HOSTILE_NAMES
