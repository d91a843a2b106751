"""Rejected lines fed once more, with another layout: what fits now is stored, and leaves the rejects in the same commit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from apilens.errors import FormatError
from apilens.formats import Options, detect
from apilens.formats.block import Block, parse
from apilens.ingest.enrich import Declared, enrich
from apilens.ingest.forget import tombstone
from apilens.ingest.pieces import Origin
from apilens.ingest.redact import Redactor
from apilens.ingest.rollup import finish_rollups, roll_up
from apilens.lake import Lake, Unit
from apilens.schema import CALLS, REJECTS
from apilens.version import __version__


@dataclass(frozen=True)
class Refed:
    """read = stored + filtered + still_rejected. filtered: lines that turned out to be no calls; they leave the rejects too."""

    read: int
    stored: int
    filtered: int
    still_rejected: pl.DataFrame


def refeed(lake: Lake, options: Options, inputs: tuple[str, ...], *, now: datetime) -> Refed:
    """Parse the lake's rejects again as `options` say; a line that fits is stored exactly once, however often this runs.

    inputs: only rejects of these inputs; empty: all. Raises FormatError when nothing fits.
    """
    with lake.lock("commit"):
        finish_rollups(lake)  # a later run would take those of what is fed here for what was fed before
        pending = lake.rejects()
        if inputs:
            pending = pending.filter(pl.col("source_file").is_in(inputs))
        ledger = lake.ledger().select("unit_id", "source", "environment")
        sources = {unit: Origin(*rest) for unit, *rest in ledger.iter_rows()}
        units: list[Unit] = []
        still = [pending.clear()]
        for (unit_id,), rows in pending.group_by("unit_id", maintain_order=True):
            try:
                unit, left = _refeed_unit(lake, rows, str(unit_id), sources[str(unit_id)], options, now)
            except FormatError:
                unit, left = None, rows
            still.append(left)
            units += [unit] if unit is not None else []
        if pending.height and not units:
            raise FormatError(
                f"none of the {pending.height} rejects fits; the first: {still[1]['reason'][0]}. Nothing was changed; see them with:"
                " apilens rejects, and give the layout they have: apilens rejects --refeed --log-format LAYOUT"
            )
        lake.commit(units)
    stored = sum(int(unit.entry["stored"]) for unit in units)
    left = pl.concat(still)
    return Refed(pending.height, stored, pending.height - stored - left.height, left)


def _refeed_unit(
    lake: Lake, rows: pl.DataFrame, parent: str, origin: Origin, options: Options, now: datetime
) -> tuple[Unit | None, pl.DataFrame]:
    """The unit of those rejects of unit `parent` that fit now (None: none does), and the others with their new reason."""
    # A record that a wrapper held may span lines; here each is one.
    block = Block(b"".join(raw.replace(b"\n", b" ") + b"\n" for raw in rows["raw"].to_list()))
    name = str(rows["source_file"][0])
    found = detect(block, options, name)
    declared = Declared(name, origin.environment, origin.source or None)
    # The raw lines are masked; what an escape still hid in them is masked now.
    part = enrich(parse(block, found.reader), block, declared, Redactor(lake.masking_key))
    numbered = rows.with_row_index("row")
    left = (
        numbered.drop("reason")
        .join(part.rejects.select("row", "reason"), on="row", how="inner")
        .select(REJECTS.names())
    )
    settled = numbered.join(part.rejects, on="row", how="anti")
    if settled.is_empty():
        return None, left
    calls = part.calls.select(pl.exclude("source_offset"))
    if (forgotten := tombstone(lake)) and calls.height:
        calls = calls.filter(~forgotten.buried(calls))
    calls = calls.join(numbered.select("row", "source_offset"), on="row", how="left")
    keys = ",".join(
        f"{offset}.{record}" for offset, record in settled.select("source_offset", "record").sort(pl.all()).rows()
    )
    unit_id = hashlib.sha256(f"refeed:{parent}:{keys}".encode()).hexdigest()
    # The same lines may have been re-fed before, and dropped again when their unit was replaced.
    attempt = (lake.table("calls").transaction_version(unit_id) or 0) + 1
    missing = [pl.lit(None, dtype).alias(column) for column, dtype in CALLS.items() if column not in calls.columns]
    calls = calls.with_columns(missing).with_columns(pl.lit(unit_id).alias("unit_id"))
    calls = calls.select(pl.col(column).cast(dtype) for column, dtype in CALLS.items())
    resolved = settled.select("source_file", "source_offset", "record").with_columns(
        unit_id=pl.lit(unit_id),
        attempt=pl.lit(attempt),
        resolves_unit_id=pl.lit(parent),
        format=pl.lit(found.reader.layouts[0].gateway),
    )
    resolutions = pl.concat([REJECTS.to_frame(), resolved], how="diagonal_relaxed").select(
        pl.col(column).cast(dtype) for column, dtype in REJECTS.items()
    )
    entry = {
        "unit_id": unit_id,
        "attempt": attempt,
        "source": origin.source,
        "environment": origin.environment,
        "input": name,
        "format": found.reader.layouts[0].gateway,
        "log_format": found.layout,
        "offset": int(rows["source_offset"][0]),
        # Its lines and bytes were counted with the unit that rejected them.
        "bytes": 0,
        "head_sha256": unit_id,
        "lines": 0,
        "header": 0,
        "blank": 0,
        "record_lines": 0,
        "read": settled.height,
        "stored": calls.height,
        "rejected": 0,
        "filtered": settled.height - calls.height,
        "first_start_time": calls["start_time"].min(),
        "last_start_time": calls["start_time"].max(),
        "ingested_at": now,
        "apilens_version": __version__,
    }
    files = (
        lake.write("calls", calls, unit_id, attempt),
        lake.write("rollups", roll_up(calls, unit_id), unit_id, attempt),
        lake.write("rejects", resolutions, unit_id, attempt),
    )
    return Unit(entry, *files), left
