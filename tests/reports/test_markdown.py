import dataclasses
import io
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # what rich reads Markdown with

from wsanalyze.reports.markdown import MarkdownReporter
from wsanalyze.reports.markdown_text import code, fence, find_names, prose
from wsanalyze.reports.text import printable

SPECIAL = "`|\\<>&@#*_[]()!~$:/.-+=1a www.GH-1 https://x.y "
any_text = st.one_of(st.text(st.characters(exclude_categories=())), st.text(SPECIAL))
INERT = {"text", "code_inline", "softbreak"}


def render(trends):
    stream = io.StringIO()
    MarkdownReporter(version="1.2.3").write(trends, stream)
    return stream.getvalue()


def parse(text):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def inline_tokens(text):
    return [token for block in parse(text) for token in block.children or []]


def test_a_report_of_hostile_names_holds_text_code_and_tables_only(hostile_trends):
    text = render(hostile_trends)
    assert {token.type for token in inline_tokens(text)} <= INERT
    blocks = {re.sub(r"_(open|close)$", "", token.type) for token in parse(text)}
    assert blocks == {"heading", "inline", "paragraph", "table", "thead", "tbody", "tr", "th", "td"} | {
        "bullet_list",
        "list_item",
        "fence",
    }


def test_names_are_shown_whole(hostile_trends):
    shown = [token.content for token in inline_tokens(render(hostile_trends)) if token.type == "code_inline"]
    assert "@SUM(A1:A2)" in shown
    assert r"line\nbreak\r\u2028\u2029end" in shown


@given(any_text, any_text)
def test_every_line_of_a_table_has_as_many_cells(name, sentence):
    table = f"| a | b | c |\n| --- | --- | --- |\n| {code(name)} | {prose(sentence)} | end |\n"
    cells = [token.children for before, token in itertools.pairwise(parse(table)) if before.type == "td_open"]
    assert len(cells) == 3
    assert cells[2][0].content == "end"


@given(any_text)
def test_code_is_one_piece_of_code(text):
    tokens = inline_tokens(f"a {code(text)} z")
    assert [token.type for token in tokens] == ["text", "code_inline", "text"]


@given(any_text)
def test_a_fence_holds_its_text_and_ends(text):
    tokens = parse(f"before\n\n{fence(text)}\n\nafter\n")
    assert [token.type for token in tokens if token.level == 0 and token.nesting >= 0] == [
        "paragraph_open",
        "fence",
        "paragraph_open",
    ]
    (held,) = [token for token in tokens if token.type == "fence"]
    assert held.content == f"{printable(text)}\n"


@given(any_text)
def test_nothing_in_prose_acts(text):
    shown = f"- {prose(text)}"
    tokens = inline_tokens(shown)
    assert {token.type for token in tokens} <= INERT
    plain = " ".join(token.content for token in tokens if token.type == "text")
    assert not re.search(r"[@#<>&|`\\*_~$\[\]]|://|www\.|\bGH-\d", plain, re.IGNORECASE)


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("40 layers follow 3 trends (12, 13, 15 layers).", None),
        ("Half of all change is over by step 1500: 93 % of it, e.g. in all.", None),
        ("93 % of it in layer1.0.conv1.weight.", "93 % of it in `layer1.0.conv1.weight`."),
        ("fc.weight (0.41 in 2), i.e. last", "`fc.weight` (0.41 in 2), i.e. last"),
        ("the last is 0.5 of model.safetensors", "the last is 0.5 of `model.safetensors`"),
        ("one dimension (--params all adds it)", "one dimension (`--params` all adds it)"),
        ("layer_1 asks @someone about #12", "`layer_1` asks `@someone` about `#12`"),
        ("www.example.invalid and GH-12", "`www.example.invalid` and `GH-12`"),
        ("deadbeef1 stays out, facade and 1234567 do not", "`deadbeef1` stays out, facade and 1234567 do not"),
        ("1. no list", "`1.` no list"),
        ("- no list", "`-` no list"),
        ("a\nb", r"`a\nb`"),
    ],
)
def test_plain_words_stay_and_others_become_code(sentence, shown):
    assert prose(sentence) == (shown or sentence)


