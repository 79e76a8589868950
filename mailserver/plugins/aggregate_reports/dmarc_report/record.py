"""Where a domain wants its reports (RFC 9990 §3.5), and whether those whom it names agree (§4)."""

from __future__ import annotations

import re

from mailserver import api
from mailserver.plugins.aggregate_reports.targets import Target, Unwanted, escaped, first_targets, mail_address
from mailserver.plugins.aggregate_reports.text import related

__all__ = ["confirmed", "own_records", "read_targets"]

_MAX_NAME = 253
#: RFC 7489 §6.2; RFC 9990 has it no more, records still do.
_LIMIT = re.compile(r"(.*)!([0-9]{1,12})([kmgt]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def read_targets(uris: tuple[str, ...]) -> tuple[Target, ...]:
    """Those that can be reached: by mail, the only way there is (§3.5.3)."""
    return first_targets(map(_target, uris))


def _target(uri: str) -> Target | None:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return None
    limit = _LIMIT.fullmatch(rest)
    address = mail_address(limit[1] if limit else rest)
    most = int(limit[2]) * _UNITS[limit[3].lower()] if limit else 0
    return Target(uri, address, most) if address is not None else None


async def confirmed(resolver: api.Resolver, domain: str, target: Target) -> tuple[Target, ...]:
    """The targets instead of one that the record of `domain` names: itself, or those that its own domain puts in its
    place. Raises Unwanted (it is another organisation's, which wants no reports about `domain`), LookupFailed."""
    host = _host(target)
    if host == domain or await _organizational(resolver, host) == await _organizational(resolver, domain):
        return (target,)
    name = f"{domain}._report._dmarc.{host}"
    if len(name) > _MAX_NAME:
        raise Unwanted(f"the name at which {host} would agree is too long")
    found = [api.find_dmarc([text]) for text in (await resolver.txt(name)).records]
    records = [record for record in found if record is not None]
    if not records:
        raise Unwanted(f"{host} does not say that it wants reports about {domain}: there is no TXT record at {name}")
    uris = next((record.rua for record in records if record.rua), ())
    if not uris:
        return (target,)
    instead = read_targets(uris)
    if not instead or any(_host(one) != host for one in instead):
        raise Unwanted(f"the record at {name} points somewhere else")
    return instead


def _host(target: Target) -> str:
    return target.address.domain if target.address is not None else ""


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


def own_records(domain: str, address: api.EmailAddress) -> list[tuple[str, str]]:
    """Names and texts: that by which a domain of ours asks for reports, and no more than that; and where they come to
    another organisation, that by which it agrees (RFC 9990 §4)."""
    records = [(f"_dmarc.{domain}", f"v=DMARC1; p=none; rua=mailto:{escaped(str(address))}")]
    if not related(address.domain, domain):
        records.append((f"{domain}._report._dmarc.{address.domain}", "v=DMARC1"))
    return records
