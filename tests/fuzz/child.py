"""The process that fuzzes one reader. It writes each input down before it tries it, so that a crash leaves it behind.

`engine` atheris is guided by the coverage of the package's bytecode (libFuzzer). `engine` plain needs nothing: it
keeps inputs that end in a way that none before has ended, mutates those, and is the same for the same seed.
"""

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import re
import struct
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

from bundle import BundleError
from guard import ForbiddenError, Guard, limit_memory, restart_clock, watch_time

MAX_INPUT_BYTES: Final = 20_000
_HEAD: Final = struct.Struct("<QI")
BOX_BYTES: Final = _HEAD.size + 16 * MAX_INPUT_BYTES
_MINIMISE_SECONDS: Final = 10.0
_SHRINK_SECONDS: Final = 1.0
_MAX_KEPT: Final = 24
_MAX_KEPT_BYTES: Final = 8000
_MAX_POOL: Final = 2000
_NEVER: Final = 10**6  # libFuzzer's own clock is that of the wall, which makes a busy machine a finding
_MAX_MESSAGE_CHARS: Final = 200_000


class InputBox:
    """A file in which the input at hand and the number of those before it stand; the parent reads it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), BOX_BYTES)

    def put(self, count: int, data: bytes) -> None:
        """Note an input."""
        self._map[_HEAD.size : _HEAD.size + len(data)] = data
        self._map[: _HEAD.size] = _HEAD.pack(count, len(data))

    @staticmethod
    def take(path: Path) -> tuple[int, bytes]:
        """How many inputs were begun, and the last of them."""
        raw = path.read_bytes()
        count, length = _HEAD.unpack_from(raw)
        return count, raw[_HEAD.size : _HEAD.size + length]


class Session:
    """Tries inputs on one reader and keeps what should not be.

    Args:
        reader: Its name in `TARGETS`.
        work: Folder for the input and the files that it is unpacked into.
        found: Where inputs are kept that something was found with.
    """

    def __init__(self, reader: str, work: Path, found: Path) -> None:
        import targets

        self.reader, self.target, self.found = reader, targets.TARGETS[reader], found
        self._lay_out = targets.lay_out
        self.folder = work / "input"
        self.guard = Guard(self.folder if self.target.folder else None)
        self.box = InputBox(work / "box")
        self.count = 0
        self.findings: dict[str, str] = {}

    def attempt(self, data: bytes) -> str | None:
        """Take one input the whole way.

        Returns:
            How it ended, in words with numbers and names left out; None if it ended as it must not.
        """
        self.count += 1
        self.box.put(self.count, data)
        outcome, fault = self._run(data)
        if fault is None:
            return outcome
        if outcome not in self.findings:
            small = self.shrink(data, outcome, _MINIMISE_SECONDS)
            name = f"{self.reader}-{hashlib.sha256(small).hexdigest()[:8]}"
            self.found.mkdir(parents=True, exist_ok=True)
            (self.found / name).write_bytes(small)
            self.findings[outcome] = name
            print(f"FOUND {name}: {outcome}\n{fault}", file=sys.stderr, flush=True)
        return None

    def _run(self, data: bytes) -> tuple[str, str | None]:
        """The outcome of an input, and the traceback if it is a finding."""
        from wsanalyze.errors import CheckpointError, SourceError, UsageError

        if self.target.folder:
            try:
                self._lay_out(data, self.folder)
            except BundleError as error:
                return str(error), None
        restart_clock()
        try:
            with self.guard.armed():
                self.target.run(data, self.folder)
        except (CheckpointError, SourceError, UsageError) as error:
            text = str(error)
            if "\n" in text or len(text) > _MAX_MESSAGE_CHARS:
                return "a message of several or endless lines", repr(text[:_MAX_MESSAGE_CHARS])
            return mask(text.replace(str(self.folder), "")), None
        except (Exception, ForbiddenError) as error:  # noqa: BLE001 - whatever else comes out is what is looked for
            return _sign(error), "".join(traceback.format_exception(error, limit=-8))
        finally:
            restart_clock(0)
        return "read", None

    def warm_up(self, data: bytes) -> None:
        """Take an honest input the whole way without a watch, so that what readers import late is there."""
        with contextlib.suppress(Exception):
            if self.target.folder:
                self._lay_out(data, self.folder)
            self.target.run(data, self.folder)

    def shrink(self, data: bytes, outcome: str | None, seconds: float) -> bytes:
        """Cut pieces out as long as the outcome stays the same."""
        until = time.monotonic() + seconds
        size = len(data) // 2
        while size and time.monotonic() < until:
            start = 0
            while start < len(data) and time.monotonic() < until:
                shorter = data[:start] + data[start + size :]
                self.box.put(self.count, shorter)
                if self._run(shorter)[0] == outcome:
                    data = shorter
                else:
                    start += size
            size //= 2
        return data


def mask(text: str) -> str:
    """A message without what differs from input to input: one word for each thing that can go wrong."""
    return re.sub(r"'.*'|\".*\"|0x[0-9a-f]+|-?\d[\d.e+]*", "_", text)[:200]


def _sign(error: BaseException) -> str:
    """A finding's name: the kind of the error and where in the package it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.name}" for frame in frames if "wsanalyze" in frame.filename]
    return f"{type(error).__name__} in {places[-1] if places else 'the harness'}: {mask(str(error))[:80]}"


