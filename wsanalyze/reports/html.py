"""The report as one HTML file: opens from disk, needs no network, runs nothing but its own scripts."""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.html_data import collect_plot_data
from wsanalyze.reports.html_page import describe_page
from wsanalyze.reports.making import describe_making
from wsanalyze.reports.names import split_names
from wsanalyze.reports.summary import format_chance
from wsanalyze.reports.text import format_bytes, format_count, format_number, printable, shorten
from wsanalyze.trends.base import Trends

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATE: Final = "report.html.j2"
# In this order: each takes what those before it put into `report`.
_PARTS: Final = (
    *("core", "state", "axes", "between", "shades", "heatmap", "log", "curves", "maps"),
    *("spark", "table", "layer", "sheet", "bar", "picture", "address", "main", "paper"),
)
_SCRIPTS: Final = ("vendor/plotly-cartesian.min.js", *(f"scripts/{name}.js" for name in _PARTS))
_STYLE: Final = "report.css"
# plotly.js puts its rules into style elements that it makes itself, which the content policy would refuse. It takes
# those that it finds by these ids, and a policy by hash can admit them: their text never changes.
_PLOTLY_STYLE_IDS: Final = (
    "plotly.js-style-global",
    "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53",
)
_PLOTLY_STYLE: Final = "/* for plotly.js */"
# A name in a sentence that is longer loses its middle: the first screen would be nothing but names.
_LONGEST_WORD: Final = 80
_LONG_WORD: Final = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")


class HtmlReporter:
    """Writes the report as one HTML file.

    The file holds its data, its style, its scripts and the charting library: 1.6 MB, and 1.7 MB for 20 layers and 9
    changes. Its content policy lets no script but those run and nothing be loaded. The text and the tables need none.

    Args:
        clock: The present time, for the date of the report.
        version: The version of wsanalyze.
        command: The command line that asked for the report; empty where there was none.

    References:
        docs/decisions/0004-charts-in-the-report.md.
    """

    suffix: ClassVar[str] = ".html"

    def __init__(self, *, clock: Callable[[], datetime], version: str, command: str = "") -> None:
        self.clock = clock
        self.version = version
        self.command = command

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `wsanalyze.reports.base.Reporter.write`.

        Raises:
            ReportError: If the path cannot be written; the message names it.
        """
        write_text(self.render(trends), destination)

    def render(self, trends: Trends) -> str:
        """The report as the text of one HTML file."""
        from jinja2.utils import htmlsafe_json_dumps

        environment = _make_environment()
        scripts = [_read(environment, name) for name in _SCRIPTS]
        style = _read(environment, _STYLE)
        return environment.get_template(_TEMPLATE).render(
            page=describe_page(trends),
            date=self.clock(),
            version=self.version,
            making=describe_making(self.command, self.version, scripts[0]),
            policy=_content_policy(scripts, [style, _PLOTLY_STYLE]),
            style=style,
            scripts=scripts,
            plotly_style=_PLOTLY_STYLE,
            plotly_style_ids=_PLOTLY_STYLE_IDS,
            data=htmlsafe_json_dumps(collect_plot_data(trends), allow_nan=False, separators=(",", ":")),
        )


def _make_environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("wsanalyze.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        # Here rather than at each place, so that no name can be forgotten.
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=format_number, bytesize=format_bytes, chance=format_chance, count=_count)
    environment.filters.update(breakable=_mark_breaks, sentence=_mark_sentence)
    return environment


def _mark_breaks(text: str) -> "Markup":
    """A text whose names may be broken where their parts end, rather than anywhere."""
    return _join_with_breaks(printable(text))


def _mark_sentence(text: str) -> "Markup":
    """The same for a sentence, whose longest names lose their middle: a title has the whole of each."""
    from markupsafe import Markup

    told = printable(text)
    marked = Markup()
    start = 0
    for found in _LONG_WORD.finditer(told):
        short = _join_with_breaks(shorten(found[0], _LONGEST_WORD))
        marked += _join_with_breaks(told[start : found.start()])
        marked += Markup('<span title="{}">{}</span>').format(found[0].strip("(),.:;"), short)
        start = found.end()
    return marked + _join_with_breaks(told[start:])


def _join_with_breaks(told: str) -> "Markup":
    from markupsafe import Markup

    return Markup("<wbr>").join(split_names(told))  # which escapes them


def _count(value: int, noun: str) -> str:
    return format_count(value, noun)


def _read(environment: "Environment", name: str) -> "Markup":
    """The text of a file of the templates, with the line ends that a browser sees when it checks the hash."""
    from markupsafe import Markup

    loader: Any = environment.loader
    source: str = loader.get_source(environment, name)[0]
    return Markup(source.replace("\r\n", "\n"))  # noqa: S704 - a file of this package, not text from outside


def _content_policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A policy that lets nothing be loaded and only these scripts and styles be used.

    Style attributes are allowed, since plotly.js sets them on the images that it draws; style elements are not.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash_source, scripts))}",
            f"style-src {' '.join(map(_hash_source, styles))}",
            "style-src-attr 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
