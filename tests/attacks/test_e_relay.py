"""ATTACKS E: addresses and relaying."""

from __future__ import annotations

import base64

import pytest

from mailserver.wire.smtp import BadArgument, parse_mail, parse_rcpt
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.smtp_service import DOMAIN, PASSWORD, SmtpHarness

HOST = f"mail.{DOMAIN}"
ANNA = f"anna@{DOMAIN}"

# nmap's smtp-open-relay: (MAIL FROM, RCPT TO).
NMAP = [
    ("", "relay@far.test"), ("x@far.test", "relay@far.test"), (f"x@{HOST}", "relay@far.test"),
    ("x@[127.0.0.1]", "relay@far.test"), (f"x@{HOST}", "relay%far.test@[127.0.0.1]"),
    (f"x@{HOST}", f"relay%far.test@{HOST}"), (f"x@{HOST}", '"relay@far.test"'),
    (f"x@{HOST}", '"relay%far.test"'), (f"x@{HOST}", "relay@far.test@[127.0.0.1]"),
    (f"x@{HOST}", '"relay@far.test"@[127.0.0.1]'), (f"x@{HOST}", f"relay@far.test@{HOST}"),
    (f"x@{HOST}", "@[127.0.0.1]:relay@far.test"), (f"x@{HOST}", f"@{HOST}:relay@far.test"),
    (f"x@{HOST}", "far.test!relay"), (f"x@{HOST}", "far.test!relay@[127.0.0.1]"),
    (f"x@{HOST}", f"far.test!relay@{HOST}"),
]  # fmt: skip

# Further forms, all of which must be refused.
FORMS = [
    f'"u@far.test"@{DOMAIN}', f"u%far.test@{DOMAIN}", f"far.test!u@{DOMAIN}", f"@{DOMAIN},@x.test:u@far.test",
    f"u@far.test@{DOMAIN}", "u@[127.0.0.1]", "u@[2130706433]", "u@[IPv6:::1]", f"u@{DOMAIN}.", f"u@.{DOMAIN}",
    f"u＠{DOMAIN}", f"anna＠{DOMAIN}", f"{ANNA} ", f" {ANNA}", f"anna(comment)@{DOMAIN}", f"anna@{DOMAIN}(comment)",
    f"anna@{DOMAIN},u@far.test", f"anna@{DOMAIN}>,<u@far.test", "u@far.test\u00a0", f"anna@{DOMAIN}\\", "u",
    '"u@far.test',
    f'"anna"x@{DOMAIN}', f"anna@{DOMAIN}%far.test", "@far.test", f"anna@{DOMAIN}:u@far.test",
]  # fmt: skip


async def _ehlo(smtp: AsyncSmtp) -> None:
    assert (await smtp.command("EHLO client.test")).code == 250


