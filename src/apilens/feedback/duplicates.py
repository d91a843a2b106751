"""Items that say the same: the later one points to the earlier."""

from __future__ import annotations

from typing import Any

import polars as pl

#: At or above: merged without asking. Picked high until it is measured on labelled pairs (goal: precision 0.95).
AUTO = 0.80
#: At or above: shown as a suggested duplicate. Picked.
SUGGESTED = 0.50
_BLOCK = 200  # earlier items that words alone let through to the second look
_ROWS = 500  # items compared at once, and pairs: they bound memory at 50,000 items
_PAIRS = 20_000

#: One row per item that repeats an earlier one.
DUPLICATES = pl.Schema(
    [
        ("channel", pl.String),
        ("id", pl.String),
        ("of_channel", pl.String),  # the earlier item
        ("of_id", pl.String),
        ("similarity", pl.Float64),  # 0..1, after time decay
        ("band", pl.String),  # auto | suggested
        ("reason", pl.String),
    ]
)


def duplicates(items: pl.DataFrame, request_ids: pl.DataFrame) -> pl.DataFrame:
    """DUPLICATES among the items: at most one row per item, pointing to its most similar earlier item.

    items: schema.ITEMS. request_ids: columns channel, id, request_id: ids that items name and the logs know; two
    items that name the same one are the same problem whatever they say. So is an item that names an earlier one.
    Similarity: 0.4 word + 0.3 character 3-5-gram + 0.3 title TF-IDF cosine, times (1 - a) + a * 2^(-days/h) with
    a = 0.3, h = 90 d, over the 200 earlier items most similar by words (the design's figures, from real Jira data).
    """
    ordered = items.sort("created_at", "channel", "id").with_row_index("row")
    best = (
        pl.concat([_same_request(ordered, request_ids), _same_thread(ordered), _names_other(ordered), _alike(ordered)])
        .filter(pl.col("similarity") >= SUGGESTED)
        .sort(["row", "similarity", "of"], descending=[False, True, False])
        .unique("row", keep="first", maintain_order=True)
    )
    keys = ordered.select("row", "channel", "id")
    earlier = keys.rename({"row": "of", "channel": "of_channel", "id": "of_id"})
    band = pl.when(pl.col("similarity") >= AUTO).then(pl.lit("auto")).otherwise(pl.lit("suggested"))
    return (best.join(keys, on="row").join(earlier, on="of").sort("row").with_columns(band.alias("band"))).select(
        DUPLICATES.names()
    )


def _same_request(ordered: pl.DataFrame, request_ids: pl.DataFrame) -> pl.DataFrame:
    named = ordered.select("row", "channel", "id").join(request_ids, on=["channel", "id"])
    first = named.group_by("request_id").agg(pl.col("row").min().alias("of"))
    return (
        named.join(first, on="request_id")
        .filter(pl.col("row") > pl.col("of"))
        .select(
            "row",
            "of",
            pl.lit(1.0).alias("similarity"),
            pl.format("names the same request id {}", "request_id").alias("reason"),
        )
    )


def _same_thread(ordered: pl.DataFrame) -> pl.DataFrame:
    """Messages of one conversation, and alerts that fired again: each points to the first of them."""
    keys = [("thread", "answers in the thread of {}"), ("alert", "the same alert as {} again")]
    found = []
    for name, reason in keys:
        of = ordered.select("row", "channel", "id", key=pl.col("attributes").map.get(name)).drop_nulls("key")
        first = of.group_by("channel", "key").agg(
            pl.col("row").min().alias("of"), first=pl.col("id").sort_by("row").first()
        )
        found.append(
            of.join(first, on=["channel", "key"])
            .filter(pl.col("row") > pl.col("of"))
            .select("row", "of", pl.lit(1.0).alias("similarity"), pl.format(reason, "first").alias("reason"))
        )
    return pl.concat(found)


def _names_other(ordered: pl.DataFrame) -> pl.DataFrame:
    """Pairs of items and the earlier ones whose id they name: "see SHOP-104"; ids of digits alone are no names."""
    text = pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")
    said = ordered.select("row", id=text.str.extract_all(r"[A-Za-z][\w.-]*\d")).explode("id").drop_nulls().unique()
    known = ordered.filter(pl.col("id").str.contains(r"^[A-Za-z][\w.-]{3,}$")).select("id", of="row")
    return (
        said.join(known, on="id")
        .filter(pl.col("row") > pl.col("of"))
        .select("row", "of", pl.lit(1.0).alias("similarity"), pl.format("names {}", "id").alias("reason"))
    )


