"""A seventh kind of world, by an author who has not read the detector: a country's public-sector portal behind HAProxy.

    python benchmarks/detection.py portal:1 quiet-portal:1

Citizens (at desks in the evening, on phones all day), companies, tax software that syncs on its own clock, municipalities that poll,
case workers, nightly batches and harvesters of open data call ten backends. The log is `option httplog` through syslog: three load
balancers, whole milliseconds, one captured header, and no name of a caller, only addresses. Traffic is compound (a click repeats, a sync
sends a pack), wanders, and grows for days towards the tax deadline on the last evening of April; the next day is a holiday. Latency
is a mixture (cache warm or cold, a Pareto tail, pauses of one server), rises with the load, and wanders. What failed is tried again.

No fault are: the deadline and the empty holiday, a mail to all citizens, a registry that restarts every night, deployments (a few 503,
cold caches), caches that run out, a canary, servers that come and go with the load, a client release that moves calls from one endpoint to
another within days, a client that asks for what is not there for a week, harvesters held by a rate limit, blips of half a minute,
scanners, a long poll, lines that come late, holes in the log. What somebody on call may have liked to hear of is `ambiguous`: the
deadline's last hours, the mail, maintenance announced on the portal but not in the log, the first hours of the client that misbehaves.

Grades are what was done to the calls (share that failed, factor on latency, traffic left), lowered where few calls show it: easy needs
z >= 15, medium z >= 8. z compares the window with the windows of the same length of the same endpoints in the world without faults: the
share of failed or slow calls or the mean log latency against their mean and spread there; the number of calls against the same time
of day on days of the same kind, and against the windows on both sides. An easy fault has 20 calls that show it, a medium one 10. A fault is detectable from z = 5 on, with 5 failed or 20 otherwise affected calls at one endpoint.
Seeds 1, 2 and 101 are for building, 201 and 202 are held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import planted
import polars as pl
import services
from calls import arrivals, peak, ticks
from planted import COUNTED, SLOW, Fault, Split, Strength
from services import Calls, Sent, sent
from worlds import DAY, World, wander

MONDAY = 1_776_643_200  # 2026-04-20T00:00:00Z: the deadline is on day 10, Thursday 30 April; 1 May is a holiday
LOCAL = 2.0  # hours ahead of UTC
BALANCERS = ["lb-1", "lb-2", "lb-3"]

ROUTES: list[services.Route] = [
    ("eid", "POST", "/eid/v2/sessions", 3.2, 140, 0.38, "citizens", {401: 0.05, 400: 0.006}),
    ("eid", "GET", "/eid/v2/sessions/{id}", 9.0, 9, 0.38, "citizens", {404: 0.01, 410: 0.02}),
    ("portal", "GET", "/portal/overview", 4.0, 95, 0.38, "citizens", {401: 0.03}),
    ("portal", "GET", "/portal/news", 2.5, 6, 0.38, "phones", {304: 0.3}),
    ("portal", "GET", "/portal/waiting-room", 1.8, 24_000, 0.38, "phones", {}),
    ("tax", "GET", "/tax/v1/returns/{id}", 3.0, 120, 0.38, "citizens", {404: 0.015, 403: 0.004}),
    ("tax", "PUT", "/tax/v1/returns/{id}", 1.6, 260, 0.38, "citizens", {422: 0.04, 409: 0.01}),
    ("tax", "POST", "/tax/v1/returns/{id}/submission", 0.5, 620, 0.38, "citizens", {422: 0.06, 409: 0.02}),
    ("tax", "POST", "/tax/v1/estimates", 1.1, 180, 0.38, "citizens", {422: 0.03}),
    ("tax", "GET", "/tax/v1/assessments/{id}", 0.8, 75, 0.38, "phones", {404: 0.05}),
    ("filing", "POST", "/filing/v3/declarations", 2.0, 340, 0.38, "software", {422: 0.05, 400: 0.01, 401: 0.004}),
    ("filing", "GET", "/filing/v3/declarations/{id}", 4.0, 40, 0.38, "software", {404: 0.02, 401: 0.004}),
    ("filing", "POST", "/filing/v3/payrolls", 0.9, 480, 0.38, "software", {422: 0.04}),
    ("filing", "GET", "/filing/v3/codes", 1.2, 4, 0.38, "software", {304: 0.5}),
    ("filing", "POST", "/filing/v3/corrections", 0.05, 410, 0.38, "companies", {422: 0.08}),
    ("registry", "GET", "/registry/v1/persons/{id}", 5.5, 22, 0.38, "municipalities", {404: 0.02}),
    ("registry", "GET", "/registry/v1/changes", 2.4, 35, 0.38, "municipalities", {204: 0.3}),
    ("registry", "GET", "/registry/v1/addresses/{id}", 2.0, 15, 0.38, "municipalities", {404: 0.03}),
    ("registry", "POST", "/registry/v1/moves", 0.12, 300, 0.38, "citizens", {422: 0.06, 409: 0.02}),
    ("registry", "POST", "/registry/v1/extracts", 0.3, 900, 0.38, "office", {403: 0.01}),
    ("mailbox", "GET", "/mailbox/messages", 3.4, 48, 0.38, "phones", {401: 0.02}),
    ("mailbox", "GET", "/mailbox/messages/{id}", 1.7, 60, 0.38, "phones", {404: 0.01, 401: 0.01}),
    ("mailbox", "POST", "/mailbox/deliveries", 0.8, 210, 0.38, "municipalities", {400: 0.01}),
    ("mailbox", "PUT", "/mailbox/messages/{id}/read", 0.9, 30, 0.38, "phones", {409: 0.01}),
    ("permits", "GET", "/permits/cases/{id}", 1.4, 85, 0.38, "office", {404: 0.01, 403: 0.01}),
    ("permits", "POST", "/permits/cases", 0.09, 520, 0.38, "companies", {422: 0.07}),
    ("permits", "PUT", "/permits/cases/{id}/decision", 0.2, 330, 0.38, "office", {409: 0.03}),
    ("permits", "POST", "/permits/cases/{id}/documents", 0.25, 1400, 0.38, "companies", {413: 0.02, 415: 0.01}),
    ("benefits", "GET", "/benefits/claims/{id}", 1.2, 70, 0.38, "citizens", {404: 0.02}),
    ("benefits", "POST", "/benefits/claims", 0.15, 450, 0.38, "citizens", {422: 0.05}),
    ("benefits", "GET", "/benefits/payouts", 0.7, 55, 0.38, "phones", {401: 0.02}),
    ("benefits", "POST", "/benefits/payouts/run", 1.0, 260, 0.38, "batch", {409: 0.01}),
    ("opendata", "GET", "/open/v1/datasets/{id}", 3.0, 28, 0.38, "harvesters", {404: 0.03}),
    ("opendata", "GET", "/open/v1/companies/{id}", 4.5, 18, 0.38, "harvesters", {404: 0.05}),
    ("opendata", "GET", "/open/v1/search", 0.9, 230, 0.38, "companies", {400: 0.02}),
    ("booking", "GET", "/booking/slots", 1.9, 65, 0.38, "citizens", {}),
    ("booking", "POST", "/booking/appointments", 0.22, 190, 0.38, "citizens", {409: 0.08}),
    ("booking", "DELETE", "/booking/appointments/{id}", 0.04, 110, 0.38, "citizens", {404: 0.06}),
    ("portal", "GET", "/health", 2.0, 1, 0.38, "monitor", {}),
    ("permits", "GET", "/permits/statistics", 0.05, 2200, 0.38, "office", {}),
    ("benefits", "DELETE", "/benefits/claims/{id}", 0.02, 140, 0.38, "citizens", {409: 0.05}),
    ("filing", "GET", "/filing/v3/receipts/{id}", 0.6, 33, 0.38, "software", {404: 0.02}),
    ("booking", "GET", "/booking/offices", 0.5, 8, 0.38, "citizens", {304: 0.2}),
]  # fmt: skip
CACHED = {
    "/portal/news",
    "/filing/v3/codes",
    "/open/v1/datasets/{id}",
    "/open/v1/companies/{id}",
    "/booking/offices",
    "/registry/v1/addresses/{id}",
}
WAITING = "/portal/waiting-room"  # answers when something happened, or after 25 seconds
UUIDS = {"eid", "mailbox"}  # whose ids are UUIDs; the others count

STRENGTHS = {
    "easy": Strength(fails=0.55, slower=2.8, in_tail=0.25, left=0.05, more=6.0, low_fails=0.9, new=0.2),
    "medium": Strength(fails=0.18, slower=1.8, in_tail=0.1, left=0.35, more=3.0, low_fails=0.6, new=0.07),
    "hard": Strength(fails=0.06, slower=1.35, in_tail=0.05, left=0.6, more=1.9, low_fails=0.35, new=0.025),
}
SHOWN = {"easy": 20, "medium": 10}  # least calls affected
#: kind, how often, median length in minutes
KINDS = [
    ("node_outage", 1, 14), ("recurring", 1, 25), ("latency_drift", 1, 3000), ("error_burst", 3, 35), ("upstream_timeout", 2, 28), ("latency_step", 2, 110),
    ("latency_tail", 1, 180), ("auth_failure", 1, 110), ("rate_limit", 1, 70), ("traffic_drop", 2, 110), ("traffic_spike", 1, 80), ("silence", 1, 200),
    ("new_code", 1, 280), ("validation_regression", 1, 600), ("low_traffic_fail", 1, 900),
]  # fmt: skip
#: Share of faults that are on all endpoints of a backend.
WIDE = {"upstream_timeout": 1.0, "auth_failure": 1.0, "latency_step": 0.5, "latency_tail": 0.5, "error_burst": 0.35, "silence": 0.3}  # fmt: skip


@dataclass
class Portal(services.Services):
    """What a seed decides before anybody calls."""

    t0 = MONDAY

    def __post_init__(self) -> None:
        self.open("a portal", ROUTES)
        self.deadline = self.days - 4
        self.hour = (self.minute / 60 + LOCAL) % 24
        day = ((self.minute / 60 + LOCAL) // 24).astype(int)
        self.weekend = day % 7 >= 5
        self.holiday = day == self.deadline + 1
        self.messages: list[tuple[float, str]] = []  # the proxy's own lines
        self._happens()

    def _happens(self) -> None:
        random, minute = self.random, self.minute
        midnight = (self.deadline + 1) * DAY - LOCAL * 60
        # The rush grows for six days, most on the last evening, and ends with the deadline.
        left = (midnight - minute) / DAY
        evening = np.exp(-(((minute - (midnight - 200)) / 130) ** 2))
        rush = np.where(left > 0, 1 + 0.9 * np.exp(-np.maximum(left, 0) / 2.2) + 2.6 * evening, 0.45)
        for e in self.of("tax"):
            self.factor[e] *= rush
        for e in self.of("eid", "portal"):
            self.factor[e] *= np.where(left > 0, 1 + 0.4 * (rush - 1), 0.9)
        involved = self.of("tax", "eid", "portal")
        self.named("tax deadline", midnight - 480, midnight + 60, involved, ambiguous=True)
        # A mail to all citizens: once in the warm-up, once later.
        for on in (2, min(8, self.days - 3)):
            at = on * DAY + random.uniform(7, 11) * 60
            since = minute - at
            wave = np.where(since >= 0, np.minimum(since / 6, 1) * np.exp(-np.maximum(since, 0) / 70), 0)
            for e in self.of("mailbox"):
                if self.kind[e] == "phones":
                    self.factor[e] *= 1 + 3.0 * wave
            self.factor[self.of("eid")] *= 1 + 0.8 * wave
            self.named("mail to all citizens", at, at + 180, self.of("mailbox", "eid"), ambiguous=True)
        # Maintenance, announced on the portal: one Sunday night, for two hours.
        at = 6 * DAY + random.integers(0, 40)
        self.failing[np.ix_(self.of("benefits"), (minute >= at) & (minute < at + 120))] = 1.0
        self.named("announced maintenance", at, at + 125, self.of("benefits"), ambiguous=True)
        # The registry restarts every night.
        for day in range(self.days):
            at = int(day * DAY + 70 + random.normal(0, 3))
            self.failing[np.ix_(self.of("registry"), (minute >= at) & (minute < at + 4))] = 0.6
        # Deployments: a few 503, then cold caches.
        for _ in range(self.days):
            backend = random.choice(self.services)
            at = int(random.uniform(0.2, self.days - 0.2) * DAY)
            mine = self.of(backend)
            self.failing[mine, at : at + 2] = 0.08
            self.cold(at, mine, 0.5, 8)
            self.named("deployment", at, at + 30, mine)
            self.messages += [(at * 60 + 5.0 * i, f"Server {backend}/{backend}-{i + 1} is DOWN, reason: Layer4 connection problem, check duration: 0ms.") for i in range(2)]  # fmt: skip
        # A deployment that makes something faster for good.
        quick = int(random.choice(self.of("tax", "permits", "benefits")))
        at = int(random.uniform(5, self.days - 3) * DAY)
        self.slower[quick, at:] *= 0.7
        self.named("faster for good", at, at + 30, np.array([quick]))
        # Caches run out now and then.
        for e in range(self.endpoints):
            if self.path[e] in CACHED:
                for at in random.integers(0, self.minutes - 30, self.days // 2):
                    self.slower[e, at : at + 12] *= 2.2
        # Blips of half a minute: drawn per minute, half of the calls of it.
        for at in random.integers(0, self.minutes, self.days):
            self.failing[random.choice(self.endpoints, 3, replace=False), at] = 0.25
        # A client release moves calls from one endpoint to another within days.
        begin = random.uniform(4, 6) * DAY
        moved = 1 / (1 + np.exp(-(minute - begin - 1.5 * DAY) / (0.4 * DAY)))
        old, new = self.path.index("/mailbox/messages/{id}"), self.path.index("/mailbox/messages/{id}/read")
        self.factor[old] *= 1 - 0.5 * moved
        self.factor[new] *= 1 + 1.2 * moved
        self.named("client release, gradually", begin, begin + 3 * DAY, np.array([old, new]))
        # A canary: one in ten calls of a backend meets a server that is a little slower, for a day.
        self.canary = (random.choice(["tax", "eid", "mailbox"]), random.uniform(4, self.days - 2) * 86_400)
        self.named("canary", self.canary[1] / 60, self.canary[1] / 60 + DAY, self.of(self.canary[0]))
        # A client asks for what is not there, for a week.
        self.lost = (int(random.choice(self.of("filing", "opendata"))), random.uniform(4.5, 5.5) * 86_400)
        self.named("client that misbehaves", self.lost[1] / 60, self.lost[1] / 60 + 360, np.array([self.lost[0]]), ambiguous=True)  # fmt: skip
        # Holes in the log: of one balancer, and of all.
        self.holes = [(random.uniform(4, self.days) * 86_400, 60 * random.uniform(8, 20), int(random.integers(3))) for _ in range(2)]  # fmt: skip
        self.holes.append((random.uniform(4, self.days) * 86_400, 200.0, -1))

    def profile(self, kind: str) -> np.ndarray:
        """Traffic per minute, in its mean of a weekday."""
        hour, weekend, holiday = self.hour, self.weekend, self.holiday
        if kind == "citizens":
            shape = 0.05 + 0.6 * peak(hour, 10, 2) + 0.5 * peak(hour, 14, 2.5) + 1.0 * peak(hour, 20, 1.7)
            calm = np.where(holiday, 0.5, np.where(weekend, 0.75, 1))
        elif kind == "phones":
            shape = 0.12 + 0.5 * peak(hour, 7.5, 1) + 0.6 * peak(hour, 12.5, 3) + 0.8 * peak(hour, 20.5, 2)
            calm = np.where(holiday, 0.7, np.where(weekend, 0.9, 1))
        elif kind == "companies":
            shape = 0.03 + peak(hour, 10, 1.8) + 0.8 * peak(hour, 14.5, 2) + 0.15 * peak(hour, 21, 1.5)
            calm = np.where(holiday, 0.06, np.where(weekend, 0.12, 1))
        else:  # office
            shape = 0.004 + peak(hour, 9.5, 1.3) + 0.9 * peak(hour, 14, 1.3)
            calm = np.where(holiday, 0.01, np.where(weekend, 0.015, 1))
        return shape / shape.mean() * calm

    def traffic(self) -> Calls:
        """Who calls what and when, without answers."""
        random, end = self.random, self.minutes * 60.0
        kinds = ["citizens", "phones", "companies", "office"]
        noise = wander(random, len(kinds), self.minutes, np.full(len(kinds), 0.1), 180)
        own = wander(random, self.endpoints, self.minutes, random.uniform(0.04, 0.12, self.endpoints), 90)
        parts: list[tuple[int, Sent]] = []
        for e in range(self.endpoints):
            kind, rate = self.kind[e], self.rate[e]
            if kind in kinds:
                size = 1.7  # calls per click
                wanted = rate / size * self.profile(kind) * noise[kinds.index(kind)] * own[e] * self.factor[e]
                at = arrivals(random, wanted)
                client = random.integers(0, {"citizens": 150_000, "phones": 90_000, "companies": 6_000, "office": 40}[kind], len(at)) + 1_000 * kinds.index(kind)  # fmt: skip
                times = random.geometric(1 / size, len(at))
                at, client = np.repeat(at, times), np.repeat(client, times)
                first = np.repeat(np.cumsum(times) - times, times)
                later = np.arange(len(at)) - first
                at = at + later * random.exponential(9, len(at))
            elif kind in ("software", "municipalities"):
                agents = 30 if kind == "software" else 12
                at, client = self._synced(rate, kind, agents)
                keep = random.random(len(at)) < np.minimum(own[e], 1.3)[np.clip(at // 60, 0, self.minutes - 1).astype(int)] / 1.3  # fmt: skip
                at, client = at[keep], client[keep]
            elif kind == "batch":
                at = self._nightly(rate)
                client = np.full(len(at), 300_001)
            elif kind == "harvesters":
                at, client = self._harvested(rate)
            else:
                at = services.probed(random, max(rate, 0.1), end)
                client = np.full(len(at), 300_002)
            parts.append((e, sent(at, 0, client)))
        # The client that misbehaves: a call every half minute.
        at = self.lost[1] + ticks(random, 30, 0.2, min(7 * 86_400, end - self.lost[1]))
        parts.append((self.lost[0], sent(at, 0, 300_003)))
        at, endpoint, _, client = self.in_order(parts)
        balancer = random.choice(3, len(at), p=[0.36, 0.33, 0.31])
        sticky = random.random(len(at)) < 0.5  # connections that are kept open
        balancer = np.where(sticky, client % 3, balancer)
        return Calls(at, endpoint, client, balancer, *(np.zeros(len(at)) for _ in range(3)))

    def _synced(self, rate: float, kind: str, agents: int) -> tuple[np.ndarray, np.ndarray]:
        """Agents with a period each; what they send at a tick is a pack."""
        random, end = self.random, self.minutes * 60.0
        periods = random.choice([300, 900, 1800, 3600] if kind == "software" else [60, 120, 300, 600], agents)
        if rate < 0.4:
            periods = np.maximum(periods, 900)[: max(3, agents // 4)]
        size = max(1.0, rate * 1.3 / (60 / periods).sum())
        thin = min(1.0, rate * 1.3 / (60 / periods).sum())
        ats, clients = [], []
        for agent, period in enumerate(periods):
            tick = ticks(random, float(period), 0.03, end)
            local = np.clip(tick // 60, 0, self.minutes - 1).astype(int)
            if kind == "software":
                hours = np.where(
                    self.weekend | self.holiday, 0.3, np.where((self.hour > 6) & (self.hour < 19), 1.0, 0.35)
                )
                tick = tick[random.random(len(tick)) < hours[local] * thin]
            else:
                tick = tick[random.random(len(tick)) < thin]
            times = random.geometric(min(1, 1 / size), len(tick))
            ats.append(np.repeat(tick, times) + random.exponential(4, times.sum()))
            clients.append(np.full(times.sum(), 310_000 + agent + (1_000 if kind == "software" else 0)))
        return np.concatenate(ats), np.concatenate(clients)

    def _nightly(self, rate: float) -> np.ndarray:
        """A batch that starts near one o'clock at night, and takes longer at the month's end."""
        random, found = self.random, []
        for day in range(self.days):
            start = day * DAY - 60 + random.normal(0, 8) + (DAY if day == 0 else 0)
            length = random.uniform(90, 120) * (1.6 if day == self.deadline + 1 else 1)
            found.append(self.session(start, length, rate * DAY / 105))
        return np.concatenate(found)

    def _harvested(self, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """Harvesters in sessions of hours, at any time, beside a steady trickle."""
        random = self.random
        wanted = np.full((1, self.minutes), 0.35 * rate)
        ats, clients = [arrivals(random, wanted[0])], []
        clients.append(random.integers(320_000, 320_400, len(ats[0])))
        spent, goal = 0.0, 0.65 * rate * self.minutes
        while spent < goal:
            length, speed = random.lognormal(np.log(100), 0.7), rate * random.lognormal(-0.3, 0.5)
            start = random.uniform(0, self.minutes)
            one = self.session(start, length, speed)
            ats.append(one)
            clients.append(np.full(len(one), 321_000 + random.integers(0, 25)))
            spent += length * speed
        return np.concatenate(ats), np.concatenate(clients)

    def answered(self, calls: Calls) -> Calls:
        """The calls with server, status and ms, and what people and programs tried again."""
        random = self.random
        minute = (calls.at // 60).astype(int)
        e, backend = calls.endpoint, self.of_service[calls.endpoint]
        # Load of a backend: calls of five minutes against its usual peak; servers follow it ten minutes later.
        load = self.load(calls, 5)
        load /= np.maximum(np.quantile(load[:, : services.WARM_UP * DAY], 0.98, axis=1, keepdims=True), 0.2)
        servers = np.clip(np.ceil(1.5 + 2.5 * np.roll(load, 10, axis=1)), 2, 6)
        calls.instance = (random.random(len(e)) * servers[backend, minute]).astype(int) + 1
        canary = (backend == self.services.index(self.canary[0]) if self.canary[0] in self.services else False) & (
            (calls.at >= self.canary[1]) & (calls.at < self.canary[1] + 86_400) & (random.random(len(e)) < 0.1)
        )
        calls.instance[canary] = 9
        status = self.usually(calls, [usual | {500: 0.0006, 503: 0.0003} for usual in self.answers], 600, 1)
        status[random.random(len(e)) < self.failing[e, minute]] = 503
        status[(calls.client == 300_003) & (random.random(len(e)) < 0.95)] = 404
        # Harvesters in a session are held to a limit.
        held = (calls.client >= 321_000) & (calls.client < 321_025)
        status[held & (random.random(len(e)) < np.where(calls.client % 5 == 0, 0.25, 0.01))] = 429
        ms = self.median[e] * np.exp(random.normal(0, 1, len(e)) * self.width[e])
        drift = wander(random, len(self.services), self.minutes, np.full(len(self.services), 0.07), 240)
        ms *= drift[backend, minute] * self.slower[e, minute] * (1 + 0.3 * np.minimum(load[backend, minute], 1.6) ** 2)
        services.with_tail(random, ms, 1.7)
        cached = np.array([path in CACHED for path in self.path])[e]
        ms[cached & (random.random(len(e)) < 0.12)] *= 6
        ms[canary] *= 1.15
        # A server pauses: everything that meets it within a second or so waits for its end.
        for at in random.uniform(0, self.minutes * 60, self.days * 60):
            first, last = np.searchsorted(calls.at, [at, at + (pause := random.exponential(0.5) + 0.1)])
            hit = slice(first, last)
            ms[hit] += np.where(calls.instance[hit] == 1, (at + pause - calls.at[hit]) * 1000, 0)
        long = np.array([path == WAITING for path in self.path])[e]
        ms[long] = np.where(random.random(long.sum()) < 0.7, 25_000 + random.exponential(4, long.sum()), random.uniform(200, 25_000, long.sum()))  # fmt: skip
        ms = services.refused_sooner(random, status, ms, [400, 401, 403, 404, 409, 410, 422])
        calls.status, calls.ms = status, np.minimum(ms, 30_000)
        return calls.and_those(_again(random, calls, np.flatnonzero(status >= 500), lambda more: np.full(len(more), 200)))  # fmt: skip

    def logged(self, calls: Calls) -> list[pl.DataFrame]:
        """The log: `at` and `order` (when syslog wrote it; seconds since the epoch) and `line`."""
        random = self.random
        calls = self.without_holes(calls, calls.gate)
        n = len(calls)
        late = np.where(random.random(n) < 0.003, random.exponential(90, n), 0)
        numbers = random.integers(10_000_000, 99_999_999, (n, 2))
        names = pl.Series(self.service)
        frame = pl.DataFrame({
            "at": MONDAY + calls.at, "ended": MONDAY + calls.at + calls.ms / 1000, "late": late, "endpoint": calls.endpoint, "client": calls.client.astype(int),
            "balancer": calls.gate, "server": calls.instance.astype(int), "status": calls.status.astype(int), "ms": np.rint(calls.ms).astype(int),
            "one": numbers[:, 0], "two": numbers[:, 1], "port": random.integers(1024, 65_535, n), "bytes": random.lognormal(7, 1, n).astype(int),
            "busy": random.poisson(20, n),
        }).with_columns(
            backend=names.gather(calls.endpoint), method=pl.Series(self.method).gather(calls.endpoint), path=pl.Series(self.path).gather(calls.endpoint),
            lb=pl.Series(BALANCERS).gather(calls.gate),
        )  # fmt: skip
        client = pl.col("client")
        uuid = pl.format("{}-{}-4{}-a{}-{}{}", pl.col("one"), (pl.col("two") % 9000) + 1000, (pl.col("one") % 900) + 100, (pl.col("two") % 899) + 100, pl.col("two"), (pl.col("one") % 9000) + 1000)  # fmt: skip
        identity = pl.when(pl.col("backend").is_in(UUIDS)).then(uuid).otherwise(pl.format("{}", pl.col("one")))
        unserved = pl.col("status").is_in([429, 503])
        frame = frame.with_columns(
            address=pl.when(client < 300_000).then(pl.format("100.{}.{}.{}", 64 + client // 65_536, client // 256 % 256, client % 256))
            .otherwise(pl.format("198.{}.{}.{}", 18 + client // 65_536 % 2, client // 256 % 256, client % 256)),
            asked=pl.col("path").str.replace("{id}", identity, literal=True)
            + pl.when(pl.col("path").is_in(["/registry/v1/changes", "/open/v1/search"])).then(pl.format("?page={}", pl.col("one") % 40)).otherwise(pl.lit("")),
            agent=pl.when(client >= 320_000).then(pl.lit("harvest/2.1")).when(client >= 310_000).then(pl.format("sync-agent/{}", client % 7))
            .when(client == 300_002).then(pl.lit("probe")).otherwise(pl.lit("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0")),
            begun=pl.from_epoch((pl.col("at") * 1000).cast(pl.Int64), time_unit="ms"),
            stamp=pl.from_epoch((pl.col("ended") + pl.col("late")).cast(pl.Int64), time_unit="s"),
            where=pl.when(unserved).then(pl.format("{}/<NOSRV>", "backend")).otherwise(pl.format("{}/{}-{}", "backend", "backend", "server")),
            flags=pl.col("status").replace_strict({504: "sH--", 503: "SC--", 502: "SH--", 429: "PR--"}, default="----"),
            waits=pl.when(unserved).then(pl.format("0/-1/-1/-1/{}", "ms")).otherwise(pl.format("0/0/{}/{}/{}", (pl.col("ms") > 1).cast(pl.Int8), (pl.col("ms") - 1).clip(0), "ms")),
        ).select(
            "at", order=pl.col("ended") + pl.col("late"),
            line=pl.format(
                '{} {} haproxy[2211]: {}:{} [{}] portal~ {} {} {} {} - - {} {}/{}/2/1/0 0/0 {} "{} {} HTTP/1.1"',
                pl.col("stamp").dt.strftime("%b %e %H:%M:%S"), "lb", "address", "port", pl.col("begun").dt.strftime("%d/%b/%Y:%H:%M:%S%.3f"),
                "where", "waits", "status", "bytes", "flags", "busy", "busy", pl.concat_str(pl.lit("{"), "agent", pl.lit("}")), "method", "asked",
            ),
        )  # fmt: skip
        return [frame, self._scanned(), self._told()]

    def _scanned(self) -> pl.DataFrame:
        """Scanners ask for what no portal has, some without speaking HTTP."""
        random = self.random
        guesses = [
            "/wp-login.php",
            "/.env",
            "/admin/",
            "/actuator/health",
            "/cgi-bin/luci",
            "/phpinfo.php",
            "/.git/config",
            "/owa/",
        ]
        rows = []
        for at in random.uniform(0, self.minutes * 60, self.days * 2):
            sent = MONDAY + at + np.cumsum(random.exponential(random.uniform(0.2, 5), random.integers(20, 300)))
            client = f"203.0.113.{random.integers(1, 250)}"
            for moment in sent:
                begun = pl.Series([int(moment * 1000)])
                rows.append((moment, client, begun[0], guesses[random.integers(len(guesses))], random.random() < 0.03))
        frame = pl.DataFrame(rows, schema=["at", "client", "ms", "path", "bad"], orient="row")
        time = pl.from_epoch("ms", time_unit="ms")
        return frame.select(
            "at", order="at",
            line=pl.format(
                '{} lb-1 haproxy[2211]: {}:40000 [{}] portal~ {}{}"',
                time.dt.strftime("%b %e %H:%M:%S"), "client", time.dt.strftime("%d/%b/%Y:%H:%M:%S%.3f"),
                pl.when("bad").then(pl.lit("portal/<NOSRV> -1/-1/-1/-1/0 400 187 - - PR-- 2/2/0/0/0 0/0 {} \"")).otherwise(pl.lit("portal/portal-1 0/0/0/1/1 404 310 - - ---- 9/9/2/1/0 0/0 {Mozilla/5.0} \"")),
                pl.when("bad").then(pl.lit("<BADREQ>")).otherwise(pl.format("GET {} HTTP/1.1", "path")),
            ),
        )  # fmt: skip

    def _told(self) -> pl.DataFrame:
        """The proxy's own messages."""
        frame = pl.DataFrame(
            {"at": [MONDAY + at for at, _ in self.messages], "text": [text for _, text in self.messages]}
        )
        stamp = pl.from_epoch(pl.col("at").cast(pl.Int64), time_unit="s").dt.strftime("%b %e %H:%M:%S")
        return frame.select(pl.col("at").cast(pl.Float64), order=pl.col("at").cast(pl.Float64), line=pl.format("{} lb-1 haproxy[2211]: {}", stamp, "text"))  # fmt: skip


