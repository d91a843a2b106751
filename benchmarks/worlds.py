"""Seeded worlds of API traffic with planted faults, to score the detector on what it has not seen.

    python benchmarks/worlds.py stormy --seed 7 --endpoints 40 --days 10 --out /tmp/stormy7

writes access.log (NGINX `log_format` of README below), labels.json and catalog.json. `calm` is Poisson traffic with daily
and weekly rhythm and lognormal latency; `stormy` adds what real gateways see: over-dispersed traffic, heavy tails, latency
that grows with load, retries, batch jobs, scanners, health checks, a holiday, a marketing peak, benign deployments, blips and
gaps in the log. `quiet` and `quiet-stormy` plant no fault at all; `golive` and
`golive-stormy` have theirs in the first four days, standing ones among them. Written before looking at the detector; seeds 1-9 are for
building (train), seeds 101 and up are held out.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from calls import label

LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_iso8601] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $msec $request_time $proxy_host $hostname'
)
MONDAY = 1_772_409_600  # 2026-03-02T00:00:00Z, so that day 5 and 6 are a weekend
NODES = 3
DAY = 1440

KINDS = (
    "error_burst",
    "upstream_timeout",
    "latency_step",
    "latency_tail",
    "latency_drift",
    "auth_failure",
    "rate_limit",
    "traffic_drop",
    "traffic_spike",
    "new_code",
    "validation_regression",
    "node_outage",
    "low_traffic_fail",
)
SIGNAL = {
    "auth_failure": "auth",
    "rate_limit": "rate_limit",
    "traffic_drop": "traffic",
    "traffic_spike": "traffic",
    "latency_step": "latency",
    "latency_tail": "latency",
    "latency_drift": "latency",
    "silence": "traffic",
    "polling_storm": "traffic",
    "auth_loop": "auth",
}
# Share of calls that fail, factor on latency or on traffic, by grade: a hard fault is one that an SRE would call subtle.
ERROR_SHARE = {"easy": 0.4, "medium": 0.12, "hard": 0.04}
LATENCY_FACTOR = {"easy": 2.5, "medium": 1.6, "hard": 1.3}
DROP_TO = {"easy": 0.05, "medium": 0.3, "hard": 0.55}
SPIKE_TO = {"easy": 6.0, "medium": 3.0, "hard": 2.0}


@dataclass
class Fault:
    kind: str
    grade: str
    start: int  # minutes since the world's beginning
    end: int
    endpoints: list[int]
    code: int | None = None
    upstream: str | None = None
    consumer: str | None = None
    node: str | None = None
    affected: dict[int, int] = field(default_factory=dict)  # endpoint → calls affected


@dataclass
class World:
    calls: pl.DataFrame
    labels: dict
    catalog: dict


def make(
    profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0, faults: int = 24
) -> World:
    """One world: calls in order of time, the faults planted in it, and its endpoints. Same arguments, same world."""
    random = np.random.default_rng([seed, endpoints, days])
    stormy = profile.endswith("stormy")
    minutes = days * DAY
    minute = np.arange(minutes)

    services = max(3, endpoints // 6)
    service = random.integers(0, services, endpoints)
    words = [
        "".join(random.choice(list("bdfgklmnprstv")) + random.choice(list("aeiou")) for _ in range(3))
        for _ in range(endpoints)
    ]
    nouns = ["orders", "users", "carts", "catalog", "invoices", "payments", "sessions", "reports", "stock", "quotes"]
    has_id = random.random(endpoints) < 0.6
    method = random.choice(["GET", "POST", "PUT", "DELETE"], endpoints, p=[0.6, 0.22, 0.12, 0.06])
    paths = [
        f"/v1/{nouns[s % 10]}{s}/{w}{'/{id}' if i else ''}" for s, w, i in zip(service, words, has_id, strict=True)
    ]
    upstream = [f"svc-{s:02d}" for s in service]

    # Traffic: rhythm of the day and the week, shared by a service.
    weight = random.lognormal(0, 1.6, endpoints)
    weight *= calls_per_minute / weight.sum()
    hour = (minute % DAY) / 60
    office = 0.08 + np.exp(-(((hour - 13.5) / 3.6) ** 4))
    evening = 0.25 + 0.75 * np.exp(-(((hour - 20) / 3.5) ** 2)) + 0.4 * np.exp(-(((hour - 12) / 4) ** 2))
    flat = np.ones_like(hour)
    shape = np.stack([office / office.mean(), evening / evening.mean(), flat])[random.integers(0, 3, services)]
    weekday = (minute // DAY) % 7
    holiday = days - 3
    free = (weekday >= 5) | ((minute // DAY == holiday) & stormy)
    free_factor = random.choice([0.25, 0.5, 0.9, 1.2], services)
    shape = shape * np.where(free[None, :], free_factor[:, None], 1.0)
    rate = weight[:, None] * shape[service]
    level = random.normal(np.log(random.choice([25, 60, 120, 400], endpoints)), 0.3)
    sigma = random.uniform(0.25, 0.5, endpoints)
    log_latency = np.repeat(level[:, None], minutes, axis=1)
    if stormy:
        rate *= wander(random, endpoints, minutes, spread=random.uniform(0.05, 0.35, endpoints), memory_minutes=25)
        rate *= wander(random, 1, minutes, spread=np.array([0.08]), memory_minutes=180)
        peak = int(random.integers(5 * DAY, minutes - DAY)) // DAY * DAY + 17 * 60
        rate[service == random.integers(services), peak : peak + 150] *= 2.2
        for endpoint in np.flatnonzero(random.random(endpoints) < 0.2):
            every = int(random.choice([60, 360, DAY]))
            for start in range(int(random.integers(every)), minutes, every):
                at = max(0, start + int(random.integers(-4, 5)))
                rate[endpoint, at : at + int(random.integers(6, 14))] += random.uniform(4, 25)
        load = rate / np.quantile(rate, 0.995, axis=1, keepdims=True)
        log_latency += 0.35 * np.clip(load, 0, 1.4) ** 3
        log_latency += np.log(
            wander(random, endpoints, minutes, spread=random.uniform(0.02, 0.08, endpoints), memory_minutes=240)
        )

    wanted = 0 if profile.startswith("quiet") else faults
    planted = plan(random, wanted, minutes, service, services, rate, endpoints, first_days=profile.startswith("golive"))
    for fault in planted:
        span = slice(fault.start, fault.end)
        for endpoint in fault.endpoints:
            if fault.kind == "traffic_drop":
                rate[endpoint, span] *= DROP_TO[fault.grade]
            if fault.kind == "traffic_spike":
                rate[endpoint, span] *= SPIKE_TO[fault.grade]
            if fault.kind == "latency_step":
                log_latency[endpoint, span] += np.log(LATENCY_FACTOR[fault.grade])
            if fault.kind == "latency_drift":
                log_latency[endpoint, span] += np.linspace(
                    0, np.log(LATENCY_FACTOR[fault.grade]), fault.end - fault.start
                )

    benign_deployments = []
    benign_error = np.zeros((services, minutes), dtype=np.float32)
    if stormy:
        for one in range(services):
            for at in random.integers(DAY, minutes - 60, max(1, days // 7)):
                benign_deployments.append(int(at))
                benign_error[one, at : at + 2] = 0.03
                log_latency[service == one, at : at + 3] += 0.5
                log_latency[service == one, at:] += random.uniform(-0.06, 0.05)
            for at in random.integers(0, minutes, days):  # a blip: one bad minute that nobody needs to hear about
                benign_error[one, at] = max(benign_error[one, at], 0.15)

    # Calls.
    count = random.poisson(rate)
    cell = np.repeat(np.arange(endpoints * minutes), count.ravel())
    endpoint, at_minute = (cell // minutes).astype(np.int32), (cell % minutes).astype(np.int32)
    n = len(cell)
    second = at_minute * 60 + random.random(n) * 60
    consumers = 25
    use = random.dirichlet(np.full(consumers, 0.35), endpoints).cumsum(axis=1)
    consumer = np.minimum((use[endpoint] < random.random(n)[:, None]).sum(axis=1), consumers - 1).astype(np.int16)
    node = random.integers(0, NODES, n).astype(np.int8)
    status = np.where(np.isin(method[endpoint], ["POST"]), 201, 200).astype(np.int16)
    base = {
        404: random.uniform(0.002, 0.04, endpoints),
        400: random.uniform(0.001, 0.02, endpoints),
        401: random.uniform(0, 0.004, endpoints),
        500: random.uniform(0, 0.003, endpoints),
    }
    lot = random.random(n)
    for code, share in base.items():
        here = (lot >= 0) & (lot < share[endpoint])
        status[here] = code
        lot = np.where(here, -1, lot - share[endpoint])
    noisy = random.random(n) < benign_error[service[endpoint], at_minute]
    status[noisy] = random.choice([500, 502, 503], noisy.sum())
    body = random.normal(0, 1, n) * sigma[endpoint]
    if stormy:
        heavy = random.random(n) < 0.02
        body[heavy] += np.minimum(random.pareto(1.6, heavy.sum()), 4)
    latency = np.exp(log_latency[endpoint, at_minute] + body)
    latency[status >= 400] *= 0.5

    numbers = by_endpoint(endpoint, endpoints)
    for fault in planted:
        rows = rows_met(fault, numbers, at_minute, consumer, node)
        share = {
            "upstream_timeout": 2,
            "new_code": 0.5,
            "validation_regression": 0.6,
            "node_outage": 2,
            "auth_failure": 2.2,
            "rate_limit": 1.6,
        }.get(fault.kind, 1.0) * ERROR_SHARE[fault.grade]
        if fault.kind == "low_traffic_fail":
            share = {"easy": 0.9, "medium": 0.6, "hard": 0.35}[fault.grade]
        if fault.code is not None:
            rows = rows[random.random(len(rows)) < min(share, 0.95)]
            status[rows] = fault.code
            if fault.kind == "upstream_timeout" and fault.code == 504:
                latency[rows] = random.normal(10_000, 30, len(rows))
        if fault.kind == "latency_tail":
            rows = rows[random.random(len(rows)) < {"easy": 0.25, "medium": 0.12, "hard": 0.06}[fault.grade]]
            latency[rows] *= random.uniform(4, 10, len(rows))
        hit, calls = np.unique(endpoint[rows], return_counts=True)
        fault.affected = dict(zip(hit.tolist(), calls.tolist(), strict=True))
        if fault.kind == "traffic_drop":
            was = count[fault.endpoints[0], fault.start : fault.end].sum() / DROP_TO[fault.grade]
            fault.affected = {fault.endpoints[0]: int(was * (1 - DROP_TO[fault.grade]))}

    frame = pl.DataFrame(
        {
            "second": second,
            "endpoint": endpoint,
            "consumer": consumer,
            "node": node,
            "status": status,
            "latency_ms": latency,
        }
    )
    if stormy:
        failed = frame.filter(pl.col("status") >= 500)
        retries = [failed]
        for wait in (1.0, 2.5, 6.0):  # a client retries what failed, and mostly fails again while the fault lasts
            again = retries[-1].filter(pl.Series(random.random(len(retries[-1])) < 0.6))
            again = again.with_columns(
                second=pl.col("second") + wait,
                status=pl.when(pl.Series(random.random(len(again)) < 0.5)).then(pl.col("status")).otherwise(200),
            )
            retries.append(again)
        frame = pl.concat([frame, *retries[1:]])
    frame = frame.with_columns(
        id=pl.Series(random.integers(1, 5000, len(frame))),
        bytes=pl.Series(random.integers(200, 20_000, len(frame))),
        agent=pl.lit("client/1.4"),
        path=pl.lit(None, dtype=pl.String),
    )
    gaps = []
    if stormy:
        frame = pl.concat(
            [frame, robots(random, minutes, len(frame.columns) and endpoints, paths)], how="diagonal_relaxed"
        )
        for only in (None, int(random.integers(NODES))):  # the whole log is missing for a while, then one node's
            start = int(random.integers(4 * DAY, minutes - DAY))
            length = int(random.integers(20, 90))
            inside = pl.col("second").is_between(start * 60, (start + length) * 60)
            frame = frame.filter(~(inside if only is None else inside & (pl.col("node") == only)))
            gaps.append((start, length, only))
    frame = frame.filter(pl.col("second") < minutes * 60).sort("second")

    catalog = {
        "t0": MONDAY,
        "minutes": minutes,
        "endpoints": [
            {"id": i, "method": str(method[i]), "path": paths[i], "upstream": upstream[i]} for i in range(endpoints)
        ],
    }
    labels = {
        "t0": MONDAY,
        "minutes": minutes,
        "gaps": gaps,
        "deployments": benign_deployments,
        "faults": fault_labels(planted),
    }
    return World(lines(frame, catalog), labels, catalog)


def by_endpoint(endpoint: np.ndarray, endpoints: int) -> list[np.ndarray]:
    """Numbers of the calls of each endpoint, in the calls' order; endpoint: of each call."""
    order = np.argsort(endpoint, kind="stable")
    edges = np.searchsorted(endpoint[order], np.arange(endpoints + 1))
    return [order[edges[e] : edges[e + 1]] for e in range(endpoints)]


