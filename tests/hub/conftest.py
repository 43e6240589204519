"""A running test Hub that this process, and every process that it starts, takes for the Hub."""

import time
from types import SimpleNamespace

import pytest

from tests.hub.client import pointed_at
from tests.hub.server import HubServer


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub of its own for a test, with HF_ENDPOINT and the rest pointed at it, here and in subprocesses."""
    with HubServer() as server:
        with pointed_at(server, monkeypatch, tmp_path):
            yield server
        assert server.errors == []


@pytest.fixture
def waits(hub, monkeypatch):
    """Seconds that the client waited before it tried again; they pass at once, for it and for the Hub's rate limits."""
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    waited = []
    clock = hub.clock
    hub.clock = lambda: clock() + sum(waited)
    patient = SimpleNamespace(**{**vars(time), "sleep": waited.append})
    monkeypatch.setattr(_http, "time", patient)
    monkeypatch.setattr(file_download, "time", patient)
    return waited
