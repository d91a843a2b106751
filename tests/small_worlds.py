"""Worlds of benchmarks/ in small, and the calls that the lines of each tell of."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from apilens.formats import Options
from apilens.ingest.run import Request
from apilens.lens import Lens
from apilens.pipeline.logs import ingest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
worlds = importlib.import_module("worlds")

#: What a reader makes of lines: a row each, with method, path, status, consumer, node and upstream; with at where it is in the line.
Reader = Callable[[pl.Series], pl.DataFrame]


def grouped(lines: pl.Series, pattern: str) -> pl.DataFrame:
    return lines.str.extract_groups(pattern).struct.unnest()


def decoded(lines: pl.Series, fields: dict[str, Any]) -> pl.DataFrame:
    """Fields of the object that a line ends in. Read as one file, which takes a third of the time of one line after the other."""
    objects = lines.str.replace(r"^[^{]*", "").str.join("\n").item()
    return pl.read_ndjson(objects.encode(), schema=fields)


def nginx(lines: pl.Series) -> pl.DataFrame:
    pattern = (
        r'^\S+ - (?<consumer>\S+) \[[^\]]+\] "(?<method>\S+) (?<path>\S+) HTTP/1.1" (?<status>\d+) \d+ "-" "[^"]+" \S+ \S+ '
        r"(?<upstream>\S+) (?<node>\S+)$"
    )
    return grouped(lines, pattern)


def apisix(lines: pl.Series) -> pl.DataFrame:
    fields = {
        "request": pl.Struct({"method": pl.String, "uri": pl.String}), "response": pl.Struct({"status": pl.Int64}),
        "consumer": pl.Struct({"username": pl.String}), "server": pl.Struct({"hostname": pl.String}), "upstream": pl.String,
    }  # fmt: skip
    return decoded(lines, fields).select(
        "upstream", method=inside("request", "method"), path=inside("request", "uri"), status=inside("response", "status"),
        consumer=inside("consumer", "username"), node=inside("server", "hostname"),
    )  # fmt: skip


def gravitee(lines: pl.Series) -> pl.DataFrame:
    methods = {2: "DELETE", 3: "GET", 7: "POST", 8: "PUT"}  # HttpMethod of gravitee-common
    fields = dict.fromkeys(("uri", "application", "gateway", "endpoint"), pl.String()) | dict.fromkeys(("method", "status"), pl.Int64())  # fmt: skip
    return decoded(lines, fields).select(
        "status", method=pl.col("method").replace_strict(methods), path="uri", consumer="application", node="gateway", upstream="endpoint",
    )  # fmt: skip


def traefik(lines: pl.Series) -> pl.DataFrame:
    texts = ("RequestMethod", "RequestPath", "ClientUsername", "ServiceName")
    said = decoded(lines, dict.fromkeys(texts, pl.String()) | {"DownstreamStatus": pl.Int64()})
    return said.select(
        method="RequestMethod", path="RequestPath", status="DownstreamStatus", consumer="ClientUsername", upstream="ServiceName",
        node=lines.str.extract(r"^\S+ (\S+) "),
    )  # fmt: skip


def haproxy(lines: pl.Series) -> pl.DataFrame:
    """As the others, without consumers; of the proxy's own messages all is null."""
    pattern = (
        r"^\S+ +\d+ \S+ (?<node>\S+) haproxy\[\d+\]: \S+ \[[^\]]+\] portal~ (?<upstream>[^/]+)/\S+ \S+ "
        r'(?<status>\d+) .*"(?<method>[A-Z]+) (?<path>\S+) HTTP/1.1"$'
    )
    return grouped(lines, pattern).with_columns(consumer=pl.lit(None, pl.String))


def kong(lines: pl.Series) -> pl.DataFrame:
    """As the others, and ms."""
    fields = {
        "started_at": pl.Int64, "latencies": pl.Struct({"request": pl.Int64}), "consumer": pl.Struct({"username": pl.String}),
        "request": pl.Struct({"method": pl.String, "uri": pl.String}), "response": pl.Struct({"status": pl.Int64}),
    }  # fmt: skip
    return decoded(lines, fields).select(
        at=pl.col("started_at") / 1000, method=inside("request", "method"), path=inside("request", "uri"), status=inside("response", "status"),
        consumer=inside("consumer", "username"), ms=inside("latencies", "request"),
        node=lines.str.extract(r"^\w{3} [ \d]\d [\d:]{8} (kong-\d) kong\[\d+\]: "),
        upstream=lines.str.extract(r'"tries":\[\{"ip":"([^"]+)","port":\d+\}') + ":" + lines.str.extract(r'"tries":\[\{"ip":"[^"]+","port":(\d+)\}'),
    )  # fmt: skip


