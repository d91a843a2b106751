"""The command line called in this process, with its two streams apart; and what a lake holds, in a form two lakes share."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl

from apilens.cli import run
from apilens.lens import Lens


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def rows(self) -> list[dict[str, Any]]:
        """Of an NDJSON output: only a line feed ends a row, whatever else str.splitlines takes for a line end."""
        return [json.loads(line) for line in self.out.split("\n") if line]


def apilens(*args: object, stdin: bytes = b"") -> Ran:
    """Run one command line."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    given = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)))  # type: ignore[arg-type]  # BytesIO reads like a raw file
    with mock.patch.object(sys, "stdin", given), redirect_stdout(out), redirect_stderr(err):
        code = run([str(arg) for arg in args])
    streams = []
    for stream in (out, err):
        stream.flush()
        streams.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]  # it is the BytesIO above
    return Ran(int(code), *streams)


def ingest(lake: Path, *args: object, stdin: bytes = b"") -> dict[str, Any]:
    """`apilens ingest --json`: its object, whose equations must hold whatever was read."""
    ran = apilens("ingest", "--lake", lake, "--json", *args, stdin=stdin)
    assert ran.out, ran.err
    done: dict[str, Any] = ran.json()
    for part in (done, *done["inputs"]):
        assert part["read"] == part["stored"] + part["rejected"] + part["filtered"] + part["duplicate"], part
        assert part["lines"] == part["record_lines"] + part["header"] + part["blank"], part
    assert done["exit_code"] == ran.code
    return done


#: Columns in which two lakes of the same data differ: how the data were cut, and under which name they came.
_HOW = ("unit_id", "source_file", "source_offset")


def calls(lake: Path, *, how: bool = False) -> list[str]:
    """Every committed call as text, sorted; how: with the columns that say where it came from."""
    rows = Lens(str(lake)).calls().collect()
    return sorted((rows if how else rows.drop(_HOW)).write_ndjson().splitlines())


def totals(lake: Path) -> dict[str, Any]:
    """What a lake holds, apart from how it got there: calls, rollups, ledger and rejects, each also counted by SQL."""
    lens = Lens(str(lake))
    keys = ["bin_start", "environment", "service", "method", "route", "status_code", "synthetic_type"]
    lists = [pl.col("minute_calls").list.get(i).sum().alias(f"m{i}") for i in range(5)]
    sums = ["calls", "durations", "response_bytes"]
    rollups = lens.rollups().group_by(keys).agg(pl.col(sums).sum(), *lists).sort(keys).collect()
    ledger = "SELECT sum(read), sum(stored), sum(rejected), sum(filtered), sum(lines), sum(bytes) FROM ingests"
    stored, rejects = calls(lake), lens.lake.rejects()
    with lens.connect() as connection:
        counts = connection.sql(
            "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM rejects),"
            " (SELECT coalesce(sum(calls), 0) FROM rollups), (SELECT count(*) - count(DISTINCT unit_id) FROM ingests)"
        ).fetchall()
        ledger_sums = connection.sql(ledger).fetchall()
    assert counts == [(len(stored), rejects.height, len(stored), 0)]
    return {
        "calls": stored,
        "rollups": rollups.write_ndjson(),
        "ledger": ledger_sums,
        "rejects": sorted(rejects["raw"].to_list()),
    }


def names(found: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in found]
