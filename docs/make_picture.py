"""Make the picture of a report in the README: `make picture`.

    python docs/make_picture.py report.html docs/report.png

Drives the Chromium of the system and shows the top of the page: headline, heatmap and trends.
"""

import runpy
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tests" / "browser" / "chromium.py"))
WIDTH, HEIGHT = 1280, 2335


def main() -> None:
    """Open the page given first and save what its window shows under the name given second."""
    page_path, picture = Path(sys.argv[1]), Path(sys.argv[2])
    chromium = CHROMIUM["find_chromium"]()
    if chromium is None:
        raise SystemExit(f"{CHROMIUM['MISSING']}: install one, or name it there")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM["FLAGS"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1)
        page.goto(page_path.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.wait_for_timeout(1000)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
