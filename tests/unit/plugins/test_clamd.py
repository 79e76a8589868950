"""The plugin clamd before a scanner that says what the test wants."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, OnError, Registry
from mailserver.model.verdict import ACCEPT, Accept, Defer, Quarantine, Reject, Verdict
from mailserver.plugins.clamd import plugin
from mailserver.plugins.clamd.settings import ClamdSettings
from mailserver.wire.clamd import ScanAnswer, scan_answer
from tests.helpers.content import BytesContent
from tests.helpers.judging import arriving, text
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host


class Scanner:
    """Reads a message as clamd does, at most `limit` octets, and says `answer`."""

    def __init__(self) -> None:
        self.answer = b"stream: OK\0"
        self.limit = 1 << 30
        self.seen: list[bytes] = []

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readexactly(10) == b"zINSTREAM\0"
            found = b""
            while length := struct.unpack(">I", await reader.readexactly(4))[0]:
                found += await reader.readexactly(length)
                if len(found) > self.limit:
                    break
            self.seen.append(found)
            writer.write(self.answer)
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def scanning(
    tmp_path: Path, on_error: OnError = OnError.DEFER, **settings: Any
) -> AsyncIterator[tuple[Scanner, Callable[..., Any]]]:
    scanner, path = Scanner(), tmp_path / "clamd"
    registry = Registry(HookOptions(plugin="clamd", on_error=on_error))
    server = await asyncio.start_unix_server(scanner.client, str(path))
    parsed = ClamdSettings.model_validate({"address": f"unix:{path}"} | settings)
    async with server, plugin.setup(registry, parsed, make_host(resolver=FakeResolver())):
        hooks = Hooks([registry])

        async def judge(octets: bytes = b"", **fields: Any) -> Verdict:
            forwarded = fields.pop("forwarded", False)
            ctx = replace(arriving(**fields), forwarded=forwarded)
            return await hooks.message(replace(ctx, content=BytesContent(octets or text())))

        yield scanner, judge


async def test_a_message_as_the_scanner_gets_it(tmp_path: Path) -> None:
    octets = text(body="0123456789\r\n" * 100_000)
    async with scanning(tmp_path) as (scanner, judge):
        assert await judge(octets) == ACCEPT
        assert scanner.seen == [octets]


@pytest.mark.parametrize(
    ("found", "fields", "expected"),
    [
        ("reject", {}, Reject),
        ("junk", {}, Quarantine),
        ("junk", {"forwarded": True}, Reject),
        ("junk", {"service": "submission", "account": "anna@example.test"}, Reject),
        ("reject", {"service": "sendmail", "account": "anna@example.test"}, Reject),
    ],
)
async def test_malware(tmp_path: Path, found: str, fields: dict[str, Any], expected: type) -> None:
    async with scanning(tmp_path, found=found) as (scanner, judge):
        scanner.answer = b"stream: Win.Test\xff FOUND\0"
        verdict = await judge(**fields)
        assert isinstance(verdict, expected) and isinstance(verdict, Reject | Quarantine)
        assert verdict.findings.reasons[0].text == "It contains malware: Win.Test\ufffd"
        if isinstance(verdict, Reject):
            assert verdict.reply.encode() == b"550 5.7.1 The message contains malware: Win.Test?\r\n"


@pytest.mark.parametrize("answer", [b"", b"stream: OK", b"nonsense\0", b"stream: x ERROR\0", b"x" * 10_000, b"\0"])
async def test_no_answer(tmp_path: Path, answer: bytes) -> None:
    for on_error, expected in ((OnError.DEFER, Defer), (OnError.SKIP, Accept)):
        async with scanning(tmp_path, on_error) as (scanner, judge):
            scanner.answer = answer
            assert isinstance(await judge(), expected)


async def test_nobody_there(tmp_path: Path) -> None:
    async with scanning(tmp_path, address=f"unix:{tmp_path}/none") as (_, judge):
        assert isinstance(await judge(), Defer)


async def test_what_is_too_large(tmp_path: Path) -> None:
    octets = text(body="0123456789\r\n" * 200_000)
    async with scanning(tmp_path, max_size="1KiB") as (scanner, judge):
        verdict = await judge(octets)
        assert isinstance(verdict, Accept) and "too large" in verdict.findings.reasons[0].text
        assert scanner.seen == []
    async with scanning(tmp_path, max_size="1KiB", too_large="reject") as (scanner, judge):
        assert (await judge(octets)).reply.code == 552
    async with scanning(tmp_path) as (scanner, judge):
        # It answers in the middle and hangs up; what it said is not lost.
        scanner.limit, scanner.answer = 1000, b"INSTREAM size limit exceeded. ERROR\0"
        verdict = await judge(octets)
        assert isinstance(verdict, Accept) and "too large" in verdict.findings.reasons[0].text


async def test_it_is_off_without_an_address_and_for_other_services(tmp_path: Path) -> None:
    async with scanning(tmp_path, address="") as (scanner, judge):
        assert await judge() == ACCEPT
    async with scanning(tmp_path, services=["submission"]) as (scanner, judge):
        assert await judge() == ACCEPT
        assert scanner.seen == []
    with pytest.raises(ValidationError):
        ClamdSettings.model_validate({"address": "nonsense"})


def test_answers_are_short_and_printable() -> None:
    assert scan_answer(b"stream: A\r\nB\x1b FOUND") == ScanAnswer("found", "A??B?")
    assert len(scan_answer(b"stream: " + b"x" * 5000 + b" FOUND").text) <= 300
    assert scan_answer(b"stream: OK FOUND").kind == "found"
