"""A `ChangeSeries` as tables of a run file: its records, rows, pairs and states. Its sums are there already."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from wsanalyze.metrics import FloatArray, Span
from wsanalyze.series import (
    ChangeSeries,
    CheckpointRecord,
    Event,
    Kind,
    Provenance,
    Row,
    Skip,
    State,
    StateArray,
    TrainingLog,
)
from wsanalyze.spans import Changes, Pair, list_pairs
from wsanalyze.store.database import SUM_COLUMNS, checksum_sums, decode_text, encode_text, get_meta, put_meta
from wsanalyze.sums import SUM_NAMES, Sums

_TABLES: Final = ("checkpoints", "layers", "pairs", "states", "skips", "events")
_CELLS_QUERY: Final = f"""
SELECT layers.position, pairs.position, cells.tensor, cells.before, cells.after, checksum, {SUM_COLUMNS}
FROM pairs JOIN checkpoints b ON b.position = pairs.before JOIN checkpoints a ON a.position = pairs.after
JOIN cells ON cells.before = b.side AND cells.after = a.side JOIN layers ON layers.tensor = cells.tensor
"""  # noqa: S608 - own column names
_NORMS_QUERY: Final = """
SELECT layers.position, pairs.position, norms.tensor, norms.before, norms.after, norms.checksum,
       norm2_delta, norm2_before, relative_error
