"""Mergeable latency histogram with a stated error: integer log buckets, merged by SUM.

Bucket i >= 1 holds values v with BASE * GAMMA^(i-1) < v <= BASE * GAMMA^i; its estimate lies within
(GAMMA - 1) / (GAMMA + 1) = 0.99 % of every value in it. Bucket 0 holds everything up to SMALLEST_MS and reads as 0.
Source: Masson, Rim, Lee: DDSketch, VLDB 2019, section 2.
"""

from __future__ import annotations

import math

import polars as pl

GAMMA = 1.02
#: Finest step a gateway logs is 1 µs (Apache %D); below it there is nothing to tell apart.
SMALLEST_MS = 0.001
#: Relative error of a quantile read from the histogram.
RELATIVE_ERROR = (GAMMA - 1) / (GAMMA + 1)
_LOG_GAMMA = math.log(GAMMA)
_YEAR_MS = 3.2e10
#: A value this little above a bucket's edge, as a share of a bucket's width, counts as on it: 0.001 ms must fall in bucket 0.
_SLACK = 1e-9


def bucket(duration_ms: pl.Expr) -> pl.Expr:
    """Bucket index, Int16; null stays null. The largest float64 falls in bucket 36,193, hence the clip at a year."""
    index = ((duration_ms.clip(SMALLEST_MS, _YEAR_MS) / SMALLEST_MS).log() / _LOG_GAMMA - _SLACK).ceil()
    return index.clip(0).cast(pl.Int16)


def estimate_ms(index: pl.Expr) -> pl.Expr:
    """The duration that stands for a bucket, in ms, Float64; 0.0 for bucket 0."""
    middle = SMALLEST_MS * 2 / (GAMMA + 1) * (index.cast(pl.Float64) * _LOG_GAMMA).exp()
    return pl.when(index == 0).then(0.0).otherwise(middle)


#: estimate_ms() as SQL over a column named bucket; the two are held equal by a test.
ESTIMATE_SQL = (
    f"CASE WHEN bucket = 0 THEN 0.0 ELSE {SMALLEST_MS * 2 / (GAMMA + 1)!r}::DOUBLE"
    f" * exp(bucket * {_LOG_GAMMA!r}::DOUBLE) END"
)

_LAST = math.ceil(math.log(_YEAR_MS / SMALLEST_MS) / _LOG_GAMMA - _SLACK)
#: Logarithms of two libraries may differ in their last bits.
_ROUNDING = 1e-12
#: Bounds as SQL over a column named bucket: every value of the bucket lies above the first and not above the second. Of another
#: bucket only a value within rounding of an edge does.
ABOVE_SQL = (
    f"CASE WHEN bucket = 0 THEN '-inf'::DOUBLE ELSE {SMALLEST_MS * (1 - _ROUNDING)!r}::DOUBLE"
    f" * exp((bucket - 1 + {_SLACK!r}::DOUBLE) * {_LOG_GAMMA!r}::DOUBLE) END"
)
UPTO_SQL = (
    f"CASE WHEN bucket >= {_LAST} THEN 'inf'::DOUBLE ELSE {SMALLEST_MS * (1 + _ROUNDING)!r}::DOUBLE"
    f" * exp((bucket + {_SLACK!r}::DOUBLE) * {_LOG_GAMMA!r}::DOUBLE) END"
)
