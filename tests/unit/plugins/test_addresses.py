"""accounts and aliases: where mail for an address goes, and who may write as it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.hooks.contexts import LocalMailbox, Redirect, ResolveContext, SenderContext
from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Domain
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.plugins import Server, running

DOMAINS = {
    "example.test": DomainSettings(
        aliases={
            "info": ["anna", "bob", "x@remote.test"],
            "team": ["info"],
            "a+exact": ["bob"],
            "loop": ["loop2"],
            "loop2": ["loop"],
        },
        postmaster="bob",
    ),
    "catch.test": DomainSettings(catch_all="anna@example.test"),
    "dash.test": DomainSettings(subaddress_separator="-"),
    "none.test": DomainSettings(subaddress_separator=""),
    "self.test": DomainSettings(catch_all="all@self.test", postmaster="postmaster@self.test"),
    "gone.test": DomainSettings(postmaster="nobody@gone.test"),
    "away.test": DomainSettings(postmaster="me@remote.test"),
}
ACCOUNTS = ["anna@example.test", "bob@example.test", "a@example.test", "a+b@example.test", "d-e@dash.test",
            "d@dash.test", "n@none.test"]  # fmt: skip


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, domains=DOMAINS) as server:
        for address in ACCOUNTS:
            await server.add(address)
        yield server


async def resolve(server: Server, address: str) -> list[str]:
    answer = await server.hooks.resolve(ResolveContext(address=EmailAddress.parse(address)))
    out = []
    for place in getattr(answer, "destinations", ()):
        if isinstance(place, LocalMailbox):
            out.append(f"{place.account} {place.detail}".strip())
        elif isinstance(place, Redirect):
            out.append(f"-> {place.address}")
    return out


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("anna@example.test", ["anna@example.test"]),
        ("ANNA@Example.TEST", ["anna@example.test"]),
        ('"anna"@example.test', ["anna@example.test"]),
        # sub-addresses: the exact address first, then the longest base
        ("anna+Lists@example.test", ["anna@example.test Lists"]),
        ("anna+x+y@example.test", ["anna@example.test x+y"]),
        ("anna+@example.test", ["anna@example.test"]),
        ("a+b@example.test", ["a+b@example.test"]),
        ("a+b+c@example.test", ["a+b@example.test c"]),
        ("a+x@example.test", ["a@example.test x"]),
        ("A+Exact@example.test", ["-> bob@example.test"]),
        ("+anna@example.test", []),
        ("d-e@dash.test", ["d-e@dash.test"]),
        ("d-x@dash.test", ["d@dash.test x"]),
        ("d+x@dash.test", []),
        ("n+x@none.test", []),
        # aliases
        ("info@example.test", ["-> anna@example.test", "-> bob@example.test", "-> x@remote.test"]),
        ("INFO+sales@example.test", ["-> anna@example.test", "-> bob@example.test", "-> x@remote.test"]),
        # catch-all
        ("whoever@catch.test", ["-> anna@example.test"]),
        ("whoever@self.test", ["-> all@self.test"]),
        ("all@self.test", []),
        # roles always reach somebody: what the domain says, else the oldest account of the domain, or of all
        ("postmaster@example.test", ["bob@example.test"]),
        ("PostMaster@example.test", ["bob@example.test"]),
        ("abuse@example.test", ["bob@example.test"]),
        ("postmaster@dash.test", ["d-e@dash.test"]),
        ("postmaster@catch.test", ["anna@example.test"]),
        ("abuse@self.test", ["anna@example.test"]),
        ("postmaster@gone.test", ["anna@example.test"]),
        ("postmaster@away.test", ["anna@example.test"]),
        ("postmaster@remote.test", []),
        # unknown, and not ours
        ("nobody@example.test", []),
        ("anna@remote.test", []),
        ("anna@sub.example.test", []),
    ],
)
async def test_resolution(server: Server, address: str, expected: list[str]) -> None:
    assert await resolve(server, address) == expected


RELAY_FORMS = ["u%remote.test@{}", "remote.test!u@{}", '"u@remote.test"@{}', "anna%example.test@{}",
               "example.test!anna@{}", '"anna@example.test"@{}', '"@example.test,@x.test:u@d.test"@{}']  # fmt: skip


@pytest.mark.parametrize("form", RELAY_FORMS)
async def test_e02_routes_in_a_local_part_are_plain_unknown_names(server: Server, form: str) -> None:
    assert await resolve(server, form.format("example.test")) == []
    assert await resolve(server, form.format("remote.test")) == []
    # A catch-all takes them as what they are: names of that domain. Nothing goes to the route.
    assert await resolve(server, form.format("catch.test")) == ["-> anna@example.test"]


async def test_an_exact_role_address_is_its_owners(server: Server) -> None:
    await server.add("postmaster@dash.test")
    assert await resolve(server, "postmaster@dash.test") == ["postmaster@dash.test"]
    assert await resolve(server, "abuse@dash.test") == ["d-e@dash.test"]


async def test_a_disabled_account_still_gets_its_mail(server: Server) -> None:
    await server.add("off@example.test", enabled=False)
    assert await resolve(server, "off@example.test") == ["off@example.test"]


async def test_a_new_domain_is_served_at_once(server: Server) -> None:
    assert await resolve(server, "postmaster@new.test") == []
    await server.directory.add_domain(Domain(name="new.test"))
    assert await resolve(server, "postmaster@new.test") == ["anna@example.test"]


async def test_an_account_of_a_domain_that_is_not_served_any_more_gets_nothing(server: Server) -> None:
    assert server.directory.reload({"dash.test": DOMAINS["dash.test"]}) == []
    for address in ("anna@example.test", "info@example.test", "postmaster@example.test"):
        assert await resolve(server, address) == []
    assert server.directory.account("anna@example.test") is not None


async def test_the_order_of_the_two_plugins_does_not_matter(tmp_path: Path) -> None:
    async with running(tmp_path, domains=DOMAINS, order=("aliases", "accounts")) as server:
        await server.add("anna@example.test")
        await server.add("x@catch.test")
        assert await resolve(server, "x+y@catch.test") == ["x@catch.test y"]
        assert await resolve(server, "postmaster@catch.test") == ["x@catch.test"]
        assert await resolve(server, "whoever@catch.test") == ["-> anna@example.test"]


async def test_without_any_account_nobody_is_postmaster(tmp_path: Path) -> None:
    async with running(tmp_path, domains={"example.test": DomainSettings()}) as server:
        assert await resolve(server, "postmaster@example.test") == []


@pytest.mark.parametrize(
    ("account", "address", "allowed"),
    [
        ("anna@example.test", "anna@example.test", True),
        ("anna@example.test", "ANNA+news@example.test", True),
        ("anna@example.test", "bob@example.test", False),
        ("anna@example.test", "info@example.test", True),
        ("anna@example.test", "team@example.test", True),
        ("a@example.test", "info@example.test", False),
        ("anna@example.test", "whoever@catch.test", True),
        ("bob@example.test", "whoever@catch.test", False),
        ("bob@example.test", "postmaster@example.test", True),
        ("bob@example.test", "abuse@example.test", True),
        ("anna@example.test", "postmaster@example.test", False),
        ("bob@example.test", "a+exact@example.test", True),
        ("a@example.test", "a+exact@example.test", False),
        ("anna@example.test", "loop@example.test", False),
        ("anna@example.test", "nobody@example.test", False),
        ("anna@example.test", "x@remote.test", False),
        ("anna@example.test", '"anna@example.test"@remote.test', False),
    ],
)
async def test_senders(server: Server, account: str, address: str, allowed: bool) -> None:
    ctx = SenderContext(account=AccountId(account), address=EmailAddress.parse(address))
    assert await server.hooks.sender_allowed(ctx) is allowed
