"""Forwards of accounts: where mail goes, who is asked; and settings that lead elsewhere."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import LocalMailbox, Resolution, ResolveContext, Unresolvable
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput, LimitReached, MailError, NotFound, NotPermitted
from mailserver.ports.directory import Domain
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.plugins import Server, running

ANNA, BEN, FAR, MORE = "anna@example.test", "ben@example.test", "bert@far.test", "cleo@far.test"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as server:
        await server.add(ANNA)
        await server.add(BEN)
        yield server


async def do(server: Server, name: str, **arguments: Any) -> Any:
    (operation,) = [c.value for c in server.hooks.contributions("operation") if c.name == name]
    return await operation(arguments)


async def forward(server: Server, account: str, *targets: str, **arguments: Any) -> Any:
    return await do(server, "account.forward.set", account=account, targets=list(targets), **arguments)


async def resolve(server: Server, address: str) -> list[str] | str:
    answer = await server.hooks.resolve(ResolveContext(address=EmailAddress.parse(address)))
    if isinstance(answer, Unresolvable):
        return f"{answer.reply.code} {answer.reply.status}"
    assert isinstance(answer, Resolution)
    return [_place(place) for place in answer.destinations]


def _place(place: Any) -> str:
    if not isinstance(place, LocalMailbox):
        return str(place.address)
    if not place.forward:
        return f"{place.account} keeps"
    return f"{place.account} {'and' if place.keep else 'to'} {' '.join(str(one) for one in place.forward)}"


def subjects(server: Server) -> list[str]:
    parsed = [email.message_from_bytes(item.message, policy=email.policy.default) for item in server.queue.items]
    return [f"{item['To']}: {item['Subject']}" for item in parsed]


async def test_nothing_goes_out_before_all_agreed(server: Server) -> None:
    done = await forward(server, ANNA, FAR, MORE, keep=False)
    assert [one["target"] for one in done["asked"]] == [FAR, MORE]
    assert subjects(server) == [f"{one}: Do you want the mail for {ANNA}?" for one in (FAR, MORE)]
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"]
    await do(server, "alias.confirm", address=ANNA, target=FAR)
    # One of two: what the other one would miss stays here.
    assert await resolve(server, ANNA) == [f"{ANNA} and {FAR}"]
    await do(server, "alias.confirm", address=ANNA, target=MORE)
    assert await resolve(server, ANNA) == [f"{ANNA} to {FAR} {MORE}"]
    assert await resolve(server, "anna+x@example.test") == [f"{ANNA} to {FAR} {MORE}"]
    # Who agreed is not asked again; keep stays what it was.
    assert (await forward(server, ANNA, FAR))["asked"] == []
    assert await resolve(server, ANNA) == [f"{ANNA} to {FAR}"]
    with pytest.raises(NotFound, match="not forwarded to"):
        await do(server, "account.forward.remove", account=ANNA, targets=[MORE])
    await do(server, "account.forward.remove", account=ANNA)
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"]


async def test_it_is_asked_once_an_hour_and_not_after_a_no(server: Server) -> None:
    await forward(server, ANNA, FAR)
    assert (await forward(server, ANNA, FAR, keep=False))["asked"] == []
    (row,) = await do(server, "account.forward.list")
    assert (row["keep"], [one["target"] for one in row["pending"]]) == (False, [FAR])
    server.clock.advance(3700)
    assert [one["target"] for one in (await forward(server, ANNA, FAR))["asked"]] == [FAR]
    found = server.directory.forward(server.directory.accounts()[0].account)
    assert found is not None
    await server.directory.ask_targets(found.address, [replace(found.pending[0], until=0.0)])
    with pytest.raises(NotPermitted, match="said no"):
        await forward(server, ANNA, FAR)
    await forward(server, ANNA, FAR, confirmed=True)
    assert await resolve(server, ANNA) == [f"{ANNA} to {FAR}"]


async def test_accounts_of_ours_need_no_question(server: Server) -> None:
    await forward(server, ANNA, BEN)
    assert await resolve(server, ANNA) == [f"{ANNA} keeps", BEN]
    await forward(server, ANNA, BEN, keep=False)
    assert await resolve(server, ANNA) == [BEN]
    # Who is no more does not take the mail along.
    await server.directory.remove_account(server.directory.accounts()[1].account)
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"]
    assert server.queue.items == []


@pytest.mark.parametrize("keep", [True, False])
async def test_an_alias_that_leads_to_nobody_yet(server: Server, keep: bool) -> None:
    """Its senders are told to come again; those of the account are not."""
    await do(server, "alias.add", address="info@example.test", targets=[FAR])
    await forward(server, ANNA, "info@example.test", keep=keep)
    assert await resolve(server, "info@example.test") == "450 4.2.1"
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"]
    await do(server, "alias.confirm", address="info@example.test", target=FAR)
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"] * keep + ["info@example.test"]


async def test_a_circle_that_is_made_later(server: Server) -> None:
    """Aliases are changed without a look at who forwards to them."""
    await do(server, "alias.add", address="team@example.test", targets=["carl@far.test"], confirmed=True)
    await forward(server, ANNA, BEN, keep=False)
    await forward(server, BEN, "team@example.test", keep=False)
    assert await resolve(server, ANNA) == [BEN]
    await do(server, "alias.remove", address="team@example.test")
    await do(server, "alias.add", address="team@example.test", targets=[ANNA])
    assert (await resolve(server, ANNA), await resolve(server, BEN)) == ([f"{ANNA} keeps"], [f"{BEN} keeps"])


async def test_another_choice_about_the_copy_asks_nobody(server: Server) -> None:
    await forward(server, ANNA, FAR)
    server.clock.advance(3700)
    done = await do(server, "account.forward.set", account=ANNA, keep=False)
    assert (done["targets"], done["keep"], done["asked"], len(done["pending"])) == ([FAR], False, [], 1)
    found = server.directory.forwards()[0]
    await server.directory.ask_targets(found.address, [replace(found.pending[0], until=0.0)])
    (one,) = (await do(server, "account.forward.set", account=ANNA, keep=True))["pending"]
    assert one["declined"] and len(subjects(server)) == 1
    await do(server, "account.forward.set", account=ANNA, confirmed=True)
    assert await resolve(server, ANNA) == [f"{ANNA} and {FAR}"]


async def test_what_does_not_forward(server: Server) -> None:
    """Disabled accounts; those whose address is somebody else's now."""
    await forward(server, ANNA, FAR, keep=False, confirmed=True)
    anna = server.directory.accounts()[0]
    await server.directory.update_account(replace(anna, enabled=False))
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"]
    assert (await do(server, "account.forward.list"))[0]["rests"] is True
    await server.directory.remove_account(anna.account)
    await server.add(ANNA)
    assert await resolve(server, ANNA) == [f"{ANNA} keeps"]
    assert await do(server, "account.forward.list", account=ANNA) == []


