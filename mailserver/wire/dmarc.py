"""DMARC policy records, and which of those that a walk up the tree finds counts (RFC 9989 §4.7, §4.10; RFC 7489).

What is wrong in a record after its version is as if it were not there (§4.8). Bounded, never raising.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = ["DmarcRecord", "Request", "find_record", "organizational_domain", "parse_dmarc", "walk_targets"]

_MAX_RECORD = 8192
_MAX_TAGS = 100
_MAX_URIS = 20
#: §4.10: the walk asks eight times at most.
_MAX_LABELS = 7

_VERSION = re.compile(rb"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_TAG = re.compile(r"[ \t]*([A-Za-z]+)[ \t]*=[ \t]*([\x20-\x7e]*)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")
Request = Literal["none", "quarantine", "reject"]
_REQUESTS: Mapping[str, Request] = {"none": "none", "quarantine": "quarantine", "reject": "reject"}
_LESS: Mapping[Request, Request] = {"reject": "quarantine", "quarantine": "none", "none": "none"}


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """One record. `sp` and `np` are None when they are not given.
    `strict_dkim` and `strict_spf` are the forms of alignment, `psd` is "y", "n" or "u", `testing` is that of `t`.

    `broken`: it has no valid policy and asks for no reports, so it does not count (§4.10.1).
    """

    p: Request
    sp: Request | None = None
    np: Request | None = None
    strict_dkim: bool = False
    strict_spf: bool = False
    psd: str = "u"
    testing: bool = False
    rua: tuple[str, ...] = ()
    ruf: tuple[str, ...] = ()
    fo: str = "0"
    broken: bool = False

    def published(self, *, below: bool, exists: bool) -> Request:
        """The policy for the domain that has the record, or for one `below` it, which `exists` or not."""
        if not below:
            return self.p
        return (None if exists else self.np) or self.sp or self.p

    def wanted(self, policy: Request) -> Request:
        """What is to be done of a policy: one step less while it is being tested (§4.7, t)."""
        return _LESS[policy] if self.testing else policy


def find_record(texts: Sequence[bytes]) -> DmarcRecord | None:
    """The record among the TXT records of a name; several are discarded, all of them (§4.10, step 2)."""
    found = [text for text in texts if _VERSION.match(text)]
    return parse_dmarc(found[0]) if len(found) == 1 else None


@lru_cache(maxsize=512)
def parse_dmarc(text: bytes) -> DmarcRecord | None:
    """None: not a record of DMARC, of this version."""
    if not _VERSION.match(text) or len(text) > _MAX_RECORD:
        return None
    tags: dict[str, str] = {}
    for part in text.decode("latin-1").split(";")[1 : _MAX_TAGS + 1]:
        tag = _TAG.fullmatch(part.rstrip("\r\n"))
        if tag is not None:
            tags.setdefault(tag[1].lower(), tag[2].rstrip())
    rua, ruf = _uris(tags.get("rua", "")), _uris(tags.get("ruf", ""))
    p, sp, np = (_REQUESTS.get(tags.get(name, "").lower()) for name in ("p", "sp", "np"))
    invalid = p is None or (sp is None and "sp" in tags) or (np is None and "np" in tags)
    if p is None or invalid:
        p, sp, np = "none", None, None
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        p=p, sp=sp, np=np, strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s", psd=psd if psd in ("y", "n") else "u",
        # pct=0 is how a policy was tested before there was t (RFC 7489 §6.3).
        testing=tags.get("t", "").lower() == "y" or tags.get("pct", "") == "0",
        rua=rua, ruf=ruf, fo=tags.get("fo", "0")[:20], broken=invalid and not rua,
    )  # fmt: skip


def _uris(text: str) -> tuple[str, ...]:
    uris = (uri.strip() for uri in text.split(",")[:_MAX_URIS])
    return tuple(uri for uri in uris if _URI.fullmatch(uri))


def walk_targets(domain: str) -> tuple[str, ...]:
    """The domains to ask for a record, from the longest to the shortest, at most eight (§4.10)."""
    labels = domain.split(".")
    first = max(1, len(labels) - _MAX_LABELS)
    return (domain, *(".".join(labels[start:]) for start in range(first, len(labels))))


def organizational_domain(domain: str, found: Sequence[tuple[str, DmarcRecord]]) -> str:
    """§4.10.2, of what the walk that began at `domain` found, from the longest to the shortest."""
    for name, record in found:
        if record.psd == "n":
            return name
        if record.psd == "y" and name != domain:
            below = domain.removesuffix(f".{name}").rpartition(".")[2]
            return f"{below}.{name}"
    return found[-1][0] if found else domain
