"""The state database: candidates, what people reported, their links, tickets, and every event in between."""

from __future__ import annotations

from apilens.store.store import Filing, Store, default_state, open_state, open_store, sqlite_url

__all__ = ["Filing", "Store", "default_state", "open_state", "open_store", "sqlite_url"]
