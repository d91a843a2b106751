"""A candidate's life over several scans of a growing log: open, updated, ended, back, muted, meant; and what the configuration says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from apilens.config import Detect
from apilens.detect import anomalies
from apilens.detect.settings import sensitised
from apilens.store import open_state
from commands import Ran, apilens, ingest

START = datetime(2026, 3, 2, tzinfo=UTC)
FIRST, SECOND = START + timedelta(days=3, hours=10), START + timedelta(days=5, hours=13)
LASTS = timedelta(hours=2)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of two endpoints; /pay fails for two hours on the fourth day and again on the sixth."""
    folder = tmp_path_factory.mktemp("life")
    random = np.random.default_rng(4)
    lines = []
    for second in np.sort(random.random(14_000)) * 6 * 86_400:
        at = START + timedelta(seconds=int(second))
        path = "/pay" if random.random() < 0.7 else "/list"
        bad = path == "/pay" and any(begin <= at < begin + LASTS for begin in (FIRST, SECOND)) and random.random() < 0.7
        lines.append(
            f'203.0.113.9 - app-{random.integers(5)} [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET {path} HTTP/1.1" {500 if bad else 200} 9 "-" "x/1"\n'
        )
    (folder / "access.log").write_text("".join(lines))
    ingest(folder / "lake", folder / "access.log")
    return folder / "lake"


@pytest.fixture
def state(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db"


def scan(lake: Path, state: str, now: datetime, *options: object) -> Ran:
    ran = apilens("scan", "--lake", lake, "--state", state, "--now", now.isoformat(), "--output", "ndjson", *options)
    assert ran.code in (0, 1), ran.err
    return ran


def events(lake: Path, state: str) -> list[tuple[str, str | None, str]]:
    with open_state(str(lake), state) as store:
        rows = store.events().to_dicts()
    return [(row["field"], row["old"], row["new"]) for row in rows if row["kind"] == "candidate"]


def states(ran: Ran) -> list[str]:
    return [row["state"] for row in ran.rows()]


def test_open_updated_ended_and_back_again(lake: Path, state: str) -> None:
    assert states(scan(lake, state, FIRST)) == []
    ran = scan(lake, state, FIRST + timedelta(minutes=30), "--fail-on", "high")
    assert (states(ran), ran.code) == (["open"], 1)
    assert "1 new" in ran.err
    (opened,) = ran.rows()
    ran = scan(lake, state, FIRST + timedelta(minutes=90), "--fail-on", "low")
    assert (states(ran), ran.code, "1 updated" in ran.err) == (["open"], 1, True)
    assert ran.rows()[0]["id"] == opened["id"] and ran.rows()[0]["end"] > opened["end"]
    assert "1 unchanged" in scan(lake, state, FIRST + timedelta(minutes=90)).err
    ran = scan(lake, state, FIRST + timedelta(hours=5), "--fail-on", "low")
    assert (states(ran), ran.code) == (["ended"], 0)
    ran = scan(lake, state, SECOND + timedelta(hours=1), "--fail-on", "high")
    assert (states(ran), ran.code) == (["ended", "open"], 1)
    first, again = ran.rows()
    assert first["fingerprint"] == again["fingerprint"] == opened["fingerprint"]
    told = events(lake, state)
    assert [one for one in told if one[0] != "severity"] == [
        ("state", None, "open"), ("state", "open", "ended"), ("state", None, "open"), ("reopens", None, first["id"]),
    ]  # fmt: skip


def test_scans_every_so_often_know_what_one_scan_knows(lake: Path, state: str, tmp_path: Path) -> None:
    for hours in (1, 30, 51.5, 56):
        last = scan(lake, state, FIRST + timedelta(hours=hours))
    once = scan(lake, f"sqlite:///{tmp_path}/once.db", FIRST + timedelta(hours=56))
    assert last.rows() == once.rows()


def test_a_muted_problem_fails_nothing_and_files_nothing_until_its_time_is_over(
    lake: Path, state: str, tmp_path: Path
) -> None:
    own = ("--lake", lake, "--state", state)
    now = FIRST + timedelta(hours=1)
    (found,) = scan(lake, state, now).rows()
    ran = apilens(
        "mute", found["id"][:9], "--until", "30m", "--who", "kim", "--why", "known", "--now", now.isoformat(), *own
    )
    assert (ran.code, ran.err) == (0, "1 candidate changed\n"), ran.err
    assert "kim" in ran.out and found["fingerprint"] in ran.out
    plan = ("tickets", "plan", "--tracker", f"folder:{tmp_path}/t", "--include-ended", *own)
    assert "0 to create" in apilens(*plan).out
    later = scan(lake, state, now + timedelta(minutes=20), "--fail-on", "low")
    assert (states(later), later.code) == (["muted"], 0)
    assert apilens("queue", *own, "--output", "ndjson").rows()[0]["state"] == "muted"
    assert apilens("report", "--out", tmp_path / "r.html", *own).code == 0
    over = scan(lake, state, now + timedelta(minutes=40), "--fail-on", "low")
    assert (states(over), over.code) == (["open"], 1)
    assert [one for one in events(lake, state) if one[0] == "state"] == [
        ("state", None, "open"), ("state", "open", "muted"), ("state", "muted", "open"),
    ]  # fmt: skip
    apilens("mute", "--endpoint", "GET /p*", "--signal", "errors", "--until", "2027-01-01", *own)
    assert states(scan(lake, state, now + timedelta(minutes=40))) == ["muted"]
    assert apilens("mute", "--endpoint", "GET /p*", "--signal", "errors", "--lift", *own).code == 0
    assert states(scan(lake, state, now + timedelta(minutes=45))) == ["open"]
    listed = apilens("mute", *own, "--output", "json").json()["mutes"]
    assert [(one["endpoints"], one["standing"], one["why"]) for one in listed] == [
        ("*", False, "known"),
        ("GET /p*", False, None),
    ]


def test_a_mute_is_listed_as_standing_as_long_as_scans_heed_it(lake: Path, state: str) -> None:
    """The log ends in March: by its clock, not that of the wall, a week is not over."""
    own = ("--lake", lake, "--state", state)
    now = FIRST + timedelta(hours=1)
    scan(lake, state, now)
    apilens("mute", "--endpoint", "GET /pay", "--until", "7d", "--now", now.isoformat(), *own)
    assert states(scan(lake, state, SECOND + timedelta(hours=1))) == ["ended", "muted"]
    assert [one["standing"] for one in apilens("mute", *own, "--output", "json").json()["mutes"]] == [True]
    later = (now + timedelta(days=8)).isoformat()
    assert "over" in apilens("mute", *own, "--now", later).out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing", "--until", "7d"],
        ["--until", "7d"],
        ["--endpoint", "*"],
        ["--endpoint", "*", "--until", "2020-01-01"],
        ["--endpoint", "*", "--until", "soon"],
        ["--endpoint", "*", "--until", "7d", "--lift"],
        ["--endpoint", "*", "--signal", "nonsense", "--until", "7d"],
        ["x", "--endpoint", "*", "--until", "7d"],
    ],
)
def test_a_mute_that_cannot_be_meant_is_wrong_usage(arguments: list[str], lake: Path, state: str) -> None:
    scan(lake, state, FIRST)
    ran = apilens("mute", *arguments, "--lake", lake, "--state", state)
    assert (ran.code, ran.out) == (2, ""), (ran.out, ran.err)
    assert ran.err


