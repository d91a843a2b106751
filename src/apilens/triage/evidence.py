"""What speaks for and against a report being about a problem: named pieces of evidence, each with a reason a person can check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import polars as pl

from apilens.schema import TIMESTAMP
from apilens.triage.context import Context, matches
from apilens.triage.words import is_route, paths, signals, statuses, stems, subjects, tokens

BEFORE = timedelta(hours=6)  # a detector may see the start later than a person
NEAR = timedelta(days=1)
AFTER = timedelta(days=14)

#: One row per request id that an item names and the logs know.
CALLS_NAMED = pl.Schema(
    [
        ("request_id", pl.String),
        ("endpoint", pl.String),  # "METHOD /route/{id}"
        ("start_time", TIMESTAMP),
        ("consumer", pl.String),
        ("status_code", pl.Int16),
        ("duration_ms", pl.Float64),
    ]
)
#: One row per (item, candidate, piece of evidence); candidate null: it holds whatever the candidate.
EVIDENCE = pl.Schema(
    [
        ("row", pl.UInt32),
        ("candidate", pl.UInt32),
        ("name", pl.String),  # of weights.WEIGHTS
        ("value", pl.Float64),  # how much of it: the log-odds are its weight times this
        ("reason", pl.String),  # null: it is counted and not told
    ]
)
#: Evidence that names this problem rather than one of its kind.
SPECIFIC = ["route", "subject", "confirmed words", "status", "status class", "node", "call of it"]
AUTOMATIC = (
    r"(?i)^(automatic reply|auto(-| )?reply|out of office|abwesenheit|réponse automatique)|\bout of (the )?office\b"
)
AUTOMATIC_REPLY = "automatic reply"  # why one that reads like that, and is about no problem, has no trace
CLIENT_SIDE = (
    r"(?i)\b(button|layout|font|colou?r|screen|browser|css|typo|spelling|dark mode|menu|icon|popup|scroll\w*|"
    r"app crash\w*|printer|wi-?fi|vpn|laptop|translation|wording|screenshots? in|dialog)\b"
)


def gather(
    items: pl.DataFrame,
    named: pl.DataFrame,
    problems: pl.DataFrame,
    calls: pl.DataFrame,
    context: Context,
    population: int | None,
    endpoints: Iterable[str],
    model: Any,
    learned: pl.DataFrame,
) -> pl.DataFrame:
    """EVIDENCE of the items (with row and category) about the problems (with candidate) of their time.

    named: `names_in` of the items. endpoints: all that the logs know, so that what a report names instead counts.
    model: `word_model`. learned: LEARNED.
    """
    timely = _timely(items, problems)
    # One that names such a call saw the problem before the detector did, however much earlier it was written.
    of_calls = calls_of(named, problems, calls)
    early = of_calls.select("row", "candidate").unique()
    early = early.join(items.select("row", "created_at"), on="row").join(
        problems.select("candidate", "start"), on="candidate"
    )
    early = early.filter(pl.col("created_at") < pl.col("start") - BEFORE)
    timely = pl.concat([timely, early.select("row", "candidate", after_s=pl.lit(None, pl.Float64))])
    pairs = timely.select("row", "candidate")
    found = (
        _prior(items, named, of_calls),
        _when(timely),
        _near_calls(named, of_calls, pairs, calls),
        _routes(named, problems, pairs),
        _subjects(named, problems, pairs, context, endpoints),
        _learned(named, problems, learned),
        _statuses(named, problems, pairs),
        _signals(named, problems, pairs),
        _consumers(items, problems, pairs, context, population),
        _nodes(named, problems, pairs, context),
        _alike(items, problems, model),
    )
    whole = pl.concat(frame.select(pl.col(name).cast(dtype) for name, dtype in EVIDENCE.items()) for frame in found)
    # Which endpoint a report means, the id of a call tells better than its words.
    said_by_id = whole.filter(pl.col("name") == "other subject").join(of_calls, on=["row", "candidate"], how="semi")
    whole = whole.join(said_by_id, on=["row", "candidate", "name"], how="anti", maintain_order="left")
    whole = pl.concat([whole, _vague(whole)])
    # A candidate of another time is none, whatever fits.
    return pl.concat(
        [whole.filter(pl.col("candidate").is_null()), whole.join(pairs, on=["row", "candidate"], how="semi")]
    )


def _vague(whole: pl.DataFrame) -> pl.DataFrame:
    """Pairs of which only the kind of trouble fits: something is broken somewhere."""
    signal = whole.filter(pl.col("name") == "signal").select("row", "candidate")
    named = whole.filter(pl.col("name").is_in(SPECIFIC)).select("row", "candidate")
    return signal.join(named, on=["row", "candidate"], how="anti").select(
        "row", "candidate", name=pl.lit("only signal"), value=pl.lit(1.0), reason=pl.lit(None, pl.String)
    )


def text() -> pl.Expr:
    return pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")


def names_in(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item with what its text names, as lists."""

    def each(find: Callable[[str], list[str]]) -> pl.Expr:
        return pl.col("text").map_elements(find, return_dtype=pl.List(pl.String))

    return items.select("row", text=text()).select(
        "row",
        "text",
        each(tokens).alias("tokens"),
        each(paths).alias("paths"),
        each(lambda text: sorted(stems(text))).alias("stems"),
        signals(pl.col("text")).alias("signals"),
        each(lambda text: [str(code) for code in sorted(statuses(text))]).alias("statuses"),
    )


