"""JSON of gateways: odd records, what stands between calls, encodings that a configuration chooses, hostile values."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.errors import FormatError, UsageError
from apilens.formats import FORMATS, Options, apipark, check_options, detect, json_layout, nearly_json
from apilens.formats.block import Block, Parsed, Reader, parse, parse_records
from apilens.formats.configs import read_layouts
from apilens.formats.json_layout import DEEPEST, JsonLayout, too_deep
from apilens.formats.nearly_json import mended
from patience import comes_to_an_end

CASES = Path(__file__).parent / "cases" / "formats"
JSON = [
    name
    for name in FORMATS
    if name != "table_json" and (CASES / name / "input.log").exists() and FORMATS[name].example.startswith("{")
]


def lines(*records: Any) -> Block:
    texts = (record if isinstance(record, str) else json.dumps(record) for record in records)
    return Block("".join(f"{text}\n" for text in texts).encode("utf-8", "surrogateescape"))


def read(*records: Any) -> Parsed:
    block = lines(*records)
    return parse(block, detect(block, Options(), "x").reader)


def call(*records: Any) -> dict[str, Any]:
    part = read(*records)
    assert part.calls.height == 1, part.rejects
    return part.calls.row(0, named=True)


def sample(name: str) -> list[str]:
    return (CASES / name / "input.log").read_text("utf-8").split("\n")[:-1]


@pytest.mark.parametrize("name", JSON)
def test_a_file_of_one_call_again_and_again_is_read_as_that_call_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many lines are read by what the first of them have, which may lack any field that a derived column asks for."""
    monkeypatch.setattr(json_layout, "_MANY", 4)
    for line in list(dict.fromkeys([FORMATS[name].example, *sample(name)]))[:5]:
        layouts = FORMATS[name].open(lines(line).lines, Options())[:1]
        alone, many = (parse_records(lines(*[line] * n).lines, layouts).calls for n in (1, 4))
        if alone.height == 1:
            assert filled(many) == filled(alone) * 4


def test_what_a_derived_column_is_made_of_is_told_also_where_one_expression_names_several() -> None:
    several = pl.coalesce(pl.col("a", "b").cast(pl.Int64), pl.when(pl.col("c") == "d").then("_e")).alias("f")
    step = pl.col("g").alias("_e")
    assert set(json_layout.asked_for((step, several), ("a", "b", "c", "g", "h"))) == {"a", "b", "c", "g", "_e"}