def envoy(lines: pl.Series) -> pl.DataFrame:
    """As the others of `delivery.LOG_FORMAT`, and cluster, flags, ms and tries."""
    pattern = (
        r'^\[(?<at>[^\]]+)\] "(?<method>[A-Z]+) (?<path>\S+) HTTP/2" (?<status>\d+) (?<flags>\S+) \S+ \d+ \d+ (?<ms>\d+) \S+ \S+ "[^"]+" '
        r'"[^"]+" "[0-9a-f-]{36}" "api.market.example" "(?<upstream>\S+)" (?<cluster>\S+) (?<tries>\d) (?<consumer>\S+) (?<node>edge-\S+)$'
    )
    return grouped(lines, pattern).with_columns(
        pl.col("ms", "tries").cast(pl.Int64),
        at=pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ").dt.epoch("ms") / 1000,
    )


def inside(struct: str, name: str) -> pl.Expr:
    return pl.col(struct).struct.field(name)


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of world in small, and how its lines are read; None: as apilens reads them."""

    name: str
    reader: Reader | None
    small: dict[str, float]

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(self.name)

    def make(self, seed: int, *, quiet: bool = False) -> Any:
        return self.module.make(f"quiet-{self.name}" if quiet else self.name, seed, **self.small)

    def world(self, seed: int = 3) -> Any:
        return made(self, seed)

    def calls(self, seed: int = 3) -> pl.DataFrame:
        """at (seconds since the epoch), endpoint (its number; null: a stranger's), status, consumer, node, upstream, path, call by call."""
        return told(self, seed)


@cache
def made(kind: Kind, seed: int) -> Any:
    return kind.make(seed)


@cache
def told(kind: Kind, seed: int) -> pl.DataFrame:
    world = made(kind, seed)
    if kind.reader is None:
        return ingested(world, worlds.LOG_FORMAT)
    read = kind.reader(world.calls["line"])
    if "at" not in read.columns:
        read = read.with_columns(world.calls["at"])
    return numbered(read.with_columns(pl.col("status").cast(pl.Int64)), world.catalog)


def forget() -> None:
    """Worlds and calls are large: when one kind is done with, those of the next need the memory."""
    made.cache_clear()
    told.cache_clear()


def ingested(world: Any, log_format: str) -> pl.DataFrame:
    """The calls as apilens reads them out of the log; path is its route. Besides synthetic: whether the caller is nobody."""
    ids = {f"{one['method']} {one['path']}": one["id"] for one in world.catalog["endpoints"]}
    with tempfile.TemporaryDirectory() as folder:
        worlds.write(world, Path(folder))
        ingest(f"{folder}/lake", Request([f"{folder}/access.log"], Options(log_format=log_format)), None)
        return Lens(f"{folder}/lake").calls().select(
            "method", "consumer", "node", path="route", status="status_code", upstream="upstream_name",
            at=pl.col("start_time").dt.epoch("us") / 1e6, synthetic=pl.col("synthetic_type").is_not_null(),
            endpoint=pl.format("{} {}", "method", "route").replace_strict(ids, default=None, return_dtype=pl.Int64),
        ).collect()  # fmt: skip


def numbered(calls: pl.DataFrame, catalog: dict[str, Any]) -> pl.DataFrame:
    """Calls with endpoint: the number of the catalog's whose method and path a call has; null: of none."""
    routes = [
        (one["id"], re.compile(re.escape(f"{one['method']} {one['path']}").replace(r"\{id\}", "[0-9a-f-]*[0-9][0-9a-f-]*") + r"(\?.*)?$"))
        for one in catalog["endpoints"]
    ]  # fmt: skip
    asked = pl.concat_str(
        pl.col("method") + " ", pl.col("path").str.replace_all(r"/(RX\d{8}DE|[0-9a-f-]*\d{3,}[0-9a-f-]*)", "/1")
    )
    number = {
        name: next((at for at, route in routes if route.match(name)), None) for name in calls.select(asked.unique()).to_series().drop_nulls()
    }  # fmt: skip
    return calls.with_columns(endpoint=asked.replace_strict(number, default=None, return_dtype=pl.Int64))


BLIND = {"endpoints": 40, "days": 9, "calls_per_minute": 30.0}
KINDS = {
    kind.name: kind
    for kind in (
        Kind("bank", nginx, {"endpoints": 12, "days": 8, "calls_per_minute": 20.0, "faults": 16}),
        Kind("telco", apisix, {"endpoints": 20, "days": 8, "calls_per_minute": 15.0}),
        Kind("hospital", gravitee, {"endpoints": 20, "days": 9, "calls_per_minute": 15.0}),
        Kind("airline", traefik, {"endpoints": 24, "days": 9, "calls_per_minute": 15.0}),
        Kind("portal", haproxy, {"endpoints": 36, "days": 9, "calls_per_minute": 20.0}),
        Kind("arcade", kong, {"endpoints": 40, "days": 9, "calls_per_minute": 20.0}),
        Kind("delivery", envoy, {"endpoints": 40, "days": 9, "calls_per_minute": 20.0}),
        *(
            Kind(name, None, BLIND)
            for name in (
                "campus",
                "grid",
                "insurance",
                "maps",
                "mobility",
                "pharmacy",
                "saas",
                "streaming",
                "tickets",
                "weather",
            )
        ),
    )
}
