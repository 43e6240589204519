"""Where a Chromium is: for tests in a browser, the benchmark of the report and its picture.

    python tests/browser/chromium.py

As a script, installs Debian's where there is none, if it is run as root and there is apt-get. Says what it does, and
never fails: without a Chromium, tests that need one are skipped.
"""

import os
import shutil
import subprocess
from typing import Final

MISSING: Final = "no Chromium on the path (or in $CHROMIUM)"
# A page is drawn alike on every machine: without a GPU, and without looking for what is new.
FLAGS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# A fresh machine may have no font at all, and a page without one has no widths to test.
_PACKAGES: Final = ("chromium", "fonts-dejavu-core", "fonts-liberation")
_LIMIT_SECONDS: Final = 600


def find_chromium() -> str | None:
    """Path of a Chromium: that of the environment variable CHROMIUM, or one on the path; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def install_chromium() -> str | None:
    """Install Debian's Chromium.

    Returns:
        Why there is none now; None where there is one.
    """
    apt = shutil.which("apt-get")
    if apt is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "it is not installed here, since that takes root and apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    update = [apt, "-qq", "update"]
    install = [apt, "-qq", "install", "--yes", "--no-install-recommends", *_PACKAGES]
    try:
        # A list of packages that could not be fetched anew may still do.
        subprocess.run(update, env=environment, capture_output=True, timeout=_LIMIT_SECONDS, check=False)
        done = subprocess.run(
            install, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"apt-get failed ({error})"
    told = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else f"apt-get failed ({told[-1] if told else f'status {done.returncode}'})"


def main() -> None:
    """Install a Chromium where there is none."""
    if find_chromium() is not None:
        return
    print(f"{MISSING}: installing Debian's, if that can be done", flush=True)
    if (why := install_chromium()) is not None:
        print(f"tests in a browser will be skipped: {why}")


if __name__ == "__main__":
    main()