async def test_mistakes(server: Server) -> None:
    with pytest.raises(InvalidInput, match="its own target"):
        await forward(server, ANNA, ANNA)
    await forward(server, ANNA, BEN, keep=False)
    with pytest.raises(InvalidInput, match="in a circle"):
        await forward(server, BEN, ANNA, keep=False)
    await do(server, "alias.add", address="team@example.test", targets=[ANNA])
    with pytest.raises(InvalidInput, match="in a circle"):
        await forward(server, BEN, "team@example.test", keep=False)
    with pytest.raises(LimitReached):
        await forward(server, BEN, *(f"x{number}@far.test" for number in range(21)))
    with pytest.raises(NotFound, match="no account"):
        await forward(server, "nobody@example.test", FAR)
    with pytest.raises(NotFound, match="no account and no alias bnen@"):
        await forward(server, ANNA, "bnen@example.test", keep=False)
    await do(server, "account.forward.remove", account=ANNA)
    with pytest.raises(NotFound, match="name those"):
        await do(server, "account.forward.set", account=ANNA, keep=False)
    with pytest.raises(NotFound):
        await do(server, "account.forward.remove", account=BEN)


async def test_a_question_that_cannot_be_put_leaves_nothing(server: Server) -> None:
    server.queue.failure = LimitReached("the queue is full")
    with pytest.raises(MailError):
        await forward(server, ANNA, FAR)
    assert await do(server, "account.forward.list") == []


