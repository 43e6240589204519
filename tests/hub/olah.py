"""Repositories of the test Hub served by olah, a Hub mirror from PyPI that shares no code with it.

olah stands in an environment of its own (`pip install olah==0.5.4`), whose `olah-cli` the variable WSANALYZE_OLAH
names; it asks for other versions of what stands in this one. It takes git repositories with the objects of git-lfs in
them, which are written here without git: the test Hub has git's ids.

It ignores ranges and knows neither tokens nor pages. What it lacks is answered 401 as a missing repository; the client
cannot read its commits, nor a revision with a slash in its name, nor a repository without naming a revision.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
import zlib
from contextlib import contextmanager
from pathlib import Path

from tests.hub.repos import git_oid

START_S = 60


def write_git(repo, folder):
    """Write a repository with all its refs and its large files as a git working tree would have them."""
    git = Path(folder) / ".git"
    for sub in ("objects", "refs/heads", "refs/tags"):
        (git / sub).mkdir(parents=True, exist_ok=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n")
    for ref, tip in repo.refs.items():
        (git / ref).parent.mkdir(parents=True, exist_ok=True)
        (git / ref).write_text(tip.sha + "\n")
        for commit in tip.history():
            for kind, data in commit.objects():
                _write_object(git, kind, data)
            for content in commit.files.values():
                _write_content(git, content)


def _write_object(git, kind, data):
    oid = git_oid(kind, data)
    path = git / "objects" / oid[:2] / oid[2:]
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(f"{kind} {len(data)}\0".encode() + data))


def _write_content(git, content):
    if not content.lfs:
        with content.open() as file:
            _write_object(git, "blob", file.read())
        return
    _write_object(git, "blob", content.pointer)
    path = git / "lfs" / "objects" / content.sha256[:2] / content.sha256[2:4] / content.sha256
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with content.open() as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


@contextmanager
def run_olah(command, repos, folder):
    """Serve these repositories from a folder; gives the endpoint."""
    folder = Path(folder)
    for repo in repos:
        write_git(repo, folder / "mirrors" / f"{repo.kind}s" / repo.id)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    basic = {"host": "127.0.0.1", "port": port, "repos-path": str(folder / "cache")}
    basic["mirrors-path"] = [str(folder / "mirrors")]
    lines = ["[basic]", *(f"{key} = {json.dumps(value)}" for key, value in basic.items())]
    (folder / "olah.toml").write_text("\n".join([*lines, "[accessibility]", "offline = true", ""]))
    arguments = ["-c", str(folder / "olah.toml"), "--log-path", str(folder / "logs")]
    with (folder / "olah.out").open("wb") as output:
        process = subprocess.Popen([command, *arguments], cwd=folder, stdout=output, stderr=output)
    try:
        _await_start(process, port, folder / "olah.out")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(START_S)


def _await_start(process, port, output):
    for _ in range(START_S * 10):
        if process.poll() is not None:
            raise RuntimeError(f"olah did not start: {output.read_text()[-500:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"olah does not answer: {output.read_text()[-500:]}")
