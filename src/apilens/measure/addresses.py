"""For whom, where the log names no consumer: the client addresses behind the affected calls."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

import duckdb
import polars as pl

from apilens.schema import TIMESTAMP, table

#: One row per client address of affected calls that name no consumer, most affected first.
ADDRESSES = table(
    {
        "client_ip": pl.String,  # as the lake stores it; null: the log does not say
        "affected": pl.Int64,  # calls with the status of the errors, answered calls of a latency, else all
        "calls": pl.Int64,  # of the address to the same endpoints in the same time
        "first_affected_at": TIMESTAMP,
    }
)


def addresses(
    connection: duckdb.DuckDBPyConnection,
    *,
    environment: str,
    endpoints: list[str],
    signal: str,
    status: int | None,
    start: datetime,
    end: datetime,
    most: int,
) -> pl.DataFrame:
    """ADDRESSES of some endpoints in [start, end), at most `most` rows.

    connection: has the view `calls`. signal: schema.SIGNALS; status: the code of errors.
    """
    query = files("apilens.measure").joinpath("addresses.sql").read_text(encoding="utf-8")
    found: pl.DataFrame = connection.sql(
        query,
        params={
            "environment": environment,
            "endpoints": endpoints,
            "kind": signal,
            "status": status,
            "start": start,
            "end": end,
            "most": most,
        },
    ).pl()
    return found.select(pl.col(name).cast(dtype) for name, dtype in ADDRESSES.items())
