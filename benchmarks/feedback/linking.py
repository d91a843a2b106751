"""How well reports are linked: F1, recall at precision 0.95, false links on noise, calibration, request ids.

Usage: python benchmarks/feedback/linking.py [--worlds 24] [--set train|held-out|second] [--keep FOLDER] [--fit]
--fit prints weights for triage/link.py, fitted on the training worlds. Worlds are made, ingested and scanned once per folder.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from worlds import NOW, SETS, World, belongs, world, write

from apilens.lens import Lens
from apilens.pipeline import intake, people
from apilens.store import default_state, open_store
from apilens.triage import read_context
from apilens.triage.link import examples
from apilens.triage.weights import PICKED, Choices, refit


def prepared(folder: Path, seed: int, name: str) -> tuple[World, str]:
    """A world and its lake, made where they are not there yet."""
    place = folder / f"{name}-{seed}"
    kept = place / "world.pickle"
    if not kept.exists():
        made = world(seed, name)
        write(made, place)
        run = [str(Path(sys.executable).with_name("apilens"))]
        lake = ["--lake", str(place / "lake")]
        for command in (["ingest", str(place / "log.csv"), "--final"], ["scan"]):
            subprocess.run([*run, *command, *lake], check=True, capture_output=True)
        intake.import_feedback([str(place / "items.ndjson")], lake=lake[1], state=None, channel=None, tz=UTC, now=NOW)
        made.log = made.log.clear()
        kept.write_bytes(pickle.dumps(made))
    return pickle.loads(kept.read_bytes()), str(place / "lake")


def judged(made: World, lake: str) -> pl.DataFrame:
    """One row per item: style, confidence, linked, right (the link, or none, is right), has (there is a right candidate)."""
    context = str(Path(lake).parent / "context.toml")
    links = people.triage(lake=lake, state=None, context=context, now=NOW).links
    with open_store(default_state(lake)) as store:
        candidates = {row["id"]: row for row in store.candidates().to_dicts()}
    rows = []
    for link in links.to_dicts():
        key = (link["channel"], link["feedback_id"])
        fault = made.truth[key]
        right = {name for name, row in candidates.items() if fault is not None and belongs(row, fault, made)}
        found = link["candidate_id"]
        rows.append({"style": made.style[key], "confidence": link["confidence"], "linked": found is not None, "right": found in right, "has": bool(right), "key": f"{made.seed}:{key[1]}", "band": link["band"]})  # fmt: skip
    return pl.DataFrame(rows)


def example(made: World, lake: str) -> Choices:
    """What the weights are fitted on."""
    context = read_context((Path(lake).parent / "context.toml").read_text(encoding="utf-8"), "context.toml")
    with open_store(default_state(lake)) as store:
        told = people.linkable(Lens(lake), store.items(), store.candidates(), context)
    rows = []
    for (channel, key), fault in made.truth.items():
        right = [row["id"] for row in told.candidates.to_dicts() if fault is not None and belongs(row, fault, made)]
        rows += [(channel, key, name) for name in right or [None]]
    answers = pl.DataFrame(
        rows, schema={"channel": pl.String, "feedback_id": pl.String, "candidate_id": pl.String}, orient="row"
    )
    return examples(told, answers)


def fitted(parts: list[Choices]) -> dict[str, float]:
    """The weights of all worlds together, to be pasted into triage/weights.py."""
    offsets = np.cumsum([0, *(len(part.none) for part in parts)])
    whole = Choices(
        np.concatenate([part.x for part in parts]), np.concatenate([part.item + at for part, at in zip(parts, offsets, strict=False)]),
        np.concatenate([part.allowed for part in parts]), np.concatenate([part.none for part in parts]),
    )  # fmt: skip
    return dict(refit(whole, pull=2.0, fixed=PICKED))


def figures(rows: pl.DataFrame) -> dict[str, Any]:
    """The goals of the design, over all items."""
    linked, has = rows.filter("linked"), rows.filter("has")
    hits = linked["right"].sum()
    precision, recall = hits / max(linked.height, 1), hits / max(has.height, 1)
    ranked = linked.sort("confidence", descending=True)
    running = ranked["right"].cum_sum() / np.arange(1, ranked.height + 1)
    good = np.flatnonzero(running.to_numpy() >= 0.95)
    at = ranked["right"][: int(good[-1]) + 1].sum() / max(has.height, 1) if len(good) else 0.0
    noise = rows.filter(pl.col("style").is_in(["noise", "stray"]))
    bins = (
        linked.with_columns(bin=(pl.col("confidence") * 10).floor().clip(0, 9))
        .group_by("bin")
        .agg(pl.len(), pl.col("confidence").mean(), pl.col("right").mean())
    )
    gap = (bins["len"] * (bins["confidence"] - bins["right"]).abs()).sum() / max(linked.height, 1)
    exact = rows.filter((pl.col("style") == "request id") & pl.col("has"))
    auto = linked.filter(pl.col("band") == "auto")
    return {
        "items": rows.height, "with candidate": has.height, "precision": precision, "recall": recall,
        "F1": 2 * precision * recall / max(precision + recall, 1e-9), "recall at precision .95": at,
        "false links on noise": noise["linked"].mean(), "calibration error": gap, "request ids": exact["right"].mean(), "request ids n": exact.height,
        "auto precision": auto["right"].mean(), "auto n": auto.height,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=24)
    parser.add_argument("--set", choices=list(SETS), default="held-out")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--fit", action="store_true", help="print weights instead")
    parser.add_argument("--show", action="store_true", help="print what is wrong")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="apilens-worlds-"))
    first = 1000 * list(SETS).index(arguments.set)
    worlds = [prepared(folder, seed, arguments.set) for seed in range(first, first + arguments.worlds)]
    if arguments.fit:
        for name, weight in fitted([example(*one) for one in worlds]).items():
            print(f'    "{name}": {weight:.2f},')
        return
    rows = [judged(*one) for one in worlds]
    whole = pl.concat(rows)
    for name, value in figures(whole).items():
        print(f"{name:26} {value:.3f}" if isinstance(value, float) else f"{name:26} {value}")
    print(whole.group_by("style").agg(pl.len(), pl.col("has").mean(), pl.col("linked").mean(), pl.col("right").mean()))
    if arguments.show:
        with pl.Config(tbl_rows=200):
            print(whole.filter(pl.col("right") != pl.col("has")))


if __name__ == "__main__":
    main()