FROM pairs JOIN checkpoints b ON b.position = pairs.before JOIN checkpoints a ON a.position = pairs.after
JOIN norms ON norms.before = b.side AND norms.after = a.side JOIN layers ON layers.tensor = norms.tensor
"""
_SPAN_QUERY: Final = f"SELECT tensor, before, after, checksum, {SUM_COLUMNS} FROM cells WHERE before = ? AND after = ?"  # noqa: S608 - own column names


def write_series(
    database: sqlite3.Connection, series: ChangeSeries, sides: Sequence[int | None], tensors: Sequence[int]
) -> None:
    """Write down what the sequence is, in the transaction at hand.

    Args:
        database: The database of the run file.
        series: The series; its sums are not looked at.
        sides: For each checkpoint the number of its side, or None where it takes no part.
        tensors: For each row the number of its tensor.
    """
    for table, rows in _to_tables(series, sides, tensors).items():
        database.execute(f"DELETE FROM {table}")  # noqa: S608 - own table names
        if rows:
            places = ", ".join("?" * len(rows[0]))
            database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
    provenance = json.dumps(_provenance_to_json(series.provenance))
    put_meta(database, "provenance", provenance)
    digest = _digest(_read_tables(database), provenance)
    put_meta(database, "digest", digest)
    log = json.dumps(_log_to_json(series.log, digest))
    put_meta(database, "log", log)
    put_meta(database, "log digest", _digest({}, log))
    spans = json.dumps(_spans_to_json(series.spans, digest))
    put_meta(database, "spans", spans)
    put_meta(database, "spans digest", _digest({}, spans))


def forget_series(database: sqlite3.Connection) -> None:
    """Mark the series as unfinished: cells of it are about to go."""
    database.execute("DELETE FROM meta WHERE key = 'provenance'")


def read_series(database: sqlite3.Connection) -> ChangeSeries | None:
    """The series as it was last written down, with its sums; None where no analysis has ended.

    Raises:
        ValueError: If what is read is not what was written.
    """
    provenance = get_meta(database, "provenance")
    if provenance is None:
        return None
    tables = _read_tables(database)
    digest = _digest(tables, provenance)
    if digest != get_meta(database, "digest"):
        raise ValueError("its tables are not those that were written")
    rows = tuple(
        Row(decode_text(name), decode_text(module), decode_text(block), Kind(kind), depth, tuple(json.loads(shape)))
        for _, name, module, block, kind, depth, shape, _ in tables["layers"]
    )
    shape = (len(rows), len(tables["pairs"]))
    states = np.full(shape, None, dtype=object)
    for layer, pair, state in tables["states"]:
        states[layer, pair] = State(state)
    sums = _read_sums(database, *shape)
    pairs = tuple((before, after) for _, before, after in tables["pairs"])
    spans = {
        span: Changes(_read_span_sums(database, list_pairs(span, pairs), tables), found)
        for span, found in _read_span_states(database, digest, states).items()
    }
    for changes in (Changes(sums, states), *spans.values()):
        num_lost = int((~changes.measured & (changes.states == None)).sum())  # noqa: E711 - elementwise
        if num_lost:
            raise ValueError(f"{num_lost} measured cells are gone")
    return ChangeSeries(
        checkpoints=tuple(
            CheckpointRecord(step, decode_text(label), decode_text(origin), status, decode_text(reason), form, nbytes)
            for _, step, label, origin, status, reason, form, nbytes, _ in tables["checkpoints"]
        ),
        rows=rows,
        pairs=pairs,
        sums=sums,
        states=states,
        skips=tuple(Skip(decode_text(name), decode_text(reason)) for _, name, reason in tables["skips"]),
        events=tuple(
            Event(kind, decode_text(layer), checkpoint, decode_text(text), json.loads(evidence))
            for _, kind, layer, checkpoint, text, evidence in tables["events"]
        ),
        provenance=_provenance_from_json(json.loads(provenance)),
        log=_read_log(database, digest, len(tables["checkpoints"])),
        spans=spans,
        norms=_read_norms(database, *shape),
    )


def read_spans(database: sqlite3.Connection) -> dict[Span, list[list[Any]]]:
    """The spans of the series that was last written down: for each, row, change and state of cells that have one.

    Raises:
        ValueError: If what is read is not what was written.
    """
    text = get_meta(database, "spans")
    if text is None:
        return {}
    if _digest({}, text) != get_meta(database, "spans digest"):
        raise ValueError("its spans are not those that were written")
    return {Span(name): states for name, states in json.loads(text)["states"].items()}


def _read_log(database: sqlite3.Connection, digest: str, num_checkpoints: int) -> TrainingLog:
    """The log of the series of that digest; an empty one where there is none, or that of another series.

    Both were so before logs were kept: a program of that time leaves the log of another as it is.
    """
    text = get_meta(database, "log")
    if text is None:
        return TrainingLog()
    if _digest({}, text) != get_meta(database, "log digest"):
        raise ValueError("its log is not the one that was written")
    data = json.loads(text)
    if data["series"] != digest:
        return TrainingLog()
    log = TrainingLog(
        np.array(data["steps"], dtype=np.int64),
        np.array(data["until"], dtype=np.int64),
        {name: np.array(values, dtype=np.float64) for name, values in data["values"].items()},
    )
    if any(len(array) != len(log) for array in (log.until, *log.values.values())) or np.any(
        (log.until < 0) | (log.until >= num_checkpoints)
    ):
        raise ValueError("its log belongs to other checkpoints")
    return log


def _read_span_states(database: sqlite3.Connection, digest: str, states: StateArray) -> dict[Span, StateArray]:
    """States of the spans of the series of that digest; none where they are of another series, as with its log."""
    text = get_meta(database, "spans")
    if text is None or json.loads(text)["series"] != digest:
        return {}
    spans = {}
    for span, cells in read_spans(database).items():
        spans[span] = np.full(states.shape, None, dtype=object)
        for layer, pair, state in cells:
            spans[span][layer, pair] = State(state)
    return spans


def _read_sums(database: sqlite3.Connection, num_rows: int, num_pairs: int) -> Sums:
    found = np.full((num_rows, num_pairs, len(SUM_NAMES)), np.nan)
    for layer, pair, *cell in database.execute(_CELLS_QUERY):
        found[layer, pair] = _check_cell(cell)
    return Sums(found)


def _read_span_sums(
    database: sqlite3.Connection, pairs: Sequence[Pair | None], tables: Mapping[str, list[tuple[Any, ...]]]
) -> Sums:
    layers = {tensor: layer for layer, *_, tensor in tables["layers"]}
    sides = [side for *_, side in tables["checkpoints"]]
    found = np.full((len(layers), len(pairs), len(SUM_NAMES)), np.nan)
    for index, pair in enumerate(pairs):
        for cell in database.execute(_SPAN_QUERY, [sides[place] for place in pair]) if pair else ():
            if cell[0] in layers:
                found[layers[cell[0]], index] = _check_cell(cell)
    return Sums(found)


def _read_norms(database: sqlite3.Connection, num_rows: int, num_pairs: int) -> FloatArray | None:
    """Spectral norms, float64 of shape (L, P, 3), or None where none were measured, or before there was a table."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'norms'").fetchone():
        return None
    found = np.full((num_rows, num_pairs, 3), np.nan)
    for layer, pair, *cell in database.execute(_NORMS_QUERY):
        found[layer, pair] = _check_cell(cell)
    return None if np.isnan(found).all() else found


