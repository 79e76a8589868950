"""What a signature says of itself (RFC 6376 §3.5, RFC 8617 §4.1), checked as far as that goes without its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mailserver.mime.dkim.canonical import BodyForm
from mailserver.mime.dkim.outcome import NEUTRAL, PERMERROR, POLICY, Unverifiable
from mailserver.mime.dkim.tags import FWS, names_of, octets_of
from mailserver.model.address import normalize_domain
from mailserver.model.errors import InvalidInput

__all__ = ["Signature", "properties_of", "read_dkim_signature", "read_message_signature", "read_seal"]

Tags = Mapping[bytes, bytes]

_MOST_NAMES = 100
#: RSA-4096 makes 512 octets.
_MAX_SIGNATURE = 1024
_SHA256_OCTETS = 32
_MAX_NAME = 253
#: Seconds by which the clocks of others may be ahead of ours.
_SLACK = 300
_ALGORITHM = re.compile(rb"(rsa|ed25519)-sha256")
_TOKEN = re.compile(rb"[A-Za-z0-9-]{1,30}")
_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_NUMBER = re.compile(rb"[0-9]{1,12}")
_LOCAL_PART = re.compile(r"[!-?A-~\xa0-\U0010ffff]{0,128}")
_FORMS = {b"simple": False, b"relaxed": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Well formed, and by its own words good today.

    Attributes:
        domain, selector: in A-labels.
        kind: of the key, as in k=.
        octets: the signature.
        names: of the header fields that it covers, in lower case, in order; () for a seal.
        relaxed: the form of header fields.
        body: the form of the body; None for a seal, which covers none.
        identity: the domain of i=.
    """

    domain: str
    selector: str
    kind: str
    octets: bytes
    names: tuple[bytes, ...] = ()
    relaxed: bool = True
    body: BodyForm | None = None
    body_hash: bytes = b""
    identity: str = ""

    @property
    def key_name(self) -> str:
        """Where its key is in DNS (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def read_dkim_signature(tags: Tags | None, now: float) -> Signature:
    """A DKIM-Signature (RFC 6376 §3.5, §6.1.1). Raises Unverifiable."""
    if tags is None:
        raise Unverifiable(PERMERROR, "the signature is not a list of tags")
    if _needed(tags, b"v") != b"1":
        raise Unverifiable(NEUTRAL, "the version of the signature is not known here")
    found = _read_covering(tags, now)
    if b"dns/txt" not in names_of(tags.get(b"q", b"dns/txt")):
        raise Unverifiable(NEUTRAL, "the key is not in DNS")
    if not all(found.names):
        raise Unverifiable(PERMERROR, "the list of signed fields (h=) is not valid")
    if b"from" not in found.names:
        raise Unverifiable(PERMERROR, "the author (From) is not signed")
    if not (found.identity == found.domain or found.identity.endswith("." + found.domain)):
        raise Unverifiable(PERMERROR, "the identity (i=) is not of the domain that signed")
    return found


def read_message_signature(tags: Tags, now: float) -> Signature:
    """An ARC-Message-Signature (RFC 8617 §4.1.2): v= is ignored, i= is the instance, and there may be signatures that
    cover no field at all. Raises Unverifiable."""
    # Without c= the RFC leaves it at DKIM's simple/simple; the sealers that leave it out, and the protocol's own test
    # suite, mean relaxed/relaxed, the only form of the first drafts.
    given = {b"c": b"relaxed/relaxed", **tags}
    found = _read_covering({name: value for name, value in given.items() if name != b"i"}, now)
    if b"arc-seal" in found.names:
        raise Unverifiable(PERMERROR, "a message signature must not cover seals")
    return found


def read_seal(tags: Tags, now: float) -> Signature:
    """An ARC-Seal (RFC 8617 §4.1.3). Raises Unverifiable."""
    if b"h" in tags or b"bh" in tags:
        raise Unverifiable(PERMERROR, "a seal must not name what it covers")
    _check_times(tags, now)
    domain = _domain(_needed(tags, b"d"))
    return Signature(
        domain=domain, selector=_selector(_needed(tags, b"s"), domain), kind=_kind(_needed(tags, b"a")),
        octets=_octets(_needed(tags, b"b")),
    )  # fmt: skip


def properties_of(tags: Tags | None) -> tuple[tuple[str, str], ...]:
    """header.d, .i, .s, .a and .b (RFC 8601 §2.7.1, RFC 6008): of them what can be read without doubt.

    Domains are in A-labels; of b= there are the first eight characters.
    """
    found: list[tuple[str, str]] = []
    domain = _readable_domain(tags[b"d"]) if tags and b"d" in tags else None
    if not tags or domain is None:
        return ()
    found.append(("header.d", domain))
    local, at, identity = tags.get(b"i", b"@" + tags[b"d"]).decode("utf-8", "replace").rpartition("@")
    identity_domain = _readable_domain(identity.encode("utf-8"))
    if at and identity_domain is not None and _LOCAL_PART.fullmatch(local):
        found.append(("header.i", f"{local}@{identity_domain}"))
    selector = tags.get(b"s", b"").decode("utf-8", "replace").lower()
    if _SELECTOR.fullmatch(selector):
        found.append(("header.s", selector))
    if _TOKEN.fullmatch(algorithm := tags.get(b"a", b"")):
        found.append(("header.a", algorithm.decode("ascii").lower()))
    octets = octets_of(tags.get(b"b", b""), _MAX_SIGNATURE)
    if octets is not None:
        found.append(("header.b", tags[b"b"].translate(None, FWS)[:8].decode("ascii")))
    return tuple(found)


def _read_covering(tags: Tags, now: float) -> Signature:
    """What DKIM-Signature and ARC-Message-Signature have in common."""
    kind = _kind(_needed(tags, b"a"))
    domain = _domain(_needed(tags, b"d"))
    selector = _selector(_needed(tags, b"s"), domain)
    names = tuple(names_of(_present(tags, b"h")))
    if len(names) > _MOST_NAMES:
        raise Unverifiable(PERMERROR, f"more than {_MOST_NAMES} fields are signed")
    relaxed_header, relaxed_body = _forms(tags.get(b"c", b"simple/simple"))
    _check_times(tags, now)
    body_hash = octets_of(_needed(tags, b"bh"), _SHA256_OCTETS)
    if body_hash is None or len(body_hash) != _SHA256_OCTETS:
        raise Unverifiable(PERMERROR, "the hash of the body (bh=) is not valid")
    _, _, identity = tags.get(b"i", b"@" + tags[b"d"]).rpartition(b"@")
    return Signature(
        domain=domain, selector=selector, kind=kind, octets=_octets(_needed(tags, b"b")), names=names,
        relaxed=relaxed_header, body=BodyForm(relaxed_body, _number(tags, b"l")), body_hash=body_hash,
        identity=_domain(identity),
    )  # fmt: skip


def _present(tags: Tags, name: bytes) -> bytes:
    value = tags.get(name)
    if value is None:
        raise Unverifiable(PERMERROR, f"the signature has no {name.decode('ascii')}=")
    return value


def _needed(tags: Tags, name: bytes) -> bytes:
    if not (value := _present(tags, name)):
        raise Unverifiable(PERMERROR, f"{name.decode('ascii')}= of the signature is empty")
    return value


def _kind(algorithm: bytes) -> str:
    match = _ALGORITHM.fullmatch(algorithm.lower())
    if match is not None:
        return match[1].decode("ascii")
    if algorithm.lower() == b"rsa-sha1":
        # RFC 8301 §3.1: such a signature must not be taken for one.
        raise Unverifiable(POLICY, "a signature with SHA-1 proves nothing")
    raise Unverifiable(NEUTRAL, "the algorithm of the signature is not known here")


def _readable_domain(value: bytes) -> str | None:
    """In A-labels (RFC 8616 §4); None if it is no domain."""
    try:
        domain = normalize_domain(value.decode("utf-8"))
    except (InvalidInput, UnicodeDecodeError):
        return None
    return None if domain.startswith("[") or len(domain) > _MAX_NAME else domain


def _domain(value: bytes) -> str:
    domain = _readable_domain(value)
    if domain is None:
        raise Unverifiable(PERMERROR, "the signature names no domain")
    return domain


def _selector(value: bytes, domain: str) -> str:
    try:
        text = value.decode("ascii").lower() if value.isascii() else normalize_domain(value.decode("utf-8"))
    except (InvalidInput, UnicodeDecodeError):
        text = ""
    if _SELECTOR.fullmatch(text) is None or len(f"{text}._domainkey.{domain}") > _MAX_NAME:
        raise Unverifiable(PERMERROR, "the selector (s=) is not valid")
    return text


def _forms(value: bytes) -> tuple[bool, bool]:
    """Is the form of the header relaxed, and that of the body (RFC 6376 §3.5, c=)?"""
    header, _, body = value.lower().partition(b"/")
    if header not in _FORMS or (body or b"simple") not in _FORMS:
        raise Unverifiable(NEUTRAL, "the canonical form (c=) is not known here")
    return _FORMS[header], _FORMS[body or b"simple"]


def _octets(value: bytes) -> bytes:
    octets = octets_of(value, _MAX_SIGNATURE)
    if octets is None:
        raise Unverifiable(PERMERROR, "the signature (b=) is not valid")
    return octets


def _number(tags: Tags, name: bytes) -> int | None:
    value = tags.get(name)
    if value is None:
        return None
    if _NUMBER.fullmatch(value) is None:
        raise Unverifiable(PERMERROR, f"{name.decode('ascii')}= is not a number")
    return int(value)


def _check_times(tags: Tags, now: float) -> None:
    at, expires = _number(tags, b"t"), _number(tags, b"x")
    if at is not None and expires is not None and expires <= at:
        raise Unverifiable(PERMERROR, "the signature ends (x=) before it begins (t=)")
    if at is not None and at > now + _SLACK:
        raise Unverifiable(POLICY, "the signature is from the future")
    if expires is not None and expires < now - _SLACK:
        raise Unverifiable(POLICY, "the signature has expired")
