"""Copies and impostors through the front door, as people meet them."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import CheckpointError
from wsanalyze.files.local import LocalFiles
from wsanalyze.likeness.find import choose_original
from wsanalyze.likeness.samples import Distances
from wsanalyze.pipeline import AnalyzeOptions, measure_run

FIXTURES = Path(__file__).parents[2] / "fixtures"
SHARED = Path(__file__).parents[3] / "shared" / "checkpoints"


@pytest.fixture
def source(save_sequence, make_states, tmp_path):
    return save_sequence(tmp_path / "run", make_states(12, spread=0.05), [100 * n for n in range(12)])


@pytest.fixture
def measure(tmp_path):
    def run(source, files=None, name="run.wsa", **options):
        more = {} if files is None else {"files": files, "progress": files.progress}
        return measure_run([str(source)], tmp_path / name, AnalyzeOptions(**options), **more).series

    return run


def events(series, kind):
    return [event for event in series.events if event.kind == kind]


def status(series):
    return {record.label: record.status for record in series.checkpoints if record.status != "ok"}


def test_a_final_model_that_many_steps_serve_is_kept_where_it_belongs(source, measure):
    """As in pythia-2.8b, of which 86 of 154 step branches hold the last weights."""
    scattered = [2, 3, 5, 8]
    for step in scattered:
        shutil.copy(source / "step_1100.safetensors", source / f"step_{100 * step}.safetensors")
    series = measure(source)
    assert status(series) == {f"step_{100 * step}": "duplicate" for step in scattered}
    (event,) = events(series, "duplicate")
    assert (event.evidence["of"], event.evidence["checkpoints"]) == (11, scattered)
    assert "step_200, step_300, step_500 and step_800 hold the same weights as step_1100" in event.text
    assert events(series, "impostor") == []
    numbers = [0, 1, 4, 6, 7, 9, 10, 11]
    assert series.pairs == tuple(itertools.pairwise(numbers))
    assert series.step_gaps.tolist() == [100, 300, 200, 100, 200, 100, 100]


def test_copies_in_another_format_are_told(source, measure):
    from safetensors.torch import load_file

    torch.save({"model": load_file(source / "step_300.safetensors"), "step": 1200}, source / "step_1200.pt")
    series = measure(source)
    assert status(series) == {"step_1200": "duplicate"}
    assert "every byte was compared" in events(series, "duplicate")[0].text


def test_checksums_are_enough_for_torch_files(tmp_path, measure, make_states, watched_files):
    folder = tmp_path / "torch"
    folder.mkdir()
    states = make_states(5)
    for step, state in enumerate([*states, states[1]]):
        torch.save({name: torch.from_numpy(array) for name, array in state.items()}, folder / f"step_{step}.pt")
    series = measure(folder, watched_files)
    assert status(series) == {"step_5": "duplicate"}
    assert "their checksums are equal" in events(series, "duplicate")[0].text
    assert watched_files.names() == {f"step_{step}.pt" for step in range(5)}


def test_a_frozen_backbone_is_no_copy(source, measure):
    """Only one vector moves, and neither the rows compared nor the samples see it."""
    for step in range(12):
        state = {"body.weight": np.ones((30, 30), np.float32), "head.bias": np.full(3, step, np.float32)}
        save_file(state, source / f"step_{100 * step}.safetensors")
    series = measure(source)
    assert status(series) == {}
    still = events(series, "duplicate")
    assert [event.checkpoint for event in still] == list(range(1, 12))
    assert "differs from step_0 in none of the 1 rows that were compared" in still[0].text


@pytest.mark.parametrize("broken", [[2, 3], [1, 2], [2]])
def test_rows_without_numbers_do_not_count_as_equal(source, measure, broken):
    """Nobody knows whether a row of NaN has moved; and a row that becomes NaN or comes back has."""
    for step in range(12):
        head = np.full((4, 4), np.nan if step in broken else step, np.float32)
        bias = np.full(3, step, np.float32)  # so that none is a copy
        save_file(
            {"body.weight": np.ones((30, 30), np.float32), "head.weight": head, "head.bias": bias},
            source / f"step_{100 * step}.safetensors",
        )
    assert events(measure(source), "duplicate") == []


def test_a_row_with_some_numbers_counts(source, measure):
    head = np.ones((4, 4), np.float32)
    head[0, 0] = np.nan
    for step in range(12):
        state = {
            "body.weight": np.ones((30, 30), np.float32),
            "head.weight": head,
            "head.bias": np.full(3, step, np.float32),
        }
        save_file(state, source / f"step_{100 * step}.safetensors")
    still = events(measure(source), "duplicate")
    assert [event.evidence["num_rows"] for event in still] == [2] * 11


def test_other_weights_beside_equal_ones_are_no_copy(tmp_path, measure):
    folder = tmp_path / "torch"
    folder.mkdir()
    for step in range(3):
        state = {"model": {"w.weight": torch.full((2, 2), 1.0 + step)}, "model_ema": {"w.weight": torch.ones(2, 2)}}
        torch.save(state, folder / f"step_{step}.pt")
    assert status(measure(folder, sequence=SequenceOptions(weights="ema"))) == {}


def test_only_copies_are_one_distinct_checkpoint(source, measure):
    for step in range(1, 12):
        shutil.copy(source / "step_0.safetensors", source / f"step_{100 * step}.safetensors")
    series = measure(source)
    assert list(status(series).values()) == ["duplicate"] * 11
    assert series.pairs == ()


def test_an_impostor_is_measured_and_named(source, measure, make_states):
    save_file(make_states(1, seed=7)[0], source / "step_500.safetensors")
    series = measure(source)
    (event,) = events(series, "impostor")
    assert event.checkpoint == 5
    assert event.text.startswith("step_500 seems to hold weights that belong elsewhere")
    assert (event.evidence["before_checkpoint"], event.evidence["after_checkpoint"]) == (4, 6)
    assert (4, 5) in series.pairs
    assert status(series) == {}


def test_indices_are_those_of_the_whole_sequence(source, measure, make_states):
    (source / "step_100.safetensors").write_bytes(b"rubbish" * 9)
    shutil.copy(source / "step_1100.safetensors", source / "step_300.safetensors")
    save_file(make_states(1, seed=7)[0], source / "step_700.safetensors")
    series = measure(source)
    assert [event.checkpoint for event in events(series, "impostor")] == [7]
    assert events(series, "impostor")[0].evidence["before_checkpoint"] == 6
    (copy,) = events(series, "duplicate")
    assert (copy.checkpoint, copy.evidence["of"], copy.evidence["checkpoints"]) == (3, 11, [3])


LARGE = {"blocks.0.fc.weight": (40, 50), "blocks.1.fc.weight": (60, 60)}


@pytest.mark.parametrize("end", [0, 6])
def test_an_end_of_another_training_is_named(save_sequence, measure, make_states, tmp_path, end):
    states = make_states(7, LARGE, spread=0.05)
    states[end] = make_states(1, LARGE, seed=7)[0]
    series = measure(save_sequence(tmp_path / "run", states, [100 * n for n in range(7)]))
    (event,) = events(series, "impostor")
    assert event.checkpoint == end
    neighbour, side = (1, "after") if end == 0 else (5, "before")
    assert event.evidence[f"{side}_checkpoint"] == neighbour
    assert event.text == (
        f"step_{100 * end} seems to hold weights that belong elsewhere: they are {event.evidence[f'to_{side}']:.2g} "
        f"away from those of step_{100 * neighbour}, and no other two in a row are more than "
        f"{event.evidence['elsewhere']:.2g} apart"
    )
    assert event.evidence["elsewhere"] == pytest.approx(0.05, rel=0.1)
    assert status(series) == {}


def test_indices_of_a_strange_end_are_those_of_the_whole_sequence(save_sequence, measure, make_states, tmp_path):
    states = make_states(7, LARGE, spread=0.05)
    states[-1] = make_states(1, LARGE, seed=7)[0]
    source = save_sequence(tmp_path / "run", states, [100 * n for n in range(7)])
    (source / "step_200.safetensors").write_bytes(b"rubbish" * 9)
    (event,) = events(measure(source), "impostor")
    assert (event.checkpoint, event.evidence["before_checkpoint"]) == (6, 5)
    assert event.evidence["nearest"] in (0, 1, 3, 4, 5)


def test_a_base_of_another_training_is_not_accused(save_sequence, measure, make_states, tmp_path):
    """Training may begin with any weights; the same file as a step is."""
    source = save_sequence(tmp_path / "run", make_states(7, LARGE, spread=0.05), [100 * n for n in range(1, 8)])
    save_file(make_states(1, LARGE, seed=7)[0], tmp_path / "pretrained.safetensors")
    based = SequenceOptions(base=str(tmp_path / "pretrained.safetensors"))
    series = measure(source, sequence=based)
    assert series.checkpoints[0].label == "pretrained (base)"
    assert events(series, "impostor") == []
    shutil.copy(tmp_path / "pretrained.safetensors", source / "step_0.safetensors")
    assert [event.checkpoint for event in events(measure(source, name="other.wsa"), "impostor")] == [0]


def test_two_that_were_mislabelled_are_named(source, measure):
    one, other = source / "step_400.safetensors", source / "step_500.safetensors"
    one.rename(source / "x")
    other.rename(one)
    (source / "x").rename(other)
    (event,) = events(measure(source), "impostor")
    assert event.evidence["swapped"] == [4, 5]


def test_indices_of_either_pair_are_those_of_the_whole_sequence(save_sequence, measure, make_states, tmp_path):
    states = make_states(5, LARGE, spread=0.05)
    states[2], states[3] = states[3], states[2]
    source = save_sequence(tmp_path / "run", states, [100 * n for n in range(5)])
    (source / "step_0.safetensors").write_bytes(b"rubbish" * 9)
    (event,) = events(measure(source), "impostor")
    assert (event.evidence["swapped"], event.evidence["instead"]) == ([2, 3], [1, 4])


def test_what_was_found_out_is_not_read_again(source, measure, tmp_path):
    shutil.copy(source / "step_100.safetensors", source / "step_900.safetensors")
    first = measure(source)
    reads = []

    class Counting(LocalFiles):
        def read_into(self, file, offset, buffer):
            reads.append((file.url, offset, len(buffer)))
            super().read_into(file, offset, buffer)

    with Counting() as files:
        again = measure_run([str(source)], tmp_path / "run.wsa", files=files).series
    assert again.events == first.events
    header = {path.name: 8 + int.from_bytes(path.read_bytes()[:8], "little") for path in source.iterdir()}
    assert all(offset + length <= max(512, header[Path(url).name]) for url, offset, length in reads)


class FailingFiles(LocalFiles):
    """Files of which one gives its header and nothing else."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def read_into(self, file, offset, buffer):
        if Path(file.url).name == self.name and offset + len(buffer) == file.size:
            raise CheckpointError("cannot be read (input/output error)", file.url)
        super().read_into(file, offset, buffer)


