"""The benchmark of scaling has a row for each size, number of tensors and number of checkpoints."""

import sys

import pytest


def make_sample(script, wall, measuring=None, floor=1.0):
    from processes import Cost

    return script.Sample(Cost(floor, floor, 20.0), Cost(wall, wall, 100.0, 50.0, measuring))


@pytest.fixture
def case(script):
    return script.Case("1 GB", 6, "3 versions", [])


def test_every_sweep_is_a_table(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "_COUNT_GIGABYTES", 0.0005)
    options = ["--rounds", "1", "--sizes", "0.0005", "0.001", "--disk", "0.002"]
    options += ["--tensors", "50", "--checkpoints", "3"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/scaling.py", *options])
    script.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    body = [row for row in rows if row[0] not in ("model", "---")]
    assert [(row[0], row[1], row[2], row[4]) for row in body] == [
        ("0.0005 GB", "492", "6", "3 versions"),
        ("0.001 GB", "492", "6", "sparse"),
        ("0.0512 MB", "50", "20", "all"),
        ("0.0005 GB", "492", "3", "3 versions"),
    ]
    assert [body[index][-1] for index in (0, 2, 3)] == ["1.00"] * 3
    assert all(float(row[6]) > 0 for row in body)


def test_time_is_by_the_byte_and_beside_the_first_row(script, case):
    samples = [make_sample(script, 9.0, seconds, floor) for seconds, floor in ((4.0, 2.0), (6.0, 2.0), (5.0, 1.0))]
    row = script.make_row(case, samples, gigabytes=2.0, first=2.0)
    assert row == [
        "1 GB", "492", "6", "2.00", "3 versions", "5.00", "9.00", "9.00", "100", "3.00 (2.00, 5.00)", "1.25",
    ]  # fmt: skip


def test_the_whole_process_is_taken_where_nothing_else_is_told(script, case):
    samples = [make_sample(script, 8.0)]
    assert script.time_of(samples) == 8.0
    assert script.make_row(case, samples, gigabytes=4.0, first=1.0)[-1] == "2.00"


def test_sizes_that_do_not_fit_are_sparse(script):
    found = list(script.plan_sizes([1.0, 4.0, 16.0], disk=13.0))
    assert [item.files for item in found] == ["3 versions", "3 versions", "sparse"]
    assert [item.options[-1] for item in found] == ["3", "3", "--sparse"]


@pytest.mark.parametrize(
    "options",
    [
        ["--sizes", "0"],
        ["--sizes", "1", "25"],
        ["--sizes", "nan"],
        ["--tensors", "0"],
        ["--rounds", "0"],
        ["--checkpoints", "1"],
        ["--checkpoints", "257"],
        ["--sweeps", "everything"],
    ],
)
def test_impossible_options_are_refused(script, capsys, options):
    with pytest.raises(SystemExit) as ended:
        script.read_options(options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err
