"""Mail of a user of the daemon, from submission to the server that takes it."""

from __future__ import annotations

from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.receiver import Receiver
from tests.helpers.smtp import Smtp

__all__ = ["ANNA", "arrived", "submit"]

ANNA = f"anna@{DOMAIN}"


def submit(daemon: Daemon, *recipients: str, parameters: str = "", name: str = "m") -> str:
    """Anna sends a message whose Message-ID begins with `name`; `parameters` are those of MAIL. The queue id."""
    message = f"From: <{ANNA}>\r\nMessage-ID: <{name}@{DOMAIN}>\r\n\r\nHello.\r\n".encode()
    with Smtp(daemon.ports["submission"]) as smtp:
        smtp.ehlo()
        assert smtp.auth_plain(ANNA, PASSWORD).code == 235
        reply = smtp.message(ANNA, list(recipients), message, parameters)
        assert reply.code == 250, reply
        return reply.text.split()[-1]


async def arrived(mx: Receiver, count: int) -> None:
    """Wait until the receiver has so many messages."""
    await mx.arrived(count)
