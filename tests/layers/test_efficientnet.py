"""The analysis of WeightScale: an EfficientNet-B4, its layers told apart by kind, from files to report.json."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wsanalyze.cli import main

timm = pytest.importorskip("timm", reason="timm cannot be imported where torchvision is missing")

KINDS = {"conv": 1, "depthwise": 32, "pointwise": 32, "pointwise-linear": 30, "squeeze-excite": 64, "head": 2}
ENDINGS = {
    "conv_dw.weight": "depthwise",
    "conv_pw.weight": "pointwise",
    "conv_pwl.weight": "pointwise-linear",
    "se.conv_reduce.weight": "squeeze-excite",
    "se.conv_expand.weight": "squeeze-excite",
}


def save_states(name, folder, save, ending):
    """Three checkpoints of a real model, perturbed twice, each kind by another amount; in half precision, for space."""
    torch.manual_seed(0)
    state = {key: value.half() for key, value in timm.create_model(name, pretrained=False).state_dict().items()}
    rng = np.random.default_rng(0)
    for step in range(3):
        save(state, folder / f"step_{step}{ending}")
        state = {
            key: (value * (1 + 0.1 * (len(key) % 7) * float(rng.uniform(0.9, 1.1)))).half()
            if value.is_floating_point()
            else value
            for key, value in state.items()
        }


@pytest.fixture(
    scope="module",
    params=[("tf_efficientnet_b4", save_file, ".safetensors"), ("efficientnet_b4", torch.save, ".pth")],
    ids=lambda param: param[0],
)
def sequence(request, tmp_path_factory):
    name, save, ending = request.param
    folder = tmp_path_factory.mktemp("network")
    save_states(name, folder, save, ending)
    return name, folder


def analyze(folder, *options):
    path = folder / "report.json"
    arguments = ["analyze", str(folder), "--run", f"{folder}.wsa", "--json", str(path), "--quiet", "--device", "cpu"]
    assert main([*arguments, *options]) == 0
    report = json.loads(path.read_text())
    path.unlink()
    return report


@pytest.mark.parametrize("given", [False, True], ids=["by names", "by definition"])
def test_its_matrices_are_told_apart(sequence, given):
    name, folder = sequence
    layers = analyze(folder, *(["--architecture", f"timm:{name}"] if given else []))["layers"]
    assert Counter(layer["kind"] for layer in layers) == KINDS
    for layer in layers:
        ending = next((ending for ending in ENDINGS if layer["name"].endswith(ending)), None)
        if ending is not None:
            assert layer["kind"] == ENDINGS[ending]
        elif layer["name"] != "conv_stem.weight":
            assert layer["kind"] == "head"


def test_each_kind_is_clustered_by_itself(sequence):
    _, folder = sequence
    report = analyze(folder, "--by-kind")
    assert {kind["kind"]: kind["size"] for kind in report["kinds"]} == KINDS
    kind_of = {cluster["id"]: cluster["kind"] for cluster in report["clusters"]}
    assert all(layer["cluster"] < 0 or layer["kind"] == kind_of[layer["cluster"]] for layer in report["layers"])


def test_the_method_of_the_paper_by_kind(sequence):
    _, folder = sequence
    report = analyze(folder, "--by-kind", "--method", "paper", "--clusters", "2")
    found = {kind["kind"]: kind["quality"]["k"] for kind in report["kinds"]}
    assert all(found[kind] == 2 for kind in ENDINGS.values())
