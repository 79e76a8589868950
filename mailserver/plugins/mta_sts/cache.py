"""The policies that we have, in `data_dir/.server/mta_sts.db`: what was learnt once holds until it expires.

The file can be lost: then each policy is fetched at the next mail, and until then a domain is as unprotected as one
that was never written to. So it outlives restarts, and a file that is damaged is put aside, which the log tells.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from mailserver import api
from mailserver.plugins.mta_sts.policy import Mode, StsPolicy

__all__ = ["CachedPolicy", "PolicyCache"]

T = TypeVar("T")
_VERSION = 1
_SCHEMA = """CREATE TABLE policy (
    domain TEXT PRIMARY KEY, id TEXT NOT NULL, mode TEXT NOT NULL, max_age INTEGER NOT NULL, patterns TEXT NOT NULL,
    text TEXT NOT NULL, fetched REAL NOT NULL, used REAL NOT NULL, tried REAL NOT NULL, trouble TEXT NOT NULL
) WITHOUT ROWID"""
_COLUMNS = "domain, id, mode, max_age, patterns, text, fetched, used, tried, trouble"
_WITHOUT_TEXT = _COLUMNS.replace(" text,", " '',")
#: Seconds that a policy holds at least, so that one fetch serves a burst of mail.
_LEAST_AGE = 300
_EXPIRES = f"fetched + max(max_age, {_LEAST_AGE})"
#: More domains than this: those that nobody wrote to for the longest time are forgotten.
MOST = 20_000
#: Of a policy's text this much is kept; it is for reports only.
_LONGEST_TEXT = 16 << 10
_DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedPolicy:
    """A policy with its id. Times are epoch seconds: when it was fetched, used, and when that was `tried` last.

    `trouble`: why the last try failed, "" after one that did not.
    """

    domain: str
    id: str
    policy: StsPolicy
    fetched: float
    used: float
    tried: float
    trouble: str = ""

    @property
    def expires(self) -> float:
        """Never used from then on (RFC 8461 §3.2)."""
        return self.fetched + max(self.policy.max_age, _LEAST_AGE)


class PolicyCache:
    """All of it runs in one thread of its own. Methods raise StorageFailure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mta-sts")
        self._db: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def get(self, domain: str) -> CachedPolicy | None:
        """Expired ones too."""
        rows = await self._run(lambda db: db.execute(
            f"SELECT {_COLUMNS} FROM policy WHERE domain = ?", (domain,)  # noqa: S608
        ).fetchall())  # fmt: skip
        return _policy(rows[0]) if rows else None

    async def overview(self) -> list[CachedPolicy]:
        """In the order of the names, without their texts."""
        rows = await self._run(lambda db: db.execute(
            f"SELECT {_WITHOUT_TEXT} FROM policy ORDER BY domain"  # noqa: S608
        ).fetchall())  # fmt: skip
        return [_policy(row) for row in rows]

    async def due(self, now: float, *, after: float, again: float, used: float, most: int) -> list[CachedPolicy]:
        """What should be fetched again, the oldest first, without their texts.

        Fetched more than `after` seconds or half of its life ago; not tried in the last `again`, used in the last
        `used` seconds.
        """
        rows = await self._run(lambda db: db.execute(
            f"SELECT {_WITHOUT_TEXT} FROM policy"  # noqa: S608
            f" WHERE fetched + min(?, max(max_age, {_LEAST_AGE}) / 2) <= ? AND tried <= ? AND used >= ?"
            " ORDER BY fetched LIMIT ?", (after, now, now - again, now - used, most)
        ).fetchall())  # fmt: skip
        return [_policy(row) for row in rows]

    async def put(self, cached: CachedPolicy) -> None:
        """Instead of what was there for this domain."""
        policy = cached.policy
        row = (
            cached.domain, cached.id, policy.mode.value, policy.max_age, "\n".join(policy.patterns),
            "\n".join(policy.text)[:_LONGEST_TEXT], cached.fetched, cached.used, cached.tried, cached.trouble,
        )  # fmt: skip
        await self._run(lambda db: _put(db, row))

    async def used(self, cached: CachedPolicy, now: float) -> CachedPolicy:
        """It was used now."""
        await self._run(lambda db: db.execute("UPDATE policy SET used = ? WHERE domain = ?", (now, cached.domain)))
        return replace(cached, used=now)

    async def failed(self, domain: str, now: float, trouble: str) -> None:
        """It could not be refreshed."""
        await self._run(lambda db: db.execute(
            "UPDATE policy SET tried = ?, trouble = ? WHERE domain = ?", (now, trouble[:500], domain)
        ))  # fmt: skip

    async def expire(self, now: float) -> None:
        """Forget what may not be used any more."""
        await self._run(lambda db: db.execute(f"DELETE FROM policy WHERE {_EXPIRES} <= ?", (now,)))  # noqa: S608

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise api.StorageFailure("the policies of MTA-STS cannot be read or written", detail=str(error)) from None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._opened())
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            self._close()
            api.put_aside(self._path, error)
        return work(self._opened())

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = api.open_side_database(self._path, _VERSION, (_SCHEMA,))
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _put(db: sqlite3.Connection, row: tuple[object, ...]) -> None:
    db.execute(f"REPLACE INTO policy ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
    (count,) = db.execute("SELECT count(*) FROM policy").fetchone()
    if count > MOST:
        db.execute(
            "DELETE FROM policy WHERE domain IN (SELECT domain FROM policy ORDER BY used LIMIT ?)", (count - MOST,)
        )


def _policy(row: tuple[str, str, str, int, str, str, float, float, float, str]) -> CachedPolicy:
    domain, given, mode, max_age, patterns, text, fetched, used, tried, trouble = row
    policy = StsPolicy(
        mode=Mode(mode), max_age=max_age, patterns=tuple(patterns.split("\n")) if patterns else (),
        text=tuple(text.split("\n")) if text else (),
    )  # fmt: skip
    return CachedPolicy(
        domain=domain, id=given, policy=policy, fetched=fetched, used=used, tried=tried, trouble=trouble
    )
