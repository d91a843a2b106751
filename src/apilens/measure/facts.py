"""What the calls of a quarter of a day say beside their counts: which instances wrote, whose clocks disagree, and friction.

Facts of a block follow from its own calls and half an hour around it, so they are made once and kept.
"""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

import duckdb
import polars as pl

from apilens.arrow import frame
from apilens.measure.signals import BLOCK_H
from apilens.schema import TIMESTAMP, table

#: One row per (instance, 5 minutes) with calls. node, gateway: "" where not known.
INSTANCES = table(
    {"environment": pl.String, "node": pl.String, "gateway": pl.String, "bin_start": TIMESTAMP, "calls": pl.Int64}
)
#: One row per (block, pair of instances) whose clocks disagree by more than LEAST_SKEW_S, told from calls that both logged.
SKEW = table(
    {
        "block": TIMESTAMP,
        "environment": pl.String,
        "outer_node": pl.String,  # whose call holds the other's
        "inner_node": pl.String,
        "pairs": pl.Int64,
        "ahead_s": pl.Float64,  # the inner clock is ahead by at least this, for three quarters of the pairs
        "behind_s": pl.Float64,
        "offset_s": pl.Float64,  # inner clock minus outer clock, at best guess
    }
)
#: Logs are often stamped to the second, at the end as well as at the start.
LEAST_SKEW_S = 2.0


def instances(connection: duckdb.DuckDBPyConnection, first: datetime, end: datetime) -> pl.DataFrame:
    """INSTANCES of [first, end); connection: has the view `calls`."""
    query = files("apilens.measure").joinpath("instances.sql").read_text(encoding="utf-8")
    rows = frame(connection.sql(query, params={"first": first, "end": end}))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in INSTANCES.items())


def skew(connection: duckdb.DuckDBPyConnection, first: datetime, end: datetime) -> pl.DataFrame:
    """SKEW of the whole blocks in [first, end); connection: has the view `calls`."""
    query = files("apilens.measure").joinpath("skew.sql").read_text(encoding="utf-8").replace("{hours}", str(BLOCK_H))
    rows = frame(connection.sql(query, params={"first": first, "end": end, "least": LEAST_SKEW_S}))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in SKEW.items())
