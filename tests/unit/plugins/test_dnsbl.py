"""Lists in DNS: what their answers mean, and lists that lie, refuse or are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from mailserver.hooks.contexts import MailContext, MessageContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope
from mailserver.model.findings import Reason
from mailserver.model.ids import QueueId
from mailserver.model.verdict import Accept
from mailserver.plugins.dnsbl.codes import points_of, refusals, sensible
from mailserver.plugins.dnsbl.settings import DnsblSettings
from tests.helpers.content import BytesContent
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import Server, alone, make_session, running

BAD = {"zone": "bad.test", "codes": {"127.0.0.2-3": 4.0, "127.0.0.10": 1.0}}
GOOD = {"zone": "good.test", "codes": {"127.0.*.3": -3.0}}
NAMES = {"zone": "names.test", "of": "domains", "points": 3.0}
PEER, HERE = "192.0.2.7", "7.2.0.192"
TESTS = {"2.0.0.127": "127.0.0.2", "test": "127.0.0.2"}


@asynccontextmanager
async def lists(
    tmp_path: Path, *zones: dict[str, Any], entries: Mapping[str, str] = TESTS, **settings: Any
) -> AsyncIterator[Server]:
    """The plugin with these lists, which have had the time to look at the test `entries`."""
    resolver = FakeResolver()
    for zone in zones:
        for name, record in entries.items():
            resolver.has("A", f"{name}.{zone['zone']}", record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.helpers.plugins.FakeResolver", lambda: resolver)
        async with running(
            tmp_path, sections=alone(dnsbl={"lists": list(zones), **settings}), order=("dnsbl",)
        ) as server:
            for _ in range(5):
                await asyncio.sleep(0)
            resolver.asked.clear()
            yield server


async def reasons(server: Server, peer: str = PEER, **session: Any) -> Sequence[Reason]:
    verdict = await server.hooks.mail(
        MailContext(session=make_session(peer, **session), envelope=Envelope(sender=None))
    )
    assert isinstance(verdict, Accept)
    return verdict.findings.reasons


async def of_message(server: Server, content: bytes, sender: str = "x@far.test") -> Sequence[Reason]:
    verdict = await server.hooks.message(MessageContext(
        session=make_session(PEER), queue_id=QueueId("q"), envelope=Envelope(sender=EmailAddress.parse(sender)),
        content=BytesContent(content),
    ))  # fmt: skip
    assert isinstance(verdict, Accept)
    return verdict.findings.reasons


def points(found: Sequence[Reason]) -> list[float]:
    return [reason.points for reason in found]


async def test_what_lists_say_is_points(tmp_path: Path) -> None:
    async with lists(tmp_path, BAD, GOOD) as server:
        server.resolver.has("A", f"{HERE}.bad.test", "127.0.0.10", "127.0.0.3")
        server.resolver.has("A", f"{HERE}.good.test", "127.0.15.3")
        found = await reasons(server)
        assert points(found) == [4.0, -3.0]
        assert found[0].text == "The server that brought it, 192.0.2.7, is on the list bad.test (127.0.0.10, 127.0.0.3)"
        assert not await reasons(server, "192.0.2.8")
        server.resolver.has("A", "9.2.0.192.bad.test", "127.0.0.77")
        assert points(await reasons(server, "192.0.2.9")) == [0.0], "listed, for a reason that counts nothing here"
        name = "1." + "0." * 23 + "8.b.d.0.1.0.0.2"
        server.resolver.has("A", f"{name}.bad.test", "127.0.0.2")
        assert points(await reasons(server, "2001:db8::1")) == [4.0]


async def test_who_is_not_asked_for(tmp_path: Path) -> None:
    async with lists(tmp_path, BAD, NAMES) as server:
        for session in (
            {"peer": "10.1.2.3"}, {"peer": "::1"}, {"peer": PEER, "trusted": True}, {"peer": "uid:33"},
            {"peer": PEER, "service": "submission"},
        ):  # fmt: skip
            assert not await reasons(server, **session)
        assert server.resolver.asked == []


async def test_together_they_have_a_limit(tmp_path: Path) -> None:
    zones = [{"zone": f"bad{number}.test", "points": 4.0} for number in range(3)]
    async with lists(tmp_path, *zones, most_points=6.0) as server:
        for zone in zones:
            server.resolver.has("A", f"{HERE}.{zone['zone']}", "127.0.0.2")
        assert points(await reasons(server)) == [4.0, 2.0, 0.0]


async def test_domains_of_sender_author_and_links(tmp_path: Path) -> None:
    async with lists(tmp_path, NAMES) as server:
        for name in ("far.test", "pills.example", "other.example"):
            server.resolver.has("A", f"{name}.names.test", "127.0.1.2")
        content = (
            b"From: <a@mail.other.example>\r\nContent-Type: text/html\r\n\r\n"
            b'<a href="http://www.pills.example/x">x</a> <a href="http://good.example">y</a>\r\n'
        )
        found = await of_message(server, content)
        assert [reason.text.split(",")[0] for reason in found] == [
            "The domain other.example", "The domain far.test", "The domain pills.example",
        ]  # fmt: skip
        assert sum(points(found)) == 6.0
        plain = await of_message(server, b"\r\nsee HTTPS://x.y http://a.pills.example. now\r\n", "x@none.test")
        assert [reason.text for reason in plain] == [
            "The domain pills.example, that a link leads to, is on the list names.test (127.0.1.2)"
        ]


async def test_a_message_with_many_links_asks_for_few(tmp_path: Path) -> None:
    async with lists(tmp_path, NAMES) as server:
        links = b" ".join(b"http://x%d.example/" % number for number in range(500))
        await of_message(server, b"\r\n" + links + b"\r\n")
        assert len(server.resolver.asked) == 12


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "its test entry is not there"),
        ({"2.0.0.127": "127.0.0.2", "1.0.0.127": "127.0.0.2"}, "what is never listed"),
        ({"2.0.0.127": "203.0.113.80", "1.0.0.127": "203.0.113.80"}, "its test entry is not there"),
        ({"2.0.0.127": "127.255.255.254"}, "refuses to answer us"),
    ],
)
async def test_a_list_that_does_not_work_is_not_asked(tmp_path: Path, entries: dict[str, str], words: str) -> None:
    with capture_logs() as logs:
        async with lists(tmp_path, BAD, entries=entries) as server:
            server.resolver.has("A", f"{HERE}.bad.test", "127.0.0.2")
            assert not await reasons(server)
            assert server.resolver.asked == []
    assert [words in log["reason"] for log in logs] == [True]


async def test_test_entries(tmp_path: Path) -> None:
    async with lists(tmp_path, {**BAD, "test": False}, entries={}) as server:
        server.resolver.has("A", f"{HERE}.bad.test", "127.0.0.2")
        assert points(await reasons(server)) == [4.0], "a list that has none"


async def test_a_list_that_refuses_us_is_left_alone_and_the_operator_told(tmp_path: Path) -> None:
    async with lists(tmp_path, BAD) as server:
        server.resolver.has("A", f"{HERE}.bad.test", "127.255.255.254")
        with capture_logs() as logs:
            for _ in range(3):
                assert not await reasons(server)
        assert len(server.resolver.asked) == 1
        (log,) = logs
        assert "refuses to answer us (127.255.255.254)" in log["reason"]
        assert "a resolver of your own" in log["reason"]
        server.clock.advance(3601)
        server.resolver.has("A", f"{HERE}.bad.test", "127.0.0.2")
        assert points(await reasons(server)) == [4.0]


async def test_a_list_that_does_not_answer_holds_nothing_up(tmp_path: Path) -> None:
    async with lists(tmp_path, BAD, GOOD) as server:
        server.resolver.fails("A", f"{HERE}.bad.test")
        server.resolver.has("A", f"{HERE}.good.test", "127.0.0.3")
        for _ in range(5):
            assert points(await reasons(server)) == [-3.0]
        assert [name for _, name in server.resolver.asked].count(f"{HERE}.bad.test") == 3


async def test_answers_outside_127(tmp_path: Path) -> None:
    async with lists(tmp_path, BAD, NAMES) as server:
        server.resolver.has("A", f"{HERE}.bad.test", "203.0.113.80")
        assert not await reasons(server)


def test_codes() -> None:
    assert sensible(["127.0.0.2", "203.0.113.1", "127.x"]) == ["127.0.0.2"]
    assert refusals(["127.0.0.2", "127.255.255.252", "127.0.0.1"]) == ["127.255.255.252", "127.0.0.1"]
    assert points_of(["127.0.0.2"], 2.5, {}) == 2.5
    assert points_of([], 2.5, {}) == 0.0
    assert points_of(["127.0.9.3", "127.0.0.2"], 9.0, {"127.0.*.3": -3.0, "127.0.0.2": 1.0}) == -3.0
    assert points_of(["127.0.0.11"], 9.0, {"127.0.0.2-10": 1.0}) == 0.0


@pytest.mark.parametrize(
    "one",
    [
        {"zone": ""}, {"zone": "not a zone"}, {"zone": "a.test", "codes": {"10.0.0.1": 1.0}},
        {"zone": "a.test", "codes": {"127.0.0": 1.0}}, {"zone": "a.test", "codes": {"127.0.0.256": 1.0}},
        {"zone": "a.test", "codes": {"127.0.0.2": 50.0}}, {"zone": "a.test", "points": 11.0},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(one: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DnsblSettings.model_validate({"lists": [one]})