@pytest.mark.parametrize(("sender", "recipient"), NMAP)
async def test_e01_nmaps_pairs_are_refused(sender: str, recipient: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _ehlo(smtp)
        assert (await smtp.command(f"MAIL FROM:<{sender}>")).code == 250
        reply = await smtp.command(f"RCPT TO:<{recipient}>")
        assert reply.code in (501, 550), reply
        assert (await smtp.command("DATA")).code == 503
        assert await server.count() == 0


@pytest.mark.parametrize("smtputf8", ["", " SMTPUTF8"])
@pytest.mark.parametrize("recipient", FORMS)
async def test_e02_further_forms_are_refused(recipient: str, smtputf8: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _ehlo(smtp)
        assert (await smtp.command(f"MAIL FROM:<x@far.test>{smtputf8}")).code == 250
        reply = await smtp.command(f"RCPT TO:<{recipient}>")
        assert 500 <= reply.code <= 559, reply
        assert (await smtp.command("DATA")).code == 503


@pytest.mark.parametrize(
    "recipient",
    [f"anna@{DOMAIN.upper()}", f"ANNA@{DOMAIN}", f'"anna"@{DOMAIN}', f"@relay.test,@x.test:{ANNA}",
     f"anna+tag@{DOMAIN}", "postmaster", "Postmaster", f"POSTMASTER@{DOMAIN}", f"abuse@{DOMAIN}"],
)  # fmt: skip
async def test_e02_forms_of_our_own_addresses_work(recipient: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _ehlo(smtp)
        assert (await smtp.message("x@far.test", [recipient], b"A: b\r\n\r\nx\r\n")).code == 250
        assert len(await server.mail("anna")) == 1


async def _submit(smtp: AsyncSmtp, sender: str, header: str) -> int:
    return (await smtp.message(sender, ["x@far.test"], f"{header}\r\n\r\ntext\r\n".encode())).code


@pytest.mark.parametrize(
    ("sender", "header", "code"),
    [
        (ANNA, f"From: {ANNA}", 250),
        (ANNA, f"From: Anna <{ANNA}>", 250),
        (ANNA, f"From: Anna <ANNA@{DOMAIN.upper()}>", 250),
        (f"anna+shop@{DOMAIN}", f"From: Anna <anna+shop@{DOMAIN}>\r\nSender: {ANNA}", 250),
        (ANNA, f"From: postmaster@{DOMAIN}", 250),
        ("", f"From: {ANNA}", 250),
        (f"ben@{DOMAIN}", f"From: {ANNA}", 553),
        ("x@far.test", f"From: {ANNA}", 553),
        (ANNA, f"From: ben@{DOMAIN}", 553),
        (ANNA, f"From: {ANNA} <ben@{DOMAIN}>", 553),
        (ANNA, f"From: {ANNA}\r\nSender: ben@{DOMAIN}", 553),
        (ANNA, f"From: {ANNA}, ben@{DOMAIN}", 553),
        (ANNA, f"From: {ANNA}\r\nFrom: ben@{DOMAIN}", 553),
        (ANNA, f"From: {ANNA}\r\nFrom: {ANNA}", 553),
        (ANNA, f"From: {ANNA}\r\nfrom : ben@{DOMAIN}", 553),
        (ANNA, f"from\t: ben@{DOMAIN}", 553),
        (ANNA, "From: no address", 553),
        (ANNA, "From:", 553),
        (ANNA, f"From: group: {ANNA};", 553),
        (ANNA, f"From: {ANNA}\r\n ,ben@{DOMAIN}", 553),
        (ANNA, f"From: ben@{DOMAIN}, {ANNA}", 553),
        (ANNA, f"From: {ANNA})ben@{DOMAIN}", 553),
        (ANNA, f"Subject: x\r\nFrom: {ANNA}\r\nResent-From: {ANNA}", 250),
    ],
)
async def test_e03_the_sender_is_the_users_own(sender: str, header: str, code: int) -> None:
    plain = base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode()).decode()
    async with SmtpHarness() as server, server.client("submission") as smtp:
        server.aliases["postmaster"] = [ANNA]
        await _ehlo(smtp)
        assert (await smtp.command(f"AUTH PLAIN {plain}")).code == 235
        assert await _submit(smtp, sender, header) == code
        assert len(server.queue.items) == (code == 250)


async def test_e03_nobody_sends_without_a_login() -> None:
    async with SmtpHarness() as server, server.client("submission") as smtp:
        await _ehlo(smtp)
        for sender in ("", ANNA, "x@far.test"):
            assert (await smtp.command(f"MAIL FROM:<{sender}>")).code == 530
        assert (await smtp.command(f"RCPT TO:<{ANNA}>")).code == 503


@pytest.mark.parametrize(
    "local",
    [
        '"../../x"',
        '"a/b"',
        '"$(id)"',
        '"|sh"',
        "`id`",
        "${run{x}}",
        '"a\\\\b"',
        '"; rm -rf"',
        "/etc/passwd",
        "..",
        '".."',
        '"anna@x"',
    ],
)
async def test_e04_local_parts_are_only_data(local: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _ehlo(smtp)
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
        reply = await smtp.command(f"RCPT TO:<{local}@{DOMAIN}>")
        assert reply.code in (501, 550)
        assert await server.store.accounts() == []
        # As a sender they are kept as they are, quoted in Return-Path.
        assert (await smtp.command("RSET")).code == 250
        if (await smtp.command(f"MAIL FROM:<{local}@far.test>")).code == 250:
            assert (await smtp.command(f"RCPT TO:<{ANNA}>")).code == 250
            assert (await smtp.command("DATA")).code == 354
            assert (await smtp.command(b"A: b\r\n\r\n.\r\n")).code == 250
            (stored,) = await server.mail("anna")
            assert stored.count(b"\r\n\r\n") == 1 and stored.startswith(b"Return-Path: <")


async def test_e04_a_line_end_in_a_local_part() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        await _ehlo(smtp)
        smtp.writer.write(b'MAIL FROM:<"a\r\nb"@far.test>\r\n')
        assert [(await smtp.reply()).code for _ in range(2)] == [501, 500]


@pytest.mark.parametrize(
    ("domain", "same"),
    [
        ("bücher.test", "xn--bcher-kva.test"), ("BÜCHER.test", "xn--bcher-kva.test"),
        ("xn--bcher-kva.TEST", "xn--bcher-kva.test"),
    ],
)  # fmt: skip
def test_e07_spellings_of_a_domain_are_one(domain: str, same: str) -> None:
    arguments = parse_mail(f"FROM:<x@{domain}> SMTPUTF8".encode())
    assert arguments.sender is not None and arguments.sender.domain == same
    recipient = parse_rcpt(f"TO:<x@{domain}>".encode(), smtputf8=True).address
    assert recipient is not None and recipient.domain == same


@pytest.mark.parametrize(
    "domain",
    ["xn--a.test", "xn--.test", "xn--\u00fc.test", "a" * 64 + ".test", "ü" * 10_000 + ".test", "a." * 130 + "test",
     "-a.test", "a..test", "", ".", "a\u3002test\u3002", "xn--bcher-kva\u3002test.", "faß\u200d.\u200c"],
)  # fmt: skip
def test_e07_domains_that_are_none(domain: str) -> None:
    with pytest.raises(BadArgument) as caught:
        parse_rcpt(f"TO:<x@{domain}>".encode(), smtputf8=True)
    assert caught.value.reply.code == 501


def test_e07_the_longest_label_works() -> None:
    address = parse_rcpt(b"TO:<x@" + b"a" * 63 + b".test>").address
    assert address is not None and len(address.domain) == 68
