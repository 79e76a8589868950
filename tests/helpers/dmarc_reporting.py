"""The plugin for DMARC reports in a test, and what it hears of DMARC."""

from __future__ import annotations

import gzip
from typing import Any

from mailserver.api import AuthResult, DmarcEvaluated, QueueId
from mailserver.plugins.aggregate_reports import dmarc_report
from tests.helpers.aggregate_reporting import FAR, AggregateWorld
from tests.helpers.dmarc_reports import example, mailed

__all__ = ["World", "evaluated"]

_RESULTS = (
    AuthResult(method="dkim", result="fail", properties=(("header.d", "list.test"), ("header.s", "x"))),
    AuthResult(method="dkim", result="pass", properties=(("header.d", FAR), ("header.s", "s1"))),
    AuthResult(method="spf", result="softfail", properties=(("smtp.mailfrom", "bounce@mail.far.test"),)),
)


def evaluated(**fields: Any) -> DmarcEvaluated:
    """A message that DKIM proves, of a domain with p=reject that asks for reports; `fields` say otherwise."""
    given: dict[str, Any] = {
        "queue_id": QueueId("q1"), "peer": "192.0.2.25", "author": FAR, "helo": "mx.far.test",
        "sender": "mail.far.test", "recipients": ("example.test",), "policy_domain": FAR, "p": "reject", "sp": "",
        "np": "", "strict_dkim": False, "strict_spf": True, "fo": "0", "testing": False,
        "rua": ("mailto:dmarc@far.test",), "ruf": (), "passed": True, "disposition": "none", "dkim_aligned": True,
        "spf_aligned": False, "results": _RESULTS,
    }  # fmt: skip
    return DmarcEvaluated(**(given | fields))


class World(AggregateWorld):
    """[plugins.dmarc_report]"""

    plugin = dmarc_report.plugin
    record = ("_dmarc", "v=DMARC1; p=reject")
    media_type = "application/gzip"

    def one(self, domain: str = FAR, number: int = 0) -> DmarcEvaluated:
        return evaluated(policy_domain=domain, author=domain, peer=f"192.0.2.{number + 1}")

    def theirs(self, domain: str = "example.test", number: int = 0) -> bytes:
        return mailed(gzip.compress(example(domain, report_id="1" * (number + 1))))

    def damaged(self) -> list[bytes]:
        files = (b"", b"x", gzip.compress(b"<feedback/>"), gzip.compress(b"\0" * 20_000_000))
        return [*map(mailed, files), mailed(gzip.compress(example()), kind="application/pdf")]

    def agrees(self, host: str, text: str = "v=DMARC1", domain: str = FAR) -> None:
        self.dns.has("txt", f"{domain}._report._dmarc.{host}", text.encode())
