"""From the lake to candidate tickets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from apilens.config import Mark, Mute, load_config
from apilens.detect import find_candidates
from apilens.detect.memory import Memory
from apilens.detect.settings import muted, mutes_it, wanted
from apilens.errors import UsageError
from apilens.lake import DECIDED
from apilens.lens import Lens
from apilens.measure.addresses import ADDRESSES
from apilens.measure.explain import CARRIERS
from apilens.pipeline import suspects
from apilens.schema import BIN_S, CANDIDATES, ENDPOINT, SEVERITIES, SIGNALS
from apilens.store import open_state
from apilens.window import Window


def mark(lake: str, time: datetime, label: str, *, go_live: bool) -> None:
    """Keep a mark with the lake; the same one twice is kept once."""
    lens = Lens(lake)
    with lens.lake.lock("marks"):
        kept, made = lens.kept_marks, Mark(time=time, label=label, go_live=go_live)
        if made not in kept:
            _keep(lens, [*kept, made])


def _keep(lens: Lens, marks: Sequence[Mark]) -> None:
    lens.lake.save_text("marks.json", json.dumps([one.model_dump(mode="json") for one in marks]))


def unmark(lake: str, time: datetime, label: str | None, *, go_live: bool) -> int:
    """Remove the marks of this kind and minute, as they are listed, and of this label where one is given; how many they were.

    Raises UsageError where there is none such with the lake.
    """
    lens = Lens(lake)
    with lens.lake.lock("marks"):
        kept = lens.kept_marks
        minute = time.replace(second=0, microsecond=0)
        left = [
            one
            for one in kept
            if one.go_live != go_live
            or one.time.replace(second=0, microsecond=0) != minute
            or label not in (None, one.label)
        ]
        if len(left) == len(kept):
            there = any(
                one.go_live == go_live and one.time.replace(second=0, microsecond=0) == minute
                for one in lens.config.marks
            )
            raise UsageError(
                f"no {'go-live' if go_live else 'deploy'} at {minute:%Y-%m-%d %H:%M}Z{f' labelled {label!r}' if label else ''} is kept with {lake}; "
                + (
                    "it stands in the configuration, take it out there"
                    if there
                    else f"apilens mark --lake {lake} lists them"
                )
            )
        _keep(lens, left)
    return len(kept) - len(left)


@dataclass(frozen=True)
class Muted:
    """A mute in force or over: what it is about, until when, who said so and why."""

    about: Mute
    who: str
    at: datetime


def mute(
    lake: str,
    state: str | None,
    *,
    candidate: str | None,
    endpoints: str | None,
    signals: Sequence[str],
    until: datetime,
    who: str,
    why: str | None,
    now: datetime,
) -> int:
    """Let candidates wait until a moment: one (by id or its beginning, and whenever it comes back), or those of some endpoints
    ("METHOD /route" with *) and signals. A moment that has passed lifts the same mute. How many candidates changed.

    Raises UsageError where nothing, or both, is named, or no candidate is so called.
    """
    if (candidate is None) == (endpoints is None and not signals):
        raise UsageError("name what is to be muted: a CANDIDATE, or --endpoint PATTERN and --signal NAME")
    with open_state(lake, state, create=False) as store:
        known = store.candidates()
        mark = None if candidate is None else str(_one(known, candidate)["fingerprint"])
        about = Mute(fingerprint=mark, endpoints=endpoints or "*", signals=tuple(signals), until=until, why=why)
        subject = mark or f"{about.endpoints} {','.join(about.signals)}".strip()
        store.decide("mute", subject, about.model_dump_json(), who=who, why=why, now=now)
        # What this mute is not about stays as the last scan left it.
        meant = known.filter(pl.Series([mutes_it(about, row) for row in known.to_dicts()], dtype=pl.Boolean))
        unmuted = meant.with_columns(state=pl.col("state").replace("muted", "open"))
        settled = muted(unmuted, [one.about for one in mutes(lake, state)], now=now)
        return store.save_states(settled.select("id", "state"), who=who, now=now)


def mutes(lake: str, state: str | None) -> list[Muted]:
    """The mutes that people set with mute(), in the order they were set."""
    with open_state(lake, state, create=False) as store:
        rows = store.decisions("mute").to_dicts()
    return [Muted(Mute.model_validate_json(row["verdict"]), row["who"], row["at"]) for row in rows]


@dataclass(frozen=True)
class Explained:
    """A kept candidate (row of schema.CANDIDATES), what carries it (measure.explain.CARRIERS), and the client addresses of its
    affected calls that name no consumer (measure.addresses.ADDRESSES); both empty where it is about no calls."""

    candidate: dict[str, Any]
    carriers: pl.DataFrame
    addresses: pl.DataFrame


def explain(lake: str, state: str | None, candidate: str, *, most: int) -> Explained:
    """What is known of a kept candidate. candidate: its id or the beginning of one; most: addresses to count.

    Raises UsageError where none or several begin so.
    """
    lens = Lens(lake)
    with open_state(lake, state, create=False) as store:
        known = store.candidates()
    row = _one(known, candidate)
    of_calls = row["signal"] in SIGNALS
    carriers = lens.explain(row) if of_calls else CARRIERS.to_frame()
    missing = row["signal"] == "traffic" and (row["observed"] or 0.0) < (row["expected"] or 0.0)
    # Calls that did not come have no address; where each call names its consumer, nobody is left to look for.
    unnamed = of_calls and not missing and row["identity_coverage"] != 1.0
    return Explained(row, carriers, lens.addresses(row, most) if unnamed else ADDRESSES.to_frame())


def _one(known: pl.DataFrame, candidate: str) -> dict[str, Any]:
    """The candidate with this id, or whose id begins so."""
    fitting = known.filter(pl.col("id").str.starts_with(candidate))
    if fitting.height != 1:
        near = get_close_matches(candidate, known["id"].to_list(), n=3, cutoff=0.3)
        several = fitting["id"].head(3).to_list()
        what = f"begins {fitting.height} ids: {', '.join(several)}" if several else "is no candidate"
        raise UsageError(
            f"{candidate!r} {what}; expected one of `apilens scan`" + (f", such as {', '.join(near)}" if near else "")
        )
    return fitting.row(0, named=True)


@dataclass(frozen=True)
class Scanned:
    """candidates: schema.CANDIDATES of the window asked for; now: as of when (None: the lake is empty); begin: of the first bin with
    calls until then (None: there is none); changes: how many of all are new, updated, unchanged, withdrawn since the last scan; with_past:
    how many endpoints of how many the baseline knows (None: there is none)."""

    candidates: pl.DataFrame
    now: datetime | None
    begin: datetime | None
    changes: dict[str, int]
    with_past: tuple[int, int] | None = None

    def at_least(self, severity: str) -> int:
        """How many open candidates are at least that severe."""
        named = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return self.candidates.filter(pl.col("severity").is_in(named) & (pl.col("state") == "open")).height

    def summary(self) -> str:
        """`5 candidates (2 open)`."""
        still = self.candidates.filter(pl.col("state") == "open").height
        many = self.candidates.height
        return f"{many} candidate{'' if many == 1 else 's'} ({still} open)"


def _days_before(rollups: pl.DataFrame, begin: datetime) -> pl.DataFrame:
    """Rollups moved by whole days, so that the hours of the day stay, to end before `begin`."""
    last = rollups["bin_start"].max()
    if not isinstance(last, datetime):
        return rollups
    days = (begin - last - timedelta(seconds=BIN_S)) // timedelta(days=1)
    return rollups.with_columns(pl.col("bin_start") + timedelta(days=days))


def _named_as(rollups: pl.DataFrame, here: pl.DataFrame) -> pl.DataFrame:
    """Rollups whose endpoints have the environment and service that those of `here` have: an old system's gateway names other
    services, or none, and a test run is another environment.

    here: schema.ENDPOINT, one row each. It is the endpoint with the same method and route; of several the one with the same service
    and environment, or with the same service alone, or environment. Where several are as near, and where there is none, the name stays.
    """
    own = rollups.select(ENDPOINT).unique()
    near = 2 * pl.col("service").eq_missing(pl.col("service_here")) + pl.col("environment").eq_missing(
        pl.col("environment_here")
    )
    nearest = (
        own.join(here, on=["method", "route"], nulls_equal=True, suffix="_here")
        .with_columns(near=near)
        .filter(pl.col("near") == pl.col("near").max().over(ENDPOINT))
        .filter(pl.len().over(ENDPOINT) == 1)
        .select(*ENDPOINT, "environment_here", "service_here", named=pl.lit(True))
    )
    renamed = {
        name: pl.when("named").then(f"{name}_here").otherwise(name).alias(name) for name in ("environment", "service")
    }
    return (
        rollups.join(nearest, on=ENDPOINT, how="left", nulls_equal=True).with_columns(**renamed).select(rollups.columns)
    )


def _baseline(place: str, lens: Lens, openapi: str | None) -> pl.DataFrame:
    """Rollups of a baseline, by the routes that this lake's document names. Raises UsageError where it is this lake."""
    earlier = Lens(place, lens.config, openapi=openapi)
    if earlier.lake.root == lens.lake.root or Path(place).resolve() == Path(lens.lake.root).resolve():
        raise UsageError(
            f"--baseline {place!r} is this lake itself; expected the lake of a test run or of the old system. "
            "What this lake held before its go-live is compared anyway: apilens mark go-live TIME"
        )
    if lens.openapi.operations:
        earlier.openapi = lens.openapi
    return earlier.rollups().collect()


