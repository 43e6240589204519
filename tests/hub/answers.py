"""What the test Hub answers: endpoints as huggingface_hub asks them, before any fault."""

import base64
import json
import re
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from tests.hub.faults import Answer
from tests.hub.repos import to_text

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
AFTER_ID = {"tree", "refs", "revision", "commits", "paths-info", "resolve"}
TRUE = {"true", "1", "True"}


class Refusal(Exception):  # noqa: N818 - an answer, no fault of the server
    """A status with the code and message that the client tells errors by."""

    def __init__(self, status, code=None, message="", **headers):
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {"X-Error-Code": code} if code else {}
        self.headers |= ({"X-Error-Message": message} if message else {}) | headers


class Request:
    """A request with its path taken apart; every segment is unquoted on its own, as revisions have slashes."""

    def __init__(self, method, target, headers, body=b""):
        parts = urlsplit(target)
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.segments = [unquote(segment) for segment in parts.path.split("/")[1:]]
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.path = parts.path
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        self.token = token if scheme == "Bearer" else None

    def is_true(self, name):
        return self.query.get(name) in TRUE

    def form(self):
        """Fields of a body, form-encoded or JSON, each a list."""
        if "json" in self.headers.get("Content-Type", ""):
            fields = json.loads(self.body)
            return {key: value if isinstance(value, list) else [str(value)] for key, value in fields.items()}
        return parse_qs(self.body.decode())


class Answers:
    """Answers requests from the repositories of a Hub."""

    def __init__(self, hub):
        self.hub = hub

    def plan(self, request):
        """The answer to a request; a refusal is an answer too."""
        answer = Answer("api" if request.segments[0] == "api" else "data")
        try:
            self._plan(request, answer)
        except Refusal as refusal:
            answer.become(refusal.status, to_json({"error": refusal.message}), {"Content-Type": "application/json"})
            answer.headers |= refusal.headers
        return answer

    def _plan(self, request, answer):
        if request.segments[0] == "cdn":
            self._plan_cdn(request, answer)
        elif request.segments == ["api", "agent-harnesses"]:
            answer.kind = "other"
            answer.become(200, to_json({"standardEnvVars": [], "harnesses": {}}), {"Content-Type": "application/json"})
        elif request.segments == ["api", "whoami-v2"]:
            self._check_token(request)
            if request.token is None:
                raise Refusal(401, message="Invalid username or password.")
            _put_json(answer, {"type": "user", "name": "tester", "fullname": "Tester", "orgs": []})
        elif request.segments[0] == "api":
            self._plan_api(request, answer)
        else:
            self._plan_file(request, answer)

    def _find_repo(self, request, segments, kind, answer):
        """The repository that segments begin with, if this token may see it, and the segments after its id."""
        self._check_token(request)
        length = 1 if len(segments) < 2 or segments[1] in AFTER_ID else 2
        name = "/".join(segments[:length])
        answer.repo = name
        moved = self.hub.moved.get((kind, name))
        if moved is not None:
            raise Refusal(307, Location=request.target.replace(f"/{name}", f"/{moved}", 1))
        repo = self.hub.repos.get((kind, name))
        if repo is None or (repo.private and not self._may_read(request, repo)):
            if request.token is None:
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise Refusal(404, "RepoNotFound", "Repository not found")
        if repo.disabled:
            raise Refusal(403, message="Access to this resource is disabled.")
        return repo, segments[length:]

    def _check_token(self, request):
        if request.token is not None and request.token not in self.hub.tokens:
            raise Refusal(401, message="Invalid credentials in Authorization header")

    def _may_read(self, request, repo):
        return request.token is not None and (repo.readers is None or request.token in repo.readers)

    def _find_commit(self, repo, revision, answer):
        answer.revision = revision
        try:
            commit = repo.find(revision)
        except KeyError:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}") from None
        answer.commit, answer.names = commit.sha, (revision, *repo.names_of(commit.sha))
        return commit

    def _plan_api(self, request, answer):
        kind = KINDS.get(request.segments[1]) if len(request.segments) > 2 else None
        if kind is None:
            raise Refusal(404, message="Sorry, we can't find the page you are looking for.")
        repo, rest = self._find_repo(request, request.segments[2:], kind, answer)
        what, *rest = rest or ["revision", "main"]
        if what == "refs" and request.method == "GET":
            return _put_json(answer, _list_refs(repo, request.is_true("include_prs")))
        revision, *rest = join_special(rest) or ["main"]
        commit = self._find_commit(repo, revision, answer)
        if what == "revision":
            return _put_json(answer, _describe(repo, commit, files_metadata=request.is_true("blobs")))
        if what == "tree":
            return self._plan_tree(request, answer, commit, "/".join(rest))
        if what == "commits":
            entries = [_describe_commit(one) for one in commit.history()]
            return self._put_page(request, answer, entries, self.hub.commits_per_page)
        if what == "paths-info" and request.method == "POST":
            form = request.form()
            expand = form.get("expand", [""])[-1] in TRUE
            entries = [commit.entry(path.strip("/"), expand=expand) for path in form.get("paths", [])]
            return _put_json(answer, [entry for entry in entries if entry is not None])
        raise Refusal(404, message="Sorry, we can't find the page you are looking for.")

    def _plan_tree(self, request, answer, commit, folder):
        paths = commit.tree(folder, recursive=request.is_true("recursive"))
        if paths is None:
            raise Refusal(404, "EntryNotFound", f'"{folder}" does not exist on "{answer.revision}"')
        expand = request.is_true("expand")
        size = min(self.hub.page_size, 50) if expand else self.hub.page_size
        self._put_page(request, answer, paths, size, lambda path: commit.entry(path, expand=expand))

    def _put_page(self, request, answer, entries, size, describe=lambda entry: entry):
        """One page of entries, and the address of the next in the header Link."""
        size = min(size, int(request.query.get("limit", size)))
        start = int(base64.b64decode(request.query["cursor"])) if "cursor" in request.query else 0
        page = [describe(entry) for entry in entries[start : start + size]]
        _put_json(answer, page)
        answer.headers["X-Total-Count"] = str(len(entries))
        if start + size < len(entries):
            cursor = base64.b64encode(str(start + size).encode()).decode()
            query = urlencode({**request.query, "cursor": cursor})
            answer.headers["Link"] = f'<{self.hub.endpoint}{request.path}?{query}>; rel="next"'

    def _plan_file(self, request, answer):
        answer.kind = "head" if request.method == "HEAD" else "data"
        prefix, segments = request.segments[0], request.segments
        kind = KINDS.get(prefix, "model")
        if kind != "model":
            segments = segments[1:]
        if "resolve" not in segments[1:3]:
            raise Refusal(404, message="Sorry, we can't find the page you are looking for.")
        repo, rest = self._find_repo(request, segments, kind, answer)
        revision, *path = join_special(rest[1:])
        answer.file = "/".join(path)
        if repo.gated and not self._may_read(request, repo):
            if request.token is None:
                raise Refusal(401, "GatedRepo", f"Access to {kind} {repo.id} is restricted. Please log in.")
            raise Refusal(403, "GatedRepo", f"Access to {kind} {repo.id} is restricted and you are not on the list.")
        commit = self._find_commit(repo, revision, answer)
        content = commit.files.get(answer.file)
        if content is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit.sha})
        self._put_file(answer, content, commit, kind)

    def _put_file(self, answer, content, commit, kind):
        answer.headers["X-Repo-Commit"] = commit.sha
        if not content.lfs:
            answer.content = content
            answer.headers["ETag"] = content.etag
            return
        if answer.kind == "data":
            answer.kind = "redirect"
        names = {"kind": kind, "repo": answer.repo, "revision": answer.revision}
        names |= {"commit": commit.sha, "file": answer.file}
        link = f"{self.hub.cdn_endpoint}/cdn/{content.sha256}?{urlencode(names, quote_via=quote)}"
        answer.become(
            302,
            f"Found. Redirecting to {link}".encode(),
            answer.headers | {"Location": link, "X-Linked-Etag": content.etag, "X-Linked-Size": str(content.size)},
        )

    def _plan_cdn(self, request, answer):
        answer.kind = "head" if request.method == "HEAD" else "data"
        sha256 = request.segments[1]
        answer.repo, answer.revision = request.query.get("repo"), request.query.get("revision")
        answer.commit, answer.file = request.query.get("commit"), request.query.get("file")
        repo = self.hub.repos.get((request.query.get("kind"), answer.repo))
        content = repo and repo.find_content(sha256)
        if content is None:
            raise Refusal(404, message="NoSuchKey")
        answer.content, answer.names = content, (answer.revision or "", *repo.names_of(answer.commit))
        name = (answer.file or sha256).rpartition("/")[2]
        answer.headers |= {"ETag": content.etag, "Content-Disposition": f'inline; filename="{name}";'}


