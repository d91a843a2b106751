"""All that a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from apilens.reports.traces import TRACES
from apilens.schema import BIN_S
from apilens.version import __version__


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that may explain a change: the go-live, a deployment."""

    time: datetime
    label: str
    go_live: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """What became of the input. read = stored + rejected + filtered + duplicate; lines = record_lines + header + blank.

    record_lines: lines that records took up, counted by the parsers; lines is counted apart from them.
    inputs: one row per input with any of the columns input, format, read, stored, rejected, filtered, duplicate,
    lines, bytes, first_start_time, last_start_time. Shares are 0..1 of the stored calls, None: no calls.
    """

    read: int
    stored: int
    rejected: int
    filtered: int
    duplicate: int
    lines: int
    record_lines: int
    header: int
    blank: int
    inputs: pl.DataFrame
    identity_coverage: float | None
    synthetic_share: float | None
    warnings: tuple[str, ...] = ()
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class ReportData:
    """All a report is made of; the same values give the same bytes.

    first_call, last_call: start_time of the first and last call of the period, None without calls.
    queue, candidates, links: schema.QUEUE, CANDIDATES, LINKS. rollups: schema.ROLLUPS, merged over units (unit_id not
    needed), bins of `rollup_s` seconds. endpoints: one row per endpoint with the columns environment, service, method,
    route, calls, error_ratio, client_error_ratio, p50_ms, p95_ms, p99_ms, apdex, response_bytes, last_seen.
    related: triage.related.RELATED; escalations: triage.escalation.ESCALATIONS. traces: reports.traces.TRACES.
    """

    now: datetime
    first_call: datetime | None
    last_call: datetime | None
    queue: pl.DataFrame
    candidates: pl.DataFrame
    links: pl.DataFrame
    endpoints: pl.DataFrame
    rollups: pl.DataFrame
    quality: Quality
    marks: tuple[Mark, ...] = ()
    related: pl.DataFrame = field(default_factory=pl.DataFrame)
    escalations: pl.DataFrame = field(default_factory=pl.DataFrame)
    traces: pl.DataFrame = field(default_factory=TRACES.to_frame)
    critical_allowed: int = 0
    rollup_s: int = BIN_S
    version: str = field(default=__version__)
