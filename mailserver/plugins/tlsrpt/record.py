"""The record by which a domain asks for reports (RFC 8460 §3): `_smtp._tls.example.org`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mailserver import api

__all__ = ["Target", "own_record", "read_records"]

#: Places that a report goes to, of those that a record names.
MOST_TARGETS = 4
_LONGEST = 2000
_VERSION = re.compile(r"v=TLSRPTv1[ \t]*;")
_FIELD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x7e][\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a report is to go: by mail to `address`, or (None) by HTTPS to `uri`."""

    uri: str
    address: api.EmailAddress | None = None


def read_records(records: Iterable[bytes]) -> tuple[Target, ...]:
    """The places that the domain names and that we can reach; none when it wants no reports, or has no good record."""
    texts = [record.decode("latin-1") for record in records]
    found = [text for text in texts if _VERSION.match(text)]
    # RFC 8460 §3: anything but one record is none.
    if len(found) != 1:
        return ()
    fields = [part.strip(" \t") for part in found[0][:_LONGEST].split(";")[1:]]
    if fields and not fields[-1]:
        fields.pop()
    if not all(_FIELD.fullmatch(field) for field in fields):
        return ()
    for field in fields:
        name, _, value = field.partition("=")
        if name == "rua":
            targets = (_target(uri.strip(" \t")) for uri in value.split(","))
            return tuple(dict.fromkeys(target for target in targets if target is not None))[:MOST_TARGETS]
    return ()


def _target(uri: str) -> Target | None:
    scheme, _, rest = uri.partition(":")
    if not uri.isascii() or " " in uri:
        return None
    if scheme.lower() == "https":
        try:
            parts = urlsplit(uri)
            good = bool(parts.hostname) and parts.username is None and parts.port != 0
        except ValueError:
            return None
        return Target(f"https:{rest}") if good else None
    if scheme.lower() != "mailto":
        return None
    try:
        # RFC 6068 §2: what follows "?" are header fields, which a report has no use for.
        address = api.EmailAddress.parse(unquote(rest.partition("?")[0], errors="strict"))
    except (api.InvalidInput, UnicodeDecodeError):
        return None
    # An address beyond ASCII would make a report undeliverable at most places.
    return Target(uri, address) if address.local.isascii() else None


def own_record(domain: str, address: str) -> tuple[str, str]:
    """The name and the text of the record that a domain of ours should have."""
    # RFC 8460 §3: these would end the address.
    safe = address.replace("%", "%25").replace(",", "%2C").replace(";", "%3B").replace("!", "%21").replace("?", "%3F")
    return f"_smtp._tls.{domain}", f"v=TLSRPTv1; rua=mailto:{safe}"
