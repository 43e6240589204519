import dataclasses
import io
import re

import numpy as np
import pytest
from rich.cells import cell_len

from wsanalyze.errors import ReportError
from wsanalyze.reports.summary import pick_layers
from wsanalyze.reports.terminal import TerminalReporter
from wsanalyze.reports.terminal_page import Cell, Page
from wsanalyze.reports.text import BLOCK_MARKS, format_number
from wsanalyze.series import Event, Skip

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def render(trends, stream=None, **options):
    stream = stream or io.StringIO()
    TerminalReporter(version="1.2.3", **options).write(trends, stream)
    return stream.getvalue()


def render_bytes(trends, encoding):
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, newline="\n")
    TerminalReporter(version="1.2.3").write(trends, stream)
    return buffer.getvalue().decode(encoding)


def with_series(trends, **changes):
    return dataclasses.replace(trends, series=dataclasses.replace(trends.series, **changes))


@pytest.mark.parametrize("by_kind", [False, True])
@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("width", [40, 61, 80, 120, 200])
def test_no_line_is_wider_than_the_page(width, hostile, by_kind, make_trends, example_module):
    trends = make_trends(hostile=hostile)
    lines = render(example_module.by_kind(trends) if by_kind else trends, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)


def test_a_wide_page_is_used(make_trends):
    trends = make_trends(60, 150)
    curve = re.compile(f"[{BLOCK_MARKS.levels}{BLOCK_MARKS.gap}]{{2,}}")
    longest = [max(map(len, curve.findall(render(trends, width=width)))) for width in (80, 120, 160)]
    assert longest[0] < longest[1] < longest[2] <= 150


def test_everything_that_matters_is_there(trends):
    text = render(trends)
    for words in (
        "wsanalyze 1.2.3: relative weight change of 40 layers over 20 changes",
        "checkpoint-1750: the same weights as checkpoint-1500",
        "checkpoint-2750: the file ends after 1.2 MB of 83.9 MB",
        "30          one dimension (--params all adds it): bn0.running_mean,",
        "Most layers settle in the first third.",
        "fast, then frozen",
        "layer1.3.conv2.weight is not finite.",
        "Silhouette 0.58",
        "Before clustering: 1 spike tamed, 2 gaps filled.",
        "3 layers in no cluster: layer1.1.conv2.weight, layer1.4.conv1.weight,",
    ):
        assert words in text


def test_a_run_that_is_not_whole_says_so_on_its_last_line(trends, make_trends):
    assert render(trends).splitlines()[-1] == "1 checkpoint and 1 tensor could not be read."
    assert "could not be read" not in render(make_trends(5, 5))


@pytest.mark.parametrize("hostile", [False, True])
def test_a_large_run_is_told_in_a_page_or_two(hostile, make_trends):
    trends = make_trends(400, 150, hostile=hostile)
    assert len(render(trends).splitlines()) <= 100


def test_too_much_of_everything_is_cut_with_a_count(make_trends):
    trends = make_trends(400, 150)
    records = list(trends.series.checkpoints)
    for index in range(8, 100):
        records[index] = dataclasses.replace(records[index], status="duplicate", reason="the same weights as main")
    trends = with_series(
        trends,
        checkpoints=tuple(records),
        skips=tuple(Skip(f"s{i}", f"reason {i}") for i in range(500)),
        events=tuple(Event("spike", "a", 3, f"spike {i} " + "x" * 500) for i in range(300)),
    )
    clusters = tuple(dataclasses.replace(trends.clusters[0], id=number) for number in range(60))
    notes = tuple(f"note {i}" for i in range(50))
    outliers = np.ones(400, dtype=bool)
    text = render(dataclasses.replace(trends, clusters=clusters, notes=notes, outliers=outliers))
    assert len(text.splitlines()) <= 160
    for words in (
        "and 50 more clusters",
        "496         for 496 other reasons",
        "291 spike",
        "more outliers",
        "more notes",
    ):
        assert words in text
    assert "and 89 more: the same weights as main" in " ".join(text.split())


def test_a_pipe_gets_no_escape_codes(trends, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "132")
    text = render(trends)
    assert "\x1b" not in text
    assert max(map(cell_len, text.splitlines())) <= 80


