"""Which policy of MTA-STS is in force, and what it means for a host; web servers and DNS are tables here."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailserver.hooks.contexts import TlsLevel, TlsPolicy, TlsPolicyContext
from mailserver.hooks.registry import Registry
from mailserver.model.errors import MailError
from mailserver.plugins import mta_sts
from mailserver.plugins.mta_sts import cache as cache_module
from mailserver.plugins.mta_sts.cache import PolicyCache
from mailserver.plugins.mta_sts.policies import Policies
from mailserver.plugins.mta_sts.refresh import Refresher
from mailserver.plugins.mta_sts.settings import MtaStsSettings
from mailserver.ports.web import WebAnswer, WebFailed
from tests.helpers.clock import FakeClock
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host

DAY = 86400.0
DOMAIN, HOST, RECORD = "far.test", "mx.far.test", "_mta-sts.far.test"


def text(mode: str = "enforce", *, mx: str = "*.far.test", max_age: int = 604800) -> bytes:
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {max_age}\r\n".encode()


class FakeWeb:
    """`answers` by URL; `asked` has each question."""

    def __init__(self) -> None:
        self.answers: dict[str, WebAnswer | WebFailed] = {}
        self.asked: list[str] = []
        self.bounds: list[tuple[int, float]] = []
        self.held: asyncio.Event | None = None
        self.reached = asyncio.Event()

    def has(self, domain: str, body: bytes, *, status: int = 200, media_type: str = "text/plain") -> None:
        self.answers[domain] = WebAnswer(status=status, media_type=media_type, body=body)

    async def get(self, url: str, *, most: int, within: float, ca_file: str = "") -> WebAnswer:
        domain = url.removeprefix("https://mta-sts.").removesuffix("/.well-known/mta-sts.txt")
        self.asked.append(domain)
        self.bounds.append((most, within))
        self.reached.set()
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.get(domain, WebFailed("nobody there"))
        if isinstance(answer, WebFailed):
            raise WebFailed(answer.text, untrusted=answer.untrusted)
        return answer


class World:
    """The plugin with what it asks."""

    def __init__(self, tmp_path: Path) -> None:
        self.dns, self.web, self.clock = FakeResolver(), FakeWeb(), FakeClock()
        self.host = make_host(resolver=self.dns, web=self.web, clock=self.clock, data_dir=tmp_path)
        self.registry = Registry()

    def publishes(self, given: str, body: bytes, domain: str = DOMAIN) -> None:
        self.dns.has("txt", f"_mta-sts.{domain}", f"v=STSv1; id={given}".encode())
        self.web.has(domain, body)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        self.registry = Registry()
        async with mta_sts.plugin.setup(self.registry, MtaStsSettings(), self.host):
            yield self

    async def policy(self, domain: str = DOMAIN, host: str = HOST) -> TlsPolicy | None:
        (hook,) = self.registry.hooks["tls_policy"]
        answer = hook(TlsPolicyContext(domain=domain, host=host))
        found: TlsPolicy | None = None if answer is None else await answer
        return found

    async def operation(self, name: str, **arguments: Any) -> Any:
        (fn,) = (each.value for each in self.registry.contributions["operation"] if each.name == name)
        return await fn(arguments)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


# finding and judging


async def test_a_policy_that_is_enforced(world: World) -> None:
    world.publishes("1", text())
    assert await world.policy() == TlsPolicy(
        level=TlsLevel.VERIFIED, source="sts", names=(HOST,), text=tuple(text().decode().split("\r\n")[:-1]),
        patterns=("*.far.test",),
    )  # fmt: skip
    assert world.web.bounds == [(64 << 10, 60.0)]


async def test_a_host_that_it_does_not_name(world: World) -> None:
    world.publishes("1", text())
    found = await world.policy(host="mx.evil.test")
    assert found is not None and found.demand == 3
    assert (found.failure, "mx.evil.test" in found.refused) == ("validation-failure", True)


async def test_testing_refuses_nobody(world: World) -> None:
    world.publishes("1", text("testing"))
    found = await world.policy(host="mx.evil.test")
    assert found is not None and found.refused
    assert (found.demand, found.enforced, found.minimum, found.failure) == (0, False, True, "validation-failure")
    found = await world.policy()
    assert found is not None
    assert (found.refused, found.failure, found.enforced, found.level) == ("", "", False, TlsLevel.VERIFIED)


async def test_none_is_no_policy_and_is_remembered(world: World) -> None:
    world.publishes("1", text("none"))
    assert await world.policy() is None
    assert await world.policy() is None
    assert world.web.asked == [DOMAIN]


async def test_a_domain_without_a_record_is_left_alone(world: World) -> None:
    world.web.has(DOMAIN, text())
    assert await world.policy() is None
    world.dns.has("txt", RECORD, b"v=STSv1; id=1", b"v=STSv1; id=2")
    assert await world.policy() is None
    world.dns.fails("txt", RECORD)
    assert await world.policy() is None
    assert world.web.asked == []


async def test_a_subdomain_has_not_its_parents_policy(world: World) -> None:
    """RFC 8461 §3.4."""
    world.publishes("1", text())
    assert await world.policy("sub.far.test") is None
    assert world.dns.asked == [("txt", "_mta-sts.sub.far.test")]


@pytest.mark.parametrize("domain", ["[192.0.2.1]", "192.0.2.1", "", "a..b", "localhost"])
async def test_what_is_no_domain(world: World, domain: str) -> None:
    assert await world.policy(domain) is None
    assert world.dns.asked == []


@pytest.mark.parametrize(("answer", "failure"), [
    (WebFailed("nobody there"), "sts-policy-fetch-error"),
    (WebFailed("expired", untrusted=True), "sts-webpki-invalid"),
    (WebAnswer(status=404, media_type="text/plain", body=text()), "sts-policy-fetch-error"),
    (WebAnswer(status=301, media_type="text/plain", body=text()), "sts-policy-fetch-error"),
    (WebAnswer(status=206, media_type="text/plain", body=text()), "sts-policy-fetch-error"),
    (WebAnswer(status=200, media_type="text/html", body=text()), "sts-policy-fetch-error"),
    (WebAnswer(status=200, media_type="text/plain", body=b"hello"), "sts-policy-invalid"),
])  # fmt: skip
async def test_without_a_policy_mail_goes_and_the_domain_is_told(
    world: World, answer: WebAnswer | WebFailed, failure: str
) -> None:
    world.publishes("1", text())
    world.web.answers[DOMAIN] = answer
    found = await world.policy()
    assert found is not None
    assert (found.level, found.failure, found.demand, found.minimum) == (TlsLevel.OPPORTUNISTIC, failure, 0, True)
    assert found.detail and not found.text


# the cache


async def test_a_policy_is_fetched_once_for_its_id(world: World) -> None:
    world.publishes("1", text())
    for _ in range(3):
        assert (await world.policy()) is not None
    assert world.web.asked == [DOMAIN]
    world.publishes("2", text("testing"))
    found = await world.policy()
    assert found is not None and not found.enforced
    assert world.web.asked == [DOMAIN] * 2


async def test_it_outlives_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publishes("1", text())
    async with world.running():
        before = await world.policy()
    async with world.running():
        assert await world.policy() == before
    assert world.web.asked == [DOMAIN]


@pytest.mark.parametrize("trouble", ["no record", "no dns", "no web", "new id, no web", "nonsense"])
async def test_what_is_cached_holds_whatever_happens(world: World, trouble: str) -> None:
    world.publishes("1", text())
    before = await world.policy()
    assert before is not None
    if trouble == "no record":
        world.dns.has("txt", RECORD)
    elif trouble == "no dns":
        world.dns.fails("txt", RECORD)
    elif trouble == "no web":
        del world.web.answers[DOMAIN]
    elif trouble == "new id, no web":
        world.publishes("2", text("none"))
        del world.web.answers[DOMAIN]
    else:
        world.publishes("2", b"mode: none")
    world.clock.advance(6 * DAY)
    found = await world.policy()
    assert found is not None and (found.level, found.enforced, found.names) == (TlsLevel.VERIFIED, True, (HOST,))
    assert bool(found.failure) is (trouble in ("new id, no web", "nonsense"))


async def test_what_has_expired_does_not_hold(world: World) -> None:
    world.publishes("1", text(max_age=3600))
    assert (await world.policy()) is not None
    world.dns.has("txt", RECORD)
    world.clock.advance(3599)
    assert (await world.policy()) is not None
    world.clock.advance(1)
    assert await world.policy() is None


async def test_an_expired_policy_is_fetched_anew_under_its_old_id(world: World) -> None:
    world.publishes("1", text(max_age=3600))
    assert (await world.policy()) is not None
    world.clock.advance(3600)
    world.publishes("1", text("testing"))
    found = await world.policy()
    assert found is not None and not found.enforced


async def test_the_shortest_life_is_five_minutes(world: World) -> None:
    world.publishes("1", text(max_age=0))
    for _ in range(4):
        assert (await world.policy()) is not None
        world.clock.advance(75)
    assert world.web.asked == [DOMAIN]
    assert (await world.policy()) is not None
    assert world.web.asked == [DOMAIN] * 2


async def test_a_failure_is_not_repeated_for_five_minutes_unless_the_id_changes(world: World) -> None:
    """RFC 8461 §3.3."""
    world.publishes("1", b"")
    for _ in range(3):
        assert (await world.policy()) is not None
    assert world.web.asked == [DOMAIN]
    world.publishes("2", b"")
    await world.policy()
    assert world.web.asked == [DOMAIN] * 2
    world.clock.advance(300)
    world.publishes("2", text())
    found = await world.policy()
    assert found is not None and found.level is TlsLevel.VERIFIED


async def test_many_who_ask_at_once_share_one_fetch(world: World) -> None:
    world.publishes("1", text())
    world.web.held = asyncio.Event()
    asking = [asyncio.create_task(world.policy()) for _ in range(20)]
    await world.web.reached.wait()
    # Who gives up takes it from nobody.
    asking[0].cancel()
    await asyncio.sleep(0)
    world.web.held.set()
    answers = await asyncio.gather(*asking[1:])
    assert all(answer is not None and answer.level is TlsLevel.VERIFIED for answer in answers)
    assert world.web.asked == [DOMAIN]


async def test_a_fetch_under_way_does_not_hold_up_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publishes("1", text())
    world.web.held = asyncio.Event()
    async with world.running():
        asking = asyncio.create_task(world.policy())
        await world.web.reached.wait()
    assert (await asyncio.gather(asking, return_exceptions=True))[0] is not None


async def test_the_cache_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MOST", 3)
    world = World(tmp_path)
    async with world.running():
        for number in range(5):
            world.clock.advance(1)
            world.publishes("1", text(), f"d{number}.test")
            assert (await world.policy(f"d{number}.test")) is not None
        assert [row["domain"] for row in await world.operation("mta_sts.list")] == ["d2.test", "d3.test", "d4.test"]


@pytest.mark.parametrize("damage", ["all of it", "its pages"])
async def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    world = World(tmp_path)
    world.publishes("1", text())
    path = tmp_path / ".server" / "mta_sts.db"
    async with world.running():
        await world.policy()
    with path.open("r+b") as file:
        file.seek(0 if damage == "all of it" else 4096)
        file.write(b"this is no database" * 1000)
    with capture_logs() as logs:
        async with world.running():
            assert (await world.policy()) is not None
    assert [line["event"] for line in logs] == ["a damaged file is put aside"]
    assert path.with_name("mta_sts.db.damaged").exists()
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM policy").fetchone() == (1,)
    db.close()


async def test_a_full_disk_takes_no_protection_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(db: sqlite3.Connection, row: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(cache_module, "_put", full)
    world.publishes("1", text())
    with capture_logs() as logs:
        found = await world.policy()
    assert found is not None and found.level is TlsLevel.VERIFIED
    assert [line["event"] for line in logs] == ["mta_sts.not_kept"]


async def test_nothing_is_made_before_the_first_question(tmp_path: Path) -> None:
    async with World(tmp_path).running():
        pass
    assert os.listdir(tmp_path) == []


# the background


@asynccontextmanager
async def refreshing(world: World) -> AsyncIterator[Callable[[], Any]]:
    async with PolicyCache(world.host.data_dir / ".server" / "mta_sts.db") as cache:
        policies = Policies(MtaStsSettings(), world.host, cache)
        yield Refresher(policies, cache, world.clock, DAY).once
        await policies.aclose()


async def test_policies_are_renewed_daily_whatever_their_record_says(world: World) -> None:
    world.publishes("1", text())
    await world.policy()
    world.dns.has("txt", RECORD)
    async with refreshing(world) as once:
        world.clock.advance(DAY - 1)
        await once()
        assert world.web.asked == [DOMAIN]
        world.clock.advance(1)
        await once()
        await once()
        assert world.web.asked == [DOMAIN] * 2
    # Its life begins anew.
    world.clock.advance(6.5 * DAY)
    assert (await world.policy()) is not None


async def test_short_lives_are_renewed_at_half_time(world: World) -> None:
    world.publishes("1", text(max_age=7200))
    await world.policy()
    async with refreshing(world) as once:
        world.clock.advance(3600)
        await once()
    assert world.web.asked == [DOMAIN] * 2


@pytest.mark.parametrize("mode", ["enforce", "none"])
async def test_who_runs_the_server_hears_of_a_failing_renewal(world: World, mode: str) -> None:
    """RFC 8461 §10.2; nothing is said of a domain that gives MTA-STS up."""
    world.publishes("1", text(mode))
    await world.policy()
    del world.web.answers[DOMAIN]
    async with refreshing(world) as once:
        world.clock.advance(DAY)
        with capture_logs() as logs:
            await once()
            await once()
        warnings = [line for line in logs if line["log_level"] == "warning"]
        assert len(warnings) == (1 if mode == "enforce" else 0)
        assert world.web.asked == [DOMAIN] * 2, "again after an hour only"
        world.clock.advance(3600)
        await once()
        assert world.web.asked == [DOMAIN] * 3
    (row,) = await world.operation("mta_sts.list")
    assert "nobody there" in row["trouble"]


async def test_a_domain_that_nobody_writes_to_is_let_go(world: World) -> None:
    world.publishes("1", text(max_age=31557600))
    await world.policy()
    async with refreshing(world) as once:
        world.clock.advance(61 * DAY)
        await once()
    assert world.web.asked == [DOMAIN]


async def test_using_it_keeps_it(world: World) -> None:
    world.publishes("1", text(max_age=31557600))
    await world.policy()
    world.clock.advance(59 * DAY)
    await world.policy()
    async with refreshing(world) as once:
        world.clock.advance(2 * DAY)
        await once()
    assert world.web.asked == [DOMAIN] * 2


async def test_expired_ones_leave_the_file(world: World) -> None:
    world.publishes("1", text(max_age=3600))
    await world.policy()
    async with refreshing(world) as once:
        world.clock.advance(3600)
        await once()
    assert world.web.asked == [DOMAIN]
    with sqlite3.connect(world.host.data_dir / ".server" / "mta_sts.db") as db:
        assert db.execute("SELECT count(*) FROM policy").fetchone() == (0,)
    db.close()


# operations


async def test_show_list_and_refresh(world: World) -> None:
    shown = await world.operation("mta_sts.show", domain=DOMAIN)
    assert (shown["policy"], shown["remark"]) == (None, "there is no record")
    world.publishes("1", text())
    shown = await world.operation("mta_sts.show", domain="Far.Test")
    assert (shown["id"], shown["policy"]["mode"], shown["policy"]["text"][0]) == ("1", "enforce", "version: STSv1")
    world.publishes("2", text("testing"))
    row = await world.operation("mta_sts.refresh", domain=DOMAIN)
    assert (row["id"], row["mode"]) == ("2", "testing")
    assert [row["mode"] for row in await world.operation("mta_sts.list")] == ["testing"]
    world.web.has(DOMAIN, b"")
    with pytest.raises(MailError, match="not valid"):
        await world.operation("mta_sts.refresh", domain=DOMAIN)
    assert len(await world.operation("mta_sts.list")) == 1
    for nonsense in ("", "[192.0.2.1]", 3):
        with pytest.raises(ValueError, match="a domain is needed"):
            await world.operation("mta_sts.show", domain=nonsense)
