"""`apilens feedback`, `triage` and `queue` from the outside: streams, exit codes, and what one leaves for the next."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from apilens.lake import open_lake
from apilens.lens import Lens
from apilens.objects import shown_url
from apilens.store import default_state, open_store
from apilens.window import Window
from commands import apilens
from people import MONDAY, candidate, candidates

HOSTILE = "\x1b[2J=cmd|x <b>bold</b> | `code` \u202e"
CONTEXT = """
[accounts]
acme = { consumers = ["app-01"], domains = ["acme.example"] }
[endpoints]
"POST /v1/orders/{id}/pay" = { core = true, revenue = true }
[owners]
payments = ["/v1/orders/*/pay"]
"""


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake without calls, with one candidate and three reported items."""
    path = tmp_path / "lake"
    open_lake(str(path), create=True)
    with open_store(default_state(str(path))) as store:
        store.save_candidates(candidates(candidate(title=f"pay: 502 {HOSTILE}")), MONDAY, Window())
    (tmp_path / "context.toml").write_text(CONTEXT)
    rows = [
        {"id": "T-100", "body": "POST /v1/orders/12/pay gives 502", "reporter": "dana@acme.example"},
        {"id": "T-2", "body": f"{HOSTILE} how do I get a key?", "title": HOSTILE, "reporter": HOSTILE},
        {"id": "T-3", "body": "see T-100"},
    ]
    lines = [json.dumps({"channel": "ticket", "created_at": "2026-03-09T11:00:00Z", **row}) for row in rows]
    (tmp_path / "items.ndjson").write_text("\n".join(lines))
    assert apilens("feedback", "import", tmp_path / "items.ndjson", "--lake", path).code == 0
    return path


def test_triage_says_what_was_linked_and_the_same_again(lake: Path) -> None:
    first = apilens("triage", "--lake", lake, "--now", "2026-03-10")
    assert first.code == 0
    assert first.out.endswith("feedback 3 items: 2 linked, 0 to confirm, 1 no trace (1 questions); 1 merged\n")
    again = apilens("triage", "--lake", lake, "--now", "2026-03-10", "--output", "json").json()
    assert again["changed"] == 0
    assert (again["items"], again["linked"] + again["to_confirm"] + again["no_trace"]) == (3, 3)


def test_what_people_confirm_is_judged_as_of_the_moment_the_triage_was_given(lake: Path) -> None:
    apilens("triage", "--lake", lake, "--now", "2026-03-10")
    said = apilens("links", "confirm", "ticket:T-2", "--lake", lake).err
    assert said.endswith("linked anew as of 2026-03-10 00:00Z\n")
    with open_store(default_state(str(lake))) as store:
        assert store.settings()["now"].startswith("2026-03-10T00:00")
    apilens("triage", "--lake", lake)
    assert "as of 2026-03-10" not in apilens("links", "confirm", "ticket:T-2", "--lake", lake).err


