"""Somebody without a name who is turned away wherever it comes: a scan of the API, and no endpoint that broke.

Such a client is known by what it does, whatever it calls itself: within a day it is refused on many endpoints, on none of which it was
answered in the week before. So a client whose key has expired is none, because it was answered where it is now refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet, by_minute
from apilens.detect.bins import DAY, MINUTES, WEEK_DAYS, Bools, Ints, so_far
from apilens.detect.breakdowns import windows_frame
from apilens.detect.habits import Told, told
from apilens.detect.runs import HINT_EXCESS, Run, reopened

#: Given schema.STRANGERS_ASKED, returns schema.STRANGERS.
Strangers = Callable[[pl.DataFrame], pl.DataFrame]
#: What somebody without credentials is told.
CODES = (401, 403, 404)
#: So many endpoints in a day are a scan; so many are enough for a client that asks for paths that only scanners ask for. Picked: a client
#: of an API that is set up with wrong credentials tries a handful. It asks for nothing that is not there and never was.
SPREAD, SPREAD_PROBING, SPREAD_MISSING = 8, 3, 2
_DAY = DAY * MINUTES


@dataclass(slots=True)
class _Client:
    """Minutes, ascending, by endpoint (its names)."""

    refused: dict[str, Ints] = field(default_factory=dict)
    answered: dict[str, Ints] = field(default_factory=dict)  # one an hour
    probed: Ints = field(default_factory=lambda: np.array([], dtype=np.int64))

    def answered_at(self, endpoint: str, until: Ints) -> Bools:
        """Whether it was answered there within the week before minutes."""
        return _any(self.answered.get(endpoint), until, WEEK_DAYS * _DAY)

    def scans(self, until: Ints, status: int) -> Bools:
        """Whether the day before minutes is that of a scanner, as far as what it had of a status code is concerned."""
        spread = np.zeros(len(until), dtype=np.int64)
        for endpoint, minutes in self.refused.items():
            spread += _any(minutes, until, _DAY) & ~self.answered_at(endpoint, until)
        probing = SPREAD_MISSING if status == 404 else SPREAD_PROBING
        return (spread >= SPREAD) | (_any(self.probed, until, _DAY) & (spread >= probing))


def unscanned(
    runs: list[Run],
    rows: pl.DataFrame,
    fleet: Fleet,
    strangers: Strangers,
    decided: dict[Told, int | None] | None = None,
) -> list[Run]:
    """The runs; refusals that scanners carry opened when others had most of the excess, and left out where they never had.

    rows: as baseline.fleet returns them. What a scanner had before it could be told is counted as soon as it can. decided: as
    habits.unaccustomed has it.
    """
    decided = {} if decided is None else decided
    told_of = {id(run): told(run, fleet) for run in runs if run.status in CODES}
    asked = [run for run in runs if run.status in CODES and told_of[id(run)] not in decided]
    if asked:
        fresh = _when_others(asked, rows, fleet, strangers)
        decided |= {told_of[id(run)]: fresh.get(id(run), run.known) for run in asked}
    for gone in decided.keys() - set(told_of.values()):
        del decided[gone]
    return reopened(runs, {key: decided[name] for key, name in told_of.items()})


def _when_others(asked: list[Run], rows: pl.DataFrame, fleet: Fleet, strangers: Strangers) -> dict[int, int | None]:
    """By id of a run that a scanner may have a part in the minute in which others had most of it; None: never."""
    spans = [(run.endpoint, run.start * MINUTES, int(run.strong[-1])) for run in asked]
    codes = pl.Series("status_code", [run.status for run in asked], schema.STRANGERS_ASKED["status_code"])
    found = strangers(windows_frame(spans, fleet).with_columns(codes).select(*schema.STRANGERS_ASKED))
    found = found.with_columns(
        pl.col("minute").dt.epoch("s") // 60 - fleet.first_bin * MINUTES,
        name=pl.concat_str(pl.col(schema.ENDPOINT).fill_null("-"), separator="\x1f"),
    ).join(fleet.endpoints, on=list(schema.ENDPOINT), how="left", nulls_equal=True)
    # Whoever never was refused on so many endpoints is no scanner at any time: most clients are not looked at one by one.
    met = found.filter(pl.col("refused").is_not_null()).group_by("client")
    could = met.agg(pl.col("name").n_unique(), pl.col("probe").any()).filter(
        (pl.col("name") >= SPREAD) | pl.col("probe") & (pl.col("name") >= SPREAD_MISSING)
    )
    found = found.join(could, on="client", how="semi").sort("client", "minute", "name")
    clients = {str(name): _client(part) for (name,), part in found.group_by("client")}
    mine = found.filter(~pl.col("probe") & pl.col("refused").is_not_null())
    by_series = mine.partition_by("endpoint", "refused", as_dict=True)
    hit = {run.endpoint for run in asked if (run.endpoint, run.status) in by_series}
    of_endpoint = rows.filter(pl.col("endpoint").is_in(hit)).partition_by("endpoint", as_dict=True)
    return {
        id(run): _not_scanned(
            run,
            of_endpoint[(run.endpoint,)],
            by_series[run.endpoint, run.status].partition_by("client"),
            clients,
            fleet,
        )
        for run in asked
        if (run.endpoint, run.status) in by_series
    }


def _client(part: pl.DataFrame) -> _Client:
    refused, answered = part.filter(pl.col("refused").is_not_null()), part.filter(pl.col("refused").is_null())
    return _Client(_minutes(refused), _minutes(answered), refused.filter("probe")["minute"].to_numpy())


def _minutes(rows: pl.DataFrame) -> dict[str, Ints]:
    return {str(name): part["minute"].to_numpy() for (name,), part in rows.group_by("name", maintain_order=True)}


def _any(minutes: Ints | None, until: Ints, width: int) -> Bools:
    """Whether one of the minutes, ascending, is among the `width` minutes before each of others."""
    if minutes is None:
        return np.zeros(len(until), dtype=np.bool_)
    found: Bools = np.searchsorted(minutes, until) > np.searchsorted(minutes, until - width)
    return found


def _not_scanned(
    run: Run, part: pl.DataFrame, mine: list[pl.DataFrame], clients: dict[str, _Client], fleet: Fleet
) -> int | None:
    """The first minute at whose end the run opens and scanners have less than most of its excess; None: there is none.

    part: rows of the run's endpoint; mine: for each client without a name its calls there with the run's code.
    """
    known = run.strong[run.strong >= run.known]
    first = np.maximum(run.start * MINUTES, known - _DAY)
    theirs = np.zeros(len(known))
    for calls in mine:
        client = clients[calls["client"][0]]
        total = np.r_[0, np.cumsum(calls["calls"].to_numpy())]
        own = np.diff(total[np.searchsorted(calls["minute"].to_numpy(), [first, known])], axis=0)[0]
        theirs += own * (client.scans(known, calls["refused"][0]) & ~client.answered_at(calls["name"][0], known))
    failed, all_ = (
        so_far(by_minute(each, 0, fleet.bins)) for each in (part.filter(pl.col("status_code") == run.status), part)
    )
    excess = failed[known] - failed[first] - float(run.at_open["expected"]) * (all_[known] - all_[first])
    others = np.flatnonzero(theirs < HINT_EXCESS * excess)
    return int(known[others[0]]) if len(others) else None
