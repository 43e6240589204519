"""axe-core, which checks a page against the rules of WCAG and what is known to serve, finds nothing in any report.

It looks at what is on the screen: so at other reports, in both schemes, and on a telephone. The page's content policy
binds its own scripts; axe is evaluated by the browser's debugger, which it does not.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser

REPORTS = {
    "example": lambda example: example.example_trends(),
    "hostile names": lambda example: example.example_trends(hostile=True),
    "by kind": lambda example: example.by_kind(example.example_trends()),
    "one layer": lambda example: example.example_trends(1, 20),
    "empty": lambda example: example.example_trends(0, 0),
    "no clusters": lambda example: example.without_clusters(example.example_trends()),
}
TELEPHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def axe():
    return Axe()


def find_violations(axe, page):
    """One line for each element that breaks a rule."""
    found = axe.run(page).response
    assert found["passes"], "axe looked at nothing"
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']}: {' '.join(node['failureSummary'].split())}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("view", ["light", "dark", "telephone"])
def test_no_rule_is_broken(open_report, example_module, axe, name, view):
    options = {"viewport": TELEPHONE} if view == "telephone" else {"color_scheme": view}
    page = open_report(REPORTS[name](example_module), **options)

    found = find_violations(axe, page)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("view", ["light", "dark", "telephone"])
def test_no_rule_is_broken_by_the_page_of_a_layer(open_report, trends, settle, axe, view):
    options = {"viewport": TELEPHONE} if view == "telephone" else {"color_scheme": view}
    page = open_report(trends, f"#layer={trends.series.names[5]}", **options)
    settle(page)
    page.locator("#layer-page summary").click()

    found = find_violations(axe, page)
    assert page.locator("#layer-page").is_visible()
    assert not found, "\n".join(found)


def test_a_broken_rule_is_found(open_file, axe, tmp_path):
    path = tmp_path / "page.html"
    text = (
        '<!DOCTYPE html><html lang="en"><link rel="icon" href="data:,"><title>page</title><main><h1>page</h1>{}</main>'
    )
    path.write_text(text.format('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">'), encoding="utf-8")

    assert [line.partition(" ")[0] for line in find_violations(axe, open_file(path))] == ["image-alt"]
