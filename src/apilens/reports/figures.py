"""The report's main charts as Plotly figures: data only, no functions, every colour a name of the palette.

Plotly reads texts as a small HTML of its own, so whatever is not ours goes through `plotly_text`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from apilens.reports.charts import BANDS_MS
from apilens.reports.units import milliseconds
from apilens.reports.visible import safe

#: Colour in the figures -> CSS variable that report.js puts in its place, so that charts follow light and dark.
PALETTE = {
    "#1b1f24": "--ink",
    "#57606a": "--dim",
    "#d8dee4": "--line",
    "#0b62a8": "--blue",
    "#bc4a00": "--orange",
    "#00735a": "--green",
    "#7a4fa3": "--violet",
    "#7b8590": "--grey",
    "rgba(11,98,168,0.16)": "--band",
    "rgba(188,74,0,0.1)": "--shade",
    "rgba(11,98,168,0)": "--clear",
}
_INK, _DIM, _LINE, _BLUE, _ORANGE, _GREEN, _VIOLET, _GREY, _BAND, _SHADE, _CLEAR = PALETTE

Figure = dict[str, Any]
Mark = tuple[datetime, str]


def plotly_text(text: str) -> str:
    """`text` without what Plotly would take for tags or entities; at most 40 characters."""
    return safe(text[:40]).translate({ord("<"): "‹", ord(">"): "›", ord("&"): "+"})


def error_ratio(
    series: pl.DataFrame, band: pl.DataFrame, marks: Sequence[Mark], abnormal: Sequence[tuple[datetime, datetime]]
) -> Figure:
    """5xx ratio per bin with the band in which it was expected, marks, and the windows of open or ended problems."""
    # Plotly fills across holes: the band starts with its first known point and carries on where there were no calls.
    whole = band.fill_null(strategy="forward").drop_nulls()
    edge: dict[str, Any] = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    traces: list[dict[str, Any]] = []
    if not whole.is_empty():
        edge |= _time(whole)
        traces = [
            edge | {"y": _numbers(whole["low"], 5), "showlegend": False},
            edge | {"y": _numbers(whole["high"], 5), "fill": "tonexty", "fillcolor": _BAND, "name": "expected"},
        ]
    traces += [
        dict(
            type="scatter",
            y=_numbers(series["error_ratio"], 5),
            **_time(series),
            **_line(series["error_ratio"]),
            name="error ratio (5xx)",
            line={"color": _ORANGE, "width": 1.5},
            hovertemplate="%{y:.2%}",
        ),
    ]
    return _figure(traces, marks, abnormal, yaxis={"tickformat": "~%", "rangemode": "tozero"})


def _line(values: pl.Series) -> dict[str, Any]:
    """A line, with a dot where a value stands between two holes: of it no line would be seen."""
    alone = values.is_not_null() & values.shift(1).is_null() & values.shift(-1).is_null()
    if not alone.any():
        return {"mode": "lines"}
    return {"mode": "lines+markers", "marker": {"size": (alone.cast(pl.Int8) * 4).to_list()}}


def status(series: pl.DataFrame, marks: Sequence[Mark]) -> Figure:
    """Calls per bin, stacked by status class, 5xx at the bottom where its height can be read."""
    kinds = (
        ("5xx", "status_5xx", _ORANGE),
        ("4xx", "status_4xx", _VIOLET),
        ("other", "status_other", _INK),
        ("3xx", "status_3xx", _GREEN),
        ("2xx", "status_2xx", _GREY),
    )
    traces = [
        dict(
            type="bar",
            y=series[column].to_list(),
            **_time(series),
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{y:,}",
        )
        for name, column, colour in kinds
        if series[column].sum() > 0
    ]
    return _figure(traces, marks, barmode="stack", bargap=0, yaxis={"rangemode": "tozero"})


def latency(series: pl.DataFrame, marks: Sequence[Mark]) -> Figure:
    """p50, p95 and p99 per bin on a logarithmic scale; told apart by dash as well as colour."""
    kinds = (("p99", _ORANGE, "solid"), ("p95", _VIOLET, "dash"), ("p50", _BLUE, "solid"))
    traces = [
        dict(
            type="scatter",
            y=_numbers(series[f"{name}_ms"], 1),
            **_time(series),
            **_line(series[f"{name}_ms"]),
            name=name,
            line={"color": colour, "width": 1.5, "dash": dash},
            hovertemplate="%{y:,.0f} ms",
        )
        for name, colour, dash in kinds
    ]
    decades = [10.0**power for power in range(-3, 8)]
    scale = {"type": "log", "tickvals": decades, "ticktext": [milliseconds(decade) for decade in decades]}
    return _figure(traces, marks, yaxis=scale)


def latency_heat(bands: pl.DataFrame, marks: Sequence[Mark], *, every_s: int) -> Figure:
    """Share of each bin's calls per latency band; a column adds up to 1."""
    names = band_names(bands)
    times = pl.DataFrame({"bin_start": bands["bin_start"].unique().sort()})
    grid = [
        times.join(bands.filter(pl.col("band") == band), on="bin_start", how="left").sort("bin_start")["share"]
        for band in range(len(names))
    ]
    trace = {
        "type": "heatmap",
        # Times stand for the start of a bin, cells are drawn around their centre.
        "x": times["bin_start"].dt.offset_by(f"{every_s // 2}s").dt.strftime("%Y-%m-%d %H:%M").to_list(),
        "y": names,
        "z": [_numbers(row.fill_null(0), 3) for row in grid],
        "colorscale": [[0, _CLEAR], [1, _BLUE]],
        "zmin": 0,
        "xgap": 0,
        "colorbar": {"title": {"text": "share"}, "tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
        "hovertemplate": "%{x}<br>%{y}: %{z:.1%}<extra></extra>",
    }
    return _figure(
        [trace], marks, hovermode="closest", height=100 + 20 * len(names), yaxis={"type": "category", "dtick": 1}
    )


def band_names(bands: pl.DataFrame) -> list[str]:
    """`≤ 1 ms`, `1 ms–2 ms`, … up to the slowest band which holds a call."""
    if bands.is_empty():
        return []
    edges = [milliseconds(edge) for edge in BANDS_MS]
    names = [f"≤ {edges[0]}", *(f"{low}–{high}" for low, high in itertools.pairwise(edges)), f"> {edges[-1]}"]
    return names[: bands.select(pl.col("band").max()).item() + 1]


def _numbers(column: pl.Series, digits: int) -> list[float | None]:
    return column.round(digits).to_list()


def _time(series: pl.DataFrame) -> dict[str, Any]:
    """Start and step instead of a time per point: bins have no holes, and the file stays small."""
    start = series["bin_start"]
    step_ms = (start[1] - start[0]).total_seconds() * 1000 if len(start) > 1 else 300_000
    return {"x0": _iso(start[0]), "dx": step_ms}


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M")


def _figure(
    traces: list[dict[str, Any]],
    marks: Sequence[Mark],
    abnormal: Sequence[tuple[datetime, datetime]] = (),
    **layout: Any,
) -> Figure:
    # plotly's Python side takes 0.5 s to import and is needed by this one command.
    import plotly.graph_objects as go

    axis = {"gridcolor": _LINE, "linecolor": _LINE, "zeroline": False, "color": _DIM, "automargin": True}
    windows = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": _iso(start),
            "x1": _iso(end),
            "y0": 0,
            "y1": 1,
            "layer": "below",
        }
        | {"fillcolor": _SHADE, "line": {"width": 0}}
        for start, end in abnormal
    ]
    poles = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": _iso(time), "x1": _iso(time), "y0": 0, "y1": 1}
        | {"line": {"color": _INK, "width": 1, "dash": "dot"}}
        for time, _ in marks
    ]
    labels = [
        {"x": _iso(time), "y": 1, "xref": "x", "yref": "paper", "text": plotly_text(label), "showarrow": False}
        | {"xanchor": "left", "yanchor": "top", "font": {"size": 11, "color": _INK}}
        for time, label in marks
    ]
    yaxis = axis | layout.pop("yaxis", {})
    figure = go.Figure(
        data=traces,
        layout={
            "template": go.layout.Template(),
            "height": 280,
            "margin": {"l": 56, "r": 12, "t": 40, "b": 36},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": _INK},
            "hovermode": "x unified",
            "modebar": {"bgcolor": _CLEAR, "color": _GREY, "activecolor": _INK},
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "xaxis": axis | {"type": "date"},
            "yaxis": yaxis,
            "shapes": windows + poles,
            "annotations": labels,
        }
        | layout,
    )
    made: Figure = figure.to_plotly_json()
    return made
