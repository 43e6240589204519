"""State dicts are found wherever trainers put them; optimizers and averages are not taken for them."""

import collections
import io
import zipfile

import pytest
import torch

from wsanalyze.errors import CheckpointError
from wsanalyze.files.pickle_machine import Call, Global, parse_pickle
from wsanalyze.tensors.state_dicts import find_state_dicts


def find(value):
    """Names of the tensors found, by set of weights."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        tree, _ = parse_pickle(archive.read("archive/data.pkl"))
    return {weights: list(calls) for weights, calls in find_state_dicts(tree).items()}


def net():
    return torch.nn.Linear(2, 3)


def weights(*names):
    return {name: torch.zeros(2, 2) for name in names or ("weight", "bias")}


def trained():
    """An optimizer with state of its own."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer


MODEL = {"model": ["weight", "bias"]}
BOTH = {"model": ["weight", "bias"], "ema": ["weight", "bias"]}


@pytest.mark.parametrize(
    "key",
    ["state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "policy", "my_model"],
)
def test_under_any_key(key):
    assert find({key: weights(), "epoch": 3, "optimizer": trained().state_dict(), "lr": 0.1}) == MODEL


def test_trainers():
    optimizer = trained().state_dict()
    layouts = {
        "bare": weights(),
        "ordered": collections.OrderedDict(weights()),
        "torchvision": {"arch": "a", "state_dict": weights(), "best_acc1": torch.tensor(0.5), "optimizer": optimizer},
        "lightning": {
            "state_dict": weights(),
            "callbacks": {"best": {"best_model_score": torch.tensor(1.0)}},
            "optimizer_states": [optimizer],
            "loops": {"fit": {"x": torch.zeros(2)}},
            "hyper_parameters": {"model": net()},
        },
        "list": [weights(), optimizer],
        "tuple": (weights(), 3),
        "nested list": {"models": [weights()], "optimizer": optimizer},
        "wrapped": {"model": {"state_dict": weights(), "optimizer": {"x": torch.zeros(2)}}},
        "wrapped twice": {"trainer": {"model": weights(), "optimizer": {"x": torch.zeros(2)}}, "rng": torch.zeros(3)},
        "openclip": {"epoch": 1, "name": "x", "state_dict": weights(), "optimizer": optimizer, "scaler": {}},
        "nanogpt": {"model": weights(), "optimizer": optimizer, "model_args": {"n": 1}, "iter_num": 5, "config": {}},
        "optimizer under another name": {"network": weights(), "adam": optimizer},
        "module": net(),
        "a module in a dictionary": {"model": net(), "optimizer": trained()},
        "an object of its own": {"agent": _Agent()},
        "the object itself": _Agent(),
        "a module in place of a name": {"model": "resnet18", "state_dict": weights()},
    }
    for name, layout in layouts.items():
        assert find(layout) == MODEL, name


class _Agent:
    def __init__(self):
        self.policy = net()
        self.optimizer = trained()
        self.steps = 3


def test_averages_are_told_apart():
    layouts = {
        "timm": {"state_dict": weights(), "state_dict_ema": weights()},
        "ultralytics": {"model": net(), "ema": net(), "updates": 3},
        "basicsr": {"params": weights(), "params_ema": weights()},
        "stylegan": {"g": weights(), "g_ema": weights(), "g_optim": trained().state_dict()},
        "latent diffusion": {
            "state_dict": weights() | {f"model_ema.{name}": tensor for name, tensor in weights().items()}
        },
    }
    for name, layout in layouts.items():
        assert find(layout) == BOTH, name
    assert find({"model": None, "ema": net()}) == {"ema": ["weight", "bias"]}


def test_lightning_puts_the_average_in_the_place_of_the_model():
    averaging = {"n_averaged": torch.tensor(3)}
    swapped = {"epoch": 1, "state_dict": weights("mean"), "current_model_state": weights("own")}
    assert find({**swapped, "averaging_state": averaging}) == {"model": ["own"], "ema": ["mean"]}
    assert find({"state_dict": weights("own"), "averaging_state": averaging}) == {"model": ["own"]}


def test_several_networks_stand_side_by_side():
    found = find({"actor": weights("w"), "critic": weights("w"), "optimizer": trained().state_dict(), "epoch": 1})
    assert found == {"model": ["actor.w", "critic.w"]}
    found = find({"student": {"model": net()}, "teacher": {"model": net()}})
    assert found["model"][0] == "student.model.weight"
    found = find({"encoder": weights("w"), "temperature": torch.zeros(1)})
    assert found == {"model": ["encoder.w", "temperature"]}


def test_a_parameter_may_be_called_anything():
    names = ["loss_fn.weight", "step_embed.weight", "scaler.weight", "config.weight", "optim.weight"]
    assert find(weights(*names)) == {"model": names}


def test_a_module_whose_parts_are_called_like_a_trainers():
    module = torch.nn.ModuleDict({"model": net(), "head": net()})
    assert find(module) == {"model": ["model.weight", "model.bias", "head.weight", "head.bias"]}


@pytest.mark.parametrize(
    "value", [None, 3, "text", [], {}, {"a": {"b": 1}}, {"optimizer": weights()}, {3: torch.zeros(2)}, torch.zeros(2)]
)
def test_nothing_is_found_where_there_is_nothing(value):
    assert find(value) == {}


def call():
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), ())


def test_trees_that_refer_to_themselves_end():
    for key in ("state_dict", "model", "x", "ema"):
        tree: dict[str, object] = {"weight": call()}
        tree[key] = tree
        assert "weight" in next(iter(find_state_dicts(tree).values()))
    looped: list[object] = []
    looped.append(looped)
    assert find_state_dicts(looped) == {}


def test_a_tree_that_shares_its_parts_is_walked_once():
    tree: object = {"weight": call()}
    for _ in range(60):
        tree = {"a": tree, "b": tree}
    assert len(find_state_dicts(tree)["model"]) == 1


def test_deep_trees_and_endless_names_are_refused_not_passed_over():
    tree: object = {"weight": call()}
    for _ in range(10_000):
        tree = {"a": tree}
    with pytest.raises(CheckpointError, match="nests its state dict more than 64 deep"):
        find_state_dicts(tree)
    assert list(find_state_dicts({"x" * 5000: call(), "weight": call()})["model"]) == ["x" * 5000, "weight"]
    with pytest.raises(CheckpointError, match="more than 65536 characters"):
        find_state_dicts({"x" * 70_000: call(), "weight": call()})
