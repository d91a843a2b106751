"""Implicit signals: what users ran into without an outage, told from the sequence of their calls.

Each signal is one .sql file beside this one, which marks calls (`hit`), and one line in SIGNALS, which says from when on
the marked calls of an endpoint are worth a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files

import duckdb
import polars as pl

from apilens.arrow import frame
from apilens.schema import TIMESTAMP, table


@dataclass(frozen=True)
class Signal:
    """category: schema.CATEGORIES. An endpoint shows the signal from so many marked calls, so large a share of its calls, and
    so many consumers on. says: what it means, in words; {calls}, {share}, {consumers} and {endpoint} are filled in."""

    category: str
    says: str
    least_calls: int = 10
    least_share: float = 0.01
    least_consumers: int = 1


SIGNALS = {
    "retries": Signal("bug", "{calls} calls ({share} of {endpoint}) repeat one that had just failed", least_share=0.02),
    "abandonment": Signal(
        "bug", "{calls} times a consumer stopped working right behind an error of {endpoint}", least_share=0.005
    ),
    "polling": Signal(
        "enhancement",
        "{calls} calls ({share}) ask {endpoint} for the same thing over and over: it lacks an event or a longer answer",
        60,
        0.05,
    ),
    "auth_loop": Signal(
        "configuration",
        "{endpoint} turned {consumers} away in a loop, {calls} times",
        least_share=0.0,
    ),
    "client_mistakes": Signal("training_gap", "{consumers} get {endpoint} wrong, in {share} of its calls", 20, 0.05, 3),
    "quota": Signal(
        "capacity",
        "{calls} calls ({share} of {endpoint}) were refused because {consumers} had used up their quota",
    ),
    "client_aborts": Signal(
        "capacity", "{calls} callers ({share} of {endpoint}) hung up before the answer came", least_share=0.02
    ),
    "old_version": Signal(
        "question",
        "{calls} calls of {consumers} still go to {endpoint}, of which a newer version is in use",
        1,
        0.0,
    ),
}

#: One row per (signal, endpoint), most calls first.
IMPLICIT = table(
    {
        "signal": pl.String,  # name in SIGNALS
        "category": pl.String,
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "calls": pl.Int64,  # marked calls
        "share": pl.Float64,  # of the endpoint's calls, 0..1
        "consumers": pl.Int64,  # known ones with a marked call
        "top_consumer": pl.String,  # null: no consumer is known
        "top_share": pl.Float64,  # of the marked calls that are the top consumer's, 0..1
        "first_seen": TIMESTAMP,
        "last_seen": TIMESTAMP,
        "request_ids": pl.List(pl.String),  # first ones, at most 5
        "says": pl.String,
    }
)


def implicit_signals(connection: duckdb.DuckDBPyConnection, *, window: str) -> pl.DataFrame:
    """IMPLICIT of the calls for which the SQL condition `window` holds, without bots, scanners and health checks.

    connection: has the view `calls`. Who cannot be told apart by consumer shows in no sequence (see identity coverage).
    """
    real = f"FROM calls WHERE synthetic_type IS NULL AND {window}"
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW real_calls AS SELECT *, 0 AS block,"
        f" (SELECT max(start_time) {real}) - INTERVAL 30 MINUTE AS told_until {real}"
    )
    summary = files("apilens.measure.signals").joinpath("summary.sql").read_text(encoding="utf-8")
    found = []
    for name, signal in SIGNALS.items():
        marked = files("apilens.measure.signals").joinpath(f"{name}.sql").read_text(encoding="utf-8")
        rows: pl.DataFrame = connection.sql(
            summary.replace("{marked}", marked),
            params={"calls": signal.least_calls, "share": signal.least_share, "consumers": signal.least_consumers},
        ).pl()
        found.append(rows.with_columns(signal=pl.lit(name), category=pl.lit(signal.category), says=_words(signal)))
    return (
        pl.concat(found, how="vertical_relaxed")
        .select(pl.col(name).cast(dtype) for name, dtype in IMPLICIT.items())
        .sort("calls", "signal", "environment", "service", "method", "route", descending=[True] + [False] * 5)
    )


#: Hours of a block: whatever is told from sequences is judged a quarter of a day at a time.
BLOCK_H = 6
#: Calls before and after a block that its sequences reach into.
REACH = timedelta(minutes=30)
#: Marked calls of a block below which nothing is kept of it.
_LEAST_KEPT = 5
#: Calls among which marked ones can be at all, for signals whose sequences are costly to sort: the others are left out at once.
_AMONG = {
    "retries": "(consumer, path) IN (SELECT consumer, path FROM real_calls WHERE status_code >= 500 OR status_code IN (408, 429))",
    # Ten within ten minutes are five at least within one of the two buckets they touch.
    "auth_loop": "(coalesce(consumer, client_ip), route) IN (SELECT who, route FROM (SELECT coalesce(consumer, client_ip) AS who, route"
    " FROM real_calls WHERE status_code IN (401, 403) GROUP BY 1, 2, time_bucket(INTERVAL 10 MINUTE, start_time) HAVING count(*) >= 5))",
    "old_version": "route IN (SELECT route FROM (SELECT DISTINCT route FROM real_calls WHERE route LIKE '%/v%')"
    r" QUALIFY count(*) OVER (PARTITION BY regexp_replace(route, '/v\d{1,3}(/|$)', '/v*\1')) > 1)",
}
#: One row per (block, signal, endpoint) with at least _LEAST_KEPT marked calls.
FRICTION = table(
    {
        "block": TIMESTAMP,  # start
        **{name: dtype for name, dtype in IMPLICIT.items() if name not in ("category", "share", "says")},
    }
)


def friction(connection: duckdb.DuckDBPyConnection, first: datetime, end: datetime) -> pl.DataFrame:
    """FRICTION of the whole blocks in [first, end), each judged by its own calls and half an hour around it.

    connection: has the view `calls`, with REACH before and after.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE real_calls AS
        SELECT environment, service, method, route, path, consumer, client_ip, start_time, duration_ms, status_code, response_bytes,
            response_body_bytes, response_flags, request_id, gateway, source_file, source_offset,
            time_bucket(INTERVAL {BLOCK_H} HOUR, start_time) AS block, $end::TIMESTAMPTZ AS told_until
        FROM calls
        WHERE synthetic_type IS NULL AND start_time >= $first AND start_time < $last""",
        {"first": first - REACH, "end": end, "last": end + REACH},
    )
    counted = files("apilens.measure.signals").joinpath("blocks.sql").read_text(encoding="utf-8")
    found = [FRICTION.to_frame()]
    for name in SIGNALS:
        among = f"SELECT * FROM real_calls WHERE {_AMONG.get(name, 'true')}"
        marked = files("apilens.measure.signals").joinpath(f"{name}.sql").read_text(encoding="utf-8")
        query = counted.replace("{marked}", marked.replace("FROM real_calls", f"FROM ({among})"))
        params = {"first": first, "end": end, "least": _LEAST_KEPT}
        rows = frame(connection.sql(query.replace("{hours}", str(BLOCK_H)), params=params))
        found.append(
            rows.with_columns(signal=pl.lit(name)).select(pl.col(name).cast(dtype) for name, dtype in FRICTION.items())
        )
    return pl.concat(found)


def _words(signal: Signal) -> pl.Expr:
    endpoint = pl.concat_str(pl.col("method").fill_null("-"), pl.lit(" "), pl.col("route").fill_null("-"))
    share = pl.concat_str((100 * pl.col("share")).round(1).cast(pl.String), pl.lit(" %"))
    values = {
        "{calls}": pl.col("calls").cast(pl.String),
        "{share}": share,
        "{consumers}": pl.when(pl.col("consumers") == 0)
        .then(pl.lit("unnamed callers"))
        .when(pl.col("consumers") == 1)
        .then(pl.lit("1 consumer"))
        .otherwise(pl.concat_str(pl.col("consumers").cast(pl.String), pl.lit(" consumers"))),
        "{endpoint}": endpoint,
    }
    pieces = re.split(r"(\{\w+\})", signal.says)
    return pl.concat_str([values.get(piece, pl.lit(piece)) for piece in pieces])
