"""What share of the calls can be told apart by consumer, and how many were nobody's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import duckdb


@dataclass(frozen=True)
class CallQuality:
    """identity_coverage, synthetic_share: 0..1, None without calls; see quality.sql."""

    identity_coverage: float | None
    synthetic_share: float | None
    malformed_requests: int
    without_status: int


def call_quality(connection: duckdb.DuckDBPyConnection, *, window: str) -> CallQuality:
    """CallQuality of the calls for which the SQL condition `window` holds; connection: has the view `calls`."""
    query = files("apilens.measure").joinpath("quality.sql").read_text(encoding="utf-8").format(window=window)
    row = connection.execute(query).fetchone()
    assert row is not None
    return CallQuality(*row)
