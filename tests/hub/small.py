"""Small repositories named like those on the Hub, and what is said of them."""

import json
import struct

import numpy as np

from wsanalyze.choosing import SequenceOptions
from wsanalyze.hub.session import HubOptions
from wsanalyze.listing import ListOptions, list_sequence

_SHAPE = (40, 64)


def pack(tensors):
    """The bytes of a safetensors file."""
    header, body = {}, b""
    for name, values in tensors.items():
        data = values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def at_step(step, num_layers=2):
    """Weights that move on a straight line: the same at the same step, nearer to each other at nearer steps."""
    rng = np.random.default_rng(0)
    start, drift = rng.standard_normal((2, num_layers, *_SHAPE))
    return pack({f"model.layers.{i}.weight": start[i] + 0.01 * step * drift[i] for i in range(num_layers)})


def model(step):
    """The files of a checkpoint."""
    return {"model.safetensors": at_step(step)}


def make_repo(hub, name, steps, *, main=None, **options):
    """A repository with a branch for each name, that holds the weights of a step, or in order of 0, 1, ..."""
    steps = steps if isinstance(steps, dict) else {branch: step for step, branch in enumerate(steps)}
    repo = hub.add_repo(name, **options)
    for branch, step in steps.items():
        repo.commit(branch, model(step))
    if main is not None:
        repo.commit("main", model(main) | {"README.md": "card"})
    return repo


def look(*sources, sequence=None, **options):
    """What `list` tells of sources."""
    wanted = ListOptions(sequence or SequenceOptions(), hub=HubOptions(**options))
    return list_sequence(list(map(str, sources)), wanted)


def labels(listing, status=None):
    """Names of the checkpoints, in order."""
    return [c.label for c in listing.checkpoints if status in (None, c.status)]


def steps(listing):
    """Steps of the checkpoints, in order."""
    return [c.step for c in listing.checkpoints]
