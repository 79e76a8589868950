"""The four kinds, as DESIGN §8 says them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailserver.hooks.contexts import (
    AuthenticateContext,
    Authenticated,
    BeforeSendContext,
    ConnectContext,
    DeliveryContext,
    Denied,
    ForwardContext,
    HeloContext,
    LocalMailbox,
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
    TlsLevel,
    TlsPolicy,
    TlsPolicyContext,
    Unresolvable,
)
from mailserver.hooks.dispatch import HookFailed, Hooks
from mailserver.hooks.imap import ImapCommand, ImapContext, ImapReply
from mailserver.hooks.registry import HookOptions, OnError, Registry
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import SessionClosed, SessionOpened
from mailserver.model.findings import NOTHING, AuthResult, Findings, Reason
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.password import ScramVerifier
from mailserver.model.reply import Reply
from mailserver.model.verdict import ACCEPT, Accept, Defer, HeaderField, Quarantine, Reject
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_session

ANNA = EmailAddress.parse("Anna@example.test")
ENVELOPE = Envelope(sender=ANNA, recipients=(Recipient(address=ANNA),))
CONNECT = ConnectContext(session=make_session())
MESSAGE = MessageContext(
    session=make_session(), queue_id=QueueId("q"), envelope=ENVELOPE, content=BytesContent(b"Subject: x\r\n\r\n")
)
NO = Reject(Reply(550, "5.7.1", "no"))
LATER = Defer(Reply(450, "4.7.1", "later"))
JUNKY, PASSED = Findings((), (Reason("b", 1.5, "no"),)), Findings((AuthResult(method="spf", result="pass"),))
SCRAM = ScramVerifier(salt=b"s" * 16, iterations=4096, stored_key=b"k" * 32, server_key=b"v" * 32)


def registry(name: str = "p", **options: Any) -> Registry:
    return Registry(HookOptions(plugin=name, **options))


def hooks_with(point: str, *answers: Any, **options: Any) -> tuple[Hooks, list[int]]:
    """One plugin per answer; the list gets the number of each that was asked."""
    asked: list[int] = []
    registries = []
    for number, answer in enumerate(answers):
        one = registry(f"p{number}", **options)

        def hook(ctx: Any, number: int = number, answer: Any = answer) -> Any:
            asked.append(number)
            return answer

        getattr(one, point)(hook)
        registries.append(one)
    return Hooks(registries), asked


DECIDE = [
    ("on_connect", "connect", CONNECT),
    ("on_helo", "helo", HeloContext(session=make_session(helo="x"))),
    ("on_mail", "mail", MailContext(session=make_session(), envelope=ENVELOPE)),
    ("on_rcpt", "rcpt", RcptContext(session=make_session(), envelope=ENVELOPE, recipient=Recipient(address=ANNA))),
    ("on_message", "message", MESSAGE),
    ("on_delivery", "delivery",
     DeliveryContext(session=make_session(), queue_id=QueueId("q"), envelope=ENVELOPE,
                     recipient=Recipient(address=ANNA), account=AccountId("a@b"), detail="",
                     content=BytesContent(b""))),
    ("before_send", "before_send",
     BeforeSendContext(queue_id=QueueId("q"), envelope=ENVELOPE, content=BytesContent(b""))),
]  # fmt: skip


@pytest.mark.parametrize(("point", "method", "ctx"), DECIDE)
async def test_decide_points(point: str, method: str, ctx: Any) -> None:
    assert await getattr(Hooks(), method)(ctx) is ACCEPT
    hooks, asked = hooks_with(point, None, NO, ACCEPT)
    assert await getattr(hooks, method)(ctx) == NO
    assert asked == [0, 1]


async def test_a_defer_ends_the_chain_and_headers_and_scores_add_up() -> None:
    one, two = HeaderField("X-One", "1"), HeaderField("X-Two", "2")
    hooks, _ = hooks_with("on_message", Accept((one,), JUNKY), None, Accept((two,), PASSED))
    assert await hooks.message(MESSAGE) == Accept((one, two), JUNKY + PASSED)
    hooks, asked = hooks_with("on_message", Accept((one,)), LATER, NO)
    assert await hooks.message(MESSAGE) == LATER
    assert asked == [0, 1]


async def test_later_hooks_know_what_earlier_ones_found() -> None:
    seen: list[Findings] = []
    hooks, _ = hooks_with("on_message", Accept((), PASSED), None, Quarantine("odd", (), JUNKY))
    one = registry("last")
    one.on_message(lambda ctx: seen.append(ctx.findings))
    await hooks.swap([*hooks._registries, one])
    verdict = await hooks.message(replace(MESSAGE, findings=JUNKY))
    assert seen == [JUNKY + PASSED + JUNKY]
    # What was known before is no news of the chain's.
    assert verdict.findings == PASSED + JUNKY
    assert (await hooks.connect(CONNECT)).findings is NOTHING


async def test_a_quarantine_sticks_and_a_later_reject_wins() -> None:
    one = HeaderField("X-One", "1")
    hooks, _ = hooks_with("on_message", Quarantine("spam"), Accept((one,)))
    assert await hooks.message(MESSAGE) == Quarantine("spam", (one,))
    hooks, _ = hooks_with("on_message", Quarantine("spam"), NO)
    assert await hooks.message(MESSAGE) == NO


PROVIDE = [
    ("authenticate", AuthenticateContext(session=make_session(), user="u", password="p"),
     [Authenticated(account=AccountId("a@b")), Denied(reason="no")]),
    ("scram_verifier", ScramContext(session=make_session(), user="u"), [(AccountId("a@b"), SCRAM)]),
    ("resolve", ResolveContext(address=ANNA),
     [Resolution(destinations=(LocalMailbox(account=AccountId("a@b")),)), Unresolvable(reply=NO.reply)]),
    ("forward_sender", ForwardContext(sender=ANNA, forwarder=ANNA), [ANNA]),
    ("route", RouteContext(sender=None, recipient=ANNA), [Route(hosts=(("relay.test", 25),))]),
    ("tls_policy", TlsPolicyContext(domain="x.test", host="mx.x.test"), [TlsPolicy(level=TlsLevel.VERIFIED)]),
    ("search", SearchContext(account=AccountId(ANNA.key), mailbox_id="b", uid_validity=1, where="BODY", text="x"),
     [SearchAnswer(uids=frozenset({3}), complete_to=5)]),
    ("place", PlaceContext(session=make_session(), queue_id=QueueId("q"), envelope=ENVELOPE,
                           recipient=ENVELOPE.recipients[0], account=AccountId("anna@example.test"), detail="",
                           quarantined=False, content=BytesContent(b"")), [Placement(mailbox="Lists")]),
]  # fmt: skip


@pytest.mark.parametrize(("point", "ctx", "answers"), PROVIDE)
async def test_provide_points(point: str, ctx: Any, answers: list[Any]) -> None:
    assert await getattr(Hooks(), point)(ctx) is None
    for answer in answers:
        hooks, asked = hooks_with(point, None, answer, answers[0])
        assert await getattr(hooks, point)(ctx) == answer
        assert asked == [0, 1]


ENCRYPTED = TlsPolicy(level=TlsLevel.ENCRYPTED, minimum=True)
VERIFIED = TlsPolicy(level=TlsLevel.VERIFIED)
TESTING = TlsPolicy(level=TlsLevel.VERIFIED, enforced=False)
REFUSED = TlsPolicy(level=TlsLevel.VERIFIED, refused="not in its policy")


@pytest.mark.parametrize(("answers", "expected", "asked_for"), [
    ((ENCRYPTED,), ENCRYPTED, [0]),
    ((ENCRYPTED, None, VERIFIED, REFUSED), VERIFIED, [0, 1, 2]),
    ((ENCRYPTED, TESTING, REFUSED), ENCRYPTED, [0, 1]),
    ((ENCRYPTED, REFUSED), REFUSED, [0, 1]),
    ((VERIFIED, REFUSED), VERIFIED, [0]),
    ((TlsPolicy(level=TlsLevel.OPPORTUNISTIC, failure="sts-policy-fetch-error", minimum=True), ENCRYPTED), ENCRYPTED,
     [0, 1]),
])  # fmt: skip
async def test_a_minimum_of_tls_gives_way_to_more(
    answers: tuple[TlsPolicy | None, ...], expected: TlsPolicy, asked_for: list[int]
) -> None:
    hooks, asked = hooks_with("tls_policy", *answers)
    assert await hooks.tls_policy(TlsPolicyContext(domain="x.test", host="mx.x.test")) == expected
    assert asked == asked_for


async def test_sender_allowed_is_no_unless_somebody_says_yes_first() -> None:
    ctx = SenderContext(account=AccountId("anna@example.test"), address=ANNA)
    for answers, expected in (((), False), ((None,), False), ((None, True), True), ((False, True), False)):
        hooks, _ = hooks_with("sender_allowed", *answers)
        assert await hooks.sender_allowed(ctx) is expected


async def test_who_has_an_index_for_search() -> None:
    """A plugin may be limited to some accounts."""
    one = registry(domains=frozenset({"example.test"}))
    anna, other = AccountId("anna@example.test"), AccountId("anna@example.org")
    assert not Hooks([one]).searches_for(anna)
    one.search(lambda ctx: None)
    hooks = Hooks([one])
    assert hooks.searches_for(anna) and not hooks.searches_for(other)


async def test_coroutine_functions_and_plain_ones() -> None:
    one = registry()

    @one.on_connect
    async def slow(ctx: ConnectContext) -> Reject | None:
        await asyncio.sleep(0)
        return NO

    assert await Hooks([one]).connect(CONNECT) == NO


# failures (ATTACKS N08)


async def raising(ctx: Any) -> None:
    raise ValueError("secret words of a message")


def raising_plainly(ctx: Any) -> None:
    raise RecursionError("secret words")


async def hanging(ctx: Any) -> None:
    await asyncio.Event().wait()


async def swallowing(ctx: Any) -> None:
    forever = asyncio.Event()
    swallowed = 0
    while swallowed < 3:
        try:
            await forever.wait()
        except asyncio.CancelledError:
            swallowed += 1


def wrong(ctx: Any) -> str:
    return "accept"


async def wrong_slowly(ctx: Any) -> int:
    return 550


async def exiting(ctx: Any) -> None:
    raise SystemExit(3)


async def cancelling(ctx: Any) -> None:
    raise asyncio.CancelledError


def cancelling_plainly(ctx: Any) -> None:
    raise asyncio.CancelledError


BAD = [raising, raising_plainly, hanging, swallowing, wrong, wrong_slowly, exiting, cancelling, cancelling_plainly]


async def release(hooks: Hooks) -> None:
    """Cancel what a swallowing plugin left behind until it gives in."""
    for call in hooks._calls["on_message"]:
        while call._stuck:
            for task in list(call._stuck):
                task.cancel()
            await asyncio.sleep(0)


@pytest.mark.parametrize("bad", BAD, ids=lambda fn: fn.__name__)
async def test_n08_a_bad_plugin_defers_by_default(bad: Any) -> None:
    one, two = registry("bad", timeout=0.01), registry("good")
    one.on_message(bad)
    asked: list[Any] = []
    two.on_message(asked.append)
    hooks = Hooks([one, two])
    with capture_logs() as logs:
        verdict = await hooks.message(MESSAGE)
    assert isinstance(verdict, Defer)
    assert (verdict.reply.code, verdict.reply.status) == (451, "4.3.0")
    assert not asked
    assert [log["plugin"] for log in logs] == ["bad"]
    assert "secret" not in str(logs)
    assert "secret" not in str(verdict)
    assert hooks.counters()[0].failures == 1
    await release(hooks)


@pytest.mark.parametrize("bad", BAD, ids=lambda fn: fn.__name__)
async def test_n08_a_bad_plugin_is_skipped_if_it_may_be(bad: Any) -> None:
    one, two = registry("bad", timeout=0.01, on_error=OnError.SKIP), registry("good")
    one.on_message(bad)
    two.on_message(lambda ctx: NO)
    hooks = Hooks([one, two])
    with capture_logs():
        assert await hooks.message(MESSAGE) == NO
    await release(hooks)


async def test_n08_calls_that_hang_for_ever_are_bounded() -> None:
    one = registry("bad", timeout=0.0)
    started = []

    async def stubborn(ctx: Any) -> None:
        started.append(1)
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if stop:
                    raise

    stop: list[int] = []
    one.on_message(stubborn)
    hooks = Hooks([one])
    with capture_logs():
        for _ in range(40):
            assert isinstance(await hooks.message(MESSAGE), Defer)
            await asyncio.sleep(0)
    stop.append(1)  # before anything can fail: the loop's end waits for these tasks
    await release(hooks)
    assert 0 < len(started) <= 16
    assert hooks.counters()[0].failures == 40


async def test_a_failing_connect_hook_is_a_421() -> None:
    one = registry()
    one.on_connect(raising)
    with capture_logs():
        verdict = await Hooks([one]).connect(CONNECT)
    assert isinstance(verdict, Defer)
    assert verdict.reply.code == 421


async def test_failing_providers() -> None:
    one = registry()
    for point in ("authenticate", "resolve", "sender_allowed", "place", "scram_verifier"):
        getattr(one, point)(raising)
    hooks = Hooks([one])
    contexts: dict[str, Any] = {point: ctx for point, ctx, _ in PROVIDE}
    with capture_logs():
        denied = await hooks.authenticate(contexts["authenticate"])
        assert isinstance(denied, Denied)
        assert denied.temporary
        answer = await hooks.resolve(contexts["resolve"])
        assert isinstance(answer, Unresolvable)
        assert answer.reply.code == 451
        for point in ("place", "scram_verifier"):
            with pytest.raises(HookFailed) as failed:
                await getattr(hooks, point)(contexts[point])
            assert failed.value.temporary
        with pytest.raises(HookFailed):
            await hooks.sender_allowed(SenderContext(account=AccountId("a@b"), address=ANNA))


async def test_a_caller_that_goes_away_cancels_the_hook() -> None:
    ended = asyncio.Event()
    started = asyncio.Event()
    one = registry()

    async def waits(ctx: Any) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    one.on_message(waits)
    task = asyncio.create_task(Hooks([one]).message(MESSAGE))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)


# limits to domains and accounts


@pytest.mark.parametrize(
    ("domains", "asked"),
    [
        (None, True),
        (frozenset({"example.test"}), True),
        (frozenset({"anna@example.test"}), True),
        (frozenset({"other.test", "bob@example.test"}), False),
    ],
)
async def test_a_plugin_can_be_limited(domains: frozenset[str] | None, asked: bool) -> None:
    contexts = {method: ctx for _, method, ctx in DECIDE}
    for point, method in (("on_rcpt", "rcpt"), ("on_message", "message"), ("before_send", "before_send")):
        hooks, _ = hooks_with(point, NO, domains=domains)
        assert (await getattr(hooks, method)(contexts[method]) == NO) is asked
    hooks, _ = hooks_with("resolve", Unresolvable(reply=NO.reply), domains=domains)
    assert (await hooks.resolve(ResolveContext(address=ANNA)) is not None) is asked
    hooks, _ = hooks_with("authenticate", Denied(reason=""), domains=domains)
    user = AuthenticateContext(session=make_session(), user="ANNA@Example.test", password="p")
    assert (await hooks.authenticate(user) is not None) is asked


async def test_a_limited_plugin_is_not_asked_where_no_domain_is_known() -> None:
    hooks, asked = hooks_with("on_connect", NO, domains=frozenset({"example.test"}))
    assert await hooks.connect(CONNECT) is ACCEPT
    hooks, asked = hooks_with("on_mail", NO, domains=frozenset({"example.test"}))
    assert await hooks.mail(MailContext(session=make_session(), envelope=ENVELOPE)) is ACCEPT
    own = make_session(service="submission", account=AccountId("anna@example.test"))
    assert await hooks.mail(MailContext(session=own, envelope=ENVELOPE)) == NO
    assert asked == [0]


# observe


def opened(number: int) -> SessionOpened:
    return SessionOpened(session=SessionId(str(number)), service="smtp", peer="192.0.2.1", tls=False)


async def test_observers_get_their_events_in_order_and_never_hold_anyone() -> None:
    one = registry()
    seen: list[str] = []
    gate = asyncio.Event()

    async def slow(event: SessionOpened) -> None:
        await gate.wait()
        seen.append(event.session)

    one.observe(SessionOpened, slow)
    hooks = Hooks([one])
    for number in range(5):
        hooks.emit(opened(number))
    hooks.emit(SessionClosed(session=SessionId("x"), service="smtp", peer="192.0.2.1"))
    assert seen == []
    gate.set()
    await hooks.aclose()
    assert seen == ["0", "1", "2", "3", "4"]


async def test_an_observers_queue_is_bounded_and_overflow_counted() -> None:
    one = registry("slow")
    seen: list[str] = []
    one.observe(SessionOpened, lambda event: seen.append(event.session))
    hooks = Hooks([one])
    with capture_logs() as logs:
        for number in range(1500):
            hooks.emit(opened(number))
    assert hooks.counters()[0].dropped_events == 500
    assert len(logs) == 1
    await hooks.aclose()
    assert len(seen) == 1000


async def test_a_failing_observer_or_sink_disturbs_nobody() -> None:
    one, two = registry("bad"), registry("good")
    seen: list[Any] = []
    one.observe(SessionOpened, raising)
    one.event_sink(raising_plainly)
    two.observe(SessionOpened, lambda event: seen.append(event))
    two.event_sink(seen.append)
    hooks = Hooks([one, two])
    with capture_logs() as logs:
        hooks.emit(opened(1))
        hooks.emit(opened(2))
        await hooks.aclose()
    assert len(seen) == 4
    assert {log["plugin"] for log in logs} == {"bad"}
    assert "secret" not in str(logs)


# contribute


async def look(arguments: Mapping[str, Any]) -> Any:
    return arguments


async def shout(context: ImapContext) -> AsyncIterator[bytes | ImapReply]:
    yield ImapReply("OK", "hey")


def test_contributions_are_found_by_point_in_order() -> None:
    one, two = registry("one"), registry("two")
    one.http_routes("/a", print)
    two.http_routes("/b", print)
    one.cli_command("x", object())
    one.operation("one.look", look)
    one.imap_command("XAPPLEPUSH", ImapCommand(run=shout), ("XAPPLEPUSH",))
    one.sasl_mechanism("OAUTHBEARER", print)
    one.store("s3", dict)

    class Ticker:
        name = "ticker"

        async def run(self, ready: Any, stopping: Any) -> None: ...

    one.service(Ticker())
    hooks = Hooks([one, two])
    assert [(c.plugin, c.name) for c in hooks.contributions("http_routes")] == [("one", "/a"), ("two", "/b")]
    for point in ("cli_command", "operation", "imap_command", "sasl_mechanism", "store", "service"):
        assert len(hooks.contributions(point)) == 1
    assert hooks.contributions("nothing") == []


# swapping and cost


async def test_swap_changes_the_next_call_and_not_the_running_one() -> None:
    old, new = registry("old"), registry("new")
    gate, started = asyncio.Event(), asyncio.Event()

    async def waits(ctx: Any) -> Reject:
        started.set()
        await gate.wait()
        return NO

    old.on_message(waits)
    new.on_message(lambda ctx: LATER)
    hooks = Hooks([old])
    first = asyncio.create_task(hooks.message(MESSAGE))
    await started.wait()
    await hooks.swap([new])
    assert await hooks.message(MESSAGE) == LATER
    gate.set()
    assert await first == NO


async def test_no_plugin_costs_no_call_and_no_task() -> None:
    hooks = Hooks()
    coroutine = hooks.message(MESSAGE)
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value is ACCEPT
    tasks = len(asyncio.all_tasks())
    assert await hooks.message(MESSAGE) is ACCEPT
    assert len(asyncio.all_tasks()) == tasks
