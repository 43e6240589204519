"""What names say of steps, stages, roles and dates."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.checkpoints.names import (
    MAX_STEP,
    mask_numbers,
    names_step,
    natural_key,
    read_name,
    read_varying_numbers,
)

UNITS = {
    "checkpoint-500": {"number": 500},
    "checkpoint-12.pth.tar": {"number": 12},
    "checkpoint_9": {"number": 9},
    "epoch=3-step=400": {"epoch": 3, "step": 400},
    "epoch=03-val_loss=0.25": {"epoch": 3},
    "step10k": {"step": 10_000},
    "step_1.5k": {"step": 1500},
    "iter-2M": {"step": 2_000_000},
    "step1000-tokens4B": {"step": 1000, "number": 4_000_000_000},
    "step250-tokens1.5B": {"step": 250, "number": 1_500_000_000},
    "stage1-step-100": {"step": 100},
    "model_0004999": {"number": 4999},
    "global_step1000": {"step": 1000},
    "iter_0005000": {"step": 5000},
    "epoch12": {"epoch": 12},
    "run_ep7": {"epoch": 7},
    "e30": {"epoch": 30},
    "ep2-ba40-rank0": {"epoch": 2, "step": 40},
    "ckpt_000": {"number": 0},
    "llama-2-7b-step100": {"step": 100},
    "ckpt_1e3": {"number": 1000},
    "ckpt_2e3.pt": {"number": 2000},
    "ckpt_1e4": {"number": 10_000},
    "step1.5E4": {"step": 15_000},
    "epoch_1e5": {"epoch": 100_000},
    "iter=25e3-loss=0.1": {"step": 25_000},
    "step_3e0_epoch_2": {"step": 3, "epoch": 2},
    "ckpt_1e3f": {"number": 1},
    "ckpt_1e3_a": {"number": 1000},
    "ckpt_1e345": {"number": 1},
    "step_1e-3": {"step": 1},
    "ckpt_1e99": {},
    "ckpt_a1e3": {},
    "deadbeef1e3": {},
    "1e3": {},
    "resnet50": {},
    "step": {},
    "mistep5": {},
    "lr1e-4": {},
    "gemma-2b-it": {},
    "step12345678901234567890": {},
    "step999999999999999b": {},
    "step10kiwi": {"step": 10},
    "": {},
}


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_numbers_have_units(name, units):
    assert read_name(name).units == units


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("stage1-step-100", "stage1"),
        ("stage2-ingredient3-step1000", "stage2-ingredient3"),
        ("phase-2_epoch_1", "phase-2"),
        ("backstage1", ""),
    ],
)
def test_stages(name, stage):
    assert read_name(name).stage == stage


@pytest.mark.parametrize(
    ("name", "role", "alias"),
    [
        ("last", "last", "last"),
        ("last-v1", "last", "last"),
        ("model_best", "best", "best"),
        ("BEST", "best", "best"),
        ("model_final", "final", "final"),
        ("recovery-3-120", "recovery", "recovery"),
        ("best-epoch=3", "best", ""),
        ("init", "init", "init"),
        ("lastlayer", "", ""),
        ("bestiary", "", ""),
        ("finally", "", ""),
        ("checkpoint-5", "", ""),
    ],
)
def test_roles_and_aliases(name, role, alias):
    assert read_name(name).role == role
    assert read_name(name).alias == alias


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("11Jul2024", dt.date(2024, 7, 11)),
        ("run-22-May-2024", dt.date(2024, 5, 22)),
        ("2024-05-22_13-45", dt.date(2024, 5, 22)),
        ("20240522", dt.date(2024, 5, 22)),
        ("3 march 2021", dt.date(2021, 3, 3)),
        ("31Feb2024", None),
        ("11Xyz2024", None),
        ("2024-13-01", None),
        ("120240522", None),
    ],
)
def test_dates(name, day):
    assert read_name(name).date == (None if day is None else day.toordinal())


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["run7_3", "run7_12", "run7_1"], [3, 12, 1]),
        (["1", "2", "10"], [1, 2, 10]),
        (["1_500", "1_1000", "2_1500"], [500, 1000, 1500]),
        (["a1", "a1b", "a2", "a3"], [1, None, 2, 3]),
        (["a", "b"], [None, None]),
        (["resnet50"], [None]),
        (["500"], [500]),
        (["1_1", "1_2", "2_1", "2_2"], [None] * 4),
        (["a1", "a" + "9" * 30], [None, None]),
        (["a5_" + "9" * 30, "a6_" + "8" * 30], [5, 6]),
        (["a1", "a" + "9" * 17], [1, None]),
        ([], []),
    ],
)
def test_the_number_in_which_names_differ(names, numbers):
    assert read_varying_numbers(names) == numbers


@given(name=st.text(max_size=60))
def test_any_name_is_read(name):
    facts = read_name(name)
    assert all(0 <= number < MAX_STEP for number in facts.units.values())
    assert read_varying_numbers([name, f"{name}1", f"{name}2"]) is not None


@given(step=st.integers(0, MAX_STEP - 1), unit=st.sampled_from(["step", "epoch"]), pad=st.integers(0, 10))
def test_steps_are_numbers(step, unit, pad):
    if len(str(step)) <= 15:
        assert read_name(f"run-{unit}_{step:0{min(pad, 15)}d}").units[unit] == step


@given(exponent=st.integers(0, 13), digit=st.integers(0, 9), key=st.sampled_from(["step", "Iter-", "global_step="]))
def test_a_number_in_powers_of_ten_is_that_number(exponent, digit, key):
    assert read_name(f"{key}{digit}e{exponent}") == read_name(f"{key}{digit * 10**exponent}")


@given(numbers=st.lists(st.integers(0, 10**17), min_size=2, unique=True))
def test_numbers_in_names_sort_as_numbers(numbers):
    names = sorted((f"step{n}.x" for n in numbers), key=natural_key)
    assert names == [f"step{n}.x" for n in sorted(numbers)]


@given(a=st.text(alphabet="a019.", max_size=24), b=st.text(alphabet="a019.", max_size=24))
def test_no_two_names_share_a_key(a, b):
    assert (natural_key(a) == natural_key(b)) is (a == b)
    assert (natural_key(a) < natural_key(b)) is not (natural_key(a) >= natural_key(b))


def test_the_make_of_a_name():
    assert mask_numbers("epoch=3-step=400") == "epoch=#-step=#"


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", True),
        ("500", True),
        ("epoch=0-step=10.ckpt", True),
        ("iter_0000100", True),
        ("global_step7", True),
        ("checkpoint_1e3", True),
        ("1e3", False),
        ("checkpoint_1e3f", False),
        ("model_1", False),
        ("pytorch_model_fsdp_0", False),
        ("mp_rank_00", False),
        ("run7", False),
        ("unet", False),
    ],
)
def test_folders_that_are_one_checkpoint_are_told_from_runs(name, step):
    assert names_step(name) is step