def test_a_terminal_gets_the_same_text_in_colours(trends, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = render(trends, Terminal())
    assert ESCAPE.search(text)
    plain = "\n".join(line.rstrip() for line in ESCAPE.sub("", text).splitlines())
    assert plain == render(trends).rstrip("\n")


def test_a_terminal_is_used_whole(trends, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    widths = [cell_len(ESCAPE.sub("", line)) for line in render(trends, Terminal()).splitlines()]
    assert 80 < max(widths) <= 100


def test_colours_can_be_declined(trends, monkeypatch):
    assert "\x1b" not in render(trends, Terminal(), no_color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in render(trends, Terminal())


def test_a_terminal_that_knows_no_escape_codes_gets_none(trends, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in render(trends, Terminal())


def test_names_are_neither_markup_nor_control_codes(hostile_trends, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = render(hostile_trends, Terminal())
    assert r"\x1b[2J\x1b]0;title\x07clear" in ESCAPE.sub("", text)
    assert ESCAPE.sub("", text).replace("\n", "").isprintable()
    named = with_series(hostile_trends, skips=(Skip("[red]markup[/red]", "[link=x]y[/link] :smile:"),))
    assert "[link=x]y[/link] :smile:: [red]markup[/red]" in render(named)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
@pytest.mark.parametrize("hostile", [False, True])
def test_a_stream_that_lacks_the_blocks_gets_digits(encoding, hostile, make_trends):
    text = render_bytes(make_trends(hostile=hostile), encoding)
    assert not set(text) & set(BLOCK_MARKS.levels + "…")
    assert re.search(r"fast, then frozen +8[1-8]+1  ", text)
    assert max(map(cell_len, text.splitlines())) <= 80


def test_a_utf8_stream_and_a_file_get_blocks(trends, tmp_path):
    path = tmp_path / "report.txt"
    TerminalReporter(version="1.2.3").write(trends, path)
    assert render_bytes(trends, "utf-8") == path.read_text(encoding="utf-8") == render(trends)
    assert "█" in path.read_text(encoding="utf-8")


def test_gaps_and_unchanged_cells_are_told_from_low_ones(trends):
    assert "  layer1.2.conv2.weight  ▇·▆" in render(trends)
    legend = "Curves: log scale, each with its own; _ unchanged, · no number."
    assert legend in render(trends)


def test_nothing_to_compare_is_one_sentence(make_trends):
    trends = dataclasses.replace(make_trends(3, 0), headline=("No layer has a number.",))
    text = " ".join(render(trends).split())
    assert "There is nothing to compare: a change needs two different checkpoints, and there is 1." in text
    assert "stand out" not in text
    assert "No layer has a number" not in text


def test_no_numbers_and_no_clusters_have_sentences(trends, example_module):
    assert "  No cell has a number: 800 not comparable." in render(example_module.only_states(trends))
    text = render(example_module.without_clusters(trends))
    assert "No layer is in a cluster." in text
    assert "No layer could be clustered." in text
    assert "highest  layer" in text


def test_one_trend_and_one_change_are_reported(make_trends):
    text = render(make_trends(3, 1))
    assert "over 1 change\n" in text
    assert "One trend: nothing to tell apart." in render(make_trends(1, 1))


def test_a_page_shortens_cells_and_keeps_their_columns():
    page = Page(40, "utf-8")
    page.add_cells([Cell("a long name that is cut", 9), Cell("層", 4), Cell("1.5", 6, right=True)])
    page.add_cells([Cell("short", 9), Cell("ab", 4), Cell("10", 6, right=True)])
    first, second = page.render(None).splitlines()
    assert first == "  a lo… cut  層       1.5"
    assert second == "  short      ab        10"


def test_names_in_lists_are_whole_and_counts_add_up(trends):
    names = [f"blocks.{i}.bn1.num_batches_tracked_and_more" for i in range(12)]
    text = render(with_series(trends, skips=tuple(Skip(name, "a buffer") for name in names)))
    listed = " ".join(re.search(r"a buffer: (.*?)\n\n", text, re.DOTALL)[1].split())
    shown, rest = re.fullmatch(r"(.*) and (\d+) more", listed).groups()
    assert shown.split(", ") == names[: 12 - int(rest)]


def test_layers_in_no_cluster_are_named_and_counted(trends):
    names = tuple(f"model.layers.{i}.self_attention.query_projection.weight" for i in range(40))
    rows = tuple(dataclasses.replace(row, name=name) for row, name in zip(trends.series.rows, names, strict=True))
    labels = np.where(np.arange(40) < 6, -1, trends.labels)
    text = " ".join(render(dataclasses.replace(with_series(trends, rows=rows), labels=labels)).split())
    listed = re.search(r"8 layers in no cluster: (.*?) and (\d+) more Curves", text)
    assert len(listed[1].split(", ")) + int(listed[2]) == 8
    assert listed[1].startswith("0.self_attention.query_projection.weight, 1.self")
    assert "in lists and tables without model.layers." in text


def test_a_wide_page_shows_long_names_whole(trends, example_module):
    prefix = "a." + "wide_block." * 6
    rows = [trends.series.rows[0], *example_module.with_prefix(trends, prefix).series.rows[1:]]
    named = with_series(trends, rows=tuple(rows))
    highest = prefix + named.series.names[pick_layers(named)[0].index].removeprefix(prefix)
    assert f"  {highest}  " in render(named, width=160)
    assert f"  {highest}  " not in render(named, width=80)


def test_titles_and_summaries_are_wrapped(trends):
    summary = "goes up and down until step 1000, then falls fast at step 2500 and is frozen from step 9000"
    clusters = (dataclasses.replace(trends.clusters[0], summary=summary), *trends.clusters[1:])
    text = render(dataclasses.replace(trends, clusters=clusters))
    table = text.partition("start       end\n")[2].partition("conv1.weight, ")[0]
    table = table.partition(trends.clusters[0].makeup)[0]
    words = re.sub(f"[{BLOCK_MARKS.levels}{BLOCK_MARKS.gap}]+ +[0-9.]+ +[0-9.]+|^ +0 +12", "", table)
    assert " ".join(words.split()) == summary
    title = render(trends, width=60).splitlines()[:2]
    assert title == ["wsanalyze 1.2.3: relative weight change of 40 layers over 20", "changes"]


def test_choices_of_the_program_are_told_in_full(trends):
    notes = tuple(f"file-{i} is left out: nothing says at which step it was saved" for i in range(25))
    provenance = dataclasses.replace(trends.series.provenance, notes=notes)
    text = render(with_series(trends, provenance=provenance))
    assert text.index("file-19 is left out") < text.index("Skipped")
    assert "note        and 5 more notes" in text


def test_grouped_rows_have_their_noun(trends):
    text = render(dataclasses.replace(trends, options=dataclasses.replace(trends.options, group="module")))
    assert re.search(r"^ +modules  trend ", text, re.MULTILINE)
    assert "Modules that stand out, by their median" in text
    assert "3 modules in no cluster" in text


def test_a_closed_stream_is_an_error_of_one_line(trends):
    stream = io.StringIO()
    stream.close()
    for closed in (stream, None):
        with pytest.raises(ReportError, match="standard output is closed"):
            TerminalReporter(version="1.2.3").write(trends, closed)


def test_members_that_are_all_that_can_be_said_are_named_once(trends):
    names = ", ".join(trends.series.names[:2])
    clusters = (dataclasses.replace(trends.clusters[0], members=(0, 1), makeup=names), *trends.clusters[1:])
    text = render(dataclasses.replace(trends, clusters=clusters))
    assert text.partition("unsure")[0].count(names) == 1
    assert trends.clusters[1].makeup in text


def test_kinds_have_a_table_with_as_many_numbers_as_fit(kind_trends):
    assert "kind       layers  trends  silhouette  stability  by chance" in render(kind_trends)
    assert "kind       layers  trends\n  conv            9       2\n" in render(kind_trends, width=40)
    many = dataclasses.replace(kind_trends, kinds=kind_trends.kinds * 10)
    assert re.search(r"\n  28 more +\d+ +56\n", render(many))


def test_a_sentence_of_the_headline_is_told_to_its_end(trends):
    sentence = " ".join(f"word{index}" for index in range(60))
    assert sentence in " ".join(render(dataclasses.replace(trends, headline=(sentence,))).split())
    endless = " ".join(f"word{index}" for index in range(600))
    assert "word100" not in render(dataclasses.replace(trends, headline=(endless,)))


def test_a_wide_page_has_more_columns(trends):
    narrow, wide = (render(trends, width=width).splitlines() for width in (119, 120))
    title = next(line for line in wide if "cluster  curve" in line)
    assert title.split() == ["layer", "kind", "cluster", "curve", "median", "start", "end"]
    picked = pick_layers(trends)[0]
    line = wide[wide.index(title) + 1]
    row, label = trends.series.rows[picked.index], trends.labels[picked.index]
    assert re.search(rf"{re.escape(row.name)} +{row.kind} +{label} ", line)
    ends = (trends.values[picked.index][0], picked.level, trends.values[picked.index][-1])
    assert line.split()[-3:] == [format_number(float(ends[index])) for index in (1, 0, 2)]
    assert any(line.endswith("end  confidence") for line in wide)
    assert not any("confidence" in line and "median" in line for line in narrow)
    assert not any("cluster  curve" in line for line in narrow)


def test_confidence_is_told_where_there_is_another_cluster(trends, kind_trends):
    alone = dataclasses.replace(trends, clusters=trends.clusters[:1])
    assert not any(line.endswith("confidence") for line in render(alone, width=120).splitlines())
    of_kinds = dataclasses.replace(kind_trends, clusters=kind_trends.clusters[1:])  # the other of its kind is gone
    lines = render(of_kinds, width=120).splitlines()
    start = next(index for index, line in enumerate(lines) if line.endswith("confidence"))
    confidences = [line.split()[-1] for line in lines[start:] if re.match(r" +\d +\d+ ", line)]
    assert confidences[0] == "-"
    assert "-" not in confidences[1:7]


def test_names_of_two_members_are_said_once(make_trends):
    trends = make_trends(6, 4)
    cluster = trends.clusters[0]
    names = [trends.series.names[index] for index in cluster.members]
    assert len(names) == 2
    told = dataclasses.replace(trends, clusters=(dataclasses.replace(cluster, makeup=" and ".join(names)),))
    lines = [line.strip() for line in render(told, width=80).splitlines()]
    assert " and ".join(names) not in lines
    assert ", ".join(names) in lines


def test_a_note_is_told_to_its_end(trends):
    note = "; ".join(f"{number} in kind {number} (0.07{number} decades a value)" for number in range(15)) + "."
    text = " ".join(render(dataclasses.replace(trends, notes=(note,))).split())
    assert note in text
