"""What is read when metrics are asked for."""

from __future__ import annotations

from mailserver.app.application import Application

__all__ = ["add_gauges"]


def add_gauges(app: Application) -> None:
    """Name each number of the running server that is worth a look."""
    gauge = app.metrics.gauge
    gauge("connections", "Open connections of all listeners.", lambda: app.table.total)
    gauge("queue_messages", "Messages that wait to be sent.", lambda: len(app.queue))
    gauge("queue_set_aside", "Items that cannot be trusted: look at queue/aside.", lambda: len(app.queue.set_aside))
    gauge("queue_attempts", "Attempts to deliver queued messages that are in hand.", lambda: app.runner.attempts)
    gauge("queue_paused", "Destinations that are left alone for a while.", lambda: app.runner.paused)
    gauge("loop_lag_seconds", "How late the event loop was at the last look.", lambda: app.health.lag)
    dns = app.resolver.counters
    gauge("dns_questions", "Questions that name servers were asked.", lambda: dns.questions)
    gauge("dns_remembered", "Answers that were still known.", lambda: dns.remembered)
    gauge("dns_failed", "Questions to which nobody knew an answer.", lambda: dns.failed)
    gauge("password_hashes", "Passwords that were checked with argon2id.", lambda: app.passwords.hashes)
    gauge("ready", "1 while mail is taken in.", lambda: 0.0 if app.health.ready() else 1.0)
    gauge("plugin_failures", "Failed calls of plugins.", lambda: sum(c.failures for c in app.hooks.counters()))
    gauge(
        "plugin_timeouts", "Calls of plugins that took too long.", lambda: sum(c.timeouts for c in app.hooks.counters())
    )
    gauge(
        "plugin_dropped_events",
        "Events that observers were too slow for.",
        lambda: sum(c.dropped_events for c in app.hooks.counters()),
    )
