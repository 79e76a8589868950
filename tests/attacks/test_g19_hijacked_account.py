"""ATTACKS G19: somebody has the password of one of our users, and sends all that goes."""

from __future__ import annotations

from mailserver.plugins.rate_limit.settings import RateLimitSettings
from tests.conftest import DaemonMaker
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.smtp import Reply, Smtp

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
MESSAGE = f"From: <{ANNA}>\r\n\r\nBuy this.\r\n".encode()
ALARM = "alarm: an account has reached what it may send in a day"


def login(daemon: Daemon, user: str = ANNA) -> Smtp:
    smtp = Smtp(daemon.ports["submission"])
    smtp.ehlo()
    assert smtp.auth_plain(user, PASSWORD).code == 235
    return smtp


def spam(daemon: Daemon, number: int) -> list[Reply]:
    """To a user here: what goes elsewhere would wait in the queue."""
    replies: list[Reply] = []
    while len(replies) < number:
        with login(daemon) as smtp:
            # A session that is refused again and again is ended.
            for _ in range(min(10, number - len(replies))):
                replies.append(smtp.message(ANNA, [BEN], MESSAGE))
    return replies


def test_g19_the_daily_cap_holds_and_is_an_alarm(make_daemon: DaemonMaker) -> None:
    settings = {
        "limits": "trusted = []",
        "plugins.rate_limit": "account_messages_per_day = 30\naccount_new_recipients_per_day = 4",
    }
    with make_daemon(settings=settings) as daemon:
        replies = spam(daemon, 50)
        assert [reply.code for reply in replies] == [250] * 30 + [451] * 20
        assert "as one account may in a day (30)" in replies[-1].text and replies[-1].status == "4.7.1"
        daemon.restart()
        assert [reply.code for reply in spam(daemon, 5)] == [451] * 5
        assert daemon.metric("mailserver_messages_accepted_total") == 0
        with login(daemon, BEN) as smtp:
            smtp.expect(f"MAIL FROM:<{BEN}>", 250)
            codes = [smtp.command(f"RCPT TO:<r{number}@far.test>").code for number in range(7)]
            assert codes == [250] * 4 + [451] * 3
            smtp.expect("RCPT TO:<r0@far.test>", 250)
            smtp.expect(f"RCPT TO:<{ANNA}>", 250)
        assert daemon.metric("mailserver_sending_limited_total") == 1
        alarms = [line for line in daemon.log_text().splitlines() if ALARM in line]
        assert [(ANNA in line, "account_messages_per_day" in line) for line in alarms] == [(True, True), (False, False)]
        assert BEN in alarms[1] and "account_new_recipients_per_day" in alarms[1] and " error " in alarms[1]


def test_g19_the_limits_unless_somebody_changes_them() -> None:
    settings = RateLimitSettings()
    assert (settings.account_messages_per_day, settings.account_new_recipients_per_day) == (1000, 200)
