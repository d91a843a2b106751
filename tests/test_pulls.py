"""Feedback asked for over the network: pages, cursors, limits and refusals, against a real HTTP and a real IMAP server."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from commands import Ran, apilens

Answer = tuple[int, dict[str, str], Any]


class Service:
    """A tracker on 127.0.0.1: `answer` gets path and query and says status, headers and JSON; `asked` is what came."""

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, str]], Answer] = lambda path, query: (404, {}, {})
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.authorization: set[str] = set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                service.asked.append((parts.path, query))
                service.authorization.add(self.headers.get("Authorization", ""))
                status, headers, body = service.answer(parts.path, query)
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("APILENS_SHOP_SECRET", "s3cret")

    def run(url: str, kind: str, *arguments: object, query: str = "", user: str | None = None) -> Ran:
        lines = ["[pulls.shop]", f'kind = "{kind}"', f'url = "{url}"', f"query = '{query}'"]
        (tmp_path / "apilens.toml").write_text("\n".join([*lines, *([f'user = "{user}"'] if user else [])]))
        config = ["--config", tmp_path / "apilens.toml", "--lake", tmp_path / "lake", "--output", "json"]
        return apilens("feedback", "pull", *config, *arguments)

    return run


def listed(tmp_path: Path) -> list[dict[str, Any]]:
    return apilens("feedback", "list", "--lake", tmp_path / "lake", "--output", "ndjson").rows()


def issue(number: int, updated: str = "2026-03-10T10:00:00.000+0000") -> dict[str, Any]:
    return {
        "key": f"SHOP-{number}",
        "fields": {"summary": f"n{number}", "created": "2026-03-09T10:00:00.000+0000", "updated": updated},
    }


def test_jira_cloud_is_read_page_by_page_and_goes_on_where_it_ended(
    service: Service, pull: Callable[..., Ran], tmp_path: Path
) -> None:
    def answer(path: str, query: dict[str, str]) -> Answer:
        if path != "/rest/api/3/search/jql":
            return 410, {}, {"errorMessages": ["gone"]}
        if "nextPageToken" not in query:
            return 200, {}, {"issues": [issue(1)], "nextPageToken": "p2"}
        return 200, {}, {"issues": [issue(2, "2026-03-11T10:00:00.000+0000")], "isLast": True}

    service.answer = answer
    first = pull(service.url, "jira_cloud", query="project = SHOP", user="me@shop.example")
    assert first.json()["new"] == 2
    assert service.authorization == {"Basic " + base64.b64encode(b"me@shop.example:s3cret").decode()}
    assert service.asked[0][1]["jql"] == "(project = SHOP) ORDER BY updated ASC"
    assert pull(service.url, "jira_cloud", query="project = SHOP", user="me@shop.example").json()["stored"] == 0
    assert 'updated >= "2026-03-10 10:00"' in service.asked[2][1]["jql"]
    assert [row["id"] for row in listed(tmp_path)] == ["SHOP-1", "SHOP-2"]


def test_jira_data_center_is_read_by_start(service: Service, pull: Callable[..., Ran]) -> None:
    service.answer = lambda path, query: (
        200,
        {},
        {"total": 3, "issues": [issue(n) for n in ((1, 2) if query["startAt"] == "0" else (3,))]},
    )
    assert pull(service.url, "jira_data_center").json()["new"] == 3
    assert [query["startAt"] for _, query in service.asked] == ["0", "2"]
    assert service.authorization == {"Bearer s3cret"}


def test_servicenow_is_read_by_offset_with_what_people_see(
    service: Service, pull: Callable[..., Ran], tmp_path: Path
) -> None:
    def row(number: int) -> dict[str, Any]:
        both = {"number": f"INC{number}", "short_description": "x", "opened_at": "2026-03-09 11:00:00", "sys_updated_on": "2026-03-10 11:00:00"}  # fmt: skip
        return {name: {"value": value, "display_value": value} for name, value in both.items()} | {"state": {"value": "6", "display_value": "Resolved"}}  # fmt: skip

    service.answer = lambda path, query: (
        200,
        {"X-Total-Count": "700"},
        {"result": [row(n) for n in range(*((0, 500) if query["sysparm_offset"] == "0" else (500, 700)))]},
    )
    assert pull(service.url, "servicenow", query="incident?active=true", user="api").json()["new"] == 700
    assert service.asked[0] == (
        "/api/now/table/incident",
        service.asked[0][1] | {"sysparm_query": "active=true^ORDERBYsys_updated_on"},
    )
    pull(service.url, "servicenow", query="incident", user="api")
    assert service.asked[2][1]["sysparm_query"] == "sys_updated_on>=2026-03-10 11:00:00^ORDERBYsys_updated_on"
    assert {row["status"] for row in listed(tmp_path)} == {"Resolved"}


def test_zendesk_goes_on_by_its_cursor_and_waits_when_told(
    service: Service, pull: Callable[..., Ran], tmp_path: Path
) -> None:
    waits = iter([True])

    def answer(path: str, query: dict[str, str]) -> Answer:
        if next(waits, False):
            return 429, {"Retry-After": "0"}, {}
        ticket = {"id": 1 if "start_time" in query else 2, "subject": "s", "requester_id": 5, "created_at": "2026-03-09T10:00:00Z", "satisfaction_rating": {"score": "good"}}  # fmt: skip
        users = [{"id": 5, "email": "ruth@zweirad.example"}]
        return 200, {}, {"tickets": [ticket], "users": users, "after_cursor": "c1" if "start_time" in query else "c2", "end_of_stream": "start_time" not in query}  # fmt: skip

    service.answer = answer
    assert pull(service.url, "zendesk", user="me/token").json()["new"] == 2
    assert [query.get("cursor") for _, query in service.asked] == [None, None, "c1"]
    pull(service.url, "zendesk", user="me/token")
    assert service.asked[-1][1]["cursor"] == "c2"
    assert {(row["reporter"], row["attributes"]["score"] if isinstance(row["attributes"], dict) else "5") for row in listed(tmp_path)} == {("ruth@zweirad.example", "5")}  # fmt: skip


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_issues_are_followed_from_page_to_page(kind: str, service: Service, pull: Callable[..., Ran]) -> None:
    def answer(path: str, query: dict[str, str]) -> Answer:
        number = int(query.get("page", "1"))
        row = {"number": number, "iid": number, "title": "x", "user": {"login": "a"}, "created_at": "2026-03-09T10:00:00Z", "updated_at": "2026-03-09T10:00:00Z"}  # fmt: skip
        link = {"Link": f'<{service.url}{path}?page=2>; rel="next", <x>; rel="last"'} if number == 1 else {}
        return 200, link, [row]

    service.answer = answer
    assert pull(service.url, kind, query="acme/shop").json()["new"] == 2
    since = "since" if kind == "github" else "updated_after"
    pull(service.url, kind, query="acme/shop")
    assert service.asked[2][1][since] == "2026-03-09T10:00:00Z"


@pytest.mark.parametrize("kind", ["github", "gitlab", "servicenow", "jira_data_center"])
def test_an_item_changed_while_others_are_read_makes_none_be_skipped(
    kind: str, service: Service, pull: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracker that answers page by page what is ordered by its last change; the first item is changed after the first answer."""
    monkeypatch.setattr("apilens.feedback.servicenow._PAGE", 3)
    changed = {number: f"2026-03-10 10:{number:02}:00" for number in range(1, 8)}

    def answer(path: str, query: dict[str, str]) -> Answer:
        since = query.get("since") or query.get("updated_after") or ""
        if ">=" in query.get("sysparm_query", ""):
            since = query["sysparm_query"].partition(">=")[2].partition("^")[0]
        since = since.replace("T", " ").rstrip("Z")
        order = [number for number in sorted(changed, key=lambda n: changed[n]) if changed[number] >= since]
        first = int(query.get("sysparm_offset") or query.get("startAt") or 3 * (int(query.get("page", "1")) - 1))
        page = order[first : first + 3]
        more = {} if first + 3 >= len(order) else {"Link": f'<{service.url}{path}?page={first // 3 + 2}>; rel="next"'}
        made = [_as_told(kind, number, changed[number]) for number in page]
        changed[1] = "2026-03-10 11:00:00"
        if kind == "servicenow":
            return 200, {"X-Total-Count": str(len(order))}, {"result": made}
        return (200, {}, {"total": len(order), "issues": made}) if kind == "jira_data_center" else (200, more, made)

    service.answer = answer
    pull(service.url, kind, query={"servicenow": "incident", "jira_data_center": ""}.get(kind, "acme/shop"))
    assert len(listed(tmp_path)) == 7


