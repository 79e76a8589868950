"""Keys as files: `data_dir/.server/dkim/<domain>/<selector>.<state>`. No other state is kept anywhere.

    <selector>.next      a private key that waits until its record is seen in DNS
    <selector>.key       the private key that signs
    <selector>.retired   the public record of a key that signed until the file's time; its private key is gone

Selectors end in the letter of their algorithm: 20261120r (RSA-2048), 20261120e (Ed25519). Of each algorithm the newest
`.key` signs, and older ones are retired whenever the keys are read: so a crash between any two steps of a rotation is
made good by the next start. Who has keys of another server puts each here as `<selector>.key` (PEM, unencrypted); the
selector is then what the other server's DNS record says.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from mailserver import api

__all__ = ["Key", "KeyState", "KeyStore", "Unusable"]

_NAME = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.(next|key|retired)", re.ASCII)
_LARGEST = 64 << 10
_RSA_BITS = 2048
#: RFC 8301 §3.2: shorter ones must not be used to sign.
_SHORTEST_RSA = 1024
_LETTERS = {"rsa": "r", "ed25519": "e"}
_PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Unusable(Exception):
    """Something of a domain's keys cannot be read; the words are for the operator."""


class KeyState(Enum):
    """The end of a file's name."""

    NEXT = "next"
    SIGNING = "key"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a domain. `record` is the text of its TXT record; `since` the time of its file, in epoch seconds."""

    domain: str
    selector: str
    algorithm: str
    state: KeyState
    record: str
    since: float
    private: _PrivateKey | None

    @property
    def name(self) -> str:
        """Where the record belongs in DNS (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    def sign(self, octets: bytes) -> bytes:
        """The signature over `octets` (RFC 6376 §3.7, RFC 8463 §3)."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(octets, padding.PKCS1v15(), hashes.SHA256())
        if self.private is None:
            raise ValueError("a retired key does not sign")
        digest = hashes.Hash(hashes.SHA256())
        digest.update(octets)
        return self.private.sign(digest.finalize())


class KeyStore:
    """The keys of all domains. Files are read and written in one thread of its own, in the order of the calls."""

    def __init__(self, path: Path, clock: api.Clock) -> None:
        self._path = path
        self._clock = clock
        self._known: dict[str, tuple[Key, ...] | Unusable] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dkim")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)

    def known(self, domain: str) -> Sequence[Key] | None:
        """What `load` found before. Raises Unusable as it did."""
        found = self._known.get(domain)
        if isinstance(found, Unusable):
            raise found
        return found

    async def load(self, domain: str) -> Sequence[Key]:
        """Read a domain's keys, after making some if there are none that sign. Raises Unusable."""
        return await self._run(domain, self._load)

    async def add_next(self, domain: str) -> Sequence[Key]:
        """Make the keys that will sign later, if none wait already. Raises Unusable."""
        return await self._run(domain, self._add_next)

    async def activate(self, domain: str) -> Sequence[Key]:
        """Let the waiting keys sign from now on, and retire those that did. Raises Unusable."""
        return await self._run(domain, self._activate)

    async def forget(self, key: Key) -> None:
        """Remove what is left of a retired key."""

        def remove(domain: str) -> Sequence[Key]:
            path = self._path / domain / f"{key.selector}.retired"
            if key.state is KeyState.RETIRED:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise Unusable(f"{path}: {error.strerror or error}") from error
            return self._read(domain)

        await self._run(key.domain, remove)

    async def _run(self, domain: str, work: Callable[[str], Sequence[Key]]) -> Sequence[Key]:
        """Only the outcome becomes known, never what is there in the middle of a change."""

        def run() -> Sequence[Key]:
            try:
                found = tuple(work(domain))
            except Unusable as error:
                self._known[domain] = error
                raise
            self._known[domain] = found
            return found

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def _load(self, domain: str) -> Sequence[Key]:
        keys = self._settle(domain)
        # Only a domain without any: who took an algorithm away meant it.
        if not any(key.state is KeyState.SIGNING for key in keys):
            self._make(domain, KeyState.SIGNING, keys)
            keys = self._read(domain)
        return keys

    def _add_next(self, domain: str) -> Sequence[Key]:
        keys = self._load(domain)
        if not any(key.state is KeyState.NEXT for key in keys):
            self._make(domain, KeyState.NEXT, keys)
            keys = self._read(domain)
        return keys

    def _activate(self, domain: str) -> Sequence[Key]:
        folder = self._path / domain
        try:
            for key in self._read(domain):
                if key.state is KeyState.NEXT:
                    os.rename(folder / f"{key.selector}.next", folder / f"{key.selector}.key")
            # The new ones must be durable before the old ones go.
            api.fsync_dir(str(folder))
        except OSError as error:
            raise Unusable(f"{folder}: {error.strerror or error}") from error
        return self._settle(domain)

    def _settle(self, domain: str) -> Sequence[Key]:
        """Retire all keys but the newest of each algorithm."""
        folder = self._path / domain
        keys = self._read(domain)
        newest = {key.algorithm: key for key in sorted(keys, key=_age) if key.state is KeyState.SIGNING}
        old = [key for key in keys if key.state is KeyState.SIGNING and key is not newest[key.algorithm]]
        if not old:
            return keys
        try:
            for key in old:
                api.write_durably(str(folder / f"{key.selector}.retired"), f"{key.record}\n".encode("ascii"))
                (folder / f"{key.selector}.key").unlink()
            api.fsync_dir(str(folder))
        except OSError as error:
            raise Unusable(f"{folder}: {error.strerror or error}") from error
        return self._read(domain)

    def _make(self, domain: str, state: KeyState, keys: Sequence[Key]) -> None:
        folder = self._path / domain
        taken = {key.selector for key in keys}
        day = datetime.fromtimestamp(self._clock.time(), UTC).strftime("%Y%m%d")
        mark = next(m for m in ("", *(f"-{n}" for n in range(2, 1000))) if not {f"{day}{m}{c}" for c in "re"} & taken)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in (self._path.parent, self._path, folder):
                api.fsync_dir(str(path))
            made: Sequence[tuple[str, _PrivateKey]] = (
                ("rsa", rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)),
                ("ed25519", ed25519.Ed25519PrivateKey.generate()),
            )
            for algorithm, private in made:
                pem = private.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                api.write_durably(str(folder / f"{day}{mark}{_LETTERS[algorithm]}.{state.value}"), pem)
        except OSError as error:
            raise Unusable(f"{folder}: {error.strerror or error}") from error

    def _read(self, domain: str) -> list[Key]:
        folder = self._path / domain
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unusable(f"{folder}: {error.strerror or error}") from error
        found = []
        for name in names:
            if (match := _NAME.fullmatch(name)) is None:
                if not name.startswith("."):
                    raise Unusable(f"{folder / name}: not the name of a key (<selector>.key, .next or .retired)")
                continue
            path = folder / name
            try:
                data = api.read_file(str(path), _LARGEST)
                since = path.stat().st_mtime
            except OSError as error:
                raise Unusable(f"{path}: {error.strerror or error}") from error
            found.append(_key(domain, match[1], KeyState(match[2]), data, since, path))
        return found


