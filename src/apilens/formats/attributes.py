"""What a record holds beside its columns, as the map `attributes`. Whatever the format, all of it passes through here: so here
a call's gRPC status becomes its status_code."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from apilens import arrow
from apilens.formats.grpc import http_status, is_grpc_status, judged

#: One row per attribute of a record.
EXTRAS = pl.Schema({"row": pl.UInt32, "key": pl.String, "value": pl.String})


def add_attributes(calls: pl.DataFrame, extras: pl.DataFrame) -> pl.DataFrame:
    """Calls with EXTRAS rows added to their attributes; a key that an attribute has already is not taken twice."""
    told = [key for key in extras["key"].unique() if is_grpc_status(key)]
    if told:
        of = extras.filter(pl.col("key").is_in(told)).group_by(pl.col("row").cast(pl.UInt32))
        calls = calls.join(of.agg(told=http_status(pl.col("value")).max()), on="row", how="left", maintain_order="left")
        calls = judged(calls, pl.col("told")).drop("told")
    if "attributes" in calls.columns:
        entry = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
        own = calls.select("row", pl.col("attributes").cast(entry).alias("entry")).drop_nulls("entry")
        own = own.explode("entry").unnest("entry")
        extras = pl.concat([own, extras], how="diagonal_relaxed").unique(
            ["row", "key"], keep="first", maintain_order=True
        )
        calls = calls.drop("attributes")
    folded = (
        extras.group_by("row", maintain_order=True)
        .agg(pl.struct("key", "value").alias("attributes"))
        .with_columns(pl.col("attributes").cast(pl.Map(pl.String, pl.String)), pl.col("row").cast(pl.UInt32))
    )
    return calls.join(folded, on="row", how="left", maintain_order="left")


def gather_attributes(calls: pl.DataFrame) -> pl.DataFrame:
    """Fold the columns `attributes.*` into one map without null entries; null where nothing is left."""
    parts = [name for name in calls.columns if name.startswith("attributes.")]
    if not parts:
        return calls
    if told := [http_status(pl.col(name)) for name in parts if is_grpc_status(name.removeprefix("attributes."))]:
        calls = judged(calls, pl.max_horizontal(told))
    # Row by row by way of one gather: concat_list takes twenty times as long.
    values = [calls[name].cast(pl.String) for name in parts]
    filled = np.column_stack([value.is_not_null().to_numpy() for value in values])
    row, column = np.nonzero(filled)
    keys = pl.Series([name.removeprefix("attributes.") for name in parts]).gather(column)
    entries = pl.DataFrame({"key": keys, "value": pl.concat(values, rechunk=True).gather(column * calls.height + row)})
    counts = filled.sum(axis=1)
    lists = pa.LargeListArray.from_arrays(
        np.concatenate(([0], np.cumsum(counts))),
        entries.to_struct().to_arrow(compat_level=pl.CompatLevel.newest()),
        mask=pa.array(counts == 0),
    )
    attributes = arrow.series(lists).alias("attributes").cast(pl.Map(pl.String, pl.String))
    return calls.with_columns(attributes).drop(parts)
