"""Prometheus: what `/api/v1/query_range` and `/api/v1/query` answer, also from Grafana, Thanos, Mimir; VictoriaMetrics' export.

Source: Prometheus documentation, "HTTP API", "Expression query result formats".
"""

from __future__ import annotations

import json
import math
from datetime import tzinfo
from typing import Any

from apilens.errors import InputError
from apilens.metrics.samples import Samples


def recognises(text: str) -> bool:
    """An object or list of JSON."""
    return text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[") and '"' in text


def read(text: str, name: str, tz: tzinfo) -> Samples:
    """Samples of each series. Raises InputError for an answer that says it failed, and for JSON without series."""
    found = Samples()
    for series in _series(text, name):
        if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
            found.rejects.append((f"series {len(found.parts) + 1}", "no series: it has no metric with labels"))
            continue
        labels = {str(key): str(value) for key, value in series["metric"].items()}
        if isinstance(series.get("timestamps"), list) and isinstance(series.get("values"), list):
            # VictoriaMetrics: two lists, times in milliseconds.
            points = [list(pair) for pair in zip(series["timestamps"], series["values"], strict=False)]
            per_us = 1e3
        else:
            values = series.get("values")
            points = values if isinstance(values, list) else [series.get("value")]  # type: ignore[list-item]  # JSON can be anything
            per_us = 1e6
        if "histograms" in series or "histogram" in series:
            found.rejects.append(
                (_named(labels), "native histograms are not read; export histogram_quantile(…) instead")
            )
            if points == [None]:
                continue
        pairs = [point if isinstance(point, list) and len(point) == 2 else [None, None] for point in points]
        found.add(
            labels,
            [f"{_named(labels)} sample {place + 1}" for place in range(len(pairs))],
            [_micros(at, per_us) for at, _ in pairs],
            [_number(value) for _, value in pairs],
            [str(point) for point in points],
        )
    return found


def _series(text: str, name: str) -> list[Any]:
    try:
        body = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        try:
            body = [json.loads(line) for line in text.lstrip("\ufeff").split("\n") if line.strip()]
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}: is no JSON ({str(error)[:100]}); expected the answer of a range query") from None
    if isinstance(body, dict) and ("data" in body or "status" in body):
        if body.get("status") not in (None, "success"):
            said = str(body.get("error") or "no reason given")[:200]
            raise InputError(
                f"{name}: the query failed: {said}; expected status success. Mend the query, export it again"
            )
        body = body.get("data")
    if isinstance(body, dict) and "result" in body:
        kind = body.get("resultType", "matrix")
        if kind not in ("matrix", "vector"):
            raise InputError(f"{name}: holds a {str(kind)[:40]}, expected a matrix: use /api/v1/query_range")
        body = body["result"]
    if isinstance(body, dict) and "metric" in body:
        body = [body]
    if not isinstance(body, list):
        raise InputError(f'{name}: has no series; expected {{"data": {{"resultType": "matrix", "result": […]}}}}')
    return body


def _named(labels: dict[str, str]) -> str:
    return labels.get("__name__") or next(iter(labels.values()), "series")


def _micros(at: Any, per_us: float) -> int | None:
    if isinstance(at, bool) or not isinstance(at, (int, float)):
        return None
    try:
        return round(at * per_us)
    except (OverflowError, ValueError):
        return None


def _number(value: Any) -> float | None:
    """Values are text in Prometheus, so that NaN and +Inf fit into JSON; VictoriaMetrics writes null."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return None
