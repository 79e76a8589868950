"""The limits of rate_limit, each reached; nobody who is trusted is ever counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import ConnectContext, MailContext, RcptContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.ids import AccountId
from mailserver.model.verdict import ACCEPT, Defer, Verdict
from mailserver.net.settings import LimitsSettings
from tests.helpers.plugins import Server, make_session, running

SMALL = {
    "rate_limit": {
        "messages_per_minute": 3, "recipients_per_minute": 5, "unknown_recipients_per_day": 4,
        "account_messages_per_day": 3, "account_recipients_per_day": 5,
    }
}  # fmt: skip
ANNA = AccountId("anna@example.test")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, sections=SMALL, limits=LimitsSettings(trusted=["198.51.100.0/24"])) as server:
        yield server


async def mail(server: Server, **session: Any) -> Verdict:
    return await server.hooks.mail(MailContext(session=make_session(**session), envelope=Envelope(sender=None)))


async def rcpt(server: Server, known: bool = True, **session: Any) -> Verdict:
    recipient = Recipient(address=EmailAddress("anna", "example.test"))
    return await server.hooks.rcpt(
        RcptContext(
            session=make_session(**session), envelope=Envelope(sender=None), recipient=recipient, known=known
        )
    )


async def connect(server: Server, **session: Any) -> Verdict:
    return await server.hooks.connect(ConnectContext(session=make_session(**session)))


def code(verdict: Verdict) -> int:
    return verdict.reply.code if isinstance(verdict, Defer) else 250


async def test_messages_of_a_network(server: Server) -> None:
    assert [code(await mail(server)) for _ in range(5)] == [250, 250, 250, 450, 450]
    assert await mail(server, peer="203.0.113.9") is ACCEPT
    server.clock.advance(120)
    assert await mail(server) is ACCEPT


async def test_wider_networks_may_send_more_but_not_everything(server: Server) -> None:
    # 192.0.2.0/26 is one network of 64 addresses: three times one address's share.
    codes = [code(await mail(server, peer=f"192.0.2.{host}")) for host in range(1, 15)]
    assert codes == [250] * 9 + [450] * 5
    codes = [code(await mail(server, peer=f"2001:db8:0:{net:x}::1")) for net in range(12)]
    assert codes == [250] * 9 + [450] * 3


async def test_recipients_of_a_network(server: Server) -> None:
    assert [code(await rcpt(server)) for _ in range(6)] == [250] * 5 + [450]


async def test_unknown_recipients_end_the_connection_and_the_day(server: Server) -> None:
    codes = [code(await rcpt(server, known=False)) for _ in range(4)]
    assert codes == [250, 250, 250, 421]
    last = await rcpt(server, known=False)
    assert isinstance(last, Defer)
    assert last.close
    assert code(await connect(server)) == 421
    assert await connect(server, service="imap") is ACCEPT
    assert await connect(server, peer="203.0.113.9") is ACCEPT
    server.clock.advance(2 * 86_400)
    assert await connect(server) is ACCEPT


async def test_failed_logins_close_the_door_of_all_services_for_users(server: Server) -> None:
    for _ in range(10):
        attempt = await server.failures.begin("192.0.2.7", "anna@example.test")
        assert attempt is not None
        with attempt:
            attempt.fail()
    assert code(await connect(server, service="submission")) == 421
    assert code(await connect(server, service="imap")) == 421
    assert await connect(server, service="smtp") is ACCEPT


async def test_an_account_is_limited_wherever_it_comes_from(server: Server) -> None:
    peers = ["192.0.2.7", "203.0.113.1", "2001:db8::1", "192.0.2.8"]
    codes = [code(await mail(server, peer=peer, service="submission", account=ANNA)) for peer in peers]
    assert codes == [250, 250, 250, 450]
    assert await mail(server, service="submission", account=AccountId("bob@example.test")) is ACCEPT
    codes = [code(await rcpt(server, service="submission", account=ANNA)) for _ in range(6)]
    assert codes == [250] * 5 + [450]


async def test_trusted_clients_are_never_touched(server: Server) -> None:
    for session in ({"peer": "192.0.2.99", "trusted": True}, {"peer": "2001:db8::1", "trusted": True}):
        for _ in range(20):
            assert await mail(server, **session) is ACCEPT
            assert await mail(server, account=ANNA, **session) is ACCEPT
            assert await rcpt(server, known=False, **session) is ACCEPT
        assert await connect(server, **session) is ACCEPT
    assert await mail(server, peer="192.0.2.98") is ACCEPT
