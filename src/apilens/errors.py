"""Every error apilens raises on purpose, and the exit code each one becomes.

An error text says where, what was found, what was expected and what to type next. All share one base so that the
command line catches once; anything else that travels up is a bug and exits 70.
"""

from __future__ import annotations

import re
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. Where several hold, the earlier one here wins: 70 > 5 > 3 > 4 > 1 > 0."""

    DONE = 0
    FINDINGS = 1
    USAGE = 2
    INPUT = 3
    PARTIAL = 4
    OUTBOUND = 5
    INTERNAL = 70
    LOCKED = 75


#: What a command ends with after Ctrl-C, as shells count it: 128 + SIGINT.
INTERRUPTED = 130

_RANK = (Exit.INTERNAL, Exit.LOCKED, Exit.OUTBOUND, Exit.INPUT, Exit.PARTIAL, Exit.FINDINGS, Exit.DONE)


def worst(*codes: Exit) -> Exit:
    """The one exit code of a run in which all of `codes` happened; DONE when none did."""
    return min(codes, key=_RANK.index, default=Exit.DONE)


class ApilensError(Exception):
    """Base of all errors that have an explanation for the user."""

    exit_code = Exit.INPUT


class UsageError(ApilensError):
    """The command was called with arguments that cannot be meant."""

    exit_code = Exit.USAGE


class ConfigError(ApilensError):
    """A configuration or context file is malformed; the text names file, key and the nearest known key."""

    exit_code = Exit.USAGE


class InputError(ApilensError):
    """An input cannot be used at all: missing, unreadable or of no known format."""

    exit_code = Exit.INPUT


class FormatError(InputError):
    """No format, or not the one asked for, can read the input."""


class NoCallsError(FormatError):
    """The input is known, and is none of calls: an error log. Beside other inputs it is passed over."""


class LakeError(ApilensError):
    """The lake or state cannot be used: newer version, damaged, not there."""

    exit_code = Exit.INPUT


class ConflictError(LakeError):
    """Another run committed to the lake while this one was about to; nothing of this commit counts."""

    exit_code = Exit.LOCKED


class UnansweredError(ConflictError):
    """A bucket went out in the middle of a commit: it may be there or not, as after a conflict with oneself."""

    exit_code = Exit.INPUT


class LockedError(ApilensError):
    """Another run holds the lock."""

    exit_code = Exit.LOCKED


#: How Polars and DuckDB say that a file of the lake is no longer there: in a folder, and in a bucket.
_GONE = re.compile(
    r"(?:No such file|No files found|Cannot open file).*\.parquet|Object at location .*\.parquet not found", re.DOTALL
)


def deleted_meanwhile(error: BaseException) -> LockedError | None:
    """What is to be said when an error is that of a file which another run deleted while this one read; None: it is another."""
    if not _GONE.search(str(error)):
        return None
    return LockedError(
        "a file of the lake went while it was read: another run (lake forget, lake vacuum --retention-hours 0) deleted it;"
        " run this again"
    )


class OutboundError(ApilensError):
    """A ticket, notice or webhook could not be delivered."""

    exit_code = Exit.OUTBOUND
