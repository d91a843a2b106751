"""Objectives, and what is left of their error budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import polars as pl

from apilens import histogram
from apilens.errors import ConfigError
from apilens.schema import BIN_S, table
from apilens.window import Window


@dataclass(frozen=True)
class Slo:
    """One objective: `objective` (0..1, below 1) of the matching calls within `days` are good.

    endpoints: "METHOD /route" with `*` and `?`; service: None for any. latency_ms: a call is good when it has no 5xx and took
    at most so long; None: when it has no 5xx. Raises ConfigError for an objective that leaves no budget, or nothing to reach.
    """

    name: str
    objective: float
    endpoints: str = "*"
    service: str | None = None
    latency_ms: float | None = None
    days: int = 28

    def __post_init__(self) -> None:
        if not 0 < self.objective < 1:
            raise ConfigError(
                f"objective of SLO {self.name!r} is {100 * self.objective:g} %; expected more than 0 % and less than 100 %: "
                "a budget of zero cannot be spent. Next: 99.9 %"
            )
        if not 1 <= self.days <= 366:
            raise ConfigError(f"period of SLO {self.name!r} is {self.days} days; expected 1 to 366")


#: One row per objective, in their order.
BUDGETS = table(
    {
        "name": pl.String,
        "objective": pl.Float64,  # 0..1
        "days": pl.Int64,
        "calls": pl.Int64,  # measured in the period
        "bad": pl.Int64,
        "good_ratio": pl.Float64,  # 0..1; null: no calls, which is not good news
        "coverage": pl.Float64,  # share of the period's five minutes that have calls: the rest is unmeasured, not up
        "budget_left": pl.Float64,  # of 1; negative: overspent; null: no calls
        "burn_1h": pl.Float64,  # 1.0 ends the period exactly at zero; null: no calls in that window
        "burn_6h": pl.Float64,
        "burn_1d": pl.Float64,
        "burn_3d": pl.Float64,
        "hours_left": pl.Float64,  # until the budget is spent at the rate of the last six hours; 0: spent; null: not at this rate
        "alert": pl.String,  # page | ticket | null
    }
)

#: Long window, short window, factor, what to do. Source: Google, The Site Reliability Workbook, ch. 5, "Alerting on SLOs".
BURN_WINDOWS = (
    (timedelta(hours=1), timedelta(minutes=5), 14.4, "page"),
    (timedelta(hours=6), timedelta(minutes=30), 6.0, "page"),
    (timedelta(days=1), timedelta(hours=2), 3.0, "ticket"),
    (timedelta(days=3), timedelta(hours=6), 1.0, "ticket"),
)


def budgets(rollups: pl.DataFrame, objectives: list[Slo], *, now: datetime) -> pl.DataFrame:
    """BUDGETS as of `now`. rollups: schema.ROLLUPS of the longest period before it, any order; bots, scanners and health
    checks are left out. A period that begins before the first call counts as unmeasured there.

    Every window reaches back to the start of the five minutes in which it begins: the last five minutes are never the few
    seconds of the bin that has just begun, in which a single good call would silence a page.
    """
    real = rollups.filter(pl.col("synthetic_type").is_null())
    return pl.DataFrame([_budget(real, slo, now) for slo in objectives], schema=BUDGETS)


def silent(found: pl.DataFrame, objectives: list[Slo]) -> list[Slo]:
    """The objectives that no call of their period is about, by their rows of BUDGETS: nothing can be said of them."""
    return [slo for slo, calls in zip(objectives, found["calls"], strict=True) if calls == 0]


def burning(found: pl.DataFrame, at_least: str) -> pl.DataFrame:
    """The rows of BUDGETS whose alert is a page, or a page or ticket. at_least: page | ticket."""
    return found.filter(pl.col("alert").is_in(["page"] if at_least == "page" else ["page", "ticket"]))


def _budget(rollups: pl.DataFrame, slo: Slo, now: datetime) -> dict[str, object]:
    period = timedelta(days=slo.days)
    endpoint = pl.concat_str(pl.col("method").fill_null("-"), pl.lit(" "), pl.col("route").fill_null("-"))
    names = rollups.select(endpoint.alias("endpoint")).to_series().unique()
    matching = [name for name in names if fnmatchcase(name, slo.endpoints)]
    first = _bin_of(now - period)
    mine = rollups.filter(endpoint.is_in(matching) & (pl.col("bin_start") >= first) & (pl.col("bin_start") < now))
    if slo.service is not None:
        mine = mine.filter(pl.col("service") == slo.service)
    failed = (pl.col("status_code") >= 500).fill_null(True)
    bad = pl.when(failed).then("calls").otherwise(0 if slo.latency_ms is None else _slow(slo.latency_ms))
    bins = mine.group_by("bin_start").agg(pl.col("calls").sum(), bad.sum().alias("bad"))
    calls, wrong = int(bins["calls"].sum()), int(bins["bad"].sum())

    def burn(span: timedelta) -> float | None:
        part = bins.filter(pl.col("bin_start") >= _bin_of(now - span))
        n = int(part["calls"].sum())
        return int(part["bad"].sum()) / n / (1 - slo.objective) if n else None

    left = 1 - wrong / (calls * (1 - slo.objective)) if calls else None
    burns = [burn(long) for long, _, _, _ in BURN_WINDOWS]
    pace = burns[1]
    alert = next(
        (
            what
            for (_, short, factor, what), rate in zip(BURN_WINDOWS, burns, strict=True)
            if rate is not None and rate > factor and (burn(short) or 0.0) > factor
        ),
        None,
    )
    hours = None
    if left is not None and left <= 0:
        hours = 0.0
    elif left is not None and pace:
        hours = left * slo.days * 24 / pace
    return {
        "name": slo.name,
        "objective": slo.objective,
        "days": slo.days,
        "calls": calls,
        "bad": wrong,
        "good_ratio": 1 - wrong / calls if calls else None,
        "coverage": bins.height / math.ceil((now - first).total_seconds() / BIN_S),
        "budget_left": left,
        **dict(zip(("burn_1h", "burn_6h", "burn_1d", "burn_3d"), burns, strict=True)),
        "hours_left": hours,
        "alert": alert,
    }


def _slow(limit_ms: float) -> pl.Expr:
    """Calls of a rollup row that took longer, by the histogram; calls without a duration are taken for good."""
    slow = histogram.estimate_ms(pl.element()) > limit_ms * (1 + histogram.RELATIVE_ERROR)
    return (pl.col("bucket").list.eval(slow.cast(pl.Int64)) * pl.col("bucket_calls").cast(pl.List(pl.Int64))).list.sum()


def longest(objectives: list[Slo], now: datetime) -> Window:
    """The window that all periods lie in, from the start of the five minutes in which the longest begins."""
    return Window(_bin_of(now - timedelta(days=max(slo.days for slo in objectives))), now)


def _bin_of(moment: datetime) -> datetime:
    return moment - timedelta(seconds=moment.timestamp() % BIN_S)


def read_slos(documents: list[object], file: str) -> list[Slo]:
    """Objectives of OpenSLO (v1, kind SLO) or Sloth (prometheus/v1, or Kubernetes' PrometheusServiceLevel) documents.

    Which calls they are about is told by the label or annotation `endpoints` ("GET /v1/*"), else by the service; a query of a
    monitoring system is not run. Raises ConfigError naming the file and what is missing.
    """
    found: list[Slo] = []
    try:
        for document in documents:
            if not isinstance(document, dict):
                continue
            if document.get("kind") == "SLO":
                found += _openslo(document)
                continue
            sloth = _mapping(document.get("spec")) if document.get("kind") == "PrometheusServiceLevel" else document
            slos = sloth.get("slos")
            if isinstance(slos, list):
                found += [_sloth(sloth, one) for one in slos if isinstance(one, dict)]
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    if not found:
        raise ConfigError(f"{file}: holds no SLO; expected OpenSLO documents (kind: SLO) or Sloth's list `slos`")
    return found


def _openslo(document: dict[str, object]) -> list[Slo]:
    metadata, spec = _mapping(document.get("metadata")), _mapping(document.get("spec"))
    name = str(metadata.get("name") or "unnamed")
    if "timeWindows" in spec:
        raise ConfigError(
            f"SLO {name!r} has timeWindows, as OpenSLO v1alpha; expected timeWindow. Next: timeWindow: [{{duration: 28d, isRolling: true}}]"
        )
    windows = spec.get("timeWindow")
    first = _mapping(windows[0]) if isinstance(windows, list) and windows else {}
    objectives = spec.get("objectives")
    if not isinstance(objectives, list) or not objectives:
        raise ConfigError(f"SLO {name!r} has no objectives; expected spec.objectives with a target")
    result = []
    for number, one in enumerate(map(_mapping, objectives)):
        percent = one.get("targetPercent")
        target, part = (one.get("target"), 1) if percent is None else (percent, 100)
        value = one.get("value")
        if value is not None and one.get("op") not in ("lt", "lte"):
            raise ConfigError(
                f"op of SLO {name!r} is {one.get('op')!r}; expected lt or lte beside a value: calls are good that took less"
            )
        result.append(
            Slo(
                name if len(objectives) == 1 else f"{name} {one.get('displayName') or number + 1}",
                _number(target, f"target of SLO {name!r}") / part,
                service=_service(spec.get("service"), metadata),
                endpoints=_endpoints(metadata),
                # OpenSLO leaves the unit to the query; seconds are what Prometheus has.
                latency_ms=None if value is None else 1000 * _number(value, f"value of SLO {name!r}"),
                days=_days(str(first.get("duration") or "28d"), name),
            )
        )
    return result


def _sloth(document: dict[str, object], one: dict[str, object]) -> Slo:
    name = str(one.get("name") or "unnamed")
    share = _number(one.get("objective"), f"objective of SLO {name!r}")
    if 0 < share <= 1:
        raise ConfigError(f"objective of SLO {name!r} is {share:g} %; Sloth's is in percent. Next: {100 * share:g}")
    return Slo(
        name, share / 100, endpoints=_endpoints(one), service=_service(document.get("service"), one), days=30
    )  # Sloth's default period


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _endpoints(described: dict[str, object]) -> str:
    for place in ("annotations", "labels"):
        value = _mapping(described.get(place)).get("endpoints")
        if isinstance(value, list) and len(value) > 1:
            raise ConfigError(
                f"SLO {str(described.get('name'))!r} names {len(value)} patterns of endpoints, expected one: what it leaves out would"
                " not count. Next: an SLO each, or a pattern that all fit, such as 'GET /v1/*'"
            )
        if isinstance(value, list):
            value = value[0] if value else None
        if value:
            return str(value)
    return "*"


def _service(service: object, described: dict[str, object]) -> str | None:
    """Where endpoints are named, the service is only a heading; logs seldom know it."""
    return None if _endpoints(described) != "*" or not service else str(service)


def _number(value: object, what: str) -> float:
    """A scalar of a document, which comes as the text that stands there."""
    try:
        return float(str(value))
    except ValueError:
        raise ConfigError(f"{what} is {'missing' if value is None else repr(value)}; expected a number") from None


def _days(duration: str, name: str) -> int:
    units = {"d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}
    if duration[-1:] in units and duration[:-1].isdigit():
        return int(duration[:-1]) * units[duration[-1]]
    raise ConfigError(f"timeWindow of SLO {name!r} is {duration!r}; expected for example 28d or 4w")
