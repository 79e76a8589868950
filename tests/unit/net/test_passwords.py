"""Passwords off the loop. The attacks of ATTACKS K are in tests/attacks/test_k_auth.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from mailserver.model.errors import InvalidInput
from mailserver.model.ids import AccountId
from mailserver.net.passwords import Passwords
from mailserver.wire.sasl import make_verifier

ANNA = AccountId("anna@example.test")


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    one = Passwords()
    yield one
    one.close()


async def test_a_password_is_hashed_and_known_again(passwords: Passwords) -> None:
    stored, scram = await passwords.hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert scram is not None
    assert scram == make_verifier("correct horse", scram.salt)
    assert (scram.iterations, len(scram.salt)) == (100_000, 16)
    assert await passwords.verify(ANNA, stored, "correct horse")
    assert not await passwords.verify(ANNA, stored, "correct horsE")
    assert not await passwords.verify(ANNA, "", "correct horse")
    again, other = await passwords.hash("correct horse")
    assert other is not None
    assert (again, other.salt) != (stored, scram.salt)


async def test_k03_nobody_s_password_costs_what_another_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked against is made up, by no computation, and yet it is computed to the end: no password fits."""
    computed, checked = [], []

    def hashed(secret: bytes, *rest: Any, **costs: Any) -> bytes:
        computed.append(secret)
        return hash_secret(secret, *rest, **costs)

    def verified(stored: bytes, secret: bytes, kind: Type) -> bool:
        try:
            return verify_secret(stored, secret, kind)
        except VerifyMismatchError:
            checked.append(stored)
            raise

    monkeypatch.setattr("mailserver.net.passwords.hash_secret", hashed)
    monkeypatch.setattr("mailserver.net.passwords.verify_secret", verified)
    passwords = Passwords()
    assert not computed
    stored, _ = await passwords.hash("x")
    await passwords.verify_nobody("y")
    assert not await passwords.verify(ANNA, stored, "y")
    nobody, real = ([len(part) for part in one.split(b"$")] for one in checked)
    assert nobody == real
    assert checked[0].split(b"$")[:4] == checked[1].split(b"$")[:4]
    passwords.close()


async def test_the_forms_of_one_password_are_one(passwords: Passwords) -> None:
    stored, _ = await passwords.hash("p\u00e4ss\u00a0wort 😀")
    assert await passwords.verify(ANNA, stored, "pa\u0308ss wort 😀")


async def test_success_is_remembered_failure_is_not(passwords: Passwords) -> None:
    stored, _ = await passwords.hash("x")
    before = passwords.hashes
    for _ in range(5):
        assert await passwords.verify(ANNA, stored, "x")
    assert passwords.hashes == before + 1
    for _ in range(3):
        assert not await passwords.verify(ANNA, stored, "y")
    assert passwords.hashes == before + 4


async def test_connections_of_one_client_share_one_computation(passwords: Passwords) -> None:
    stored, _ = await passwords.hash("x")
    before = passwords.hashes
    assert all(await asyncio.gather(*(passwords.verify(ANNA, stored, "x") for _ in range(100))))
    assert passwords.hashes == before + 1


async def test_without_scram_no_verifier_is_made() -> None:
    one = Passwords(scram=False)
    assert (await one.hash("x"))[1] is None
    one.close()


@pytest.mark.parametrize("password", ["", "x" * 1025, "ä" * 513, "a\0b", "\x1b[2J", "\ud800", "\u00ad"])
async def test_what_can_be_no_password_is_refused_with_words(passwords: Passwords, password: str) -> None:
    with pytest.raises(InvalidInput):
        await passwords.hash(password)


async def test_a_hash_of_another_program_is_good(passwords: Passwords) -> None:
    stored = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4).hash("password")
    assert await passwords.verify(ANNA, stored, "password")
    assert not await passwords.verify(ANNA, stored, "Password")
