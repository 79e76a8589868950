"""ATTACKS L15: an alias forwards to nobody who did not agree, through the whole server and its command line."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import signal

from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, Daemon
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import soon

INFO, BERT = f"info@{DOMAIN}", "bert@far.test"
ANSWER = b"From: <bert@home.test>\r\nSubject: Re: Do you want it?\r\n%b\r\nYes please.\r\n"


def bring(daemon: Daemon, sender: str, to: str, content: bytes) -> Reply:
    """The first refusal, or the last reply."""
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        smtp.command(f"MAIL FROM:<{sender}>")
        reply = smtp.command(f"RCPT TO:<{to}>")
        if reply.code == 250:
            assert smtp.command("DATA").code == 354
            smtp.send(content + b".\r\n")
            reply = smtp.reply()
        return reply


async def arrived(mx: Receiver, count: int, daemon: Daemon) -> None:
    await soon(lambda: len(mx.messages) >= count, lambda: daemon.log_text()[-4000:])


async def test_l15_the_target_of_an_alias_agrees_by_answering(make_daemon: DaemonMaker) -> None:
    async with Receiver() as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]'}
        with make_daemon(settings=settings) as daemon:
            await asyncio.to_thread(daemon.command, "alias", "add", INFO, BERT)
            await arrived(mx, 1, daemon)
            question = email.message_from_bytes(mx.messages[0].content, policy=email.policy.default)
            assert re.match(r"FROM:<postmaster@example\.test>", mx.messages[0].mail)
            assert mx.messages[0].recipients[0].startswith(f"TO:<{BERT}>")
            assert question["DKIM-Signature"]
            token = str(question["Reply-To"]).strip("<>")

            hello = b"From: <x@stranger.test>\r\nSubject: hello\r\n\r\nHello.\r\n"
            reply = await asyncio.to_thread(bring, daemon, "x@stranger.test", INFO, hello)
            assert (reply.code, reply.status) == (450, "4.2.1")

            # A program answers, and a server that could not deliver the letter; then he does.
            vacation = ANSWER % b"Auto-Submitted: auto-replied\r\n"
            assert (await asyncio.to_thread(bring, daemon, BERT, token, vacation)).code == 250
            assert (await asyncio.to_thread(bring, daemon, "", token, ANSWER % b"")).code == 250
            (row,) = await asyncio.to_thread(daemon.command_json, "alias", "list")
            assert [one["target"] for one in row["pending"]] == [BERT]
            assert (await asyncio.to_thread(bring, daemon, "bert@home.test", token, ANSWER % b"")).code == 250
            (row,) = await asyncio.to_thread(daemon.command_json, "alias", "list")
            assert row["pending"] == []
            assert (await asyncio.to_thread(bring, daemon, "bert@home.test", token, ANSWER % b"")).code == 550

            await arrived(mx, 2, daemon)
            assert b"is forwarded to you from now on" in mx.messages[1].content
            assert (await asyncio.to_thread(bring, daemon, "x@stranger.test", INFO, hello)).code == 250
            await arrived(mx, 3, daemon)
            assert mx.messages[2].recipients[0].startswith(f"TO:<{BERT}>")
            assert f"Delivered-To: {INFO}\r\n".encode() in mx.messages[2].content
            # The receiver goes on answering meanwhile.
            await asyncio.to_thread(daemon.stop)


async def test_l15_alias_added_while_the_server_is_down_is_asked_when_it_starts(make_daemon: DaemonMaker) -> None:
    async with Receiver() as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true'}
        with make_daemon(settings=settings) as daemon:
            await asyncio.to_thread(daemon.stop)
            await asyncio.to_thread(daemon.command, "alias", "add", INFO, BERT)
            await asyncio.to_thread(daemon.start)
            await arrived(mx, 1, daemon)
            token = re.search(rb"confirm\+\S+@example\.test", mx.messages[0].content)
            assert token is not None
            answered = await asyncio.to_thread(bring, daemon, "bert@home.test", token[0].decode(), ANSWER % b"")
            assert answered.code == 250
            await arrived(mx, 2, daemon)
            await asyncio.to_thread(daemon.stop)


async def test_l15_so_does_that_of_a_catch_all(make_daemon: DaemonMaker) -> None:
    """And a no, or what cannot be read, is no yes."""
    async with Receiver() as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]'}
        with make_daemon(settings=settings) as daemon:
            text = await asyncio.to_thread(daemon.command, "domain", "add", "new.test", "--catch-all", BERT)
            assert "gets no mail of unknown addresses at new.test before" in text
            await arrived(mx, 1, daemon)
            assert b"unknown addresses at new.test" in mx.messages[0].content
            token = re.search(rb"confirm\+\S+@new\.test", mx.messages[0].content)
            assert token is not None
            to = token[0].decode()
            hello = b"From: <x@stranger.test>\r\nSubject: hello\r\n\r\nHello.\r\n"
            reply = await asyncio.to_thread(bring, daemon, "x@stranger.test", "any@new.test", hello)
            assert (reply.code, reply.status) == (450, "4.2.1")

            unclear = b"From: <b@home.test>\r\nSubject: Re\r\n\r\nWho are you?\r\n"
            assert (await asyncio.to_thread(bring, daemon, "b@home.test", to, unclear)).code == 250
            await arrived(mx, 2, daemon)
            no = b"From: <b@home.test>\r\nSubject: Re\r\n\r\nNo!\r\n\r\n> YES\r\n"
            assert (await asyncio.to_thread(bring, daemon, "b@home.test", to, no)).code == 250
            assert (await asyncio.to_thread(bring, daemon, "b@home.test", to, ANSWER % b"")).code == 550
            assert "said no" in await asyncio.to_thread(daemon.command, "alias", "list")
            reply = await asyncio.to_thread(bring, daemon, "x@stranger.test", "any@new.test", hello)
            assert (reply.code, reply.status) == (450, "4.2.1")

            await asyncio.to_thread(daemon.command, "alias", "confirm", "catch-all@new.test", BERT)
            assert (await asyncio.to_thread(bring, daemon, "x@stranger.test", "any@new.test", hello)).code == 250
            await arrived(mx, 3, daemon)
            await asyncio.to_thread(daemon.command, "domain", "remove", "new.test")
            assert await asyncio.to_thread(daemon.command_json, "alias", "list") == []
            # The receiver goes on answering meanwhile.
            await asyncio.to_thread(daemon.stop)
    assert b"Delivered-To: any@new.test\r\n" in mx.messages[-1].content


async def test_l15_who_was_ours_is_asked_when_his_domain_goes(make_daemon: DaemonMaker) -> None:
    async with Receiver() as mx:
        settings = {"queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]'}
        with make_daemon(settings=settings) as daemon:
            await asyncio.to_thread(daemon.command, "domain", "add", "other.test", "--catch-all", f"anna@{DOMAIN}")
            await asyncio.to_thread(daemon.command, "alias", "add", INFO, "ben@other.test")
            text = await asyncio.to_thread(daemon.command, "domain", "remove", "other.test")
            assert f"ben@other.test was asked to agree, and gets no mail of {INFO} before" in text
            await arrived(mx, 1, daemon)
            assert b"Subject: Do you want the mail for " + INFO.encode() in mx.messages[0].content
            hello = b"From: <x@stranger.test>\r\nSubject: hello\r\n\r\nHello.\r\n"
            reply = await asyncio.to_thread(bring, daemon, "x@stranger.test", INFO, hello)
            assert (reply.code, reply.status) == (450, "4.2.1")
            await asyncio.to_thread(daemon.stop)


async def test_l15_nobody_is_asked_for_a_catch_all_of_ours_or_confirmed(make_daemon: DaemonMaker) -> None:
    with make_daemon() as daemon:
        for name, arguments in {
            "a.test": ["--catch-all", f"anna@{DOMAIN}"], "b.test": ["--catch-all", "x@b.test"],
            "c.test": ["--catch-all", BERT, "--confirmed"],
        }.items():  # fmt: skip
            assert "agree" not in await asyncio.to_thread(daemon.command, "domain", "add", name, *arguments)
        rows = await asyncio.to_thread(daemon.command_json, "domain", "list")
    found = {row["domain"]: row["catch_all"] for row in rows}
    assert found == {DOMAIN: "", "a.test": f"anna@{DOMAIN}", "b.test": "x@b.test", "c.test": "catch-all@c.test"}


async def test_l15_so_do_those_that_settings_name(make_daemon: DaemonMaker) -> None:
    """catch_all in the file, and domain add --postmaster: asked at the start, and at a reload."""
    async with Receiver() as mx:
        settings = {
            "queue": f'relay = "127.0.0.1:{mx.port}"\nallow_private_addresses = true\nretry = ["1h"]',
            f'domains."{DOMAIN}"': f'catch_all = "{BERT}"',
        }
        with make_daemon(settings=settings) as daemon:
            await arrived(mx, 1, daemon)
            assert b"unknown addresses at example.test" in mx.messages[0].content
            hello = b"From: <x@stranger.test>\r\nSubject: hello\r\n\r\nHello.\r\n"
            reply = await asyncio.to_thread(bring, daemon, "x@stranger.test", f"any@{DOMAIN}", hello)
            assert (reply.code, reply.status) == (450, "4.2.1")
            token = re.search(rb"confirm\+\S+@example\.test", mx.messages[0].content)
            assert token is not None
            answered = await asyncio.to_thread(bring, daemon, "bert@home.test", token[0].decode(), ANSWER % b"")
            assert answered.code == 250
            await arrived(mx, 2, daemon)
            assert (await asyncio.to_thread(bring, daemon, "x@stranger.test", f"any@{DOMAIN}", hello)).code == 250
            await arrived(mx, 3, daemon)

            text = await asyncio.to_thread(daemon.command, "domain", "add", "new.test", "--postmaster", "pm@far.test")
            assert "gets no mail of postmaster at new.test before" in text
            await arrived(mx, 4, daemon)
            assert (await asyncio.to_thread(bring, daemon, "x@stranger.test", "abuse@new.test", hello)).code == 250
            daemon.write_config(settings | {f'domains."{DOMAIN}"': 'catch_all = "other@far.test"'})
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            await arrived(mx, 5, daemon)
            assert mx.messages[4].recipients[0].startswith("TO:<other@far.test>")
            await asyncio.to_thread(daemon.stop)
    # The one for abuse went to an account here.
    assert len(mx.messages) == 5
