"""Every table that leaves a stage: columns, dtypes, units and what null means.

Names follow OpenTelemetry's HTTP semantic conventions where they have one. Times are UTC; `*_ms` are float64
milliseconds, exact to the nanosecond; ratios are 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def table(columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.Schema:
    """The schema of a table, from its columns in order."""
    return pl.Schema(columns)


TIMESTAMP = pl.Datetime("us", "UTC")

#: One row per call (one request with its response).
CALLS = table(
    {
        "timestamp": TIMESTAMP,  # as logged, normalised to UTC; never null
        "timestamp_kind": pl.String,  # start | end: which moment the format stamps
        "start_time": TIMESTAMP,  # request start: timestamp, or timestamp - duration_ms where the end is stamped
        "duration_ms": pl.Float64,  # at the gateway, client side; null: not logged
        "upstream_duration_ms": pl.Float64,  # sum over attempts; null: no upstream contacted
        "upstream_connect_ms": pl.Float64,  # last attempt
        "upstream_header_ms": pl.Float64,  # last attempt
        "gateway_duration_ms": pl.Float64,  # spent in the gateway itself
        "upstream_attempts": pl.Int16,
        "method": pl.String,  # null: the request line is not HTTP
        "url": pl.String,  # request target as received, log escapes decoded, percent-encoding kept
        "path": pl.String,
        "query": pl.String,  # without "?"; null: none
        "scheme": pl.String,
        "gateway_route": pl.String,  # route template or id as the gateway names it
        "route": pl.String,  # template without method, variables written {id}
        "http_version": pl.String,
        "status_code": pl.Int16,  # of gRPC as formats.grpc has it; null: the gateway sent none
        "upstream_status_code": pl.String,  # last attempt
        "request_bytes": pl.Int64,
        "request_body_bytes": pl.Int64,
        "response_bytes": pl.Int64,
        "response_body_bytes": pl.Int64,
        "client_ip": pl.String,
        "client_port": pl.Int32,
        "forwarded_for": pl.String,
        "user_name": pl.String,
        "host": pl.String,
        "server_port": pl.Int32,
        "referrer": pl.String,
        "user_agent": pl.String,
        "upstream_address": pl.String,  # last attempt
        "upstream_name": pl.String,
        "service": pl.String,
        "api_id": pl.String,
        "application_id": pl.String,
        "request_id": pl.String,
        "trace_id": pl.String,
        "span_id": pl.String,
        "response_flags": pl.String,
        "tls_version": pl.String,
        "cache_status": pl.String,
        "gateway": pl.String,  # format that parsed the row
        "gen_ai_provider": pl.String,
        "gen_ai_request_model": pl.String,
        "gen_ai_usage_input_tokens": pl.Int64,
        "gen_ai_usage_output_tokens": pl.Int64,
        "request_line": pl.String,  # null: method and target are logged apart
        "parse_status": pl.String,  # ok | malformed_request | partial
        "source_file": pl.String,
        "source_offset": pl.Int64,  # byte offset of the line in the uncompressed input
        "attributes": pl.Map(pl.String, pl.String),  # every other field of the format; null: none
        "node": pl.String,  # gateway instance that wrote the line
        "environment": pl.String,  # declared with the source; "default" when not
        "consumer": pl.String,  # application_id, else user_name; null: unknown
        "synthetic_type": pl.String,  # bot | scanner | health_check; null: taken for real use
        "unit_id": pl.String,  # piece of input this row was committed with
    }
)

#: What names an endpoint. Null service: the format does not say.
ENDPOINT = ("environment", "service", "method", "route")

#: Width of a rollup bin.
BIN_S = 300

#: One row per (bin, endpoint, status_code, synthetic_type, unit); merge rows by SUM, lists element by element.
ROLLUPS = table(
    {
        "bin_start": TIMESTAMP,  # start of the 5-minute bin that holds the calls' start_time
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "status_code": pl.Int16,
        "synthetic_type": pl.String,
        "calls": pl.Int64,
        "minute_calls": pl.List(pl.Int32),  # five counts, one per minute of the bin
        "durations": pl.Int64,  # calls whose duration is known
        "duration_sum_ms": pl.Float64,
        "log_duration_sum": pl.Float64,  # natural log of milliseconds, floored at histogram.SMALLEST_MS
        "log_duration_sumsq": pl.Float64,
        "bucket": pl.List(pl.Int16),  # histogram.bucket() indices, ascending
        "bucket_calls": pl.List(pl.Int32),  # same length as bucket
        "response_bytes": pl.Int64,
        "first_seen": TIMESTAMP,
        "last_seen": TIMESTAMP,
        "unit_id": pl.String,
    }
)

#: What adds up of rollups: one row per bin or day (its start), endpoint, status code and kind of caller; rows of one kind may be
#: several. Columns as in ROLLUPS.
SUMS = table(
    {
        **{name: ROLLUPS[name] for name in ROLLUPS if name not in ("minute_calls", "unit_id")},
        "bucket_calls": pl.List(pl.Int64),
    }
)

#: What a breakdown is asked for: one half-open window of one endpoint per row; windows may overlap.
BREAKDOWN_WINDOWS = table(
    {
        "window_id": pl.Int64,
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "start": TIMESTAMP,
        "end": TIMESTAMP,
    }
)

#: One row per (window_id, status_code, consumer, node, upstream, address) with calls in the window.
BREAKDOWN = table(
    {
        "window_id": pl.Int64,
        "status_code": pl.Int16,
        "consumer": pl.String,
        "node": pl.String,
        "upstream": pl.String,  # upstream_name, else upstream_address
        "address": pl.String,  # upstream_address, where the upstream has a name besides; else null
        "calls": pl.Int64,
        "timed": pl.Int64,  # calls whose duration is known
        "log_duration_sum": pl.Float64,  # of those, natural log of ms
        "request_ids": pl.List(pl.String),  # first ones by start_time, at most 20
        "first_seen": TIMESTAMP,
    }
)

#: One row per consumer and status code whose calls are counted; no two of the same.
REFUSALS_ASKED = table(
    {
        "environment": pl.String,
        "consumer": pl.String,
        "status_code": pl.Int16,  # null: all calls
        "start": TIMESTAMP,
        "end": TIMESTAMP,
    }
)

#: One row per (environment, consumer, status_code, endpoint, minute) with calls.
REFUSALS = table(
    {
        "environment": pl.String,
        "consumer": pl.String,
        "status_code": pl.Int16,  # null: all calls, on all endpoints together
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "minute": TIMESTAMP,  # its start
        "calls": pl.Int64,
    }
)

#: What is asked of clients without identity: one half-open window of one endpoint and status code per row.
STRANGERS_ASKED = table(
    {**{name: BREAKDOWN_WINDOWS[name] for name in BREAKDOWN_WINDOWS if name != "window_id"}, "status_code": pl.Int16}
)

#: One row per (environment, client, endpoint, status code, minute) with refusals; one per hour with answers, of endpoints with both.
STRANGERS = table(
    {
        "environment": pl.String,
        "client": pl.String,  # block of addresses and user agent
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "refused": pl.Int16,  # 401, 403 or 404 to a call without a name; null: calls that were answered below 400
        "probe": pl.Boolean,  # a call that is a scanner's by its path or user agent
        "minute": TIMESTAMP,  # its start; of answers the first of the hour
        "calls": pl.Int64,
    }
)

#: One row per (environment, consumer, bin) with calls; refusals apart, one per code and endpoint.
CLIENTS = table(
    {
        "environment": pl.String,
        "consumer": pl.String,
        "status_code": pl.Int16,  # 401, 403, 429; null: any other answer
        "service": pl.String,  # of a refusal; else null, as are method and route
        "method": pl.String,
        "route": pl.String,
        "bin_start": TIMESTAMP,
        "minute_calls": pl.List(pl.Int32),  # five counts, one per minute of the bin
    }
)

#: One row per record that no parser took.
REJECTS = table(
    {
        "unit_id": pl.String,
        "attempt": pl.Int64,  # the row counts only while this is the unit's committed attempt
        "source_file": pl.String,
        "source_offset": pl.Int64,
        "line": pl.Int64,  # 1-based, in the uncompressed input
        "record": pl.Int64,  # records before it in that line; 0 where a line is one record
        "reason": pl.String,  # null: this row resolves another one (resolves_unit_id)
        "raw": pl.Binary,  # the line without its terminator, byte-equal outside masked spans
        "format": pl.String,
        "resolves_unit_id": pl.String,  # unit whose reject at (source_offset, record) was re-fed and stored; else null
    }
)

#: One row per (unit, attempt): the ledger. It counts only while `calls` carries the unit's transaction `attempt`.
INGESTS = table(
    {
        "unit_id": pl.String,
        "attempt": pl.Int64,
        "source": pl.String,
        "environment": pl.String,
        "input": pl.String,  # where these bytes were first met
        "format": pl.String,
        "log_format": pl.String,  # layout given or found; null: the format has only one
        "offset": pl.Int64,
        "bytes": pl.Int64,
        "head_sha256": pl.String,  # of the first line: the key under which a piece is recognised again
        "lines": pl.Int64,
        "header": pl.Int64,
        "blank": pl.Int64,
        "record_lines": pl.Int64,  # lines that records took: lines = record_lines + header + blank
        "read": pl.Int64,  # records: read = stored + rejected + filtered
        "stored": pl.Int64,
        "rejected": pl.Int64,
        "filtered": pl.Int64,
        "first_start_time": TIMESTAMP,
        "last_start_time": TIMESTAMP,
        "ingested_at": TIMESTAMP,
        "apilens_version": pl.String,
    }
)

#: One row per sample of a system metric (CPU, memory, disk, network, database time), beside the calls.
METRICS = table(
    {
        "timestamp": TIMESTAMP,
        "metric": pl.String,  # name as exported
        "kind": pl.String,  # METRIC_KINDS
        "node": pl.String,  # machine or instance it was measured on; null: not said
        "environment": pl.String,  # label of that name; null: not said
        "labels": pl.String,  # the other labels, JSON with sorted keys
        "value": pl.Float64,  # in `unit`: exported value * scale
        "unit": pl.String,  # ratio | ms | bytes | ""; ratio is 0..1
        "scale": pl.Float64,
        "counter": pl.Boolean,  # only ever grows, but for restarts: what tells is its increase per second
        "source_file": pl.String,
        "import_id": pl.String,  # sha256 of the file it was first read from
    }
)
METRIC_KINDS = ("cpu", "memory", "disk", "network", "database", "other")
#: What names a series of METRICS.
METRIC_SERIES = ("metric", "node", "environment", "labels")

SYNTHETIC_TYPES = ("bot", "health_check", "scanner")
SIGNALS = ("errors", "latency", "traffic", "auth", "rate_limit")
#: Signals that are about no endpoint's status or speed: system metrics, the truth of the log itself, friction (measure.signals).
OTHER_SIGNALS = (
    "system",
    "clock_skew",
    "log_gap",
    "retries",
    "abandonment",
    "polling",
    "auth_loop",
    "client_mistakes",
    "quota",
    "client_aborts",
    "old_version",
)
CATEGORIES = ("bug", "configuration", "training_gap", "capacity", "dependency", "question", "enhancement")
SEVERITIES = ("critical", "high", "medium", "low")

#: What stands behind a candidate besides its own numbers: a carrier is a value that has more of the change than its share of the
#: calls (measure.explain), a metric one that moved at the same time (detect.system), friction what users did (measure.signals).
EVIDENCE = pl.Struct(
    {
        "kind": pl.String,  # carrier | metric | friction | log
        "name": pl.String,  # dimension, metric, signal, or what the log did
        "value": pl.String,  # of the dimension; node and labels of the metric; endpoint of the friction
        "before": pl.Float64,  # in `unit`; null: unknown
        "during": pl.Float64,
        "unit": pl.String,  # ratio | ms | calls (an hour) | bytes | ""
        "share": pl.Float64,  # of the change, 0..1; null: no carrier
        "traffic_share": pl.Float64,  # of the calls, 0..1
        "p": pl.Float64,  # chance of that by accident, corrected for all values tested
    }
)

#: One row per candidate ticket: one incident, however many endpoints it shows on.
CANDIDATES = table(
    {
        "id": pl.String,  # fingerprint + start: one occurrence
        "fingerprint": pl.String,  # 20 hex; same problem, same fingerprint, whatever the values or times
        "detected_at": TIMESTAMP,  # end of the first minute (latency, traffic: bin) after which a scheduled scan would have known
        "start": TIMESTAMP,
        "end": TIMESTAMP,  # of the last abnormal bin so far
        "first_affected_at": TIMESTAMP,  # start_time of the first call with the status; null: it is about no single call
        "state": pl.String,  # open | ended | muted
        "environment": pl.String,
        "service": pl.String,  # null: the format does not say, or several
        "endpoints": pl.List(pl.String),  # "METHOD /route/{id}", most affected first
        "signal": pl.String,  # SIGNALS or OTHER_SIGNALS
        "category": pl.String,  # CATEGORIES
        "severity": pl.String,  # SEVERITIES, technical
        "hint": pl.Struct({"status": pl.String, "upstream": pl.String, "consumer": pl.String, "node": pl.String}),
        "affected_consumers": pl.List(pl.String),  # most hit first, at most 1,000
        "consumers_hit": pl.Int64,  # null: no affected call says whose it is
        "identity_coverage": pl.Float64,  # share of affected calls whose consumer is known
        "excess_calls": pl.Float64,  # affected calls above what was expected
        "score": pl.Float64,  # ranks by impact
        "observed": pl.Float64,  # ratio, ms or calls per 5 minutes, as the signal measures
        "expected": pl.Float64,
        "unit": pl.String,  # of observed and expected: ratio | ms | calls | s | bytes | ""
        "n": pl.Int64,  # calls in the window
        "request_ids": pl.List(pl.String),  # first ones, at most 20
        "title": pl.String,
        "explanation": pl.String,
        "evidence": pl.List(EVIDENCE),  # strongest first; null: not looked for
    }
)

#: One row per thing a person reported.
ITEMS = table(
    {
        "id": pl.String,  # unique within channel; importing it again updates
        "channel": pl.String,
        "created_at": TIMESTAMP,
        "reporter": pl.String,
        "account": pl.String,
        "title": pl.String,
        "body": pl.String,
        "status": pl.String,
        "resolved_at": TIMESTAMP,  # null: not resolved
        "attributes": pl.Map(pl.String, pl.String),
    }
)

#: One row per (feedback item, candidate) that belong together, and one with a null candidate per item that has none.
LINKS = table(
    {
        "channel": pl.String,
        "feedback_id": pl.String,
        "candidate_id": pl.String,  # null: no trace in telemetry
        "confidence": pl.Float64,  # 0..1; 1.0 for a request id found in the evidence
        "band": pl.String,  # auto | suggested | none
        "reasons": pl.List(pl.String),  # in words a person can check
    }
)

#: One row per problem, best first: a candidate with the feedback linked to it, or feedback without a trace.
QUEUE = table(
    {
        "rank": pl.Int64,  # 1 is first
        "kind": pl.String,  # candidate | feedback
        "id": pl.String,  # candidate id, or channel:feedback id
        "fingerprint": pl.String,  # of the candidate; null for feedback
        "priority": pl.String,  # P1..P5, business
        "weight": pl.Float64,  # 0..100, the sum of the parts' points
        "parts": pl.List(
            pl.Struct({"name": pl.String, "value": pl.Float64, "weight": pl.Float64, "points": pl.Float64})
        ),
        "why": pl.String,  # the largest parts in words
        "moved": pl.String,  # what changed since the triage before, "+12: hit 40→300"; null: nothing, or it is new
        "override": pl.String,  # who set the priority, until when and why; null: nobody
        "rice": pl.Float64,  # reach · impact · confidence / effort
        "moscow": pl.String,  # must | should | could | wont
        "severity": pl.String,  # technical
        "category": pl.String,
        "state": pl.String,  # open | ended | muted | resolved
        "start": TIMESTAMP,
        "end": TIMESTAMP,
        "title": pl.String,
        "environment": pl.String,  # null for feedback: what people tell names none
        "service": pl.String,
        "endpoints": pl.List(pl.String),
        "owner": pl.String,  # team from context.toml; null: none named
        "hit": pl.Int64,  # consumers hit in the logs; null: feedback without a trace, or no call says whose it is
        "told": pl.Int64,  # consumers (or, where unknown, people) who reported it
        "silent": pl.Int64,  # hit but did not report; null: as hit
        "silent_consumers": pl.List(pl.String),  # who to tell, most hit first
        "identity_coverage": pl.Float64,
        "reports": pl.List(
            pl.Struct(
                {
                    "channel": pl.String,
                    "id": pl.String,
                    "reporter": pl.String,
                    "created_at": TIMESTAMP,
                    "title": pl.String,
                    "quote": pl.String,
                    "confidence": pl.Float64,
                    "reasons": pl.List(pl.String),
                }
            )
        ),
        "no_trace_reason": pl.String,  # why feedback has no trace in telemetry; null for candidates
    }
)
