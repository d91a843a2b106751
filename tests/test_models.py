"""Measures of the AI gateways' models, against a slow obvious reference."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from apilens.lens import Lens
from commands import apilens, ingest
from naive import naive_models

START = datetime(2026, 3, 9, 14, tzinfo=UTC)


def record(rng: random.Random, i: int) -> dict[str, Any]:
    """A call as Kong's AI proxy logs it, or one without a model."""
    ai: dict[str, Any] = {}
    if rng.random() < 0.8:
        ai["meta"] = {
            "provider_name": rng.choice(["openai", "anthropic", None]),
            "request_model": rng.choice(["m-1", "m-2", None]),
        }
        ai["usage"] = rng.choice(
            [{}, {"prompt_tokens": rng.randrange(9_000), "completion_tokens": rng.randrange(900)}, {"prompt_tokens": 7}]
        )
    return {
        "started_at": int((START + timedelta(seconds=i)).timestamp() * 1000),
        "latencies": {"request": rng.choice([-1, rng.randrange(60_000), 500])},
        "request": {"method": "POST", "uri": rng.choice(["/v1/chat", "/v1/embed"]), "headers": {"user-agent": rng.choice(["shop/1", "GPTBot/1.2"])}},
        "response": {"status": rng.choice([200, 200, 429, 500, 503])},
        "service": {"name": rng.choice(["llm", None])},
        "ai": {"proxy": ai},
    }  # fmt: skip


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory) -> Lens:
    folder, rng = tmp_path_factory.mktemp("models"), random.Random(11)
    (folder / "x.log").write_text("".join(json.dumps(record(rng, i)) + "\n" for i in range(2_000)))
    assert ingest(folder / "lake", folder / "x.log")["stored"] == 2_000
    return Lens(str(folder / "lake"))


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize(("since_s", "until_s"), [(None, None), (100, 700), (100, 100), (-10, 0)])
def test_models_are_those_of_the_slow_reference(
    lens: Lens, since_s: int | None, until_s: int | None, everybody: bool
) -> None:
    since, until = (None if s is None else START + timedelta(seconds=s) for s in (since_s, until_s))
    if since is not None and since == until:
        until = since + timedelta(microseconds=1)
    calls = lens.calls(since, until).collect().iter_rows(named=True)
    expected = naive_models(calls, everybody)
    found = lens.models(since, until, include_synthetic=everybody)
    assert found.height == len(expected)
    assert found["calls"].to_list() == sorted(found["calls"].to_list(), reverse=True)
    for row in found.iter_rows(named=True):
        want = expected[tuple(row[name] for name in ("environment", "service", "method", "route", "provider", "model"))]
        assert {name: row[name] for name in want} == want


def test_python_and_the_command_line_give_the_same_numbers(lens: Lens) -> None:
    ran = apilens("models", "--lake", lens.lake.root, "--output", "ndjson")
    assert ran.rows() == [json.loads(line) for line in lens.models().write_ndjson().split("\n")[:-1]]
    assert apilens("models", "--lake", lens.lake.root, "--output", "json").json()["models"] == ran.rows()
    shown = apilens("models", "--lake", lens.lake.root).out
    assert "anthropic" in shown and "POST /v1/chat" in shown


def test_tokens_beyond_every_count_neither_fail_nor_come_out_negative(tmp_path: Path) -> None:
    call = record(random.Random(1), 0) | {"ai": {"proxy": {"usage": {"prompt_tokens": 2**63 - 1}}}}
    (tmp_path / "x.log").write_text((json.dumps(call) + "\n") + json.dumps(call | {"client_ip": "::1"}) + "\n")
    ingest(tmp_path / "lake", tmp_path / "x.log")
    (row,) = Lens(str(tmp_path / "lake")).models(include_synthetic=True).iter_rows(named=True)
    assert (row["calls"], row["input_tokens"], row["output_tokens"]) == (2, 2**63 - 1, None)


def test_a_lake_without_models_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text('203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1 HTTP/1.1" 200 5\n')
    ingest(tmp_path / "lake", tmp_path / "x.log")
    ran = apilens("models", "--lake", tmp_path / "lake", "--output", "json")
    assert ran.json() == {"schema_version": 1, "models": []}
    assert "no call of this window names a model" in ran.err
