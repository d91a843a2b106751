"""A third kind of world, by an author who has not read the detector: the gateway of a bank.

    python benchmarks/detection.py bank:1 quiet-bank:1

Mobile apps, open-banking third parties, corporate customers in three time zones and internal services call ten services through four
gateway nodes in two regions. Calls come in visits of heavy-tailed length; opening the app calls several endpoints at once; third parties poll
four times a day; corporate customers keep office hours and send payment files at fixed minutes. Latency has a mode for cache hits, one for
misses and a Pareto tail, and grows with the load of the service. What failed is tried again.

No fault are: payday, month end, a public holiday, push notices, batch jobs whose volume varies by day, which are late now and then or skip
weekends, bursts of 401 when a client's token expires, a third party that lives at its quota (429), deployments (two minutes of slower calls,
caches cold, 3 % for good), a node drained, a node replaced by a new one, a cache flushed every night, a consumer that grows 6 % a day, a consumer let in
by steps, an endpoint that moves to a new version, one that lives a few days, endpoints with a few calls an hour, scanners, health checks,
and holes in the log.

A fault is planted only if somebody who looks at the chart of its endpoint would agree that something happened; `visible` says when that is and which grade it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl
from calls import Columns, label
from scipy.signal import lfilter
from worlds import DAY, SIGNAL, World

MONDAY = int(datetime(2026, 4, 20, tzinfo=UTC).timestamp())
NODES = ("gw-fra-1", "gw-fra-2", "gw-dub-1", "gw-dub-2", "gw-dub-3")  # the last replaces the one before it
RESOURCES = {
    "accounts": ("accounts", "balances", "transactions", "standing-orders"),
    "payments": ("payments", "transfers", "mandates", "payees"),
    "cards": ("cards", "card-limits", "disputes", "wallets"),
    "identity": ("consents", "devices", "profiles", "sessions"),
    "fx": ("rates", "fx-orders", "currencies", "fx-alerts"),
    "loans": ("loans", "offers", "schedules", "collaterals"),
    "documents": ("statements", "certificates", "templates", "archives"),
    "notify": ("messages", "subscriptions", "webhooks", "channels"),
    "kyc": ("checks", "screenings", "evidence", "reviews"),
    "invest": ("portfolios", "securities", "trades", "savings-plans"),
}
ROUTES = (
    ("GET", "/v1/{}"), ("GET", "/v1/{}/{{id}}"), ("POST", "/v1/{}"), ("GET", "/v1/{}/{{id}}/history"), ("PUT", "/v1/{}/{{id}}"),
    ("GET", "/v2/{}/{{id}}"), ("DELETE", "/v1/{}/{{id}}"),
)  # fmt: skip
# Groups of consumers: share of the traffic, hours east of UTC, mean calls of a visit to an endpoint, share of a region's nodes
MOBILE, THIRD, POLLING, CORP_EU, CORP_US, CORP_IN, INTERNAL = range(7)
GROUP_SHARE = (0.46, 0.12, 0.12, 0.12, 0.06, 0.04, 0.08)
GROUP_ZONE = (2, 2, 2, 2, -5, 5.5, 0)
GROUP_VISIT = (1.4, 1.3, 3.5, 2.2, 2.2, 1.8, 1.1)
GROUP_NODES = np.array(
    [[0.33, 0.27, 0.22, 0.18]] * 3 + [[0.5, 0.4, 0.06, 0.04], [0.05, 0.05, 0.5, 0.4], [0.4, 0.4, 0.1, 0.1], [0.25] * 4]
)
SIGNALS = SIGNAL | {"slow_degradation": "latency"}
TRAFFIC = ("traffic_drop", "traffic_spike", "silence")
OTHERS = (
    "error_burst", "upstream_timeout", "latency_step", "latency_tail", "latency_drift", "slow_degradation", "auth_failure",
    "auth_failure", "rate_limit", "new_code", "validation_regression", "node_outage", "low_traffic_fail", "recurring",
)  # fmt: skip
GRADES = ("hard", "medium", "easy")
# What a fault is drawn from, by the grade it is meant to have; the grade in the label is what `visible` makes of the outcome.
FAILING = {"easy": (0.3, 1.0), "medium": (0.1, 0.3), "hard": (0.04, 0.1)}  # share of the calls
SLOWER = {"easy": (2.0, 5.0), "medium": (1.5, 2.0), "hard": (1.2, 1.5)}  # factor
TAILED = {
    "easy": (0.2, 0.4),
    "medium": (0.1, 0.2),
    "hard": (0.06, 0.1),
}  # share of the calls that take 4 to 15 times as long
LEFT = {"easy": (0.0, 0.15), "medium": (0.15, 0.45), "hard": (0.45, 0.7)}  # share of the calls that still come
SURGE = {"easy": (5.0, 12.0), "medium": (2.5, 5.0), "hard": (1.6, 2.5)}  # factor
# Least |effect| in standard deviations of the same endpoint's windows of that length, for hard, medium and easy.
LEAST_Z = (5.0, 8.0, 14.0)
PATIENCE = (
    200  # tries for a place where the fault has the grade it was meant to have; as many again for one where it has any
)


@dataclass
class Fault:
    """One planted fault; minutes count from the world's beginning."""

    kind: str
    start: int
    end: int
    endpoints: list[int]
    grade: str = ""
    code: int | None = None
    upstream: str | None = None
    consumer: str | None = None
    node: str | None = None
    detectable: bool = True
    affected: dict[int, int] = field(
        default_factory=dict
    )  # endpoint → calls that failed, were slower, came too many or stayed away
    figures: dict[str, float] = field(default_factory=dict)  # what a judge wants to know: calls, expected, observed, z


@dataclass
class Calls(Columns):
    """The calls as columns; second since the beginning, consumer an index of Bank.consumers, group one of the groups above."""

    second: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    group: np.ndarray


@dataclass
class Bank:
    """What is fixed before the first call."""

    catalog: dict
    service: list[str]  # of each endpoint
    consumers: list[str]
    group: np.ndarray  # of each consumer
    rate: np.ndarray  # endpoint × group, calls per minute in an average week
    expected: np.ndarray  # endpoint × minute, without noise
    jobs: list[tuple[int, np.ndarray]]  # endpoint of a daily job, and the minute at which it starts on each day
    notes: dict  # the benign events, for the labels


