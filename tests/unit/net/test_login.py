"""LoginService: mechanisms, exchanges, events, and the sessions that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs

from mailserver.hooks.contexts import Authenticated
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.errors import InvalidInput, NotPermitted
from mailserver.model.events import LoginFailed, LoginSucceeded
from mailserver.model.ids import AccountId
from mailserver.net.login import LoginOk, LoginRefused, SaslChallenge
from tests.helpers.plugins import Server, make_session, running
from tests.wire.test_sasl import client_final

ANNA = AccountId("anna@example.test")
TLS = make_session(service="imap", tls="TLSv1.3")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as server:
        await server.add("anna@example.test", "secret")
        yield server


def test_mechanisms_need_tls_or_a_listed_peer(server: Server) -> None:
    assert server.login.mechanisms(TLS) == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    assert server.login.mechanisms(make_session(peer="127.0.0.1")) == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    assert server.login.mechanisms(make_session(peer="::1")) != []
    plain = make_session(peer="192.0.2.7")
    assert server.login.mechanisms(plain) == []
    with pytest.raises(NotPermitted) as refused:
        server.login.start("PLAIN", plain)
    assert refused.value.status == "5.7.11"
    with pytest.raises(InvalidInput) as unknown:
        server.login.start("CRAM-MD5", TLS)
    assert unknown.value.status == "5.5.4"


async def test_credentials_in_clear_are_not_even_looked_at(server: Server) -> None:
    before = server.passwords.hashes
    result = await server.login.login(make_session(peer="192.0.2.7"), "anna@example.test", "secret")
    assert isinstance(result, LoginRefused)
    assert result.reply.code == 538
    assert server.passwords.hashes == before


async def test_plain(server: Server) -> None:
    exchange = server.login.start("plain", TLS)
    assert await exchange.step(None) == SaslChallenge(b"")
    assert await exchange.step(b"\0anna@example.test\0secret") == LoginOk(ANNA)
    exchange = server.login.start("PLAIN", TLS)
    refused = await exchange.step(b"\0Anna@example.test\0wrong")
    assert isinstance(refused, LoginRefused)
    assert (refused.reply.code, refused.reply.status) == (535, "5.7.8")


async def test_login(server: Server) -> None:
    exchange = server.login.start("LOGIN", TLS)
    assert await exchange.step(None) == SaslChallenge(b"Username:")
    assert await exchange.step(b"anna@example.test") == SaslChallenge(b"Password:")
    assert await exchange.step(b"secret") == LoginOk(ANNA)
    exchange = server.login.start("LOGIN", TLS)
    assert await exchange.step(b"anna@example.test") == SaslChallenge(b"Password:")
    assert isinstance(await exchange.step(b""), LoginRefused)


async def scram(server: Server, user: bytes, password: bytes) -> Any:
    """A whole SCRAM exchange; the last answer."""
    exchange = server.login.start("SCRAM-SHA-256", TLS)
    first = b"n,,n=" + user + b",r=clientnonce"
    challenge = await exchange.step(first)
    assert isinstance(challenge, SaslChallenge)
    final = await exchange.step(client_final(first, challenge.data, password))
    if isinstance(final, SaslChallenge):
        assert final.data.startswith(b"v=")
        return await exchange.step(b"")
    return final


async def test_scram(server: Server) -> None:
    assert await scram(server, b"anna@example.test", b"secret") == LoginOk(ANNA)
    refused = await scram(server, b"anna@example.test", b"wrong")
    assert isinstance(refused, LoginRefused)
    assert refused.reply.code == 535


async def test_scram_ends_with_an_empty_answer(server: Server) -> None:
    exchange = server.login.start("SCRAM-SHA-256", TLS)
    assert await exchange.step(None) == SaslChallenge(b"")
    first = b"n,,n=anna@example.test,r=x"
    challenge = await exchange.step(first)
    assert isinstance(challenge, SaslChallenge)
    await exchange.step(client_final(first, challenge.data, b"secret"))
    assert isinstance(await exchange.step(b"more"), LoginRefused)


async def test_events_tell_who_and_never_the_password(server: Server) -> None:
    seen: list[Any] = []
    sink = Registry(HookOptions(plugin="log"))
    sink.event_sink(seen.append)
    await server.hooks.swap([*server.hooks._registries, sink])
    await server.login.login(TLS, "anna@example.test", "secret")
    await server.login.login(TLS, "an\r\nna\x1b[2J\u202e@" + "x" * 300, "hidden")
    assert isinstance(seen[0], LoginSucceeded)
    assert (seen[0].account, seen[0].mechanism, seen[0].service) == (ANNA, "LOGIN", "imap")
    assert isinstance(seen[1], LoginFailed)
    assert seen[1].user.startswith("an??na?[2J?@x")
    assert len(seen[1].user) == 128
    assert "secret" not in str(seen)
    assert "hidden" not in str(seen)


async def test_a_failing_plugin_is_a_temporary_refusal(server: Server) -> None:
    bad = Registry(HookOptions(plugin="bad"))

    def broken(ctx: Any) -> Any:
        raise OSError("no database")

    bad.authenticate(broken)
    bad.scram_verifier(broken)
    await server.hooks.swap([bad])
    with capture_logs():
        result = await server.login.login(TLS, "anna@example.test", "secret")
        assert isinstance(result, LoginRefused)
        assert result.reply.code == 454
        exchange = server.login.start("SCRAM-SHA-256", TLS)
        assert await exchange.step(b"n,,n=anna@example.test,r=x") == result
    assert not server.failures.blocked("192.0.2.7")


async def test_a_contributed_mechanism_is_offered(server: Server) -> None:
    class Exchange:
        async def step(self, response: bytes | None) -> LoginOk:
            return LoginOk(AccountId((response or b"").decode()))

    plugin = Registry(HookOptions(plugin="sso"))
    plugin.sasl_mechanism("GSSAPI", lambda session: Exchange())
    await server.hooks.swap([plugin])
    assert server.login.mechanisms(TLS)[-1] == "GSSAPI"
    assert await server.login.start("gssapi", TLS).step(b"x") == LoginOk(AccountId("x"))


async def test_a_change_of_password_a_disabling_and_a_removal_end_sessions(server: Server) -> None:
    ended: list[str] = []
    server.login.register(ANNA, lambda reason: ended.append("one"))
    forget = server.login.register(ANNA, lambda reason: ended.append("forgotten"))

    def broken(reason: str) -> None:
        raise OSError

    server.login.register(ANNA, broken)
    server.login.register(AccountId("bob@example.test"), lambda reason: ended.append("bob"))
    assert server.login.sessions(ANNA) == 3
    forget()
    forget()
    account = server.directory.account(ANNA)
    assert account is not None
    await server.directory.update_account(replace(account, octets_limit=5))
    assert ended == []
    with capture_logs() as logs:
        argon2id, scram = await server.passwords.hash("new")
        await server.directory.update_account(replace(account, password_hash=argon2id, scram=scram))
        assert ended == ["one"]
        await server.directory.update_account(replace(account, enabled=False))
        await server.directory.remove_account(ANNA)
    assert ended == ["one"] * 3
    assert [log["event"] for log in logs] == ["session could not be ended"] * 3


async def test_a_login_that_began_before_a_change_is_void(server: Server) -> None:
    account = server.directory.account(ANNA)
    assert account is not None
    argon2id, verifier = await server.passwords.hash("new")
    exchange = server.login.start("SCRAM-SHA-256", TLS)
    first = b"n,,n=anna@example.test,r=x"
    challenge = await exchange.step(first)
    assert isinstance(challenge, SaslChallenge)
    await server.directory.update_account(replace(account, password_hash=argon2id, scram=verifier))
    assert isinstance(await exchange.step(client_final(first, challenge.data, b"secret")), LoginRefused)
    assert isinstance(await server.login.login(TLS, ANNA, "secret"), LoginRefused)
    assert await server.login.login(TLS, ANNA, "new") == LoginOk(ANNA)


async def test_a_change_while_the_password_is_checked_voids_the_login(server: Server) -> None:
    slow = Registry(HookOptions(plugin="slow"))

    def changed_meanwhile(ctx: Any) -> Authenticated:
        server.login.credentials_changed(ANNA)
        return Authenticated(account=ANNA)

    slow.authenticate(changed_meanwhile)
    await server.hooks.swap([slow])
    result = await server.login.login(TLS, ANNA, "secret")
    assert isinstance(result, LoginRefused)
    assert result.temporary


async def test_a_hash_of_former_costs_is_renewed_by_a_login(server: Server) -> None:
    """No session ends by it, other logins at the same moment do not repeat it, and a failed login does nothing."""
    bob = await server.add("bob@example.test", "secret")
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("secret")
    account = server.directory.account(bob)
    assert account is not None
    await server.directory.update_account(replace(account, password_hash=weak, scram=None))
    ended: list[str] = []
    server.login.register(bob, ended.append)
    assert isinstance(await server.login.login(TLS, "bob@example.test", "wrong"), LoginRefused)
    assert server.directory.account(bob).password_hash == weak  # type: ignore[union-attr]
    before = server.passwords.hashes
    logins = await asyncio.gather(*(server.login.login(TLS, "bob@example.test", "secret") for _ in range(20)))
    assert logins == [LoginOk(bob)] * 20
    assert server.passwords.hashes == before + 2
    renewed = server.directory.account(bob)
    assert renewed is not None and renewed.scram is not None
    assert renewed.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await server.login.login(TLS, "bob@example.test", "secret") == LoginOk(bob)
    assert ended == [] and server.directory.account(bob) == renewed


async def test_a_hash_that_costs_more_than_ours_stays(server: Server) -> None:
    bob = await server.add("bob@example.test", "secret")
    strong = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4).hash("secret")
    account = server.directory.account(bob)
    assert account is not None
    await server.directory.update_account(replace(account, password_hash=strong))
    assert await server.login.login(TLS, "bob@example.test", "secret") == LoginOk(bob)
    assert server.directory.account(bob).password_hash == strong  # type: ignore[union-attr]


async def test_a_disabled_account_does_not_log_in(server: Server) -> None:
    await server.add("off@example.test", "secret", enabled=False)
    assert isinstance(await server.login.login(TLS, "off@example.test", "secret"), LoginRefused)
    assert isinstance(await scram(server, b"off@example.test", b"secret"), LoginRefused)


async def test_without_scram_it_is_neither_offered_nor_kept(tmp_path: Path) -> None:
    async with running(tmp_path, scram=False) as server:
        await server.add("anna@example.test", "secret")
        assert server.login.mechanisms(TLS) == ["PLAIN", "LOGIN"]
        account = server.directory.account(ANNA)
        assert account is not None
        assert account.scram is None
