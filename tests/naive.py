"""Slow and obvious twins of fast code: what the fast code is compared against."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any


def naive_template(path: str) -> str:
    """The route of one path, segment by segment: the reference for apilens.routes.template."""
    if not path.startswith("/"):
        path = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "", path)
        if path in ("*", "{id}"):
            return path
        if path == "":
            return "/"
        if not path.startswith("/"):
            return "{id}"
    parts = [part for part in (part.split(";")[0] for part in path[1:].split("/")) if part]
    if not parts:
        return "/"
    fixed = _naive_version(parts)
    tail = re.search(_TAIL, parts[-1])
    ending = tail[0] if tail else ""
    stems = [*parts[:-1], parts[-1].removesuffix(ending)]
    parts = [part if at == fixed else "{id}" if _naive_is_variable(part) else part for at, part in enumerate(stems)]
    parts[-1] += ending
    parts = ["{id}" if len(part) > 40 else part for part in parts]
    return "/" + "/".join(parts if len(parts) <= 16 else [*parts[:15], "{rest}"])


_TAIL = (
    r"(?:\.(?:json|jsonl|ndjson|xml|csv|tsv|yaml|yml|txt|html|htm|pdf|png|jpg|jpeg|gif|svg|webp|ico|css|js|mjs|map|wasm"
    r"|woff|woff2|ttf|zip|gz|tar|md|rss|atom|ics|xlsx|xls|docx|doc|mp3|mp4|webm|php|asp|aspx|jsp)"
    r"|:[a-z]*[g-z][A-Za-z]*)\Z"
)


def _naive_version(parts: list[str]) -> int | None:
    """Where a number stands that is a version; something must follow it."""
    for at, part in enumerate(parts[:-1]):
        doors = 0
        while doors < min(2, at) and parts[at - 1 - doors] in ("api", "rest"):
            doors += 1
        first = parts[: at - doors]
        may_lead = doors and len(first) == 1 and re.fullmatch(r"[A-Za-z_]{1,20}(-[A-Za-z]{1,9}){0,2}", first[0])
        if (not first or may_lead) and re.fullmatch(r"[0-9](\.[0-9]{1,2})?|v[0-9]{1,2}\.[0-9]{2}", part):
            return at
    return None


def _naive_is_variable(segment: str) -> bool:
    words = re.split(r"[^A-Za-z0-9]+", segment)
    tokens = re.split(r"[^A-Za-z0-9_]+", segment)
    numbers = re.findall(r"[0-9]+", segment)
    dashed = segment.split("-")
    if re.search(r"[^A-Za-z0-9._~:$@*{}-]", segment) or re.match(r"-?[0-9]+([^A-Za-z0-9_]|\Z)", segment):
        return True
    if any(len(number) >= 4 for number in numbers) or any(re.match("[0-9]{2}", word) for word in words):
        return True
    for word in words:
        runs = re.findall("[A-Za-z]+|[0-9]+", word)
        for before, between, _ in zip(runs, runs[1:], runs[2:], strict=False):
            if before.isdigit() and between not in ("alpha", "beta", "rc"):
                return True
        if len(runs) > 1 and runs[0].isalpha() and len(runs[1]) >= 3 and runs[0] not in _ALGORITHMS:
            return True
    if any(re.fullmatch("[0-9A-Fa-f]{7,}", token) for token in tokens):
        return True
    # Letters of a token, not camelCase: kQwZ, but not findByStatus.
    if re.search(f"[a-z](?!(?:{_LITTLE})[A-Z])[A-Z]{{1,3}}[a-z][A-Z]", segment):
        return True
    if re.search("[A-Za-z]{2}[0-9]{2}[A-Za-z]{2}|[A-Z]-[0-9]|[A-Za-z0-9]@", segment):
        return True
    if segment.count(":") >= 2 or len(dashed) >= 5:
        return True
    if any(dashed[at] and re.match("[0-9]([^A-Za-z0-9_]|$)", dashed[at + 1]) for at in range(1, len(dashed) - 1)):
        return True
    if len(dashed) == 4 and re.fullmatch("[A-Za-z]+", dashed[0]) and dashed[0] not in _VERBS:
        return True
    braced = re.match(r"\{([A-Za-z]+)[^A-Za-z]", segment)
    return braced is not None and braced[1] not in ("id", "rest")


_ALGORITHMS = ("sha", "x", "h", "rs", "es", "hs", "ps")
_LITTLE = "As|An|At|By|Be|Do|Go|He|Id|If|In|Is|It|Me|My|No|Of|Ok|On|Or|So|To|Up|Us|Vs|We"
_VERBS = {
    "accept",
    "approve",
    "archive",
    "assign",
    "batch",
    "bulk",
    "cancel",
    "change",
    "check",
    "clear",
    "close",
    "complete",
    "confirm",
    "convert",
    "copy",
    "create",
    "deactivate",
    "delete",
    "disable",
    "download",
    "enable",
    "export",
    "fetch",
    "forgot",
    "generate",
    "get",
    "import",
    "invite",
    "list",
    "mark",
    "personal",
    "preview",
    "publish",
    "refresh",
    "register",
    "reject",
    "remove",
    "request",
    "resend",
    "reset",
    "restore",
    "revoke",
    "search",
    "send",
    "set",
    "start",
    "stop",
    "submit",
    "sync",
    "test",
    "toggle",
    "unassign",
    "unlink",
    "update",
    "upload",
    "validate",
    "verify",
}


def naive_percentile(values: list[float], percent: int | Fraction) -> float | None:
    """The nearest rank: the smallest value with at least that share of all values at or below it."""
    if not values:
        return None
    return sorted(values)[ceil(Fraction(percent) / 100 * len(values)) - 1]


def naive_apdex(timed: list[tuple[float, int | None]], threshold_ms: float) -> float | None:
    """Satisfied plus half of tolerating over all, from (duration, status); a server error frustrates."""
    if not timed:
        return None
    points = 0.0
    for duration, status in timed:
        if status is not None and status >= 500:
            continue
        if duration <= threshold_ms:
            points += 1
        elif duration <= 4 * threshold_ms:
            points += 0.5
    return points / len(timed)


def naive_endpoints(
    calls: Iterable[dict[str, Any]],
    start: datetime | None,
    end: datetime | None,
    apdex_ms: float,
    include_synthetic: bool,
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Endpoint -> its measures, one call after the other: the reference for Lens.endpoints(exact=True)."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        if not include_synthetic and call["synthetic_type"] is not None:
            continue
        if (start is None or call["start_time"] >= start) and (end is None or call["start_time"] < end):
            groups[tuple(call[name] for name in ("environment", "service", "method", "route"))].append(call)
    found = {}
    for key, group in groups.items():
        timed = [(call["duration_ms"], call["status_code"]) for call in group if call["duration_ms"] is not None]
        codes = [call["status_code"] or 0 for call in group]
        found[key] = {
            "calls": len(group),
            "error_ratio": sum(500 <= code <= 599 for code in codes) / len(group),
            "client_error_ratio": sum(400 <= code <= 499 for code in codes) / len(group),
            **{f"p{p}_ms": naive_percentile([duration for duration, _ in timed], p) for p in (50, 90, 95, 99)},
            "p999_ms": naive_percentile([duration for duration, _ in timed], Fraction("99.9")),
            "durations": len(timed),
            "apdex": naive_apdex(timed, apdex_ms),
            "response_bytes": sum(call["response_bytes"] or 0 for call in group),
            "first_seen": min(call["start_time"] for call in group),
            "last_seen": max(call["start_time"] for call in group),
        }
    return found


def naive_models(calls: Iterable[dict[str, Any]], include_synthetic: bool) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(endpoint, provider, model) -> its measures, one call after the other: the reference for Lens.models."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    tokens = ("gen_ai_usage_input_tokens", "gen_ai_usage_output_tokens")
    for call in calls:
        own = (call["gen_ai_provider"], call["gen_ai_request_model"])
        named = any(value is not None for value in (*own, *(call[name] for name in tokens)))
        if named and (call["synthetic_type"] is None or include_synthetic):
            groups[(*(call[name] for name in ("environment", "service", "method", "route")), *own)].append(call)
    found = {}
    for key, group in groups.items():
        sums = [[call[name] for call in group if call[name] is not None] for name in tokens]
        counted = sum(any(call[name] is not None for name in tokens) for call in group)
        timed = [call["duration_ms"] for call in group if call["duration_ms"] is not None]
        found[key] = {
            "calls": len(group),
            "error_ratio": sum(500 <= (call["status_code"] or 0) <= 599 for call in group) / len(group),
            "rate_limited_ratio": sum(call["status_code"] == 429 for call in group) / len(group),
            "input_tokens": sum(sums[0]) if sums[0] else None,
            "output_tokens": sum(sums[1]) if sums[1] else None,
            "counted": counted,
            "tokens_per_call": (sum(sums[0]) + sum(sums[1])) / counted if counted else None,
            "p50_ms": naive_percentile(timed, 50),
            "p95_ms": naive_percentile(timed, 95),
            "durations": len(timed),
            "first_seen": min(call["start_time"] for call in group),
            "last_seen": max(call["start_time"] for call in group),
        }
    return found
