"""Which problem in the logs a report is about, with reasons a person can check."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens.schema import LINKS
from apilens.triage.context import Context
from apilens.triage.evidence import (
    AFTER,
    AUTOMATIC,
    AUTOMATIC_REPLY,
    BEFORE,
    CLIENT_SIDE,
    LEARNED,
    calls_of,
    gather,
    learn_words,
    names_in,
    text,
    word_model,
)
from apilens.triage.weights import CONTENT, WEIGHTS, Choices, refit
from apilens.triage.words import is_route, tokens
from apilens.window import Window

AUTO = 0.90  # at or above: linked without asking
SUGGESTED = 0.50  # at or above: linked, to be confirmed
_PERHAPS = 0.20  # at or above: not linked, but worth a look of a person
_AT_ONCE = 1000  # items weighed at once: each meets every candidate of its time, and memory has to hold the pairs

#: One row per decision of a person on a link; candidate_id null: about no candidate at all (confirmed), or none of them
#: (rejected). verdict: confirmed | rejected.
VERDICTS = pl.Schema(
    [
        ("channel", pl.String),
        ("feedback_id", pl.String),
        ("candidate_id", pl.String),
        ("verdict", pl.String),
        ("who", pl.String),
    ]
)


def request_ids(items: pl.DataFrame) -> pl.DataFrame:
    """What may be a request id in the items: columns channel, id, request_id, at most 200 per item.

    items: schema.ITEMS. Only a look into the logs tells which of them are.
    """
    found = items.select(
        "channel", "id", text().map_elements(tokens, return_dtype=pl.List(pl.String)).alias("request_id")
    )
    return found.explode("request_id").drop_nulls("request_id")


@dataclass(frozen=True)
class Told:
    """What was reported, and what the logs know about it.

    items: schema.ITEMS; candidates: schema.CANDIDATES; calls: CALLS_NAMED; categories: channel, id, category.
    logged: the period the logs cover. population: consumers in the logs, None: unknown. endpoints: all that the logs know
    ("METHOD /route/{id}").
    """

    items: pl.DataFrame
    candidates: pl.DataFrame
    calls: pl.DataFrame
    categories: pl.DataFrame
    context: Context
    logged: Window
    population: int | None
    endpoints: Sequence[str] = ()


def link(told: Told, verdicts: pl.DataFrame | None = None) -> pl.DataFrame:
    """schema.LINKS: each item with its best candidate, or with none and why.

    verdicts: VERDICTS; they stand, and what they teach (weights, words) counts for the others.
    confidence: share of the candidate in 1 + sum of exp(log-odds) over the candidates of its time, so two problems that
    explain a report equally well halve each other; candidates that show the same endpoint at the same time are one
    problem and share theirs. A request id in the evidence makes it 1.0.
    """
    numbered, view = _held(told)
    decided = pl.DataFrame(schema=VERDICTS) if verdicts is None else verdicts
    if not decided.is_empty():
        confirmed = decided.filter(verdict="confirmed").drop_nulls("candidate_id")
        view.learned = learn_words(told.items, confirmed, told.candidates)
        view.weights = _taught(numbered, view, decided)
    found = [_link(numbered[start : start + _AT_ONCE], view, decided) for start in range(0, numbered.height, _AT_ONCE)]
    return pl.concat([pl.DataFrame(schema=LINKS), *found])


def examples(told: Told, right: pl.DataFrame) -> Choices:
    """What weights are fitted on, from items of which the right candidates are known.

    right: one row per right answer, columns channel, feedback_id, candidate_id (null: none). An item whose call is in the
    evidence is no example: it is linked whatever the weights.
    """
    numbered, view = _held(told)
    exact = _exact(names_in(numbered), view.problems, told.calls)
    ids = view.problems.select("candidate", candidate_id="id")
    answers = (
        right.join(numbered.select("row", "channel", feedback_id="id"), on=["channel", "feedback_id"])
        .join(ids, on="candidate_id", how="left")
        .join(exact, on="row", how="anti")
    )
    return choices(numbered, view, answers.select("row", "candidate"))


def _held(told: Told) -> tuple[pl.DataFrame, _View]:
    numbered = told.items.with_row_index("row").join(
        told.categories.select("channel", "id", "category"), on=["channel", "id"], maintain_order="left"
    )
    problems = told.candidates.with_row_index("candidate")
    return numbered, _View(told, problems, word_model(numbered, problems))


class _View:
    """What all items are held against."""

    def __init__(self, told: Told, problems: pl.DataFrame, model: Any) -> None:
        self.told, self.problems, self.model = told, problems, model
        self.rows = problems.select("title", "start", "end", "state", "endpoints").to_dicts()
        self.learned = pl.DataFrame(schema=LEARNED)
        self.weights: Mapping[str, float] = WEIGHTS
        self.together = _together(problems)
        self._known = {*told.endpoints, *problems["endpoints"].explode().drop_nulls()}
        self._endpoints_of: dict[str, set[str]] = {}

    def endpoints_of(self, path: str) -> set[str]:
        """The endpoints of the logs that a path written in a report is a call of."""
        shape = re.sub(r"[^/]*\d\d[^/]*", "{id}", path)
        if shape not in self._endpoints_of:
            self._endpoints_of[shape] = {endpoint for endpoint in self._known if is_route(path, endpoint)}
        return self._endpoints_of[shape]

    def evidence(self, items: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
        """evidence.EVIDENCE of the items."""
        return gather(
            items,
            named,
            self.problems,
            self.told.calls,
            self.told.context,
            self.told.population,
            self.told.endpoints,
            self.model,
            self.learned,
        )


def _together(problems: pl.DataFrame) -> pl.DataFrame:
    """Pairs (candidate, other) that show one endpoint at one time: two sides of one problem; each with itself too."""
    spans = (
        problems.select("candidate", "start", "end", endpoint="endpoints").explode("endpoint").drop_nulls("endpoint")
    )
    hour = timedelta(hours=1)
    meet = (pl.col("start") <= pl.col("end_other") + hour) & (pl.col("start_other") <= pl.col("end") + hour)
    pairs = spans.join(spans, on="endpoint", suffix="_other").filter(meet).select("candidate", other="candidate_other")
    itself = problems.select("candidate", other="candidate")
    return pl.concat([pairs, itself]).unique()


def choices(items: pl.DataFrame, view: _View, right: pl.DataFrame) -> Choices:
    """What the weights are fitted on: the evidence of each pair that could be linked, and which answers are allowed.

    items: with row and category. right: one row per allowed answer, columns row and candidate (null: none of them).
    """
    rows = items.join(right.select("row").unique(), on="row", how="semi", maintain_order="left")
    evidence = view.evidence(rows, names_in(rows))
    shared = evidence.filter(pl.col("candidate").is_null()).drop("candidate")
    pairs = evidence.drop_nulls("candidate")
    open_pairs = pairs.filter(pl.col("name").is_in(CONTENT)).select("row", "candidate").unique(maintain_order=True)
    whole = pl.concat(
        [
            pairs.select("row", "candidate", "name", "value").join(open_pairs, on=["row", "candidate"], how="semi"),
            open_pairs.join(shared, on="row").select("row", "candidate", "name", "value"),
        ]
    )
    return Choices.of(whole, right)


def _taught(numbered: pl.DataFrame, view: _View, decided: pl.DataFrame) -> Mapping[str, float]:
    """The weights after what people decided."""
    ids = view.problems.select("candidate", candidate_id="id")
    of = decided.join(numbered.select("row", "channel", feedback_id="id"), on=["channel", "feedback_id"]).join(
        ids, on="candidate_id", how="left"
    )
    confirmed = of.filter(verdict="confirmed").select("row", "candidate")
    rejected = of.filter(verdict="rejected").join(confirmed, on="row", how="anti").drop_nulls("candidate")
    # A rejected candidate leaves every other answer open.
    everything = pl.concat(
        [ids.select("candidate"), pl.DataFrame({"candidate": [None]}, schema={"candidate": pl.UInt32})]
    )
    others = (
        rejected.select("row")
        .unique()
        .join(everything, how="cross")
        .join(rejected.select("row", "candidate"), on=["row", "candidate"], how="anti", nulls_equal=True)
    )
    right = pl.concat([confirmed, others.select("row", "candidate")])
    return refit(choices(numbered, view, right)) if not right.is_empty() else WEIGHTS


def _link(numbered: pl.DataFrame, view: _View, decided: pl.DataFrame) -> pl.DataFrame:
    problems = view.problems
    named = names_in(numbered)
    exact = _exact(named, problems, view.told.calls)
    log_odds = pl.col("name").replace_strict(dict(view.weights), return_dtype=pl.Float64) * pl.col("value")
    evidence = view.evidence(numbered, named).with_columns(weight=log_odds)
    shared = evidence.filter(pl.col("candidate").is_null()).group_by("row").agg(pl.col("weight").sum().alias("shared"))
    ids = problems.select("candidate", candidate_id="id")
    rows = numbered.select("row", "channel", feedback_id="id")
    of = decided.join(rows, on=["channel", "feedback_id"]).join(ids, on="candidate_id", how="left")
    refused = of.filter(verdict="rejected").select("row", "candidate", "candidate_id", "who")
    none_of_them = of.filter(pl.col("candidate_id").is_null()).select("row")
    odds = (
        evidence.drop_nulls("candidate")
        .join(refused, on=["row", "candidate"], how="anti")
        .sort("row", "candidate", "weight", "reason", descending=[False, False, True, False])
        .group_by("row", "candidate", maintain_order=True)
        .agg(
            pl.col("weight").sum(), pl.col("name").is_in(CONTENT).any().alias("content"), pl.col("reason").drop_nulls()
        )
        .join(shared, on="row")
        .filter("content")
        .with_columns((pl.col("weight") + pl.col("shared")).clip(-30, 30).exp().alias("odds"))
    )
    together = (
        odds.select("row", "candidate")
        .join(view.together, on="candidate")
        .join(odds.select("row", other="candidate", more="odds"), on=["row", "other"])
        .group_by("row", "candidate")
        .agg(pl.col("more").sum())
    )
    scored = odds.join(together, on=["row", "candidate"]).with_columns(
        (pl.col("more") / (1 + pl.col("odds").sum().over("row"))).alias("confidence"), own=pl.col("odds")
    )
    sure = (
        of.filter(verdict="confirmed")
        .drop_nulls("candidate")
        .select(
            "row",
            "candidate",
            confidence=1.0,
            own=math.inf,
            reason=pl.concat_list(pl.format("confirmed by {}", "who")),
        )
    )
    columns = ["row", "candidate", "confidence", "own", "reason"]
    exact = exact.join(refused, on=["row", "candidate"], how="anti")
    best = pl.concat([frame.select(columns) for frame in (sure, exact, scored)]).join(
        none_of_them, on="row", how="anti"
    )
    best = (
        best.join(ids, on="candidate")
        .sort(["row", "confidence", "own", "candidate"], descending=[False, True, True, False])
        .unique("row", keep="first", maintain_order=True)
    )
    linked = best.filter(pl.col("confidence") >= SUGGESTED)
    closest = best.select("row", "confidence", perhaps=pl.when(pl.col("confidence") >= _PERHAPS).then(_perhaps()))
    none = numbered.join(linked, on="row", how="anti").join(closest, on="row", how="left")
    band = pl.when(pl.col("confidence") >= AUTO).then(pl.lit("auto")).otherwise(pl.lit("suggested"))
    said_none = (
        of.filter(pl.col("candidate_id").is_null()).select("row", said=pl.format("{} says so", "who")).unique("row")
    )
    said_not = refused.group_by("row", maintain_order=True).agg(
        said_not=pl.format("not about {}, says {}", "candidate_id", "who").drop_nulls().first()
    )
    why = _no_trace(none, named, view).join(said_none, on="row", how="left").join(said_not, on="row", how="left")
    parts = [
        linked.join(rows, on="row").select(
            "row", "channel", "feedback_id", "candidate_id", "confidence", band.alias("band"), reasons="reason"
        ),
        none.join(why, on="row").select(
            "row",
            "channel",
            pl.col("id").alias("feedback_id"),
            pl.lit(None, pl.String).alias("candidate_id"),
            pl.col("confidence").fill_null(0.0),
            pl.lit("none").alias("band"),
            pl.concat_list(pl.coalesce("said", "said_not", "no_trace"), "perhaps").list.drop_nulls().alias("reasons"),
        ),
    ]
    return pl.concat(parts).sort("row").select(LINKS.names())


def _perhaps() -> pl.Expr:
    """The candidate that came closest, for a person to confirm or reject, and what speaks against it."""
    against = pl.col("reason").list.eval(pl.element().filter(pl.element().str.starts_with("but "))).list.join(", ")
    return pl.format(
        "perhaps {} ({}), too unsure to link{}",
        "candidate_id",
        pl.col("confidence").round(2).cast(pl.String),
        pl.when(against != "").then(pl.lit(": ") + against).otherwise(pl.lit("")),
    )


def inherit(links: pl.DataFrame, duplicates: pl.DataFrame, verdicts: pl.DataFrame | None = None) -> pl.DataFrame:
    """Links (schema.LINKS) in which an item without a candidate takes the one of the item it certainly repeats.

    duplicates: feedback.duplicates.DUPLICATES; only band auto counts. Confidence stays that of the earlier item. An item
    people decided on (VERDICTS) is left as they decided.
    """
    decided = (pl.DataFrame(schema=VERDICTS) if verdicts is None else verdicts).select("channel", id="feedback_id")
    earlier = links.drop_nulls("candidate_id").select(
        of_channel="channel", of_id="feedback_id", own="candidate_id", sure="confidence", how="band"
    )
    repeated = (
        duplicates.filter(pl.col("band") == "auto")
        .join(decided, on=["channel", "id"], how="anti")
        .join(earlier, on=["of_channel", "of_id"])
        .select(
            "channel",
            "own",
            "sure",
            "how",
            feedback_id="id",
            why=pl.concat_list(pl.format("repeats {}:{}, which is linked", "of_channel", "of_id")),
        )
    )
    free = pl.col("candidate_id").is_null() & pl.col("own").is_not_null()
    return (
        links.join(repeated, on=["channel", "feedback_id"], how="left", maintain_order="left")
        .with_columns(
            pl.when(free).then("own").otherwise("candidate_id").alias("candidate_id"),
            pl.when(free).then("sure").otherwise("confidence").alias("confidence"),
            pl.when(free).then("how").otherwise("band").alias("band"),
            pl.when(free).then("why").otherwise("reasons").alias("reasons"),
        )
        .select(LINKS.names())
    )


def _exact(named: pl.DataFrame, problems: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Pairs certain by a request id: (row, candidate, confidence 1.0, reason list, own: which of several fits better).

    Where a call belongs to two candidates, a failed one is about errors and one that was answered about speed.
    """
    said = named.select("row", request_id="tokens").explode("request_id").drop_nulls()
    evidence = problems.select("candidate", request_id="request_ids").explode("request_id").drop_nulls()
    listed = said.join(evidence, on="request_id").select("row", "candidate", "request_id")
    inside = calls_of(named, problems, calls).filter(when="inside").drop("when")
    status = calls.group_by("request_id").agg(failed=pl.col("status_code").max() >= 400)
    about_errors = pl.col("signal").is_in(["errors", "auth", "rate_limit"])
    return (
        pl.concat([listed, inside])
        .unique(["row", "candidate"], keep="first", maintain_order=True)
        .join(status, on="request_id", how="left")
        .join(problems.select("candidate", "signal"), on="candidate")
        .select(
            "row",
            "candidate",
            pl.lit(1.0).alias("confidence"),
            pl.concat_list(pl.format("names request id {}, one of its calls", "request_id")).alias("reason"),
            own=pl.when(pl.col("failed").fill_null(True) == about_errors).then(2e30).otherwise(1e30),
        )
    )