async def test_forwards_survive_a_restart(server: Server, tmp_path: Path) -> None:
    await forward(server, ANNA, FAR, MORE, keep=False)
    await do(server, "alias.confirm", address=ANNA, target=FAR)
    async with running(tmp_path) as again:
        (row,) = await do(again, "account.forward.list")
        assert (row["targets"], row["keep"], [one["target"] for one in row["pending"]]) == ([FAR, MORE], False, [MORE])


SETTINGS = {"example.test": DomainSettings(catch_all=FAR, postmaster=MORE), "b.test": DomainSettings()}


async def test_owners_of_addresses_in_settings_are_asked_once(tmp_path: Path) -> None:
    async with running(tmp_path, domains=SETTINGS) as server:
        await server.add(ANNA)
        assert subjects(server) == [
            f"{FAR}: Do you want the mail for unknown addresses at example.test?",
            f"{MORE}: Do you want the mail for postmaster and abuse at example.test?",
        ]
        assert await resolve(server, "x@example.test") == "450 4.2.1"
        # These must always reach somebody.
        assert await resolve(server, "postmaster@example.test") == [f"{ANNA} keeps"]
        assert await resolve(server, "abuse@example.test") == [f"{ANNA} keeps"]
    async with running(tmp_path, domains=SETTINGS) as server:
        assert server.queue.items == []
        await do(server, "alias.confirm", address="catch-all@example.test", target=FAR)
        await do(server, "alias.confirm", address="role-mail@example.test", target=MORE)
        assert await resolve(server, "x@example.test") == [FAR]
        assert await resolve(server, "postmaster@example.test") == [MORE]
        assert await resolve(server, "abuse@example.test") == [MORE]
    other = SETTINGS | {"example.test": DomainSettings(catch_all=MORE, postmaster=MORE)}
    async with running(tmp_path, domains=other) as server:
        assert len(server.queue.items) == 1
        assert await resolve(server, "x@example.test") == "450 4.2.1"
        assert await resolve(server, "abuse@example.test") == [MORE]


async def test_of_trusted_domains_nobody_is_asked(tmp_path: Path) -> None:
    trusted = {"aliases": {"trusted_domains": ["far.test"]}}
    async with running(tmp_path, domains=SETTINGS, sections=trusted) as server:
        await server.add(ANNA)
        assert server.queue.items == []
        assert await resolve(server, "x@example.test") == [FAR]
        assert await resolve(server, "abuse@example.test") == [MORE]
        await forward(server, ANNA, FAR)
        assert await resolve(server, ANNA) == [f"{ANNA} and {FAR}"]


async def test_a_domain_that_was_added_before_there_was_consent(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.add(ANNA)
        await server.directory.add_domain(Domain(name="old.test", catch_all=FAR))
        assert await resolve(server, "x@old.test") == "450 4.2.1"
    async with running(tmp_path) as server:
        assert len(server.queue.items) == 1


async def test_role_addresses_whose_alias_waits_reach_the_oldest_account(tmp_path: Path) -> None:
    """RFC 5321 §4.5.1: postmaster is never to be refused, whoever has not answered yet."""
    settings = {"example.test": DomainSettings(postmaster="info@example.test"), "b.test": DomainSettings()}
    async with running(tmp_path, domains=settings) as server:
        await server.add(ANNA)
        await do(server, "alias.add", address="info@example.test", targets=[FAR])
        await do(server, "alias.add", address="postmaster@b.test", targets=[FAR])
        for address in ("postmaster@example.test", "abuse@example.test", "postmaster@b.test"):
            assert await resolve(server, address) == [f"{ANNA} keeps"]
        await do(server, "alias.confirm", address="info@example.test", target=FAR)
        await do(server, "alias.confirm", address="postmaster@b.test", target=FAR)
        assert await resolve(server, "abuse@example.test") == ["info@example.test"]
        assert await resolve(server, "postmaster@b.test") == [FAR]
