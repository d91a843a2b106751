"""Parsed calls become rows of the lake: derived columns, masked secrets, identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from apilens.distinct import coded, constant, distinct
from apilens.formats.block import Block, Parsed
from apilens.formats.fields import client_of_chain
from apilens.ingest.redact import NEVER_STORED, SECRET_KEY, Redactor
from apilens.ingest.synthetic import rhythmic, synthetic_type
from apilens.routes.rules import template
from apilens.schema import CALLS

#: Before the web had logs, and further ahead than any clock is wrong.
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

#: What stands before an IPv4 address at a socket of IPv6.
_MAPPED = "::ffff:"
#: Columns that may carry secrets, because clients write them.
_CLIENT_TEXT = {"path", "url", "query", "request_line", "referrer", "user_agent", "forwarded_for"}


@dataclass(frozen=True)
class Declared:
    """What the user declared about an input; node: used where the format logs none."""

    source_file: str
    environment: str = "default"
    node: str | None = None


def enrich(parsed: Parsed, block: Block, declared: Declared, redactor: Redactor | None = None) -> Parsed:
    """The same records with derived columns; calls at impossible times become rejects.

    Derived: start_time, route, consumer, synthetic_type, source_offset; client_ip where only X-Forwarded-For tells it. redactor: masks secrets in every column that a client
    can write into; None: they stay, for calls that are not stored.
    """
    calls = parsed.calls
    if calls.is_empty():
        return parsed
    missing = {name: dtype for name, dtype in CALLS.items() if name not in calls.columns}
    calls = calls.with_columns(
        pl.lit(None, missing[name]).alias(name)
        for name in ("path", "query", "url", "request_line", "duration_ms", "method", "http_version", "application_id")
        if name in missing
    )
    calls = calls.with_columns(
        pl.lit(None, missing[name]).alias(name)
        for name in ("user_name", "user_agent", "gateway_route", "node", "parse_status", "client_ip")
        if name in missing
    )
    plausible = calls["timestamp"].is_between(EARLIEST, LATEST, closed="left")
    rejects = parsed.rejects
    if not plausible.all():
        wrong = calls.filter(~plausible).select(
            "row", pl.format("the time {} lies outside 1990..2099", "timestamp").alias("reason")
        )
        rejects = pl.concat([rejects, wrong], how="diagonal_relaxed").with_columns(pl.col("record").fill_null(0))
        calls = calls.filter(plausible)
    if "forwarded_for" in calls.columns and calls["client_ip"].null_count():
        calls = calls.with_columns(client_ip=_forwarded(calls["forwarded_for"], calls["client_ip"]))
    calls = calls.with_columns(
        block.offsets(calls["row"]),
        start_time=pl.when(pl.col("timestamp_kind") == "end")
        .then(pl.col("timestamp") - pl.duration(microseconds=(pl.col("duration_ms").fill_null(0) * 1000).round()))
        .otherwise("timestamp"),
        consumer=pl.coalesce("application_id", "user_name"),
        parse_status=pl.col("parse_status").fill_null("ok"),
        node=pl.coalesce("node", pl.lit(declared.node, pl.String)),
    )
    # Columns without a value are left alone.
    columns = [calls[name] for name, dtype in calls.schema.items() if dtype == pl.String and name != "consumer"]
    texts = {text.name: distinct(text) for text in columns if text.null_count() < text.len()}
    texts |= {name: distinct(calls[name]) for name in ("user_agent", "path") if name not in texts}
    names = [texts[name].rows for name in ("application_id", "user_name") if name in texts]
    consumer = names[0] if len(names) == 1 else coded(calls["consumer"])
    if "client_ip" in texts:
        texts["client_ip"] = texts["client_ip"].changed(_unmapped)
    kinds, steady = synthetic_type(texts["user_agent"], texts["path"]), rhythmic(calls, texts["path"])
    if redactor is not None:
        # Before the routes: a key of letters only looks like a name in one, and masked it is a variable.
        for name in _CLIENT_TEXT & texts.keys():
            texts[name] = texts[name].changed(redactor.mask_each)
    routes = texts["path"].map(template)
    own = calls["gateway_route"].str.starts_with("/")
    if own.any():
        routes = calls.select(pl.when(own).then("gateway_route").otherwise(routes.cast(pl.String))).to_series()
    if steady.any():
        kinds = pl.select(pl.coalesce(kinds.cast(pl.String), pl.when(steady).then(pl.lit("health_check")))).to_series()
    calls = calls.with_columns(
        *(text.rows for text in texts.values()),
        environment=constant(declared.environment, calls.height),
        source_file=constant(declared.source_file, calls.height),
        consumer=consumer,
        route=coded(routes),
        synthetic_type=coded(kinds),
    )
    if redactor is not None:
        calls = _with_masked_attributes(calls, redactor)
    return replace(parsed, calls=calls, rejects=rejects)


def _unmapped(addresses: pl.Series) -> pl.Series:
    """IPv4 addresses as IPv4: one client, whether a server listens to IPv4 or to both kinds at one socket. Source: RFC 4291, 2.5.5.2."""
    return addresses.str.strip_prefix(_MAPPED) if addresses.str.starts_with(_MAPPED).any() else addresses


def _forwarded(chain: pl.Series, client: pl.Series) -> pl.Series:
    """The client's address, out of X-Forwarded-For where the log names none."""
    unnamed = distinct(chain.set(client.is_not_null(), None) if client.null_count() < client.len() else chain)
    found = unnamed.map(client_of_chain).cast(pl.String)
    return found if client.null_count() == client.len() else pl.select(pl.coalesce(client, found)).to_series()


def _with_masked_attributes(calls: pl.DataFrame, redactor: Redactor) -> pl.DataFrame:
    if "attributes" not in calls.columns or calls["attributes"].null_count() == calls.height:
        return calls
    entries = calls["attributes"].cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
    flat = entries.alias("entry").to_frame().with_row_index().drop_nulls("entry").explode("entry").unnest("entry")
    flat = flat.filter(~flat["key"].str.contains(NEVER_STORED))
    secret = flat["key"].str.contains(SECRET_KEY)
    hidden = redactor.hide_series(flat["value"].set(~secret, None))
    masked = distinct(flat["value"]).changed(redactor.mask_each).rows.cast(pl.String)
    folded = (
        flat.with_columns(pl.coalesce(hidden, masked).alias("value"))
        .group_by("index", maintain_order=True)
        .agg(pl.struct("key", "value").alias("attributes"))
        .with_columns(pl.col("attributes").cast(pl.Map(pl.String, pl.String)))
    )
    return calls.drop("attributes").with_row_index().join(folded, on="index", how="left").drop("index")
