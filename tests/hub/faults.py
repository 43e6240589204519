"""Faults of the test Hub on demand: the same ones at every run, chosen by kind of request, file, number or share."""

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from threading import RLock

PAGE = b"<!DOCTYPE html><html><body>Please sign in to the network.</body></html>"


@dataclass
class Answer:
    """An answer before it goes out: of a status and headers, with a small body or the content of a file."""

    kind: str
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    content: object = None  # Content that the body is of, which ranges are cut from
    repo: str | None = None
    revision: str | None = None
    commit: str | None = None
    file: str | None = None
    names: tuple = ()  # all that the revision is called
    delay_s: float = 0.0
    drop: bool = False  # close the connection without a word
    cut: float | None = None  # share of the body after which the connection is closed
    ignore_range: bool = False
    compress: bool = False
    resize: int = 0  # bytes more or fewer than there are, with headers that agree
    shift: int = 0  # bytes that a range lies beside the one asked
    flip: int | None = None  # offset of the byte that is wrong

    def become(self, status, body, headers):
        """Answer something else in place of what was asked."""
        self.status, self.body, self.content, self.headers = status, body, None, headers


class _Rule:
    def __init__(  # noqa: PLR0913 - the choice that every fault takes
        self, change, kinds, *, files="*", revisions="*", every=1, share=None, seed=0, times=None, after=0
    ):
        self.change, self.kinds, self.files, self.revisions = change, kinds, files, revisions
        self.every, self.share, self.times, self.after = every, share, times, after
        self.random = random.Random(seed)  # noqa: S311 - the same faults at every run, no secret
        self.seen = self.struck = 0

    def matches(self, answer):
        return (
            answer.kind in self.kinds
            and fnmatchcase(answer.file or "", self.files)
            and any(fnmatchcase(name, self.revisions) for name in answer.names or ("",))
        )

    def strikes(self, answer):
        if not self.matches(answer):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.struck >= self.times):
            return False
        hit = (self.seen - self.after) % self.every == 0 if self.share is None else self.random.random() < self.share
        self.struck += hit
        return hit


class Faults:
    """Rules that change answers. Several may strike one answer, in the order in which they were asked for.

    All methods take the same choice of answers by keyword:

    - `kinds`: of request: "api", "head", "redirect", "data";
    - `files`: glob that the path in the repository matches;
    - `revisions`: glob that a name of the revision matches, even if it is asked for by its sha;
    - `after`: how many matching answers to leave alone first;
    - `every`: strike each so-many-th of the rest, or `share` of them at random with `seed`;
    - `times`: strike so often and no more.
    """

    def __init__(self):
        self._rules = []
        self._lock = RLock()

    def clear(self):
        with self._lock:
            self._rules.clear()

    def apply(self, answer):
        with self._lock:
            for rule in [rule for rule in self._rules if answer.kind != "other" and rule.strikes(answer)]:
                rule.change(answer)

    def _add(self, change, kinds, choice):
        with self._lock:
            self._rules.append(_Rule(change, kinds, **choice))

    def cut(self, fraction=0.5, *, kinds=("data",), **choice):
        """Close the connection after this share of the body."""

        def change(answer):
            answer.cut = fraction

        self._add(change, kinds, choice)

    def drop(self, *, kinds=("api", "head", "redirect", "data"), **choice):
        """Close the connection without an answer."""

        def change(answer):
            answer.drop = True

        self._add(change, kinds, choice)

    def hang(self, seconds, *, kinds=("data",), **choice):
        """Wait before the answer; a Hub that is closed waits no longer."""

        def change(answer):
            answer.delay_s = seconds

        self._add(change, kinds, choice)

    def refuse(
        self, status=503, *, reset_s=None, retry_after_s=None, kinds=("api", "head", "redirect", "data"), **choice
    ):
        """Answer 503, 429 or another status, with rate-limit headers (`reset_s`), Retry-After, or neither."""

        def change(answer):
            headers = {}
            if reset_s is not None:
                resource = "api" if answer.kind == "api" else "resolvers"
                headers["RateLimit"] = f'"{resource}";r=0;t={reset_s}'
                headers["RateLimit-Policy"] = f'"fixed window";"{resource}";q=500;w=300'
            if retry_after_s is not None:
                headers["Retry-After"] = str(retry_after_s)
            answer.become(status, b"", headers)

        self._add(change, kinds, choice)

    def ignore_ranges(self, *, kinds=("head", "redirect", "data"), **choice):
        """Send the whole file whatever range is asked, and do not offer ranges."""

        def change(answer):
            answer.ignore_range = True

        self._add(change, kinds, choice)

    def compress(self, *, kinds=("data",), files="*.json", **choice):
        """Send the whole file with gzip to those who accept it, whatever range is asked, as the real Hub sends text."""

        def change(answer):
            answer.compress = True

        self._add(change, kinds, {"files": files, **choice})

    def resize(self, by, *, kinds=("data",), **choice):
        """Send so many bytes fewer (or zeros more) than the file has, with headers that say so."""

        def change(answer):
            answer.resize = by

        self._add(change, kinds, choice)

    def shift_ranges(self, by, *, kinds=("data",), **choice):
        """Answer with another range than the one asked, and say so in Content-Range."""

        def change(answer):
            answer.shift = by

        self._add(change, kinds, choice)

    def corrupt(self, *, at=None, kinds=("data",), **choice):
        """Send one wrong byte, at this offset of the file (its middle by default); the length is right."""

        def change(answer):
            if answer.content is not None:
                answer.flip = answer.content.size // 2 if at is None else at

        self._add(change, kinds, choice)

    def page(self, *, kinds=("data",), **choice):
        """Answer 200 with a web page, as captive portals and proxies do."""
        self._add(lambda answer: answer.become(200, PAGE, {"Content-Type": "text/html"}), kinds, choice)

    def run(self, action, *, kinds=("api", "head", "redirect", "data"), times=1, **choice):
        """Do something to the Hub when such a request comes, as taking a revision away; that request still succeeds."""
        self._add(lambda _: action(), kinds, {"times": times, **choice})
