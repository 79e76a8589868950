"""One question and what name servers, and strangers, do with it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator

import dns.flags
import dns.message
import dns.rcode
import pytest

from mailserver.net.dns.asking import SERVFAIL, Asker, NoReply, Reply
from mailserver.net.dns.servers import Server
from mailserver.wire.dns.message import Question
from mailserver.wire.dns.records import MX, value
from tests.helpers.dns import Asked, DnsServer

NAME = "example.test"
LONG = (5.0, 5.0)
SHORT = (0.05, 0.05)


def question() -> Question:
    made = Question.of(NAME, MX)
    assert made is not None
    return made


def server(of: DnsServer, *, trusted: bool = True) -> Server:
    return Server(of.address, of.port, trusted)


def hosts(reply: Reply) -> list[str]:
    return [value(reply.message, record).host for record in reply.message.answers]


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as made:
        made.add(NAME, "MX", "10 first.test.")
        yield made


@pytest.fixture
def second() -> Iterator[DnsServer]:
    with DnsServer() as made:
        made.add(NAME, "MX", "10 second.test.")
        yield made


@pytest.fixture
async def nobody() -> AsyncIterator[Server]:
    """A port where nobody listens: the kernel says so at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        port = made.getsockname()[1]
    yield Server("127.0.0.1", port, True)


