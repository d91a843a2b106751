"""What kind of thing an item is, by rules on its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from apilens.feedback.cues import kind_by_cues
from apilens.feedback.model import predict

#: (category, pattern, what the rule says): what kind of trouble a report names that is no question and no wish; the first
#: that matches decides, and without one it is a bug.
RULES = (
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
)


#: What trackers call their types -> category; a type that could be anything (task, incident) says nothing.
_TYPES = {
    "bug": "bug", "defect": "bug", "fehler": "bug", "problem": "bug",
    "question": "question", "support": "question", "frage": "question", "service request": "question",
    "enhancement": "enhancement", "improvement": "enhancement", "new feature": "enhancement", "feature": "enhancement",
    "feature request": "enhancement", "story": "enhancement", "verbesserung": "enhancement", "feat": "enhancement",
    "regression": "bug", "crash": "bug",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One of the team's own rules: all conditions that are given must hold; what it sets is null where it says nothing.

    pattern: regular expression on title and body, in Polars' linear-time syntax. endpoint: `[METHOD ]/path` that title or body
    names, with * for anything and {id} for one segment. consumer: account or reporter, with *.
    """

    pattern: str | None = None
    endpoint: str | None = None
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
    first that holds; then the type and the labels its tracker gives it, the trained model where it does not abstain, and the
    cues in its words (feedback.cues), with RULES for the kind of trouble.
    """
    text = pl.concat_str([pl.col("title"), pl.col("body")], separator="\n", ignore_nulls=True).fill_null("")
    matches = [text.str.contains(pattern) for _, pattern, _ in RULES]

    def trouble(of: int) -> pl.Expr:
        named = [pl.when(hit).then(pl.lit(rule[of])) for hit, rule in zip(matches, RULES, strict=True)]
        return pl.when(~pl.col("_cue_asked")).then(pl.coalesce(named))

    kind = pl.col("attributes").map.get("type").str.to_lowercase().str.strip_chars()
    by_type = kind.replace_strict(_TYPES, default=None, return_dtype=pl.String)
    labels = pl.col("attributes").map.get("labels").str.to_lowercase().str.split(",")
    label = labels.list.eval(
        # `type: bug`, `kind/bug` and `bug` are one.
        pl.element()
        .str.strip_chars()
        .str.replace(r"^(type|kind|category|t)\W+", "")
        .filter(pl.element().str.strip_chars().str.replace(r"^(type|kind|category|t)\W+", "").is_in(list(_TYPES)))
    ).list.first()
    by_label = label.replace_strict(_TYPES, default=None, return_dtype=pl.String)
    cues = kind_by_cues(items)
    told = items.with_columns(
        *(cues[name].alias(f"_cue_{name}") for name in cues.columns), subject=pl.format("{}:{}", "channel", "id")
    )
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
                (by_label, pl.format("its label says {}", label)),
                (pl.col("_guess"), pl.col("_why")),
                (trouble(0), trouble(2)),
                (pl.col("_cue_category"), pl.col("_cue_reason")),
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


def _named(endpoint: str) -> str:
    """The regular expression of a text that names an endpoint; where the text has no method, the path is enough."""
    method, _, path = endpoint.strip().rpartition(" ")
    stem = re.sub(r"\{[^}]*\}", "\0", path.removesuffix("/*"))
    pieces = [re.escape(piece).replace("\0", r"[^/\s?#]+") for piece in re.split(r"\*+", stem)]
    end = r"(?:/\S*)?" if path.endswith("/*") else "/?"
    # Another method in front of the path is another endpoint.
    before = f"(?:{re.escape(method.upper())}\\s+|^|[^A-Z\\s]\\s+|[^\\w\\s/])" if method else r"(?:^|[^\w/])"
    return before + r"(?:https?://[^\s/]+)?" + r"\S*?".join(pieces) + end + r"(?:[\s?#.,;:!)\]\"'<>]|$)"


def _holds(rule: Rule, text: pl.Expr) -> pl.Expr:
    conditions = []
    if rule.pattern is not None:
        conditions.append(text.str.contains(rule.pattern))
    if rule.endpoint is not None:
        conditions.append(text.str.contains(_named(rule.endpoint)))
    if rule.channel is not None:
        conditions.append(pl.col("channel") == rule.channel)
    if rule.consumer is not None:
        like = "^(?i)" + "[^\n]*".join(re.escape(part) for part in rule.consumer.split("*")) + "$"
        own = [pl.col("account"), pl.col("reporter"), pl.col("reporter").str.split("@").list.last()]
        conditions.append(pl.any_horizontal(name.str.contains(like).fill_null(False) for name in own))
    return pl.all_horizontal(conditions) if conditions else pl.lit(False)
