"""Items that say the same: the later one points to the earlier."""

from __future__ import annotations

from typing import Any

import polars as pl

#: Chance of being a repeat from which an item is merged without asking, and from which it is shown as a suggestion.
AUTO = 0.95
SUGGESTED = 0.60
_BLOCK = 200  # earlier items that words alone let through to the second look
_BEST = 10  # of these that get a third one
_ROWS = 500  # items compared at once, and pairs: they bound memory at 50,000 items
_PAIRS = 20_000
_NEAR = 0.04  # likeness that distance costs, per log of days: what is alike and near is likelier the same. Picked.
_MONTH = 30.0  # days that are counted before the first item: a young corpus does not know yet what is common. Picked.
_COMMON = 20  # items with a line from which it is nobody's own, their share, and days. All picked.
_COMMON_SHARE = 0.005
_COMMON_DAYS = 10
_DEEP = 50  # answers to answers that are followed to the first message; who answers himself in a circle is left at that
_LIKE = 0.85  # an earlier item with this share of the best one's likeness looks alike as well. Picked.

#: Log-odds of being a repeat per unit of what two texts share. Fitted by `benchmarks/feedback/duplicates.py --fit` on reports
#: of four textures (tracker, mail, chat, form); vocabulary and phrasings of the held-out ones are others.
WEIGHTS: dict[str, float] = {
    "prior": -9.22,
    "word": -1.70,  # cosine of their words
    "title": 2.97,  # cosine of their titles times how rare the rarest word of both is; 0 where one has none
    "untitled": -1.41,  # one has none
    "gram": 6.06,  # cosine of their letters, 3 to 5 in a row
    "rare": 3.47,  # how rare the rarest word is that both have, 0 (all have it) to 1 (these two alone)
    "chance": -1.36,  # log of the number of as similar ones to be expected by chance within their distance in time
    "lag": -0.07,  # log of their distance in days
    "short": 0.02,  # 1 / number of words of the shorter one
}

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
    """DUPLICATES among the items: at most one row per item, pointing to the earlier item it likeliest repeats.

    items: schema.ITEMS. request_ids: columns channel, id, request_id: ids that items name and the logs know; two
    items that name the same one are the same problem whatever they say. So is an item that people marked as a duplicate, and
    one that asks for news about an earlier one by its id. By text: see `alike`.
    """
    ordered = items.sort("created_at", "channel", "id").with_row_index("row")
    certain = [_same_request(ordered, request_ids), _same_thread(ordered), _marked(ordered), _names_other(ordered)]
    best = (
        pl.concat([*certain, alike(ordered).select("row", "of", "similarity", "reason")])
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
    """Messages of one conversation, and alerts that fired again: each points to the first of them.

    A mail may name only the one it answers; what that one answers is then the conversation of both.
    """
    keys = [("thread", "answers in the thread of {}"), ("alert", "the same alert as {} again")]
    found = []
    for name, reason in keys:
        of = ordered.select("row", "channel", "id", key=pl.col("attributes").map.get(name)).drop_nulls("key")
        above = of.filter(pl.col("key") != pl.col("id")).select("channel", key="id", root="key")
        for _ in range(_DEEP if name == "thread" else 0):
            up = of.join(above, on=["channel", "key"], how="left", maintain_order="left")
            if up["root"].null_count() == up.height:
                break
            of = up.with_columns(key=pl.coalesce("root", "key")).drop("root")
        first = of.group_by("channel", "key").agg(
            pl.col("row").min().alias("of"), first=pl.col("id").sort_by("row").first()
        )
        found.append(
            of.join(first, on=["channel", "key"])
            .filter(pl.col("row") > pl.col("of"))
            .select("row", "of", pl.lit(1.0).alias("similarity"), pl.format(reason, "first").alias("reason"))
        )
    return pl.concat(found)


def _marked(ordered: pl.DataFrame) -> pl.DataFrame:
    """Items that people marked as duplicates of others in their tracker (attribute duplicate_of: ids of the same channel)."""
    said = (
        ordered.select("row", "channel", id=pl.col("attributes").map.get("duplicate_of").str.split(", "))
        .explode("id")
        .drop_nulls()
    )
    return (
        said.join(ordered.select("channel", "id", other="row"), on=["channel", "id"])
        .filter(pl.col("row") != pl.col("other"))
        .select(
            pl.max_horizontal("row", "other").alias("row"),
            pl.min_horizontal("row", "other").alias("of"),
            pl.lit(1.0).alias("similarity"),
            pl.format("marked as a duplicate together with {}", "id").alias("reason"),
        )
    )


#: Ids are named for many reasons (it causes, it blocks, it is like); these words in front of one say that it is the same.
_SAME = (
    r"(?i)(?:duplicates?|dup|same (?:issue |problem |thing )?as|news (?:on|about|of|for)|update (?:on|about|for)|status of|again|see(?: also)?|"
    r"as in|regarding|reminder|follow(?:ing)?[- ]?up|reported (?:in|as)|siehe|wie in|stand (?:von|zu)|voir|véase)\W{1,3}(?:of |to |on |for |my |our |ticket |issue |case |request )*[#(]?"
)


def _names_other(ordered: pl.DataFrame) -> pl.DataFrame:
    """Items that say they are about an earlier one, by its id: "any news about SHOP-104?"; ids of digits alone are no names."""
    text = pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")
    said = (
        ordered.select("row", id=text.str.extract_all(_SAME + r"[A-Za-z][\w.-]*\d"))
        .explode("id")
        .drop_nulls()
        .with_columns(pl.col("id").str.extract(r"([A-Za-z][\w.-]*\d)$"))
        .unique()
    )
    known = ordered.filter(pl.col("id").str.contains(r"^[A-Za-z][\w.-]{3,}$")).select("id", of="row")
    return (
        said.join(known, on="id")
        .filter(pl.col("row") > pl.col("of"))
        .select("row", "of", pl.lit(1.0).alias("similarity"), pl.format("names {}", "id").alias("reason"))
    )


def alike(ordered: pl.DataFrame) -> pl.DataFrame:
    """Pairs of items and earlier ones alike by text: row, of, WEIGHTS' names with how much of each, similarity and reason.

    ordered: schema.ITEMS by created_at, with row. At most 10 per item, of the 200 most alike by words. similarity is the
    chance, 0..1, that the two are about the same thing: a logistic function of what they share (WEIGHTS). How common texts
    like theirs are counts: two forms filled in alike, or the same words of chat weeks apart, are no repeats.
    """
    empty = pl.DataFrame(schema={"row": pl.UInt32, "of": pl.UInt32, "similarity": pl.Float64, "reason": pl.String})
    text = ordered.select(
        title=pl.col("title").fill_null("").str.to_lowercase(),
        text=pl.concat_str(["title", _own_lines(ordered)], separator=" ", ignore_nulls=True)
        .str.to_lowercase()
        .fill_null(""),
    )
    if text["text"].str.contains(r"\w\w").sum() < 2:
        return empty
    # scikit-learn takes a second to import; only triage needs it.
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    whole, titles = text["text"].to_list(), text["title"].to_list()
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\b\w\w+\b", dtype=np.float32)
    by_word = words.fit_transform(whole)
    by_title = words.transform(titles)
    by_gram = _grams(whole)
    has = by_word.astype(bool).astype(np.float32)
    of_word = np.asarray(has.sum(axis=0)).ravel()
    rare = _diagonal(np.log((len(whole) + 1) / of_word) / np.log((len(whole) + 1) / 2))
    in_title = by_title.astype(bool).astype(np.float32)
    rarity, title_rarity = has @ rare, in_title @ rare
    titled = np.asarray(by_title.sum(axis=1)).ravel() > 0
    days = ordered["created_at"].to_physical().to_numpy() / 86_400e6
    since = days - days[0] + _MONTH
    length = np.maximum(np.asarray(has.sum(axis=1)).ravel(), 1)
    found = []
    for start in range(0, len(whole), _ROWS):
        row, of, word, like = _block(by_word, by_title, days, start, min(start + _ROWS, len(whole)))
        if not len(row):
            continue
        lag = np.maximum(days[row] - days[of], 0.0)
        shared = {
            "prior": np.ones(len(row)),
            "word": word,
            # That both are called "Problem" says little.
            "title": _rows(by_title, by_title, row, of) * _rows(title_rarity, in_title, row, of, most=True),
            "untitled": ~(titled[row] & titled[of]),
            "gram": _rows(by_gram, by_gram, row, of),
            "rare": _rows(rarity, has, row, of, most=True),
            "chance": np.log(like / since[row] * (lag + 0.02) + 0.02),
            "lag": np.log(lag + 0.02),
            "short": 1 / np.minimum(length[row], length[of]),
        }
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in shared.items()}
        found.append(pl.DataFrame({"row": row.astype(np.uint32), "of": of.astype(np.uint32), **columns}))
    if not found:
        return empty
    odds = pl.sum_horizontal(pl.col(name) * weight for name, weight in WEIGHTS.items())
    chance = 1 / (1 + (-odds).exp())
    return pl.concat(found).with_columns(
        chance.alias("similarity"), pl.format("says nearly the same ({} of 1)", chance.round(2)).alias("reason")
    )


