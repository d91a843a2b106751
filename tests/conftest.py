"""Fixtures that several test modules share."""

from __future__ import annotations

import os

from hypothesis import settings

from buckets import bucket, mortal_s3_server, s3_server
from databases import postgres_server, state_url

# A slow machine is no failure: time is measured by benchmarks.
settings.register_profile("apilens", deadline=None)
settings.load_profile("apilens")

__all__ = ["bucket", "mortal_s3_server", "postgres_server", "s3_server", "state_url"]


def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one worker more than there are cores, as an eighth of the time some test waits for a process or a server."""
    return (os.cpu_count() or 1) + 1
