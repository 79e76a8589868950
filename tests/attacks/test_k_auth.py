"""ATTACKS K: authentication. What a protocol has to add (K06, K07 on the wire) is tested with its server."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.errors import LimitReached
from mailserver.model.events import LoginFailed
from mailserver.model.ids import AccountId
from mailserver.model.password import ScramVerifier
from mailserver.net import passwords as passwords_module
from mailserver.net.login import LoginOk, LoginRefused, SaslChallenge
from mailserver.net.passwords import Passwords
from mailserver.net.settings import LimitsSettings
from mailserver.wire.sasl import SaslError, ScramServer, decode_response, make_verifier
from tests.helpers.plugins import Server, make_session, running
from tests.wire.test_sasl import CLIENT_FINAL, CLIENT_FIRST, LAX, SERVER_FIRST, SERVER_NONCE, client_final
from tests.wire.test_sasl import VERIFIER as RFC_VERIFIER

ROOT = Path(__file__).parents[2]
ANNA = AccountId("anna@example.test")
#: From a trusted network, so that the limits on guessing (K01) do not get in the way.
TLS = make_session(service="submission", tls="TLSv1.3", peer="127.0.0.1", trusted=True)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, limits=LimitsSettings()) as server:
        await server.add("anna@example.test", "secret")
        await server.add("off@example.test", "secret", enabled=False)
        await server.add("empty@example.test")
        yield server


@contextmanager
def slow_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHashes]:
    """Checks that take until they are let go."""
    slow = SlowHashes()
    monkeypatch.setattr(passwords_module, "_verify", slow.verify)
    try:
        yield slow
    finally:
        slow.gate.set()


class SlowHashes:
    """In place of argon2: counts the threads that are in it at the same time."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.now = self.most = 0

    def verify(self, stored: str, secret: bytes) -> bool:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.release()
        assert self.gate.wait(30)
        with self.lock:
            self.now -= 1
        return False

    async def wait_for(self, checks: int) -> None:
        """Until so many have begun."""
        for _ in range(checks):
            assert await asyncio.to_thread(self.begun.acquire, timeout=30)


USERS = ["anna@example.test", "off@example.test", "empty@example.test", "nobody@example.test", "x@remote.test",
         "anna", "anna+x@example.test", "not an address", "a" * 500]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
async def test_k03_every_wrong_login_costs_one_hash_and_sounds_the_same(server: Server, user: str) -> None:
    before = server.passwords.hashes
    result = await server.login.login(TLS, user, "wrong")
    assert server.passwords.hashes == before + 1
    assert result == LoginRefused("Authentication credentials invalid", "5.7.8")


@pytest.mark.parametrize("user", ["nobody@example.test", "off@example.test", "empty@example.test", "odd"])
async def test_k03_scram_of_an_unknown_user_looks_like_that_of_a_known_one(server: Server, user: str) -> None:
    async def first_answer(name: str) -> bytes:
        answer = await server.login.start("SCRAM-SHA-256", TLS).step(b"n,,n=%b,r=x" % name.encode())
        assert isinstance(answer, SaslChallenge)
        return answer.data

    known, one, two = await first_answer(ANNA), await first_answer(user), await first_answer(user)
    salt = [part.split(b",")[1:] for part in (known, one, two)]
    assert salt[1] == salt[2], "the invented salt is always the same"
    assert salt[0] != salt[1]
    assert [len(part) for part in salt[0]] == [len(part) for part in salt[1]]
    assert salt[0][1] == salt[1][1], "and the iterations are those of everybody"
    exchange = server.login.start("SCRAM-SHA-256", TLS)
    first = b"n,,n=%b,r=x" % user.encode()
    challenge = await exchange.step(first)
    assert isinstance(challenge, SaslChallenge)
    result = await exchange.step(client_final(first, challenge.data, b"secret"))
    assert result == LoginRefused("Authentication credentials invalid", "5.7.8")


async def test_k03_the_invented_salt_survives_a_restart_and_is_ours(tmp_path: Path) -> None:
    salts = []
    for folder in ("a", "a", "b"):
        async with running(tmp_path / folder) as server:
            salts.append((await server.login.find_verifier(TLS, "nobody@example.test"))[1].salt)
    assert salts[0] == salts[1] != salts[2]


