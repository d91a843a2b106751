"""The HTML report: complete, offline, the same bytes again, and deaf to what hostile text tells it to do."""

from __future__ import annotations

import dataclasses
import html as html_words
import math
import os
import re
import shutil
import subprocess
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

import report_data as made
from apilens import histogram, schema
from apilens.reports import charts, units
from apilens.reports.data import Mark, ReportData
from apilens.reports.figures import error_ratio, plotly_text
from apilens.reports.html import LIMIT_BYTES, render
from apilens.reports.verdict import verdict
from apilens.triage.escalation import ESCALATIONS
from apilens.triage.related import RELATED


@pytest.fixture(scope="module")
def data() -> ReportData:
    return made.report_data()


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render(data)


class _Outline(HTMLParser):
    """Headings, tables, ids, links and loaded addresses of a page, script and style contents apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.tables: list[dict[str, int]] = []
        self.unscoped: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.tags: set[str] = set()
        self.scripts = 0
        self.pictures_without_name = 0
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        elif tag == "table":
            self.tables.append({"caption": 0, "th": 0})
        elif tag == "caption":
            self.tables[-1]["caption"] += 1
        elif tag == "th":
            self.tables[-1]["th"] += 1
            if named.get("scope") not in ("col", "row"):
                self.unscoped.append(self.get_starttag_text() or "")
        elif tag == "svg" and not (named.get("aria-label") or named.get("aria-hidden") == "true"):
            self.pictures_without_name += 1
        elif tag == "script":
            self.scripts += 1
        self.ids += [named["id"]] if "id" in named else []
        self.targets += [named["href"]] if "href" in named else []
        self.loaded += [named[name] for name in ("src", "srcset", "action", "data", "poster") if name in named]
        self.handlers += [name for name in named if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_same_data_gives_the_same_bytes(data: ReportData, page: str) -> None:
    shuffled = dataclasses.replace(
        data,
        rollups=data.rollups.sample(fraction=1, shuffle=True, seed=1),
        endpoints=data.endpoints.reverse(),
        queue=data.queue.reverse(),
    )
    assert render(data) == page
    assert render(shuffled) == page


def test_report_of_a_fortnight_stays_under_the_size_limit(page: str) -> None:
    assert len(page.encode()) <= LIMIT_BYTES == 2_500_000


def test_report_of_a_huge_lake_full_of_long_text_stays_under_the_size_limit(data: ReportData) -> None:
    long = '<&"' * 2000
    problems = pl.concat(
        [
            data.queue.head(5).with_columns(
                rank=pl.col("rank") + 5 * i,
                title=pl.lit(long),
                why=pl.lit(long),
                silent_consumers=pl.lit([long] * 60, pl.List(pl.String)),
            )
            for i in range(30)
        ]
    )
    endpoints = pl.concat([data.endpoints.with_columns(route=pl.col("route") + f"/{i}/{long}") for i in range(100)])
    inputs = pl.concat([data.quality.inputs.with_columns(input=pl.lit(long))] * 300)
    page = render(
        dataclasses.replace(
            data,
            queue=problems,
            endpoints=endpoints,
            quality=dataclasses.replace(data.quality, inputs=inputs, warnings=(long,) * 100),
            candidates=data.candidates.with_columns(
                title=pl.lit(long), explanation=pl.lit(long), request_ids=pl.lit([long] * 20, pl.List(pl.String))
            ),
        )
    )
    assert len(page.encode()) <= LIMIT_BYTES
    assert re.search(r"\d+ of 3,000 endpoints", page) and "apilens endpoints" in page


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_is_loaded_from_elsewhere(page: str, empty: bool) -> None:
    outline = _Outline(render(made.empty_data()) if empty else page)
    assert outline.loaded == []
    assert [target for target in outline.targets if not target.startswith("#")] == []
    assert {target[1:] for target in outline.targets} <= set(outline.ids)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_policy_allows_two_known_scripts_and_no_network(page: str) -> None:
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert found is not None
    rules = dict(rule.split(" ", 1) for rule in html_words.unescape(found[1]).split("; "))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"('sha256-[A-Za-z0-9+/=]{44}' ?){2}", rules["script-src"])
    assert re.fullmatch(r"('sha256-[A-Za-z0-9+/=]{44}' ?){2}", rules["style-src-elem"])
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert page.index("Content-Security-Policy") < page.index("<style>")


@pytest.mark.parametrize("empty", [False, True])
def test_structure_can_be_read_without_eyes(page: str, empty: bool) -> None:
    outline = _Outline(render(made.empty_data()) if empty else page)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert all(table["caption"] == 1 and table["th"] > 0 for table in outline.tables)
    assert outline.unscoped == []
    assert outline.pictures_without_name == 0
    assert outline.handlers == []
    assert len(outline.ids) == len(set(outline.ids))


def test_first_screen_says_verdict_silent_consumers_and_conservation(page: str) -> None:
    head = page[page.index("<header>") : page.index("</header>")]
    assert "Not ready to leave hypercare: 1 critical open (allowed 0)" in head
    assert "61 silent consumers on 2 of 3 open problems" in head
    assert "read 212,408 = stored 212,391 + rejected 6 + filtered 11 + duplicate 0" in head


def test_each_problem_says_what_to_do_next(data: ReportData, page: str) -> None:
    shown = [row["id"] for row in data.queue.to_dicts() if row["kind"] == "candidate"]
    assert shown
    for key in shown:
        assert f"See what carries it, before and after: apilens explain {key}</li>" in page
    assert page.count("<summary>What next</summary>") == len(shown)


def test_sections_come_in_the_order_in_which_one_asks(page: str) -> None:
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert titles == [
        "Queue",
        "Error ratio over time",
        "Endpoints",
        "Status over time",
        "Latency percentiles over time",
        "Latency heatmap",
        "By day",
        "Reports without trace",
        "Data quality",
    ]


def test_equation_that_does_not_hold_is_marked(data: ReportData) -> None:
    page = render(dataclasses.replace(data, quality=dataclasses.replace(data.quality, stored=212_390)))
    assert '<p class="equation broken">read 212,408 ≠' in page
    page = render(dataclasses.replace(data, quality=dataclasses.replace(data.quality, blank=0)))
    assert '<p class="equation broken">lines 212,410 ≠' in page


def test_empty_lake_gives_no_verdict_and_no_charts() -> None:
    page = render(made.empty_data())
    assert "No verdict: there are no calls to judge by" in page
    assert 'id="library"' not in page and len(page) < 50_000


def test_a_problem_of_one_environment_is_none_of_the_same_endpoint_in_another(data: ReportData, page: str) -> None:
    own = data.candidates["environment"].unique().item()
    assert f" · in {own}" not in page
    twice = pl.concat([data.endpoints, data.endpoints.with_columns(environment=pl.lit("staging"))])
    found = render(dataclasses.replace(data, endpoints=twice))
    rows = re.findall(r'<tr><th scope="row"><span class="method">.*', found)
    linked = {environment: [row for row in rows if f"<td>{environment}</td>" in row and 'href="#p' in row] for environment in (own, "staging")}  # fmt: skip
    assert linked[own] and not linked["staging"]
    assert f" · in {own}" in found


def test_calls_without_durations_give_a_report_without_latency_charts(data: ReportData) -> None:
    bare = data.rollups.with_columns(
        bucket=pl.lit([], pl.List(pl.Int16)), bucket_calls=pl.lit([], pl.List(pl.Int32)), durations=pl.lit(0, pl.Int64)
    )
    page = render(dataclasses.replace(data, rollups=bare))
    assert "Error ratio over time" in page and "Latency" not in re.findall(r"<h2[^>]*>(\w+)", page)


# A browser is the judge of what hostile text does.

ATTACKS = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg onload=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "{{ 7*7 }}{% raw %}",
    "javascript:document.title='owned'",
    "${document.title='owned'}%{x}",
)


def _hostile(data: ReportData) -> ReportData:
    """Every text of every table is an attack, which one depends on its place."""
    turn = iter(range(10**9))

    def poison(value: object) -> object:
        if isinstance(value, str):
            return f"{ATTACKS[(number := next(turn)) % len(ATTACKS)]}#{number}\x1b[31m\u202e"
        if isinstance(value, list):
            return [poison(item) for item in value]
        if isinstance(value, dict):
            return {key: poison(item) for key, item in value.items()}
        return value

    def poisoned(table: pl.DataFrame, keep: tuple[str, ...]) -> pl.DataFrame:
        rows = [
            {name: value if name in keep else poison(value) for name, value in row.items()}
            for row in table.head(20).to_dicts()
        ]
        return pl.DataFrame(rows, schema=table.schema)

    routes = {route: poison(route) for route in data.rollups["route"].unique().sort()}
    endpoints = {f"{method} {route}": f"{method} {bad}" for route, bad in routes.items() for method in ("GET", "POST")}
    candidates = poisoned(data.candidates, ("id", "signal", "state", "environment", "service", "unit", "endpoints"))
    return dataclasses.replace(
        data,
        queue=poisoned(data.queue, ("id", "kind", "state", "endpoints")),
        candidates=candidates.with_columns(pl.col("endpoints").list.eval(pl.element().replace(endpoints))),
        links=poisoned(data.links, ()),
        endpoints=data.endpoints.with_columns(pl.col("route").replace(routes)),
        rollups=data.rollups.with_columns(pl.col("route").replace(routes)),
        quality=dataclasses.replace(
            data.quality, inputs=poisoned(data.quality.inputs, ()), warnings=ATTACKS, time_zone=ATTACKS[0]
        ),
        marks=tuple(Mark(mark.time, attack, mark.go_live) for mark, attack in zip(data.marks, ATTACKS, strict=False)),
    )


def _browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: the report is looked at in a real browser in CI; apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    return found


def _loaded(page: str, folder: Path) -> tuple[str, str]:
    """What a browser makes of the page: its document after scripts ran, and what it wrote to the console."""
    (folder / "report.html").write_text(page, encoding="utf-8")
    arguments = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=10000 --enable-logging=stderr --v=0 --dump-dom"
    )
    ran = subprocess.run(
        [_browser(), *arguments.split(), f"--user-data-dir={folder / 'profile'}", (folder / "report.html").as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    console = [line for line in ran.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return ran.stdout.decode(), "\n".join(console)


def test_browser_draws_the_charts_within_the_policy(page: str, tmp_path: Path) -> None:
    shown, console = _loaded(page, tmp_path)
    assert console == ""
    assert shown.count('class="main-svg"') >= 4
    assert '<th scope="col" class="num"><button type="button">calls</button></th>' in shown


def test_hostile_text_is_shown_and_not_obeyed(data: ReportData, tmp_path: Path) -> None:
    hostile = _hostile(data)
    page = render(hostile)
    assert "\x1b" not in page and "\u202e" not in page
    assert _Outline(page).scripts == 3
    shown, console = _loaded(page, tmp_path)
    title = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert title is not None and title[1].startswith("apilens: ")
    assert console == ""
    outline = _Outline(shown)
    # The page's own two scripts, the chart data, and the library which the browser unpacked.
    assert outline.scripts == 4
    assert [name for name in outline.handlers if name != "style"] == []
    assert "img" not in outline.tags
    words = " ".join(outline.text)
    for attack in ATTACKS:
        assert attack in words, f"not shown as it is: {attack}"


def test_chart_labels_hold_nothing_plotly_would_interpret() -> None:
    assert set(plotly_text("<a href='javascript:x'>&lt;b</a>\x1b")).isdisjoint("<>&\x1b")


# Numbers


def _naive_percentile(durations: list[float], share: float) -> float:
    ordered = sorted(durations)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]


def _rollup(at_min: float, status: int | None, durations: list[float], **names: str | None) -> dict[str, object]:
    buckets = (
        pl.DataFrame({"d": durations}, schema={"d": pl.Float64})
        .group_by(bucket=histogram.bucket(pl.col("d")))
        .len()
        .sort("bucket")
    )
    return {
        "bin_start": made.START + timedelta(minutes=at_min),
        "environment": "default",
        "service": "shop",
        "method": "GET",
        "route": "/a",
        "status_code": status,
        "calls": len(durations),
        "durations": len(durations),
        "bucket": buckets["bucket"].to_list(),
        "bucket_calls": buckets["len"].to_list(),
    } | names


def _rollups(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={k: v for k, v in schema.ROLLUPS.items() if k != "unit_id"})


def test_percentiles_agree_with_sorting_all_durations() -> None:
    first, second = [float(i**1.7 % 911) + 1 for i in range(157)], [5000.0, 0.4, 77.0]
    row = charts.over_time(_rollups(_rollup(0, 200, first), _rollup(5, 500, second)), every_s=3600).row(0, named=True)
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        assert row[name] == pytest.approx(_naive_percentile(first + second, share), rel=histogram.RELATIVE_ERROR + 1e-9)


def test_series_has_no_holes_counts_each_call_once_and_leaves_bots_out() -> None:
    series = charts.over_time(
        _rollups(
            _rollup(0, 200, [1.0, 2.0]),
            _rollup(0, None, [1.0]),
            _rollup(20, 503, [1.0]),
            _rollup(20, 200, [1.0] * 9, synthetic_type="bot"),
        ),
        every_s=300,
    )
    assert series["calls"].to_list() == [3, 0, 0, 0, 1]
    assert series["status_other"].to_list() == [1, 0, 0, 0, 0]
    assert series["error_ratio"].to_list() == [0.0, None, None, None, 1.0]


def test_expected_band_uses_the_past_only_and_leaves_abnormal_windows_out() -> None:
    hours = 72
    bad = range(40, 44)
    rows = [
        _rollup(60 * h, status, [1.0] * (number))
        for h in range(hours)
        for status, number in ((200, 98), (500, 2 if h not in bad else 60))
    ]
    series = charts.over_time(_rollups(*rows), every_s=3600)
    window = (made.START + timedelta(hours=bad.start), made.START + timedelta(hours=bad.stop))
    band = charts.expected_band(series, [window])
    assert band["expected"].null_count() == 24
    assert band["expected"].drop_nulls().to_list() == pytest.approx([0.02] * (hours - 24))
    cut = charts.expected_band(series.head(50), [window])
    assert band.head(50).equals(cut)
    assert (series["error_ratio"] > band["high"]).fill_null(False).arg_true().to_list() == list(bad)


def test_change_is_found_where_there_is_one_and_not_where_there_is_none() -> None:
    fast, slow = [float(20 + i % 30) for i in range(400)], [float(60 + i % 90) for i in range(400)]
    rows = [_rollup(60 * h, 200, fast, route="/same") for h in range(4)]
    rows += [_rollup(60 * h, 200, fast if h < 2 else slow, route="/slower") for h in range(4)]
    rows += [_rollup(60 * h, 500, fast[: 2 if h < 2 else 80], route="/slower") for h in range(4)]
    found = charts.changes(_rollups(*rows), made.START + timedelta(hours=2)).sort("route")
    same, slower = found.to_dicts()
    assert units.times(same["p95_ratio"], same["p95_low"], same["p95_high"]) == "no change"
    assert same["errors_ratio"] is None
    assert slower["p95_low"] < 142 / 48 < slower["p95_high"]
    assert 1 < slower["errors_low"] < slower["errors_ratio"] < slower["errors_high"]
    assert slower["calls_before"] == 804 and slower["calls_after"] == 960


def test_sparkline_shows_what_the_candidate_was_measured_by() -> None:
    rows = _rollups(
        _rollup(0, 200, [10.0, 1000.0]) | {"log_duration_sum": math.log(10) + math.log(1000)},
        _rollup(0, 503, [1.0] * 2) | {"log_duration_sum": 0.0},
        _rollup(5, 401, [1.0]) | {"log_duration_sum": 0.0},
    )

    def values(signal: str, unit: str, status: str | None = None) -> list[float | None]:
        return charts.signal_over_time(rows, signal=signal, unit=unit, status=status, every_s=300)["value"].to_list()

    assert values("errors", "ratio") == [0.5, 0.0]
    assert values("errors", "ratio", "401") == [0.0, 1.0]
    assert values("auth", "ratio") == [0.0, 1.0]
    assert values("traffic", "calls") == [4.0, 1.0]
    assert values("latency", "ms") == [pytest.approx(100.0), None]
    assert values("latency", "ratio") == [pytest.approx(1000.0, rel=0.01), None]


def test_gap_is_a_long_silence_only_where_traffic_was_to_be_expected() -> None:
    busy = _rollups(*(_rollup(5 * i, 200, [1.0] * 20) for i in range(40) if not 10 <= i < 20))
    assert charts.gaps(busy).select("start", "end").rows() == [
        (made.START + timedelta(minutes=50), made.START + timedelta(minutes=100))
    ]
    quiet = _rollups(*(_rollup(5 * i, 200, [1.0]) for i in (0, 30, 60)))
    assert charts.gaps(quiet).is_empty()


def test_width_of_bins_covers_any_span_with_a_bounded_number() -> None:
    for days in (0.01, 1, 14, 400, 40_000):
        width = charts.width_s(made.START, made.START + timedelta(days=days), at_most=360)
        assert days * 86400 / width <= 360 and width % schema.BIN_S == 0


def test_consumer_silent_on_two_open_problems_counts_once(data: ReportData) -> None:
    found = verdict(data.queue, calls=1)
    naive = {name for row in data.queue.to_dicts() if row["state"] == "open" for name in row["silent_consumers"] or []}
    assert (found.silent, found.silent_at_least) == (len(naive), False)
    assert verdict(data.queue, calls=1, critical_allowed=1).ready is True
    capped = data.queue.with_columns(pl.col("silent_consumers").list.head(2))
    assert verdict(capped, calls=1).reach.startswith("at least 57 silent")
    nameless = data.queue.with_columns(hit=None, silent=None, silent_consumers=pl.lit([], dtype=pl.List(pl.String)))
    assert "the logs name no consumer" in verdict(nameless, calls=1).reach


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(0.0, "0 %"), (1e-6, "<0.01 %"), (0.0031, "0.31 %"), (0.18, "18 %"), (0.99999, "99.99 %"), (1.0, "100 %")],
)
def test_percent_never_rounds_something_to_nothing_or_almost_to_all(ratio: float, shown: str) -> None:
    assert units.percent(ratio) == shown


def test_problems_that_cause_each_other_and_talk_to_file_are_shown_where_there_are_any(
    data: ReportData, page: str
) -> None:
    assert 'id="related"' not in page and 'id="escalations"' not in page
    one, other = data.candidates["id"].head(2)
    attack = "<img src=x onerror=alert(1)>"
    pairs = [("caused_by", one, other, "confirmed", attack), ("blocks", other, one, "rejected", "gone")]
    talk = [("chat", "CHAT-1", [attack, "bo"], one, ["3 people wrote about it"], 12, "yes: 12 of 90 consumers hit")]
    shown = render(
        dataclasses.replace(
            data,
            related=pl.DataFrame(pairs, schema=RELATED, orient="row"),
            escalations=pl.DataFrame(talk, schema=ESCALATIONS, orient="row"),
        )
    )
    assert shown.count('id="related"') == shown.count('id="escalations"') == 1
    assert "caused by" in shown and ">gone<" not in shown and "3 people wrote about it" in shown
    assert attack not in shown and shown.count("&lt;img src=x onerror=alert(1)&gt;") == 2


def test_a_value_between_two_holes_is_a_dot_of_the_chart() -> None:
    """Logs with a few calls an hour had an empty chart of errors under a heading that named the highest of them."""
    times = pl.datetime_range(datetime(2026, 3, 9), datetime(2026, 3, 9, 1), "15m", time_zone="UTC", eager=True)
    band = pl.DataFrame(schema={"bin_start": times.dtype, "low": pl.Float64, "high": pl.Float64})
    for ratios, sizes in (([0.1, None, None, 0.2, 0.3], [4, 0, 0, 0, 0]), ([0.1, 0.2, None, 0.3, 0.4], None)):
        series = pl.DataFrame({"bin_start": times, "error_ratio": ratios})
        (line,) = error_ratio(series, band, [], [])["data"]
        assert line.get("marker", {}).get("size") == sizes
