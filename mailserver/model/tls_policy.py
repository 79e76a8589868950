"""How well a connection to another mail server must be protected, and on whose word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailserver.model.dns import Tlsa

__all__ = ["TlsLevel", "TlsPolicy"]


class TlsLevel(Enum):
    """What to insist on."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    #: TLS, with whatever certificate.
    ENCRYPTED = "encrypted"
    #: TLS with a certificate that a known authority gave for one of `names`.
    VERIFIED = "verified"
    #: TLS with a certificate that matches one of `tlsa` (RFC 7672).
    DANE = "dane"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """The answer for one host; `source` is for the log, the history and TLSRPT (dane, sts, configuration).

    `names`: for VERIFIED, names that the certificate may have; empty: the host's. `enforced` False (MTA-STS in testing
    mode): a failure is told, and the mail goes all the same. `refused`: why this host must not be used at all now, in
    words. `text` and `patterns` are policy-string and mx-host of TLSRPT (RFC 8460 §4.4).
    """

    level: TlsLevel
    source: str = ""
    names: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    enforced: bool = True
    refused: str = ""
    text: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