def _alike(ordered: pl.DataFrame) -> pl.DataFrame:
    """Pairs (row, of, similarity, reason) of items and earlier ones, similar by text."""
    empty = pl.DataFrame(schema={"row": pl.UInt32, "of": pl.UInt32, "similarity": pl.Float64, "reason": pl.String})
    text = ordered.select(
        title=pl.col("title").fill_null("").str.to_lowercase(),
        text=pl.concat_str(["title", "body"], separator=" ", ignore_nulls=True).str.to_lowercase(),
    )
    has_words = text["text"].str.contains(r"\w\w")
    if has_words.sum() < 2:
        return empty
    # scikit-learn takes a second to import; only triage needs it.
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    whole, titles = text["text"].to_list(), text["title"].to_list()
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\b\w\w+\b").fit(whole)
    by_word, by_title = words.transform(whole), words.transform(titles)
    titled = np.asarray(by_title.sum(axis=1)).ravel() > 0
    by_gram = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32
    ).fit_transform(whole)
    found = [empty]
    for start in range(0, len(whole), _ROWS):
        stop = min(start + _ROWS, len(whole))
        scores = (by_word[start:stop] @ by_word[:stop].T).tocsr()
        rows, columns, values = [], [], []
        for place in range(stop - start):
            row = scores[place]
            earlier = row.indices < start + place
            candidates, weights = row.indices[earlier], row.data[earlier]
            if len(candidates) > _BLOCK:
                top = np.argpartition(weights, -_BLOCK)[-_BLOCK:]
                candidates, weights = candidates[top], weights[top]
            rows.append(np.full(len(candidates), start + place))
            columns.append(candidates)
            values.append(weights)
        row_of, column_of, word = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
        if not len(row_of):
            continue
        title = _cosine(by_title, row_of, column_of)
        # Chat has no titles: where one of the two lacks it, the text alone decides.
        both = titled[row_of] & titled[column_of]
        without_gram = np.where(both, 0.4 * word + 0.3 * title, 0.4 * word / 0.7)
        gram_share = np.where(both, 0.3, 0.3 / 0.7)
        # Grams are dear and can add no more than their share: pairs that cannot reach the cut even so are out.
        able = np.flatnonzero(without_gram + gram_share >= SUGGESTED)
        row_of, column_of = row_of[able], column_of[able]
        score = without_gram[able] + gram_share[able] * _cosine(by_gram, row_of, column_of)
        found.append(
            pl.DataFrame({"row": row_of.astype(np.uint32), "of": column_of.astype(np.uint32), "text": score})
            .filter(pl.col("text") >= SUGGESTED)
            .pipe(_decayed, ordered)
        )
    return pl.concat(found)


def _cosine(vectors: Any, left: Any, right: Any) -> Any:
    """Cosine of the row pairs of a matrix of unit vectors, some thousand at a time: memory has to hold both sides."""
    import numpy as np

    parts = [
        np.asarray(vectors[left[at : at + _PAIRS]].multiply(vectors[right[at : at + _PAIRS]]).sum(axis=1)).ravel()
        for at in range(0, len(left), _PAIRS)
    ]
    return np.concatenate([np.zeros(0), *parts])


def _decayed(pairs: pl.DataFrame, ordered: pl.DataFrame) -> pl.DataFrame:
    created = ordered.select("row", "created_at")
    days = (pl.col("created_at") - pl.col("created_at_of")).dt.total_seconds(fractional=True) / 86400
    similarity = pl.col("text") * (0.7 + 0.3 * (2.0 ** (-days / 90)))
    return (
        pairs.join(created, on="row")
        .join(created.rename({"row": "of"}), on="of", suffix="_of")
        .select(
            "row",
            "of",
            similarity.clip(0.0, 1.0).alias("similarity"),
            pl.format("says nearly the same ({} of 1)", similarity.round(2)).alias("reason"),
        )
    )
