"""A copy in the making: an archive still being compressed, an upload on its way. It ends before the unit that it is a copy of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from apilens.lake import Lake, Unit
from apilens.lake.tables import TABLES, DataFile, Table
from apilens.schema import CALLS
from apilens.window import ALWAYS, Window

#: What a line says of its call; besides, each must stand at the same place. Two servers' logs may differ in their names alone.
_SAID = [name for name in CALLS if name not in ("unit_id", "source_file", "source_offset", "route", "synthetic_type")]


def is_beginning(lake: Lake, unit: Unit, known: Mapping[str, Any]) -> bool:
    """Whether a unit that is not committed holds the same calls and rejects, place by place, as a committed one up to there.

    known: its row of the ledger. True where the unit holds neither: nothing is lost by looking at it again when there is more, and
    as a unit of its own (of headers alone) it would hide from a longer copy where that begins.
    """
    made = unit.entry
    if not made["stored"] and not made["rejected"]:
        return True
    if not may_be_beginning(made, known):
        return False
    end = int(made["bytes"])
    window = ALWAYS
    if known["stored"]:
        window = Window(known["first_start_time"], known["last_start_time"] + timedelta(microseconds=1))
    theirs = {"calls": lake.scan("calls", window), "rejects": lake.committed("rejects").lazy()}
    ours = {"calls": _written(lake, "calls", unit.calls), "rejects": _written(lake, "rejects", unit.rejects)}
    of_it = (pl.col("unit_id") == known["unit_id"]) & (pl.col("source_offset") < known["offset"] + end)
    return all(
        _placed(ours[name], made["offset"], said).equals(_placed(theirs[name].filter(of_it), known["offset"], said))
        for name, said in (("calls", _SAID), ("rejects", ["record", "raw"]))
    )


def may_be_beginning(made: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether what the ledger says of two units lets the one be the beginning of the other."""
    if made["stored"] > known["stored"] or made["rejected"] > known["rejected"]:
        return False
    return not made["stored"] or bool(
        known["first_start_time"] <= made["first_start_time"] and made["last_start_time"] <= known["last_start_time"]
    )


def _written(lake: Lake, name: Table, files: Sequence[DataFile]) -> pl.LazyFrame:
    """The rows of files that nobody sees yet."""
    if not files:
        return TABLES[name].to_frame().lazy()
    return lake.scan_files(name, [lake.storage.uri(f"{name}/{file.path}") for file in files])


def _placed(rows: pl.LazyFrame, begin: int, said: Sequence[str]) -> pl.DataFrame:
    """What rows say, and where in their piece (which begins at `begin`) each stands."""
    placed = rows.select(pl.col("source_offset") - begin, *said).collect()
    return placed.sort(pl.exclude("attributes"))  # a map has no order
