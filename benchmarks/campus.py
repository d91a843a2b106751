"""A university's learning platform and campus services behind one gateway, in the second half of a semester: a world of API calls.

Written by somebody who has not read the detector. It begins on a Wednesday: a public holiday on the Thursday after and its bridge day,
deadlines at midnight, an exam on three mornings, roster sync at night. Faults are graded by what one sees of them in the endpoint's own
calls, not by a knob. Times are seconds since the world's beginning (midnight UTC); the university's clock is two hours ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from calls import Columns, Hinted, arrivals, label, ornstein
from worlds import World

WEDNESDAY = 1_778_025_600  # 2026-05-06T00:00:00Z
DAY, HOUR, AHEAD, TIMEOUT_S = 1440, 3600.0, 120, 30.0
HOLIDAY, BRIDGE, EXAMS = 8, 9, (1, 6, 12)
SIGNAL = {"auth_failure": "auth", "rate_limit": "rate_limit"} | dict.fromkeys(("latency_step", "latency_tail", "latency_drift"), "latency")  # fmt: skip
SIGNAL |= dict.fromkeys(("traffic_drop", "traffic_spike", "silence", "polling_storm"), "traffic")

# Service, method, path, weight, typical ms, spread of its logarithm, who calls (a key of MIX), what it answers out of habit; two a line.
ROUTES = """
sso       POST   /sso/token                           7    48   .35 student 401:.022 400:.003 | sso       GET    /sso/userinfo                        5    14   .35 student 401:.012
sso       POST   /sso/saml/acs                        .9   85   .40 student 403:.006          | sso       DELETE /sso/sessions/{id}                   .35  18   .40 student 404:.03
lms       GET    /api/courses                         3.2  95   .50 student 304:.12           | lms       GET    /api/courses/{id}                    5    62   .50 student 403:.009 404:.004
lms       GET    /api/courses/{id}/modules            4    120  .55 student 304:.08 403:.004  | lms       GET    /api/courses/{id}/announcements      1.8  44   .45 student 304:.2
lms       GET    /api/assignments/{id}                2.2  55   .45 student 404:.01           | lms       POST   /api/assignments/{id}/submissions    .30  210  .55 student 409:.015 413:.004
lms       PUT    /api/submissions/{id}/files          .38  900  .80 student 413:.012          | lms       GET    /api/submissions/{id}                .8   50   .45 student 404:.02
lms       GET    /api/users/{id}/grades               1.1  135  .50 student 403:.004          | lms       GET    /api/forums/{id}/posts               1.4  78   .55 student 304:.1
lms       POST   /api/forums/{id}/posts               .09  110  .45 student 422:.02           | lms       PUT    /api/gradebook/entries/{id}          .16  92   .40 staff   409:.01
lms       GET    /api/courses/{id}/gradebook/export   .025 2300 .70 staff                     | lms       GET    /api/plagiarism/reports/{id}         .12  160  .50 vendor  404:.1
quiz      POST   /quiz/attempts                       .06  180  .45 student 409:.02           | quiz      GET    /quiz/attempts/{id}                  .15  60   .40 student 404:.01
quiz      PUT    /quiz/attempts/{id}/answers          .35  38   .40 student 409:.006          | quiz      POST   /quiz/attempts/{id}/submit           .05  240  .45 student 409:.02
quiz      GET    /quiz/banks/{id}/questions           .09  130  .50 vendor                    | video     GET    /video/lectures/{id}                 1.3  40   .45 student 404:.006
video     GET    /video/lectures/{id}/manifest        1.5  28   .60 student                   | video     POST   /video/lectures/{id}/progress        6    16   .40 student 401:.008
video     POST   /video/uploads                       .02  4200 .70 capture                   | library   GET    /library/search                      2.4  310  .85 public  400:.006
library   GET    /library/items/{id}                  2    58   .60 public  404:.035          | library   POST   /library/loans                       .07  140  .45 student 409:.06
timetable GET    /timetable/users/{id}/week           2.6  70   .45 student 304:.15           | timetable GET    /timetable/feeds/{id}                2.2  34   .45 feed    304:.55 404:.03
timetable GET    /timetable/rooms/{id}                .3   32   .40 student                   | campus    GET    /canteen/menu                        .8   22   .40 public  304:.3
campus    POST   /print/jobs                          .13  320  .55 student 402:.03           | mobile    GET    /mobile/v2/home                      4.2  130  .50 app     401:.015
mobile    GET    /mobile/v3/home                      0    105  .50 app     401:.012          | mobile    GET    /mobile/v2/notifications             3    26   .40 app     304:.3
lti       POST   /lti/launch                          .55  190  .50 plug-in 400:.008          | roster    PUT    /roster/enrolments/{id}              0    75   .40 batch   404:.02
"""
STRAYS = ["/health", "/robots.txt", "/wp-login.php", "/.env", "/admin/config.php", "/phpmyadmin/index.php"]

MIX = {
    "student": {"lms-web": 54, "ios": 20, "android": 17, "android-old": 2, "fac-law": 2, "fac-med": 2, "fac-eng": 3}, "batch": {"roster-sync": 1},
    "app": {"ios": 51, "android": 43, "android-old": 6}, "staff": {"lms-web": 60, "fac-law": 12, "fac-med": 12, "fac-eng": 16},
    "vendor": {"plagio": 40, "proctora": 35, "whiteboardly": 25}, "plug-in": {"lms-web": 40, "proctora": 28, "whiteboardly": 20, "plagio": 12},
    "public": {"guest": 42, "lms-web": 30, "ios": 12, "android": 10, "kiosk": 6}, "feed": {"calendar": 1}, "capture": {"capture": 1},
}  # fmt: skip
HABITS = [("fac-med", "/api/courses/{id}", 403, 0.3), ("kiosk", "/library/items/{id}", 404, 0.25), ("whiteboardly", "/lti/launch", 400, 0.06)]  # fmt: skip
AGENTS = {"lms-web": "Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko/20100101 Firefox/138.0", "ios": "CampusApp/5.4.1 (iPhone; iOS 18.4)",
          "android": "CampusApp/5.4.0 (Android 15; okhttp/4.12)", "android-old": "CampusApp/4.9.7 (Android 11; okhttp/4.9)"}  # fmt: skip
NAMELESS = {
    "guest": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36",
    "calendar": "iCalendar-client/1.0 (macOS 15.4)", "harvester": "python-requests/2.28.1", "scanner": "Mozilla/5.0 zgrab/0.x",
    "crawler": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "monitor": "UptimeRobot/2.0 (+http://www.uptimerobot.com/)",
}  # fmt: skip
CLIENTS = sorted({name for mix in MIX.values() for name in mix} | set(NAMELESS))
NODES = {"edge-a": 0.36, "edge-b": 0.33, "edge-c": 0.31}


@dataclass(frozen=True)
class Scenario:
    """Faults that may happen: where, at which hours of the university's day they begin, minutes, and how strong, drawn from ranges.

    where: one of several routes ("METHOD path", +: all of them), "@service" or "=client". strength: share of calls that fail or are lost,
    factor on durations or on traffic. times: how many; spells: parts of each, with pauses between.
    """

    kind: str
    where: str
    hours: tuple[float, float]
    minutes: tuple[float, float]
    strength: tuple[float, float]
    code: int | None = None
    times: int = 1
    spells: int = 1


SCENARIOS = [
    Scenario("node_outage", "", (8, 21), (8, 35), (0.15, 0.8), 503),
    Scenario("latency_drift", "GET /api/courses/{id}/modules,GET /timetable/users/{id}/week,GET /video/lectures/{id}/manifest,GET /mobile/v2/notifications", (6, 14), (2000, 4800), (1.2, 1.8), times=2),
    Scenario("low_traffic_fail", "GET /api/courses/{id}/gradebook/export,POST /api/forums/{id}/posts,POST /library/loans,POST /video/uploads", (7, 15), (300, 1700), (0.3, 1), 500, times=2),
    Scenario("validation_regression", "PUT /api/gradebook/entries/{id},POST /api/assignments/{id}/submissions", (9, 17), (400, 2600), (0.03, 0.3), 422),
    Scenario("validation_regression", "POST /print/jobs,POST /sso/saml/acs,POST /lti/launch", (9, 16), (240, 1500), (0.04, 0.25), 400),
    Scenario("latency_step", "GET /api/users/{id}/grades,GET /api/forums/{id}/posts", (9, 18), (120, 1500), (1.15, 2)),
    Scenario("latency_step", "GET /library/search+GET /library/items/{id}", (9, 18), (60, 400), (1.2, 2)),
    Scenario("latency_step", "POST /sso/token,PUT /api/submissions/{id}/files,POST /lti/launch", (8, 20), (40, 300), (1.25, 2.5)),
    Scenario("latency_tail", "GET /video/lectures/{id},GET /api/courses,GET /mobile/v2/home,POST /video/lectures/{id}/progress", (9, 20), (50, 400), (0.02, 0.1), times=2),
    Scenario("error_burst", "POST /api/assignments/{id}/submissions+PUT /api/submissions/{id}/files", (16, 22), (20, 80), (0.06, 0.5), 500),
    Scenario("error_burst", "GET /api/courses/{id}/modules,GET /api/courses/{id},GET /video/lectures/{id}/manifest", (9, 21), (12, 60), (0.02, 0.15), 500),
    Scenario("error_burst", "GET /timetable/rooms/{id},GET /canteen/menu,GET /api/courses/{id}/announcements", (9, 20), (90, 300), (0.07, 0.35), 500, spells=3),
    Scenario("upstream_timeout", "@library", (9, 20), (8, 45), (0.08, 0.8), 504),
    Scenario("upstream_timeout", "@video,@mobile", (8, 20), (5, 25), (0.06, 0.5), 502),
    Scenario("upstream_timeout", "@quiz,@lti,@timetable", (9, 17), (10, 60), (0.15, 0.8), 503),
    Scenario("auth_failure", "POST /sso/saml/acs,GET /sso/userinfo,GET /api/users/{id}/grades", (8, 18), (25, 140), (0.05, 0.45), 401),
    Scenario("auth_failure", "=fac-eng,=proctora,=plagio,=fac-law", (8, 15), (60, 500), (0.7, 1), 401),
    Scenario("rate_limit", "=proctora,=whiteboardly,=plagio", (8, 17), (40, 240), (0.4, 0.95), 429),
    Scenario("rate_limit", "GET /mobile/v2/notifications,GET /api/courses,GET /timetable/feeds/{id}", (8, 19), (15, 120), (0.02, 0.3), 429),
    Scenario("traffic_drop", "POST /video/lectures/{id}/progress,GET /timetable/users/{id}/week,GET /library/search,POST /lti/launch", (9, 19), (30, 240), (0.3, 0.95), times=2),
    Scenario("silence", "GET /timetable/feeds/{id},PUT /roster/enrolments/{id},GET /api/submissions/{id}", (3.9, 4.1), (200, 700), (1, 1)),
    Scenario("traffic_spike", "GET /api/courses/{id}/announcements,GET /timetable/rooms/{id}", (8, 20), (20, 150), (1.7, 5)),
    Scenario("polling_storm", "GET /mobile/v2/notifications,GET /api/submissions/{id}", (8, 20), (30, 240), (1.5, 4)),
    Scenario("new_code", "PUT /api/submissions/{id}/files,GET /api/users/{id}/grades", (9, 18), (90, 600), (0.03, 0.3), 415),
    Scenario("new_code", "GET /video/lectures/{id},GET /library/items/{id}", (9, 18), (60, 500), (0.01, 0.15), 451),
]  # fmt: skip


@dataclass
class Calls(Columns):
    """Arrays, one entry per call; at: seconds; endpoint: in the catalog, behind it STRAYS; seconds: how long it took; who: its user."""

    at: np.ndarray
    endpoint: np.ndarray
    client: np.ndarray
    node: np.ndarray
    status: np.ndarray
    seconds: np.ndarray
    who: np.ndarray


@dataclass
class Fault(Hinted):
    """A planted fault; affected: calls by endpoint; figures: what one sees of it, by which it is graded."""

    strength: float = 0.0
    detectable: bool = False
    affected: dict[int, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `campus`, or `quiet-campus` for the same one without faults. At least 20 endpoints and 6 days."""
    random = np.random.default_rng([seed, 2026])
    campus = Campus(random, endpoints, days, calls_per_minute)
    calls = campus.traffic()
    faults = [] if profile.startswith("quiet") else planned(random, campus)
    calls = strike(random, faults, calls)
    calls = campus.kept(calls.and_those(strike(random, faults, campus.tried_again(calls), moves_traffic=False)))
    for fault in faults:
        fault.endpoints = sorted(endpoint for endpoint, count in fault.affected.items() if count >= 2)
    grade(campus, faults, calls)
    told = [label(
        number, fault, WEDNESDAY + fault.start, WEDNESDAY + fault.end, SIGNAL, fault.endpoints, sum(fault.affected.values()),
        figures=fault.figures, detectable=fault.detectable) for number, fault in enumerate(faults)]  # fmt: skip
    ambiguous = [dict(zip(("what", "start", "end", "endpoints"), one, strict=True)) for one in campus.ambiguous]
    when = {"t0": WEDNESDAY, "minutes": days * DAY}
    labels = when | {"faults": told, "ambiguous": ambiguous}
    return World(campus.logged(calls), labels, when | {"endpoints": campus.catalog})


