"""Which problem in the logs a report is about, with reasons a person can check."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl

from apilens.schema import LINKS, TIMESTAMP
from apilens.triage.context import Context, matches
from apilens.triage.words import is_route, paths, signals, statuses, stems, subjects, tokens
from apilens.window import Window

AUTO = 0.90  # at or above: linked without asking
SUGGESTED = 0.50  # at or above: linked, to be confirmed

#: Log-odds that a piece of evidence adds (Fellegi and Sunter 1969: log of how much likelier it is among true pairs than
#: among others). Picked by judgement until there are confirmed links to fit them on.
WEIGHTS = {
    "prior": -2.2,  # a report taken at random against a problem of about its time
    "route": 3.2,
    "other route": -4.0,
    "subject": 1.6,  # for the first word of the route or feature
    "subject again": 0.6,  # for each further one, at most three
    "other subject": -1.5,
    "status": 2.4,
    "other status": -3.0,
    "signal": 1.4,
    "other signal": -1.0,
    "not affected": -2.0,
    "only consumer": 2.5,  # the problem is this consumer's alone
    "node": 2.0,
    "call of it": 3.5,  # a call that fits in all but the time, at most a day off: detectors are late, faults smoulder
    "before": -0.8,
    "during": 0.8,
    "day after": 0.4,
    "days after": -0.4,
    "week after": -1.2,
    "long after": -2.5,
    "text": 1.5,  # for equal texts; in proportion to the cosine
    "no trouble": -3.5,  # a question or a wish
    "automatic": -8.0,  # never a report, whatever it quotes
}
_BEFORE = timedelta(hours=6)  # a detector may see the start later than a person
_NEAR = timedelta(days=1)
_AFTER = timedelta(days=14)
_AT_ONCE = 1000  # items weighed at once: each meets every candidate of its time, and memory has to hold the pairs

#: One row per request id that an item names and the logs know.
CALLS_NAMED = pl.Schema(
    [
        ("request_id", pl.String),
        ("endpoint", pl.String),  # "METHOD /route/{id}"
        ("start_time", TIMESTAMP),
        ("consumer", pl.String),
        ("status_code", pl.Int16),
    ]
)
_AUTOMATIC = (
    r"(?i)^(automatic reply|auto(-| )?reply|out of office|abwesenheit|réponse automatique)|\bout of (the )?office\b"
)
_CLIENT_SIDE = (
    r"(?i)\b(button|layout|font|colou?r|screen|browser|css|typo|spelling|dark mode|menu|icon|popup|scroll\w*|"
    r"app crash\w*|printer|wi-?fi|translation|wording)\b"
)
_EVIDENCE = {"row": pl.UInt32, "candidate": pl.UInt32, "weight": pl.Float64, "content": pl.Boolean, "reason": pl.String}


def request_ids(items: pl.DataFrame) -> pl.DataFrame:
    """What may be a request id in the items: columns channel, id, request_id, at most 200 per item.

    items: schema.ITEMS. Only a look into the logs tells which of them are.
    """
    found = items.select(
        "channel", "id", _text().map_elements(tokens, return_dtype=pl.List(pl.String)).alias("request_id")
    )
    return found.explode("request_id").drop_nulls("request_id")


def link(
    items: pl.DataFrame,
    candidates: pl.DataFrame,
    calls: pl.DataFrame,
    categories: pl.DataFrame,
    context: Context,
    logged: Window,
    population: int | None,
) -> pl.DataFrame:
    """schema.LINKS: each item with its best candidate, or with none and why.

    items: schema.ITEMS; candidates: schema.CANDIDATES; calls: CALLS_NAMED; categories: channel, id, category.
    logged: the period the logs cover. population: consumers in the logs, None: unknown.
    confidence: share of the best candidate in 1 + sum of exp(log-odds) over the candidates of its time, so two
    problems that explain a report equally well halve each other. A request id in the evidence makes it 1.0.
    """
    numbered = items.with_row_index("row").join(
        categories.select("channel", "id", "category"), on=["channel", "id"], maintain_order="left"
    )
    problems = candidates.with_row_index("candidate")
    model = _model(numbered, problems)
    found = [
        _link(numbered[start : start + _AT_ONCE], problems, calls, context, logged, population, model)
        for start in range(0, numbered.height, _AT_ONCE)
    ]
    return pl.concat([pl.DataFrame(schema=LINKS), *found])


def _link(
    numbered: pl.DataFrame,
    problems: pl.DataFrame,
    calls: pl.DataFrame,
    context: Context,
    logged: Window,
    population: int | None,
    model: Any,
) -> pl.DataFrame:
    timely = _timely(numbered, problems)
    pairs = timely.select("row", "candidate")
    named = _named(numbered)
    exact = _exact(named, problems, calls)
    evidence = pl.concat(
        frame.select(*_EVIDENCE)
        for frame in (
            _prior(numbered),
            _when(timely),
            _near_calls(named, problems, calls),
            _routes(named, problems, pairs),
            _subjects(named, problems, pairs, context),
            _statuses(named, problems, pairs),
            _signals(named, problems, pairs),
            _consumers(numbered, problems, pairs, context, population),
            _nodes(named, problems, pairs, context),
            _alike(numbered, problems, model),
        )
    )
    shared = evidence.filter(pl.col("candidate").is_null()).group_by("row").agg(pl.col("weight").sum().alias("shared"))
    scored = (
        pairs.join(evidence.drop_nulls("candidate"), on=["row", "candidate"])
        .sort("row", "candidate", "weight", "reason", descending=[False, False, True, False])
        .group_by("row", "candidate", maintain_order=True)
        .agg(pl.col("weight").sum(), (pl.col("content") & (pl.col("weight") > 0)).any(), pl.col("reason"))
        .join(shared, on="row")
        .filter("content")
        .with_columns((pl.col("weight") + pl.col("shared")).clip(-30, 30).exp().alias("odds"))
        .with_columns((pl.col("odds") / (1 + pl.col("odds").sum().over("row"))).alias("confidence"))
    )
    best = pl.concat([exact, scored.select("row", "candidate", "confidence", "reason")])
    best = (
        best.join(problems.select("candidate", candidate_id="id"), on="candidate")
        .sort(["row", "confidence", "candidate"], descending=[False, True, False])
        .unique("row", keep="first", maintain_order=True)
    )
    linked = best.filter(pl.col("confidence") >= SUGGESTED)
    none = numbered.join(linked, on="row", how="anti").join(best.select("row", "confidence"), on="row", how="left")
    band = pl.when(pl.col("confidence") >= AUTO).then(pl.lit("auto")).otherwise(pl.lit("suggested"))
    keys = numbered.select("row", "channel", feedback_id="id")
    rows = [
        linked.join(keys, on="row").select(
            "row", "channel", "feedback_id", "candidate_id", "confidence", band.alias("band"), reasons="reason"
        ),
        none.join(_no_trace(none, named, calls, logged), on="row").select(
            "row",
            "channel",
            pl.col("id").alias("feedback_id"),
            pl.lit(None, pl.String).alias("candidate_id"),
            pl.col("confidence").fill_null(0.0),
            pl.lit("none").alias("band"),
            pl.concat_list("no_trace").alias("reasons"),
        ),
    ]
    return pl.concat(rows).sort("row").select(LINKS.names())


def inherit(links: pl.DataFrame, duplicates: pl.DataFrame) -> pl.DataFrame:
    """Links (schema.LINKS) in which an item without a candidate takes the one of the item it certainly repeats.

    duplicates: feedback.duplicates.DUPLICATES; only band auto counts. Confidence stays that of the earlier item.
    """
    earlier = links.drop_nulls("candidate_id").select(
        of_channel="channel", of_id="feedback_id", own="candidate_id", sure="confidence", how="band"
    )
    repeated = (
        duplicates.filter(pl.col("band") == "auto")
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


def _text() -> pl.Expr:
    return pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")


def _named(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item with what its text names, as lists."""

    def each(find: Callable[[str], list[str]]) -> pl.Expr:
        return _text().map_elements(find, return_dtype=pl.List(pl.String))

    return items.select(
        "row",
        _text().alias("text"),
        each(tokens).alias("tokens"),
        each(paths).alias("paths"),
        each(lambda text: sorted(stems(text))).alias("stems"),
        each(signals).alias("signals"),
        each(lambda text: [str(code) for code in sorted(statuses(text))]).alias("statuses"),
    )


