"""A made-up fortnight of a small shop for the report's tests: go-live on day 7, five problems, forty reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from apilens import histogram, schema
from apilens.reports.data import Mark, Quality, ReportData

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 14
END = START + timedelta(days=DAYS)
GO_LIVE = START + timedelta(days=7, hours=6)
_HOUR = timedelta(hours=1)

_ROUTES = (
    [
        ("POST", "/v1/orders/{id}/pay", 6.0, 110),
        ("GET", "/v1/search", 9.0, 60),
        ("GET", "/v1/products/{id}", 8.0, 25),
        ("POST", "/v1/login", 5.0, 80),
        ("GET", "/v1/exports/{id}", 2.0, 900),
        ("POST", "/v1/refunds", 0.3, 140),
    ]
    + [
        (method, f"/v1/{thing}{tail}", rate, ms)
        for thing, rate, ms in (
            ("carts", 5.0, 35),
            ("customers", 2.5, 50),
            ("invoices", 1.0, 120),
            ("coupons", 0.5, 30),
        )
        for method, tail in (("GET", ""), ("GET", "/{id}"), ("POST", ""), ("PATCH", "/{id}"), ("DELETE", "/{id}"))
    ]
    + [("GET", f"/v2/reports/{name}", 0.15, 400) for name in ("daily", "weekly", "monthly", "audit")]
)


def rollups(seed: int = 7) -> pl.DataFrame:
    """schema.ROLLUPS without unit_id: daily and weekly rhythm, five faults, a gap of two hours, some bots."""
    rng = np.random.default_rng(seed)
    bins = np.arange(DAYS * 288)
    hour, day = (bins % 288) / 12, bins // 288
    rhythm = (0.35 + 0.65 * np.exp(-(((hour - 14) / 5) ** 2))) * np.where(day % 7 >= 5, 0.6, 1.0)
    rhythm[9 * 288 + 30 : 9 * 288 + 54] = 0
    frames = []
    for number, (_, _, rate, typical_ms) in enumerate(_ROUTES):
        counts = rng.poisson(rate * rhythm)
        at = np.repeat(bins, counts)
        hours = np.repeat(hour, counts)
        duration = typical_ms * rng.lognormal(0, 0.5, at.size)
        luck = rng.random(at.size)
        status = np.where(luck < 0.003, 500, np.where(luck < 0.02, 404, 200))
        after = at >= 7 * 288 + 72
        if number == 0:
            failing = (at >= 7 * 288 + 170) & (luck < 0.18)
            status, duration = np.where(failing, 502, status), np.where(failing, duration * 25, duration)
        if number == 3:
            status = np.where((at >= 11 * 288 + 100) & (luck < 0.4), 401, status)
        if number == 4:
            duration = np.where(after & (hours >= 9) & (hours < 10), duration * 6, duration)
        if number == 5:
            status = np.where(after & (luck < 0.3), 422, status)
        if number == 8:
            duration = np.where(after, duration * 1.3, duration)
        frames.append(
            pl.DataFrame({"bin": at, "status_code": status.astype("int64"), "duration_ms": duration, "number": number})
        )
    bot = pl.DataFrame(
        {"bin": bins, "status_code": 404, "duration_ms": 3.0, "number": 2}, schema_overrides={"status_code": pl.Int64}
    )
    calls = pl.concat(
        [
            pl.concat(frames).with_columns(synthetic_type=pl.lit(None, pl.String)),
            bot.with_columns(synthetic_type=pl.lit("scanner")),
        ]
    )
    names = pl.DataFrame(
        {"number": range(len(_ROUTES)), "method": [r[0] for r in _ROUTES], "route": [r[1] for r in _ROUTES]}
    )
    keys = ["bin", "number", "status_code", "synthetic_type"]
    log = pl.col("duration_ms").log()
    return (
        calls.with_columns(bucket=histogram.bucket(pl.col("duration_ms")))
        .group_by(*keys, "bucket")
        .agg(
            bucket_calls=pl.len(),
            duration_sum_ms=pl.col("duration_ms").sum(),
            log_duration_sum=log.sum(),
            log_duration_sumsq=(log**2).sum(),
        )
        .sort(*keys, "bucket")
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("bucket", "bucket_calls"),
            pl.col("duration_sum_ms", "log_duration_sum", "log_duration_sumsq").sum(),
            calls=pl.col("bucket_calls").sum(),
        )
        .join(names, on="number", maintain_order="left")
        .with_columns(
            bin_start=pl.lit(START).cast(schema.TIMESTAMP) + pl.duration(minutes=5 * pl.col("bin")),
            environment=pl.lit("default"),
            service=pl.lit("shop"),
            durations=pl.col("calls"),
            minute_calls=pl.concat_list(pl.col("calls"), pl.lit(0), pl.lit(0), pl.lit(0), pl.lit(0)),
            response_bytes=pl.col("calls") * 900,
        )
        .with_columns(first_seen="bin_start", last_seen=pl.col("bin_start") + pl.duration(minutes=4))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.ROLLUPS.items() if name != "unit_id")
    )


def endpoints(rows: pl.DataFrame) -> pl.DataFrame:
    """The endpoints table as the pipeline hands it over; percentiles are plausible rather than exact."""
    status = pl.col("status_code")
    return (
        rows.filter(pl.col("synthetic_type").is_null())
        .group_by(schema.ENDPOINT)
        .agg(
            pl.col("calls").sum(),
            error_ratio=pl.col("calls").filter(status >= 500).sum() / pl.col("calls").sum(),
            client_error_ratio=pl.col("calls").filter(status.is_between(400, 499)).sum() / pl.col("calls").sum(),
            p50_ms=(pl.col("log_duration_sum").sum() / pl.col("durations").sum()).exp(),
            response_bytes=pl.col("response_bytes").sum(),
            first_seen=pl.col("first_seen").min(),
            last_seen=pl.col("last_seen").max(),
        )
        .with_columns(
            p90_ms=pl.col("p50_ms") * 1.9, p95_ms=pl.col("p50_ms") * 2.3, p99_ms=pl.col("p50_ms") * 3.2, apdex=0.94
        )
        .sort("calls", descending=True)
    )


def _candidate(number: int, **values: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": f"{number:020x}-1",
        "fingerprint": f"{number:020x}",
        "detected_at": values["start"] + timedelta(minutes=10),
        "end": END,
        "state": "open",
        "environment": "default",
        "service": "shop",
        "hint": {"status": None, "upstream": None, "consumer": None, "node": None},
        "identity_coverage": 0.94,
        "request_ids": [f"req-{number}{i:04d}" for i in range(12)],
        "affected_consumers": [f"app-{i}" for i in range(values["consumers_hit"])],
    }
    return base | values


def candidates() -> pl.DataFrame:
    pay = START + timedelta(days=7, hours=14, minutes=10)
    rows = [
        _candidate(
            1,
            start=pay,
            endpoints=["POST /v1/orders/{id}/pay"],
            signal="errors",
            category="dependency",
            severity="critical",
            consumers_hit=61,
            excess_calls=1830.0,
            score=88.0,
            observed=0.18,
            expected=0.003,
            unit="ratio",
            n=10120,
            title="POST /v1/orders/{id}/pay: 502 from node pay-2",
            hint={"status": "502", "upstream": "pay", "consumer": None, "node": "pay-2"},
            explanation="18 % of the calls ended with 502 where 0.3 % were expected; 97 % of them went through node "
            "pay-2, which carries 34 % of the traffic.",
        ),
        _candidate(
            2,
            start=START + timedelta(days=7, hours=7),
            endpoints=["POST /v1/refunds"],
            signal="errors",
            category="training_gap",
            severity="medium",
            consumers_hit=1,
            excess_calls=120.0,
            score=30.0,
            observed=0.3,
            expected=0.0,
            unit="ratio",
            n=402,
            title="POST /v1/refunds: 422 for app-17",
            hint={"status": "422", "upstream": None, "consumer": "app-17", "node": None},
            explanation="30 % of the calls of app-17 ended with 422; nobody else is affected.",
        ),
        _candidate(
            3,
            start=START + timedelta(days=11, hours=8, minutes=20),
            endpoints=["POST /v1/login"],
            signal="auth",
            category="configuration",
            severity="high",
            consumers_hit=38,
            excess_calls=2900.0,
            score=64.0,
            observed=0.4,
            expected=0.002,
            unit="ratio",
            n=7300,
            title="POST /v1/login: login loop, 401 after key rotation",
            hint={"status": "401", "upstream": None, "consumer": None, "node": None},
            explanation="40 % of the logins ended with 401 since the deployment of 08:15.",
        ),
        _candidate(
            4,
            start=START + timedelta(days=8, hours=9),
            end=START + timedelta(days=13, hours=10),
            state="ended",
            endpoints=["GET /v1/exports/{id}"],
            signal="latency",
            category="capacity",
            severity="low",
            consumers_hit=112,
            excess_calls=640.0,
            score=22.0,
            observed=5400.0,
            expected=1500.0,
            unit="ms",
            n=880,
            title="GET /v1/exports/{id} slow 09:00–10:00, recurring",
            explanation="p95 5.4 s where 1.5 s were expected, each working day between 09:00 and 10:00.",
        ),
        _candidate(
            5,
            start=START + timedelta(days=9, hours=2, minutes=30),
            end=START + timedelta(days=9, hours=4, minutes=30),
            state="ended",
            endpoints=["GET /v1/search", "GET /v1/products/{id}"],
            signal="traffic",
            category="dependency",
            severity="high",
            consumers_hit=20,
            excess_calls=300.0,
            score=41.0,
            observed=0.0,
            expected=6.2,
            unit="calls",
            n=0,
            title="GET /v1/search: no calls for two hours",
            explanation="No call arrived between 02:30 and 04:30 where 6.2 per 5 minutes were expected.",
        ),
    ]
    return pl.DataFrame(rows, schema=schema.CANDIDATES)


def _reports(number: int, how_many: int, quote: str) -> list[dict[str, Any]]:
    return [
        {
            "channel": ("tickets", "chat", "mail", "survey")[i % 4],
            "id": f"SUP-{number}{i:02d}",
            "reporter": f"person-{number}{i}@customer.example",
            "created_at": START + timedelta(days=8, hours=i),
            "title": "Payment fails",
            "quote": quote,
            "confidence": max(0.55, 0.97 - 0.07 * i),
            "reasons": ["names the route POST /v1/orders/{id}/pay", f"app-{i} is among the affected"],
        }
        for i in range(how_many)
    ]


def queue() -> pl.DataFrame:
    told = {1: 4, 2: 1, 3: 0, 4: 9, 5: 0}
    quotes = {
        1: "We get a Bad Gateway on every third payment. Customers pay twice!",
        2: "Refunds are refused with 'reason missing', but there is no such field in the form.",
        4: "The export takes forever in the morning.",
    }
    rows: list[dict[str, Any]] = []
    for rank, candidate in enumerate(candidates().iter_rows(named=True), start=1):
        number, hit = rank, candidate["consumers_hit"]
        silent = max(0, hit - told[number])
        rows.append(
            {name: candidate[name] for name in schema.QUEUE if name in candidate}
            | {
                "rank": rank,
                "kind": "candidate",
                "priority": ("P1", "P2", "P2", "P4", "P5")[rank - 1],
                "weight": (86.0, 55.0, 52.5, 24.0, 12.0)[rank - 1],
                "parts": [
                    {"name": "severity", "value": 0.9, "weight": 0.25, "points": 22.5},
                    {"name": "revenue", "value": 1.0, "weight": 0.25, "points": 25.0},
                    {"name": "reach", "value": 0.7, "weight": 0.15, "points": 10.5},
                    {"name": "trend", "value": 0.0, "weight": 0.1, "points": 0.0},
                ],
                "why": "financial flag +25, severity +22.5, reach +10.5",
                "owner": ("payments", "payments", None, "data", None)[rank - 1],
                "hit": hit,
                "told": told[number],
                "silent": silent,
                "silent_consumers": [f"app-{i}" for i in range(told[number], hit)],
                "reports": _reports(number, told[number], quotes.get(number, "")),
            }
        )
    reasons = ["asks a question, names no failure"] * 18 + ["outside the logged period"] * 3 + ["no call matches"] * 5
    for i, reason in enumerate(reasons):
        rows.append(
            {
                "rank": 6 + i,
                "kind": "feedback",
                "id": f"mail:Q-{i}",
                "priority": "P4" if i % 3 else "P3",
                "weight": 11.0 - i / 4,
                "parts": [{"name": "demand", "value": 0.2, "weight": 0.05, "points": 1.0}],
                "why": "explicit demand +1",
                "severity": "low",
                "category": "question",
                "state": "open",
                "start": START + timedelta(days=8, hours=5 * i),
                "title": f"How do I change the address of order {i}?",
                "endpoints": [],
                "told": 1,
                "silent_consumers": [],
                "reports": _reports(9, 1, "How do I do this?"),
                "no_trace_reason": reason,
            }
        )
    return pl.DataFrame(rows, schema=schema.QUEUE)


def links() -> pl.DataFrame:
    rows = []
    for problem in queue().iter_rows(named=True):
        for report in problem["reports"]:
            traced = problem["kind"] == "candidate"
            rows.append(
                {
                    "channel": report["channel"],
                    "feedback_id": report["id"] + ("" if traced else problem["id"]),
                    "candidate_id": problem["id"] if traced else None,
                    "confidence": report["confidence"] if traced else 0.1,
                    "band": ("auto" if report["confidence"] > 0.7 else "suggested") if traced else "none",
                    "reasons": report["reasons"],
                }
            )
    return pl.DataFrame(rows, schema=schema.LINKS)


def inputs() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "input": ["edge/access.log", "edge/access.log.1.gz", "kong/kong.log"],
            "format": ["nginx", "nginx", "kong_json"],
            "read": [120_000, 60_000, 32_408],
            "stored": [119_994, 60_000, 32_397],
            "rejected": [6, 0, 0],
            "filtered": [0, 0, 11],
            "duplicate": [0, 0, 0],
            "lines": [120_002, 60_000, 32_408],
            "bytes": [24_000_000, 12_000_000, 19_000_000],
            "first_start_time": [START, START, START],
            "last_start_time": [END, GO_LIVE, END],
        },
        schema_overrides={"first_start_time": schema.TIMESTAMP, "last_start_time": schema.TIMESTAMP},
    )


QUALITY = Quality(
    read=212_408,
    stored=212_391,
    rejected=6,
    filtered=11,
    duplicate=0,
    lines=212_410,
    record_lines=212_408,
    header=0,
    blank=2,
    inputs=inputs(),
    identity_coverage=0.94,
    synthetic_share=0.021,
    warnings=("edge/access.log.1.gz: cut short, prefix kept",),
)


def report_data() -> ReportData:
    rows = rollups()
    return ReportData(
        now=END,
        first_call=START,
        last_call=END - timedelta(seconds=12),
        queue=queue(),
        candidates=candidates(),
        links=links(),
        endpoints=endpoints(rows),
        rollups=rows,
        quality=QUALITY,
        marks=(
            Mark(GO_LIVE, "go-live", go_live=True),
            Mark(START + timedelta(days=11, hours=8, minutes=15), "deploy auth 2.4"),
        ),
    )


def empty_data() -> ReportData:
    """What a report of an empty lake gets."""
    nothing = rollups().clear()
    return ReportData(
        now=END,
        first_call=None,
        last_call=None,
        queue=schema.QUEUE.to_frame(),
        candidates=schema.CANDIDATES.to_frame(),
        links=schema.LINKS.to_frame(),
        endpoints=endpoints(nothing),
        rollups=nothing,
        quality=Quality(
            0, 0, 0, 0, 0, 0, 0, 0, 0, inputs=inputs().clear(), identity_coverage=None, synthetic_share=None
        ),
    )
