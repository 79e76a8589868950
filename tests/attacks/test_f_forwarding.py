"""ATTACKS F07: mail that is forwarded in a circle, between real servers over real DNS; and what its sender is told."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.circles import HELLO, SENDER, A, B, World, emptied
from tests.helpers.dns import DnsServer
from tests.helpers.receiver import Received
from tests.helpers.smtp import Reply, Smtp


def report(received: Received | bytes) -> tuple[str, str, str]:
    """Final-Recipient, Action and Status of a report about one recipient; it came from the null sender."""
    if isinstance(received, Received):
        assert received.mail.startswith("FROM:<>"), received.mail
        received = received.content
    parsed = email.message_from_bytes(received, policy=email.policy.default)
    _, status, _ = parsed.iter_parts()
    groups: Any = status.get_payload()
    _, group = groups
    return (group["Final-Recipient"].partition(";")[2].strip(), group["Action"], group["Status"])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with DnsServer() as dns:
        yield World(tmp_path, dns)


async def test_f07_two_servers_forward_to_each_other(world: World) -> None:
    async with world.sender() as sender:
        with world.server("one.test", a=[B]) as one, world.server("two.test", b=[A]) as two:
            assert (await world.bring(A)).code == 250
            await emptied(one, two)
            # Once there, once back: the first server knows it again.
            assert two.log_text().count(" accepted ") == 1
        (received,) = sender
        assert report(received) == (A, "failed", "5.4.6")


async def test_f07_two_accounts_forward_to_each_other_and_keep_no_copy(world: World) -> None:
    """It ends where it would go round once more, in a mailbox, and its sender is told once."""
    async with world.sender() as sender:
        with world.server("one.test") as one, world.server("two.test") as two:
            for daemon, account, target in ((one, A, B), (two, B, A)):
                await asyncio.to_thread(daemon.add_account, account)
                arguments = ("account", "forward", account, target, "--no-keep", "--confirmed")
                await asyncio.to_thread(daemon.command, *arguments)
            assert (await world.bring(A)).code == 250
            await emptied(one, two)
        (received,) = sender
        assert report(received) == (A, "failed", "5.4.6")
        assert not [*(one.data / "one.test" / "a" / "new").glob("*")]
        (kept,) = (two.data / "two.test" / "b" / "new").iterdir()
        assert b"Message-ID: <1@stranger.test>" in kept.read_bytes()


async def test_f07_a_forwarder_without_marks_is_stopped_by_counting(world: World) -> None:
    """Behind us is a server that removes Delivered-To and sends all back; it counts no hops."""
    sent: list[Reply] = []
    async with world.other() as other:
        with world.server("one.test", a=[B]) as one:
            content = HELLO
            for _ in range(60):
                sent.append(await world.bring(A, content))
                if sent[-1].code != 250:
                    break
                await other.arrived(len(sent))
                content = re.sub(rb"Delivered-To:.*\r\n", b"", other.messages[-1].content)
            await emptied(one)
    assert (sent[-1].code, sent[-1].status) == (554, "5.4.6")
    # The one that is refused has 51 Received.
    assert len(other.messages) == 51


async def test_f07_an_alias_to_itself_through_outside(world: World) -> None:
    """The MX of its target's domain is this server, which does not serve it."""
    with world.server("one.test", finds="one.test", a=[B]) as one:
        await asyncio.to_thread(one.add_account, "x@one.test")
        assert (await world.bring(A, sender="x@one.test")).code == 250
        await emptied(one)
    (kept,) = (one.data / "one.test" / "x" / "new").iterdir()
    assert report(kept.read_bytes()) == (B, "failed", "5.4.6")


async def test_f07_branches_of_a_circle_do_not_multiply(world: World) -> None:
    """Both targets lead back, one of them on two ways: mail becomes no more, and the sender is told once."""
    async with world.sender() as sender:
        with (
            world.server("one.test", a=["b@two.test", "c@two.test"]) as one,
            world.server("two.test", b=[A, "c@two.test"], c=[A]) as two,
        ):
            assert (await world.bring(A)).code == 250
            await emptied(one, two)
        (received,) = sender
        assert report(received) == (A, "failed", "5.4.6")


async def test_f07_the_report_about_a_circle_does_not_circle(world: World) -> None:
    """The sender's own address is in it, too: his message is reported once, and the report is not."""
    with world.server("one.test", a=[B]) as one, world.server("two.test", b=[A]) as two:
        assert (await world.bring(A, sender=B)).code == 250
        await emptied(one, two)
    log = one.log_text() + two.log_text()
    assert log.count(" report=") == 1, log


# RFC 3461 §5.2.7: what the sender wants to be told, on its way through an address that forwards


