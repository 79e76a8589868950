"""The mail transaction (RFC 5321 §3.3, §4.1.4): which command may come when, as a table, and what was gathered.

    state     means                              leaves it
    START     no EHLO yet (or STARTTLS since)    EHLO, HELO → READY
    READY     greeted, no transaction            MAIL → MAIL
    MAIL      sender known, no recipient yet     RCPT → RCPT
    RCPT      at least one recipient             DATA → READY (whatever its reply), BDAT → CHUNKS
    CHUNKS    between two BDAT (RFC 3030)        BDAT LAST → READY

RSET leads to READY (from START to START), EHLO to READY, a failed BDAT to READY; no other command changes the state.
Handlers ask `refusal` and never compare states themselves, so nothing of a transaction survives its end (ATTACKS A08).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from mailserver.hooks.contexts import LocalMailbox
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.findings import NOTHING, Findings
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from mailserver.wire.smtp import MailArguments

__all__ = ["Destination", "State", "Transaction", "refusal"]


class State(Enum):
    """Where a connection stands."""

    START = auto()
    READY = auto()
    MAIL = auto()
    RCPT = auto()
    CHUNKS = auto()


_NO_HELO = Reply(503, "5.5.1", "Send EHLO first").encode()
_NO_MAIL = Reply(503, "5.5.1", "Need MAIL before this").encode()
_NO_RCPT = Reply(503, "5.5.1", "Need RCPT before this").encode()
_NESTED = Reply(503, "5.5.1", "A transaction is in progress already").encode()
_CHUNKS = Reply(503, "5.5.1", "Only BDAT may follow BDAT").encode()

#: verb → state → the refusal; a missing state means: allowed.
_REFUSALS: dict[str, dict[State, bytes]] = {
    "MAIL": {State.START: _NO_HELO, State.MAIL: _NESTED, State.RCPT: _NESTED, State.CHUNKS: _CHUNKS},
    "RCPT": {State.START: _NO_HELO, State.READY: _NO_MAIL, State.CHUNKS: _CHUNKS},
    "DATA": {State.START: _NO_HELO, State.READY: _NO_MAIL, State.MAIL: _NO_RCPT, State.CHUNKS: _CHUNKS},
    "BDAT": {State.START: _NO_HELO, State.READY: _NO_MAIL, State.MAIL: _NO_RCPT},
    "STARTTLS": {State.START: _NO_HELO, State.MAIL: _NESTED, State.RCPT: _NESTED, State.CHUNKS: _CHUNKS},
    "AUTH": {State.START: _NO_HELO, State.MAIL: _NESTED, State.RCPT: _NESTED, State.CHUNKS: _CHUNKS},
}


def refusal(verb: str, state: State) -> bytes | None:
    """The reply to a command that comes out of order; None when it may come."""
    return _REFUSALS[verb].get(state)


@dataclass(slots=True)
class Destination:
    """One recipient of the transaction and all the places where its copy goes. `returns_to`: accounts that keep no copy
    of what their forward passes on, and get it when that fails for one of these addresses."""

    recipient: Recipient
    local: list[LocalMailbox] = field(default_factory=list)
    remote: list[EmailAddress] = field(default_factory=list)
    returns_to: dict[AccountId, tuple[EmailAddress, ...]] = field(default_factory=dict)

    @property
    def forwarded(self) -> bool:
        """Does anything of it go to another address outside, or would if the account wants it?"""
        return any(address != self.recipient.address for address in self.remote) or self.wanted

    @property
    def wanted(self) -> bool:
        """Has an account a forward that was not asked to pass it on yet (`smtp.forwarding.pass_on`)?"""
        return any(mailbox.forward for mailbox in self.local)


class Transaction:
    """What MAIL and RCPT said so far."""

    __slots__ = ("_envelope", "arguments", "destinations", "findings", "refused", "state")

    def __init__(self, state: State = State.START) -> None:
        self.state = state
        self.arguments = MailArguments(None)
        self.destinations: list[Destination] = []
        #: By the hooks, from the connection on.
        self.findings: Findings = NOTHING
        #: RCPT commands beyond the limit.
        self.refused = 0
        self._envelope: Envelope | None = None

    def begin(self, arguments: MailArguments, envelope: Envelope, findings: Findings = NOTHING) -> None:
        """MAIL was accepted."""
        self.state = State.MAIL
        self.findings = findings
        self.arguments = arguments
        self._envelope = envelope

    def add(self, destination: Destination, findings: Findings = NOTHING) -> None:
        """RCPT was accepted."""
        self.findings += findings
        self.state = State.RCPT
        self.destinations.append(destination)
        self._envelope = None

    def envelope(self) -> Envelope:
        """The envelope with the recipients of now."""
        if self._envelope is None:
            self._envelope = make_envelope(self.arguments, tuple(d.recipient for d in self.destinations))
        return self._envelope


def make_envelope(arguments: MailArguments, recipients: tuple[Recipient, ...] = ()) -> Envelope:
    """The envelope that the arguments of MAIL and the recipients make."""
    hold = arguments.hold
    return Envelope(
        sender=arguments.sender, recipients=recipients, declared_size=arguments.size, body=arguments.body,
        smtputf8=arguments.smtputf8, require_tls=arguments.require_tls, dsn_return=arguments.dsn_return,
        envelope_id=arguments.envelope_id, authenticated_as=arguments.auth,
        hold_until=None if hold is None else hold.until, hold_request=None if hold is None else hold.request,
    )  # fmt: skip