def _as_told(kind: str, number: int, changed: str) -> dict[str, Any]:
    if kind == "servicenow":
        return {"number": f"INC{number}", "short_description": "x", "opened_at": changed, "sys_updated_on": changed}
    if kind == "jira_data_center":
        return issue(number, changed.replace(" ", "T") + ".000+0000")
    at = changed.replace(" ", "T") + "Z"
    return {"number": number, "iid": number, "title": "x", "created_at": "2026-03-09T10:00:00Z", "updated_at": at}


def test_a_link_to_another_host_is_not_followed(service: Service, pull: Callable[..., Ran]) -> None:
    service.answer = lambda path, query: (200, {"Link": '<http://127.0.0.2:1/x>; rel="next"'}, [])
    ran = pull(service.url, "github", query="acme/shop")
    assert "points to 127.0.0.2" in ran.json()["failures"][0]
    assert len(service.asked) == 1


def test_slack_rooms_are_read_with_their_threads(service: Service, pull: Callable[..., Ran], tmp_path: Path) -> None:
    def message(ts: str, **more: Any) -> dict[str, Any]:
        return {"type": "message", "user": "U1", "text": "down", "ts": ts, **more}

    root = message("1773307860.000200", thread_ts="1773307860.000200", reply_count=1)
    found: dict[str, dict[str, Any]] = {
        "/api/users.list": {"ok": True, "members": [{"id": "U1", "profile": {"email": "ruth@zweirad.example"}}]},
        "/api/conversations.history": {"ok": True, "messages": [root, message("1773307900.000200")]},
        "/api/conversations.replies": {
            "ok": True,
            "messages": [root, message("1773307960.000300", thread_ts="1773307860.000200")],
        },
    }
    service.answer = lambda path, query: (200, {}, found[path])
    assert pull(service.url, "slack", query="C1").json()["new"] == 3
    assert {row["reporter"] for row in listed(tmp_path)} == {"ruth@zweirad.example"}
    pull(service.url, "slack", query="C1")
    assert float(service.asked[-2][1]["oldest"]) < 1773307960 - 6 * 86400
    found["/api/users.list"] = {"ok": False, "error": "missing_scope"}
    assert "missing_scope" in pull(service.url, "slack", query="C1").json()["failures"][0]


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (401, {}, {}, "does APILENS_SHOP_SECRET hold a valid secret"),
        (302, {"Location": "https://elsewhere.example"}, {}, "302 to https://elsewhere.example"),
        (200, {}, b"<html>", "no JSON"),
        (200, {}, {"unexpected": 1}, "expected that of a Jira search"),
        (429, {"Retry-After": "100000"}, {}, "come back in 100000 s"),
        (503, {"Retry-After": "0"}, {}, "6 times"),
    ],
)
def test_a_refusal_is_said_and_leaves_the_secret_out(
    status: int, headers: dict[str, str], body: Any, said: str, service: Service, pull: Callable[..., Ran]
) -> None:
    service.answer = lambda path, query: (status, headers, body)
    ran = pull(service.url, "jira_cloud")
    assert ran.code == 3
    assert said in ran.json()["failures"][0]
    assert "s3cret" not in ran.out + ran.err


