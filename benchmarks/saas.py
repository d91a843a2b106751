"""A world of one author: a company whose software other companies rent for accounting, HR and documents, seen by its API gateway.

`make("saas", seed)` has faults, `make("quiet-saas", seed)` has none. From Monday 2026-03-23 (UTC): pay day, the clock change in Europe and
in Sydney, the closing of March and of the quarter, Good Friday. Customers differ in size by two orders of magnitude; their programs poll,
run at night by their local clock or when a button is pressed, and have bugs of their own. Written without looking at the detector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from calls import Columns, Hinted, arrivals, label, ornstein, ticks, within
from worlds import World

Random = np.random.Generator
MONDAY = 1_774_224_000  # 2026-03-23T00:00:00Z
DAY, GOOD_FRIDAY, NODES, TENANTS = 1440, 11, 3, 48
ENDPOINTS = """
GET /api/v2/invoices ledger 8 60 .55 web | GET /api/v2/invoices/{id} ledger 9 35 .45 web | POST /api/v2/invoices ledger 3 120 .5 web | POST /oauth/token identity 4 70 .4 anyone
GET /api/v2/me identity 6 20 .4 web | POST /session/login identity 1.6 190 .3 anyone | GET /api/v2/search search 6 140 .7 web | POST /api/v2/reports reports 1.1 2400 .95 web
GET /api/v2/reports/{id} reports 5 40 .4 web | GET /api/v2/documents docs 4 65 .5 web | GET /api/v2/documents/{id}/content docs 3.5 220 .85 web | POST /api/v2/documents docs 1.8 450 .8 web
GET /api/v2/employees people 4 55 .5 web | GET /api/v2/employees/{id} people 4 35 .45 web | PUT /api/v2/timesheets/{id} people 2 90 .45 mobile | GET /api/v2/timesheets people 3 60 .5 mobile
POST /api/v2/journal-entries ledger 2.5 150 .5 web | GET /api/v2/bank-transactions banking 4 80 .55 web | POST /api/v2/bank-transactions/{id}/match banking 1.5 130 .5 web | POST /api/v2/imports imports .5 800 .8 web
GET /api/v2/imports/{id} imports 2 30 .4 web | GET /api/v2/exports/{id} imports .8 600 .9 web | GET /mobile/v1/sync mobile 6 160 .6 mobile | GET /api/v2/notifications notify 9 18 .4 web
POST /hooks/payments hooks 1.2 50 .45 hook | POST /hooks/bank/{id} hooks .9 60 .5 hook | GET /public/help/{id} site 2.5 25 .5 public | GET /public/pricing site 1 20 .4 public
POST /public/trials site .12 600 .5 public | GET /api/v2/payslips/{id} payroll 1 180 .6 mobile | POST /api/v2/payroll-runs payroll .06 1500 .6 web | GET /api/v2/absences people 2.5 50 .5 mobile
POST /api/v2/absences people .6 120 .5 mobile | GET /api/v2/accounts/{id}/balance ledger 3 45 .45 web | PUT /api/v2/invoices/{id} ledger 1.6 110 .5 web | POST /api/v2/invoices/{id}/send mailer .8 240 .6 web
POST /api/v2/periods/{id}/close ledger .05 900 .7 web | DELETE /api/v2/documents/{id} docs .25 80 .5 web | POST /mobile/v1/receipts docs .7 700 .7 mobile | GET /api/v2/audit-log ledger .5 90 .6 web
GET /api/v2/customers ledger 5 50 .5 web | GET /api/v2/customers/{id} ledger 4 30 .45 web
"""
LATER = "/api/v2/audit-log"  # goes live on the sixth day
BATCH = ("/imports", "/exports/{id}", "/journal-entries", "/bank-transactions", "/documents", "/employees")  # bulk jobs
HABITS = ((404, 0.07), (400, 0.1), (401, 0.03), (429, 0.04), (200, 0.0), (200, 0.0))  # how programs fail day by day
REGIONS = {"eu": 0.52, "us-east": 0.22, "us-west": 0.09, "apac": 0.17}
CLOSING, PAYDAY = {4: 1.1, 7: 1.3, 8: 1.55, 9: 1.4, 10: 1.2}, {2: 1.2, 3: 1.3, 4: 1.15}  # more work, by day
BY_DAY = {"ledger": CLOSING, "banking": CLOSING, "reports": CLOSING, "people": PAYDAY, "payroll": PAYDAY}
BROWSERS, APPS, PROGRAMS, BOTS = range(3), range(3, 5), range(5, 11), range(11, 15)
AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/145.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15", "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0",
    "LedgerMobile/7.1.4 (Android 16)", "LedgerMobile/7.2.0 (Android 16)", "sap-connector/2.9",
    "acme-erp-bridge/0.3", "Java-http-client/21.0.4", "axios/1.13.2", "ledger-sdk-php/4.4", "ledger-sdk-dotnet/5.1.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "kube-probe/1.34",
]  # fmt: skip
SIGNAL = {"auth_failure": "auth", "rate_limit": "rate_limit", "latency_step": "latency", "latency_tail": "latency"}
SIGNAL |= {"latency_drift": "latency", "traffic_drop": "traffic", "traffic_spike": "traffic", "silence": "traffic"}


class Size(NamedTuple):
    """How long a kind of fault lasts, in how many calls at least, and its strength: share of the calls, or factor of latency or traffic."""

    minutes: tuple[int, int]
    calls: int
    easy: tuple[float, float]
    medium: tuple[float, float]
    hard: tuple[float, float]
    wished: str  # one letter a fault; the grade of the label is the measured one
    codes: tuple[int, ...] = ()


SIZES = {
    "error_burst": Size((15, 150), 80, (0.3, 0.8), (0.09, 0.2), (0.025, 0.06), "emmh", (500, 500, 503, 502)),
    "upstream_timeout": Size((10, 70), 90, (0.3, 0.7), (0.08, 0.2), (0.03, 0.05), "emh", (504, 504, 502)),
    "latency_step": Size((60, 1200), 100, (1.9, 3.0), (1.4, 1.7), (1.18, 1.3), "emh"),
    "latency_tail": Size((90, 600), 150, (0.12, 0.25), (0.06, 0.1), (0.035, 0.05), "emh"),
    "latency_drift": Size((1800, 4500), 1500, (2.0, 2.6), (1.5, 1.8), (1.25, 1.35), "mh"),
    "auth_failure": Size((60, 480), 60, (0.9, 1.0), (0.4, 0.7), (0.12, 0.25), "emh", (401, 401, 403)),
    "rate_limit": Size((40, 300), 60, (0.5, 0.8), (0.25, 0.4), (0.08, 0.15), "em", (429,)),
    "traffic_drop": Size((60, 360), 120, (0.75, 0.9), (0.5, 0.65), (0.3, 0.4), "emh"),
    "traffic_spike": Size((20, 150), 60, (4.0, 6.0), (2.2, 3.0), (1.5, 1.8), "em"),
    "silence": Size((60, 480), 60, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), "ee"),
    "new_code": Size((200, 1500), 120, (0.2, 0.4), (0.05, 0.12), (0.015, 0.03), "mh", (415, 410, 413, 451, 501)),
    "validation_regression": Size((180, 2400), 120, (0.25, 0.6), (0.08, 0.16), (0.03, 0.06), "emh", (400, 422)),
    "node_outage": Size((8, 30), 60, (0.8, 1.0), (0.35, 0.6), (0.1, 0.2), "mh", (502, 503)),
    "low_traffic_fail": Size((600, 2400), 12, (0.8, 1.0), (0.4, 0.6), (0.15, 0.25), "mh", (500,)),
}
BROAD = ("node_outage", "latency_drift", "upstream_timeout")  # these find their place first


@dataclass
class Calls(Columns):
    """at: second at which a call arrives; consumer: position in the company's consumers, -1 nobody known; status 0: not answered yet."""

    at: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    agent: np.ndarray
    status: np.ndarray
    latency_ms: np.ndarray
    node: np.ndarray


