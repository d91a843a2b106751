"""What kind of thing an item is, by rules on its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from apilens.feedback.model import predict

#: (category, pattern, what the rule says), the first that matches decides. The order puts what people say on purpose
#: (a wish, a question) before what their words merely contain ("how do I avoid error 429?" is a question).
RULES = (
    (
        "enhancement",
        r"(?i)\b(feature request|would (be (nice|great|helpful)|love)|please (add|support|provide|consider)|could you "
        r"(please )?(add|support)|it'?d be (nice|great)|wish(list)?|suggest(ion)?|enhancement|can we (have|get) an?|"
        r"(feature|product)? ?idea:?|proposal|i(t)? would (love|like)|(any )?plans (for|to)|allow (us|users|me) to|dark mode)\b",
        "asks for something new",
    ),
    (
        "question",
        r"(?i)\b(how (do|can|should|to|would|many|much|long|often)|who (knows|can|do|should)|whom|"
        r"where (is|are|can|do)|is it possible|is there (a|an|any)|what (is|are|does) the|what is|"
        r"which (endpoint|parameter|header|field|one)|can (i|we|you) |do you (have|support)|does (the|your) api|"
        r"documentation for|when will|(please|somebody|someone|you) explain|what'?s the|recommended|best practice|"
        r"(do|does) [^.?!\n]{1,40} (support|offer|include|allow|cover)|(are|is) [^.?!\n]{1,60} (covered|supported|included|allowed|"
        r"documented|normal|possible)|may (i|we)|should (i|we) |welche[rs]?|gibt es|wie (kann|viel|lange)|existe-t-il|est-ce que|comment)\b",
        "asks how, where or whether",
    ),
    ("capacity", r"(?i)\b(429|rate.?limit\w*|quota|too many requests|throttl\w*)\b", "names a limit"),
    (
        "configuration",
        r"(?i)\b(401|403|unauthori[sz]ed|forbidden|(api )?keys? (was|were|has|have|got|is|are)? ?\w* ?"
        r"(rotated|revoked|invalid|rejected|refused|expired)|certificate|permission|credential\w*|"
        r"cannot log ?in|can't log ?in)\b",
        "names keys, rights or certificates",
    ),
    (
        "training_gap",
        r"(?i)\b(400|404|422|validation|unprocessable|missing (field|parameter))\b",
        "names a refused request",
    ),
    ("dependency", r"(?i)\b(502|504|bad gateway|gateway time-?out|upstream)\b", "names what lies behind the gateway"),
    (
        "bug",
        r"(?i)\b(5\d\d|error\w*|fail\w*|crash\w*|broken|bug|exception|wrong|not work\w*|doesn'?t work|stopped working|"
        r"cannot|can'?t|unable|down|outage|stuck|lost|missing|duplicate\w*|twice|slow\w*|time[ds]? ?-?out\w*|hang\w*|"
        r"takes (forever|ages|minutes)|fehler\w*|hängts?|langsam\w*|geht nicht|klappt nicht|erreurs?|échou\w*|"
        r"lent(e|s)?)\b",
        "says that something does not work",
    ),
    ("question", r"\?\s*(\n|$)", "ends with a question mark"),
)


#: What trackers call their types -> category; a type that could be anything (task, incident) says nothing.
_TYPES = {
    "bug": "bug", "defect": "bug", "fehler": "bug", "problem": "bug",
    "question": "question", "support": "question", "frage": "question", "service request": "question",
    "enhancement": "enhancement", "improvement": "enhancement", "new feature": "enhancement", "feature": "enhancement",
    "feature request": "enhancement", "story": "enhancement", "verbesserung": "enhancement",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One of the team's own rules: all conditions that are given must hold; what it sets is null where it says nothing.

    pattern: regular expression on title and body, in Polars' linear-time syntax. consumer: account or reporter, with *.
    """

    pattern: str | None = None
    consumer: str | None = None
    channel: str | None = None
    category: str | None = None
    severity: str | None = None
    module: str | None = None
    owner: str | None = None


