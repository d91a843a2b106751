"""Rejected lines fed once more, with another layout: what fits now is stored, and leaves the rejects in the same commit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from apilens import __version__
from apilens.formats import Options, detect
from apilens.formats.block import Block, parse
from apilens.ingest.enrich import Declared, enrich
from apilens.ingest.rollup import roll_up
from apilens.lake import Lake, Unit
from apilens.schema import CALLS, REJECTS


@dataclass(frozen=True)
class Refed:
    """How many rejected lines were read again, and how many of them are stored now; still_rejected: row per other line."""

    read: int
    stored: int
    still_rejected: pl.DataFrame


def refeed(lake: Lake, options: Options, inputs: tuple[str, ...], *, now: datetime) -> Refed:
    """Parse the lake's rejects again as `options` say; a line that fits is stored exactly once, however often this runs.

    inputs: only rejects of these inputs; empty: all. Raises FormatError when nothing fits.
    """
    with lake.lock("commit"):
        pending = lake.rejects()
        if inputs:
            pending = pending.filter(pl.col("source_file").is_in(inputs))
        if pending.is_empty():
            return Refed(0, 0, pending)
        environments = dict(lake.ledger().select("unit_id", "environment").iter_rows())
        units, still = [], []
        for (origin,), rows in pending.group_by("unit_id", maintain_order=True):
            unit, left = _refeed_unit(lake, rows, str(origin), environments[str(origin)], options, now)
            still.append(left)
            units += [unit] if unit is not None else []
        lake.commit(units)
    left = pl.concat(still)
    return Refed(pending.height, pending.height - left.height, left)


def _refeed_unit(
    lake: Lake, rows: pl.DataFrame, origin: str, environment: str, options: Options, now: datetime
) -> tuple[Unit | None, pl.DataFrame]:
    """The unit of those rejects of unit `origin` that fit now (None: none does), and the others with their new reason."""
    block = Block(b"".join(raw + b"\n" for raw in rows["raw"].to_list()))
    name = str(rows["source_file"][0])
    layouts = detect(block, options, name).layouts
    part = enrich(parse(block, layouts), block, Declared(name, environment))
    numbered = rows.with_row_index("row")
    left = numbered.drop("reason").join(part.rejects, on="row", how="inner").select(REJECTS.names())
    if part.calls.is_empty():
        return None, left
    places = numbered.select("row", "source_offset")
    calls = part.calls.drop("source_offset").join(places, on="row", how="left")
    keys = ",".join(map(str, sorted(calls["source_offset"].to_list())))
    unit_id = hashlib.sha256(f"refeed:{origin}:{keys}".encode()).hexdigest()
    missing = [pl.lit(None, dtype).alias(column) for column, dtype in CALLS.items() if column not in calls.columns]
    calls = calls.with_columns(missing).with_columns(pl.lit(unit_id).alias("unit_id"))
    calls = calls.select(pl.col(column).cast(dtype) for column, dtype in CALLS.items())
    resolved = calls.select("source_file", "source_offset").with_columns(
        unit_id=pl.lit(unit_id), attempt=pl.lit(1), resolves_unit_id=pl.lit(origin), format=pl.lit(layouts[0].gateway)
    )
    resolutions = pl.concat([REJECTS.to_frame(), resolved], how="diagonal_relaxed").select(
        pl.col(column).cast(dtype) for column, dtype in REJECTS.items()
    )
    entry = {
        "unit_id": unit_id,
        "attempt": 1,
        "source": "",
        "environment": environment,
        "input": name,
        "format": layouts[0].gateway,
        "log_format": layouts[0].text,
        "offset": int(rows["source_offset"][0]),
        # Its lines and bytes were counted with the unit that rejected them.
        "bytes": 0,
        "head_sha256": unit_id,
        "lines": 0,
        "header": 0,
        "blank": 0,
        "read": calls.height,
        "stored": calls.height,
        "rejected": 0,
        "filtered": 0,
        "first_start_time": calls["start_time"].min(),
        "last_start_time": calls["start_time"].max(),
        "ingested_at": now,
        "apilens_version": __version__,
    }
    files = (
        lake.write("calls", calls, unit_id, 1),
        lake.write("rollups", roll_up(calls), unit_id, 1),
        lake.write("rejects", resolutions, unit_id, 1),
    )
    return Unit(entry, *files), left
