"""Which revisions are the sequence, with names as they stand on the Hub."""

import re

import pytest

from tests.hub.small import at_step, labels, look, make_repo, model, steps
from wsanalyze.choosing import SequenceOptions
from wsanalyze.errors import WsAnalyzeError
from wsanalyze.hub.address import parse_address
from wsanalyze.hub.client import HubClient
from wsanalyze.hub.source import HubSource
from wsanalyze.pull import pull_sequence

OLMO2 = [
    "stage1-step0-tokens0B",
    "stage1-step10000-tokens21B",
    "stage1-step1907359-tokens4001B",
    *(f"stage2-ingredient{i}-step{step}-tokens{t}B" for i in (1, 2, 3) for step, t in ((1000, 3), (23852, 51))),
]
SMOLLM3 = [
    "stage1-step-40000",
    "stage1-step-3450000",
    "stage2-step-4200000",
    "stage3-step-4720000",
    "lc-4k-to-32k-step-4000",
    "lc-4k-to-32k-step-20000",
    "lc-32k-to-64k-step-4000",
    "lc-32k-to-64k-step-20000",
    "it-mid-training",
    "it-soup-APO",
]
NAMINGS = {
    "EleutherAI/pythia-70m": {0: "step0", 1: "step1", 512: "step512", 1000: "step1000", 143000: "step143000"},
    "allenai/OLMo-1B-hf": {1000: "step1000-tokens4B", 20000: "step20000-tokens84B", 738020: "step738020-tokens3094B"},
    "allenai/Olmo-3-7B-RL-Zero": {50: "step_0050", 100: "step_0100", 1000: "step_1000"},
    "bigscience/bloom-560m-intermediate": {
        1000: "global_step1000",
        10000: "global_step10000",
        2 * 10**5: "global_step200000",
    },
    "HuggingFaceFW/ablation": {1000: "step-001000-2BT", 24000: "step-024000-50BT", 167000: "step-167000-350BT"},
    "HuggingFaceTB/SmolLM2-135M-intermediate": {
        125000: "step-125000",
        250000: "step-250000",
        2 * 10**6: "step-2000000",
    },
    "LLM360/Amber": {0: "ckpt_000", 1: "ckpt_001", 100: "ckpt_100", 358: "ckpt_358"},
    "me/verl": {50: "global_step_50", 100: "global_step_100"},
    "me/epochs": {1: "epoch1", 2: "epoch2", 10: "epoch10"},
    "me/bare": {9: "9", 80: "80", 700: "700"},
}


def notes(listing):
    return "\n".join(listing.notes)


def refuse(*sources, **options):
    with pytest.raises(WsAnalyzeError) as caught:
        look(*sources, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMINGS)
@pytest.mark.parametrize("kind", ["branches", "tags"])
def test_revisions_named_like_steps_are_the_sequence(hub, name, kind):
    expected = NAMINGS[name]
    repo = hub.add_repo(name)
    for step, revision in sorted(expected.items(), key=lambda item: item[1]):  # as the Hub lists them
        sha = repo.commit(revision if kind == "branches" else "main", model(step))
        if kind == "tags":
            repo.tag(revision, sha)
    found = look(f"hf://{name}")
    assert labels(found) == list(expected.values())
    assert steps(found) == list(expected)
    assert labels(found, "ok") == list(expected.values())


def test_main_is_told_to_be_the_last_step_where_it_holds_its_files(hub):
    make_repo(hub, "a/pythia", ["step0", "step1000", "step143000"], main=2)
    found = look("hf://a/pythia")
    assert labels(found) == ["step0", "step1000", "step143000"]
    assert "main is left out: it holds the files of step143000" in found.notes


def test_main_of_a_tagged_history_is_the_last_tag(hub):
    repo = hub.add_repo("a/bloom")
    for step in (1000, 10000, 100000):
        repo.tag(f"global_step{step}", repo.commit("main", model(step)))
    found = look("hf://a/bloom")
    assert steps(found) == [1000, 10000, 100000]
    assert "main is left out: it holds the files of global_step100000" in found.notes


def test_main_that_went_on_is_left_out_with_a_command_that_takes_it(hub):
    make_repo(hub, "a/amber", ["ckpt_000", "ckpt_001", "ckpt_358"], main=9)
    found = look("hf://a/amber")
    assert labels(found) == ["ckpt_000", "ckpt_001", "ckpt_358"]
    (advice,) = re.findall(r"give (\S+) as well", notes(found))
    both = look("hf://a/amber", advice)
    assert labels(both) == ["ckpt_000", "ckpt_001", "ckpt_358", "main (final)"]
    assert "main is left out" not in notes(both)
    assert labels(both, "ok") == labels(both)


