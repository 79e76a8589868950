"""What a hook gets to see: one frozen value per hook point. They grow by new fields with defaults, and never shrink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailserver.mime.view import MessageView
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.findings import NOTHING, Findings
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.reply import Reply
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.ports.store import Content, ReadableContent

__all__ = [
    "AuthenticateContext", "Authenticated", "BeforeSendContext", "ConnectContext", "DeliveryContext", "Denied",
    "ForwardContext", "HeloContext", "LocalMailbox", "MailContext", "MessageContext", "PlaceContext", "Placement",
    "RcptContext", "Redirect", "Resolution", "ResolveContext", "Route", "RouteContext", "ScramContext",
    "SearchAnswer", "SearchContext", "SenderContext", "Session", "TlsLevel", "TlsPolicy", "TlsPolicyContext",
    "Unresolvable",
]  # fmt: skip

_UNREAD = MessageView.of(b"")


def _show(ctx: MessageContext | DeliveryContext | PlaceContext) -> None:
    """`message` shows `content`: the view that others had of it, or a new one."""
    if ctx.message.content is not ctx.content:
        object.__setattr__(ctx, "message", MessageView(ctx.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The connection. `service`: smtp, submission, sendmail, imap, http. `peer` is the client's IP address (PROXY
    applied), `port` its port. For a program on this machine (sendmail) `peer` is "uid:33", and `user` its user's name.

    `helo` is "" before EHLO. `tls` is the protocol version ("TLSv1.3") or "". `account` is set once authenticated;
    for a user of this machine it is their address here, which need not be an account.
    `certificate` has the e-mail addresses of the client's certificate, if it showed one that is good here;
    `channel_binding` is tls-server-end-point (RFC 5929).
    """

    session: SessionId
    service: str
    peer: str
    port: int = 0
    local_port: int = 0
    helo: str = ""
    esmtp: bool = False
    tls: str = ""
    tls_cipher: str = ""
    account: AccountId | None = None
    trusted: bool = False
    user: str = ""
    certificate: tuple[str, ...] = ()
    channel_binding: bytes = field(default=b"", repr=False)

    @property
    def from_stranger(self) -> bool:
        """Nobody vouches for what comes on it: neither a login nor a network that is trusted, as from other servers."""
        return self.service == "smtp" and self.account is None and not self.trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectContext:
    """A client connected and was not greeted yet."""

    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class HeloContext:
    """HELO, EHLO; the name is in `session.helo`. `findings` here and below: what the hooks before this one found."""

    session: Session
    findings: Findings = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class MailContext:
    """MAIL FROM; the envelope has no recipients yet."""

    session: Session
    envelope: Envelope
    findings: Findings = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptContext:
    """RCPT TO; `recipient` is not yet in `envelope.recipients`. `known` is False when nothing takes this address."""

    session: Session
    envelope: Envelope
    recipient: Recipient
    known: bool = True
    local: bool = True
    findings: Findings = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContext:
    """The whole message, before 250. `content` is what the client sent, without the trace fields that we add, and
    `message` shows what it says: fields, author, parts, texts. `forwarded`: a recipient's copy goes on to an address
    elsewhere."""

    session: Session
    queue_id: QueueId
    envelope: Envelope
    content: Content
    findings: Findings = NOTHING
    forwarded: bool = False
    message: MessageView = field(default=_UNREAD, repr=False, compare=False)

    def __post_init__(self) -> None:
        _show(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryContext:
    """A message is about to be delivered to an account; `recipient` is the address that led there, `detail` what stood
    after its sub-address separator. `quarantined`: it goes to Junk unless somebody has a better place. `message` shows
    what `content` says."""

    session: Session
    queue_id: QueueId
    envelope: Envelope
    recipient: Recipient
    account: AccountId
    detail: str
    content: Content
    quarantined: bool = False
    findings: Findings = NOTHING
    message: MessageView = field(default=_UNREAD, repr=False, compare=False)

    def __post_init__(self) -> None:
        _show(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticateContext:
    """What a client logs in with. Neither name nor secret ever appears in a repr or a log.

    `mechanism` as in SASL; LOGIN is IMAP's command, too. With OAUTHBEARER and XOAUTH2 there is a `token` and no
    password, and `user` may be empty: the token says who. With EXTERNAL TLS has checked a certificate for `user`.
    """

    session: Session
    user: str = field(repr=False)
    password: str = field(repr=False)
    mechanism: str = "LOGIN"
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramContext:
    """A user name whose SCRAM verifier is asked for."""

    session: Session
    user: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """The credentials are good."""

    account: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The credentials are not good; `reason` is for the log only. `temporary`: could not be checked now.

    Of a token the client is told the `scope` that one must have, and the URL of the OpenID `configuration` (RFC 7628
    §3.2.2).
    """

    reason: str
    temporary: bool = False
    scope: str = ""
    configuration: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderContext:
    """May this account write as this address (MAIL FROM, From, Sender)?"""

    account: AccountId
    address: EmailAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveContext:
    """Where does mail for this address go? Asked for addresses of served domains (and for targets of a Redirect)."""

    address: EmailAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMailbox:
    """Into an account of ours; `detail` is what stood after the sub-address separator.

    `forward`: addresses elsewhere that get what the account wants, so neither junk nor what it refuses. Without `keep`
    its mailbox gets only what they do not.
    """

    account: AccountId
    detail: str = ""
    forward: tuple[EmailAddress, ...] = ()
    keep: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """To another address, which is resolved in turn (depth 10 and 1,000 targets at most).

    `otherwise` keeps the message when that address takes nothing now, or leads to nobody; None: it is left out.
    """

    address: EmailAddress
    otherwise: LocalMailbox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """All the places for one address."""

    destinations: tuple[LocalMailbox | Redirect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolvable:
    """The address is known, and takes no mail: the reply (4xx or 5xx) says why."""

    reply: Reply

    def __post_init__(self) -> None:
        if not self.reply.refuses():
            raise ValueError(f"not a refusal: {self.reply}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceContext:
    """A message is about to be put into an account: in which mailbox, with which flags? `message` shows what `content`
    says."""

    session: Session
    queue_id: QueueId
    envelope: Envelope
    recipient: Recipient
    account: AccountId
    detail: str
    quarantined: bool
    content: Content
    findings: Findings = NOTHING
    message: MessageView = field(default=_UNREAD, repr=False, compare=False)

    def __post_init__(self) -> None:
        _show(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The answer; `create` makes a mailbox that does not exist yet."""

    mailbox: str = "INBOX"
    flags: frozenset[str] = frozenset()
    create: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchContext:
    """A client looks for `text` in the messages of a mailbox.

    `where` is BODY, TEXT (header and body), or the name of a header field in lower case. `fuzzy` asks for what is
    similar as well (RFC 6203). `account` is the one that searches; the mailbox may be shared by another. UIDs are those
    of `mailbox_id` as long as it has this `uid_validity`.
    """

    account: AccountId
    mailbox_id: str
    uid_validity: int
    where: str
    text: str = field(repr=False)
    fuzzy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """Messages that may match, by UID; it may name some that do not, or that are gone, but must miss none.

    `complete_to` is the highest UID that the index knows: the server itself looks into later messages. With `exact` the
    answer is taken as it is; else the server looks for the text (RFC 9051 §6.4.4: any substring, in any case, with `ss`
    for `ß`) in the messages that are named. What answers a fuzzy question is never looked into. `scores` are 1 to 100,
    the best is 100. A client that compares otherwise (COMPARATOR, RFC 5255 §4.7) is answered without an index.
    """

    uids: frozenset[int]
    complete_to: int
    exact: bool = False
    scores: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeSendContext:
    """An attempt to send a queued message begins; `content` is what will go out."""

    queue_id: QueueId
    envelope: Envelope
    content: ReadableContent


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteContext:
    """Which hosts take mail for this recipient? Asked before MX is looked up."""

    sender: EmailAddress | None
    recipient: EmailAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Hosts in the order to try them, each with its port; instead of the domain's MX."""

    hosts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardContext:
    """`forwarder`, an address of ours, passes a message of `sender` on to an address elsewhere.

    `account` is who submitted it, None for mail of strangers.
    """

    sender: EmailAddress
    forwarder: EmailAddress
    account: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicyContext:
    """How well must the connection to `host` for mail of `domain` be protected?

    `mx_authentic`: DNSSEC proved that `host` is an MX of the domain, or the operator named it (RFC 7672 §2.2.1).
    """

    domain: str
    host: str
    port: int = 25
    mx_authentic: bool = False
