"""Honeypots, and a damaged junk.db, through the whole server and its command line."""

from __future__ import annotations

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY, deliver
from tests.helpers.daemon import DOMAIN

TRAP = f"trap@{DOMAIN}"
MESSAGE = b"From: x@far.test\r\nMessage-ID: <1@far.test>\r\nSubject: hi\r\n\r\nhello\r\n"
SETTINGS = {"smtp": PROXY, "plugins.greylist": "enabled = false", "limits": 'unknown_recipient_delay = "0s"'}


def test_who_writes_to_a_honeypot_is_listed_and_forgiven(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings=SETTINGS) as daemon:
        assert "has a bad name" in daemon.command("alias", "block", TRAP, "--honeypot")
        assert TRAP in daemon.command("junk", "honeypots")
        assert daemon.command("junk", "marks") == "nobody has written to a honeypot lately\n"
        assert deliver(daemon, MESSAGE, recipient=TRAP).code == 550
        (mark,) = daemon.command_json("junk", "marks")
        assert [mark[name] for name in ("who", "hits", "honeypot", "sender")] == [
            "192.0.2.66", 1, TRAP, "any@attack.test",
        ]  # fmt: skip
        assert mark["until"] - mark["at"] == 7 * 86_400
        assert deliver(daemon, MESSAGE).code == 250
        assert "only harvesters know" in daemon.command("why", "<1@far.test>")
        daemon.restart()
        assert "192.0.2.66" in daemon.command("junk", "marks")
        assert daemon.command("junk", "unmark", "192.0.2.66") == "192.0.2.66: has no bad name any more\n"
        assert deliver(daemon, MESSAGE.replace(b"<1@", b"<2@")).code == 250
        assert "only harvesters know" not in daemon.command("why", "<2@far.test>")
        daemon.command("alias", "unblock", TRAP)
        assert daemon.command("junk", "honeypots") == "there are no honeypots\n"


@pytest.mark.parametrize("inside", [False, True])
def test_a_damaged_junk_database_is_put_aside(make_daemon: DaemonMaker, inside: bool) -> None:
    """The server starts, says so, and goes on judging: also where only the pages behind the first are damaged."""
    with make_daemon(settings=SETTINGS) as daemon:
        daemon.command("sender", "block", ANNA, "far.test")
        assert deliver(daemon, MESSAGE).code == 550
        daemon.stop()
        path = daemon.data / ".server" / "junk.db"
        octets = path.read_bytes()
        path.write_bytes(octets[:4096] + b"\xff" * (len(octets) - 4096) if inside else b"nothing of the kind" * 500)
        daemon.start()
        log = daemon.log_text()
        assert "a damaged file is put aside" in log and "junk.db" in log
        assert deliver(daemon, MESSAGE).code == 250
        assert path.with_name("junk.db.damaged").exists()
        daemon.command("sender", "block", ANNA, "far.test")
        assert deliver(daemon, MESSAGE).code == 550
