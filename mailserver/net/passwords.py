"""Passwords: argon2id in a small pool of threads, and a keyed cache of what was proved (DESIGN §9; ATTACKS K).

One check costs about 20 ms and 19 MiB, so at most `threads` run, at most `queue` wait, and the next one is told to
come again. A place is given back when the thread ends, not when the client that waited for it goes away: clients that
hang up can never have more hashes running than the limit says.

The cache is what lets a phone log in every minute without a hash. Its keys are HMACs, under a key that lives as long
as the process, of the account, the argon2id string and the password together: an entry can serve no other account,
and a changed password finds none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import structlog
from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.ids import AccountId
from mailserver.ports.directory import ScramVerifier
from mailserver.wire.sasl import make_verifier
from mailserver.wire.saslprep import saslprep

__all__ = ["MAX_PASSWORD", "Passwords"]

T = TypeVar("T")
_log = structlog.get_logger()

#: Octets; longer ones are refused before anything is computed (ATTACKS K06).
MAX_PASSWORD = 1024
_TIME_COST, _MEMORY_KIB, _LANES = 2, 19 * 1024, 1
_CACHE_SIZE = 10_000
# RFC 9106 §3.1 as the reference implementation writes it. Foreign hashes (argon2-cffi's default is m=64 MiB, t=3, p=4)
# are good; what would take the machine's memory or seconds of CPU is not (ATTACKS K14).
_STORED = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,10}),t=([0-9]{1,5}),p=([0-9]{1,5})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}",
    re.ASCII,
)
_MAX_MEMORY_KIB, _MAX_TIME, _MAX_LANES = 128 * 1024, 10, 8


class Passwords:
    """Implements ports.passwords.PasswordVerifier. `hashes` counts the argon2id computations that were started."""

    def __init__(self, *, threads: int = 4, queue: int = 64, scram: bool = True) -> None:
        """`scram` False: `hash` makes no SCRAM verifier."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._scram = scram
        self._free = threads + queue
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._proved: OrderedDict[bytes, str] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        self._nobody = _written(secrets.token_bytes(16), secrets.token_bytes(32))
        self.hashes = 0

    def close(self) -> None:
        """Wait for the hashes that run; drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def verify(self, account: AccountId, stored: str, password: str) -> bool:
        """Whether `password` belongs to `stored`; a hash from the cache costs microseconds.

        Raises:
            LimitReached: too many checks wait already; temporary.
        """
        prepared = _prepare(password)
        if prepared is None:
            return False
        if stored and not _sane(stored):
            _log.error("stored password hash refused: not argon2id, or with absurd costs", account=account)
            stored = ""
        key = self._cache_key(account, stored, prepared)
        if stored and hmac.compare_digest(self._proved.get(key, "").encode(), stored.encode()):
            self._proved.move_to_end(key)
            return True
        # Several connections of one client log in with one password at the same moment: they share one computation.
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._check(key, stored, prepared))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    def outdated(self, stored: str) -> bool:
        """Whether an argon2id string has less memory times passes than ours have."""
        match = _STORED.fullmatch(stored)
        return match is not None and int(match[1]) * int(match[2]) < _MEMORY_KIB * _TIME_COST

    async def verify_nobody(self, password: str) -> None:
        """The cost of `verify` for a user who does not exist (ATTACKS K03). Raises LimitReached."""
        await self.verify(AccountId(""), "", password)

    async def hash(self, password: str) -> tuple[str, ScramVerifier | None]:
        """The argon2id string and the SCRAM verifier of a new password, each with a salt of its own.

        Raises:
            InvalidInput: empty, longer than 1,024 octets, or with characters that RFC 4013 forbids.
            LimitReached: too many checks wait already; temporary.
        """
        if not password:
            raise InvalidInput("a password must not be empty")
        prepared = _prepare(password)
        if prepared is None:
            raise InvalidInput("a password has at most 1024 octets, and no control characters (RFC 4013)")

        def compute() -> tuple[str, ScramVerifier | None]:
            verifier = make_verifier(password, secrets.token_bytes(16)) if self._scram else None
            return _hash(prepared), verifier

        return await self._in_thread(compute)

    async def _check(self, key: bytes, stored: str, prepared: bytes) -> bool:
        good = await self._in_thread(lambda: _verify(stored or self._nobody, prepared))
        if not good or not stored:
            return False
        self._proved[key] = stored
        if len(self._proved) > _CACHE_SIZE:
            self._proved.popitem(last=False)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._free <= 0:
                raise LimitReached("too many logins at once, try again in a moment", status="4.7.0", temporary=True)
            self._free -= 1
            self.hashes += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._release)
        return await asyncio.wrap_future(future)

    def _release(self, _: Future[T]) -> None:
        with self._lock:
            self._free += 1

    def _cache_key(self, account: str, stored: str, prepared: bytes) -> bytes:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (account.encode(), stored.encode(), prepared):
            # Each with its length, so that no two triples read the same (ATTACKS K10).
            mac.update(len(part).to_bytes(4, "big") + part)
        return mac.digest()


def _prepare(password: str) -> bytes | None:
    """The octets that are hashed, or None for what can be no password: empty, too long, forbidden characters."""
    if not 0 < len(password) <= MAX_PASSWORD:
        return None
    try:
        if len(password.encode()) > MAX_PASSWORD:
            return None
        return saslprep(password).encode() or None
    except (InvalidInput, UnicodeEncodeError):
        return None


def _sane(stored: str) -> bool:
    match = _STORED.fullmatch(stored)
    if match is None:
        return False
    memory, time, lanes = (int(match[group]) for group in (1, 2, 3))
    return 8 * lanes <= memory <= _MAX_MEMORY_KIB and 1 <= time <= _MAX_TIME and 1 <= lanes <= _MAX_LANES


def _hash(secret: bytes) -> str:
    return hash_secret(
        secret, secrets.token_bytes(16), time_cost=_TIME_COST, memory_cost=_MEMORY_KIB, parallelism=_LANES, hash_len=32,
        type=Type.ID,
    ).decode("ascii")  # fmt: skip


def _written(salt: bytes, digest: bytes) -> str:
    """A hash like ours that no password has: to check one against it costs what checking a real one costs."""
    encoded = (base64.b64encode(octets).rstrip(b"=").decode("ascii") for octets in (salt, digest))
    return "$".join(("", "argon2id", "v=19", f"m={_MEMORY_KIB},t={_TIME_COST},p={_LANES}", *encoded))


def _verify(stored: str, secret: bytes) -> bool:
    try:
        return verify_secret(stored.encode("ascii"), secret, Type.ID)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        _log.error("password hash could not be checked", error=type(error).__name__)
        return False
