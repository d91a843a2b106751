"""Anomalies → incidents: what belongs to one problem becomes one incident, told apart by who, where and which code.

Everything is decided in the order in which a scheduled scan would have met it, from what was logged until then; what
comes later may extend an incident but never changes which incidents there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from scipy.special import bdtrc, gammainc

from apilens import schema
from apilens.detect.baseline import DAY, HOUR, MINUTES, Fleet, Ints, by_minute
from apilens.detect.retries import moments

#: Given schema.BREAKDOWN_WINDOWS, returns schema.BREAKDOWN of the calls in them.
Breakdown = Callable[[pl.DataFrame], pl.DataFrame]

#: An anomaly goes on while its abnormal windows are not further apart than this (DETECTION: 45-90 quiet minutes).
QUIET = HOUR
#: The same code on the same endpoint again within this time is the same incident that flapped.
FLAP = 4 * HOUR
#: A strong anomaly that begins this long after the last strong one is a new occurrence, even if weak ones lie between.
NEW_OCCURRENCE = HOUR
#: Two endpoints that fail with the same code within one bin of each other have one cause; with a shared upstream
#: within two hours.
SAME_MOMENT = 1
SAME_UPSTREAM = 2 * HOUR
SIDE_EFFECT = HOUR
TOGETHER = HOUR // 2
#: So many upstreams slower (busier) at once are no longer their own matter.
EVERYWHERE = 3
#: DETECTION: the hint is the value with more than 85 % of the excess and less than 70 % of the traffic.
HINT_EXCESS, HINT_TRAFFIC = 0.85, 0.70
HINT_P = 0.01
#: An incident whose like was seen at this hour on two of the eight days before is the next occurrence of a recurring one; on one, where
#: that was yesterday, or with the same status code two days or a week ago. Other slowness two days later is another problem.
RECURRING_DAYS, YESTERDAY, SAME_CODE = 2, {1}, {1, 2, 7}
#: One consumer's client errors are raised when they go on half an hour after the bin in which they began.
PATIENCE = HOUR // 2
#: So few failed calls within an hour may be one client's, who tried again: its moments (retries.py)
#: must be as improbable as calls. Picked on quiet worlds: of ten false tickets of four to six calls, none had three moments.
FEW_CALLS, MOMENTS_P, TWO_MOMENTS_P = 12.5, 1e-5, 1e-6
#: What a gateway answers to one client by nature. For others (422 of an app with all its users) the rule of habits.py lost faults.
REFUSALS = (401, 403, 429)
DIMENSIONS = ("consumer", "node", "upstream", "address")


@dataclass(slots=True)
class Profile:
    """Calls and excess per value of each dimension, summed over the runs of an incident."""

    calls: dict[str, dict[str, float]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    excess: dict[str, dict[str, float]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    sizes: float = 0.0  # spread of one call's share in the excess: 1 for counts, for latency that of a log duration

    def plus(self, other: Profile) -> Profile:
        """The profile of both together."""
        merged = Profile(sizes=max(self.sizes, other.sizes))
        for source in (self, other):
            for name in DIMENSIONS:
                for value, calls in source.calls[name].items():
                    merged.calls[name][value] = merged.calls[name].get(value, 0.0) + calls
                    merged.excess[name][value] = merged.excess[name].get(value, 0.0) + source.excess[name][value]
        return merged

    def top(self, dimension: str) -> tuple[str | None, float, float]:
        """The value with most of the excess, its share of the excess and its share of the calls."""
        excess = {value: max(part, 0.0) for value, part in self.excess[dimension].items()}
        total, calls = sum(excess.values()), sum(self.calls[dimension].values())
        if total <= 0:
            return None, 0.0, 0.0
        value = max(excess, key=lambda name: (excess[name], name))
        # A surge at a time that had no calls the day before is somebody's as well.
        return value, excess[value] / total, self.calls[dimension][value] / calls if calls > 0 else 0.0

    def carrier(self, dimension: str) -> str | None:
        """The one value that carries the excess beyond chance, or None.

        One-sided binomial tail of its share against its share of the traffic, corrected for the number of values
        looked at.
        """
        value, share, traffic = self.top(dimension)
        if value is None or value == "" or share < HINT_EXCESS or traffic > HINT_TRAFFIC:
            return None
        total = sum(max(part, 0.0) for part in self.excess[dimension].values()) / self.sizes
        hits = math.floor(share * total)
        chance = float(bdtrc(hits - 1, max(math.ceil(total), hits), traffic)) if hits > 0 else 1.0
        return value if chance * len(self.calls[dimension]) < HINT_P else None


@dataclass(slots=True)
class Run:
    """One uninterrupted anomaly of one endpoint, signal and status code."""

    endpoint: int
    signal: str
    status: int | None
    direction: int
    start: int  # bin
    known: int  # minute (of bin 0 on) at whose end a scheduled scan raised it; these, too, are counted from 1
    bins: Ints  # abnormal bins, ascending
    early: dict[int, int]  # bins known as abnormal before they were over, and since which minute
    strong: Ints  # minutes since which it was known of windows that they open by themselves
    proofs: list[tuple[int, float, float]]  # of these: first bin, calls that speak for it, expected ratio
    at_open: dict[str, float | str]
    at_peak: dict[str, float | str]
    expected: float  # mean over its abnormal windows, in the unit of at_open
    profile: Profile = field(default_factory=Profile)
    recent: Profile = field(default_factory=Profile)  # of the last hour before it was raised
    node: str | None = None  # that carries what failed alike on other endpoints as well (nodes.py)
    watched: bool = False  # followed until it recovered (lasting.py)
    recovered: int | None = None  # bin at whose end that was known; None: not yet
    alone: bool = False  # began with the launch, and others behind its upstream are well (launched.py)
    came: int | None = None  # a late job: bin by which most of it had come; None: it is none, or has not

    @property
    def series(self) -> tuple[int, str, int | None, int]:
        """What is watched: the same for a run and its later repetition."""
        return self.endpoint, self.signal, self.status, self.direction

    @property
    def opened(self) -> int:
        """The bin in which it was raised."""
        return (self.known - 1) // MINUTES

    def last(self, upto: int) -> int:
        """Last abnormal bin known at the end of minute `upto`; a watched run goes on until its recovery is known."""
        bin_ = (upto - 1) // MINUTES
        if self.watched and bin_ > self.opened and (self.recovered is None or upto < (self.recovered + 1) * MINUTES):
            return bin_
        if self.early.get(bin_, upto + 1) <= upto:
            return bin_
        at = int(np.searchsorted(self.bins, upto // MINUTES))
        return int(self.bins[at - 1]) if at else self.start

    def last_strong(self, upto: int) -> int:
        """As last(), without the weak windows that keep a latency or traffic run alive: weeks of a slightly higher
        level must not swallow the next step."""
        if self.status is not None:
            return self.last(upto)
        at = int(np.searchsorted(self.strong, upto, side="right"))
        return (int(self.strong[at - 1]) - 1) // MINUTES if at else self.start


@dataclass(slots=True)
class Incident:
    """Runs with one cause; the first one names it."""

    runs: list[Run]
    profile: Profile
    consumer: str | None = None  # fixed when the incident opens
    node: str | None = None
    upstream: str | None = None
    repeats: list[int] = field(default_factory=list)  # start bins of later occurrences folded into this one

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def start(self) -> int:
        return min(run.start for run in self.runs if run.known == self.first.known)

    def last(self, upto: int) -> int:
        """Last abnormal bin of its own signal, known at the end of minute `upto`; side effects do not prolong it."""
        return max(run.last(upto) for run in self.runs if run.signal == self.first.signal)


def runs_of(found: pl.DataFrame) -> list[Run]:
    """Runs from anomalies.ANOMALIES, in the order in which they were raised."""
    series = ["endpoint", "signal", "status_code", "direction"]
    span = pl.col("bin") - pl.col("start_bin") + 1
    known = pl.col("bin") * MINUTES + pl.col("minutes").fill_null(MINUTES)
    rows = (
        found.with_columns(known=known)
        .sort(*series, "known", nulls_last=True, maintain_order=True)
        .with_columns(new=(pl.col("start_bin") > pl.col("bin").shift(1).over(series) + QUIET).fill_null(True))
        .with_columns(chain=pl.col("new").cum_sum())
        # A burst of minutes echoes in the windows of a day long after it ended: only windows of its own size prolong
        # it.
        .with_columns(size=pl.max_horizontal(2 * span.filter("opens").first().over("chain"), HOUR))
        .with_columns(lasts=span <= pl.col("size"))
        .with_columns(
            strong=pl.when(pl.col("opens") & pl.col("lasts")).then("bin").forward_fill().shift(1).over("chain")
        )
        .with_columns(again=pl.col("opens") & (pl.col("start_bin") > pl.col("strong") + NEW_OCCURRENCE))
        .with_columns(run=(pl.col("new") | pl.col("again").fill_null(False)).cum_sum())
        .filter(pl.col("opens").any().over("run"))
        # A new occurrence may be a slower one: its own first window says how long its windows are.
        .with_columns(lasts=span <= pl.max_horizontal(2 * span.filter("opens").first().over("run"), HOUR))
    )
    result = []
    measures = ["detector", "observed", "expected", "unit", "n", "excess", "log10_p"]
    for part in rows.partition_by("run", maintain_order=True):
        opening = part.filter("opens").row(0, named=True)
        peak = part.filter(pl.col("excess") == pl.col("excess").max()).row(0, named=True)
        lasting = part.filter(pl.col("lasts") & (pl.col("bin") >= opening["start_bin"]))
        early = lasting.filter(pl.col("minutes").is_not_null())
        result.append(
            Run(
                endpoint=opening["endpoint"],
                signal=opening["signal"],
                status=opening["status_code"],
                direction=opening["direction"],
                start=opening["start_bin"],
                known=opening["known"],
                bins=np.unique(lasting["bin"].to_numpy()),
                early=dict(early.select("bin", "known").iter_rows()),
                strong=lasting.filter("opens")["known"].to_numpy(),
                proofs=lasting.filter("opens").select("start_bin", pl.col("observed") * pl.col("n"), "expected").rows(),
                at_open={name: opening[name] for name in measures},
                at_peak={name: peak[name] for name in measures},
                expected=float(np.mean(lasting["expected"].to_numpy())),
            )
        )
    return sorted(result, key=when_raised)


def when_raised(run: Run) -> tuple[int, int, float, int, str]:
    """The order in which a scheduled scan meets runs."""
    rank = ("errors", "auth", "rate_limit", "latency", "traffic").index(run.signal)
    return run.known, rank, float(run.at_open["log10_p"]), run.endpoint, str(run.status)


def reopened(runs: list[Run], opened: dict[int, int | None]) -> list[Run]:
    """The runs in the order in which they are raised, those in `opened` (by id) in the minute given there; None: never."""
    kept = []
    for run in runs:
        known = opened.get(id(run), run.known)
        if known is not None:
            kept.append(run if known == run.known else replace(run, known=known))
    return sorted(kept, key=when_raised)


def patient(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; client errors of one consumer opened PATIENCE after they began, and are left out where they were over by then.

    Someone who struggles with a form, or tries what is not there, is done after minutes; a client that was released
    broken is not. Authentication and rate limits are one consumer's matter by nature and wait for nothing.
    """
    result, asked, spans = [], [], []
    for run in convincing(runs, rows, fleet, breakdown):
        if run.signal != "errors" or run.status is None or run.status >= 500:
            result.append(run)
            continue
        early = run.strong[run.strong < (run.start + 1 + PATIENCE) * MINUTES].tolist()
        asked.append((run, early))
        spans += [(run.endpoint, run.start * MINUTES, known) for known in early]
    parts = breakdown(windows_frame(spans, fleet)).partition_by("window_id", as_dict=True) if spans else {}
    nothing = schema.BREAKDOWN.to_frame()
    window = 0
    for run, early in asked:
        profiles = [
            profile_of(run, parts.get((window + at,), nothing), nothing, run.at_open) for at in range(len(early))
        ]
        window += len(early)
        opened = [known for known, profile in zip(early, profiles, strict=True) if not _of_one(profile)]
        opened += run.strong[len(early) :].tolist()
        if opened:
            result.append(replace(run, known=opened[0]))
    return sorted(result, key=when_raised)


