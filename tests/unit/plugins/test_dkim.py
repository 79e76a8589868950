"""The keys of a domain and who is signed for; that signatures are right is seen by other programs (tests/interop)."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailserver.hooks.contexts import BeforeSendContext
from mailserver.hooks.registry import Registry
from mailserver.model.address import EmailAddress
from mailserver.model.dns import Answer
from mailserver.model.envelope import Envelope
from mailserver.model.errors import MailError, NotFound, NotPermitted, StorageFailure
from mailserver.model.ids import AccountId, QueueId
from mailserver.model.verdict import Accept, Defer
from mailserver.plugins.dkim import plugin
from mailserver.plugins.dkim.keys import KeyStore
from mailserver.plugins.dkim.rotation import Rotation
from mailserver.plugins.dkim.settings import DkimSettings
from mailserver.ports.directory import Domain
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_host

ANNA = AccountId("anna@example.test")
MESSAGE = b"From: Anna <anna@example.test>\r\nTo: b@far.test\r\nSubject: hello\r\n\r\nhello\r\n"
SELECTOR = re.compile(r" s=([^;]+);")


def patched_together() -> bytes:
    """An RSA key with another modulus: what it signs, nobody can verify."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    modulus = key.public_key().public_numbers().n
    damaged = der.replace(modulus.to_bytes(128), (modulus ^ 1 << 500).to_bytes(128))
    assert damaged != der
    return b"-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n" % base64.encodebytes(damaged)


class Domains:
    """The served domains."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def domain(self, name: str) -> Domain | None:
        return Domain(name=name) if name in self.names else None

    def domains(self) -> list[Domain]:
        return [Domain(name=name) for name in self.names]


class Zone:
    """The TXT records that the world can see."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    async def txt(self, name: str) -> Answer[bytes]:
        found = self.records.get(name)
        return Answer(records=() if found is None else (found,), name=name)


class Server:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.domains = Domains("example.test")
        self.zone = Zone()
        self.host = make_host(
            data_dir=root, directory=self.domains, resolver=self.zone, clock=self.clock, hostname="mx.example.test"
        )
        self.registry = Registry()

    @property
    def keys(self) -> Path:
        return self.root / ".server" / "dkim"

    async def send(self, message: bytes = MESSAGE, account: AccountId | None = ANNA, own: bool = False) -> Any:
        (sign,) = self.registry.hooks["before_send"]
        envelope = Envelope(sender=EmailAddress.parse("anna@example.test"), account=account, own=own)
        answer = sign(
            BeforeSendContext(queue_id=QueueId("0123456789abcdef"), envelope=envelope, content=BytesContent(message))
        )
        return await answer if isawaitable(answer) else answer

    async def ask(self, operation: str, **arguments: Any) -> Any:
        (found,) = [c.value for c in self.registry.contributions["operation"] if c.name == operation]
        return await found(arguments)

    async def publish(self) -> None:
        for row in await self.ask("dkim.list", domain="example.test"):
            self.zone.records[row["name"]] = row["record"].encode()

    async def selectors(self) -> list[str]:
        verdict = await self.send()
        assert isinstance(verdict, Accept)
        return [SELECTOR.search(field.value)[1] for field in verdict.headers]  # type: ignore[index]


@asynccontextmanager
async def running(root: Path) -> AsyncIterator[Server]:
    server = Server(root)
    (root / ".server").mkdir(exist_ok=True)
    async with plugin.setup(server.registry, DkimSettings(), server.host):
        yield server