def test_lines_that_lack_what_a_derived_column_chooses_from_are_read_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two fields that one expression names together, the first lines have neither: they were not read, and the next line failed."""
    monkeypatch.setattr(json_layout, "_MANY", 2)
    (layout,) = FORMATS["traefik_json"].open(lines(FORMATS["traefik_json"].example).lines, Options())[:1]
    chosen = pl.coalesce(pl.col("upstream_address", "upstream_name")).alias("service")
    layout = replace(layout, derived=(chosen,))
    record = {key: value for key, value in json.loads(FORMATS["traefik_json"].example).items() if "Origin" not in key and "Service" not in key}  # fmt: skip
    part = parse_records(lines(*[record] * 3).lines, (layout,))
    assert part.calls["service"].to_list() == [None] * 3


def filled(calls: pl.DataFrame) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if value is not None} for row in calls.drop("row").to_dicts()]


@pytest.mark.parametrize("name", JSON)
def test_a_format_is_told_from_each_single_call(name: str) -> None:
    expected = [json.loads(line) for line in (CASES / name / "expected.ndjson").read_text("utf-8").split("\n")[:-1]]
    offsets = {row["source_offset"] for row in expected}
    at = 0
    for line in sample(name):
        if at in offsets:
            assert detect(lines(line), Options(), "x").format == name
        at += len(line.encode()) + 1


HOSTILE = [
    "[" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    '{"":1}',
    '{"a":"\\ud800"}',
    "null",
    "\x00{}",
    '{"resourceSpans":[1,{"scopeSpans":[{"spans":[null,{"attributes":[{"key":5,"value":{"stringValue":{}}}]}]}]}]}',
    '{"resourceLogs":[{"scopeLogs":',
]
VALUES = (None, "", -1, 2**64, "\x1b[31m\x00", "9" * 400, [], {}, [{"a": [1]}], True, 1e308, "NaN", str(-(2**63)))


def changed(value: Any, other: Any) -> list[Any]:
    """The value with each of its parts in turn replaced by `other`."""
    parts = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    found = []
    for key, part in parts:
        inner = changed(part, other) if isinstance(part, (dict, list)) else []
        for replacement in (other, *inner):
            copy = value.copy()
            copy[key] = replacement
            found.append(copy)
    return found


@pytest.mark.parametrize("name", JSON)
def test_no_value_disturbs_another_line(name: str) -> None:
    good = sample(name)[0]
    record = json.loads(good)
    broken = [good[: len(good) // 2], good.replace('":', '":NaN,"x":', 1), f"{good[:-1]},{good[1:]}"]
    odd = [json.dumps(one) for value in VALUES for one in changed(record, value)]
    block = lines(good, *HOSTILE, *broken, *odd, good)
    part = parse(block, detect(block, Options(), "x").reader)
    first = part.calls.filter(part.calls["row"] == 0).drop("row")
    last = part.calls.filter(part.calls["row"] == block.line_count - 1).drop("row")
    assert first.height > 0
    assert first.equals(last)
    assert part.calls.height + part.rejects.height + part.filtered == part.read


MOMENT = datetime(2026, 3, 9, 14, 0, 0, 125000, tzinfo=UTC)


def caddy(**fields: Any) -> dict[str, Any]:
    request = {"method": "GET", "uri": "/x", "proto": "HTTP/1.1"}
    return {"ts": MOMENT.timestamp(), "request": request, "duration": 0.042, "status": 200, "size": 1} | fields


@pytest.mark.parametrize(
    "written",
    [
        1773064800.125,
        1773064800125,
        1773064800125000000,
        "2026-03-09T14:00:00.125Z",
        "2026-03-09T15:00:00.125+0100",
        "2026/03/09 14:00:00.125",
        "1773064800.125",
    ],
)
def test_caddys_time_is_read_in_every_encoding(written: Any) -> None:
    assert call(caddy(ts=written))["timestamp"] == MOMENT


@pytest.mark.parametrize(
    ("written", "ms"),
    [(0.042, 42.0), ("42ms", 42.0), ("1m2.5s", 62500.0), ("350µs", 0.35), ("1h0m0.5s", 3600500.0), (42000123, 42.000123), (7071, 0.007071), (3, 3000.0)],
)  # fmt: skip
def test_caddys_duration_is_read_in_every_encoding(written: Any, ms: float) -> None:
    assert call(caddy(duration=written))["duration_ms"] == ms


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 10**15)), min_size=1, max_size=50))
def test_ns_of_spans_come_back_as_times_and_exact_durations(times: list[tuple[int, int]]) -> None:
    ends = [(start, min(start + length, 2**63 - 1)) for start, length in times]
    spans = [
        {
            "traceId": "ab" * 16,
            "spanId": f"{i:016x}",
            "kind": 2,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": end,
        }
        for i, (start, end) in enumerate(ends)
    ]
    found = read({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).calls
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert found["timestamp"].to_list() == [epoch + timedelta(microseconds=start // 1000) for start, _ in ends]
    assert found["duration_ms"].to_list() == pytest.approx([(end - start) / 1e6 for start, end in ends], abs=1e-6)


@settings(max_examples=10)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=6), st.data())
def test_spans_mean_the_same_in_one_line_and_line_by_line(kinds: list[int], data: st.DataObject) -> None:
    requests = []
    for i, kind in enumerate(kinds):
        parent = data.draw(st.integers(0, i)) if i else None
        attributes = [{"key": "server.address", "value": {"stringValue": f"h{i}"}}]
        span = {
            "traceId": "t",
            "spanId": f"s{i}",
            "kind": kind,
            "startTimeUnixNano": "10",
            "endTimeUnixNano": str(10 + i),
        }
        requests.append(span | {"parentSpanId": f"s{parent}" if parent is not None else "", "attributes": attributes})
    wrapped = [{"resourceSpans": [{"scopeSpans": [{"spans": requests}]}]}] * 2
    together = read(*wrapped).calls.drop("row")
    alone = read(wrapped[0]).calls.drop("row")
    assert together.head(alone.height).equals(alone)
    assert together.tail(alone.height).equals(alone)
    # Slow and obvious: climb from every CLIENT span to the next SERVER span.
    parents = {span["spanId"]: span for span in requests}
    times: dict[str, int] = {}
    for span in requests:
        if span["kind"] != 3:
            continue
        up, seen = parents.get(str(span["parentSpanId"])), 0
        while up is not None and up["kind"] != 2 and seen < 16:
            up, seen = parents.get(str(up["parentSpanId"])), seen + 1
        if up is not None and up["kind"] == 2:
            length = int(str(span["endTimeUnixNano"])) - 10
            times[str(up["spanId"])] = times.get(str(up["spanId"]), 0) + length
    found = {row["span_id"]: row.get("upstream_duration_ms") for row in alone.iter_rows(named=True)}
    assert found == {str(s["spanId"]): times[str(s["spanId"])] / 1e6 if str(s["spanId"]) in times else None for s in requests if s["kind"] == 2}  # fmt: skip


@pytest.mark.parametrize(
    "between",
    [
        (caddy(), {"level": "info", "ts": 1773064800.1, "msg": "server running"}),
        (caddy(), caddy(level="error", msg="boom", logger="http.log.error.log0", err_id="x")),
        (sample("traefik_json")[0], {"level": "info", "msg": "Starting", "time": "2026-03-09T14:00:00Z"}),
        (sample("gravitee_json")[2], {"index": {"_index": "gravitee-request", "_id": "1"}}),
        (sample("azure_apim")[0], {"time": "2026-03-09T14:00:00Z", "resourceId": "/S", "category": "WebSocketLogs"}),
        (sample("apipark_influx")[0], "proxy,addr=10.0.0.1:80 index=0i,status=200i,timing=3i 1773064800125000000"),
    ],
)
def test_what_stands_between_calls_is_filtered(between: tuple[Any, Any]) -> None:
    part = read(*between)
    assert (part.calls.height, part.rejects.height, part.filtered) == (1, 0, 1)


def test_a_call_of_another_azure_log_is_not_filtered() -> None:
    part = read(sample("azure_apim")[0], sample("azure_frontdoor")[0])
    assert sorted(part.calls["gateway"]) == ["azure_apim", "azure_frontdoor"]


@pytest.mark.parametrize("sku", [{}, {"transactionId": ""}, {"serverRouted": "-"}])
def test_application_gateways_time_taken_has_the_unit_of_its_generation(sku: dict[str, str]) -> None:
    properties = {"httpMethod": "GET", "requestUri": "/x", "httpStatus": 200, "timeTaken": 3} | sku
    record = {"timeStamp": "2026-03-09T14:00:00Z", "category": "ApplicationGatewayAccessLog", "properties": properties}
    assert call(record)["duration_ms"] == (3000.0 if sku else 3.0)


def test_envoys_keys_may_be_chosen() -> None:
    found = call(
        {
            "requestStart": 1,
            "time": "2026-03-09T14:00:00.125Z",
            "httpMethod": "GET",
            "requestPath": "/v1?x=1",
            "statusCode": "200",
            "responseFlags": "-",
            "durationMs": "42",
            "upstreamCluster": "orders",
            "clientAddress": "203.0.113.7:1",
        }
    )
    assert (found["gateway"], found["duration_ms"], found["url"] or found["path"]) == ("envoy_json", 42.0, "/v1")
    assert (found["client_ip"], found["client_port"], found["upstream_name"]) == ("203.0.113.7", 1, "orders")


def test_what_an_ai_plugin_of_kong_logs_fills_the_gen_ai_columns() -> None:
    record = json.loads(sample("kong_json")[0])
    meta = {"provider_name": "openai", "request_model": "m-1", "plugin_id": "p", "llm_latency": 90}
    usage = {"prompt_tokens": 12, "completion_tokens": 34, "cost": 0.5}
    payload = {"request": "secret"}
    found = call(record | {"ai": {"ai-proxy-advanced": {"meta": meta, "usage": usage, "payload": payload}}})
    names = ("gen_ai_provider", "gen_ai_request_model", "gen_ai_usage_input_tokens", "gen_ai_usage_output_tokens")
    assert [found[name] for name in names] == ["openai", "m-1", 12, 34]
    attributes = dict(found["attributes"])
    assert attributes["ai.ai-proxy-advanced.meta.llm_latency"] == "90"
    assert attributes["ai.ai-proxy-advanced.usage.cost"] == "0.5"
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "name", ["kong_json", "apisix_json", "tyk_json", "caddy_json", "cloudflare_logpush", "azure_apim"]
)
def test_bodies_cookies_and_raw_messages_are_dropped(name: str) -> None:
    kept = str(read(sample(name)[0]).calls.to_dicts())
    assert not any(secret in kept for secret in ("R0VUIC8=", "SFRUUC8=", "s=1", "REDACTED", "secret", "'a=b'"))


def test_the_body_of_a_log_record_is_read_as_the_line_it_is() -> None:
    body = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /x HTTP/1.1" 200 5 "-" "c"'
    resource = {"attributes": [{"key": "k8s.pod.name", "value": {"stringValue": "pod-1"}}]}
    logs = [{"logRecords": [{"timeUnixNano": "1", "body": {"stringValue": body}}]}]
    found = call({"resourceLogs": [{"resource": resource, "scopeLogs": logs}]})
    assert (found["gateway"], found["path"], found["node"]) == ("nginx_combined", "/x", "pod-1")


def test_names_at_any_depth_make_a_table() -> None:
    record = {
        "@timestamp": "2026-03-09T14:00:00.125Z",
        "event": {"duration": 42_000_123},
        "http": {"request": {"method": "GET"}, "response": {"status_code": 200, "mime": "x"}},
        "url": {"path": "/v1", "query": "a=b"},
        "source": {"ip": "203.0.113.7"},
    }
    found = call(record)
    assert (found["duration_ms"], found["method"], found["status_code"], found["query"]) == (
        42.000123,
        "GET",
        200,
        "a=b",
    )
    assert dict(found["attributes"]) == {"http.response.mime": "x"}
    flat = {
        "time": "2026-03-09T14:00:00Z",
        "http.request.method": "GET",
        "url.path": "/v1",
        "http.response.status_code": 200,
    }
    assert call(flat)["method"] == "GET"


def test_nginxs_variables_under_their_own_names_are_in_seconds_and_lists() -> None:
    found = call(
        {
            "time_iso8601": "2026-03-09T14:00:00+00:00",
            "remote_addr": "203.0.113.7",
            "request": "GET /x HTTP/1.1",
            "status": "502",
            "request_time": "0.125",
            "upstream_response_time": "0.100, 0.020",
            "body_bytes_sent": 5,
        }
    )
    assert (found["duration_ms"], found["upstream_duration_ms"], found["path"]) == (125.0, 120.0, "/x")
    assert found["timestamp_kind"] == "end"


def test_lines_without_a_call_between_those_of_a_table_are_set_aside() -> None:
    table = {"time": "2026-03-09T14:00:00Z", "path": "/v1", "status": 200}
    part = read(table, {"time": "2026-03-09T14:00:00Z", "msg": "started"})
    assert (part.calls.height, part.rejects.height) == (1, 1)


def hosted(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Each call of a sample that has a host, and its line."""
    text = sample(name)
    part = read(*text)
    return [(text[row["row"]], row) for row in part.calls.iter_rows(named=True) if row.get("host")]


