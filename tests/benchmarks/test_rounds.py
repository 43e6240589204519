"""A round runs the floor right before every way, and what takes too long once only."""

import sys

import pytest


@pytest.fixture
def files(script, tmp_path):
    folder = tmp_path / "sequence"
    folder.mkdir()
    for step in (1000, 0, 20):
        (folder / f"step_{step}.safetensors").write_bytes(b"x" * (step + 1))
    return script.Files.find(folder)


def make_way(script, name, code, *, fresh=False):
    return script.Way(name, [[sys.executable, "-c", code]], fresh=fresh)


def test_the_files_stand_by_step(files):
    assert [path.stem for path in files.weights] == ["step_0", "step_20", "step_1000"]
    assert (files.nbytes, files.form) == (1023, "safetensors")


def test_every_way_runs_once_a_round_behind_a_floor_of_its_own(script, files, tmp_path):
    log = tmp_path / "log"
    code = "import pathlib\nwith pathlib.Path({!r}).open('a') as file: file.write({!r})"
    ways = [make_way(script, name, code.format(str(log), name)) for name in "ab"]
    samples, slow = script.run_rounds(files, ways, 3, tmp_path)
    assert log.read_text() == "ababab"
    assert [len(found) for found in samples.values()] == [3, 3]
    assert len({id(sample.floor) for found in samples.values() for sample in found}) == 6
    assert slow == []


def test_what_is_fresh_finds_nothing_stored(script, files, tmp_path):
    run, cache = tmp_path / "bench.wsa", tmp_path / "cache" / "headers"
    code = f"import pathlib\nrun, cache = map(pathlib.Path, ({str(run)!r}, {str(cache)!r}))\n"
    write = code + "assert not run.exists() and not cache.exists()\nrun.touch()\ncache.parent.mkdir()\ncache.touch()"
    find = code + "assert run.exists() and cache.exists()"
    ways = [make_way(script, "write", write, fresh=True), make_way(script, "find", find)]
    samples, _ = script.run_rounds(files, ways, 2, tmp_path)
    assert len(samples["find"]) == 2


def test_what_takes_too_long_is_run_once_and_named(script, files, tmp_path):
    log = tmp_path / "log"
    slow = f"import pathlib, time\nwith pathlib.Path({str(log)!r}).open('a') as file: file.write('x')\ntime.sleep(600)"
    samples, told = script.run_rounds(files, [make_way(script, "slow", slow)], 3, tmp_path, 1)
    assert samples == {"slow": []}
    assert told == ["slow: took more than 1 s"]
    assert not log.exists() or log.read_text() == "x"
