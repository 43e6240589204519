"""No pickle runs, whatever container it lies in, and the weights beside it are read all the same."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def load(name):
    """A module that lies beside this one: tests are no package."""
    spec = importlib.util.spec_from_file_location(f"attacks_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


containers, payloads = load("containers"), load("payloads")


def read_guarded(honest, paths):
    command = [sys.executable, str(HERE / "read_guarded.py"), str(honest), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("container", containers.CONTAINERS)
def test_nothing_runs_and_the_weights_are_read(tmp_path, container):
    canary = tmp_path / "canary"
    honest = containers.make_honest(container, tmp_path / "honest")
    expected = {}
    fragments = dict(payloads.list_fragments(canary))
    for number, fragment in enumerate(fragments.values()):
        folder = tmp_path / f"payload{number}"
        folder.mkdir()
        expected[str(folder)] = containers.CONTAINERS[container](folder, fragment)
    found = read_guarded(honest, expected)
    assert not canary.exists()
    for name, (folder, weights) in zip(fragments, expected.items(), strict=True):
        assert found[folder] == {"tensors": weights, "problems": [], "done": []}, name


@pytest.mark.parametrize("protocol", payloads.PROTOCOLS)
def test_the_payloads_act_where_pickle_reads_them(tmp_path, protocol):
    """What the tests above are worth: each of these fragments makes the canary when it is run."""
    canary = tmp_path / "canary"
    chosen = ("os.system", "eval", "exec", "open for writing", "a chain of calls", "a key", "an object array")
    fragments = dict(payloads.list_fragments(canary))
    for name in chosen:
        script = f"import pickle; pickle.loads({fragments[f'{name}, protocol {protocol}'] + b'.'!r})"
        subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
        assert canary.exists(), name
        canary.unlink()


def test_the_hook_sees_a_reader_that_runs_pickles(tmp_path):
    """What the hook is worth: were a file unpickled, it would be told."""
    honest = containers.make_honest("torch", tmp_path / "honest")
    folder = tmp_path / "payload"
    folder.mkdir()
    fragment = dict(payloads.list_fragments(tmp_path / "canary"))["os.system, protocol 2"]
    containers.CONTAINERS["torch"](folder, fragment)
    script = f"""
import sys; sys.path.insert(0, {str(HERE)!r}); sys.argv = ["x", {str(honest)!r}, {str(folder)!r}]
import pickle, read_guarded
from wsanalyze.files import torch_archive
parse = torch_archive.parse_pickle
def run(data):
    if b"system" in data:
        pickle.loads({fragment + b"."!r})
    return parse(data)
torch_archive.parse_pickle = run
read_guarded.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "find_class" in json.loads(done.stdout)[str(folder)]["done"][0]
    assert not (tmp_path / "canary").exists()