@pytest.mark.parametrize("name", JSON)
def test_a_host_is_without_port_and_brackets_and_the_port_is_kept_where_it_is_written(name: str) -> None:
    again, expected = [], []
    for line, row in hosted(name):
        assert not set(":[]") & set(row["host"])
        for written, host in ((f"{row['host']}:8443", row["host"]), ("[2001:db8::1]:8443", "2001:db8::1")):
            again.append(re.sub(rf"{re.escape(row['host'])}(?::\d+)?(?![\w.-])", written, line))
            expected.append((host, row.get("server_port")))
    found = read(*again).calls if again else pl.DataFrame({"row": []})
    rows = {row["row"]: row for row in found.iter_rows(named=True) if row["host"] == expected[row["row"]][0]}
    assert len(rows) == len(expected)
    for at, (_, own) in enumerate(expected):
        # A port that a field of its own names goes before.
        assert rows[at]["server_port"] in (8443, own)


def test_a_url_says_the_port_only_where_it_stands_in_it() -> None:
    line = sample("gcp_lb")[0]
    record = json.loads(line)
    for url, port in (("https://api.example:8443/v1", 8443), ("https://api.example/v1", None)):
        record["httpRequest"]["requestUrl"] = url
        found = call(record)
        assert (found["host"], found["scheme"], found["server_port"]) == ("api.example", "https", port)


def test_the_length_of_gravitees_content_fills_one_column() -> None:
    for name in ("gravitee_json", "gravitee_csv"):
        found = call(sample(name)[0])
        assert found["response_bytes"] is not None
        assert found.get("response_body_bytes") is None


@pytest.mark.parametrize(("client", "port"), [("203.0.113.7", None), ("10.0.0.9", 51000)])
def test_the_port_of_caddys_peer_is_the_clients_only_where_they_are_the_same(client: str, port: int | None) -> None:
    request = {"method": "GET", "uri": "/x", "remote_ip": "10.0.0.9", "remote_port": "51000", "client_ip": client}
    found = call(caddy(request=request))
    assert (found["client_ip"], found["client_port"]) == (client, port)
    assert dict(found["attributes"] or {}).get("request.remote_port") == (None if port else "51000")


