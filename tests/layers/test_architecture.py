"""Definitions of timm: found beside the weights, asked for, refused, and without timm; from checkpoints to rows."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.cli import main
from wsanalyze.errors import UsageError
from wsanalyze.layers.architecture import (
    _answer,
    ask_architecture,
    detect_architecture,
    find_architecture,
    read_architecture,
)
from wsanalyze.layers.match import match_layers
from wsanalyze.layers.module_kinds import tell_module_kinds
from wsanalyze.pipeline import AnalyzeOptions, measure_run
from wsanalyze.run import Run
from wsanalyze.series import Kind

timm = pytest.importorskip("timm", reason="timm cannot be imported where torchvision is missing")
CONFIG = {"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"input_size": [3, 224, 224]}}
FINDS = "from wsanalyze.layers.architecture import detect_architecture\nfrom pathlib import Path\n"


def meta(name, **arguments):
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False, **arguments)


def states_of(name, prefix="", num_checkpoints=2, **arguments):
    """State dicts of a model whose weights move at random."""
    rng = np.random.default_rng(0)
    shapes = {f"{prefix}{key}": tuple(value.shape) for key, value in meta(name, **arguments).state_dict().items()}
    return [
        {key: torch.from_numpy(rng.standard_normal(shape, np.float32)) for key, shape in shapes.items()}
        for _ in range(num_checkpoints)
    ]


@pytest.fixture
def save(save_sequence, tmp_path):
    """Write checkpoints with a config.json beside them."""

    def write(states, config=None):
        folder = save_sequence(tmp_path / "run", states)
        if config is not None:
            (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return folder

    return write


def measure(folder, **options):
    return measure_run([str(folder)], folder.parent / "run.wsa", AnalyzeOptions(device="cpu", **options)).series


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"a connection is made: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# From checkpoints to rows


@pytest.mark.parametrize("params", ["matrices", "all"])
@pytest.mark.parametrize("name", ["mobilenetv2_100", "vit_tiny_patch16_224", "convnext_atto", "test_efficientnet"])
@pytest.mark.usefixtures("no_network")
def test_rows_have_the_kinds_and_the_order_of_the_model(save, name, params):
    config = {**CONFIG, "architecture": name, "num_classes": 5}
    series = measure(save(states_of(name, num_classes=5), config), params=params)
    model = meta(name, num_classes=5)
    wanted = [key for key, value in model.named_parameters() if params == "all" or value.ndim > 1]
    assert [row.name for row in series.rows] == wanted
    kinds = tell_module_kinds(model)
    assert [row.kind for row in series.rows] == [kinds[key] for key in wanted]
    depths = [row.depth for row in series.rows]
    assert depths == sorted(depths)
    assert f"kinds and depths of {len(wanted)} of {len(wanted)} layers are those of {name} of timm (config.json)" in (
        series.provenance.notes
    )


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "mobilenetv2_100"])
def test_every_parameter_of_a_state_dict_gets_its_kind(name, make_infos):
    model = meta(name)
    side = make_infos(dict(sorted(model.state_dict().items())))
    match = match_layers([side, side], ["a", "b"], params="all", architecture=read_architecture(name))
    assert {row.name: row.kind for row in match.rows} == tell_module_kinds(model)
    assert [row.name for row in match.rows] == [key for key, _ in model.named_parameters()]


@pytest.fixture
def make_infos():
    from wsanalyze.files.base import FileRef
    from wsanalyze.tensors.base import Piece, TensorInfo

    def make(state):
        return {
            name: TensorInfo(
                name, str(value.dtype).partition(".")[2], tuple(value.shape), (Piece(FileRef("f", 9, ""), index, 4),)
            )
            for index, (name, value) in enumerate(state.items())
        }

    return make


@pytest.mark.parametrize("name", ["vgg11", "mobilenetv2_100", "test_efficientnet"])
def test_depth_increases_in_the_order_of_computation(name, make_infos):
    model = meta(name).eval()
    called = []
    for path, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(lambda *_, path=path: called.append(path))
    model(torch.zeros(1, 3, 64, 64, device="meta"))
    side = make_infos(dict(sorted(model.state_dict().items())))
    match = match_layers([side, side], ["a", "b"], params="all", architecture=read_architecture(name))
    depth = {row.module: row.depth for row in match.rows}
    assert [depth[path] for path in called] == list(range(len(called)))


def test_rows_below_a_prefix_and_rows_that_the_model_does_not_know(save):
    states = states_of("test_efficientnet", prefix="model.")
    for state in states:
        state["loss.centers.weight"] = torch.rand(3, 4)
        state["model.classifier.weight"] = torch.rand(7, state["model.classifier.weight"].shape[1])
    rows = {row.name: row for row in measure(save(states), architecture="timm:test_efficientnet").rows}
    assert rows["model.classifier.weight"].kind is Kind.HEAD
    assert rows["model.blocks.1.0.conv_exp.weight"].kind is Kind.CONV
    assert rows["model.blocks.1.0.conv_pwl.weight"].kind is Kind.POINTWISE_LINEAR
    assert rows["loss.centers.weight"].kind is Kind.LINEAR
    assert len({row.depth for row in rows.values()}) == len(rows)


def test_names_decide_where_the_model_does_not_fit(save):
    folder = save(states_of("test_efficientnet"), {**CONFIG, "architecture": "test_vit"})
    series = measure(folder)
    (folder / "config.json").unlink()
    plain = measure(folder)
    assert series.rows == plain.rows
    (note,) = set(series.provenance.notes) - set(plain.provenance.notes)
    assert note.startswith("config.json names test_vit of timm, which knows 0 of ")


def test_a_second_run_with_another_definition_measures_nothing_and_changes_only_rows(save, watched_files):
    folder = save(states_of("test_efficientnet"))
    path = folder.parent / "run.wsa"
    options = {"files": watched_files, "progress": watched_files.progress}
    first = measure_run([str(folder)], path, AnalyzeOptions(device="cpu"), **options).series
    Run.open(path).trends()
    watched_files.reads.clear()
    asked = AnalyzeOptions(device="cpu", architecture="timm:test_efficientnet")
    second = measure_run([str(folder)], path, asked, **options).series
    assert watched_files.reads == []
    assert [row.name for row in second.rows] != [row.name for row in first.rows]
    place = {row.name: index for index, row in enumerate(first.rows)}
    order = [place[row.name] for row in second.rows]
    assert second.sums.values.tobytes() == first.sums.values[order].tobytes()
    assert Run.open(path).series.rows == second.rows
    assert len(Run.open(path).trends().labels) == len(second.rows)


# What config.json says


def test_a_configuration_of_timm():
    assert find_architecture(CONFIG) == ("resnet18", {"num_classes": 1000})
    more = {**CONFIG, "architecture": "vit_tiny_patch16_224.augreg_in21k", "global_pool": "avg"}
    assert find_architecture(more) == ("vit_tiny_patch16_224", {"num_classes": 1000, "global_pool": "avg"})
    wrapped = {"model_type": "timm_wrapper", **CONFIG, "model_args": {"in_chans": 1, "img_size": 64, "cache_dir": "/"}}
    assert find_architecture(wrapped) == ("resnet18", {"num_classes": 1000, "in_chans": 1})


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architectures": ["BertForMaskedLM"], "model_type": "bert"},
        {"architecture": "resnet18"},
        {"architecture": ["resnet18"], "num_classes": 3},
        {"architecture": None, "num_classes": 3},
        {"architecture": "../../x", "num_classes": 3},
        {"architecture": "hf-hub:evil/model", "num_classes": 3},
        {"architecture": "local-dir:/etc", "num_classes": 3},
        {"architecture": "https://evil.example/x", "num_classes": 3},
        {"architecture": "resnet18\n", "num_classes": 3},
        {"architecture": "r" * 101, "num_classes": 3},
        {"architecture": "", "num_classes": 3},
    ],
    ids=str,
)
def test_other_configurations_name_nothing(config):
    assert find_architecture(config) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(
    [
        "num_classes",
        "in_chans",
        "global_pool",
        "model_args",
        "checkpoint_path",
        "pretrained",
        "pretrained_cfg",
        "img_size",
    ]
)


@given(st.dictionaries(keys, json_values), st.dictionaries(keys, json_values))
def test_arguments_are_plain_and_few_whatever_is_asked_for(config, more):
    _, arguments = find_architecture({"num_features": 1, **config, "model_args": more, "architecture": "resnet18"})
    assert arguments.keys() <= {"num_classes", "in_chans", "global_pool"}
    assert type(arguments.get("num_classes", 0)) is int
    assert 0 <= arguments.get("num_classes", 0) <= 10**6
    assert type(arguments.get("in_chans", 1)) is int
    assert 1 <= arguments.get("in_chans", 1) <= 1024
    assert arguments.get("global_pool", "avg") in ("", "avg", "max", "avgmax", "catavgmax", "token", "map")


@pytest.mark.parametrize("arguments", [{"global_pool": "map"}, {"num_classes": 10**6}, {"num_classes": 0}])
@pytest.mark.usefixtures("no_network")
def test_arguments_that_a_model_refuses_are_left_out(arguments):
    found = read_architecture("resnet18", arguments)
    assert found.shapes["conv1.weight"] == (64, 3, 7, 7)
    assert ("fc.weight" in found.shapes) == bool(arguments.get("num_classes", 1))


def test_a_model_that_cannot_be_built_is_an_error_in_one_line(monkeypatch):
    def fail(*_, **arguments):
        raise AssertionError(f"no such size\nof {arguments}")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(UsageError, match=r"timm .* cannot build it .AssertionError: no such size\)$"):
        read_architecture("resnet18", {"num_classes": 3})


@pytest.mark.parametrize("text", ["{", "[1]", "null", '{"architecture": "resnet18", "num_classes": '])
def test_a_damaged_configuration_is_a_note(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    architecture, (note,) = detect_architecture(tmp_path)
    assert architecture is None
    assert "config.json" in note
    assert "damaged" in note


def test_numbers_that_are_none_are_left_out(tmp_path):
    text = '{"architecture": "resnet18", "num_classes": 1e999, "global_pool": NaN}'
    (tmp_path / "config.json").write_text(text)
    architecture, notes = detect_architecture(tmp_path)
    assert (architecture.name, notes) == ("resnet18 of timm", ())


def test_a_model_that_timm_does_not_have_is_a_note(save):
    series = measure(save(states_of("test_efficientnet"), {**CONFIG, "architecture": "resnet18_of_mine"}))
    (note,) = [note for note in series.provenance.notes if "config.json" in note]
    assert note.startswith("config.json names the model resnet18_of_mine: timm ")
    assert "resnet18" in note.partition("did you mean")[2]


@pytest.mark.parametrize(
    "config", [None, {"architecture": "hf-hub:evil", "num_classes": 1}, {"architectures": ["Bert"], "num_labels": 2}]
)
def test_timm_is_imported_only_where_a_model_of_it_is_named(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    code = f"{FINDS}assert detect_architecture(Path({str(tmp_path)!r})) == (None, ())\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"timm", "torch"} & set(done.stdout.split())


# What is asked for


def test_the_random_numbers_of_a_program_that_asks_stay_its_own():
    states = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002 - the global one
    ask_architecture("timm:vit_tiny_patch16_224")
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002 - the same


def test_a_tag_of_weights_changes_nothing():
    assert ask_architecture(None) is None
    assert ask_architecture("timm:resnet18.a1_in1k").shapes == ask_architecture("timm:resnet18").shapes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timm:resnet1", ("--architecture timm:resnet1: timm ", "did you mean resnet18")),
        ("timm:qqqqqqqqqqqqq", ("no such model", "timm.list_models()")),
        ("timm:hf-hub:evil/model", ("takes timm:NAME",)),
        ("timm:../../x", ("takes timm:NAME",)),
        ("timm:", ("takes timm:NAME",)),
        ("resnet18", ("takes timm:NAME", "'resnet18'")),
        ("hf-hub:timm/resnet18", ("takes timm:NAME",)),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_what_is_no_model_is_wrong_usage(text, words):
    with pytest.raises(UsageError) as error:
        ask_architecture(text)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_the_option_goes_before_config_json(save):
    folder = save(states_of("test_efficientnet"), {**CONFIG, "architecture": "no_such_model"})
    notes = measure(folder, architecture="timm:test_efficientnet").provenance.notes
    assert any("those of test_efficientnet of timm (--architecture)" in note for note in notes)
    assert not any("config.json" in note for note in notes)


def test_the_command_line(save, capsys):
    folder = str(save(states_of("test_efficientnet")))
    assert main(["list", folder, "--architecture", "timm:test_efficientnet", "--json", "-"]) == 0
    (note,) = [note for note in json.loads(capsys.readouterr().out)["notes"] if "timm" in note]
    assert "are those of test_efficientnet of timm" in note
    arguments = ["analyze", folder, "--run", f"{folder}.wsa", "--json", "-", "--architecture", "timm:test_efficientnet"]
    assert main(arguments) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert layers[0]["name"] == "conv_stem.weight"
    assert {layer["kind"] for layer in layers} >= {"depthwise", "pointwise-linear", "squeeze-excite", "head"}
    for command in (["list", folder], ["analyze", folder]):
        assert main([*command, "--architecture", "timm:resnet181"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


# Without timm


class Broken:
    """Finds timm, and fails as a torchvision does that does not fit torch."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, *_):
        if name == "timm":
            raise self.error


