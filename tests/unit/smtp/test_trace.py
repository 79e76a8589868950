"""The name of the protocol in Received: RFC 3848, and RFC 6531 §4.3 for SMTPUTF8."""

from __future__ import annotations

import pytest

from mailserver.hooks.contexts import Session
from mailserver.model.envelope import Envelope
from mailserver.model.ids import AccountId, SessionId
from mailserver.smtp.trace import protocol


@pytest.mark.parametrize(
    ("esmtp", "tls", "account", "smtputf8", "expected"),
    [
        (False, "", "", False, "SMTP"), (True, "", "", False, "ESMTP"), (True, "TLSv1.3", "", False, "ESMTPS"),
        (True, "", "a@b.test", False, "ESMTPA"), (True, "TLSv1.3", "a@b.test", False, "ESMTPSA"),
        (True, "", "", True, "UTF8SMTP"), (True, "TLSv1.3", "", True, "UTF8SMTPS"),
        (True, "", "a@b.test", True, "UTF8SMTPA"), (True, "TLSv1.3", "a@b.test", True, "UTF8SMTPSA"),
    ],
)  # fmt: skip
def test_protocol(esmtp: bool, tls: str, account: str, smtputf8: bool, expected: str) -> None:
    session = Session(
        session=SessionId("s1"), service="smtp", peer="192.0.2.1", esmtp=esmtp, tls=tls,
        account=AccountId(account) if account else None,
    )  # fmt: skip
    assert protocol(session, Envelope(sender=None, smtputf8=smtputf8)) == expected