#: What is decided about an item, beside channel and id; each with <name>_reason.
DECIDED = ("category", "severity", "module", "owner")


def categories(
    items: pl.DataFrame,
    rules: Sequence[Rule] = (),
    overrides: pl.DataFrame | None = None,
    model: str | None = None,
) -> pl.DataFrame:
    """One row per item: channel, id, DECIDED and for each why (category's is `reason`); null: nobody says.

    items: schema.ITEMS. What people set (overrides: subject channel:id, kind, verdict, who) stands; then the team's rules, the
    first that holds; then the type its tracker gives it, the trained model where it does not abstain, and rules on words.
    """
    text = pl.concat_str([pl.col("title"), pl.col("body")], separator="\n", ignore_nulls=True).fill_null("")
    matches = [text.str.contains(pattern) for _, pattern, _ in RULES]

    def first(of: int) -> pl.Expr:
        return pl.coalesce([pl.when(hit).then(pl.lit(rule[of])) for hit, rule in zip(matches, RULES, strict=True)])

    kind = pl.col("attributes").map.get("type").str.to_lowercase().str.strip_chars()
    by_type = kind.replace_strict(_TYPES, default=None, return_dtype=pl.String)
    told = items.with_columns(subject=pl.format("{}:{}", "channel", "id"))
    if model is not None:
        guessed = predict(model, told.select(text.alias("text"))["text"].to_list())
        told = told.with_columns(guessed["category"].alias("_guess"), guessed["reason"].alias("_why"))
    else:
        told = told.with_columns(pl.lit(None, pl.String).alias("_guess"), pl.lit(None, pl.String).alias("_why"))
    for name in DECIDED:
        own = pl.DataFrame(schema={"subject": pl.String, "_set": pl.String, "_who": pl.String})
        if overrides is not None:
            own = overrides.filter(pl.col("kind") == name).select("subject", _set="verdict", _who="who")
        holds = [(_holds(rule, text), getattr(rule, name), place) for place, rule in enumerate(rules, 1)]
        holds = [entry for entry in holds if entry[1] is not None]
        nothing = pl.lit(None, pl.String)
        ruled = pl.coalesce([nothing, *(pl.when(hit).then(pl.lit(value)) for hit, value, _ in holds)])
        which = pl.coalesce([nothing, *(pl.when(hit).then(pl.lit(f"rule {place}")) for hit, _, place in holds)])
        answers = [(pl.col("_set"), pl.format("{} says so", "_who")), (ruled, which)]
        if name == "category":
            answers += [
                (by_type, pl.format("its type says {}", kind)),
                (pl.col("_guess"), pl.col("_why")),
                (first(0), first(2)),
            ]
        told = (
            told.join(own, on="subject", how="left", maintain_order="left")
            .with_columns(
                pl.coalesce([value for value, _ in answers]).alias(f"_{name}"),
                pl.coalesce([pl.when(value.is_not_null()).then(why) for value, why in answers]).alias(
                    f"_{name}_reason"
                ),
            )
            .drop("_set", "_who")
        )
    return told.select(
        "channel",
        "id",
        pl.col("_category").alias("category"),
        pl.col("_category_reason").alias("reason"),
        *(pl.col(f"_{name}{end}").alias(f"{name}{end}") for name in DECIDED[1:] for end in ("", "_reason")),
    )


def _holds(rule: Rule, text: pl.Expr) -> pl.Expr:
    conditions = []
    if rule.pattern is not None:
        conditions.append(text.str.contains(rule.pattern))
    if rule.channel is not None:
        conditions.append(pl.col("channel") == rule.channel)
    if rule.consumer is not None:
        like = "^(?i)" + "[^\n]*".join(re.escape(part) for part in rule.consumer.split("*")) + "$"
        own = [pl.col("account"), pl.col("reporter"), pl.col("reporter").str.split("@").list.last()]
        conditions.append(pl.any_horizontal(name.str.contains(like).fill_null(False) for name in own))
    return pl.all_horizontal(conditions) if conditions else pl.lit(False)
