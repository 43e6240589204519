"""Plots that are saved as pictures, which say by themselves what they show."""

import dataclasses
import struct

import pytest

pytestmark = pytest.mark.browser

# Keeps what plotly.js is asked to draw.
RECORD = "() => { window.asked = []; Plotly.downloadImage = (figure, options) => asked.push([figure, options]); }"


def _save(page, plot):
    """What plotly.js is asked to draw when a plot is saved: the layout and the options."""
    page.evaluate(RECORD)
    page.locator(f"[data-save={plot}]").click()
    return page.evaluate("[asked[0][0].layout, asked[0][1]]")


def _from_source(trends, *sources):
    provenance = dataclasses.replace(trends.series.provenance, source=sources)
    return dataclasses.replace(trends, series=dataclasses.replace(trends.series, provenance=provenance))


@pytest.mark.parametrize("plot", ["heatmap-plot", "training-log", "cluster-0", "alone", "scatter-plot", "depth-plot"])
def test_a_picture_has_room_for_what_it_says_above_its_plot(open_report, trends, tmp_path, plot):
    page = open_report(trends)
    shown = page.locator(f"#{plot}").evaluate("({ layout }) => [layout.width, layout.height, layout.title]")
    with page.expect_download() as download:
        page.locator(f"[data-save={plot}]").click()
    assert download.value.suggested_filename == f"wsanalyze-example-{plot.removesuffix('-plot')}.png"
    path = tmp_path / "plot.png"
    download.value.save_as(path)
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", head[16:])
    assert width == pytest.approx(2 * shown[0], abs=2)
    assert 2 * shown[1] + 80 < height < 2 * shown[1] + 400
    # The plot on the page has neither.
    assert page.locator(f"#{plot}").evaluate("({ layout }) => [layout.width, layout.height, layout.title]") == shown
    assert page.locator(f"#{plot} .gtitle").count() == 0


@pytest.mark.parametrize(
    ("plot", "said"),
    [
        ("cluster-1", ["■ Cluster 1: fast, then frozen", "13 layers: their median, in a band from the 10th to the"]),
        ("alone", ["✳ In no cluster", "3 layers. The clusters' medians are in faint grey."]),
        ("heatmap-plot", ["Change of every layer", "One line a layer, one column a change."]),
        ("training-log", ["What the trainer noted"]),
        ("scatter-plot", ["Map of the layers", "Principal components of the curves that were clustered."]),
        ("depth-plot", ["Over the depth of the network", "the line is the centre of mass of each change."]),
    ],
)
def test_a_picture_says_what_it_shows_and_of_which_run(open_report, trends, plot, said):
    layout, _ = _save(open_report(trends), plot)
    text = layout["title"]["text"].replace("<br>", " ")
    for part in said:
        assert part in text
    assert "example, by wsanalyze" in text
    assert "runs/" not in text
    assert "below" not in layout["xaxis"]["title"]["text"]
    assert layout["margin"]["t"] >= 20 + 18 * layout["title"]["text"].count("<br>")


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (("runs/a b/",), "a-b-depth"),
        (("runs/first", "/data/second"), "first-second-depth"),
        (("..",), "depth"),
        (("\u5c42/\u6743\u91cd",), "\u6743\u91cd-depth"),
        (("x" * 300,), "x" * 60 + "-depth"),
    ],
)
def test_the_name_of_the_file_is_that_of_the_run(open_report, trends, sources, name):
    _, options = _save(open_report(_from_source(trends, *sources)), "depth-plot")
    assert options["filename"] == f"wsanalyze-{name}"


@pytest.mark.parametrize("width", [1440, 390])
def test_hostile_names_are_text_in_a_picture_and_fit(open_report, hostile_trends, hostile_names, width):
    page = open_report(
        _from_source(hostile_trends, "".join(hostile_names).replace("/", ""), "$x$"),
        viewport={"width": width, "height": 900},
    )
    page.evaluate(RECORD)
    page.locator("[data-save=scatter-plot]").click()
    drawn = page.evaluate(
        """async () => {
          const [{ data, layout, config }] = asked[0];
          const div = document.body.appendChild(document.createElement("div"));
          await Plotly.newPlot(div, data, layout, config);
          const title = div.querySelector(".gtitle");
          const [inside, whole] = [title, div].map((one) => one.getBoundingClientRect());
          return [title.textContent, title.querySelectorAll("a, img, script").length,
            inside.right - whole.left, layout.width,
            inside.top - whole.top, inside.bottom - whole.top, layout.margin.t];
        }"""
    )
    text, foreign, right, room, top, bottom, above = drawn
    assert top >= 6
    assert "<script>alert(1)<script>.weight" in text
    assert foreign == 0
    assert right <= room
    assert bottom <= above
    _, options = page.evaluate("asked[0]")
    assert not set(options["filename"]) & set('/\\<>:"|?*\x1b')
