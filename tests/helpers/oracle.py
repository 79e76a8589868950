"""The universal oracle: what must still be true after any attack (ATTACKS §2, `U`)."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.smtp import Smtp

__all__ = ["Oracle"]

#: Memory that may stay in use after a case: allocators keep some.
_RSS_SLACK = 8 << 20
_SETTLE = 10.0


class Oracle:
    """Made before the case (it takes the baseline), asked after it.

    Alive; a clean second client is served; memory and descriptors are back; no traceback and no secret in the log;
    the mailboxes verify. Time bounds are not asserted here: only `make soak` does that.
    """

    def __init__(self, daemon: Daemon, account: str, *, rss_slack: int = _RSS_SLACK) -> None:
        self._daemon = daemon
        self._account = account
        self._slack = rss_slack
        # Once before the baseline: what is made on first use (a database, a cache) is not a leak.
        self._serve_a_clean_client()
        # Connections that are just ending do not belong to it.
        seen: list[int] = []

        def settled() -> bool:
            seen.append(daemon.fds())
            return len(seen) > 4 and len(set(seen[-4:])) == 1

        _settles(settled, lambda: f"descriptors come and go: {seen[-5:]}")
        self._fds = seen[-1]
        self._rss = daemon.rss()

    def check(self, *, verify: bool = True) -> None:
        """Raises AssertionError that says which of them is not so."""
        daemon = self._daemon
        assert daemon.running, f"the server has ended:\n{daemon.log_text()[-4000:]}"
        self._serve_a_clean_client()
        _settles(lambda: daemon.fds() <= self._fds + 2, lambda: f"descriptors: {self._fds} before, {daemon.fds()} now")
        _settles(
            lambda: daemon.rss() <= self._rss + self._slack,
            lambda: f"memory: {self._rss >> 20} MiB before, {daemon.rss() >> 20} MiB now",
        )
        daemon.check_log()
        if verify:
            daemon.command("mailbox", "verify", self._account)

    def _serve_a_clean_client(self) -> None:
        with Smtp(self._daemon.ports["smtp"]) as smtp:
            smtp.ehlo()
            smtp.expect("MAIL FROM:<oracle@sender.test>", 250)
            smtp.expect(f"RCPT TO:<{self._account}>", 250)
            smtp.expect("RSET", 250)
            smtp.expect("QUIT", 221)
        with Imap(self._daemon.ports["imap"]) as imap:
            imap.login(self._account, PASSWORD)
            imap.ok("SELECT INBOX")
            imap.ok("LOGOUT")


def _settles(true: Callable[[], bool], message: Callable[[], str]) -> None:
    deadline = time.monotonic() + _SETTLE
    while not true():
        assert time.monotonic() < deadline, message()
        time.sleep(0.05)
