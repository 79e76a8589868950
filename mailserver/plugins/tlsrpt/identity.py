"""In whose name reports leave: an address of a domain that we serve, since that domain must sign them (RFC 8460 §3)."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from mailserver import api
from mailserver.plugins.tlsrpt.settings import TlsReportSettings

__all__ = ["Identity", "identity"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Identity:
    """`contact` is From and contact-info."""

    contact: api.EmailAddress
    organisation: str


def identity(host: api.Host, settings: TlsReportSettings) -> Identity | None:
    """Read anew each time, as domains come and go; None while no domain is served."""
    contact = api.EmailAddress.parse(settings.contact) if settings.contact else None
    if contact is not None and host.directory.domain(contact.domain) is None:
        _log.warning("tlsrpt.contact_not_served", contact=settings.contact, hint="its domain cannot sign reports")
        contact = None
    if contact is None:
        domain = api.domain_of_host(host.directory, host.hostname)
        if not domain:
            return None
        contact = api.EmailAddress(local="postmaster", domain=domain)
    return Identity(contact, settings.organisation or contact.domain)
