"""Incidents → candidate tickets: what to call them, how bad they are, and the numbers behind that in plain words."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet
from apilens.detect.bins import HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown, profile_of, windows_frame
from apilens.detect.counting import ABORTS, OPEN_LOG10_P
from apilens.detect.incidents import Incident
from apilens.detect.runs import HINT_EXCESS, HINT_TRAFFIC, Profile, Run

#: Minutes without anything abnormal after which an incident has ended: 90, or as long as its calls are apart.
QUIET = HOUR * 3 // 2
MAX_CONSUMERS = 1_000
MAX_REQUEST_IDS = 20
PER_BIN = " calls per 5 minutes"
#: Cuts of the technical severity (FEEDBACK.md, "Severity and priority").
SEVERITY_CUTS = ((0.75, "critical"), (0.5, "high"), (0.25, "medium"))
#: Gateway answers that speak of the system behind it.
DEPENDENCY_CODES = (502, 503, 504)
#: What many consumers get wrong at once.
MISTAKES = (400, 404, 422)
_CODES = frozenset(HTTPStatus)


@dataclass(frozen=True, slots=True)
class _Measured:
    """An incident over its whole time, in the unit of its signal."""

    observed: float
    expected: float
    unit: str
    n: int
    excess: float
    profile: Profile


def describe(incidents: list[Incident], fleet: Fleet, breakdown: Breakdown, *, now: datetime) -> pl.DataFrame:
    """One row of schema.CANDIDATES per incident, in the order in which they were raised.

    now: decides open or ended, nothing else. Fingerprint, start and detected_at were fixed when the incident opened.
    """
    minute = int(now.timestamp()) // 60 - fleet.first_bin * MINUTES
    asked: list[tuple[int, int, int]] = []
    owners: list[tuple[int, Run]] = []
    for number, incident in enumerate(incidents):
        for run in _main_runs(incident):
            owners.append((number, run))
            asked.append((run.endpoint, run.begin * MINUTES, _end(run, minute)))
    parts = breakdown(windows_frame(asked, fleet)) if asked else schema.BREAKDOWN.to_frame()
    by_window = {int(key[0]): part for key, part in parts.group_by("window_id")}
    evidence: list[list[tuple[Run, pl.DataFrame]]] = [[] for _ in incidents]
    for window, (number, run) in enumerate(owners):
        evidence[number].append((run, by_window.get(window, schema.BREAKDOWN.to_frame())))
    names = fleet.endpoints.to_dicts()
    rows = [
        _candidate(incident, part, names, fleet, minute) for incident, part in zip(incidents, evidence, strict=True)
    ]
    return pl.DataFrame(rows, schema=schema.CANDIDATES)


def _end(run: Run, minute: int) -> int:
    """The minute until which a run is told at the end of another."""
    return min((run.last(minute) + 1) * MINUTES, minute)


def _main_runs(incident: Incident) -> list[Run]:
    """The runs that measure the incident: those of its main signal, one per uninterrupted time; side effects only add
    endpoints."""
    signal = _signal(incident)
    merged: list[Run] = []
    for run in sorted((run for run in incident.runs if run.signal == signal), key=lambda run: run.start):
        # What flapped, or was raised anew while it lasted, is measured once.
        before = next(
            (other for other in merged if other.series == run.series and run.start <= other.bins[-1] + 1), None
        )
        if before is None:
            merged.append(run)
            continue
        peak = max(before.at_peak, run.at_peak, key=lambda measured: float(measured["excess"]))
        # A heavier tail lasts as long as its windows; what was expected of most calls, and until when, is told by those that are followed.
        followed = [one for one in (before, run) if one.watched]
        recovered = [one.recovered for one in followed if one.recovered is not None]
        expected = float(np.average([before.expected, run.expected], weights=[len(before.bins), len(run.bins)]))
        merged[merged.index(before)] = replace(
            before,
            bins=np.union1d(before.bins, run.bins),
            at_open=(followed or [before])[0].at_open,
            at_peak=peak,
            expected=expected,
            watched=bool(followed),
            recovered=max(recovered) if recovered and len(recovered) == len(followed) else None,
        )
    return merged


def _signal(incident: Incident) -> str:
    """The signal of the first run, unless that was a side effect (slower, retried) of failures which showed within an
    hour."""
    first = incident.first
    if first.status is None:
        causes = [run for run in incident.runs if run.status is not None and run.opened - first.opened <= HOUR]
        if causes:
            return causes[0].signal
    return first.signal


def fingerprint(incident: Incident, names: list[dict[str, str]]) -> str:
    """20 hex digits that are equal for the same problem at another time: no value, time or count goes in.

    Made of environment, service, what the incident is about (consumer, node, upstream, else the first endpoint),
    signal and error class. One consumer's or node's trouble shows on any service first, so there the service is left
    out.
    """
    first = incident.first
    endpoint = names[first.endpoint]
    service = endpoint["service"] or ""
    if incident.consumer:
        service, key = "", f"consumer={incident.consumer}"
    elif incident.node:
        service, key = "", f"node={incident.node}"
    elif incident.upstream:
        service, key = "", f"upstream={incident.upstream}"
    else:
        key = f"endpoint={_endpoint(endpoint)}"
    parts = (endpoint["environment"] or "", service, key, first.signal, _error_class(first))
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _error_class(run: Run) -> str:
    if run.status is None:
        return {1: "more", -1: "less"}[run.direction]
    return "5xx" if run.status >= 500 else str(run.status)


def _endpoint(name: dict[str, str]) -> str:
    return f"{name['method'] or '-'} {name['route'] or '-'}"


def _candidate(
    incident: Incident,
    evidence: list[tuple[Run, pl.DataFrame]],
    names: list[dict[str, str]],
    fleet: Fleet,
    minute: int,
) -> dict[str, object]:
    signal = _signal(incident)
    measured = _measure(signal, evidence, minute)
    last = max(run.last(minute) for run, _ in evidence)
    # The bin that is not over yet, where that is abnormal already, ends now.
    start, end = _time(incident.begin * MINUTES, fleet), _time(min((last + 1) * MINUTES, minute), fleet)
    detected_at = _time(incident.first.known, fleet)
    weight: dict[int, float] = {}
    for run in incident.runs:
        weight[run.endpoint] = max(weight.get(run.endpoint, 0.0), float(run.at_peak["excess"]) * (run.signal == signal))
    order = sorted(weight, key=lambda endpoint: (-weight[endpoint], endpoint))
    endpoints = [_endpoint(names[endpoint]) for endpoint in order]
    services = {names[endpoint]["service"] for endpoint in order}
    codes = _codes(evidence)
    hint = _hint(incident, signal, codes, measured.profile)
    consumers, coverage = _consumers(signal, codes, evidence, measured.profile)
    quiet = max(QUIET, 2 * (incident.first.opened - incident.first.start) // 3)
    state = "open" if minute // MINUTES - (last + 1) < quiet else "ended"
    severity = _severity(signal, incident.first.direction, measured, codes)
    mark = fingerprint(incident, names)
    return {
        "id": f"{mark}-{start:%Y%m%dT%H%MZ}",
        "fingerprint": mark,
        "detected_at": detected_at,
        "start": start,
        "end": end,
        "first_affected_at": _first_affected(codes, evidence),
        "state": state,
        "environment": names[order[0]]["environment"],
        "service": services.pop() if len(services) == 1 else None,
        "endpoints": endpoints,
        "signal": signal,
        "category": _category(signal, incident.first.direction, codes, hint, len(consumers)),
        "severity": next((word for cut, word in SEVERITY_CUTS if severity >= cut), "low"),
        "hint": hint,
        "affected_consumers": consumers[:MAX_CONSUMERS],
        "consumers_hit": len(consumers) if coverage else None,
        "identity_coverage": coverage,
        "excess_calls": measured.excess,
        "score": measured.excess,
        "observed": measured.observed,
        "expected": measured.expected,
        "unit": measured.unit,
        "n": measured.n,
        "request_ids": _request_ids(codes, evidence),
        "title": _title(incident, signal, codes, hint, endpoints, measured),
        "explanation": _explanation(
            incident, signal, codes, hint, endpoints, measured, (start, end, detected_at), state, len(consumers)
        )
        + _late(incident.first, fleet),
    }


def _time(minute: int, fleet: Fleet) -> datetime:
    return datetime.fromtimestamp(minute * 60 + fleet.first_bin * schema.BIN_S, UTC)


def _codes(evidence: list[tuple[Run, pl.DataFrame]]) -> list[int]:
    """Status codes of the incident, the one with most excess first; empty for latency and traffic."""
    excess: dict[int, float] = {}
    for run, _ in evidence:
        if run.status is not None:
            excess[run.status] = excess.get(run.status, 0.0) + float(run.at_peak["excess"])
    return sorted(excess, key=lambda code: (-excess[code], code))


def _measure(signal: str, evidence: list[tuple[Run, pl.DataFrame]], minute: int) -> _Measured:
    """Observed against expected over the incident's windows, added up over its endpoints. minute: up to which it is told."""
    profile = Profile()
    for run, part in evidence:
        profile = profile.plus(
            run.profile if signal == "traffic" else profile_of(run, part, schema.BREAKDOWN.to_frame(), run.at_peak)
        )
    main = max((run for run, _ in evidence), key=lambda run: float(run.at_peak["excess"]))
    expected = float(main.at_peak["expected"])
    if signal == "traffic":
        calls = sum(int(part["calls"].sum()) for _, part in evidence)
        bins = {id(run): _end(run, minute) / MINUTES - run.begin for run, _ in evidence}
        spans = sum(run.expected * bins[id(run)] for run, _ in evidence)
        # The window of the peak reaches back to before it began, and its hour is not every hour: what is said of [start, end)
        # is counted in it.
        of_main = next(int(part["calls"].sum()) for run, part in evidence if run is main)
        observed, usual = of_main / bins[id(main)], main.expected
        if main.direction * (observed - usual) <= 0:
            # Abnormal for hours out of a day in which it made up for them: the worst window says it.
            observed, usual = float(main.at_peak["observed"]), expected
        missing = max(main.direction * (calls - spans), float(main.at_peak["excess"]))
        return _Measured(observed, usual, "calls", calls, missing, profile)
    if signal == "latency":
        good = pl.concat([part for _, part in evidence]).filter(pl.col("status_code") < 400)
        timed = int(good["timed"].sum())
        if main.at_peak["unit"] == "ms" and timed:
            own = next(part for run, part in evidence if run is main).filter(pl.col("status_code") < 400)
            observed = math.exp(float(own["log_duration_sum"].sum()) / max(int(own["timed"].sum()), 1))
            # A trailing forecast has learned what lasts by its peak; what was expected when it began holds.
            expected = float(main.at_open["expected"]) if main.watched else expected
            slower = max(1 - expected / observed, 0.0)
            return _Measured(observed, expected, "ms", timed, timed * slower, profile)
        observed = float(main.at_peak["observed"])
        return _Measured(observed, expected, "ratio", timed, max(timed * (observed - expected), 0.0), profile)
    hits = base = 0.0
    calls_of: dict[int, dict[int | None, int]] = {}
    for run, part in evidence:
        calls = int(part["calls"].sum())
        by_code = calls_of.setdefault(run.endpoint, {})
        by_code[run.status] = by_code.get(run.status, 0) + calls
        hits += int(part.filter(pl.col("status_code") == run.status)["calls"].sum())
        # A trailing baseline has learned a lasting problem by its peak; what was expected when it began holds.
        base += float(run.at_open["expected"]) * calls
    # Several codes of one endpoint share its calls.
    n = sum(max(by_code.values()) for by_code in calls_of.values())
    return _Measured(hits / max(n, 1), base / max(n, 1), "ratio", n, max(hits - base, 0.0), profile)


