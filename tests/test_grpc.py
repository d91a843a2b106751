"""A gRPC call that failed is 200 to HTTP: its gRPC status makes its status_code, whichever gateway logs it and however."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import Block, parse
from apilens.formats.grpc import is_grpc_status
from commands import apilens, ingest
from test_text_layouts import read

#: Number, name and HTTP status of each code, as google/rpc/code.proto publishes them.
CODES = [
    (0, "OK", 200), (1, "CANCELLED", 499), (2, "UNKNOWN", 500), (3, "INVALID_ARGUMENT", 400), (4, "DEADLINE_EXCEEDED", 504),
    (5, "NOT_FOUND", 404), (6, "ALREADY_EXISTS", 409), (7, "PERMISSION_DENIED", 403), (8, "RESOURCE_EXHAUSTED", 429),
    (9, "FAILED_PRECONDITION", 400), (10, "ABORTED", 409), (11, "OUT_OF_RANGE", 400), (12, "UNIMPLEMENTED", 501),
    (13, "INTERNAL", 500), (14, "UNAVAILABLE", 503), (15, "DATA_LOSS", 500), (16, "UNAUTHENTICATED", 401),
]  # fmt: skip
#: Envoy's layout of the examples, with what is appended to it.
ENVOY = '[%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %DURATION%'
CALL = '[2026-03-09T14:00:00.125Z] "POST /shop.v1.Orders/Pay HTTP/2"'
NGINX = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "POST /shop.v1.Orders/Pay HTTP/2.0"'


def statuses(lines: list[str], **options: Any) -> list[int | None]:
    """The status_code of each line's call."""
    return [call.get("status_code") for call in read(lines, **options)]


@pytest.mark.parametrize(("number", "name", "http"), CODES)
def test_a_code_of_grpc_is_the_http_status_that_is_published_for_it_in_every_spelling(
    number: int, name: str, http: int
) -> None:
    camel = name.title().replace("_", "")
    written = [str(number), name, "OK" if name == "OK" else "Canceled" if name == "CANCELLED" else camel]
    written += [name.lower(), name.lower().replace("_", "-"), camel[0].lower() + camel[1:]]
    written += [f"StatusCode.{name}", f"codes.{camel}", f"{number}.0"]
    lines = [f"{CALL} 200 - 12 {one}" for one in written]
    assert statuses(lines, log_format=f"{ENVOY} %GRPC_STATUS%") == [http] * len(written)


@pytest.mark.parametrize(
    ("http", "grpc", "expected"),
    [
        ("200", "-", 200),
        ("200", '""', 200),
        ("200", "17", 200),
        ("200", "-1", 200),
        ("200", "InvalidCode", 200),
        ("200", "no such thing", 200),
        ("502", "Unavailable", 502),
        ("503", "OK", 503),
        ("404", "Internal", 404),
        ("301", "Internal", 301),
        # No HTTP status at all: the gRPC status says that there was an answer, and which.
        ("0", "Unavailable", 503),
        ("0", "OK", 200),
        ("0", "-", None),
        ("0", "InvalidCode", None),
    ],
)
def test_grpc_is_asked_only_where_http_says_that_there_was_an_answer(
    http: str, grpc: str, expected: int | None
) -> None:
    assert statuses([f"{CALL} {http} - 12 {grpc}"], log_format=f"{ENVOY} %GRPC_STATUS%") == [expected]


@pytest.mark.parametrize(
    ("layout", "values", "attributes"),
    [
        (f"{ENVOY} %GRPC_STATUS%", "{camel}", {"grpc_status"}),
        (f"{ENVOY} %GRPC_STATUS(CAMEL_STRING)%", "{camel}", {"grpc_status.camel_string"}),
        (f"{ENVOY} %GRPC_STATUS(SNAKE_STRING)%", "{snake}", {"grpc_status.snake_string"}),
        (f"{ENVOY} %GRPC_STATUS(NUMBER)%", "{number}", {"grpc_status.number"}),
        (f"{ENVOY} %GRPC_STATUS_NUMBER%", "{number}", {"grpc_status_number"}),
        # Where there is no message, the status stands in the header, else in the trailer.
        (f'{ENVOY} "%TRAILER(GRPC-STATUS)%" "%RESP(GRPC-STATUS)%"', '"{number}" "-"', {"trailer.grpc-status"}),
        (f'{ENVOY} "%TRAILER(GRPC-STATUS)%" "%RESP(GRPC-STATUS)%"', '"-" "{number}"', {"resp.grpc-status"}),
        (f'{ENVOY} "%RESPONSE_HEADER(GRPC-STATUS)%"', '"{number}"', {"resp.grpc-status"}),
    ],
)
def test_each_of_envoys_operators_tells_the_outcome_and_stays_an_attribute(
    layout: str, values: str, attributes: set[str]
) -> None:
    calls = read(written(f"{CALL} 200 - 12 {values}"), log_format=layout)
    assert [call["status_code"] for call in calls] == [503, 200, 200]
    assert dict(calls[0]["attributes"]).keys() == attributes


