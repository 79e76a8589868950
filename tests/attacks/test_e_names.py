"""ATTACKS E06: no two different user names or addresses reach one account, unless a rule says that they are equal.

The rules: ASCII letters of the local part fold; Unicode is compared in NFC; domains fold as DNS and IDNA have it.
Nothing else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailserver.hooks.contexts import LocalMailbox, ResolveContext
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput
from mailserver.net.login import LoginOk, LoginRefused, user_key
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.plugins import Server, make_session, running

TLS = make_session(service="imap", tls="TLSv1.3", peer="192.0.2.1")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, domains={"kiosk.test": DomainSettings()}) as server:
        for address in ("kim@kiosk.test", "irene@kiosk.test", "jos\u00e9@kiosk.test", "stra\u00dfe@kiosk.test"):
            await server.add(address, "secret")
        yield server


EQUAL = [
    ("kim@kiosk.test", "KIM@KIOSK.TEST"),
    ("kim@kiosk.test", "Kim@kiosk.test"),
    ("jos\u00e9@kiosk.test", "jose\u0301@kiosk.test"),
    ("jos\u00e9@kiosk.test", "JOS\u00e9@kiosk.test"),
]
DIFFERENT = [
    "\u212aim@kiosk.test",  # Kelvin sign
    "\uff4bim@kiosk.test",  # full-width k
    "\u0131rene@kiosk.test",  # dotless i
    "\u0130rene@kiosk.test",  # I with a dot
    "i\u0307rene@kiosk.test",
    "jose@kiosk.test",
    "JOS\u00c9@kiosk.test",
    "strasse@kiosk.test",
    "k\u00adim@kiosk.test",  # soft hyphen
    "kim\u200b@kiosk.test",
    "kim @kiosk.test",
    " kim@kiosk.test",
    "kim@kiosk.test ",
    "kim@kiosk.test\n",
    "kim\0@kiosk.test",
    "kim@kiosk.test.",
    "kim@\u212aiosk.test",
    "kim\uff20kiosk.test",
    "kim",
    "kim+x@kiosk.test",
    "kim@kiosk.test@kiosk.test",
]


@pytest.mark.parametrize(("name", "other"), EQUAL)
async def test_e06_spellings_that_a_rule_makes_equal(server: Server, name: str, other: str) -> None:
    account = EmailAddress.parse(name).key
    assert await server.login.login(TLS, other, "secret") == LoginOk(account)  # type: ignore[arg-type]
    assert user_key(name) == user_key(other)


@pytest.mark.parametrize("name", DIFFERENT)
async def test_e06_look_alikes_are_other_people(server: Server, name: str) -> None:
    assert isinstance(await server.login.login(TLS, name, "secret"), LoginRefused)


def equal_by_rule(one: EmailAddress, two: EmailAddress) -> bool:
    def canonical(address: EmailAddress) -> tuple[str, str]:
        local = unicodedata.normalize("NFC", address.local)
        return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in local), address.domain

    return canonical(one) == canonical(two)


LETTERS = "kKiIjJsS\u212a\u0131\u0130\u00df\u017f\u00e9\u00c9e\u0301\u0307\uff4b.+"
NAMES = st.text(alphabet=LETTERS, min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES)
@example("k", "\u212a")
@example("s", "\u017f")
def test_e06_one_key_only_for_what_is_equal(one: str, two: str) -> None:
    try:
        first, second = EmailAddress.parse(f"{one}@kiosk.test"), EmailAddress.parse(f"{two}@kiosk.test")
    except InvalidInput:
        return
    assert (first.key == second.key) == equal_by_rule(first, second)


@pytest.mark.parametrize("name", [name for name in DIFFERENT if "+" not in name])
async def test_e06_mail_for_a_look_alike_is_not_delivered(server: Server, name: str) -> None:
    try:
        address = EmailAddress.parse(name)
    except InvalidInput:
        return
    answer = await server.hooks.resolve(ResolveContext(address=address))
    places = getattr(answer, "destinations", ())
    assert not [place for place in places if isinstance(place, LocalMailbox)]
