"""Which endpoints there are, by the calls and by the document: undocumented, unused, deprecated ones, and those in use."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens.schema import TIMESTAMP, table

#: What an endpoint is, the first that holds.
STATUSES = ("undocumented", "deprecated", "unused", "not_found", "in_use")

#: One row per (environment, endpoint), and one per documented operation that nobody ever called; by status, most called first.
INVENTORY = table(
    {
        "status": pl.String,  # STATUSES
        "environment": pl.String,  # null: never called
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,  # of an operation that was never called its documented path
        "operation_id": pl.String,  # null: no document has it, or it gives none
        "calls": pl.Int64,  # in the window
        "consumers": pl.Int64,  # known ones, in the window
        "top_consumer": pl.String,  # who calls it most; null: nobody known
        "first_seen": TIMESTAMP,  # in all of the lake; null: never
        "last_seen": TIMESTAMP,
        "because": pl.String,
    }
)
_VERSION = r"/v(\d{1,3})(/|$)"


def inventory(connection: duckdb.DuckDBPyConnection, *, window: str, operations: pl.DataFrame) -> pl.DataFrame:
    """INVENTORY of the calls of real use, and of the operations documented.

    connection: has the view `calls`, its routes named as documented. window: SQL condition on `calls`. operations: method,
    route, operation_id, path, deprecated, one row per spelling of an operation; empty: no document, and nothing counts as
    undocumented.

    undocumented: called in the window, and no document has the method and route. deprecated: called in the window although the
    document says so, or although the same route is called with a higher version. unused: documented or once called, and not
    called in the window. not_found: never answered with anything but 404 or 405: a mistyped path and no endpoint.
    """
    query = files("apilens.measure").joinpath("inventory.sql").read_text(encoding="utf-8").format(window=window)
    seen: pl.DataFrame = connection.sql(query).pl()
    rows = seen.join(operations, on=["method", "route"], how="left").with_columns(
        documented=pl.col("path").is_not_null(),
        methods=pl.col("route").is_in(operations["route"].implode()),
        version=pl.col("route").str.extract(_VERSION, 1).cast(pl.Int64),
        family=pl.col("route").str.replace(_VERSION, "/v*$2"),
    )
    in_use = (pl.col("calls") > 0) & pl.col("found")
    newest = pl.when(in_use).then("version").max().over("environment", "service", "method", "family")
    rows = rows.with_columns(newest=pl.when(pl.col("version") < newest).then(newest))
    has_document = operations.height > 0
    undocumented = in_use & ~pl.col("documented") & has_document
    old = pl.col("deprecated").fill_null(False)
    rows = rows.with_columns(
        status=pl.when(~pl.col("found") & ~pl.col("documented"))
        .then(pl.lit("not_found"))
        .when(undocumented)
        .then(pl.lit("undocumented"))
        .when((pl.col("calls") > 0) & (old | pl.col("newest").is_not_null()))
        .then(pl.lit("deprecated"))
        .when(pl.col("calls") == 0)
        .then(pl.lit("unused"))
        .otherwise(pl.lit("in_use")),
        because=pl.when(~pl.col("found") & ~pl.col("documented"))
        .then(pl.lit("answered with nothing but 404 and 405"))
        .when(undocumented & pl.col("methods"))
        .then(pl.lit("the document has the path, with another method"))
        .when(undocumented)
        .then(pl.lit("no document has it"))
        .when((pl.col("calls") > 0) & old)
        .then(pl.lit("the document says deprecated"))
        .when((pl.col("calls") > 0) & pl.col("newest").is_not_null())
        .then(pl.format("version {} of it is in use", "newest"))
        .when(pl.col("calls") == 0)
        .then(pl.lit("not called in the window")),
    )
    called = rows.filter("documented").select("method", "path")
    never = (
        operations.unique(["method", "path"], keep="first", maintain_order=True)
        .join(called, on=["method", "path"], how="anti")
        .select(
            "method",
            "operation_id",
            route="path",
            status=pl.lit("unused"),
            calls=pl.lit(0),
            consumers=pl.lit(0),
            because=pl.when("deprecated")
            .then(pl.lit("documented as deprecated, never called"))
            .otherwise(pl.lit("documented, never called")),
        )
    )
    rank = pl.col("status").replace_strict({name: place for place, name in enumerate(STATUSES)}, return_dtype=pl.Int64)
    return (
        pl.concat([rows, never], how="diagonal_relaxed")
        .sort(rank, -pl.col("calls"), "environment", "service", "route", "method", nulls_last=True)
        .select(pl.col(name).cast(dtype) for name, dtype in INVENTORY.items())
    )
