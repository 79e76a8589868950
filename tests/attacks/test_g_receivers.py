"""ATTACKS A06, C03, F02, G03, G15, G16, G20: servers that misbehave, and messages that would, on their way out."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import TlsPolicyContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.delivery import Feedback, Outcome
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.ports.delivery import DeliveryReport
from tests.helpers.authority import issue
from tests.helpers.receiver import CLOSE, RESET, SILENCE, Receiver
from tests.helpers.sending import Events, Noted, job, make_sender

STAGES = ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END", "RSET", "QUIT")
T, F, D = Outcome.DEFERRED, Outcome.FAILED, Outcome.DELIVERED
FEATURES: tuple[tuple[str, ...], ...] = ((), ("PIPELINING",), ("PIPELINING", "CHUNKING"))
#: Every stage's time, for servers that say nothing.
SHORT: dict[str, Any] = dict.fromkeys(
    ("greeting_timeout", "command_timeout", "data_timeout", "end_timeout", "block_timeout", "quit_timeout"), 0.4
)


async def attempt(mx: Receiver, hooks: Hooks | None = None, settings: Any = None, **arguments: Any) -> DeliveryReport:
    async with make_sender(hooks or Hooks(), **(settings or {})) as made:
        return await made.deliver(job(mx.port, **arguments))


# A06


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize(
    "body",
    [
        b"x\n.\nMAIL FROM:<evil@far.test>\nRCPT TO:<v@far.test>\nDATA\n", b"x\r\n.\r\nMAIL FROM:<evil@far.test>\r\n",
        b"x\r.\r\nQUIT\r\n", b"x\n.\r\nQUIT\r\n", b"x\r\n.\nQUIT\r\n", b"x\r\n.\rQUIT\r\n", b"x\r\n\0.\r\nQUIT\r\n",
        b"x\r\n.\0\r\nQUIT\r\n", b".", b"..", b"\r\n.", b"x\r", b"x\r\n.\r", b"no end", b"\0\0\0", b"",
        b".leading\r\n..dots\r\n...\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [0, 200_000])
async def test_a06_one_message_stays_one_message(features: tuple[str, ...], body: bytes, size: int) -> None:
    filler = b"0123456789\r\n" * (size // 12)
    content = b"Subject: x\r\n\r\n" + filler + body
    async with Receiver(features=features) as mx:
        report = await attempt(mx, content=content, head=1000)
        assert report.results[0].outcome is D
        await asyncio.sleep(0)
    (message,) = mx.messages
    assert [verb for verb in mx.verbs() if verb not in ("EHLO", "MAIL", "RCPT", "DATA", "BDAT", "QUIT")] == []
    assert mx.verbs().count("MAIL") == 1
    expected = re.sub(rb"\r\n|\r|\n", b"\r\n", content.replace(b"\0", b""))
    assert message.content == (expected if expected.endswith(b"\r\n") else expected + b"\r\n")


# C03


@pytest.mark.parametrize("level", [TlsLevel.OPPORTUNISTIC, TlsLevel.ENCRYPTED])
@pytest.mark.parametrize(
    "behind", [b"250-evil\r\n", b"250-evil\r\n250 AUTH PLAIN\r\n", b"220 2.0.0 Go ahead\r\n", b"2", b"\n"]
)
async def test_c03_nothing_may_stand_behind_the_reply_to_starttls(
    level: TlsLevel, behind: bytes, tmp_path: Path
) -> None:
    async def tls_policy(ctx: TlsPolicyContext) -> TlsPolicy:
        return TlsPolicy(level=level)

    events = Events(tls_policy=tls_policy)
    answers = {"STARTTLS": b"220 2.0.0 Go ahead\r\n" + behind}
    async with Receiver(tls=issue().server_context(tmp_path), answers=answers) as mx:
        report = await attempt(mx, events.hooks)
    assert report.results[0].outcome is T
    assert mx.messages == []
    assert mx.verbs() == ["EHLO", "STARTTLS"], "neither TLS nor anything in the clear"
    # A line that is no reply ends it before that.
    assert [event.failure for event in events.tls()] == ([] if behind == b"\n" else ["validation-failure"])


# F02


async def test_f02_a_hostile_refusal_is_one_printable_line() -> None:
    words = b"550-5.7.1 first\x00\x1b[2J\r\n550-5.7.1 \t\x0bDONE 1\x85\r\n550 5.7.1 \xe2\x80\xae \xff"
    words += b"y" * 3000 + b"\r\n"
    async with Receiver(answers={"RCPT": words}) as mx:
        report = await attempt(mx)
    (result,) = report.results
    assert result.outcome is F
    assert result.reply.isprintable()
    assert len(result.reply) <= 1000
    assert result.reply.startswith("550 5.7.1 first??[2J 5.7.1 ??DONE 1")


# G03


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("act", [CLOSE, RESET, SILENCE])
async def test_g03_cut_between_the_end_and_its_reply(
    features: tuple[str, ...], act: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = Noted()
    async with Receiver(features=features, answers={"END": act}) as mx:
        report = await attempt(mx, settings=SHORT, noted=noted)
        assert mx.connections == 1, "not at once again"
    (result,) = report.results
    assert (result.outcome, result.status) == (T, "4.4.2")
    assert "may have arrived" in result.reply
    assert noted.calls == [[0]]
    assert "send.possible_duplicate" in capsys.readouterr().out


# G15


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "answer", [b"450 4.3.0 No\r\n", b"550 5.3.0 No\r\n", b"421 4.3.2 Bye\r\n", CLOSE, RESET, SILENCE]
)
async def test_g15_whatever_happens_at_each_stage(features: tuple[str, ...], stage: str, answer: Any) -> None:
    """The message and the one after it: delivered, waiting or failed as the reply says, and no connection left."""
    if stage == "DATA" and "CHUNKING" in features:
        stage = "END"
    async with Receiver(features=features, answers={stage: answer}) as mx:
        async with make_sender(Hooks(), **SHORT) as made:
            first = await made.deliver(job(mx.port))
            second = await made.deliver(job(mx.port))
        await mx.settled()
    if stage in ("RSET", "QUIT"):
        expected = D
    elif answer == b"550 5.3.0 No\r\n" and stage not in ("EHLO", "GREETING"):
        expected = F
    else:
        # A server that refuses EHLO for good is asked with HELO. One that the operator named returns no mail at once.
        expected = D if stage == "EHLO" and answer == b"550 5.3.0 No\r\n" else T
    for report in (first, second):
        assert report.results[0].outcome is expected, report
    if answer == b"421 4.3.2 Bye\r\n" and expected is T:
        assert first.feedback is Feedback.BUSY


@pytest.mark.parametrize("features", FEATURES)
async def test_g15_each_recipient_has_its_own_fate(features: tuple[str, ...]) -> None:
    replies: list[Any] = [b"250 Ok\r\n", b"450 4.2.1 Later\r\n", b"550 5.1.1 No\r\n", b"251 2.1.5 Will forward\r\n"]
    to = [f"{name}@far.test" for name in "abcd"]
    async with Receiver(features=features, answers={"RCPT": replies}) as mx:
        report = await attempt(mx, to=to)
    assert [result.outcome for result in report.results] == [D, T, F, D]
    assert len(mx.messages[0].recipients) == 2


@pytest.mark.parametrize("features", FEATURES)
async def test_g15_goodbye_after_some_recipients(features: tuple[str, ...]) -> None:
    replies: list[Any] = [b"250 Ok\r\n", b"550 5.1.1 No\r\n", b"421 4.3.2 Bye\r\n"]
    async with Receiver(features=features, answers={"RCPT": replies}) as mx:
        report = await attempt(mx, to=[f"{name}@far.test" for name in "abcd"])
    assert [result.outcome for result in report.results] == [T, F, T, T]
    assert mx.messages == []


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "END"])
async def test_g15_octets_that_trickle_do_not_hold_us(stage: str) -> None:
    """A reply must be complete within its stage's time, however much of it comes."""
    async with Receiver(answers={stage: b"2"}) as mx:
        async def trickle() -> None:
            while True:
                await asyncio.sleep(0.01)
                for session in mx._live:
                    if session.waiting_in == stage:
                        session.transport.write(b"5")

        dripping = asyncio.ensure_future(trickle())
        report = await attempt(mx, settings=SHORT)
        dripping.cancel()
    assert report.results[0].outcome is T


