"""The messages of OAUTHBEARER (RFC 7628 §3.1) and XOAUTH2, and the error that the server answers (§3.2.2)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from mailserver.wire.sasl import SaslError, saslname

__all__ = ["BearerToken", "parse_oauthbearer", "parse_xoauth2", "refusal"]

_MAX = 16_384
# RFC 6750 §2.1 b64token
_BEARER = re.compile(rb"[Bb]earer ([A-Za-z0-9._~+/-]+=*)")
_GS2 = re.compile(rb"([ny]),(?:a=([^,\x00\x01]+))?,")
_PAIR = re.compile(rb"([A-Za-z]+)=([^\x00\x01]*)")


@dataclass(frozen=True, slots=True)
class BearerToken:
    """Whose token it shall be ("": whoever the token says), and the token; not to be logged."""

    user: str = field(repr=False)
    token: str = field(repr=False)


def parse_oauthbearer(message: bytes) -> BearerToken:
    """`n,a=user,^Ahost=…^Aport=…^Aauth=Bearer …^A^A`. Raises SaslError."""
    head, separator, rest = message[:_MAX].partition(b"\x01")
    gs2 = _GS2.fullmatch(head)
    if gs2 is None or not separator or len(message) > _MAX:
        raise SaslError("the message is not OAUTHBEARER")
    return BearerToken(saslname(gs2[2]) if gs2[2] else "", _token(_pairs(rest)))


def parse_xoauth2(message: bytes) -> BearerToken:
    """`user=…^Aauth=Bearer …^A^A`. Raises SaslError."""
    pairs = _pairs(message) if len(message) <= _MAX else {}
    try:
        return BearerToken(pairs.get(b"user", b"").decode("utf-8"), _token(pairs))
    except UnicodeDecodeError:
        raise SaslError("the user name is not UTF-8") from None


def _pairs(data: bytes) -> dict[bytes, bytes]:
    if not data.endswith(b"\x01\x01"):
        raise SaslError("the message has no end")
    found: dict[bytes, bytes] = {}
    for part in data[:-2].split(b"\x01"):
        pair = _PAIR.fullmatch(part)
        if pair is None or pair[1] in found:
            raise SaslError("the message is not made of pairs, each once")
        found[pair[1]] = pair[2]
    return found


def _token(pairs: dict[bytes, bytes]) -> str:
    bearer = _BEARER.fullmatch(pairs.get(b"auth", b""))
    if bearer is None:
        raise SaslError("there is no bearer token")
    return bearer[1].decode("ascii")


def refusal(scope: str, configuration: str) -> bytes:
    """What is said of a token that is not good, before the refusal itself (RFC 7628 §3.2.3)."""
    answer = {"status": "invalid_token", "scope": scope, "openid-configuration": configuration}
    return json.dumps({name: value for name, value in answer.items() if value}).encode("ascii")
