"""The report: one HTML file that needs no network, no server and, for everything but zooming, no script.

Everything in it that came from logs or people is hostile until shown: each value passes `_plain` (control characters
written out, length bounded) and Jinja2's autoescape on its way into the page, `_script_json` into the data of the
charts, and `figures.plotly_text` into their labels. Behind that stands a content security policy which names the
hashes of the style sheet and of the two scripts: no other one runs, wherever it came from, and nothing is fetched.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from apilens.reports import charts, figures, svg, units
from apilens.reports.terminal import lines_equation, records_equation
from apilens.reports.verdict import verdict
from apilens.reports.visible import safe
from apilens.schema import BIN_S, ENDPOINT, SIGNALS
from apilens.version import __version__

_TEMPLATES = Path(__file__).parent / "templates"

#: A mail server and a ticket accept a file of this size; the chart library takes 1.96 MB of it.
LIMIT_BYTES = 2_500_000
_QUOTES = 3
_GAPS = 20
#: Characters of one value, of a short one, and of an explanation in sentences; a longer one is cut and ends in "…".
_LONGEST, _SHORT, _PROSE = 300, 80, 800

#: Points of a chart and of a sparkline.
_FINE, _SPARK = 360, 110


@dataclass(frozen=True, slots=True)
class _Shown:
    """Rows of each table that are shown; what is left out is said, with the command that shows it."""

    problems: int = 25
    listed: int = 60
    endpoints: int = 120
    consumers: int = 40
    inputs: int = 40

    def part(self, divisor: int) -> _Shown:
        return _Shown(*(getattr(self, name) // divisor for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that may explain a change: the go-live, a deployment."""

    time: datetime
    label: str
    go_live: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """What became of the input. read = stored + rejected + filtered + duplicate; lines = record_lines + header + blank.

    record_lines: lines that records took up, counted by the parsers; lines is counted apart from them.
    inputs: one row per input with any of the columns input, format, read, stored, rejected, filtered, duplicate,
    lines, bytes, first_start_time, last_start_time. Shares are 0..1 of the stored calls, None: no calls.
    """

    read: int
    stored: int
    rejected: int
    filtered: int
    duplicate: int
    lines: int
    record_lines: int
    header: int
    blank: int
    inputs: pl.DataFrame
    identity_coverage: float | None
    synthetic_share: float | None
    warnings: tuple[str, ...] = ()
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class ReportData:
    """All a report is made of; the same values give the same bytes.

    first_call, last_call: start_time of the first and last call of the period, None without calls.
    queue, candidates, links: schema.QUEUE, CANDIDATES, LINKS. rollups: schema.ROLLUPS, merged over units (unit_id not
    needed), bins of `rollup_s` seconds. endpoints: one row per endpoint with the columns environment, service, method,
    route, calls, error_ratio, client_error_ratio, p50_ms, p95_ms, p99_ms, apdex, response_bytes, last_seen.
    related: triage.related.RELATED; escalations: triage.escalation.ESCALATIONS.
    """

    now: datetime
    first_call: datetime | None
    last_call: datetime | None
    queue: pl.DataFrame
    candidates: pl.DataFrame
    links: pl.DataFrame
    endpoints: pl.DataFrame
    rollups: pl.DataFrame
    quality: Quality
    marks: tuple[Mark, ...] = ()
    related: pl.DataFrame = field(default_factory=pl.DataFrame)
    escalations: pl.DataFrame = field(default_factory=pl.DataFrame)
    critical_allowed: int = 0
    rollup_s: int = BIN_S
    version: str = field(default=__version__)


def render(data: ReportData) -> str:
    """The report as one HTML document (UTF-8) of at most LIMIT_BYTES.

    Pure: no file but the package's own, no clock, no network. Where hostile or very long text would make it larger,
    fewer rows of each table are shown.
    """
    drawn, made = _charts(data)
    for divisor in (1, 2, 4, 8):
        page = _page(data, drawn, made, _Shown().part(divisor))
        if len(page.encode()) <= LIMIT_BYTES:
            break
    return page


