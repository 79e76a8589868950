"""What a decide hook says about mail, and how several verdicts become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mailserver.model.findings import NOTHING, Findings
from mailserver.model.reply import Reply

__all__ = ["ACCEPT", "Accept", "Defer", "HeaderChange", "HeaderField", "Quarantine", "Reject", "Verdict", "combine"]


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A header field to put on top of a message.

    `value` is one logical line; CR, LF and NUL in it are refused, so that nothing which a peer chose can start a
    field of its own (ATTACKS A13).
    """

    name: str
    value: str

    def __post_init__(self) -> None:
        _check_name(self.name)
        if any(c in self.value for c in "\r\n\0"):
            raise ValueError(f"a header field value is one line: {self.name}")


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """Something to change in the header of the message itself, below the fields that this server puts on top.

    Attributes:
        name: of the field.
        value: the new one, as UTF-8 (other octets as lone surrogates, as `surrogateescape` makes them). Signatures may
            cover how it is folded, so it may be: CRLF, each time with white space and more behind it. None: the field
            goes.
        occurrence: which of the fields of this name, from 1 at the top, as the message stands by then. When there are
            fewer, a value becomes a new field at the end, as for 0.
        position: of a new field: how many fields stay above it. None: all.
    """

    name: str
    value: str | None
    occurrence: int = 0
    position: int | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        lines = (self.value or "").split("\r\n")
        if any(c in line for line in lines for c in "\r\n\0"):
            raise ValueError(f"CR, LF or NUL in a header field value: {self.name}")
        if any(line[:1] not in (" ", "\t") or not line.strip(" \t") for line in lines[1:]):
            raise ValueError(f"a header field value that is not folded as it must be: {self.name}")
        if self.occurrence < 0 or (self.position or 0) < 0:
            raise ValueError(f"no such place in a header: {self.name}")


def _check_name(name: str) -> None:
    if not name or not all(33 <= ord(c) <= 126 and c != ":" for c in name):
        raise ValueError(f"not a header field name: {name!r}")


@dataclass(frozen=True, slots=True)
class Accept:
    """No objection; may add header fields on top, and what was found for and against the message.

    `changes` (in order) and `body`, the octets to put in place of the body, are for `on_message`: later hooks see the
    message as it is then, and so do its recipients.
    """

    headers: tuple[HeaderField, ...] = ()
    findings: Findings = NOTHING
    changes: tuple[HeaderChange, ...] = ()
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Keep it, but out of the inbox. Sticks: a later Accept does not lift it. `changes` and `body`: see Accept."""

    reason: str
    headers: tuple[HeaderField, ...] = ()
    findings: Findings = NOTHING
    changes: tuple[HeaderChange, ...] = ()
    body: bytes | None = field(default=None, repr=False)


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

    The first Reject or Defer is the answer. Otherwise headers and changes add up, the last body counts, and one
    Quarantine makes the whole a Quarantine (with the first one's reason). What was found adds up in any case.
    """
    verdicts = tuple(verdicts)
    if len(verdicts) == 1:
        return verdicts[0]
    total: Accept | Quarantine = ACCEPT
    for verdict in verdicts:
        findings = total.findings + verdict.findings
        if isinstance(verdict, Reject | Defer):
            return replace(verdict, findings=findings)
        base = total if isinstance(total, Quarantine) or isinstance(verdict, Accept) else verdict
        total = replace(
            base, headers=total.headers + verdict.headers, findings=findings,
            changes=total.changes + verdict.changes, body=total.body if verdict.body is None else verdict.body,
        )  # fmt: skip
    return total