def test_who_decides_has_a_number_where_the_machine_knows_no_name(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run under a user that no password file has."""
    monkeypatch.delenv("APILENS_WHO", raising=False)
    monkeypatch.setattr("getpass.getuser", mock.Mock(side_effect=KeyError("uid not found: 12345")))
    assert apilens("queue", "set", "pay-1", "--effort", "2", "--lake", lake).code == 0
    with open_store(default_state(str(lake))) as store:
        assert store.decisions("effort")["who"].to_list() == [f"user {os.getuid()}"]


def test_links_come_as_one_object_a_line(lake: Path) -> None:
    rows = apilens("triage", "--lake", lake, "--output", "ndjson").rows()
    assert [row["feedback_id"] for row in rows] == ["T-100", "T-2", "T-3"]
    assert set(rows[0]) == {"channel", "feedback_id", "candidate_id", "confidence", "band", "reasons"}
    assert rows[1]["candidate_id"] is None


def test_queue_ranks_with_the_context_that_triage_was_given(lake: Path, tmp_path: Path) -> None:
    apilens("triage", "--lake", lake, "--context", tmp_path / "context.toml")
    first = apilens("queue", "--lake", lake, "--output", "json").json()["queue"][0]
    assert (first["owner"], first["hit"], first["told"], first["silent"]) == ("payments", 3, 2, 2)
    assert "revenue" in first["why"]
    apilens("triage", "--lake", lake)
    assert apilens("queue", "--lake", lake, "--output", "ndjson").rows()[0]["owner"] == "payments"


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (["queue"], "table"),
        (["queue"], "markdown"),
        (["triage"], "table"),
        (["feedback", "list"], "table"),
        (["feedback", "show", "ticket:T-2"], "table"),
    ],
)
def test_hostile_text_stands_on_the_screen_instead_of_acting(command: list[str], output: str, lake: Path) -> None:
    ran = apilens(*command, "--lake", lake, "--output", output)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    if output == "markdown":
        assert "<b>" not in ran.out
        assert all(line.replace("\\|", "").count("|") == 11 for line in ran.out.splitlines())


def test_the_queue_names_its_problems_and_what_to_type_next(lake: Path) -> None:
    first = apilens("queue", "--lake", lake)
    assert re.search(r" pay-1 +\w+ \+", first.out), first.out
    assert (
        f"reports are not linked yet, and how many consumers there are at all is not known; next: apilens triage --lake {lake}"
        in first.err
    )
    assert f"why: apilens explain pay-1 --lake {lake}; file them: apilens tickets plan" in first.err
    apilens("triage", "--lake", lake)
    assert "not linked yet" not in apilens("queue", "--lake", lake).err
    assert apilens("queue", "--lake", lake, "--output", "json").err == ""


def test_a_password_in_the_url_of_the_state_is_not_printed() -> None:
    assert shown_url("postgresql+psycopg://ann:se/cr:et@host/x") == "postgresql+psycopg://ann:***@host/x"
    assert shown_url("sqlite:///a:b@c.db") == "sqlite:///a:b@c.db"
    assert shown_url("postgresql://h/x?user=a&password=se/cret&x=1") == "postgresql://h/x?user=a&password=***&x=1"


def test_one_item_is_shown_with_the_questions_to_send_back(lake: Path) -> None:
    shown = apilens("feedback", "show", "ticket:T-100", "--lake", lake)
    assert "questions: What did you expect to happen?" in shown.out
    whole = apilens("feedback", "show", "ticket:T-100", "--lake", lake, "--output", "json").json()
    assert whole["missing"] == ["steps", "environment", "expected"]
    missing = apilens("feedback", "show", "ticket:T-9", "--lake", lake)
    assert (missing.code, missing.out) == (3, "")
    assert "apilens feedback list" in missing.err


def test_items_are_listed_for_machines_too(lake: Path) -> None:
    rows = apilens("feedback", "list", "--lake", lake, "--output", "ndjson").rows()
    assert rows == apilens("feedback", "list", "--lake", lake, "--output", "json").json()["items"]
    assert [row["category"] for row in rows] == ["dependency", "question", None]


def test_triage_without_a_lake_says_how_to_make_one(tmp_path: Path) -> None:
    ran = apilens("triage", "--lake", tmp_path / "none")
    assert ran.code == 3
    assert "apilens ingest" in ran.err


def test_a_wrong_context_is_a_usage_error_and_keeps_the_links(lake: Path, tmp_path: Path) -> None:
    apilens("triage", "--lake", lake)
    (tmp_path / "bad.toml").write_text("[owner]\nx = []\n")
    ran = apilens("triage", "--lake", lake, "--context", tmp_path / "bad.toml")
    assert ran.code == 2
    assert "did you mean 'owners'" in ran.err
    assert apilens("queue", "--lake", lake, "--context", tmp_path / "gone.toml").code == 2
    assert apilens("queue", "--lake", lake, "--output", "json").json()["queue"][0]["told"] == 2


def test_state_may_live_elsewhere(lake: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/team.db"
    apilens("feedback", "import", tmp_path / "items.ndjson", "--lake", lake, "--state", url)
    assert len(apilens("queue", "--lake", lake, "--state", url, "--output", "json").json()["queue"]) == 3


@pytest.mark.parametrize("command", [["queue"], ["feedback", "list"], ["links"], ["report"], ["tickets", "plan"]])
def test_a_mistyped_state_is_no_empty_queue_and_makes_no_file(command: list[str], lake: Path, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "r.html")] if command == ["report"] else []
    options += ["--tracker", f"folder:{tmp_path}/t"] if command[0] == "tickets" else []
    ran = apilens(*command, *options, "--lake", lake, "--state", f"sqlite:///{tmp_path}/taem.db")
    assert (ran.code, ran.out) == (3, "")
    assert "no state database here" in ran.err
    assert not (tmp_path / "taem.db").exists()


@pytest.mark.parametrize("url", ["taem.db", "mysql://x/y", "postgresql://host:port/x"])
def test_a_malformed_state_is_wrong_usage(url: str, lake: Path) -> None:
    assert apilens("queue", "--lake", lake, "--state", url).code == 2


def test_links_are_made_where_something_came_in_since(lake: Path, tmp_path: Path) -> None:
    first = apilens("links", "--lake", lake, "--output", "ndjson")
    assert "linked anew" in first.err
    assert {row["feedback_id"]: row["band"] for row in first.rows()} == {"T-100": "auto", "T-2": "none", "T-3": "auto"}
    again = apilens("links", "--lake", lake, "--output", "json")
    assert (again.err, again.json()["links"]) == ("", first.rows())
    assert "names status 502" in apilens("links", "--lake", lake).out


def test_what_people_decide_about_a_link_stands(lake: Path) -> None:
    found = {
        row["feedback_id"]: row["candidate_id"] for row in apilens("links", "--lake", lake, "--output", "ndjson").rows()
    }
    name = found["T-100"]

    def now() -> dict[str, tuple[str | None, list[str]]]:
        rows = apilens("links", "--lake", lake, "--output", "ndjson").rows()
        return {row["feedback_id"]: (row["candidate_id"], row["reasons"]) for row in rows}

    assert apilens("links", "reject", "ticket:T-100", name, "--who", "kim", "--lake", lake).code == 0
    assert now()["T-100"][0] is None
    assert now()["T-3"][0] is None  # it only repeated the other
    assert apilens("links", "confirm", "ticket:T-2", name, "--who", "kim", "--lake", lake).code == 0
    assert now()["T-2"] == (name, ["confirmed by kim"])
    assert apilens("links", "confirm", "ticket:T-2", "--who", "lee", "--lake", lake).code == 0
    assert now()["T-2"] == (None, ["lee says so"])
    apilens("triage", "--lake", lake)
    assert now()["T-2"][0] is None


@pytest.mark.parametrize(("item", "candidate", "said"), [("ticket:T-9", "", "apilens feedback list"), ("ticket:T-2", "pay-2", "did you mean pay-1?")])  # fmt: skip
def test_a_decision_about_what_is_not_there_is_refused(item: str, candidate: str, said: str, lake: Path) -> None:
    ran = apilens("links", "reject", item, candidate or "x", "--lake", lake)
    assert (ran.code, said in ran.err) == (3, True)


def test_forget_reaches_feedback_and_candidates(lake: Path, tmp_path: Path) -> None:
    apilens("triage", "--lake", lake, "--context", tmp_path / "context.toml")
    dry = apilens("lake", "forget", "--consumer", "app-01", "--lake", lake, "--dry-run")
    assert "1 feedback items would go, 1 candidates" in dry.out
    done = apilens("lake", "forget", "--consumer", "app-01", "--lake", lake)
    assert "1 feedback items forgotten, 1 candidates" in done.out
    assert [row["id"] for row in apilens("feedback", "list", "--lake", lake, "--output", "ndjson").rows()] == [
        "T-2",
        "T-3",
    ]


def test_whose_call_a_report_names_is_known_until_it_is_forgotten(lake: Path, tmp_path: Path) -> None:
    calls = ["timestamp,method,path,status,duration_ms,application_id,request_id"]
    calls += [f"2026-03-09T11:00:0{n}Z,POST,/v1/orders/{n}/pay,502,9.0,app-0{n},req-a1b2c3d{n}" for n in (1, 2)]
    (tmp_path / "log.csv").write_text("\n".join(calls) + "\n")
    assert apilens("ingest", tmp_path / "log.csv", "--lake", lake, "--final").code == 0
    said = {"channel": "mail", "id": "M-1", "created_at": "2026-03-09T11:30:00Z", "reporter": "x@nobody.example", "body": "req-a1b2c3d2 failed"}  # fmt: skip
    (tmp_path / "mail.ndjson").write_text(json.dumps(said))
    apilens("feedback", "import", tmp_path / "mail.ndjson", "--lake", lake)
    apilens("triage", "--lake", lake)
    (problem,) = (row for row in apilens("queue", "--lake", lake, "--output", "ndjson").rows() if row["id"] == "pay-1")
    assert problem["silent_consumers"] == ["app-01", "app-03"]
    apilens("lake", "forget", "--consumer", "app-02", "--lake", lake)
    with open_store(default_state(str(lake))) as store:
        assert "app-02" not in json.dumps(store.settings())


def test_channel_and_zone_fill_what_records_leave_out(tmp_path: Path) -> None:
    source = tmp_path / "chat.csv"
    source.write_text("id,created_at\n1,2026-03-09 12:00\n")
    apilens("feedback", "import", source, "--lake", tmp_path / "l", "--channel", "chat", "--tz", "Europe/Berlin")
    (row,) = apilens("feedback", "list", "--lake", tmp_path / "l", "--output", "ndjson").rows()
    assert row["channel"] == "chat"
    assert row["created_at"].startswith("2026-03-09T11:00:00") or row["created_at"].startswith("2026-03-09 11:00:00")


def test_silent_lists_whom_to_tell_and_how_well_they_are_known(lake: Path, tmp_path: Path) -> None:
    apilens("triage", "--lake", lake, "--context", tmp_path / "context.toml")
    shown = apilens("queue", "--silent", "--lake", lake).out
    assert "app-02, app-03" in shown
    assert "95%" in shown
    rows = apilens("queue", "--silent", "--lake", lake, "--output", "ndjson").rows()
    assert [(row["hit"], row["silent"], row["silent_consumers"]) for row in rows] == [(3, 2, ["app-02", "app-03"])]


def test_who_told_and_may_be_among_the_silent_is_said(lake: Path, tmp_path: Path) -> None:
    said = {"channel": "mail", "id": "M-1", "created_at": "2026-03-09T11:00:00Z", "reporter": "x@nobody.example", "body": "POST /v1/orders/7/pay gives 502"}  # fmt: skip
    (tmp_path / "mail.ndjson").write_text(json.dumps(said))
    apilens("triage", "--lake", lake, "--context", tmp_path / "context.toml")
    before = apilens("queue", "--silent", "--lake", lake).out
    apilens("feedback", "import", tmp_path / "mail.ndjson", "--lake", lake)
    apilens("triage", "--lake", lake, "--context", tmp_path / "context.toml")
    after = apilens("queue", "--silent", "--lake", lake).out
    assert "app-02, app-03; 2 who told speak for no consumer that is known" in after
    assert "1 who told speaks" in before


def test_rules_named_on_the_command_line_count_in_queue_links_and_tickets(lake: Path, tmp_path: Path) -> None:
    apilens("triage", "--lake", lake)
    (tmp_path / "rules.toml").write_text(
        '[[rules]]\npattern = "gives 502"\ncategory = "question"\nseverity = "critical"\n'
    )
    rules = ("--config", tmp_path / "rules.toml", "--lake", lake)

    def why(*config: object) -> str:
        return str(apilens("queue", *config, "--output", "ndjson").rows()[0]["why"])

    assert "severity +31.2" in why(*rules)
    assert "severity +31.2" not in why("--lake", lake)
    filing = ("tickets", "plan", "--tracker", f"folder:{tmp_path / 'tickets'}")
    judged = [
        apilens(*filing, *config, "--output", "json").json()["plan"][0]["priority"]
        for config in (rules, ("--lake", lake))
    ]
    assert judged[0] == apilens("queue", *rules, "--output", "ndjson").rows()[0]["priority"] != judged[1]
    assert f"--config {tmp_path / 'rules.toml'}" in apilens(*filing, *rules).err
    apilens("tickets", "apply", "--tracker", f"folder:{tmp_path / 'tickets'}", *rules)
    (ticket,) = (tmp_path / "tickets").iterdir()
    assert why(*rules) in ticket.read_text()
    assert "linked anew" in apilens("links", *rules).err
    assert "linked anew" not in apilens("links", *rules).err


def test_the_queue_names_what_causes_a_problem_and_what_should_be_a_ticket(lake: Path, tmp_path: Path) -> None:
    with open_store(default_state(str(lake))) as store:
        both = [candidate(title="pay"), candidate("cart", title="cart", endpoints=["GET /v1/carts/{id}"], start=MONDAY)]
        store.save_candidates(candidates(*both), MONDAY, Window())
    said = [{"id": f"C-{n}", "channel": "chat", "created_at": "2026-03-09T11:00:00Z", "reporter": f"p{n}@x.example", "body": "GET /v1/carts/7 gives 502"} for n in range(3)]  # fmt: skip
    (tmp_path / "chat.ndjson").write_text("\n".join(map(json.dumps, said)))
    apilens("feedback", "import", tmp_path / "chat.ndjson", "--lake", lake)
    apilens("related", "confirm", "pay-1", "caused_by", "cart-1", "--who", "kim", "--lake", lake)
    apilens("triage", "--lake", lake)
    rows = {row["id"]: row for row in apilens("queue", "--lake", lake, "--output", "ndjson").rows()}
    assert rows["pay-1"]["related"] == ["caused by cart-1 (kim says so)"]
    assert rows["cart-1"]["related"] == ["causes pay-1 (kim says so)"]
    assert (rows["pay-1"]["escalate"], rows["cart-1"]["escalate"][0]) == ([], "3 people wrote about it")
    shown = apilens("queue", "--lake", lake).out
    assert "caused by cart-1 (kim says so)" in shown
    assert "should be a ticket: 3 people wrote about it" in shown


def test_an_item_is_shown_with_its_lines_and_none_of_them_passes_for_a_field(lake: Path, tmp_path: Path) -> None:
    said = {
        "id": "M-1",
        "channel": "mail",
        "created_at": "2026-03-09T11:00:00Z",
        "body": "It fails.\nstatus: closed\n\x1b[2J",
    }
    (tmp_path / "mail.ndjson").write_text(json.dumps(said))
    apilens("feedback", "import", tmp_path / "mail.ndjson", "--lake", lake)
    shown = apilens("feedback", "show", "mail:M-1", "--lake", lake).out
    assert "body: It fails.\n  status: closed\n  " in shown
    assert "\x1b" not in shown


def test_a_priority_that_a_person_sets_stands_until_its_time(lake: Path) -> None:
    apilens("triage", "--lake", lake)
    (problem,) = (
        row for row in apilens("queue", "--lake", lake, "--output", "ndjson").rows() if row["kind"] == "candidate"
    )
    words = ["--priority", "P5", "--effort", "2", "--why", "agreed", "--until", "2026-04-01", "--who", "kim"]
    assert apilens("queue", "set", problem["id"], *words, "--lake", lake).code == 0

    def now(at: str) -> Any:
        rows = apilens("queue", "--lake", lake, "--now", at, "--output", "ndjson").rows()
        return next(row for row in rows if row["id"] == problem["id"])

    held, over = now("2026-03-31T00:00Z"), now("2026-04-02T00:00Z")
    assert (held["priority"], held["override"]) == ("P5", "kim until 2026-04-01 00:00Z: agreed")
    assert (over["priority"] != "P5", over["override"]) == (True, None)
    assert held["rice"] == problem["rice"] / 2
    shown = apilens("queue", "--role", "manager", "--sort", "moscow", "--now", "2026-03-31T00:00Z", "--lake", lake).out
    assert "kim until 2026-04-01" in shown
    assert apilens("queue", "set", problem["id"], "--lake", lake).code == 2
    assert apilens("queue", "set", "nothing", "--priority", "P1", "--lake", lake).code == 3


@pytest.mark.parametrize(
    ("role", "heading"), [("analyst", "why"), ("lead", "endpoints"), ("support", "who to tell"), ("manager", "moscow")]
)
def test_each_role_has_columns_of_its_own(role: str, heading: str, lake: Path) -> None:
    shown = apilens("queue", "--role", role, "--sort", "rice", "--output", "markdown", "--lake", lake).out
    assert f"| {heading} |" in shown.partition("\n")[0]


def test_what_a_person_sets_is_kept_and_shown_with_who_says_it(lake: Path) -> None:
    ran = apilens(
        "feedback", "set", "ticket:T-100", "--category", "question", "--owner", "desk", "--who", "kim", "--lake", lake
    )
    assert ran.code == 0
    shown = apilens("feedback", "show", "ticket:T-100", "--lake", lake, "--output", "json").json()
    assert (shown["category"], shown["category_reason"], shown["owner"]) == ("question", "kim says so", "desk")
    assert apilens("feedback", "set", "ticket:T-100", "--lake", lake).code == 2
    assert apilens("feedback", "set", "ticket:T-9", "--owner", "x", "--lake", lake).code == 3
    assert "labelled items" in apilens("feedback", "train", "--lake", lake).err


def test_the_model_is_trained_on_the_types_of_trackers_and_said_how_good_it_is(tmp_path: Path) -> None:
    words = {"Bug": "wobble broke", "Question": "whereabouts please", "New Feature": "mauve gadget"}
    rows = [{"id": f"{kind}{n}", "channel": "t", "created_at": "2026-03-09", "type": kind, "body": f"{text} {n}"} for kind, text in words.items() for n in range(20)]  # fmt: skip
    rows.append({"id": "x", "channel": "t", "created_at": "2026-03-09", "body": "one more mauve"})
    (tmp_path / "a.ndjson").write_text("\n".join(json.dumps(row) for row in rows))
    apilens("feedback", "import", tmp_path / "a.ndjson", "--lake", tmp_path / "l")
    assert (
        apilens("feedback", "train", "--lake", tmp_path / "l").out
        == "trained on 60 labelled items; macro-F1 1.00 in five-fold validation\n"
    )
    shown = apilens("feedback", "show", "t:x", "--lake", tmp_path / "l", "--output", "json").json()
    assert (shown["category"], "reads like 60" in shown["category_reason"]) == ("enhancement", True)


def test_the_rules_triage_was_given_hold_for_what_reads_the_state_later(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "team.toml").write_text("[[rules]]\nchannel = 'ticket'\nowner = 'pay'\n")
    (tmp_path / "other.toml").write_text("[[rules]]\nchannel = 'ticket'\nowner = 'desk'\n")

    def owner(*more: object) -> Any:
        return apilens("feedback", "show", "ticket:T-100", "--lake", lake, "--output", "json", *more).json()["owner"]

    assert owner() is None
    assert apilens("triage", "--lake", lake, "--config", tmp_path / "team.toml").code == 0
    assert (owner(), owner("--config", tmp_path / "other.toml")) == ("pay", "desk")


def test_rules_of_the_configuration_are_checked_and_used(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apilens.toml").write_text("[[rules]]\npattern = 'gives (502'\nowner = 'pay'\n")
    assert "no regular expression" in apilens("feedback", "list", "--lake", lake).err
    (tmp_path / "apilens.toml").write_text("[[rules]]\npattern = 'gives 502'\nowner = 'pay'\nseverity = 'high'\n")
    rows = {row["id"]: row for row in apilens("feedback", "list", "--lake", lake, "--output", "ndjson").rows()}
    assert (rows["T-100"]["owner"], rows["T-100"]["owner_reason"], rows["T-2"]["owner"]) == ("pay", "rule 1", None)


def test_related_problems_are_decided_by_people(lake: Path) -> None:
    with open_store(default_state(str(lake))) as store:
        store.save_candidates(candidates(candidate(), candidate("search", endpoints=["GET /s"])), MONDAY, Window())
    assert "proposed" in apilens("related", "--lake", lake).out
    assert apilens("related", "confirm", "search-1", "blocks", "pay-1", "--who", "kim", "--lake", lake).code == 0
    assert apilens("related", "reject", "search-1", "caused_by", "pay-1", "--who", "kim", "--lake", lake).code == 0
    rows = apilens("related", "--lake", lake, "--output", "ndjson").rows()
    assert [(row["kind"], row["verdict"]) for row in rows] == [("blocks", "confirmed"), ("caused_by", "rejected")]
    assert apilens("related", "--lake", lake, "--output", "json").json()["related"] == rows
    assert "did you mean pay-1?" in apilens("related", "confirm", "pay-2", "blocks", "search-1", "--lake", lake).err


def test_escalations_are_listed_in_every_form(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "c.ndjson").write_text(
        '{"id": "1", "channel": "chat", "created_at": "2026-03-09", "body": "production is down"}'
    )
    apilens("feedback", "import", tmp_path / "c.ndjson", "--lake", lake)
    assert "severe" in apilens("feedback", "escalate", "--lake", lake).out
    rows = apilens("feedback", "escalate", "--lake", lake, "--output", "ndjson").rows()
    assert [row["id"] for row in rows] == ["1"]
    assert apilens("feedback", "escalate", "--lake", lake, "--output", "json").json()["escalations"] == rows
    assert 'label: "Steps"' in apilens("feedback", "template", "github").out


def test_python_sees_the_same_links_pairs_and_escalations(lake: Path) -> None:
    log = lake.parent / "a.log"
    log.write_text('192.0.2.1 - - [09/Mar/2026:10:00:00 +0000] "GET /s HTTP/1.1" 200 5 "-" "-"\n')
    apilens("ingest", log, "--lake", lake, "--final")
    apilens("triage", "--lake", lake)
    lens = Lens(str(lake))
    for name, command in (("links", ["links"]), ("related", ["related"]), ("escalations", ["feedback", "escalate"])):
        rows = apilens(*command, "--lake", lake, "--output", "ndjson").rows()
        assert getattr(lens, name)().height == len(rows)
    assert lens.links()["feedback_id"].to_list() != []