def _page(data: ReportData, drawn: list[dict[str, Any]], made: dict[str, figures.Figure], rows: _Shown) -> str:
    library, library_hash, style_mark = _plotly()
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)} {library_hash}; "
        # The hash of nothing: Plotly makes an empty style element and adds its rules through the object model.
        f"style-src-elem {_hash(style)} {_hash('')}; "
        # Plotly lays out text by style attributes and draws heatmaps as images; neither can fetch or run anything.
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    gaps = charts.gaps(data.rollups)
    shown, further, untraced = _split(data.queue, rows.problems)
    go_live = next((mark.time for mark in data.marks if mark.go_live), None)
    template = _environment().get_template("report.html.j2")
    return template.render(
        policy=Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(Markup(policy)),
        style=Markup(style),
        script=Markup(script),
        library=Markup(library),
        style_mark=style_mark,
        figures=_script_json({"palette": figures.PALETTE, "figures": made}),
        verdict=verdict(data.queue, calls=int(data.endpoints["calls"].sum()), critical_allowed=data.critical_allowed),
        data=data,
        quality=data.quality,
        equations=_equations(data.quality),
        gaps=gaps.head(_GAPS).to_dicts(),
        gaps_total=gaps.height,
        gaps_of_some=data.candidates.filter(pl.col("signal") == "log_gap").height,
        problems=_problems(data, shown, rows.consumers),
        further=further.head(rows.listed).to_dicts(),
        further_total=further.height,
        untraced=untraced.head(rows.listed).to_dicts(),
        untraced_total=untraced.height,
        untraced_reasons=untraced.group_by("no_trace_reason")
        .len()
        .sort("len", "no_trace_reason", descending=[True, False])
        .head(10)
        .rows(),
        feedback=_feedback_counts(data.links),
        related=_related(data).head(rows.listed).to_dicts(),
        escalations=data.escalations.head(rows.listed).to_dicts(),
        escalations_total=data.escalations.height,
        endpoints=_endpoints(data, go_live, shown, rows.endpoints),
        endpoints_total=data.endpoints.height,
        several_services=data.endpoints["service"].n_unique() > 1,
        go_live=go_live,
        charts=drawn,
        days=_days(data),
        inputs=data.quality.inputs.head(rows.inputs).to_dicts(),
        input_columns=_input_columns(data.quality.inputs),
        inputs_total=data.quality.inputs.height,
    )


# The page and what guards it


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": units.count,
        "percent": units.percent,
        "milliseconds": units.milliseconds,
        "size": units.size,
        "moment": units.moment,
        "second": units.second,
        "evidence": units.evidence,
        "day_and_time": units.day_and_time,
        "short": _short,
        "prose": _prose,
    }
    return environment


def _plain(value: object) -> object:
    """What an expression of the template may put into the page: our own markup, or one line of visible text."""
    if isinstance(value, Markup):
        return value
    return units.UNKNOWN if value is None else _cut(str(value), _LONGEST)


def _short(value: object) -> str:
    return units.UNKNOWN if value is None else _cut(str(value), _SHORT)


def _prose(value: object) -> Markup:
    """An explanation, longer than a value may be."""
    return Markup.escape(units.UNKNOWN if value is None else _cut(str(value), _PROSE))


def _cut(text: str, longest: int) -> str:
    # Cut before as well: a line of 64 MB is not worth walking through.
    shown = safe(re.sub(r"\s+", " ", text[: longest + 1]))
    return shown if len(text) <= longest and len(shown) <= 2 * longest else f"{shown[: longest - 1]}…"


