"""ATTACKS L11, A13: nobody but the server writes Authentication-Results in its name."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import DaemonMaker
from tests.helpers.authentication import PROXY, deliver, inbox, results

#: A check whose words are those of a hostile peer.
PLUGIN = """
from contextlib import asynccontextmanager
from mailserver.api import Accept, AuthResult, Findings, Plugin

def check(ctx):
    value = f"{ctx.envelope.sender}"
    result = AuthResult(method="spf", result="none", reason='said "x"; dmarc=pass (y)\\r\\nX-Forged: 1',
                        properties=(("smtp.mailfrom", value), ("smtp.remote-ip", ctx.session.peer)))
    return Accept(findings=Findings((result,)))

@asynccontextmanager
async def setup(registry, settings, host):
    registry.on_mail(check)
    yield

plugin = Plugin(name="words", setup=setup)
"""
FORGED = (
    b"Authentication-Results: mail.example.test; dmarc=pass header.from=victim.test\r\n"
    b"AUTHENTICATION-RESULTS : \"MAIL.example.test\" (x; y) 1 (z)\r\n ; dmarc=pass header.from=victim.test\r\n"
    b"Authentication-Results:\r\n\tmail.example.test;\r\n\tdkim=pass header.d=victim.test\r\n"
)
KEPT = b"Authentication-Results: mx.other.test; spf=pass smtp.mailfrom=a@mail.example.test\r\nsubject :  as  it is \r\n"


def test_l11_forged_fields_are_removed(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(PLUGIN)
    settings = {"smtp": PROXY, "plugins.words": f'file = "{tmp_path}/words.py"'}
    sender = '"; dmarc=pass header.from=victim.test; x="@attack.test'
    with make_daemon(settings=settings) as daemon:
        message = FORGED + KEPT + FORGED + b"From: a@attack.test\r\n\r\n" + FORGED
        assert deliver(daemon, message, sender=sender).code == 250
        (stored,) = inbox(daemon)
        head, _, body = stored.partition(b"\r\n\r\n")
        assert (
            "; spf=none reason=\"said 'x', dmarc=pass [y]??X-Forged: 1\" smtp.mailfrom=@attack.test "
            "smtp.remote-ip=192.0.2.66"
        ) in results(stored)
        # Above our Received, under Return-Path; all that the sender wrote himself is as it was.
        lines = head.decode().split("\r\n")
        assert [line.split(":")[0] for line in lines if line[0] not in "\t "][:3] == [
            "Return-Path", "Authentication-Results", "Received",
        ]  # fmt: skip
        assert head.endswith(KEPT + b"From: a@attack.test") and body == FORGED
        assert head.lower().count(b"authentication-results") == 2


def test_l11_a_header_that_never_ends_and_one_of_nothing_else(make_daemon: DaemonMaker) -> None:
    with make_daemon(settings={"smtp": PROXY}) as daemon:
        author = b"From: a@attack.test\r\n"
        assert deliver(daemon, FORGED + author).code == 250
        assert deliver(daemon, author + FORGED + b"\r\nbody\r\n").code == 250
        for stored in inbox(daemon, count=2):
            assert b"dmarc=pass" not in stored
