"""What is asked of the log beside its rollups: whose calls those of a window were, and who of them carries a run's excess."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet
from apilens.detect.bins import DAY, MINUTES, WEEK_DAYS
from apilens.detect.runs import DIMENSIONS, HINT_EXCESS, Profile, Run, reopened

#: Given schema.BREAKDOWN_WINDOWS, returns schema.BREAKDOWN of the calls in them.
Breakdown = Callable[[pl.DataFrame], pl.DataFrame]
#: Minutes between the questions of `unexplained`: some minutes say little of who is missing, and many problems are over within half an hour.
SOON, LATER = 10, 30


def windows_frame(spans: list[tuple[int, int, int]], fleet: Fleet) -> pl.DataFrame:
    """schema.BREAKDOWN_WINDOWS of (endpoint, start, end), numbered in their order; in minutes since bin 0 began."""
    frame = pl.DataFrame(
        {
            "window_id": np.arange(len(spans)),
            "endpoint": [span[0] for span in spans],
            "start": [span[1] * 60 + fleet.first_bin * schema.BIN_S for span in spans],
            "end": [span[2] * 60 + fleet.first_bin * schema.BIN_S for span in spans],
        },
        schema={"window_id": pl.Int64, "endpoint": pl.Int64, "start": pl.Int64, "end": pl.Int64},
    )
    times = [
        pl.from_epoch(name, "s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(name)
        for name in ("start", "end")
    ]
    return (
        frame.with_columns(times)
        .join(fleet.endpoints, on="endpoint", how="left", maintain_order="left")
        .select(*schema.BREAKDOWN_WINDOWS)
    )


def week_before(run: Run) -> tuple[int, int]:
    """First and last minute of the week before a run."""
    start = run.start * MINUTES
    return start - WEEK_DAYS * DAY * MINUTES, start


def upstreams_of(fleet: Fleet, breakdown: Breakdown) -> dict[int, str]:
    """The upstream that most of an endpoint's first calls went to, where the log names one.

    Of the first five minutes, so that a scan at any later time says the same.
    """
    spans = [(endpoint, bin_ * MINUTES, (bin_ + 1) * MINUTES) for endpoint, bin_ in enumerate(fleet.born.tolist())]
    windows = windows_frame(spans, fleet)
    found = (
        breakdown(windows)
        .filter(pl.col("upstream").is_not_null())
        .group_by("window_id", "upstream")
        .agg(pl.col("calls").sum())
        .sort("window_id", "calls", "upstream", descending=[False, True, False])
        .unique("window_id", keep="first", maintain_order=True)
    )
    # A window for each endpoint, in the order of their numbers.
    return dict(found.select("window_id", "upstream").iter_rows())


def who_fails(run: Run, part: pl.DataFrame) -> str | None:
    """The one consumer that has most (HINT_EXCESS) of a window's excess of a run's code, however many of the calls are its; None: no one whose
    name is known, or there is no excess. part: breakdown of the window."""
    failed = part.filter(pl.col("status_code") == run.status)
    excess = int(failed["calls"].sum()) - float(run.at_open["expected"]) * int(part["calls"].sum())
    top = failed.group_by("consumer").agg(pl.col("calls").sum()).sort("calls", "consumer", descending=True)
    return (top["consumer"][0] or None) if top.height and top["calls"][0] >= HINT_EXCESS * excess > 0 else None


def unexplained(
    runs: list[Run],
    asked: list[Run],
    windows: Callable[[Run, int], list[tuple[int, int]]],
    explained: Callable[[Run, list[pl.DataFrame]], bool],
    fleet: Fleet,
    breakdown: Breakdown,
) -> list[Run]:
    """The runs; of those that are asked the ones that callers explain opened when these did no more, and are left out where they always did.

    Asked when a run opened, and of those explained then every ten minutes for half an hour, and twice an hour as long as they last. windows: of
    a run and a minute those to be known of its endpoint, first and last minute; explained: of a run and the breakdowns of its windows.
    """
    first = _when_not([(run, [run.known]) for run in asked], windows, explained, fleet, breakdown)
    held = [run for run in asked if first[id(run)] is None]
    later = _when_not([(run, _later(run)) for run in held], windows, explained, fleet, breakdown)
    return reopened(runs, later)


def _later(run: Run) -> list[int]:
    """Minutes after the run opened at whose end it is known that it goes on: SOON apart within LATER of that, then LATER apart, at least."""
    moments = [run.known]
    for at in run.strong[run.strong > run.known].tolist():
        if at >= moments[-1] + (SOON if at <= run.known + LATER else LATER):
            moments.append(at)
    return moments[1:]


def _when_not(
    asked: list[tuple[Run, list[int]]],
    windows: Callable[[Run, int], list[tuple[int, int]]],
    explained: Callable[[Run, list[pl.DataFrame]], bool],
    fleet: Fleet,
    breakdown: Breakdown,
) -> dict[int, int | None]:
    """By id of a run the first of some minutes at whose end it is not explained; None: there is none. See unexplained."""
    each = [
        (run, at, [(run.endpoint, *window) for window in windows(run, at)]) for run, moments in asked for at in moments
    ]
    # Moments of a run may share a window, such as the week before it.
    number = {span: at for at, span in enumerate(dict.fromkeys(span for _, _, spans in each for span in spans))}
    parts = breakdown(windows_frame(list(number), fleet)).partition_by("window_id", as_dict=True) if number else {}
    nothing = schema.BREAKDOWN.to_frame()
    found: dict[int, int | None] = {id(run): None for run, _ in asked}
    for run, at, spans in each:
        mine = [parts.get((number[span],), nothing) for span in spans]
        if found[id(run)] is None and not explained(run, mine):
            found[id(run)] = at
    return found


def profile_of(run: Run, now: pl.DataFrame, before: pl.DataFrame, measured: Mapping[str, float | str]) -> Profile:
    """Who carries a run's excess: `now` is the breakdown of its window, `before` that of the same time a day earlier, `measured`
    its at_open; its at_peak where the future may have a say.

    Errors: failed calls above the expected ratio of each value's calls. Latency: log time above what was expected.
    Traffic: calls above (below) those of the day before.
    """
    expected = float(measured["expected"])
    profile = Profile(sizes=4.0 if run.signal == "latency" else 1.0)
    calls = pl.col("calls").sum()
    if run.signal == "traffic":
        then = _by_value(now, "calls", pl.lit(0, pl.Int64).alias("before"))
        ago = _by_value(before, pl.lit(0, pl.Int64).alias("calls"), pl.col("calls").alias("before"))
        ago = pl.concat([then, ago])
        told = _told(ago, pl.col("before").sum(), run.direction * (calls - pl.col("before").sum()))
    elif run.signal == "latency":
        slow = now.filter((pl.col("status_code") < 400) & (pl.col("timed") > 0))
        usual = math.log(expected) if measured["unit"] == "ms" else _mean_log(before, otherwise=slow)
        timed = pl.col("timed").sum()
        told = _told(
            _by_value(slow, "timed", "log_duration_sum"), timed, pl.col("log_duration_sum").sum() - timed * usual
        )
    else:
        hit = pl.col("calls").filter(pl.col("status_code") == run.status).sum()
        told = _told(_by_value(now, "calls", "status_code"), calls, hit - expected * calls)
    for name, value, of_value, excess in told.iter_rows():
        profile.calls[name][value], profile.excess[name][value] = of_value, excess
    return profile


def _by_value(part: pl.DataFrame, *measures: pl.Expr | str) -> pl.DataFrame:
    """Some measures of a breakdown's rows once for each dimension: `dimension`, its `value` ("" where it is not known) and they."""
    rows = part.select(*(pl.col(name).fill_null("") for name in DIMENSIONS), *measures)
    return rows.unpivot(on=DIMENSIONS, index=rows.columns[len(DIMENSIONS) :], variable_name="dimension")


def _told(rows: pl.DataFrame, calls: pl.Expr, excess: pl.Expr) -> pl.DataFrame:
    """dimension, value, calls and excess of _by_value's rows, in order. One question for all dimensions: a small one costs as long as
    a group does."""
    of_each = rows.group_by("dimension", "value").agg(
        calls.cast(pl.Float64).alias("told_calls"), excess.cast(pl.Float64).alias("told_excess")
    )
    return of_each.sort("dimension", "value")


def _mean_log(before: pl.DataFrame, *, otherwise: pl.DataFrame) -> float:
    """Mean log duration of the calls of the day before, or of others where it had none. Both are breakdowns."""
    for part in (before.filter(pl.col("status_code") < 400), otherwise):
        if timed := int(part["timed"].sum()):
            return float(part["log_duration_sum"].sum()) / timed
    return 0.0
