"""Several processes at once, which all begin together: what they import is imported once, before they are forked."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def processes(count: int) -> ProcessPoolExecutor:
    """A pool of that many processes of their own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "sqlalchemy", "alembic.command", "polars", "apilens.pipeline.tickets"])
    return ProcessPoolExecutor(count, mp_context=context)
