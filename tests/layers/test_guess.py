"""Models that checkpoints say or bear the name of: believed only where every matrix fits."""

import argparse
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import UsageError
from wsanalyze.layers import guess
from wsanalyze.layers.guess import guess_architecture
from wsanalyze.layers.module_kinds import tell_module_kinds
from wsanalyze.pipeline import AnalyzeOptions, measure_run

timm = pytest.importorskip("timm", reason="timm cannot be imported where torchvision is missing")


def build(name):
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False)


def shapes_of(name, prefix=""):
    return {f"{prefix}{key}": tuple(value.shape) for key, value in build(name).state_dict().items()}


RESNET = shapes_of("resnet18")


@pytest.mark.parametrize(
    ("arch", "origin", "source"),
    [
        ("resnet18", "/home/me/runs/1/checkpoint-3.pth.tar", "arch in the file"),
        ("resnet18", "/home/me/runs/resnet34/checkpoint-3.pth.tar", "arch in the file"),
        ("", "/runs/20260101-120000-resnet18-224/checkpoint-3.pth.tar", "its name in the path"),
        ("", "/runs/my_resnet18_seed1/last.pt", "its name in the path"),
        ("", r"C:\runs\resnet18\step_3.safetensors", "its name in the path"),
        ("", "hf://org/resnet18-cifar@step100", "its name in the path"),
        ("", "resnet18.pt", "its name in the path"),
        ("no_such_model", "resnet18.pt", "its name in the path"),
    ],
)
def test_a_name_that_fits_gives_the_definition(arch, origin, source):
    found = guess_architecture(arch, origin, RESNET)
    assert (found.name, found.source) == ("resnet18 of timm", source)
    assert found.kinds == tell_module_kinds(build("resnet18"))


def test_another_head_and_a_prefix_fit():
    shapes = shapes_of("resnet18", "model.")
    shapes["model.fc.weight"] = (7, 512)
    assert guess_architecture("resnet18", "x", shapes) is not None


@pytest.mark.parametrize(
    ("arch", "origin", "shapes"),
    [
        ("", "/runs/1/checkpoint-3.pth.tar", RESNET),
        ("", "/resnet18/a/b/c/d.pt", RESNET),  # too far above
        ("", "/runs/myresnet18/x.pt", RESNET),  # part of a word
        ("resnet34", "x.pt", RESNET),
        ("", "/runs/resnet34/x.pt", RESNET),
        ("resnet18", "x.pt", shapes_of("resnet34")),
        ("resnet18", "x.pt", {**RESNET, "projector.weight": (8, 8)}),
        ("resnet18", "x.pt", {**RESNET, "conv1.weight": (64, 3, 3, 3)}),
        ("resnet18", "x.pt", {"conv1.weight": (64, 3, 7, 7)}),
        ("resnet18", "x.pt", {}),
        ("__class__", "/a/../__init__/list_models", RESNET),
    ],
)
def test_what_fits_in_part_or_bears_no_name_is_left_to_names(arch, origin, shapes):
    assert guess_architecture(arch, origin, shapes) is None


def test_every_model_of_timm_is_found_by_its_name():
    assert guess._keep_registered(timm.list_models()) == {*timm.list_models()}


@given(st.text(max_size=60))
def test_any_path_is_looked_through(origin):
    assert all(name.isascii() and name.isidentifier() for name in guess._list_names(origin))


def test_timm_is_not_even_looked_for_where_a_path_is_made_of_common_words(monkeypatch):
    monkeypatch.setattr(guess, "find_spec", lambda _: pytest.fail("looked for timm"))
    assert guess_architecture("", "/home/user/runs/run_3/checkpoint_100/step_5.pt", RESNET) is None


def test_timm_is_not_started_where_no_name_is_one_of_its_own(monkeypatch):
    monkeypatch.setattr(guess, "read_apart", lambda *_: pytest.fail("timm was started"))
    assert guess_architecture("my_net_2", "/runs/other_net_18/x.pt", RESNET) is None


@pytest.mark.parametrize("error", [UsageError("no"), None])
def test_without_timm_names_decide(monkeypatch, error):
    def refuse(*_):
        raise error

    if error is None:
        monkeypatch.setattr(guess, "find_spec", lambda _: None)
    else:
        monkeypatch.setattr(guess, "read_apart", refuse)
    assert guess_architecture("resnet18", "x.pt", RESNET) is None


def test_a_broken_timm_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # then finding it raises
    assert guess_architecture("resnet18", "x.pt", RESNET) is None


# From checkpoints to rows


def states_of(name, num_checkpoints=2, dtype=torch.float16):
    rng = np.random.default_rng(0)
    state = {key: torch.from_numpy(rng.standard_normal(shape, np.float32)) for key, shape in shapes_of(name).items()}
    states = [state]
    for _ in range(num_checkpoints - 1):
        states.append({key: value * (1 + 0.05 * rng.standard_normal()) for key, value in states[-1].items()})
    return [{key: value.to(dtype) for key, value in state.items()} for state in states]


def measure(folder, **options):
    return measure_run([str(folder)], folder.parent / "run.wsa", AnalyzeOptions(device="cpu", **options)).series


def test_what_the_training_script_of_timm_notes_is_found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "out"
    folder.mkdir()
    states = states_of("test_efficientnet")
    for epoch, state in enumerate(states):
        saved = {"epoch": epoch, "arch": "test_efficientnet", "args": argparse.Namespace(lr=0.1), "state_dict": state}
        torch.save(saved, folder / f"checkpoint-{epoch}.pth.tar")
    series = measure(folder)
    kinds = tell_module_kinds(build("test_efficientnet"))
    assert {row.name: row.kind for row in series.rows} == {row.name: kinds[row.name] for row in series.rows}
    number = len(series.rows)
    assert (
        f"kinds and depths of {number} of {number} layers are those of test_efficientnet of timm (arch in the file)"
    ) in series.provenance.notes


def test_a_folder_with_the_name_of_its_model_has_its_order(save_sequence, tmp_path_factory):
    states = states_of("test_efficientnet")
    folder = save_sequence(tmp_path_factory.mktemp("runs") / "test_efficientnet-224", states)
    plain = save_sequence(tmp_path_factory.mktemp("runs") / "out", states)
    named, unnamed = measure(folder), measure(plain)
    model = [key for key, value in build("test_efficientnet").named_parameters() if value.ndim > 1]
    assert [row.name for row in named.rows] == model
    assert [row.name for row in unnamed.rows] != model  # a sorted file does not tell the order
    assert any("(its name in the path)" in note for note in named.provenance.notes)
    assert not any("timm" in note for note in unnamed.provenance.notes)


def test_a_configuration_goes_before_names(save_sequence, tmp_path_factory):
    folder = save_sequence(tmp_path_factory.mktemp("runs") / "test_efficientnet", states_of("test_efficientnet"))
    (folder / "config.json").write_text('{"architecture": "no_such_model", "num_classes": 3}')
    notes = measure(folder).provenance.notes
    assert any(note.startswith("config.json names the model no_such_model") for note in notes)
    assert not any("its name in the path" in note for note in notes)