def _timely(items: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Pairs (row, candidate) of items written from 6 hours before a candidate to 14 days after, with after_s.

    after_s: seconds after its end (an open one has none yet: 0), negative within it, null before its start.
    """
    spans = problems.select(
        "candidate",
        "start",
        begin=pl.col("start") - BEFORE,
        until=pl.col("end") + AFTER,
        end="end",
        lasts=pl.col("state") != "ended",
    )
    pairs = items.select("row", "created_at").join_where(
        spans, pl.col("created_at") >= pl.col("begin"), (pl.col("created_at") < pl.col("until")) | pl.col("lasts")
    )
    after = (pl.col("created_at") - pl.col("end")).dt.total_seconds(fractional=True)
    early = pl.col("created_at") < pl.col("start") - timedelta(minutes=30)
    return pairs.select(
        "row", "candidate", pl.when(~early).then(pl.when("lasts").then(0.0).otherwise(after)).alias("after_s")
    )


def _prior(items: pl.DataFrame, named: pl.DataFrame, of_calls: pl.DataFrame) -> pl.DataFrame:
    """What holds against an item whatever the candidate (candidate is null).

    A question that names no trouble at all is one; "is there an outage?" is a report that ends with a question mark, and so
    is "can you check this?" with the id of a call that went wrong.
    """
    calm = (pl.col("signals").list.len() == 0) & (pl.col("statuses").list.len() == 0)
    items = items.join(named.select("row", calm=calm), on="row", maintain_order="left")
    asks = pl.col("category").is_in(["question", "enhancement"]).fill_null(False)
    no_trouble = asks & ~pl.col("row").is_in(of_calls["row"].implode())
    counts = {
        "prior": pl.lit(1.0),
        "no trouble": no_trouble.cast(pl.Float64),
        "only a question": (no_trouble & pl.col("calm")).cast(pl.Float64),
        "client side": text().str.contains(CLIENT_SIDE).cast(pl.Float64),
        "automatic": text().str.contains(AUTOMATIC).cast(pl.Float64),
    }
    return pl.concat(
        items.select(
            "row",
            pl.lit(None, pl.UInt32).alias("candidate"),
            pl.lit(name).alias("name"),
            value.alias("value"),
            pl.lit(None, pl.String).alias("reason"),
        ).filter(pl.col("value") > 0)
        for name, value in counts.items()
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
    name = pl.coalesce([pl.when(after <= limit).then(pl.lit(key)) for limit, key, _ in steps]).fill_null("before")
    reason = pl.coalesce([pl.when(after <= limit).then(pl.lit(words)) for limit, _, words in steps])
    return timely.select(
        "row",
        "candidate",
        name=name,
        value=1.0,
        reason=reason.fill_null("written shortly before it was seen"),
    )


def _endpoints(problems: pl.DataFrame) -> pl.DataFrame:
    return problems.select("candidate", endpoint="endpoints").explode("endpoint").drop_nulls()


def calls_of(named: pl.DataFrame, problems: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Pairs of an item that names a call and a candidate that has such calls: row, candidate, request_id, when.

    Such a call has one of its endpoints and a status that fits. when: inside its time; near, at most a day off; or later, at
    most two weeks. Outside a call of a slow endpoint must have been as slow: nearer to what was measured than to what was
    expected (in their logarithms).
    """
    said = named.select("row", request_id="tokens").explode("request_id").drop_nulls()
    slow_ms = pl.when(pl.col("unit") == "ms").then((pl.col("observed") * pl.col("expected")).sqrt())
    span = problems.select(
        "candidate", "start", "end", "signal", status=pl.col("hint").struct.field("status"), slow_ms=slow_ms
    )
    status = pl.col("status_code").cast(pl.String)
    fits = (
        # A call says nothing about those that are missing, and one that failed little about how slow the others are.
        pl.when(pl.col("signal") == "traffic")
        .then(pl.lit(False))
        .when(pl.col("signal") == "latency")
        .then(pl.col("status_code") < 500)
        .when(pl.col("status").is_not_null())
        .then(status == pl.col("status"))
        .otherwise(pl.col("status_code") >= pl.when(pl.col("signal") == "errors").then(500).otherwise(400))
    )
    at = pl.col("start_time")
    inside = (at >= pl.col("start")) & (at <= pl.col("end"))
    as_slow = (pl.col("signal") != "latency") | (pl.col("duration_ms") >= pl.col("slow_ms")).fill_null(True)
    return (
        said.join(calls, on="request_id")
        .join(_endpoints(problems), on="endpoint")
        .join(span, on="candidate")
        .filter((at >= pl.col("start") - NEAR) & (at <= pl.col("end") + AFTER) & fits & (inside | as_slow))
        .select(
            "row",
            "candidate",
            "request_id",
            when=pl.when(inside)
            .then(pl.lit("inside"))
            .when(at <= pl.col("end") + NEAR)
            .then(pl.lit("near"))
            .otherwise(pl.lit("later")),
        )
    )


def _near_calls(named: pl.DataFrame, of_calls: pl.DataFrame, pairs: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    near = of_calls.filter(pl.col("when") != "later")
    yes = near.unique(["row", "candidate"], keep="first", maintain_order=True).select(
        "row",
        "candidate",
        name=pl.lit("call of it"),
        value=1.0,
        reason=pl.format("names request id {}, a call like those of it within a day", "request_id"),
    )
    said = named.select("row", request_id="tokens").explode("request_id").drop_nulls().join(calls, on="request_id")
    no = (
        said.unique("row", keep="first", maintain_order=True)
        .join(pairs, on="row")
        # One that fits in all but the time says nothing: it may be the same again.
        .join(of_calls, on=["row", "candidate"], how="anti")
        .select(
            "row",
            "candidate",
            name=pl.lit("other call"),
            value=1.0,
            reason=pl.format(
                "but names request id {}, a call of {} with status {} on {}",
                "request_id",
                "endpoint",
                pl.col("status_code").cast(pl.String).fill_null("unknown"),
                pl.col("start_time").dt.strftime("%m-%d %H:%MZ"),
            ),
        )
    )
    return _joined(yes, no)


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
        name=pl.lit("route"),
        value=1.0,
        reason=pl.format("names {}, which is {}", "path", "endpoint"),
    )
    others = said.unique("row", keep="first", maintain_order=True).join(pairs, on="row")
    no = others.join(yes, on=["row", "candidate"], how="anti").select(
        "row", "candidate", name=pl.lit("other route"), value=1.0, reason=pl.format("but names {}", "path")
    )
    return _joined(yes, no)


def _subjects(
    named: pl.DataFrame, problems: pl.DataFrame, pairs: pl.DataFrame, context: Context, endpoints: Iterable[str]
) -> pl.DataFrame:
    """Words of a report that are words of the candidate's routes or features, weighed by how few endpoints have them.

    "subject" is the sum over the words (each 0..1, at most 2.5 in all) for the best of the candidate's endpoints; "other
    subject" is the share by which another endpoint fits better: 1 where nothing is said of this one.
    """
    known = _endpoints(problems)
    owned: dict[str, set[str]] = {}
    for endpoint in sorted({*known["endpoint"], *endpoints, *(f"* {p.rpartition(' ')[2]}" for p in context.endpoints)}):
        features = {
            found
            for name, patterns in context.features.items()
            if any(matches(pattern, endpoint) for pattern in patterns)
            for found in stems(name)
        }
        owned[endpoint] = subjects(endpoint) | features
    of_endpoint = pl.DataFrame(
        [(endpoint, word) for endpoint, words in owned.items() for word in sorted(words)],
        schema={"endpoint": pl.String, "stem": pl.String},
        orient="row",
    )
    many = max(len(owned), 1)
    rarity = of_endpoint.group_by("stem").agg(
        rare=((1 + many / pl.col("endpoint").n_unique()).log() / math.log(1 + many)).first()
    )
    # A word and a longer form of it are one: auth and authentication, track and tracking.
    beginnings = of_endpoint.select("stem").unique().with_columns(head=pl.col("stem").str.slice(0, 4))
    words = named.select("row", word="stems").explode("word").drop_nulls()
    alike = (
        words.select(pl.col("word").unique())
        .with_columns(head=pl.col("word").str.slice(0, 4))
        .join(beginnings, on="head")
        .filter(
            (pl.col("word") == pl.col("stem"))
            | (
                (pl.min_horizontal(pl.col("word").str.len_chars(), pl.col("stem").str.len_chars()) >= 4)
                & (pl.col("word").str.starts_with(pl.col("stem")) | pl.col("stem").str.starts_with(pl.col("word")))
            )
        )
        .select("word", "stem")
    )
    said = words.join(alike, on="word").select("row", "stem").unique().join(rarity, on="stem")
    fits = (
        said.join(of_endpoint, on="stem")
        .group_by("row", "endpoint")
        .agg(fit=pl.col("rare").sum(), stem=pl.col("stem").sort())
    )
    best = fits.group_by("row").agg(most=pl.col("fit").max())
    own = (
        fits.join(known, on="endpoint")
        .sort("row", "candidate", "fit", "endpoint", descending=[False, False, True, False])
        .unique(["row", "candidate"], keep="first", maintain_order=True)
    )
    yes = own.select(
        "row",
        "candidate",
        name=pl.lit("subject"),
        value=pl.col("fit").clip(0.0, 2.5),
        reason=pl.format("speaks of {}", pl.col("stem").list.join(", ")),
    )
    mentioned = said.group_by("row").agg(pl.col("stem").unique().sort())
    no = (
        pairs.join(best, on="row")
        .join(own.select("row", "candidate", "fit"), on=["row", "candidate"], how="left")
        .with_columns(lead=1 - pl.col("fit").fill_null(0.0) / pl.col("most"))
        .filter(pl.col("lead") > 0.01)
        .join(mentioned, on="row")
        .select(
            "row",
            "candidate",
            name=pl.lit("other subject"),
            value="lead",
            reason=pl.when(pl.col("fit").is_null())
            .then(pl.format("but speaks of {}", pl.col("stem").list.join(", ")))
            .otherwise(pl.lit("but another endpoint fits its words better")),
        )
    )
    return _joined(yes, no)


#: One row per (word, endpoint) met in links that people confirmed; support: in how many of them.
LEARNED = pl.Schema([("stem", pl.String), ("endpoint", pl.String), ("support", pl.Int64)])


def learn_words(items: pl.DataFrame, links: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """LEARNED from confirmed links (columns channel, feedback_id, candidate_id).

    A word that stands in more than a tenth of all items says nothing about an endpoint and is left out.
    """
    words = (
        items.select(
            "channel",
            feedback_id="id",
            stem=text().map_elements(lambda t: sorted(stems(t)), return_dtype=pl.List(pl.String)),
        )
        .explode("stem")
        .drop_nulls()
    )
    common = words.group_by("stem").len().filter(pl.col("len") > max(2, items.height / 10))
    of = problems.select("endpoints", candidate_id="id").explode("endpoints").rename({"endpoints": "endpoint"})
    return (
        links.join(words, on=["channel", "feedback_id"])
        .join(common, on="stem", how="anti")
        .join(of.drop_nulls(), on="candidate_id")
        .group_by("stem", "endpoint")
        .agg(support=pl.len().cast(pl.Int64))
        .sort("stem", "endpoint")
        .select(LEARNED.names())
    )


def _learned(named: pl.DataFrame, problems: pl.DataFrame, learned: pl.DataFrame) -> pl.DataFrame:
    said = named.select("row", stem="stems").explode("stem").drop_nulls().join(learned, on="stem")
    return (
        said.join(_endpoints(problems), on="endpoint")
        .group_by("row", "candidate", "stem")
        .agg(pl.col("support").sum())
        .group_by("row", "candidate")
        .agg(value=(1 - 0.5 ** pl.col("support")).sum().clip(0.0, 2.0), stem=pl.col("stem").sort())
        .select(
            "row",
            "candidate",
            name=pl.lit("confirmed words"),
            value="value",
            reason=pl.format(
                "uses words of reports confirmed about it: {}", pl.col("stem").list.head(5).list.join(", ")
            ),
        )
    )


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
    exact = pl.col("own").is_not_null() & pl.col("status").list.contains(pl.col("own"))
    hit = pl.when(pl.col("own").is_not_null()).then(exact).otherwise(of_signal)
    name = (
        pl.when(exact).then(pl.lit("status")).when(hit).then(pl.lit("status class")).otherwise(pl.lit("other status"))
    )
    return said_of.filter(hit.is_not_null()).select(
        "row",
        "candidate",
        name=name,
        value=1.0,
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
        name=pl.when(hit).then(pl.lit("signal")).otherwise(pl.lit("other signal")),
        value=1.0,
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
    yes = hits.join(reach, on="candidate").select(
        "row",
        "candidate",
        name=pl.when(pl.col("hit") == 1).then(pl.lit("only consumer")).otherwise(pl.lit("affected")),
        value=pl.when(pl.col("hit") == 1).then(1.0).otherwise(rarity.clip(0.3, 2.2)),
        reason=pl.format("{} was hit by it", "consumer"),
    )
    complete = reach.filter((pl.col("listed") > 0) & (pl.col("listed") >= pl.col("hit")))
    no = (
        sure.join(pairs, on="row")
        .join(complete, on="candidate")
        .join(yes, on=["row", "candidate"], how="anti")
        .select(
            "row",
            "candidate",
            name=pl.lit("not affected"),
            value=pl.col("identity_coverage").fill_null(0.0).clip(0.0, 1.0)
            * pl.when(pl.col("hit") == 1).then(2.0).otherwise(1.0),
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
        .select("row", "candidate", name=pl.lit("node"), value=1.0, reason=pl.format("names {}", "name"))
    )


def _description(problems: pl.DataFrame) -> list[str]:
    words = pl.concat_str(
        ["title", "explanation", pl.col("endpoints").list.join(" ")], separator=" ", ignore_nulls=True
    )
    return problems.select(words.fill_null("").alias("words"))["words"].to_list()


def word_model(items: pl.DataFrame, problems: pl.DataFrame) -> Any:
    """TF-IDF over all items and candidates, so that the weight of a word is the same for each; None without words."""
    # scikit-learn takes a second to import; only triage needs it.
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d_]{3,}\b").fit(
            items.select(text().alias("text"))["text"].to_list() + _description(problems)
        )
    except ValueError:  # not one word in all the texts
        return None


def _alike(items: pl.DataFrame, problems: pl.DataFrame, model: Any) -> pl.DataFrame:
    """How much of an item's words stand in the candidate's description: cosine."""
    if model is None or problems.is_empty():
        return pl.DataFrame(schema=EVIDENCE)
    said = model.transform(items.select(text().alias("text"))["text"].to_list())
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
            name=pl.lit("text"),
            value="cosine",
            reason=pl.format("has words in common with its description ({} of 1)", pl.col("cosine").round(2)),
        )
    )


def _joined(yes: pl.DataFrame, no: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        [frame.select(pl.col(name).cast(dtype) for name, dtype in EVIDENCE.items()) for frame in (yes, no)]
    )
