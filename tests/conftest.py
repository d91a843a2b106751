"""Fixtures that several test modules share."""

from __future__ import annotations

from databases import postgres_server, state_url

__all__ = ["postgres_server", "state_url"]
