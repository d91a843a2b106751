"""What one consumer is used to: client errors that it has on other days as well, on whichever endpoints, are no news.

A client that lives at its quota is turned away every day, on another endpoint each time, and there for the first time. So what
one consumer carries alone is held against what this consumer had of that code in the week before, on all endpoints together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet, by_minute
from apilens.detect.bins import DAY, MINUTES, WEEK_DAYS, Floats, so_far
from apilens.detect.breakdowns import Breakdown, week_before, who_fails, windows_frame
from apilens.detect.incidents import REFUSALS
from apilens.detect.runs import HINT_EXCESS, HINT_TRAFFIC, Run, reopened

#: Given schema.REFUSALS_ASKED, returns schema.REFUSALS.
Refusals = Callable[[pl.DataFrame], pl.DataFrame]
#: See told().
Told = tuple[str | int | None, ...]
#: A consumer must beat the second worst day of the last week by this factor. How often quotas and tokens run out has a heavier
#: tail than errors have (counting.HABIT_FACTOR): such clients beat the factor 1.5 on 9 of 80 days, 2.5 on one.
BEYOND = 3.0
#: A limit that does its job refuses a client only in minutes in which it answers as many calls as in this share of the client's other
#: minutes of the day before; one that is set wrongly answers fewer. So many other minutes tell. Who is refused so many times what is answered
#: runs away, which is news. Picked on banks and telecoms, whose clients at their quota reach 2 times; a share of 0.9 excused a limit that
#: was wrong while a nightly job ran.
CAPPED, OTHER_MINUTES, RUNAWAY = 0.99, 30, 4.0
#: Credentials that ran out are refused wherever they are shown. A client of whose calls so many are answered in the very minutes in which one
#: endpoint refuses it has good ones, or many users: that endpoint has changed.
ANSWERED = 0.5


@dataclass(frozen=True, slots=True)
class _Carrier:
    """Who had the excess of a run when it opened."""

    consumer: str
    most: bool  # of the endpoint's calls in the week before are its; not asked of refusals


def unaccustomed(
    runs: list[Run],
    rows: pl.DataFrame,
    fleet: Fleet,
    breakdown: Breakdown,
    refusals: Refusals,
    decided: dict[Told, int | None] | None = None,
) -> list[Run]:
    """The runs; client errors that one consumer carries opened when they went beyond its habit, and are left out where they
    never did.

    Its habit: BEYOND times the calls with this code that it had, on all endpoints, within as much time on the second
    worst of the seven days before (but 429: on this endpoint, while it is answered on others; of mistakes on an endpoint that hardly anybody
    else calls it has none then); and what a rate limit refuses while it does its job,
    whether it did so before or not. rows: as baseline.fleet returns them. decided: by told() the minutes in which runs opened, as
    an earlier scan found; of them the log is not asked again. Afterwards what was found of these runs.
    """
    decided = {} if decided is None else decided
    told_of = {
        at: told(run, fleet) for at, run in enumerate(runs) if run.status is not None and 400 <= run.status < 500
    }
    client = [runs[at] for at, key in told_of.items() if key not in decided]
    carriers = _carriers(client, fleet, breakdown)
    if carriers:
        fresh = _when_beyond(client, carriers, rows, fleet, refusals)
        decided |= {told(client[at], fleet): known for at, known in fresh.items()}
    for gone in decided.keys() - set(told_of.values()):
        del decided[gone]
    return reopened(runs, {id(runs[at]): decided[key] for at, key in told_of.items() if key in decided})


def told(run: Run, fleet: Fleet) -> Told:
    """What a run is known by in a later scan, as long as nothing before its last strong window has changed."""
    names = fleet.endpoints.row(run.endpoint)[1:]
    return *names, run.status, run.start, run.known, len(run.strong), int(run.strong[-1])


def _when_beyond(
    client: list[Run], carriers: dict[int, _Carrier], rows: pl.DataFrame, fleet: Fleet, refusals: Refusals
) -> dict[int, int | None]:
    """By place in `client` the minute in which it opened; None: never. carriers: by place."""
    counts = _refused(client, carriers, fleet, refusals)
    # Another run may have forgotten the consumer since it was told.
    nothing, of_consumer = counts.clear(), counts.partition_by("consumer", "status_code", as_dict=True)
    endpoints = {client[at].endpoint for at in carriers}
    of_endpoint = rows.filter(pl.col("endpoint").is_in(endpoints)).partition_by("endpoint", as_dict=True)
    return {
        at: _beyond(
            client[at],
            carrier,
            of_endpoint[(client[at].endpoint,)],
            of_consumer.get((carrier.consumer, client[at].status), nothing),
            of_consumer.get((carrier.consumer, None), nothing),
            fleet,
        )
        for at, carrier in carriers.items()
    }


def _carriers(runs: list[Run], fleet: Fleet, breakdown: Breakdown) -> dict[int, _Carrier]:
    """By place in `runs` the one consumer that had the excess when the run opened, however many of the calls are its."""
    if not runs:
        return {}
    parts = breakdown(windows_frame([(run.endpoint, run.start * MINUTES, run.known) for run in runs], fleet))
    asked = {int(window): who_fails(runs[int(window)], part) for (window,), part in parts.group_by("window_id")}
    found = {at: consumer for at, consumer in asked.items() if consumer is not None}
    most = _that_have_most(
        runs, {at: name for at, name in found.items() if runs[at].status not in REFUSALS}, fleet, breakdown
    )
    return {at: _Carrier(consumer, at in most) for at, consumer in found.items()}


def _that_have_most(runs: list[Run], consumers: dict[int, str], fleet: Fleet, breakdown: Breakdown) -> set[int]:
    """The places in `runs` of those whose consumer had most of the endpoint's calls in the week before."""
    spans = [(runs[at].endpoint, *week_before(runs[at])) for at in consumers]
    weeks = breakdown(windows_frame(spans, fleet)).partition_by("window_id", as_dict=True) if spans else {}
    return {
        at
        for place, (at, consumer) in enumerate(consumers.items())
        if (week := weeks.get((place,))) is not None
        and int(week.filter(consumer=consumer)["calls"].sum()) > HINT_TRAFFIC * int(week["calls"].sum())
    }


