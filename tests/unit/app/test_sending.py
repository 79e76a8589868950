"""Where mail goes, and the way of submitted mail through the whole server to another one and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import ValidationError

from mailserver.app.config import Config
from mailserver.app.sending import LOCAL, MailDeliverer, OwnPorts
from mailserver.hooks.contexts import Route, RouteContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import Registry
from mailserver.model.delivery import Destination, Outcome, Result
from mailserver.model.envelope import Envelope as MailEnvelope
from mailserver.model.ids import AccountId
from mailserver.outbound.settings import SendingSettings
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.ports.directory import Domain
from tests.helpers.aiosmtpd_server import aiosmtpd_in_thread
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon, free_port
from tests.helpers.imap import Imap
from tests.helpers.queue import envelope_for
from tests.helpers.smtp import Smtp
from tests.helpers.waiting import until

ANNA = f"anna@{DOMAIN}"


class Directory:
    """Of one domain."""

    def domain(self, name: str) -> Domain | None:
        return Domain(name=DOMAIN) if name == DOMAIN else None


async def nobody(job: Job) -> DeliveryReport:
    raise AssertionError("nobody delivers here")


async def where(to: str, settings: dict[str, Any], *, registry: Registry | None = None) -> Destination | Result:
    hooks = Hooks([registry] if registry is not None else [])
    deliverer = MailDeliverer(
        hooks, Directory(), Config.model_validate(settings), local=nobody, outbound=nobody,  # type: ignore[arg-type]
    )  # fmt: skip
    envelope = envelope_for(to, sender="anna@example.test")
    return await deliverer.destination(envelope, envelope.recipients[0])


SMARTHOST: dict[str, Any] = {"smarthosts": {"office": {"host": "smtp.office.test:587", "senders": ["example.test"]}}}


async def test_where_mail_goes() -> None:
    assert await where(ANNA, {"queue": {"relay": "relay.test:25"}}) == LOCAL
    assert await where("bob@remote.test", {}) == Destination(name="remote.test")
    relay = Destination(name="[2001:db8::1]:2525", hosts=(("2001:db8::1", 2525),))
    assert await where("bob@remote.test", {"queue": {"relay": "[2001:db8::1]:2525"}}) == relay
    office = await where("bob@remote.test", SMARTHOST | {"queue": {"relay": "relay.test:25"}})
    assert isinstance(office, Destination) and office.smarthost == "office", "a sender's own smarthost comes first"


async def test_a_stranger_who_writes_as_one_of_us_does_not_get_the_login_of_that_user() -> None:
    """Mail of strangers that is forwarded has the sender that they said: the provider would sign it as the user's."""
    own = {"host": "smtp.provider.test:587", "senders": ["Anna@example.test"]}
    config = Config.model_validate({"smarthosts": {"anna": own} | SMARTHOST["smarthosts"]})
    deliverer = MailDeliverer(
        Hooks([]), Directory(), config, local=nobody, outbound=nobody,  # type: ignore[arg-type]
    )  # fmt: skip
    forwarded = replace(envelope_for("bob@remote.test", sender="anna@example.test"), account=None)

    async def through(envelope: MailEnvelope) -> str | None:
        found = await deliverer.destination(envelope, envelope.recipients[0])
        assert isinstance(found, Destination)
        return found.smarthost

    assert await through(forwarded) == "office"
    assert await through(replace(forwarded, account=AccountId("anna@example.test"))) == "anna"
    assert await through(replace(forwarded, own=True)) == "anna"


async def test_from_which_of_our_addresses() -> None:
    def settings(**addresses: list[str]) -> dict[str, Any]:
        return {"sending": {"source_addresses": {name.replace("_", "."): found for name, found in addresses.items()}}}

    own = settings(Example_test=["192.0.2.7", "2001:DB8::7"])
    ours = ("192.0.2.7", "2001:db8::7")
    assert await where("bob@remote.test", own) == Destination(name="remote.test", source=ours)
    assert await where("bob@remote.test", settings(other_test=["192.0.2.7"])) == Destination(name="remote.test")
    rest = {"sending": {"source_addresses": {"*": ["192.0.2.8"]}}, "queue": {"relay": "relay.test:25"}}
    found = await where("bob@remote.test", rest)
    assert isinstance(found, Destination) and found.source == ("192.0.2.8",) and found.hosts == (("relay.test", 25),)
    assert await where(ANNA, own) == LOCAL