def make(
    profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0, faults: int = 0
) -> World:
    """One world: log lines in order of time, the faults planted in it (15 to 25 unless given), its endpoints. Same arguments, same world."""
    random = np.random.default_rng([2026, seed, endpoints, days])
    planting = np.random.default_rng([4711, seed, endpoints, days])
    minutes = days * DAY
    bank, calls = business(random, endpoints, days, calls_per_minute)
    gaps = holes(random, minutes)
    free = np.ones((endpoints, minutes), dtype=bool)
    for begin, end, _ in gaps:
        free[:, begin - 20 : end + 20] = False
    wanted: list[str] = []
    if not profile.startswith("quiet"):
        every = [
            kind for kind in (*TRAFFIC, *OTHERS) if kind != "recurring" or days >= 10
        ]  # it takes four days after the warm-up
        more = [kind for kind in every if kind not in ("slow_degradation", "recurring")]
        count = faults or int(planting.integers(17, 26))
        wanted = (every + planting.choice(more, 30).tolist())[:count]
    planted: list[Fault] = []
    calls = upset_traffic(planting, bank, calls, [kind for kind in wanted if kind in TRAFFIC], free, planted)
    order = np.argsort(calls.second, kind="stable")
    calls = calls.where(order[calls.second[order] < minutes * 60])
    table = Answers(random, bank, calls, days)
    for kind in (kind for kind in wanted if kind not in TRAFFIC):
        upset_answers(planting, bank, table, kind, free, planted)
    for fault in planted:
        amend(table, fault)
    planted.sort(key=lambda fault: fault.start)
    t0 = bank.catalog["t0"]
    labels = {
        "t0": t0,
        "minutes": minutes,
        "gaps": gaps,
        **bank.notes,
        "faults": [
            label(
                number, fault, t0 + fault.start * 60, t0 + fault.end * 60, SIGNALS, endpoints=sorted(fault.affected), affected_calls=sum(fault.affected.values()),
                detectable=fault.detectable, figures={name: round(value, 3) for name, value in fault.figures.items()},
            )
            for number, fault in enumerate(planted)
        ],
    }  # fmt: skip
    frame = pl.concat([table.frame(random), strangers(random, bank, minutes)], how="diagonal_relaxed")
    for begin, end, node in gaps:
        inside = pl.col("second").is_between(begin * 60, end * 60)
        frame = frame.filter(~(inside if node is None else inside & (pl.col("node") == NODES.index(node))))
    return World(lines(frame.filter(pl.col("second") < minutes * 60).sort("second"), bank), labels, bank.catalog)


# -- what the bank is and who calls it


