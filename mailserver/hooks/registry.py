"""What a plugin registers while it is set up: one typed method per hook point.

The docstrings here are the reference of the hooks: `docs/hooks.md` is made from them. Every method that takes a
function returns it, so that it can be used as a decorator. A hook is a coroutine function, or a plain one where it has
nothing to wait for (it costs less then, and must not block: it runs on the event loop).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from mailserver.hooks.contexts import (
    AuthenticateContext,
    Authenticated,
    BeforeSendContext,
    ConnectContext,
    DeliveryContext,
    Denied,
    ForwardContext,
    HeloContext,
    MailContext,
    MessageContext,
    PlaceContext,
    Placement,
    RcptContext,
    Resolution,
    ResolveContext,
    Route,
    RouteContext,
    ScramContext,
    SearchAnswer,
    SearchContext,
    SenderContext,
    Session,
    TlsPolicy,
    TlsPolicyContext,
    Unresolvable,
)
from mailserver.hooks.imap import ImapCommand
from mailserver.model.address import EmailAddress
from mailserver.model.events import Event
from mailserver.model.ids import AccountId
from mailserver.model.verdict import Verdict
from mailserver.ports.directory import ScramVerifier
from mailserver.ports.service import Service

__all__ = ["Contribution", "HookOptions", "OnError", "Registry"]

C = TypeVar("C")
R = TypeVar("R")
E = TypeVar("E")
_Hook = Callable[[C], R | Awaitable[R | None] | None]
Decide = Callable[[C], Verdict | Awaitable[Verdict | None] | None]
Authenticate = _Hook[AuthenticateContext, Authenticated | Denied]
Scram = _Hook[ScramContext, tuple[AccountId, ScramVerifier]]
Resolve = _Hook[ResolveContext, Resolution | Unresolvable]
SenderAllowed = _Hook[SenderContext, bool]
RouteFor = _Hook[RouteContext, Route]
ForwardSender = _Hook[ForwardContext, EmailAddress]
TlsPolicyFor = _Hook[TlsPolicyContext, TlsPolicy]
Operation = Callable[[Mapping[str, Any]], Awaitable[Any]]
Place = _Hook[PlaceContext, Placement]
Search = _Hook[SearchContext, SearchAnswer]


class OnError(Enum):
    """What a failing hook means: DEFER answers 451 and loses nothing; SKIP goes on as if the hook had no opinion."""

    DEFER = "defer"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOptions:
    """The common keys of a plugin's section. `timeout` is in seconds, for each call.

    `domains` limits the plugin to these domains (`example.test`) and accounts (`anna@example.test`), all in the form of
    `normalize_domain` and `EmailAddress.key`; None means no limit.
    """

    plugin: str
    on_error: OnError = OnError.DEFER
    timeout: float = 10.0
    domains: frozenset[str] | None = None

    def covers(self, addresses: tuple[str, ...]) -> bool:
        """Whether one of these (`local@domain` keys) belongs to what the plugin is limited to."""
        if self.domains is None:
            return True
        return any(a in self.domains or a.rpartition("@")[2] in self.domains for a in addresses)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A named thing that a plugin adds: `value` is of the type that the hook point says."""

    plugin: str
    name: str
    value: Any