def _hint(incident: Incident, signal: str, codes: list[int], profile: Profile) -> dict[str, str | None]:
    """The dimension values that carry the excess; what was known when the incident opened holds where nothing better
    is known now."""
    consumer = profile.carrier("consumer") or _whose_calls(signal, profile)
    node = None if consumer else profile.carrier("node")
    if consumer is None and node is None:
        consumer, node = incident.consumer, incident.node
    upstream, share, _ = profile.top("upstream")
    behind = bool(codes) and codes[0] in DEPENDENCY_CODES
    together = len({run.endpoint for run in incident.runs if run.signal == signal}) > 1
    named = consumer is None and node is None and (behind or together) and share > 0.85
    return {
        "status": str(codes[0]) if codes else None,
        # One of several machines behind the upstream says more than the upstream.
        "upstream": (profile.carrier("address") or upstream or None) if named else None,
        "consumer": consumer or None,
        "node": node or None,
    }


def _whose_calls(signal: str, profile: Profile) -> str | None:
    """The client that was refused, where nearly all calls are its own: nobody else could show that it is about this client, but
    refusals are one client's matter by nature. Calls that name nobody are nobody's."""
    value, share, traffic = profile.top("consumer")
    alone = signal in ("auth", "rate_limit") and share >= HINT_EXCESS and traffic > HINT_TRAFFIC
    return value if alone and value else None


