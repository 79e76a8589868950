"""What `mailserver send --test` found, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mailserver.commands.tls_policy import LEVELS

__all__ = ["describe", "would_arrive"]

_OUTCOMES = {"delivered": "would be taken", "deferred": "would wait", "failed": "would be refused"}


def would_arrive(told: dict[str, Any]) -> bool:
    """Is it for a mailbox here, or does some host take it?"""
    return bool(told["local"]) or any(host["outcome"] == "delivered" for host in told["hosts"])


def describe(told: dict[str, Any]) -> Iterator[str]:
    """The answer of `send.test` as lines."""
    if told["local"]:
        yield f"{told['recipient']}: the mailbox is here"
        return
    where = f" mail goes by way of {told['destination']}" if told["destination"] else ""
    yield f"{told['recipient']}:{where}"
    for host in told["hosts"]:
        yield ""
        yield from _host(host)
    for text in told["skipped"]:
        yield f"  left out:     {text}"
    if told["error"]:
        yield f"  no host:      {told['error']}"


def _host(host: dict[str, Any]) -> Iterator[str]:
    proved = ", proved by DNSSEC or named by you" if host["mx_authentic"] else ""
    yield f"{host['host']}, port {host['port']} ({', '.join(host['addresses'])}{proved})"
    if host["level"]:
        wanted = LEVELS[host["level"]].format(names=" or ".join(host["names"]))
        yield f"  policy:       {wanted} ({host['source']})"
    if host["address"]:
        yield f"  connection:   {host['address']}, {host['tls'] or 'in the clear'}"
    certificate = host["certificate"]
    if certificate is not None:
        fits = "is what the policy asks for" if host["authenticated"] else "was not asked to prove anything"
        yield f"  certificate:  for {', '.join(certificate['names']) or certificate['subject']}, {fits}"
        yield f"                by {certificate['issuer']}, until {_day(certificate['ends'])}"
        yield f"                SHA-256 {certificate['sha256']}"
    for who, line in host["dialogue"]:
        yield f"  {who}: {line}"
    yield f"  a message     {_OUTCOMES.get(host['outcome'], 'was not tried')}: {host['reply']}"


def _day(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")
