"""Facts for observers (metrics, logs, plugins). Frozen, and they grow only."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailserver.model.delivery import Result
from mailserver.model.findings import AuthResult, Findings
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.numset import NumSet
from mailserver.model.tls_policy import TlsPolicy

__all__ = [
    "Accepted", "Appended", "Attempted", "Bounced", "Delivered", "DmarcEvaluated", "Dropped", "Event", "FlagsChanged",
    "Handled", "Judged", "LoginFailed", "LoginSucceeded", "Misbehaved", "Moved", "Queued", "Refused", "Reported",
    "SendingLimited", "SessionClosed", "SessionOpened", "Suppressed", "TlsAttempted",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """A connection was admitted. `service`: smtp, submission, imap, http."""

    session: SessionId
    service: str
    peer: str
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    """A connection ended."""

    session: SessionId
    service: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaved:
    """A client that is not logged in was sent away for what it did.

    `kind`: errors (too many commands with errors), junk (too many without effect), protocol (another one, or out of
    turn), slow (a message that trickles).
    """

    session: SessionId
    service: str
    peer: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message got its 250: every recipient has a durable home.

    `account` is who submitted it ("": a stranger); `message_id` is without its brackets, "" if there is none.
    """

    session: SessionId
    queue_id: QueueId
    service: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    peer: str = ""
    account: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A command or message was refused. `stage`: connect, helo, mail, rcpt, message; `code` is the reply's."""

    session: SessionId
    service: str
    stage: str
    peer: str
    sender: str
    recipient: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A message is in a mailbox."""

    queue_id: QueueId
    account: AccountId
    mailbox: str
    uid: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found about a message on its way to an account, and what became of it.

    `mailbox` is where the copy went; "" when none was kept. `reply` is what the sender was told, `refused` whether that
    was a refusal. A copy that its account refused while others took the message is in Rejects, and has a `reason`.
    What waits in the queue is told when it is in its mailbox.
    `author` is the address in From, "" when none can be read.
    """

    queue_id: QueueId
    account: AccountId
    peer: str
    sender: str
    recipient: str
    message_id: str
    mailbox: str
    findings: Findings
    reply: str
    refused: bool
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Messages were stored over IMAP by APPEND or REPLACE, `octets` of them in all; `uids` in `mailbox`."""

    account: AccountId
    mailbox: str
    uids: NumSet
    octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Messages were moved to another mailbox over IMAP, or copied there (`copied`).

    `uids` are those that they have now, in `mailbox` of `account`. They come from `source` of `source_account`.
    """

    account: AccountId
    mailbox: str
    uids: NumSet
    source_account: AccountId
    source: str
    copied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagsChanged:
    """Flags and keywords of messages were changed over IMAP, in the way that STORE names (`how`); some of these
    messages may have had them so already. Keywords are words of the user's own, which no log shows."""

    account: AccountId
    mailbox: str
    uids: NumSet
    how: FlagChange
    flags: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcEvaluated:
    """DMARC of a message from outside was evaluated, for an author whose domain has a policy: a row of the aggregate
    report that the domain may ask for (RFC 9990 §3.1).

    `author` is the domain in From; `sender` that of MAIL FROM ("": a bounce, which has `helo` instead) and `recipients`
    those of RCPT, each once. From `p` to `ruf` it is the record at `policy_domain`. `disposition` is what DMARC wanted
    done here: "none", "quarantine" or "reject"; `overrides` (kind, comment) say why that is not what the policy says.
    `results` are those of DKIM and SPF, as they were found.
    """

    queue_id: QueueId
    peer: str
    author: str
    helo: str
    sender: str
    recipients: tuple[str, ...]
    policy_domain: str
    p: str
    sp: str
    np: str
    strict_dkim: bool
    strict_spf: bool
    fo: str
    testing: bool
    rua: tuple[str, ...]
    ruf: tuple[str, ...]
    passed: bool
    disposition: str
    dkim_aligned: bool
    spf_aligned: bool
    overrides: tuple[tuple[str, str], ...] = ()
    results: tuple[AuthResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A message waits in the queue for these recipients.

    `origin` is the message that it was made from, such as one that is forwarded; itself, when it came like this.
    `held_until` (epoch seconds; 0: not held) is what its sender asked for.
    """

    queue_id: QueueId
    sender: str
    recipients: tuple[str, ...]
    size: int
    origin: QueueId | None = None
    account: str = ""
    held_until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A message was taken out of the queue by hand; these recipients will not get it from here. `by`: who, "" unknown.
    """

    queue_id: QueueId
    recipients: tuple[str, ...]
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """Somebody changed when a queued message goes on to these recipients.

    `action`: held, released, retried (now) or rescheduled. `until` (epoch seconds): until when it is held (None: for
    good), or when it is tried next. `by`: who, "" unknown.
    """

    queue_id: QueueId
    action: str
    recipients: tuple[str, ...]
    until: float | None = None
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt for one recipient of a queued message has ended, and the queue has it in writing.

    `account` is who submitted it, "" for mail of strangers and our own; `next_attempt` is None when there is none.
    `doubtful`: all of it was sent before, or in this attempt, and no answer came: the recipient may have it already, so
    there may be two (RFC 1047).
    """

    queue_id: QueueId
    at: float
    arrived: float
    sender: str
    account: str
    recipient: str
    attempt: int
    size: int
    destination: str
    result: Result
    next_attempt: float | None = None
    doubtful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A delivery status notification about a queued message was put into the queue. `action` is RFC 3464's."""

    queue_id: QueueId
    report_id: QueueId
    to: str
    action: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounced:
    """Another server reports that a message of ours, which it had taken, did not reach a recipient.

    `queue_id` and `account` are those of the message. `credible`: the report came from where the message went; without
    that, it is the word of somebody who has seen the message.
    """

    queue_id: QueueId
    account: AccountId
    recipient: str
    status: str
    reply: str
    reporter: str
    credible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """An account's mail to an address is refused from now on, until this time (epoch seconds)."""

    account: AccountId
    recipient: str
    until: float
    status: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsAttempted:
    """A connection to another server got as far as TLS, or should have (RFC 8460 §4).

    `failure` is a result type of RFC 8460 §4.3, "" for success; `tls` is version and cipher. `source` is our own
    address on that connection, "" when unknown. `own`: it was made for mail that this server wrote itself.
    """

    domain: str
    host: str
    address: str
    policy: TlsPolicy
    tls: str = ""
    failure: str = ""
    detail: str = ""
    source: str = ""
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingLimited:
    """An alarm: an account met a bound on what it may send. `limit` is the name of the setting."""

    account: AccountId
    limit: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSucceeded:
    """`mechanism` is the SASL name, or LOGIN for IMAP's command."""

    session: SessionId
    service: str
    account: AccountId
    peer: str
    mechanism: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailed:
    """`user` is what the client claimed, made safe for a log; it may be no user of ours.

    `wrong`: these credentials are no good; otherwise they were not looked at, or could not be.
    """

    session: SessionId
    service: str
    user: str
    peer: str
    mechanism: str
    reason: str
    wrong: bool = False


Event = (
    SessionOpened
    | SessionClosed
    | Accepted
    | Refused
    | Delivered
    | Judged
    | Appended
    | DmarcEvaluated
    | Moved
    | FlagsChanged
    | Queued
    | Dropped
    | Handled
    | Attempted
    | Reported
    | Bounced
    | Suppressed
    | TlsAttempted
    | SendingLimited
    | LoginSucceeded
    | Misbehaved
    | LoginFailed
)