@pytest.mark.parametrize(("name", "port"), [("client.address", None), ("network.peer.address", 51000)])
def test_the_port_of_a_spans_peer_is_not_the_port_of_a_client_behind_it(name: str, port: int | None) -> None:
    values = {"url.path": "/x", name: "203.0.113.7", "network.peer.port": "51000"}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
    span = {"spanId": "a", "kind": 2, "startTimeUnixNano": "10", "attributes": attributes}
    found = call({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    assert (found["client_ip"], found["client_port"]) == ("203.0.113.7", port)


CONSOLE = ("2026/03/09 14:00:00.125", "\x1b[34mINFO\x1b[0m", "http.log.access.log0", "handled request")


@pytest.mark.parametrize("blank", ["\t", " "])
def test_caddys_console_lines_are_read_like_its_objects(blank: str) -> None:
    record = caddy(request={"method": "GET", "uri": "/x?a=1", "proto": "HTTP/2.0", "remote_ip": "10.0.0.9"})
    del record["ts"]
    access = blank.join((*CONSOLE, json.dumps(record)))
    other = blank.join((CONSOLE[0], "info", 'serving "initial" configuration'))
    failed = blank.join((CONSOLE[0], "error", "http.log.error", "dial tcp", json.dumps(record)))
    part = read(access, other, failed, access.replace(CONSOLE[1], "info").replace(".log0", ""))
    assert (part.calls.height, part.filtered) == (2, 2)
    first = part.calls.row(0, named=True)
    assert (first["timestamp"], first["duration_ms"], first["url"] or first["query"]) == (MOMENT, 42.0, "a=1")
    assert dict(first["attributes"]) == {"level": "INFO", "logger": "http.log.access.log0", "msg": "handled request"}


@pytest.mark.parametrize(
    ("name", "said", "error"),
    [
        ("azure_frontdoor", '"NoError"', "OriginDNSError"),
        ("aws_cloudfront_json", '"x-edge-detailed-result-type": "Miss"', "OriginDNSError"),
        ("aws_cloudfront", "\tMiss\t", "ClientCommError"),
    ],
)
def test_only_errors_are_response_flags(name: str, said: str, error: str) -> None:
    lines = sample(name)
    assert said in "".join(lines)
    first = read(*lines).calls.row(0, named=True)
    assert first["response_flags"] is None
    assert re.findall(r"\w+", said)[-1] in dict(first["attributes"]).values()
    again = [line.replace(said, said.replace(re.findall(r"\w+", said)[-1], error)) for line in lines]
    assert read(*again).calls.row(0, named=True)["response_flags"] == error


def test_tyks_trace_id_has_a_column_and_a_key_behind_an_alias_is_kept() -> None:
    record = json.loads(sample("tyk_json")[0]) | {"trace_id": "ab" * 16, "alias": "acme", "api_key": "3e2d1c0b"}
    found = call(record)
    assert (found["trace_id"], found["application_id"]) == ("ab" * 16, "acme")
    assert dict(found["attributes"])["api_key"] == "3e2d1c0b"
    header, line = sample("tyk_csv")[:2]
    found = call(header, line.replace("key-a1;org-o1,,", "key-a1;org-o1,acme,"))
    assert found["application_id"] == "acme"
    assert dict(found["attributes"])["APIKey"] == "5f1e9c2d"


def test_a_cell_of_another_form_is_named_with_what_was_expected() -> None:
    header, line, *_ = sample("tyk_csv")
    part = read(header, line, line.replace(",March,", ",03,"), line.replace("2026-03-09 14:00:00", "09.03.2026 14:00"))
    assert [reason.split(",")[0] for reason in part.rejects["reason"]] == [
        'Month is "03"',
        'TimeStamp is "09.03.2026 14:00.125 +0000 UTC"',
    ]
    assert "expected the name of a month" in part.rejects["reason"][0]


A_SHAPE = {"time": "2026-03-09T14:00:00Z", "path": "/v1/a", "status": 200, "latency_ms": 5, "user": "mia"}
OTHER_SHAPE = {
    "@timestamp": "2026-03-09T14:00:01Z",
    "url": "/v1/b?x=1",
    "http_status": 404,
    "duration_s": 0.007,
    "user": {"name": "noa"},
}


@pytest.mark.parametrize("between", [0, 300])  # beyond the lines that are looked at for names
def test_each_line_of_a_table_is_read_by_its_own_names(between: int) -> None:
    part = read(*[A_SHAPE] * (1 + between), OTHER_SHAPE)
    assert part.rejects.is_empty()
    names = ("path", "query", "status_code", "duration_ms", "user_name", "gateway")
    found = part.calls.sort("row").select(names)
    assert found.row(0) == ("/v1/a", None, 200, 5.0, "mia", "table_json")
    assert found.row(-1) == ("/v1/b", "x=1", 404, 7.0, "noa", "table_json")


def test_of_several_names_of_a_column_the_best_is_taken_and_the_others_are_kept() -> None:
    first = A_SHAPE | {"http_status": 503, "duration_ms": 9}
    second = {key: value for key, value in first.items() if key not in ("status", "duration_ms")}
    rows = read(second, first).calls.sort("row").rows(named=True)
    assert [(row["status_code"], row["duration_ms"]) for row in rows] == [(503, 5.0), (200, 9.0)]
    assert dict(rows[1]["attributes"]) == {"http_status": "503", "latency_ms": "5"}


def test_nginxs_seconds_are_no_other_lines_seconds() -> None:
    nginx = {"time_iso8601": "2026-03-09T14:00:00+00:00", "remote_addr": "1.2.3.4", "request": "GET /x HTTP/1.1"}
    nginx |= {"status": "200", "request_time": "0.125", "body_bytes_sent": 5}
    rows = read(nginx, A_SHAPE | {"request_time": 7, "bytes": 9}).calls.sort("row").rows(named=True)
    assert [(row["duration_ms"], row["path"]) for row in rows] == [(125.0, "/x"), (5.0, "/v1/a")]
    assert dict(rows[1]["attributes"])["request_time"] == "7"


TARGETS = [
    ("/a?b=1", ("/a", "b=1", None, None, None)),
    ("https://shop.example:8443/a?b=1", ("/a", "b=1", "shop.example", 8443, "https://shop.example:8443/a?b=1")),
]


@pytest.mark.parametrize(("written", "expected"), TARGETS)
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_path_of_a_table_may_be_a_target_or_a_url(written: str, expected: tuple[Any, ...], kind: str) -> None:
    row = {"timestamp": "2026-03-09T14:00:00Z", "method": "get", "path": written, "status": 200}
    found = call(row) if kind == "json" else call(",".join(row), ",".join(map(str, row.values())))
    assert tuple(found[name] for name in ("path", "query", "host", "server_port", "url")) == expected
    assert found["method"] == "GET"


def test_columns_of_their_own_go_before_what_a_path_says() -> None:
    row = {"timestamp": "2026-03-09T14:00:00Z", "path": "http://a.example/a?b=1", "query": "?c=2", "host": "b.example"}
    found = call(row | {"status": 200})
    assert (found["path"], found["query"], found["host"]) == ("/a", "c=2", "b.example")


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("1/9/2007 9:41:00 AM", "2007-01-09T09:41:00"),
        ("01/09/2007 21:41:00", "2007-01-09T21:41:00"),
        ("1/9/2007 10:41:00 AM +01:00", "2007-01-09T09:41:00"),
        ("11/27/2026, 1:02:03.456 PM", "2026-11-27T13:02:03.456"),
    ],
)
def test_azure_s_times_may_have_the_month_first(written: str, utc: str) -> None:
    record = json.loads(next(line for line in sample("azure_appgw") if line.startswith("{") and '"timeStamp"' in line))
    assert call({**record, "timeStamp": written})["timestamp"] == datetime.fromisoformat(utc).replace(tzinfo=UTC)


def test_the_model_is_the_one_that_was_asked_for_else_the_one_that_answered() -> None:
    kong, apisix = (json.loads(FORMATS[name].example) for name in ("kong_json", "apisix_json"))
    for asked, model in (("gpt-4o", "gpt-4o"), ("UNSPECIFIED", "gpt-4o-2024")):
        meta = {"request_model": asked, "response_model": "gpt-4o-2024"}
        assert call({**kong, "ai": {"proxy": {"meta": meta}}})["gen_ai_request_model"] == model
    for summary, model in (({"request_model": "gpt-4o"}, "gpt-4o"), ({}, "gpt-4o-2024")):
        answer = call({**apisix, "llm_summary": {"model": "gpt-4o-2024", **summary}})
        assert answer["gen_ai_request_model"] == model


