"""Forwards of accounts to addresses of ours that take nothing: the account keeps its mail."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailserver.hooks.contexts import LocalMailbox, Redirect, Resolution, ResolveContext, Unresolvable
from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from tests.helpers.smtp_service import DOMAIN, SmtpHarness

Places = list[LocalMailbox | Redirect]
ANNA, BEN = AccountId(f"anna@{DOMAIN}"), AccountId(f"ben@{DOMAIN}")
CODES = {"gone": 550, "later": 450}


def to(local: str, keeper: AccountId | None = None) -> Redirect:
    otherwise = LocalMailbox(account=keeper) if keeper else None
    return Redirect(address=EmailAddress(local, DOMAIN), otherwise=otherwise)


class Names:
    """Local parts → what they stand for."""

    def __init__(self) -> None:
        self.places: dict[str, Places] = {}

    def resolve(self, ctx: ResolveContext) -> Resolution | Unresolvable | None:
        local = ctx.address.local
        if local in CODES:
            return Unresolvable(reply=Reply(CODES[local], "5.1.1" if CODES[local] == 550 else "4.2.1", "No"))
        return Resolution(destinations=tuple(self.places[local])) if local in self.places else None


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def server(names: Names) -> AsyncIterator[SmtpHarness]:
    harness = SmtpHarness()
    harness.registry.hooks["resolve"].clear()
    harness.registry.resolve(names.resolve)
    async with harness as server:
        yield server


async def bring(server: SmtpHarness, local: str) -> int:
    async with server.client() as client:
        await client.command("EHLO x")
        return (await client.message("x@stranger.test", [f"{local}@{DOMAIN}"], b"Subject: hello\r\n\r\nHi.\r\n")).code


async def counts(server: SmtpHarness) -> tuple[int, int]:
    return len(await server.mail("anna")), len(await server.mail("ben"))


@pytest.mark.parametrize("target", ["gone", "later", "nobody"])
async def test_whatever_the_reason(server: SmtpHarness, names: Names, target: str) -> None:
    names.places["anna"] = [to(target, ANNA)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (1, 0)
    # Behind aliases, too.
    names.places |= {"info": [to(target)], "anna": [to("info", ANNA)], "team": [to("anna")]}
    assert await bring(server, "team") == 250
    assert await counts(server) == (2, 0)


async def test_only_what_is_in_vain(server: SmtpHarness, names: Names) -> None:
    names.places |= {
        "ben": [LocalMailbox(account=BEN)], "anna": [to("info", ANNA)], "info": [to("gone"), to("ben")],
    }  # fmt: skip
    assert await bring(server, "anna") == 250
    assert await counts(server) == (0, 1)
    # He is named beside it: one way to him is enough.
    names.places["team"] = [to("ben"), to("anna")]
    assert await bring(server, "team") == 250
    assert await counts(server) == (0, 2)
    # One of two targets has nothing: what it would miss stays.
    names.places["anna"] = [to("gone", ANNA), to("ben", ANNA)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (1, 3)


async def test_who_is_nearest_keeps_it(server: SmtpHarness, names: Names) -> None:
    names.places |= {"anna": [to("ben", ANNA)], "ben": [to("gone", BEN)]}
    assert await bring(server, "anna") == 250
    assert await counts(server) == (0, 1)
    names.places["ben"] = [to("anna", BEN)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (0, 2)


async def test_targets_elsewhere_have_it_all_the_same(server: SmtpHarness, names: Names) -> None:
    far = EmailAddress.parse("bert@far.test")
    names.places["anna"] = [LocalMailbox(account=ANNA, forward=(far,), keep=False), to("gone", ANNA)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (1, 0)
    assert [item.envelope.recipients[0].address for item in server.queue.items] == [far]


async def test_what_leads_too_far(server: SmtpHarness, names: Names) -> None:
    for number in range(20):
        names.places[f"a{number}"] = [to(f"a{number + 1}")]
    names.places["anna"] = [to("a0", ANNA)]
    assert await bring(server, "anna") == 250
    names.places["a0"] = [to(f"b{number}") for number in range(1200)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (2, 0)