def test_a_limit_that_names_a_date_far_away_is_left_to_the_next_run(service: Service, pull: Callable[..., Ran]) -> None:
    service.answer = lambda path, query: (429, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, {})
    assert "asks to come back in" in pull(service.url, "jira_cloud").json()["failures"][0]
    assert len(service.asked) == 1


def test_what_was_stored_before_a_failure_stays_and_the_next_run_goes_on(
    service: Service, pull: Callable[..., Ran], tmp_path: Path
) -> None:
    service.answer = lambda path, query: (401, {}, {}) if "nextPageToken" in query else (200, {}, {"issues": [issue(1)], "nextPageToken": "p2"})  # fmt: skip
    ran = pull(service.url, "jira_cloud")
    assert (ran.code, ran.json()["new"]) == (4, 1)
    assert len(listed(tmp_path)) == 1


@pytest.mark.parametrize(
    ("kind", "url", "said"),
    [
        ("jira", "https://x.example", "did you mean 'jira_cloud'"),
        ("github", "http://x.example", "over TLS only"),
        ("imap", "imap://x.example/INBOX", "over TLS only"),
    ],
)
def test_a_wrong_configuration_is_said_before_anything_is_sent(
    kind: str, url: str, said: str, pull: Callable[..., Ran]
) -> None:
    assert said in pull(url, kind).json()["failures"][0]


