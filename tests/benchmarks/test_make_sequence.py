import importlib
import json
import sys
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ITEMSIZES = {"float32": 4, "bfloat16": 2}


@pytest.fixture(scope="module")
def sequence() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("make_sequence")


def write(sequence: ModuleType, folder: Path, form: str, dtype: str = "float32", seed: int = 0) -> Path:
    tensors = sequence.plan_tensors(23, 200_000, ITEMSIZES[dtype])
    sequence.write_sequence(folder, tensors, 3, form, dtype, seed)
    return folder


def read(folder: Path, form: str, step: int) -> dict[str, torch.Tensor]:
    if form == "safetensors":
        return load_file(folder / f"step_{step}.safetensors")
    if form == "pt":
        state = torch.load(folder / f"step_{step}.pt", weights_only=True)
        assert state["global_step"] == step
        return state["model"]
    shards = sorted((folder / f"checkpoint-{step}").glob("*.safetensors"))
    assert len(shards) == 4
    return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}


@pytest.mark.parametrize("dtype", ITEMSIZES)
def test_every_format_holds_the_same_numbers(tmp_path: Path, sequence: ModuleType, dtype: str) -> None:
    folders = {form: write(sequence, tmp_path / form, form, dtype) for form in sequence.FORMATS}
    for step in (0, 1000, 2000):
        expected, *others = (read(folder, form, step) for form, folder in folders.items())
        assert len(expected) == 23
        assert {tensor.dtype for tensor in expected.values()} == {getattr(torch, dtype)}
        for other in others:
            assert other.keys() == expected.keys()
            assert all(torch.equal(other[name], tensor) for name, tensor in expected.items())


def test_every_tensor_changes_a_little_at_every_step(tmp_path: Path, sequence: ModuleType) -> None:
    folder = write(sequence, tmp_path, "safetensors")
    states = [read(folder, "safetensors", step) for step in (0, 1000, 2000)]
    for before, after in pairwise(states):
        for name, tensor in before.items():
            change = (after[name] - tensor).abs().sum() / tensor.abs().sum()
            assert 0 < change < 0.5


def test_seed_decides_the_numbers(tmp_path: Path, sequence: ModuleType) -> None:
    first, again, other = (
        write(sequence, tmp_path / name, "safetensors", seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    contents = [(folder / "step_2000.safetensors").read_bytes() for folder in (first, again, other)]
    assert contents[0] == contents[1] != contents[2]


def test_pieces_of_a_tensor_differ(sequence: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "_PIECE", 4)
    tensor = sequence.TensorPlan(0, "model.layers.0.mlp.up_proj.weight", (2, 5))
    drawn = [(checkpoint, weights.copy()) for checkpoint, weights in sequence.draw_weights(tensor, 2, seed=0)]
    assert [(checkpoint, weights.size) for checkpoint, weights in drawn] == [
        (0, 4), (1, 4), (0, 4), (1, 4), (0, 2), (1, 2),
    ]  # fmt: skip
    assert len({value for _, weights in drawn for value in weights.tolist()}) == 20


def test_torch_file_is_laid_out_as_torch_does(tmp_path: Path, sequence: ModuleType) -> None:
    path = write(sequence, tmp_path, "pt") / "step_1000.pt"
    torch.save(torch.load(path, weights_only=True), tmp_path / "again.pt")
    with zipfile.ZipFile(path) as made, zipfile.ZipFile(tmp_path / "again.pt") as again:
        assert made.testzip() is None
        assert [name.partition("/")[2] for name in made.namelist()] == [
            name.partition("/")[2] for name in again.namelist()
        ]
        content = path.read_bytes()
        for record in made.infolist():
            extra = int.from_bytes(content[record.header_offset + 28 : record.header_offset + 30], "little")
            assert (record.header_offset + 30 + len(record.filename) + extra) % 64 == 0


def test_index_names_the_shard_of_every_tensor(tmp_path: Path, sequence: ModuleType) -> None:
    checkpoint = write(sequence, tmp_path, "sharded") / "checkpoint-1000"
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text(encoding="utf-8"))
    held = {name: path.name for path in checkpoint.glob("*.safetensors") for name in load_file(path)}
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in read(tmp_path, "sharded", 1000).values())


@given(num_tensors=st.integers(12, 600), megabytes=st.integers(1, 4000), itemsize=st.sampled_from([2, 4]))
def test_plan_has_the_tensors_and_the_size_asked_for(
    sequence: ModuleType, num_tensors: int, megabytes: int, itemsize: int
) -> None:
    try:
        tensors = sequence.plan_tensors(num_tensors, megabytes * 10**6, itemsize)
    except ValueError as error:
        assert "raise --tensors" in str(error)  # noqa: PT017 - refusing is one of two right answers
        assert megabytes * 10**6 / num_tensors > 3e6
        return
    assert len({tensor.name for tensor in tensors}) == len(tensors) == num_tensors
    assert max(tensor.numel for tensor in tensors) * itemsize <= sequence.MAX_TENSOR_BYTES
    total = sum(tensor.numel for tensor in tensors) * itemsize
    assert total == pytest.approx(megabytes * 10**6, rel=0.1)


def test_command_line_writes_and_says_so(
    tmp_path: Path, sequence: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--gigabytes", "0.0002", "--checkpoints", "2", "--tensors", "12"]
    monkeypatch.setattr(sys, "argv", ["make_sequence.py", str(tmp_path / "new"), *options])
    sequence.main()
    assert "2 x 0.000 GB, 12 tensors of float32" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["step_0.safetensors", "step_1000.safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tensors", "5"], "raise --tensors"),
        (["--gigabytes", "50", "--tensors", "12"], "raise --tensors"),
        (["--checkpoints", "0"], "--checkpoints"),
        (["--gigabytes", "nan"], "--gigabytes"),
    ],
)
def test_impossible_sequences_are_refused(
    tmp_path: Path,
    sequence: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_sequence.py", str(tmp_path), *options])
    with pytest.raises(SystemExit):
        sequence.main()
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_folder_with_something_in_it_is_refused(
    tmp_path: Path, sequence: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.pt").touch()
    monkeypatch.setattr(sys, "argv", ["make_sequence.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        sequence.main()
    assert "not an empty folder" in capsys.readouterr().err