def plant(random: np.random.Generator, world: Portal, quiet: Calls) -> tuple[Calls, list[Fault]]:
    """The calls with faults, and the faults with their figures, measured beside the calls without."""
    before = planted.split(quiet, world.endpoints)
    in_time = Split(quiet, [rows[np.argsort(quiet.at[rows])] for rows in before.rows])
    drawn, done = partial(_drawn, random, world, in_time), partial(_done, random)
    calls, faults = planted.plant(random, KINDS, quiet, drawn, done)
    now = planted.split(calls, world.endpoints)
    for fault in faults:
        _measured(fault, world, now, before)
    return calls, faults


def _usable(world: Portal, kind: str, per_minute: np.ndarray) -> list[int]:
    """Endpoints at which a fault of a kind can be."""
    usable = [e for e in range(world.endpoints) if world.kind[e] != "monitor" and world.path[e] != WAITING]
    if kind == "low_traffic_fail":
        usable = [e for e in usable if per_minute[e] < 0.15]
    elif kind == "silence":
        usable = [e for e in usable if world.kind[e] in ("software", "municipalities", "citizens", "phones")]
    elif kind in ("rate_limit", "auth_failure"):
        usable = [e for e in usable if world.service[e] in ("filing", "registry", "mailbox", "tax")]
    elif kind == "validation_regression":
        usable = [e for e in usable if world.method[e] in ("POST", "PUT") and per_minute[e] > 0.1]
    elif kind in COUNTED or kind in SLOW or kind == "recurring":
        usable = [e for e in usable if per_minute[e] > 0.15 and world.kind[e] not in ("batch", "harvesters")]
    return usable


