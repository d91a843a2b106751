"""`python benchmarks/formats.py`: what each format costs per byte; prints ratios, not seconds: of text formats to the NGINX
fast path, of JSON lines to DuckDB's read_json of the same lines, which finds the columns itself and keeps a table of them.

Usage: python benchmarks/formats.py [--mib 8] [NAME ...]
The example of each format, repeated to the size of a piece of ingest; CPU seconds of parsing alone (user + system), detection
left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import duckdb

from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import Block, parse

FAST = "nginx_combined"
#: Whose examples are layouts.
LAYOUTS = {"nginx_log_format", "apache_logformat"}


def block_of(name: str, mib: int) -> Block:
    """The example of a format, so often that it makes so many MiB."""
    *header, line = FORMATS[name].example.encode().splitlines(keepends=True)
    return Block(b"".join(header) + (line + b"\n") * ((mib << 20) // len(line)))


def seconds_of(name: str, block: Block) -> float:
    """CPU seconds of parsing."""
    reader = detect(block.head, Options(), name).reader
    began = time.process_time()
    part = parse(block, reader)
    spent = time.process_time() - began
    if part.rejects.height:
        raise AssertionError(f"{name}: {part.rejects['reason'][0]}")
    return spent


def seconds_of_read_json(block: Block) -> float:
    """CPU seconds of DuckDB for a table of the same lines."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder) / "lines.json"
        path.write_bytes(block.data)
        began = time.process_time()
        connection.execute("CREATE TABLE lines AS FROM read_json(?, format = 'newline_delimited')", [str(path)])
        return time.process_time() - began


def main() -> None:
    """Print a line per format, the dearest of its kind last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=8)
    parser.add_argument("names", nargs="*", default=[name for name in FORMATS if name not in LAYOUTS])
    asked = parser.parse_args()
    fast_block = block_of(FAST, asked.mib)
    fast = min(seconds_of(FAST, fast_block) for _ in range(3)) / len(fast_block.data)
    text, json = {}, {}
    for name in asked.names:
        block = block_of(name, asked.mib)
        spent = min(seconds_of(name, block) for _ in range(2))
        if FORMATS[name].example.startswith("{"):
            json[name] = spent / min(seconds_of_read_json(block) for _ in range(2))
        else:
            text[name] = spent / len(block.data) / fast
    for title, ratios in (("text, to nginx_combined", text), ("JSON lines, to read_json", json)):
        print(title)
        for name, ratio in sorted(ratios.items(), key=lambda item: item[1]):
            print(f"{ratio:6.2f}  {name}")


if __name__ == "__main__":
    main()