def _age(key: Key) -> tuple[float, str]:
    return key.since, key.selector


def _at_one(private: rsa.RSAPrivateKey) -> bool:
    """Whether a key's signatures are good: a file that was damaged or patched together must not sign."""
    try:
        signature = private.sign(b"", padding.PKCS1v15(), hashes.SHA256())
        private.public_key().verify(signature, b"", padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature, InternalError):
        return False
    return True


def _key(domain: str, selector: str, state: KeyState, data: bytes, since: float, path: Path) -> Key:
    if state is KeyState.RETIRED:
        record = data.decode("ascii", "replace").strip()
        algorithm = "ed25519" if "k=ed25519" in record else "rsa"
        return Key(domain, selector, algorithm, state, record, since, None)
    try:
        # The library's own validation tries primes for 35 ms with the whole process waiting; `_at_one` takes one.
        private = serialization.load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unusable(f"{path}: not an unencrypted private key in PEM") from error
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return Key(domain, selector, "ed25519", state, api.dkim_record("ed25519", raw), since, private)
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= _SHORTEST_RSA:
        if not _at_one(private):
            raise Unusable(f"{path}: its private and its public part do not belong together")
        der = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return Key(domain, selector, "rsa", state, api.dkim_record("rsa", der), since, private)
    raise Unusable(f"{path}: only RSA keys of 1,024 bits and more and Ed25519 keys sign (RFC 8301, RFC 8463)")
