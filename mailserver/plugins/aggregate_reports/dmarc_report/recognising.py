"""Which messages are reports: they are read, and they are in no report of ours."""

from __future__ import annotations

from mailserver import api

__all__ = ["TYPES", "Recognised"]

#: Reports that were recognised, so that they are not counted; a few seconds' worth.
_MOST_KNOWN = 1_000
#: RFC 9990 §3.5.2, RFC 7489 §7.2.1.1, and what is seen in the wild.
TYPES = (
    "application/gzip", "application/x-gzip", "application/zip", "application/x-zip", "application/x-zip-compressed",
    "text/xml", "application/xml", "application/octet-stream",
)  # fmt: skip
_SUBJECT = b"report domain:"
_TLS_REPORT = b"tlsrpt"


class Recognised:
    """Messages that look like a report, and whether DMARC has proved their author."""

    def __init__(self) -> None:
        self._known: dict[api.QueueId, bool] = {}

    def look(self, queue_id: api.QueueId, message: api.MessageView, *, listed: bool) -> bool:
        """Whether it is to be read. By the subject (RFC 9990 §3.5.2), which those about TLS have, too: these are known,
        and not read."""
        named = (message.value(b"subject") or b"").strip().lower().startswith(_SUBJECT)
        if named:
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[queue_id] = False
        return (listed or named) and _TLS_REPORT not in (message.value(b"content-type") or b"").lower()

    def is_report(self, event: api.DmarcEvaluated) -> bool:
        """Whether this is a report of somebody who is who he says he is."""
        if event.queue_id not in self._known:
            return False
        self._known[event.queue_id] = event.passed
        return event.passed

    def forget(self, queue_id: api.QueueId) -> bool:
        """It is through: whether its author is proved."""
        return self._known.pop(queue_id, False)
