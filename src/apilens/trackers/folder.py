"""Tickets as Markdown files in a folder, for teams without a tracker and for reading before one is connected."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from pathlib import Path

from apilens.errors import OutboundError
from apilens.reports.markdown import inline, md
from apilens.trackers.ticket import Section, Ticket

_SAFE_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)


class Folder:
    """One file per ticket, written as a whole or not at all; a file that exists is never touched again."""

    settle_s = 2.0  # a local write is seen at once; this only outlasts a writer that was paused

    def __init__(self, where: str) -> None:
        self._folder = Path(where).resolve()
        self.name = f"folder:{self._folder}"

    def find(self, ticket: Ticket) -> str | None:
        path = self._path(ticket)
        return str(path) if path.exists() else None

    def create(self, ticket: Ticket) -> str:
        path = self._path(ticket)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with draft.open("x", encoding="utf-8", newline="\n") as file:
                file.write(_markdown(ticket))
                file.flush()
                os.fsync(file.fileno())
            # link() fails when the name is taken: of several writers exactly one makes the file, and it is whole.
            # A draft that another writer swept away means that this writer has made the file already.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                path.hardlink_to(draft)
            # Our draft, and those that killed writers left.
            for leftover in self._folder.glob(f".{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            if not path.exists():
                raise OutboundError(f"{path}: not there after it was written; is somebody clearing {self._folder}?")
        except OSError as error:
            raise OutboundError(
                f"{path}: {error.strerror or error}; the ticket waits in the outbox, run `apilens tickets apply` again"
            ) from error
        return str(path)

    def _path(self, ticket: Ticket) -> Path:
        """The name comes from fingerprint and id alone, so every process and every run means the same file."""
        known = ticket.fingerprint
        stem = known if _SAFE_NAME.fullmatch(known) else hashlib.sha256(known.encode()).hexdigest()[:20]
        return self._folder / f"{stem}-{hashlib.sha256(ticket.id.encode()).hexdigest()[:8]}.md"


def _markdown(ticket: Ticket) -> str:
    facts = ["", "| | |", "|---|---|", *(f"| {inline(name)} | {inline(value)} |" for name, value in ticket.facts)]
    first, others = ticket.sections[:1], ticket.sections[1:]
    parts = [
        f"# {md(ticket.title)}",
        *(line for section in first for line in _section(section)),
        *facts,
        *(line for section in others for line in _section(section)),
    ]
    return "\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"- {md(line)}" for line in section.lines] if len(section.lines) > 1 else [md(section.lines[0])]
    return ["", f"## {md(section.heading)}", "", *lines]
