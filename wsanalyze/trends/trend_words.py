"""How many trends there are, what each does and how sure that is, in one sentence."""

import re
from collections.abc import Sequence
from typing import Final

from wsanalyze.sentences import list_names
from wsanalyze.trends.base import Cluster, Quality, Trends
from wsanalyze.trends.elsewhere import MIXED, find_exceptions, say_ways
from wsanalyze.trends.even_courses import describe_course
from wsanalyze.trends.quality import say_apart, say_doubt, say_stable
from wsanalyze.trends.words import (
    APART,
    SHOWN_NAMES,
    begin_sentence,
    count_noun,
    count_of,
    describe_level,
    is_speed,
    name_changes,
    say_course,
    say_number,
)

_RATE_RATIO: Final = 1.5
SHOWN_TRENDS: Final = 4
_SHOWN_KINDS: Final = 3
_PAIR: Final = 2


def say_trends(trends: Trends) -> str:
    """Say how many trends there are, how sure that is, and what tells them apart.

    Args:
        trends: What was found; its headline is not looked at.

    Returns:
        One sentence; empty where nothing could be clustered.
    """
    clusters, noun = trends.clusters, trends.options.noun
    number, total = int((trends.labels >= 0).sum()), len(trends.labels)
    if not clusters:
        return ""
    if trends.values.shape[1] == 1:
        return _say_levels(trends, number)
    if trends.options.by_kind and len(trends.kinds) > 1:
        return _say_kinds(trends)
    if len(clusters) == 1:
        return _say_one(trends, clusters[0], number, total)
    layers = count_noun(number, noun) if number == total else f"{number} of {count_noun(total, noun)}"
    largest = sorted(clusters, key=lambda cluster: -cluster.size)[:SHOWN_TRENDS]
    summaries = [cluster.summary for cluster in largest]
    parts = []
    makeups = {cluster.makeup for cluster in largest}
    for cluster in largest:
        # Where those that are left out are named as a trend of their own, once is enough.
        named = cluster.makeup.removeprefix("all but ") not in makeups - {cluster.makeup}
        makeup = f" ({cluster.makeup})" if cluster.makeup and named else ""
        what = _say_what(cluster, plural=cluster.size > 1, level=summaries.count(cluster.summary) > 1)
        parts.append(f"{cluster.size}{makeup} {what}")
    rest = len(clusters) - len(largest)
    parts += [f"and {rest} more"] if rest else []
    return f"{layers} follow {len(clusters)} trends{_say_sure(trends.quality)}: {'; '.join(parts)}."


def _say_levels(trends: Trends, number: int) -> str:
    """What is said of a single change, which has no trend."""
    clusters, single = trends.clusters, is_speed(trends.options.metric)
    begin = f"There is one {'change' if single else 'number'} only, which makes no trend"
    if trends.options.by_kind and len(trends.kinds) > 1:
        return f"{begin}."
    if len(clusters) == 1:
        if number <= _PAIR:
            return f"{begin}."
        among = f"and no levels that stand apart among the {count_noun(number, trends.options.noun)}"
        return f"{begin}, {among}: {describe_level(clusters[0])} in the median."
    said = [
        f"{cluster.size}{f' ({cluster.makeup})' if cluster.makeup else ''} {describe_level(cluster) or cluster.summary}"
        for cluster in sorted(clusters, key=lambda cluster: -cluster.size)[:SHOWN_TRENDS]
    ]
    said += [f"and {len(clusters) - len(said)} more"] if len(clusters) > len(said) else []
    return f"{begin}, but {len(clusters)} levels{_say_sure(trends.quality)}: {'; '.join(said)}."


def _say_kinds(trends: Trends) -> str:
    """What is said of all kinds together, and the courses of the largest clusters, each of another kind."""
    largest: dict[str, Cluster] = {}
    for cluster in sorted(trends.clusters, key=lambda cluster: -cluster.size):
        largest.setdefault(str(cluster.kind), cluster)
    shown = list(largest.items())[:_SHOWN_KINDS]
    numbers = {part.kind: part.size for part in trends.kinds}
    said = [
        f"{'' if cluster.size == numbers[kind] else f'{cluster.size} of '}{numbers[kind]} {kind} "
        f"{_say_what(cluster, plural=cluster.size > 1, level=False)}"
        f"{'' if cluster.summary == MIXED else _say_exceptions(trends, find_exceptions(trends, cluster))}"
        for kind, cluster in shown
        if kind in numbers
    ]
    if not said:
        return trends.quality.text
    if len(largest) > len(shown):
        said.append(f"and {count_noun(len(largest) - len(shown), 'more kind')}")
    return f"{trends.quality.text.removesuffix('.')}: {'; '.join(said)}."


