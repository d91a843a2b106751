"""A second kind of world, of another noise than worlds.py: a marketplace of sessions, queues and cron jobs.

    python benchmarks/detection.py market:1 quiet-market:1

Calls are not drawn per endpoint and minute but follow from what happens: people open sessions of heavy-tailed length that walk over a
service's endpoints; cron jobs start with jitter; failed calls are tried again and add load; waiting time grows with the service's load as
in a queue; caches hit or miss. No fault are: a holiday, a campaign, three deployments with small lasting shifts, users who struggle with
a form, hiccups of a node, declared and undeclared crawlers, a weekly report, an endpoint that moves to a new one over two days, endpoints
with a few calls a day, and gaps in the log. Written without the detector in view. Seeds 1-9 are for building, 101 and up are held out.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.signal import lfilter
from worlds import DAY, KINDS, MONDAY, NODES, Fault, World, by_endpoint, fault_labels, lines, rows_met

CONSUMERS = 60
SHARE = {"easy": (0.3, 0.8), "medium": (0.1, 0.25), "hard": (0.03, 0.08)}  # of calls that fail
SLOWER = {"easy": (2.5, 4.0), "medium": (1.6, 2.0), "hard": (1.25, 1.45)}
TAIL = {"easy": 0.25, "medium": 0.12, "hard": 0.06}  # share of calls that take 4 to 12 times as long
LEFT = {"easy": 0.05, "medium": 0.3, "hard": 0.55}
SURGE = {"easy": 6.0, "medium": 3.0, "hard": 2.0}
LOW_TRAFFIC = {"easy": 0.9, "medium": 0.6, "hard": 0.35}


def make(
    profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0, faults: int = 24
) -> World:
    """One world: log lines in order of time, the faults planted in it, and its endpoints. Same arguments, same world."""
    random = np.random.default_rng([77, seed, endpoints, days])
    minutes = days * DAY
    services = max(4, endpoints // 7)
    service = np.sort(random.integers(0, services, endpoints))
    methods = random.choice(["GET", "POST", "PUT"], endpoints, p=[0.65, 0.25, 0.1])
    stems = random.choice(["offers", "baskets", "quotes", "parcels", "refunds", "ratings", "prices"], endpoints)
    catalog = {
        "t0": MONDAY,
        "minutes": minutes,
        "endpoints": [
            {"id": i, "method": str(methods[i]), "path": f"/{stems[i]}/e{'abcdefghij'[i // 10 % 10]}{'klmnopqrst'[i % 10]}x{'uvwxyz'[i // 100]}", "upstream": f"svc-{service[i]:02d}"}
            for i in range(endpoints)
        ],
    }  # fmt: skip

    # -- who calls when: sessions per service and minute
    minute = np.arange(minutes)
    weekday, day = (minute // DAY) % 7, minute // DAY
    kind = random.choice(["office", "shop", "machine"], services, p=[0.4, 0.4, 0.2])
    angle = 2 * np.pi * (minute / DAY - random.uniform(0.45, 0.75, (services, 1)))
    depth = np.select([kind == "office", kind == "shop"], [1.6, 1.1], 0.1)[:, None]
    log_rate = depth * np.cos(angle) + 0.3 * depth * np.cos(2 * angle + random.uniform(0, 6, (services, 1)))
    weekend = np.select([kind == "office", kind == "shop"], [random.uniform(0.15, 0.4), random.uniform(1.0, 1.5)], 1.0)
    log_rate += np.where(weekday >= 5, np.log(weekend)[:, None], 0.0)
    holiday = min(9 + int(random.integers(0, 3)), days - 2)
    log_rate += np.where(day == holiday, np.log(np.where(kind == "office", 0.3, np.where(kind == "shop", 1.25, 1.0)))[:, None], 0.0)  # fmt: skip
    log_rate += weather(random, services, minutes, random.uniform(0.08, 0.3, services), 45)
    log_rate += weather(random, 1, minutes, np.array([0.07]), 300)
    rate = np.exp(log_rate)
    promoted = int(random.integers(services))
    campaign = int(random.integers(5, days - 1)) * DAY + int(random.integers(9 * 60, 18 * 60))
    since = minute - campaign
    boost = random.uniform(1.0, 2.5) * np.clip((since + 10) / 10, 0, 1) * np.exp(-np.maximum(since, 0) / 90)
    rate[promoted] *= 1 + boost
    rate *= random.lognormal(0, 0.8, services)[:, None]
    mean_length = 6.0
    rate *= 0.85 * calls_per_minute / mean_length / rate.mean(axis=1).sum()
    count = random.poisson(rate)
    cell = np.repeat(np.arange(services * minutes), count.ravel())
    of_service = cell // minutes
    length = np.minimum(1 + (random.pareto(1.6, len(cell)) * 3).astype(int), 120)
    length = np.maximum((length * mean_length / length.mean()).round().astype(int), 1)
    ranks = random.permuted(np.tile(np.arange(CONSUMERS), (services, 1)), axis=1)
    popularity = (1 / np.arange(1, CONSUMERS + 1) ** 1.3).cumsum()
    visitor = ranks[of_service, np.searchsorted(popularity / popularity[-1], random.random(len(cell)))]
    struggles = random.random(len(cell)) < 0.015  # with a form, a dozen calls long
    expired = random.random(len(cell)) < 0.01  # a token that ran out: the first call is refused
    session = np.repeat(np.arange(len(cell)), length)
    gap = random.exponential(9.0, len(session))
    start = cell % minutes * 60.0 + random.random(len(cell)) * 60
    walked = np.cumsum(gap)
    begin = np.r_[0, np.cumsum(length)[:-1]]
    second = start[session] + walked - walked[begin][session]
    weight = random.lognormal(0, 1.3, endpoints)
    weight[random.random(endpoints) < 0.15] *= 0.01
    endpoint = np.zeros(len(session), dtype=np.int64)
    for one in range(services):
        mine, theirs = np.flatnonzero(of_service[session] == one), np.flatnonzero(service == one)
        if len(theirs):
            endpoint[mine] = random.choice(theirs, len(mine), p=weight[theirs] / weight[theirs].sum())
    step = np.arange(len(session)) - begin[session]
    habit = np.select([expired[session] & (step == 0), struggles[session] & (step < 12)], [401, 422], 0)
    calls = [frame(second, endpoint, visitor[session], habit)]

    # -- jobs: hourly, six-hourly, daily with jitter; a weekly report; crawlers that say who they are and that do not
    for one in np.flatnonzero(random.random(endpoints) < 0.2):
        every, size, job = random.choice([60, 360, DAY]), random.lognormal(3.4, 0.6), int(random.integers(CONSUMERS))
        starts = np.arange(random.integers(every), minutes, every)
        starts = starts + random.normal(0, 3, len(starts)) + np.where(random.random(len(starts)) < 0.03, 35, 0)
        runs = random.poisson(size * random.lognormal(0, 0.2, len(starts)))
        at = np.repeat(starts, runs) * 60 + random.random(runs.sum()) * 60 * random.uniform(3, 9)
        calls.append(frame(at, np.full(len(at), one), np.full(len(at), job)))
    report = int(random.integers(endpoints))
    for monday in range(6 * 60, minutes, 7 * DAY):
        at = monday * 60 + random.random(300) * 2400
        calls.append(frame(at, np.full(300, report), np.full(300, 7)))
    crawls = []
    for visit in random.integers(0, minutes * 60, 3 * days):
        n, declared = int(random.integers(100, 500)), random.random() < 0.7
        at = visit + random.random(n) * random.uniform(3600, 4 * 3600)
        crawl = frame(at, random.integers(0, endpoints, n), np.full(n, -1))
        agent = "Mozilla/5.0 (compatible; Googlebot/2.1)" if declared else "python-requests/2.31"
        crawls.append(crawl.with_columns(agent=pl.lit(agent)))
    table = pl.concat([*calls, *crawls], how="diagonal").with_columns(pl.col("agent").fill_null("shop-app/5.2"))
    table = table.filter(pl.col("second").is_between(0, minutes * 60 - 1))

    # -- an endpoint moves to a new one within two days
    old, new = random.choice(np.argsort(-weight)[: endpoints // 2], 2, replace=False)
    moved_at = 6 * DAY * 60
    table = table.filter((pl.col("endpoint") != int(new)) | (pl.col("second") > moved_at))
    moves = pl.Series(random.random(len(table))) < (pl.col("second") - moved_at) / (2 * DAY * 60)
    table = table.with_columns(
        endpoint=pl.when((pl.col("endpoint") == int(old)) & moves).then(int(new)).otherwise("endpoint")
    )

    # -- faults of traffic, then status and latency of each call
    spared = {int(old), int(new)}
    use = np.bincount(table["endpoint"].to_numpy(), minlength=endpoints) / minutes
    planted = [] if profile.startswith("quiet") else plan(random, faults, minutes, service, use, spared, table)
    for fault in planted:
        here = (pl.col("endpoint") == fault.endpoints[0]) & pl.col("second").is_between(
            fault.start * 60, fault.end * 60
        )
        if fault.kind == "traffic_drop":
            lost = here & (pl.Series(random.random(len(table))) >= LEFT[fault.grade])
            fault.affected = {fault.endpoints[0]: len(table.filter(lost))}
            table = table.filter(~lost)
        if fault.kind == "traffic_spike":
            mine = table.filter(here)
            extra = mine.sample(int(len(mine) * (SURGE[fault.grade] - 1)), with_replacement=True, seed=seed)
            moment = fault.start * 60 + random.random(len(extra)) * (fault.end - fault.start) * 60
            fault.affected = {fault.endpoints[0]: len(extra)}
            table = pl.concat([table, extra.with_columns(second=pl.Series(moment))])
    second, endpoint = table["second"].to_numpy(), table["endpoint"].to_numpy()
    consumer, at = table["consumer"].to_numpy(), (second // 60).astype(int)
    n, of_service = len(second), service[endpoint]
    node = random.integers(0, NODES, n)
    work = np.bincount(of_service * minutes + at, minlength=services * minutes).reshape(services, minutes)
    work = np.apply_along_axis(np.convolve, 1, work, np.ones(5) / 5, "same")
    busy = np.clip(
        work / (np.quantile(work, 0.998, axis=1, keepdims=True) / random.uniform(0.55, 0.85, (services, 1))), 0, 0.93
    )
    queue = -np.log(1 - busy**2)
    level = np.log(random.choice([15, 40, 90, 250, 700], endpoints)) + random.normal(0, 0.3, endpoints)
    log_ms = (
        level[endpoint] + queue[of_service, at] + random.normal(0, 1, n) * random.uniform(0.3, 0.6, endpoints)[endpoint]
    )
    cached = random.random(endpoints) < 0.3
    hits = 1 / (1 + np.exp(-0.8 - weather(random, endpoints, minutes, np.full(endpoints, 0.35), 120)))
    log_ms -= 1.8 * (cached[endpoint] & (random.random(n) < hits[endpoint, at]))
    heavy = random.random(n) < 0.015
    log_ms[heavy] += np.minimum(np.log1p(random.pareto(1.3, heavy.sum())) * 1.5, 4.5)
    log_ms[(endpoint == report) & (consumer == 7) & (at % (7 * DAY) < 7 * 60)] += 1.0

    status = np.where(methods[endpoint] == "POST", 201, 200)
    lot = random.random(n)
    wrong = {500: random.lognormal(-8, 1.2, endpoints), 404: random.lognormal(-4.8, 1.0, endpoints), 400: random.lognormal(-5.5, 1.0, endpoints)}  # fmt: skip
    for code, share in wrong.items():
        status[lot < share[endpoint]] = code
        lot = np.where(lot < share[endpoint], 2.0, lot - share[endpoint])
    habit = table["habit"].to_numpy()
    status[habit == 401] = 401
    status[(habit == 422) & (random.random(n) < 0.3)] = 422
    status[(table["agent"].to_numpy() != "shop-app/5.2") & (random.random(n) < 0.06)] = 404
    for hiccup in random.integers(0, minutes * 60, days):
        hit = (node == random.integers(NODES)) & (second >= hiccup) & (second < hiccup + 35)
        status[hit & (random.random(n) < 0.5)] = 502
    deployed = random.choice(services, 3)
    for one, when in zip(deployed, random.integers(DAY, minutes - DAY, 3), strict=True):
        after = (of_service == one) & (at >= when)
        log_ms[after] += random.uniform(-0.08, 0.1) + 0.4 * np.exp(-(at[after] - when) / 6)
        status[after & (at < when + 2) & (random.random(n) < 0.2)] = 503
        status[after & (random.random(n) < 0.003)] = 404

    numbers = by_endpoint(endpoint, endpoints)
    for fault in planted:
        rows = rows_met(fault, numbers, at, consumer, node)
        if fault.code is not None:
            low, high = SHARE[fault.grade]
            broad = 1.6 if fault.consumer or fault.node or fault.upstream else 1.0
            share = LOW_TRAFFIC[fault.grade] if fault.kind == "low_traffic_fail" else min(broad * random.uniform(low, high), 0.95)  # fmt: skip
            rows = rows[random.random(len(rows)) < share]
            status[rows] = fault.code
            log_ms[rows] = np.log(15_000.0) if fault.code == 504 else np.minimum(log_ms[rows], level[endpoint[rows]])
        elif fault.kind == "latency_step":
            log_ms[rows] += np.log(random.uniform(*SLOWER[fault.grade]))
        elif fault.kind == "latency_drift":
            log_ms[rows] += (
                np.log(random.uniform(*SLOWER[fault.grade])) * (at[rows] - fault.start) / (fault.end - fault.start)
            )
        elif fault.kind == "latency_tail":
            rows = rows[random.random(len(rows)) < TAIL[fault.grade]]
            log_ms[rows] += random.uniform(np.log(4), np.log(12), len(rows))
        if not fault.affected:
            hit, calls_hit = np.unique(endpoint[rows], return_counts=True)
            fault.affected = dict(zip(hit.tolist(), calls_hit.tolist(), strict=True))
    ms = np.minimum(np.exp(log_ms), 60_000)
    status[(ms > 12_000) & (status < 400) & (random.random(n) < 0.5)] = 499

    # -- clients try again what failed, up to three times; the log has holes
    table = table.drop("habit").with_columns(node=pl.Series(node.astype(np.int8)), status=pl.Series(status.astype(np.int16)), latency_ms=pl.Series(ms))  # fmt: skip
    tries = [table]
    for wait in (1.0, 3.0, 9.0):
        again = tries[-1].filter(pl.col("status") >= 500)
        again = again.filter(pl.Series(random.random(len(again)) < 0.7))
        fails = pl.Series(random.random(len(again)) < 0.45)
        tries.append(
            again.with_columns(second=pl.col("second") + wait, status=pl.when(fails).then("status").otherwise(200))
        )
    table = pl.concat(tries, how="vertical_relaxed")
    gaps = []
    for only in (None, int(random.integers(NODES))):
        begin_gap, span = int(random.integers(4 * DAY, minutes - DAY)), int(random.integers(25, 80))
        inside = pl.col("second").is_between(begin_gap * 60, (begin_gap + span) * 60)
        table = table.filter(~(inside if only is None else inside & (pl.col("node") == only)))
        gaps.append((begin_gap, span, only))
    table = table.filter(pl.col("second") < minutes * 60).sort("second")
    table = table.with_columns(id=pl.Series(random.integers(1, 5000, len(table))), bytes=pl.lit(900), path=pl.lit(None, pl.String))  # fmt: skip
    labels = {
        "t0": MONDAY,
        "minutes": minutes,
        "gaps": gaps,
        "moved": [int(old), int(new)],
        "holiday": holiday,
        "campaign": [campaign, int(promoted)],
        "faults": fault_labels(planted),
    }
    return World(lines(table, catalog), labels, catalog)


def frame(second: np.ndarray, endpoint: np.ndarray, consumer: np.ndarray, habit: np.ndarray | int = 0) -> pl.DataFrame:
    """Calls; habit: the status that its session gives a call sooner or later, 0 for none."""
    columns = {"endpoint": endpoint, "consumer": consumer, "habit": np.broadcast_to(habit, len(second))}
    return pl.DataFrame({"second": second, **columns}).with_columns(pl.col(*columns).cast(pl.Int64))


def weather(random: np.random.Generator, rows: int, minutes: int, spread: np.ndarray, memory: float) -> np.ndarray:
    """Ornstein-Uhlenbeck noise per row: mean 0, the given spread, correlated over `memory` minutes; sampled every 5 minutes."""
    keep = np.exp(-5 / memory)
    steps = lfilter([np.sqrt(1 - keep**2)], [1, -keep], random.normal(0, 1, (rows, minutes // 5 + 200)), axis=1)
    return np.repeat(steps[:, 200:], 5, axis=1) * spread[:, None]


def plan(
    random: np.random.Generator,
    faults: int,
    minutes: int,
    service: np.ndarray,
    use: np.ndarray,
    spared: set[int],
    table: pl.DataFrame,
) -> list[Fault]:
    """Faults of each kind in turn from day 4.2 on; an endpoint has one at a time, at an hour when it is used."""
    planted: list[Fault] = []
    free = np.ones((len(use), minutes), dtype=bool)
    for one in spared:
        free[one] = False
    order = np.argsort(-use)
    load = np.bincount(table["second"].to_numpy().astype(int) // 60, minlength=minutes)
    load = np.convolve(load, np.ones(60) / 60, "same")
    for _ in range(40 * faults):
        if len(planted) == faults:
            break
        kind = KINDS[len(planted) % len(KINDS)]
        grade = str(random.choice(["easy", "medium", "hard"], p=[0.45, 0.3, 0.25]))
        span = int(np.clip(random.lognormal(4.2, 0.6), 20, 300))
        span = {"latency_drift": int(random.uniform(2, 4) * DAY), "low_traffic_fail": 5 * span + 300, "new_code": 4 * span, "validation_regression": 4 * span, "node_outage": 12 + span // 4}.get(kind, span)  # fmt: skip
        if minutes - span - 60 <= 4.2 * DAY:
            continue
        start = int(random.integers(int(4.2 * DAY), minutes - span - 60))
        third = len(use) // 3
        one = int(random.choice(order[2 * third : -2] if kind == "low_traffic_fail" else order[: third + 1]))
        fault = Fault(kind, grade, start, start + span, [one])
        fault.code = {"error_burst": 500, "low_traffic_fail": 500, "upstream_timeout": int(random.choice([502, 503, 504])), "auth_failure": int(random.choice([401, 403])), "rate_limit": 429, "new_code": int(random.choice([405, 409, 413, 415, 451])), "validation_regression": int(random.choice([400, 422])), "node_outage": 503}.get(kind)  # fmt: skip
        if kind == "upstream_timeout":
            fault.endpoints, fault.upstream = (
                np.flatnonzero(service == service[one]).tolist(),
                f"svc-{service[one]:02d}",
            )
        if kind in ("auth_failure", "node_outage"):
            fault.endpoints = list(range(len(use)))
        if kind in ("auth_failure", "rate_limit"):
            near = table.filter((pl.col("endpoint") == one) & (pl.col("consumer") >= 0))["consumer"].value_counts(
                sort=True
            )
            fault.consumer = f"app-{near['consumer'][int(random.integers(min(6, len(near))))]:02d}"
        if kind == "node_outage":
            fault.node = f"gw-{random.integers(NODES)}"
        around = slice(max(0, start - 150), start + span + 150)
        if load[start : start + span].mean() < 0.4 * load.mean() or free[fault.endpoints, around].mean() < (0.9 if len(fault.endpoints) > 1 else 1.0):  # fmt: skip
            continue
        free[fault.endpoints, around] = False
        planted.append(fault)
    return sorted(planted, key=lambda fault: fault.start)
