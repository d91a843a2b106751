"""What is no endpoint: paths that do not exist, whose 404 is somebody who looks around, and refusals of what was no HTTP request."""

from __future__ import annotations

import polars as pl


def existing(abnormal: pl.DataFrame, rows: pl.DataFrame, endpoints: pl.DataFrame) -> pl.DataFrame:
    """Anomalies (detect.anomalies.ANOMALIES) without 404 on endpoints that had no call below 400 until then, and without any 4xx where
    these calls have neither method nor path: a gateway logs TLS on a plain port, cut connections and binary junk like that.

    A path that is missing since a go-live is a standing fault, and stays. rows, endpoints: as baseline.fleet returns them.
    """
    nameless = endpoints.filter(pl.col("method").is_null() & pl.col("route").is_null())["endpoint"]
    junk = pl.col("status_code").is_between(400, 499) & pl.col("endpoint").is_in(nameless.to_list())
    missing = (((pl.col("status_code") == 404) & (pl.col("detector") != "standing")) | junk).fill_null(False)
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
