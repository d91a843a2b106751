"""One line that holds many records, and lines that are pieces of such a document."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from apilens.formats.block import Wrapper
from apilens.formats.wrappers.json import query


@dataclass(frozen=True)
class List(Wrapper):
    """An array of objects, or an object with such an array at one of the paths. node: path of what wrote them all."""

    name: str
    paths: tuple[str, ...]
    node: str
    sure: bool = False

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """What has the shape of either."""
        names = "|".join(path.rsplit(".")[-1] for path in self.paths)
        return line.str.contains(rf'^\s*(?:\[\s*[{{"\[].*\]\s*$|\{{.*"(?:{names})"\s*:\s*\[\s*\{{)')

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """A record per element: the object, or the text of a string."""
        found = ", ".join(_if_listed(path) for path in ("$", *self.paths))
        return query(
            records,
            f"""SELECT row, CASE WHEN json_type(one) = 'VARCHAR' THEN one->>'$' ELSE one::VARCHAR END AS line, node
            FROM (
                SELECT row, CASE WHEN json_type(doc) = 'OBJECT' THEN json_extract_string(doc, '{self.node}') END AS node,
                    unnest(coalesce({found}, [NULL])) AS one
                FROM docs
            )""",
        )


def _if_listed(path: str) -> str:
    """The elements of the array at `path`; null where there is none, or one of something else."""
    first = f"json_type(doc, '{path}[0]')"
    return f"CASE WHEN json_type(doc, '{path}') = 'ARRAY' AND {first} IN ('OBJECT', 'VARCHAR') THEN json_extract(doc, '{path}[*]') END"


#: Batches of HTTP loggers (Kong, APISIX), Azure diagnostics (records), Cloud Logging (entries), CloudWatch (logEvents of a
#: subscription, events of `aws logs get-log-events`), answers of Elasticsearch, Splunk and Cloudflare.
LIST = List(
    "JSON list",
    (
        "$.records",
        "$.Records",
        "$.entries",
        "$.logEvents",
        "$.events",
        "$.hits.hits",
        "$.logs",
        "$.results",
        "$.result",
    ),
    "$.logStream",
)


@dataclass(frozen=True)
class Loki(Wrapper):
    """What is pushed to Loki, {"streams":[{"stream":{…},"values":[["ns","line"],…]}]}, and what it answers to query_range.

    Source: Grafana Loki HTTP API.
    """

    name: str = "Loki"
    sure: bool = True

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Objects with streams that have values."""
        return line.str.contains(r'^\s*\{.*"(?:streams|result)"\s*:\s*\[\s*\{.*"(?:values|entries)"\s*:\s*\[')

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """A record per line of every stream; node is its pod, instance or host."""
        labels = ("pod", "instance", "hostname", "host", "node_name", "container_name", "container")
        nodes = ", ".join(f"json_extract_string(stream, '$.stream.{label}')" for label in labels)
        return query(
            records,
            f""", streams AS (
                SELECT row, unnest(coalesce(nullif(
                    json_extract(doc, '$.streams[*]') || json_extract(doc, '$.data.result[*]') || json_extract(doc, '$.result[*]'),
                    []), [NULL])) AS stream
                FROM docs
            )
            SELECT row, unnest(coalesce(nullif(
                json_extract_string(stream, '$.values[*][1]') || json_extract_string(stream, '$.entries[*].line'),
                []), [NULL])) AS line, coalesce({nodes}) AS node
            FROM streams""",
        )


_CUT = r"(?s)^\s*(?:[\[,]\s*(?<a>\{.*\})\s*[,\]]?|(?<b>\{.*\})\s*[,\]]|[\[\]],?)\s*$"


@dataclass(frozen=True)
class Cut(Wrapper):
    """Lines of a document with one object per line: a comma or a bracket stands before or behind each (Azure's blobs)."""

    name: str = "lines of a JSON list"
    sure: bool = True

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """An object and such a mark; or only a bracket."""
        return line.str.contains(_CUT)

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """The object; a line that is only a bracket is blank."""
        found = records["line"].str.extract_groups(_CUT).struct.unnest()
        return records.select("row").with_columns(line=found.select(pl.coalesce("a", "b", pl.lit(""))).to_series())
