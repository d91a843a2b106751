"""The state database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from apilens.errors import LakeError, LockedError, UsageError
from apilens.feedback.duplicates import DUPLICATES as MADE_DUPLICATES
from apilens.feedback.history import HISTORY, history
from apilens.schema import CANDIDATES, ITEMS, LINKS
from apilens.store import open_store, tables
from apilens.store.database import REVISIONS, _is_still
from apilens.store.store import DUPLICATES, SPEAKERS
from apilens.window import Window
from people import HOUR, MONDAY, candidate, candidates, item, items
from processes import processes

NO_HISTORY = pl.DataFrame(schema=HISTORY)


def test_what_is_saved_comes_back_as_the_same_tables(state_url: str) -> None:
    raised = candidates(candidate(hint=None, service=None), candidate("cart", start=MONDAY, score=float("inf")))
    told = items(item(title="¡olé! \u202e", attributes={"browser": "x"}), item("T-2", created_at=MONDAY + 12 * HOUR))
    with open_store(state_url) as store:
        store.save_candidates(raised, MONDAY, Window())
        store.save_items(told, NO_HISTORY, MONDAY)
        kept, reports = store.candidates(), store.items()
    assert kept.schema == CANDIDATES
    assert reports.schema == ITEMS
    assert kept.sort("id").to_dicts() == raised.sort("id").to_dicts()
    assert reports.to_dicts() == told.to_dicts()


def test_characters_a_database_cannot_store_are_shown_as_replaced(state_url: str) -> None:
    with open_store(state_url) as store:
        store.save_items(items(item(title="a\0b", attributes={"k\0": "v\0"})), NO_HISTORY, MONDAY)
        store.save_candidates(candidates(candidate(score=float("nan"))), MONDAY, Window())
        assert store.save_candidates(candidates(candidate(score=float("nan"))), MONDAY, Window())["unchanged"] == 1
        assert store.items()["title"].item() == "a�b"
        assert store.candidates()["score"].item() is None


def test_where_nothing_can_be_written_the_state_is_read_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/a b#c.db"
    with open_store(url) as store:
        store.save_candidates(candidates(candidate()), MONDAY, Window())
    monkeypatch.setattr("apilens.store.database.os.access", lambda path, mode: False)
    with open_store(url, create=False) as store:
        assert store.candidates()["id"].to_list() == ["pay-1"]
        assert [path.name for path in tmp_path.iterdir()] == ["a b#c.db"]  # SQLite's journal would need two more
        with pytest.raises(LakeError, match="readonly database; nothing was changed"):
            store.save_candidates(candidates(candidate("cart")), MONDAY, Window())
    (tmp_path / "a b#c.db-wal").write_bytes(b"not moved into the database yet")
    assert not _is_still(tmp_path / "a b#c.db")


def test_a_snapshot_whose_journal_cannot_be_read_where_it_lies_is_told_to_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snapshot := tmp_path / "snapshot").mkdir()
    (copy := tmp_path / "copy").mkdir()
    with open_store(f"sqlite:///{tmp_path}/state.db") as store:
        store.save_candidates(candidates(candidate()), MONDAY, Window())
    with sqlite3.connect(tmp_path / "state.db") as killed:
        killed.execute("UPDATE candidates SET state = 'ended'")
        killed.commit()
        for name in ("state.db", "state.db-wal"):
            shutil.copy(tmp_path / name, snapshot / name)
            shutil.copy(tmp_path / name, copy / name)
    killed.close()
    with monkeypatch.context() as read_only:
        read_only.setattr("apilens.store.database.os.access", lambda path, mode: False)
        with pytest.raises(LakeError) as told:
            open_store(f"sqlite:///{snapshot}/state.db", create=False)
    assert f"cp {snapshot}/state.db* FOLDER/; --state sqlite:///FOLDER/state.db" in str(told.value)
    assert sorted(path.name for path in snapshot.iterdir()) == ["state.db", "state.db-wal"]
    with open_store(f"sqlite:///{copy}/state.db", create=False) as store:
        assert store.candidates()["state"].to_list() == ["ended"]


def test_on_a_full_disk_what_was_kept_is_read_and_who_writes_is_told_to_make_room(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with open_store(url) as store:
        store.save_candidates(candidates(candidate()), MONDAY, Window())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # no file may have a byte, as on a full disk
        with open_store(url, only_read=True) as store:
            assert store.candidates()["id"].to_list() == ["pay-1"]
            with pytest.raises(LakeError, match=r"disk I/O error.*nothing was changed\. Make room"):
                store.save_candidates(candidates(candidate("cart")), MONDAY, Window())
        with pytest.raises(LakeError, match=r"disk I/O error.*nothing was changed\. Make room"):
            open_store(url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with open_store(url, create=False) as store:
        assert store.candidates()["id"].to_list() == ["pay-1"]


def test_where_nothing_can_be_written_what_others_write_is_seen_and_no_mixture_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with open_store(url) as store:
        store.save_candidates(candidates(candidate()), MONDAY, Window())
    with monkeypatch.context() as read_only:
        read_only.setattr("apilens.store.database.os.access", lambda path, mode: False)
        reader = open_store(url, create=False)
        assert reader.candidates()["id"].to_list() == ["pay-1"]
    with open_store(url) as writer:
        writer.save_candidates(candidates(candidate(), candidate("cart")), MONDAY, Window())
        # Still in its journal, and the writer still there.
        assert sorted(reader.candidates()["id"].to_list()) == ["cart-1", "pay-1"]
    assert sorted(reader.candidates()["id"].to_list()) == ["cart-1", "pay-1"]
    with pytest.raises(LockedError, match="wrote to it while this one read"), reader._read() as db:
        db.exec_driver_sql("SELECT count(*) FROM candidates").fetchall()
        with open_store(url) as writer:
            writer.save_candidates(candidates(candidate("third")), MONDAY, Window())
    with pytest.raises(LockedError), reader._read() as db, open_store(url) as writer:
        db.exec_driver_sql("SELECT count(*) FROM candidates").fetchall()
        writer.save_candidates(candidates(candidate("fourth")), MONDAY, Window())
        with sqlite3.connect(tmp_path / "state.db") as itself:
            itself.execute("PRAGMA wal_checkpoint")  # as SQLite does by itself now and then; the writer is still there
    with open_store(url) as writer:
        writer.save_candidates(candidates(candidate("fifth")), MONDAY, Window())
        with reader._read() as db:
            seen = db.exec_driver_sql("SELECT count(*) FROM candidates").scalar_one()
            writer.close()
            assert db.exec_driver_sql("SELECT count(*) FROM candidates").scalar_one() == seen
    reader.close()


def test_saving_the_same_again_changes_nothing(state_url: str) -> None:
    with open_store(state_url) as store:
        store.save_candidates(candidates(candidate()), MONDAY, Window())
        store.save_items(items(item(status="resolved")), NO_HISTORY, MONDAY)
        before = store.events()
        later = MONDAY + 30 * HOUR
        assert store.save_candidates(candidates(candidate()), later, Window()) == {
            "new": 0,
            "updated": 0,
            "unchanged": 1,
            "withdrawn": 0,
        }
        again = store.save_items(items(item(status="resolved")), NO_HISTORY, later)
        assert again == {"new": 0, "updated": 0, "unchanged": 1}
        assert store.events().equals(before)


def test_a_candidate_that_a_later_scan_no_longer_raises_is_withdrawn_and_may_return(state_url: str) -> None:
    early, late = candidate(start=MONDAY), candidate("cart", start=MONDAY + 20 * HOUR)
    with open_store(state_url) as store:
        store.save_candidates(candidates(early, late), MONDAY, Window())
        counts = store.save_candidates(candidates(), MONDAY, Window(MONDAY + 10 * HOUR, None))
        assert counts["withdrawn"] == 1
        assert store.candidates()["id"].to_list() == [early["id"]]
        assert store.save_candidates(candidates(late), MONDAY, Window(MONDAY + 10 * HOUR, None))["updated"] == 1
        assert store.candidates()["id"].to_list() == [early["id"], late["id"]]
        states = store.events().filter(pl.col("subject") == late["id"]).select("old", "new").rows()
    assert states == [(None, "open"), ("open", "withdrawn"), ("withdrawn", "open")]


def test_each_change_of_a_candidate_s_state_is_an_event(state_url: str) -> None:
    with open_store(state_url) as store:
        store.save_candidates(candidates(candidate()), MONDAY, Window())
        changed = candidate(state="ended", severity="high")
        store.save_candidates(candidates(changed), MONDAY + HOUR, Window())
        events = store.events().filter(pl.col("at") == MONDAY + HOUR)
    assert set(events.select("field", "old", "new").rows()) == {
        ("state", "open", "ended"),
        ("severity", "medium", "high"),
    }


def test_an_older_export_does_not_overwrite_a_newer_one(state_url: str) -> None:
    new = item(status="resolved", attributes={"updated_at": "2026-03-12T00:00:00+00:00"})
    old = item(status="open", attributes={"updated_at": "2026-03-11T00:00:00+00:00"})
    with open_store(state_url) as store:
        store.save_items(items(new), NO_HISTORY, MONDAY)
        assert store.save_items(items(old), NO_HISTORY, MONDAY)["unchanged"] == 1
        assert store.items()["status"].item() == "resolved"


def test_a_status_history_becomes_events_once_and_replaces_the_guess(state_url: str) -> None:
    acknowledged, resolved = MONDAY + 12 * HOUR, MONDAY + 20 * HOUR
    rows = [
        ("ticket", "T-1", acknowledged, "new", "acknowledged"),
        ("ticket", "T-1", resolved, "acknowledged", "resolved"),
    ]
    told = pl.DataFrame(rows, schema=HISTORY, orient="row")
    with open_store(state_url) as store:
        for _ in range(2):
            store.save_items(items(item(status="resolved")), told, MONDAY + 50 * HOUR)
        events = store.events()
    assert events.select("at", "old", "new").rows() == [
        (MONDAY + 11 * HOUR, None, "new"),
        (acknowledged, "new", "acknowledged"),
        (resolved, "acknowledged", "resolved"),
    ]


def test_links_are_replaced_and_only_changes_are_events(state_url: str) -> None:
    linked = pl.DataFrame([("ticket", "T-1", "pay-1", 0.9, "auto", ["because"])], schema=LINKS, orient="row")
    loose = pl.DataFrame([("ticket", "T-1", None, 0.1, "none", ["question"])], schema=LINKS, orient="row")
    repeats = pl.DataFrame(
        [("ticket", "T-2", "ticket", "T-1", 1.0, "auto", "names T-1")], schema=DUPLICATES, orient="row"
    )
    speakers = pl.DataFrame([("ticket", "T-1", "app-01")], schema=SPEAKERS, orient="row")
    with open_store(state_url) as store:
        assert store.save_links(linked, repeats, speakers, MONDAY) == 1
        assert store.speakers().rows() == speakers.rows()
        assert store.save_links(linked, repeats, speakers, MONDAY) == 0
        assert store.links().equals(linked)
        assert store.duplicates().equals(repeats)
        assert store.save_links(loose, repeats.clear(), speakers.clear(), MONDAY) == 1
        assert store.links().equals(loose)
        assert store.events().select("old", "new").rows() == [(None, "pay-1"), ("pay-1", None)]


def test_settings_are_kept_by_name(state_url: str) -> None:
    with open_store(state_url) as store:
        store.save_settings({"context": "a", "population": 3})
        store.save_settings({"context": "b"})
        assert store.settings() == {"context": "b", "population": 3}


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(state_url: str) -> None:
    open_store(state_url).close()
    engine = sa.create_engine(state_url)
    with engine.begin() as db:
        db.execute(sa.text("UPDATE apilens_version SET version_num = '9999'"))
        before = sorted(sa.inspect(db).get_table_names())
    with pytest.raises(LakeError, match="newer apilens"):
        open_store(state_url)
    with engine.begin() as db:
        assert db.execute(sa.text("SELECT version_num FROM apilens_version")).scalar_one() == "9999"
        assert sorted(sa.inspect(db).get_table_names()) == before
    engine.dispose()


def test_a_newer_sqlite_file_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE apilens_version (version_num TEXT)")
        plain.execute("INSERT INTO apilens_version VALUES ('9999')")
    before = path.read_bytes()
    with pytest.raises(LakeError, match="newer apilens"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look at\n" * 50)
    with pytest.raises(LakeError, match="--state sqlite:///FILE"):
        open_store(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["state.db", "mysql://x/y", "://"])
def test_a_url_of_another_kind_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(UsageError, match="sqlite:///"):
        open_store(url)


def test_the_password_of_a_state_url_is_not_shown() -> None:
    with pytest.raises(LakeError) as refused:
        open_store("postgresql+psycopg://me:s3cret@127.0.0.1:1/none?connect_timeout=2")
    assert "s3cret" not in str(refused.value)


def test_migrations_lead_to_the_tables_the_code_uses(state_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    open_store(state_url).close()
    engine = sa.create_engine(state_url)
    with engine.connect() as db:
        differences = compare_metadata(
            MigrationContext.configure(db, opts={"version_table": "apilens_version"}), tables.metadata
        )
    engine.dispose()
    assert differences == []


def test_whose_calls_reports_name_is_moved_out_of_the_settings_of_an_older_database(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    open_store(f"sqlite:///{state}").close()
    kept = json.dumps({"ticket:T:1": "app-01", "mail:M-2": "it's"})
    with sqlite3.connect(state) as plain:
        plain.execute("DROP TABLE speakers")
        plain.execute("UPDATE apilens_version SET version_num = '0006'")
        plain.execute("INSERT INTO settings VALUES ('speaks_for', ?), ('context', '\"a\"')", [kept])
    with open_store(f"sqlite:///{state}") as store:
        assert store.speakers().rows() == [("mail", "M-2", "it's"), ("ticket", "T:1", "app-01")]
        assert store.settings() == {"context": "a"}


def test_known_revisions_are_the_migration_files() -> None:
    folder = Path(tables.__file__).parent / "migrations" / "versions"
    assert tuple(sorted(path.name[:4] for path in folder.glob("[0-9]*.py"))) == REVISIONS


def test_duplicates_are_stored_as_they_are_found() -> None:
    assert DUPLICATES == MADE_DUPLICATES


def test_sqlite_runs_in_wal_mode_so_that_readers_do_not_wait(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/state.db"), sqlite3.connect(tmp_path / "state.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _save_some(url: str, number: int) -> int:
    rows = items(*(item(f"T-{number}-{n}") for n in range(5)), item("T-shared"))
    with open_store(url) as store:
        return store.save_items(rows, NO_HISTORY, MONDAY)["new"]


def test_several_processes_open_and_fill_a_new_database_at_once(state_url: str) -> None:
    with processes(6) as pool:
        new = sum(pool.map(_save_some, [state_url] * 6, range(6)))
    with open_store(state_url) as store:
        assert store.items().height == new == 31
        assert store.events().height == 31


def test_times_keep_their_moment_in_any_zone(state_url: str) -> None:
    from zoneinfo import ZoneInfo

    local = (MONDAY + timedelta(microseconds=1)).astimezone(ZoneInfo("Asia/Tokyo"))
    with open_store(state_url) as store:
        store.save_items(items(item(created_at=local)), NO_HISTORY, local)
        assert store.items()["created_at"].item() == local


def test_a_decision_takes_the_place_of_an_earlier_one_and_both_are_events(state_url: str) -> None:
    with open_store(state_url) as store:
        for verdict, who in (("confirmed", "kim"), ("rejected", "lee")):
            store.decide("link", "mail:1", verdict, of="pay-1", who=who, why=None, now=MONDAY)
        store.decide("category", "mail:1", "bug", who="kim", why="reads so", now=MONDAY)
        assert store.decisions("link").select("subject", "object", "verdict", "who").rows() == [
            ("mail:1", "pay-1", "rejected", "lee")
        ]
        assert store.decisions("link", "category").height == 2
        assert store.events().select("field", "old", "new").rows() == [
            ("link pay-1", None, "confirmed"),
            ("link pay-1", "confirmed", "rejected"),
            ("category", None, "bug"),
        ]


def test_a_consumer_is_forgotten_in_items_candidates_and_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with open_store(f"sqlite:///{path}") as store:
        only = candidate("own", affected_consumers=["app-secret"], hint={"status": None, "upstream": None, "consumer": "app-secret", "node": None})  # fmt: skip
        store.save_candidates(
            candidates(candidate(affected_consumers=["app-secret", "app-02"]), only), MONDAY, Window()
        )
        said = items(item("1", reporter="app-secret", body="words of app-secret"), item("2"))
        store.save_items(said, history(said), MONDAY)
        store.decide("category", "ticket:1", "bug", who="kim", why=None, now=MONDAY)
        gone = store.forget(["app-secret"], said.filter(id="1").select("channel", "id"))
        assert gone == {"items": 1, "candidates": 2}
        assert store.items()["id"].to_list() == ["2"]
        assert store.candidates()["affected_consumers"].to_list() == [["app-02"]]
        assert store.candidates()["consumers_hit"].to_list() == [2]
    assert b"app-secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_ranking_keeps_the_one_before_it_and_what_changed_is_an_event(state_url: str) -> None:
    def row(priority: str) -> dict[str, Any]:
        return {"weight": 40.0, "impact": 2, "priority": priority, "hit": 3, "told": None, "points": []}

    with open_store(state_url) as store:
        store.save_ranking({"pay-1": row("P3"), "ticket:T-1": row("P4")}, MONDAY)
        store.save_ranking({"pay-1": row("P2"), "ticket:T-1": row("P4")}, MONDAY + HOUR)
        store.save_ranking({"pay-1": row("P2"), "ticket:T-1": row("P4")}, MONDAY + 2 * HOUR)
        kept = store.settings()
        changes = store.events().filter(pl.col("field") == "priority").select("kind", "subject", "old", "new")
    assert kept["ranking_before"]["pay-1"]["priority"] == "P3"
    assert kept["ranking"]["pay-1"] == row("P2")
    assert changes.rows() == [
        ("candidate", "pay-1", None, "P3"),
        ("item", "ticket:T-1", None, "P4"),
        ("candidate", "pay-1", "P3", "P2"),
    ]


def test_a_decision_keeps_until_when_it_holds_and_the_last_one_counts(state_url: str) -> None:
    with open_store(state_url) as store:
        for verdict, until in (("P1", None), ("P4", MONDAY + HOUR)):
            store.decide("priority", "f1", verdict, who="kim", why="x", now=MONDAY, until=until)
        (row,) = store.decisions("priority").to_dicts()
        (_, event) = store.events().to_dicts()
    assert (row["verdict"], row["until"]) == ("P4", MONDAY + HOUR)
    assert (event["kind"], event["old"], event["new"]) == ("candidate", "P1", "P4")
