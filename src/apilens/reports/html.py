"""The report: one HTML file that needs no network, no server and, for everything but zooming, no script.

Everything in it that came from logs or people is hostile until shown: see `page`, and `figures.plotly_text` for the labels of
the charts. Behind that stands a content security policy which names the hashes of the style sheet and of the two
scripts: no other one runs, wherever it came from, and nothing is fetched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from markupsafe import Markup

from apilens.reports import charts, figures, svg, units
from apilens.reports.data import Quality, ReportData
from apilens.reports.page import asset, packed_plotly, policy_hash, script_json, templates
from apilens.reports.problems import feedback_counts, problems, related, split
from apilens.reports.terminal import lines_equation, records_equation
from apilens.reports.verdict import verdict
from apilens.schema import ENDPOINT

#: A mail server and a ticket accept a file of this size; the chart library takes 1.96 MB of it.
LIMIT_BYTES = 2_500_000
_GAPS = 20
#: Points of a chart, and columns of the heatmap.
_FINE, _COARSE = 360, 110


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
    library, library_hash, style_mark = packed_plotly()
    style, script = asset("report.css"), asset("report.js")
    policy = (
        f"default-src 'none'; script-src {policy_hash(script)} {library_hash}; "
        # The hash of nothing: Plotly makes an empty style element and adds its rules through the object model.
        f"style-src-elem {policy_hash(style)} {policy_hash('')}; "
        # Plotly lays out text by style attributes and draws heatmaps as images; neither can fetch or run anything.
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    gaps = charts.gaps(data.rollups)
    shown, further, untraced = split(data.queue, rows.problems)
    go_live = next((mark.time for mark in data.marks if mark.go_live), None)
    template = templates().get_template("report.html.j2")
    return template.render(
        policy=Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(Markup(policy)),
        style=Markup(style),
        script=Markup(script),
        library=Markup(library),
        style_mark=style_mark,
        figures=script_json({"palette": figures.PALETTE, "figures": made}),
        verdict=verdict(data.queue, calls=int(data.endpoints["calls"].sum()), critical_allowed=data.critical_allowed),
        data=data,
        quality=data.quality,
        equations=_equations(data.quality),
        gaps=gaps.head(_GAPS).to_dicts(),
        gaps_total=gaps.height,
        gaps_of_some=data.candidates.filter(pl.col("signal") == "log_gap").height,
        problems=problems(data, shown, rows.consumers),
        further=further.head(rows.listed).to_dicts(),
        further_total=further.height,
        untraced=untraced.head(rows.listed).to_dicts(),
        untraced_total=untraced.height,
        untraced_reasons=untraced.group_by("no_trace_reason")
        .len()
        .sort("len", "no_trace_reason", descending=[True, False])
        .head(10)
        .rows(),
        feedback=feedback_counts(data.links),
        related=related(data).head(rows.listed).to_dicts(),
        escalations=data.escalations.head(rows.listed).to_dicts(),
        escalations_total=data.escalations.height,
        endpoints=_endpoints(data, go_live, shown, rows.endpoints),
        endpoints_total=data.endpoints.height,
        several_environments=data.endpoints["environment"].n_unique() > 1,
        several_services=data.endpoints["service"].n_unique() > 1,
        timed=data.endpoints["p50_ms"].null_count() < data.endpoints.height,
        go_live=go_live,
        charts=drawn,
        days=_days(data),
        inputs=data.quality.inputs.head(rows.inputs).to_dicts(),
        input_columns=_input_columns(data.quality.inputs),
        inputs_total=data.quality.inputs.height,
    )


# Endpoints


def _endpoints(data: ReportData, go_live: datetime | None, shown: pl.DataFrame, most: int) -> list[dict[str, Any]]:
    ranked = data.endpoints.sort("calls", *ENDPOINT, descending=[True] + [False] * len(ENDPOINT), nulls_last=True)
    environment_of = dict(data.candidates.select("id", "environment").iter_rows())
    problem_of: dict[tuple[str | None, str], int] = {}
    for row in shown.filter(pl.col("state") == "open").iter_rows(named=True):
        for endpoint in row["endpoints"] or []:
            problem_of.setdefault((environment_of.get(row["id"]), endpoint), row["rank"])
    name = pl.concat_str(pl.col("method").fill_null("-"), pl.col("route").fill_null("-"), separator=" ")
    troubled = ranked.filter(name.is_in([endpoint for _, endpoint in problem_of]))
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
            "problem": min(
                # What only people told of names no environment.
                (
                    rank
                    for environment in (row["environment"], None)
                    if (rank := problem_of.get((environment, f"{row['method'] or '-'} {row['route'] or '-'}")))
                ),
                default=None,
            ),
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
        bands_s = max(charts.width_s(first, last, at_most=_COARSE), data.rollup_s)
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
