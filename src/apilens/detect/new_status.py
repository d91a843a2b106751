"""A status code that the endpoint did not have in the week before: three calls in three minutes may already be news."""

from __future__ import annotations

import polars as pl

from apilens.detect.baseline import Fleet, Series
from apilens.detect.counting import excess_of_codes


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal errors; see counting.excess_of_codes."""
    codes = ~pl.col("status_code").is_in([401, 403, 429])
    return excess_of_codes(series, fleet, codes, detector="new_status", signal="errors", unseen_only=True)