async def test_dsn_of_one_target_goes_along(world: World) -> None:
    async with world.other() as mx, world.sender() as sender:
        with world.server("one.test", a=[B]) as one:
            given = " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;boss+2Bx@first.test"
            assert (await world.bring(A, parameters=given)).code == 250
            assert (await world.bring(A, parameters=" NOTIFY=NEVER")).code == 250
            await emptied(one)
        assert sender == []
    first, second = sorted(mx.messages, key=lambda received: "NEVER" in received.recipients[0])
    assert first.recipients == [f"TO:<{B}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;boss+2Bx@first.test"]
    assert "RET=HDRS" in first.mail
    assert "ENVID=e1" in first.mail
    assert second.recipients == [f"TO:<{B}> NOTIFY=NEVER ORCPT=rfc822;{A}"]


async def test_dsn_of_one_target_behind_a_server_that_tells_nothing(world: World) -> None:
    async with world.other(features=()) as mx, world.sender() as sender:
        with world.server("one.test", a=[B]) as one:
            assert (await world.bring(A, parameters=" NOTIFY=SUCCESS")).code == 250
            await emptied(one)
        assert mx.messages[0].recipients == [f"TO:<{B}>"]
        (received,) = sender
        assert report(received)[1] == "relayed"
        assert f"Original-Recipient: rfc822; {A}\r\n".encode() in received.content


@pytest.mark.parametrize(
    ("notify", "passed"), [("SUCCESS", "NEVER"), ("SUCCESS,FAILURE", "FAILURE"), ("SUCCESS,DELAY", "DELAY")]
)
async def test_dsn_of_several_targets_is_told_once(world: World, notify: str, passed: str) -> None:
    async with world.other() as mx, world.sender() as sender:
        with world.server("one.test", a=[B, "c@two.test"]) as one:
            assert (await world.bring(A, parameters=f" NOTIFY={notify}")).code == 250
            await emptied(one)
        recipients = [one for received in mx.messages for one in received.recipients]
        assert sorted(recipients) == [
            f"TO:<{to}> NOTIFY={passed} ORCPT=rfc822;{A}" for to in (B, "c@two.test")
        ]
        (received,) = sender
        assert report(received) == (A, "expanded", "2.0.0")
        assert b"Original-Envelope-Id: e1\r\n" in received.content


@pytest.mark.parametrize("dsn", [False, True])
async def test_dsn_of_two_names_for_one_address(world: World, dsn: bool) -> None:
    """It gets one message, and of each name that asked something is told."""

    def send(port: int) -> None:
        with Smtp(port) as smtp:
            smtp.ehlo()
            assert smtp.command(f"MAIL FROM:<{SENDER}>").code == 250
            for name in ("a", "c"):
                assert smtp.command(f"RCPT TO:<{name}@one.test> NOTIFY=SUCCESS").code == 250
            assert smtp.command("DATA").code == 354
            smtp.send(HELLO + b".\r\n")
            assert smtp.reply().code == 250

    async with world.other(features=("DSN",) if dsn else ()) as mx, world.sender() as sender:
        with world.server("one.test", a=[B], c=[B]) as one:
            await asyncio.to_thread(send, world.ports["one.test"])
            await emptied(one)
    (message,) = mx.messages
    assert len(message.recipients) == 1
    (received,) = sender
    told = [name for name in "ac" if f"Original-Recipient: rfc822; {name}@one.test\r\n".encode() in received.content]
    # The next server tells of the name that it knows.
    assert told == (["c"] if dsn else ["a", "c"])
    assert received.content.count(b"Action: relayed") == len(told)


# What strangers can make us say, with a return path that may be forged


async def test_f04_a_stranger_is_told_of_failures_only_and_in_our_words(world: World) -> None:
    """No success, nothing of the body, and his text in as few places as can be."""
    spam = (
        b"From: <x@stranger.test>\r\nSubject: Buy at evil.test\r\nX-Text: buy pills\r\n"
        b"Message-ID: <1@stranger.test>\r\n\r\nBuy pills.\r\n"
    )
    async with world.other(answers={"RCPT": b"550 5.1.1 nobody\r\n"}), world.sender() as sender:
        with world.server("one.test", trusting=False, a=[B]) as one:
            for parameters in (" NOTIFY=SUCCESS", " NOTIFY=NEVER", " ORCPT=rfc822;x@y.test"):
                refused = await world.bring(A, spam, parameters)
                assert (refused.code, refused.status) == (555, "5.5.4")
            assert (await world.bring(A, spam)).code == 250
            await emptied(one)
        (received,) = sender
    assert report(received) == (B, "failed", "5.1.1")
    parsed = email.message_from_bytes(received.content, policy=email.policy.default)
    text, status, original = parsed.iter_parts()
    assert "evil" not in str(text) + str(status) + parsed["Subject"]
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: Buy at evil.test" in original.get_content()
    assert b"pills" not in received.content


async def test_f04_a_forged_return_path_is_not_flooded(world: World) -> None:
    async with world.other(answers={"RCPT": b"550 5.1.1 nobody\r\n"}), world.sender() as sender:
        with world.server("one.test", trusting=False, a=[B]) as one:
            for _ in range(13):
                assert (await world.bring(A)).code == 250
            await emptied(one)
    assert len(sender) == 10
    assert one.log_text().count("report to a stranger dropped") == 3
