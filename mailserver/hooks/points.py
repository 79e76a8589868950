"""All hook points in one table: what `docs/hooks.md` is made from, and what tests/meta holds against the code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["POINTS", "HookPoint", "Kind"]


class Kind(Enum):
    """The four kinds of hook, and there are only four (DESIGN §8)."""

    DECIDE = "decide"
    PROVIDE = "provide"
    OBSERVE = "observe"
    CONTRIBUTE = "contribute"


@dataclass(frozen=True, slots=True)
class HookPoint:
    """One point. `method` is the method of Registry, whose docstring documents it.

    `reserved_for` names the coming feature that will be its first user; "" when a built-in part uses it today.
    """

    method: str
    kind: Kind
    reserved_for: str = ""


POINTS = (
    HookPoint("on_connect", Kind.DECIDE),
    HookPoint("on_helo", Kind.DECIDE, "SPF (HELO identity)"),
    HookPoint("on_mail", Kind.DECIDE),
    HookPoint("on_rcpt", Kind.DECIDE),
    HookPoint("on_message", Kind.DECIDE, "SPF, DKIM and DMARC"),
    HookPoint("before_send", Kind.DECIDE, "DKIM signing of outbound mail"),
    HookPoint("authenticate", Kind.PROVIDE),
    HookPoint("scram_verifier", Kind.PROVIDE),
    HookPoint("resolve", Kind.PROVIDE),
    HookPoint("sender_allowed", Kind.PROVIDE),
    HookPoint("route", Kind.PROVIDE, "outbound: routes per destination"),
    HookPoint("tls_policy", Kind.PROVIDE, "outbound: DANE and MTA-STS"),
    HookPoint("place", Kind.PROVIDE, "Sieve"),
    HookPoint("observe", Kind.OBSERVE, "webhooks"),
    HookPoint("service", Kind.CONTRIBUTE, "ManageSieve"),
    HookPoint("imap_command", Kind.CONTRIBUTE, "IMAP extensions of the next issue"),
    HookPoint("http_routes", Kind.CONTRIBUTE, "JMAP and webmail"),
    HookPoint("cli_command", Kind.CONTRIBUTE, "migration from other servers"),
    HookPoint("sasl_mechanism", Kind.CONTRIBUTE, "OAUTHBEARER"),
    HookPoint("store", Kind.CONTRIBUTE, "the store for several nodes"),
    HookPoint("event_sink", Kind.CONTRIBUTE, "audit log"),
)
