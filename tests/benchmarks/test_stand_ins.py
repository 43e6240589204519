"""What stands in for larger sequences is a sequence all the same: nothing of it can be skipped."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import wsanalyze
from wsanalyze.sources import locate_checkpoints


@given(versions=st.integers(3, 20), data=st.data())
def test_successive_checkpoints_differ_in_every_shard_and_no_two_are_equal(script, versions, data):
    checkpoints = data.draw(st.integers(2, versions**2))
    chosen = [tuple(script.choose_version(shard, i, versions) for shard in range(4)) for i in range(checkpoints)]
    assert len(set(chosen)) == checkpoints
    assert all(one != other for before, after in pairwise(chosen) for one, other in zip(before, after, strict=True))
    assert {version for row in chosen for version in row} <= set(range(versions))


@pytest.mark.parametrize(("checkpoints", "versions"), [(7, 3), (2, 16), (4, 4)])
def test_linked_checkpoints_are_all_measured(script, tmp_path, checkpoints, versions):
    plan = script.plan_tensors(30, 400_000, 4)
    folder = tmp_path / "sequence"
    script.write_linked(folder, plan, checkpoints, versions, "float32", seed=0)
    files = list(folder.rglob("*.safetensors"))
    assert len(files) == 4 * checkpoints
    assert len({path.stat().st_ino for path in files}) == 4 * min(versions, checkpoints)
    assert {path.name for path in folder.iterdir()} == {f"checkpoint-{1000 * i}" for i in range(checkpoints)}
    run = wsanalyze.analyze(str(folder), run=tmp_path / "run.wsa", params="all")
    changes = run.series.metric("rwc")
    assert changes.shape == (30, checkpoints - 1)
    assert (changes > 0).all()


def test_too_few_versions_are_refused(script, tmp_path):
    plan = script.plan_tensors(12, 50_000, 4)
    for versions, checkpoints in ((1, 2), (2, 3), (3, 10)):
        with pytest.raises(ValueError, match="raise --versions"):
            script.write_linked(tmp_path / "new", plan, checkpoints, versions, "float32", seed=0)
    assert not list(tmp_path.iterdir())


def test_sparse_files_take_no_room_and_are_no_copies(script, tmp_path):
    plan = script.plan_tensors(60, 60_000_000, 4)
    script.write_sparse(tmp_path / "sequence", plan, 3, "float32", seed=0)
    paths = sorted((tmp_path / "sequence").iterdir())
    assert len(paths) == 3
    nbytes = 4 * sum(tensor.numel for tensor in plan)
    first = min(plan, key=lambda tensor: tensor.name)
    for path in paths:
        assert nbytes < path.stat().st_size < nbytes + 20_000
        assert path.stat().st_blocks * 512 < 4 * first.numel + 100_000
    weights = load_file(paths[0])
    assert np.count_nonzero(weights.pop(first.name)) == first.numel
    assert not any(tensor.any() for tensor in weights.values())
    run = wsanalyze.analyze(str(tmp_path / "sequence"), run=tmp_path / "run.wsa")
    assert [record.status for record in run.series.checkpoints] == ["ok"] * 3
    assert (run.series.sums["changed"] > 0).sum() == 2


def test_small_tensors_have_a_kilobyte_and_names_of_their_own(script):
    plan = script.plan_small(1234)
    assert len({tensor.name for tensor in plan}) == 1234
    assert {4 * tensor.numel for tensor in plan} == {1024}


@pytest.mark.parametrize(
    "options", [["--versions", "3"], ["--sparse"], ["--small", "20"]], ids=lambda options: options[0]
)
def test_the_command_line_writes_a_sequence(script, tmp_path, monkeypatch, options):
    common = ["stand_ins.py", str(tmp_path / "new"), "--checkpoints", "4", "--gigabytes", "0.001", "--tensors", "30"]
    monkeypatch.setattr(sys, "argv", [*common, *options])
    script.main()
    located = locate_checkpoints([str(tmp_path / "new")], None, None)
    assert len(located.checkpoints) == 4


def test_the_command_line_says_what_is_impossible(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stand_ins.py", str(tmp_path), "--checkpoints", "40", "--versions", "3"])
    with pytest.raises(SystemExit):
        script.main()
    assert "raise --versions" in capsys.readouterr().err
