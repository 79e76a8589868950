"""Received-SPF (RFC 7208 §9.1): the older way to tell the result to programs that read the message."""

from __future__ import annotations

import re

from mailserver import api

__all__ = ["received_spf"]

_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_WORDS = {
    "pass": "designates {peer} as permitted sender", "fail": "does not designate {peer} as permitted sender",
    "softfail": "would rather not have {peer} as sender", "neutral": "says nothing about {peer}",
    "none": "has no SPF record", "temperror": "could not be asked", "permerror": "has an SPF record with mistakes",
}  # fmt: skip


def received_spf(
    hostname: str, session: api.Session, sender: api.EmailAddress | None, findings: api.Findings
) -> api.HeaderField | None:
    """The field for what SPF found; None when it was not asked."""
    name = "smtp.helo" if sender is None else "smtp.mailfrom"
    found = next((result for result in findings.of("spf") if result.value(name)), None)
    if found is None:
        return None
    domain = session.helo if sender is None else sender.domain
    words = _WORDS[found.result].format(peer=session.peer)
    pairs = {
        "identity": "helo" if sender is None else "mailfrom", "client-ip": session.peer, "receiver": hostname,
        "helo": session.helo, "envelope-from": "" if sender is None else f"{sender.local}@{sender.domain}",
    }  # fmt: skip
    listed = "; ".join(f"{key}={_value(value)}" for key, value in pairs.items() if value)
    return api.HeaderField("Received-SPF", f"{found.result} ({_comment(f'{hostname}: {domain} {words}')}) {listed}")


def _value(text: str) -> str:
    if _WORD.fullmatch(text):
        return text
    clean = "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text[:320])
    return f'"{clean}"'


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() and c not in "()\\" else "?" for c in text)