def convincing(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; those of a few failed calls opened when they are improbable as moments of their consumers too, and left out
    where they never were.

    A client tries a broken call again within seconds, and a person a form within a minute: ten such calls are one moment. The
    expectation has them as calls, which errs on the side of silence. Authentication and rate limits are left as they are: one
    consumer that is turned away is what they are about. rows: as baseline.fleet returns them; the log is asked for the minutes with
    failed calls alone.
    """
    few = {at: proofs for at, run in enumerate(runs) if (proofs := _few(run))}
    hit = {runs[at].endpoint for at in few}
    of_endpoint = rows.filter(pl.col("endpoint").is_in(hit)).partition_by("endpoint", as_dict=True)
    expected: dict[tuple[int, int], float] = {}
    failures = []
    for at, proofs in few.items():
        run, first, end = runs[at], min(begin for _, begin, _ in proofs), proofs[-1][0]
        part = of_endpoint[(run.endpoint,)]
        failed, calls = (
            by_minute(each, first // MINUTES, -(-end // MINUTES))[: end - first]
            for each in (part.filter(pl.col("status_code") == run.status), part)
        )
        failures += [(at, first + minute) for minute in np.flatnonzero(failed).tolist()]
        expected |= {
            (at, known): ratio * float(calls[begin - first : known - first].sum()) for known, begin, ratio in proofs
        }
    tried = _tried(failures, runs, fleet, breakdown)
    result = []
    for at, run in enumerate(runs):
        doubted = [
            known
            for known, begin, _ in few.get(at, [])
            if not _improbable([one for one in tried[at] if begin <= one[0] < known], run.status, expected[at, known])
        ]
        opened = run.strong[~np.isin(run.strong, doubted)]
        if run.known not in doubted:
            result.append(run)
        elif len(opened):
            result.append(replace(run, known=int(opened[0]), strong=opened))
    return sorted(result, key=when_raised)


def _few(run: Run) -> list[tuple[int, int, float]]:
    """Of the windows that open a run, those of a few failed calls: the minutes at whose ends they are known, and begin, and the
    expected ratio."""
    hour = HOUR * MINUTES
    # What opens again an hour later is believed.
    return [
        (known, begin * MINUTES, ratio)
        for known, (begin, hits, ratio) in zip(run.strong.tolist(), run.proofs, strict=True)
        if run.signal == "errors"
        and hits <= FEW_CALLS
        and known - begin * MINUTES <= hour
        and known <= run.known + hour
    ]


def _tried(
    failures: list[tuple[int, int]], runs: list[Run], fleet: Fleet, breakdown: Breakdown
) -> dict[int, list[tuple[int, str | None, int]]]:
    """By place in `runs` the minutes with its failed calls, in their order, each with every consumer that had them and how many.

    failures: such places and minutes.
    """
    tried: dict[int, list[tuple[int, str | None, int]]] = {at: [] for at in range(len(runs))}
    if failures:
        windows = windows_frame([(runs[at].endpoint, minute, minute + 1) for at, minute in failures], fleet)
        codes = pl.Series("status_code", [runs[at].status for at, _ in failures], schema.BREAKDOWN["status_code"])
        of_them = windows.select("window_id", codes)
        found = breakdown(windows).join(of_them, on=["window_id", "status_code"], how="semi")
        each = found.group_by("window_id", "consumer").agg(pl.col("calls").sum()).sort("window_id")
        for window, consumer, calls in each.iter_rows():
            at, minute = failures[window]
            tried[at].append((minute, consumer, calls))
    return tried


def _improbable(tried: list[tuple[int, str | None, int]], status: int | None, expected: float) -> bool:
    """Whether failed calls are beyond chance as moments. tried, status: see retries.moments; expected: calls. Tail of a Poisson
    distribution."""
    seen = moments(tried, status)
    return seen > 1 and float(gammainc(seen, expected)) < (MOMENTS_P if seen > 2 else TWO_MOMENTS_P)


def _of_one(profile: Profile) -> bool:
    """Whether one of several consumers has all of the excess, be it by chance."""
    value, share, traffic = profile.top("consumer")
    return bool(value) and share >= HINT_EXCESS and traffic <= HINT_TRAFFIC


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


def group(runs: list[Run], fleet: Fleet, breakdown: Breakdown) -> list[Incident]:
    """Incidents from runs, each with the runs that share its cause; in the order in which they were raised."""
    spans = []
    for run in runs:
        start, end = run.start * MINUTES, run.known
        spans.append((run.endpoint, start, end))
        spans.append((run.endpoint, max(end - HOUR * MINUTES, start), end))
        spans.append((run.endpoint, max(start - DAY * MINUTES, 0), max(end - DAY * MINUTES, MINUTES)))
    parts = breakdown(windows_frame(spans, fleet)) if spans else schema.BREAKDOWN.to_frame()
    by_window = {int(key[0]): part for key, part in parts.group_by("window_id")}
    nothing = schema.BREAKDOWN.to_frame()
    incidents: list[Incident] = []
    for number, run in enumerate(runs):
        whole, recent, before = (by_window.get(3 * number + part, nothing) for part in range(3))
        run.profile, run.recent = (profile_of(run, part, before, run.at_open) for part in (whole, recent))
        latest = incidents[::-1]
        home = next((incident for incident in latest if _goes_on(run, incident)), None)
        home = home or next((incident for incident in latest if _belongs(run, incident, fleet.launch)), None)
        if home is not None:
            home.runs.append(run)
            home.profile = home.profile.plus(run.profile) if run.signal == home.first.signal else home.profile
        else:
            home = Incident([run], run.profile)
            incidents.append(home)
        if run.known == home.first.known:
            _name(home)
    return _fold(incidents, fleet)


def _name(incident: Incident) -> None:
    """Fix what the incident is about, from what was known in the minute in which it opened."""
    profile = incident.profile
    incident.consumer = profile.carrier("consumer")
    incident.node = None if incident.consumer else profile.carrier("node") or incident.first.node
    upstream, share, _ = profile.top("upstream")
    shared = len({run.endpoint for run in incident.runs}) > 1 or incident.first.status in (502, 503, 504)
    free = incident.consumer is None and incident.node is None
    incident.upstream = upstream if free and shared and share > HINT_EXCESS and upstream else None


def _goes_on(run: Run, incident: Incident) -> bool:
    """Whether the run is the same endpoint, signal and code again, shortly after."""
    mine = [other for other in incident.runs if other.series == run.series]
    last = max((other.last_strong(run.known) for other in mine), default=None)
    if last is None or not _compatible(run, incident):
        return False
    lasts = max((other.last(run.known) for other in mine if _still_going(run, other)), default=last)
    return run.start <= max(last, lasts) + max(FLAP, 2 * (incident.first.opened - incident.first.start))


def _still_going(run: Run, other: Run) -> bool:
    """Whether run is what `other` found, which has not recovered; of latency not the next step on top of it, one as large as the first."""
    if not other.watched or run.status is not None:
        return False
    if run.signal == "traffic":
        return True
    now, observed = float(run.at_open["observed"]), float(other.at_open["observed"])
    return run.at_open["unit"] == "ms" and now / observed <= observed / float(other.at_open["expected"])


def _belongs(run: Run, incident: Incident, launch: int) -> bool:
    """Whether a run that just opened has the incident's cause: who, then where, then the same moment, then a side
    effect."""
    last = incident.last(run.known)
    if min(run.start, run.opened - HOUR) > last + QUIET:
        return False
    first = incident.first
    near = abs(run.start - incident.start)
    endpoints = {other.endpoint for other in incident.runs}
    if run.status is not None and first.status is not None:
        if run.status == first.status:
            for profile in (run.profile, run.recent):
                if any(_shared(profile, incident.profile, dimension) for dimension in ("consumer", "node")):
                    return True
            own = run.profile.carrier("consumer") or run.profile.carrier("node")
            client = _same_client(run, incident)
            if own is not None and own not in (incident.consumer, incident.node) and not client:
                return False
            # What is bad since the launch began with it: that is no moment to have in common.
            at_once = near <= SAME_MOMENT and not launch <= run.start < launch + SAME_UPSTREAM
            alike = client or _same_upstream(run, incident) or _everywhere(run, incident)
            return at_once or (near <= SAME_UPSTREAM and alike)
        if near > SIDE_EFFECT:
            return False
        if run.endpoint in endpoints and len(endpoints) <= 3:
            return True
        both_failures = min(run.status, first.status) >= 500
        return both_failures and (_same_upstream(run, incident) or _shared(run.profile, incident.profile, "node"))
    if run.signal == first.signal == "latency":
        if _same_moment(run, incident):
            return True
        together = _same_upstream(run, incident) or _shared(run.profile, incident.profile, "node")
        # The window of a day may have begun anywhere in it; and what gets slower for days shows on each endpoint when it may.
        inside = run.start <= incident.start and run.opened <= first.opened + SAME_UPSTREAM
        slowly = min(run.opened - run.start, first.opened - first.start) >= DAY - 1
        return (near <= SAME_UPSTREAM or inside or slowly) and together
    if run.signal == first.signal == "traffic":
        if run.direction != first.direction:
            return run.endpoint in endpoints and run.start <= last + SIDE_EFFECT
        alike = _shared(run.profile, incident.profile, "consumer") or (
            run.profile.carrier("consumer") is None and _same_upstream(run, incident)
        )
        return _same_moment(run, incident) or (near <= SIDE_EFFECT and alike)
    # Side effects: failures that are slow, retried or abandoned. A slow drift began too long ago to be one.
    same = [other for other in incident.runs if other.endpoint == run.endpoint]
    if not same or max(run.opened - run.start, first.opened - first.start) >= DAY - 1:
        return False
    begin, end = min(other.start for other in same), max(other.last(run.known) for other in same)
    if run.status is not None or first.status is None:
        return abs(run.start - begin) <= SIDE_EFFECT
    # What fails for days is not the cause of all that happens there meanwhile.
    fresh = run.start <= max(other.start for other in same) + FLAP
    return fresh and begin - SIDE_EFFECT <= run.start <= end + SIDE_EFFECT // 2 and run.opened <= end + SIDE_EFFECT


def _compatible(run: Run, incident: Incident) -> bool:
    """Nothing says that the run is about another consumer or node than the incident."""
    for dimension, named in (("consumer", incident.consumer), ("node", incident.node)):
        value, share, _ = run.recent.top(dimension)
        if named is not None and value != named and share >= HINT_EXCESS:
            return False
    return True


def _same_moment(run: Run, incident: Incident) -> bool:
    """Both set in at once; or the incident is the whole gateway's already, and endpoints with few calls show it later."""
    gap = abs(run.opened - incident.first.opened)
    if gap <= SAME_MOMENT and abs(run.start - incident.first.start) <= SAME_MOMENT:
        return True
    return gap <= TOGETHER and _everywhere(run, incident)


def _everywhere(run: Run, incident: Incident) -> bool:
    """The incident is the whole gateway's already: it shows behind several upstreams (on several endpoints, where no upstream is
    named), and no consumer or node carries it."""
    free = incident.consumer is None and incident.node is None
    same = [other for other in incident.runs if other.signal == run.signal]
    hit = {other.profile.top("upstream")[0] or other.endpoint for other in same}
    return free and len(hit) >= EVERYWHERE


def _same_client(run: Run, incident: Incident) -> bool:
    """Both are the same client's refusals, though it has most of the calls as well, or too few were refused to tell that from chance."""
    mine, my_share, _ = run.profile.top("consumer")
    theirs, their_share, _ = incident.profile.top("consumer")
    return run.status in REFUSALS and bool(mine) and mine == theirs and min(my_share, their_share) >= HINT_EXCESS


def _shared(mine: Profile, theirs: Profile, dimension: str) -> bool:
    """Both are carried by the same value, the smaller one perhaps not beyond chance by itself."""
    value, share, _ = mine.top(dimension)
    return bool(value) and share >= HINT_EXCESS and mine.plus(theirs).carrier(dimension) == value


def _same_upstream(run: Run, incident: Incident) -> bool:
    """Both run into the same upstream, which is no matter of one consumer or node, nor of one endpoint since the launch."""
    mine, my_share, _ = run.profile.top("upstream")
    theirs, their_share, _ = incident.profile.top("upstream")
    free = incident.consumer is None and incident.node is None and not (run.alone or incident.first.alone)
    return bool(mine) and mine == theirs and free and my_share > HINT_EXCESS and their_share > HINT_EXCESS


def _fold(incidents: list[Incident], fleet: Fleet) -> list[Incident]:
    """Incidents without those that repeat a known one: same endpoint, detector and code at the same hour of earlier days
    (RECURRING_DAYS), and not another consumer's."""
    kept: list[Incident] = []
    seen: dict[tuple[int, str, int | None, int], list[tuple[int, Incident]]] = {}
    for incident in incidents:
        earlier = [
            (start, home)
            for start, home in seen.get(incident.first.series, [])
            if 0 < incident.start - start <= 8 * DAY
            and abs((incident.start - start + DAY // 2) % DAY - DAY // 2) <= HOUR
            and (home.consumer == incident.consumer or None in (home.consumer, incident.consumer))
        ]
        days = {round((incident.start - start) / DAY) for start, _ in earlier}
        if len(days) >= RECURRING_DAYS or days & (YESTERDAY if incident.first.status is None else SAME_CODE):
            home = earlier[-1][1]
            home.repeats.append(incident.start)
            home.runs += incident.runs
        else:
            home = incident
            kept.append(incident)
        seen.setdefault(incident.first.series, []).append((incident.start, home))
    return kept
