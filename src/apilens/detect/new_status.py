"""A client error that the endpoint did not have in the week before: three calls in three minutes may already be news.

A server that fails once in a while has each of its codes (500, 502, 503, 504) now and then; that one of them was not there for a week says
nothing of those that come. Their share does (errors.py).
"""

from __future__ import annotations

import polars as pl

from apilens.detect.baseline import Fleet, Series
from apilens.detect.counting import excess_of_codes


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal errors; see counting.excess_of_codes."""
    codes = (pl.col("status_code") < 500) & ~pl.col("status_code").is_in([401, 403, 429])
    return excess_of_codes(series, fleet, codes, detector="new_status", signal="errors", unseen_only=True)
