"""Fuzz every reader, each in a process of its own; see docs/fuzzing.md.

    python tests/fuzz/fuzz.py --seconds 600            all readers, ten minutes each
    python tests/fuzz/fuzz.py --reader torch --seconds 60
    python tests/fuzz/fuzz.py --replay                 only what lies in tests/corpus
    python tests/fuzz/fuzz.py --record docs/fuzzing.md keep the numbers in the table there

A finding is an exception that is no `WsAnalyzeError`, more than five seconds or a gigabyte for one input, a broken
promise of a reader, or anything that is done rather than read. Its input is kept as tests/corpus/found/READER-HASH;
once it is understood and mended, it is moved to tests/corpus/READER under a name that says what it is.
"""

import argparse
import hashlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from child import BOX_BYTES, InputBox

CORPUS: Final = Path(__file__).parents[1] / "corpus"
READERS: Final = (
    "pickle", "safetensors", "torch", "torchscript", "sb3", "npz", "legacy", "onnx", "shards", "trainer", "adapter",
    "dcp", "zero3", "slices",
)  # fmt: skip
_HEAD_ROW: Final = "| reader | engine | inputs | seconds | coverage | found | machine | date |"
_MARKS: Final = ("<!-- table -->", "<!-- end of table -->")
_HERE: Final = Path(__file__).parent
_MAX_STARTS: Final = 6
_NO_INPUT: Final = "-"
_STALLED_SECONDS: Final = 120.0  # of the wall clock; the child's own limit counts the processor's


@dataclass(slots=True)
class Result:
    """What came of fuzzing one reader.

    Attributes:
        reader: Its name.
        executions: Inputs tried.
        seconds: How long that took.
        coverage: What the engine says of it, or "".
        findings: For each file that was kept, what it shows.
    """

    reader: str
    executions: int = 0
    seconds: float = 0.0
    coverage: str = ""
    findings: dict[str, str] = field(default_factory=dict)


def fuzz_reader(
    reader: str, engine: str, seconds: float, seed: int, seeds: Path, found: Path, work: Path, keep: Path | None = None
) -> Result:
    """Fuzz one reader; where a child dies, what killed it is kept, and another goes on."""
    result = Result(reader)
    started = time.monotonic()
    for start in range(_MAX_STARTS):
        rest = seconds - (time.monotonic() - started)
        if start and rest < 1:
            break
        place = work / f"{reader}-{start}"
        place.mkdir(parents=True)
        status, said = _run_child(reader, engine, max(rest, 1.0), seed + start, seeds, found, place, keep)
        result.executions += InputBox.take(place / "box")[0]
        for name, text in re.findall(r"^FOUND (\S+): (.*)$", said, re.MULTILINE):
            result.findings[name] = text
        coverage = re.findall(r"cov: (\d+)", said)
        outcomes = re.findall(r'"outcomes": (\d+)', said)
        result.coverage = f"{coverage[-1]} edges" if coverage else f"{outcomes[-1]} outcomes" if outcomes else ""
        if status == 0:
            break
        name, text = _keep_killer(reader, place, found, status, said)
        result.findings[name] = text
        if name == _NO_INPUT:
            break
    result.seconds = time.monotonic() - started
    return result


def _run_child(
    reader: str, engine: str, seconds: float, seed: int, seeds: Path, found: Path, place: Path, keep: Path | None
) -> tuple[int, str]:
    """Run a child and watch that it gets on; returns its status and what it said."""
    box, log = place / "box", place / "log"
    with box.open("wb") as file:
        file.truncate(BOX_BYTES)
    corpora = [folder for folder in (seeds / reader, CORPUS / reader) if folder.is_dir()]
    extra = [place / "found"]
    extra[0].mkdir()
    for path in (CORPUS / "found").glob(f"{reader}-*"):
        (extra[0] / path.name).write_bytes(path.read_bytes())
    command = [
        sys.executable, str(_HERE / "child.py"), reader, "--engine", engine, "--seconds", str(seconds),
        "--seed", str(seed), "--work", str(place), "--found", str(found),
        *(word for folder in (*corpora, *extra) for word in ("--corpus", str(folder))),
        *(("--keep", str(keep / reader)) if keep else ()),
    ]  # fmt: skip
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as child:
        count, moved = -1, time.monotonic()
        while child.poll() is None:
            time.sleep(0.05)
            now = InputBox.take(box)[0]
            if now != count:
                count, moved = now, time.monotonic()
            elif time.monotonic() - moved > _STALLED_SECONDS:
                child.kill()
    return child.returncode, log.read_text(encoding="utf-8", errors="replace")


