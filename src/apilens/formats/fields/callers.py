"""Who called: request headers, claims of tokens and client certificates that gateways log, under one table for all formats."""

from __future__ import annotations

from apilens.formats.fields.field import Field, text

#: Request header -> column, best first: of several the first that a call has is taken. What a gateway that knows its consumers
#: adds to the request comes before what a proxy with logins adds, and that before what anybody may send.
_HEADERS: dict[str, str] = {
    # Envoy Gateway, for calls with an API key
    "x-client-id": "application_id",
    # Kong and APISIX; their own formats take the name as well
    "x-consumer-username": "user_name",
    "x-consumer-custom-id": "user_name",
    "x-consumer-id": "user_name",
    # Kong's OAuth 2.0 plugin, Envoy Gateway for basic authentication
    "x-authenticated-userid": "user_name",
    "x-username": "user_name",
    # oauth2-proxy, whose user is often only a number; Authelia, Authentik, Traefik's and OpenShift's forwarded logins
    "x-forwarded-preferred-username": "user_name",
    "x-auth-request-preferred-username": "user_name",
    "x-forwarded-user": "user_name",
    "x-auth-request-user": "user_name",
    "remote-user": "user_name",
    "x-remote-user": "user_name",
    "x-forwarded-email": "user_name",
    "x-auth-request-email": "user_name",
    "x-user-id": "user_name",
}
#: Claims of a token that was checked: its client (RFC 9068, OpenID Connect, Microsoft), and its user.
_CLAIMS = {
    "client_id": "application_id",
    "azp": "application_id",
    "appid": "application_id",
    "preferred_username": "user_name",
    "email": "user_name",
    "sub": "user_name",
}
#: In a mesh the certificate is that of the proxy before, so that it comes last.
_CERTIFICATES = {"san": "user_name", "subject": "user_name"}

_COLUMNS = [*_HEADERS.items(), *_CLAIMS.items(), *_CERTIFICATES.items()]
_RANKS = {name: rank for rank, (name, _) in enumerate(_COLUMNS, start=1)}

#: Request headers in lower case that say who called -> the field they are, behind a format's own name for its consumer.
CALLERS: dict[str, Field] = {header: text(column, rank=_RANKS[header]) for header, column in _HEADERS.items()}
#: The same of the claims of a token.
CLAIMS: dict[str, Field] = {claim: text(column, rank=_RANKS[claim]) for claim, column in _CLAIMS.items()}
#: The same of a client's certificate: its alternative name (a SPIFFE id in meshes), its subject.
CERTIFICATE: dict[str, Field] = {name: text(column, rank=_RANKS[name]) for name, column in _CERTIFICATES.items()}
