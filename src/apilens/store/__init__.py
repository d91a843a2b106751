"""The state database: candidates, what people reported, their links, tickets, and every event in between."""

from __future__ import annotations

from apilens.store.database import default_state, sqlite_url
from apilens.store.store import Filing, Store, open_state, open_store

__all__ = ["Filing", "Store", "default_state", "open_state", "open_store", "sqlite_url"]