def written(line: str) -> list[str]:
    """The line of a call that failed with UNAVAILABLE, of one that did not fail, of one that is not gRPC's."""
    return [
        line.format(number=number, snake=snake, camel=camel)
        for number, snake, camel in (("14", "UNAVAILABLE", "Unavailable"), ("0", "OK", "OK"), ("-", "-", "-"))
    ]


@pytest.mark.parametrize(
    "variable", ["sent_http", "sent_trailer", "upstream_http", "upstream_trailer"], ids=lambda name: f"${name}"
)
@pytest.mark.parametrize(
    ("line", "layout"),
    [
        (NGINX + ' 200 5 "{number}"', '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$V"'),
        (NGINX + ' 200 5 "-" "grpc-go/1.71" rt=0.012 V={number}', None),
        ('{{"time_iso8601":"2026-03-09T14:00:00+00:00","remote_addr":"203.0.113.7","request_method":"POST",'
         '"request_uri":"/shop.v1.Orders/Pay","status":200,"request_time":0.012,"V":"{number}"}}', None),
        ('{{"time_iso8601":"2026-03-09T14:00:00+00:00","remote_addr":"203.0.113.7","request_method":"POST",'
         '"request_uri":"/shop.v1.Orders/Pay","status":200,"request_time":0.012,"V":{number}}}', None),
    ],
    ids=["pasted", "labelled", "json", "json as a template wrote it"],
)  # fmt: skip
def test_nginxs_variables_tell_the_outcome(line: str, layout: str | None, variable: str) -> None:
    name = f"{variable}_grpc_status"
    options = {} if layout is None else {"log_format": layout.replace("$V", f"${name}")}
    assert statuses(written(line.replace("V=", f"{name}=").replace('"V"', f'"{name}"')), **options) == [503, 200, 200]


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("envoy_json", "grpc_status"),
        ("envoy_json", "grpc_status_number"),
        ("kong_json", "response.headers.grpc-status"),
        ("apisix_json", "response.headers.grpc-status"),
        ("traefik_json", "downstream_Grpc-Status"),
        ("traefik_json", "origin_Grpc-Status"),
        ("caddy_json", "resp_headers.Grpc-Status"),
        ("caddy_json", "resp_headers.Trailer:Grpc-Status"),
        ("table_json", "grpc_status"),
        ("table_json", "grpcStatusCode"),
    ],
)
@pytest.mark.parametrize("copies", [1, 1000])
def test_the_outcome_stands_under_its_name_in_json(name: str, where: str, copies: int) -> None:
    lines = []
    for value in ("14", "0", None):
        record = json.loads(FORMATS[name].example)
        inside = record
        *parents, key = where.split(".")
        for parent in parents:
            inside = inside.setdefault(parent, {})
        if value is not None:
            inside[key] = [value] if name == "caddy_json" else int(value) if where == "grpc_status_number" else value
        lines.append(json.dumps(record))
    calls = read(lines * copies)
    assert [call["status_code"] for call in calls] == [503, 200, 200] * copies
    assert {call["gateway"] for call in calls} == {name}
    assert dict(calls[0]["attributes"])[where] in ("14", '["14"]')


@pytest.mark.parametrize(
    "columns", [{}, {"timestamp": "timestamp", "path": "path", "status_code": "status"}], ids=["by names", "mapped"]
)
def test_a_column_of_a_table_tells_the_outcome(columns: dict[str, str]) -> None:
    header = "timestamp,path,status,grpc_status"
    rows = [f"2026-03-09T14:00:00Z,/shop.v1.Orders/Pay,200,{grpc}" for grpc in ("14", "0", "")]
    block = Block("\n".join([header, *rows, ""]).encode())
    calls = parse(block, detect(block, Options(columns=columns), "x").reader).calls
    assert calls["status_code"].to_list() == [503, 200, 200]


