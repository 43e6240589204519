"""A small model at moments of its training, and what must come of it in whatever format a library wrote it.

Every test of this folder lets the real library write the checkpoints, reads them through the front door, and compares
the sums bit for bit with those of plain state dicts of the same weights, and those with an oracle that shares no code.
"""

import itertools
import os
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

import wsanalyze

STEPS = (90, 100, 1000)  # as text, the last would come first
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
NOT_OF_THE_MODEL = ("exp_avg", "optim", "param_groups", "momentum_buffer", "max_exp_avg_sq", "sched", "rng")


@pytest.fixture(scope="session", autouse=True)
def _offline():
    """Nothing is downloaded, no accelerator is looked for, and no library reports its use."""
    wanted = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_DISABLED": "true"}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    yield
    for key, value in before.items():
        os.environ.pop(key)
        if value is not None:
            os.environ[key] = value


@contextmanager
def _library():
    """Warnings of the library that writes are its own affair; those of the code that reads stay errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def library():
    """A context in which other people's libraries are imported and called."""
    return _library


@dataclass(frozen=True)
class Moment:
    """One moment of a training: the live model and optimizer, and a copy of the weights to compare with later."""

    step: int
    model: object
    optimizer: object
    state: dict


def copy_state(model):
    """The tensors of a model, or of a state dict, by name: a copy that no later step changes."""
    state = model if isinstance(model, dict) else model.state_dict()
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _make_model():
    """A convolution, a norm with its buffers, a linear layer, and an embedding tied to the output layer."""
    from torch import nn

    model = nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3),
            norm=nn.BatchNorm2d(8),
            blocks=nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)),
            embed=nn.Embedding(11, 8),
            head=nn.Linear(8, 11),
        )
    )
    model.head.weight = model.embed.weight
    return model


@pytest.fixture(scope="session")
def make_model():
    return _make_model


@pytest.fixture
def train():
    """Train the small model on random gradients: an iterator over its moments, one for each of `STEPS`."""

    def moments(make=_make_model, steps=STEPS, seed=0) -> Iterator[Moment]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make()
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
            for step in steps:
                for parameter in model.parameters():
                    parameter.grad = torch.randn_like(parameter)
                optimizer.step()
                yield Moment(step, model, optimizer, copy_state(model))

    return moments


@pytest.fixture
def analyze(tmp_path_factory):
    """Measure a folder through the front door, every parameter of it; returns the series."""

    def measure(*sources, params="all", **options):
        run = tmp_path_factory.mktemp("run") / "run.wsa"
        return wsanalyze.analyze(*sources, run=run, params=params, **options).series

    return measure


@pytest.fixture
def reference(analyze, tmp_path_factory):
    """Measure the same weights from plain state dicts, one contiguous tensor each, as torch.save writes them."""

    def measure(states):
        import torch

        folder = tmp_path_factory.mktemp("plain")
        for index, state in enumerate(states):
            torch.save({n: t.detach().clone().contiguous() for n, t in state.items()}, folder / f"step_{index}.pt")
        return analyze(folder)

    return measure


@pytest.fixture
def check(reference):
    """Check a measured series against the weights that it was saved from.

    Args of the function returned:
        series: What came of the checkpoints.
        states: The weights at each of the moments, by name.
        steps: The steps that the checkpoints must have been given.
        exact: Bit for bit; else to 1e-6, where elements lie in another order.
        tied: Names that must be counted under another one.
    """

    def compare(series, states, steps=STEPS, *, exact=True, tied=("head.weight",)):
        states = [{n: t for n, t in state.items() if not n.endswith(BUFFERS)} for state in states]
        alive = [record for record in series.checkpoints if record.status == "ok"]
        assert [record.step for record in alive] == list(steps)
        numbers = [index for index, record in enumerate(series.checkpoints) if record.status == "ok"]
        assert series.pairs == tuple(itertools.pairwise(numbers))
        names = [name for name in states[0] if name not in tied]
        assert sorted(series.names) == sorted(names)
        told = {event.layer for event in series.events if event.kind == "tied"}
        assert told <= set(tied)
        for name in [*series.names, *(skip.name for skip in series.skips)]:
            assert not any(word in name for word in NOT_OF_THE_MODEL), name
        plain = reference([{name: state[name] for name in names} for state in states])
        assert [series.rows[series.names.index(name)].shape for name in plain.names] == [r.shape for r in plain.rows]
        found = series.sums.values[[series.names.index(name) for name in plain.names]]
        if exact:
            assert found.tobytes() == plain.sums.values.tobytes()
        else:
            np.testing.assert_allclose(found, plain.sums.values, rtol=1e-6)
        for index, name in enumerate(plain.names):
            _check_oracle(plain.sums, index, [as_float64(state[name]) for state in states])

    return compare


def as_float64(tensor):
    """A tensor of any floating dtype as a float64 array; float8 by way of float32, which holds all of it."""
    import torch

    if isinstance(tensor, np.ndarray):
        return tensor.astype(np.float64)
    return tensor.detach().to(torch.float32 if tensor.element_size() == 1 else tensor.dtype).double().numpy()


def _check_oracle(sums, row, arrays):
    """The sums of one row from whole float64 arrays, in whatever order NumPy adds."""
    for pair, (before, after) in enumerate(itertools.pairwise(arrays)):
        delta = after - before
        expected = {
            "n": before.size,
            "l1_delta": np.abs(delta).sum(),
            "l1_before": np.abs(before).sum(),
            "sq_delta": np.square(delta).sum(),
            "sq_after": np.square(after).sum(),
            "dot_before_delta": (before * delta).sum(),
            "max_delta": np.abs(delta).max(initial=0.0),
            "changed": np.count_nonzero(delta),
        }
        for name, value in expected.items():
            assert sums[name][row, pair] == pytest.approx(value, rel=1e-6, abs=1e-12), (name, row, pair)


@pytest.fixture
def statuses():
    """What became of every checkpoint, by label: "ok", "duplicate" or "unreadable"."""
    return lambda series: {record.label: record.status for record in series.checkpoints}


@pytest.fixture(scope="session")
def run_ranks():
    """Run a saver once for each rank of a training, RANK told by the environment, and see that each saved everything.

    What a process does after that is no matter of ours: threads of torch's backends now and then abort it while the
    interpreter shuts down, and what was saved is whole none the less.
    """

    def run(arguments, environment=None, *, num_ranks=2):
        shared = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo", "OMP_NUM_THREADS": "1"}
        shared |= {"CUDA_VISIBLE_DEVICES": "", "WORLD_SIZE": str(num_ranks), **(environment or {})}
        ranks = [
            subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(num_ranks)
        ]
        try:
            said = [process.communicate(timeout=300)[0] for process in ranks]
        finally:
            for process in ranks:
                process.kill()
        assert all("saved everything" in text for text in said), "\n".join(said)

    return run
