"""Whether a report says enough to act on it, and what to ask when it does not."""

from __future__ import annotations

import polars as pl

#: part -> (what shows that a text has it, the question when it lacks). The parts are those a good report needs.
PARTS = {
    "steps": (
        r"(?im)\bsteps?\b|\breproduc|\bwhen (i|we|you)\b|\bafter (i|we|you|click)|"
        r"\b(i|we) (click|tr(y|ied)|open|send|sent|call)|^\s*\d[.)] ",
        "Which steps lead to it?",
    ),
    "error": (
        r"(?i)\berror\b.{0,3}[:\"'“]|\bexception\b|\btraceback\b|\b[45]\d\d\b|\btimed? ?out\b|[\"“'][^\"”']{8,}[\"”']",
        "What is the exact error message, or the status code and request id?",
    ),
    "environment": (
        r"(?i)\b(chrome|firefox|safari|edge|windows|macos|linux|android|iphone|ios|ipad|browser|version|sdk|curl|postman"
        r"|production|staging|sandbox|app-\d+)\b",
        "Where did it happen (environment, browser or client, version)?",
    ),
    "expected": (r"(?i)\bexpect|\bshould\b|\bsupposed to\b|\bused to\b|\bnormally\b", "What did you expect to happen?"),
    "actual": (
        r"(?i)\bactual|\binstead\b|\bbut\b|\bget(s|ting)?\b|\bgives?\b|\bgot\b|\breceiv|\breturn|\bfail|\bshows?\b|\bsee\b|\bcannot\b"
        r"|\bcan't\b|\bslow\b|\bdown\b|\bnot work",
        "What happened instead?",
    ),
}


def completeness(items: pl.DataFrame) -> pl.DataFrame:
    """One row per item: channel, id, missing (names of PARTS, in their order) and the questions to send back.

    items: schema.ITEMS. Both lists are empty for a complete report. Told by words alone: a hint, no judgement.
    """
    text = pl.concat_str([pl.col("title"), pl.col("body")], separator="\n", ignore_nulls=True)
    lacks = [(~text.str.contains(pattern)).fill_null(True).alias(part) for part, (pattern, _) in PARTS.items()]
    said = items.select("channel", "id", *lacks)

    def where_missing(words: dict[str, str]) -> pl.Expr:
        return pl.concat_list([pl.when(part).then(pl.lit(word)) for part, word in words.items()]).list.drop_nulls()

    return said.select(
        "channel",
        "id",
        where_missing({part: part for part in PARTS}).alias("missing"),
        where_missing({part: question for part, (_, question) in PARTS.items()}).alias("questions"),
    )
