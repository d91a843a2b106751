"""`python benchmarks/formats.py`: what each text format costs per byte; prints ratios to the NGINX fast path, not seconds.

Usage: python benchmarks/formats.py [--mib 16] [NAME ...]
The example of each format, repeated; CPU seconds of parsing alone (user + system), detection left out.
"""

from __future__ import annotations

import argparse
import time

from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import Block, parse

FAST = "nginx_combined"
#: Whose examples are layouts.
LAYOUTS = {"nginx_log_format", "apache_logformat"}


def seconds_per_mib(name: str, mib: int) -> float:
    """CPU seconds for one MiB of the format."""
    *header, line = FORMATS[name].example.encode().splitlines(keepends=True)
    block = Block(b"".join(header) + (line + b"\n") * ((mib << 20) // len(line)))
    reader = detect(block.head, Options(), name).reader
    began = time.process_time()
    part = parse(block, reader)
    spent = time.process_time() - began
    if part.rejects.height:
        raise AssertionError(f"{name}: {part.rejects['reason'][0]}")
    return spent / (len(block.data) / 2**20)


def main() -> None:
    """Print a line per format, the dearest last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=16)
    text = [name for name, format in FORMATS.items() if format.example[0] != "{" and name not in LAYOUTS]
    parser.add_argument("names", nargs="*", default=text)
    asked = parser.parse_args()
    fast = min(seconds_per_mib(FAST, asked.mib) for _ in range(3))
    spent = {name: min(seconds_per_mib(name, asked.mib) for _ in range(2)) for name in asked.names}
    for name, cost in sorted(spent.items(), key=lambda item: item[1]):
        print(f"{cost / fast:6.2f}  {name}")


if __name__ == "__main__":
    main()