def test_an_author_s_key_is_the_outcome_where_the_layout_says_so() -> None:
    layout = '{"when": "%START_TIME%", "target": "%REQ(:PATH)%", "result": "%RESPONSE_CODE%", "end": "%GRPC_STATUS%"}'
    lines = [
        json.dumps({"when": "2026-03-09T14:00:00.125Z", "target": "/shop.v1.Orders/Pay", "result": 200, "end": end})
        for end in ("Unavailable", "OK", None)
    ]
    calls = read(lines, log_format=layout)
    assert [call["status_code"] for call in calls] == [503, 200, 200]
    assert dict(calls[0]["attributes"])["end"] == "Unavailable"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"http.status_code": 200, "grpc.status_code": "14"}, 503),
        ({"http.response.status_code": 200, "rpc.grpc.status_code": 4}, 504),
        ({"rpc.system": "grpc", "rpc.grpc.status_code": 0}, 200),
        ({"rpc.system": "grpc", "rpc.grpc.status_code": 13}, 500),
        ({"rpc.system.name": "grpc", "rpc.response.status_code": "NOT_FOUND"}, 404),
        ({"rpc.system.name": "jsonrpc", "rpc.response.status_code": "-32602"}, None),
    ],
)
def test_spans_tell_the_outcome_also_without_an_http_status(attributes: dict[str, Any], expected: int | None) -> None:
    assert statuses([span(attributes)]) == [expected]


@pytest.mark.parametrize(
    ("attributes", "method", "path"),
    [
        ({"rpc.system": "grpc", "rpc.service": "shop.v1.Orders", "rpc.method": "Pay"}, "POST", "/shop.v1.Orders/Pay"),
        ({"rpc.system.name": "grpc", "rpc.method": "shop.v1.Orders/Pay"}, "POST", "/shop.v1.Orders/Pay"),
        ({"rpc.system.name": "grpc", "rpc.method": "_OTHER"}, None, None),
        ({"rpc.system": "jsonrpc", "rpc.service": "a", "rpc.method": "b"}, None, None),
        (
            {
                "rpc.system": "grpc",
                "rpc.service": "a",
                "rpc.method": "b",
                "http.request.method": "PUT",
                "url.path": "/c",
            },
            "PUT",
            "/c",
        ),
    ],
)
@pytest.mark.parametrize("copies", [1, 2500])
def test_a_span_of_grpc_is_a_call_of_its_method(
    attributes: dict[str, Any], method: str | None, path: str | None, copies: int
) -> None:
    for call in read([span(attributes)] * copies):
        assert (call.get("method"), call.get("path")) == (method, path)
        assert dict(call["attributes"]).items() >= {k: v for k, v in attributes.items() if k.startswith("rpc.")}.items()


def span(attributes: dict[str, Any]) -> str:
    """A line with one span that has these attributes."""
    request = json.loads(FORMATS["otlp_trace"].example)
    (one,) = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    one["attributes"] = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
    return json.dumps(request)


@pytest.mark.parametrize(
    "name",
    [
        "request.headers.grpc-status", "request_Grpc-Status", "http_grpc_status", "http.request.header.grpc-status",
        "req.hdr(grpc-status)", "cs(grpc-status)", "RequestHeaders.grpc-status", "headers.grpc-status", "queryParams.grpc_status",
        "request.querystring.grpc_status", "args.grpc_status", "grpc_status_details", "grpc-status-details-bin", "grpc_message",
    ],
)  # fmt: skip
def test_what_a_client_sends_and_what_only_sounds_like_it_is_no_outcome(name: str) -> None:
    assert not is_grpc_status(name)


def test_a_client_cannot_make_its_calls_look_failed() -> None:
    record = json.loads(FORMATS["kong_json"].example)
    record["request"]["headers"] = {"grpc-status": "14"}
    assert statuses([json.dumps(record)]) == [200]


def test_a_method_that_fails_is_an_endpoint_with_errors(tmp_path: Path) -> None:
    def line(second: int, method: str, grpc: str) -> str:
        return f'[2026-03-09T14:00:{second:02}.125Z] "POST /shop.v1.Orders/{method} HTTP/2" 200 - 12 {grpc}\n'

    lines = [line(i, "Find", "OK") for i in range(20)]
    lines += [line(i, "Pay", ("Unavailable", "NotFound", "OK", "OK")[i % 4]) for i in range(20)]
    (tmp_path / "envoy.log").write_text("".join(lines))
    done = ingest(tmp_path / "lake", tmp_path / "envoy.log", "--log-format", f"{ENVOY} %GRPC_STATUS%")
    assert done["stored"] == 40
    rows = apilens("endpoints", "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    ratios = {row["route"]: (row["error_ratio"], row["client_error_ratio"]) for row in rows}
    assert ratios == {"/shop.v1.Orders/Pay": (0.25, 0.25), "/shop.v1.Orders/Find": (0, 0)}
