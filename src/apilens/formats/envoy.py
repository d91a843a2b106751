"""Envoy and Istio: access logs as text, the default ones and any format string."""

from __future__ import annotations

import re
from functools import cache

from apilens.formats.format import fixed, known_or_pasted
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.operators import IN_TEXT, OPERATOR, operator
from apilens.formats.template import check_time, parts

_REQUEST = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS%'
)
_REST = (
    '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" '
    '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"'
)
DEFAULT = f"{_REQUEST} {_REST}"

#: What Istio has put between flags and sizes (1.9 and later, 1.8, to 1.7, to 1.2), and behind the upstream's address.
_DETAILS = (
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ',
    '%RESPONSE_CODE_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ',
    '"%DYNAMIC_METADATA(istio.mixer:status)%" "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ',
    '"%DYNAMIC_METADATA(istio.mixer:status)%" ',
    "",
)
_ADDRESSES = "%UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%"
_ROUTES = (" %REQUESTED_SERVER_NAME% %ROUTE_NAME%", " %REQUESTED_SERVER_NAME%", "")

#: Layouts tried when no format string is given, narrow before wide.
KNOWN = {
    "istio_text": tuple(
        f"{_REQUEST} {details}{_REST} {_ADDRESSES}{route}" for route in _ROUTES for details in _DETAILS
    ),
    # Emissary puts a word before it.
    "envoy_text": (DEFAULT, *(f"{_REQUEST} {details}{_REST}" for details in _DETAILS[:-1]), f"ACCESS {DEFAULT}"),
}


@cache
def layout(text: str, tz: str = "UTC", gateway: str = "envoy_text") -> TextLayout:
    """The layout of a format string as it stands in Envoy's or Istio's configuration.

    tz: zone of %START_TIME_LOCAL%. Raises UsageError when it holds no time.
    """
    text = text.removesuffix("\n").removesuffix("\\n").replace('\\"', '"')
    # As documentation prints it: a log line has no line feed in it.
    text = re.sub(r"[ \t]*\n[ \t]*", " ", text.strip("\n"))

    def named(match: re.Match[str]) -> tuple[str | Variable]:
        if match[1] is None:
            return ("%",)
        return (Variable(match[0], operator(match[1], match[2], tz)),)

    found = parts(text, OPERATOR, named)
    check_time(found, text, "%START_TIME%")
    return TextLayout(gateway, text, found, "none")


ISTIO_FORMAT = fixed(
    "istio_text",
    "Istio's sidecars and gateways, all releases",
    '[2026-03-09T14:00:00.125Z] "GET /v1/carts HTTP/1.1" 200 - via_upstream - "-" 0 512 42 41 "-" "curl/8.5" "9f2c" "shop.example" "10.0.4.11:8080" outbound|80||shop.default.svc.cluster.local 10.0.4.2:51000 10.96.0.8:80 10.0.4.2:42514 - default',
    lambda options: [layout(text, options.tz, "istio_text") for text in KNOWN["istio_text"]],
)
TEXT_FORMAT = known_or_pasted(
    "envoy_text",
    "Envoy, default text and any format string given with --log-format",
    '[2026-03-09T14:00:00.125Z] "GET /v1/carts HTTP/2" 200 - 0 512 42 41 "203.0.113.7" "curl/8.5" "9f2c" "shop.example" "10.0.4.11:8080"',
    KNOWN["envoy_text"],
    IN_TEXT,
    layout,
)