def rows_met(
    fault: Fault, numbers: list[np.ndarray], minute: np.ndarray, consumer: np.ndarray, node: np.ndarray
) -> np.ndarray:
    """Numbers of the calls of a fault's endpoints, time, consumer and node. numbers: of the calls of each endpoint; the others: of each call."""
    rows = np.concatenate([numbers[e] for e in fault.endpoints])
    rows = rows[(minute[rows] >= fault.start) & (minute[rows] < fault.end)]
    if fault.consumer is not None:
        rows = rows[consumer[rows] == int(fault.consumer[4:])]
    if fault.node is not None:
        rows = rows[node[rows] == int(fault.node[3:])]
    return rows


def fault_labels(planted: list[Fault]) -> list[dict[str, object]]:
    """The faults of a world as scoring.py wants them, in the order planted."""
    return [
        label(
            number,
            fault,
            MONDAY + fault.start * 60,
            MONDAY + fault.end * 60,
            SIGNAL,
            endpoints=sorted(e for e, calls in fault.affected.items() if calls >= 2),
            affected_calls=sum(fault.affected.values()),
            detectable=max(fault.affected.values(), default=0) >= (5 if fault.code else 20),
        )
        for number, fault in enumerate(planted)
    ]


def wander(
    random: np.random.Generator, rows: int, minutes: int, spread: np.ndarray, memory_minutes: float
) -> np.ndarray:
    """Positive factors around 1 that drift slowly: exp of an AR(1) over 5-minute steps, per row with its own spread."""
    steps = minutes // 5 + 1
    keep = np.exp(-5 / memory_minutes)
    noise = random.normal(0, 1, (rows, steps))
    noise[:, 0] /= np.sqrt(1 - keep**2)
    for step in range(1, steps):
        noise[:, step] += keep * noise[:, step - 1]
    noise *= np.sqrt(1 - keep**2) * spread[:, None]
    return np.repeat(np.exp(noise - spread[:, None] ** 2 / 2), 5, axis=1)[:, :minutes]