def _drawn(
    random: np.random.Generator, world: Portal, quiet: Split, others: list[Fault], kind: str, grade: str, length: int
) -> Fault | None:
    """A fault of a kind at a time when its endpoint is called; None where it falls on another, on maintenance, or on too few calls."""
    usable = _usable(world, kind, np.array([len(rows) for rows in quiet.rows]) / world.minutes)
    fault = Fault(kind, grade, [], [], strength=STRENGTHS[grade])
    met = planted.place(random, fault, length, world, quiet, usable, (6, 24), WIDE)
    if met is None:
        return None
    if kind == "node_outage":
        fault.endpoints = list(range(world.endpoints))
    maintenance = [event for event in world.ambiguous if event["what"] == "announced maintenance"]
    if not planted.apart(fault, others, maintenance, MONDAY):
        return None
    seen = planted.met_by(fault, quiet)
    if seen < 40 if kind in (*COUNTED, *SLOW) else seen * fault.share / (3 if kind == "node_outage" else 1) < 8:
        return None
    first = int(quiet.calls.endpoint[met])
    fault.code = planted.answer(random, kind, world.answers[first], (405, 406, 415, 426, 501, 507))
    if kind == "node_outage":
        fault.gate = int(random.integers(3))
    several = len(fault.endpoints) > 1 and kind in ("error_burst", "auth_failure", "latency_step", "latency_tail")
    if kind == "upstream_timeout" or several:
        fault.upstream = world.service[first]
    return fault