@pytest.fixture
async def silence() -> AsyncIterator[Server]:
    """A server that takes every packet and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        yield Server("127.0.0.1", made.getsockname()[1], True)


async def test_each_packet_has_a_port_and_an_id_of_its_own(dns_server: DnsServer) -> None:
    asker = Asker(waits=LONG)
    ports = set()
    dns_server.script(NAME, "MX", lambda asked: [asked.answer("10 first.test.").to_wire()])
    real = socket.socket.connect

    class Seen(socket.socket):
        def connect(self, address: object) -> None:
            real(self, address)  # type: ignore[arg-type]
            ports.add(self.getsockname()[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Seen)
        for _ in range(20):
            await asker.ask([server(dns_server)], question())
    assert len({asked.message.id for asked in dns_server.asked}) > 15
    assert len(ports) > 15


async def test_noise_is_not_listened_to(dns_server: DnsServer) -> None:
    def noisy(asked: Asked) -> list[bytes]:
        good = asked.answer("10 first.test.").to_wire()
        other = dns.message.make_query("other.test.", "MX", id=asked.message.id)
        return [
            b"", b"\0", os.urandom(200),
            bytes([good[0] ^ 1]) + good[1:],
            asked.raw,
            dns.message.make_response(other).to_wire(),
            good,
        ]  # fmt: skip

    dns_server.script(NAME, "MX", noisy)
    assert hosts(await Asker(waits=LONG).ask([server(dns_server)], question())) == ["first.test"]
    assert len(dns_server.queries) == 1


async def test_somebody_who_keeps_guessing_is_left_to_it(dns_server: DnsServer) -> None:
    def guessing(asked: Asked) -> list[bytes]:
        good = asked.answer("10 first.test.").to_wire()
        if asked.tcp:
            return [good]
        evil = asked.answer("10 evil.test.").to_wire()
        return [(asked.message.id ^ guess).to_bytes(2, "big") + evil[2:] for guess in range(1, 60)]

    dns_server.script(NAME, "MX", guessing)
    assert hosts(await Asker(waits=LONG).ask([server(dns_server)], question())) == ["first.test"]
    assert [asked.tcp for asked in dns_server.asked] == [False, True]


async def test_only_the_server_itself_is_heard(dns_server: DnsServer) -> None:
    def spoofed(asked: Asked) -> list[bytes]:
        return [asked.answer("10 first.test.").to_wire()]

    dns_server.script(NAME, "MX", spoofed)
    heard = []
    real = socket.socket.send

    class Spoofing(socket.socket):
        def send(self, data: object, *flags: int) -> int:
            query = dns.message.from_wire(bytes(data))  # type: ignore[call-overload]
            evil = dns.message.make_response(query).to_wire()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.1", 0))
                heard.append(stranger.sendto(evil, self.getsockname()))
            return real(self, data, *flags)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailserver.net.dns.asking.socket.socket", Spoofing)
        assert hosts(await Asker(waits=LONG).ask([server(dns_server)], question())) == ["first.test"]
    assert heard


async def test_what_does_not_fit_is_asked_for_over_tcp(dns_server: DnsServer) -> None:
    dns_server.add(NAME, "MX", *(f"{n} host-with-a-long-name-{n}.test." for n in range(500)))
    reply = await Asker(waits=LONG).ask([server(dns_server)], question())
    assert len(reply.message.answers) == 500
    assert [asked.tcp for asked in dns_server.asked] == [False, True]
    assert dns_server.asked[0].message.payload == 1232


@pytest.mark.parametrize("how", ["nothing", "half", "another question", "another id"])
async def test_bad_answers_over_tcp_bring_the_next_server(dns_server: DnsServer, second: DnsServer, how: str) -> None:
    def bad(asked: Asked) -> list[bytes]:
        cut = asked.answer()
        cut.flags |= dns.flags.TC
        if not asked.tcp:
            return [cut.to_wire()]
        good = asked.answer("10 first.test.").to_wire()
        other = dns.message.make_response(dns.message.make_query("o.test.", "MX", id=asked.message.id)).to_wire()
        return {
            "nothing": [b""], "half": [good[:20]], "another question": [other], "another id": [b"\0\0" + good[2:]],
        }[how]  # fmt: skip

    dns_server.script(NAME, "MX", bad)
    asker = Asker(waits=LONG, tcp_timeout=5)
    assert hosts(await asker.ask([server(dns_server), server(second)], question())) == ["second.test"]


async def test_silence_brings_the_next_server_and_is_remembered(silence: Server, second: DnsServer) -> None:
    asker = Asker(waits=(0.05, 1000.0))
    assert hosts(await asker.ask([silence, server(second)], question())) == ["second.test"]
    patient = Asker(waits=(1000.0,))
    patient._slow = asker._slow
    assert hosts(await patient.ask([silence, server(second)], question())) == ["second.test"]


async def test_a_refused_connection_brings_the_next_server_at_once(nobody: Server, second: DnsServer) -> None:
    asker = Asker(waits=(1000.0,))
    assert hosts(await asker.ask([nobody, server(second)], question())) == ["second.test"]


async def test_nobody_answers(silence: Server, nobody: Server) -> None:
    with pytest.raises(NoReply) as failed:
        await Asker(waits=SHORT).ask([silence, nobody], question())
    assert f"{silence}: no answer in 0.1 s" in str(failed.value)
    assert f"{nobody}: connection refused" in str(failed.value)


async def test_an_answer_may_come_to_an_earlier_packet(dns_server: DnsServer) -> None:
    late: list[bytes] = []

    def slow(asked: Asked) -> list[bytes]:
        # The second packet brings the answer to the first, to where that one came from.
        late.append(asked.answer("10 first.test.").to_wire())
        return []

    dns_server.script(NAME, "MX", slow)
    asking = asyncio.create_task(Asker(waits=(0.05, 1000.0)).ask([server(dns_server)], question()))
    async with asyncio.timeout(60):
        while len(dns_server.asked) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    first = dns_server.peers[0]
    dns_server.send(late[0], first)
    assert hosts(await asking) == ["first.test"]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "YXDOMAIN"])
async def test_a_failure_brings_the_next_server(dns_server: DnsServer, second: DnsServer, rcode: str) -> None:
    dns_server.fail(NAME, rcode=rcode)
    asker = Asker(waits=LONG)
    assert hosts(await asker.ask([server(dns_server), server(second)], question())) == ["second.test"]


async def test_of_all_failures_the_most_telling_is_reported(dns_server: DnsServer, second: DnsServer) -> None:
    dns_server.fail(NAME, rcode="REFUSED")
    second.fail(NAME, rcode="SERVFAIL")
    reply = await Asker(waits=LONG).ask([server(dns_server), server(second)], question())
    assert (reply.message.rcode, reply.server.port) == (SERVFAIL, second.port)


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP", "BADVERS"])
async def test_who_knows_no_edns_is_asked_without(dns_server: DnsServer, rcode: str) -> None:
    def old(asked: Asked) -> list[bytes]:
        if asked.message.edns < 0:
            return [asked.answer("10 first.test.").to_wire()]
        made = asked.answer()
        made.set_rcode(dns.rcode.from_text(rcode))
        return [made.to_wire()]

    dns_server.script(NAME, "MX", old)
    assert hosts(await Asker(waits=LONG).ask([server(dns_server)], question())) == ["first.test"]
    assert len(dns_server.queries) == 2


async def test_a_malformed_answer_brings_the_next_server(dns_server: DnsServer, second: DnsServer) -> None:
    loop = b"\xc0\x0c\0\x0f\0\1\0\0\0\5\0\4\0\5\xc0\x28"

    def malformed(asked: Asked) -> list[bytes]:
        good = bytearray(asked.answer().to_wire())
        good[7] = 2
        return [bytes(good) + loop]

    dns_server.script(NAME, "MX", malformed)
    asker = Asker(waits=LONG)
    assert hosts(await asker.ask([server(dns_server), server(second)], question())) == ["second.test"]


async def test_what_dnssec_proved_counts_only_from_a_trusted_server(dns_server: DnsServer) -> None:
    dns_server.add(NAME, "MX", "10 first.test.", authentic=True)
    asker = Asker(waits=LONG)
    assert (await asker.ask([server(dns_server)], question())).authentic
    reply = await asker.ask([server(dns_server, trusted=False)], question())
    assert reply.message.authentic
    assert not reply.authentic


async def test_questions_at_one_time_have_a_bound(dns_server: DnsServer) -> None:
    asker = Asker(waits=LONG, concurrent=2)
    opened = 0
    most = 0
    real = socket.socket

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object, **kwargs: object) -> None:
            nonlocal opened, most
            super().__init__(*args, **kwargs)
            opened += 1
            most = max(most, opened)

        def close(self) -> None:
            nonlocal opened
            opened -= 1
            super().close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailserver.net.dns.asking.socket.socket", Counted)
        await asyncio.gather(*(asker.ask([server(dns_server)], question()) for _ in range(20)))
    assert most == 2
    assert opened == 0


async def test_ipv6_servers_are_asked_too() -> None:
    with DnsServer("::1") as six:
        six.add(NAME, "MX", "10 six.test.")
        assert hosts(await Asker(waits=LONG).ask([server(six)], question())) == ["six.test"]
        six.add(NAME, "MX", *(f"{n} host-with-a-long-name-{n}.test." for n in range(100)))
        assert len(hosts(await Asker(waits=LONG).ask([server(six)], question()))) == 100


async def test_an_unheard_of_interface_is_a_failure_of_its_own(second: DnsServer) -> None:
    wrong = Server("fe80::1%nosuchif0", 53, False)
    assert hosts(await Asker(waits=LONG).ask([wrong, server(second)], question())) == ["second.test"]
