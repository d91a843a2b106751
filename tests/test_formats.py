"""Every format on samples with known values; tests/cases/formats/<name>/ holds input, options and the calls expected.

A case is input.* , args.txt (one argument per line, when there are any) and expected.ndjson with the non-null columns.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilens import formats
from apilens.errors import FormatError
from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import Block, parse
from apilens.formats.escapes import unescape
from commands import apilens

CASES = Path(__file__).parent / "cases" / "formats"
NAMES = sorted(case.name for case in CASES.iterdir())
HEADERS = (
    b"Timestamp;Method;Path;Status;Response_Time_us;User;Note",
    b"when,took,what,result,who,wait",
    b"#",
    b"Method,Host,",
    b",result,table,",
)
#: What gateways write between their calls.
NO_CALL = re.compile(rb"\[error\]|SSL handshake failure$|^Error #\d")
BOM = "\ufeff".encode()
CORPUS = Path(__file__).parent.parent.parent / "shared" / "corpus"


def arguments(case: str) -> list[str]:
    given = CASES / case / "args.txt"
    return given.read_text("utf-8").splitlines() if given.exists() else []


def sample(case: str) -> Path:
    return next((CASES / case).glob("input.*"))


@pytest.mark.parametrize("case", NAMES)
def test_the_calls_of_a_sample_are_the_expected_ones(case: str) -> None:
    ran = apilens("parse", sample(case), *arguments(case))
    found = [{k: v for k, v in row.items() if v is not None and k != "source_file"} for row in ran.rows()]
    expected = [json.loads(line) for line in (CASES / case / "expected.ndjson").read_text("utf-8").split("\n")[:-1]]
    assert found == expected


@pytest.mark.parametrize("case", [name for name in NAMES if name != "table_parquet"])  # which has no lines
def test_what_a_sample_does_not_give_is_named_line_by_line(case: str) -> None:
    ran = apilens("parse", sample(case), *arguments(case))
    lines = sample(case).read_bytes().split(b"\n")[:-1]
    offsets = {sum(len(line) + 1 for line in lines[:i]): i + 1 for i in range(len(lines))}
    called = {offsets[row["source_offset"]] for row in ran.rows()}
    named = {int(text.split(": line ")[1].split(":")[0]) for text in ran.err.split("\n") if ": line " in text}
    silent = {
        i + 1
        for i, line in enumerate(lines)
        if not line.strip() or NO_CALL.search(line) or line.removeprefix(BOM).startswith(HEADERS)
    }
    assert called | named | silent == set(range(1, len(lines) + 1))
    assert not called & named
    assert ran.code == (4 if named else 0)


def test_formats_never_import_one_another() -> None:
    folder = Path(formats.__file__).parent
    texts = {
        path.stem: path.read_text("utf-8") for path in folder.glob("*.py") if path.stem not in ("__init__", "format")
    }
    families = {
        name for name, text in texts.items() if re.search(r"^\w*FORMATS? = |^\w*FORMATS?: ", text, re.MULTILINE)
    }
    assert {"nginx", "kong", "table"} <= families
    imported = {
        (name, other)
        for name in families
        for other in families - {name}
        if re.search(rf"import.*\b{other}\b|from apilens\.formats\.{other} import", texts[name])
    }
    assert imported == set()


def test_every_format_of_the_registry_has_a_sample() -> None:
    assert set(FORMATS) <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].pasted is None])
def test_a_sample_is_detected_as_its_own_format_whatever_stands_before_it(name: str) -> None:
    data = sample(name).read_bytes()
    assert detect(Block(data), Options(), "x").format == name
    if name != "table_csv":  # whose header stands first
        assert detect(Block(b"\n\0\0\n" + data + b"no call at all\n"), Options(), "x").format == name


@pytest.mark.parametrize("case", [name for name in NAMES if arguments(name)[:1] == ["--log-format"]])
def test_a_pasted_layout_is_told_by_its_variables(case: str) -> None:
    options = Options(log_format=arguments(case)[1])
    expected = json.loads((CASES / case / "expected.ndjson").read_text("utf-8").split("\n")[0])["gateway"]
    assert detect(Block(sample(case).read_bytes()), options, "x").format == expected


@pytest.mark.parametrize(
    ("written", "ms", "gateway"),
    [("125041", 125.041, "apache_combined"), ("0.125", 125.0, "nginx_combined"), ("3.000", 3000.0, "nginx_combined")],
)
def test_seconds_of_nginx_and_microseconds_of_apache_are_told_apart(written: str, ms: float, gateway: str) -> None:
    line = f'203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1 HTTP/1.1" 200 5 "-" "c" {written}\n'.encode()
    calls = parse(block := Block(line * 3), detect(block, Options(), "x").reader).calls
    assert calls.select("duration_ms", "gateway").unique().rows() == [(ms, gateway)]


def one(line: str, log_format: str, tz: str = "UTC") -> tuple[dict[str, Any], str | None]:
    """The call in a line, and the reason where there is none."""
    block = Block(line.encode("utf-8", "surrogateescape") + b"\n")
    part = parse(block, detect(block, Options(log_format=log_format, tz=tz), "x").reader)
    assert part.calls.height + part.rejects.height == 1
    return (part.calls.row(0, named=True), None) if part.calls.height else ({}, str(part.rejects["reason"][0]))


TIMED = "$msec $request_time $upstream_response_time"


@pytest.mark.parametrize(
    ("span", "ms"),
    [("0.000", 0.0), ("1", 1000.0), ("-1", None), ("-", None), ("0.0000019", 0.0019), ("31999999", 31999999000.0)],
)
def test_a_duration_is_exact_and_a_negative_one_is_unknown(span: str, ms: float | None) -> None:
    assert one(f"1773064800.125 {span} -", TIMED)[0]["duration_ms"] == ms


@pytest.mark.parametrize("span", ["1e308", "9" * 300, "nan", "inf", "1e5x", "33000000"])
def test_a_duration_of_a_year_or_no_number_is_set_aside(span: str) -> None:
    assert one(f"1773064800.125 {span} -", TIMED)[1] is not None
    assert one(f"1773064800.125 0.1 {span}", TIMED)[1] is not None


@pytest.mark.parametrize(
    ("variables", "values", "ms"),
    [
        ("%D", "125041", 125.041),
        ("%{us}T", "125041", 125.041),
        ("%{ms}T", "125", 125.0),
        ("%T", "3", 3000.0),
        ("%{s}T", "3", 3000.0),
        ("%D %T", "2999999 2", 2999.999),
        ("%T %{ms}T", "2 2999", 2999.0),
        ("%D %T", "- 2", 2000.0),
    ],
)
def test_each_of_apaches_durations_has_its_unit_and_the_finest_one_wins(variables: str, values: str, ms: float) -> None:
    assert one(f"[09/Mar/2026:14:00:00 +0000] {values}", f"%t {variables}")[0]["duration_ms"] == ms


@pytest.mark.parametrize(
    ("tries", "ms"),
    [("0.100, 0.050 : 0.075", 225.0), ("-, 0.000", 0.0), ("-", None), ("-, - : -", None), ("0.001", 1.0)],
)
def test_upstream_time_is_summed_over_the_attempts_made(tries: str, ms: float | None) -> None:
    assert one(f"1773064800.125 0.1 {tries}", TIMED)[0]["upstream_duration_ms"] == ms


@pytest.mark.parametrize("status", ["000", "0", "-"])
def test_a_status_that_was_never_sent_is_null(status: str) -> None:
    assert one(f"1773064800.125 {status}", "$msec $status")[0]["status_code"] is None


@pytest.mark.parametrize("status", ["999999", "abc", "-200", "2OO"])
def test_a_status_that_is_none_is_set_aside(status: str) -> None:
    assert one(f"1773064800.125 {status}", "$msec $status")[1] is not None


@pytest.mark.parametrize(
    ("size", "stored"), [(str(2**63 - 1), 2**63 - 1), (str(2**63), None), ("9" * 400, None), ("0", 0)]
)
def test_a_size_is_stored_exactly_or_not_at_all(size: str, stored: int | None) -> None:
    call, reason = one(f"1773064800.125 {size}", "$msec $bytes_sent")
    assert call.get("response_bytes") == stored
    assert (reason is None) == (stored is not None)


@pytest.mark.parametrize(
    ("local", "zone", "utc"),
    [
        ("2026-03-29T02:30:00", "Europe/Berlin", None),
        ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25 00:30:00"),
        ("2026-03-08T02:30:00", "America/New_York", None),
        ("2026-11-01T01:30:00", "America/New_York", "2026-11-01 05:30:00"),
        ("2026-04-05T01:45:00", "Australia/Lord_Howe", "2026-04-04 14:45:00"),
        ("2026-10-04T02:15:00", "Australia/Lord_Howe", None),
        ("2026-03-29T01:30:00", "Europe/London", None),
        ("2026-06-01T12:00:00", "Asia/Kathmandu", "2026-06-01 06:15:00"),
        ("2026-03-29T02:30:00+00:00", "Europe/Berlin", "2026-03-29 02:30:00"),
        ("2026-03-29T02:30:00,5Z", "Europe/Berlin", "2026-03-29 02:30:00.500000"),
        ("2016-12-31T23:59:60", "UTC", "2017-01-01 00:00:00"),  # a leap second
        ("2026-02-30T00:00:00", "UTC", None),
    ],
)
def test_a_time_without_zone_is_placed_in_tz_and_one_that_never_was_is_set_aside(
    local: str, zone: str, utc: str | None
) -> None:
    call, reason = one(f"{local} 200", "$time_iso8601 $status", zone)
    assert (reason is None) == (utc is not None), reason
    if utc is not None:
        assert str(call["timestamp"].replace(tzinfo=None)) == utc


def test_the_same_instant_in_two_zones_is_one_instant() -> None:
    layout = "$remote_addr [$time_local] $status"
    times = ["09/Mar/2026:14:00:00 +0000", "09/Mar/2026:19:45:00 +0545", "09/Mar/2026:04:30:00 -0930"]
    assert len({one(f"::1 [{time}] 200", layout)[0]["timestamp"] for time in times}) == 1


@pytest.mark.parametrize(
    "request_line",
    ["\\x16\\x03\\x01", "", "-", "GET", "GET / HTTP/1.1 x", "GET /?q=phone 5", "get\\x20/", "G\\x00T / HTTP/1.1"],
)
def test_a_request_line_that_is_not_http_is_a_call_without_method(request_line: str) -> None:
    call, reason = one(f'1773064800.125 "{request_line}" 400', '$msec "$request" $status')
    assert reason is None
    assert (call["method"], call.get("path"), call["parse_status"]) == (None, None, "malformed_request")
    assert call["status_code"] == 400


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_nginx_escapes_are_undone_whatever_was_logged(text: str) -> None:
    logged = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\x{byte:02X}" for byte in text.encode()
    )
    call, reason = one(f'1773064800.125 "{logged}"', '$msec "$http_user_agent"')
    assert reason is None
    assert call["user_agent"] == (None if text == "-" else text)


@given(
    st.lists(st.text(st.sampled_from("ab\\x2F\n%+é0n"), max_size=12), max_size=8),
    st.sampled_from(["nginx", "apache", "json", "percent"]),
)
def test_values_are_unescaped_alike_alone_and_together(texts: list[str], escape: Any) -> None:
    together = unescape(pl.Series(texts, dtype=pl.String), escape).to_list()
    assert together == [unescape(pl.Series([text]), escape)[0] for text in texts]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"timestamp":NaN,"status":200}',
        '{"timestamp":1e999,"status":200}',
        '{"timestamp":9e99,"status":200}',
        '{"timestamp":"\\ud800","status":200}',
        '{"timestamp":"2026-03-09T14:00:00Z","status":18446744073709551616}',
        '{"timestamp":"2026-03-09T14:00:00Z","status":[200]}',
        '{"timestamp":"2026-03-09T14:00:00Z","status":200',
        "\x00{}",
        "null",
    ],
)
def test_hostile_json_is_set_aside_and_disturbs_no_other_line(line: str) -> None:
    good = '{"timestamp":"2026-03-09T14:00:00Z","status":200,"url":"/x"}'
    block = Block(f"{good}\n{line}\n{good}\n".encode("utf-8", "surrogateescape"))
    part = parse(block, detect(block, Options(), "x").reader)
    assert part.calls["row"].to_list() == [0, 2]
    assert part.rejects["row"].to_list() == [1]


CSV_CELL = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters='\r\n",\x00'), min_size=1, max_size=8).filter(
        lambda text: text.strip() == text and text != "-"
    ),
    st.text(st.sampled_from('a", é;'), min_size=1, max_size=8).map(lambda text: f" {text}|"),
)


@given(
    st.lists(CSV_CELL, min_size=1, max_size=6), st.lists(st.text(st.sampled_from('a",;\t'), max_size=12), max_size=3)
)
def test_csv_cells_come_back_as_written_and_broken_lines_disturb_none(cells: list[str], garbage: list[str]) -> None:
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    rows = [f"2026-03-09T14:00:00Z,/x,{cell}" for cell in quoted]
    data = "\n".join(["timestamp,path,note", *garbage, *rows]) + "\n"
    block = Block(data.encode())
    part = parse(block, detect(block, Options(format="table_csv"), "x").reader)
    notes = part.calls.sort("row")["attributes"].to_list()
    assert [dict(note)["note"] if note else None for note in notes][-len(cells) :] == cells
    assert part.calls.height + part.rejects.height + part.header + part.blank == 1 + len(garbage) + len(rows)


def test_a_table_never_guesses_the_unit_of_a_duration() -> None:
    block = Block(b"timestamp,path,latency\n2026-03-09T14:00:00Z,/x,125\n")
    call = parse(block, detect(block, Options(), "x").reader).calls.row(0, named=True)
    assert "duration_ms" not in call
    assert dict(call["attributes"]) == {"latency": "125"}


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real log lines is not part of the project")
@pytest.mark.parametrize(("pattern", "least"), [("own-real-*", 0.99), ("*nginx*", 0.97), ("*apache*", 0.97)])
def test_real_lines_give_their_golden_values(pattern: str, least: float, tmp_path: Path) -> None:
    path = CORPUS / "score.py"
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None and spec.loader is not None
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    wanted = right = 0
    for golden in sorted((CORPUS / "golden").glob(f"{pattern}.jsonl")):
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in map(json.loads, golden.read_text("utf-8").split("\n")[:-1]):
            groups.setdefault(json.dumps(row.get("config"), sort_keys=True), []).append(row)
        for rows in groups.values():
            raws = [score.base64.b64decode(row["raw_b64"]) if "raw_b64" in row else row["raw"].encode() for row in rows]
            raws = [raw.replace(b"\r\n", b" ").replace(b"\n", b" ") for raw in raws]
            file = tmp_path / "sample.log"
            file.write_bytes(b"".join(raw + b"\n" for raw in raws))
            layout = (rows[0].get("config") or {}).get("log_format")
            ran = apilens("parse", file, *(["--log-format", layout] if layout else []))
            found = {row["source_offset"]: row for row in ran.rows()}
            at = 0
            for row, raw in zip(rows, raws, strict=True):
                call = found.get(at, {})
                at += len(raw) + 1
                wanted += len(row["expected"])
                right += sum(score.same(name, value, call.get(name)) for name, value in row["expected"].items() if call)
    assert wanted > 1_000
    assert right >= least * wanted


#: A line of what is no access log, or of one that no format reads, and the format that it is said to be near to.
STRANGERS = {
    "Mar  9 14:00:01 web1 sshd[12]: Accepted publickey for deploy from 10.0.0.1 port 4000 ssh2": None,
    "<34>1 2026-03-09T14:00:01.003Z web1 su - ID47 - 'su root' failed for lonvick on /dev/pts/8": None,
    "\tat com.shop.Orders.place(Orders.java:12)": None,
    "2026-03-09 14:00:01.123  INFO 1 --- [nio-8080-exec-1] c.s.OrderController : Order 1 placed in 3 ms": None,
    "2026-03-09 14:00:01,123 - app.orders - INFO - order 7 placed": None,
    "12,Ann,ann@example.org,2026-03-09T14:00:01Z,active": None,
    "INSERT INTO `orders` VALUES (1,'a'),(2,'b');": None,
    '- item 1: `code` and "quotes"': None,
    "type=SYSCALL msg=audit(1773064800.123:1): arch=c000003e syscall=59 success=yes exit=0 pid=7": None,
    "[    1.123456] usb 1-1: new high-speed USB device number 1 using xhci_hcd": None,
    "2026-03-09 14:00:01.123 UTC [121] LOG:  duration: 7.12 ms  statement: SELECT 1": None,
    '{"level":"info","ts":"2026-03-09T14:00:01Z","logger":"controller","msg":"Reconciling","name":"orders-1"}': None,
    '{"t":{"$date":"2026-03-09T14:00:01.123Z"},"s":"I","c":"NETWORK","msg":"Connection accepted","attr":{"remote":"10.0.0.1:4"}}': None,
    "GET /v1/orders/7 200 7.123 ms - 512": None,
    "2026-03-09T14:00:01Z|GET|/v1/orders/7|200|12ms|10.0.0.1": None,
    'Started GET "/v1/orders/7" for 10.0.0.1 at 2026-03-09 14:00:01 +0000': None,
    '[09/Mar/2026:14:00:01 +0000] 10.0.0.1 | shop.example | "GET /v1/o/7 HTTP/1.1" | 200 | 0.012 | "curl"': "apache_common",
    '10.0.0.1 - - [09/Mar/2026:14:00:01 +0000] "GET /v1/orders/7 HTTP/1.1" 200 512 "-" "curl" 7 x 0.012': "nginx_combined",
    '{"started_at":1773064800123,"request":{"method":"GET","uri":"/v1"},"response":{"status":200}}': "kong_json",
}  # fmt: skip


@pytest.mark.parametrize("line", STRANGERS)
def test_only_a_format_of_which_a_log_has_half_is_said_to_be_near(line: str) -> None:
    with pytest.raises(FormatError) as refused:
        detect(Block(f"{line}\n".encode() * 5), Options(), "own.log")
    said, near = str(refused.value), STRANGERS[line]
    assert said.partition("Nearest:\n  ")[2].partition(":")[0] == (near or ""), said
    assert near or repr(line)[1:60] in said or "They look like no calls" in said
    assert "--log-format '" in said or "--columns" in said
    assert ("what looks like a call" in said) == (near is None and "GET" in line)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 198.51.100.2", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7:4711, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1,10.0.0.2", "10.0.0.1"),
        ("[2001:db8::7]:443, 10.0.0.2", "2001:db8::7"),
        ("::ffff:10.0.0.1, 2001:db8::7", "2001:db8::7"),
        ("1234:56, 999.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("unknown", None),
        ("-", None),
    ],
)
def test_a_log_with_nothing_but_a_chain_of_proxies_has_the_client_s_address_from_there(
    forwarded: str, client: str | None, tmp_path: Path
) -> None:
    (tmp_path / "x.log").write_text(f"2026-03-09T14:00:00Z 200 |{forwarded}| 10.9.9.9\n")
    for layout, expected in (
        ("$time_iso8601 $status |$http_x_forwarded_for| $upstream_addr", client),
        ("$time_iso8601 $status |$http_x_forwarded_for| $remote_addr", "10.9.9.9"),
    ):
        (row,) = apilens("parse", tmp_path / "x.log", "--log-format", layout).rows()
        assert row["client_ip"] == expected
        assert row["forwarded_for"] == (None if forwarded == "-" else forwarded)


def test_an_ipv4_address_at_a_socket_of_both_kinds_is_the_same_client_as_at_one_of_ipv4(tmp_path: Path) -> None:
    line = '%s - - [09/Mar/2026:14:00:00 +0000] "GET /v1/orders HTTP/1.1" 200 5 "-" "client/1.2"\n'
    addresses = ["::ffff:203.0.113.7", "203.0.113.7", "2001:db8::7"]
    (tmp_path / "x.log").write_text("".join(line % address for address in addresses))
    clients = [row["client_ip"] for row in apilens("parse", tmp_path / "x.log").rows()]
    assert clients == ["203.0.113.7", "203.0.113.7", "2001:db8::7"]
