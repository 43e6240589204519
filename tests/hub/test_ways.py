"""Whole files in a window, ranges, or a folder on disk: the same sums, and every needed byte sent once."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.hub.runs import FORMATS, REPO, analyze, make_walk, on_hub, publish, same_sums, save, size_of, weigh
from wsanalyze.errors import UsageError

BIG = {"stem.weight": (300, 710), "blocks.0.fc.weight": (410, 700), "blocks.1.fc.weight": (290, 500), "bias": (77,)}
# The headers of torch's files are no proof of where their bytes lie: those come whole.
WAYS = [(form, "files") for form in FORMATS] + [(form, "ranges") for form in ("safetensors", "sharded")]
HEADER_BYTES = {"legacy": 300_000}  # its pickles are read in large blocks, since nothing says how long they are


def count_requests(text):
    """What a run says of its traffic: requests and megabytes."""
    (found,) = re.findall(r"(\d+) requests were sent and ([\d.]+) ([kM])B of files received", text)
    return int(found[0]), float(found[1]) / {"k": 1000, "M": 1}[found[2]]


@pytest.mark.parametrize(("form", "fetch"), WAYS)
def test_twenty_revisions_give_the_sums_of_the_same_files_on_disk(hub, tmp_path, form, fetch):
    states = make_walk(20, BIG, frozen=("blocks.1.fc.weight",))
    states[12] = states[11]
    publish(hub, tmp_path / "run", states, form)
    local = analyze(tmp_path / "run", tmp_path / "local.wsa")
    far = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    same_sums(far, local)
    assert [record.status for record in far.checkpoints].count("duplicate") == 1
    sent, needed = hub.log.bytes_sent(), weigh(tmp_path / "run")
    assert needed <= sent <= 1.02 * needed + 19 * HEADER_BYTES.get(form, 0)
    requests, megabytes = count_requests(" ".join(far.provenance.notes))
    assert requests == len(hub.log)
    assert megabytes == pytest.approx(sent / 1e6, rel=0.001, abs=0.1)
    copy = next(record for record in far.checkpoints if record.status == "duplicate")
    assert {record.revision for record in hub.log.records("data")}.isdisjoint({copy.label})


def test_the_command_says_what_it_will_do_and_how_many_requests_it_took(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(4))
    command = [sys.executable, "-m", "wsanalyze", "analyze", on_hub(), "--run", str(tmp_path / "far.wsa")]
    environment = hub.environment(tmp_path, token=None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert count_requests(" ".join(output.split()))[0] == len(hub.log)
    assert "4 whole files" in " ".join(output.split())
    assert "most of their bytes are needed" in " ".join(output.split())


@pytest.mark.parametrize("fetch", ["auto", "files", "ranges"])
def test_layers_that_lie_in_one_shard_of_three_cost_that_shard(hub, tmp_path, fetch):
    shapes = {"a.weight": (300, 200), "b.weight": (300, 210), "c.weight": (300, 220)}
    publish(hub, tmp_path / "run", make_walk(5, shapes), "sharded")
    far = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch, layers=r"^b\.")
    assert far.names == ("b.weight",)
    same_sums(far, analyze(tmp_path / "run", tmp_path / "local.wsa", layers=r"^b\."))
    sent = {}
    for record in hub.log.records("data"):
        sent[record.file] = sent.get(record.file, 0) + record.sent
    needed = 5 * 4 * 300 * 210
    assert needed <= sent["model-00002-of-00003.safetensors"] <= 1.05 * needed
    assert sum(sent.values()) < 1.2 * needed


def test_layers_that_are_a_small_part_of_a_file_are_fetched_alone(hub, tmp_path):
    shapes = {"a.weight": (900, 200), "b.weight": (300, 210), "c.weight": (300, 420)}
    publish(hub, tmp_path / "run", make_walk(5, shapes))
    far = analyze(on_hub(), tmp_path / "far.wsa", layers=r"^b\.")
    same_sums(far, analyze(tmp_path / "run", tmp_path / "local.wsa", layers=r"^b\."))
    assert hub.log.bytes_sent() < 0.3 * weigh(tmp_path / "run")
    assert any("less than half of the files is needed" in note for note in far.provenance.notes)
    assert not list((tmp_path / "hf-home").rglob("*.safetensors"))


@pytest.mark.parametrize("fetch", ["files", "ranges"])
def test_a_second_run_asks_for_no_weights_and_a_new_revision_for_its_own(hub, tmp_path, fetch):
    states = make_walk(6)
    repo = publish(hub, tmp_path / "run", states[:5])
    first = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    hub.log.clear()
    same_sums(analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch), first)
    one = weigh(tmp_path / "run") / 5
    assert hub.log.bytes_sent() < 0.1 * one
    hub.log.clear()
    save(tmp_path / "run" / "step500", states[5])
    repo.commit("step500", {"model.safetensors": tmp_path / "run" / "step500" / "model.safetensors"})
    grown = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    same_sums(grown, analyze(tmp_path / "run", tmp_path / "local.wsa"))
    times = 1 if fetch == "files" else 2  # ranges keep nothing on disk
    assert times * one <= hub.log.bytes_sent() <= (times + 0.1) * one


def test_what_is_kept_lies_in_the_cache_of_the_hub_and_is_never_sent_again(hub, tmp_path):
    states = make_walk(5)
    publish(hub, tmp_path / "run", states)
    first = analyze(on_hub(), tmp_path / "far.wsa", keep=True)
    blobs = tmp_path / "hf-home" / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    assert sum(path.stat().st_size for path in blobs.iterdir()) == weigh(tmp_path / "run")
    assert size_of(tmp_path / "hf-home" / "wsanalyze") < 0.1 * weigh(tmp_path / "run") / 5
    hub.log.clear()
    again = analyze(on_hub(), tmp_path / "again.wsa")
    same_sums(again, first)
    assert hub.log.bytes_sent() == 0


@pytest.mark.parametrize(("form", "fetch"), [("safetensors", "files"), ("safetensors", "ranges"), ("bin", "files")])
def test_weights_that_belong_elsewhere_are_told_as_on_disk(hub, tmp_path, form, fetch):
    states = make_walk(12)
    states[3], states[9] = states[9], states[3]
    publish(hub, tmp_path / "run", states, form)
    far = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    local = analyze(tmp_path / "run", tmp_path / "local.wsa")
    assert [event.evidence["swapped"] for event in far.events if event.kind == "impostor"] == [[3, 9]]
    assert [event.text for event in far.events] == [event.text for event in local.events]
    assert hub.log.bytes_sent() < 1.03 * weigh(tmp_path / "run")
    again = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch)
    assert [event.text for event in again.events] == [event.text for event in far.events]


@pytest.mark.parametrize("fetch", ["files", "ranges"])
def test_parts_of_a_fused_weight_come_once_though_they_lie_among_each_other(hub, tmp_path, fetch):
    states = make_walk(4, {f"layers.{index}.query_key_value.weight": (768, 256) for index in range(3)})
    config = {"model_type": "gpt_neox", "hidden_size": 256, "num_attention_heads": 8, "num_hidden_layers": 3}
    for index, state in enumerate(states):
        save(tmp_path / "run" / f"step{index}", state)
        (tmp_path / "run" / f"step{index}" / "config.json").write_text(json.dumps(config))
    hub.add_repo(REPO).add_folder_as_branches(tmp_path / "run")
    far = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch, split_qkv=True)
    assert len(far.names) == 9
    same_sums(far, analyze(tmp_path / "run", tmp_path / "local.wsa", split_qkv=True))
    assert hub.log.bytes_sent() < 1.02 * weigh(tmp_path / "run")
    assert len(hub.log) < 60


@pytest.mark.parametrize("fetch", ["files", "ranges"])
def test_metrics_that_compare_three_checkpoints_send_every_byte_once_too(hub, tmp_path, fetch):
    publish(hub, tmp_path / "run", make_walk(8, BIG))
    metrics = ("coherence", "efficiency")
    far = analyze(on_hub(), tmp_path / "far.wsa", fetch=fetch, metrics=metrics)
    local = analyze(tmp_path / "run", tmp_path / "local.wsa", metrics=metrics)
    same_sums(far, local)
    for metric in metrics:
        assert far.metric(metric).tobytes() == local.metric(metric).tobytes()
    needed = weigh(tmp_path / "run")
    assert needed <= hub.log.bytes_sent() <= 1.02 * needed


def test_spectral_norms_take_whole_files_and_bring_each_once(hub, tmp_path):
    publish(hub, tmp_path / "run", make_walk(5, BIG))
    local = analyze(tmp_path / "run", tmp_path / "local.wsa", metrics=["spectral"])
    analyze(on_hub(), tmp_path / "far.wsa", fetch="files")
    far = analyze(on_hub(), tmp_path / "far.wsa", fetch="files", metrics=["spectral"])
    np.testing.assert_allclose(far.metric("spectral"), local.metric("spectral"), rtol=4e-3)
    hub.log.clear()
    analyze(on_hub(), tmp_path / "new.wsa", fetch="files", metrics=["rank"])
    assert hub.log.bytes_sent() <= 1.02 * weigh(tmp_path / "run")
    with pytest.raises(UsageError, match="add --fetch files"):
        analyze(on_hub(), tmp_path / "ranges.wsa", fetch="ranges", metrics=["spectral"])
