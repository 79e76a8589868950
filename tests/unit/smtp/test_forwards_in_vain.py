"""Forwards of accounts to addresses of ours that take nothing: the account keeps its mail, or gets it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailserver.hooks.contexts import LocalMailbox, Redirect, Resolution, ResolveContext, Unresolvable
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import STAYS_HERE
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from tests.helpers.queue import envelope_for
from tests.helpers.smtp_service import DOMAIN, SmtpHarness
from tests.unit.smtp.test_queued import deliver, job

Places = list[LocalMailbox | Redirect]
ANNA, BEN = AccountId(f"anna@{DOMAIN}"), AccountId(f"ben@{DOMAIN}")
CLEO = AccountId(f"cleo@{DOMAIN}")
FAR, MORE = EmailAddress.parse("bert@far.test"), EmailAddress.parse("dora@far.test")
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
    names.places["anna"] = [LocalMailbox(account=ANNA, forward=(FAR,), keep=False), to("gone", ANNA)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (1, 0)
    assert [item.envelope.recipients[0].address for item in server.queue.items] == [FAR]


async def test_what_leads_too_far(server: SmtpHarness, names: Names) -> None:
    for number in range(20):
        names.places[f"a{number}"] = [to(f"a{number + 1}")]
    names.places["anna"] = [to("a0", ANNA)]
    assert await bring(server, "anna") == 250
    names.places["a0"] = [to(f"b{number}") for number in range(1200)]
    assert await bring(server, "anna") == 250
    assert await counts(server) == (2, 0)


def marks(server: SmtpHarness) -> list[dict[str, set[str]]]:
    found = [item.envelope.returns_to for item in server.queue.items]
    server.queue.items.clear()
    return found


@pytest.mark.parametrize("queued", [False, True])
async def test_what_aliases_lead_elsewhere_comes_back(server: SmtpHarness, names: Names, queued: bool) -> None:
    async def sent(local: str) -> list[dict[str, set[str]]]:
        if queued:
            (result,) = await deliver(server, job(f"{local}@{DOMAIN}"))
            assert result.status == "2.0.0"
        else:
            assert await bring(server, local) == 250
        return marks(server)

    far, more = FAR.key, MORE.key
    names.places |= {"anna": [to("a", ANNA)], "a": [to("b"), to("a")], "b": [Redirect(address=FAR)]}
    assert await sent("anna") == [{ANNA: {far}}]
    # An alias by itself has nothing to get back; and what it leads to besides is not the account's affair.
    assert await sent("a") == [{}]
    names.places["team"] = [to("anna"), Redirect(address=MORE)]
    assert await sent("team") == [{ANNA: {far}}]
    # Together with what the account names itself.
    names.places["anna"] = [LocalMailbox(account=ANNA, forward=(MORE,), keep=False), to("a", ANNA)]
    assert await sent("anna") == [{ANNA: {far, more}}]
    assert await counts(server) == (0, 0)
    # It has one.
    names.places["anna"] = [LocalMailbox(account=ANNA), to("a", ANNA)]
    assert await sent("anna") == [{}]
    assert await counts(server) == (1, 0)


async def test_it_comes_back_to_the_nearest(server: SmtpHarness, names: Names) -> None:
    names.places |= {
        "anna": [to("ben", ANNA), to("all", ANNA)], "ben": [to("info", BEN), to("anna", BEN)],
        "info": [Redirect(address=FAR)], "all": [Redirect(address=MORE), to("cleo")], "cleo": [to("info", CLEO)],
    }  # fmt: skip
    assert await bring(server, "anna") == 250
    assert marks(server) == [{ANNA: {MORE.key}, BEN: {FAR.key}, CLEO: {FAR.key}}]


async def test_more_than_can_be_marked(server: SmtpHarness, names: Names) -> None:
    far = [Redirect(address=EmailAddress(f"u{number}", "far.test")) for number in range(600)]
    names.places |= {"team": [to("anna"), to("ben")], "anna": [to("list", ANNA)], "ben": [to("list", BEN)]}
    names.places["list"] = list(far)
    assert await bring(server, "team") == 250
    (back,) = marks(server)
    assert [(account, len(targets)) for account, targets in back.items()] == [(ANNA, 600)]
    assert await counts(server) == (0, 1)


async def test_what_came_back_stays(server: SmtpHarness, names: Names) -> None:
    """It would be sent to the alias again, or refused as a message that was here before."""
    names.places |= {"anna": [to("info", ANNA), to("ben", ANNA)], "info": [Redirect(address=FAR)]}
    names.places["ben"] = [LocalMailbox(account=BEN)]
    envelope = replace(envelope_for(ANNA, sender="x@far.test"), extra=STAYS_HERE)
    (result,) = await deliver(server, job(envelope=envelope, content=f"Delivered-To: {ANNA}\r\n\r\nHi.\r\n".encode()))
    assert result.status == "2.0.0"
    assert (await counts(server), server.queue.items) == ((1, 0), [])