def test_main_beside_one_step_is_taken_for_the_last(hub):
    make_repo(hub, "a/one", ["step10"], main=3)
    found = look("hf://a/one")
    assert [(c.step, c.label) for c in found.checkpoints] == [(10, "step10"), (None, "main (final)")]
    make_repo(hub, "a/same", ["step10"], main=0)
    found = look("hf://a/same")
    assert labels(found) == ["step10"]
    assert "main is left out: it holds the files of step10" in found.notes


def test_main_alone_is_the_checkpoint_and_what_else_there_is_is_named(hub):
    repo = make_repo(hub, "timm/resnet", [], main=0)
    assert labels(look("hf://timm/resnet")) == ["main"]
    repo.commit("fp32", model(1))
    assert "fp32 is left out: no step by name (@ takes a revision or a pattern)" in look("hf://timm/resnet").notes


def test_stages_that_go_on_counting_are_one_sequence(hub):
    make_repo(hub, "a/smol", [name for name in SMOLLM3 if name.startswith("stage")])
    assert steps(look("hf://a/smol")) == [40000, 3450000, 4200000, 4720000]


def test_stages_that_count_anew_are_one_sequence_in_turn(hub):
    names = ["stage1-step0", "stage1-step1000", "stage2-step0", "stage2-step1000", "stage3-step0", "stage3-step1000"]
    make_repo(hub, "a/olmo3", names)
    assert labels(look("hf://a/olmo3")) == names


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        (OLMO2, [OLMO2[:3], OLMO2[3:5], OLMO2[5:7], OLMO2[7:]]),
        (SMOLLM3, [SMOLLM3[:4], SMOLLM3[4:6], SMOLLM3[6:8]]),
        (
            ["exp/a/step1", "exp/a/step2", "exp/b/step1", "exp/b/step2"],
            [["exp/a/step1", "exp/a/step2"], ["exp/b/step1", "exp/b/step2"]],
        ),
        (["step1", "step2", "seed1-step1", "seed1-step2"], [["step1", "step2"], ["seed1-step1", "seed1-step2"]]),
        (["a-ckpt_1", "a-ckpt_2", "b-ckpt_1", "b-ckpt_2"], [["a-ckpt_1", "a-ckpt_2"], ["b-ckpt_1", "b-ckpt_2"]]),
    ],
)
def test_runs_side_by_side_are_refused_with_patterns_that_choose_one(hub, names, runs):
    make_repo(hub, "a/runs", names, main=99)
    told = refuse("hf://a/runs")
    patterns = re.findall(r"'(hf://[^']+)'", told)
    assert sorted(labels(look(pattern)) for pattern in patterns) == sorted(runs)
    assert len(labels(look(*patterns, sequence=SequenceOptions(given_order=True)))) == sum(map(len, runs))


def test_a_stage_and_one_of_the_branches_after_it_are_one_sequence(hub):
    make_repo(hub, "allenai/OLMo-2", OLMO2)
    found = look("hf://allenai/OLMo-2@stage1-*", "hf://allenai/OLMo-2@stage2-ingredient1-*")
    assert labels(found) == OLMO2[:5]


def test_any_revision_can_be_named(hub):
    repo = make_repo(hub, "gpt2", {"main": 0, "exp/a/step10": 1, "exp/a/step20": 2})
    repo.tag("v1", "main")
    repo.pull_request(1, "exp/a/step20")
    sha = repo.find("main").sha
    for name in ("main", "v1", "refs/pr/1", "refs%2Fpr%2F1", sha, sha[:10], "exp/a/step10", "exp%2Fa%2Fstep10"):
        found = look(f"hf://gpt2@{name}")
        assert labels(found) == [name.replace("%2F", "/")]
        assert found.num_rows == 2
    assert steps(look("hf://gpt2@exp/a/step10", "hf://gpt2@exp%2Fa%2Fstep20")) == [10, 20]
    assert "no such revision" in refuse("hf://gpt2@nothing")
    assert "there are exp/a/step10" in refuse("hf://gpt2@nothing*")


def test_a_hash_is_no_step(hub):
    repo = hub.add_repo("a/b")
    files = model(0)
    shas = [repo.commit("main", files | {"README.md": str(index)}) for index in range(300)]
    sha = next(sha for sha in shas if re.match("e[0-9]+[a-f]", sha))
    assert steps(look(f"hf://a/b@{sha}")) == [None]
    assert steps(look(f"hf://a/b@{sha[:9]}")) == [None]