def _consumers(
    signal: str, codes: list[int], evidence: list[tuple[Run, pl.DataFrame]], profile: Profile
) -> tuple[list[str], float | None]:
    """Consumers behind the affected calls, most hit first, and for what share of these calls the consumer is known."""
    if signal == "traffic":
        moved = {value: part for value, part in profile.excess["consumer"].items() if part > 0}
        total = sum(moved.values())
        known = {value: part for value, part in moved.items() if value}
        return sorted(known, key=lambda value: (-known[value], value)), sum(known.values()) / total if total else None
    hit = pl.concat([part for _, part in evidence])
    hit = hit.filter(pl.col("status_code").is_in(codes) if codes else pl.col("status_code") < 400)
    counts = hit.group_by("consumer").agg(pl.col("calls").sum()).sort(["calls", "consumer"], descending=[True, False])
    total = int(counts["calls"].sum())
    known_counts = counts.drop_nulls("consumer")
    coverage = int(known_counts["calls"].sum()) / total if total else None
    return known_counts["consumer"].to_list(), coverage


def _request_ids(codes: list[int], evidence: list[tuple[Run, pl.DataFrame]]) -> list[str]:
    rows = pl.concat([part for _, part in evidence])
    if codes:
        rows = rows.filter(pl.col("status_code").is_in(codes))
    ids = rows.sort("first_seen").select(pl.col("request_ids").explode()).drop_nulls().unique(maintain_order=True)
    return ids["request_ids"].head(MAX_REQUEST_IDS).to_list()


