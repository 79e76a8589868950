"""The real clamd and the real Rspamd behind the plugins clamd, rspamd and milter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY, deliver, inbox
from tests.helpers.daemon import Daemon
from tests.helpers.dns import DnsServer
from tests.interop.filters import EICAR, clamd, rspamd
from tests.interop.programs import needs

pytestmark = pytest.mark.interop


def mail(fields: str = "", body: bytes = b"Hello\r\n") -> bytes:
    return f"From: <bob@far.test>\r\nSubject: as it is\r\nX-Old: 1\r\nX-Old: 2\r\n{fields}\r\n".encode() + body


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


def settings(names: DnsServer, **plugins: str) -> dict[str, str]:
    given = {"smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]', "plugins.reputation": "enabled = false"}
    return given | {f"plugins.{name}": lines for name, lines in plugins.items()}


@needs("clamd")
def test_clamd(make_daemon: DaemonMaker, names: DnsServer, tmp_path: Path) -> None:
    with clamd(tmp_path, "StreamMaxLength 100K") as path:
        with make_daemon(settings=settings(names, clamd=f'address = "unix:{path}"')) as daemon:
            reply = deliver(daemon, mail(body=b"see " + EICAR + b"\r\n"))
            assert str(reply) == "550 5.7.1 The message contains malware: Own.Eicar.UNOFFICIAL"
            assert deliver(daemon, mail()).code == 250
            # Above the scanner's own limit, and below ours.
            assert deliver(daemon, mail(body=b"0123456789\r\n" * 100_000)).code == 250
            assert "StreamMaxLength" in daemon.log_text()
            assert len(inbox(daemon, count=2)) == 2
        junk = settings(names, clamd=f'address = "{path}"\nfound = "junk"')
        with make_daemon(settings=junk) as daemon:
            assert deliver(daemon, mail(body=EICAR + b"\r\n")).code == 250
            assert EICAR in inbox(daemon, "Junk")[0]
    # It is gone now.
    with make_daemon(settings=settings(names, clamd=f'address = "{path}"')) as daemon:
        assert deliver(daemon, mail()).code == 451
    skipping = settings(names, clamd=f'address = "{path}"\non_error = "skip"')
    with make_daemon(settings=skipping) as daemon:
        assert deliver(daemon, mail()).code == 250


def check(daemon: Daemon) -> None:
    """What holds for both ways to ask Rspamd."""
    assert deliver(daemon, mail("X-Points: 1\r\n")).code == 250
    assert len(inbox(daemon)) == 1
    assert deliver(daemon, mail("X-Points: 7\r\n")).code == 250
    assert b"X-Points: 7" in inbox(daemon, "Junk")[0]
    assert deliver(daemon, mail("X-Points: 20\r\n")).code in (550, 554)
    assert str(deliver(daemon, mail("X-Do: later\r\n"))) == "451 4.7.1 come again in a while"
    assert "no thank you" in str(deliver(daemon, mail("X-Do: never\r\n")))
    assert deliver(daemon, mail("X-Do: headers\r\n"), sender="b@far.test", helo="h.far.test").code == 250
    stored = inbox(daemon, count=2)[1]
    head = stored.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert b"\r\nX-Ip: 192.0.2.66\r\n" in head and b"X-Old" not in head
    assert b"\r\nX-Top: top\r\n" in head[: head.index(b"From: <bob")]
    assert f"\r\nX-Known: b@far.test h.far.test {ANNA} nil\r\n".encode() in head


@needs("rspamd")
def test_rspamd(make_daemon: DaemonMaker, names: DnsServer, tmp_path: Path) -> None:
    with rspamd(tmp_path) as (worker, proxy):
        with make_daemon(settings=settings(names, rspamd=f'address = "127.0.0.1:{worker}"')) as daemon:
            check(daemon)
            assert deliver(daemon, mail("X-Do: subject\r\n")).code == 250
            assert b"\r\nSubject: *** changed ***\r\n" in inbox(daemon, "Junk", count=2)[1]
            assert "'rspamd': 1.8" in daemon.log_text()
        proxied = settings(names, milter=f'milters = [{{ address = "127.0.0.1:{proxy}", name = "Rspamd" }}]')
        with make_daemon(settings=proxied) as daemon:
            check(daemon)
    with make_daemon(settings=settings(names, rspamd=f'address = "127.0.0.1:{worker}"')) as daemon:
        assert deliver(daemon, mail()).code == 451
