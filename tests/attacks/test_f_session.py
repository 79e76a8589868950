"""ATTACKS F04, F07, D10: what is refused while the sender listens, so that no report about it goes to anybody."""

from __future__ import annotations

import pytest

from mailserver.mime.dkim.signing import author_domain
from mailserver.model.ids import AccountId
from tests.helpers.smtp import AsyncSmtp
from tests.helpers.smtp_service import DOMAIN, SmtpHarness

ANNA = f"anna@{DOMAIN}"
MESSAGE = b"From: x@far.test\r\n\r\ntext\r\n"


async def named(smtp: AsyncSmtp, recipient: str, parameters: str = "") -> tuple[int, str]:
    """What RCPT is answered."""
    assert (await smtp.command("EHLO client.test")).code == 250
    assert (await smtp.command(f"MAIL FROM:<x@far.test>{parameters}")).code == 250
    reply = await smtp.command(f"RCPT TO:<{recipient}>")
    return reply.code, reply.status


async def test_f04_who_cannot_get_mail_is_refused_in_the_session() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert await named(smtp, f"nobody@{DOMAIN}") == (550, "5.1.1")
        account = await server.store.open_account(AccountId(ANNA))
        await account.set_quota(1000, 0)
        assert await named(smtp, ANNA, " SIZE=2000") == (452, "4.2.2")
        # Who does not say the size hears it at the end.
        assert (await smtp.command("RSET")).code == 250
        reply = await smtp.message("x@far.test", [ANNA], MESSAGE + b"text\r\n" * 500)
        assert (reply.code, reply.status) == (452, "4.2.2")
        assert server.queue.items == [] and await server.mail("anna") == []


async def test_f07_two_addresses_that_forward_to_each_other() -> None:
    """Each adds Delivered-To; the first that sees itself says no, and the other one reports it once."""
    here, there = SmtpHarness(hostname="a.test"), SmtpHarness(hostname="b.test")
    async with here, there, here.client() as to_here, there.client() as to_there:
        here.aliases["one"], there.aliases["two"] = ["two@far.test"], ["one@far.test"]
        assert (await to_here.command("EHLO client.test")).code == 250
        assert (await to_there.command("EHLO a.test")).code == 250
        assert (await to_here.message("x@far.test", [f"one@{DOMAIN}"], MESSAGE)).code == 250
        (first,) = here.queue.items
        assert (await to_there.message("x@far.test", [f"two@{DOMAIN}"], first.message)).code == 250
        (second,) = there.queue.items
        reply = await to_here.message("x@far.test", [f"one@{DOMAIN}"], second.message)
        assert (reply.code, reply.status) == (554, "5.4.6")
        assert len(here.queue.items) == len(there.queue.items) == 1


@pytest.mark.parametrize(
    "local", ["=?utf-8?q?anna?=", f"=?us-ascii?q?anna=40{DOMAIN}?=", "=?utf-8?b?YW5uYQ==?="]
)
async def test_d10_an_address_is_not_decoded(local: str) -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert await named(smtp, f"{local}@{DOMAIN}") == (550, "5.1.1")
        assert server.queue.items == []


@pytest.mark.parametrize(
    ("author", "domain"),
    [
        ("=?utf-8?q?admin?=@example.com", "example.com"),
        (f"=?utf-8?q?boss=40{DOMAIN}?=@evil.test", "evil.test"),
        (f"=?utf-8?q?boss=40{DOMAIN}?= <x@evil.test>", "evil.test"),
        (f"=?x?q?boss=40{DOMAIN}=3E_?= <x@evil.test>", "evil.test"),
        (f"=?utf-8?q?boss=40{DOMAIN}?=", None),
    ],
)
def test_d10_nobody_signs_for_a_domain_that_only_decoding_shows(author: str, domain: str | None) -> None:
    assert author_domain(f"From: {author}\r\nSubject: x\r\n\r\n".encode()) == domain