async def test_k04_four_run_sixty_four_wait_and_the_rest_come_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_hashes(monkeypatch) as slow:
        logins = [
            asyncio.create_task(server.login.login(TLS, f"u{number}@example.test", f"p{number}"))
            for number in range(200)
        ]
        refused, waiting = set[asyncio.Task[Any]](), set(logins)
        while len(waiting) > 68:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        assert {login.result().reply.code for login in refused} == {454}
        slow.gate.set()
        results = await asyncio.gather(*logins)
    assert slow.most == 4
    codes = [result.reply.code for result in results if isinstance(result, LoginRefused)]
    assert (codes.count(535), codes.count(454)) == (68, 132)
    monkeypatch.undo()
    assert await server.login.login(TLS, ANNA, "secret") == LoginOk(ANNA)


async def test_k05_a_place_is_free_when_its_thread_ends_not_when_the_client_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(threads=2, queue=1)
    with slow_hashes(monkeypatch) as slow:
        checks = [asyncio.create_task(passwords.verify_nobody(f"p{number}")) for number in range(3)]
        await slow.wait_for(2)
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        # The clients are gone, the hashes are not.
        with pytest.raises(LimitReached) as busy:
            await passwords.verify_nobody("another")
        assert busy.value.temporary
        slow.gate.set()
        await asyncio.to_thread(passwords.close)
        assert passwords._free == 3


