"""What a scheduled run leaves for Prometheus: a file for node_exporter's textfile collector, replaced at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from apilens.errors import UsageError

_SUCCESS = "apilens_ingest_last_success_timestamp_seconds"


def write_ingest_metrics(
    path: str, *, records: Mapping[str, int], lines: int, bytes: int, seconds: float, exit_code: int, now: datetime
) -> None:
    """Write the figures of one ingest; records: outcome (stored, rejected, filtered, duplicate) -> how many.

    The time of the last success (exit code 0) stays what it was when this run failed: a scanner that died is an alert on its
    age. Raises UsageError when the file cannot be written.
    """
    target = Path(path)
    success = now.timestamp() if exit_code == 0 else _last_success(target)
    families: list[tuple[str, str, dict[str, float]]] = [
        ("apilens_ingest_records", "Records of the last run by outcome.", {f'{{outcome="{k}"}}': v for k, v in records.items()}),
        ("apilens_ingest_lines", "Lines of the last run.", {"": lines}),
        ("apilens_ingest_bytes", "Uncompressed bytes of the last run.", {"": bytes}),
        ("apilens_ingest_duration_seconds", "How long the last run took.", {"": seconds}),
        ("apilens_ingest_exit_code", "Exit code of the last run.", {"": exit_code}),
        ("apilens_ingest_last_run_timestamp_seconds", "When the last run ended.", {"": now.timestamp()}),
        *([] if success is None else [(_SUCCESS, "When a run last ended with exit code 0.", {"": success})]),
    ]  # fmt: skip
    text = "".join(
        f"# HELP {name} {about}\n# TYPE {name} gauge\n"
        + "".join(f"{name}{label} {value}\n" for label, value in rows.items())
        for name, about, rows in families
    )
    partial = target.parent / f".{target.name}.{os.getpid()}"
    try:
        partial.write_text(text, encoding="ascii")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)  # on a full disk an empty one is left, of each run another
        raise UsageError(f"--metrics {path}: cannot be written: {error.strerror or error}") from None


def _last_success(path: Path) -> float | None:
    try:
        found = re.search(rf"^{_SUCCESS} (\d+(?:\.\d+)?)$", path.read_text("ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return float(found[1]) if found else None
