"""JSON whose fields are named as in schema.ITEMS: one object per line, or a document that holds a list of them."""

from __future__ import annotations

from apilens.feedback.export import Export, word
from apilens.feedback.records import Records


class Ndjson:
    """Numbers keep their digits, nested values become JSON text, other fields become attributes."""

    name = None

    def recognises(self, export: Export) -> bool:
        objects = export.objects
        return bool(objects.found or objects.rejects) and (
            export.text.lstrip("\ufeff \t\r\n").startswith("{") or bool(export.first_object)
        )

    def parse(self, export: Export) -> Records:
        objects = export.objects
        found = Records(rejects=list(objects.rejects), damage=objects.damage)
        for line, value in objects.found:
            if isinstance(value, dict):
                texts = ((str(key).strip().lower(), word(entry)) for key, entry in value.items())
                found.records.append((line, {key: text for key, text in texts if text is not None}))
            else:
                found.rejects.append((line, f"a JSON {type(value).__name__}, expected an object"))
        return found
