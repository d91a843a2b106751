"""How well, and how quickly, repeats are found: precision of what is merged and suggested, R@1, R@10, and time an item.

Usage: python benchmarks/feedback/duplicates.py [--items 50000] [--data FILE] [--fit]
Reports of four textures (repeats.TEXTURES), in the held-out vocabulary, 4,000 each, and --items of a tracker for time and
memory. --data: NDJSON of real reports with id, created_at, title, body and duplicate_of (an id or null), for example a Jira
export with its "duplicates" links resolved. --fit prints weights for feedback/duplicates.py, from the training vocabulary.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import polars as pl
import repeats

from apilens.feedback.duplicates import AUTO, SUGGESTED, WEIGHTS, alike
from apilens.schema import ITEMS


def judged(told: list[dict[str, Any]]) -> tuple[pl.DataFrame, int, float]:
    """Pairs of `alike` with right and repeats (whether the item is one), how many repeats there are, and seconds taken."""
    rows = [
        {**dict.fromkeys(ITEMS.names()), **{name: row[name] for name in ("id", "created_at", "title", "body")}, "channel": "ticket"}
        for row in told
    ]  # fmt: skip
    ordered = pl.DataFrame(rows, schema=ITEMS, orient="row").sort("created_at", "channel", "id").with_row_index("row")
    began = time.perf_counter()
    pairs = alike(ordered)
    took = time.perf_counter() - began
    root = {row["id"]: row["duplicate_of"] or row["id"] for row in told}
    ids = ordered["id"].to_list()
    again = {row["id"] for row in told if row["duplicate_of"]}
    return (
        pairs.with_columns(
            right=pl.Series([root[ids[a]] == root[ids[b]] for a, b in pairs.select("row", "of").rows()], dtype=pl.Boolean),
            repeats=pl.Series([ids[a] in again for a in pairs["row"]], dtype=pl.Boolean),
        ),
        len(again),
        took,
    )  # fmt: skip


def figures(name: str, told: list[dict[str, Any]]) -> None:
    """One line for a set of reports."""
    pairs, true, took = judged(told)
    ranked = pairs.sort("row", "similarity", descending=[False, True])
    best = ranked.unique("row", keep="first", maintain_order=True)
    first = best.filter("repeats")["right"].sum() / max(true, 1)
    any_of = ranked.filter("repeats").group_by("row").agg(pl.col("right").any())["right"].sum() / max(true, 1)
    bands = [("auto", best.filter(pl.col("similarity") >= AUTO)), ("suggested", best.filter(pl.col("similarity").is_between(SUGGESTED, AUTO, closed="left")))]  # fmt: skip
    said = ", ".join(
        f"{band} {part.height:,} precision {part['right'].mean() or 0:.2f} recall {part['right'].sum() / max(true, 1):.2f}"
        for band, part in bands
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:8} {len(told):6,} items, {true:,} repeats: R@1 {first:.2f} R@10 {any_of:.2f}; {said}; "
          f"{1000 * took / max(len(told), 1):.1f} ms an item, {memory:.0f} MiB", flush=True)  # fmt: skip


def fit() -> None:
    """Weights that make the right pairs of the training vocabulary likeliest."""
    from sklearn.linear_model import LogisticRegression

    sizes = ((3000, 1), (1000, 2), (150, 3), (150, 4), (30, 5), (30, 6), (30, 7))
    pairs = pl.concat(
        judged(repeats.items(texture, count, False, seed))[0] for texture in repeats.TEXTURES for count, seed in sizes
    )
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000)
    model.fit(pairs.select(list(WEIGHTS)).to_numpy(), pairs["right"].to_numpy())
    for name, weight in zip(WEIGHTS, model.coef_[0], strict=True):
        print(f'    "{name}": {weight:.2f},')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    if arguments.fit:
        fit()
        return
    if arguments.data:
        figures("data", pl.read_ndjson(arguments.data).to_dicts())
        return
    for texture in repeats.TEXTURES:
        figures(texture, repeats.items(texture, 4000, True, 5))
    figures("tracker", repeats.items("tracker", arguments.items, True, 6))


if __name__ == "__main__":
    main()