@dataclass(slots=True)
class Registry:
    """The hooks of one plugin, collected in the order of registration."""

    options: HookOptions = field(default_factory=lambda: HookOptions(plugin="server"))
    #: Method name → functions, for decide and provide.
    hooks: defaultdict[str, list[Callable[[Any], Any]]] = field(default_factory=lambda: defaultdict(list))
    observers: list[tuple[type[Any], Callable[[Any], Any]]] = field(default_factory=list)
    contributions: defaultdict[str, list[Contribution]] = field(default_factory=lambda: defaultdict(list))
    event_sinks: list[Callable[[Event], None]] = field(default_factory=list)
    #: What `authenticate` was given with mechanisms.
    tokens: list[tuple[frozenset[str], Callable[[Any], Any]]] = field(default_factory=list)

    def on_connect(self, fn: Decide[ConnectContext]) -> Decide[ConnectContext]:
        """A client connected to SMTP, submission or IMAP and waits for the greeting; over HTTP, it asks for something.

        A plugin that is limited to domains is not asked: no domain is known yet.
        """
        self.hooks["on_connect"].append(fn)
        return fn

    def on_helo(self, fn: Decide[HeloContext]) -> Decide[HeloContext]:
        """The client said EHLO or HELO; its name is in `session.helo`."""
        self.hooks["on_helo"].append(fn)
        return fn

    def on_mail(self, fn: Decide[MailContext]) -> Decide[MailContext]:
        """MAIL FROM was given. On submission `session.account` is the sender's account."""
        self.hooks["on_mail"].append(fn)
        return fn

    def on_rcpt(self, fn: Decide[RcptContext]) -> Decide[RcptContext]:
        """RCPT TO was given. `known` is False when nothing takes the address; the answer is then a refusal in any case.

        A verdict here is for this recipient alone; use `close` in it to end the connection.
        """
        self.hooks["on_rcpt"].append(fn)
        return fn

    def on_message(self, fn: Decide[MessageContext]) -> Decide[MessageContext]:
        """The whole message is here and not acknowledged; incoming and submitted mail alike (see `session.service`).

        One verdict for all recipients: header fields and findings of the hooks add up, a Quarantine sticks, Reject and
        Defer end the chain. What earlier hooks found, at MAIL too, is in `findings`; its `results` become one
        Authentication-Results field. A plugin that is limited to domains is asked when one of the recipients, or the
        authenticated sender, belongs to it. `message` shows header and parts, read once for all plugins; the octets
        are in `content`, which may be a file.

        `headers` of a verdict go on top. `changes` (HeaderChange: give a field of the message itself a new value, take
        it away, or add one at a place below what the server puts on top) and `body` (octets instead of the body) change
        the message: hooks behind this one see it so, and so do `on_delivery`, `place`, and whoever gets it. A change
        breaks the signatures that cover what it changes. Nowhere else do `changes` and `body` mean anything.
        """
        self.hooks["on_message"].append(fn)
        return fn

    def on_delivery(self, fn: Decide[DeliveryContext]) -> Decide[DeliveryContext]:
        """The message passed `on_message`, and is about to go to an account of this server: what does that account's
        history, and what do its owner's wishes say? Asked for each recipient and account, before anything is
        acknowledged.

        A Quarantine sends this account's copy to Junk. Reject and Defer are the reply only when every recipient is
        refused so; where others take the message the refused copy goes to the mailbox Rejects, and so it does, beside
        the reply, with `keep`. Header fields of such a verdict have no place and are left out.
        """
        self.hooks["on_delivery"].append(fn)
        return fn

    def before_send(self, fn: Decide[BeforeSendContext]) -> Decide[BeforeSendContext]:
        """A message of the queue is about to be sent: add header fields, or stop it."""
        self.hooks["before_send"].append(fn)
        return fn

    def authenticate(self, fn: Authenticate, *, mechanisms: Collection[str] = ()) -> Authenticate:
        """Check a user name and password: Authenticated, Denied, or None when the user is not one of this plugin's.

        Spend the same time on unknown users as on known ones (`host.passwords.verify_nobody`). With `mechanisms` (of
        OAUTHBEARER, XOAUTH2, EXTERNAL) it is asked for these alone, and never for passwords; they are offered then.
        """
        if mechanisms:
            self.tokens.append((frozenset(mechanisms), fn))
        else:
            self.hooks["authenticate"].append(fn)
        return fn

    def scram_verifier(self, fn: Scram) -> Scram:
        """The account and verifier of a user, for SCRAM-SHA-256 (RFC 5802 §3); None for a user that has none."""
        self.hooks["scram_verifier"].append(fn)
        return fn

    def resolve(self, fn: Resolve) -> Resolve:
        """Where mail for an address of a served domain goes: accounts, other addresses, or a refusal with its reason.

        None for every address that is not this plugin's; when nobody answers, the address is unknown.
        """
        self.hooks["resolve"].append(fn)
        return fn

    def sender_allowed(self, fn: SenderAllowed) -> SenderAllowed:
        """May an account write as an address? True, False, or None for no opinion; nobody's opinion means no."""
        self.hooks["sender_allowed"].append(fn)
        return fn

    def forward_sender(self, fn: ForwardSender) -> ForwardSender:
        """The envelope sender with which a message is forwarded to an address elsewhere; None leaves it what it is.

        Never asked for the null sender.
        """
        self.hooks["forward_sender"].append(fn)
        return fn

    def route(self, fn: RouteFor) -> RouteFor:
        """The hosts that take mail for a recipient; None leaves it to MX."""
        self.hooks["route"].append(fn)
        return fn

    def tls_policy(self, fn: TlsPolicyFor) -> TlsPolicyFor:
        """What TLS must give on the way to a host; None leaves it opportunistic.

        After an answer with `minimum` the other plugins are asked too, and one that insists on more is followed.
        """
        self.hooks["tls_policy"].append(fn)
        return fn

    def place(self, fn: Place) -> Place:
        """The mailbox and flags for one recipient's copy; None leaves it to INBOX, or Junk when it is quarantined.

        It runs per recipient, after `on_message`; it cannot refuse.
        """
        self.hooks["place"].append(fn)
        return fn

    def search(self, fn: Search) -> Search:
        """The messages of a mailbox that may have a text, from an index; None leaves it to the server to look for it.

        Asked for each text of a client's SEARCH, SORT or THREAD. A plugin that fails costs time and no answer: the
        server looks for the text itself, whatever `on_error` says. SEARCH=FUZZY (RFC 6203) is announced to accounts for
        which there is such a plugin.
        """
        self.hooks["search"].append(fn)
        return fn

    def observe(self, kind: type[E], fn: Callable[[E], Awaitable[None] | None]) -> None:
        """Be told of every event of one class (mailserver.model.events), after the fact.

        Each observer has its own queue of 1,000 events and gets them one by one, in order; what does not fit is dropped
        and counted. Nothing waits for an observer.
        """
        self.observers.append((kind, fn))

    def service(self, service: Service) -> None:
        """A service of the plugin's own, run beside the listeners; if it fails, the server ends."""
        self._contribute("service", service.name, service)

    def imap_command(self, name: str, command: ImapCommand, capabilities: tuple[str, ...] = ()) -> None:
        """An IMAP command and the capabilities that it brings.

        Together with `observe(Delivered, …)` or `AccountStore.observe` that is push of new mail (XAPPLEPUSHSERVICE).
        """
        self._contribute("imap_command", name, (command, capabilities))

    def http_routes(self, prefix: str, add: Callable[[Any], None]) -> None:
        """Pages below `prefix`: `add` gets the router when the HTTP service is built."""
        self._contribute("http_routes", prefix, add)

    def operation(self, name: str, fn: Operation) -> None:
        """What a command or the admin API may ask this plugin to do, by a dotted name such as "dkim.rotate".

        `fn` gets the arguments as JSON values and returns one. It raises MailError or ValueError with words for the
        operator. The server's own operations cannot be replaced.
        """
        self._contribute("operation", name, fn)

    def cli_command(self, name: str, command: Any) -> None:
        """A click command of the command line `mailserver`."""
        self._contribute("cli_command", name, command)

    def sasl_mechanism(self, name: str, start: Callable[[Session], Any]) -> None:
        """A SASL mechanism: `start` makes a `mailserver.net.login.SaslExchange` for a session."""
        self._contribute("sasl_mechanism", name, start)

    def store(self, name: str, make: Callable[[], Any]) -> None:
        """A mail store that `storage.kind` can name; `make` gives a `ports.store.MailStore`."""
        self._contribute("store", name, make)

    def event_sink(self, fn: Callable[[Event], None]) -> None:
        """Be called with every event at once, on the event loop: for logs and metrics. It must be quick."""
        self.event_sinks.append(fn)

    def _contribute(self, point: str, name: str, value: Any) -> None:
        self.contributions[point].append(Contribution(self.options.plugin, name, value))
