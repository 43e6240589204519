"""The benchmark of memory has a row for each case and each size allowed."""

import sys

import pytest


def test_every_case_is_measured_with_every_size(script, monkeypatch, capsys):
    options = ["--megabytes", "0.1", "--memory", "32MB", "64mb", "--cases", "transposed", "derived"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/memory.py", *options])
    script.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows[2:]] == [[case, size] for case in options[6:] for size in options[3:5]]
    for _, size, *numbers in rows[2:]:
        peak, own, above, over = (number.replace(",", "") for number in numbers)
        assert float(peak) > 10
        assert float(own) > 10
        assert float(over) == pytest.approx(float(above) - float(size[:2]), abs=1)


@pytest.mark.parametrize("case", ["float32", "bfloat16", "float8", "complex128", "small", "transposed", "derived"])
def test_every_case_can_be_made_small(script, tmp_path, case):
    script.save(case, tmp_path, 1000)
    assert len(list(tmp_path.iterdir())) == 3


def test_sizes_are_in_megabytes(script, capsys):
    with pytest.raises(SystemExit):
        script.read_options(["--memory", "1GiB"])
    assert "sizes in MB" in capsys.readouterr().err