@pytest.fixture(
    params=[
        RuntimeError("operator torchvision::nms does not exist\nsecond line"),
        OSError("libcudart.so.12: cannot open shared object file"),
        ImportError("No module named 'torchvision'"),
        AttributeError("partially initialized module 'torchvision'"),
    ],
    ids=lambda error: type(error).__name__,
)
def broken_timm(request, monkeypatch):
    monkeypatch.delitem(sys.modules, "timm")
    monkeypatch.setattr(sys, "meta_path", [Broken(request.param), *sys.meta_path])
    return str(request.param).splitlines()[0]


def test_timm_that_cannot_be_imported_is_an_error_in_one_line(broken_timm):
    with pytest.raises(UsageError) as error:
        ask_architecture("timm:resnet18")
    assert broken_timm in str(error.value)
    assert "install" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_configuration_without_timm_is_a_note(broken_timm, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    architecture, (note,) = detect_architecture(tmp_path)
    assert architecture is None
    assert broken_timm in note
    assert "\n" not in note


def test_an_analysis_goes_on_without_timm(save, monkeypatch):
    states = states_of("test_efficientnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    series = measure(save(states, {**CONFIG, "architecture": "test_efficientnet"}))
    assert series.rows
    assert sum("timm cannot be imported" in note for note in series.provenance.notes) == 1


# In a process of its own


@pytest.fixture
def apart(save, tmp_path):
    """Run the command line in a fresh interpreter; its answer, its last line of errors, and the modules it imported."""
    folder = save(states_of("test_efficientnet"), {**CONFIG, "architecture": "test_efficientnet"})

    def run(*arguments, timm=None):
        (tmp_path / "path").mkdir()
        if timm is not None:
            (tmp_path / "path" / "timm.py").write_text(timm)
        code = (
            "import sys\nfrom wsanalyze.cli import main\nstatus = main()\n"
            "print(*{name.partition('.')[0] for name in sys.modules})\nsys.exit(status)"
        )
        command = [sys.executable, "-c", code, *arguments, str(folder), "--device", "cpu", "--quiet"]
        command += ["--run", str(tmp_path / "run.wsa")]
        found = os.pathsep.join([str(tmp_path / "path"), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": found}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        return done.returncode, done.stderr, set(done.stdout.split())

    return run


def test_an_analysis_that_finds_a_definition_imports_neither_torch_nor_timm(apart, tmp_path):
    (tmp_path / "timm.py").write_text("raise SystemExit('the folder where people work is no place for programs')")
    status, errors, imported = apart("analyze")
    assert (status, errors) == (0, "")
    assert not {"torch", "timm"} & imported
    series = Run.open(tmp_path / "run.wsa").series
    kinds = tell_module_kinds(meta("test_efficientnet"))
    assert {row.name: row.kind for row in series.rows} == {row.name: kinds[row.name] for row in series.rows}
    assert [row.name for row in series.rows] == [name for name in kinds if name in {row.name for row in series.rows}]


@pytest.mark.parametrize(
    ("timm", "words"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms does not exist"),
        ("import os\nos._exit(139)", "timm ends with status 139"),
        ("import sys\nprint('x')\nsys.exit(0)", "timm ends with status 0"),
    ],
)
def test_a_timm_that_fails_in_any_way_is_a_note_or_an_error(apart, tmp_path, timm, words):
    status, errors, _ = apart("analyze", timm=timm)
    assert (status, errors) == (0, "")
    series = Run.open(tmp_path / "run.wsa").series
    assert sum(words in note for note in series.provenance.notes) == 1
    (tmp_path / "path" / "timm.py").unlink()
    (tmp_path / "path").rmdir()
    status, errors, _ = apart("analyze", "--architecture", "timm:test_efficientnet", timm=timm)
    assert status == 2
    assert words in errors
    assert errors.count("\n") == 1


@pytest.fixture
def light(monkeypatch):
    """This process as it is before torch is imported."""
    monkeypatch.setattr("wsanalyze.layers.architecture._is_loaded", lambda: False)
    return monkeypatch


@pytest.mark.usefixtures("light")
def test_another_process_tells_the_same(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "num_classes": 7}))
    found, notes = detect_architecture(tmp_path)
    wanted = read_architecture("resnet18", {"num_classes": 7}, source="config.json")
    assert (found.name, found.source, notes) == (wanted.name, "config.json", ())
    assert list(found.shapes.items()) == list(wanted.shapes.items())
    assert list(found.kinds.items()) == list(wanted.kinds.items())
    with pytest.raises(UsageError, match=r"--architecture timm:resnet1: timm .* did you mean resnet"):
        ask_architecture("timm:resnet1")


def test_another_process_that_cannot_be_started_or_does_not_end(light):
    light.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(UsageError, match=r"timm cannot be started .FileNotFoundError"):
        ask_architecture("timm:resnet18")
    light.setattr(sys, "executable", sys._base_executable)
    light.setattr("wsanalyze.layers.architecture._PATIENCE_SECONDS", 0.001)
    with pytest.raises(UsageError, match=r"timm cannot be started .TimeoutExpired"):
        ask_architecture("timm:resnet18")
    light.setattr(sys, "executable", "")
    assert read_architecture("resnet18").shapes == ask_architecture("timm:resnet18").shapes


def test_the_answer_to_another_process_is_the_last_line(capsys):
    _answer("resnet18", '{"num_classes": 3}')
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["shapes"]["fc.weight"] == [3, 512]
    assert answer["kinds"]["fc.weight"] == "head"
    _answer("resnet1", "{}")
    assert "no such model" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