async def test_g15_a_server_that_does_not_read() -> None:
    """Each piece of the message has its time."""
    def deaf(line: bytes) -> bytes:
        for session in mx._live:
            session.transport.pause_reading()
        return b"354 Go ahead\r\n"

    async with Receiver(features=(), answers={"DATA": deaf}) as mx:
        report = await attempt(mx, settings=SHORT, content=b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 10_000_000)
    (result,) = report.results
    assert result.outcome is T
    assert "did not answer in time (content)" in result.reply


async def test_g15_an_attempt_ends() -> None:
    """Also at a server that is slow at every step, but never too slow."""
    async with Receiver(answers={"RCPT": SILENCE}) as mx:
        report = await attempt(mx, settings={"attempt_time": 0.1})
        assert report.results[0].status == "4.4.7"
        assert report.feedback is Feedback.BUSY, "it gets fewer at once"


# G16

HOSTILE = [
    b"250 " + b"x" * (1 << 20) + b"\r\n", b"250-" + b"x" * (1 << 20), b"250-x\r\n" * 1_000_000, b"250-a\r\n550 b\r\n",
    b"999 a\r\n", b"000 a\r\n", b"abc\r\n", b"\0\0\0\0\r\n", b"\xff\xfe\xfd\r\n", b"\r\n" * 1000, b"250\0 a\r\n",
    b"250 Ok\r\n" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "RCPT", "END"])