def _check_cell(cell: Sequence[Any]) -> FloatArray:
    """The sums (or norms) of a cell, of tensor, before, after, checksum and sums as they are stored."""
    *key, checksum = cell[:4]
    values = np.array(cell[4:], dtype=np.float64)
    if checksum != checksum_sums(tuple(key), values):
        raise ValueError("the sums of a cell are not those that were written")
    return values


def _read_tables(database: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {table: database.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in _TABLES}  # noqa: S608


def _digest(tables: dict[str, list[tuple[Any, ...]]], provenance: str) -> str:
    digest = hashlib.blake2b(provenance.encode(), digest_size=16)
    for rows in tables.values():
        digest.update(repr(rows).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _to_tables(
    series: ChangeSeries, sides: Sequence[int | None], tensors: Sequence[int]
) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "checkpoints": [
            (i, c.step, *map(encode_text, (c.label, c.origin, c.status, c.reason, c.format)), c.nbytes, side)
            for i, (c, side) in enumerate(zip(series.checkpoints, sides, strict=True))
        ],
        "layers": [
            (i, *map(encode_text, (r.name, r.module, r.block)), str(r.kind), r.depth, json.dumps(r.shape), tensor)
            for i, (r, tensor) in enumerate(zip(series.rows, tensors, strict=True))
        ],
        "pairs": [(i, *pair) for i, pair in enumerate(series.pairs)],
        "states": [
            (layer, pair, str(state)) for (layer, pair), state in np.ndenumerate(series.states) if state is not None
        ],
        "skips": [(i, encode_text(skip.name), encode_text(skip.reason)) for i, skip in enumerate(series.skips)],
        "events": [
            (i, e.kind, encode_text(e.layer), e.checkpoint, encode_text(e.text), json.dumps(dict(e.evidence)))
            for i, e in enumerate(series.events)
        ],
    }


def _log_to_json(log: TrainingLog, digest: str) -> dict[str, Any]:
    values = {name: [v if np.isfinite(v) else None for v in array.tolist()] for name, array in log.values.items()}
    return {"series": digest, "steps": log.steps.tolist(), "until": log.until.tolist(), "values": values}


def _spans_to_json(spans: Mapping[Span, Changes], digest: str) -> dict[str, Any]:
    states = {
        span: [[*place, state] for place, state in np.ndenumerate(changes.states) if state is not None]
        for span, changes in spans.items()
    }
    return {"series": digest, "states": states}


def _provenance_to_json(provenance: Provenance) -> dict[str, Any]:
    names = ("source", "command", "weights", "params", "notes", "versions")
    return {name: getattr(provenance, name) for name in names}


def _provenance_from_json(data: dict[str, Any]) -> Provenance:
    source, notes = tuple(data["source"]), tuple(data["notes"])
    versions = tuple((str(name), str(version)) for name, version in data.get("versions", ()))  # older files have none
    return Provenance(source, data["command"], data["weights"], data["params"], notes, versions)
