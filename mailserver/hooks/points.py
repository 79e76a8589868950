"""All hook points in one table: what `docs/hooks.md` is made from, and what tests/meta holds against the code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailserver.hooks.contexts import (
    AuthenticateContext,
    Authenticated,
    BeforeSendContext,
    ConnectContext,
    DeliveryContext,
    Denied,
    ForwardContext,
    HeloContext,
    MailContext,
    MessageContext,
    PlaceContext,
    Placement,
    RcptContext,
    Resolution,
    ResolveContext,
    Route,
    RouteContext,
    ScramContext,
    SearchAnswer,
    SearchContext,
    SenderContext,
    TlsPolicy,
    TlsPolicyContext,
    Unresolvable,
)
from mailserver.model.address import EmailAddress
from mailserver.model.verdict import Accept, Defer, Quarantine, Reject

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

    `context` is what the hook gets and `answers` what it may return beside None, for decide and provide. `reserved_for`
    names the coming feature that will be its first user; "" when a built-in plugin, or the server's own
    part in the hooks (`app/plugins.py`), uses it today.
    """

    method: str
    kind: Kind
    reserved_for: str = ""
    context: type | None = None
    answers: tuple[type, ...] = ()


def _decide(method: str, context: type, reserved_for: str = "") -> HookPoint:
    return HookPoint(method, Kind.DECIDE, reserved_for, context, (Accept, Quarantine, Defer, Reject))


def _provide(method: str, context: type, *answers: type, reserved_for: str = "") -> HookPoint:
    return HookPoint(method, Kind.PROVIDE, reserved_for, context, answers)


POINTS = (
    _decide("on_connect", ConnectContext),
    _decide("on_helo", HeloContext),
    _decide("on_mail", MailContext),
    _decide("on_rcpt", RcptContext),
    _decide("on_message", MessageContext),
    _decide("on_delivery", DeliveryContext),
    _decide("before_send", BeforeSendContext),
    _provide("authenticate", AuthenticateContext, Authenticated, Denied),
    _provide("scram_verifier", ScramContext, tuple),
    _provide("resolve", ResolveContext, Resolution, Unresolvable),
    _provide("sender_allowed", SenderContext, bool),
    _provide("forward_sender", ForwardContext, EmailAddress),
    _provide("route", RouteContext, Route, reserved_for="routes per destination"),
    _provide("tls_policy", TlsPolicyContext, TlsPolicy),
    _provide("place", PlaceContext, Placement),
    _provide("search", SearchContext, SearchAnswer, reserved_for="full-text search"),
    HookPoint("observe", Kind.OBSERVE),
    HookPoint("service", Kind.CONTRIBUTE, "ManageSieve"),
    HookPoint("imap_command", Kind.CONTRIBUTE, "IMAP extensions"),
    HookPoint("http_routes", Kind.CONTRIBUTE, "JMAP and webmail"),
    HookPoint("operation", Kind.CONTRIBUTE),
    HookPoint("cli_command", Kind.CONTRIBUTE, "migration from other servers"),
    HookPoint("sasl_mechanism", Kind.CONTRIBUTE, "Kerberos (GSSAPI)"),
    HookPoint("store", Kind.CONTRIBUTE, "the store for several nodes"),
    HookPoint("event_sink", Kind.CONTRIBUTE),
)
