"""ATTACKS E05: characters that mean something to SQL, LDAP, patterns, formats or paths mean nothing to any look-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.hooks.contexts import LocalMailbox, Resolution, ResolveContext, SenderContext
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput
from mailserver.model.ids import AccountId
from mailserver.net.login import LoginRefused
from tests.helpers.plugins import make_session, running

ANNA = AccountId("anna@example.test")
ORDER = ("addresses", "accounts", "aliases")
TLS = make_session(service="imap", tls="TLSv1.3")
HOSTILE = [
    "'/**/UNION/**/SELECT/**/1--", "*", "%", "_", "%{user}", "${jndi:x}", "*)(uid=*", "a'or'1'='1", "anna'--", ".*",
    "an+a", "ann?", "[a]nna", "anna|ben", "^anna$", "anna%00", "%s%s%n", "{0}", "anna\\", "anna;--", "../anna",
]  # fmt: skip


@pytest.mark.parametrize("local", HOSTILE)
async def test_e05_no_look_up_takes_a_name_for_a_pattern(tmp_path: Path, local: str) -> None:
    async with running(tmp_path, order=ORDER) as server:
        await server.add(ANNA, "secret")
        await server.directory.add_alias(EmailAddress.parse("info@example.test"), [EmailAddress.parse(ANNA)])
        operations = {c.name: c.value for c in server.hooks.contributions("operation")}
        await operations["alias.temporary"]({"account": ANNA})
        await operations["alias.block"]({"address": "old@example.test"})
        try:
            address = EmailAddress.parse(f"{local}@example.test")
        except InvalidInput:
            address = EmailAddress.parse('"' + local.replace("\\", "\\\\") + '"@example.test')
        answer = await server.hooks.resolve(ResolveContext(address=address))
        assert answer is None
        assert not await server.hooks.sender_allowed(SenderContext(account=ANNA, address=address))
        # It can be a name like any other, and then it means itself.
        await server.add(str(address), "other")
        answer = await server.hooks.resolve(ResolveContext(address=address))
        assert isinstance(answer, Resolution)
        assert answer.destinations == (LocalMailbox(account=AccountId(address.key)),)
        for name in (local, str(address), f"{local}@example.test"):
            assert isinstance(await server.login.login(TLS, name, "secret"), LoginRefused)