def _no_trace(none: pl.DataFrame, named: pl.DataFrame, view: _View) -> pl.DataFrame:
    """Why an item has no candidate, whatever people said of it: columns row, no_trace."""
    calls, logged = view.told.calls, view.told.logged
    known = set(calls["request_id"].to_list())
    call_of = {row["request_id"]: row for row in calls.to_dicts()}
    reasons = []
    rows = none.select("row", "category", "created_at", text=text()).join(
        named.select("row", "tokens", "paths", "statuses"), on="row"
    )
    client = rows["text"].str.contains(CLIENT_SIDE)
    automatic = rows["text"].str.contains(AUTOMATIC)
    for item, is_client, is_automatic in zip(rows.to_dicts(), client, automatic, strict=True):
        call = next((call_of[token] for token in item["tokens"] if token in known), None)
        if is_automatic:
            reason = AUTOMATIC_REPLY
        elif call is not None:
            reason = (
                f"the call it names ({call['endpoint']}, status {call['status_code']}, "
                f"{call['start_time']:%Y-%m-%d %H:%MZ}) belongs to no candidate"
            )
        elif logged.start is not None and item["created_at"] < logged.start:
            reason = "outside the logged period: written before the first call"
        elif logged.end is not None and item["created_at"] >= logged.end + timedelta(days=1):
            reason = "outside the logged period: written more than a day after the last call"
        elif item["category"] in ("question", "enhancement"):
            reason = "question" if item["category"] == "question" else "wish for something new"
        elif item["paths"]:
            reason = _elsewhere(item["paths"][0], item["created_at"], view)
        elif is_client:
            reason = "client side: speaks of what the gateway does not see"
        elif item["statuses"]:
            reason = f"no candidate with status {item['statuses'][0]} at that time"
        else:
            reason = "no call matches: no endpoint, id or error named"
        reasons.append((item["row"], reason))
    return pl.DataFrame(reasons, schema={"row": pl.UInt32, "no_trace": pl.String}, orient="row")


def _elsewhere(path: str, at: datetime, view: _View) -> str:
    """Why a report that names a path has no candidate: its gateway is not ingested, another time, or nothing was wrong."""
    endpoints = view.endpoints_of(path)
    if view.told.endpoints and not endpoints:
        return f"gateway not ingested? the logs have no call of {path[:100]}"
    other = [row for row in view.rows if endpoints & set(row["endpoints"] or [])]
    of_the_time = [
        row for row in other if row["start"] - BEFORE <= at and (row["state"] != "ended" or at < row["end"] + AFTER)
    ]
    if of_the_time:
        return f"names {path[:100]}, but what it says does not fit {of_the_time[0]['title']}"
    if other:
        near = min(other, key=lambda row: abs(row["start"] - at))
        return (
            f"other time: {near['title']} lasted from {near['start']:%Y-%m-%d %H:%MZ} to {near['end']:%Y-%m-%d %H:%MZ}"
        )
    return f"nothing abnormal was measured at {path[:100]} at that time"
