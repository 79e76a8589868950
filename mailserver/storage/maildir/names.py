"""Names on disk: message files and accounts. Pure functions; nothing here touches the disk.

A message is `<seconds>.M<µs>P<pid>Q<counter>R<random>.<host>,S=<size>[,W=<wire size>],U=<uid>,V=<uidvalidity hex>`,
in cur/ with `:2,<flags>` behind it. Everything before the colon is the base: it names the message for as long as it
lives. `S` is the file's size; `W` is the size with CRLF line ends and stands there only if it differs. `U` counts only
together with a `V` that is the folder's own UIDVALIDITY, so a file that was moved here by hand does not bring a UID.

Names are `str` as `os.fsdecode` makes them: undecodable octets are surrogates and survive the way back.
"""

from __future__ import annotations

import itertools
import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from mailserver.model.errors import LimitReached
from mailserver.model.ids import AccountId

__all__ = [
    "FLAG_LETTERS",
    "FileName",
    "NameMaker",
    "account_id",
    "account_path",
    "is_ours",
    "parse",
    "safe_host",
    "with_uid",
]

#: Maildir's letters for the system flags.
FLAG_LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
MAX_COMPONENT = 255
#: Octets; a name that claims more is not believed.
MAX_MESSAGE = (1 << 31) - 1

_FIELD = re.compile(r",([A-Z])=([0-9a-f]{1,20})(?=,|$)")
_UID_FIELDS = re.compile(r",[UV]=[0-9a-f]{1,20}(?=,|$)")
_OURS = re.compile(r"[0-9]{9,12}\.M[0-9]{1,6}P[0-9]+Q[0-9]+R[0-9a-f]{16}\.[^,/]*,S=[0-9]+")
_SECONDS = re.compile(r"[0-9]{9,12}(?=\.)")
_UNSAFE_HOST = re.compile(r"[^A-Za-z0-9.-]")
_PERCENT = re.compile(r"%([0-9a-f]{2})")
#: Stands for no text at all; nothing that is quoted gives it.
_EMPTY = "%"


@dataclass(slots=True)
class FileName:
    """A message's file name, taken apart. `info` stands behind the base, with its colon; absent fields are None."""

    base: str
    info: str
    size: int | None
    wire: int | None
    uid: int | None
    uid_validity: int | None

    @property
    def letters(self) -> str:
        """The flag letters of `info`; "" when there are none or it is not of kind `2`."""
        return self.info[3:].partition(",")[0] if self.info.startswith(":2,") else ""

    @property
    def saved(self) -> int | None:
        """SAVEDATE: the seconds that the name begins with."""
        found = _SECONDS.match(self.base)
        return int(found[0]) if found else None


def parse(name: str) -> FileName:
    """Take any file name apart; never fails."""
    base, colon, rest = name.partition(":")
    fields = dict(_FIELD.findall(base))
    size, wire = _number(fields.get("S"), 10), _number(fields.get("W"), 10)
    if size is not None and size > MAX_MESSAGE:
        size = None
    if wire is not None and (size is None or not size <= wire <= 2 * size):
        wire = None
    return FileName(
        base,
        colon + rest,
        size,
        wire,
        _number(fields.get("U"), 10),
        _number(fields.get("V"), 16),
    )


def _number(text: str | None, base: int) -> int | None:
    if text is None or (base == 10 and not text.isdigit()):
        return None
    return int(text, base)


def is_ours(base: str) -> bool:
    """Did this server write the file (and fsync it)?"""
    return _OURS.match(base) is not None


def with_uid(base: str, uid: int, uid_validity: int, *, size: int, wire: int) -> str:
    """The base of a file that gets this UID here: other folders' fields are replaced, lacking sizes added."""
    stem = _UID_FIELDS.sub("", base)
    fields = dict(_FIELD.findall(stem))
    if "S" not in fields:
        stem += f",S={size}"
    if wire != size and "W" not in fields:
        stem += f",W={wire}"
    return f"{stem},U={uid},V={uid_validity:x}"


def safe_host(hostname: str) -> str:
    """Our host name as a part of file names: nothing that means something to Maildir or to a path."""
    return _UNSAFE_HOST.sub("_", hostname)[:64] or "localhost"


class NameMaker:
    """Makes bases that no other process, host or moment makes. Safe to use from several threads."""

    def __init__(self, hostname: str) -> None:
        self._host = safe_host(hostname)
        self._pid = os.getpid()
        self._counter = itertools.count(1)
        # Unpredictable is not needed, only different from all others: 64 bits from a generator seeded by the system.
        self._random = random.Random(os.urandom(16))  # noqa: S311

    def stem(self, now: float, size: int, wire: int) -> str:
        """A new name without UID, of a file with `size` octets, `wire` of them with CRLF."""
        return self.stems(now)(size, wire)

    def stems(self, now: float) -> Callable[[int, int], str]:
        """As `stem`, for several files of one moment; the counter tells them apart."""
        seconds = int(now)
        begin = f"{seconds}.M{int((now - seconds) * 1e6)}P{self._pid}Q"
        rest = f"R{self._random.getrandbits(64):016x}.{self._host},S="
        counter = self._counter

        def stem(size: int, wire: int) -> str:
            name = f"{begin}{next(counter)}{rest}{size}"
            return name if wire == size else f"{name},W={wire}"

        return stem


def account_path(account: AccountId) -> str:
    """`<domain>/<localpart>`, each a safe path component.

    Raises:
        LimitReached: a component would be longer than 255 octets.
    """
    local, _, domain = account.rpartition("@")
    return f"{_component(domain)}/{_component(local)}"


def account_id(domain: str, local: str) -> AccountId:
    """The account whose directory is `<domain>/<local>`."""
    return AccountId(f"{_unquote(local)}@{_unquote(domain)}")


def _component(text: str) -> str:
    safe = "".join(_quote(char, first=at == 0) for at, char in enumerate(text)) or _EMPTY
    if len(os.fsencode(safe)) > MAX_COMPONENT:
        raise LimitReached("the account's name is too long for a directory")
    return safe


def _quote(char: str, *, first: bool) -> str:
    # A leading dot would hide the directory, and is what keeps `.server` out of reach of any domain.
    if char.isalnum() or char in "_-+=#~!&" or (char == "." and not first):
        return char
    return "".join(f"%{octet:02x}" for octet in char.encode("utf-8", "surrogateescape"))


def _unquote(component: str) -> str:
    if component == _EMPTY:
        return ""
    octets = _PERCENT.sub(lambda found: chr(int(found[1], 16)) if found[1] < "80" else _surrogate(found[1]), component)
    return octets.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _surrogate(octet: str) -> str:
    return chr(0xDC00 + int(octet, 16))
