"""The order of a sequence, and which of its checkpoints are only other names for the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.order import order_checkpoints
from wsanalyze.errors import SourceError
from wsanalyze.files.base import FileRef


def make(label, *, origin=None, stamp=None, mtime=0, problem=None, **facts):
    origin = origin or f"run/{label}"
    file = FileRef(origin, 10, stamp or origin, mtime)
    return Checkpoint(None, label, origin, (file,), ("",), facts=facts, problem=problem)


def order(*checkpoints, prints=None, given=False):
    made = [make(c) if isinstance(c, str) else c for c in checkpoints]
    return order_checkpoints(made, prints or {}, given=given)


def steps(*checkpoints, **options):
    return [(c.label, c.step) for c in order(*checkpoints, **options).checkpoints]


def labels(*checkpoints, **options):
    return [c.label for c in order(*checkpoints, **options).checkpoints]


def copies(*checkpoints, **options):
    return {c.label: c.duplicate_of for c in order(*checkpoints, **options).checkpoints if c.duplicate_of}


SEQUENCES = [
    ["step200", "step1000", "step3000"],
    ["checkpoint-500", "checkpoint-1000"],
    ["step500", "step10k", "step1M"],
    ["epoch=2-step=300", "epoch=3-step=400", "epoch=10-step=1100"],
    ["step1000-tokens4B", "step2000-tokens8B", "step10000-tokens40B"],
    ["stage1-step-100", "stage1-step-2000", "stage2-step-100", "stage2-step-2000", "stage10-step-5"],
    ["step150", "stage1-step1000", "step2150", "stage1-step3000", "stage2-step100"],
    ["step150", "step2150", "stage2-step100", "stage2-step1000"],
    ["model_0004999", "model_0009999", "model_0014999"],
    ["checkpoint-2.pth.tar", "checkpoint-12.pth.tar"],
    ["global_step100", "global_step1000"],
    ["ep0-ba90-rank0", "ep0-ba100-rank0", "ep1-ba1000-rank0"],
    ["epoch_0_step_500", "epoch_0_step_1000", "epoch_1_step_500", "epoch_1_step_1000"],
    ["1", "2", "10", "100"],
    ["run7_3", "run7_12", "run7_100"],
    ["22May2024", "11Jul2024", "1Jan2025"],
    ["2024-05-22", "2024-07-11"],
    ["model_20240522_1", "model_20240522_2", "model_20240522_10"],
    ["init", "step_1", "step_2", "last"],
    ["init", "best", "last"],
]


@pytest.mark.parametrize("names", SEQUENCES, ids=lambda names: names[0])
@given(data=st.data())
def test_names_are_ordered_as_numbers_whatever_order_they_are_found_in(names, data):
    assert labels(*data.draw(st.permutations(names))) == names


def test_steps_inside_go_before_steps_in_the_name():
    found = order(make("step1", global_step=200), make("step2", global_step=100))
    assert [c.step for c in found.checkpoints] == [100, 200]
    assert found.notes == ("ordered by global_step in the files",)


def test_a_step_goes_before_an_epoch():
    assert steps(make("a", epoch=1, global_step=50), make("b", epoch=1, global_step=20)) == [("b", 20), ("a", 50)]


def test_a_number_inside_that_never_changes_says_nothing():
    assert steps(make("epoch_1", step=10), make("epoch_2", step=10)) == [("epoch_1", 1), ("epoch_2", 2)]


def test_steps_within_an_epoch_come_after_the_epoch():
    found = steps(
        make("a", epoch=2, step=1), make("b", epoch=1, step=2), make("c", epoch=1, step=1), make("d", epoch=2, step=2)
    )
    assert found == [("c", 1), ("b", 1), ("a", 2), ("d", 2)]


def test_numbers_that_are_the_same_for_some_still_order_the_others():
    assert labels(make("x", epoch=2), make("b", epoch=1), make("a", epoch=1)) == ["a", "b", "x"]


def test_an_unreadable_file_keeps_its_step_from_its_name():
    found = order(
        make("epoch=1-step=100", global_step=100),
        make("epoch=2-step=200", problem="damaged"),
        make("epoch=3-step=300", global_step=300),
    )
    assert [c.step for c in found.checkpoints] == [100, 200, 300]


def test_an_unreadable_file_whose_name_disagrees_has_no_step_and_comes_last():
    found = steps(make("step1", global_step=100), make("step2", problem="damaged"), make("step3", global_step=300))
    assert found == [("step1", 100), ("step3", 300), ("step2", None)]


def test_only_unreadable_files_are_ordered_by_their_names():
    assert labels(make("step20", problem="x"), make("step3", problem="x")) == ["step3", "step20"]


def test_the_time_of_modification_is_the_last_resort():
    found = order(make("b", mtime=1), make("a", mtime=3), make("c", mtime=2))
    assert [c.label for c in found.checkpoints] == ["b", "c", "a"]
    assert found.notes == ("ordered by time of modification, since nothing else tells their order: check it",)
    assert all(c.step is None for c in found.checkpoints)


def test_without_even_that_names_decide():
    found = order(make("b10", mtime=1), make("a", mtime=1), make("b2", mtime=1, problem="x"))
    assert [c.label for c in found.checkpoints] == ["a", "b2", "b10"]
    assert "ordered by name" in found.notes[0]


def test_a_single_checkpoint_needs_no_order():
    assert order("model").notes == ()
    assert steps("resnet50") == [("resnet50", None)]
    assert steps(make("x", epoch=3)) == [("x", 3)]
    assert order().checkpoints == ()


class TestCopies:
    def test_a_hard_or_symbolic_link(self):
        found = copies("step_1", make("step_2", stamp="i2"), make("last", stamp="i2"))
        assert found == {"last": "the same file as step_2"}

    def test_a_copy_that_was_saved_anew(self):
        prints = {"run/step_1": "p1", "run/step_2": "p2", "run/best": "p1", "run/last": "p2"}
        found = copies("step_1", "step_2", "best", "last", prints=prints)
        assert found == {"best": "the same weights as step_1", "last": "the same weights as step_2"}

    def test_the_same_step_inside(self):
        found = copies(make("a", global_step=1), make("b", global_step=2), make("last", global_step=2))
        assert found == {"last": "the same step (2) as b"}

    def test_a_numbered_best(self):
        assert copies("epoch=1", "epoch=2", "best-epoch=2") == {"best-epoch=2": "the same step (2) as epoch=2"}

    def test_a_name_given_to_a_link(self):
        assert copies(make("a_1", stamp="i"), make("a_2", stamp="i")) == {"a_2": "the same file as a_1"}

    def test_two_names_for_one_that_is_not_numbered(self):
        found = copies("step_1", make("last", global_step=None, stamp="i"), make("final", stamp="i"))
        assert found == {"final": "the same file as last"}

    def test_only_best_and_last(self):
        found = order(make("best", stamp="i", mtime=1), make("last", stamp="i", mtime=1))
        assert [(c.label, c.duplicate_of) for c in found.checkpoints] == [
            ("best", None),
            ("last", "the same file as best"),
        ]

    def test_copies_come_after_their_originals(self):
        assert labels(make("last", global_step=2), make("b", global_step=2), make("a", global_step=1)) == [
            "a",
            "b",
            "last",
        ]

    def test_the_same_step_in_another_stage_is_another(self):
        assert copies("stage1-step5", "stage2-step5", "stage1-step6", "best-stage2-step6") == {}

    def test_equal_weights_of_numbered_checkpoints_are_no_copies_by_name(self):
        assert copies("step_1", "step_2", prints={"run/step_1": "p", "run/step_2": "p"}) == {}

    def test_an_unreadable_alias_is_no_copy(self):
        found = order("step_1", "step_2", make("last", problem="damaged", stamp="run/step_2"))
        assert [(c.label, c.duplicate_of) for c in found.checkpoints][-1] == ("last", None)

    def test_sharded_copies(self):
        shards = tuple(FileRef(f"s{i}", 1, f"i{i}") for i in range(2))
        one = Checkpoint(None, "step_1", "run/step_1", shards, ("", ""))
        two = Checkpoint(None, "latest", "run/latest", shards[::-1], ("", ""))
        assert copies(one, two, "step_2") == {"latest": "the same file as step_1"}


def test_a_last_newer_than_all_numbered_ones_stays_at_the_end():
    assert labels("last", "step_10", "step_9") == ["step_9", "step_10", "last"]
    assert steps(make("last", epoch=3), make("a", epoch=2), make("b", epoch=1)) == [("b", 1), ("a", 2), ("last", 3)]


def test_a_best_that_cannot_be_placed_is_left_out_and_said_so():
    found = order("best", "step_10", "step_9")
    assert [c.label for c in found.checkpoints] == ["step_9", "step_10"]
    assert "best is left out: nothing says at which step it was saved" in found.notes


def test_a_best_with_a_step_of_its_own_is_placed():
    assert labels(make("best", epoch=2), make("a", epoch=1), make("b", epoch=3)) == ["a", "best", "b"]


def test_what_has_no_step_among_many_with_is_left_out_and_said_so():
    found = order("step_1", "step_2", "teacher")
    assert [c.label for c in found.checkpoints] == ["step_1", "step_2"]
    assert "teacher is left out: nothing says at which step it was saved (--order given keeps it)" in found.notes


def test_a_recovery_is_placed_by_its_epoch():
    assert labels(make("recovery-2-100", epoch=2), make("a", epoch=1), make("b", epoch=3)) == [
        "a",
        "recovery-2-100",
        "b",
    ]


def test_a_recovery_was_saved_before_the_end_of_its_epoch_and_is_no_copy():
    found = order(
        *(make(f"checkpoint-{n}", epoch=n) for n in (3, 4)),
        *(make(f"recovery-{n}-{batch}", epoch=n) for n, batch in ((3, 900), (4, 50), (4, 100))),
        make("last", epoch=4),
    )
    assert [c.label for c in found.checkpoints] == [
        "recovery-3-900",
        "checkpoint-3",
        "recovery-4-50",
        "recovery-4-100",
        "checkpoint-4",
        "last",
    ]
    assert [c.duplicate_of for c in found.checkpoints] == [None] * 5 + ["the same step (4) as checkpoint-4"]


def test_parallel_runs_are_refused_by_name():
    found = [make(f"step_{i}", origin=f"{run}/step_{i}") for run in ("a", "b") for i in (1, 2)]
    with pytest.raises(
        SourceError, match=r"several runs, not one sequence: a/step_# and b/step_# hold the same 2 steps"
    ):
        order(*found)
    assert len(order(*found, given=True).checkpoints) == 4


def test_parallel_runs_in_one_folder_are_refused_by_name():
    with pytest.raises(SourceError, match="run/resnet_epoch# and run/vgg_epoch# hold the same 2 steps"):
        order("resnet_epoch1", "resnet_epoch2", "vgg_epoch1", "vgg_epoch2", "vgg_epoch3")


def test_ingredients_are_parallel_runs():
    names = [f"stage2-ingredient{i}-step{s}" for i in (1, 2, 3) for s in (10 * i, 10 * i + 1)]
    with pytest.raises(SourceError, match="stage2-ingredient1 and stage2-ingredient2 and stage2-ingredient3"):
        order("stage1-step1", *names)
    assert len(order(*names, given=True).checkpoints) == 6
    assert labels("stage1-step9", "stage2-ingredient1-step3") == ["stage1-step9", "stage2-ingredient1-step3"]


def test_two_sources_that_share_one_step_are_one_sequence():
    first = [make(f"step_{i}", origin=f"a/step_{i}") for i in (1, 2, 3)]
    second = [make(f"step_{i}", origin=f"b/step_{i}") for i in (3, 4, 5)]
    found = order(*second, *first)
    assert [c.step for c in found.checkpoints] == [1, 2, 3, 3, 4, 5]
    assert [c.label for c in found.checkpoints][2:4] == ["a/step_3", "b/step_3"]


def test_equal_labels_are_told_apart_by_their_folders():
    found = order(make("model", origin="r/checkpoint-1/model"), make("model", origin="r/checkpoint-20/model"))
    assert [(c.label, c.step) for c in found.checkpoints] == [("checkpoint-1/model", 1), ("checkpoint-20/model", 20)]
    found = order(make("m", origin="a/x/m", mtime=1), make("m", origin="b/x/m", mtime=2), make("other", mtime=3))
    assert [c.label for c in found.checkpoints] == ["a/x/m", "b/x/m", "other"]


def test_the_same_path_twice_is_one_checkpoint():
    assert labels("step_1", "step_2", "step_1") == ["step_1", "step_2"]


def test_the_order_given_is_kept_with_all_that_was_given():
    found = order("step_20", "best", "teacher", "step_3", make("last", stamp="run/step_3"), given=True)
    assert [c.label for c in found.checkpoints] == ["step_20", "best", "teacher", "step_3", "last"]
    assert [c.step for c in found.checkpoints] == [20, None, None, 3, None]
    assert found.checkpoints[-1].duplicate_of == "the same file as step_3"
    assert found.notes == ("the checkpoints are in the order given",)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["step_", "epoch", "x", "best", "last", "checkpoint-", "stage1-step", ""]),
            st.integers(0, 30),
            st.booleans(),
            st.none() | st.integers(0, 5),
        ),
        max_size=12,
    )
)
def test_no_checkpoint_is_lost_silently(parts):
    made = [
        make(f"{word}{n}", problem="damaged" if bad else None, **({} if fact is None else {"epoch": fact}))
        for word, n, bad, fact in parts
    ]
    try:
        found = order_checkpoints(made, {})
    except SourceError as error:
        assert "several runs" in str(error)  # noqa: PT017 - one of two right answers
        return
    kept = {c.origin for c in found.checkpoints}
    for checkpoint in made:
        assert checkpoint.origin in kept or any(checkpoint.label in note for note in found.notes)
    assert len(kept) == len(found.checkpoints)


@pytest.mark.parametrize(
    "name",
    [
        "seed{run}_step{step}",
        "fold{run}/epoch_{step}",
        "fold{run}_epoch_{step}",
        "resnet{run}8-step-{step}-v1",
        "step_{step}_seed{run}",
        "lr1e-{run}_epoch{step}",
        "run{run}/ckpt_{step}",
    ],
)
def test_runs_that_only_a_number_tells_apart_are_refused(name):
    origins = [[f"top/{name.format(run=run, step=step)}" for step in (1, 20, 300)] for run in (3, 4)]
    runs = [[make(origin.rpartition("/")[2], origin=origin) for origin in run] for run in origins]
    for alone in runs:
        assert len(order(*alone).checkpoints) == 3
    with pytest.raises(SourceError, match="several runs, not one sequence"):
        order(*runs[0], *runs[1])
    assert len(order(*runs[0], *runs[1], given=True).checkpoints) == 6


@pytest.mark.parametrize(
    "names",
    [
        ["epoch=1-val_loss=0.31", "epoch=2-val_loss=0.29", "epoch=3-val_loss=0.31", "epoch=4-val_loss=0.29"],
        ["step100-seed7", "step200-seed7", "step300-seed7"],
        ["epoch_0_step_500", "epoch_0_step_1000", "epoch_1_step_500", "epoch_1_step_1000"],
        ["seed0_step100", "seed1_step200", "seed0_step300", "seed1_step400"],  # nothing in common: whatever that is
        ["stage1_step100", "stage1_step200", "stage2_step100", "stage2_step200"],
    ],
)
def test_numbers_that_tell_no_runs_apart(names):
    assert len(labels(*names)) == len(names)


def test_files_that_are_put_together_are_noted():
    assert (
        "files of one number are taken for components of one model: actor_1 + critic_1"
        in order("actor_1 + critic_1", "actor_2 + critic_2").notes
    )


def test_runs_far_away_are_named_by_addresses_that_can_be_pasted():
    names = [f"hf://o/{run}@step{step}" for run in "ab" for step in (1, 2, 3)]
    with pytest.raises(SourceError, match=r"hf://o/a@step# and hf://o/b@step# hold the same 3 steps"):
        order(*(make(name.partition("@")[2], origin=name) for name in names))
