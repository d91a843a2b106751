"""Reports joined with problems and ranked: links with reasons, the feedback gap, the order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.errors import ConfigError
from apilens.feedback.category import categories
from apilens.feedback.duplicates import DUPLICATES
from apilens.routes import OpenApi, read_openapi
from apilens.schema import LINKS, QUEUE, SEVERITIES, SIGNALS
from apilens.store.store import DECISIONS
from apilens.triage import (
    CALLS_NAMED,
    VERDICTS,
    Context,
    Told,
    escalations,
    inherit,
    link,
    queue,
    read_context,
    related,
    request_ids,
    surprise,
)
from apilens.triage.priority import OVERRIDES, RANKING, SHARES, prioritise, ranking
from apilens.triage.severity import label, severity
from apilens.triage.words import is_route, paths, signals, statuses, stems, tokens
from apilens.window import Window
from patience import comes_to_an_end
from people import HOUR, MONDAY, candidate, candidates, item, items

LOGGED = Window(MONDAY - timedelta(days=7), MONDAY + timedelta(days=7))
NO_CALLS = pl.DataFrame(schema=CALLS_NAMED)
NO_REPEATS = pl.DataFrame(schema=DUPLICATES)
SHOP = read_context(
    """
    [features]
    payment = ["/v1/orders/*/pay"]
    export = ["/v1/exports/*"]
    [accounts]
    acme = { consumers = ["app-01"], domains = ["acme.example"] }
    bluebird = { consumers = ["app-02", "app-03"], domains = ["bluebird.example"] }
    [endpoints]
    "POST /v1/orders/{id}/pay" = { core = true, revenue = true, value_per_call = 60.0 }
    "POST /v1/orders/{id}/refunds" = { compliance = true, value_per_call = 50.0 }
    [owners]
    payments = ["/v1/orders/*/pay"]
    """,
    "context.toml",
)


def linked(said: pl.DataFrame, problems: pl.DataFrame, calls: pl.DataFrame = NO_CALLS, context: Context = SHOP) -> Any:
    links = link(Told(said, problems, calls, categories(said), context, LOGGED, 100))
    assert links.schema == LINKS
    return links.to_dicts()


def ranked(problems: pl.DataFrame, said: pl.DataFrame, context: Context = SHOP) -> Any:
    kinds = categories(said)
    links = link(Told(said, problems, NO_CALLS, kinds, context, LOGGED, 100))
    made, _ = queue(problems, said, links, NO_REPEATS, kinds, context, MONDAY + 20 * HOUR, 100)
    assert made.schema == QUEUE
    return made.to_dicts()


# -- context.toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[owner]\nx = []", "did you mean 'owners'"),
        ('[endpoints]\n"POST /x" = { revnue = true }', r"\[endpoints\] \[POST /x\] unknown key 'revnue'.*'revenue'"),
        ('[accounts]\nacme = { domain = ["x"] }', "did you mean 'domains'"),
        ('[endpoints]\n"POST /x" = { core = "yes" }', "'core' is 'yes'"),
        ('[endpoints]\n"POST /x" = { value_per_call = -1.0 }', "greater than or equal to 0"),
        ("[features\n", "no TOML"),
    ],
)
def test_a_malformed_context_names_file_key_and_the_nearest_known_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as wrong:
        read_context(text, "my/context.toml")
    assert "my/context.toml" in str(wrong.value)


@pytest.mark.parametrize(
    ("pattern", "endpoint", "same"),
    [
        ("/v1/carts/*", "POST /v1/carts", True),
        ("/v1/carts/*", "POST /v1/carts/{id}/items", True),
        ("/v1/carts/*", "POST /v1/cartsx", False),
        ("/v1/orders/*/pay", "POST /v1/orders/{id}/pay", True),
        ("/v1/orders/{order_id}/pay", "POST /v1/orders/{id}/pay", True),
        ("GET /v1/orders", "POST /v1/orders", False),
        ("post /v1/orders", "POST /v1/orders", True),
    ],
)
def test_patterns_name_endpoints(pattern: str, endpoint: str, same: bool) -> None:
    assert (Context(owners={"team": [pattern]}).owner([endpoint]) == "team") is same


def test_a_reporter_speaks_for_the_account_named_else_for_that_of_the_mail_domain() -> None:
    assert SHOP.consumers_of("x@bluebird.example", "ACME") == ["app-01"]
    assert SHOP.consumers_of("x@mail.bluebird.example", None) == ["app-02", "app-03"]
    assert SHOP.consumers_of("x@notbluebird.example", None) == []


# -- what a text names


@pytest.mark.parametrize(
    ("path", "endpoints"),
    [
        ("/v1/orders/12/pay", {"POST /v1/orders/{id}/pay"}),
        ("/orders/12/pay", {"POST /v1/orders/{id}/pay"}),
        ("/shop/v1/orders/12/pay", {"POST /v1/orders/{id}/pay"}),
        ("/v1/orders/.../pay", {"POST /v1/orders/{id}/pay"}),
        ("/v1/orders", {"POST /v1/orders", "GET /v1/orders/{id}"}),
        ("/v1", set()),
        ("/v1/ordersx", set()),
    ],
)
def test_a_path_as_people_write_it_finds_its_endpoints(path: str, endpoints: set[str]) -> None:
    known = {"POST /v1/orders/{id}/pay", "POST /v1/orders", "GET /v1/orders/{id}", "GET /v1/exports/{id}"}
    assert {endpoint for endpoint in known if is_route(path, endpoint)} == endpoints


def test_ids_paths_and_codes_are_found_and_look_alikes_are_not() -> None:
    text = "POST https://api.example/v1/pay?x=1 gave 502 at 14:22, order 50312, 429.50 EUR, id 7f-00a1-bcd; and/or"
    assert statuses(text) == {502}
    assert paths(text) == ["/v1/pay"]
    assert "7f-00a1-bcd" in tokens(text)
    assert statuses("Bad Gateway again") == {502}


def test_words_of_other_languages_meet_the_words_of_routes() -> None:
    assert {"pay", "order"} <= stems("bezahlen der Bestellung")
    assert "pay" in stems("le paiement") & stems("payments") & stems("paying")


def test_signal_words_are_of_known_signals() -> None:
    said = "slow, fails with an error, unauthorized, 429 rate limit, nothing arrives, outage"
    (found,) = pl.select(signals(pl.lit(said))).to_series().to_list()
    assert found == ["latency", "errors", "auth", "rate_limit", "traffic"]
    assert set(found) == set(SIGNALS)


@pytest.mark.parametrize("piece", ["a", "/a", "queue ", "1-", "https://", "{", "eyJ.", "4 ", "é", "/" + "x" * 300])
def test_looking_at_a_hostile_text_comes_to_an_end(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    with comes_to_an_end():
        row = linked(items(item(body=text)), candidates(candidate()))[0]
    assert row["candidate_id"] is None


# -- links


def test_a_request_id_of_the_evidence_is_a_certain_link() -> None:
    said = items(item(title="Hello", body="look at REQ: req-0001-abcdef please"))
    row = linked(said, candidates(candidate(), candidate("other", request_ids=[])))[0]
    assert (row["candidate_id"], row["confidence"], row["band"]) == ("pay-1", 1.0, "auto")
    assert row["reasons"] == ["names request id req-0001-abcdef, one of its calls"]


def test_a_request_id_found_in_the_logs_links_to_the_candidate_whose_call_it_is() -> None:
    said = items(item(body="id 7f00a1bcd99"), item("T-2", body="id aa00a1bcd99"), item("T-3", body="id bb00a1bcd99"))
    endpoint = "POST /v1/orders/{id}/pay"
    calls = pl.DataFrame(
        [
            ("7f00a1bcd99", endpoint, MONDAY + 11 * HOUR, "app-09", 502, 90.0),
            ("aa00a1bcd99", endpoint, MONDAY + 11 * HOUR, "app-09", 200, 90.0),
            ("bb00a1bcd99", endpoint, MONDAY + 1 * HOUR, "app-09", 502, 90.0),
        ],
        schema=CALLS_NAMED,
        orient="row",
    )
    named = request_ids(said)
    assert {"7f00a1bcd99", "aa00a1bcd99", "bb00a1bcd99"} <= set(named["request_id"])
    first, succeeded, earlier = linked(said, candidates(candidate()), calls)
    assert (first["candidate_id"], first["confidence"]) == ("pay-1", 1.0)
    assert succeeded["candidate_id"] is None
    assert "status 200" in succeeded["reasons"][0]
    assert earlier["confidence"] < 1.0
    assert "a call like those of it within a day" in earlier["reasons"][0]


def test_a_question_that_names_a_call_as_slow_as_the_problem_is_about_it_and_one_that_names_a_quick_call_is_not() -> (
    None
):
    slow = candidate(
        endpoints=["POST /v1/cards/{id}/disputes"], signal="latency", state="ended", unit="ms", observed=2000.0,
        expected=500.0, hint={"status": None, "upstream": None, "consumer": None, "node": None}, request_ids=[],
    )  # fmt: skip
    at = slow["end"] + 1 * HOUR
    calls = pl.DataFrame(
        [(f"{name}0f9f278f6d7", slow["endpoints"][0], at, "app-13", 200, took) for name, took in (("a", 1900.0), ("b", 520.0))],
        schema=CALLS_NAMED,
        orient="row",
    )  # fmt: skip
    body = "Can you check request {}0f9f278f6d7 for me, about the refund? Where do I see what became of it?"
    said = items(*(item(name, body=body.format(name), created_at=at + 1 * HOUR) for name in "ab"))
    as_slow, quick = linked(said, candidates(slow, candidate("refund", endpoints=["POST /v1/refunds"])), calls)
    assert as_slow["candidate_id"] == "pay-1"
    assert quick["candidate_id"] is None


def test_a_call_named_long_before_the_detector_was_sure_is_that_problem_s() -> None:
    endpoint = "POST /v1/orders/{id}/pay"
    calls = pl.DataFrame(
        [("bb00a1bcd99", endpoint, MONDAY + 1 * HOUR, "app-09", 502, None)], schema=CALLS_NAMED, orient="row"
    )
    start = candidate()["start"]
    body = "Payment fails with an error, id bb00a1bcd99"
    row, other = linked(
        items(
            item(body=body, created_at=start - 9 * HOUR),
            item("T-2", body="Payment fails with an error", created_at=start - 9 * HOUR),
        ),
        candidates(candidate()),
        calls,
    )
    assert row["candidate_id"] == "pay-1"
    assert any("a call like those of it within a day" in reason for reason in row["reasons"])
    assert other["candidate_id"] is None


def test_a_report_that_names_route_and_status_links_with_its_reasons() -> None:
    said = items(item(title="Payment fails", body="POST /v1/orders/12/pay gives 502"))
    row = linked(said, candidates(candidate()))[0]
    assert (row["candidate_id"], row["band"]) == ("pay-1", "auto")
    assert "names status 502" in row["reasons"]
    assert "names /v1/orders/12/pay, which is POST /v1/orders/{id}/pay" in row["reasons"]
    assert "app-01 was hit by it" in row["reasons"]


def test_time_and_customer_alone_are_no_link() -> None:
    assert linked(items(item(body="hello there")), candidates(candidate()))[0]["candidate_id"] is None


def test_naming_another_route_or_status_speaks_against() -> None:
    problem = candidates(candidate(affected_consumers=[f"app-{n:02}" for n in range(1, 61)]))
    body = "our payment calls fail"
    confidence = [
        linked(items(item(body=text)), problem)[0]["confidence"]
        for text in (body, f"{body} with 404", f"{body}: GET /v1/exports/7")
    ]
    assert confidence[0] > 0.5 > max(confidence[1:])


def test_a_customer_who_was_not_hit_speaks_against() -> None:
    body = "the payment fails"
    hit, not_hit = (
        linked(items(item(body=body, reporter=who)), candidates(candidate(affected_consumers=["app-01"])))[0][
            "confidence"
        ]
        for who in ("x@acme.example", "x@bluebird.example")
    )
    assert hit > 0.9
    assert not_hit < 0.5


def test_two_problems_that_explain_a_report_equally_halve_each_other() -> None:
    said = items(item(body="payment and refund give 502"))
    alone = linked(said, candidates(candidate()))[0]["confidence"]
    twin = candidate("twin", request_ids=[], endpoints=["POST /v1/payment/{id}/refund"])
    both = linked(said, candidates(candidate(endpoints=["POST /v2/payment/{id}/refund"]), twin))[0]
    assert alone > 0.9
    assert both["confidence"] == pytest.approx(0.5, abs=0.01)


def test_two_sides_of_one_problem_share_their_confidence() -> None:
    said = items(item(body="POST /v1/orders/12/pay gives 502"))
    both = linked(said, candidates(candidate(), candidate("slow", signal="latency", request_ids=[])))[0]
    assert both["candidate_id"] == "pay-1"
    assert both["confidence"] > 0.9


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"body": "How do I pay?"}, "question"),
        ({"body": "please add an export"}, "wish for something new"),
        ({"body": "the button has the wrong color"}, "client side"),
        ({"body": "hello"}, "no call matches: no endpoint, id or error named"),
        ({"body": "GET /v1/exports/7 is broken"}, "nothing abnormal was measured at /v1/exports/7"),
        ({"body": "payment 502", "created_at": MONDAY - timedelta(days=30)}, "outside the logged period"),
        ({"body": "payment 502", "created_at": MONDAY + timedelta(days=30)}, "outside the logged period"),
        ({"title": "Automatic reply: pay 502", "body": "I am out of office"}, "automatic reply"),
        (
            {"body": "POST /v1/orders/7/pay is a typo, it says 404"},
            "names /v1/orders/7/pay, but what it says does not fit pay: 502",
        ),
        ({"body": "POST /v1/orders/7/pay 502", "created_at": MONDAY - 9 * HOUR}, "other time: pay: 502 lasted from"),
    ],
)
def test_a_report_without_trace_says_why(given: dict[str, Any], reason: str) -> None:
    row = linked(items(item(**given)), candidates(candidate(state="ended")))[0]
    assert row["candidate_id"] is None
    assert reason in row["reasons"][0]


def test_what_comes_close_is_named_for_people_to_decide_and_what_they_rejected_is_said_so() -> None:
    close = item(body="something is wrong with paying", title="Hello", reporter="x@elsewhere.example")
    refused = item("T-2", body="POST /v1/orders/12/pay gives 502")
    decided = pl.DataFrame([verdict("T-2", "pay-1", "rejected")], schema=VERDICTS, orient="row")
    problems = candidates(candidate(), candidate("cart", endpoints=["GET /v1/carts/{id}"], request_ids=[]))
    said = items(close, refused)
    first, second = link(Told(said, problems, NO_CALLS, categories(said), SHOP, LOGGED, 100), decided).to_dicts()
    assert first["candidate_id"] is None
    assert first["reasons"][1].startswith(f"perhaps pay-1 ({first['confidence']:.2g}), too unsure to link")
    assert second["reasons"][0] == "not about pay-1, says kim"


def test_an_automatic_reply_waits_behind_everything_that_is_open() -> None:
    reply = item(title="Automatic reply: your order", body="I am out of office until Monday.")
    (row,) = ranked(candidates(), items(reply))
    assert (row["priority"], row["state"], row["no_trace_reason"]) == ("P5", "resolved", "automatic reply")
    (row,) = ranked(candidates(), items(item(title="Order", body="I cannot see my order.")))
    assert row["state"] == "open"


def test_whose_call_a_report_names_has_told() -> None:
    said = items(item(body="POST /v1/orders/7/pay gives 502", reporter="x@nobody.example"))
    problems, kinds = candidates(candidate()), categories(said)
    links = link(Told(said, problems, NO_CALLS, kinds, SHOP, LOGGED, 100))

    def told(speaks_for: dict[str, str]) -> tuple[int, int, list[str]]:
        made, _ = queue(problems, said, links, NO_REPEATS, kinds, SHOP, MONDAY, 100, speaks_for=speaks_for)
        return made.select("told", "silent", "silent_consumers").row(0)  # type: ignore[return-value] # three columns

    assert told({}) == (1, 3, ["app-01", "app-02", "app-03"])
    assert told({"ticket:T-1": "app-02"}) == (1, 2, ["app-01", "app-03"])
    assert told({"ticket:T-1": "app-09"}) == (1, 3, ["app-01", "app-02", "app-03"])  # it was not hit


def test_without_candidates_every_report_has_no_trace() -> None:
    rows = linked(items(item(body="pay fails"), item("T-2")), candidates())
    assert [(row["feedback_id"], row["band"]) for row in rows] == [("T-1", "none"), ("T-2", "none")]


def test_a_certain_repeat_takes_the_link_of_the_first_report() -> None:
    links = pl.DataFrame(
        [
            ("ticket", "T-1", "pay-1", 0.97, "auto", ["names status 502"]),
            ("chat", "C-1", None, 0.1, "none", ["no call matches"]),
            ("chat", "C-2", None, 0.1, "none", ["no call matches"]),
        ],
        schema=LINKS,
        orient="row",
    )
    repeats = pl.DataFrame(
        [
            ("chat", "C-1", "ticket", "T-1", 1.0, "auto", "names T-1"),
            ("chat", "C-2", "ticket", "T-1", 0.6, "suggested", "similar"),
        ],
        schema=DUPLICATES,
        orient="row",
    )
    made = inherit(links, repeats)
    assert made["candidate_id"].to_list() == ["pay-1", "pay-1", None]
    assert made["reasons"].to_list()[1] == ["repeats ticket:T-1, which is linked"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=6), st.randoms())
def test_law_every_item_gets_one_link_whatever_it_says_and_in_whatever_order(texts: list[str], shuffle: Any) -> None:
    rows = [item(f"T-{n}", body=text, title=text[::-1]) for n, text in enumerate(texts)]
    problems = candidates(candidate(), candidate("cart", endpoints=["GET /v1/carts/{id}"]))
    made = {row["feedback_id"]: row for row in linked(items(*rows), problems)}
    assert len(made) == len(rows)
    shuffle.shuffle(rows)
    again = {row["feedback_id"]: row for row in linked(items(*rows), problems)}
    for key, row in made.items():
        assert again[key]["candidate_id"] == row["candidate_id"]
        assert again[key]["confidence"] == pytest.approx(row["confidence"])


# -- severity and priority


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"observed": 0.5, "expected": 0.0, "n": 2000}, "critical"),
        ({"observed": 0.14, "expected": 0.002, "n": 2000}, "high"),
        ({"observed": 0.5, "expected": 0.0, "n": 2}, "medium"),  # two calls show little: Wilson
        ({"observed": 900.0, "expected": 100.0, "unit": "ms"}, "critical"),
        ({"observed": 200.0, "expected": 100.0, "unit": "ms"}, "medium"),
        ({"observed": 0.0, "expected": 40.0, "unit": "calls"}, "critical"),
        ({"observed": None, "expected": None, "n": None, "severity": "high"}, "high"),
        ({"observed": 5.0, "expected": 0.0, "unit": "ms"}, "low"),
    ],
)
def test_severity_follows_effect_and_certainty(given: dict[str, Any], expected: str) -> None:
    made = severity(candidates(candidate(**{"severity": "low", **given})))
    assert made.select(label(pl.col("severity_score"))).item() == expected


def problem(**given: Any) -> dict[str, Any]:
    """A row that prioritise takes; all parts 0 but those given."""
    fixed = {
        "id": "pay-1",
        "fingerprint": "f1",
        "kind": "candidate",
        "state": "open",
        "label": "medium",
        "category": "bug",
    }
    return fixed | {"hit": 40, "told": 1, "core": False} | dict.fromkeys(SHARES, 0.0) | given


def prioritised(rows: pl.DataFrame, before: pl.DataFrame | None = None, *overrides: tuple[Any, ...]) -> pl.DataFrame:
    given = pl.DataFrame(list(overrides), schema=OVERRIDES, orient="row")
    return prioritise(rows, pl.DataFrame(schema=RANKING) if before is None else before, given, MONDAY)


def at_weight(weight: float, **given: Any) -> pl.DataFrame:
    """One problem all of whose parts make it weigh so much."""
    return pl.DataFrame([problem(**dict.fromkeys(SHARES, weight / 100), **given)])


@pytest.mark.parametrize(
    ("then", "now", "impact"),
    [(54, 58, 2), (54, 61, 1), (57, 52, 1), (57, 49, 2), (70, 20, 3), (57, 26, 2), (10, 90, 1)],
)
def test_a_priority_follows_its_weight_only_some_points_beyond_a_cut(then: float, now: float, impact: int) -> None:
    before = ranking(prioritised(at_weight(then)))
    assert prioritised(at_weight(now), before)["impact"].item() == impact


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
@settings(max_examples=30, deadline=None)
def test_hysteresis_never_holds_a_weight_that_is_far_from_its_cuts(weights: list[float]) -> None:
    before = None
    for weight in weights:
        made = prioritised(at_weight(weight), before)
        before = ranking(made)
        if all(abs(weight - cut) > 5 for cut in (30, 55)):
            assert made["impact"].item() == (1 if weight >= 55 else 2 if weight >= 30 else 3)


def test_each_move_is_explained() -> None:
    before = ranking(prioritised(at_weight(40)))
    (row,) = prioritised(at_weight(52, hit=300, told=3), before).to_dicts()
    assert row["moved"].startswith("+12: P3→P2, hit 40→300, told 1→3, revenue +3")
    assert prioritised(at_weight(40), before)["moved"].item() is None


def test_an_override_stands_until_its_time_and_says_who_and_why() -> None:
    rows = at_weight(
        90,
    ).with_columns(severity=pl.lit(0.9))
    plain = prioritised(rows)
    soon, past = MONDAY + HOUR, MONDAY - HOUR
    (held,) = prioritised(rows, ranking(plain), ("f1", "priority", "P4", "kim", "agreed", soon)).to_dicts()
    assert (plain["priority"].item(), held["priority"]) == ("P1", "P4")
    assert held["override"] == f"kim until {soon:%Y-%m-%d %H:%MZ}: agreed"
    assert held["moved"] == f"+0: P1→P4, set by {held['override']}"
    for over in (("f1", "priority", "P4", "kim", None, past), ("f1", "priority", "computed", "kim", None, None)):
        assert prioritised(rows, None, over)["priority"].item() == "P1"


def test_rice_is_reach_times_impact_times_confidence_by_effort_and_moscow_asks_for_must_first() -> None:
    cosmetic = problem(id="theme", fingerprint="t", hit=5400, label="low")
    loss = problem(id="loss", fingerprint="l", hit=9, label="critical", core=True)
    wish = problem(id="t:1", fingerprint=None, kind="feedback", hit=None, told=4, category="enhancement", label="low")
    found = prioritised(pl.DataFrame([cosmetic, loss, wish]), None, ("l", "effort", "2", "kim", None, None))
    assert dict(found.select("id", "rice").rows()) == {"theme": 2700.0, "loss": 13.5, "t:1": 1.0}
    assert dict(found.select("id", "moscow").rows()) == {"theme": "could", "loss": "must", "t:1": "wont"}


def test_a_wish_rises_where_it_lifts_a_struggling_segment() -> None:
    wish = "Please add an option to retry {}"
    said = items(
        item("T-1", body=wish.format("POST /v1/orders/{id}/pay")),
        item("T-2", reporter="x@elsewhere.example", body=wish.format("GET /v1/themes/{id}")),
    )
    kinds = categories(said)
    assert kinds["category"].to_list() == ["enhancement"] * 2
    links = pl.DataFrame(
        [("ticket", key, None, 0.0, "none", ["wish for something new"]) for key in ("T-1", "T-2")],
        schema=LINKS,
        orient="row",
    )
    hit = candidate(consumers_hit=30)
    made, _ = queue(candidates(hit), said, links, NO_REPEATS, kinds, SHOP, MONDAY + 20 * HOUR, 100)
    weight = dict(made.select("id", "weight").rows())
    assert weight["ticket:T-1"] > weight["ticket:T-2"] + 10
    calm, _ = queue(candidates(), said, links, NO_REPEATS, kinds, SHOP, MONDAY + 20 * HOUR, 100)
    assert calm.filter(id="ticket:T-1")["weight"].item() < weight["ticket:T-1"] - 10


def test_the_points_of_the_parts_sum_to_the_weight_and_unknown_parts_are_left_out() -> None:
    rows = pl.DataFrame(
        [
            problem(**dict.fromkeys(SHARES, 0.5)),
            problem(**dict.fromkeys(SHARES, 1.0) | {"revenue": None}),
        ]
    )
    known, partly = prioritised(rows).to_dicts()
    for row in (known, partly):
        assert sum(part["points"] for part in row["parts"]) == pytest.approx(row["weight"])
        assert sum(part["weight"] for part in row["parts"]) == pytest.approx(1.0)
    assert known["weight"] == pytest.approx(50.0)
    assert partly["weight"] == pytest.approx(100.0)
    assert [part["name"] for part in partly["parts"]] == [name for name in SHARES if name != "revenue"]
    assert partly["why"].startswith("severity +33.3")


def test_few_users_with_a_financial_loss_come_before_a_cosmetic_issue_of_many() -> None:
    loss = candidate("refund", endpoints=["POST /v1/orders/{id}/refunds"], affected_consumers=["app-17"])
    cosmetic = candidate(
        "theme",
        endpoints=["GET /v1/themes/{id}"],
        affected_consumers=[f"app-{n:02}" for n in range(90)],
        severity="low",
        observed=0.01,
        excess_calls=900.0,
        request_ids=[],
    )
    said = items(
        *(
            item(f"T-{n}", reporter=f"u{n}@x.example", body="the icon in the theme has the wrong color")
            for n in range(9)
        )
    )
    order = [row["id"] for row in ranked(candidates(loss, cosmetic), said) if row["kind"] == "candidate"]
    assert order == ["refund-1", "theme-1"]


def test_a_critical_bug_in_a_core_function_comes_before_one_in_a_rare_feature() -> None:
    core = candidate(severity="critical")
    rare = candidate("rare", severity="critical", endpoints=["GET /v1/horoscopes/{id}"], request_ids=[])
    first, second = ranked(candidates(rare, core), items())
    assert (first["id"], second["id"]) == ("pay-1", "rare-1")
    assert first["priority"] == "P1"
    assert first["weight"] > second["weight"] + 20


def test_what_is_over_is_less_urgent_than_what_is_open() -> None:
    first, second = ranked(candidates(candidate(), candidate("old", state="ended", request_ids=[])), items())
    assert (first["id"], second["id"]) == ("pay-1", "old-1")
    assert first["priority"] < second["priority"]


def test_a_trivial_remark_does_not_stand_before_an_incident_that_is_over() -> None:
    over = candidate(
        "exports", endpoints=["GET /v1/exports/{id}"], state="ended", severity="high", request_ids=[],
        affected_consumers=[f"app-{n}" for n in range(53)],
    )  # fmt: skip
    running = candidate("stock", endpoints=["GET /v1/stock"], severity="low", observed=0.005, request_ids=[])
    cake = item(body="cake in the kitchen for the go-live team!!", reporter="support@shop.example", channel="chat")
    slow = item("T-2", title=None, body="the search is broken since noon", reporter="ruth@x.example")
    rows = {row["id"]: row for row in ranked(candidates(over, running), items(cake, slow))}
    assert list(rows)[-2:] == ["exports-1", "chat:T-1"]
    assert {rows["exports-1"]["priority"], rows["chat:T-1"]["priority"]} == {"P5"}
    # What goes on in the logs, and what is said to be bad, stay before what is over.
    assert {rows["stock-1"]["priority"], rows["ticket:T-2"]["priority"]} <= {"P3", "P4"}


def test_without_context_revenue_and_compliance_are_unknown_not_zero() -> None:
    (row,) = ranked(candidates(candidate()), items(), Context())
    assert {"revenue", "compliance"}.isdisjoint(part["name"] for part in row["parts"])


# -- the feedback gap


def test_hit_told_and_silent_count_consumers_once_however_many_people_wrote() -> None:
    body = "POST /v1/orders/12/pay gives 502"
    said = items(
        item("T-1", body=body, reporter="a@acme.example"),
        item("T-2", body=body, reporter="b@acme.example"),
        item("T-3", body=body, reporter="stranger@post.example"),
    )
    row = next(row for row in ranked(candidates(candidate()), said) if row["kind"] == "candidate")
    assert (row["hit"], row["told"], row["silent"]) == (3, 2, 2)
    assert row["silent_consumers"] == ["app-02", "app-03"]
    assert [report["id"] for report in row["reports"]] == ["T-1", "T-2", "T-3"]
    assert row["owner"] == "payments"


def test_an_account_tells_for_all_its_consumers_that_were_hit() -> None:
    said = items(item(body="POST /v1/orders/12/pay gives 502", reporter="x@bluebird.example"))
    (row,) = ranked(candidates(candidate()), said)
    assert (row["told"], row["silent_consumers"]) == (2, ["app-01"])


def test_more_consumers_hit_than_listed_stay_in_the_count() -> None:
    (row,) = ranked(candidates(candidate(consumers_hit=5000)), items())
    assert (row["hit"], row["silent"], len(row["silent_consumers"])) == (5000, 5000, 3)


def test_feedback_without_trace_is_a_row_of_its_own_and_repeats_share_it() -> None:
    said = items(
        item("T-1", body="How do I get a key?"),
        item("T-2", body="How do I get a key?", reporter="other@x.example", created_at=MONDAY + 12 * HOUR),
    )
    repeats = pl.DataFrame([("ticket", "T-2", "ticket", "T-1", 0.99, "auto", "same")], schema=DUPLICATES, orient="row")
    kinds = categories(said)
    links = link(Told(said, candidates(), NO_CALLS, kinds, SHOP, LOGGED, 100))
    (row,) = queue(candidates(), said, links, repeats, kinds, SHOP, MONDAY, 100)[0].to_dicts()
    assert (row["kind"], row["id"], row["told"], row["hit"], row["silent"]) == ("feedback", "ticket:T-1", 2, None, None)
    assert row["no_trace_reason"] == "question"
    assert len(row["reports"]) == 2


def test_untriaged_feedback_says_what_to_type() -> None:
    said = items(item(body="pay fails"))
    made, _ = queue(candidates(), said, pl.DataFrame(schema=LINKS), NO_REPEATS, categories(said), SHOP, MONDAY, None)
    assert "apilens triage" in made["no_trace_reason"].item()


def test_a_small_problem_above_a_big_one_is_explained_by_the_parts_that_differ() -> None:
    few = candidate("refund", endpoints=["POST /v1/orders/{id}/refunds"], affected_consumers=["app-17"])
    many = candidate("theme", endpoints=["GET /v1/themes/{id}"], affected_consumers=[f"a{n}" for n in range(40)])
    said = items()
    made, _ = queue(
        candidates(few, many), said, pl.DataFrame(schema=LINKS), NO_REPEATS, categories(said), SHOP, MONDAY, 100
    )
    why = surprise(made)
    assert why is not None
    assert why.startswith("why 1 above 2: ")
    assert "compliance +16" in why  # 15 of 95: nobody wrote, so experience is not known
    assert "reach −" in why
    assert surprise(made.filter(pl.col("rank") == 1)) is None


def test_whom_a_problem_hit_is_unknown_not_nobody_where_no_call_names_a_consumer() -> None:
    one = candidate("pay", endpoints=["POST /v1/pay"], consumers_hit=None, affected_consumers=[])
    other = candidate("search", endpoints=["GET /v1/search"], consumers_hit=None, affected_consumers=[])
    said = items()
    made, _ = queue(
        candidates(one, other), said, pl.DataFrame(schema=LINKS), NO_REPEATS, categories(said), SHOP, MONDAY, None
    )
    assert made.select("hit", "told", "silent").rows() == [(None, 0, None)] * 2
    assert surprise(made) is None
    for row in made.to_dicts():
        assert "reach" not in {part["name"] for part in row["parts"]}


def test_the_queue_of_nothing_is_empty() -> None:
    assert ranked(candidates(), items()) == []


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from(["pay 502", "How do I?", "slow export", "", "GET /v1/orders/1/pay 502"]), max_size=6),
    st.integers(0, 3),
)
def test_law_every_item_and_candidate_is_in_the_queue_exactly_once(texts: list[str], problems: int) -> None:
    said = items(*(item(f"T-{n}", body=text) for n, text in enumerate(texts)))
    raised = candidates(*(candidate(f"c{n}", request_ids=[]) for n in range(problems)))
    rows = ranked(raised, said)
    assert sorted(row["id"] for row in rows if row["kind"] == "candidate") == sorted(raised["id"])
    assert sorted(report["id"] for row in rows for report in row["reports"]) == sorted(said["id"])
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["severity"] in SEVERITIES and 0 <= row["weight"] <= 100 for row in rows)
    for row in rows:
        if row["kind"] == "candidate":
            assert row["silent"] <= row["hit"]
            assert row["hit"] - row["silent"] <= row["told"]


# -- learning from people


def verdict(name: str, candidate_id: str | None, said: str = "confirmed") -> tuple[str, str, str | None, str, str]:
    return ("ticket", name, candidate_id, said, "kim")


def test_what_people_reject_makes_the_same_evidence_weaker_for_others() -> None:
    said = items(*(item(f"T-{n}", body="payments fail") for n in range(12)))
    problem = candidates(candidate(affected_consumers=[f"app-{n:02}" for n in range(1, 61)]))
    plain = linked(said, problem)[-1]["confidence"]
    decided = pl.DataFrame([verdict(f"T-{n}", "pay-1", "rejected") for n in range(11)], schema=VERDICTS, orient="row")
    links = link(Told(said, problem, NO_CALLS, categories(said), SHOP, LOGGED, 100), decided).to_dicts()
    assert [row["candidate_id"] for row in links[:11]] == [None] * 11
    assert links[-1]["confidence"] < plain - 0.1


def test_words_of_confirmed_reports_link_the_next_one() -> None:
    said = items(
        *(item(f"T-{n}", body="the blue thing blinks") for n in range(4)), *(item(f"U-{n}") for n in range(40))
    )
    problem = candidates(candidate())
    assert linked(said, problem)[3]["candidate_id"] is None
    decided = pl.DataFrame([verdict(f"T-{n}", "pay-1") for n in range(3)], schema=VERDICTS, orient="row")
    row = link(Told(said, problem, NO_CALLS, categories(said), SHOP, LOGGED, 100), decided).to_dicts()[3]
    assert row["candidate_id"] == "pay-1"
    assert any("confirmed" in reason for reason in row["reasons"])


def test_an_endpoint_of_the_logs_that_fits_better_speaks_against_a_candidate() -> None:
    said = items(item(body="refunds of orders fail"))
    problem = candidates(candidate(affected_consumers=[f"app-{n:02}" for n in range(1, 61)]))
    alone, beside = (
        link(Told(said, problem, NO_CALLS, categories(said), Context(), LOGGED, 100, known)).row(0, named=True)
        for known in ((), ("POST /v1/orders/{id}/refunds", "GET /v1/search", "GET /v1/exports/{id}"))
    )
    assert alone["candidate_id"] == "pay-1"
    assert beside["confidence"] < alone["confidence"] - 0.05


def test_an_alert_is_evidence_and_no_reporter() -> None:
    alert = item("A-1", body="POST /v1/orders/12/pay 502", reporter=None, attributes={"automatic": "true"})
    said = items(item(body="POST /v1/orders/12/pay gives 502"), alert)
    (row,) = ranked(candidates(candidate()), said)
    assert (row["told"], len(row["reports"])) == (1, 2)


# -- escalation


def escalated(said: pl.DataFrame, problems: pl.DataFrame, repeats: pl.DataFrame = NO_REPEATS) -> list[dict[str, Any]]:
    context = read_context('[accounts]\nbig = { domains = ["big.example"], vip = true }', "c")
    kinds = categories(said)
    links = link(Told(said, problems, NO_CALLS, kinds, context, LOGGED, 100))
    return escalations(said, links, repeats, kinds, problems, context, 100).to_dicts()


def talk(name: str, body: str, **given: Any) -> dict[str, Any]:
    return item(name, body=body, channel="chat", **given)


@pytest.mark.parametrize(
    ("body", "given", "why"),
    [
        ("production is down", {}, "words are those of something severe"),
        ("it fails for us", {"reporter": "kim@mail.big.example"}, "VIP account"),
        ("it fails for us", {}, None),
        ("how do I ask when production is down?", {}, None),
        ("production is down", {"channel": "jira"}, None),
    ],
)
def test_talk_becomes_a_ticket_for_a_reason_or_stays_talk(body: str, given: dict[str, Any], why: str | None) -> None:
    found = escalated(items(talk("C-1", body) | given), candidates())
    assert [why in "; ".join(row["why"]) for row in found if why] == ([True] if why else [])
    assert len(found) == (why is not None)
    assert all(row["widespread"] == "unknown: no trace in the logs" for row in found)


def test_what_the_logs_show_is_escalated_with_everybody_who_wrote_and_how_widespread_it_is() -> None:
    said = [talk(f"C-{n}", "POST /v1/orders/12/pay gives 502", reporter=f"p{n}") for n in range(3)]
    hit = [f"app-{n}" for n in range(30)]
    (row,) = escalated(items(*said), candidates(candidate(affected_consumers=hit)))
    assert (row["id"], row["reporters"], row["candidate_id"]) == ("C-0", ["p0", "p1", "p2"], "pay-1")
    assert row["why"] == ["3 people wrote about it", "the logs show it: pay: 502"]
    assert (row["hit"], row["widespread"]) == (30, "yes: 30 consumers of 100 hit")
    ticket = item("T-1", body="POST /v1/orders/12/pay gives 502")
    assert escalated(items(*said, ticket), candidates(candidate(affected_consumers=hit))) == []


def test_whether_it_is_widespread_is_unknown_where_no_call_says_whom_it_hit() -> None:
    said = [talk(f"C-{n}", "POST /v1/orders/12/pay gives 502", reporter=f"p{n}") for n in range(3)]
    (row,) = escalated(items(*said), candidates(candidate(affected_consumers=[], consumers_hit=None)))
    assert (row["hit"], row["widespread"]) == (None, "unknown: the calls name no consumer")


# -- problems that cause each other

NO_DECISIONS = pl.DataFrame(schema=DECISIONS)


def behind(node: str | None, consumer: str | None = None) -> dict[str, str | None]:
    return {"status": "502", "upstream": node, "consumer": consumer, "node": None}


@pytest.mark.parametrize(
    ("given", "proposed"),
    [
        ({"hint": behind("db-1")}, "both behind upstream db-1, 10 minutes after it began"),
        ({"hint": behind("db-2")}, None),
        ({"hint": behind(None)}, "the same service, 100% of the same consumers, 10 minutes after it began"),
        ({"hint": behind(None), "affected_consumers": ["x", "y", "z"]}, None),
        ({"hint": behind("db-1"), "start": MONDAY + 11 * HOUR}, None),
        ({"hint": behind("db-1"), "endpoints": ["POST /v1/orders/{id}/pay"]}, None),
    ],
)
def test_a_cause_is_proposed_from_what_two_problems_share(given: dict[str, Any], proposed: str | None) -> None:
    first = candidate(hint=behind("db-1") if given["hint"]["upstream"] else behind(None))
    then = candidate("search", **{"endpoints": ["GET /v1/search"], "start": MONDAY + 10 * HOUR + timedelta(minutes=10), **given})  # fmt: skip
    found = related(candidates(then, first), NO_DECISIONS).to_dicts()
    assert [row["why"] for row in found] == ([proposed] if proposed else [])
    assert all((row["id"], row["other"], row["verdict"]) == ("search-1", "pay-1", "proposed") for row in found)


def test_what_people_say_about_a_cause_takes_the_place_of_the_proposal() -> None:
    first, then = candidate(), candidate("search", endpoints=["GET /v1/search"])
    said = ("caused_by", then["fingerprint"], first["fingerprint"], "rejected", "kim", "chance", MONDAY, None)
    decided = pl.DataFrame([said], schema=DECISIONS, orient="row")
    (row,) = related(candidates(first, then), decided).to_dicts()
    assert (row["verdict"], row["why"]) == ("rejected", "kim says so: chance")


def test_an_api_documents_tags_are_features_for_names_the_context_does_not_have() -> None:
    document = {
        "openapi": "3.0.0",
        "servers": [{"url": "/v1"}],
        "paths": {"/x/{n}": {"get": {"tags": ["Refrigeration", "payment", 7]}, "put": {"tags": "x"}}},
    }
    api = read_openapi([(document, "api.yaml")])
    assert OpenApi.from_json(api.to_json()).features == api.features
    assert api.features["Refrigeration"] == ["GET /v1/x/{id}", "GET /x/{id}"]
    context = SHOP.with_features(api.features)
    assert context.features["payment"] == ["/v1/orders/*/pay"]
    problem = candidates(candidate("cold", endpoints=["GET /v1/x/{id}"], request_ids=[]), candidate(request_ids=[]))
    said = items(item(body="refrigeration fails with an error since this morning"))
    with_tags, without = (linked(said, problem, context=of)[0]["candidate_id"] for of in (context, SHOP))
    assert (with_tags, without) == ("cold-1", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("404 on /v9/loyalty/points", "gateway not ingested? the logs have no call of /v9/loyalty/points"),
        ("GET /v1/search fails", "nothing abnormal was measured at /v1/search at that time"),
        ("POST /v1/orders/12/pay fails", "other time: Payments fail lasted from"),
    ],
)
def test_a_report_of_a_path_without_a_candidate_says_why(text: str, reason: str) -> None:
    past = candidate(start=MONDAY - timedelta(days=30), state="ended", title="Payments fail", request_ids=[])
    logged = Window(MONDAY - timedelta(days=40), MONDAY + timedelta(days=7))
    known = ("GET /v1/search", "POST /v1/orders/{id}/pay")
    said = items(item(body=text))
    (found,) = link(Told(said, candidates(past), NO_CALLS, categories(said), SHOP, logged, 100, known)).to_dicts()
    assert found["candidate_id"] is None
    assert found["reasons"][0].startswith(reason)