# -- [detect] ----------------------------------------------------------------------------------------------------


def configured(tmp_path: Path, text: str) -> tuple[str, Path]:
    (tmp_path / "my.toml").write_text(text)
    return "--config", tmp_path / "my.toml"


NOW = FIRST + timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[detect.mutes]]\nendpoints = "GET /pay"\nuntil = 2026-04-01T00:00:00Z\n', ["muted"]),
        ('[[detect.mutes]]\nendpoints = "GET /list"\nuntil = 2026-04-01T00:00:00Z\n', ["open"]),
        ('[[detect.mutes]]\nsignals = ["latency"]\nuntil = 2026-04-01T00:00:00Z\n', ["open"]),
        ('[[detect.mutes]]\nuntil = 2026-03-05T10:30:00Z\n', ["open"]),
        ('[[detect.endpoints]]\nendpoints = "GET /pay"\nsensitivity = "off"\n', []),
        ('[[detect.endpoints]]\nservice = "other"\nsensitivity = "off"\n', ["open"]),
        ('[detect]\nsensitivity = "low"\n', ["open"]),
        ('[[detect.maintenance]]\nstart = 2026-03-05T09:00:00Z\nend = 2026-03-05T10:30:00Z\n', ["open"]),
        ('[[detect.maintenance]]\nstart = 2026-03-05T09:00:00Z\nend = 2026-03-05T10:45:00Z\n', []),
        ('[[detect.maintenance]]\nstart = 2026-03-05T09:00:00Z\nend = 2026-03-05T12:30:00Z\nendpoints = "GET /list"\n', ["open"]),
    ],
)  # fmt: skip
def test_the_configuration_says_what_is_meant_and_what_waits(
    text: str, expected: list[str], lake: Path, state: str, tmp_path: Path
) -> None:
    assert states(scan(lake, state, NOW, *configured(tmp_path, text))) == expected


