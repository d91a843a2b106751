"""An eighth kind of world, by an author who has not read the detector: a maker of online games behind Kong.

    python benchmarks/detection.py arcade:1 quiet-arcade:1

Players of three regions open sessions and play matches; what they call follows from that: a login is a bundle of calls, a match is queued
for (polled every few seconds), played for twenty minutes, and its end calls again. Game servers beat and hand in results, streamers' overlays
poll for the hours of a stream (many at the full hour), payment providers deliver webhooks, a scraper comes and goes, staff keep office hours,
a batch ranks at night. The log is Kong's syslog plugin: whole milliseconds, a consumer per client or partner, the address of the instance
that answered and no name of an upstream. Some endpoints have a lognormal latency so wide that its mean is useless, all a Pareto tail; latency grows
with the load until the autoscaler follows; rarely called functions start cold. Clients try again after 1, 2 and 4 seconds, webhooks after minutes.

No fault are: weekends, a holiday in Europe, a weekend of double points, the rotation of the shop (a herd twice a day), a settlement
every night, overlays that come and go, the scraper and its 429, a partner at its quota, tokens that run out, deployments (a few 502, new
addresses, cold caches, other sizes), the patch's 6 % for good and its move of an endpoint to v3 within days, flash events at any hour, farmers (bots that play for days), endpoints
that were never good, timeouts at the day's peak, housekeeping of databases, an instance that falls over for a minute or two, a slow neighbour, blips of half
a minute, scanners, health checks, lines that come late, holes in the log. What somebody on call may have liked to hear of is `ambiguous`: the
patch's maintenance (which lets in who tries again) and the rush after it, a final on stream, the reindex on Sundays, webhooks that were held back and come at once.

Every fault says in `effect` what it did to users, measured in the calls beside the same world without faults (where it is clearest). Grades are what was done,
lowered where few calls show it (`CLEAR`, `SHOWN`); a fault is detectable from z = 5 on, when besides at least 8 calls failed by 2 points more than
usual, 25 were slow by a fifth, or 25 came too many or too few. z compares the window with the windows as long of the same calls without faults; counts with
the same time of day on days of the same kind. Seeds 1, 2 and 101 are for building, 201 and 202 are held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
import planted
import polars as pl
import services
from calls import arrivals, peak, ticks, wave
from planted import COUNTED, SLOW, Fault, Split, Strength
from services import Sent, joined, packs, sent
from worlds import DAY, World, wander

WEDNESDAY = int(datetime(2026, 6, 10, tzinfo=UTC).timestamp())  # days 3, 4, 10 and 11 are weekends
PATCH, HOLIDAY, FINAL = 6, 8, 10  # days: a Tuesday, a Thursday (Europe), a Saturday
REGIONS = {"eu": (2, 0.45), "us": (-5, 0.33), "asia": (8, 0.22)}  # hours ahead of UTC, share of players
PLATFORMS = {"pc": 0.4, "console-a": 0.25, "android": 0.15, "ios": 0.1, "console-b": 0.1}
OVERLAYS = 30
CONSUMERS = [
    *PLATFORMS, *(f"servers-{region}" for region in REGIONS), "paypipe", "wallet", "ranking", "staff", "probe", "website",
    *(f"overlay-{i:02}" for i in range(OVERLAYS)), "",
]  # fmt: skip
ANONYMOUS = len(CONSUMERS) - 1
NODES = ["kong-1", "kong-2", "kong-3", "kong-4"]

ROUTES: list[services.Route] = [
    ("auth", "POST", "/auth/v1/token", 3.0, 85, 0.35, "login", {401: 0.05, 400: 0.004}),
    ("auth", "POST", "/auth/v1/refresh", 1.6, 30, 0.3, "menu", {401: 0.02}),
    ("auth", "GET", "/auth/v1/jwks", 0.8, 3, 0.3, "overlays", {304: 0.4}),
    ("auth", "POST", "/auth/v1/devices", 0.06, 140, 0.4, "login", {409: 0.05}),
    ("players", "GET", "/players/v2/{id}", 4.0, 28, 0.4, "login", {404: 0.004, 401: 0.01}),
    ("players", "GET", "/players/v2/{id}/inventory", 3.2, 60, 0.6, "login", {401: 0.01}),
    ("players", "GET", "/players/v3/{id}/inventory", 3.2, 45, 0.5, "login", {401: 0.01}),
    ("players", "PATCH", "/players/v2/{id}/settings", 0.25, 55, 0.4, "menu", {422: 0.02}),
    ("players", "GET", "/players/v2/{id}/stats", 1.2, 110, 0.8, "web", {404: 0.05}),
    ("matchmaking", "POST", "/matchmaking/v3/tickets", 3.0, 40, 0.35, "begin", {409: 0.02, 403: 0.004}),
    ("matchmaking", "GET", "/matchmaking/v3/tickets/{id}", 9.0, 8, 0.35, "queue", {404: 0.03}),
    ("matchmaking", "DELETE", "/matchmaking/v3/tickets/{id}", 0.3, 15, 0.35, "begin", {404: 0.1}),
    ("matches", "POST", "/matches/v3/{id}/results", 0.45, 180, 0.5, "servers", {409: 0.01}),
    ("matches", "GET", "/matches/v3/{id}", 2.2, 70, 0.5, "end", {404: 0.03}),
    ("matches", "POST", "/matches/v3/{id}/reports", 0.08, 95, 0.4, "end", {429: 0.01}),
    ("fleet", "PUT", "/fleet/v1/servers/{id}/heartbeat", 4.0, 5, 0.25, "fleet", {}),
    ("fleet", "POST", "/fleet/v1/allocations", 0.45, 900, 0.7, "servers", {409: 0.02}),
    ("social", "GET", "/social/v1/friends", 2.6, 45, 0.45, "login", {401: 0.01}),
    ("social", "POST", "/social/v1/invites", 0.7, 35, 0.4, "menu", {404: 0.02, 429: 0.004}),
    ("social", "PUT", "/social/v1/presence", 4.5, 6, 0.3, "menu", {}),
    ("social", "GET", "/social/v1/feed", 0.9, 240, 1.1, "menu", {}),
    ("social", "POST", "/social/v1/clans", 0.04, 120, 0.4, "menu", {409: 0.08, 422: 0.05}),
    ("store", "GET", "/store/v2/rotation", 2.2, 12, 0.4, "login", {304: 0.25}),
    ("store", "GET", "/store/v2/offers/{id}", 1.4, 26, 0.4, "menu", {404: 0.01}),
    ("store", "POST", "/store/v2/orders", 0.4, 650, 0.6, "menu", {402: 0.06, 409: 0.02}),
    ("store", "POST", "/store/v2/refunds", 0.03, 480, 0.4, "staff", {409: 0.05}),
    ("pay", "POST", "/pay/v1/webhooks/paypipe", 0.6, 75, 0.5, "hooks", {}),
    ("pay", "POST", "/pay/v1/webhooks/wallet", 0.3, 60, 0.5, "hooks", {400: 0.01}),
    ("ugc", "POST", "/ugc/v1/maps", 0.07, 700, 0.5, "web", {413: 0.03, 422: 0.04}),
    ("ugc", "GET", "/ugc/v1/maps/{id}", 0.9, 130, 0.9, "menu", {404: 0.03}),
    ("ugc", "POST", "/ugc/v1/thumbnails", 0.09, 1_100, 0.5, "web", {415: 0.02}),
    ("telemetry", "POST", "/telemetry/v1/batches", 4.0, 10, 0.4, "menu", {413: 0.003}),
    ("telemetry", "POST", "/telemetry/v1/crashes", 0.15, 40, 0.5, "menu", {413: 0.02}),
    ("ranks", "GET", "/ranks/v1/leaderboards/{id}", 3.0, 18, 0.5, "overlays", {429: 0.004}),
    ("ranks", "GET", "/ranks/v1/players/{id}", 1.2, 24, 0.5, "overlays", {404: 0.03}),
    ("ranks", "POST", "/ranks/v1/recompute", 0.6, 350, 0.5, "night", {}),
    ("web", "GET", "/web/v1/news", 1.0, 9, 0.4, "web", {304: 0.3}),
    ("web", "GET", "/status", 2.0, 1, 0.2, "probe", {}),
    ("market", "GET", "/market/v1/listings", 2.0, 85, 0.7, "scraped", {}),
    ("market", "POST", "/market/v1/bids", 0.3, 95, 0.5, "menu", {409: 0.12}),
    ("tools", "GET", "/tools/v1/players/{id}/audit", 0.3, 900, 1.0, "staff", {403: 0.01, 404: 0.02}),
    ("ugc", "GET", "/ugc/v1/search", 0.5, 320, 0.8, "menu", {400: 0.02}),
    ("web", "GET", "/web/v1/streams", 0.8, 55, 0.6, "web", {}),
    ("store", "GET", "/store/v2/orders/{id}", 0.6, 22, 0.4, "menu", {404: 0.01}),
]  # fmt: skip
OLD, NEW_PATH = "/players/v2/{id}/inventory", "/players/v3/{id}/inventory"
FUNCTIONS = {"ugc", "tools"}  # run only while they are called

STRENGTHS = {
    "easy": Strength(fails=0.5, slower=2.8, in_tail=0.22, left=0.05, more=5.0, low_fails=0.9, new=0.2),
    "medium": Strength(fails=0.16, slower=1.7, in_tail=0.1, left=0.35, more=3.0, low_fails=0.55, new=0.06),
    "hard": Strength(fails=0.055, slower=1.35, in_tail=0.05, left=0.6, more=2.0, low_fails=0.35, new=0.025),
}
SHOWN = {"easy": 25, "medium": 12, "hard": 8}  # least calls that failed; of other faults 25
#: kind, how often, median length in minutes
KINDS = [
    ("node_outage", 1, 16), ("recurring", 1, 30), ("latency_drift", 1, 2900), ("error_burst", 3, 32), ("upstream_timeout", 2, 30), ("latency_step", 2, 100),
    ("latency_tail", 1, 170), ("auth_failure", 1, 80), ("rate_limit", 1, 60), ("traffic_drop", 1, 100), ("traffic_spike", 1, 70), ("silence", 1, 150),
    ("new_code", 1, 260), ("validation_regression", 1, 420), ("low_traffic_fail", 1, 900),
]  # fmt: skip


@dataclass
class Calls(services.Calls):
    """One entry per call, with the number of its consumer."""

    who: np.ndarray


@dataclass
class Arcade(services.Services):
    """What a seed decides before anybody plays."""

    t0 = WEDNESDAY

    def __post_init__(self) -> None:
        self.open("an arcade", ROUTES)
        self._happens()

    def _happens(self) -> None:
        random, minute = self.random, self.minute
        players = self.called_by("login", "menu", "begin", "queue", "end", "servers")
        # The patch: two hours of maintenance, then everybody wants to play.
        begin = PATCH * DAY + 8 * 60
        closed = (minute >= begin) & (minute < begin + 110)
        game = self.of("matchmaking", "store", "matches")
        self.failing[np.ix_(game, closed)] = 1.0
        since = minute - begin - 110
        self.rush = np.where(since >= 0, 1 + 1.3 * np.exp(-np.maximum(since, 0) / 300), np.where(closed, 0.5, 1.0))
        self.named("patch: maintenance", begin, begin + 115, np.union1d(game, players), ambiguous=True)
        self.named("patch: rush", begin + 110, begin + 480, players, ambiguous=True)
        self.slower[self.of("matchmaking"), begin:] *= 1.06
        moved = np.where(since >= 0, 1 - np.exp(-np.maximum(since, 0) / 900), 0)
        self.moves(OLD, NEW_PATH, moved, 0.97)
        self.named("client release moves an endpoint to v3", begin, begin + 3 * DAY, self.of("players"))
        # The final: who watches does not play; the website is full.
        if self.days > FINAL:
            at = FINAL * DAY + 17 * 60
            shown = wave(minute, at, at + 270, 45, 30)
            watching = [e for e in self.of("web", "ranks", "players") if self.kind[e] in ("web", "overlays")]
            self.factor[watching] *= 1 + 2.2 * shown
            self.rush *= 1 - 0.18 * shown
            self.named("final on stream", at, at + 300, np.union1d(watching, self.of("web")), ambiguous=True)
        # Flash events in the game, announced to phones: at any hour, one or two a day, for half an hour.
        for _ in range(int(1.4 * self.days)):
            at, strong = random.uniform(0, self.minutes), random.uniform(0.3, 1.0)
            self.rush *= 1 + strong * wave(minute, at, at + 35, 4, 10)
            self.named("flash event", at, at + 45, players)
        # Farmers: bots that play around the clock, for a day or two; one is there in the warm-up.
        self.farmers = [(day + random.uniform(0, 1), random.uniform(0.8, 2.0)) for day in (1, 5, 9)]
        for day, length in self.farmers:
            self.named("farmers", day * DAY, (day + length) * DAY, players)
        # Housekeeping of databases: every night, and for two hours on Sundays.
        for day in range(self.days):
            at = int(day * DAY + 4 * 60 + random.normal(0, 4))
            self.slower[self.of("players", "store"), at : at + 20] *= 1.5
            if (day + 2) % 7 == 6:
                self.slower[self.of("ugc", "matches"), at + 60 : at + 180] *= 1.7
                self.named("reindex on Sunday", at + 60, at + 185, self.of("ugc", "matches"), ambiguous=True)
        # Deployments: a few 502, new addresses, cold caches, other sizes.
        for _ in range(int(self.days * 1.2)):
            service = int(random.integers(len(self.services)))
            at = int(random.uniform(0.3, self.days - 0.3) * DAY)
            mine = self.of(self.services[service])
            self.failing[mine, at : at + 2] = np.maximum(self.failing[mine, at : at + 2], 0.06)
            self.deployed(service, at, 0.7, 6, 0.02)
        self.shaky(120, 1.1, 0.02)
        self.held = self.held_back((2, 7), "pay")  # once in the warm-up
        self.gaps(len(NODES), 240.0)

    def free(self, region: str) -> np.ndarray:
        """Whether people there need not work, per minute."""
        day = (self.minute / 60 + REGIONS[region][0]) // 24
        return ((day + 2) % 7 >= 5) | ((day == HOLIDAY) & (region == "eu"))

    def playing(self, region: str) -> np.ndarray:
        """Sessions that open, per minute, in their mean over a working day."""
        hour = (self.minute / 60 + REGIONS[region][0]) % 24
        working = 0.07 + 0.45 * peak(hour, 16.5, 1.8) + 1.0 * peak(hour, 20.5, 1.9)
        day_off = 0.14 + 0.8 * peak(hour, 14, 3.5) + 1.05 * peak(hour, 20.8, 2.4)
        weekend = (self.minute >= FINAL * DAY) & (self.minute < (FINAL + 2) * DAY)  # double points
        return np.where(self.free(region), day_off, working) / working.mean() * np.where(weekend, 1.2, 1.0)

    def office(self) -> np.ndarray:
        """Traffic of staff in Europe, per minute, in its mean of a working day."""
        hour = (self.minute / 60 + 2) % 24
        shape = 0.01 + np.exp(-(((hour - 13) / 3.6) ** 4))
        return np.where(self.free("eu"), 0.03, 1) * shape / shape.mean()

    def traffic(self) -> Calls:
        """Who calls what and when, without answers."""
        random, end = self.random, self.minutes * 60.0
        # Sessions: beginning, region, platform, player; friends come together.
        rate = self.rate[self.path.index("/players/v2/{id}")] / 1.6
        begins, regions = [], []
        for number, (region, (_, share)) in enumerate(REGIONS.items()):
            mood = (
                wander(random, 1, self.minutes, np.array([0.15]), 200)[0]
                * wander(random, 1, self.minutes, np.array([0.12]), 20)[0]
            )
            at = arrivals(random, share * rate / 1.4 * self.playing(region) * mood * self.rush)
            begins.append(packs(random, at, 1.4, 40))
            regions.append(np.full(len(begins[-1]), number))
        for day, length in self.farmers:
            begins.append(self.session(day * DAY, length * DAY, random.uniform(0.1, 0.2) * rate))
            regions.append(np.full(len(begins[-1]), 2))
        begin, region = np.concatenate(begins), np.concatenate(regions)
        platform = random.choice(len(PLATFORMS), len(begin), p=list(PLATFORMS.values()))
        player = random.zipf(1.3, len(begin)) % 40_000
        bots = len(begin) - sum(len(one) for one in begins[-len(self.farmers) :])
        platform[bots:], player[bots:] = 0, 40_000 + np.arange(len(begin) - bots) % 12
        matches = random.geometric(1 / 2.6, len(begin))
        session = np.repeat(np.arange(len(begin)), matches)
        length = 60 * random.lognormal(np.log(22), 0.35, len(session))
        before = np.cumsum(length) - length
        first = np.cumsum(matches) - matches
        begin_of = begin[session] + 90 + before - before[first][session]
        end_of = begin_of + 0.85 * length
        last = begin + 90 + np.add.reduceat(length, first)
        results = np.sort(random.permutation(len(session))[: len(session) // 8])  # eight play one match
        parts: list[tuple[int, Sent]] = []
        own = wander(random, self.endpoints, self.minutes, random.uniform(0.05, 0.18, self.endpoints), 90)
        for e in range(self.endpoints):
            kind, strength = self.kind[e], self.factor[e] * own[e]
            wanted = (
                self.rate[e] * self.minutes * float(strength.max())
            )  # calls, before those beyond the factor are taken out again
            if kind in ("login", "menu", "begin", "end", "queue"):
                anchors = len(begin) if kind in ("login", "menu") else len(session)
                times = _times(random, wanted / anchors, anchors, kind)
                chosen = np.repeat(np.arange(anchors), times)
                of = chosen if kind in ("login", "menu") else session[chosen]
                if kind == "login":
                    at = begin[chosen] + random.exponential(6, len(chosen))
                elif kind == "menu":
                    at = begin[chosen] + random.random(len(chosen)) * (last - begin)[chosen]
                elif kind == "queue":
                    at = begin_of[chosen] + 5.0 * (np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times)) + random.normal(0, 0.3, len(chosen))  # fmt: skip
                else:
                    at = (begin_of if kind == "begin" else end_of)[chosen] + random.exponential(4, len(chosen))
                calls = at, platform[of], player[of]
            elif kind == "servers":
                chosen = np.repeat(results, _times(random, wanted / len(results), len(results), kind))
                at = (begin_of if "allocations" in self.path[e] else end_of)[chosen] + random.exponential(3, len(chosen))  # fmt: skip
                calls = at, len(PLATFORMS) + region[session[chosen]], 50_000 + chosen % 60
            else:
                calls = self._others(e, kind, wanted / self.minutes)
            parts.append((e, self.kept(calls, strength)))
        if "/store/v2/rotation" in self.path:  # the shop rotates at noon and midnight: who is in the game asks at once
            for turn in np.arange(0, end, 43_200):
                there = np.flatnonzero((begin < turn) & (last > turn))
                at = turn + random.exponential(25, len(there))
                parts.append((self.path.index("/store/v2/rotation"), (at, platform[there], player[there])))
        at, endpoint, who, client = self.in_order(parts)
        node = random.choice(len(NODES), len(at), p=[0.3, 0.28, 0.22, 0.2])
        return Calls(at, endpoint, client, node, *(np.zeros(len(at)) for _ in range(3)), who)

    def _others(self, e: int, kind: str, rate: float) -> Sent:
        """The calls of those who do not play; rate: calls per minute."""
        random, end, number = self.random, self.minutes * 60.0, CONSUMERS.index
        if kind == "fleet":
            count = max(3, round(rate))
            at = np.concatenate([ticks(random, 60 * count / rate, 0.01, end) for _ in range(count)])
            client = np.sort(np.arange(len(at)) % count) + 50_000
            return at, len(PLATFORMS) + client % 3, client
        if kind == "probe":
            return sent(services.probed(random, rate, end), number("probe"), 60_000)
        if kind == "overlays":
            return self._overlays(rate)
        if kind == "night":
            return sent(self.nightly(rate, 200, 4, 60, 90), number("ranking"), 60_001)
        if kind == "staff":
            at = arrivals(random, rate / 2 * self.office())
            at = np.repeat(at, 2) + random.exponential(20, 2 * len(at))
            return sent(at, number("staff"), 60_100 + random.integers(0, 25, len(at)))
        shape = sum(share * self.playing(region) for region, (_, share) in REGIONS.items())
        if kind == "hooks":
            at = self.notices(0.75 * rate * shape, 0.25 * rate * DAY, 360)
            if "wallet" in self.path[e]:
                return sent(at, number("wallet"), 60_200)
            return sent(services.delayed(random, at, self.held), number("paypipe"), 60_200)
        if kind == "scraped":
            at = arrivals(random, 0.6 * rate * shape)
            people = sent(at, number("website"), random.integers(0, 40_000, len(at)))
            return joined([people, sent(self.scraped(rate, 0.4), ANONYMOUS, 61_000)])
        at = packs(random, arrivals(random, rate / 1.5 * shape), 1.5, 15)
        return sent(at, number("website"), random.integers(0, 40_000, len(at)))

    def _overlays(self, rate: float) -> Sent:
        """Overlays poll during streams, a third of them at the full hour; one that never sleeps."""
        random, found = self.random, []
        per_overlay = rate * self.minutes / OVERLAYS
        for overlay in range(OVERLAYS):
            if overlay % 3 == 0:
                hours = np.arange(0, self.minutes * 60, 3600.0)
                at = np.repeat(hours, random.poisson(per_overlay / len(hours), len(hours)))
                at = at + random.exponential(20, len(at))
            elif overlay == 1:
                at = ticks(random, self.minutes * 60 / per_overlay, 0.05, self.minutes * 60.0)
            else:
                streams = [_stream(random, day) for day in range(self.days) if random.random() < 0.6]
                at = np.concatenate([np.zeros(0), *streams])
                at = at[random.random(len(at)) < per_overlay / max(len(at), 1)]
            found.append(sent(at, CONSUMERS.index(f"overlay-{overlay:02}"), 62_000 + overlay))
        return joined(found)

    def answered(self, calls: Calls) -> Calls:
        """The calls with instance, status and ms, and what was tried again."""
        random, n = self.random, len(calls)
        minute, e = (calls.at // 60).astype(int), calls.endpoint
        service = self.of_service[e]
        instances, used = self.scaled(calls, 10, 1.6)
        slot = (random.random(n) * instances[service, minute]).astype(int)
        calls.instance = service * 10_000 + (self.generation[service, minute] % 20) * 10 + slot
        bad = self.never_good
        answers = [self.answers[one] | {500: 0.6 * bad[one], 503: 0.3 * bad[one]} for one in range(self.endpoints)]
        status = self.usually(calls, answers, 500, 2)
        # What waits too long in a full service is given up.
        status[random.random(n) < 0.004 * used[service, minute] ** 4] = 504
        self.fall_over(calls, status, slot, 502, 0.7)
        # The scraper is held off; one overlay lives at its quota.
        held = np.where(calls.who == ANONYMOUS, 0.12, np.where(calls.who == CONSUMERS.index("overlay-01"), 0.15, 0))
        status[random.random(n) < held] = 429
        status[(calls.who == ANONYMOUS) & (random.random(n) < 0.08)] = 403
        status[random.random(n) < self.failing[e, minute]] = 502
        closed = (calls.at >= (PATCH * DAY + 480) * 60) & (calls.at < (PATCH * DAY + 590) * 60) & (status == 502)
        status[closed] = 503
        ms = self.takes(calls, used, 0.4)
        services.with_tail(random, ms, 1.3)
        self.slow_neighbours(calls, ms, slot)
        self.cold_starts(calls, ms, self.of(*FUNCTIONS))
        ms = services.refused_sooner(random, status, ms, [400, 401, 403, 404, 409, 422])
        calls.status, calls.ms = status, np.where(status == 504, 30_000, np.minimum(ms, 60_000))
        return self.tried_again(random, calls, np.flatnonzero(status >= 500), None)

    def tried_again(self, random: np.random.Generator, calls: Calls, failed: np.ndarray, fault: Fault | None) -> Calls:
        """Calls and what clients send after calls failed."""
        more = planted.tried_again(
            random, self, calls, failed, fault, 0.7, (0.8, 1.4), lambda at: random.integers(0, len(NODES), len(at))
        )
        found = calls.and_those(more)
        return found.where(found.at < self.minutes * 60)

    def logged(self, calls: Calls) -> list[pl.DataFrame]:
        """The log: `at` and `order` (when syslog wrote it; seconds since the epoch) and `line`."""
        random = self.random
        calls = self.without_holes(calls, calls.gate)
        n = len(calls)
        late = self.late(calls, calls.gate, np.where(random.random(n) < 0.003, random.exponential(120, n), 0))
        service = self.of_service[calls.endpoint]
        minute = (calls.at // 60).astype(int)
        frame = pl.DataFrame({
            "at": WEDNESDAY + calls.at, "order": WEDNESDAY + calls.at + calls.ms / 1000 + late, "endpoint": calls.endpoint, "client": calls.client,
            "consumer": pl.Series(CONSUMERS).gather(calls.who), "node": pl.Series(NODES).gather(calls.gate), "status": calls.status.astype(int),
            "ms": np.rint(calls.ms).astype(int), "size": (random.lognormal(6.5, 1, n) * self.bigger[service, minute]).astype(int),
            "ip": _addresses(calls.instance.astype(int)), "id": random.integers(10_000_000, 99_999_999, n),
            "service": pl.Series(self.service).gather(calls.endpoint), "method": pl.Series(self.method).gather(calls.endpoint),
            "path": pl.Series(self.path).gather(calls.endpoint),
        })  # fmt: skip
        frame = frame.with_columns(
            uri=pl.col("path").str.replace("{id}", pl.col("id").cast(pl.String), literal=True),
            started=(pl.col("at") * 1000).cast(pl.Int64), reached=~pl.col("status").is_in([429, 401]),
            peer=pl.format("100.{}.{}.{}", 64 + pl.col("client") // 65_536, pl.col("client") // 256 % 256, pl.col("client") % 256),
        )  # fmt: skip
        return [frame.select("at", "order", line=_line()), self._scanned()]

    def _scanned(self) -> pl.DataFrame:
        """Scanners ask for what is not there; Kong has no route for it."""
        guesses = ["/wp-login.php", "/.env", "/actuator/env", "/graphql/v1/x.php", "/.git/config", "/admin.php"]
        at = self.scans()
        frame = pl.DataFrame({"at": at, "order": at, "uri": self.random.choice(guesses, len(at))}).with_columns(
            started=(pl.col("at") * 1000).cast(pl.Int64), ms=pl.lit(0), status=pl.lit(404), method=pl.lit("GET"), consumer=pl.lit(""), service=pl.lit(""),
            node=pl.lit("kong-1"), reached=pl.lit(False), ip=pl.lit(""), size=pl.lit(52), peer=pl.lit("203.0.113.9"),
        )  # fmt: skip
        return frame.select("at", "order", line=_line())


def _line() -> pl.Expr:
    """A line of Kong's syslog plugin."""
    number = {name: pl.col(name).cast(pl.String) for name in ("started", "ms", "status", "size")}
    named = pl.when(pl.col("consumer") != "").then(pl.concat_str(pl.lit(',"consumer":{"username":"'), "consumer", pl.lit('"}')))  # fmt: skip
    routed = pl.when(pl.col("service") != "").then(pl.concat_str(pl.lit(',"service":{"name":"'), "service", pl.lit('"}')))  # fmt: skip
    tried = pl.when("reached").then(pl.concat_str(pl.lit('{"ip":"'), "ip", pl.lit('","port":8080}'))).otherwise(pl.lit(""))  # fmt: skip
    proxied = pl.when("reached").then((pl.col("ms") - 1).clip(0).cast(pl.String)).otherwise(pl.lit("-1"))
    return pl.concat_str(
        pl.from_epoch(pl.col("order").cast(pl.Int64), time_unit="s").dt.strftime("%b %e %H:%M:%S"), pl.lit(" "), "node", pl.lit(' kong[71]: {"started_at":'),
        number["started"], pl.lit(',"latencies":{"request":'), number["ms"], pl.lit(',"proxy":'), proxied, pl.lit(',"kong":1},"request":{"method":"'), "method",
        pl.lit('","uri":"'), "uri", pl.lit('","size":"310"},"response":{"status":'), number["status"], pl.lit(',"size":"'), number["size"],
        pl.lit('"},"client_ip":"'), "peer", pl.lit('"'), routed.fill_null(""), named.fill_null(""), pl.lit(',"tries":['), tried, pl.lit("]}"),
    )  # fmt: skip


