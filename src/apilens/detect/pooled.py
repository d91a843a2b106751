"""One client's refusals on several endpoints, counted together: each of them may be too few long after all of them are enough.

A client is a row here as an endpoint is elsewhere, and its refusals are judged by the same law (counting.excess_of_codes) against
its own past on all endpoints. What opens there opens on each endpoint that had a part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
from scipy.special import gammainc

from apilens import schema
from apilens.detect import anomalies
from apilens.detect.baseline import CHUNK, Fleet, Series
from apilens.detect.bins import DAY, HOUR, MINUTES, WEEK_DAYS, Floats, Ints
from apilens.detect.counting import PRIOR_CALLS, RATIO_FLOOR, excess_of_codes
from apilens.detect.habits import BEYOND
from apilens.detect.runs import HINT_EXCESS

#: Given an environment, start, since and end, returns schema.CLIENTS of the calls in [start, end) of those that were refused in [since, end).
Clients = Callable[[str | None, datetime, datetime, datetime], pl.DataFrame]
#: What is said of a bin depends on the days before: its rate on those of a week, how that varies on those of the week before each of
#: these, in whole days.
PAST_DAYS = 2 * WEEK_DAYS + 2
#: Who comes again after so long is a new client: of one that was there before that a scan of what is new may see nothing.
SILENCE = 2 * WEEK_DAYS * DAY
#: An endpoint has a part in it where so many calls with the code are no more probable than this by accident.
PART_P = 0.05
#: Signal (and detector) of the codes that are one client's matter by nature.
SIGNALS = {401: "auth", 403: "auth", 429: "rate_limit"}


def refusals(clients: Clients, rows: pl.DataFrame, fleet: Fleet, since: int, now: datetime) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of endpoints on which one consumer is refused, in windows up to an hour that open for all of
    them together.

    since: bins before are not asked for. now: calls from then on are not looked at. rows: as baseline.fleet returns them, until the same
    minute.
    What an endpoint was expected is the share of the code in its own week before.
    """
    if since >= fleet.bins:
        return anomalies.ANOMALIES.to_frame()
    midnight = since - (fleet.first_bin + since) % DAY
    begin, first = (
        datetime.fromtimestamp((fleet.first_bin + max(bin_, 0)) * schema.BIN_S, UTC)
        for bin_ in (midnight - PAST_DAYS * DAY, since - HOUR)
    )
    known = (
        clients(fleet.endpoints["environment"][0], begin, first, now)
        .join(fleet.endpoints, on=list(schema.ENDPOINT), how="left", nulls_equal=True)
        .with_columns(bin=pl.col("bin_start").dt.epoch("s") // schema.BIN_S - fleet.first_bin)
        # The calls of a unit may be there before its rollups.
        .filter(pl.col("bin").is_between(0, fleet.bins - 1))
        .filter(
            pl.col("status_code").is_null()
            | pl.col("endpoint").is_not_null() & pl.col("status_code").is_in(list(fleet.code_ratio))
        )
        .sort("consumer", "bin")
        .with_columns(silent=pl.col("bin") - pl.col("bin").shift(1).over("consumer"))
        .with_columns(client=(pl.col("silent") > SILENCE).fill_null(True).cum_sum().cast(pl.Int64) - 1)
    )
    parts = known.with_columns(chunk=pl.col("client") // CHUNK).partition_by("chunk", include_key=False)
    opened = [found for part in parts for found in _opened(part, fleet)]
    if not any(part.height for part in opened):
        return anomalies.ANOMALIES.to_frame()
    return _on_endpoints(
        pl.concat(opened).filter(pl.col("bin") >= since), known.filter(pl.col("status_code").is_not_null()), rows, fleet
    )


def _opened(part: pl.DataFrame, fleet: Fleet) -> list[pl.DataFrame]:
    """Windows up to an hour in which some clients are refused more than they used to be, with the number of the `client`. part: of CHUNK
    of them at most."""
    first = int(part["client"][0])
    minutes = pl.concat_arr(pl.col("minute_calls").list.get(i).sum().cast(pl.Int64) for i in range(MINUTES))
    numbered = part.with_columns(row=pl.col("client") - first)
    every = numbered.group_by("row", "bin").agg(minutes.alias("all_by_minute"))
    calls = np.zeros((int(numbered["row"][-1]) + 1, fleet.bins))
    calls[every["row"].to_numpy(), every["bin"].to_numpy()] = every["all_by_minute"].to_numpy().sum(axis=1)
    codes = (
        numbered.filter(pl.col("status_code").is_not_null())
        .group_by("row", "status_code", "bin")
        .agg(minutes.alias("by_minute"))
        .with_columns(calls=pl.col("by_minute").arr.sum())
        .join(every, on=["row", "bin"])
        .sort("row", "status_code", "bin")
    )
    born = np.argmax(calls > 0, axis=1).astype(np.int64)
    nothing = calls[:, :0]
    series = Series(first, calls, nothing, nothing, born, nothing, nothing, nothing, codes, codes.clear())
    opened = []
    for name in ("auth", "rate_limit"):
        mine = pl.col("status_code").is_in([code for code, signal in SIGNALS.items() if signal == name])
        found = excess_of_codes(series, fleet, mine, detector=name, signal=name, habit_factor=BEYOND)
        opened.append(found.filter("opens", pl.col("bin") - pl.col("start_bin") < HOUR).rename({"endpoint": "client"}))
    return opened


def _on_endpoints(opened: pl.DataFrame, refused: pl.DataFrame, rows: pl.DataFrame, fleet: Fleet) -> pl.DataFrame:
    """Windows of clients as anomalies of the endpoints that had a part in them, where these are several. refused: their refusals.

    A part: more calls with the code than its own week lets expect, and the client carries what is more. An endpoint with one such call
    is named only while none has two.
    """
    who = ["client", "status_code"]
    windows = opened.partition_by(who, as_dict=True)
    # Where else it was refused within two weeks does not matter, however many endpoints that are.
    times = opened.group_by(who).agg(pl.col("start_bin").min(), last=pl.col("bin").max())
    hit = refused.join(times, on=who).filter(pl.col("bin").is_between("start_bin", "last"))
    theirs = rows.filter(pl.col("endpoint").is_in(hit["endpoint"].unique().implode()))
    calls = {key: _Sums(part) for (key,), part in theirs.partition_by("endpoint", as_dict=True).items()}
    failed = {
        key: _Sums(part)
        for key, part in theirs.filter(pl.col("status_code").is_in(list(SIGNALS)))
        .partition_by("endpoint", "status_code", as_dict=True)
        .items()
    }
    found = [opened.clear().with_columns(endpoint=pl.lit(0, pl.Int64), own=0.0)]
    for (client, code, endpoint), mine in hit.group_by(*who, "endpoint", maintain_order=True):
        if (endpoint, code) not in failed:
            continue  # the rollups of these calls are not there yet
        part, on_all, on_code = windows[client, code], calls[endpoint], failed[endpoint, code]
        begin = part["start_bin"].to_numpy() * MINUTES
        end = (part["bin"] * MINUTES + part["minutes"].fill_null(MINUTES)).to_numpy()
        own, k, n = (sums.between(begin, end) for sums in (_Sums(mine), on_code, on_all))
        week = begin - WEEK_DAYS * DAY * MINUTES
        prior = np.maximum(fleet.code_ratio[int(code)][fleet.day_of(begin // MINUTES)], RATIO_FLOOR)
        expected = (on_code.between(week, begin) + PRIOR_CALLS * prior) / (on_all.between(week, begin) + PRIOR_CALLS)
        mean = expected * n
        has_part = (own > 0) & (own >= HINT_EXCESS * (k - mean)) & (gammainc(np.maximum(k, 1.0), mean) < PART_P)
        if not has_part.any():
            continue
        numbers = {"observed": k / np.maximum(n, 1.0), "expected": expected, "n": n, "excess": k - mean, "own": own}
        named = part.with_columns(
            *(pl.Series(name, values) for name, values in numbers.items()), endpoint=pl.lit(endpoint, pl.Int64)
        )
        found.append(named.filter(pl.Series(has_part)).select(found[0].columns))
    window = [*who, "bin", "minutes"]
    return (
        pl.concat(found, how="vertical_relaxed")
        .filter(pl.len().over(window) > 1)
        .filter(pl.col("own") >= pl.min_horizontal(2, pl.col("own").max().over(window)))
        .sort("log10_p", "client")
        .unique(["endpoint", "status_code", "bin", "minutes"], keep="first", maintain_order=True)
        .select(pl.col(name).cast(dtype) for name, dtype in anomalies.ANOMALIES.items())
        .sort("endpoint", "status_code", "bin", "minutes")
    )


class _Sums:
    """Calls of some rows (with `bin` and `minute_calls`) within spans of minutes."""

    def __init__(self, rows: pl.DataFrame) -> None:
        minute = pl.int_ranges(pl.col("bin").cast(pl.Int64) * MINUTES, (pl.col("bin").cast(pl.Int64) + 1) * MINUTES)
        each = rows.select(minute.alias("minute"), calls="minute_calls").explode("minute", "calls")
        each = each.filter(pl.col("calls") > 0).sort("minute")
        self._minutes = each["minute"].to_numpy()
        self._so_far = np.r_[0.0, np.cumsum(each["calls"].to_numpy())]

    def between(self, begin: Ints, end: Ints) -> Floats:
        """In the minutes begin .. end-1, for each pair of these."""
        low, high = (np.searchsorted(self._minutes, edge) for edge in (begin, end))
        within: Floats = self._so_far[high] - self._so_far[low]
        return within