def test_names_that_are_known_are_code_whatever_they_look_like():
    names = find_names(["conv1", "head", "layer with spaces", "layer with", "odd?", "a", "12", "*.<b>", "x\ny z"])
    assert prose("head and conv1: 12 of a kind (head)", names) == "`head` and `conv1`: 12 of a kind (`head`)"
    assert prose("(layer with spaces), layer with, layer without", names) == (
        "(`layer with spaces`), `layer with`, layer without"
    )
    assert prose("Is it odd?, or odd", names) == "Is it `odd?`, or odd"
    assert prose("*.<b> and x\ny z.", names) == r"`*.<b>` and `x\ny z`."


def test_what_a_checkpoint_is_called_is_code_but_for_words_within_a_sentence():
    names = find_names([], ["last", "step-2000", "7"])
    assert prose("last is left out: the last 7 are those of step-2000.", names) == (
        "`last` is left out: the last 7 are those of `step-2000`."
    )


@given(st.lists(any_text, max_size=4), st.lists(any_text, max_size=3))
def test_nothing_in_prose_acts_whatever_names_it_has(names, between):
    known = find_names(names)
    text = " ".join(part for pair in itertools.zip_longest(names, between, fillvalue="") for part in pair)
    assert {token.type for token in inline_tokens(f"- {prose(text, known)}")} <= INERT


def test_every_name_in_a_sentence_is_code(trends):
    names = trends.series.names
    headline = (f"{names[0]} and {names[-1]} stand out, most of all {names[3]}.",)
    tokens = inline_tokens(render(dataclasses.replace(trends, headline=headline)))
    assert not [token.content for token in tokens if token.type == "text" and ".weight" in token.content]
    assert {names[0], names[-1], names[3]} <= {token.content for token in tokens if token.type == "code_inline"}


def test_an_empty_name_is_still_code():
    assert code("") == "` `"


def test_one_trend_and_nothing_at_all_have_sentences(make_trends, example_module, trends):
    assert "One trend: nothing to tell apart." in render(make_trends(1, 1))
    assert "There is nothing to compare: a change needs two different checkpoints" in render(make_trends(3, 0))
    assert "No cell has a number: 800 not comparable." in render(example_module.only_states(trends))


def test_many_clusters_and_skips_are_cut_with_a_count(trends):
    clusters = tuple(dataclasses.replace(trends.clusters[0], id=number) for number in range(30))
    text = render(dataclasses.replace(trends, clusters=clusters))
    assert text.count("slowly falling") == 20
    assert "10 more clusters not shown." in text


def test_choices_of_the_program_are_told(trends):
    assert "\n- The order of the layers is that of the file.\n" in render(trends)


def test_grouped_rows_have_their_noun(trends):
    text = render(dataclasses.replace(trends, options=dataclasses.replace(trends.options, group="block")))
    assert "| cluster | blocks |" in text
    assert "### Blocks that stand out\n\n|  | block |" in text


def test_the_common_start_of_names_is_told_once(trends, example_module):
    text = render(example_module.with_prefix(trends, "base_model.model."))
    assert text.count("base_model.model.") == 1
    assert "Names without `base_model.model.`." in text
    assert "| `layer1.2.conv2.weight` |" in text


def test_the_command_can_be_copied_and_options_are_told(trends):
    options = dataclasses.replace(trends.options, clusters=3, features="both", by_kind=True, seed=7)
    tokens = parse(render(dataclasses.replace(trends, options=options)))
    assert [token.content for token in tokens if token.type == "fence"] == [f"{trends.series.provenance.command}\n"]
    made = next(token.content for token in tokens if token.content.startswith("Made with"))
    listed = "`rwc`, `robust`, `--clusters 3`, `--features both`, `--by-kind`, seed 7"
    assert made == f"Made with wsanalyze 1.2.3: {listed}. It was measured by"


def test_without_a_command_there_is_none(trends):
    series = dataclasses.replace(trends.series, provenance=dataclasses.replace(trends.series.provenance, command=""))
    text = render(dataclasses.replace(trends, series=series))
    assert text.endswith("seed 0.\n")
    assert "```" not in text


def test_a_column_that_would_be_empty_is_left_out(trends):
    bare = tuple(dataclasses.replace(cluster, makeup="") for cluster in trends.clusters)
    for clusters, header in ((trends.clusters, "| trend | members | median"), (bare, "| trend | median")):
        stream = io.StringIO()
        MarkdownReporter(version="1.2.3").write(dataclasses.replace(trends, clusters=clusters), stream)
        assert header in stream.getvalue()