def _done(random: np.random.Generator, calls: Calls, fault: Fault) -> Calls:
    """The calls with a fault in them."""
    calls, inside, draw = planted.met(random, calls, fault)
    if fault.kind in COUNTED:
        return planted.other_traffic(random, calls, fault, inside, draw)
    if fault.kind in SLOW:
        planted.slow_down(random, calls, fault, inside, draw)
        return calls
    share, code = fault.share, fault.code or 0
    if code == 429:  # one address sends more than it may; what is refused comes on top
        count = int(inside.sum() * share / (1 - share))
        more = calls.where(random.choice(np.flatnonzero(inside), count))
        more.at, more.client = np.sort(random.uniform(fault.start, fault.end, count)), np.full(count, 330_001)
        more.status, more.ms = np.full(count, 429), random.exponential(1, count)
        return calls.and_those(more)
    if fault.kind == "auth_failure":  # some clients' certificates ran out: all of their calls fail
        draw = (calls.client * 2_654_435_761 % 9_973) / 9_973
    hit = np.flatnonzero(inside & (draw < share))
    planted.fail(random, calls, hit, code)

    def answers(more: Calls) -> np.ndarray:
        return np.where(fault.inside(more.at) & (random.random(len(more)) < share), code, 200)

    if code >= 500:
        calls = calls.and_those(_again(random, calls, hit, answers))
    return calls


