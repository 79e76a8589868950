"""Mail from programs on this machine, over a real Unix socket; only who is at its other end is made up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.mime.addresses import parse_addresses
from mailserver.model.address import EmailAddress
from mailserver.model.events import Refused
from mailserver.smtp import local_header
from mailserver.smtp.compose import HeaderCompletion
from mailserver.smtp.local_header import LocalCompletion, split_list
from mailserver.smtp.settings import SendmailSettings
from tests.helpers.clock import FakeClock
from tests.helpers.smtp import Closed, Reply
from tests.helpers.smtp_service import DOMAIN, SmtpHarness

NAMES = {0: "root", 33: "www-data", 70: "backup", 1000: "anna", 1001: "stranger"}
FAR = "x@far.test"

Make = Callable[..., SmtpHarness]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """A server to which programs of user 33 connect, unless `uid` says otherwise."""
    server_uid = os.geteuid()

    def look_up(user: int | str) -> str:
        return NAMES.get(user, "") if isinstance(user, int) else user if user in NAMES.values() else ""

    def build(uid: int = 33, **arguments: Any) -> SmtpHarness:
        monkeypatch.setattr("mailserver.net.listener.peer_uid", lambda connection: uid)
        return SmtpHarness(path=tmp_path / "submit.sock", **arguments)

    monkeypatch.setattr("mailserver.net.users._look_up", look_up)
    assert server_uid not in (33, 70, 1000, 1001)
    return build


async def send(
    server: SmtpHarness, message: bytes, sender: str = "www-data@localhost", *recipients: str, parameters: str = ""
) -> Reply:
    """The reply to the first command that is refused, or to the message."""
    async with server.client("sendmail") as smtp:
        commands = ["EHLO x", f"MAIL FROM:<{sender}>{parameters}"]
        commands += [f"RCPT TO:<{one}>" for one in recipients or (f"anna@{DOMAIN}",)]
        for command in [*commands, "DATA"]:
            reply = await smtp.command(command)
            if reply.code >= 400:
                return reply
        return await smtp.command(message.rstrip(b"\r\n") + b"\r\n.\r\n")


def header(message: bytes, name: str) -> str:
    found = [line for line in message.decode().split("\r\n") if line.lower().startswith(f"{name}:".lower())]
    assert len(found) == 1, message
    return found[0].partition(":")[2].strip()


async def test_a_user_sends_as_name_and_domain_and_received_says_who(make: Make) -> None:
    async with make() as server:
        reply = await send(server, b"Subject: x\r\n\r\nbody\r\n")
        assert reply.code == 250, reply
        [message] = await server.mail()
    assert header(message, "From") == f"www-data@{DOMAIN}"
    assert header(message, "Received").startswith("from localhost (user www-data, uid:33)")
    assert message.endswith(b"\r\n\r\nbody\r\n")


async def test_it_is_of_the_users_address_in_the_queue_so_that_it_is_signed(make: Make) -> None:
    async with make() as server:
        assert (await send(server, b"\r\nx", "www-data@localhost", FAR)).code == 250
        [item] = server.queue.items
    assert item.envelope.account == f"www-data@{DOMAIN}"
    assert not item.envelope.own


async def test_reports_to_an_address_that_nobody_has_go_to_the_postmaster(make: Make) -> None:
    async with make() as server:
        await send(server, b"\r\nx", "www-data@localhost", FAR)
        await send(server, b"\r\nx", "", FAR)
        assert [item.envelope.sender and str(item.envelope.sender) for item in server.queue.items] == [
            f"postmaster@{DOMAIN}", None,
        ]  # fmt: skip
        assert header(server.queue.items[0].message, "From") == f"www-data@{DOMAIN}"
    async with make(1000) as server:
        await send(server, b"\r\nx", "anna@localhost", FAR)
        assert str(server.queue.items[0].envelope.sender) == f"anna@{DOMAIN}"


@pytest.mark.parametrize(
    ("sender", "author"),
    [
        (f"ben@{DOMAIN}", None), (f"postmaster@{DOMAIN}", None), (FAR, None), ("www-data@far.test", None),
        ("www-data@localhost", f"ben@{DOMAIN}"), ("www-data@localhost", f"Anna <anna@{DOMAIN}>"),
        ("www-data@localhost", FAR), ("www-data@localhost", f"www-data@{DOMAIN}, ben@{DOMAIN}"), ("", FAR),
    ],
)  # fmt: skip
async def test_a_user_is_nobody_else(make: Make, sender: str, author: str | None) -> None:
    async with make() as server:
        text = b"From: " + author.encode() + b"\r\n\r\nx" if author else b"\r\nx"
        reply = await send(server, text, sender)
        assert (reply.code, reply.status) == (553, "5.7.1")
        assert f"www-data may not write as {'x@far.test' if FAR in (sender, author) else ''}" in reply.text
        assert f"only as www-data@{DOMAIN}" in reply.text
        assert await server.count() == 0
        assert [event.peer for event in server.events if isinstance(event, Refused)] == ["uid:33"]


async def test_two_from_fields_and_unreadable_ones_are_refused(make: Make) -> None:
    async with make() as server:
        assert (await send(server, b"From: www-data\r\nFrom: www-data\r\n\r\nx")).code == 553
        assert (await send(server, b"From: John Doe\r\n\r\nx")).code == 553
        assert await server.count() == 0


async def test_root_and_the_servers_own_user_write_as_every_address_of_a_served_domain(make: Make) -> None:
    for uid in (0, os.geteuid()):
        async with make(uid) as server:
            text = f"From: Shop <shop@{DOMAIN}>\r\n\r\nx".encode()
            assert (await send(server, text, f"ben@{DOMAIN}")).code == 250
            reply = await send(server, text, FAR)
            assert (reply.code, reply.status) == (553, "5.7.1")
            assert "not served here" in reply.text
            assert (await send(server, b"From: x@far.test\r\n\r\nx", f"ben@{DOMAIN}")).code == 553


async def test_an_account_of_that_name_lends_its_addresses(make: Make) -> None:
    async with make(1000) as server:
        text = f"From: anna+list@{DOMAIN}\r\n\r\nx".encode()
        assert (await send(server, text, f"anna+list@{DOMAIN}")).code == 250
        assert (await send(server, b"\r\nx", f"postmaster@{DOMAIN}")).code == 250  # an alias that leads to anna
        assert (await send(server, b"\r\nx", f"ben@{DOMAIN}")).code == 553


async def test_users_are_given_other_addresses(make: Make) -> None:
    users = {"www-data": [f"web@{DOMAIN}", f"shop@{DOMAIN}"], "backup": [f"@{DOMAIN}"], "anna": ["a@far.test"]}
    async with make(sendmail={"users": users}) as server:
        assert (await send(server, b"\r\nx", f"shop@{DOMAIN}")).code == 250
        assert (await send(server, b"\r\nx")).code == 250
        assert (await send(server, b"\r\nx", f"www-data@{DOMAIN}")).code == 553
        assert [header(one, "From") for one in await server.mail()] == [f"shop@{DOMAIN}", f"web@{DOMAIN}"]
    async with make(70, sendmail={"users": users}) as server:
        assert (await send(server, b"\r\nx", f"anything@{DOMAIN}")).code == 250
        assert (await send(server, b"\r\nx", f"backup@{DOMAIN}")).code == 250
        assert (await send(server, b"\r\nx", FAR)).code == 553
    async with make(1000, sendmail={"users": users}) as server:
        with pytest.raises(Closed):
            async with server.client("sendmail") as smtp:
                assert smtp.greeting.code == 554
                assert "sendmail.users.anna" in smtp.greeting.text
                await smtp.command("EHLO x")


@pytest.mark.parametrize("wrong", [{"a": []}, {"a": ["nonsense"]}, {"a": ["@"]}, {"a": ["x@y z"]}])
def test_what_cannot_be_an_address_is_no_setting(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"address|domain|part"):
        SendmailSettings(users=wrong)


async def test_who_is_not_allowed_hears_it_at_once(make: Make) -> None:
    settings = {"allow": ["backup"]}
    async with make(sendmail=settings) as server, server.client("sendmail") as smtp:
        assert (smtp.greeting.code, smtp.greeting.status) == (554, "5.7.1")
        assert "sendmail.allow" in smtp.greeting.text
    for uid in (0, 70):
        async with make(uid, sendmail=settings) as server, server.client("sendmail") as smtp:
            assert smtp.greeting.code == 220


async def test_a_user_without_a_name_has_a_number(make: Make) -> None:
    async with make(4711) as server:
        assert (await send(server, b"\r\nx", "whoever@localhost")).code == 250
        assert header((await server.mail())[0], "From") == f"uid4711@{DOMAIN}"


async def test_names_without_a_domain_are_completed(make: Make) -> None:
    text = (
        b"From: root (Cron Daemon)\r\nTo: ben, \"a, b\" <cleo>, anna (c, d),\r\n anna@localhost, f@far.test\r\n"
        b"Cc: undisclosed-recipients:;\r\nReply-To: <anna>\r\nSubject: anna, ben\r\n\r\nTo: ben\r\n"
    )
    async with make() as server:
        assert (await send(server, text, "root@localhost", "ben@localhost", f"anna@mail.{DOMAIN}")).code == 250
        [message] = await server.mail("ben")
        assert len(await server.mail()) == 1
    assert header(message, "From") == f"Cron Daemon <www-data@{DOMAIN}>"
    assert header(message, "Reply-To") == f"anna@{DOMAIN}"
    assert header(message, "Cc") == "undisclosed-recipients:;"
    assert header(message, "Subject") == "anna, ben"
    written = message[message.index(b"To: ben") :].split(b"Cc:")[0].decode()
    assert written == (
        f'To: ben@{DOMAIN}, "a, b" <cleo@{DOMAIN}>, "c, d" <anna@{DOMAIN}>,\r\n anna@{DOMAIN}, f@far.test\r\n'
    )
    assert message.endswith(b"\r\n\r\nTo: ben\r\n")


async def test_what_root_says_without_a_domain_is_taken_as_it_is(make: Make) -> None:
    async with make(0) as server:
        assert (await send(server, b"From: smartd\r\nSender: root\r\n\r\nx", "smartd@localhost")).code == 250
        [message] = await server.mail()
    assert header(message, "From") == f"smartd@{DOMAIN}"
    assert header(message, "Sender") == f"root@{DOMAIN}"


@pytest.mark.parametrize("recipient", ["root@localhost", "backup@localhost", f"www-data@{DOMAIN}", "postmaster"])
async def test_users_of_the_machine_without_a_mailbox_are_the_postmasters_business(make: Make, recipient: str) -> None:
    async with make() as server:
        assert (await send(server, b"\r\nx", "www-data@localhost", recipient)).code == 250
        assert len(await server.mail()) == 1


async def test_a_stranger_is_told_nothing_of_them(make: Make) -> None:
    async with make() as server, server.client("smtp") as smtp:
        for command in ("EHLO x", "MAIL FROM:<>"):
            assert (await smtp.command(command)).code == 250
        assert (await smtp.command(f"RCPT TO:<root@{DOMAIN}>")).code == 550
        assert (await smtp.command(f"RCPT TO:<backup@{DOMAIN}>")).code == 550


async def test_unknown_recipients_are_refused_without_a_pause(make: Make) -> None:
    async with make(limits={"unknown_recipient_delay": 3600.0}) as server:
        reply = await send(server, b"\r\nx", "www-data@localhost", f"nobody.here@{DOMAIN}")
        assert (reply.code, reply.status) == (550, "5.1.1")


async def test_messages_a_day_are_counted_for_users_and_not_for_root(make: Make) -> None:
    clock = FakeClock()
    async with make(sendmail={"messages_per_day": 2}, clock=clock) as server:
        assert [(await send(server, b"\r\nx")).code for _ in range(4)] == [250, 250, 450, 450]
        clock.advance(3 * 86_400)
        assert (await send(server, b"\r\nx")).code == 250
    async with make(0, sendmail={"messages_per_day": 2}) as server:
        assert [(await send(server, b"\r\nx")).code for _ in range(4)] == [250] * 4


async def test_a_user_has_the_connections_of_one_address_and_no_rate(make: Make) -> None:
    async with make(limits={"connection_rate": [2, 900, 2700]}) as server:
        for _ in range(6):
            async with server.client("sendmail") as one:
                assert one.greeting.code == 220
    limits = {"connections_per_network": [2, 90, 270]}
    async with (
        make(limits=limits) as server, server.client("sendmail"), server.client("sendmail"),
        server.client("sendmail") as third,
    ):  # fmt: skip
        assert third.greeting.code == 421
    async with (
        make(0, limits=limits) as server, server.client("sendmail"), server.client("sendmail"),
        server.client("sendmail") as third,
    ):  # fmt: skip
        assert third.greeting.code == 220


async def test_a_whole_dialogue_may_come_at_once(make: Make) -> None:
    whole = (
        b"EHLO x\r\nMAIL FROM:<www-data@localhost>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\nSubject: 1\r\n\r\n.\r\n"
        b"MAIL FROM:<www-data@localhost>\r\nRCPT TO:<anna@localhost>\r\nDATA\r\nSubject: 2\r\n\r\n.\r\nQUIT\r\n"
    )
    async with make() as server, server.client("sendmail") as smtp:
        smtp.writer.write(whole)
        smtp.writer.write_eof()
        answered = (await smtp.reader.read()).decode()
        codes = [line[:3] for line in answered.splitlines() if line[3] == " "]
        assert codes == ["250", "250", "250", "354", "250", "250", "250", "354", "250", "221"]
        assert len(await server.mail()) == 2


async def test_a_message_whose_recipients_were_refused_is_not_read_as_commands(make: Make) -> None:
    whole = (
        b"EHLO x\r\nMAIL FROM:<www-data@localhost>\r\nRCPT TO:<gone@localhost>\r\nDATA\r\nRSET\r\nMAIL FROM:<>\r\n"
        b"RCPT TO:<anna@localhost>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n"
    )
    async with make() as server, server.client("sendmail") as smtp:
        smtp.writer.write(whole)
        answered = (await smtp.reader.read()).decode()
        assert answered.splitlines()[-1].startswith("503 ")
        assert await server.count() == 0


async def test_the_rest_is_as_for_all(make: Make) -> None:
    """Loops, sizes, no login, hooks."""
    async with make(sendmail={"max_size": 70_000}, limits={"received_hops": 3}) as server:
        reply = await send(server, b"Received: x\r\n" * 4 + b"\r\nx")
        assert (reply.code, reply.status) == (554, "5.4.6")
        assert (await send(server, b"\r\nx", parameters=" SIZE=70001")).status == "5.3.4"
        assert (await send(server, b"\r\n" + b"xxxxxxx\r\n" * 9000)).status == "5.3.4"
        async with server.client("sendmail") as smtp:
            shown = (await smtp.command("EHLO x")).text
            assert "AUTH" not in shown and "STARTTLS" not in shown and "SIZE 70000" in shown
            assert (await smtp.command("AUTH PLAIN AGFubmEAeA==")).code == 502


async def test_where_no_domain_is_served_nothing_is_taken(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.smtp.resolving.Resolver.home", lambda self: "")
    async with make() as server, server.client("sendmail") as smtp:
        assert smtp.greeting.code == 554
        assert "domain add" in smtp.greeting.text


async def test_an_alias_that_leads_to_a_user_is_that_users(make: Make) -> None:
    async with make() as server:
        server.aliases["news"] = [f"www-data@{DOMAIN}"]
        assert (await send(server, f"From: news@{DOMAIN}\r\n\r\nx".encode(), f"news@{DOMAIN}")).code == 250


@pytest.mark.parametrize(
    "value",
    [b"", b"a", b"a,b", b'"a,b",c', b"(a,b),c", b"(a(,),),b", b"<a,b>,c", b'"a\\",b",c', b"(", b'"', b"a<", b",,"],
)
def test_a_list_is_split_without_losing_anything(value: bytes) -> None:
    parts = list(split_list(value))
    assert b",".join(parts) == value
    expected = {b"a,b": 2, b'"a,b",c': 2, b"(a,b),c": 2, b"(a(,),),b": 2, b"<a,b>,c": 2, b'"a\\",b",c': 2, b",,": 3}
    assert len(parts) == expected.get(value, 1)


@pytest.mark.parametrize("piece", [b"a,", b",", b"ben@localhost,", b"a b ", b'"'])
@pytest.mark.parametrize("each", [1 << 20, 60_000])
def test_completing_a_header_has_a_bound(piece: bytes, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user of the machine may send one, and all others wait while it is looked at."""
    read = []

    def counting(value: bytes) -> Any:
        read.append(len(value))
        return parse(value)

    class Users:
        def is_here(self, domain: str) -> bool:
            return domain == "localhost"

        def recipient(self, user: Any, local: str) -> EmailAddress:
            return EmailAddress(local, DOMAIN)

    parse = parse_addresses
    monkeypatch.setattr(local_header, "parse_addresses", counting)
    users: Any = Users()
    editor = LocalCompletion(users, users, HeaderCompletion("mail.example.test", None, 0.0))
    field = b"To: " + piece * (each // len(piece)) + b"\r\n"
    header = b"Date: x\r\nMessage-ID: <a@b>\r\n" + field * ((1 << 20) // each) + b"\r\n"
    assert len(editor.edit(header)) >= len(header)
    assert len(read) <= 2000 and sum(read) <= 128 << 10 and max(read, default=0) <= 2000
