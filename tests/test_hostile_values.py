"""What strangers write into a log, on its way through every command that reads the lake: text stays text, and nothing breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import apilens, ingest

#: A colour, a title, a C1 introducer, a bidi override, NUL, markup, a template, SQL, formulas, a number beyond 64 bits.
VALUES = [
    "a\x1b[31mb\x1b]0;owned\x07c\x9b2Jd\u202egnp\u2028e",
    "n\x00ul",
    "<script>alert(1)</script>{{7*7}}",
    "'; DROP TABLE calls; --",
    '=HYPERLINK("http://x","y")',
    "+1-1@SUM(A1)",
    str(2**64),
    "{}%s%n$(id)`id`",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
]
ACTING = ("\x1b", "\x9b", "\x07", "\x00", "\u202e", "\u2028")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of calls whose every text is hostile; those of the last hour fail for one of the consumers, and numbers are too large."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = []
    for i in range(3_000):
        hostile = VALUES[i % len(VALUES)]
        second = i * 28
        rows.append(
            {
                "timestamp": f"2026-03-{9 + second // 86_400:02}T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}Z",
                "method": "GET",
                "path": f"/v1/{hostile}" if i % 3 else "/v1/pay",
                "status_code": 500 if i > 2_800 else (2**64 if i % 500 == 7 else 200),
                "duration_ms": 2**64 if i % 400 == 3 else 20.5,
                "response_bytes": 2**63 - 1,
                "user_name": hostile,
                "request_id": f"{hostile}-{i}",
                "user_agent": hostile,
                "upstream_name": hostile,
                "node": hostile,
                "service": "shop",
                "host": hostile,
            }
        )
    (folder / "calls.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(folder / "lake", folder / "calls.ndjson")
    (folder / "slo.toml").write_text(f"[[slo]]\nname = {json.dumps(VALUES[2])}\nobjective = 0.99\n")
    (folder / "api.json").write_text(
        json.dumps(
            {"openapi": "3.0.0", "paths": {f"/v1/{VALUES[2]}": {"get": {"operationId": VALUES[0], "deprecated": True}}}}
        )
    )
    metric = {"metric": {"__name__": VALUES[0], "instance": VALUES[2], "x": VALUES[4]}, "values": [[1773014400 + 60 * i, "1"] for i in range(1_400)]}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps([metric]))
    assert apilens("metrics", "import", folder / "metrics.json", "--lake", folder / "lake").code == 0
    assert apilens("mark", "deploy", "2026-03-09T20:00Z", "--label", VALUES[0], "--lake", folder / "lake").code == 0
    apilens("scan", "--lake", folder / "lake")
    apilens("triage", "--lake", folder / "lake")
    return folder / "lake"


COMMANDS = [
    ("scan",), ("explain", "{candidate}"), ("compare", "--before", "2026-03-09..2026-03-09T12:00", "--after", "2026-03-09T12:00..2026-03-10"),
    ("trace", VALUES[0] + "-9"), ("trace", "--consumer", VALUES[3], "--around", "2026-03-09T10:00Z"), ("trends",), ("mark",),
    ("slo", "--config", "{folder}/slo.toml", "--now", "2026-03-10"), ("signals",), ("metrics",), ("mute",), ("queue",), ("endpoints",), ("models",),
    ("inventory",), ("inventory", "--openapi", "{folder}/api.json"), ("mute", "{candidate}", "--until", "7d", "--why", VALUES[0], "--who", VALUES[2]),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:1]) + f" {len(words)}")
@pytest.mark.parametrize("output", ["table", "json"])
def test_hostile_text_neither_acts_nor_breaks_anything(words: tuple[str, ...], output: str, lake: Path) -> None:
    candidate = apilens("queue", "--lake", lake, "--output", "ndjson").rows()[0]["id"]
    given = [
        word.format(candidate=candidate, folder=lake.parent) if "{candidate}" in word or "{folder}" in word else word
        for word in words
    ]
    ran = apilens(*given, "--lake", lake, "--output", output)
    assert ran.code in (0, 1), (ran.code, ran.err)
    assert [one for one in ACTING if one in ran.err] == []
    if output == "json":
        assert ran.json()["schema_version"] == 1
    else:
        assert [one for one in ACTING if one in ran.out] == []


def test_hostile_evidence_is_text_in_tickets_and_in_the_report(lake: Path, tmp_path: Path) -> None:
    assert apilens("tickets", "apply", "--tracker", f"folder:{tmp_path}/t", "--include-ended", "--lake", lake).code == 0
    assert apilens("report", "--out", tmp_path / "r.html", "--lake", lake).code == 0
    page = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in page
    assert [one for one in ACTING if one in page] == []
    for ticket in (tmp_path / "t").glob("*.md"):
        assert [one for one in ACTING if one in ticket.read_text()] == []
        assert "<script>" not in ticket.read_text()