def _first_affected(codes: list[int], evidence: list[tuple[Run, pl.DataFrame]]) -> datetime | None:
    """When the first call that ended with a code of the incident began; None without codes: no single call is slow or missing."""
    hit = pl.concat([part for _, part in evidence]).filter(pl.col("status_code").is_in(codes))
    first = hit["first_seen"].min()
    return first if isinstance(first, datetime) else None


def _wilson_low(ratio: float, n: int) -> float:
    """Lower end of the 95 % interval of a ratio. Source: Wilson, JASA 22 (1927) 209."""
    if n == 0:
        return 0.0
    z = 1.96
    middle = ratio + z * z / (2 * n)
    return max((middle - z * math.sqrt(ratio * (1 - min(ratio, 1.0)) / n + z * z / (4 * n * n))) / (1 + z * z / n), 0.0)


def _severity(signal: str, direction: int, measured: _Measured, codes: list[int]) -> float:
    """0..1: by how much the error ratio rose beyond doubt (a fifth is 1.0), by how many doublings the latency grew
    (three are 1.0),
    which share of the traffic is gone. One consumer turned away, or more calls than usual, is at most high.

    Source: FEEDBACK.md, "Severity and priority"; the caps are ours.
    """
    if measured.unit == "ratio":
        risen = min(max(_wilson_low(measured.observed, measured.n) - measured.expected, 0.0) / 0.20, 1.0)
        return risen if signal == "errors" and codes and codes[0] >= 500 else 0.7 * risen
    factor = measured.observed / max(measured.expected, 1e-9)
    if signal == "latency" or direction == 1:
        grown = min(max(math.log2(max(factor, 1.0)) / 3, 0.0), 1.0)
        return grown if signal == "latency" else 0.7 * grown
    return max(1.0 - factor, 0.0)


