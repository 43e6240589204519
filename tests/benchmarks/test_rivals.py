"""Rivals are run on what they read, where they are installed; the scripts compute what they say."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("rivals.commands")


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    """A small sequence of each format."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        make_files = importlib.import_module("sequences").make_files
    folder = tmp_path_factory.mktemp("sequences")
    return {kind: make_files(folder / kind, kind, 0.0005, 3) for kind in ("float32", "sharded", "pt")}


def make_program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_programs_are_looked_for_in_the_environment_that_is_named(script, sequences, tmp_path):
    make_program(tmp_path / "venv" / "bin" / "weightscope")
    ways, notes = script.find_rivals(sequences["float32"], tmp_path / "links", tmp_path / "venv")
    assert [command[:2] for command in ways["weightscope"]] == [[str(tmp_path / "venv/bin/weightscope"), "diff"]] * 2
    assert not any(note.startswith("weightscope") for note in notes)
    named = {note.partition(":")[0] for note in notes}
    assert named | set(ways) == {rival.name for rival in script.RIVALS}
    assert not named & set(ways)


def test_who_wants_folders_gets_links_to_the_files(script, sequences, tmp_path):
    make_program(tmp_path / "venv" / "bin" / "weightscope")
    files = sequences["float32"]
    for _ in range(2):  # links that are there already are no error
        ways, _ = script.find_rivals(files, tmp_path / "links", tmp_path / "venv")
    first, second = ways["weightscope"]
    assert first[3] == second[2]
    assert [next(Path(folder).iterdir()).resolve() for folder in (*first[2:], second[3])] == list(files.checkpoints)


def test_what_does_not_read_a_format_is_named(script, sequences, tmp_path):
    ways, notes = script.find_rivals(sequences["pt"], tmp_path, None)
    assert "load everything" in ways
    assert "ten-line script: does not read pt" in notes


def test_what_does_not_fit_into_memory_is_not_loaded(script, sequences, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "_available_bytes", lambda: 1000)
    ways, notes = script.find_rivals(sequences["float32"], tmp_path, None)
    assert "load everything" not in ways
    assert any("do not fit into the memory" in note for note in notes)


@pytest.mark.parametrize("kind", ["float32", "sharded", "pt"])
def test_scripts_print_the_relative_change_of_every_matrix(script, sequences, tmp_path, kind):
    files = sequences[kind]
    ways, _ = script.find_rivals(files, tmp_path, None)
    reference = [load_file(path) for path in sequences["float32"].checkpoints]
    expected = {}
    for name, weights in reference[0].items():
        if weights.ndim > 1:
            w, v = weights.double(), reference[1][name].double()
            expected[name] = float((v - w).abs().sum() / w.abs().sum())
    for name in ("ten-line script", "load everything"):
        if name not in ways:
            continue
        done = subprocess.run(*ways[name], capture_output=True, text=True, check=True, env=dict(os.environ))
        lines = [line.split() for line in done.stdout.splitlines()]
        assert len(lines) == 2 * len(expected)
        found = {layer: float(value) for layer, value in lines[: len(expected)]}
        assert found == pytest.approx(expected, rel=1e-4)
        assert re.fullmatch(r"measured in \d+\.\d+ s\n", done.stderr)


def test_modules_are_looked_for_without_importing_them(script, tmp_path):
    assert script._find_module("torch", None) == sys.executable
    assert script._find_module("no_such_module_anywhere", tmp_path) is None
