"""Where a domain wants its reports (RFC 9990 §3.5), and whether those whom it names agree (§4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from mailserver import api

__all__ = ["Target", "Unconfirmed", "confirmed", "own_record", "read_targets"]

#: Places that a report goes to, of those that a record names.
MOST_TARGETS = 4
_MAX_NAME = 253
#: RFC 7489 §6.2; RFC 9990 has it no more, records still do.
_LIMIT = re.compile(r"(.*)!([0-9]{1,12})([kmgt]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Unconfirmed(Exception):
    """In words."""


@dataclass(frozen=True, slots=True)
class Target:
    """`most`: octets that a message may have there; 0: no limit is given. `uri` is what names it."""

    uri: str
    address: api.EmailAddress
    most: int = 0


def read_targets(uris: tuple[str, ...]) -> tuple[Target, ...]:
    """Those that can be reached: by mail, the only way there is (§3.5.3)."""
    found = dict.fromkeys(target for target in map(_target, uris) if target is not None)
    return tuple(found)[:MOST_TARGETS]


def _target(uri: str) -> Target | None:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return None
    limit = _LIMIT.fullmatch(rest)
    if limit is not None:
        rest = limit[1]
    try:
        # RFC 6068 §2: what follows "?" are header fields, which a report has no use for.
        address = api.EmailAddress.parse(unquote(rest.partition("?")[0], errors="strict"))
    except (api.InvalidInput, UnicodeDecodeError):
        return None
    if not address.local.isascii():
        return None
    return Target(uri, address, int(limit[2]) * _UNITS[limit[3].lower()] if limit else 0)


async def confirmed(resolver: api.Resolver, domain: str, target: Target) -> tuple[Target, ...]:
    """The targets instead of one that the record of `domain` names: itself, or those that its own domain puts in its
    place. Raises Unconfirmed (it is another organisation's, which wants no reports about `domain`), LookupFailed."""
    host = target.address.domain
    if host == domain or await _organizational(resolver, host) == await _organizational(resolver, domain):
        return (target,)
    name = f"{domain}._report._dmarc.{host}"
    if len(name) > _MAX_NAME:
        raise Unconfirmed(f"the name at which {host} would agree is too long")
    found = [api.find_dmarc([text]) for text in (await resolver.txt(name)).records]
    records = [record for record in found if record is not None]
    if not records:
        raise Unconfirmed(f"{host} does not say that it wants reports about {domain}: there is no TXT record at {name}")
    uris = next((record.rua for record in records if record.rua), ())
    if not uris:
        return (target,)
    instead = read_targets(uris)
    if not instead or any(one.address.domain != host for one in instead):
        raise Unconfirmed(f"the record at {name} points somewhere else")
    return instead


async def _organizational(resolver: api.Resolver, domain: str) -> str:
    """RFC 9989 §4.10.2. Raises LookupFailed."""
    found: list[tuple[str, api.DmarcRecord]] = []
    for name in api.walk_targets(domain):
        if len(name) + len("_dmarc.") > _MAX_NAME:
            continue
        record = api.find_dmarc((await resolver.txt(f"_dmarc.{name}")).records)
        if record is not None:
            found.append((name, record))
            if record.psd != "u":
                break
    return api.organizational_domain(domain, found)


def own_record(domain: str, address: str) -> tuple[str, str]:
    """The name and the text of a record by which a domain of ours asks for reports, and no more than that."""
    safe = address.replace("%", "%25").replace(",", "%2C").replace(";", "%3B").replace("!", "%21").replace("?", "%3F")
    return f"_dmarc.{domain}", f"v=DMARC1; p=none; rua=mailto:{safe}"
