"""A hospital group's APIs with planted faults: FHIR for the wards, a patients' portal, claims of insurers, a public API, devices.

The log is Gravitee's, as its Elasticsearch reporter writes it (application = consumer, gateway = node, endpoint = upstream).
Austria in autumn: summer time ends on day 5, day 6 and 12 are public holidays, month-end is day 10 and 11. Staff work in shifts,
insurers send claims in batches, partners reconcile at night, phones poll, webhooks are tried again with growing pauses,
the first calls of a morning are slow, latency has a Pareto tail and grows with load. Deployments, a canary, blue and green nodes,
an added node in office hours, a launch, a move to v2, quotas and client releases are no faults; what somebody on call
may have liked to hear of is `ambiguous`. Written before looking at the detector; seeds 1 and up are for building, 201 and up held out.

A fault is detectable when nothing like it happens in the two weeks without it: over its best window (the fault's length, at most
six hours; twelve for what grows over days) its z stands above that of every window of that length in the same world without faults,
outside ambiguous events, in the same calls (its endpoints, and its consumer or node if it has one). z is that of
failing calls (binomial, against the share in the log without faults), of mean log latency against the median of endpoint and
hour of day, of calls above the endpoint's 98th percentile (tails), of counts against the rhythm (traffic). At least 5 calls fail, or 20 are hit otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import worlds
from calls import label, ornstein
from worlds import DAY, SIGNAL, World

TUESDAY = 1_792_454_400  # 2026-10-20T00:00:00Z
HOLIDAYS = (6, 12)
SUMMER_ENDS = 5 * DAY + 60  # 2026-10-25T01:00:00Z

# service, method, path, weight, median ms, what calls are answered beside 200 although nothing is wrong
ROUTES: list[tuple[str, str, str, float, float, dict[int, float]]] = [
    ("ehr", "GET", "/fhir/Patient/{id}", 9, 35, {404: 0.02}),
    ("ehr", "GET", "/fhir/Observation", 7, 120, {}),
    ("ehr", "POST", "/fhir/Observation", 4, 60, {422: 0.01}),
    ("ehr", "GET", "/fhir/Encounter/{id}", 4, 45, {}),
    ("ehr", "PUT", "/fhir/Encounter/{id}", 1.2, 90, {409: 0.03, 412: 0.01}),
    ("ehr", "GET", "/fhir/MedicationRequest", 3, 80, {}),
    ("ehr", "POST", "/fhir/MedicationRequest", 0.8, 150, {422: 0.02}),
    ("lab", "GET", "/fhir/DiagnosticReport/{id}", 2, 200, {404: 0.15}),
    ("lab", "GET", "/lab/results/{id}", 3, 90, {404: 0.4}),  # asked for until it is there
    ("lab", "POST", "/lab/orders", 0.5, 220, {400: 0.01}),
    ("lab", "GET", "/imaging/studies/{id}", 0.8, 900, {}),
    ("portal", "POST", "/portal/v1/login", 1.5, 250, {401: 0.09}),
    ("portal", "GET", "/portal/v1/appointments", 2.5, 110, {}),
    ("portal", "POST", "/portal/v1/appointments", 0.6, 300, {409: 0.12}),
    ("portal", "GET", "/portal/v1/slots", 3, 160, {}),
    ("portal", "GET", "/portal/v1/messages", 6, 30, {304: 0.75}),
    ("portal", "POST", "/portal/v1/messages", 0.15, 140, {400: 0.02}),
    ("portal", "GET", "/portal/v1/documents/{id}", 1.4, 400, {404: 0.03}),
    ("portal", "GET", "/portal/v2/documents/{id}", 0, 330, {404: 0.03}),  # v1 moves to it
    ("claims", "POST", "/claims/v1/claims", 3, 350, {400: 0.03, 409: 0.04}),
    ("claims", "GET", "/claims/v1/claims/{id}/status", 5, 70, {404: 0.05}),
    ("claims", "POST", "/claims/v1/eligibility", 2.5, 500, {422: 0.01}),
    ("claims", "POST", "/claims/v1/attachments", 0.5, 1200, {413: 0.01}),
    ("claims", "GET", "/claims/v1/remittances", 0.3, 800, {}),
    ("claims", "POST", "/claims/v1/preauthorizations", 0.4, 600, {400: 0.05}),
    ("public", "GET", "/api/v3/providers", 3, 60, {}),
    ("public", "GET", "/api/v3/providers/{id}", 2.5, 40, {404: 0.08}),
    ("public", "GET", "/api/v3/drugs", 2, 90, {}),
    ("public", "GET", "/api/v3/interactions", 1, 130, {400: 0.03}),
    ("public", "POST", "/api/v3/bundles", 0.3, 700, {400: 0.12}),
    ("public", "POST", "/api/v3/tokens", 0.7, 120, {401: 0.15}),
    ("devices", "POST", "/devices/telemetry", 8, 20, {}),
    ("devices", "GET", "/devices/config", 1.2, 25, {304: 0.8}),
    ("devices", "POST", "/devices/alarms", 0.3, 40, {}),
    ("hooks", "POST", "/hooks/deliveries", 0.9, 150, {502: 0.03}),
    ("office", "GET", "/admin/audit", 0.06, 400, {}),
    ("office", "POST", "/admin/users", 0.03, 200, {409: 0.05}),
    ("office", "GET", "/reports/census", 0.08, 3000, {}),
    ("office", "POST", "/consents", 0.05, 150, {}),
    ("public", "POST", "/api/v3/feedback", 0, 100, {}),  # launched on day 8
]
CONSUMERS = {
    "ehr": ["ward-a", "ward-b", "ward-c", "icu", "emergency", "pharmacy", "dictation"],
    "lab": ["lis", "ward-a", "ward-b", "pacs", "oncology"],
    "portal": ["", "ios-app", "android-app", "web-portal"],  # "": a browser without an account
    "claims": [f"payer-{i}" for i in range(1, 9)],
    "public": [f"dev-{i:02d}" for i in range(1, 17)],
    "devices": ["pumps", "monitors", "fridges"],
    "hooks": ["notifier"],
    "office": ["back-office", "ministry"],
}
NAMES = sorted({name for names in CONSUMERS.values() for name in names})
# share of the day's peak at local hours 0, 2, …, 22; share on weekends and holidays
RHYTHM = {
    "ehr": ([0.3, 0.25, 0.25, 0.7, 0.9, 1, 0.8, 0.95, 0.7, 0.5, 0.5, 0.45], 0.6),
    "lab": ([0.15, 0.15, 0.3, 0.9, 1, 0.8, 0.5, 0.45, 0.35, 0.25, 0.2, 0.15], 0.4),
    "portal": ([0.08, 0.04, 0.05, 0.4, 0.9, 0.8, 0.7, 0.65, 0.7, 0.85, 0.9, 0.4], 0.65),
    "claims": ([0.03, 0.03, 0.05, 0.2, 0.9, 1, 0.7, 0.95, 0.6, 0.15, 0.05, 0.03], 0.06),
    "public": ([0.6, 0.55, 0.55, 0.7, 0.9, 0.95, 0.95, 1, 0.95, 0.9, 0.8, 0.7], 0.75),
    "devices": ([1.0] * 12, 1.0),
    "hooks": ([0.3, 0.25, 0.25, 0.5, 1, 1, 0.9, 0.9, 0.8, 0.6, 0.5, 0.4], 0.7),
    "office": ([0.02, 0.02, 0.02, 0.2, 1, 1, 0.6, 0.9, 0.3, 0.05, 0.02, 0.02], 0.03),
}
KINDS = (
    *("error_burst", "upstream_timeout", "latency_step", "latency_tail", "latency_drift", "auth_failure", "rate_limit"),
    *("traffic_drop", "traffic_spike", "silence", "new_code", "validation_regression", "node_outage"),
    *("low_traffic_fail", "recurring", "slow_degradation"),
)
GRADES = ("easy", "medium", "hard")
SHARE = {"easy": 0.4, "medium": 0.12, "hard": 0.04}  # of calls that fail
SLOWER = {"easy": 2.5, "medium": 1.6, "hard": 1.3}
DROP = {"easy": 0.05, "medium": 0.3, "hard": 0.5}
SPIKE = {"easy": 6.0, "medium": 3.0, "hard": 2.0}


@dataclass
class Fault(worlds.Fault):
    share: float = 0.0
    spells: list[tuple[int, int]] = field(default_factory=list)  # of what comes back; else start to end
    figures: dict[str, float] = field(default_factory=dict)


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `hospital`, or `quiet-hospital` for the same one without faults. At least 20 endpoints."""
    random = np.random.default_rng([seed, 77])
    hospital = Hospital(random, endpoints, days, calls_per_minute)
    calls = hospital.answered(hospital.traffic())
    planted: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, planted = plant(random, hospital, calls)
    frame = hospital.logged(tried_again(random, hospital, calls))
    told = [
        label(
            number, fault, TUESDAY + fault.start * 60, TUESDAY + fault.end * 60, SIGNAL,
            endpoints=sorted(e for e, count in fault.affected.items() if count >= 2), affected_calls=sum(fault.affected.values()),
            figures=fault.figures, detectable=fault.figures["z"] > fault.figures["z_without"] and any(n >= 2 for n in fault.affected.values()),
        )
        for number, fault in enumerate(planted)
    ]  # fmt: skip
    labels = {"t0": TUESDAY, "minutes": hospital.minutes, "faults": told, "events": hospital.events}
    labels["ambiguous"] = [event for event in hospital.events if event["ambiguous"]]
    return World(frame, labels, {"t0": TUESDAY, "minutes": hospital.minutes, "endpoints": hospital.catalog})


