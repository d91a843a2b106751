"""The table every detector returns, and the two probabilities that open and hold an anomaly."""

from __future__ import annotations

import numpy as np
import polars as pl

from apilens.detect.bins import Floats

#: One row per (endpoint, detector, status_code, bin): the windows that end with this bin are abnormal. One more where that was
#: plain enough to open before the bin was over.
ANOMALIES = pl.Schema(
    {
        "endpoint": pl.Int64,  # index in Fleet.endpoints
        "detector": pl.String,  # name in DETECTORS
        "signal": pl.String,  # schema.SIGNALS
        "status_code": pl.Int16,  # null: not about a status code
        "direction": pl.Int8,  # 1: more than expected, -1: less
        "bin": pl.Int64,  # last bin of the window
        "minutes": pl.Int64,  # of that bin, after which a scan knew; null: all
        "start_bin": pl.Int64,  # first bin of the shortest window that opens, else holds
        "opens": pl.Boolean,  # strong enough to raise an incident; else it only keeps one alive
        "log10_p": pl.Float64,  # of the strongest window
        "observed": pl.Float64,  # of the strongest window, in `unit`
        "expected": pl.Float64,
        "unit": pl.String,  # ratio | ms | calls (per 5 minutes)
        "n": pl.Int64,  # calls in the strongest window
        "excess": pl.Float64,  # calls above (below) what was expected there
    }
)

#: Hysteresis: one window in ten million opens, one in three hundred holds (DETECTION: open p < 1e-7, hold p < 10^-2.5).
OPEN_LOG10_P = -7.0
HOLD_LOG10_P = -2.5
#: A may_open adds up from another bin on than its detector, and must not miss what lies on a threshold for that.
SLACK = 1e-6


def strongest(rows: pl.DataFrame) -> pl.DataFrame:
    """ANOMALIES from rows of several window sizes: per bin the strongest window, and the start of the shortest that
    opens (else holds)."""
    keys = ["endpoint", "detector", "signal", "status_code", "direction", "bin", "minutes"]
    best = pl.col("log10_p").arg_min()
    strong = pl.when(pl.col("opens").any()).then(pl.col("start_bin").filter("opens").max())
    return (
        rows.group_by(keys)
        .agg(
            strong.otherwise(pl.col("start_bin").max()).alias("start_bin"),
            pl.col("opens").any(),
            pl.col("log10_p").min(),
            *(pl.col(name).get(best) for name in ("observed", "expected", "unit", "n", "excess")),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in ANOMALIES.items())
        .sort(keys)
    )


def log10_tail(p: Floats) -> Floats:
    """log10 of a probability, floored where float64 ends."""
    return np.log10(np.maximum(p, 1e-300))
