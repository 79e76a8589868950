"""What the services call: `Hooks` runs the registered functions, as their kind says (DESIGN §8).

decide   in order; None is no opinion; Reject and Defer end the chain; Quarantine sticks; headers and findings add up
provide  in order; the first answer that is not None is the answer
observe  after the fact; never blocks, never changes anything

Without hooks at a point its method answers at once: this is the hot path of every SMTP command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import CoroutineType
from typing import Any

from mailserver.hooks import subjects
from mailserver.hooks.calling import HookCall, HookFailed, log_failure, place_of_error
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
    TlsPolicy,
    TlsPolicyContext,
    Unresolvable,
)
from mailserver.hooks.observing import Observer
from mailserver.hooks.points import POINTS, Kind
from mailserver.hooks.registry import Contribution, OnError, Registry
from mailserver.mime.view import MessageView
from mailserver.model.address import EmailAddress
from mailserver.model.events import Event
from mailserver.model.findings import NOTHING
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from mailserver.model.verdict import ACCEPT, Accept, Defer, Quarantine, Reject, Verdict, combine
from mailserver.ports.directory import ScramVerifier
from mailserver.ports.store import Content

__all__ = ["Edit", "HookFailed", "Hooks", "PluginCounters"]

Edit = Callable[[Accept | Quarantine], Awaitable[tuple[Content, MessageView]]]
_LATER = Reply(451, "4.3.0", "A check could not be made, try again later")
_LATER_AT_CONNECT = Reply(421, "4.3.0", "A check could not be made, try again later")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginCounters:
    """How a plugin has behaved since it was loaded: for metrics and `plugin list`."""

    plugin: str
    failures: int
    timeouts: int
    dropped_events: int


#: Of these no password function is asked.
TOKEN_MECHANISMS = frozenset({"EXTERNAL", "OAUTHBEARER", "XOAUTH2"})


class Hooks:
    """All plugins' hooks. One object for the life of the process; `swap` changes what is behind it.

    Methods of the kind provide raise HookFailed (a temporary MailError) where a plugin with `on_error = "defer"` failed
    and the answer has no form for that; `authenticate` and `resolve` have one and never raise.
    """

    def __init__(self, registries: Sequence[Registry] = ()) -> None:
        self._install(registries)

    def _install(self, registries: Sequence[Registry]) -> None:
        self._registries = tuple(registries)
        self._calls: dict[str, tuple[HookCall, ...]] = {}
        for point in POINTS:
            if point.kind in (Kind.DECIDE, Kind.PROVIDE):
                self._calls[point.method] = tuple(
                    HookCall(registry.options, point.method, fn, point.answers)
                    for registry in registries
                    for fn in registry.hooks.get(point.method, ())
                )
        self._on_connect, self._on_helo = self._calls["on_connect"], self._calls["on_helo"]
        self._on_mail, self._on_rcpt = self._calls["on_mail"], self._calls["on_rcpt"]
        self._on_message, self._on_delivery = self._calls["on_message"], self._calls["on_delivery"]
        self._tokens: dict[str, tuple[HookCall, ...]] = {}
        for registry in registries:
            for mechanisms, fn in registry.tokens:
                call = HookCall(registry.options, "authenticate", fn, (Authenticated, Denied))
                for name in mechanisms:
                    self._tokens[name] = (*self._tokens.get(name, ()), call)
        self._sinks = tuple((r.options.plugin, sink) for r in registries for sink in r.event_sinks)
        self._observers: dict[type, tuple[Observer, ...]] = {}
        for registry in registries:
            for kind, fn in registry.observers:
                observer = Observer(HookCall(registry.options, "observe", fn, (object,)))
                self._observers[kind] = (*self._observers.get(kind, ()), observer)

    async def swap(self, registries: Sequence[Registry]) -> None:
        """Put other plugins in place of the present ones, at once for every call that starts from now on.

        Calls that run now end with the plugins that they began with; returns when the old observers are done.
        """
        old = [observer for group in self._observers.values() for observer in group]
        self._install(registries)
        await _close(old)

    async def aclose(self) -> None:
        """Let observers finish, for a few seconds; nothing is emitted afterwards."""
        await _close([observer for group in self._observers.values() for observer in group])

    # decide

    async def connect(self, ctx: ConnectContext) -> Verdict:
        """At most a Defer or Reject matters here: say its reply and close."""
        if not self._on_connect:
            return ACCEPT
        return await _decide(self._on_connect, ctx, subjects.nobody, _LATER_AT_CONNECT)

    async def helo(self, ctx: HeloContext) -> Verdict:
        """After EHLO or HELO."""
        if not self._on_helo:
            return ACCEPT
        return await _decide(self._on_helo, ctx, subjects.session_account)

    async def mail(self, ctx: MailContext) -> Verdict:
        """At MAIL FROM."""
        if not self._on_mail:
            return ACCEPT
        return await _decide(self._on_mail, ctx, subjects.session_account)

    async def rcpt(self, ctx: RcptContext) -> Verdict:
        """At RCPT TO, for this recipient."""
        if not self._on_rcpt:
            return ACCEPT
        return await _decide(self._on_rcpt, ctx, subjects.of_rcpt)

    async def message(self, ctx: MessageContext, edit: Edit | None = None) -> Verdict:
        """For the whole transaction, before 250. `edit` makes what a verdict changes; the next hook sees its content.

        Raises MailError: when that cannot be made.
        """
        if not self._on_message:
            return ACCEPT
        return await _decide(self._on_message, ctx, subjects.of_message, edit=edit)

    async def delivery(self, ctx: DeliveryContext) -> Verdict:
        """For one account."""
        if not self._on_delivery:
            return ACCEPT
        return await _decide(self._on_delivery, ctx, subjects.account)

    async def before_send(self, ctx: BeforeSendContext) -> Verdict:
        """Before the first attempt to send."""
        calls = self._calls["before_send"]
        return await _decide(calls, ctx, subjects.of_sending) if calls else ACCEPT

    # provide

    async def authenticate(self, ctx: AuthenticateContext) -> Authenticated | Denied | None:
        """None: nobody knows the user. A plugin that fails is a temporary Denied.

        Tokens and certificates are for those who asked for their mechanism: to whoever only knows passwords, the empty
        one that comes with them could mean something.
        """
        calls = self._calls["authenticate"]
        if ctx.mechanism in TOKEN_MECHANISMS:
            calls = self._tokens.get(ctx.mechanism, ())
        try:
            answer: Authenticated | Denied | None = await _provide(calls, ctx, subjects.user)
        except HookFailed as error:
            return Denied(reason=error.detail, temporary=True)
        return answer

    @property
    def token_mechanisms(self) -> frozenset[str]:
        """The mechanisms without a password that some plugin judges."""
        return frozenset(self._tokens)

    async def scram_verifier(self, ctx: ScramContext) -> tuple[AccountId, ScramVerifier] | None:
        """None: no such user, or one without a verifier."""
        calls = self._calls["scram_verifier"]
        answer: tuple[AccountId, ScramVerifier] | None = await _provide(calls, ctx, subjects.user)
        return answer

    async def resolve(self, ctx: ResolveContext) -> Resolution | Unresolvable | None:
        """None: unknown address. A plugin that fails is an Unresolvable with 451."""
        try:
            answer: Resolution | Unresolvable | None = await _provide(self._calls["resolve"], ctx, subjects.address)
        except HookFailed:
            return Unresolvable(reply=_LATER)
        return answer

    async def sender_allowed(self, ctx: SenderContext) -> bool:
        """False unless a plugin says True before another says False."""
        return await _provide(self._calls["sender_allowed"], ctx, subjects.account) is True

    async def forward_sender(self, ctx: ForwardContext) -> EmailAddress | None:
        """None: the sender stays. A plugin that is limited to domains is asked about the address that forwards."""
        calls = self._calls["forward_sender"]
        answer: EmailAddress | None = await _provide(calls, ctx, subjects.forwarder) if calls else None
        return answer

    async def route(self, ctx: RouteContext) -> Route | None:
        """None: by MX."""
        answer: Route | None = await _provide(self._calls["route"], ctx, subjects.nobody)
        return answer

    async def tls_policy(self, ctx: TlsPolicyContext) -> TlsPolicy | None:
        """None: opportunistic. After a minimum the other plugins are asked whether one insists on more."""
        best: TlsPolicy | None = None
        calls = self._calls["tls_policy"]
        while calls:
            calls, answer = await _next(calls, ctx, subjects.nobody)
            if answer is not None and (best is None or answer.demand > best.demand):
                best = answer
            if answer is not None and not answer.minimum:
                break
        return best

    async def place(self, ctx: PlaceContext) -> Placement | None:
        """None: INBOX, or Junk when quarantined."""
        calls = self._calls["place"]
        answer: Placement | None = await _provide(calls, ctx, subjects.account) if calls else None
        return answer

    async def search(self, ctx: SearchContext) -> SearchAnswer | None:
        """None: no index of this text."""
        answer: SearchAnswer | None = await _provide(self._calls["search"], ctx, subjects.account)
        return answer

    def searches_for(self, account: AccountId) -> bool:
        """Whether there is a plugin to ask by `search`."""
        return any(call.options.covers((account,)) for call in self._calls["search"])

    # observe and contribute

    def emit(self, event: Event) -> None:
        """Tell everyone; never blocks and never raises."""
        for plugin, sink in self._sinks:
            try:
                sink(event)
            except Exception as error:
                log_failure(plugin, "event_sink", place_of_error(error))
        for observer in self._observers.get(type(event), ()):
            if observer.call.options.covers(subjects.of_event(event, observer)):
                observer.put(event)

    def contributions(self, point: str) -> list[Contribution]:
        """What plugins added at a contribute point (its method's name), in their order."""
        return [c for registry in self._registries for c in registry.contributions.get(point, ())]

    def users(self, point: str) -> list[str]:
        """The plugins that use a point (its method's name), in their order."""
        return [
            registry.options.plugin
            for registry in self._registries
            if registry.hooks.get(point)
            or registry.contributions.get(point)
            or (point == "observe" and registry.observers)
            or (point == "event_sink" and registry.event_sinks)
        ]

    def counters(self) -> list[PluginCounters]:
        """Per plugin, in their order."""
        observers = [observer for group in self._observers.values() for observer in group]
        calls = [call for group in self._calls.values() for call in group] + [o.call for o in observers]
        return [
            PluginCounters(
                plugin=name,
                failures=sum(c.failures for c in calls if c.options.plugin == name),
                timeouts=sum(c.timeouts for c in calls if c.options.plugin == name),
                dropped_events=sum(o.dropped for o in observers if o.plugin == name),
            )
            for name in dict.fromkeys(registry.options.plugin for registry in self._registries)
        ]


async def _close(observers: Iterable[Observer]) -> None:
    await asyncio.gather(*(observer.close(5.0) for observer in observers))


async def _decide(
    calls: tuple[HookCall, ...], ctx: Any, whose: Callable[[Any], tuple[str, ...]], later: Reply = _LATER,
    *, edit: Edit | None = None,
) -> Verdict:  # fmt: skip
    verdicts: list[Verdict] = []
    for call in calls:
        if call.options.domains is not None and not call.options.covers(whose(ctx)):
            continue
        try:
            verdict: Any = call.begin(ctx)
            if isinstance(verdict, CoroutineType):
                verdict = await verdict
        except HookFailed as error:
            if call.options.on_error is OnError.SKIP:
                continue
            return Defer(later, reason=error.detail)
        if verdict is None:
            continue
        verdicts.append(verdict)
        if isinstance(verdict, Reject | Defer):
            break
        if verdict.findings is not NOTHING and hasattr(ctx, "findings"):
            ctx = replace(ctx, findings=ctx.findings + verdict.findings)
        if edit is not None and (verdict.changes or verdict.body is not None):
            content, message = await edit(verdict)
            ctx = replace(ctx, content=content, message=message)
    return combine(verdicts) if verdicts else ACCEPT


async def _provide(calls: tuple[HookCall, ...], ctx: Any, whose: Callable[[Any], tuple[str, ...]]) -> Any:
    return (await _next(calls, ctx, whose))[1]


async def _next(
    calls: tuple[HookCall, ...], ctx: Any, whose: Callable[[Any], tuple[str, ...]]
) -> tuple[tuple[HookCall, ...], Any]:
    """The first answer, and who was not asked for one yet."""
    for number, call in enumerate(calls):
        if call.options.domains is not None and not call.options.covers(whose(ctx)):
            continue
        try:
            answer = call.begin(ctx)
            if isinstance(answer, CoroutineType):
                answer = await answer
        except HookFailed:
            if call.options.on_error is OnError.SKIP:
                continue
            raise
        if answer is not None:
            return calls[number + 1 :], answer
    return (), None