def test_a_tag_beside_a_branch_of_the_same_commit_is_no_second_checkpoint(hub):
    repo = make_repo(hub, "a/b", ["step1", "step2"])
    repo.tag("step1-alias", "step1")
    repo.tag("v1", "step2")
    found = look("hf://a/b")
    assert labels(found) == ["step1", "step2"]
    assert "v1 is left out: no step by name (@ takes a revision or a pattern)" in found.notes


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://me/folders", [500, 1000, 1500]),
        ("hf://me/folders@main", [500, 1000, 1500]),
        ("hf://me/folders/checkpoint-1000", [1000]),
        ("hf://me/folders@main/checkpoint-1000/", [1000]),
        ("hf://me/folders/checkpoint-1*", [1000, 1500]),
        ("hf://me/folders@main/checkpoint-1000/model.safetensors", [None]),
    ],
)
def test_folders_of_one_revision_are_its_checkpoints(hub, address, expected):
    repo = hub.add_repo("me/folders")
    files = {f"checkpoint-{step}/model.safetensors": at_step(step) for step in (500, 1000, 1500)}
    repo.commit("main", files | {f"{path}.json": "{}" for path in files})
    assert steps(look(address)) == expected


def test_files_of_one_revision_are_its_checkpoints(hub):
    repo = hub.add_repo("me/files")
    repo.commit("main", {f"model_step{step}.safetensors": at_step(step) for step in (100, 200, 1000)})
    assert steps(look("hf://me/files")) == [100, 200, 1000]
    assert steps(look("hf://me/files/model_step?00.safetensors")) == [100, 200]
    assert "no such file or folder" in refuse("hf://me/files/nothing.bin")


def test_a_folder_is_looked_for_in_every_revision(hub):
    repo = hub.add_repo("a/b")
    for step in (1, 2, 3):
        repo.commit(f"step{step}", {"ema/model.safetensors": at_step(step), "raw/model.safetensors": at_step(-step)})
    for address in ("hf://a/b/ema", "hf://a/b@step*/ema"):
        found = look(address)
        assert labels(found) == ["step1", "step2", "step3"]
        assert found.checkpoints[0].nbytes == len(at_step(1))
    assert steps(look("hf://a/b@step1/ema", "hf://a/b@step3/ema")) == [1, 3]


def test_of_several_in_a_revision_that_in_no_folder_is_read(hub):
    repo = hub.add_repo("a/b")
    for step in (1, 2):
        repo.commit(f"step{step}", model(step) | {"checkpoint-7/model.safetensors": at_step(7)})
    repo.commit("step3", {"checkpoint-7/model.safetensors": at_step(7), "checkpoint-8/model.safetensors": at_step(8)})
    found = look("hf://a/b")
    assert labels(found, "ok") == ["step1", "step2"]
    assert "holds 2 checkpoints (checkpoint-7 and checkpoint-8)" in found.checkpoints[2].reason
    (advice,) = re.findall(r"as in (\S+)$", found.checkpoints[2].reason)
    assert labels(look(advice), "ok") == ["step1"]  # all hold the same there


def test_of_commits_that_bring_folders_too_what_lies_in_none_is_read(hub):
    repo = hub.add_repo("me/last")
    for index, step in enumerate((500, 1000)):
        commit_all(repo, (f"Training in progress, step {step}", index))
        folder = {"last-checkpoint/model.safetensors": at_step(index)}
        repo.commit("main", folder, title=f"Training in progress, step {step}, checkpoint", replace=False)
    found = look("hf://me/last", commits=True)
    assert steps(found) == [500, 1000]
    assert "checkpoints in folders are left out" in notes(found)
    assert steps(look("hf://me/last/last-checkpoint", commits=True)) == [500, 1000]


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_data_sets_and_spaces_hold_checkpoints_too(hub, kind):
    make_repo(hub, "a/b", ["step1", "step2"], kind=kind)
    assert steps(look(f"hf://{kind}s/a/b")) == [1, 2]
    assert steps(look("hf://a/b", kind=kind)) == [1, 2]
    assert "no such repository" in refuse("hf://a/b")


def commit_all(repo, *changes):
    for title, step in changes:
        repo.commit("main", {"README.md": title} if step is None else model(step), title=title, replace=False)


