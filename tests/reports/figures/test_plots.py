"""What `run.plot` makes of arguments that make no sense."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from wsanalyze.errors import UsageError
from wsanalyze.run import Run

PLOTS = ("heatmap", "curves", "scatter", "depth")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    table = tmp_path_factory.mktemp("run") / "table.csv"
    rows = "".join(f"layers.{i}.weight,{0.5 + i},{0.4 + i},{0.3 + i}\n" for i in range(6))
    table.write_text(f"layer,10,20,30\n{rows}")
    return Run.from_table(table)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clusters": "auto"}, "clusters takes a whole number or None to choose, not 'auto'"),
        ({"clusters": 3.5}, "clusters takes a whole number or None to choose, not 3.5"),
        ({"window": [2] * 99}, "window takes a whole number or None to choose, not [2, 2, 2, 2, 2, 2, ...]"),
        ({"seed": "a"}, "seed takes a whole number, not 'a'"),
        ({"seed": None}, "seed takes a whole number, not None"),
        ({"metric": 3}, "metric takes a text, not 3"),
        ({"method": []}, "method takes a text, not []"),
        ({"features": None}, "features takes a text, not None"),
        ({"group": {}}, "group takes a text, not {}"),
        ({"colour": "red"}, "plot.PLOT has no option 'colour': there are "),
        ({"ax": 1}, "ax takes axes of matplotlib of two dimensions, or None for new ones, not 1"),
        ({"ax": np.array([None])}, "ax takes axes of matplotlib of two dimensions, or None for new ones, not array("),
    ],
)
def test_an_argument_that_makes_no_sense_is_named_in_one_line(run, plot, options, said):
    with pytest.raises(UsageError) as caught:
        getattr(run.plot, plot)(**options)
    assert str(caught.value).startswith(said.replace("PLOT", plot))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("plot", PLOTS)
def test_axes_of_three_dimensions_are_refused_and_left_empty(run, plot):
    ax = plt.figure().add_subplot(projection="3d")
    with pytest.raises(UsageError, match="of two dimensions"):
        getattr(run.plot, plot)(ax)
    assert not ax.has_data()


@pytest.mark.parametrize("plot", PLOTS)
def test_numbers_of_numpy_are_numbers(run, plot):
    assert getattr(run.plot, plot)(clusters=np.int64(2), seed=np.uint8(3), window=np.int32(2)).get_xlabel()
    assert run.trends(clusters=np.int64(2)) is run.trends(clusters=2)


def test_curves_of_a_kind_are_there_or_refused(run):
    assert run.plot.curves(kind="other", by_kind=True).lines
    with pytest.raises(UsageError, match="no layer is of the kind 'poem': there are other"):
        run.plot.curves(kind="poem", by_kind=True)
    with pytest.raises(UsageError, match="kind='other' chooses among the clusters of each kind: give by_kind=True"):
        run.plot.curves(kind="other")