@dataclass
class Fault(Hinted):
    """A fault; affected: calls by endpoint that it changed, took away or added; figures: how it was graded."""

    strength: float = 0.0
    affected: dict[int, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `saas`, or `quiet-saas` for the same one without faults. 32 to 70 endpoints, more than 5 days."""
    company = Company(np.random.default_rng([seed, 1901]), endpoints, days, calls_per_minute)
    calls = company.answered(company.traffic())
    calls, planted = (calls, []) if profile.startswith("quiet") else plant(company.random, company, calls)
    frame = company.logged(company.tried_again(calls))
    told = [
        label(number, fault, MONDAY + fault.start, MONDAY + fault.end, SIGNAL, [e for e, count in fault.affected.items() if count > 1],
              sum(fault.affected.values()), figures=fault.figures, detectable=fault.figures["grade"] > 0)
        for number, fault in enumerate(planted)
    ]  # fmt: skip
    times, ambiguous = {"t0": MONDAY, "minutes": company.minutes}, [one for one in company.events if one["ambiguous"]]
    labels = {**times, "faults": told, "events": company.events, "ambiguous": ambiguous}
    return World(frame, labels, {**times, "endpoints": company.catalog})


class Company:
    """Who calls what, and how it is answered while nothing is wrong. Minutes and seconds count from the world's beginning."""

    def __init__(self, random: Random, endpoints: int, days: int, rate: float) -> None:
        rows = [row.split() for line in ENDPOINTS.strip().splitlines() for row in line.split(" | ")]
        old = [[row[0], row[1].replace("/v2/", "/v1/"), row[2], f"{float(row[3]) / 8}", *row[4:]] for row in rows]
        rows = [*rows, *(row for row in old if "/api/" in row[1])][:endpoints]  # many: the first interface too
        self.random, self.minutes, self.rate = random, days * DAY, rate
        self.method, self.path, self.service = ([row[i] for row in rows] for i in range(3))
        self.weight, self.median_ms, self.sigma = (np.array([float(row[i]) for row in rows]) for i in (3, 4, 5))
        self.who, self.weight = [row[6] for row in rows], self.weight * random.lognormal(0, 0.3, len(rows))
        self.catalog = [dict(zip(("id", "method", "path", "upstream"), (i, *row[:2], f"svc-{row[2]}"), strict=True)) for i, row in enumerate(rows)]  # fmt: skip
        self.bursty = {i for i, path in enumerate(self.path) if path.endswith(BATCH) or path.startswith(("/public", "/hooks/bank"))}  # fmt: skip
        self.post = np.array([method == "POST" for method in self.method])
        self.consumers = [f"tenant-{1001 + 7 * i}" for i in range(TENANTS)] + [f"trial-{i:04d}" for i in range(30)]
        self.size = np.concatenate([1 / np.arange(1, TENANTS + 1) ** 1.1, np.full(30, 0.006)])
        others = random.choice(list(REGIONS), len(self.consumers) - 5, p=list(REGIONS.values())).tolist()
        self.region = np.array(["eu", "us-east", "apac", "eu", "us-west", *others])
        self.liking = random.gamma(1.2, 1, (len(self.consumers), len(rows)))
        minute = np.arange(self.minutes)
        eu, sydney = 60 + 60 * (minute >= 6 * DAY + 60), 660 - 60 * (minute >= 12 * DAY + 960)  # the clocks change
        self.local = {"us-east": minute - 240, "us-west": minute - 420, "eu": minute + eu, "apac": minute + sydney}
        self.gaps = [(at, at + random.uniform(360, 2100)) for at in random.uniform(86_400, self.minutes * 60, 3)]
        self.lost = random.uniform(4.5, days - 1) * 86_400  # one node's log shipper is down for a while
        self.events: list[dict[str, Any]] = []
        self.event("the lines of one node are lost", self.lost, 0.25, sorted(set(self.service)))
        self.event("a webinar: many look at the prices and try", 9 * 86_400 + 15 * 3600, 2, ["site"])
        self.event("the quarter is closed: busy and slow", 8 * 86_400 + 7 * 3600, 14, ["reports", "ledger", "banking"])

    def event(self, what: str, start: float, hours: float, services: list[str], one: int = -1) -> None:
        """Remember what is no fault: nothing to hear of when it is about one endpoint, ambiguous when about services."""
        endpoints = [i for i, service in enumerate(self.service) if service in services] if one < 0 else [one]
        span = {"start": int(MONDAY + start), "end": int(MONDAY + start + hours * 3600)}
        self.events.append({"what": what, **span, "endpoints": endpoints, "ambiguous": one < 0})

    def hours(self, region: str, who: str, service: str) -> np.ndarray:
        """How much people of a region do per minute; 1 is a busy morning."""
        day, hour = self.local[region] // DAY, self.local[region] % DAY / 60
        work = np.exp(-(((hour - 10) / 2) ** 2)) + 0.9 * np.exp(-(((hour - 15) / 2.2) ** 2))
        late = {"web": 0.08, "mobile": 0.3}.get(who, 0.2) * np.exp(-(((hour - 20) / 2.2) ** 2))
        weekend = {"web": 0.09, "mobile": 0.3, "hook": 0.4, "public": 0.35}.get(who, 0.15)
        free = {"eu": 0.14, "apac": 0.16}.get(region, 0.85)  # Good Friday is no day off for most of the US
        factor = np.where(day % 7 >= 5, weekend, np.where(day == GOOD_FRIDAY, np.maximum(free, weekend), 1.0))
        busier = np.array([BY_DAY.get(service, {}).get(one, 1.0) for one in range(day.max() + 1)])[day.clip(0)]
        return (work + late * np.where(busier > 1.3, 3, 1)) * factor * busier + 0.02

    def traffic(self) -> Calls:
        """All calls, not answered yet, in order of time."""
        programs = self.programs()
        people = max(self.rate * self.minutes - len(programs), 0.4 * self.rate * self.minutes)
        random, curves = self.random, {}
        growth = 0.006 * np.arange(self.minutes) / DAY
        mood = {region: np.exp(growth + ornstein(random, self.minutes, 300, 0.07)) for region in REGIONS}
        for e, (who, service) in enumerate(zip(self.who, self.service, strict=True)):
            for region, share in REGIONS.items():
                wander = np.exp(ornstein(random, self.minutes, 40, 0.12)) * random.gamma(5, 0.2, self.minutes)
                busy = self.hours(region, who, service) * self.weight[e] * share
                curves[e, region] = busy * mood[region] * wander
        scale = people / sum(curve.sum() for curve in curves.values())
        shaped = {key: arrivals(random, curve * scale * self.shape(key[0])) for key, curve in curves.items()}
        calls = programs.and_those(self.robots(), *(self.people(*key, at) for key, at in shaped.items()))
        order = np.argsort(calls.at, kind="stable")
        return calls.where(order[(calls.at[order] >= 0) & (calls.at[order] < self.minutes * 60)])

    def shape(self, e: int) -> np.ndarray:
        """What an endpoint's traffic does beside the rhythm of the days."""
        minute = np.arange(self.minutes)
        if self.path[e] == LATER:
            return np.clip((minute - 5.4 * DAY) / (4 * DAY), 0, 1)
        if self.path[e].endswith("/sync"):
            return 1 - 0.35 * np.clip((minute - 3 * DAY) / (8 * DAY), 0, 1)  # the new app asks less often
        if self.path[e].startswith("/hooks/bank"):  # statements come three times a day
            return 0.4 + 5 * sum(np.exp(-(((self.local["eu"] % DAY - at) / 15.0) ** 2)) for at in (330, 665, 970))
        webinar = (minute >= 9 * DAY + 900) & (minute < 9 * DAY + 1000) & (self.service[e] == "site")
        return np.where(webinar, 4.0, 1.0)

    def people(self, e: int, region: str, at: np.ndarray) -> Calls:
        """Who of a region is behind these calls, with what."""
        random, n = self.random, len(at)
        share = self.size * self.liking[:, e] * (self.region == region)
        consumer = random.choice(len(share), n, p=share / share.sum())
        agent = random.choice(BROWSERS, n, p=[0.7, 0.2, 0.1])
        if self.who[e] == "mobile":
            agent = APPS[0] + (random.random(n) < (at / 86_400 - 3) / 8)  # a new version spreads
        nobody = self.who[e] in ("anyone", "hook", "public")
        return self.calls(at, e, -1 if nobody else consumer, PROGRAMS[2] if self.who[e] == "hook" else agent)

    def calls(self, at: np.ndarray, e: int, consumer: Any, agent: Any, status: Any = 0) -> Calls:
        """Calls of an endpoint that wait for their answer; -1 is a path that is none of ours."""
        wide = [np.broadcast_to(np.asarray(value), len(at)).astype(np.int32) for value in (e, consumer, agent, status)]
        return Calls(at, *wide, np.zeros(len(at)), self.random.integers(0, NODES, len(at), dtype=np.int32))

    def programs(self) -> Calls:
        """Customers' programs: some poll, some have their hour at night by the local clock, some come when somebody wants them to."""
        random, parts, odds, large = self.random, [], self.size[:TENANTS] ** 0.5, min(1.0, self.rate / 60)
        lists = [e for e, path in enumerate(self.path) if "/api/" in path and self.method[e] == "GET" and path != LATER]
        bulk = [e for e, path in enumerate(self.path) if path.endswith(BATCH)]
        for kind in 9 * ("poll", "poll", "night", "poll", "button"):
            tenant = int(random.choice(TENANTS, p=odds / odds.sum()))
            e, region = int(random.choice(lists if kind == "poll" else bulk)), str(self.region[tenant])
            if kind == "poll":
                period, jitter = float(random.choice([300, 600, 900, 900, 1800, 3600])), random.choice([0.003, 0.1])
                starts, pause = ticks(random, period, jitter, self.minutes * 60), 0.8
                counts = np.full(len(starts), 1 + random.poisson(1.2))
            elif kind == "night":
                minute, days = random.choice([30, 60, 120, 150, 180, 1320, 1380]), random.choice([5, 7, 7])
                starts, pause = np.flatnonzero(self.local[region] % DAY == minute) * 60.0, random.uniform(0.6, 4)
                starts = starts[(starts // 86_400) % 7 < days]
                counts = random.poisson(large * random.uniform(40, 350) * random.lognormal(0, 0.25, len(starts)))
            else:
                busy = self.hours(region, "web", self.service[e]) * random.uniform(0.6, 2) / 700
                starts, pause = arrivals(random, busy), random.uniform(1, 8)
                counts = (large * random.lognormal(4.8, 0.8, len(starts)).clip(0, 1000)).astype(int)
            run = np.repeat(np.arange(len(starts)), counts)
            page = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts)
            at = starts[run] + page * pause * random.uniform(0.8, 1.2, len(run))
            code, share = HABITS[random.integers(len(HABITS))]
            status = np.where(random.random(len(at)) < share, code, 0)
            if kind == "button" and self.post[e]:  # somebody's file is as good as it is
                status = np.where(random.random(len(at)) < random.beta(0.7, 6, len(starts))[run], 422, status)
            parts.append(self.calls(at, e, tenant, int(random.choice(PROGRAMS)), status))
        return parts[0].and_those(*parts[1:])

    def robots(self) -> Calls:
        """Crawlers of the public pages, a probe of our own, scanners."""
        random, probes = self.random, ticks(self.random, 30, 0.002, self.minutes * 60)
        parts = [self.calls(probes, -1, -1, BOTS[3], 200)]
        for e in (e for e, path in enumerate(self.path) if path.startswith("/public") and not self.post[e]):
            for agent, rate in zip(BOTS, (0.25, 0.1, 0.02), strict=False):
                wander = np.exp(ornstein(random, self.minutes, 200, 0.6))
                for begin in random.integers(0, self.minutes, 6 if agent == BOTS[2] else 0):
                    wander[begin : begin + random.integers(60, 300)] = random.uniform(40, 200)
                parts.append(self.calls(arrivals(random, rate * wander), e, -1, agent))
        for begin in random.uniform(0, self.minutes * 60, self.minutes // 2880):
            parts.append(self.calls(begin + np.cumsum(random.exponential(0.5, 60)), -1, -1, BROWSERS[2], 404))
        return parts[0].and_those(*parts[1:])

    def answered(self, calls: Calls) -> Calls:
        """The calls with status, latency and node."""
        random, n = self.random, len(calls)
        e, c, minute = calls.endpoint, calls.consumer, (calls.at // 60).astype(int)
        endpoints, known = len(self.path), c >= 0
        bad = np.where(self.post, random.choice([400, 422], endpoints), 401)
        code = np.where(["{id}" in path for path in self.path], 404, np.where(np.array(self.who) == "anyone", 401, bad))
        share = np.where(["login" in path for path in self.path], 0.08, random.uniform(0.004, 0.025, endpoints))
        habit = np.zeros((len(self.consumers), endpoints))
        habit[random.integers(0, TENANTS, 30), random.integers(0, endpoints, 30)] = random.uniform(0.05, 0.4, 30)
        drawn, luck = calls.status == 0, random.random(n)
        client = drawn & (luck < np.where(known, habit[c, e], 0) + share[e])
        trial = drawn & (c >= TENANTS) & (random.random(n) < 0.06)
        server = drawn & (random.random(n) < random.gamma(1.5, 0.0006, endpoints)[e])
        service = np.array([sorted(set(self.service)).index(one) for one in self.service])[e]
        for begin in random.uniform(0, self.minutes * 60, self.minutes // 720):  # a pod is moved: a few calls at most
            first, last = np.searchsorted(calls.at, (begin, begin + random.uniform(8, 25)))
            moved = service[first:last] == random.integers(service.max() + 1)
            server[first:last] |= drawn[first:last] & moved & (random.random(last - first) < 0.25)
        outcomes = [calls.status, random.choice([500, 502, 503], n, p=[0.7, 0.2, 0.1]), code[e], 403, 201]
        calls.status = np.select([~drawn, server, client, trial, self.post[e]], outcomes, 200).astype(np.int32)
        latency = self.median_ms[e] * np.exp(self.sigma[e] * random.normal(size=n))
        latency *= 1 + (random.random(n) < 0.015) * random.pareto(1.7, n)
        latency *= 1 + 0.4 * np.where(known, self.size[c], 0.3) ** 0.7 * random.uniform(0, 1, endpoints)[e]  # by size
        for number in range(service.max() + 1):
            mine = service == number
            load = np.convolve(np.bincount(minute[mine], minlength=self.minutes), np.ones(10) / 10, mode="same")
            slower = 1 + random.uniform(0.08, 0.3) * (load / np.quantile(load, 0.95)).clip(0, 2) ** 2
            latency[mine] *= (slower * np.exp(ornstein(random, self.minutes, 240, 0.06)))[minute[mine]]
        for i in range(endpoints):
            rows = np.flatnonzero(e == i)
            backup = np.where((minute[rows] % DAY >= 130) & (minute[rows] % DAY < 170) & (self.service[i] in ("docs", "ledger")), 1.35, 1)  # fmt: skip
            latency[rows] *= np.exp(ornstein(random, self.minutes, 90, 0.06))[minute[rows]] * backup
        for begin in np.sort(random.uniform(1, self.minutes - 60, 9)):
            one, factor = int(random.integers(endpoints)), float(random.choice([0.8, 0.9, 1.05, 1.08, 1.1]))
            latency[(e == one) & (minute >= begin)] *= factor
            self.event(f"deployment: latency times {factor}", begin * 60, 1, [], one)
        refused = np.isin(calls.status, (401, 403, 404, 409, 429, 502, 503))
        latency[refused] = np.minimum(latency[refused], random.lognormal(2.2, 0.5, refused.sum()))
        calls.latency_ms = np.clip(latency, 1, 60_000)
        return calls

    def tried_again(self, calls: Calls) -> Calls:
        """Programs and apps try again after a failure, browsers seldom do; while it lasts most of these fail too."""
        random, odds = self.random, np.where(np.isin(calls.agent, BROWSERS), 0.15, 0.5)
        again = calls.where((calls.status >= 500) & (random.random(len(calls)) < odds))
        again.at = again.at + again.latency_ms / 1000 + random.lognormal(0.7, 0.5, len(again))
        near = np.searchsorted(np.sort(again.at), np.stack([again.at - 60, again.at + 60]))
        well = random.random(len(again)) < np.where(near[1] - near[0] > 5, 0.35, 0.9)
        again.status = np.where(well, 200 + self.post[again.endpoint], again.status)
        again.latency_ms = np.minimum(again.latency_ms, np.where(well, 2 * self.median_ms[again.endpoint], np.inf))
        return calls.and_those(again)

    def logged(self, calls: Calls) -> pl.DataFrame:
        """The lines of worlds.LOG_FORMAT in order of time, without the gaps: `at` (seconds since the epoch) and `line`."""
        random, end = self.random, calls.at + calls.latency_ms / 1000  # a line is written when the answer is out
        lost = (calls.node == 1) & (end >= self.lost) & (end < self.lost + 900) | (end >= self.minutes * 60)
        lost |= np.logical_or.reduce([(end >= begin) & (end < until) for begin, until in self.gaps])
        calls = calls.where(~lost)
        n, e, c = len(calls), calls.endpoint, calls.consumer
        names = pl.Series([random.bytes(16).hex() for _ in range(6000)])
        which = (6000 * random.random(n) ** 2).astype(int)

        def of(values: list[str], rows: np.ndarray) -> pl.Series:  # the last one for -1
            return pl.Series(values).gather(rows % len(values))

        route = pl.DataFrame({
            "method": [*self.method, "GET"], "path": [*self.path, "-"], "upstream": [*(one["upstream"] for one in self.catalog), "-"],
            "long": [service in ("docs", "reports", "imports") for service in self.service] + [False],
            "paged": [m == "GET" and p.endswith(("s", "h")) for m, p in zip([*self.method, "-"], [*self.path, "-"], strict=True)],
        })[e % (len(self.method) + 1)]  # fmt: skip
        odd = pl.when(pl.Series(calls.agent == BOTS[3])).then(pl.lit("/healthz")).otherwise(of(["/wp-login.php", "/.env", "/old.php"], which % 3))  # fmt: skip
        address = np.where(c >= 0, c * 13 + which % 3, 600 + which)
        frame = route.with_columns(
            at=pl.Series(MONDAY + calls.at + calls.latency_ms / 1000), user=of([*self.consumers, "-"], c), status=pl.Series(calls.status),
            path=pl.when(pl.Series(e < 0)).then(odd).otherwise("path"),
            id=pl.when("long").then(names.gather(which)).otherwise(pl.Series(10_000 + 37 * which).cast(pl.String)),
            query=pl.when("paged").then(pl.format("?page={}", pl.Series(1 + which % 9))).otherwise(pl.lit("")),
            bytes=pl.Series(np.where(calls.status >= 400, 120 + which % 60, random.lognormal(7, 1, 99)[e] * random.lognormal(0, 0.5, n)).astype(int)),
            agent=of(AGENTS, calls.agent), took=pl.Series(calls.latency_ms / 1000), a=pl.Series(address // 250), b=pl.Series(1 + address % 250), node=pl.Series(calls.node + 1),
        ).sort("at")  # fmt: skip
        path = pl.col("path").str.replace("{id}", pl.col("id"), literal=True)
        moment = pl.from_epoch(pl.col("at").floor().cast(pl.Int64), time_unit="s").dt.strftime("%FT%T+00:00")
        line = pl.format(
            '198.51.{}.{} - {} [{}] "{} {}{} HTTP/1.1" {} {} "-" "{}" {} {} {} gw-{}', "a", "b", "user", moment, "method", path, "query",
            "status", "bytes", "agent", pl.col("at").round(3).cast(pl.Decimal(18, 3)).cast(pl.String), pl.col("took").cast(pl.Decimal(12, 3)).cast(pl.String), "upstream", "node",
        )  # fmt: skip
        return frame.select("at", line=line)


def plant(random: Random, company: Company, calls: Calls) -> tuple[Calls, list[Fault]]:
    """The calls with faults in them, and the faults, graded, in order of time."""
    wishes = [(kind, grade) for kind, size in SIZES.items() for grade in size.wished]
    random.shuffle(wishes)
    wishes = sorted(wishes[random.integers(6, 11) :], key=lambda wish: wish[0] not in BROAD)
    before = [calls.at[calls.endpoint == e] for e in range(len(company.path))]
    kept, added, faults = np.ones(len(calls), dtype=bool), [], []
    for kind, letter in wishes:
        fault = placed(random, company, calls, faults, kind, {"e": "easy", "m": "medium", "h": "hard"}[letter])
        if fault is not None:
            added.append(happens(random, company, fault, calls, kept))
            faults.append(fault)
    calls = calls.where(kept).and_those(*added)
    calls = calls.where(np.argsort(calls.at, kind="stable"))
    for fault in faults:
        grade(fault, faults, calls, before)
    return calls, sorted(faults, key=lambda fault: fault.start)


def placed(random: Random, company: Company, calls: Calls, faults: list[Fault], kind: str, wish: str) -> Fault | None:
    """A fault of a kind where there are calls enough and nothing else is wrong; None when there is no such place."""
    size, every = SIZES[kind], random.permutation([e for e, p in enumerate(company.path) if p != LATER]).tolist()
    calm = [e for e in every if e not in company.bursty and (kind != "silence" or company.service[e] != "identity")]
    fits = dict.fromkeys(("error_burst", "latency_step", "latency_tail"), every)
    fits["validation_regression"] = [e for e in calm if company.method[e] in ("POST", "PUT")]
    for _ in range(400):
        seconds = 60 * np.exp(random.uniform(*np.log(size.minutes)))
        start = random.uniform(4 * 86_400, company.minutes * 60 - 0.8 * seconds)
        one = int(random.choice(fits.get(kind, calm)))
        friends = [e for e in every if company.service[e] == company.service[one] and e != one]
        more = random.choice([0, 0, 0, 0, 0, 0, 1, 2]) if fits.get(kind) is every else 0
        spans = [(start, min(start + seconds, company.minutes * 60))]
        fault = Fault(kind, wish, spans, [one, *friends[:more]], strength=random.uniform(*getattr(size, wish)))
        fault.code = int(random.choice(size.codes)) if size.codes else None
        if kind == "upstream_timeout":
            fault.endpoints, fault.upstream = [one, *friends], f"svc-{company.service[one]}"
        elif kind == "node_outage":
            fault.endpoints, fault.node = every, f"gw-{1 + random.integers(NODES)}"
        elif kind in ("auth_failure", "rate_limit"):
            fault.endpoints, fault.consumer = every, company.consumers[random.integers(TENANTS)]
            common = np.bincount(calls.endpoint[reached(company, fault, calls)], minlength=len(company.path))
            most = np.argsort(-common)[: 2 if kind == "rate_limit" else None]
            fault.endpoints = most[common[most] > 1].tolist()
        each = np.bincount(calls.endpoint[reached(company, fault, calls)], minlength=1)
        found = each.sum() if kind in ("auth_failure", "rate_limit") else each.max()
        if size.calls <= found < (160 if kind == "low_traffic_fail" else np.inf) and free(company, fault, faults):
            if kind == "traffic_spike" and company.who[one] == "web" and random.random() < 0.6:
                fault.consumer = company.consumers[random.integers(TENANTS)]  # whose program runs in a circle
            return fault
    return None


def free(company: Company, fault: Fault, faults: list[Fault]) -> bool:
    """Whether nothing else happens to the endpoints three hours around, no lines are lost, and nothing is told as ambiguous."""
    holes, signal = [*company.gaps, (company.lost, company.lost + 900)], SIGNAL.get(fault.kind)
    torn = any(fault.start < until and begin < fault.end for begin, until in holes)
    events = [event for event in company.events if event["ambiguous"]]
    told = within(events, fault.endpoints, MONDAY + np.arange(fault.start, fault.end, 300)).mean() > 0.3
    near = [one for one in faults if fault.start - 10_800 < one.end and one.start < fault.end + 10_800]
    near = [one for one in near if "latency_drift" not in (fault.kind, one.kind) or signal == SIGNAL.get(one.kind)]
    hidden = (torn and fault.end - fault.start < 6 * 3600) or (told and signal in ("traffic", "latency"))
    return not hidden and not any(set(fault.endpoints) & set(one.endpoints) for one in near)


def reached(company: Company, fault: Fault, calls: Calls) -> np.ndarray:
    """Positions of the calls that a fault may touch."""
    rows = np.arange(*np.searchsorted(calls.at, (fault.start, fault.end)))
    mine = np.isin(calls.endpoint[rows], fault.endpoints)
    if fault.consumer is not None and fault.kind != "traffic_spike":
        mine &= calls.consumer[rows] == company.consumers.index(fault.consumer)
    return rows[mine & ((fault.node is None) | (calls.node[rows] == int((fault.node or "1")[-1]) - 1))]


def happens(random: Random, company: Company, fault: Fault, calls: Calls, kept: np.ndarray) -> Calls:
    """Change the calls that a fault touches, and cross out what it keeps away; returns the calls it brings."""
    rows, kind, strength = reached(company, fault, calls), fault.kind, fault.strength
    more = {"traffic_spike": strength - 1, "rate_limit": random.uniform(0.3, 1.5)}.get(kind, 0.0)
    extra = calls.where(random.choice(rows, int(more * len(rows))))
    extra.at = np.clip(extra.at + random.normal(0, 60, len(extra)), fault.start, fault.end - 0.01)
    hit, changed = rows[random.random(len(rows)) < strength], [np.zeros(0, dtype=int)]
    if kind == "traffic_spike":
        hit, changed = rows[:0], [extra.endpoint]
        if fault.consumer is not None:
            extra.consumer[:], extra.agent[:] = company.consumers.index(fault.consumer), random.choice(PROGRAMS)
    elif SIGNAL.get(kind) == "traffic":
        kept[hit] = False
    elif kind == "latency_tail":
        calls.latency_ms[hit] *= random.uniform(5, 14, len(hit))
    elif SIGNAL.get(kind) == "latency":
        ramp = 0.8 * (fault.end - fault.start) if kind == "latency_drift" else 1.0  # seconds
        calls.latency_ms[rows] *= strength ** ((calls.at[rows] - fault.start) / ramp).clip(0, 1)
        hit = rows
    else:
        calls.latency_ms[rows] *= random.uniform(1.2, 2.0) if kind == "upstream_timeout" else 1.0
        over = random.random(len(extra)) < strength  # of a rate limit
        extra.status[over], extra.latency_ms[over] = fault.code, random.lognormal(1.8, 0.5, over.sum())
        changed = [extra.endpoint[over]]
        quick, usual = random.lognormal(1.8, 0.5, len(hit)), calls.latency_ms[hit] * random.uniform(0.4, 0.9)
        waited = 30_000 + random.exponential(15, len(hit))
        calls.latency_ms[hit] = waited if fault.code == 504 else usual if fault.code in (400, 422, 500, 501) else quick
        calls.status[hit] = fault.code
    touched = np.unique(np.concatenate([calls.endpoint[hit], *changed]), return_counts=True)
    fault.affected = {int(e): int(count) for e, count in zip(*touched, strict=True)}
    return extra


def grade(fault: Fault, faults: list[Fault], calls: Calls, before: list[np.ndarray]) -> None:
    """Set the grade by z, the excess in units of the endpoint's own noise, and size: the share that fails, or the factor.

    Noise is that of the same hours on other days, for what fails or is slow that of all pieces as long. grade 0: not detectable.
    """
    best, pooled, traffic = [(0.0, 0.0, 0.0)], np.full(4, 1e-9), SIGNAL.get(fault.kind) == "traffic"
    share = not traffic and fault.kind not in ("latency_step", "latency_drift")
    begin = fault.end - min(fault.end - fault.start, 21_600) if fault.kind == "latency_drift" else fault.start
    end = min(fault.end, begin + (86_400 if traffic else 21_600))
    shifts = 86_400.0 * np.arange(-13, 14)
    shifts = shifts[(begin + shifts >= 0) & ((shifts == 0) | (end + shifts <= calls.at[-1]))]
    day = (begin + shifts) // 86_400
    sort_of_day = np.where(day == GOOD_FRIDAY, 2, day % 7 >= 5)
    alike = shifts[sort_of_day == sort_of_day[shifts == 0]]
    for e in fault.affected:
        mine = calls.where(calls.endpoint == e)
        at, latency, spells = mine.at, mine.latency_ms, [other for other in faults if e in other.affected]
        calm = ~np.logical_or.reduce([(at > other.start - 3600) & (at < other.end + 3600) for other in spells])
        if share:
            slow = latency > np.quantile(latency[calm], 0.98)
            bad = slow if fault.kind == "latency_tail" else mine.status == fault.code
            piece = (at // np.clip(fault.end - fault.start, 900, 21_600)).astype(int)
            n, k, inside = np.bincount(piece[calm]), np.bincount(piece[calm], bad[calm]), fault.inside(at)
            rate = (k.sum() + 0.5) / (n.sum() + 1)
            uneven = max(1.0, float(np.mean((k - n * rate)[n > 0] ** 2 / (n * rate + 0.1)[n > 0])))
            count, more, noise = bad[inside].sum(), (bad - rate)[inside].sum(), uneven * (inside.sum() * rate + 1)
            pooled += more, noise, count, inside.sum()
            best.append((more / np.sqrt(noise), count / max(inside.sum(), 1), count))
        elif traffic:
            counts = np.searchsorted(before[e], end + alike) - np.searchsorted(before[e], begin + alike) + 0.5
            now, expected = np.diff(np.searchsorted(at, (begin, end)))[0] + 0.5, counts[alike == 0][0]
            noise = max(np.std(np.log(counts)), 1 / np.sqrt(expected), 0.1)
            best.append((abs(np.log(now / expected)) / noise, max(now / expected, expected / now), max(now, expected)))
        else:
            windows = [slice(*np.searchsorted(at, (begin + shift, end + shift))) for shift in shifts[shifts != 0]]
            usual = [np.log(latency[one]).mean() for one in windows if one.stop - one.start >= 10 and calm[one].all()]
            now = np.log(latency[slice(*np.searchsorted(at, (begin, end)))])
            if len(usual) > 2 and len(now):
                change, noise = now.mean() - np.mean(usual), max(np.std(usual), now.std() / np.sqrt(len(now)))
                best.append((change / noise, np.exp(change), len(now)))
    if share and fault.consumer is None:
        best.append((pooled[0] / np.sqrt(pooled[1]), pooled[2] / pooled[3], pooled[2]))
    easy = (12, 25, 0.1 if fault.kind == "latency_tail" else 0.15)
    limits = ((3, 4, 0.01), (6, 10, 0.015), easy) if share else ((3, 10, 1.2), (4, 10, 1.35), (6, 10, 1.8))
    marks = [sum(z >= least and n >= many and size >= large for least, many, large in limits) for z, size, n in best]
    mark, (z, size, _) = max(zip(marks, best, strict=True))
    fault.grade = ("hard", "hard", "medium", "easy")[mark]
    fault.figures = {"z": round(float(z), 1), "size": round(float(size), 3), "grade": int(mark)}