def hill(hour: np.ndarray, middle: float, width: float) -> np.ndarray:
    """Height 1 in the middle, next to nothing beyond twice the width."""
    return np.exp(-(((hour - middle) / width) ** 2))


class Campus:
    """Who calls what, and how it is answered when nothing is wrong.

    rate: expected calls per (endpoint, minute); slowness: factor on durations per (service, minute); mood: factor on 5xx likewise, high
    in the minute of a restart; gaps: spans without a log, of a node (0: all).
    """

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, calls_per_minute: float) -> None:
        self.random, self.days, self.minutes = random, days, days * DAY
        table = [row.split() for line in ROUTES.strip().splitlines() for row in line.split("|")]
        picked = np.linspace(0, len(table) - 1, min(endpoints, len(table))).round().astype(int)
        self.rows = [table[picked[i % len(picked)]] for i in range(endpoints)]
        self.names = [f"{row[1]} {row[2]}" for row in self.rows]
        sites = [f"/site{i // len(picked)}" if i >= len(picked) else "" for i in range(endpoints)]
        self.paths = [site + row[2] for site, row in zip(sites, self.rows, strict=True)]
        self.service, self.verbs = ([row[i] for row in self.rows] for i in (0, 1))
        self.services = sorted(set(self.service))
        self.typical_s, self.spread = (np.array([float(row[i]) for row in self.rows]) for i in (4, 5))
        self.typical_s = self.typical_s / 1000 * random.lognormal(0, 0.2, endpoints)
        named = {"id": range(endpoints), "method": self.verbs, "path": self.paths, "upstream": self.service}
        self.catalog = pl.DataFrame(named).to_dicts()
        self.local = np.arange(self.minutes) + AHEAD
        self.hour, self.day = self.local % DAY / 60, self.local // DAY
        lost = random.uniform(5, days - 1, 2) * DAY * 60
        self.gaps = list(zip(lost, lost + random.uniform([6, 20], [18, 70]) * 60, [0, 2], strict=True))
        self.ambiguous: list[tuple[str, int, int, list[int]]] = []
        self.mood = np.exp(np.stack([ornstein(random, self.minutes, 90, 0.7) for _ in self.services]))
        self.mood[random.integers(len(self.services), size=days), random.integers(self.minutes, size=days)] = 100
        self.rate = self._habitual() + self._events()
        self.rate *= calls_per_minute * self.minutes / self.rate.sum()
        self.slowness = self._slowness()

    def of(self, *names: str) -> list[int]:
        """Endpoints of these names, "METHOD path", at all sites."""
        return [i for i, name in enumerate(self.names) if name in names]

    def _habitual(self) -> np.ndarray:
        """Calls per (endpoint, minute) as any week has them, with the semester's slow growth."""
        hour, random, weekday = self.hour, self.random, (self.day + 2) % 7
        free = np.where((weekday >= 5) | (self.day == HOLIDAY), 1.0, np.where(self.day == BRIDGE, 0.6, 0.0))
        daily = 0.05 + 0.9 * hill(hour, 10.5, 2.6) + 0.85 * hill(hour, 14.8, 2.3) + 0.75 * hill(hour, 20.3, 2.8)
        lazy = 0.05 + 0.42 * hill(hour, 11.5, 3) + 0.45 * hill(hour, 15, 3) + 0.55 * hill(hour, 20.3, 2.8)
        people = np.where(free == 1, lazy, daily * (1 - 0.42 * free))
        office = 0.02 + (hill(hour, 10.2, 2.2) + 0.9 * hill(hour, 14.3, 2.2)) * (1 - 0.92 * free)
        begun = (hour * 60 - 495) % 120  # minutes since a lecture began: at 8:15, 10:15, …, each for 90 minutes
        change = 1 + 0.9 * (1 - free) * (((begun > 108) | (begun < 4)) & (hour > 7.9) & (hour < 16.6))
        on_the_hour = np.where(self.local % 60 == 0, 9.0, np.where(self.local % 30 == 0, 4.0, 0.8))
        shapes = dict.fromkeys(MIX, people) | {
            "app": people * change, "staff": office, "vendor": 0.4 * office + 0.6 * people, "feed": on_the_hour * (0.5 + 0.5 * people),
            "capture": 0.02 + 6 * (1 - free) * hill(begun, 96, 6) * (hour > 8) * (hour < 18.5),
        }  # fmt: skip
        common = random.lognormal(0, 0.05, self.days + 1)[self.day] * (1 + 0.008 * self.local / DAY)
        weights = np.array([float(row[3]) for row in self.rows]) * random.lognormal(0, 0.25, len(self.rows))
        rate = np.stack([shapes[row[6]] / shapes[row[6]].mean() for row in self.rows]) * weights[:, None] * common
        given = np.clip((self.local / DAY - 6.4) / 7, 0, 1) * 0.3  # the app's next version, day by day to a few more
        for old, new in zip(self.of("GET /mobile/v2/home"), self.of("GET /mobile/v3/home"), strict=False):
            rate[new], rate[old] = rate[old] * given, rate[old] * (1 - given)
        return rate

    def _events(self) -> np.ndarray:
        """What the calendar adds, per (endpoint, minute): deadlines, exams and tests, news, batches. Exams are told as ambiguous."""
        random, hour = self.random, self.hour
        extra = np.zeros((len(self.rows), self.minutes))

        def add(rates: dict[str, np.ndarray]) -> None:
            for name, rate in rates.items():
                extra[self.of(name)] += rate

        for day in range(self.days + 1):
            weekday, minute = (day + 2) % 7, self.local - day * DAY
            working = weekday < 5 and day not in (HOLIDAY, BRIDGE)
            size = random.lognormal(0, 0.35) * (2.6 if weekday == 6 else 1 if working else 0.35)
            rush = np.where((self.day == day) & (hour > 17), np.exp((hour - 24) / 1.1), 0)  # hand in until midnight
            rush = size * np.where(self.day == day + 1, np.exp(-hour / 0.15), rush)
            add({"POST /api/assignments/{id}/submissions": 1.3 * rush, "PUT /api/submissions/{id}/files": 1.7 * rush})
            add({"GET /api/assignments/{id}": 2.6 * rush, "GET /api/submissions/{id}": 1.6 * rush})
            lectures = random.choice([8.5, 10.5, 12.5, 14.5, 16.5], 2 if working else 0, replace=False)
            sittings = [(at, random.uniform(10, 28), 20) for at in lectures]  # a test for those in the lecture
            if day in EXAMS:
                sittings.append((9.0, random.uniform(140, 260), 90))
                quiz = [i for i, name in enumerate(self.names) if "quiz/attempts" in name]
                dawn = WEDNESDAY + day * 86_400
                self.ambiguous.append(("exam morning", dawn + 23_400, dawn + 32_400, quiz))
            for at, heads, length in sittings:
                since = minute - at * 60
                sit = heads * ((since > 0) & (since < length))
                add({"POST /quiz/attempts": heads / 5.3 * hill(since, 1, 3)})
                add({"POST /sso/token": heads / 9 * hill(since, -5, 3)})
                add({"PUT /quiz/attempts/{id}/answers": sit / 5, "GET /quiz/attempts/{id}": sit / 25})
                add({"POST /quiz/attempts/{id}/submit": heads / 5.3 * hill(since, length - 2, 3)})
            for at in random.uniform(9 * 60, 19 * 60, random.poisson(2.2 if working else 0.5)):  # news are pushed
                burst = random.uniform(4, 14) * np.where(minute >= at, np.exp(-np.clip(minute - at, 0, 99) / 4), 0)
                add({"GET /mobile/v2/home": burst, "GET /mobile/v2/notifications": 0.8 * burst})
            since = minute - 240 - random.exponential(4)  # roster sync; its length is what changed that day
            add({"PUT /roster/enrolments/{id}": 26 * ((since > 0) & (since < random.uniform(14, 34)))})
            for at in random.uniform(7 * 60, 22 * 60, random.poisson(0.5)):  # a faculty fetches what was handed in
                add({"GET /api/plagiarism/reports/{id}": 9 * ((minute > at) & (minute < at + random.uniform(8, 40)))})
        return extra

    def _slowness(self) -> np.ndarray:
        """Factor on durations per (service, minute): load, what wanders, the backup at night, releases that stay."""
        random, service = self.random, np.array(self.service)
        slowness = np.exp(np.stack([ornstein(random, self.minutes, 70, 0.045) for _ in self.services]))
        released = {"lms": (5.4, random.uniform(1.03, 1.07)), "video": (6.6, 0.93), "sso": (12.3, 1.04)}
        for factor, name in zip(slowness, self.services, strict=True):
            load = np.convolve(self.rate[service == name].sum(0), np.ones(5) / 5, "same")
            factor *= 1 + random.uniform(0.1, 0.35) * np.clip(load / np.quantile(load, 0.995), 0, 1.4) ** 2
            if name in ("lms", "library", "roster"):
                factor[(self.hour >= 3) & (self.hour < 3.6)] *= random.uniform(1.1, 1.3)
            day, change = released.get(name, (0, 1.0))
            factor[int(day * DAY) :] *= change
        return slowness

    def traffic(self) -> Calls:
        """The first calls of people, programs and bots, answered."""
        random, parts = self.random, []
        shared = {name: ornstein(random, self.minutes, 60, 0.07) for name in self.services}
        for endpoint, row in enumerate(self.rows):
            noise = ornstein(random, self.minutes, 45, 0.07) + shared[row[0]]
            at = arrivals(random, self.rate[endpoint] * np.exp(noise))
            share = np.array([MIX[row[6]].get(name, 0) for name in CLIENTS], float)
            client = random.choice(len(CLIENTS), len(at), p=share / share.sum())
            parts.append(self.answered(at, np.full(len(at), endpoint), client))
        return parts[0].and_those(*parts[1:], *self._bots())

    def _bots(self) -> Iterator[Calls]:
        """A crawler, a monitor, scanners, and one harvester of the library's catalog, which is told as ambiguous."""
        random, stray, end = self.random, len(self.rows), self.minutes * 60

        def by(name: str, at: np.ndarray, endpoints: list[int]) -> Calls:
            return self.answered(at, random.choice(endpoints, len(at)), np.full(len(at), CLIENTS.index(name)))

        library = self.of("GET /library/items/{id}", "GET /library/search")
        crawl = arrivals(random, 0.5 * np.exp(ornstein(random, self.minutes, 180, 1)))
        yield by("crawler", crawl, [*library, stray + 1])
        yield by("monitor", np.arange(17.0, end, 60) + random.normal(0, 0.3, self.minutes), [stray])
        for begin in random.uniform(0, end, self.days // 2):
            probes = begin + random.uniform(0, 240, random.integers(20, 90))
            yield by("scanner", probes, [*range(stray + 2, stray + len(STRAYS))])
        begin = (random.integers(5, self.days) * 24 - random.uniform(1, 5)) * HOUR
        yield by("harvester", begin + random.uniform(0, 1.5 * HOUR, 1200), library)
        self.ambiguous.append(("harvester", int(WEDNESDAY + begin), int(WEDNESDAY + begin + 1.5 * HOUR), library))

    def answered(self, at: np.ndarray, endpoint: np.ndarray, client: np.ndarray) -> Calls:
        """These calls with node, status and duration, as on a good day: heavy tails, habitual 4xx, a few 5xx, clients that give up."""
        random, n, strays = self.random, len(at), endpoint >= len(self.rows)
        known = np.where(strays, 0, endpoint)
        service = np.array([self.services.index(name) for name in self.service])[known]
        minute = np.clip(at // 60, 0, self.minutes - 1).astype(int)
        seconds = self.typical_s[known] * random.lognormal(0, self.spread[known]) * self.slowness[service, minute]
        seconds *= np.where(random.random(n) < 0.012, 2 + random.pareto(1.7, n), 1)
        status = np.array([{"POST": 201, "DELETE": 204}.get(verb, 200) for verb in self.verbs])[known]
        dice = random.random(n)
        for number in np.unique(endpoint[~strays]):
            row, mine, below = self.rows[number], endpoint == number, 0.0
            for code, share in (part.split(":") for part in row[7:]):
                status[mine & (dice >= below) & (dice < below + float(share))] = int(code)
                below += float(share)
            for name, path, habit, often in HABITS:
                if path == row[2]:
                    status[mine & (client == CLIENTS.index(name)) & (dice > 1 - often)] = habit
        failing = np.flatnonzero(random.random(n) < 0.0011 * self.mood[service, minute])
        status[failing] = random.choice([500, 500, 500, 502, 503], len(failing))
        status = np.where(strays, np.where(endpoint < len(self.rows) + 2, 200, 404), status)
        seconds = np.where(strays, 0.004, np.where((status >= 400) & (status < 500), seconds * 0.4, seconds))
        status = np.where(seconds > TIMEOUT_S, 504, np.where((seconds > 9) & (random.random(n) < 0.3), 499, status))
        who = np.minimum(random.pareto(0.9, n) * 40, 20_000).astype(int)
        node = random.choice(len(NODES), n, p=list(NODES.values()))
        return Calls(at, endpoint, client, node, status, np.minimum(seconds, TIMEOUT_S), who)

    def tried_again(self, calls: Calls) -> Calls:
        """Second calls of those who met a 5xx, and of programs that met a 429, answered anew, some seconds later."""
        chance = np.where(calls.status >= 500, 0.4, np.where(calls.status == 429, 0.15, 0))
        first = calls.where(self.random.random(len(calls)) < chance)
        later = first.at + first.seconds + 0.3 + self.random.exponential(3, len(first))
        return replace(self.answered(later, first.endpoint, first.client), who=first.who)

    def kept(self, calls: Calls) -> Calls:
        """The calls that the log has, in order of time: some are lost in gaps."""
        keep = calls.at < self.minutes * 60
        for start, end, node in self.gaps:
            keep &= (calls.at < start) | (calls.at >= end) | ((calls.node != node) if node else False)
        return calls.where(np.flatnonzero(keep)[np.argsort(calls.at[keep], kind="stable")])

    def logged(self, calls: Calls) -> pl.DataFrame:
        """at (seconds since the epoch) and line, as worlds.LOG_FORMAT writes them."""
        paths = [path + "?q={id}" * path.endswith("/search") for path in [*self.paths, *STRAYS]]
        before, mark, behind = zip(*(path.partition("{id}") for path in paths), strict=True)
        verbs, upstreams = self.verbs + ["GET"] * len(STRAYS), self.service + ["lms"] * len(STRAYS)
        routes = pl.DataFrame({"before": before, "mark": mark, "behind": behind, "verb": verbs, "upstream": upstreams})
        agents = [(AGENTS | NAMELESS).get(name, f"{name}-client/2.{len(name)}") for name in CLIENTS]
        clients = pl.DataFrame({"user": ["-" if name in NAMELESS else name for name in CLIENTS], "agent": agents})
        size = np.where(calls.status < 300, 700, 180) * self.random.lognormal(0, 0.7, len(calls))
        host = np.where(calls.who % 3 == 0, 0, calls.who % 251)  # a third sits on campus, behind one address
        return pl.DataFrame({
            "at": calls.at + WEDNESDAY, "status": calls.status, "seconds": calls.seconds, "bytes": size.astype(int), "net": calls.client,
            "host": host, "id": 10_000 + calls.who, "node": pl.Series(list(NODES))[calls.node],
        }).hstack(clients[calls.client]).hstack(routes[calls.endpoint]).select("at", line=pl.format(
            '10.7.{}.{} - {} [{}+00:00] "{} {}{}{} HTTP/1.1" {} {} "-" "{}" {} {} {} {}', "net", "host", "user",
            pl.from_epoch(pl.col("at").cast(pl.Int64)).dt.strftime("%Y-%m-%dT%H:%M:%S"), "verb", "before",
            pl.when(pl.col("mark") == "").then(pl.lit("")).otherwise(pl.col("id").cast(pl.String)), "behind", "status", "bytes", "agent",
            pl.col("at").round(3), pl.col("seconds").round(3), "upstream", "node",
        ))  # fmt: skip


def planned(random: np.random.Generator, campus: Campus) -> list[Fault]:
    """A fault of every scenario, from the fifth day on, hours away from others on its endpoints (but for clients' and a node's) and gaps."""
    faults: list[Fault] = []
    for scenario in (one for one in SCENARIOS for _ in range(one.times)):
        for _ in range(300):
            fault = _drawn(random, campus, scenario)
            taken = [(start - HOUR, end + HOUR) for start, end, _ in campus.gaps]
            for other in faults:
                apart = fault.consumer or other.consumer or other.node or not {*other.endpoints} & {*fault.endpoints}
                taken += [] if apart else [(other.start - 4 * HOUR, other.end + 4 * HOUR)]
            inside = fault.start > 4 * DAY * 60 and fault.end < campus.minutes * 60
            if fault.endpoints and inside and all(fault.end < begin or fault.start > end for begin, end in taken):
                faults.append(fault)
                break
    return sorted(faults, key=lambda fault: fault.start)


def _drawn(random: np.random.Generator, campus: Campus, scenario: Scenario) -> Fault:
    """One fault of a scenario, anywhere in the world's time."""
    where = str(random.choice(scenario.where.split(",")))
    start = (random.integers(4, campus.days) * DAY - AHEAD + random.uniform(*scenario.hours) * 60) * 60
    length, strength = (float(np.exp(random.uniform(*np.log(of)))) for of in (scenario.minutes, scenario.strength))
    piece = length * 60 / (2 * scenario.spells - 1)
    spans = [(start + 2 * i * piece, start + (2 * i + 1) * piece) for i in range(scenario.spells)]
    fault = Fault(scenario.kind, "hard", spans, [], scenario.code, strength=strength)
    fault.consumer = "android" if fault.kind == "polling_storm" else None  # an app that asks again and again
    if not where:
        fault.endpoints, fault.node = list(range(len(campus.rows))), str(random.choice(list(NODES)))
    elif where[0] in "@=":
        fault.upstream, fault.consumer = (where[1:] if where[0] == sign else None for sign in "@=")
        fault.endpoints = [i for i, row in enumerate(campus.rows) if where[1:] in (row[0], *MIX[row[6]])]
    elif found := campus.of(*where.split("+")):
        fault.endpoints = found if "+" in where else [int(random.choice(found))]
    return fault


def strike(random: np.random.Generator, faults: list[Fault], calls: Calls, *, moves_traffic: bool = True) -> Calls:
    """The calls as the faults leave them; counts what they touch. moves_traffic: False where calls are already fewer or more."""
    for fault in faults:
        everybody = fault.inside(calls.at) & np.isin(calls.endpoint, fault.endpoints)
        theirs = calls.client == CLIENTS.index(fault.consumer) if fault.consumer else True
        there = calls.node == list(NODES).index(fault.node) if fault.node else True
        rows = np.flatnonzero(everybody & theirs & there)
        if fault.kind not in ("latency_step", "latency_drift", "traffic_spike", "polling_storm"):
            rows = rows[random.random(len(rows)) < fault.strength]
        if SIGNAL.get(fault.kind) == "traffic" and not moves_traffic:
            continue
        more = None
        if fault.kind in ("traffic_spike", "polling_storm"):
            rows = random.choice(rows, int((fault.strength - 1) * everybody.sum()) if len(rows) else 0)
            more = replace(calls.where(rows), at=random.uniform(fault.start, fault.end, len(rows)))
        for endpoint, count in zip(*np.unique(calls.endpoint[rows], return_counts=True), strict=True):
            fault.affected[int(endpoint)] = fault.affected.get(int(endpoint), 0) + int(count)
        if more:
            calls = calls.and_those(more)
        elif SIGNAL.get(fault.kind) == "traffic":
            calls = calls.where(np.setdiff1d(np.arange(len(calls)), rows, assume_unique=True))
        elif SIGNAL.get(fault.kind) == "latency":
            drift = 1 + (fault.strength - 1) * (calls.at[rows] - fault.start) / (fault.end - fault.start)
            known = {"latency_drift": drift, "latency_tail": random.uniform(4, 9, len(rows))}
            calls.seconds[rows] *= known.get(fault.kind, fault.strength)
        else:
            calls.status[rows] = fault.code
            failing = calls.seconds[rows] * (0.9 if fault.code == 500 else 0.25)
            calls.seconds[rows] = TIMEOUT_S + failing % 0.01 if fault.code == 504 else failing
    return calls


# Least effect, calls and deviations from the endpoint's own noise, by grade; picked by looking at tables of hours.
ERRORS = {"hard": (0, 4.5, 4), "medium": (0.05, 9, 6), "easy": (0.15, 15, 8)}
LATENCY = {"hard": (1, 10, 3), "medium": (1.3, 20, 4.5), "easy": (1.8, 20, 6)}
TAIL = {"hard": (1, 10, 3), "medium": (1.5, 20, 4.5), "easy": (2.5, 20, 7)}
TRAFFIC = {"hard": (1, 10, 3), "medium": (2, 20, 4), "easy": (5, 30, 5)}


def grade(campus: Campus, faults: list[Fault], calls: Calls) -> None:
    """Grade every fault by where it shows best: on one of its endpoints or, for errors, on all together. calls: in order of time."""
    for fault in faults:
        limits = {"latency": LATENCY, "traffic": TRAFFIC}.get(SIGNAL.get(fault.kind, ""), ERRORS)
        limits = TAIL if fault.kind == "latency_tail" else limits
        for place in [*([i] for i in fault.endpoints), *([fault.endpoints] if limits is ERRORS else [])]:
            busy = [span for other in faults if set(other.endpoints) & set(place) for span in other.spans]
            mine = calls.where(np.isin(calls.endpoint, place))
            seen = (_failed if limits is ERRORS else _moved)(campus, fault, mine, busy)
            reached = [name for name, least in limits.items() if all(np.array(seen) >= least)]
            best = (list(limits).index(fault.grade) + fault.detectable, fault.figures.get("z", -1))
            if (len(reached), seen[2]) > best:
                fault.grade, fault.detectable = (reached or ["hard"])[-1], bool(reached)
                fault.figures = dict(zip(("effect", "calls", "z"), np.round(seen, 3).tolist(), strict=True))


def _moved(campus: Campus, fault: Fault, calls: Calls, busy: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Factor by which a fault moves durations or traffic, its calls, and z against the same time of other days. busy: spans of faults."""
    traffic, place = SIGNAL[fault.kind] == "traffic", np.unique(calls.endpoint)
    rank, scatter = (0.97, 2.5) if fault.kind == "latency_tail" else (0.5, 1.25)
    length = min(fault.end - fault.start, 8 * HOUR)
    start = fault.end - length if fault.kind == "latency_drift" else fault.start

    def figure(begin: float) -> tuple[float, float, float]:
        """Logarithm of what is seen from here on, calls it is made of, its least noise."""
        one = slice(*np.searchsorted(calls.at, [begin, begin + length]))
        if traffic:
            told = campus.rate[place, int(begin / 60) : int(np.ceil((begin + length) / 60))].sum()
            return np.log((len(calls.at[one]) + 0.5) / (told + 0.5)), told, (told + 1) ** -0.5
        good = np.log(calls.seconds[one][calls.status[one] < 400])
        return (np.quantile(good, rank), len(good), scatter * np.std(good) * len(good) ** -0.5) if len(good) else (0, 0, 1)  # fmt: skip

    days, (here, weight, least) = np.arange(-campus.days, campus.days), figure(start)
    begins = np.concatenate([start + days * 86_400 + shift * length for shift in (-0.5, 0, 0.5)])
    others = [figure(at) for at in begins if _free(campus, busy, at, at + length)]
    usual = [seen for seen, count, _ in others if count >= max(5, 0.3 * weight)]
    if len(usual) < 4 or weight < 5:
        return 0.0, 0.0, 0.0
    change = (here - np.median(usual)) * (-1 if fault.kind in ("traffic_drop", "silence") else 1)
    count = abs(np.exp(here) - 1) * weight if traffic else weight
    return np.exp(change), count, change / max(np.std(usual, ddof=1), least)


def _failed(campus: Campus, fault: Fault, calls: Calls, busy: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The share of calls that fail beyond the usual, how many, and z against other hours of the same calls. busy: spans of faults."""
    bad = calls.status >= 500 if fault.code in (500, 502, 503, 504) else calls.status == fault.code
    edges = np.arange(0, campus.minutes * 60 + 1, HOUR)
    free = np.array([_free(campus, busy, at, at + HOUR) for at in edges[:-1]])
    n, k = (np.histogram(at, edges)[0][free] for at in (calls.at, calls.at[bad]))
    share = (k.sum() + 0.5) / (n.sum() + 1)
    scatter = max(1.0, np.mean((k - n * share) ** 2 / (n * share + 0.1)))
    mine = bad[fault.inside(calls.at)]
    excess = mine.sum() - len(mine) * share
    return excess / max(len(mine), 1), excess, excess / (scatter * len(mine) * share + 1) ** 0.5


def _free(campus: Campus, busy: list[tuple[float, float]], start: float, stop: float) -> bool:
    """Whether a span lies in the world's time and outside of faults."""
    return start >= 0 and stop <= campus.minutes * 60 and all(stop <= begin or start >= end for begin, end in busy)
