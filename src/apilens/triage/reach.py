"""How many a problem reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def consumers_hit(candidate: Mapping[str, Any]) -> int | None:
    """Consumers behind the affected calls of a candidate (row of schema.CANDIDATES); None: no call says whose it is, which is not
    nobody."""
    listed = candidate["affected_consumers"] or []
    if candidate["consumers_hit"] is None and not listed:
        return None
    return max(candidate["consumers_hit"] or 0, len(listed))