#: A scan looks at so much of the past at least: eight trailing weeks of baseline and incidents, whatever the lake holds besides.
LOOK_BACK = timedelta(days=63)
_WEEK_S = 7 * 86_400


def past_of(edge: datetime) -> datetime:
    """From when on a scan looks at calls: the same moment for a week, so that what was decided of them holds."""
    return datetime.fromtimestamp((edge - LOOK_BACK).timestamp() // _WEEK_S * _WEEK_S, UTC)


def _judged_from(first: datetime, ledger: pl.DataFrame) -> datetime:
    """From when on a scan of the calls since `first` says what is a candidate. Where the lake begins before that, endpoints seem to
    begin with `first`, and its week is baseline: scans of that time have judged it.
    """
    begin = ledger["first_start_time"].min()
    return first + timedelta(days=7) if isinstance(begin, datetime) and begin < first else first


def _replaced(ledger: pl.DataFrame) -> str:
    """Changes when a unit is read anew (`ingest --replace`): what a consumer or an upstream was called may change with it, and the
    rollups need not."""
    anew = ledger.filter(pl.col("attempt") > 1).select("unit_id", "attempt").sort("unit_id")
    return sha256(anew.write_csv().encode()).hexdigest()


def scan(
    lake: str,
    state: str | None,
    *,
    since: str | None = None,
    until: str | None = None,
    now: datetime | None = None,
    openapi: str | None = None,
    config: str | None = None,
    baseline: str | None = None,
) -> Scanned:
    """Find candidates as of `now` (None: the end of the data) and keep them; those of [since, until) are returned.

    openapi: as in Lens. config: for its marks. baseline: a lake of a test run or of the old system; its calls count as
    those of the days right before this lake's first call.
    """
    lens = Lens(lake, load_config(config), openapi=openapi)
    moment = now or lens.data_end
    if moment is None:
        return Scanned(CANDIDATES.to_frame(), None, None, {})
    # A bin is judged when it is over: the one that holds the last call counts as over at its end.
    edge = datetime.fromtimestamp(-(-moment.timestamp() // BIN_S) * BIN_S, UTC) if now is None else moment
    first = past_of(edge)
    rollups = lens.rollups(since=first, until=edge)
    launches = [mark.time for mark in lens.marks if mark.go_live and mark.time <= edge]
    blocks = suspects.calls_by_block(rollups)
    begin = rollups.select(pl.col("bin_start").min()).collect(engine="streaming").item()
    with_past = None
    if baseline is not None and begin is not None:
        here = rollups.select(ENDPOINT).unique().collect(engine="streaming")
        earlier = _named_as(_baseline(baseline, lens, openapi), here)
        with_past = here.join(earlier, on=ENDPOINT, how="semi", nulls_equal=True).height, here.height
        rollups = pl.concat([_days_before(earlier, begin).lazy(), rollups])
        launches = [begin, *launches]
    with lens.held() as calls:
        ledger = lens.lake.ledger()
        remembered = Memory(lens.lake.recall(DECIDED), _replaced(ledger))
        found = find_candidates(
            rollups,
            calls,
            now=edge,
            go_live=max(launches, default=None),
            settings=lens.config.detect,
            remembered=remembered,
        )
        if remembered.changed:
            lens.lake.memorise(DECIDED, remembered.to_bytes())
        if baseline is not None and begin is not None:
            found = found.filter(pl.col("detected_at") > begin)
        metrics = suspects.metrics(lens, first, edge)
        with open_state(lake, state) as store:
            facts = suspects.facts(calls, store, blocks, edge)
            found, friction = suspects.of_calls(calls, found, facts, blocks, edge)
            found = pl.concat([found, suspects.of_metrics(metrics, found, blocks, edge)]).sort("detected_at", "id")
            judged = _judged_from(first, ledger)
            found = wanted(found.filter(pl.col("start") >= judged), lens.config.detect, now=edge)
            found = suspects.with_evidence(calls, found, metrics, friction, store.candidates())
            found = muted(found, [*lens.config.detect.mutes, *suspects.mutes(store)], now=moment)
            changes = store.save_candidates(found, moment, Window(judged, edge))
    window = lens.window(since, until, now=moment)
    if window.start is not None:
        found = found.filter(pl.col("end") > window.start)
    if window.end is not None:
        found = found.filter(pl.col("start") < window.end)
    return Scanned(found, moment, begin, changes, with_past)