@pytest.mark.parametrize("name", ["azure_apim", "azure_appgw", "azure_frontdoor"])
def test_azure_s_properties_are_read_also_where_they_are_a_text(name: str) -> None:
    records = [json.loads(line) for line in sample(name) if line.startswith("{") and '"properties"' in line]
    lines = [json.dumps(record) for record in records]
    texts = [json.dumps({**record, "properties": json.dumps(record["properties"])}) for record in records]
    plain, opened = (read(*written) for written in (lines, texts))
    assert opened.rejects.equals(plain.rejects) and opened.filtered == plain.filtered
    assert filled(opened.calls) == filled(plain.calls) and plain.calls.height


@pytest.mark.parametrize("inside", ['{"a":' * 1001 + "1" + "}" * 1001, "[" * 100_000 + "]" * 100_000])
def test_a_line_nested_too_deep_is_set_aside_before_it_is_parsed(inside: str) -> None:
    good = sample("kong_json")[0]
    part = read(good, f'{good[:-1]},"x":{inside}}}', good)
    assert (part.calls.height, part.rejects["reason"].to_list()) == (2, ["nested deeper than 1000"])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2100), st.sampled_from('[{"\\ '), st.booleans()), min_size=1, max_size=4))
def test_depth_is_the_highest_number_of_open_brackets(parts: list[tuple[int, str, bool]]) -> None:
    texts = ["".join(json.dumps(sign) * n if quoted else sign * n for n, sign, quoted in parts), "[]" * 1900]
    for text in texts:
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        level = highest = 0
        for sign in bare:
            level += (sign in "[{") - (sign in "]}")
            highest = max(highest, level)
        # A line that leaves brackets open is no JSON, however deep.
        text += "]" * level
        assert too_deep(pl.Series(["{}", text, "{}"])).to_list() == [False, highest > DEEPEST, False]


CHOSEN = {
    "when": "%START_TIME%",
    "request": {"verb": "%REQ(:METHOD)%", "what": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
    "took": "%DURATION%",
    "upstream took": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "code": "%RESPONSE_CODE%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "who": "%REQ(:AUTHORITY)%",
    "why": "%RESPONSE_CODE_DETAILS%",
    "both": "%PROTOCOL% %ROUTE_NAME%",
    "site": "north",
}
WRITTEN = {
    "code": 200,
    "took": 42,
    "upstream took": "40",
    "when": "2026-03-09T14:00:00.125Z",
    "request": {"verb": "GET", "what": "/v1?x=1"},
    "peer": "203.0.113.7:51000",
    "who": "shop.example:8443",
    "why": "via_upstream",
    "both": "HTTP/2 r1",
    "site": "north",
}


def test_keys_of_envoys_json_format_are_read_as_their_operators() -> None:
    layout = json.dumps(CHOSEN)
    configured = read_layouts(json.dumps({"log_format": {"json_format": CHOSEN}}), "envoy.yaml", lambda *_: ())
    for options in (Options(log_format=layout), Options(layouts=configured)):
        block = lines(WRITTEN)
        found = detect(block, options, "x")
        row = parse(block, found.reader).calls.row(0, named=True)
        assert (found.format, found.layout) == ("envoy_json", layout)
        assert (row["timestamp"], row["duration_ms"], row["upstream_duration_ms"]) == (MOMENT, 42.0, 40.0)
        assert (row["method"], row["path"], row["query"], row["status_code"]) == ("GET", "/v1", "x=1", 200)
        assert (row["client_ip"], row["client_port"], row["host"], row["server_port"]) == ("203.0.113.7", 51000, "shop.example", 8443)  # fmt: skip
        assert dict(row["attributes"]) == {"why": "via_upstream", "both": "HTTP/2 r1", "site": "north"}


@pytest.mark.parametrize("layout", ['{"code": "%RESPONSE_CODE%"}', '{"when": "%START_TIME%"'])
def test_a_json_format_without_a_time_or_cut_off_is_refused(layout: str) -> None:
    with pytest.raises(UsageError, match=r"%START_TIME%|no JSON"):
        check_options(Options(log_format=layout))


def test_a_text_of_envoy_that_only_looks_like_json_is_read_as_text() -> None:
    layout = '{"at":"%START_TIME%","code":%RESPONSE_CODE%,"method":"%REQ(:METHOD)%"}'
    block = lines('{"at":"2026-03-09T14:00:00.125Z","code":200,"method":"GET"}')
    assert detect(block, Options(log_format=layout), "x").format == "envoy_text"


def test_what_an_export_says_of_a_line_in_a_log_record_is_kept() -> None:
    access = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /x HTTP/1.1" 200 5 "-" "c"'
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "edge"}}]}
    inside = [{"key": "log.file.name", "value": {"stringValue": "a.log"}}]
    told = {"timeUnixNano": "1773064800000000000", "traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": inside}
    records = [told | {"body": {"stringValue": text}} for text in (access, "starting worker")]
    part = read({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})
    found = part.calls.row(0, named=True)
    assert (found["trace_id"], found["span_id"], found["service"]) == ("ab" * 16, "cd" * 8, "edge")
    assert dict(found["attributes"]) == {"log.timeUnixNano": told["timeUnixNano"], "log.file.name": "a.log"}
    assert part.rejects["text"].to_list() == ["starting worker"]
    assert part.rejects["reason"][0].startswith("the body of a log record: does not fit the layout")


def test_the_format_that_a_table_misses_by_one_field_is_named() -> None:
    record = {key: value for key, value in json.loads(sample("gravitee_json")[0]).items() if key != "requestId"}
    block = lines(record | {"duration_ms": 5, "path": "/x"})
    found = detect(block, Options(), "x")
    assert found.format == "table_json"
    assert found.why.endswith("they would be gravitee_json if they had requestId")
    assert "would be" not in detect(lines(A_SHAPE), Options(), "x").why


def test_objects_between_lines_of_text_are_rejected_for_what_they_lack_as_json() -> None:
    text = ['203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /x HTTP/1.1" 200 5 "-" "c"'] * 210
    kong = {key: value for key, value in json.loads(sample("kong_json")[0]).items() if key != "started_at"}
    part = read(*text, kong, '{"started_at":1,"late', {"a": {"b": 1}, "c": 2})
    assert part.calls.height == 210
    assert part.rejects.sort("row")["reason"].to_list() == [
        "JSON, nearest to kong_json, but without started_at",
        "JSON that is cut off, broken or nested too deep",
        "JSON of no known format, with a.b, c",
    ]


