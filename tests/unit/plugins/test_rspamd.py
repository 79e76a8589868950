"""The plugin rspamd: what it makes of answers, whatever these are."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.findings import AuthResult
from mailserver.model.verdict import ACCEPT, Accept, Defer, HeaderChange, Quarantine, Reject, Verdict
from mailserver.plugins.rspamd import plugin
from mailserver.plugins.rspamd.answer import BadAnswer, header_changes, read_answer
from mailserver.plugins.rspamd.settings import RspamdSettings
from tests.helpers.content import BytesContent
from tests.helpers.judging import arriving, proofs, text
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host


class Worker:
    """Says `answer` to what comes, and remembers it."""

    def __init__(self) -> None:
        self.answer: Any = {"action": "no action", "score": 0.0}
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/checkv2"
        self.headers, self.body = list(request.headers.items()), await request.read()
        said = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return web.Response(status=self.status, body=said)


@asynccontextmanager
async def asking(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Worker, Callable[..., Any]]]:
    worker, path = Worker(), tmp_path / "rspamd"
    application = web.Application(client_max_size=64 << 20)
    application.router.add_post("/{path:.*}", worker.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    registry = Registry(HookOptions(plugin="rspamd"))
    parsed = RspamdSettings.model_validate({"address": f"unix:{path}"} | settings)
    try:
        async with plugin.setup(registry, parsed, make_host(resolver=FakeResolver())):
            hooks = Hooks([registry])

            async def judge(octets: bytes = b"", **fields: Any) -> Verdict:
                ctx = arriving(**fields)
                return await hooks.message(replace(ctx, content=BytesContent(octets or text())))

            yield worker, judge
    finally:
        await runner.cleanup()


async def test_what_it_is_told(tmp_path: Path) -> None:
    octets = text(body="0123456789\r\n" * 100_000)
    findings = proofs(AuthResult(method="iprev", result="pass", properties=(("policy.ptr", "mx.far.test"),)))
    async with asking(tmp_path, services=["smtp", "submission"]) as (worker, judge):
        assert await judge(octets, findings=findings, helo="far.test\r\nX: y", tls="TLSv1.3") == ACCEPT
        assert worker.body == octets
        told = {name: value for name, value in worker.headers if name not in ("Host", "Accept", "Accept-Encoding")}
        assert told == {
            "Queue-Id": "q1", "MTA-Name": "mail.example.test", "From": "<bob@far.test>", "Rcpt": "<anna@example.test>",
            "IP": "192.0.2.7", "Helo": "far.testX: y", "Hostname": "mx.far.test", "TLS-Version": "TLSv1.3",
            "TLS-Cipher": "", "Content-Length": str(len(octets)), "Content-Type": "message/rfc822",
            "User-Agent": "mailserver",
        }  # fmt: skip
        await judge(sender="", service="submission", account="anna@example.test")
        told = dict(worker.headers)
        assert told["From"] == "<>" and told["User"] == "anna@example.test"


@pytest.mark.parametrize(
    ("answer", "expected", "code"),
    [
        ({"action": "no action"}, Accept, 0),
        ({"action": "greylist"}, Accept, 0),
        ({"action": "add header"}, Quarantine, 0),
        ({"action": "rewrite subject", "subject": "*** x"}, Quarantine, 0),
        ({"action": "quarantine"}, Quarantine, 0),
        ({"action": "no action", "milter": {"reject": "quarantine"}}, Quarantine, 0),
        ({"action": "soft reject", "messages": {"smtp_message": "come\r\nagain"}}, Defer, 451),
        ({"action": "reject"}, Reject, 554),
        ({"action": "no action", "milter": {"reject": "discard"}}, Reject, 554),
        ({"action": "unheard of"}, Accept, 0),
        ({}, Defer, 451),
        ([], Defer, 451),
        ({"error": "bad\nthing"}, Defer, 451),
        (b"not json", Defer, 451),
        (b"[" * 100_000, Defer, 451),
        (b"x" * (5 << 20), Defer, 451),
    ],
)
async def test_actions(tmp_path: Path, answer: Any, expected: type, code: int) -> None:
    async with asking(tmp_path) as (worker, judge):
        worker.answer = answer
        verdict = await judge()
        assert isinstance(verdict, expected)
        if isinstance(verdict, Reject | Defer):
            assert verdict.reply.code == code
        if b"*** x" in json.dumps(answer if not isinstance(answer, bytes) else "").encode():
            assert isinstance(verdict, Quarantine) and verdict.changes == (HeaderChange("Subject", "*** x", 1),)


async def test_greylist_when_it_is_wanted(tmp_path: Path) -> None:
    async with asking(tmp_path, greylist=True) as (worker, judge):
        worker.answer = {"action": "greylist"}
        assert isinstance(await judge(), Defer)


async def test_junk_of_a_user_is_not_sent(tmp_path: Path) -> None:
    async with asking(tmp_path, services=["submission"]) as (worker, judge):
        worker.answer = {"action": "add header"}
        assert isinstance(await judge(service="submission", account="anna@example.test"), Reject)


async def test_symbols_are_reasons(tmp_path: Path) -> None:
    symbols = {
        "A": {"score": 4.0, "description": "It is\nbad"}, "B": {"score": -2.0}, "C": {"score": 0}, "D": 7, "E": {},
        "F": {"score": "9"}, "G": {"score": True},
    }  # fmt: skip
    async with asking(tmp_path) as (worker, judge):
        worker.answer = {"action": "no action", "score": 3.0, "symbols": symbols}
        reasons = (await judge()).findings.reasons
        assert [(reason.text, reason.points) for reason in reasons] == [
            ("Rspamd: It is bad (A)", 1.0), ("Rspamd: B", -0.5), ("Rspamd: other signs", 0.25),
        ]  # fmt: skip


async def test_it_is_not_asked(tmp_path: Path) -> None:
    for fields, settings in (
        ({"trusted": True}, {}), ({"service": "submission"}, {}), ({}, {"max_size": "10B"}), ({}, {"address": ""}),
    ):  # fmt: skip
        async with asking(tmp_path, **settings) as (worker, judge):
            assert await judge(**fields) == ACCEPT
            assert worker.body == b""
        (tmp_path / "rspamd").unlink(missing_ok=True)


async def test_no_answer(tmp_path: Path) -> None:
    async with asking(tmp_path) as (worker, judge):
        worker.status = 500
        assert isinstance(await judge(), Defer)
    for address in (f"unix:{tmp_path}/none", "nowhere.test:11333"):
        (tmp_path / "rspamd").unlink(missing_ok=True)
        async with asking(tmp_path, address=address) as (worker, judge):
            assert isinstance(await judge(), Defer)


def changes(milter: Any) -> tuple[HeaderChange, ...]:
    answer = read_answer(json.dumps({"action": "no action", "milter": milter}).encode())
    return header_changes(answer, b"A: 1\r\na: 2\r\nB: 3\r\nA: 4\r\n\r\n")


@pytest.mark.parametrize(
    ("milter", "expected"),
    [
        ({"add_headers": {"X": "y"}}, [HeaderChange("X", "y")]),
        ({"add_headers": {"X": {"value": "y", "order": 0}}}, [HeaderChange("X", "y", 0, 0)]),
        ({"add_headers": {"X": ["y", {"value": "z"}]}}, [HeaderChange("X", "y"), HeaderChange("X", "z")]),
        ({"add_headers": {"X": "a\n b\n\nc\r\nd"}}, [HeaderChange("X", "a\r\n\tb\r\n\tc\r\n\td")]),
        ({"add_headers": {"X": 5, "no name": "x", "Z": {"order": 1}}}, []),
        ({"remove_headers": {"A": 0}}, [HeaderChange("A", None, 1)] * 3),
        ({"remove_headers": {"A": 2, "B": -1}}, [HeaderChange("A", None, 2), HeaderChange("B", None, 1)]),
        ({"remove_headers": {"A": -9, "B": "x", "C": 0, "": 0}}, []),
        ({"remove_headers": [1], "add_headers": "x"}, []),
        ("x", []),
    ],
)
def test_header_changes(milter: Any, expected: list[HeaderChange]) -> None:
    assert list(changes(milter)) == expected


def test_changes_are_bounded() -> None:
    assert len(changes({"add_headers": {"X": ["y"] * 10_000}})) == 100


def test_any_json_at_all() -> None:
    source = random.Random(7)
    keys = ("action", "score", "symbols", "milter", "add_headers", "remove_headers", "value", "order", "messages", "A")

    def anything(depth: int) -> Any:
        kind = source.randrange(8 if depth else 6)
        if kind == 6:
            return {source.choice(keys): anything(depth - 1) for _ in range(4)}
        return [anything(depth - 1) for _ in range(3)] if kind == 7 else source.choice(
            [None, True, "add header", "a\r\nb\0", 1e999, -3, 10**400, 0.5]
        )  # fmt: skip

    for _ in range(3000):
        whole = {key: anything(3) for key in keys} | {"action": source.choice(["reject", None, "rewrite subject"])}
        try:
            header_changes(read_answer(json.dumps(whole).encode()), b"A: 1\r\n\r\n")
        except BadAnswer:
            assert whole["action"] is None
