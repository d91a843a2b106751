"""Clients that give up because a crowd makes answers slow: their aborts are the crowd's matter, as the slowness is (latency_load.py)."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl

from apilens.detect.baseline import Fleet
from apilens.detect.bins import DAY, HOUR, MINUTES, WEEK_DAYS
from apilens.detect.counting import ABORTS
from apilens.detect.latency_load import WEEK
from apilens.detect.runs import Run, when_raised

#: A crowd has so many times the calls of the two hours before, and of this time of day; answers are slow from so many times the week's on. In
#: quiet worlds whose clients give up after 12 seconds, aborts came with 1.6 to 20 times the calls and 3 to 5 times the latency.
CROWD, SLOW = 1.4, 1.5


def by_themselves(
    runs: list[Run], abnormal: pl.DataFrame, rows: pl.DataFrame, fleet: Fleet, upstreams: dict[int, str]
) -> list[Run]:
    """The runs; aborts of clients opened when they were not what a crowd's slowness brings, and are left out where they never were.

    They are while calls, of the endpoint or of all behind its upstream, and latency are well above the usual, unless latency itself opened:
    then load does not explain it. abnormal: detect.anomalies.ANOMALIES; rows: as baseline.fleet returns them. upstreams: by
    endpoint, where known.
    """
    asked = [run for run in runs if run.status in ABORTS]
    if not asked:
        return runs
    per_bin = (
        rows.filter(pl.col("endpoint").is_in([run.endpoint for run in asked]))
        .with_columns(timed=pl.col("status_code") < 400, aborted=pl.col("status_code").is_in(ABORTS))
        .group_by("endpoint", "bin")
        .agg(
            pl.col("calls").sum(),
            pl.col("calls").filter("aborted").sum().alias("aborts"),
            pl.col("durations", "log_duration_sum").filter("timed").sum(),
        )
    )
    mine = per_bin.partition_by("endpoint", as_dict=True)
    names = {upstreams.get(run.endpoint) for run in asked} - {None}
    behind = pl.DataFrame(
        [(endpoint, name) for endpoint, name in upstreams.items() if name in names],
        schema={"endpoint": rows.schema["endpoint"], "upstream": pl.String},
        orient="row",
    )
    of_all = rows.join(behind, on="endpoint").group_by("upstream", "bin").agg(pl.col("calls").sum())
    beside = of_all.partition_by("upstream", as_dict=True)
    slow = abnormal.filter((pl.col("signal") == "latency") & pl.col("opens"))
    slow_bins = dict(slow.group_by("endpoint").agg("bin").iter_rows())
    result = [run for run in runs if run.status not in ABORTS]
    for run in asked:
        own, known_slow = mine[(run.endpoint,)], slow_bins.get(run.endpoint, [])
        # What no upstream is known of is alone behind its own.
        others = beside.get((upstreams.get(run.endpoint),), own)
        for at, (known, (begin, _, _)) in enumerate(zip(run.strong.tolist(), run.proofs, strict=True)):
            end = known // MINUTES
            unexplained = any(begin - HOUR <= bin_ < end for bin_ in known_slow)
            if unexplained or not _crowded(own, others, begin, end):
                result.append(replace(run, known=known, strong=run.strong[at:], proofs=run.proofs[at:]))
                break
    return sorted(result, key=when_raised)


def _crowded(own: pl.DataFrame, beside: pl.DataFrame, begin: int, end: int) -> bool:
    """Whether calls and latency were well above the usual in those of the bins begin .. end-1 in which clients gave up.

    own: calls, aborts, durations and log_duration_sum by bin, of the endpoint; beside: calls by bin, of all behind its upstream.
    """
    now = own.filter(pl.col("bin").is_between(begin, end - 1), pl.col("aborts") > 0)
    before = own.filter(pl.col("bin").is_between(begin - WEEK, begin - 1))
    # Without a known duration the difference is no number, and not slower.
    slower = _mean_log_ms(now) - _mean_log_ms(before) >= math.log(SLOW)
    return slower and max(_growth(part, now["bin"], begin) for part in (own, beside)) >= CROWD


def _mean_log_ms(part: pl.DataFrame) -> float:
    return float(part.select(pl.col("log_duration_sum").sum() / pl.col("durations").sum()).item())


def _growth(part: pl.DataFrame, bins: pl.Series, begin: int) -> float:
    """Calls per bin in some bins, over those of the two hours before `begin` or of the same times of the days before: of the higher."""

    def rate(within: pl.Expr, width: int) -> float:
        return float(part.filter(within)["calls"].sum()) / width

    first = part["bin"].min()
    days = [day for day in range(1, WEEK_DAYS + 1) if isinstance(first, int) and begin - day * DAY >= first]
    earlier = [rate(pl.col("bin").is_in((bins - day * DAY).to_list()), len(bins)) for day in days]
    lately = rate(pl.col("bin").is_between(begin - 2 * HOUR, begin - 1), 2 * HOUR)
    usual = max(lately, sum(earlier) / max(len(days), 1))
    return (rate(pl.col("bin").is_in(bins.to_list()), len(bins)) + 1) / (usual + 1)