#: Values that could be mistaken when names are counted, and names that hide from it.
TRICKS = (
    '":1',
    ':"',
    {"a": {"b": None}},
    ['":', ":"],
    [":1"],
    {"": 1},
    " null",
    "{}",
    'x":null',
    "\u2028\\",
    {"id": {}},
    ["a", "b"],
)


@pytest.mark.parametrize("name", JSON)
def test_what_lines_have_in_common_makes_no_difference_to_what_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sample(name)
    record = json.loads(texts[0])
    odd = [json.dumps(one, separators=(",", ":")) for value in (*VALUES, *TRICKS) for one in changed(record, value)]
    odd += [json.dumps(record | {"one more": value, "id": 7}) for value in (*VALUES, *TRICKS)]
    odd += [json.dumps(record, indent=1).replace("\n", blank) for blank in ("", " ", "\t", "\r")]
    odd += [texts[0].replace('":', '" :'), texts[0].replace('":', '":  '), texts[0].replace('"', '"\\u0061', 1)]
    odd += [
        f"{json.dumps(record)[:-1]},{more}}}" for more in ('"m":  5', '"m" :5', '"m"  :5', '"m":5', '"m":"x\\u0022:1"')
    ]
    odd += [texts[0][: len(texts[0]) * part // 8] for part in range(1, 8)] + [texts[0] + " \t", texts[0] + "}"]
    odd += [texts[0].replace('":"', '":"\\x22', 1)]
    block = lines(*texts, *odd, *HOSTILE)
    reader = detect(lines(*texts), Options(), "x").reader
    monkeypatch.setattr(json_layout, "_LEARNED", len(texts))
    told = {}
    for many, before in ((10**9, 0), (1, 0), (10**9, 2)):
        monkeypatch.setattr(json_layout, "_MANY", many)
        fresh = Reader((replace(reader.layouts[0]), *reader.layouts[1:]), reader.wrappers)  # it remembers nothing
        for _ in range(before):
            parse(lines(*texts), fresh)
        part = parse(block, fresh)
        calls = {}
        for row in part.calls.iter_rows(named=True):
            calls[row["row"]] = {key: value for key, value in row.items() if value is not None}
            calls[row["row"]].setdefault("parse_status", "ok")  # which is what a null one means
            calls[row["row"]]["attributes"] = dict(row.get("attributes") or {})
        told[many, before] = (calls, sorted(part.rejects.select("row", "reason").rows()), part.filtered)
    assert told[10**9, 0] == told[1, 0]
    assert told[10**9, 0] == told[10**9, 2]


_TAG = st.text(st.sampled_from("ab-1.:/"), max_size=4).map(lambda text: text or "-") | st.sampled_from(
    [r"a\ b", r"a\,\=b"]
)
_POINT = st.tuples(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["api", "app", "host", "method", "provider", "status_code", "x"], _TAG)),
    st.fixed_dictionaries(
        {"retry": st.integers(0, 3), "status": st.sampled_from([200, 0, 99, 1000]), "timing": st.integers(-1, 10**11)},
        optional={"input_token": st.integers(0, 2), "response": st.integers(-1, 9), "y": st.integers(0, 1)},
    ),
    st.sampled_from(["i", "u", ""]),
    st.integers(10**18, 2 * 10**18),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(_POINT, min_size=1, max_size=6))
def test_points_are_read_alike_cut_at_their_names_and_as_objects(points: list[Any]) -> None:
    texts = [
        ",".join(["request", *(f"{name}={value}" for name, value in {"api": "a", **tags}.items())])
        + " "
        + ",".join(f"{name}={value}{sign}" for name, value in fields.items())
        + f" {at}"
        for tags, fields, sign, at in points
    ]
    head = lines(*texts).lines
    layouts = FORMATS["apipark_influx"].open(head, Options())
    assert len(layouts) > 1 or any("\\" in text for text in texts)
    quick, objects = parse_records(head, layouts), parse_records(head, [apipark.INFLUX])

    def told(part: Parsed) -> tuple[list[dict[str, Any]], list[int]]:
        rows = part.calls.sort("row").rows(named=True) if part.calls.height else []
        rows = [{**row, "attributes": dict(row.get("attributes") or {})} for row in rows]
        return [{k: v for k, v in row.items() if v is not None} for row in rows], sorted(part.rejects["row"])

    assert told(quick) == told(objects)


def test_json_with_names_of_its_own_is_told_what_to_type() -> None:
    own = '{"zeit":"2026-03-09T14:00:00Z","anfrage":{"verb":"GET","ziel":"/v1/carts"},"ergebnis":200,"dauer_s":0.042,"\\u001b[2J":1}\n'
    named = {"timestamp": "zeit", "path": "anfrage.ziel", "method": "anfrage.verb", "status_code": "ergebnis"}
    typed = " ".join(f"--columns {column}={name}" for column, name in named.items())
    for options in (Options(), Options(format="table_json", columns={"timestamp": "when"})):
        with pytest.raises(FormatError) as refused:
            detect(Block(own.encode() * 3), options, "own.log")
        said = str(refused.value)
        assert "the fields zeit, anfrage.verb, anfrage.ziel, ergebnis, dauer_s." in said
        assert f"apilens ingest own.log --format table_json {typed} --columns duration_ms=NAME:s" in said
    block, options = Block(own.encode()), Options("table_json", columns={**named, "duration_ms": "dauer_s:s"})
    found = parse(block, detect(block, options, "own.log").reader).calls
    assert found.select("method", "path", "status_code", "duration_ms").row(0) == ("GET", "/v1/carts", 200, 42.0)


def test_what_to_type_for_json_names_the_unit_of_a_time_in_numbers_and_nothing_for_what_are_no_calls() -> None:
    for time, unit in ((1773064800.25, ":s"), (1773064800250, ":ms"), (1773064800250000, ":us")):
        own = f'{{"zeit":{time},"verb":"GET","ziel":"/v1"}}\n'
        with pytest.raises(
            FormatError, match=f"--columns timestamp=zeit{unit} --columns path=ziel --columns method=verb"
        ):
            detect(Block(own.encode()), Options(), "own.log")
    with pytest.raises(FormatError) as refused:
        detect(Block(b'{"level":"info","ts":1773064800.25,"msg":"started","from":"/etc/x"}\n'), Options(), "own.log")
    assert "It is JSON" not in str(refused.value)


