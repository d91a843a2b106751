"""How well, and how quickly, repeats are found: precision of the automatic ones, R@1, and time an item at 50,000.

Usage: python benchmarks/feedback/duplicates.py [--items 50000] [--data FILE]
--data: NDJSON of real reports with id, created_at, title, body and duplicate_of (an id or null), for example a Jira export with
its "duplicates" links resolved; without it reports are generated from the worlds' held-out phrases, so different people
describe one fault in phrases drawn apart and unlike ones share the words of their endpoint.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
from worlds import _HELD_OUT, _HELD_OUT_DOMAINS, BEGIN

from apilens.feedback.duplicates import duplicates
from apilens.schema import ITEMS

_NONE = pl.DataFrame(schema={"channel": pl.String, "id": pl.String, "request_id": pl.String})


def generated(count: int, seed: int = 7) -> pl.DataFrame:
    """Items with duplicate_of: a quarter repeats an earlier one, in the same words with slips, or said again in others."""
    dice = random.Random(seed)
    endpoints = [entry for domain in _HELD_OUT_DOMAINS.values() for entry in domain]
    rows: list[dict[str, object]] = []
    for n in range(count):
        at = BEGIN + timedelta(minutes=n * 3)
        if rows and dice.random() < 0.25:
            of = rows[-dice.randint(1, min(len(rows), 200))]
            words = str(of["body"]).split()
            cut = [word for word in words if dice.random() > 0.12]
            body = " ".join([*dice.sample(["Hi,", "again:", "as reported,", "any news?", "FYI"], 1), *cut])
            rows.append(
                {**of, "id": f"D-{n}", "created_at": at, "body": body, "duplicate_of": of["duplicate_of"] or of["id"]}
            )
            continue
        word, method, route, do = dice.choice(endpoints)
        sentences = [dice.choice(_HELD_OUT[dice.choice(sorted(_HELD_OUT))]) for _ in range(dice.randint(2, 4))]
        facts = {"w": word, "do": do, "method": method, "status": dice.choice((500, 502, 503)), "rid": f"{dice.getrandbits(48):012x}",
                 "path": route.replace("{id}", str(dice.randint(1, 99999))), "hhmm": f"{at:%H:%M}", "s": dice.randint(3, 30)}  # fmt: skip
        body = (
            ". ".join(sentence.format(**facts) for sentence in sentences)
            + f". Order {dice.randint(1, 10**6)}, client {dice.randint(1, 400)}."
        )
        rows.append(
            {
                "id": f"D-{n}",
                "created_at": at,
                "title": f"{word}: {dice.choice(('problem', 'help', 'error', 'trouble'))}",
                "body": body,
                "duplicate_of": None,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    told = pl.read_ndjson(arguments.data) if arguments.data else generated(arguments.items)
    rows = [
        {**dict.fromkeys(ITEMS.names()), **row, "channel": "ticket"} for row in told.drop("duplicate_of").to_dicts()
    ]
    items = pl.DataFrame(rows, schema=ITEMS, orient="row")
    began = time.perf_counter()
    found = duplicates(items, _NONE)
    took = time.perf_counter() - began
    root = dict(told.select("id", pl.coalesce("duplicate_of", "id")).rows())
    judged = found.with_columns(
        right=pl.Series([root[a] == root[b] for a, b in found.select("id", "of_id").rows()], dtype=pl.Boolean)
    )
    true = told["duplicate_of"].drop_nulls().len()
    for band in ("auto", "suggested"):
        part = judged.filter(band=band)
        print(
            f"{band:10} {part.height:7,}  precision {part['right'].mean() or 0:.3f}  recall {part['right'].sum() / max(true, 1):.3f}"
        )
    print(f"R@1 {judged['right'].sum() / max(true, 1):.3f} of {true:,} repeats among {items.height:,} items")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{1000 * took / max(items.height, 1):.2f} ms an item, {took:.0f} s in all, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
