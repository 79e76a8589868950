"""What a decide hook says about mail, and how several verdicts become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailserver.model.findings import NOTHING, Findings
from mailserver.model.reply import Reply

__all__ = ["ACCEPT", "Accept", "Defer", "HeaderField", "Quarantine", "Reject", "Verdict", "combine"]


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A header field to put on top of a message.

    `value` is one logical line; CR, LF and NUL in it are refused, so that nothing which a peer chose can start a
    field of its own (ATTACKS A13).
    """

    name: str
    value: str

    def __post_init__(self) -> None:
        if not self.name or not all(33 <= ord(c) <= 126 and c != ":" for c in self.name):
            raise ValueError(f"not a header field name: {self.name!r}")
        if any(c in self.value for c in "\r\n\0"):
            raise ValueError(f"a header field value is one line: {self.name}")


@dataclass(frozen=True, slots=True)
class Accept:
    """No objection; may add header fields, and what was found for and against the message."""

    headers: tuple[HeaderField, ...] = ()
    findings: Findings = NOTHING


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Keep it, but out of the inbox. Sticks: a later Accept does not lift it."""

    reason: str
    headers: tuple[HeaderField, ...] = ()
    findings: Findings = NOTHING


@dataclass(frozen=True, slots=True)
class Defer:
    """Try again later: 4xx. Ends the chain. `close` ends the connection too. `keep`: see Reject."""

    reply: Reply
    reason: str = ""
    close: bool = False
    findings: Findings = NOTHING
    keep: bool = False

    def __post_init__(self) -> None:
        _check(self.reply, "4")


@dataclass(frozen=True, slots=True)
class Reject:
    """Never: 5xx. Ends the chain. `close` ends the connection too.

    `keep`, of `on_delivery`: the account gets a copy in its mailbox Rejects all the same, to look at.
    """

    reply: Reply
    reason: str = ""
    close: bool = False
    findings: Findings = NOTHING
    keep: bool = False

    def __post_init__(self) -> None:
        _check(self.reply, "5")


def _check(reply: Reply, kinds: str) -> None:
    """A refusal that reads like a success would lose the message: the client would take it for kept."""
    if not reply.refuses(kinds):
        raise ValueError(f"not a reply of the kind {kinds}xx: {reply}")


Verdict = Accept | Quarantine | Defer | Reject
ACCEPT = Accept()


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict from those of a chain, in its order.

    The first Reject or Defer is the answer. Otherwise headers add up, and one Quarantine makes the whole a Quarantine
    (with the first one's reason). What was found adds up in any case.
    """
    verdicts = tuple(verdicts)
    if len(verdicts) == 1:
        return verdicts[0]
    total: Accept | Quarantine = ACCEPT
    for verdict in verdicts:
        findings = total.findings + verdict.findings
        if isinstance(verdict, Reject | Defer):
            return replace(verdict, findings=findings)
        headers = total.headers + verdict.headers
        if isinstance(total, Accept) and isinstance(verdict, Quarantine):
            total = replace(verdict, headers=headers, findings=findings)
        else:
            total = replace(total, headers=headers, findings=findings)
    return total