def _category(signal: str, direction: int, codes: list[int], hint: dict[str, str | None], consumers: int) -> str:
    """What kind of work it asks for. One consumer with 4xx: configured wrongly; many consumers from one day to the
    next: a bug, or for 400, 404 and 422, which follow from how an interface is used, a gap in training or documentation.
    Callers that hang up found it too slow."""
    if signal in ("rate_limit", "latency") or (signal == "traffic" and direction == 1):
        return "capacity"
    if signal == "traffic":
        return "dependency" if hint["upstream"] else "capacity" if hint["consumer"] else "bug"
    if hint["node"]:
        return "configuration"
    if signal == "auth":
        return "configuration"
    if codes and codes[0] in DEPENDENCY_CODES:
        return "dependency"
    if codes and codes[0] in ABORTS:
        return "capacity"
    if codes and codes[0] < 500:
        if hint["consumer"]:
            return "configuration"
        return "training_gap" if codes[0] in MISTAKES and consumers >= 3 else "bug"
    return "bug"


def _about(hint: dict[str, str | None]) -> str:
    for name in ("consumer", "node", "upstream"):
        if hint[name]:
            return f" {'for' if name == 'consumer' else 'from' if name == 'node' else 'behind'} {name} {hint[name]}"
    return ""


def _amount(value: float, unit: str) -> str:
    if unit == "ratio":
        if 0 < value < 1e-4:
            return "<0.01 %"
        return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"
    if unit == "ms":
        if value >= 999.5:
            return f"{value / 1000:.2g} s" if value < 9_950 else f"{value / 1000:,.0f} s"
        return f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"
    return (f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.05 or value == 0 else "<0.05") + PER_BIN


def _what(signal: str, codes: list[int], direction: int, unit: str) -> str:
    if signal == "latency":
        return "typical latency" if unit == "ms" else "slow calls"
    if signal == "traffic":
        return "traffic surge" if direction == 1 else "traffic drop"
    return " and ".join(str(code) for code in codes[:3])


def _phrases(codes: list[int]) -> str:
    """`502 (Bad Gateway) and 503 (Service Unavailable)`. Source: RFC 9110, section 15; 499 is NGINX's own."""

    def named(code: int) -> str:
        phrase = "Client Closed Request" if code == 499 else HTTPStatus(code).phrase if code in _CODES else None
        return f"{code} ({phrase})" if phrase else str(code)

    return " and ".join(named(code) for code in codes[:3])


def _title(
    incident: Incident,
    signal: str,
    codes: list[int],
    hint: dict[str, str | None],
    endpoints: list[str],
    measured: _Measured,
) -> str:
    what = _what(signal, codes, incident.first.direction, measured.unit)
    verb = " on" if codes else {"ratio": ":", "calls": " to", "ms": ""}[measured.unit]
    of = " of calls" if measured.unit == "ratio" else ""
    # Calls of both are those of 5 minutes; said once.
    expected = _amount(measured.expected, measured.unit).removesuffix(PER_BIN)
    return (
        f"{_where(endpoints)}: {what}{verb} {_amount(measured.observed, measured.unit)}{of}{_about(hint)}, "
        f"expected {expected}"
    )


