"""Each problem is filed once, however often, from however many processes, and whoever dies on the way."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from apilens.cli.tickets import tickets as command
from apilens.errors import OutboundError, UsageError
from apilens.feedback.history import HISTORY
from apilens.pipeline import tickets
from apilens.schema import LINKS
from apilens.store import Filing, open_store
from apilens.store.store import DUPLICATES, SPEAKERS, TICKETS
from apilens.trackers import TRACKERS, Ticket, open_tracker
from apilens.trackers.folder import Folder
from apilens.trackers.outbox import deliver
from apilens.trackers.plan import PLAN, plan, plan_hash
from apilens.trackers.ticket import Section
from apilens.triage.next_steps import next_steps
from apilens.window import Window
from commands import apilens
from people import HOUR, MONDAY, candidate, candidates, item, items
from processes import processes

HOSTILE = "\x1b[31m<script>alert(1)</script> ](http://evil.example) | # *x* `y` @all\n\n# not a heading \u202e"


def file_some(url: str, *rows: dict[str, Any]) -> None:
    with open_store(url) as store:
        store.save_candidates(candidates(*rows), MONDAY, Window())


def apply(url: str, folder: Path, **given: Any) -> tickets.Filed:
    asked: dict[str, Any] = {"include_ended": False, "expected": None, "now": MONDAY + 20 * HOUR, **given}
    return tickets.apply_tickets(lake="unused", state=url, tracker=f"folder:{folder}", **asked)


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--state", url], standalone_mode=False)


def tickets_of(*rows: tuple[str, str, datetime, datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        [(key, fingerprint, start, end, None, MONDAY) for key, fingerprint, start, end in rows],
        schema=TICKETS,
        orient="row",
    )


# -- plan


def test_only_open_candidates_are_planned_unless_ended_ones_are_asked_for() -> None:
    rows = candidates(candidate(), candidate("old", state="ended"))
    assert plan(rows, tickets_of(), include_ended=False)["candidate_id"].to_list() == ["pay-1"]
    assert set(plan(rows, tickets_of(), include_ended=True)["candidate_id"]) == {"pay-1", "old-1"}


def test_the_same_problem_within_the_reopen_window_is_the_same_ticket_and_later_a_new_one() -> None:
    week = timedelta(days=7)
    first = candidate()
    soon = candidate(id="pay-2", start=first["end"] + week)
    late = candidate(id="pay-3", start=soon["end"] + week + timedelta(seconds=1))
    made = plan(candidates(late, soon, first), tickets_of(), include_ended=True)
    assert made.schema == PLAN
    assert made.select("candidate_id", "action", "ticket").rows() == [
        ("pay-1", "create", "pay-1"),
        ("pay-2", "keep", "pay-1"),
        ("pay-3", "create", "pay-3"),
    ]


def test_a_candidate_whose_start_moved_keeps_its_ticket() -> None:
    row = candidate()
    filed = tickets_of(("pay-1", row["fingerprint"], row["start"], row["end"]))
    moved = candidate(id="pay-other", start=row["start"] - HOUR)
    assert plan(candidates(moved), filed, include_ended=False)["action"].to_list() == ["keep"]


def test_the_hash_of_a_plan_changes_only_with_what_it_would_create() -> None:
    one = plan(candidates(candidate()), tickets_of(), include_ended=False)
    again = plan(candidates(candidate(observed=0.9, title="other")), tickets_of(), include_ended=False)
    more = plan(candidates(candidate(), candidate("cart")), tickets_of(), include_ended=False)
    assert plan_hash(one) == plan_hash(again) != plan_hash(more)


def test_the_plan_is_in_the_order_of_the_queue_and_with_its_severity(state_url: str, tmp_path: Path) -> None:
    few = candidate("few", severity="low", affected_consumers=[], consumers_hit=0, start=MONDAY)
    file_some(state_url, few, candidate("many", severity="medium", observed=0.9, start=MONDAY + HOUR))
    queue = apilens("queue", "--state", state_url, "--output", "json").json()["queue"]
    asked = ("tickets", "plan", "--tracker", f"folder:{tmp_path}/t", "--state", state_url)
    made = apilens(*asked, "--output", "json").json()
    judged = [(row["id"], row["priority"], row["severity"]) for row in queue]
    assert [(row["candidate_id"], row["priority"], row["severity"]) for row in made["plan"]] == judged
    assert [(key, severity) for key, _, severity in judged] == [("many-1", "critical"), ("few-1", "low")]
    assert f"tickets apply --tracker folder:{tmp_path}/t --plan {made['hash']}" in apilens(*asked).err


@pytest.mark.parametrize(
    "asked", ["queue", "queue --silent", "queue --output markdown", "tickets plan --tracker folder:x"]
)
def test_rows_name_their_environment_where_there_are_several(state_url: str, asked: str) -> None:
    def shown() -> list[str]:
        return re.findall(r"\b(environment|prod|staging)\b", apilens(*asked.split(), "--state", state_url).out)

    file_some(state_url, candidate("a"), candidate("b"))
    assert shown() == []
    file_some(state_url, candidate("a"), candidate("b", environment="staging"))
    assert sorted(shown()) == ["environment", "prod", "staging"]


@pytest.mark.parametrize(
    ("state", "in_queue", "in_ticket"),
    [
        ("open", "pay: 502, OPEN since 03-09 10:00Z", "open, since 2026-03-09 10:00Z"),
        ("ended", "pay: 502, ended 03-09 12:00Z after 2 h", "ended, began 2026-03-09 10:00Z"),
    ],
)
def test_what_has_ended_is_not_said_to_have_ended_when_it_began(
    state_url: str, tmp_path: Path, state: str, in_queue: str, in_ticket: str
) -> None:
    file_some(state_url, candidate(state=state))
    assert in_queue in apilens("queue", "--state", state_url).out
    apply(state_url, tmp_path / "out", include_ended=True)
    (path,) = (tmp_path / "out").iterdir()
    assert f"| State | {in_ticket} |" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unit": "ratio", "observed": 0.4946, "expected": 0.00004}, "49 %, expected <0.01 %"),
        ({"unit": "ms", "observed": 2979.0, "expected": 829.0}, "3 s, expected 829 ms"),
        ({"unit": "cores", "observed": 3.25, "expected": 1.0}, "3.25 cores, expected 1 cores"),
    ],
)
def test_a_ticket_measures_as_its_title_and_the_report_do(
    given: dict[str, Any], said: str, state_url: str, tmp_path: Path
) -> None:
    file_some(state_url, candidate(**given))
    apply(state_url, tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    assert f"| Measured | {said}, of 2,000 calls |" in path.read_text(encoding="utf-8").replace("\\", "")


# -- the folder


def test_a_ticket_says_what_happened_who_is_silent_and_what_was_reported(state_url: str, tmp_path: Path) -> None:
    file_some(
        state_url, candidate(hint={"status": "502", "upstream": "10.0.4.12:8080", "consumer": None, "node": None})
    )
    link = pl.DataFrame([("ticket", "T-1", "pay-1", 1.0, "auto", ["names status 502"])], schema=LINKS, orient="row")
    with open_store(state_url) as store:
        store.save_items(items(item(body="it fails", account="app-01")), pl.DataFrame(schema=HISTORY), MONDAY)
        store.save_links(link, pl.DataFrame(schema=DUPLICATES), pl.DataFrame(schema=SPEAKERS), MONDAY)
    apply(state_url, tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    text = path.read_text(encoding="utf-8")
    for said in (
        "pay: 502",
        "5 %, expected 0.2 %",
        "3 hit, 1 told, 2 silent",
        "app-02",
        "it fails",
        "10.0.4.12:8080",
        "Look at the upstream 10.0.4.12:8080: its log from 2026-03-09 10:00:42 UTC on",
        "apilens trace req-0001-abcdef",
        "apilens explain pay-1",
    ):
        assert said in text.replace("\\", ""), said
    assert text.index("What happened") < text.index("| Priority |") < text.index("What to do next")
    assert "req-0001-abcdef" in text


def test_hostile_text_stays_text_in_the_file(tmp_path: Path) -> None:
    ticket = Ticket("x", "abc", HOSTILE, (("Owner", HOSTILE),), (Section("Reports", (HOSTILE, HOSTILE)),))
    text = Path(Folder(str(tmp_path)).create(ticket)).read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>" not in text
    assert re.search(r"(?<!\\)\]\(", text) is None
    assert [line for line in text.splitlines() if line.startswith("#")] == [text.splitlines()[0], "## Reports"]
    assert "@all" not in text


@pytest.mark.parametrize("place", ["node", "upstream"])
@pytest.mark.parametrize(
    ("observed", "said"), [(0.6, "Ask whether calls reach the gateway"), (9.0, "See who calls more")]
)
def test_missing_or_many_calls_are_no_reason_to_take_a_node_out_of_service(
    place: str, observed: float, said: str
) -> None:
    hint = {"status": None, "upstream": None, "consumer": None, "node": None, place: "edge-1"}
    row = candidate(signal="traffic", unit="calls", hint=hint, observed=observed, expected=3.5)
    assert next_steps(row)[0].startswith(said)


@pytest.mark.parametrize("signal", ["system", "log_gap", "clock_skew"])
def test_a_full_database_or_a_log_that_stopped_is_no_reason_either(signal: str) -> None:
    hint = {"status": None, "upstream": None, "consumer": None, "node": "db-1"}
    said = " ".join(next_steps(candidate(signal=signal, unit="ratio", hint=hint)))
    assert "out of service" not in said
    assert ("See what uses it up on db-1" in said) == (signal == "system")


@pytest.mark.parametrize("request_id", ["$(touch x)", "a; rm -rf ~", "it's `id`", "--lake=/etc", "a\nb", "a@all", ""])
def test_a_command_names_no_request_id_that_a_shell_or_a_reader_would_change(request_id: str) -> None:
    def traced(*ids: str) -> list[str]:
        return [step for step in next_steps(candidate(request_ids=list(ids))) if "apilens trace" in step]

    assert traced(request_id) == []
    (told,) = traced(request_id, "7f3a:req_0-1")
    assert told.endswith(": apilens trace 7f3a:req_0-1")


@pytest.mark.parametrize("name", ["../../etc/x", "a" * 5000, "", "a/b\0", "CON", "ä"])
def test_a_file_name_comes_from_fingerprint_and_id_and_stays_in_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    path = Path(Folder(str(folder)).create(Ticket(name, name, "t", (), ())))
    assert path.parent == folder
    assert path.name.isascii()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_file_that_is_there_is_never_written_again(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    path = Path(folder.create(Ticket("x", "abc", "one", (), ())))
    path.write_text("edited by hand")
    folder.create(Ticket("x", "abc", "two", (), ()))
    assert path.read_text() == "edited by hand"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unknown_tracker_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="did you mean folder:out"):
        open_tracker("foldr:out")
    with pytest.raises(UsageError, match="does not say where"):
        open_tracker("folder")


@pytest.mark.parametrize("kind", sorted(TRACKERS))
def test_each_tracker_finds_what_it_created_and_nothing_else(kind: str, tmp_path: Path) -> None:
    tracker = open_tracker(f"{kind}:{tmp_path / 'out'}")
    ticket = Ticket("x", "abc", "t", (("a", "b"),), (Section("s", ("l",)),))
    assert tracker.find(ticket) is None
    assert tracker.create(ticket) == tracker.find(ticket)
    assert tracker.find(Ticket("y", "abc", "t", (), ())) is None
    assert tracker.settle_s > 0
    assert Ticket.of(json.loads(json.dumps(ticket.payload()))) == ticket


# -- apply


def test_applying_again_adds_nothing_and_a_deleted_ticket_stays_deleted(state_url: str, tmp_path: Path) -> None:
    file_some(state_url, candidate(), candidate("cart"))
    assert apply(state_url, tmp_path / "out").outcomes["outcome"].to_list() == ["created", "created"]
    assert apply(state_url, tmp_path / "out").outcomes.is_empty()
    next((tmp_path / "out").iterdir()).unlink()
    assert apply(state_url, tmp_path / "out").outcomes.is_empty()
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_problem_that_goes_on_or_comes_back_keeps_its_file_and_a_new_one_gets_its_own(
    state_url: str, tmp_path: Path
) -> None:
    file_some(state_url, candidate())
    apply(state_url, tmp_path / "out")
    back = candidate(id="pay-2", start=MONDAY + timedelta(days=4))
    file_some(state_url, candidate(state="ended"), back, candidate("cart"))
    assert apply(state_url, tmp_path / "out").outcomes["ticket"].to_list() == ["cart-1"]
    again = candidate(id="pay-3", start=back["end"] + timedelta(days=6))
    file_some(state_url, again)
    assert apply(state_url, tmp_path / "out").outcomes.is_empty()
    much_later = candidate(id="pay-4", start=again["end"] + timedelta(days=8))
    file_some(state_url, much_later)
    assert apply(state_url, tmp_path / "out").outcomes["ticket"].to_list() == ["pay-4"]


def test_another_state_database_adopts_the_files_that_are_there(tmp_path: Path) -> None:
    for name in ("one", "two"):
        url = f"sqlite:///{tmp_path / name}.db"
        file_some(url, candidate(title=name))
        apply(url, tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_text().startswith("# prod: one")


def test_a_plan_that_changed_since_it_was_looked_at_is_not_applied(state_url: str, tmp_path: Path) -> None:
    file_some(state_url, candidate())
    seen = json.loads(run(state_url, "plan", "--tracker", f"folder:{tmp_path}/out", "--output", "json").stdout)
    assert seen["create"] == 1
    file_some(state_url, candidate(), candidate("cart"))
    with pytest.raises(UsageError, match="apilens tickets plan"):
        apply(state_url, tmp_path / "out", expected=seen["hash"])
    assert not (tmp_path / "out").exists()
    seen = json.loads(run(state_url, "plan", "--tracker", f"folder:{tmp_path}/out", "--output", "json").stdout)
    done = run(state_url, "apply", "--tracker", f"folder:{tmp_path}/out", "--plan", seen["hash"], "--output", "json")
    assert (json.loads(done.stdout)["created"], done.return_value) == (2, 0)


def test_planning_changes_nothing(state_url: str, tmp_path: Path) -> None:
    file_some(state_url, candidate())
    shown = run(state_url, "plan", "--tracker", f"folder:{tmp_path}/out")
    assert "1 to create, 0 filed already" in shown.stdout
    assert not (tmp_path / "out").exists()
    with open_store(state_url) as store:
        assert store.tickets(f"folder:{tmp_path}/out").is_empty()


def test_a_failed_delivery_exits_5_is_explained_and_tried_again_by_the_next_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    file_some(url, candidate(), candidate("cart"))
    blocker = tmp_path / "out"
    blocker.write_text("a file where the folder should be")
    done = run(url, "apply", "--tracker", f"folder:{blocker}")
    assert done.return_value == 5
    assert "run `apilens tickets apply` again" in done.stderr
    assert "0 created, 0 adopted, 2 failed" in done.stdout
    blocker.unlink()
    assert run(url, "apply", "--tracker", f"folder:{blocker}").return_value == 0
    assert len(list(blocker.iterdir())) == 2


# -- delivery by several, some of whom die


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Remote:
    """A tracker that creates a new ticket at every call, and shows tickets in `find` only after a while."""

    name = "remote:x"
    settle_s = 30.0

    def __init__(self, clock: Clock, lag_s: float, after_create: Callable[[], None] = lambda: None) -> None:
        self.created: list[tuple[str, datetime]] = []
        self._clock, self._lag, self._after_create = clock, timedelta(seconds=lag_s), after_create

    def find(self, ticket: Ticket) -> str | None:
        seen = [key for key, at in self.created if key == ticket.id and self._clock.now - at >= self._lag]
        return seen[0] if seen else None

    def create(self, ticket: Ticket) -> str:
        self.created.append((ticket.id, self._clock.now))
        self._after_create()
        return ticket.id


def enqueue(url: str, tracker: str, *keys: str) -> None:
    rows = candidates(*(candidate(key) for key in keys))

    def decide(filed: pl.DataFrame) -> tuple[pl.DataFrame, list[Filing]]:
        made = plan(rows, filed, include_ended=True)
        creates = made.filter(pl.col("action") == "create")["ticket"]
        return made, [Filing(key, Ticket(key, "abc", key, (), ()).payload()) for key in creates]

    with open_store(url) as store:
        store.enqueue(tracker, decide, MONDAY)


def test_who_dies_between_delivery_and_its_note_leaves_no_second_ticket(state_url: str) -> None:
    clock = Clock()

    def die() -> None:
        raise KeyboardInterrupt

    remote = Remote(clock, lag_s=20, after_create=die)
    enqueue(state_url, remote.name, "a", "b")
    with open_store(state_url) as store, pytest.raises(KeyboardInterrupt):
        deliver(store, remote, clock, clock.sleep)
    remote._after_create = lambda: None
    with open_store(state_url) as store:
        done = deliver(store, remote, clock, clock.sleep)
    assert sorted(done.select("ticket", "outcome").rows()) == [("a-1", "adopted"), ("b-1", "created")]
    assert sorted(key for key, _ in remote.created) == ["a-1", "b-1"]
    assert clock.now - MONDAY >= timedelta(seconds=remote.settle_s)


def test_a_failure_in_doubt_is_looked_up_before_it_is_created_again(state_url: str) -> None:
    clock = Clock()

    def time_out() -> None:
        raise OutboundError("timed out after the request was sent")

    remote = Remote(clock, lag_s=0, after_create=time_out)
    enqueue(state_url, remote.name, "a")
    with open_store(state_url) as store:
        assert deliver(store, remote, clock, clock.sleep)["outcome"].to_list() == ["failed"]
        assert deliver(store, remote, clock, clock.sleep)["outcome"].to_list() == ["adopted"]
    assert len(remote.created) == 1


def _apply_at_once(arguments: tuple[str, str]) -> int:
    return apply(arguments[0], Path(arguments[1])).outcomes.filter(pl.col("outcome") == "created").height


def test_eight_processes_at_once_file_each_ticket_once(state_url: str, tmp_path: Path) -> None:
    rows = [candidate(f"c{n}") for n in range(12)]
    file_some(state_url, *rows)
    out = tmp_path / "out"
    with processes(8) as pool:
        created = list(pool.map(_apply_at_once, [(state_url, str(out))] * 8))
    assert sum(created) == len(rows)
    assert len(list(out.iterdir())) == len(rows)
    with open_store(state_url) as store:
        assert store.tickets(f"folder:{out}")["reference"].null_count() == 0
        filed = store.events().filter(pl.col("new") == "filed")
    assert sorted(filed["subject"]) == sorted(row["id"] for row in rows)


def test_killed_at_any_moment_and_run_again_the_files_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    rows = [candidate(f"c{n}") for n in range(60)]
    calm, rough = f"sqlite:///{tmp_path}/calm.db", f"sqlite:///{tmp_path}/rough.db"
    for url in (calm, rough):
        file_some(url, *rows)
    apply(calm, tmp_path / "calm")
    out = tmp_path / "rough"
    script = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
import test_tickets
print("ready", flush=True)
sys.stdin.readline()
test_tickets.apply({rough!r}, Path({str(out)!r}))
"""
    dice = random.Random(7)
    survived = 0
    for _ in range(6):
        run = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdout.readline()
        run.stdin.write(b"\n")
        run.stdin.flush()
        time.sleep(dice.uniform(0.005, 0.12))
        survived += run.poll() == 0
        run.kill()
        run.communicate()
    assert survived < 6, "no run was killed in the middle: the test shows nothing"
    apply(rough, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "calm").iterdir()
    }