def test_a_request_line_under_a_name_of_its_own_is_taken_apart() -> None:
    own = '{"ts":"2026-03-09T14:00:00Z","req":"GET /v1/carts?a=1 HTTP/1.1","code":200}\n'
    with pytest.raises(
        FormatError,
        match="--columns timestamp=ts --columns request_line=req --columns status_code=code --columns duration_ms",
    ):
        detect(Block(own.encode()), Options(), "own.log")
    options = Options("table_json", columns={"timestamp": "ts", "request_line": "req", "status_code": "code"})
    found = parse(Block(own.encode()), detect(Block(own.encode()), options, "own.log").reader).calls
    assert found.select("method", "path", "query", "http_version").row(0) == ("GET", "/v1/carts", "a=1", "1.1")


_ODD = [
    (r'"ut":"-","ua":"c \"q\" \\x41"', {"user_agent": r'c "q" \x41'}),  # JSON, and left as it is
    (r'"ut":0.003,"ua":"\x22\xD0\x9F \xff\x5C"', {"upstream_duration_ms": 3.0, "user_agent": '"П \\xff\\'}),
    (r'"ut":-,"ua":"a\\"', {"upstream_duration_ms": None, "user_agent": "a\\"}),
    (r'"ut":,"ua":"x\":-,"', {"upstream_duration_ms": None, "user_agent": 'x":-,'}),
    (r'"ua":"c","ut":', {"upstream_duration_ms": None}),
    (r'"ut":0.001, 0.003 : -,"ua":"c"', {"upstream_duration_ms": 4.0}),
    (r'"ut":007,"ua":":0.1, 0.2"', {"upstream_duration_ms": 7000.0, "user_agent": ":0.1, 0.2"}),
    (r'"ut":000,"ua":"c"', {"upstream_duration_ms": 0.0, "user_agent": "c"}),  # a status that never came
    (r'"ut":00.5,"ua":"\x22,\x22ut\x22:9,\x0a\x22"', {"upstream_duration_ms": 500.0, "user_agent": '","ut":9,\n"'}),
]


@pytest.mark.parametrize("many", [1, 10**9])
def test_objects_that_nginx_wrote_without_escapes_for_json_or_quotes_are_calls(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_layout, "_MANY", many)
    start = '{"time_iso8601":"2026-03-09T14:00:00Z","remote_addr":"10.0.0.1","request_method":"GET","request_uri":"/v1","status":200,'
    texts = [
        f"{start}{rest}}}".replace('"ut"', '"upstream_response_time"').replace('"ua"', '"http_user_agent"')
        for rest, _ in _ODD
    ]
    for written in (texts, texts[1:2], texts[3:4]):  # also where the head has nothing else
        part = parse(lines(*written), detect(lines(*written), Options(), "x").reader)
        assert part.rejects.rows() == []
    calls = parse(lines(*texts), detect(lines(*texts), Options(), "x").reader).calls.sort("row")
    for call, (rest, columns) in zip(calls.iter_rows(named=True), _ODD, strict=True):
        assert {name: call[name] for name in columns} == columns, rest


def test_an_object_behind_a_line_break_moves_no_value_to_another_record() -> None:
    nginx = '{"time_iso8601":"2026-03-09T14:00:00Z","remote_addr":"10.0.0.1","request_uri":"/v%d","status":200,"upstream_response_time":%s}'
    texts = [nginx % (i, time) for i, time in enumerate(("0.1", "", "-", ""))]
    texts[1] = f"\n{texts[1]}"
    block = lines(*({"log": f"{text}\n", "stream": "stdout", "time": "2026-03-09T14:00:00Z"} for text in texts))
    part = parse(block, detect(block, Options(), "x").reader)
    assert part.calls.sort("row").select("row", "path").rows() == [(0, "/v0"), (2, "/v2"), (3, "/v3")]
    assert part.rejects["row"].to_list() == [1]


def test_objects_that_are_broken_otherwise_stay_rejects_as_they_came() -> None:
    good = '{"timestamp":"2026-03-09T14:00:00Z","method":"GET","path":"/v1","status":200}'
    broken = [good[:-1], good.replace("200", "-x"), good.replace('"/v1"', r'"/v1\x2"'), good.replace("200", "{-,")]
    part = parse(lines(good, *broken), detect(lines(good), Options(), "x").reader)
    assert (part.calls.height, part.rejects["row"].to_list()) == (1, [1, 2, 3, 4])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b c", ":", ",", "{", ""]),
            st.sampled_from(["-", "", " ", "007", "00", "0.1, 0.2", "-, 00.5", "0.1 : -", "1", "null", '":-,"', '": 0.1, 0.2"',
                             '"a, ":', '"{"', '":"', '"x\\":,"', '{"y":-}', "[-,]"]),
            st.sampled_from(["", " "]),
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_an_object_is_mended_in_columns_as_string_by_string(fields: list[tuple[str, str, str]]) -> None:
    text = "{" + ",".join(f'"{name}":{blank}{value}{blank}' for name, value, blank in fields) + "}"
    slowly = nearly_json._VALUE.sub(nearly_json._value, text)
    (quickly,) = mended(pl.Series([text]))
    try:
        expected = json.loads(slowly)
    except ValueError:
        with pytest.raises(ValueError):
            json.loads(quickly)
    else:
        assert json.loads(quickly) == expected


def test_a_head_of_odd_objects_is_mended_once_for_all_formats() -> None:
    text = '{"time":"2026-03-09T14:00:00Z","remote_addr":"10.0.0.%d","request_uri":"/v1","status":200,"upstream_response_time":-}'
    block = lines(*(text % i for i in range(100)))
    nearly_json._mended_head.cache_clear()
    with mock.patch.object(nearly_json, "_mended", wraps=nearly_json._mended) as mending:
        assert detect(block, Options(), "x").format == "table_json"
    asked = [tuple(one.args[0]) for one in mending.call_args_list]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("much", ["0", " ", "0.", "- : ", '"', '\\"', "\\\\", "\\\\x22", ":", '"a":-,'])
def test_no_client_can_make_mending_an_object_take_long(much: str) -> None:
    with comes_to_an_end():
        for start, end in (("", "x"), ('"', '"'), ('"', "x")):
            text = f'{{"a":-,"b":{start}{much * 1_000_000}{end}}}'
            assert mended(pl.Series([text, text])).len() == 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("traefik_json", {"request_X-Client-Id": "acme", "request_X-Forwarded-User": "bob"}),
        ("envoy_json", {"x-client-id": "acme", "x-forwarded-user": "bob"}),
        ("table_json", {"http_x_client_id": "acme", "http_x_forwarded_user": "bob"}),
        ("caddy_json", {"request": {"headers": {"X-Client-Id": ["acme"], "X-Forwarded-User": ["bob"]}}}),
        ("apisix_json", {"request": {"headers": {"x-client-id": "acme", "x-forwarded-user": "bob"}}}),
        ("kong_json", {"request": {"headers": {"x-client-id": "acme", "x-forwarded-user": "bob"}}}),
    ],
)  # fmt: skip
def test_a_header_that_says_who_called_is_the_same_column_in_json(name: str, change: dict[str, Any]) -> None:
    record = json.loads(FORMATS[name].example)
    record |= {key: record[key] | value if isinstance(value, dict) else value for key, value in change.items()}
    found = call(record)
    assert (found["gateway"], found["application_id"], found["user_name"]) == (name, "acme", "bob")