def _late(run: Run, fleet: Fleet) -> str:
    return f" Most of it came late, by {_time((run.came + 1) * MINUTES, fleet):%Y-%m-%d %H:%M} UTC." if run.came else ""


def _where(endpoints: list[str]) -> str:
    return endpoints[0] if len(endpoints) == 1 else f"{endpoints[0]} and {len(endpoints) - 1} more"


def _explanation(
    incident: Incident,
    signal: str,
    codes: list[int],
    hint: dict[str, str | None],
    endpoints: list[str],
    measured: _Measured,
    moments: tuple[datetime, datetime, datetime],
    state: str,
    consumers: int,
) -> str:
    start, end, detected_at = moments
    observed, expected = _amount(measured.observed, measured.unit), _amount(measured.expected, measured.unit)
    began, last = f"{start:%Y-%m-%d %H:%M}", f"{end:%Y-%m-%d %H:%M}"
    span = f"Since {began} UTC, and still at {last}" if state == "open" else f"From {began} to {last} UTC"
    if signal == "traffic":
        more = "more" if incident.first.direction == 1 else "fewer"
        sentences = [
            f"{span}, {endpoints[0]} had {observed}; {expected} were expected from past days at the same time and from what "
            f"other endpoints had meanwhile. About {measured.excess:,.0f} calls {more} than expected."
        ]
    elif measured.unit == "ms":
        factor = measured.observed / max(measured.expected, 1e-9)
        times = f"{factor:.1f}" if factor < 9.95 else f"{factor:,.0f}"
        sentences = [
            f"{span}, {endpoints[0]} took {observed} (geometric mean), {times} times the {expected} that its past, the time of day and its load let expect "
            f"(n = {measured.n:,} successful calls)."
        ]
    elif signal == "latency":
        sentences = [
            f"{span}, {observed} of the calls to {endpoints[0]} took as long as {expected} were expected to, from the week before and its load "
            f"(n = {measured.n:,} successful calls)."
        ]
    else:
        sentences = [
            f"{span}, {observed} of {measured.n:,} calls to {_where(endpoints)} were answered with {_phrases(codes)}; "
            f"{expected} were expected from the past week. About {measured.excess:,.0f} such calls more than expected."
        ]
    for name in ("consumer", "node", "upstream"):
        if hint[name]:
            value, share, traffic = measured.profile.top(name)
            if value == hint[name]:
                sentences.append(
                    f"{100 * share:.0f} % of the excess is {name} {value}, which has {100 * traffic:.0f} % of the calls."
                )
    if len(endpoints) > 1:
        sentences.append(f"It shows on {len(endpoints)} endpoints.")
    if consumers:
        sentences.append(f"{consumers:,} known consumer{' was' if consumers == 1 else 's were'} hit.")
    side = sorted({run.signal for run in incident.runs} - {signal})
    if side:
        sentences.append(f"Side effects: {', '.join(side)}.")
    if incident.repeats:
        sentences.append(f"It came back {len(incident.repeats)} more time{'s' if len(incident.repeats) > 1 else ''}.")
    # Of what opens with its second minute the log10_p is that of one minute; both were below this, but what stands since the launch is not.
    opening = incident.first.at_open
    most = OPEN_LOG10_P if incident.first.status is not None and opening["detector"] != "standing" else 0.0
    chance = min(float(opening["log10_p"]), most)
    sentences.append(
        f"A scan at {detected_at:%Y-%m-%d %H:%M} UTC would have raised it (chance of this by accident 10^{math.floor(chance):d})."
    )
    return " ".join(sentences)