def _own_lines(ordered: pl.DataFrame) -> pl.Series:
    """The bodies without the lines that many of them have: greetings, footers, the headings of forms. One that has no other
    line stays as it is. An error that many paste within days is what they share, and stays."""
    lines = (
        ordered.select("row", day=pl.col("created_at").dt.date(), line=pl.col("body").str.split("\n"))
        .explode("line")
        .drop_nulls()
        .with_columns(shape=pl.col("line").str.strip_chars().str.to_lowercase().str.replace_all(r"\d+", "0"))
    )
    common = pl.col("row").n_unique() >= max(_COMMON, _COMMON_SHARE * ordered.height)
    everybody_s = (common & (pl.col("day").n_unique() >= _COMMON_DAYS)).over("shape")
    own = (
        lines.filter(~everybody_s)
        .group_by("row", maintain_order=True)
        .agg(pl.col("line").str.join("\n").alias("own"))
        .filter(pl.col("own").str.contains(r"\w"))
    )
    return ordered.join(own, on="row", how="left", maintain_order="left").select(pl.coalesce("own", "body"))["own"]


def _grams(texts: list[str]) -> Any:
    """TF-IDF of the letters of each text, 3 to 5 in a row within a word. Each word is cut up once, however often it stands."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    words = CountVectorizer(token_pattern=r"\S+", dtype=np.float32)
    of_text = words.fit_transform(texts)
    of_word = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5), dtype=np.float32).fit_transform(
        words.get_feature_names_out()
    )
    return TfidfTransformer(sublinear_tf=True).fit_transform((of_text @ of_word).tocsr())


def _block(by_word: Any, by_title: Any, days: Any, start: int, stop: int) -> tuple[Any, Any, Any, Any]:
    """The most alike earlier items of rows start..stop: row, of, cosine of words, and how many earlier ones are about as alike."""
    import numpy as np

    scores = (by_word[start:stop] @ by_word[:stop].T).tocsr()
    rows, others, values, likes = [], [], [], []
    for place in range(stop - start):
        part = slice(scores.indptr[place], scores.indptr[place + 1])
        of, weight = scores.indices[part], scores.data[part]
        earlier = of < start + place
        of, weight = of[earlier], weight[earlier]
        every = weight
        near = weight - _NEAR * np.log(days[start + place] - days[of] + 0.02)
        if len(of) > _BLOCK:
            top = np.argpartition(near, -_BLOCK)[-_BLOCK:]
            of, weight = of[top], weight[top]
        rows.append(np.full(len(of), start + place))
        others.append(of)
        values.append(weight)
        # Those that are as alike as the least alike of these are far fewer than all.
        ascending = np.sort(every[every >= _LIKE * weight.min(initial=np.inf)])
        likes.append(len(ascending) - np.searchsorted(ascending, _LIKE * weight))
    row, of, word, like = (np.concatenate(parts) for parts in (rows, others, values, likes))
    title = _rows(by_title, by_title, row, of)
    near = word + 0.3 * title - _NEAR * np.log(days[row] - days[of] + 0.02)
    order = np.lexsort((-of, -near.round(4), row))
    first = np.searchsorted(row[order], row[order])
    best = order[np.arange(len(order)) - first < _BEST]
    return row[best], of[best], word[best], like[best]


def _diagonal(values: Any) -> Any:
    from scipy.sparse import diags_array

    return diags_array(values.astype("float32"), format="csr")


def _rows(left: Any, right: Any, row: Any, of: Any, *, most: bool = False) -> Any:
    """The sum (or the largest part) of the products of pairs of rows, some thousand at a time: memory holds both sides."""
    import numpy as np

    parts = []
    for at in range(0, len(row), _PAIRS):
        product = left[row[at : at + _PAIRS]].multiply(right[of[at : at + _PAIRS]])
        parts.append(product.max(axis=1).toarray().ravel() if most else np.asarray(product.sum(axis=1)).ravel())
    return np.concatenate([np.zeros(0), *parts])
