"""Numbers for Prometheus: counters fed by events, gauges read when they are asked for."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mailserver.model.delivery import Outcome
from mailserver.model.events import (
    Accepted,
    Attempted,
    Bounced,
    Delivered,
    Event,
    LoginFailed,
    LoginSucceeded,
    Queued,
    Refused,
    Reported,
    SendingLimited,
    SessionClosed,
    SessionOpened,
    Suppressed,
    TlsAttempted,
)

__all__ = ["Metrics"]

_SERVICES = ("smtp", "submission", "sendmail", "imap", "http")
# Labels are made of our own words only: a name that a peer chose must never make a new time series.
_TLS_POLICIES = frozenset(("configuration", "dane", "opportunistic", "require-tls", "sts"))
_STAGES = ("connect", "helo", "mail", "rcpt", "message")


class Metrics:
    """The event sink and the gauges. `gauge` adds a number that is read at each scrape; label values are ours."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._version = version
        self._sessions = self._counter("sessions", "Connections admitted.", "service")
        self._closed = self._counter("sessions_closed", "Connections that ended.", "service")
        self._accepted = self._counter("messages_accepted", "Messages acknowledged with 250.", "service")
        self._accepted_octets = self._counter("message_octets_accepted", "Octets of acknowledged messages.", "service")
        self._delivered = self._counter("messages_delivered", "Copies put into mailboxes.")
        self._queued = self._counter("messages_queued", "Messages put into the queue.")
        self._attempts = self._counter("attempts", "Recipients of queued messages that were tried.", "outcome")
        self._reports = self._counter("reports", "Delivery status notifications made.", "action")
        self._tls = self._counter("tls_sessions", "Connections to other servers, as to TLS.", "policy", "result")
        self._bounces = self._counter("bounces", "Bounces of other servers about mail of ours.", "credible")
        self._suppressed = self._counter("suppressed", "Addresses that came on a suppression list.")
        self._limited = self._counter("sending_limited", "Accounts that met a limit on sending, once a day.", "limit")
        self._refused = self._counter("refused", "Commands and messages refused.", "service", "stage", "class")
        self._logins = self._counter("logins", "Attempts to log in.", "service", "result")
        self._sinks: Mapping[type, Callable[[Any], None]] = self._make_sinks()
        self._registry.register(self)

    def observe(self, event: Event) -> None:
        """Count an event; some microseconds, on the event loop."""
        sink = self._sinks.get(type(event))
        if sink is not None:
            sink(event)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a number that `read` gives at each scrape; called on the event loop, must not block."""
        self._gauges[name] = (text, read)

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks of a collector: the gauges, and what the process uses."""
        info = GaugeMetricFamily("mailserver_info", "The version that runs.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(f"mailserver_{name}", text, value=read())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily("process_cpu_seconds", "CPU time.", value=usage.ru_utime + usage.ru_stime)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Memory.", value=_resident())
        yield GaugeMetricFamily("process_open_fds", "Open files.", value=_open_files())
        yield GaugeMetricFamily("process_time_seconds", "The clock of this machine.", value=time.time())

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mailserver_{name}", text, labels, registry=self._registry)

    def _make_sinks(self) -> dict[type, Callable[[Any], None]]:
        # Children of labelled counters are looked up once: the look-up costs more than the count.
        sessions = {s: self._sessions.labels(s) for s in _SERVICES}
        closed = {s: self._closed.labels(s) for s in _SERVICES}
        accepted = {s: (self._accepted.labels(s), self._accepted_octets.labels(s)) for s in _SERVICES}

        def on_accepted(event: Accepted) -> None:
            messages, octets = accepted[event.service]
            messages.inc()
            octets.inc(event.size)

        def on_refused(event: Refused) -> None:
            stage = event.stage if event.stage in _STAGES else "other"
            self._refused.labels(event.service, stage, "temporary" if event.code < 500 else "permanent").inc()

        attempts = {outcome: self._attempts.labels(outcome.value) for outcome in Outcome}

        def on_tls(event: TlsAttempted) -> None:
            policy = event.policy.source if event.policy.source in _TLS_POLICIES else "other"
            self._tls.labels(policy, "failed" if event.failure else "good").inc()

        return {
            Accepted: on_accepted,
            Refused: on_refused,
            Delivered: lambda event: self._delivered.inc(),
            Queued: lambda event: self._queued.inc(),
            Attempted: lambda event: attempts[event.result.outcome].inc(),
            Reported: lambda event: self._reports.labels(event.action).inc(),
            TlsAttempted: on_tls,
            Bounced: lambda event: self._bounces.labels("yes" if event.credible else "no").inc(),
            Suppressed: lambda event: self._suppressed.inc(),
            SendingLimited: lambda event: self._limited.labels(event.limit).inc(),
            LoginSucceeded: lambda event: self._logins.labels(event.service, "good").inc(),
            LoginFailed: lambda event: self._logins.labels(event.service, "failed").inc(),
            SessionOpened: lambda event: sessions[event.service].inc(),
            SessionClosed: lambda event: closed[event.service].inc(),
        }


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
