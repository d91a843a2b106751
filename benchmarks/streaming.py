"""A world of a blind evaluation: the gateway of a service that streams films, series, live channels and music.

People watch in the evening and listen on their way to work; television sets poll the programme guide on the quarter of an hour and report every
minute how far one has seen; premieres, new music and matches have their hours. A large operator's customers come by one client name, studios
upload when they are ready, partners of advertising send packs of beacons. Written without looking at the detector or its scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
import planted
import polars as pl
from calls import arrivals, ornstein, peak, wave
from planted import Fault, Split, Strength
from services import Calls, Route, Sent, Services, delayed, packs, probed, refused_sooner, sent, with_tail
from worlds import DAY, World, wander

WHIT_MONDAY = 7  # a day of the world, which begins on a Monday
SUMMER_TIME = 120  # minutes that people's clocks are ahead of UTC
NODES, ANONYMOUS = ["gw-fra-1", "gw-fra-2", "gw-ber-1"], "-"
#: Client names of people's devices: share of what people do, how their day looks, number of addresses, what they call themselves.
FAMILIES = {
    "tv-tizen": (0.16, "tv", 400, "Lumo/6.2 (Tizen 7.0; SmartTV)"), "tv-webos": (0.13, "tv", 400, "Lumo/6.2 (webOS 23; LGE)"),
    "tv-android": (0.11, "tv", 400, "Lumo/6.4 (Android TV 12)"), "console": (0.04, "tv", 100, "Lumo/3.9 (Console)"),
    "phone-ios": (0.14, "phone", 900, "Lumo/11.3 (iPhone; iOS 19.4)"), "phone-android": (0.15, "phone", 900, "Lumo/11.1 (Android 15)"),
    "web": (0.11, "web", 700, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/139.0"), "telekon": (0.13, "box", 4, "TelekonBox/4.1"), "kabelnord": (0.03, "box", 2, "KN-STB/2.7"),
}  # fmt: skip
#: The others: number of addresses, what they call themselves.
PROGRAMS = {
    "adx-north": (6, "adx-beacon/2.3"), "adx-south": (4, "okhttp/4.12.0"), "studio-atlas": (2, "aspera-http/4.4"), "studio-mira": (2, "python-requests/2.32"),
    "studio-kino": (1, "curl/8.7.1"), "transcoder": (5, "Go-http-client/2.0"), "billing": (2, "billing-worker/1.8"), "recs-trainer": (3, "python-httpx/0.28"),
    "indexer": (2, "indexer/0.9"), "flixguide": (3, "FlixGuideFeed/1.2"), "probe": (2, "kube-probe/1.31"),
    ANONYMOUS: (40, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
}  # fmt: skip
NAMES = [*FAMILIES, *PROGRAMS]
NUMBER = {name: number for number, name in enumerate(NAMES)}
TV, PHONES = ("tv-tizen", "tv-webos", "tv-android", "console", "telekon", "kabelnord"), ("phone-ios", "phone-android")
#: Which families call endpoints of a kind, other than all; the rest of the kinds are programs' own.
CALLED_BY: dict[str, tuple[str, ...]] = {
    "watch": tuple(FAMILIES), "browse": tuple(FAMILIES), "beat": tuple(FAMILIES), "guide": TV, "code": TV[:5],
    "music": (*PHONES, "web", "tv-android"), "phone": PHONES, "app": (*PHONES, "web"), "widevine": ("phone-android", "tv-android", "web"),
    "fairplay": ("phone-ios",), "playready": ("tv-tizen", "tv-webos", "console", "telekon", "kabelnord"), "operator": ("telekon", "kabelnord"),
}  # fmt: skip
ROUTES: list[Route] = [
    ("playback", "PUT", "/v2/playback/sessions/{id}/heartbeat", 10.0, 18, 0.35, "beat", {404: 0.004, 409: 0.005}),
    ("playback", "POST", "/v2/playback/sessions", 1.7, 95, 0.45, "watch", {403: 0.012, 409: 0.02}),
    ("playback", "GET", "/v2/playback/manifests/{id}", 1.9, 45, 0.4, "watch", {404: 0.004}),
    ("playback", "DELETE", "/v2/playback/sessions/{id}", 1.1, 30, 0.35, "watch", {404: 0.05}),
    ("license", "POST", "/v2/licenses/widevine", 1.2, 70, 0.4, "widevine", {403: 0.01}),
    ("license", "POST", "/v2/licenses/fairplay", 0.5, 85, 0.4, "fairplay", {403: 0.008}),
    ("license", "POST", "/v2/licenses/playready", 1.0, 75, 0.4, "playready", {403: 0.015}),
    ("license", "POST", "/v2/licenses/{id}/renew", 0.6, 50, 0.4, "watch", {403: 0.02, 410: 0.01}),
    ("progress", "PUT", "/v2/profiles/{id}/progress", 4.6, 25, 0.4, "beat", {404: 0.002}),
    ("progress", "GET", "/v2/profiles/{id}/continue", 1.7, 60, 0.5, "browse", {}),
    ("catalog", "GET", "/v2/home/rows", 2.6, 110, 0.5, "browse", {304: 0.22}),
    ("catalog", "GET", "/v2/home/feed", 1.6, 130, 0.5, "phone", {304: 0.1}),
    ("catalog", "GET", "/v2/titles/{id}", 3.0, 40, 0.5, "browse", {304: 0.1, 404: 0.02}),
    ("catalog", "GET", "/v2/titles/{id}/episodes", 1.2, 55, 0.5, "browse", {304: 0.08, 404: 0.006}),
    ("search", "GET", "/v2/search", 1.3, 140, 0.6, "browse", {400: 0.006}),
    ("recs", "GET", "/v2/recommendations/home", 1.6, 190, 0.55, "browse", {204: 0.01}),
    ("recs", "GET", "/v2/recommendations/similar/{id}", 1.0, 150, 0.55, "browse", {204: 0.03, 404: 0.01}),
    ("recs", "GET", "/v2/recommendations/radio/{id}", 0.6, 220, 0.6, "music", {204: 0.02}),
    ("music", "GET", "/v2/albums/{id}", 0.9, 45, 0.45, "music", {304: 0.12, 404: 0.01}),
    ("music", "GET", "/v2/playlists/{id}", 1.2, 60, 0.5, "music", {304: 0.2, 404: 0.006}),
    ("music", "PUT", "/v2/playlists/{id}/tracks", 0.25, 80, 0.4, "music", {409: 0.02, 400: 0.01}),
    ("music", "GET", "/v2/tracks/{id}/stream", 2.5, 28, 0.4, "music", {403: 0.01}),
    ("music", "GET", "/v2/tracks/{id}/lyrics", 0.8, 35, 0.5, "music", {404: 0.18}),
    ("live", "GET", "/v2/live/channels", 1.2, 30, 0.4, "guide", {304: 0.35}),
    ("live", "GET", "/v2/live/epg", 2.5, 70, 0.5, "guide", {304: 0.4}),
    ("account", "POST", "/v2/auth/token", 0.5, 160, 0.35, "app", {401: 0.06, 400: 0.01}),
    ("account", "POST", "/v2/auth/refresh", 1.8, 55, 0.35, "browse", {401: 0.025}),
    ("account", "POST", "/v2/auth/device-code/poll", 0.7, 22, 0.35, "code", {400: 0.8}),
    ("account", "GET", "/v2/account", 0.55, 65, 0.4, "app", {401: 0.01}),
    ("account", "GET", "/v2/account/entitlements", 1.3, 48, 0.4, "watch", {304: 0.15}),
    ("billing", "POST", "/v2/payments", 0.16, 900, 0.5, "payments", {402: 0.08}),
    ("ads", "POST", "/v2/ads/decisions", 1.8, 85, 0.4, "watch", {204: 0.12}),
    ("ads", "POST", "/v2/ads/impressions", 2.3, 12, 0.4, "beacons", {400: 0.004}),
    ("operators", "GET", "/v2/operators/subscribers/{id}", 0.5, 55, 0.4, "operator", {404: 0.06}),
    ("ingest", "PUT", "/v2/ingest/assets/{id}/chunks", 1.2, 750, 0.6, "studio", {409: 0.01}),
    ("ingest", "GET", "/v2/ingest/jobs/{id}", 0.6, 35, 0.4, "jobs", {404: 0.03}),
    ("ingest", "POST", "/v2/ingest/callbacks", 0.35, 40, 0.4, "hooks", {}),
    ("operators", "POST", "/v2/operators/provision", 0.2, 240, 0.5, "provision", {409: 0.05}),
    ("config", "GET", "/v2/config/{id}", 1.4, 14, 0.35, "browse", {304: 0.55}),
    ("config", "GET", "/v2/status", 0.5, 4, 0.3, "probe", {}),
    ("downloads", "POST", "/v2/downloads", 0.2, 120, 0.5, "phone", {403: 0.03, 409: 0.02}),
]  # fmt: skip
#: What clients are used to be answered although nothing is wrong: client, path, code, share.
HABITS = [
    ("web", "/v2/auth/refresh", 401, 0.09), ("telekon", "/v2/live/channels", 403, 0.05), ("kabelnord", "/v2/titles/{id}", 404, 0.07),
    ("console", "/v2/playback/sessions", 409, 0.06), ("flixguide", "/v2/titles/{id}", 429, 0.12), (ANONYMOUS, "/v2/titles/{id}", 404, 0.15),
    ("tv-webos", "/v2/playback/sessions/{id}/heartbeat", 404, 0.02), ("studio-kino", "/v2/ingest/assets/{id}/chunks", 409, 0.06),
]  # fmt: skip
PERIOD = {"tv": 60.0, "box": 120.0, "phone": 45.0, "web": 60.0}  # seconds between heartbeats while somebody watches; of the progress twice that  # fmt: skip
UNSTEADY = ("studio", "jobs", "hooks", "provision", "payments", "code")  # kinds whose traffic nobody can foretell

#: Kind, how often, median length in minutes; what is long or wide finds its place first.
FAULTS = [
    ("node_outage", 1, 22), ("latency_drift", 2, 1900), ("recurring", 1, 20), ("low_traffic_fail", 2, 420), ("upstream_timeout", 3, 25),
    ("validation_regression", 2, 420), ("new_code", 2, 260), ("latency_step", 3, 170), ("latency_tail", 2, 160), ("error_burst", 3, 45),
    ("auth_failure", 2, 60), ("rate_limit", 2, 75), ("traffic_drop", 2, 90), ("traffic_spike", 2, 60), ("silence", 1, 50),
]  # fmt: skip
STRENGTH = {
    "easy": Strength(0.35, 2.2, 0.22, 0.15, 2.8, 0.6, 0.25), "medium": Strength(0.17, 1.7, 0.13, 0.4, 2.0, 0.35, 0.1),
    "hard": Strength(0.07, 1.5, 0.1, 0.55, 1.65, 0.12, 0.04),
}  # fmt: skip
SHOWN = {"easy": (40, 0.08), "medium": (20, 0.04)}  # least calls that failed, and by how much their share grew
FAR = {"easy": 10.0, "medium": 7.0}  # least z of what is no error


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `streaming`, or `quiet-streaming` for the same one without faults. 36 to 41 endpoints, at least 9 days."""
    random = np.random.default_rng([seed, 2026, 518])
    lumo = Streaming(random, endpoints, days, calls_per_minute)
    lumo.prepare()
    calls = lumo.answered(lumo.traffic())
    calls = calls.and_those(lumo.retried(calls, np.isin(calls.status, [500, 502, 503, 504]), None))
    quiet, strangers = planted.split(calls, endpoints), lumo.strangers()
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, faults = planted.plant(random, FAULTS, calls, partial(lumo.drawn, quiet), lumo.done)
        after = planted.split(calls, endpoints)
        for fault in faults:
            fault.grade = "hard"
            planted.measure(fault, {}, partial(lumo.seen, quiet, after))
            fault.grade = graded(fault)
    return lumo.world([lumo.logged(calls), strangers], planted.labels(faults, lumo, NODES, partial(planted.in_words, lumo, NAMES)))  # fmt: skip


