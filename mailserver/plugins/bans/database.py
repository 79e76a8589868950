"""`bans.db`: bans, past ones for a while too, and from where users logged in. Functions run in the ledger's thread."""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from mailserver import api
from mailserver.plugins.bans.networks import Ban, Network

__all__ = ["MOST_BANS", "MOST_PLACES", "PlaceKey", "load", "open_database", "write"]

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE ban (
        network TEXT PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL, reason TEXT NOT NULL,
        times INTEGER NOT NULL, by TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE place (
        address TEXT NOT NULL, user TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (address, user)
    ) WITHOUT ROWID""",
)
#: Bans and places that are remembered; the oldest go first.
MOST_BANS, MOST_PLACES = 50_000, 20_000
#: The first address of the network, and the account.
PlaceKey = tuple[str, str]


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_side_database(path, _VERSION, _SCHEMA)


def load(
    db: sqlite3.Connection, ended_after: float, places_after: float
) -> tuple[list[Ban], dict[PlaceKey, float]]:
    """Bans that end or ended after a time, and places of logins after another (epoch seconds), oldest first."""
    bans = [
        Ban(ipaddress.ip_network(network), since, until, reason, times, by)
        for network, since, until, reason, times, by in db.execute(
            "SELECT network, since, until, reason, times, by FROM ban WHERE until > ? ORDER BY until", (ended_after,)
        )
    ]
    rows = db.execute("SELECT address, user, at FROM place WHERE at > ? ORDER BY at", (places_after,))
    return bans, {(address, user): at for address, user, at in rows}


def write(
    db: sqlite3.Connection,
    put: Iterable[Ban],
    removed: Iterable[Network],
    places: Mapping[PlaceKey, float],
    ended_before: float,
    places_before: float,
) -> None:
    """Add and take away; what is too old, or too much, is forgotten."""
    with api.transaction(db):
        db.executemany("DELETE FROM ban WHERE network = ?", [(str(network),) for network in removed])
        db.executemany(
            "REPLACE INTO ban (network, since, until, reason, times, by) VALUES (?, ?, ?, ?, ?, ?)",
            [(str(ban.network), ban.since, ban.until, ban.reason, ban.times, ban.by) for ban in put],
        )
        db.executemany("REPLACE INTO place VALUES (?, ?, ?)", [(*key, at) for key, at in places.items()])
        db.execute("DELETE FROM ban WHERE until <= ?", (ended_before,))
        db.execute("DELETE FROM place WHERE at <= ?", (places_before,))
        _keep(db, "ban", "network", "until", MOST_BANS)
        _keep(db, "place", "address, user", "at", MOST_PLACES)


def _keep(db: sqlite3.Connection, table: str, key: str, order: str, most: int) -> None:
    (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    if number > most:
        oldest = f"SELECT {key} FROM {table} ORDER BY {order} LIMIT ?"  # noqa: S608
        db.execute(f"DELETE FROM {table} WHERE ({key}) IN ({oldest})", (number - most,))  # noqa: S608
