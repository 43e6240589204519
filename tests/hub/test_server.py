"""The test Hub as the real client sees it."""

from pathlib import Path

import huggingface_hub as hf
import numpy as np


def noise(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


def test_a_revision_comes_back_byte_by_byte(hub, tmp_path):
    data = noise(5000)
    sha = hub.add_repo("org/model").commit("step100", {"model.safetensors": data, "a/b.txt": "x"})
    assert Path(hf.hf_hub_download("org/model", "model.safetensors", revision=sha)).read_bytes() == data
    path = hf.hf_hub_download("org/model", "a/b.txt", revision="step100", local_dir=tmp_path / "local")
    assert Path(path).read_bytes() == b"x"
    assert hub.log.bytes_sent() == 5001
