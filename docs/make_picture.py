"""Make the picture of a report in the README: `make picture`.

    python docs/make_picture.py report.html docs/report.png

Drives the Chromium of the system and shows the top of the page: headline, heatmap and trends.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1280, 2260


def find_browser() -> str:
    """Path of a Chromium: that of the environment variable CHROMIUM, or one on the path."""
    found = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("no Chromium found: install one, or name it in the environment variable CHROMIUM")
    return found


def main() -> None:
    """Open the page given first and save what its window shows under the name given second."""
    page_path, picture = Path(sys.argv[1]), Path(sys.argv[2])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1)
        page.goto(page_path.resolve().as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        page.wait_for_timeout(1000)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