def _again(random: np.random.Generator, calls: Calls, failed: np.ndarray, answers) -> Calls:
    """What is tried again after a failure: one in two, some seconds later."""
    more = calls.where(failed[random.random(len(failed)) < 0.5])
    more.at = more.at + more.ms / 1000 + random.exponential(8, len(more)) + 0.5
    more.gate = random.integers(0, 3, len(more))
    more.status = answers(more)
    more.ms = np.where(more.status == 504, 30_000, np.where(more.ms >= 30_000, 200, more.ms + 20))
    return more


def _measured(fault: Fault, world: Portal, now: Split, before: Split) -> None:
    """Sets z, affected, endpoints and grade."""
    z, per_endpoint = 0.0, {}
    for chosen in [fault.endpoints, *([e] for e in fault.endpoints if len(fault.endpoints) > 1)]:
        calls, quiet = (every.of(chosen) for every in (now, before))
        calls, quiet = (every.where(fault.hits(every)) for every in (calls, quiet))
        here, usual = (every.where(fault.inside(every.at)) for every in (calls, quiet))
        seen = planted.figures(
            fault, quiet, here, usual, planted.drifted(fault),
            partial(planted.z_of_mean, fault), partial(_traffic_z, fault, world),
        )  # fmt: skip
        if len(chosen) == 1:
            per_endpoint[chosen[0]] = seen.affected
        z = max(z, seen.z)
    fault.endpoints = [e for e, count in per_endpoint.items() if count >= 2]
    fault.affected = sum(per_endpoint.values())
    enough = max(per_endpoint.values(), default=0) >= (5 if fault.code is not None else 20)
    fault.z = z if enough else 0.0
    planted.lower(fault, fault.affected, SHOWN)


