"""Plays dialogues: what a client sends, and every line that the server must answer, over a real socket.

    # a comment
    C: a1 NOOP                       the first client sends a line (CRLF is added)
    S: a1 OK {{.*}}                  the server's next response is this; {{…}} is a regular expression
    C2: … / S2: …                    a second client, which is connected and logged in as anna when it first speaks;
                                     from C5 on as ben
    S: ...                           any number of responses, up to one that the next S: line describes
    S: <closed>                      the server closes
    ⏎                                CRLF within a line: literals stand in their responses

A client sends a literal as the lines that follow its `{n}`. The first client starts before its greeting. Several `C:`
lines in a row are sent without waiting, so pipelining is tested as it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.imap import AsyncImap, Closed

__all__ = ["Step", "play", "read_transcript"]

_LINE = re.compile(r"([CS])([0-9]?): ?(.*)")
_PATTERN = re.compile(r"\{\{(.*?)\}\}")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a transcript: `side` C or S, `client` its number, `line` of the file."""

    line: int
    side: str
    client: str
    text: str


def read_transcript(path: Path) -> list[Step]:
    """The steps of a file. Raises ValueError: a line is none."""
    steps = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path.name}:{number}: not a step: {line!r}")
        steps.append(Step(number, match[1], match[2] or "1", match[3]))
    return steps


def expected(text: str) -> re.Pattern[bytes]:
    """The pattern of a server's line."""
    parts = [part.encode() for part in _PATTERN.split(text.replace("⏎", "\r\n"))]
    joined = b"".join(b"(?:%b)" % part if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile(joined, re.DOTALL)


async def play(steps: list[Step], port: int, login: str, other: str) -> None:
    """Play a dialogue; raises AssertionError with the line that differs.

    `login` is the LOGIN of further clients, `other` that of clients from 5 on.
    """
    clients: dict[str, AsyncImap] = {}
    try:
        for at, step in enumerate(steps):
            client = clients.get(step.client)
            if client is None:
                client = clients[step.client] = AsyncImap(port)
                await client.__aenter__()
                if step.client != "1":
                    await client.ok(login if step.client < "5" else other)
                elif step.side == "S":
                    assert expected(step.text).fullmatch(client.greeting), f"line {step.line}: {client.greeting!r}"
                    continue
            if step.side == "C":
                client.writer.write(step.text.replace("⏎", "\r\n").encode() + b"\r\n")
            elif step.text == "<closed>":
                await _closed(client, step)
            elif step.text == "...":
                await _skip_to(client, _next_expected(steps, at))
            elif at and steps[at - 1].text == "..." and steps[at - 1].client == step.client:
                continue  # met by the line before
            else:
                got = await client.response_line()
                assert expected(step.text).fullmatch(got), f"line {step.line}: expected {step.text!r}, got {got!r}"
    finally:
        for client in clients.values():
            await client.__aexit__(None, None, None)


def _next_expected(steps: list[Step], at: int) -> Step:
    return next(step for step in steps[at + 1 :] if step.client == steps[at].client and step.side == "S")


async def _skip_to(client: AsyncImap, step: Step) -> None:
    pattern, seen = expected(step.text), list[bytes]()
    while not seen or not pattern.fullmatch(seen[-1]):
        try:
            seen.append(await client.response_line())
        except (Closed, TimeoutError):
            raise AssertionError(f"line {step.line}: {step.text!r} did not come; got {seen!r}") from None


async def _closed(client: AsyncImap, step: Step) -> None:
    try:
        got = await client.response_line()
    except Closed:
        return
    raise AssertionError(f"line {step.line}: the server goes on: {got!r}")
