"""The envelope of a message (RFC 5321 §2.3.1) with what the extensions add to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from mailserver.model.address import EmailAddress
from mailserver.model.findings import Judgement
from mailserver.model.ids import AccountId

__all__ = ["STAYS_HERE", "Body", "DsnReturn", "Envelope", "Notify", "Recipient", "returning"]

_RETURNS_TO, _STAYS_HERE, _SENT_BY = "returns-to", "stays-here", "sent-by"
#: No address has it.
_BETWEEN = "\t"
#: `Envelope.extra` of a copy for a mailbox whose account's forward has had the message already.
STAYS_HERE = ((_STAYS_HERE, ""),)


class Body(Enum):
    """BODY= of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


class DsnReturn(Enum):
    """RET= of MAIL (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(Enum):
    """NOTIFY= of RCPT (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One recipient as it was given: `original_recipient` is ORCPT's value, still in xtext (RFC 3461 §4.2)."""

    address: EmailAddress
    notify: frozenset[Notify] = frozenset()
    original_recipient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`sender` is None for the null reverse-path `<>`; `envelope_id` is ENVID's value, still in xtext.

    `account` is the account of ours that submitted it, or the address of the user of this machine who did, where no
    account has that one (`authenticated_as` is only what AUTH= of MAIL claims); `own` means that this server wrote the
    message: a report, a notice. Neither is ever true of a stranger's mail, so whoever signs in our name may rely on
    them. `hold_until` (epoch seconds): not to be sent before (RFC 4865);
    `hold_request` is what was asked for, in the words of a report. `judgements`: what was found out about copies for
    accounts here while the sender was on the line, for the queue does not judge.
    """

    sender: EmailAddress | None
    recipients: tuple[Recipient, ...] = ()
    declared_size: int | None = None
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    require_tls: bool = False
    dsn_return: DsnReturn | None = None
    envelope_id: str | None = None
    authenticated_as: str | None = None
    extra: tuple[tuple[str, str], ...] = field(default=())
    account: AccountId | None = None
    own: bool = False
    hold_until: float | None = None
    hold_request: str | None = None
    judgements: tuple[Judgement, ...] = ()

    @property
    def stays_here(self) -> bool:
        """Is it not to be forwarded by the accounts that it goes to?"""
        return any(name == _STAYS_HERE for name, _ in self.extra)

    @property
    def returns_to(self) -> dict[str, set[str]]:
        """Accounts whose forward this is, and that kept no copy, with the keys of their targets: an account gets it
        when it cannot be delivered to one of these. Others may be recipients of it, too."""
        found: dict[str, set[str]] = {}
        for name, value in self.extra:
            if name == _RETURNS_TO:
                account, _, target = value.partition(_BETWEEN)
                found.setdefault(account, set()).add(target)
        return found

    @property
    def first_sender(self) -> EmailAddress | None:
        """The sender that it had when it came, whatever it is passed on under."""
        before = next((value for name, value in self.extra if name == _SENT_BY), "")
        return EmailAddress.parse(before) if before else self.sender

    def passed_on_by(self, sender: EmailAddress | None) -> Envelope:
        """The same with another sender; what comes back to an account has the one before."""
        if sender == self.sender or self.sender is None:
            return self
        before = ((_SENT_BY, str(self.sender)),) if self.returns_to else ()
        return replace(self, sender=sender, extra=self.extra + before)

    @property
    def of_stranger(self) -> bool:
        """Does nobody vouch for the sender? Then the return path may be forged, and whoever has it wrote nothing."""
        return self.account is None and not self.own

    def judgement(self, account: AccountId) -> Judgement | None:
        """What was said about the copy of an account; None: nothing is known of that."""
        return next((one for one in self.judgements if one.account in (account, "")), None)


def returning(accounts: Iterable[tuple[str, Iterable[EmailAddress]]]) -> tuple[tuple[str, str], ...]:
    """`Envelope.extra` of a message that `returns_to` these, each for its targets."""
    return tuple(
        (_RETURNS_TO, f"{account}{_BETWEEN}{target.key}") for account, targets in accounts for target in targets
    )
