"""Authentication and authorisation failures: 401 and 403 that became more frequent."""

from __future__ import annotations

import polars as pl

from apilens.detect.baseline import Fleet, Series
from apilens.detect.counting import excess_of_codes


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal auth."""
    codes = pl.col("status_code").is_in([401, 403])
    return excess_of_codes(series, fleet, codes, detector="auth", signal="auth")