def plan(
    random: np.random.Generator,
    faults: int,
    minutes: int,
    service: np.ndarray,
    services: int,
    rate: np.ndarray,
    endpoints: int,
    first_days: bool,
) -> list[Fault]:
    """Faults of every kind in turn, on endpoints busy enough for the kind, in the hours when they are used, not overlapping on an endpoint."""
    planted: list[Fault] = []
    mean = rate.mean(axis=1)
    busy_order = np.argsort(-mean)
    taken = np.zeros((endpoints, minutes), dtype=bool)
    grades = ["easy", "medium", "hard"]
    if first_days:
        # Standing faults: bad since the launch, and still.
        for one in random.choice(busy_order[: endpoints * 2 // 3], min(5, endpoints // 4), replace=False):
            code = int(random.choice([500, 502, 403, 404]))
            planted.append(Fault("standing", str(random.choice(["easy", "medium"])), 0, minutes, [int(one)], code))
    standing = {fault.endpoints[0] for fault in planted}
    for _ in range(faults * 6):
        if len(planted) == faults:
            break
        kind = KINDS[len(planted) % len(KINDS)]
        grade = grades[random.choice(3, p=[0.5, 0.25, 0.25])]
        length = int(random.integers(30, 180))
        if kind == "latency_drift":
            length = int(random.integers(2 * DAY, 4 * DAY))
        if kind in ("new_code", "validation_regression"):
            length = int(random.integers(180, 900))
        if kind == "low_traffic_fail":
            length = int(random.integers(500, 1200))
        if kind == "node_outage":
            length = int(random.integers(12, 40))
        if first_days and kind == "latency_drift":  # takes longer than the first days
            kind = "error_burst"
        earliest, latest = (DAY // 4, 4 * DAY) if first_days else (int(4.2 * DAY), minutes - length - 60)
        if latest <= earliest:
            continue
        start = int(random.integers(earliest, latest))
        busy = busy_order[: max(3, endpoints // 3)]
        one = int(
            random.choice(busy_order[endpoints // 2 : endpoints * 9 // 10] if kind == "low_traffic_fail" else busy)
        )
        fault = Fault(kind, grade, start, start + length, [one])
        if kind in ("error_burst", "low_traffic_fail"):
            fault.code = 500
        if kind == "upstream_timeout":
            fault.code = int(random.choice([502, 503, 504]))
            fault.upstream = f"svc-{service[one]:02d}"
            fault.endpoints = np.flatnonzero(service == service[one]).tolist()
        if kind == "new_code":
            fault.code = int(random.choice([409, 410, 413, 415, 422, 451]))
        if kind == "validation_regression":
            fault.code = int(random.choice([400, 422]))
        if kind in ("auth_failure", "rate_limit"):
            fault.code = int(random.choice([401, 403])) if kind == "auth_failure" else 429
            fault.consumer = f"app-{random.integers(25):02d}"
            fault.endpoints = list(range(endpoints)) if kind == "auth_failure" else [one]
        if kind == "node_outage":
            fault.code = 503
            fault.node = f"gw-{random.integers(NODES)}"
            fault.endpoints = list(range(endpoints))
        if one in standing:
            continue
        span = slice(max(0, start - 120), start + length + 120)
        wide = len(fault.endpoints) > 1
        clash = taken[fault.endpoints, span].any() if not wide else taken[fault.endpoints, span].mean() > 0.05
        if clash or rate[one, start : start + length].mean() < 0.25 * mean[one]:
            continue
        taken[fault.endpoints, span] = True
        planted.append(fault)
    return sorted(planted, key=lambda fault: fault.start)


def robots(random: np.random.Generator, minutes: int, endpoints: int, paths: list[str]) -> pl.DataFrame:
    """Health checks every half minute, and scanners who try paths that do not exist: present in every log, nobody's problem."""
    beat = np.arange(0, minutes * 60, 30.0)
    health = pl.DataFrame(
        {
            "second": beat,
            "status": 200,
            "agent": "kube-probe/1.29",
            "path": "/healthz",
            "latency_ms": 1.0,
            "consumer": -1,
            "node": (np.arange(len(beat)) % NODES).astype(np.int8),
        }
    )
    visits = []
    for start in random.integers(0, minutes * 60, minutes // DAY * 3):
        n = int(random.integers(40, 400))
        wanted = random.choice(
            [
                "/wp-login.php",
                "/.env",
                "/admin/config",
                "/phpmyadmin/index.php",
                *[p.replace("{id}", "1") for p in paths],
            ],
            n,
        )
        visits.append(
            pl.DataFrame(
                {
                    "second": start + np.sort(random.random(n)) * 300,
                    "status": random.choice([404, 401, 403], n),
                    "agent": "Mozilla/5.0 (compatible; Nikto/2.5)",
                    "path": wanted,
                    "latency_ms": 3.0,
                    "consumer": -1,
                    "node": random.integers(0, NODES, n).astype(np.int8),
                }
            )
        )
    return pl.concat([health, *visits], how="vertical_relaxed").with_columns(
        endpoint=pl.lit(-1), id=pl.lit(0), bytes=pl.lit(100)
    )


def lines(frame: pl.DataFrame, catalog: dict) -> pl.DataFrame:
    """The calls as log lines, one row per line in order of time: `at` (seconds since the epoch) and `line`."""
    endpoints = pl.DataFrame(catalog["endpoints"]).select(
        endpoint=pl.col("id").cast(pl.Int64), method="method", template="path", upstream="upstream"
    )
    at = pl.lit(catalog["t0"]) + pl.col("second")
    local = pl.from_epoch(at.floor().cast(pl.Int64), time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    path = pl.coalesce("path", pl.col("template").str.replace("{id}", pl.col("id").cast(pl.String), literal=True))
    return (
        frame.with_columns(pl.col("endpoint").cast(pl.Int64))
        .join(endpoints, on="endpoint", how="left", maintain_order="left")
        .select(
            at=at,
            line=pl.format(
                '10.2.0.{} - {} [{}] "{} {} HTTP/1.1" {} {} "-" "{}" {} {} {} gw-{}',
                (pl.col("id") * 7 % 250).cast(pl.String),
                pl.when(pl.col("consumer") >= 0)
                .then(pl.lit("app-") + pl.col("consumer").cast(pl.String).str.zfill(2))
                .otherwise(pl.lit("-")),
                local,
                pl.col("method").fill_null("GET"),
                path,
                "status",
                "bytes",
                "agent",
                at.round(3).cast(pl.Decimal(18, 3)).cast(pl.String),
                (pl.col("latency_ms") / 1000).cast(pl.Decimal(12, 3)).cast(pl.String),
                pl.col("upstream").fill_null("-"),
                "node",
            ),
        )
    )


def write(world: World, folder: Path) -> None:
    """access.log, labels.json and catalog.json, in the forms the scorer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "access.log").write_text("\n".join(world.calls["line"]) + "\n")
    (folder / "labels.json").write_text(json.dumps(world.labels))
    (folder / "catalog.json").write_text(json.dumps(world.catalog))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", choices=["calm", "stormy", "quiet", "quiet-stormy", "golive", "golive-stormy"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--endpoints", type=int, default=40)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--calls-per-minute", type=float, default=60)
    parser.add_argument("--faults", type=int, default=24)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    write(make(given.profile, given.seed, given.endpoints, given.days, given.calls_per_minute, given.faults), given.out)