def read_seeds(folders: list[Path]) -> list[bytes]:
    """All inputs in some folders, the small ones first."""
    paths = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    seeds = [path.read_bytes() for path in paths]
    return sorted((seed for seed in seeds if len(seed) <= MAX_INPUT_BYTES), key=len)


def fuzz_plainly(session: Session, seeds: list[bytes], seconds: float, seed: int) -> dict[str, bytes]:
    """Mutate what ended in a new way, until the time is over.

    Returns:
        For each way to end an input that ends so.
    """
    rng = Random(f"{session.reader}:{seed}")  # noqa: S311 - inputs are to be the same for the same seed
    pool = seeds[:]
    ended: dict[str, bytes] = {}
    for data in seeds:
        if (outcome := session.attempt(data)) is not None:
            ended.setdefault(outcome, data)
    until = time.monotonic() + seconds
    while pool and time.monotonic() < until:
        data = rng.choice(pool)
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = session.target.mutate(data, rng)[:MAX_INPUT_BYTES]
        outcome = session.attempt(data)
        if outcome is not None and outcome not in ended:
            ended[outcome] = data
            if len(pool) < _MAX_POOL:
                pool.append(data)
    return ended


def keep_outcomes(session: Session, ended: Mapping[str, bytes], folder: Path) -> None:
    """Keep a small input for each way to end, under a name that says which."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome, data in list(ended.items())[:_MAX_KEPT]:
        name = re.sub(r"[^a-z0-9]+", "-", outcome.lower().removeprefix("input")).strip("-")[:60].strip("-")
        small = session.shrink(data, outcome, _SHRINK_SECONDS)
        if len(small) <= _MAX_KEPT_BYTES and outcome != "read" and not (folder / name).exists():
            (folder / name).write_bytes(small)


def fuzz_by_coverage(session: Session, corpus: list[Path], new: Path, seconds: float, seed: int) -> None:
    """Let libFuzzer mutate what covers something new; it ends the process itself."""
    import atheris

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = Random(seed)  # noqa: S311 - libFuzzer's own seed
        return session.target.mutate(data, rng)[:max_size]

    options = [
        sys.argv[0], str(new), *map(str, corpus), f"-max_total_time={max(1, int(seconds))}", f"-seed={seed + 1}",
        f"-max_len={MAX_INPUT_BYTES}", f"-timeout={_NEVER}", "-rss_limit_mb=0", "-print_final_stats=1",
        "-len_control=0",
    ]  # fmt: skip
    atheris.Setup(options, lambda data: session.attempt(data) and None, custom_mutator=mutate)
    atheris.Fuzz()


def _load(engine: str) -> None:
    """Import all of the measuring wing, instrumented where coverage guides: later imports would be violations."""
    import importlib
    import pkgutil

    watch: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if engine == "atheris":
        import atheris

        watch = atheris.instrument_imports(include=["wsanalyze"], enable_loader_override=False)
    with watch:
        for package in ("files", "tensors", "checkpoints", "layers", "changes"):
            found = importlib.import_module(f"wsanalyze.{package}")
            for module in pkgutil.iter_modules(found.__path__, f"{found.__name__}."):
                importlib.import_module(module.name)
        importlib.import_module("wsanalyze.sequence")
    importlib.import_module("ml_dtypes")


def main() -> int:
    """Fuzz or replay, as the parent says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reader")
    parser.add_argument("--engine", choices=("atheris", "plain", "replay"), required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    _load(options.engine)
    session = Session(options.reader, options.work, options.found)
    seeds = read_seeds(options.corpus)
    log = os.open(options.work / "hang", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    watch_time(log)
    for honest in read_seeds(options.corpus[:1]):
        session.warm_up(honest)
    session.guard.install()
    limit_memory()
    if options.engine == "atheris":
        new = options.work / "new"
        new.mkdir(exist_ok=True)
        fuzz_by_coverage(session, options.corpus, new, options.seconds, options.seed)
        return 0
    seconds = options.seconds if options.engine == "plain" else 0.0
    ended = fuzz_plainly(session, seeds, seconds, options.seed)
    if options.keep is not None:
        keep_outcomes(session, ended, options.keep)
    print(json.dumps({"outcomes": len(ended)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
