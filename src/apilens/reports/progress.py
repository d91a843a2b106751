"""How far a long run is, on a terminal; elsewhere nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from apilens.progress import Progress, unseen


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr with bytes, lines a second and the time left; `unseen` where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield unseen
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    rate = TextColumn("{task.fields[rate]:,.0f} lines/s")
    bar = Bar(BarColumn(), DownloadColumn(), rate, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task("ingest", total=None, rate=0.0)
    lines = 0

    def show(done: int, total: int | None, more_lines: int) -> None:
        nonlocal lines
        lines += more_lines
        elapsed = bar.tasks[0].elapsed or 0.0
        bar.update(task, completed=done, total=total, rate=lines / elapsed if elapsed else 0.0)

    with bar:
        yield show