def _refused(runs: list[Run], carriers: dict[int, _Carrier], fleet: Fleet, refusals: Refusals) -> pl.DataFrame:
    """What these consumers had of these codes: consumer, status_code, endpoint, minute (from bin 0 on), calls. And what they had in all
    on the last days, with neither code nor endpoint."""
    spans = pl.DataFrame(
        [
            (carrier.consumer, status, (runs[at].opened - days * DAY) * MINUTES, int(runs[at].strong[-1]))
            for at, carrier in carriers.items()
            for status, days in ((runs[at].status, WEEK_DAYS + 2), (None, 2))
        ],
        schema={"consumer": pl.String, "status_code": pl.Int16, "start": pl.Int64, "end": pl.Int64},
        orient="row",
    )
    at = (pl.col("start", "end").clip(0) * 60 + fleet.first_bin * schema.BIN_S) * 1_000_000
    asked = (
        spans.group_by("consumer", "status_code")
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("consumer", "status_code")
        .with_columns(at.cast(schema.REFUSALS_ASKED["start"]), environment=pl.lit(fleet.endpoints["environment"][0]))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.REFUSALS_ASKED.items())
    )
    return (
        refusals(asked)
        .join(fleet.endpoints, on=list(schema.ENDPOINT), how="left", nulls_equal=True)
        .filter(pl.col("status_code").is_null() | pl.col("endpoint").is_not_null())
        .with_columns(pl.col("minute").dt.epoch("s") // 60 - fleet.first_bin * MINUTES)
    )


def _beyond(
    run: Run, carrier: _Carrier, part: pl.DataFrame, mine: pl.DataFrame, every: pl.DataFrame, fleet: Fleet
) -> int | None:
    """The first minute at whose end the run opens, and the consumer has more than it is used to or is not alone; None: there is none.

    part: rows of the run's endpoint; mine: calls of the consumer with the run's code; every: all its calls.
    """
    refused, called = _per_minute(mine, fleet), _per_minute(every, fleet)
    total, own = (
        so_far(refused),
        so_far(_per_minute(mine.filter(pl.col("endpoint") == run.endpoint), fleet)),
    )
    failed = so_far(by_minute(part.filter(pl.col("status_code") == run.status), 0, fleet.bins))
    calls = so_far(by_minute(part, 0, fleet.bins))
    for known in run.strong[run.strong >= run.known].tolist():
        first = max(run.start * MINUTES, known - DAY * MINUTES)
        excess = failed[known] - failed[first] - float(run.at_open["expected"]) * (calls[known] - calls[first])
        alone = own[known] - own[first] >= HINT_EXCESS * excess
        # Two minutes vary more than five: a window of a bin is the least that is compared.
        usual = BEYOND * _second_worst(total, known, max(known - first, MINUTES), fleet)
        news = total[known] - total[first] >= usual
        if run.status == 429:
            news = news and not _capped(refused, called, first, known)
        elif not news and _answered(refused, called, first, known):
            here = BEYOND * _second_worst(own, known, max(known - first, MINUTES), fleet)
            # What a name that nearly all calls have is used to is the endpoint's, against which the run was held already.
            news = carrier.most or own[known] - own[first] >= here
        if not alone or news:
            return int(known)
    return None


def _capped(refused: Floats, called: Floats, first: int, known: int) -> bool:
    """Whether a limit only kept a consumer from calling more than it mostly does, in the minutes first .. known-1.

    refused, called: its calls by minute, with 429 and in all.
    """
    answered = called - refused
    lately = slice(max(known - DAY * MINUTES, 0), known)
    other = answered[lately][(called[lately] > 0) & (refused[lately] == 0)]
    limited = refused[first:known] > 0
    if len(other) < OTHER_MINUTES or not limited.any():
        return False
    let_through = float(answered[first:known][limited].mean())
    return let_through >= max(float(np.quantile(other, CAPPED)), float(refused[first:known][limited].mean()) / RUNAWAY)


def _answered(refused: Floats, called: Floats, first: int, known: int) -> bool:
    """Whether a client was answered meanwhile: most of its calls in those of the minutes first .. known-1 in which it was refused."""
    limited = refused[first:known] > 0
    return float(refused[first:known].sum()) < (1 - ANSWERED) * float(called[first:known][limited].sum())


def _second_worst(total: Floats, known: int, width: int, fleet: Fleet) -> float:
    """Most calls within a window of a width, in minutes, on the second worst of the seven UTC days before that of a minute.

    total: calls before each minute.
    """
    day = DAY * MINUTES
    today = max(known - 1 - (known - 1 + fleet.first_bin * MINUTES) % day, 0)
    first = max(today - WEEK_DAYS * day, 0)
    ends, sums = np.arange(first, today) + 1, np.zeros(WEEK_DAYS * day)
    sums[WEEK_DAYS * day - (today - first) :] = total[ends] - total[np.maximum(ends - width, 0)]
    return float(np.sort(sums.reshape(WEEK_DAYS, day).max(axis=1))[-2])


def _per_minute(rows: pl.DataFrame, fleet: Fleet) -> Floats:
    calls = np.zeros(fleet.bins * MINUTES)
    np.add.at(calls, rows["minute"].to_numpy(), rows["calls"].to_numpy())
    return calls
