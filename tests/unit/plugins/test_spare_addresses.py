"""addresses: temporary and blocked ones, domains that stand for others, folders of sub-addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import (
    LocalMailbox,
    PlaceContext,
    Resolution,
    ResolveContext,
    SenderContext,
    Unresolvable,
)
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import LimitReached, NotFound, NotPermitted
from mailserver.model.ids import AccountId, QueueId
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.content import BytesContent
from tests.helpers.plugins import Server, make_session, running

ANNA, BEN = AccountId("anna@example.test"), AccountId("ben@example.test")
DOMAINS = {"example.test": DomainSettings(catch_all=BEN)}
ORDER = ("addresses", "accounts", "aliases")
DAY = 86_400.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, domains=DOMAINS, order=ORDER, sections={"addresses": {"most_temporary": 3}}) as server:
        await server.add(ANNA)
        await server.add(BEN)
        yield server


async def do(server: Server, name: str, **arguments: Any) -> Any:
    (operation,) = [c.value for c in server.hooks.contributions("operation") if c.name == name]
    return await operation(arguments)


async def resolve(server: Server, address: str) -> str:
    answer = await server.hooks.resolve(ResolveContext(address=EmailAddress.parse(address)))
    if answer is None:
        return "unknown"
    if isinstance(answer, Unresolvable):
        return f"{answer.reply.code} {answer.reply.status} {answer.reply.text}"
    assert isinstance(answer, Resolution)
    (place,) = answer.destinations
    return f"{place.account}/{place.detail}" if isinstance(place, LocalMailbox) else f"→ {place.address}"


async def may_write(server: Server, account: AccountId, address: str) -> bool:
    return await server.hooks.sender_allowed(SenderContext(account=account, address=EmailAddress.parse(address)))


ENDED = "550 5.1.1 This address was a temporary one, and is not used any more"


async def test_a_temporary_address(server: Server) -> None:
    made = await do(server, "alias.temporary", account="Anna@example.test", days=2, note="the shop")
    address = made["address"]
    assert "anna" not in address
    assert await resolve(server, address.upper()) == f"{ANNA}/"
    assert await may_write(server, ANNA, address)
    assert not await may_write(server, BEN, address)
    server.clock.advance(2 * DAY - 1)
    assert [one["note"] for one in await do(server, "alias.temporaries", account=ANNA)] == ["the shop"]
    assert await resolve(server, address) == f"{ANNA}/"
    server.clock.advance(2)
    # Not even the catch-all gets it.
    assert await resolve(server, address) == ENDED
    assert not await may_write(server, ANNA, address)
    assert await do(server, "alias.temporaries") == []


async def test_dropped_bounded_and_kept_over_a_restart(tmp_path: Path) -> None:
    sections = {"addresses": {"most_temporary": 2}}
    async with running(tmp_path, domains=DOMAINS, order=ORDER, sections=sections) as server:
        await server.add(ANNA)
        one, two = [(await do(server, "alias.temporary", account=ANNA))["address"] for _ in range(2)]
        with pytest.raises(LimitReached):
            await do(server, "alias.temporary", account=ANNA)
        await do(server, "alias.drop", address=one)
        with pytest.raises(NotFound):
            await do(server, "alias.drop", address=one)
        await do(server, "alias.temporary", account=ANNA)
    async with running(tmp_path, domains=DOMAINS, order=ORDER, sections=sections) as server:
        assert await resolve(server, one) == ENDED
        assert await resolve(server, two) == f"{ANNA}/"
        # Another person who gets this name does not get its addresses.
        await server.directory.remove_account(ANNA)
        server.clock.advance(60)
        await server.add(ANNA)
        assert await resolve(server, two) == ENDED


@pytest.mark.parametrize(
    "arguments", [{"days": 0}, {"days": "x"}, {"days": True}, {"days": 9999}, {"note": "a\nb"}, {"note": "x" * 201}]
)
async def test_what_cannot_be_a_temporary_address(server: Server, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        await do(server, "alias.temporary", account=ANNA, **arguments)


async def test_blocked_addresses(server: Server) -> None:
    assert await resolve(server, "old@example.test") == f"→ {BEN}"
    for address in ("Old@example.test", "anna+shop@example.test"):
        await do(server, "alias.block", address=address)
        assert await resolve(server, address.lower()) == "550 5.1.1 This address takes no mail"
    assert await resolve(server, "anna+other@example.test") == f"{ANNA}/other"
    assert [one["address"] for one in await do(server, "alias.blocked")] == [
        "anna+shop@example.test", "old@example.test",
    ]  # fmt: skip
    await do(server, "alias.unblock", address="old@example.test")
    assert await resolve(server, "old@example.test") == f"→ {BEN}"
    for address in (ANNA, "postmaster@example.test", "abuse@example.test", "x@far.test"):
        with pytest.raises(NotPermitted):
            await do(server, "alias.block", address=address)
    with pytest.raises(NotFound):
        await do(server, "alias.unblock", address="old@example.test")


async def test_a_domain_that_stands_for_another(server: Server) -> None:
    await do(server, "domain.alias", domain="Second.test", target="example.test")
    await server.add("cleo@second.test")
    assert await resolve(server, "anna+x@second.test") == "→ anna+x@example.test"
    assert await resolve(server, "nobody@second.test") == "→ nobody@example.test"
    assert await resolve(server, "cleo@second.test") == "cleo@second.test/"
    assert await may_write(server, ANNA, "anna@second.test")
    assert not await may_write(server, BEN, "anna@second.test")
    for domain, target in (
        ("second.test", "second.test"), ("third.test", "second.test"), ("example.test", "second.test"),
    ):  # fmt: skip
        with pytest.raises(NotPermitted):
            await do(server, "domain.alias", domain=domain, target=target)
    with pytest.raises(NotFound):
        await do(server, "domain.alias", domain="third.test", target="fourth.test")
    assert await do(server, "domain.aliases") == [{"domain": "second.test", "target": "example.test"}]
    await do(server, "domain.unalias", domain="second.test")
    assert await resolve(server, "anna@second.test") == "unknown"


async def place(server: Server, detail: str, *, quarantined: bool = False) -> str:
    answer = await server.hooks.place(
        PlaceContext(
            session=make_session(), queue_id=QueueId("0123456789abcdef"), envelope=Envelope(sender=None),
            recipient=Recipient(address=EmailAddress.parse(ANNA)), account=ANNA, detail=detail,
            quarantined=quarantined, content=BytesContent(b"\r\n"),
        )
    )  # fmt: skip
    return answer.mailbox if answer is not None else ""


async def test_folders_of_sub_addresses(server: Server) -> None:
    account = await server.store.open_account(ANNA)
    for name in ("Lists", "Lists/Python", "Rejects"):
        await account.create(name)
    assert [await place(server, detail) for detail in ("lists", "LISTS.python", "lists/Python", "new", "")] == [
        "Lists", "Lists/Python", "Lists/Python", "", "",
    ]  # fmt: skip
    assert await place(server, "lists", quarantined=True) == ""
    for detail in ("inbox", "INBOX", "Junk", "rejects", "sent", "Drafts", "trash", "Trash.x", "archive"):
        assert await place(server, detail) == "", detail
    await do(server, "account.folders", account=ANNA, filing="create")
    assert await place(server, "new") == "New"
    for detail in ("../x", "a/b", "a*", "%", "x" * 60, "junk"):
        assert await place(server, detail) == "", detail
    assert (await do(server, "account.folders", account=ANNA, filing="off"))["own"]
    assert await place(server, "lists") == ""
    assert not (await do(server, "account.folders", account=ANNA, filing="default"))["own"]
    assert await place(server, "lists") == "Lists"


async def test_strangers_do_not_make_mailboxes_without_end(tmp_path: Path) -> None:
    sections = {"addresses": {"folders": "create", "most_folders": 1}}
    async with running(tmp_path, order=ORDER, sections=sections) as server:
        await server.add(ANNA)
        await (await server.store.open_account(ANNA)).create("One")
        assert await place(server, "two") == ""
        assert await place(server, "one") == "One"