def test_a_file_that_cannot_be_read_whole_is_like_no_other(source, tmp_path):
    shutil.copy(source / "step_400.safetensors", source / "step_500.safetensors")
    with FailingFiles("step_500.safetensors") as files:
        series = measure_run([str(source)], tmp_path / "run.wsa", files=files).series
    assert status(series) == {"step_500": "unreadable"}
    assert (4, 6) in series.pairs


@pytest.mark.parametrize("name", ["digits-convnet", "digits-transformer"])
def test_real_trainings_are_not_accused(name, measure):
    series = measure(FIXTURES / name, params="all")
    assert events(series, "impostor") == []
    assert {record.label for record in series.checkpoints if record.status != "ok"} <= {"last"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sequences trained by others are not here")
@pytest.mark.parametrize(
    "name", ["lpips-alex", "neurosity", "pointcloud-gnn", "roberta-agnews-lora", "sevennet0", "snake-rl"]
)
def test_trainings_of_others_are_not_accused(name, measure):
    assert events(measure(SHARED / name), "impostor") == []


def test_a_mislabelled_checkpoint_of_a_real_training_is_found(tmp_path, measure):
    """The weights of step 100 stand at step 800 as well, a little rounded, so that they are no copy."""
    folder = tmp_path / "transformer"
    shutil.copytree(FIXTURES / "digits-transformer", folder)
    state = torch.load(folder / "step_100.pt", weights_only=False)
    for part in ("model", "model_ema"):
        state[part] = {name: tensor.bfloat16().to(tensor.dtype) for name, tensor in state[part].items()}
    state["step"] = 800
    torch.save(state, folder / "step_800.pt")
    series = measure(folder)
    (event,) = events(series, "impostor")
    assert series.checkpoints[event.checkpoint].label == "step_800"
    assert series.checkpoints[event.evidence["nearest"]].label == "step_100"


@pytest.mark.parametrize("pace", [lambda _: 0.05, lambda t: 0.2 * 0.7**t, lambda t: 0.01 * 1.3**t])
def test_of_copies_the_one_on_the_way_is_kept_wherever_the_other_stands(pace):
    rng = np.random.default_rng(0)
    for _ in range(40):
        num = int(rng.integers(4, 14))
        steps = [pace(t) * rng.normal(size=(8, 256)) for t in range(num - 1)]
        samples = np.cumsum([rng.normal(size=(8, 256)), *steps], axis=0).astype(np.float32)
        true, wrong = (int(place) for place in rng.choice(num, 2, replace=False))
        samples[wrong] = samples[true]
        others = [index for index in range(num) if index not in (true, wrong)]
        kept = choose_original(sorted((true, wrong)), others, Distances(samples))
        assert kept == true or abs(true - wrong) == 1  # side by side, both stand at the same place
