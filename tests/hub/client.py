"""Points huggingface_hub, in this process or another, at a Hub: most of its settings are read once, at import."""

import importlib.util
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

SETTINGS = str, bool, int, frozenset, type(None)
FOREIGN = re.compile(r"(HF_|HUGGING|TRANSFORMERS_OFFLINE|(HTTPS?|ALL|NO)_PROXY$)", re.IGNORECASE)


def variables(endpoint, folder, *, token=None, offline=False):
    """What stands in the environment of those who take an endpoint for the Hub, with their home in a folder."""
    fixed = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(Path(folder) / "hf-home"),
        "XDG_CACHE_HOME": str(Path(folder) / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    return fixed | ({"HF_TOKEN": token} if token else {}) | ({"HF_HUB_OFFLINE": "1"} if offline else {})


def environment(endpoint, folder, **options):
    """A whole environment for a process: this one's, less its proxies, tokens and settings of the client."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    return kept | variables(endpoint, folder, **options)


@contextmanager
def pointed_at(endpoint, monkeypatch, folder, **options):
    """Environment, constants and objects made at import take an endpoint for the Hub, with their home in a folder.

    Options are those of `variables`. The connections of before and those made meanwhile are closed.
    """
    from huggingface_hub import constants, hf_api, hf_file_system
    from huggingface_hub.utils import _auth, _http, close_session

    close_session()
    for name in [name for name in os.environ if FOREIGN.match(name)]:
        monkeypatch.delenv(name)
    for name, value in variables(endpoint, folder, **options).items():
        monkeypatch.setenv(name, value)
    copies = [vars(module) for name, module in sys.modules.items() if name.startswith("huggingface_hub.")]
    for name, value in vars(_load_anew(constants.__file__)).items():
        old = getattr(constants, name)
        if isinstance(value, SETTINGS) and not name.startswith("__") and value != old:
            for copy in copies:
                if copy.get(name) == old:
                    monkeypatch.setitem(copy, name, value)
    for holder in (hf_api.api, hf_file_system.hffs, hf_file_system.hffs._api):
        monkeypatch.setattr(holder, "endpoint", endpoint)
    place = urlsplit(endpoint)
    monkeypatch.setattr(_http, "_HUB_ORIGINS", frozenset({(place.scheme, place.hostname, place.port)}))
    monkeypatch.setattr(_auth, "_OAUTH_REFRESH_CACHE", None)
    try:
        yield
    finally:
        close_session()
        hf_file_system.hffs.invalidate_cache()
        hf_file_system.HfFileSystem.clear_instance_cache()


def _load_anew(path):
    """The constants as they would be read under the environment of now."""
    spec = importlib.util.spec_from_file_location("huggingface_hub.constants_anew", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
