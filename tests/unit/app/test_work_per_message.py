"""What the whole server does for one message of a stranger, with all plugins as they are shipped: counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailserver.app.build import build
from mailserver.app.run import load_everything
from mailserver.mime import headers, structure
from mailserver.mime.dkim import canonical
from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.net.batches import Batches
from mailserver.net.workers import Workers
from mailserver.plugins.bayes.database import open_database
from mailserver.plugins.bayes.model import Lesson, Model
from mailserver.ports.directory import Account
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.clock import FakeClock
from tests.helpers.dns import DnsServer
from tests.helpers.signing import seal, signer
from tests.helpers.smtp import AsyncSmtp

PEER, HELO = "198.51.100.7", "mx.far.test"
SIGNER, LIST = signer(domain="far.test"), signer(domain="list.test")
CONFIG = """hostname = "mail.example.test"
data_dir = "maildir"
[domains."example.test"]
[smtp]
listen = ["127.0.0.1:0"]
proxy_from = ["127.0.0.1"]
[dns]
servers = ["{dns}"]
"""
#: Work that is handed to threads, by the name of the pool.
ASKED = Counter({"commit": 1, "reputation": 1, "bayes": 1})


def letter(number: int) -> bytes:
    header = (
        f"From: Bob <bob@far.test>\r\nTo: anna@example.test\r\nSubject: The minutes of our meeting\r\n"
        f"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@far.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
    )
    plain = "--b\r\nContent-Type: text/plain\r\n\r\nThe minutes are ready, see you at the station\r\n"
    shown = '--b\r\nContent-Type: text/html\r\n\r\n<p>The minutes <a href="https://far.test/m">are ready</a></p>\r\n'
    return f"{header}{plain}{shown}--b--\r\n".encode()


def teach(path: Path) -> None:
    """As many lessons as the classifier needs to have an opinion."""
    db = open_database(path)
    model = Model(db, FakeClock(), shared=True)
    for number in range(60):
        junk = bool(number % 2)
        text = letter(number).replace(b"minutes", b"pills") if junk else letter(number)
        model.learn(db, Lesson(account="", created=0.0, octets=text, junk=junk, everybody=True, at=1.8e9))
    db.close()


@contextmanager
def zone() -> Iterator[DnsServer]:
    with DnsServer() as dns:
        dns.add("far.test", "TXT", f'"v=spf1 ip4:{PEER} -all"')
        dns.add("far.test", "MX", "10 mx.far.test.")
        dns.add(HELO, "A", PEER)
        dns.add("_dmarc.far.test", "TXT", '"v=DMARC1; p=reject"')
        dns.add("7.100.51.198.in-addr.arpa", "PTR", f"{HELO}.")
        for each in (SIGNER, LIST):
            dns.add(each.name, "TXT", f'"{each.record[:200]}" "{each.record[200:]}"')
        yield dns


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[int]:
    """Port 25 of the server, which was built as `serve` builds it."""
    state = root / "maildir" / ".server"
    state.mkdir(parents=True, mode=0o700)
    accounts = SqliteDirectory(state / "accounts.db", {"example.test": DomainSettings()})
    for name in ("anna", "ben"):
        address = EmailAddress(name, "example.test")
        account = AccountId(address.key)
        await accounts.add_account(Account(account=account, address=address, password_hash="", scram=None))
    accounts.close()
    await asyncio.to_thread(teach, state / "bayes.db")
    async with AsyncExitStack() as stack:
        dns = stack.enter_context(zone())
        (root / "config.toml").write_text(CONFIG.format(dns=dns.endpoint))
        app = await build(load_everything(str(root / "config.toml")), stack)
        (listener,) = [one for one in app.listeners if one.name == "smtp"]
        stopping, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(listener.run(ready.set, stopping))
        await ready.wait()
        try:
            yield listener.bound[0][1]
        finally:
            stopping.set()
            await running


async def send(port: int, *messages: bytes, each: Callable[[], None], to: Sequence[str] = ("anna",)) -> None:
    """Over one connection; `each` is called before each message."""
    smtp = AsyncSmtp(port)
    smtp.reader, smtp.writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        assert (await smtp.command(f"PROXY TCP4 {PEER} 127.0.0.1 40000 25")).code == 220
        assert (await smtp.command(f"EHLO {HELO}")).code == 250
        for message in messages:
            each()
            reply = await smtp.message("bob@far.test", [f"{name}@example.test" for name in to], message)
            assert reply.code == 250, reply
    finally:
        await smtp.__aexit__(None, None, None)


class Work:
    """What was done since `begin`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self._count(monkeypatch, structure._Scanner, "run", "structures")
        self._count(monkeypatch, headers, "_named", "headers", whole=True)
        self._count(monkeypatch, canonical._CanonicalBody, "end", "bodies")
        self._count(monkeypatch, Workers, "submit", "")

    def begin(self) -> None:
        self.read.clear()
        self.asked.clear()

    def _count(
        self, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, what: str, *,
        whole: bool = False,
    ) -> None:  # fmt: skip
        work = getattr(place, name)

        def counted(*args: Any, **given: Any) -> Any:
            # Of headers, those of parts begin further down.
            if not whole or args[1] == 0:
                (self.read if what else self.asked)[what or args[0]._name] += 1
            return work(*args, **given)

        monkeypatch.setattr(place, name, counted)


async def test_a_message_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as port:
        work = Work(monkeypatch)
        # Two checks examine the body in one form, and two signatures that DKIM looks at.
        signed = [LIST.sign(SIGNER.sign(letter(number))) for number in (100, 101)]
        await send(port, *signed, seal(SIGNER.sign(letter(102)), LIST, 1), each=work.begin)
        assert work.read == {"headers": 1, "structures": 1, "bodies": 1}
        await send(port, SIGNER.sign(letter(103)), each=work.begin, to=("anna", "ben"))
        assert work.read == {"headers": 1, "structures": 1, "bodies": 1}
        both = LIST.sign(SIGNER.sign(letter(104)), c="relaxed/simple")
        await send(port, both, letter(105), each=work.begin)
        assert work.read == {"headers": 1, "structures": 1}


async def test_forms_of_the_body_are_made_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as port:
        work = Work(monkeypatch)
        signed = LIST.sign(SIGNER.sign(letter(100)), c="relaxed/simple")
        await send(port, seal(signed, LIST, 1), each=work.begin)
        assert work.read == {"headers": 1, "structures": 1, "bodies": 2}


async def test_threads_are_asked_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is learned and told is written in batches, seconds later.
    monkeypatch.setattr(Batches, "soon", lambda _: None)
    async with serving(tmp_path) as port:
        work = Work(monkeypatch)
        await send(port, *(SIGNER.sign(letter(number)) for number in range(100, 103)), each=work.begin)
        assert work.asked <= ASKED
