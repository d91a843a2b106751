"""Reports joined with problems, and both ranked by what they mean to the business."""

from __future__ import annotations

from apilens.triage.context import Context, read_context
from apilens.triage.link import CALLS_NAMED, inherit, link, request_ids
from apilens.triage.queue import queue, surprise

__all__ = ["CALLS_NAMED", "Context", "inherit", "link", "queue", "read_context", "request_ids", "surprise"]
