"""Labelled repeats of different texture: bug trackers, support mail, chat, forms; what repeats is said again in other words.

Every texture has pairs that look alike and are none: the same component with another fault, the same words weeks later, the same
form filled in by others. Vocabulary and phrasings of HELD_OUT stand nowhere in TRAIN.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Vocabulary:
    """things: what the product has. symptoms: what happens, each in several wordings with {t} the thing, {d} a detail.
    details: (wording, other wording) of when or where it happens. filler: what people write around it. parts: of class names.
    """

    things: list[tuple[str, str]]
    symptoms: list[list[str]]
    details: list[tuple[str, str]]
    filler: list[str]
    parts: list[str]
    form: str
    chat: list[str]


TRAIN = Vocabulary(
    [
        ("checkout", "payment page"), ("search", "product search"), ("invoice", "bill"), ("login", "sign-in"), ("cart", "basket"),
        ("export", "CSV download"), ("webhook", "callback"), ("coupon", "voucher"), ("address book", "contacts"), ("refund", "money back"),
        ("stock feed", "inventory sync"), ("image upload", "picture upload"), ("newsletter", "mailing"), ("order history", "past orders"),
        ("wish list", "favourites"), ("tax calculation", "VAT"), ("shipping quote", "delivery price"), ("mobile app", "phone client"),
        ("admin console", "back office"), ("rate table", "price list"), ("report builder", "dashboards"), ("scheduler", "cron job"),
        ("cache", "caching layer"), ("audit log", "activity log"),
    ],
    [
        ["{t} fails with an internal error {d}", "Getting a 500 from the {t} {d}", "{t} throws {e} {d}", "the {t} crashes {d}, server says internal error"],
        ["{t} is very slow {d}", "{t} takes ages to load {d}", "timeouts on {t} {d}", "performance of the {t} degraded {d}"],
        ["{t} shows wrong totals {d}", "the sums in {t} are incorrect {d}", "{t}: amounts do not add up {d}", "miscalculated values in the {t} {d}"],
        ["{t} returns an empty result {d}", "nothing is listed in {t} {d}", "{t} comes back blank {d}", "no data in {t} {d}"],
        ["{t} rejects valid input {d}", "cannot save in {t}, validation complains {d}", "{t} says invalid value {d}", "valid data is refused by {t} {d}"],
        ["{t} ends in an endless loop {d}", "{t} never finishes {d}", "{t} hangs forever {d}", "the {t} keeps running {d}"],
        ["duplicate entries in {t} {d}", "{t} creates everything twice {d}", "records show up two times in {t} {d}", "{t} doubles the rows {d}"],
        ["memory leak in {t} {d}", "{t} eats more and more heap {d}", "OutOfMemory after a while in {t} {d}", "{t} memory grows without bound {d}"],
        ["{t} ignores the time zone {d}", "dates in {t} are shifted by hours {d}", "{t} off by one day {d}", "wrong timestamps from {t} {d}"],
        ["users lose their session in {t} {d}", "{t} logs people out {d}", "kicked out while using {t} {d}", "session expires too early in {t} {d}"],
    ],
    [
        ("when the name has an umlaut", "for names with special characters"), ("after the upgrade to 4.2", "since version 4.2"),
        ("with more than 1000 rows", "for large data sets"), ("in Firefox only", "but not in Chrome"), ("for guest users", "if nobody is signed in"),
        ("on the second click", "when clicked twice"), ("at month end", "on the last day of a month"), ("behind the corporate proxy", "through our proxy"),
        ("for customers in Norway", "with Norwegian accounts"), ("when two people edit at once", "with concurrent edits"), ("after a restart", "right after rebooting the node"),
        ("with an empty basket", "if there are no positions"), ("over IPv6", "from IPv6 networks"), ("when the token is refreshed", "after renewing the token"),
        ("for orders above 10.000", "with very large orders"), ("with dark mode on", "in the dark theme"), ("in the nightly batch", "during the night run"),
        ("for negative quantities", "when the quantity is below zero"), ("with LDAP users", "for people from the directory"), ("if a field is left out", "when an optional field is missing"),
    ],
    [
        "We noticed this yesterday.", "Please have a look.", "This blocks our release.", "I attached a log file.", "Reproducible on every try.", "Several customers complained.",
        "Our environment is Java 17 on Ubuntu.", "It worked before.", "Any workaround is welcome.", "Happens on production and staging.", "See the stack trace below.",
        "Thanks in advance for your help!", "Regards from the integration team", "I could not find anything in the documentation.", "Low priority for us, but annoying.",
    ],
    ["Order", "Cart", "Http", "Session", "Token", "Row", "Batch", "Json", "Cache", "Pool", "Query", "Index", "Event", "Task", "Lock", "Page", "Null", "Stream", "Handler", "Mapper", "Writer"],
    "Steps to reproduce:\n1. Open {t}\n2. Use it {d}\n3. Look at the result\n\nExpected result: it works as documented.\nActual result: {s}\n\nEnvironment: production, Chrome\nSeverity: normal",
    ["{t} down?", "anyone else having trouble with {t}", "is {t} broken {d}", "{t} again...", "hey, {t} doesn't do anything for me", "can somebody check {t} please", "{t} acting weird {d}"],
)  # fmt: skip
HELD_OUT = Vocabulary(
    [
        ("wire transfer", "bank transfer"), ("account statement", "monthly statement"), ("card block", "freezing a card"), ("loan offer", "credit quote"), ("standing order", "recurring payment"),
        ("parcel tracking", "shipment status"), ("label printing", "shipping labels"), ("customs form", "customs declaration"), ("pickup request", "collection booking"), ("roaming bundle", "travel package"),
        ("SIM activation", "activating a SIM"), ("number porting", "carrying over the number"), ("voicemail", "mailbox"), ("usage counter", "data meter"), ("KYC upload", "identity documents"),
        ("exchange rates", "FX rates"), ("beneficiary list", "payees"), ("depot overview", "securities account"), ("driver app", "courier app"), ("route planner", "tour planning"),
        ("warehouse scanner", "handheld"), ("tariff change", "switching the plan"), ("chargeback", "disputed payment"), ("push messages", "notifications"),
    ],
    [
        ["{t} blows up {d}", "HTTP 503 out of {t} {d}", "{e} whenever we call {t} {d}", "exception while using the {t} {d}"],
        ["{t} crawls {d}", "response times of {t} went through the roof {d}", "waiting half a minute for {t} {d}", "{t} lags badly {d}"],
        ["figures in {t} are off {d}", "{t} displays a wrong amount {d}", "balance mismatch in {t} {d}", "numbers from {t} cannot be right {d}"],
        ["{t} stays empty {d}", "blank screen in {t} {d}", "{t} finds nothing {d}", "entries vanished from {t} {d}"],
        ["{t} refuses correct details {d}", "{t}: 'please check your entry' {d}", "can't submit {t} {d}", "form of {t} will not accept it {d}"],
        ["{t} gets stuck {d}", "spinner never goes away in {t} {d}", "{t} freezes {d}", "{t} remains in processing {d}"],
        ["{t} is booked twice {d}", "same thing executed double in {t} {d}", "{t}: duplicated items {d}", "two copies of each record after {t} {d}"],
        ["{t} consumes all CPU {d}", "high load caused by {t} {d}", "{t} burns the processor {d}", "machines run hot because of {t} {d}"],
        ["{t} prints the wrong day {d}", "clock of {t} differs by an hour {d}", "{t} mixes up summer time {d}", "timestamps of {t} are in another zone {d}"],
        ["access denied in {t} {d}", "{t} tells me I am not allowed {d}", "missing permission for {t} {d}", "403 from {t} {d}"],
    ],
    [
        ("with Polish letters", "for texts with ł or ż"), ("since the May rollout", "after the last deployment in May"), ("beyond fifty positions", "with long lists"), ("on Android tablets", "from an Android device"),
        ("for joint holders", "if there are two owners"), ("after pressing back", "when navigating back"), ("around midnight", "shortly after 00:00"), ("via VPN", "from home office"),
        ("for branch 017", "in the Graz branch"), ("while another user is active", "during parallel use"), ("following a failover", "once the standby took over"), ("without any contract", "for prospects"),
        ("with the new certificate", "after the certificate was swapped"), ("on slow networks", "with bad reception"), ("for amounts in yen", "when the currency has no decimals"), ("in landscape mode", "with the phone turned sideways"),
        ("during end-of-day processing", "while the EOD job runs"), ("with leading zeros", "if the number begins with 0"), ("for minors", "when the owner is under 18"), ("if the street is missing", "for addresses without a street"),
    ],
    [
        "Happening since this week.", "Could you investigate?", "Our deadline is Friday.", "Screenshots on request.", "Three colleagues confirm it.", "Clients keep calling.", "We run the 2025 edition on Windows.",
        "No changes on our end.", "How should we proceed?", "Test system is affected as well.", "Log excerpt follows.", "Many thanks,", "Kind regards, second level", "The manual does not mention it.", "Not urgent.",
    ],
    ["Transfer", "Ledger", "Quote", "Parcel", "Label", "Sim", "Port", "Usage", "Doc", "Rate", "Payee", "Depot", "Route", "Scan", "Tariff", "Push", "Socket", "Proxy", "Codec", "Guard", "Broker"],
    "What did you do?\n- used {t} {d}\n\nWhat did you expect?\n- that it just works\n\nWhat happened instead?\n- {s}\n\nVersion: latest\nImpact: single user",
    ["{t} dead?", "does {t} work for you?", "{t} is giving me headaches {d}", "no luck with {t} today", "pls look at {t}", "{t} ??? {d}", "something off with {t}"],
)  # fmt: skip


@dataclass(frozen=True)
class _Matter:
    thing: int
    symptom: int
    detail: int
    error: str
    at: datetime


def items(texture: str, count: int, held_out: bool, seed: int = 1) -> list[dict[str, Any]]:
    """Rows id, created_at, title, body, reporter, duplicate_of: a fifth or so repeats an earlier one. texture: of TEXTURES."""
    dice, words = random.Random(f"{seed} {texture}"), HELD_OUT if held_out else TRAIN
    write, span, alive = TEXTURES[texture]
    rows: list[dict[str, Any]] = []
    matters: list[tuple[_Matter, str]] = []
    for n in range(count):
        at = BEGIN + timedelta(days=span * n / count, minutes=dice.uniform(0, 30))
        recent = [entry for entry in matters[-60:] if at - entry[0].at <= alive]
        of = dice.choice(recent) if recent and dice.random() < 0.22 else None
        if of is None:
            error = (
                "".join(dice.sample(words.parts, 2))
                + dice.choice(("Exception", "Error", "Fault"))
                + (f"-{dice.randint(100, 999)}" if dice.random() < 0.5 else "")
            )
            matter = _Matter(dice.randrange(len(words.things)), dice.randrange(len(words.symptoms)), dice.randrange(len(words.details)), error, at)  # fmt: skip
            name = f"{texture[:2].upper()}-{n}"
            matters.append((matter, name))
        else:
            matter = of[0]
        title, body = write(dice, words, matter)
        if of is not None and dice.random() < 0.2:
            # Sent again, or by a colleague who copied it.
            first = next(row for row in rows if row["id"] == of[1])
            title = first["title"]
            body = f"{dice.choice(('', 'Hello again, ', 'Any news? ', 'As reported: '))}{_slips(dice, first['body'])}"
        rows.append({"id": f"{texture[:2].upper()}-{n}", "created_at": at, "title": title, "body": body, "reporter": f"p{dice.randint(1, 300)}@x.example",
                     "duplicate_of": of[1] if of else None})  # fmt: skip
    return rows


def _said(dice: random.Random, words: Vocabulary, matter: _Matter) -> str:
    thing, detail = dice.choice(words.things[matter.thing]), dice.choice(words.details[matter.detail])
    return dice.choice(words.symptoms[matter.symptom]).format(t=thing, d=detail, e=matter.error)


def _slips(dice: random.Random, text: str) -> str:
    """The text as typed in haste: letters swapped and left out."""
    signs = list(text)
    for _ in range(len(signs) // 60):
        place = dice.randrange(len(signs) - 1)
        signs[place : place + 2] = dice.choice((signs[place : place + 2][::-1], signs[place : place + 1]))
    return "".join(signs)


def _tracker(dice: random.Random, words: Vocabulary, matter: _Matter) -> tuple[str | None, str]:
    lines = [_said(dice, words, matter) + ".", *dice.sample(words.filler, dice.randint(1, 3))]
    if dice.random() < 0.5:
        lines.append(
            f"The {dice.choice(words.things[matter.thing])} is affected {dice.choice(words.details[matter.detail])}."
        )
    if dice.random() < 0.4:
        # The stack trace is the program's: two reports of one fault share it but for the ends.
        frames = random.Random(matter.error)
        trace = [
            f"  at {''.join(frames.sample(words.parts, 2))}.{frames.choice(words.parts).lower()}({frames.randint(10, 900)})"
            for _ in range(8)
        ]
        first = dice.randint(0, 2)
        lines.append("\n".join([matter.error, *trace[first : first + 5]]))
    return _said(dice, words, matter), "\n".join(lines)


def _mail(dice: random.Random, words: Vocabulary, matter: _Matter) -> tuple[str | None, str]:
    title = dice.choice(("Problem", "Help needed", "Question about {t}", "{t}", "Urgent", "{t} problem")).format(
        t=dice.choice(words.things[matter.thing])
    )
    lines = [
        dice.choice(("Hello,", "Hi team,", "Dear support,", "")),
        _said(dice, words, matter),
        *dice.sample(words.filler, 2),
    ]
    lines.append(f"Customer number {dice.randint(10000, 99999)}")
    return title, _slips(dice, "\n".join(lines))


def _chat(dice: random.Random, words: Vocabulary, matter: _Matter) -> tuple[str | None, str]:
    thing, detail = dice.choice(words.things[matter.thing]), dice.choice(words.details[matter.detail])
    text = dice.choice(words.chat).format(t=thing, d=detail) if dice.random() < 0.5 else _said(dice, words, matter)
    return None, _slips(dice, text.lower())


def _form(dice: random.Random, words: Vocabulary, matter: _Matter) -> tuple[str | None, str]:
    thing, detail = dice.choice(words.things[matter.thing]), dice.choice(words.details[matter.detail])
    return _said(dice, words, matter), words.form.format(t=thing, d=detail, s=_said(dice, words, matter))


_Writer = Callable[[random.Random, Vocabulary, _Matter], tuple[str | None, str]]
#: texture -> (how it is written, days it spans, how long people go on reporting one matter)
TEXTURES: dict[str, tuple[_Writer, float, timedelta]] = {
    "tracker": (_tracker, 700.0, timedelta(days=150)),
    "mail": (_mail, 120.0, timedelta(days=4)),
    "chat": (_chat, 60.0, timedelta(hours=8)),
    "form": (_form, 300.0, timedelta(days=60)),
}
