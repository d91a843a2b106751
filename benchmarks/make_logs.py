"""Seeded benchmark logs: NGINX combined + request_time + upstream_response_time, or Kong JSON.

120 route templates with ids, UUIDs, slugs, hex and e-mails in paths, 0.3 % calls over two upstreams, 0.1 % malformed lines.
Usage: python benchmarks/make_logs.py OUT [--lines 5000000] [--format nginx|kong] [--seed 1]
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
    " $request_time $upstream_response_time"
)
BLOCK = 250_000
START = datetime(2026, 3, 2)
RESOURCES = [
    "users",
    "orders",
    "carts",
    "items",
    "invoices",
    "payments",
    "products",
    "reviews",
    "search",
    "sessions",
    "devices",
    "reports",
]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
    "Go-http-client/2.0",
    "kube-probe/1.30",
]


def _ids(rng: np.random.Generator, kind: int, n: int) -> pl.Series:
    """n path variables of one of five kinds: number, UUID, hex, slug, e-mail."""
    a, b = rng.integers(1 << 62, size=(2, n), dtype=np.int64)
    frame = pl.DataFrame({"a": a, "b": b})
    hexa = pl.concat_str([pl.col(c).hash(7) for c in ("a", "b")])
    words = pl.Series(["blue", "green", "little", "suede", "winter", "magic", "garden", "silver"])
    w = words.gather(frame["a"].to_numpy() % 8) + "-" + words.gather(frame["b"].to_numpy() % 8)
    number = (frame["a"] % 2_000_000).cast(pl.String)
    digits = frame.select(hexa.cast(pl.String).alias("h"))["h"].str.pad_end(32, "0")
    if kind == 0:
        return number
    if kind == 1:
        return (
            digits.str.slice(0, 8)
            + "-"
            + digits.str.slice(8, 4)
            + "-4a"
            + digits.str.slice(14, 2)
            + "-a"
            + (digits.str.slice(17, 3) + "-" + digits.str.slice(20, 12))
        )
    if kind == 2:
        return "a" + digits.str.slice(0, 14) + "f"
    if kind == 3:
        return w + "-shoes-" + number
    return w + number + "%40example.org"


def _paths(rng: np.random.Generator, n: int) -> pl.Series:
    """n request targets over 120 templates, Zipf-like."""
    template = np.minimum(rng.zipf(1.3, n) - 1, 119)
    out = pl.DataFrame({"t": template}).with_row_index("row")
    parts = []
    for (key,), group in out.group_by("t"):
        t = int(key)  # type: ignore[call-overload]  # group keys are typed as objects
        resource, shape = RESOURCES[t % 12], t // 12
        base = f"/api/v{1 + shape % 2}/{resource}"
        ids = _ids(rng, shape % 5, group.height)
        path = [
            base + pl.Series([""]).new_from_index(0, group.height),
            base + "/" + ids,
            base + "/" + ids + "/history",
        ][shape % 3]
        parts.append(group.select("row").with_columns(path.alias("path")))
    paths = pl.concat(parts).sort("row")["path"]
    query = pl.Series(np.where(rng.random(n) < 0.2, "?page=2&sort=asc", ""))
    return paths + query


def block(rng: np.random.Generator, first: int, n: int, total: int) -> pl.DataFrame:
    """n calls in time order; columns as the writers below need them."""
    day = 86_400
    seconds = np.sort(rng.random(n)) * (n / total) * day + first / total * day
    status = rng.choice(
        [200, 201, 204, 301, 404, 401, 429, 500, 502], n, p=[0.86, 0.03, 0.02, 0.02, 0.04, 0.01, 0.005, 0.01, 0.005]
    )
    rt = np.round(rng.lognormal(3.5, 0.9, n)) / 1e3
    ip = rng.integers(1, 255, size=(3, n))
    return pl.DataFrame(
        {
            "time": pl.Series((seconds * 1e6).astype("int64")).cast(pl.Duration("us")) + START,
            "ip": pl.select(pl.format("10.{}.{}.{}", *(pl.Series(x) for x in ip))).to_series(),
            "user": pl.Series(np.where(rng.random(n) < 0.5, "-", "app-"))
            + pl.Series(rng.integers(40, size=n)).cast(pl.String),
            "method": rng.choice(["GET", "GET", "GET", "POST", "PUT", "DELETE"], n),
            "url": _paths(rng, n),
            "status": status,
            "bytes": rng.integers(0, 60_000, n),
            "agent": pl.Series(AGENTS).gather(rng.integers(len(AGENTS), size=n)),
            "rt": rt,
            "urt": np.round(rt * 0.9, 3),
            "double": rng.random(n) < 0.003,
            "broken": rng.random(n) < 0.001,
        }
    ).with_columns(pl.when(pl.col("user").str.starts_with("-")).then(pl.lit("-")).otherwise("user").alias("user"))


def _fixed3(column: str) -> pl.Expr:
    ms = (pl.col(column) * 1000).round().cast(pl.Int64)
    return pl.format("{}.{}", ms // 1000, (ms % 1000).cast(pl.String).str.zfill(3))


def nginx(calls: pl.DataFrame) -> pl.DataFrame:
    """One column `line` in LOG_FORMAT."""
    urt = pl.when("double").then(pl.format("0.001, {}", _fixed3("urt"))).otherwise(_fixed3("urt"))
    line = pl.format(
        '{} - {} [{} +0000] "{} {} HTTP/1.1" {} {} "{}" "{}" {} {}',
        "ip", "user", pl.col("time").dt.strftime("%d/%b/%Y:%H:%M:%S"), "method", "url", "status", "bytes",
        pl.when(pl.col("status") == 200).then(pl.lit("https://shop.example.org/list")).otherwise(pl.lit("-")), "agent",
        _fixed3("rt"), urt,
    )  # fmt: skip
    return calls.select(pl.when("broken").then(line.str.slice(0, 40)).otherwise(line).alias("line"))


def kong(calls: pl.DataFrame) -> pl.DataFrame:
    """One column `line`, Kong file-log JSON."""
    ms = (pl.col("rt") * 1000).round().cast(pl.Int64)
    record = pl.struct(
        pl.struct(
            (pl.col("bytes") % 4000).alias("size"), "method", pl.col("url").alias("uri"),
            pl.struct(pl.col("agent").alias("user-agent"), pl.lit("shop.example.org").alias("host")).alias("headers"),
            pl.col("url").hash(3).cast(pl.String).alias("id"),
        ).alias("request"),
        pl.struct("status", pl.col("bytes").alias("size")).alias("response"),
        pl.struct(ms.alias("request"), (ms - 1).alias("proxy"), pl.lit(1).alias("kong")).alias("latencies"),
        pl.struct(pl.lit("shop").alias("name")).alias("service"),
        pl.struct(pl.lit("shop-route").alias("name")).alias("route"),
        pl.struct(pl.col("user").alias("username")).alias("consumer"),
        pl.col("ip").alias("client_ip"), pl.col("status").cast(pl.String).alias("upstream_status"),
        pl.col("time").dt.epoch("ms").alias("started_at"),
    )  # fmt: skip
    line = record.struct.json_encode()
    return calls.select(pl.when("broken").then(line.str.slice(0, 40)).otherwise(line).alias("line"))


def main() -> None:
    """Write the file in blocks, so that any number of lines fits in memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--format", choices=("nginx", "kong"), default="nginx")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    render = nginx if options.format == "nginx" else kong
    with options.out.open("wb") as out:
        for first in range(0, options.lines, BLOCK):
            n = min(BLOCK, options.lines - first)
            lines = render(block(rng, first, n, options.lines))
            out.write(lines.write_csv(None, include_header=False, quote_style="never").encode())


if __name__ == "__main__":
    main()
