"""Points huggingface_hub, as it is loaded here, at a test Hub: most of its settings are read once, at import."""

import importlib.util
import os
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.hub.server import FOREIGN

SETTINGS = str, bool, int, frozenset, type(None)


@contextmanager
def pointed_at(hub, monkeypatch, folder, **options):
    """Environment, constants and objects made at import take this Hub for theirs, with their home in a folder.

    Options are those of `HubServer.variables`. The connections of before and those made meanwhile are closed.
    """
    from huggingface_hub import constants, hf_api, hf_file_system
    from huggingface_hub.utils import _auth, _http, close_session

    close_session()
    for name in [name for name in os.environ if FOREIGN.match(name)]:
        monkeypatch.delenv(name)
    for name, value in hub.variables(folder, **options).items():
        monkeypatch.setenv(name, value)
    for name, value in vars(_load_anew(constants.__file__)).items():
        if isinstance(value, SETTINGS) and not name.startswith("__") and value != getattr(constants, name):
            monkeypatch.setattr(constants, name, value)
    for holder in (hf_api.api, hf_file_system.hffs, hf_file_system.hffs._api):
        monkeypatch.setattr(holder, "endpoint", hub.endpoint)
    place = urlsplit(hub.endpoint)
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
