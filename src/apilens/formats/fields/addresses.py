"""Addresses, host names and ports, of clients and of servers; users, who stand beside them in guessed layouts."""

from __future__ import annotations

import polars as pl

from apilens.formats.fields.field import Columns, Field

#: Host and port; an IPv6 address may stand in brackets or (HAProxy, AWS) without them: the last colon parts them.
_ADDRESS = r"^\[?([^\[\]]*?)\]?:(\d+)$"


def address(ip: str, port: str, *, rank: int = 0) -> Field:
    """An address with its port, in two columns; `-` for one of them reads as null. rank as in Field."""

    def quick(raw: pl.Expr) -> Columns:
        # Digits taken off the end: a regex with groups takes five times as long.
        before = raw.str.strip_chars_end("0123456789")
        host = before.str.strip_suffix(":").str.strip_chars("[]")
        known = ~host.is_in(["-", "", "unix"])
        return {
            ip: pl.when(known).then(host),
            port: pl.when(host != "unix").then(raw.str.strip_prefix(before)).cast(pl.Int32, strict=False),
        }

    def careful(raw: pl.Expr) -> Columns:
        whole = raw.str.contains(_ADDRESS)
        columns = {column: pl.when(whole).then(value) for column, value in quick(raw).items()}
        # A pipe or an unknown port: then all of it is the address.
        alone = pl.when(~raw.str.contains(r"^unix:|:(?:\d+|-)?$")).then(raw.str.strip_chars("[]"))
        return columns | {ip: pl.coalesce(columns[ip], alone)}

    return Field(quick, careful, accept=lambda raw, columns: raw.is_null() | raw.str.contains(_ADDRESS), rank=rank)


#: RFC 1918, RFC 6598, loopback, link-local, unique local; IPv4 also as IPv6 maps it
_PRIVATE = r"^(?:::ffff:)?(?:10\.|127\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|::1$|f[cd]|fe80)"


#: IPv4; IPv6 with all its groups or `::`, and a zone.
_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = r"(?:[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*|(?:[0-9A-Fa-f]{1,4}:){6,7}[0-9A-Fa-f.]+)(?:%[\w.-]+)?"
#: Of a chain, which a client may begin with anything: no port behind a number, no byte above 255.
_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IP4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_IP = f"^(?:{_IP4}|{_IPV6})$"
#: A host's name, or what an anonymiser made of an address. It has a letter, so that no date and no time of day is one.
_NAME = r"[\d.-]*(?:[^\W\d]|\*)[\w.*-]*"
_CLIENT = rf"{_IPV4}|{_IPV6}|{_NAME}|unix:"
#: What a Host header may be in a layout that was guessed: it stands where others have an address, a date or a tag.
HOST = rf"(?:{_IPV4}|\[{_IPV6}\]|{_NAME}|[^\s,|\"\d\[\]<{{(:][^\s,|\":]*)(?::\d+)?"


def client(*, rank: int = 0) -> Field:
    """The client's address or host name where the layout was guessed: a tag, a time or a bar in its place is none. A port
    behind it is the client's. rank as in Field."""

    def careful(raw: pl.Expr) -> Columns:
        parts = raw.str.extract_groups(rf"^({_IPV4}|\[{_IPV6}\]):(\d{{1,5}})$").struct
        return {
            "client_ip": pl.coalesce(parts.field("1"), raw).str.strip_chars("[]"),
            "client_port": parts.field("2").cast(pl.Int32, strict=False),
        }

    return Field(
        lambda raw: {"client_ip": raw},
        careful,
        accept=lambda raw, columns: raw.is_null() | raw.str.contains(f"^(?:{_CLIENT})$"),
        pattern=rf"(?:{_CLIENT}|(?:{_IPV4}|\[{_IPV6}\])(?::\d{{1,5}})?|-)",
        rank=rank,
        escaped=True,
        expected="an address or a host name",
    )


def client_of_chain(chains: pl.Series) -> pl.Series:
    """The client in lists of addresses as X-Forwarded-For has them: the first public one, else the first; null: none in it.

    Envoy trusts the last one, and so would one who lets calls pass by their address: a client may write what stands before. But
    behind a CDN or another public proxy the last one is that proxy, on thousands of users' calls, and who was hit is the question.
    """
    first = chains.str.splitn(",", 2).struct.field("field_0")
    plain = first.str.contains(f"^{_IP4}$") & ~first.str.contains(_PRIVATE)
    at = (~plain).arg_true()  # most begin with the client
    if at.is_empty():
        return first
    return first.scatter(at, pl.select(_first_of_chain(pl.lit(chains.gather(at)))).to_series())


