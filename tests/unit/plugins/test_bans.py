"""Who is banned, for what, how long, and who never is."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import ConnectContext, MailContext, RcptContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import InvalidInput, NotFound
from mailserver.model.events import Accepted, LoginFailed, LoginSucceeded, Misbehaved
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.verdict import Defer, Verdict
from mailserver.net.settings import LimitsSettings
from mailserver.plugins.bans import database
from mailserver.plugins.bans.ledger import open_ledger
from mailserver.plugins.bans.networks import parse_network
from mailserver.plugins.bans.settings import BanSettings
from tests.helpers.clock import FakeClock
from tests.helpers.plugins import Server, alone, make_session, running

LIMITS = LimitsSettings(trusted=["198.51.100.0/24"])
SMALL = {"failed_logins": 3, "unknown_recipients": 4, "misbehaviour": 2, "neighbours": 3}
ANNA = AccountId("anna@example.test")
PEER = "192.0.2.7"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, sections=alone(bans=SMALL), limits=LIMITS, order=("bans",)) as server:
        yield server


async def reply(server: Server, peer: str = PEER, **session: Any) -> str:
    """What a client hears when it connects; "" is the greeting."""
    verdict = await server.hooks.connect(ConnectContext(session=make_session(peer, **session)))
    return said(verdict)


def said(verdict: Verdict) -> str:
    assert not isinstance(verdict, Defer) or (verdict.reply.code == 421 and verdict.close)
    return str(verdict.reply) if isinstance(verdict, Defer) else ""


def wrong(server: Server, peer: str = PEER, *, times: int = 1, wrong: bool = True, service: str = "imap") -> None:
    for _ in range(times):
        server.hooks.emit(LoginFailed(
            session=SessionId("s1"), service=service, user="anna", peer=peer, mechanism="PLAIN", reason="wrong",
            wrong=wrong,
        ))  # fmt: skip


def logged_in(server: Server, peer: str = PEER) -> Callable[[], None]:
    """Gives what ends the session."""
    server.hooks.emit(LoginSucceeded(
        session=SessionId("s9"), service="imap", account=ANNA, peer=peer, mechanism="PLAIN",
    ))  # fmt: skip
    return server.login.register(ANNA, lambda reason: None, peer)


async def rcpt(server: Server, *, known: bool = False, peer: str = PEER, **session: Any) -> str:
    recipient = Recipient(address=EmailAddress("anna", "example.test"))
    return said(await server.hooks.rcpt(RcptContext(
        session=make_session(peer, **session), envelope=Envelope(sender=None), recipient=recipient, known=known,
    )))  # fmt: skip


async def listed(server: Server) -> list[dict[str, Any]]:
    (operation,) = (one.value for one in server.hooks.contributions("operation") if one.name == "ban.list")
    rows: list[dict[str, Any]] = await operation({})
    return rows


async def perform(server: Server, name: str, **arguments: Any) -> Any:
    (operation,) = (one.value for one in server.hooks.contributions("operation") if one.name == name)
    return await operation(arguments)


async def test_wrong_passwords_of_all_services_are_counted_together(server: Server) -> None:
    for service in ("submission", "imap"):
        wrong(server, service=service)
    wrong(server, times=5, wrong=False)
    assert await reply(server) == ""
    wrong(server, service="http")
    until = datetime.fromtimestamp(server.clock.time() + 900, UTC)
    assert await reply(server) == (
        f"421 4.7.0 192.0.2.7/32 is not listened to until {until:%Y-%m-%d %H:%M} UTC: too many failed logins"
    )
    for service in ("smtp", "submission", "imap", "http"):
        assert "192.0.2.7/32 is not listened to until" in await reply(server, service=service)
    assert await reply(server, "192.0.2.8") == ""


async def test_a_ban_ends_by_itself_and_the_next_one_is_longer(server: Server) -> None:
    for minutes in (15, 60, 240):
        wrong(server, times=3)
        (row,) = await listed(server)
        assert row["until"] - row["since"] == minutes * 60
        server.clock.advance(minutes * 60 - 1)
        assert await reply(server)
        server.clock.advance(1)
        assert await reply(server) == ""
        assert await listed(server) == []
        # The passwords of before are forgotten.
        server.clock.advance(3 * 3600)
    for _ in range(8):
        wrong(server, times=3)
        (row,) = await listed(server)
        server.clock.advance(2 * 86_400)
    assert row["until"] - row["since"] == 86_400
    server.clock.advance(31 * 86_400)
    wrong(server, times=3)
    (row,) = await listed(server)
    assert (row["until"] - row["since"], row["times"]) == (900, 1)


async def test_addresses_that_do_not_exist(server: Server) -> None:
    assert [await rcpt(server) for _ in range(3)] == [""] * 3
    assert await rcpt(server, known=True) == ""
    assert "too many recipients that do not exist" in await rcpt(server)
    assert await rcpt(server, peer="198.51.100.7", trusted=True) == ""
    # A connection that was there before.
    verdict = await server.hooks.mail(MailContext(session=make_session(PEER), envelope=Envelope(sender=None)))
    assert said(verdict)


async def test_a_server_that_brings_mail_too_may_err(server: Server) -> None:
    assert await rcpt(server) == ""
    server.hooks.emit(Accepted(
        session=SessionId("s1"), queue_id=QueueId("q"), service="smtp", sender="x@far.test", recipients=("a", "b"),
        size=1, peer=PEER,
    ))  # fmt: skip
    assert [bool(await rcpt(server)) for _ in range(5)] == [False] * 4 + [True]


async def test_nonsense(server: Server) -> None:
    for kind in ("protocol", "slow"):
        assert await reply(server, "2001:db8:1:2::9") == ""
        server.hooks.emit(Misbehaved(session=SessionId("s1"), service="smtp", peer="2001:db8:1:2::3", kind=kind))
    assert "2001:db8:1:2::/64 is not listened to" in await reply(server, "2001:db8:1:2::9")
    assert await reply(server, "2001:db8:1:3::9") == ""


async def test_many_of_one_network_are_all_of_it(server: Server) -> None:
    for host in (3, 4, 5):
        assert await reply(server, "192.0.2.200") == ""
        wrong(server, f"192.0.2.{host}", times=3)
    assert "192.0.2.0/24 is not listened to" in await reply(server, "192.0.2.200")
    assert await reply(server, "192.0.3.1") == ""
    # Not where one of us is.
    logged_in(server, "203.0.113.200")
    for host in (3, 4, 5, 6):
        wrong(server, f"203.0.113.{host}", times=3)
        assert await reply(server, f"203.0.113.{host}")
    assert await reply(server, "203.0.113.7") == ""


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "198.51.100.7", "uid:33", ""])
async def test_who_is_never_banned(server: Server, peer: str) -> None:
    wrong(server, peer, times=10)
    for _ in range(10):
        await rcpt(server, peer=peer)
        server.hooks.emit(Misbehaved(session=SessionId("s1"), service="smtp", peer=peer, kind="slow"))
    assert await reply(server, peer) == ""
    assert await listed(server) == []


async def test_where_somebody_is_logged_in_nobody_is_banned(server: Server) -> None:
    server.hooks.emit(Misbehaved(session=SessionId("s1"), service="smtp", peer=PEER, kind="slow"))
    ends = [logged_in(server), logged_in(server)]
    server.hooks.emit(Misbehaved(session=SessionId("s1"), service="smtp", peer=PEER, kind="slow"))
    assert await listed(server) == []
    # A ban of the operator's does not reach those who are at work.
    await perform(server, "ban.add", network="192.0.2.0/24")
    assert await reply(server) == ""
    assert await reply(server, "192.0.2.8")
    ends[0]()
    ends[0]()
    assert await reply(server) == ""
    ends[1]()
    assert await reply(server)


async def test_wrong_passwords_from_where_a_user_came_before(server: Server) -> None:
    logged_in(server)()
    wrong(server, times=10)
    assert await listed(server) == []
    server.clock.advance(61 * 86_400)
    wrong(server, times=3)
    assert len(await listed(server)) == 1


async def test_a_restart_lifts_no_ban_and_knows_the_places(tmp_path: Path) -> None:
    limits = LimitsSettings(trusted=[], failed_logins_per_account=1)
    sections = alone(bans=SMALL)
    async with running(tmp_path, sections=sections, limits=limits, order=("bans",)) as server:
        wrong(server, times=3)
        logged_in(server, "203.0.113.9")
        await perform(server, "ban.add", network="2001:db8::/32", reason="sells pills")
        now = server.clock.time()
    async with running(tmp_path, sections=sections, limits=limits, order=("bans",)) as server:
        assert server.clock.time() <= now
        assert await reply(server)
        assert "sells pills" in await reply(server, "2001:db8:77::1")
        # The guesses of others do not keep anna out where she was before (ATTACKS K02).
        attempt = await server.failures.begin("192.0.2.77", ANNA)
        assert attempt is not None
        with attempt:
            attempt.fail()
        assert await server.failures.begin("192.0.2.78", ANNA) is None
        assert await server.failures.begin("203.0.113.9", ANNA) is not None


async def test_a_ban_in_the_last_second_before_a_reload_holds(tmp_path: Path) -> None:
    """The next ledger is opened before this one writes what it learned, and goes on learning meanwhile."""
    clock, settings = FakeClock(), BanSettings()
    path = tmp_path / "bans.db"
    one, two, three = (ipaddress.ip_network(f"192.0.2.{number}/32") for number in (1, 2, 3))
    async with AsyncExitStack() as after:
        async with open_ledger(path, clock, settings) as old:
            old.ban(one, "guesses")
            old.ban(three, "guesses")
            new = await after.enter_async_context(open_ledger(path, clock, settings))
            assert [new.find(f"192.0.2.{number}") is not None for number in (1, 2, 3)] == [True, False, True]
            old.ban(two, "guesses")
            old.lift(three)
        assert [new.find(f"192.0.2.{number}") is not None for number in (1, 2, 3)] == [True, True, False]
    async with open_ledger(path, clock, settings) as later:
        assert [ban.network for ban in later.active()] == [one, two]
        # A reload that fails changes nothing, and the next one knows again.
        async with open_ledger(path, clock, settings):
            pass
        later.ban(three, "guesses")
        async with open_ledger(path, clock, settings) as last:
            assert last.find("192.0.2.3") is not None


async def test_what_the_operator_does(server: Server) -> None:
    assert await listed(server) == []
    row = await perform(server, "ban.add", network="203.0.113.77/24", reason="  sells\n pills ")
    assert (row["network"], row["by"], row["reason"]) == ("203.0.113.0/24", "operator", "sells pills")
    assert row["until"] == server.clock.time() + 7 * 86_400
    await perform(server, "ban.add", network="2001:db8:5:6::1", until=server.clock.time() + 60)
    assert [row["network"] for row in await listed(server)] == ["2001:db8:5:6::/64", "203.0.113.0/24"]
    with pytest.raises(NotFound, match=r"203\.0\.113\.9/32 is not banned; 203\.0\.113\.0/24, to which it belongs, is"):
        await perform(server, "ban.lift", network="203.0.113.9")
    assert [row["network"] for row in await perform(server, "ban.lift", network="203.0.0.0/16")] == ["203.0.113.0/24"]
    assert await reply(server, "203.0.113.9") == ""
    wrong(server, times=3)
    assert len(await perform(server, "ban.lift", network="all")) == 2
    assert await listed(server) == []
    # What was lifted counts no more.
    wrong(server, times=3)
    assert [row["times"] for row in await listed(server)] == [1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"network": "x"}, "is no network"), ({"network": "127.0.0.1"}, "this machine"),
        ({"network": "127.0.0.0/8"}, "this machine"), ({"network": "::1"}, "this machine"),
        ({"network": "0.0.0.0/0"}, "this machine"), ({"network": "32.0.0.0/7"}, "too much"),
        ({"network": "198.51.0.0/16"}, "limits.trusted"), ({"network": PEER, "until": 5}, "in the future"),
        ({"network": PEER, "reason": "é"}, "plain letters"), ({"network": "192.0.2.7/33"}, "is no network"),
    ],
)  # fmt: skip
async def test_what_the_operator_may_not(server: Server, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        await perform(server, "ban.add", **arguments)
    assert await listed(server) == []


async def test_there_is_an_end_to_what_is_remembered(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MOST_BANS", 20)
    for number in range(60):
        wrong(server, f"10.{number}.0.1", times=3)
        server.clock.advance(1)
    rows = await listed(server)
    assert len(rows) <= 20
    assert rows[-1]["network"] == "10.59.0.1/32"
    assert parse_network("10.59.0.1").num_addresses == 1
