"""The plugin dmarc: policies found, authors compared with what SPF and DKIM proved, and what follows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mailserver.hooks.contexts import MessageContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import DmarcEvaluated, Event
from mailserver.model.findings import AuthResult, Findings
from mailserver.model.ids import AccountId, QueueId
from mailserver.model.verdict import Accept, Defer, Quarantine, Reject, Verdict
from mailserver.plugins.dmarc import plugin
from mailserver.plugins.dmarc.settings import DmarcSettings
from mailserver.ports.directory import Domain
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.judging import dkim, spf
from tests.helpers.plugins import make_host, make_session
from tests.helpers.zones import ZoneResolver

SENDER = "any@attack.test"


def dmarc(text: str) -> list[dict[str, str]]:
    return [{"TXT": f"v=DMARC1; {text}"}]


class Domains:
    def domain(self, name: str) -> Domain | None:
        return Domain(name=name) if name == "example.test" else None


class Server:
    def __init__(self, hooks: Hooks, resolver: ZoneResolver, events: list[Event], clock: FakeClock) -> None:
        self.hooks = hooks
        self.resolver = resolver
        self.events = events
        self.clock = clock

    async def judge(
        self, author: str, *results: AuthResult, sender: str = SENDER, forwarded: bool = False, header: str = "",
        **session: Any,
    ) -> Verdict:  # fmt: skip
        envelope = Envelope(
            sender=EmailAddress.parse(sender) if sender else None,
            recipients=(Recipient(address=EmailAddress("anna", "example.test")),),
        )
        content = BytesContent(f"From: {author}\r\n{header}\r\n".encode())
        return await self.hooks.message(
            MessageContext(
                session=make_session(**{"helo": "mx.attack.test"} | session), queue_id=QueueId("q"), envelope=envelope,
                content=content, findings=Findings(results), forwarded=forwarded,
            )
        )  # fmt: skip

    @property
    def told(self) -> DmarcEvaluated:
        (event,) = self.events
        assert isinstance(event, DmarcEvaluated)
        return event


@asynccontextmanager
async def running(zones: dict[str, Any], **settings: Any) -> AsyncIterator[Server]:
    resolver, events = ZoneResolver(zones), list[Event]()
    registry = Registry(HookOptions(plugin="dmarc"))
    clock = FakeClock()
    host = make_host(resolver=resolver, directory=Domains(), emit=events.append, clock=clock)
    async with plugin.setup(registry, DmarcSettings(**settings), host):
        yield Server(Hooks([registry]), resolver, events, clock)


async def judged(zones: dict[str, Any], author: str, *results: AuthResult, **fields: Any) -> tuple[str, Verdict]:
    settings = fields.pop("settings", {})
    async with running(zones, **settings) as server:
        verdict = await server.judge(author, *results, **fields)
    (found,) = verdict.findings.of("dmarc")
    return found.result, verdict


BANK = {"_dmarc.bank.test": dmarc("p=reject"), "bank.test": [{"A": "192.0.2.1"}]}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([dkim("bank.test")], "pass"), ([dkim("mail.bank.test")], "pass"), ([spf("bank.test")], "pass"),
        ([dkim("attack.test"), dkim("bank.test")], "pass"),
        ([], "fail"), ([dkim("attack.test")], "fail"), ([dkim("bank.test", "fail")], "fail"),
        ([dkim("bank.test", "neutral")], "fail"), ([dkim("notbank.test")], "fail"), ([dkim("test")], "fail"),
        ([dkim("bank.test.attack.test")], "fail"), ([dkim("bank.test", "policy")], "fail"),
        # What could not be examined might have been the proof: neither pass nor fail.
        ([dkim("bank.test", "temperror")], "temperror"), ([dkim("attack.test", "temperror")], "fail"),
    ],
)  # fmt: skip
async def test_alignment(results: list[AuthResult], expected: str) -> None:
    sender = "a@bank.test" if results and results[0].method == "spf" else SENDER
    for author in ("x@bank.test", "x@sub.bank.test"):
        found, verdict = await judged(BANK, author, *results, sender=sender)
        assert found == expected
        assert isinstance(verdict, {"pass": Accept, "fail": Reject, "temperror": Defer}[expected])


@pytest.mark.parametrize(
    ("record", "results", "expected"),
    [
        ("adkim=s", [dkim("mail.bank.test")], "fail"), ("adkim=s", [dkim("bank.test")], "pass"),
        ("aspf=s", [spf("mail.bank.test")], "fail"), ("adkim=s", [spf("mail.bank.test")], "pass"),
        ("aspf=s", [dkim("mail.bank.test")], "pass"),
    ],
)
async def test_strict_alignment(record: str, results: list[AuthResult], expected: str) -> None:
    zones = {"_dmarc.bank.test": dmarc(f"p=reject; {record}")}
    found, _ = await judged(zones, "x@bank.test", *results, sender="a@mail.bank.test")
    assert found == expected


async def test_only_the_envelope_sender_counts_of_spf() -> None:
    helo = AuthResult(method="spf", result="pass", properties=(("smtp.helo", "mx.bank.test"),))
    assert (await judged(BANK, "x@bank.test", helo, helo="mx.bank.test"))[0] == "fail"
    # A bounce has none: there the name in EHLO stands for it (RFC 7208 §2.4).
    assert (await judged(BANK, "x@bank.test", helo, helo="mx.bank.test", sender=""))[0] == "pass"
    assert (await judged(BANK, "x@bank.test", helo, helo="mx.attack.test", sender=""))[0] == "fail"
    # Results of another transaction's sender are none of this one's.
    assert (await judged(BANK, "x@bank.test", spf("bank.test"), sender=SENDER))[0] == "fail"


@pytest.mark.parametrize(
    ("zones", "author", "policy", "at"),
    [
        ({"_dmarc.bank.test": dmarc("p=reject; sp=none")}, "bank.test", "reject", "bank.test"),
        ({"_dmarc.bank.test": dmarc("p=reject; sp=none"), "a.bank.test": []}, "a.bank.test", "none", "bank.test"),
        ({"_dmarc.bank.test": dmarc("p=none; np=reject"), "a.bank.test": []}, "a.bank.test", "none", "bank.test"),
        ({"_dmarc.bank.test": dmarc("p=none; np=reject")}, "no.bank.test", "reject", "bank.test"),
        ({"_dmarc.bank.test": dmarc("p=none; sp=reject")}, "no.bank.test", "reject", "bank.test"),
        ({"_dmarc.bank.test": dmarc("p=none; sp=none; np=quarantine")}, "a.b.no.bank.test", "quarantine", "bank.test"),
        # The author's own record comes first, then that of the organization, and none of those between.
        (
            {"_dmarc.a.bank.test": dmarc("p=none"), "_dmarc.bank.test": dmarc("p=reject")},
            "a.bank.test", "none", "a.bank.test",
        ),
        (
            {"_dmarc.a.bank.test": dmarc("p=none"), "_dmarc.bank.test": dmarc("p=reject")},
            "b.a.bank.test", "reject", "bank.test",
        ),
        ({"_dmarc.a.bank.test": dmarc("p=quarantine; psd=n"), "_dmarc.bank.test": dmarc("p=reject")},
         "b.a.bank.test", "quarantine", "a.bank.test"),
        # Public suffixes.
        ({"_dmarc.test": dmarc("p=none; psd=y; sp=reject")}, "bank.test", "reject", "test"),
        ({"_dmarc.test": dmarc("p=none; psd=y; np=quarantine"), "bank.test": []}, "bank.test", "none", "test"),
        ({"_dmarc.test": dmarc("p=reject; psd=y"), "_dmarc.bank.test": dmarc("p=none")}, "a.bank.test", "none",
         "bank.test"),
        # An alias exists, wherever it leads.
        ({"_dmarc.bank.test": dmarc("p=none; np=reject"), "a.bank.test": [{"CNAME": "gone.test"}]}, "a.bank.test",
         "none", "bank.test"),
        # Trying out.
        ({"_dmarc.bank.test": dmarc("p=reject; t=y")}, "bank.test", "quarantine", "bank.test"),
        ({"_dmarc.bank.test": dmarc("p=quarantine; t=y")}, "bank.test", "none", "bank.test"),
        # Names in other scripts.
        ({"_dmarc.xn--bcher-kva.test": dmarc("p=reject")}, "b\u00fccher.test", "reject", "xn--bcher-kva.test"),
        # Reports nowhere: the record counts all the same.
        ({"_dmarc.bank.test": dmarc("p=reject; rua=nonsense")}, "bank.test", "reject", "bank.test"),
    ],
)  # fmt: skip
async def test_which_policy(zones: dict[str, Any], author: str, policy: str, at: str) -> None:
    async with running(zones) as server:
        verdict = await server.judge(f"x@{author}")
        told = server.told
    (found,) = verdict.findings.of("dmarc")
    assert (found.result, found.value("policy.dmarc")) == ("fail", policy)
    kinds = {"none": Accept, "quarantine": Quarantine, "reject": Reject}
    assert isinstance(verdict, kinds[policy])
    assert (told.policy_domain, told.disposition, told.passed) == (at, policy, False)
    assert len(server.resolver.asked) <= 9
    if isinstance(verdict, Reject):
        assert (verdict.reply.code, verdict.reply.status) == (550, "5.7.1") and "DMARC" in verdict.reply.text


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ({}, "none"), ({"_dmarc.bank.test": [*dmarc("p=reject"), *dmarc("p=none")]}, "none"),
        ({"_dmarc.bank.test": [{"TXT": "v=spf1 -all"}]}, "none"), ({"_dmarc.bank.test": dmarc("p=rejct")}, "permerror"),
    ],
)
async def test_no_policy(zones: dict[str, Any], expected: str) -> None:
    for results in ([], [dkim("bank.test")]):
        found, verdict = await judged(zones, "x@bank.test", *results)
        assert found == expected and isinstance(verdict, Accept) and not verdict.findings.reasons


async def test_public_suffixes_are_no_organization() -> None:
    zones = {"_dmarc.test": dmarc("p=reject; psd=y"), "_dmarc.bank.test": dmarc("p=reject")}
    assert (await judged(zones, "x@bank.test", dkim("attack.test")))[0] == "fail"
    assert (await judged(zones, "x@bank.test", dkim("mail.bank.test")))[0] == "pass"
    assert (await judged({"_dmarc.test": dmarc("p=reject; psd=y")}, "x@bank.test", dkim("attack.test")))[0] == "fail"


@pytest.mark.parametrize("name", ["_dmarc.bank.test", "_dmarc.sub.bank.test", "_dmarc.test"])
async def test_dns_that_does_not_answer_is_neither_pass_nor_skipped(name: str) -> None:
    zones: dict[str, Any] = {name: ["TIMEOUT"]}
    found, verdict = await judged(zones, "x@sub.bank.test")
    assert found == "temperror" and isinstance(verdict, Defer) and verdict.reply.code == 451
    # The author himself is proved, whatever the policy says.
    found, verdict = await judged(zones, "x@sub.bank.test", dkim("sub.bank.test"))
    assert found == "temperror" and isinstance(verdict, Accept)
    found, verdict = await judged(zones, "x@sub.bank.test", settings={"on_temperror": "accept"})
    assert found == "temperror" and isinstance(verdict, Accept)
    if "sub" not in name:
        # A record of his own is all that is needed then.
        zones["_dmarc.sub.bank.test"] = dmarc("p=reject")
        assert (await judged(zones, "x@sub.bank.test", dkim("attack.test"), dkim("sub.bank.test")))[0] == "pass"
        assert (await judged(zones, "x@sub.bank.test", dkim("bank.test")))[0] == "temperror"
        assert (await judged(zones, "x@sub.bank.test", dkim("attack.example")))[0] == "fail"


async def test_a_policy_that_is_out_of_reach_for_long_holds_up_no_mail_for_ever() -> None:
    zones: dict[str, Any] = {"_dmarc.small.test": ["TIMEOUT"]}
    async with running(zones) as server:
        assert isinstance(await server.judge("x@small.test"), Defer)
        server.clock.advance(11 * 3600)
        assert isinstance(await server.judge("x@small.test"), Defer)
        server.clock.advance(3600)
        verdict = await server.judge("x@small.test")
        assert isinstance(verdict, Quarantine) and verdict.findings.of("dmarc")[0].result == "temperror"
        assert isinstance(await server.judge("x@other.small.test"), Defer)
        # Days without a question are another outage.
        server.clock.advance(3 * 86400)
        assert isinstance(await server.judge("x@small.test"), Defer)


async def test_a_policy_that_is_known_is_never_waited_out() -> None:
    async with running(BANK) as server:
        for _ in range(3):
            assert isinstance(await server.judge("x@bank.test", dkim("bank.test", "temperror")), Defer)
            server.clock.advance(86400)


async def test_a_policy_of_nothing_defers_nothing() -> None:
    found, verdict = await judged({"_dmarc.bank.test": dmarc("p=none")}, "x@bank.test", dkim("bank.test", "temperror"))
    assert found == "temperror" and isinstance(verdict, Accept)


async def test_a_name_that_is_long_costs_nine_questions() -> None:
    async with running({}) as server:
        author = ".".join("abcdefghijklmnopqrstuvwxyz") + ".test"
        await server.judge(f"x@{author}", *(dkim(f"d{n}.test") for n in range(50)))
        assert len(server.resolver.asked) == 8
        assert server.resolver.asked[0] == (f"_dmarc.{author}", "TXT")
    async with running({"_dmarc.test": dmarc("p=none")}) as server:
        verdict = await server.judge(f"x@{author}", *(dkim(f"a.b.c.d{n}.test") for n in range(50)))
        # Of fifty signers ten are looked at, by their domains and up the tree: here the first is one already.
        assert verdict.findings.of("dmarc")[0].result == "pass" and len(server.resolver.asked) == 8 + 4
    zones = {"_dmarc.test": dmarc("p=none")} | {f"_dmarc.d{n}.test": dmarc("p=none; psd=n") for n in range(50)}
    async with running(zones) as server:
        verdict = await server.judge(f"x@{author}", *(dkim(f"a.b.c.d{n}.test") for n in range(50)))
        assert verdict.findings.of("dmarc")[0].result == "temperror" and len(server.resolver.asked) == 8 + 10 * 4


@pytest.mark.parametrize("author", ["a@bank.test, b@attack.test", "friends: a@bank.test;", "nobody", "a@b c.test"])
async def test_no_author(author: str) -> None:
    found, verdict = await judged(BANK, author, dkim("bank.test"))
    assert found == "permerror" and isinstance(verdict, Reject)
    assert (verdict.reply.code, verdict.reply.status) == (550, "5.6.0")
    found, verdict = await judged(BANK, author, dkim("bank.test"), settings={"enforce": False})
    assert found == "permerror" and isinstance(verdict, Accept) and verdict.findings.score == 4.0


@pytest.mark.parametrize(("field", "points"), [("To", 1.0), ("Cc", 1.0), ("Subject", 2.5), ("Reply-To", 2.5)])
async def test_a_field_that_stands_there_twice_costs_the_proof_and_not_the_mail(field: str, points: float) -> None:
    twice = f"{field}: a\r\n{field}: b\r\n"
    found, verdict = await judged(BANK, "x@bank.test", dkim("bank.test"), header=twice)
    assert found == "permerror" and isinstance(verdict, Accept) and verdict.findings.score == points
    found, verdict = await judged({}, "x@bank.test", header=twice)
    assert found == "none" and isinstance(verdict, Accept) and verdict.findings.score == points
    # It makes nothing better.
    found, verdict = await judged(BANK, "x@bank.test", dkim("attack.test"), header=twice)
    assert found == "fail" and isinstance(verdict, Reject)


@pytest.mark.parametrize(
    "session", [{"trusted": True}, {"account": AccountId("anna@example.test")}, {"service": "submission"}]
)
async def test_our_own_are_not_asked_about(session: dict[str, Any]) -> None:
    async with running(BANK) as server:
        assert await server.judge("x@bank.test", **session) == Accept()
        assert not server.resolver.asked and not server.events


async def test_policies_that_are_not_enforced() -> None:
    async with running(BANK, enforce=False) as server:
        verdict = await server.judge("x@bank.test")
        assert isinstance(verdict, Accept) and verdict.findings.score == 4.0
        assert server.told.disposition == "none" and server.told.overrides[0][0] == "local_policy"


ARC = AuthResult(
    method="arc", result="pass",
    properties=(("policy.sealer", "lists.test"), ("policy.dmarc", "pass"), ("policy.dmarc-from", "bank.test")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "results", "trusted"),
    [
        ({"trusted_forwarders": ["192.0.2.0/24"]}, [], True),
        ({"trusted_forwarders": ["198.51.100.0/24", "2001:db8::/32"]}, [], False),
        ({"trusted_forwarders": ["Alumni.test"]}, [dkim("mail.alumni.test")], True),
        ({"trusted_forwarders": ["attack.test"]}, [spf("attack.test")], True),
        ({"trusted_forwarders": ["alumni.test"]}, [dkim("alumni.test", "fail"), dkim("xalumni.test")], False),
        # ARC names a sealer only where the administrator trusts it.
        ({}, [ARC], True),
        ({}, [AuthResult(method="arc", result="fail", properties=ARC.properties)], False),
        ({}, [AuthResult(method="arc", result="pass", properties=ARC.properties[1:])], False),
        ({}, [AuthResult(method="arc", result="pass", properties=ARC.properties[:2])], False),
    ],
)  # fmt: skip
async def test_forwarders(settings: dict[str, Any], results: list[AuthResult], trusted: bool) -> None:
    async with running(BANK, **settings) as server:
        verdict = await server.judge("x@bank.test", *results)
        told = server.told
    (found,) = verdict.findings.of("dmarc")
    assert found.result == "fail", "it is never called a pass"
    assert isinstance(verdict, Accept if trusted else Reject)
    assert [kind for kind, _ in told.overrides] == (["trusted_forwarder"] if trusted else [])
    assert told.disposition == ("none" if trusted else "reject")
    assert (verdict.findings.score == 0.0) == trusted


@pytest.mark.parametrize(
    ("header", "results", "kind"),
    [
        ("List-Id: The list <cats.lists.test>\r\n", [dkim("lists.test")], Quarantine),
        ("List-Id: <cats.attack.test>\r\n", [spf("attack.test")], Quarantine),
        ("List-Id: <cats.lists.test>\r\n", [dkim("attack.test")], Reject),
        ("List-Id: <cats.lists.test>\r\n", [], Reject),
        ("List-Id: cats.lists.test\r\n", [dkim("lists.test")], Reject),
        ("List-Id: <test>\r\n", [dkim("test")], Reject),
    ],
)
async def test_mailing_lists(header: str, results: list[AuthResult], kind: type[Verdict]) -> None:
    found, verdict = await judged(BANK, "x@bank.test", *results, header=header)
    assert found == "fail" and isinstance(verdict, kind)
    if kind is Quarantine:
        for setting, other in (("refuse", Reject), ("deliver", Accept)):
            settings = {"mailing_lists": setting}
            _, verdict = await judged(BANK, "x@bank.test", *results, header=header, settings=settings)
            assert isinstance(verdict, other)


@pytest.mark.parametrize("zones", [{}, {"_dmarc.example.test": dmarc("p=none")}])
async def test_our_own_names_from_outside(zones: dict[str, Any]) -> None:
    _, verdict = await judged(zones, "boss@example.test")
    assert isinstance(verdict, Accept) and 3.0 <= verdict.findings.score <= 4.0
    assert "served here" in verdict.findings.reasons[-1].text
    _, verdict = await judged(zones, "boss@example.test", forwarded=True)
    assert isinstance(verdict, Reject), "it must not leave here again"
    for proof, sender in ((dkim("example.test"), SENDER), (spf("example.test"), "boss@example.test")):
        _, verdict = await judged(zones, "boss@example.test", proof, sender=sender, forwarded=True)
        assert isinstance(verdict, Accept) and not verdict.findings.reasons
    for settings in ({"own_domains": False}, {"enforce": False}, {"trusted_forwarders": ["192.0.2.0/24"]}):
        _, verdict = await judged(zones, "boss@example.test", forwarded=True, settings=settings)
        assert isinstance(verdict, Accept)
    _, verdict = await judged(zones, "boss@other.test", forwarded=True)
    assert isinstance(verdict, Accept)


async def test_what_reports_need() -> None:
    zones = {"_dmarc.bank.test": dmarc("p=quarantine; sp=reject; t=y; fo=1; adkim=s; rua=mailto:r@bank.test")}
    results = [dkim("attack.test"), dkim("bank.test", "fail"), spf("attack.test")]
    async with running(zones) as server:
        await server.judge("x@bank.test", *results)
        assert server.told == DmarcEvaluated(
            queue_id=QueueId("q"), peer="192.0.2.7", author="bank.test", helo="mx.attack.test", sender="attack.test",
            recipients=("example.test",), policy_domain="bank.test", p="quarantine", sp="reject", np="",
            strict_dkim=True, strict_spf=False, fo="1", testing=True, rua=("mailto:r@bank.test",), ruf=(),
            passed=False, disposition="none", dkim_aligned=False, spf_aligned=False,
            overrides=(("policy_test_mode", ""),), results=tuple(results),
        )  # fmt: skip
    async with running(BANK) as server:
        await server.judge("x@bank.test", dkim("bank.test"))
        assert (server.told.passed, server.told.dkim_aligned, server.told.spf_aligned) == (True, True, False)
    async with running({}) as server:
        await server.judge("x@bank.test")
        assert not server.events


@pytest.mark.parametrize("text", ["x y", "192.0.2.1/24", "@x.test", ""])
def test_settings(text: str) -> None:
    with pytest.raises(ValueError, match="trusted_forwarders"):
        DmarcSettings(trusted_forwarders=[text])
    assert DmarcSettings(trusted_forwarders=["192.0.2.1"]).trusted_forwarders == ["192.0.2.1/32"]
