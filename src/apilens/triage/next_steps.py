"""What to do next about a candidate: where to look, and the commands that show more."""

from __future__ import annotations

import re
from typing import Any

#: signal -> where to look when no single consumer, node or upstream carries the change. Those that are not here say it in their
#: explanation.
_WHERE = {
    "errors": "Look at the log of the service behind it from {since} on, and at what was deployed or configured shortly before.",
    "latency": "Compare where the time goes, gateway or upstream, and look at load, database and"
    " deployments before {since}.",
    "auth": "Look for what changed at {since}: expired keys or certificates, token lifetimes, the identity provider, roles.",
    "rate_limit": "Look which limit is met and whether it is meant; then tell the callers their quota or raise it.",
}
_FEWER = (
    "Ask whether calls reach the gateway at all (DNS, certificate, firewall, the callers' own deployments): calls that are missing"
    " leave no error here."
)
_MORE = "See who calls more and whether it is meant (release, batch job, retries in a loop) before capacity runs out."

_SYSTEM = "See what uses it up{place}, what was deployed or started before {since}, and whether calls suffer: apilens scan lists them."

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:/=+_-]*", re.ASCII)


def next_steps(candidate: dict[str, Any]) -> list[str]:
    """Steps for a row of schema.CANDIDATES, the first one first: where to look, and what to type. Never empty; log text in them may
    be hostile."""
    steps = [where_to_look(candidate)]
    # A client may have written an id: one that a shell, or a Markdown reader on the way to it, would change is not offered.
    plain = next(filter(_PLAIN.fullmatch, candidate["request_ids"] or []), None)
    if plain and candidate["signal"] != "traffic":
        steps.append(f"Follow one of its calls through the logs: apilens trace {plain}")
    steps.append(f"See what carries it, before and after: apilens explain {candidate['id']}")
    return [step for step in steps if step]


def where_to_look(candidate: dict[str, Any]) -> str | None:
    """One sentence for a row of schema.CANDIDATES; None: its explanation says it."""
    hint = candidate["hint"] or {}
    since = f"{candidate['first_affected_at'] or candidate['start']:%Y-%m-%d %H:%M:%S} UTC"
    if consumer := hint.get("consumer"):
        return (
            f"It is about one consumer: ask {consumer} what it changed before {since}, or tell it what it gets wrong."
        )
    if candidate["signal"] == "traffic":
        # Behind an upstream or on a node they are few or many, and that is not what makes them so.
        return _FEWER if (candidate["observed"] or 0.0) < (candidate["expected"] or 0.0) else _MORE
    if candidate["signal"] == "system":
        return _SYSTEM.format(place=f" on {hint['node']}" if hint.get("node") else "", since=since)
    if candidate["signal"] in ("log_gap", "clock_skew"):
        return None  # a log or a clock is wrong: no reason to take anything out of service
    if node := hint.get("node"):
        return f"It is about one node: compare {node} with the others (version, configuration, disk), or take it out of service."
    if upstream := hint.get("upstream"):
        return f"Look at the upstream {upstream}: its log from {since} on, its health checks, its last deployment."
    words = _WHERE.get(candidate["signal"])
    return words and words.format(since=since)
