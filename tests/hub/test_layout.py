"""Where checkpoints of the Hub go on disk: under names that no disk refuses, and read as the same sequence."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsanalyze.checkpoints.folder import FolderSource
from wsanalyze.checkpoints.order import order_checkpoints
from wsanalyze.errors import CheckpointError, WsAnalyzeError
from wsanalyze.hub.address import HubAddress
from wsanalyze.hub.layout import list_files, name_folders, place_all
from wsanalyze.hub.records import Revision, TreeFile
from wsanalyze.hub.source import HubSource

ODD = ("..", ".", "", "/", "../../x", "con", "NUL.x", "a", "A", "optimizer", "__pycache__")
MAKES = (
    "step{}",
    "stage1-step{}-tokens{}B",
    "stage2-step{}-tokens{}B",
    "epoch{}",
    "epoch_{}-step_{}",
    "v{}",
    "{}",
    "main",
    "final",
    "last",
    "checkpoint-{}",
    "exp/step{}",
    "iter_{}",
    "a{}b{}",
    "{}k",
)
TREES = (
    ("model.safetensors",),
    ("pytorch_model.bin", "optimizer.pt", "config.json"),
    ("unet/m.safetensors", "vae/m.safetensors", "model_index.json"),
    ("sub/model.safetensors",),
    ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    ("checkpoint-500/model.safetensors",),
    ("step5.pt",),
    (".metadata", "__0_0.distcp"),
    ("unet/m.safetensors", "unet_ema/m.safetensors"),
    ("adapter_model.safetensors", "adapter_config.json"),
)


class Listed:
    """A client of which only listings are known."""

    offline = True

    def __init__(self, trees):
        self.trees = trees

    def list_cached(self, _address):
        return self.trees

    def read_start(self, _file, nbytes):
        return b"{}"[:nbytes]


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def list_trees(files_of):
    return {
        Revision(name, digest(name)[:40]): [
            TreeFile(path, 10 + place, f"sha256:{digest(name + path)}") for place, path in enumerate(paths)
        ]
        for name, paths in files_of.items()
    }


def find(files_of):
    """The checkpoints of a repository in order, each with its files; and the client."""
    client = Listed(list_trees(files_of))
    found = HubSource(HubAddress("org/model", revision="*"), client).find()
    ordered = order_checkpoints(found.checkpoints, {}).checkpoints
    return [(c, list_files(c, lambda f: found.files[f.url])) for c in ordered if not c.problem], client


numbers = st.sampled_from([1, 2, 3, 5, 10, 20, 100, 1000])
names = st.sampled_from(MAKES).flatmap(lambda m: st.tuples(*[numbers] * m.count("{")).map(lambda n: m.format(*n)))


@settings(max_examples=60)
@given(st.dictionaries(names, st.sampled_from(TREES), min_size=1, max_size=6))
@example({"stage1-step5-tokens1B": TREES[0], "stage2-step5-tokens1B": TREES[0]})
@example({"exp/step1": TREES[3], "step1": TREES[3]})
def test_a_folder_reads_as_it_is_told(files_of):
    try:
        found, client = find(files_of)
    except WsAnalyzeError:
        return
    if not found:
        return
    placed, differs = place_all(found, "run", client)
    with tempfile.TemporaryDirectory() as root:
        run = Path(root) / "run"
        for one in placed:
            for path, file in one.files.items():
                target = run / one.folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(file.entry.digest)
        if differs is None:
            there = order_checkpoints(FolderSource(str(run)).checkpoints(), {}).checkpoints
            read = [(c.step, sorted(Path(f.url).read_text() for f in c.files)) for c in there]
            assert read == [(c.step, sorted(file.stamp for file in c.files)) for c, _ in found]


@pytest.mark.parametrize(
    ("revisions", "folders"),
    [
        (["step10", "step200"], ["checkpoint-10", "checkpoint-200"]),
        (["epoch1", "epoch2"], ["epoch1", "epoch2"]),
        (["stage1-step10", "stage2-step10"], ["stage1-step10", "stage2-step10"]),
        (["exp/step1", "exp/step2"], ["checkpoint-1", "checkpoint-2"]),
        (["step1", "step2", "final"], ["checkpoint-1", "checkpoint-2", "final"]),
    ],
)
def test_folders_are_named_after_steps_where_that_says_all(revisions, folders):
    found, client = find(dict.fromkeys(revisions, TREES[0]))
    placed, differs = place_all(found, "run", client)
    assert [one.folder for one in placed] == folders
    assert differs is None


def test_what_lies_beside_weights_comes_along_and_nothing_else():
    paths = (
        "unet/a.safetensors",
        "unet/config.json",
        "vae/a.safetensors",
        "model_index.json",
        "optimizer.pt",
        "x.json",
    )
    (_, files), *_ = find({"step1": paths, "step2": paths})[0]
    assert set(files) == set(paths[:4])


@pytest.mark.parametrize("name", ["a\\b.pt", "x" * 230 + ".pt", "aux.pt", "a\tb.pt", "C:a.pt", "a?.pt", "dots. /a.pt"])
def test_names_that_some_disk_refuses_are_refused(name):
    with pytest.raises(CheckpointError, match="no file can have"):
        find({"step1": (name,), "step2": (name,)})


@given(st.lists(st.text(max_size=300) | st.sampled_from(ODD)))
def test_names_of_folders_are_safe_and_differ(names):
    folders = name_folders(names)
    assert len({name.lower() for name in folders}) == len(names)
    for name in folders:
        assert 0 < len(name) <= 120
        assert name.isascii()
        assert name.isprintable()
        assert not set(name) & set('/\\:*?"<>| ')
        assert name[0] not in ".-_~"
        assert name[-1] != "."
        assert name.split(".")[0].lower() not in ("con", "nul", "aux", "prn")


def test_plain_names_stay():
    plain = ["step100", "stage1-step5000-tokens21B", "epoch=3", "v1.0", "main", "step_7+ema"]
    assert name_folders(plain) == plain
