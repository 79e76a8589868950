"""ATTACKS L01, L02: mail that some program would show as the victim's, after espoofer's server cases (Chen et al.,
USENIX Security 2020). The attacker has a host, a domain with SPF and DKIM, and a name server of his own."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dns.message
import dns.rcode
import pytest

from tests.conftest import DaemonMaker
from tests.helpers.authentication import PROXY, deliver, inbox, results
from tests.helpers.daemon import Daemon
from tests.helpers.dns import Asked, DnsServer
from tests.helpers.signing import Signer, signer

KEY = signer("ed25519", domain="attack.test")
HOST = "192.0.2.66"
REST = "To: <anna@example.test>\r\nSubject: x\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"


@dataclass(frozen=True)
class Case:
    """`reply` is the code that must come; 250: the message must say dmarc=fail."""

    reply: int
    header: str = "From: <admin@legitimate.test>\r\n"
    sender: str = "any@attack.test"
    helo: str = "attack.test"
    d: str = ""
    s: str = "selector"


def encoded(text: str) -> str:
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


ESPOOFER = {
    "a1 missing subdomain": Case(250, sender="any@mailfrom.notexist.legitimate.test", helo="helo.attack.test"),
    "a2 empty MAIL FROM": Case(501, sender="(any@legitimate.test"),
    "a3 NUL in s=": Case(550, d="legitimate.test", s="selector._domainkey.attack.test.\0.any"),
    "a3 without its NUL": Case(250, d="legitimate.test", s="selector._domainkey.attack.test.x.any"),
    "a4 quote in d=": Case(250, d="legitimate.test'a.attack.test"),
    "a4 parenthesis in d=": Case(250, d="legitimate.test(.attack.test"),
    "a5 parenthesis in MAIL FROM": Case(501, sender="any@legitimate.test(a.attack.test"),
    "a6 quote in MAIL FROM": Case(501, sender="any@legitimate.test'@any.attack.test"),
    "a6 in quotes": Case(250, sender='"any@legitimate.test;dmarc=pass"@any.attack.test'),
    "a7 routed MAIL FROM": Case(250, sender="@legitimate.test,@any.test:'any@attack.test"),
    "a8 two From": Case(550, "From: <first@attack.test>\r\nFrom: <admin@legitimate.test>\r\n"),
    "a9 leading space": Case(550, " From: <first@attack.test>\r\nFrom: <admin@legitimate.test>\r\n"),
    "a9 in the middle": Case(250, "X: y\r\n From: <first@attack.test>\r\nFrom: <admin@legitimate.test>\r\n"),
    "a10 space behind": Case(550, "From: <first@attack.test>\r\nFrom : <admin@legitimate.test>\r\n"),
    "a11 folded": Case(550, "From\r\n : <first@attack.test>\r\nFrom: <admin@legitimate.test>\r\n"),
    "a12 Sender": Case(550, "From\r\n : <first@attack.test>\r\nSender: <admin@legitimate.test>\r\n"),
    "a13 Resent-From": Case(550, "From\r\n : <first@attack.test>\r\nResent-From: <admin@legitimate.test>\r\n"),
    "a14 two addresses": Case(550, "From: <first@attack.test>, <admin@legitimate.test>\r\n"),
    "a15 base64": Case(550, f"From:{encoded('<admin@legitimate.test>')},<second@attack.test>\r\n"),
    "a16 route": Case(550, "From: <@attack.test,@any.test:admin@legitimate.test>\r\n"),
    "a17 quoted pair": Case(550, "From: <admin@legitimate.test>\\,<second@attack.test>\r\n"),
    "a18 bare and angle": Case(550, "From: admin@legitimate.test,<second@attack.test>\r\n"),
    "a19 <a>b": Case(550, "From: <any@attack.test>admin@legitimate.test\r\n"),
    # L02, D09, D10.
    "no From": Case(550, ""),
    "a group": Case(550, "From: team: admin@legitimate.test;\r\n"),
    "an empty group": Case(550, "From: undisclosed:;\r\n"),
    "two Subject": Case(250, "From: <admin@legitimate.test>\r\nSubject: y\r\n"),
    "two To": Case(250, "From: <admin@legitimate.test>\r\nTo: y\r\n"),
    "two Date": Case(250, "From: <admin@legitimate.test>\r\nDate: y\r\n"),
    "a parenthesis too many": Case(550, "From: alice@legitimate.test)bob@attack.test\r\n"),
    "two @": Case(550, "From: a@attack.test@legitimate.test\r\n"),
    "prefixes": Case(550, "From: @,;:admin@legitimate.test\r\n"),
    "an encoded local part": Case(550, "From: =?utf-8?q?admin?=@legitimate.test\r\n"),
    "an encoded @": Case(550, "From: =?utf-8?q?admin=40legitimate.test?=\r\n"),
    "a comma that is not quoted": Case(250, "From: Admin, The <admin@legitimate.test>\r\n"),
    "a comma that hides an address": Case(550, "From: admin@legitimate.test, The <second@attack.test>\r\n"),
    "a name that is an address": Case(250, 'From: "x@attack.test" <admin@legitimate.test>\r\n'),
}  # fmt: skip


def names() -> DnsServer:
    """The victim's records as they are, and the attacker's for whatever is asked of him."""
    server = DnsServer()

    def say(asked: Asked) -> Iterable[bytes]:
        if asked.name.endswith("attack.test") and asked.kind == "TXT" and not asked.name.startswith("_dmarc."):
            text = KEY.record if "_domainkey" in asked.name else f"v=spf1 ip4:{HOST} -all"
            return [asked.answer(f'"{text}"').to_wire()]
        known = {
            ("_dmarc.legitimate.test", "TXT"): '"v=DMARC1; p=none"',
            ("legitimate.test", "TXT"): '"v=spf1 ip4:198.51.100.1 -all"',
            ("_dmarc.strict.test", "TXT"): '"v=DMARC1; p=reject"',
            ("strict.test", "TXT"): '"v=spf1 ip4:198.51.100.1 -all"',
        }
        record = known.get((asked.name, asked.kind))
        return [asked.answer(record).to_wire() if record else nothing(asked.message)]

    server.script("*", "*", say)
    return server


def nothing(query: dns.message.Message) -> bytes:
    made = dns.message.make_response(query, recursion_available=True)
    made.set_rcode(dns.rcode.NXDOMAIN)
    return made.to_wire()


@pytest.fixture(scope="module")
def _names() -> Iterator[DnsServer]:
    with names() as server:
        yield server


@pytest.fixture
def daemon(make_daemon: DaemonMaker, _names: DnsServer) -> Iterator[Daemon]:
    with make_daemon(
        settings={"smtp": PROXY, "dns": f'servers = ["{_names.endpoint}"]', "plugins.junk": "junk = 0.0"}
    ) as running:
        yield running


def message(case: Case, header: str) -> bytes:
    made = f"{header}{REST}\r\nHi, this is a test message! Best wishes.\r\n".encode()
    if case.d:
        made = Signer(KEY.key, case.d, case.s).sign(made)
    return made


def test_l01_espoofer(daemon: Daemon) -> None:
    """One server takes them all, one by one."""
    taken = 0
    for name, case in ESPOOFER.items():
        given = message(case, case.header)
        reply = deliver(daemon, given, sender=case.sender, peer=HOST, helo=case.helo)
        assert reply.code == case.reply, (name, reply)
        if case.reply == 250:
            taken += 1
            told = results(inbox(daemon, count=taken)[-1])
            assert "dmarc=fail header.from=legitimate.test policy.dmarc=none" in told, (name, told)
            assert "dmarc=pass" not in told and "dkim=pass" not in told, (name, told)
            # Nobody who reads carelessly finds a pass of the victim's.
            passes = [part for part in told.split(";") if "=pass" in part]
            assert passes and not any("legitimate" in part for part in passes), (name, told)


def test_l01_a_domain_that_wants_forgeries_refused(daemon: Daemon) -> None:
    for name, case in ESPOOFER.items():
        swapped = Case(
            case.reply, case.header.replace("legitimate", "strict"), case.sender.replace("legitimate", "strict"),
            case.helo, case.d.replace("legitimate", "strict"), case.s,
        )  # fmt: skip
        reply = deliver(daemon, message(swapped, swapped.header), sender=swapped.sender, peer=HOST, helo=case.helo)
        assert reply.code in (501, 550), (name, reply)
    assert "5.7.1" in str(deliver(daemon, message(Case(550), "From: a@strict.test\r\n"), peer=HOST))
    assert not list((daemon.data / "example.test" / "anna" / "new").iterdir())
    # The owner is not hindered.
    assert deliver(daemon, message(Case(250), "From: a@strict.test\r\n"), sender="a@strict.test",
                   peer="198.51.100.1").code == 250  # fmt: skip
    (stored,) = inbox(daemon)
    assert "dmarc=pass header.from=strict.test" in results(stored)
