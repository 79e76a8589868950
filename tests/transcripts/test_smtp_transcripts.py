"""Dialogues in smtp/*.txt, played over real sockets.

    # a comment                      @submission: the service to connect to (first line, else smtp),
                                     "trusted" behind it: as a client of limits.trusted
    C: EHLO client.test              a line, CRLF is added; \\r \\n \\0 \\t \\xHH are octets
    C- BDAT 2\\r\\nhi                  octets without a line end
    S: 250 2.1.0                     the next reply: its last line begins like this
    S~ PIPELINING                    a line of the reply before is this
    S.                               the server closes
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.smtp import AsyncSmtp, Closed, Reply
from tests.helpers.smtp_service import SmtpHarness

FOLDER = Path(__file__).parent / "smtp"
_ESCAPE = re.compile(r"\\(r|n|0|t|\\|x[0-9a-f]{2})")
_OCTETS = {"r": "\r", "n": "\n", "0": "\0", "t": "\t", "\\": "\\"}


def _octets(text: str) -> bytes:
    plain = _ESCAPE.sub(lambda m: _OCTETS.get(m[1]) or chr(0xDC00 + int(m[1][1:], 16)), text)
    return plain.encode("utf-8", "surrogateescape")


async def _step(smtp: AsyncSmtp, line: str, last: Reply | None) -> Reply | None:
    kind, text = line[:2], line[3:]
    if kind == "C:":
        smtp.writer.write(_octets(text) + b"\r\n")
    elif kind == "C-":
        smtp.writer.write(_octets(text))
    elif kind == "S:":
        reply = await smtp.reply()
        assert f"{reply.code} {reply.lines[-1]}".startswith(text), f"{line!r} but got {reply}"
        return reply
    elif kind == "S~":
        assert last is not None and text in last.lines, f"{line!r} but got {last}"
    elif kind == "S.":
        with pytest.raises(Closed):
            await smtp.reply()
    else:
        raise AssertionError(f"not a step: {line!r}")
    return last


DIALOGUES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.txt"))}


@pytest.mark.parametrize("name", DIALOGUES)
async def test_dialogue(name: str) -> None:
    lines = [line for line in DIALOGUES[name].split("\n") if line.strip() and not line.startswith("#")]
    service, *marks = lines.pop(0)[1:].split() if lines[0].startswith("@") else ["smtp"]
    limits = {"trusted": ["127.0.0.1"]} if "trusted" in marks else {}
    async with SmtpHarness(limits=limits) as server, server.client(service) as smtp:
        last: Reply | None = smtp.greeting
        for line in lines:
            last = await _step(smtp, line, last)
