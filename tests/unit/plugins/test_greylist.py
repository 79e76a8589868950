"""Who is asked to come again, and who never is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import MessageContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import Accepted, Judged
from mailserver.model.findings import AuthResult, Findings, Reason
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.verdict import ACCEPT, Accept, Defer, Verdict
from mailserver.plugins.greylist import database
from mailserver.plugins.greylist.urgent import is_urgent
from tests.helpers.content import BytesContent
from tests.helpers.plugins import Server, alone, make_session, running

BAD = (Reason("some", 3.0, "looks bad"),)
ANNA = AccountId("anna@example.test")
LETTER = b"From: <x@far.test>\r\nSubject: pills\r\n\r\nbuy 4\r\n"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, sections=alone("greylist"), order=("greylist",)) as server:
        yield server


def spf(result: str, domain: str = "far.test") -> AuthResult:
    return AuthResult(method="spf", result=result, properties=(("smtp.mailfrom", f"x@{domain}"),))


async def come(
    server: Server, peer: str = "192.0.2.7", *, sender: str = "x@far.test", reasons: tuple[Reason, ...] = BAD,
    results: tuple[AuthResult, ...] = (), content: bytes = LETTER, recipients: tuple[str, ...] = ("anna",),
    **session: Any,
) -> Verdict:  # fmt: skip
    envelope = Envelope(
        sender=EmailAddress.parse(sender) if sender else None,
        recipients=tuple(Recipient(address=EmailAddress(name, "example.test")) for name in recipients),
    )
    return await server.hooks.message(MessageContext(
        session=make_session(peer, helo="mx.far.test", **session), queue_id=QueueId("q"), envelope=envelope,
        content=BytesContent(content), findings=Findings(results, reasons),
    ))  # fmt: skip


def held(verdict: Verdict) -> bool:
    assert not isinstance(verdict, Defer) or str(verdict.reply).startswith("451 4.7.1 ")
    return isinstance(verdict, Defer)


async def test_an_unknown_sender_whose_mail_looks_bad_comes_again(server: Server) -> None:
    verdict = await come(server)
    assert isinstance(verdict, Defer)
    assert str(verdict.reply) == "451 4.7.1 You are not known here yet; please come again in 5 minutes (greylisting)"
    assert verdict.findings.reasons[0].points == 0.0
    server.clock.advance(240)
    again = await come(server)
    assert isinstance(again, Defer)
    assert "in 1 minute (" in str(again.reply)
    server.clock.advance(60)
    # A neighbour of the same pool, and a return address with another number.
    passed = await come(server, "192.0.2.200")
    assert isinstance(passed, Accept)
    assert passed.findings.reasons[0].text == "It was asked to come again, and did after 5 minutes"
    # From now on it is known, with all senders of the domain.
    assert await come(server, sender="other@far.test") is ACCEPT
    assert held(await come(server, sender="x@elsewhere.test"))
    assert held(await come(server, "203.0.113.7"))


async def test_what_changes_in_return_addresses(server: Server) -> None:
    for first, second in (
        ("bounce-17@far.test", "bounce-18@far.test"), ("prvs=12ab=x@far2.test", "prvs=34cd=x@far2.test"),
        ("list+a=b@far3.test", "list+c=d@far3.test"), ("", ""),
    ):  # fmt: skip
        assert held(await come(server, sender=first))
        server.clock.advance(301)
        assert not held(await come(server, sender=second))


async def test_big_providers_come_from_another_address_each_time(server: Server) -> None:
    assert held(await come(server, "192.0.2.7", results=(spf("pass", "pool.test"),), sender="x@pool.test"))
    server.clock.advance(301)
    assert not held(await come(server, "203.0.113.99", results=(spf("pass", "pool.test"),), sender="x@pool.test"))
    assert held(await come(server, "203.0.113.99", results=(spf("fail", "pool.test"),), sender="x@pool.test"))


async def test_every_recipient_must_wait_and_each_one_is_enough(server: Server) -> None:
    assert held(await come(server, recipients=("anna", "ben")))
    server.clock.advance(301)
    assert not held(await come(server, recipients=("ben",)))


@pytest.mark.parametrize(
    "how",
    [
        {"reasons": (Reason("some", 2.9, "looks a little bad"),)}, {"reasons": (Reason("some", 5.0, "is for Junk"),)},
        {"results": (AuthResult(method="dmarc", result="pass", properties=(("header.from", "far.test"),)),)},
        {"results": (AuthResult(method="dkim", result="pass", properties=(("header.d", "far.test"),)),)},
        {"results": (spf("pass"),)},
        {"service": "submission"}, {"trusted": True}, {"account": ANNA}, {"peer": "uid:33"},
        {"content": b"From: <x@far.test>\r\nSubject: Your verification code\r\n\r\nIt is 123456.\r\n"},
        {"content": b"From: <x@far.test>\r\nSubject: Reset your password\r\n\r\nhttps://far.test/x\r\n"},
    ],
)  # fmt: skip
async def test_who_is_never_held_up(server: Server, how: dict[str, Any]) -> None:
    assert await come(server, **how) is ACCEPT


async def test_whom_our_users_wrote_to(server: Server) -> None:
    server.hooks.emit(Accepted(
        session=SessionId("s"), queue_id=QueueId("q"), service="submission", sender=ANNA, size=1, account=ANNA,
        recipients=("Boss@Far.test", "x@example.test"),
    ))  # fmt: skip
    letter = b"From: <boss@far.test>\r\n\r\nhello\r\n"
    assert await come(server, sender="bounces@sender.test", content=letter) is ACCEPT
    assert await come(server, sender="boss@far.test", content=b"\r\nhello\r\n") is ACCEPT
    assert held(await come(server))


@pytest.mark.parametrize(("mailbox", "refused", "known"), [("INBOX", False, True), ("Junk", False, False),
                                                             ("", True, False), ("Rejects", True, False)])  # fmt: skip
async def test_whose_mail_went_to_an_inbox_before(server: Server, mailbox: str, refused: bool, known: bool) -> None:
    server.hooks.emit(Judged(
        queue_id=QueueId("q"), account=ANNA, peer="192.0.2.99", sender="news@far.test", recipient=ANNA, message_id="",
        mailbox=mailbox, findings=Findings((), ()), reply="250", refused=refused,
    ))  # fmt: skip
    assert held(await come(server)) is not known


async def test_what_looks_bad_makes_nobody_known(server: Server) -> None:
    server.hooks.emit(Judged(
        queue_id=QueueId("q"), account=ANNA, peer="192.0.2.99", sender="news@far.test", recipient=ANNA, message_id="",
        mailbox="INBOX", findings=Findings((), BAD), reply="250", refused=False,
    ))  # fmt: skip
    assert held(await come(server))


async def test_there_is_an_end_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MOST", 5)
    sections = alone(greylist={"remember": 86_400.0})
    async with running(tmp_path, sections=sections, order=("greylist",)) as server:
        assert held(await come(server))
        server.clock.advance(2 * 86_400 + 1)
        assert held(await come(server)), "too late: it is new again"
        server.clock.advance(301)
        assert not held(await come(server))
        server.clock.advance(86_401)
        assert held(await come(server)), "nobody heard of it for long"
        for number in range(30):
            server.clock.advance(1)
            await come(server, f"10.0.{number}.1")
        server.clock.advance(601)
        await come(server, "10.1.1.1")
        with database.open_database(tmp_path / ".server" / "greylist.db") as db:
            assert db.execute("SELECT count(*) FROM waiting").fetchone()[0] <= 6


async def test_a_restart_forgets_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, sections=alone("greylist"), order=("greylist",)) as server:
        assert held(await come(server))
        now = server.clock.time()
    async with running(tmp_path, sections=alone("greylist"), order=("greylist",)) as server:
        server.clock.advance(now + 301 - server.clock.time())
        assert not held(await come(server))


async def test_few_are_tarred_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    servers: list[Server] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) < 3:
            # Others come while this one waits.
            await come(servers[0], f"10.0.{len(slept)}.1")

    async with running(
        tmp_path, sections=alone(greylist={"tarpit": 4.0, "tarpits": 2}), order=("greylist",)
    ) as server:
        servers.append(server)
        monkeypatch.setattr("mailserver.plugins.greylist.asyncio.sleep", sleep)
        assert held(await come(server))
        assert slept == [4.0, 4.0]
        assert await come(server, reasons=()) is ACCEPT
        assert len(slept) == 2


@pytest.mark.parametrize(
    ("subject", "words", "urgent"),
    [
        ("Your verification code is 482913", "", True), ("G-482913 is your code", "", True),
        ("Ihr Einmalcode", "Der Code lautet 482 913", True), ("Bestätigungscode: 4821", "", True),
        ("您的验证码", "482913", True), ("Passwort zurücksetzen", "", True), ("Reset your password", "", True),
        ("Invoice 482913", "please pay", False), ("hello", "call 030 123 4567 89", False),
        ("Your code of conduct", "", False), ("buy 4821 pills", "now", False), ("x" * 100_000, "1" * 100_000, False),
    ],
)  # fmt: skip
def test_mail_that_somebody_waits_for(subject: str, words: str, urgent: bool) -> None:
    assert is_urgent(subject, words) is urgent