async def test_the_first_message_of_a_domain_is_signed_by_two_keys(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        verdict = await server.send()
        assert [field.name for field in verdict.headers] == ["DKIM-Signature"] * 2
        assert "a=rsa-sha256" in verdict.headers[0].value and "a=ed25519-sha256" in verdict.headers[1].value
        assert all(" d=example.test;" in field.value for field in verdict.headers)
        now = int(server.clock.time())
        assert f" t={now}; x={now + 7 * 86400};" in verdict.headers[0].value
        for path in (server.keys / "example.test").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((server.keys / "example.test").stat().st_mode) == 0o700
        first = await server.selectors()
    async with running(tmp_path) as server:
        assert await server.selectors() == first, "a restart makes no other keys"


async def test_a_domain_that_is_added_later_has_keys_too(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.domains.names.append("new.test")
        verdict = await server.send(MESSAGE.replace(b"anna@example.test", b"anna@New.test"))
        assert all(" d=new.test;" in field.value for field in verdict.headers)


@pytest.mark.parametrize(
    ("author", "account", "own", "signed"),
    [
        (b"a@example.test", ANNA, False, True),
        (b"a@foreign.test", ANNA, False, False),
        (b"a@sub.example.test", ANNA, False, False),
        (b"a@example.test.foreign.test", ANNA, False, False),
        (b"a@test", ANNA, False, False),
        (b"a@example.test, b@foreign.test", ANNA, False, False),
        (b"a@example.test", None, False, False),
        (b"mailer-daemon@mx.example.test", None, True, True),
        (b"a@foreign.test", None, True, False),
        (b"not an address", ANNA, False, False),
    ],
)
async def test_only_our_own_words_in_our_own_name(
    tmp_path: Path, author: bytes, account: AccountId | None, own: bool, signed: bool
) -> None:
    async with running(tmp_path) as server:
        verdict = await server.send(b"From: " + author + b"\r\n\r\nx\r\n", account, own)
        assert (verdict is not None) is signed
        if signed:
            assert all(" d=example.test;" in field.value for field in verdict.headers)


@pytest.mark.parametrize("damage", ["unreadable", "garbage", "public", "patched together", "foreign name", "directory"])
async def test_g20_nothing_leaves_unsigned_while_a_key_cannot_be_read(tmp_path: Path, damage: str) -> None:
    async with running(tmp_path) as server:
        await server.send()
        folder = server.keys / "example.test"
        key = next(folder.glob("*r.key"))
    if damage == "unreadable":
        key.unlink()
        key.symlink_to("/nonexistent")
    elif damage == "garbage":
        key.write_bytes(b"no key\n")
    elif damage == "public":
        key.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    elif damage == "patched together":
        key.write_bytes(patched_together())
    elif damage == "foreign name":
        (folder / "Key.PEM").write_bytes(b"")
    else:
        key.unlink()
        key.mkdir()
    async with running(tmp_path) as server:
        verdict = await server.send()
        assert isinstance(verdict, Defer) and verdict.reply.status == "4.3.5"
        assert str(folder) in verdict.reason and str(folder) not in verdict.reply.text
        with pytest.raises(StorageFailure, match="waits until this is mended"):
            await server.ask("dkim.list", domain="example.test")


async def test_rotation_waits_for_dns_and_then_overlaps(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        old = await server.selectors()
        server.clock.advance(86400)
        rows = await server.ask("dkim.rotate", domain="example.test")
        assert sorted(row["state"] for row in rows) == ["next", "next", "signing", "signing"]
        assert await server.ask("dkim.rotate", domain="example.test") == rows, "asked twice, it makes no third pair"
        assert await server.selectors() == old
        with pytest.raises(NotPermitted, match="DNS does not have"):
            await server.ask("dkim.activate", domain="example.test")
        await server.publish()
        rows = await server.ask("dkim.activate", domain="example.test")
        new = await server.selectors()
        assert not set(new) & set(old) and len(new) == 2
        retired = [row for row in rows if row["state"] == "retired"]
        assert {row["selector"] for row in retired} == set(old) and all(row["in_dns"] for row in retired)
        assert not list((server.keys / "example.test").glob(f"{old[0]}.key")), "a retired private key is gone"


async def test_the_hourly_look_activates_what_dns_has(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (tmp_path / ".server").mkdir()
    async with KeyStore(server.keys, server.clock) as keys:
        rotation = Rotation(keys, server.host)
        await keys.load("example.test")
        server.clock.advance(86400)
        coming = [key for key in await keys.add_next("example.test") if key.state.value == "next"]
        await rotation.check()
        server.zone.records[coming[0].name] = coming[0].record.encode()
        server.zone.records[coming[1].name] = b"v=DKIM1; k=rsa; p=AAAA"
        await rotation.check()
        assert {key.state.value for key in await keys.load("example.test")} == {"key", "next"}
        server.zone.records[coming[1].name] = coming[1].record.encode()
        await rotation.check()
        found = {key.selector: key.state.value for key in await keys.load("example.test")}
        assert sorted(found.values()) == ["key", "key", "retired", "retired"]
        assert all(found[key.selector] == "key" for key in coming)


@pytest.mark.parametrize("crash", ["renamed", "retired"])
async def test_a_crash_in_the_middle_of_a_rotation_is_made_good(tmp_path: Path, crash: str) -> None:
    async with running(tmp_path) as server:
        old = await server.selectors()
        server.clock.advance(86400)
        await server.ask("dkim.rotate", domain="example.test")
    folder = server.keys / "example.test"
    for path in folder.glob("*.next"):
        path.rename(path.with_suffix(".key"))
    if crash == "retired":
        (folder / f"{old[0]}.retired").write_text("v=DKIM1; k=rsa; p=\n")
    async with running(tmp_path) as server:
        new = await server.selectors()
        assert len(new) == 2 and not set(new) & set(old)
        assert {path.name for path in folder.iterdir()} == {f"{s}.key" for s in new} | {f"{s}.retired" for s in old}


async def test_what_is_asked_for_a_domain_of_others(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for operation in ("dkim.rotate", "dkim.activate", "dkim.list"):
            with pytest.raises(NotFound, match="not served"):
                await server.ask(operation, domain="foreign.test")
            with pytest.raises(MailError):
                await server.ask(operation, domain="../../etc")
