"""The law of the tests in a browser can be broken: what a page says or asks for is heard."""

import pytest

pytestmark = pytest.mark.browser

LOUD = {
    "console log: hello": "<script>console.log('hello')</script>",
    "console error: no": "<script>console.error('no')</script>",
    "error: thrown": "<script>setTimeout(() => { throw new Error('thrown') })</script>",
    "dialog: asked": "<script>alert('asked')</script>",
    "request: file://{folder}/other.png": "<img src=other.png>",
    "request: http://127.0.0.1:9/x.css": "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "request: ws://127.0.0.1:9/": "<script>new WebSocket('ws://127.0.0.1:9/')</script>",
    "window: about:blank": "<script>window.open('about:blank')</script>",
}


def write_page(folder, body):
    path = folder / "page.html"
    path.write_text(f'<!DOCTYPE html><link rel="icon" href="data:,"><title>page</title>{body}', encoding="utf-8")
    return path


@pytest.mark.parametrize("told", LOUD)
def test_a_page_that_is_loud_is_heard(watch_file, tmp_path, told):
    page, watch = watch_file(write_page(tmp_path, LOUD[told]))
    expected = told.format(folder=tmp_path)
    for _ in range(200):
        if is_heard := any(heard.startswith(expected) for heard in watch.heard):
            break
        page.wait_for_timeout(100)
    assert is_heard, watch.heard


def test_a_page_that_is_quiet_is_not(watch_file, tmp_path):
    body = "<a href='#b' id=a>a</a><p id=b>b<img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>"
    page, watch = watch_file(write_page(tmp_path, body), "#view")
    page.locator("#a").click()
    page.reload()

    assert page.url.endswith("#b")
    assert watch.heard == []


def test_what_a_policy_refuses_is_heard(watch_file, tmp_path):
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:\">"
    _, watch = watch_file(write_page(tmp_path, f"{policy}<script>document.title = 'run'</script>"))

    assert [heard for heard in watch.heard if heard.startswith("console error")]