@pytest.mark.parametrize(
    "wrong", [{"a b": ["192.0.2.7"]}, {"*": []}, {"*": ["host"]}, {"*": ["192.0.2.7", "192.0.2.8"]}]
)
def test_addresses_that_cannot_be_ours(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        SendingSettings(source_addresses=wrong)


async def test_a_plugin_knows_the_way() -> None:
    registry = Registry()
    asked = []

    @registry.route
    def route(ctx: RouteContext) -> Route | None:
        asked.append((str(ctx.sender), str(ctx.recipient)))
        return Route(hosts=(("mx.test", 2525), ("2001:db8::1", 25))) if ctx.recipient.domain == "remote.test" else None

    found = await where("bob@remote.test", SMARTHOST, registry=registry)
    assert found == Destination(name="mx.test:2525", hosts=(("mx.test", 2525), ("2001:db8::1", 25)))
    assert await where("bob@other.test", {}, registry=registry) == Destination(name="other.test")
    assert asked[0] == (ANNA, "bob@remote.test")
    assert await where(ANNA, {}, registry=registry) == LOCAL and len(asked) == 2


async def test_a_plugin_that_fails_costs_no_mail() -> None:
    registry = Registry()

    @registry.route
    def route(ctx: RouteContext) -> Route | None:
        raise RuntimeError("bug")

    found = await where("bob@remote.test", {}, registry=registry)
    assert isinstance(found, Result) and found.outcome is Outcome.DEFERRED


def test_our_own_service_is_recognized() -> None:
    class Bound:
        name, bound = "smtp", [("0.0.0.0", 2525)]

    own = OwnPorts([Bound()])  # type: ignore[list-item]
    assert own("127.0.0.1", 2525) and not own("127.0.0.1", 25) and not own("192.0.2.1", 2525)


class Sink:
    """A server that takes mail, but not for `bad@`, and `later@` only the second time."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str], bytes]] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad@"):
            return "550 5.1.1 no such user"
        if address.startswith("later@"):
            return "450 4.7.1 come again"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.got.append((envelope.mail_from or "", envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 taken"


@pytest.fixture
def sink() -> Iterator[tuple[Sink, int]]:
    sink = Sink()
    with aiosmtpd_in_thread(sink) as port:
        yield sink, port


def test_submitted_mail_reaches_another_server_and_failures_come_back(
    tmp_path: Path, sink: tuple[Sink, int]
) -> None:
    taken, port = sink
    with Daemon(tmp_path, settings={"queue": f'relay = "127.0.0.1:{port}"'}) as daemon:
        daemon.add_account(ANNA)
        with Smtp(daemon.ports["submission"]) as smtp:
            smtp.ehlo()
            assert smtp.auth_plain(ANNA, PASSWORD).code == 235
            people = ["bob@r1.test", "carl@r2.test", "bad@r1.test", "later@r3.test"]
            reply = smtp.message(ANNA, people, f"From: {ANNA}\r\nSubject: out\r\n\r\nbody\r\n".encode())
            assert reply.code == 250
        with Imap(daemon.ports["imap"]) as imap:
            imap.login(ANNA, PASSWORD)
            imap.ok("SELECT INBOX")
            until(lambda: imap.uids(), "no report came")
        ((_, recipients, content),) = taken.got
        assert sorted(recipients) == ["bob@r1.test", "carl@r2.test"], "one transaction for both"
        assert b"Subject: out" in content
        (row,) = daemon.queue(1)
        assert row["recipients"] == ["later@r3.test"] and "450 4.7.1 come again" in row["last_error"]
        # And the report, into our own mailbox.
        until(lambda: daemon.metric("mailserver_attempts_total") == 5, "not counted")
        assert daemon.metric("mailserver_reports_total") == 1
        daemon.logged(
            "sent recipient=bob@r1.test", "deferred recipient=later@r3.test", "failed recipient=bad@r1.test", "bounced"
        )


def test_mail_waits_over_a_crash(tmp_path: Path) -> None:
    port = free_port()
    with Daemon(tmp_path, settings={"queue": f'relay = "127.0.0.1:{port}"\nretry = ["1s"]'}) as daemon:
        daemon.add_account(ANNA)
        daemon.command("send", "--from", ANNA, stdin="To: bob@far.test\nSubject: s\n\nbody\n")
        daemon.logged("deferred recipient=bob@far.test")
        daemon.kill9()
        sink = Sink()
        with aiosmtpd_in_thread(sink, port):
            daemon.start()
            until(lambda: sink.got, "it was lost")
            daemon.queue()
        assert len(sink.got) == 1
