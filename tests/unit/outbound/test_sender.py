"""Messages given to scripted servers through real sockets: what arrives, and what the results say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailserver.hooks.contexts import BeforeSendContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, OnError, Registry
from mailserver.model.delivery import Destination, Feedback, Outcome, Result, Success
from mailserver.model.envelope import DsnReturn, Notify
from mailserver.model.errors import StorageFailure
from mailserver.model.reply import Reply
from mailserver.model.verdict import Accept, Defer, HeaderField, Reject, Verdict
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.outbound.settings import SendingSettings
from tests.helpers.names import FakeResolver
from tests.helpers.receiver import CLOSE, RESET, SILENCE, Receiver
from tests.helpers.sending import MESSAGE, Loopback, Noted, job, make_sender

TWO = ("bert@far.test", "cleo@far.test")


def sender(**changes: Any) -> Sender:
    return make_sender(Hooks(), **changes)


async def one(mx: Receiver, **arguments: Any) -> Result:
    """The result of a message for one recipient."""
    async with sender() as made:
        (result,) = (await made.deliver(job(mx.port, **arguments))).results
    return result


@pytest.mark.parametrize(
    "features",
    [(), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING"), ("PIPELINING", "CHUNKING", "SIZE 1000000", "DSN")],
)
@pytest.mark.parametrize("size", [0, 300_000])
async def test_a_message_arrives_as_it_is(features: tuple[str, ...], size: int) -> None:
    content = MESSAGE + b"." * 70 + b"\r\n" + b"..line\r\n.x\r\n" * (size // 12)
    noted = Noted()
    async with Receiver(features=features) as mx, sender() as made:
        report = await made.deliver(job(mx.port, content=content, to=TWO, noted=noted))
    (message,) = mx.messages
    assert message.content == content
    assert [result.outcome for result in report.results] == [Outcome.DELIVERED] * 2
    first = report.results[0]
    assert (first.status, first.code, first.reply) == ("2.0.0", 250, "250 2.0.0 Kept")
    assert (first.remote, first.address) == ("[127.0.0.1]", "127.0.0.1")
    assert first.success is (Success.PASSED_ON if "DSN" in features else Success.RELAYED)
    assert report.feedback is Feedback.FINE
    assert noted.calls == [[0, 1]]


@pytest.mark.parametrize(
    ("features", "writes"),
    [(("PIPELINING", "CHUNKING"), 1), (("PIPELINING",), 2), (("CHUNKING",), 4), ((), 5)],
)
async def test_round_trips(features: tuple[str, ...], writes: int) -> None:
    async with Receiver(features=features) as mx:
        await one(mx, to=TWO[:1])
        (reads,) = mx.reads
    between = reads[1:-1]  # EHLO and QUIT
    assert len([read for read in between if read]) <= writes + 1, "the message may come in two reads"
    assert sum(read.startswith((b"MAIL", b"RCPT", b"DATA", b"BDAT")) for read in between) <= writes


async def test_helo_where_ehlo_is_not_known() -> None:
    """RFC 5321 §3.2."""
    async with Receiver(answers={"EHLO": b"502 5.5.1 What?\r\n"}) as mx:
        result = await one(mx)
    assert result.outcome is Outcome.DELIVERED
    assert mx.lines[:2] == ["EHLO mail.example.test", "HELO mail.example.test"]
    assert mx.lines[2] == "MAIL FROM:<anna@example.test>"


async def test_no_helo_where_ehlo_is_refused_for_now() -> None:
    async with Receiver(answers={"EHLO": b"421 4.3.2 Later\r\n"}) as mx:
        result = await one(mx)
    assert (result.outcome, result.code) == (Outcome.DEFERRED, 421)
    assert "HELO" not in mx.verbs()


async def test_some_recipients_are_refused() -> None:
    replies: list[Any] = [b"250 2.1.5 Ok\r\n", b"550 5.1.1 Nobody\r\n", b"450 4.2.1 Later\r\n"]
    for features in ((), ("PIPELINING",), ("PIPELINING", "CHUNKING")):
        noted = Noted()
        async with Receiver(features=features, answers={"RCPT": replies}) as mx, sender() as made:
            report = await made.deliver(job(mx.port, to=[*TWO, "dora@far.test"], noted=noted))
        assert [(result.outcome, result.status) for result in report.results] == [
            (Outcome.DELIVERED, "2.0.0"), (Outcome.FAILED, "5.1.1"), (Outcome.DEFERRED, "4.2.1")
        ]  # fmt: skip
        assert report.results[1].reply == "550 5.1.1 Nobody"
        assert len(mx.messages) == 1
        assert noted.calls == ([[0, 1, 2]] if "CHUNKING" in features else [[0]])


@pytest.mark.parametrize("features", [(), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING")])
@pytest.mark.parametrize("end", [b"354 Go ahead\r\n", b"503 5.5.1 No recipients\r\n"])
async def test_all_recipients_are_refused_and_the_connection_serves_on(features: tuple[str, ...], end: bytes) -> None:
    """RFC 2920 §3.1: whatever DATA is answered."""
    replies: list[Any] = [b"550 5.1.1 Nobody\r\n", b"550 5.1.1 Nobody\r\n", b"250 2.1.5 Ok\r\n"]
    answers: dict[str, Any] = {"RCPT": replies, "BDAT": b"503 5.5.1 Nobody\r\n"}
    if "PIPELINING" in features:
        answers["DATA"] = [end, b"354 Go ahead\r\n"]
    async with Receiver(features=features, answers=answers) as mx, sender() as made:
        report = await made.deliver(job(mx.port, to=TWO))
        assert [result.status for result in report.results] == ["5.1.1", "5.1.1"]
        assert mx.messages == []
        report = await made.deliver(job(mx.port))
        assert report.results[0].outcome is Outcome.DELIVERED
    assert mx.connections == 1
    assert "RSET" in mx.verbs()
    assert mx.messages[0].content == MESSAGE


async def test_too_many_recipients_go_in_the_next_transaction() -> None:
    """RFC 5321 §4.5.3.1.10."""
    count = 0

    def begin(line: bytes) -> None:
        nonlocal count
        count = 0

    def at_most_two(line: bytes) -> bytes:
        nonlocal count
        count += 1
        return b"250 2.1.5 Ok\r\n" if count <= 2 else b"452 4.5.3 Too many recipients\r\n"

    to = [f"r{number}@far.test" for number in range(5)]
    async with Receiver(answers={"MAIL": begin, "RCPT": at_most_two}) as mx, sender() as made:
        report = await made.deliver(job(mx.port, to=to))
    assert all(result.outcome is Outcome.DELIVERED for result in report.results)
    assert sorted(len(message.recipients) for message in mx.messages) == [1, 2, 2]
    assert mx.connections == 1


async def test_limits_of_the_server_are_kept() -> None:
    """RFC 9422 §4: three recipients a transaction, two transactions a connection."""
    to = [f"r{number}@far.test" for number in range(8)]
    async with Receiver(features=("PIPELINING", "LIMITS RCPTMAX=3 MAILMAX=2")) as mx, sender() as made:
        report = await made.deliver(job(mx.port, to=to))
        assert all(result.outcome is Outcome.DELIVERED for result in report.results)
        assert [(len(m.recipients), m.connection) for m in mx.messages] == [(3, 1), (3, 1), (2, 2)]
        await made.deliver(job(mx.port))
        await made.deliver(job(mx.port))
    assert [m.connection for m in mx.messages[3:]] == [2, 3]


async def test_domains_of_a_connection_are_kept_to_its_limit() -> None:
    to = ["a@one.test", "b@two.test", "c@one.test", "d@three.test"]
    async with Receiver(features=("LIMITS RCPTDOMAINMAX=2",)) as mx, sender() as made:
        report = await made.deliver(job(mx.port, to=to))
    assert all(result.outcome is Outcome.DELIVERED for result in report.results)
    assert [(len(m.recipients), m.connection) for m in mx.messages] == [(3, 1), (1, 2)]


@pytest.mark.parametrize("features", [("DSN",), ()])
@pytest.mark.parametrize("answer", [b"250 2.1.5 Ok\r\n", b"550 5.1.1 nobody\r\n"])
async def test_names_of_one_address_are_one_recipient_with_a_result_each(
    features: tuple[str, ...], answer: bytes
) -> None:
    """Whoever wants to hear of a failure stands for the others; the rest is told by us (RFC 3461 §5.2.2)."""
    async with Receiver(features=features, answers={"RCPT": answer}) as mx, sender() as made:
        work = job(mx.port, to=("bert@far.test", "other@far.test", "bert@far.test", "bert@far.test"))
        for recipient, words in zip(work.envelope.recipients, ("NEVER", "", "FAILURE SUCCESS", "SUCCESS"), strict=True):
            object.__setattr__(recipient, "notify", frozenset(map(Notify, words.split())))
        report = await made.deliver(work)
    lines = [line for line in mx.lines if line.startswith("RCPT")]
    dsn = " NOTIFY=SUCCESS,FAILURE" if features else ""
    assert sorted(lines) == [f"RCPT TO:<bert@far.test>{dsn}", "RCPT TO:<other@far.test>"]
    relayed = Success.RELAYED
    passed = Success.PASSED_ON if features else relayed
    outcome = Outcome.DELIVERED if answer.startswith(b"2") else Outcome.FAILED
    assert {result.outcome for result in report.results} == {outcome}
    assert [result.success for result in report.results] == [relayed, passed, passed, relayed]


async def test_dsn_parameters_travel_on() -> None:
    made = job(0, dsn_return=DsnReturn.HEADERS, envelope_id="id+2B1")
    recipient = made.envelope.recipients[0]
    object.__setattr__(recipient, "notify", frozenset({Notify.SUCCESS, Notify.FAILURE}))
    object.__setattr__(recipient, "original_recipient", "rfc822;Bert@far.test")
    async with Receiver() as mx, sender() as s:
        object.__setattr__(made, "destination", Destination(name="far.test", hosts=(("127.0.0.1", mx.port),)))
        report = await s.deliver(made)
    assert report.results[0].success is Success.PASSED_ON
    assert mx.lines[1].endswith(" RET=HDRS ENVID=id+2B1")
    assert mx.lines[2] == "RCPT TO:<bert@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bert@far.test"


@pytest.mark.parametrize(
    ("arguments", "features", "status"),
    [
        ({"content": MESSAGE + b"\xe9\r\n"}, (), "5.6.3"),
        ({"content": MESSAGE + b"\xe9\r\n"}, ("8BITMIME",), ""),
        ({"content": "Subject: é\r\n\r\n".encode()}, ("8BITMIME",), ""),
        ({"content": "Subject: é\r\n\r\n".encode(), "smtputf8": True}, ("8BITMIME",), "5.6.7"),
        ({"content": "Subject: é\r\n\r\n".encode(), "smtputf8": True}, ("8BITMIME", "SMTPUTF8"), ""),
        ({"smtputf8": True}, (), ""),
        ({"sender": "änna@example.test"}, ("8BITMIME",), "5.6.7"),
        ({"to": ["bért@far.test"]}, ("8BITMIME",), "5.6.7"),
        ({"to": ["bert@grün.test"]}, (), ""),
        ({}, ("SIZE 10",), "5.3.4"),
    ],
)
async def test_what_a_server_cannot_take_is_not_sent(
    arguments: dict[str, Any], features: tuple[str, ...], status: str
) -> None:
    async with Receiver(features=features) as mx:
        result = await one(mx, **arguments)
    if status:
        assert (result.outcome, result.status, result.code) == (Outcome.FAILED, status, 0)
        assert mx.verbs() == ["EHLO", "QUIT"]
    else:
        assert result.outcome is Outcome.DELIVERED, result


@pytest.mark.parametrize("features", [(), ("PIPELINING", "CHUNKING")])
async def test_an_address_beyond_ascii_keeps_nobody_else_waiting(features: tuple[str, ...]) -> None:
    """RFC 6531 §3.2 is about the address that cannot be named to this server, not about the others."""
    to = ["bert@far.test", "bért@far.test", "cleo@far.test"]
    async with Receiver(features=features) as mx, sender() as made:
        report = await made.deliver(job(mx.port, to=to))
        again = await made.deliver(job(mx.port, to=to))
    for results in (report.results, again.results):
        assert [(result.outcome, result.status) for result in results] == [
            (Outcome.DELIVERED, "2.0.0"), (Outcome.FAILED, "5.6.7"), (Outcome.DELIVERED, "2.0.0")
        ]  # fmt: skip
    assert [message.recipients for message in mx.messages] == [["TO:<bert@far.test>", "TO:<cleo@far.test>"]] * 2
    async with Receiver() as mx, sender() as made:
        report = await made.deliver(job(mx.port, to=to))
    assert [result.outcome for result in report.results] == [Outcome.DELIVERED] * 3
    assert "SMTPUTF8" in mx.messages[0].mail and len(mx.messages) == 1


async def test_another_host_may_be_able_to_take_it() -> None:
    """RFC 6531 §3.2 allows it; for size and 8-bit content it is as sensible."""
    async with Receiver(features=()) as old, Receiver() as new, sender() as made:
        content = MESSAGE + b"\xe9\r\n"
        report = await made.deliver(job(old.port, new.port, content=content))
    assert report.results[0].outcome is Outcome.DELIVERED
    assert new.messages[0].content == content
    assert "BODY=8BITMIME" in new.messages[0].mail


async def test_one_that_cannot_and_one_that_is_not_there_is_for_now() -> None:
    async with Receiver(features=()) as old, Receiver() as new:
        dead = new.port
        await new.__aexit__(None, None, None)
        async with sender() as made:
            report = await made.deliver(job(old.port, dead, content=MESSAGE + b"\xe9\r\n"))
    assert report.results[0].outcome is Outcome.DEFERRED
    assert report.feedback is Feedback.UNREACHABLE


@pytest.mark.parametrize("answers", [
    {"GREETING": b"421 4.3.2 Busy\r\n"}, {"GREETING": b"554 5.3.2 No service\r\n"}, {"GREETING": CLOSE},
    {"GREETING": RESET}, {"GREETING": b"hello\r\n"}, {"EHLO": b"450 4.0.0 No\r\n"}, {"EHLO": CLOSE},
    {"MAIL": b"421 4.3.2 Going down\r\n"}, {"MAIL": RESET},
])  # fmt: skip
async def test_what_concerns_the_connection_sends_us_to_the_next_host(answers: dict[str, Any]) -> None:
    async with Receiver(answers=answers) as first, Receiver() as second, sender() as made:
        report = await made.deliver(job(first.port, second.port))
    assert report.results[0].outcome is Outcome.DELIVERED
    assert len(second.messages) == 1


@pytest.mark.parametrize(
    "answers", [{"MAIL": b"450 4.7.1 Later\r\n"}, {"RCPT": b"450 4.7.1 Later\r\n"}, {"DATA": b"451 4.3.0 Later\r\n"},
                {"END": b"451 4.3.0 Later\r\n"}, {"RCPT": RESET}, {"END": CLOSE}]
)  # fmt: skip
async def test_what_a_server_says_of_the_message_is_the_answer(answers: dict[str, Any]) -> None:
    """Greylisting would be asked for at each host in turn otherwise."""
    async with Receiver(answers=answers) as first, Receiver() as second, sender() as made:
        report = await made.deliver(job(first.port, second.port))
    assert report.results[0].outcome is Outcome.DEFERRED
    assert second.connections == 0


async def test_a_refusal_in_the_middle_of_a_message_ends_the_connection() -> None:
    """The server may take the rest for commands, so nothing more is said on that connection."""
    content = MESSAGE + b"a line of text\r\n" * 1_000_000

    async def refuse(mx: Receiver) -> None:
        while not mx.reads or sum(map(len, mx.reads[0])) < 200_000:  # noqa: ASYNC110 - it comes when it comes
            await asyncio.sleep(0.001)
        for session in mx._live:
            session.transport.write(b"552 5.3.4 Too large\r\n")

    async with Receiver(features=("CHUNKING",)) as mx, sender() as made:
        refusing = asyncio.ensure_future(refuse(mx))
        report = await made.deliver(job(mx.port, content=content))
        await refusing
        assert (report.results[0].outcome, report.results[0].status) == (Outcome.FAILED, "5.3.4")
        assert len(made.pool) == 0
        assert (await made.deliver(job(mx.port))).results[0].outcome is Outcome.DELIVERED
    assert mx.connections == 2
    assert [message.content for message in mx.messages] == [MESSAGE]


async def test_mail_leaves_from_the_address_that_was_asked_for() -> None:
    async with Receiver() as mx, sender() as made:
        for source in (("127.0.0.2", "::1"), ("127.0.0.3",)):
            destination = Destination(name="far.test", hosts=(("127.0.0.1", mx.port),), source=source)
            assert (await made.deliver(job(destination=destination))).results[0].outcome is Outcome.DELIVERED
        assert mx.peers == ["127.0.0.2", "127.0.0.3"]
        destination = Destination(name="far.test", hosts=(("127.0.0.1", mx.port),), source=("192.0.2.1",))
        (result,) = (await made.deliver(job(destination=destination))).results
    assert result.outcome is Outcome.DEFERRED
    assert "cannot send from 192.0.2.1" in result.reply


async def test_every_host_is_down() -> None:
    async with sender() as made:
        report = await made.deliver(job(1, 2))
    (result,) = report.results
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.4.1")
    assert "127.0.0.1: connection refused" in result.reply
    assert report.feedback is Feedback.UNREACHABLE


async def test_every_host_says_that_it_takes_no_mail() -> None:
    """RFC 7504 §3. Of a host that the operator named it is no reason to return mail."""
    async with Receiver(answers={"GREETING": b"521 5.3.2 No SMTP service here\r\n"}) as mx:
        result = await one(mx)
        assert (result.outcome, result.status, result.code) == (Outcome.DEFERRED, "4.3.2", 521)
        exchangers = Exchangers(Loopback(mx=("mx.far.test",)), port=mx.port, allow_private=True)
        async with Sender(SendingSettings(), Hooks(), "mail.example.test", exchangers) as made:
            (result,) = (await made.deliver(job(destination=Destination(name="far.test")))).results
        assert (result.outcome, result.status, result.code) == (Outcome.FAILED, "5.3.2", 521)
        assert result.remote == "mx.far.test"


async def test_a_block_list_is_waited_out() -> None:
    words = b"554 5.7.1 Client host [127.0.0.1] blocked using zen.spamhaus.org\r\n"
    for stage in ("GREETING", "MAIL", "RCPT"):
        async with Receiver(answers={stage: words}) as mx, sender() as made:
            report = await made.deliver(job(mx.port))
        assert report.results[0].outcome is Outcome.DEFERRED
        assert report.feedback is Feedback.BLOCKED


class Host:
    """Hooks with functions for before_send."""

    def __init__(self, *answers: Verdict) -> None:
        registry = Registry(HookOptions(plugin="test", on_error=OnError.DEFER))
        self.seen: list[BeforeSendContext] = []
        for answer in answers:
            registry.before_send(self._hook(answer))
        self.hooks = Hooks([registry])

    def _hook(self, answer: Verdict) -> Any:
        async def before_send(ctx: BeforeSendContext) -> Verdict:
            self.seen.append(ctx)
            return answer

        return before_send


async def test_fields_of_hooks_stand_on_top_and_are_folded() -> None:
    long = "v=1; " + " ".join(f"word{number}" for number in range(40))
    host = Host(Accept(headers=(HeaderField("DKIM-Signature", long),)), Accept(headers=(HeaderField("X-B", "b"),)))
    async with Receiver() as mx, make_sender(host.hooks) as made:
        await made.deliver(job(mx.port))
    content = mx.messages[0].content
    assert content.endswith(b"X-B: b\r\n" + MESSAGE)
    field = content[: content.index(b"X-B")]
    assert field.replace(b"\r\n ", b" ") == f"DKIM-Signature: {long}\r\n".encode()
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert len(host.seen) == 2


async def test_hooks_see_the_message_as_it_goes_out() -> None:
    host = Host(Accept())
    async with Receiver() as mx, make_sender(host.hooks) as made:
        await made.deliver(job(mx.port, content=b"Subject: x\n\nbare\rlines"))
    (ctx,) = host.seen
    assert ctx.content.head() == mx.messages[0].content == b"Subject: x\r\n\r\nbare\r\nlines\r\n"


@pytest.mark.parametrize(
    ("verdict", "outcome", "status"),
    [
        (Defer(Reply(451, "4.3.5", "The key cannot be read")), Outcome.DEFERRED, "4.3.5"),
        (Reject(Reply(550, "", "No")), Outcome.FAILED, "5.7.1"),
    ],
)
async def test_a_hook_may_hold_a_message_back(verdict: Verdict, outcome: Outcome, status: str) -> None:
    async with Receiver() as mx, make_sender(Host(verdict).hooks) as made:
        report = await made.deliver(job(mx.port, to=TWO))
    assert [(result.outcome, result.status, result.code) for result in report.results] == [(outcome, status, 0)] * 2
    assert mx.connections == 0


async def test_whoever_has_it_does_not_get_it_once_more() -> None:
    """The second transaction hangs, or its content cannot be read: the first one counts all the same."""
    for trouble in (SILENCE, "disk"):
        answers: dict[str, Any] = {"MAIL": [b"250 Ok\r\n", SILENCE]} if trouble is SILENCE else {}
        made_job = job(0, to=TWO)
        if trouble == "disk":
            calls = 0

            async def failing(indexes: object) -> None:
                nonlocal calls
                calls += 1
                if calls == 2:
                    raise StorageFailure("the queue cannot be written")

            object.__setattr__(made_job, "about_to_end", failing)
        async with Receiver(features=("LIMITS RCPTMAX=1",), answers=answers) as mx:
            object.__setattr__(made_job, "destination", Destination(name="x", hosts=(("127.0.0.1", mx.port),)))
            async with sender(attempt_time=1.5) as made:
                report = await made.deliver(made_job)
                assert len(made.pool) == 0, "the connection is in the middle of something"
        assert [result.outcome for result in report.results] == [Outcome.DELIVERED, Outcome.DEFERRED], trouble
        assert len(mx.messages) == 1


async def test_a_crash_of_ours_defers() -> None:
    async def broken(indexes: object) -> None:
        raise RuntimeError

    made = job(0)
    object.__setattr__(made, "about_to_end", broken)
    async with Receiver() as mx, sender() as s:
        object.__setattr__(made, "destination", Destination(name="x", hosts=(("127.0.0.1", mx.port),)))
        report = await s.deliver(made)
    assert report.results[0].status == "4.3.0"
    assert mx.messages == []


@pytest.mark.parametrize(("broken", "outcome"), [(False, Outcome.FAILED), (True, Outcome.DEFERRED)])
async def test_a_host_that_dns_hides_may_still_take_the_mail(broken: bool, outcome: Outcome) -> None:
    """What one host refuses for good is not the last word while nobody can tell where the other one is."""
    dns = FakeResolver()
    dns.has_mx("far.test", (10, "a.test"), (20, "b.test"))
    dns.has("addresses", "a.test", "127.0.0.1")
    if broken:
        dns.fails("addresses", "b.test")
    async with Receiver(answers={"GREETING": b"554 5.3.2 No mail here\r\n"}) as mx:
        exchangers = Exchangers(dns, port=mx.port, allow_private=True)
        async with Sender(SendingSettings(), Hooks(), "mail.example.test", exchangers) as made:
            report = await made.deliver(job(destination=Destination(name="far.test")))
    assert report.results[0].outcome is outcome
