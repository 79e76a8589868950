from __future__ import annotations

import re

from mailserver.app.metrics import Metrics
from mailserver.model import events
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.tls_policy import TlsLevel, TlsPolicy

SESSION, MESSAGE = SessionId("s"), QueueId("q")
DANE, ODD = TlsPolicy(level=TlsLevel.DANE, source="dane"), TlsPolicy(level=TlsLevel.NONE, source="a plugin's")


def values(metrics: Metrics) -> dict[str, float]:
    return {
        m[1]: float(m[2]) for m in re.finditer(r"^(mailserver_\S+) (\S+)$", metrics.render().decode(), re.MULTILINE)
    }


def test_events_are_counted() -> None:
    metrics = Metrics("1.2.3")
    for event in (
        events.SessionOpened(session=SESSION, service="imap", peer="::1", tls=True),
        events.SessionClosed(session=SESSION, service="imap", peer="::1"),
        events.Accepted(session=SESSION, queue_id=MESSAGE, service="smtp", sender="", recipients=("a@b",), size=500),
        events.Delivered(queue_id=MESSAGE, account=AccountId("a@b"), mailbox="INBOX", uid=1, size=500),
        events.Queued(queue_id=MESSAGE, sender="", recipients=("a@b",), size=500),
        events.Bounced(
            queue_id=MESSAGE, account=AccountId("a@b"), recipient="c@d", status="5.1.1", reply="", reporter="",
            credible=True,
        ),
        events.Suppressed(account=AccountId("a@b"), recipient="c@d", until=1.0, status="5.1.1", reply=""),
        events.TlsAttempted(domain="c.d", host="mx.c.d", address="192.0.2.1", policy=DANE, tls="TLSv1.3"),
        events.TlsAttempted(domain="c.d", host="mx.c.d", address="192.0.2.1", policy=ODD, failure="tlsa-invalid"),
        events.SendingLimited(account=AccountId("a@b"), limit="account_messages_per_day", count=1000),
        events.LoginSucceeded(session=SESSION, service="imap", account=AccountId("a@b"), peer="::1", mechanism="PLAIN"),
        events.LoginFailed(session=SESSION, service="imap", user="u", peer="::1", mechanism="PLAIN", reason="r"),
    ):
        metrics.observe(event)
        metrics.observe(event)
    found = {name: value for name, value in values(metrics).items() if value}
    assert found == {
        'mailserver_sessions_total{service="imap"}': 2,
        'mailserver_sessions_closed_total{service="imap"}': 2,
        'mailserver_messages_accepted_total{service="smtp"}': 2,
        'mailserver_message_octets_accepted_total{service="smtp"}': 1000,
        "mailserver_messages_delivered_total": 2,
        "mailserver_messages_queued_total": 2,
        'mailserver_bounces_total{credible="yes"}': 2,
        "mailserver_suppressed_total": 2,
        'mailserver_tls_sessions_total{policy="dane",result="good"}': 2,
        'mailserver_tls_sessions_total{policy="other",result="failed"}': 2,
        'mailserver_sending_limited_total{limit="account_messages_per_day"}': 2,
        'mailserver_logins_total{result="good",service="imap"}': 2,
        'mailserver_logins_total{result="failed",service="imap"}': 2,
        'mailserver_info{version="1.2.3"}': 1,
    }


def test_nothing_that_a_peer_chose_becomes_a_label() -> None:
    metrics = Metrics("1")
    for number in range(50):
        metrics.observe(
            events.Refused(
                session=SESSION, service="smtp", stage=f"canary{number}", peer=f"canary{number}", sender="canary",
                recipient="canary", code=450 + 100 * (number % 2), reason="canary",
            )
        )  # fmt: skip
    shown = {name for name in values(metrics) if "refused" in name}
    assert shown == {
        'mailserver_refused_total{class="temporary",service="smtp",stage="other"}',
        'mailserver_refused_total{class="permanent",service="smtp",stage="other"}',
    }
    assert b"canary" not in metrics.render()


def test_gauges_are_read_when_asked_for() -> None:
    metrics = Metrics("1")
    now = [1.0]
    metrics.gauge("level", "A level.", lambda: now[0])
    assert values(metrics)["mailserver_level"] == 1
    now[0] = 2.5
    assert values(metrics)["mailserver_level"] == 2.5


def test_what_the_process_uses_is_there() -> None:
    text = Metrics("1").render().decode()
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"):
        match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert match is not None
        assert float(match[1]) > 0
