"""Rate-limit breaches: 429 that became more frequent."""

from __future__ import annotations

import polars as pl

from apilens.detect.baseline import Fleet, Series
from apilens.detect.counting import excess_of_codes


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal rate_limit."""
    return excess_of_codes(series, fleet, pl.col("status_code") == 429, detector="rate_limit", signal="rate_limit")
