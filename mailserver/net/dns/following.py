"""What one reply says of a name and a type: records, absence, or where to go on asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mailserver.wire.dns.message import Message, Record
from mailserver.wire.dns.records import CNAME, negative_ttl, present, value

__all__ = ["Found", "follow"]

#: CNAMEs from the name that was asked for to the one that has the records.
MAX_CNAMES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """`name` is where CNAMEs led, after `aliases` of them; `ttl` is how long (seconds) all of it may be remembered.

    `unfinished`: the reply says nothing of `name` itself, which must be asked for (RFC 7672 §2.1.3). `fault`: the reply
    makes no sense, in words.
    """

    name: str
    records: tuple[Any, ...] = ()
    ttl: int = 0
    aliases: int = 0
    unfinished: bool = False
    fault: str = ""


def follow(message: Message, name: str, kind: int, *, aliases: int = 0, as_text: bool = False) -> Found:
    """Read a reply to the question for `name` and `kind`; `aliases` were followed before.

    Only records of the name itself, and of those that its CNAMEs lead to, are looked at: whatever else a server puts in
    was not asked for.
    """
    by_owner: dict[tuple[str, int], list[Record]] = {}
    for record in message.answers:
        if record.kind in (kind, CNAME):
            by_owner.setdefault((record.owner, record.kind), []).append(record)
    ttls: list[int] = []
    seen = {name}
    while True:
        wanted = by_owner.get((name, kind))
        if wanted:
            return _with_records(message, name, wanted, [*ttls, *(record.ttl for record in wanted)], aliases, as_text)
        cname = by_owner.get((name, CNAME))
        if not cname:
            break
        aliases += 1
        target = value(message, cname[0])
        if not isinstance(target, str):
            return Found(name, fault="a malformed CNAME")
        if target in seen:
            return Found(name, fault=f"its CNAMEs lead back to {target}")
        if aliases > MAX_CNAMES:
            return Found(name, fault=f"more than {MAX_CNAMES} CNAMEs")
        ttls.append(cname[0].ttl)
        seen.add(target)
        name = target
    absent = negative_ttl(message)
    # RFC 2308 §2.2: with a SOA the server says that there is nothing; with neither it stopped at an alias.
    if ttls and absent is None and message.rcode == 0:
        return Found(name, ttl=min(ttls), aliases=aliases, unfinished=True)
    return Found(name, ttl=min([*ttls, absent or 0]), aliases=aliases)


def _with_records(
    message: Message, name: str, wanted: list[Record], ttls: list[int], aliases: int, as_text: bool
) -> Found:
    read = present if as_text else value
    values = tuple(found for record in wanted if (found := read(message, record)) is not None)
    if not values:
        return Found(name, fault="malformed records")
    return Found(name, tuple(dict.fromkeys(values)), min(ttls), aliases)