def _traffic_z(fault: Fault, world: Portal, at: np.ndarray, here: int) -> float:
    """How far the number of calls lies from that at this time on days of the same kind, or between the windows on both sides.

    In standard deviations; the larger of the two.
    """
    at = np.sort(at)
    kind = _day_kind(world, fault.start)
    shifts = [d for d in range(-world.days, world.days) if d and fault.start + d * 86_400 >= 0 and fault.end + d * 86_400 <= world.minutes * 60]  # fmt: skip
    same = [d for d in shifts if _day_kind(world, fault.start + d * 86_400) == kind]
    shifts = same if len(same) >= 3 else shifts
    counts = np.array([np.searchsorted(at, fault.end + d * 86_400) - np.searchsorted(at, fault.start + d * 86_400) for d in shifts])  # fmt: skip
    if not len(counts):
        return 0.0
    mean = counts.mean()
    daily = abs(here - mean) / np.sqrt(max(mean, 1) + counts.var())
    # What lies beyond the emptiest (fullest) of those windows is plain, however far they lie apart.
    low, high = counts.min(), counts.max()
    daily = max(daily, (low - here) / np.sqrt(low + 1), (here - high) / np.sqrt(high + 1))
    length = fault.end - fault.start
    edges = np.arange(fault.start % length, world.minutes * 60, length)
    found = np.diff(np.searchsorted(at, edges))
    beside = (found[:-2] + found[2:]) / 2
    off = (found[1:-1] - beside) / np.sqrt(beside + 1)
    now = int(np.searchsorted(edges, fault.start + 1)) - 2
    if not 0 <= now < len(beside):
        return float(daily)
    return float(max(daily, abs(here - beside[now]) / np.sqrt(beside[now] + 1) / max(1.0, off.std())))


def _day_kind(world: Portal, at: float) -> int:
    day = int((at / 3600 + LOCAL) // 24)
    return 2 if day == world.deadline + 1 else int(day % 7 >= 5)


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `portal`, or `quiet-portal` for the same one without faults. 36 to 43 endpoints, at least 9 days."""
    world = Portal(np.random.default_rng([seed, 2604]), endpoints, days, calls_per_minute)
    calls = world.answered(world.traffic())
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, faults = plant(np.random.default_rng([seed, 2604, 7]), world, calls)
    labels = planted.labels(faults, world, BALANCERS, lambda fault: {"figures": {"z": round(fault.z, 2)}})
    return world.world(world.logged(calls), labels)
