"""What people reported: channels that read it, and what can be said about an item by its text alone."""

from __future__ import annotations

from apilens.errors import FormatError
from apilens.feedback import csv, ndjson
from apilens.feedback.records import Channel

#: name -> how that kind of file is read; the first that recognises a text reads it.
CHANNELS: dict[str, Channel] = {"ndjson": ndjson.Ndjson(), "csv": csv.Csv()}


def recognise(text: str, name: str) -> Channel:
    """The channel that reads this text, told by its first line. Raises FormatError, which says what was found.

    name: how messages call the input.
    """
    for channel in CHANNELS.values():
        if channel.recognises(text):
            return channel
    head = text.lstrip()[:60]
    if head.startswith("["):
        raise FormatError(
            f"{name}: begins with a JSON array, expected one object per line; type: jq -c '.[]' {name} > items.ndjson"
        )
    raise FormatError(
        f"{name}: begins with {head!r}; expected NDJSON (one object per line) or CSV whose first line names the "
        "columns, among them id and created_at"
    )


__all__ = ["CHANNELS", "Channel", "recognise"]