def test_what_outlasts_its_maintenance_is_raised_then_and_says_so(lake: Path, state: str, tmp_path: Path) -> None:
    text = '[[detect.maintenance]]\nstart = 2026-03-05T10:00:00+01:00\nend = 2026-03-05T11:30:00+01:00\nlabel = "new disk"\n'
    (row,) = scan(lake, state, NOW, *configured(tmp_path, text)).rows()
    assert row["detected_at"][:16] == "2026-03-05T11:00"
    assert "new disk (2026-03-05 09:00 to 2026-03-05 10:30 UTC)" in row["explanation"]


def test_how_much_proof_is_asked_for_decides_which_windows_open() -> None:
    found = pl.DataFrame(
        [
            {"endpoint": endpoint, "signal": signal, "opens": log10_p <= (-5.5 if signal == "errors" else -7), "log10_p": log10_p}
            for endpoint in (0, 1)
            for signal, log10_p in (("errors", -4.2), ("errors", -6.0), ("errors", -9.0), ("latency", -6.0), ("latency", -9.0))
        ],
        schema=anomalies.ANOMALIES,
    )  # fmt: skip
    names = pl.DataFrame({"endpoint": [0, 1], "service": [None, "shop"], "method": "GET", "route": ["/a", "/b"]})

    def opens(**said: Any) -> list[bool]:
        return sensitised(found, names, Detect.model_validate(said), -7.0)["opens"].to_list()

    normal = [False, True, True, False, True]
    low, high = [False, False, True, False, False], [True, True, True, True, True]
    assert opens() == normal * 2
    assert opens(sensitivity="low") == low * 2
    assert opens(endpoints=[{"endpoints": "GET /a", "sensitivity": "high"}]) == high + normal
    assert (
        opens(endpoints=[{"service": "shop", "signals": ["errors"], "sensitivity": "off"}], sensitivity="low")
        == low + low[3:]
    )


def test_a_deployment_just_before_is_named(lake: Path, state: str, tmp_path: Path) -> None:
    marks = f'[[marks]]\ntime = {(FIRST - timedelta(minutes=12)).isoformat()}\nlabel = "pay 1.9"\n[[marks]]\ntime = 2026-03-05T06:00:00Z\nlabel = "old"\n'
    (row,) = scan(lake, state, NOW, *configured(tmp_path, marks)).rows()
    first = datetime.fromisoformat(row["first_affected_at"])
    after = round((first - FIRST).total_seconds() / 60) + 12  # of the first failed call, not of its five minutes
    assert f"{after} minutes after 'pay 1.9'" in row["explanation"]
    assert "old" not in row["explanation"]


def test_a_deployment_behind_the_five_minutes_in_which_it_began_is_not_what_it_began_after(
    lake: Path, state: str, tmp_path: Path
) -> None:
    (row,) = scan(lake, state, NOW).rows()
    start = datetime.fromisoformat(row["start"])
    for minutes, named in ((4, True), (5, False)):
        mark = f'[[marks]]\ntime = {(start + timedelta(minutes=minutes)).isoformat()}\nlabel = "pay 1.9"\n'
        (row,) = scan(lake, state, NOW, *configured(tmp_path, mark)).rows()
        assert ("after 'pay 1.9'" in row["explanation"]) is named, minutes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[detect]\nsensitivity = "loud"\n', ["detect.sensitivity", "'loud'", "'low', 'normal' or 'high'"]),
        ('[detect]\nsensitvity = "low"\n', ["'detect.sensitvity'", "did you mean 'sensitivity'"]),
        ('[[detect.endpoints]]\nsensitivity = "low"\nendpoint = "x"\n', ["detect.endpoints.0.endpoint", "did you mean 'endpoints'"]),
        ('[[detect.mutes]]\nendpoints = "*"\n', ["detect.mutes.0.until is missing"]),
        ('[[detect.mutes]]\nuntil = 2026-03-05T10:30:00\n', ["detect.mutes.0.until is 2026-03-05T10:30:00; expected a time with its zone, such as 2026-03-05T10:30:00Z"]),
        ('[[detect.mutes]]\nuntil = 2026-03-05T10:30:00Z\nsignals = ["slow"]\n', ["detect.mutes.0.signals.0", "'slow'", "'latency'"]),
        ('[[detect.maintenance]]\nstart = 2026-03-05T10:30:00Z\nend = 2026-03-05T10:30:00Z\n', ["detect.maintenance.0: end 2026-03-05T10:30:00+00:00 is not after start"]),
        ('[[metrics]]\nmatch = "x"\nlimit = 3\n', ["metrics.0.limit", "known keys"]),
    ],
)  # fmt: skip
def test_a_malformed_setting_names_file_key_and_what_was_expected(
    text: str, words: list[str], lake: Path, state: str, tmp_path: Path
) -> None:
    ran = apilens("scan", "--lake", lake, "--state", state, *configured(tmp_path, text))
    assert (ran.code, ran.out) == (2, "")
    assert all(word in ran.err for word in ["my.toml", *words]), ran.err