def _say_one(trends: Trends, cluster: Cluster, number: int, total: int) -> str:
    noun, others = trends.options.noun, find_exceptions(trends, cluster)
    if cluster.summary == MIXED:
        return _say_none(trends, cluster, number)
    if cluster.summary == APART:
        layers = f"The {count_noun(number, noun)}" if number == total else f"{number} of {count_noun(total, noun)}"
        return f"{layers} have no trend in common: each is unsteady by itself, {describe_level(cluster)} in the median."
    verb, who = ("follows", "it") if number == 1 else ("follow", "they")
    what = f"{_say_what(cluster, plural=number > 1, level=True)}{_say_rate(trends, cluster)}"
    if others:
        # Not all go the same way, and yet no second trend is certain.
        begin = f"No second trend stands apart among the {count_noun(number, noun)}"
        return f"{begin}: most {what}{_say_exceptions(trends, others)}."
    if number == total > 1:
        layers = begin_sentence(count_of(number, total, noun))
    else:
        layers = count_noun(number, noun) if number == total else f"{number} of {count_noun(total, noun)}"
    return f"{layers} {verb} one trend: {who} {what}."


def _say_none(trends: Trends, cluster: Cluster, number: int) -> str:
    """What is said where most members of the only cluster do not do what their median does."""
    series, noun = trends.series, trends.options.noun
    if number <= SHOWN_TRENDS:
        said = [
            f"{series.rows[row].name} "
            + say_course(describe_course(trends.values[row], series, trends.options), plural=False)
            for row in cluster.members
        ]
        return f"{begin_sentence(count_noun(number, noun))} are too few to tell trends apart: {'; '.join(said)}."
    begin = f"The {count_noun(number, noun)} go different ways, but not in groups that stand apart"
    ways = say_ways(trends, cluster)
    return f"{begin}: {ways}." if ways else f"{begin}."


def _say_exceptions(trends: Trends, others: Sequence[int]) -> str:
    """Name the members that go another way than most, where the others are said to go one."""
    return f", but not {list_names([trends.series.rows[row].name for row in others], SHOWN_NAMES)}" if others else ""


def _say_what(cluster: Cluster, *, plural: bool, level: bool) -> str:
    words = describe_level(cluster) if level else ""
    return f"{say_course(cluster.summary, plural=plural)}{words and f', {words}'}"


def _say_rate(trends: Trends, cluster: Cluster) -> str:
    """Say that the learning rate falls or rises when a cluster does at once, each time where there are several."""
    found = re.search(r"\b(falls|rises) (after .*?)(?=, then|, but|$)", cluster.summary)
    starts = name_changes(trends.series)[0]
    # A phase tells of it as well, and for how many rows.
    if found is None or any(event.kind == "phase" for event in trends.events):
        return ""
    verb, times = found[1], re.split(r"(?:, | and |^)after ", found[2])[1:]
    if not all(time in starts for time in times):
        return ""
    rates = trends.series.log.at_checkpoints("learning_rate", len(trends.series.checkpoints))
    steps = [[float(rates[place]) for place in trends.series.pairs[starts.index(time)]] for time in times]
    for before, after in steps:
        low, high = sorted((before, after))
        if not 0 < _RATE_RATIO * low <= high or (after > before) != (verb == "rises"):
            return ""
    said = [f"from {say_number(before)} to {say_number(after)}" for before, after in steps]
    return f", where the learning rate {verb} {list_names(said)}"


def _say_sure(quality: Quality) -> str:
    """How sure it is that there are several trends, in the words that say it at length elsewhere."""
    if quality.silhouette is None or quality.stability is None:
        return ""
    words = f"{say_apart(quality.silhouette)} and {say_stable(quality.stability)}"
    doubt = say_doubt(quality)
    numbers = f"silhouette {quality.silhouette:.2f}, stability {quality.stability:.2f}"
    return f", {words} ({numbers}){doubt and f', {doubt}'}"
