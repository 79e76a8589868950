"""Logging in with an app password, through the accounts plugin and the login service."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.model.app_password import AppPassword
from mailserver.net.login import LoginOk, LoginRefused
from tests.helpers.plugins import make_session, running


@pytest.mark.parametrize(
    ("protocols", "service", "good"),
    [((), "imap", True), ((), "submission", True), (("imap",), "imap", True), (("imap",), "submission", False)],
)
async def test_it_is_good_for_what_it_was_made_for(
    tmp_path: Path, protocols: tuple[str, ...], service: str, good: bool
) -> None:
    async with running(tmp_path) as server:
        anna = await server.add("anna@example.test", "correct horse")
        added, secret = AppPassword.make("phone", frozenset(protocols), 1.0)
        await server.directory.add_app_password(anna, added)
        session = make_session(service=service, tls="TLSv1.3")
        result = await server.login.login(session, "anna@example.test", secret)
        assert isinstance(result, LoginOk if good else LoginRefused)
        account = server.directory.account(anna)
        assert account is not None and (account.app_passwords[0].last_used == server.clock.time()) is good
        # The account's own password stays what it was.
        assert isinstance(await server.login.login(session, "anna@example.test", "correct horse"), LoginOk)


async def test_it_is_nobody_elses_and_not_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        anna = await server.add("anna@example.test", "correct horse")
        await server.add("ben@example.test", "correct horse")
        added, secret = AppPassword.make("phone", frozenset(), 1.0)
        await server.directory.add_app_password(anna, added)
        session, ended = make_session(service="imap", tls="TLSv1.3"), list[str]()
        assert isinstance(await server.login.login(session, "ben@example.test", secret), LoginRefused)
        assert isinstance(await server.login.login(session, "anna@example.test", secret.upper()), LoginOk)
        server.login.register(anna, ended.append)
        await server.directory.remove_app_password(anna, "phone")
        assert len(ended) == 1
        assert isinstance(await server.login.login(session, "anna@example.test", secret), LoginRefused)


async def test_a_disabled_account_has_none(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        anna = await server.add("anna@example.test", "correct horse", enabled=False)
        added, secret = AppPassword.make("phone", frozenset(), 1.0)
        await server.directory.add_app_password(anna, added)
        session = make_session(service="imap", tls="TLSv1.3")
        assert isinstance(await server.login.login(session, "anna@example.test", secret), LoginRefused)
