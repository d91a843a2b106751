"""`python benchmarks/detection.py`: the detector on worlds of worlds.py, by kind and grade of fault.

Usage: python benchmarks/detection.py [train | heldout | PROFILE:SEED …] [--work DIR] [--endpoints 40] [--days 14] [--go-live DAY]
Worlds are made, ingested and kept in DIR; a world that is there already is only scanned again. Every call goes through a log
file and `ingest`: what is scored is what a user gets. With --go-live the log begins on that day of the world, and its first four
days are scored: --days 7 --go-live 0 for worlds with faults on these, --days 9 --go-live 4 for the others, whose faults begin later.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airline
import arcade
import bank
import campus
import delivery
import grid
import hospital
import insurance
import maps
import market
import mobility
import pharmacy
import polars as pl
import portal
import saas
import streaming
import telco
import tickets
import weather
import worlds
from scoring import Score

from apilens.detect import find_candidates
from apilens.formats import Options
from apilens.ingest.run import Request
from apilens.lens import Lens
from apilens.pipeline.logs import ingest

SETS = {
    "train": [
        "calm:1",
        "calm:2",
        "stormy:1",
        "stormy:2",
        "stormy:3",
        "quiet:1",
        "quiet-stormy:1",
        "golive:1",
        "golive-stormy:1",
        "market:1",
        "market:2",
        "market:3",
        "quiet-market:1",
    ],
    "heldout": [
        "calm:101",
        "stormy:101",
        "stormy:102",
        "stormy:103",
        "quiet:101",
        "quiet-stormy:101",
        "golive:101",
        "golive-stormy:101",
        "market:101",
        "market:102",
        "market:103",
        "quiet-market:101",
    ],
}


def world_folder(work: Path, name: str, endpoints: int, days: int, rate: float, begins: int = 0) -> Path:
    """Folder with lake, labels.json and catalog.json of a world whose log begins on a day; made when it is not there."""
    profile, seed = name.split(":")
    folder = work / f"{profile}-{seed}-{endpoints}-{days}{f'-from{begins}' if begins else ''}"
    if not (folder / "done").exists():
        makers = {
            "airline": airline.make,
            "arcade": arcade.make,
            "bank": bank.make,
            "campus": campus.make,
            "delivery": delivery.make,
            "grid": grid.make,
            "hospital": hospital.make,
            "insurance": insurance.make,
            "maps": maps.make,
            "market": market.make,
            "mobility": mobility.make,
            "pharmacy": pharmacy.make,
            "portal": portal.make,
            "saas": saas.make,
            "streaming": streaming.make,
            "telco": telco.make,
            "tickets": tickets.make,
            "weather": weather.make,
        }
        make = makers.get(profile.removeprefix("quiet-"), worlds.make)
        world = make(profile, int(seed), endpoints, days, rate)
        logged = world.calls.filter(pl.col("at") >= world.labels["t0"] + begins * 86_400)
        worlds.write(replace(world, calls=logged), folder)
        log = folder / "access.log"
        known = (airline.make, arcade.make, hospital.make, portal.make, telco.make)
        pasted = delivery.LOG_FORMAT if make is delivery.make else worlds.LOG_FORMAT
        options = Options(log_format=None if make in known else pasted)
        ingest(str(folder / "lake"), Request([str(log)], options), None)
        log.unlink()
        (folder / "done").touch()
    return folder


def candidates(folder: Path, now: datetime | None = None) -> list[dict[str, object]]:
    """Rows of schema.CANDIDATES as a scan at the end of the world finds them."""
    lens = Lens(str(folder / "lake"))
    end = now or (lens.data_end or datetime.now(UTC)) + timedelta(minutes=5)
    return find_candidates(lens.rollups(until=end).collect(), lens, now=end).to_dicts()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", default=["heldout"])
    parser.add_argument("--work", type=Path, default=Path("/tmp/apilens-worlds"))
    parser.add_argument("--endpoints", type=int, default=40)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--calls-per-minute", type=float, default=60)
    parser.add_argument("--go-live", type=int, metavar="DAY")
    given = parser.parse_args()
    names = [name for item in given.worlds for name in SETS.get(item, [item])]
    by_profile: dict[str, Score] = {}
    for name in names:
        folder = world_folder(given.work, name, given.endpoints, given.days, given.calls_per_minute, given.go_live or 0)
        labels, catalog = (json.loads((folder / file).read_text()) for file in ("labels.json", "catalog.json"))
        if given.go_live is None:
            span = (0.0 if name.startswith("golive") else 4.0, None)
        else:
            span = (given.go_live, given.go_live + 4.0)
        by_profile.setdefault(name.split(":")[0], Score()).add(labels, catalog, candidates(folder), *span)
        print(f"{name} scored", file=sys.stderr)
    for profile, score in by_profile.items():
        print(f"== {profile}\n{score.table()}")


if __name__ == "__main__":
    main()
