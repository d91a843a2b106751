"""What kind of thing an item is, by rules on its words."""

from __future__ import annotations

import polars as pl

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


def categories(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item: channel, id, category (schema.CATEGORIES; null: no rule matches) and the reason in words.

    items: schema.ITEMS.
    """
    text = pl.concat_str([pl.col("title"), pl.col("body")], separator="\n", ignore_nulls=True).fill_null("")
    matches = [text.str.contains(pattern) for _, pattern, _ in RULES]

    def first(of: int) -> pl.Expr:
        return pl.coalesce([pl.when(hit).then(pl.lit(rule[of])) for hit, rule in zip(matches, RULES, strict=True)])

    return items.select("channel", "id", first(0).alias("category"), first(2).alias("reason"))