@pytest.mark.parametrize("size", [1025, 1 << 20])
async def test_k06_a_long_password_is_refused_before_anything_is_computed(server: Server, size: int) -> None:
    before = server.passwords.hashes
    for user in (ANNA, "nobody@example.test"):
        for password in ("x" * size, "ä" * (size // 2 + 1)):
            result = await server.login.login(TLS, user, password)
            assert result == LoginRefused("Authentication credentials invalid", "5.7.8")
    assert server.passwords.hashes == before


@pytest.mark.parametrize(
    "message",
    [
        b"\0\0", b"\0anna@example.test\0", b"\0anna@example.test\0sec\0ret", b"\0\0secret",
        b"admin@example.test\0anna@example.test\0secret", b"\0anna@example.test\0\xff",
    ],
)  # fmt: skip
async def test_k06_odd_plain_messages_end_the_exchange(server: Server, message: bytes) -> None:
    before = server.passwords.hashes
    assert isinstance(await server.login.start("PLAIN", TLS).step(message), LoginRefused)
    assert server.passwords.hashes == before
    assert isinstance(await server.login.start("PLAIN", TLS).step(b"\0anna@example.test\0s"), LoginRefused)


@pytest.mark.parametrize("password", ["x", "ä", "p\u0000", "\u202e", "\x07"])
async def test_k06_short_and_odd_passwords_are_plain_wrong(server: Server, password: str) -> None:
    result = await server.login.login(TLS, ANNA, password)
    assert result == LoginRefused("Authentication credentials invalid", "5.7.8")


async def test_k07_a_broken_exchange_leaves_other_logins_alone(server: Server) -> None:
    good = server.login.start("LOGIN", TLS)
    await good.step(b"anna@example.test")
    for text in LAX:
        with pytest.raises(SaslError):
            decode_response(text)
    broken = server.login.start("SCRAM-SHA-256", TLS)
    await broken.step(b"n,,n=anna@example.test,r=x")
    assert isinstance(await broken.step(b"\xff" * 10_000), LoginRefused)
    del broken  # a client that is cut off in the middle
    assert isinstance(await server.login.start("PLAIN", TLS).step(b"A" * (1 << 20)), LoginRefused)
    assert await good.step(b"secret") == LoginOk(ANNA)


def scram_server() -> ScramServer:
    scram = ScramServer(SERVER_NONCE)
    scram.receive_first(CLIENT_FIRST)
    scram.challenge(RFC_VERIFIER)
    return scram


NONCE = b"rOprNGfwEbeRWgbNEkqO" + SERVER_NONCE


@pytest.mark.parametrize(
    "nonce", [b"rOprNGfwEbeRWgbNEkqO", SERVER_NONCE, NONCE[:-1], NONCE + b"x", NONCE.swapcase(), b"x" * len(NONCE)]
)
def test_k08_the_nonce_is_ours_and_whole(nonce: bytes) -> None:
    with pytest.raises(SaslError):
        scram_server().receive_final(CLIENT_FINAL.replace(NONCE, nonce))
    # Even if the client signs another nonce with the right password.
    with pytest.raises(SaslError):
        scram_server().receive_final(client_final(CLIENT_FIRST, SERVER_FIRST, b"pencil", nonce=nonce))


async def test_k08_a_recorded_exchange_is_worth_nothing(server: Server) -> None:
    first = b"n,,n=anna@example.test,r=fixed"
    recorded = server.login.start("SCRAM-SHA-256", TLS)
    challenge = await recorded.step(first)
    assert isinstance(challenge, SaslChallenge)
    final = client_final(first, challenge.data, b"secret")
    assert isinstance(await recorded.step(final), SaslChallenge)
    replayed = server.login.start("SCRAM-SHA-256", TLS)
    again = await replayed.step(first)
    assert isinstance(again, SaslChallenge)
    assert again.data != challenge.data, "our part of the nonce is new"
    assert isinstance(await replayed.step(final), LoginRefused)


@pytest.mark.parametrize(
    ("sent", "signed"),
    [
        (b"n", b"y,,"), (b"y", b"n,,"), (b"n", b"p=tls-exporter,,"), (b"n", b"n,a=admin,"), (b"n", b"n,,x"),
        (b"n", b""),
    ],
)  # fmt: skip
def test_k08_a_flag_that_was_changed_on_the_way_is_seen(sent: bytes, signed: bytes) -> None:
    """Who makes `y` into `n` on the way to hide -PLUS, or adds a binding, breaks the signature of the header."""
    first = sent + b",,n=user,r=abc"
    scram = ScramServer(b"xyz")
    scram.receive_first(first)
    challenge = scram.challenge(RFC_VERIFIER)
    with pytest.raises(SaslError):
        scram.receive_final(client_final(first, challenge, b"pencil", binding=signed or b","))


async def test_k08_a_verifier_with_few_iterations_proves_nothing(server: Server) -> None:
    weak = make_verifier("secret", b"s" * 16, 1000)
    account = server.directory.account(ANNA)
    assert account is not None
    await server.directory.update_account(replace(account, scram=weak))
    exchange = server.login.start("SCRAM-SHA-256", TLS)
    first = b"n,,n=anna@example.test,r=x"
    challenge = await exchange.step(first)
    assert isinstance(challenge, SaslChallenge)
    assert challenge.data.endswith(b",i=100000")
    assert isinstance(await exchange.step(client_final(first, challenge.data, b"secret")), LoginRefused)


def test_k08_a_mechanism_is_not_weakened_by_failing(server: Server) -> None:
    """SCRAM stays first in the list whatever happened before: a client that takes the first is never led to PLAIN."""
    assert server.login.mechanisms(TLS)[0] == "SCRAM-SHA-256"


async def test_k10_an_entry_of_the_cache_serves_one_account_one_hash_one_password() -> None:
    passwords = Passwords()
    stored, _ = await passwords.hash("secret")
    other, _ = await passwords.hash("secret")
    assert await passwords.verify(ANNA, stored, "secret")
    before = passwords.hashes
    for account, hashed, password in (
        (AccountId("bob@example.test"), stored, "secret"),
        (AccountId(""), stored, "secret"),
        (ANNA, other, "secret"),
        (ANNA, stored, "Secret"),
        # pieces that would read the same if they were joined without their lengths
        (ANNA, stored[:-1], stored[-1] + "secret"),
        (AccountId(ANNA[:-1]), ANNA[-1] + stored, "secret"),
    ):
        with capture_logs():
            await passwords.verify(account, hashed, password)
    assert passwords.hashes == before + 6
    assert await passwords.verify(ANNA, stored, "secret")
    assert passwords.hashes == before + 6
    assert all(b"secret" not in key for key in passwords._proved)
    passwords.close()


async def test_k10_a_changed_password_misses_at_once(server: Server) -> None:
    assert await server.login.login(TLS, ANNA, "secret") == LoginOk(ANNA)
    account = server.directory.account(ANNA)
    assert account is not None
    argon2id, scram = await server.passwords.hash("new")
    await server.directory.update_account(replace(account, password_hash=argon2id, scram=scram))
    assert isinstance(await server.login.login(TLS, ANNA, "secret"), LoginRefused)


def test_k11_secrets_are_compared_as_bytes_in_constant_time() -> None:
    """compare_digest(str) raises for what is not ASCII, and == tells how much was right."""
    for name in ("net/passwords.py", "net/login.py", "wire/sasl.py"):
        tree = ast.parse((ROOT / "mailserver" / name).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
                    n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
                }
                secret = names & {"password", "prepared", "proof", "client_key", "signature", "salted", "stored"}
                assert not secret or "len" in names, f"{name}:{node.lineno}"


@pytest.mark.parametrize("password", ["pässwörd", "密码", "пароль", "😀"])
async def test_k11_passwords_of_all_scripts_work(server: Server, password: str) -> None:
    account = await server.add("new@example.test", password)
    assert await server.login.login(TLS, account, password) == LoginOk(account)
    assert isinstance(await server.login.login(TLS, account, password + "x"), LoginRefused)
    first = b"n,,n=new@example.test,r=x"
    exchange = server.login.start("SCRAM-SHA-256", TLS)
    challenge = await exchange.step(first)
    assert isinstance(challenge, SaslChallenge)
    assert isinstance(await exchange.step(client_final(first, challenge.data, password.encode())), SaslChallenge)


GOOD = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"


@pytest.mark.parametrize(
    "stored",
    [
        GOOD.replace("m=19456", "m=2097152"), GOOD.replace("t=2", "t=9999"), GOOD.replace("p=1", "p=200"),
        GOOD.replace("m=19456", "m=4294967295"), GOOD.replace("m=19456", "m=1"), GOOD.replace("t=2", "t=0"),
        GOOD.replace("m=19456", "m=١٩٤٥٦"), GOOD.replace("argon2id", "argon2i"), GOOD.replace("v=19", "v=16"),
        GOOD + "\n", GOOD + "A" * 200, "$2b$12$abcdefghijklmnopqrstuv", "{PLAIN}secret", "secret",
    ],
)  # fmt: skip
async def test_k14_a_stored_hash_with_absurd_costs_is_refused_with_an_alarm(server: Server, stored: str) -> None:
    account = server.directory.account(ANNA)
    assert account is not None
    await server.directory.update_account(replace(account, password_hash=stored))
    before = server.passwords.hashes
    with capture_logs() as logs:
        result = await server.login.login(TLS, ANNA, "secret")
    assert result == LoginRefused("Authentication credentials invalid", "5.7.8")
    assert server.passwords.hashes == before + 1, "and it costs what others cost"
    assert [(log["log_level"], log["account"]) for log in logs] == [("error", ANNA)]
    assert stored not in str(logs)


async def test_k01_guesses_over_all_services_share_their_counters(tmp_path: Path) -> None:
    seen: list[Any] = []
    async with running(tmp_path) as server:
        await server.add("anna@example.test", "secret")
        sink = Registry(HookOptions(plugin="log"))
        sink.event_sink(seen.append)
        await server.hooks.swap([*server.hooks._registries, sink])
        before = server.passwords.hashes
        for number in range(60):
            service = ("submission", "imap", "http")[number % 3]
            session = make_session(service=service, tls="TLSv1.3")
            if number % 2:
                await server.login.login(session, ANNA, f"guess{number}")
            else:
                exchange = server.login.start("SCRAM-SHA-256", session)
                challenge = await exchange.step(CLIENT_FIRST)
                assert isinstance(challenge, SaslChallenge)
                await exchange.step(client_final(CLIENT_FIRST, challenge.data, b"x"))
        assert server.passwords.hashes <= before + 10
        reasons = [event.reason for event in seen if isinstance(event, LoginFailed)]
        assert len(reasons) == 60
        assert reasons.count("too many failures") == 50
        refused = await server.login.login(make_session(service="imap", tls="TLSv1.3"), ANNA, "secret")
        assert isinstance(refused, LoginRefused)
        assert refused.temporary
        elsewhere = make_session(service="imap", tls="TLSv1.3", peer="203.0.113.5")
        assert await server.login.login(elsewhere, ANNA, "secret") == LoginOk(ANNA)


async def test_k02_a_thousand_networks_on_one_account(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.add(ANNA, "secret")
        home = make_session(service="imap", tls="TLSv1.3", peer="203.0.113.5")
        assert await server.login.login(home, ANNA, "secret") == LoginOk(ANNA)
        before = server.passwords.hashes
        for number in range(1000):
            session = make_session(service="imap", tls="TLSv1.3", peer=f"10.{number // 250}.{number % 250}.1")
            result = await server.login.login(session, ANNA, "secret" if number > 500 else "guess")
            assert isinstance(result, LoginRefused)
        assert server.passwords.hashes == before + 100
        # The device that was here before; and others' accounts are open to all.
        assert await server.login.login(home, ANNA, "secret") == LoginOk(ANNA)
        await server.add("ben@example.test", "secret")
        new = make_session(service="imap", tls="TLSv1.3", peer="203.0.113.77")
        assert await server.login.login(new, "ben@example.test", "secret") == LoginOk(AccountId("ben@example.test"))


def test_nothing_secret_shows_in_a_repr() -> None:
    verifier = ScramVerifier(salt=b"salty", iterations=4096, stored_key=b"hidden", server_key=b"hidden")
    assert "salty" not in repr(verifier)
    assert "hidden" not in repr(verifier)
    assert "hidden" not in repr(SaslChallenge(b"hidden"))
