"""A ticket in no tracker's markup, and what a tracker has to be able to do with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from apilens.reports.units import evidence, lasting, measured
from apilens.triage.next_steps import next_steps

_MANY = 20  # consumers, request ids and reports that are written out; the rest is counted


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its lines, of plain text that may be hostile."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is to be filed. All text is plain and may be hostile; each tracker escapes it for its own markup."""

    id: str  # stays the same as long as the problem does; see plan()
    fingerprint: str
    title: str
    facts: tuple[tuple[str, str], ...]  # (name, value)
    sections: tuple[Section, ...]  # the first says what happened: it stands before the facts

    def payload(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @staticmethod
    def of(payload: dict[str, Any]) -> Ticket:
        """The ticket of a payload()."""
        return Ticket(
            id=payload["id"],
            fingerprint=payload["fingerprint"],
            title=payload["title"],
            facts=tuple((name, value) for name, value in payload["facts"]),
            sections=tuple(Section(entry["heading"], tuple(entry["lines"])) for entry in payload["sections"]),
        )


class Tracker(Protocol):
    """A place for tickets. `create` for a ticket that is there already must find it or be told by `find` before."""

    name: str  # kind:where, the same for every process that means the same place
    settle_s: float  # after this time a delivery either shows in `find` or did not happen

    def find(self, ticket: Ticket) -> str | None:
        """What the tracker calls this ticket; None: it is not there. Raises OutboundError."""

    def create(self, ticket: Ticket) -> str:
        """Deliver it; what the tracker calls it. Raises OutboundError."""


def ticket(key: str, problem: dict[str, Any], candidate: dict[str, Any]) -> Ticket:
    """The ticket `key` for a row of schema.QUEUE and the row of schema.CANDIDATES it comes from."""
    hint = candidate["hint"] or {}
    # "default" stands for none that was declared.
    environment = None if candidate["environment"] == "default" else candidate["environment"]
    title = candidate["title"] or candidate["id"]
    lasted = lasting(candidate["end"] - candidate["start"])
    began = "since" if problem["state"] == "open" else "began"
    facts = [
        ("Priority", f"{problem['priority']} (weight {problem['weight']:.0f} of 100: {problem['why']})"),
        ("Severity", problem["severity"]),
        ("Category", problem["category"]),
        ("State", f"{problem['state']}, {began} {candidate['start']:%Y-%m-%d %H:%MZ}"),
        ("First failed call", f"{first:%Y-%m-%d %H:%M:%SZ}" if (first := candidate["first_affected_at"]) else None),
        ("Ended", f"{candidate['end']:%Y-%m-%d %H:%MZ}, after {lasted}" if candidate["state"] == "ended" else None),
        ("Owner", problem["owner"]),
        ("Environment", environment),
        ("Service", problem["service"]),
        ("Endpoints", ", ".join(problem["endpoints"] or [])),
        ("Measured", _measured(candidate)),
        *((name.capitalize(), value) for name, value in hint.items()),
        ("Consumers", _consumers(problem)),
        ("Fingerprint", candidate["fingerprint"]),
    ]
    sections = [
        Section("What happened", (candidate["explanation"] or candidate["title"] or "",)),
        Section("What to do next", tuple(next_steps(candidate))),
        Section(
            "Reports",
            _some(
                f"{report['channel']} {report['id']}, {report['reporter'] or 'unknown'}, "
                f"{report['created_at']:%Y-%m-%d %H:%MZ}: {report['quote']} "
                f"(confidence {report['confidence']:.2f}: {'; '.join(report['reasons'])})"
                for report in problem["reports"] or []
            ),
        ),
        Section("Hit but silent: who to tell", _some(problem["silent_consumers"] or [])),
        Section("Evidence: before and during", _some(map(_evidence, candidate["evidence"] or []))),
        Section(
            "Request ids of calls meanwhile" if candidate["signal"] == "traffic" else "Request ids of affected calls",
            _some(candidate["request_ids"] or []),
        ),
    ]
    return Ticket(
        id=key,
        fingerprint=candidate["fingerprint"],
        title=f"{environment}: {title}" if environment else title,
        facts=tuple((name, value) for name, value in facts if value),
        sections=tuple(section for section in sections if section.lines),
    )


def _consumers(problem: dict[str, Any]) -> str:
    if problem["hit"] is None:
        return f"whom it hit is not known: the calls name no consumer; {problem['told']} told"
    coverage = problem["identity_coverage"]
    known = "" if coverage is None else f" (consumer known for {coverage:.0%} of the calls)"
    return f"{problem['hit']} hit, {problem['told']} told, {problem['silent']} silent{known}"


def _measured(candidate: dict[str, Any]) -> str | None:
    observed, expected, unit = candidate["observed"], candidate["expected"], candidate["unit"]
    if observed is None:
        return None
    against = "" if expected is None else f", expected {measured(expected, unit)}"
    return f"{measured(observed, unit)}{against}" + (f", of {candidate['n']:,} calls" if candidate["n"] else "")


def _evidence(one: dict[str, Any]) -> str:
    """`node gw-1: 1.2 % to 98 %; has 97 % of the change with 33 % of the calls`."""
    values = ["unknown" if one[name] is None else evidence(one[name], one["unit"]) for name in ("before", "during")]
    carries = (
        ""
        if one["share"] is None
        else f"; has {one['share']:.0%} of the change with {one['traffic_share'] or 0.0:.0%} of the calls"
        f" (by chance {one['p'] or 0.0:.1g})"
    )
    return f"{one['name']} {one['value'] or ''}: {' to '.join(values)}{carries}"


def _some(lines: Any) -> tuple[str, ...]:
    every = tuple(lines)
    return every if len(every) <= _MANY else (*every[:_MANY], f"and {len(every) - _MANY} more")
