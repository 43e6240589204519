"""Where a run file lies, and what it was made for."""

import glob
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wsanalyze.hub.address import is_hub_address, parse_address
from wsanalyze.hub.session import HubOptions
from wsanalyze.store.database import SUFFIX

_NUM_SLUG_CHARS: Final = 40


def common_folder(sources: Sequence[str]) -> str:
    """The deepest folder that all sources lie in: what a run file is made for, however the shell spelt its content."""
    folders = []
    for source in sources:
        # os.path, since pathlib raises where there is no such user, or links go round in a circle
        path = Path(os.path.expanduser(source))  # noqa: PTH111
        if not path.exists() and glob.has_magic(source):
            fixed = path.parts[: next(i for i, part in enumerate(path.parts) if glob.has_magic(part))]
            path = Path(*fixed)
        path = Path(os.path.realpath(path))
        folders.append(path if path.is_dir() and len(sources) == 1 else path.parent)
    return os.path.commonpath(folders)


def name_sources(sources: Sequence[str], hub: HubOptions) -> str:
    """What a run file is made for: the folder that all sources lie in, or their addresses, and what is read of them."""
    remote = sorted(str(parse_address(source, hub.kind)) for source in sources if is_hub_address(source))
    remote += ["--commits"] if remote and hub.commits else []
    local = [source for source in sources if not is_hub_address(source)]
    return " ".join([*remote, *([common_folder(local)] if local else [])])


def default_run_path(key: str, weights: str = "auto") -> Path:
    """A file in the user's cache folder named after a folder of checkpoints, and the weights where they were chosen."""
    import platformdirs

    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(key).name)[-_NUM_SLUG_CHARS:].strip("-.") or "run"
    chosen = "" if weights in ("auto", "model") else f"-{weights}"
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    return Path(platformdirs.user_cache_dir("wsanalyze", appauthor=False)) / f"{slug}{chosen}-{digest}{SUFFIX}"
