"""The formats apilens knows: a format is one file that compiles layouts, and one line in FORMATS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

from apilens.formats import (
    apache,
    apigateway,
    apipark,
    apisix_json,
    aws,
    aws_json,
    azure,
    caddy,
    cloudflare,
    cloudfront,
    envoy,
    envoy_json,
    gcp,
    gin,
    gravitee_csv,
    gravitee_json,
    haproxy,
    iis,
    kong,
    nginx,
    otlp,
    pino,
    squid,
    table,
    traefik,
    traefik_json,
    tyk_csv,
    tyk_json,
    uwsgi,
    wso2,
)
from apilens.formats.format import Format

#: What kept a format of another package from being used, one text each.
PROBLEMS: list[str] = []


def _others() -> Iterator[Format]:
    """Formats of other packages: entry points of the group apilens.formats. One that fails is said and left out."""
    for entry in sorted(entry_points(group="apilens.formats")):
        origin = f"format {entry.name} ({entry.value}{f' of {entry.dist.name}' if entry.dist else ''})"
        try:
            found = entry.load()
        except Exception as error:  # a stranger's code: whatever it raises must not stop ours
            PROBLEMS.append(f"{origin} cannot be loaded and is left out: {type(error).__name__}: {error}")
            continue
        if isinstance(found, Format):
            yield found
        else:
            PROBLEMS.append(f"{origin} is left out: found {type(found).__name__}, expected apilens.formats.Format")


def _registry(formats: Iterable[Format]) -> dict[str, Format]:
    """Formats by name, in their order; of two with one name the first is kept and the other said."""
    known: dict[str, Format] = {}
    for format in formats:
        if known.setdefault(format.name, format) is not format:
            PROBLEMS.append(f"format {format.name} of another package is left out: apilens has one of that name")
    return known


#: Narrow before wide: where two formats read a head equally well, the earlier one is taken.
FORMATS: dict[str, Format] = _registry(
    (
        aws.ALB_FORMAT,
        aws.CLASSIC_FORMAT,
        envoy.ISTIO_FORMAT,
        envoy.TEXT_FORMAT,
        squid.FORMAT,
        haproxy.FORMAT,
        gin.FORMAT,
        uwsgi.FORMAT,
        traefik.FORMAT,
        apigateway.FORMAT,
        nginx.APISIX_FORMAT,
        nginx.INGRESS_FORMAT,
        apache.VHOST_FORMAT,
        nginx.COMBINED_FORMAT,
        apache.COMBINED_FORMAT,
        apache.COMMON_FORMAT,
        kong.FORMAT,
        apipark.FORMAT,
        apipark.LINE_FORMAT,
        apipark.INFLUX_FORMAT,
        traefik_json.FORMAT,
        caddy.FORMAT,
        tyk_json.FORMAT,
        cloudflare.FORMAT,
        gcp.FORMAT,
        azure.APIM_FORMAT,
        azure.APPGW_FORMAT,
        azure.FRONTDOOR_FORMAT,
        gravitee_json.FORMAT,
        wso2.FORMAT,
        aws_json.CLOUDFRONT_FORMAT,
        apisix_json.FORMAT,
        pino.FORMAT,
        envoy_json.FORMAT,
        aws_json.API_GATEWAY_FORMAT,
        otlp.TRACE_FORMAT,
        otlp.LOGS_FORMAT,
        cloudfront.FORMAT,
        iis.FORMAT,
        tyk_csv.FORMAT,
        gravitee_csv.FORMAT,
        *_others(),
        table.JSON_FORMAT,
        table.CSV_FORMAT,
        nginx.PASTED_FORMAT,
        apache.PASTED_FORMAT,
    )
)
