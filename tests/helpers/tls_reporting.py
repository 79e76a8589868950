"""The plugin for TLS reports in a test, and what it hears of TLS."""

from __future__ import annotations

import copy
import gzip
from typing import Any

from mailserver.api import TlsAttempted, TlsLevel, TlsPolicy
from mailserver.plugins.aggregate_reports import tlsrpt
from tests.helpers.aggregate_reporting import FAR, AggregateWorld
from tests.helpers.tls_reports import EXAMPLE, mailed

__all__ = ["DANE", "OPPORTUNISTIC", "STS", "World", "tls"]

STS = TlsPolicy(
    level=TlsLevel.VERIFIED, source="sts", text=("version: STSv1", "mode: enforce", "mx: *.far.test", "max_age: 86400"),
    patterns=("*.far.test",),
)  # fmt: skip
DANE = TlsPolicy(level=TlsLevel.DANE, source="dane", text=("3 1 1 " + "AB" * 32,))
OPPORTUNISTIC = TlsPolicy(level=TlsLevel.OPPORTUNISTIC, source="opportunistic")


def tls(domain: str = FAR, policy: TlsPolicy = STS, **fields: Any) -> TlsAttempted:
    given: dict[str, Any] = {
        "host": f"mx.{domain}", "address": "192.0.2.25", "source": "9.9.9.9", "tls": "TLSv1.3",
    }  # fmt: skip
    return TlsAttempted(domain=domain, policy=policy, **(given | fields))


class World(AggregateWorld):
    """[plugins.tlsrpt]"""

    plugin = tlsrpt.plugin
    record = ("_smtp._tls", "v=TLSRPTv1")
    media_type = "application/tlsrpt+gzip"

    def one(self, domain: str = FAR, number: int = 0) -> TlsAttempted:
        return tls(domain, failure="validation-failure", detail=str(number)) if number else tls(domain)

    def theirs(self, domain: str = "example.test", number: int = 0) -> bytes:
        report = copy.deepcopy(EXAMPLE) | {"report-id": "1" * (number + 1)}
        report["policies"][0]["policy"]["policy-domain"] = domain
        return mailed(report)

    def damaged(self) -> list[bytes]:
        files = (b"", b"x", gzip.compress(b"[" * 9999), gzip.compress(b" " * 20_000_000), b"\x1f\x8b" * 500)
        return [*map(mailed, files), self.theirs()[:1000]]
