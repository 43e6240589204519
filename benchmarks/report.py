"""What the HTML report costs: its size, the time to build it, and the time until a reader can use it.

    python benchmarks/report.py [--tables 40x20 400x150 10000x300] [--rounds 3] [--folder KEEP]

Makes trends of so many layers and changes, always the same, writes their report and opens it in a headless Chromium, in
a fresh context each time, right after a page that holds only the charting library and draws one small heatmap: that is
the floor. Times are those of the browser, from the start of the navigation: *drawn* until the heatmap has been painted,
*answers* until the page has also painted its answer to a first selection: a click on the name of a layer as soon as the
heatmap is there. Ratios are to the floor of the same round; of all rounds the median stands first, the least and the
greatest in brackets.
"""

import argparse
import base64
import datetime as dt
import hashlib
import importlib.util
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from playwright.sync_api import Browser, sync_playwright
from tables import describe_machine, divide, make_table, show, show_floor, show_spread

from wsanalyze.reports.html import HtmlReporter
from wsanalyze.trends.base import Trends

ROOT: Final = Path(__file__).resolve().parents[1]
_LIBRARY: Final = ROOT / "wsanalyze/reports/templates/vendor/plotly-cartesian.min.js"
_LIMIT_SECONDS: Final = 120
_TITLES: Final = ("layers x changes", "MB", "build s", "drawn s", "answers s", "drawn / floor", "answers / floor")
_FLOOR_SCRIPT: Final = (
    'Plotly.newPlot("heatmap-plot", [{ type: "heatmap", z: [[0, 1], [1, 0]] }], { width: 800, height: 400 });'
)
# The second frame begins when the first, which shows what was done before it, has been painted.
_FRAMES: Final = """
const frame = () => new Promise(requestAnimationFrame);
const painted = async () => { await frame(); await frame(); return performance.now(); };
const until = async (isTrue) => { while (!isTrue()) await frame(); return painted(); };
"""
_DRAWN: Final = """const drawn = await until(() => document.querySelector("#heatmap-plot .hm image"));"""
_TIME_FLOOR: Final = f"async () => {{ {_FRAMES} {_DRAWN} return [drawn]; }}"
_TIME_REPORT: Final = f"""async () => {{ {_FRAMES} {_DRAWN}
const find = () => document.querySelector("#layer-table tbody button[data-layer]");
while (!find()) await frame();
find().click();
return [drawn, await until(() => !document.getElementById("selected").hidden)];
}}"""


@dataclass(frozen=True, slots=True)
class Opening:
    """How one page opened, in seconds from the start of the navigation; see the top of this file."""

    floor: float
    drawn: float
    answers: float


def read_size(text: str) -> tuple[int, int]:
    """The layers and changes of "400x150".

    Raises:
        argparse.ArgumentTypeError: If it is not two numbers of at least 1.
    """
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: layers x changes, such as 400x150")
    return int(found[1]), int(found[2])


def load_tests_module(path: str) -> ModuleType:
    """A module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "tests" / path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"tests/{path} is not there: run this in a checkout or a source archive")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_trends(num_layers: int, num_changes: int) -> Trends:
    """The trends that tests of reports use, of any size, with a log, states, events and outliers; always the same."""
    trends: Trends = load_tests_module("reports/example_trends.py").example_trends(num_layers, num_changes)
    return trends


def build(trends: Trends, rounds: int) -> tuple[str, list[float]]:
    """The page, and the seconds that each of some rounds took to build it."""
    reporter = HtmlReporter(clock=lambda: dt.datetime.now(dt.UTC), version="benchmark")
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        text = reporter.render(trends)
        seconds.append(time.perf_counter() - begin)
    return text, seconds


def make_floor() -> str:
    """A page of the charting library and one small heatmap, under such a content policy as the report's."""
    scripts = [_LIBRARY.read_text(encoding="utf-8"), _FLOOR_SCRIPT]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:"
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}"><link rel="icon" href="data:,"><title>floor</title><div id="heatmap-plot"></div>'
        + "".join(f"<script>{script}</script>" for script in scripts)
    )


def open_page(browser: Browser, path: Path, script: str) -> list[float]:
    """Open a page in a fresh context and let a script of this file time it, which returns seconds in order."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    try:
        page = context.new_page()
        page.set_default_timeout(_LIMIT_SECONDS * 1000)
        page.goto(path.as_uri(), wait_until="commit")
        milliseconds: list[float] = page.evaluate(script)
        return [each / 1000 for each in milliseconds]
    finally:
        context.close()


def open_both(browser: Browser, floor: Path, path: Path) -> Opening:
    """One round: the floor, then the page."""
    (least,) = open_page(browser, floor, _TIME_FLOOR)
    drawn, answers = open_page(browser, path, _TIME_REPORT)
    return Opening(least, drawn, answers)


def make_row(
    size: tuple[int, int], num_bytes: int, building: Sequence[float], openings: Sequence[Opening]
) -> list[str]:
    """A row of the table."""
    floors = [each.floor for each in openings]
    drawn, answers = [each.drawn for each in openings], [each.answers for each in openings]
    return [
        f"{size[0]:,} x {size[1]:,}",
        show(num_bytes / 1e6),
        show_spread(building),
        show_spread(drawn),
        show_spread(answers),
        show_spread(divide(drawn, floors), 1),
        show_spread(divide(answers, floors), 1),
    ]


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [(40, 20), (400, 150), (10_000, 300)]
    parser.add_argument("--tables", type=read_size, nargs="+", default=sizes, metavar="LAYERSxCHANGES")
    parser.add_argument("--rounds", type=int, default=3, help="times that each page is built and opened")
    parser.add_argument("--folder", type=Path, help="keep the pages here")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def measure(options: argparse.Namespace, folder: Path, chromium: str, flags: Sequence[str]) -> str:
    """Build and open every page; the table in Markdown, and a line about the floor."""
    rows, floors = [], []
    floor = folder / "floor.html"
    floor.write_text(make_floor(), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        open_page(browser, floor, _TIME_FLOOR)  # warms the browser and the page cache
        build(make_trends(1, 1), 1)  # and imports what a page is built with
        for size in options.tables:
            text, building = build(make_trends(*size), options.rounds)
            path = folder / f"report-{size[0]}x{size[1]}.html"
            path.write_text(text, encoding="utf-8")
            openings = [open_both(browser, floor, path) for _ in range(options.rounds)]
            floors += [each.floor for each in openings]
            rows.append(make_row(size, path.stat().st_size, building, openings))
        version = browser.version
        browser.close()
    return f"Chromium {version}\n\n{make_table(_TITLES, rows)}\n\n{show_floor('floor', floors)}"


def main() -> None:
    """Measure and print."""
    options = read_options()
    browsers = load_tests_module("browser/chromium.py")
    chromium: str | None = browsers.find_chromium()
    if chromium is None:
        raise SystemExit(f"{browsers.MISSING}: install one, or name it there")
    with tempfile.TemporaryDirectory() as room:
        folder = options.folder or Path(room)
        folder.mkdir(parents=True, exist_ok=True)
        print(describe_machine(), flush=True)
        print(measure(options, folder.resolve(), chromium, browsers.FLAGS))


if __name__ == "__main__":
    main()
