"""Why mail that fails is treated better than its author's domain wants: who broke its proofs, and that this is known.

The kinds are those of the reports (RFC 9990 §3.1.6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailserver import api
from mailserver.plugins.dmarc.settings import DmarcSettings

__all__ = ["Exceptions", "Override"]

_LIST_ID = re.compile(rb"<([A-Za-z0-9._-]{1,253})>[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class Override:
    """`kind` and `comment` for the report; `text` for the person who gets the mail."""

    kind: str
    comment: str
    text: str


class Exceptions:
    """Of the settings."""

    def __init__(self, settings: DmarcSettings) -> None:
        self._networks = api.NetworkSet(text for text in settings.trusted_forwarders if "/" in text)
        self._domains = [text for text in settings.trusted_forwarders if "/" not in text]

    def forwarder(self, author: str, ctx: api.MessageContext) -> Override | None:
        """Somebody brought it of whom the administrator knows that he forwards, or passed it on with his seal."""
        if ctx.session.peer in self._networks:
            text = "It came through a forwarder that is trusted here"
            return Override("trusted_forwarder", "listed network", text)
        named = next((domain for domain in self._domains if _proved(domain, ctx.findings)), "")
        if named:
            text = f"It came through {named}, a forwarder that is trusted here"
            return Override("trusted_forwarder", f"listed domain {named}", text)
        for result in ctx.findings.of("arc"):
            sealer = result.value("policy.sealer")
            vouched = result.value("policy.dmarc") == "pass" and result.value("policy.dmarc-from").lower() == author
            if result.result == "pass" and sealer and vouched:
                text = f"{sealer}, which is trusted here, says that it was genuine when it came there"
                return Override("trusted_forwarder", f"arc=pass, sealed by {sealer}", text)
        return None


def mailing_list(ctx: api.MessageContext) -> Override | None:
    """A list that names itself (RFC 2919), and whose domain SPF or DKIM proves."""
    value = ctx.message.value(b"list-id")
    match = None if value is None else _LIST_ID.search(value)
    if match is None:
        return None
    name = match[1].decode("ascii").lower()
    labels = name.split(".")
    # The list is below its host, whose mail it is; a host has two labels at least.
    for start in range(len(labels) - 1):
        if _proved(".".join(labels[start:]), ctx.findings):
            text = f"It came through the mailing list {name}, and lists often break the proofs of their authors"
            return Override("mailing_list", name, text)
    return None


def _proved(domain: str, findings: api.Findings) -> bool:
    for result in findings.results:
        if result.result == "pass" and result.method in ("spf", "dkim"):
            name = result.value("smtp.mailfrom" if result.method == "spf" else "header.d") or result.value("smtp.helo")
            found = name.rpartition("@")[2].lower()
            if found == domain or found.endswith(f".{domain}"):
                return True
    return False
