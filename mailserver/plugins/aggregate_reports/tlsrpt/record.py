"""The record by which a domain asks for reports (RFC 8460 §3): `_smtp._tls.example.org`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from mailserver.plugins.aggregate_reports.targets import Target, escaped, first_targets, mail_address

__all__ = ["own_record", "read_records"]

_LONGEST = 2000
_VERSION = re.compile(r"v=TLSRPTv1[ \t]*;")
_FIELD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x7e][\x20-\x7e]*")


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
            return first_targets(_target(uri.strip(" \t")) for uri in value.split(","))
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
    address = mail_address(rest)
    return Target(uri, address) if address is not None else None


def own_record(domain: str, address: str) -> tuple[str, str]:
    """The name and the text of the record that a domain of ours should have."""
    return f"_smtp._tls.{domain}", f"v=TLSRPTv1; rua=mailto:{escaped(address)}"