def test_commits_of_a_trainer_are_called_after_the_steps_in_their_messages(hub):
    commit_all(
        hub.add_repo("me/run"),
        ("Training in progress, step 500", 1),
        ("Training in progress, step 500, checkpoint", None),
        ("Training in progress, step 1000", 2),
        ("Model save", None),
        ("End of training", 3),
        ("Update README.md", None),
    )
    found = look("hf://me/run", commits=True)
    assert [(c.step, c.label) for c in found.checkpoints] == [(500, "step-500"), (1000, "step-1000"), (None, "final")]
    assert labels(found, "ok") == labels(found)
    assert labels(look("hf://me/run")) == ["main"]


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["Upload model"] * 3, ["commit-1", "commit-2", "commit-3"]),
        ([f"Training in progress, epoch {i}" for i in (1, 2, 3)], ["epoch-1", "epoch-2", "epoch-3"]),
        (["step 1", "step 2", "step 1", "step 2"], ["commit-1", "commit-2", "commit-3", "commit-4"]),
        (["Upload model", "step 5", "Upload model", "Fix"], ["commit-1", "commit-2", "commit-3", "commit-4"]),
        (["global_step=10", "global_step=20.5", "global_step=30"], ["step-10", "step-30"]),
    ],
)
def test_commits_are_called_after_what_their_messages_say_throughout(hub, titles, expected):
    commit_all(hub.add_repo("me/run"), *((title, index) for index, title in enumerate(titles)))
    found = look("hf://me/run@main", commits=True)
    assert labels(found) == expected
    assert ("the messages name step 1 after step 2" in notes(found)) == (
        len(set(titles)) == 2 and titles[0] == "step 1"
    )


def test_the_history_of_another_branch_is_read_and_a_pattern_has_none(hub):
    repo = make_repo(hub, "me/run", {"exp/a": 1})
    repo.commit("exp/a", model(2))
    assert labels(look("hf://me/run@exp/a", commits=True)) == ["commit-0", "commit-1"]
    assert "takes one branch" in refuse("hf://me/run@exp*", commits=True)


def test_a_long_history_is_read_to_its_end(hub):
    hub.commits_per_page = 3
    commit_all(hub.add_repo("me/run"), *((f"step {step}", step) for step in range(1, 11)))
    assert steps(look("hf://me/run", commits=True)) == list(range(1, 11))


def test_a_branch_that_moves_on_meanwhile_is_read_as_it_was(hub):
    repo = make_repo(hub, "a/b", ["step1", "step2", "step3"])
    before = {c.origin: c for c in look("hf://a/b").checkpoints}
    hub.faults.run(lambda: repo.commit("step2", {"model.safetensors": b"<html>" * 999}), kinds=("api",), after=2)
    found = look("hf://a/b")
    assert {c.origin: c for c in found.checkpoints} == before


def test_names_that_git_cannot_have_are_left_out_and_counted(hub):
    repo = make_repo(hub, "h/names", ["step1", "step2"])
    for name in ("step3\x1b[31m", "../../step4", "step5/../../x", "step 6", "/step7", "step9^", "step10//x"):
        repo.refs[f"refs/heads/{name}"] = repo.find("step1")
    found = look("hf://h/names")
    assert labels(found) == ["step1", "step2"]
    assert "7 names are left out that no branch or tag of git can have" in found.notes


def test_a_repository_without_checkpoints_says_so(hub):
    hub.add_repo("a/empty")
    assert "hf://a/empty@main: holds no checkpoint" in refuse("hf://a/empty")
    repo = hub.add_repo("a/cards")
    for step in (1, 2):
        repo.commit(f"step{step}", {"README.md": "card"})
    assert "holds no checkpoint (.safetensors, .bin, .pt, .ckpt) in its revisions" in refuse("hf://a/cards")
    hub.add_repo("a/nothing", initial=False)
    assert "the repository has no branch" in refuse("hf://a/nothing")


@pytest.mark.parametrize(
    "names",
    [
        [f"seed{1 + index % 2}-step{100 * (index + 1)}" for index in range(6)],
        ["seed1-step100", "seed1-step200", "seed2-step200", "seed2-step300"],
        [f"seed{1 + index % 2}-epoch{index}" for index in range(4)],
    ],
)
def test_runs_that_share_fewer_than_two_steps_are_refused_where_they_went_on_together(hub, names):
    make_repo(hub, "a/runs", names)
    told = refuse("hf://a/runs")
    assert "holds 2 runs side by side" in told
    patterns = re.findall(r"'(hf://[^']+)'", told)
    assert [set(labels(look(pattern))) for pattern in patterns] == [
        {name for name in names if name.startswith(seed)} for seed in ("seed1", "seed2")
    ]


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["seed1-step100", "seed1-step200", "seed2-step200"], "seed1-step200 and seed2-step200 both claim step 200"),
        (["step-100", "step_100", "step-200"], "step-100 and step_100 both claim step 100"),
    ],
)
def test_a_step_that_two_branches_claim_is_named(hub, names, note):
    make_repo(hub, "a/b", names)
    assert note in look("hf://a/b").notes


