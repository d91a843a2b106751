"""What carries a change: which values of which dimension have more of it than their share of the traffic."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib.resources import files

import duckdb
import polars as pl

from apilens.arrow import frame
from apilens.schema import table

#: One row per (dimension, value), those that carry the change first. What was not logged is the value "".
CARRIERS = table(
    {
        "dimension": pl.String,  # consumer | node | upstream | address | endpoint | status | client | http_version | host | version
        "value": pl.String,
        "calls_before": pl.Int64,  # in the same endpoints on the day before
        "calls": pl.Int64,  # in the window
        "measure_before": pl.Float64,  # errors: share of these calls; latency: geometric mean in ms; traffic: calls per hour
        "measure": pl.Float64,
        "excess": pl.Float64,  # calls above (latency: log ms above, traffic: calls more or fewer than) the day before
        "excess_share": pl.Float64,  # of the excess of all values of the dimension, 0..1
        "traffic_share": pl.Float64,  # of the calls, 0..1
        "p": pl.Float64,  # chance of so much of it (see explain) by its share of the traffic, times the values looked at, at most 1
        "carries": pl.Boolean,
    }
)
SIGNIFICANT = 0.01
#: As incidents.HINT_EXCESS: who has nearly all of it is named; below that only beside others.
LARGE_SHARE = 0.5


def explain(
    connection: duckdb.DuckDBPyConnection,
    *,
    environment: str,
    endpoints: list[str],
    signal: str,
    status: int | None,
    start: datetime,
    end: datetime,
) -> pl.DataFrame:
    """CARRIERS of a change of some endpoints in [start, end) against the day before.

    signal: schema.SIGNALS; status: the code of errors. A value carries the change when it has at least half of the excess,
    more than its share of the calls, and that is beyond chance: one-sided binomial tail, Bonferroni over all values of all
    dimensions that were tested. Of errors and latency the excess is held against the share of the calls; of traffic, where the
    excess is the small difference of two large numbers, all calls of the window (fewer, or more) against the share in the day before.
    A dimension with a single value explains nothing. Source: as Adtributor's (Bhagwan et al.,
    NSDI 2014) explanatory power and surprise, with a test in place of its thresholds.
    """
    params = {
        "environment": environment,
        "endpoints": endpoints,
        "status": status,
        "kind": signal,
        "before": start - timedelta(days=1),
        "start": start,
        "end": end,
    }
    query = files("apilens.measure").joinpath("explain.sql").read_text(encoding="utf-8")
    rows = frame(connection.sql(query, params=params))
    if status is not None:
        # Whatever fails with this code, has this code.
        rows = rows.filter(pl.col("dimension") != "status")
    hours = max((end - start).total_seconds() / 3600, 1e-9)
    base = float(rows["hit_before"].sum()) / max(float(rows["calls_before"].sum()), 1.0)
    if signal == "traffic":
        change = pl.col("calls") - pl.col("calls_before") * hours / 24
        direction = 1 if float(rows.select(change.sum()).item() or 0.0) >= 0 else -1
        excess, before, now = change * direction, pl.col("calls_before") / 24, pl.col("calls") / hours
        traffic = pl.col("calls_before") if direction < 0 else pl.col("calls_before") + 1
    elif status is not None:
        # A value without a past is held against the past of all.
        usual = (pl.col("hit_before") + 10 * base) / (pl.col("calls_before") + 10)
        excess, traffic = pl.col("hit") - pl.col("calls") * usual, pl.col("calls")
        before, now = pl.col("hit_before") / pl.col("calls_before"), pl.col("hit") / pl.col("calls")
    else:
        known = pl.col("hit_before") > 0
        usual = (
            pl.when(known)
            .then("log_ms_before")
            .otherwise(
                (pl.col("log_ms_before") * pl.col("hit_before")).sum().over("dimension")
                / pl.col("hit_before").sum().over("dimension").clip(1)
            )
        )
        excess, traffic = (pl.col("log_ms") - usual) * pl.col("hit"), pl.col("hit")
        before, now = (
            pl.when(known).then(pl.col("log_ms_before").exp()),
            pl.when(pl.col("hit") > 0).then(pl.col("log_ms").exp()),
        )
    rows = rows.with_columns(excess=excess.clip(0), traffic=traffic, measure_before=before, measure=now).with_columns(
        excess_share=pl.col("excess") / pl.col("excess").sum().over("dimension"),
        traffic_share=pl.col("traffic") / pl.col("traffic").sum().over("dimension"),
        total=pl.col("excess").sum().over("dimension"),
        values=pl.len().over("dimension"),
    )
    rows = rows.with_columns(pl.col("excess_share", "traffic_share", "measure_before", "measure").fill_nan(None))
    import numpy as np  # as below: who only counts endpoints imports this module too
    from scipy.special import betainc  # takes half a second to import

    # A log duration varies by about 1: a few calls of one consumer are no proof.
    hits = np.floor(rows["excess"].fill_null(0.0).to_numpy())
    n = np.maximum(np.ceil(rows["total"].fill_null(0.0).to_numpy()), hits)
    traffic_share = rows["traffic_share"].fill_null(0.0).to_numpy()
    if signal == "traffic":
        hits, n = rows["calls"].to_numpy(), rows.select(pl.col("calls").sum().over("dimension")).to_series().to_numpy()
    if signal == "traffic" and direction < 0:
        p = np.where(n > hits, betainc(np.maximum(n - hits, 1), hits + 1, 1 - traffic_share), 1.0)
    else:
        p = np.where(hits >= 1, betainc(np.maximum(hits, 1), np.maximum(n - hits + 1, 1), traffic_share), 1.0)
    tested = int((rows["values"] > 1).sum())
    carries = (
        (pl.col("p") < SIGNIFICANT)
        & (pl.col("excess_share") >= LARGE_SHARE)
        & (pl.col("excess_share") > pl.col("traffic_share"))
        & (pl.col("values") > 1)
        & (pl.col("value") != "")
    )
    return (
        rows.with_columns(p=pl.Series(np.minimum(np.nan_to_num(p, nan=1.0) * max(tested, 1), 1.0)))
        .with_columns(carries=carries.fill_null(False))
        .sort("carries", "excess_share", "dimension", "value", descending=[True, True, False, False], nulls_last=True)
        .select(pl.col(name).cast(dtype) for name, dtype in CARRIERS.items())
    )
