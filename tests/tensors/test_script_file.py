"""Tensors of TorchScript modules: those of state_dict(), by the same names and in the same order."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.base import FileRef
from wsanalyze.files.pickle_machine import Call, Global
from wsanalyze.files.torch_archive import ScriptClass
from wsanalyze.tensors.script_file import _list_tensors


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 4))
        self.register_buffer("kept", torch.randn(4))
        self.register_buffer("passing", torch.randn(4), persistent=False)
        self.constant = torch.randn(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.kept + self.passing + self.constant.sum()


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.second = Inner()
        self.first = Inner()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)])
        self.by_name = torch.nn.ModuleDict({"a": torch.nn.Conv1d(1, 2, 3)})
        self.twice = self.layers[0]
        self.tied = torch.nn.Linear(4, 4)
        self.tied.weight = self.layers[0].weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(x) + self.first(x)
        for layer in self.layers:
            y = layer(y)
        return self.tied(self.twice(y)) + self.by_name["a"](x[:, None, :]).sum()


def save(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(module, path)


@pytest.fixture
def make():
    def run(how):
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            module = Outer().eval()
            script = torch.jit.script(module) if how == "script" else torch.jit.trace(module, torch.zeros(2, 3))
        return module, script

    return run


@pytest.mark.parametrize("how", ["script", "trace"])
def test_tensors_are_those_of_the_state_dict(tmp_path, read_set, read_elements, make, how):
    module, script = make(how)
    save(script, tmp_path / "a.pt")
    found = read_set(tmp_path / "a.pt")
    state = module.state_dict()
    infos = found.infos["model"]
    saved = script.state_dict()  # a traced or scripted module keeps buffers that its state dict leaves out
    assert set(infos) - set(saved) <= {"second.passing", "first.passing"}
    assert set(state) <= set(infos)
    assert "first.constant" not in infos
    names = [name for name in infos if name in state]
    assert names[:2] == list(state)[:2]
    for name, tensor in state.items():
        if infos[name].type.floating:
            np.testing.assert_array_equal(read_elements(infos[name]), tensor.detach().numpy())
    assert infos["tied.weight"].pieces == infos["layers.0.weight"].pieces == infos["twice.weight"].pieces


def test_a_frozen_module_has_no_names_left(tmp_path, read_set, make):
    _, script = make("script")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(script)
    save(frozen, tmp_path / "a.pt")
    with pytest.raises(NoWeightsError, match=r"frozen; save it before torch\.jit\.freeze"):
        read_set(tmp_path / "a.pt")


def test_half_and_transposed_weights(tmp_path, read_set, gather):
    class Views(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.small = torch.nn.Parameter(torch.randn(3, 4).half())
            self.turned = torch.nn.Parameter(torch.randn(3, 4).T)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.turned

    module = Views()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(torch.jit.trace(module, torch.zeros(2, 4)), tmp_path / "a.pt")
    infos = read_set(tmp_path / "a.pt").infos["model"]
    assert {name: info.dtype for name, info in infos.items()} == {"small": "float16", "turned": "float32"}
    for name, tensor in module.named_parameters():
        np.testing.assert_array_equal(gather(infos[name]), tensor.detach().numpy())


TENSOR = Call(Global("torch._utils", "_rebuild_tensor_v2"), ())
FILE = FileRef("a.pt", 1, "")


def module_of(name, **attributes):
    return Call(Global("__torch__", name), (), state=attributes)


def known(*names, parameters=("w",), buffers=frozenset()):
    return {f"__torch__.{name}": ScriptClass(frozenset(parameters), buffers) for name in names}


def test_only_parameters_and_buffers_count():
    tree = module_of("M", w=TENSOR, constant=TENSOR, listed=[TENSOR], other=module_of("Unknown", w=TENSOR))
    assert list(_list_tensors(tree, known("M"), FILE)) == ["w"]
    # torch before 1.5 did not say which are buffers
    assert list(_list_tensors(tree, known("M", buffers=None), FILE)) == ["w", "constant"]


def nest(tree, times, *names, **others):
    """A module in a module in a module, under every name of each."""
    for _ in range(times):
        tree = module_of("M", **dict.fromkeys(names, tree), **others)
    return tree


def make_cyclic():
    tree = module_of("M", w=TENSOR)
    tree.state["again"] = tree
    return tree


LEAF, LONG = module_of("M", w=TENSOR), "w" * 60_000
HOSTILE = {
    "deep": lambda: nest(LEAF, 100_000, "m"),
    "wide and shared": lambda: nest(LEAF, 60, "a", "b", **{f"m{i}": TENSOR for i in range(1000)}),
    "shared": lambda: nest(LEAF, 60, "a", "b"),  # two to the power of sixty paths
    "long": lambda: nest(LEAF, 20, "x" * 10_000),
    "long and wide": lambda: module_of("M", **{LONG: module_of("M", **{f"m{i}": None for i in range(900_000)})}),
    "long and shared": lambda: nest(module_of("M", **{LONG: TENSOR}), 18, "a", "b"),
    "cyclic": make_cyclic,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_modules_that_nest_without_end_are_refused(kind):
    with pytest.raises(CheckpointError, match="nests more modules than a model has: refused"):
        _list_tensors(HOSTILE[kind](), known("M", parameters=("w", LONG)), FILE)


@pytest.mark.parametrize("tree", [None, 3, [], {}, TENSOR.args, Call(TENSOR.function, (), state=[1])])
def test_a_tree_that_is_no_module_holds_nothing(tree):
    found = _list_tensors(tree, known("M"), FILE)
    assert set(found) <= {""}


def test_code_is_read_as_text_only(tmp_path, read_set, make):
    """A canary: what stands in the code of the archive would create a file if anything ran it."""
    import zipfile

    _, script = make("script")
    save(script, tmp_path / "a.pt")
    canary = tmp_path / "canary"
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(".py"):
                data += f"\nopen({str(canary)!r}, 'w').close()\n".encode()
            new.writestr(name, data)
    assert read_set(tmp_path / "b.pt").infos["model"]
    assert not Path(canary).exists()
