import dataclasses
import io
import json
import math

import numpy as np
import pytest

from wsanalyze.reports.json_file import JsonReporter
from wsanalyze.series import Event

TOP = [
    "format", "wsanalyze", "source", "command", "metric", "method", "seed", "checkpoints", "changes", "layers",
    "clusters", "quality", "skipped", "touched", "events",
]  # fmt: skip
KEYS = {
    "checkpoints": ["step", "label", "origin", "status", "reason"],
    "changes": ["from", "to"],
    "layers": [
        "name", "module", "kind", "depth", "shape", "numel", "cluster", "confidence", "outlier", "change", "states",
        "absolute",
    ],
    "clusters": ["id", "size", "summary", "median", "low", "high"],
    "skipped": ["name", "reason"],
    "events": ["kind", "layer", "checkpoint", "text", "evidence"],
}  # fmt: skip


def render(trends):
    stream = io.StringIO()
    JsonReporter(version="1.2.3").write(trends, stream)
    return stream.getvalue()


def parse(trends):
    return json.loads(render(trends), parse_constant=lambda token: pytest.fail(f"{token} is no JSON"))


@pytest.fixture
def document(trends):
    return parse(trends)


def test_keys_are_those_of_format_1_in_order(document):
    assert list(document)[: len(TOP)] == TOP
    assert document["format"] == 1
    assert document["wsanalyze"] == "1.2.3"
    for key, names in KEYS.items():
        assert document[key]
        for entry in document[key]:
            assert list(entry)[: len(names)] == names
    assert list(document["quality"])[:4] == ["k", "structure", "silhouette", "stability"]
    assert list(document["touched"]) == ["spike", "gap"]


def test_numbers_come_back_exactly(document, trends):
    changes = np.array([layer["change"] for layer in document["layers"]], dtype=float)
    np.testing.assert_array_equal(changes, trends.values)
    points = np.array([layer["points"] for layer in document["layers"]], dtype=float)
    np.testing.assert_array_equal(points, trends.points)
    assert document["clusters"][1]["median"] == list(trends.clusters[1].median)
    assert [layer["cluster"] for layer in document["layers"]] == trends.labels.tolist()
    assert [layer["outlier"] for layer in document["layers"]] == trends.outliers.tolist()


def test_a_cell_is_a_number_or_a_state(document):
    seen = set()
    for layer in document["layers"]:
        assert len(layer["change"]) == len(layer["states"]) == len(layer["absolute"]) == len(document["changes"])
        for change, state, absolute in zip(layer["change"], layer["states"], layer["absolute"], strict=True):
            seen.add(state)
            assert (change is None) == (state not in {None, "unchanged"})
            assert (absolute is not None) == (state == "from zero")
            if state == "unchanged":
                assert change == 0.0
    assert seen >= {None, "unchanged", "from zero", "missing", "new", "resized", "nonfinite", "not comparable"}


def test_what_is_not_known_is_null(document, make_trends):
    alone = [layer for layer in document["layers"] if layer["cluster"] == -1]
    assert alone
    assert all(layer["confidence"] is None for layer in alone)
    quality = parse(make_trends(1, 1))["quality"]
    assert (quality["silhouette"], quality["stability"]) == (None, None)


def test_changes_and_touched_cells_are_indices(document, trends):
    assert [(change["from"], change["to"]) for change in document["changes"]] == list(trends.series.pairs)
    assert document["touched"] == {"spike": [[5, 4]], "gap": [[1, 3], [3, 2]]}
    statuses = [checkpoint["status"] for checkpoint in document["checkpoints"]]
    assert (statuses[4], statuses[7]) == ("duplicate", "unreadable")


def test_empty_kinds_of_touched_cells_are_there(trends):
    assert parse(dataclasses.replace(trends, touched={}))["touched"] == {"spike": [], "gap": []}


def test_names_survive_and_control_codes_are_escapes(hostile_trends, hostile_names):
    text = render(hostile_trends)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    names = [layer["name"] for layer in parse(hostile_trends)["layers"]]
    expected = [name.replace("\udc80", r"\udc80") for name in hostile_names]
    assert names[: len(expected)] == expected


