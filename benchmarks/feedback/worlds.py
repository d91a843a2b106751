"""Labelled worlds: call logs with planted faults, and what people write about them, about other things, and about nothing.

The candidates come from apilens' own detector, so faults it misses are missed here as well. Domains (what the interface is
about) and phrasings are split: nothing of HELD_OUT stands in TRAIN. Reports are made from faults, not from candidates.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import second

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 10
NOW = BEGIN + timedelta(days=DAYS)

#: domain -> (word people use, method, route, what they try to do)
_TRAIN_DOMAINS = {
    "shop": [
        ("search", "GET", "/v1/search", "search for a chair"), ("cart", "POST", "/v1/carts/{id}/items", "put things into the cart"),
        ("payment", "POST", "/v1/orders/{id}/pay", "pay an order"), ("order", "POST", "/v1/orders", "place an order"),
        ("invoice", "GET", "/v1/orders/{id}/invoice", "get an invoice"), ("coupon", "POST", "/v1/coupons/{id}/redeem", "redeem a coupon"),
        ("login", "POST", "/v1/auth/token", "log in"), ("profile", "GET", "/v1/users/{id}", "open the profile"),
        ("stock", "POST", "/v1/stock/updates", "push stock levels"), ("export", "GET", "/v1/exports/{id}", "download the export"),
    ],
    "bank": [
        ("transfer", "POST", "/api/transfers", "send a transfer"), ("balance", "GET", "/api/accounts/{id}/balance", "look at the balance"),
        ("statement", "GET", "/api/accounts/{id}/statements", "get a statement"), ("card", "POST", "/api/cards/{id}/block", "block a card"),
        ("loan", "POST", "/api/loans/quotes", "ask for a loan quote"), ("sign-in", "POST", "/api/sessions", "sign in"),
        ("beneficiary", "POST", "/api/beneficiaries", "add a beneficiary"), ("exchange rate", "GET", "/api/rates/{id}", "see exchange rates"),
        ("document", "GET", "/api/documents/{id}", "open documents"),
    ],
    "travel": [
        ("booking", "POST", "/bookings", "book a trip"), ("flight", "GET", "/flights/search", "find flights"),
        ("seat", "PUT", "/bookings/{id}/seats", "choose seats"), ("hotel", "GET", "/hotels/{id}/rooms", "see hotel rooms"),
        ("boarding pass", "GET", "/bookings/{id}/boarding-pass", "get the boarding pass"), ("baggage", "POST", "/bookings/{id}/baggage", "add baggage"),
        ("voucher", "POST", "/vouchers/{id}/apply", "use a voucher"), ("login", "POST", "/auth/login", "log in"),
        ("check-in", "POST", "/bookings/{id}/check-in", "check in"),
    ],
}  # fmt: skip
_HELD_OUT_DOMAINS = {
    "logistics": [
        ("shipment", "POST", "/v2/shipments", "create a shipment"), ("tracking", "GET", "/v2/shipments/{id}/tracking", "track parcels"),
        ("label", "GET", "/v2/shipments/{id}/label", "print a label"), ("pickup", "POST", "/v2/pickups", "order a pickup"),
        ("customs", "POST", "/v2/customs/declarations", "file customs papers"), ("warehouse", "GET", "/v2/warehouses/{id}/inventory", "see the warehouse inventory"),
        ("route", "GET", "/v2/routes/{id}", "plan tours"), ("tariff", "GET", "/v2/tariffs", "look up tariffs"),
        ("authentication", "POST", "/v2/oauth/token", "get a token"),
    ],
    "health": [
        ("appointment", "POST", "/fhir/appointments", "make an appointment"), ("prescription", "POST", "/fhir/prescriptions/{id}/renew", "renew prescriptions"),
        ("lab result", "GET", "/fhir/patients/{id}/lab-results", "read lab results"), ("patient", "GET", "/fhir/patients/{id}", "open a patient record"),
        ("referral", "POST", "/fhir/referrals", "send a referral"), ("calendar", "GET", "/fhir/practitioners/{id}/calendar", "see the doctor's calendar"),
        ("vaccination", "GET", "/fhir/patients/{id}/vaccinations", "look up vaccinations"), ("login", "POST", "/identity/login", "log in"),
    ],
    "energy": [
        ("meter reading", "POST", "/meters/{id}/readings", "submit meter readings"), ("consumption", "GET", "/meters/{id}/consumption", "see the consumption"),
        ("contract", "POST", "/contracts/{id}/switch", "switch the contract"), ("outage report", "POST", "/outages", "report a power cut"),
        ("bill", "GET", "/bills/{id}", "download the bill"), ("instalment", "PATCH", "/contracts/{id}/instalment", "change the instalment"),
        ("charging", "POST", "/charging/sessions", "start charging the car"), ("session", "POST", "/users/session", "sign in"),
        ("forecast", "GET", "/grid/forecast", "get the grid forecast"),
    ],
}  # fmt: skip

#: How a person says it; {w} the word, {do} what is tried, {path} {status} {rid} {hhmm} {s} facts.
_TRAIN = {
    "errors": [
        "{w} fails with {status} since {hhmm}", "We cannot {do} any more, always an error", "every second {w} call ends with {status}",
        "{method} {path} returns {status}. Request id {rid}", "{do} does not work. Error: {status} at {hhmm} UTC on {path}",
        "our customers cannot {do}, please look at it urgently!", "getting {status} when we try to {do}, sometimes a second try helps",
        "{w} broken again?", "Hallo, {w} geht bei uns nicht mehr, immer Fehler {status}", "Since this morning errors on {w}. X-Request-Id: {rid}",
        "{w} is down for us", "Impossible de faire marcher {w}, erreur {status} sur {path}", "half of our {w} jobs failed last night",
        "app shows 'something went wrong' when I {do}", "got an exception from {path}: HTTP {status}",
    ],
    "latency": [
        "{w} is extremely slow today", "{method} {path} takes {s} seconds, normally below one", "it takes forever to {do}",
        "timeouts when we {do}", "{w} slow again, last call {rid} needed {s} s", "the {w} page is spinning for ages",
        "{w} dauert ewig, bitte prüfen", "why does {path} need {s}s?", "our job ran into its timeout at {hhmm} fetching {path}",
        "{w} est très lent depuis {hhmm}", "performance of {w} got much worse", "sluggish {w}, users complain",
    ],
    "silence": [
        "{w}: no connection since {hhmm}", "nothing arrives at {path} any more, calls hang before any answer", "{w} unreachable, is there an outage?",
        "we cannot {do}, connections are not accepted", "{w} completely dead", "no data from {w} since about {hhmm}",
        "queue for {method} {path} is growing, nothing goes through", "{w} seems frozen",
    ],
    "auth": [
        "we get 401 everywhere since {hhmm}", "cannot {do}: unauthorized, our key did not change", "401 on {path}, request {rid}",
        "users are logged out all the time", "{w} refuses our credentials", "login loop: I have to sign in again and again",
        "forbidden on {path} although nothing changed on our side",
    ],
    "rate_limit": [
        "we are being throttled on {w}", "429 on {path} all day, request {rid}", "too many requests although we send the same as ever when we {do}",
        "what happened to our quota for {w}? 429 since {hhmm}", "{w} rate limited: {status}",
    ],
}  # fmt: skip
_HELD_OUT = {
    "errors": [
        "Trying to {do} just blows up, HTTP {status}", "Our integration reports {status} for {path} since around {hhmm}", "{w} requests keep failing on our side",
        "ticket for you: {method} {path} -> {status} (id {rid})", "Not able to {do} - error page", "any known problem with {w}? Half of them bounce with {status}",
        "Problem beim Versuch: {w}. Wir bekommen nur noch Fehler.", "{w} crashes for several of our colleagues", "Internal Server Error as soon as we {do}. Trace {rid}",
        "please help, I can't {do} and my deadline is today", "intermittent failures on {w}; retrying helps about half of the time", "Erreur {status} quand on essaie: {w}",
        "500s or similar from {path}?", "{w} rejected again and again",
    ],
    "latency": [
        "{w} crawls", "Response times of {path} went through the roof ({s} s)", "waiting {s} seconds to {do} is not acceptable",
        "is {w} overloaded? it hangs for a long while before it answers", "{method} {path} took {s} s at {hhmm}, id {rid}", "Alles rund um {w} ist heute sehr langsam",
        "we see time-outs as soon as we {do}", "{w} laggy since {hhmm}", "lenteurs sur {w}", "it used to be quick to {do}, now I get a coffee meanwhile",
    ],
    "silence": [
        "{w} does not answer at all", "Since {hhmm} we have not received a single response from {path}", "outage of {w}?",
        "{w} is offline for us, cannot connect", "can't reach you to {do}", "no more {w} since {hhmm}, what is going on",
    ],
    "auth": [
        "suddenly unauthorized ({status}) when we {do}", "token rejected on {path} since {hhmm}", "our people get kicked out and must log in again",
        "credentials stopped working for {w}", "{status} for {method} {path}, id {rid}, key unchanged",
    ],
    "rate_limit": [
        "quota exceeded on {w}? we did not increase anything", "{status} Too Many Requests from {path}", "you throttle us when we {do}",
        "rate limit hit since {hhmm} for {w}",
    ],
}  # fmt: skip
#: Noise: questions, wishes, chatter, what the gateway does not see. {w} and {do} of any endpoint.
_TRAIN_NOISE = [
    "How do I {do} from the sandbox?", "where can I find documentation for {w}?", "It would be great to have dark mode", "please add a filter to the {w} page",
    "thanks for the quick help yesterday!", "the {w} button has the wrong colour in Firefox", "typo in the {w} mail", "lunch at twelve?",
    "could you add CSV to {w}?", "what is the rate limit of {w}?", "is it possible to {do} for a test customer?", "cake in the kitchen for everybody",
    "Automatic reply: I am out of the office", "training for {w} was good", "font too small on my phone", "who is on call this weekend?",
    "my laptop crashed during the demo", "printer on floor 3 does not work", "Wie kann ich {w} für einen zweiten Nutzer freischalten?", "new colleague needs access to {w}",
    "what does error 429 on {w} mean in your documentation?",
    "is a timeout of 30 seconds normal for {w}?",
    "How should we retry when {w} fails?",
    "can we have the error codes of {w} as a list?",
    "would be nice if {w} was faster in the app",
    "I cannot log in to the training portal, who can help?",
    "our own firewall blocked {w} this morning, solved, sorry for the noise",
    "Wie lange ist ein Token für {w} gültig?",
    "the translation of {w} sounds odd", "any plans for a {w} webhook?",
]  # fmt: skip
_HELD_OUT_NOISE = [
    "Can somebody explain how to {do} twice in a row?", "Which parameter of {w} do I need for foreign customers?", "Feature idea: bulk {w}", "the menu overlaps the {w} icon on my tablet",
    "great work on the new {w} screen", "Out of office until Monday", "Wo finde ich die Anleitung zu {w}?", "parking lot is closed tomorrow",
    "I would love a keyboard shortcut to {do}", "invoice address of our company has changed", "do you support {w} in Canada?", "wifi in the meeting room is broken",
    "wording in the {w} dialog is confusing", "let's meet at ten about the workshop", "our VPN is slow today", "please extend my trial",
    "Which error codes can {w} return?",
    "please explain what 503 means for {w}",
    "What is the recommended timeout for {w}?",
    "{w} failed in our unit tests with a mock, do you offer fixtures?",
    "our database was down today, so no calls to {w} from us",
    "the coffee machine is broken",
    "password reset mail for the community forum never arrives",
    "are slow responses of {w} covered by the SLA?",
    "does {w} support webhooks?", "screenshots in the {w} manual are outdated", "survey: happy so far", "can you send me last year's contract?",
]  # fmt: skip
#: Reports that say where and not what, whatever the kind.
_TRAIN_BARE = ["what is going on with {w} today?", "{w}???", "see {method} {path} at {hhmm}, please", "{w} again :(", "have a look at {path}, our customers complain", "nobody here can {do} since {hhmm}", "{w} acting up"]  # fmt: skip
_HELD_OUT_BARE = ["please check {path}", "is something wrong with {w}?", "{w} gives us headaches today", "we had to stop: {do}", "everything around {w} is weird since {hhmm}", "{method} {path}, {hhmm} UTC, you may want to see it", "our users call us about {w}"]  # fmt: skip
_KINDS = ("errors", "latency", "silence", "auth", "rate_limit")
_STATUS = {"errors": (500, 502, 503, 422), "auth": (401, 403), "rate_limit": (429,)}
_CHANNELS = ("jira", "mail", "slack", "survey")


@dataclass(frozen=True)
class Fault:
    name: str
    kind: str
    endpoint: int
    status: int
    start: datetime
    end: datetime
    consumers: frozenset[str]  # empty: everybody
    ratio: float


@dataclass
class World:
    """log: CSV of calls. items: fields of feedback. truth: (channel, id) -> Fault or None. context: context.toml."""

    seed: int
    domain: str
    log: pl.DataFrame
    faults: list[Fault]
    endpoints: list[tuple[str, str, str, str]]
    items: list[dict[str, Any]] = field(default_factory=list)
    truth: dict[tuple[str, str], Fault | None] = field(default_factory=dict)
    style: dict[tuple[str, str], str] = field(default_factory=dict)
    repeats: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    context: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """Domains and phrasings of one set of worlds. haste: what becomes of a text on its way. shift: hours that clocks of
    reporters may be off."""

    domains: dict[str, list[tuple[str, str, str, str]]]
    phrases: dict[str, list[str]]
    noise: list[str]
    bare: list[str]
    haste: Callable[[random.Random, str], str] = lambda _, text: text
    shift: tuple[int, ...] = (0,)


#: set -> vocabulary. Nothing of one stands in another; only train is fitted on.
SETS = {
    "train": Vocabulary(_TRAIN_DOMAINS, _TRAIN, _TRAIN_NOISE, _TRAIN_BARE),
    "held-out": Vocabulary(_HELD_OUT_DOMAINS, _HELD_OUT, _HELD_OUT_NOISE, _HELD_OUT_BARE),
    "second": Vocabulary(
        second.DOMAINS, second.PHRASES, second.NOISE, second.BARE, second.haste, (0, 0, 0, 1, 2, -5, 5)
    ),
}


def world(seed: int, name: str) -> World:
    """A world of one of SETS; the same seed makes the same world."""
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    words = SETS[name]
    domains = words.domains
    domain = sorted(domains)[seed % len(domains)]
    endpoints = domains[domain]
    consumers = [f"app-{n:02d}" for n in range(1, dice.choice((8, 20, 40)) + 1)]
    faults = _faults(dice, endpoints, consumers)
    made = World(seed, domain, _calls(rng, endpoints, consumers, faults), faults, endpoints)
    accounts = {consumer: f"firm{n}" for n, consumer in enumerate(consumers)}
    _people(dice, made, consumers, accounts, words)
    made.context = _context(dice, endpoints, accounts)
    return made


def _faults(dice: random.Random, endpoints: list[Any], consumers: list[str]) -> list[Fault]:
    found = []
    for n in range(dice.randint(3, 6)):
        kind = dice.choice(_KINDS)
        endpoint = dice.randrange(len(endpoints))
        start = BEGIN + timedelta(days=dice.uniform(4, DAYS - 1))
        hours = dice.choice((1, 3, 8, 24))
        end = min(NOW, start + timedelta(hours=hours))
        some = dice.random() < 0.35 and kind != "silence"
        hit = (
            frozenset(dice.sample(consumers, dice.randint(1, max(1, len(consumers) // 5))))
            if some
            else frozenset[str]()
        )
        status = dice.choice(_STATUS.get(kind, (0,)))
        found.append(Fault(f"f{n}", kind, endpoint, status, start, end, hit, dice.choice((0.08, 0.2, 0.6))))
    return found


def _calls(rng: np.random.Generator, endpoints: list[Any], consumers: list[str], faults: list[Fault]) -> pl.DataFrame:
    parts = []
    for index in range(len(endpoints)):
        rate = rng.choice((0.8, 2.0, 5.0))  # calls per 5 minutes at noon
        bins = np.arange(DAYS * 288)
        hour = (bins % 288) / 12
        n = rng.poisson(rate * (0.35 + 0.65 * np.exp(-(((hour - 13) / 5) ** 2))))
        at = np.repeat(bins, n) * 300.0 + rng.uniform(0, 300, n.sum())
        weights = rng.dirichlet(np.full(len(consumers), 0.7))
        who = rng.choice(len(consumers), len(at), p=weights)
        status = np.where(rng.uniform(size=len(at)) < 0.01, 404, 200)
        status = np.where(rng.uniform(size=len(at)) < 0.002, 500, status)
        duration = np.exp(rng.normal(np.log(rng.choice((40, 120, 500))), 0.5, len(at)))
        keep = np.ones(len(at), bool)
        for fault in faults:
            if fault.endpoint != index:
                continue
            inside = (at >= (fault.start - BEGIN).total_seconds()) & (at < (fault.end - BEGIN).total_seconds())
            if fault.consumers:
                inside &= np.isin(who, [consumers.index(name) for name in fault.consumers])
            if fault.kind == "silence":
                keep &= ~inside
            elif fault.kind == "latency":
                duration = np.where(inside, duration * rng.uniform(3, 8), duration)
            else:
                broken = inside & (rng.uniform(size=len(at)) < fault.ratio)
                status = np.where(broken, fault.status, status)
        number = rng.integers(1000, 99999, len(at))
        parts.append(
            pl.DataFrame({"at": at, "endpoint": index, "consumer": who, "status": status, "duration": duration, "number": number}).filter(pl.Series(keep))
        )  # fmt: skip
    calls = pl.concat(parts).sort("at")
    ids = rng.integers(0, 16**12, calls.height)
    routes = pl.DataFrame(
        {"endpoint": range(len(endpoints)), "method": [e[1] for e in endpoints], "route": [e[2] for e in endpoints]}
    )
    names = pl.DataFrame({"consumer": range(len(consumers)), "application_id": consumers})
    casts = [pl.col(name).cast(pl.Int64) for name in ("endpoint", "consumer")]
    return (
        calls.with_columns(*casts, request_id=pl.Series([f"{value:012x}" for value in ids.tolist()]))
        .join(routes.with_columns(pl.col("endpoint").cast(pl.Int64)), on="endpoint", maintain_order="left")
        .join(names.with_columns(pl.col("consumer").cast(pl.Int64)), on="consumer", maintain_order="left")
        .select(
            timestamp=(pl.lit(BEGIN) + pl.duration(microseconds=(pl.col("at") * 1e6).cast(pl.Int64))).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
            method="method",
            path=pl.struct("route", "number").map_elements(lambda row: row["route"].replace("{id}", str(row["number"])), return_dtype=pl.String),
            status="status",
            duration_ms=pl.col("duration").round(2),
            application_id="application_id",
            request_id="request_id",
            at="at",
            endpoint="endpoint",
        )
    )  # fmt: skip


def _people(
    dice: random.Random, made: World, consumers: list[str], accounts: dict[str, str], words: Vocabulary
) -> None:
    phrases, noise, bare = words.phrases, words.noise, words.bare
    number = 0

    def add(
        text: str, at: datetime, consumer: str | None, fault: Fault | None, style: str, mapped: bool
    ) -> tuple[str, str]:
        nonlocal number
        number += 1
        text = words.haste(dice, text)
        channel = dice.choice(_CHANNELS)
        key = f"{channel[0].upper()}{made.seed}-{number}"
        who = f"p{dice.randint(1, 3)}@{accounts[consumer]}.example" if consumer else f"user{number}@post.example"
        title, body = (text, "") if channel == "jira" and dice.random() < 0.5 else ("", text)
        if channel == "jira" and title:
            body = dice.choice(("", "Please have a look.", "Happens in production.", text))
        made.items.append(
            {"id": key, "channel": channel, "created_at": at.isoformat(), "reporter": who, "title": title or None, "body": body or None}
            | ({"account": accounts[consumer]} if consumer and mapped else {})
        )  # fmt: skip
        made.truth[channel, key] = fault
        made.style[channel, key] = style
        return channel, key

    for fault in made.faults:
        word, method, route, do = made.endpoints[fault.endpoint]
        window = made.log.filter(
            (pl.col("endpoint") == fault.endpoint)
            & pl.col("at").is_between((fault.start - BEGIN).total_seconds(), (fault.end - BEGIN).total_seconds())
        )
        if fault.status:
            window = window.filter(pl.col("status") == fault.status)
        if fault.consumers:
            window = window.filter(pl.col("application_id").is_in(sorted(fault.consumers)))
        rows = window.to_dicts()
        for _ in range(dice.choice((0, 2, 4, 7, 10))):
            call = dice.choice(rows) if rows else None
            phrase = dice.choice(phrases[fault.kind] if dice.random() < 0.8 else bare)
            if "{rid}" in phrase and call is None:
                continue
            seen = (
                BEGIN + timedelta(seconds=call["at"])
                if call
                else fault.start + (fault.end - fault.start) * dice.random()
            )
            at = seen + timedelta(minutes=dice.choice((2, 10, 40, 120, 600, 2000, 5000)) * dice.uniform(0.5, 1.5))
            at = min(at, NOW - timedelta(minutes=1))
            consumer = (
                call["application_id"] if call and dice.random() < 0.8 else (None if call else dice.choice(consumers))
            )
            text = phrase.format(
                w=word, do=do, method=method, status=fault.status or dice.choice((504, 503)), rid=call["request_id"] if call else "",
                path=call["path"] if call and dice.random() < 0.7 else route.replace("{id}", "..."), hhmm=f"{seen + timedelta(hours=dice.choice(words.shift)):%H:%M}", s=dice.randint(4, 20),
            )  # fmt: skip
            style = "request id" if "{rid}" in phrase else "path" if "{path}" in phrase else "words"
            add(text, at, consumer, fault, style, dice.random() < 0.5)
    for _ in range(dice.randint(12, 25)):
        word, _, _, do = dice.choice(made.endpoints)
        at = BEGIN + timedelta(days=dice.uniform(1, DAYS))
        add(
            dice.choice(noise).format(w=word, do=do),
            at,
            dice.choice([*consumers, None]),
            None,
            "noise",
            dice.random() < 0.5,
        )
    # Trouble that is real to the person and no fault of the interface's: another endpoint, another time, their own network.
    for _ in range(dice.randint(3, 7)):
        word, method, route, do = dice.choice(made.endpoints)
        kind = dice.choice(("errors", "latency"))
        phrase = dice.choice([phrase for phrase in phrases[kind] if "{rid}" not in phrase])
        at = BEGIN + timedelta(days=dice.uniform(0.5, DAYS))
        near = [
            fault
            for fault in made.faults
            if made.endpoints[fault.endpoint][0] == word
            and fault.start - timedelta(hours=8) <= at <= fault.end + timedelta(days=4)
        ]
        if near:
            continue  # nobody could say whether this is about the fault
        text = phrase.format(
            w=word, do=do, method=method, status=dice.choice((500, 502, 404)), rid="", path=route.replace("{id}", "..."), hhmm=f"{at:%H:%M}", s=9
        )  # fmt: skip
        add(text, at, dice.choice([*consumers, None]), None, "stray", dice.random() < 0.5)


def _context(dice: random.Random, endpoints: list[Any], accounts: dict[str, str]) -> str:
    if dice.random() < 0.25:
        return ""
    lines = ["[features]"]
    lines += [f'"{word}" = ["{method} {route}"]' for word, method, route, _ in endpoints if dice.random() < 0.7]
    lines.append("[accounts]")
    lines += [
        f'{account} = {{ consumers = ["{consumer}"], domains = ["{account}.example"] }}'
        for consumer, account in accounts.items()
        if dice.random() < 0.8
    ]
    return "\n".join(lines) + "\n"


def write(made: World, folder: Path) -> None:
    """log.csv, items.ndjson and context.toml of a world."""
    folder.mkdir(parents=True, exist_ok=True)
    made.log.drop("at", "endpoint").write_csv(folder / "log.csv")
    items = pl.DataFrame(made.items, infer_schema_length=None)
    (folder / "items.ndjson").write_text(items.write_ndjson(), encoding="utf-8")
    (folder / "context.toml").write_text(made.context, encoding="utf-8")


def belongs(candidate: dict[str, Any], fault: Fault, made: World) -> bool:
    """Whether a candidate is the planted fault: an endpoint of it, at its time, of its kind."""
    _, method, route, _ = made.endpoints[fault.endpoint]
    there = f"{method} {route}" in (candidate["endpoints"] or [])
    timely = candidate["start"] <= fault.end + timedelta(hours=1) and candidate["end"] >= fault.start
    own = {
        "silence": {"traffic"},
        "errors": {"errors"},
        "latency": {"latency"},
        "auth": {"auth", "errors"},
        "rate_limit": {"rate_limit", "errors"},
    }
    return there and timely and candidate["signal"] in own[fault.kind]
