"""Which endpoints could open in the next few bins, told from little: what an hour of scans knows beforehand, and the last day.

What a window of latency is compared with ends an hour before it, so of the bins of the next hour it is known now; and what a window
of calls is compared with are seven short times of past days. So a scan five minutes later needs no series of weeks to tell of most
endpoints that nothing can open there. It may name too many and never too few: those it names are asked `may_open` as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect import baseline, early_latency, latency, latency_bounds, traffic_bounds
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, Ints
from apilens.detect.movements import GROWTH_WINDOWS

#: So many bins are read again: calls that come that late do not end what is known ahead.
LATE = 3
#: What the shortest window is compared with ends so long before it.
REACH = HOUR + min(width for width, _ in latency.SHIFT_WINDOWS)
#: Series of the new bins begin so long before them: with a window of a day, the longest on the day before, and the load of an hour.
RECENT = DAY + max(GROWTH_WINDOWS) + 2 * HOUR

#: The detectors of which `named` tells.
TOLD = ("latency", "traffic", "early_latency")
#: What is known of the bins [first, end), in epoch seconds / BIN_S: one row per endpoint. It holds as long as nothing before changes.
OUTLOOK = pl.Schema(
    [
        *((name, pl.String) for name in schema.ENDPOINT),
        ("first", pl.Int64),
        ("end", pl.Int64),
        *latency_bounds.OUTLOOK.items(),
    ]
)


def made_of(chunks: Iterable[Series], fleet: Fleet, made: list[pl.DataFrame]) -> Iterator[Series]:
    """The chunks; and the OUTLOOK of each, as it goes by, to be found in `made`."""
    midnight = fleet.bins - (fleet.first_bin + fleet.bins) % DAY
    # Slow calls are told by the UTC day.
    first = max(fleet.bins - LATE, midnight, 0)
    end = min(first + REACH, midnight + DAY)
    for series in chunks:
        names = fleet.endpoints.slice(series.first_endpoint, len(series.born)).select(
            *schema.ENDPOINT,
            first=pl.lit(first + fleet.first_bin, pl.Int64),
            end=pl.lit(end + fleet.first_bin, pl.Int64),
        )
        made.append(names.hstack(latency_bounds.outlook(series, fleet, first, end)))
        yield series


def holds(outlook: pl.DataFrame, fleet: Fleet, since: int) -> bool:
    """Whether an OUTLOOK speaks of the bins from `since` on, before which nothing changed."""
    if outlook.is_empty():
        return False
    first, end = outlook.select("first", "end").row(0)
    return bool(first <= fleet.first_bin + since and fleet.first_bin + fleet.bins <= end)


def named(outlook: pl.DataFrame, fleet: Fleet, rows: pl.DataFrame, since: int, anyway: float) -> dict[str, Ints]:
    """By detector the numbers of all endpoints that may open in bin `since` or later (see memory.MayOpen), or of which nothing is known.

    rows: as baseline.fleet returns them.
    """
    first = int(outlook["first"][0]) - fleet.first_bin
    begin = max(first - RECENT, 0)
    late = fleet.since(begin)
    recent = rows.filter(pl.col("bin") >= begin).with_columns(pl.col("bin") - begin)
    known = fleet.endpoints.join(outlook, on=schema.ENDPOINT, how="left", nulls_equal=True, maintain_order="left")
    past = traffic_bounds.past_days(rows, fleet, since)
    slow: list[Ints] = []
    moved: list[Ints] = []
    for series in baseline.chunks(late, recent):
        of = known.slice(series.first_endpoint, len(series.born))
        new = of["weeks"].is_null().to_numpy()
        slower = latency_bounds.may_open_by(of, series, late, first - begin, since - begin, anyway)
        far = traffic_bounds.may_open_by(past, series, fleet, since - begin, since, anyway)
        slow.append(np.flatnonzero(new | slower) + series.first_endpoint)
        moved.append(np.flatnonzero(new | far) + series.first_endpoint)
    young = np.flatnonzero(early_latency.young(fleet.born, fleet, since))
    return dict(zip(TOLD, (np.concatenate(slow), np.concatenate(moved), young), strict=True))
