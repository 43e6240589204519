"""Candidates are measured on equal sequences, and only if they agree."""

import sys

import pytest


def make_way(script, name, told):
    return script.Way(name, [[sys.executable, "-c", f"print({told!r})"]])


def test_what_is_larger_than_a_sequence_is_read_several_times(script, tmp_path):
    folder = tmp_path / "0.012"
    folder.mkdir()
    for step in (0, 1):
        (folder / f"step_{step}.safetensors").write_bytes(b"x" * 10)
    files, repeat = script.prepare(tmp_path, 0.012)
    assert (files.folder, files.nbytes, repeat) == (folder, 20, 1)
    folder.rename(tmp_path / "5")
    files, repeat = script.prepare(tmp_path, 15)
    assert (files.folder, files.nbytes, repeat) == (tmp_path / "5", 60, 3)


def test_candidates_that_find_other_sums_are_not_measured(script):
    same = [make_way(script, "one", "[[1, 2.0]]"), make_way(script, "two", "[[1, 2.0000001]]")]
    script.check(same)
    with pytest.raises(SystemExit, match=r"^three finds other sums than one$"):
        script.check([*same, make_way(script, "three", "[[1, 2.1]]")])


def test_what_is_not_installed_is_named_and_left_out(script, monkeypatch):
    monkeypatch.setitem(script.CANDIDATES, "numba-threads", ("numba, two threads", "no_such_module"))
    names, notes = script.find_candidates()
    assert "numpy-processes" in names
    assert "numba-threads" not in names
    assert "numba, two threads: no_such_module is not installed" in notes
