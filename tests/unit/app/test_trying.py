"""`mailserver send --test`, through the command line and the running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.helpers.aiosmtpd_server import aiosmtpd_in_thread
from tests.helpers.authority import issue
from tests.helpers.daemon import DOMAIN, Daemon, free_port

ANNA = f"anna@{DOMAIN}"


class Choosy:
    """Takes mail for bob, if it comes to that."""

    def __init__(self) -> None:
        self.taken = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.startswith("bob@"):
            return "550 5.1.1 Nobody here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.taken += 1
        return "250 2.0.0 Ok"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Choosy, int]]:
    handler, context = Choosy(), issue("mx.far.test").server_context(tmp_path)
    with aiosmtpd_in_thread(handler, tls=context) as port:
        yield handler, port


def test_nothing_is_sent_and_everything_is_shown(tmp_path: Path, server: tuple[Choosy, int]) -> None:
    handler, port = server
    with Daemon(tmp_path / "daemon", settings={"queue": f'relay = "127.0.0.1:{port}"'}) as daemon:
        daemon.add_account(ANNA)
        shown = daemon.command("send", "--from", ANNA, "--test", "bob@far.test")
        for words in (
            f"[127.0.0.1], port {port}", "policy:       TLS where it is offered", "TLSv1.3", "for mx.far.test",
            "C: STARTTLS", "C: RCPT TO:<bob@far.test>", "S: 250 2.1.5 Ok", "C: RSET", "would be taken: 250 2.1.5 Ok",
        ):  # fmt: skip
            assert words in shown, shown
        shown = daemon.command("send", "--from", ANNA, "--test", "cleo@far.test", check=False)
        assert "would be refused: 550 5.1.1 Nobody here" in shown
        assert "the mailbox is here" in daemon.command("send", "--from", ANNA, "--test", ANNA)
        told = daemon.command_json("send", "--from", ANNA, "--test", "bob@far.test")
        (host,) = told["hosts"]
        assert (host["outcome"], host["certificate"]["names"]) == ("delivered", ["mx.far.test"])
        with pytest.raises(AssertionError, match="there is no account zoe@"):
            daemon.command("send", "--from", f"zoe@{DOMAIN}", "--test", ANNA)
        assert daemon.command_json("queue", "list") == []
    assert handler.taken == 0


def test_there_is_nobody(tmp_path: Path) -> None:
    with Daemon(tmp_path, settings={"queue": f'relay = "127.0.0.1:{free_port()}"'}) as daemon:
        daemon.add_account(ANNA)
        shown = daemon.command("send", "--from", ANNA, "--test", "bob@far.test", check=False)
    assert "would wait: No connection to [127.0.0.1]: 127.0.0.1: connection refused" in shown
