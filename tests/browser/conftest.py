"""A browser for tests of the report, and the law that all of them hold: a page says nothing and asks nobody.

Pages are opened by `open_report` and `open_file` only. Both watch the page for all of its life and fail the test at its
end if there was a message on the console, an error, a dialog, a second window, or a request but for the file itself.
"""

import datetime as dt
import importlib.util
import os
from pathlib import Path

import pytest

from wsanalyze.reports.html import HtmlReporter


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_HERE = Path(__file__).parent
chromium = _load(_HERE / "chromium.py")

DESKTOP = {"width": 1440, "height": 1000}
_PATIENCE_MILLISECONDS = 30_000  # no test is about speed
# Milliseconds by which every frame of a page is late. Tests that read a page before it has followed what was done to it
# pass or fail as the machine happens to be; with this they fail on any.
_LATE = int(os.environ.get("WSANALYZE_LATE_FRAMES") or 0)
_MAKE_LATE = f"""(() => {{
  const next = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (act) => setTimeout(() => next(act), {_LATE});
}})()"""


class Watch:
    """What a page said and asked for that it should not have.

    Args:
        context: The browser context, before its first page is opened.
        address: Address of the only file that may be read.
    """

    def __init__(self, context, address):
        self.address = address
        self.heard = []
        self.pages = 0
        context.on("page", self._hear_page)
        context.on("console", lambda message: self.heard.append(f"console {message.type}: {message.text}"))
        context.on("weberror", lambda web_error: self.heard.append(f"error: {web_error.error}"))
        context.on("dialog", self._hear_dialog)
        context.on("request", self._hear_request)

    def _hear_page(self, page):
        self.pages += 1
        if self.pages > 1:
            self.heard.append(f"window: {page.url}")
        page.on("crash", lambda _: self.heard.append("crash"))
        page.on("websocket", lambda socket: self.heard.append(f"request: {socket.url}"))

    def _hear_dialog(self, dialog):
        self.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _hear_request(self, request):
        if request.url.partition("#")[0] != self.address and not request.url.startswith(("data:", "blob:")):
            self.heard.append(f"request: {request.url}")


def pytest_runtest_setup(item):
    """Where there is no Chromium, skip every test here from this one line: a fixture's would tell each by itself."""
    if item.get_closest_marker("browser") and chromium.find_chromium() is None:
        pytest.skip(chromium.MISSING)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find_chromium(), args=chromium.FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def watch_file(browser):
    """A function that opens a file and returns its page and its watch, which may have heard anything."""
    contexts = []

    def watch(path, fragment="", **options):
        context = browser.new_context(**({"viewport": DESKTOP} | options))
        contexts.append(context)
        watch = Watch(context, path.as_uri())
        if _LATE:
            context.add_init_script(_MAKE_LATE)
        page = context.new_page()
        page.goto(path.as_uri() + fragment)
        return page, watch

    yield watch
    for context in contexts:
        context.close()


@pytest.fixture
def open_file(watch_file):
    """A function that opens a file, at a fragment of its address, and fails at the end if the law was broken."""
    watches = []

    def open_page(path, fragment="", **options):
        page, watch = watch_file(path, fragment, **options)
        watches.append((page, watch))
        return page

    yield open_page
    for page, _ in watches:
        page.evaluate("0")  # what it has said by now has been heard when it answers
    assert [told for _, watch in watches for told in watch.heard] == []


@pytest.fixture
def open_report(open_file, tmp_path):
    """A function that writes trends as a page and opens it, at a fragment of its address; see `open_file`."""

    def open_page(trends, fragment="", **options):
        path = tmp_path / "report.html"
        HtmlReporter(clock=lambda: dt.datetime(2025, 1, 2, tzinfo=dt.UTC), version="1.2.3").write(trends, path)
        page = open_file(path, fragment, **options)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]", state="attached")  # the plots below are drawn after the load
        return page

    return open_page


@pytest.fixture
def wait_until():
    """A function that waits until what a page evaluates, the body of a function of one argument, is true.

    `Page.wait_for_function` would evaluate text, which the content policy refuses from the second look on.
    """

    def wait(page, condition, argument=None):
        is_so = page.evaluate(
            f"""async ([argument, end]) => {{
                const isSo = () => {{ {condition} }};
                end += performance.now();
                do await new Promise(requestAnimationFrame); while (!isSo() && performance.now() < end);
                return isSo();
            }}""",
            [argument, _PATIENCE_MILLISECONDS],
        )
        assert is_so, condition

    return wait


@pytest.fixture
def settle(wait_until):
    """A function that waits until a page has done all that follows from what was done to it: drawn, clicked, saved."""
    return lambda page: wait_until(page, "return report.isSettled();")
