"""Objects that a shipper or a store makes of each line."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from apilens.formats.block import Wrapper
from apilens.formats.wrappers.json import query


@dataclass(frozen=True)
class Envelope(Wrapper):
    """lines: paths at which a string may stand that is the line. objects: paths of an object that is the record itself.
    nodes: paths of the pod, container or host that wrote it. The first that is there counts."""

    name: str
    lines: tuple[str, ...]
    objects: tuple[str, ...]
    nodes: tuple[str, ...]
    sure: bool = False

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Objects with one of the names."""
        texts, objects = ("|".join(path.rsplit(".")[-1] for path in paths) for paths in (self.lines, self.objects))
        return line.str.contains(rf'^\s*\{{.*"(?:(?:{texts})"\s*:\s*"|(?:{objects})"\s*:\s*\{{)')

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per object."""
        lines = ", ".join(_if(path, "VARCHAR", "json_extract_string") for path in self.lines)
        objects = ", ".join(_if(path, "OBJECT", "json_extract") for path in self.objects)
        nodes = ", ".join(_if(path, "VARCHAR", "json_extract_string") for path in self.nodes)
        found = query(
            records,
            f"SELECT row, coalesce({lines}, {objects}) AS line, coalesce({nodes}) AS node FROM docs ORDER BY row",
        )
        return found.with_columns(pl.col("line").str.strip_chars_end("\r\n"), pl.col("node").str.strip_prefix("/"))


def _if(path: str, kind: str, extract: str) -> str:
    return f"CASE WHEN json_type(doc, '{path}') = '{kind}' THEN {extract}(doc, '{path}')::VARCHAR END"


#: Fluent Bit and Fluentd (log), Vector, Filebeat and Logstash (message), CloudWatch events (message), logcli and Grafana
#: (line), Cloud Logging (textPayload), GELF (short_message), Azure container logs, Splunk (_raw, event), Elasticsearch hits, Datadog
#: (content.message).
SHIPPED = Envelope(
    "JSON envelope",
    lines=(
        "$.log", "$.message", "$.line", "$.textPayload", "$.short_message", "$.LogEntry", "$.LogMessage", "$._raw",
        "$.result._raw", "$.event", "$.event.original", "$.content.message",
    ),
    objects=("$._source", "$.event", "$.result"),
    nodes=(
        "$.kubernetes.pod_name", "$.kubernetes.pod.name", "$.kubernetes_pod_name", "$.labels.pod", "$.fields.pod", "$.pod",
        "$.PodName", "$.resource.labels.pod_name", "$.hostname", "$.host", "$.host.name", "$.host.hostname", "$.Computer",
        "$.resource.labels.instance_id", "$.labels.instance", "$.container_name", "$.logStreamName", "$.logStream",
    ),
)  # fmt: skip
