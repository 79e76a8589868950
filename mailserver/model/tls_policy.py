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

    `names`: names that the certificate may have, for VERIFIED and for records of usage 2 with DANE; the first is asked
    for (SNI); empty: the host's. `enforced` False (MTA-STS in testing mode): a failure is told, and the mail goes all
    the same. `refused`: why this host must not be used at all now, in words.

    `failure` is what is wrong with the policy itself, or with the host under it, as a result type of RFC 8460 §4.3, and
    `detail` says more (failure-reason-code): TlsAttempted tells it where the connection itself is a success. `text` and
    `patterns` are policy-string and mx-host of TLSRPT (RFC 8460 §4.4).

    `minimum`: other plugins are asked too, and one that insists on more is followed instead.
    """

    level: TlsLevel
    source: str = ""
    names: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    enforced: bool = True
    refused: str = ""
    failure: str = ""
    detail: str = ""
    text: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    minimum: bool = False

    @property
    def demand(self) -> int:
        """How much it insists on, to compare: 0 nothing, 1 encryption, 2 the right certificate, 3 another host."""
        if not self.enforced:
            return 0
        if self.refused:
            return 3
        return {TlsLevel.ENCRYPTED: 1, TlsLevel.VERIFIED: 2, TlsLevel.DANE: 2}.get(self.level, 0)
