"""What of a message makes it one row with others (RFC 9990 §3.1.1.7): domains and addresses of servers, never an
address of a person (§7.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailserver import api
from mailserver.plugins.aggregate_reports.text import clean

__all__ = ["facts", "policy"]

#: Of one message (§3.1.3).
_MOST_SIGNATURES, _MOST_REASONS = 20, 5
_DKIM = frozenset({"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"})
_SPF = _DKIM | {"softfail"}


def policy(event: api.DmarcEvaluated) -> dict[str, Any]:
    """The one that was published, with the defaults of what is not given (§3.1.1.5)."""
    sp = event.sp or event.p
    return {
        "p": event.p, "sp": sp, "np": event.np or sp, "fo": clean(event.fo), "adkim": "s" if event.strict_dkim else "r",
        "aspf": "s" if event.strict_spf else "r", "testing": "y" if event.testing else "n",
    }  # fmt: skip


def facts(event: api.DmarcEvaluated) -> dict[str, Any]:
    """With a JSON of this, messages are the same."""
    return {
        "source": event.peer, "disposition": _disposition(event), "dkim": event.dkim_aligned, "spf": event.spf_aligned,
        "reasons": list(_reasons(event)), "author": clean(event.author), "sender": clean(event.sender),
        "signatures": list(_signatures(event)), "sender_spf": _spf(event),
    }  # fmt: skip


def _wanted(event: api.DmarcEvaluated) -> set[str]:
    """What the record may have asked for; whether a name below exists is not told."""
    if event.author == event.policy_domain:
        return {event.p}
    return {event.sp or event.p, event.np or event.sp or event.p}


def _disposition(event: api.DmarcEvaluated) -> str:
    # Appendix A: mail that passed under a policy that enforces something is told apart from mail that had none.
    return "pass" if event.passed and "none" not in _wanted(event) else event.disposition


def _reasons(event: api.DmarcEvaluated) -> Iterator[tuple[str, str]]:
    yield from ((kind, clean(comment)) for kind, comment in event.overrides[:_MOST_REASONS])
    # §3.1.1.9: something else than the policy must have a reason.
    if not event.passed and not event.overrides and event.disposition not in _wanted(event):
        yield "local_policy", ""


def _signatures(event: api.DmarcEvaluated) -> Iterator[tuple[str, str, str]]:
    found = [
        (clean(result.value("header.d").lower()), clean(result.value("header.s")), result.result)
        for result in event.results
        if result.method == "dkim" and result.result in _DKIM and result.value("header.d")
    ]
    # §3.1.3: the ones that prove something first.
    found.sort(key=lambda one: (one[2] != "pass", one[0] != event.author))
    yield from found[:_MOST_SIGNATURES]


def _spf(event: api.DmarcEvaluated) -> tuple[str, str] | None:
    """Domain and result of MAIL FROM, which for a bounce is the name in EHLO (RFC 7208 §2.4)."""
    for result in event.results:
        if result.method == "spf" and result.result in _SPF:
            name = result.value("smtp.mailfrom" if event.sender else "smtp.helo").rpartition("@")[2].lower()
            if name:
                return clean(name), result.result
    return None