def _timely(items: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Pairs (row, candidate) of items written from 6 hours before a candidate to 14 days after, with after_s.

    after_s: seconds after its end (an open one has none yet: 0), negative within it, null before its start.
    """
    spans = problems.select(
        "candidate",
        "start",
        begin=pl.col("start") - _BEFORE,
        until=pl.col("end") + _AFTER,
        end="end",
        lasts=pl.col("state") == "open",
    )
    pairs = items.select("row", "created_at").join_where(
        spans, pl.col("created_at") >= pl.col("begin"), (pl.col("created_at") < pl.col("until")) | pl.col("lasts")
    )
    after = (pl.col("created_at") - pl.col("end")).dt.total_seconds(fractional=True)
    early = pl.col("created_at") < pl.col("start") - timedelta(minutes=30)
    return pairs.select(
        "row", "candidate", pl.when(~early).then(pl.when("lasts").then(0.0).otherwise(after)).alias("after_s")
    )


def _prior(items: pl.DataFrame) -> pl.DataFrame:
    """What holds against an item whatever the candidate (candidate is null)."""
    automatic = _text().str.contains(_AUTOMATIC)
    untroubled = pl.col("category").is_in(["question", "enhancement"])
    weight = (
        WEIGHTS["prior"]
        + pl.when(untroubled).then(WEIGHTS["no trouble"]).otherwise(0.0)
        + pl.when(automatic).then(WEIGHTS["automatic"]).otherwise(0.0)
    )
    return items.select(
        "row",
        pl.lit(None, pl.UInt32).alias("candidate"),
        weight.alias("weight"),
        pl.lit(False).alias("content"),
        pl.lit(None, pl.String).alias("reason"),
    )


def _when(timely: pl.DataFrame) -> pl.DataFrame:
    day = 86400.0
    after = pl.col("after_s")
    steps = (
        (0.0, "during", "written while it lasted"),
        (day, "day after", "written within a day after it ended"),
        (3 * day, "days after", "written within three days after it ended"),
        (7 * day, "week after", "written within a week after it ended"),
        (math.inf, "long after", "written more than a week after it ended"),
    )
    weight = pl.coalesce([pl.when(after <= limit).then(WEIGHTS[name]) for limit, name, _ in steps])
    reason = pl.coalesce([pl.when(after <= limit).then(pl.lit(words)) for limit, _, words in steps])
    weight, reason = weight.fill_null(WEIGHTS["before"]), reason.fill_null("written shortly before it was seen")
    return timely.select(
        "row", "candidate", weight.alias("weight"), pl.lit(False).alias("content"), reason.alias("reason")
    )


def _endpoints(problems: pl.DataFrame) -> pl.DataFrame:
    return problems.select("candidate", endpoint="endpoints").explode("endpoint").drop_nulls()


def _calls(named: pl.DataFrame, problems: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Pairs of an item that names a call and a candidate that has such calls: row, candidate, request_id, inside.

    Such a call has one of its endpoints and a status that fits; inside: and its time as well.
    """
    said = named.select("row", request_id="tokens").explode("request_id").drop_nulls()
    span = problems.select("candidate", "start", "end", "signal", status=pl.col("hint").struct.field("status"))
    status = pl.col("status_code").cast(pl.String)
    fits = (
        pl.when(pl.col("signal").is_in(["latency", "traffic"]))
        .then(True)
        .when(pl.col("status").is_not_null())
        .then(status == pl.col("status"))
        .otherwise(pl.col("status_code") >= pl.when(pl.col("signal") == "errors").then(500).otherwise(400))
    )
    at = pl.col("start_time")
    return (
        said.join(calls, on="request_id")
        .join(_endpoints(problems), on="endpoint")
        .join(span, on="candidate")
        .filter((at >= pl.col("start") - _NEAR) & (at <= pl.col("end") + _NEAR) & fits)
        .select("row", "candidate", "request_id", inside=(at >= pl.col("start")) & (at <= pl.col("end")))
    )


def _exact(named: pl.DataFrame, problems: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Pairs certain by a request id: (row, candidate, confidence 1.0, reason list)."""
    said = named.select("row", request_id="tokens").explode("request_id").drop_nulls()
    evidence = problems.select("candidate", request_id="request_ids").explode("request_id").drop_nulls()
    listed = said.join(evidence, on="request_id").select("row", "candidate", "request_id")
    inside = _calls(named, problems, calls).filter("inside").drop("inside")
    return (
        pl.concat([listed, inside])
        .unique(["row", "candidate"], keep="first", maintain_order=True)
        .select(
            "row",
            "candidate",
            pl.lit(1.0).alias("confidence"),
            pl.concat_list(pl.format("names request id {}, one of its calls", "request_id")).alias("reason"),
        )
    )


def _near_calls(named: pl.DataFrame, problems: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    return (
        _calls(named, problems, calls)
        .unique(["row", "candidate"], keep="first", maintain_order=True)
        .select(
            "row",
            "candidate",
            weight=WEIGHTS["call of it"],
            content=True,
            reason=pl.format("names request id {}, a call like those of it within a day", "request_id"),
        )
    )


def _routes(named: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    said = named.select("row", path="paths").explode("path").drop_nulls()
    # Paths that differ in their ids alone are tried once.
    said = said.with_columns(shape=pl.col("path").str.replace_all(r"[^/]*\d\d[^/]*", "{id}"))
    shapes = said.group_by("shape").agg(pl.col("path").min()).sort("shape")
    known = _endpoints(problems)
    fitting = [
        (shape, endpoint)
        for shape, path in shapes.rows()
        for endpoint in known["endpoint"].unique().sort()
        if is_route(path, endpoint)
    ]
    same = pl.DataFrame(fitting, schema={"shape": pl.String, "endpoint": pl.String}, orient="row")
    hits = said.join(same, on="shape").join(known, on="endpoint")
    yes = hits.unique(["row", "candidate"], keep="first", maintain_order=True).select(
        "row",
        "candidate",
        weight=WEIGHTS["route"],
        content=True,
        reason=pl.format("names {}, which is {}", "path", "endpoint"),
    )
    others = said.unique("row", keep="first", maintain_order=True).join(pairs, on="row")
    no = others.join(yes, on=["row", "candidate"], how="anti").select(
        "row", "candidate", weight=WEIGHTS["other route"], content=True, reason=pl.format("but names {}", "path")
    )
    return _joined(yes, no)


def _subjects(named: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame, context: Context) -> pl.DataFrame:
    known = _endpoints(problems)
    owned: dict[str, set[str]] = {}
    for endpoint in known["endpoint"].unique().sort():
        features = {
            found
            for name, patterns in context.features.items()
            if any(matches(pattern, endpoint) for pattern in patterns)
            for found in stems(name)
        }
        owned[endpoint] = subjects(endpoint) | features
    everywhere = set().union(
        *owned.values(),
        *(stems(name) for name in context.features),
        *(subjects(f"* {pattern.rpartition(' ')[2]}") for pattern in context.endpoints),
    )
    vocabulary = pl.DataFrame({"stem": sorted(everywhere)}, schema={"stem": pl.String})
    said = named.select("row", stem="stems").explode("stem").drop_nulls().join(vocabulary, on="stem")
    of_endpoint = pl.DataFrame(
        [(endpoint, word) for endpoint, words in owned.items() for word in sorted(words)],
        schema={"endpoint": pl.String, "stem": pl.String},
        orient="row",
    )
    of_candidate = known.join(of_endpoint, on="endpoint").unique(["candidate", "stem"]).select("candidate", "stem")
    hits = said.join(of_candidate, on="stem").group_by("row", "candidate").agg(pl.col("stem").unique().sort())
    again = (pl.col("stem").list.len() - 1).clip(0, 3).cast(pl.Float64) * WEIGHTS["subject again"]
    yes = hits.select(
        "row",
        "candidate",
        weight=WEIGHTS["subject"] + again,
        content=True,
        reason=pl.format("speaks of {}", pl.col("stem").list.join(", ")),
    )
    others = said.group_by("row").agg(pl.col("stem").unique().sort()).join(pairs, on="row")
    no = others.join(yes, on=["row", "candidate"], how="anti").select(
        "row",
        "candidate",
        weight=WEIGHTS["other subject"],
        content=True,
        reason=pl.format("but speaks of {}", pl.col("stem").list.join(", ")),
    )
    return _joined(yes, no)


def _statuses(named: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    said = named.select("row", status="statuses").filter(pl.col("status").list.len() > 0)
    own = problems.select("candidate", "signal", own=pl.col("hint").struct.field("status"))
    said_of = said.join(pairs, on="row").join(own, on="candidate")
    codes = pl.col("status").list.join(", ")
    of_signal = (
        pl.when(pl.col("signal") == "errors")
        .then(pl.col("status").list.eval(pl.element().str.starts_with("5")).list.any())
        .when(pl.col("signal") == "auth")
        .then(pl.col("status").list.contains("401") | pl.col("status").list.contains("403"))
        .when(pl.col("signal") == "rate_limit")
        .then(pl.col("status").list.contains("429"))
        .otherwise(pl.lit(None, pl.Boolean))  # slow or missing calls may end with any status
    )
    hit = pl.when(pl.col("own").is_not_null()).then(pl.col("status").list.contains(pl.col("own"))).otherwise(of_signal)
    weight = pl.when(hit).then(WEIGHTS["status"]).otherwise(WEIGHTS["other status"])
    return said_of.filter(hit.is_not_null()).select(
        "row",
        "candidate",
        weight=weight,
        content=True,
        reason=pl.when(hit)
        .then(pl.format("names status {}", codes))
        .otherwise(pl.format("but names status {}", codes)),
    )


def _signals(named: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    kinds = named.select("row", signal="signals").filter(pl.col("signal").list.len() > 0)
    said_of = kinds.join(pairs, on="row").join(problems.select("candidate", own="signal"), on="candidate")
    hit = pl.col("signal").list.contains(pl.col("own"))
    said = pl.col("signal").list.join(", ")
    return said_of.select(
        "row",
        "candidate",
        weight=pl.when(hit).then(WEIGHTS["signal"]).otherwise(WEIGHTS["other signal"]),
        content=True,
        reason=pl.when(hit).then(pl.format("describes {}", "own")).otherwise(pl.format("but describes {}", said)),
    )


def _speakers(items: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Who may speak for whom: one row per item and consumer, with row, consumer and mapped.

    mapped: the context names the consumer, by account or mail domain; else account, reporter or the part of the
    reporter before the @ is taken as it stands, in case it is a consumer's own name.
    """
    rows = []
    for row, reporter, account in items.select("row", "reporter", "account").rows():
        mapped = context.consumers_of(reporter, account)
        rows += [(row, consumer, True) for consumer in mapped]
        own = {account, reporter, (reporter or "").partition("@")[0]} - {None, "", *mapped}
        rows += [(row, consumer, False) for consumer in sorted(own)]
    return pl.DataFrame(rows, schema={"row": pl.UInt32, "consumer": pl.String, "mapped": pl.Boolean}, orient="row")


def _consumers(
    items: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame, context: Context, population: int | None
) -> pl.DataFrame:
    speakers = _speakers(items, context)
    sure = speakers.filter("mapped").select("row").unique()
    affected = problems.select("candidate", consumer="affected_consumers").explode("consumer").drop_nulls()
    hits = speakers.join(affected, on="consumer").unique(["row", "candidate"], keep="first", maintain_order=True)
    reach = problems.select(
        "candidate",
        "identity_coverage",
        hit=pl.col("consumers_hit").fill_null(pl.col("affected_consumers").list.len().cast(pl.Int64)),
        listed=pl.col("affected_consumers").list.len(),
    )
    # To be among those hit says more the fewer they are: the log of how rare that is.
    most = max(population or 0, 2)
    rarity = (most / pl.col("hit").clip(1, most)).log()
    yes = (
        hits.join(reach, on="candidate")
        .with_columns(
            weight=pl.when(pl.col("hit") == 1).then(WEIGHTS["only consumer"]).otherwise(rarity.clip(0.3, 2.2))
        )
        .select("row", "candidate", "weight", content=False, reason=pl.format("{} was hit by it", "consumer"))
    )
    complete = reach.filter((pl.col("listed") > 0) & (pl.col("listed") >= pl.col("hit")))
    no = (
        sure.join(pairs, on="row")
        .join(complete, on="candidate")
        .join(yes, on=["row", "candidate"], how="anti")
        .select(
            "row",
            "candidate",
            weight=WEIGHTS["not affected"] * pl.col("identity_coverage").fill_null(0.0).clip(0.0, 1.0),
            content=False,
            reason=pl.lit("but the reporter's consumers were not hit"),
        )
    )
    return _joined(yes, no)


def _nodes(named: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame, context: Context) -> pl.DataFrame:
    """The machine behind the problem, named by its address or by what people call it."""
    names = [
        (candidate, word)
        for candidate, hint in problems.select("candidate", "hint").rows()
        for address in ((hint or {}).get("upstream"), (hint or {}).get("node"))
        if address
        for word in (address, context.upstreams.get(address))
        if word and len(word) > 3
    ]
    of = pl.DataFrame(names, schema={"candidate": pl.UInt32, "name": pl.String}, orient="row")
    return (
        named.select("row", "text")
        .join(pairs, on="row")
        .join(of, on="candidate")
        .filter(pl.col("text").str.contains(pl.col("name"), literal=True))
        .unique(["row", "candidate"], keep="first", maintain_order=True)
        .select("row", "candidate", weight=WEIGHTS["node"], content=True, reason=pl.format("names {}", "name"))
    )


def _description(problems: pl.DataFrame) -> list[str]:
    words = pl.concat_str(
        ["title", "explanation", pl.col("endpoints").list.join(" ")], separator=" ", ignore_nulls=True
    )
    return problems.select(words.fill_null("").alias("words"))["words"].to_list()


def _model(items: pl.DataFrame, problems: pl.DataFrame) -> Any:
    """TF-IDF over all items and candidates, so that the weight of a word is the same for each; None without words."""
    # scikit-learn takes a second to import; only triage needs it.
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d_]{3,}\b").fit(
            items.select(_text().alias("text"))["text"].to_list() + _description(problems)
        )
    except ValueError:  # not one word in all the texts
        return None


