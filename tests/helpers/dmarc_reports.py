"""Aggregate reports of DMARC for tests: those of others, as files and by mail."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

__all__ = ["EXAMPLE", "XSD", "example", "mailed", "zipped"]

XSD = Path(__file__).parents[1] / "vectors" / "dmarc" / "feedback.xsd"

_EXAMPLE = """<?xml version="1.0" encoding="UTF-8"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
 <version>1.0</version>
 <report_metadata><org_name>Far Mail</org_name><email>dmarc@far.test</email><report_id>{id}</report_id>
  <date_range><begin>1799971200</begin><end>1800057599</end></date_range></report_metadata>
 <policy_published><domain>{domain}</domain><p>quarantine</p></policy_published>
 <record><row><source_ip>192.0.2.123</source_ip><count>123</count><policy_evaluated><disposition>pass</disposition>
  <dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
  <identifiers><envelope_from>{domain}</envelope_from><header_from>{domain}</header_from></identifiers>
  <auth_results><dkim><domain>{domain}</domain><result>pass</result><selector>abc</selector></dkim>
   <spf><domain>{domain}</domain><result>fail</result></spf></auth_results></record>
 <record><row><source_ip>2001:DB8::66</source_ip><count>7</count><policy_evaluated><disposition>quarantine</disposition>
  <dkim>fail</dkim><spf>fail</spf><reason><type>mailing_list</type><comment>x</comment></reason></policy_evaluated></row>
  <identifiers><envelope_from>evil.test</envelope_from><header_from>{domain}</header_from></identifiers>
  <auth_results><spf><domain>evil.test</domain><result>pass</result></spf></auth_results></record>
</feedback>
"""


def example(domain: str = "example.test", report_id: str = "1") -> bytes:
    """130 messages from two servers, 7 of which nothing proves."""
    return _EXAMPLE.format(domain=domain, id=report_id).encode()


EXAMPLE = example()


def zipped(*files: tuple[str, bytes]) -> bytes:
    """A zip with these files, whatever their names."""
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return octets.getvalue()


def mailed(
    file: bytes, *, kind: str = "application/gzip", domain: str = "example.test", author: str = "far.test"
) -> bytes:
    """A message as RFC 9990 §3.5.2 has it."""
    return (
        f"From: <dmarc@{author}>\r\nTo: <anna@example.test>\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n"
        f"Subject: Report Domain: {domain}\r\n Submitter: {author}\r\n Report-ID: <1@{author}>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n'
        f"--b\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + base64.encodebytes(file).replace(b"\n", b"\r\n") + b"--b--\r\n"