@dataclass
class Visits(Calls):
    """Calls with the number of the client name."""

    who: np.ndarray


class Streaming(Services):
    """What is usual of the service, and what happens on ordinary days. Minutes count from the world's beginning, in UTC."""

    t0 = 1_779_062_400  # Monday 2026-05-18T00:00:00Z

    def prepare(self) -> None:
        random = self.random
        self.open("streaming", ROUTES)
        self.day, self.hour = (self.minute + SUMMER_TIME) // DAY, (self.minute + SUMMER_TIME) / 60 % 24
        self.free = (self.day % 7 >= 5) | (self.day == WHIT_MONDAY)
        self.looks = self.habits_of_day()
        self.named("Whit Monday", WHIT_MONDAY * DAY - SUMMER_TIME, (WHIT_MONDAY + 1) * DAY - SUMMER_TIME, np.arange(self.endpoints))  # fmt: skip
        weather = random.lognormal(0, 0.05, self.days + 1)[self.day] * np.exp(ornstein(random, self.minutes, 180, 0.05))
        self.presence = {name: weather * np.exp(ornstein(random, self.minutes, 240, 0.06)) for name in FAMILIES}
        moods = wander(random, self.endpoints, self.minutes, random.uniform(0.03, 0.1, self.endpoints), 300)
        self.factor *= moods * (1 + 0.004 * self.minute / DAY)
        self.calendar()
        self.releases()
        self.shaky(120, 0.8, 0.006)
        self.gaps(len(NODES), 200)
        self.uploads = self.studios()
        self.held = self.held_back((2, 6 + int(random.integers(self.days - 7))), "ingest")

    def habits_of_day(self) -> dict[str, np.ndarray]:
        """How the day of those with a kind of device looks, per minute; 1 in the mean of ordinary days."""
        hour, free = self.hour, self.free
        shapes = {
            "tv": 0.07 + peak(hour, 20.6, 1.9) + np.where(free, 0.5, 0.2) * peak(hour, 14.5, 2.8),
            "box": 0.09 + peak(hour, 19.8, 2.1) + np.where(free, 0.4, 0.25) * peak(hour, 13.5, 3.0),
            "phone": 0.08 + np.where(free, 0.15, 0.5) * peak(hour, np.where(free, 10.0, 7.8), 1.4) + 0.4 * peak(hour, 12.8, 1.5)
            + np.where(free, 0.3, 0.5) * peak(hour, 17.4, 1.7) + 0.7 * peak(hour, 21.8, 1.7),
            "web": 0.06 + np.where(free, 0.4, 0.6) * peak(hour, 13.5, 3.0) + 0.6 * peak(hour, 20.5, 2.2),
            "office": 0.02 + np.where(free, 0.08, 1.0) * (peak(hour, 10.5, 1.5) + peak(hour, 15.0, 1.8)),
        }  # fmt: skip
        return {name: shape / shape[~free].mean() for name, shape in shapes.items()}

    def calendar(self) -> None:
        """Premieres and matches, new music at midnight, messages to everybody's phone, and the nights on which the operator mends its network."""
        random, minute, music = self.random, self.minute, self.of("music")
        premiere = np.array([*self.of("playback", "license", "progress", "ads"), *(self.path.index(path) for path in ("/v2/account/entitlements", "/v2/titles/{id}", "/v2/live/channels"))])  # fmt: skip
        for day in range(3, self.days, 7):
            evening = day * DAY + 20.25 * 60 - SUMMER_TIME
            self.factor[premiere] *= 1 + random.uniform(0.8, 1.1) * wave(minute, evening - 6, evening + 110, 10, 95) ** 2  # fmt: skip
            self.named("premiere", evening, evening + 110, premiere)
            midnight = (day + 1) * DAY - SUMMER_TIME
            self.factor[music] *= 1 + random.uniform(1.3, 1.9) * wave(minute, midnight - 2, midnight + 120, 5, 110) ** 2
            self.named("new music", midnight, midnight + 120, music)
        football = self.of("live", "playback", "license", "ads")
        shows = [("match", day * DAY + 15.25 * 60, 150, random.uniform(0.4, 0.6)) for day in range(5, self.days, 7)]
        shows.append(("final of a cup that is shown once", 12 * DAY + 19.5 * 60, 180, 0.9))
        for what, begin, length, more in shows[: len(shows) - (self.days <= 12)]:
            begins, ends = begin - SUMMER_TIME, begin - SUMMER_TIME + length
            self.factor[football] *= 1 + more * wave(minute, begins, ends, 30, 25)
            self.named(what, begins, ends, football, ambiguous=what != "match")
        opened = self.of("catalog", "config")
        for at in random.uniform(0.5, self.days, self.days // 3) // 1 * DAY + random.uniform(9, 18, self.days // 3) * 60:  # fmt: skip
            self.factor[opened] *= 1 + random.uniform(0.4, 0.8) * wave(minute, at, at + 45, 2, 42) ** 2
            self.named("message to phones", at, at + 45, opened)
        for day in range(2, self.days, 7):
            night = day * DAY + 60 + random.normal(0, 5)
            self.presence["telekon"] *= np.where((minute >= night) & (minute < night + 80), 0.1, 1)
            self.named("maintenance of the operator", night, night + 80, np.arange(self.endpoints))

    def releases(self) -> None:
        """Services are deployed in office hours; phones get a release that asks for another home page, and Tizen one that reports less often."""
        random = self.random
        for service in range(len(self.services)):
            for _ in range(int(random.integers(1, 3))):
                day = random.choice([day for day in range(self.days) if day % 7 < 4 and day != WHIT_MONDAY])
                self.deployed(service, int(day * DAY + random.uniform(7, 14) * 60), random.uniform(0.2, 0.6), 8, 0.05)
        begins = int(random.uniform(5, min(self.days - 2, 8)) * DAY)
        self.moves("/v2/home/rows", "/v2/home/feed", np.clip((self.minute - begins) / (2.5 * DAY), 0, 1), 0.28)
        self.named("release for phones", begins, begins + 2.5 * DAY, np.array([self.path.index(f"/v2/home/{one}") for one in ("rows", "feed")]))  # fmt: skip
        begins = int(random.uniform(4, self.days - 3) * DAY)
        self.rarer = 0.35 * np.clip((self.minute - begins) / (3 * DAY), 0, 1)
        self.named("release for Tizen", begins, begins + 3 * DAY, self.called_by("beat"))

    def studios(self) -> list[tuple[float, float, str]]:
        """When studios upload: first minute, length in minutes, name; mostly in office hours, when they are ready."""
        random, found = self.random, []
        for day, name in product(range(self.days), ("studio-atlas", "studio-mira", "studio-kino")):
            for _ in range(random.poisson(0.5 if self.free[day * DAY + 720] else 2.2)):
                found.append((day * DAY + np.clip(random.normal(12.5, 3.2), 1, 22) * 60, min(random.lognormal(3.6, 0.5), 150), name))  # fmt: skip
        return found

    def traffic(self) -> Visits:
        """All calls, in order of time, not yet answered."""
        random, parts = self.random, []
        for e in range(self.endpoints):
            callers = self.people if self.kind[e] in CALLED_BY else self.programs
            parts += [(e, some) for some in (*callers(e), *self.guests(e))]
        at, endpoint, who, client = self.in_order(parts)
        n, heartbeat = len(at), (who == NUMBER["tv-tizen"]) & (endpoint == 0)
        calls = Visits(at, endpoint, client, random.integers(0, len(NODES), n), np.zeros(n, dtype=int), np.full(n, 200), np.zeros(n), who)  # fmt: skip
        return calls.where(random.random(n) >= self.rarer[(at // 60).astype(int)] * heartbeat)

    def people(self, e: int) -> list[Sent]:
        """The calls of people's devices to an endpoint, by family."""
        random, kind, found = self.random, self.kind[e], []
        whole = sum(FAMILIES[name][0] for name in CALLED_BY[kind])
        for name in CALLED_BY[kind]:
            share, look, addresses, _ = FAMILIES[name]
            rate = self.rate[e] * share / whole * self.looks[look] * self.presence[name] * self.factor[e]
            if kind == "beat":  # of every visit a train
                period = PERIOD[look] * (1 if "heartbeat" in self.path[e] else 2)
                begun = arrivals(random, rate * period / (43 * 60))
                at, visit = trains(random, begun, np.minimum(random.lognormal(np.log(32), 0.8, len(begun)), 160) * 60 / period, period)  # fmt: skip
            elif kind == "code":  # of every set that waits to be paired
                begun = arrivals(random, rate / 8)
                at, visit = trains(random, begun, random.geometric(1 / 8, len(begun)), 5)
            else:
                at = packs(random, arrivals(random, rate / 1.5), 1.5, 20)
                if self.path[e] == "/v2/live/epg":
                    on_time = random.random(len(at)) < 0.5
                    at[on_time] = at[on_time] // 900 * 900 + random.exponential(25, on_time.sum())
                visit = np.arange(len(at))
            home = (addresses * random.random(int(visit.max(initial=0)) + 1) ** 1.5).astype(int)
            found.append(sent(at, NUMBER[name], home[visit]))
        return found

    def programs(self, e: int) -> list[Sent]:
        """The calls of programs to an endpoint that hardly anybody else calls."""
        random, kind, rate, shaped = self.random, self.kind[e], self.rate[e], self.rate[e] * self.factor[e]
        if kind == "beacons":
            evening = shaped * (0.6 * self.looks["tv"] + 0.4 * self.looks["phone"])
            sent_by = (("adx-north", 0.65, 3, 6), ("adx-south", 0.35, 4, 15))
            return [self.by(name, packs(random, arrivals(random, share * evening / size), size, apart)) for name, share, size, apart in sent_by]  # fmt: skip
        if kind in ("studio", "jobs"):
            after = 0 if kind == "studio" else 40
            busy = rate * self.minutes / sum(length + after for _, length, _ in self.uploads)
            return [self.by(name, self.session(begin, length + after, busy)) for begin, length, name in self.uploads]
        if kind == "hooks":
            done = [begin + length + random.exponential(25, random.poisson(0.7 * rate * self.minutes / len(self.uploads))) for begin, length, _ in self.uploads]  # fmt: skip
            at = np.concatenate([60 * np.concatenate(done), arrivals(random, 0.3 * shaped)])
            return [self.by("transcoder", delayed(random, at, self.held))]
        if kind == "provision":
            day = [self.by(name, arrivals(random, share * rate * self.looks["office"])) for name, share in (("telekon", 0.5), ("kabelnord", 0.15))]  # fmt: skip
            return [*day, self.by("telekon", self.nightly(0.35 * rate, 30, 2, 20, 35))]
        if kind == "payments":
            day = [self.by(name, arrivals(random, share * shaped * self.looks[look])) for name, share, look in (("web", 0.4, "web"), ("phone-ios", 0.2, "phone"))]  # fmt: skip
            return [*day, self.by("billing", self.nightly(0.4 * rate, 180, 1, 15, 25))]
        return [self.by("probe", probed(random, rate, self.minutes * 60))]

    def guests(self, e: int) -> list[Sent]:
        """The calls of batch jobs, feeds and crawlers to an endpoint that people call too."""
        random, path, rate = self.random, self.path[e], self.rate[e]
        if path == "/v2/titles/{id}":
            feed = [self.session(at + random.normal(0, 2), random.uniform(20, 30), 0.1 * rate * 360 / 25) for at in range(100, self.minutes, 360)]  # fmt: skip
            return [self.by("flixguide", np.concatenate(feed)), self.by(ANONYMOUS, self.scraped(rate, 0.05))]
        if path in ("/v2/search", "/v2/albums/{id}"):
            return [self.by(ANONYMOUS, self.scraped(rate, 0.03))]
        if path == "/v2/profiles/{id}/continue":
            return [self.by("recs-trainer", self.nightly(0.08 * rate, 135, 1, 30, 45))]
        if path == "/v2/titles/{id}/episodes":  # when an editor has it done
            return [self.by("indexer", self.session(at, random.uniform(20, 50), 3 * rate)) for at in random.uniform(0, self.minutes, self.days // 2)]  # fmt: skip
        if path in ("/v2/config/{id}", "/v2/account/entitlements"):  # boxes start anew
            return [self.by("telekon", self.nightly(0.06 * rate, 61, 0.5, 8, 12))]
        return []

    def by(self, name: str, at: np.ndarray) -> Sent:
        return sent(at, NUMBER[name], self.random.integers(0, FAMILIES[name][2] if name in FAMILIES else PROGRAMS[name][0], len(at)))  # fmt: skip

    def answered(self, calls: Visits) -> Visits:
        """The calls with status, instance and milliseconds of ordinary days."""
        random, n, e = self.random, len(calls), calls.endpoint
        minute, (instances, used) = (calls.at // 60).astype(int), self.scaled(calls, 5, 1.3)
        slot = (random.random(n) * instances[self.of_service[e], minute]).astype(int)
        answers = [told | {500: 0.6 * bad, 503: 0.2 * bad, 504: 0.2 * bad} for told, bad in zip(self.answers, self.never_good, strict=True)]  # fmt: skip
        status = self.usually(calls, answers, 300, 2)
        for name, path, code, share in HABITS:
            if path in self.path:
                status[(calls.who == NUMBER[name]) & (e == self.path.index(path)) & (random.random(n) < share)] = code
        status[random.random(n) < self.failing[e, minute]] = 503
        self.fall_over(calls, status, slot, 502, 0.5)
        ms = self.takes(calls, used, 0.35)
        self.slow_neighbours(calls, ms, slot)
        tailed = np.isin(e, self.of("recs", "search", "ingest"))
        with_tail(random, heavy := ms[tailed], 1.6)
        ms[tailed] = heavy
        ms = refused_sooner(random, np.where(status == 304, 404, status), ms, [400, 401, 403, 404, 409, 410])
        calls.instance, calls.status = self.of_service[e] * 10 + slot, status
        calls.ms = np.where(status == 504, self.limit[e], np.clip(ms, 1, 29_000))
        return calls

    def retried(self, calls: Visits, failed: np.ndarray, fault: Fault | None) -> Visits:
        """What clients send again after those calls failed."""
        return planted.tried_again(self.random, self, calls, failed, fault, 0.5, (0.7, 1.4), lambda at: self.random.integers(0, len(NODES), len(at)))  # fmt: skip

    def usable(self, kind: str) -> list[int]:
        """Endpoints that a kind of fault can be on."""
        every = [e for e in range(self.endpoints) if self.path[e] not in ("/v2/status", "/v2/home/feed")]
        if kind == "low_traffic_fail":
            return [e for e in every if self.rate[e] < 0.35]
        if kind in (*planted.COUNTED, "latency_drift"):  # trains come and go too much for a drop or a spike
            fickle = (*UNSTEADY, "beat") if kind in ("traffic_drop", "traffic_spike") else UNSTEADY
            return [e for e in every if self.rate[e] > 0.4 and self.kind[e] not in fickle]
        if kind == "validation_regression":
            return [e for e in every if self.method[e] in ("POST", "PUT") or self.service[e] == "search"]
        return every

    def drawn(self, quiet: Split, others: list[Fault], kind: str, grade: str, length: int) -> Fault | None:
        """A fault somewhere; None: it came to lie badly."""
        random = self.random
        slower = STRENGTH[grade].slower * (1.5 if kind == "latency_drift" else 1)  # what creeps goes further
        fault = Fault(kind, grade, [], [], strength=STRENGTH[grade]._replace(slower=slower))
        usable = self.usable(kind)
        met = planted.place(random, fault, length, self, quiet, usable)
        if met is None:
            return None
        if len(fault.endpoints) > 3 and kind != "upstream_timeout":
            fault.endpoints = sorted(int(e) for e in random.choice(fault.endpoints, 3, replace=False))
            met = int(random.choice(quiet.rows[fault.endpoints[0]]))
        fault.code = planted.answer(random, kind, np.unique(quiet.of(fault.endpoints).status))
        if kind == "upstream_timeout":
            fault.upstream = self.service[fault.endpoints[0]]
        elif kind == "node_outage":
            fault.gate, fault.endpoints, fault.strength = int(quiet.calls.gate[met]), usable, STRENGTH[grade if grade == "easy" else "medium"]  # fmt: skip
        elif kind == "error_burst" and random.random() < 0.3:
            fault.instance = int(quiet.calls.instance[met] // 10 * 10 + 1)
        elif kind == "traffic_drop" and random.random() < 0.5:  # its customers cannot reach us
            fault.who, fault.strength = NUMBER["telekon"], STRENGTH["easy"]
            fault.endpoints = [self.path.index(path) for path in ("/v2/live/channels", "/v2/live/epg", "/v2/operators/subscribers/{id}")]  # fmt: skip
        planted.of_one_consumer(random, fault, quiet, met, True, NUMBER[ANONYMOUS])
        if fault.who is not None:  # what only one client meets, it meets often
            fault.strength = fault.strength._replace(fails=2 * fault.strength.fails)
        meets, everybody = planted.met_by(fault, quiet), replace(fault, who=None, gate=None, instance=None)
        few = meets < 120 if fault.code is None else meets * fault.share < max(12, 0.025 * planted.met_by(everybody, quiet))  # fmt: skip
        return fault if not few and planted.stands(fault, self, quiet, others) else None

    def done(self, calls: Visits, fault: Fault) -> Visits:
        """The calls with a fault."""
        random = self.random
        calls, inside, draw = planted.met(random, calls, fault)
        if fault.kind in planted.COUNTED:
            return planted.other_traffic(random, calls, fault, inside, draw)
        hit = np.flatnonzero(inside & (draw < fault.share))
        if fault.kind == "rate_limit":
            return planted.refuse(random, calls, fault, inside, hit)
        if fault.kind in planted.SLOW:
            planted.slow_down(random, calls, fault, inside, draw, 29_500)
            return calls
        if fault.kind == "upstream_timeout":  # what is answered takes longer too
            calls.ms[inside] = np.minimum(calls.ms[inside] * 1.4, 29_500)
        planted.fail(random, calls, hit, fault.code or 500)
        failed = np.isin(np.arange(len(calls)), hit) & (calls.status >= 500)
        return calls.and_those(self.retried(calls, failed, fault))

    def seen(self, quiet: Split, after: Split, fault: Fault) -> planted.Figures:
        """The figures of a fault at its endpoints."""
        mine, changed, since = quiet.of(fault.endpoints), after.of(fault.endpoints), planted.drifted(fault)
        here, usual = changed.where(fault.inside(changed.at)), mine.where(fault.inside(mine.at))
        of_mean = partial(self.z_of_level, since, fault) if fault.kind in planted.SLOW else partial(planted.z_of_mean, fault)  # fmt: skip
        found = planted.figures(fault, mine, here, usual, since, of_mean, partial(self.z_of_count, fault))
        if fault.kind == "latency_tail" and len(mine):  # best seen far out
            slow = np.quantile(mine.ms, 0.99)
            return found._replace(z=max(found.z, of_mean(mine.at, mine.ms > slow, here.ms > slow)[0]))
        return found

    def other_days(self, begin: float, end: float, *, alike: bool) -> list[float]:
        """By how many seconds to move a window so that it lies at the same time of another day; alike: both free or neither, if there are three."""
        moves = [d * 86_400.0 for d in range(-self.days, self.days) if d and begin + d * 86_400 >= 0 and end + d * 86_400 <= self.minutes * 60]  # fmt: skip
        same = [move for move in moves if self.free[int((begin + move) / 60)] == self.free[int(begin / 60)]]
        return same if alike and len(same) > 2 else moves

    def z_of_count(self, fault: Fault, at: np.ndarray, count: int) -> float:
        """How far so many calls, or their ratio to those just before and after, lie from those of other days, in the spread among these or Poisson's."""
        at, begin, end = np.sort(at), fault.start, fault.end

        def counted(move: float) -> np.ndarray:
            edges = np.array([begin - (end - begin), begin, end, end + (end - begin)]) + move
            return np.diff(np.searchsorted(at, edges))

        others = np.array([counted(move)[1] for move in self.other_days(begin, end, alike=True)])
        z = 2 * abs(np.sqrt(count) - np.sqrt(np.median(others))) / max(1, spread(2 * np.sqrt(others)))
        around = np.array([[here, (before + after) / 2] for before, here, after in map(counted, self.other_days(begin, end, alike=False))])  # fmt: skip
        ratios, beside = around[:, 0] / np.maximum(around[:, 1], 1), max(counted(0)[[0, 2]].mean(), 1)
        usual = float(np.median(ratios))
        error = max(np.sqrt(max(usual, 0.1) / beside + usual**2 / (2 * beside)), spread(ratios))
        return float(max(z, abs(count / beside - usual) / error))

    def z_of_level(self, since: float, fault: Fault, at: np.ndarray, values: np.ndarray, here: np.ndarray) -> tuple[float, float]:  # fmt: skip
        """As planted.z_of_mean, or beside the means at the same time of other days, or the step from those just before and after, if that shows more."""
        z, mean = planted.z_of_mean(fault, at, values, here)
        length, noise = fault.end - since, np.sqrt(max(values.var(), 1e-4) / max(len(here), 1))

        def level(move: float) -> float:
            some = values[(at >= since + move) & (at < fault.end + move)]
            return float(some.mean()) if len(some) > max(4, len(here) / 4) else np.nan

        def shown(move: float, now: float) -> tuple[float, float]:
            return now, now - (level(move - length) + level(move + length)) / 2

        others = np.array([shown(move, level(move)) for move in self.other_days(since, fault.end, alike=False)]).T
        for now, usual in zip(shown(0, here.mean())[: 1 if fault.kind == "latency_drift" else 2] if len(here) else (), others, strict=False):  # fmt: skip
            known = usual[~np.isnan(usual)]
            if len(known) >= 4 and not np.isnan(now):
                z = max(z, float((now - np.median(known)) / np.hypot(spread(known), noise)))
        return z, mean

    def logged(self, calls: Visits) -> pl.DataFrame:
        """The lines of calls, as worlds.LOG_FORMAT has them; those in a hole of the log are not there."""
        random = self.random
        calls = self.without_holes(calls, calls.gate)
        n, e, minute = len(calls), calls.endpoint, np.minimum(calls.at // 60, self.minutes - 1).astype(int)
        size = random.lognormal(7.3, 1.0, self.endpoints)[e] * self.bigger[self.of_service[e], minute] * random.lognormal(0, 0.35, n)  # fmt: skip
        size = np.select([np.isin(calls.status, [204, 304]), calls.status >= 400], [0, 180], size).astype(int)
        end = self.t0 + calls.at + calls.ms / 1000
        number = np.where([method == "GET" for method in self.method], 1_200, 900_000)[e]
        told = [f"{method} {path}{'?q={id}' if path == '/v2/search' else ''} HTTP/1.1" for method, path in zip(self.method, self.path, strict=True)]  # fmt: skip
        agents = [text for *_, text in [*FAMILIES.values(), *PROGRAMS.values()]]
        frame = pl.DataFrame({
            "at": end, "order": end + self.late(calls, calls.gate, random.exponential(0.02, n)), "who": calls.who, "client": calls.client,
            "id": 100_000 + (number * random.random(n) ** 2).astype(int), "status": calls.status, "size": size, "ms": calls.ms,
            "name": pl.Series(NAMES).gather(calls.who), "agent": pl.Series(agents).gather(calls.who), "told": pl.Series(told).gather(e),
            "service": pl.Series(self.service).gather(e), "node": pl.Series(NODES).gather(calls.gate),
        })  # fmt: skip
        line = pl.format(
            '93.{}.{}.{} - {} [{}] "{}" {} {} "-" "{}" {} {} {} {}',
            180 + pl.col("who"), pl.col("client") // 250, 1 + pl.col("client") % 250, "name", moment("at"),
            pl.col("told").str.replace("{id}", pl.col("id").cast(pl.String), literal=True), "status", "size", "agent",
            decimals(pl.col("at")), decimals(pl.col("ms") / 1000), "service", "node",
        )  # fmt: skip
        return frame.select("at", "order", line=line)

    def strangers(self) -> pl.DataFrame:
        """The lines of scanners that ask for what is not there."""
        random, at = self.random, np.sort(self.scans())
        frame = pl.DataFrame({"at": at, "order": at, "path": random.choice(["/wp-login.php", "/.env", "/admin/", "/.git/config"], len(at)), "client": random.integers(1, 250, len(at)), "gate": random.choice(NODES, len(at))})  # fmt: skip
        line = pl.format('45.155.205.{} - - [{}] "GET {} HTTP/1.1" 404 146 "-" "zgrab/0.x" {} 0.001 - {}', "client", moment("at"), "path", decimals(pl.col("at")), "gate")  # fmt: skip
        return frame.select("at", "order", line=line)


def trains(random: np.random.Generator, begun: np.ndarray, counts: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Seconds of reports that devices send in a rhythm, so many after each beginning, and the number of the beginning of each."""
    visit = np.repeat(np.arange(len(begun)), counts := counts.astype(int))
    place = np.arange(len(visit)) - np.repeat(np.cumsum(counts) - counts, counts)
    return begun[visit] + period * (place + 1) + random.normal(0, 0.5, len(visit)), visit


def graded(fault: Fault) -> str:
    """The grade that a fault's figures tell of, whatever it was meant to be."""
    if fault.code is None:
        missed = 0.1 * fault.usual if fault.kind == "silence" else 0  # where nobody calls at all a plot is clear
        return next((grade for grade, z in FAR.items() if max(fault.z, missed) >= z), "hard")
    shown = ((grade, fault.affected >= calls and fault.during - fault.usual >= share) for grade, (calls, share) in SHOWN.items())  # fmt: skip
    return next((grade for grade, enough in shown if enough), "hard")


def spread(values: np.ndarray) -> float:
    """The standard deviation that the quartiles of a normal distribution tell of."""
    return float(np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.35)


def moment(column: str) -> pl.Expr:
    return pl.from_epoch((pl.col(column) * 1000).cast(pl.Int64), "ms").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def decimals(number: pl.Expr) -> pl.Expr:
    """A number with three decimals."""
    thousandths = (number * 1000).round().cast(pl.Int64)
    return pl.format("{}.{}", thousandths // 1000, (thousandths % 1000).cast(pl.String).str.zfill(3))
