"""What candidates that are about no endpoint were told by, over time: a metric, what one gateway logged, how far two clocks are apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens.detect.log_truth import fingerprint
from apilens.metrics import Rule
from apilens.schema import BIN_S, TIMESTAMP, table

#: One row per (candidate, bin); name: what is drawn, in words.
TRACES = table(
    {
        "id": pl.String,  # of the candidate
        "name": pl.String,
        "every_s": pl.Int64,  # width of the bins
        "bin_start": TIMESTAMP,
        "value": pl.Float64,  # in the candidate's unit; null: not measured
        "beside": pl.Float64,  # the same of all others, where there are others; null: there are none
    }
)
#: Signals that have one.
TRACED = ("system", "log_gap", "clock_skew")


def around(candidate: dict[str, Any], until: datetime) -> tuple[datetime, datetime]:
    """From a day before a candidate to some time after it, at least two hours: what it is to be seen against."""
    lasted = candidate["end"] - candidate["start"]
    first = candidate["start"] - max(timedelta(days=1), lasted / 2)
    return first, min(candidate["end"] + max(timedelta(hours=2), lasted / 4), until)


def of_gap(candidate: dict[str, Any], instances: pl.DataFrame) -> pl.DataFrame:
    """TRACES of a log_gap: calls per 5 minutes of those that fell silent and of the others. instances: measure.facts.INSTANCES."""
    silent = [one["value"] for one in candidate["evidence"] or []]
    here = instances.filter(pl.col("environment") == candidate["environment"])
    mine = pl.coalesce(pl.col("node").replace("", None), "gateway").is_in(silent) if silent else pl.lit(True)
    counted = here.group_by("bin_start").agg(
        value=pl.col("calls").filter(mine).sum(), beside=pl.col("calls").filter(~mine).sum()
    )
    if counted.is_empty():
        return TRACES.to_frame()
    first, last = counted.select(first=pl.col("bin_start").min(), last=pl.col("bin_start").max()).row(0)
    last = max(last, candidate["end"] - timedelta(seconds=BIN_S))
    bins = pl.select(bin_start=pl.datetime_range(first, last, interval=f"{BIN_S}s"))
    # Where no call is logged there is none to be counted.
    whole = bins.join(counted, on="bin_start", how="left").with_columns(pl.col("value", "beside").fill_null(0))
    if not silent:
        return _of(candidate, "calls logged", BIN_S, whole.with_columns(beside=None))
    return _of(candidate, f"calls logged by {_named(silent)} (grey: all others)", BIN_S, whole)


def of_metric(
    candidate: dict[str, Any], samples: pl.DataFrame, rules: tuple[Rule, ...], *, now: datetime
) -> pl.DataFrame:
    """TRACES of a system metric: five-minute means of the series it names first. samples: schema.METRICS."""
    from apilens.detect.system import evidence_of, series_of  # SciPy comes with it, a second

    series = series_of(samples, rules, now=now)
    wanted = [_words(one) for one in (candidate["evidence"] or [])[:1]]
    for row, name in enumerate(series.names.to_dicts()):
        words = _words(evidence_of(name, None, None))
        if words not in wanted:
            continue
        at = pl.from_epoch((pl.int_range(series.values.shape[1]) + series.first_bin) * BIN_S)
        values = pl.Series("value", series.values[row]).fill_nan(None)
        shown = pl.select(bin_start=at.dt.replace_time_zone("UTC"), value=values)
        return _of(candidate, " ".join(word for word in words[:2] if word), BIN_S, shown)
    return TRACES.to_frame()


def of_skew(candidate: dict[str, Any], skew: pl.DataFrame, block: timedelta, until: datetime) -> pl.DataFrame:
    """TRACES of two clocks: by how much the one was ahead, in the blocks in which it was. skew: measure.facts.SKEW; block: its width."""
    first, last = around(candidate, until)
    a, b = pl.min_horizontal("outer_node", "inner_node"), pl.max_horizontal("outer_node", "inner_node")
    ahead = pl.when(pl.col("inner_node") == b).then("offset_s").otherwise(-pl.col("offset_s"))
    for (environment, one, other), part in skew.group_by("environment", a.alias("a"), b.alias("b")):
        if fingerprint(str(environment), "clock_skew", f"{one}|{other}") != candidate["fingerprint"]:
            continue
        offset = (ahead * pl.col("pairs")).sum() / pl.col("pairs").sum()
        blocks = part.group_by("block").agg(value=offset.abs())
        # A block has one value, drawn as wide as it is.
        hours = pl.select(bin_start=pl.datetime_range(first, last, interval="1h").dt.truncate("1h"))
        shown = hours.with_columns(block=pl.col("bin_start").dt.truncate(block)).join(blocks, on="block", how="left")
        return _of(candidate, f"clocks of {one} and {other} apart", 3600, shown)
    return TRACES.to_frame()


def _of(candidate: dict[str, Any], name: str, every_s: int, values: pl.DataFrame) -> pl.DataFrame:
    given = {"id": candidate["id"], "name": name, "every_s": every_s, "beside": None}
    whole = values.with_columns(pl.lit(value).alias(column) for column, value in given.items() if column not in values)
    return whole.sort("bin_start").select(pl.col(column).cast(dtype) for column, dtype in TRACES.items())


def _words(one: dict[str, Any]) -> list[str]:
    """What names a series in a row of schema.EVIDENCE, as the state database keeps it, which has no NUL."""
    return [str(one[field] or "").replace("\0", "�") for field in ("name", "value", "unit")]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