def test_a_pull_that_nobody_configured_is_a_usage_error(
    pull: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pull("https://x.example", "github", "warehouse")
    assert (ran.code, "configured: shop" in ran.err) == (2, True)
    monkeypatch.delenv("APILENS_SHOP_SECRET")
    assert "the environment has no APILENS_SHOP_SECRET" in pull("https://x.example", "github").json()["failures"][0]


MAILS = {
    4: b"From: a@x.example\r\nDate: Mon, 9 Mar 2026 11:00:00 +0000\r\nMessage-ID: <4@x>\r\nSubject: down\r\n\r\nhelp\r\n",
    7: b"From: b@x.example\r\nDate: Mon, 9 Mar 2026 12:00:00 +0000\r\nMessage-ID: <7@x>\r\n\r\nme too\r\n",
}


class _Imap(socketserver.StreamRequestHandler):
    """As much of RFC 3501 as a reader needs."""

    def handle(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        for line in self.rfile:
            tag, _, command = line.decode().strip().partition(" ")
            done = "OK done"
            if command.startswith("CAPABILITY"):
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            elif command.startswith("LOGIN") and "s3cret" not in command:
                done = "NO wrong password"
            elif command.startswith("EXAMINE"):
                self.wfile.write(b"* 2 EXISTS\r\n* OK [UIDVALIDITY 77] valid\r\n")
            elif command.startswith("UID SEARCH"):
                since = int(command.split()[3].partition(":")[0])
                # `N:*` always holds the last message, even one below N.
                self.wfile.write(
                    f"* SEARCH {' '.join(str(u) for u in MAILS if u >= since or u == max(MAILS))}\r\n".encode()
                )
            elif "RFC822.SIZE" in command:
                self.wfile.write(f"* 1 FETCH (UID {command.split()[2]} RFC822.SIZE 100)\r\n".encode())
            elif command.startswith("UID FETCH"):
                raw = MAILS[int(command.split()[2])]
                self.wfile.write(f"* 1 FETCH (BODY[] {{{len(raw)}}}\r\n".encode() + raw + b")\r\n")
            self.wfile.write(f"{tag} {done}\r\n".encode())


def test_mail_is_fetched_by_imap_from_the_last_uid_on(
    pull: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Imap) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"imap://127.0.0.1:{server.server_address[1]}/INBOX"
        assert pull(url, "imap", user="help@shop.example").json()["new"] == 2
        assert pull(url, "imap", user="help@shop.example").json()["read"] == 0
        monkeypatch.setenv("APILENS_SHOP_SECRET", "wrong")
        assert "are user and secret right?" in pull(url, "imap", user="help@shop.example").json()["failures"][0]
        server.shutdown()
    assert [row["id"] for row in listed(tmp_path)] == ["4@x", "7@x"]