SHORT = {
    "start_time": "2026-03-09T14:00:00.125Z", "method": "GET", "path": "/v1/carts", "protocol": "HTTP/2", "response_code": 200,
    "duration": 12, "response_flags": "-", "hostname": "edge-1",
}  # fmt: skip


def test_a_short_json_format_of_envoy_is_no_table() -> None:
    found = call(SHORT)
    assert (found["gateway"], found["duration_ms"], found["node"]) == ("envoy_json", 12.0, "edge-1")
    bare = {key: value for key, value in SHORT.items() if key != "response_flags"}
    assert call(bare)["gateway"] == "table_json"


def test_a_line_of_envoy_in_a_log_record_may_end_in_a_line_feed() -> None:
    attributes = [{"key": name, "value": {"stringValue": value}} for name, value in (("node_name", "edge-1"),)]
    logs = [{"logRecords": [{"timeUnixNano": "1", "body": {"stringValue": FORMATS["envoy_text"].example + "\n"}}]}]
    found = call({"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": logs}]})
    assert (found["gateway"], found["duration_ms"], found["node"]) == ("envoy_text", 42.0, "edge-1")


@pytest.mark.parametrize(
    ("table", "typed"),
    [
        (json.dumps({"time": "2026-03-09T14:00:00Z", "request": {"method": "GET", "path": "/x"}, "latency": 125, "upstream_latency_ms": 3}),
         "--format table_json --columns timestamp=time --columns path=request.path --columns method=request.method"
         " --columns upstream_duration_ms=upstream_latency_ms:ms --columns duration_ms=latency:ms"),
        ("timestamp,path,took,status\n2026-03-09T14:00:00Z,/x,125,200",
         "--format table_csv --columns timestamp=timestamp --columns path=path --columns status_code=status --columns duration_ms=took:ms"),
    ],
)  # fmt: skip
def test_a_duration_without_a_unit_is_said_with_what_to_type(table: str, typed: str) -> None:
    block = Block(f"{table}\n".encode())
    found = detect(block, Options(), "x")
    assert "duration_ms" not in parse(block, found.reader).calls.columns
    (doubt,) = found.doubts
    assert doubt.startswith("nothing says whether ") and doubt.endswith(typed)
    words = typed.split()
    columns = dict(word.split("=") for word in words[3::2])
    again = detect(block, Options(format=words[1], columns=columns), "x")
    (row,) = parse(block, again.reader).calls.iter_rows(named=True)
    assert (row["duration_ms"], row["path"]) == (125.0, "/x")
    assert again.doubts == ()


@pytest.mark.parametrize(
    ("name", "ms"),
    [("duration_seconds", 12e3), ("elapsedMillis", 12.0), ("latency_usec", 0.012), ("took_nanos", 12e-6)],
)
def test_a_unit_may_be_a_word(name: str, ms: float) -> None:
    block = lines({"time": "2026-03-09T14:00:00Z", "method": "GET", "path": "/x", name: 12})
    found = detect(block, Options(), "x")
    assert (parse(block, found.reader).calls["duration_ms"][0], found.doubts) == (ms, ())


@pytest.mark.parametrize("latency", [45, "45", "0.045s", 0.045])
def test_a_latency_beside_envoys_duration_neither_replaces_it_nor_refuses_the_call(latency: Any) -> None:
    own = {"start_time": "2026-03-09T14:00:00.125Z", "method": "GET", "path": "/x", "response_code": 200}
    told = own | {"response_flags": "-", "upstream_cluster": "a", "latency": latency}
    for record in (told | {"duration": 12}, {"response_time": 7, **told, "duration": 12}):
        found = call(record)
        assert (found["duration_ms"], dict(found["attributes"])["latency"]) == (12.0, str(latency))
    assert read(told).calls["duration_ms"].to_list() == [45.0 if str(latency) == "45" else None]


def test_an_address_that_caddy_has_not_is_no_client() -> None:
    record = json.loads(FORMATS["caddy_json"].example)
    request = record["request"] | {"remote_ip": "<nil>", "client_ip": "<nil>"}
    assert call({**record, "request": request}).get("client_ip") is None
    assert call({**record, "request": request | {"remote_ip": "10.0.0.7"}})["client_ip"] == "10.0.0.7"


def learnings(block: Block, blocks: int, name: str) -> int:
    """How often it is found out what is usual among the lines of so many blocks."""
    reader = detect(block, Options(), "x").reader
    fresh = Reader((replace(reader.layouts[0]), *reader.layouts[1:]), reader.wrappers)
    assert fresh.layouts[0].gateway == name
    with mock.patch.object(JsonLayout, "_usual", autospec=True, side_effect=JsonLayout._usual) as learned:
        for _ in range(blocks):
            parse(block, fresh)
    return learned.call_count


def test_what_is_usual_is_found_out_once_also_where_most_spans_are_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_layout, "_MANY", 10)
    (span,) = json.loads(FORMATS["otlp_trace"].example)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    others = [{**span, "kind": 1, "attributes": [{"key": f"a{i}", "value": {"stringValue": "x"}}]} for i in range(5)]
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span, *others]}]}]}
    assert learnings(lines(*[document] * 9), 6, "otlp_trace") == 1


def test_what_is_usual_is_seldom_looked_for_where_no_two_lines_have_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_layout, "_MANY", 10)
    monkeypatch.setattr(json_layout, "_LEARNED", 4)
    record = json.loads(FORMATS["kong_json"].example)
    records = [record | ({f"n{i}": i} if i > 3 else {}) for i in range(20)]
    assert learnings(lines(*records), 12, "kong_json") == 4


def test_a_layout_that_has_read_a_few_lines_knows_what_is_usual_among_the_next() -> None:
    """A folder of many small files: to ask each for all that a format may log took longer than all else."""
    calls = lines(*[FORMATS["kong_json"].example] * 3)
    assert [learnings(calls, files, "kong_json") for files in (1, 2, 9)] == [0, 1, 1]
