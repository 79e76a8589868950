"""Targets that were ours or trusted when they were named, and are strangers now; and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.errors import LimitReached
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Domain
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.plugins import Server, running
from tests.unit.plugins.test_forwards import ANNA, do, forward, resolve, subjects

OTHER, INFO = "ben@other.test", "info@example.test"
HERE = {"example.test": DomainSettings()}
BOTH = HERE | {"other.test": DomainSettings()}
TRUSTED = {"aliases": {"trusted_domains": ["other.test"]}}
QUESTIONS = [f"{OTHER}: Do you want the mail for {one}?" for one in (INFO, ANNA)]


async def name_it(server: Server, **arguments: Any) -> None:
    """As a target of an alias and of a forward."""
    await do(server, "alias.add", address=INFO, targets=[OTHER], **arguments)
    await forward(server, ANNA, OTHER, keep=False, **arguments)


async def places(server: Server) -> tuple[Any, Any]:
    return await resolve(server, INFO), await resolve(server, ANNA)


async def pending(server: Server) -> int:
    rows = await do(server, "alias.list") + await do(server, "account.forward.list")
    return sum(len(row["pending"]) for row in rows)


WAITS, PASSES = ("450 4.2.1", [f"{ANNA} keeps"]), ([OTHER], [f"{ANNA} to {OTHER}"])


async def test_a_domain_that_goes(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.add(ANNA)
        await server.directory.add_domain(Domain(name="other.test"))
        await server.add(OTHER)
        await name_it(server)
        assert (await pending(server), await places(server)) == (0, ([OTHER], [OTHER]))
        await server.directory.remove_account(AccountId(OTHER))
        await server.directory.remove_domain("other.test")
        # From this moment on, whoever is told.
        assert await places(server) == WAITS
        asked = await do(server, "alias.ask_outsiders")
        assert [(one["address"], one["target"]) for one in asked] == [(INFO, OTHER), (ANNA, OTHER)]
        assert subjects(server) == QUESTIONS
        assert await do(server, "alias.ask_outsiders") == []
        assert await pending(server) == 2
        await do(server, "alias.confirm", address=INFO, target=OTHER)
        await do(server, "alias.confirm", address=ANNA, target=OTHER)
        assert await places(server) == PASSES


async def test_a_domain_that_is_taken_out_of_the_file(tmp_path: Path) -> None:
    async with running(tmp_path, domains=BOTH) as server:
        await server.add(ANNA)
        await server.add(OTHER)
        # As older versions left it.
        info, target = EmailAddress.parse(INFO), EmailAddress.parse(OTHER)
        await server.directory.add_alias(info, [target])
        await forward(server, ANNA, OTHER, keep=False)
        await server.directory.remove_account(AccountId(OTHER))
    async with running(tmp_path, domains=BOTH):
        pass
    async with running(tmp_path, domains=HERE) as server:
        assert subjects(server) == QUESTIONS
        assert await places(server) == WAITS
    async with running(tmp_path, domains=HERE) as server:
        assert subjects(server) == []
        assert await places(server) == WAITS


async def test_a_domain_that_is_trusted_no_more_and_then_again(tmp_path: Path) -> None:
    async with running(tmp_path, sections=TRUSTED) as server:
        await server.add(ANNA)
        await name_it(server)
        assert (await pending(server), await places(server), subjects(server)) == (0, PASSES, [])
    async with running(tmp_path) as server:
        assert (await pending(server), await places(server), subjects(server)) == (2, WAITS, QUESTIONS)
    # What is asked holds nothing up then, of aliases or accounts.
    async with running(tmp_path, sections=TRUSTED) as server:
        assert (await pending(server), await places(server), subjects(server)) == (0, PASSES, [])


async def test_who_agreed_needs_no_question(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.add(ANNA)
        await name_it(server, confirmed=True)
    async with running(tmp_path) as server:
        assert (await pending(server), await places(server), subjects(server)) == (0, PASSES, [])


async def test_a_question_that_cannot_be_put_is_put_later(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.add(ANNA)
        await server.directory.add_domain(Domain(name="other.test"))
        await do(server, "alias.add", address=INFO, targets=[OTHER])
        await server.directory.remove_domain("other.test")
        server.queue.failure = LimitReached("the queue is full")
        assert await do(server, "alias.ask_outsiders") == []
        assert await resolve(server, INFO) == "450 4.2.1"
    async with running(tmp_path) as server:
        assert subjects(server) == QUESTIONS[:1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_trust_ends_with_whoever_said_so(tmp_path: Path, order: tuple[int, ...]) -> None:
    """A reload starts the new ones before it ends the old ones, or, when that fails, ends the new ones."""
    async with running(tmp_path) as server:
        target = EmailAddress.parse(OTHER)
        ends = [server.directory.trust(["other.test"]), server.directory.trust(())]
        assert server.directory.needs_consent(target)
        ends[order[0]]()
        assert server.directory.needs_consent(target) is (order[0] == 0)
        ends[order[1]]()
        assert server.directory.needs_consent(target)
