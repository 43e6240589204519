"""Sequences of checkpoints as people put them on the Hub, and runs over them, compared with the same files on disk."""

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from wsanalyze.choosing import SequenceOptions
from wsanalyze.hub.session import HubOptions
from wsanalyze.pipeline import AnalyzeOptions, measure_run

REPO = "org/model"
SHAPES = {"stem.weight": (300, 210), "blocks.0.fc.weight": (410, 200), "blocks.1.fc.weight": (90, 500), "bias": (77,)}
FORMATS = ("safetensors", "sharded", "bin", "legacy")


def make_walk(num_checkpoints, shapes=None, seed=0, frozen=()):
    """State dicts of a random walk in which every weight moves but those of the frozen tensors."""
    rng = np.random.default_rng(seed)
    state = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in (shapes or SHAPES).items()}
    states = [state]
    for _ in range(num_checkpoints - 1):
        state = {
            name: weights
            if name in frozen
            else weights + np.float32(0.01) * rng.standard_normal(weights.shape, dtype=np.float32)
            for name, weights in state.items()
        }
        states.append(state)
    return states


def save(folder, state, form="safetensors"):
    """Save a state dict as a checkpoint folder of some form."""
    folder.mkdir(parents=True)
    if form == "safetensors":
        save_file(state, folder / "model.safetensors")
    elif form == "sharded":
        names = list(state)
        for index, name in enumerate(names):
            save_file({name: state[name]}, folder / f"model-{index + 1:05d}-of-{len(names):05d}.safetensors")
    else:
        tensors = {name: torch.from_numpy(weights) for name, weights in state.items()}
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")


def publish(hub, folder, states, form="safetensors", repo=REPO):
    """Save states as folders step0, step100, ... and serve each as a branch of that name; gives the repository.

    The very same state twice makes equal files.
    """
    saved = {}
    for index, state in enumerate(states):
        place = folder / f"step{100 * index}"
        if id(state) in saved:
            shutil.copytree(saved[id(state)], place)
        else:
            save(place, state, form)
        saved[id(state)] = place
    published = hub.add_repo(repo)
    published.add_folder_as_branches(folder)
    return published


def weigh(folder):
    """Size in bytes of each file below a folder that is one file's worth: equal files count once."""
    sizes = {}
    for path in Path(folder).rglob("*"):
        if path.is_file():
            sizes[path.read_bytes()] = path.stat().st_size
    return sum(sizes.values())


def size_of(folder):
    """Bytes of all files below a folder, those that are gone meanwhile left out."""
    sizes = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(place, name))  # noqa: PTH118 - os.walk gives strings
            except OSError:
                continue
            sizes[found.st_dev, found.st_ino] = found.st_size  # one that is renamed meanwhile is seen twice
    return sum(sizes.values())


def analyze(source, run, *, fetch="auto", keep=False, progress=None, every=1, split_qkv=False, **options):
    """Measure a source with the options of the Hub; gives the series."""
    more = {} if progress is None else {"progress": progress}
    sequence, way = SequenceOptions(every=every, split_qkv=split_qkv), HubOptions(fetch=fetch, keep=keep)
    wanted = AnalyzeOptions(sequence, hub=way, **options)
    return measure_run([str(source)], Path(run), wanted, **more).series


def on_hub(repo=REPO):
    """The address of a repository."""
    return f"hf://{repo}"


def same_sums(found, expected):
    """Assert that two series hold the same rows with the same sums, bit by bit."""
    assert found.names == expected.names
    assert found.pairs == expected.pairs
    assert found.sums.values.tobytes() == expected.sums.values.tobytes()
    assert np.isfinite(found.sums.values).any()
