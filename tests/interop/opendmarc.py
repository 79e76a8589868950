"""What OpenDMARC thinks of messages: the real filter, asked by our side of the milter protocol.

It gets its DNS from a file (`TestDNSData`) and what SPF and DKIM found from Authentication-Results, as behind any
other server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailserver.net.endpoint import Endpoint
from mailserver.plugins.milter.connection import MilterConnection
from mailserver.plugins.milter.settings import MilterSettings
from mailserver.wire.milter import Step, command, connect, header
from tests.helpers.zones import ZoneResolver
from tests.interop.filters import answers, service

__all__ = ["Asked", "opendmarc"]

_HOST = "judge.test"
_FOUND = re.compile(rb"judge\.test; dmarc=(\w+)(?: \(p=(\w+) dis=none\))? header\.from=\S+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A message: the author's domain, that of MAIL FROM ("": a bounce), and results, as in "spf=pass smtp.helo=x"."""

    author: str
    sender: str
    results: Sequence[str]


async def opendmarc(
    home: Path, records: Mapping[str, str], suffixes: Iterable[str], asked: Iterable[Asked]
) -> list[tuple[str, str]]:
    """For each message its result and, of a "fail", the policy that applies; else "".

    `records`: the TXT record of each name that has one; no text has a "#". `suffixes`: the list of public suffixes.
    """
    data, listed, config, path = home / "names", home / "suffixes", home / "opendmarc.conf", home / "opendmarc.sock"
    data.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    listed.write_text("".join(f"{suffix}\n" for suffix in suffixes))
    config.write_text(
        f"Socket local:{path}\nTestDNSData {data}\nPublicSuffixList {listed}\nAuthservID {_HOST}\n"
        "RejectFailures false\nSPFSelfValidate false\n"
    )
    with service(["opendmarc", "-f", "-c", config], home / "opendmarc.log", answers(path), home):
        connection = await MilterConnection.open(Endpoint(path=str(path)), ZoneResolver({}), MilterSettings())
        try:
            # Local clients are nobody's business for it.
            await connection.ask(connect("client.test", "192.0.2.1", 2525), Step.SILENT_CONNECT)
            await connection.ask(command("H", "client.test"), Step.SILENT_HELO)
            return [await _ask(connection, message) for message in asked]
        finally:
            connection.close()


async def _ask(connection: MilterConnection, message: Asked) -> tuple[str, str]:
    sender = f"<b@{message.sender}>" if message.sender else "<>"
    found = "; ".join([_HOST, *(message.results or ["none"])])
    await connection.ask(command("M", sender), Step.SILENT_MAIL)
    for name, value in ((b"From", f"<a@{message.author}>"), (b"Authentication-Results", found)):
        await connection.ask(header(name, value.encode(), leading_space=False), Step.SILENT_HEADERS)
    answer, edits = await connection.end(command("E"))
    assert answer.kind in ("accept", "continue"), (answer, message)
    (field,) = (edit.value for edit in edits)
    told = _FOUND.fullmatch(field)
    assert told, field
    result, policy = told[1].decode(), (told[2] or b"").decode()
    return result, policy if result == "fail" else ""