@pytest.mark.parametrize("number", range(len(HOSTILE)))
async def test_g16_hostile_replies_end_the_connection(stage: str, number: int) -> None:
    async with Receiver(answers={stage: HOSTILE[number]}) as mx:
        report = await attempt(mx, settings=SHORT)
    (result,) = report.results
    assert result.outcome is T, result
    assert result.reply.isprintable()
    assert len(result.reply) <= 1000


async def test_g16_printable_is_what_the_sender_reads() -> None:
    async with Receiver(answers={"RCPT": b"550 5.1.1 \x1b]0;title\x07 caf\xc3\xa9 \xff\r\n"}) as mx:
        report = await attempt(mx)
    assert report.results[0].reply == "550 5.1.1 ?]0;title? café \ufffd"


# G20


@pytest.mark.parametrize(
    ("features", "answer", "outcome", "status"),
    [
        # What a server says of itself is told to the sender, what may be an accident waits (RFC 8689 §4.2.1).
        (("REQUIRETLS",), None, F, "5.7.10"),
        (("REQUIRETLS", "STARTTLS"), b"502 5.5.1 No\r\n", F, "5.7.10"),
        (("REQUIRETLS", "STARTTLS"), b"454 4.7.0 Not now\r\n", T, "4.7.4"),
        (("REQUIRETLS", "STARTTLS"), CLOSE, T, "4.4.2"),
        (("REQUIRETLS", "STARTTLS"), b"220 2.0.0 Go ahead\r\n", T, "4.7.5"),
    ],
)
async def test_g20_requiretls_without_tls_is_never_sent_in_the_clear(
    features: tuple[str, ...], answer: Any, outcome: Outcome, status: str
) -> None:
    async with Receiver(features=features, answers={"STARTTLS": answer}) as mx:
        report = await attempt(mx, settings={"handshake_timeout": 0.4}, require_tls=True)
        await mx.settled()
    (result,) = report.results
    assert (result.outcome, result.status) == (outcome, status)
    assert mx.messages == []
    assert not {"MAIL", "RCPT", "DATA"} & set(mx.verbs())


@pytest.mark.parametrize("second", [b"421 4.3.2 Later\r\n", RESET])
async def test_g20_requiretls_waits_while_one_host_may_yet_take_it(second: Any) -> None:
    async with Receiver(features=()) as mx, Receiver(answers={"GREETING": second}) as other:
        for ports in ((mx.port, other.port), (other.port, mx.port)):
            async with make_sender(Hooks()) as made:
                report = await made.deliver(job(*ports, require_tls=True))
            assert report.results[0].outcome is T
    assert mx.messages == other.messages == []