@pytest.mark.parametrize(
    "names",
    [
        ["step150", "stage1-step1000", "step2150", "stage1-step3000", "stage2-step100", "stage2-step200"],
        ["stage1-step100", "stage1-step300", "stage2-step200", "stage2-step250"],
        ["a-step1", "a-step2", "b-step3", "b-step4"],
        ["epoch-1-step-100", "epoch-1-step-300", "epoch-2-step-200", "epoch-2-step-400"],
        ["step-100", "step_200", "step-300", "step_400"],
    ],
)
def test_what_follows_each_other_under_several_names_is_one_sequence(hub, names):
    make_repo(hub, "a/b", names)
    found = look("hf://a/b")
    assert set(labels(found)) == set(names)
    assert "claim" not in notes(found)


def test_a_tag_is_read_where_a_branch_of_its_name_is_elsewhere(hub):
    repo = make_repo(hub, "o/r", {"step1": 1, "step2": 2, "old": 7})
    repo.tag("step2", "old")
    repo.tag("v1", "step1")
    commits = {address: origin_of(look(f"hf://o/r@{address}")) for address in ("step2", "old")}
    assert origin_of(look("hf://o/r@refs/heads/step2")) == commits["step2"]
    assert origin_of(look("hf://o/r@refs/tags/v1")) == origin_of(look("hf://o/r@step1"))
    tagged = look("hf://o/r@refs/tags/step2")
    assert origin_of(tagged) == commits["old"]
    assert [c.step for c in tagged.checkpoints] == [2]
    assert origin_of(look("hf://o/r@refs/tags/st*")) == commits["old"]
    for address in ("hf://o/r", "hf://o/r@step*", "hf://o/r@step2"):
        (advice,) = re.findall(r"tag of that name is at another commit \((\S+) reads it\)", notes(look(address)))
        assert origin_of(look(advice)) == commits["old"]
    assert "another commit" not in notes(look("hf://o/r@step1"))


def origin_of(listing):
    """The hashes of the files of the only checkpoint."""
    address = parse_address(listing.checkpoints[0].origin)
    (held,) = HubSource(address, HubClient()).find().checkpoints
    return {file.stamp for file in held.files}


def test_revisions_that_are_all_dates_are_a_sequence(hub):
    make_repo(hub, "a/dates", ["2023-10-01", "2023-02-01", "11Jan2024"])
    assert labels(look("hf://a/dates")) == ["2023-02-01", "2023-10-01", "11Jan2024"]


def test_other_branches_are_named_where_main_holds_nothing(hub):
    make_repo(hub, "a/b", ["fp16", "2023-01-01"])
    told = refuse("hf://a/b")
    assert "hf://a/b@main: holds no checkpoint" in told
    assert "2023-01-01 are left out" in told
    assert "fp16" in told


def test_a_revision_in_the_place_of_a_folder_is_told(hub):
    make_repo(hub, "a/b", ["step1", "step2"], main=3)
    make_repo(hub, "a/c", [], main=3)
    assert "a revision is named with @: hf://a/b@main" in refuse("hf://a/b/tree/main")
    assert "a revision is named with @: hf://a/c@main" in refuse("hf://a/c/tree/main")


def test_pages_and_other_spellings_are_read(hub, tmp_path):
    make_repo(hub, "a/b", ["step1", "step2"])
    for source in ("HF://a/b", "https://huggingface.co/a/b", "https://hf.co/a/b/"):
        assert steps(look(source)) == [1, 2]
    assert steps(look("https://huggingface.co/a/b/tree/step2")) == [2]
    for index, source in enumerate(("hf:/a/b", "hf.co/a/b", "HF://a/b", "https://huggingface.co/a/b")):
        assert len(pull_sequence(source, tmp_path / str(index)).names) == 2


def test_revisions_without_steps_do_not_hide_the_steps_of_the_others(hub):
    make_repo(hub, "a/b", ["step1", "step3", "CON", "aux"], main=5)
    found = look("hf://a/b@*")
    assert steps(found) == [1, 3]
    assert {"CON and aux are left out: no steps by name (@ takes a revision or a pattern)"} < set(found.notes)
    assert "main is left out: no step by name" in notes(found)
    make_repo(hub, "a/c", ["step1", "fp16"])
    assert steps(look("hf://a/c@*")) == [1]