def address(instance: int) -> str:
    """ip:port of an instance, as Kong logs it."""
    return f"{_addresses(np.array([instance]))[0]}:8080"


def _addresses(instance: np.ndarray) -> pl.Series:
    frame = pl.DataFrame({"i": instance})
    return frame.select(pl.format("10.4.{}.{}", pl.col("i") // 10_000, 10 + pl.col("i") % 10_000))["i"]


def _times(random: np.random.Generator, mean: float, count: int, kind: str) -> np.ndarray:
    """How often each of so many does it: polls geometric, what belongs to a step once or twice, the rest Poisson."""
    if kind == "queue":
        return random.geometric(1 / (1 + mean), count) - 1
    if kind == "menu":
        return random.poisson(mean * random.gamma(1.5, 1 / 1.5, count))
    return (int(mean) + (random.random(count) < mean % 1)).astype(int)


def _stream(random: np.random.Generator, day: int) -> np.ndarray:
    """Seconds at which an overlay polls while somebody streams on an evening."""
    begin, period, hours = day * 86_400 + random.normal(18, 3) * 3600, random.choice([20.0, 30.0, 60.0]), random.uniform(2, 6)  # fmt: skip
    return begin + ticks(random, period, 0.05, 3600 * hours)


def plant(random: np.random.Generator, world: Arcade, quiet: Calls) -> tuple[Calls, list[Fault]]:
    """The calls with faults, and the faults with their figures, measured beside the calls without."""
    before = planted.split(quiet, world.endpoints)
    drawn, done = partial(_drawn, random, world, before), partial(_done, random, world)
    calls, faults = planted.plant(random, KINDS, quiet, drawn, done)
    now = planted.split(calls, world.endpoints)
    for fault in faults:
        planted.measure(fault, SHOWN, partial(_looked_at, world, now, before))
    return calls, faults


def _usable(world: Arcade, kind: str, per_minute: np.ndarray) -> list[int]:
    """Endpoints at which a fault of a kind can be."""
    usable = [e for e in range(world.endpoints) if world.kind[e] != "probe" and world.path[e] not in (OLD, NEW_PATH)]
    if kind == "low_traffic_fail":
        usable = [e for e in usable if per_minute[e] < 0.15]
    elif kind == "validation_regression":
        usable = [e for e in usable if world.method[e] in ("POST", "PUT", "PATCH") and per_minute[e] > 0.1]
    elif kind == "auth_failure":
        usable = [e for e in usable if world.kind[e] in ("login", "menu", "begin", "queue") and per_minute[e] > 0.5]
    elif kind == "rate_limit":
        usable = [e for e in usable if world.kind[e] in ("overlays", "menu", "servers") and per_minute[e] > 0.4]
    elif kind in COUNTED or kind in SLOW or kind == "recurring":
        usable = [e for e in usable if per_minute[e] > 0.2 and world.kind[e] not in ("night", "scraped", "hooks")]
    return usable


def _drawn(
    random: np.random.Generator, world: Arcade, quiet: Split, others: list[Fault], kind: str, grade: str, length: int
) -> Fault | None:  # fmt: skip
    """A fault of a kind at a time when its endpoint is called; None where it falls on another, on an event, or on too few calls."""
    per_minute = np.array([len(rows) for rows in quiet.rows]) / world.minutes
    usable = _usable(world, kind, per_minute)
    fault = Fault(kind, "easy" if kind == "silence" else grade, [], [], strength=STRENGTHS[grade])
    met = planted.place(random, fault, length, world, quiet, usable)
    if met is None:
        return None
    first = int(quiet.calls.endpoint[met])
    if kind == "node_outage":
        fault.endpoints = [e for e in usable if per_minute[e] > 0.02]
        fault.gate = int(random.integers(len(NODES)))
    elif kind == "upstream_timeout" and random.random() < 0.7:  # one instance does not answer
        fault.endpoints, fault.instance = planted.siblings(world, usable, first), int(quiet.calls.instance[met])
        fault.upstream = address(fault.instance)
    fault.code = planted.answer(random, kind, world.answers[first])
    releases = world.kind[first] in ("login", "menu", "begin")
    planted.of_one_consumer(random, fault, quiet, met, releases, ANONYMOUS)
    return fault if planted.stands(fault, world, quiet, others) else None


def _done(random: np.random.Generator, world: Arcade, calls: Calls, fault: Fault) -> Calls:
    """The calls with a fault in them."""
    calls, inside, draw = planted.met(random, calls, fault)
    if fault.kind in COUNTED:
        return planted.other_traffic(random, calls, fault, inside, draw)
    if fault.kind in SLOW:
        planted.slow_down(random, calls, fault, inside, draw)
        return calls
    hit = np.flatnonzero(inside & (draw < fault.share))
    if fault.code == 429:
        return planted.refuse(random, calls, fault, inside, hit)
    planted.fail(random, calls, hit, fault.code or 0)
    return world.tried_again(random, calls, hit, fault) if (fault.code or 0) >= 500 else calls


def _looked_at(world: Arcade, with_faults: Split, without: Split, fault: Fault) -> planted.Figures:
    """A fault's figures at its endpoints."""
    now, before = (every.of(fault.endpoints) for every in (with_faults, without))
    now, before = (every.where(fault.hits(every)) for every in (now, before))
    here, usual = (every.where(fault.inside(every.at)) for every in (now, before))
    before = before.where(~world.excepted(fault.endpoints, before.at))
    seen = planted.figures(
        fault, before, here, usual, planted.drifted(fault), partial(planted.z_of_mean, fault),
        lambda at, count: _z_of_count(fault, world, at, count),
    )  # fmt: skip
    return seen._replace(usual=0.03) if fault.kind == "latency_tail" else seen  # the slowest 3 %


def _z_of_count(fault: Fault, world: Arcade, at: np.ndarray, here: int) -> float:
    """How far the number of calls lies beyond that at this time (an hour around) on days of the same kind, in Poisson deviations."""
    at, length = np.sort(at), fault.end - fault.start
    off = world.free("eu")
    kind = off[int(fault.start // 60)]
    starts = [fault.start + day * 86_400 + shift for day in range(-world.days, world.days) for shift in (-1800, 0, 1800)]  # fmt: skip
    starts = [s for s in starts if s >= 0 and s + length <= world.minutes * 60 and off[int(s // 60)] == kind]
    starts = [s for s in starts if not world.excepted(fault.endpoints, np.linspace(s, s + length, 9)).any()]
    counts = np.array([np.searchsorted(at, s + length) - np.searchsorted(at, s) for s in starts])
    if len(counts) < 3:
        return 0.0
    low, high, mean = counts.min(), counts.max(), counts.mean()
    beyond = max((low - here) / np.sqrt(low + 1), (here - high) / np.sqrt(high + 1))
    return 0.0 if beyond <= 0 else float(max(2 * beyond, abs(here - mean) / np.sqrt(mean + counts.var())))


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `arcade`, or `quiet-arcade` for the same one without faults. 36 to 44 endpoints, at least 9 days."""
    world = Arcade(np.random.default_rng([seed, 2606]), endpoints, days, calls_per_minute)
    calls = world.answered(world.traffic())
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, faults = plant(np.random.default_rng([seed, 2606, 8]), world, calls)
    return world.world(
        world.logged(calls), planted.labels(faults, world, NODES, partial(planted.in_words, world, CONSUMERS))
    )
