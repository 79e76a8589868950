"""What our own signatures cover (RFC 6376 §5). The arithmetic of keys is the caller's.

Everything is `relaxed/relaxed`: what survives relays that fold anew and trim white space.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache

from mailserver.mime.addresses import read_addresses
from mailserver.mime.dkim.canonical import relaxed_field
from mailserver.mime.headers import field_value, fields, unfold

__all__ = ["Signable", "author_domain", "public_record", "signing_domains"]

#: What is signed where it is there, as often as it is there.
_SIGNED = dict.fromkeys((
    b"from", b"reply-to", b"subject", b"date", b"to", b"cc", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id",
    b"content-description", b"sender", b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc",
    b"resent-message-id", b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe",
    b"list-post", b"list-owner", b"list-archive", b"auto-submitted", b"require-recipient-valid-since", b"tls-required",
    b"tls-report-domain", b"tls-report-submitter",
))  # fmt: skip
#: Once more than they are there: nobody can put in another one that readers would see (RFC 6376 §8.15).
_OVERSIGNED = frozenset((
    b"from", b"reply-to", b"subject", b"date", b"to", b"cc", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"sender", b"list-unsubscribe",
    b"list-unsubscribe-post",
))  # fmt: skip
#: Of one field: a message with more than this many of them is signed over the last ones only.
_MOST = 10
_B64_LINE = 72
_LONGEST = 10_000
_SIGNER = re.compile(rb"(?:^|;)[ \t]*d[ \t]*=[ \t]*([A-Za-z0-9._-]{1,255})[ \t]*(?:;|$)")


class Signable:
    """The header of a message that is to be signed, prepared once for all its signatures."""

    def __init__(self, header: bytes) -> None:
        """`header` is the beginning of the message; what follows the header block does not matter."""
        present: dict[bytes, list[bytes]] = {}
        for name, start, end in fields(header):
            if name in _SIGNED:
                present.setdefault(name, []).append(relaxed_field(name, field_value(header, start, end)))
        names: list[bytes] = []
        covered: list[bytes] = []
        for name in _SIGNED:
            if name not in present:
                if name in _OVERSIGNED:
                    names.append(name)
                continue
            # RFC 6376 §5.4.2: several fields of one name are taken from the bottom up.
            found = present[name][: -_MOST - 1 : -1]
            once_more = name in _OVERSIGNED and len(found) < _MOST
            names += [name] * (len(found) + once_more)
            covered += found
        self._names = _spaced(b":".join(names).decode("ascii"))
        self._covered = b"".join([line + b"\r\n" for line in covered])

    def unsigned(
        self, *, algorithm: str, domain: str, selector: str, body_hash: bytes, at: int, expires: int
    ) -> tuple[str, bytes]:
        """The value of DKIM-Signature but for its last tag, and the octets to sign (RFC 6376 §3.5, §3.7).

        Append the signature to the value by `complete`. `at` and `expires` are epoch seconds.
        """
        value = (
            f"v=1; a={algorithm}; c=relaxed/relaxed; d={domain}; s={selector}; t={at}; x={expires};"
            f" h={self._names}; bh={base64.b64encode(body_hash).decode('ascii')}; b="
        )
        return value, self._covered + relaxed_field(b"dkim-signature", value.encode("ascii"))

    @staticmethod
    def complete(value: str, signature: bytes) -> str:
        """The whole value. It has spaces where it may be folded."""
        text = base64.b64encode(signature).decode("ascii")
        return value + " ".join(text[start : start + _B64_LINE] for start in range(0, len(text), _B64_LINE))


@lru_cache(100)
def _spaced(names: str) -> str:
    """Names separated by ":" with a space here and there, so that the line can be folded."""
    parts: list[str] = []
    length = 0
    for name in names.split(":"):
        if length + len(name) > _B64_LINE - 4 and parts:
            parts.append(" ")
            length = 0
        parts.append(name + ":")
        length += len(name) + 1
    return "".join(parts).removesuffix(":")


def author_domain(header: bytes) -> str | None:
    """The domain of the author: of all addresses in the only From field. None when there is no such one.

    In lower case and A-labels only if the message has it so.
    """
    found = [field_value(header, start, end) for name, start, end in fields(header) if name == b"from"]
    if len(found) != 1:
        return None
    addresses, sound = read_addresses(unfold(found[0]))
    domains = {entry.domain.lower() for entry in addresses if entry.is_mailbox and entry.domain is not None}
    if not sound or len(domains) != 1 or not all(entry.is_mailbox and entry.domain is not None for entry in addresses):
        return None
    try:
        return domains.pop().decode("utf-8")
    except UnicodeDecodeError:
        return None


def signing_domains(header: bytes) -> frozenset[str]:
    """The domains (RFC 6376 §3.5, d=) in whose names a message claims to be signed; nothing of it is verified."""
    found = set[str]()
    for name, start, end in fields(header):
        if name == b"dkim-signature":
            match = _SIGNER.search(unfold(field_value(header, start, end)[:_LONGEST]))
            if match is not None:
                found.add(match[1].decode("ascii").lower())
    return frozenset(found)


def public_record(algorithm: str, key: bytes) -> str:
    """The text of the TXT record for a public key: DER of SubjectPublicKeyInfo for rsa, 32 octets for ed25519
    (RFC 6376 §3.6.1, RFC 8463 §4)."""
    return f"v=DKIM1; k={algorithm}; p={base64.b64encode(key).decode('ascii')}"