def _script_json(value: object) -> Markup:
    """JSON that ends no script element early: `<` begins both `</script` and `<!--`."""
    return Markup(json.dumps(value, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c"))


@functools.cache
def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return f"'sha256-{base64.b64encode(hashlib.sha256(raw).digest()).decode()}'"


@functools.cache
def _plotly() -> tuple[str, str, str | None]:
    """Plotly's library deflated as base64, its hash for the policy, and the id of a style element it would insert.

    The style belongs to its maps, which the report has none of; an element of that id in the page makes it leave it.
    """
    import plotly

    bundle = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    mark = re.search(rb'getElementById\("([0-9a-f]{64})"\)', bundle)
    packed = base64.b64encode(zlib.compress(bundle, 9)).decode()
    return packed, _hash(bundle), None if mark is None else mark[1].decode()


# Queue


def _split(queue: pl.DataFrame, most: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Problems shown in full, problems listed, and feedback without a trace; each by rank.

    Feedback without a trace has a section of its own; what is P1 or P2 of it also keeps its place among the problems.
    """
    ranked = queue.sort("rank")
    traced = (pl.col("kind") == "candidate") | pl.col("priority").is_in(["P1", "P2"])
    problems = ranked.filter(traced)
    return problems.head(most), problems.slice(most), ranked.filter(pl.col("kind") == "feedback")


def _problems(data: ReportData, shown: pl.DataFrame, consumers: int) -> list[dict[str, Any]]:
    evidence = {row["id"]: row for row in data.candidates.filter(pl.col("id").is_in(shown["id"].implode())).to_dicts()}
    suggested = {
        (row["channel"], row["feedback_id"])
        for row in data.links.filter(pl.col("band") == "suggested").iter_rows(named=True)
    }
    most = shown.select(pl.max_horizontal("hit", "told").max()).item() or 0
    return [_problem(data, row, evidence.get(row["id"]), suggested, most, consumers) for row in shown.to_dicts()]


def _problem(
    data: ReportData,
    row: dict[str, Any],
    candidate: dict[str, Any] | None,
    suggested: set[tuple[str, str]],
    most: int,
    consumers: int,
) -> dict[str, Any]:
    reports = sorted(row["reports"] or [], key=lambda report: -(report["confidence"] or 0))
    for report in reports:
        report["to_confirm"] = (report["channel"], report["id"]) in suggested
    silent = row["silent_consumers"] or []
    return row | {
        "age": _age(row, candidate["first_affected_at"] if candidate else None, data.now),
        "asks_whom": candidate is None or candidate["signal"] in SIGNALS or row["hit"] is not None,
        "bars": [(name, row[name], svg.bar(row[name] or 0, most, kind=name)) for name in ("hit", "told", "silent")],
        "parts": row["parts"] or [],
        "reports": reports[:_QUOTES],
        "reports_total": len(reports),
        "silent_named": silent[:consumers],
        "silent_unnamed": max(row["silent"] or 0, len(silent)) - len(silent[:consumers]),
        "candidate": candidate and candidate | {"evidence": [_evidence(one) for one in candidate["evidence"] or []]},
        "observed": candidate and units.measured(candidate["observed"], candidate["unit"]),
        "expected": candidate and units.measured(candidate["expected"], candidate["unit"]),
        "spark": candidate and _spark(data, candidate),
    }


def _evidence(one: dict[str, Any]) -> dict[str, Any]:
    """A row of schema.EVIDENCE with a picture: two bars, before above during."""
    most = max(one["before"] or 0.0, one["during"] or 0.0, 1e-12)
    bars = [svg.bar(one[name] or 0.0, most, kind=kind) for name, kind in (("before", "told"), ("during", "hit"))]
    return one | {"picture": Markup("").join(bars)}


def _age(row: dict[str, Any], first: datetime | None, now: datetime) -> str:
    """first: of the affected calls, where it is known to the second."""
    if row["start"] is None:
        return ""
    if row["state"] == "open":
        since = units.moment(row["start"]) if first is None else f"{units.second(first)}Z"
        return f"for {units.lasting(now - row['start'])}, since {since}"
    if row["end"] is None:
        return f"began {units.moment(row['start'])}"
    return f"{units.moment(row['end'])} after {units.lasting(row['end'] - row['start'])}"


def _spark(data: ReportData, candidate: dict[str, Any]) -> dict[str, Any] | None:
    """The problem's own signal around its window: a day before it, as long after it as it lasted, at least 2 h."""
    lasted = candidate["end"] - candidate["start"]
    first = candidate["start"] - max(timedelta(days=1), lasted / 2)
    last = min(candidate["end"] + max(timedelta(hours=2), lasted / 4), data.last_call or data.now)
    # A shift of latency or traffic is measured on the endpoint that shows it most, errors on all of them together.
    alone = candidate["signal"] in ("latency", "traffic")
    rows = charts.of_problem(
        data.rollups,
        environment=candidate["environment"],
        service=candidate["service"],
        endpoints=candidate["endpoints"][:1] if alone else candidate["endpoints"],
    ).filter(pl.col("bin_start").is_between(first, last))
    if rows.is_empty():
        return None
    every_s = max(charts.width_s(first, last, at_most=_SPARK), data.rollup_s)
    series = charts.signal_over_time(
        rows,
        signal=candidate["signal"],
        unit=candidate["unit"],
        status=candidate["hint"]["status"],
        every_s=every_s,
    )
    if series.is_empty():
        return None
    begin, end = series["bin_start"][0], series["bin_start"][-1] + timedelta(seconds=every_s)
    whole = (end - begin) / timedelta(seconds=1)
    window = tuple((moment - begin).total_seconds() / whole for moment in (candidate["start"], candidate["end"]))
    unit = {"latency": "ms", "traffic": "calls"}.get(candidate["signal"], "ratio")
    values = series["value"].to_list()
    highest = units.measured(max((value for value in values if value is not None), default=None), unit)
    names = {"latency": "typical duration" if candidate["unit"] == "ms" else "p95", "traffic": "calls"}
    name = names.get(candidate["signal"], f"share of {candidate['hint']['status'] or candidate['signal']}")
    same_unit = candidate["unit"] == unit
    return {
        "picture": svg.sparkline(
            values,
            label=f"{_short(name)} over time, highest {highest}; shaded: the abnormal window",
            expected=candidate["expected"] if same_unit else None,
            abnormal=(window[0], window[1]),
        ),
        "name": name,
        "highest": highest,
        "begin": begin,
        "end": end,
        "expected": same_unit and candidate["expected"] is not None,
    }


def _related(data: ReportData) -> pl.DataFrame:
    """Pairs of problems of the report with their titles; what people rejected is left out."""
    if data.related.is_empty():
        return data.related
    titles = data.candidates.select("id", "title")
    return (
        data.related.filter(pl.col("verdict") != "rejected")
        .join(titles, on="id", maintain_order="left")
        .join(titles.rename({"id": "other", "title": "other_title"}), on="other", maintain_order="left")
    )


def _feedback_counts(links: pl.DataFrame) -> dict[str, int]:
    """Feedback items in all, and by the best band of their links."""
    order = {"auto": 0, "suggested": 1, "none": 2}
    best = links.group_by("channel", "feedback_id").agg(
        pl.col("band").replace_strict(order, default=2, return_dtype=pl.Int8).min()
    )
    return {"items": best.height} | {band: best.filter(pl.col("band") == place).height for band, place in order.items()}


# Endpoints


def _endpoints(data: ReportData, go_live: datetime | None, shown: pl.DataFrame, most: int) -> list[dict[str, Any]]:
    ranked = data.endpoints.sort("calls", *ENDPOINT, descending=[True] + [False] * len(ENDPOINT), nulls_last=True)
    problem_of: dict[str, int] = {}
    for row in shown.filter(pl.col("state") == "open").iter_rows(named=True):
        for endpoint in row["endpoints"] or []:
            problem_of.setdefault(endpoint, row["rank"])
    name = pl.concat_str(pl.col("method").fill_null("-"), pl.col("route").fill_null("-"), separator=" ")
    troubled = ranked.filter(name.is_in(list(problem_of)))
    # Endpoints in trouble are shown whatever their traffic.
    chosen = pl.concat([troubled, ranked]).unique(subset=ENDPOINT, keep="first", maintain_order=True).head(most)
    rows = chosen.sort("calls", *ENDPOINT, descending=[True] + [False] * len(ENDPOINT), nulls_last=True)
    if go_live is not None:
        rows = rows.join(
            charts.changes(data.rollups, go_live), on=ENDPOINT, how="left", nulls_equal=True, maintain_order="left"
        )
    traffic = _traffic(data, chosen)
    return [
        row
        | {
            "problem": problem_of.get(f"{row['method'] or '-'} {row['route'] or '-'}"),
            "errors_change": units.times(*(row.get(f"errors_{part}") for part in ("ratio", "low", "high"))),
            "p95_change": units.times(*(row.get(f"p95_{part}") for part in ("ratio", "low", "high"))),
        }
        | traffic.get(tuple(row[part] for part in ENDPOINT), {"traffic": None, "timed": None})
        for row in rows.to_dicts()
    ]


def _traffic(data: ReportData, chosen: pl.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Endpoint -> its small picture of calls and errors, and how many of its calls have a duration."""
    rows = charts.of_users(data.rollups).join(chosen, on=ENDPOINT, how="semi", nulls_equal=True)
    if rows.is_empty():
        return {}
    first, last = rows.select(first=pl.col("bin_start").min(), last=pl.col("bin_start").max()).row(0)
    every_s = max(charts.width_s(first, last, at_most=56), data.rollup_s)
    series = charts.by_endpoint(rows, every_s=every_s)
    bins = series.select("bin_start").unique().sort("bin_start").upsample("bin_start", every=f"{every_s}s")
    made = {}
    for key, own in series.group_by(ENDPOINT, maintain_order=True):
        whole = bins.join(own, on="bin_start", how="left", maintain_order="left").with_columns(
            pl.col("calls", "errors").fill_null(0)
        )
        calls, errors = whole["calls"].to_list(), whole["errors"].to_list()
        worst = max((e / c for e, c in zip(errors, calls, strict=True) if c), default=0.0)
        label = f"calls over time, at most {units.count(max(calls))} per {units.lasting(timedelta(seconds=every_s))}; "
        picture = svg.traffic(calls, errors, label=f"{label}highest error ratio {units.percent(worst)}")
        made[key] = {"traffic": picture, "timed": own["durations"].sum()}
    return made


# Charts


def _charts(data: ReportData) -> tuple[list[dict[str, Any]], dict[str, figures.Figure]]:
    """What the template needs of each main chart (name, texts, still picture), and the interactive figures by name."""
    users = charts.of_users(data.rollups)
    if users.is_empty():
        return [], {}
    first, last = users.select(first=pl.col("bin_start").min(), last=pl.col("bin_start").max()).row(0)
    every_s = max(charts.width_s(first, last, at_most=_FINE), data.rollup_s)
    series = charts.over_time(users, every_s=every_s)
    marks = [(mark.time, mark.label) for mark in data.marks if first <= mark.time <= last]
    status = pl.col("hint").struct.field("status")
    errors = data.candidates.filter((pl.col("signal") == "errors") & status.fill_null("5").str.starts_with("5"))
    abnormal = list(zip(errors["start"], errors["end"], strict=True))
    span = (units.moment(first), units.moment(last))
    every = units.lasting(timedelta(seconds=every_s))

    band = charts.expected_band(series, abnormal)
    top = _highest([*series["error_ratio"], *band["high"]]) or 0.01
    worst = series.sort("error_ratio", descending=True, nulls_last=True).row(0, named=True)
    total = {column: int(series[column].sum()) for column in ("calls", *(column for _, column in _STATUS))}
    drawn = [
        {
            "name": "errors",
            "title": "Error ratio over time",
            "summary": f"{units.percent(total['status_5xx'] / total['calls'])} of {units.count(total['calls'])} calls "
            f"ended with 5xx; highest {units.percent(worst['error_ratio'])} at {units.moment(worst['bin_start'])}.",
            "note": f"One point per {every}. Band: p ± 3·√(p(1−p)/n) around the ratio p of the 7 days before, windows "
            "of error problems (shaded) left out; no band before there is one day of history.",
            "still": svg.lines(
                [("orange", "error ratio (5xx)", [_share(value, top) for value in series["error_ratio"]])],
                label="error ratio over time with the expected band",
                ticks=[(share, units.percent(top * share)) for share in (0, 0.5, 1)],
                span=span,
                band=([_share(v, top) for v in band["low"]], [_share(v, top) for v in band["high"]]),
            ),
        },
        {
            "name": "status",
            "title": "Status over time",
            "summary": ", ".join(
                f"{name} {units.percent(total[column] / total['calls'])}"
                for name, column in _STATUS
                if total[column] > 0
            )
            + " of all calls.",
            "note": f"Calls per {every}; click a name in the legend to hide it.",
            "still": _still_status(series, span),
        },
    ]
    made = {
        "errors": figures.error_ratio(series, band, marks, abnormal),
        "status": figures.status(series, marks),
    }
    if series["p99_ms"].null_count() < series.height:
        bands_s = max(charts.width_s(first, last, at_most=_SPARK), data.rollup_s)
        bands = charts.latency_bands(users, every_s=bands_s)
        drawn += [_latency(series, every, span), _latency_heat(bands, units.lasting(timedelta(seconds=bands_s)))]
        made |= {
            "latency": figures.latency(series, marks),
            "heat": figures.latency_heat(bands, marks, every_s=bands_s),
        }
    return drawn, made


_STATUS = (
    ("2xx", "status_2xx"),
    ("3xx", "status_3xx"),
    ("4xx", "status_4xx"),
    ("5xx", "status_5xx"),
    ("other", "status_other"),
)


def _highest(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)


def _share(value: float | None, top: float) -> float | None:
    return None if value is None else value / top


def _still_status(series: pl.DataFrame, span: tuple[str, str]) -> Markup:
    top = _highest(series["calls"]) or 1
    kinds = (("grey", "2xx"), ("green", "3xx"), ("violet", "4xx"), ("orange", "5xx"))
    return svg.lines(
        [(kind, name, [value / top for value in series[f"status_{name}"]]) for kind, name in kinds],
        label="calls over time by status class",
        ticks=[(share, units.count(top * share)) for share in (0, 0.5, 1)],
        span=span,
    )


def _latency(series: pl.DataFrame, every: str, span: tuple[str, str]) -> dict[str, Any]:
    low = max(min(value for value in series["p50_ms"] if value is not None), 0.1)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(max(_highest(series["p99_ms"]), 2 * low))) + 1)
    bottom, height = decades[0], decades[-1] - decades[0]

    def on_log_scale(values: Sequence[float | None]) -> list[float | None]:
        return [None if v is None else max(0.0, (math.log10(max(v, 1e-9)) - bottom) / height) for v in values]

    slowest = series.sort("p99_ms", descending=True, nulls_last=True).row(0, named=True)
    return {
        "name": "latency",
        "title": "Latency percentiles over time",
        "summary": f"p99 was highest at {units.moment(slowest['bin_start'])}: {units.milliseconds(slowest['p99_ms'])}.",
        "note": f"p50, p95, p99 over all endpoints per {every}, from log-bucket histograms (within 1 %).",
        "still": svg.lines(
            [(kind, name, on_log_scale(series[f"{name}_ms"].to_list())) for kind, name in _PERCENTILES],
            label="p50, p95 and p99 over time on a logarithmic scale",
            ticks=[((decade - bottom) / height, units.milliseconds(10.0**decade)) for decade in decades],
            span=span,
        ),
    }


_PERCENTILES = (("orange", "p99"), ("violet", "p95"), ("blue", "p50"))


def _latency_heat(bands: pl.DataFrame, every: str) -> dict[str, Any]:
    times = {moment: place for place, moment in enumerate(bands["bin_start"].unique().sort())}
    names = figures.band_names(bands)
    common = bands.group_by("band").agg(pl.col("share").mean()).sort("share", "band", descending=True)["band"][0]
    return {
        "name": "heat",
        "title": "Latency heatmap",
        "summary": f"Most calls took {names[common]}. Rows are latency bands; the stronger the colour, the more calls.",
        "note": f"Share of the calls of each {every} per band; a second strong row is a second way to be slow.",
        "still": svg.heat(
            [(times[row["bin_start"]], row["band"], row["share"]) for row in bands.iter_rows(named=True)],
            columns=len(times),
            rows=names,
            label="share of calls per latency band over time",
        ),
    }


def _days(data: ReportData) -> list[dict[str, Any]]:
    """The charts' numbers as a table: one row per UTC day, per week and longer where there are more than 62."""
    users = charts.of_users(data.rollups)
    if users.is_empty():
        return []
    first, last = users.select(first=pl.col("bin_start").min(), last=pl.col("bin_start").max()).row(0)
    return charts.over_time(users, every_s=max(86400, charts.width_s(first, last, at_most=62))).to_dicts()


# Data quality


def _equations(quality: Quality) -> list[tuple[str, bool]]:
    """Each equation with whether it holds."""
    records = records_equation(
        read=quality.read,
        stored=quality.stored,
        rejected=quality.rejected,
        filtered=quality.filtered,
        duplicate=quality.duplicate,
    )
    lines = lines_equation(
        lines=quality.lines,
        records=quality.record_lines,
        header=quality.header,
        blank=quality.blank,
    )
    return [(records, "≠" not in records), (lines, "≠" not in lines)]


def _input_columns(inputs: pl.DataFrame) -> list[tuple[str, str, str]]:
    """(column, heading, kind) of what the table of inputs has, in reading order."""
    known = (
        ("format", "format", "text"),
        ("read", "read", "count"),
        ("stored", "stored", "count"),
        ("rejected", "rejected", "count"),
        ("filtered", "filtered", "count"),
        ("duplicate", "duplicate", "count"),
        ("lines", "lines", "count"),
        ("bytes", "size", "size"),
        ("first_start_time", "first call", "moment"),
        ("last_start_time", "last call", "moment"),
    )
    return [entry for entry in known if entry[0] in inputs.columns]
