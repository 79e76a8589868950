"""Reports of RFC 8460 for tests: the example of its appendix B, and messages that carry one."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import orjson

__all__ = ["EXAMPLE", "mailed"]

#: RFC 8460, appendix B.
EXAMPLE: dict[str, Any] = {
    "organization-name": "Company-X",
    "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
    "contact-info": "sts-reporting@company-x.example",
    "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
    "policies": [
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": [
                    "version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400",
                ],
                "policy-domain": "company-y.example",
                "mx-host": "*.mail.company-y.example",
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8:abcd:0012::1",
                    "receiving-mx-hostname": "mx1.mail.company-y.example",
                    "failed-session-count": 100,
                },
                {
                    "result-type": "starttls-not-supported",
                    "sending-mta-ip": "2001:db8:abcd:0013::1",
                    "receiving-mx-hostname": "mx2.mail.company-y.example",
                    "receiving-ip": "203.0.113.56",
                    "failed-session-count": 200,
                    "additional-information": "https://reports.company-x.example/report_info?id=5065427c-23d3",
                },
                {
                    "result-type": "validation-failure",
                    "sending-mta-ip": "198.51.100.62",
                    "receiving-ip": "203.0.113.58",
                    "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                    "failed-session-count": 3,
                    "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                },
            ],
        }
    ],
}  # fmt: skip


def mailed(
    report: dict[str, Any] | bytes, *, signer: str = "company-x.example", kind: str = "gzip", packed: bool = True
) -> bytes:
    """A message as RFC 8460 §5.3 has it; bytes are the file as it is."""
    octets = report if isinstance(report, bytes) else orjson.dumps(report)
    if packed and not isinstance(report, bytes):
        octets = gzip.compress(octets)
    return (
        b"From: <tls@company-x.example>\r\nTo: <anna@example.test>\r\n"
        b"DKIM-Signature: v=1; a=rsa-sha256; d=" + signer.encode() + b"; s=x; h=from; bh=eA==;\r\n b=eA==\r\n"
        b"Subject: Report Domain: company-y.example\r\n Submitter: company-x.example\r\n"
        b" Report-ID: <1@company-x.example>\r\n"
        b"TLS-Report-Domain: company-y.example\r\nTLS-Report-Submitter: company-x.example\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type="tlsrpt"; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n"
        b"--b\r\nContent-Type: application/tlsrpt+" + kind.encode() + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )
