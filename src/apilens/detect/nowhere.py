"""Paths that do not exist: 404 on what never answered anything else is somebody who looks around, and no endpoint that broke."""

from __future__ import annotations

import polars as pl


def existing(abnormal: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Anomalies (detect.anomalies.ANOMALIES) without 404 on endpoints that had no call below 400 until then.

    What is missing since a go-live is a standing fault, and stays. rows: as baseline.fleet returns them.
    """
    missing = ((pl.col("status_code") == 404) & (pl.col("detector") != "standing")).fill_null(False)
    asked = abnormal.lazy().filter(missing).select(pl.col("endpoint").unique())
    first = (
        rows.lazy()
        .filter(pl.col("status_code") < 400)
        .select(pl.col("endpoint").cast(pl.Int64), "bin")
        .join(asked, on="endpoint", how="semi")
        .group_by("endpoint")
        .agg(pl.col("bin").min().alias("answered"))
        .collect()
    )
    return (
        abnormal.join(first, on="endpoint", how="left", maintain_order="left")
        .filter(~missing | (pl.col("answered") < pl.col("bin")).fill_null(False))
        .drop("answered")
    )
