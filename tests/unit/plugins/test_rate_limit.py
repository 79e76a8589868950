"""The limits of rate_limit, each reached; nobody who is trusted is ever counted."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import ConnectContext, MailContext, RcptContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import Event, SendingLimited
from mailserver.model.ids import AccountId
from mailserver.model.verdict import ACCEPT, Defer, Verdict
from mailserver.net.settings import LimitsSettings
from mailserver.plugins.rate_limit import database
from mailserver.plugins.rate_limit.ledger import open_ledger
from mailserver.plugins.rate_limit.settings import AccountLimits, RateLimitSettings
from tests.helpers.clock import FakeClock
from tests.helpers.plugins import Server, alone, make_session, running

SMALL = {
    "rate_limit": {
        "messages_per_minute": 3, "recipients_per_minute": 5, "unknown_recipients_per_day": 4,
        "account_messages_per_day": 3, "account_recipients_per_day": 5,
    }
}  # fmt: skip
ANNA, BOB = AccountId("anna@example.test"), AccountId("bob@example.test")
DAY = 86_400.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    sections = alone("accounts", "aliases", **SMALL)
    async with running(tmp_path, sections=sections, limits=LimitsSettings(trusted=["198.51.100.0/24"])) as server:
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
    assert codes == [250, 250, 250, 451]
    assert await mail(server, service="submission", account=BOB) is ACCEPT
    codes = [code(await rcpt(server, service="submission", account=ANNA)) for _ in range(6)]
    assert codes == [250] * 5 + [451]


async def send(server: Server, to: str, account: AccountId = ANNA) -> int:
    """The code of RCPT to somebody elsewhere."""
    context = RcptContext(
        session=make_session(service="submission", account=account), envelope=Envelope(sender=None),
        recipient=Recipient(address=EmailAddress.parse(to)), known=True, local=False,
    )  # fmt: skip
    return code(await server.hooks.rcpt(context))


def limits(**settings: Any) -> dict[str, Any]:
    return {"rate_limit": {"account_recipients_per_day": 50, "account_new_recipients_per_day": 3, **settings}}


async def test_new_recipients_of_an_account(tmp_path: Path) -> None:
    async with running(tmp_path, sections=limits()) as server:
        assert [await send(server, f"{name}@far.test") for name in "abcd"] == [250, 250, 250, 451]
        # Those that it knows, our own users, and what others do are another matter.
        assert [await send(server, f"{name}@far.test") for name in "aBc"] == [250] * 3
        assert code(await rcpt(server, service="submission", account=ANNA)) == 250
        assert await send(server, "d@far.test", BOB) == 250
        server.clock.advance(DAY + 3700)
        assert [await send(server, f"{name}@far.test") for name in "abcdefg"] == [250] * 6 + [451]


async def test_a_day_goes_on_after_a_restart(tmp_path: Path) -> None:
    told: list[Event] = []
    sections = limits(account_messages_per_day=2)
    async with running(tmp_path, sections=sections) as server:
        server.told.append(told.append)
        assert [await send(server, f"{name}@far.test") for name in "abc"] == [250] * 3
        assert [code(await mail(server, service="submission", account=ANNA)) for _ in range(4)] == [250, 250, 451, 451]
        now = server.clock.time()
    for later, codes, message in ((3600.0, [250, 451], 451), (DAY + 3700, [250, 250], 250)):
        async with running(tmp_path, sections=sections) as server:
            server.told.append(told.append)
            server.clock.advance(later)
            assert [await send(server, f"{name}@far.test") for name in "ad"] == codes
            assert code(await mail(server, service="submission", account=ANNA)) == message
    assert server.clock.time() - now == DAY + 3700
    # Once for each limit and day, and not again because of the restart.
    assert [event.limit for event in told if isinstance(event, SendingLimited)] == [
        "account_messages_per_day", "account_new_recipients_per_day",
    ]  # fmt: skip


async def test_exceptions_for_accounts(tmp_path: Path) -> None:
    more = {"Anna@Example.test": {"messages_per_day": 4, "new_recipients_per_day": 5, "recipients_per_day": 6}}
    async with running(tmp_path, sections=limits(account_messages_per_day=2, account_exceptions=more)) as server:
        assert [await send(server, f"{name}@far.test") for name in "abcdef"] == [250] * 5 + [451]
        assert [await send(server, "a@far.test") for _ in range(2)] == [250, 451]
        codes = [code(await mail(server, service="submission", account=ANNA)) for _ in range(5)]
        assert codes == [250] * 4 + [451]
        assert [await send(server, f"{name}@far.test", BOB) for name in "abcd"] == [250] * 3 + [451]


def test_exceptions_are_for_addresses() -> None:
    with pytest.raises(ValueError, match="an account is written as its address"):
        RateLimitSettings(account_exceptions={"anna": AccountLimits()})


async def test_the_addresses_of_an_account_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MOST_KNOWN", 4)
    monkeypatch.setattr("mailserver.plugins.rate_limit.ledger._MOST_CACHED", 2)
    clock = FakeClock()
    async with open_ledger(tmp_path / "sending.db", clock) as ledger:
        for name in "abcdef":
            clock.advance(1)
            ledger.remember(ANNA, f"{name}@far.test")
        await ledger.flush()
        clock.advance(DAY + 1)
        assert ledger.new(ANNA) == 0
        # Used again before the others, so the last to go.
        assert [await ledger.knows(ANNA, f"{name}@far.test") for name in "abcdef"] == [False] * 2 + [True] * 4
        assert [await ledger.knows(ANNA, f"{name}@far.test") for name in "cdef"] == [True] * 4
        assert not await ledger.knows(BOB, "c@far.test")


async def test_without_a_disk_the_limits_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, sections=limits(account_messages_per_day=2)) as server:
        monkeypatch.setattr(database, "write", _refuse)
        monkeypatch.setattr(database, "knows", _refuse)
        assert [code(await mail(server, service="submission", account=ANNA)) for _ in range(3)] == [250, 250, 451]
        # Nobody is a stranger then: mail to those whom the account always writes to must go on.
        assert [await send(server, f"{name}@far.test") for name in "abcd"] == [250] * 4


def _refuse(*_: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


async def test_trusted_clients_are_never_touched(server: Server) -> None:
    for session in ({"peer": "192.0.2.99", "trusted": True}, {"peer": "2001:db8::1", "trusted": True}):
        for _ in range(20):
            assert await mail(server, **session) is ACCEPT
            assert await mail(server, account=ANNA, **session) is ACCEPT
            assert await rcpt(server, known=False, **session) is ACCEPT
        assert await connect(server, **session) is ACCEPT
    assert await mail(server, peer="192.0.2.98") is ACCEPT
