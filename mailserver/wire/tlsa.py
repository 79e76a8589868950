"""TLSA records: which of them a sender of mail can use, and how they are written (RFC 6698, RFC 7671, RFC 7672)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailserver.model.dns import Tlsa

__all__ = ["usable", "written"]

_USAGES, _SELECTORS = (2, 3), (0, 1)
_FULL = 0
#: The lengths of digests by matching type; the longer one is the stronger.
_DIGESTS = {1: 32, 2: 64}


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that can match a certificate, in their order.

    Usages 0 and 1 mean nothing to a sender of mail (RFC 7672 §3.1.3). What is not whole is left out, and so is a weaker
    digest beside a stronger one of the same usage and selector (RFC 7671 §9).
    """
    known = [record for record in records if _whole(record)]
    strongest: dict[tuple[int, int], int] = {}
    for record in known:
        kind = (record.usage, record.selector)
        strongest[kind] = max(strongest.get(kind, _FULL), record.matching)
    return tuple(
        record for record in known if record.matching in (_FULL, strongest[record.usage, record.selector])
    )


def _whole(record: Tlsa) -> bool:
    if record.usage not in _USAGES or record.selector not in _SELECTORS:
        return False
    if record.matching == _FULL:
        return _is_der_sequence(record.data)
    return len(record.data) == _DIGESTS.get(record.matching)


def _is_der_sequence(data: bytes) -> bool:
    """Whether it is one DER SEQUENCE of exactly its length, as certificates and public keys are (X.690 §8.1.3)."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    if data[1] < 0x80:
        return len(data) == 2 + data[1]
    octets = data[1] & 0x7F
    return 1 <= octets <= 3 and len(data) == 2 + octets + int.from_bytes(data[2 : 2 + octets], "big")


def written(records: Sequence[Tlsa]) -> tuple[str, ...]:
    """Each as in a zone file, in one line (RFC 6698 §2.2), as TLS reports want it (RFC 8460 §4.5)."""
    return tuple(f"{each.usage} {each.selector} {each.matching} {each.data.hex().upper()}" for each in records)