def test_evidence_holds_plain_values_only(trends):
    evidence = {
        "a": np.float64(0.5),
        "b": math.nan,
        "c": (np.int64(3), [math.inf]),
        "d": {"e": np.array([True])[0]},
        "f": None,
    }
    event = Event("spike", None, None, "text", evidence)
    series = dataclasses.replace(trends.series, events=(event,))
    document = parse(dataclasses.replace(trends, series=series, events=()))
    assert document["events"][0]["evidence"] == {"a": 0.5, "b": None, "c": [3, [None]], "d": {"e": True}, "f": None}


def test_each_layer_has_a_line_of_its_own(trends):
    lines = render(trends).splitlines()
    assert sum(line.startswith('  {"name": "layer') for line in lines) == 38


def test_the_log_is_there_or_null(document, trends, make_trends):
    log = document["log"]
    assert list(log) == ["steps", "until", "loss", "eval_loss", "learning_rate", "checkpoints"]
    assert log["loss"] == trends.series.log.values["loss"].tolist()
    assert {len(log[name]) for name in list(log)[:-1]} == {100}
    assert log["eval_loss"][:4] == [None] * 4
    steps = [checkpoint["step"] for checkpoint in document["checkpoints"]]
    for name in ("loss", "eval_loss", "learning_rate"):
        before = [[v for v, s in zip(log[name], log["steps"], strict=True) if v is not None and s <= t] for t in steps]
        assert log["checkpoints"][name] == [values[-1] if values else None for values in before]
    assert parse(make_trends(3, 3))["log"] is None


def test_a_long_log_is_thinned(trends, monkeypatch):
    monkeypatch.setattr("wsanalyze.reports.json_file._MAX_LOG_ENTRIES", 30)
    log = parse(trends)["log"]
    assert 10 < len(log["steps"]) == len(log["loss"]) <= 30
    assert log["checkpoints"]["loss"][-1] == trends.series.log.values["loss"][-1]


def test_what_clusters_and_kinds_are_made_of(document, kind_trends):
    assert [cluster["members"] for cluster in document["clusters"]] == [
        [index for index, layer in enumerate(document["layers"]) if layer["cluster"] == cluster["id"]]
        for cluster in document["clusters"]
    ]
    assert {cluster["kind"] for cluster in document["clusters"]} == {None}
    assert document["clusters"][0]["makeup"] == "12 of all kinds, depth 0 to 13"
    assert document["quality"]["p_value"] == 0.005
    assert document["kinds"] == []
    found = parse(kind_trends)
    assert found["options"]["by_kind"] is True
    assert [part["kind"] for part in found["kinds"]] == ["conv", "pointwise", "depthwise", "linear"]
    for cluster in found["clusters"]:
        assert {found["layers"][member]["kind"] for member in cluster["members"]} == {cluster["kind"]}
    for part in found["kinds"]:
        assert part["size"] == sum(cluster["size"] for cluster in found["clusters"] if cluster["kind"] == part["kind"])
        assert list(part["quality"]) == list(document["quality"])


def test_depth_is_a_matrix_of_the_layers_or_null(document, trends, make_trends):
    depth = document["depth"]
    assert list(depth) == ["depths", "median", "centre", "text"]
    assert len(depth["median"]) == len(depth["depths"]) == 39  # one layer has no number
    assert {len(row) for row in depth["median"]} == {len(document["changes"])} == {len(depth["centre"])}
    by_depth = {layer["depth"]: layer["change"] for layer in document["layers"]}
    assert depth["median"] == [by_depth[number] for number in depth["depths"]]
    hollow = dataclasses.replace(trends.depth, centre=np.full(20, np.nan))
    assert parse(dataclasses.replace(trends, depth=hollow))["depth"]["centre"] == [None] * 20
    assert parse(make_trends(3, 3))["depth"] is None


def test_phases_and_windows_are_ranges_of_changes(document, trends, make_trends):
    assert [(phase["from_change"], phase["to_change"]) for phase in document["phases"]] == [(0, 9), (10, 19)]
    assert [phase["level"] for phase in document["phases"]] == [0.0612, 0.00741]
    windows = document["windows"]
    assert [(window["from_change"], window["to_change"]) for window in windows][:3] == [(0, 4), (2, 6), (4, 8)]
    for found, window in zip(windows, trends.windows, strict=True):
        assert found["labels"] == window.labels.tolist()
        assert found["moved"] == list(window.moved)
        assert found["text"] == window.text
    small = parse(make_trends(3, 3))
    assert (small["phases"], small["windows"]) == ([], [])