def _alike(items: pl.DataFrame, problems: pl.DataFrame, model: Any) -> pl.DataFrame:
    """How much of an item's words stand in the candidate's description: cosine."""
    if model is None or problems.is_empty():
        return pl.DataFrame(schema=_EVIDENCE)
    said = model.transform(items.select(_text().alias("text"))["text"].to_list())
    cosine = (said @ model.transform(_description(problems)).T).tocoo()
    return (
        pl.DataFrame(
            {"row": items["row"].to_numpy()[cosine.row], "candidate": cosine.col, "cosine": cosine.data},
            schema={"row": pl.UInt32, "candidate": pl.UInt32, "cosine": pl.Float64},
        )
        .filter(pl.col("cosine") >= 0.1)
        .select(
            "row",
            "candidate",
            weight=WEIGHTS["text"] * pl.col("cosine"),
            content=False,
            reason=pl.format("has words in common with its description ({} of 1)", pl.col("cosine").round(2)),
        )
    )


def _joined(yes: pl.DataFrame, no: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame.select(*_EVIDENCE) for frame in (yes, no)])


def _no_trace(none: pl.DataFrame, named: pl.DataFrame, calls: pl.DataFrame, logged: Window) -> pl.DataFrame:
    """Why an item has no candidate: columns row, no_trace."""
    known = set(calls["request_id"].to_list())
    call_of = {row["request_id"]: row for row in calls.to_dicts()}
    reasons = []
    rows = none.select("row", "category", "created_at", text=_text()).join(
        named.select("row", "tokens", "paths", "statuses"), on="row"
    )
    client = rows["text"].str.contains(_CLIENT_SIDE)
    automatic = rows["text"].str.contains(_AUTOMATIC)
    for item, is_client, is_automatic in zip(rows.to_dicts(), client, automatic, strict=True):
        call = next((call_of[token] for token in item["tokens"] if token in known), None)
        if is_automatic:
            reason = "automatic reply"
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
            reason = f"nothing abnormal was measured at {item['paths'][0][:100]} at that time"
        elif is_client:
            reason = "client side: speaks of what the gateway does not see"
        elif item["statuses"]:
            reason = f"no candidate with status {item['statuses'][0]} at that time"
        else:
            reason = "no call matches: no endpoint, id or error named"
        reasons.append((item["row"], reason))
    return pl.DataFrame(reasons, schema={"row": pl.UInt32, "no_trace": pl.String}, orient="row")
