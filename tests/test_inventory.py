"""The inventory of endpoints: a log and a document in which each kind stands, against what is written beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import apilens, ingest
from test_cli import HOSTILE

LINE = '203.0.113.7 - {who} [{day:02}/Mar/2026:14:00:00 +0000] "{method} {path} HTTP/1.1" {status} 512 "-" "client"\n'
CALLS = [
    (1, "app-1", "GET", "/v1/orders/7", 200), (1, "app-2", "GET", "/v1/orders/8", 404), (9, "app-2", "GET", "/v1/orders/9", 200),
    (9, "app-1", "GET", "/v2/orders/9", 200),  # so version 1 is old
    (9, "app-3", "DELETE", "/v2/orders/9", 204),  # a method that the document does not have
    (9, "app-3", "GET", "/internal/debug", 200), (9, "app-1", "GET", "/internal/debug", 200),
    (9, "app-1", "GET", "/v2/lgoin", 404),  # a typing mistake is no endpoint
    (1, "app-1", "POST", "/v2/exports", 202),  # not since
    (9, "app-1", "PUT", "/v2/users/5", 200),  # deprecated by the document
]  # fmt: skip
DOCUMENT = """\
openapi: 3.0.0
servers: [{url: https://api.example/}]
paths:
  /v1/orders/{n}: {get: {}}
  /v2/orders/{n}: {get: {operationId: getOrder}}
  /v2/exports: {post: {}}
  /v2/users/{n}: {put: {deprecated: true}}
  /v2/refunds: {post: {operationId: refund}}
"""
#: status, endpoint, calls since March 5, consumers, day of the last call
EXPECTED = {
    ("undocumented", "GET /internal/debug", 2, 2, "2026-03-09"),
    ("undocumented", "DELETE /v2/orders/{id}", 1, 1, "2026-03-09"),
    ("deprecated", "GET /v1/orders/{id}", 1, 1, "2026-03-09"),
    ("deprecated", "PUT /v2/users/{id}", 1, 1, "2026-03-09"),
    ("unused", "POST /v2/exports", 0, 0, "2026-03-01"),
    ("unused", "POST /v2/refunds", 0, 0, None),
    ("not_found", "GET /v2/lgoin", 1, 1, "2026-03-09"),
    ("in_use", "GET /v2/orders/{id}", 1, 1, "2026-03-09"),
}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    lines = [LINE.format(day=day, who=who, method=how, path=path, status=s) for day, who, how, path, s in CALLS]
    (tmp_path / "access.log").write_text("".join(lines))
    (tmp_path / "api.yaml").write_text(DOCUMENT)
    ingest(tmp_path / "lake", tmp_path / "access.log")
    return tmp_path / "lake"


def test_every_endpoint_stands_under_what_it_is(lake: Path) -> None:
    ran = apilens(
        *("inventory", "--lake", lake, "--openapi", lake.parent / "api.yaml", "--since", "2026-03-05", "--output"),
        "ndjson",
    )
    found = {
        (row["status"], f"{row['method']} {row['route']}", row["calls"], row["consumers"], row["last_seen"] and row["last_seen"][:10])
        for row in ran.rows()
    }  # fmt: skip
    assert found == EXPECTED


def test_exit_codes_say_what_was_asked_for(lake: Path) -> None:
    document = lake.parent / "api.yaml"
    for status in ("undocumented", "deprecated", "unused"):
        ran = apilens("inventory", "--lake", lake, "--openapi", document, "--fail-on", status)
        assert ran.code == 1, (status, ran.out)
    assert apilens("inventory", "--lake", lake, "--openapi", document).code == 0
    ran = apilens("inventory", "--lake", lake, "--fail-on", "undocumented")  # a gate that could not fail
    assert (ran.code, "no document to go by" in ran.err) == (2, True)
    assert apilens("inventory", "--lake", lake.parent / "none").code == 3
    assert "no call in this window" in apilens("inventory", "--lake", lake, "--since", "2100-01-01").err


def test_the_kept_document_says_what_is_deprecated(lake: Path) -> None:
    apilens("routes", "--openapi", lake.parent / "api.yaml", "--lake", lake)
    rows = apilens("inventory", "--lake", lake, "--output", "json").json()
    assert (rows["documented"], rows["counts"]["undocumented"]) == (True, 2)
    assert {row["route"] for row in rows["endpoints"] if row["because"] == "the document says deprecated"} == {
        "/v2/users/{id}"
    }


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    import json

    rows = [
        {"timestamp": "2026-03-09T14:00:00Z", "method": "GET", "path": f"/{HOSTILE}", "status_code": 200, "user_name": who}
        for who in (HOSTILE, "=1+1", "'; DROP TABLE calls; --")
    ]  # fmt: skip
    (tmp_path / "x.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "api.yaml").write_text(
        'openapi: 3.0.0\npaths: {"/a/\\e]0;x": {get: {operationId: "<script>", deprecated: yes}}}\n'
    )
    ingest(tmp_path / "lake", tmp_path / "x.ndjson")
    ran = apilens("inventory", "--lake", tmp_path / "lake", "--openapi", tmp_path / "api.yaml")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    assert "undocumented" in ran.out
