"""ATTACKS F07, L15: accounts that forward their mail, through the whole server: with consent, losing nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import soon

ANNA, BERT, SENDER = f"anna@{DOMAIN}", "bert@far.test", "x@stranger.test"
HELLO = b"From: <x@stranger.test>\r\nSubject: hello\r\nMessage-ID: <%d@stranger.test>\r\n\r\nHello.\r\n"


def settings(mx: Receiver, retry: str = "1h") -> dict[str, str]:
    return {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["{retry}"]'}


async def bring(daemon: Daemon, number: int, *, sender: str = SENDER, to: str = ANNA, content: bytes = b"") -> Reply:
    def talk() -> Reply:
        with Smtp(daemon.ports["smtp"]) as smtp:
            smtp.ehlo()
            smtp.command(f"MAIL FROM:<{sender}>")
            reply = smtp.command(f"RCPT TO:<{to}>")
            if reply.code == 250:
                assert smtp.command("DATA").code == 354
                smtp.send((content or HELLO % number) + b".\r\n")
                reply = smtp.reply()
            return reply

    return await asyncio.to_thread(talk)


async def until(true: Callable[[], bool], daemon: Daemon) -> None:
    await soon(true, lambda: daemon.log_text()[-4000:])


def kept(daemon: Daemon, local: str = "anna") -> list[bytes]:
    inbox = daemon.data / DOMAIN / local
    return [path.read_bytes() for place in ("new", "cur") for path in sorted((inbox / place).glob("*"))]


def passed(mx: Receiver) -> set[int]:
    numbers = [re.search(rb"<(\d)@stranger", one.content) for one in mx.messages]
    return {int(found[1]) for found in numbers if found}


async def forward(daemon: Daemon, *arguments: str) -> str:
    return await asyncio.to_thread(daemon.command, "account", "forward", *arguments)


async def listed(daemon: Daemon) -> Any:
    return await asyncio.to_thread(daemon.command_json, "account", "forward", "--list")


async def test_l15_the_target_of_a_forward_agrees_first(make_daemon: DaemonMaker) -> None:
    async with Receiver() as mx:
        with make_daemon(settings=settings(mx)) as daemon:
            assert "was asked to agree" in await forward(daemon, ANNA, BERT, "--no-keep")
            await until(lambda: len(mx.messages) == 1, daemon)
            token = re.search(rb"confirm\+\S+@example\.test", mx.messages[0].content)
            assert token is not None

            # Until then all stays here, --no-keep or not.
            assert (await bring(daemon, 1)).code == 250
            assert len(kept(daemon)) == 1
            assert (await listed(daemon))[0]["pending"][0]["target"] == BERT
            yes = b"From: <bert@home.test>\r\nSubject: Re: it\r\n\r\nYES\r\n"
            answered = await bring(daemon, 0, sender="bert@home.test", to=token[0].decode(), content=yes)
            assert answered.code == 250
            await until(lambda: len(mx.messages) == 2, daemon)
            before = len(kept(daemon))

            assert (await bring(daemon, 2)).code == 250
            await until(lambda: len(mx.messages) == 3, daemon)
            passed = mx.messages[2]
            assert re.match(r"FROM:<SRS0=[^>]+=stranger\.test=x@example\.test>", passed.mail)
            assert [one.partition(" ")[0] for one in passed.recipients] == [f"TO:<{BERT}>"]
            assert f"Delivered-To: {ANNA}\r\n".encode() in passed.content
            assert len(kept(daemon)) == before

            assert "a copy stays" in await forward(daemon, ANNA, "--keep")
            assert (await bring(daemon, 3)).code == 250
            await until(lambda: len(mx.messages) == 4, daemon)
            assert len(kept(daemon)) == before + 1
            # It comes back.
            assert (await bring(daemon, 0, content=mx.messages[3].content)).status == "5.4.6"

            assert "stays here" in await forward(daemon, ANNA, "--remove")
            assert (await bring(daemon, 4)).code == 250
            assert len(kept(daemon)) == before + 2
            assert await listed(daemon) == []
            await asyncio.to_thread(daemon.stop)
    assert len(mx.messages) == 4


@pytest.mark.parametrize(("sender", "alias"), [(SENDER, False), ("", False), ("", True)])
async def test_f07_a_refused_forward_comes_into_the_mailbox(
    make_daemon: DaemonMaker, sender: str, alias: bool
) -> None:
    """And its sender is told, where there is one."""

    def answer(line: bytes) -> bytes | None:
        return b"550 5.7.1 I do not want this\r\n" if BERT.encode() in line else None

    async with Receiver(answers={"RCPT": answer}) as mx:
        with make_daemon(settings=settings(mx)) as daemon:
            if alias:
                await asyncio.to_thread(daemon.command, "alias", "add", f"info@{DOMAIN}", BERT, "--confirmed")
                await forward(daemon, ANNA, f"info@{DOMAIN}", "--no-keep")
            else:
                await forward(daemon, ANNA, BERT, "--no-keep", "--confirmed")
            assert (await bring(daemon, 7, sender=sender)).code == 250
            await until(lambda: len(kept(daemon)) == 1, daemon)
            await until(lambda: not daemon.metric("mailserver_queue_messages"), daemon)
            await asyncio.to_thread(daemon.stop)
    (content,) = kept(daemon)
    assert b"Message-ID: <7@stranger.test>" in content
    assert content.startswith(b"Return-Path: <%s>\r\n" % sender.encode())
    assert [one.recipients[0].partition(" ")[0] for one in mx.messages] == ([f"TO:<{SENDER}>"] if sender else [])
    if sender:
        assert mx.messages[0].mail.startswith("FROM:<>")
        assert b"I do not want this" in mx.messages[0].content


async def test_f07_a_killed_server_still_forwards_what_it_took(make_daemon: DaemonMaker) -> None:
    later = [b"451 4.3.0 Later\r\n"]
    async with Receiver(answers={"MAIL": lambda line: later[0] if later else None}) as mx:
        with make_daemon(settings=settings(mx)) as daemon:
            await forward(daemon, ANNA, BERT, "--no-keep", "--confirmed")
            for number in range(5):
                assert (await bring(daemon, number)).code == 250
            await asyncio.to_thread(daemon.kill9)
            later.clear()
            await asyncio.to_thread(daemon.start)
            await asyncio.to_thread(daemon.command, "queue", "flush")
            # After a start the queue is not known at once.
            await until(lambda: passed(mx) == set(range(5)), daemon)
            await until(lambda: not daemon.metric("mailserver_queue_messages"), daemon)
            await asyncio.to_thread(daemon.stop)
    assert passed(mx) == set(range(5))
    assert kept(daemon) == []


async def test_f07_accounts_that_forward_to_each_other(make_daemon: DaemonMaker) -> None:
    """Where nobody would keep it, it is not begun; else it ends with who keeps it, once."""
    ben = f"ben@{DOMAIN}"
    with make_daemon() as daemon:
        await forward(daemon, ANNA, ben, "--no-keep")
        with pytest.raises(AssertionError, match="in a circle"):
            await forward(daemon, ben, ANNA, "--no-keep")
        assert (await bring(daemon, 1)).code == 250
        assert (len(kept(daemon)), len(kept(daemon, "ben"))) == (0, 1)
        await forward(daemon, ben, ANNA, "--keep")
        assert (await bring(daemon, 2)).code == 250
        assert (len(kept(daemon)), len(kept(daemon, "ben"))) == (0, 2)
        # What takes no mail for other reasons does not cost the account its own.
        await asyncio.to_thread(daemon.command, "alias", "add", f"info@{DOMAIN}", ben)
        await forward(daemon, ANNA, f"info@{DOMAIN}", "--no-keep")
        await asyncio.to_thread(daemon.command, "alias", "block", f"info@{DOMAIN}")
        assert (await bring(daemon, 3)).code == 250
        assert (len(kept(daemon)), len(kept(daemon, "ben"))) == (1, 2)


async def test_l15_what_an_account_does_not_want_is_not_forwarded(make_daemon: DaemonMaker) -> None:
    async with Receiver() as mx:
        with make_daemon(settings=settings(mx) | {"limits": "trusted = []"}) as daemon:
            await forward(daemon, ANNA, BERT, "--no-keep", "--confirmed")
            await asyncio.to_thread(daemon.command, "sender", "block", ANNA, SENDER)
            assert (await bring(daemon, 1)).code == 550
            await asyncio.to_thread(daemon.command, "sender", "remove", ANNA, SENDER)
            # Whatever comes is junk now.
            await asyncio.to_thread(daemon.command, "junk", "set", ANNA, "--junk", "0.1", "--reject", "0")
            assert (await bring(daemon, 2)).code == 250
            junk = daemon.data / DOMAIN / "anna" / ".Junk"
            assert len([*(junk / "new").glob("*"), *(junk / "cur").glob("*")]) == 1
            assert daemon.metric("mailserver_queue_messages") == 0
            await asyncio.to_thread(daemon.stop)
    assert mx.messages == []
