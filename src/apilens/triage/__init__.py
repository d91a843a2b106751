"""Reports joined with problems, and both ranked by what they mean to the business."""

from __future__ import annotations

from apilens.triage.context import Context, read_context
from apilens.triage.escalation import escalations
from apilens.triage.evidence import CALLS_NAMED
from apilens.triage.link import VERDICTS, Told, inherit, link, request_ids
from apilens.triage.queue import beside, queue, silent_first, sorted_by, surprise
from apilens.triage.related import related

__all__ = [
    "CALLS_NAMED",
    "VERDICTS",
    "Context",
    "Told",
    "beside",
    "escalations",
    "inherit",
    "link",
    "queue",
    "read_context",
    "related",
    "request_ids",
    "silent_first",
    "sorted_by",
    "surprise",
]