def join_special(segments):
    """Segments with a revision such as refs/pr/1 in one piece, as it may come unquoted."""
    if segments[:1] == ["refs"] and segments[1:2] in (["pr"], ["convert"]):
        return ["/".join(segments[:3]), *segments[3:]]
    return segments


def to_json(value):
    return json.dumps(value).encode()


def _put_json(answer, value):
    answer.body = to_json(value)
    answer.headers["Content-Type"] = "application/json; charset=utf-8"


def _list_refs(repo, include_prs):
    names = {"branches": r"refs/heads/(.+)", "tags": r"refs/tags/(.+)", "converts": r"refs/convert/(.+)"}
    names |= {"pullRequests": r"refs/pr/(.+)"} if include_prs else {}
    with repo.lock:
        refs = dict(repo.refs)
    return {
        group: [
            {"name": match[1], "ref": ref, "targetCommit": commit.sha}
            for ref, commit in refs.items()
            if (match := re.fullmatch(pattern, ref))
        ]
        for group, pattern in names.items()
    }


def _describe(repo, commit, *, files_metadata):
    siblings = [
        {"rfilename": path}
        | ({"size": content.size, "blobId": content.oid, **content.lfs_info("sha256")} if files_metadata else {})
        for path, content in sorted(commit.files.items())
    ]
    about = {
        "_id": commit.sha[:24],
        "id": repo.id,
        "author": repo.id.partition("/")[0] if "/" in repo.id else None,
        "sha": commit.sha,
        "lastModified": to_text(commit.date),
        "createdAt": to_text(repo.created),
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": siblings,
    }
    return about | ({"modelId": repo.id} if repo.kind == "model" else {})


def _describe_commit(commit):
    return {
        "id": commit.sha,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": "tester", "avatar": "/avatars/tester.svg"}],
        "date": to_text(commit.date),
        "formatted": {"title": commit.title, "message": commit.message},
    }
