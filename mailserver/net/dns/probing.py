"""Do the name servers answer, and does one of them say what DNSSEC proves? For `mailserver check`."""

from __future__ import annotations

import asyncio

from mailserver.net.dns.asking import NOERROR, NXDOMAIN, Asker, NoReply, Reply, rcode_name
from mailserver.net.dns.servers import Server, Servers
from mailserver.wire.dns.message import Question
from mailserver.wire.dns.records import SOA

__all__ = ["resolver_warnings"]

_ROOT = Question("", SOA, b"\0" + SOA.to_bytes(2, "big") + b"\0\1")


async def resolver_warnings(servers: Servers, asker: Asker | None = None) -> list[str]:
    """What is wrong with each of the servers, in words with the place where it is named; takes some seconds at most."""
    asking = asker or Asker()
    current = servers.current()
    answers = await asyncio.gather(*(_ask(asking, server) for server in current))
    found = [
        f"{servers.source}: the name server {server} is of no use: {answer}"
        for server, answer in zip(current, answers, strict=True)
        if isinstance(answer, str)
    ]
    usable = [answer for answer in answers if isinstance(answer, Reply)]
    if not usable:
        found.append(f"{servers.source}: no name server answers, so mail for other servers will wait")
    elif not any(reply.authentic for reply in usable):
        found.append(
            f"{servers.source}: no name server here can be believed about DNSSEC, so there is no DANE for mail that is"
            " sent; run a validating one on this machine, such as unbound"
        )
    return found


async def _ask(asker: Asker, server: Server) -> Reply | str:
    """Its answer about the root, which every validating resolver has the key of; or what is wrong, in words."""
    try:
        reply = await asker.ask([server], _ROOT, rounds=1)
    except NoReply as error:
        return error.reason
    return reply if reply.message.rcode in (NOERROR, NXDOMAIN) else f"it says {rcode_name(reply.message.rcode)}"