def _keep_killer(reader: str, place: Path, found: Path, status: int, said: str) -> tuple[str, str]:
    """Keep the input that a child died of."""
    count, data = InputBox.take(place / "box")
    trace = (place / "hang").read_text(encoding="utf-8", errors="replace") if (place / "hang").exists() else ""
    print(f"{reader}: ended with status {status} at input {count}\n{trace}{said[-3000:]}", file=sys.stderr)
    if not count:
        return _NO_INPUT, f"the child did not start (status {status})"
    found.mkdir(parents=True, exist_ok=True)
    name = f"{reader}-{hashlib.sha256(data).hexdigest()[:8]}"
    (found / name).write_bytes(data)
    return name, "took too long" if trace else f"ended the process with status {status}"


def summarise(results: Sequence[Result]) -> str:
    """A table of what was done and found."""
    lines = [f"{'reader':<12} {'inputs':>10} {'per second':>10}  {'coverage':<14} found"]
    for result in results:
        rate = result.executions / max(result.seconds, 1e-9)
        count = len(result.findings)
        lines.append(f"{result.reader:<12} {result.executions:>10} {rate:>10.0f}  {result.coverage:<14} {count or '-'}")
        lines += [f"    {name}: {text}" for name, text in result.findings.items()]
    return "\n".join(lines)


def record(results: Sequence[Result], engine: str, path: Path) -> None:
    """Write the rows of these readers into the table of a document; the rows of others stay as they are."""
    text = path.read_text(encoding="utf-8")
    rows = {row[2]: row[1] for row in re.finditer(r"^(\| (\w+) \|.*)$", text, re.MULTILINE) if row[2] in READERS}
    for result in results:
        cells = (
            result.reader, engine, f"{result.executions:,}", f"{result.seconds:.0f}", result.coverage or "-",
            str(len(result.findings)), _describe_machine(), time.strftime("%Y-%m-%d"),
        )  # fmt: skip
        rows[result.reader] = f"| {' | '.join(cells)} |"
    table = [_HEAD_ROW, "|---" * _HEAD_ROW.count(" | ") + "|---|", *(rows[name] for name in READERS if name in rows)]
    start, end = (text.index(mark) for mark in _MARKS)
    path.write_text(text[: start + len(_MARKS[0])] + "\n" + "\n".join(table) + "\n" + text[end:], encoding="utf-8")


def _describe_machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print the table, and fail if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=READERS, action="append", help="default: all")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each reader")
    parser.add_argument("--engine", choices=("auto", "atheris", "plain"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", action="store_true", help="try what is kept, and nothing else")
    parser.add_argument("--seeds", type=Path, help="honest inputs written by seeds.py; default: write them anew")
    parser.add_argument("--found", type=Path, default=CORPUS / "found", help="where to keep what is found")
    parser.add_argument("--keep", type=Path, help="keep an input for each way to end there (the plain engine alone)")
    parser.add_argument("--record", type=Path, help="a document whose table the numbers are written into")
    options = parser.parse_args(arguments)
    engine = options.engine
    if engine == "auto":
        engine = "atheris" if find_spec("atheris") else "plain"
    engine = "replay" if options.replay else engine
    results = []
    with TemporaryDirectory(prefix="wsanalyze-fuzz-") as name:
        work = Path(name)
        seeds = options.seeds or work / "seeds"
        if options.seeds is None:
            subprocess.run([sys.executable, str(_HERE / "seeds.py"), str(seeds)], check=True)
        for reader in options.reader or READERS:
            result = fuzz_reader(
                reader, engine, options.seconds, options.seed, seeds, options.found, work, options.keep
            )
            results.append(result)
            print(summarise([result]).split("\n", 1)[1], file=sys.stderr, flush=True)
            if options.record:
                record([result], engine, options.record)
    print(summarise(results))
    return 1 if any(result.findings for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
