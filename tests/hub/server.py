"""A test Hub: a server on this machine that speaks to the real huggingface_hub as huggingface.co does.

    with HubServer() as hub:
        repo = hub.add_repo("org/model")
        repo.commit("step100", {"model.safetensors": Path("step100.safetensors"), "config.json": b"{}"})
        subprocess.run(command, env=hub.environment(tmp_path), check=True)
        assert hub.log.bytes_sent() < 2 * size

Large files are sent on to a second address, as to a CDN. `hub.faults` makes it misbehave, `hub.log` tells what it was
asked.
"""

import gzip
import math
import re
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.hub.answers import Answers, Request
from tests.hub.client import environment
from tests.hub.faults import Faults
from tests.hub.log import Log, Record
from tests.hub.repos import Repo

CHUNK_BYTES = 1 << 18
CLOSE_S = 5.0
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class _Limit:
    requests: int
    seconds: float
    used: int = 0
    began_s: float | None = None


class HubServer:
    """A Hub on two free ports of this machine; closing it cuts every connection.

    Attributes:
        endpoint, cdn_endpoint: Addresses of the Hub and of its store of large files.
        tokens: Tokens that are known; any other is refused.
        page_size, commits_per_page: Entries of a page of a tree (50 at most if expanded) or of commits.
        faults, log: What goes wrong and what was asked.
        clock: Seconds that rate limits are counted by.
        errors: Exceptions of the server itself, which no test should see.
    """

    def __init__(self, *, page_size=1000, commits_per_page=50):
        self.page_size, self.commits_per_page = page_size, commits_per_page
        self.repos, self.moved, self.tokens, self.errors = {}, {}, set(), []
        self.faults, self.log, self.clock = Faults(), Log(), time.monotonic
        self.answers = Answers(self)
        self.closing = threading.Event()
        self._limits, self._lock = {}, threading.Lock()
        self._servers = [_Server(self), _Server(self, is_cdn=True)]
        self.endpoint, self.cdn_endpoint = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """Stop listening and cut all connections; a second time does nothing."""
        if self.closing.is_set():
            return
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
            server.cut_connections()
        for thread in self._threads:
            thread.join(CLOSE_S)

    def add_repo(self, id, kind="model", *, initial=True, **options):  # noqa: A002 - as the client calls it
        """A new repository, with a branch `main` that holds `.gitattributes` as people's have, unless not `initial`.

        Options are those of `Repo`: private, gated, disabled, readers, lfs_bytes.
        """
        repo = self.repos[kind, id] = Repo(id, kind, **options)
        if initial:
            repo.commit("main", {".gitattributes": "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return repo

    def delete_repo(self, id, kind="model"):  # noqa: A002 - as the client calls it
        del self.repos[kind, id]

    def move_repo(self, id, new_id, kind="model"):  # noqa: A002 - as the client calls it
        """Rename a repository; its old id leads to the new one."""
        repo = self.repos.pop((kind, id))
        repo.id = new_id
        self.repos[kind, new_id], self.moved[kind, id] = repo, new_id

    def limit(self, kind, requests, seconds):
        """Answer 429 beyond so many requests in a window; of kind "api", or "resolvers" for files."""
        self._limits[kind] = _Limit(requests, seconds)

    def environment(self, folder, **options):
        """Environment of a process that takes this for the Hub, with its home in a folder.

        Options are those of `client.variables`.
        """
        return environment(self.endpoint, folder, **options)

    def count_request(self, answer):
        """Take a request off its budget; turns the answer into a 429 where nothing is left."""
        resource = "api" if answer.kind == "api" else "resolvers"
        limit = self._limits.get(resource)
        if limit is None or answer.kind == "other":
            return
        with self._lock:
            now = self.clock()
            if limit.began_s is None or now >= limit.began_s + limit.seconds:
                limit.began_s, limit.used = now, 0
            reset_s = max(1, math.ceil(limit.began_s + limit.seconds - now))
            spent = limit.used >= limit.requests
            limit.used += not spent
            left = limit.requests - limit.used
        if spent:
            answer.become(429, b"", {"Retry-After": str(reset_s)})
        answer.headers["RateLimit"] = f'"{resource}";r={left};t={reset_s}'
        answer.headers["RateLimit-Policy"] = (
            f'"fixed window";"{resource}";q={limit.requests};w={math.ceil(limit.seconds)}'
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, hub, *, is_cdn=False):
        self.hub, self.is_cdn = hub, is_cdn
        self._connections = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request, client_address):
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def cut_connections(self):
        with self._changed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # it is closed already
                    continue
            self._changed.wait_for(lambda: not self._connections, CLOSE_S)

    def handle_error(self, _request, _client_address):
        """Nothing: the handler notes its own errors, and clients may go as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_args):
        """Nothing on the terminal."""

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def _answer(self):
        hub = self.server.hub
        key = answer = None
        self.sent, self.status = 0, None
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, self.headers, body)
            answer = hub.answers.plan(request)
            key = hub.log.start(_record(request, answer, hub.clock()))
            if not self.server.is_cdn:
                hub.count_request(answer)
            hub.faults.apply(answer)
            if answer.delay_s:
                hub.log.pause(key)
                hub.closing.wait(answer.delay_s)
            if answer.compress and answer.content and "gzip" in request.headers.get("Accept-Encoding", ""):
                headers = {**answer.headers, "Content-Encoding": "gzip"}
                answer.become(200, gzip.compress(b"".join(read_chunks(answer, 0, answer.content.size))), headers)
            self._send(request, answer)
        except ConnectionError:
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - kept for the test that made it
            hub.errors.append(error)
            self.close_connection = True
        finally:
            if key is not None:
                digest = answer.content.sha256 if answer.content else None
                hub.log.finish(key, sent=self.sent, status=self.status, digest=digest)

    def _send(self, request, answer):
        if answer.drop or self.server.hub.closing.is_set():
            self.close_connection = True
            return
        status, headers, start, stop = render(request, answer)
        self.status = status
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(stop - start)}.items():
            self.send_header(name, value.encode("ascii", "replace").decode())
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.cut is not None:
            stop = start + int(answer.cut * (stop - start))
            self.close_connection = True
        for chunk in read_chunks(answer, start, stop):
            self.wfile.write(chunk)
            self.sent += len(chunk)


def _record(request, answer, at_s):
    return Record(
        request.method,
        request.target,
        answer.kind,
        repo=answer.repo,
        revision=answer.revision,
        commit=answer.commit,
        file=answer.file,
        range=request.headers.get("Range"),
        authorized="Authorization" in request.headers,
        at_s=at_s,
    )


def render(request, answer):
    """Status, headers and the part of the body that goes out, as start and stop."""
    if answer.content is None:
        headers = dict(answer.headers)
        if answer.kind in ("head", "redirect") and answer.status == 302 and not answer.ignore_range:
            headers["Accept-Ranges"] = "bytes"
        return answer.status, headers, 0, len(answer.body)
    size = max(0, answer.content.size + answer.resize)
    headers = {"Content-Type": "application/octet-stream", **answer.headers}
    if answer.ignore_range:
        return answer.status, headers, 0, size
    headers["Accept-Ranges"] = "bytes"
    asked = parse_range(request.headers.get("Range"), size) if request.method == "GET" else None
    if asked is None:
        return answer.status, headers, 0, size
    start, stop = asked
    if start >= stop:
        return 416, headers | {"Content-Range": f"bytes */{size}"}, 0, 0
    start, stop = (min(max(0, place + answer.shift), size) for place in (start, stop))
    return 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}, start, stop


def parse_range(text, size):
    """Start and stop of the one range that is asked, empty where it holds no byte; None where there is none."""
    match = RANGE.fullmatch(text or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def read_chunks(answer, start, stop):
    """The part of the body in pieces, with zeros where there is nothing and the wrong byte where one is asked."""
    if answer.content is None:
        yield answer.body[start:stop]
        return
    with answer.content.open() as file:
        file.seek(start)
        while start < stop:
            length = min(CHUNK_BYTES, stop - start)
            chunk = file.read(length)
            chunk += bytes(length - len(chunk))
            if answer.flip is not None and start <= answer.flip < start + length:
                at = answer.flip - start
                chunk = chunk[:at] + bytes([chunk[at] ^ 0xFF]) + chunk[at + 1 :]
            yield chunk
            start += length
