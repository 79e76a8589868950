"""What a decide hook says about mail, and how several verdicts become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
    """No objection; may add header fields and a score (higher is worse)."""

    headers: tuple[HeaderField, ...] = ()
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Keep it, but out of the inbox. Sticks: a later Accept does not lift it."""

    reason: str
    headers: tuple[HeaderField, ...] = ()
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Defer:
    """Try again later: 4xx. Ends the chain. `close` ends the connection too."""

    reply: Reply
    reason: str = ""
    close: bool = False

    def __post_init__(self) -> None:
        _check(self.reply, "4")


@dataclass(frozen=True, slots=True)
class Reject:
    """Never: 5xx. Ends the chain. `close` ends the connection too."""

    reply: Reply
    reason: str = ""
    close: bool = False

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

    The first Reject or Defer is the answer. Otherwise headers and scores add up, and one Quarantine makes the whole
    a Quarantine (with the first one's reason).
    """
    total: Accept | Quarantine = ACCEPT
    for verdict in verdicts:
        if isinstance(verdict, Reject | Defer):
            return verdict
        headers, score = total.headers + verdict.headers, total.score + verdict.score
        if isinstance(total, Accept) and isinstance(verdict, Quarantine):
            total = replace(verdict, headers=headers, score=score)
        else:
            total = replace(total, headers=headers, score=score)
    return total
