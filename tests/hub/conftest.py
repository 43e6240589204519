"""A running test Hub that this process, and every process that it starts, takes for the Hub."""

import os
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests.hub.client import pointed_at
from tests.hub.olah import run_olah
from tests.hub.server import HubServer


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub of its own for a test, with HF_ENDPOINT and the rest pointed at it, here and in subprocesses."""
    with HubServer() as server:
        with pointed_at(server.endpoint, monkeypatch, tmp_path):
            yield server
        assert server.errors == []


@pytest.fixture
def waits(hub, monkeypatch):
    """Seconds that the client waited before it tried again; they pass at once, for it and for the Hub's rate limits."""
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    from wsanalyze.hub import calls, stream

    waited = []
    clock = hub.clock
    hub.clock = lambda: clock() + sum(waited)
    passed = {"sleep": waited.append, "monotonic": lambda: time.monotonic() + sum(waited)}
    patient = SimpleNamespace(**{**vars(time), **passed})
    for module in (_http, file_download, calls, stream):
        monkeypatch.setattr(module, "time", patient)
    return waited


@pytest.fixture
def serve_by_olah(monkeypatch, tmp_path):
    """Serve repositories by olah, and take that for the Hub from then on; gives its endpoint."""
    command = os.environ.get("WSANALYZE_OLAH")
    if not command:
        pytest.skip("WSANALYZE_OLAH does not name an olah-cli")
    with ExitStack() as stack:

        def serve(*repos):
            endpoint = stack.enter_context(run_olah(command, repos, tmp_path / "olah"))
            stack.enter_context(pointed_at(endpoint, monkeypatch, tmp_path / "olah"))
            return endpoint

        yield serve