class Hospital:
    """Who calls what, and how it is answered when nothing is wrong. Minutes count from the world's beginning."""

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, rate: float) -> None:
        self.random, self.minutes, self.events = random, days * DAY, []
        picked = np.linspace(0, len(ROUTES) - 1, min(endpoints, len(ROUTES))).astype(int)
        again = [picked[i % len(picked)] for i in range(endpoints)]
        self.routes = [ROUTES[i] for i in again]
        self.paths = [
            route[2] if i < len(picked) else f"/site{i // len(picked)}{route[2]}" for i, route in enumerate(self.routes)
        ]
        self.service = np.array([route[0] for route in self.routes])
        self.upstreams = {name: f"http://{name}.internal:8080/" for name in CONSUMERS}
        self.catalog = [
            {"id": i, "method": route[1], "path": self.paths[i], "upstream": self.upstreams[route[0]]}
            for i, route in enumerate(self.routes)
        ]
        minute = np.arange(self.minutes)
        local = minute + np.where(minute < SUMMER_ENDS, 120, 60)
        self.hour, day = local % DAY / 60, local // DAY
        self.off = np.isin((day + 1) % 7, (5, 6)) | np.isin(day, HOLIDAYS)
        self.local_minute, self.day = local % DAY, day
        rhythm = {
            name: np.interp(self.hour, np.arange(0, 25, 2), [*shape, shape[0]]) * np.where(self.off, weekend, 1)
            for name, (shape, weekend) in RHYTHM.items()
        }
        mean = np.array([route[3] * rhythm[route[0]] for route in self.routes])
        scale = rate * self.minutes / mean.sum()
        self.mean = mean * scale * random.lognormal(0, 0.25, (endpoints, 1))
        if endpoints >= len(ROUTES):
            self._moves()
        self._demand()
        self.tilt = {  # (consumer) weights per endpoint
            i: random.dirichlet(1.2 / np.arange(1, len(CONSUMERS[route[0]]) + 1) ** 0.7 + 0.15)
            for i, route in enumerate(self.routes)
        }
        self.habit = [
            {code: share * random.lognormal(0, 0.25) for code, share in route[5].items()} for route in self.routes
        ]
        self.deployed = {
            name: np.sort(random.integers(600, self.minutes - 600, max(2, days // 5))) for name in CONSUMERS
        }
        for name, moments in self.deployed.items():
            for moment in moments:
                self.event(f"deployment of {name}", int(moment), int(moment) + 60, np.flatnonzero(self.service == name))

    def event(
        self, what: str, start: int, end: int, endpoints: np.ndarray | list[int], ambiguous: bool = False
    ) -> None:
        self.events.append(
            {"what": what, "start": TUESDAY + start * 60, "end": TUESDAY + end * 60, "endpoints": [int(e) for e in endpoints],
             "ambiguous": ambiguous}
        )  # fmt: skip

    def _moves(self) -> None:
        """v1 documents move to v2 over three days, an endpoint is launched, an app's release changes what it asks for."""
        v1, v2 = (self.paths.index(f"/portal/v{i}/documents/{{id}}") for i in (1, 2))
        minute = np.arange(self.minutes)
        moved = 0.75 * np.clip((minute - 5.4 * DAY) / (3 * DAY), 0, 1)
        self.mean[v2] += moved * self.mean[v1]
        self.mean[v1] *= 1 - moved
        launched = self.paths.index("/api/v3/feedback")
        day8 = np.clip((minute - 8.4 * DAY) / (0.5 * DAY), 0, 1)
        self.mean[launched] += day8 * 0.15 * self.mean[self.paths.index("/api/v3/interactions")]
        adopted = np.clip((minute - 7.3 * DAY) / (2 * DAY), 0, 1)
        for path, more in (
            ("/portal/v1/messages", 0.2),
            ("/portal/v1/appointments", -0.12),
            ("/portal/v1/slots", 0.15),
        ):
            self.mean[self.paths.index(path)] *= 1 + more * adopted
        self.event("documents move to v2", int(5.4 * DAY), int(8.4 * DAY), [v1, v2])
        self.event("launch", int(8.4 * DAY), int(8.9 * DAY), [launched])
        self.event("app 5.2 adopted", int(7.3 * DAY), int(9.3 * DAY), np.flatnonzero(self.service == "portal"))

    def _demand(self) -> None:
        """What multiplies the rhythm for a while: new slots on Monday and Thursday mornings, month-end, a health scare."""
        minute = np.arange(self.minutes)
        slots = [i for i, path in enumerate(self.paths) if path.endswith(("/slots", "/v1/appointments", "/login"))]
        for begin in np.flatnonzero((self.local_minute == 420) & np.isin((self.day + 1) % 7, (0, 3)) & ~self.off):
            self.mean[slots] *= 1 + np.where(minute >= begin, 4 * np.exp(-np.maximum(minute - begin, 0) / 12), 0)
            self.event("new slots are open", int(begin), int(begin) + 60, slots, True)
        posts = [i for i, route in enumerate(self.routes) if route[0] == "claims" and route[1] == "POST"]
        for begin in np.flatnonzero((self.local_minute == 840) & np.isin(self.day, (10, 11))):
            self.mean[posts, begin : begin + 240] *= 3.5
            self.event("month-end", int(begin), int(begin) + 240, np.flatnonzero(self.service == "claims"), True)
        begin = int(self.random.integers(4 * DAY, self.minutes - 600))
        drugs = [i for i, path in enumerate(self.paths) if "/api/v3/drugs" in path or "/interactions" in path]
        self.mean[drugs, begin : begin + 180] *= 2.5
        self.event("a medicine in the news", begin, begin + 180, drugs, True)

    def traffic(self) -> pl.DataFrame:
        """One row per call: second, endpoint, consumer (index in NAMES), habit (job: a machine's timetable)."""
        random, minutes = self.random, self.minutes
        weather = {name: ornstein(random, minutes, 360, 0.1, every=10) for name in CONSUMERS}
        parts = []
        for i, service in enumerate(self.service):
            swing = weather[service] + ornstein(random, minutes, 60, 0.06 if service == "devices" else 0.12, every=10)
            mean = self.mean[i] * np.exp(swing) * random.gamma(12, 1 / 12, minutes)
            if service == "claims":  # in batches of one insurer, within seconds
                starts = np.repeat(np.arange(minutes), random.poisson(mean / 5.5))
                size = np.minimum(1 + random.lognormal(1.1, 0.9, len(starts)).astype(int), 80)
                who = np.repeat(random.choice(len(self.tilt[i]), len(starts), p=self.tilt[i]), size)
                second = np.repeat(starts * 60 + random.uniform(0, 60, len(starts)), size) + random.exponential(
                    12, size.sum()
                )
            else:
                second = np.repeat(np.arange(minutes), random.poisson(mean)) * 60.0
                second += random.uniform(0, 60, len(second))
                who = random.choice(len(self.tilt[i]), len(second), p=self.tilt[i])
            parts.append(self._rows(second, i, np.array(CONSUMERS[service])[who], False))
        self._jobs(parts)
        return pl.concat(parts).filter(pl.col("second") < minutes * 60).sort("second")

    def _rows(self, second: np.ndarray, endpoint: int, names: np.ndarray | str, job: bool) -> pl.DataFrame:
        who = np.searchsorted(NAMES, names)
        return pl.DataFrame({"second": second}).with_columns(
            endpoint=pl.lit(endpoint, pl.Int64), consumer=pl.Series(np.broadcast_to(who, len(second)).astype(np.int64)), job=pl.lit(job)
        )  # fmt: skip

    def _jobs(self, parts: list[pl.DataFrame]) -> None:
        """Reconciliation at night, polling by timetable, exports of a morning, and a night on which a partner hammers."""
        random = self.random
        timetable = (  # path, consumer, local minute of day, minutes, calls per minute
            ("/claims/v1/claims/{id}/status", "payer-2", 90, 30, 35),
            ("/fhir/Patient/{id}", "dictation", 200, 45, 20),
            ("/fhir/DiagnosticReport/{id}", "oncology", 330, 12, 15),
            ("/api/v3/providers", "dev-03", 1380, 50, 12),
        )
        for path, who, at, length, rate in timetable:
            for begin in np.flatnonzero(self.local_minute == at):
                if path not in self.paths:
                    continue
                start = begin + random.integers(0, 4)
                number = random.poisson(length * rate * random.lognormal(0, 0.12))
                second = 60 * (start + length * random.beta(1, 1.15, number))
                parts.append(self._rows(second, self.paths.index(path), who, True))
        for path, who, every in (
            ("/devices/config", "monitors", 5),
            ("/lab/results/{id}", "lis", 15),
            ("/hooks/deliveries", "notifier", 60),
        ):
            if path in self.paths:
                ticks = np.repeat(np.arange(0, self.minutes, every), 3) * 60.0
                parts.append(self._rows(ticks + random.exponential(4, len(ticks)), self.paths.index(path), who, True))
        status = [i for i, path in enumerate(self.paths) if path.endswith("/status")]
        begin = int(random.integers(4, self.minutes // DAY - 1)) * DAY + 1260  # 22 or 23 o'clock
        for endpoint in status[:1]:
            parts.append(self._rows(60 * (begin + 25 * random.beta(1, 1, 900)), endpoint, "payer-5", True))
        self.event("payer-5 hammers", begin, begin + 30, status[:1], True)
        login = [i for i, path in enumerate(self.paths) if path.endswith("/login")]
        begin = int(random.integers(4 * DAY, self.minutes - 300))
        for endpoint in login[:1]:
            parts.append(self._rows(60 * (begin + 40 * random.uniform(0, 1, 500)), endpoint, "", True))
        self.event("passwords tried out", begin, begin + 40, login[:1], True)
        self.stuffing = (begin, begin + 40, login[:1])

    def answered(self, calls: pl.DataFrame) -> pl.DataFrame:
        """The calls with node, status and latency_ms as they are without faults."""
        random, rows = self.random, calls.height
        second, endpoint, who = (calls[name].to_numpy() for name in ("second", "endpoint", "consumer"))
        minute = (second / 60).astype(int)
        status = np.full(rows, 200)
        personal = random.lognormal(0, 0.3, (len(self.routes), len(NAMES)))  # who errs more often than others
        uniform, base = random.uniform(0, 1, rows), random.lognormal(np.log(0.0008), 0.6, len(self.routes))
        for i, habit in enumerate(self.habit):
            mine, edge = np.flatnonzero(endpoint == i), 0.0
            for code, share in (*habit.items(), (500, base[i]), (504, 0.3 * base[i])):
                chance = np.minimum(share * personal[i, who[mine]], 0.9)
                status[mine[(uniform[mine] >= edge) & (uniform[mine] < edge + chance)]] = code
                edge = edge + chance
        begin, end, where = self.stuffing
        tried = (minute >= begin) & (minute < end) & np.isin(endpoint, where) & calls["job"].to_numpy()
        status[tried & (random.uniform(0, 1, rows) < 0.95)] = 401
        status[self._over_quota(minute, who, endpoint)] = 429
        service = self.service[endpoint]
        slow = np.zeros(rows)
        for name, moments in self.deployed.items():
            mine = service == name
            for moment in moments:  # seconds of 502, a cold cache, and a few percent for good
                gone = second - moment * 60
                status[mine & (gone > 0) & (gone < random.uniform(3, 15)) & (random.uniform(0, 1, rows) < 0.5)] = 502
                after = mine & (gone > 0)
                slow[after] += 0.5 * np.exp(-gone[after] / 420) + random.normal(0, 0.015)
            for blip in random.integers(0, self.minutes * 60, self.minutes // (2 * DAY)):
                inside = mine & (second > blip) & (second < blip + random.uniform(10, 90))
                status[inside & (random.uniform(0, 1, rows) < random.uniform(0.03, 0.2))] = 503
            load = np.convolve(
                np.bincount(minute[mine], minlength=self.minutes)[: self.minutes], np.ones(5) / 5, "same"
            )
            slow[mine] += 0.25 * (load / max(np.quantile(load, 0.995), 1e-9))[minute[mine]] ** 2
            slow[mine] += ornstein(random, self.minutes, 240, 0.03, every=10)[minute[mine]]
        order = np.lexsort((second, endpoint))
        pause = np.diff(second[order], prepend=-1e9)
        slow[order] += np.where(pause > 1200, random.normal(0.7, 0.25, rows), 0)  # connections and caches are cold
        backup = (self.local_minute[minute] >= 60) & (self.local_minute[minute] < 120)
        slow += np.where(backup & np.isin(service, ("ehr", "lab")), 0.2, 0)
        sigma = random.uniform(0.35, 0.75, len(self.routes))
        latency = np.array([route[4] for route in self.routes])[endpoint] * np.exp(
            slow + sigma[endpoint] * random.normal(0, 1, rows)
        )
        tail = random.uniform(0, 1, rows) < random.uniform(0.004, 0.02, len(self.routes))[endpoint]
        latency = np.where(tail, latency * 3 * (1 + random.pareto(1.7, rows)), latency)
        latency = np.where(np.isin(status, (401, 403, 429)), random.lognormal(1.3, 0.4, rows), latency)
        latency = np.where(status == 304, latency * 0.6, latency)
        return calls.with_columns(
            node=pl.Series(self._nodes(minute)),
            status=pl.Series(status),
            latency_ms=pl.Series(np.clip(latency, 1, 30_000)),
        )

    def _over_quota(self, minute: np.ndarray, who: np.ndarray, endpoint: np.ndarray) -> np.ndarray:
        """Whether a call is above its developer's calls per minute. One lives above its quota until it is raised on day 6."""
        above = np.zeros(len(minute), bool)
        public = self.service[endpoint] == "public"
        for rank, name in enumerate(CONSUMERS["public"]):
            mine = np.flatnonzero(public & (who == NAMES.index(name)))
            _, first, count = np.unique(minute[mine], return_index=True, return_counts=True)
            if len(count) == 0:
                continue
            usual = max(np.quantile(count, 0.75 if rank == 1 else 0.998), 2)
            quota = np.where((rank == 1) & (minute[mine] > 6.4 * DAY), 1e9, usual)
            above[mine] = np.arange(len(mine)) - np.repeat(first, count) >= quota
        self.event(
            "dev-02 has a larger quota", int(6.4 * DAY), int(6.4 * DAY) + 60, np.flatnonzero(self.service == "public")
        )
        return above

    def _nodes(self, minute: np.ndarray) -> np.ndarray:
        """Three nodes and one more in office hours; on day 7 green ones take over from blue ones, after a canary on day 6."""
        busy = (self.hour >= 8) & (self.hour < 18) & ~self.off
        number = np.floor(self.random.uniform(0, 1, len(minute)) * np.where(busy, 4, 3)[minute]).astype(int) + 1
        green = minute >= 7.1 * DAY + 12 * number
        name = np.char.add(np.where(green, "gw-green-", "gw-blue-"), number.astype(str))
        canary = (minute > 6.3 * DAY) & (minute < 6.8 * DAY) & (self.random.uniform(0, 1, len(minute)) < 0.05)
        return np.where(canary, "gw-green-0", name)

    def logged(self, calls: pl.DataFrame) -> pl.DataFrame:
        """`at` (seconds) and `line`, as they were written: with strangers, without what the log lost, some of them late."""
        random, minutes = self.random, self.minutes
        hole, half = (int(random.integers(4 * DAY, minutes - 300)) for _ in range(2))
        lost = pl.col("second").is_between(hole * 60, (hole + 20) * 60)
        lost |= pl.col("second").is_between(half * 60, (half + 45) * 60) & pl.col("node").str.ends_with("-2")
        self.event("hole in the log", hole, hole + 20, range(len(self.routes)))
        self.event("hole in the log of a node", half, half + 45, range(len(self.routes)), True)
        scans = np.repeat(random.integers(0, minutes, minutes // 700), 40)
        second = np.concatenate(
            [scans * 60 + random.exponential(30, len(scans)), random.uniform(0, minutes * 60, minutes // 20)]
        )
        path = random.choice(
            ["/.env", "/wp-login.php", "/admin.php", "/.git/config", "/robots.txt", "/fhir", "/api/v1/pods"],
            len(second),
        )
        strangers = pl.DataFrame({"second": second, "uri": path}).with_columns(
            endpoint=pl.lit(-1, pl.Int64), consumer=pl.lit(NAMES.index(""), pl.Int64), node=pl.lit("gw-blue-1"), status=pl.lit(404, pl.Int64),
            latency_ms=pl.Series(random.lognormal(1.5, 0.5, len(second))),
        )  # fmt: skip
        frame = pl.concat([calls.drop("job"), strangers], how="diagonal").filter(~lost, pl.col("second") < minutes * 60)
        one = random.integers(1_000_000, 9_999_999, frame.height)
        names = pl.DataFrame({"endpoint": range(len(self.routes)), "path": self.paths,
                              "method": [route[1] for route in self.routes], "service": self.service}).cast({"endpoint": pl.Int64})  # fmt: skip
        agent = (
            pl.when(pl.col("endpoint") < 0).then(pl.lit("Mozilla/5.0 zgrab/0.x"))
            .when(pl.col("service") == "portal").then(pl.format("CareApp/{} (phone)", pl.when(pl.col("second") > 7.3 * DAY * 60 + (pl.col("one") % 2880) * 60).then(pl.lit("5.2")).otherwise(pl.lit("5.1"))))
            .otherwise(pl.lit("Apache-HttpClient/5.3 (Java/21)"))
        )  # fmt: skip
        late = pl.col("second").is_between(9 * DAY * 60, 9 * DAY * 60 + 7200) & pl.col("node").str.ends_with("-1")
        frame = frame.join(names, on="endpoint", how="left", maintain_order="left").with_columns(one=pl.Series(one))
        return (
            frame.with_columns(
                agent=agent,
                uri=pl.coalesce("uri", pl.col("path").str.replace("{id}", pl.col("one").cast(pl.String), literal=True)),
                who=pl.col("consumer").replace_strict(range(len(NAMES)), NAMES, return_dtype=pl.String),
                written=pl.col("second") + pl.when(late).then(900.0).otherwise(0.0),
                time=pl.from_epoch(((TUESDAY + pl.col("second")) * 1000).cast(pl.Int64), time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
                number=pl.col("method").fill_null("GET").replace_strict({"DELETE": 2, "GET": 3, "POST": 7, "PUT": 8}, return_dtype=pl.Int64),
                ms=pl.col("latency_ms").round().cast(pl.Int64),
            )
            .sort("written")
            .select(
                at=TUESDAY + pl.col("second"),
                line=pl.struct(
                    pl.col("node").alias("gateway"),
                    pl.col("time").alias("@timestamp"),
                    pl.lit("request").alias("type"),
                    pl.int_range(pl.len()).cast(pl.String).alias("transaction"),
                    pl.col("number").alias("method"),
                    "uri",
                    "status",
                    pl.col("ms").alias("response-time"),
                    pl.max_horizontal(pl.col("ms") - 1, 1).alias("api-response-time"),
                    pl.when(pl.col("who") != "").then("who").alias("application"),
                    pl.col("service").replace(self.upstreams).alias("endpoint"),
                    pl.format("10.8.{}.{}", "consumer", pl.col("one") % 200).alias("remote-address"),
                    pl.col("agent").alias("user-agent"),
                ).struct.json_encode(),
            )
        )  # fmt: skip


def tried_again(random: np.random.Generator, hospital: Hospital, calls: pl.DataFrame) -> pl.DataFrame:
    """The calls and what webhooks and insurers send again after 5xx: after 10, 30, 90, 270 seconds, until it works."""
    again = [calls]
    failed = calls.filter(
        pl.col("status") >= 500,
        pl.Series(np.isin(hospital.service, ("hooks", "claims"))).gather(calls["endpoint"]).alias("x"),
    )
    for pause in (10, 30, 90, 270):
        failed = failed.with_columns(
            second=pl.col("second") + pause * pl.Series(random.uniform(0.9, 1.3, failed.height))
        )
        works = pl.Series(random.uniform(0, 1, failed.height) < 0.55)
        again.append(failed.with_columns(status=pl.when(works).then(200).otherwise("status")))
        failed = failed.filter(~works)
    return pl.concat(again).sort("second")


def plant(random: np.random.Generator, hospital: Hospital, calls: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """The calls with 20 faults in them, and those faults. Each is drawn until it can be seen, at most 12 times."""
    kinds = [*KINDS, *random.choice(KINDS, 4, replace=False)]
    grades = random.permutation([GRADES[i % 3] for i in range(len(kinds))])
    free = np.ones((len(hospital.routes), hospital.minutes), bool)
    free[:, : 4 * DAY] = False
    for event in hospital.events:
        start, end = ((event[name] - TUESDAY) // 60 for name in ("start", "end"))
        free[event["endpoints"], max(start - 90, 0) : min(end + 90, start + 1500)] &= len(event["endpoints"]) > 8
    judge, planted, upset = Judge(hospital, calls), [], calls
    first = ("node_outage", "upstream_timeout", "latency_drift", "slow_degradation")  # they need the most room
    order = sorted(zip(kinds, grades, strict=True), key=lambda one: first.index(one[0]) if one[0] in first else 9)
    for kind, grade in order:
        drawn = None
        for _ in range(60):
            fault = draw(random, hospital, str(kind), str(grade))
            if fault is None or not free[fault.endpoints, max(fault.start - 60, 0) : fault.end + 120].all():
                continue
            drawn, after = fault, happen(random, hospital, fault, upset)
            judge.look(fault, after)
            if fault.figures["z"] > fault.figures["z_without"]:
                break
        if drawn is not None:
            upset = after
            planted.append(drawn)
            before, behind = (360, 720) if len(drawn.endpoints) < 10 else (120, 180)
            free[drawn.endpoints, max(drawn.start - before, 0) : drawn.end + behind] = False
    return upset, planted


def draw(random: np.random.Generator, hospital: Hospital, kind: str, grade: str) -> Fault | None:
    """A fault of this kind somewhere, some time after the fourth day."""
    shares = hospital.mean.mean(axis=1)
    busy, low = np.flatnonzero(shares > 0.15), np.flatnonzero((shares > 0.001) & (shares < 0.15))
    one = int(random.choice(low if kind == "low_traffic_fail" and len(low) else busy))
    service = hospital.service[one]
    minutes = {
        "latency_step": (60, 240), "latency_tail": (120, 300), "latency_drift": (2880, 4320), "slow_degradation": (1440, 4320),
        "auth_failure": (90, 480), "silence": (60, 240), "low_traffic_fail": (360, 1440), "validation_regression": (90, 360), "new_code": (60, 300),
        "traffic_drop": (60, 180),
    }.get(kind, (15, 80))  # fmt: skip
    length = int(random.integers(*minutes))
    start = int(random.integers(4 * DAY, max(hospital.minutes - length - 120, 4 * DAY + 1)))
    fault = Fault(kind, grade, start, min(start + length, hospital.minutes - 60), [one], share=SHARE[grade])
    whole = [int(e) for e in np.flatnonzero((hospital.service == service) & (shares > 0.02))]
    who = [int(i) for i in np.argsort(-hospital.tilt[one])[:3] if CONSUMERS[service][i]]
    if kind in ("error_burst", "slow_degradation", "low_traffic_fail", "recurring"):
        fault.code = int(random.choice([500, 503] if kind != "slow_degradation" else [500, 504]))
    if kind == "low_traffic_fail":
        fault.share = {"easy": 0.9, "medium": 0.6, "hard": 0.4}[grade]
    elif kind == "recurring":
        begins = [start + DAY * i for i in range(3)]
        fault.spells = [(begin, begin + length // 2 + 5) for begin in begins if begin + length < hospital.minutes - 60]
        fault.share, fault.end = 2 * fault.share, fault.spells[-1][1] if fault.spells else 0
        return fault if len(fault.spells) == 3 else None
    elif kind in ("upstream_timeout", "latency_step") and (kind == "upstream_timeout" or random.uniform() < 0.5):
        fault.endpoints, fault.upstream = whole, hospital.upstreams[service]
    if kind == "upstream_timeout":
        fault.code = 504
    elif kind in ("auth_failure", "rate_limit", "validation_regression"):
        if not who or (kind == "validation_regression" and hospital.routes[one][1] == "GET"):
            return None
        fault.code = {"auth_failure": 401, "rate_limit": 429}.get(kind, int(random.choice([400, 422])))
        picked = who[min({"easy": 0, "medium": 1, "hard": 2}[grade], len(who) - 1)]
        if kind != "validation_regression" or random.uniform() < 0.5:
            fault.consumer = CONSUMERS[service][picked]
        if kind == "auth_failure":  # a certificate has expired: all of this consumer's calls
            fault.share, fault.endpoints = 0.97, whole
        elif kind == "rate_limit":
            fault.share, fault.endpoints = {"easy": 0.7, "medium": 0.4, "hard": 0.2}[grade], whole
        elif fault.consumer:
            fault.share = min(2.2 * fault.share, 0.95)
    elif kind == "new_code":
        fault.code = int(random.choice([410, 415, 501, 405, 423]))
    elif kind == "node_outage":
        rolled = start >= 7.1 * DAY + 60
        fault.node, fault.code = (
            f"gw-{'green' if rolled else 'blue'}-{random.integers(1, 4)}",
            int(random.choice([500, 502])),
        )
        fault.endpoints = [int(e) for e in np.flatnonzero(shares > 0.02)]
        fault.share = min(2 * fault.share, 1)
        if 6.9 * DAY < start < 7.1 * DAY + 60:
            return None
    return fault


def happen(random: np.random.Generator, hospital: Hospital, fault: Fault, calls: pl.DataFrame) -> pl.DataFrame:
    """The calls after the fault; writes down how many of each endpoint it hit."""
    minute, uniform = pl.col("second") / 60, pl.Series(random.uniform(0, 1, calls.height))
    scope = pl.col("endpoint").is_in(fault.endpoints) & pl.any_horizontal(
        *(minute.is_between(start, end, closed="left") for start, end in fault.spells or [(fault.start, fault.end)])
    )
    if fault.consumer:
        scope &= pl.col("consumer") == NAMES.index(fault.consumer)
    if fault.node:
        scope &= pl.col("node") == fault.node
    grown = (minute - fault.start) / (fault.end - fault.start)
    fast = pl.Series(random.lognormal(2.2, 0.5, calls.height))
    if fault.kind in ("traffic_drop", "silence"):
        hit = scope & (uniform > (DROP[fault.grade] if fault.kind == "traffic_drop" else 0))
        after = calls.filter(~hit)
    elif fault.kind == "traffic_spike":
        more = SPIKE[fault.grade] - 1
        rest = calls.filter(scope)
        extra = (
            rest.sample(int(rest.height * more), with_replacement=True, seed=int(random.integers(1 << 31)))
            if rest.height
            else rest
        )
        after = pl.concat(
            [calls, extra.with_columns(second=pl.col("second") + pl.Series(random.uniform(-40, 40, extra.height)))]
        ).sort("second")
        fault.affected = dict(extra.group_by("endpoint").len().iter_rows())
        return after
    elif fault.kind in ("latency_step", "latency_drift"):
        hit, factor = scope, SLOWER[fault.grade]
        by = pl.lit(factor) if fault.kind == "latency_step" else 1 + (factor - 1) * grown
        after = calls.with_columns(
            latency_ms=pl.when(hit).then((pl.col("latency_ms") * by).clip(1, 30_000)).otherwise("latency_ms")
        )
    elif fault.kind == "latency_tail":
        hit = scope & (uniform < {"easy": 0.2, "medium": 0.1, "hard": 0.05}[fault.grade])
        after = calls.with_columns(
            latency_ms=pl.when(hit).then((pl.col("latency_ms") * 8).clip(1, 30_000)).otherwise("latency_ms")
        )
    else:
        hit = scope & (uniform < fault.share * (grown if fault.kind == "slow_degradation" else 1.0))
        took = pl.lit(10_000.0) + fast if fault.code == 504 else fast
        after = calls.with_columns(
            status=pl.when(hit).then(pl.lit(fault.code, pl.Int64)).otherwise("status"), latency_ms=pl.when(hit).then(took).otherwise("latency_ms")
        )  # fmt: skip
    fault.affected = dict(calls.filter(hit).group_by("endpoint").len().iter_rows())
    return after


class Judge:
    """Whether a fault can be seen: the criterion in the module's docstring."""

    def __init__(self, hospital: Hospital, calls: pl.DataFrame) -> None:
        self.hospital, self.without = hospital, calls
        hour = pl.Series(hospital.hour.astype(int)).gather((calls["second"] / 60).cast(pl.Int64))
        usual = calls.with_columns(hour=hour).group_by("endpoint", "hour").agg(
            usual=pl.col("latency_ms").log().median(), spread=pl.col("latency_ms").log().std(),
        )  # fmt: skip
        self.usual = usual.with_columns(pl.col("spread").fill_null(1.0))
        self.high = calls.group_by("endpoint").agg(high=pl.col("latency_ms").quantile(0.98))
        self.jobs = calls.filter("job")

    def look(self, fault: Fault, calls: pl.DataFrame) -> None:
        """Fills the fault's figures: z of its best window and the highest z of a window without it, 0 where too few calls are hit."""
        slow = fault.kind in ("latency_drift", "slow_degradation")
        span = max(
            (fault.spells[0][1] - fault.spells[0][0])
            if fault.spells
            else min(fault.end - fault.start, 720 if slow else 360),
            5,
        )
        step = max(span // 4, 1)
        starts = np.arange(0, self.hospital.minutes - span, step)
        inside = np.zeros(len(starts), bool)
        for start, end in fault.spells or [(fault.start, fault.end)]:
            inside |= (starts >= start - step) & (starts + span <= end + step)
        usual = np.ones(len(starts), bool)
        for event in self.hospital.events:
            if event["ambiguous"] and set(event["endpoints"]) & set(fault.endpoints):
                begin, end = ((event[name] - TUESDAY) / 60 for name in ("start", "end"))
                usual &= (starts > end) | (starts + span < begin)
        with_it, without = (self._z(fault, rows, span, starts) for rows in (calls, self.without))
        enough = sum(fault.affected.values()) >= (5 if fault.code else 20)
        fault.figures = {
            "z": round(float(with_it[inside].max(initial=0.0)), 3) if enough else 0.0,
            "z_without": round(float(without[usual].max(initial=0.0)), 3),
            "window_minutes": float(span),
        }

    def _z(self, fault: Fault, calls: pl.DataFrame, span: int, starts: np.ndarray) -> np.ndarray:
        def scoped(rows: pl.DataFrame) -> pl.DataFrame:
            mine = pl.col("endpoint").is_in(fault.endpoints)
            if fault.consumer:
                mine &= pl.col("consumer") == NAMES.index(fault.consumer)
            if fault.node:
                mine &= pl.col("node").str.ends_with(fault.node[-2:])  # blue and green are one
            return rows.filter(mine)

        def summed(rows: pl.DataFrame, value: pl.Expr) -> np.ndarray:
            per_minute = np.bincount((rows["second"].to_numpy() / 60).astype(int).clip(0, self.hospital.minutes - 1),
                                     rows.select(value.cast(pl.Float64)).to_series().to_numpy(), self.hospital.minutes)  # fmt: skip
            total = np.concatenate([[0.0], np.cumsum(per_minute)])
            return total[starts + span] - total[starts]

        mine, count = scoped(calls), pl.col("second") * 0 + 1
        number = summed(mine, count)
        if SIGNAL.get(fault.kind) == "traffic":
            rate = np.concatenate([[0.0], np.cumsum(self.hospital.mean[fault.endpoints].sum(axis=0))])
            expected = rate[starts + span] - rate[starts] + summed(scoped(self.jobs), count)
            z = (number - expected) / np.sqrt(expected + 1)
            return z if fault.kind == "traffic_spike" else -z
        if fault.kind in ("latency_step", "latency_drift"):
            hour = pl.Series(self.hospital.hour.astype(int)).gather(
                (mine["second"] / 60).cast(pl.Int64).clip(0, self.hospital.minutes - 1)
            )
            seen = mine.with_columns(hour=hour).join(
                self.usual, on=["endpoint", "hour"], how="left", maintain_order="left"
            )
            return summed(
                seen, ((pl.col("latency_ms").log() - pl.col("usual")) / pl.col("spread")).fill_null(0)
            ) / np.sqrt(number + 1)
        if fault.kind == "latency_tail":
            seen = mine.join(self.high, on="endpoint", how="left", maintain_order="left")
            return (summed(seen, pl.col("latency_ms") > pl.col("high")) - 0.02 * number) / np.sqrt(0.02 * number + 1)
        share = float((scoped(self.without)["status"] == fault.code).mean() or 0.0)
        return (summed(mine, pl.col("status") == fault.code) - share * number) / np.sqrt(share * number + 1)
