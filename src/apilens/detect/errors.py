"""Failures: any 4xx or 5xx status code that became more frequent, except those that auth and rate_limit watch."""

from __future__ import annotations

import polars as pl

from apilens.detect.baseline import Fleet, Series
from apilens.detect.counting import excess_of_codes


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal errors, one status code at a time."""
    codes = ~pl.col("status_code").is_in([401, 403, 429])
    return excess_of_codes(series, fleet, codes, detector="errors", signal="errors")