def _first_of_chain(chain: pl.Expr) -> pl.Expr:
    """As client_of_chain."""
    bare = pl.element().str.replace(rf"^(?:({_IPV4})|\[([^\[\]]*)\])(?::\d+)?$", "${1}${2}")
    ips = chain.str.extract_all(r"[^\s,]+").list.eval(bare.filter(bare.str.contains(_IP)))
    public = ips.list.eval(pl.element().filter(~pl.element().str.contains(_PRIVATE)))
    return pl.coalesce(public.list.first(), ips.list.first())


def proxied_address() -> Field:
    """A proxy chain in the client's place; the list is kept."""

    def read(raw: pl.Expr) -> Columns:
        return {"client_ip": _first_of_chain(raw), "forwarded_for": raw}

    ip = rf"(?:{_IPV4}(?::\d+)?|{_IPV6}|\[{_IPV6}\](?::\d+)?)"
    one = rf"(?:{ip}|{_NAME}|-)"
    form = rf"(?:{one}(?:, ?{one})+|{ip})(?: {ip})*|{_NAME}|-"
    return Field(
        read,
        read,
        accept=lambda raw, columns: raw.is_null() | raw.str.contains(f"^(?:{form})$"),
        pattern=f"(?:{form})",
        escaped=True,
        expected="a list of addresses",
    )


#: A user's name where the layout was guessed: a hyphen or a bar by itself belongs to what another layout has there.
_WORD = r"(?:(?:[^\s\"\\|-]|\\.)(?:[^\s\"\\]|\\.)*|[|-](?:[^\s\"\\]|\\.)+)"
USER = rf"(?: *{_WORD}(?: +{_WORD})* *|\"\"|-)"


def host(*, rank: int = 0) -> Field:
    """A Host header or an authority: `host` without a port and, where it is IPv6, without brackets; `server_port` where it
    is written. rank as in Field.
    """

    def read(raw: pl.Expr) -> Columns:
        return split_authority(raw)

    return Field(read, read, rank=rank, pattern=r"\S*", escaped=True)


def split_authority(raw: pl.Expr) -> Columns:
    """`api.example:8443`, `[2001:db8::1]:8443`, or without a port; an IPv6 address without brackets has none."""
    # Digits taken off the end: a regex with groups takes five times as long.
    before = raw.str.strip_chars_end("0123456789")
    one = raw.str.count_matches(":", literal=True) == 1
    ported = before.str.ends_with(":") & (one | raw.str.starts_with("["))
    name = pl.when(ported).then(before.str.strip_suffix(":")).otherwise(raw)
    port = pl.when(ported).then(raw.str.strip_prefix(before)).cast(pl.Int32, strict=False)
    return {"host": name.str.strip_chars("[]"), "server_port": port}


def port_of_peer(name: str) -> tuple[pl.Expr, pl.Expr]:
    """Derived columns: `_peer_port` is the client's where it is the peer (`_peer_ip`) that called, else the attribute `name`: a
    proxy's port is not that of the client behind it."""
    direct = (pl.col("client_ip") == pl.col("_peer_ip")).fill_null(False)
    return (
        pl.coalesce("client_port", pl.when(direct).then("_peer_port")).alias("client_port"),
        pl.when(~direct).then("_peer_port").alias(f"attributes.{name}"),
    )


def peer(ip: str = "client_ip", port: str = "client_port", *, rank: int = 0) -> Field:
    """`ip`, `ip:port`, `[ipv6]:port`, `ipv6`; a scheme before it is dropped. rank as in Field."""

    def read(raw: pl.Expr) -> Columns:
        plain = raw.str.replace(r"^[a-z]+://", "")
        parts = plain.str.extract_groups(r"^\[?([^\[\]]*?)\]?(?::(\d{1,5}))?$")
        bare = plain.str.contains(r"^[^\[]*:[^\]]*:[^\]]*$")  # IPv6 without a port, hence without brackets
        return {
            ip: pl.when(bare).then(plain).otherwise(pl.coalesce(parts.struct.field("1"), plain)),
            port: pl.when(~bare).then(parts.struct.field("2").cast(pl.Int32, strict=False)),
        }

    def quick(raw: pl.Expr) -> Columns:
        before = raw.str.strip_chars_end("0123456789")
        ported = before.str.ends_with(":")
        return {
            ip: pl.when(ported).then(before.str.strip_suffix(":")).otherwise(raw),
            port: pl.when(ported).then(raw.str.strip_prefix(before)).cast(pl.Int32, strict=False),
        }

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.str.contains(r"^\d+\.\d+\.\d+\.\d+(?::\d{1,5})?$")

    return Field(quick, read, None, accept, rank=rank)