def business(random: np.random.Generator, endpoints: int, days: int, calls_per_minute: float) -> tuple[Bank, Calls]:
    """The bank and its calls, before any fault and without what the gateway answered."""
    minutes = days * DAY
    first = int(random.integers(7))  # weekday of the first day
    weekday = (np.arange(days + 2) + first - 1) % 7  # of the day before, …, the day after
    working = [day for day in range(days // 3, days - 1) if weekday[day + 1] < 5]
    holiday, payday, month_end = (int(day) for day in random.choice(working, 3, replace=False))

    every = [
        (service, method, path.format(name))
        for service, names in RESOURCES.items()
        for name in names
        for method, path in ROUTES
    ]
    every = [every[i] for i in sorted(random.choice(len(every), endpoints, replace=False))]
    rows = [
        {"id": i, "method": method, "path": path, "upstream": service}
        for i, (service, method, path) in enumerate(every)
    ]
    service = [one for one, _, _ in every]

    names = ["mobile-ios", "mobile-android", "web-banking"]
    names += (
        [f"tpp-{i:02d}" for i in range(1, 21)]
        + [f"corp-{i:02d}" for i in range(1, 41)]
        + ["core-ledger", "crm", "fraud", "dwh"]
    )
    group = np.array(
        [MOBILE] * 3 + [THIRD] * 12 + [POLLING] * 8 + [CORP_EU] * 22 + [CORP_US] * 10 + [CORP_IN] * 8 + [INTERNAL] * 4
    )

    # endpoints of very unequal use: a sixth of them has some calls an hour only
    use = random.lognormal(0, 1.25, endpoints)
    rare = random.random(endpoints) < 0.17
    of_service = {one: random.dirichlet(np.array(GROUP_SHARE) * 9) for one in RESOURCES}
    mix = np.array([random.dirichlet(of_service[one] * 8 + 0.02) for one in service])
    use[rare] = 0
    rate = use[:, None] * mix
    jobs_share = 0.1
    rate *= calls_per_minute * (1 - jobs_share) / rate.sum()
    rate[rare] = mix[rare] * random.uniform(1, 9, (rare.sum(), 1)) / 60

    shape = np.stack([rhythm(one, weekday, days, holiday, payday, month_end) for one in range(len(GROUP_SHARE))])
    push = np.ones(minutes)
    for day in range(days):
        if weekday[day + 1] in (1, 3) or day == payday:
            begin = day * DAY + int(random.normal(8.5 * 60, 25))
            span = np.arange(minutes - begin) if begin < minutes else np.arange(0)
            push[begin:] += random.uniform(1.0, 2.5) * np.exp(-span / random.uniform(6, 14))
    shape[MOBILE] *= push

    # old and new version of one endpoint, and one that is used on some days only
    busy = np.argsort(-rate.sum(1))
    old, new, passing = (int(busy[i]) for i in (endpoints // 5, endpoints // 4, endpoints // 3))
    life = np.ones((endpoints, minutes), dtype=np.float32)
    clock = np.arange(minutes) / DAY
    moved = np.clip((clock - days * random.uniform(0.4, 0.55)) / 2.5, 0, 1)
    life[old], life[new] = 1 - 0.97 * moved, moved
    begin_life = days * random.uniform(0.45, 0.55)
    life[passing] = (clock > begin_life) & (clock < begin_life + 3.2)

    expected = np.zeros((endpoints, minutes), dtype=np.float32)
    memory = weather(random, endpoints, minutes, random.uniform(0.08, 0.25, endpoints), 40)
    daily = np.repeat(random.normal(0, 0.05, (endpoints, days)), DAY, axis=1)
    parts = []
    index = list(RESOURCES)
    at_service = np.array([index.index(one) for one in service])
    for one in range(len(GROUP_SHARE)):
        mean = rate[:, one, None] * shape[one] * life
        expected += mean
        swing = weather(random, len(index), minutes, np.full(len(index), 0.1), 150)[at_service] + memory + daily
        parts.append(visits(random, mean * np.exp(swing - 0.03), one))
    calls = parts[0].and_those(*parts[1:])
    calls.consumer = who(random, calls, group, endpoints)
    # opening the app: one endpoint, then four others within seconds
    leader = int(np.argmax(rate[:, MOBILE]))
    opened = np.flatnonzero((calls.endpoint == leader) & (calls.group == MOBILE))
    for follower in (
        int(i)
        for i in random.choice(
            np.delete(busy[: endpoints // 2], np.flatnonzero(busy[: endpoints // 2] == leader)), 4, replace=False
        )
    ):
        share = random.uniform(0.15, 0.5)
        rows_of = opened[random.random(len(opened)) < share]
        part = calls.where(rows_of)
        part.endpoint = np.full(len(rows_of), follower)
        part.second = part.second + random.uniform(0.1, 3, len(rows_of))
        calls = calls.and_those(part)
        expected[follower] += share * rate[leader, MOBILE] * shape[MOBILE] * life[leader]

    # a consumer that grows and one let in by steps
    grows, enters = names.index(f"tpp-{random.integers(1, 5):02d}"), names.index(f"corp-{random.integers(2, 6):02d}")
    day_of = calls.second / DAY / 60
    keep = np.ones(len(day_of))
    keep[calls.consumer == grows] = (1.06 ** (day_of - days))[calls.consumer == grows]
    steps = np.sort(random.uniform(0.35, 0.85, 3)) * days
    keep[calls.consumer == enters] = np.array([0, 0.05, 0.35, 1])[
        np.searchsorted(steps, day_of[calls.consumer == enters])
    ]
    calls = calls.where(np.flatnonzero(random.random(len(keep)) < keep))

    jobs, of_jobs = timetable(random, names, weekday, days, month_end, endpoints, calls_per_minute * jobs_share * DAY)
    calls = calls.and_those(of_jobs, pollers(random, names, endpoints, minutes))
    catalog = {"t0": MONDAY + first * DAY * 60, "minutes": minutes, "endpoints": rows}
    notes = {
        "holiday": holiday, "payday": payday, "month_end": month_end, "moved": [old, new], "passing": [passing, begin_life],
        "grows": names[grows], "enters": [names[enters], *steps.tolist()], "jobs": [[one, starts.tolist()] for one, starts in jobs],
        "app_opening": leader,
    }  # fmt: skip
    return Bank(catalog, service, names, group, rate, expected, jobs, notes), calls


def rhythm(group: int, weekday: np.ndarray, days: int, holiday: int, payday: int, month_end: int) -> np.ndarray:
    """Calls per minute of a group relative to its mean, without noise."""
    zone = GROUP_ZONE[group]
    local = np.arange(days * DAY) + int(zone * 60)
    day, hour = local // DAY, local % DAY / 60
    of_week = weekday[day + 1]
    off = (of_week >= 5) | ((day == holiday) & (group not in (CORP_US, CORP_IN)))

    def hill(at: float, width: float) -> np.ndarray:
        return np.exp(-(((hour - at + 12) % 24 - 12) ** 2) / (2 * width**2))

    if group in (MOBILE, THIRD):
        work = 0.06 + 0.9 * hill(7.8, 1.4) + 0.9 * hill(12.6, 1.8) + 1.2 * hill(19.0, 2.6)
        rest = 0.07 + 0.8 * hill(11.0, 2.6) + 0.8 * hill(18.5, 3.0)
        curve = np.where(off, rest, work)
        curve *= np.where(day == payday, 1.7, np.where(day == payday + 1, 1.25, 1.0)) * np.where(
            (day == payday) & (hour < 1), 4, 1
        )
    elif group == POLLING:
        curve = 0.35 + 3.0 * sum(hill(at, 0.25) for at in (0.2, 6.2, 12.2, 18.2)) + 0.3 * hill(14, 4)
    elif group == INTERNAL:
        curve = 1 + 0.3 * hill(13, 4) - 0.15 * off
    else:
        open_hours = 1 / (1 + np.exp(-(hour - 8) * 2.2)) / (1 + np.exp((hour - 17.6) * 1.6))
        curve = (open_hours - 0.25 * hill(12.5, 0.6) * open_hours) * np.where(off, 0.05, 1.0) + 0.02
        curve *= np.where(day == month_end, 1.8, np.where(day == month_end - 1, 1.3, 1.0)) * np.where(
            (of_week == 4) & (hour > 14), 0.75, 1
        )
    return curve / curve.mean()


def weather(random: np.random.Generator, rows: int, minutes: int, spread: np.ndarray, memory: float) -> np.ndarray:
    """Noise per row with mean 0 and the given spread, correlated over `memory` minutes, in steps of 5 minutes."""
    keep = np.exp(-5 / memory)
    drawn = random.standard_normal((rows, minutes // 5 + 100), dtype=np.float32)
    steps = lfilter([np.sqrt(1 - keep**2)], [1, -keep], drawn, axis=1)[:, 100:]
    return np.repeat(steps, 5, axis=1).astype(np.float32) * spread[:, None].astype(np.float32)


def visits(random: np.random.Generator, mean: np.ndarray, group: int) -> Calls:
    """Calls of a group: visits at random, each with a geometric number of calls, one in 150 corporate ones twenty times as many."""
    size = GROUP_VISIT[group]
    heavy = 1 / 150 if group in (CORP_EU, CORP_US, CORP_IN, POLLING) else 1 / 4000
    count = random.poisson(mean / (size * (1 + 19 * heavy)))
    endpoint, minute = np.nonzero(count)
    endpoint, minute = (np.repeat(one, count[endpoint, minute]) for one in (endpoint, minute))
    begin = minute * 60 + random.uniform(0, 60, len(minute))
    long = random.random(len(begin)) < heavy
    repeats = np.minimum(random.geometric(1 / size, len(begin)) * np.where(long, 20, 1), 300)
    begin, endpoint, long = (np.repeat(one, repeats) for one in (begin, endpoint, long))
    place = np.arange(len(begin)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = begin + place * random.exponential(np.where(long, 2.0, 14.0))
    return Calls(
        second, endpoint, np.repeat(np.cumsum(np.ones(len(repeats), dtype=int)), repeats), np.full(len(second), group)
    )


def who(random: np.random.Generator, calls: Calls, group: np.ndarray, endpoints: int) -> np.ndarray:
    """Consumer of each call: very unequal within a group, each endpoint has its own set; a visit (numbered in calls.consumer) has one."""
    chosen = np.empty(len(calls.second), dtype=np.int64)
    for one in range(len(GROUP_SHARE)):
        mine = np.flatnonzero(group == one)
        weight = random.pareto(1.1, (1, len(mine))) + 0.15 if one != MOBILE else np.array([[0.42, 0.46, 0.12]])
        weight = (
            weight
            * (random.random((endpoints, len(mine))) < (1.0 if one == MOBILE else 0.55))
            * random.lognormal(0, 0.5, (endpoints, len(mine)))
        )
        weight[weight.sum(1) == 0] = 1
        bounds = np.cumsum(weight, axis=1) / weight.sum(1, keepdims=True)
        rows = np.flatnonzero(calls.group == one)
        draw = random.random(int(calls.consumer[rows].max(initial=0)) + 1)[calls.consumer[rows]]
        chosen[rows] = mine[np.minimum((draw[:, None] > bounds[calls.endpoint[rows]]).sum(1), len(mine) - 1)]
    return chosen


def timetable(
    random: np.random.Generator,
    names: list[str],
    weekday: np.ndarray,
    days: int,
    month_end: int,
    endpoints: int,
    per_day: float,
) -> tuple[list[tuple[int, np.ndarray]], Calls]:
    """Batch jobs at fixed minutes. Returns those that run every day, with their starts, and all calls of all jobs."""
    kinds = [  # consumer, minutes of the day, share of the calls, spread of the volume, on weekends, minutes it takes
        ("dwh", [135], 0.2, 0.35, 1.0, 25),
        ("core-ledger", [60 * hour + 5 for hour in range(24)], 0.25, 0.15, 1.0, 3),
        ("corp-01", [390, 720, 930], 0.2, 0.5, 0.0, 8),
        ("crm", [285], 0.1, 0.3, 0.5, 12),
        ("corp-24", [1320], 0.1, 0.45, 0.7, 10),
        ("core-ledger", [1410], 0.1, 0.2, 1.0, 15),
        ("fraud", [15 * quarter for quarter in range(96)], 0.05, 0.1, 1.0, 1),
    ]
    daily, parts = [], []
    for consumer, at, share, spread, on_weekends, takes in kinds:
        endpoint = int(random.integers(endpoints))
        starts = np.full(days, -1)
        for day in range(days):
            if weekday[day + 1] >= 5 and random.random() >= on_weekends:
                continue
            busy = 3.0 if day == month_end and consumer.startswith("corp") else 1.0
            late = 20 * (random.random() < 0.05)
            for minute in at:
                begin = day * DAY + minute + late + random.exponential(1.0)
                calls = random.poisson(per_day * share / len(at) * busy * random.lognormal(0, spread))
                second = begin * 60 + random.uniform(0, takes * 60, calls) * (1 if random.random() < 0.8 else 1.6)
                parts.append((second, endpoint, names.index(consumer)))
            starts[day] = day * DAY + at[0]
        if len(at) == 1 and on_weekends == 1.0:
            daily.append((endpoint, starts))
    lengths = [len(second) for second, _, _ in parts]
    columns = (np.repeat([part[i] for part in parts], lengths) for i in (1, 2))
    return daily, Calls(np.concatenate([part[0] for part in parts]), *columns, np.full(sum(lengths), INTERNAL))


def pollers(random: np.random.Generator, names: list[str], endpoints: int, minutes: int) -> Calls:
    """Two clients that ask again every minute or so, day and night."""
    parts = []
    for consumer, every in (("corp-03", random.uniform(40, 90)), ("tpp-14", random.uniform(100, 300))):
        count = int(minutes * 60 / every)
        second = np.arange(count) * every + random.uniform(0, every / 5, count)
        parts.append(
            Calls(
                second,
                np.full(count, random.integers(endpoints)),
                np.full(count, names.index(consumer)),
                np.full(count, INTERNAL),
            )
        )
    return parts[0].and_those(parts[1])


def holes(random: np.random.Generator, minutes: int) -> list[tuple[int, int, str | None]]:
    """Minutes that the log shipper lost: of all nodes once or twice, of one node once."""
    found = []
    for node in (None, None, str(random.choice(NODES[:4]))):
        if node is None and found and random.random() < 0.4:
            continue
        begin = int(random.integers(DAY, minutes - DAY))
        found.append((begin, begin + int(random.integers(12, 70) * (1 if node is None else 2)), node))
    return found


# -- what the gateway answers


class Answers:
    """Node, status, latency and client of every call, kept as columns next to the calls."""

    def __init__(self, random: np.random.Generator, bank: Bank, calls: Calls, days: int) -> None:
        n, endpoints, minutes = len(calls.second), len(bank.service), days * DAY
        self.calls, self.bank, self.days = calls, bank, days
        minute = np.minimum(calls.second // 60, minutes - 1).astype(np.int64)
        self.minute = minute
        index = list(RESOURCES)
        service = np.array([index.index(one) for one in bank.service])[calls.endpoint]
        method = np.array([row["method"] for row in bank.catalog["endpoints"]])[calls.endpoint]

        # nodes: by region of the caller; one drained for a while, twice; one replaced for good
        bounds = np.cumsum(GROUP_NODES, axis=1)[calls.group]
        self.node = np.minimum((random.random(n)[:, None] > bounds).sum(1), 3)
        drained = []
        for _ in range(2):
            begin, node = int(random.integers(2 * DAY, minutes - DAY)), int(random.integers(4))
            end = begin + int(random.integers(25, 90))
            rows = (minute >= begin) & (minute < end) & (self.node == node)
            self.node[rows] = (node + 1 + random.integers(0, 3, rows.sum())) % 4
            drained.append((begin, end, NODES[node]))
        replaced = int(minutes * random.uniform(0.5, 0.75))
        self.node[(self.node == 3) & (minute >= replaced)] = 4

        # clients of the apps: a new version comes in over the days
        release = days * random.uniform(0.2, 0.6)
        newer = random.random(n) < 0.75 * np.clip((calls.second / DAY / 60 - release) / 4, 0, 1)
        self.newer = newer & (calls.group == MOBILE)

        # statuses that are nobody's fault
        reads = method == "GET"
        p404 = (random.beta(0.5, 25, endpoints) * random.binomial(1, 0.7, endpoints))[calls.endpoint] * reads
        p400 = random.beta(1.2, 50, endpoints)[calls.endpoint] * np.where(reads, 0.15, 1.0)
        p409 = random.beta(1, 90, endpoints)[calls.endpoint] * ~reads * (random.random(endpoints) < 0.4)[calls.endpoint]
        p403 = random.beta(0.6, 200, endpoints)[calls.endpoint]
        p401 = (random.beta(0.8, 90, len(bank.consumers)) * (bank.group != INTERNAL))[calls.consumer]
        swing = np.exp(weather(random, endpoints, minutes, np.full(endpoints, 0.35), 120)[calls.endpoint, minute])
        p5xx = random.beta(0.7, 600, endpoints)
        p5xx[int(random.integers(endpoints))] = 0.025  # known, and nobody mends it
        shares = np.stack([p404, p400, p409, p403, p401, p5xx[calls.endpoint] * swing, np.full(n, 2e-4)])
        picked = (random.random(n) > np.cumsum(shares, axis=0)).sum(0)
        self.status = np.array([404, 400, 409, 403, 401, 500, 503, 200])[picked]
        self.status[(self.status == 400) & (service % 2 == 1)] = 422
        broken = self.status == 500
        self.status[broken] = random.choice([500, 502, 504], broken.sum(), p=[0.8, 0.13, 0.07])
        created = (self.status == 200) & (method == "POST")
        self.status[created] = 201
        self.status[(self.status == 200) & (method == "DELETE")] = 204
        expired = self.expire(random)
        throttled = self.throttle(random)

        # latency in ms: cache hit or miss, tail, node, load, weather, slow and quick hours of the caches
        hit = random.beta(4, 2.5, endpoints)[calls.endpoint] * reads
        quick, slow = random.lognormal(np.log(11), 0.35, endpoints), random.lognormal(np.log(110), 0.75, endpoints)
        load = np.zeros((len(index), minutes))
        np.add.at(load, (service, minute), 1.0)
        load = lfilter([0.35], [1, -0.65], load, axis=1)
        busy = load / (1.2 * np.quantile(load, 0.999, axis=1, keepdims=True) + 2)
        flushed = int(random.integers(len(index)))
        warm = np.ones((len(index), minutes), dtype=np.float32)
        since = (np.arange(minutes) - 180) % DAY
        warm[flushed] = 1 - 0.8 * np.exp(-since / 18)
        slower = np.zeros((len(index), minutes), dtype=np.float32)
        deployed = []
        for _ in range(int(random.integers(4, 8))):
            one, begin = (
                int(random.integers(len(index))),
                int(random.integers(days)) * DAY + int(random.integers(7 * 60, 17 * 60)),
            )
            slower[one, begin : begin + 2] += np.log(1.9)
            slower[one, begin:] += random.choice([-0.03, 0.03])
            warm[one, begin:] *= 1 - 0.6 * np.exp(-np.arange(minutes - begin) / 8)
            rows = (
                (service == one)
                & (calls.second > begin * 60)
                & (calls.second < begin * 60 + 40)
                & (random.random(n) < 0.08)
            )
            self.status[rows] = 503
            deployed.append((begin, index[one]))
        is_hit = random.random(n) < hit * warm[service, minute]
        self.log_ms = np.log(np.where(is_hit, quick[calls.endpoint], slow[calls.endpoint]))
        self.log_ms += random.normal(0, 1, n) * np.where(
            is_hit, 0.3, random.uniform(0.3, 0.65, endpoints)[calls.endpoint]
        )
        pareto = random.random(n) < random.uniform(0.004, 0.025, endpoints)[calls.endpoint]
        self.log_ms[pareto] += np.log(3) + random.exponential(0.6, pareto.sum())
        self.log_ms += np.where(is_hit, 0.2, 1.0) * -0.6 * np.log1p(-0.85 * np.minimum(busy[service, minute], 0.97))
        self.log_ms += random.normal(0, 0.05, 5)[self.node] + slower[service, minute]
        self.log_ms += weather(random, len(index), minutes, np.full(len(index), 0.06), 60)[service, minute]
        self.log_ms += weather(random, endpoints, minutes, np.full(endpoints, 0.07), 200)[calls.endpoint, minute]
        self.log_ms[self.status == 504] = np.log(30_000)
        refused = np.isin(self.status, (401, 429))
        self.log_ms[refused] = random.normal(np.log(3), 0.3, refused.sum())
        self.again = np.full(n, 0.1)  # chance that a call which is tried again fails again
        bank.notes |= {
            "drained": drained, "replaced": replaced, "deployed": deployed, "flushed": index[flushed], "expired": expired, "throttled": throttled,
        }  # fmt: skip

    def expire(self, random: np.random.Generator) -> list:
        """Tokens that run out: some clients get 401 for a minute or two, twice or three times a day, until they fetch a new one."""
        clients = random.choice(
            np.flatnonzero((self.bank.group == THIRD) | (self.bank.group == CORP_EU) | (self.bank.group == POLLING)),
            5,
            replace=False,
        )
        for client in clients.tolist():
            every = int(random.choice([480, 600, 720]))
            phase = (self.minute - int(random.integers(every))) % every
            rows = (self.calls.consumer == client) & (phase < random.integers(2, 5)) & (random.random(len(phase)) < 0.9)
            self.status[rows] = 401
        return [self.bank.consumers[one] for one in clients.tolist()]

    def throttle(self, random: np.random.Generator) -> str:
        """One third party lives at its quota: what exceeds it in a minute gets 429."""
        mine = np.flatnonzero(self.bank.group == POLLING)
        client = mine[np.argmax([(self.calls.consumer == one).sum() for one in mine])]
        rows = np.flatnonzero(self.calls.consumer == client)
        _, first, count = np.unique(self.minute[rows], return_index=True, return_counts=True)
        place = np.arange(len(rows)) - np.repeat(first, count)
        quota = max(2, int(np.quantile(np.repeat(count, count), 0.8)))
        self.status[rows[place >= quota]] = 429
        return self.bank.consumers[client]

    def frame(self, random: np.random.Generator) -> pl.DataFrame:
        """The calls with their retries: apps try twice, corporate customers three times with longer waits, others do not."""
        # a client that waits no longer hangs up before the gateway does
        ms = np.minimum(np.exp(self.log_ms), 60_000)
        self.status[(self.calls.group == MOBILE) & (ms > 15_000) & (random.random(len(ms)) < 0.3)] = 499
        n = len(ms)
        table = pl.DataFrame(
            {
                "second": self.calls.second, "endpoint": self.calls.endpoint, "consumer": self.calls.consumer, "group": self.calls.group,
                "node": self.node, "status": self.status, "ms": ms, "newer": self.newer, "again": self.again,
                "number": random.integers(100_000, 9_999_999, n), "bytes": np.exp(random.normal(7, 1.1, n)).astype(np.int64),
            }
        )  # fmt: skip
        tries = [table]
        for attempt in range(3):
            last = tries[-1].filter(pl.col("status").is_in([429, 499, 500, 502, 503, 504]))
            patience = pl.Series(
                np.array([0.65, 0.3, 0.2, 0.8, 0.8, 0.8, 0.5]) if attempt < 2 else np.array([0, 0, 0, 0.7, 0.7, 0.7, 0])
            )
            last = last.filter(pl.Series(random.random(len(last))) < patience.gather(last["group"]))
            wait = last["ms"].to_numpy() / 1000 + np.where(
                np.isin(last["group"].to_numpy(), (CORP_EU, CORP_US, CORP_IN)), 5.0 * 3**attempt, 1.0
            )
            fails = pl.Series(random.random(len(last))) < last["again"]
            tries.append(
                last.with_columns(
                    second=pl.col("second") + pl.Series(wait * random.uniform(0.8, 1.4, len(last))),
                    status=pl.when(fails).then("status").otherwise(200),
                    ms=pl.when(fails)
                    .then("ms")
                    .otherwise(pl.lit(pl.Series(np.exp(random.normal(4.5, 0.5, len(last)))))),
                )
            )
        return pl.concat(tries)


def strangers(random: np.random.Generator, bank: Bank, minutes: int) -> pl.DataFrame:
    """Health checks of every node, and scanners: waves of paths that do not exist, and a few tries at ones that do, without credentials."""
    tables = []
    for node in range(5):
        begin, end = (bank.notes["replaced"] if node == 4 else 0), (bank.notes["replaced"] if node == 3 else minutes)
        second = np.arange(begin * 60, end * 60, 60.0) + random.uniform(0, 60) + random.uniform(0, 1, end - begin)
        count = len(second)
        tables.append(pl.DataFrame({"second": second, "node": np.full(count, node), "path": ["/health/live"] * count, "status": [200] * count, "agent": ["kube-probe/1.33"] * count, "ms": random.uniform(0.4, 2.5, count)}))  # fmt: skip
    words = np.array(["admin", "wp-login.php", ".env", ".git/config", "phpmyadmin/index.php", "actuator/env", "api/v1/pods", "cgi-bin/luci", "backup.zip", "console", "server-status", "login.action", "owa/auth", "vendor/phpunit/eval.php", "solr/admin", "swagger.json"])  # fmt: skip
    agents = ["Mozilla/5.0 (compatible; CensysInspect/1.1)", "python-requests/2.32.3", "Mozilla/5.0 zgrab/0.x", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/137.0 Safari/537.36"]  # fmt: skip
    reads = [row["path"] for row in bank.catalog["endpoints"] if row["method"] == "GET"]
    for _ in range(int(minutes / DAY * 1.5)):
        count = int(min(random.pareto(1.0) * 60 + 30, 2500))
        second = random.integers(minutes) * 60 + np.cumsum(random.exponential(random.uniform(0.2, 6), count))
        path = (
            np.where(random.random(count) < 0.5, "/", "/old/").astype(object)
            + words[random.integers(len(words), size=count)]
        )
        known = random.random(count) < min(0.05, 8 / count)
        path[known] = [
            str(random.choice(reads)).replace("{id}", str(random.integers(1, 999))) for _ in range(known.sum())
        ]
        status = np.where(known, 401, np.where(random.random(count) < 0.93, 404, 403))
        tables.append(pl.DataFrame({"second": second, "node": np.full(count, random.integers(4)), "path": path.tolist(), "status": status, "agent": [agents[random.integers(4)]] * count, "ms": random.uniform(0.5, 6, count)}))  # fmt: skip
    return pl.concat(tables, how="vertical_relaxed")


# -- faults


def spread_of(values: np.ndarray, minute: np.ndarray, span: int, least: int = 5) -> float:
    """Standard deviation of the mean of `values` over windows of `span` minutes, robust (1.4826 MAD), the time of day taken out."""
    window = minute // span
    count = np.bincount(window)
    total = np.bincount(window, weights=values)
    seen = count >= least
    if seen.sum() < 12:
        return float("inf")
    mean = total[seen] / count[seen]
    slot = (np.flatnonzero(seen) * span % DAY) // 120
    usual = np.bincount(slot, weights=mean, minlength=12) / np.maximum(np.bincount(slot, minlength=12), 1)
    rest = mean - usual[slot]
    return float(1.4826 * np.median(np.abs(rest - np.median(rest)))) + 1e-9


def visible(
    z: float, size: float, easy: float, medium: float, calls: int, fewest: tuple[int, int, int] = (8, 15, 30)
) -> str | None:
    """Grade of a fault, None where it would be lost in the noise.

    z: effect (of traffic: its logarithm) in standard deviations of windows of the same length at the same endpoint; at least 5 to be a fault at all (8 medium, 14 easy). size: the effect
    itself, a share of calls that fail or a factor of latency or traffic, which has to reach `medium` and `easy` too. calls: affected ones, at least `fewest`
    (hard, medium, easy). The lowest of the three grades counts.
    """
    by_z = sum(z >= least for least in LEAST_Z)
    by_size = 1 + (size >= medium) + (size >= easy)
    by_calls = sum(calls >= least for least in fewest)
    grade = min(by_z, by_size, by_calls)
    return GRADES[grade - 1] if grade else None


def moment(random: np.random.Generator, bank: Bank, span: int) -> tuple[int, int]:
    """Start and end of a fault after the warm-up: half of them when there are calls, half at any time."""
    minutes = bank.expected.shape[1]
    low, high = 4 * DAY + 120, minutes - span - 90
    load = bank.expected[:, low:high].sum(0)
    if random.random() < 0.5:
        start = low + int(np.searchsorted(np.cumsum(load), random.random() * load.sum()))
    else:
        start = int(random.integers(low, high))
    return start, min(start + span, minutes - 60)


def reserve(free: np.ndarray, endpoints: list[int], start: int, end: int) -> None:
    free[endpoints, max(0, start - 150) : end + 150] = False


def upset_traffic(
    random: np.random.Generator, bank: Bank, calls: Calls, kinds: list[str], free: np.ndarray, planted: list[Fault]
) -> Calls:
    """Plant drops, spikes and silences; returns the calls that are left or have come on top."""
    endpoints, minutes = bank.expected.shape
    count = np.zeros((endpoints, minutes))
    inside = calls.second < minutes * 60
    np.add.at(count, (calls.endpoint[inside], (calls.second[inside] // 60).astype(int)), 1)
    for kind in kinds:
        aim = str(random.choice(GRADES, p=[0.3, 0.35, 0.35]))
        for attempt in range(2 * PATIENCE):
            job = kind == "silence" and bank.jobs and random.random() < 0.25
            if job:
                one, starts = bank.jobs[int(random.integers(len(bank.jobs)))]
                start = int(random.choice(starts[5:-1]))
                end = start + 70
                client = np.bincount(
                    calls.consumer[
                        (calls.endpoint == one) & (calls.second // 60 >= start) & (calls.second // 60 < start + 30)
                    ],
                    minlength=1,
                ).argmax()
            else:
                span = int(
                    random.integers(
                        *{"traffic_drop": (30, 300), "traffic_spike": (15, 120), "silence": (45, 360)}[kind]
                    )
                )
                start, end = moment(random, bank, span)
                one = int(random.integers(endpoints))
            rows = np.flatnonzero((calls.endpoint == one) & (calls.second >= start * 60) & (calls.second < end * 60))
            if not free[one, start:end].all() or len(rows) < 12:
                continue
            fault = Fault(kind, start, end, [one])
            among = rows
            if job or (kind == "traffic_spike" and random.random() < 0.6):
                chosen = client if job else random.choice(calls.consumer[rows])
                among = rows[calls.consumer[rows] == chosen]
                fault.consumer = bank.consumers[chosen]
            if kind == "traffic_spike":
                factor = random.uniform(*SURGE[aim])
                extra = random.choice(among, int(len(rows) * (factor - 1)))
                change, size = len(extra), factor
            else:
                left = random.uniform(*LEFT[aim]) if kind == "traffic_drop" else 0.0
                gone = among[random.random(len(among)) >= left]
                change, size = len(gone), len(rows) / max(len(rows) - len(gone), 0.5)
            # noise of the endpoint: calls against what the profile expects, over windows of the same length that expect about as much
            length = end - start
            windows = minutes // length
            seen = count[one, : windows * length].reshape(windows, length).sum(1)
            mean = bank.expected[one, : windows * length].reshape(windows, length).sum(1)
            mean *= seen.sum() / max(mean.sum(), 1)
            like = (mean > 0.4 * len(rows)) & (mean < 2.5 * len(rows))
            if job:
                seen = np.array([count[one, other : other + 70].sum() for other in starts if other != start])
                mean = np.full(len(seen), np.exp(np.log(seen + 1).mean()))
                like = np.ones(len(seen), dtype=bool)
            if like.sum() < 4:
                continue
            observed = len(rows) + (change if kind == "traffic_spike" else -change)
            swing = np.std(np.log((seen[like] + 1) / (mean[like] + 1)))
            z = abs(np.log((observed + 1) / (len(rows) + 1))) / max(swing, 1 / np.sqrt(len(rows)))
            grade = visible(z, size, *((5, 2.5) if kind == "traffic_spike" else (6, 2.2)), change, (25, 40, 60))
            if grade != aim and (grade is None or attempt < PATIENCE):
                continue
            fault.grade, fault.affected = grade, {one: change}
            fault.figures = {"calls_without": len(rows), "calls_with": observed, "z": z}
            if kind == "traffic_spike":
                more = calls.where(extra)
                more.second = start * 60 + random.uniform(0, (end - start) * 60, len(extra))
                calls = calls.and_those(more)
            else:
                keep = np.ones(len(calls.second), dtype=bool)
                keep[gone] = False
                calls = calls.where(np.flatnonzero(keep))
            reserve(free, [one], start, end)
            planted.append(fault)
            break
    return calls


SPAN = {
    "error_burst": (8, 120), "upstream_timeout": (8, 90), "latency_step": (40, 360), "latency_tail": (60, 360), "latency_drift": (360, 1200),
    "slow_degradation": (4 * DAY, 7 * DAY), "auth_failure": (10, 300), "rate_limit": (15, 240), "new_code": (15, 300),
    "validation_regression": (120, 1200), "node_outage": (5, 40), "low_traffic_fail": (300, 1400), "recurring": (12, 30),
}  # fmt: skip


def upset_answers(
    random: np.random.Generator, bank: Bank, table: Answers, kind: str, free: np.ndarray, planted: list[Fault]
) -> None:
    """Plant one fault in what the gateway answers; nothing where no place was found."""
    calls, minute = table.calls, table.minute
    endpoints, minutes = bank.expected.shape
    per_hour = np.bincount(calls.endpoint, minlength=endpoints) / minutes * 60
    wide = kind == "auth_failure" and any(one.kind == kind and one.consumer for one in planted)
    aim = str(random.choice(GRADES, p=[0.3, 0.35, 0.35]))
    for attempt in range(2 * PATIENCE):
        span = int(random.integers(*SPAN[kind]))
        if kind == "slow_degradation":
            span = min(span, minutes - 5 * DAY)
        start, end = moment(random, bank, 4 * DAY if kind == "recurring" else span)
        one = (
            int(random.choice(np.flatnonzero(per_hour < 12)))
            if kind == "low_traffic_fail" and (per_hour < 12).any()
            else int(random.integers(endpoints))
        )
        service = bank.service[one]
        of_service = [i for i in range(endpoints) if bank.service[i] == service]
        fault = Fault(kind, start, end, [one])
        lo, hi = np.searchsorted(minute, [start, end])
        rows = np.arange(lo, hi)
        if kind == "recurring":
            fault.end = min(start + int(random.integers(4, 7)) * DAY, minutes - 120)
            phase = (minute - start) % DAY
            rows = np.flatnonzero((minute >= start) & (minute < fault.end) & (phase < span))
            fault.code = 503
        if kind == "upstream_timeout" or (
            kind in ("latency_step", "latency_tail") and random.random() < 0.3 and len(of_service) > 1
        ):
            fault.endpoints, fault.upstream = of_service, service
        if kind == "auth_failure":
            fault.endpoints, fault.code = list(range(endpoints)), int(random.choice([401, 403]))
            if wide and random.random() < 0.5:
                fault.endpoints, fault.upstream = of_service, service
        if kind in ("rate_limit", "node_outage"):
            fault.endpoints = list(range(endpoints))
        rows = rows[np.isin(calls.endpoint[rows], fault.endpoints)]
        if kind == "auth_failure" and wide:
            rows = rows[table.status[rows] < 400]
        elif kind in ("auth_failure", "rate_limit") and len(rows):
            client = int(random.choice(calls.consumer[rows]))
            if client < 3 or bank.consumers[client] == bank.notes["throttled"]:
                continue
            rows = rows[calls.consumer[rows] == client]
            fault.consumer, fault.code = bank.consumers[client], fault.code or 429
        elif kind == "validation_regression":
            client = int(random.integers(2))
            rows = rows[(calls.consumer[rows] == client) & table.newer[rows]]
            fault.consumer, fault.code = bank.consumers[client], int(random.choice([400, 422]))
        elif kind == "node_outage":
            node = int(random.integers(5))
            rows = rows[table.node[rows] == node]
            fault.node, fault.code = NODES[node], int(random.choice([502, 503]))
        elif kind == "new_code":
            fault.code = int(random.choice([413, 415, 406, 410, 501, 426]))
        elif kind == "upstream_timeout":
            fault.code = int(random.choice([502, 504], p=[0.25, 0.75]))
        elif kind in ("error_burst", "low_traffic_fail"):
            fault.code = int(random.choice([500, 502, 503]))
        if len(rows) < 8:
            continue
        touched = np.unique(calls.endpoint[rows]).tolist()
        if free[touched, start : fault.end].mean() < (0.93 if len(touched) > 6 else 1.0):
            continue
        apply = plant_latency if fault.code is None else plant_errors
        if apply(random, table, fault, rows, aim, attempt < PATIENCE):
            reserve(free, [e for e in touched if e in fault.affected], start, fault.end)
            planted.append(fault)
            return


def plant_errors(
    random: np.random.Generator, table: Answers, fault: Fault, rows: np.ndarray, aim: str, strict: bool
) -> bool:
    """Let a share of the calls fail; False where nobody could see it."""
    share = random.uniform(*FAILING[aim])
    fine = rows[table.status[rows] < 400]
    hit = fine[random.random(len(fine)) < share]
    if len(np.unique(table.minute[hit])) < 3:
        return False
    every = np.arange(*np.searchsorted(table.minute, [fault.start, fault.end]))
    every = every[np.isin(table.calls.endpoint[every], np.unique(table.calls.endpoint[hit]))]
    # noise: calls with the same status at these endpoints, over windows of the same length, at least that of a Poisson count
    usual = np.flatnonzero(
        np.isin(table.calls.endpoint, np.unique(table.calls.endpoint[hit])) & (table.status == fault.code)
    )
    length = min(fault.end - fault.start, DAY)
    if fault.kind == "recurring":
        usual = usual[(table.minute[usual] - fault.start) % DAY < 30]
        length = DAY
    windows = np.bincount(table.minute[usual] // length, minlength=table.days * DAY // length)
    spells = (fault.end - fault.start) / length
    busy = (
        len(every)
        / len(np.flatnonzero(np.isin(table.calls.endpoint, np.unique(table.calls.endpoint[hit]))))
        * len(usual)
    )
    noise = np.sqrt(max(windows.var() * spells, windows.mean() * spells, busy, 1.0))
    z = len(hit) / noise
    # a recurring one is as visible as its occurrences are: four failing calls on three days at least
    often = np.bincount((table.minute[hit] - fault.start) // DAY)
    if fault.kind == "recurring" and (often >= 4).sum() < 3:
        return False
    grade = visible(z, len(hit) / len(rows), 0.25, 0.08, len(hit))
    if grade != aim and (grade is None or strict):
        return False
    at_all = len(hit) / max(len(every), 1)
    if fault.consumer is None and fault.node is None and fault.kind != "recurring" and at_all < 0.03:
        return False
    table.status[hit] = fault.code
    table.again[hit] = share
    if fault.code == 504:
        table.log_ms[hit] = np.log(random.choice([10_000, 30_000])) + random.exponential(0.002, len(hit))
    elif fault.kind == "upstream_timeout":
        table.log_ms[hit] = np.log(random.uniform(2_000, 9_000, len(hit)))
    elif fault.code in (401, 403, 429):
        table.log_ms[hit] = random.normal(np.log(3), 0.3, len(hit))
    which, calls_hit = np.unique(table.calls.endpoint[hit], return_counts=True)
    fault.affected = dict(zip(which.tolist(), calls_hit.tolist(), strict=True))
    fault.grade = grade
    fault.figures = {
        "calls_in_scope": len(rows), "calls_of_endpoints": len(every), "failing": len(hit), "usual_failing": max(busy, windows.mean() * spells), "z": z,
    }  # fmt: skip
    return True


def plant_latency(
    random: np.random.Generator, table: Answers, fault: Fault, rows: np.ndarray, aim: str, strict: bool
) -> bool:
    """Make calls slower, all (step), more and more (drift) or some (tail); False where nobody could see it. Judged at the endpoint where it shows best."""
    rows = rows[~np.isin(table.status[rows], (401, 429))]
    if len(rows) < 20:
        return False
    added = np.zeros(len(rows))
    if fault.kind == "latency_tail":
        slow = random.random(len(rows)) < random.uniform(*TAILED[aim])
        added[slow] = random.uniform(np.log(4), np.log(15), slow.sum())
    elif fault.kind == "latency_step":
        added += np.log(random.uniform(*SLOWER[aim]))
    else:
        added += (
            np.log(random.uniform(*SLOWER[aim]))
            * (table.calls.second[rows] / 60 - fault.start)
            / (fault.end - fault.start)
        )
    length = {"latency_drift": (fault.end - fault.start) // 3, "slow_degradation": DAY // 2}.get(
        fault.kind, fault.end - fault.start
    )
    best, where = 0.0, fault.endpoints[0]
    for endpoint in fault.endpoints:
        own = np.flatnonzero((table.calls.endpoint == endpoint) & ~np.isin(table.status, (401, 429)))
        mine = table.calls.endpoint[rows] == endpoint
        if fault.kind in ("latency_drift", "slow_degradation"):
            mine &= table.minute[rows] >= fault.end - length
        if mine.sum() < 12:
            continue
        values, effect = table.log_ms[own], added[mine].mean()
        if fault.kind == "latency_tail":
            bound = np.quantile(values, 0.97)
            before = table.log_ms[rows[mine]]
            effect = float(np.mean(before + added[mine] > bound) - np.mean(before > bound))
            values = (values > bound).astype(float)
        z = effect / max(spread_of(values, table.minute[own], length), values.std() / np.sqrt(mine.sum()))
        if z > best:
            best, where, shown = z, endpoint, effect
    if best < LEAST_Z[0]:
        return False
    size = shown if fault.kind == "latency_tail" else np.exp(shown)
    bounds = (0.15, 0.08) if fault.kind == "latency_tail" else (1.8, 1.4)
    touched = added > np.log(1.2)
    grade = visible(
        best, float(size), *bounds, int(touched.sum()), (20, 40, 60) if fault.kind != "latency_tail" else (8, 15, 30)
    )
    if grade != aim and (grade is None or strict):
        return False
    table.log_ms[rows] += added
    which, slowed = np.unique(table.calls.endpoint[rows[touched]], return_counts=True)
    fault.affected = dict(zip(which.tolist(), slowed.tolist(), strict=True))
    fault.grade = grade
    fault.figures = {
        "calls_in_scope": len(rows),
        "calls_slower": int(touched.sum()),
        "best_seen_at": where,
        "effect": float(size),
        "z": best,
    }
    return True


def amend(table: Answers, fault: Fault) -> None:
    """Say in the label what follows from the rest of the world, once all of it is there.

    Nobody can see that calls became slower or fewer where there were none before (30 in three days); a consumer who makes nine of ten calls
    cannot be told from everybody; a client that uses up its quota in a spike is refused elsewhere too.
    """
    calls, minute = table.calls, table.minute
    own = np.isin(calls.endpoint, list(fault.affected))
    if fault.code is None:
        fault.detectable = bool((own & (minute >= fault.start - 3 * DAY) & (minute < fault.start)).sum() >= 30)
    if fault.consumer is None:
        return
    consumer = table.bank.consumers.index(fault.consumer)
    inside = (minute >= fault.start) & (minute < fault.end)
    if fault.kind == "silence":  # a job: as it was the day before and the day after
        inside = (
            (minute >= fault.start - DAY)
            & (minute < fault.end + DAY)
            & ((minute - fault.start) % DAY < fault.end - fault.start)
        )
    refused = inside & (table.status == 429) & (calls.consumer == consumer)
    if fault.kind == "traffic_spike" and fault.consumer == table.bank.notes["throttled"]:
        where, count = np.unique(calls.endpoint[refused], return_counts=True)
        fault.affected = dict(zip(where.tolist(), count.tolist(), strict=True)) | fault.affected
    if (calls.consumer[inside & own] == consumer).mean() > 0.9 and fault.kind != "traffic_spike":
        fault.consumer = None


# -- the log


def lines(frame: pl.DataFrame, bank: Bank) -> pl.DataFrame:
    """The calls as log lines of worlds.LOG_FORMAT, one row per line: `at` (seconds since the epoch) and `line`."""
    routes = pl.DataFrame(bank.catalog["endpoints"]).select(
        endpoint=pl.col("id"), method="method", template="path", upstream="upstream"
    )
    people = pl.DataFrame({"consumer": range(len(bank.consumers)), "name": bank.consumers})
    at = pl.lit(bank.catalog["t0"]) + pl.col("second")
    client = (
        pl.when(pl.col("consumer") == 0).then(pl.when("newer").then(pl.lit("bankapp-ios/8.2.0")).otherwise(pl.lit("bankapp-ios/8.1.3")))
        .when(pl.col("consumer") == 1).then(pl.when("newer").then(pl.lit("bankapp-android/8.2.0")).otherwise(pl.lit("bankapp-android/8.1.4")))
        .when(pl.col("consumer") == 2).then(pl.lit("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"))
        .otherwise(pl.lit("okhttp/4.12.0"))
    )  # fmt: skip
    return (
        frame.join(routes, on="endpoint", how="left", maintain_order="left")
        .join(people, on="consumer", how="left", maintain_order="left")
        .select(
            at=at,
            line=pl.format(
                '10.{}.{}.{} - {} [{}] "{} {} HTTP/1.1" {} {} "-" "{}" {} {} {} {}',
                pl.col("consumer").fill_null(200),
                (pl.col("number").fill_null(77) // 250 % 8).cast(pl.String),
                (pl.col("number").fill_null(77) % 250).cast(pl.String),
                pl.col("name").fill_null("-"),
                pl.from_epoch(at.floor().cast(pl.Int64), time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
                pl.col("method").fill_null("GET"),
                pl.coalesce(
                    "path", pl.col("template").str.replace("{id}", pl.col("number").cast(pl.String), literal=True)
                ),
                "status",
                pl.col("bytes").fill_null(150),
                pl.coalesce("agent", client),
                at.round(3).cast(pl.Decimal(18, 3)).cast(pl.String),
                (pl.col("ms") / 1000).cast(pl.Decimal(12, 3)).cast(pl.String),
                pl.col("upstream").fill_null("-"),
                pl.lit(pl.Series(NODES)).implode().list.get(pl.col("node")),
            ),
        )
    )
