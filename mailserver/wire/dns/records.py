"""The data of records: as values where mail works with them, as text for everything else."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from typing import Any

from mailserver.model.dns import MailExchanger, Tlsa
from mailserver.wire.dns.message import Message, Record
from mailserver.wire.dns.names import read_name

__all__ = [
    "AAAA", "CNAME", "MX", "PTR", "SOA", "TLSA", "TXT", "A",
    "kind_name", "kind_number", "negative_ttl", "present", "value",
]  # fmt: skip

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DS, RRSIG, DNSKEY, TLSA, CAA = (
    1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 46, 48, 52, 257,
)  # fmt: skip
_NAMES = {
    A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", MX: "MX", TXT: "TXT", AAAA: "AAAA", SRV: "SRV",
    DS: "DS", RRSIG: "RRSIG", DNSKEY: "DNSKEY", TLSA: "TLSA", CAA: "CAA",
}  # fmt: skip
_NUMBERS = {name: number for number, name in _NAMES.items()}


def kind_name(kind: int) -> str:
    """MX for 15; TYPE65280 where there is no name (RFC 3597 §5)."""
    return _NAMES.get(kind, f"TYPE{kind}")


def kind_number(name: str) -> int | None:
    """15 for MX. None: no type."""
    name = name.upper()
    number = name.removeprefix("TYPE")
    if name != number and number.isascii() and number.isdigit() and len(number) <= 5:
        return int(number) if int(number) < 65536 else None
    return _NUMBERS.get(name)


def value(message: Message, record: Record) -> Any:
    """What a record of these types says; None when it is malformed, or of another type.

    A and AAAA: str; CNAME, NS and PTR: the name; MX: MailExchanger; TLSA: Tlsa; TXT: its strings joined.
    """
    reader = _READERS.get(record.kind)
    return None if reader is None else reader(message.data, record.at, record.length)


def negative_ttl(message: Message) -> int | None:
    """How long the absence of something may be remembered (RFC 2308 §5): None without a SOA record."""
    for record in message.authority:
        if record.kind == SOA and record.length >= 22:
            (minimum,) = struct.unpack_from("!I", message.data, record.at + record.length - 4)
            return min(record.ttl, int(minimum))
    return None


def present(message: Message, record: Record) -> str | None:
    """The data as in a zone file. None: malformed."""
    data, at, length = message.data, record.at, record.length
    shown = value(message, record) if record.kind != TXT else None
    if isinstance(shown, str):
        return shown if record.kind in (A, AAAA) else shown + "."
    if isinstance(shown, MailExchanger):
        return f"{shown.preference} {shown.host}."
    if isinstance(shown, Tlsa):
        return f"{shown.usage} {shown.selector} {shown.matching} {shown.data.hex()}"
    writer = _WRITERS.get(record.kind)
    if writer is not None:
        return writer(data, at, length)
    if record.kind in _READERS and record.kind != TXT:
        return None
    return f"\\# {length} {data[at : at + length].hex()}".rstrip()


def _a(data: bytes, at: int, length: int) -> str | None:
    return None if length != 4 else "%d.%d.%d.%d" % tuple(data[at : at + 4])  # noqa: UP031


def _aaaa(data: bytes, at: int, length: int) -> str | None:
    return None if length != 16 else str(ipaddress.IPv6Address(data[at : at + 16]))


def _name(data: bytes, at: int, length: int) -> str | None:
    name, end = read_name(data, at)
    return name if end == at + length else None


def _mx(data: bytes, at: int, length: int) -> MailExchanger | None:
    host = _name(data, at + 2, length - 2) if length > 2 else None
    return None if host is None else MailExchanger(data[at] << 8 | data[at + 1], host)


def _tlsa(data: bytes, at: int, length: int) -> Tlsa | None:
    return None if length < 3 else Tlsa(data[at], data[at + 1], data[at + 2], data[at + 3 : at + length])


def _strings(data: bytes, at: int, length: int) -> list[bytes] | None:
    found, end = [], at + length
    while at < end:
        size = data[at]
        if at + 1 + size > end:
            return None
        found.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return found


def _txt(data: bytes, at: int, length: int) -> bytes | None:
    strings = _strings(data, at, length)
    return None if strings is None else b"".join(strings)


def _show_txt(data: bytes, at: int, length: int) -> str | None:
    strings = _strings(data, at, length)
    return None if strings is None else " ".join(_quoted(string) for string in strings)


def _quoted(string: bytes) -> str:
    shown = "".join(
        f"\\{octet:03d}" if not 0x20 <= octet < 0x7F else f"\\{octet:c}" if octet in b'"\\' else chr(octet)
        for octet in string
    )
    return f'"{shown}"'


def _show_soa(data: bytes, at: int, length: int) -> str | None:
    end = at + length
    server, at = read_name(data, at)
    mailbox, at = read_name(data, at) if at >= 0 else ("", -1)
    if at < 0 or at + 20 != end:
        return None
    return f"{server}. {mailbox}. " + " ".join(map(str, struct.unpack_from("!5I", data, at)))


def _show_srv(data: bytes, at: int, length: int) -> str | None:
    host = _name(data, at + 6, length - 6) if length > 6 else None
    return None if host is None else " ".join(map(str, struct.unpack_from("!HHH", data, at))) + f" {host}."


def _show_ds(data: bytes, at: int, length: int) -> str | None:
    if length < 4:
        return None
    return "{} {} {} ".format(*struct.unpack_from("!HBB", data, at)) + data[at + 4 : at + length].hex()


def _show_caa(data: bytes, at: int, length: int) -> str | None:
    size = data[at + 1] if length > 2 else 0
    tag = data[at + 2 : at + 2 + size]
    if not tag.isalnum() or 2 + size > length:
        return None
    return f"{data[at]} {tag.decode('ascii')} {_quoted(data[at + 2 + size : at + length])}"


_READERS: dict[int, Callable[[bytes, int, int], Any]] = {
    A: _a, AAAA: _aaaa, CNAME: _name, NS: _name, PTR: _name, MX: _mx, TLSA: _tlsa, TXT: _txt,
}  # fmt: skip
_WRITERS: dict[int, Callable[[bytes, int, int], str | None]] = {
    TXT: _show_txt, SOA: _show_soa, SRV: _show_srv, DS: _show_ds, CAA: _show_caa,
}  # fmt: skip
