"""What the test Hub was asked and what it sent."""

from collections import Counter
from dataclasses import dataclass, replace
from threading import Condition

SETTLE_S = 2.0


@dataclass(frozen=True)
class Record:
    """One request and its answer.

    `kind` is "api", "head" (of a file), "redirect" (a GET of a file that is sent on), "data" (a GET that is answered
    with the file itself, or with an error in its place) or "other". `sent` counts the bytes of the body.
    """

    method: str
    path: str
    kind: str
    repo: str | None = None
    revision: str | None = None
    commit: str | None = None
    file: str | None = None
    range: str | None = None
    status: int | None = None
    sent: int = 0
    digest: str | None = None
    authorized: bool = False
    at_s: float = 0.0


class Log:
    """Records in the order of the requests; whoever looks waits until answers on their way are done."""

    def __init__(self):
        self._records = []
        self._changed = Condition()
        self._running = set()

    def start(self, record):
        """Note a request; returns the key to finish it with."""
        with self._changed:
            key = [record]
            self._records.append(key)
            self._running.add(id(key))
            return key

    def pause(self, key):
        """Nobody need wait for this one."""
        with self._changed:
            self._running.discard(id(key))
            self._changed.notify_all()

    def finish(self, key, **changes):
        with self._changed:
            key[0] = replace(key[0], **changes)
            self._running.discard(id(key))
            self._changed.notify_all()

    def __iter__(self):
        return iter(self.records())

    def __len__(self):
        return len(self.records())

    def records(self, kind=None):
        """All records, or those of a kind; those of kind "other" only where they are asked for."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, SETTLE_S)
            records = [key[0] for key in self._records]
        return [record for record in records if (record.kind != "other" if kind is None else record.kind == kind)]

    def count(self, kind=None, *, status=None, file=None):
        return sum(
            (status is None or record.status == status) and (file is None or record.file == file)
            for record in self.records(kind)
        )

    def bytes_sent(self, of=None):
        """Bytes of files that went out, in all or those of the content with this sha256."""
        return sum(self.sent_by_content().values()) if of is None else self.sent_by_content()[of]

    def sent_by_content(self):
        """Bytes that went out of each content, by sha256."""
        sent = Counter()
        for record in self.records("data"):
            if record.digest is not None:
                sent[record.digest] += record.sent
        return sent

    def clear(self):
        with self._changed:
            self._changed.wait_for(lambda: not self._running, SETTLE_S)
            self._records.clear()
